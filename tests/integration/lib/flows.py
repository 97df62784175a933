# SPDX-License-Identifier: ISC
"""One-way flows through established sessions, whose readers can be stopped and resumed."""
import hashlib
import select
import time

from lib import data, net, tap


class _Flow:
    def __init__(self, sender, receiver, payload, chunk):
        self.sender, self.receiver = sender, receiver
        self.payload, self.chunk = payload, chunk
        self.sent = 0
        self.got = hashlib.sha256()
        self.got_size = 0
        self.over = False

    def write(self):
        """Sends what is taken.  Returns how much; shuts down after the last byte."""
        count = 0
        try:
            while self.sent < len(self.payload):
                moved = self.sender.send(self.payload[self.sent:self.sent + self.chunk])
                self.sent += moved
                count += moved
        except BlockingIOError:
            return count
        if self.sender.fileno() >= 0 and not self.finished:
            self.sender.shutdown(1)
            self.finished = True
        return count

    finished = False

    def read(self, buffer):
        try:
            while not self.over:
                count = self.receiver.recv_into(buffer)
                self.got.update(buffer[:count])
                self.got_size += count
                self.over = count == 0
        except BlockingIOError:
            pass


class Flows:
    """A set of flows, each of (sender, receiver, payload), sent in chunks."""

    def __init__(self, triples, chunk=262144):
        self.flows = [_Flow(*triple, chunk) for triple in triples]
        for flow in self.flows:
            flow.sender.setblocking(False)
            flow.receiver.setblocking(False)

    def fill(self, quiet=0.5, timeout=30.0):
        """Sends, with no reader reading, until nothing is taken for `quiet` seconds.  Returns the bytes taken."""
        last, until = time.monotonic(), time.monotonic() + timeout
        total = 0
        while time.monotonic() - last < quiet and time.monotonic() < until:
            moved = sum(flow.write() for flow in self.flows)
            total += moved
            if moved:
                last = time.monotonic()
            else:
                time.sleep(0.02)
        return total

    def finish(self, timeout=60.0):
        """Sends the rest and the FINs, reads all, compares."""
        until = time.monotonic() + timeout
        buffer = memoryview(bytearray(262144))
        with select.epoll() as poll:
            where = {}
            for flow in self.flows:
                where[flow.sender.fileno()] = where[flow.receiver.fileno()] = flow
                poll.register(flow.sender, select.EPOLLOUT | select.EPOLLET)
                poll.register(flow.receiver, select.EPOLLIN | select.EPOLLET)
            left = set(self.flows)
            while left:
                if time.monotonic() > until:
                    raise tap.Failed(f"{len(left)} flows did not end: " + ", ".join(
                        f"{flow.got_size} of {flow.sent} of {len(flow.payload)} bytes" for flow in list(left)[:5]))
                for number, _ in poll.poll(0.5):
                    flow = where[number]
                    try:
                        if number == flow.sender.fileno():
                            flow.write()
                        else:
                            flow.read(buffer)
                    except OSError as error:
                        raise tap.Failed(f"{net.error_name(error)} after {flow.got_size} bytes") from None
                    if flow.over:
                        left.discard(flow)
        for number, flow in enumerate(self.flows):
            tap.equal((flow.got_size, flow.got.hexdigest()), (len(flow.payload), data.sha256(flow.payload)),
                      f"size and checksum of flow {number}")
