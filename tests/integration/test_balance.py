#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Round robin by weight is exact over all threads; backups serve when nobody else can."""
from lib import net, peers, proxy, tap


def _start(servers, threads=1, kind="tcp"):
    """`servers` are (name, extra keys); each says its name."""
    directory = tap.tmpdir()
    front = net.address_of(kind, directory, "front")
    lines = ""
    for name, extra in servers:
        address = f"unix:{directory}/{name}"
        if "GONE" not in extra:
            peers.Server(address, peers.say(name))
        lines += proxy.server(name, address, extra.replace("GONE", ""))
    return proxy.Proxy(proxy.frontend("f", front, "b") + proxy.backend("b", lines), directory=directory,
                       threads=threads), front


def _picks(front, count, at_once=False):
    """How many of so many sessions went where."""
    seen, socks = {}, []
    for _ in range(count):
        sock = net.connect(front)
        socks.append(sock)
        if not at_once:
            name = net.read_exactly(sock, 1)
            seen[name.decode()] = seen.get(name.decode(), 0) + 1
            sock.close()
    if at_once:
        for sock in socks:
            name = net.read_exactly(sock, 1)
            seen[name.decode()] = seen.get(name.decode(), 0) + 1
            sock.close()
    return seen


for _threads in (1, 2):
    for _at_once in (False, True):
        tap.case(f"threads = {_threads}: weights 1, 2 and 5 over 80 sessions {'at once' if _at_once else 'one by one'}")(
            lambda t=_threads, o=_at_once: tap.equal(
                _picks(_start([("a", "weight = 1"), ("b", "weight = 2"), ("c", "weight = 5")], t)[1], 80, o),
                {"a": 10, "b": 20, "c": 50}, "picks"))


@tap.case("equal weights take turns")
def _turns():
    _, front = _start([("a", ""), ("b", ""), ("c", "")])
    seen = []
    for _ in range(9):
        seen += _picks(front, 1)
    tap.equal("".join(seen), "".join(seen[:3]) * 3, "the order")
    tap.equal(sorted(seen[:3]), ["a", "b", "c"], "one round")


@tap.case("smooth: the heavy one's turns are spread")
def _smooth():
    _, front = _start([("a", "weight = 4"), ("b", "weight = 1")])
    seen = []
    for _ in range(10):
        seen += _picks(front, 1)
    tap.check("bb" not in "".join(seen) and "aaaaaaa" not in "".join(seen), f"the order is {''.join(seen)}")
    tap.equal(seen.count("b"), 2, "the light one's turns")


@tap.case("weight 0 and disabled servers get nothing")
def _none():
    _, front = _start([("a", "weight = 0"), ("b", "disabled = on"), ("c", "")])
    tap.equal(_picks(front, 12), {"c": 12}, "picks")


@tap.case("a backup gets nothing while another server is usable")
def _idle_backup():
    _, front = _start([("a", ""), ("b", "backup = on weight = 100")])
    tap.equal(_picks(front, 12), {"a": 12}, "picks")


@tap.case("backups serve when the others are disabled or weigh 0, by their weights")
def _backup():
    _, front = _start([("a", "disabled = on"), ("b", "backup = on weight = 1"), ("c", "backup = on weight = 3"),
                       ("d", "weight = 0")], 2)
    tap.equal(_picks(front, 16), {"b": 4, "c": 12}, "picks")


@tap.case("a weight of 256 beside one of 1")
def _heaviest():
    _, front = _start([("a", "weight = 256"), ("b", "weight = 1")])
    tap.equal(_picks(front, 257), {"a": 256, "b": 1}, "picks")


@tap.case("a refusing server takes no turns away from the others")
def _refusing():
    running, front = _start([("a", "GONE"), ("b", ""), ("c", "")])
    seen = _picks(front, 30)
    tap.equal(sum(seen.values()), 30, "sessions served")
    tap.check(min(seen.values()) >= 8, f"picks: {seen}")
    tap.equal(len(running.wait_access(30)), 30, "sessions logged")


@tap.case("two frontends share one backend's turns")
def _two_frontends():
    directory = tap.tmpdir()
    fronts = [f"127.0.0.1:{net.port()}", f"unix:{directory}/front"]
    lines = ""
    for name, weight in (("a", 1), ("b", 3)):
        peers.Server(f"unix:{directory}/{name}", peers.say(name))
        lines += proxy.server(name, f"unix:{directory}/{name}", f"weight = {weight}")
    proxy.Proxy("".join(proxy.frontend(f"f{n}", front, "b") for n, front in enumerate(fronts)) + proxy.backend("b", lines),
                directory=directory, threads=2)
    seen = {}
    for number in range(40):
        for name, count in _picks(fronts[number % 2], 1).items():
            seen[name] = seen.get(name, 0) + count
    tap.equal(seen, {"a": 10, "b": 30}, "picks")


tap.run()
