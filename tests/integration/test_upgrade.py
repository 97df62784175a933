#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""SIGUSR2: the new binary goes on in the same process with every session, or nothing changes."""
import os
import re
import shutil
import signal
import socket
import time

from lib import arena, crowd, data, net, pairs, peers, proxy, tap

NOBODY = 65534
BUILT = f"{os.path.dirname(proxy.PROGRAM) or '.'}/tests/integration"
NEXT, OTHER, HANG = (f"{BUILT}/{name}" for name in ("spliced-next", "spliced-other", "hang"))


def _own_copy():
    """A copy of the program that may be replaced, as an installed one is."""
    for path in (NEXT, OTHER, HANG):
        if not os.path.exists(path):
            raise tap.Skip(f"{path} was not built")
    return shutil.copy(proxy.PROGRAM, f"{tap.tmpdir()}/spliced")


def _place(running, source, version=None, mode=0o755):
    """Puts another binary, which may call itself by another version, at the path, as package managers do: by a rename."""
    with open(source, "rb") as file:
        image = file.read()
    if version:
        own = proxy.run("-V")[1].split("\n")[0].encode()
        tap.check(own in image, f"{own} is in the binary")
        # Its first digit: the last one may be the end of other strings too, since the linker shares those.
        image = image.replace(own, re.sub(rb"[0-9]", b"%d" % version, own, count=1))
    path = f"{running.program}.new"
    with open(path, "wb") as file:
        file.write(image)
    os.chmod(path, mode)
    os.rename(path, running.program)


def _upgrade(running):
    """Upgrades, and returns what the new binary says it is."""
    said = len(running.log())
    running.signal(signal.SIGUSR2)
    running.wait_log(r"upgraded: this is spliced (.|\n)*is ready after \d+ ms: \d+ sessions adopted, 0 reset", after=said)
    return re.search(r"upgraded: this is spliced (\S+)", running.log()[said:]).group(1)


def _under_load(threads, user):
    crew = crowd.Crowd(threads=threads, user=user, program=_own_copy())
    running = crew.proxy
    for number in range(1, data.scaled(10, 4) + 1):
        _place(running, NEXT, number % 9 + 1)
        version = _upgrade(running)
        tap.check(version.startswith(str(number % 9 + 1)), f"it is the new binary: {version}")
        tap.check(running.running(), "the process goes on")
        tap.equal(os.readlink(f"/proc/{running.pid}/exe"), running.program, "what runs")
        time.sleep(0.05)
    crew.finish()
    crew.check_no_loss()



for _threads, _user in ((1, NOBODY), (2, None)):
    _who = "an ordinary user" if _user and os.getuid() == 0 else "this user"
    tap.case(f"10 upgrades under load, threads = {_threads}, as {_who}: same PID, nothing is refused, reset or cut", 120)(
        lambda t=_threads, u=_user: _under_load(t, u if os.getuid() == 0 else None))


def _sessions(pair, count=6):
    return [pair.relaying() for _ in range(count)]


def _check(pair, sessions):
    for number, (client, server) in enumerate(sessions):
        for sender, receiver in ((client, server), (server, client)):
            word = b"%05d" % number
            sender.sendall(word)
            tap.equal(net.read_exactly(receiver, 5), word, "a session goes on")
    arena.rest(pair.proxy)


def _write(text, mode):
    def make(running):
        path = f"{running.program}.new"
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        os.chmod(path, mode)
        os.rename(path, running.program)
    return make


def _folder(running):
    os.unlink(running.program)
    os.mkdir(running.program)


_REFUSED = {
    "missing": (lambda running: os.unlink(running.program), "No such file"),
    "not executable": (lambda running: _place(running, NEXT, mode=0o644), "Permission denied"),
    "a script that fails": (_write("#!/bin/sh\nexit 1\n", 0o755), "cannot take over"),
    "empty": (_write("", 0o755), "cannot take over"),
    "garbage": (_write("garbage", 0o755), "cannot take over"),
    "a program that fails": (lambda running: _place(running, shutil.which("false")), r"cannot take over \(exit status 1\)"),
    "another layout": (lambda running: _place(running, OTHER), r"layout 91.* cannot read(.|\n)*cannot take over"),
    "a directory": (_folder, "cannot take over|directory"),
}


