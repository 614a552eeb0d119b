//! The `rollup` namespace: where the chain stands on Bitcoin.

use alloy_consensus::TxReceipt;
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_rpc_types::TransactionRequest;
use alloy_sol_types::SolValue;
use bitcoin::hashes::Hash;
use bitsect_vm::chain::predeploys::BRIDGE;
use bitsect_vm::chain::{OutPoint, Transaction};
use bitsect_vm::execute::{SizeParts, estimated_size, l1_fee, read_fee_rate};
use revm::context::result::ExecutionResult;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::events::BlockRef;
use crate::store::{BatchRecord, Head, L1Ref, StoreError};
use crate::unit::export::RecordAnswer;
use crate::unit::{self, UnitError};

use super::args::Args;
use super::context::{self, Context, Module, heavy, light};
use super::error::{self, RpcResult};
use super::evm::{self, CallEnv, Deadline, database};
use super::misc::{CLIENT_VERSION, display_hash};
use super::openrpc;

/// The selector of `withdrawal(uint64)` of the bridge contract.
const WITHDRAWAL: [u8; 4] = alloy_primitives::hex!("65f1d0ad");

pub(super) fn register(module: &mut Module) {
    light(module, "rollup_syncStatus", 0, |context, _| sync_status(context));
    light(module, "rollup_chainStateAt", 1, |context, args| {
        let unit: Number = args.required()?;
        let record = context.snapshot()?.unit(unit.0).map_err(error::internal)?;
        Ok(record
            .map(|record| json!({ "unit": unit.0, "chainState": record.chain_state, "block": record.block })))
    });
    light(module, "rollup_unitOf", 1, |context, args| {
        let block: Number = args.required()?;
        context
            .snapshot()?
            .unit_of_block(block.0)
            .map_err(error::internal)
    });
    light(module, "rollup_batchOf", 1, |context, args| {
        let block: Number = args.required()?;
        let snapshot = context.snapshot()?;
        let Some(batch) = snapshot.batch_of(block.0).map_err(error::internal)? else {
            return Ok(None);
        };
        let tip = context.status.borrow().l1_tip;
        Ok(Some(Batch::new(&batch, tip)))
    });
    light(module, "rollup_l1OriginOf", 1, |context, args| {
        let block: Number = args.required()?;
        let origin = context
            .snapshot()?
            .block_l1_origin(block.0)
            .map_err(error::internal)?;
        Ok(origin.map(|origin| L1Block::new(&origin)))
    });
    light(module, "rollup_estimateL1Fee", 1, estimate_l1_fee);
    heavy(module, "rollup_withdrawal", 1, withdrawal);
    heavy(module, "rollup_deposit", 1, |context, args, deadline| {
        let outpoint: Outpoint = args.required()?;
        deposit(context, &outpoint.0, deadline)
    });
    heavy(module, "rollup_unitRecord", 1, unit_record);
    light(module, "rollup_version", 0, |context, _| {
        Ok(json!({ "client": CLIENT_VERSION, "chainId": context.params.execution.chain_id }))
    });
    light(module, "rollup_discover", 0, |_, _| Ok(openrpc::document()));
    light(module, "rpc_discover", 0, |_, _| Ok(openrpc::document()));
}

