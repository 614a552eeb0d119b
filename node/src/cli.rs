//! The command line.

use std::path::{Path, PathBuf};

use alloy_primitives::{Address, B256, Bytes};
use bitcoin::{Amount, ScriptBuf, TxOut};
use bitsect_l1::BlockRef;
use bitsect_l1::rpc::Client;
use bitsect_vm::chain::L1Network;
use bitsect_vm::derive::{LEAST_FORCED_GAS, MAX_FORCED_SIZE, forced_script};
use clap::{Args, Parser, Subcommand};
use eyre::{WrapErr, bail};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::chain_file::ChainFile;
use crate::config::{Config, ConfigError, Layer, LogFormat};
use crate::convert;
use crate::devnet::{self, DevnetArgs};
use crate::genesis::NewChain;
use crate::poster::{BATON_VALUE, Builder};
use crate::purse::Purse;
use crate::run::{Listeners, STORE_FILE, l1_client, run};
use crate::store::admin::{DbCommand, run_db};
use crate::unit::export::{ExportArgs, export};

/// Exit code for a configuration that cannot work; the same that a wrong command line gives.
pub const EXIT_USAGE: u8 = 2;
/// Exit code for everything else.
pub const EXIT_FAULT: u8 = 1;

/// The Bitsect node: follows Bitcoin, derives the rollup, sequences and posts it, serves JSON-RPC.
#[derive(Debug, Parser)]
#[command(name = "bitsect-node", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a node: a sequencer with `--sequencer`, else a verifier.
    Run(RunArgs),
    /// Runs a whole chain on this machine: Bitcoin Core on regtest, a sequencer, a verifier.
    Devnet(DevnetArgs),
    /// Deposits BTC on a running devnet.
    DevnetDeposit(DepositArgs),
    /// Works on a store that no node has open.
    Db(DbArgs),
    /// Starts a chain: makes the first baton and the chain file.
    Genesis(GenesisArgs),
    /// Sends a signed L2 transaction through Bitcoin, past the sequencer.
    Force(ForceArgs),
    /// Exports what a dispute over one unit needs, from a running node.
    Unit(ExportArgs),
}

#[derive(Debug, Args)]
struct ConfigArgs {
    /// Configuration file (TOML); flags and environment win over it.
    #[arg(long, env = "BITSECT_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    layer: Layer,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Prints the effective configuration and ends.
    #[arg(long)]
    print_config: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, Args)]
struct DbArgs {
    /// The node's folder.
    #[arg(long, env = "BITSECT_DATA_DIR", default_value = "bitsect-data")]
    data_dir: PathBuf,
    #[command(subcommand)]
    command: DbCommand,
}

#[derive(Debug, Args)]
struct DepositArgs {
    /// The devnet's folder.
    #[arg(long, default_value = devnet::DATA_DIR)]
    devnet_dir: PathBuf,
    /// Who gets the money on L2.
    #[arg(long)]
    to: Address,
    /// How much, in sats.
    #[arg(long)]
    sats: u64,
}

#[derive(Debug, Args)]
struct GenesisArgs {
    /// What people call the chain.
    #[arg(long)]
    name: String,
    /// The EIP-155 chain id.
    #[arg(long)]
    chain_id: u64,
    /// The Bitcoin network: bitcoin, testnet4, signet, regtest.
    #[arg(long)]
    network: String,
    /// The committee's x-only key, 0x-hex.
    #[arg(long)]
    vault_key: B256,
    /// Who may take fees out of the `FeeVault`.
    #[arg(long)]
    fee_vault_owner: Address,
    /// The gas limit of every block.
    #[arg(long, default_value_t = 30_000_000)]
    gas_limit: u64,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, Args)]
struct ForceArgs {
    /// The signed transaction, 0x-hex (EIP-2718).
    #[arg(long)]
    raw: Bytes,
    /// The wallet's folder: its seed and its file. Not a running node's.
    #[arg(long)]
    wallet_dir: PathBuf,
    #[command(flatten)]
    config: ConfigArgs,
}

impl ConfigArgs {
    fn layer(self) -> Result<Layer, ConfigError> {
        match &self.config {
            Some(path) => Ok(self.layer.over(Layer::read(path)?)),
            None => Ok(self.layer),
        }
    }

