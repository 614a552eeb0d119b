//! Blocks, headers and receipts of blocks.

use std::time::Instant;

use alloy_primitives::{B256, Bytes, U64, U256};
use alloy_rpc_types::{BlockId, BlockNumberOrTag, Header};
use op_alloy_rpc_types::OpTransactionReceipt;

use crate::rpc::args::Args;
use crate::rpc::context::{Context, Module, block_number, heavy, light};
use crate::rpc::error::{self, RpcResult};
use crate::store::{Head, Snapshot};

use super::convert::{self, Place, RpcBlock};

pub(super) fn register(module: &mut Module) {
    light(module, "eth_blockNumber", 0, |context, _| {
        Ok(U64::from(
            context
                .snapshot()?
                .head(Head::Latest)
                .map_err(error::internal)?
                .number,
        ))
    });
    heavy(module, "eth_getBlockByNumber", 2, |context, args, _| {
        let id = BlockId::Number(args.required()?);
        block(context, id, args.optional()?.unwrap_or(false))
    });
    heavy(module, "eth_getBlockByHash", 2, |context, args, _| {
        let id = BlockId::from(args.required::<B256>()?);
        block(context, id, args.optional()?.unwrap_or(false))
    });
    light(module, "eth_getHeaderByNumber", 1, |context, args| {
        header(context, BlockId::Number(args.required()?))
    });
    light(module, "eth_getHeaderByHash", 1, |context, args| {
        header(context, args.required::<B256>()?.into())
    });
    light(
        module,
        "eth_getBlockTransactionCountByNumber",
        1,
        |context, args| transaction_count(context, BlockId::Number(args.required()?)),
    );
    light(
        module,
        "eth_getBlockTransactionCountByHash",
        1,
        |context, args| transaction_count(context, args.required::<B256>()?.into()),
    );
    heavy(module, "eth_getBlockReceipts", 1, block_receipts);
    register_uncles(module);
    register_raw(module);
}

/// There are no uncles: counts are zero, and none is ever found.
fn register_uncles(module: &mut Module) {
    light(module, "eth_getUncleCountByBlockNumber", 1, |context, args| {
        uncle_count(context, BlockId::Number(args.required()?))
    });
    light(module, "eth_getUncleCountByBlockHash", 1, |context, args| {
        uncle_count(context, args.required::<B256>()?.into())
    });
    light(module, "eth_getUncleByBlockNumberAndIndex", 2, |_, args| {
        args.required::<BlockNumberOrTag>()?;
        args.required::<U64>()?;
        Ok(None::<RpcBlock>)
    });
    light(module, "eth_getUncleByBlockHashAndIndex", 2, |_, args| {
        args.required::<B256>()?;
        args.required::<U64>()?;
        Ok(None::<RpcBlock>)
    });
}

fn register_raw(module: &mut Module) {
    light(module, "debug_getRawHeader", 1, |context, args| {
        let header = crate::rpc::context::header(&context.snapshot()?, args.required()?)?;
        Ok(Bytes::from(alloy_rlp::encode(&header.header)))
    });
    heavy(module, "debug_getRawBlock", 1, |context, args, _| {
        let snapshot = context.snapshot()?;
        let header = crate::rpc::context::header(&snapshot, args.required()?)?;
        let body = snapshot
            .body(header.header.number)
            .map_err(error::internal)?
            .unwrap_or_default();
        let withdrawals = header.header.withdrawals_root.map(|_| Default::default());
        let block = alloy_consensus::Block {
            header: header.header,
            body: alloy_consensus::BlockBody {
                transactions: body.into_iter().map(|(_, tx)| tx).collect(),
                ommers: Vec::<alloy_consensus::Header>::new(),
                withdrawals,
            },
        };
        Ok(Bytes::from(alloy_rlp::encode(&block)))
    });
    heavy(module, "debug_getRawReceipts", 1, |context, args, _| {
        let snapshot = context.snapshot()?;
        let header = crate::rpc::context::header(&snapshot, args.required()?)?;
        let receipts = snapshot
            .receipts(header.header.number)
            .map_err(error::internal)?
            .unwrap_or_default();
        let encode = |stored: crate::store::StoredReceipt| {
            let with_bloom = alloy_consensus::ReceiptWithBloom::from(stored.receipt);
            Bytes::from(alloy_eips::eip2718::Encodable2718::encoded_2718(&with_bloom))
        };
        Ok(receipts.into_iter().map(encode).collect::<Vec<_>>())
    });
}

fn block(context: &Context, id: BlockId, full: bool) -> RpcResult<Option<RpcBlock>> {
    let snapshot = context.snapshot()?;
    let Some(number) = block_number(&snapshot, id)? else {
        return Ok(None);
    };
    let header = snapshot.header(number).map_err(error::internal)?;
    let body = snapshot.body(number).map_err(error::internal)?;
    let (Some(header), Some(body)) = (header, body) else {
        return Ok(None);
    };
    Ok(Some(convert::block(header, body, full)))
}

fn header(context: &Context, id: BlockId) -> RpcResult<Option<Header>> {
    let snapshot = context.snapshot()?;
    let Some(number) = block_number(&snapshot, id)? else {
        return Ok(None);
    };
    let stored = snapshot.header(number).map_err(error::internal)?;
    Ok(stored.map(|stored| convert::header(stored, None)))
}

fn transaction_count(context: &Context, id: BlockId) -> RpcResult<Option<U64>> {
    let snapshot = context.snapshot()?;
    let Some(number) = block_number(&snapshot, id)? else {
        return Ok(None);
    };
    Ok(snapshot
        .transaction_count(number)
        .map_err(error::internal)?
        .map(U64::from))
}

fn uncle_count(context: &Context, id: BlockId) -> RpcResult<Option<U256>> {
    Ok(block_number(&context.snapshot()?, id)?.map(|_| U256::ZERO))
}

fn block_receipts(
    context: &Context,
    args: &mut Args,
    _: Instant,
) -> RpcResult<Option<Vec<OpTransactionReceipt>>> {
    let snapshot = context.snapshot()?;
    match block_number(&snapshot, args.required()?)? {
        Some(number) => receipts_of(&snapshot, number),
        None => Ok(None),
    }
}

/// Shows all receipts of a block.
fn receipts_of(snapshot: &Snapshot, number: u64) -> RpcResult<Option<Vec<OpTransactionReceipt>>> {
    let header = snapshot.header(number).map_err(error::internal)?;
    let body = snapshot.body(number).map_err(error::internal)?;
    let receipts = snapshot.receipts(number).map_err(error::internal)?;
    let (Some(header), Some(body), Some(receipts)) = (header, body, receipts) else {
        return Ok(None);
    };
    let place = Place::of(&header);
    let all = body.iter().zip(&receipts).enumerate();
    let shown = all
        .map(|(index, ((sender, tx), stored))| convert::receipt(tx, *sender, index as u64, &place, stored));
    Ok(Some(shown.collect()))
}
