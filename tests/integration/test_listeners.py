#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Listening sockets: families, AF_UNIX paths with their owners and modes, and whose path it is."""
import grp
import os
import pwd
import signal
import socket
import stat
import time

from lib import net, peers, proxy, tap


def _config(listen, directory, extra=""):
    return proxy.frontend("f", listen, "b", extra) + proxy.backend("b", f"unix:{directory}/back")


def _start(listen, directory=None, **options):
    directory = directory or tap.tmpdir()
    if not os.path.exists(f"{directory}/back"):
        peers.Server(f"unix:{directory}/back", peers.say("hi"))
    return proxy.Proxy(_config(listen, directory), directory=directory, **options)


def _served(address):
    sock = peers.client(address)
    tap.equal(net.read_exactly(sock, 2), b"hi", f"the answer on {address}")
    sock.close()


def _refuses_to_start(listen, pattern, directory=None):
    directory = directory or tap.tmpdir()
    running = proxy.Proxy(_config(listen, directory), directory=directory, start=False)
    running.expected = 2
    running.start(ready=False)
    tap.equal(running.wait(), 2, "exit status")
    tap.check(running.log_lines(pattern), f"a line of the log names it (/{pattern}/): {running.log()!r}")
    return running


def _need_ipv6():
    if not net.have_ipv6():
        raise tap.Skip("no IPv6 here")


@tap.case("IPv4")
def _v4():
    port = net.port()
    _start(f"127.0.0.1:{port}")
    _served(f"127.0.0.1:{port}")
    if net.isolated():
        tap.check(peers.refused(f"127.0.0.2:{port}"), "another address of this host is not served")


@tap.case("IPv6")
def _v6():
    _need_ipv6()
    port = net.port()
    running = _start(f"[::1]:{port}")
    _served(f"[::1]:{port}")
    tap.check(peers.refused(f"127.0.0.1:{port}"), "IPv4 is not served")
    tap.check(running.wait_access(1)[0]["client"].startswith("[::1]:"), "the client in the log")


@tap.case("every address: one dual-stack socket, and a v4 client is v4 in the log")
def _dual():
    port = net.port()
    running = _start(f":{port}")
    _served(f"127.0.0.1:{port}")
    tap.check(running.wait_access(1)[0]["client"].startswith("127.0.0.1:"), "the client in the log")
    tap.equal(running.access()[0]["listener"], f":{port}", "the listener in the log, as written")
    if net.have_ipv6():
        _served(f"[::1]:{port}")


@tap.case("every address without IPv6 in the kernel: IPv4 alone")
def _no_ipv6():
    if not net.isolated():
        raise tap.Skip("needs a network namespace of its own")
    path = "/proc/sys/net/ipv6/conf/all/disable_ipv6"
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write("1")
    except OSError as error:
        raise tap.Skip(f"{path}: {error.strerror}") from None

    def restore():
        with open(path, "w", encoding="ascii") as file:
            file.write("0")
    tap.cleanup(restore)
    port = net.port()
    _start(f":{port}")
    _served(f"127.0.0.1:{port}")


@tap.case("v6only: IPv4 is left to another listener")
def _v6only():
    _need_ipv6()
    port = net.port()
    _start([(f"[::]:{port}", "v6only = on"), f"0.0.0.0:{port}"])
    _served(f"[::1]:{port}")
    _served(f"127.0.0.1:{port}")


@tap.case("v6only alone: IPv4 is refused")
def _v6only_alone():
    _need_ipv6()
    port = net.port()
    _start([(f":{port}", "v6only = on")])
    _served(f"[::1]:{port}")
    tap.check(peers.refused(f"127.0.0.1:{port}"), "IPv4 is not served")


@tap.case("an address in use: exit status 2, and the line names it")
def _in_use():
    address = f"127.0.0.1:{net.port()}"
    taken = peers.Accepted(address)
    _refuses_to_start(address, f"{address}.*in use|in use.*{address}")
    peers.client(address)
    taken.take()


@tap.case("an address that is not this host's: exit status 2")
def _not_ours():
    _refuses_to_start(f"192.0.2.1:{net.port()}", "192.0.2.1")


@tap.case("one listener of two fails: nothing is left behind of the other")
def _all_or_none():
    directory = tap.tmpdir()
    address = f"127.0.0.1:{net.port()}"
    peers.Accepted(address)
    _refuses_to_start([f"unix:{directory}/first", address], address, directory)
    tap.check(not os.path.exists(f"{directory}/first"), "the path that was bound first is gone")


