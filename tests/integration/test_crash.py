#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The worker dies, in every way and at every time; its sessions do not."""
import os
import re
import signal
import socket
import time

from lib import arena, crowd, data, net, pairs, peers, proxy, tap

NOBODY = 65534


def _ready_count(running):
    return len(running.log_lines(r"info: ready: "))


def _kill_worker(running, number=signal.SIGKILL):
    """Kills the worker once it serves, and returns its PID."""
    pid = running.wait_worker()
    os.kill(pid, number)
    return pid


def _check_losses(crew, kills, threads):
    """Only sessions that the log names were lost, and new connections; one a kill and thread at most."""
    wrong = [failure for failure in crew.failed if "wrong" in str(failure)]
    tap.equal(wrong, [], "sessions with wrong bytes")
    # The log's last lines die with a worker; what its successor resets it says anew.
    ends = [record["end"] for record in crew.proxy.access()]
    tap.note(f"{len(ends)} of {crew.total()} sessions are in the access log")
    busy = ends.count("recovered-busy")
    odd = [record for record in crew.proxy.access() if record["end"] not in (*crowd.FINE, "recovered-busy")]
    tap.equal(odd, [], "other ends")
    old = [failure for failure in crew.failed if failure[0] != "new"]
    tap.check(len(old) <= busy, f"{len(old)} old sessions were lost, the log names {busy}: {old}")
    tap.check(len(crew.failed) <= kills * threads, f"{len(crew.failed)} lost in {kills} kills: {crew.failed}")


def _crashes(threads, user):
    kills = data.scaled(30, 8)
    crew = crowd.Crowd(threads=threads, user=user)
    running, former = crew.proxy, set()
    running.torn = True
    for number in range(kills):
        time.sleep(0.05)
        # Three that die before they are ready mean a clean start, which is not the matter here.
        proxy.wait_for(lambda: _ready_count(running) > number, "the worker to be ready")
        former.add(_kill_worker(running))
        running.wait_worker(former)
    tap.equal(len(former), kills, "workers killed")
    proxy.wait_for(lambda: _ready_count(running) > kills, "the last worker")
    crew.finish()
    _check_losses(crew, kills, threads)
    tap.equal(len(running.log_lines(r"worker \d+ \(PID \d+\) died: killed by SIGKILL")), kills, "deaths in the log")
    lines = running.log_lines(r"worker \d+ \(PID \d+\) is ready after \d+ ms: \d+ sessions adopted, \d+ reset")
    tap.equal(len(lines), kills, "adoptions in the log")
    crew.check_clean()


for _threads, _user in ((1, None), (2, NOBODY if os.getuid() == 0 else None)):
    tap.case(f"SIGKILL 30 times under load, threads = {_threads}{', as an ordinary user' if _user else ''}: every byte is right", 120)(
        lambda t=_threads, u=_user: _crashes(t, u))


def _signals():
    # A sanitizer makes a report of its own of the others, and exits.
    return ["ABRT", "TERM"] if proxy.sanitizer() else ["SEGV", "ABRT", "BUS", "ILL", "FPE", "TRAP", "SYS"]


@pairs.each("any signal ends the worker alone; the log says which, and how many sessions were adopted")
def _any_signal(kinds):
    pair = pairs.Pair(kinds)
    sessions = [pair.relaying() for _ in range(10)]
    keeper, former = pair.proxy.pid, set()
    for count, name in enumerate(_signals(), 1):
        number = getattr(signal, f"SIG{name}")
        if name == "TERM":
            continue
        arena.rest(pair.proxy)
        former.add(_kill_worker(pair.proxy, number))
        pair.proxy.wait_log(rf"worker {count} \(PID \d+\) died: killed by SIG{name}")
        pair.proxy.wait_log(rf"worker {count + 1} \(PID \d+\) is ready after \d+ ms: 10 sessions adopted, 0 reset")
        for client, server in sessions:
            for sender, receiver in ((client, server), (server, client)):
                sender.sendall(name.encode())
                tap.equal(net.read_exactly(receiver, len(name)), name.encode(), f"bytes after SIG{name}")
    tap.equal(pair.proxy.pid, keeper, "the keeper")
    for client, server in sessions:
        client.close()
        server.close()
    tap.equal({record["end"] for record in pair.proxy.wait_access(10)}, {"client-fin"}, "ends")


