//! The signed feed of fresh blocks: from the sequencer to verifiers that want blocks before they are on Bitcoin
//! (docs/feed.md).

mod client;
mod message;
mod pending;
mod server;

pub use self::client::Client;
pub use self::message::{MAX_MESSAGE, Message, MessageError, VERSION};
pub use self::server::Server;

use bitcoin::key::{Keypair, Secp256k1, TapTweak};
use prometheus::{IntCounter, IntGauge, Registry};

/// Blocks that a client may be behind the latest one. A verifier that lacks more than these derives from Bitcoin until
/// its safe head is near enough: 4,096 blocks are 17 minutes of a full devnet, and hours of a quiet chain.
pub const MAX_BEHIND: u64 = 4_096;

/// Close code of a server to a client that is more than [`MAX_BEHIND`] blocks behind.
pub const CLOSE_TOO_FAR: u16 = 4_000;

/// Gives the key that signs the feed: the baton's own, tweaked as its output is (BIP-341, no scripts), so that whoever
/// sees the baton on Bitcoin knows the public key.
pub fn signing_key(baton: &Keypair) -> Keypair {
    baton.tap_tweak(&Secp256k1::new(), None).to_keypair()
}

/// What both ends of the feed count.
#[derive(Clone, Debug)]
pub struct FeedMetrics {
    /// Verifiers connected to this node.
    clients: IntGauge,
    /// Whether this node is connected to a feed.
    connected: IntGauge,
    /// Blocks taken from the feed.
    received: IntCounter,
    /// Messages and blocks refused.
    refused: IntCounter,
}

impl FeedMetrics {
    /// Makes the counters and registers them.
    ///
    /// # Errors
    /// When the registry has counters of these names already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            clients: IntGauge::new(
                "bitsect_feed_clients",
                "Verifiers that follow this sequencer's feed",
            )?,
            connected: IntGauge::new(
                "bitsect_feed_connected",
                "1 while the sequencer's feed is followed",
            )?,
            received: IntCounter::new("bitsect_feed_blocks_total", "Fresh blocks taken from the feed")?,
            refused: IntCounter::new(
                "bitsect_feed_refused_total",
                "Messages of the feed that did not verify",
            )?,
        };
        registry.register(Box::new(metrics.clients.clone()))?;
        registry.register(Box::new(metrics.connected.clone()))?;
        registry.register(Box::new(metrics.received.clone()))?;
        registry.register(Box::new(metrics.refused.clone()))?;
        Ok(metrics)
    }
}
