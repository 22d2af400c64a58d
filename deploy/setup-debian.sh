#!/usr/bin/env bash
# Installs what a bare Debian 12 (or Ubuntu) lacks to build and test: a C++ compiler, libclang for RocksDB, cmake and OpenSSL
# for the client of Kafka, hledger and beancount, which check our exports, PostgreSQL, Java with the jars of a Kafka broker,
# and schemathesis, which checks the API. Does nothing where all is there; names what is missing where there is no apt.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
need() { # need COMMAND PACKAGE...
    command -v "$1" >/dev/null 2>&1 || missing+=("${@:2}")
}
need cc build-essential
need c++ build-essential
need make make
need cmake cmake
need pkg-config pkg-config
need clang clang
need curl curl
need hledger hledger
need bean-check beancount
need java default-jre-headless
need mvn maven
need pgrep procps
# The client of Kafka speaks TLS and OAuth: it wants these libraries' headers.
for library in libcurl:libcurl4-openssl-dev openssl:libssl-dev zlib:zlib1g-dev; do
    pkg-config --exists "${library%%:*}" 2>/dev/null || missing+=("${library##*:}")
done
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing+=(postgresql)
if ! python3 -c 'import ensurepip, venv' >/dev/null 2>&1; then
    missing+=(python3 python3-venv)
fi
if ! ls /usr/lib/llvm-*/lib/libclang*.so* /usr/lib/*/libclang*.so* >/dev/null 2>&1; then
    missing+=(libclang-dev)
fi

if [ "${#missing[@]}" -gt 0 ]; then
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "setup: please install: ${missing[*]}" >&2
        exit 1
    fi
    as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null 2>&1 || { echo "setup: as root, please run: apt-get install ${missing[*]}" >&2; exit 1; }
        as_root=(sudo)
    fi
    echo "setup: installing ${missing[*]}" >&2
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

if ! command -v cargo >/dev/null 2>&1 && [ ! -x "$HOME/.cargo/bin/cargo" ]; then
    echo "setup: Rust 1.95 or newer is missing: see https://rustup.rs" >&2
    exit 1
fi

# In an environment of its own under target/, at the versions that are pinned.
tool=target/schemathesis
pins=deploy/schemathesis/requirements.txt
if ! cmp --silent "$pins" "$tool/requirements.txt"; then
    echo "setup: installing schemathesis into $tool" >&2
    rm -rf "$tool"
    python3 -m venv "$tool"
    "$tool/bin/pip" install --quiet --disable-pip-version-check --requirement "$pins"
    cp "$pins" "$tool/requirements.txt"
fi

deploy/kafka.sh jars
