//! `make fraud`: a devnet, a committee of an operator and a challenger, a false claim, and its end on Bitcoin.
//!
//! Everything is the product's own programs, but for the operator, which is the honest one's code with a liar's answers.

mod committee;
mod liar;
mod show;
mod stage;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use bitsect_node::devnet::program::{Running, find_program};
use bitsect_node::devnet::{CHAIN_FILE, DATA_DIR};
use eyre::{WrapErr, bail, ensure};
use serde_json::{Value, json};

pub use committee::{GameParams, set_up};
pub use liar::{Lying, Where, start as start_liar};
pub use stage::Stage;

use crate::{Rpc, Wallet, until};

/// Where the verifier's JSON-RPC is, as the devnet has it when no port is named.
const VERIFIER: &str = "http://127.0.0.1:8546";
const SEQUENCER: &str = "http://127.0.0.1:8545";
/// Units of the claim behind the one that is lied about.
const UNITS_BEHIND: u64 = 8;
/// Searches that are deep enough for the units that a devnet does while the committee sets up and for their steps, and times
/// that a person can wait for.
const PARAMS: GameParams = GameParams {
    unit_rounds: 4,
    trace_rounds: 13,
    move_timeout_blocks: 30,
    challenge_window_blocks: 60,
};

/// How the fraud is staged.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "bitsect-fraud", version)]
pub struct FraudArgs {
    /// The devnet's folder.
    #[arg(long, default_value = DATA_DIR)]
    data_dir: PathBuf,
    /// The program as .ci/guest builds it.
    #[arg(long, env = "BITSECT_GUEST")]
    guest: PathBuf,
    /// Starts a new devnet; without it the one that runs is used, or the one in the folder goes on.
    #[arg(long)]
    fresh: bool,
}

/// Stages the fraud.
///
/// # Errors
/// Whatever keeps it from its end.
pub async fn run(args: FraudArgs) -> eyre::Result<()> {
    let verifier = Rpc::new(VERIFIER.to_owned());
    let runs = verifier.call("rollup_syncStatus", json!([])).await.is_ok();
    ensure!(
        !(runs && args.fresh),
        "failed to start a new devnet: one runs already at {VERIFIER}; end it, or leave --fresh out"
    );
    let _devnet = if runs {
        println!("Using the devnet that runs in {}", args.data_dir.display());
        None
    } else {
        println!("Starting the devnet in {}", args.data_dir.display());
        Some(start_devnet(&args)?)
    };
    until("the devnet", || async {
        let call = verifier.call("rollup_syncStatus", json!([])).await;
        call.map(drop).map_err(|error| format!("{error:?}"))
    })
    .await;
    let chain_file = args.data_dir.join(CHAIN_FILE);
    let stage = Stage::open(&args.data_dir, &chain_file, VERIFIER, &args.guest)?;
    let start = units(&verifier).await;
    let slot = set_up(&stage, start, PARAMS).await?;
    let (unit, block, hash) = a_unit_with_a_transaction(&verifier, start).await?;
    println!(
        "L2 transaction {hash} is in block {block}, which unit {} executes.",
        start + unit
    );
    let count = unit + UNITS_BEHIND;
    let most = (1 << (2 * PARAMS.unit_rounds)) - 1;
    ensure!(
        count <= most,
        "failed to stage the fraud: the set-up took so long that the claim has {count} units, and it has {most} at most"
    );
    until("the units of the claim", || async {
        let done = units(&verifier).await;
        if done >= start + count {
            Ok(())
        } else {
            Err(format!("{done} units"))
        }
    })
    .await;
    let challenger = stage.start_challenger()?;
    let claimed = (u32::try_from(count)?, unit);
    let mut operator = start_liar(&stage, slot.clone(), claimed, Where::InTransaction).await?;
    println!(
        "\nThe operator claims a false state after {count} units. It lies about unit {}.",
        start + unit
    );
    println!(
        "The challenger's own view: bitsect-challenger status --metrics-listen {}\n",
        stage.challenger()
    );
    let state = show::follow(&mut operator.shown).await?;
    operator.task.abort();
    show::table(&slot, &state);
    drop(challenger);
    stage.explain()
}

fn start_devnet(args: &FraudArgs) -> eyre::Result<Running> {
    let mut command = Command::new(find_program("bitsect-node")?);
    command
        .args(["devnet", "--l1-interval", "1s", "--data-dir"])
        .arg(&args.data_dir);
    if args.fresh {
        command.arg("--fresh");
    }
    command.stdout(Stdio::null());
    Running::start(command).wrap_err("failed to start the devnet")
}

async fn units(verifier: &Rpc) -> u64 {
    let status = verifier.get("rollup_syncStatus", json!([])).await;
    status["units"].as_u64().unwrap_or_default()
}

/// Sends a transfer, and gives the unit that executes its block, counted from `start`, the block, and the transaction.
async fn a_unit_with_a_transaction(verifier: &Rpc, start: u64) -> eyre::Result<(u64, u64, String)> {
    let sequencer = Rpc::new(SEQUENCER.to_owned());
    let mut alice = Wallet::funded(0);
    let nonce = sequencer
        .get("eth_getTransactionCount", json!([alice.address, "latest"]))
        .await;
    alice.nonce = crate::number(&nonce);
    let to = Wallet::funded(1).address;
    let hash = sequencer.sent(&alice.transfer(to, 1_000_000_000_000_000)).await;
    let receipt = sequencer.included(&hash).await;
    let block = crate::number(&receipt["blockNumber"]);
    let after = until("the transaction's unit", || async {
        let unit: Value = verifier.get("rollup_unitOf", json!([block])).await;
        unit.as_u64()
            .ok_or_else(|| format!("block {block} is not derived"))
    })
    .await;
    let Some(unit) = after.checked_sub(start + 1) else {
        bail!("failed to place the transaction: unit {after} is before the slot's start, {start}");
    };
    Ok((unit, block, hash))
}
