//! The command line.

use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bitsect_bridge::chain::{Chain, RpcChain, Runner, RunnerConfig};
use bitsect_bridge::committee::{Deployment, MemberKeys};
use bitsect_bridge::daemon::DaemonStore;
use bitsect_node::chain_file::ChainFile;
use bitsect_node::cli::{block_on, init_logs};
use bitsect_node::config::{ConfigError, LogFormat};
use bitsect_node::run::{l1_client, open_store};
use clap::{Args, Parser, Subcommand};
use eyre::{WrapErr, bail};
use tokio::net::TcpListener;

use crate::chain::StoreChain;
use crate::config::{Config, Layer, SlotFiles};
use crate::dispute::{self, Committee, Deployed, Hands, Side};
use crate::explain::{Claimed, Explainer, Told, explain, stored, told};
use crate::metrics::{EXPLAIN, Status};
use crate::run::{Challenger, read_guest};

/// The exit code of `explain` where the claim is wrong.
const EXIT_WRONG: u8 = 3;
/// The exit code of `explain` where Bitcoin does not say yet.
const EXIT_NOT_DERIVED: u8 = 4;
/// How long a running challenger may take to say how it is.
const STATUS_TIMEOUT: Duration = Duration::from_secs(10);

/// Rebuilds the chain from Bitcoin alone, and tells true claims from false ones.
#[derive(Debug, Parser)]
#[command(name = "bitsect-challenger", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Judges the claims of a deployment, and disputes the false ones.
    Run(RunArgs),
    /// Judges claims and raises alarms: without keys, without funds.
    Watch(WatchArgs),
    /// Says why a claim is right or wrong: the first wrong unit, what it does, the first wrong transaction.
    Explain(ExplainArgs),
    /// Asks a running challenger how it is.
    Status(StatusArgs),
}

#[derive(Debug, Args)]
struct ConfigArgs {
    /// Configuration file (TOML); flags and environment win over it.
    #[arg(long, env = "BITSECT_CHALLENGER_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    layer: Layer,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Publish nothing, and say what would be published and why. It needs no funds.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, Args)]
struct WatchArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, Args)]
struct ExplainArgs {
    /// A slot of the deployment: its claim, and what its dispute has published, as they are on Bitcoin.
    #[arg(required_unless_present = "claim", conflicts_with = "claim")]
    slot: Option<usize>,
    /// What a claim says and its dispute has published: a JSON file (docs/challenger.md), or - for standard input.
    #[arg(long, value_name = "FILE")]
    claim: Option<PathBuf>,
    /// A node's JSON-RPC that says what is true, instead of the challenger's own store.
    #[arg(long, value_name = "URL")]
    rpc_url: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, Args)]
