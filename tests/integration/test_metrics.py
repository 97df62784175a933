#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Metrics: in the format of Prometheus and as the manual lists them, right, and never going back."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import urllib.parse

from lib import admin, arena, net, peers, proxy, tap

TOP = os.environ.get("top_srcdir", os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
ODD = r'a "quoted" \ name'
SAMPLE = re.compile(r'^([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\]|\\.)*",?)*)\})? ([0-9.e+]+)$')
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')


def _escaped(name):
    return name.replace("\\", "\\\\").replace('"', '\\"')


class _Metrics:
    """What /metrics says at one moment."""

    def __init__(self, text):
        self.text, self.types, self.samples = text, {}, {}
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                self.types[line.split()[2]] = line.split()[3]
            elif not line.startswith("#"):
                name, labels, value = SAMPLE.match(line).groups()
                key = name, tuple(LABEL.findall(labels or ""))
                tap.check(key not in self.samples, f"{key} is there once")
                self.samples[key] = float(value)

    def __call__(self, name, **labels):
        return self.samples[name, tuple(labels.items())]

    def families(self):
        """The labels of each family, those of a histogram's buckets apart."""
        found = {}
        for name, labels in self.samples:
            family = name if name in self.types else re.sub(r"_(bucket|sum|count)$", "", name)
            found.setdefault(family, set()).update(label for label, _ in labels if label != "le")
        return found

    def counters(self):
        return {key: value for key, value in self.samples.items()
                if self.types.get(key[0]) == "counter" or key[0] not in self.types}


def _scrape(api):
    answer = api.ask("GET", "/metrics")
    tap.equal((answer.status, answer.headers["Content-Type"]), (200, "text/plain; version=0.0.4; charset=utf-8"), "answer")
    return _Metrics(answer.text)


class _Setup:
    def __init__(self, servers="", back="", http=False, **options):
        self.directory = options["directory"] = tap.tmpdir()
        self.front = f"unix:{self.directory}/front"
        self.echo = peers.Server(f"unix:{self.directory}/echo", peers.echo)
        self.http = f"127.0.0.1:{net.port()}"
        more = f' http = "{self.http}"' if http else ""
        self.config = (proxy.frontend("f", self.front, "b") + proxy.frontend(_escaped(ODD), f"unix:{self.directory}/odd", "b") +
                       proxy.backend("b", proxy.server("s", self.echo.address) + servers, back))
        self.daemon = proxy.Proxy(self.config, top=f'admin {{ socket = "{self.directory}/admin.sock"{more} }}\n', **options)
        self.api = admin.of(self.daemon)

    def exchange(self, size=1000, end=True):
        sock = net.connect(self.front)
        tap.cleanup(sock.close)
        sock.sendall(b"x" * size)
        net.read_exactly(sock, size)
        if end:
            sock.shutdown(socket.SHUT_WR)
            net.read_all(sock)
            sock.close()
        return sock


@tap.case("promtool finds no fault with the format, nor with the alert rules; every name is one of the manual, and back")
def _format():
    setup = _Setup(proxy.server(_escaped(ODD), "127.0.0.1:9", "weight = 0"))
    setup.exchange()
    metrics = _scrape(setup.api)
    with open(f"{TOP}/man/spliced.8", encoding="utf-8") as file:
        page = file.read().partition("\n.Sh METRICS\n")[2].partition("\n.Sh ")[0]
    rows = re.findall(r"^\.It Ic (\w+)(?: Brq (.*))?\n(Gauge|Counter|Histogram):", page, re.M)
    tap.equal({name: kind.lower() for name, _, kind in rows}, metrics.types, "names and types")
    tap.equal({name: set(labels.split(" , ")) - {""} for name, labels, _ in rows}, metrics.families(), "labels")
    tap.check(f'frontend="{_escaped(ODD)}"' in metrics.text and f'server="{_escaped(ODD)}"' in metrics.text, "odd names")
    for path in ("contrib/grafana/spliced.json", "contrib/prometheus/spliced.rules.yml"):
        with open(f"{TOP}/{path}", encoding="utf-8") as file:
            text = file.read()
        if path.endswith("json"):
            text = json.dumps([[each["expr"] for each in panel.get("targets", [])] for panel in json.loads(text)["panels"]])
        used = set(re.findall(r"\bspliced_\w+", text))
        known = set(metrics.types) | {name for name, _ in metrics.samples}
        tap.equal(used - known, set(), f"metrics that {path} uses and that are not there")
        tap.check(len(used) > 10, f"{path} uses many")
    promtool = shutil.which("promtool")
    if not promtool:
        raise tap.Skip("promtool is not installed: all but its opinion")
    done = subprocess.run([promtool, "check", "metrics"], input=metrics.text, capture_output=True, text=True, timeout=30)
    tap.equal((done.returncode, done.stdout + done.stderr), (0, ""), "promtool check metrics")
    done = subprocess.run([promtool, "check", "rules", f"{TOP}/contrib/prometheus/spliced.rules.yml"], capture_output=True,
                          text=True, timeout=30)
    tap.equal(done.returncode, 0, f"promtool check rules: {done.stdout}{done.stderr}")


@tap.case("values are those of the traffic: sessions, bytes of those that run and of those that ended, ends, histograms")
def _values():
    setup = _Setup(proxy.server("none", f"127.0.0.1:{net.port()}"), threads=2)
    held = setup.exchange(5000, end=False)
    for _ in range(9):
        setup.exchange(100)
    setup.daemon.wait_access(9)
    metrics = _scrape(setup.api)
    tap.equal([metrics(f"spliced_{name}") for name in ("sessions", "sessions_total", "worker_generation", "reload_success")],
              [1, 10, 1, 1], "the daemon")
    tap.equal([metrics("spliced_frontend_bytes_total", frontend="f", direction=way) for way in ("up", "down")],
              [5900, 5900], "bytes of the frontend")
    tap.equal(metrics("spliced_server_bytes_total", backend="b", server="s", direction="up"), 5900, "bytes of the server")
    tap.equal([metrics(f"spliced_server_{name}", backend="b", server="s") for name in ("up", "weight", "sessions",
               "sessions_total", "connect_failed_total", "retried_total")], [1, 1, 1, 10, 0, 0], "the server")
    failed = metrics("spliced_server_connect_failed_total", backend="b", server="none")
    tap.check(failed >= 4, f"connects that failed: {failed}")
    tap.equal(metrics("spliced_server_retried_total", backend="b", server="none"), failed, "those tried again")
    tap.equal(metrics("spliced_session_ends_total", frontend="f", end="client-fin"), 9, "ends")
    tap.equal(sum(value for (name, _), value in metrics.samples.items() if name == "spliced_session_ends_total"), 9, "all ends")
    for name, label, count in (("session", "frontend", 9), ("connect", "backend", 10), ("queue", "backend", 10)):
        labels = {label: "f" if label == "frontend" else "b"}
        buckets = [value for (sample, pairs), value in metrics.samples.items()
                   if sample == f"spliced_{name}_seconds_bucket" and dict(pairs)[label] == labels[label]]
        tap.equal((buckets[-1], metrics(f"spliced_{name}_seconds_count", **labels)), (count, count), f"{name}: count")
        tap.check(buckets == sorted(buckets) and len(buckets) == 14, f"{name}: buckets add up: {buckets}")
    held.sendall(b"y" * 1000)
    net.read_exactly(held, 1000)
    tap.equal(_scrape(setup.api)("spliced_frontend_bytes_total", frontend="f", direction="up"), 6900, "bytes as it goes on")
    held.close()
    setup.daemon.wait_access(10)
    tap.equal(_scrape(setup.api)("spliced_frontend_bytes_total", frontend="f", direction="up"), 6900, "bytes in the end")


@tap.case("no counter ever goes back: through sessions that come and go, crashes, reloads and an upgrade", 90)
def _monotonic():
    setup = _Setup()
    held = setup.exchange(3000, end=False)
    before = _scrape(setup.api)
    for step in range(12):
        setup.exchange(700, end=step % 2 == 0)
        held.sendall(b"z" * 500)
        net.read_exactly(held, 500)
        if step % 4 == 1:
            worker = setup.daemon.worker()
            arena.rest(setup.daemon)
            os.kill(worker, signal.SIGKILL)
            setup.daemon.wait_worker(worker)
        elif step % 4 == 2:
            setup.daemon.reload(setup.config)
        elif step == 7:
            setup.api.wait_generation(setup.api.good("POST", "/v1/upgrade", status=202)["generation"])
        metrics = _scrape(setup.api)
        for key, value in before.counters().items():
            tap.check(metrics.samples.get(key, 0) >= value, f"{key} went from {value} to {metrics.samples.get(key)}")
        before = metrics
    status = setup.api.status()
    tap.equal((status["bytes_up"], status["sessions_total"]), (3000 + 12 * 1200, 13), "what all of it comes to")
    tap.equal(before("spliced_frontend_bytes_total", frontend="f", direction="down"), 3000 + 12 * 1200, "and the metric")
    tap.equal(before("spliced_sessions_total"), before("spliced_frontend_sessions_total", frontend="f"), "connections")
    # A frontend that is gone takes its own along, and none of the daemon's.
    setup.daemon.reload(setup.config.replace('frontend "f"', 'frontend "g"'))
    metrics = _scrape(setup.api)
    tap.equal(metrics("spliced_frontend_bytes_total", frontend="g", direction="up"), 0, "a new frontend")
    tap.equal(setup.api.status()["bytes_up"], 3000 + 12 * 1200, "of the daemon")


@tap.case("a real Prometheus scrapes it, by admin.http", 90)
def _prometheus():
    program = shutil.which("prometheus")
    if not program:
        raise tap.Skip("prometheus is not installed")
    setup = _Setup(http=True)
    for _ in range(3):
        setup.exchange()
    directory, port = setup.directory, net.port()
    with open(f"{directory}/prometheus.yml", "w", encoding="utf-8") as file:
        file.write("global: { scrape_interval: 200ms, evaluation_interval: 200ms }\n"
                   f"rule_files: [ {os.path.abspath(TOP)}/contrib/prometheus/spliced.rules.yml ]\n"
                   f"scrape_configs: [ {{ job_name: spliced, static_configs: [ {{ targets: [ '{setup.http}' ] }} ] }} ]\n")
    process = subprocess.Popen([program, f"--config.file={directory}/prometheus.yml", f"--storage.tsdb.path={directory}/data",
                                f"--web.listen-address=127.0.0.1:{port}"], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    tap.cleanup(process.wait)
    tap.cleanup(process.kill)
    api = admin.Admin(f"127.0.0.1:{port}")

    def ask(expression):
        try:
            answer = api.ask("GET", f"/api/v1/query?query={urllib.parse.quote(expression)}")
            return [float(each["value"][1]) for each in answer.json["data"]["result"]]
        except (OSError, ValueError, KeyError):
            return []

    proxy.wait_for(lambda: ask('up{job="spliced"}') == [1.0], "a scrape", 40)
    tap.equal(ask('spliced_frontend_sessions_total{frontend="f"}'), [3.0], "a counter")
    tap.equal(ask('spliced_server_bytes_total{server="s",direction="up"}'), [3000.0], "bytes")
    tap.equal(ask("spliced_session_seconds_count{frontend='f'}"), [3.0], "a histogram")
    tap.equal(len(ask("histogram_quantile(0.99, spliced_connect_seconds_bucket)")), 1, "a quantile")
    setup.api.good("PATCH", "/v1/backends/b/servers/s", {"state": "maint"})
    proxy.wait_for(lambda: ask('ALERTS{alertname="SplicedServerDown",server="s"}') == [1.0], "an alert that is pending", 40)


tap.run()
