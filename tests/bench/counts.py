# SPDX-License-Identifier: ISC
"""What can be counted, and hardly depends on the machine's other work: system calls and user-space instructions."""
import contextlib
import pathlib
import re
import shutil
import signal
import subprocess
import time

from loads import processes, settled_cpu_ns
from proxies import Failure, die_with_parent

ATTACH_S = 10
DUMP_S = 30
PACKAGES = {"strace": "strace", "valgrind": "valgrind"}


def missing():
    """The packages that are needed and are not there."""
    return [package for program, package in PACKAGES.items() if not shutil.which(program)]


def difference(n, count):
    """What one of n more adds to a count of n / 2: both begin alike, by opening the connections."""
    less = count(n // 2)
    return (count(n // 2 + n) - less) / n


def traced(pid):
    """Whether all threads of a process are traced."""
    status = [(task / "status").read_text() for task in pathlib.Path(f"/proc/{pid}/task").iterdir()]
    return all("TracerPid:\t0\n" not in text for text in status)


def syscalls(pids, directory, act):
    """The system calls that processes and what descends from them make while act() runs."""
    found = processes(pids)
    report = pathlib.Path(directory) / "strace"
    report.unlink(missing_ok=True)
    strace = subprocess.Popen(["strace", "-c", "-f", "-o", str(report), *(f"-p{pid}" for pid in found)],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                              preexec_fn=die_with_parent)
    try:
        deadline = time.monotonic() + ATTACH_S
        while not all(traced(pid) for pid in found):
            if strace.poll() is not None or time.monotonic() > deadline:
                strace.kill()
                raise Failure("strace does not attach: " + strace.stderr.read().strip())
            time.sleep(0.01)
        act()
        settled_cpu_ns(pids)
        strace.send_signal(signal.SIGINT)
        strace.wait(ATTACH_S)
    finally:
        strace.kill()
        strace.wait()
        strace.stderr.close()
    total = re.search(r"^\s*100\.00\s+\S+\s+\S*\s+(\d+)\s.*total$", report.read_text(), re.MULTILINE)
    if not total:
        raise Failure("strace counts nothing")
    return int(total.group(1))


class Callgrind:
    """A proxy's one process under valgrind, whose count of instructions is read while it runs."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.prefix = f"--vgdb-prefix={directory}/vgdb"
        for file in self.directory.glob("callgrind.*"):
            file.unlink()

    def under(self):
        """The command that a proxy has to run under."""
        return ("valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={self.directory}/callgrind.%p", self.prefix)

    def count(self, pid):
        """Instructions since the last count, or the start."""
        before = set(self.directory.glob(f"callgrind.{pid}.*"))
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(["vgdb", self.prefix, f"--pid={pid}", "dump"], stdin=subprocess.DEVNULL, capture_output=True,
                           check=False, timeout=DUMP_S)
        new = set(self.directory.glob(f"callgrind.{pid}.*")) - before
        found = [re.search(r"^totals: (\d+)", file.read_text(errors="replace"), re.MULTILINE) for file in new]
        if len(found) != 1 or not found[0]:
            raise Failure("valgrind gives no count")
        return int(found[0].group(1))
