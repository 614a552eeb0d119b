"""web3.py: deploy, send transactions of several types, read logs, decode a revert."""

import json
import os
import subprocess
import sys
from pathlib import Path

from eth_account import Account
from web3 import Web3
from web3.exceptions import ContractCustomError

HERE = Path(__file__).resolve().parent


def fail(message):
    """Ends the example with a message and exit code 1."""
    print(f"FAILED: {message}", file=sys.stderr)
    sys.exit(1)


def same(what, got, expected):
    """Ends the example unless `got` is `expected`."""
    if got != expected:
        fail(f"{what}: expected {expected}, got {got}")
    print(f"ok: {what} = {got}")


def setting(name):
    """A setting from the environment; ends the example when it is missing."""
    return os.environ.get(name) or fail(f"{name} is not set (see examples/README.md)")


def compile_contract(name):
    """The ABI and bytecode of a contract of examples/contracts."""
    command = ["node", str(HERE.parent / "tools" / "compile.mjs"), name]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main():
    w3 = Web3(Web3.HTTPProvider(setting("RPC_URL")))
    if not w3.is_connected():
        fail(f"no node at {os.environ['RPC_URL']}")
    account = Account.from_key(setting("PRIVATE_KEY"))
    print(f"chain {w3.eth.chain_id}, client {w3.client_version}, block {w3.eth.block_number}")

    def send(transaction):
        """Signs, sends and waits; the receipt must be a success."""
        transaction = {
            "from": account.address,
            "chainId": w3.eth.chain_id,
            "nonce": w3.eth.get_transaction_count(account.address, "pending"),
            **transaction,
        }
        transaction.setdefault("gas", w3.eth.estimate_gas(transaction))
        signed = account.sign_transaction(transaction)
        receipt = w3.eth.wait_for_transaction_receipt(w3.eth.send_raw_transaction(signed.raw_transaction), 60)
        same("status", receipt.status, 1)
        return receipt

    compiled = compile_contract("Counter")
    factory = w3.eth.contract(abi=compiled["abi"], bytecode=compiled["bytecode"])
    fees = {"maxFeePerGas": 2 * w3.eth.gas_price, "maxPriorityFeePerGas": w3.eth.max_priority_fee}
    deployment = send({"data": factory.constructor(40).data_in_transaction, **fees})
    counter = w3.eth.contract(address=deployment.contractAddress, abi=compiled["abi"])
    same("number", counter.functions.number().call(), 40)

    # The three common transaction types.
    data = counter.encode_abi("add", args=[1])
    price = {"gasPrice": 2 * w3.eth.gas_price}
    access_list = [{"address": counter.address, "storageKeys": ["0x" + "00" * 32]}]
    receipts = [
        send({"to": counter.address, "data": data, **price}),
        send({"to": counter.address, "data": data, "accessList": access_list, **price}),
        send({"to": counter.address, "data": data, "value": 0, **fees}),
    ]
    for kind, receipt in enumerate(receipts):
        same("transaction type", receipt.type, kind)
        same("type of the transaction as the node has it", w3.eth.get_transaction(receipt.transactionHash).type, kind)
    same("number", counter.functions.number().call(), 43)
    same("number before the last", counter.functions.number().call(block_identifier=receipts[1].blockNumber), 42)

    first, last = receipts[0].blockNumber, receipts[-1].blockNumber
    logs = counter.events.Added().get_logs(from_block=first, to_block=last)
    same("numbers in the logs", [log.args.number for log in logs], [41, 42, 43])

    # A filter on the node, polled.
    poll = w3.eth.filter({"address": counter.address})
    receipt = send({"to": counter.address, "data": data, **fees})
    same("transactions of the filter", [log.transactionHash for log in poll.get_new_entries()], [receipt.transactionHash])
    same("the filter is taken away", w3.eth.uninstall_filter(poll.filter_id), True)

    try:
        counter.functions.add(1001).call()
    except ContractCustomError as error:
        selector = w3.keccak(text="TooMuch(uint256,uint256)")[:4].to_0x_hex()
        same("selector of the revert", error.data[:10], selector)
    else:
        fail("add(1001) must revert")

    history = w3.eth.fee_history(4, "latest", [50])
    same("base fees in the history of 4 blocks", len(history["baseFeePerGas"]), 1 + len(history["gasUsedRatio"]))
    print("done")


if __name__ == "__main__":
    try:
        main()
    except Exception as error:  # noqa: BLE001: whatever went wrong ends the example with its message
        fail(f"{type(error).__name__}: {error}")
