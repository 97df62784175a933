# SPDX-License-Identifier: ISC
"""A crowd of sessions, every byte of which is compared, for what a proxy must survive.

Streams both ways, idle sessions, half-closed ones, and connectors that make a new connection at
fixed times, whatever became of the last (open loop).  Its servers and its connectors are
processes of their own; what goes wrong is collected and not raised: a case says how much may be.
"""
import hashlib
import os
import select
import socket
import threading
import time

from lib import net, peers, proxy, tap

POOL = (1 << 20) - 3            # odd, so that what is lost or doubled shows as other bytes
PATIENCE = 20.0                 # for one exchange
FINE = ("client-fin", "server-fin")


class _Order:
    """A word from the case to its processes: a pipe, in which one byte lies from then on."""

    def __init__(self):
        self.reader, self.writer = os.pipe()
        for fd in (self.reader, self.writer):
            tap.cleanup(os.close, fd)

    def give(self):
        os.write(self.writer, b"x")

    def given(self, timeout=0.0):
        return bool(select.select([self.reader], [], [], timeout)[0])


def _serve(addresses, release, over):
    """The servers: the first byte of a connection says what is wanted.  Returns what sessions whose server had ended sent."""
    taken, listening = {}, []

    def handler(sock):
        sock.settimeout(None)
        wanted = sock.recv(1)
        if wanted == b"E":
            peers.echo(sock)
        elif wanted == b"H":            # the client ends first: we go on until told, then say what we got
            got = hashlib.sha256(net.read_all(sock)[0]).digest()
            while not release.given(0.02):
                sock.sendall(b".")
            sock.sendall(got)
        elif wanted == b"F":            # we end first, and listen on
            name = net.read_exactly(sock, 8)
            listening.append(name)
            sock.shutdown(socket.SHUT_WR)
            got, error = net.read_all(sock)
            taken[name] = (hashlib.sha256(got).digest(), error)

    for address in addresses:
        peers.Server(address, handler)
    over.given(600)
    until = time.monotonic() + PATIENCE
    while len(taken) < len(listening) and time.monotonic() < until:
        time.sleep(0.01)
    return taken


def _connect(address, rate, over):
    """One connector: as many connections a second, each with an exchange.  Returns (how many, what failed)."""
    failed, threads, count = [], [], 0

    def exchange(number):
        message = b"E" + os.urandom(200) + b"%d" % number
        stage = "connect"
        try:
            with net.connect(address, timeout=PATIENCE * proxy.slowness()) as sock:
                stage = "exchange"
                sock.sendall(message)
                sock.shutdown(socket.SHUT_WR)
                got, error = net.read_all(sock)
            if got != message[1:] or error:
                wrong = not message[1:].startswith(got)
                failed.append((stage, "wrong bytes" if wrong else error or f"end after {len(got)} of {len(message) - 1} bytes"))
        except OSError as error:
            failed.append((stage, net.error_name(error)))

    next_time = time.monotonic()
    while not over.given(max(0.0, next_time - time.monotonic())):
        next_time = max(next_time + 1.0 / rate, time.monotonic() - 0.2)
        threads = [thread for thread in threads if thread.is_alive()]
        if len(threads) < 200:
            threads.append(threading.Thread(target=exchange, args=(count,), daemon=True))
            threads[-1].start()
            count += 1
    for thread in threads:
        thread.join(PATIENCE * proxy.slowness())
    return count, failed


