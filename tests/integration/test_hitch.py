#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The recipe contrib/recipes/hitch: hitch terminates TLS, and the server sees the TLS client's address."""
import os
import ssl

from lib import net, peers, preface, programs, proxy, tap

RECIPE = os.path.join(os.environ.get("top_srcdir", os.path.dirname(__file__) + "/../.."), "contrib/recipes/hitch")


def _read(name, changes):
    """A file of the recipe, with each of the changes made, which must apply once."""
    with open(f"{RECIPE}/{name}", encoding="utf-8") as file:
        text = file.read()
    for old, new in changes.items():
        tap.equal(text.count(old), 1, f"how often {name} has {old!r}")
        text = text.replace(old, new)
    return text


def _start(directory, front, back):
    """spliced and hitch as the recipe has them, but for paths and ports; unprivileged, without users."""
    root = os.getuid() == 0
    users = {} if root else {'user = "_hitch"\n': "", 'group = "_hitch"\n': ""}
    believed = {} if root else {"user:_hitch": f"uid:{os.getuid()}"}
    unix = f"{directory}/hitch.sock"
    running = proxy.Proxy(_read("spliced.conf", {"/run/spliced/hitch.sock": unix, "127.0.0.1:8080": back, **believed}),
                          directory=directory)
    programs.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                 "-subj", "/CN=test.example", "-keyout", f"{directory}/key.pem", "-out", f"{directory}/cert.pem")
    with open(f"{directory}/site.pem", "wb") as site:
        for name in ("key", "cert"):
            with open(f"{directory}/{name}.pem", "rb") as part:
                site.write(part.read())
    with open(f"{directory}/hitch.conf", "w", encoding="utf-8") as file:
        file.write(_read("hitch.conf", {'host = "*"': 'host = "127.0.0.1"', '"443"': f'"{front}"', "workers = 2": "workers = 1",
                                        "/etc/hitch/site.pem": f"{directory}/site.pem", "/run/spliced/hitch.sock": unix, **users}))
    process = programs.start("hitch", f"--config={directory}/hitch.conf")
    proxy.wait_for(lambda: net.listening(f"127.0.0.1:{front}") or process.poll() is not None, "hitch to listen")
    tap.equal(process.poll(), None, "hitch's exit status")
    return running


def _tls(address):
    """A TLS connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(peers.client(address), server_hostname="test.example")


@tap.case("the server sees the TLS client's address, and the log has it")
def _hitch():
    programs.need("hitch", "openssl")
    directory = tap.tmpdir()
    front, servers = net.port(), peers.Accepted(f"127.0.0.1:{net.port()}")
    running = _start(directory, front, servers.address)
    for number in range(3):
        client = _tls(f"127.0.0.1:{front}")
        tap.cleanup(client.close)
        client.sendall(b"request %d" % number)
        server = servers.take()
        here = client.getsockname()
        tap.equal(preface.read_v2(server), (28, preface.PROXY, 0x11, here, ("127.0.0.1", front)), "the header")
        tap.equal(net.read_exactly(server, 9), b"request %d" % number, "the request")
        server.sendall(b"answer")
        tap.equal(client.recv(6), b"answer", "the answer")
        client.close()
        tap.equal(net.read_all(server), (b"", None), "the end")
        server.close()
        record = running.wait_access(number + 1)[-1]
        tap.equal((record["client"], record["uid"]), ("%s:%d" % here, None), "the client in the log")
        tap.check(record["end"] in ("client-fin", "server-fin"), f"the end: {record['end']}")
    if os.getuid() == 0:
        net.fate(f"unix:{directory}/hitch.sock", preface.v2(("192.0.2.7", 4711), ("127.0.0.1", front)))
        tap.equal(running.wait_access(4)[-1]["end"], "denied", "the end of somebody else's header")


@tap.case("a megabyte each way, and a reload meanwhile")
def _bulk():
    programs.need("hitch", "openssl")
    directory = tap.tmpdir()
    front, servers = net.port(), peers.Accepted(f"127.0.0.1:{net.port()}")
    running = _start(directory, front, servers.address)
    client = _tls(f"127.0.0.1:{front}")
    tap.cleanup(client.close)
    data = os.urandom(1 << 20)
    client.sendall(data[:70000])
    server = servers.take()
    preface.read_v2(server)
    tap.equal(net.read_exactly(server, 70000), data[:70000], "the first bytes")
    running.reload()
    for sender, receiver in ((client, server), (server, client)):
        got = bytearray()
        for at in range(0, len(data), 65536):
            sender.sendall(data[at:at + 65536])
            got += net.read_exactly(receiver, len(data[at:at + 65536]))
        tap.check(bytes(got) == data, "the bytes arrive as they were sent")
    tap.equal(running.log_lines("bad one"), [], "complaints")


tap.run()
