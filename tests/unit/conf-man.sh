#!/bin/sh
# SPDX-License-Identifier: ISC
# spliced.conf.5 and the program know the same keys, both ways; the page's examples are right; it is clean mdoc.
# shellcheck source=tests/unit/tap.sh
. "$top_srcdir/tests/unit/tap.sh"

# Keys of the page: each .It Ic behind a line '.\" keys of A. B.' gives A.key and B.key; "." alone is the top level.
page_keys() {
        awk '/^\.\\" keys of / { n = 0
                                 for (i = 4; i <= NF; i++)
                                         prefix[n++] = $i == "." ? "" : $i
                                 list = 1 }
             /^\.Bl/ { depth++ }
             /^\.El/ && --depth == 0 { list = 0 }
             list && /^\.It Ic / { for (i = 0; i < n; i++) print prefix[i] $3 }'
}

# Example number $1 of the page: the lines between its .Bd and .Ed.
example() {
        awk -v wanted="$1" '/^\.Sh/ { here = $2 == "EXAMPLES" }
                            here && /^\.Bd/ { inside = ++n == wanted; next }
                            /^\.Ed/ { inside = 0 }
                            inside'
}

scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
page=$top_srcdir/man/spliced.conf.5

"$top_builddir/tests/unit/conf_keys" >"$scratch/keys"
result "the program lists its keys" $?
sort "$scratch/keys" >"$scratch/known"
page_keys <"$page" | sort >"$scratch/documented"
missing=$(comm -23 "$scratch/known" "$scratch/documented")
[ -s "$scratch/known" ] && [ -z "$missing" ]
result "every key is in spliced.conf.5" $? "missing there: $missing"
missing=$(comm -13 "$scratch/known" "$scratch/documented")
[ -s "$scratch/documented" ] && [ -z "$missing" ]
result "every key of spliced.conf.5 is known, and described once" $? "not known, or twice: $missing"

i=1
while example $i <"$page" >"$scratch/example.conf" && [ -s "$scratch/example.conf" ]; do
        # An example may be a part: what every config needs is added where it is not there.
        grep -q '^frontend' "$scratch/example.conf" ||
                echo 'frontend "f" { listen ":1" { } backend = "b" } backend "b" { server "s" { address = "h:1" } }' \
                        >>"$scratch/example.conf"
        output=$("$SPLICED" -t -f "$scratch/example.conf" 2>&1)
        result "example $i of spliced.conf.5 passes -t" $? "$output"
        i=$((i + 1))
done
[ $i -gt 2 ]
result "the page has examples" $?

if command -v mandoc >/dev/null; then
        output=$(mandoc -T lint -W warning "$page" 2>&1)
        result "spliced.conf.5 is clean mdoc" $? "$output"
else
        n=$((n + 1))
        echo "ok $n - spliced.conf.5 is clean mdoc # SKIP mandoc is not installed"
fi
echo "1..$n"
exit $failed
