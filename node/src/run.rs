//! The node: one task for each of following Bitcoin, posting and serving; the engine on a thread of its own.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bitsect_l1::FaultClass;
use bitsect_l1::follower::{Follower, FollowerConfig};
use bitsect_l1::rpc::{Auth, Client, RpcConfig as L1RpcConfig};
use bitsect_l1::sender::{Sender, SenderConfig};
use bitsect_l1::wallet::{Keys, Wallet};
use eyre::WrapErr;
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::chain_file::ChainFile;
use crate::config::{Config, L1Auth, SequencerOptions, ServerConfig};
use crate::convert;
use crate::engine::{Engine, EngineConfig, EngineHandle, SequencerConfig};
use crate::events::{self, ChainEvent};
use crate::feed::{self, FeedMetrics};
use crate::follow::Follow;
use crate::genesis;
use crate::monitor::NodeMonitor;
use crate::pool::{Pool, PoolConfig, StoreState};
use crate::poster::{self, Poster, PosterParts, PosterStatus};
use crate::prune;
use crate::rpc::{self, Context, Forwarder, Monitor, RpcConfig, RpcMetrics, Submit};
use crate::status::NodeStatus;
use crate::store::{Head, Store, StoreOptions};

/// How long tasks may take to end.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// The store's file in the data folder.
pub const STORE_FILE: &str = "chain.redb";
/// Encoded bytes of transactions in one L2 block at most: a block has to fit into a batch, whatever it compresses to.
pub(crate) const MAX_BLOCK_BYTES: usize = 2_000_000;

/// The listeners, bound before anything else so that a taken port is said at once.
pub struct Listeners {
    /// The public JSON-RPC.
    pub rpc: TcpListener,
    /// The admin JSON-RPC.
    pub admin: Option<TcpListener>,
    /// Metrics and health.
    pub metrics: Option<TcpListener>,
}

impl Listeners {
    /// Binds what the configuration names.
    ///
    /// # Errors
    /// Names the address that cannot be had.
    pub async fn bind(config: &ServerConfig) -> eyre::Result<Self> {
        let admin = match &config.admin {
            Some((address, _)) => Some(bind("admin_listen", *address).await?),
            None => None,
        };
        let metrics = match config.metrics {
            Some(address) => Some(bind("metrics_listen", address).await?),
            None => None,
        };
        Ok(Self {
            rpc: bind("rpc_listen", config.rpc).await?,
            admin,
            metrics,
        })
    }
}

async fn bind(option: &str, address: SocketAddr) -> eyre::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .wrap_err_with(|| format!("failed to listen on {address} ({option})"))
}

/// Makes the client for Bitcoin Core.
///
/// # Errors
/// When the address cannot be one.
pub fn l1_client(config: &Config) -> eyre::Result<Client> {
    let auth = match &config.l1_auth {
        L1Auth::Cookie(path) => Auth::Cookie(path.clone()),
        L1Auth::User { user, password } => Auth::user_password(user, password.reveal()),
    };
    Client::new(L1RpcConfig::new(config.l1_url.clone(), auth)).wrap_err("failed to use the option l1_url")
}

/// Opens the node's store, and makes it when there is none.
///
/// # Errors
/// When it belongs to another chain, or cannot be read.
pub fn open_store(config: &Config, file: &ChainFile) -> eyre::Result<Store> {
    let (identity, genesis) = genesis::store_genesis(file).wrap_err("failed to make the genesis block")?;
    let path = config.data_dir.join(STORE_FILE);
    let options = || StoreOptions {
        cache_bytes: config.store_cache_bytes,
        ..StoreOptions::default()
    };
    Store::open_or_create(&path, &identity, options, || genesis)
        .wrap_err_with(|| format!("failed to open the store {}", path.display()))
}

/// What the tasks share.
pub(crate) struct Node {
    config: Config,
    pub(crate) file: ChainFile,
    pub(crate) store: Store,
    pub(crate) client: Client,
    pub(crate) engine: EngineHandle,
    pub(crate) events: broadcast::Sender<ChainEvent>,
    pub(crate) status: watch::Sender<NodeStatus>,
    pool: Option<Pool>,
    registry: Registry,
}

/// Runs a node until `shutdown`, or until a fault that a person has to look at.
///
/// # Errors
/// That fault. Everything acknowledged is durable then.
pub async fn run(config: Config, listeners: Listeners, shutdown: CancellationToken) -> eyre::Result<()> {
    Node::start(config)?.run(listeners, shutdown).await
}

