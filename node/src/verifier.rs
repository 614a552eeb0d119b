//! A verifier inside another process: it derives the chain from Bitcoin into a store of its own, and serves nobody.

use bitsect_l1::rpc::Client;
use eyre::ensure;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use crate::chain_file::ChainFile;
use crate::config::Config;
use crate::engine::EngineStatus;
use crate::events::ChainEvent;
use crate::run::Node;
use crate::status::NodeStatus;
use crate::store::Store;

/// A verifier that derives once [`Verifier::run`] is awaited. It never prunes: any unit can be recorded later.
#[expect(missing_debug_implementations, reason = "the store has none")]
pub struct Verifier {
    node: Node,
}

impl Verifier {
    /// Opens the store, or makes it. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// When the configuration is a sequencer's or prunes, and when the store is in use, of another chain, or unreadable.
    pub fn open(config: Config) -> eyre::Result<Self> {
        ensure!(
            config.sequencer.is_none(),
            "failed to embed a node: it must be no sequencer"
        );
        ensure!(
            config.history.is_none(),
            "failed to embed a node: history_blocks must be absent"
        );
        Ok(Self {
            node: Node::start(config)?,
        })
    }

    /// Gives the chain file.
    pub const fn file(&self) -> &ChainFile {
        &self.node.file
    }

    /// Gives the store, for reading.
    pub const fn store(&self) -> &Store {
        &self.node.store
    }

    /// Gives the client of Bitcoin Core.
    pub const fn client(&self) -> &Client {
        &self.node.client
    }

    /// Watches how far derivation is.
    pub fn engine(&self) -> watch::Receiver<EngineStatus> {
        self.node.engine.watch()
    }

    /// Watches Bitcoin's tip.
    pub fn status(&self) -> watch::Receiver<NodeStatus> {
        self.node.status.subscribe()
    }

    /// Gives the chain's changes from now on.
    pub fn events(&self) -> broadcast::Receiver<ChainEvent> {
        self.node.events.subscribe()
    }

    /// Derives until `shutdown`, or until a fault that a person has to look at.
    ///
    /// # Errors
    /// That fault.
    pub async fn run(self, shutdown: CancellationToken) -> eyre::Result<()> {
        self.node.derive(shutdown).await
    }
}
