#!/bin/sh
# SPDX-License-Identifier: ISC
# splicectl.1, "splicectl -h", the program and its completions know the same commands and options.
# shellcheck source=tests/unit/tap.sh
. "$top_srcdir/tests/unit/tap.sh"

# same WHAT ELSEWHERE: the lists $scratch/program and $scratch/ELSEWHERE are alike, and there is something in them
same() {
        out=$(diff "$scratch/program" "$scratch/$2" 2>&1) && [ -s "$scratch/program" ]
        result "$1: as the program has them in $2" $? "$out"
}

scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
page=$top_srcdir/man/splicectl.1
source=$top_srcdir/src/splicectl.c
bash=$top_srcdir/contrib/completion/splicectl.bash
zsh=$top_srcdir/contrib/completion/_splicectl

"$top_builddir/splicectl" -h >"$scratch/help" 2>"$scratch/errors"
result "splicectl -h succeeds" $? "$(cat "$scratch/errors")"

# Commands
grep -o '{ "[a-z-]*", splicectl_[a-z_]* }' "$source" | cut -d'"' -f2 | sort >"$scratch/program"
sed -n 's/^  \([a-z].*\)/\1/p' "$scratch/help" | sed 's/  .*//' | sed 's/, /\n/g' | sed 's/ .*//' | sort -u >"$scratch/h"
same commands h
sed -n '/^\.Sh COMMANDS/,/^\.Sh ENV/s/^\.It Ic //p' "$page" | sed 's/ , /\n/g' | sed 's/ .*//' | sort -u >"$scratch/man"
same commands man
sed -n "s/^.*local commands='\(.*\)'/\1/p" "$bash" | tr ' ' '\n' | sort >"$scratch/bash"
same commands bash
sed -n '/^ *commands=(/,/^ *)/s/^ *.\([a-z-]*\):.*/\1/p' "$zsh" | sort >"$scratch/zsh"
same commands zsh

# Options
{
        for letter in a b c d e f g h i j k l m n o p q r s t u v w x y z \
                A B C D E F G H I J K L M N O P Q R S T U V W X Y Z 0 1 2 3 4 5 6 7 8 9; do
                "$top_builddir/splicectl" "-$letter" /dev/null -h >/dev/null 2>&1 && echo "-$letter"
        done
        sed -n 's/^ *{ "\([a-z-]*\)", [a-z]*_argument,.*/--\1/p' "$source"
} | sort >"$scratch/program"
grep -o '[ [|]--*[A-Za-z][a-z]*' "$scratch/help" | cut -c2- | sort -u >"$scratch/h"
same options h
sed -n 's/^\.It //p' "$page" | grep -e '^Fl ' -e '^Ic kill Fl' | sed 's/Fl /\n-/g' | sed -n 's/^\(-[^ ,]*\).*/\1/p' |
        sort -u >"$scratch/man"
same options man
grep -v '^ *#' "$bash" | grep -o "[' (]--*[A-Za-z][a-z]*" | cut -c2- | grep -x -F -f "$scratch/program" | sort -u >"$scratch/bash"
same options bash
grep -o -e "[(' {,]--*[A-Za-z][a-z]*" "$zsh" | cut -c2- | grep -x -F -f "$scratch/program" | sort -u >"$scratch/zsh"
same options zsh

# What "show" knows.
sed -n 's/^.*show_things\[\] = {\(.*\), NULL.*/\1/p' "$top_srcdir/src/ctl/show.c" | tr -d '", ' >"$scratch/program"
sed -n 's/^  show \([a-z|]*\)$/\1/p' "$scratch/help" | tr -d '|' >"$scratch/h"
same lists h
sed -n 's/^\.It Ic show Cm \([a-z |]*\)$/\1/p' "$page" | tr -d '| ' >"$scratch/man"
same lists man
sed -n "s/^.*'\(frontends .*\)'.*/\1/p" "$bash" | tr -d ' ' >"$scratch/bash"
same lists bash
sed -n 's/^.*compadd \(frontends .*\) ;;/\1/p' "$zsh" | tr -d ' ' >"$scratch/zsh"
same lists zsh

echo "1..$n"
exit $failed