    fn resolve(self) -> eyre::Result<Config> {
        Ok(self.layer()?.resolve()?)
    }
}

impl Cli {
    /// Carries the command out.
    ///
    /// # Errors
    /// What failed; [`exit_code`] tells the process's exit code.
    pub fn run(self) -> eyre::Result<()> {
        match self.command {
            Command::Run(args) => run_node(args),
            Command::Devnet(args) => {
                init_logs(&args.log, LogFormat::Human)?;
                block_on(|stop| devnet::run(args, stop))
            }
            Command::DevnetDeposit(args) => {
                init_logs("warn", LogFormat::Human)?;
                block_on(|_| deposit(args))
            }
            Command::Db(args) => run_db(
                &args.command,
                &args.data_dir.join(STORE_FILE),
                &mut std::io::stdout().lock(),
            ),
            Command::Genesis(args) => {
                init_logs("info", LogFormat::Human)?;
                block_on(|_| genesis(args))
            }
            Command::Unit(args) => {
                init_logs("warn", LogFormat::Human)?;
                block_on(|_| export(args))
            }
            Command::Force(args) => {
                init_logs("warn", LogFormat::Human)?;
                block_on(|_| force(args))
            }
        }
    }
}

/// Tells the exit code for an error.
pub fn exit_code(error: &eyre::Report) -> u8 {
    if error.downcast_ref::<ConfigError>().is_some() {
        EXIT_USAGE
    } else {
        EXIT_FAULT
    }
}

fn run_node(args: RunArgs) -> eyre::Result<()> {
    let layer = args.config.layer()?;
    if args.print_config {
        // What is printed would also run.
        layer.clone().resolve()?;
        print!("{}", layer.print());
        return Ok(());
    }
    let config = layer.resolve()?;
    init_logs(&config.log, config.log_format)?;
    block_on(|stop| async move {
        let listeners = Listeners::bind(&config.server).await?;
        run(config, listeners, stop).await
    })
}

/// Sends logs to standard error.
///
/// # Errors
/// When the filter is none.
pub fn init_logs(filter: &str, format: LogFormat) -> eyre::Result<()> {
    let filter = EnvFilter::try_new(filter).wrap_err("failed to read the option log")?;
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Human => logs.init(),
        LogFormat::Json => logs.json().init(),
    }
    Ok(())
}

