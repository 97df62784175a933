#!/bin/sh
# SPDX-License-Identifier: ISC
# The unit is valid, starts the daemon as documented, and is as locked up as we say.
limit=2.0
unit=$top_builddir/contrib/systemd/spliced.service
n=0

# result NAME STATUS [TEXT]: one line of TAP, with TEXT as its explanation where the status is not 0.
result() {
        n=$((n + 1))
        if [ "$2" -eq 0 ]; then
                echo "ok $n - $1"
        else
                echo "not ok $n - $1"
                printf '%s\n' "$3" | sed 's/^/# /'
        fi
}

if ! command -v systemd-analyze >/dev/null; then
        echo "1..0 # SKIP systemd-analyze is not installed"
        exit 0
fi
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT

# The daemon is not installed yet: the copy that is checked names a program that is there.
sed -e 's,^\(Exec[A-Za-z]*=\)[^ ]*/spliced ,\1'"$SPLICED"' ,' "$unit" >"$scratch/spliced.service"
out=$(systemd-analyze verify --man=no "$scratch/spliced.service" 2>&1)
status=$?
[ -n "$out" ] && status=1
result "systemd-analyze verify has nothing to say" "$status" "$out"

sed 's,^KillMode=.*,KillMode=nonsense,' "$scratch/spliced.service" >"$scratch/bad.service"
out=$(systemd-analyze verify --man=no "$scratch/bad.service" 2>&1)
[ -n "$out" ]
result "systemd-analyze verify objects to a bad unit" $? "it said nothing"

# exposure UNIT: the overall level.
exposure() {
        systemd-analyze security --offline=true --no-pager "$1" 2>&1 | sed -n 's/.*verall exposure level for [^:]*: *\([0-9.]*\).*/\1/p'
}
level=$(exposure "$scratch/spliced.service")
awk -v level="$level" -v limit="$limit" 'BEGIN { exit !(level != "" && level + 0 <= limit + 0) }'
result "exposure is $level, $limit at most" $? "$(systemd-analyze security --offline=true --no-pager "$scratch/spliced.service" 2>&1)"

grep -v -e ^Protect -e ^Restrict -e ^SystemCall -e ^DynamicUser "$scratch/spliced.service" >"$scratch/open.service"
level=$(exposure "$scratch/open.service")
awk -v level="$level" -v limit="$limit" 'BEGIN { exit !(level + 0 > limit + 0) }'
result "without its protections the unit would not pass ($level)" $? "level '$level'"

for line in 'Type=exec' 'KillMode=mixed' 'ExecStartPre=/.*/spliced -t -f /.*/spliced.conf' \
        'ExecStart=/.*/spliced -f /.*/spliced.conf' 'RuntimeDirectory=spliced'; do
        grep -q "^$line\$" "$unit"
        result "the unit says $line" $? "$(cat "$unit")"
done
if grep -q '@[a-z]*@' "$unit"; then status=1; else status=0; fi
result "no placeholder is left" "$status" "$(grep '@[a-z]*@' "$unit")"

echo "1..$n"
