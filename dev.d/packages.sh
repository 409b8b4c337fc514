# shellcheck shell=bash disable=SC2034 # `need` names the lists by their last word
# dev.d/packages.sh - the Debian packages waymark takes, in one list, and their installation.

PACKAGES_BUILD=(
    bazel-bootstrap bazel-platforms bazel-rules-java bazel-rules-proto bazel-skylib
    ca-certificates g++ gcc git pkg-config
    libcjose-dev libcurl4-openssl-dev libgeos-dev libgmock-dev libgrpc-dev libgtest-dev
    libhiredis-dev libjansson-dev libmicrohttpd-dev liboauth2-dev libpq-dev libproj-dev
    libprotobuf-c-dev libprotobuf-dev libprotoc-dev libre2-dev libssl-dev liburcu-dev libuv1-dev
    libyaml-dev protobuf-c-compiler protobuf-compiler uthash-dev zlib1g-dev
)
PACKAGES_RUN=(
    postgresql-15 postgresql-15-postgis-3 python3 python3-grpc-tools python3-grpcio
    python3-pkg-resources python3-protobuf redis-server util-linux
)
PACKAGES_TEST=(clang curl dpkg-dev glewlwyd openssl procps python3-cryptography python3-jwt)
PACKAGES_GRPCPP=(libgrpc++-dev protobuf-compiler-grpc) # the peer of ./dev bench grpcpp
PACKAGES_CLIENTS=(curl jq protobuf-compiler-grpc-java-plugin) # beside the languages themselves
PACKAGES_LINT=(clang-format shellcheck)
PACKAGES_DOCS=(doxygen)
PACKAGES_PACKAGE=(binutils dpkg-dev xz-utils)
PACKAGES_IMAGE=(buildah debootstrap)

POLICY=/usr/sbin/policy-rc.d
POLICY_MARK='# by waymark ./dev: packages start no service of their own'

is_debian_12() {
    (
        ID='' VERSION_ID=''
        # shellcheck source=/dev/null
        [ -r /etc/os-release ] && . /etc/os-release
        [ "$ID" = debian ] && [ "${VERSION_ID%%.*}" = 12 ]
    )
}

# Prints those of its arguments that are not installed.
missing_packages() {
    local installed package
    installed=$(dpkg-query -W -f '${Status} ${Package}\n' "$@" 2>/dev/null |
        sed -n 's/^install ok installed //p' || true)
    for package in "$@"; do
        grep -qxF -- "$package" <<<"$installed" || printf '%s\n' "$package"
    done
}

# PostgreSQL and Redis would start as services when installed; waymark runs its own.
forbid_services() {
    [ -e "$POLICY" ] && return 0
    printf '#!/bin/sh\n%s\nexit 101\n' "$POLICY_MARK" | as_root tee "$POLICY" >/dev/null
    as_root chmod 755 "$POLICY"
}

allow_services() {
    if grep -qsF "$POLICY_MARK" "$POLICY"; then
        as_root rm -f "$POLICY"
    fi
}

apt_get() {
    as_root env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 \
        apt-get -q -o DPkg::Lock::Timeout=600 "$@" </dev/null >&2
}

install_packages() {
    step "Installing $# Debian packages"
    note "$*"
    trap allow_services EXIT
    forbid_services
    as_root dpkg --configure -a >&2 # an installation may have been interrupted
    apt_get update
    apt_get install -y --no-install-recommends "$@"
    allow_services
    trap - EXIT
}

# need GROUP...: makes sure that the packages of these groups (build, run, ...) are installed.
need() {
    local group wanted=() missing
    [ -n "${WAYMARK_SKIP_PACKAGES:-}" ] && return 0
    for group in "$@"; do
        local -n packages=PACKAGES_${group^^}
        wanted+=("${packages[@]}")
    done
    if ! is_debian_12; then
        printf '%s\n' "This is not Debian 12.  waymark needs what these Debian packages hold:" "" >&2
        printf '    %s\n' "${wanted[@]}" >&2
        die 1 "install them your way and set WAYMARK_SKIP_PACKAGES=1, or use a Debian 12 container"
    fi
    missing=$(missing_packages "${wanted[@]}")
    [ -z "$missing" ] && return 0
    # shellcheck disable=SC2086 # package names are words
    install_packages $missing
}
