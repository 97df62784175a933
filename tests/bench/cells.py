# SPDX-License-Identifier: ISC
"""What is measured: families of rows, which are the tables, and cells, each a load through a proxy that fills some rows.

A cell's measure() gives a Figure for each of its rows.  A family says how its table reads, a row what its targets are.
"""
import contextlib
import dataclasses
import time
from dataclasses import dataclass

import counts
import loads
from proxies import IPERF, PAIRS, Failure, Route, Setup

GB = 1e9
KIB64 = 64 * 1024
WAIT_S = 10
IPERF_LEAST = 1 << 26  # at its end iperf3 drops what is under way: of less than this nothing might be left
DOMAINS = {"tcp": "TCP", "unix": "UNIX"}
ENDS = [PAIRS[0], PAIRS[-1]]  # TCP at both ends, AF_UNIX at both


@dataclass(frozen=True)
class Scale:
    """How much of everything."""

    rounds: int  # of each cell
    rounds_max: int  # where the outcome is close
    seconds: float  # for it all; fewer rounds where that is not enough
    stream_bytes: int
    short: int
    messages: int  # on many connections at once
    messages_one: int  # on one
    counted: int  # connections or messages whose system calls and instructions are counted
    idle: int
    idle_rounds: int
    idle_s: float  # to look at idle CPU
    rest_s: float  # for what proxies do for a session some time after its start
    others: tuple  # idle sessions beside a load
    servers: tuple
    event_sessions: int
    event_busy: int  # of them
    event_rounds: int


FULL = Scale(rounds=5, rounds_max=15, seconds=1620, stream_bytes=3 << 28, short=5000, messages=20000, messages_one=6000,
             counted=1000, idle=9000, idle_rounds=1, idle_s=4, rest_s=6, others=(0, 1000, 9000),
             servers=(1, 10, 100, 1000), event_sessions=5000, event_busy=100, event_rounds=5)
QUICK = dataclasses.replace(FULL, rounds=3, rounds_max=5, seconds=110, stream_bytes=1 << 28, short=3000, messages=10000,
                            messages_one=4000, counted=1000, idle=2000, idle_s=1, event_rounds=3)
TINY = Scale(rounds=1, rounds_max=1, seconds=300, stream_bytes=1 << 20, short=128, messages=256, messages_one=64,
             counted=64, idle=20, idle_rounds=1, idle_s=0.1, rest_s=0, others=(0, 10, 20), servers=(1, 10),
             event_sessions=20, event_busy=4, event_rounds=1)


@dataclass(frozen=True)
class Figure:
    """A cost, and what the clock on the wall says beside it, for people."""

    cost: float
    wall: float = None
    p50_us: float = None
    p99_us: float = None
    whole: float = None  # the cost with what the load and the servers spent


@dataclass(frozen=True)
class Target:
    """At most limit: of the unit itself; times the best of the peers; times the best of those named; times the own
    figure of another row.  For throughput: at least limit times the best."""

    limit: float
    against: str = "nothing"  # or peers, named, base, throughput
    names: tuple = ()
    base: str = ""


BEST = "peers"


@dataclass(frozen=True)
class Family:
    name: str
    title: str
    note: str
    decimals: int
    wall_decimals: int = None  # None: the wall says nothing here
    latency: bool = False
    whole: str = ""  # what the second table, of costs with load and servers, is called
    without: frozenset = frozenset()  # peers that show nothing new here, or for which it makes no sense
    count: tuple = None  # (limit, peer, n): this many rows are to be below limit times that peer
    plot: str = ""  # the axis, where the family is drawn


@dataclass(frozen=True)
class Row:
    family: Family
    title: str
    targets: tuple = ()


# What cannot be told from a proxy of the same kind where no bulk moves, and a process for each connection.
ALIKE = frozenset({"nginx-64k", "socat", "haproxy-bigpipe"})
STREAMS = Family(
    "streams", "Streams: CPU-seconds per GB (Gbit/s)",
    "One and eight streams at once, one way. GB is 10⁹ bytes.", 3, 1, count=(0.95, "socket-proxyd", 2),
    whole="CPU-seconds per GB of proxy, source and sink together", plot="CPU-seconds per GB")
SHORT = Family(
    "short", "Short connections: CPU µs per connection (connections/s)",
    "Connect, 64 bytes there and back, close; 64 at a time.", 1, 0, without=ALIKE,
    whole="CPU µs per connection of proxy, client and server together", plot="CPU µs per connection")
MESSAGES = Family(
    "messages", "Messages: CPU µs per message there and back (messages/s)",
    "On 1 and on 64 connections that last. With one connection, load, proxy and servers share one CPU.", 2, 0,
    latency=True, without=ALIKE, plot="CPU µs per message")
