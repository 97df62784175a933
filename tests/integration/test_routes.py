#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Routes: by what a TLS ClientHello says, by networks, users and groups; and who has no route."""
import os
import socket
import ssl
import subprocess
import time

from lib import arena, net, peers, preface, proxy, tap

QUICK = "timeouts { preface = 300ms }\n"


def _route(name, keys):
    """A route to the backend of its own name."""
    return f'route "{name}" {{ {keys} backend = "{name}" }}\n'


class Routes:
    """A proxy with routes, each to a backend of its name, whose servers say that name and echo."""

    def __init__(self, kind, routes, default="plain", listen="", **options):
        directory = tap.tmpdir()
        self.front = net.address_of(kind, directory, "front.sock")
        names = list(routes) + ([default] if default else [])
        frontend = f'frontend "f" {{ listen "{self.front}" {{ {listen} }}\n' + "".join(
            _route(name, keys) for name, keys in routes.items()) + (f'backend = "{default}"' if default else "") + "}\n"
        self.backends = ""
        for name in names:
            address = f"unix:{directory}/{name}"
            peers.Server(address, peers.say(f"{name:8}"))
            self.backends += proxy.backend(name, address)
        self.config = frontend + self.backends
        self.proxy = proxy.Proxy(self.config, directory=directory, **options)
        self.before = self.proxy.fds()

    def where(self, client):
        """Which backend has the client."""
        return net.read_exactly(client, 8).decode().strip()

    def ask(self, sent, how="one piece", connect=None):
        """Sends that, and says where it went; what was sent has to come back whole."""
        client = connect() if connect else peers.client(self.front)
        if how == "one piece":
            client.sendall(sent)
        else:
            preface.trickle(client, sent, how)
        name = self.where(client)
        tap.equal(net.read_exactly(client, len(sent)), sent, f"the bytes, by way of {name}")
        client.close()
        return name


_TLS = {
    "exact": 'sni = { "www.example.org", "Example.NET" }',
    "wild": 'sni = { "*.example.org" }',
    "both": 'sni = { "both.example" } alpn = { "h2" }',
    "h2": 'alpn = { "h2", "acme-tls/1" }',
}


def _hellos():
    """ClientHellos and where they belong."""
    hello = preface.client_hello
    return [
        (hello("www.example.org"), "exact", "www.example.org"),
        (hello("WWW.Example.Org"), "exact", "www.example.org"),
        (hello("example.net", ["h2"]), "exact", "example.net"),
        (hello("a.example.org"), "wild", "a.example.org"),
        (hello("a.b.c.example.org", ["h2"]), "wild", "a.b.c.example.org"),
        (hello("example.org"), "plain", "example.org"),
        (hello("badexample.org"), "plain", "badexample.org"),
        (hello("both.example", ["http/1.1", "h2"]), "both", "both.example"),
        (hello("both.example", ["http/1.1"]), "plain", "both.example"),
        (hello("else.example", ["acme-tls/1"]), "h2", "else.example"),
        (hello(None, ["h2"]), "h2", None),
        (hello(None), "plain", None),
        (hello("www.example.org", most=ssl.TLSVersion.TLSv1_2), "exact", "www.example.org"),
        (preface.hello_of(preface.server_name(b"www.example.org.")), "exact", "www.example.org"),
        (preface.hello_of(b""), "plain", None),
        (preface.hello_of(preface.server_name(b"a.example.org"), 16384 - 200), "wild", "a.example.org"),
    ]


@tap.case("tcp: SNI and ALPN, in one piece, in many, and over many records")
def _tls_tcp():
    _tls("tcp")


@tap.case("unix: SNI and ALPN, in one piece, in many, and over many records")
def _tls_unix():
    _tls("unix")


def _tls(kind):
    routes = Routes(kind, _TLS, threads=2)
    count = 0
    for hello, where, name in _hellos():
        for sent, how in ((hello, "one piece"), (hello + b"early data", "one piece"), (hello, 97 if len(hello) < 999 else 4000),
                          (preface.split(hello, 33), 1000)):
            if sent is not hello and len(hello) > 10000:
                continue
            tap.equal(routes.ask(sent, how), where, f"where {name} went, {how}")
            count += 1
            records = routes.proxy.wait_access(count)
            tap.equal((records[-1]["backend"], records[-1]["sni"]), (where, name), "logged")
    for size in (1, 2):
        hello = preface.client_hello("www.example.org", ["h2"], records=size)
        tap.equal(routes.ask(hello, 1), "exact", "byte by byte, and in records of a byte")
    routes.proxy.wait_fds(routes.before)


