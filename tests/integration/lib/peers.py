# SPDX-License-Identifier: ISC
"""Servers behind the proxy, and loads in front of it."""
import hashlib
import os
import pickle
import select
import signal
import socket
import struct
import threading
import time
import traceback

from lib import data, net, tap


class Server:
    """Accepts on an address and serves each connection in a thread of its own with handler(sock)."""

    def __init__(self, address, handler, backlog=1024, **buffers):
        self.address = address
        self.handler = handler
        self.count = 0
        self.open = []
        self.errors = []
        self.lock = threading.Lock()
        self.listener = net.listen(address, backlog, **buffers)
        self.closing = False
        threading.Thread(target=self._accept, daemon=True).start()
        tap.cleanup(self.close)

    def _accept(self):
        while not self.closing:
            try:
                sock, _ = self.listener.accept()
            except (TimeoutError, ConnectionAbortedError):
                continue        # ECONNABORTED: reset before it was accepted
            except OSError:
                return
            sock.settimeout(net.TIMEOUT)
            with self.lock:
                self.count += 1
                self.open.append(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        try:
            self.handler(sock)
        except OSError as error:
            self.errors.append(net.error_name(error))
        with self.lock:
            if sock in self.open:
                self.open.remove(sock)
        try:
            sock.close()
        except OSError:
            pass

    def close(self):
        self.closing = True
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        with self.lock:
            sockets, self.open = self.open, []
        for sock in sockets:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def echo(sock):
    """Sends back what comes, then its FIN.  However long its client is silent: it is the proxy that may have timeouts."""
    sock.settimeout(None)
    while piece := sock.recv(65536):
        sock.sendall(piece)


def say(name):
    """A handler that sends its name at once and then echoes."""
    def handler(sock):
        sock.sendall(name.encode())
        echo(sock)
    return handler


def hold(sock):
    """Says nothing and takes nothing but the end."""
    sock.settimeout(None)
    while sock.recv(65536):
        pass


class Accepted:
    """A listener whose connections the case takes one by one."""

    def __init__(self, address, backlog=1024, **buffers):
        self.address = address
        self.listener = net.listen(address, backlog, **buffers)
        tap.cleanup(self.listener.close)

    def take(self, timeout=10.0):
        self.listener.settimeout(timeout)
        sock, _ = self.listener.accept()
        sock.settimeout(net.TIMEOUT)
        tap.cleanup(sock.close)
        return sock


def client(address, **options):
    """A connection that is closed when the case is over."""
    sock = net.connect(address, **options)
    tap.cleanup(sock.close)
    return sock


def refused(address, timeout=0.5):
    """Whether nobody accepts on the address."""
    try:
        net.connect(address, timeout=timeout).close()
        return False
    except (ConnectionRefusedError, FileNotFoundError):
        return True


class _End:
    """One end of a session in exchange(): sends its pieces and a FIN, sums up what comes in."""

    def __init__(self, sock, number):
        self.sock = sock
        self.number = number
        self.pieces = []
        self.sent = hashlib.sha256()
        self.got = hashlib.sha256()
        self.got_size = 0
        self.head = b""
        self.finished = False
        self.eof = False
        self.mask = None

    def feed(self, number, size):
        """Queues the number and a payload of its own."""
        header = struct.pack("!Q", number)
        body = data.payload(size, number)
        self.pieces = [memoryview(header), body]
        self.sent.update(header)
        self.sent.update(body)

    def write(self):
        while self.pieces:
            count = self.sock.send(self.pieces[0][:262144])
            self.pieces[0] = self.pieces[0][count:]
            if not self.pieces[0]:
                self.pieces.pop(0)
        if self.number is not None and not self.finished:
            self.sock.shutdown(socket.SHUT_WR)
            self.finished = True

    def read(self, buffer):
        count = self.sock.recv_into(buffer)
        self.got.update(buffer[:count])
        self.got_size += count
        if len(self.head) < 8:
            self.head += bytes(buffer[:8 - len(self.head)][:count])
        self.eof = count == 0


def exchange(address, accepted, sessions, size, timeout=60.0):
    """Opens sessions through the proxy, all at once, and sends `size` random bytes each way on each.

    Both ends live in this thread.  A client names its session in its first 8 bytes; the server answers with bytes of that session.
    Raises where a checksum differs, a byte is missing, or time runs out.
    """
    poll = select.epoll()
    ends, clients, servers = {}, {}, {}
    listener = accepted.listener
    listener.setblocking(False)
    poll.register(listener, select.EPOLLIN)
    buffer = memoryview(bytearray(262144))

    def add(end, mask):
        end.sock.setblocking(False)
        end.mask = mask
        ends[end.sock.fileno()] = end
        poll.register(end.sock, mask)

    def step(end, events):
        try:
            if events & select.EPOLLOUT:
                end.write()
        except BlockingIOError:
            pass
        try:
            if events & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR) and not end.eof:
                end.read(buffer)
        except BlockingIOError:
            pass
        if end.number is None and len(end.head) == 8:
            end.number = struct.unpack("!Q", end.head)[0]
            servers[end.number] = end
            end.feed(end.number + 1000000, size)
        if end.eof and end.finished:
            poll.unregister(end.sock)
            return True
        mask = (0 if end.eof else select.EPOLLIN) | (0 if end.finished or end.number is None else select.EPOLLOUT)
        if mask != end.mask:
            end.mask = mask
            poll.modify(end.sock, mask)
        return False

    try:
        for number in range(sessions):
            end = _End(net.connect(address), number)
            end.feed(number, size)
            clients[number] = end
            add(end, select.EPOLLIN | select.EPOLLOUT)
        left = 2 * sessions
        until = time.monotonic() + timeout
        while left:
            if time.monotonic() > until:
                raise tap.Failed(_progress(clients, servers, size))
            for number, events in poll.poll(0.5):
                if number == listener.fileno():
                    try:
                        while True:
                            add(_End(listener.accept()[0], None), select.EPOLLIN)
                    except BlockingIOError:
                        continue
                try:
                    left -= step(ends[number], events)
                except OSError as error:
                    which = "client" if ends[number] in clients.values() else "server"
                    raise tap.Failed(f"{which} {ends[number].number}: {net.error_name(error)} "
                                     f"after {ends[number].got_size} bytes") from None
        for number, end in clients.items():
            other = servers[number]
            for what, sent, got in (("up", end, other), ("down", other, end)):
                tap.equal(got.got_size, size + 8, f"bytes {what} in session {number}")
                tap.equal(got.got.hexdigest(), sent.sent.hexdigest(), f"checksum {what} of session {number}")
    finally:
        poll.close()
        for end in ends.values():
            end.sock.close()


def _progress(clients, servers, size):
    done = [f"{n}: up {servers[n].got_size if n in servers else 'none'} down {c.got_size}" for n, c in clients.items()
            if not c.eof or n not in servers or not servers[n].eof]
    return f"time is up, of {size + 8} bytes each way: " + ", ".join(done[:8])


class Process:
    """A function in a process of its own, so that its work does not share this interpreter."""

    def __init__(self, function, *args):
        reader, writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            status = 0
            try:
                os.close(reader)
                value = function(*args)
                with os.fdopen(writer, "wb") as file:
                    pickle.dump(value, file)
            except BaseException:  # pylint: disable=broad-except
                traceback.print_exc()
                status = 1
            os._exit(status)
        os.close(writer)
        self.reader = os.fdopen(reader, "rb")
        tap.cleanup(self.kill)

    def result(self, timeout=60.0):
        """What the function returned."""
        poll = select.poll()                    # select() knows descriptors up to 1023
        poll.register(self.reader)
        if not poll.poll(timeout * 1000):
            raise tap.Failed("a helper process did not end")
        try:
            value = pickle.load(self.reader)
        except EOFError:
            raise tap.Failed("a helper process failed") from None
        self.kill()
        return value

    def kill(self):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0
            self.reader.close()
