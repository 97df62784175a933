# SPDX-License-Identifier: ISC
"""Other people's programs as clients and servers."""
import os
import shutil
import subprocess

from lib import proxy, tap

_PATH = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"


def need(*names):
    """Skips the case where a program is missing."""
    for name in names:
        if not shutil.which(name, path=_PATH):
            raise tap.Skip(f"{name} is not installed")


def start(*command):
    """Starts a program that is killed when the case is over."""
    program = [shutil.which(command[0], path=_PATH), *command[1:]]
    process = subprocess.Popen(program, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop():
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    tap.cleanup(stop)
    return process


def run(*command, timeout=60.0, text=True):
    """Runs a program to its end; its exit status must be 0.  Returns its stdout."""
    program = [shutil.which(command[0], path=_PATH), *command[1:]]
    try:
        done = subprocess.run(program, stdin=subprocess.DEVNULL, capture_output=True, text=text,
                              timeout=timeout * proxy.slowness(), check=False)
    except subprocess.TimeoutExpired as late:
        raise tap.Failed(f"{command[0]} did not end: {late.stdout}") from None
    if done.returncode:
        raise tap.Failed(f"{command[0]}: exit status {done.returncode}: {done.stderr} {done.stdout[-500:]}")
    return done.stdout
