#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The status page in a real browser, with real traffic."""
import re
import socket
import threading
import time

from lib import admin, browser, net, peers, proxy, tap

ODD = "<img src=x onerror=alert(1)> & 'b'"
ROWS = """return [...document.querySelectorAll(arguments[0] + " tbody tr")].map((row) =>
          [row.dataset.key, [...row.cells].map((cell) => cell.title || cell.textContent)])"""


class _Setup:
    """Two backends, one of which has a name that HTML would take amiss; and somebody who makes traffic."""

    def __init__(self):
        self.directory = tap.tmpdir()
        self.fronts = [f"127.0.0.1:{net.port()}", f"unix:{self.directory}/front"]
        self.servers = [peers.Server(f"127.0.0.1:{net.port()}", peers.echo) for _ in range(3)]
        self.http = f"127.0.0.1:{net.port()}"
        config = (proxy.frontend("web", self.fronts, "app") + proxy.frontend(ODD, f"unix:{self.directory}/odd", ODD) +
                  proxy.backend("app", "".join(proxy.server(f"s{n}", server.address, f"weight = {n + 1}")
                                               for n, server in enumerate(self.servers[:2])),
                                "check { interval = 100ms fall = 1 rise = 1 }") +
                  proxy.backend(ODD, proxy.server(ODD, self.servers[2].address)))
        self.daemon = proxy.Proxy(config, directory=self.directory, threads=2,
                                  top=f'admin {{ socket = "{self.directory}/admin.sock" http = "{self.http}" }}\n')
        self.api = admin.of(self.daemon)
        proxy.wait_for(lambda: self.api.get("/v1/ready")["ready"], "the first checks")
        self.stopping = threading.Event()
        self.held = []
        for number in range(6):
            sock = net.connect(self.fronts[number % 2])
            tap.cleanup(sock.close)
            sock.sendall(b"x" * 1000 * (number + 1))
            net.read_exactly(sock, 1000 * (number + 1))
            self.held.append(sock)

    def traffic(self):
        """Short sessions, until the case is over."""
        def go():
            while not self.stopping.is_set():
                try:
                    with net.connect(self.fronts[0]) as sock:
                        sock.sendall(b"y" * 5000)
                        net.read_exactly(sock, 5000)
                        sock.shutdown(socket.SHUT_WR)
                        net.read_all(sock)
                except OSError:
                    pass
                time.sleep(0.02)
        thread = threading.Thread(target=go, daemon=True)
        tap.cleanup(thread.join)
        tap.cleanup(self.stopping.set)
        thread.start()

    def expected(self):
        """What the tables have to say, by the API."""
        frontends = [(one["name"], [one["name"], one["state"], one["sessions"], None, one["sessions_total"], one["denied_total"],
                                    one["limited_total"], one["bytes_up"], one["bytes_down"],
                                    " ".join(each["address"] for each in one["listeners"])])
                     for one in self.api.get("/v1/frontends")["frontends"]]
        servers = []
        for one in self.api.get("/v1/backends")["backends"]:
            def total(key, of=one["servers"]):
                return sum(each[key] for each in of)
            servers.append((one["name"], [one["name"], "", total("sessions"), None, total("sessions_total"), "",
                                          total("connect_failed_total"), total("retried_total"), "", total("bytes_up"),
                                          total("bytes_down"), one["balance"], ""]))
            for each in one["servers"]:
                servers.append((f"{one['name']}/{each['name']}/{each['address']}",
                                [each["name"], each["state"], each["sessions"], None, each["sessions_total"], each["weight"],
                                 each["connect_failed_total"], each["retried_total"], None, each["bytes_up"],
                                 each["bytes_down"], each["address"], None]))
        return frontends, servers


def _same(got, wanted, what):
    tap.equal([key for key, _ in got], [key for key, _ in wanted], f"rows of {what}")
    for (key, cells), (_, values) in zip(got, wanted):
        tap.equal([cell for cell, value in zip(cells, values) if value is not None],
                  [str(value) for value in values if value is not None], f"{key} of {what}")


