# SPDX-License-Identifier: ISC
"""The demonstration of contrib/quickstart: servers, spliced between them and clients, a table of what passed.

Everything is on loopback and in one temporary folder, and ends with this process.
"""
import argparse
import ctypes
import hashlib
import json
import os
import queue
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

PAYLOAD = 64 << 20
CHUNK = 256 << 10
START_SECONDS = 10
PAIR_SECONDS = 120
STOP_SECONDS = 10
IPERF_SECONDS = 2

# What conf/demo.conf says.
TCP_SERVER = ("127.0.0.1", 18090)
IPERF_SERVER = ("127.0.0.1", 15202)
IPERF_FRONTEND = ("127.0.0.1", 15201)
FRONTENDS = [("127.0.0.1", 18080), ("127.0.0.1", 18081), IPERF_FRONTEND]
PAGE = ("127.0.0.1", 18404)             # this port, or another one where it is taken


class Trouble(Exception):
    """Something is wrong; the text is for the user."""


def connect(address, timeout):
    """A stream socket connected to (host, port) or a path."""
    sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET, socket.SOCK_STREAM)
    sock.settimeout(timeout)
    try:
        sock.connect(address)
    except OSError:
        sock.close()
        raise
    return sock


class EchoServer:
    """Sends back what it receives.  The digest of what each connection received goes to a queue."""

    def __init__(self, address):
        self.digests = queue.Queue()
        self.watched = True
        self.listener = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        if not isinstance(address, str):
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(address)
        self.listener.listen(128)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            sock, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        digest = hashlib.sha256()
        buffer = memoryview(bytearray(CHUNK))
        received = 0
        with sock:
            try:
                while count := sock.recv_into(buffer):
                    received += count
                    digest.update(buffer[:count])
                    sock.sendall(buffer[:count])
                sock.shutdown(socket.SHUT_WR)
            except OSError:
                return
        if self.watched:
            self.digests.put((received, digest.hexdigest()))


def start(command, log, environment=None):
    """Starts a program that ends with us, whatever ends us; its output goes to log."""
    def die_with_parent():
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)      # PR_SET_PDEATHSIG

    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
                            start_new_session=True, preexec_fn=die_with_parent)


def stop(process, number):
    """Sends a signal, and SIGKILL where that does not help.  Returns the exit status."""
    if process.poll() is None:
        process.send_signal(number)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()


def check_ports():
    """Every port that the demonstration uses must be free."""
    busy = []
    for address in FRONTENDS + [TCP_SERVER, IPERF_SERVER]:
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(address)
            except OSError as error:
                busy.append(f"{address[0]}:{address[1]} ({error.strerror})")
    if busy:
        raise Trouble("these addresses are needed and cannot be used: " + ", ".join(busy) +
                      "\nStop what listens there ('ss -ltnp' shows it), or another quickstart, and try again.")


def page_address():
    """Where the status page goes: the usual port, or any that is free."""
    for port in (PAGE[1], 0):
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind((PAGE[0], port))
            except OSError as error:
                why = error
                continue
            return sock.getsockname()
    raise Trouble(f"no port for the status page: {why}")


def wait_ready(process, addresses):
    """Waits until spliced accepts on each address."""
    deadline = time.monotonic() + START_SECONDS
    for address in addresses:
        while True:
            if process.poll() is not None:
                raise Trouble(f"spliced ended with status {process.returncode} instead of serving")
            try:
                connect(address, 1).close()
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise Trouble(f"spliced does not accept on {address}: {error}") from error
                time.sleep(0.02)


def wait_iperf(process, folder, times):
    """Waits until the iperf3 server has said so often that it listens.

    It turns away who comes while it still ends a test, and takes a connection that probes for a test.
    """
    deadline = time.monotonic() + START_SECONDS
    while True:
        with open(f"{folder}/iperf3.log", encoding="utf-8", errors="replace") as log:
            if log.read().count("Server listening") >= times:
                return
        if process.poll() is not None or time.monotonic() > deadline:
            raise Trouble("the iperf3 server does not listen")
        time.sleep(0.02)


