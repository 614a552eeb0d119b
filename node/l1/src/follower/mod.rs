//! The best chain as a stream of events.
//!
//! The caller says which blocks it has processed and pulls events with [`Follower::next`]:
//!
//! ```no_run
//! # use bitsect_l1::{BlockRef, FaultClass, follower::{Event, FollowError, Follower, FollowerConfig}, rpc::Client};
//! # async fn f(client: Client, known: Vec<BlockRef>) -> Result<(), FollowError> {
//! let mut follower = Follower::new(client, FollowerConfig::default(), known)?;
//! loop {
//!     match follower.next().await {
//!         Ok(Event::Connected(block)) => { /* process block.bytes; store block.at() */ }
//!         Ok(Event::Disconnected(at)) => { /* undo the block; it was the last one processed */ }
//!         Ok(Event::Tip { at, .. }) => { /* everything that Core has was delivered */ }
//!         Ok(Event::Lagging { core, .. }) => { /* Core is behind: nothing to undo */ }
//!         Err(error) if error.class() == FaultClass::Retry => tracing::warn!(%error, "waiting for Bitcoin Core"),
//!         Err(error) => return Err(error),
//!     }
//! }
//! # }
//! ```
//!
//! A block is disconnected only when Core's best chain has another block at its height. When Core's tip is
//! just an ancestor of ours (it was restored from a backup, or lost its last blocks in a crash), that is lag.

mod error;
mod fetch;

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use bitcoin::{Block, BlockHash, Network};

pub use self::{error::FollowError, fetch::fetch_block};
use crate::{
    BlockRef, FaultClass,
    rpc::{Client, RpcError, code},
};

/// Blocks fetched ahead at most, so that memory stays below about 100 MB with full blocks.
const PREFETCH: u32 = 8;
/// The pause after a fault, doubling up to the longest, until a call succeeds.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A block with its bytes, checked against its hash.
#[derive(Clone, Debug)]
pub struct ChainBlock {
    /// The height.
    pub height: u32,
    /// The hash.
    pub hash: BlockHash,
    /// The block as serialised on the network.
    pub bytes: Vec<u8>,
    /// The same, decoded.
    pub block: Block,
}

impl ChainBlock {
    /// Returns the block's height and hash.
    pub fn at(&self) -> BlockRef {
        BlockRef::new(self.height, self.hash)
    }
}

/// What happened to the best chain.
#[derive(Clone, Debug)]
pub enum Event {
    /// The block was added on top of the last one.
    Connected(Arc<ChainBlock>),
    /// The block, which was the last one, is not in the best chain any more.
    Disconnected(BlockRef),
    /// Everything that Core has was delivered. Said once for each tip, and again when Core could not be reached meanwhile.
    Tip {
        /// The last block.
        at: BlockRef,
        /// The height of the best header chain: above `at.height` while Core downloads blocks.
        headers: u32,
    },
    /// Core's best chain ends below ours and does not contradict it. Said once for each of Core's tips.
    Lagging {
        /// The last block that was delivered.
        ours: BlockRef,
        /// Core's tip.
        core: BlockRef,
        /// The height of Core's best header chain.
        headers: u32,
    },
}

/// How to follow.
#[derive(Clone, Debug)]
pub struct FollowerConfig {
    /// The network that Core must be on; none does not check.
    pub network: Option<Network>,
    /// How many of the last blocks are remembered, and so how deep a reorg can be followed.
    pub remembered: usize,
    /// Longest time between two looks at the tip. With `waitfornewblock` a new block is seen at once.
    pub poll: Duration,
    /// Where blocks are looked for before Core is asked, and kept.
    pub store: Option<Arc<crate::store::BlockStore>>,
}

impl Default for FollowerConfig {
    fn default() -> Self {
        // Two weeks of blocks: deeper than any reorg that a chain of value has seen.
        Self {
            network: None,
            remembered: 2016,
            poll: Duration::from_secs(5),
            store: None,
        }
    }
}

/// What the last event about the tip said, so that it is said once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Said {
    Nothing,
    Tip { at: BlockRef, headers: u32 },
    Lag { core: BlockRef, headers: u32 },
}

/// Follows the best chain of one Bitcoin Core.
pub struct Follower {
    client: Client,
    config: FollowerConfig,
    /// Consecutive blocks, the last one being the last that the caller was told of. Never empty.
    known: VecDeque<BlockRef>,
    /// Blocks fetched ahead, on top of the last known one.
    ahead: VecDeque<Arc<ChainBlock>>,
    /// Blocks above this height are being disconnected.
    rolling_back_to: Option<u32>,
    said: Said,
    network_checked: bool,
    /// Whether Core has `waitfornewblock` with its second parameter.
    can_wait: bool,
    pause: Option<Duration>,
}

