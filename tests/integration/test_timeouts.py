#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Every timeout ends what it should, with a reset and its name in the log, and nothing else."""
import threading
import time

from lib import data, net, pairs, peers, proxy, tap

SHORT = 300 * min(proxy.slowness(), 3)    # ms: the timeout under test; the others stay at their long defaults
STEP = SHORT / 3750                       # seconds between two signs of life, a good deal less
SMALL = "socket { sndbuf = 32K rcvbuf = 32K }\n"


def _ended(pair, sock, start, end, *, least=SHORT, most=SHORT + 1500):
    """The session ended by that timeout, neither early nor late, and sock saw a reset."""
    error = net.ending(sock)
    took = (time.monotonic() - start) * 1000
    tap.between(took, least - 20, most * proxy.slowness(), "ms until the end")
    record = pair.proxy.wait_access(1)[0]
    tap.equal(record["end"], end, "end")
    tap.check(record["duration_ms"] >= least - 20, f"duration_ms is {record['duration_ms']}")
    return error


def _is_reset(pair, side, error):
    if pair.is_tcp(side):
        tap.equal(error, "ECONNRESET", "what that side saw")
    else:
        tap.check(error in (None, "ECONNRESET"), f"that side saw {error}")


@pairs.each("`client`: nothing from or to the client")
def _client(kinds):
    pair = pairs.Pair(kinds, frontend=f"timeouts {{ client = {SHORT}ms }}")
    client, server = pair.session()
    start = time.monotonic()
    _is_reset(pair, 0, _ended(pair, client, start, "client-timeout"))
    _is_reset(pair, 1, net.ending(server))


@pairs.each("`server`: nothing from or to the server")
def _server(kinds):
    pair = pairs.Pair(kinds, backend=f"timeouts {{ server = {SHORT}ms }}")
    client, server = pair.session()
    start = time.monotonic()
    _is_reset(pair, 0, _ended(pair, client, start, "server-timeout"))
    _is_reset(pair, 1, net.ending(server))


@pairs.each("`client-fin`: the client's FIN, then nothing comes back")
def _client_fin(kinds):
    pair = pairs.Pair(kinds, frontend=f"timeouts {{ client-fin = {SHORT}ms }}")
    client, server = pair.session()
    client.sendall(b"request")
    pairs.finish(client)
    start = time.monotonic()
    tap.equal(net.read_all(server), (b"request", None), "at the server")
    _is_reset(pair, 0, _ended(pair, client, start, "client-fin-timeout"))
    if pair.is_tcp(1):
        proxy.wait_for(lambda: _broken(server), "the server to see a reset")


@pairs.each("`server-fin`: the server's FIN, then the client says nothing")
def _server_fin(kinds):
    pair = pairs.Pair(kinds, backend=f"timeouts {{ server-fin = {SHORT}ms }}")
    client, server = pair.session()
    server.sendall(b"reply")
    pairs.finish(server)
    start = time.monotonic()
    tap.equal(net.read_all(client), (b"reply", None), "at the client")
    _is_reset(pair, 1, _ended(pair, server, start, "server-fin-timeout"))
    if pair.is_tcp(0):
        proxy.wait_for(lambda: _broken(client), "the client to see a reset")


def _broken(sock):
    try:
        sock.send(b"x")
        return False
    except OSError:
        return True


@tap.case("`client-fin` and `server-fin` wait while something moves in the other direction")
def _fin_moves():
    pair = pairs.Pair(("tcp", "tcp"), top=f"timeouts {{ client-fin = {SHORT}ms server-fin = {SHORT}ms }}\n")
    for first, second in ((0, 1), (1, 0)):
        ends = pair.session()
        pairs.finish(ends[first])
        for _ in range(8):
            time.sleep(STEP)
            ends[second].sendall(b"more")
        ends[second].close()
        tap.equal(net.read_all(ends[first]), (b"more" * 8, None), "all that came")
        ends[first].close()
    tap.equal([record["end"] for record in pair.proxy.wait_access(2)], ["client-fin", "server-fin"], "ends")


@pairs.each("`session`: a busy session ends too")
def _session(kinds):
    pair = pairs.Pair(kinds, frontend="timeouts { session = 500ms }")
    client, server = pair.session()
    start = time.monotonic()
    threading.Thread(target=_busy, args=(server,), daemon=True).start()
    _is_reset(pair, 0, _ended(pair, client, start, "session-timeout", least=490))


def _busy(sock):
    try:
        while True:
            sock.sendall(b"tick")
            time.sleep(0.02)
    except OSError:
        pass


def _one_way(kinds, sending):
    pair = pairs.Pair(kinds, top=f"timeouts {{ client = {SHORT}ms server = {SHORT}ms }}\n")
    ends = pair.session()
    total = b""
    for number in range(8):
        ends[sending].sendall(b"%d " % number)
        total += b"%d " % number
        time.sleep(STEP)
    pairs.finish(ends[sending])
    ends[1 - sending].close() if net.read_all(ends[1 - sending]) == (total, None) else tap.check(False, "bytes were lost")
    tap.equal(pair.proxy.wait_access(1)[0]["end"], ("client-fin", "server-fin")[sending], "end")


for _kinds in (("tcp", "unix"), ("unix", "tcp")):
    tap.case(f"{_kinds[0]} to {_kinds[1]}: a stream from the client alone outlives `client` and `server`")(
        lambda k=_kinds: _one_way(k, 0))
    tap.case(f"{_kinds[0]} to {_kinds[1]}: a stream from the server alone outlives `client` and `server`")(
        lambda k=_kinds: _one_way(k, 1))


