//! The engine: the one owner of the chain. It derives from Bitcoin, sequences, takes fresh blocks, and is alone in
//! writing blocks to the store.
//!
//! It is a thread of its own with one channel of commands; everything that it knows is in the store, so a restart
//! goes on where the last write ended.

mod audit;
mod core;
mod derive;
mod error;
mod import;
mod sequence;
mod status;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use alloy_primitives::B256;
use bitsect_vm::chain::{ChainParams, Header, Transaction};
use tokio::sync::{broadcast, oneshot, watch};

pub use self::audit::{BridgeStatus, facts_at};
use self::core::Core;
pub use self::error::{EngineError, ErrorClass, FeedFault};
pub use self::status::EngineStatus;
use crate::events::ChainEvent;
use crate::pool::Pool;
use crate::store::Store;

/// How the engine runs.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// The chain's parameters.
    pub params: Arc<ChainParams>,
    /// L1 blocks that must be on top of an origin before a sequenced block uses it.
    pub confirmations: u32,
    /// L1 blocks that must be on top of a batch's before its blocks are final.
    pub finality_depth: u32,
    /// Present when this node holds the baton key.
    pub sequencer: Option<SequencerConfig>,
}

/// How blocks are sequenced.
#[derive(Clone, Debug)]
pub struct SequencerConfig {
    /// The least time between two blocks.
    pub block_time: Duration,
    /// The most time between two blocks: an empty one is made when nothing arrives.
    pub heartbeat: Duration,
    /// L1 blocks for which blocks may wait without any batch taking effect before no more are made: what stays
    /// unposted for a whole sequencing window is lost.
    pub max_safe_lag: u32,
    /// Encoded bytes of transactions after which a block is full, so that batches keep up.
    pub max_block_bytes: usize,
}

/// What happens on L1.
#[derive(Clone, Debug)]
pub enum L1Event {
    /// A block joined the best chain.
    Connected {
        /// Its height.
        height: u32,
        /// Its hash, in internal byte order.
        hash: B256,
        /// The block in network format.
        block: Vec<u8>,
    },
    /// The last block left the best chain.
    Disconnected {
        /// Its height.
        height: u32,
        /// Its hash, in internal byte order.
        hash: B256,
    },
    /// Everything that Bitcoin Core has was given.
    Synced {
        /// The tip's height.
        height: u32,
    },
}

/// A fresh block from the sequencer's feed: its header, and its transactions without those of the inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreshBlock {
    /// The header.
    pub header: Header,
    /// The sequenced transactions.
    pub sequenced: Vec<Transaction>,
}

enum Command {
    L1(L1Event, oneshot::Sender<Result<(), EngineError>>),
    Import(Box<FreshBlock>, oneshot::Sender<Result<(), EngineError>>),
    Arrived,
    Stop,
}

/// Talks to the engine; clones share it.
#[derive(Clone, Debug)]
pub struct EngineHandle {
    commands: mpsc::Sender<Command>,
    status: watch::Receiver<EngineStatus>,
    ended: watch::Receiver<bool>,
}

/// Starts engines.
#[derive(Debug)]
pub struct Engine;

impl Engine {
    /// Loads the chain from the store and starts the thread. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// When the store cannot be read or contradicts itself.
    pub fn spawn(
        config: EngineConfig,
        store: Store,
        pool: Option<Pool>,
        events: broadcast::Sender<ChainEvent>,
    ) -> Result<EngineHandle, EngineError> {
        let (commands, received) = mpsc::channel();
        let runtime = tokio::runtime::Handle::current();
        let sequencer = config.sequencer.clone();
        let core = Core::load(config, store, pool.clone(), events, runtime.clone())?;
        let (status_sender, status) = watch::channel(core.status());
        let (ended_sender, ended) = watch::channel(false);
        if let (Some(pool), Some(_)) = (pool, &sequencer) {
            let arrivals = commands.clone();
            runtime.spawn(async move {
                loop {
                    pool.notified().await;
                    if arrivals.send(Command::Arrived).is_err() {
                        return;
                    }
                }
            });
        }
        let body = move || {
            Loop {
                core,
                sequencer,
                status: status_sender,
            }
            .run(&received);
            ended_sender.send_replace(true);
        };
        thread::Builder::new()
            .name("engine".into())
            .spawn(body)
            .map_err(|error| EngineError::Execution(format!("failed to start the thread: {error}")))?;
        Ok(EngineHandle {
            commands,
            status,
            ended,
        })
    }
}

