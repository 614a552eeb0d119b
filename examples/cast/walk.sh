#!/usr/bin/env bash
# cast and forge: send, deploy, call, read logs, see a revert, trace the receipt.
set -euo pipefail

fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }
trap 'fail "line $LINENO: $BASH_COMMAND"' ERR
same() { [ "$2" = "$3" ] || fail "$1: expected $3, got $2"; printf 'ok: %s = %s\n' "$1" "$2"; }

here="$(cd "$(dirname "$0")" && pwd)"
for name in RPC_URL PRIVATE_KEY; do [ -n "${!name:-}" ] || fail "$name is not set"; done
export ETH_RPC_URL="$RPC_URL"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

me="$(cast wallet address --private-key "$PRIVATE_KEY")"
printf 'chain %s, block %s, account %s\n' "$(cast chain-id)" "$(cast block-number)" "$me"

# A transfer. 1 BTC has 18 decimals here, so 1 sat is 10 gwei.
friend="$(cast wallet new | awk '/Address/ { print $2 }')"
same 'status of the transfer' \
    "$(cast send --private-key "$PRIVATE_KEY" --value 12345678gwei "$friend" --json | jq -r .status)" 0x1
same 'balance of the friend' "$(cast balance "$friend")" 12345678000000000

# A contract.
mkdir "$work/src"
cp "$here/../contracts/Counter.sol" "$work/src/"
printf '[profile.default]\nsrc = "src"\nsolc = "%s"\n' "$here/../tools/solc.mjs" >"$work/foundry.toml"
forge create --root "$work" --broadcast --private-key "$PRIVATE_KEY" --json \
    src/Counter.sol:Counter --constructor-args 40 >"$work/created.json"
counter="$(jq -r .deployedTo "$work/created.json")"
same 'number' "$(cast call "$counter" 'number()(uint256)')" 40

cast send --private-key "$PRIVATE_KEY" "$counter" 'add(uint256)' 2 --json >"$work/receipt.json"
same 'status of add(2)' "$(jq -r .status "$work/receipt.json")" 0x1
same 'number' "$(cast call "$counter" 'number()(uint256)')" 42

# Its event, by block and topic.
block="$(jq -r .blockNumber "$work/receipt.json")"
cast logs --from-block "$block" --to-block "$block" --address "$counter" \
    'Added(address indexed,uint256,uint256)' --json >"$work/logs.json"
same 'logs' "$(jq length "$work/logs.json")" 1
same 'number in the log' "$(cast to-dec "0x$(jq -r '.[0].data' "$work/logs.json" | cut -c67-)")" 42

# A revert says why, and costs nothing in a call.
if cast call "$counter" 'add(uint256)' 1001 >"$work/revert" 2>&1; then fail 'add(1001) must revert'; fi
grep -q "$(cast sig 'TooMuch(uint256,uint256)' | cut -c3-)" "$work/revert" || fail "revert data: $(cat "$work/revert")"
printf 'ok: add(1001) reverts with TooMuch\n'

# The CREATE2 deployer is there from block 0, so an address can be known beforehand.
code="$(node "$here/../tools/compile.mjs" Counter | jq -r .bytecode)$(cast abi-encode 'f(uint256)' 7 | cut -c3-)"
salt="$(cast keccak "$work")"
expected="$(cast create2 --deployer 0x4e59b44847b379578588920cA78FbF26c0B4956C --salt "$salt" --init-code "$code" |
    grep -oE '0x[0-9a-fA-F]{40}' | head -n 1)"
cast send --private-key "$PRIVATE_KEY" 0x4e59b44847b379578588920cA78FbF26c0B4956C "$salt${code#0x}" --json \
    >"$work/create2.json"
same 'status of the CREATE2 deployment' "$(jq -r .status "$work/create2.json")" 0x1
same 'number of the contract at the foreseen address' "$(cast call "$expected" 'number()(uint256)')" 7

# The transaction is in the block that its receipt names.
hash="$(jq -r .transactionHash "$work/receipt.json")"
same 'transactions of that hash in the block' \
    "$(cast block "$block" --json | jq --arg hash "$hash" '[.transactions[] | select(. == $hash)] | length')" 1
printf 'done\n'
