#!/bin/sh
# SPDX-License-Identifier: ISC
# Every sample of conf/ passes spliced -t, and what -T prints of it comes back unchanged.
# shellcheck source=tests/unit/tap.sh
. "$top_srcdir/tests/unit/tap.sh"

# uncommented FILE: with every default that is commented out ("#key = value") switched on.
uncommented() {
        sed 's/^\( *\)#\([a-z]\)/\1\2/' "$1"
}

scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
unset SPLICED_DEMO

for sample in "$top_srcdir"/conf/*.conf; do
        name=${sample##*/}
        output=$("$SPLICED" -t -f "$sample" 2>&1)
        result "$name passes -t" $? "$output"
        output=$("$SPLICED" -T -f "$sample" 2>&1 >"$scratch/first") &&
                output=$("$SPLICED" -T -f "$scratch/first" 2>&1 >"$scratch/second") &&
                output=$(diff "$scratch/first" "$scratch/second")
        result "$name comes back through -T" $? "$output"
done

uncommented "$top_srcdir/conf/spliced.conf" >"$scratch/all.conf"
output=$("$SPLICED" -t -f "$scratch/all.conf" 2>&1)
result "spliced.conf passes -t with all that is commented out" $? "$output"

# What contrib/quickstart relies on.
"$SPLICED" -T -f "$top_srcdir/conf/demo.conf" >"$scratch/default" 2>"$scratch/errors"
SPLICED_DEMO=/run/demo "$SPLICED" -T -f "$top_srcdir/conf/demo.conf" >"$scratch/demo" 2>>"$scratch/errors"
SPLICED_DEMO_PAGE=19404 "$SPLICED" -T -f "$top_srcdir/conf/demo.conf" 2>>"$scratch/errors" |
        grep -qF 'http = "127.0.0.1:19404"' &&
        grep -qF 'http = "127.0.0.1:18404"' "$scratch/default"
result "demo.conf has the status page on a port that can be chosen" $? "$(cat "$scratch/errors")"
for address in 127.0.0.1:18080 127.0.0.1:18081 127.0.0.1:15201 unix:/run/demo/tcp.sock unix:/run/demo/unix.sock; do
        grep -qF "listen \"$address\"" "$scratch/demo"
        result "demo.conf listens on $address" $? "$(cat "$scratch/errors")"
done
for address in 127.0.0.1:18090 127.0.0.1:15202 unix:/run/demo/echo.sock; do
        grep -qF "address = \"$address\"" "$scratch/demo"
        result "demo.conf has a server $address" $? "$(cat "$scratch/errors")"
done
grep -qF '"unix:/tmp/spliced-demo/echo.sock"' "$scratch/default"
result "demo.conf has a default for its folder" $?

echo "1..$n"
exit $failed