impl Follower {
    /// Makes a follower that goes on after the last of the `known` blocks.
    ///
    /// `known` are consecutive blocks, lowest first: what the caller has processed, as far back as it can
    /// undo. One block is enough to start; its own bytes are not delivered.
    ///
    /// # Errors
    /// [`FollowError::BadStart`] when there is none or they are not consecutive.
    pub fn new(client: Client, config: FollowerConfig, known: Vec<BlockRef>) -> Result<Self, FollowError> {
        let bad = |reason: String| Err(FollowError::BadStart { reason });
        if known.is_empty() {
            return bad("it is empty".into());
        }
        if config.remembered == 0 {
            return bad("no block may be remembered".into());
        }
        if let Some(pair) = known
            .windows(2)
            .find(|pair| pair[0].height.checked_add(1) != Some(pair[1].height))
        {
            return bad(format!(
                "height {} follows height {}",
                pair[1].height, pair[0].height
            ));
        }
        Ok(Self {
            client,
            config,
            known: known.into(),
            ahead: VecDeque::new(),
            rolling_back_to: None,
            said: Said::Nothing,
            network_checked: false,
            can_wait: true,
            pause: None,
        })
    }

    /// Returns the last block that was delivered and not disconnected.
    pub fn tip(&self) -> BlockRef {
        *self.known.back().expect("known is never empty")
    }

    /// Returns the remembered blocks, lowest first.
    pub fn known(&self) -> impl Iterator<Item = BlockRef> {
        self.known.iter().copied()
    }

    /// Returns the client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Waits for the next event. It can be dropped at any time (in `select!`) without losing one.
    ///
    /// # Errors
    /// [`FollowError`]; see [`FollowError::class`].
    pub async fn next(&mut self) -> Result<Event, FollowError> {
        if let Some(pause) = self.pause {
            tokio::time::sleep(pause).await;
        }
        let result = self.until_event().await;
        self.pause = match &result {
            Err(error) if error.class() == FaultClass::Retry => {
                // Core may be another one when it comes back.
                self.network_checked = false;
                // Whoever heard of the fault hears when it is over, before there is a new block.
                self.said = Said::Nothing;
                Some(
                    self.pause
                        .map_or(FIRST_PAUSE, |pause| (pause * 2).min(LONGEST_PAUSE)),
                )
            }
            _ => None,
        };
        result
    }

    async fn until_event(&mut self) -> Result<Event, FollowError> {
        loop {
            if let Some(event) = self.step().await? {
                return Ok(event);
            }
        }
    }

    /// Makes one look. Returns none when there was nothing to say and the wait is over.
    async fn step(&mut self) -> Result<Option<Event>, FollowError> {
        self.check_network().await?;
        if let Some(event) = self.continue_roll_back() {
            return Ok(Some(event));
        }
        if let Some(block) = self.ahead.pop_front() {
            return Ok(Some(self.connect(block)));
        }
        let tip = self.tip();
        match self.client.get_header_info(&tip.hash).await? {
            Some(info) if info.confirmations > 0 => match info.next {
                Some(next) => {
                    self.fetch_ahead(next, info.confirmations).await?;
                    Ok(self.ahead.pop_front().map(|block| self.connect(block)))
                }
                None => self.at_tip(tip).await,
            },
            _ => self.off_chain(tip).await,
        }
    }

    async fn check_network(&mut self) -> Result<(), FollowError> {
        if let (Some(network), false) = (self.config.network, self.network_checked) {
            self.client.check_network(network).await?;
            self.network_checked = true;
        }
        Ok(())
    }

    fn connect(&mut self, block: Arc<ChainBlock>) -> Event {
        self.known.push_back(block.at());
        while self.known.len() > self.config.remembered {
            self.known.pop_front();
        }
        self.said = Said::Nothing;
        Event::Connected(block)
    }

    /// Disconnects one more block of a reorg that was found.
    fn continue_roll_back(&mut self) -> Option<Event> {
        let fork = self.rolling_back_to?;
        if self.tip().height > fork {
            let gone = self.known.pop_back()?;
            self.said = Said::Nothing;
            return Some(Event::Disconnected(gone));
        }
        self.rolling_back_to = None;
        None
    }

