# SPDX-License-Identifier: ISC
"""Other people's programs as clients and servers."""
import glob
import os
import pwd
import shutil
import subprocess

from lib import net, proxy, tap

PATH = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"


def need(*names):
    """Skips the case where a program is missing."""
    for name in names:
        if not shutil.which(name, path=PATH):
            raise tap.Skip(f"{name} is not installed")


def start(*command):
    """Starts a program that is killed when the case is over."""
    program = [shutil.which(command[0], path=PATH), *command[1:]]
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
    program = [shutil.which(command[0], path=PATH), *command[1:]]
    try:
        done = subprocess.run(program, stdin=subprocess.DEVNULL, capture_output=True, text=text,
                              timeout=timeout * proxy.slowness(), check=False)
    except subprocess.TimeoutExpired as late:
        raise tap.Failed(f"{command[0]} did not end: {late.stdout}") from None
    if done.returncode:
        raise tap.Failed(f"{command[0]}: exit status {done.returncode}: {done.stderr} {done.stdout[-500:]}")
    return done.stdout


def redis(directory):
    """A redis server on TCP and AF_UNIX.  Returns both addresses."""
    port = net.port()
    start("redis-server", "--port", str(port), "--bind", "127.0.0.1", "--unixsocket", f"{directory}/redis", "--save", "",
                   "--dir", directory, "--maxclients", "500")
    proxy.wait_for(lambda: net.listening(f"127.0.0.1:{port}") and os.path.exists(f"{directory}/redis"), "redis-server")
    return f"127.0.0.1:{port}", f"unix:{directory}/redis"


def nginx(directory):
    """nginx on TCP and AF_UNIX, serving the directory "files".  Returns both addresses."""
    port = net.port()
    os.mkdir(f"{directory}/files")
    os.chmod(directory, 0o755)
    user = "user root;\n" if os.getuid() == 0 else ""
    paths = "".join(f"{name}_temp_path {directory}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    with open(f"{directory}/nginx.conf", "w", encoding="ascii") as file:
        file.write(f"{user}daemon off;\npid {directory}/nginx.pid;\nerror_log {directory}/nginx.log;\nworker_processes 1;\n"
                   "events { worker_connections 1024; }\n"
                   f"http {{\naccess_log off;\nsendfile on;\nkeepalive_requests 100000;\n{paths}"
                   f"server {{\nlisten 127.0.0.1:{port};\nlisten unix:{directory}/nginx;\nroot {directory}/files;\n}}\n}}\n")
    start("nginx", "-e", f"{directory}/nginx.log", "-p", directory, "-c", f"{directory}/nginx.conf")
    proxy.wait_for(lambda: net.listening(f"127.0.0.1:{port}") and os.path.exists(f"{directory}/nginx"), "nginx")
    return f"127.0.0.1:{port}", f"unix:{directory}/nginx"


def postgres(directory):
    """A PostgreSQL server on TCP and AF_UNIX with a database for pgbench.  Returns both addresses; the user is "bench"."""
    binaries = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
    if not binaries or not shutil.which("pgbench", path=PATH):
        raise tap.Skip("PostgreSQL is not installed")
    port = net.port()
    os.mkdir(f"{directory}/postgres")
    prefix = []
    if os.getuid() == 0:
        # It refuses to run as root.
        user = pwd.getpwnam("nobody")
        os.chmod(directory, 0o755)
        os.chown(f"{directory}/postgres", user.pw_uid, user.pw_gid)
        prefix = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--"]
    run(*prefix, f"{binaries[-1]}/initdb", "-D", f"{directory}/postgres/data", "-U", "bench", "-A", "trust", "--no-sync",
        "--locale=C")
    start(*prefix, f"{binaries[-1]}/postgres", "-D", f"{directory}/postgres/data", "-p", str(port), "-h", "127.0.0.1", "-k",
          f"{directory}/postgres", "-F", "-c", "max_connections=60", "-c", "shared_buffers=16MB")
    proxy.wait_for(lambda: net.listening(f"127.0.0.1:{port}") and os.path.exists(f"{directory}/postgres/.s.PGSQL.{port}"),
                   "PostgreSQL", 30)
    return f"127.0.0.1:{port}", f"unix:{directory}/postgres/.s.PGSQL.{port}"
