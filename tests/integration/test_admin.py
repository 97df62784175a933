#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The admin API: what it shows, what it changes, who may, and that nothing of it is lost."""
import http.client
import json
import os
import re
import signal
import socket
import stat
import urllib.parse

from lib import admin, arena, net, peers, proxy, schema, tap

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "admin.schema.json"), encoding="utf-8") as _file:
    SCHEMA = json.load(_file)


class _Setup:
    """Two echo servers behind a frontend that listens on TCP and AF_UNIX."""

    def __init__(self, *, keys="", front="", back="", http=False, **options):
        self.directory = options["directory"] = tap.tmpdir()
        self.fronts = [f"127.0.0.1:{net.port()}", f"unix:{self.directory}/front"]
        self.front, self.back = front, back
        self.servers = {name: peers.Server(f"unix:{self.directory}/{name}", peers.echo) for name in ("a", "b")}
        self.http = f"127.0.0.1:{net.port()}" if http else None
        self.top = f'admin {{ socket = "{self.directory}/admin.sock" {f"http = {chr(34)}{self.http}{chr(34)}" if http else ""} }}\n'
        self.proxy = proxy.Proxy(self.config(), top=self.top + keys, **options)
        self.api = admin.of(self.proxy)

    def config(self, a="", b="", front=None):
        servers = "".join(proxy.server(name, self.servers[name].address, extra) for name, extra in (("a", a), ("b", b)))
        return (proxy.frontend("f", self.fronts, "app", self.front if front is None else front) +
                proxy.backend("app", servers, self.back))

    def session(self, front=0, word=b"hello"):
        """A session with a word exchanged."""
        sock = net.connect(self.fronts[front])
        tap.cleanup(sock.close)
        sock.sendall(word)
        tap.equal(net.read_exactly(sock, len(word)), word, "an echo")
        return sock

    def served_by(self, count=6):
        """How many of so many new sessions each server gets."""
        before = {name: server.count for name, server in self.servers.items()}
        for _ in range(count):
            self.session().close()
        return {name: server.count - before[name] for name, server in self.servers.items()}


def _lists(setup):
    """Every list is as the schema says."""
    for name in ("status", "frontends", "backends", "listeners", "sessions", "config", "ready"):
        schema.check(SCHEMA, name, setup.api.get(f"/v1/{name}"))


@tap.case("every list has its fields with their types, and the values are those of the traffic")
def _fields():
    setup = _Setup(threads=2)
    _lists(setup)
    held = [setup.session(0, b"12345"), setup.session(1, b"123"), setup.session(0, b"1234567")]
    held[2].shutdown(socket.SHUT_WR)
    tap.equal(net.read_all(held[2]), (b"", None), "the end of a session")
    one = setup.session(0, b"x")
    _lists(setup)

    status = setup.api.status()
    tap.equal((status["pid"], status["worker_pid"]), (setup.proxy.pid, setup.proxy.worker()), "processes")
    tap.equal([status[key] for key in ("state", "sessions", "sessions_total", "bytes_up", "bytes_down", "threads")],
              ["serving", 3, 4, 16, 16, 2], "status")
    frontend = setup.api.frontend("f")
    tap.equal([frontend[key] for key in ("state", "sessions", "sessions_total", "bytes_up", "bytes_down")],
              ["ready", 3, 4, 16, 16], "frontend")
    tap.equal([(each["address"], each["state"]) for each in frontend["listeners"]],
              [(address, "listening") for address in setup.fronts], "listeners")
    tap.equal(frontend["listeners"][0]["socket"]["keepalive-idle"], "60s", "an option of a TCP listener")
    tap.check("nodelay" not in frontend["listeners"][1]["socket"], "an AF_UNIX listener has no TCP options")
    servers = [setup.api.server(f"app/{name}") for name in "ab"]
    tap.equal([(each["state"], each["weight"], each["sessions"], each["sessions_total"]) for each in servers],
              [("unchecked", 1, 1, 2), ("unchecked", 1, 2, 2)], "servers")
    tap.equal(sum(each["bytes_up"] for each in servers), 16, "bytes of the servers")

    sessions = setup.api.sessions()
    port = held[0].getsockname()[1]
    tap.equal([each["client"] for each in sessions], [f"127.0.0.1:{port}", "unix", f"127.0.0.1:{one.getsockname()[1]}"],
              "clients")
    tap.equal([(each["state"], each["frontend"], each["backend"], each["bytes_up"], each["half_closed"])
               for each in sessions],
              [("relaying", "f", "app", n, None) for n in (5, 3, 1)], "sessions")
    tap.equal(sorted(each["server"] for each in sessions), ["a", "b", "b"], "their servers")
    tap.equal([each["client"] for each in setup.api.sessions("?source=unix")], ["unix"], "those of a source")
    tap.equal(len(setup.api.sessions("?source=127.0.0.0/8&server=app/b")), 1, "those of a source and a server")


