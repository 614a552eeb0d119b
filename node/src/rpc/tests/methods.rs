//! What the methods answer about a known chain.

use alloy_consensus::Sealable;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, keccak256};
use bitsect_vm::chain::{OutPoint, Transaction};
use bitsect_vm::derive::{AcceptedDeposit, InboxItem};
use bitsect_vm::state::{BASIC_DATA, STEM_TAG, hash_node, header_key, slot_key};
use serde_json::{Value, json};

use super::Node;
use super::chain::{address, deploy, origin, poke, raw, transfer};
use crate::events::ChainEvent;
use crate::invariant::{MoveKind, VaultMove};
use crate::store::StoreError;

fn number(value: &Value) -> u128 {
    u128::from_str_radix(value.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
}

fn contract() -> Address {
    address(0).create(0)
}

fn word(value: u64) -> String {
    format!("0x{value:064x}")
}

fn filled() -> Node {
    let node = Node::new();
    node.chain.block(vec![deploy(0, 0), transfer(1, 0)], None);
    node.chain
        .block(vec![poke(0, 1, contract(), 7), transfer(1, 1)], Some(2));
    node
}

#[tokio::test]
async fn blocks_transactions_and_receipts() {
    let node = filled();
    assert_eq!(node.call("eth_blockNumber", json!([])).await, "0x2");
    let block = node.call("eth_getBlockByNumber", json!(["latest", true])).await;
    assert_eq!(block["number"], "0x2");
    assert_eq!(block["transactions"].as_array().unwrap().len(), 2);
    assert_eq!(
        block["transactions"][0]["from"],
        json!(address(0)).as_str().unwrap().to_lowercase()
    );
    let by_hash = node
        .call("eth_getBlockByHash", json!([block["hash"], true]))
        .await;
    assert_eq!(by_hash, block);
    let parent = node.call("eth_getBlockByNumber", json!(["0x1", false])).await;
    assert_eq!(block["parentHash"], parent["hash"]);
    assert!(parent["transactions"][0].is_string());
    assert_eq!(
        node.call("eth_getBlockByNumber", json!(["0x3", false])).await,
        Value::Null
    );
    let hash = &block["transactions"][0]["hash"];
    assert_eq!(
        node.call("eth_getTransactionByHash", json!([hash])).await,
        block["transactions"][0]
    );
    let receipt = node.call("eth_getTransactionReceipt", json!([hash])).await;
    assert_eq!(receipt["status"], "0x1");
    assert_eq!(receipt["logs"][0]["topics"][0], word(7));
    assert!(number(&receipt["l1Fee"]) > 0);
    let receipts = node.call("eth_getBlockReceipts", json!(["0x2"])).await;
    assert_eq!(receipts[0], receipt);
    let created = node
        .call("eth_getBlockReceipts", json!([{ "blockHash": parent["hash"] }]))
        .await;
    assert_eq!(
        created[0]["contractAddress"],
        json!(contract()).as_str().unwrap().to_lowercase()
    );
    // The root of the raw receipts' hashes is the header's: the bytes are Ethereum's.
    let header = node.call("debug_getRawHeader", json!(["0x2"])).await;
    let header = alloy_primitives::hex::decode(header.as_str().unwrap()).unwrap();
    assert_eq!(json!(keccak256(header)), block["hash"]);
}

#[tokio::test]
async fn state_now_and_then() {
    let node = filled();
    let contract = contract();
    let sent = |tag: &'static str| node.call("eth_getTransactionCount", json!([address(1), tag]));
    assert_eq!(sent("latest").await, "0x2");
    assert_eq!(sent("0x1").await, "0x1");
    assert_eq!(
        node.call("eth_getStorageAt", json!([contract, "0x0", "latest"]))
            .await,
        word(7)
    );
    assert_eq!(
        node.call("eth_getStorageAt", json!([contract, "0x0", "0x1"]))
            .await,
        word(0)
    );
    assert_eq!(
        node.call("eth_getBalance", json!([Address::repeat_byte(9), "latest"]))
            .await,
        "0x2"
    );
    assert_eq!(
        node.call("eth_getCode", json!([contract, "earliest"])).await,
        "0x"
    );
    assert!(
        node.call("eth_getCode", json!([contract]))
            .await
            .as_str()
            .unwrap()
            .len()
            > 100
    );
    let (code, text) = node.error("eth_getBalance", json!([contract, "0x9"])).await;
    assert_eq!((code, text.as_str()), (-32000, "header not found"));
    // What waits in the pool counts for `pending`.
    node.call("eth_sendRawTransaction", json!([raw(&transfer(1, 2))]))
        .await;
    assert_eq!(sent("pending").await, "0x3");
    assert_eq!(
        node.call("txpool_status", json!([])).await,
        json!({ "pending": "0x1", "queued": "0x0" })
    );
    let content = node.call("txpool_contentFrom", json!([address(1)])).await;
    assert_eq!(content["pending"]["2"]["blockHash"], Value::Null);
    let (code, text) = node
        .error("eth_sendRawTransaction", json!([raw(&transfer(1, 0))]))
        .await;
    assert_eq!(
        (code, text.as_str()),
        (-32000, "nonce too low: next nonce 2, tx nonce 0")
    );
}

#[tokio::test]
async fn calls_reverts_and_overrides() {
    let node = filled();
    let contract = contract();
    let call = json!({ "to": contract, "data": word(5) });
    assert_eq!(node.call("eth_call", json!([call, "latest"])).await, word(5));
    let reverting = json!({ "to": contract });
    let response = node.response("eth_call", json!([reverting, "latest"])).await;
    assert_eq!(response["error"]["code"], 3);
    assert_eq!(response["error"]["message"], "execution reverted: no");
    assert!(
        response["error"]["data"]
            .as_str()
            .unwrap()
            .starts_with("0x08c379a0")
    );
    let (code, text) = node.error("eth_estimateGas", json!([reverting])).await;
    assert_eq!((code, text.as_str()), (3, "execution reverted: no"));
    // Code that returns the balance of the caller, at an address that has none.
    let overrides = json!({
        Address::repeat_byte(0x77).to_string(): { "code": "0x333160005260206000f3" },
        Address::repeat_byte(0x78).to_string(): { "balance": "0x2a" },
    });
    let request = json!({ "from": Address::repeat_byte(0x78), "to": Address::repeat_byte(0x77) });
    assert_eq!(
        node.call("eth_call", json!([request, "latest", overrides])).await,
        word(42)
    );
    // NUMBER and TIMESTAMP of another block.
    let overrides = json!({ Address::repeat_byte(0x77).to_string(): { "code": "0x4342016000526020 6000f3".replace(' ', "") } });
    let block = json!({ "number": "0x64", "time": "0x3e8" });
    assert_eq!(
        node.call("eth_call", json!([request, "latest", overrides, block]))
            .await,
        word(1100)
    );
    let poor = json!({ "from": Address::repeat_byte(0x78), "to": contract, "value": "0x1" });
    let (code, text) = node.error("eth_call", json!([poor])).await;
    assert_eq!(code, -32000);
    assert!(
        text.starts_with("insufficient funds for gas * price + value: address 0x"),
        "{text}"
    );
    // An endless loop ends with its gas.
    let spin = json!({ Address::repeat_byte(0x77).to_string(): { "code": "0x5b600056" } });
    let (code, text) = node.error("eth_call", json!([request, "latest", spin])).await;
    assert_eq!((code, text.as_str()), (-32000, "out of gas"));
}

#[tokio::test]
async fn estimates_are_enough_and_not_much_more() {
    let node = filled();
    let plain = json!({ "from": address(1), "to": Address::repeat_byte(9), "value": "0x1" });
    assert_eq!(node.call("eth_estimateGas", json!([plain])).await, "0x5208");
    let call = json!({ "from": address(1), "to": contract(), "data": word(9) });
    let gas = number(&node.call("eth_estimateGas", json!([call])).await);
    let with = |gas: u128| {
        let mut call = call.clone();
        call["gas"] = json!(format!("0x{gas:x}"));
        call
    };
    node.call("eth_call", json!([with(gas)])).await;
    node.error("eth_call", json!([with(gas * 98 / 100)])).await;
    let (_, text) = node.error("eth_estimateGas", json!([with(21_500)])).await;
    assert!(text.contains("gas"), "{text}");
    // With a price the L1 fee counts against the balance.
    let balance = json!({ Address::repeat_byte(0x78).to_string(): { "balance": "0x5209" } });
    let priced =
        json!({ "from": Address::repeat_byte(0x78), "to": Address::repeat_byte(9), "gasPrice": "0x1" });
    let (_, text) = node
        .error("eth_estimateGas", json!([priced, "latest", balance]))
        .await;
    assert!(
        text.starts_with("insufficient funds for gas * price + value"),
        "{text}"
    );
    let list = node.call("eth_createAccessList", json!([call])).await;
    assert_eq!(list["accessList"][0]["storageKeys"], json!([word(0)]));
}

#[tokio::test]
async fn fees_and_history() {
    let node = filled();
    let base = number(&node.call("eth_getBlockByNumber", json!(["latest", false])).await["baseFeePerGas"]);
    let history = node
        .call("eth_feeHistory", json!(["0x2", "latest", [0, 50, 100]]))
        .await;
    assert_eq!(history["oldestBlock"], "0x1");
    assert_eq!(history["baseFeePerGas"].as_array().unwrap().len(), 3);
    assert_eq!(number(&history["baseFeePerGas"][1]), base);
    assert_eq!(history["reward"][0].as_array().unwrap().len(), 3);
    let price = number(&node.call("eth_gasPrice", json!([])).await);
    assert!(price > number(&history["baseFeePerGas"][2]));
    for (percentiles, start) in [
        (json!([50, 10]), "invalid reward percentile"),
        (json!([101]), "invalid reward"),
    ] {
        let (code, text) = node
            .error("eth_feeHistory", json!([1, "latest", percentiles]))
            .await;
        assert!(code == -32000 && text.starts_with(start), "{text}");
    }
    let fee = node
        .call("rollup_estimateL1Fee", json!([raw(&transfer(1, 5))]))
        .await;
    assert!(number(&fee["l1Fee"]) > 0);
}

#[tokio::test]
async fn logs_and_filters() {
    let node = filled();
    let found = |filter: Value| node.call("eth_getLogs", json!([filter]));
    let all = found(json!({ "fromBlock": "earliest" })).await;
    assert_eq!(all.as_array().unwrap().len(), 1);
    assert_eq!(all[0]["blockNumber"], "0x2");
    assert_eq!(
        found(json!({ "fromBlock": "0x0", "address": contract(), "topics": [word(7)] })).await,
        all
    );
    assert_eq!(
        found(json!({ "fromBlock": "0x0", "topics": [word(8)] })).await,
        json!([])
    );
    assert_eq!(found(json!({ "blockHash": all[0]["blockHash"] })).await, all);
    let (code, text) = node
        .error("eth_getLogs", json!([{ "fromBlock": "0x2", "toBlock": "0x1" }]))
        .await;
    assert_eq!((code, text.as_str()), (-32602, "invalid block range params"));
    let logs = node
        .call("eth_newFilter", json!([{ "address": contract() }]))
        .await;
    let blocks = node.call("eth_newBlockFilter", json!([])).await;
    let pending = node.call("eth_newPendingTransactionFilter", json!([])).await;
    let sent = node
        .call("eth_sendRawTransaction", json!([raw(&transfer(1, 2))]))
        .await;
    let block = node.chain.block(vec![poke(0, 2, contract(), 8)], None);
    let mut feed = node.context.feed.subscribe();
    node.events
        .send(ChainEvent {
            added: vec![block],
            ..ChainEvent::default()
        })
        .unwrap();
    feed.recv().await.unwrap();
    let changes = |id: &Value| node.call("eth_getFilterChanges", json!([id]));
    assert_eq!(changes(&logs).await[0]["topics"][0], word(8));
    assert_eq!(changes(&logs).await, json!([]));
    assert_eq!(changes(&blocks).await, json!([block.hash]));
    assert_eq!(changes(&pending).await, json!([sent]));
    assert_eq!(
        node.call("eth_getFilterLogs", json!([logs]))
            .await
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(node.call("eth_uninstallFilter", json!([logs])).await, true);
    assert_eq!(node.call("eth_uninstallFilter", json!([logs])).await, false);
    let (_, text) = node.error("eth_getFilterChanges", json!([logs])).await;
    assert_eq!(text, "filter not found");
}

#[tokio::test]
async fn traces_replay_the_block() {
    let node = filled();
    let block = node.call("eth_getBlockByNumber", json!(["0x2", false])).await;
    let hash = &block["transactions"][0];
    let receipt = node.call("eth_getTransactionReceipt", json!([hash])).await;
    let steps = node.call("debug_traceTransaction", json!([hash])).await;
    assert_eq!(
        u128::from(steps["gas"].as_u64().unwrap()),
        number(&receipt["gasUsed"])
    );
    assert_eq!(steps["failed"], false);
    assert!(steps["structLogs"].as_array().unwrap().len() > 10);
    let calls = node
        .call(
            "debug_traceTransaction",
            json!([hash, { "tracer": "callTracer" }]),
        )
        .await;
    assert_eq!(calls["type"], "CALL");
    assert_eq!(calls["output"], word(7));
    let state = node
        .call(
            "debug_traceTransaction",
            json!([hash, { "tracer": "prestateTracer" }]),
        )
        .await;
    assert!(
        state
            .as_object()
            .unwrap()
            .contains_key(&format!("{:?}", contract()).to_lowercase()),
        "{state}"
    );
    let fourbyte = node
        .call(
            "debug_traceTransaction",
            json!([hash, { "tracer": "4byteTracer" }]),
        )
        .await;
    assert_eq!(fourbyte, json!({ "0x00000000-28": 1 }));
    let by_number = node
        .call(
            "debug_traceBlockByNumber",
            json!(["0x2", { "tracer": "callTracer" }]),
        )
        .await;
    assert_eq!(by_number[0]["result"], calls);
    assert_eq!(by_number[1]["txHash"], block["transactions"][1]);
    let by_hash = node
        .call(
            "debug_traceBlockByHash",
            json!([block["hash"], { "tracer": "callTracer" }]),
        )
        .await;
    assert_eq!(by_hash, by_number);
    let request = json!({ "to": contract(), "data": word(5) });
    let call = node
        .call(
            "debug_traceCall",
            json!([request, "latest", { "tracer": "callTracer" }]),
        )
        .await;
    assert_eq!(call["output"], word(5));
    let (code, _) = node
        .error("debug_traceTransaction", json!([hash, { "tracer": "muxTracer" }]))
        .await;
    assert_eq!(code, -32602);
    let (_, text) = node.error("debug_traceBlockByNumber", json!(["0x0"])).await;
    assert_eq!(text, "genesis is not traceable");
}

#[tokio::test]
async fn an_endless_trace_stops_at_its_memory() {
    let node = Node::with(crate::rpc::RpcConfig {
        max_trace_bytes: 1 << 20,
        ..Default::default()
    });
    let spin = json!({ Address::repeat_byte(0x77).to_string(): { "code": "0x5b600056" } });
    let request = json!({ "to": Address::repeat_byte(0x77) });
    let params = json!([request, "latest", { "stateOverrides": spin }]);
    let (code, text) = node.error("debug_traceCall", params).await;
    assert_eq!((code, text.as_str()), (-32005, "the trace exceeds 1048576 bytes"));
}

/// Checks a proof as its reader would: from the root down, by hashes alone.
fn proven(root: B256, key: B256, proof: &Value) -> B256 {
    let nodes: Vec<[u8; 64]> = proof
        .as_array()
        .unwrap()
        .iter()
        .map(|node| {
            alloy_primitives::hex::decode(node.as_str().unwrap())
                .unwrap()
                .try_into()
                .unwrap()
        })
        .collect();
    let (mut expected, mut bit, mut at) = (root, 0usize, 0usize);
    let turn = |bit: usize| key[bit / 8] & (0x80 >> (bit % 8)) != 0;
    while at < nodes.len() {
        let node = &nodes[at];
        assert_eq!(hash_node(node), expected, "node {at}");
        let (left, right) = (B256::from_slice(&node[..32]), B256::from_slice(&node[32..]));
        at += 1;
        if right == STEM_TAG {
            let stem = &nodes[at];
            assert_eq!(hash_node(stem), left);
            at += 1;
            if stem[..31] != key[..31] {
                return B256::ZERO;
            }
            (expected, bit) = (B256::from_slice(&stem[32..]), 248);
            continue;
        }
        expected = if turn(bit) { right } else { left };
        bit += 1;
    }
    // At the end either the value, or the empty child that shows its absence.
    assert!(bit == 256 || expected == B256::ZERO);
    expected
}

#[tokio::test]
async fn proofs_lead_from_the_state_root_to_the_values() {
    let node = filled();
    let root: B256 = serde_json::from_value(
        node.call("eth_getBlockByNumber", json!(["latest", false])).await["stateRoot"].clone(),
    )
    .unwrap();
    let proof = node
        .call("eth_getProof", json!([contract(), ["0x0", "0x5"], "latest"]))
        .await;
    let basic = proven(root, header_key(contract(), BASIC_DATA), &proof["accountProof"]);
    assert_eq!(
        u64::from_be_bytes(basic[8..16].try_into().unwrap()),
        1,
        "the nonce"
    );
    let stored = |at: usize, slot| {
        proven(
            root,
            slot_key(contract(), U256::from(slot)),
            &proof["storageProof"][at]["proof"],
        )
    };
    assert_eq!(stored(0, 0), B256::from(U256::from(7)));
    assert_eq!(stored(1, 5), B256::ZERO);
    let absent = node
        .call("eth_getProof", json!([Address::repeat_byte(0x55), [], "latest"]))
        .await;
    let key = header_key(Address::repeat_byte(0x55), BASIC_DATA);
    assert_eq!(proven(root, key, &absent["accountProof"]), B256::ZERO);
}

#[tokio::test]
async fn simulates_blocks_on_blocks() {
    let node = filled();
    let (rich, poor) = (Address::repeat_byte(0x78), Address::repeat_byte(0x79));
    let payload = json!({
        "blockStateCalls": [
            {
                "stateOverrides": { rich.to_string(): { "balance": "0x64" } },
                "calls": [
                    { "from": rich, "to": poor, "value": "0x32" },
                    { "from": poor, "to": contract(), "data": word(3) },
                    { "from": poor, "to": contract() },
                ],
            },
            { "blockOverrides": { "number": "0x5" }, "calls": [{ "from": poor, "to": rich, "value": "0x32" }] },
        ],
        "traceTransfers": true,
    });
    let blocks = node.call("eth_simulateV1", json!([payload, "latest"])).await;
    let numbers: Vec<_> = blocks
        .as_array()
        .unwrap()
        .iter()
        .map(|block| block["number"].as_str().unwrap())
        .collect();
    assert_eq!(numbers, ["0x3", "0x4", "0x5"]);
    assert_eq!(blocks[1]["parentHash"], blocks[0]["hash"]);
    let calls = &blocks[0]["calls"];
    assert_eq!(
        calls[0]["logs"].as_array().unwrap().len(),
        1,
        "the transfer: {calls}"
    );
    assert_eq!(calls[1]["returnData"], word(3));
    assert_eq!(calls[2]["error"]["message"], "execution reverted: no");
    assert_eq!(blocks[2]["calls"][0]["status"], "0x1");
    let broke = json!({ "blockStateCalls": [{ "calls": [{ "from": poor, "to": rich, "value": "0x1" }] }] });
    let (code, _) = node.error("eth_simulateV1", json!([broke])).await;
    assert_eq!(code, -38014);
    let back = json!({ "blockStateCalls": [{ "blockOverrides": { "number": "0x1" } }] });
    assert_eq!(node.error("eth_simulateV1", json!([back])).await.0, -38020);
}

#[tokio::test]
async fn sync_sending_waits_for_the_block() {
    let node = filled();
    let (code, text) = node
        .error("eth_sendRawTransactionSync", json!([raw(&transfer(2, 0)), 1]))
        .await;
    assert_eq!(code, 4, "{text}");
    let tx = transfer(1, 2);
    let wait = node.call("eth_sendRawTransactionSync", json!([raw(&tx), 10_000]));
    let mine = async {
        let mut arrivals = node.pool().subscribe();
        while node.pool().get(&tx.tx_hash()).is_none() {
            arrivals.recv().await.unwrap();
        }
        let block = node.chain.block(vec![tx.clone()], None);
        node.events
            .send(ChainEvent {
                added: vec![block],
                ..ChainEvent::default()
            })
            .unwrap();
    };
    let (receipt, ()) = tokio::join!(wait, mine);
    assert_eq!(receipt["transactionHash"], json!(tx.tx_hash()));
}

#[tokio::test]
async fn rollup_namespace() {
    let node = filled();
    let status = node.call("rollup_syncStatus", json!([])).await;
    assert_eq!(status["latest"]["number"], 2);
    assert_eq!(status["safe"]["number"], 0);
    assert_eq!(status["sequencing"], true);
    assert_eq!(
        node.call("rollup_l1OriginOf", json!([2])).await,
        json!({ "height": 2, "hash": "02".repeat(32) })
    );
    assert_eq!(node.call("rollup_l1OriginOf", json!(["0x9"])).await, Value::Null);
    assert_eq!(node.call("rollup_batchOf", json!([1])).await, Value::Null);
    assert_eq!(node.call("rollup_withdrawal", json!([0])).await, Value::Null);
    let document = node.call("rollup_discover", json!([])).await;
    assert!(document["methods"].as_array().unwrap().len() > 70);
    assert_eq!(node.call("web3_sha3", json!(["0x"])).await, json!(keccak256([])));
    assert_eq!(node.call("eth_syncing", json!([])).await, false);
}

#[tokio::test]
async fn the_vault_says_whether_it_holds() {
    let node = filled();
    let vault_output = OutPoint {
        txid: B256::repeat_byte(0xab),
        vout: 3,
    };
    let item = InboxItem::Deposit(AcceptedDeposit {
        vault_output,
        to: Address::repeat_byte(0x66),
        sats: 5_000,
        call: Default::default(),
    });
    let deposit = item.transaction(&origin(3).hash, &[]).unwrap();
    node.chain.block(vec![deposit.clone()], Some(3));
    let vault = node.call("rollup_vault", json!([])).await;
    assert_eq!(
        (&vault["holds"], &vault["violation"]),
        (&json!(true), &Value::Null)
    );
    assert_eq!(
        (&vault["vaultSats"], &vault["burntWei"]),
        (&json!(5_000), &json!("0x0"))
    );
    let wei = |name: &str| U256::from_str_radix(&vault[name].as_str().unwrap()[2..], 16).unwrap();
    let minted = U256::from(5_000u64 * 10_000_000_000);
    assert_eq!(wei("supplyWei") - wei("genesisSupplyWei"), minted);
    // An output leaves on Bitcoin: the sums hold, and not all is well.
    let by = B256::repeat_byte(0xcd);
    let moves = [MoveKind::Added, MoveKind::Left(by)].map(|kind| VaultMove {
        outpoint: vault_output,
        sats: 5_000,
        kind,
    });
    let store = &node.chain.store;
    store
        .write::<_, StoreError>(|writer| writer.push_vault_moves(2, &moves))
        .unwrap();
    let vault = node.call("rollup_vault", json!([])).await;
    assert_eq!(
        (&vault["holds"], &vault["violation"]),
        (&json!(false), &Value::Null)
    );
    let left = json!({ "outpoint": format!("{}:3", "ab".repeat(32)), "amountSats": 5_000,
        "spentBy": "cd".repeat(32), "l1Height": 2 });
    assert_eq!(vault["left"], json!([left]));
    // Money that is minted past the bridge.
    let Transaction::Deposit(deposit) = deposit else {
        panic!("a deposit is one")
    };
    let mut past = deposit.into_inner();
    past.to = TxKind::Call(Address::repeat_byte(0x67));
    past.input = Bytes::new();
    node.chain
        .block(vec![Transaction::Deposit(past.seal_slow())], Some(4));
    let vault = node.call("rollup_vault", json!([])).await;
    assert_eq!(vault["holds"], false);
    let violation = vault["violation"].as_str().unwrap();
    assert!(
        violation.starts_with("vault after block 4: expected 100000000000000 wei"),
        "{violation}"
    );
    let before = node.call("rollup_vault", json!(["0x3"])).await;
    assert_eq!(before["violation"], Value::Null);
}

#[tokio::test]
async fn a_deposit_is_found_by_its_bitcoin_output() {
    let node = filled();
    let vault_output = OutPoint {
        txid: B256::repeat_byte(0xab),
        vout: 3,
    };
    let to = Address::repeat_byte(0x66);
    let item = InboxItem::Deposit(AcceptedDeposit {
        vault_output,
        to,
        sats: 5_000,
        call: Default::default(),
    });
    let tx = item.transaction(&origin(3).hash, &[]).unwrap();
    let block = node.chain.block(vec![tx.clone(), transfer(1, 2)], Some(3));
    let found = node
        .call("rollup_deposit", json!([format!("{}:3", "ab".repeat(32))]))
        .await;
    assert_eq!(found["transactionHash"], json!(tx.tx_hash()));
    assert_eq!(found["block"], json!({ "number": 3, "hash": block.hash }));
    assert_eq!((&found["to"], &found["success"]), (&json!(to), &json!(true)));
    assert_eq!(found["amountWei"], json!(U256::from(5_000u64 * 10_000_000_000)));
    assert_eq!(
        node.call("rollup_deposit", json!([format!("{}:4", "ab".repeat(32))]))
            .await,
        Value::Null
    );
    // A deposit has no price, and its receipt has the nonce that it took.
    let shown = node.call("eth_getTransactionByHash", json!([tx.tx_hash()])).await;
    assert_eq!(
        (&shown["type"], &shown["gasPrice"]),
        (&json!("0x7e"), &json!("0x0"))
    );
    let receipt = node
        .call("eth_getTransactionReceipt", json!([tx.tx_hash()]))
        .await;
    assert_eq!(
        (&receipt["type"], &receipt["effectiveGasPrice"]),
        (&json!("0x7e"), &json!("0x0"))
    );
    assert_eq!(node.call("eth_getBalance", json!([to])).await, found["amountWei"]);
    let trace = node
        .call(
            "debug_traceTransaction",
            json!([tx.tx_hash(), { "tracer": "callTracer" }]),
        )
        .await;
    assert_eq!(trace["value"], found["amountWei"]);
}
