#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""A connect that fails goes on to the next server; when none is left the client sees a reset."""
import os
import socket
import time

from lib import net, peers, proxy, tap

LINES = "timeouts { connect = 400ms }"


def _start(bad, *, kind="tcp", good=True, retries=None, extra="", **options):
    """A proxy whose backend has the server "bad" first, then "good".  `bad` may name several."""
    directory = options.pop("directory", None) or tap.tmpdir()
    front, back = net.address_of(kind, directory, "front"), f"unix:{directory}/good"
    if good:
        peers.Server(back, peers.say("good"))
    bad = [bad] if isinstance(bad, str) else bad
    servers = "".join(proxy.server("bad" if n == 0 else f"bad{n + 1}", address, extra) for n, address in enumerate(bad))
    if good:
        servers += proxy.server("good", back)
    keys = LINES if retries is None else f"{LINES} retries = {retries}"
    return proxy.Proxy(proxy.frontend("f", front, "b") + proxy.backend("b", servers, keys), directory=directory,
                       **options), front


def _goes_on(bad, *, kind="tcp", sessions=4, **options):
    """Every client is served; those that met the bad server first say so in the access log."""
    running, front = _start(bad, kind=kind, **options)
    clients = [peers.client(front) for _ in range(sessions)]
    for sock in clients:
        tap.equal(net.read_exactly(sock, 4), b"good", "the answer")
        sock.close()
    records = running.wait_access(sessions)
    for record in records:
        tap.equal((record["server"], record["end"], record["error"]), ("good", "client-fin", None), "how it ended")
        tap.check((record["tried"], record["retries"]) in ((None, 0), (["bad", "good"], 1)),
                  f"tried {record['tried']}, retries {record['retries']}")
    tap.check(any(record["retries"] == 1 for record in records), "some met the bad server first")
    running.check_idle("after retries", 0.4)
    return running, records


def _fails(bad, error, *, retries=2, least=0.0, most=5.0, **options):
    """There is no good server: the client sees a reset, and the access log why."""
    running, front = _start(bad, good=False, retries=retries, **options)
    before = running.fds()
    start = time.monotonic()
    tap.equal(net.fate(front, b"request"), "ECONNRESET", "what the client saw")
    tap.between(time.monotonic() - start, least, most * proxy.slowness(), "seconds that it took")
    record = running.wait_access(1)[0]
    tap.equal((record["end"], record["error"]), ("connect-failed", error), "how it ended")
    tried = record["tried"] or [record["server"]]       # null where there was one try
    tap.equal((record["retries"], len(tried)), (retries, retries + 1), "tries")
    tap.equal(record["server"], tried[-1], "the server is the last tried")
    running.wait_fds(before)
    return record


def _nobody():
    return f"127.0.0.1:{net.port()}"


for _kind in ("tcp", "unix"):
    tap.case(f"{_kind} client: a TCP server that refuses")(lambda k=_kind: _goes_on(_nobody(), kind=k))
    tap.case(f"{_kind} client: an AF_UNIX path that is missing")(
        lambda k=_kind: _goes_on("unix:/nonexistent/path", kind=k))


@tap.case("an AF_UNIX path where nobody listens")
def _stale():
    path = f"{tap.tmpdir()}/stale"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
    _goes_on(f"unix:{path}")


@tap.case("an abstract name that nobody has")
def _abstract():
    _goes_on(f"unix:@nobody-{os.getpid()}")


@tap.case("an AF_UNIX path that is no socket")
def _no_socket():
    path = f"{tap.tmpdir()}/plain"
    with open(path, "w", encoding="ascii") as file:
        file.write("plain")
    _goes_on(f"unix:{path}")


@tap.case("no route to the server")
def _unreachable():
    if not net.isolated():
        raise tap.Skip("needs a network namespace of its own")
    _goes_on("192.0.2.1:80")