def _described(schema_part):
    """The words that the manual needs for a part of the schema: its members, and the states that they may have."""
    if "$ref" in schema_part:
        schema_part = SCHEMA["definitions"][schema_part["$ref"].rpartition("/")[2]]
    words = set(schema_part.get("properties", ()))
    for name, inner in schema_part.get("properties", {}).items():
        words |= _described(inner) | set(inner.get("enum", ()) if name == "state" else ())
    return words | (_described(schema_part["items"]) if "items" in schema_part else set())


@tap.case("the manual lists the fields of the schema with their states, and no others")
def _manual():
    with open(os.path.join(os.environ.get("top_srcdir", "."), "man/spliced.8"), encoding="utf-8") as file:
        page = file.read().partition("\n.Sh ADMIN API\n")[2].partition("\n.Sh ")[0]
    items = dict(re.findall(r"^\.It GET Pa /v1/(\w+)\n(.*?)(?=^\.It |\Z)", page, re.M | re.S))
    for name, text in items.items():
        found = set()
        for line in re.findall(r"^\.(?:Pq |Po )?Cm (.*)$", text, re.M):
            found |= set(line.replace(" Pc", "").replace(",", " ").replace(".", " ").split())
        wanted = _described(SCHEMA["definitions"][name])
        if name in ("frontends", "backends", "sessions"):
            wanted -= {name}
        if name == "listeners":         # "all of these", those of frontends, "each with its frontend"
            wanted = {"frontend"}
        if name in ("config", "ready"):
            continue
        tap.equal(found, wanted, f"what spliced(8) says of {name}")
    tap.equal(set(items), {"status", "frontends", "listeners", "backends", "sessions", "config", "ready"}, "lists of the manual")


@tap.case("a half-closed session says who has sent a FIN, one that waits for a server that it does")
def _states():
    directory = tap.tmpdir()
    silent = peers.Accepted(f"unix:{directory}/silent")
    fronts = [f"unix:{directory}/{name}" for name in ("front", "nobody")]
    daemon = proxy.Proxy(proxy.frontend("f", fronts[0], "b") + proxy.backend("b", f"unix:{directory}/silent") +
                         proxy.frontend("g", fronts[1], "n") +
                         proxy.backend("n", f"unix:{directory}/none", "retries = 50"), directory=directory)
    api = admin.of(daemon)
    first, second = net.connect(fronts[0]), net.connect(fronts[0])
    ends = [silent.take(), silent.take()]
    first.shutdown(socket.SHUT_WR)
    ends[1].shutdown(socket.SHUT_WR)
    proxy.wait_for(lambda: [each["half_closed"] for each in api.sessions()] == ["client", "server"],
                   lambda: f"one half-closed by each side: {api.sessions()}")
    waits = net.connect(fronts[1])
    proxy.wait_for(lambda: [each["state"] for each in api.sessions("?frontend=g")] == ["queued"], "a session that waits")
    for sock in (first, second, waits, *ends):
        sock.close()


@tap.case("names that JSON has to escape are what they are, in every list")
def _names():
    directory = tap.tmpdir()
    name = 'a "b" \\ {c} \u00e4\u20ac'
    written = name.replace("\\", "\\\\").replace('"', '\\"')
    server = peers.Server(f"unix:{directory}/back", peers.echo)
    daemon = proxy.Proxy(proxy.frontend(written, f"unix:{directory}/front", written) +
                         proxy.backend(written, proxy.server(written, server.address)), directory=directory)
    api = admin.of(daemon)
    peers.client(f"unix:{directory}/front")
    session = proxy.wait_for(api.sessions, "a session")[0]
    tap.equal([session[key] for key in ("frontend", "backend", "server")], [name] * 3, "names of a session")
    tap.equal(api.get("/v1/frontends")["frontends"][0]["name"], name, "name of the frontend")
    backend = api.get("/v1/backends")["backends"][0]
    tap.equal((backend["name"], backend["servers"][0]["name"]), (name, name), "names of backend and server")
    where = "/".join(urllib.parse.quote(part) for part in (name, name))
    api.good("PATCH", f"/v1/backends/{where.replace('/', '/servers/')}", {"state": "drain"})
    tap.equal(api.good("DELETE", f"/v1/sessions?server={where}"), {"killed": 1}, "sessions ended by such a name")


