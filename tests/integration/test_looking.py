#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""What looking at the daemon costs those who use it: with many servers and sessions, and with a crowd at the admin socket.

A session that passes 64 bytes there and back every millisecond notes how long each time took.  The figures are told; what
is judged is far from what a quiet machine shows, and yet would tell a lock that is held or a loop that looks at
everything at once.  tests/bench/run measures the same in earnest.
"""
import resource
import socket
import threading
import time

from lib import admin, net, peers, proxy, tap

SERVERS, SESSIONS, CROWD, PINGS = 1000, 1500, 1000, 700
SCRAPE_MS, STALL_MS = 500, 500


def _serve(echo, hold):
    """The servers: one that echoes, and one that takes connections and keeps them."""
    peers.Server(echo, peers.echo)
    listener, held = net.listen(hold), []
    while True:
        held.append(listener.accept())


def _stay(address, count):
    """Clients that have nothing to say."""
    held = [net.connect(address) for _ in range(count)]
    time.sleep(600)
    return len(held)


def _ping(address, count):
    """How long each of so many exchanges took after the time when it was due, in ms."""
    took = []
    with net.connect(address, timeout=60) as sock:
        due = time.monotonic()
        while len(took) < count:
            time.sleep(max(0.0, due - time.monotonic()))
            sock.sendall(b"p" * 64)
            net.read_exactly(sock, 64)
            late = time.monotonic() - due
            took.append(late * 1000)
            due += max(late, 0.001)
    return took


class _Setup:
    """1,000 servers, of which one holds many sessions, and one has the pings; all descriptors that there may be."""

    def __init__(self, **options):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.directory = tap.tmpdir()
        self.front, self.many = (f"unix:{self.directory}/{name}" for name in ("front", "many"))
        echo, hold = (f"unix:{self.directory}/{name}" for name in ("echo", "hold"))
        peers.Process(_serve, echo, hold)
        proxy.wait_for(lambda: net.listening(echo) and net.listening(hold), "the servers")
        spare = "".join(proxy.server(f"s{number}", f"10.9.{number >> 8}.{number & 255}:80") for number in range(SERVERS - 2))
        self.daemon = proxy.Proxy(proxy.frontend("f", self.front, "echo") + proxy.frontend("many", self.many, "hold") +
                                  proxy.backend("echo", echo) + proxy.backend("hold", hold) +
                                  proxy.frontend("g", f"unix:{self.directory}/spare", "spare") + proxy.backend("spare", spare),
                                  directory=self.directory, threads=1, **options)
        self.api = admin.of(self.daemon)

    def sessions(self, count):
        peers.Process(_stay, self.many, count)
        proxy.wait_for(lambda: self.api.status()["sessions"] >= count, f"{count} sessions", 60)

    def pings(self, meanwhile=None):
        """The exchanges while something is done again and again: (median, 99th of a hundred, longest) in ms."""
        pinging = peers.Process(_ping, self.front, PINGS)
        done = threading.Event()

        def wait():
            took = pinging.result(60 * proxy.slowness())
            done.set()
            return sorted(took)
        waiting = proxy.thread(wait)
        while meanwhile and not done.is_set():
            meanwhile()
        took = waiting.result()
        return took[len(took) // 2], took[len(took) * 99 // 100], took[-1]


def _judge(what, without, beside):
    tap.note(f"{what}: median, p99, longest of {PINGS} pings: " +
             ", ".join(f"{name} {' / '.join(f'{ms:.2f}' for ms in figures)} ms"
                       for name, figures in (("without", without), ("beside", beside))))
    tap.check(beside[2] < without[2] + STALL_MS * proxy.slowness(), f"no stall from {what}: {beside} after {without}")


@tap.case(f"scrapes and lists with {SERVERS} servers and {SESSIONS} sessions are quick, and no session waits for them", 60)
def _scrapes():
    setup = _Setup()
    setup.sessions(SESSIONS)
    took = {"/metrics": [], "/v1/sessions": [], "/v1/backends": []}

    def ask():
        for path, times in took.items():
            begun = time.monotonic()
            answer = setup.api.ask("GET", path)
            times.append((time.monotonic() - begun) * 1000)
            tap.equal(answer.status, 200, path)
            wanted = {"/metrics": (b"\nspliced_server_up{", SERVERS), "/v1/sessions": (b'"id":', SESSIONS),
                      "/v1/backends": (b'"connect_ms":', SERVERS)}[path]
            tap.check(answer.body.count(wanted[0]) >= wanted[1], f"{path} has them all")
    without = setup.pings()
    beside = setup.pings(ask)
    for path, times in took.items():
        times.sort()
        tap.note(f"{path}: {len(times)} times, median {times[len(times) // 2]:.1f} ms, longest {times[-1]:.1f} ms")
        tap.check(times[len(times) // 2] < SCRAPE_MS * proxy.slowness(), f"{path} is quick")
    _judge("scrapes and lists", without, beside)


@tap.case(f"{CROWD} idle clients of the admin socket: an operator is answered, and no session waits for them", 60)
def _crowd():
    setup = _Setup()
    before = setup.daemon.fds()
    idle = []
    without = setup.pings()

    def come():
        """Ten more of them, half in the midst of a request, and after each hundred an operator."""
        for number in range(10 if len(idle) < CROWD else 0):
            sock = socket.socket(socket.AF_UNIX)
            tap.cleanup(sock.close)
            sock.setblocking(False)
            try:
                sock.connect(setup.daemon.admin_path)
                sock.send(b"GET /v1/status HTTP/1.1\r\nHos" if number % 2 else b"")
            except (BlockingIOError, BrokenPipeError, ConnectionResetError):
                pass
            idle.append(sock)
        if len(idle) % 100 == 0:
            tap.equal(setup.api.status()["state"], "serving", "the operator's answer")

    beside = setup.pings(come)
    while len(idle) < CROWD:
        come()
    begun = time.monotonic()
    tap.equal(setup.api.status()["state"], "serving", "the answer in the end")
    tap.note(f"an operator's answer beside {CROWD} idle clients: {(time.monotonic() - begun) * 1000:.1f} ms")
    tap.check(setup.daemon.fds() < before + 40, f"few are kept: {setup.daemon.fds()} descriptors, {before} before")
    _judge("idle clients", without, beside)


tap.run()