CALLS = Family(
    "calls", "System calls", "Counted with `strace -c -f`: what {scale.counted:,} more of each add.", 1, without=ALIKE)
INSTRUCTIONS = Family(
    "instructions", "Instructions in user space",
    "Counted by callgrind, one process each (`--no-keeper` and `sandbox = off` for spliced): what {scale.counted:,} more "
    "of each add.", 0, without=ALIKE)
IDLE = Family(
    "idle", "Idle sessions: bytes of user-space memory per session",
    "PSS of all the proxy's processes with {scale.idle:,} sessions, less that of the proxy just started, per session; "
    "before and after each session has passed 64 KiB there and back. socket-proxyd, which needs six descriptors each and "
    "more on the way, has as many sessions as the limit of descriptors allows.", 0, without=ALIKE)
IDLE_CPU = Family(
    "idle-cpu", "Idle sessions: CPU ms per second",
    "Of the whole proxy over {scale.idle_s:g} seconds with the same sessions.", 2, without=ALIKE)
SAMPLE = ALIKE | {"haproxy-splice", "haproxy-auto", "socket-proxyd", "pen"}
GROWTH_IDLE = Family(
    "growth-idle", "Growth: CPU µs with other sessions idle",
    "64 bytes there and back on 64 connections, and short connections, 64 at a time, TCP→TCP.", 2, without=SAMPLE,
    plot="CPU µs")
GROWTH_SERVERS = Family(
    "growth-servers", "Growth: CPU µs with many servers", "The same, round robin.", 2, without=SAMPLE, plot="CPU µs")
GROWTH_THREADS = Family(
    "growth-threads", "Growth: CPU µs with two threads",
    "The same; the load shares the CPUs with them. nginx has processes.", 2, without=SAMPLE)
FAMILIES = [STREAMS, SHORT, MESSAGES, CALLS, INSTRUCTIONS, IDLE, IDLE_CPU, GROWTH_IDLE, GROWTH_SERVERS, GROWTH_THREADS]


def pair_title(client, server):
    return f"{DOMAINS[client]}→{DOMAINS[server]}"


@dataclass(frozen=True)
class Cell:
    """name chooses it on the command line; rows are the table rows that one measurement fills."""

    name: str
    rows: tuple
    route: Route
    fresh = False  # the proxy is started anew for each measurement, by measure()

    @property
    def family(self):
        return self.rows[0].family

    def rounds(self, scale):
        return scale.rounds

    def takes(self, proxy):
        return proxy.can(self.route) and proxy.name not in self.family.without

    def measure(self, bench, proxy):
        raise NotImplementedError


