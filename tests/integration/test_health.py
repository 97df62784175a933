#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Servers that fail are found, by checks and by live traffic, and come back; what is known outlives worker and config."""
import os
import re
import signal
import socket
import threading
import time

from lib import admin, net, peers, proxy, tap

FAST = "interval = 100ms fast-interval = 50ms"
UP, DOWN = r"health check.*: \w+ -> up: ", r"health check.*: \w+ -> down: "


def _server_process(address, name):
    """A server that says its name and echoes, in a process that can be killed."""
    def serve():
        # Clients' sockets among them, which would never end.
        os.closerange(3, 4096)
        listener = net.listen(address)
        listener.settimeout(None)
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=_polite, args=(sock, name), daemon=True).start()
    return peers.Process(serve)


def _polite(sock, name):
    try:
        sock.settimeout(None)
        peers.say(name)(sock)
        sock.close()
    except OSError:
        pass


def _wait_up(running, names, after=0):
    for name in names:
        running.wait_log(f"{UP}.*server=b/{name}\\b", after=after)


def _wait_down(running, name, after=0):
    return running.wait_log(f"{DOWN}.*server=b/{name}\\b", after=after)


def _succeed(running, how):
    """Has another worker take over, in that way, and waits until it has."""
    said, worker = len(running.log()), running.worker()
    if how == "reload":
        running.reload()
    elif how == "crash":
        os.kill(worker, signal.SIGKILL)
        running.wait_worker(worker)
        running.wait_log("is ready after", after=said)
    else:
        running.signal(signal.SIGUSR2)
        running.wait_log(r"upgraded: (.|\n)*is ready after", after=said)


class _Load:
    """Short sessions in threads, until stop(): each gets a server's name and an echo."""

    def __init__(self, front, threads=3):
        self.front, self.stopping, self.lock = front, False, threading.Lock()
        self.good, self.bad, self.nameless = {}, {}, 0
        self.threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]
        for thread in self.threads:
            thread.start()
        tap.cleanup(self.stop)

    def _run(self):
        while not self.stopping:
            name = self._one()
            with self.lock:
                if name is None:
                    self.nameless += 1
                else:
                    counts = self.good if name[1] else self.bad
                    counts[name[0]] = counts.get(name[0], 0) + 1

    def _one(self):
        name = b""
        try:
            sock = net.connect(self.front)
        except OSError:
            return None
        try:
            name = net.read_exactly(sock, 1)
            if not name:
                return None
            sock.sendall(b"request")
            return (name.decode(), net.read_exactly(sock, 7) == b"request")
        except (OSError, tap.Failed):
            return (name.decode(), False) if name else None
        finally:
            sock.close()

    def served(self, name):
        with self.lock:
            return self.good.get(name, 0)

    def more(self, name, count=20):
        """Waits until that server has served so many more."""
        wanted = self.served(name) + count
        proxy.wait_for(lambda: self.served(name) >= wanted, lambda: f"{count} more sessions on {name}: {self.good}")

    def stop(self):
        self.stopping = True
        for thread in self.threads:
            thread.join()


def _killed_under_load(kind, keys, gone, back):
    """`keys` of the backend; patterns of the log for a server that is gone and that is back."""
    directory = tap.tmpdir()
    addresses = {name: net.address_of(kind, directory, name) for name in "abc"}
    servers = {name: _server_process(address, name) for name, address in addresses.items()}
    front = net.address_of(kind, directory, "front")
    for address in addresses.values():
        proxy.wait_for(lambda a=address: not peers.refused(a), "a server")

    def config(slow_start):
        return proxy.frontend("f", front, "b") + proxy.backend(
            "b", "".join(proxy.server(name, address, f"slow-start = {slow_start}") for name, address in addresses.items()), keys)
    running = proxy.Proxy(config("1h"), threads=2, directory=directory)
    load = _Load(front)
    for name in "abc":
        load.more(name)
    servers["a"].kill()
    running.wait_log(gone)
    before = load.served("a")
    load.more("b", 60)
    load.more("c", 60)
    tap.equal(load.served("a"), before, "sessions on the dead one")
    failed = len(running.log_lines("cannot connect to the server"))
    load.more("b", 60)
    tap.equal(len(running.log_lines("cannot connect to the server")), failed, "lines about failed connects")

    said = len(running.log())
    if kind == "unix":
        os.unlink(addresses["a"][5:])
    servers["a"] = _server_process(addresses["a"], "a")
    running.wait_log(back, after=said)
    # At first it has 1/64 of its weight, and its third of all once its slow start is over.
    before = load.served("a"), load.served("b")
    load.more("b", 128)
    some, others = load.served("a") - before[0], load.served("b") - before[1]
    tap.check(some <= others / 16, f"sessions while it starts slowly: {some}, on another one {others}")
    running.reload(config("100ms"))
    load.more("a", 60)
    load.stop()
    # Who was not on the one that was killed has seen nothing; who was on it may not even know its name.
    tap.check(set(load.bad) <= {"a"}, f"sessions that broke, by server: {load.bad}")
    records = running.wait_access(sum(load.good.values()) + sum(load.bad.values()) + load.nameless)
    broken = [record for record in records if record["end"] not in ("client-fin", "server-fin", "client-reset")]
    tap.check(all(record["server"] == "a" for record in broken), f"broken sessions: {broken}")
    wordless = [record for record in records if record["server"] == "a" and not record["bytes_down"]]
    tap.check(load.nameless <= len(wordless), f"{load.nameless} saw nothing, {len(wordless)} were on it")
    tap.check(all(record["end"] != "connect-failed" for record in records), "none found no server")