    /// Fetches the next blocks, the first of which is `next`; `confirmations` is how far the tip is.
    async fn fetch_ahead(&mut self, next: BlockHash, confirmations: i64) -> Result<(), FollowError> {
        let behind = u32::try_from(confirmations.saturating_sub(1)).unwrap_or(1);
        let tip = self.tip();
        let fetches = (1..=behind.min(PREFETCH)).map(|i| {
            let (client, store) = (self.client.clone(), self.config.store.clone());
            async move {
                let height = tip.height + i;
                let hash = if i == 1 {
                    Some(next)
                } else {
                    client.get_block_hash(height).await?
                };
                match hash {
                    Some(hash) => {
                        let at = BlockRef::new(height, hash);
                        fetch_block(&client, store.as_deref(), at).await.map(Some)
                    }
                    // The chain got shorter meanwhile.
                    None => Ok(None),
                }
            }
        });
        let mut previous = tip.hash;
        for result in fetch::all(fetches).await {
            let block = match result {
                Ok(Some(block)) => block,
                Ok(None) => break,
                // What came before the fault is good; the fault shows again at its own turn.
                Err(_) if !self.ahead.is_empty() => break,
                Err(error) => return Err(error),
            };
            if block.block.header.prev_blockhash != previous {
                // A reorg happened between the calls. The first one is linked by Core's own word.
                break;
            }
            previous = block.hash;
            self.ahead.push_back(Arc::new(block));
        }
        Ok(())
    }

    async fn at_tip(&mut self, at: BlockRef) -> Result<Option<Event>, FollowError> {
        let info = self.client.get_blockchain_info().await?;
        if info.best_block_hash != at.hash {
            return Ok(None);
        }
        let headers = info.headers;
        if self.said != (Said::Tip { at, headers }) {
            self.said = Said::Tip { at, headers };
            return Ok(Some(Event::Tip { at, headers }));
        }
        self.wait(&at.hash).await?;
        Ok(None)
    }

    /// Our tip is not in Core's best chain: a reorg, or lag.
    async fn off_chain(&mut self, ours: BlockRef) -> Result<Option<Event>, FollowError> {
        let info = self.client.get_blockchain_info().await?;
        let core = BlockRef::new(info.blocks, info.best_block_hash);
        let headers = info.headers;
        match self.fork_point(core).await? {
            Fork::At(fork) if fork < core.height.min(ours.height) => {
                self.rolling_back_to = Some(fork);
                Ok(self.continue_roll_back())
            }
            // It came back between the calls.
            Fork::At(fork) if fork == ours.height => Ok(None),
            Fork::At(_) | Fork::Unseen => {
                if self.said != (Said::Lag { core, headers }) {
                    self.said = Said::Lag { core, headers };
                    return Ok(Some(Event::Lagging { ours, core, headers }));
                }
                self.wait(&core.hash).await?;
                Ok(None)
            }
        }
    }

    /// Finds the highest known block that is in Core's best chain.
    async fn fork_point(&self, core: BlockRef) -> Result<Fork, FollowError> {
        let lowest = self.known[0];
        match self.client.get_block_hash(lowest.height).await? {
            None => return Ok(Fork::Unseen),
            Some(hash) if hash != lowest.hash => {
                // A chain that is being downloaded is an ancestor of ours; another one is not.
                return Err(FollowError::TooDeep { lowest, got: hash });
            }
            Some(_) => {}
        }
        // Whatever is below a common block is common: search by halves.
        let above_core = self.known.partition_point(|block| block.height <= core.height);
        let (mut common, mut other) = (0, above_core.max(1));
        while other - common > 1 {
            let middle = common + (other - common) / 2;
            let block = self.known[middle];
            if self.client.get_block_hash(block.height).await? == Some(block.hash) {
                common = middle;
            } else {
                other = middle;
            }
        }
        Ok(Fork::At(self.known[common].height))
    }

    /// Waits until Core's tip is another one, or it is time to look anyway.
    async fn wait(&mut self, tip: &BlockHash) -> Result<(), FollowError> {
        if self.can_wait {
            let started = Instant::now();
            match self.client.wait_for_new_block(tip, self.config.poll).await {
                // A Core that is about to stop answers at once; do not ask it in a tight loop.
                Ok(at) if at.hash == *tip && started.elapsed() < self.config.poll / 2 => {}
                Ok(_) => return Ok(()),
                Err(RpcError::Rpc {
                    code: code::MISC | code::METHOD_NOT_FOUND,
                    ..
                }) => {
                    tracing::info!("this Bitcoin Core cannot be waited on for blocks: polling");
                    self.can_wait = false;
                }
                Err(error) => return Err(error.into()),
            }
        }
        let pause = if self.can_wait {
            FIRST_PAUSE
        } else {
            self.config.poll
        };
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// Where our chain and Core's split.
enum Fork {
    /// The highest common block has this height.
    At(u32),
    /// Core does not reach up to the lowest known block.
    Unseen,
}
