//! Transactions a second through JSON-RPC on loopback to inclusion: this sequencer, with batches being posted, and
//! `anvil` under the same load in the same run. Then a minute of steady load.
//!
//! `cargo build --release -p bitsect-node && cargo bench -p bitsect-tests --bench throughput`

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bitsect_tests::load::{ACCOUNTS, Load, prepare, recipient, send_all, sign_all, wait_included};
use bitsect_tests::{Network, NetworkOptions, Rpc, Wallet, number, until};
use serde_json::json;

/// Transactions of each account in a comparison.
const EACH: usize = 200;
/// How long the steady load lasts.
const STEADY: Duration = Duration::from_secs(60);
/// Time between two L1 blocks meanwhile.
const L1_INTERVAL: Duration = Duration::from_secs(5);

/// Sends signed transactions, one connection an account, and waits until all are included; gives transactions a second.
async fn measure(rpc: &Rpc, wallets: &mut [Wallet], load: Load) -> f64 {
    let signed = sign_all(wallets, load, EACH);
    let start = Instant::now();
    send_all(rpc, signed).await;
    wait_included(rpc, wallets).await;
    (ACCOUNTS * EACH) as f64 / start.elapsed().as_secs_f64()
}

struct Anvil(Child, Rpc);

impl Anvil {
    async fn start() -> Self {
        let clients =
            PathBuf::from(std::env::var_os("BITSECT_CLIENTS").expect("BITSECT_CLIENTS: run by make bench"));
        let program = clients.join("@foundry-rs/anvil-linux-amd64/bin/anvil");
        let chain_id = bitsect_node::devnet::CHAIN_ID.to_string();
        let child = Command::new(&program)
            .args([
                "--port",
                "18545",
                "--silent",
                "--chain-id",
                &chain_id,
                "--balance",
                "1000000",
            ])
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

/// Loads the sequencer for a minute while L1 blocks come; gives included transactions a second.
async fn steady(network: &Network, rpc: &Rpc, wallets: &mut [Wallet]) -> f64 {
    let before: u64 = wallets.iter().map(|wallet| wallet.nonce).sum();
    let start = Instant::now();
    let senders: Vec<_> = wallets
        .iter()
        .cloned()
        .enumerate()
        .map(|(account, mut wallet)| {
            let rpc = Rpc::new(rpc.url().to_owned());
            tokio::spawn(async move {
                let mut sent = 0;
                while start.elapsed() < STEADY {
                    let raw = Load::Eth.sign(&mut wallet, recipient(account * 1_000_000 + sent));
                    rpc.send(&raw).await.expect("a valid transaction is taken");
                    sent += 1;
                }
                wallet
            })
        })
        .collect();
    let mut ticks = tokio::time::interval(L1_INTERVAL);
    while start.elapsed() < STEADY {
        ticks.tick().await;
        network.core.mine(1).await.expect("a block is mined");
    }
    let mut after = 0;
    for (index, sender) in senders.into_iter().enumerate() {
        wallets[index] = sender.await.expect("a sender ends well");
        let params = json!([wallets[index].address, "latest"]);
        after += number(&rpc.get("eth_getTransactionCount", params).await);
    }
    (after - before) as f64 / start.elapsed().as_secs_f64()
}

#[tokio::main]
async fn main() {
    let anvil = Anvil::start().await;
    let (mut wallets, token) = prepare(&anvil.1).await;
    let anvil_eth = measure(&anvil.1, &mut wallets, Load::Eth).await;
    let anvil_erc20 = measure(&anvil.1, &mut wallets, Load::Erc20(token)).await;
    drop(anvil);

    let network = Network::start(NetworkOptions::default()).await;
    let sequencer = network.sequencer().await;
    let (mut wallets, token) = prepare(&sequencer.rpc).await;
    let eth = measure(&sequencer.rpc, &mut wallets, Load::Eth).await;
    let erc20 = measure(&sequencer.rpc, &mut wallets, Load::Erc20(token)).await;
    println!("load: {ACCOUNTS} accounts, {EACH} transactions each, signed beforehand");
    println!(
        "ETH transfers     bitsect {eth:8.0} tx/s   anvil {anvil_eth:8.0} tx/s   ratio {:.2}",
        eth / anvil_eth
    );
    println!(
        "ERC-20 transfers  bitsect {erc20:8.0} tx/s   anvil {anvil_erc20:8.0} tx/s   ratio {:.2}",
        erc20 / anvil_erc20
    );
    let rate = steady(&network, &sequencer.rpc, &mut wallets).await;
    let (latest, safe) = (
        sequencer.rpc.height("latest").await,
        sequencer.rpc.height("safe").await,
    );
    println!(
        "steady for {} s, batches being posted: {rate:.0} tx/s; latest {latest}, safe {safe}",
        STEADY.as_secs()
    );
}
