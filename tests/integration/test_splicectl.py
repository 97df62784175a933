#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""splicectl against a running daemon: what it shows, changes and refuses, and top on a terminal."""
import json
import os
import shutil
import subprocess
import threading

from lib import ctl, net, peers, programs, proxy, tap


class _Setup:
    """Two named servers behind a TCP and an AF_UNIX listener."""

    def __init__(self, extra="", **options):
        self.dir = tap.tmpdir()
        self.fronts = [f"127.0.0.1:{net.port()}", f"unix:{self.dir}/front"]
        self.servers = {name: peers.Server(f"127.0.0.1:{net.port()}", peers.say(name)) for name in "ab"}
        lines = "".join(proxy.server(name, server.address) for name, server in self.servers.items())
        self.config = proxy.frontend("web", self.fronts, "app") + proxy.backend("app", lines, extra)
        self.proxy = proxy.Proxy(self.config, threads=2, **options)

    def session(self, front=0):
        """A connection, and which server has it."""
        sock = peers.client(self.fronts[front])
        return sock, net.read_exactly(sock, 1).decode()


def _table(text):
    """The rows of a table by their first word."""
    return {line.split()[0]: line.split() for line in text.splitlines()[1:]}


@tap.case("status and every list, as tables of 80 columns and as JSON")
def _show():
    setup = _Setup()
    sessions = [setup.session(number % 2) for number in range(4)]
    for words in (["status"], *(["show", what] for what in ("frontends", "backends", "servers", "sessions", "listeners"))):
        text = ctl.said(setup.proxy, *words)
        tap.check(text and all(len(line) <= 80 for line in text.splitlines()), f"{words}: {text}")
        tap.check("\033" not in text, f"no colours in a pipe: {text!r}")
        tap.check(ctl.asked(setup.proxy, *words), f"JSON of {words}")
    tap.check("serving" in ctl.said(setup.proxy, "status"), "the state")
    tap.equal(_table(ctl.said(setup.proxy, "show", "frontends"))["web"][:4], ["web", "ready", "4", "4"], "the frontend")
    tap.equal(_table(ctl.said(setup.proxy, "show", "backends"))["app"], ["app", "roundrobin", "2/2", "4", "0"], "the backend")
    tap.equal(sorted(_table(ctl.said(setup.proxy, "show", "servers"))), ["app/a", "app/b"], "servers")
    rows = _table(ctl.said(setup.proxy, "show", "sessions"))
    tap.equal(sorted(rows), [str(n) for n in range(1, 5)], "sessions")
    tap.equal({row[1] for row in rows.values()}, {"relaying"}, "their state")
    for words, wanted in ((["--source", "unix"], "24"), (["--frontend", "web"], "1234"), (["--source", "10.0.0.0/8"], "")):
        tap.equal("".join(sorted(_table(ctl.said(setup.proxy, "show", "sessions", *words)))), wanted, f"sessions {words}")
    some = [ctl.asked(setup.proxy, "show", "sessions", "--server", f"app/{name}")["sessions"] for name in "ab"]
    tap.equal([{one["server"] for one in each} for each in some], [{"a"}, {"b"}], "sessions of a server")
    tap.check("rcvbuf = " in ctl.said(setup.proxy, "show", "listeners"), "socket options in force")
    config = ctl.said(setup.proxy, "show", "config")
    status, printed, _ = proxy.run("-T", config=config)
    tap.equal((status, printed), (0, config), "what -T makes of the config shown")
    for sock, _ in sessions:
        sock.close()


