//! The committee's set-up, by the programs that members run.

use std::process::Command;

use bitcoin::{Address, Amount, TxOut};
use bitsect_bridge::committee::Deployment;
use bitsect_bridge::daemon::ReadySlot;
use bitsect_bridge::setup::ready;
use bitsect_l1::BlockRef;
use bitsect_node::devnet::USER_DIR;
use bitsect_node::purse::Purse;
use eyre::{WrapErr, ensure};
use serde_json::{Value, json};

use super::{Running, Stage};
use crate::node::find_program;
use crate::until;

/// The members: name, role, port.
const MEMBERS: [(&str, &str, u16); 2] = [("operator", "operator", 9650), ("challenger", "challenger", 9651)];
/// What each gets for bonds, stakes and fees.
const MONEY: Amount = Amount::from_sat(100_000_000);
/// How deep searches are, and how long moves may take.
#[derive(Clone, Copy, Debug)]
pub struct GameParams {
    /// Rounds of the search for the unit, of 4 units each.
    pub unit_rounds: u8,
    /// Rounds of the search for the step, of 4 steps each.
    pub trace_rounds: u8,
    /// Blocks for a move.
    pub move_timeout_blocks: u16,
    /// Blocks within which a claim is challenged.
    pub challenge_window_blocks: u16,
}

impl GameParams {
    fn args(self) -> Vec<String> {
        let values = [
            ("--unit-rounds", u16::from(self.unit_rounds)),
            ("--trace-rounds", u16::from(self.trace_rounds)),
            ("--move-timeout-blocks", self.move_timeout_blocks),
            ("--challenge-window-blocks", self.challenge_window_blocks),
        ];
        let args = values.map(|(name, value)| [name.to_owned(), value.to_string()]);
        args.into_iter().flatten().collect()
    }
}

/// Sets a slot up that starts behind so many units. Somebody has to mine blocks meanwhile.
///
/// # Errors
/// Where a program fails.
pub async fn set_up(stage: &Stage, start: u64, params: GameParams) -> eyre::Result<ReadySlot> {
    let tip = stage.client.get_blockchain_info().await;
    let height = tip.wrap_err("failed to ask Bitcoin Core")?.blocks;
    let members = members(stage)?;
    fund(stage).await?;
    let state: Value = stage.verifier.get("rollup_chainStateAt", json!([start])).await;
    let state = state["chainState"].as_str().unwrap_or_default();
    let slot = format!("operator:{start}:{state}");
    let (height, chain) = (height.to_string(), stage.chain_file.display().to_string());
    let mut args = vec!["deployment", "--network", "regtest", "--slot", &slot];
    args.extend(["--chain-file", &chain, "--start-height", &height]);
    let params = params.args();
    args.extend(params.iter().map(String::as_str));
    args.extend(members.iter().flat_map(|path| ["--members", path.as_str()]));
    let text = bridge(stage, "operator", &args)?;
    std::fs::write(stage.deployment(), text).wrap_err("failed to write the deployment")?;
    println!(
        "Deployment {}: setting up the committee",
        stage.deployment().display()
    );
    sign(stage).await?;
    let deployment = Deployment::read(&stage.deployment()).wrap_err("failed to read the deployment")?;
    let program = std::fs::read(&stage.program).wrap_err("failed to read the program")?;
    let folder = stage.member("operator");
    let slots = tokio::task::spawn_blocking(move || ready(&deployment, &folder, &program)).await?;
    let mut slots = slots.wrap_err("failed to load the slot")?;
    ensure!(
        slots.len() == 1,
        "failed to set up one slot: there are {}",
        slots.len()
    );
    Ok(slots.remove(0))
}

/// Makes the members' keys, and gives the files with what the others need to know.
fn members(stage: &Stage) -> eyre::Result<Vec<String>> {
    let mut entries = Vec::new();
    for (name, role, port) in MEMBERS {
        let url = format!("http://127.0.0.1:{port}");
        let mut args = vec!["committee", "keygen", "--name", name];
        args.extend(["--role", role, "--url", &url]);
        let entry = bridge(stage, name, &args)?;
        let path = stage.folder.join(format!("{name}.toml"));
        std::fs::write(&path, entry).wrap_err("failed to write a member's entry")?;
        entries.push(path.display().to_string());
    }
    Ok(entries)
}

