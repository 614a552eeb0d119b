//! What the engine says about itself to RPC, metrics and the status page.

/// The node's state beyond what the store knows. The engine sends it on a `watch` channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeStatus {
    /// Whether this node makes blocks.
    pub sequencing: bool,
    /// The height of Bitcoin's best block, as the L1 client sees it; `None` while it is not reachable.
    pub l1_tip: Option<u32>,
    /// The L2 block from which this run started.
    pub starting_block: u64,
    /// Why the sequencer stands still, or what else an operator should look at.
    pub alarm: Option<String>,
}

/// L1 blocks by which the processed chain may trail the tip before the node says that it is syncing.
pub const SYNC_LAG: u32 = 3;
