//! The command line.

use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use bitsect_bridge::chain::{Chain, RpcChain, Runner, RunnerConfig};
use bitsect_node::chain_file::ChainFile;
use bitsect_node::cli::{block_on, init_logs};
use bitsect_node::config::{ConfigError, LogFormat};
use bitsect_node::run::{l1_client, open_store};
use clap::{Args, Parser, Subcommand};
use eyre::{WrapErr, bail};
use tokio::net::TcpListener;

use crate::chain::StoreChain;
use crate::config::{Config, Layer};
use crate::explain::{Claimed, Verdict, explain};
use crate::metrics::Status;
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
    /// Derives the chain and raises alarms: without keys, without funds.
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
struct WatchArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, Args)]
struct ExplainArgs {
    /// What the claim says and its dispute has published: a JSON file (docs/challenger.md), or - for standard input.
    #[arg(long, value_name = "FILE")]
    claim: PathBuf,
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
            Command::Watch(args) => watch(args).map(|()| ExitCode::SUCCESS),
            Command::Explain(args) => explain_claim(args),
            Command::Status(args) => status(&args).map(|()| ExitCode::SUCCESS),
        }
    }
}

fn watch(args: WatchArgs) -> eyre::Result<()> {
    let config = args.config.resolve()?;
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
        Challenger::open(config)?.run(listener, stop).await
    })
}

fn explain_claim(args: ExplainArgs) -> eyre::Result<ExitCode> {
    let claimed = read_claim(&args.claim)?;
    let config = args.config.resolve()?;
    init_logs(&config.node.log, config.node.log_format)?;
    let mut verdict = None;
    let found = &mut verdict;
    block_on(|stop| async move {
        let file = ChainFile::read(&config.node.chain_file).wrap_err("failed to read the chain file")?;
        let chain = true_chain(&config, &file, args.rpc_url)?;
        let runner = match chain.program() {
            Ok(program) => Some(Runner::new(program, RunnerConfig::default())?),
            Err(_) => None,
        };
        let explained = tokio::select! {
            () = stop.cancelled() => bail!("failed to explain the claim: interrupted"),
            explained = explain(chain.as_ref(), &file.params, runner.as_ref(), &claimed) => explained,
        };
        let explanation = explained.wrap_err("failed to explain the claim")?;
        if args.json {
            println!("{}", serde_json::to_string_pretty(&explanation)?);
        } else {
            print!("{explanation}");
        }
        *found = Some(explanation.verdict);
        Ok(())
    })?;
    Ok(match verdict.expect("work that ends well has a verdict") {
        Verdict::Right => ExitCode::SUCCESS,
        Verdict::NotDerived { .. } => ExitCode::from(EXIT_NOT_DERIVED),
        Verdict::Wrong { .. } | Verdict::NotRepeated { .. } => ExitCode::from(EXIT_WRONG),
    })
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
fn true_chain(config: &Config, file: &ChainFile, rpc_url: Option<String>) -> eyre::Result<Box<dyn Chain>> {
    let guest = read_guest(config)?;
    let unfit = "failed to write the chain's parameters into the program";
    if let Some(url) = rpc_url {
        let program = guest.map(|guest| bitsect_guest::params::write(&guest, &file.params));
        let program = program.transpose().wrap_err(unfit)?;
        return Ok(Box::new(RpcChain::new(url, program)?));
    }
    let store = open_store(&config.node, file).wrap_err(
        "failed to use the challenger's own store: while a challenger runs there, name a node by --rpc-url",
    )?;
    let client = l1_client(&config.node)?;
    let chain = StoreChain::new(store, client, file.params.clone(), guest.as_deref()).wrap_err(unfit)?;
    Ok(Box::new(chain))
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
