//! What chain this is and how far the node is.

use alloy_primitives::{Address, U64, U256};
use alloy_rpc_types::{SyncInfo, SyncStatus};

use crate::rpc::context::{Context, Module, light};
use crate::rpc::error::{self, RpcResult};
use crate::status::SYNC_LAG;
use crate::store::Head;

pub(super) fn register(module: &mut Module) {
    light(module, "eth_chainId", 0, |context, _| {
        Ok(U64::from(context.params.execution.chain_id))
    });
    light(module, "eth_syncing", 0, |context, _| syncing(context));
    // Keys belong in wallets: the node holds none.
    light(module, "eth_accounts", 0, |_, _| Ok(Vec::<Address>::new()));
    light(module, "eth_mining", 0, |_, _| Ok(false));
    light(module, "eth_hashrate", 0, |_, _| Ok(U64::ZERO));
}

/// Whether the node trails Bitcoin. How many L2 blocks are to come is not known before they are derived, so
/// the highest block is the latest.
pub(super) fn syncing(context: &Context) -> RpcResult<SyncStatus> {
    let status = context.status.borrow().clone();
    let snapshot = context.snapshot()?;
    let processed = snapshot.last_l1_block().map_err(error::internal)?.height;
    let behind = status
        .l1_tip
        .is_some_and(|tip| tip.saturating_sub(processed) > SYNC_LAG);
    if status.sequencing || !behind {
        return Ok(SyncStatus::None);
    }
    let latest = U256::from(snapshot.head(Head::Latest).map_err(error::internal)?.number);
    Ok(SyncStatus::Info(Box::new(SyncInfo {
        starting_block: U256::from(status.starting_block),
        current_block: latest,
        highest_block: latest,
        warp_chunks_amount: None,
        warp_chunks_processed: None,
        stages: None,
    })))
}
