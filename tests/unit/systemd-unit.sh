#!/bin/sh
# SPDX-License-Identifier: ISC
# The unit is valid, starts the daemon as documented, and is as locked up as we say.
limit=2.0
unit=$top_builddir/contrib/systemd/spliced.service
# shellcheck source=tests/unit/tap.sh
. "$top_srcdir/tests/unit/tap.sh"

if ! command -v systemd-analyze >/dev/null; then
        echo "1..0 # SKIP systemd-analyze is not installed"
        exit 0
fi
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT

# The daemon is not installed yet: the copy that is checked names a program that is there.
sed -e 's,^\(Exec[A-Za-z]*=\)[^ ]*/spliced ,\1'"$SPLICED"' ,' "$unit" >"$scratch/spliced.service"
cp "$top_srcdir/contrib/systemd/spliced.socket" "$scratch/"
for name in spliced.service spliced.socket; do
        out=$(systemd-analyze verify --man=no "$scratch/$name" 2>&1)
        status=$?
        [ -n "$out" ] && status=1
        result "systemd-analyze verify has nothing to say about $name" "$status" "$out"
done

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

for line in 'Type=notify' 'KillMode=mixed' 'OOMPolicy=continue' 'WatchdogSec=[0-9]*s' 'User=spliced' \
        'ExecReload=/.*/spliced -t -f /.*/spliced.conf' 'ExecReload=.*kill -HUP \$MAINPID' 'ExecStartPre=/.*/spliced -t -f /.*/spliced.conf' \
        'ExecStart=/.*/spliced -f /.*/spliced.conf' 'RuntimeDirectory=spliced'; do
        grep -q "^$line\$" "$unit"
        result "the unit says $line" $? "$(cat "$unit")"
done
if grep -q '@[a-z]*@' "$unit"; then status=1; else status=0; fi
result "no placeholder is left" "$status" "$(grep '@[a-z]*@' "$unit")"

# The first command objects before the second one signals.
awk '/^ExecReload=/ { n++; if (n == 1 && $0 !~ /spliced -t /) exit 1; if (n == 2 && $0 !~ /kill/) exit 1 } END { exit n != 2 }' \
        "$unit"
result "a reload is checked before it is asked for" $? "$(grep ^ExecReload "$unit")"

# The user and the folders, in a root directory of our own.
if command -v systemd-sysusers >/dev/null && command -v systemd-tmpfiles >/dev/null && [ "$(id -u)" -eq 0 ]; then
        mkdir -p "$scratch/root/etc" "$scratch/root/run" "$scratch/root/var/log"
        out=$(systemd-sysusers --root="$scratch/root" "$top_srcdir/contrib/systemd/sysusers.d/spliced.conf" 2>&1) &&
                grep -q '^spliced:' "$scratch/root/etc/passwd" && grep -q '^spliced:' "$scratch/root/etc/group"
        result "sysusers.d makes user and group" $? "$out"
        out=$(systemd-tmpfiles --create --root="$scratch/root" "$top_srcdir/contrib/systemd/tmpfiles.d/spliced.conf" 2>&1)
        uid=$(awk -F: '$1 == "spliced" { print $3 }' "$scratch/root/etc/passwd")
        [ "$(stat -c %u:%a "$scratch/root/run/spliced" "$scratch/root/var/log/spliced" 2>&1 | tr '\n' ' ')" = "$uid:755 $uid:750 " ]
        result "tmpfiles.d makes its folders" $? "$out"
else
        result "sysusers.d and tmpfiles.d # SKIP needs root and systemd-sysusers" 0
fi

echo "1..$n"
