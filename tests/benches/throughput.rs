//! Transactions a second through JSON-RPC on loopback to inclusion: this sequencer, with batches being posted, and
//! `anvil` under the same load in the same run. Then a minute of steady load.
//!
//! `cargo build --release -p bitsect-node && cargo bench -p bitsect-tests --bench throughput`

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bitsect_tests::load::{ACCOUNTS, Load, prepare, send_all, sign_all, wait_included};
use bitsect_tests::{Network, NetworkOptions, Rpc, Wallet, until};
use serde_json::json;

/// Rounds of a comparison.
const ROUNDS: usize = 4;
/// Transactions of each account in a round.
const EACH: usize = 200;
/// How long the steady load lasts.
const STEADY: Duration = Duration::from_secs(60);
/// Transactions of an account that are signed for it.
const MOST_STEADY: usize = 12_000;
/// Time between two L1 blocks meanwhile.
const L1_INTERVAL: Duration = Duration::from_secs(5);

/// Sends signed transactions, one connection an account, and waits until all are included; gives the time.
async fn measure(rpc: &Rpc, wallets: &mut [Wallet], load: Load) -> Duration {
    let signed = sign_all(wallets, load, EACH);
    let start = Instant::now();
    send_all(rpc, signed).await;
    wait_included(rpc, wallets).await;
    start.elapsed()
}

struct Anvil(Child, Rpc);

impl Anvil {
    async fn start(options: &[&str]) -> Self {
        let clients =
            PathBuf::from(std::env::var_os("BITSECT_CLIENTS").expect("BITSECT_CLIENTS: run by make bench"));
        let program = clients.join("@foundry-rs/anvil-linux-amd64/bin/anvil");
        let chain_id = bitsect_node::devnet::CHAIN_ID.to_string();
        let child = Command::new(&program)
            .args(["--port", "18545", "--silent", "--prune-history"])
            .args(["--chain-id", &chain_id, "--balance", "1000000"])
            .args(options)
            .stdout(Stdio::null())
            .spawn()
            .expect("anvil starts");
        let rpc = Rpc::new("http://127.0.0.1:18545".into());
        until("anvil", || async {
            rpc.call("eth_chainId", json!([]))
                .await
                .map_err(|fault| fault.to_string())
        })
        .await;
        Self(child, rpc)
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Loads the sequencer for a minute with transactions signed beforehand, while L1 blocks come; gives included
/// transactions a second.
async fn steady(network: &Network, rpc: &Rpc, wallets: &mut [Wallet]) -> f64 {
    let before: u64 = wallets.iter().map(|wallet| wallet.nonce).sum();
    let signed = sign_all(wallets, Load::Eth, MOST_STEADY);
    let start = Instant::now();
    let senders: Vec<_> = signed
        .into_iter()
        .map(|transactions| {
            let rpc = Rpc::new(rpc.url().to_owned());
            tokio::spawn(async move {
                for (count, raw) in transactions.iter().enumerate() {
                    if start.elapsed() >= STEADY {
                        return count;
                    }
                    rpc.sent(raw).await;
                }
                panic!("{MOST_STEADY} transactions of an account are too few for the time");
            })
        })
        .collect();
    let mut ticks = tokio::time::interval(L1_INTERVAL);
    while start.elapsed() < STEADY {
        ticks.tick().await;
        network.core.mine(1).await.expect("a block is mined");
    }
    for (wallet, sender) in wallets.iter_mut().zip(senders) {
        let sent = sender.await.expect("a sender ends well");
        wallet.nonce -= (MOST_STEADY - sent) as u64;
    }
    wait_included(rpc, wallets).await;
    let after: u64 = wallets.iter().map(|wallet| wallet.nonce).sum();
    (after - before) as f64 / start.elapsed().as_secs_f64()
}

#[tokio::main]
async fn main() {
    // A block for each transaction, as it is by default, gets slower with every transaction that waits: a load of this
    // size takes minutes. With blocks each second and room for everything in one, anvil is at its best.
    let anvil = Anvil::start(&["--block-time", "1", "--gas-limit", "3000000000"]).await;
    let network = Network::start(NetworkOptions {
        block_time_ms: Some(150),
        ..NetworkOptions::default()
    })
    .await;
    let sequencer = network.sequencer().await;
    let (mut theirs, their_token) = prepare(&anvil.1).await;
    let (mut ours, our_token) = prepare(&sequencer.rpc).await;
    println!("{ROUNDS} rounds in turn: {ACCOUNTS} accounts, {EACH} transactions each, signed beforehand");
    for (name, their_load, our_load) in [
        ("ETH transfers", Load::Eth, Load::Eth),
        (
            "ERC-20 transfers",
            Load::Erc20(their_token),
            Load::Erc20(our_token),
        ),
    ] {
        let (mut their_time, mut our_time) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..ROUNDS {
            their_time += measure(&anvil.1, &mut theirs, their_load).await;
            our_time += measure(&sequencer.rpc, &mut ours, our_load).await;
        }
        let rate = |time: Duration| (ROUNDS * ACCOUNTS * EACH) as f64 / time.as_secs_f64();
        println!(
            "{name:17} bitsect {:6.0} tx/s   anvil {:6.0} tx/s   ratio {:.2}",
            rate(our_time),
            rate(their_time),
            rate(our_time) / rate(their_time)
        );
    }
    drop(anvil);
    let rate = steady(&network, &sequencer.rpc, &mut ours).await;
    let (latest, safe) = (
        sequencer.rpc.height("latest").await,
        sequencer.rpc.height("safe").await,
    );
    println!(
        "steady for {} s, batches being posted: {rate:.0} tx/s; latest {latest}, safe {safe}",
        STEADY.as_secs()
    );
}