@tap.case("what is no TLS, or too large, goes to the default at once; what is malformed ends")
def _other():
    for kind in ("tcp", "unix"):
        routes = Routes(kind, _TLS)
        large = preface.hello_of(preface.server_name(b"www.example.org"), 16384)
        plain = [b"GET / HTTP/1.0\r\n\r\n", b"\0", b"\x80\x2e\x01\x03\x01", b"\x15\x03\x01\0\x02\x01\0",
                 b"\x16\x02", b"\x16\x03\x01\0\x04\x02\0\0\0", large, large[:9], b"\x16\x03\x01\xff\xff"]
        for sent in plain:
            tap.equal(routes.ask(sent), "plain", f"where {sent[:20]!r} went")
        routes.proxy.wait_access(len(plain))
        name = preface.server_name
        bad = [preface.hello_of(name(b"a\0b")), preface.hello_of(name(b"")), preface.hello_of(name(b"a") * 2),
               preface.hello_of(b"\0\x10\0\x03\0\x01\0"), preface.hello_of(b"\0\0\0\xff"), b"\x16\x03\x01\0\0",
               b"\x16\x03\x01\0\x01\x01\x17\x03\x03\0\x01x", preface.hello_of(name(b"n" * 256))]
        for sent in bad:
            fate = net.fate(routes.front, sent)
            tap.check(fate == "ECONNRESET" or (fate is None and kind == "unix"), f"{sent[:60]!r}: the client saw {fate}")
        records = routes.proxy.wait_access(len(plain) + len(bad))
        tap.equal([record["end"] for record in records[len(plain):]], ["bad-preface"] * len(bad), "ends")
        tap.equal({record["backend"] for record in records[len(plain):]}, {None}, "backends of those")
        routes.proxy.wait_fds(routes.before)


@tap.case("too slow, or cut off by a FIN: the default, with all that came")
def _late():
    hello = preface.client_hello("www.example.org")
    for kind in ("tcp", "unix"):
        routes = Routes(kind, _TLS, top=QUICK)
        start = time.monotonic()
        silent, half = peers.client(routes.front), peers.client(routes.front)
        half.sendall(hello[:100])
        for client in (silent, half):
            tap.equal(routes.where(client), "plain", "where it went")
        tap.between(time.monotonic() - start, 0.25, 1.5 * proxy.slowness(), "seconds")
        half.sendall(hello[100:])
        tap.equal(net.read_exactly(half, len(hello)), hello, "all that it sent")
        for sent in (b"", b"\x16", hello[:100], hello, b"plain"):
            client = peers.client(routes.front)
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
            tap.equal(routes.where(client), "exact" if sent == hello else "plain", f"with a FIN after {len(sent)} bytes")
            tap.equal(net.read_all(client), (sent, None), "its bytes and the FIN")
            client.close()


@tap.case("no default: no-route and a reset")
def _no_route():
    for kind in ("tcp", "unix"):
        routes = Routes(kind, {"exact": _TLS["exact"]}, default=None, top=QUICK)
        tap.equal(routes.ask(preface.client_hello("www.example.org")), "exact", "who has a route")
        routes.proxy.wait_access(1)
        for sent in (b"GET / HTTP/1.0\r\n", preface.client_hello("else.example"), b""):
            fate = net.fate(routes.front, sent)
            tap.check(fate == "ECONNRESET" or (fate is None and kind == "unix"), f"the client saw {fate}")
        records = routes.proxy.wait_access(4)
        tap.equal([(record["end"], record["backend"], record["sni"]) for record in records[1:]],
                  [("no-route", None, None), ("no-route", None, "else.example"), ("no-route", None, None)], "logged")
        routes.proxy.wait_fds(routes.before)


@tap.case("networks: without a look at what the client says, and by the address of its PROXY header")
def _networks():
    routes = Routes("tcp", {"near": 'from = { "127.0.0.2", "10.0.0.0/8" }',
                            "mixed": 'from = { "127.0.0.3" } sni = { "*.example.org" }'}, listen="")
    for bind, sent, where in (("127.0.0.2", b"", "near"), ("127.0.0.1", b"", "plain"),
                              ("127.0.0.3", preface.client_hello("a.example.org"), "mixed"),
                              ("127.0.0.3", b"plain", "plain"), ("127.0.0.1", preface.client_hello("a.example.org"), "plain")):
        # The default timeout is 5 s: who is not asked is served at once.
        client = net.connect(routes.front, bind=(bind, 0), timeout=2 * proxy.slowness())
        client.sendall(sent)
        tap.equal(routes.where(client), where, f"from {bind}")
        client.close()
    records = sorted(routes.proxy.wait_access(5), key=lambda record: int(record["session"]))
    tap.equal([record["sni"] for record in records], [None, None, "a.example.org", None, None], "names that were looked at")

    routes = Routes("unix", {"near": 'from = { "10.0.0.0/8" }', "v6": 'from = { "2001:db8::/32" }'},
                    listen="accept-proxy = on")
    here = ("192.0.2.1", 80)
    for header, where in ((preface.v1(("10.1.2.3", 5), here), "near"), (preface.v2(("11.1.2.3", 5), here), "plain"),
                          (preface.v2(("::ffff:10.1.2.3", 5), ("::ffff:192.0.2.1", 80)), "near"),
                          (preface.v2(("2001:db8::1", 5), ("::1", 80)), "v6"),
                          (b"PROXY UNKNOWN\r\n", "plain"), (preface.v2_unix(ids=(0, 0, 1)), "plain")):
        client = peers.client(routes.front)
        client.sendall(header)
        tap.equal(routes.where(client), where, f"with {header[:60]!r}")
        client.close()


