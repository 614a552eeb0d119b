//! A whole chain on one machine: Bitcoin Core on regtest, a miner, a sequencer, a verifier that knows nothing but
//! Bitcoin, and, where it has the program of disputes, an operator, a challenger and a bridge. Everything is below one
//! folder; starting again on it continues the chain.

mod bridge;
pub mod committee;
mod deposit;
mod keys;
pub mod program;
mod setup;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alloy_primitives::B256;
use bitsect_l1::regtest::{Bitcoind, RegtestConfig};
use clap::Args;
use eyre::{WrapErr, bail};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::bridge::Bridge;
use self::committee::Links;
pub use self::deposit::{Placed, deposit};
pub use self::keys::{ACCOUNTS, Account, BALANCE, CHAIN_ID, MNEMONIC, VAULT_SECRET};
pub use self::setup::{CHAIN_FILE, USER_DIR, pay, start_chain};
use crate::config::{Config, Layer};
use crate::run::{Listeners, run as run_node};

/// The folder when none is named.
pub const DATA_DIR: &str = "bitsect-devnet";
/// A file that says that a folder is a devnet's, so that `--fresh` deletes nothing else.
const MARKER: &str = "bitsect-devnet";
/// Where Bitcoin Core's RPC address is written for the other commands.
pub const L1_URL_FILE: &str = "bitcoin.url";
/// Blocks mined when a chain is continued after a long time: they bring Bitcoin's median time to the clock again.
const CATCH_UP_BLOCKS: u32 = 11;
/// Seconds that the median time may be behind without that; well below the drift that L2 blocks may have.
const OLD_AFTER: u64 = 86_400;
/// How long the nodes may take to answer.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// The pause between two questions whether they do.
const READY_POLL: Duration = Duration::from_millis(100);

/// How the devnet runs.
#[derive(Clone, Debug, Args)]
pub struct DevnetArgs {
    /// Least time between two L2 blocks.
    #[arg(long, default_value = "250ms", value_parser = parse_duration)]
    pub block_time: Duration,
    /// Time after which an empty L2 block is made.
    #[arg(long, default_value = "2s", value_parser = parse_duration)]
    pub heartbeat: Duration,
    /// Time between two Bitcoin blocks.
    #[arg(long, default_value = "5s", value_parser = parse_duration)]
    pub l1_interval: Duration,
    /// Folder of everything.
    #[arg(long, default_value = DATA_DIR)]
    pub data_dir: PathBuf,
    /// Deletes the folder first.
    #[arg(long)]
    pub fresh: bool,
    /// Port of the sequencer's JSON-RPC; 0 takes a free one.
    #[arg(long, default_value_t = 8545)]
    pub sequencer_port: u16,
    /// Port of the verifier's JSON-RPC; 0 takes a free one.
    #[arg(long, default_value_t = 8546)]
    pub verifier_port: u16,
    /// Port of the sequencer's metrics and health; 0 takes a free one.
    #[arg(long, default_value_t = 9545)]
    pub sequencer_metrics_port: u16,
    /// Port of the verifier's metrics and health; 0 takes a free one.
    #[arg(long, default_value_t = 9546)]
    pub verifier_metrics_port: u16,
    /// The program of disputes, as .ci/guest builds it: a bridge is begun with the chain, with an operator and a challenger.
    #[arg(long, conflicts_with = "vault_key")]
    pub guest: Option<PathBuf>,
    /// Slots of the operator's when a bridge is begun: how often it can take an output of the vault.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub slots: u32,
    /// First of four ports of the bridge's members; 0 takes free ones.
    #[arg(long, default_value_t = 9650)]
    pub bridge_port: u16,
    /// The x-only key of a committee, which accepts deposits then; without it and a bridge everybody knows the key, for
    /// `devnet-deposit`.
    #[arg(long)]
    pub vault_key: Option<B256>,
    /// What is logged.
    #[arg(long, default_value = "warn")]
    pub log: String,
}

/// Reads `250ms`, `5s`, `2m`; a bare number is milliseconds.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits
        .parse()
        .map_err(|_| format!("expected a number and ms, s or m, got {text:?}"))?;
    let millis = match text.strip_prefix(digits) {
        Some("ms" | "") => Some(number),
        Some("s") => number.checked_mul(1_000),
        Some("m") => number.checked_mul(60_000),
        _ => return Err(format!("expected ms, s or m after the number, got {text:?}")),
    };
    let millis = millis.filter(|millis| (10..=3_600_000).contains(millis));
    millis
        .map(Duration::from_millis)
        .ok_or_else(|| format!("expected 10ms to 60m, got {text:?}"))
}

