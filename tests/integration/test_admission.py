#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Who may come in, how many of one source, and how fast they come."""
import os
import select
import signal
import time

from lib import arena, data, net, peers, proxy, tap

ME, MY_GROUP = os.getuid(), os.getgid()
STRANGER = 54321

def _frontend(listen, keys):
    return proxy.frontend("f", [(a, 'mode = "0666"' if a.startswith("unix:/") else "") for a in listen], "b", keys)


def _start(listen, keys, **options):
    """A proxy whose frontend listens there; its server says "hi" and echoes."""
    directory = tap.tmpdir()
    back = f"unix:{directory}/back"
    upstream = peers.Server(back, peers.say("hi"))
    listen = [address.replace("DIR", directory) for address in ([listen] if isinstance(listen, str) else listen)]
    running = proxy.Proxy(_frontend(listen, keys) + proxy.backend("b", back), directory=directory, **options)
    running.back = back
    return running, listen, upstream


def _reload(running, listen, keys):
    running.reload(_frontend(listen, keys) + proxy.backend("b", running.back))


def _open(address, source=None):
    """A client that was served, or None: it was turned away."""
    try:
        sock = net.connect(address, bind=(source, 0) if source else None)
        tap.cleanup(sock.close)
        if net.read_exactly(sock, 2) == b"hi":
            return sock
        sock.close()
    except (ConnectionResetError, BrokenPipeError):
        pass
    return None


def _served(address, source=None):
    sock = _open(address, source)
    if sock:
        sock.close()
    return sock is not None


def _wait_ends(running, end, count):
    """Waits for so many records with that end, and returns them."""
    def look():
        found = [record for record in running.access() if record["end"] == end]
        return len(found) >= count and found
    return proxy.wait_for(look, lambda: f"{count} times {end}: {running.access()[-5:]}")


# allow and deny

@tap.case("networks: the longest one decides, IPv4 and IPv6")
def _networks():
    listen = [f"127.0.0.1:{net.port()}"]
    if net.have_ipv6():
        listen.append(f"[::1]:{net.port()}")
    running, listen, upstream = _start(listen, 'allow = { "127.0.0.0/8", "127.1.2.0/24", "::1" }\n'
                                               '    deny = { "127.1.0.0/16", "127.1.2.3" }')
    for source, may in (("127.0.0.1", True), ("127.1.0.1", False), ("127.1.255.254", False), ("127.1.2.1", True),
                        ("127.1.2.3", False), ("127.1.2.4", True), ("127.2.0.1", True)):
        tap.equal(_served(listen[0], source), may, f"served from {source}")
    denied = _wait_ends(running, "denied", 3)
    tap.equal([record["client"].rpartition(":")[0] for record in denied], ["127.1.0.1", "127.1.255.254", "127.1.2.3"],
              "clients that were denied")
    tap.equal((upstream.count, {(record["backend"], record["server"], record["error"]) for record in denied}),
              (4, {(None, None, None)}), "sessions at the server, and what the log says of the others")
    running.wait_log(r"client 127\.1\.0\.1:\d+ is turned away: allow and deny say so")
    if len(listen) > 1:
        tap.check(_served(listen[1]), "::1 is not served")
        _reload(running, listen, 'deny = { "::/0", "127.1.0.0/16" }')
        tap.equal((_served(listen[1]), _served(listen[0], "127.1.2.1"), _served(listen[0], "127.9.9.9")),
                  (False, False, True), "served with others denied")
        _reload(running, listen, 'allow = { "fe80::/10", "2001:db8::/32" }')
        tap.equal((_served(listen[1]), _served(listen[0])), (False, False), "served with others allowed")


@tap.case("clients of an address that serves every family count as IPv4 where they are")
def _mapped():
    number = net.port()
    running, _, _ = _start(f":{number}", 'allow = { "127.5.0.0/16" }')
    tap.equal((_served(f"127.0.0.1:{number}", "127.5.6.7"), _served(f"127.0.0.1:{number}", "127.6.0.1")), (True, False),
              "served")
    tap.equal(_wait_ends(running, "denied", 1)[0]["client"].rpartition(":")[0], "127.6.0.1", "the client in the log")


@tap.case("many denied clients are a few log lines, and leave nothing behind")
def _flood():
    running, (front,), upstream = _start(f"127.0.0.1:{net.port()}", 'deny = { "127.0.0.0/8" }', threads=2, access=None)
    before = running.fds()
    for _ in range(data.scaled(500, 100)):
        tap.equal(_served(front), False, "served")
    running.wait_fds(before)
    tap.equal(upstream.count, 0, "sessions at the server")
    tap.between(len(running.log_lines("turned away")), 1, 6, "log lines")


