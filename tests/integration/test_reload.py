#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""SIGHUP: what is wrong changes nothing, what is right loses nothing."""
import os
import signal
import socket
import time

from lib import arena, crowd, data, net, pairs, peers, proxy, tap

NOBODY = 65534


def _exchange(address, message=b"hello"):
    """A session with an echo server, from its start to its end."""
    with net.connect(address) as sock:
        sock.sendall(message)
        sock.shutdown(socket.SHUT_WR)
        tap.equal(net.read_all(sock), (message, None), f"the echo by {address}")


class _Setup:
    """A frontend with two listeners in front of an echo server."""

    def __init__(self, *, extra="", **options):
        self.directory = options["directory"] = tap.tmpdir()
        self.fronts = [f"127.0.0.1:{net.port()}", f"unix:{self.directory}/front"]
        self.back = peers.Server(f"unix:{self.directory}/back", peers.echo)
        self.proxy = proxy.Proxy(self.config() + extra, **options)
        for front in self.fronts:
            _exchange(front)
        self.fds = self.proxy.fds()
        self.held = []

    def config(self, fronts=None, servers="", frontend="f", backend="b", keys=""):
        return proxy.frontend(frontend, fronts or self.fronts, backend, keys) + proxy.backend(
            backend, servers or proxy.server("s", self.back.address))

    def hold(self, count=4):
        """Sessions that live on, on all listeners."""
        for number in range(count):
            sock = peers.client(self.fronts[number % len(self.fronts)])
            self.held.append(sock)
            self.check_held()
        return self.held[-count:]

    def check_held(self):
        for number, sock in enumerate(self.held):
            word = b"%05d" % number
            sock.sendall(word)
            tap.equal(net.read_exactly(sock, 5), word, "a session goes on")
        arena.rest(self.proxy)

    def end_held(self):
        for sock in self.held:
            sock.shutdown(socket.SHUT_WR)
            tap.equal(net.read_all(sock), (b"", None), "a session's end")
            sock.close()
        self.held = []


def _under_load(threads, user):
    crew = crowd.Crowd(threads=threads, user=user)
    workers = {crew.proxy.worker()}
    for number in range(data.scaled(30, 8)):
        # In turn with a server more and one less.
        crew.proxy.reload(crew.config if number % 2 else crew.make_config(servers=proxy.server("s0", crew.backs[0])))
        workers.add(crew.proxy.worker())
    tap.equal(len(workers), data.scaled(30, 8) + 1, "workers, one after the other")
    crew.finish()
    tap.equal(crew.proxy.log_lines("died|recovered"), [], "deaths")
    crew.check_no_loss()


for _threads, _user in ((1, NOBODY), (2, None)):
    _who = "an ordinary user" if _user and os.getuid() == 0 else "this user"
    tap.case(f"30 reloads under load, threads = {_threads}, as {_who}: nothing is refused, reset or cut", 120)(
        lambda t=_threads, u=_user: _under_load(t, u if os.getuid() == 0 else None))


def _refusals(setup):
    """Configs that are refused, and what the log says."""
    good, path, directory = setup.config(), setup.proxy.path, setup.directory
    taken = peers.Accepted(f"127.0.0.1:{net.port()}")
    with open(f"{directory}/plain", "w", encoding="ascii") as file:
        file.write("not a socket")
    os.mkdir(f"{directory}/folder")
    new = f"127.0.0.1:{net.port()}"
    lines = (setup.proxy.head + good).count("\n")
    return new, [
        (good + "nonesuch = 1\n", rf"reload refused: {path}:{lines + 1}: .*nonesuch"),
        (good.replace('backend = "b"', 'backend = "nowhere"'), rf"reload refused: {path}:\d+: .*nowhere"),
        (good + "threads = many\nfrontend {\n", rf"reload refused: {path}:\d+: "),
        (good + 'include("missing.conf")\n', rf"reload refused: {path}:{lines + 1}: .*missing.conf"),
        ("", rf"reload refused: {path}:\d+: "),
        (good + proxy.frontend("g", taken.address, "b"), rf"{taken.address}(.|\n)*reload refused: a new listener"),
        (good + proxy.frontend("g", f"unix:{directory}/plain", "b"), r"/plain(.|\n)*reload refused: a new listener"),
        (good + proxy.frontend("g", f"unix:{directory}/folder", "b"), r"/folder(.|\n)*reload refused: a new listener"),
        (good + proxy.frontend("g", "unix:/nonexistent/dir/sock", "b"), r"nonexistent/dir(.|\n)*reload refused: a new listener"),
        (good + proxy.frontend("g", [new, taken.address], "b"), rf"{taken.address}(.|\n)*reload refused: a new listener"),
        (good + f'pid-file = "{directory}/pid"\n', r"reload refused: .*pid-file"),
        (good + "max-connections = 90000000\n", r"reload refused: "),
    ]


