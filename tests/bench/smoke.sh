#!/bin/sh
# SPDX-License-Identifier: ISC
# The load tool and the benchmark work: bytes are compared, wrong ones are noticed, every cell yields a figure.
# Sizes are tiny, and no figure is judged.
srcdir=${srcdir:-$(dirname "$0")/../..}
bulk=$PWD/tests/bench/bulk
dir=$(mktemp -d "${TMPDIR:-/tmp}/spliced-smoke-XXXXXX") || exit 1
servers=
n=0

finish() {
        for pid in $servers; do
                kill "$pid" 2>/dev/null
        done
        rm -rf "$dir"
}
trap finish EXIT
trap 'exit 1' INT TERM

# check NAME COMMAND...: one test, ok where the command succeeds
check() {
        name=$1
        shift
        n=$((n + 1))
        if "$@" >"$dir/said" 2>&1; then
                echo "ok $n - $name"
        else
                echo "not ok $n - $name"
                sed 's/^/# /' "$dir/said"
        fi
}

# serve NAME COMMAND...: starts a server in the background and returns when it listens
serve() {
        mkfifo "$dir/$1"
        out=$dir/$1
        shift
        "$@" >"$out" 2>/dev/null &
        servers="$servers $!"
        read -r ready <"$out" && [ "$ready" = ready ]
}

fails() {
        ! "$@"
}

says() {
        expected=$1
        shift
        "$@" 2>&1 | grep -q -- "$expected"
}

hold() {
        printf '\n\n\n' | "$bulk" idle -t 20 -c 100 -b 64K "unix:$dir/echo.sock" >"$dir/idle" &&
                [ "$(grep -c '"done": 100, ' "$dir/idle")" = 3 ]
}

# An echo server that changes the tenth byte.
cat >"$dir/liar.py" <<'END'
import signal, socket, sys
signal.alarm(60)
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print("ready")
while True:
    client, _ = listener.accept()
    said = bytearray(client.recv(64, socket.MSG_WAITALL))
    said[9] ^= 1
    client.sendall(said)
END

serve sink "$bulk" sink -v -t 60 "unix:$dir/sink.sock"
serve echo "$bulk" echo -t 60 "unix:$dir/echo.sock"
serve liar "${PYTHON3:-python3}" -u "$dir/liar.py" "$dir/liar.sock"

check "streams arrive whole" "$bulk" source -t 20 -c 3 -b 5M "unix:$dir/sink.sock"
check "the shortest stream does too" "$bulk" source -t 20 -b 16 "unix:$dir/sink.sock"
check "short connections" says '"done": 200, "bytes": 12800,' "$bulk" short -t 20 -c 8 -n 200 "unix:$dir/echo.sock"
check "messages longer than a buffer" "$bulk" pingpong -t 20 -c 2 -n 6 -s 3M "unix:$dir/echo.sock"
check "idle connections open and pass bytes twice" hold
check "a wrong byte that comes back is an error" says 'wrong bytes' "$bulk" short -t 20 -n 1 "unix:$dir/liar.sock"
check "a sink that says something else is an error" says 'arrived' "$bulk" source -t 20 -b 1K "unix:$dir/echo.sock"
check "a server that is not there is an error" fails "$bulk" short -t 20 -n 1 "unix:$dir/nothing.sock"
check "a server that never answers ends at the deadline" says 'deadline' "$bulk" short -t 1 -n 1 "unix:$dir/sink.sock"
check "what choosing a server costs is measured" says '^| least-time |' "$PWD/tests/bench/pick" --quick
check "a mode that does not exist is usage" says 'no such mode' "$bulk" bulk "unix:$dir/sink.sock"

check "look-ups of rules are measured" says 'IPv6, crowded: 500 networks' "$PWD/tests/bench/admission" -n 500 -l 1000

# A proxy of its own only where one is built and namespaces are allowed.
if [ "$(id -u)" = 0 ]; then flags=-n; else flags=-rn; fi
skip=
unshare "$flags" true 2>/dev/null || skip="no network namespaces here"
./spliced -V 2>/dev/null | grep -q . || skip="the daemon does not run here"
mkdir -p "$dir/tree/doc"
cp "$srcdir/README.md" "$dir/tree" && cp "$srcdir/doc/PERFORMANCE.md" "$dir/tree/doc" && chmod -R u+w "$dir/tree"

# there PROGRAM...: whether all are installed
there() {
        for program; do
                command -v "$program" >/dev/null || return 1
        done
}

# bench WHY-NOT NAME OPTION...: the benchmark in its smallest size
bench() {
        why=${skip:-$1}
        name=$2
        shift 2
        if [ -n "$why" ]; then
                n=$((n + 1))
                echo "ok $n - $name # SKIP $why"
        else
                check "$name" "$srcdir/tests/bench/run" --tiny --spliced ./spliced --tools tests/bench "$@"
        fi
}

tables() {
        "$srcdir/tests/bench/run" --tiny --spliced ./spliced --tools tests/bench "$@" --write "$dir/tree" || return 1
        grep -q '^| TCP→TCP | [0-9]' "$dir/tree/doc/PERFORMANCE.md" &&
                grep -q '^| short connection TCP→TCP: CPU µs | ' "$dir/tree/README.md" &&
                [ -s "$dir/tree/doc/bench-summary.png" ] && [ -s "$dir/tree/doc/bench-short.png" ]
}

untraced=
there strace || untraced="no strace"
bare=
there valgrind vgdb || bare="no valgrind"
case $SPLICED_SANITIZERS in "" | no) ;; *) bare="valgrind runs no sanitizers" ;; esac
alone=
there iperf3 || alone="no iperf3"
plain=
there gnuplot || plain="no gnuplot"

bench "" "streams and messages" --peers "" --cells 'streams/*-*/*' --cells messages
bench "$alone" "a stream of iperf3" --peers "" --cells streams/iperf3
bench "" "idle sessions, and a load beside them" --peers "" --cells idle --cells growth
bench "$untraced" "system calls are counted" --peers "" --cells 'calls/tcp-*'
bench "$bare" "instructions are counted" --peers "" --cells instructions
bench "" "the peers that are installed" --peers present --cells short --cells streams/tcp-tcp/1
if [ -n "$skip$plain" ]; then
        n=$((n + 1))
        echo "ok $n - tables and plots are written # SKIP $skip$plain"
else
        check "tables and plots are written" tables --peers "" --cells short
fi

n=$((n + 1))
name="rules are measured beside none"
if ! unshare "$flags" true 2>/dev/null || ! ./spliced -V 2>/dev/null | grep -q .; then
        echo "ok $n - $name # SKIP no network namespaces here, or no daemon that runs"
elif "$srcdir/tests/bench/acl" --bulk "$bulk" --spliced ./spliced --networks 500 --connections 100 --rounds 2 \
                >"$dir/said" 2>&1 && grep -q '^| with | ' "$dir/said"; then
        echo "ok $n - $name"
else
        echo "not ok $n - $name"
        sed 's/^/# /' "$dir/said"
fi

# One crash under the load of stall: its sessions live, every byte is right, and the table says so.
stalls() {
        "$srcdir/tests/bench/run" --tiny --spliced ./spliced --tools tests/bench --peers "" --cells events/kill |
                grep -q '^| crash: .* | spliced | 1 | .* of 21 | '
}

n=$((n + 1))
if [ -n "$skip" ]; then
        echo "ok $n - stalls are measured # SKIP $skip"
else
        n=$((n - 1))
        check "stalls are measured" stalls
fi
echo "1..$n"