def _stopped_reader(kinds, sending, end):
    """A reader that takes nothing does not live, however much the other side would send."""
    key = end.split("-", maxsplit=1)[0]
    pair = pairs.Pair(kinds, top=SMALL + f"timeouts {{ {key} = {SHORT}ms }}\n", buffers={"rcvbuf": 32768})
    ends = pair.session(rcvbuf=32768)
    start = time.monotonic()
    sending_thread = proxy.thread(_send_all, ends[sending])
    record = pair.proxy.wait_access(1, 5)[0]
    tap.equal(record["end"], end, "end")
    tap.between((time.monotonic() - start) * 1000, SHORT - 20, (SHORT + 2500) * proxy.slowness(), "ms until the end")
    tap.check(sending_thread.result() in ("ECONNRESET", "EPIPE"), "the sender sees it")


def _send_all(sock):
    try:
        sock.sendall(data.payload(16 << 20))
        return None
    except OSError as error:
        return net.error_name(error)


for _kinds in (("tcp", "tcp"), ("unix", "unix")):
    tap.case(f"{_kinds[0]} to {_kinds[1]}: a client that takes nothing runs into `client`")(
        lambda k=_kinds: _stopped_reader(k, 1, "client-timeout"))
    tap.case(f"{_kinds[0]} to {_kinds[1]}: a server that takes nothing runs into `server`")(
        lambda k=_kinds: _stopped_reader(k, 0, "server-timeout"))


@tap.case("a slow reader that takes a little now and then lives")
def _slow_reader():
    pair = pairs.Pair(("tcp", "tcp"), top=SMALL + "timeouts { client = 600ms server = 600ms }\n",
                      buffers={"sndbuf": 32768})
    client, server = pair.session(rcvbuf=4096)
    sent = data.payload(256 * 1024)
    sending = proxy.thread(lambda: (server.sendall(sent), server.close()))
    got = bytearray()
    until = time.monotonic() + 2.0
    while time.monotonic() < until:
        got += client.recv(8192)
        time.sleep(0.05)
    rest, error = net.read_all(client)
    sending.result()
    tap.equal((data.describe(bytes(got) + rest), error), (data.describe(sent), None), "what arrived")


@tap.case("`client` and `server` are off or long: an idle session stays")
def _stays():
    pair = pairs.Pair(("tcp", "tcp"), top="timeouts { client = off server = off client-fin = off session = off }\n")
    client, server = pair.session()
    time.sleep(0.7)
    client.sendall(b"still")
    tap.equal(net.read_exactly(server, 5), b"still", "at the server")
    tap.equal(pair.proxy.access(), [], "access log")


@tap.case("a frontend's own timeout overrides the top level's, key by key")
def _override():
    pair = pairs.Pair(("tcp", "tcp"), top="timeouts { client = 1h session = 10s }\n",
                      frontend=f"timeouts {{ client = {SHORT}ms }}")
    client, _ = pair.session()
    _ended(pair, client, time.monotonic(), "client-timeout")


@tap.case("two hundred sessions time out together, and nothing is left of them")
def _crowd():
    pair = pairs.Pair(("tcp", "unix"), frontend=f"timeouts {{ client = {SHORT}ms }}", threads=2)
    before = pair.proxy.fds()
    sessions = [pair.session() for _ in range(200)]
    for client, _ in sessions:
        tap.equal(net.ending(client), "ECONNRESET", "what a client saw")
    records = pair.proxy.wait_access(200)
    tap.equal({record["end"] for record in records}, {"client-timeout"}, "ends")
    pair.proxy.wait_fds(before)
    pair.proxy.check_idle("all have timed out", 0.4)


@tap.case("`user-timeout`: a server that vanished with bytes on their way is `server-reset`, ETIMEDOUT")
def _user_timeout():
    pair = pairs.Pair(("tcp", "tcp"), backend="socket { user-timeout = 500ms }")
    client, server = pair.session()
    client.sendall(b"one")
    tap.equal(net.read_exactly(server, 3), b"one", "at the server")
    net.vanish(server)
    client.sendall(b"two")
    tap.equal(net.ending(client), "ECONNRESET", "what the client saw")
    record = pair.proxy.wait_access(1)[0]
    tap.equal((record["end"], record["error"]), ("server-reset", "ETIMEDOUT"), "logged")


@tap.case("keepalive: an idle client that vanished is `client-reset`, ETIMEDOUT")
def _keepalive():
    pair = pairs.Pair(("tcp", "tcp"), frontend="socket { keepalive-idle = 1s keepalive-interval = 1s keepalive-count = 1 }")
    client, server = pair.session()
    net.vanish(client)
    tap.equal(net.ending(server), "ECONNRESET", "what the server saw")
    record = pair.proxy.wait_access(1)[0]
    tap.equal((record["end"], record["error"]), ("client-reset", "ETIMEDOUT"), "logged")


@tap.case("idle sessions with timeouts far away cost no CPU")
def _idle():
    pair = pairs.Pair(("tcp", "tcp"), top="timeouts { client = 1m server = 1m }\n")
    for _ in range(100):
        pair.session()
    pair.proxy.check_idle("100 idle sessions", 1.0)


tap.run()
