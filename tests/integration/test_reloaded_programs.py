#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Redis, PostgreSQL and nginx with their own clients, all at once, while the config is reloaded: no client has an error."""
import os
import re

from lib import data, net, programs, proxy, tap

SECONDS = max(3, int(10 * data.scale()))


def _pgbench(host, port):
    # A server that has only just come up says so to the first ones.
    out = programs.run("pgbench", "-h", host, "-p", port, "-U", "bench", "-n", "-S", "-c", "8", "-T", str(SECONDS), "postgres",
                       timeout=SECONDS + 30)
    tap.check(re.search(r"failed transactions: 0 ", out), f"pgbench says {out}")
    return out


def _redis(*where):
    """Commands, over connections that stay and over ones that come and go, for about so long."""
    out = programs.run("redis-cli", *where, "--csv", "PING")
    commands = data.scaled(20000, 4000)
    for options in (["-c", "20", "-n", str(commands)], ["-c", "10", "-k", "0", "-n", str(commands // 10)]):
        out = programs.run("redis-benchmark", *where, "-t", "set,get", "--csv", *options, timeout=SECONDS + 60)
        tap.check("rror" not in out and '"GET"' in out, f"redis-benchmark says {out}")


def _wrk(front):
    out = programs.run("wrk", "-t", "1", "-c", "20", "-d", f"{SECONDS}s", f"http://{front}/file", timeout=SECONDS + 30)
    tap.check("Socket errors" not in out and "Non-2xx" not in out, f"wrk says {out}")
    tap.check(float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1)) > 10, f"wrk says {out}")


def _setup():
    """A proxy before all three, TCP to AF_UNIX and AF_UNIX to TCP.  Returns it, its config and its fronts."""
    directory = tap.tmpdir()
    programs.need("redis-server", "redis-benchmark", "redis-cli", "nginx", "wrk")
    fronts, config, tcp_port = {}, "", {}
    for name, start in (("redis", programs.redis), ("postgres", programs.postgres), ("nginx", programs.nginx)):
        where = f"{directory}/{name}-home"
        os.mkdir(where)
        tcp, unix = start(where)
        tcp_port[name] = tcp.rpartition(":")[2]
        fronts[name] = (f"127.0.0.1:{net.port()}", f"unix:{directory}/{name}/.s.PGSQL.5432")
        os.mkdir(f"{directory}/{name}")
        for front, back, kind in ((fronts[name][0], unix, "tcp"), (fronts[name][1], tcp, "unix")):
            config += proxy.frontend(f"{name}-{kind}", front, f"{name}-{kind}") + proxy.backend(f"{name}-{kind}", back)
    programs.run("pgbench", "-h", f"{directory}/postgres-home/postgres", "-p", tcp_port["postgres"], "-U", "bench", "-i", "-q",
                 "postgres")
    with open(f"{directory}/nginx-home/files/file", "wb") as file:
        file.write(data.payload(20000))
    return proxy.Proxy(config, threads=2, access=None), config, fronts


@tap.case(f"redis, PostgreSQL and nginx for {SECONDS} s under reloads: no client sees an error", 180)
def _reloads():
    running, config, fronts = _setup()
    loads = []
    tcp, unix = fronts["postgres"]
    loads += [proxy.thread(_pgbench, "127.0.0.1", tcp.rpartition(":")[2]), proxy.thread(_pgbench, os.path.dirname(unix[5:]), "5432")]
    tcp, unix = fronts["redis"]
    loads += [proxy.thread(_redis, "-p", tcp.rpartition(":")[2]), proxy.thread(_redis, "-s", unix[5:])]
    loads.append(proxy.thread(_wrk, fronts["nginx"][0]))
    reloads = 0
    while any(load.is_alive() for load in loads):
        running.reload(config + proxy.backend(f"unused{reloads}", "127.0.0.1:9"))
        reloads += 1
        loads[0].join(0.25)
    for load in loads:
        load.result(90)
    tap.note(f"{reloads} reloads")
    tap.check(reloads >= 3, f"there were {reloads} reloads")


tap.run()