@pairs.each("what cannot take over is refused, and changes nothing")
def _refused(kinds):
    pair = pairs.Pair(kinds, program=_own_copy())
    sessions = _sessions(pair)
    worker, fds = pair.proxy.worker(), pair.proxy.fds()
    for what, (make, pattern) in _REFUSED.items():
        make(pair.proxy)
        said = len(pair.proxy.log())
        pair.proxy.signal(signal.SIGUSR2)
        pair.proxy.wait_log(pattern, after=said)
        pair.proxy.wait_log(rf"upgrade refused: {pair.proxy.program}: ", after=said)
        proxy.wait_for(lambda: proxy.children(pair.proxy.pid) == [worker], f"the worker alone, and the same one: {what}")
        _check(pair, sessions)
        pair.proxy.wait_fds(fds)
    os.rmdir(pair.proxy.program)
    _place(pair.proxy, NEXT, 8)
    tap.check(_upgrade(pair.proxy).startswith("8"), "one that can is taken in the end")
    _check(pair, sessions)


@tap.case("a binary that says nothing: refused after its deadline, and traffic goes on", 60)
def _hangs():
    pair = pairs.Pair(("tcp", "unix"), program=_own_copy())
    sessions = _sessions(pair)
    worker = pair.proxy.worker()
    _place(pair.proxy, HANG)
    start = time.monotonic()
    pair.proxy.signal(signal.SIGUSR2)
    while not pair.proxy.log_lines("upgrade refused"):
        tap.check(time.monotonic() - start < 20 * proxy.slowness(), "no end to it")
        _check(pair, sessions)
        client, server = pair.relaying()
        client.close()
        server.close()
        time.sleep(0.05)
    tap.between(time.monotonic() - start, 8.5, 13 * proxy.slowness(), "seconds until it was refused")
    proxy.wait_for(lambda: proxy.children(pair.proxy.pid) == [worker], "the worker alone, and the same one")
    _check(pair, sessions)


@tap.case("a newer layout is not read by the binary before it: refused, and the newer goes on")
def _back():
    pair = pairs.Pair(("unix", "tcp"), program=_own_copy(), threads=2)
    sessions = _sessions(pair)
    tap.check(_upgrade(pair.proxy), "the same binary again")
    _place(pair.proxy, NEXT, 9)
    _upgrade(pair.proxy)
    _place(pair.proxy, proxy.PROGRAM)
    pair.proxy.signal(signal.SIGUSR2)
    pair.proxy.wait_log("upgrade refused")
    _check(pair, sessions)
    # What crashes, is reloaded and ends from then on is the new one.
    former = pair.proxy.worker()
    arena.rest(pair.proxy)
    os.kill(former, signal.SIGKILL)
    pair.proxy.wait_worker(former)
    _check(pair, sessions)
    pair.proxy.reload()
    _check(pair, sessions)
    for client, server in sessions:
        client.close()
        server.close()
    pair.proxy.wait_access(6)
    pair.proxy.signal(signal.SIGTERM)
    tap.equal(pair.proxy.wait(), 0, "exit status")


@tap.case("half-closed, stalled and connecting sessions are upgraded as they are")
def _states():
    pair = pairs.Pair(("tcp", "tcp"), program=_own_copy(), top="socket { sndbuf = 32K rcvbuf = 32K }\n",
                      buffers={"rcvbuf": 32768})
    half, stalled = pair.relaying(), pair.relaying()
    half[0].shutdown(socket.SHUT_WR)
    sent = data.payload(3 << 20)
    count = net.send_until_stuck(stalled[0], sent, 0.1)
    stalled[0].shutdown(socket.SHUT_WR)
    net.vanish(pair.servers.listener)
    connecting = peers.client(pair.front)
    connecting.sendall(b"hello")
    for _ in range(2):
        _upgrade(pair.proxy)
    net.appear(pair.servers.listener)
    tap.equal(net.read_all(half[1]), (b"", None), "the FIN")
    half[1].sendall(b"reply")
    half[1].close()
    tap.equal(net.read_all(half[0]), (b"reply", None), "the reply")
    got, error = net.read_all(stalled[1])
    tap.equal((data.describe(got), error), (data.describe(sent[:count]), None), "what was parked")
    tap.equal(net.read_exactly(pair.servers.take(15), 5), b"hello", "who was connecting")


