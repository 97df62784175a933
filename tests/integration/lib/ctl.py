# SPDX-License-Identifier: ISC
"""splicectl, as a user runs it."""
import json
import os
import subprocess

from lib import proxy, tap

PROGRAM = os.path.join(os.path.dirname(os.path.abspath(proxy.PROGRAM)), "splicectl")


def run(running, *words, status=0, environment=None):
    """Runs splicectl against a proxy.  Returns its output and what it said on standard error."""
    done = subprocess.run([PROGRAM, "-s", running.admin_path, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=30 * proxy.slowness(), check=False, env={**os.environ, **(environment or {})})
    if proxy.SANITIZER_REPORT.search(done.stderr):
        raise tap.Failed("a sanitizer reported:\n" + done.stderr)
    tap.equal((done.returncode, done.stderr if status == 0 else ""), (status, ""), f"splicectl {' '.join(words)}")
    return done.stdout, done.stderr


def said(running, *words):
    """Its output."""
    return run(running, *words)[0]


def refused(running, *words, status=1):
    """What it says on standard error where it fails."""
    return run(running, *words, status=status)[1]


def asked(running, *words):
    """The JSON of an answer."""
    return json.loads(said(running, "--json", *words))