@tap.case("all refuse: retries, then a reset, `connect-failed` and ECONNREFUSED")
def _refused():
    record = _fails(_nobody(), "ECONNREFUSED")
    tap.equal(record["tried"], ["bad", "bad", "bad"], "tried")


@tap.case("all refuse: servers not yet tried come first")
def _all_tried():
    record = _fails([_nobody(), _nobody(), _nobody()], "ECONNREFUSED")
    tap.equal(sorted(record["tried"]), ["bad", "bad2", "bad3"], "tried")


@tap.case("retries = 0 tries once")
def _no_retries():
    _fails(_nobody(), "ECONNREFUSED", retries=0)


@tap.case("every path is missing: ENOENT")
def _missing():
    _fails("unix:/nonexistent/path", "ENOENT")


@tap.case("an AF_UNIX client sees an end too")
def _unix_client():
    running, front = _start(_nobody(), good=False, kind="unix")
    sock = peers.client(front)
    sock.sendall(b"request")
    tap.check(net.ending(sock) in ("ECONNRESET", "EPIPE"), "unread input makes it a reset")
    tap.equal(running.wait_access(1)[0]["end"], "connect-failed", "how it ended")


@tap.case("a client that only listens sees a reset, not an end of file")
def _silent_client():
    _, front = _start(_nobody(), good=False)
    tap.equal(net.fate(front), "ECONNRESET", "what the client saw")


def _full_backlog(directory):
    """An AF_UNIX listener whose backlog is full, and what fills it."""
    address = f"unix:{directory}/full"
    listener = peers.Accepted(address, backlog=0)
    fill = []
    while True:
        sock = socket.socket(socket.AF_UNIX)
        sock.setblocking(False)
        tap.cleanup(sock.close)
        try:
            sock.connect(f"{directory}/full")
        except BlockingIOError:
            return address, listener, fill
        fill.append(sock)


@tap.case("an AF_UNIX server with a full backlog: the next one after the connect timeout")
def _full():
    address, _, _ = _full_backlog(tap.tmpdir())
    running, records = _goes_on(address)
    late = [record["duration_ms"] for record in records if record["retries"]]
    tap.check(all(duration >= 390 for duration in late), f"tried until the timeout: {late}")
    tap.check(running.running(), "it runs")


@tap.case("an AF_UNIX server with a full backlog that is emptied in time is waited for")
def _full_for_a_while():
    directory = tap.tmpdir()
    address, listener, fill = _full_backlog(directory)
    running, front = _start(address, good=False, retries=0, extra="", directory=directory)
    sock = peers.client(front)
    sock.sendall(b"hello")
    running.check_idle("connecting to a full backlog", 0.1, 0.2)
    for _ in fill:
        listener.take()
    server = listener.take()
    tap.equal(net.read_exactly(server, 5), b"hello", "at the server")
    server.close()
    sock.close()
    record = running.wait_access(1)[0]
    tap.equal((record["retries"], record["error"]), (0, None), "logged")


@tap.case("an AF_UNIX server whose backlog stays full")
def _full_for_ever():
    address, _, _ = _full_backlog(tap.tmpdir())
    _fails(address, "EAGAIN", retries=1, least=0.7)


@tap.case("a TCP server that does not answer: connect times out, the next one serves")
def _silent():
    listener = peers.Accepted(f"127.0.0.1:{net.port()}")
    net.vanish(listener.listener)
    _goes_on(listener.address)


@tap.case("a TCP server that never answers: ETIMEDOUT")
def _silent_for_ever():
    listener = peers.Accepted(f"127.0.0.1:{net.port()}")
    net.vanish(listener.listener)
    _fails(listener.address, "ETIMEDOUT", retries=1, least=0.75, most=3)


