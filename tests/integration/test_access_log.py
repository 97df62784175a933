#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The access log: every field of every record, and nothing that a client could put into it."""
import json
import os
import re
import signal
import socket
import time

from lib import net, pairs, peers, proxy, tap

FIELDS = ["time", "session", "frontend", "listener", "client", "uid", "gid", "pid", "backend", "server", "address", "sni",
          "bytes_up", "bytes_down", "queue_ms", "connect_ms", "duration_ms", "retries", "tried", "end", "error",
          "client_rtt_us", "client_retrans", "server_rtt_us", "server_retrans"]
NUMBERS = ["bytes_up", "bytes_down", "duration_ms", "retries"]


def _check_record(record):
    tap.equal(sorted(record), sorted(FIELDS), "fields")
    tap.check(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record["time"]), f"time is {record['time']!r}")
    tap.check(isinstance(record["session"], str) and record["session"], f"session is {record['session']!r}")
    for field in NUMBERS:
        tap.check(isinstance(record[field], (int, float)) and not isinstance(record[field], bool) and record[field] >= 0,
                  f"{field} is {record[field]!r}")


@pairs.each("every field of a session that ended well")
def _good(kinds):
    pair = pairs.Pair(kinds)
    client, server = pair.session()
    client.sendall(b"12345")
    server.sendall(b"1234567")
    net.read_exactly(server, 5)
    net.read_exactly(client, 7)
    port = client.getsockname()[1] if pair.is_tcp(0) else None
    time.sleep(0.25)
    client.close()
    tap.equal(server.recv(1), b"", "at the server")
    server.close()
    record = pair.proxy.wait_access(1)[0]
    _check_record(record)
    wanted = {"frontend": "f", "listener": pair.front, "backend": "b", "server": "s1", "address": pair.back, "sni": None,
              "bytes_up": 5, "bytes_down": 7, "retries": 0, "tried": None, "end": "client-fin", "error": None,
              "client": f"127.0.0.1:{port}" if pair.is_tcp(0) else "unix",
              "uid": None if pair.is_tcp(0) else os.getuid(), "gid": None if pair.is_tcp(0) else os.getgid(),
              "pid": None if pair.is_tcp(0) else os.getpid()}
    tap.equal({field: record[field] for field in wanted}, wanted, "fields")
    tap.between(record["duration_ms"], 240, 3000 * proxy.slowness(), "duration_ms")
    tap.between(record["connect_ms"], 0, 1000 * proxy.slowness(), "connect_ms")
    for side, prefix in ((0, "client"), (1, "server")):
        for suffix in ("_rtt_us", "_retrans"):
            value = record[prefix + suffix]
            tap.check(isinstance(value, int) if pair.is_tcp(side) else value is None, f"{prefix + suffix} is {value!r}")
    stamp = time.mktime(time.strptime(record["time"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
    tap.check(abs(stamp - time.time()) < 60, f"time is {record['time']}, now is {time.time()}")


@tap.case("every field is there too where no server was reached")
def _bad():
    pair = pairs.Pair(("tcp", "tcp"), server="disabled = on")
    tap.equal(net.fate(pair.front), "ECONNRESET", "what the client saw")
    record = pair.proxy.wait_access(1)[0]
    _check_record(record)
    for field in ("server", "address", "connect_ms", "server_rtt_us", "server_retrans"):
        tap.equal(record[field], None, field)
    tap.equal(record["end"], "no-server", "end")


@tap.case("session ids differ, records come in the order of the ends")
def _ids():
    pair = pairs.Pair(("tcp", "tcp"), threads=2)
    sessions = [pair.relaying() for _ in range(40)]
    for client, server in sessions:
        client.close()
        server.close()
    records = pair.proxy.wait_access(40)
    tap.equal(len({record["session"] for record in records}), 40, "different ids")
    times = [record["time"] for record in records]
    tap.check(all(_ms(later) >= _ms(first) - 1000 for first, later in zip(times, times[1:])), "times rise, roughly")


def _ms(stamp):
    return int(stamp[11:13]) * 3600000 + int(stamp[14:16]) * 60000 + int(stamp[17:19]) * 1000 + int(stamp[20:23])


@tap.case("a client's own AF_UNIX name cannot get into the log")
def _injection():
    pair = pairs.Pair(("unix", "unix"))
    evil = [b"\0evil\n{\"end\":\"forged\"}\n", f"{pair.proxy.dir}/evil\n\"}}\x1b[31m".encode()]
    for name in evil:
        sock = peers.client(pair.front, bind=name)
        server = pair.servers.take()
        sock.close()
        server.close()
    records = pair.proxy.wait_access(2)
    tap.equal([record["client"] for record in records], ["unix", "unix"], "clients")
    with open(pair.proxy.access_path, "rb") as file:
        text = file.read()
    tap.equal(text.count(b"\n"), 2, "lines")
    tap.check(b"forged" not in text and b"\x1b" not in text, "nothing of the names is there")
    tap.check("forged" not in pair.proxy.log(), "nor in the main log")


@tap.case("odd bytes in names and addresses of the config are escaped")
def _escapes():
    directory = tap.tmpdir()
    front = f'{directory}/odd "name" \u00e9'
    back = f"{directory}/back\\'s"
    peers.Server(f"unix:{back}", peers.echo)
    config = ('frontend "fr\\"ont\\\\é" {\n    listen "unix:' + front.replace('"', '\\"') + '" { }\n    backend = "b b"\n}\n'
              'backend "b b" { server "s\\"1" { address = "unix:' + back.replace("\\", "\\\\") + '" } }\n')
    running = proxy.Proxy(config, directory=directory)
    sock = peers.client(f"unix:{front}")
    sock.sendall(b"x")
    tap.equal(net.read_exactly(sock, 1), b"x", "the echo")
    sock.close()
    record = running.wait_access(1)[0]
    tap.equal((record["frontend"], record["backend"], record["server"]), ('fr"ont\\\u00e9', "b b", 's"1'), "names")
    tap.equal(record["listener"], f"unix:{front}", "listener")


@tap.case("text: the same in one line")
def _text():
    pair = pairs.Pair(("tcp", "unix"), access="text")
    client, server = pair.relaying()
    port = client.getsockname()[1]
    client.close()
    server.close()

    def line():
        try:
            with open(pair.proxy.access_path, encoding="utf-8") as file:
                return file.read()
        except FileNotFoundError:
            return ""
    text = proxy.wait_for(line, "a line")
    tap.equal(text.count("\n"), 1, "lines")
    for word in (f"127.0.0.1:{port}", "client-fin", pair.back, "b", "s1", "f"):
        tap.check(word in text, f"{word} is in {text!r}")
    try:
        json.loads(text)
        raise tap.Failed("the text format is JSON")
    except ValueError:
        pass


@tap.case("access-log = off in a frontend leaves its sessions out")
def _off():
    directory = tap.tmpdir()
    fronts = [f"unix:{directory}/f{n}" for n in range(2)]
    peers.Server(f"unix:{directory}/back", peers.say("hi"))
    running = proxy.Proxy(proxy.frontend("quiet", fronts[0], "b", "access-log = off") + proxy.frontend("loud", fronts[1], "b") +
                          proxy.backend("b", f"unix:{directory}/back"), directory=directory)
    for _ in range(5):
        for front in fronts:
            sock = peers.client(front)
            net.read_exactly(sock, 2)
            sock.close()
    tap.equal({record["frontend"] for record in running.wait_access(5)}, {"loud"}, "frontends in the log")


@tap.case("no access log at all where none is set")
def _none():
    pair = pairs.Pair(("tcp", "tcp"), access=None)
    client, server = pair.relaying()
    client.close()
    server.close()
    pair.proxy.stop()
    tap.check(not os.path.exists(pair.proxy.access_path), "no file")


@tap.case("the main log as JSON: each line an object with time, level and message")
def _main_json():
    pair = pairs.Pair(("tcp", "tcp"), top='log { to = "stderr" format = "json" level = "debug" }\n')
    client, server = pair.relaying()
    client.close()
    server.close()
    pair.proxy.wait_access(1)
    lines = pair.proxy.log().splitlines()
    tap.check(lines, "there are lines")
    for line in lines:
        record = json.loads(line)
        tap.check({"time", "level", "message"} <= set(record), f"a line is {line}")


def _daemon(target):
    directory = tap.tmpdir()
    front = f"unix:{directory}/front"
    peers.Server(f"unix:{directory}/back", peers.say("hi"))
    running = proxy.Proxy(proxy.frontend("f", front, "b") + proxy.backend("b", f"unix:{directory}/back"), access=None,
                          top=f"log {{ to = {target} }}\naccess-log {{ to = {target} }}\n", directory=directory, start=False)
    running.start(ready=False)
    proxy.wait_for(lambda: net.listening(front), "it to listen")
    for _ in range(20):
        tap.equal(net.read_exactly(peers.client(front), 2), b"hi", "the answer")
    # The keeper's own socket to that daemon outlives workers.
    for number in (signal.SIGKILL, signal.SIGHUP):
        former = running.wait_worker()
        os.kill(former if number == signal.SIGKILL else running.pid, number)
        running.wait_worker(former)
        tap.equal(net.read_exactly(peers.client(front), 2), b"hi", f"the answer after {number.name}")
    tap.check(running.running(), "it runs")


for _target in ("syslog", "journal"):
    tap.case(f"to = {_target} does not disturb where nobody listens for it")(lambda t=_target: _daemon(t))


@tap.case("a half-closed session is logged once, when it ends")
def _once():
    pair = pairs.Pair(("tcp", "tcp"))
    client, server = pair.session()
    client.shutdown(socket.SHUT_WR)
    tap.equal(server.recv(1), b"", "at the server")
    time.sleep(0.2)
    tap.equal(pair.proxy.access(), [], "records while it is half-closed")
    server.close()
    pair.proxy.wait_access(1)
    pair.proxy.stop()
    tap.equal(len(pair.proxy.access()), 1, "records in the end")


tap.run()
