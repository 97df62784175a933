#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""A reset is passed on as a reset, after what was received before it."""
import select
import time

from lib import data, net, pairs, peers, proxy, tap

RESET = "ECONNRESET"


SIZE = 40000            # fits into any socket's buffer, so that all of it can wait in one


def _arrives(pair, sender, receiver, how):
    """Bytes, then a reset by `sender`: both must arrive at `receiver`.  Returns what it saw as the end."""
    sent = data.payload(SIZE, 1)
    if how == "together":       # bytes and reset both wait in the proxy's socket when it looks
        pair.proxy.freeze()
    sender.sendall(sent)
    net.wait_sent(sender)
    net.reset(sender)
    if how == "together":
        pair.proxy.thaw()
    if how == "slowly":         # they have reached the receiver's kernel long before it reads
        pair.proxy.wait_access(1)
    got, error = net.read_all(receiver)
    tap.equal(data.describe(got), data.describe(sent), "what came before the reset")
    return error


def _reset_by_client(kinds, how):
    pair = pairs.Pair(kinds)
    client, server = pair.relaying()
    error = _arrives(pair, client, server, how)
    if pair.is_tcp(1):
        tap.equal(error, RESET, "what the server saw")
    else:
        tap.check(error in (RESET, None), f"the server saw {error}")
    record = pair.proxy.wait_access(1)[0]
    tap.equal((record["end"], record["error"], record["bytes_up"]), ("client-reset", RESET, SIZE + 5), "logged")


def _reset_by_server(kinds, how):
    pair = pairs.Pair(kinds)
    client, server = pair.relaying()
    error = _arrives(pair, server, client, how)
    if pair.is_tcp(0):
        tap.equal(error, RESET, "what the client saw")
    else:
        tap.check(error in (RESET, None), f"the client saw {error}")
    record = pair.proxy.wait_access(1)[0]
    tap.equal((record["end"], record["error"], record["bytes_down"]), ("server-reset", RESET, SIZE + 5), "logged")


for _how in ("at once", "together", "slowly"):
    for _other in ("tcp", "unix"):
        tap.case(f"tcp to {_other}: the client's reset follows its bytes ({_how})")(
            lambda k=("tcp", _other), h=_how: _reset_by_client(k, h))
        tap.case(f"{_other} to tcp: the server's reset follows its bytes ({_how})")(
            lambda k=(_other, "tcp"), h=_how: _reset_by_server(k, h))


@tap.case("much data before a reset reaches a reader that stalls for a while")
def _flushed():
    pair = pairs.Pair(("tcp", "tcp"))
    client, server = pair.session()
    sent = data.payload(200000, 2)
    client.sendall(sent)
    net.wait_sent(client)
    net.reset(client)
    time.sleep(0.4)     # well below the second that a flush may take
    got, error = net.read_all(server)
    tap.equal((data.describe(got), error), (data.describe(sent), RESET), "what the server saw")


@tap.case("a server that answers and resets before the proxy has seen its connect succeed")
def _at_connect():
    pair = pairs.Pair(("unix", "tcp"))
    net.vanish(pair.servers.listener)       # holds the handshake up until the proxy is stopped
    client = peers.client(pair.front)
    time.sleep(0.1)
    pair.proxy.freeze()
    net.appear(pair.servers.listener)
    server = pair.servers.take()            # by the SYN's retransmission, a second later
    server.sendall(b"refused, and why")
    net.wait_sent(server)
    net.reset(server)
    pair.proxy.thaw()
    got, error = net.read_all(client)
    tap.equal(got, b"refused, and why", "what the client saw")
    tap.check(error in (RESET, None), f"then {error}")
    record = pair.proxy.wait_access(1)[0]
    tap.equal((record["end"], record["error"], record["retries"]), ("server-reset", RESET, 0), "logged")


@tap.case("an AF_UNIX client that closes with input unread resets the TCP server")
def _unix_client():
    pair = pairs.Pair(("unix", "tcp"))
    client, server = pair.session()
    client.sendall(b"request")
    tap.equal(net.read_exactly(server, 7), b"request", "at the server")
    server.sendall(b"reply that nobody reads")
    proxy.wait_for(lambda: _readable(client), "the reply to wait at the client")
    client.close()
    tap.equal(net.ending(server), RESET, "what the server saw")
    record = pair.proxy.wait_access(1)[0]
    tap.equal((record["end"], record["error"]), ("client-reset", RESET), "logged")


