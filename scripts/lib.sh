# shellcheck shell=bash
# What the scripts of this folder share: finding Swift, installing what is missing, building once.
# Sourced, never run. Everything said here goes to standard error, so that the standard output of
# `scripts/meshbench` is that of the program alone; and nothing is said where nothing is done.

# Some services and containers have none; files that are kept go where the user's home would be.
if [ -z "${HOME:-}" ]; then
    HOME=$(getent passwd "$(id -u)" | cut -d: -f6) || true
    export HOME="${HOME:-/root}"
fi

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
release_binary="$root/.build/release/meshbench"

say() { printf '%s\n' "$*" >&2; }
die() {
    say "$@"
    exit 1
}

# Runs a command as root: directly, or through sudo.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo -- "$@"
    else
        die "This needs root, and there is no sudo: $*"
    fi
}

# Each need is `probe=package`; a probe is a pkg-config module (`lib:NAME`), a program (`bin:NAME`)
# or a Python module of the system (`py:NAME`). Probes rather than package names, so that what the
# user has from elsewhere counts too.
build_needs=(
    bin:pkg-config=pkg-config
    lib:yaml-0.1=libyaml-dev
    lib:zlib=zlib1g-dev
    lib:libnghttp2=libnghttp2-dev
    lib:openssl=libssl-dev
)
# shellcheck disable=SC2034 # scripts/test reads it.
test_needs=(
    bin:git=git
    bin:curl=curl
    bin:nginx=nginx-light
    bin:h2load=nghttp2-client
    bin:nghttpd=nghttp2-server
    bin:wrk=wrk
    bin:chromium=chromium
    bin:etcd=etcd-server
    bin:python3=python3
    py:ensurepip=python3-venv
    bin:shellcheck=shellcheck
    bin:openssl=openssl
    bin:dig=bind9-dnsutils
)

has() {
    case $1 in
    lib:*) pkg-config --exists "${1#lib:}" 2>/dev/null ;;
    bin:*) PATH="$PATH:/usr/sbin:/sbin" command -v "${1#bin:}" >/dev/null ;;
    py:*) python3 -c "import ${1#py:}" 2>/dev/null ;;
    *) die "scripts/lib.sh: no such kind of probe: $1" ;;
    esac
}