/// Runs the devnet until `shutdown`.
///
/// # Errors
/// Whatever keeps it from running.
pub async fn run(args: DevnetArgs, shutdown: CancellationToken) -> eyre::Result<()> {
    prepare(&args.data_dir, args.fresh)?;
    let bridge = Bridge::open(&args)?;
    let config = RegtestConfig::new(args.data_dir.join("bitcoin"));
    let mut bitcoind = Bitcoind::start(config)
        .await
        .wrap_err("failed to start Bitcoin Core")?;
    let l1_url = bitcoind.rpc_url();
    std::fs::write(args.data_dir.join(L1_URL_FILE), &l1_url).wrap_err("failed to write the RPC address")?;
    if args.data_dir.join(setup::CHAIN_FILE).exists() {
        catch_up(&bitcoind).await?;
    } else {
        let vault_key = bridge.as_ref().map(Bridge::vault_key).transpose()?;
        setup::start_chain(&bitcoind, &args.data_dir, vault_key.or(args.vault_key))
            .await
            .wrap_err("failed to start the chain")?;
    }
    let ran = tokio::select! {
        ran = run_nodes(&args, &bitcoind, bridge.as_ref(), &shutdown) => ran,
        mined = mine(&bitcoind, args.l1_interval) => mined,
    };
    bitcoind.stop().await.wrap_err("failed to stop Bitcoin Core")?;
    ran
}

async fn catch_up(bitcoind: &Bitcoind) -> eyre::Result<()> {
    let info = bitcoind
        .client()
        .get_blockchain_info()
        .await
        .wrap_err("failed to ask Bitcoin Core")?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    if now.saturating_sub(info.median_time) > OLD_AFTER {
        bitcoind.mine(CATCH_UP_BLOCKS).await.wrap_err("failed to mine")?;
    }
    Ok(())
}

/// Makes the folder, or empties it; refuses one with anything else in it.
fn prepare(dir: &Path, fresh: bool) -> eyre::Result<()> {
    let marker = dir.join(MARKER);
    let is_used = dir.exists() && std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some());
    if is_used && !marker.exists() {
        bail!(
            "failed to use {}: it holds other files and no devnet",
            dir.display()
        );
    }
    if fresh && is_used {
        std::fs::remove_dir_all(dir).wrap_err_with(|| format!("failed to delete {}", dir.display()))?;
    }
    std::fs::create_dir_all(dir).wrap_err_with(|| format!("failed to make {}", dir.display()))?;
    std::fs::write(&marker, "").wrap_err_with(|| format!("failed to write {}", marker.display()))
}

async fn mine(bitcoind: &Bitcoind, every: Duration) -> eyre::Result<()> {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        bitcoind.mine(1).await.wrap_err("failed to mine")?;
    }
}

async fn run_nodes(
    args: &DevnetArgs,
    bitcoind: &Bitcoind,
    bridge: Option<&Bridge>,
    shutdown: &CancellationToken,
) -> eyre::Result<()> {
    let stop = shutdown.child_token();
    let mut nodes: JoinSet<eyre::Result<()>> = JoinSet::new();
    let mut urls = Vec::new();
    for role in [Role::Sequencer, Role::Verifier] {
        let config = role.config(
            args,
            bitcoind,
            urls.first().map(|(rpc, _): &(String, String)| rpc.as_str()),
        )?;
        let listeners = Listeners::bind(&config.server).await?;
        let rpc = listeners.rpc.local_addr().wrap_err("failed to read the port")?;
        let metrics = listeners
            .metrics
            .as_ref()
            .map(tokio::net::TcpListener::local_addr)
            .transpose();
        let metrics = metrics.wrap_err("failed to read the port")?.unwrap_or(rpc);
        urls.push((format!("http://{rpc}"), format!("http://{metrics}")));
        let stop = stop.clone();
        nodes.spawn(async move {
            run_node(config, listeners, stop)
                .await
                .wrap_err_with(|| format!("failed to run the {}", role.name()))
        });
    }
    let started = tokio::select! {
        ready = wait_ready(&urls) => ready,
        () = shutdown.cancelled() => Ok(()),
        Some(ended) = nodes.join_next() => ended.unwrap_or_else(|error| Err(error.into())),
    };
    if started.is_ok() && !shutdown.is_cancelled() {
        print_ready(&urls, bitcoind, &args.data_dir);
    }
    let fault = match started {
        Err(error) => Err(error),
        Ok(()) => tokio::select! {
            () = shutdown.cancelled() => Ok(()),
            Some(ended) = nodes.join_next() => ended.unwrap_or_else(|error| Err(error.into())),
            ended = run_bridge(bridge, args, bitcoind, &urls) => ended,
        },
    };
    stop.cancel();
    while let Some(ended) = nodes.join_next().await {
        ended.wrap_err("a node broke")??;
    }
    fault
}