@tap.case("signals of a terminal or a control group do not end the worker")
def _group_signals():
    pair = pairs.Pair(("tcp", "tcp"))
    client, server = pair.relaying()
    worker = pair.proxy.worker()
    for name in ("TERM", "INT", "HUP", "QUIT", "USR1", "USR2", "PIPE"):
        os.kill(worker, getattr(signal, f"SIG{name}"))
    client.sendall(b"still here")
    tap.equal(net.read_exactly(server, 10), b"still here", "a session")
    tap.equal(pair.proxy.worker(), worker, "the worker")


@tap.case("SIGKILL twice in 10 ms, and during adoption: old sessions live", 90)
def _quick():
    crew = crowd.Crowd(threads=2, streams=2, idle=100, rate=20)
    running, killed = crew.proxy, set()
    for _ in range(data.scaled(10, 4)):
        time.sleep(0.02)
        ready = _ready_count(running)
        # The second is hit while it starts; a third in a row would be one too many.
        for _ in range(2):
            worker = running.wait_worker(killed)
            os.kill(worker, signal.SIGKILL)
            killed.add(worker)
            time.sleep(0.002)
        proxy.wait_for(lambda: _ready_count(running) > ready, "a worker that is ready")
    crew.finish()
    tap.note(f"{len(running.log_lines('before it was ready'))} of {len(killed)} died before they were ready")
    tap.equal(running.log_lines("starts clean"), [], "clean starts")
    _check_losses(crew, len(killed), 2)
    crew.check_clean()


@tap.case("workers that die before they are ready: the fourth starts clean, after pauses that grow", 60)
def _loop():
    pair = pairs.Pair(("tcp", "tcp"))
    client, server = pair.relaying()
    before = pair.proxy.fds()
    killed = {0}

    def kill_until(pattern):
        until = time.monotonic() + 20 * proxy.slowness()
        while not pair.proxy.log_lines(pattern):
            tap.check(time.monotonic() < until, f"/{pattern}/ never came\n{pair.proxy.log_tail()}")
            worker = pair.proxy.worker()
            if worker in killed:
                continue
            # It may be ready already, where this process was not given the CPU: then it is another try.
            os.kill(worker, signal.SIGKILL)
            killed.add(worker)

    kill_until(r"workers died 3 times before they were ready: the next starts clean")
    kill_until(r"workers died 5 times")
    pair.proxy.wait_worker(killed)
    pair.proxy.wait_log(r"ready after \d+ ms: 0 sessions adopted", 15)
    tap.equal((net.ending(client), net.ending(server)), ("ECONNRESET", "ECONNRESET"), "what became of the session")
    starts = [(int(re.search(r"died (\d+) times", line).group(1)), _stamp(line))
              for line in pair.proxy.log_lines("starts clean")]
    tap.note(starts)
    for (deaths, soon), (more, late) in zip(starts, starts[1:]):
        if more == deaths + 1:
            wanted = 0.1 * 2 ** (more - 3)
            tap.check(late - soon >= wanted * 0.95, f"a pause of {wanted:.1f} s before worker {more}: {late - soon:.3f} s")
    client, server = pair.relaying()
    client.close()
    server.close()
    pair.proxy.wait_fds(before)


def _stamp(line):
    """The seconds of a log line's time of day."""
    hours, minutes, seconds = line.split("T")[1].split("Z")[0].split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


_STUCK = {"spliced-loop-1": None, "spliced-checks": "checks servers", "spliced-names": "follows names",
          "spliced-admin": "answers the admin"}


@tap.case("a worker that stands still, or one thread of it, is replaced, and its sessions live", 60)
def _stopped():
    # The deadline is ten seconds: all wait for it together.
    setups = []
    for name in (None, *_STUCK):
        pair = pairs.Pair(("tcp", "unix"), threads=2, top=proxy.backend("checked", "127.0.0.1:1", "check { }") +
                          proxy.backend("named", "localhost:1"))
        setups.append((name, pair, [pair.relaying() for _ in range(20)], pair.proxy.worker()))
        arena.rest(pair.proxy)
    alone = _Alone()
    start, frozen = time.monotonic(), []
    for name, pair, _, worker in setups[:]:
        if not name:
            proxy.freeze(worker)
            continue
        try:
            frozen.append(proxy.FrozenThread(pair.proxy, name))
        except PermissionError as error:
            tap.note(f"without a thread that stands still: {error}")
            setups = setups[:1]
            alone = None
            break
    if alone:
        alone.freeze()
    late = []
    for name, pair, sessions, _ in setups:
        for number, (client, _) in enumerate(sessions):
            client.sendall(b"%03d" % number)
        # Connections that come now wait, and are served.
        late.append(net.connect(pair.front, timeout=40))
        tap.cleanup(late[-1].close)
        late[-1].sendall(b"late")
    for name, pair, sessions, _ in setups:
        # Who stands beside traffic does not hold it up meanwhile.
        if name and _STUCK[name]:
            _check_meanwhile(pair, sessions)
    for thread in frozen:
        thread.wait()
    for name, pair, sessions, worker in setups:
        pair.proxy.wait_log("has stood still for 10 s", 15)
        pair.proxy.wait_worker(worker)
        tap.between(time.monotonic() - start, 9.5, 14 * proxy.slowness(), "seconds until it was replaced")
        pair.proxy.wait_log(r"(\d+) sessions adopted, 0 reset")
        if not name or not _STUCK[name]:
            _check_meanwhile(pair, sessions)
        else:
            tap.check(pair.proxy.log_lines(rf"the thread that {_STUCK[name]} has stood still for \d+\.\d+ s"),
                      f"a line names the thread {name}")
    if alone:
        alone.check()


