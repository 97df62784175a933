#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""user and group, and the sandbox: what the running processes may still do."""
import os
import pwd
import signal

from lib import net, peers, proxy, tap

BIND = 1 << 10          # CAP_NET_BIND_SERVICE
RAW = 1 << 13           # CAP_NET_RAW


def status(pid):
    """The lines of /proc/PID/status."""
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
        return {key: value.split() for key, _, value in (line.partition(":") for line in file)}


def need_root():
    if os.getuid() != 0:
        raise tap.Skip("needs root")
    if not net.isolated():
        raise tap.Skip("needs a network namespace of its own")


def folder(user):
    """A folder of that user, who is to find the config in it and makes UNIX paths there."""
    directory = tap.tmpdir()
    os.chown(directory, user.pw_uid, user.pw_gid)
    return directory


def nobody():
    need_root()
    return pwd.getpwnam("nobody")


def served(address):
    sock = net.connect(address)
    sock.sendall(b"hello")
    got = net.read_exactly(sock, 5)
    sock.close()
    return got == b"hello"


def wait_lines(running, pattern, count):
    """Waits until so many lines of the log match."""
    proxy.wait_for(lambda: len(running.log_lines(pattern)) >= count, lambda: f"{count} of /{pattern}/:\n{running.log_tail()}")


def simple(front, directory):
    return proxy.frontend("f", front, "b") + proxy.backend("b", f"unix:{directory}/back")


def started(user, front, top='user = "nobody"\n', **options):
    """A proxy that gives up root, before an echo server."""
    directory = folder(user)
    peers.Server(f"unix:{directory}/back", peers.echo)
    os.chmod(f"{directory}/back", 0o777)
    # The folder of the build may be closed to that user, who executes the program at an upgrade.
    running = proxy.Proxy(simple(front, directory), directory=directory, top=top, start=False, **options)
    running.program = f"{directory}/spliced"
    with open(proxy.PROGRAM, "rb") as file, open(running.program, "wb") as copy:
        copy.write(file.read())
    os.chmod(running.program, 0o755)
    return running.start(), directory


def check_dropped(running, user, caps=BIND):
    """Keeper and worker are that user, with those capabilities and no way to others."""
    for pid in running.processes():
        now = status(pid)
        tap.equal(now["Uid"], [str(user.pw_uid)] * 4, f"user ids of {pid}")
        tap.equal(now["Gid"], [str(user.pw_gid)] * 4, f"group ids of {pid}")
        tap.check("0" not in now["Groups"], f"groups of {pid}: {now['Groups']}")
        for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            tap.equal(int(now[kind][0], 16), caps, f"{kind} of {pid}")
        tap.equal(now["NoNewPrivs"], ["1"], f"no_new_privs of {pid}")


@tap.case("user: keeper and worker become it, with CAP_NET_BIND_SERVICE alone; one process too")
def _drop():
    user = nobody()
    for keeper in (True, False):
        running, _ = started(user, "127.0.0.1:80", keeper=keeper)
        check_dropped(running, user)
        tap.check(served("127.0.0.1:80"), "a client of the privileged port is served")
        running.stop()


@tap.case("socket options that need it keep CAP_NET_RAW, too")
def _raw():
    user = nobody()
    running, _ = started(user, "127.0.0.1:80", top='user = "nobody"\nsocket { mark = 7 }\n')
    check_dropped(running, user, BIND | RAW)
    tap.check(served("127.0.0.1:80"), "a client is served")


@tap.case("group alone: the user stays, the group and no other is taken")
def _group():
    need_root()
    user = nobody()
    running, _ = started(user, "127.0.0.1:80", top=f'group = "{user.pw_gid}"\n')
    for pid in running.processes():
        tap.equal(status(pid)["Uid"][0], "0", "user id")
        tap.equal(status(pid)["Gid"], [str(user.pw_gid)] * 4, "group ids")
        tap.equal(status(pid)["Groups"], [str(user.pw_gid)], "supplementary groups")


@tap.case("without user and group nothing is given up by root")
def _root():
    need_root()
    running, _ = started(nobody(), "127.0.0.1:80", top="sandbox = off\n")
    for pid in running.processes():
        tap.equal(status(pid)["Uid"][0], "0", "user id")


