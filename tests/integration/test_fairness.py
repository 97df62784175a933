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


@tap.case("two threads: neither does much more than its share")
def _share():
    if len(os.sched_getaffinity(0)) < 2:
        raise tap.Skip("one CPU only")
    pair = pairs.Pair(("tcp", "tcp"), threads=2)
    sessions = [pair.session() for _ in range(60)]
    before = {thread: pair.proxy.cpu(thread) for thread in pair.proxy.threads()}
    until = time.monotonic() + 60
    message = bytes(16384)
    while time.monotonic() < until:
        for client, _ in sessions:
            client.sendall(message)
        for _, server in sessions:
            net.read_exactly(server, len(message))
        used = sorted((pair.proxy.cpu(thread) - cpu for thread, cpu in before.items()), reverse=True)[:2]
        if sum(used) > 0.6:
            break
    tap.note(f"CPU seconds of the two busiest threads: {used}")
    tap.check(used[1] > used[0] * 0.4, f"the threads used {used} CPU seconds on 60 equal sessions")


@tap.case("two threads: sessions opened one at a time are shared too")
def _share_one_by_one():
    pair = pairs.Pair(("unix", "unix"), threads=2)
    sessions = []
    for _ in range(40):
        client, server = pair.session()
        client.sendall(b"x")
        net.read_exactly(server, 1)
        sessions.append((client, server))
    before = {thread: pair.proxy.cpu(thread) for thread in pair.proxy.threads()}
    until = time.monotonic() + 60
    while time.monotonic() < until:
        for client, server in sessions:
            client.sendall(b"x" * 8192)
            net.read_exactly(server, 8192)
        used = sorted((pair.proxy.cpu(thread) - cpu for thread, cpu in before.items()), reverse=True)[:2]
        if sum(used) > 0.5:
            break
    tap.note(f"CPU seconds of the two busiest threads: {used}")
    tap.check(used[1] > used[0] * 0.3, f"the threads used {used} CPU seconds on 40 equal sessions")


tap.run()
