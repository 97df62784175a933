#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""upload-rate and download-rate: bytes arrive whole, and no faster than allowed."""
import socket
import time

from lib import arena, data, net, pairs, peers, proxy, tap

K = 1024
M = 1024 * K


class _Arrivals:
    """Reads a socket to its end in a thread, and notes when how much had come."""

    def __init__(self, sock):
        self.sock, self.got, self.marks = sock, bytearray(), []
        self.thread = proxy.thread(self._read)

    def _read(self):
        while piece := self.sock.recv(256 * K):
            self.got += piece
            self.marks.append((time.monotonic(), len(self.got)))

    def check(self, payload, begin, rate, what):
        """The bytes are right, none came too early, and the last not much too late."""
        self.thread.result()
        tap.equal(data.describe(self.got), data.describe(bytes(payload)), what)
        burst = max(rate // 4, 64 * K)
        for when, size in self.marks:
            tap.check(size <= burst + rate * (when - begin + 0.002), f"{what}: {size} bytes in {when - begin:.3f} s")
        took, wanted = self.marks[-1][0] - begin, (len(payload) - burst) / rate
        tap.check(took <= 1.3 * wanted + 0.3 * proxy.slowness(), f"{what}: {took:.3f} s, wanted {wanted:.3f}")


def _send(sock, payload):
    """Sends all, and the FIN, in a thread."""
    def body():
        sock.sendall(payload)
        sock.shutdown(socket.SHUT_WR)
    return proxy.thread(body)


@pairs.each("both directions at their rates, bytes intact")
def _both(kinds):
    up, down = 1 * M, 2 * M
    pair = pairs.Pair(kinds, frontend=f"upload-rate = {up}/s download-rate = {down}/s")
    client, server = pair.session()
    begin = time.monotonic()
    there, back = data.payload(700 * K, 1), data.payload(1400 * K, 2)
    senders = _send(client, there), _send(server, back)
    arrived = _Arrivals(server), _Arrivals(client)
    arrived[0].check(there, begin, up, "upload")
    arrived[1].check(back, begin, down, "download")
    for sender in senders:
        sender.result()
    record = pair.proxy.wait_access(1)[0]
    tap.equal((record["bytes_up"], record["bytes_down"]), (len(there), len(back)), "bytes in the log")


@tap.case("one direction alone; small messages within the burst are not delayed")
def _one():
    pair = pairs.Pair(("tcp", "tcp"), frontend="upload-rate = 200K/s")
    client, server = pair.session()
    back = data.payload(data.scaled(20 * M), 3)
    sender, arrived = _send(server, back), _Arrivals(client)
    arrived.thread.result()
    sender.result()
    tap.equal(data.describe(arrived.got), data.describe(bytes(back)), "download")
    there = data.payload(100 * K, 4)
    begin = time.monotonic()
    sender, arrived = _send(client, there), _Arrivals(server)
    arrived.check(there, begin, 200 * K, "upload")
    tap.check(arrived.marks[-1][0] - begin >= 0.9 * (100 - 64) / 200, "the upload was not limited")
    sender.result()
    client, server = pair.session()
    for _ in range(300):
        client.sendall(b"x" * 100)
        tap.equal(len(net.read_exactly(server, 100)), 100, "a message")
        server.sendall(b"y" * 100)
        tap.equal(len(net.read_exactly(client, 100)), 100, "an answer")


@tap.case("a worker killed, and the rate changed by reloads, while sessions are limited")
def _outlives():
    pair = pairs.Pair(("tcp", "unix"), frontend=f"upload-rate = {M}/s download-rate = {M}/s", threads=2)
    client, server = pair.session()
    payload = data.payload(int(2.2 * M), 5)
    begin = time.monotonic()
    sender, arrived = _send(client, payload), _Arrivals(server)
    proxy.wait_for(lambda: len(arrived.got) > 400 * K, "some bytes")
    arena.kill_worker(pair.proxy)
    proxy.wait_for(lambda: len(arrived.got) > 700 * K, "bytes after a crash")
    tap.check(len(arrived.got) <= M // 4 + M * (time.monotonic() - begin + 0.002), "faster after a crash")

    def reload(keys):
        pair.proxy.reload(proxy.frontend("f", pair.front, "b", keys) + proxy.backend("b", pair.back))

    reload("upload-rate = 100K/s")
    slow, since = len(arrived.got), time.monotonic()
    time.sleep(0.3)
    tap.check(len(arrived.got) - slow <= (100 * K * (time.monotonic() - since + 0.1)) + 100 * K, "not slower")
    tap.check(len(arrived.got) < len(payload), "not limited any more")
    reload("")
    arrived.thread.result()
    sender.result()
    tap.equal(data.describe(arrived.got), data.describe(bytes(payload)), "upload")
    server.shutdown(socket.SHUT_WR)
    record = pair.proxy.wait_access(1)[0]
    tap.equal((record["end"], record["bytes_up"]), ("client-fin", len(payload)), "how it ended")


@tap.case("who is made to wait is not idle")
def _not_idle():
    pair = pairs.Pair(("tcp", "tcp"), frontend="upload-rate = 4/s timeouts { client = 150ms client-fin = 150ms }",
                      backend="timeouts { server = 150ms server-fin = 150ms }")
    client, server = pair.session()
    payload = data.payload(64 * K + 3, 6)
    begin = time.monotonic()
    client.sendall(payload)
    got = net.read_exactly(server, len(payload))
    tap.equal(data.describe(got), data.describe(bytes(payload)), "upload")
    tap.check(time.monotonic() - begin >= 0.74, "three bytes came within a quarter of a second each")
    # And once nobody has anything to say, it is.
    record = pair.proxy.wait_access(1)[0]
    tap.check(record["end"] in ("client-timeout", "server-timeout"), f"it ended by {record['end']}")


@tap.case("many limited sessions: each gets its rate, and the CPU rests")
def _many():
    pair = pairs.Pair(("tcp", "tcp"), frontend="download-rate = 256K/s", threads=2)
    payload = data.payload(160 * K, 7)
    sessions = [pair.session() for _ in range(20)]
    begin = time.monotonic()
    cpu = pair.proxy.cpu()
    senders = [_send(server, payload) for _, server in sessions]
    arrived = [_Arrivals(client) for client, _ in sessions]
    for one in arrived:
        one.check(payload, begin, 256 * K, "download")
    for sender in senders:
        sender.result()
    tap.check(pair.proxy.cpu() - cpu < 0.3 * proxy.slowness(), "too much CPU")


if __name__ == "__main__":
    tap.run()
