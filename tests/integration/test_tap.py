#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Looking on at a session: what is seen is what passes, and the session does not notice."""
import os
import re
import signal
import socket
import subprocess

from lib import admin, ctl, data, net, onlooker, pairs, programs, proxy, tap

NOBODY = 65534
TAPS = 8                    # TAP_MAX
CHUNK = 256 * 1024          # what an onlooker's pipe surely takes at once
URGENT = 5000


def _pass(sender, receiver, payload):
    """Sends and expects the same at the other end."""
    sending = proxy.thread(lambda: sender.sendall(payload))
    got = net.read_exactly(receiver, len(payload))
    sending.result()
    tap.equal(data.describe(got), data.describe(payload), "what passed")


def _hidden(pair):
    """A session, and a first message in each direction that nobody looks on at."""
    client, server = pair.session()
    for sender, receiver in ((client, server), (server, client)):
        _pass(sender, receiver, b"unseen")
    return client, server


def _descriptors(pair, client, server):
    """Descriptors once everything that stays has been made: pipes for bulk, and what serves the admin API."""
    admin.of(pair.proxy).status()
    _pass(client, server, data.payload(2 << 20))
    _pass(server, client, data.payload(2 << 20))
    proxy.wait_for(lambda: pair.proxy.fd_kinds()["socket"] == 4, "two listeners and a session to be all")
    return pair.proxy.fd_kinds()


def _same_descriptors(pair, before):
    # One pipe more or less may be kept for later.
    def others():
        return {kind: n for kind, n in pair.proxy.fd_kinds().items() if kind != "pipe"}
    del before["pipe"]
    proxy.wait_for(lambda: others() == before and pair.proxy.pipes() <= 8,
                   lambda: f"descriptors to be {before} again, there are {pair.proxy.fd_kinds()}")


@pairs.each("both directions are copied, small messages and bulk, until the session ends")
def _copies(kinds):
    pair = pairs.Pair(kinds)
    client, server = _hidden(pair)
    seen = onlooker.Onlooker(pair.proxy)
    sent = {"c": b"", "s": b""}
    for number in range(20):
        for side, sender, receiver in (("c", client, server), ("s", server, client)):
            message = bytes(data.payload(1 + 397 * number, number))
            _pass(sender, receiver, message)
            sent[side] += message
    for number in range(data.scaled(12, 3)):
        for side, sender, receiver in (("c", client, server), ("s", server, client)):
            chunk = bytes(data.payload(CHUNK, number))
            _pass(sender, receiver, chunk)
            sent[side] += chunk
            seen.wait(len(sent["c"]), len(sent["s"]))
    pairs.finish(client)
    tap.equal(net.ending(server), None, "the client's FIN")
    _pass(server, client, b"half-closed")
    sent["s"] += b"half-closed"
    server.close()
    tap.equal(net.ending(client), None, "the server's FIN")
    seen.wait_end(True)
    for side, payload in sent.items():
        tap.equal((seen.sides[side].at, seen.sides[side].gaps), (len(payload), []), f"bytes and gaps of side {side}")
        tap.equal(seen.sides[side].digest.hexdigest(), data.sha256(payload), f"checksum of side {side}")


@tap.case("an urgent byte among others")
def _urgent():
    pair = pairs.Pair(("tcp", "tcp"))
    client, server = _hidden(pair)
    seen = onlooker.Onlooker(pair.proxy, keep=True)
    client.sendall(data.payload(URGENT, 1))
    client.send(b"!", socket.MSG_OOB)
    client.sendall(data.payload(URGENT, 2))
    pairs.finish(client)
    got, error = net.read_all(server)
    tap.equal(error, None, "the end")
    server.close()
    seen.wait_end(True)
    copied = b"".join(piece for _, piece in seen.sides["c"].pieces)
    tap.equal(data.describe(copied), data.describe(got), "what was copied is what arrived")
    tap.equal(seen.sides["c"].lost, 0, "lost bytes")