@tap.case("without JavaScript it is a plain table with the values of the API, every name escaped, and a strict policy")
def _plain():
    setup = _Setup()
    answer = admin.Admin(setup.http).ask("GET", "/")
    tap.equal((answer.status, answer.headers["Content-Type"]), (200, "text/html; charset=utf-8"), "answer")
    policy = answer.headers["Content-Security-Policy"]
    nonce = re.search(r"script-src 'nonce-([0-9a-f]{32})'", policy).group(1)
    tap.check("default-src 'none'" in policy and "unsafe" not in policy, f"policy: {policy}")
    text = answer.text
    tap.equal(re.findall(r'<(?:script|style)[^>]*>', text), [f'<style nonce="{nonce}">', f'<script nonce="{nonce}">'],
              "its own style and script are all that may run")
    tap.check("<img" not in text and text.count("&lt;img src=x onerror=alert(1)&gt; &amp; &#39;b&#39;") >= 5, "escaped names")
    tap.check(not re.search(r'(?:src|href)="(?!data:|/)', text), "nothing comes from elsewhere")
    tap.check("{{" not in text and "}}" not in text.split("<script")[0].split("</style>")[1], "every place is filled in")
    again = admin.Admin(setup.http).ask("GET", "/").headers["Content-Security-Policy"]
    tap.check(nonce not in again, "another nonce each time")


@tap.case("in a browser it lives: values are those of the API, a change shows within 2 s, and nothing complains", 90)
def _lives():
    window = browser.Browser()
    setup = _Setup()
    frontends, servers = setup.expected()
    window.scripts(False)
    window.open(f"http://{setup.http}/")
    window.scripts(True)
    # At once: without scripts the page loads itself anew after 5 s, and by then they are allowed.
    tap.equal(window.run("return document.body.dataset.ticks || 0"), 0, "no script ran")
    _same(window.run(ROWS, "#frontends"), frontends, "the plain page")
    _same(window.run(ROWS, "#servers"), servers, "the plain page")

    window.open(f"http://{setup.http}/")
    proxy.wait_for(lambda: window.run("return Number(document.body.dataset.ticks || 0)") >= 2, "the page to live", 20)
    _same(window.run(ROWS, "#frontends"), frontends, "the live page")
    _same(window.run(ROWS, "#servers"), servers, "the live page")
    tap.equal(window.run("return document.querySelectorAll('img').length"), 0, "elements that a name made")

    setup.traffic()
    proxy.wait_for(lambda: window.run("return document.querySelector('#g-rate b').textContent") not in ("–", "0.0"),
                   "connections a second", 20)
    for tile in ("sessions", "rate", "bytes"):
        drawn = proxy.wait_for(lambda: window.run("return document.querySelector(arguments[0]).getAttribute('d')",
                                                  f"#g-{tile} path"), f"a line of {tile}", 20)
        tap.check(drawn.startswith("M"), f"the line of {tile}: {drawn[:40]}")

    def shown():
        return {key: cells[1] for key, cells in window.run(ROWS, "#servers")}

    key = f"app/s0/{setup.servers[0].address}"
    for state, wanted in (("maint", "maint"), ("ready", "up")):
        setup.api.good("PATCH", "/v1/backends/app/servers/s0", {"state": state})
        proxy.wait_for(lambda: setup.api.server("app/s0")["state"] == wanted, "the new state")
        begun = time.monotonic()
        proxy.wait_for(lambda: shown()[key] == wanted, f"{wanted} on the page")
        tap.check(time.monotonic() - begun < 2 * proxy.slowness(), f"{wanted} shows within 2 s")
    setup.servers[1].close()
    proxy.wait_for(lambda: setup.api.server("app/s1")["state"] == "down", "a server that is down")
    begun = time.monotonic()
    proxy.wait_for(lambda: shown()[f"app/s1/{setup.servers[1].address}"] == "down", "down on the page")
    tap.check(time.monotonic() - begun < 2 * proxy.slowness(), "a server that is down shows within 2 s")
    setup.api.good("PATCH", "/v1/frontends/web", {"state": "paused"})
    proxy.wait_for(lambda: ["paused"] == [cells[1] for name, cells in window.run(ROWS, "#frontends") if name == "web"],
                   "the pause on the page")
    setup.api.good("PATCH", "/v1/frontends/web", {"state": "ready"})

    window.size(390, 844, mobile=True)
    tap.check(window.run("return document.documentElement.scrollWidth <= innerWidth"), "it fits a telephone")
    window.screenshot("page-telephone.png")
    window.size(1200, 900)
    colours = []
    for dark in (True, False):
        window.dark(dark)
        colours.append(window.run("return getComputedStyle(document.body).backgroundColor"))
        window.screenshot(f"page-{'dark' if dark else 'light'}.png")
    tap.check(colours[0] != colours[1], f"light and dark: {colours}")
    tap.equal(window.errors(), [], "what the console complains of")


tap.run()
