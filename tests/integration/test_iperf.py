#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""iperf3 through one hop and through two: what is sent is what is received."""
import json
import threading
import time

from lib import data, net, peers, programs, proxy, tap

SIZE = 256 << 20


class _SlowControl:
    """In front of the proxy: hands on every connection, but what is said on iperf3's first one, the control connection, a moment later.

    At its end an iperf3 client says so on the control connection while its last bytes are still on their way on the others, and the server stops
    reading at once: without this, the two sides' counts differ with nothing but a loopback between them.
    """

    def __init__(self, target):
        self.target = target
        self.first = True
        self.lock = threading.Lock()
        self.address = f"127.0.0.1:{net.port()}"
        peers.Server(self.address, self._serve)

    def _serve(self, sock):
        with self.lock:
            delay, self.first = (0.25 * proxy.slowness() if self.first else 0), False
        other = net.connect(self.target)
        for end in (sock, other):
            end.settimeout(60)
        back = proxy.thread(self._move, other, sock, 0)
        self._move(sock, other, delay)
        back.result()
        other.close()

    @staticmethod
    def _move(source, sink, delay):
        buffer = memoryview(bytearray(262144))
        try:
            while count := source.recv_into(buffer):
                if delay:
                    time.sleep(delay)
                sink.sendall(buffer[:count])
            sink.shutdown(1)
        except OSError:
            pass


def _hops(number, directory, threads):
    """So many proxies in a row, joined by AF_UNIX, before an iperf3 server.  Returns the first one's address, and them."""
    port = net.port()
    programs.start("iperf3", "-s", "-B", "127.0.0.1", "-p", str(port))
    proxy.wait_for(lambda: net.listening(f"127.0.0.1:{port}"), "iperf3's server")
    running, behind = [], f"127.0.0.1:{port}"
    for hop in range(number, 0, -1):
        front = f"127.0.0.1:{net.port()}" if hop == 1 else f"unix:{directory}/hop{hop}"
        running.append(proxy.Proxy(proxy.frontend("f", front, "b") + proxy.backend("b", behind), threads=threads))
        behind = front
    return behind, running


def _iperf(hops, threads, *options, slow_control=True):
    programs.need("iperf3")
    front, running = _hops(hops, tap.tmpdir(), threads)
    target = _SlowControl(front).address if slow_control else front
    port = target.rpartition(":")[2]
    size = data.scaled(SIZE) >> 20 << 20        # whole blocks: of a part iperf3 counts more on one side
    report = json.loads(programs.run("iperf3", "-c", "127.0.0.1", "-p", port, "-n", str(size), "-J", *options))
    sent, received = report["end"]["sum_sent"]["bytes"], report["end"]["sum_received"]["bytes"]
    tap.note(f"{sent} bytes, {report['end']['sum_received']['bits_per_second'] / 1e9:.1f} Gbit/s")
    tap.check(sent >= size, f"{sent} bytes were sent, of {size}")
    # With several streams a busy iperf3 server stops, and closes, before the last bytes are there.
    several = "-P" in options
    if not several:
        tap.equal(received, sent, "bytes received")
    for one in running:
        records = one.wait_access(2 + 3 * ("-P" in options))    # the control connection, and each stream
        fine = {None, "EPIPE", "ECONNRESET"} if several else {None}
        tap.check({record["error"] for record in records} <= fine, f"errors: {records}")
        tap.check(sum(record["bytes_up"] + record["bytes_down"] for record in records) >= (received if several else sent),
                  "bytes in the access log")


for _hops_n, _how in ((1, "one hop, TCP to TCP"), (2, "two proxies, TCP to AF_UNIX to TCP")):
    tap.case(f"{_how}: up")(lambda n=_hops_n: _iperf(n, 1))
    tap.case(f"{_how}: down")(lambda n=_hops_n: _iperf(n, 1, "-R", slow_control=False))
    # Down with several streams an iperf3 server sends some blocks more than asked, for which the client does not wait.
    tap.case(f"{_how}: four streams up, two threads")(lambda n=_hops_n: _iperf(n, 2, "-P", "4"))

tap.run()