for _kind in ("tcp", "unix"):
    @tap.case(f"{_kind}: a server is killed under load, with checks; back again it starts slowly")
    def _killed_checks(kind=_kind):
        _killed_under_load(kind, f"check {{ {FAST} }}", DOWN + ".*server=b/a", UP + ".*server=b/a")

    @tap.case(f"{_kind}: a server is killed under load, with outlier detection; back again it starts slowly")
    def _killed_outlier(kind=_kind):
        _killed_under_load(kind, "outlier { failures = 3 eject = 700ms eject-max = 2s }",
                           r"live traffic: the server is ejected for \d+\.\d+ s: 3 failures in a row, the last one: .*; "
                           r"2 of 3 servers left \(server=b/a",
                           r"live traffic: the server's ejection is over.*server=b/a")


def _talk(script):
    """A handler that reads to the end of each line it waits for, and says the rest in pieces."""
    def handler(sock):
        for wanted, pieces in script:
            got = b""
            while wanted and not got.endswith(wanted):
                byte = sock.recv(1)
                if not byte:
                    return
                got += byte
            for piece in pieces:
                sock.sendall(piece)
                time.sleep(0.005)
        peers.hold(sock)
    return handler


def _bytes(text):
    return [bytes([byte]) for byte in text]


_HEADER_2 = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"
_TALKS = {
    "string": (r'send = "PING\r\n" expect = "+PONG"', "", [(b"PING\r\n", [b"+PONG\r\n"])]),
    "drops": (r'send = "PING\r\n" expect = "+PONG"', "", [(b"PING\r\n", _bytes(b"+PONG\r\n"))]),
    "banner": (r'expect = "/^220 .*ready\\r\\n$/"', "", [(b"", _bytes(b"220 mx ready\r\n"))]),
    "v1": (r'send = "x" expect = "\x00y"', 'send-proxy = "v1"', [(b"PROXY UNKNOWN\r\n", []), (b"x", [b"\0y"])]),
    "v2": (r'send = "x" expect = "/y/"', 'send-proxy = "v2"', [(_HEADER_2, []), (b"x", [b"y"])]),
}
for _kind in ("tcp", "unix"):
    @tap.case(f"{_kind}: expect a string or a regex, in one piece or byte by byte, after PROXY v1 or v2 too")
    def _expect(kind=_kind):
        directory = tap.tmpdir()
        config = proxy.frontend("f", f"unix:{directory}/front", "string")
        for name, (keys, extra, script) in _TALKS.items():
            good, bad = (net.address_of(kind, directory, f"{name}-{which}") for which in ("good", "bad"))
            peers.Server(good, _talk(script))
            peers.Server(bad, _talk(script[:-1] + [(script[-1][0], [b"no \x1b[m\r\n"])]))
            config += proxy.backend(name, proxy.server("good", good, extra) + proxy.server("bad", bad, extra),
                                    f'check {{ type = "expect" {keys} {FAST} }} timeouts {{ check = 400ms }}')
        running = proxy.Proxy(config, directory=directory)
        for name in _TALKS:
            running.wait_log(f"{UP}expected answer.*server={name}/good\\b")
            line = running.wait_log(f"{DOWN}.*server={name}/bad\\b.*").group()
            tap.check(r'unexpected answer: "no \x1b[m\r\n"' in line, f"the answer in the log: {line}")


