# SPDX-License-Identifier: ISC
"""The proxies under test: how each is configured, started, found ready and stopped.

A new peer is a subclass of Proxy with a configuration and a command, and a line in peers().
Every proxy has one frontend for each Route, and all share the servers (loads.Servers) behind them.
"""
import ctypes
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time
from typing import NamedTuple

PAIRS = [("tcp", "tcp"), ("tcp", "unix"), ("unix", "tcp"), ("unix", "unix")]
SERVICES = ["sink", "echo"]
READY_S = 10
PORTS_FROM = 2000  # all below the ephemeral range that run gives the namespace
SERVER_PORTS = {"sink": 1801, "echo": 1802}
PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None)


class Route(NamedTuple):
    """What a frontend joins: its clients' domain, its servers' domain, and the service behind it."""

    client: str
    server: str
    service: str

    def __str__(self):
        return f"{self.client}-{self.server}-{self.service}"


ROUTES = [Route(client, server, service) for client, server in PAIRS for service in SERVICES]


class Failure(Exception):
    """Something that a measurement needs did not work; the text says what."""


def die_with_parent():
    """For preexec_fn: no proxy outlives a benchmark that is killed."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def server_address(directory, domain, service):
    """Where the load tool's sink or echo server listens, as the load tool writes it."""
    return f"127.0.0.1:{SERVER_PORTS[service]}" if domain == "tcp" else f"unix:{directory}/{service}.sock"


class Proxy:
    """One proxy under test.  name stands on the command line and in files, title in tables."""

    def __init__(self, name, title, binary):
        self.name, self.title, self.binary = name, title, binary
        self.directory = self.number = self.process = self.log = None

    def place(self, directory, number):
        """Where it may write, and which of the proxies it is: its ports and paths follow from that."""
        self.directory, self.number = pathlib.Path(directory), number

    def version(self):
        raise NotImplementedError

    def configuration(self):
        raise NotImplementedError

    def command(self, config):
        raise NotImplementedError

    def address(self, route):
        """Where its frontend for a route listens, as the load tool writes it."""
        if route.client == "unix":
            return f"unix:{self.directory}/{self.name}-{route}.sock"
        return f"127.0.0.1:{PORTS_FROM + self.number * len(ROUTES) + ROUTES.index(route)}"

    def server(self, route):
        return server_address(self.directory, route.server, route.service)

    def start(self):
        """Starts it and returns once every frontend has passed bytes there and back."""
        config = self.directory / f"{self.name}.conf"
        config.write_text(self.configuration())
        self.log = self.directory / f"{self.name}.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(self.command(config), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            preexec_fn=die_with_parent)
        deadline = time.monotonic() + READY_S
        for route in ROUTES:
            while not self.answers(route):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    said = self.log.read_text(errors="replace").strip()
                    raise Failure(f"{self.title} is not ready at {self.address(route)}: {said or 'it says nothing'}")
                time.sleep(0.02)

    def answers(self, route):
        """Both services answer the end of a stream: echo with the stream, sink with what has arrived."""
        address = self.address(route)
        try:
            if route.client == "unix":
                client = socket.socket(socket.AF_UNIX)
                target = address.removeprefix("unix:")
            else:
                client = socket.socket()
                target = (address.split(":")[0], int(address.split(":")[1]))
            with client:
                client.settimeout(1)
                client.connect(target)
                client.sendall(b"12345678")
                client.shutdown(socket.SHUT_WR)
                return bool(client.recv(1))
        except OSError:
            return False

    def stop(self):
        if not self.process:
            return
        self.process.send_signal(signal.SIGINT)  # "now" to every proxy here
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None


class HAProxy(Proxy):
    """HAProxy in TCP mode, one thread, nothing logged, no statistics kept."""

    def __init__(self, name, title, options=(), tuning=()):
        super().__init__(name, title, shutil.which("haproxy") or "/usr/sbin/haproxy")
        self.options, self.tuning = options, tuning

    def version(self):
        said = subprocess.run([self.binary, "-v"], capture_output=True, text=True, check=True).stdout
        return "HAProxy " + re.search(r"version (\S+)", said).group(1)

    def configuration(self):
        # maxconn sizes its backlogs, its descriptors and, through its default of a quarter, its pipes.
        lines = ["global", "  nbthread 1", "  maxconn 6000", *(f"  {line}" for line in self.tuning),
                 "defaults", "  mode tcp", "  timeout connect 5s", "  timeout client 1h", "  timeout server 1h",
                 *(f"  {line}" for line in self.options)]
        for route in ROUTES:
            lines += [f"listen {route}", f"  bind {self.native(self.address(route))}",
                      f"  server only {self.native(self.server(route))}"]
        return "\n".join(lines) + "\n"

    @staticmethod
    def native(address):
        return address.replace("unix:", "unix@")

    def command(self, config):
        return [self.binary, "-db", "-f", str(config)]


class Spliced(Proxy):
    """spliced with its default configuration, but one thread, as its peers.  options as --no-keeper."""

    def __init__(self, name, title, binary, options=()):
        super().__init__(name, title, binary)
        self.options = options

    def version(self):
        said = subprocess.run([self.binary, "-V"], capture_output=True, text=True, check=False).stdout
        return said.partition("\n")[0] or "an unknown version of spliced"

    def configuration(self):
        parts = ["threads = 1"]
        for route in ROUTES:
            parts.append(f'frontend "{route}" {{ listen "{self.address(route)}" {{ }} backend = "{route}" }}\n'
                         f'backend "{route}" {{ server "only" {{ address = "{self.server(route)}" }} }}')
        return "\n".join(parts) + "\n"

    def command(self, config):
        return [self.binary, *self.options, "-f", str(config)]


def peers():
    """The other proxies, by what each is to show.

    HAProxy's splice-auto guesses which streams are worth it, and with these loads seldom does: it costs about
    three times what splicing always costs, so that is what counts as its best.
    """
    always = ["option splice-request", "option splice-response"]
    return [
        HAProxy("haproxy-splice", "HAProxy splice", always),
        HAProxy("haproxy", "HAProxy"),
        HAProxy("haproxy-auto", "HAProxy splice-auto", ["option splice-auto"]),
        HAProxy("haproxy-bigpipe", "HAProxy splice, 1 MiB pipes", always, ["tune.pipesize 1048576"]),
    ]


DEFAULT_PEERS = ["haproxy-splice", "haproxy"]
