//! The committee's set-up: one slot, whose claim is about the chain's state alone.

use bitcoin::Amount;
use bitsect_bridge::committee::Deployment;
use bitsect_bridge::daemon::ReadySlot;
use bitsect_bridge::setup::ready;
use bitsect_node::devnet::committee::{Member, Terms};
use bitsect_node::devnet::pay;
use eyre::{WrapErr, ensure};
use serde_json::{Value, json};

use super::Stage;

/// What each member gets for bonds, stakes and fees.
const MONEY: Amount = Amount::ONE_BTC;

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
    fn options(self) -> Vec<String> {
        let values = [
            ("--unit-rounds", u16::from(self.unit_rounds)),
            ("--trace-rounds", u16::from(self.trace_rounds)),
            ("--move-timeout-blocks", self.move_timeout_blocks),
            ("--challenge-window-blocks", self.challenge_window_blocks),
        ];
        let options = values.map(|(name, value)| [name.to_owned(), value.to_string()]);
        let no_vault = std::iter::once("--no-vault".to_owned());
        options.into_iter().flatten().chain(no_vault).collect()
    }
}

/// Sets a slot up that starts behind so many units. Somebody has to mine blocks meanwhile.
///
/// # Errors
/// Where a program fails.
pub async fn set_up(stage: &Stage, start: u64, params: GameParams) -> eyre::Result<ReadySlot> {
    let committee = &stage.committee;
    let tip = stage.client.get_blockchain_info().await;
    let start_height = tip.wrap_err("failed to ask Bitcoin Core")?.blocks;
    let outputs = Member::PAIR.map(|member| committee.funding(member, MONEY));
    let outputs = outputs.into_iter().collect::<eyre::Result<_>>()?;
    pay(&stage.client, &stage.devnet, outputs).await?;
    let state: Value = stage.verifier.get("rollup_chainStateAt", json!([start])).await;
    let state = state["chainState"].as_str().unwrap_or_default();
    committee.deploy(&Terms {
        start_height,
        start: (start, state.parse().wrap_err("failed to read the slot's start")?),
        slots: 1,
        options: params.options(),
    })?;
    let path = committee.deployment();
    println!("Deployment {}: setting up the committee", path.display());
    committee.sign().await?;
    println!("All signatures are there.");
    let deployment = Deployment::read(&path).wrap_err("failed to read the deployment")?;
    let program = std::fs::read(committee.program()).wrap_err("failed to read the program")?;
    let folder = committee.data_dir(Member::OPERATOR);
    let slots = tokio::task::spawn_blocking(move || ready(&deployment, &folder, &program)).await?;
    let mut slots = slots.wrap_err("failed to load the slot")?;
    ensure!(
        slots.len() == 1,
        "failed to set up one slot: there are {}",
        slots.len()
    );
    Ok(slots.remove(0))
}
