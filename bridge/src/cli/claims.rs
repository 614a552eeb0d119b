//! `claims`: all slots as Bitcoin stands, without a daemon.

use bitcoin::Transaction;
use bitsect_l1::rpc::Client;
use clap::Args;
use eyre::{WrapErr, bail};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::config::Config;
use super::member::{block_at, client, data_dir, read_deployment, read_program};
use super::monitor::Board;
use super::scan::scan;
use crate::daemon::{ReadySlot, Shown, SlotView};
use crate::setup::{Section, ready, verify_outputs};
use crate::slot::{Main, SlotState};

/// Arguments of `claims`.
#[derive(Debug, Args)]
pub(super) struct ClaimsArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Output {
    tip: u32,
    slots: Vec<SlotView>,
    faults: Vec<String>,
}

pub(super) async fn show(args: ClaimsArgs, config: &Config, stop: CancellationToken) -> eyre::Result<()> {
    tokio::select! {
        () = stop.cancelled() => bail!("failed to show the claims: interrupted"),
        output = look(config) => print(&args, &output?),
    }
}

async fn look(config: &Config) -> eyre::Result<Output> {
    let deployment = read_deployment(config)?;
    let (folder, program) = (data_dir(config)?.clone(), read_program(config)?);
    let section = Section::of(&deployment)?;
    let board = Board::new(&deployment, &section);
    let network = deployment.network;
    let slots = tokio::task::spawn_blocking(move || ready(&deployment, &folder, &program));
    let slots = slots.await?.wrap_err("failed to load the slots")?;
    let client = client(config, network).await?;
    let shown = read_chain(&client, &slots, section.start_height).await?;
    // What a claim or a challenge has spent is no fault; the rest of a slot that began is told by its state.
    let bonded: Vec<ReadySlot> = slots
        .iter()
        .zip(&shown.slots)
        .filter(|(_, state)| state.main == Main::Bonded)
        .map(|(slot, _)| slot.clone())
        .collect();
    let faults = verify_outputs(&client, &bonded).await;
    let faults = faults.wrap_err("failed to ask for bonds and stakes")?;
    Ok(Output {
        tip: shown.tip,
        slots: board.views(&slots, &shown),
        faults: faults.iter().map(ToString::to_string).collect(),
    })
}

fn print(args: &ClaimsArgs, output: &Output) -> eyre::Result<()> {
    if args.json {
        println!("{}", serde_json::to_string_pretty(output)?);
        return Ok(());
    }
    println!("Bitcoin at block {}", output.tip);
    output.slots.iter().for_each(|slot| print!("{slot}"));
    output.faults.iter().for_each(|fault| println!("fault: {fault}"));
    Ok(())
}

async fn read_chain(client: &Client, slots: &[ReadySlot], start: u32) -> eyre::Result<Shown> {
    let start = block_at(client, "start_height", start).await?;
    let begin = || -> Vec<SlotState> { slots.iter().map(|slot| SlotState::new(&slot.graph)).collect() };
    let apply = |states: &mut Vec<SlotState>, transaction: &Transaction, height| {
        for (slot, state) in slots.iter().zip(states) {
            state.apply(&slot.graph, transaction, height);
        }
    };
    let (tip, slots) = scan(client, start, begin, apply).await?;
    Ok(Shown {
        tip,
        slots,
        ..Shown::default()
    })
}
