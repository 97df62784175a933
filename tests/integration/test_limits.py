#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""At a limit of connections the surplus waits in the backlog and is served after others leave."""
import select
import socket
import time

from lib import net, peers, proxy, tap


def _ready(socks, seconds):
    """How many of the sockets have something to read after so many seconds."""
    time.sleep(seconds)
    return [sock for sock in socks if select.select([sock], [], [], 0)[0]]


def _start(kind, frontend="", threads=1, top="", fronts=1):
    directory = tap.tmpdir()
    addresses = [net.address_of(kind, directory, f"front{n}") for n in range(fronts)]
    back = f"unix:{directory}/back"
    upstream = peers.Server(back, peers.say("hi"))
    config = "".join(proxy.frontend(f"f{n}", address, "b", frontend if n == 0 else "")
                     for n, address in enumerate(addresses)) + proxy.backend("b", back)
    return proxy.Proxy(config, directory=directory, threads=threads, top=top), addresses, upstream


def _limited(kind, threads, **limit):
    running, (front,), upstream = _start(kind, threads=threads, **limit)
    clients = [peers.client(front) for _ in range(12)]
    proxy.wait_for(lambda: len(_ready(clients, 0)) >= 4, "four clients to be served")
    served = _ready(clients, 0.3)
    tap.equal((len(served), upstream.count), (4, 4), "clients served at the limit, sessions at the server")
    running.check_idle("clients wait in the backlog", 0.5)
    waiting = [sock for sock in clients if sock not in served]
    while waiting:
        served.pop(0).close()
        new = proxy.wait_for(lambda: _ready(waiting, 0), f"one more client to be served, {len(waiting)} wait")
        tap.check(len(_ready(waiting, 0.05)) == 1, "exactly one more is served")
        waiting.remove(new[0])
        served.append(new[0])
    # A client that leaves while it waits is nobody's loss.
    gone = peers.client(front)
    last = peers.client(front)
    gone.close()
    served.pop(0).close()
    served.pop(0).close()
    tap.equal(net.read_exactly(last, 2), b"hi", "the one that stayed")


for _kind in ("tcp", "unix"):
    for _threads in (1, 2):
        tap.case(f"{_kind}, threads = {_threads}: max-connections of the whole proxy")(
            lambda k=_kind, t=_threads: _limited(k, t, top="max-connections = 4\n"))
        tap.case(f"{_kind}, threads = {_threads}: max-connections of a frontend")(
            lambda k=_kind, t=_threads: _limited(k, t, frontend="max-connections = 4"))


@tap.case("one frontend at its limit leaves the other alone")
def _two_frontends():
    _, (limited, free), _ = _start("tcp", frontend="max-connections = 2", fronts=2)
    clients = [peers.client(limited) for _ in range(6)]
    proxy.wait_for(lambda: len(_ready(clients, 0)) >= 2, "two clients to be served")
    others = [peers.client(free) for _ in range(10)]
    for sock in others:
        tap.equal(net.read_exactly(sock, 2), b"hi", "a client of the other frontend")
    tap.equal(len(_ready(clients, 0.2)), 2, "clients served at the limit")


@tap.case("the whole proxy's limit holds over several frontends, and each gets its turn")
def _shared():
    _, fronts, _ = _start("tcp", top="max-connections = 4\n", fronts=3, threads=2)
    clients = [peers.client(front) for _ in range(4) for front in fronts]
    served = []
    while clients:
        now = proxy.wait_for(lambda: _ready(clients, 0), f"more clients to be served, {len(clients)} wait")
        tap.check(len(_ready(clients, 0.02)) + len(served) <= 4, "no more than four at once")
        for sock in now:
            clients.remove(sock)
            sock.close()


@tap.case("a half-closed session counts")
def _half_closed():
    directory = tap.tmpdir()
    front, back = f"127.0.0.1:{net.port()}", f"unix:{directory}/back"
    servers = peers.Accepted(back)
    proxy.Proxy(proxy.frontend("f", front, "b", "max-connections = 1") + proxy.backend("b", back), directory=directory)
    first = peers.client(front)
    server = servers.take()
    first.shutdown(socket.SHUT_WR)
    tap.equal(server.recv(1), b"", "at the server")
    peers.client(front)
    try:
        servers.take(0.4)
        raise tap.Failed("a second session was served beside the half-closed one")
    except TimeoutError:
        pass
    server.close()
    servers.take()


@tap.case("backlog: what is over it does not connect")
def _backlog():
    directory = tap.tmpdir()
    front, back = f"unix:{directory}/front", f"unix:{directory}/back"
    peers.Server(back, peers.say("hi"))
    proxy.Proxy(proxy.frontend("f", [(front, "backlog = 2")], "b", "max-connections = 1") + proxy.backend("b", back),
                directory=directory)
    tap.equal(net.read_exactly(peers.client(front), 2), b"hi", "the first client")
    waiting = 0
    while waiting < 10:
        try:
            peers.client(front, timeout=0.2)
        except BlockingIOError:
            break
        waiting += 1
    tap.between(waiting, 2, 3, "clients in a backlog of 2 (the kernel counts one more)")


@tap.case("surplus clients are still served after a second of waiting, in order of their coming")
def _order():
    running, (front,), upstream = _start("tcp", frontend="max-connections = 1")
    clients = []
    for _ in range(5):
        clients.append(peers.client(front))
    proxy.wait_for(lambda: upstream.count == 1, "the first session")
    time.sleep(1.0)         # longer than any retry timer of the listener
    for number, sock in enumerate(clients):
        tap.equal(net.read_exactly(sock, 2), b"hi", f"client {number}")
        tap.equal(len(_ready(clients[number + 1:], 0.02)), 0, "nobody is served out of turn")
        sock.close()
    running.wait_access(5)


tap.run()
