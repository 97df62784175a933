#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Few descriptors: the proxy survives, stays idle, and serves again when there are some."""
import os
import re
import resource
import select
import socket
import time

from lib import net, pairs, peers, proxy, tap

CLIENTS = 200


def _answered(socks):
    """Those of the sockets whose first answer is there; the others are left as they are."""
    poll = select.poll()
    by = {sock.fileno(): sock for sock in socks}
    for number in by:
        poll.register(number, select.POLLIN)
    return [by[number] for number, _ in poll.poll(0)]


def _settled(socks):
    """The sockets answered, once their number has stood still for half a second."""
    last, since = -1, time.monotonic()
    while time.monotonic() - since < 0.5 * proxy.slowness():
        count = len(_answered(socks))
        if count != last:
            last, since = count, time.monotonic()
        time.sleep(0.02)
    return _answered(socks)


def _few(kinds, threads):
    directory = tap.tmpdir()
    front, back = (net.address_of(kind, directory, name) for kind, name in zip(kinds, ("front", "back")))
    peers.Server(back, peers.say("hello"))
    running = proxy.Proxy(proxy.frontend("f", front, "b") + proxy.backend("b", back), nofile=64, directory=directory,
                          threads=threads)
    before = running.fds()
    waiting = [peers.client(front) for _ in range(CLIENTS)]
    served = 0
    first = _settled(waiting)
    tap.between(len(first), 4, 31, "clients served at once with 64 descriptors")
    running.check_idle(f"{CLIENTS} clients, most of them waiting", 0.5)
    tap.check(running.running(), "it runs")
    # Whoever is served leaves, and others are served in their place, to the last.
    until = time.monotonic() + 40 * proxy.slowness()
    while waiting and time.monotonic() < until:
        now = _answered(waiting)
        for sock in now:
            tap.equal(net.read_exactly(sock, 5), b"hello", "the answer")
            sock.close()
            waiting.remove(sock)
            served += 1
        if not now:
            time.sleep(0.01)
    tap.equal(served, CLIENTS, "clients served in the end")
    running.wait_access(CLIENTS)
    running.wait_fds(before)
    # And again, with clients that leave all at once, most of them unserved.
    crowd = [peers.client(front) for _ in range(CLIENTS)]
    _settled(crowd)
    for sock in crowd:
        sock.close()
    late = peers.client(front)
    tap.equal(net.read_exactly(late, 5), b"hello", "a client after the crowd has left")
    late.close()
    running.wait_fds(before)
    running.check_idle("everybody has left", 0.5)
    lines = len(running.log().splitlines())
    tap.check(lines < 100, f"{lines} lines in the log")


for _kinds, _threads in ((("tcp", "tcp"), 1), (("unix", "unix"), 1), (("tcp", "unix"), 2)):
    tap.case(f"{_kinds[0]} to {_kinds[1]}, {_threads} thread{'s' if _threads > 1 else ''}: "
             f"64 descriptors and {CLIENTS} clients", 60)(lambda k=_kinds, t=_threads: _few(k, t))


def _shrink(running, room):
    """Lowers the descriptor limit under the running proxy so that it can open just `room` more.  Returns the old one."""
    used = {int(name) for name in os.listdir(f"/proc/{running.pid}/fd")}
    limit = 0
    while room or limit in used:
        room -= limit not in used
        limit += 1
    old = resource.prlimit(running.worker(), resource.RLIMIT_NOFILE)
    running.set_descriptor_limit(limit, old[1])
    return old


def _emfile(kinds):
    pair = pairs.Pair(kinds)
    established = [pair.session() for _ in range(3)]
    before = pair.proxy.fds()
    old = _shrink(pair.proxy, 0)
    crowd = [peers.client(pair.front) for _ in range(10)]
    pair.proxy.wait_log("EMFILE|[Tt]oo many open files|descriptor")
    pair.proxy.check_idle("accept() says EMFILE", 1.0, 0.05)
    for client, server in established:
        client.sendall(b"still here")
        tap.equal(net.read_exactly(server, 10), b"still here", "an established session, meanwhile")
    lines = pair.proxy.log_lines("EMFILE|[Tt]oo many open files|descriptor")
    tap.check(len(lines) <= 10, f"{len(lines)} log lines on EMFILE within a second or two")
    pair.proxy.set_descriptor_limit(*old)
    # Nothing happens but time: whoever still waits is served when accepting resumes by its timer.
    fresh = peers.client(pair.front)
    fresh.sendall(b"fresh")
    seen = set()
    for sock in crowd:
        try:
            sock.sendall(b"crowd")
        except OSError:
            pass
    until = time.monotonic() + 10 * proxy.slowness()
    while b"fresh" not in seen and time.monotonic() < until:
        server = pair.servers.take()
        seen.add(net.read_exactly(server, 5))
    tap.check(b"fresh" in seen, "a new client is served once there are descriptors")
    for sock in crowd + [fresh]:
        sock.close()
    tap.check(before > 0 and pair.proxy.running(), "it runs")


