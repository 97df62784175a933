#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Everything at once on two threads for a few seconds; under sanitizers, the case that shows races."""
import os
import random
import signal
import socket
import threading
import time

from lib import data, net, pairs, peers, proxy, tap

SECONDS = 5


class _Load:
    """Clients of many kinds, each of which checks what it can, until told to stop."""

    def __init__(self, fronts, dead):
        self.fronts, self.dead = fronts, dead
        self.stop = False
        self.done = {}
        self.lock = threading.Lock()

    def _count(self, what):
        with self.lock:
            self.done[what] = self.done.get(what, 0) + 1

    def _echo(self, rng, sock):
        size = rng.choice((1, 100, 5000, 70000, 400000))
        sent = data.payload(size, rng.randrange(1000))
        sending = proxy.thread(lambda: (sock.sendall(b"e"), sock.sendall(sent), sock.shutdown(socket.SHUT_WR)))
        got, error = net.read_all(sock)
        sending.result()
        tap.equal((data.describe(got), error), (data.describe(sent), None), "an echo")

    @staticmethod
    def _ping_pong(rng, sock):
        sock.sendall(b"e")
        for number in range(30):
            message = b"%d" % (number * 10007) * rng.randrange(1, 20)
            sock.sendall(message)
            tap.equal(net.read_exactly(sock, len(message)), message, "an answer")

    @staticmethod
    def _urgent(rng, sock):
        sock.sendall(b"e" + b"x" * rng.randrange(5000))
        try:
            sock.send(b"!", socket.MSG_OOB)
        except OSError:
            pass
        sock.sendall(b"y" * 1000)
        sock.shutdown(socket.SHUT_WR)
        tap.check(net.read_all(sock)[0].endswith(b"y" * 1000), "the end of an echo after an urgent byte")

    @staticmethod
    def _reset(rng, sock):
        sock.sendall(b"e" + b"x" * rng.randrange(100000))
        net.reset(sock)

    @staticmethod
    def _unread(rng, sock):
        sock.sendall(b"e" + b"x" * rng.randrange(30000))

    @staticmethod
    def _server_resets(_, sock):
        sock.sendall(b"r")
        net.ending(sock)

    @staticmethod
    def _slow(rng, sock):
        sock.sendall(b"s")
        total = 0
        while piece := sock.recv(rng.randrange(1, 30000)):
            total += len(piece)
        tap.equal(total, 300000, "bytes of a slow download")

    def client(self, seed):
        rng = random.Random(seed)
        kinds = [self._echo, self._ping_pong, self._urgent, self._reset, self._unread, self._server_resets, self._slow, None]
        while not self.stop:
            kind = rng.choice(kinds)
            if kind is None:
                net.fate(self.dead)
                self._count("refused")
                continue
            sock = net.connect(rng.choice(self.fronts))
            try:
                kind(rng, sock)
            except OSError as error:
                if kind not in (self._reset, self._unread, self._server_resets):
                    raise tap.Failed(f"{kind.__name__}: {net.error_name(error)}") from error
            finally:
                sock.close()
            self._count(kind.__name__)
        return True


def _serve(sock):
    how = sock.recv(1)
    if how == b"e":
        peers.echo(sock)
    elif how == b"r":
        net.reset(sock)
    elif how == b"s":
        sock.sendall(bytes(300000))


def _start(threads, directory):
    fronts = [f"127.0.0.1:{net.port()}", f"unix:{directory}/front", f"127.0.0.1:{net.port()}", f"unix:{directory}/front2"]
    dead = f"127.0.0.1:{net.port()}"
    backs = [f"127.0.0.1:{net.port()}", f"unix:{directory}/back"]
    for back in backs:
        peers.Server(back, _serve)
    nobody = f"127.0.0.1:{net.port()}"
    config = (proxy.frontend("f", fronts[:2], "tcp") + proxy.frontend("g", fronts[2:], "both", "max-connections = 10") +
              proxy.frontend("dead", dead, "dead") +
              proxy.backend("tcp", backs[0]) +
              proxy.backend("both", proxy.server("a", backs[0], "weight = 2") + proxy.server("b", backs[1]) +
                            proxy.server("gone", nobody)) +
              proxy.backend("dead", nobody, "retries = 1"))
    return proxy.Proxy(config, directory=directory, threads=threads), _Load(fronts, dead)


def _mixed(threads):
    directory = tap.tmpdir()
    running, load = _start(threads, directory)
    before = running.fds()
    workers = [proxy.thread(load.client, seed) for seed in range(16)]
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        time.sleep(0.25)
        if running.running() and os.path.exists(running.access_path):
            os.rename(running.access_path, f"{directory}/access.old")
            running.signal(signal.SIGUSR1)
    load.stop = True
    for worker in workers:
        worker.result()
    tap.note(f"{load.done}")
    tap.check(len(load.done) >= 8, f"every kind had its turn: {load.done}")
    running.wait_fds(before)
    running.check_idle("the load is over", 0.5)
    odd = running.log_lines(r"\binternal\b|bug|assert|ILLEGAL|illegal")
    tap.equal(odd, [], "odd lines in the log")


for _threads in (2, 4):
    tap.case(f"threads = {_threads}: {SECONDS} seconds of everything")(lambda t=_threads: _mixed(t))


@tap.case("stopped in the middle of everything")
def _stopped():
    for number in (signal.SIGINT, signal.SIGTERM):
        running, load = _start(2, tap.tmpdir())
        workers = [proxy.thread(_until_end, load, seed) for seed in range(12)]
        time.sleep(1.0)
        running.signal(number)
        time.sleep(0.3)
        load.stop = True
        tap.equal(running.wait(), 0, "exit status")
        for worker in workers:
            worker.result()


def _until_end(load, seed):
    try:
        load.client(seed)
    except (OSError, tap.Failed):
        pass        # the proxy has been stopped


@tap.case("started and stopped many times in a row")
def _restarts():
    directory = tap.tmpdir()
    address = f"127.0.0.1:{net.port()}"
    path = f"unix:{directory}/front"
    peers.Server(f"unix:{directory}/back", peers.say("hi"))
    for number in range(10):
        running = proxy.Proxy(proxy.frontend("f", [address, path], "b") + proxy.backend("b", f"unix:{directory}/back"),
                              directory=directory, threads=2, start=False)
        running.log_path += str(number)
        running.start()
        for front in (address, path):
            tap.equal(net.read_exactly(peers.client(front), 2), b"hi", "the answer")
        running.stop()


@pairs.each("large and many at once, both ways, with a timer that fires all the time")
def _with_timers(kinds):
    pair = pairs.Pair(kinds, threads=2, top="timeouts { client = 5s server = 5s }\n")
    peers.exchange(pair.front, pair.servers, 40, data.scaled(2 << 20))


tap.run()
