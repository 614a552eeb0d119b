//! What the engine says of itself.

use super::BridgeStatus;
use crate::events::BlockRef;

/// The engine's newest state, for health checks, metrics and `rollup_syncStatus`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineStatus {
    /// The last L1 block that was derived from.
    pub l1_height: u32,
    /// Its hash, in internal byte order.
    pub l1_hash: alloy_primitives::B256,
    /// The output whose owner may sequence.
    pub baton: bitsect_vm::chain::OutPoint,
    /// Whether everything that Bitcoin Core has was derived.
    pub l1_synced: bool,
    /// Units done.
    pub units: u64,
    /// The latest block.
    pub latest: BlockRef,
    /// The safe block.
    pub safe: BlockRef,
    /// The finalized block.
    pub finalized: BlockRef,
    /// The origin's height of the safe block.
    pub safe_origin: u32,
    /// Why no blocks are sequenced, on a node that should.
    pub paused: Option<String>,
    /// Batches that derived to nothing since the start.
    pub dropped_batches: u64,
    /// Reorgs of the L2 chain since the start.
    pub reorgs: u64,
    /// The sums of the bridge, and whether they hold.
    pub bridge: BridgeStatus,
}