@tap.case("AF_UNIX: unix, uid, gid, user and group; what is more specific decides")
def _peers():
    running, (front,), _ = _start("unix:DIR/front", "")
    cases = [('deny = { "unix" }', False), ('allow = { "127.0.0.1" }', False), ('deny = { "0.0.0.0/0", "::/0" }', True),
             (f'deny = {{ "uid:{ME}" }}', False), (f'allow = {{ "uid:{ME}" }} deny = {{ "unix" }}', True),
             (f'allow = {{ "unix" }} deny = {{ "gid:{MY_GROUP}" }}', False),
             (f'allow = {{ "uid:{ME + 1}", "gid:{MY_GROUP}" }}', True),
             (f'allow = {{ "uid:{ME}" }} deny = {{ "gid:{MY_GROUP}" }}', False)]
    if ME == 0:
        cases += [('deny = { "user:root" }', False), ('allow = { "group:root" }', True),
                  ('allow = { "user:nobody" }', False)]
    for keys, may in cases:
        _reload(running, [front], keys)
        tap.equal(_served(front), may, keys)
    tap.equal(_wait_ends(running, "denied", 1)[0]["client"], "unix", "the client in the log")


@tap.case("AF_UNIX: other users, and supplementary groups, however many")
def _strangers():
    if ME != 0:
        raise tap.Skip("only root can be somebody else")
    running, (front,), _ = _start("unix:DIR/front", f'allow = {{ "uid:{STRANGER}", "gid:{STRANGER + 7}" }} '
                                                    f'deny = {{ "gid:{STRANGER + 9}" }}')

    def ask(user, groups):
        child = os.fork()
        if child == 0:
            status = 2
            try:
                os.setgroups(groups)
                os.setresgid(STRANGER + 1, STRANGER + 1, STRANGER + 1)
                os.setresuid(user, user, user)
                status = int(_served(front))
            finally:
                os._exit(status)
        return {0: False, 1: True}.get(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), "an error")

    many = list(range(100000, 109000))
    for user, groups, may in ((STRANGER, [], True), (STRANGER + 1, [], False), (STRANGER + 1, [STRANGER + 7], True),
                              (STRANGER, [STRANGER + 9], False), (STRANGER + 1, [*many, STRANGER + 7], True),
                              (STRANGER, [*many, STRANGER + 9], False)):
        tap.equal(ask(user, groups), may, f"served: user {user} with groups {groups[-1:]}, {len(groups)} in all")


@tap.case("a user that there is not: an error at the start, a refused reload, and nothing to -t")
def _unknown_names():
    running, (front,), _ = _start(f"127.0.0.1:{net.port()}", "")
    bad = (f'frontend "f" {{\n    listen "{front}" {{ }}\n    allow = {{ "127.0.0.1", "user:no-such-one" }}\n'
           '    deny = { "group:nor-this" }\n    backend = "b"\n}\n' + proxy.backend("b", running.back))
    status, _, said = proxy.run(config=bad)
    for kind, name, key in (("user", "no-such-one", "allow"), ("group", "nor-this", "deny")):
        tap.check(f"spliced.conf:1: {key}: there is no {kind} '{name}'" in said, f"{said} says nothing of {name}")
    tap.equal((status, proxy.run("-t", config=bad)[0]), (2, 0), "exit status of a start, and of -t")
    running.write_config(bad)
    running.signal(signal.SIGHUP)
    running.wait_log(r"reload refused: .*allow: there is no user 'no-such-one'")
    running.wait_log(r"reload refused: .*deny: there is no group 'nor-this'")
    tap.check(_served(front), "the former config is not in force")


# Limits of a source

@tap.case("max-per-source: the surplus is reset, counts outlive workers, and sources do not count for each other")
def _per_source():
    running, (front,), upstream = _start(f"127.0.0.1:{net.port()}", "max-per-source = 3", threads=2)
    sources = [f"127.0.{n}.{n + 1}" for n in range(40)]
    clients = {source: [_open(front, source) for _ in range(5)] for source in sources}
    for source in sources:
        tap.equal([sock is not None for sock in clients[source]], [True] * 3 + [False] * 2, f"served from {source}")
    tap.equal(len(_wait_ends(running, "limited", 80)), 80, "limited")
    running.wait_log(r"client 127\.0\.\d+\.\d+:\d+ is turned away: max-per-source is reached")
    # One that ends makes room for one.
    clients[sources[0]].pop(0).close()
    _wait_ends(running, "client-fin", 1)
    again = _open(front, sources[0])
    tap.equal((again is not None, _served(front, sources[0])), (True, False), "after one left")

    arena.kill_worker(running)
    for source in sources[:5]:
        tap.equal(_served(front, source), False, "one over the limit of sessions that were adopted")
    clients[sources[1]].pop(0).close()
    _wait_ends(running, "client-fin", 2)
    tap.equal((_served(front, sources[1]), _served(front, "127.77.0.1")), (True, True), "served with room")

    _reload(running, [front], "max-per-source = 4")
    more = _open(front, sources[2])
    tap.equal((more is not None, _served(front, sources[2])), (True, False), "with room for one more by a reload")
    for sock in (again, more, clients[sources[3]][0]):
        sock.sendall(b"still here")
        tap.equal(net.read_exactly(sock, 10), b"still here", "an old session")


