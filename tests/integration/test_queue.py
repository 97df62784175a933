#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Sessions that find every server full or down wait in order, over crash, reload and upgrade."""
import os
import re
import resource
import select
import signal
import struct
import time

from lib import data, net, peers, proxy, tap
from lib.arena import QUEUED, STATE, Arena


# A server that counts

def _serve(addresses, go, report):
    """Servers in one process: each connection names itself in 4 bytes, and is sent that back once `go` has a byte in it.

    Ends when `report` has one; returns (the most connections that each had at once, the names in the order they came).
    """
    poll = select.epoll()
    listeners = {}
    for number, address in enumerate(addresses):
        sock = net.listen(address, 4096)
        sock.setblocking(False)
        listeners[sock.fileno()] = (sock, number)
        poll.register(sock, select.EPOLLIN)
    now, most, names, socks, held = [0] * len(addresses), [0] * len(addresses), [], {}, []
    going = False
    for fd in (go, report):
        poll.register(fd, select.EPOLLIN)

    def answer(fd, name):
        sock, number = socks.pop(fd)
        poll.unregister(fd)
        now[number] -= 1
        try:
            sock.sendall(name)
        except ConnectionError:
            pass                                # it was in a worker's hands that was killed
        sock.close()

    while True:
        for fd, _ in poll.poll():
            if fd == report:
                return most, names
            if fd == go:
                going = True
                poll.unregister(go)
                for entry in held:
                    answer(*entry)
            elif fd in listeners:
                sock, number = listeners[fd]
                try:
                    taken = sock.accept()[0]
                except BlockingIOError:
                    continue
                taken.setblocking(True)
                socks[taken.fileno()] = (taken, number)
                poll.register(taken, select.EPOLLIN)
                now[number] += 1
                most[number] = max(most[number], now[number])
            else:
                try:
                    name = socks[fd][0].recv(4)
                except ConnectionError:
                    name = b""
                if not name:                    # the client has left
                    now[socks[fd][1]] -= 1
                    poll.unregister(fd)
                    socks.pop(fd)[0].close()
                    continue
                names.append(struct.unpack("!I", name)[0])
                if going:
                    answer(fd, name)
                else:
                    poll.modify(fd, 0)
                    held.append((fd, name))


class Servers:
    """_serve() in a process of its own."""

    def __init__(self, addresses):
        self.pipes = os.pipe() + os.pipe()
        for fd in self.pipes:
            tap.cleanup(os.close, fd)
        self.process = peers.Process(_serve, addresses, self.pipes[0], self.pipes[2])
        for address in addresses:
            proxy.wait_for(lambda address=address: net.listening(address), "the servers")

    def go(self):
        os.write(self.pipes[1], b"x")

    def report(self):
        os.write(self.pipes[3], b"x")
        return self.process.result()


class Setup:
    """A proxy in front of `servers` servers, each with a limit."""

    def __init__(self, servers=1, limit=1, keys="queue = 10000", threads=1, front="unix", balance="roundrobin"):
        self.directory = tap.tmpdir()
        self.front = net.address_of(front, self.directory, "front")
        self.addresses = [net.address_of(("unix", "tcp")[n % 2], self.directory, f"s{n}") for n in range(servers)]
        self.servers = Servers(self.addresses)
        self.limit = limit
        self.config = self.make_config(limit, keys, balance)
        self.proxy = proxy.Proxy(self.config, directory=self.directory, threads=threads)

    def make_config(self, limit, keys="queue = 10000", balance="roundrobin", name="b"):
        lines = "".join(proxy.server(f"s{n}", address, f"max-connections = {limit}")
                        for n, address in enumerate(self.addresses))
        return proxy.frontend("f", self.front, name) + proxy.backend(name, lines, f'{keys} balance = "{balance}"')

    def connect(self, number):
        sock = net.connect(self.front, timeout=60)
        tap.cleanup(sock.close)
        sock.sendall(struct.pack("!I", number))
        return sock

    def fill(self, count, start=0):
        """So many clients, in this order.  A listener's backlog is a queue, and one thread takes from it in order."""
        return [self.connect(start + number) for number in range(count)]

    def wait_queued(self, count):
        view = Arena(self.proxy)
        proxy.wait_for(lambda: sum(record[STATE] == QUEUED for record in view.records().values()) == count,
                       lambda: f"{count} sessions to wait, of {len(view.records())}", 20)