@tap.case("no source ports: counted, and the next server serves")
def _no_ports():
    if not net.isolated():
        raise tap.Skip("needs a network namespace of its own")
    path = "/proc/sys/net/ipv4/ip_local_port_range"
    with open(path, encoding="ascii") as file:
        old = file.read()
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write("40000 40003")
    except OSError as error:
        raise tap.Skip(f"{path}: {error.strerror}") from None

    def restore():
        with open(path, "w", encoding="ascii") as file:
            file.write(old)
    tap.cleanup(restore)
    for extra in ("", 'source = "127.0.0.1"'):
        back = f"127.0.0.1:{net.port()}"
        peers.Server(back, peers.say("good"))
        running, front = _start(back, kind="unix", extra=extra)
        socks = [peers.client(front) for _ in range(16)]
        for sock in socks:
            tap.equal(net.read_exactly(sock, 4), b"good", "the answer")
        for sock in socks:
            sock.close()
        records = running.wait_access(16)
        tap.equal([record["end"] for record in records], ["client-fin"] * 16, "ends")
        retried = [record for record in records if record["retries"]]
        tap.between(len(retried), 1, 4, f"sessions that found no port ({extra or 'no source address'})")
        tap.equal({tuple(record["tried"]) for record in retried}, {("bad", "good")}, "tried")


@tap.case("no usable server at all: `no-server`")
def _no_server():
    for extra in ("disabled = on", "weight = 0"):
        running, front = _start(_nobody(), good=False, extra=extra)
        tap.equal(net.fate(front), "ECONNRESET", "what the client saw")
        record = running.wait_access(1)[0]
        tap.equal((record["end"], record["server"], record["tried"]), ("no-server", None, None), "logged")


@tap.case("a host name that does not resolve is a server that is down, not an exit")
def _no_name():
    running, front = _start("no-such-host.invalid:80")
    for _ in range(3):
        sock = peers.client(front)
        tap.equal(net.read_exactly(sock, 4), b"good", "the answer")
        sock.close()
    running.wait_access(3)
    tap.check(running.log_lines("no-such-host.invalid"), "a log line names it")


@tap.case("a host name is resolved at start")
def _name():
    try:
        socket.getaddrinfo("localhost", None)
    except OSError:
        raise tap.Skip("localhost does not resolve here") from None
    back = net.port()
    peers.Server(f"127.0.0.1:{back}", peers.say("good"))
    running, front = _start(f"localhost:{back}", good=False)
    sock = peers.client(front)
    tap.equal(net.read_exactly(sock, 4), b"good", "the answer")
    sock.close()
    tap.check(running.wait_access(1)[0]["address"].endswith(f":{back}"), "the address is logged")


@tap.case("a client that leaves while its server does not answer")
def _client_leaves():
    listener = peers.Accepted(f"127.0.0.1:{net.port()}")
    net.vanish(listener.listener)
    directory = tap.tmpdir()
    front = f"127.0.0.1:{net.port()}"
    running = proxy.Proxy(proxy.frontend("f", front, "b") + proxy.backend("b", listener.address,
                          "timeouts { connect = 3s }  retries = 0"), directory=directory)
    before = running.fds()
    net.reset(peers.client(front))
    record = running.wait_access(1, 2)[0]
    tap.equal((record["end"], record["error"]), ("client-reset", "ECONNRESET"), "logged")
    leaving = peers.client(front)
    leaving.close()
    running.check_idle("a client has left, its server does not answer", 0.4)
    record = running.wait_access(2, 6)[1]
    tap.check(record["end"] in ("client-fin", "connect-failed"), f"end is {record['end']}")
    running.wait_fds(before)


@tap.case("clients by the hundred, every server refusing: no leak, no spin")
def _crowd():
    running, front = _start(_nobody(), good=False, threads=2)
    before = running.fds()
    for _ in range(4):
        socks = [peers.client(front) for _ in range(50)]
        for sock in socks:
            tap.equal(net.ending(sock), "ECONNRESET", "what a client saw")
            sock.close()
    running.wait_access(200)
    running.wait_fds(before)
    running.check_idle("everyone was refused", 0.4)
    tap.check(running.log_lines("ECONNREFUSED|[Cc]onnection refused"), "a log line names the failure")


tap.run()