/// Runs a command of a member's, and gives what it prints.
fn bridge(stage: &Stage, name: &str, args: &[&str]) -> eyre::Result<String> {
    let output = command(stage, name)?
        .args(args)
        .output()
        .wrap_err("failed to run bitsect-bridge")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "failed to run {args:?}: {errors}");
    String::from_utf8(output.stdout).wrap_err("failed to read what bitsect-bridge prints")
}

fn command(stage: &Stage, name: &str) -> eyre::Result<Command> {
    let mut command = Command::new(find_program("bitsect-bridge")?);
    command
        .arg("--key")
        .arg(stage.key(name))
        .arg("--data-dir")
        .arg(stage.member(name));
    command
        .arg("--program")
        .arg(&stage.program)
        .arg("--deployment")
        .arg(stage.deployment());
    command
        .args(["--l1-url", &stage.l1_url])
        .arg("--l1-cookie-file")
        .arg(&stage.cookie);
    command.args(["--confirmations-blocks", "2"]);
    Ok(command)
}

/// Pays the members' wallets.
async fn fund(stage: &Stage) -> eyre::Result<()> {
    let mut outputs = Vec::new();
    for (name, ..) in MEMBERS {
        let address = bridge(stage, name, &["address", "--network", "regtest"])?;
        let address: Address<bitcoin::address::NetworkUnchecked> =
            address.trim().parse().wrap_err("failed to read an address")?;
        outputs.push(TxOut {
            value: MONEY,
            script_pubkey: address.assume_checked().script_pubkey(),
        });
    }
    let folder = stage.devnet.join(USER_DIR);
    let network = bitcoin::Network::Regtest;
    let genesis = bitcoin::constants::genesis_block(network).block_hash();
    let first = BlockRef::new(0, genesis);
    let purse = Purse::open(
        stage.client.clone(),
        network,
        &folder,
        &folder.join("user.key"),
        first,
    )?;
    purse.sync().await?;
    let paid = purse.pay(outputs, vec![], |_| Ok(())).await?;
    let first = bitcoin::OutPoint::new(paid.compute_txid(), 0);
    until("the members' money", || async {
        // What is confirmed, and not what is in the mempool.
        let found = stage.client.get_tx_out(&first, false).await;
        let found = found.map_err(|error| error.to_string())?;
        found.map(drop).ok_or_else(|| "it is not confirmed".to_owned())
    })
    .await;
    Ok(())
}

/// Runs the members' daemons until all signatures are there.
async fn sign(stage: &Stage) -> eyre::Result<()> {
    let mut members = Vec::new();
    for (name, _, port) in MEMBERS {
        let mut member = command(stage, name)?;
        member.args([
            "--committee-listen",
            &format!("127.0.0.1:{port}"),
            "committee",
            "run",
            "--json",
        ]);
        member.stdout(stage.log(&format!("{name}-committee"))?);
        member.stderr(stage.log(&format!("{name}-committee"))?);
        members.push(Running::start(member).wrap_err("failed to start a member")?);
    }
    until("the committee's signatures", || async {
        for (name, ..) in MEMBERS {
            let log = std::fs::read_to_string(stage.folder.join(format!("{name}-committee.log")));
            let log = log.map_err(|error| error.to_string())?;
            let last = log
                .lines()
                .rev()
                .find(|line| line.starts_with('{'))
                .unwrap_or("{}");
            let progress: Value = serde_json::from_str(last).map_err(|error| error.to_string())?;
            // The others may still want its signatures.
            if progress["members_complete"] != json!(MEMBERS.len()) {
                return Err(format!("{name}: {last}"));
            }
        }
        Ok(())
    })
    .await;
    println!("All signatures are there.");
    drop(members);
    Ok(())
}