/// A number as a JSON number or a quantity.
#[derive(Clone, Copy, Deserialize)]
struct Number(#[serde(with = "alloy_serde::quantity")] u64);

/// A Bitcoin block, its hash as Bitcoin's tools show it.
#[derive(Clone, Serialize)]
struct L1Block {
    height: u32,
    hash: String,
}

impl L1Block {
    fn new(block: &L1Ref) -> Self {
        Self {
            height: block.height,
            hash: display_hash(block.hash),
        }
    }
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Batch {
    first_block: u64,
    last_block: u64,
    commit_txid: String,
    l1_height: u32,
    l1_hash: String,
    /// L1 blocks on top of the batch's last reveal, that one included; null while Bitcoin is not reachable.
    confirmations: Option<u32>,
}

impl Batch {
    fn new(batch: &BatchRecord, tip: Option<u32>) -> Self {
        Self {
            first_block: batch.first_block,
            last_block: batch.last_block,
            commit_txid: display_hash(batch.commit_txid),
            l1_height: batch.l1_height,
            l1_hash: display_hash(batch.l1_hash),
            confirmations: tip.map(|tip| tip.saturating_add(1).saturating_sub(batch.l1_height)),
        }
    }
}

fn sync_status(context: &Context) -> RpcResult<Value> {
    let status = context.status.borrow().clone();
    let snapshot = context.snapshot()?;
    let head = |head: Head| -> RpcResult<Value> {
        let BlockRef { number, hash } = snapshot.head(head).map_err(error::internal)?;
        let header = snapshot.header(number).map_err(error::internal)?;
        let header = header.ok_or_else(|| error::internal("a head has no header"))?;
        let origin = L1Block::new(&header.l1_origin());
        Ok(
            json!({ "number": number, "hash": hash, "timestamp": header.header.timestamp, "l1Origin": origin }),
        )
    };
    let processed = snapshot.last_l1_block().map_err(error::internal)?;
    let units = snapshot.unit_count().map_err(error::internal)?;
    Ok(json!({
        "latest": head(Head::Latest)?,
        "safe": head(Head::Safe)?,
        "finalized": head(Head::Finalized)?,
        "l1Tip": status.l1_tip,
        "l1Processed": L1Block { height: processed.height, hash: display_hash(processed.hash) },
        "units": units,
        "chainState": snapshot.chain_state(units).map_err(error::internal)?,
        "sequencing": status.sequencing,
        "alarm": status.alarm,
    }))
}

/// What to estimate: a signed transaction's bytes, or a request.
#[derive(Deserialize)]
#[serde(untagged)]
enum Estimated {
    Raw(Bytes),
    Request(Box<TransactionRequest>),
}

/// Records a unit for a dispute; null when it is not derived yet.
fn unit_record(context: &Context, args: &mut Args, _: std::time::Instant) -> RpcResult<Option<RecordAnswer>> {
    let unit: Number = args.required()?;
    let snapshot = context.snapshot()?;
    let refused = |error: UnitError| match error {
        UnitError::Store(StoreError::StateNotHeld { .. }) => error::server(error.to_string()),
        error => error::internal(error),
    };
    let start = match unit::start(&snapshot, unit.0) {
        Err(UnitError::NotDerived { .. }) => return Ok(None),
        start => start.map_err(refused)?,
    };
    let l1 = context
        .l1
        .as_ref()
        .ok_or_else(|| error::server("this node has no Bitcoin Core"))?;
    let hash = bitcoin::BlockHash::from_byte_array(start.next_l1.0);
    // Heavy work is on a thread that may wait.
    let block = tokio::runtime::Handle::current().block_on(l1.get_block_bytes(&hash));
    let block = block.map_err(|error| error::server(format!("Bitcoin Core: {error}")))?;
    let record = unit::record(&context.params, &snapshot, unit.0, start, block).map_err(refused)?;
    Ok(Some(RecordAnswer {
        record: record.encode().into(),
        params: context.params.encode().into(),
    }))
}

fn estimate_l1_fee(context: &Context, args: &mut Args) -> RpcResult<Value> {
    let estimated: Estimated = args.required()?;
    let bytes = match estimated {
        Estimated::Raw(raw) => {
            use alloy_eips::eip2718::Decodable2718;
            let tx = bitsect_vm::chain::Transaction::decode_2718_exact(&raw);
            estimated_size(&tx.map_err(|refused| error::invalid_params(refused.to_string()))?)
        }
        Estimated::Request(request) => {
            let input = request.input.input().cloned().unwrap_or_default();
            SizeParts {
                input: &input,
                has_recipient: request.to.is_some_and(|to| to.is_call()),
                access_list: request.access_list.as_ref(),
                authorizations: request.authorization_list.as_ref().map_or(0, Vec::len),
            }
            .estimate()
        }
    };
    let snapshot = context.snapshot()?;
    let latest = snapshot.head(Head::Latest).map_err(error::internal)?.number;
    let rate = match context.params.execution.l1_fee {
        true => read_fee_rate(&context::state(&snapshot, latest)?).map_err(error::internal)?,
        false => 0,
    };
    Ok(json!({ "l1Fee": l1_fee(bytes, rate), "bytes": bytes, "feeRate": rate }))
}

/// Asks the bridge contract for a withdrawal; null when there is none with this id.
fn withdrawal(context: &Context, args: &mut Args, deadline: std::time::Instant) -> RpcResult<Option<Value>> {
    let id: Number = args.required()?;
    let snapshot = context.snapshot()?;
    let header = context::header(&snapshot, Default::default())?;
    let db = database(&snapshot, header.header.number)?;
    let mut env = CallEnv::of(context, &header.header);
    env.relax();
    let mut input = WITHDRAWAL.to_vec();
    input.extend_from_slice(&U256::from(id.0).to_be_bytes::<32>());
    let request = TransactionRequest::default()
        .to(BRIDGE)
        .input(Bytes::from(input).into());
    let tx = evm::transaction(
        &request,
        &db,
        context.params.execution.chain_id,
        context.config.gas_cap,
    )?;
    let mut evm = env.evm(db, Deadline::new(deadline));
    let result = evm
        .inspect(tx.clone())
        .map_err(|fault| evm::failed(fault, &tx, &env))?;
    let ExecutionResult::Success { output, .. } = result else {
        return Ok(None);
    };
    let decoded = <(Address, u64, u32, Bytes)>::abi_decode(output.data());
    let (sender, amount, l1_height, script) =
        decoded.map_err(|_| error::internal("the bridge contract's answer does not decode"))?;
    Ok(Some(json!({
        "id": id.0,
        "sender": sender,
        "amountSats": amount,
        "l1Height": l1_height,
        "scriptPubKey": script,
        "block": block_of_withdrawal(context, id.0, deadline)?,
    })))
}

/// Finds the block and the transaction that asked for a withdrawal.
fn block_of_withdrawal(context: &Context, id: u64, deadline: std::time::Instant) -> RpcResult<Option<Value>> {
    use crate::store::{LogLimits, LogQuery};
    let snapshot = context.snapshot()?;
    let event = keccak256("WithdrawalRequested(uint64,address,uint64,bytes)");
    let query = LogQuery {
        from: 0,
        to: u64::MAX,
        addresses: vec![BRIDGE],
        topics: vec![vec![event], vec![B256::from(U256::from(id))]],
    };
    let limits = LogLimits {
        blocks: u64::MAX,
        results: 1,
        deadline,
    };
    let found = snapshot
        .logs(&query, &limits)
        .map_err(|failure| error::limit(failure.to_string()))?;
    Ok(found.first().map(|log| {
        json!({ "number": log.block.number, "hash": log.block.hash, "transactionHash": log.transaction_hash })
    }))
}

/// A Bitcoin output as `txid:vout`, the txid as Bitcoin's tools show it.
struct Outpoint(OutPoint);

impl<'de> Deserialize<'de> for Outpoint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parse = |text: &str| -> Option<OutPoint> {
            let (txid, vout) = text.split_once(':')?;
            let mut txid: [u8; 32] = hex::decode(txid).ok()?.try_into().ok()?;
            txid.reverse();
            Some(OutPoint {
                txid: txid.into(),
                vout: vout.parse().ok()?,
            })
        };
        parse(&text)
            .map(Self)
            .ok_or_else(|| serde::de::Error::custom("expected an outpoint: txid:vout"))
    }
}

