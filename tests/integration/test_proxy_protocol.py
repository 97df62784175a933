#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The PROXY protocol: headers that are accepted, headers that are sent, and both at once."""
import os
import socket
import struct
import time

from lib import arena, net, pairs, peers, preface, proxy, tap

FAR, HERE = ("192.0.2.7", 4711), ("198.51.100.1", 443)
FAR6, HERE6 = ("2001:db8::7", 4711), ("2001:db8::1", 443)
QUICK = "timeouts { preface = 300ms }\n"


def _each(name):
    """A case for each kind of listener, with servers of the other kind."""
    def add(function):
        for kinds in (("tcp", "unix"), ("unix", "tcp")):
            tap.case(f"{kinds[0]}: {name}")(lambda kinds=kinds: function(kinds))
        return function
    return add


class Front:
    """A proxy whose listeners accept headers, and its server."""

    def __init__(self, kinds=("tcp", "tcp"), *, server="", listen="", frontend="", **options):
        directory = tap.tmpdir()
        self.kinds = kinds
        self.front = net.address_of(kinds[0], directory, "front.sock")
        self.back = net.address_of(kinds[1], directory, "back.sock")
        self.servers = peers.Accepted(self.back)
        self.config = proxy.frontend("f", [(self.front, f"accept-proxy = on {listen}")], "b", frontend) + proxy.backend(
            "b", proxy.server("s1", self.back, server))
        self.proxy = proxy.Proxy(self.config, directory=directory, **options)
        self.before = self.proxy.fds()

    def ends(self, count=1):
        """How the sessions so far ended, and what their clients are in the log."""
        return [(record["end"], record["client"]) for record in self.proxy.wait_access(count)]


def _name(sock):
    """A client as the log names it."""
    return "unix" if sock.family == socket.AF_UNIX else "%s:%d" % sock.getsockname()[:2]


