#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""One fast stream starves nobody, and threads share the sessions."""
import os
import select
import time

from lib import data, net, pairs, peers, proxy, tap

SESSIONS = 20
ROUNDS = 150


def _echo_server(listener):
    """All sessions in one process and one loop."""
    listener.setblocking(False)
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    socks = {}
    while True:
        for number, _ in poll.poll():
            if number == listener.fileno():
                sock, _ = listener.accept()
                socks[sock.fileno()] = sock
                poll.register(sock, select.EPOLLIN)
                continue
            piece = socks[number].recv(4096)
            if piece:
                socks[number].send(piece)
            else:
                poll.unregister(number)
                socks.pop(number).close()


def _source(listener):
    os.nice(5)
    listener.settimeout(None)
    sock, _ = listener.accept()
    piece = bytes(262144)
    while True:
        sock.sendall(piece)


def _sink(address):
    os.nice(5)
    sock = net.connect(address)
    buffer = bytearray(262144)
    while sock.recv_into(buffer):
        pass


def _ping_pong(address, rounds):
    """p99 of the round trips in seconds, each session sending as soon as it is answered."""
    poll = select.epoll()
    socks, started, left, times = {}, {}, {}, []
    for _ in range(SESSIONS):
        sock = net.connect(address)
        socks[sock.fileno()], left[sock.fileno()] = sock, rounds
        poll.register(sock, select.EPOLLIN)
    for number, sock in socks.items():
        started[number] = time.monotonic()
        sock.send(b"ping" * 16)
    while any(left.values()):
        for number, _ in poll.poll():
            socks[number].recv(4096)
            times.append(time.monotonic() - started[number])
            left[number] -= 1
            if left[number]:
                started[number] = time.monotonic()
                socks[number].send(b"ping" * 16)
    times.sort()
    return times[len(times) * 99 // 100]


def _firehose(kinds):
    directory = tap.tmpdir()
    front, hose_front = (net.address_of(kinds[0], directory, name) for name in ("front", "hose-front"))
    back, hose_back = (net.address_of(kinds[1], directory, name) for name in ("back", "hose-back"))
    running = proxy.Proxy(proxy.frontend("f", front, "b") + proxy.frontend("h", hose_front, "hb") +
                          proxy.backend("b", back) + proxy.backend("hb", hose_back), threads=1, directory=directory)
    peers.Process(_echo_server, peers.Accepted(back).listener)
    hose = peers.Accepted(hose_back).listener
    rounds = data.scaled(ROUNDS, 40)
    seen = []
    for _ in range(4):
        alone = peers.Process(_ping_pong, front, rounds).result()
        source, sink = peers.Process(_source, hose), peers.Process(_sink, hose_front)
        cpu = running.cpu()
        proxy.wait_for(lambda: running.cpu() - cpu > 0.1, "the firehose to run")
        beside = peers.Process(_ping_pong, front, rounds).result()
        sink.kill()
        source.kill()
        seen.append(f"p99 {alone * 1e3:.2f} ms alone, {beside * 1e3:.2f} ms beside a firehose")
        tap.note(seen[-1])
        if beside < 10 * alone:
            return
    raise tap.Failed("; ".join(seen))


for _kinds in (("tcp", "tcp"), ("unix", "unix")):
    tap.case(f"{_kinds[0]} to {_kinds[1]}: a firehose beside {SESSIONS} ping-pong sessions on one thread")(
        lambda k=_kinds: _firehose(k))


def _share(kinds, one_by_one):
    pair = pairs.Pair(kinds, threads=2)
    idle = pair.proxy.sockets_by_thread()
    sessions = []
    if one_by_one:
        for _ in range(100):
            sessions.append(pair.relaying())
    else:
        crowd = [peers.client(pair.front) for _ in range(100)]
        sessions = [(client, pair.servers.take()) for client in crowd]
    counts = pair.proxy.sockets_by_thread()
    tap.equal(len(counts), 2, "event loops")
    tap.note(f"{idle} sockets before, {counts} with {len(sessions)} sessions")
    tap.between(max(counts), 100, 130, "sockets in the fuller loop, of 200 and the listeners")


for _kinds in (("tcp", "tcp"), ("unix", "unix")):
    for _one_by_one in (True, False):
        tap.case(f"{_kinds[0]} to {_kinds[1]}: two threads share 100 sessions, opened "
                 f"{'one by one' if _one_by_one else 'at once'}")(lambda k=_kinds, o=_one_by_one: _share(k, o))


@tap.case("a thread that is given fewer sessions catches up")
def _uneven():
    pair = pairs.Pair(("tcp", "tcp"), threads=2)
    for batch in range(2):
        sessions = [pair.relaying() for _ in range(60)]
        for client, server in sessions[::2]:        # with turns taken strictly, all of one thread
            client.close()
            server.close()
        pair.proxy.wait_access(30 * (batch + 1))
    for _ in range(60):
        pair.relaying()
    counts = pair.proxy.sockets_by_thread()
    tap.note(f"sockets by thread: {counts}")
    tap.check(counts[1] <= 0.6 * sum(counts), f"sockets by thread: {counts}")


tap.run()