def _finish(socks, numbers, timeout=40):
    """Waits for each to be told its own number, and to end by a FIN; it lets go of its place then.

    That may be in any order.  Returns those with another end, as (number, what it got, how it ended).
    """
    poll = select.epoll()
    left = {sock.fileno(): (sock, number) for sock, number in zip(socks, numbers)}
    until = time.monotonic() + timeout * proxy.slowness()
    odd = []
    for fd in left:
        poll.register(fd, select.EPOLLIN)
    while left:
        tap.check(time.monotonic() < until, f"{len(left)} clients were not served, {sorted(n for _, n in left.values())[:9]}")
        for fd, _ in poll.poll(1):
            sock, number = left.pop(fd)
            poll.unregister(fd)
            got, error = net.read_all(sock)
            if (got, error) != (struct.pack("!I", number), None):
                odd.append((number, got, error))
            sock.close()
    poll.close()
    return odd


def _finish_all(socks, numbers):
    tap.equal(_finish(socks, numbers)[:9], [], "clients that ended otherwise")


def _displacement(names):
    return max(abs(place - name) for place, name in enumerate(names))


# In order, and exact

def _many_at_once(threads, count):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    count = data.scaled(min(count, hard - 400 if hard > 0 else count), 500)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    setup = Setup(servers=10, limit=10, threads=threads)
    socks = setup.fill(count)
    setup.wait_queued(count - 100)
    setup.servers.go()
    _finish_all(socks, range(count))
    most, names = setup.servers.report()
    tap.equal(most, [10] * 10, "the most sessions on each server at once")
    tap.equal(sorted(names), list(range(count)), "who was served")
    # A hundred are connected to at once.  Two threads take sessions up, each in its own time.
    room = 200 if threads == 1 else 400 + count // 4
    tap.note(f"one was served {_displacement(names)} places from its own")
    tap.check(_displacement(names) <= room, f"one was served {_displacement(names)} places from its own")
    records = setup.proxy.wait_access(count, 30)
    tap.equal({record["end"] for record in records} - {"client-fin", "server-fin"}, set(), "other ends")
    tap.equal(len([record for record in records if record["queue_ms"]]) > count / 2, True, "queue_ms is logged")
    tap.equal({record["retries"] for record in records}, {0}, "retries")


tap.case("9,000 connects at once, 10 servers with 10 places each, two threads: all served, never more than 10 on one", 120)(
    lambda: _many_at_once(2, 9000))
tap.case("2,000 connects at once, one thread: besides, in their order", 120)(lambda: _many_at_once(1, 2000))


for _front in ("unix", "tcp"):
    @tap.case(f"{_front}: one place: who came first is served first, and who left is passed over")
    def _fifo(front=_front):
        setup = Setup(front=front)
        count = data.scaled(300, 60)
        socks = setup.fill(count)
        setup.wait_queued(count - 1)
        left = set(range(3, count, 7))
        for number in left:
            if front == "tcp":
                net.reset(socks[number])
            else:
                socks[number].close()
        setup.wait_queued(count - 1 - len(left)) if front == "tcp" else None
        setup.servers.go()
        stayed = [number for number in range(count) if number not in left]
        _finish_all([socks[number] for number in stayed], stayed)
        most, names = setup.servers.report()
        tap.equal(most, [1], "the most sessions at once")
        tap.equal([name for name in names if name not in left], stayed, "the order")
        records = setup.proxy.wait_access(count)
        tap.equal(sum(record["end"] == "client-reset" for record in records), len(left) if front == "tcp" else 0, "resets")


# Over other processes

def _ends(records):
    """How many sessions ended how."""
    return {end: sum(record["end"] == end for record in records) for end in {record["end"] for record in records}}