@tap.case("server, weight, address, frontend and kill change what they name")
def _change():
    setup = _Setup()
    sock, name = setup.session()
    ctl.said(setup.proxy, "server", f"app/{name}", "drain")
    tap.equal(_table(ctl.said(setup.proxy, "show", "servers"))[f"app/{name}"][2], "drain", "its state")
    tap.equal({setup.session()[1] for _ in range(4)}, {"b" if name == "a" else "a"}, "who gets new sessions")
    sock.sendall(b"on")
    tap.equal(net.read_exactly(sock, 2), b"on", "a running session of it")
    ctl.said(setup.proxy, "server", f"app/{name}", "ready")
    ctl.said(setup.proxy, "weight", "app/a", "0")
    tap.equal({setup.session()[1] for _ in range(4)}, {"b"}, "with weight 0")
    third = peers.Server(f"unix:{setup.dir}/third", peers.say("c"))
    ctl.said(setup.proxy, "address", "app/b", third.address)
    tap.equal(setup.session()[1], "c", "at the new address")
    ident = next(iter(ctl.asked(setup.proxy, "show", "sessions")["sessions"]))["id"]
    ctl.said(setup.proxy, "kill", ident)
    tap.equal(setup.proxy.wait_access(1)[0]["session"], ident, "who was killed")
    tap.equal(setup.proxy.access()[0]["end"], "killed", "its end")
    tap.equal(ctl.said(setup.proxy, "kill", "--frontend", "web").split()[1:], ["sessions", "killed"], "what it says")
    proxy.wait_for(lambda: not ctl.asked(setup.proxy, "show", "sessions")["sessions"], "all sessions to be gone")
    # A paused frontend leaves its clients in the backlog.
    ctl.said(setup.proxy, "frontend", "web", "pause")
    waiting = peers.client(setup.fronts[0])
    waiting.settimeout(0.3)
    try:
        tap.check(not waiting.recv(1), "nobody is served")
    except TimeoutError:
        pass
    ctl.said(setup.proxy, "frontend", "web", "ready")
    waiting.settimeout(net.TIMEOUT)
    tap.equal(net.read_exactly(waiting, 1), b"c", "served once it is ready")


@tap.case("what is wrong is said in one line, with the exit status of the manual")
def _refused():
    setup = _Setup()
    for words in (["server", "app", "ready"], ["server", "app/x", "ready"], ["server", "app/a", "away"], ["weight", "app/a", "257"],
                  ["weight", "app/a", "1.5"], ["address", "app/a", "nonsense"], ["frontend", "x", "ready"], ["kill", "99"],
                  ["kill"], ["kill", "--server", "app/x"], ["show", "x"], ["show"], ["nonsense"], ["status", "x"],
                  ["wait-ready", "--timeout", "5"], ["kill", "--source", "x"], ["status", "--frontend", "web"],
                  ["show", "servers", "--frontend", "web"], ["show", "sessions", "--server", "app/x"],
                  ["status", "--timeout", "5s"], ["--json", "top"]):
        text = ctl.refused(setup.proxy, *words)
        tap.check(text.startswith(("splicectl: ", "usage: ")), f"{words}: {text!r}")
    for path, status, words in (("", 1, "the path is empty"), ("/" + "x" * 107, 1, "the path is too long"),
                                (setup.fronts[1].partition(":")[2], 2, "no HTTP"),
                                (__file__, 2, "Connection refused; is it running"),
                                (f"{setup.dir}/nobody", 2, "nobody: No such file or directory; is it running, and is -s")):
        setup.proxy.admin_path = path
        text = ctl.refused(setup.proxy, "status", status=status)
        tap.check(words in text and text.count("\n") == 1, f"with {path[:80]!r}: {text!r}")
    tap.check("no daemon" in ctl.refused(setup.proxy, "wait-ready", "--timeout", "100ms", status=2), "wait-ready without one")


@tap.case("who may not connect is told what to do")
def _forbidden():
    if os.getuid() != 0:
        raise tap.Skip("it takes root to be somebody else")
    setup = _Setup()
    os.chmod(setup.dir, 0o755)
    # Where it was built, others may not be allowed to look.
    program = shutil.copy(ctl.PROGRAM, f"{setup.dir}/splicectl")
    done = subprocess.run([program, "-s", setup.proxy.admin_path, "status"], capture_output=True, text=True, check=False,
                          user=65534, group=65534, extra_groups=[])
    tap.check("Permission denied; be root or the daemon's user" in done.stderr, f"it says {done.stderr!r}")
    tap.equal(done.returncode, 2, "its status")