impl EngineHandle {
    /// Gives an L1 event and waits until the chain reflects it durably.
    ///
    /// # Errors
    /// See [`EngineError::class`].
    pub async fn l1(&self, event: L1Event) -> Result<(), EngineError> {
        self.ask(|reply| Command::L1(event, reply)).await
    }

    /// Gives a fresh block and waits until it is stored.
    ///
    /// # Errors
    /// [`EngineError::Feed`] when it does not fit the chain. Nothing has changed then, except that an invalid block that
    /// was announced in place of others has pushed those out.
    pub async fn import(&self, block: FreshBlock) -> Result<(), EngineError> {
        self.ask(|reply| Command::Import(Box::new(block), reply)).await
    }

    async fn ask(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<(), EngineError>>) -> Command,
    ) -> Result<(), EngineError> {
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(command(reply))
            .map_err(|_| EngineError::Stopped)?;
        answer.await.map_err(|_| EngineError::Stopped)?
    }

    /// Gives the newest status.
    pub fn status(&self) -> EngineStatus {
        self.status.borrow().clone()
    }

    /// Watches the status.
    pub fn watch(&self) -> watch::Receiver<EngineStatus> {
        self.status.clone()
    }

    /// Stops the engine after what it is doing, and waits for it.
    pub async fn stop(mut self) {
        // An engine that has ended already needs no word.
        drop(self.commands.send(Command::Stop));
        drop(self.ended.wait_for(|ended| *ended).await);
    }

    /// Waits until the engine has ended, for whatever reason.
    pub async fn ended(&mut self) {
        drop(self.ended.wait_for(|ended| *ended).await);
    }
}

struct Loop {
    core: Core,
    sequencer: Option<SequencerConfig>,
    status: watch::Sender<EngineStatus>,
}

impl Loop {
    fn run(mut self, commands: &mpsc::Receiver<Command>) {
        let mut last_block = Instant::now();
        let mut arrived = true;
        loop {
            let due = self.due(last_block, arrived);
            let command = match due {
                None => commands.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected),
                Some(at) => commands.recv_timeout(at.saturating_duration_since(Instant::now())),
            };
            let result = match command {
                Ok(Command::L1(event, reply)) => {
                    // It may bring an origin, and with it deposits.
                    arrived = true;
                    answer(reply, self.core.l1(event))
                }
                Ok(Command::Import(block, reply)) => answer(reply, self.core.import(*block)),
                Ok(Command::Arrived) => {
                    arrived = true;
                    Ok(())
                }
                Ok(Command::Stop) | Err(mpsc::RecvTimeoutError::Disconnected) => return,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    let heartbeat = self.sequencer.as_ref().map(|sequencer| sequencer.heartbeat);
                    let beat = heartbeat.is_some_and(|heartbeat| last_block.elapsed() >= heartbeat);
                    last_block = if beat { Instant::now() } else { last_block };
                    self.core.sequence(beat).map(|more| {
                        arrived = more.pending;
                        last_block = if more.built { more.since } else { last_block };
                    })
                }
            };
            self.status.send_replace(self.core.status());
            if let Err(error) = result {
                tracing::error!(%error, "the engine stops: going on could damage what is stored");
                return;
            }
        }
    }

    /// When the next block is to be made; never on a node that does not sequence.
    fn due(&self, last_block: Instant, arrived: bool) -> Option<Instant> {
        let sequencer = self.sequencer.as_ref()?;
        if !self.core.may_sequence() {
            return None;
        }
        let wait = if arrived {
            sequencer.block_time
        } else {
            sequencer.heartbeat
        };
        Some(last_block + wait)
    }
}

/// Answers the caller; an error that stops the engine is also the loop's.
fn answer(
    reply: oneshot::Sender<Result<(), EngineError>>,
    result: Result<(), EngineError>,
) -> Result<(), EngineError> {
    let stop = match &result {
        Err(error) if error.class() == ErrorClass::Stop => Err(EngineError::Execution(error.to_string())),
        _ => Ok(()),
    };
    // A caller that has gone away does not need the answer.
    drop(reply.send(result));
    stop
}
