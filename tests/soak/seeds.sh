#!/usr/bin/env bash
# Thousands of simulations of caches in trouble, where tests/run.sh makes 200. About 20 minutes on two cores.
#
# Usage: tests/soak/seeds.sh [SEEDS [FROM [STEPS]]]     default: 5,000 from 1,000, of 100,000 steps each
set -euo pipefail
cd "$(dirname "$0")/../.."

cargo test --release -p cachekit-tests --test simulator -- \
    --seeds "${1:-5000}" --from "${2:-1000}" --steps "${3:-100000}"