@tap.case("a target that accepts and never answers: down at the deadline, and traffic stands nothing of it")
def _silent():
    directory = tap.tmpdir()
    front, mute = f"unix:{directory}/front", f"127.0.0.1:{net.port()}"
    peers.Server(mute, peers.hold)
    peers.Server(f"unix:{directory}/good", _talk([(b"", [b"hello"])]))
    running = proxy.Proxy(
        proxy.frontend("f", front, "b") +
        proxy.backend("b", proxy.server("mute", mute) + proxy.server("good", f"unix:{directory}/good"),
                      f'check {{ type = "expect" expect = "hello" {FAST} }} timeouts {{ check = 250ms }}'),
        directory=directory)
    _wait_up(running, ["good"])
    _wait_down(running, "mute")
    tap.check(running.log_lines("time-out after 250 ms, without an answer"), "the reason")
    for _ in range(8):
        with net.connect(front) as sock:
            tap.equal(net.read_exactly(sock, 5), b"hello", "the answer")


@tap.case("a server that flaps: each change is one line, the other one serves all along")
def _flapping():
    directory = tap.tmpdir()
    front, address = f"unix:{directory}/front", f"127.0.0.1:{net.port()}"
    peers.Server(f"unix:{directory}/good", peers.say("g"))
    running = proxy.Proxy(
        proxy.frontend("f", front, "b") +
        proxy.backend("b", proxy.server("flap", address) + proxy.server("good", f"unix:{directory}/good"),
                      "check { interval = 50ms rise = 1 fall = 1 }"), directory=directory)
    _wait_up(running, ["good"])
    for _ in range(4):
        said = len(running.log())
        server = peers.Server(address, peers.say("f"))
        _wait_up(running, ["flap"], said)
        server.close()
        _wait_down(running, "flap", said)
        with net.connect(front) as sock:
            tap.equal(net.read_exactly(sock, 1), b"g", "who serves")
    tap.between(len(running.log_lines("health check.*server=b/flap")), 8, 9, "lines about it")


for _threads in (1, 2):
    @tap.case(f"on-down = close, threads = {_threads}: its sessions are reset, with `server-down`; others go on")
    def _close(threads=_threads):
        directory = tap.tmpdir()
        front = f"127.0.0.1:{net.port()}"
        addresses = {name: f"unix:{directory}/{name}" for name in "ab"}
        servers = {name: peers.Server(address, peers.say(name)) for name, address in addresses.items()}
        running = proxy.Proxy(
            proxy.frontend("f", front, "b") +
            proxy.backend("b", "".join(proxy.server(name, address) for name, address in addresses.items()),
                          f'check {{ {FAST} on-down = "close" }}'), directory=directory, threads=threads)
        _wait_up(running, "ab")
        clients = {"a": [], "b": []}
        for _ in range(20):
            sock = peers.client(front)
            clients[net.read_exactly(sock, 1).decode()].append(sock)
        tap.equal(len(clients["a"]), 10, "sessions on it")
        # Only the way in goes: the sessions themselves would run on.
        os.unlink(f"{directory}/a")
        tap.check(re.search(r"; 1 of 2 servers left; 10 sessions on it are ended", _wait_down(running, "a").string),
                  "the line says how many")
        for sock in clients["a"]:
            tap.equal(net.ending(sock), "ECONNRESET", "what its clients saw")
        records = running.wait_access(10)
        tap.equal({(record["end"], record["server"]) for record in records}, {("server-down", "a")}, "in the log")
        for sock in clients["b"]:
            sock.sendall(b"still here")
            tap.equal(net.read_exactly(sock, 10), b"still here", "the echo of the other one")
        del servers


def _two(keys=""):
    """Two servers that are checked, a and b, which say who they are: their directory, the frontend, the proxy."""
    directory = tap.tmpdir()
    front = f"unix:{directory}/front"
    for name in "ab":
        peers.Server(f"unix:{directory}/{name}", peers.say(name))
    servers = "".join(proxy.server(name, f"unix:{directory}/{name}", keys) for name in "ab")
    config = proxy.frontend("f", front, "b") + proxy.backend("b", servers, f"check {{ {FAST} }}")
    return directory, front, proxy.Proxy(config, directory=directory)


@tap.case("on-down = keep: sessions of a server that is down go on, new ones go elsewhere")
def _keep():
    directory, front, running = _two()
    _wait_up(running, "ab")
    sock = peers.client(front)
    while net.read_exactly(sock, 1) != b"a":
        sock = peers.client(front)
    os.unlink(f"{directory}/a")
    _wait_down(running, "a")
    for _ in range(4):
        tap.equal(net.read_exactly(peers.client(front), 1), b"b", "who serves")
    sock.sendall(b"still here")
    tap.equal(net.read_exactly(sock, 10), b"still here", "the echo")