@tap.case("reloads that are refused change nothing, and the log says why")
def _refused():
    setup = _Setup()
    setup.hold()
    fds, worker = setup.proxy.fds(), setup.proxy.worker()
    new, refusals = _refusals(setup)
    for config, pattern in refusals:
        said = len(setup.proxy.log())
        setup.proxy.write_config(config)
        setup.proxy.signal(signal.SIGHUP)
        setup.proxy.wait_log(pattern, after=said)
        proxy.wait_for(lambda: proxy.children(setup.proxy.pid) == [worker], "the worker alone, and the same one")
        setup.check_held()
        for front in setup.fronts:
            _exchange(front)
        tap.check(not net.listening(new), "a listener of a refused config is closed")
    said = len(setup.proxy.log())
    setup.proxy.write_config(setup.config(), head=f'log {{ to = "file:{setup.directory}/none/log" }}\n')
    setup.proxy.signal(signal.SIGHUP)
    setup.proxy.wait_log(f"reload refused: cannot open the log {setup.directory}/none/log: No such file", after=said)
    proxy.wait_for(lambda: proxy.children(setup.proxy.pid) == [worker], "the worker alone, and the same one")
    os.unlink(setup.proxy.path)
    said = len(setup.proxy.log())
    setup.proxy.signal(signal.SIGHUP)
    setup.proxy.wait_log("reload refused: ", after=said)
    setup.check_held()
    setup.proxy.wait_fds(fds)
    setup.proxy.reload(setup.config())
    setup.end_held()
    setup.proxy.wait_fds(setup.fds)


def _meanwhile(setup):
    """Traffic until the log tells of the refusal; returns after how long."""
    start, slowest = time.monotonic(), 0.0
    while not setup.proxy.log_lines("reload refused"):
        tap.check(time.monotonic() - start < 20 * proxy.slowness(), "no end to it")
        before = time.monotonic()
        for front in setup.fronts:
            _exchange(front)
        slowest = max(slowest, time.monotonic() - before)
        time.sleep(0.02)
    took = time.monotonic() - start
    tap.note(f"after {took:.1f} s; the slowest pair of exchanges took {slowest:.3f} s")
    tap.check(slowest < 1.0 * proxy.slowness(), f"the slowest pair of exchanges took {slowest:.3f} s")
    return took


@tap.case("an include file that is a FIFO: refused, and traffic goes on", 60)
def _fifo():
    setup = _Setup()
    setup.hold()
    worker = setup.proxy.worker()
    os.mkfifo(f"{setup.directory}/fifo")
    setup.proxy.write_config(setup.config() + f'include("{setup.directory}/fifo")\n')
    setup.proxy.signal(signal.SIGHUP)
    _meanwhile(setup)
    setup.check_held()
    proxy.wait_for(lambda: proxy.children(setup.proxy.pid) == [worker], "the worker alone, and the same one")
    setup.proxy.reload(setup.config())
    setup.end_held()


