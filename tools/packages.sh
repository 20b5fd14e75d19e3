# SPDX-License-Identifier: Apache-2.0
# Sourced by ./quickstart and ./check: which Debian packages they need, and how they get them.
# shellcheck shell=bash

build_packages="gcc libc6-dev meson ninja-build pkg-config libcurl4-openssl-dev libjansson-dev
libyaml-dev libarchive-dev libs3-dev libssl-dev libisal-dev libwslay-dev libxml2-dev zlib1g-dev
libzstd-dev"
# shellcheck disable=SC2034 # used by the scripts that source this file
check_packages="$build_packages g++ clang libclang-rt-14-dev libcmocka-dev python3 git ca-certificates binutils
abigail-tools valgrind openssl restic nbdkit nbdkit-plugin-dev libnbd-bin qemu-utils e2fsprogs"

# Installs those of the given packages that are missing; silent when there are none.
install_packages() {
    local missing="" package run=""
    for package in "$@"; do
        if ! dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii'; then
            missing="$missing $package"
        fi
    done
    if [ -z "$missing" ]; then
        return 0
    fi
    if ! command -v apt-get >/dev/null; then
        echo "this script installs Debian packages and there is no apt-get here; it needs:$missing" >&2
        return 1
    fi
    if [ "$(id -u)" != 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "run this as root, or install sudo; missing packages:$missing" >&2
            return 1
        fi
        run="sudo"
    fi
    echo "installing:$missing"
    $run env DEBIAN_FRONTEND=noninteractive apt-get -qq update || return 1
    # shellcheck disable=SC2086 # a list of words
    $run env DEBIAN_FRONTEND=noninteractive DEBCONF_NOWARNINGS=yes \
        apt-get -qq -y --no-install-recommends -o Dpkg::Use-Pty=0 install $missing >/dev/null
}
