#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Servers by name: their addresses are followed while traffic runs, and what DNS does wrong is no harm to it."""
import os
import signal
import time

from lib import admin, arena, dns, net, peers, proxy, tap

OFTEN = "resolve = 50ms"


class Site:
    """Servers on addresses of this machine, all on one port; each says its address when somebody comes."""

    def __init__(self, *hosts, ports=None):
        self.port = net.port()
        self.servers = {}
        for number, host in enumerate(hosts):
            self.add(host, ports[number] if ports else None)

    def add(self, host, port=None):
        address = net_address(host, port or self.port)
        self.servers[address] = peers.Server(address, peers.say(f"<{address}>"))
        return address


def net_address(host, port):
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _start(server, name, *, keys=OFTEN, resolver="", extra="", top="", threads=1, **options):
    """A proxy whose only server has that name as its address."""
    front = f"127.0.0.1:{net.port()}"
    servers = server.address if hasattr(server, "address") else server
    resolv = f'resolver {{ servers = {{ "{servers}" }} timeout = 150ms {resolver} }}\n'
    config = proxy.frontend("f", front, "b") + proxy.backend("b", proxy.server("s", name, extra), keys)
    return proxy.Proxy(config, top=resolv + top, threads=threads, **options), front


def _who(sock):
    """The address of the server behind a session."""
    said = b""
    while not said.endswith(b">"):
        said += net.read_exactly(sock, 1)
    return said[1:-1].decode()


def _visit(front):
    sock = net.connect(front)
    try:
        return _who(sock)
    finally:
        sock.close()


def _picks(front, count):
    seen = {}
    for _ in range(count):
        address = _visit(front)
        seen[address] = seen.get(address, 0) + 1
    return seen


def _wait_picks(front, addresses, rounds=2):
    """Waits until exactly these get sessions."""
    def look():
        try:
            return set(_picks(front, rounds * max(len(addresses), 2))) == set(addresses)
        except OSError:
            return False
    proxy.wait_for(look, lambda: f"sessions at {addresses}")


def _wait_down(front):
    proxy.wait_for(lambda: net.fate(front) == "ECONNRESET", "the server to be down")


def _alive(sock, text=b"still here"):
    sock.sendall(text)
    tap.equal(net.read_exactly(sock, len(text)), text, "an old session's echo")


