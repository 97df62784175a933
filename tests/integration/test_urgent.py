#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""One urgent byte among others: no other byte is lost, none is doubled, and nothing spins."""
import socket
import time

from lib import data, net, pairs, proxy, tap


def _check(got, first, last):
    """The urgent byte itself may be passed on in line or dropped."""
    got, first, last = bytes(got), bytes(first), bytes(last)
    tap.check(got in (first + last, first + b"!" + last),
              f"{len(got)} bytes came of {len(first)} + urgent + {len(last)}; "
              f"the first part is {'right' if got.startswith(first) else 'wrong'}, "
              f"the last {'right' if got.endswith(last) else 'wrong'}")


def _bulk(pair, sender, receiver):
    first, last = data.payload(512 * 1024, 1), data.payload(512 * 1024, 2)

    def send():
        sender.sendall(first)
        sender.send(b"!", socket.MSG_OOB)
        sender.sendall(last)
        pairs.finish(sender)

    sending = proxy.thread(send)
    got, error = net.read_all(receiver)
    sending.result()
    tap.equal(error, None, "the end")
    _check(got, first, last)
    receiver.sendall(b"and back")
    tap.equal(net.read_exactly(sender, 8), b"and back", "the other direction, afterwards")
    pair.proxy.check_idle("half-closed after an urgent byte", 0.5)
    receiver.close()
    tap.equal(net.ending(sender), None, "the other end")


def _messages(pair, sender, receiver):
    sent = b""
    for number in range(20):
        message = b"message %d." % number
        sender.sendall(message)
        sent += message
    receiver_got = net.read_exactly(receiver, len(sent))
    tap.equal(receiver_got, sent, "before the urgent byte")
    sender.send(b"!", socket.MSG_OOB)
    time.sleep(0.1)     # the urgent byte alone in the proxy: nothing else wakes it
    pair.proxy.check_idle("an urgent byte and no other", 0.5)
    first, last = b"", b""
    for number in range(20):
        message = b"later %d." % number
        sender.sendall(message)
        last += message
    pairs.finish(sender)
    got, error = net.read_all(receiver)
    tap.equal(error, None, "the end")
    _check(got, first, last)
    pair.proxy.check_idle("half-closed after an urgent byte", 0.5)


def _last(pair, sender, receiver):
    """Data and the FIN right behind the urgent byte: splice() says 0 here with bytes unread."""
    first, last = data.payload(30000, 3), data.payload(1000, 4)
    pair.proxy.freeze()
    sender.sendall(first)
    sender.send(b"!", socket.MSG_OOB)
    sender.sendall(last)
    pairs.finish(sender)
    net.wait_sent(sender)
    pair.proxy.thaw()
    got, error = net.read_all(receiver)
    tap.equal(error, None, "the end")
    _check(got, first, last)
    pair.proxy.check_idle("half-closed after an urgent byte", 0.5)


def _at_the_end(pair, sender, receiver):
    first = data.payload(100000, 5)
    sender.sendall(first)
    sender.send(b"!", socket.MSG_OOB)
    pairs.finish(sender)
    got, error = net.read_all(receiver)
    tap.equal(error, None, "the end")
    _check(got, first, b"")
    pair.proxy.check_idle("half-closed after an urgent byte", 0.5)


def _up(kinds, how):
    pair = pairs.Pair(kinds)
    client, server = pair.session()
    how(pair, client, server)


def _down(kinds, how):
    pair = pairs.Pair(kinds)
    client, server = pair.session()
    how(pair, server, client)


for _name, _how in (("in the middle of 1 MiB", _bulk), ("between small messages", _messages),
                    ("just before the last bytes", _last), ("as the last byte", _at_the_end)):
    for _kinds in (("tcp", "tcp"), ("tcp", "unix")):
        tap.case(f"{_kinds[0]} to {_kinds[1]}: an urgent byte from the client {_name}")(
            lambda k=_kinds, h=_how: _up(k, h))
    for _kinds in (("tcp", "tcp"), ("unix", "tcp")):
        tap.case(f"{_kinds[0]} to {_kinds[1]}: an urgent byte from the server {_name}")(
            lambda k=_kinds, h=_how: _down(k, h))


@tap.case("urgent bytes over and over in a stream with a slow reader")
def _over_and_over():
    pair = pairs.Pair(("tcp", "tcp"), top="socket { sndbuf = 64K rcvbuf = 64K }\n", buffers={"rcvbuf": 65536})
    client, server = pair.session()
    parts = [data.payload(20000, number) for number in range(40)]

    def send():
        for part in parts:
            client.sendall(part)
            client.send(b"!", socket.MSG_OOB)
        pairs.finish(client)

    sending = proxy.thread(send)
    got, error = net.read_all(server, 0.002)
    sending.result()
    tap.equal(error, None, "the end")
    # A later urgent mark makes an earlier urgent byte an ordinary one, so each may be there or not.
    at = 0
    for number, part in enumerate(parts):
        tap.check(got[at:at + len(part)] == bytes(part), f"part {number} is not at byte {at}")
        at += len(part)
        at += got[at:at + 1] == b"!" and (number == len(parts) - 1 or got[at:at + 9] != bytes(parts[number + 1][:9]))
    tap.equal(len(got), at, "bytes in all")


@tap.case("an urgent byte by an AF_UNIX peer loses no other byte", 30)
def _unix_oob():
    pair = pairs.Pair(("unix", "unix"))
    client, server = pair.session()
    first, last = data.payload(100000, 6), data.payload(100000, 7)

    def send():
        client.sendall(first)
        try:
            client.send(b"!", socket.MSG_OOB)
        except OSError:
            pass            # kernels before 5.15, or without AF_UNIX_OOB
        client.sendall(last)
        pairs.finish(client)

    sending = proxy.thread(send)
    got, error = net.read_all(server)
    sending.result()
    tap.equal(error, None, "the end")
    _check(got, first, last)
    pair.proxy.check_idle("half-closed after an urgent byte", 0.5)


tap.run()