def _accepted(kind):
    """Headers, and the client as the log has it: (client, uid, gid, pid); "peer" for the peer's own."""
    unix = ("unix", None, None, None)
    return [
        (preface.v1(FAR, HERE), ("192.0.2.7:4711", None, None, None)),
        (preface.v1(FAR6, HERE6), ("[2001:db8::7]:4711", None, None, None)),
        (preface.v1(("::ffff:192.0.2.7", 4711), ("::ffff:198.51.100.1", 443)), ("192.0.2.7:4711", None, None, None)),
        (b"PROXY UNKNOWN\r\n", "peer"),
        (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", "peer"),
        (preface.v2(FAR, HERE), ("192.0.2.7:4711", None, None, None)),
        (preface.v2(FAR6, HERE6), ("[2001:db8::7]:4711", None, None, None)),
        (preface.v2(FAR, HERE, preface.tlv(4, bytes(3000)) + preface.tlv(0xe0, bytes(12))),
         ("192.0.2.7:4711", None, None, None)),
        (preface.v2(FAR, HERE, preface.tlv(4, bytes(4096 - 28 - 3))), ("192.0.2.7:4711", None, None, None)),
        (preface.v2_raw(preface.LOCAL, 0, b""), "peer"),
        (preface.v2_raw(preface.LOCAL, 0x11, bytes(12)), "peer"),
        (preface.v2_raw(preface.PROXY, 0, b"whatever"), "peer"),
        (preface.v2_unix(b"/run/client.sock", b"/run/server.sock"), unix),
        (preface.v2_unix(ids=(1000, 33, 4711)), ("unix", 1000, 33, 4711)),
    ]


@_each("what is accepted, in one piece and byte by byte, and who the client is then")
def _accept(kinds):
    front = Front(kinds, threads=2)
    for header, who in _accepted(kinds[0]):
        for way in ("one piece", "with data", "byte by byte"):
            if way == "byte by byte" and len(header) > 300:
                continue
            client = peers.client(front.front)
            own = _name(client)
            data = b"hello"
            if way == "one piece":
                client.sendall(header)
            elif way == "with data":
                client.sendall(header + b"and data")
                data = b"more"
            else:
                preface.trickle(client, header)
            server = front.servers.take()
            if way == "with data":
                tap.equal(net.read_exactly(server, 8), b"and data", "data in the segment of the header")
            client.sendall(data)
            tap.equal(net.read_exactly(server, len(data)), data, f"after {header[:40]!r} {way}")
            server.sendall(b"answer")
            tap.equal(net.read_exactly(client, 6), b"answer", "the answer")
            count = len(front.proxy.access())
            client.close()
            tap.equal(net.read_all(server), (b"", None), "the end")
            server.close()
            record = front.proxy.wait_access(count + 1)[-1]
            wanted = who
            if who == "peer":
                ids = (os.getuid(), os.getgid(), os.getpid()) if kinds[0] == "unix" else (None, None, None)
                wanted = (own, *ids)
            tap.equal((record["client"], record["uid"], record["gid"], record["pid"]), wanted,
                      f"the client in the log, after {header[:40]!r}")
            tap.equal(record["bytes_up"], len(data) + (8 if way == "with data" else 0), "bytes_up without the header")
    front.proxy.wait_fds(front.before)


def _bad():
    """What no header is, by name."""
    v4 = bytes.fromhex("0a0000010a00000204d201bb")
    return {
        "another protocol": b"GET / HTTP/1.0\r\n\r\n",
        "TLS": preface.client_hello("example.org"),
        "a NUL": b"\0",
        "lower case": b"proxy TCP4 10.0.0.1 10.0.0.2 1 2\r\n",
        "no CR": b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\n",
        "no LF": b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\rGET /",
        "UDP4": b"PROXY UDP4 10.0.0.1 10.0.0.2 1 2\r\n",
        "an address of the other family": b"PROXY TCP4 ::1 ::1 1 2\r\n",
        "an octet too large": b"PROXY TCP4 10.0.0.256 10.0.0.2 1 2\r\n",
        "a port too large": b"PROXY TCP4 10.0.0.1 10.0.0.2 65536 2\r\n",
        "a port with noughts": b"PROXY TCP4 10.0.0.1 10.0.0.2 0080 2\r\n",
        "no port": b"PROXY TCP4 10.0.0.1 10.0.0.2 1\r\n",
        "two spaces": b"PROXY TCP4  10.0.0.1 10.0.0.2 1 2\r\n",
        "more than 107 bytes": b"PROXY UNKNOWN " + b"x" * 100,
        "version 3": preface.v2_raw(0x31, 0x11, v4),
        "version 1 in binary": preface.v2_raw(0x11, 0x11, v4),
        "command 2": preface.v2_raw(0x22, 0x11, v4),
        "DGRAM over IPv4": preface.v2_raw(0x21, 0x12, v4),
        "DGRAM over UNIX": preface.v2_raw(0x21, 0x32, bytes(216)),
        "family 4": preface.v2_raw(0x21, 0x41, v4),
        "protocol 3": preface.v2_raw(0x21, 0x13, v4),
        "too short for IPv6": preface.v2_raw(0x21, 0x21, v4),
        "too short for UNIX": preface.v2_raw(0x21, 0x31, bytes(215)),
        "more than 4 KiB": preface.v2_raw(0x21, 0x11, v4 + bytes(4096 - 27)),
        "64 KiB": preface.v2_raw(0x21, 0x11, v4, 0xffff),
        "a TLV longer than the header": preface.v2_raw(0x21, 0x11, v4 + b"\x04\xff\xff"),
        "half a TLV": preface.v2_raw(0x21, 0x11, v4 + b"\x04\0"),
    }


@_each("what is malformed ends the session: bad-preface, a reset, and no server sees it")
def _malformed(kinds):
    front = Front(kinds)
    for count, (what, bad) in enumerate(_bad().items(), 1):
        fate = net.fate(front.front, bad)
        tap.check(fate == "ECONNRESET" or (fate is None and kinds[0] == "unix"), f"{what}: the client saw {fate}")
        tap.equal(front.ends(count)[-1][0], "bad-preface", f"the end, {what}")
    tap.equal([(record["backend"], record["error"]) for record in front.proxy.access()], [(None, None)] * count, "logged")
    tap.check(front.proxy.log_lines("bad one"), "the log says what is wrong")
    front.servers.listener.settimeout(0.1)
    try:
        front.servers.listener.accept()
        raise tap.Failed("a server saw a connection")
    except TimeoutError:
        pass
    front.proxy.wait_fds(front.before)


@_each("a header that is not complete in time: preface-timeout, whatever still comes")
def _late(kinds):
    front = Front(kinds, top=QUICK)
    header = preface.v1(FAR, HERE)
    clients = [peers.client(front.front) for _ in range(3)]
    clients[1].sendall(header[:-1])
    start = time.monotonic()
    try:
        for byte in header[:-1]:
            clients[2].sendall(bytes((byte,)))
            time.sleep(0.025)
    except (BrokenPipeError, ConnectionResetError):
        pass
    tap.between(time.monotonic() - start, 0.2, 0.9 * proxy.slowness(), "seconds of trickling")
    # The last one was told by its send already.
    for client in clients[:2]:
        tap.check(net.ending(client) in ("ECONNRESET", None if kinds[0] == "unix" else "ECONNRESET"), "a reset")
    tap.equal([end for end, _ in front.ends(3)], ["preface-timeout"] * 3, "ends")
    front.proxy.check_idle("all are gone", 0.3)
    front.proxy.wait_fds(front.before)


@_each("clients that send their FIN early, leave, or reset")
def _leaving(kinds):
    front = Front(kinds)
    header = preface.v2(FAR, HERE)
    # All of it, and the FIN: the session is served, the other direction too.
    client = peers.client(front.front)
    client.sendall(header + b"request")
    client.shutdown(socket.SHUT_WR)
    server = front.servers.take()
    tap.equal(net.read_all(server), (b"request", None), "the request and the FIN")
    server.sendall(b"answer")
    server.close()
    tap.equal(net.read_all(client), (b"answer", None), "the answer")
    # Without any data.
    client = peers.client(front.front)
    client.sendall(header)
    client.shutdown(socket.SHUT_WR)
    server = front.servers.take()
    tap.equal(net.read_all(server), (b"", None), "the FIN alone")
    server.close()
    tap.equal(net.read_all(client), (b"", None), "the server's FIN")
    tap.equal({client for _, client in front.ends(2)}, {"192.0.2.7:4711"}, "clients")
    # Nothing, and half of it.
    for sent, end in ((b"", "client-fin"), (header[:10], "bad-preface"), (header[:-1], "bad-preface")):
        for leave in (lambda sock: sock.shutdown(socket.SHUT_WR), socket.socket.close):
            count = len(front.proxy.access())
            client = peers.client(front.front)
            client.sendall(sent)
            leave(client)
            tap.equal(front.ends(count + 1)[-1][0], end, f"the end of who sent {sent!r}")
    if kinds[0] == "tcp":
        client = peers.client(front.front)
        client.sendall(header[:10])
        time.sleep(0.05)
        count = len(front.proxy.access())
        net.reset(client)
        tap.equal(front.ends(count + 1)[-1][0], "client-reset", "the end of who reset")
    front.proxy.check_idle("all are gone", 0.3)
    front.proxy.wait_fds(front.before)


@tap.case("proxy-from: networks, users and groups of peers that may send one; others are denied at once")
def _from():
    directory = tap.tmpdir()
    tcp, unix, other = f":{net.port()}", f"unix:{directory}/a", f"unix:{directory}/b"
    servers = peers.Accepted(f"unix:{directory}/s")
    config = proxy.frontend("f", [
        (tcp, 'accept-proxy = on proxy-from = { "127.0.0.2", "192.168.0.0/16" }'),
        (unix, f'accept-proxy = on proxy-from = {{ "uid:{os.getuid()}" }}'),
        (other, f'accept-proxy = on proxy-from = {{ "uid:{os.getuid() + 1}", "gid:{os.getgid() + 1}" }}')], "b")
    running = proxy.Proxy(config + proxy.backend("b", servers.address), directory=directory)
    header = preface.v1(FAR, HERE)
    address = f"127.0.0.1{tcp}"
    tap.equal(net.fate(address, header), "ECONNRESET", "a peer that may not")
    tap.equal(net.fate(address), "ECONNRESET", "a peer that may not, without a header")
    tap.check(net.fate(other, header) in (None, "ECONNRESET"), "a user that may not")
    for where, bind in ((address, ("127.0.0.2", 0)), (unix, None)):
        client = net.connect(where, bind=bind)
        client.sendall(header)
        servers.take().close()
        tap.equal(net.read_all(client), (b"", None), "one that may")
        client.close()
    records = running.wait_access(5)
    tap.check(running.log_lines("proxy-from does not name this peer"), "the log tells of them")
    tap.equal([record["end"] for record in records], ["denied"] * 3 + ["server-fin"] * 2, "ends")
    tap.equal([record["client"] for record in records[3:]], ["192.0.2.7:4711"] * 2, "clients")


def _send(server, version):
    """Takes the header off: (client, destination) as text and number, or what else it is."""
    if version == "v1":
        words = preface.read_v1(server).split()
        return words[0:2] + [tuple(words[2:])] if len(words) < 6 else ((words[2], int(words[4])), (words[3], int(words[5])))
    return preface.read_v2(server)


@pairs.each("what is sent: first of all, also where the server speaks first")
def _sent(kinds):
    for version in ("v1", "v2"):
        pair = pairs.Pair(kinds, server=f"send-proxy = {version}")
        for speaks_first in (False, True):
            client, server = pair.session()
            if speaks_first:
                server.sendall(b"220 hello")
                tap.equal(net.read_exactly(client, 9), b"220 hello", "the banner")
            client.sendall(b"data")
            if kinds[0] == "tcp":
                wanted = client.getsockname(), client.getpeername()
                got = _send(server, version)
                if version == "v2":
                    tap.equal(got[:3], (28, preface.PROXY, 0x11), "length, command and family")
                    got = got[3:]
                tap.equal(got, wanted, "client and destination")
            elif version == "v1":
                tap.equal(preface.read_v1(server), "PROXY UNKNOWN\r\n", "the line")
            else:
                tap.equal(preface.read_v2(server), (232, preface.PROXY, 0x31, b"", pair.front[5:].encode()), "the header")
            tap.equal(net.read_exactly(server, 4), b"data", "what follows")
            client.close()
            tap.equal(net.read_all(server), (b"", None), "the end")
            server.close()
        tap.equal([record["bytes_up"] for record in pair.proxy.wait_access(2)], [4, 4], "bytes_up without headers")


@tap.case("what is sent: IPv6, and IPv4 where it came to a dual-stack socket; an AF_UNIX client's own name")
def _sent_families():
    directory = tap.tmpdir()
    listen, unix = f":{net.port()}", f"unix:{directory}/a"
    servers = {version: peers.Accepted(f"unix:{directory}/{version}") for version in ("v1", "v2")}
    config = "".join(proxy.frontend(version, front, version) + proxy.backend(
        version, proxy.server("s", servers[version].address, f"send-proxy = {version}"))
        for version, front in (("v1", listen), ("v2", [unix, f"[::1]:{net.port()}"])))
    running = proxy.Proxy(config, directory=directory)
    client = peers.client(f"127.0.0.1{listen}")
    line = preface.read_v1(servers["v1"].take())
    tap.equal(line, "PROXY TCP4 127.0.0.1 127.0.0.1 %d %s\r\n" % (client.getsockname()[1], listen[1:]), "v4-mapped")
    if net.have_ipv6():
        client = peers.client(f"[::1]{listen}")
        line = preface.read_v1(servers["v1"].take())
        tap.equal(line, "PROXY TCP6 ::1 ::1 %d %s\r\n" % (client.getsockname()[1], listen[1:]), "IPv6")
    client = peers.client(unix, bind="\0spliced-test-name")
    tap.equal(preface.read_v2(servers["v2"].take()),
              (232, preface.PROXY, 0x31, b"\0spliced-test-name", unix[5:].encode()), "a client with a name")
    tap.equal(running.log_lines("cannot"), [], "complaints")


@pairs.each("what was accepted is sent on")
def _passed_on(kinds):
    for version in ("v1", "v2"):
        front = Front(kinds, server=f"send-proxy = {version}")
        for client, here in ((FAR, HERE), (FAR6, HERE6)):
            for header in (preface.v1(client, here), preface.v2(client, here, preface.tlv(4, b"pad"))):
                sock = peers.client(front.front)
                sock.sendall(header + b"data")
                server = front.servers.take()
                got = _send(server, version)
                if version == "v2":
                    tap.equal(got[0], 28 if client is FAR else 52, "its length")
                    got = got[3:]
                tap.equal(got, (client, here), "client and destination")
                tap.equal(net.read_exactly(server, 4), b"data", "what follows")
                sock.close()
                server.close()
        for header in (preface.v2_unix(b"\0client", b"/run/server"), preface.v2_unix(b"/c" * 54, b"/d" * 54, (7, 8, 9))):
            sock = peers.client(front.front)
            sock.sendall(header)
            server = front.servers.take()
            if version == "v1":
                tap.equal(preface.read_v1(server), "PROXY UNKNOWN\r\n", "the line")
            else:
                tap.equal(net.read_exactly(server, 232), header[:14] + b"\0\xd8" + header[16:232], "the paths, no TLVs")
            sock.close()
            server.close()
        # Who says nothing of its client is the client.
        for header in (b"PROXY UNKNOWN\r\n", preface.v2_raw(preface.LOCAL, 0, b"")):
            sock = peers.client(front.front)
            sock.sendall(header)
            server = front.servers.take()
            if kinds[0] == "unix":
                wanted = "PROXY UNKNOWN\r\n" if version == "v1" else (232, preface.PROXY, 0x31, b"", front.front[5:].encode())
                tap.equal((preface.read_v1 if version == "v1" else preface.read_v2)(server), wanted, "the peer")
            else:
                got = _send(server, version)
                tap.equal(got if version == "v1" else got[3:], (sock.getsockname(), sock.getpeername()), "the peer")
            sock.close()
            server.close()


@tap.case("a server that is tried after others gets its header; the log names the client all the same")
def _retried():
    directory = tap.tmpdir()
    front, good = f"127.0.0.1:{net.port()}", peers.Accepted(f"unix:{directory}/good")
    servers = proxy.server("dead", f"127.0.0.1:{net.port()}", "send-proxy = v2") + proxy.server(
        "plain", f"unix:{directory}/none") + proxy.server("good", good.address, "send-proxy = v1")
    running = proxy.Proxy(proxy.frontend("f", front, "b") + proxy.backend("b", servers, "retries = 5"), directory=directory)
    for _ in range(3):
        client = peers.client(front)
        client.sendall(b"data")
        server = good.take()
        tap.equal(_send(server, "v1"), (client.getsockname(), client.getpeername()), "the header")
        tap.equal(net.read_exactly(server, 4), b"data", "the data")
        server.close()
        client.close()
    tap.equal({record["server"] for record in running.wait_access(3)}, {"good"}, "servers")


@_each("rules and limits are for the client that the header names, after the header")
def _rules(kinds):
    front = Front(kinds, frontend='allow = { "192.0.2.0/24", "2001:db8::/32" } deny = { "192.0.2.8" } max-per-source = 1')
    held = None
    for number, (address, end) in enumerate(((FAR, None), (("192.0.2.8", 1), "denied"), (("127.0.0.1", 1), "denied"),
                                             (("192.0.2.7", 9), "limited"), (("192.0.2.9", 1), "client-fin"),
                                             (FAR6, "client-fin"))):
        client = peers.client(front.front)
        client.sendall(preface.v2(address, HERE if address is not FAR6 else HERE6) + b"data")
        if end in (None, "client-fin"):
            server = front.servers.take()
            tap.equal(net.read_exactly(server, 4), b"data", "the data")
        if end is None:
            held = client, server
            continue
        if end == "client-fin":
            client.close()
            # The end of the session is the client's: its FIN is there before the server's.
            tap.equal(net.read_all(server), (b"", None), f"what the server sees of {address}")
            server.close()
        tap.equal(front.ends(number)[-1][0], end, f"the end of {address}")
    for sock in held:
        sock.close()


def _reload(front):
    front.proxy.reload()


def _crash(front):
    said, former = len(front.proxy.log()), front.proxy.wait_worker()
    arena.rest(front.proxy)
    os.kill(former, 9)
    front.proxy.wait_log(r"is ready after \d+ ms: \d+ sessions adopted, 0 reset", after=said)


def _upgrade(front):
    said, former = len(front.proxy.log()), front.proxy.wait_worker()
    front.proxy.signal(12)
    front.proxy.wait_log(r"\bready\b", after=said)
    front.proxy.wait_worker(former)


@_each("headers that are half there outlive a crash, a reload and an upgrade")
def _outlive(kinds):
    front = Front(kinds, threads=2, server="send-proxy = v2")
    header = preface.v2(FAR, HERE)
    clients = [peers.client(front.front) for _ in range(8)]
    for number, client in enumerate(clients):
        preface.trickle(client, header[:3 * number])
    view = arena.Arena(front.proxy)
    view.wait_states([arena.PREFACE] * len(clients))
    for event in (_crash, _reload, _upgrade, _crash):
        event(front)
        view = arena.Arena(front.proxy)
        view.wait_states([arena.PREFACE] * len(clients))
    front.proxy.check_idle("headers are awaited", 0.3)
    for number, client in enumerate(clients):
        client.sendall(header[3 * number:] + b"data")
        server = front.servers.take()
        tap.equal(preface.read_v2(server)[3:], (FAR, HERE), "the header")
        tap.equal(net.read_exactly(server, 4), b"data", "the data")
        client.close()
        tap.equal(net.read_all(server), (b"", None), "the end")
        server.close()
    tap.equal({client for _, client in front.ends(len(clients))}, {"192.0.2.7:4711"}, "clients")
    front.proxy.wait_fds(front.before)


@tap.case("a reload takes the frontend away: who came in by it has its default still, and may send its header")
def _frontend_goes():
    front = Front(("tcp", "unix"))
    client = peers.client(front.front)
    client.sendall(b"PROXY ")
    arena.Arena(front.proxy).wait_states([arena.PREFACE])
    other = proxy.frontend("g", f"127.0.0.1:{net.port()}", "c") + proxy.backend("c", f"127.0.0.1:{net.port()}")
    front.proxy.reload(other + proxy.backend("b", front.back))
    client.sendall(b"UNKNOWN\r\ndata")
    server = front.servers.take()
    tap.equal(net.read_exactly(server, 4), b"data", "the data")
    server.close()
    tap.equal(net.read_all(client), (b"", None), "the end")
    client.close()
    record = front.proxy.wait_access(1)[0]
    tap.equal((record["frontend"], record["backend"]), ("f", "b"), "logged")


@tap.case("workers killed at any time under load with headers both ways: wrong bytes or headers never", limit=90)
def _killed():
    front = Front(("unix", "unix"), threads=2, server="send-proxy = v2")
    done = {"good": 0, "reset": 0}

    def serve(sock):
        got = preface.read_v2(sock)
        data = net.read_exactly(sock, 4)
        # A connection that came to nothing: it was not chosen after all.
        if len(data) == 4:
            sock.sendall(struct.pack(">H", got[3][1]) + data)
    front.servers.listener.close()
    os.unlink(front.back[5:])
    peers.Server(front.back, serve)
    until = time.monotonic() + 1.6
    kills = 0
    while time.monotonic() < until or (done["good"] <= 50 and time.monotonic() < until + 20):
        if kills < 7 and time.monotonic() > until - 1.6 + kills * 0.2:
            worker = front.proxy.worker()
            if worker:
                os.kill(worker, 9)
            kills += 1
        number = done["good"] % 60000 + 1
        try:
            client = net.connect(front.front)
            preface.trickle(client, preface.v2(("192.0.2.7", number), HERE) + b"%04x" % number, 9)
            answer = net.read_exactly(client, 6)
            if answer:
                tap.equal(answer, struct.pack(">H", number) + b"%04x" % number, "header and data as the server saw them")
            done["good" if answer else "reset"] += 1
            client.close()
        except (ConnectionResetError, BrokenPipeError):
            done["reset"] += 1
    tap.note(done)
    tap.check(done["good"] > 50, f"sessions that were served: {done}")
    tap.check(done["reset"] <= 4 * kills, f"sessions that were reset: {done}, by {kills} crashes")


tap.run()