def _crash(setup):
    said = len(setup.proxy.log())
    os.kill(setup.proxy.worker(), signal.SIGKILL)
    setup.proxy.wait_log(r"is ready after \d+ ms", after=said)


def _upgrade(setup):
    said = len(setup.proxy.log())
    setup.proxy.signal(signal.SIGUSR2)
    setup.proxy.wait_log(r"upgraded", after=said)


@tap.case("those that wait keep their order over a crash, a reload, an upgrade and another algorithm")
def _order_survives():
    setup = Setup()
    count = data.scaled(200, 40)
    socks, part = [], count // 5
    for number, event in enumerate((None, _crash, lambda s: s.proxy.reload(s.config), _upgrade,
                                    lambda s: s.proxy.reload(s.make_config(1, balance="leastconn")))):
        if event:
            event(setup)
        socks += setup.fill(part, number * part)
        setup.wait_queued(len(socks) - 1)
    setup.servers.go()
    _finish_all(socks, range(len(socks)))
    most, names = setup.servers.report()
    tap.equal(most, [1], "the most sessions at once")
    tap.equal(names, list(range(len(socks))), "the order")


@tap.case("a reload that allows more serves as many more at once, another server too; one that allows fewer resets nobody")
def _reload_limits():
    setup = Setup(servers=3, limit=2, threads=2)
    others = setup.addresses[1:]
    two = setup.addresses[:1]
    setup.addresses = two
    setup.proxy.reload(setup.make_config(2))
    socks = setup.fill(20)
    setup.wait_queued(18)
    setup.proxy.reload(setup.make_config(5))
    setup.wait_queued(15)
    setup.addresses = two + others
    setup.proxy.reload(setup.make_config(5))
    setup.wait_queued(5)
    setup.proxy.reload(setup.make_config(1))
    time.sleep(0.1)
    setup.wait_queued(5)
    setup.servers.go()
    _finish_all(socks, range(20))
    most, names = setup.servers.report()
    tap.equal((most, sorted(names)), ([5, 5, 5], list(range(20))), "the most sessions at once, who was served")


@tap.case("a backend that a reload takes away: who waited for it goes where its frontend goes now")
def _other_backend():
    setup = Setup(servers=2)
    both = setup.addresses
    setup.addresses = both[:1]
    setup.proxy.reload(setup.make_config(1))
    socks = setup.fill(20)
    setup.wait_queued(19)
    setup.addresses = both[1:]
    setup.proxy.reload(setup.make_config(1, name="other"))
    setup.wait_queued(18)
    setup.servers.go()
    _finish_all(socks, range(20))
    most, names = setup.servers.report()
    tap.equal((most, sorted(names)), ([1, 1], list(range(20))), "the most sessions at once, who was served")
    tap.equal({record["backend"] for record in setup.proxy.wait_access(20)}, {"b", "other"}, "backends")


@tap.case("a worker is killed again and again while hundreds wait and are served: nobody is lost but who was in its hands")
def _crashes():
    setup = Setup(servers=2, threads=2)
    count = data.scaled(600, 100)
    socks = setup.fill(count)
    setup.wait_queued(count - 2)
    _crash(setup)
    setup.servers.go()
    finishing = proxy.thread(_finish, socks, range(count))
    for _ in range(3):
        _crash(setup)
    odd = finishing.result()
    most, names = setup.servers.report()
    tap.equal(most, [1, 1], "the most sessions at once")
    # What the killed ones had to say of sessions is lost with them; the new ones say whom they could not take over.
    reset = sum(int(number) for number in re.findall(r"sessions adopted, (\d+) reset", setup.proxy.log()))
    tap.check(len(odd) <= reset <= 2 * 3, f"clients with another end: {odd[:9]}, sessions reset: {reset}")
    tap.equal(set(range(count)) - set(names) - {number for number, _, _ in odd}, set(), "who was not served")


# The queue's limits, and its end

