//! Chain events with what subscribers want of them, read from the store once for all.

use std::collections::VecDeque;
use std::sync::Arc;

use alloy_rpc_types::Log;
use serde_json::value::RawValue;
use tokio::sync::broadcast;

use crate::events::{BlockRef, ChainEvent};
use crate::store::{Store, StoreError};

use super::eth::convert;

/// Items that a slow subscriber may fall behind by before its subscription ends.
const FEED_CAPACITY: usize = 512;
/// Blocks whose logs are kept, so that a reorg can send them again as removed.
const KEPT_BLOCKS: usize = 512;
/// Logs kept over all these blocks: bounds the memory.
const KEPT_LOGS: usize = 200_000;

/// What an event brought.
#[derive(Debug)]
pub(super) struct FeedItem {
    /// The new blocks' headers as JSON, ascending, with their names.
    pub heads: Vec<(BlockRef, Box<RawValue>)>,
    /// Logs of removed blocks (`removed: true`), then of new ones, in order.
    pub logs: Vec<Log>,
    /// Whether events were missed before this: then who needs all of them has to start again.
    pub gap: bool,
}

/// The source of subscriptions and filters.
pub(super) struct Feed {
    sender: broadcast::Sender<Arc<FeedItem>>,
}

impl Feed {
    /// Starts the task that reads events. It ends with the channel of events.
    pub fn start(store: Store, events: broadcast::Receiver<ChainEvent>) -> Arc<Self> {
        let (sender, _) = broadcast::channel(FEED_CAPACITY);
        let feed = Arc::new(Self {
            sender: sender.clone(),
        });
        tokio::spawn(run(store, events, sender));
        feed
    }

    pub fn subscribe(&self) -> broadcast::Receiver<Arc<FeedItem>> {
        self.sender.subscribe()
    }
}

async fn run(
    store: Store,
    mut events: broadcast::Receiver<ChainEvent>,
    sender: broadcast::Sender<Arc<FeedItem>>,
) {
    let mut kept = Kept::default();
    loop {
        let event = match events.recv().await {
            Ok(event) => event,
            Err(broadcast::error::RecvError::Lagged(missed)) => {
                tracing::warn!(missed, "subscriptions missed chain events");
                kept = Kept::default();
                // Without subscribers there is nobody to tell.
                drop(sender.send(Arc::new(FeedItem {
                    heads: Vec::new(),
                    logs: Vec::new(),
                    gap: true,
                })));
                continue;
            }
            Err(broadcast::error::RecvError::Closed) => return,
        };
        if sender.receiver_count() == 0 {
            kept = Kept::default();
            continue;
        }
        let reader = store.clone();
        let read = tokio::task::spawn_blocking(move || (read(&reader, event, &mut kept), kept));
        match read.await {
            Ok((item, back)) => {
                kept = back;
                match item {
                    // The last subscriber may have left meanwhile.
                    Ok(item) => drop(sender.send(Arc::new(item))),
                    Err(error) => tracing::error!(%error, "failed to read new blocks for subscriptions"),
                }
            }
            Err(error) => {
                tracing::error!(%error, "failed to read new blocks for subscriptions");
                kept = Kept::default();
            }
        }
    }
}

/// Logs of the newest blocks that subscribers have seen.
#[derive(Default)]
struct Kept {
    blocks: VecDeque<(BlockRef, Vec<Log>)>,
    logs: usize,
}

impl Kept {
    fn push(&mut self, block: BlockRef, logs: Vec<Log>) {
        self.logs = self.logs.saturating_add(logs.len());
        self.blocks.push_back((block, logs));
        while self.blocks.len() > KEPT_BLOCKS || self.logs > KEPT_LOGS {
            let Some((_, logs)) = self.blocks.pop_front() else {
                return;
            };
            self.logs = self.logs.saturating_sub(logs.len());
        }
    }

    /// Takes a block's logs, which nobody can ask for again.
    fn remove(&mut self, block: &BlockRef) -> Vec<Log> {
        let Some(at) = self.blocks.iter().position(|(kept, _)| kept == block) else {
            return Vec::new();
        };
        let logs = self.blocks.remove(at).map(|(_, logs)| logs).unwrap_or_default();
        self.logs = self.logs.saturating_sub(logs.len());
        logs
    }
}

fn read(store: &Store, event: ChainEvent, kept: &mut Kept) -> Result<FeedItem, StoreError> {
    let snapshot = store.read()?;
    let mut item = FeedItem {
        heads: Vec::new(),
        logs: Vec::new(),
        gap: false,
    };
    for block in &event.removed {
        item.logs.extend(
            kept.remove(block)
                .into_iter()
                .map(|log| Log { removed: true, ..log }),
        );
    }
    for block in event.added {
        // A later event may have removed it already; that event will say so.
        let Some(header) = snapshot
            .header(block.number)?
            .filter(|header| header.hash == block.hash)
        else {
            continue;
        };
        let logs = convert::block_logs(&snapshot, &header)?;
        item.logs.extend(logs.iter().cloned());
        kept.push(block, logs);
        match serde_json::value::to_raw_value(&convert::header(header, None)) {
            Ok(json) => item.heads.push((block, json)),
            Err(error) => tracing::error!(%error, "failed to print a header"),
        }
    }
    Ok(item)
}