@tap.case("an AF_UNIX path has mode 0660 unless told otherwise, and whatever umask")
def _mode():
    directory = tap.tmpdir()
    old = os.umask(0o077)
    try:
        _start([f"unix:{directory}/a", (f"unix:{directory}/b", 'mode = "0600"'), (f"unix:{directory}/c", 'mode = "0777"')],
               directory)
    finally:
        os.umask(old)
    for name, mode in (("a", 0o660), ("b", 0o600), ("c", 0o777)):
        tap.equal(oct(stat.S_IMODE(os.stat(f"{directory}/{name}").st_mode)), oct(mode), f"mode of {name}")
        _served(f"unix:{directory}/{name}")
    tap.equal(sorted(name for name in os.listdir(directory) if stat.S_ISSOCK(os.stat(f"{directory}/{name}").st_mode)),
              ["a", "admin.sock", "b", "back", "c"], "sockets in the directory: no temporary one is left")


@tap.case("owner and group, by name and by number")
def _owner():
    if os.getuid():
        raise tap.Skip("needs root")
    directory = tap.tmpdir()
    user, group = pwd.getpwall()[1], grp.getgrall()[2]
    _start([(f"unix:{directory}/a", f'owner = "{user.pw_name}" group = "{group.gr_name}"'),
            (f"unix:{directory}/b", 'owner = "4321" group = "4322" mode = "0606"')], directory)
    for name, uid, gid in (("a", user.pw_uid, group.gr_gid), ("b", 4321, 4322)):
        found = os.stat(f"{directory}/{name}")
        tap.equal((found.st_uid, found.st_gid), (uid, gid), f"owner and group of {name}")


@tap.case("an owner that does not exist: refused, and no path appears")
def _no_owner():
    directory = tap.tmpdir()
    running = proxy.Proxy(_config([(f"unix:{directory}/a", 'owner = "no-such-user"')], directory), directory=directory,
                          start=False)
    running.expected = 2
    running.start(ready=False)
    tap.equal(running.wait(), 2, "exit status")
    tap.check(running.log_lines("no-such-user"), f"the log names it: {running.log()!r}")
    tap.check(not os.path.exists(f"{directory}/a"), "no path appeared")


@tap.case("mode, owner and group are right before the path is visible")
def _never_wrong():
    directory = tap.tmpdir()
    path = f"{directory}/a"
    keys = 'mode = "0604"' + (' owner = "4321" group = "4322"' if os.getuid() == 0 else "")
    wanted = (0o604, 4321, 4322) if os.getuid() == 0 else (0o604, os.getuid(), os.getgid())
    for _ in range(5):
        running = proxy.Proxy(_config([(f"unix:{path}", keys)], directory), directory=directory, start=False)
        said = len(running.log())
        running.start(ready=False)
        until = time.monotonic() + 10 * proxy.slowness()
        while time.monotonic() < until:
            try:
                found = os.stat(path)
            except FileNotFoundError:
                continue
            tap.equal((stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid), wanted, "at first sight")
            break
        running.wait_log(r"\bready\b", after=said)
        running.stop()


@tap.case("a stale path is replaced")
def _stale():
    directory = tap.tmpdir()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(f"{directory}/a")
    _start(f"unix:{directory}/a", directory)
    _served(f"unix:{directory}/a")


@tap.case("the path of a live server is refused with exit status 2, and left alone")
def _live():
    directory = tap.tmpdir()
    peers.Server(f"unix:{directory}/a", peers.say("other"))
    inode = os.stat(f"{directory}/a").st_ino
    _refuses_to_start(f"unix:{directory}/a", f"{directory}/a", directory)
    tap.equal(os.stat(f"{directory}/a").st_ino, inode, "the path's inode")
    tap.equal(net.read_exactly(peers.client(f"unix:{directory}/a"), 5), b"other", "the live server's answer")


@tap.case("the path of a live server with a full backlog is refused too")
def _live_busy():
    directory = tap.tmpdir()
    peers.Accepted(f"unix:{directory}/a", backlog=0)
    while True:
        sock = socket.socket(socket.AF_UNIX)
        tap.cleanup(sock.close)
        sock.setblocking(False)
        try:
            sock.connect(f"{directory}/a")
        except BlockingIOError:
            break
    inode = os.stat(f"{directory}/a").st_ino
    _refuses_to_start(f"unix:{directory}/a", f"{directory}/a", directory)
    tap.equal(os.stat(f"{directory}/a").st_ino, inode, "the path's inode")


@tap.case("a second proxy on the same config: exit status 2, and the first goes on")
def _twice():
    directory = tap.tmpdir()
    _start(f"unix:{directory}/a", directory)
    second = tap.tmpdir()
    other = proxy.Proxy(_config(f"unix:{directory}/a", directory), directory=second, start=False)
    other.expected = 2
    other.start(ready=False)
    tap.equal(other.wait(), 2, "exit status")
    _served(f"unix:{directory}/a")