@tap.case("one who begins late sees what the server has not taken yet")
def _parked():
    pair = pairs.Pair(("unix", "unix"))
    client, server = _hidden(pair)
    sent = net.send_until_stuck(client, data.payload(8 << 20, 3))
    seen = onlooker.Onlooker(pair.proxy, start=False)
    seen.keep = True
    seen.start()
    got = net.read_exactly(server, sent)
    tap.equal(data.describe(got), data.describe(data.payload(8 << 20, 3)[:sent]), "what the server got")
    client.close()
    server.close()
    seen.wait_end(True)
    side = seen.sides["c"]
    tap.check(0 < side.at < sent, f"{side.at} of {sent} bytes were not delivered yet")
    for at, piece in side.pieces:
        tap.equal(data.describe(piece), data.describe(got[sent - side.at + at:][:len(piece)]), f"what was copied at {at}")


@pairs.each("one who reads nothing slows nobody, loses copies, and knows which")
def _slow(kinds):
    size = data.scaled(48 << 20, 24 << 20)     # a pipe of 256 slots may hold some 8 MiB
    pair = pairs.Pair(kinds)
    client, server = _hidden(pair)
    stuck = onlooker.Onlooker(pair.proxy, start=False, keep=True)
    payload = data.payload(size, 1)
    # It has read nothing yet, so whatever passes did not wait for it.
    _pass(client, server, payload)
    _pass(server, client, b"answer")
    stuck.start()
    stuck.wait(size, 6)
    # From here on it reads, and sees all again.
    _pass(client, server, b"later")
    stuck.wait(size + 5, 6)
    client.close()
    server.close()
    stuck.wait_end(True)
    side = stuck.sides["c"]
    tap.check(side.lost > 0, f"{side.lost} bytes were lost")
    tap.equal(stuck.sides["s"].lost, 0, "lost of the other direction")
    tap.equal(side.pieces.pop()[1], b"later", "what came later")
    for at, piece in side.pieces:
        if piece != payload[at:at + len(piece)]:
            raise tap.Failed(f"the {len(piece)} bytes at {at} are others; gaps: {side.gaps}")
    tap.note(f"{side.lost} of {size} bytes lost in {len(side.gaps)} gaps")


@tap.case("refused: without the upgrade, for no session, one too many, by the address for reading")
def _refused():
    directory, http = tap.tmpdir(), f"127.0.0.1:{net.port()}"
    pair = pairs.Pair(("tcp", "unix"), top=f'admin {{ socket = "{directory}/a" http = "{http}" }}')
    pair.proxy.admin_path = f"{directory}/a"
    client, server = _hidden(pair)
    ident = admin.of(pair.proxy).sessions()[0]["id"]
    for wanted, text in ((400, onlooker.request(ident, headers=())),
                         (400, onlooker.request(ident, headers=("Connection: Upgrade", "Upgrade: websocket"))),
                         (400, onlooker.request(ident, headers=("Upgrade: spliced-tap",))),
                         (400, onlooker.request(ident, method="HEAD")),
                         (400, onlooker.request(ident, version="HTTP/1.0")),
                         (405, onlooker.request(ident, method="POST")),
                         (404, onlooker.request("99")), (404, onlooker.request("x")), (404, onlooker.request(""))):
        status, head, sock = onlooker.answer(pair.proxy.admin_path, text)
        tap.equal(status, wanted, f"status of the answer to {text} ({head})")
        sock.close()
    tap.equal(admin.Admin(http).ask("GET", f"/v1/sessions/{ident}/tap").status, 403, "by admin.http")
    text = ctl.refused(pair.proxy, "tap", "99")
    tap.check("no session 99" in text, f"what splicectl says: {text!r}")
    # All that may, at one session; and then one who has to wait until another goes.
    several = [onlooker.Onlooker(pair.proxy) for _ in range(TAPS)]
    _pass(client, server, b"x" * 1000)
    for one in several:
        one.wait(1000, 0)
    status, head, _ = onlooker.answer(pair.proxy.admin_path, onlooker.request(ident))
    tap.equal(status, 409, f"status for one too many ({head})")
    tap.check("as many as may" in ctl.refused(pair.proxy, "tap", ident), "what splicectl says of that")
    several[3].close()
    proxy.wait_for(lambda: onlooker.answer(pair.proxy.admin_path, onlooker.request(ident))[0] == 101, "its place")
    _pass(server, client, b"y" * 1000)
    several[0].wait(1000, 1000)
    pair.proxy.wait_log(rf"admin: uid {os.getuid()} \(PID {os.getpid()}\) looks on at session {ident}")


