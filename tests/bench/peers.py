# SPDX-License-Identifier: ISC
"""The other proxies, each as its own documentation advises for this kind of work, and one thread each.

A new peer is a subclass of Proxy with a configuration and a command, and a line in peers().
"""
import dataclasses
import os
import shutil
import socket
import subprocess

from proxies import PAIRS, SERVER_PORTS, Proxy, descriptors, said_version

CONNECTIONS = 12000  # more than any cell has at once, where the limit of descriptors allows it
BESIDE = 200  # connections of a load beside the idle ones, and some to come and go
BACKLOG = 4096


def connections():
    """How many each peer is to take, at two descriptors each."""
    return min(CONNECTIONS, int((descriptors() - 900) / 2.05))


def fitting(scale):
    """The scale with no more idle sessions than there may be descriptors for."""
    most = connections() - BESIDE
    return dataclasses.replace(scale, idle=min(scale.idle, most),
                               others=tuple(dict.fromkeys(min(others, most) for others in scale.others)))


def host_port(address):
    host, _, port = address.rpartition(":")
    return host, int(port)


class HAProxy(Proxy):
    """In TCP mode, with the timeouts that its manual asks for, without logs."""

    package = "haproxy"
    threaded = balances = single = True

    def __init__(self, name, title, options=(), tuning=()):
        super().__init__(name, title, shutil.which("haproxy") or "/usr/sbin/haproxy")
        self.options, self.tuning = options, tuning

    def version(self):
        return "HAProxy " + said_version([self.binary, "-v"], r"version (\S+)")

    def configuration(self):
        # maxconn sizes its backlogs, its descriptors and, through its default of a quarter, its pipes; where those do
        # not fit, fewer: only what flows just now needs some.
        fit = [] if 2.6 * connections() < descriptors() else ["  maxpipes 300"]
        lines = ["global", f"  nbthread {self.setup.threads}", f"  maxconn {connections()}", *fit,
                 *(f"  {line}" for line in self.tuning),
                 "defaults", "  mode tcp", "  balance roundrobin", "  timeout connect 5s", "  timeout client 1h",
                 "  timeout server 1h", *(f"  {line}" for line in self.options)]
        for route in self.routes:
            lines += [f"listen {route}", f"  bind {self.native(self.address(route))}"]
            lines += [f"  server s{i} {self.native(server)}" for i, server in enumerate(self.servers(route))]
        return "\n".join(lines) + "\n"

    @staticmethod
    def native(address):
        return address.replace("unix:", "unix@")

    def command(self, config):
        return [self.binary, "-db", "-f", str(config)]


class Nginx(Proxy):
    """nginx's stream module.  buffer is proxy_buffer_size: 16k is its default."""

    package = "libnginx-mod-stream"
    module = "/usr/lib/nginx/modules/ngx_stream_module.so"
    threaded = balances = single = True

    def __init__(self, name, title, buffer):
        super().__init__(name, title, shutil.which("nginx") or "/usr/sbin/nginx")
        self.buffer = buffer

    def present(self):
        return super().present() and os.path.exists(self.module)

    def version(self):
        return "nginx " + said_version([self.binary, "-v"], r"nginx/(\S+)")

    def configuration(self):
        lines = [f"load_module {self.module};", "daemon off;", "user root;",
                 f"master_process {'off' if self.setup.under else 'on'};", f"worker_processes {self.setup.threads};",
                 f"worker_rlimit_nofile {descriptors()};", f"pid {self.directory}/{self.name}.pid;",
                 f"error_log {self.directory}/{self.name}.err;",
                 f"events {{ worker_connections {2 * connections() + 200}; }}", "stream {", "  proxy_timeout 1h;",
                 f"  proxy_half_close on;  proxy_buffer_size {self.buffer};"]
        # With several workers its documentation advises a listening socket each, which AF_UNIX has not.
        several = " reuseport" if self.setup.threads > 1 else ""
        for route in self.routes:
            options = f" backlog={BACKLOG}" + (several if route.client == "tcp" else "")
            servers = "".join(f" server {server};" for server in self.servers(route))
            lines.append(f"  upstream {route} {{{servers} }}")
            lines.append(f"  server {{ listen {self.address(route)}{options}; proxy_pass {route}; }}")
        return "\n".join(lines + ["}"]) + "\n"

    def command(self, config):
        return [self.binary, "-c", str(config), "-p", str(self.directory)]


