# SPDX-License-Identifier: ISC
"""What happens to a proxy, and what its clients notice: the events, how each proxy is made to undergo them, a table."""
import json
import os
import select
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from statistics import median

import loads
from proxies import ROUTES, Failure, HAProxy, Proxy, Route, Spliced, die_with_parent

ROUTE = Route("tcp", "tcp", "echo")
ANSWER_S = 60  # for the load tool's answer to an order
WINDOW_S = 1.5  # from an event to the end of what is ascribed to it
PAUSE_S = 0.5  # before it
SETTLE_S = 6  # for what a proxy does for sessions some time after they began
WHOLE_RUN_S = 600
QUIET = "nothing"
EVENTS = {
    QUIET: ("nothing", None),
    "kill": ("crash: SIGKILL of the worker", 10),
    "segv": ("crash: SIGSEGV of the worker, no core dump", 10),
    "reload": ("reload", 20),
    "upgrade": ("upgrade of the program", 50),
}


@dataclass(frozen=True)
class Notice:
    """What the clients noticed of one event."""

    longest_ms: float
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

    def cause(self, event):
        if event in self.signals:
            self.process.send_signal(self.signals[event])
        elif event in ("kill", "segv"):
            os.kill(self.worker(), signal.SIGKILL if event == "kill" else signal.SIGSEGV)

    def can(self, event):
        return event in self.signals or event in (QUIET, "kill", "segv")

    def worker(self):
        """The youngest process: the one that serves new clients."""
        return max(loads.processes(self.process.pid)[1:])


class EventfulSpliced(Eventful, Spliced):
    signals = {"reload": signal.SIGHUP, "upgrade": signal.SIGUSR2}


class EventfulHAProxy(Eventful, HAProxy):
    """With a master, which executes itself anew at each reload, so that a reload is an upgrade too."""

    signals = {"reload": signal.SIGUSR2}

    def command(self, config):
        return [self.binary, "-W", "-db", "-f", str(config)]


class EventfulNginx(Eventful, Proxy):
    """nginx's stream module with one worker."""

    signals = {"reload": signal.SIGHUP}

    def __init__(self, name, title):
        super().__init__(name, title, shutil.which("nginx") or "/usr/sbin/nginx")

    def version(self):
        said = subprocess.run([self.binary, "-v"], capture_output=True, text=True, check=True).stderr
        return "nginx " + said.strip().rpartition("/")[2]

    def configuration(self):
        lines = ["load_module /usr/lib/nginx/modules/ngx_stream_module.so;", "daemon off;", "user root;",
                 "worker_processes 1;",
                 f"pid {self.directory}/nginx.pid;", f"error_log {self.directory}/nginx.err;",
                 "events { worker_connections 12000; }", "stream {", "  proxy_timeout 1h;", "  proxy_half_close on;"]
        for route in ROUTES:
            lines.append(f"  server {{ listen {self.address(route)}; proxy_pass {self.server(route)}; }}")
        return "\n".join(lines + ["}"]) + "\n"

    def command(self, config):
        return [self.binary, "-c", str(config), "-p", str(self.directory)]


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
    before = loads.processes(proxy.process.pid)
    load.order("begin")
    proxy.cause(event)
    time.sleep(WINDOW_S)
    noticed = load.order("end")
    gone = proxy.process.poll() is not None or noticed["lost"] and not noticed["fresh"]
    after = [] if gone else loads.processes(proxy.process.pid)
    if event != QUIET and set(after) <= set(before) and not gone and not proxy.process.poll():
        raise Failure(f"{proxy.title}: nothing came of {event}: the same processes as before")
    del noticed["pings"]
    return Notice(gone=bool(gone), processes=len(after), **noticed)


def measure(proxy, tool, event, sessions, busy, repetitions):
    """All repetitions of an event on a proxy that is started for them; fewer where it does not survive one."""
    proxy.start()
    try:
        with Load(tool, proxy.address(ROUTE), sessions, busy) as load:
            load.order("open")
            time.sleep(SETTLE_S)
            notices = []
            while len(notices) < repetitions and not (notices and notices[-1].gone):
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


def peers():
    return [EventfulHAProxy("haproxy", "HAProxy"), EventfulNginx("nginx", "nginx")]