@tap.case("later: a crash, a reload to a new privileged port and UNIX path, an upgrade, all as that user")
def _later():
    user = nobody()
    running, directory = started(user, "127.0.0.1:80")
    pid = running.pid
    former = running.worker()
    os.kill(former, signal.SIGKILL)
    former = running.wait_worker(former)
    check_dropped(running, user)
    running.write_config(simple(["127.0.0.1:81", f"unix:{directory}/front"], directory))
    running.signal(signal.SIGHUP)
    running.wait_log("reloaded: worker")
    check_dropped(running, user)
    tap.equal(os.stat(f"{directory}/front").st_uid, user.pw_uid, "owner of the new path")
    for address in ("127.0.0.1:81", f"unix:{directory}/front"):
        tap.check(served(address), f"{address} is served")
    running.signal(signal.SIGUSR2)
    running.wait_log("upgraded: this is")
    wait_lines(running, r"worker \d+ \(PID \d+\) is ready", 2)
    tap.equal(running.pid, pid, "PID")
    check_dropped(running, user)
    running.write_config(simple("127.0.0.1:82", directory))
    running.signal(signal.SIGHUP)
    wait_lines(running, "reloaded: worker", 2)
    tap.check(served("127.0.0.1:82"), "the port of the reload after the upgrade")
    tap.check(not os.path.exists(f"{directory}/front"), "the path that is gone was removed")


@tap.case("a reload that changes user or group is refused, and says so")
def _change():
    user = nobody()
    running, directory = started(user, "127.0.0.1:80")
    worker = running.worker()
    head = running.head
    for number, other in enumerate(('user = "daemon"\n', 'user = "nobody"\ngroup = "daemon"\n', ""), 1):
        running.head = head.replace('user = "nobody"\n', other)
        running.write_config(simple("127.0.0.1:80", directory))
        running.signal(signal.SIGHUP)
        wait_lines(running, "reload refused: user and group cannot change", number)
    tap.equal(running.worker(), worker, "the worker")
    tap.check(served("127.0.0.1:80"), "a client is served")


@tap.case("a reload that needs a capability that was given up is refused before anything stops")
def _lacks():
    user = nobody()
    running, directory = started(user, "127.0.0.1:80")
    worker = running.worker()
    running.write_config("socket { mark = 7 }\n" + simple("127.0.0.1:80", directory))
    running.signal(signal.SIGHUP)
    running.wait_log("reload refused: the configuration needs CAP_NET_RAW")
    tap.equal(running.worker(), worker, "the worker")
    tap.check(served("127.0.0.1:80"), "a client is served")


@tap.case("an unknown user: exit status 2, named; nothing was bound")
def _unknown():
    directory = tap.tmpdir()
    for key in ("user", "group"):
        code, _, err = proxy.run(config=f'{key} = "nonesuch"\n' + simple(f"unix:{directory}/front", directory), directory=directory)
        tap.equal(code, 2, "exit status")
        tap.check("nonesuch" in err, f"stderr: {err!r}")
        tap.check(not os.path.exists(f"{directory}/front"), "the path")
        tap.equal(proxy.run("-t", config=f'{key} = "nonesuch"\n' + simple("127.0.0.1:80", directory))[0], 0, "status of -t")


@tap.case("a user that one may not become: exit status 2")
def _not_root():
    need_root()
    user = nobody()
    directory = folder(user)
    running = proxy.Proxy('user = "daemon"\n' + simple(f"unix:{directory}/front", directory), directory=directory, user=user.pw_uid,
                          start=False)
    running.expected = 2
    running.start(ready=False)
    tap.equal(running.wait(), 2, "exit status")
    tap.check(running.log_lines("cannot (take|become)"), f"the log: {running.log()}")
    tap.check(not os.path.exists(f"{directory}/front"), "the path was removed")


