# SPDX-License-Identifier: ISC
"""What a benchmark needs and may not be there: packages of Debian, and builds of spliced."""
import contextlib
import os
import pathlib
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
PREPARE = '. "$top/contrib/prepare.sh" || exit 1\n'
BUILD_S = 900


class Missing(Exception):
    """The text says what, and how to get it."""


def shell(script, *args, log_dir):
    """Runs a script with the functions of contrib/prepare.sh."""
    environment = {**os.environ, "top": str(TOP), "log_dir": str(log_dir)}
    return subprocess.run(["sh", "-c", PREPARE + script, "bench", *args], env=environment, stdin=subprocess.DEVNULL,
                          stdout=sys.stderr, check=False).returncode


def install(wanted, log_dir):
    """Installs packages as root (or by sudo where it does not ask); else says which."""
    if wanted and shell('install_packages "$@"', *sorted(set(wanted)), log_dir=log_dir):
        raise Missing("apt-get install " + " ".join(sorted(set(wanted))))


def build(source, directory, log_dir, *others):
    """Builds spliced, and what else is named, from a source tree, as a user would.  What is up to date stays."""
    print(f"bench: building {source} in {directory}", file=sys.stderr, flush=True)
    log = pathlib.Path(log_dir) / "build.log"
    directory.mkdir(exist_ok=True)
    script = """
        install_packages $PACKAGES_BUILD || exit 1
        top=$1 make_configure >"$3" 2>&1 || exit 1
        cd "$2" || exit 1
        [ -e Makefile ] || "$1/configure" >>"$3" 2>&1 || exit 1
        log=$3
        shift 3
        make -j"$(cpus)" >>"$log" 2>&1 || exit 1
        [ $# -eq 0 ] || exec make -j"$(cpus)" "$@" >>"$log" 2>&1
    """
    if shell(script, str(source), str(directory), str(log), *others, log_dir=log_dir):
        said = log.read_text(errors="replace").splitlines()[-20:] if log.exists() else []
        raise Missing("\n".join([*said, f"{source} does not build"]))
    return directory / "spliced"


def git(*words):
    return subprocess.run(["git", "-C", str(TOP), *words], capture_output=True, text=True, check=False)


@contextlib.contextmanager
def revision(name, directory):
    """Another revision of this checkout, built in a worktree of its own for as long as it is needed: its spliced."""
    tree, out = pathlib.Path(directory) / "revision", pathlib.Path(directory) / "revision-build"
    done = git("worktree", "add", "--detach", str(tree), name)
    if done.returncode:
        raise Missing(f"no worktree of {name}: {done.stderr.strip()}")
    try:
        yield build(tree, out, directory)
    finally:
        git("worktree", "remove", "--force", str(tree))