@tap.case("ready once every checked server had its first check; what checks say is in the list")
def _ready():
    directory = tap.tmpdir()
    echo = peers.Server(f"unix:{directory}/echo", peers.echo)
    silent = peers.Accepted(f"unix:{directory}/silent")
    servers = (proxy.server("well", echo.address) + proxy.server("silent", f"unix:{directory}/silent") +
               proxy.server("dead", f"unix:{directory}/none") + proxy.server("free", echo.address, "check = off"))
    daemon = proxy.Proxy(proxy.frontend("f", f"unix:{directory}/front", "b") + proxy.backend(
        "b", servers, 'check { type = expect send = "hi" expect = "hi" interval = 100ms rise = 1 fall = 1 } '
        "timeouts { check = 2s }"), directory=directory)
    api = admin.of(daemon)
    proxy.wait_for(lambda: api.get("/v1/ready")["waiting"] == ["b/silent"], "all but one to be checked")
    schema.check(SCHEMA, "ready", api.get("/v1/ready"))
    tap.equal(api.get("/v1/ready")["ready"], False, "ready")
    silent.take().close()
    proxy.wait_for(lambda: api.get("/v1/ready") == {"ready": True, "waiting": []}, "ready")
    schema.check(SCHEMA, "backends", api.get("/v1/backends"))
    states = {name: (api.server(f"b/{name}")["state"], api.server(f"b/{name}")["check"]["last"])
              for name in ("well", "silent", "dead", "free")}
    tap.equal(states, {"well": ("up", "ok"), "silent": ("down", "failed"), "dead": ("down", "failed"),
                       "free": ("unchecked", None)}, "states")
    check = api.server("b/dead")["check"]
    tap.check(check["detail"] and check["since"], f"the check of a server that is not there: {check}")
    api.good("PATCH", "/v1/backends/b/servers/well", {"state": "maint"})
    tap.equal(api.server("b/well")["state"], "maint", "in maintenance")


@tap.case("a server in drain or maint gets nobody new and keeps whom it has; ready, it gets its share again")
def _drain():
    setup = _Setup()
    held = [setup.session(), setup.session()]
    for state in ("drain", "maint"):
        server = setup.api.good("PATCH", "/v1/backends/app/servers/a", {"state": state})
        schema.check(SCHEMA, "server", server)
        tap.equal((server["name"], server["state"]), ("a", state), "the answer")
        tap.equal(setup.served_by(), {"a": 0, "b": 6}, f"new sessions while a is in {state}")
        for sock in held:
            sock.sendall(b"on")
            tap.equal(net.read_exactly(sock, 2), b"on", "a session that was there")
    setup.api.good("PATCH", "/v1/backends/app/servers/a", {"state": "ready"})
    tap.equal(setup.served_by(), {"a": 3, "b": 3}, "new sessions afterwards")
    setup.api.good("PATCH", "/v1/backends/app/servers/b", {"weight": 2})
    tap.equal(setup.served_by(), {"a": 2, "b": 4}, "new sessions with a weight of 2")
    setup.api.good("PATCH", "/v1/backends/app/servers/b", {"weight": 0})
    tap.equal(setup.served_by(), {"a": 6, "b": 0}, "new sessions with a weight of 0")
    uid = os.getuid()
    setup.proxy.wait_log(rf"admin: uid {uid} \(PID {os.getpid()}\) sets the server's state to drain \(server=app/a\)")
    setup.proxy.wait_log(rf"admin: uid {uid} \(PID {os.getpid()}\) sets the server's weight to 0 \(server=app/b\)")


@tap.case("an address set at run time is used from then on; the one in the file brings the file's back")
def _address():
    setup = _Setup(back="retries = 0")
    other = peers.Server(f"127.0.0.1:{net.port()}", peers.echo)
    server = setup.api.good("PATCH", "/v1/backends/app/servers/a", {"address": other.address})
    tap.equal(server["address"], other.address, "the address")
    tap.equal((setup.served_by(4), other.count), ({"a": 0, "b": 2}, 2), "new sessions")
    setup.api.good("PATCH", "/v1/backends/app/servers/a", {"address": setup.servers["a"].address})
    tap.equal((setup.served_by(4), other.count), ({"a": 2, "b": 2}, 2), "new sessions after that")