def echo_through(address, server, payload, digest):
    """Sends payload to an echo server and reads it back at the same time.  Returns (bytes, seconds, what is wrong)."""
    problems = []
    back = bytearray(len(payload))
    began = time.monotonic()
    with connect(address, PAIR_SECONDS) as sock:
        def send():
            try:
                sock.sendall(payload)
                sock.shutdown(socket.SHUT_WR)
            except OSError as error:
                problems.append(f"sending: {error}")

        sender = threading.Thread(target=send)
        sender.start()
        received = 0
        view = memoryview(back)
        try:
            while received < len(payload) and (count := sock.recv_into(view[received:received + CHUNK])):
                received += count
            if received == len(payload) and sock.recv(1):
                problems.append("more came back than was sent")
        except OSError as error:
            problems.append(f"receiving: {error}")
        seconds = time.monotonic() - began
        if problems:
            sock.close()
        sender.join()
    if received != len(payload):
        problems.append(f"only {received} of {len(payload)} bytes came back")
    elif hashlib.sha256(back).hexdigest() != digest:
        problems.append("the checksum of what came back is wrong")
    try:
        # A probe of wait_ready() may have reached the server, or not; checks do.
        while (seen := server.digests.get(timeout=START_SECONDS))[0] == 0:
            pass
        if seen != (len(payload), digest):
            problems.append("the server received something else")
    except queue.Empty:
        problems.append("the server did not see the end")
    return received, seconds, problems


def run_iperf(server, folder, number):
    """The first test of iperf3 through the proxy, or the second, the other way round.  Returns as echo_through()."""
    reverse = number == 2
    wait_iperf(server, folder, number)
    command = ["iperf3", "-c", IPERF_FRONTEND[0], "-p", str(IPERF_FRONTEND[1]), "-t", str(IPERF_SECONDS), "-J"]
    try:
        done = subprocess.run(command + ["-R"] * reverse, capture_output=True, text=True, check=False,
                              timeout=IPERF_SECONDS + 30)
        report = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return 0, 1, ["iperf3 does not end"]
    except ValueError:
        return 0, 1, [f"iperf3 says nothing of use: {done.stdout} {done.stderr}"]
    if done.returncode or "error" in report:
        return 0, 1, [f"iperf3: {report.get('error', done.returncode)}"]
    total = report["end"]["sum_received"]
    return total["bytes"], total["seconds"], [] if total["bytes"] else ["iperf3 moved nothing"]


def measure(folder, echo_tcp, echo_unix, iperf):
    """Runs all traffic and prints the table.  Returns whether everything was right."""
    payload = os.urandom(PAYLOAD)
    digest = hashlib.sha256(payload).hexdigest()
    rows = [
        ("TCP  -> TCP", lambda: echo_through(FRONTENDS[0], echo_tcp, payload, digest)),
        ("TCP  -> UNIX", lambda: echo_through(FRONTENDS[1], echo_unix, payload, digest)),
        ("UNIX -> TCP", lambda: echo_through(f"{folder}/tcp.sock", echo_tcp, payload, digest)),
        ("UNIX -> UNIX", lambda: echo_through(f"{folder}/unix.sock", echo_unix, payload, digest)),
        ("iperf3, up", lambda: run_iperf(iperf, folder, 1)),
        ("iperf3, down", lambda: run_iperf(iperf, folder, 2)),
    ]
    print(f"\n{'pair':<14}{'bytes':>16}{'Gbit/s':>10}  ok")
    wrong = []
    for name, run in rows:
        try:
            count, seconds, problems = run()
        except (OSError, Trouble) as error:
            count, seconds, problems = 0, 1, [str(error)]
        rate = count * 8 / seconds / 1e9
        print(f"{name:<14}{count:>16,}{rate:>10.2f}  {'NO' if problems else 'yes'}", flush=True)
        wrong += [f"{name}: {problem}" for problem in problems]
    print("\nPairs: random bytes that an echo server sends back, counted once, moving both ways at the same time,\n"
          "SHA-256 compared at the server and at the client (both written in Python, which sets their pace).\n"
          "iperf3: TCP -> TCP at full speed, from the client (up) and to it (down).")
    for line in wrong:
        print(line)
    return not wrong


def get(url):
    """The text at a URL."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


def check_page(page):
    """The status page and the metrics have to show what was measured: two pairs for each frontend of them."""
    text, metrics = get(page), get(f"{page}metrics")
    for name in ("to-tcp", "to-unix", "iperf"):
        if f">{name}<" not in text:
            raise Trouble(f"the status page at {page} does not show the frontend {name}")
        found = re.search(rf'^spliced_frontend_bytes_total{{frontend="{name}",direction="up"}} (\d+)$', metrics, re.M)
        if not found or int(found[1]) < (2 * PAYLOAD if name != "iperf" else 1):
            raise Trouble(f"{page}metrics does not know of the traffic of {name}: {found and found[0]}")


def trickle(folder):
    """A little traffic for as long as the demonstration runs, so that there is something to see."""
    fronts = [*FRONTENDS[:2], f"{folder}/tcp.sock", f"{folder}/unix.sock"]
    held = []
    while True:
        try:
            held.append(connect(random.choice(fronts), 5))
            for sock in (held[-1], random.choice(held)):
                left = random.randrange(1 << 10, 64 << 10)
                sock.sendall(bytes(left))
                while left and (count := len(sock.recv(left))):
                    left -= count
        except OSError:
            held.clear()                # killed by splicectl, say: begin anew
        if len(held) > random.randrange(30):
            held.pop(0).close()
        time.sleep(random.uniform(0.02, 0.1))


def say_next(folder, arguments, page):
    config, top = arguments.config, os.path.dirname(os.path.dirname(os.path.abspath(arguments.config)))
    ctl = f"{os.path.dirname(os.path.abspath(arguments.spliced))}/splicectl -s {folder}/admin.sock"
    print(f"""