@tap.case("with --json, a change and a refusal print what the API answers")
def _json():
    setup = _Setup()
    sock, _ = setup.session()
    server = ctl.asked(setup.proxy, "server", "app/a", "drain")
    tap.equal((server["name"], server["state"]), ("a", "drain"), "a server that was changed")
    tap.equal(ctl.asked(setup.proxy, "weight", "app/a", "7")["weight"], 7, "its weight")
    tap.equal(ctl.asked(setup.proxy, "frontend", "web", "pause")["state"], "paused", "a frontend that was changed")
    tap.equal(ctl.asked(setup.proxy, "wait-ready"), {"ready": True, "waiting": []}, "wait-ready")
    tap.equal(ctl.asked(setup.proxy, "kill", "--frontend", "web"), {"killed": 1}, "kill")
    tap.equal(ctl.asked(setup.proxy, "reload"), {"generation": 2}, "reload")
    said, why = ctl.run(setup.proxy, "--json", "kill", "99", status=1)
    tap.equal(json.loads(said)["detail"], why.strip().partition(": ")[2], "the reason of a refusal")
    sock.close()


@tap.case("reload and upgrade wait for their worker, or say why not; wait-ready")
def _generations():
    setup = _Setup()
    sock, _ = setup.session()
    ctl.said(setup.proxy, "wait-ready")
    generation = ctl.asked(setup.proxy, "status")["worker_generation"]
    for word in ("reload", "upgrade"):
        tap.check("serves" in ctl.said(setup.proxy, word), word)
        generation += 1
        tap.equal(ctl.asked(setup.proxy, "status")["worker_generation"], generation, f"generation after {word}")
        sock.sendall(b"on")
        tap.equal(net.read_exactly(sock, 2), b"on", f"a session after {word}")
    setup.proxy.write_config("nonsense = 1\n" + setup.config)
    text = ctl.refused(setup.proxy, "reload")
    tap.check("spliced.conf:" in text and "nonsense" in text, f"a reload with a mistake: {text!r}")
    tap.equal(ctl.asked(setup.proxy, "status")["worker_generation"], generation, "generation after a refusal")
    reload = ctl.asked(setup.proxy, "status")["last_reload"]
    tap.check(reload["ok"] is False and "nonsense" in reload["detail"], f"the last reload is {reload}")


@tap.case("a rolling restart as the manual describes it: no client sees an error", 90)
def _rolling():
    setup = _Setup("check { interval = 100ms }")
    ctl.said(setup.proxy, "wait-ready")
    stop, errors, served = threading.Event(), [], [0]

    def load():
        while not stop.is_set():
            try:
                with net.connect(setup.fronts[0]) as sock:
                    tap.check(net.read_exactly(sock, 1) in b"ab", "a server's name")
                    sock.sendall(b"x" * 1000)
                    tap.equal(net.read_exactly(sock, 1000), b"x" * 1000, "the echo")
                served[0] += 1
            except (OSError, tap.Failed) as error:
                errors.append(str(error))

    loads = [proxy.thread(load) for _ in range(4)]
    for name in "ab":
        server = setup.servers[name]
        ctl.said(setup.proxy, "server", f"app/{name}", "drain")

        def sessions(name=name):
            return ctl.asked(setup.proxy, "show", "sessions", "--server", f"app/{name}")["sessions"]
        proxy.wait_for(lambda: not sessions(), "the server's sessions to end", 30)
        server.close()
        before = served[0]
        proxy.wait_for(lambda: served[0] > before + 20, "traffic without it")
        ctl.said(setup.proxy, "server", f"app/{name}", "maint")
        ctl.said(setup.proxy, "server", f"app/{name}", "ready")
        # It needs a while until it listens, and the next one has to wait for that.
        proxy.wait_for(lambda n=name: _table(ctl.said(setup.proxy, "show", "servers"))[f"app/{n}"][2] == "down", "its first check")
        setup.servers[name] = peers.Server(server.address, peers.say(name))
        proxy.wait_for(lambda n=name: _table(ctl.said(setup.proxy, "show", "servers"))[f"app/{n}"][2] == "up", "it to be well")
        proxy.wait_for(lambda n=name: setup.servers[n].count > 5, "traffic with it")
    stop.set()
    for one in loads:
        one.result()
    tap.equal(errors, [], "errors that clients saw")
    tap.note(f"{served[0]} exchanges")


