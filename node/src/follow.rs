//! From Bitcoin Core to the engine: every block of the best chain, once and in order.

use bitsect_l1::follower::{Event, FollowError, Follower, FollowerConfig};
use bitsect_l1::rpc::Client;
use bitsect_l1::{BlockRef, FaultClass};
use bitsect_vm::chain::ChainParams;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::convert;
use crate::engine::{EngineError, EngineHandle, ErrorClass, L1Event};
use crate::status::NodeStatus;
use crate::store::{Store, StoreError};

/// Why following ended.
#[derive(Debug, thiserror::Error)]
pub enum FollowFault {
    /// Bitcoin Core, or what it says, cannot be followed.
    #[error("failed to follow Bitcoin: {0}")]
    Follow(#[from] FollowError),
    /// The engine stopped.
    #[error("engine: {0}")]
    Engine(#[from] EngineError),
    /// The store failed.
    #[error("store: {0}")]
    Store(#[from] StoreError),
}

impl FollowFault {
    /// Tells what the loop does about it.
    pub fn class(&self) -> FaultClass {
        match self {
            Self::Follow(error) => error.class(),
            Self::Engine(error) => match error.class() {
                ErrorClass::Retry => FaultClass::Retry,
                ErrorClass::Reset => FaultClass::Reset,
                ErrorClass::Stop => FaultClass::Stop,
            },
            Self::Store(_) => FaultClass::Stop,
        }
    }
}

/// How the engine is fed.
pub struct Follow {
    /// Bitcoin Core.
    pub client: Client,
    /// How to follow.
    pub config: FollowerConfig,
    /// Where the chain stands.
    pub store: Store,
    /// Who derives.
    pub engine: EngineHandle,
    /// Where Bitcoin's tip is said.
    pub status: watch::Sender<NodeStatus>,
}

impl Follow {
    /// Feeds the engine until `shutdown`.
    ///
    /// # Errors
    /// A fault that a person has to look at.
    pub async fn run(self, params: &ChainParams, shutdown: &CancellationToken) -> Result<(), FollowFault> {
        loop {
            let known = known_blocks(&self.store, params, self.config.remembered)?;
            let mut follower = Follower::new(self.client.clone(), self.config.clone(), known)?;
            match self.feed(&mut follower, shutdown).await {
                Ok(()) => return Ok(()),
                // What the store holds is the truth: both a block that came wrong and an engine that stands
                // elsewhere are mended by starting from there.
                Err(fault) if fault.class() != FaultClass::Stop => {
                    tracing::warn!(error = %fault, "following Bitcoin starts again from the stored chain");
                }
                Err(fault) => return Err(fault),
            }
        }
    }

    async fn feed(&self, follower: &mut Follower, shutdown: &CancellationToken) -> Result<(), FollowFault> {
        loop {
            let event = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                event = follower.next() => event,
            };
            match event {
                Ok(event) => self.take(event).await?,
                Err(error) if error.class() == FaultClass::Retry => {
                    tracing::warn!(%error, "waiting for Bitcoin Core");
                    self.say_tip(None);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn take(&self, event: Event) -> Result<(), FollowFault> {
        match event {
            Event::Connected(block) => {
                let (height, hash) = (block.height, convert::block_hash(&block.hash));
                self.say_tip(Some(height));
                Ok(self
                    .engine
                    .l1(L1Event::Connected {
                        height,
                        hash,
                        block: block.bytes.clone(),
                    })
                    .await?)
            }
            Event::Disconnected(at) => {
                tracing::info!(height = at.height, hash = %at.hash, "Bitcoin reorganised: a block is undone");
                let hash = convert::block_hash(&at.hash);
                Ok(self
                    .engine
                    .l1(L1Event::Disconnected {
                        height: at.height,
                        hash,
                    })
                    .await?)
            }
            Event::Tip { at, headers } => {
                self.say_tip(Some(headers.max(at.height)));
                Ok(self.engine.l1(L1Event::Synced { height: at.height }).await?)
            }
            Event::Lagging { ours, core, .. } => {
                tracing::warn!(
                    ours = ours.height,
                    core = core.height,
                    "Bitcoin Core is behind: waiting"
                );
                Ok(())
            }
        }
    }

    fn say_tip(&self, height: Option<u32>) {
        self.status.send_if_modified(|status| {
            // While blocks stream in, the tip is at least the last of them.
            let tip = height.map(|height| status.l1_tip.unwrap_or(height).max(height));
            std::mem::replace(&mut status.l1_tip, tip) != tip
        });
    }
}

/// Lists the last blocks that were derived from, lowest first, as far down as they can be undone.
fn known_blocks(store: &Store, params: &ChainParams, most: usize) -> Result<Vec<BlockRef>, StoreError> {
    let snapshot = store.read()?;
    let last = snapshot.last_l1_block()?;
    let lowest = params.derive.genesis_l1.height;
    let most = u32::try_from(most).unwrap_or(u32::MAX).saturating_sub(1);
    let first = last.height.saturating_sub(most).max(lowest);
    let mut known = Vec::new();
    for height in first..=last.height {
        let Some(block) = snapshot.l1_block(height)? else {
            continue;
        };
        known.push(BlockRef::new(height, convert::bitcoin_hash(&block.hash)));
    }
    Ok(known)
}