def spend(bench, proxy, route, mode, at_once, size=64):
    """A load that runs to its end: CPU time of the proxy from before it to when the proxy stands still again."""
    scale = bench.scale
    pids = proxy.pids(route)
    if mode == "source":
        options, unit_ns = {"c": at_once, "b": scale.stream_bytes // at_once}, 1e9 / GB  # ns per byte are s per GB
    elif mode == "short":
        options, unit_ns = {"c": at_once, "n": scale.short, "s": size}, 1e3
    else:
        n = scale.messages if at_once > 1 else scale.messages_one
        options, unit_ns = {"c": at_once, "n": n, "s": size}, 1e3
    before, before_load = loads.settled_cpu_ns(pids), loads.load_cpu_ns(bench.servers.pids())
    if mode == "iperf":
        done = loads.iperf(proxy.address(route), max(scale.stream_bytes, IPERF_LEAST))
        unit_ns = 1e9 / GB
    else:
        done = loads.load(bench.bulk, mode, proxy.address(route), **options)
    spent_ns = loads.settled_cpu_ns(pids) - before
    whole_ns = spent_ns + loads.load_cpu_ns(bench.servers.pids()) - before_load
    bulk = mode in ("source", "iperf")
    amount = done["bytes" if bulk else "done"]
    return Figure(spent_ns / unit_ns / amount, amount * (8 / GB if bulk else 1) / done["seconds"], done.get("p50_us"),
                  done.get("p99_us"), whole_ns / unit_ns / amount)


@dataclass(frozen=True)
class Load(Cell):
    mode: str
    at_once: int
    size: int = 64

    def measure(self, bench, proxy):
        one_cpu = self.mode == "pingpong" and self.at_once == 1
        place = loads.pinned(bench.servers.pids() + proxy.pids(self.route)) if one_cpu else contextlib.nullcontext()
        with place:
            return {self.rows[0]: spend(bench, proxy, self.route, self.mode, self.at_once, self.size)}


@dataclass(frozen=True)
class Calls(Cell):
    mode: str
    at_once: int

    def rounds(self, scale):
        return 1

    def measure(self, bench, proxy):
        return {self.rows[0]: Figure(counts.difference(bench.scale.counted, lambda n: counts.syscalls(
            proxy.pids(self.route), bench.directory, lambda: self.load(bench, proxy, n))))}

    def load(self, bench, proxy, n):
        loads.load(bench.bulk, self.mode, proxy.address(self.route), c=self.at_once, n=n, s=64)


@dataclass(frozen=True)
class Instructions(Cell):
    """loads are (route, mode, connections at once), one a row, all on one start: that is what takes time."""

    loads: tuple
    fresh = True

    def rounds(self, scale):
        return 1

    def takes(self, proxy):
        return super().takes(proxy) and proxy.single

    def measure(self, bench, proxy):
        n = bench.scale.counted
        figures = {}
        for client, server in dict.fromkeys((route.client, route.server) for route, _, _ in self.loads):
            route = Route(client, server, "echo")
            if not proxy.can(route):
                continue
            callgrind = counts.Callgrind(bench.directory)
            proxy.start(Setup(routes=(route,), under=callgrind.under()))
            for row, what in zip(self.rows, self.loads):
                if what[0] != route:
                    continue
                self.count(bench, proxy, callgrind, what, n // 2)  # what only the first use costs
                figures[row] = Figure(counts.difference(n, lambda n: self.count(bench, proxy, callgrind, what, n)))
            proxy.stop()
        return figures

    @staticmethod
    def count(bench, proxy, callgrind, what, n):
        route, mode, at_once = what
        loads.load(bench.bulk, mode, proxy.address(route), c=at_once, n=n, s=64)
        loads.settled_cpu_ns(proxy.pids(route))
        return callgrind.count(proxy.pids(route)[0])


@dataclass(frozen=True)
class Idle(Cell):
    """Rows: memory before and after traffic, CPU before and after traffic."""

    fresh = True

    def rounds(self, scale):
        return scale.idle_rounds

    def measure(self, bench, proxy):
        scale, route = bench.scale, self.route
        proxy.start(Setup(routes=(route,)))
        pids, sessions = proxy.pids(route), proxy.sessions(scale.idle)
        figures = []
        with loads.Idle(bench.bulk, proxy.address(route), sessions, KIB64) as idle:
            fds = loads.descriptors(pids)
            loads.settled_cpu_ns(pids)
            empty = loads.pss_bytes(pids)
            idle.step()
            stand(proxy, fds, sessions)
            figures += self.rest(pids, scale, sessions, empty)
            idle.step()
            figures += self.rest(pids, scale, sessions, empty)
        return dict(zip(self.rows, figures))

    @staticmethod
    def rest(pids, scale, sessions, empty):
        """Memory and CPU once the proxy has come to rest."""
        time.sleep(scale.rest_s)
        loads.settled_cpu_ns(pids)
        began, before = time.monotonic(), loads.cpu_ns(pids)
        time.sleep(scale.idle_s)
        spent = (loads.cpu_ns(pids) - before) / 1e6 / (time.monotonic() - began)
        return Figure((loads.pss_bytes(pids) - empty) / sessions), Figure(spent)


def stand(proxy, fds, sessions):
    """Waits until a proxy that had some descriptors has those of its sessions too."""
    deadline = time.monotonic() + WAIT_S
    while (now := loads.descriptors(proxy.pids()) - fds) < 2 * sessions:
        if time.monotonic() > deadline:
            raise Failure(f"{proxy.title} has {now} descriptors for {sessions} sessions")
        time.sleep(0.05)


@dataclass(frozen=True)
class Growth(Cell):
    """Rows: a request and a connection for each level of what grows."""

    fresh = True

    def both(self, bench, proxy):
        return [spend(bench, proxy, self.route, "pingpong", 64), spend(bench, proxy, self.route, "short", 64)]


class GrowthIdle(Growth):
    def measure(self, bench, proxy):
        proxy.start(Setup(routes=(self.route,)))
        figures = self.both(bench, proxy)
        for others in bench.scale.others[1:]:
            with loads.Idle(bench.bulk, proxy.address(self.route), others, KIB64) as idle:
                loads.settled_cpu_ns(proxy.pids())  # those before have gone
                fds = loads.descriptors(proxy.pids())
                idle.step()
                stand(proxy, fds, others)
                figures += self.both(bench, proxy)
        return dict(zip(self.rows, figures))


class GrowthServers(Growth):
    def takes(self, proxy):
        return super().takes(proxy) and proxy.balances

    def measure(self, bench, proxy):
        figures = []
        for servers in bench.scale.servers:
            proxy.start(Setup(routes=(self.route,), servers=servers))
            figures += self.both(bench, proxy)
        return dict(zip(self.rows, figures))


class GrowthThreads(Growth):
    def takes(self, proxy):
        return super().takes(proxy) and proxy.threaded

    def measure(self, bench, proxy):
        figures = []
        for threads in (1, 2):
            proxy.start(Setup(routes=(self.route,), threads=threads))
            figures += self.both(bench, proxy)
        return dict(zip(self.rows, figures))


def growth_rows(family, levels, word, limit):
    """Two rows a level, each measured against the first level; in the order in which Growth measures."""
    rows = []
    for level in levels:
        for what in ("request", "connection"):
            base = f"{what}, {levels[0]:,} {word}"
            targets = (Target(limit, "base", base=base),) if limit and level != levels[0] else ()
            rows.append(Row(family, f"{what}, {level:,} {word}", targets))
    return tuple(rows)


def stream_cells():
    cells = []
    for client, server in PAIRS:
        name, title, route = f"{client}-{server}", pair_title(client, server), Route(client, server, "sink")
        splice = Target(0.6 if (client, server) == PAIRS[0] else 0.75, "named", ("haproxy-splice",))
        targets = (Target(1.0, "named", ("socket-proxyd",)), splice, Target(1.0, "throughput"))
        for at_once in (1, 8):
            cells.append(Load(f"streams/{name}/{at_once}", (Row(STREAMS, f"{title}, {at_once}", targets),), route,
                              "source", at_once))
    cells.append(Load("streams/iperf3", (Row(STREAMS, "TCP→TCP, 1, iperf3"),), IPERF, "iperf", 1))
    return cells


def message_cells():
    cells = []
    for pair in ENDS:
        for size in (64, 1024, 16384):
            for at_once in (1, 64):
                limit = 0.95 if at_once == 1 or pair == PAIRS[-1] else 1.0
                row = Row(MESSAGES, f"{pair_title(*pair)}, {size:,} B, {at_once}", (Target(limit, BEST),))
                cells.append(Load(f"messages/{pair[0]}-{pair[1]}/{size}/{at_once}", (row,), Route(*pair, "echo"),
                                  "pingpong", at_once, size))
    return cells


def count_cells():
    """System calls and instructions of the same loads."""
    cells, rows, whats = [], [], []
    for pair in ENDS:
        route = Route(*pair, "echo")
        for name, title, mode, at_once, most in (("short", "short connection, 64 at a time", "short", 64, 15),
                                                 ("64", "64 B there and back, 64 connections", "pingpong", 64, 4.3),
                                                 ("1", "64 B there and back, 1 connection", "pingpong", 1, None)):
            title = f"{pair_title(*pair)}, {title}"
            targets = (Target(most),) if most and pair == PAIRS[0] else ()
            cells.append(Calls(f"calls/{pair[0]}-{pair[1]}/{name}", (Row(CALLS, title, targets),), route, mode, at_once))
            rows.append(Row(INSTRUCTIONS, title, (Target(0.5, "named", ("haproxy",)),)))
            whats.append((route, mode, at_once))
    return [*cells, Instructions("instructions", tuple(rows), whats[0][0], tuple(whats))]


def all_cells(scale):
    echo = Route("tcp", "tcp", "echo")
    short = [Load(f"short/{client}-{server}", (Row(SHORT, pair_title(client, server), (Target(0.9, BEST),)),),
                  Route(client, server, "echo"), "short", 64) for client, server in PAIRS]
    idle = [Row(family, title, (Target(limit),)) for title in ("opened", "after 64 KiB each way")
            for family, limit in ((IDLE, 320), (IDLE_CPU, 0.5))]
    return [*stream_cells(), *short, *message_cells(), *count_cells(), Idle("idle", tuple(idle), echo),
            GrowthIdle("growth/idle", growth_rows(GROWTH_IDLE, scale.others, "others idle", 1.05), echo),
            GrowthServers("growth/servers", growth_rows(GROWTH_SERVERS, scale.servers, "servers", 1.05), echo),
            GrowthThreads("growth/threads", growth_rows(GROWTH_THREADS, (1, 2), "threads", None), echo)]


QUICK_CELLS = ["streams/tcp-tcp/1", "streams/unix-unix/1", "short/tcp-tcp", "short/unix-unix", "messages/tcp-tcp/64/*",
               "messages/unix-unix/64/64", "calls/tcp-tcp/short", "calls/tcp-tcp/64", "idle"]