@tap.case("top prints one snapshot in a pipe, with rates")
def _snapshot():
    setup = _Setup()
    setup.session()
    stop = threading.Event()

    def load():
        while not stop.is_set():
            setup.session()[0].close()
    loading = proxy.thread(load)
    text = ctl.said(setup.proxy, "top")
    stop.set()
    loading.result()
    rate = float(next(line for line in text.splitlines() if line.startswith("web ")).split()[3])
    tap.check(rate > 0, f"new sessions a second: {text}")
    tap.check(all(word in text for word in ("serving", "web", "roundrobin", "app/a", "app/b", "relaying")), f"top says {text}")
    tap.check(all(len(line) <= 80 for line in text.splitlines()), f"80 columns: {text}")


class _Terminal:
    """A terminal of 80 by 24 that tmux has, with a server of its own."""

    def __init__(self, command):
        programs.need("tmux")
        self.socket = f"{tap.tmpdir()}/tmux"
        tap.cleanup(lambda: self.tmux("kill-server", check=False))
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", command)

    def tmux(self, *words, check=True):
        done = subprocess.run([shutil.which("tmux"), "-S", self.socket, *words], capture_output=True, text=True, check=False,
                              env={**os.environ, "LC_ALL": "C.UTF-8", "TERM": "xterm-256color"}, timeout=20)
        if check and done.returncode:
            raise tap.Failed(f"tmux {words}: {done.stderr}")
        return done.stdout

    def screen(self):
        return self.tmux("capture-pane", "-p")

    def keys(self, *keys):
        self.tmux("send-keys", *keys)

    def wait(self, text, without=None):
        proxy.wait_for(lambda: text in self.screen() and not (without and without in self.screen()),
                       lambda: f"{text!r} on the screen:\n{self.screen()}")


@tap.case("top on a terminal: chooses, asks, drains, pauses, kills, sorts and ends")
def _top():
    setup = _Setup()
    sock, _ = setup.session()
    terminal = _Terminal(f"{ctl.PROGRAM} -s {setup.proxy.admin_path} top")
    terminal.wait("FRONTEND")
    terminal.wait("relaying")

    def state(kind, name):
        if kind == "frontends":
            return ctl.asked(setup.proxy, "show", kind)[kind][0]["state"]
        servers = ctl.asked(setup.proxy, "show", "backends")["backends"][0]["servers"]
        return next(server["state"] for server in servers if server["name"] == name)

    # The cursor is on the frontend first, then come the backend, its servers and the session.
    terminal.keys("p")
    terminal.wait("pause web? (y/n)")
    terminal.keys("y")
    proxy.wait_for(lambda: state("frontends", "web") == "paused", "the frontend to be paused")
    terminal.wait("paused")
    terminal.keys("r", "y")
    proxy.wait_for(lambda: state("frontends", "web") == "ready", "the frontend to be ready")
    terminal.keys("Down", "d")
    terminal.wait("d, r and m are for servers")
    terminal.keys("Down", "d")
    terminal.wait("drain app/a? (y/n)")
    terminal.keys("n")
    terminal.wait("app/a", without="(y/n)")
    tap.equal(state("servers", "a"), "unchecked", "after a no")
    terminal.keys("d", "y")
    proxy.wait_for(lambda: state("servers", "a") == "drain", "the server to be drained")
    terminal.keys("r", "y")
    proxy.wait_for(lambda: state("servers", "a") == "unchecked", "the server to be ready")
    terminal.keys("k")
    terminal.wait("k for sessions")
    terminal.keys("s")
    terminal.wait("*AGE")
    terminal.keys("Down", "Down", "k", "y")
    tap.equal(setup.proxy.wait_access(1)[0]["end"], "killed", "the session's end")
    # A worker that gives way to the next leaves it running.
    former = setup.proxy.worker()
    ctl.said(setup.proxy, "reload")
    setup.proxy.wait_worker(former)
    terminal.wait("worker 2")
    terminal.keys("q")
    proxy.wait_for(lambda: "FRONTEND" not in terminal.tmux("capture-pane", "-p", check=False), "top to end")
    sock.close()