@tap.case("a helper that hangs: refused after its deadline, and traffic goes on", 60)
def _hangs():
    setup = _Setup()
    setup.hold()
    worker = setup.proxy.worker()
    for _ in range(50):
        setup.proxy.signal(signal.SIGHUP)
        now = [worker]
        while now == [worker]:
            now = proxy.children(setup.proxy.pid)
        if len(now) == 2 and now[0] == worker and proxy.freeze(now[1]):
            break
        # It was quicker than we are: once more.
        proxy.wait_for(lambda: setup.proxy.worker() != worker and len(proxy.children(setup.proxy.pid)) == 1, "the reload")
        worker = setup.proxy.worker()
    tap.between(_meanwhile(setup), 8.5, 13 * proxy.slowness(), "seconds until it was refused")
    setup.proxy.wait_log("took too long")
    setup.check_held()
    proxy.wait_for(lambda: proxy.children(setup.proxy.pid) == [worker], "the worker alone, and the same one")
    setup.proxy.reload(setup.config())
    setup.end_held()


@tap.case("a server that is removed: its sessions go on to their end, new ones go elsewhere")
def _server_removed():
    setup = _Setup()
    other = peers.Server(f"unix:{setup.directory}/other", peers.say("other"))
    setup.hold()
    setup.proxy.reload(setup.config(servers=proxy.server("t", other.address)))
    setup.proxy.wait_log("server b/t is new")
    setup.proxy.wait_log("server b/s is gone")
    setup.check_held()
    for front in setup.fronts:
        with net.connect(front) as sock:
            tap.equal(net.read_exactly(sock, 5), b"other", "a new session's server")
    for _ in range(3):
        setup.proxy.reload()
    setup.check_held()
    held = len(setup.held)
    setup.end_held()
    records = setup.proxy.wait_access(4 + held)
    tap.equal([record["server"] for record in records[-held:]], ["s"] * held, "the servers that the log names")
    setup.proxy.wait_fds(setup.fds)


@pairs.each("a listener that is removed serves who waits in it, keeps its sessions and refuses new ones")
def _listener_removed(kinds):
    directory = tap.tmpdir()
    gone, stays = net.address_of(kinds[0], directory, "gone"), net.address_of(kinds[1], directory, "stays")
    back = peers.Server(f"unix:{directory}/back", peers.echo)

    def config(fronts):
        return proxy.frontend("f", fronts, "b") + proxy.backend("b", back.address)
    running = proxy.Proxy(config([gone, stays]), directory=directory, threads=2)
    old = peers.client(gone)
    old.sendall(b"old")
    tap.equal(net.read_exactly(old, 3), b"old", "a session")
    worker = running.worker()
    proxy.freeze(worker)
    waiting = [peers.client(gone) for _ in range(20)]
    for number, sock in enumerate(waiting):
        sock.sendall(b"%02d" % number)
    running.write_config(config([stays]) + proxy.backend("c", back.address))
    running.signal(signal.SIGHUP)
    running.wait_log("backend c is new")
    os.kill(worker, signal.SIGCONT)
    running.wait_log("reloaded: ")
    for number, sock in enumerate(waiting):
        tap.equal(net.read_exactly(sock, 2), b"%02d" % number, "who waited is served")
    tap.check(peers.refused(gone), "a new client is refused")
    tap.check(kinds[0] == "tcp" or not os.path.exists(gone[5:]), "its path is gone")
    old.sendall(b"old")
    tap.equal(net.read_exactly(old, 3), b"old", "a session that came by it")
    _exchange(stays)
    old.close()
    record = running.wait_access(2)[-1]
    tap.equal(record["listener"], gone, "the listener that the log names")
    # And back again.
    running.reload(config([gone, stays]))
    _exchange(gone)


@tap.case("new frontends, backends and listeners serve; the log tells what came and went")
def _new():
    setup = _Setup()
    other = peers.Server(f"unix:{setup.directory}/other", peers.say("other"))
    fresh = [f"127.0.0.1:{net.port()}", f"unix:{setup.directory}/fresh"]
    setup.hold()
    setup.proxy.reload(setup.config() + proxy.frontend("g", fresh, "c") + proxy.backend("c", other.address))
    for line in ("frontend g is new", "backend c is new"):
        setup.proxy.wait_log(line)
    for front in fresh:
        with net.connect(front) as sock:
            tap.equal(net.read_exactly(sock, 5), b"other", "who answers there")
    for front in setup.fronts:
        _exchange(front)
    setup.check_held()
    setup.proxy.reload(setup.config())
    for line in ("frontend g is gone", "backend c is gone"):
        setup.proxy.wait_log(line)
    for front in fresh:
        tap.check(peers.refused(front), "a removed listener refuses")
    setup.end_held()
    setup.proxy.wait_fds(setup.fds)