class Crowd:
    """Starts a proxy of its own: two listeners, TCP and AF_UNIX, in front of two servers, TCP and AF_UNIX."""

    def __init__(self, *, threads=1, streams=8, idle=200, half=5, rate=100, top="", **options):
        self.directory = tap.tmpdir()
        self.fronts = [f"127.0.0.1:{net.port()}", f"unix:{self.directory}/front"]
        self.backs = [f"unix:{self.directory}/back", f"127.0.0.1:{net.port()}"]
        self.release, self.over, self.stop_connecting = _Order(), _Order(), _Order()
        self.servers = peers.Process(_serve, self.backs, self.release, self.over)
        for back in self.backs:
            proxy.wait_for(lambda back=back: net.listening(back), "the servers")
        if options.get("user") is not None:
            os.chown(self.directory, options["user"], options["user"])
            os.chmod(self.backs[0][5:], 0o777)
        self.config = self.make_config()
        # Half-closed sessions wait for the end of a load that may take long on a busy machine.
        if "timeouts" not in top:
            top += "timeouts { client-fin = 10m server-fin = 10m }\n"
        self.proxy = proxy.Proxy(self.config, threads=threads, top=top, **options)
        for front in self.fronts:
            self._warm(front)
        self.proxy.wait_access(2)
        self.fds = self.proxy.fds()
        self.connectors = [peers.Process(_connect, front, rate, self.stop_connecting) for front in self.fronts if rate]
        self.failed = []                # (what, how)
        self.counts = {"warm-up": 2}
        self.stopping = threading.Event()
        self.pool = os.urandom(POOL) * 2
        self.idle = [self._open("idle", number, b"E") for number in range(idle)]
        self.half = [self._half_close(number) for number in range(half)]
        self.streams = [proxy.thread(self._stream, number) for number in range(streams)]
        self.counts["streams"] = streams

    def make_config(self, extra="", servers=None):
        """The config, or one like it."""
        return proxy.frontend("f", self.fronts, "b") + proxy.backend("b", servers or "".join(
            proxy.server(f"s{number}", back) for number, back in enumerate(self.backs))) + extra

    def _warm(self, front):
        with net.connect(front) as sock:
            sock.sendall(b"Ehello")
            sock.shutdown(socket.SHUT_WR)
            tap.equal(net.read_all(sock), (b"hello", None), "the first exchange")

    def _fail(self, what, how):
        self.failed.append((what, how))

    def _open(self, what, number, wanted):
        """A session that has relayed; None where it was lost on the way."""
        self.counts[what] = self.counts.get(what, 0) + 1
        try:
            sock = net.connect(self.fronts[number % 2], timeout=PATIENCE * proxy.slowness())
            tap.cleanup(sock.close)
            name = b"%08d" % number
            sock.sendall(wanted + name)
            if wanted == b"E" and net.read_exactly(sock, 8) != name:
                self._fail(what, "lost at its start")
                return None
            return sock
        except OSError as error:
            self._fail(what, net.error_name(error))
            return None

    def _half_close(self, number):
        if number % 5 < 3:
            sock = self._open("half-closed", number, b"H")
            if sock:
                sock.shutdown(socket.SHUT_WR)
            return b"H", number, sock
        sock = self._open("half-closed", number, b"F")
        if sock and net.read_all(sock) != (b"", None):
            self._fail("half-closed", "no FIN from its server")
        return b"F", number, sock

    def _stream(self, number):
        position, start, buffer = 0, number * 99991, memoryview(bytearray(262144))
        sock = self._open("stream", number, b"E")
        if not sock:
            return 0

        def send():
            sent = 0
            try:
                while not self.stopping.is_set():
                    at = (start + sent) % POOL
                    sent += sock.send(memoryview(self.pool)[at:at + 131072])
                sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass                # the reader tells
            return sent
        sending = proxy.thread(send)
        try:
            while count := sock.recv_into(buffer):
                at = (start + position) % POOL
                if bytes(buffer[:count]) != self.pool[at:at + count]:
                    self._fail("stream", f"wrong bytes within {count} from {position} on")
                    break
                position += count
        except OSError as error:
            self._fail("stream", f"{net.error_name(error)} after {position} bytes")
            return position
        finally:
            sock.close() if self.failed else None
        sent = sending.result()
        if position < sent:
            self._fail("stream", f"ended after {position} of {sent} bytes")
        return position

    def finish(self):
        """Ends all that still goes on in good order, and returns what failed."""
        self.stopping.set()
        moved = [stream.result(120) for stream in self.streams]
        self.stop_connecting.give()
        for connector in self.connectors:
            count, failed = connector.result(120 * proxy.slowness())
            self.counts["new"] = self.counts.get("new", 0) + count
            self.failed += [("new", how) for how in failed]
        for number, sock in enumerate(self.idle):
            if sock:
                self._finish_idle(number, sock)
        self._finish_half_closed()
        tap.note(f"{self.counts}, {sum(moved) >> 20} MiB in streams; failed: {self.failed[:20]}")
        return self.failed

    def _finish_idle(self, number, sock):
        message = b"bye %08d" % number
        try:
            sock.sendall(message)
            sock.shutdown(socket.SHUT_WR)
            got = net.read_all(sock)
            if got != (message, None):
                self._fail("idle", f"wrong bytes {got}" if got[0] else f"ended with {got[1]}")
        except OSError as error:
            self._fail("idle", net.error_name(error))
        sock.close()

    def _finish_half_closed(self):
        said = {}
        self.release.give()
        for kind, number, sock in self.half:
            if not sock:
                continue
            name = b"%08d" % number
            try:
                if kind == b"H":
                    got, error = net.read_all(sock)
                    if error or got.lstrip(b".") != hashlib.sha256(name).digest():
                        self._fail("half-closed", f"{len(got)} bytes and {error}")
                else:
                    sock.sendall(self.pool[:50000])
                    sock.shutdown(socket.SHUT_WR)
                    said[name] = (hashlib.sha256(self.pool[:50000]).digest(), None)
            except OSError as error:
                self._fail("half-closed", net.error_name(error))
            sock.close()
        # Their end in the log: what they sent has arrived then.
        self.proxy.wait_fds(self.fds, 20)
        self.over.give()
        taken = self.servers.result(60)
        for name, what in said.items():
            if taken.get(name) != what:
                self._fail("half-closed", f"a server got something else, {taken.get(name)}")

    def total(self):
        """How many sessions there were."""
        return sum(self.counts.get(what, 0) for what in ("warm-up", "new", "idle", "half-closed", "stream"))

    def check_no_loss(self):
        """After finish(): everything was right, and everything is logged as it was."""
        tap.equal(self.failed, [], "what failed")
        records = self.proxy.wait_access(self.total())
        tap.equal(len(records), self.total(), "records in the access log")
        odd = [record for record in records if record["end"] not in FINE or record["error"]]
        tap.equal(odd, [], "sessions that did not end by a FIN")
        self.check_clean()

    def check_clean(self):
        """One keeper, one worker, no descriptor too many; and no session is counted that is gone, for a drain ends at once."""
        running = self.proxy
        proxy.wait_for(lambda: len(proxy.children(running.pid)) == 1,
                       lambda: f"one worker alone: {proxy.children(running.pid)}")
        running.wait_fds(self.fds)
        running.check_idle("the crowd has left", 0.3)
        running.signal(15)
        start = time.monotonic()
        tap.equal(running.wait(), 0, "exit status")
        tap.check(time.monotonic() - start < 5 * proxy.slowness(), "a drain with no session ends at once")
