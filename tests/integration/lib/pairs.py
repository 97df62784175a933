# SPDX-License-Identifier: ISC
"""One frontend, one backend, one server: the four pairs of TCP and AF_UNIX."""
import socket

from lib import net, peers, proxy, tap

PAIRS = [("tcp", "tcp"), ("tcp", "unix"), ("unix", "tcp"), ("unix", "unix")]


class Pair:
    """A proxy from `front` to `back`, and the listener of its one server.

    `buffers` go to the server's listening socket.
    """

    def __init__(self, kinds, *, frontend="", backend="", server="", buffers=None, backlog=1024, **options):
        self.kinds = kinds
        directory = tap.tmpdir()
        self.front = net.address_of(kinds[0], directory, "front.sock")
        self.back = net.address_of(kinds[1], directory, "back.sock")
        self.servers = peers.Accepted(self.back, backlog, **(buffers or {}))
        config = proxy.frontend("f", self.front, "b", frontend) + proxy.backend(
            "b", proxy.server("s1", self.back, server), backend)
        self.proxy = proxy.Proxy(config, directory=directory, **options)

    def session(self, **options):
        """A client and the server's end of its session."""
        client = peers.client(self.front, **options)
        server = self.servers.take()
        return client, server

    def relaying(self):
        """As session(), and the proxy has relayed: it knows that both its ends are connected."""
        client, server = self.session()
        for sender, receiver in ((client, server), (server, client)):
            sender.sendall(b"hello")
            tap.equal(net.read_exactly(receiver, 5), b"hello", "the first bytes")
        return client, server

    def is_tcp(self, side):
        return self.kinds[side] == "tcp"

    def __str__(self):
        return "→".join(self.kinds)


def each(name, limit=60):
    """A case for each of the four pairs; the function gets the pair's kinds."""
    def add(function):
        for kinds in PAIRS:
            tap.case(f"{kinds[0]} to {kinds[1]}: {name}", limit)(lambda kinds=kinds: function(kinds))
        return function
    return add


def finish(sock):
    """Sends the FIN."""
    sock.shutdown(socket.SHUT_WR)
