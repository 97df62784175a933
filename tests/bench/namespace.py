# SPDX-License-Identifier: ISC
"""The network namespace that a benchmark runs in."""
import contextlib
import ctypes
import os
import pathlib
import resource
import subprocess
import sys

from loads import CONGESTION

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
EPHEMERAL = "10000 65000"
TIME_WAITS = 4096  # more than that, from what was measured before, would make each connection look for its port longer
NICE = -10  # where that is allowed
DESCRIPTORS = 65536  # of each process, where that may be had
libc = ctypes.CDLL(None, use_errno=True)


def enter():
    """Moves this process into a network namespace, where its ports, routes and settings are its own."""
    uid, gid = os.geteuid(), os.getegid()
    if libc.unshare(CLONE_NEWNET | (CLONE_NEWUSER if uid else 0)) < 0:
        error = ctypes.get_errno()
        raise OSError(error, "no network namespace: " + os.strerror(error))
    if uid:
        proc = pathlib.Path("/proc/self")
        (proc / "setgroups").write_text("deny")
        (proc / "uid_map").write_text(f"0 {uid} 1")
        (proc / "gid_map").write_text(f"0 {gid} 1")


def prepare():
    """Loopback up, one congestion control for all, ports and descriptors enough, a share of the CPUs before others'.

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
    pathlib.Path("/proc/sys/net/ipv4/tcp_max_tw_buckets").write_text(str(TIME_WAITS))
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, NICE)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, max(hard, DESCRIPTORS)))
    except (ValueError, PermissionError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def prevail():
    """Before other work on the machine, where that is allowed: a stall is to be the proxy's, not the neighbours'."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        print("the machine's other work counts as stalls: root could put this first", file=sys.stderr)
