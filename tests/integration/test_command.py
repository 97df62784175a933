#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The command line: -t, -T, -V, -h, mistakes and exit statuses."""
import os
import re
import socket
import subprocess

from lib import net, proxy, tap

GOOD = proxy.frontend("f", "127.0.0.1:8080", "b") + proxy.backend("b", "127.0.0.1:9090")


@tap.case("-V and -h: exit status 0, on stdout")
def _version():
    status, out, _ = proxy.run("-V")
    tap.equal(status, 0, "exit status of -V")
    tap.check(re.search(r"spliced.*\d+\.\d+", out), f"-V says {out!r}")
    status, out, _ = proxy.run("-h")
    tap.equal(status, 0, "exit status of -h")
    for option in ("-f", "-t", "-T", "-D", "-v", "-V", "--no-keeper"):
        tap.check(option in out, f"-h tells of {option}")


@tap.case("bad usage: exit status 1, on stderr")
def _usage():
    for args in (["--nonesuch"], ["-f"], ["-x"], ["stray"]):
        status, out, err = proxy.run(*args)
        tap.equal((status, out), (1, ""), f"exit status and stdout of {args}")
        tap.check(err, f"{args} says something on stderr")


@tap.case("a config file that is missing, a directory, or unreadable: exit status 1, named")
def _no_file():
    for path in ("/nonexistent/spliced.conf", "/tmp"):
        for more in ([], ["-t"], ["-T"]):
            status, _, err = proxy.run("--no-keeper", *more, "-f", path)
            tap.equal(status, 1, f"exit status for {path} {more}")
            tap.check(path in err, f"stderr names it: {err!r}")


@tap.case("-t: 0 for a good file")
def _check():
    tap.equal(proxy.run("-t", config=GOOD)[0], 0, "exit status")


@tap.case("-t lists every mistake with FILE:LINE, exit status 1")
def _mistakes():
    directory = tap.tmpdir()
    config = ('threads = many\n'                                            # 1
              '# a comment\n'                                               # 2
              'nonesuch = 1\n'                                              # 3
              'frontend "f" {\n'                                            # 4
              '    listen "127.0.0.1:99999" { }\n'                          # 5
              '    backend = "nowhere"\n'                                   # 6
              '}\n'                                                         # 7
              'backend "b" {\n'                                             # 8
              '    timeouts { connect = 5 }\n'                              # 9
              '    server "a" { address = "unix:' + "/x" * 54 + '" }\n'     # 10
              '    server "a" { address = "127.0.0.1:80" weight = 999 }\n'  # 11
              '}\n')
    for option in ("-t", "-T", "--no-keeper"):
        status, out, err = proxy.run(option, config=config, directory=directory)
        tap.equal((status, out), (1, ""), f"exit status and stdout with {option}")
        lines = {int(number) for number in re.findall(rf"^{re.escape(directory)}/spliced.conf:(\d+): ", err, re.M)}
        tap.check(lines >= {1, 3, 5, 6, 9, 10, 11}, f"lines with mistakes, with {option}: {sorted(lines)}\n{err}")
        for word in ("many", "nonesuch", "99999", "nowhere", "999"):
            tap.check(word in err, f"{word} is named: {err}")


@tap.case("-t and -T touch nothing")
def _touches_nothing():
    directory = tap.tmpdir()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(f"{directory}/stale")
    inode = os.stat(f"{directory}/stale").st_ino
    config = (f'pid-file = "{directory}/pid"\nlog {{ to = "file:{directory}/log" }}\n'
              f'access-log {{ to = "file:{directory}/access" }}\n' +
              proxy.frontend("f", [f"unix:{directory}/stale", f"unix:{directory}/new"], "b") +
              proxy.backend("b", "no-such-host.invalid:80"))
    for option in ("-t", "-T"):
        tap.equal(proxy.run(option, config=config, directory=directory)[0], 0, f"exit status of {option}")
        tap.equal(sorted(os.listdir(directory)), ["spliced.conf", "stale"], f"files after {option}")
        tap.equal(os.stat(f"{directory}/stale").st_ino, inode, "the stale path's inode")
    # Nor does it mind an address in use or a path that could never be bound.
    config = proxy.frontend("f", "unix:/nonexistent/dir/sock", "b") + proxy.backend("b", "127.0.0.1:9")
    tap.equal(proxy.run("-t", config=config)[0], 0, "exit status for a path that cannot be bound")


