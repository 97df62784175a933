# SPDX-License-Identifier: ISC
"""The network namespace that a benchmark runs in."""
import os
import pathlib
import resource
import subprocess
import sys

INSIDE = "SPLICED_BENCH_NAMESPACE"
CONGESTION = "cubic"
EPHEMERAL = "10000 65000"


def enter():
    """Starts this program anew in a network namespace, where its ports, routes and settings are its own."""
    if INSIDE in os.environ:
        return
    os.environ[INSIDE] = "1"
    flags = "-n" if os.geteuid() == 0 else "-rn"
    os.execvp("unshare", ["unshare", flags, "--", sys.executable, *sys.argv])


def prepare():
    """Loopback up, one congestion control for all, ports enough.

    Only routes can name another congestion control than the machine's default in a namespace, and they work for
    sockets of programs that know nothing of it.
    """
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    commands = ["ip link set lo up"]
    commands += [f"ip route replace local {net} dev lo proto kernel scope host src 127.0.0.1 table local "
                 f"congctl {CONGESTION}" for net in ("127.0.0.0/8", "127.0.0.1")]
    for command in commands:
        subprocess.run(command.split(), check=True, env={**os.environ, "PATH": path})
    pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").write_text(EPHEMERAL)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def prevail():
    """Before other work on the machine, where that is allowed: a stall is to be the proxy's, not the neighbours'."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        print("the machine's other work counts as stalls: root could put this first", file=sys.stderr)
