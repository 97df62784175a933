# SPDX-License-Identifier: ISC
# shellcheck shell=sh
# shellcheck disable=SC2034,SC2086,SC2154 # lists of packages, used by those who source this
# Shared by contrib/quickstart and contrib/check: sourced, with $top set to the top of the checkout and $log_dir
# to a folder for logs.

# To build spliced.
PACKAGES_BUILD="autoconf automake gcc libc-ares-dev libc6-dev libcap-ng-dev libconfuse-dev libcurl4-openssl-dev
        libjansson-dev libpcre2-dev libmicrohttpd-dev libncurses-dev libseccomp-dev libsystemd-dev make pkgconf"
# To show it at work.
PACKAGES_DEMO="iperf3 python3"
# To test it: the unit test library and what measures the sources, checks of the manual and of the unit, what
# "make dist" packs with, the fuzzer, and the real clients and servers of the integration tests.
PACKAGES_TEST="libcmocka-dev universal-ctags mandoc systemd xz-utils zsh clang libclang-rt-14-dev
        chromium chromium-driver curl dnsmasq-base hitch iproute2 nginx openssl postgresql procps prometheus redis-server
        redis-tools tmux tshark wrk"
# Of these, the ones that start a service when they are installed.  Tests start their own.
SERVICES="haproxy hitch nginx postgresql prometheus redis-server"

held=

fail() {
        echo "${0##*/}: $*" >&2
        exit 1
}

# missing PACKAGE...: those that are not installed, one a line.
missing() {
        for package; do
                case $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) in
                installed) ;;
                *) echo "$package" ;;
                esac
        done
}

# as_root COMMAND...: runs it as root: directly, or by sudo, which may ask where there is a terminal.
as_root() {
        if [ "$(id -u)" -eq 0 ]; then
                "$@"
        elif [ -t 0 ]; then
                sudo -- "$@"
        else
                sudo -n -- "$@"
        fi
}

# Debian starts a service as soon as its package is installed, unless a policy-rc.d says no.
hold_services() {
        held=/usr/sbin/policy-rc.d
        if [ -e "$held" ]; then
                held=
                return
        fi
        as_root sh -c "printf '#!/bin/sh\nexit 101\n' >$held && chmod 755 $held" || held=
        trap 'release_services; exit 1' HUP INT TERM
}

release_services() {
        if [ -n "$held" ]; then
                as_root rm -f "$held"
                held=
        fi
        trap - HUP INT TERM
}

# install_packages PACKAGE...: installs those that are missing; with none missing it needs neither network nor root.
install_packages() {
        command -v dpkg-query >/dev/null || fail "this is no Debian: see 'Install' in README.md for what is needed"
        wanted=$(missing "$@" | sort -u | tr '\n' ' ')
        [ -n "$wanted" ] || return 0
        if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
                fail "these packages are missing, and installing them takes root or sudo: $wanted"
        fi
        echo "installing $wanted"
        as_root true || fail "these packages are missing, and sudo does not let you install them: $wanted"
        fresh=$(missing $SERVICES)
        hold_services
        as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 update \
                >"$log_dir/apt.log" 2>&1
        as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends \
                -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 install $wanted >>"$log_dir/apt.log" 2>&1
        status=$?
        release_services
        [ "$status" -eq 0 ] || {
                tail -n 40 "$log_dir/apt.log" >&2
                fail "apt-get could not install: $wanted"
        }
        for service in $fresh; do
                if [ -z "$(missing "$service")" ] && command -v systemctl >/dev/null; then
                        as_root systemctl --quiet disable "$service" >/dev/null 2>&1
                fi
        done
        return 0
}

# cpus: how many compilers to run at once.
cpus() {
        getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2
}

# Makes configure where it is not there yet or older than what it is made from.
make_configure() {
        if [ ! -x "$top/configure" ] || [ ! -e "$top/Makefile.in" ] ||
                [ -n "$(find "$top/configure.ac" "$top/m4" "$top/Makefile.am" -newer "$top/Makefile.in")" ]; then
                "$top/autogen.sh"
        fi
}