@tap.case("rate-per-source: one second's worth at once, then by the rate; others are not concerned")
def _rate_per_source():
    running, (front,), _ = _start(f"127.0.0.1:{net.port()}", "rate-per-source = 5/s")
    begin = time.monotonic()
    served = sum(_served(front, "127.0.0.9") for _ in range(30))
    took = time.monotonic() - begin
    tap.between(served, 5, 5 + 5 * took + 1, f"served in {took:.2f} s")
    tap.equal(all(_served(front, f"127.1.0.{n}") for n in range(1, 30)), True, "others served")
    tap.equal(len(_wait_ends(running, "limited", 30 - served)), 30 - served, "limited")
    running.wait_log(r"is turned away: over rate-per-source")
    proxy.wait_for(lambda: _served(front, "127.0.0.9"), "one more token")


@tap.case("AF_UNIX: one user is one source")
def _user_is_source():
    running, (front, other), _ = _start(["unix:DIR/front", "unix:DIR/other"], "max-per-source = 2")
    clients = [_open(front), _open(other)]
    tap.check(all(clients), "two are not served")
    tap.equal((_served(front), _served(other)), (False, False), "served beyond the limit")
    clients[0].close()
    proxy.wait_for(lambda: _served(other), "room")
    _wait_ends(running, "limited", 2)


# The rate of a frontend

@tap.case("rate: what is over waits in the backlog; all threads and listeners share it")
def _rate():
    rate, count = 40, 90
    tcp = f"127.0.0.1:{net.port()}"
    running, (tcp, local), _ = _start([tcp, "unix:DIR/front"], f"rate = {rate}/s", threads=2)
    cpu, begin = running.cpu(), time.monotonic()
    waiting = [net.connect(local if n % 3 == 0 else tcp) for n in range(count)]
    arrivals = []
    with select.epoll() as poll:
        by_number = {sock.fileno(): sock for sock in waiting}
        for number in by_number:
            poll.register(number, select.EPOLLIN)
        while by_number:
            events = poll.poll(10 * proxy.slowness())
            tap.check(events, f"{len(by_number)} clients wait in vain")
            now = time.monotonic()
            for number, _ in events:
                tap.equal(by_number[number].recv(2), b"hi", "what a client got")
                arrivals.append(now)
                poll.unregister(number)
                by_number.pop(number).close()
    for n, when in enumerate(arrivals):
        tap.check(n + 1 <= rate + rate * (when - begin) + 1, f"{n + 1} clients within {when - begin:.3f} s")
    # None was kept for longer than it takes: late by half at most, on a machine that has other things to do.
    tap.check(arrivals[-1] - begin < (count - rate) / rate * 1.5 + proxy.slowness(), "too slow")
    tap.check(running.cpu() - cpu < 0.4 * proxy.slowness(), "CPU while clients wait")
    running.wait_log(rf"new clients over the rate of {rate} a second wait in the backlog")


@tap.case("rate: a crash or a reload starts no second burst, and whoever waits at a listener that goes is served")
def _rate_outlives():
    tcp = f"127.0.0.1:{net.port()}"
    running, (tcp, local), _ = _start([tcp, "unix:DIR/front"], "rate = 2/s")
    begin = time.monotonic()
    tap.check(_served(tcp) and _served(tcp), "the burst is not served")
    arena.kill_worker(running)
    tap.check(_served(tcp), "the third")
    tap.check(time.monotonic() - begin > 0.49, "a burst after a crash")
    _reload(running, [tcp, local], "rate = 1/s")
    tap.check(_served(tcp), "the fourth")
    tap.check(time.monotonic() - begin > 0.98, "a burst after a reload")
    waiting = [net.connect(local) for _ in range(5)]
    _reload(running, [tcp], "rate = 1/s")
    for sock in waiting:
        tap.equal(net.read_exactly(sock, 2), b"hi", "a client that waited")


if __name__ == "__main__":
    tap.run()