COMPLETION = os.path.join(os.path.abspath(os.environ.get("top_srcdir", ".")), "contrib/completion")
LONG = "a-name-that-is-longer-than-a-column-of-a-table-is-in-80-chars"


@tap.case("completion for bash knows commands and names, and takes none for an order")
def _completion():
    programs.need("bash")
    setup = _Setup()
    servers = "".join(proxy.server(name, setup.servers["a"].address) for name in ("odd $(echo 1)", "odd $(echo 2)", LONG))
    setup.proxy.reload(setup.config + proxy.frontend("two  words", f"unix:{setup.dir}/two", "odd") +
                       proxy.backend("odd", servers))
    script = f"{COMPLETION}/splicectl.bash"

    def completed(*words):
        line = " ".join(f"'{word}'" for word in words)
        text = (f"PATH={os.path.dirname(ctl.PROGRAM)}:$PATH; source '{script}'; COMP_WORDS=({line}); "
                f"COMP_CWORD={len(words) - 1}; _splicectl; printf '%s\\n' \"${{COMPREPLY[@]}}\"")
        return subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=True).stdout.splitlines()

    admin = setup.proxy.admin_path
    tap.equal(completed("splicectl", "wei"), ["weight"], "a command")
    tap.equal(completed("splicectl", "-s", admin, "server", "app/"), ["app/a", "app/b"], "servers")
    tap.equal(completed("splicectl", "-s", admin, "server", "app/a", "d"), ["drain"], "states")
    tap.equal(completed("splicectl", "-s", admin, "frontend", "w"), ["web"], "frontends")
    tap.equal(completed("splicectl", "-s", admin, "show", "se"), ["servers", "sessions"], "lists")
    tap.equal(completed("splicectl", "-s", admin, "show", "sessions", "--so"), ["--source"], "a choice of sessions")
    tap.equal(completed("splicectl", "-s", admin, "show", "servers", "--so"), [""], "no choice of servers")
    tap.equal(completed("splicectl", "-s", admin, "weight", "odd/o"), [r"odd/odd\ \$\(echo\ 1\)", r"odd/odd\ \$\(echo\ 2\)"],
              "odd names")
    tap.equal(completed("splicectl", "-s", admin, "weight", "odd/a"), [f"odd/{LONG}"], "a long name")
    tap.equal(completed("splicectl", "-s", admin, "kill", "--server", "app/b"), ["app/b"], "a server to kill by")


@tap.case("completion for zsh knows commands, states and names", 60)
def _zsh():
    programs.need("zsh")
    setup = _Setup()
    terminal = _Terminal("zsh -f -i")
    terminal.keys(f"PS1='% '; PATH={os.path.dirname(ctl.PROGRAM)}:$PATH; fpath=({COMPLETION} $fpath); autoload -Uz compinit; "
                  f"compinit -u -D; clear; echo there'fore'", "Enter")
    terminal.wait("therefore", without="compinit")
    for typed, wanted in (("wei", "weight"), ("server app/", "app/a  app/b"), ("show li", "listeners"),
                          ("server app/a dr", "drain"), ("frontend w", "web"), ("kill --server app/", "app/a  app/b"),
                          ("frontend web p", "pause")):
        terminal.keys("C-u", "C-l", f"splicectl -s {setup.proxy.admin_path} {typed}", "Tab")
        terminal.wait(wanted)


tap.run()