struct StatusArgs {
    /// Where the challenger listens: its metrics_listen.
    #[arg(long, env = "BITSECT_CHALLENGER_METRICS_LISTEN", value_name = "ADDRESS")]
    metrics_listen: SocketAddr,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl ConfigArgs {
    fn resolve(self) -> Result<Config, ConfigError> {
        match &self.config {
            Some(path) => self.layer.over(Layer::read(path)?).resolve(),
            None => self.layer.resolve(),
        }
    }
}

impl Cli {
    /// Carries the command out, and gives the process's exit code.
    ///
    /// # Errors
    /// What failed.
    pub fn run(self) -> eyre::Result<ExitCode> {
        match self.command {
            Command::Run(args) => run(args).map(|()| ExitCode::SUCCESS),
            Command::Watch(args) => watch(args).map(|()| ExitCode::SUCCESS),
            Command::Explain(args) => explain_command(args),
            Command::Status(args) => status(&args).map(|()| ExitCode::SUCCESS),
        }
    }
}

fn run(args: RunArgs) -> eyre::Result<()> {
    let config = args.config.resolve()?;
    let Some(slots) = config.slots.clone() else {
        return Err(needs("run", "deployment"));
    };
    let Some(key_file) = config.key_file.clone() else {
        return Err(needs("run", "key_file"));
    };
    let chain_file = config.node.chain_file.clone();
    let (listen, confirmations) = (config.committee_listen, config.deposit_confirmations);
    serve(config, |challenger| {
        let program = challenger.chain();
        let (deployment, deployed) = read_slots(&slots, &chain_file, program.program()?)?;
        let mut hands = Hands::read(&key_file, &deployment)?;
        if let Some(listen) = listen {
            hands.committee = Some(Committee {
                deployment: deployment.clone(),
                keys: MemberKeys::read(&key_file).wrap_err("failed to read the keys")?,
                store: slots.committee_store.clone(),
                chain_file: chain_file.clone(),
                listen,
                confirmations,
            });
        }
        let side = if args.dry_run {
            Side::DryRun(hands)
        } else {
            Side::Run(hands)
        };
        challenger.dispute(deployed, side).map(drop)
    })
}

fn watch(args: WatchArgs) -> eyre::Result<()> {
    let config = args.config.resolve()?;
    let (slots, chain_file) = (config.slots.clone(), config.node.chain_file.clone());
    serve(config, |challenger| {
        let Some(slots) = &slots else { return Ok(()) };
        let program = challenger.chain();
        let (_, deployed) = read_slots(slots, &chain_file, program.program()?)?;
        challenger.dispute(deployed, Side::Watch).map(drop)
    })
}

fn needs(option: &'static str, needs: &'static str) -> eyre::Report {
    eyre::Report::new(ConfigError::Needs { option, needs })
}

fn read_slots(files: &SlotFiles, chain_file: &Path, program: &[u8]) -> eyre::Result<(Deployment, Deployed)> {
    Deployed::read(&files.deployment, &files.committee_store, chain_file, program)
}

/// Runs a challenger with what `prepare` adds to it.
fn serve(config: Config, prepare: impl FnOnce(&mut Challenger) -> eyre::Result<()>) -> eyre::Result<()> {
    init_logs(&config.node.log, config.node.log_format)?;
    block_on(|stop| async move {
        let listener = match config.metrics_listen {
            None => None,
            Some(address) => Some(
                TcpListener::bind(address)
                    .await
                    .wrap_err_with(|| format!("failed to listen on {address} (metrics_listen)"))?,
            ),
        };
        let mut challenger = Challenger::open(config)?;
        prepare(&mut challenger)?;
        challenger.run(listener, stop).await
    })
}

fn explain_command(args: ExplainArgs) -> eyre::Result<ExitCode> {
    let claimed = args.claim.as_deref().map(read_claim).transpose()?;
    let config = args.config.resolve()?;
    init_logs(&config.node.log, config.node.log_format)?;
    let mut severity = 0;
    let found = &mut severity;
    let (rpc_url, json) = (args.rpc_url, args.json);
    block_on(|stop| async move {
        let told = async {
            match (claimed, args.slot) {
                (Some(claimed), _) => explain_file(&config, rpc_url, &claimed).await,
                (None, slot) => explain_slot(&config, rpc_url, slot.unwrap_or_default()).await,
            }
        };
        let told = tokio::select! {
            () = stop.cancelled() => bail!("failed to explain the claim: interrupted"),
            told = told => told?,
        };
        if json {
            println!("{}", serde_json::to_string_pretty(&told.explanation)?);
        } else {
            print!("{}", told.text);
        }
        *found = told.severity;
        Ok(())
    })?;
    Ok(match severity {
        0 => ExitCode::SUCCESS,
        1 => ExitCode::from(EXIT_NOT_DERIVED),
        _ => ExitCode::from(EXIT_WRONG),
    })
}

async fn explain_file(config: &Config, rpc_url: Option<String>, claimed: &Claimed) -> eyre::Result<Told> {
    let file = ChainFile::read(&config.node.chain_file).wrap_err("failed to read the chain file")?;
    let chain = true_chain(config, &file, rpc_url)?;
    let runner = match chain.program() {
        Ok(program) => Some(Runner::new(program, RunnerConfig::default())?),
        Err(_) => None,
    };
    let explained = explain(&chain, &file.params, runner.as_ref(), claimed).await;
    let explained = explained.wrap_err("failed to explain the claim")?;
    Ok(Told {
        explanation: serde_json::to_value(&explained)?,
        text: explained.to_string(),
        severity: explained.verdict.severity(),
    })
}

/// Explains a slot's claim: by the challenger that listens at `metrics_listen`, or by the files of one that does not run.
async fn explain_slot(config: &Config, rpc_url: Option<String>, slot: usize) -> eyre::Result<Told> {
    if let Some(address) = config.metrics_listen
        && let Some(told) = ask_running(address, slot).await?
    {
        return Ok(told);
    }
    let Some(files) = &config.slots else {
        return Err(needs("slot", "deployment"));
    };
    let file = ChainFile::read(&config.node.chain_file).wrap_err("failed to read the chain file")?;
    let chain = true_chain(config, &file, rpc_url)?;
    let (_, deployed) = read_slots(files, &config.node.chain_file, chain.program()?)?;
    let path = dispute::store_file(&config.node.data_dir)?;
    let failed = || format!("failed to use the challenger's file {}", path.display());
    let store = DaemonStore::open(&path, deployed.hash).wrap_err_with(failed)?;
    let states = stored(&store, &deployed).wrap_err_with(failed)?;
    let state = states
        .get(slot)
        .ok_or_else(|| eyre::eyre!("failed to find slot {slot}: the deployment has {}", states.len()))?;
    let runner = dispute::runner(chain.as_ref(), &deployed)?;
    let explainer = Explainer::new(chain, file.params.clone(), runner);
    let explained = explainer.slot(&deployed, slot, state).await;
    Ok(told(&explained.wrap_err("failed to explain the claim")?))
}

/// Asks a running challenger for an explanation; `None` where nobody listens.
async fn ask_running(address: SocketAddr, slot: usize) -> eyre::Result<Option<Told>> {
    let url = format!("http://{address}/{EXPLAIN}{slot}");
    let failed = || format!("failed to ask {url}");
    // Without a time limit: it may take a run of a unit.
    let response = match reqwest::get(&url).await {
        Ok(response) => response,
        Err(error) if error.is_connect() => return Ok(None),
        Err(error) => return Err(error).wrap_err_with(failed),
    };
    let status = response.status();
    if !status.is_success() {
        let text = response.text().await.wrap_err_with(failed)?;
        bail!("failed to ask {url}: {status} {}", text.trim());
    }
    Ok(Some(response.json().await.wrap_err_with(failed)?))
}

fn read_claim(path: &Path) -> eyre::Result<Claimed> {
    let failed = || format!("failed to read the claim {}", path.display());
    let text = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(path)
    };
    serde_json::from_str(&text.wrap_err_with(failed)?).wrap_err_with(failed)
}

