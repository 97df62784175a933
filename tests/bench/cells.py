# SPDX-License-Identifier: ISC
"""What is measured: families of cells, each a load through a proxy and the proxy's cost for a unit of it.

A cell's measure() gives a Figure for each of its rows; a family says how its table reads and what its target is.
"""
import time
from dataclasses import dataclass, field

import loads
from proxies import PAIRS, Failure, Route

GB = 1e9
KIB64 = 64 * 1024
WAIT_S = 10
DOMAINS = {"tcp": "TCP", "unix": "UNIX"}


@dataclass(frozen=True)
class Scale:
    """How much of everything."""

    rounds: int
    stream_bytes: int
    short: int
    messages: int
    idle: int
    idle_rounds: int


FULL = Scale(rounds=5, stream_bytes=4 << 30, short=20000, messages=100000, idle=5000, idle_rounds=3)
QUICK = Scale(rounds=3, stream_bytes=1 << 29, short=6000, messages=20000, idle=5000, idle_rounds=1)
TINY = Scale(rounds=1, stream_bytes=1 << 20, short=128, messages=256, idle=20, idle_rounds=1)


@dataclass(frozen=True)
class Figure:
    """A cost, and what the clock on the wall says beside it, for people."""

    cost: float
    wall: float = None


@dataclass(frozen=True)
class Target:
    """At most limit: of the unit itself, or of the best of the peers named."""

    limit: float
    peers: tuple = ()


@dataclass(frozen=True)
class Family:
    name: str
    title: str
    note: str
    decimals: int
    wall_decimals: int = None  # None: the wall says nothing here
    target: Target = None


@dataclass(frozen=True)
class Cell:
    """name chooses it on the command line; rows are the table rows that one measurement fills."""

    family: Family
    name: str
    rows: tuple
    fresh: bool = field(default=False, kw_only=True)  # the proxy is started anew for each measurement

    def rounds(self, scale):
        return scale.rounds

    def measure(self, bench, proxy):
        raise NotImplementedError


STREAMS = Family(
    "streams", "Streams: CPU-seconds per GB (Gbit/s)",
    "One and eight streams at once, one way. GB is 10⁹ bytes.", 3, 1, Target(1.0, ("haproxy-splice",)))
SHORT = Family(
    "short", "Short connections: CPU µs per connection (connections/s)",
    "Connect, 64 bytes there and back, close; 64 at a time.", 1, 0, Target(1.0, ("haproxy-splice", "haproxy")))
MESSAGES = Family(
    "messages", "Messages: CPU µs per message there and back (messages/s)",
    "On connections that last.", 2, 0)
IDLE = Family(
    "idle", "Idle sessions: bytes of user-space memory per session",
    "PSS of all the proxy's processes with {scale.idle:,} sessions, less that of the proxy just started, per session; "
    "before and after each session has passed 64 KiB there and back.", 0, target=Target(512))
FAMILIES = [STREAMS, SHORT, MESSAGES, IDLE]


def pair_title(client, server):
    return f"{DOMAINS[client]}→{DOMAINS[server]}"


@dataclass(frozen=True)
class Load(Cell):
    """A load that runs to its end: CPU time of the proxy from before it to when the proxy stands still again."""

    route: Route
    mode: str
    at_once: int
    size: int = 0

    def measure(self, bench, proxy):
        options, unit_ns = self.options(bench.scale)
        before = loads.settled_cpu_ns(proxy.process.pid)
        done = loads.load(bench.bulk, self.mode, proxy.address(self.route), c=self.at_once, **options)
        spent_ns = loads.settled_cpu_ns(proxy.process.pid) - before
        amount = done["bytes" if self.mode == "source" else "done"]
        wall = amount * (8 / GB if self.mode == "source" else 1) / done["seconds"]
        return {self.rows[0]: Figure(spent_ns / unit_ns / amount, wall)}

    def options(self, scale):
        """The load tool's options, and the nanoseconds in a unit of the cost."""
        if self.mode == "source":
            return {"b": scale.stream_bytes // self.at_once}, 1e9 / GB  # ns per byte are seconds per GB
        if self.mode == "short":
            return {"n": scale.short, "s": 64}, 1e3
        return {"n": scale.messages, "s": self.size}, 1e3


@dataclass(frozen=True)
class Memory(Cell):
    route: Route

    def rounds(self, scale):
        return scale.idle_rounds

    def measure(self, bench, proxy):
        sessions = bench.scale.idle
        pid = proxy.process.pid
        with loads.Idle(bench.bulk, proxy.address(self.route), sessions, KIB64) as idle:
            fds = loads.descriptors(pid)
            loads.settled_cpu_ns(pid)
            empty = loads.pss_bytes(pid)
            idle.step()
            deadline = time.monotonic() + WAIT_S
            while (now := loads.descriptors(pid) - fds) < 2 * sessions:
                if time.monotonic() > deadline:
                    raise Failure(f"{proxy.title} has {now} descriptors for {sessions} sessions")
                time.sleep(0.05)
            loads.settled_cpu_ns(pid)
            opened = loads.pss_bytes(pid)
            idle.step()
            loads.settled_cpu_ns(pid)
            used = loads.pss_bytes(pid)
        return {row: Figure((pss - empty) / sessions) for row, pss in zip(self.rows, (opened, used))}


def all_cells():
    cells = []
    for client, server in PAIRS:
        title = pair_title(client, server)
        for at_once in (1, 8):
            cells.append(Load(STREAMS, f"streams/{client}-{server}/{at_once}", (f"{title}, {at_once}",),
                              Route(client, server, "sink"), "source", at_once))
    for client, server in PAIRS:
        cells.append(Load(SHORT, f"short/{client}-{server}", (pair_title(client, server),),
                          Route(client, server, "echo"), "short", 64))
    for client, server in PAIRS[:1] + PAIRS[-1:]:
        for size in (64, 1024, 16384):
            for at_once in (1, 64):
                cells.append(Load(MESSAGES, f"messages/{client}-{server}/{size}/{at_once}",
                                  (f"{pair_title(client, server)}, {size} B, {at_once}",),
                                  Route(client, server, "echo"), "pingpong", at_once, size))
    cells.append(Memory(IDLE, "idle", ("opened", "after 64 KiB each way"), Route("tcp", "tcp", "echo"), fresh=True))
    return cells


DEFAULT_CELLS = ["streams", "short", "idle"]
