//! The committee's set-up, by the programs that members run.

use std::process::{Command, Stdio};

use bitcoin::{Address, Amount, TxOut};
use bitsect_bridge::committee::Deployment;
use bitsect_bridge::daemon::ReadySlot;
use bitsect_bridge::setup::ready;
use bitsect_l1::BlockRef;
use bitsect_node::devnet::USER_DIR;
use bitsect_node::purse::Purse;
use eyre::{WrapErr, ensure};
use serde_json::{Value, json};

use super::{Running, Stage, binary};
use crate::{Rpc, until};

/// The members: name, role, port.
const MEMBERS: [(&str, &str, u16); 2] = [("operator", "operator", 9650), ("challenger", "challenger", 9651)];
/// What each gets for bonds, stakes and fees.
const MONEY: Amount = Amount::from_sat(100_000_000);
/// Searches that are deep enough for a devnet's units, and times that a person can wait for.
const PARAMS: [(&str, &str); 4] = [
    ("--unit-rounds", "4"),
    ("--trace-rounds", "13"),
    ("--move-timeout-blocks", "30"),
    ("--challenge-window-blocks", "60"),
];

/// Sets a slot up that starts behind so many units.
pub(super) async fn set_up(stage: &Stage, verifier: &Rpc, start: u64) -> eyre::Result<ReadySlot> {
    let tip = stage
        .client
        .get_blockchain_info()
        .await
        .wrap_err("failed to ask Bitcoin Core")?;
    let height = tip.blocks;
    let mut entries = Vec::new();
    for (name, role, port) in MEMBERS {
        let url = format!("http://127.0.0.1:{port}");
        let entry = bridge(
            stage,
            name,
            &[
                "committee",
                "keygen",
                "--name",
                name,
                "--role",
                role,
                "--url",
                &url,
            ],
        )?;
        let path = stage.folder.join(format!("{name}.toml"));
        std::fs::write(&path, entry).wrap_err("failed to write a member's entry")?;
        entries.push(path);
    }
    fund(stage).await?;
    let state: Value = verifier.get("rollup_chainStateAt", json!([start])).await;
    let state = state["chainState"].as_str().unwrap_or_default();
    let slot = format!("operator:{start}:{state}");
    let (height, chain) = (height.to_string(), stage.chain_file().display().to_string());
    let mut args = vec![
        "deployment",
        "--network",
        "regtest",
        "--chain-file",
        &chain,
        "--start-height",
        &height,
    ];
    args.extend(["--slot", &slot]);
    args.extend(PARAMS.iter().flat_map(|(name, value)| [*name, *value]));
    let paths: Vec<String> = entries.iter().map(|path| path.display().to_string()).collect();
    args.extend(paths.iter().flat_map(|path| ["--members", path.as_str()]));
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
    let mut command = Command::new(binary("bitsect-bridge")?);
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
    command.args(["--confirmations-blocks", "2"]).stdin(Stdio::null());
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
        let member = member.stdout(stage.log(&format!("{name}-committee"))?);
        let member = member.stderr(stage.log(&format!("{name}-committee"))?).spawn();
        members.push(member.map(Running).wrap_err("failed to start a member")?);
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
