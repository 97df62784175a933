# SPDX-License-Identifier: ISC
"""The proxies under test: how each is configured, started, found ready and stopped; here spliced, in peers.py the others.

A proxy has one frontend for each Route, and all share the servers (loads.Servers) behind them.  Some proxies serve
every route from one process, others take one process a route.
"""
import ctypes
import os
import pathlib
import re
import resource
import signal
import socket
import struct
import subprocess
import time
from dataclasses import dataclass
from typing import NamedTuple

PAIRS = [("tcp", "tcp"), ("tcp", "unix"), ("unix", "tcp"), ("unix", "unix")]
READY_S = 40
PORTS_FROM = 2000  # all below the ephemeral range that run gives the namespace
SERVER_PORTS = {"sink": 1801, "echo": 1802, "iperf": 1803}
PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None)


class Route(NamedTuple):
    """What a frontend joins: its clients' domain, its servers' domain, and the service behind it."""

    client: str
    server: str
    service: str

    def __str__(self):
        return f"{self.client}-{self.server}-{self.service}"


IPERF = Route("tcp", "tcp", "iperf")
ROUTES = tuple(Route(client, server, service) for client, server in PAIRS for service in ("sink", "echo")) + (IPERF,)


@dataclass(frozen=True)
class Setup:
    """How a proxy is started: what differs between cells."""

    routes: tuple = ROUTES
    servers: int = 1
    threads: int = 1
    under: tuple = ()  # the command that runs it, which takes one process only


class Failure(Exception):
    """Something that a measurement needs did not work; the text says what."""


def die_with_parent():
    """For preexec_fn: no proxy outlives a benchmark that is killed."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def unix_path(directory, service):
    return f"unix:{directory}/{service}.sock"


def connect(address):
    """A connected socket to an address as the load tool writes it."""
    if address.startswith("unix:"):
        client, target = socket.socket(socket.AF_UNIX), address.removeprefix("unix:")
    else:
        host, _, port = address.rpartition(":")
        client, target = socket.socket(), (host, int(port))
    client.settimeout(1)
    try:
        client.connect(target)
    except OSError:
        client.close()
        raise
    return client


def descriptors():
    """How many a process may have."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