@tap.case("a plain file and a directory in the path's place: exit status 2, left alone")
def _plain():
    directory = tap.tmpdir()
    with open(f"{directory}/plain", "w", encoding="ascii") as file:
        file.write("precious")
    os.mkdir(f"{directory}/folder")
    for name in ("plain", "folder"):
        _refuses_to_start(f"unix:{directory}/{name}", f"{directory}/{name}", directory)
    with open(f"{directory}/plain", encoding="ascii") as file:
        tap.equal(file.read(), "precious", "the file")
    tap.check(os.path.isdir(f"{directory}/folder"), "the directory")


@tap.case("a path in a directory that is missing: exit status 2")
def _no_directory():
    _refuses_to_start("unix:/nonexistent/dir/sock", "/nonexistent/dir/sock")


@tap.case("an abstract name, of exactly its length")
def _abstract():
    name = f"@spliced-test-{os.getpid()}"
    _start(f"unix:{name}")
    _served(f"unix:{name}")
    tap.check(peers.refused(f"unix:{name}\0"), "the name with one NUL more is another name")


@tap.case("an abstract name in use: exit status 2")
def _abstract_in_use():
    name = f"unix:@spliced-live-{os.getpid()}"
    peers.Accepted(name)
    _refuses_to_start(name, "spliced-live")


@tap.case("paths of 107 bytes, as listener and as server")
def _long():
    directory = tap.tmpdir()
    front, back = (f"{directory}/{letter * (107 - len(directory) - 1)}" for letter in "fb")
    peers.Server(f"unix:{back}", peers.say("hi"))
    proxy.Proxy(proxy.frontend("f", f"unix:{front}", "b") + proxy.backend("b", f"unix:{back}"), directory=directory)
    _served(f"unix:{front}")


@tap.case("a path is removed at exit, by either signal")
def _removed():
    for number in (signal.SIGTERM, signal.SIGINT):
        directory = tap.tmpdir()
        running = _start(f"unix:{directory}/a", directory)
        _served(f"unix:{directory}/a")
        running.signal(number)
        tap.equal(running.wait(), 0, "exit status")
        tap.check(not os.path.exists(f"{directory}/a"), "the path is gone")


@tap.case("somebody else's path in our path's place is not removed at exit")
def _not_removed():
    directory = tap.tmpdir()
    running = _start(f"unix:{directory}/a", directory)
    os.unlink(f"{directory}/a")
    peers.Server(f"unix:{directory}/a", peers.say("other"))
    running.stop()
    tap.equal(net.read_exactly(peers.client(f"unix:{directory}/a"), 5), b"other", "the other server's answer")


@tap.case("one frontend listens on many addresses at once")
def _many():
    directory = tap.tmpdir()
    addresses = [f"127.0.0.1:{net.port()}" for _ in range(5)] + [f"unix:{directory}/l{n}" for n in range(5)]
    running = _start(addresses, directory, threads=2)
    for address in addresses:
        _served(address)
    tap.equal(sorted(record["listener"] for record in running.wait_access(10)), sorted(addresses), "listeners in the log")


@tap.case("defer-accept: a client that says nothing makes no session")
def _defer():
    directory = tap.tmpdir()
    address = f"127.0.0.1:{net.port()}"
    servers = peers.Server(f"unix:{directory}/back", peers.say("hi"))
    _start([(address, "defer-accept = 5s")], directory)
    sock = peers.client(address)
    time.sleep(0.3)
    tap.equal(servers.count, 0, "sessions before the first byte")
    sock.sendall(b"x")
    tap.equal(net.read_exactly(sock, 2), b"hi", "the answer")


@tap.case("an option of a listener reaches its accepted sockets")
def _options():
    directory = tap.tmpdir()
    address = f"127.0.0.1:{net.port()}"
    peers.Server(f"unix:{directory}/back", peers.say("hi"))
    proxy.Proxy(proxy.frontend("f", [(address, "socket { maxseg = 1000 }")], "b") +
                proxy.backend("b", f"unix:{directory}/back"), directory=directory)
    sock = peers.client(address)
    tap.equal(net.read_exactly(sock, 2), b"hi", "the answer")
    tap.check(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) <= 1000, "the segment size that the client sees")


@tap.case("a socket option that this kernel refuses: exit status 2, with option, value and errno")
def _bad_option():
    directory = tap.tmpdir()
    running = proxy.Proxy(proxy.frontend("f", f"127.0.0.1:{net.port()}", "b", 'socket { congestion = "nonesuch" }') +
                          proxy.backend("b", f"unix:{directory}/back"), directory=directory, start=False)
    running.expected = 2
    running.start(ready=False)
    tap.equal(running.wait(), 2, "exit status")
    tap.check(running.log_lines("congestion.*nonesuch.*(ENOENT|No such file)"), f"the log: {running.log()!r}")


tap.run()