@tap.case("check-address: another port decides; check = off: nothing does")
def _check_address():
    directory = tap.tmpdir()
    front, aside = f"127.0.0.1:{net.port()}", f"127.0.0.1:{net.port()}"
    peers.Server(f"unix:{directory}/a", peers.say("a"))
    running = proxy.Proxy(
        proxy.frontend("f", front, "b") +
        proxy.backend("b", proxy.server("a", f"unix:{directory}/a", f'check-address = "{aside}"') +
                      proxy.server("z", "unix:/nonexistent", "check = off backup = on"), f"check {{ {FAST} }}"),
        directory=directory)
    tap.check(f"health check at {aside}: unchecked -> down: connect: Connection refused" in
              _wait_down(running, "a").string, "the address in the log")
    tap.equal(net.fate(front), "ECONNRESET", "a client")
    peers.Server(aside, peers.hold)
    _wait_up(running, "a")
    tap.equal(net.read_exactly(peers.client(front), 1), b"a", "who serves")
    tap.equal(running.log_lines("server=b/z.*health|health.*server=b/z"), [], "lines about the one that is not checked")


@tap.case("what checks found outlives reloads, crashes and upgrades: nothing flaps, and a new server is checked at once")
def _survives():
    directory = tap.tmpdir()
    front = f"unix:{directory}/front"
    for name in "ac":
        peers.Server(f"unix:{directory}/{name}", peers.say(name))

    def config(names, interval):
        return (proxy.frontend("f", front, "b") +
                proxy.backend("b", "".join(proxy.server(name, f"unix:{directory}/{name}") for name in names),
                              f"retries = 0 check {{ interval = {interval} rise = 1 fall = 1 }}"))
    running = proxy.Proxy(config("ax", "100ms"), directory=directory, threads=2)
    _wait_up(running, "a")
    _wait_down(running, "x")

    def nothing_flaps():
        for _ in range(6):
            tap.equal(net.read_exactly(peers.client(front), 1), b"a", "who serves")
    # From now on checks come so seldom that only what is remembered can tell.
    said = len(running.log())
    running.reload(config("ax", "1h"))
    nothing_flaps()
    for how in ("crash", "upgrade", "reload"):
        _succeed(running, how)
        nothing_flaps()
    tap.check(not re.search("health check", running.log()[said:]), "no change in the log")
    said = len(running.log())
    running.reload(config("axc", "1h"))
    _wait_up(running, "c", said)
    tap.equal(sorted(net.read_exactly(peers.client(front), 1) for _ in range(4)), [b"a", b"a", b"c", b"c"], "who serves")
    # Another address is another server.
    peers.Server(f"unix:{directory}/y", peers.say("y"))
    running.reload(config("axc", "1h").replace(f"unix:{directory}/x", f"unix:{directory}/y"))
    _wait_up(running, "x", said)


@tap.case("an ejection outlives reloads, crashes and upgrades")
def _ejected():
    directory = tap.tmpdir()
    front = f"unix:{directory}/front"
    peers.Server(f"unix:{directory}/a", peers.say("a"))

    def config(keys):
        return (proxy.frontend("f", front, "b") +
                proxy.backend("b", "".join(proxy.server(name, f"unix:{directory}/{name}") for name in "xa"), keys))
    running = proxy.Proxy(config("outlier { failures = 2 eject = 1h eject-max = 1h }"), directory=directory)
    for _ in range(4):
        tap.equal(net.read_exactly(peers.client(front), 1), b"a", "who serves")
    running.wait_log("live traffic: the server is ejected for 3600.000 s.*server=b/x")
    for how in ("crash", "upgrade", "reload"):
        _succeed(running, how)
        for _ in range(4):
            tap.equal(net.read_exactly(peers.client(front), 1), b"a", "who serves")
    tap.equal(len(running.log_lines("cannot connect")), 1, "lines about failed connects")
    # Without outlier { } nobody is ejected.
    running.reload(config(""))
    said = len(running.log())
    for _ in range(2):
        tap.equal(net.read_exactly(peers.client(front), 1), b"a", "who serves")
    running.wait_log("cannot connect", after=said)


@tap.case("a backend whose only server is checked while it starts: clients that wait get it")
def _waits():
    directory = tap.tmpdir()
    front, back = f"unix:{directory}/front", f"unix:{directory}/back"
    running = proxy.Proxy(
        proxy.frontend("f", front, "b") +
        proxy.backend("b", back, f'when-down = "wait" check {{ {FAST} rise = 1 }}'), directory=directory, threads=2)
    _wait_down(running, "s1")
    clients = [peers.client(front) for _ in range(5)]
    peers.Server(back, peers.say("x"))
    for sock in clients:
        tap.equal(net.read_exactly(sock, 1), b"x", "the answer")