@tap.case("users and groups of AF_UNIX clients, supplementary groups too")
def _users():
    if os.getuid():
        raise tap.Skip("takes root")
    routes = Routes("unix", {"user": "uid = { 12345, 12346 }", "group": "gid = { 23456 }",
                             "tls": 'gid = { 23457 } sni = { "*.example.org" }'})
    os.chmod(routes.front[5:], 0o777)
    say = ("import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.settimeout(20); "
           "s.sendall(bytes.fromhex(sys.argv[2])); print(s.recv(8).decode().strip())")
    hello = preface.client_hello("www.example.org").hex()
    for user, group, extra, sent, where in ((12345, 1, [], "", "user"), (12347, 1, [], "", "plain"),
                                            (12347, 23456, [], "", "group"), (12347, 1, [7, 23456], "", "group"),
                                            (12346, 23456, [], "", "user"), (12347, 23457, [], hello, "tls"),
                                            (12347, 1, [], hello, "plain")):
        got = subprocess.run(["/usr/bin/python3", "-c", say, routes.front[5:], sent], user=user, group=group, extra_groups=extra,
                             capture_output=True, text=True, timeout=30 * proxy.slowness(), check=False)
        tap.equal(got.stdout.strip(), where, f"user {user}, group {group} and {extra}: {got.stderr}")


@tap.case("a PROXY header, then a ClientHello: byte by byte, and in one piece")
def _header_and_hello():
    for kind in ("tcp", "unix"):
        routes = Routes(kind, _TLS, listen="accept-proxy = on", threads=2)
        header = preface.v2(("192.0.2.7", 4711), ("198.51.100.1", 443))
        hello = preface.client_hello("a.example.org")
        for size in (1, 13, 10000):
            client = peers.client(routes.front)
            preface.trickle(client, header + hello, size)
            tap.equal(routes.where(client), "wild", "where it went")
            tap.equal(net.read_exactly(client, len(hello)), hello, "its bytes")
            client.close()
        for record in routes.proxy.wait_access(3):
            tap.equal((record["client"], record["sni"]), ("192.0.2.7:4711", "a.example.org"), "logged")
        routes.proxy.wait_fds(routes.before)


@tap.case("ClientHellos that are half there outlive crashes and reloads, which may change the routes")
def _outlive():
    hello = preface.client_hello("www.example.org")
    for kind in ("tcp", "unix"):
        routes = Routes(kind, _TLS, threads=2)
        clients = [peers.client(routes.front) for _ in range(6)]
        for number, client in enumerate(clients):
            preface.trickle(client, hello[:80 * number], 40)
        view = arena.Arena(routes.proxy)
        view.wait_states([arena.PREFACE] * len(clients))
        for _ in range(3):
            said, former = len(routes.proxy.log()), routes.proxy.wait_worker()
            arena.rest(routes.proxy)
            os.kill(former, 9)
            routes.proxy.wait_log(r"is ready after \d+ ms: 6 sessions adopted, 0 reset", after=said)
        routes.proxy.check_idle("ClientHellos are awaited", 0.3)
        for client in clients[:3]:
            client.sendall(hello[80 * clients.index(client):])
            tap.equal(routes.where(client), "exact", "where it went")
            tap.equal(net.read_exactly(client, len(hello)), hello, "its bytes")
        routes.proxy.reload(routes.config.replace('"www.example.org"', '"no.example"'))
        view.wait_states([arena.PREFACE] * 3 + [arena.RELAYING] * 3)
        for client in clients[3:]:
            client.sendall(hello[80 * clients.index(client):])
            tap.equal(routes.where(client), "wild", "where it went after the reload")
            tap.equal(net.read_exactly(client, len(hello)), hello, "its bytes")
            client.close()
        for client in clients[:3]:
            client.close()
        routes.proxy.wait_fds(routes.before)


@tap.case("a crowd of silent clients costs no CPU and leaves nothing")
def _silent():
    for kind in ("tcp", "unix"):
        routes = Routes(kind, _TLS, threads=2, top=QUICK.replace("300ms", "1s"))
        clients = [peers.client(routes.front) for _ in range(100)]
        for number, client in enumerate(clients):
            client.sendall(b"\x16\x03\x01"[:number % 4])
        arena.Arena(routes.proxy).wait_states([arena.PREFACE] * len(clients))
        tap.check(routes.proxy.cpu_share(0.3) < 0.3, "CPU while they are silent")
        for client in clients:
            tap.equal(routes.where(client), "plain", "where it went")
            client.close()
        routes.proxy.wait_fds(routes.before)


tap.run()