@tap.case("-T reads back what it prints, unchanged, and serves with it")
def _round_trip():
    directory = tap.tmpdir()
    config = (f'threads = 2\nmax-connections = 100\ndrain = 5s\npid-file = "{directory}/pid"\n'
              'timeouts { client = 90s session = off connect = 1500ms }\nsocket { nodelay = off rcvbuf = 64K }\n'
              f'access-log {{ to = "file:{directory}/a \\"quoted\\" name" format = "json" }}\n' +
              proxy.frontend("web \\\"x\\\"", [(f"unix:{directory}/s", 'mode = "0600" backlog = 7'), f"127.0.0.1:{net.port()}"],
                             "b", "max-connections = 7 half-close = off timeouts { client-fin = 3s }") +
              proxy.backend("b", proxy.server("one", "127.0.0.1:9", "weight = 3 backup = on") +
                            proxy.server("two", "unix:@name", "disabled = on"), "retries = 5 balance = \"roundrobin\""))
    status, first, err = proxy.run("-T", config=config, directory=directory)
    tap.equal((status, err), (0, ""), "exit status and stderr")
    status, second, _ = proxy.run("-T", config=first, directory=tap.tmpdir())
    tap.equal((status, second), (0, first), "exit status and text of the second -T")
    running = proxy.Proxy(first, threads=None, access=None, top='log { to = "stderr" }\n' if "log {" not in first else "",
                          start=False)
    with open(running.path, "w", encoding="utf-8") as file:
        file.write(first)
    running.start()


@tap.case("the same mistakes without -t: nothing was bound, exit status 1")
def _bad_start():
    directory = tap.tmpdir()
    config = proxy.frontend("f", f"unix:{directory}/front", "b") + proxy.backend("other", "127.0.0.1:9")
    tap.equal(proxy.run("--no-keeper", config=config, directory=directory)[0], 1, "exit status")
    tap.equal(os.listdir(directory), ["spliced.conf"], "files afterwards")


@tap.case("a key of a later version is refused as unknown, never ignored")
def _later():
    for key in ('mirror { }', 'tap { }'):
        status, _, err = proxy.run("-t", config=key + "\n" + GOOD)
        tap.equal(status, 1, f"exit status with {key}")
        tap.check(key.split()[0] in err and ":1:" in err, f"stderr: {err!r}")
    for key in ("pass-fds = 5", 'mirror = "b"'):
        config = proxy.frontend("f", ["unix:/a"], "b", key) + proxy.backend("b", "unix:/b")
        status, _, err = proxy.run("-t", config=config)
        tap.equal(status, 1, f"exit status with {key}")
        tap.check(f"unknown key '{key.split()[0]}'" in err, f"stderr: {err!r}")


@tap.case("a log file that cannot be opened: exit status 2, named")
def _bad_log():
    running = proxy.Proxy(GOOD.replace("8080", str(net.port())), access=None, start=False,
                          top='access-log { to = "file:/nonexistent/dir/access.log" }\n')
    running.expected = 2
    running.start(ready=False)
    tap.equal(running.wait(), 2, "exit status")
    tap.check("/nonexistent/dir/access.log" in running.log(), f"stderr: {running.log()!r}")


@tap.case("stdout and stderr closed, /dev/full: no crash, no hang")
def _no_stderr():
    directory = tap.tmpdir()
    path = f"{directory}/spliced.conf"
    with open(path, "w", encoding="ascii") as file:
        file.write(GOOD)
    for line, wanted in (("-T >/dev/full", 2), ("-t >&- 2>&-", 0)):
        done = subprocess.run(["/bin/sh", "-c", f'exec "$0" -f "$1" {line}', proxy.PROGRAM, path], timeout=10 * proxy.slowness(),
                              capture_output=True, check=False)
        tap.equal(done.returncode, wanted, f"exit status of {line}")


tap.run()
