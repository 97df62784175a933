# SPDX-License-Identifier: ISC
"""The load tool, and what a proxy spends on what it does: CPU time and memory of all its processes."""
import contextlib
import json
import os
import pathlib
import resource
import select
import subprocess
import time

from proxies import SERVER_PORTS, Failure, die_with_parent, unix_path

LOAD_S = 60  # no single load runs longer
HOLD_S = 300  # nor are idle sessions held longer
WHOLE_RUN_S = 3600
SETTLE_S = 0.03  # a proxy that has used no CPU for so long has done what it had to
SETTLE_MAX_S = 3
TICK_NS = 10**9 // os.sysconf("SC_CLK_TCK")
CONGESTION = "cubic"


class Servers:
    """The sink and echo servers behind every proxy, on all addresses; a context manager."""

    def __init__(self, bulk, directory, verify=False):
        self.bulk, self.directory, self.verify = bulk, directory, verify
        self.processes = []

    def __enter__(self):
        try:
            for service in ("sink", "echo"):
                addresses = [f"0.0.0.0:{SERVER_PORTS[service]}", unix_path(self.directory, service)]
                verify = ["-v"] if self.verify else []
                self.processes.append(subprocess.Popen(
                    [self.bulk, service, "-t", str(WHOLE_RUN_S), *verify, *addresses],
                    stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent))
            for process in self.processes:
                if process.stdout.readline() != "ready\n":
                    raise Failure("the load tool's servers do not start")
        except BaseException:
            self.__exit__()
            raise
        return self

    def pids(self):
        return [process.pid for process in self.processes]

    def __exit__(self, *_):
        for process in self.processes:
            process.terminate()
            process.wait()
            process.stdout.close()


def result(said, errors):
    try:
        return json.loads(said)
    except json.JSONDecodeError:
        raise Failure(errors.strip() or f"the load tool says {said!r}") from None


def load(bulk, mode, address, **options):
    """Runs the load tool to its end and returns the figures that it prints."""
    flags = [text for key, value in options.items() for text in (f"-{key}", str(value))]
    done = subprocess.run([bulk, mode, "-t", str(LOAD_S), *flags, address], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=LOAD_S + 10)
    return result(done.stdout if done.returncode == 0 else "", done.stderr)


def iperf(address, amount):
    """One stream of iperf3 through a proxy: bytes that arrived, and the seconds.  Its server serves one client."""
    host, _, port = address.rpartition(":")
    server = subprocess.Popen(["iperf3", "-s", "-1", "--forceflush", "-p", str(SERVER_PORTS["iperf"])],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              preexec_fn=die_with_parent)
    try:
        said = ""
        while "listening" not in said:
            line = server.stdout.readline()
            if not line:
                raise Failure("iperf3's server does not start: " + said.strip())
            said += line
        done = subprocess.run(["iperf3", "-c", host, "-p", port, "-n", str(amount), "-C", CONGESTION, "-J"],
                              capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=LOAD_S)
        end = result(done.stdout, done.stderr)
        if "error" in end:
            raise Failure("iperf3: " + end["error"])
        received = end["end"]["sum_received"]
        if not received["bytes"] or not received["seconds"]:
            raise Failure("iperf3: nothing arrived")
        return {"bytes": received["bytes"], "seconds": received["seconds"]}
    finally:
        server.terminate()
        server.wait()
        server.stdout.close()


class Idle:
    """Connections that are only there; a context manager.  The first step() opens them, each further one
    passes bytes there and back over every one.

    The process exists before its connections do: it shares the pages of the C library with the proxy, whose
    share of them is then the same before and after.
    """

    def __init__(self, bulk, address, connections, size):
        self.command = [bulk, "idle", "-t", str(HOLD_S), "-c", str(connections), "-b", str(size), address]
        self.process = None

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
        return self

    def step(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        ready, _, _ = select.select([self.process.stdout], [], [], LOAD_S + 10)
        said = self.process.stdout.readline() if ready else ""
        if not said:
            self.process.kill()
        return result(said, "" if said else self.process.stderr.read())

    def __exit__(self, *_):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()


def processes(pids):
    """Processes and all that descend from them."""
    found = list(pids)
    for parent in found:
        with contextlib.suppress(OSError):  # one that has just ended
            for task in pathlib.Path(f"/proc/{parent}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
    return found


@contextlib.contextmanager
def pinned(pids):
    """Everything on one CPU: these processes with their threads, and what is started meanwhile."""
    everywhere = os.sched_getaffinity(0)
    one = {max(everywhere)}

    def place(cpus):
        os.sched_setaffinity(0, cpus)
        for pid in processes(pids):
            for task in os.listdir(f"/proc/{pid}/task"):
                with contextlib.suppress(ProcessLookupError):
                    os.sched_setaffinity(int(task), cpus)

    place(one)
    try:
        yield
    finally:
        place(everywhere)


def cpu_ns(pids):
    """CPU time, user and system, of a proxy's processes: nanoseconds, where /proc/PID/stat has ticks of 10 ms.

    What children have used that are gone is in ticks alone: only a proxy with a process for each connection has those.
    """
    total = 0
    for process in processes(pids):
        with contextlib.suppress(OSError):
            for task in pathlib.Path(f"/proc/{process}/task").iterdir():
                total += int((task / "schedstat").read_text().split()[0])
            fields = pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[13]) + int(fields[14])) * TICK_NS
    return total


def load_cpu_ns(server_pids):
    """CPU time of servers, and of what this process has started and seen end: the loads."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return cpu_ns(server_pids) + int((ended.ru_utime + ended.ru_stime) * 1e9)


def settled_cpu_ns(pids):
    """The same once it has stood still, so that what the proxy does after its client has left is counted."""
    deadline = time.monotonic() + SETTLE_MAX_S
    last = cpu_ns(pids)
    while time.monotonic() < deadline:
        time.sleep(SETTLE_S)
        now = cpu_ns(pids)
        if now == last:
            return now
        last = now
    return last


def pss_bytes(pids):
    """User-space memory of a proxy's processes, shared pages by share."""
    total = 0
    for process in processes(pids):
        rollup = pathlib.Path(f"/proc/{process}/smaps_rollup").read_text()
        total += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return total * 1024


def descriptors(pids):
    """Open descriptors of the proxy's largest process."""
    return max(len(os.listdir(f"/proc/{process}/fd")) for process in processes(pids))
