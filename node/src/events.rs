//! What the engine tells the rest of the node about the chain.

use alloy_primitives::B256;

/// Names a block of the L2 chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct BlockRef {
    /// The block's number.
    pub number: u64,
    /// The block's hash.
    pub hash: B256,
}

/// A change of the chain, sent on a broadcast channel after it is durable in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChainEvent {
    /// Blocks that joined the chain, ascending.
    pub added: Vec<BlockRef>,
    /// Blocks that left the chain in a reorg, ascending. They left before `added` joined.
    pub removed: Vec<BlockRef>,
    /// The safe head after the change: the newest block whose batch is in Bitcoin.
    pub safe: BlockRef,
    /// The finalized head after the change.
    pub finalized: BlockRef,
}

/// Events that a slow receiver may fall behind by before it has to reread the heads from the store.
pub const EVENT_CAPACITY: usize = 1024;

/// Makes the channel of chain events.
pub fn channel() -> (
    tokio::sync::broadcast::Sender<ChainEvent>,
    tokio::sync::broadcast::Receiver<ChainEvent>,
) {
    tokio::sync::broadcast::channel(EVENT_CAPACITY)
}