@tap.case("logs: made for the user; one that it cannot open is named at start, exit status 2")
def _logs():
    user = nobody()
    directory = folder(user)
    for name in ("main.log", "access.log"):
        running = proxy.Proxy(simple("127.0.0.1:80", directory), directory=directory, start=False, access="json",
                              top=f'user = "nobody"\nlog {{ to = "file:{directory}/main.log" }}\n')
        with open(f"{directory}/{name}", "w", encoding="ascii"):
            os.chmod(f"{directory}/{name}", 0o600)
        running.expected = 2
        running.start(ready=False)
        tap.equal(running.wait(), 2, f"exit status with {name} of root")
        with open(running.log_path, encoding="utf-8") as file:
            text = file.read()
        tap.check(f"{directory}/{name} as user nobody" in text, f"stderr: {text!r}")
        os.unlink(f"{directory}/{name}")
        for left in ("main.log", "access.log"):
            if os.path.exists(f"{directory}/{left}"):
                os.unlink(f"{directory}/{left}")
    running = proxy.Proxy(simple("127.0.0.1:80", directory), directory=directory,
                          top=f'user = "nobody"\nlog {{ to = "file:{directory}/main.log" }}\n')
    for name in ("main.log", "access.log"):
        tap.equal(os.stat(f"{directory}/{name}").st_uid, user.pw_uid, f"owner of {name}")
        os.rename(f"{directory}/{name}", f"{directory}/{name}.1")
    running.signal(signal.SIGUSR1)
    for name in ("main.log", "access.log"):
        proxy.wait_for(lambda name=name: os.path.exists(f"{directory}/{name}"), f"{name} after a rotation")


@tap.case("sandbox: the worker is in it, the keeper is not; off switches it off; the log tells")
def _sandbox():
    directory = tap.tmpdir()
    config = simple(f"unix:{directory}/front", directory)
    for keeper in (True, False):
        running = proxy.Proxy(config, directory=directory, keeper=keeper)
        now = status(running.worker())
        tap.equal((now["Seccomp"], now["NoNewPrivs"]), (["2"], ["1"]), "seccomp and no_new_privs of the worker")
        if keeper:
            tap.equal(status(running.pid)["Seccomp"], status("self")["Seccomp"], "seccomp of the keeper")
        for pid in os.listdir(f"/proc/{running.worker()}/task"):
            tap.equal(status(pid)["Seccomp"], ["2"], f"seccomp of thread {pid}")
        tap.check(running.log_lines("sandbox: seccomp: in force, landlock: "), f"the log: {running.log()}")
        running.stop()
        running = proxy.Proxy(config, directory=directory, top="sandbox = off\n", keeper=keeper)
        tap.equal(status(running.worker())["Seccomp"], status("self")["Seccomp"], "seccomp with sandbox = off")
        tap.check(running.log_lines("sandbox: off"), f"the log: {running.log()}")
        running.stop()


@tap.case("sandbox: each worker is in it, after a crash, a reload and an upgrade; a reload can switch it")
def _sandbox_later():
    directory = tap.tmpdir()
    peers.Server(f"unix:{directory}/back", peers.echo)
    front = f"127.0.0.1:{net.port()}"
    running = proxy.Proxy(simple(front, directory), directory=directory)
    plain = status("self")["Seccomp"]
    former = running.worker()

    def next_worker(wanted, what):
        nonlocal former
        former = running.wait_worker(former)
        proxy.wait_for(lambda: served(front), "a client to be served")
        tap.equal(status(former)["Seccomp"], wanted, f"seccomp {what}")

    os.kill(former, signal.SIGKILL)
    next_worker(["2"], "after a crash")
    running.signal(signal.SIGUSR2)
    next_worker(["2"], "after an upgrade")
    running.write_config("sandbox = off\n" + simple(front, directory))
    running.signal(signal.SIGHUP)
    next_worker(plain, "after a reload to off")
    running.write_config("sandbox = on\n" + simple(front, directory))
    running.signal(signal.SIGHUP)
    next_worker(["2"], "after a reload to on")


@tap.case("-V tells what this kernel offers")
def _version():
    out = proxy.run("-V")[1]
    tap.check("seccomp: " in out and "landlock: " in out and "libsystemd: " in out, f"-V says {out!r}")


tap.run()