class _Alone:
    """One process without a keeper, and what its service manager is told by it, which is to replace it."""

    def __init__(self):
        directory = tap.tmpdir()
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        tap.cleanup(self.sock.close)
        self.sock.bind(f"{directory}/notify")
        self.sock.setblocking(False)
        self.told = b""
        variables = {"NOTIFY_SOCKET": f"{directory}/notify", "WATCHDOG_USEC": "1000000"}
        os.environ.update(variables)
        self.proxy = proxy.Proxy(proxy.frontend("f", f"unix:{directory}/front", "b") + proxy.backend("b", "127.0.0.1:1"),
                                 threads=2, keeper=False, directory=directory)
        for name in variables:
            del os.environ[name]
        self.notifies = "libsystemd: yes" in proxy.run("-V")[1]

    def pings(self):
        """How often it has said so far that all is well."""
        while True:
            try:
                self.told += self.sock.recv(4096) + b"\n"
            except BlockingIOError:
                return self.told.count(b"WATCHDOG=1")

    def freeze(self):
        if self.notifies:
            proxy.wait_for(self.pings, "it to say that all is well")
        self.thread = proxy.FrozenThread(self.proxy, "spliced-loop-1")

    def check(self):
        """That it has said nothing of the kind for some seconds, since one thread has stood still for long."""
        before = self.pings()
        time.sleep(1.5)
        tap.check(self.proxy.running(), "it runs, all but the thread")
        tap.equal(self.pings(), before, "pings once a thread has stood still for 10 s")
        self.proxy.expected = -signal.SIGKILL
        self.proxy.signal(signal.SIGKILL)
        self.thread.wait()


def _check_meanwhile(pair, sessions):
    for number, (_, server) in enumerate(sessions):
        tap.equal(net.read_exactly(server, 3), b"%03d" % number, "bytes sent meanwhile")
    tap.equal(net.read_exactly(pair.servers.take(), 4), b"late", "a session that came meanwhile")


@pairs.each("the keeper is killed: the worker ends too, and a restart can bind at once")
def _keeper_killed(kinds):
    pair = pairs.Pair(kinds, threads=2)
    client, server = pair.relaying()
    worker = pair.proxy.worker()
    pair.proxy.signal(signal.SIGKILL)
    tap.equal(pair.proxy.wait(), -signal.SIGKILL, "the keeper's end")
    proxy.wait_for(lambda: proxy.ended(worker), "the worker to end", 3)
    client.close()
    server.close()
    pair.proxy.start()
    pair.relaying()


@tap.case("a crash changes nothing for those who wait in the backlog, or who come just then")
def _backlog():
    pair = pairs.Pair(("unix", "tcp"), frontend="max-connections = 4")
    held = [pair.relaying() for _ in range(4)]
    waiting = [peers.client(pair.front) for _ in range(20)]
    for number, sock in enumerate(waiting):
        sock.sendall(b"%02d" % number)
    arena.rest(pair.proxy)
    former = _kill_worker(pair.proxy)
    pair.proxy.wait_worker(former)
    pair.proxy.wait_log("4 sessions adopted, 0 reset")
    for client, server in held:
        client.close()
        server.close()
    for number, sock in enumerate(waiting):
        server = pair.servers.take()
        tap.equal(net.read_exactly(server, 2), b"%02d" % number, "who waited is served in turn")
        server.close()
        sock.close()
    records = pair.proxy.wait_access(24)
    tap.equal({record["end"] for record in records} - {"server-fin", "client-fin"}, set(), "ends")


tap.run()