fn start_engine(
    config: &Config,
    file: &ChainFile,
    store: &Store,
    pool: Option<Pool>,
    events: broadcast::Sender<ChainEvent>,
) -> eyre::Result<EngineHandle> {
    let engine_config = EngineConfig {
        params: Arc::new(file.params.clone()),
        confirmations: config
            .sequencer
            .as_ref()
            .map_or(1, |sequencer| sequencer.origin_depth),
        finality_depth: config.finality_depth,
        sequencer: config.sequencer.as_ref().map(|sequencer| SequencerConfig {
            block_time: sequencer.block_time,
            heartbeat: sequencer.heartbeat,
            max_safe_lag: sequencer.max_safe_lag,
            max_block_bytes: MAX_BLOCK_BYTES,
        }),
    };
    Engine::spawn(engine_config, store.clone(), pool, events).wrap_err("failed to start the engine")
}

fn open_pool(config: &Config, file: &ChainFile, store: &Store) -> eyre::Result<Option<Pool>> {
    if config.sequencer.is_none() {
        return Ok(None);
    }
    let execution = &file.params.execution;
    let gas_limit = execution.gas_limit.unwrap_or(file.genesis.gas_limit);
    let pool_config = PoolConfig::new(execution.chain_id, execution.spec, gas_limit);
    let state = StoreState::new(store.clone(), execution.l1_fee);
    let path = config.data_dir.join("mempool.journal");
    let pool = Pool::new(pool_config, &path, Arc::new(state))
        .wrap_err_with(|| format!("failed to open the mempool's journal {}", path.display()))?;
    Ok(Some(pool))
}

