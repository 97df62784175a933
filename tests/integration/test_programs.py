#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Real clients and servers: redis, nginx, curl, wrk."""
import hashlib
import os
import re

from lib import data, net, programs, proxy, tap


def _proxy(front, back, threads=1):
    return proxy.Proxy(proxy.frontend("f", front, "b") + proxy.backend("b", back), threads=threads)


def _benchmark(kind, threads):
    programs.need("redis-server", "redis-benchmark", "redis-cli")
    directory = tap.tmpdir()
    tcp, unix = programs.redis(directory)
    front = net.address_of(kind, directory, "front")
    running = _proxy(front, unix if kind == "tcp" else tcp, threads)
    where = ["-s", front[5:]] if kind == "unix" else ["-h", "127.0.0.1", "-p", front.rpartition(":")[2]]
    count = data.scaled(5000, 1000)
    small = "set,get,incr,lpush,lrange_100"
    for tests, options in ((small, ["-c", "50"]), (small, ["-c", "20", "-P", "32"]), ("set,get", ["-c", "10", "-d", "100000"]),
                           (small, ["-c", "20", "-k", "0", "-n", str(count // 5)])):
        out = programs.run("redis-benchmark", *where, "-n", str(count), "-t", tests, "-r", "1000", "--csv", *options)
        tap.check("rror" not in out, f"redis-benchmark says {out}")
        for name in tests.upper().replace("LRANGE_100", "LRANGE").split(","):
            tap.check(f'"{name}' in out, f"no {name} in {out}")
    # 50,000 commands in one pipeline, and their effect.
    text = "".join(f"SET key{n} value{n}\r\n" for n in range(data.scaled(50000)))
    with open(f"{directory}/commands", "w", encoding="ascii") as file:
        file.write("FLUSHALL\r\n" + text)
    out = programs.run("/bin/sh", "-c", f'redis-cli {" ".join(where)} --pipe <"{directory}/commands"')
    tap.check("errors: 0" in out, f"redis-cli --pipe says {out}")
    tap.equal(programs.run("redis-cli", *where, "DBSIZE").strip(), str(data.scaled(50000)), "keys in the end")
    bad = [record for record in running.access() if record["end"] not in ("client-fin", "server-fin", "client-reset")]
    tap.equal(bad, [], "sessions that ended badly")


for _kind, _how, _threads in (("tcp", "TCP to AF_UNIX", 1), ("unix", "AF_UNIX to TCP", 2)):
    tap.case(f"redis-benchmark, {_how}, threads = {_threads}")(lambda k=_kind, t=_threads: _benchmark(k, t))


def _curl(front_kind, back_kind):
    programs.need("nginx", "curl")
    directory = tap.tmpdir()
    tcp, unix = programs.nginx(directory)
    front = net.address_of(front_kind, directory, "front")
    running = _proxy(front, tcp if back_kind == "tcp" else unix)
    size = data.scaled(200 * 1000 * 1000)
    wanted = hashlib.sha256()
    with open(f"{directory}/files/large", "wb") as file:
        for start in range(0, size, 10000000):
            piece = data.payload(min(10000000, size - start), start // 10000000)
            wanted.update(piece)
            file.write(piece)
    where = ["--unix-socket", front[5:], "http://localhost/large"] if front_kind == "unix" else [f"http://{front}/large"]
    slowly = [["--limit-rate", f"{size}"]] if front_kind != back_kind else []
    for options in ([], *slowly):
        programs.run("curl", "-sS", "--fail", "--noproxy", "*", "-o", f"{directory}/got", *options, *where)
        got = hashlib.sha256()
        with open(f"{directory}/got", "rb") as file:
            while piece := file.read(1 << 20):
                got.update(piece)
        tap.equal((os.path.getsize(f"{directory}/got"), got.hexdigest()), (size, wanted.hexdigest()), "size and checksum")
        os.unlink(f"{directory}/got")
    tap.check(all(record["bytes_down"] > size for record in running.wait_access(1 + len(slowly))), "bytes in the access log")


for _front, _back in (("tcp", "tcp"), ("tcp", "unix"), ("unix", "tcp"), ("unix", "unix")):
    tap.case(f"curl of a 200 MB file from nginx, {_front} to {_back}")(lambda f=_front, b=_back: _curl(f, b))


def _wrk(back_kind, threads):
    programs.need("nginx", "wrk")
    directory = tap.tmpdir()
    tcp, unix = programs.nginx(directory)
    for name, size in (("small", 300), ("middle", 100000)):
        with open(f"{directory}/files/{name}", "wb") as file:
            file.write(data.payload(size))
    front = f"127.0.0.1:{net.port()}"
    running = _proxy(front, tcp if back_kind == "tcp" else unix, threads)
    for name, more in (("small", []), ("middle", []), ("small", ["-H", "Connection: close"])):
        out = programs.run("wrk", "-t", "1", "-c", "40", "-d", "1s", *more, f"http://{front}/{name}")
        tap.check("Socket errors" not in out and "Non-2xx" not in out, f"wrk says {out}")
        rate = re.search(r"Requests/sec:\s+([\d.]+)", out)
        tap.check(rate and float(rate.group(1)) > 50, f"wrk says {out}")
        tap.note(f"{name} {' '.join(more)}: {rate.group(1)} requests/s")
    running.check_idle("wrk has left", 0.4)


for _back, _threads in (("tcp", 1), ("unix", 2)):
    tap.case(f"wrk against nginx, tcp to {_back}, threads = {_threads}: no socket errors")(
        lambda b=_back, t=_threads: _wrk(b, t))

tap.run()