@tap.case("no room in the queue, or no queue: queue-full")
def _queue_full():
    for queue in (0, 3):
        setup = Setup(keys=f"queue = {queue}")
        socks = setup.fill(1 + queue)
        setup.wait_queued(queue)
        for _ in range(2):
            tap.check(net.fate(setup.front, b"more") in ("ECONNRESET", "EPIPE"), "one more is turned away")
        record = setup.proxy.wait_access(2)[0]
        tap.equal((record["end"], record["error"], record["server"], record["tried"]), ("queue-full", None, None, None), "logged")
        setup.servers.go()
        _finish_all(socks, range(1 + queue))
        tap.equal(_ends(setup.proxy.wait_access(3 + queue))["queue-full"], 2, "queue-full")


@tap.case("who has waited for timeouts.queue: queue-timeout, and its place in the queue is nobody's")
def _queue_timeout():
    setup = Setup(keys="queue = 10  timeouts { queue = 300ms }")
    first = setup.connect(0)
    proxy.wait_for(lambda: setup.proxy.log() is not None and len(Arena(setup.proxy).records()) == 1, "the first")
    start = time.monotonic()
    tap.check(net.fate(setup.front, b"xxxx") in ("ECONNRESET", "EPIPE"), "a reset")
    tap.between(time.monotonic() - start, 0.29, 3 * proxy.slowness(), "seconds")
    record = setup.proxy.wait_access(1)[0]
    tap.equal((record["end"], record["error"], record["server"]), ("queue-timeout", None, None), "logged")
    tap.between(record["queue_ms"], 299, 3000 * proxy.slowness(), "queue_ms")
    setup.servers.go()
    _finish_all([first], [0])
    last = setup.connect(1)
    _finish_all([last], [1])


def _backup(queue, disabled=""):
    """Two sessions at a server with one place and a backup.  Returns the proxy, its front and the backup."""
    directory = tap.tmpdir()
    front = f"unix:{directory}/front"
    peers.Server(f"unix:{directory}/a", peers.say("a"))
    backup = peers.Server(f"unix:{directory}/b", peers.say("b"))
    lines = proxy.server("a", f"unix:{directory}/a", f"max-connections = 1 {disabled}") + \
        proxy.server("b", f"unix:{directory}/b", "backup = on")
    return proxy.Proxy(proxy.frontend("f", front, "b") + proxy.backend("b", lines, f"queue = {queue}"),
                       directory=directory), front, backup


@tap.case("a backup serves where the others are full in a backend without a queue, or are disabled; else clients wait")
def _backups():
    _, front, _ = _backup(0)
    first, second = peers.client(front), peers.client(front)
    tap.equal((net.read_exactly(first, 1), net.read_exactly(second, 1)), (b"a", b"b"), "without a queue")
    _, front, backup = _backup(5)
    first, second = peers.client(front), peers.client(front)
    tap.equal(net.read_exactly(first, 1), b"a", "with a queue")
    time.sleep(0.2)
    first.close()
    tap.equal((net.read_exactly(second, 1), backup.count), (b"a", 0), "who waited, sessions at the backup")
    _, front, _ = _backup(5, "disabled = on")
    tap.equal(net.read_exactly(peers.client(front), 1), b"b", "all others disabled")


# When all are down

@tap.case("when-down = refuse: no-server; wait: served as soon as a server is enabled, or queue-timeout")
def _disabled():
    directory = tap.tmpdir()
    front, back = f"unix:{directory}/front", f"unix:{directory}/back"
    peers.Server(back, peers.say("hi"))

    def config(keys, extra="disabled = on"):
        return proxy.frontend("f", front, "b") + proxy.backend("b", proxy.server("s", back, extra), keys)

    running = proxy.Proxy(config(""), directory=directory)
    tap.check(net.fate(front, b"x") in ("ECONNRESET", "EPIPE"), "refused")
    tap.equal(running.wait_access(1)[0]["end"], "no-server", "the end")
    running.reload(config('when-down = "wait" timeouts { queue = 200ms }'))
    tap.check(net.fate(front, b"x") in ("ECONNRESET", "EPIPE"), "has waited")
    tap.equal(running.wait_access(2)[1]["end"], "queue-timeout", "the end")
    running.reload(config('when-down = "wait"'))
    socks = [peers.client(front) for _ in range(20)]
    time.sleep(0.1)
    running.check_idle("20 clients wait for a server", 0.3)
    running.reload(config('when-down = "wait"', ""))
    for sock in socks:
        tap.equal(net.read_exactly(sock, 2), b"hi", "served")