@tap.case("frontend, backend and listeners renamed or gone: their sessions live, and the log names them as they were")
def _renamed():
    setup = _Setup(threads=2)
    setup.hold(6)
    other = f"127.0.0.1:{net.port()}"
    setup.proxy.reload(setup.config(frontend="renamed", backend="other"))
    setup.check_held()
    setup.hold(2)
    setup.proxy.reload(setup.config(fronts=[other], frontend="third", backend="third"))
    setup.check_held()
    for front in setup.fronts:
        tap.check(peers.refused(front), "a removed listener refuses")
    _exchange(other)
    setup.proxy.wait_access(3)
    arena.rest(setup.proxy)
    # A crash while they have no config does them no harm either.
    former = setup.proxy.worker()
    os.kill(former, signal.SIGKILL)
    setup.proxy.wait_worker(former)
    setup.check_held()
    setup.end_held()
    records = setup.proxy.wait_access(11)[3:]
    names = sorted((record["frontend"], record["backend"], record["server"]) for record in records)
    tap.equal(names, [("f", "b", "s")] * 6 + [("renamed", "other", "s")] * 2, "what the log names")
    tap.equal({record["listener"] for record in records}, set(setup.fronts), "listeners that the log names")


@tap.case("the number of threads changes, sessions are spread anew")
def _threads():
    setup = _Setup(threads=1)
    setup.hold(20)
    for threads in (3, 1, 2):
        setup.proxy.reload(setup.config(), setup.proxy.head.replace("threads = 1", f"threads = {threads}"))
        setup.check_held()
        setup.hold(2)
        for front in setup.fronts:
            _exchange(front)
        watched = setup.proxy.sockets_by_thread()
        tap.equal(len(watched), threads, "event loops")
        tap.check(watched[0] > 2, f"each has its share: {watched}")
    former = setup.proxy.worker()
    arena.rest(setup.proxy)
    os.kill(former, signal.SIGKILL)
    setup.proxy.wait_worker(former)
    setup.check_held()
    setup.end_held()
    setup.proxy.reload(setup.config())
    setup.proxy.wait_fds(setup.fds)


@tap.case("max-connections changes: fewer than there are waits for their end, more lets others in")
def _max_connections():
    setup = _Setup()
    setup.hold(6)
    setup.proxy.reload("max-connections = 4\n" + setup.config())
    setup.check_held()
    late = peers.client(setup.fronts[0])
    late.sendall(b"late")
    late.settimeout(0.3)
    try:
        tap.check(not late.recv(4), "one over the limit waits")
    except TimeoutError:
        pass
    late.settimeout(net.TIMEOUT)
    setup.proxy.reload("max-connections = 10\n" + setup.config())
    tap.equal(net.read_exactly(late, 4), b"late", "who waited is served")
    setup.check_held()
    setup.proxy.reload("max-connections = 4\n" + setup.config())
    last = peers.client(setup.fronts[1])
    last.sendall(b"last")
    setup.end_held()
    tap.equal(net.read_exactly(last, 4), b"last", "who waited is served once there is room")


@tap.case("timeouts of a session that lives are those of the new config")
def _timeouts():
    setup = _Setup()
    setup.hold(2)
    setup.proxy.reload("timeouts { client = 300ms server = 300ms }\n" + setup.config())
    for sock in setup.held:
        tap.check(net.ending(sock) in ("ECONNRESET", None), "it is ended")
    records = setup.proxy.wait_access(4)
    tap.equal({record["end"] for record in records[2:]} - {"client-timeout", "server-timeout"}, set(), "ends")