@tap.case("what was set at run time survives crashes, reloads and upgrades, until the file's own value changes")
def _survive():
    setup = _Setup()
    other = peers.Server(f"127.0.0.1:{net.port()}", peers.echo)
    setup.api.good("PATCH", "/v1/backends/app/servers/a", {"state": "drain", "weight": 7, "address": other.address})
    setup.api.good("PATCH", "/v1/frontends/f", {"state": "paused"})

    def look():
        server = setup.api.server("app/a")
        return server["state"], server["weight"], server["address"], setup.api.frontend("f")["state"]

    wanted = ("drain", 7, other.address, "paused")
    tap.equal(look(), wanted, "before")
    worker = setup.proxy.worker()
    os.kill(worker, signal.SIGKILL)
    setup.proxy.wait_worker(worker)
    tap.equal(look(), wanted, "after a crash")
    setup.api.wait_generation(setup.api.good("POST", "/v1/reload", status=202)["generation"])
    tap.equal(look(), wanted, "after a reload")
    setup.api.wait_generation(setup.api.good("POST", "/v1/upgrade", status=202)["generation"])
    tap.equal(look(), wanted, "after an upgrade")
    for extra, expected in (("weight = 5", ("drain", 5, other.address, "paused")),
                            ("weight = 5 disabled = on", ("maint", 5, other.address, "paused")),
                            ("weight = 5", ("unchecked", 5, other.address, "paused"))):
        setup.proxy.write_config(setup.config(extra))
        setup.api.wait_generation(setup.api.good("POST", "/v1/reload", status=202)["generation"])
        tap.equal(look(), expected, f"after a reload with {extra}")


@tap.case("a paused frontend leaves clients in the backlog, through a crash too; ready, it takes them up", 60)
def _pause():
    setup = _Setup(threads=2)
    held = setup.session()
    answer = setup.api.good("PATCH", "/v1/frontends/f", {"state": "paused"})
    schema.check(SCHEMA, "frontend", answer)
    tap.equal((answer["state"], {each["state"] for each in answer["listeners"]}), ("paused", {"paused"}), "the answer")
    waiting = [net.connect(front) for front in setup.fronts * 3]
    for sock in waiting:
        tap.cleanup(sock.close)
        sock.sendall(b"early")
    held.sendall(b"on")
    tap.equal(net.read_exactly(held, 2), b"on", "a session that was there")
    worker = setup.proxy.worker()
    arena.rest(setup.proxy)
    os.kill(worker, signal.SIGKILL)
    setup.proxy.wait_worker(worker)
    proxy.wait_for(lambda: setup.api.status()["adopted_total"] == 1, "the adoption")
    tap.equal((setup.api.status()["sessions"], setup.api.frontend("f")["sessions_total"]), (1, 1), "sessions so far")
    setup.api.good("PATCH", "/v1/frontends/f", {"state": "ready"})
    for sock in waiting:
        tap.equal(net.read_exactly(sock, 5), b"early", "an echo for who waited")
    tap.equal(setup.api.frontend("f")["sessions_total"], 7, "sessions in the end")


@tap.case("sessions are ended one by one, by server, by frontend and by source, and no others")
def _kill():
    setup = _Setup(threads=2)
    held = [setup.session(number % 2) for number in range(8)]

    def left():
        return {each["id"] for each in setup.api.sessions()}

    everybody = setup.api.sessions()
    victim = everybody[3]
    schema.check(SCHEMA, "killed", setup.api.good("DELETE", f"/v1/sessions/{victim['id']}"))
    tap.equal(net.read_all(held[3])[0], b"", "the one that was ended")
    proxy.wait_for(lambda: left() == {each["id"] for each in everybody} - {victim["id"]}, "all but one")
    setup.api.bad("DELETE", f"/v1/sessions/{victim['id']}", status=404, detail=victim["id"])

    rest = [each for each in everybody if each["id"] != victim["id"]]
    for query, meant in (("server=app/a", lambda each: each["server"] == "a"),
                         ("source=unix", lambda each: each["client"] == "unix"),
                         ("source=10.0.0.0/8", lambda each: False),
                         ("frontend=f", lambda each: True)):
        gone = [each for each in rest if meant(each)]
        rest = [each for each in rest if not meant(each)]
        tap.equal(setup.api.good("DELETE", f"/v1/sessions?{query}"), {"killed": len(gone)}, f"ended by {query}")
        proxy.wait_for(lambda: left() == {each["id"] for each in rest}, f"the rest after {query}")
    records = setup.proxy.wait_access(8)
    tap.equal({record["end"] for record in records}, {"killed"}, "ends in the access log")
    setup.proxy.wait_log(r"admin: uid \d+ \(PID \d+\) ends 1 sessions")


