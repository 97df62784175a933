#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Each algorithm over real sessions: shares, affinity, and a slow start."""
import os
import signal
import time

from lib import net, peers, proxy, tap

NAMES = "abcdefgh"


class Setup:
    """A proxy in front of servers that say their names; `extras` are the keys of each."""

    def __init__(self, balance, extras, keys="", threads=2, front="tcp"):
        self.directory = tap.tmpdir()
        self.front = net.address_of(front, self.directory, "front")
        for name in NAMES[:len(extras)]:
            peers.Server(f"unix:{self.directory}/{name}", peers.say(name))
        self.balance, self.keys, self.threads = balance, keys, threads
        self.proxy = None
        self.start(self.config(extras))

    def start(self, config):
        self.proxy = proxy.Proxy(config, directory=self.directory, threads=self.threads)

    def config(self, extras, balance=None):
        lines = "".join(proxy.server(name, f"unix:{self.directory}/{name}", extra)
                        for name, extra in zip(NAMES, extras) if extra is not None)
        return proxy.frontend("f", self.front, "b") + \
            proxy.backend("b", lines, f'balance = "{balance or self.balance}" {self.keys}')

    def at_once(self, count):
        """So many sessions at once: how many went where."""
        socks = [peers.client(self.front) for _ in range(count)]
        seen = {}
        for sock in socks:
            name = net.read_exactly(sock, 1).decode()
            seen[name] = seen.get(name, 0) + 1
        self.socks = socks
        return seen

    def leave(self):
        """Ends the sessions of at_once(), and waits until they are over."""
        before = self.proxy.fds()
        for sock in self.socks:
            sock.close()
        self.proxy.wait_fds(before - len(self.socks))

    def one_by_one(self, count):
        seen = {}
        for _ in range(count):
            with net.connect(self.front) as sock:
                name = net.read_exactly(sock, 1).decode()
            seen[name] = seen.get(name, 0) + 1
        return seen

    def server_of(self, address):
        """Where a client from that address goes."""
        with net.connect(self.front, bind=(address, 0)) as sock:
            return net.read_exactly(sock, 1).decode()


@tap.case("leastconn: sessions that stay are spread by weight, and what leaves is filled up")
def _leastconn():
    setup = Setup("leastconn", ["weight = 1", "weight = 2", "weight = 5"])
    tap.equal(setup.at_once(80), {"a": 10, "b": 20, "c": 50}, "shares")
    first = setup.socks
    for sock in first[:40]:
        sock.close()
    setup.proxy.wait_access(40)
    setup.at_once(40)
    setup.socks += first[40:]
    setup.leave()
    records = setup.proxy.wait_access(120)
    tap.equal(len(records), 120, "sessions")
    tap.equal(setup.at_once(80), {"a": 10, "b": 20, "c": 50}, "shares after that")


@tap.case("leastconn: idle servers take turns")
def _leastconn_idle():
    setup = Setup("leastconn", [""] * 3, threads=1)
    seen = {}
    for number in range(9):
        seen = {**seen, **{name: seen.get(name, 0) + count for name, count in setup.one_by_one(1).items()}}
        setup.proxy.wait_access(number + 1)
    tap.equal(seen, {"a": 3, "b": 3, "c": 3}, "turns")


@tap.case("random: sessions that stay are spread evenly")
def _random():
    seen = Setup("random", [""] * 4).at_once(200)
    tap.check(min(seen.values()) >= 42 and len(seen) == 4, f"shares {seen}")


@tap.case("first: fills the first server, then the next")
def _first():
    setup = Setup("first", ["max-connections = 5", "max-connections = 7", ""])
    tap.equal(setup.at_once(15), {"a": 5, "b": 7, "c": 3}, "shares")
    setup.leave()
    tap.equal(setup.at_once(4), {"a": 4}, "shares after that")


@tap.case("least-time: all servers are asked, none is left out for good")
def _least_time():
    seen = Setup("least-time", [""] * 3).at_once(90)
    tap.equal(sorted(seen), ["a", "b", "c"], "who was asked")


@tap.case("source: a client stays with its server over sessions, threads, reloads, crashes and a new start")
def _source():
    setup = Setup("source", ["", "weight = 3", "", ""])
    addresses = [f"127.0.1.{number}" for number in range(1, 41)]
    home = {address: setup.server_of(address) for address in addresses}
    tap.check(len(set(home.values())) == 4, f"clients go to {sorted(set(home.values()))}")

    def check(what):
        tap.equal({address: setup.server_of(address) for address in addresses}, home, what)
    check("once more")
    setup.proxy.reload()
    check("after a reload")
    worker = setup.proxy.worker()
    os.kill(worker, signal.SIGKILL)
    setup.proxy.wait_worker(worker)
    check("after a crash")
    # Its own clients move, and come back.
    setup.proxy.reload(setup.config(["", "weight = 3", "disabled = on", ""]))
    moved = {address: setup.server_of(address) for address in addresses}
    tap.equal({address for address in addresses if moved[address] != home[address]},
              {address for address in addresses if home[address] == "c"}, "who moved")
    setup.proxy.stop()
    setup.start(setup.config(["", "weight = 3", "", ""]))
    check("after a new start")


@tap.case("source: a server that the file has no more moves few clients of others")
def _source_removed():
    setup = Setup("source", [""] * 8)
    addresses = [f"127.0.2.{number}" for number in range(1, 101)]
    home = {address: setup.server_of(address) for address in addresses}
    setup.proxy.reload(setup.config([""] * 3 + [None] + [""] * 4))
    moved = [address for address in addresses if setup.server_of(address) != home[address] and home[address] != "d"]
    tap.check(len(moved) <= 5, f"{len(moved)} of 100 clients moved without need")


@tap.case("source: AF_UNIX clients go by uid")
def _source_uid():
    setup = Setup("source", [""] * 8, front="unix")
    tap.equal(len(setup.one_by_one(12)), 1, "servers of one uid")
    if os.getuid():
        raise tap.Skip("other uids need root")
    os.chmod(f"{setup.directory}/front", 0o777)

    def ask(uid):
        os.setuid(uid)
        with net.connect(setup.front) as sock:
            return net.read_exactly(sock, 1)
    tap.check(len({peers.Process(ask, uid).result() for uid in range(1000, 1012)}) > 3, "twelve uids go to several servers")


@tap.case("slow-start: a server that is enabled again takes load bit by bit, also after a crash")
def _slow_start():
    setup = Setup("roundrobin", ["slow-start = 1h", "slow-start = 1h"], threads=1)
    tap.equal(setup.one_by_one(20), {"a": 10, "b": 10}, "at the first start")
    setup.proxy.reload(setup.config(["disabled = on", ""]))
    tap.equal(setup.one_by_one(5), {"b": 5}, "while it is disabled")
    setup.proxy.reload(setup.config(["slow-start = 1h", ""]))
    worker = setup.proxy.worker()
    os.kill(worker, signal.SIGKILL)
    setup.proxy.wait_worker(worker)
    tap.equal(setup.one_by_one(65), {"a": 1, "b": 64}, "when it is back")
    setup.proxy.reload(setup.config(["slow-start = 100ms", ""]))
    time.sleep(0.15)
    tap.equal(setup.one_by_one(20), {"a": 10, "b": 10}, "after its slow start")


tap.run()
