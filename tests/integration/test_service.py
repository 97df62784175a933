#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The service manager: what it is told, by a socket that stands in for it, and listening sockets that it passes."""
import os
import re
import signal
import socket
import sys
import time

from lib import arena, net, peers, proxy, tap

# Does what a service manager does for its socket units, in the process that the program then becomes.
ACTIVATE = """
import fcntl, os, socket, sys
names, addresses, line = sys.argv[1], sys.argv[2].split(","), sys.argv[3:]
for number, address in enumerate(addresses):
    if address.startswith("unix:"):
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(address[5:])
    else:
        host, port = address.rsplit(":", 1)
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, int(port)))
    sock.listen(64)
    fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD, 100 + number)
for number in range(len(addresses)):
    os.dup2(100 + number, 3 + number)
os.closerange(3 + len(addresses), 1000)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(addresses)), LISTEN_FDNAMES=names)
os.execv(line[0], line)
"""


class Manager:
    """A socket as in $NOTIFY_SOCKET, and what came in by it: lists of (when, "KEY=VALUE")."""

    def __init__(self):
        self.path = f"{tap.tmpdir()}/notify"
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(self.path)
        self.sock.setblocking(False)
        self.messages = []
        tap.cleanup(self.sock.close)

    def read(self):
        while True:
            try:
                text = self.sock.recv(4096).decode()
            except BlockingIOError:
                return self.messages
            self.messages += [(time.monotonic(), line) for line in text.splitlines()]

    def lines(self, pattern, start=0):
        """What matches, of the messages from number `start` on."""
        return [line for _, line in self.read()[start:] if re.search(pattern, line)]

    def wait(self, pattern, start=0, count=1, timeout=10.0):
        return proxy.wait_for(lambda: len(found := self.lines(pattern, start)) >= count and found,
                              lambda: f"{pattern} from message {start} on: {self.lines('', start)}", timeout)


class Managed(proxy.Proxy):
    """A proxy that a service manager has started."""

    def __init__(self, config, *, manager=None, watchdog_ms=0, sockets=None, **options):
        self.manager, self.watchdog_ms, self.sockets = manager, watchdog_ms, sockets or {}
        super().__init__(config, **options)

    def command(self, *args):
        line = super().command(*args)
        if self.sockets:
            line = [sys.executable, "-c", ACTIVATE, ":".join(self.sockets), ",".join(self.sockets.values()), *line]
        variables = [f"NOTIFY_SOCKET={self.manager.path}"] if self.manager else []
        if self.watchdog_ms:
            variables.append(f"WATCHDOG_USEC={self.watchdog_ms * 1000}")
        return ["/usr/bin/env", *variables, *line]


def supported():
    if "libsystemd: yes" not in proxy.run("-V")[1]:
        raise tap.Skip("built without libsystemd")


def simple(front, back):
    return proxy.frontend("f", front, "b") + proxy.backend("b", back)


def served(address, text=b"hello"):
    """Whether an echo comes back through the address."""
    sock = net.connect(address)
    sock.sendall(text)
    got = net.read_exactly(sock, len(text))
    sock.close()
    return got == text


def start(**options):
    """A manager, and a proxy under it before an echo server."""
    supported()
    manager, directory = Manager(), tap.tmpdir()
    front = f"127.0.0.1:{net.port()}"
    peers.Server(f"unix:{directory}/back", peers.echo)
    config = simple(front, f"unix:{directory}/back")
    return manager, Managed(config, manager=manager, directory=directory, **options), front, config


@tap.case("READY=1 once it serves, and a status")
def _ready():
    manager, running, front, _ = start()
    manager.wait("^READY=1$")
    tap.check(served(front), "the client is served")
    manager.wait("^STATUS=serving: ")
    tap.equal(manager.lines("^(RELOADING|STOPPING|MAINPID|WATCHDOG)="), [], "no word of anything else")
    running.signal(signal.SIGINT)
    tap.equal(running.wait(), 0, "exit status")
    manager.wait("^STOPPING=1$")