@tap.case("SIGHUP during an upgrade and SIGUSR2 during a reload: both are done", 60)
def _both():
    pair = pairs.Pair(("tcp", "unix"), program=_own_copy())
    sessions = _sessions(pair)
    good = pair.proxy.path
    with open(good, encoding="utf-8") as file:
        config = file.read()
    for number in range(1, data.scaled(8, 4) + 1):
        new = f"127.0.0.1:{net.port()}"
        pair.proxy.write_config(config + proxy.frontend(f"new{number}", new, "b"), "")
        _place(pair.proxy, NEXT, number % 9 + 1)
        said = len(pair.proxy.log())
        for which in ((signal.SIGHUP, signal.SIGUSR2), (signal.SIGUSR2, signal.SIGHUP))[number % 2]:
            pair.proxy.signal(which)
            time.sleep(0.001 * number)
        pair.proxy.wait_log("reloaded: ", after=said)
        pair.proxy.wait_log("upgraded: ", after=said)
        proxy.wait_for(lambda: net.listening(new), "the new listener")
        _check(pair, sessions)
    proxy.wait_for(lambda: len(proxy.children(pair.proxy.pid)) == 1, "one worker")
    tap.equal(pair.proxy.log_lines("refused|died"), [], "complaints")


@tap.case("50 SIGUSR2 in 1 s, with SIGHUPs between them", 60)
def _storm():
    pair = pairs.Pair(("tcp", "tcp"), program=_own_copy(), threads=2)
    sessions = _sessions(pair, 20)
    _upgrade(pair.proxy)
    fds = pair.proxy.fds()
    for number in range(50):
        pair.proxy.signal(signal.SIGUSR2 if number % 3 else signal.SIGHUP)
        time.sleep(0.02)
        if number % 10 == 0:
            _check(pair, sessions)
    _upgrade(pair.proxy)
    proxy.wait_for(lambda: len(proxy.children(pair.proxy.pid)) == 1, "one worker")
    _check(pair, sessions)
    pair.proxy.wait_fds(fds)
    tap.equal(pair.proxy.log_lines("refused|died"), [], "complaints")


@tap.case("SIGKILL of the worker during an upgrade")
def _killed():
    pair = pairs.Pair(("tcp", "tcp"), program=_own_copy(), threads=2)
    sessions = _sessions(pair)
    for number in range(data.scaled(20, 8)):
        said = len(pair.proxy.log())
        former = pair.proxy.worker()
        arena.rest(pair.proxy)
        pair.proxy.signal(signal.SIGUSR2)
        time.sleep(0.001 * number)
        try:
            os.kill(former, signal.SIGKILL)
        except ProcessLookupError:
            pass
        pair.proxy.wait_log("upgraded: ", after=said)
        _check(pair, sessions)
    proxy.wait_for(lambda: len(proxy.children(pair.proxy.pid)) == 1, "one worker")


@tap.case("SIGTERM and SIGINT during an upgrade: it ends, exit 0")
def _stopped():
    for number in (signal.SIGTERM, signal.SIGINT):
        for pause in (0, 0.002, 0.005, 0.01, 0.02):
            pair = pairs.Pair(("unix", "tcp"), program=_own_copy())
            pair.proxy.signal(signal.SIGUSR2)
            time.sleep(pause)
            pair.proxy.signal(number)
            tap.equal(pair.proxy.wait(), 0, "exit status")
            tap.check(not os.path.exists(pair.front[5:]), "the path is gone")


@tap.case("in the background with a pid-file: the same process, and the file goes with it")
def _background():
    directory, program = tap.tmpdir(), _own_copy()
    front = f"unix:{directory}/front"
    peers.Server(f"unix:{directory}/back", peers.echo)
    running = proxy.Proxy(proxy.frontend("f", front, "b") + proxy.backend("b", f"unix:{directory}/back"), program=program,
                          top=f'pid-file = "{directory}/pid"\nlog {{ to = "file:{directory}/main.log" }}\n',
                          directory=directory, args=["-D"], start=False)
    running.start(ready=False)
    tap.equal(running.wait(), 0, "the parent's exit status")
    with open(f"{directory}/pid", encoding="ascii") as file:
        pid = int(file.read())
    try:
        client = peers.client(front)
        for number in (1, 2):
            _place(running, NEXT, number)
            said = len(running.log())
            os.kill(pid, signal.SIGUSR2)
            proxy.wait_for(lambda: re.search(r"upgraded: (.|\n)*is ready after", running.log()[said:]), "the upgrade")
            client.sendall(b"still here")
            tap.equal(net.read_exactly(client, 10), b"still here", "a session")
        with open(f"{directory}/pid", encoding="ascii") as file:
            tap.equal(int(file.read()), pid, "the pid-file")
    finally:
        os.kill(pid, signal.SIGINT)
        proxy.wait_for(lambda: proxy.ended(pid), "it to end")
    tap.check(not os.path.exists(f"{directory}/pid"), "the pid-file is gone")
    tap.check(not os.path.exists(f"{directory}/front"), "the path is gone")


tap.run()