type Tasks = JoinSet<(&'static str, eyre::Result<()>)>;

fn start(
    tasks: &mut Tasks,
    name: &'static str,
    task: impl Future<Output = eyre::Result<()>> + Send + 'static,
) {
    tasks.spawn(async move { (name, task.await) });
}

/// Waits for the tasks, not for ever: a client that reads its answer slowly must not hold the node.
async fn stop_tasks(mut tasks: Tasks) {
    let joined = tokio::time::timeout(STOP_WITHIN, async {
        while let Some(done) = tasks.join_next().await {
            if let Ok((name, Err(error))) = done {
                tracing::error!(
                    task = name,
                    error = format!("{error:#}"),
                    "failed to stop in order"
                );
            }
        }
    });
    if joined.await.is_err() {
        tracing::warn!(tasks = tasks.len(), "tasks did not end in time: they are dropped");
        tasks.shutdown().await;
    }
}

impl Node {
    /// Opens the store and starts the engine. Must be called in a tokio runtime.
    pub(crate) fn start(config: Config) -> eyre::Result<Self> {
        let file = ChainFile::read(&config.chain_file).wrap_err("failed to read the chain file")?;
        let store = open_store(&config, &file)?;
        let client = l1_client(&config)?;
        let pool = open_pool(&config, &file, &store)?;
        let (events, _) = events::channel();
        let engine = start_engine(&config, &file, &store, pool.clone(), events.clone())?;
        let starting_block = store
            .read()
            .and_then(|snapshot| snapshot.head(Head::Latest))?
            .number;
        let (status, _) = watch::channel(NodeStatus {
            sequencing: config.sequencer.is_some(),
            starting_block,
            ..NodeStatus::default()
        });
        Ok(Self {
            config,
            file,
            store,
            client,
            engine,
            events,
            status,
            pool,
            registry: Registry::new(),
        })
    }

    async fn run(self, listeners: Listeners, shutdown: CancellationToken) -> eyre::Result<()> {
        // Tasks end by this token, which also a fault pulls.
        let stop = shutdown.child_token();
        let mut tasks = Tasks::new();
        self.start_follow(&mut tasks, &stop);
        let pruning = prune::run(self.store.clone(), self.config.history, stop.clone());
        start(&mut tasks, "prune", pruning);
        let keys = self.sequencer_keys()?;
        let poster = self.start_poster(&mut tasks, keys.as_ref(), &stop)?;
        self.start_status(&mut tasks, poster.clone(), &stop);
        let feed = self.start_feed(&mut tasks, keys.as_ref(), &stop)?;
        self.start_servers(&mut tasks, listeners, poster, feed, &stop)?;
        self.supervise(tasks, stop, shutdown).await
    }

    /// Derives from Bitcoin until `shutdown`, and does nothing else.
    pub(crate) async fn derive(self, shutdown: CancellationToken) -> eyre::Result<()> {
        let stop = shutdown.child_token();
        let mut tasks = Tasks::new();
        self.start_follow(&mut tasks, &stop);
        self.start_status(&mut tasks, None, &stop);
        self.supervise(tasks, stop, shutdown).await
    }

    /// Waits for `shutdown` or a fault, then ends all tasks and the engine.
    async fn supervise(
        self,
        mut tasks: Tasks,
        stop: CancellationToken,
        shutdown: CancellationToken,
    ) -> eyre::Result<()> {
        let mut ended = self.engine.clone();
        let fault = tokio::select! {
            () = shutdown.cancelled() => None,
            () = ended.ended() => Some(eyre::eyre!("the engine stopped: its last log line says why")),
            Some(done) = tasks.join_next() => Some(match done {
                Ok((name, Ok(()))) => eyre::eyre!("task {name} ended"),
                Ok((name, Err(error))) => error.wrap_err(format!("failed to go on with task {name}")),
                Err(error) => eyre::Report::new(error).wrap_err("a task broke"),
            }),
        };
        tracing::info!("stopping");
        stop.cancel();
        stop_tasks(tasks).await;
        self.engine.stop().await;
        match fault {
            Some(fault) if !shutdown.is_cancelled() => Err(fault),
            _ => Ok(()),
        }
    }

    fn follower_config(&self) -> FollowerConfig {
        let network = Some(convert::network(self.file.params.derive.network));
        FollowerConfig {
            network,
            poll: self.config.l1_poll,
            ..FollowerConfig::default()
        }
    }

    fn start_follow(&self, tasks: &mut Tasks, stop: &CancellationToken) {
        let follow = Follow {
            client: self.client.clone(),
            config: self.follower_config(),
            store: self.store.clone(),
            engine: self.engine.clone(),
            status: self.status.clone(),
        };
        let (params, stop) = (self.file.params.clone(), stop.clone());
        start(
            tasks,
            "follow",
            async move { Ok(follow.run(&params, &stop).await?) },
        );
    }

    /// Reads the key file on a sequencer.
    fn sequencer_keys(&self) -> eyre::Result<Option<Keys>> {
        let Some(options) = &self.config.sequencer else {
            return Ok(None);
        };
        let network = convert::network(self.file.params.derive.network);
        Keys::read(&options.key_file, network.into())
            .map(Some)
            .wrap_err("failed to read the sequencer's key")
    }

    /// Makes the feed's server on a sequencer, and starts its client on a verifier that is to follow one.
    fn start_feed(
        &self,
        tasks: &mut Tasks,
        keys: Option<&Keys>,
        stop: &CancellationToken,
    ) -> eyre::Result<Option<feed::Server>> {
        let metrics = FeedMetrics::new(&self.registry).wrap_err("failed to register metrics")?;
        let chain_id = self.file.params.execution.chain_id;
        if let Some(keys) = keys {
            let key = feed::signing_key(&keys.key(0));
            tracing::info!(key = %key.x_only_public_key().0, "fresh blocks are signed and served at /feed");
            let (store, events) = (self.store.clone(), self.events.clone());
            return Ok(Some(feed::Server::new(store, events, chain_id, key, metrics)));
        }
        if let Some(url) = &self.config.feed_url {
            let client = feed::Client {
                url: url.clone(),
                chain_id,
                engine: self.engine.clone(),
                l1: self.client.clone(),
                metrics,
            };
            let stop = stop.clone();
            start(tasks, "feed", async move {
                client.run(stop).await;
                Ok(())
            });
        }
        Ok(None)
    }

    /// Starts the poster on a sequencer.
    fn start_poster(
        &self,
        tasks: &mut Tasks,
        keys: Option<&Keys>,
        stop: &CancellationToken,
    ) -> eyre::Result<Option<watch::Receiver<PosterStatus>>> {
        let (Some(options), Some(keys)) = (self.config.sequencer.clone(), keys.cloned()) else {
            return Ok(None);
        };
        let network = convert::network(self.file.params.derive.network);
        let birthday = genesis::start_block(&self.file.params);
        let path = self.config.data_dir.join("wallet.redb");
        let wallet = Wallet::open(&path, keys, network, birthday)
            .wrap_err_with(|| format!("failed to open the wallet {}", path.display()))?;
        let wallet = Arc::new(wallet);
        let (mut poster, status) = self.make_poster(&options, &wallet)?;
        let node = PosterTask {
            config: self.follower_config(),
            client: self.client.clone(),
            wallet,
            stop: stop.clone(),
        };
        start(tasks, "poster", async move {
            loop {
                let known = poster::start_of(&node.wallet, poster.sender());
                let mut follower = Follower::new(node.client.clone(), node.config.clone(), known)?;
                match poster.run(&mut follower, &node.stop).await {
                    Err(error) if error.class() == FaultClass::Reset => {
                        tracing::warn!(%error, "the poster follows Bitcoin again from what it knows");
                    }
                    other => return Ok(other?),
                }
            }
        });
        Ok(Some(status))
    }

    fn make_poster(
        &self,
        options: &SequencerOptions,
        wallet: &Arc<Wallet>,
    ) -> eyre::Result<(Poster, watch::Receiver<PosterStatus>)> {
        let path = self.config.data_dir.join("sender.redb");
        let config = SenderConfig {
            fees: poster::fee_policy(&options.poster),
            depth: self.config.finality_depth,
            ..SenderConfig::default()
        };
        let birthday = genesis::start_block(&self.file.params);
        let sender = Sender::open(
            &path,
            self.client.clone(),
            config,
            Some(Arc::clone(wallet)),
            birthday,
        )
        .wrap_err_with(|| format!("failed to open the sender's file {}", path.display()))?;
        Ok(Poster::new(PosterParts {
            params: Arc::new(self.file.params.clone()),
            config: options.poster.clone(),
            store: self.store.clone(),
            client: self.client.clone(),
            wallet: Arc::clone(wallet),
            sender,
            engine: self.engine.watch(),
        }))
    }

    /// Keeps the node's status up to date with what engine and poster say.
    fn start_status(
        &self,
        tasks: &mut Tasks,
        poster: Option<watch::Receiver<PosterStatus>>,
        stop: &CancellationToken,
    ) {
        let (mut engine, status, stop) = (self.engine.watch(), self.status.clone(), stop.clone());
        let (_unused, idle) = watch::channel(PosterStatus::default());
        let mut poster = poster.unwrap_or(idle);
        start(tasks, "status", async move {
            let _unused = _unused;
            loop {
                let paused = engine.borrow_and_update().paused.clone();
                let alarm = paused.or_else(|| poster.borrow_and_update().alarm.clone());
                status.send_if_modified(|status| {
                    let changed = status.alarm != alarm;
                    if let (true, Some(alarm)) = (changed, &alarm) {
                        tracing::warn!(alarm, "the node needs a look");
                    }
                    status.alarm = alarm;
                    changed
                });
                let changed = tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    changed = engine.changed() => changed,
                    changed = poster.changed() => changed,
                };
                // Whoever ended says why; this task has no word of its own.
                if changed.is_err() {
                    stop.cancelled().await;
                    return Ok(());
                }
            }
        });
    }

    fn start_servers(
        &self,
        tasks: &mut Tasks,
        listeners: Listeners,
        poster: Option<watch::Receiver<PosterStatus>>,
        feed: Option<feed::Server>,
        stop: &CancellationToken,
    ) -> eyre::Result<()> {
        let submit = match (&self.pool, &self.config.sequencer_url) {
            (Some(pool), _) => Submit::Pool(pool.clone()),
            (None, Some(url)) => Submit::Forward(
                Forwarder::new(url)
                    .map_err(|reason| eyre::eyre!("failed to use the option sequencer_url: {reason}"))?,
            ),
            (None, None) => Submit::Refuse,
        };
        let server = &self.config.server;
        let config = Arc::new(RpcConfig {
            cors_origins: server.cors_origins.clone(),
            ..RpcConfig::default()
        });
        let metrics = Arc::new(RpcMetrics::new(&self.registry).wrap_err("failed to register metrics")?);
        let params = Arc::new(self.file.params.clone());
        let store = self.store.clone();
        let status = self.status.subscribe();
        let context = Context::new(
            store,
            Arc::clone(&params),
            submit,
            Arc::clone(&config),
            status,
            &self.events,
            Some(self.client.clone()),
        );
        let methods = rpc::methods(Arc::new(context));
        let token = server.admin.as_ref().map(|(_, token)| token.reveal().to_owned());
        let public = rpc::serve(
            listeners.rpc,
            methods.clone(),
            Arc::clone(&config),
            Arc::clone(&metrics),
            None,
            feed,
            stop.clone(),
        );
        start(tasks, "rpc", async move {
            public.await;
            Ok(())
        });
        if let (Some(listener), Some(_)) = (listeners.admin, &token) {
            let admin = rpc::serve(listener, methods, config, metrics, token, None, stop.clone());
            start(tasks, "admin", async move {
                admin.await;
                Ok(())
            });
        }
        if let Some(listener) = listeners.metrics {
            let monitor = NodeMonitor::new(
                self.registry.clone(),
                self.engine.watch(),
                self.status.subscribe(),
                self.pool.clone(),
                poster,
            )
            .wrap_err("failed to register metrics")?;
            let serving = rpc::serve_monitor(listener, Arc::new(monitor) as Arc<dyn Monitor>, stop.clone());
            start(tasks, "metrics", async move {
                serving.await;
                Ok(())
            });
        }
        Ok(())
    }
}

/// What the poster's task needs beside the poster.
struct PosterTask {
    config: FollowerConfig,
    client: Client,
    wallet: Arc<Wallet>,
    stop: CancellationToken,
}
