#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Large numbers: frontends, servers and source addresses.  Memory stays bounded, and traffic beside them goes on."""
import time

from lib import arena, data, net, peers, preface, proxy, tap

# A sanitizer makes much of reading a long config.
FRONTENDS, SERVERS = data.scaled(1000, 200), data.scaled(1000, 200)


class _Pings:
    """A session whose other end echoes, asked again and again: the longest answer is kept, until stop()."""

    def __init__(self, front):
        self.stopping, self.longest, self.count = False, 0.0, 0
        self.sock = peers.client(front)
        self.thread = proxy.thread(self._run)

    def _run(self):
        while not self.stopping:
            start = time.monotonic()
            self.sock.sendall(b"ping")
            tap.equal(net.read_exactly(self.sock, 4), b"ping", "the echo")
            self.longest = max(self.longest, time.monotonic() - start)
            self.count += 1
            time.sleep(0.001)

    def stop(self):
        self.stopping = True
        self.thread.result()
        self.sock.close()
        tap.note(f"{self.count} echoes meanwhile, the longest took {self.longest * 1000:.1f} ms")
        tap.check(self.count > 10 and self.longest < 5 * proxy.slowness(), f"{self.count} echoes, longest {self.longest:.3f} s")


def _source(number):
    return f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"


@tap.case("10,000 source addresses: each has its own limits, what is over them is a few lines, and memory does not grow with them")
def _sources():
    directory, count = tap.tmpdir(), data.scaled(10000, 1000)
    many, calm = f"unix:{directory}/many", f"unix:{directory}/calm"
    peers.Server(f"unix:{directory}/back", peers.echo)
    # Who comes in finds no server: what is asked here is who comes in.
    running = proxy.Proxy(
        proxy.frontend("many", [(many, "accept-proxy = on")], "none", "rate-per-source = 1/s max-per-source = 1") +
        proxy.frontend("calm", calm, "back", "access-log = off") +
        proxy.backend("none", proxy.server("s", f"unix:{directory}/none", "disabled = on")) +
        proxy.backend("back", f"unix:{directory}/back"), directory=directory, threads=2)

    def visit(number):
        with net.connect(many) as sock:
            sock.sendall(preface.v2((_source(number), 1024 + number % 60000), ("192.0.2.1", 80)))
            # An AF_UNIX peer may see a plain end.
            tap.check(net.ending(sock) in (None, "ECONNRESET"), "the end")

    def crowd(numbers):
        for number in numbers:
            visit(number)
    fds, pings = running.fds(), _Pings(calm)
    crowd(range(count // 5))
    first = running.pss()
    crowd(range(count // 5, count))
    grown = running.pss() - first
    # Every source had its token, and its only place came back.
    records = running.wait_access(count, 20)
    tap.equal({record["end"] for record in records}, {"no-server"}, "ends")
    tap.equal(len({record["client"].split(":")[0] for record in records}), count, "sources")
    for _ in range(3):
        visit(2 * count)
    tap.equal([record["end"] for record in running.wait_access(count + 3)[-3:]], ["no-server", "limited", "limited"],
              "one source, three times at once")
    pings.stop()
    tap.note(f"{grown / 1024:.0f} KiB more after five times as many")
    # 56 bytes for each that was seen within a second, and what the allocator does; sanitizers keep what was freed.
    tap.check(proxy.sanitizer() or grown < 3 << 20, f"grown by {grown} bytes")
    tap.check(len(running.log_lines("is turned away")) <= 2, "lines about them")
    running.wait_fds(fds)


@tap.case("1,000 frontends: each serves, over crash and reload; what goes is refused, and its session goes on")
def _frontends():
    directory = tap.tmpdir()
    back = f"unix:{directory}/back"
    peers.Server(back, peers.say("hi"))

    def front(number):
        return f"unix:{directory}/f{number}"

    def config(numbers):
        keys = "max-connections = 100 rate = 100/s max-per-source = 50"
        return "".join(proxy.frontend(f"f{n}", front(n), "b", keys) for n in numbers) + proxy.backend("b", back)
    running = proxy.Proxy(config(range(FRONTENDS)), directory=directory, threads=2, nofile=8192)
    fds = running.fds()

    def serve(numbers):
        for number in numbers:
            with net.connect(front(number)) as sock:
                tap.equal(net.read_exactly(sock, 2), b"hi", f"frontend {number}")
    serve(range(FRONTENDS))
    running.check_idle("1,000 frontends", 0.3)
    held = [peers.client(front(number)) for number in (0, FRONTENDS - 1)]
    for sock in held:
        tap.equal(net.read_exactly(sock, 2), b"hi", "a session that stays")
    start = time.monotonic()
    running.reload(config(range(FRONTENDS // 2)))
    tap.note(f"a reload took {time.monotonic() - start:.2f} s")
    serve(range(0, FRONTENDS // 2, 10))
    for number in range(FRONTENDS // 2, FRONTENDS, 50):
        tap.check(peers.refused(front(number)), f"frontend {number} is gone")
    for sock in held:
        sock.sendall(b"still here")
        tap.equal(net.read_exactly(sock, 10), b"still here", "a session that stays")
        sock.close()
    running.reload(config(range(FRONTENDS)))
    arena.kill_worker(running)
    serve(range(0, FRONTENDS, 10))
    records = running.wait_access(FRONTENDS + FRONTENDS // 20 + FRONTENDS // 10 + 2)
    tap.equal({record["end"] for record in records}, {"client-fin"}, "ends")
    tap.equal({record["frontend"] for record in records}, {f"f{n}" for n in range(FRONTENDS)}, "frontends in the access log")
    running.wait_fds(fds)
    memory = running.pss()
    running.reload()
    tap.note(f"{memory / 1024 / 1024:.1f} MiB")
    tap.check(proxy.sanitizer() or running.pss() < memory + (2 << 20), f"memory: {memory} bytes, after reloads {running.pss()}")


@tap.case("1,000 servers in a backend: exact turns; and a crash after a reload that takes half of them away")
def _servers():
    directory = tap.tmpdir()
    front, back = f"unix:{directory}/front", f"unix:{directory}/back"
    peers.Server(back, peers.say("hi"))

    def config(number):
        return proxy.frontend("f", front, "b") + proxy.backend(
            "b", "".join(proxy.server(f"s{n}", back, "max-connections = 50") for n in range(number)))
    running = proxy.Proxy(config(SERVERS), directory=directory, threads=2)
    total = 0

    def serve(count):
        nonlocal total
        for _ in range(count):
            with net.connect(front) as sock:
                tap.equal(net.read_exactly(sock, 2), b"hi", "the answer")
        total += count
        records = running.wait_access(total)[-count:]
        tap.equal({record["end"] for record in records}, {"client-fin"}, "ends")
        names = [record["server"] for record in records]
        return {name: names.count(name) for name in set(names)}
    tap.equal(serve(SERVERS), {f"s{n}": 1 for n in range(SERVERS)}, "sessions of each")
    running.reload(config(SERVERS // 2))
    arena.kill_worker(running)
    tap.equal(serve(SERVERS // 2), {f"s{n}": 1 for n in range(SERVERS // 2)}, "sessions of each that is left")


tap.run()
