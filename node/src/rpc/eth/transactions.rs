//! Transactions and their receipts.

use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{B256, Bytes, U64};
use alloy_rpc_types::BlockId;
use op_alloy_rpc_types::OpTransactionReceipt;

use crate::rpc::context::{Context, Module, block_number, light};
use crate::rpc::error::{self, RpcResult};
use crate::store::{Snapshot, StoredTransaction};

use super::convert::{self, Place, RpcTransaction};

pub(super) fn register(module: &mut Module) {
    light(module, "eth_getTransactionByHash", 1, |context, args| {
        by_hash(context, args.required()?)
    });
    light(
        module,
        "eth_getTransactionByBlockNumberAndIndex",
        2,
        |context, args| by_index(context, BlockId::Number(args.required()?), args.required()?),
    );
    light(
        module,
        "eth_getTransactionByBlockHashAndIndex",
        2,
        |context, args| by_index(context, args.required::<B256>()?.into(), args.required()?),
    );
    light(module, "eth_getTransactionReceipt", 1, |context, args| {
        receipt(&context.snapshot()?, args.required()?)
    });
    light(module, "eth_getRawTransactionByHash", 1, |context, args| {
        raw_by_hash(context, args.required()?)
    });
    light(module, "debug_getRawTransaction", 1, |context, args| {
        raw_by_hash(context, args.required()?)
    });
    light(
        module,
        "eth_getRawTransactionByBlockNumberAndIndex",
        2,
        |context, args| {
            let (id, index) = (BlockId::Number(args.required()?), args.required()?);
            Ok(find(&context.snapshot()?, id, index)?
                .map(|stored| Bytes::from(stored.transaction.encoded_2718())))
        },
    );
    light(
        module,
        "eth_getRawTransactionByBlockHashAndIndex",
        2,
        |context, args| {
            let (id, index) = (args.required::<B256>()?.into(), args.required()?);
            Ok(find(&context.snapshot()?, id, index)?
                .map(|stored| Bytes::from(stored.transaction.encoded_2718())))
        },
    );
}

fn by_hash(context: &Context, hash: B256) -> RpcResult<Option<RpcTransaction>> {
    // The pool first: what leaves it for a block in between is then found in the block.
    let waiting = context.submit.pool().and_then(|pool| pool.get(&hash));
    let snapshot = context.snapshot()?;
    match snapshot.transaction(hash).map_err(error::internal)? {
        Some(stored) => show(&snapshot, stored).map(Some),
        None => Ok(waiting.map(|tx| convert::pending(&tx))),
    }
}

fn raw_by_hash(context: &Context, hash: B256) -> RpcResult<Option<Bytes>> {
    let waiting = context.submit.pool().and_then(|pool| pool.get(&hash));
    let stored = context.snapshot()?.transaction(hash).map_err(error::internal)?;
    let encoded = stored.map(|stored| stored.transaction.encoded_2718());
    Ok(encoded
        .or_else(|| waiting.map(|tx| tx.tx.encoded_2718()))
        .map(Bytes::from))
}

fn by_index(context: &Context, id: BlockId, index: U64) -> RpcResult<Option<RpcTransaction>> {
    let snapshot = context.snapshot()?;
    match find(&snapshot, id, index)? {
        Some(stored) => show(&snapshot, stored).map(Some),
        None => Ok(None),
    }
}

fn find(snapshot: &Snapshot, id: BlockId, index: U64) -> RpcResult<Option<StoredTransaction>> {
    let Some(number) = block_number(snapshot, id)? else {
        return Ok(None);
    };
    let Ok(index) = u32::try_from(index.to::<u64>()) else {
        return Ok(None);
    };
    snapshot.transaction_at(number, index).map_err(error::internal)
}

fn show(snapshot: &Snapshot, stored: StoredTransaction) -> RpcResult<RpcTransaction> {
    let header = snapshot.header(stored.block).map_err(error::internal)?;
    let header = header.ok_or_else(|| error::internal("a stored transaction's block is missing"))?;
    // Only a deposit needs its receipt here.
    let receipt = if stored.transaction.is_deposit() {
        let receipts = snapshot
            .receipts(stored.block)
            .map_err(error::internal)?
            .unwrap_or_default();
        receipts
            .into_iter()
            .nth(stored.index as usize)
            .map(|stored| stored.receipt)
    } else {
        None
    };
    let place = Place::of(&header);
    Ok(convert::transaction(
        stored.transaction,
        stored.sender,
        stored.index.into(),
        &place,
        receipt.as_ref(),
    ))
}

/// Shows the receipt of an included transaction.
pub(super) fn receipt(snapshot: &Snapshot, hash: B256) -> RpcResult<Option<OpTransactionReceipt>> {
    let Some(stored) = snapshot.transaction(hash).map_err(error::internal)? else {
        return Ok(None);
    };
    let header = snapshot.header(stored.block).map_err(error::internal)?;
    let receipts = snapshot.receipts(stored.block).map_err(error::internal)?;
    let (Some(header), Some(receipts)) = (header, receipts) else {
        return Ok(None);
    };
    let Some(receipt) = receipts.get(stored.index as usize) else {
        return Ok(None);
    };
    let place = Place::of(&header);
    Ok(Some(convert::receipt(
        &stored.transaction,
        stored.sender,
        stored.index.into(),
        &place,
        receipt,
    )))
}
