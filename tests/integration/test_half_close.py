#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Each side's FIN is passed on for itself, after the last byte before it."""
import socket
import time

from lib import data, net, pairs, peers, proxy, tap

MIB = 1 << 20


@pairs.each("a late reply of 8 MiB after the client's FIN arrives whole")
def _late_reply(kinds):
    pair = pairs.Pair(kinds)
    client, server = pair.session()
    request, reply = data.payload(100000, 1), data.payload(data.scaled(8 * MIB), 2)
    client.sendall(request)
    pairs.finish(client)
    got, error = net.read_all(server)
    tap.equal((error, data.sha256(got)), (None, data.sha256(request)), "the request")
    client.settimeout(0.4)
    try:
        early = client.recv(1)
        raise tap.Failed(f"the client saw {early!r} before the server had said anything")
    except TimeoutError:
        client.settimeout(net.TIMEOUT)
    sending = proxy.thread(server.sendall, reply)
    got = net.read_exactly(client, len(reply))
    tap.equal(data.describe(got), data.describe(reply), "the reply")
    sending.result()
    client.settimeout(0.3)
    try:
        tap.equal(client.recv(1), "nothing", "after the reply, before the server's FIN")
    except TimeoutError:
        client.settimeout(net.TIMEOUT)
    server.close()
    tap.equal(client.recv(1), b"", "after the server's FIN")
    record = pair.proxy.wait_access(1)[0]
    tap.equal((record["end"], record["bytes_up"], record["bytes_down"]), ("client-fin", len(request), len(reply)), "logged")


@pairs.each("what the client sends after the server's FIN arrives whole")
def _server_first(kinds):
    pair = pairs.Pair(kinds)
    client, server = pair.session()
    server.sendall(b"bye")
    pairs.finish(server)
    tap.equal(net.read_all(client), (b"bye", None), "at the client")
    late = data.payload(data.scaled(8 * MIB), 3)
    sending = proxy.thread(lambda: (client.sendall(late), client.close()))
    got, error = net.read_all(server)
    sending.result()
    tap.equal((error, data.describe(got)), (None, data.describe(late)), "at the server")
    tap.equal(pair.proxy.wait_access(1)[0]["end"], "server-fin", "end")


@pairs.each("the FIN comes after the last byte, however late that is taken")
def _slow_reader(kinds):
    pair = pairs.Pair(kinds, top="socket { sndbuf = 64K rcvbuf = 64K }\n", buffers={"rcvbuf": 65536})
    client, server = pair.session()
    sent = data.payload(data.scaled(4 * MIB), 4)
    sending = proxy.thread(lambda: (client.sendall(sent), pairs.finish(client)))
    time.sleep(0.5)     # the point of the case: a reader that starts late
    got, error = net.read_all(server)
    sending.result()
    tap.equal((error, data.describe(got)), (None, data.describe(sent)), "at the server")
    server.sendall(b"still open")
    server.close()
    tap.equal(net.read_all(client), (b"still open", None), "at the client")


@pairs.each("a FIN without a byte is passed on, and both at once end the session cleanly")
def _empty(kinds):
    pair = pairs.Pair(kinds)
    client, server = pair.session()
    pairs.finish(client)
    tap.equal(server.recv(1), b"", "at the server")
    server.close()
    tap.equal(client.recv(1), b"", "at the client")
    client, server = pair.session()
    pairs.finish(client)
    pairs.finish(server)
    tap.equal((net.ending(client), net.ending(server)), (None, None), "both ends")
    pair.proxy.wait_access(2)


@pairs.each("half-close = off: the client's FIN ends the session once its bytes are delivered")
def _off_client(kinds):
    pair = pairs.Pair(kinds, frontend="half-close = off")
    client, server = pair.session()
    sent = data.payload(data.scaled(MIB), 5)
    sending = proxy.thread(lambda: (client.sendall(sent), pairs.finish(client)))
    time.sleep(0.2)
    got, error = net.read_all(server)
    sending.result()
    tap.equal(data.describe(got), data.describe(sent), "at the server")
    tap.check(error in (None, "ECONNRESET"), f"the server's end: {error}")
    tap.check(net.ending(client) in (None, "ECONNRESET"), "the client sees an end, with the server still open")
    tap.equal(pair.proxy.wait_access(1)[0]["end"], "client-fin", "end")


@pairs.each("half-close = off: the server's FIN ends the session once its bytes are delivered")
def _off_server(kinds):
    pair = pairs.Pair(kinds, frontend="half-close = off")
    client, server = pair.session()
    sent = data.payload(data.scaled(MIB), 6)
    client.sendall(b"request that is never finished")
    net.read_exactly(server, 30)
    sending = proxy.thread(lambda: (server.sendall(sent), pairs.finish(server)))
    time.sleep(0.2)
    tap.equal(data.describe(net.read_exactly(client, len(sent))), data.describe(sent), "at the client")
    sending.result()
    tap.check(net.ending(client) in (None, "ECONNRESET"), "the client sees the end")
    tap.check(net.ending(server) in (None, "ECONNRESET"), "the server sees the end, with the client still open")
    tap.equal(pair.proxy.wait_access(1)[0]["end"], "server-fin", "end")


@pairs.each("a reply sent while the client still uploads is not lost when the server is done")
def _early_reply(kinds):
    pair = pairs.Pair(kinds)
    client, server = pair.session()
    stop = []

    def upload():
        piece = bytes(65536)
        try:
            while not stop:
                client.send(piece)
        except OSError:
            pass

    uploading = proxy.thread(upload)
    net.read_exactly(server, 100000)
    reply = data.payload(data.scaled(MIB), 7)
    replying = proxy.thread(lambda: (server.sendall(reply), pairs.finish(server)))
    draining = proxy.thread(net.ending, server)
    time.sleep(0.3)     # the reply waits in the proxy and in both kernels, and the upload goes on
    got, error = net.read_all(client)
    tap.equal((error, data.describe(got)), (None, data.describe(reply)), "the reply")
    replying.result()
    stop.append(True)
    uploading.result()
    client.close()
    draining.result()


@tap.case("many sessions wait half-closed at once, and each gets its reply")
def _many():
    directory = tap.tmpdir()
    front, back = f"127.0.0.1:{net.port()}", f"unix:{directory}/back"

    def handler(sock):
        request, _ = net.read_all(sock)
        time.sleep(0.3)
        sock.sendall(request[::-1])

    peers.Server(back, handler)
    running = proxy.Proxy(proxy.frontend("f", front, "b") + proxy.backend("b", back), directory=directory)
    clients = [peers.client(front) for _ in range(60)]
    for number, client in enumerate(clients):
        client.sendall(b"request %d" % number)
        client.shutdown(socket.SHUT_WR)
    for number, client in enumerate(clients):
        tap.equal(net.read_all(client), ((b"request %d" % number)[::-1], None), f"reply {number}")
    running.wait_access(60)


tap.run()