Next:
  {os.path.relpath(os.path.abspath(config), top)}  what was running here; other samples are beside it
  README.md, man -l man/spliced.8, man -l man/spliced.conf.5, man -l man/splicectl.1  in {top}
  contrib/check  runs every test""")
    if arguments.once:
        print(f"""
The status page and the metrics showed all of it; without --once they would be there now:
  {page}
  {page}metrics""")
    else:
        print(f"""
spliced serves until Ctrl-C; its log is {folder}/spliced.log.  From another terminal:
  bash -c 'exec 3<>/dev/tcp/127.0.0.1/18080; echo hello >&3; head -1 <&3'
  iperf3 -c {IPERF_FRONTEND[0]} -p {IPERF_FRONTEND[1]}
with netcat (apt-get install netcat-openbsd) or socat, where each line comes back:
  nc 127.0.0.1 18081
  nc -U {folder}/tcp.sock
  socat - UNIX-CONNECT:{folder}/unix.sock
A little traffic goes on by itself.  See it and steer it:
  {ctl} top
  {ctl} show sessions
  {ctl} server echo-tcp/tcp drain
and in a browser, as it happens:
  {page}""", flush=True)


def serve(arguments, folder, processes):
    """Starts everything, measures, waits.  Returns whether everything was right."""
    check_ports()
    unix_server = f"{folder}/echo.sock"
    address = page_address()
    page = f"http://{address[0]}:{address[1]}/"
    environment = {**os.environ, "SPLICED_DEMO": folder, "SPLICED_DEMO_PAGE": str(address[1])}
    echo_tcp, echo_unix = EchoServer(TCP_SERVER), EchoServer(unix_server)
    with open(f"{folder}/iperf3.log", "wb") as log:
        processes["iperf3"] = start(["iperf3", "-s", "--forceflush", "-B", IPERF_SERVER[0],
                                     "-p", str(IPERF_SERVER[1])], log)
    with open(f"{folder}/spliced.log", "wb") as log:
        processes["spliced"] = start([arguments.spliced, "-f", arguments.config], log, environment)
    wait_iperf(processes["iperf3"], folder, 1)
    # Not the frontend of iperf3: its server takes one test at a time, and a probe would count as one.
    wait_ready(processes["spliced"], FRONTENDS[:2] + [f"{folder}/tcp.sock", f"{folder}/unix.sock"])
    good = measure(folder, echo_tcp, echo_unix, processes["iperf3"])
    check_page(page)
    if not arguments.once:
        echo_tcp.watched = echo_unix.watched = False
        threading.Thread(target=trickle, args=(folder,), daemon=True).start()
    say_next(folder, arguments, page)
    if not arguments.once:
        processes["spliced"].wait()
        raise Trouble(f"spliced ended with status {processes['spliced'].returncode}")
    return good


def finish(folder, processes):
    """Stops everything, newest first.  Returns what was wrong with that."""
    problems = []
    if "spliced" in processes:
        status = stop(processes["spliced"], signal.SIGINT)
        if status:
            problems.append(f"spliced ended with status {status}")
        left = [name for name in ("tcp.sock", "unix.sock", "admin.sock") if os.path.exists(f"{folder}/{name}")]
        if left:
            problems.append(f"spliced left behind {left}")
    if "iperf3" in processes:
        stop(processes["iperf3"], signal.SIGTERM)
    return problems


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--spliced", required=True)
    parser.add_argument("--config", required=True)
    parser.add_argument("--once", action="store_true")
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)     # a background job of a shell has it ignored
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    folder = tempfile.mkdtemp(prefix="spliced-")
    processes = {}
    good = False
    problems = []
    try:
        good = serve(arguments, folder, processes)
    except KeyboardInterrupt:
        print()
        good = not arguments.once
    except (Trouble, OSError) as error:
        problems.append(str(error))
    finally:
        problems += finish(folder, processes)
        if problems or not good:
            for name in processes:
                with open(f"{folder}/{name}.log", encoding="utf-8", errors="replace") as log:
                    print(f"---- the end of {name}.log\n{log.read()[-4000:]}", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
    for problem in problems:
        print(f"quickstart: {problem}", file=sys.stderr)
    return 0 if good and not problems else 1


if __name__ == "__main__":
    sys.exit(main())