class Proxy:
    """One proxy under test.  name stands on the command line and in files, title in tables, package is Debian's."""

    pairs = PAIRS  # those that it can join
    package = None
    threaded = False  # takes a number of threads
    balances = False  # takes several servers
    single = False  # can run as one process, under a debugger
    descriptors_each = 2  # of a session

    def __init__(self, name, title, binary):
        self.name, self.title, self.binary = name, title, binary
        self.directory = self.number = self.log = None
        self.setup = Setup()
        self.running = {}  # route: its process

    def place(self, directory, number):
        """Where it may write, and which of the proxies it is: its ports and paths follow from that."""
        self.directory, self.number = pathlib.Path(directory), number

    def present(self):
        """Whether it is installed."""
        return os.access(self.binary, os.X_OK)

    def version(self):
        raise NotImplementedError

    def configuration(self):
        raise NotImplementedError

    def command(self, config):
        raise NotImplementedError

    def can(self, route):
        return (route.client, route.server) in self.pairs

    def sessions(self, wanted):
        """As many idle sessions as are wanted, or as it has descriptors for."""
        return min(wanted, (descriptors() - 500) // self.descriptors_each)

    @property
    def routes(self):
        return [route for route in self.setup.routes if self.can(route)]

    @property
    def process(self):
        """The main process, of a proxy that serves all routes from one."""
        return next(iter(self.running.values()), None)

    def pids(self, route=None):
        """The processes that it was started as: all, or the one that serves a route."""
        return sorted({process.pid for key, process in self.running.items() if route in (None, key)})

    def alive(self):
        return bool(self.running) and all(process.poll() is None for process in self.running.values())

    def address(self, route):
        """Where its frontend for a route listens, as the load tool writes it."""
        if route.client == "unix":
            return f"unix:{self.directory}/{self.name}-{route}.sock"
        return f"127.0.0.1:{PORTS_FROM + self.number * len(ROUTES) + ROUTES.index(route)}"

    def servers(self, route):
        """The servers of a route.  Each proxy has an address of its own for them, so that none meets the ports that the
        connections of another have just used; many servers are one that listens on many addresses."""
        if route.server == "unix":
            return [unix_path(self.directory, route.service)]
        if self.setup.servers == 1:
            hosts = [f"127.1.0.{self.number + 1}"]
        else:
            hosts = [f"127.{2 + self.number}.{i // 200}.{1 + i % 200}" for i in range(self.setup.servers)]
        return [f"{host}:{SERVER_PORTS[route.service]}" for host in hosts]

    def start(self, setup=Setup()):
        """Starts it and returns once every frontend has passed bytes there and back."""
        self.stop()
        self.setup = setup
        self.log = self.directory / f"{self.name}.log"
        try:
            with open(self.log, "wb") as log:
                self.spawn(log)
            deadline = time.monotonic() + READY_S
            for route in self.routes:
                self.wait_ready(route, deadline)
        except BaseException:
            self.stop()
            raise

    def spawn(self, log):
        config = self.directory / f"{self.name}.conf"
        config.write_text(self.configuration())
        process = self.run([*self.setup.under, *self.command(config)], log)
        self.running = {route: process for route in self.routes}

    @staticmethod
    def run(command, log, stdin=subprocess.DEVNULL):
        return subprocess.Popen(command, stdin=stdin, stdout=log, stderr=log, preexec_fn=die_with_parent)

    def wait_ready(self, route, deadline):
        while not self.answers(route):
            if self.running[route].poll() is not None or time.monotonic() > deadline:
                said = self.log.read_text(errors="replace").strip()[-2000:]
                raise Failure(f"{self.title} is not ready at {self.address(route)}: {said or 'it says nothing'}")
            time.sleep(0.02)

    def answers(self, route):
        """echo answers with what it was sent, sink with what has arrived, and iperf's server is not there yet."""
        try:
            with connect(self.address(route)) as client:
                if route == IPERF:
                    return True
                client.sendall(struct.pack("QQ", 0, 16))
                return client.recv(16, socket.MSG_WAITALL) == struct.pack("QQ", *((0, 16), (16, 0))[
                    route.service == "sink"])
        except OSError:
            return False

    def stop(self):
        processes = set(self.running.values())
        self.running = {}
        for process in processes:
            process.send_signal(signal.SIGINT)  # "now" to every proxy here
        for process in processes:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Spliced(Proxy):
    """spliced with its default configuration, but one thread, as its peers.  options as --no-keeper."""

    threaded = balances = single = True

    def __init__(self, name, title, binary, options=()):
        super().__init__(name, title, binary)
        self.options = list(options)

    def version(self):
        said = subprocess.run([self.binary, "-V"], capture_output=True, text=True, check=False).stdout
        return said.partition("\n")[0] or "an unknown version of spliced"

    def configuration(self):
        # The default path is one for the whole machine.
        parts = [f"threads = {self.setup.threads}", f'admin {{ socket = "{self.directory}/{self.name}-admin.sock" }}']
        if self.setup.under:
            parts.append("sandbox = off")  # valgrind knows neither seccomp() nor what it forbids
        for route in self.routes:
            parts.append(f'frontend "{route}" {{ listen "{self.address(route)}" {{ }} backend = "{route}" }}\n'
                         f'backend "{route}" {{')
            parts += [f'    server "s{i}" {{ address = "{server}" }}' for i, server in enumerate(self.servers(route))]
            parts.append("}")
        return "\n".join(parts) + "\n"

    def command(self, config):
        alone = ["--no-keeper"] if self.setup.under and "--no-keeper" not in self.options else []
        return [self.binary, *self.options, *alone, "-f", str(config)]


def said_version(command, pattern):
    """What a program says of its version."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(pattern, done.stdout + done.stderr)
    return found.group(1) if found else "of an unknown version"