/// Finds the L2 transaction of an accepted deposit, newest blocks first; null when no block has it. Only blocks
/// that begin an L1 origin can, and they say in their header that they have transactions from Bitcoin.
fn deposit(context: &Context, outpoint: &OutPoint, deadline: std::time::Instant) -> RpcResult<Option<Value>> {
    let snapshot = context.snapshot()?;
    let latest = snapshot.head(Head::Latest).map_err(error::internal)?.number;
    let encoded = alloy_rlp::encode(*outpoint);
    for number in (1..=latest).rev() {
        if std::time::Instant::now() > deadline {
            return Err(error::limit(format!("the search timed out at block {number}")));
        }
        let Some(header) = snapshot.header(number).map_err(error::internal)? else {
            continue;
        };
        if header.inbox_count == 0 {
            continue;
        }
        // How derivation names a deposit (docs/derivation.md).
        let id = keccak256([header.l1_origin().hash.as_slice(), &encoded].concat());
        let source = keccak256([[0; 32], id.0].concat());
        let body = snapshot
            .body(number)
            .map_err(error::internal)?
            .unwrap_or_default();
        for (index, (_, tx)) in body.iter().take(header.inbox_count as usize).enumerate() {
            let Transaction::Deposit(deposit) = tx else {
                continue;
            };
            if deposit.source_hash != source {
                continue;
            }
            let receipts = snapshot
                .receipts(number)
                .map_err(error::internal)?
                .unwrap_or_default();
            return Ok(Some(json!({
                "outpoint": format!("{}:{}", display_hash(outpoint.txid), outpoint.vout),
                "to": deposit.to.to(),
                "amountWei": deposit.value,
                "block": { "number": number, "hash": header.hash },
                "transactionHash": tx.tx_hash(),
                "success": receipts.get(index).map(|stored| stored.receipt.status()),
                "l1Origin": L1Block::new(&header.l1_origin()),
            })));
        }
    }
    Ok(None)
}