@tap.case("a reload by the API: done when its worker serves, or refused with all that is wrong")
def _reload():
    setup = _Setup()
    held = setup.session()
    tap.equal(setup.api.status()["last_reload"], {"time": None, "ok": None, "detail": None}, "before any")
    setup.proxy.write_config(setup.config().replace('frontend "f"', 'frontend "g"'))
    answer = setup.api.good("POST", "/v1/reload", status=202)
    schema.check(SCHEMA, "generation", answer)
    setup.api.wait_generation(answer["generation"])
    status = setup.api.status()
    tap.equal((status["worker_generation"], status["last_reload"]["ok"], status["last_reload"]["detail"]),
              (answer["generation"], True, None), "after it")
    tap.equal(setup.api.frontend("g")["sessions_total"], 0, "the new frontend begins at nothing")

    setup.proxy.write_config("thread = 2\n" + setup.config() + "\nnonsense { }\n")
    detail = setup.api.bad("POST", "/v1/reload", status=409, detail="unknown key 'thread'")
    tap.check("unknown key 'nonsense'" in detail and "spliced.conf:6: " in detail, f"all mistakes with their lines: {detail}")
    status = setup.api.status()
    tap.equal((status["last_reload"]["ok"], status["last_reload"]["detail"]), (False, detail), "the last reload")
    tap.equal(status["worker_generation"], answer["generation"], "the same worker serves")

    taken = net.listen(f"127.0.0.1:{net.port()}")
    setup.fronts.append(f"127.0.0.1:{taken.getsockname()[1]}")
    setup.proxy.write_config(setup.config())
    setup.api.bad("POST", "/v1/reload", status=409, detail=setup.fronts.pop())
    taken.close()
    held.sendall(b"on")
    tap.equal(net.read_exactly(held, 2), b"on", "a session from the beginning")


@tap.case("an upgrade by the API; and one of a binary that cannot take over is refused")
def _upgrade():
    directory = tap.tmpdir()
    program = f"{directory}/spliced"
    with open(proxy.PROGRAM, "rb") as file:
        image = file.read()

    def put(content):
        with open(f"{program}.new", "wb") as file:
            file.write(content)
        os.chmod(f"{program}.new", 0o755)
        os.rename(f"{program}.new", program)

    put(image)
    setup = _Setup(program=program)
    held = setup.session()
    put(b"#!/bin/sh\nexit 7\n")
    detail = setup.api.bad("POST", "/v1/upgrade", status=409, detail="it cannot take over")
    tap.check(program in detail, f"the binary in {detail!r}")
    put(image)
    answer = setup.api.good("POST", "/v1/upgrade", status=202)
    setup.api.wait_generation(answer["generation"])
    tap.equal(setup.api.status()["pid"], setup.proxy.pid, "the process")
    held.sendall(b"on")
    tap.equal(net.read_exactly(held, 2), b"on", "a session from before")
    tap.equal(len(setup.proxy.log_lines(r"upgraded: this is")), 1, "upgrades")


@tap.case("one process alone refuses reload and upgrade, and has the rest")
def _alone():
    setup = _Setup(keeper=False)
    for kind in ("reload", "upgrade"):
        setup.api.bad("POST", f"/v1/{kind}", status=409, detail="a single process cannot")
    tap.equal(setup.api.status()["pid"], setup.proxy.pid, "the process")
    setup.api.good("PATCH", "/v1/backends/app/servers/a", {"state": "drain"})
    tap.equal(setup.served_by(), {"a": 0, "b": 6}, "new sessions")


