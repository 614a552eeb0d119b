//! The `rollup` namespace: where the chain stands on Bitcoin.

use alloy_primitives::Bytes;
use alloy_rpc_types::TransactionRequest;
use bitcoin::hashes::Hash;
use bitsect_vm::chain::ChainParams;
use bitsect_vm::chain::bridge::OutputId;
use bitsect_vm::execute::{SizeParts, estimated_size, l1_fee, read_fee_rate};
use bitsect_vm::record::UnitRecord;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::events::BlockRef;
use crate::store::{BatchRecord, Head, L1Ref, Snapshot, StoreError};
use crate::unit::export::RecordAnswer;
use crate::unit::{self, UnitError};

use super::args::Args;
use super::context::{self, Context, Module, heavy, light};
use super::error::{self, RpcResult};
use super::misc::{CLIENT_VERSION, display_hash};
use super::openrpc;

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
    heavy(module, "rollup_unitRecord", 1, |context, args, _| {
        let unit: Number = args.required()?;
        record_of(context, unit.0, unit::record)
    });
    heavy(module, "rollup_checkRecord", 2, |context, args, _| {
        let unit: Number = args.required()?;
        let ticket: OutputId = args.required()?;
        record_of(context, unit.0, |params, snapshot, unit, start, block| {
            unit::check(params, snapshot, unit, start, &block, &ticket)
        })
    });
    light(module, "rollup_version", 0, |context, _| {
        Ok(json!({ "client": CLIENT_VERSION, "chainId": context.params.execution.chain_id }))
    });
    light(module, "rollup_discover", 0, |_, _| Ok(openrpc::document()));
    light(module, "rpc_discover", 0, |_, _| Ok(openrpc::document()));
}

/// A number as a JSON number or a quantity.
#[derive(Clone, Copy, Deserialize)]
pub(super) struct Number(#[serde(with = "alloy_serde::quantity")] pub(super) u64);

/// A Bitcoin block, its hash as Bitcoin's tools show it.
#[derive(Clone, Serialize)]
pub(super) struct L1Block {
    height: u32,
    hash: String,
}

impl L1Block {
    pub(super) fn new(block: &L1Ref) -> Self {
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

/// Records a unit, or a check after it, for a dispute; null when it is not derived yet.
fn record_of<R: Into<Option<UnitRecord>>>(
    context: &Context,
    unit: u64,
    record: impl FnOnce(&ChainParams, &Snapshot, u64, unit::Start, Vec<u8>) -> Result<R, UnitError>,
) -> RpcResult<Option<RecordAnswer>> {
    let snapshot = context.snapshot()?;
    let refused = |error: UnitError| match error {
        UnitError::Store(StoreError::StateNotHeld { .. }) => error::server(error.to_string()),
        error => error::internal(error),
    };
    let start = match unit::start(&snapshot, unit) {
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
    let record = record(&context.params, &snapshot, unit, start, block).map_err(refused)?;
    Ok(record.into().map(|record| RecordAnswer {
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
