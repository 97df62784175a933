#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The unit under a real systemd: it boots in namespaces of its own, over a copy of the file system that is thrown away.

A shell script plays the administrator there and writes what it sees; the cases look at that.
"""
import functools
import os
import re
import shutil
import subprocess

from lib import proxy, tap

TOP = os.environ.get("top_srcdir", f"{os.path.dirname(__file__)}/../..")
BUILT = os.environ.get("top_builddir", os.path.dirname(os.path.abspath(proxy.PROGRAM)))
SYSTEMD = "/lib/systemd/systemd"
BOOT_S = 120

# Puts a root together and becomes systemd in it.  $1: a folder with what is to be there, and for the results.
BOOT = r"""
set -e
work=$1/boot
mkdir "$work"
mount -t tmpfs tmpfs "$work"
mkdir "$work/up" "$work/work" "$work/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$work/up,workdir=$work/work" "$work/root"
cd "$work/root"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs tmpfs tmp
mount --rbind /dev dev
mount --bind "$1" mnt
rm -f etc/systemd/system/*.wants/*
for unit in admin.target admin.service spliced.service spliced.socket; do cp "mnt/$unit" etc/systemd/system/; done
cp mnt/spliced usr/sbin/
exec chroot . env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd \
        --unit=admin.target --log-target=null --show-status=0
"""

ADMIN_TARGET = """[Unit]
Requires=admin.service
"""

ADMIN_SERVICE = """[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
ExecStart=/bin/sh /mnt/admin.sh
StandardOutput=file:/mnt/out
StandardError=file:/mnt/err
"""

# Each line of the output is KEY=VALUE.
ADMIN = r"""
conf=/etc/spliced.conf
see() { systemctl show -P "$1" spliced.service; }
worker() { cut -d' ' -f1 "/proc/$(see MainPID)/task/$(see MainPID)/children"; }
until_status() { n=0; until see StatusText | grep -q "$1" || [ $n -ge 100 ]; do sleep 0.1; n=$((n + 1)); done; }
until_other() { n=0; until [ -n "$(worker)" ] && [ "$(worker)" != "$1" ] || [ $n -ge 100 ]; do sleep 0.1; n=$((n + 1)); done; }
bye() { journalctl -u spliced --no-pager >/mnt/journal 2>&1; systemctl --force --force poweroff; exit; }

ip link set lo up
systemd-sysusers /mnt/sysusers.conf
systemd-tmpfiles --create /mnt/tmpfiles.conf
cat >$conf <<X
frontend "f" { listen ":80" { } listen "unix:/run/spliced/local.sock" { } backend = "b" }
backend "b" { server "s" { address = "unix:/run/echo.sock" } }
X
systemctl daemon-reload
timeout 30 systemctl start spliced.service
echo "start=$?"
[ "$(see MainPID)" -gt 1 ] || bye
until_status '^serving: 0'
echo "state=$(see ActiveState) $(see StatusText)"
for pid in $(see MainPID) $(worker); do
        awk -F'\t' '/^(Uid|CapEff|NoNewPrivs|Seccomp):/ { printf "%s%s ", $1, $2 }' "/proc/$pid/status" | sed 's/^/process=/'
        echo
done
echo "user=$(id -u spliced)"
main=$(see MainPID); former=$(worker)
systemctl reload spliced
echo "reload=$?"
until_other "$former"; until_status '^serving: 0'
echo "after-reload=$(see ActiveState) $([ "$(see MainPID)" = "$main" ] && echo same)"
echo 'nonsense = 1' >>$conf
former=$(worker)
systemctl reload spliced 2>/dev/null
echo "bad-reload=$? $(see ActiveState) $([ "$(worker)" = "$former" ] && echo same)"
kill -HUP "$main"
until_status 'refused'
echo "refused=$(see ActiveState) $(see StatusText)"
sed -i '$d' $conf
former=$(worker)
kill -USR2 "$main"
until_other "$former"; until_status '^serving: 0'
echo "upgrade=$(see ActiveState) $([ "$(see MainPID)" = "$main" ] && echo same)"
former=$(worker)
kill -KILL "$former"
until_other "$former"; until_status '^serving: 0'
echo "crash=$(see ActiveState) $(see NRestarts) $([ "$(see MainPID)" = "$main" ] && echo same)"
kill -STOP "$main"
n=0; until [ "$(see NRestarts)" = 1 ] && [ "$(see ActiveState)" = active ] || [ $n -ge 200 ]; do sleep 0.1; n=$((n + 1)); done
echo "watchdog=$(see ActiveState) $(see NRestarts) $([ "$(see MainPID)" = "$main" ] || echo other)"
sleep 3
echo "fed=$(see ActiveState) $(see NRestarts)"
systemctl stop spliced
echo "stop=$? $(see ActiveState) $(see Result) $(ls /run/spliced)"
sed -i 's/listen ":80" { }/listen "fd:web" { }/' $conf
systemctl start spliced.socket
echo "socket=$(see ActiveState)"
python3 - <<X
import os, socket, threading
echo = socket.socket(socket.AF_UNIX)
echo.bind("/run/echo.sock")
os.chmod("/run/echo.sock", 0o666)
echo.listen(5)
def serve():
    client, _ = echo.accept()
    client.sendall(client.recv(100))
    client.close()
threading.Thread(target=serve, daemon=True).start()
client = socket.create_connection(("127.0.0.1", 8080), 10)
client.settimeout(10)
client.sendall(b"hello")
print("echo=" + client.recv(100).decode(), flush=True)
X
echo "activated=$(see ActiveState)"
systemctl stop spliced.socket spliced.service
echo "end=$? $(see Result)"
bye
"""


def cgroup():
    """A control group of our own, which systemd will take for the root of all; removed when the case is over.  Or None."""
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        mounts = [line.split()[4] for line in file if " - cgroup2 " in line]
    with open("/proc/self/cgroup", encoding="utf-8") as file:
        own = [line[3:].strip() for line in file if line.startswith("0::")]
    if not mounts or not own:
        return None
    path = f"{mounts[0]}{own[0].rstrip('/')}/spliced-test-{os.getpid()}"
    try:
        os.mkdir(path)
    except OSError:
        return None

    def remove():
        for folder, _, _ in os.walk(path, topdown=False):
            proxy.wait_for(lambda folder=folder: _removed(folder), f"{folder} to be empty")

    tap.cleanup(remove)
    return path


def _removed(folder):
    try:
        os.rmdir(folder)
    except OSError:
        return False
    return True


@functools.cache
def booted():
    """Boots once.  Returns what the administrator saw, {key: [value, ...]}, or why this cannot be had."""
    if os.getuid() != 0:
        return "needs root"
    if proxy.sanitizer():
        return "a sanitizer wants memory that the unit does not let be executable"
    if "libsystemd: yes" not in proxy.run("-V")[1]:
        return "built without libsystemd"
    if not all(map(os.path.exists, (SYSTEMD, "/usr/bin/python3", "/usr/bin/unshare"))):
        return "needs systemd, unshare and python3 of the system"
    with open(f"{BUILT}/contrib/systemd/spliced.service", encoding="utf-8") as file:
        unit = file.read()
    folder = tap.tmpdir()
    # Places that the unit can reach whoever builds it where, and a short watchdog, so that a test can wait for it.
    unit = re.sub(r"^(Exec\w*=)\S*/spliced ", r"\1/usr/sbin/spliced ", unit, flags=re.M)
    unit = re.sub(r"-f \S*/spliced\.conf$", "-f /etc/spliced.conf", unit, flags=re.M)
    unit = re.sub(r"^WatchdogSec=.*", "WatchdogSec=2s", unit, flags=re.M)
    files = {"admin.target": ADMIN_TARGET, "admin.service": ADMIN_SERVICE, "spliced.service": unit, "boot.sh": BOOT,
             "admin.sh": ADMIN}
    for name, text in files.items():
        with open(f"{folder}/{name}", "w", encoding="utf-8") as file:
            file.write(text)
    for name, source in (("spliced.socket", "spliced.socket"), ("sysusers.conf", "sysusers.d/spliced.conf"),
                         ("tmpfiles.conf", "tmpfiles.d/spliced.conf")):
        shutil.copy(f"{TOP}/contrib/systemd/{source}", f"{folder}/{name}")
    shutil.copy(proxy.PROGRAM, f"{folder}/spliced")
    command = ["timeout", "--kill-after=5", str(BOOT_S), "unshare", "--mount", "--pid", "--fork", "--kill-child", "--cgroup",
               "--net", "--ipc", "--uts", "--propagation=private", "sh", f"{folder}/boot.sh", folder]
    group = cgroup()
    if group:
        command = ["sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', group, *command]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                          timeout=BOOT_S + 20, check=False)
    if not os.path.exists(f"{folder}/out"):
        return f"systemd does not boot in namespaces here: {done.stderr.strip()[-200:]}"
    seen = {}
    with open(f"{folder}/out", encoding="utf-8") as file:
        for line in file:
            key, _, value = line.rstrip("\n").partition("=")
            seen.setdefault(key, []).append(value)
    for name in ("err", "journal"):
        if os.path.exists(f"{folder}/{name}"):
            with open(f"{folder}/{name}", encoding="utf-8", errors="replace") as file:
                seen[name] = [file.read()]
    return seen


def boot():
    if isinstance(booted(), str):
        raise tap.Skip(booted())
    return booted()


def saw(key, wanted):
    """Fails where the administrator saw something else."""
    got = boot().get(key, ["nothing"])
    if not re.fullmatch(wanted, got[0]):
        raise tap.Failed(f"{key}: {got[0]!r}, wanted /{wanted}/\n" + boot().get("err", [""])[0][-2000:] +
                         boot().get("journal", [""])[0][-4000:])


@tap.case("the unit starts and is ready, as the user of sysusers.d, with one capability, filtered", BOOT_S + 30)
def _start():
    saw("start", "0")
    saw("state", "active serving: 0 sessions")
    user = boot()["user"][0]
    for process in boot()["process"]:
        tap.equal(process.split(), [f"Uid:{user}", "CapEff:0000000000000400", "NoNewPrivs:1", "Seccomp:2"], "a process")


@tap.case("systemctl reload: succeeds, or fails where the file is wrong; the status says why")
def _reload():
    saw("reload", "0")
    saw("after-reload", "active same")
    saw("bad-reload", "[1-9][0-9]* active same")
    saw("refused", "active serving: 0 sessions; the last reload was refused: .*nonsense.*")


@tap.case("an upgrade and a crash: the service stays active, with the same main process")
def _upgrade():
    saw("upgrade", "active same")
    saw("crash", "active 0 same")


@tap.case("the watchdog: a main process that stands still is replaced, one that does not is left alone")
def _watchdog():
    saw("watchdog", "active 1 other")
    saw("fed", "active 1")


@tap.case("systemctl stop: a clean end, and our path is gone")
def _stop():
    saw("stop", "0 inactive success ")


@tap.case("a socket unit: its first client starts the service and is served")
def _socket():
    saw("socket", "inactive")
    saw("echo", "hello")
    saw("activated", "active")
    saw("end", "0 success")


tap.run()
