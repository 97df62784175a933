#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""All four pairs relay large streams and many sessions, both ways at once, on one and on two threads, in one process too."""
from lib import data, pairs, peers, proxy, tap

MIB = 1 << 20


def _large(kinds, threads):
    pair = pairs.Pair(kinds, threads=threads)
    peers.exchange(pair.front, pair.servers, 1, data.scaled(64 * MIB), 60 * 4)
    pair.proxy.wait_access(1)
    record = pair.proxy.access()[0]
    size = data.scaled(64 * MIB) + 8
    tap.equal((record["bytes_up"], record["bytes_down"]), (size, size), "bytes in the access log")


def _many(kinds, threads, keeper=True):
    pair = pairs.Pair(kinds, threads=threads, keeper=keeper)
    before = pair.proxy.fds()
    peers.exchange(pair.front, pair.servers, data.scaled(200, 50), data.scaled(MIB), 60 * 4)
    records = pair.proxy.wait_access(data.scaled(200, 50))
    odd = [record for record in records if record["end"] not in ("client-fin", "server-fin") or record["error"]]
    tap.equal(odd, [], "sessions that did not end by a FIN")
    pair.proxy.wait_fds(before)
    pair.proxy.check_idle("all sessions are over", 0.5)


for _threads in (1, 2):
    for _kinds in pairs.PAIRS:
        _where = f"{_kinds[0]} to {_kinds[1]}, {_threads} thread{'s' if _threads > 1 else ''}"
        tap.case(f"{_where}: 64 MiB each way at once")(lambda k=_kinds, t=_threads: _large(k, t))
        tap.case(f"{_where}: 200 sessions of 1 MiB each way at once")(lambda k=_kinds, t=_threads: _many(k, t))
for _kinds in pairs.PAIRS:
    tap.case(f"{_kinds[0]} to {_kinds[1]}, --no-keeper: 200 sessions of 1 MiB each way at once")(lambda k=_kinds: _many(k, 2, False))

tap.run()
