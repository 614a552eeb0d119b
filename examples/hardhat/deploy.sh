#!/usr/bin/env bash
# Hardhat 3 (Node 22 or newer): compiles and deploys with the ethers plugin.
set -euo pipefail
cd "$(dirname "$0")"

fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }
for name in RPC_URL PRIVATE_KEY; do [ -n "${!name:-}" ] || fail "$name is not set"; done

HARDHAT_WORK="$(mktemp -d)"
export HARDHAT_WORK
trap 'rm -rf "$HARDHAT_WORK"' EXIT
# No question on the first run, nothing sent about it.
export HARDHAT_DISABLE_TELEMETRY_PROMPT=true
node ../node_modules/hardhat/dist/src/cli.js run --network bitsect scripts/deploy.ts | tee "$HARDHAT_WORK/log" ||
    fail "hardhat run ended with an error"
# The script's last line: a run that stopped early does not have it.
grep -qx done "$HARDHAT_WORK/log" || fail "the script did not reach its end"