# (method, path, body, status, what the detail names)
BAD = [
    ("PATCH", "/v1/backends/app/servers/a", b"", 400, "no JSON"),
    ("PATCH", "/v1/backends/app/servers/a", b"{", 400, "no JSON"),
    ("PATCH", "/v1/backends/app/servers/a", b"[]", 400, "no JSON object"),
    ("PATCH", "/v1/backends/app/servers/a", b"[" * 4000, 400, "no JSON"),
    ("PATCH", "/v1/backends/app/servers/a", b"\xff\xfe", 400, "no JSON"),
    ("PATCH", "/v1/backends/app/servers/a", b'{"weight": 1, "weight": 2}', 400, "duplicate"),
    ("PATCH", "/v1/backends/app/servers/a", {}, 400, "nothing to change"),
    ("PATCH", "/v1/backends/app/servers/a", {"wait": 3}, 400, "wait: unknown field; allowed: state, weight, address"),
    ("PATCH", "/v1/backends/app/servers/a", {"weight": 3, "colour\n": 1}, 400, "colour"),
    ("PATCH", "/v1/backends/app/servers/a", {"state": 1}, 400, "state: is none"),
    ("PATCH", "/v1/backends/app/servers/a", {"state": "down"}, 400, 'state: is none; allowed: "ready"'),
    ("PATCH", "/v1/backends/app/servers/a", {"state": None}, 400, "state: is none"),
    ("PATCH", "/v1/backends/app/servers/a", {"weight": "3"}, 400, "weight: is none; allowed: a whole number from 0 to 256"),
    ("PATCH", "/v1/backends/app/servers/a", {"weight": 3.5}, 400, "weight:"),
    ("PATCH", "/v1/backends/app/servers/a", {"weight": -1}, 400, "weight:"),
    ("PATCH", "/v1/backends/app/servers/a", {"weight": 257}, 400, "weight:"),
    ("PATCH", "/v1/backends/app/servers/a", {"weight": True}, 400, "weight:"),
    ("PATCH", "/v1/backends/app/servers/a", {"address": ["127.0.0.1:80"]}, 400, "address: is no string"),
    ("PATCH", "/v1/backends/app/servers/a", {"address": "127.0.0.1"}, 400, "address: is refused"),
    ("PATCH", "/v1/backends/app/servers/a", {"address": "example.org:80"}, 400, "address: is not one to connect to"),
    ("PATCH", "/v1/backends/app/servers/a", {"address": ":80"}, 400, "address: is not one to connect to"),
    ("PATCH", "/v1/backends/app/servers/a", {"state": "drain", "weight": 999}, 400, "weight:"),
    ("PATCH", "/v1/backends/app/servers/z", {"state": "drain"}, 404, "app/z"),
    ("PATCH", "/v1/backends/app/servers/", {"state": "drain"}, 404, "/v1/backends/app/servers/"),
    ("PATCH", "/v1/backends/z/servers/a", {"state": "drain"}, 404, "z/a"),
    ("PATCH", "/v1/backends/app/servers/a/b", {"state": "drain"}, 404, ""),
    ("PATCH", "/v1/backends/%00/servers/%ff", {"state": "drain"}, 404, ""),
    ("PATCH", "/v1/frontends/f", {"state": "drain"}, 400, 'state: is none; allowed: "ready", "paused"'),
    ("PATCH", "/v1/frontends/f", {"paused": True}, 400, "paused: unknown field"),
    ("PATCH", "/v1/frontends/z", {"state": "paused"}, 404, "z"),
    ("DELETE", "/v1/sessions/0", None, 404, "0"),
    ("DELETE", "/v1/sessions/1x", None, 404, "1x"),
    ("DELETE", "/v1/sessions/-1", None, 404, "-1"),
    ("DELETE", "/v1/sessions/99999999999999999999999", None, 404, "999"),
    ("DELETE", "/v1/sessions", None, 400, "frontend="),
    ("DELETE", "/v1/sessions?client=x", None, 400, "client"),
    ("DELETE", "/v1/sessions?frontend=z", None, 404, "frontend: z"),
    ("DELETE", "/v1/sessions?server=app", None, 404, "BACKEND/SERVER"),
    ("DELETE", "/v1/sessions?server=app/z", None, 404, "app/z"),
    ("DELETE", "/v1/sessions?source=10.0.0.0/33", None, 400, "source"),
    ("DELETE", "/v1/sessions?source=10.0.0.0/", None, 400, "source"),
    ("DELETE", "/v1/sessions?source=localhost", None, 400, "source"),
    ("GET", "/v1/sessions?source=::/129", None, 400, "source"),
    ("GET", "/v1/nothing", None, 404, "/v1/nothing"),
    ("GET", "/v1/status/", None, 404, ""),
    ("GET", "/v1", None, 404, ""),
    ("POST", "/v1/status", b"x", 405, "GET"),
    ("GET", "/v1/reload", None, 405, "POST"),
    ("DELETE", "/v1/frontends/f", None, 405, "PATCH"),
    ("BREW", "/v1/status", None, 405, "GET"),
    ("PATCH", "/v1/backends/app/servers/a", b'{"weight": 1}' + b" " * 4096, 400, "4096 bytes"),
    ("PATCH", "/v1/backends/app/servers/a", b"x" * 1000000, 400, "4096 bytes"),
]