/// Runs work that ends early and in order on SIGINT and SIGTERM.
///
/// # Errors
/// The work's, or when there is no runtime.
pub fn block_on<F: Future<Output = eyre::Result<()>>>(
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

async fn deposit(args: DepositArgs) -> eyre::Result<()> {
    let placed = devnet::deposit(&args.devnet_dir, args.to, args.sats).await?;
    println!("deposit {} accepted by {}", placed.deposit, placed.accept.txid);
    Ok(())
}

async fn genesis(args: GenesisArgs) -> eyre::Result<()> {
    let network = parse_network(&args.network)?;
    let mut layer = args.config.layer()?;
    layer.sequencer = Some(true);
    let config = layer.resolve()?;
    let Some(options) = &config.sequencer else {
        bail!("failed to find the sequencer's options")
    };
    if config.chain_file.exists() {
        bail!("failed to make {}: the file exists", config.chain_file.display());
    }
    let client = l1_client(&config)?;
    client
        .check_network(convert::network(network))
        .await
        .wrap_err("failed to ask Bitcoin Core")?;
    let tip = tip(&client).await?;
    let purse = Purse::open(
        client.clone(),
        convert::network(network),
        &config.data_dir,
        &options.key_file,
        tip,
    )?;
    purse.sync().await?;
    if purse.wallet().spendable() < BATON_VALUE * 2 {
        let address = purse
            .wallet()
            .receive_address()
            .wrap_err("failed to make an address")?;
        bail!(
            "failed to fund the baton: send at least {} to {address}, then run this again",
            BATON_VALUE * 2
        );
    }
    let builder = Builder::new(purse.wallet().keys().key(0));
    let output = TxOut {
        value: BATON_VALUE,
        script_pubkey: builder.baton_script(),
    };
    let baton = purse.pay_one(output).await.wrap_err("failed to make the baton")?;
    let chain = NewChain {
        name: args.name,
        chain_id: args.chain_id,
        network,
        baton: convert::chain_outpoint(&baton),
        vault_key: args.vault_key,
        fee_vault_owner: args.fee_vault_owner,
        balances: Default::default(),
        gas_limit: args.gas_limit,
        max_drift: 7_200,
        sequencing_window: 144,
        claim_maturity: 72,
    };
    let file = chain
        .chain_file(&client, tip.height)
        .await
        .wrap_err("failed to read the L1 start block")?;
    file.write_new(&config.chain_file)?;
    println!(
        "chain file {}: baton {baton}, hash {}",
        config.chain_file.display(),
        file.params_hash()
    );
    Ok(())
}

fn parse_network(name: &str) -> eyre::Result<L1Network> {
    match name {
        "bitcoin" => Ok(L1Network::Bitcoin),
        "testnet4" => Ok(L1Network::Testnet4),
        "signet" => Ok(L1Network::Signet),
        "regtest" => Ok(L1Network::Regtest),
        other => {
            let expected = "bitcoin, testnet4, signet or regtest".to_owned();
            Err(ConfigError::Value {
                option: "network",
                expected,
                got: other.into(),
            }
            .into())
        }
    }
}

async fn tip(client: &Client) -> eyre::Result<BlockRef> {
    let info = client
        .get_blockchain_info()
        .await
        .wrap_err("failed to ask Bitcoin Core for its tip")?;
    Ok(BlockRef::new(info.blocks, info.best_block_hash))
}

async fn force(args: ForceArgs) -> eyre::Result<()> {
    let config = args.config.resolve()?;
    let file = ChainFile::read(&config.chain_file)?;
    let client = l1_client(&config)?;
    let txid = send_forced(client, &file, &args.wallet_dir, &args.raw).await?;
    println!("forced transaction in Bitcoin transaction {txid}");
    Ok(())
}

/// Sends a signed L2 transaction through Bitcoin, paid by the wallet in a folder.
///
/// # Errors
/// When derivation would not take it, the wallet has too little, or Bitcoin Core refuses it.
pub async fn send_forced(
    client: Client,
    file: &ChainFile,
    wallet_dir: &Path,
    raw: &Bytes,
) -> eyre::Result<bitcoin::Txid> {
    use alloy_consensus::Transaction as _;
    use alloy_eips::eip2718::Decodable2718;
    use bitsect_vm::chain::Transaction;
    if raw.len() > MAX_FORCED_SIZE {
        bail!(
            "failed to force the transaction: expected at most {MAX_FORCED_SIZE} bytes, got {}",
            raw.len()
        );
    }
    let tx = Transaction::decode_2718_exact(raw).wrap_err("failed to read the transaction")?;
    let (expected, got) = (file.params.execution.chain_id, tx.chain_id());
    if got != Some(expected) {
        bail!("failed to force the transaction: expected chain id {expected}, got {got:?}");
    }
    let (limits, got) = (
        LEAST_FORCED_GAS..=file.params.derive.forced_gas_limit,
        tx.gas_limit(),
    );
    if !limits.contains(&got) {
        bail!("failed to force the transaction: expected a gas limit in {limits:?}, got {got}");
    }
    let network = convert::network(file.params.derive.network);
    let birthday = tip(&client).await?;
    let purse = Purse::open(
        client,
        network,
        wallet_dir,
        &wallet_dir.join("user.key"),
        birthday,
    )?;
    purse.sync().await?;
    let script = ScriptBuf::from_bytes(forced_script(raw));
    let paid = purse.pay(
        vec![TxOut {
            value: Amount::ZERO,
            script_pubkey: script,
        }],
        Vec::new(),
        |_| Ok(()),
    );
    let tx = match paid.await {
        Ok(tx) => tx,
        Err(error) => {
            let address = purse
                .wallet()
                .receive_address()
                .wrap_err("failed to make an address")?;
            return Err(error.wrap_err(format!("failed to pay from the wallet; its address is {address}")));
        }
    };
    Ok(tx.compute_txid())
}