@tap.case("refused for another user, though the socket lets that one in; root and the daemon's user may")
def _users():
    if os.getuid() != 0:
        raise tap.Skip("this needs root, to become others")
    directory = tap.tmpdir()
    os.chown(directory, NOBODY, NOBODY)
    pair = pairs.Pair(("tcp", "tcp"), user=NOBODY, top=f'admin {{ socket = "{directory}/a" mode = "0666" }}')
    pair.proxy.admin_path = f"{directory}/a"
    _hidden(pair)
    text = onlooker.request(admin.of(pair.proxy).sessions()[0]["id"])
    for uid, wanted in ((NOBODY - 1, 403), (NOBODY, 101), (0, 101)):
        status, head, _ = onlooker.answer(pair.proxy.admin_path, text, uid)
        tap.equal(status, wanted, f"status for user {uid} ({head})")


@tap.case("those who come and go leave nothing behind")
def _goes():
    pair = pairs.Pair(("unix", "tcp"))
    client, server = _hidden(pair)
    before = _descriptors(pair, client, server)
    for number in range(3 * TAPS):
        one = onlooker.Onlooker(pair.proxy, start=number % 2)
        # Half of them with more on its way to them than they will ever take.
        _pass(client, server, data.payload(CHUNK if number % 2 else 2 << 20, number))
        one.close()
        _pass(server, client, b"and on")
    _same_descriptors(pair, before)
    pair.proxy.check_idle("after onlookers", 0.3)


@tap.case("the worker is killed, and a reload: the stream ends, the session goes on and can be looked at anew")
def _workers():
    pair = pairs.Pair(("tcp", "unix"))
    client, server = _hidden(pair)
    before = _descriptors(pair, client, server)
    pair.proxy.torn = True
    for number in range(4):
        one = onlooker.Onlooker(pair.proxy)
        _pass(client, server, data.payload(CHUNK, number))
        one.wait(CHUNK, 0)
        slow = onlooker.Onlooker(pair.proxy, start=False)
        _pass(server, client, data.payload(4 << 20, number))
        generation = admin.of(pair.proxy).status()["worker_generation"]
        if number % 2:
            pair.proxy.reload()
        else:
            os.kill(pair.proxy.wait_worker(), signal.SIGKILL)
        one.wait_end(False)
        slow.start()
        slow.ended.wait(net.TIMEOUT)
        tap.equal(slow.over, False, "that the session be over is nowhere said")
        admin.of(pair.proxy).wait_generation(generation + 1)
        _pass(client, server, data.payload(CHUNK, number))
        one.close()
        slow.close()
    _same_descriptors(pair, before)
    tap.equal([session["state"] for session in admin.of(pair.proxy).sessions()], ["relaying"], "the session")
    client.close()
    server.close()
    tap.equal(pair.proxy.wait_access(1)[0]["end"], "client-fin", "its end")


