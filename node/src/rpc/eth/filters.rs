//! Filters that are polled: `eth_newFilter` and its relatives.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use alloy_primitives::{B256, U256};
use alloy_rpc_types::{Filter, Log, PendingTransactionFilterKind};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::broadcast;

use crate::pool::{Pool, PoolTx};
use crate::rpc::config::RpcConfig;
use crate::rpc::context::{Context, Module, heavy, light};
use crate::rpc::error::{self, RpcResult};
use crate::rpc::feed::{Feed, FeedItem};

use super::convert::{self, RpcTransaction};
use super::logs;

/// Changes that wait for a poll. A filter that nobody polls is dropped before it grows beyond this.
const MAX_WAITING: usize = 20_000;

/// All filters of all clients.
#[derive(Clone)]
pub(crate) struct Filters {
    inner: Arc<Mutex<HashMap<U256, Entry>>>,
    config: Arc<RpcConfig>,
    feed: std::sync::Weak<Feed>,
    pool: Option<Pool>,
}

struct Entry {
    kind: Kind,
    polled: Instant,
    source: Source,
}

/// What a filter wants.
enum Kind {
    Logs(Box<Filter>),
    Blocks,
    Pending { full: bool },
}

/// Where a filter's changes wait: in its own place of the broadcast, so that an unpolled filter costs nothing.
enum Source {
    Feed(broadcast::Receiver<Arc<FeedItem>>),
    Pool(broadcast::Receiver<Arc<PoolTx>>),
    /// A verifier has no pool: such a filter stays empty.
    Nothing,
}

/// What a poll gives.
#[derive(Clone, Serialize)]
#[serde(untagged)]
pub(crate) enum Changes {
    Logs(Vec<Log>),
    Hashes(Vec<B256>),
    Transactions(Vec<RpcTransaction>),
}

impl Filters {
    pub fn new(config: Arc<RpcConfig>, feed: &Arc<Feed>, pool: Option<&Pool>) -> Self {
        let inner = Arc::new(Mutex::new(HashMap::new()));
        Self {
            inner,
            config,
            feed: Arc::downgrade(feed),
            pool: pool.cloned(),
        }
    }

    fn install(&self, kind: Kind) -> RpcResult<U256> {
        let source = match &kind {
            Kind::Logs(_) | Kind::Blocks => match self.feed.upgrade() {
                Some(feed) => Source::Feed(feed.subscribe()),
                None => return Err(error::internal("the feed of chain events is gone")),
            },
            Kind::Pending { .. } => self
                .pool
                .as_ref()
                .map_or(Source::Nothing, |pool| Source::Pool(pool.subscribe())),
        };
        let mut filters = self.inner.lock();
        let life = self.config.filter_life;
        filters.retain(|_, entry| entry.polled.elapsed() < life);
        if filters.len() >= self.config.max_filters {
            return Err(error::limit(format!(
                "too many filters: at most {}",
                self.config.max_filters
            )));
        }
        let id = U256::from(rand::random::<u128>());
        filters.insert(
            id,
            Entry {
                kind,
                polled: Instant::now(),
                source,
            },
        );
        Ok(id)
    }

    /// Takes the changes since the last poll.
    fn changes(&self, id: U256) -> RpcResult<Changes> {
        let mut filters = self.inner.lock();
        let life = self.config.filter_life;
        filters.retain(|_, entry| entry.polled.elapsed() < life);
        let entry = filters.get_mut(&id).ok_or_else(missing)?;
        entry.polled = Instant::now();
        match entry.poll() {
            Some(changes) => Ok(changes),
            None => {
                // Changes were lost, so the filter is worth nothing any more: the client makes a new one.
                filters.remove(&id);
                Err(missing())
            }
        }
    }

    fn log_filter(&self, id: U256) -> RpcResult<Filter> {
        let mut filters = self.inner.lock();
        let entry = filters.get_mut(&id).ok_or_else(missing)?;
        entry.polled = Instant::now();
        match &entry.kind {
            Kind::Logs(filter) => Ok((**filter).clone()),
            Kind::Blocks | Kind::Pending { .. } => Err(missing()),
        }
    }