/// Runs the bridge where there is one, and otherwise never ends.
async fn run_bridge(
    bridge: Option<&Bridge>,
    args: &DevnetArgs,
    bitcoind: &Bitcoind,
    urls: &[(String, String)],
) -> eyre::Result<()> {
    let (Some(bridge), [(sequencer, _), (verifier, _)]) = (bridge, urls) else {
        return std::future::pending().await;
    };
    let links = Links {
        l1_url: bitcoind.rpc_url(),
        l1_cookie: bitcoind.cookie(),
        chain_file: args.data_dir.join(CHAIN_FILE),
        sequencer: sequencer.clone(),
        verifier: verifier.clone(),
        guest: args.guest.clone(),
    };
    bridge.run(&links, bitcoind.client(), &args.data_dir).await
}

#[derive(Clone, Copy)]
enum Role {
    Sequencer,
    Verifier,
}

impl Role {
    const fn name(self) -> &'static str {
        match self {
            Self::Sequencer => "sequencer",
            Self::Verifier => "verifier",
        }
    }

    fn config(
        self,
        args: &DevnetArgs,
        bitcoind: &Bitcoind,
        sequencer_url: Option<&str>,
    ) -> eyre::Result<Config> {
        let local = |port: u16| Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let shared = Layer {
            data_dir: Some(args.data_dir.join(self.name())),
            chain_file: Some(args.data_dir.join(setup::CHAIN_FILE)),
            l1_url: Some(bitcoind.rpc_url()),
            l1_cookie_file: Some(bitcoind.cookie()),
            store_cache_mib: Some(64),
            ..Layer::default()
        };
        let layer = match self {
            Self::Sequencer => Layer {
                sequencer: Some(true),
                origin_depth_blocks: Some(1),
                block_time_ms: Some(millis(args.block_time)),
                heartbeat_ms: Some(millis(args.heartbeat.max(args.block_time))),
                max_batch_delay_seconds: Some(1),
                rpc_listen: local(args.sequencer_port),
                metrics_listen: local(args.sequencer_metrics_port),
                ..shared
            },
            // It passes transactions on, and takes nothing from the sequencer.
            Self::Verifier => Layer {
                sequencer_url: sequencer_url.map(str::to_owned),
                rpc_listen: local(args.verifier_port),
                metrics_listen: local(args.verifier_metrics_port),
                ..shared
            },
        };
        Ok(layer.resolve()?)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Waits until all nodes answer and have derived everything that Bitcoin has.
async fn wait_ready(urls: &[(String, String)]) -> eyre::Result<()> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .build()
        .wrap_err("failed to make a client")?;
    let wait = async {
        for (_, metrics) in urls {
            let url = format!("{metrics}/readyz");
            while !client
                .get(&url)
                .send()
                .await
                .is_ok_and(|answer| answer.status().is_success())
            {
                tokio::time::sleep(READY_POLL).await;
            }
        }
    };
    tokio::time::timeout(READY_WITHIN, wait)
        .await
        .wrap_err("failed to get an answer from the nodes in time")
}

fn print_ready(urls: &[(String, String)], bitcoind: &Bitcoind, dir: &Path) {
    println!("Chain id: {CHAIN_ID}");
    println!("Folder:   {}", dir.display());
    println!(
        "Bitcoin:  {} (cookie {})",
        bitcoind.rpc_url(),
        bitcoind.cookie().display()
    );
    println!(
        "\nAccounts, each with {} BTC at the start. These keys are public: never use them elsewhere.",
        BALANCE
    );
    for account in &ACCOUNTS {
        println!("  {}  0x{}", account.address, account.secret);
    }
    println!();
    for ((rpc, metrics), role) in urls.iter().zip([Role::Sequencer, Role::Verifier]) {
        println!("{:9} {rpc}  metrics {metrics}/metrics", role.name());
    }
    println!("devnet ready");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_and_bounds() {
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("500"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        for bad in [
            "",
            "s",
            "5h",
            "-1s",
            "1ms",
            "61m",
            "99999999999999999999s",
            "18446744073709551615s",
        ] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_a_devnet_is_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("devnet");
        prepare(&path, true).unwrap();
        std::fs::write(path.join("old"), "").unwrap();
        prepare(&path, false).unwrap();
        assert!(path.join("old").exists());
        prepare(&path, true).unwrap();
        assert!(!path.join("old").exists());
        let foreign = dir.path().join("photos");
        std::fs::create_dir(&foreign).unwrap();
        std::fs::write(foreign.join("photo"), "").unwrap();
        assert!(prepare(&foreign, true).is_err());
        assert!(foreign.join("photo").exists());
    }
}
