# SPDX-License-Identifier: ISC
"""The program under test: its config, its process, its logs, what it costs."""
import ctypes
import functools
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import threading
import time

from lib import tap

PROGRAM = os.environ.get("SPLICED", "./spliced")
POOLED = 64             # descriptors of empty pipes that a thread may keep for later
SANITIZER_REPORT = re.compile(r"(Address|Leak|Thread|UndefinedBehavior)Sanitizer|runtime error:")


@functools.cache
def sanitizer():
    """"thread", "address" or None: what the program was built with."""
    with open(PROGRAM, "rb") as file:
        image = file.read()
    return "thread" if b"__tsan_init" in image else "address" if b"__asan_init" in image else None


def slowness():
    """By how much longer things may take."""
    return 4 if sanitizer() else 1


def wait_for(condition, what, timeout=10.0):
    """Polls until condition() is true and returns its value."""
    until = time.monotonic() + timeout * slowness()
    pause = 0.002
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > until:
            raise tap.Failed(f"waited in vain: {what() if callable(what) else what}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


def section(name, body):
    return f"{name} {{ {body} }}\n" if body else ""


def server(name, address, extra=""):
    return f'    server "{name}" {{ address = "{address}" {extra} }}\n'


def frontend(name, listen, backend, extra=""):
    """A frontend; `listen` is one address, or a list of addresses or (address, keys) pairs."""
    listens = [listen] if isinstance(listen, str) else listen
    lines = "".join(f'    listen "{a}" {{ {keys} }}\n'
                    for a, keys in ((entry, "") if isinstance(entry, str) else entry for entry in listens))
    return f'frontend "{name}" {{\n{lines}    backend = "{backend}"\n    {extra}\n}}\n'


def backend(name, servers, extra=""):
    """A backend; `servers` is one address, or server() lines joined."""
    if "server" not in servers:
        servers = server("s1", servers)
    return f'backend "{name}" {{\n{servers}    {extra}\n}}\n'


def _state(pid):
    """The letter of a process's state; X where there is none."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


def ended(pid):
    """Whether no process has that id, or one that only waits to be reaped: whose other threads have ended, too."""
    try:
        return _state(pid) in "ZX" and len(os.listdir(f"/proc/{pid}/task")) <= 1
    except (FileNotFoundError, ProcessLookupError):
        return True


def freeze(pid):
    """Stops a process, so that it stands still when this returns.  Returns whether it does; else it has ended."""
    try:
        os.kill(pid, signal.SIGSTOP)
    except ProcessLookupError:
        return False
    return wait_for(lambda: _state(pid) in "TZX" and _state(pid), f"process {pid} to stop") == "T"


_PTRACE_SEIZE, _PTRACE_INTERRUPT, _PTRACE_DETACH, _WALL = 0x4206, 0x4207, 17, 0x40000000


class FrozenThread:
    """One thread of a worker, found by its name, that stands still until its process is killed: traced, and stopped."""

    def __init__(self, running, name):
        worker = running.worker()
        self.number = next(tid for tid in running.threads() if _thread_name(worker, tid) == name)
        libc = ctypes.CDLL(None, use_errno=True)
        libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        for request in (_PTRACE_SEIZE, _PTRACE_INTERRUPT):
            if libc.ptrace(request, self.number, None, None) < 0:
                raise PermissionError(f"ptrace: {os.strerror(ctypes.get_errno())}")
        os.waitpid(self.number, _WALL)
        # Where the case fails before that: else neither would end.
        tap.cleanup(libc.ptrace, _PTRACE_DETACH, self.number, None, None)

    def wait(self):
        """Until it is killed.  Nobody learns of the end of its process before."""
        while not os.WIFSIGNALED(os.waitpid(self.number, _WALL)[1]):
            pass


def _thread_name(pid, tid):
    with open(f"/proc/{pid}/task/{tid}/comm", encoding="ascii", errors="replace") as file:
        return file.read().strip()


def children(pid):
    """The processes that a process started and that have not ended, in the order of their start."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(number) for number in file.read().split() if not ended(number)]
    except (FileNotFoundError, ProcessLookupError):
        return []


class Proxy:
    """A running spliced.  Stopped when the case is over, and then it must have ended well.

    As its users run it, that is a keeper, whose PID is `pid`, and a worker; with keeper=False one process is both.
    They share one table of descriptors, so counts of these are the keeper's; CPU and memory are added up.
    """

    def __init__(self, config, *, threads=1, top="", access="json", log_level="info", nofile=None, user=None,
                 directory=None, start=True, args=(), stderr=None, keeper=True, program=None):
        self.dir = directory or tap.tmpdir()
        self.path = f"{self.dir}/spliced.conf"
        self.log_path = f"{self.dir}/stderr.log"
        self.access_path = f"{self.dir}/access.log"
        head = f"threads = {threads}\n" if threads else ""
        if "log {" not in top.replace("access-log {", ""):
            head += f'log {{ to = "stderr" level = "{log_level}" }}\n'
        if access:
            head += f'access-log {{ to = "file:{self.access_path}" format = "{access}" }}\n'
        self.admin_path = f"{self.dir}/admin.sock"
        self.head = head + top + "\n"
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(self._whole(self.head + config))
        self.program = program or PROGRAM
        if user is not None:
            # That user may have no way into the folder of the build.
            self.program = shutil.copy(self.program, f"{self.dir}/spliced")
            os.chown(self.dir, user, user)
        self.keeper = keeper
        self.nofile, self.user, self.args, self.stderr = nofile, user, list(args), stderr
        self.threads_wanted = threads
        self.process = None
        self.expected = 0
        self.torn = False       # workers are killed while they may be writing
        own = re.search(r'^log \{ to = "file:([^"]+)"', top, re.M)
        self.main_log_path = own.group(1) if own else None
        if start:
            self.start()

    def _whole(self, config):
        """With an admin socket of its own: the default path is one for the whole machine."""
        if re.search(r"^admin\b", config, re.M):
            return config
        return f'{config}\nadmin {{ socket = "{self.admin_path}" }}\n'

    def command(self, *args):
        line = [self.program, *([] if self.keeper else ["--no-keeper"]), "-f", self.path, *args]
        if self.nofile:
            line = ["/bin/sh", "-c", f'ulimit -n {self.nofile} && exec "$@"', "sh", *line]
        return line

    def start(self, ready=True):
        said = len(self.log())
        identity = {} if self.user is None else {"user": self.user, "group": self.user, "extra_groups": []}
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command(*self.args), stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=self.stderr if self.stderr is not None else log,
                                            close_fds=True, **identity)
        tap.cleanup(self.stop)
        if ready:
            self.wait_log(r"\bready\b", timeout=15, after=said)
        return self

    @property
    def pid(self):
        return self.process.pid

    def worker(self):
        """The PID of the worker; of the one process where there is no keeper; 0 while there is none."""
        if not self.keeper:
            return self.pid
        # A helper that checks a config or a binary is younger than the worker, or gone before the next one starts.
        return next(iter(children(self.pid)), 0)

    def wait_worker(self, former=0, timeout=10.0):
        """Waits for a worker that is none of the former ones (a PID, or several), and returns its PID."""
        former = {former} if isinstance(former, int) else set(former)
        return wait_for(lambda: self.worker() not in former | {0} and self.worker(), "a new worker", timeout)

    def freeze(self):
        """Makes the worker stand still."""
        freeze(self.worker())

    def thaw(self):
        """Lets the worker go on."""
        os.kill(self.worker(), signal.SIGCONT)

    def processes(self):
        return [pid for pid in {self.pid, self.worker()} if pid]

    def write_config(self, config, head=None):
        """Puts another config, after the same head or another, where a reload reads it."""
        with open(f"{self.path}.new", "w", encoding="utf-8") as file:
            file.write(self._whole((self.head if head is None else head) + config))
        os.rename(f"{self.path}.new", self.path)

    def reload(self, config=None, head=None):
        """Reloads, that config if one is given, and waits until it is in force."""
        if config is not None:
            self.write_config(config, head)
        said = len(self.log())
        self.signal(signal.SIGHUP)
        self.wait_log(r"reloaded: worker \d+ serves the new config; \d+ sessions go on, 0 were reset", after=said)

    def set_descriptor_limit(self, soft, hard):
        """Sets the limits of all its processes."""
        for pid in self.processes():
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))

    # Its end

    def signal(self, number):
        self.process.send_signal(number)

    def running(self):
        return self.process.poll() is None

    def wait(self, timeout=10.0):
        """Waits for its end and returns the exit status (negative: the signal that killed it)."""
        try:
            return self.process.wait(timeout * slowness())
        except subprocess.TimeoutExpired:
            raise tap.Failed(f"still runs after {timeout * slowness():.0f} s\n{self.log_tail()}") from None

    def stop(self):
        """Stops it now.  Raises where it did not end with the status expected, or a sanitizer spoke."""
        if self.process is None:
            return
        offspring = children(self.pid)
        process, self.process = self.process, None
        stuck = False
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(8 * slowness())
            except subprocess.TimeoutExpired:
                stuck = True
                process.kill()
                process.wait()
        log = self.log()
        report = SANITIZER_REPORT.search(log)
        if report:
            tap.note(log[max(0, report.start() - 200):report.start() + 6000])
            raise tap.Failed("a sanitizer reported")
        if stuck:
            raise tap.Failed(f"did not stop at SIGINT\n{self.log_tail()}")
        if process.returncode != self.expected:
            raise tap.Failed(f"exit status {process.returncode}, wanted {self.expected}\n{self.log_tail()}")
        wait_for(lambda: all(ended(pid) for pid in offspring), f"processes {offspring} to end with their keeper", 3)

    # What it says

    def log(self):
        """Its stderr so far, and its log file where it has one."""
        text = ""
        for path in (self.log_path, self.main_log_path):
            try:
                with open(path or "/dev/null", encoding="utf-8", errors="replace") as file:
                    text += file.read()
            except FileNotFoundError:
                pass
        return text

    def log_tail(self):
        return "\n".join(self.log().splitlines()[-15:])

    def log_lines(self, pattern):
        return [line for line in self.log().splitlines() if re.search(pattern, line)]

    def wait_log(self, pattern, timeout=10.0, after=0):
        """Waits for the pattern in the log, from a place on."""
        def look():
            found = re.search(pattern, self.log()[after:])
            if not found and self.process and self.process.poll() is not None:
                raise tap.Failed(f"ended with status {self.process.returncode}\n{self.log_tail()}")
            return found
        return wait_for(look, lambda: f"/{pattern}/ in the log:\n{self.log_tail()}", timeout)

    def access(self):
        """The access log's records so far."""
        try:
            with open(self.access_path, encoding="utf-8") as file:
                lines = file.read().split("\n")
        except FileNotFoundError:
            return []
        records = []
        for line in lines[:-1]:
            try:
                records.append(json.loads(line))
            except ValueError:
                # A worker that is killed while it writes leaves a part of a line.
                if not self.torn:
                    raise
        return records

    def wait_access(self, count, timeout=10.0):
        """Waits for so many records and returns them all."""
        wait_for(lambda: len(self.access()) >= count,
                 lambda: f"{count} access-log records, there are {len(self.access())}", timeout)
        return self.access()

    # What it costs

    def fds(self):
        """How many descriptors it holds, pipes apart."""
        kinds = self.fd_kinds()
        return sum(kinds.values()) - kinds.get("pipe", 0)

    def pipes(self):
        """How many descriptors of pipes it holds."""
        return self.fd_kinds().get("pipe", 0)

    def wait_fds(self, most, timeout=10.0):
        """Waits until it holds no more than `most` descriptors, and but such pipes as its threads may keep for later."""
        wait_for(lambda: self.fds() <= most and self.pipes() <= POOLED * (self.threads_wanted or 1),
                 lambda: f"{self.fds()} descriptors, wanted at most {most}: {self.fd_kinds()}", timeout)

    def fd_kinds(self):
        kinds = {}
        for name in os.listdir(f"/proc/{self.pid}/fd"):
            try:
                kind = os.readlink(f"/proc/{self.pid}/fd/{name}").split(":")[0]
            except FileNotFoundError:
                continue
            kinds[kind] = kinds.get(kind, 0) + 1
        return kinds

    def sockets_by_thread(self):
        """How many descriptors each event loop watches (an epoll each), listeners and the like included."""
        counts = []
        for name in os.listdir(f"/proc/{self.pid}/fd"):
            try:
                if os.readlink(f"/proc/{self.pid}/fd/{name}") == "anon_inode:[eventpoll]":
                    with open(f"/proc/{self.pid}/fdinfo/{name}", encoding="ascii") as file:
                        counts.append(file.read().count("tfd:"))
            except FileNotFoundError:
                continue            # closed in between
        return sorted(counts)

    def cpu(self, thread=None):
        """CPU seconds so far: of a thread of the worker, or of keeper and workers, those that have ended included."""
        worker = self.worker()
        paths = [f"/proc/{pid}/stat" for pid in self.processes()] if thread is None else [f"/proc/{worker}/task/{thread}/stat"]
        ticks = 0
        for path in paths:
            with open(path, encoding="utf-8", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:13 if thread else 15]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def threads(self):
        """The worker's threads."""
        return [int(name) for name in os.listdir(f"/proc/{self.worker()}/task")]

    def cpu_share(self, seconds):
        """The share of one CPU that it uses in the next seconds."""
        before, start = self.cpu(), time.monotonic()
        time.sleep(seconds)
        return (self.cpu() - before) / (time.monotonic() - start)

    def check_idle(self, what, seconds=1.0, most=0.03):
        """Fails where it uses the CPU with nothing to do (one second look may show a stray wakeup: the best of three)."""
        shares = []
        for _ in range(3):
            shares.append(self.cpu_share(seconds))
            if shares[-1] <= most * (3 if sanitizer() else 1):
                return
        raise tap.Failed(f"CPU while idle ({what}): " + ", ".join(f"{share:.0%}" for share in shares))

    def pss(self):
        """Proportional set size in bytes, without files: who else has the same libraries comes and goes."""
        total = 0
        for pid in self.processes():
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
                total += sum(map(int, re.findall(r"^Pss_(?:Anon|Shmem):\s+(\d+) kB", file.read(), re.M))) * 1024
        return total


def run(*args, config=None, directory=None, timeout=10.0):
    """Runs the program to its end.  Returns (status, stdout, stderr)."""
    path = f"{directory or tap.tmpdir()}/spliced.conf"
    if config is not None:
        with open(path, "w", encoding="utf-8") as file:
            file.write(config)
        args = (*args, "-f", path)
    done = subprocess.run([PROGRAM, *args], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=timeout * slowness(), check=False)
    if SANITIZER_REPORT.search(done.stderr):
        raise tap.Failed("a sanitizer reported:\n" + done.stderr)
    return done.returncode, done.stdout, done.stderr


def thread(function, *args):
    """Starts a daemon thread; .result() joins it and returns or raises what the function did."""
    box = {}

    def body():
        try:
            box["value"] = function(*args)
        except BaseException as error:  # pylint: disable=broad-except
            box["error"] = error

    worker = threading.Thread(target=body, daemon=True)

    def result(timeout=60.0):
        worker.join(timeout * slowness())
        if worker.is_alive():
            raise tap.Failed(f"{function.__name__} did not end")
        if "error" in box:
            raise box["error"]
        return box["value"]

    worker.result = result
    worker.start()
    return worker