class _Splicectl:
    """splicectl tap, its output in a file."""

    def __init__(self, pair, *options):
        self.path = f"{tap.tmpdir()}/out"
        ident = admin.of(pair.proxy).sessions()[0]["id"]
        with open(self.path, "wb") as file:
            self.process = subprocess.Popen([ctl.PROGRAM, "-s", pair.proxy.admin_path, "tap", *options, ident], stdout=file,
                                            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        tap.cleanup(self.process.kill)
        pair.proxy.wait_log(rf"\(PID {self.process.pid}\) looks on at session {ident}")

    def end(self, status=0):
        """Waits for its end.  Returns what it wrote to standard error."""
        said = self.process.communicate(timeout=30 * proxy.slowness())[1]
        tap.equal(self.process.returncode, status, f"exit status ({said})")
        return said


def _pcapng(kinds):
    pair = pairs.Pair(kinds)
    client, server = _hidden(pair)
    one = _Splicectl(pair, "--pcapng")
    up, down = bytes(data.payload(100000, 1)), bytes(data.payload(3000, 2))
    _pass(client, server, up)
    _pass(server, client, down)
    client.close()
    server.close()
    tap.equal(one.end(), "", "what it says")
    text = programs.run("tshark", "-n", "-r", one.path, "-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE", "-T",
                        "fields", "-e", "ip.src", "-e", "tcp.srcport", "-e", "tcp.dstport", "-e", "tcp.checksum.status", "-e",
                        "ip.checksum.status", "-e", "tcp.analysis.lost_segment", "-e", "tcp.stream", "-e", "tcp.payload")
    rows = [line.split("\t") for line in text.splitlines()]
    back = pair.back.rpartition(":")[2] if kinds[1] == "tcp" else "80"
    got = {"up": b"", "down": b""}
    for row in rows:
        tap.equal(row[3:7], ["1", "1", "", "0"], f"checksums are good, nothing is missing, one stream: {row[:7]}")
        tap.check(back in row[1:3], f"the server's port {back}: {row[:7]}")
        got["up" if row[2] == back else "down"] += bytes.fromhex(row[7].replace(":", ""))
    tap.equal(data.describe(got["up"]), data.describe(up), "bytes from the client")
    tap.equal(data.describe(got["down"]), data.describe(down), "bytes from the server")


for _kinds in (("tcp", "tcp"), ("unix", "unix")):
    tap.case(f"{_kinds[0]} to {_kinds[1]}: splicectl tap --pcapng: tshark finds a TCP stream with these bytes")(
        lambda kinds=_kinds: _pcapng(kinds))


@tap.case("splicectl tap: bytes as hexadecimal and text, a gap in a capture file, and how it ends")
def _splicectl():
    pair = pairs.Pair(("tcp", "tcp"))
    client, server = _hidden(pair)
    text = _Splicectl(pair)
    _pass(client, server, b"GET / HTTP/1.0\r\n\r\n\xff\0")
    _pass(server, client, b"HTTP/1.0 200 fine\r\n")
    client.close()
    server.close()
    tap.equal(text.end(), "", "what is said at the end")
    with open(text.path, encoding="ascii") as file:
        shown = file.read()
    for line in (r"^> \d\d:\d\d:\d\d\.\d{6}  client to server, 20 bytes$",
                 r"^> 00000000  47 45 54 20 2f 20 48 54  54 50 2f 31 2e 30 0d 0a  GET / HTTP/1\.0\.\.$",
                 r"^> 00000010  0d 0a ff 00 +\.\.\.\.$", r"^< \d\d:\d\d:\d\d\.\d{6}  server to client, 19 bytes$",
                 r"^< 00000000  48 54 54 50 .* HTTP/1\.0 200 fin$"):
        tap.check(re.search(line, shown, re.M), f"/{line}/ in\n{shown}")
    client, server = _hidden(pair)
    capture = _Splicectl(pair, "--pcapng")
    os.kill(capture.process.pid, signal.SIGSTOP)
    _pass(client, server, data.payload(24 << 20, 1))
    os.kill(capture.process.pid, signal.SIGCONT)

    def caught_up():
        _pass(client, server, b"a marker")
        with open(capture.path, "rb") as file:
            return b"a marker" in file.read()[-1000:]
    proxy.wait_for(caught_up, "copies after the gap")
    client.close()
    server.close()
    tap.check("bytes from the client were not copied" in capture.end(), "that bytes are missing is said")
    gaps = programs.run("tshark", "-n", "-r", capture.path, "-Y", "tcp.analysis.lost_segment")
    tap.check(gaps, "tshark sees the gap")
    # The worker goes: not the end of the session.
    client, server = _hidden(pair)
    text = _Splicectl(pair)
    pair.proxy.torn = True
    os.kill(pair.proxy.wait_worker(), signal.SIGKILL)
    tap.check("session goes on" in text.end(1), "how that is said")
    _pass(client, server, b"on")


if __name__ == "__main__":
    tap.run()
