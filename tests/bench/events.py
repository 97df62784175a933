# SPDX-License-Identifier: ISC
"""What happens to a proxy, and what its clients notice: the events, how each proxy is made to undergo them, a table."""
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from statistics import median

import loads
from peers import HAProxy, Nginx
from proxies import Failure, Route, Setup, Spliced, die_with_parent

ROUTE = Route("tcp", "tcp", "echo")
ANSWER_S = 60  # for the load tool's answer to an order
WINDOW_S = 1.5  # from an event to the end of what is ascribed to it
PAUSE_S = 0.5  # before it
WHOLE_RUN_S = 600
QUIET = "nothing"
EVENTS = {
    QUIET: ("nothing", None),
    "kill": ("crash: SIGKILL of the worker", 10),
    "segv": ("crash: SIGSEGV of the worker, no core dump", 10),
    "reload": ("reload", 20),
    "upgrade": ("upgrade of the program", 50),
    "scrape": ("10 scrapes of /metrics, 1,000 servers", None),
    "list": ("10 lists of all sessions", None),
    "crowd": ("1,000 clients of the admin socket that say nothing, or ask and read nothing", None),
}
ASKED = {"scrape": "/metrics", "list": "/v1/sessions"}
QUESTIONS = (*ASKED, "crowd")
TIMES, SERVERS, CROWD = 10, 1000, 1000


@dataclass(frozen=True)
class Notice:
    """What the clients noticed of one event."""

    longest_ms: float
    p99_ms: float
    lost: int
    wrong: int
    fresh: int
    refused: int
    fresh_reset: int
    fresh_cut: int
    gone: bool  # the proxy serves nobody any more
    processes: int


class Eventful:
    """For a Proxy: does things to it.  signals are what its main process takes for an event."""

    signals = {}
    event = None  # what it is started for

    def cause(self, event):
        if event in self.signals:
            self.process.send_signal(self.signals[event])
        elif event in ("kill", "segv"):
            os.kill(self.worker(), signal.SIGKILL if event == "kill" else signal.SIGSEGV)

    def suffers(self, event):
        return event in self.signals or event in (QUIET, "kill", "segv")

    def worker(self):
        """The youngest process: the one that serves new clients."""
        return max(loads.processes(self.pids())[1:])


class EventfulSpliced(Eventful, Spliced):
    signals = {"reload": signal.SIGHUP, "upgrade": signal.SIGUSR2}

    def configuration(self):
        """A long one where it is asked; what others' configurations are like where they suffer the same."""
        if self.event not in QUESTIONS:
            return super().configuration()
        servers = "".join(f'    server "s{number}" {{ address = "127.0.0.1:9" }}\n' for number in range(1, SERVERS))
        return f'{super().configuration()}backend "many" {{\n{servers}}}\n'

    def suffers(self, event):
        return event in QUESTIONS or super().suffers(event)

    def cause(self, event):
        if event == "crowd":
            self.crowd()
            return
        if event not in ASKED:
            super().cause(event)
            return
        times = sorted(self.ask(ASKED[event]) for _ in range(TIMES))
        print(f"{ASKED[event]}: {times[0]:.1f} to {times[-1]:.1f} ms", file=sys.stderr, flush=True)

    def crowd(self):
        # Small answers: what runs in a real-time class may not have the CPUs for itself for long (sched_rt_runtime_us).
        request = b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n" * 20
        crowd = []
        for number in range(CROWD):
            sock = socket.socket(socket.AF_UNIX)
            sock.setblocking(False)
            crowd.append(sock)
            try:
                sock.connect(f"{self.directory}/{self.name}-admin.sock")
                if number % 4 == 0:
                    sock.send(request)
            except (BlockingIOError, BrokenPipeError, ConnectionResetError):
                pass
            time.sleep(0.0005)  # it is the proxy's work that is to be seen, and not ours
        print(f"meanwhile: {self.ask('/v1/status'):.1f} ms", file=sys.stderr, flush=True)
        for sock in crowd:
            sock.close()

    def ask(self, path):
        """Asks the admin API as a scraper does; the milliseconds until all is there."""
        begun = time.monotonic()
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(f"{self.directory}/{self.name}-admin.sock")
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            said = sock.recv(1 << 20)
            while sock.recv(1 << 20):
                pass
        if not said.startswith(b"HTTP/1.1 200 "):
            raise Failure(f"{path}: {said[:100]}")
        return (time.monotonic() - begun) * 1000


class EventfulHAProxy(Eventful, HAProxy):
    """With a master, which executes itself anew at each reload, so that a reload is an upgrade too."""

    signals = {"reload": signal.SIGUSR2}

    def command(self, config):
        return [self.binary, "-W", "-db", "-f", str(config)]


class EventfulNginx(Eventful, Nginx):
    signals = {"reload": signal.SIGHUP}


