#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Sessions in every state are adopted as they are; a record that makes no sense costs its session alone."""
import os
import signal
import socket
import struct
import time

from lib import arena, data, net, pairs, peers, proxy, tap
from lib.arena import Arena, BUSY, CLOSING, CONNECTING, DOWN, FDS, QUEUED, RELAYING, STATE

SMALL = "socket { sndbuf = 32K rcvbuf = 32K }\n"


def _crash(running, adopted=None, reset=0):
    """Kills the worker, and waits for the next one, that says how many sessions it has adopted and reset."""
    said = len(running.log())
    former = running.wait_worker()
    arena.rest(running)
    os.kill(former, signal.SIGKILL)
    wanted = r"\d+" if adopted is None else adopted
    running.wait_log(rf"is ready after \d+ ms: {wanted} sessions adopted, {reset} reset", after=said)
    return running.wait_worker(former)


def _end(pair, client, server, sent=b"the end"):
    """Both ways, to the last byte, and a clean end."""
    client.sendall(sent)
    client.shutdown(socket.SHUT_WR)
    tap.equal(net.read_all(server), (sent, None), "what the server got")
    server.sendall(sent)
    server.close()
    tap.equal(net.read_all(client), (sent, None), "what the client got")


@pairs.each("relaying, half-closed either way, and parked bytes either way")
def _relaying(kinds):
    for threads in (1, 2):
        pair = pairs.Pair(kinds, threads=threads, top=SMALL, buffers={"rcvbuf": 32768, "sndbuf": 32768})
        before = pair.proxy.fds()
        sessions = {name: pair.relaying() for name in ("plain", "client", "server", "up", "down", "full")}
        sessions["client"][0].shutdown(socket.SHUT_WR)
        sessions["server"][1].shutdown(socket.SHUT_WR)
        sent = data.payload(3 << 20)
        parked = {("up", 0): net.send_until_stuck(sessions["up"][0], sent, 0.1),
                  ("down", 1): net.send_until_stuck(sessions["down"][1], sent, 0.1),
                  ("full", 0): net.send_until_stuck(sessions["full"][0], sent, 0.1)}
        sessions["full"][0].shutdown(socket.SHUT_WR)
        for _ in range(3):
            _crash(pair.proxy, 6)
        pair.proxy.check_idle("adopted sessions wait", 0.3, 0.02)
        for (name, side), count in parked.items():
            sender, receiver = sessions[name][side], sessions[name][1 - side]
            if name != "full":
                sender.shutdown(socket.SHUT_WR)
            got, error = net.read_all(receiver)
            tap.equal((data.describe(got), error), (data.describe(sent[:count]), None), f"what was parked, {name}")
            receiver.sendall(b"back")
            receiver.close()
            tap.equal(net.read_all(sender), (b"back", None), f"the other direction, {name}")
        for name, sender, receiver in (("client", 1, 0), ("server", 0, 1)):
            tap.equal(net.read_all(sessions[name][sender]), (b"", None), f"the FIN of the {name}")
            sessions[name][sender].sendall(sent[:65536])
            sessions[name][sender].close()
            tap.equal(net.read_all(sessions[name][receiver]), (bytes(sent[:65536]), None), f"after the FIN of the {name}")
        _end(pair, *sessions["plain"])
        records = pair.proxy.wait_access(6)
        tap.equal({record["end"] for record in records} - {"client-fin", "server-fin"}, set(), "ends")
        for pairs_of in sessions.values():
            for sock in pairs_of:
                sock.close()
        pair.proxy.wait_fds(before)


@pairs.each("connecting: what the client has sent arrives once the server has room")
def _connecting(kinds):
    pair = pairs.Pair(kinds, backlog=1, top="timeouts { connect = 20s }\n")
    if pair.is_tcp(1):
        net.vanish(pair.servers.listener)
        fill = []
    else:
        fill = [net.connect(pair.back) for _ in range(2)]
    clients = [peers.client(pair.front) for _ in range(3)]
    for number, client in enumerate(clients):
        client.sendall(b"hello %d" % number)
        if number == 2:
            client.shutdown(socket.SHUT_WR)
    for _ in range(3):
        Arena(pair.proxy).wait_states([CONNECTING] * 3)
        _crash(pair.proxy, 3)
    pair.proxy.check_idle("sessions connect", 0.3, 0.05)
    if pair.is_tcp(1):
        net.appear(pair.servers.listener)
    for sock in fill:
        pair.servers.take().close()
        sock.close()
    got = {}
    for _ in clients:
        server = pair.servers.take(15)
        word = net.read_exactly(server, 7)
        got[word] = server
    tap.equal(sorted(got), [b"hello 0", b"hello 1", b"hello 2"], "what arrived")
    for number, client in enumerate(clients):
        server = got[b"hello %d" % number]
        server.sendall(b"answer")
        server.close()
        tap.equal(net.read_all(client), (b"answer", None), "the answer")


