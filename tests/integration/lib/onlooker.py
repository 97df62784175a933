# SPDX-License-Identifier: ISC
"""Somebody who looks on at a session by the admin API."""
import hashlib
import os
import socket
import struct
import threading

from lib import admin, net, proxy, tap

HEAD = 16


def request(ident, method="GET", version="HTTP/1.1", headers=("Connection: Upgrade", "Upgrade: spliced-tap")):
    """The text of a request for a tap."""
    return "\r\n".join((f"{method} /v1/sessions/{ident}/tap {version}", "Host: x", *headers, "", "")).encode()


def answer(path, text, uid=None):
    """Sends a request to the admin socket, as that user.  Returns the status, the answer's head, and the connection."""
    sock = socket.socket(socket.AF_UNIX)
    tap.cleanup(sock.close)
    sock.settimeout(net.TIMEOUT)
    # The kernel notes who connects.
    if uid:
        os.seteuid(uid)
    try:
        sock.connect(path)
    finally:
        if uid:
            os.seteuid(0)
    sock.sendall(text)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        piece = sock.recv(1)
        if not piece:
            return 0, head.decode(), sock
        head += piece
    return int(head.split()[1]), head.decode(), sock


class Side:
    """What is seen of one side: `at` counts bytes and losses, `gaps` are where bytes are missing, and how many."""

    def __init__(self):
        self.at, self.lost, self.gaps, self.pieces = 0, 0, [], []
        self.digest = hashlib.sha256()

    @property
    def bytes(self):
        return self.at - self.lost


class Onlooker:
    """Looks on at the only session of a proxy, or at that one.  It reads nothing before start()."""

    def __init__(self, running, ident=None, start=True, keep=False):
        self.ident = ident or admin.of(running).sessions()[0]["id"]
        status, head, self.sock = answer(running.admin_path, request(self.ident))
        tap.equal(status, 101, f"status of the answer to a tap ({head})")
        self.sides = {"c": Side(), "s": Side()}
        self.keep, self.ended, self.wrong = keep, threading.Event(), None
        self.over = False       # the session is, as it said
        self.cut = False        # the stream ended within a frame
        if start:
            self.start()

    def start(self):
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        try:
            while len(head := net.read_exactly(self.sock, HEAD)) == HEAD:
                kind, side, size, stamp = struct.unpack(">ccxxIQ", head)
                self._frame(kind.decode(), self.sides[side.decode()], size)
                tap.check(self.cut or stamp > 10**15, f"a time of {stamp} µs")
            self.cut = self.cut or bool(head)
        except (OSError, tap.Failed, struct.error, KeyError) as error:
            self.wrong = error
        self.ended.set()

    def _frame(self, kind, side, size):
        if kind == "b":
            piece = net.read_exactly(self.sock, size)
            self.cut = len(piece) < size
            side.digest.update(piece)
            if self.keep:
                side.pieces.append((side.at, piece))
            side.at += len(piece)
        elif kind == "l":
            side.gaps.append((side.at, size))
            side.at += size
            side.lost += size
        else:
            tap.equal((kind, size), ("e", 0), "a frame")
            self.over = True

    def wait(self, up, down):
        """Waits until it has seen so many bytes of each side, losses included."""
        proxy.wait_for(lambda: (self.sides["c"].at, self.sides["s"].at) == (up, down) or self.ended.is_set(),
                       lambda: f"{up} and {down} bytes, there are {self.sides['c'].at} and {self.sides['s'].at}")
        tap.equal((self.sides["c"].at, self.sides["s"].at), (up, down), "bytes of client and server that were seen")

    def wait_end(self, over):
        """Waits for the end of the stream, and whether it says that the session is over."""
        tap.check(self.ended.wait(net.TIMEOUT * proxy.slowness()), "the stream does not end")
        tap.equal((self.wrong, self.over), (None, over), "how the stream ended")
        tap.check(not (over and self.cut), "the last frame is complete")

    def close(self):
        """Goes, also while it reads."""
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
