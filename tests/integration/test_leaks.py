#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Thousands of sessions of every kind leave nothing behind, and what waits costs no CPU."""
import socket

from lib import data, net, pairs, peers, proxy, tap

SMALL = "socket { sndbuf = 32K rcvbuf = 32K }\n"


class _Mill:
    """A proxy with a frontend for each kind of session, each of which ends in its own way."""

    def __init__(self, kinds, threads):
        directory = tap.tmpdir()
        self.front, self.dead, self.limit = (net.address_of(kinds[0], directory, name) for name in ("front", "dead", "limit"))
        back = net.address_of(kinds[1], directory, "back")
        nobody = net.address_of(kinds[1], directory, "nobody")
        self.kinds = kinds
        self.server = peers.Server(back, self.serve)
        config = (proxy.frontend("f", self.front, "b") + proxy.frontend("dead", self.dead, "nobody") +
                  proxy.frontend("limit", self.limit, "b", "timeouts { client = 10ms }") +
                  proxy.backend("b", back) + proxy.backend("nobody", nobody, "retries = 0"))
        self.proxy = proxy.Proxy(config, directory=directory, threads=threads, access=None)

    def serve(self, sock):
        """The first byte says how this session is to go."""
        how = sock.recv(1)
        if how == b"e":
            peers.echo(sock)
        elif how == b"r":
            net.reset(sock)
        elif how == b"u":
            sock.close()            # with input unread, perhaps
        else:
            peers.hold(sock)

    def one(self, number):
        kind = number % 8
        address = self.dead if kind == 6 else self.limit if kind == 7 else self.front
        try:
            sock = net.connect(address)
        except ConnectionResetError:
            return                  # refused before connect() was done
        try:
            if kind == 0:           # a full echo
                sock.sendall(b"e" + b"x" * 2000)
                sock.shutdown(socket.SHUT_WR)
                tap.equal(len(net.read_all(sock)[0]), 2000, "bytes echoed")
            elif kind == 1:         # the client resets in the middle
                sock.sendall(b"e" + b"x" * 2000)
                net.reset(sock)
            elif kind == 2:         # the server resets
                sock.sendall(b"r")
                net.ending(sock)
            elif kind == 3:         # nothing is ever said
                pass
            elif kind == 4:         # the client leaves the reply unread
                sock.sendall(b"e" + b"x" * 60000)
            elif kind == 5:         # the server leaves input unread
                sock.sendall(b"u" + b"x" * 60000)
                net.ending(sock)
            elif kind == 6:         # refused
                net.ending(sock)
            else:                   # timed out
                sock.sendall(b"h")
                net.ending(sock)
        except OSError:
            pass                    # how it ends is other tests' concern
        finally:
            sock.close()

    def run(self, count, workers=7):
        def work(first):
            for number in range(first, count, workers):
                self.one(number)
        for worker in [proxy.thread(work, first) for first in range(workers)]:
            worker.result()


def _returns(kinds, threads):
    mill = _Mill(kinds, threads)
    before = mill.proxy.fds()
    count = data.scaled(2000, 500)
    mill.run(count)
    mill.proxy.wait_fds(before)
    memory, pipes = mill.proxy.pss(), mill.proxy.pipes()
    mill.run(count)
    mill.proxy.wait_fds(before)
    grown = mill.proxy.pss() - memory
    tap.note(f"{pipes} and {mill.proxy.pipes()} descriptors of pipes are kept; memory grew by {grown} in the second {count}")
    if not proxy.sanitizer():
        tap.check(grown < 512 * 1024, f"memory grew by {grown} bytes over {count} sessions")
    mill.proxy.check_idle("all have left", 0.5)


for _kinds, _threads in ((("tcp", "tcp"), 1), (("tcp", "unix"), 2), (("unix", "tcp"), 1), (("unix", "unix"), 2)):
    tap.case(f"{_kinds[0]} to {_kinds[1]}, threads = {_threads}: twice 2,000 sessions of eight kinds leave nothing")(
        lambda k=_kinds, t=_threads: _returns(k, t))


@tap.case("pooled pipes go as well, when they are not needed for a while")
def _pipes():
    pair = pairs.Pair(("tcp", "tcp"))
    before = pair.proxy.fds()
    peers.exchange(pair.front, pair.servers, 30, data.scaled(1 << 20))
    pair.proxy.wait_access(30)
    pair.proxy.wait_fds(before)
    tap.note(f"{before} descriptors before, {pair.proxy.fds()} after: {pair.proxy.fd_kinds()}")


def _waiting(kinds, threads, seconds=2.0):
    pair = pairs.Pair(kinds, threads=threads, top=SMALL, buffers={"rcvbuf": 32768, "sndbuf": 32768})
    keep = []
    for number in range(12):
        client, server = pair.relaying()
        keep += [client, server]
        if number % 6 == 1:
            client.shutdown(socket.SHUT_WR)
        elif number % 6 == 2:
            server.shutdown(socket.SHUT_WR)
        elif number % 6 == 3:
            net.send_until_stuck(client, bytes(4 << 20), 0.1)
        elif number % 6 == 4:
            net.send_until_stuck(server, bytes(4 << 20), 0.1)
        elif number % 6 == 5:
            net.send_until_stuck(client, bytes(4 << 20), 0.1)
            net.send_until_stuck(server, bytes(4 << 20), 0.1)
            client.shutdown(socket.SHUT_WR)
    pair.proxy.check_idle("idle, half-closed and stalled sessions", seconds, 0.02)
    return pair, keep


for _kinds in pairs.PAIRS:
    tap.case(f"{_kinds[0]} to {_kinds[1]}: idle, half-closed and stalled sessions cost no CPU")(
        lambda k=_kinds: _waiting(k, 1) and None)


@tap.case("peers that vanish while the others are stalled cost no CPU")
def _vanished():
    pair, keep = _waiting(("tcp", "tcp"), 2, 0.5)
    for sock in keep[::4]:
        net.vanish(sock)
    for sock in keep[2::4]:
        net.reset(sock)
    pair.proxy.check_idle("peers that are gone", 2.0, 0.02)


tap.run()
