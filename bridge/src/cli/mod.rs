//! The command line.

mod claims;
mod committee;
mod config;
mod deployment;
mod deposit;
mod key;
mod member;
mod monitor;
mod operator;
mod redeem;
mod scan;
mod show;
mod user;
mod vault;
mod withdraw;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use eyre::WrapErr;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::committee::CommitteeCommand;

pub use config::{Config, ConfigError, Layer, LogFormat};

/// What of Bitsect becomes a Bitcoin transaction: committees set up slots, operators claim in them.
#[derive(Debug, Parser)]
#[command(name = "bitsect-bridge", version)]
pub struct Cli {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct ConfigArgs {
    /// Configuration file (TOML); flags and environment win over it.
    #[arg(long, env = "BITSECT_BRIDGE_CONFIG", global = true)]
    config: Option<PathBuf>,
    #[command(flatten)]
    layer: Layer,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Sets up a deployment together with its other members.
    #[command(subcommand)]
    Committee(CommitteeCommand),
    /// Claims, and defends claims.
    #[command(subcommand)]
    Operator(operator::OperatorCommand),
    /// Shows all slots as Bitcoin stands.
    Claims(claims::ClaimsArgs),
    /// Shows the vault as Bitcoin stands: its outputs, its limits, operators and their credit.
    Vault(show::VaultArgs),
    /// Prints the address at which a member's wallet is funded.
    Address(member::AddressArgs),
    /// Makes a deployment file of members' entries.
    Deployment(deployment::DeploymentArgs),
    /// Prints the key of all members together: the chain file's vault_key.
    VaultKey(deployment::VaultKeyArgs),
    /// Makes and shows a user's key file.
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Deposits bitcoin, shows deposits, takes them back.
    #[command(subcommand)]
    Deposit(deposit::DepositCommand),
    /// Asks for bitcoin that are on L2, and shows where that stands.
    #[command(subcommand)]
    Withdraw(withdraw::WithdrawCommand),
    /// Shows what a user has on both layers and in between.
    Balance(withdraw::BalanceArgs),
}

impl ConfigArgs {
    fn resolve(self) -> eyre::Result<Config> {
        let layer = match &self.config {
            Some(path) => self.layer.over(Layer::read(path)?),
            None => self.layer,
        };
        Ok(layer.resolve()?)
    }
}

impl Cli {
    /// Carries the command out.
    ///
    /// # Errors
    /// Says what failed, and why.
    pub fn run(self) -> eyre::Result<()> {
        let config = self.config.resolve()?;
        init_logs(&config)?;
        block_on(|stop| async move {
            match self.command {
                Command::Committee(command) => committee::run(command, config, stop).await,
                Command::Operator(command) => operator::run(command, config, stop).await,
                Command::Claims(args) => claims::show(args, &config, stop).await,
                Command::Vault(args) => show::show_vault(args, &config, &stop).await,
                Command::Address(args) => member::show_address(args, &config),
                Command::Deployment(args) => deployment::make(args, &config),
                Command::VaultKey(args) => deployment::show_vault_key(&args),
                Command::Key(command) => key::run(command, &config, &stop).await,
                Command::Deposit(command) => deposit::run(command, &config, &stop).await,
                Command::Withdraw(command) => withdraw::run(command, &config, &stop).await,
                Command::Balance(args) => withdraw::show_balance(args, &config, &stop).await,
            }
        })
    }
}

/// Gives the process's exit code for an error (docs/cli.md). 2 is also what a wrong command line gives.
pub fn exit_code(error: &eyre::Report) -> u8 {
    user::exit_kind(error) as u8
}

fn init_logs(config: &Config) -> eyre::Result<()> {
    let filter = config.layer.log.as_deref().unwrap_or("info");
    let filter = EnvFilter::try_new(filter).wrap_err("failed to read the option log")?;
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match config.layer.log_format.unwrap_or_default() {
        LogFormat::Human => logs.init(),
        LogFormat::Json => logs.json().init(),
    }
    Ok(())
}

/// Runs work that ends early and in order on SIGINT and SIGTERM.
fn block_on<F: Future<Output = eyre::Result<()>>>(
    work: impl FnOnce(CancellationToken) -> F,
) -> eyre::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Runtime::new().wrap_err("failed to start the runtime")?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        let mut interrupt = signal(SignalKind::interrupt()).wrap_err("failed to handle SIGINT")?;
        let mut terminate = signal(SignalKind::terminate()).wrap_err("failed to handle SIGTERM")?;
        let token = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            token.cancel();
        });
        work(stop).await
    })
}
