# SPDX-License-Identifier: ISC
"""TAP for a file of test cases.

A file decorates its cases with @case("what holds") and ends with run().  A case fails by
raising; Skip skips it.  What a case starts it registers with cleanup(), which undoes it in reverse order
whatever happens.  Every case has a time limit, and so nothing here can hang.
"""
import faulthandler
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback

from lib import net

_cases = []
_cleanups = []


class Failed(Exception):
    """A check did not hold."""


class Skip(Exception):
    """The case cannot run here; the text says why."""


class TimeUp(BaseException):
    """The case used up its time (not an Exception: nobody on the way may swallow it)."""


def case(name, limit=60):
    """Registers a function as a test case that may take `limit` seconds (more under sanitizers)."""
    def add(function):
        _cases.append((name, function, limit))
        return function
    return add


def cleanup(function, *args):
    """Calls function(*args) when the current case is over, last registered first."""
    _cleanups.append((function, args))


def tmpdir():
    """A directory of the current case; UNIX paths in it are short enough for AF_UNIX."""
    path = tempfile.mkdtemp(prefix="spl-", dir="/tmp")
    os.chmod(path, 0o755)
    cleanup(lambda: shutil.rmtree(path, ignore_errors=True))
    return path


def check(condition, what):
    if not condition:
        raise Failed(what)


def equal(got, wanted, what):
    if got != wanted:
        raise Failed(f"{what}: got {got!r}, wanted {wanted!r}")


def between(got, low, high, what):
    if not low <= got <= high:
        raise Failed(f"{what}: got {got!r}, wanted {low!r} to {high!r}")


def note(text):
    """A diagnostic line in the test's log."""
    for line in str(text).splitlines() or [""]:
        print("#", line)


def _clean_up():
    """Undoes everything; returns the first thing that went wrong, for a proxy's bad end shows only here."""
    first = None
    while _cleanups:
        function, args = _cleanups.pop()
        try:
            function(*args)
        except Exception as error:  # pylint: disable=broad-except
            note(f"while cleaning up: {error}")
            first = first or error
    return first


def _time_up(_number, frame):
    raise TimeUp("time is up at:\n" + "".join(traceback.format_stack(frame)))


def _one(function, limit):
    """Runs one case.  Returns (ok, skip reason or None)."""
    signal.setitimer(signal.ITIMER_REAL, limit)
    ok, skipped = True, None
    try:
        function()
    except Skip as reason:
        skipped = str(reason)
    except (Exception, TimeUp) as error:  # pylint: disable=broad-except
        ok = False
        note(f"{type(error).__name__}: {error}")
        if not isinstance(error, (Failed, TimeUp)):
            note(traceback.format_exc())
        else:
            tail = traceback.extract_tb(error.__traceback__)
            note(" <- ".join(f"{os.path.basename(f.filename)}:{f.lineno}" for f in reversed(tail) if "tap.py" not in f.filename))
    signal.setitimer(signal.ITIMER_REAL, 30)
    try:
        error = _clean_up()
    except TimeUp as stuck:
        error = stuck
    signal.setitimer(signal.ITIMER_REAL, 0)
    if error and ok and not skipped:
        ok = False
    return ok, skipped


def run():
    """Runs the file's cases (all, or those whose names hold argv[1]) and exits."""
    from lib import proxy
    net.isolate()
    threading.stack_size(256 * 1024)
    signal.signal(signal.SIGALRM, _time_up)
    sys.stdout.reconfigure(line_buffering=True)
    wanted = [c for c in _cases if len(sys.argv) < 2 or sys.argv[1] in c[0]]
    print(f"1..{len(wanted)}")
    failures = 0
    for number, (name, function, limit) in enumerate(wanted, 1):
        limit *= proxy.slowness()
        faulthandler.dump_traceback_later(limit + 90, exit=True)
        start = time.monotonic()
        ok, skipped = _one(function, limit)
        faulthandler.cancel_dump_traceback_later()
        failures += not ok
        note(f"{time.monotonic() - start:.2f} s")
        print(f"{'ok' if ok else 'not ok'} {number} - {name}" + (f" # SKIP {skipped}" if skipped else ""))
    sys.stdout.flush()
    # TAP says which cases failed; automake would count a status as one failure more.
    # _exit(): threads of a failed case may still sit in a system call.
    os._exit(1 if failures and "top_builddir" not in os.environ else 0)