/// Makes the chain that says what is true: a node's, or the challenger's own while it does not run.
fn true_chain(config: &Config, file: &ChainFile, rpc_url: Option<String>) -> eyre::Result<Arc<dyn Chain>> {
    let guest = read_guest(config)?;
    let unfit = "failed to write the chain's parameters into the program";
    if let Some(url) = rpc_url {
        let program = guest.map(|guest| bitsect_guest::params::write(&guest, &file.params));
        let program = program.transpose().wrap_err(unfit)?;
        return Ok(Arc::new(RpcChain::new(url, program)?));
    }
    let store = open_store(&config.node, file).wrap_err(
        "failed to use the challenger's own store: while a challenger runs there, name a node by --rpc-url",
    )?;
    let client = l1_client(&config.node)?;
    let chain = StoreChain::new(store, client, file.params.clone(), guest.as_deref()).wrap_err(unfit)?;
    Ok(Arc::new(chain))
}

fn status(args: &StatusArgs) -> eyre::Result<()> {
    init_logs("warn", LogFormat::Human)?;
    block_on(|_| async {
        let url = format!("http://{}/status", args.metrics_listen);
        let client = reqwest::Client::builder().timeout(STATUS_TIMEOUT).build();
        let response = client
            .wrap_err("failed to make an HTTP client")?
            .get(&url)
            .send()
            .await;
        let response = response.and_then(reqwest::Response::error_for_status);
        let response = response.wrap_err_with(|| format!("failed to ask {url}"))?;
        let status: Status = response
            .json()
            .await
            .wrap_err_with(|| format!("failed to read the answer of {url}"))?;
        if args.json {
            println!("{}", serde_json::to_string_pretty(&status)?);
        } else {
            print!("{status}");
        }
        Ok(())
    })
}