class Load:
    """tests/bench/stall: the sessions, and what is measured on them; a context manager."""

    def __init__(self, binary, address, sessions, busy):
        self.command = [binary, "-c", str(sessions), "-b", str(busy), "-t", str(WHOLE_RUN_S), address]
        self.process = None

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
        return self

    def order(self, order):
        self.process.stdin.write(order + "\n")
        self.process.stdin.flush()
        ready, _, _ = select.select([self.process.stdout], [], [], ANSWER_S)
        said = self.process.stdout.readline() if ready else ""
        if not said:
            self.process.kill()
            raise Failure(self.process.stderr.read().strip() or f"no answer to {order}")
        return json.loads(said)

    def __exit__(self, *_):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()


def one(proxy, load, event):
    """One event under load."""
    # Sessions come and go between events, as in life: each generation has some.
    load.order("renew")
    time.sleep(PAUSE_S)
    before = loads.processes(proxy.pids())
    load.order("begin")
    proxy.cause(event)
    time.sleep(WINDOW_S)
    noticed = load.order("end")
    gone = proxy.process.poll() is not None or noticed["lost"] and not noticed["fresh"]
    after = [] if gone else loads.processes(proxy.pids())
    if event != QUIET and event not in QUESTIONS and set(after) <= set(before) and not gone and not proxy.process.poll():
        raise Failure(f"{proxy.title}: nothing came of {event}: the same processes as before")
    del noticed["pings"]
    return Notice(gone=bool(gone), processes=len(after), **noticed)


def measure(proxy, tool, event, scale):
    """All repetitions of an event on a proxy that is started for them; fewer where it does not survive one."""
    proxy.event = event
    proxy.start(Setup(routes=(ROUTE,)))
    try:
        with Load(tool, proxy.address(ROUTE), scale.event_sessions, scale.event_busy) as load:
            load.order("open")
            time.sleep(scale.rest_s)  # for what a proxy does for sessions some time after they began
            notices = []
            while len(notices) < scale.event_rounds and not (notices and notices[-1].gone):
                notices.append(one(proxy, load, event))
            return notices
    finally:
        proxy.stop()


def row(title, proxy, notices, sessions):
    """A line of the table; sessions are those that stood at each event."""
    n = len(notices)
    stalls = [notice.longest_ms for notice in notices]
    fresh = sum(notice.fresh + notice.refused + notice.fresh_reset + notice.fresh_cut for notice in notices)
    failed = [(sum(notice.refused for notice in notices), "refused"),
              (sum(notice.fresh_reset for notice in notices), "reset"),
              (sum(notice.fresh_cut for notice in notices), "cut short")]
    said = ", ".join(f"{count} {what}" for count, what in failed if count) or "0"
    lost = sum(notice.lost for notice in notices)
    if notices[-1].gone:
        stall = "for good"
    elif n > 1:
        stall = f"{median(stalls):.1f} / {max(stalls):.1f} ms"
    else:
        stall = f"{stalls[0]:.1f} ms"
    return "| " + " | ".join([title, proxy.title, str(n), stall, f"{lost} of {n * (sessions + 1):,}",
                              f"{said} of {fresh:,}", str(notices[-1].processes)]) + " |"


HEAD = ["| event | | times | longest stall: median / worst | sessions lost | new connections that failed | processes "
        "in the end |", "|---|---|---:|---:|---:|---:|---:|"]


def proxies(spliced, peers):
    """Those that events happen to: a build of spliced as a command, and which of the peers are wanted."""
    known = [EventfulHAProxy("haproxy", "HAProxy"), EventfulNginx("nginx", "nginx", "16k")]
    return [EventfulSpliced("spliced", "spliced", spliced)] + [peer for peer in known if peer.name in peers]


def table(names, tested, tool, scale):
    """All of it: the table's lines, and whether all went well."""
    rows, well = [], True
    for name in names:
        title, target = EVENTS[name]
        for proxy in (proxy for proxy in tested if proxy.suffers(name)):
            try:
                notices = measure(proxy, tool, name, scale)
            except (Failure, OSError) as failure:
                print(f"events/{name} {proxy.name}: {failure}", file=sys.stderr, flush=True)
                rows.append("| " + " | ".join([title, proxy.title, "0", "failed", "–", "–", "–"]) + " |")
                well = False
                continue
            print(f"events/{name} {proxy.name}:", " ".join(f"{notice.longest_ms:.1f}" for notice in notices), "ms, p99",
                  " ".join(f"{notice.p99_ms:.2f}" for notice in notices), "ms",
                  file=sys.stderr, flush=True)
            well = well and not any(notice.wrong for notice in notices)
            goal = f" (target {target} ms)" if target and proxy.name == "spliced" else ""
            rows.append(row(title + goal, proxy, notices, scale.event_sessions))
    return [*HEAD, *rows], well
