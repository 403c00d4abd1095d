#!/usr/bin/env bash
# Takes one safeguard out of the library, and demands that the simulator misses it. Those that can be taken out from
# outside are taken out by tests/sabotage.
#
# Usage: tests/soak/sabotage.sh [SEEDS [STEPS]]     default: 20 seeds of 5,000 steps
set -euo pipefail
cd "$(dirname "$0")/../.."
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/sabotage

for safeguard in fence; do
    run=(cargo test --release -p cachekit-tests --test simulator)
    export RUSTFLAGS="--cfg cachekit_without=\"$safeguard\""
    "${run[@]}" --no-run
    if report=$("${run[@]}" -- --alone --seeds "${1:-20}" --steps "${2:-5000}"); then
        echo "$report"
        echo "without the $safeguard the simulator finds nothing" >&2
        exit 1
    fi
    grep '^simulator:' <<<"$report"
    # That it failed for another reason would prove nothing.
    grep -m 1 '^seed ' <<<"$report"
done