def _raw(path, data, answered):
    """Sends bytes; returns the first line of the answer, where there has to be one."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20 * proxy.slowness())
        sock.connect(path)
        try:
            sock.sendall(data)
            return sock.recv(4096).split(b"\r\n")[0] if answered else b""
        except (BrokenPipeError, ConnectionResetError):
            return b""


@tap.case("bad requests: refused with what is wrong, and nothing is changed")
def _bad():
    setup = _Setup()
    before = setup.api.get("/v1/backends"), setup.api.get("/v1/frontends")
    for method, path, body, status, detail in BAD:
        setup.api.bad(method, path, body, status, detail)
    for name in ("a" * 300, "f\r\nX: y", "<script>"):
        with_name = setup.api.ask("PATCH", f"/v1/frontends/{''.join(f'%{ord(c):02x}' for c in name)}", {"state": "ready"})
        tap.equal((with_name.status, with_name.headers["Content-Type"]), (404, "application/json"), "an odd name")
    # What is no whole request is waited for, and so is not answered.
    for data, answered in ((b"\0" * 100, False), (b"GET\r\n\r\n", True), (b"\x16\x03\x01\x02\x00" * 50, False),
                           (b"GET / HTTP/9.9\r\n\r\n", True), (b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n\r\n", True),
                           (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20000 + b"\r\n", True),
                           (b"POST /v1/reload HTTP/1.1\r\nContent-Length: -5\r\n\r\n", True),
                           (b"PATCH /v1/frontends/f HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999\r\n\r\n", False),
                           (b"PATCH /v1/frontends/f HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n",
                            False)):
        line = _raw(setup.proxy.admin_path, data, answered)
        tap.check(not line or line.split()[1].startswith((b"4", b"5")), f"answer to {data[:40]!r}: {line!r}")
    tap.equal((setup.api.get("/v1/backends"), setup.api.get("/v1/frontends")), before, "nothing has changed")
    setup.session()


@tap.case("1000 idle clients and some that read nothing keep nobody out, and no traffic waits", 90)
def _crowd():
    setup = _Setup(http=True)
    idle = []

    def stay(family, where, data=b""):
        sock = socket.socket(family)
        sock.setblocking(False)
        tap.cleanup(sock.close)
        try:
            sock.connect(where)
            sock.send(data)
        except (BlockingIOError, ConnectionResetError, BrokenPipeError):
            pass
        idle.append(sock)

    host, _, port = setup.http.partition(":")
    request = b"GET /v1/config HTTP/1.1\r\nHost: x\r\n\r\n" * 100
    for number in range(1000):
        data = request if number % 10 == 0 else b"GET /v1/st" if number % 10 == 1 else b""
        stay(socket.AF_UNIX, setup.proxy.admin_path, data)
        if number % 5 == 0:
            stay(socket.AF_INET, (host, int(port)), data)
        if number % 250 == 125:
            tap.equal(setup.api.status()["state"], "serving", "for an operator who comes in between")
            tap.equal(admin.Admin(setup.http).get("/v1/status")["state"], "serving", "the same by HTTP")
            setup.session().close()
    tap.equal(setup.api.status()["state"], "serving", "for one who comes last")
    setup.session()
    tap.check(setup.proxy.fds() < 200, f"few of them are kept: {setup.proxy.fds()} descriptors")


@tap.case("with all sessions taken and descriptors short, an operator still gets in, and can end some")
def _short():
    setup = _Setup(nofile=96)
    most = setup.api.status()["sessions_max"]
    held = [setup.session(1) for _ in range(most)]
    idle = []
    for _ in range(20):
        sock = socket.socket(socket.AF_UNIX)
        tap.cleanup(sock.close)
        sock.connect(setup.proxy.admin_path)
        idle.append(sock)
    for _ in range(3):
        tap.equal(setup.api.status()["sessions"], most, "sessions")
    tap.equal(setup.api.good("DELETE", "/v1/sessions?source=unix"), {"killed": most}, "sessions that were ended")
    for sock in held:
        tap.equal(net.read_all(sock)[0], b"", "the end of a session")
    setup.session()


@tap.case("a worker that is killed in the midst of requests: the next one answers who waits, and loses no change", 90)
def _killed():
    setup = _Setup()
    workers = {setup.proxy.worker()}
    answered = failed = 0
    weights = []
    for number in range(20):
        if number % 5 == 4:
            # It stands still, so that this request is the next one's.
            worker = setup.proxy.worker()
            proxy.freeze(worker)
            connection = setup.api.connection()
            connection.request("GET", "/v1/status")
            os.kill(worker, signal.SIGKILL)
            tap.equal(connection.getresponse().status, 200, "the answer of the next worker")
            connection.close()
            answered += 1
        else:
            os.kill(setup.proxy.worker(), signal.SIGKILL)
            try:
                weights.append(setup.api.good("PATCH", "/v1/backends/app/servers/a", {"weight": number})["weight"])
            except (OSError, http.client.HTTPException):
                failed += 1
                continue
            tap.equal(setup.api.server("app/a")["weight"], number, "a change that was answered")
        workers = {setup.proxy.wait_worker(workers)}
    tap.note(f"{answered} waited, {len(weights)} were answered, {failed} failed")
    tap.check(weights, "some were answered")


@tap.case("admin.http is for reading, and not for what names clients or paths")
def _http():
    setup = _Setup(http=True)
    public, full = admin.Admin(setup.http), setup.api
    for name in ("status", "frontends", "backends"):
        schema.check(SCHEMA, name, public.get(f"/v1/{name}"))
    for path in ("/v1/sessions", "/v1/config", "/v1/listeners"):
        tap.equal(full.ask("GET", path).status, 200, f"{path} by the socket")
        public.bad("GET", path, status=403, detail=path)
        tap.equal(public.ask("HEAD", path).status, 403, f"HEAD of {path}")
    for method, path in (("POST", "/v1/reload"), ("PATCH", "/v1/frontends/f"), ("DELETE", "/v1/sessions/1"),
                         ("POST", "/v1/status"), ("PUT", "/"), ("OPTIONS", "/v1/status"), ("DELETE", "/v1/nothing")):
        public.bad(method, path, status=405)
        tap.equal(public.ask(method, path).headers["Allow"], "GET, HEAD", f"Allow for {method} {path}")
    answer = public.ask("GET", "/healthz")
    tap.equal((answer.status, answer.text), (200, "ok\n"), "/healthz")
    tap.equal(answer.headers["X-Content-Type-Options"], "nosniff", "a header")
    answer = public.ask("HEAD", "/v1/status")
    tap.equal((answer.status, answer.body), (200, b""), "HEAD of /v1/status")
    public.bad("GET", "/v1/nothing", status=404)


@tap.case("in a drain it says so, is not healthy, and refuses to reload; then it is gone")
def _drains():
    setup = _Setup()
    held = setup.session()
    setup.proxy.signal(signal.SIGTERM)
    proxy.wait_for(lambda: setup.api.status()["state"] == "draining", "a drain")
    answer = setup.api.ask("GET", "/healthz")
    tap.equal((answer.status, answer.text), (503, "draining\n"), "/healthz")
    setup.api.bad("POST", "/v1/reload", status=409, detail="stopping")
    proxy.wait_for(lambda: {each["state"] for each in setup.api.frontend("f")["listeners"]} == {"closed"}, "closed listeners")
    tap.equal(setup.api.get("/v1/ready"), {"ready": False, "waiting": []}, "ready")
    worker = setup.proxy.worker()
    arena.rest(setup.proxy)
    os.kill(worker, signal.SIGKILL)
    setup.proxy.wait_worker(worker)
    proxy.wait_for(lambda: setup.api.status()["state"] == "draining", "the same in the next worker")
    held.close()
    tap.equal(setup.proxy.wait(), 0, "exit status")
    tap.check(not os.path.exists(setup.proxy.admin_path), "its path is gone")


@tap.case("the socket: its mode, whose it is, moved and switched off by reloads; off, default and impossible paths")
def _socket():
    directory = tap.tmpdir()
    server = peers.Server(f"unix:{directory}/back", peers.echo)
    config = proxy.frontend("f", f"unix:{directory}/front", "b") + proxy.backend("b", server.address)
    daemon = proxy.Proxy(config, directory=directory)
    tap.equal(oct(stat.S_IMODE(os.stat(daemon.admin_path).st_mode)), oct(0o600), "mode")
    moved = f"{directory}/moved.sock"
    daemon.reload(config, f'log {{ to = "stderr" }}\nadmin {{ socket = "{moved}" mode = "0666" }}\n')
    tap.equal(oct(stat.S_IMODE(os.stat(moved).st_mode)), oct(0o666), "mode elsewhere")
    tap.check(not os.path.exists(daemon.admin_path), "the path before is gone")
    tap.equal(admin.Admin(moved).status()["worker_generation"], 2, "worker")
    daemon.write_config(config, f'log {{ to = "stderr" }}\nadmin {{ socket = "{directory}/none/admin.sock" }}\n')
    admin.Admin(moved).bad("POST", "/v1/reload", status=409, detail="a new listener cannot be opened")
    daemon.reload(config, 'log { to = "stderr" }\nadmin { socket = off }\n')
    tap.check(not os.path.exists(moved), "no path when it is off")
    daemon.stop()

    status, _, err = proxy.run(config=f'admin {{ socket = "{directory}/none/admin.sock" }}\n' + config, directory=directory)
    tap.equal(status, 2, "exit status with a path that cannot be had")
    tap.check("none/" in err, f"it names the path: {err!r}")
    status, _, err = proxy.run("-t", config=f'admin {{ socket = "{directory}/none/admin.sock" }}\n' + config, directory=directory)
    tap.equal((status, err), (0, ""), "-t does not look")
    if not os.path.exists("/run/spliced"):
        daemon = proxy.Proxy(config, directory=directory, top="admin { }\n")
        daemon.wait_log(r"warning: there is no admin socket: unix:/run/spliced/admin.sock cannot be had")
        peers.client(f"unix:{directory}/front").close()


tap.run()