@tap.case("an AF_UNIX server that closes with input unread resets the TCP client")
def _unix_server():
    pair = pairs.Pair(("tcp", "unix"))
    client, server = pair.session()
    client.sendall(b"request that nobody reads")
    proxy.wait_for(lambda: _readable(server), "the request to wait at the server")
    server.sendall(b"last words")
    server.close()
    got, error = net.read_all(client)
    tap.equal((got, error), (b"last words", RESET), "what the client saw")
    record = pair.proxy.wait_access(1)[0]
    tap.equal((record["end"], record["error"]), ("server-reset", RESET), "logged")


def _readable(sock):
    return bool(select.select([sock], [], [], 0)[0])


@tap.case("a reset on a session that waits half-closed reaches the other side")
def _half_closed():
    pair = pairs.Pair(("tcp", "tcp"))
    client, server = pair.session()
    client.sendall(b"all I have to say")
    pairs.finish(client)
    tap.equal(net.read_all(server), (b"all I have to say", None), "at the server")
    net.reset(server)
    tap.equal(net.ending(client), RESET, "what the client saw")
    # The client's FIN came first, but the server's reset is what ended the session's other half.
    tap.check(pair.proxy.wait_access(1)[0]["end"] in ("client-fin", "server-reset"), "end")


@tap.case("a reset while the other side takes nothing ends the session within a second or so")
def _stalled_reader():
    pair = pairs.Pair(("tcp", "tcp"), top="socket { sndbuf = 64K rcvbuf = 64K }\n", buffers={"rcvbuf": 16384})
    before = pair.proxy.fds()
    client, server = pair.session(sndbuf=65536)
    net.send_until_stuck(client, data.payload(8 << 20))
    net.reset(client)
    pair.proxy.wait_access(1, 3)
    tap.equal(net.ending(server), RESET, "what the server saw, after what its kernel held")
    pair.proxy.wait_fds(before)


def _late_reply(kinds, stopped, server_closes):
    """The client has closed when the reply comes: its kernel answers with a reset, and the session ends."""
    pair = pairs.Pair(kinds)
    before = pair.proxy.fds()
    for number in range(1, 6):
        client, server = pair.relaying()
        client.close()
        tap.equal(server.recv(1), b"", "at the server")
        if stopped:
            pair.proxy.freeze()
        server.sendall(b"too late")
        if server_closes:
            server.close()
        if stopped:
            pair.proxy.thaw()
        record = pair.proxy.wait_access(number, 3)[number - 1]
        tap.check(record["end"] in ("client-fin", "client-reset"), f"end is {record['end']}")
        if not server_closes:
            tap.check(net.ending(server) in (None, RESET), "the server sees the end")
            server.close()
    pair.proxy.wait_fds(before)


for _front in ("tcp", "unix"):
    for _stopped in (False, True):
        for _closes in (False, True):
            tap.case(f"{_front} to tcp: a reply to a client that has closed"
                     f"{', and the end of the server' if _closes else ''}{', seen at once' if _stopped else ''}")(
                lambda k=(_front, "tcp"), s=_stopped, c=_closes: _late_reply(k, s, c))


@tap.case("many resets at once, in the middle of data, both ways")
def _many():
    pair = pairs.Pair(("tcp", "tcp"), threads=2)
    for _ in range(5):
        sessions = [pair.session() for _ in range(20)]
        for number, (client, server) in enumerate(sessions):
            client.sendall(b"x" * 30000)
            server.sendall(b"y" * 30000)
            net.reset(client if number % 2 else server)
        for number, (client, server) in enumerate(sessions):
            tap.equal(net.ending(server if number % 2 else client), RESET, f"session {number}")
            (server if number % 2 else client).close()
    records = pair.proxy.wait_access(100)
    tap.equal({record["end"] for record in records}, {"client-reset", "server-reset"}, "ends")
    pair.proxy.check_idle("every session was reset", 0.5)


tap.run()
