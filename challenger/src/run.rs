//! The challenger: a verifier in this process, and tasks beside it that know the true chain.

use std::future::Future;
use std::sync::Arc;

use bitsect_bridge::chain::{Chain, Runner};
use bitsect_bridge::daemon::Shown;
use bitsect_l1::carrier::CarrierConfig;
use bitsect_l1::follower::FollowerConfig;
use bitsect_l1::sender::FeePolicy;
use bitsect_node::convert;
use bitsect_node::engine::EngineStatus;
use bitsect_node::rpc::{Monitor, serve_monitor};
use bitsect_node::status::NodeStatus;
use bitsect_node::verifier::Verifier;
use eyre::WrapErr;
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::alarm::{Alarms, Event};
use crate::chain::StoreChain;
use crate::config::Config;
use crate::dispute::{self, Deployed, DisputeGauges, Observer, Side, Start, Told, View};
use crate::explain::Explainer;
use crate::metrics::{ChallengerMonitor, Disputes};
use crate::sums::BridgeWatch;

/// Which alarms were raised, in the folder of a mode's files.
const TOLD_FILE: &str = "alarms";
/// Which alarms of the bridge were raised, in the data folder.
const BRIDGE_TOLD_FILE: &str = "bridge-alarms";

type Tasks = JoinSet<(&'static str, eyre::Result<()>)>;

/// A challenger before it runs. Tasks are added to it, then [`Challenger::run`] is awaited.
#[expect(missing_debug_implementations, reason = "the store has none")]
pub struct Challenger {
    config: Config,
    verifier: Verifier,
    chain: Arc<StoreChain>,
    alarms: Alarms,
    registry: Registry,
    disputes: Option<Disputes>,
    tasks: Tasks,
    stop: CancellationToken,
}

impl Challenger {
    /// Opens the store of its own, or makes it. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// When the store is in use or another chain's, or a file cannot be read.
    pub fn open(config: Config) -> eyre::Result<Self> {
        let verifier = Verifier::open(config.node.clone())?;
        let guest = read_guest(&config)?;
        let chain = StoreChain::new(
            verifier.store().clone(),
            verifier.client().clone(),
            verifier.file().params.clone(),
            guest.as_deref(),
        )
        .wrap_err("failed to write the chain's parameters into the program")?;
        let (registry, stop) = (Registry::new(), CancellationToken::new());
        let (alarms, delivery) = Alarms::new(config.alarm_command.clone(), &registry, stop.clone())
            .wrap_err("failed to register metrics")?;
        let mut challenger = Self {
            config,
            verifier,
            chain: Arc::new(chain),
            alarms,
            registry,
            disputes: None,
            tasks: Tasks::new(),
            stop,
        };
        challenger.spawn("alarms", async move {
            delivery.await;
            Ok(())
        });
        challenger.watch_bridge()?;
        Ok(challenger)
    }

    /// Adds the task that raises an alarm where the bridge's sums do not hold.
    fn watch_bridge(&mut self) -> eyre::Result<()> {
        let path = self.config.node.data_dir.join(BRIDGE_TOLD_FILE);
        let told =
            Told::open(&path).wrap_err_with(|| format!("failed to use the file {}", path.display()))?;
        let watch = BridgeWatch {
            engine: self.verifier.engine(),
            alarms: self.alarms.clone(),
            told,
        };
        self.spawn("sums", watch.run(self.stop.clone()));
        Ok(())
    }

    /// Gives the true chain.
    pub fn chain(&self) -> Arc<dyn Chain> {
        self.chain.clone()
    }

    /// Gives where alarms are raised.
    pub const fn alarms(&self) -> &Alarms {
        &self.alarms
    }

    /// Gives the embedded verifier: how far it is, Bitcoin Core's client, the chain file.
    pub const fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// Gives the registry of the metrics.
    pub const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Gives what ends when the challenger stops: tasks have to end then.
    pub const fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Adds a task. One that ends before the challenger stops ends all of it.
    pub fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = eyre::Result<()>> + Send + 'static,
    ) {
        self.tasks.spawn(async move { (name, task.await) });
    }

    /// Adds the tasks that follow a deployment's slots, judge claims, and do about false ones what the side is for. Gives
    /// what they know. Once, before it runs.
    ///
    /// # Errors
    /// When there is no program, or a file cannot be used.
    pub fn dispute(&mut self, deployed: Deployed, side: Side) -> eyre::Result<View> {
        let chain = self.chain();
        let runner = dispute::runner(chain.as_ref(), &deployed)?;
        let folder = dispute::folder(&self.config.node.data_dir, side.mode());
        let failed = || format!("failed to use the folder {}", folder.display());
        std::fs::create_dir_all(&folder).wrap_err_with(failed)?;
        let told = Told::open(&folder.join(TOLD_FILE)).wrap_err_with(failed)?;
        let ((shown, of_daemon), (seen, judged)) =
            (watch::channel(Shown::default()), watch::channel(Vec::new()));
        let view = View {
            mode: side.mode(),
            deployed: Arc::new(deployed),
            pairs: side.pairs().into(),
            shown: of_daemon,
            seen: judged,
        };
        let explainer = Explainer::new(chain.clone(), self.verifier.file().params.clone(), runner.clone());
        let gauges = DisputeGauges::register(&self.registry).wrap_err("failed to register metrics")?;
        self.disputes = Some(Disputes {
            view: view.clone(),
            explainer,
            gauges,
        });
        let observer = Observer {
            view: view.clone(),
            seen,
            chain: chain.clone(),
            engine: self.verifier.engine(),
            alarms: self.alarms.clone(),
            told,
        };
        self.spawn("judging", observer.run(self.stop.clone()));
        let start = self.start_of(side, &view, runner, shown);
        self.spawn("disputes", start.run(self.stop.clone()));
        Ok(view)
    }

    /// Gives what the task that moves starts from.
    fn start_of(&self, side: Side, view: &View, runner: Runner, shown: watch::Sender<Shown>) -> Start {
        let network = convert::network(self.verifier.file().params.derive.network);
        let fees = FeePolicy {
            ceiling: self.config.max_fee_rate,
            ..FeePolicy::default()
        };
        Start {
            folder: dispute::folder(&self.config.node.data_dir, side.mode()),
            side,
            deployed: view.deployed.clone(),
            chain: self.chain(),
            runner,
            engine: self.verifier.engine(),
            client: self.verifier.client().clone(),
            follower: FollowerConfig {
                network: Some(network),
                poll: self.config.node.l1_poll,
                ..FollowerConfig::default()
            },
            carrier: CarrierConfig {
                fees,
                ..CarrierConfig::default()
            },
            fees: self.config.fees,
            wallet_start: self.config.wallet_start_height,
            network,
            shown,
        }
    }

    /// Runs until `shutdown`, or until a fault that a person has to look at.
    ///
    /// # Errors
    /// That fault.
    pub async fn run(
        mut self,
        listener: Option<TcpListener>,
        shutdown: CancellationToken,
    ) -> eyre::Result<()> {
        let disputes = self.disputes.take();
        let monitor = ChallengerMonitor::new(
            self.registry.clone(),
            &self.verifier,
            self.alarms.clone(),
            disputes,
        );
        let monitor = Arc::new(monitor.wrap_err("failed to register metrics")?);
        if let Some(listener) = listener {
            let serving = serve_monitor(listener, monitor.clone() as Arc<dyn Monitor>, self.stop.clone());
            self.spawn("metrics", async move {
                serving.await;
                Ok(())
            });
        }
        let watching = Following {
            engine: self.verifier.engine(),
            status: self.verifier.status(),
            monitor,
            alarms: self.alarms.clone(),
            patience: self.config.alarm_after,
        };
        let stop = self.stop.clone();
        self.spawn("following", async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = watching.run() => stop.cancelled().await,
            }
            Ok(())
        });
        let Self {
            verifier,
            mut tasks,
            stop,
            ..
        } = self;
        let deriving = verifier.run(stop.clone());
        tasks.spawn(async move { ("derivation", deriving.await) });
        let fault = tokio::select! {
            () = shutdown.cancelled() => None,
            Some(done) = tasks.join_next() => Some(ended(done)),
        };
        tracing::info!("stopping");
        stop.cancel();
        while let Some(done) = tasks.join_next().await {
            if let Ok((name, Err(error))) = done {
                tracing::error!(
                    task = name,
                    error = format!("{error:#}"),
                    "failed to stop in order"
                );
            }
        }
        match fault {
            Some(fault) if !shutdown.is_cancelled() => Err(fault),
            _ => Ok(()),
        }
    }
}