@pairs.each("a pause between two rounds of tries goes on")
def _retrying(kinds):
    directory = tap.tmpdir()
    front, back = (net.address_of(kind, directory, name) for kind, name in zip(kinds, ("front", "back")))
    running = proxy.Proxy(proxy.frontend("f", front, "b") + proxy.backend("b", back, "retries = 40"), directory=directory)
    clients = [peers.client(front) for _ in range(5)]
    for number, client in enumerate(clients):
        client.sendall(b"hello %d" % number)
    Arena(running).wait_states([QUEUED] * 5)
    for _ in range(3):
        _crash(running, 5)
    servers = peers.Accepted(back)
    words = set()
    for _ in clients:
        server = servers.take()
        words.add(net.read_exactly(server, 7))
        server.sendall(b"answer")
        server.close()
    tap.equal(len(words), 5, "sessions that got through")
    for client in clients:
        tap.equal(net.read_all(client), (b"answer", None), "the answer")
        client.close()
    for record in running.wait_access(5):
        tap.check(record["retries"] > 0, f"the record tells of retries: {record}")


@tap.case("closing: a slow reader gets the last bytes, and then the reset")
def _closing():
    pair = pairs.Pair(("tcp", "tcp"))
    before = pair.proxy.fds()
    client = peers.client(pair.front, rcvbuf=4096)
    server = pair.servers.take()
    sent = data.payload(60000)
    server.sendall(sent)
    view = Arena(pair.proxy)
    proxy.wait_for(lambda: struct.unpack_from("Q", view.record(0), DOWN)[0] == len(sent), "the proxy to have it all")
    net.reset(server)
    view.wait_states([CLOSING])
    for _ in range(3):
        _crash(pair.proxy, 1)
    got, error = net.read_all(client)
    tap.equal((data.describe(got), error), (data.describe(sent), "ECONNRESET"), "the last bytes and the end")
    client.close()
    tap.equal([record["end"] for record in pair.proxy.wait_access(1)], ["server-reset"], "ends")
    pair.proxy.wait_fds(before)


@tap.case("draining: the next worker goes on with the drain, to its deadline, exit 0")
def _draining():
    pair = pairs.Pair(("tcp", "tcp"), top="drain = 2s\n")
    client, server = pair.relaying()
    other = pair.relaying()
    start = time.monotonic()
    pair.proxy.signal(signal.SIGTERM)
    proxy.wait_for(lambda: not net.listening(pair.front), "the listener to close")
    for _ in range(3):
        _crash(pair.proxy, 2)
        tap.check(peers.refused(pair.front), "a new connection is refused")
    client.sendall(b"still here")
    tap.equal(net.read_exactly(server, 10), b"still here", "a session during the drain")
    _end(pair, *other)
    tap.equal((net.ending(client), net.ending(server)), ("ECONNRESET", "ECONNRESET"), "what was left saw")
    tap.between(time.monotonic() - start, 1.9, 3.5 * proxy.slowness(), "seconds until the end")
    tap.equal(pair.proxy.wait(), 0, "exit status")
    tap.equal(sorted(record["end"] for record in pair.proxy.access()), ["client-fin", "shutdown"], "ends")


@tap.case("draining: sessions that end under the next worker end the drain")
def _drained():
    pair = pairs.Pair(("unix", "unix"), threads=2)
    client, server = pair.relaying()
    pair.proxy.signal(signal.SIGTERM)
    proxy.wait_for(lambda: not os.path.exists(pair.front[5:]), "the listener to close")
    _crash(pair.proxy, 1)
    _end(pair, client, server)
    tap.equal(pair.proxy.wait(), 0, "exit status")


@tap.case("timeouts of adopted sessions go on")
def _timeouts():
    pair = pairs.Pair(("tcp", "tcp"), top="timeouts { client = 2s server = 60s }\n")
    client, server = pair.relaying()
    start = time.monotonic()
    time.sleep(0.8)
    _crash(pair.proxy, 1)
    tap.equal((net.ending(client), net.ending(server)), ("ECONNRESET", "ECONNRESET"), "what the peers saw")
    tap.between(time.monotonic() - start, 1.8, 2.8 * proxy.slowness(), "seconds until the timeout")
    tap.equal([record["end"] for record in pair.proxy.wait_access(1)], ["client-timeout"], "ends")