@tap.case("a reload: RELOADING=1 with its time, then READY=1; the same where it is refused, with the reason")
def _reload():
    manager, running, front, config = start()
    manager.wait("^READY=1$")
    for text, status in ((config, "^STATUS=serving: \\d+ sessions$"),
                         ("nonsense = 1\n" + config, "^STATUS=.* was refused: .*spliced.conf:\\d+: .*nonsense"),
                         (config, "^STATUS=serving: \\d+ sessions$")):
        number, before = len(manager.read()), time.monotonic()
        running.write_config(text)
        running.signal(signal.SIGHUP)
        manager.wait("^READY=1$", number)
        manager.wait(status, number)
        words = [line.partition("=")[0] for line in manager.lines("^(READY|RELOADING|MONOTONIC_USEC)=", number)]
        tap.equal(words, ["RELOADING", "MONOTONIC_USEC", "READY"], "what was told")
        told = int(manager.lines("^MONOTONIC_USEC=", number)[0].partition("=")[2]) / 1e6
        tap.between(told, before, time.monotonic(), "when the reload began")
        tap.check(served(front), "the client is served")


@tap.case("an upgrade: RELOADING=1, then READY=1 from the same process")
def _upgrade():
    manager, running, front, _ = start()
    manager.wait("^READY=1$")
    number = len(manager.read())
    running.signal(signal.SIGUSR2)
    manager.wait("^READY=1$", number)
    tap.equal(manager.lines("^(READY|RELOADING|STOPPING)=", number), ["RELOADING=1", "READY=1"], "what was told")
    running.wait_log("upgraded: this is spliced")
    tap.check(served(front), "the client is served")


@tap.case("a stop that drains: STOPPING=1 once, more time asked for again and again, a status")
def _drain():
    manager, running, front, _ = start(top="drain = 60s\n")
    manager.wait("^READY=1$")
    client = net.connect(front)
    client.sendall(b"hello")
    tap.equal(net.read_exactly(client, 5), b"hello", "the echo")
    number = len(manager.read())
    running.signal(signal.SIGTERM)
    manager.wait("^EXTEND_TIMEOUT_USEC=\\d{7,}$", number, count=2, timeout=20)
    manager.wait("^STATUS=draining: ", number)
    tap.equal(manager.lines("^STOPPING=", number), ["STOPPING=1"], "the stop is told once")
    client.close()
    tap.equal(running.wait(), 0, "exit status")


@tap.case("the watchdog is fed in time, also while a worker is replaced and a config is tried")
def _watchdog():
    manager, running, front, config = start(watchdog_ms=1000 * proxy.slowness())
    manager.wait("^WATCHDOG=1$", count=2)
    os.kill(running.worker(), signal.SIGKILL)
    manager.wait("^WATCHDOG=1$", len(manager.read()), count=2)
    running.write_config("nonsense = 1\n" + config)
    running.signal(signal.SIGHUP)
    manager.wait("^WATCHDOG=1$", len(manager.read()), count=2)
    # What is read late was not sent late: the gaps of what came while we only waited for it.
    times = [when for when, line in manager.messages if line == "WATCHDOG=1"]
    gaps = [later - sooner for sooner, later in zip(times, times[1:])]
    tap.check(max(gaps) < proxy.slowness(), f"the longest gap is {max(gaps):.3f} s")
    tap.check(served(front), "the client is served")


@tap.case("without a watchdog no pings; without a notify socket nothing goes wrong")
def _quiet():
    manager, running, front, _ = start()
    manager.wait("^READY=1$")
    time.sleep(1.5)
    tap.equal(manager.lines("^WATCHDOG="), [], "pings")
    running.stop()
    directory = tap.tmpdir()
    peers.Server(f"unix:{directory}/back", peers.echo)
    Managed(simple(front, f"unix:{directory}/back"), directory=directory)
    tap.check(served(front), "the client is served")


@tap.case("-D: MAINPID names the daemon before READY=1")
def _background():
    supported()
    manager, directory = Manager(), tap.tmpdir()
    running = Managed(simple(f"unix:{directory}/front", "unix:/nowhere"), manager=manager, directory=directory, start=False,
                      top=f'pid-file = "{directory}/pid"\nlog {{ to = "file:{directory}/main.log" }}\n', args=["-D"])
    running.start(ready=False)
    tap.equal(running.wait(), 0, "exit status of the command")
    with open(f"{directory}/pid", encoding="ascii") as file:
        pid = int(file.read())
    tap.cleanup(lambda: proxy.wait_for(lambda: proxy.ended(pid), "the daemon's end"))
    tap.cleanup(os.kill, pid, signal.SIGINT)
    manager.wait("^READY=1$")
    tap.equal(manager.lines("^(MAINPID|READY)="), [f"MAINPID={pid}", "READY=1"], "what was told")