fn ended(done: Result<(&'static str, eyre::Result<()>), tokio::task::JoinError>) -> eyre::Report {
    match done {
        Ok((name, Ok(()))) => eyre::eyre!("task {name} ended"),
        Ok((name, Err(error))) => error.wrap_err(format!("failed to go on with task {name}")),
        Err(error) => eyre::Report::new(error).wrap_err("a task broke"),
    }
}

/// Reads the program, where the configuration names one.
///
/// # Errors
/// When the file cannot be read.
pub fn read_guest(config: &Config) -> eyre::Result<Option<Vec<u8>>> {
    let Some(path) = &config.guest_file else {
        return Ok(None);
    };
    let read = std::fs::read(path);
    read.map(Some)
        .wrap_err_with(|| format!("failed to read the program {}", path.display()))
}

/// Raises an alarm when derivation does not follow Bitcoin for long.
struct Following {
    engine: watch::Receiver<EngineStatus>,
    status: watch::Receiver<NodeStatus>,
    monitor: Arc<ChallengerMonitor>,
    alarms: Alarms,
    patience: std::time::Duration,
}

impl Following {
    /// Watches until the verifier is gone.
    async fn run(mut self) {
        let mut since = None;
        let mut raised = false;
        loop {
            self.engine.mark_unchanged();
            self.status.mark_unchanged();
            match self.monitor.ready() {
                Ok(()) => {
                    since = None;
                    if std::mem::take(&mut raised) {
                        self.alarms.raise(Event::Following);
                    }
                }
                Err(reason) => {
                    let since = *since.get_or_insert_with(Instant::now);
                    if !raised && since.elapsed() >= self.patience {
                        raised = true;
                        self.alarms.raise(Event::NotFollowing { reason });
                    }
                }
            }
            let late = since.filter(|_| !raised).map(|since| since + self.patience);
            let changed = tokio::select! {
                changed = self.engine.changed() => changed,
                changed = self.status.changed() => changed,
                () = sleep_until(late) => Ok(()),
            };
            if changed.is_err() {
                return;
            }
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