def _damage(running, changes):
    """Stops the worker, changes the records {index: function(record)}, kills it."""
    worker = running.wait_worker()
    arena.rest(running)
    proxy.freeze(worker)
    view = Arena(running)
    for index, change in changes.items():
        record = view.record(index)
        change(record, view)
        view.write(index, record)
    os.kill(worker, signal.SIGKILL)
    return running.wait_worker(worker)


def _lives(client, server):
    """Whether the session relays both ways; else it must have come to an end."""
    try:
        for sender, receiver in ((client, server), (server, client)):
            sender.sendall(b"lives")
            if net.read_exactly(receiver, 5) != b"lives":
                return False
        return True
    except (ConnectionResetError, BrokenPipeError):
        return False


def _put(where, form, value):
    def change(record, _view):
        struct.pack_into(form, record, where, value)
    return change


_DAMAGES = {
    "a state that there is not": _put(STATE, "B", 200),
    "another state, connecting": _put(STATE, "B", CONNECTING),
    "a client's descriptor that is none": _put(FDS, "i", 99999),
    "a client's descriptor that is the arena": lambda record, view: struct.pack_into("i", record, FDS, view.number),
    "a server's descriptor that is none": _put(FDS + 4, "i", -1),
    "the same descriptor twice": lambda record, _view: struct.pack_into("i", record, FDS + 4, struct.unpack_from("i", record, FDS)[0]),
    "ones from the directions on": lambda record, _view: record.__setitem__(slice(16, len(record)), b"\xff" * (len(record) - 16)),
    "noughts from the directions on": lambda record, _view: record.__setitem__(slice(16, len(record)), bytes(len(record) - 16)),
    "ones everywhere": lambda record, _view: record.__setitem__(slice(0, len(record)), b"\xff" * len(record)),
    "busy": _put(BUSY, "B", 1),
}


@pairs.each("a corrupted record: that session is reset, the others live")
def _corrupted(kinds):
    pair = pairs.Pair(kinds, threads=2)
    before = pair.proxy.fds()
    sessions = [pair.relaying() for _ in range(3 * len(_DAMAGES))]
    Arena(pair.proxy).wait_states([RELAYING] * len(sessions))
    victims = {3 * number + 1: what for number, what in enumerate(_DAMAGES)}
    _damage(pair.proxy, {index: _DAMAGES[what] for index, what in victims.items()})
    pair.proxy.wait_log(r"is ready after \d+ ms")
    for index, (client, server) in enumerate(sessions):
        lives = _lives(client, server)
        if index in victims:
            if lives:
                tap.note(f"lives on: {victims[index]}")
        else:
            tap.check(lives, f"session {index} lives")
    for client, server in sessions:
        client.close()
        server.close()
    records = pair.proxy.wait_access(2 * len(_DAMAGES))
    tap.check("recovered-busy" in [record["end"] for record in records], "the busy one is named")
    pair.proxy.wait_fds(before)
    tap.equal(pair.proxy.log_lines("before it was ready"), [], "workers that died of it")
    client, server = pair.relaying()
    tap.check(_lives(client, server), "a new session")


@tap.case("every byte of a record flipped, one session each: no worker dies of it, the others live")
def _flipped():
    pair = pairs.Pair(("unix", "tcp"))
    before = pair.proxy.fds()
    size = Arena(pair.proxy).size
    for first in range(0, size, 32):
        sessions = [pair.relaying() for _ in range(64)]

        def flip(at):
            def change(record, _view):
                record[at] ^= 0xff
            return change
        # Descriptors flipped in their lowest byte may be those of others, which then are the ones not believed.
        offsets = [at for at in range(first, min(size, first + 32)) if not FDS <= at < FDS + 8]
        victims = {2 * number: flip(at) for number, at in enumerate(offsets)}
        records = Arena(pair.proxy).by_age()
        worker = _damage(pair.proxy, {records[number]: change for number, change in victims.items()})
        for index, (client, server) in enumerate(sessions):
            lives = _lives(client, server) if index not in victims else None
            tap.check(lives is not False, f"session {index} lives, bytes {first} to {first + 31} flipped")
        tap.equal(pair.proxy.worker(), worker, "the worker")
        for client, server in sessions:
            client.close()
            server.close()
        Arena(pair.proxy).wait_states([])
        pair.proxy.wait_fds(before)
    tap.equal(pair.proxy.log_lines("before it was ready"), [], "workers that died of it")


tap.run()
