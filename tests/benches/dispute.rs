//! A whole dispute on regtest about a full block, blocks mined as soon as a move waits for one: its time, and what the
//! challenger's process takes of processor and memory, idle and disputing.
//!
//! Operator and challenger have as many moves as 2^24 units of 2^40 steps ask for. All but the lie is the product's own programs.
//!
//! `cargo build --release --workspace --bins && cargo bench -p bitsect-tests --bench dispute`

#[path = "../../vm/guest/tests/machine/built.rs"]
mod built;

use std::time::{Duration, Instant};

use bitsect_bridge::daemon::{ReadySlot, Shown};
use bitsect_bridge::slot::{Main, SlotState};
use bitsect_node::devnet::program::Running;
use bitsect_tests::fraud::{GameParams, Stage, Where, set_up, start_liar};
use bitsect_tests::load::{ACCOUNTS, Load, prepare, send_all, sign_all, wait_included};
use bitsect_tests::{ChallengerListener, Network, NetworkOptions, Node, number, until};
use serde_json::json;
use tokio::sync::watch;

/// Searches over 2^24 units of 2^40 steps.
const PARAMS: GameParams = GameParams {
    unit_rounds: 12,
    trace_rounds: 20,
    move_timeout_blocks: 100,
    challenge_window_blocks: 200,
};
/// Transfers of each account: about 30 million gas in all.
const EACH: usize = 28;
/// The gas of the block that is disputed, at least.
const LEAST_GAS: u64 = 28_000_000;
/// Units before and behind the disputed one in the claim.
const AROUND: u64 = 3;
/// Blocks during which the challenger has nothing to do, one a second.
const IDLE_BLOCKS: u32 = 30;
/// The pause between two looks at the mempool.
const LOOK: Duration = Duration::from_millis(10);

/// What a process has taken.
#[derive(Clone, Copy)]
struct Usage {
    processor: Duration,
    /// MiB, now and at most.
    memory: (f64, f64),
}

impl Usage {
    fn of(process: &Running) -> Self {
        let read = |file| std::fs::read_to_string(format!("/proc/{}/{file}", process.id()));
        let stat = read("stat").expect("the process runs");
        // Behind the name in parentheses: user and system time, in ticks.
        let (_, fields) = stat.rsplit_once(')').expect("a name");
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.map(|ticks| ticks.parse::<u64>().expect("ticks")).sum();
        let status = read("status").expect("the process runs");
        let memory = |name| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.split_whitespace().next());
            kib.and_then(|kib| kib.parse::<f64>().ok()).expect("KiB") / 1024.0
        };
        Self {
            processor: Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64),
            memory: (memory("VmRSS:"), memory("VmHWM:")),
        }
    }
}

/// Makes a full block among others, and gives its number and gas.
async fn full_block(network: &Network, sequencer: &Node) -> (u64, u64) {
    let rpc = &sequencer.rpc;
    let (mut wallets, _) = prepare(rpc).await;
    let before = rpc.height("latest").await;
    let signed = sign_all(&mut wallets, Load::Eth, EACH);
    send_all(rpc, signed).await;
    wait_included(rpc, &wallets).await;
    let last = rpc.height("latest").await;
    let mut fullest = (0, 0);
    for height in before + 1..=last {
        let gas = number(&rpc.block(height).await["gasUsed"]);
        if gas > fullest.1 {
            fullest = (height, gas);
        }
    }
    assert!(
        fullest.1 > LEAST_GAS,
        "{} transfers went into several blocks, of {} gas at most",
        ACCOUNTS * EACH,
        fullest.1
    );
    until("blocks behind it", || async {
        let height = rpc.height("latest").await;
        let behind = height.saturating_sub(last);
        if behind > AROUND {
            Ok(())
        } else {
            Err(height.to_string())
        }
    })
    .await;
    network.mine_until_safe(rpc, last + AROUND).await;
    fullest
}