@tap.case("when-down = wait: a backend of TCP and AF_UNIX servers restarts for 3 s, and no client of either sees an error")
def _restart():
    directory = tap.tmpdir()
    fronts = [net.address_of(kind, directory, "front") for kind in ("unix", "tcp")]
    # Many, so that more are tried than a session keeps a list of.
    backs = [net.address_of(("tcp", "unix")[number % 2], directory, f"back{number}") for number in range(12)]
    running = proxy.Proxy(
        proxy.frontend("f", fronts, "b") +
        proxy.backend("b", "".join(proxy.server(f"s{n}", back) for n, back in enumerate(backs)), 'when-down = "wait"'),
        directory=directory, threads=2)
    servers = [peers.Server(back, peers.echo) for back in backs]
    failed, socks = [], []

    def client(number):
        try:
            sock = net.connect(fronts[number % 2], timeout=20)
            sock.sendall(b"hello")
            sock.shutdown(1)
            if net.read_all(sock) != (b"hello", None):
                failed.append(f"{number}: another answer")
            sock.close()
        except OSError as error:
            failed.append(f"{number}: {net.error_name(error)}")

    def clients(seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            socks.append(proxy.thread(client, len(socks)))
            time.sleep(0.02)

    clients(0.3)
    for sock in socks:
        sock.result()
    for server in servers:
        server.close()
    for back in backs[1::2]:
        os.unlink(back[5:])
    clients(3)
    servers = [peers.Server(back, peers.echo) for back in backs]
    clients(0.3)
    for sock in socks:
        sock.result()
    tap.equal(failed, [], "what clients saw")
    records = running.wait_access(len(socks))
    tap.equal(_ends(records).keys() - {"client-fin", "server-fin"}, set(), "ends")
    most = max(records, key=lambda record: record["retries"])
    tap.check(most["retries"] > 51, f"the most retries: {most['retries']}")
    tap.between(len(most["tried"]), 20, 51, "servers tried that are listed")
    tap.between(most["queue_ms"], 2000, 20000, "queue_ms")


@tap.case("when-down = wait: nobody comes back until timeouts.queue is over, however many servers fail at once")
def _stays_down():
    for count in (1, 60):
        directory = tap.tmpdir()
        front, other = f"unix:{directory}/front", f"unix:{directory}/other"
        peers.Server(f"unix:{directory}/good", peers.say("good"))
        servers = "".join(proxy.server(f"s{number}", f"unix:{directory}/none{number}") for number in range(count))
        running = proxy.Proxy(
            proxy.frontend("f", front, "b") + proxy.frontend("g", other, "good") +
            proxy.backend("b", servers, 'when-down = "wait" retries = 1 timeouts { queue = 700ms }') +
            proxy.backend("good", f"unix:{directory}/good"), directory=directory)
        start = time.monotonic()
        waiting = proxy.thread(net.fate, front, b"x")
        tap.equal(net.read_exactly(peers.client(other), 4), b"good", "another backend's client meanwhile")
        running.check_idle("a client waits for servers that are down", 0.2, 0.2)
        tap.check(waiting.result() in ("ECONNRESET", "EPIPE"), "a reset")
        tap.between(time.monotonic() - start, 0.69, 5 * proxy.slowness(), "seconds")
        record = running.wait_access(1)[0]
        tap.equal((record["end"], record["error"]), ("queue-timeout", "ENOENT"), "logged")
        tap.check(record["retries"] > 1 and record["server"] == (record["tried"] or [record["server"]])[-1],
                  f"retries: {record['retries']}, server {record['server']}")


tap.run()
