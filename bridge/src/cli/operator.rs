//! `operator`: claims, and defends claims.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::B256;
use bitcoin::Network;
use bitsect_l1::carrier::CarrierConfig;
use clap::Subcommand;
use eyre::{WrapErr, bail};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::config::Config;
use super::member::{
    birthday, block_at, client, data_dir, follower, given, read_deployment, read_keys, read_program,
};
use super::monitor::{Board, Monitor, Status, serve};
use super::redeem;
use super::user::Output;
use super::vault::Vault;
use crate::chain::{Chain, RpcChain, Runner, RunnerConfig};
use crate::committee::{Deployment, MemberKeys};
use crate::daemon::{
    Claimant, Core, CoreConfig, Daemon, DaemonStore, Honest, Knowledge, Operator, ReadySlot, Shown,
};
use crate::setup::{PartySecrets, Seat, Section, hand, open_wallet, ready, seat, sync, verify_outputs};
use crate::user::Terms;
use crate::vault::Keeping;

/// How long a running operator may take to say how it is.
const STATUS_TIMEOUT: Duration = Duration::from_secs(10);
/// Blocks that a transaction with a fee of its own may wait before a child lifts it.
const PATIENCE: u32 = 3;

/// Claims, and defends claims.
#[derive(Debug, Subcommand)]
pub(super) enum OperatorCommand {
    /// Runs the operator of a deployment's slots: posts claims, answers challenges, finalises.
    Run,
    /// Asks a running operator how it is.
    Status {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Has the operator's credit become BTC on L2 again; no operator may run in the folder.
    Redeem {
        /// The L2 address that gets it.
        #[arg(long)]
        to: String,
        #[command(flatten)]
        output: Output,
    },
}

pub(super) async fn run(
    command: OperatorCommand,
    config: Config,
    stop: CancellationToken,
) -> eyre::Result<()> {
    match command {
        OperatorCommand::Run => operate(config, stop).await,
        OperatorCommand::Status { json } => status(&config, json).await,
        OperatorCommand::Redeem { to, output } => redeem::run(&to, output, &config, &stop).await,
    }
}

/// What an operator is made of.
struct Parts {
    deployment: Deployment,
    section: Section,
    keys: MemberKeys,
    seat: Seat,
    program: Vec<u8>,
    slots: Vec<ReadySlot>,
}

async fn load(config: &Config) -> eyre::Result<Parts> {
    let deployment = read_deployment(config)?;
    let keys = read_keys(config)?;
    let program = read_program(config)?;
    let section = Section::of(&deployment)?;
    let seat = seat(&deployment, &keys).wrap_err("failed to find our seat")?;
    let name = &deployment.member(seat.member).name;
    if seat.operates.is_empty() {
        bail!("failed to run an operator: {name} has no slot in the deployment");
    }
    let most = section.params.rounds.units_total();
    if let Some(units) = config.layer.claim_after_units
        && u64::from(units) >= most
    {
        bail!("failed to use claim_after_units: expected less than {most}, the slot's units, got {units}");
    }
    let folder = data_dir(config)?.clone();
    let loading = {
        let (deployment, program) = (deployment.clone(), program.clone());
        tokio::task::spawn_blocking(move || ready(&deployment, &folder, &program))
    };
    let slots = loading.await?.wrap_err("failed to load the slots")?;
    Ok(Parts {
        deployment,
        section,
        keys,
        seat,
        program,
        slots,
    })
}

async fn operate(config: Config, stop: CancellationToken) -> eyre::Result<()> {
    let address = *given(&config.layer.listen, "listen")?;
    let listener = TcpListener::bind(address).await;
    let listener = listener.wrap_err_with(|| format!("failed to listen on {address} (listen)"))?;
    let parts = load(&config).await?;
    let hash = parts.deployment.hash()?;
    let name = parts.deployment.member(parts.seat.member).name.clone();
    let board = Board::new(&parts.deployment, &parts.section);
    let slots = parts.slots.clone();
    let (shown, watched) = watch::channel(Shown::default());
    let monitor = Monitor::new(board, slots, watched, (hash, name));
    let monitor = Arc::new(monitor.wrap_err("failed to make the metrics")?);
    let slots = &parts.slots;
    let member = (&parts.deployment, parts.seat.member, &parts.keys);
    let vault = Vault::open(&config, member, slots, &stop).await?;
    let (mut daemon, signing) = daemon(&config, parts, vault, shown).await?;
    let serving = tokio::spawn(serve(listener, Arc::clone(&monitor), stop.clone()));
    let warning = tokio::spawn(monitor.warn());
    let ended = tokio::select! {
        ended = daemon.run(&stop) => ended.wrap_err("failed to operate"),
        ended = signing => ended,
    };
    stop.cancel();
    warning.abort();
    serving.await.wrap_err("failed to serve the status")?;
    ended
}

async fn daemon(
    config: &Config,
    parts: Parts,
    vault: Option<Vault>,
    shown: watch::Sender<Shown>,
) -> eyre::Result<(
    Daemon<Keeping<Claimant<Honest>>>,
    impl Future<Output = eyre::Result<()>> + use<>,
)> {
    let Parts {
        deployment,
        section,
        keys,
        seat,
        program,
        slots,
    } = parts;
    let runner = RunnerConfig {
        steps: section.params.rounds.steps_total(),
        ..RunnerConfig::default()
    };
    let runner = Runner::new(&program, runner).wrap_err("failed to use the program")?;
    let chain = RpcChain::new(given(&config.layer.node_url, "node_url")?, Some(program))?;
    let terms = vault.as_ref().map(|vault| vault.terms.clone());
    let (core, store) = core(config, &deployment, &section, &keys, (slots.clone(), terms)).await?;
    let operator = Operator::new(
        hand(&deployment, &keys, store)?,
        B256::new(deployment.hash()?.0),
        Honest,
    );
    let truth: Arc<dyn Chain> = Arc::new(chain.clone());
    let known = slots.iter().map(|slot| {
        let (truth, runner) = (Arc::clone(&truth), runner.clone());
        Knowledge::new(truth, runner, slot.start_unit)
    });
    let knowledge = known.collect();
    let key = PartySecrets::derive(&keys, &deployment.hash()?).key;
    let (mut keeper, mut bank, mut service) = (None, None, None);
    if let Some(vault) = vault {
        let parts = vault.parts(config, &deployment, (&core, &chain, seat.operates.clone()), key)?;
        (keeper, bank, service) = (Some(parts.0), Some(parts.1), Some(parts.2));
    }
    let party = Claimant::new(
        operator,
        seat.operates,
        chain,
        (config.layer.claim_after_units, bank),
    );
    let daemon = Daemon {
        party: Keeping { party, keeper },
        core,
        knowledge,
        fees: config.fee_outputs,
        shown,
    };
    let signing = async {
        match service {
            Some(service) => Ok(service.await?.wrap_err("failed to serve the committee")?),
            None => std::future::pending().await,
        }
    };
    Ok((daemon, signing))
}

/// Opens the part that deals with Bitcoin, after a look at the outputs that the slots spend.
async fn core(
    config: &Config,
    deployment: &Deployment,
    section: &Section,
    keys: &MemberKeys,
    (slots, vault): (Vec<ReadySlot>, Option<Terms>),
) -> eyre::Result<(Core, DaemonStore)> {
    let network: Network = deployment.network;
    let client = client(config, network).await?;
    let faults = verify_outputs(&client, &slots).await;
    // After a claim its bond is spent, and after a challenge a stake: that is for people to tell.
    for fault in faults.wrap_err("failed to ask for bonds and stakes")? {
        tracing::warn!("{fault}");
    }
    let folder = data_dir(config)?;
    let birthday = birthday(config, &client, section.start_height).await?;
    let wallet = open_wallet(folder, keys, network, birthday).wrap_err("failed to open the wallet")?;
    // The carrier begins behind the deployment's start: the wallet must not be behind it.
    let synced = sync(client.clone(), follower(config, network), &wallet).await;
    synced.wrap_err("failed to bring the wallet up to date")?;
    let core = CoreConfig {
        start: block_at(&client, "start_height", section.start_height).await?,
        vault,
        client,
        follower: follower(config, network),
        carrier: CarrierConfig {
            fees: config.fees,
            depth: config.confirmations,
            patience: PATIENCE,
        },
    };
    let hash = B256::new(deployment.hash()?.0);
    let opened = Core::open(folder, core, hash, slots, Arc::new(wallet));
    opened.wrap_err("failed to open the operator's files")
}

async fn status(config: &Config, json: bool) -> eyre::Result<()> {
    let address = given(&config.layer.listen, "listen")?;
    let url = format!("http://{address}/status");
    let client = reqwest::Client::builder().timeout(STATUS_TIMEOUT).build();
    let client = client.wrap_err("failed to make an HTTP client")?;
    let response = client.get(&url).send().await;
    let response = response.and_then(reqwest::Response::error_for_status);
    let response = response.wrap_err_with(|| format!("failed to ask {url}"))?;
    let status: Status = response
        .json()
        .await
        .wrap_err_with(|| format!("failed to read the answer of {url}"))?;
    if json {
        println!("{}", serde_json::to_string_pretty(&status)?);
    } else {
        print!("{status}");
    }
    Ok(())
}