@tap.case("the API shows what checks found; maintenance stops them, ready and another address start them at once")
def _api():
    directory = tap.tmpdir()
    for name in "ab":
        peers.Server(f"unix:{directory}/{name}", peers.say(name))
    running = proxy.Proxy(
        proxy.frontend("f", f"unix:{directory}/front", "b") +
        proxy.backend("b", proxy.server("s", f"unix:{directory}/a") + proxy.server("x", f"unix:{directory}/x") +
                      proxy.server("nameless", "name.invalid:80") + proxy.server("off", "127.0.0.1:1", "disabled = on"),
                      "check { interval = 1h }"), directory=directory)
    api = admin.of(running)
    proxy.wait_for(lambda: api.get("/v1/ready") == {"ready": True, "waiting": []}, "every server to be checked that can be")

    def wait(name, state, last):
        proxy.wait_for(lambda: (api.server(f"b/{name}")["state"], api.server(f"b/{name}")["check"]["last"]) == (state, last),
                       lambda: f"{name} to be {state}, {last}: {api.server(f'b/{name}')}")
    wait("s", "up", "ok")
    wait("x", "down", "failed")
    found = api.server("b/x")["check"]
    tap.equal(found["detail"], "connect: No such file or directory", "why")
    tap.check(found["since"] and found["since"].endswith("Z"), f"since when: {found}")
    api.good("PATCH", "/v1/backends/b/servers/s", {"state": "maint"})
    wait("s", "maint", None)
    api.good("PATCH", "/v1/backends/b/servers/s", {"state": "ready"})
    wait("s", "up", "ok")
    api.good("PATCH", "/v1/backends/b/servers/s", {"address": f"unix:{directory}/none"})
    wait("s", "down", "failed")
    api.good("PATCH", "/v1/backends/b/servers/x", {"address": f"unix:{directory}/b"})
    wait("x", "up", "ok")
    tap.equal(net.read_exactly(peers.client(f"unix:{directory}/front"), 1), b"b", "who serves")


@tap.case("a server that comes back starts slowly, where it is to; one that was there at the start does not")
def _slow_start():
    directory, front, running = _two("slow-start = 1h")

    def served():
        names = [net.read_exactly(peers.client(front), 1) for _ in range(40)]
        return names.count(b"a"), names.count(b"b")
    _wait_up(running, "ab")
    tap.equal(served(), (20, 20), "sessions on each at first")
    os.unlink(f"{directory}/a")
    _wait_down(running, "a")
    said = len(running.log())
    peers.Server(f"unix:{directory}/a", peers.say("a"))
    _wait_up(running, "a", said)
    tap.between(served()[0], 0, 2, "of 40 sessions on the one that is back")


@tap.case("1000 servers, some of which hang: checked in good time, and for little")
def _many():
    directory = tap.tmpdir()
    front, number = f"unix:{directory}/front", 1000
    refusing = f"127.0.0.1:{net.port()}"
    count = [0]

    def counted(_sock):
        count[0] += 1
    server = peers.Server(f"unix:{directory}/up", counted)
    full = peers.Accepted(f"unix:{directory}/full", backlog=0)
    fill = []
    for _ in range(2):
        sock = socket.socket(socket.AF_UNIX)
        sock.setblocking(False)
        try:
            sock.connect(f"{directory}/full")
        except BlockingIOError:
            pass
        fill.append(sock)
    lines = "".join(proxy.server(f"s{n}", f"unix:{directory}/up" if n % 10 == 0 else
                                 f"unix:{directory}/full" if n % 10 == 1 else refusing) for n in range(number))
    running = proxy.Proxy(
        proxy.frontend("f", front, "b") +
        proxy.backend("b", lines, "check { interval = 500ms } timeouts { check = 300ms }"), directory=directory, nofile=4000)
    proxy.wait_for(lambda: len(running.log_lines("health check")) >= number,
                   lambda: f"{number} first results: {len(running.log_lines('health check'))}")
    tap.equal(len(running.log_lines(r"-> up")), number // 10, "servers that are up")
    tap.equal(len(running.log_lines(r"-> down: time-out: its backlog was full")), number // 10, "servers that hang")
    before = count[0]
    tap.note(f"CPU with 2000 checks a second: {running.cpu_share(0.5):.1%}")
    tap.between(count[0] - before, 20, 300, "checks of 100 servers in half a second or so")
    tap.equal(len(running.log_lines("health check")), number, "lines in all")
    del server, full


tap.run()