for _kinds in pairs.PAIRS:
    tap.case(f"{_kinds[0]} to {_kinds[1]}: EMFILE pauses the listener, and a timer resumes it")(
        lambda k=_kinds: _emfile(k))


@tap.case("no descriptor for the server's socket or for a pipe ends that session alone")
def _middle():
    for room in (1, 2, 3):
        pair = pairs.Pair(("tcp", "tcp"), top="socket { sndbuf = 32K rcvbuf = 32K }\n", buffers={"rcvbuf": 32768})
        established = pair.session()
        old = _shrink(pair.proxy, room)
        client = None
        try:
            client = peers.client(pair.front, sndbuf=32768)
            net.send_until_stuck(client, bytes(4 << 20), 0.3)
        except OSError:
            pass                # reset, perhaps before connect() returned: the session could not be
        pair.proxy.check_idle(f"room for {room} descriptors", 0.5, 0.05)
        established[0].sendall(b"still here")
        tap.equal(net.read_exactly(established[1], 10), b"still here", "an established session, meanwhile")
        if client:
            client.close()
        pair.proxy.set_descriptor_limit(*old)
        fresh = peers.client(pair.front)
        fresh.sendall(b"fresh")

        def arrives():
            server = pair.servers.take()
            try:
                return net.read_exactly(server, 5) == b"fresh"
            except OSError:
                return False
        proxy.wait_for(arrives, "a new session once there are descriptors")


@tap.case("a stalled session without a descriptor for its pipe loses nothing")
def _no_pipe():
    pair = pairs.Pair(("unix", "tcp"), top="socket { sndbuf = 32K rcvbuf = 32K }\n", buffers={"rcvbuf": 32768})
    sessions = [pair.session() for _ in range(4)]
    old = _shrink(pair.proxy, 0)
    sent = bytes(range(256)) * 4096
    sending = [proxy.thread(lambda c=client: (c.sendall(sent), c.shutdown(socket.SHUT_WR))) for client, _ in sessions]
    time.sleep(0.3)         # the readers start late, so that all of them stall
    pair.proxy.check_idle("stalled sessions, no descriptors for pipes", 0.5, 0.05)
    reading = [proxy.thread(net.read_all, server) for _, server in sessions]
    for number, thread in enumerate(reading):
        got, error = thread.result()
        tap.check(got == sent and error is None, f"session {number}: {len(got)} of {len(sent)} bytes, {error}")
    for thread in sending:
        thread.result()
    pair.proxy.set_descriptor_limit(*old)


@tap.case("max-connections that the descriptor limit cannot hold is refused, with the limit it needs")
def _does_not_fit():
    directory = tap.tmpdir()
    config = proxy.frontend("f", f"127.0.0.1:{net.port()}", "b") + proxy.backend("b", "127.0.0.1:9")
    running = proxy.Proxy(config, top="max-connections = 50000\n", nofile=1000, directory=directory, start=False)
    running.expected = 2
    running.start(ready=False)
    tap.equal(running.wait(), 2, "exit status")
    tap.check("50000" in running.log() and any(int(word) > 50000 for word in _numbers(running.log())),
              f"the log names the number and the limit it needs: {running.log()!r}")


def _numbers(text):
    return re.findall(r"\d+", text)


@tap.case("max-connections = auto takes what the hard limit allows")
def _auto():
    pair = pairs.Pair(("tcp", "tcp"), nofile=4096)
    sessions = [pair.session() for _ in range(300)]
    for number, (client, server) in enumerate(sessions):
        client.sendall(b"%03d" % number)
        tap.equal(net.read_exactly(server, 3), b"%03d" % number, "a session's bytes")
    for pid in pair.proxy.processes():
        tap.equal(resource.prlimit(pid, resource.RLIMIT_NOFILE), (4096, 4096), "its limits")


tap.run()
