# SPDX-License-Identifier: ISC
"""What may come before a client's own bytes: PROXY headers and ClientHellos."""
import ipaddress
import ssl
import struct

from lib import net

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LOCAL, PROXY = 0x20, 0x21


def v1(client, destination):
    """A line; each address as (ip, port)."""
    family = "TCP6" if ":" in client[0] else "TCP4"
    return f"PROXY {family} {client[0]} {destination[0]} {client[1]} {destination[1]}\r\n".encode()


def v2_raw(command, family, body, size=None):
    """A binary header, whose length may be a lie."""
    return SIGNATURE + bytes((command, family)) + struct.pack(">H", len(body) if size is None else size) + body


def v2(client, destination, tlvs=b""):
    """A binary header; each address as (ip, port)."""
    addresses = [ipaddress.ip_address(address) for address, _ in (client, destination)]
    body = b"".join(address.packed for address in addresses) + struct.pack(">HH", client[1], destination[1])
    return v2_raw(PROXY, 0x11 if addresses[0].version == 4 else 0x21, body + tlvs)


def v2_unix(client=b"", destination=b"", ids=None):
    """A binary header of an AF_UNIX client, with paths and TLV 0xE0 where ids (uid, gid, pid) are given."""
    tlvs = b"" if ids is None else b"\xe0\0\x0c" + struct.pack(">III", *ids)
    return v2_raw(PROXY, 0x31, client.ljust(108, b"\0") + destination.ljust(108, b"\0") + tlvs)


def tlv(kind, value):
    return bytes((kind,)) + struct.pack(">H", len(value)) + value


def read_v1(sock):
    """The line that begins what a server gets."""
    line = b""
    while not line.endswith(b"\r\n"):
        piece = sock.recv(1)
        if not piece:
            break
        line += piece
    return line.decode()


def read_v2(sock):
    """The binary header that begins what a server gets: (length, command, family, client, destination).

    Addresses are (ip, port), or bytes without their padding; None for a LOCAL one.
    """
    head = net.read_exactly(sock, 16)
    if head[:12] != SIGNATURE:
        return head
    command, family, size = struct.unpack(">BBH", head[12:])
    body = net.read_exactly(sock, size)
    if family == 0x31:
        ends = body[:108].rstrip(b"\0"), body[108:216].rstrip(b"\0")
    elif family in (0x11, 0x21):
        width = 4 if family == 0x11 else 16
        ports = struct.unpack(">HH", body[2 * width:2 * width + 4])
        ends = tuple((str(ipaddress.ip_address(body[i * width:(i + 1) * width])), ports[i]) for i in (0, 1))
    else:
        ends = None, None
    return (16 + size, command, family, *ends)


def client_hello(name=None, alpn=(), records=0, most=None):
    """The ClientHello of a real TLS client, in records of so many bytes where that is asked for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if most:
        context.maximum_version = most
    out = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
    except ssl.SSLWantReadError:
        pass
    hello = out.read()
    return split(hello, records) if records else hello


def split(hello, size):
    """The message of one record in records of so many bytes."""
    message = hello[5:]
    return b"".join(b"\x16\x03\x01" + struct.pack(">H", len(message[at:at + size])) + message[at:at + size]
                    for at in range(0, len(message), size))


def hello_of(extensions, pad=0):
    """A ClientHello made by hand, with these extensions and one of padding where asked for."""
    if pad:
        extensions += b"\0\x15" + struct.pack(">H", pad) + bytes(pad)
    body = b"\x03\x03" + bytes(32) + b"\0" + b"\0\x02\x13\x01" + b"\x01\0" + struct.pack(">H", len(extensions)) + extensions
    message = b"\x01" + struct.pack(">I", len(body))[1:] + body
    return split(b"\x16\x03\x01\0\0" + message, 16000)


def server_name(name):
    """The extension that names a server, given in bytes."""
    return b"\0\0" + struct.pack(">HHBH", len(name) + 5, len(name) + 3, 0, len(name)) + name


def trickle(sock, data, size=1):
    """Sends so many bytes at a time."""
    for at in range(0, len(data), size):
        sock.sendall(data[at:at + size])