@tap.case("several addresses, of both families, are several servers under one name")
def _several():
    hosts = ["127.0.0.2", "127.0.0.3"] + (["::1"] if net.have_ipv6() else [])
    site = Site(*hosts)
    server = dns.Server([("app.test", host) for host in hosts])
    running, front = _start(server, f"app.test:{site.port}", threads=2)
    tap.equal(_picks(front, 30), {address: 30 // len(hosts) for address in site.servers}, "picks")
    records = running.wait_access(30)
    tap.equal({(record["server"], record["address"]) for record in records},
              {("s", address) for address in site.servers}, "servers in the access log")
    running.check_idle("names are looked up 20 times a second", 0.4, 0.08)


@tap.case("addresses come and go while traffic runs; who has one that went keeps it")
def _change():
    site = Site("127.0.0.2", "127.0.0.3", "127.0.0.4")
    two, three, four = site.servers
    server = dns.Server([("app.test", "127.0.0.2"), ("app.test", "127.0.0.3")])
    running, front = _start(server, f"app.test:{site.port}", threads=2)
    old = [peers.client(front) for _ in range(4)]
    tap.equal(sorted(map(_who, old)), [two, two, three, three], "the first sessions")
    server.zone([("app.test", "127.0.0.3"), ("app.test", "127.0.0.4")])
    _wait_picks(front, [three, four])
    for sock in old:
        _alive(sock)
    server.zone([("app.test", "127.0.0.2")])
    _wait_picks(front, [two])
    for sock in old:
        _alive(sock)
        sock.close()
    proxy.wait_for(lambda: sum(record["bytes_up"] > 0 for record in running.access()) == 4, "the old sessions' lines")
    tap.equal(sorted(record["address"] for record in running.access() if record["bytes_up"]),
              [two, two, three, three], "addresses of the old sessions in the access log")
    running.wait_log(r"name resolves to 127\.0\.0\.2:\d+; 1 new, 2 gone .*server=b/s")


@tap.case("every client is served while the addresses change 20 times")
def _change_often():
    site = Site("127.0.0.2", "127.0.0.3", "127.0.0.4")
    hosts = ["127.0.0.2", "127.0.0.3", "127.0.0.4"]
    server = dns.Server([("app.test", hosts[0])])
    running, front = _start(server, f"app.test:{site.port}", threads=2, keys="resolve = 10ms")
    before = running.fds()
    stop = []

    def load():
        served = 0
        while not stop:
            _visit(front)
            served += 1
        return served
    loads = [proxy.thread(load) for _ in range(2)]
    for number in range(20):
        server.zone([("app.test", hosts[number % 3]), ("app.test", hosts[(number + number // 3) % 3])])
        time.sleep(0.03)
    stop.append(1)
    served = sum(one.result() for one in loads)
    tap.equal({record["end"] for record in running.wait_access(served)} - {"client-fin"}, set(), "other ends")
    running.wait_fds(before)
    tap.check(len(running.log_lines("name resolves")) <= 12, "the log is not flooded")


def _algorithm(balance):
    site = Site("127.0.0.2", "127.0.0.3", "127.0.0.4")
    two, three, four = site.servers
    server = dns.Server([("app.test", "127.0.0.2")])
    _, front = _start(server, f"app.test:{site.port}", keys=f'{OFTEN} balance = "{balance}"', extra="max-connections = 2")
    old = [peers.client(front) for _ in range(2)]
    tap.equal({_who(sock) for sock in old}, {two}, "the first sessions")
    server.zone([("app.test", "127.0.0.3"), ("app.test", "127.0.0.4")])

    def look():
        socks = []
        try:
            for _ in range(4):
                socks.append(net.connect(front))
            return sorted(map(_who, socks)) == [three, three, four, four]
        except OSError:
            return False
        finally:
            for sock in socks:
                sock.close()
    proxy.wait_for(look, "two sessions on each of the new addresses")
    for sock in old:
        _alive(sock)


for _balance in ("leastconn", "random", "source", "first", "least-time"):
    tap.case(f"{_balance}: addresses come and go, each with a limit of its own")(lambda b=_balance: _algorithm(b))


@tap.case("SRV: ports, weights, and higher priorities as backups")
def _srv():
    ports = [net.port() for _ in range(4)]
    site = Site("127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5", ports=ports)
    one, two, five, backup = site.servers
    hosts = [(f"h{number}.test", f"127.0.0.{number}") for number in range(2, 6)]
    records = [f"_app._tcp.test,h{number}.test,{port},{priority},{weight}" for number, port, priority, weight
               in zip(range(2, 6), ports, (10, 10, 10, 20), (1, 2, 5, 9))]
    server = dns.Server(hosts, records)
    running, front = _start(server, "srv:_app._tcp.test", threads=2, keys=OFTEN + " retries = 3")
    tap.equal(_picks(front, 40), {one: 5, two: 10, five: 25}, "picks by weight")
    for address in (one, two, five):
        site.servers[address].close()
    tap.equal(set(_picks(front, 4)), {backup}, "the backup serves when nobody else does")
    # Other weights, and one less.
    site.add("127.0.0.2", ports[0])
    site.add("127.0.0.3", ports[1])
    server.zone(hosts, [records[0][:-1] + "3", records[1][:-1] + "1"])
    running.wait_log(r"weight 3\), 127\.0\.0\.3:\d+ \(weight 1\); 0 new, 2 gone")
    tap.equal(_picks(front, 16), {one: 12, two: 4}, "picks by the new weights")
    running.check_idle("SRV", 0.3, 0.1)


@tap.case("DNS fails: the last good answer stays, also over a crash and a reload")
def _dead():
    site = Site("127.0.0.2", "127.0.0.3", "127.0.0.4")
    two, three, four = site.servers
    server = dns.Server([("app.test", "127.0.0.2"), ("app.test", "127.0.0.3")])
    running, front = _start(server, f"app.test:{site.port}")
    tap.equal(_picks(front, 4), {two: 2, three: 2}, "picks")
    server.stop()
    running.wait_log("cannot resolve the server's name: the name servers fail or refuse; the last good answer stays")
    tap.equal(_picks(front, 4), {two: 2, three: 2}, "picks without a name server")
    old = peers.client(front)
    _who(old)
    worker = running.worker()
    arena.rest(running)
    os.kill(worker, signal.SIGKILL)
    running.wait_worker(worker)
    tap.equal(_picks(front, 4), {two: 2, three: 2}, "picks after a crash")
    running.reload()
    tap.equal(_picks(front, 4), {two: 2, three: 2}, "picks after a reload")
    _alive(old)
    server._write([("app.test", "127.0.0.4")])
    server.start()
    _wait_picks(front, [four])
    running.wait_log(r"name resolves to 127\.0\.0\.4:\d+; 1 new, 2 gone")
    _alive(old)


@tap.case("a name server that lies changes nothing: garbage, other names, other ids, silence, failure")
def _lies():
    site = Site("127.0.0.2", "127.0.0.3")
    two = next(iter(site.servers))
    server = dns.Server([("app.test", "127.0.0.2")])
    running, front = _start(server, f"app.test:{site.port}")
    tap.equal(_visit(front), two, "the first session")
    server.stop()
    lies = [
        lambda question: question[:2] + b"\x81\x80" + b"\xff" * 40,
        lambda question: question[:2] + b"\x81\x80\0\1\0\5" + question[8:] + b"\xc0\xff garbage",
        lambda question: dns.answer(question, "127.0.0.3", owner=b"\4bank\4test\0"),
        lambda question: dns.answer(question, "127.0.0.3", number=0x1234),
        lambda question: dns.answer(question, "127.0.0.3").replace(b"app", b"xpp"),
        lambda question: dns.answer(question, "127.0.0.3", flags=0x8182),
        lambda question: question[:5],
        lambda question: None,
    ]
    for lie in lies:
        liar = dns.Liar(server.port, lie)
        proxy.wait_for(lambda told=liar: told.asked >= 3, "the liar to be asked")
        tap.equal(set(_picks(front, 2)), {two}, "picks")
        liar.stop()
    server.zone([("app.test", "127.0.0.3")], [])
    _wait_picks(front, [next(reversed(site.servers))])


@tap.case("no such name is believed when it has lasted for `hold`, and a client may wait for what comes")
def _hold():
    site = Site("127.0.0.2")
    two = next(iter(site.servers))
    server = dns.Server([("app.test", "127.0.0.2")])
    running, front = _start(server, f"app.test:{site.port}", resolver="hold = 1500ms",
                            keys=OFTEN + ' when-down = "wait"')
    tap.equal(_visit(front), two, "the first session")
    old = peers.client(front)
    _who(old)
    server.zone([])
    running.wait_log("there is no such name; unless that lasts for 1.500 s, its addresses stay in use")
    tap.equal(_visit(front), two, "a session while the hold lasts")
    # It is back in time, and all begins anew.
    server.zone([("app.test", "127.0.0.2")])
    running.wait_log(r"name resolves to 127\.0\.0\.2:\d+ \(")
    server.zone([])
    start = time.monotonic()
    running.wait_log("there is no such name; it is down until the name resolves")
    tap.check(time.monotonic() - start > 1.0, f"believed after {time.monotonic() - start:.1f} s")
    _alive(old)
    waiting = peers.client(front)
    waiting.sendall(b"x")
    server.zone([("app.test", "127.0.0.2")])
    tap.equal(_who(waiting), two, "the server of the client that waited")


@tap.case("a name that does not resolve at start: the server is down and tried again")
def _late():
    site = Site("127.0.0.2")
    server = dns.Server([("app.test", "127.0.0.2")], start=False)
    running, front = _start(server, f"app.test:{site.port}")
    running.wait_log("cannot resolve the server's name: the name servers fail or refuse; it is down until")
    tap.equal(net.fate(front), "ECONNRESET", "what a client sees")
    server.start()
    _wait_picks(front, site.servers)
    tap.equal(running.wait_access(1)[0]["end"], "no-server", "how the first ended")


@tap.case("a reload brings a name that is new, and it is served at once")
def _reload():
    site = Site("127.0.0.2", "127.0.0.3")
    two, three = site.servers
    server = dns.Server([("app.test", "127.0.0.2"), ("other.test", "127.0.0.3")])
    running, front = _start(server, f"app.test:{site.port}")
    old = peers.client(front)
    tap.equal(_who(old), two, "the old session's server")
    running.reload(proxy.frontend("f", front, "b") +
                   proxy.backend("b", proxy.server("s", f"other.test:{site.port}"), OFTEN))
    tap.equal(_picks(front, 3), {three: 3}, "picks")
    _alive(old)
    running.reload(proxy.frontend("f", front, "b") + proxy.backend("b", proxy.server("s", two)))
    tap.equal(_picks(front, 3), {two: 3}, "picks of a number in place of the name")
    _alive(old)


@tap.case("the API shows each address; one that is set there takes the place of all that the name has")
def _api():
    site = Site("127.0.0.2", "127.0.0.3", "127.0.0.4")
    two, three, four = site.servers
    other = peers.Server(f"127.0.0.9:{net.port()}", peers.say("<other>"))
    server = dns.Server([("app.test", "127.0.0.2"), ("app.test", "127.0.0.3")], ttl=3600)
    directory = tap.tmpdir()
    running, front = _start(server, f"app.test:{site.port}", directory=directory, keys="retries = 0",
                            top=f'admin {{ socket = "{directory}/admin.sock" }}\n')
    api = admin.of(running)

    def shown():
        return sorted((each["name"], each["address"], each["state"])
                      for each in api.get("/v1/backends")["backends"][0]["servers"])
    tap.equal(shown(), [("s", two, "unchecked"), ("s", three, "unchecked")], "servers")
    old = peers.client(front)
    was = _who(old)
    api.good("PATCH", "/v1/backends/b/servers/s", {"address": other.address})
    _wait_picks(front, ["other"])
    # Whoever has sessions still is shown as drained.
    proxy.wait_for(lambda: [each for each in shown() if each[1] != was] == [("s", other.address, "unchecked")],
                   lambda: f"the address that was set to be the only one but for {was}: {shown()}")
    tap.check(("s", was, "drain") in shown() or was == two, f"the old session's server: {shown()}")
    _alive(old)
    old.close()
    proxy.wait_for(lambda: shown() == [("s", other.address, "unchecked")], lambda: f"one server: {shown()}")
    running.reload()
    tap.equal(set(_picks(front, 4)), {"other"}, "picks after a reload")
    server.zone([("app.test", "127.0.0.3"), ("app.test", "127.0.0.4")])
    # An hour is left of what was resolved, but the name is asked for anew.
    api.good("PATCH", "/v1/backends/b/servers/s", {"address": f"app.test:{site.port}", "weight": 5})
    _wait_picks(front, [three, four])
    proxy.wait_for(lambda: shown() == [("s", three, "unchecked"), ("s", four, "unchecked")], lambda: f"two: {shown()}")
    tap.equal({each["weight"] for each in api.get("/v1/backends")["backends"][0]["servers"]}, {5}, "weights")


@tap.case("without `resolve` the TTL says when to look again")
def _ttl():
    site = Site("127.0.0.2", "127.0.0.3")
    two, three = site.servers
    server = dns.Server([("app.test", "127.0.0.2"), ("slow.test", "127.0.0.2")], ttl=1)
    _, front = _start(server, f"app.test:{site.port}", keys="")
    tap.equal(_visit(front), two, "the first session")
    server.zone([("app.test", "127.0.0.3")])
    _wait_picks(front, [three])
    # An hour is left of this one.
    slow = dns.Server([("app.test", "127.0.0.2")], ttl=3600)
    _, front = _start(slow, f"app.test:{site.port}", keys="")
    slow.zone([("app.test", "127.0.0.3")])
    time.sleep(1.2)
    tap.equal(_visit(front), two, "a session within the TTL")


@tap.case("more addresses than are of use: 64 are")
def _many():
    port = net.port()
    peers.Server(f"0.0.0.0:{port}", lambda sock: sock.sendall(f"<{sock.getsockname()[0]}>".encode()))
    server = dns.Server([("app.test", f"127.0.1.{n}") for n in range(100, 0, -1)])
    running, front = _start(server, f"app.test:{port}")
    tap.equal(_picks(front, 128), {f"127.0.1.{n}": 2 for n in range(1, 65)}, "picks")
    running.wait_log("127.0.1.8:[0-9]+ and 56 more; 36 more are left out")


tap.run()
