#!/usr/bin/env bash
# Runs every test. Installs what they need from Debian's packages and from PyPI if it is missing; the tests start their
# servers themselves. Arguments go to `cargo test`.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
command -v redis-server >/dev/null || missing+=(redis-server)
command -v redis-cli >/dev/null || missing+=(redis-tools)
command -v memcached >/dev/null || missing+=(memcached)
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || missing+=(postgresql)
command -v unshare >/dev/null || missing+=(util-linux)
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3 python3-venv)
if ((${#missing[@]})); then
    sudo=()
    ((EUID == 0)) || sudo=(sudo)
    echo "installing ${missing[*]}"
    "${sudo[@]}" apt-get update -qq
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi

# The original client, in an environment of its own that lasts as long as what it was made from.
python=${CARGO_TARGET_DIR:-target}/tmp/python
if ! cmp -s tests/requirements.txt "$python/requirements.txt"; then
    echo "installing tests/requirements.txt into $python"
    rm -rf "$python"
    python3 -m venv "$python"
    "$python/bin/pip" install --quiet --disable-pip-version-check --no-input -r tests/requirements.txt
    cp tests/requirements.txt "$python/"
fi

# Most of them wait for a server most of the time.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-6}

cargo test --workspace --all-features --lib --bins --examples --test it --test live --test soak "$@"
cargo test --workspace --all-features --doc "$@"
# Optimized, and with nothing else in it: two minutes for what takes half an hour otherwise.
cargo test --release -p cachekit-tests --test simulator --test sabotage "$@"
