#!/usr/bin/env bash
# Runs every test. Installs what they need from Debian's packages if it is missing, starts the servers on free loopback
# ports, and stops those it started. Arguments go to `cargo test`.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
command -v redis-server >/dev/null || missing+=(redis-server)
command -v memcached >/dev/null || missing+=(memcached)
command -v unshare >/dev/null || missing+=(util-linux)
if ((${#missing[@]})); then
    sudo=()
    ((EUID == 0)) || sudo=(sudo)
    echo "installing ${missing[*]}"
    "${sudo[@]}" apt-get update -qq
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi

servers=$(mktemp -d)
chmod 755 "$servers"
stop() {
    local file pid
    for file in "$servers"/*.pid; do
        [ -e "$file" ] || continue
        pid=$(cat "$file")
        kill -CONT "$pid" 2>/dev/null || true
        kill -KILL "$pid" 2>/dev/null || true
    done
    rm -rf "$servers"
}
trap stop EXIT

free_port() {
    local port
    while :; do
        port=$((20000 + RANDOM % 12000))
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
    done
    echo "$port"
}

wait_for_port() {
    for _ in $(seq 200); do
        (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return
        sleep 0.05
    done
    echo "no server on port $1" >&2
    exit 1
}

start_redis() {
    local port=$1
    redis-server --bind 127.0.0.1 --port "$port" --save '' --appendonly no --daemonize yes \
        --dir "$servers" --pidfile "$servers/redis-$port.pid" --logfile "$servers/redis-$port.log" >/dev/null
    wait_for_port "$port"
}

start_memcached() {
    local port=$1 user=()
    ((EUID != 0)) || user=(-u nobody)
    memcached -l 127.0.0.1 -p "$port" -U 0 -m 64 "${user[@]}" &
    echo $! >"$servers/memcached-$port.pid"
    wait_for_port "$port"
}

redis_port=$(free_port)
start_redis "$redis_port"
memcached_port=$(free_port)
start_memcached "$memcached_port"
export TEST_REDIS="127.0.0.1:$redis_port" TEST_MEMCACHED="127.0.0.1:$memcached_port"

cargo test --all-features --lib --bins --tests --examples "$@"
cargo test --all-features --doc "$@"