@tap.case("100 SIGHUPs in 2 s: the last config counts; one keeper, one worker, no descriptor more", 60)
def _storm():
    setup = _Setup(threads=2)
    setup.hold(20)
    new = f"127.0.0.1:{net.port()}"
    stop = []

    def talk(front):
        count = 0
        while not stop:
            _exchange(front)
            count += 1
        return count
    talkers = [proxy.thread(talk, front) for front in setup.fronts]
    for number in range(100):
        if number == 99:
            setup.proxy.write_config(setup.config(fronts=[*setup.fronts, new]))
        setup.proxy.signal(signal.SIGHUP)
        time.sleep(0.02)
    proxy.wait_for(lambda: net.listening(new), "the last config")
    stop.append(True)
    tap.note(f"{[talker.result() for talker in talkers]} exchanges, {len(setup.proxy.log_lines('reloaded:'))} reloads")
    _exchange(new)
    setup.check_held()
    proxy.wait_for(lambda: len(proxy.children(setup.proxy.pid)) == 1, "one worker")
    setup.end_held()
    setup.proxy.wait_fds(setup.fds + 1)
    tap.equal(setup.proxy.log_lines("refused|died|error"), [], "complaints")


@tap.case("the new worker dies before it is ready: the former config comes back, sessions live", 60)
def _comes_back():
    setup = _Setup()
    setup.hold()
    new = f"127.0.0.1:{net.port()}"
    for _ in range(50):
        setup.proxy.write_config(setup.config(fronts=[*setup.fronts, new]))
        said = len(setup.proxy.log())
        former = setup.proxy.worker()
        setup.proxy.signal(signal.SIGHUP)
        # The helper comes and goes, the old worker goes, and the next process is the one that must not live.
        now, until = [], time.monotonic() + 10 * proxy.slowness()
        while not now or former in now:
            now = proxy.children(setup.proxy.pid)
            tap.check(time.monotonic() < until, f"no new worker: {now}\n{setup.proxy.log_tail()}")
        os.kill(now[0], signal.SIGKILL)
        setup.proxy.wait_log("reloaded: |the former config comes back", after=said)
        if setup.proxy.log_lines("the former config comes back"):
            break
        # It was ready already: once more from the start.
        setup.proxy.wait_worker(now[0])
        setup.proxy.reload(setup.config())
    setup.proxy.wait_worker(now[0])
    setup.check_held()
    for front in setup.fronts:
        _exchange(front)
    proxy.wait_for(lambda: not net.listening(new), "the listener of the config that failed to close")
    tap.equal(len(proxy.children(setup.proxy.pid)), 1, "workers")
    setup.proxy.reload()
    _exchange(new)
    setup.end_held()


@tap.case("SIGKILL of the worker while a config is checked, and while it leaves")
def _killed():
    setup = _Setup(threads=2)
    setup.hold(10)
    for number in range(data.scaled(20, 8)):
        said = len(setup.proxy.log())
        former = setup.proxy.worker()
        setup.proxy.signal(signal.SIGHUP)
        time.sleep(0.0007 * number)
        try:
            os.kill(former, signal.SIGKILL)
        except ProcessLookupError:
            pass
        setup.proxy.wait_log("reloaded: |the former config comes back", after=said)
        proxy.wait_for(lambda: len(proxy.children(setup.proxy.pid)) == 1, "one worker")
        setup.check_held()
        for front in setup.fronts:
            _exchange(front)
    setup.end_held()
    setup.proxy.wait_fds(setup.fds)


@tap.case("SIGTERM and SIGINT during a reload: it ends, exit 0")
def _stopped():
    for number in (signal.SIGTERM, signal.SIGINT):
        for pause in (0, 0.001, 0.003, 0.006, 0.01):
            setup = _Setup()
            setup.proxy.signal(signal.SIGHUP)
            time.sleep(pause)
            setup.proxy.signal(number)
            tap.equal(setup.proxy.wait(), 0, "exit status")
            tap.check(not os.path.exists(setup.fronts[1][5:]), "the path is gone")


@tap.case("a log and an access log by other paths are used from then on")
def _logs():
    setup = _Setup()
    for name in ("first", "second"):
        setup.proxy.reload(setup.config(), f'log {{ to = "stderr" }}\n'
                           f'access-log {{ to = "file:{setup.directory}/{name}.log" format = "json" }}\n')
        _exchange(setup.fronts[0])
        setup.proxy.access_path = f"{setup.directory}/{name}.log"
        setup.proxy.wait_access(1)


tap.run()
