//! What every method reads.

use std::sync::Arc;
use std::time::Instant;

use alloy_rpc_types::{BlockId, BlockNumberOrTag};
use bitsect_l1::rpc::Client;
use bitsect_vm::chain::ChainParams;
use jsonrpsee::RpcModule;
use serde::Serialize;
use tokio::sync::{Semaphore, broadcast, watch};

use crate::events::ChainEvent;
use crate::pool::Pool;
use crate::status::NodeStatus;
use crate::store::{Head, Snapshot, StateAt, Store, StoreError, StoredHeader};

use super::args::Args;
use super::config::RpcConfig;
use super::error::{self, RpcResult};
use super::eth::filters::Filters;
use super::feed::Feed;
use super::forward::Forwarder;

/// Where transactions go that RPC receives.
#[derive(Clone)]
pub enum Submit {
    /// Into this node's pool: it is the sequencer.
    Pool(Pool),
    /// To the sequencer's RPC.
    Forward(Forwarder),
    /// Nowhere: a verifier that knows no sequencer refuses them.
    Refuse,
}

/// Shared by all methods of all listeners.
pub struct Context {
    /// The store.
    pub store: Store,
    /// The chain's parameters.
    pub params: Arc<ChainParams>,
    /// Where transactions go.
    pub submit: Submit,
    /// The limits.
    pub config: Arc<RpcConfig>,
    /// The engine's state.
    pub status: watch::Receiver<NodeStatus>,
    pub(super) feed: Arc<Feed>,
    pub(super) filters: Filters,
    /// Bitcoin Core, for what the store does not keep: L1 blocks.
    pub(super) l1: Option<Client>,
    heavy: Arc<Semaphore>,
}

pub(super) type Module = RpcModule<Context>;

impl Context {
    /// Makes the context. `events` are the engine's chain events. Called within the runtime.
    pub fn new(
        store: Store,
        params: Arc<ChainParams>,
        submit: Submit,
        config: Arc<RpcConfig>,
        status: watch::Receiver<NodeStatus>,
        events: &broadcast::Sender<ChainEvent>,
        l1: Option<Client>,
    ) -> Self {
        let feed = Feed::start(store.clone(), events.subscribe());
        let filters = Filters::new(config.clone(), &feed, submit.pool());
        let heavy = Arc::new(Semaphore::new(config.max_heavy));
        Self {
            store,
            params,
            submit,
            config,
            status,
            feed,
            filters,
            l1,
            heavy,
        }
    }

    /// Takes one consistent view of the chain.
    pub(super) fn snapshot(&self) -> RpcResult<Snapshot> {
        self.store.read().map_err(error::internal)
    }

    /// Runs work that executes or scans, off the event loop and not too much of it at a time.
    pub(super) async fn heavy<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self, Instant) -> RpcResult<T> + Send + 'static,
    ) -> RpcResult<T> {
        let permit = self
            .heavy
            .clone()
            .acquire_owned()
            .await
            .map_err(error::internal)?;
        let context = self.clone();
        let run = move || {
            let deadline = Instant::now().checked_add(context.config.call_timeout);
            let result = work(&context, deadline.unwrap_or_else(Instant::now));
            drop(permit);
            result
        };
        tokio::task::spawn_blocking(run).await.map_err(error::internal)?
    }
}

impl Submit {
    /// The pool, on a sequencer.
    pub fn pool(&self) -> Option<&Pool> {
        match self {
            Self::Pool(pool) => Some(pool),
            Self::Forward(_) | Self::Refuse => None,
        }
    }
}

/// Finds the number of the block that a parameter names; `None` when there is none. There is no block being
/// built that anybody could look at, so `pending` is `latest`.
pub(super) fn block_number(snapshot: &Snapshot, id: BlockId) -> RpcResult<Option<u64>> {
    match id {
        BlockId::Hash(hash) => snapshot.block_number(hash.block_hash).map_err(error::internal),
        BlockId::Number(tag) => {
            let head = |head| {
                snapshot
                    .head(head)
                    .map(|block| block.number)
                    .map_err(error::internal)
            };
            let latest = head(Head::Latest)?;
            Ok(match tag {
                BlockNumberOrTag::Latest | BlockNumberOrTag::Pending => Some(latest),
                BlockNumberOrTag::Safe => Some(head(Head::Safe)?),
                BlockNumberOrTag::Finalized => Some(head(Head::Finalized)?),
                BlockNumberOrTag::Earliest => Some(0),
                BlockNumberOrTag::Number(number) => (number <= latest).then_some(number),
            })
        }
    }
}

/// Finds the header of the block that a parameter names.
pub(super) fn header(snapshot: &Snapshot, id: BlockId) -> RpcResult<StoredHeader> {
    let number = block_number(snapshot, id)?.ok_or_else(|| error::server("header not found"))?;
    let header = snapshot.header(number).map_err(error::internal)?;
    header.ok_or_else(|| error::server("header not found"))
}

/// Opens the state after a block; says so when it is no longer held.
pub(super) fn state(snapshot: &Snapshot, number: u64) -> RpcResult<StateAt> {
    snapshot.state_at(number).map_err(|failure| match failure {
        StoreError::StateNotHeld { .. } => error::server(failure.to_string()),
        failure => error::internal(failure),
    })
}

/// Registers a method that answers at once.
pub(super) fn light<R: Serialize + Clone + 'static>(
    module: &mut Module,
    name: &'static str,
    max_args: usize,
    run: fn(&Context, &mut Args) -> RpcResult<R>,
) {
    let method = move |params: jsonrpsee::types::Params<'_>, context: &Context, _: &jsonrpsee::Extensions| {
        run(context, &mut Args::new(&params, max_args)?)
    };
    module
        .register_method(name, method)
        .expect("each method is registered once");
}

/// Registers a method that executes or scans; it gets the time by which it has to end.
pub(super) fn heavy<R: Serialize + Clone + Send + 'static>(
    module: &mut Module,
    name: &'static str,
    max_args: usize,
    run: fn(&Context, &mut Args, Instant) -> RpcResult<R>,
) {
    let method = move |params: jsonrpsee::types::Params<'static>, context: Arc<Context>, _| async move {
        let mut args = Args::new(&params, max_args)?;
        context
            .heavy(move |context, deadline| run(context, &mut args, deadline))
            .await
    };
    module
        .register_async_method(name, method)
        .expect("each method is registered once");
}