# Installs with apt the packages of those needs that are not met.
install_missing() {
    local need missing=()
    for need in "$@"; do
        has "${need%%=*}" || missing+=("${need#*=}")
    done
    [ ${#missing[@]} -eq 0 ] && return

    command -v apt-get >/dev/null ||
        die "Missing: ${missing[*]} (Debian's names), and there is no apt-get to install them."
    say "Installing with apt: ${missing[*]}"
    # The lists are absent from most container images, and may be out of date anywhere else.
    if ! apt-cache show "${missing[@]}" >/dev/null 2>&1; then
        apt_update
    fi
    apt_install "${missing[@]}" || {
        apt_update
        apt_install "${missing[@]}"
    } || die "apt-get could not install: ${missing[*]}"
    for need in "$@"; do
        has "${need%%=*}" || die "Installed ${need#*=}, yet ${need%%=*} is still not found."
    done
}

# Not fatal: one source of many may be out of reach, and the packages come from another.
apt_update() {
    as_root apt-get update >&2 || say "apt-get update failed; trying with the lists that are there."
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install --yes --no-install-recommends "$@" >&2
}

# Puts a Swift of at least 6.2 on PATH, or says how to get one. Looks beyond PATH because sudo
# replaces it.
require_swift() {
    local home candidate version
    home=$(getent passwd "${SUDO_USER:-$(id -u)}" | cut -d: -f6) || true
    for candidate in "$(command -v swift || true)" \
        "$HOME/.local/share/swiftly/bin/swift" "$home/.local/share/swiftly/bin/swift" \
        "$home"/.local/share/swiftly/toolchains/*/usr/bin/swift \
        /opt/swift*/usr/bin/swift /usr/local/swift*/usr/bin/swift; do
        [ -x "$candidate" ] || continue
        # OpenStack's client has the same name; it prints no such line.
        version=$("$candidate" --version 2>/dev/null |
            sed -n 's/.*Swift version \([0-9]*\.[0-9]*\).*/\1/p' | head -n 1)
        [ -n "$version" ] || continue
        if [ "${version%%.*}" -gt 6 ] ||
            { [ "${version%%.*}" -eq 6 ] && [ "${version#*.}" -ge 2 ]; }; then
            PATH="$(dirname "$candidate"):$PATH"
            export PATH
            return
        fi
        say "$candidate is Swift $version."
    done
    die "meshbench is built with Swift 6.2 or later, which was not found.
Get it with swiftly (https://www.swift.org/install/linux/):

    curl -O https://download.swift.org/swiftly/linux/swiftly-\$(uname -m).tar.gz
    tar zxf swiftly-\$(uname -m).tar.gz && ./swiftly init

or unpack a toolchain from https://www.swift.org/download/ and put its usr/bin on PATH."
}

# What the release build is made from, as one line: names, sizes and times of all sources.
sources_state() {
    find "$root/Sources" "$root/Package.swift" "$root/scripts/lib.sh" -type f \
        -printf '%P %s %T@\n' | LC_ALL=C sort | sha256sum | cut -d' ' -f1
}

# Builds the release binary unless the one there was built from these very sources. The runtime is
# linked statically: children of the rig start in milliseconds and share no page with others.
build_release() {
    local stamp="$root/.build/release-stamp" state
    state=$(sources_state)
    if [ -x "$release_binary" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$state" ]; then
        return
    fi
    install_missing "${build_needs[@]}"
    require_swift
    say "Building meshbench (release) ..."
    swift build --package-path "$root" -c release --static-swift-stdlib --product meshbench >&2 ||
        die "The build failed."
    give_back "$root/.build"
    # The state from before the build: a source that changed meanwhile is built the next time.
    printf '%s\n' "$state" >"$stamp.$$"
    mv "$stamp.$$" "$stamp"
}

# What sudo made belongs to whoever called it: else they could neither build nor clean up later.
give_back() {
    [ "$(id -u)" -eq 0 ] && [ -n "${SUDO_UID:-}" ] || return 0
    chown -R --no-dereference "$SUDO_UID:${SUDO_GID:-$SUDO_UID}" "$1"
}

# Makes the Python environment NAME with the packages of a requirements file, unless it is there as
# wanted. Sets `venv` to its folder.
prepare_venv() {
    local wanted=$2
    venv="${XDG_CACHE_HOME:-$HOME/.cache}/meshbench/$1"
    cmp -s "$wanted" "$venv/installed.txt" && return
    say "Preparing Python packages in $venv ..."
    python3 -m venv --clear "$venv" >&2 || die "python3 could not make a venv in $venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        -r "$wanted" >&2 || die "pip could not install the packages of $wanted"
    cp "$wanted" "$venv/installed.txt"
}

# A Python with what the tests compare against; its path is exported as MESHBENCH_PYTHON.
prepare_python() {
    local venv
    prepare_venv venv "$root/scripts/test-requirements.txt"
    export MESHBENCH_PYTHON="$venv/bin/python"
}

# For scenarios with an Envoy: the one that `scripts/test` or `scripts/bench` has installed, unless
# there is another. Without any, the program itself says what to do.
find_envoy() {
    local environment candidate
    [ -z "${MESHBENCH_ENVOY:-}" ] && ! command -v envoy >/dev/null || return 0
    for environment in venv bench; do
        candidate="${XDG_CACHE_HOME:-$HOME/.cache}/meshbench/$environment/bin/envoy"
        if [ -x "$candidate" ]; then
            export MESHBENCH_ENVOY="$candidate"
            return
        fi
    done
}