class ForEachRoute(Proxy):
    """A proxy with a process for each route."""

    def spawn(self, log):
        for route in self.routes:
            self.running[route] = self.run_route(route, log)

    def run_route(self, route, log):
        return self.run([*self.setup.under, *self.route_command(route)], log)

    def route_command(self, route):
        raise NotImplementedError


class SocketProxyd(ForEachRoute):
    """systemd's; the listening socket that it inherits is as a socket unit makes one."""

    package = "systemd"
    single = True
    descriptors_each = 8  # two sockets, two pipes, and what its resolver needs

    def __init__(self, name, title):
        super().__init__(name, title, "/lib/systemd/systemd-socket-proxyd")

    def version(self):
        return "systemd-socket-proxyd " + said_version([self.binary, "--version"], r"\((\S+)\)")

    def run_route(self, route, log):
        address = self.address(route)
        if route.client == "unix":
            listener = socket.socket(socket.AF_UNIX)
            target = address.removeprefix("unix:")
            (self.directory / target).unlink(missing_ok=True)
        else:
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            target = host_port(address)
        with listener:
            listener.bind(target)
            listener.listen(BACKLOG)
            server = self.servers(route)[0].removeprefix("unix:")
            # Its number of connections is 256 unless told.  The shell makes descriptor 3 of its standard input.
            return self.run(["/bin/sh", "-c", 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@" 3<&0 </dev/null', "sh",
                             *self.setup.under, self.binary, f"--connections-max={connections()}", server],
                            log, stdin=listener)


class Pen(ForEachRoute):
    """pen, without its table of clients (-r).

    Its servers are TCP alone, and when an AF_UNIX client hangs up it leaves unread what that has sent, and ends.
    """

    package = "pen"
    balances = single = True
    pairs = PAIRS[:1]

    def __init__(self, name, title):
        super().__init__(name, title, shutil.which("pen") or "/usr/bin/pen")

    def version(self):
        done = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", "pen"], capture_output=True, text=True,
                              check=False)
        return "pen " + (done.stdout or "of an unknown version")  # it does not tell its own

    def route_command(self, route):
        return [self.binary, "-f", "-r", "-x", str(connections()), "-q", str(BACKLOG), "-m", "64", "-O", "tcp_nodelay",
                "-O", "pending_max 1000", self.address(route), *self.servers(route)]


class Socat(ForEachRoute):
    """socat with a process for each connection, and a larger block than its default of 8 KiB."""

    package = "socat"

    def __init__(self, name, title):
        super().__init__(name, title, shutil.which("socat") or "/usr/bin/socat")

    def version(self):
        return "socat " + said_version([self.binary, "-V"], r"socat version (\S+)")

    def route_command(self, route):
        if route.client == "unix":
            listen = f"UNIX-LISTEN:{self.address(route).removeprefix('unix:')},unlink-early"
        else:
            listen = f"TCP-LISTEN:{host_port(self.address(route))[1]},bind=127.0.0.1,reuseaddr,nodelay"
        if route.server == "unix":
            server = f"UNIX-CONNECT:{self.servers(route)[0].removeprefix('unix:')}"
        else:
            host, _ = host_port(self.servers(route)[0])
            server = f"TCP:{host}:{SERVER_PORTS[route.service]},nodelay"
        return [self.binary, "-b", "65536", f"{listen},fork,backlog={BACKLOG}", server]


def peers():
    """All of them, in the order of columns.

    HAProxy's splice-auto guesses which streams are worth it, and with these loads seldom does: it costs about
    three times what splicing always costs, so that is what counts as its best.
    """
    always = ["option splice-request", "option splice-response"]
    return [
        HAProxy("haproxy-splice", "HAProxy splice", always),
        HAProxy("haproxy", "HAProxy"),
        HAProxy("haproxy-auto", "HAProxy splice-auto", ["option splice-auto"]),
        HAProxy("haproxy-bigpipe", "HAProxy splice, 1 MiB pipes", always, ["tune.pipesize 1048576"]),
        Nginx("nginx", "nginx", "16k"),
        Nginx("nginx-64k", "nginx 64k", "64k"),
        SocketProxyd("socket-proxyd", "socket-proxyd"),
        Pen("pen", "pen"),
        Socat("socat", "socat"),
    ]


DEFAULT_PEERS = ["haproxy-splice", "haproxy", "nginx", "nginx-64k", "socket-proxyd", "pen", "socat"]
QUICK_PEERS = ["haproxy-splice", "haproxy", "nginx", "socket-proxyd"]
