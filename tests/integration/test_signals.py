#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Drain, stop, log rotation, pid file, background, exit statuses."""
import json
import os
import signal
import socket
import time

from lib import arena, data, net, pairs, peers, proxy, tap


def _gone(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def _refuses(address):
    proxy.wait_for(lambda: not net.listening(address), "the listener to close")
    tap.check(peers.refused(address), "a new connection is refused")


def _drain(kinds, **options):
    pair = pairs.Pair(kinds, **options)
    client, server = pair.relaying()
    pair.proxy.signal(signal.SIGTERM)
    _refuses(pair.front)
    sent = data.payload(data.scaled(4 << 20))
    sending = proxy.thread(lambda: (client.sendall(sent), pairs.finish(client)))
    got, error = net.read_all(server)
    sending.result()
    tap.equal((data.describe(got), error), (data.describe(sent), None), "what arrived during the drain")
    tap.check(pair.proxy.running(), "it runs while a session does")
    server.sendall(b"reply")
    server.close()
    tap.equal(net.read_all(client), (b"reply", None), "the reply")
    tap.equal(pair.proxy.wait(), 0, "exit status")
    tap.equal([record["end"] for record in pair.proxy.access()], ["client-fin"], "ends")
    if kinds[0] == "unix":
        tap.check(not os.path.exists(pair.front[5:]), "the path is gone")


pairs.each("SIGTERM: new connections are refused, an old session finishes, exit 0")(_drain)
tap.case("the same in one process")(lambda: _drain(("unix", "tcp"), keeper=False))


@tap.case("SIGTERM with no sessions ends it at once")
def _idle_drain():
    pair = pairs.Pair(("tcp", "tcp"), threads=2)
    start = time.monotonic()
    pair.proxy.signal(signal.SIGTERM)
    tap.equal(pair.proxy.wait(), 0, "exit status")
    tap.check(time.monotonic() - start < 2 * proxy.slowness(), "it did not wait for the deadline")


@pairs.each("the drain's deadline resets what is left, `shutdown`")
def _deadline(kinds):
    pair = pairs.Pair(kinds, top="drain = 600ms\n")
    client, server = pair.relaying()
    start = time.monotonic()
    pair.proxy.signal(signal.SIGTERM)
    ends = net.ending(client), net.ending(server)
    tap.between(time.monotonic() - start, 0.58, 2.5 * proxy.slowness(), "seconds until the end")
    for side in (0, 1):
        tap.check(ends[side] == "ECONNRESET" or (ends[side] is None and not pair.is_tcp(side)), f"sides saw {ends}")
    tap.equal(pair.proxy.wait(), 0, "exit status")
    tap.equal([record["end"] for record in pair.proxy.access()], ["shutdown"], "ends")


@tap.case("drain = off waits for all; a second SIGTERM stops now, exit 0")
def _second():
    pair = pairs.Pair(("tcp", "tcp"), top="drain = off\n")
    client, server = pair.relaying()
    pair.proxy.signal(signal.SIGTERM)
    _refuses(pair.front)
    time.sleep(0.3)
    client.sendall(b"still here")
    tap.equal(net.read_exactly(server, 10), b"still here", "a session during the drain")
    pair.proxy.signal(signal.SIGTERM)
    tap.equal((net.ending(client), net.ending(server)), ("ECONNRESET", "ECONNRESET"), "what the peers saw")
    tap.equal(pair.proxy.wait(), 0, "exit status")
    tap.equal([record["end"] for record in pair.proxy.access()], ["shutdown"], "ends")


def _now(keeper):
    pair = pairs.Pair(("tcp", "tcp"), threads=2, keeper=keeper)
    sessions = [pair.relaying() for _ in range(20)]
    start = time.monotonic()
    pair.proxy.signal(signal.SIGINT)
    for client, server in sessions:
        tap.equal((net.ending(client), net.ending(server)), ("ECONNRESET", "ECONNRESET"), "what the peers saw")
    tap.equal(pair.proxy.wait(), 0, "exit status")
    tap.check(time.monotonic() - start < 2 * proxy.slowness(), "at once")
    tap.equal([record["end"] for record in pair.proxy.access()], ["shutdown"] * 20, "ends")
    bytes_up, bytes_down = (sum(record[key] for record in pair.proxy.access()) for key in ("bytes_up", "bytes_down"))
    tap.check(bytes_up > 0, "there was traffic")
    tap.equal(len(pair.proxy.log_lines(rf"stopped: 20 sessions served, 20 reset at the end; {bytes_up} bytes up, {bytes_down} down")),
              1, "lines that sum it up")


tap.case("SIGINT stops now, exit 0; peers see resets and every session is logged")(lambda: _now(True))
tap.case("SIGINT in one process")(lambda: _now(False))


@tap.case("SIGINT during a drain, with sessions that are stalled, half-closed and connecting")
def _now_in_drain():
    directory = tap.tmpdir()
    fronts = [f"127.0.0.1:{net.port()}" for _ in range(2)]
    servers = peers.Accepted(f"127.0.0.1:{net.port()}", rcvbuf=16384)
    silent = peers.Accepted(f"127.0.0.1:{net.port()}")
    net.vanish(silent.listener)
    running = proxy.Proxy(proxy.frontend("f", fronts[0], "b") + proxy.frontend("g", fronts[1], "c") +
                          proxy.backend("b", servers.address) + proxy.backend("c", silent.address), directory=directory,
                          top="drain = off\nsocket { sndbuf = 32K rcvbuf = 32K }\n")
    stalled, half = peers.client(fronts[0]), peers.client(fronts[0])
    connecting = peers.client(fronts[1])
    connecting.sendall(b"hello")
    net.send_until_stuck(stalled, bytes(4 << 20), 0.2)
    half.shutdown(socket.SHUT_WR)
    running.signal(signal.SIGTERM)
    _refuses(fronts[0])
    running.check_idle("draining", 0.4)
    running.signal(signal.SIGINT)
    tap.equal(running.wait(), 0, "exit status")
    tap.equal(len(running.access()), 3, "sessions logged")
    for sock in (stalled, half, connecting):
        tap.equal(net.ending(sock), "ECONNRESET", "what a client saw")


@tap.case("clients that wait in the backlog at SIGTERM are not served half")
def _backlog():
    pair = pairs.Pair(("tcp", "tcp"), frontend="max-connections = 1", top="drain = 5s\n")
    client, server = pair.relaying()
    waiting = [peers.client(pair.front) for _ in range(5)]
    pair.proxy.signal(signal.SIGTERM)
    _refuses(pair.front)
    client.close()
    server.close()
    # Closing the listener resets those that it had not accepted; one that slipped in is served until its end.
    for sock in waiting:
        sock.close()
    tap.equal(pair.proxy.wait(), 0, "exit status")


@tap.case("SIGUSR1 opens the logs again by their paths")
def _reopen():
    directory = tap.tmpdir()
    pair = pairs.Pair(("tcp", "tcp"), top=f'log {{ to = "file:{directory}/main.log" level = "info" }}\n')
    for name in ("old", "new"):
        client, server = pair.relaying()
        client.close()
        server.close()
        pair.proxy.wait_access(1)
        if name == "old":
            os.rename(pair.proxy.access_path, f"{directory}/access.old")
            os.rename(f"{directory}/main.log", f"{directory}/main.old")
            pair.proxy.signal(signal.SIGUSR1)
            proxy.wait_for(lambda: os.path.exists(pair.proxy.access_path) and os.path.exists(f"{directory}/main.log"),
                           "the logs to appear again")
    with open(f"{directory}/access.old", encoding="utf-8") as file:
        tap.equal(len(file.read().splitlines()), 1, "records in the old access log")
    tap.equal(len(pair.proxy.access()), 1, "records in the new access log")
    tap.equal(os.stat(pair.proxy.access_path).st_mode & 0o777, 0o640, "its mode")


@tap.case("one process ignores SIGPIPE, and refuses SIGHUP and SIGUSR2 with a line in the log")
def _other_signals():
    pair = pairs.Pair(("tcp", "tcp"), keeper=False)
    client, server = pair.relaying()
    for number in (signal.SIGPIPE, signal.SIGHUP, signal.SIGUSR2):
        pair.proxy.signal(number)
    pair.proxy.wait_log("SIGHUP.*cannot reload")
    pair.proxy.wait_log("SIGUSR2.*cannot upgrade")
    client.sendall(b"still here")
    tap.equal(net.read_exactly(server, 10), b"still here", "a session afterwards")
    tap.check(pair.proxy.running(), "it runs")


@tap.case("pid-file: the process's id while it runs, and gone afterwards")
def _pid_file():
    directory = tap.tmpdir()
    pair = pairs.Pair(("tcp", "tcp"), top=f'pid-file = "{directory}/pid"\n')
    with open(f"{directory}/pid", encoding="ascii") as file:
        tap.equal(file.read(), f"{pair.proxy.pid}\n", "its content")
    pair.proxy.signal(signal.SIGTERM)
    tap.equal(pair.proxy.wait(), 0, "exit status")
    tap.check(not os.path.exists(f"{directory}/pid"), "the file is gone")


@tap.case("a pid-file that cannot be written: exit status 2")
def _bad_pid_file():
    running = proxy.Proxy(proxy.frontend("f", f"127.0.0.1:{net.port()}", "b") + proxy.backend("b", "127.0.0.1:9"),
                          top='pid-file = "/nonexistent/dir/pid"\n', start=False)
    running.expected = 2
    running.start(ready=False)
    tap.equal(running.wait(), 2, "exit status")
    tap.check(running.log_lines("/nonexistent/dir/pid"), f"the log names it: {running.log()!r}")


@tap.case("-D: in the background once it serves; its parent's exit status is 0")
def _daemon():
    directory = tap.tmpdir()
    front = f"unix:{directory}/front"
    peers.Server(f"unix:{directory}/back", peers.say("hi"))
    running = proxy.Proxy(proxy.frontend("f", front, "b") + proxy.backend("b", f"unix:{directory}/back"),
                          top=f'pid-file = "{directory}/pid"\nlog {{ to = "file:{directory}/main.log" }}\n',
                          directory=directory, args=["-D"], start=False)
    running.start(ready=False)
    tap.equal(running.wait(), 0, "the parent's exit status")
    # It serves by the time the parent is gone: no waiting here.
    with open(f"{directory}/pid", encoding="ascii") as file:
        pid = int(file.read())
    try:
        tap.equal(net.read_exactly(peers.client(front), 2), b"hi", "the answer")
        tap.check(os.getsid(pid) != os.getsid(0), "it has left our session")
        tap.equal(os.readlink(f"/proc/{pid}/cwd"), "/", "its working directory")
        for number in (0, 1, 2):
            tap.equal(os.readlink(f"/proc/{pid}/fd/{number}"), "/dev/null", f"descriptor {number}")
    finally:
        os.kill(pid, signal.SIGINT)
        proxy.wait_for(lambda: _gone(pid), "it to end")
    tap.check(not os.path.exists(f"{directory}/front"), "the path is gone")


@tap.case("-D with a listener that fails: the parent's exit status is 2")
def _daemon_fails():
    directory = tap.tmpdir()
    address = f"127.0.0.1:{net.port()}"
    peers.Accepted(address)
    running = proxy.Proxy(proxy.frontend("f", address, "b") + proxy.backend("b", "127.0.0.1:9"), directory=directory,
                          args=["-D"], start=False)
    running.expected = 2
    running.start(ready=False)
    tap.equal(running.wait(), 2, "the parent's exit status")
    tap.check(address in running.log(), "the parent's stderr says why")


@tap.case("a log whose reader stands still does not stop the traffic, nor the end")
def _blocked_log():
    directory = tap.tmpdir()
    reader, writer = os.pipe()
    tap.cleanup(os.close, reader)
    back = f"127.0.0.1:{net.port()}"     # nobody there: two warnings a session or so
    front = f"unix:{directory}/front"
    fifo = f"{directory}/access.log"
    os.mkfifo(fifo)
    holder = os.open(fifo, os.O_RDWR)
    tap.cleanup(os.close, holder)
    good = peers.Server(f"unix:{directory}/back", peers.echo)
    running = proxy.Proxy(
        proxy.frontend("f", front, "b") + proxy.backend("b", proxy.server("gone", back) + proxy.server("good", good.address)),
        directory=directory, start=False, stderr=writer, log_level="debug")
    running.start(ready=False)
    os.close(writer)
    proxy.wait_for(lambda: net.listening(front), "it to serve")
    for number in range(data.scaled(3000, 1500)):
        sock = net.connect(front)
        sock.sendall(b"%d" % number)
        sock.shutdown(socket.SHUT_WR)
        tap.equal(net.read_all(sock), (b"%d" % number, None), f"echo {number}")
        sock.close()
    running.check_idle("both logs are blocked", 0.4)
    # Nor the way from one worker to the next.
    with peers.client(front) as sock:
        for number in range(3):
            former = running.wait_worker()
            arena.rest(running)
            os.kill(former, signal.SIGKILL)
            start = time.monotonic()
            sock.sendall(b"%d" % number)
            tap.equal(net.read_exactly(sock, 1), b"%d" % number, "an echo by the next worker")
            took = time.monotonic() - start
            tap.check(took < 0.5 * proxy.slowness(), f"sessions stood still for {took:.2f} s")
            running.wait_worker(former)
    start = time.monotonic()
    running.signal(signal.SIGTERM)
    tap.equal(running.wait(), 0, "exit status")
    tap.check(time.monotonic() - start < 8 * proxy.slowness(), "it ended in time")


@tap.case("what was dropped from a blocked log is counted and said once there is room")
def _dropped():
    directory = tap.tmpdir()
    front = f"unix:{directory}/front"
    fifo = f"{directory}/access.log"
    os.mkfifo(fifo)
    holder = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    tap.cleanup(os.close, holder)
    peers.Server(f"unix:{directory}/back", peers.echo)
    running = proxy.Proxy(proxy.frontend("f", front, "b") + proxy.backend("b", f"unix:{directory}/back"), directory=directory,
                          threads=2)

    def talk(count):
        for _ in range(count):
            sock = net.connect(front)
            sock.shutdown(socket.SHUT_WR)
            net.read_all(sock)
            sock.close()

    workers = [proxy.thread(talk, 3000) for _ in range(4)]
    for worker in workers:
        worker.result()
    lines = b""
    until = time.monotonic() + 10 * proxy.slowness()
    while not running.log_lines("drop|lost") and time.monotonic() < until:
        try:
            lines += os.read(holder, 65536)
        except BlockingIOError:
            talk(1)
            time.sleep(0.05)
    if lines.count(b"\n") >= 12000:
        raise tap.Skip("the log's ring held all of them")
    tap.check(running.log_lines("drop|lost"), f"a line says how many were dropped: {running.log_tail()}")
    for line in lines.split(b"\n")[:-1]:
        json.loads(line)        # whole lines, whatever was dropped between them


tap.run()
