#!/bin/sh
# SPDX-License-Identifier: ISC
# spliced.8 and "spliced -h" name the same options, both ways, and the pages are clean mdoc.
# shellcheck source=tests/unit/tap.sh
. "$top_srcdir/tests/unit/tap.sh"

# Options that -h lists: lines that begin with one, "  -f FILE  ...", "  -x, --long  ...", "      --long  ...".
help_options() {
        sed -n 's/^ *\(-.*\)/\1/p' | sed 's/   *.*//' | tr ', =' '\n\n\n' | grep '^-' | sort -u
}

# Options that mdoc source describes: those of .It Fl lines; "Fl -long" is --long.
page_options() {
        sed -n 's/^\.It //p' | grep '^Fl ' | sed 's/Fl /\n-/g' | sed -n 's/^\(-[^ ,]*\).*/\1/p' | sort -u
}

scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
page=$top_srcdir/man/spliced.8

"$SPLICED" -h >"$scratch/help" 2>"$scratch/errors"
result "spliced -h succeeds" $? "$(cat "$scratch/errors")"
help_options <"$scratch/help" >"$scratch/in-help"
page_options <"$page" >"$scratch/in-page"
missing=$(comm -23 "$scratch/in-help" "$scratch/in-page")
[ -s "$scratch/in-help" ] && [ -z "$missing" ]
result "every option of -h is in spliced.8" $? "missing there: $missing"
missing=$(comm -13 "$scratch/in-help" "$scratch/in-page")
[ -s "$scratch/in-page" ] && [ -z "$missing" ]
result "every option of spliced.8 is in -h" $? "missing there: $missing"

# What the program takes, whatever it says: letters are tried, long names are in its table.
{
        for letter in a b c d e f g h i j k l m n o p q r s t u v w x y z \
                A B C D E F G H I J K L M N O P Q R S T U V W X Y Z 0 1 2 3 4 5 6 7 8 9; do
                "$SPLICED" "-$letter" /dev/null -h >/dev/null 2>&1 && echo "-$letter"
        done
        sed -n 's/^ *{ "\([a-z-]*\)", [a-z]*_argument,.*/--\1/p' "$top_srcdir/src/main.c"
} | sort >"$scratch/taken"
out=$(diff "$scratch/taken" "$scratch/in-page")
result "the program takes the options of spliced.8 and no others" $? "$out"

# The synopsis: each described option stands there too, single letters perhaps as a cluster ("Fl abc").
synopsis=$(sed -n '/^\.Sh SYNOPSIS/,/^\.Sh DESCRIPTION/p' "$page" | sed -n 's/^.*Fl //p' | sed 's/ Ar .*//')
long=$(printf '%s\n' "$synopsis" | sed -n 's/^-/--/p')
short=$(printf '%s\n' "$synopsis" | grep -v '^-' | grep -o '[A-Za-z]' | sed 's/^/-/')
printf '%s\n' "$long" "$short" | grep . | sort -u >"$scratch/in-synopsis"
out=$(grep -v -x -e --help -e --version "$scratch/in-page" | diff "$scratch/in-synopsis" -)
result "the synopsis has them all, but for the long names of -h and -V" $? "$out"

# The comparison itself can fail.
printf '  -f FILE  x\n  -q, --quiet  y\n' | help_options | tr '\n' ' ' >"$scratch/self"
[ "$(cat "$scratch/self")" = "--quiet -f -q " ]
result "options of a help text are found" $? "$(cat "$scratch/self")"
printf '.It Fl f Ar file\n.It Fl q , Fl -quiet\ntext Fl z\n' | page_options | tr '\n' ' ' >"$scratch/self"
[ "$(cat "$scratch/self")" = "--quiet -f -q " ]
result "options of a page are found" $? "$(cat "$scratch/self")"

for page in "$top_srcdir"/man/*.[1-9]; do
        name="mandoc -Tlint -W warning ${page##*/}"
        if command -v mandoc >/dev/null; then
                out=$(mandoc -Tlint -W warning "$page" 2>&1)
                status=$?
                [ -n "$out" ] && status=1
                result "$name" "$status" "$out"
        else
                n=$((n + 1))
                echo "ok $n - $name # SKIP mandoc is not installed"
        fi
done

# README's line of packages is what contrib/prepare.sh installs.
top=$top_srcdir
# shellcheck source=contrib/prepare.sh
. "$top_srcdir/contrib/prepare.sh"
echo "$PACKAGES_BUILD" | tr ' ' '\n' | grep . | sort >"$scratch/installed"
sed -n '/^apt-get install /,/[^\\]$/p' "$top_srcdir/README.md" | tr ' ' '\n' | grep -v -x -e apt-get -e install -e '[\\]' -e '' |
        sort >"$scratch/in-readme"
out=$(diff "$scratch/installed" "$scratch/in-readme")
result "the packages that README names are those that contrib/quickstart installs" $? "$out"

echo "1..$n"