@tap.case("one process alone: READY=1, WATCHDOG=1, STOPPING=1")
def _alone():
    manager, running, front, _ = start(keeper=False, watchdog_ms=4000)
    manager.wait("^READY=1$")
    manager.wait("^WATCHDOG=1$", count=2)
    client = net.connect(front)
    client.sendall(b"hello")
    net.read_exactly(client, 5)
    running.signal(signal.SIGTERM)
    manager.wait("^STOPPING=1$")
    manager.wait("^EXTEND_TIMEOUT_USEC=")
    client.close()
    tap.equal(running.wait(), 0, "exit status")


@tap.case("sockets from the manager, by name and by number: through crashes, reloads and an upgrade")
def _activation():
    supported()
    directory = tap.tmpdir()
    tcp, unix, third = f"127.0.0.1:{net.port()}", f"unix:{directory}/local.sock", f"127.0.0.1:{net.port()}"
    peers.Server(f"unix:{directory}/back", peers.echo)
    both = proxy.frontend("f", ["fd:web", "fd:local"], "b") + proxy.backend("b", f"unix:{directory}/back")
    running = Managed(both, sockets={"web": tcp, "local": unix, "later": third}, directory=directory)
    inode = os.stat(f"{directory}/local.sock").st_ino
    stays = net.connect(tcp)

    def check(addresses, what):
        for address in addresses:
            tap.check(served(address), f"{address} is served {what}")
        stays.sendall(b"still here")
        tap.equal(net.read_exactly(stays, 10), b"still here", f"the session that was first, {what}")

    check((tcp, unix), "at the start")
    former = running.worker()
    arena.rest(running)
    os.kill(former, signal.SIGKILL)
    running.wait_worker(former)
    check((tcp, unix), "after a crash")
    # Both go, another one comes by its number; what waits in the manager's sockets is served when they are back.
    for listen, addresses in (("fd:5", (third,)), (["fd:web", "fd:local", "fd:later"], (tcp, unix, third))):
        former = running.worker()
        running.write_config(proxy.frontend("f", listen, "b") + proxy.backend("b", f"unix:{directory}/back"))
        running.signal(signal.SIGHUP)
        running.wait_worker(former)
        check(addresses, f"after a reload to {listen}")
    running.write_config("socket { nodelay = off }\n" + both)
    former = running.worker()
    running.signal(signal.SIGHUP)
    running.wait_worker(former)
    tap.equal(len(running.log_lines("socket options of the open listener changed")), 2, "listeners whose options changed")
    waiting = net.connect(third)
    waiting.sendall(b"waits")
    former = running.worker()
    running.signal(signal.SIGUSR2)
    running.wait_worker(former)
    check((tcp, unix), "after an upgrade")
    running.write_config(proxy.frontend("f", ["fd:web", "fd:local", "fd:later"], "b") +
                         proxy.backend("b", f"unix:{directory}/back"))
    former = running.worker()
    running.signal(signal.SIGHUP)
    running.wait_worker(former)
    check((tcp, unix, third), "after a reload of the new binary")
    tap.equal(net.read_exactly(waiting, 5), b"waits", "the client that waited")
    stays.close()
    running.stop()
    tap.equal(os.stat(f"{directory}/local.sock").st_ino, inode, "the manager's path is left alone")


@tap.case("a socket that was not passed: exit status 2 and what there is, at start; a refused reload later")
def _absent():
    supported()
    directory = tap.tmpdir()
    web = f"unix:{directory}/web.sock"
    running = Managed(simple("fd:nonesuch", "unix:/nowhere"), sockets={"web": web}, directory=directory, start=False)
    running.expected = 2
    running.start(ready=False)
    tap.equal(running.wait(), 2, "exit status")
    tap.check(running.log_lines("no socket nonesuch.*web"), f"the log names both: {running.log()}")
    os.unlink(f"{directory}/web.sock")

    directory = tap.tmpdir()
    peers.Server(f"unix:{directory}/back", peers.echo)
    running = Managed(simple("fd:web", f"unix:{directory}/back"), sockets={"web": web}, directory=directory)
    worker = running.worker()
    running.write_config(simple("fd:nonesuch", f"unix:{directory}/back"))
    running.signal(signal.SIGHUP)
    running.wait_log("reload refused: ")
    tap.equal(running.worker(), worker, "the worker")
    tap.check(served(web), "the client is served")


@tap.case("fd: without a service manager: exit status 2, and says so")
def _no_manager():
    running = proxy.Proxy(simple("fd:web", "unix:/nowhere"), start=False)
    running.expected = 2
    running.start(ready=False)
    tap.equal(running.wait(), 2, "exit status")
    tap.check(running.log_lines("service manager|libsystemd"), f"the log says so: {running.log()}")


tap.run()