/// Sets a slot up while blocks come, and gives it with the unit in it that executes the block.
async fn slot(network: &Network, stage: &Stage, block: u64) -> (ReadySlot, u64) {
    let unit = stage.verifier.get("rollup_unitOf", json!([block])).await;
    let unit = unit.as_u64().expect("the block is derived") - 1;
    let setting_up = set_up(stage, unit - AROUND, PARAMS);
    tokio::pin!(setting_up);
    let mut ticks = tokio::time::interval(Duration::from_millis(300));
    loop {
        tokio::select! {
            slot = &mut setting_up => return (slot.expect("a slot"), AROUND),
            _ = ticks.tick() => { network.core.mine(1).await.expect("a block is mined"); }
        }
    }
}

async fn idle(network: &Network, (challenger, listener): (&Running, &str)) {
    let listener = ChallengerListener::new(listener);
    listener.synced(network).await;
    let before = Usage::of(challenger);
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    for _ in 0..IDLE_BLOCKS {
        ticks.tick().await;
        network.core.mine(1).await.expect("a block is mined");
    }
    listener.synced(network).await;
    let after = Usage::of(challenger);
    let took = after.processor.saturating_sub(before.processor) / IDLE_BLOCKS;
    println!(
        "challenger, idle: {took:.1?} of a processor for a bitcoin block, {:.0} MiB",
        after.memory.0
    );
}

/// Mines a block as soon as a transaction waits for it, until the claim is over.
async fn play(network: &Network, shown: &mut watch::Receiver<Shown>) -> SlotState {
    let client = network.core.client();
    loop {
        let state = shown.borrow_and_update().slots.first().cloned();
        match state {
            Some(state) if !matches!(state.main, Main::Bonded | Main::Claimed) => return state,
            _ => {}
        }
        let waiting = client.get_raw_mempool().await.expect("Bitcoin Core answers");
        if waiting.is_empty() {
            tokio::time::sleep(LOOK).await;
        } else {
            network.core.mine(1).await.expect("a block is mined");
        }
    }
}

#[tokio::main]
async fn main() {
    let network = Network::start(NetworkOptions {
        // Long enough that all transfers come in meanwhile.
        block_time_ms: Some(5_000),
        ..NetworkOptions::default()
    })
    .await;
    let sequencer = network.sequencer().await;
    let (block, gas) = full_block(&network, &sequencer).await;
    let node = network.verifier("verifier").await;
    network.synced(&node.rpc).await;
    drop(sequencer);
    let stage = Stage::open(
        network.dir(),
        network.chain_path(),
        node.rpc.url(),
        &built::built(),
    )
    .expect("a folder for the members");
    let (slot, unit) = slot(&network, &stage, block).await;
    let challenger = stage.start_challenger().expect("the challenger starts");
    idle(&network, (&challenger, &stage.challenger())).await;

    let before = (
        Usage::of(&challenger),
        network.core.tip().await.expect("a tip").height,
    );
    let count = u32::try_from(2 * AROUND).expect("few units");
    let mut operator = start_liar(&stage, slot, (count, unit), Where::Middle)
        .await
        .expect("a claim");
    let started = Instant::now();
    let state = play(&network, &mut operator.shown).await;
    let took = started.elapsed();
    assert!(matches!(state.main, Main::Slashed { .. }), "{:?}", state.main);
    let after = (
        Usage::of(&challenger),
        network.core.tip().await.expect("a tip").height,
    );
    println!(
        "a dispute over a unit of {:.1} M gas: {} transactions, {} blocks, {took:.1?} with blocks on demand",
        gas as f64 / 1e6,
        state.moves.len(),
        after.1 - before.1
    );
    println!(
        "challenger, disputing: {:.1?} of a processor, {:.0} MiB at most",
        after.0.processor.saturating_sub(before.0.processor),
        after.0.memory.1
    );
    operator.task.abort();
}