    fn uninstall(&self, id: U256) -> bool {
        self.inner.lock().remove(&id).is_some()
    }
}

impl Entry {
    /// Collects what waits; `None` when some was lost.
    fn poll(&mut self) -> Option<Changes> {
        let mut changes = match &self.kind {
            Kind::Logs(_) => Changes::Logs(Vec::new()),
            Kind::Pending { full: true } => Changes::Transactions(Vec::new()),
            Kind::Blocks | Kind::Pending { full: false } => Changes::Hashes(Vec::new()),
        };
        match &mut self.source {
            Source::Nothing => {}
            Source::Feed(receiver) => {
                while let Some(item) = next(receiver)? {
                    if item.gap {
                        return None;
                    }
                    match (&self.kind, &mut changes) {
                        (Kind::Logs(filter), Changes::Logs(logs)) => {
                            logs.extend(item.logs.iter().filter(|log| in_range(filter, log)).cloned());
                        }
                        (_, Changes::Hashes(hashes)) => {
                            hashes.extend(item.heads.iter().map(|(block, _)| block.hash));
                        }
                        _ => {}
                    }
                    if changes.len() > MAX_WAITING {
                        return None;
                    }
                }
            }
            Source::Pool(receiver) => {
                while let Some(tx) = next(receiver)? {
                    match &mut changes {
                        Changes::Transactions(all) => all.push(convert::pending(&tx)),
                        Changes::Hashes(hashes) => hashes.push(tx.hash),
                        Changes::Logs(_) => {}
                    }
                    if changes.len() > MAX_WAITING {
                        return None;
                    }
                }
            }
        }
        Some(changes)
    }
}

impl Changes {
    fn len(&self) -> usize {
        match self {
            Self::Logs(logs) => logs.len(),
            Self::Hashes(hashes) => hashes.len(),
            Self::Transactions(all) => all.len(),
        }
    }
}

/// The next waiting item: `Some(None)` when there is none, `None` when some were lost.
fn next<T: Clone>(receiver: &mut broadcast::Receiver<T>) -> Option<Option<T>> {
    match receiver.try_recv() {
        Ok(item) => Some(Some(item)),
        Err(broadcast::error::TryRecvError::Empty | broadcast::error::TryRecvError::Closed) => Some(None),
        Err(broadcast::error::TryRecvError::Lagged(_)) => None,
    }
}

/// Whether a filter wants a new log: its addresses, its topics, and its block range where it has numbers.
pub(super) fn in_range(filter: &Filter, log: &Log) -> bool {
    let number = log.block_number.unwrap_or_default();
    let above = filter.get_from_block().is_none_or(|from| number >= from);
    let below = filter.get_to_block().is_none_or(|to| number <= to);
    above && below && filter.matches(&log.inner)
}

fn missing() -> jsonrpsee::types::ErrorObjectOwned {
    error::server("filter not found")
}

pub(super) fn register(module: &mut Module) {
    light(module, "eth_newFilter", 1, |context, args| {
        let filter: Filter = args.required()?;
        logs::check(&filter)?;
        context.filters.install(Kind::Logs(Box::new(filter)))
    });
    light(module, "eth_newBlockFilter", 0, |context, _| {
        context.filters.install(Kind::Blocks)
    });
    light(module, "eth_newPendingTransactionFilter", 1, |context, args| {
        let kind: Option<PendingTransactionFilterKind> = args.optional()?;
        let full = kind == Some(PendingTransactionFilterKind::Full);
        context.filters.install(Kind::Pending { full })
    });
    light(module, "eth_getFilterChanges", 1, |context: &Context, args| {
        context.filters.changes(args.required()?)
    });
    heavy(module, "eth_getFilterLogs", 1, |context, args, deadline| {
        let filter = context.filters.log_filter(args.required()?)?;
        logs::find(context, &filter, deadline)
    });
    light(module, "eth_uninstallFilter", 1, |context, args| {
        Ok(context.filters.uninstall(args.required()?))
    });
}
