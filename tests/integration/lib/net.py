# SPDX-License-Identifier: ISC
"""Sockets by the addresses of the config language, and a network of the test's own."""
import array
import ctypes
import errno
import fcntl
import os
import socket
import struct
import termios
import time

TIMEOUT = 15.0          # for every blocking call on a socket that these helpers make
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_SO_ATTACH_FILTER = 26
_SO_DETACH_FILTER = 27
_next_port = 0          # 0: no network of our own, ask the kernel for free ports


def _loopback_up():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sh14s", b"lo", 0, b"")
        flags = struct.unpack("16sh14s", fcntl.ioctl(sock, 0x8913, request))[1]     # SIOCGIFFLAGS
        fcntl.ioctl(sock, 0x8914, struct.pack("16sh14s", b"lo", flags | 1, b""))    # SIOCSIFFLAGS, IFF_UP


def isolate():
    """Moves this process into a network namespace of its own where that is allowed; else ports are the host's."""
    global _next_port
    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = os.getuid(), os.getgid()
    if uid == 0:
        if libc.unshare(_CLONE_NEWNET):
            return
    else:
        if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET):
            return
        try:
            for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
                with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                    file.write(text)
        except OSError:
            pass
    _loopback_up()
    _next_port = 10000


def isolated():
    """Whether the network is ours alone, so that its settings may be changed."""
    return _next_port != 0


def port():
    """A free TCP port."""
    global _next_port
    if _next_port:
        _next_port += 1
        return _next_port
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def have_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
        return True
    except OSError:
        return False


def parse(address):
    """Family and socket address of "10.0.0.1:80", "[::1]:80", "unix:/path", "unix:@name"."""
    if address.startswith("unix:"):
        name = address[5:]
        return socket.AF_UNIX, "\0" + name[1:] if name.startswith("@") else name
    host, _, number = address.rpartition(":")
    if host.startswith("["):
        return socket.AF_INET6, (host[1:-1], int(number))
    return socket.AF_INET, (host or "127.0.0.1", int(number))


def address_of(kind, directory, name):
    """A fresh address: kind is "tcp" or "unix"."""
    return f"127.0.0.1:{port()}" if kind == "tcp" else f"unix:{directory}/{name}"


def connect(address, *, rcvbuf=0, sndbuf=0, timeout=TIMEOUT, bind=None):
    """A connected socket with a timeout."""
    family, where = parse(address)
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.settimeout(timeout)
    try:
        if rcvbuf:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        if sndbuf:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, sndbuf)
        if bind is not None:
            sock.bind(bind)
        if family == socket.AF_UNIX:
            _connect_unix(sock, where, timeout)
        else:
            sock.connect(where)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        sock.close()
        raise
    return sock


def _connect_unix(sock, where, timeout):
    """A UNIX socket with a timeout set is non-blocking for connect(), and a full backlog EAGAIN: wait for room."""
    until = time.monotonic() + timeout
    while True:
        try:
            sock.connect(where)
            return
        except BlockingIOError:
            if time.monotonic() > until:
                raise
            time.sleep(0.002)


def listen(address, backlog=1024, *, rcvbuf=0, sndbuf=0):
    """A listening socket with a timeout."""
    family, where = parse(address)
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.settimeout(TIMEOUT)
    if family != socket.AF_UNIX:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if rcvbuf:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
    if sndbuf:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, sndbuf)
    sock.bind(where)
    sock.listen(backlog)
    return sock


def listening(address):
    """Whether some socket listens on the address; looked up without connecting to it."""
    family, where = parse(address)
    if family == socket.AF_UNIX:
        return os.path.exists(where)    # the kernel's table has the name that it was bound by, before a rename
    for table in ("tcp", "tcp6"):
        try:
            with open(f"/proc/thread-self/net/{table}", encoding="ascii") as file:
                rows = [line.split() for line in file][1:]
        except FileNotFoundError:
            continue
        if any(row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == where[1] for row in rows):
            return True
    return False


def read_all(sock, pause=0.0):
    """Everything until EOF.  Returns (bytes, None) or (bytes, errno's name) where it ended otherwise."""
    got = bytearray()
    while True:
        try:
            piece = sock.recv(262144)
        except OSError as error:
            return bytes(got), error_name(error)
        if not piece:
            return bytes(got), None
        got += piece
        if pause:
            time.sleep(pause)


def read_exactly(sock, size):
    """`size` bytes, or fewer where the peer ended before."""
    got = bytearray()
    while len(got) < size:
        piece = sock.recv(min(262144, size - len(got)))
        if not piece:
            break
        got += piece
    return bytes(got)


def error_name(error):
    if isinstance(error, (socket.timeout, TimeoutError)) and error.errno is None:
        return "timed out"
    return errno.errorcode.get(error.errno, str(error))


def ending(sock):
    """How the connection ends, data thrown away: None for a FIN, or the name of the errno."""
    return read_all(sock)[1]


def fate(address, request=b""):
    """What becomes of a client that connects, sends a request and waits: None for a FIN, or the errno's name.

    A reset may come so early that connect() or send() is what reports it.
    """
    try:
        with connect(address) as sock:
            if request:
                sock.sendall(request)
            return ending(sock)
    except (ConnectionResetError, BrokenPipeError):
        return "ECONNRESET"


def reset(sock):
    """Closes with a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def unsent(sock):
    """Bytes that the peer's kernel has not acknowledged (TCP) or not taken (AF_UNIX)."""
    number = array.array("i", [0])
    fcntl.ioctl(sock, termios.TIOCOUTQ, number)
    return number[0]


def wait_sent(sock, timeout=TIMEOUT):
    """Waits until everything sent has been acknowledged."""
    until = time.monotonic() + timeout
    while unsent(sock):
        if time.monotonic() > until:
            raise TimeoutError("bytes were never acknowledged")
        time.sleep(0.005)


def send_until_stuck(sock, data, quiet=0.4, timeout=TIMEOUT):
    """Sends until the peer takes nothing for `quiet` seconds.  Returns how much of data was taken."""
    sock.setblocking(False)
    sent = 0
    until = time.monotonic() + timeout
    last = time.monotonic()
    while sent < len(data) and time.monotonic() < until and time.monotonic() - last < quiet:
        try:
            sent += sock.send(data[sent:sent + 65536])
            last = time.monotonic()
        except BlockingIOError:
            time.sleep(0.01)
    sock.settimeout(TIMEOUT)
    return sent


def vanish(sock):
    """Makes the kernel drop all that arrives for this TCP socket: its peer sees a host that is gone."""
    code = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))     # BPF: return 0 bytes
    program = struct.pack("HL", 1, ctypes.addressof(code))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def appear(sock):
    """Undoes vanish()."""
    sock.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
