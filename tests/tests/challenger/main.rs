//! The challenger knows the true chain from Bitcoin alone: the same states and records as a node, runs of units that give
//! the next state, explanations of false claims; kill -9, reorgs and a Bitcoin Core that goes away change nothing.

#[path = "../../../vm/guest/tests/machine/built.rs"]
mod built;
mod explain;
mod process;
mod runs;

use std::sync::Arc;

use alloy_primitives::{Address, B256, U256};
use bitcoin::Amount;
use bitsect_bridge::chain::{Chain, RpcChain};
use bitsect_challenger::config::Layer;
use bitsect_challenger::run::Challenger;
use bitsect_node::engine::EngineStatus;
use bitsect_tests::{Network, NetworkOptions, Node, Wallet, until};
use built::built;
use process::{Watch, command, output};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Transfers that are sent at once, so that blocks have several.
const BURST: u64 = 5;

/// A challenger in this process. Dropping it stops it.
struct Embedded {
    chain: Arc<dyn Chain>,
    engine: watch::Receiver<EngineStatus>,
    stop: DropGuard,
    running: JoinHandle<eyre::Result<()>>,
}

impl Embedded {
    fn start(network: &Network) -> Self {
        let layer = Layer {
            data_dir: Some(network.dir().join("embedded")),
            chain_file: Some(network.chain_path().to_owned()),
            l1_url: Some(network.core.rpc_url()),
            l1_cookie_file: Some(network.core.cookie()),
            guest_file: Some(built()),
            ..Layer::default()
        };
        let challenger = Challenger::open(layer.resolve().expect("a configuration")).expect("it opens");
        let (chain, engine) = (challenger.chain(), challenger.verifier().engine());
        let stop = CancellationToken::new();
        Self {
            chain,
            engine,
            running: tokio::spawn(challenger.run(None, stop.clone())),
            stop: stop.drop_guard(),
        }
    }

    /// Waits until it has derived from Bitcoin's tip.
    async fn synced(&mut self, network: &Network) {
        let tip = network.core.tip().await.expect("Bitcoin has a tip");
        let hash = bitsect_node::convert::block_hash(&tip.hash);
        let reached = self
            .engine
            .wait_for(|engine| engine.l1_hash == hash && engine.l1_synced);
        let reached = tokio::time::timeout(bitsect_tests::PATIENCE, reached).await;
        reached
            .expect("it reaches Bitcoin's tip")
            .expect("the engine runs");
    }

    async fn stop(self) {
        drop(self.stop);
        self.running
            .await
            .expect("it does not panic")
            .expect("it stops in order");
    }
}

/// A chain with L1 blocks, a deposit, blocks of several transfers, and nodes on it.
struct World {
    network: Network,
    sequencer: Node,
    verifier: Node,
    alice: Wallet,
}

impl World {
    async fn start() -> Self {
        let network = Network::start(NetworkOptions {
            block_time_ms: Some(400),
            ..NetworkOptions::default()
        })
        .await;
        let mut world = Self {
            sequencer: network.sequencer().await,
            verifier: network.verifier("verifier").await,
            alice: Wallet::funded(0),
            network,
        };
        world
            .network
            .deposit(Address::repeat_byte(0xde), Amount::from_sat(100_000))
            .await;
        for _ in 0..3 {
            world.burst().await;
        }
        world
    }

    /// Sends transfers at once, and waits until they are on Bitcoin and every node has them from there.
    async fn burst(&mut self) {
        let mut last = String::new();
        for to in 0..BURST {
            // No precompile's address.
            let to = Address::from_word(U256::from(0x1000 + to).into());
            let raw = self.alice.transfer(to, 1);
            last = self.sequencer.rpc.sent(&raw).await;
        }
        self.sequencer.rpc.included(&last).await;
        let latest = self.sequencer.rpc.height("latest").await;
        self.network.mine_until_safe(&self.sequencer.rpc, latest).await;
        self.network.synced(&self.verifier.rpc).await;
    }

    fn rpc_chain(&self) -> RpcChain {
        let guest = std::fs::read(built()).expect("the program is read");
        let params = self.network.chain().params;
        let program = bitsect_guest::params::write(&guest, &params).expect("it takes the parameters");
        RpcChain::new(self.verifier.rpc.url(), Some(program)).expect("a client")
    }
}

/// Compares all states and records.
async fn assert_same(ours: &dyn Chain, theirs: &dyn Chain) -> u64 {
    let units = ours.unit_count().await.expect("a count");
    assert_eq!(units, theirs.unit_count().await.expect("a count"));
    for unit in 0..=units {
        let state = ours.state(unit).await.expect("an answer");
        assert!(state.is_some(), "S_{unit} is missing");
        assert_eq!(state, theirs.state(unit).await.expect("an answer"), "S_{unit}");
        let record = ours.record(unit).await.expect("an answer");
        assert_eq!(record.is_some(), unit < units, "unit {unit}");
        assert_eq!(
            record,
            theirs.record(unit).await.expect("an answer"),
            "unit {unit}"
        );
    }
    for chain in [ours, theirs] {
        assert_eq!(chain.state(units + 1).await, Ok(None));
        assert_eq!(chain.record(units + 1).await, Ok(None));
    }
    units
}

#[tokio::test(flavor = "multi_thread")]
async fn store_and_node_give_the_same_through_a_reorg_and_a_restart() {
    let mut world = World::start().await;
    let mut ours = Embedded::start(&world.network);
    ours.synced(&world.network).await;
    let theirs = world.rpc_chain();
    assert_eq!(ours.chain.program(), theirs.program());
    let before = assert_same(ours.chain.as_ref(), &theirs).await;
    let last = ours.chain.state(before).await.expect("an answer");

    world.network.core.reorg(3, 4).await.expect("a reorg");
    world.network.synced(&world.verifier.rpc).await;
    ours.synced(&world.network).await;
    world.burst().await;
    ours.synced(&world.network).await;
    let units = assert_same(ours.chain.as_ref(), &theirs).await;
    assert!(units >= before);
    assert_ne!(
        ours.chain.state(before).await.expect("an answer"),
        last,
        "unit {before} is another one now"
    );

    ours.stop().await;
    let mut ours = Embedded::start(&world.network);
    ours.synced(&world.network).await;
    assert_eq!(assert_same(ours.chain.as_ref(), &theirs).await, units);
    ours.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_give_the_next_state_and_liars_advice_none() {
    let world = World::start().await;
    let mut ours = Embedded::start(&world.network);
    ours.synced(&world.network).await;
    runs::every_unit(ours.chain.as_ref()).await;
    runs::wrong_advice(ours.chain.as_ref(), &world.rpc_chain()).await;
    ours.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_false_claim_is_explained_down_to_the_transaction() {
    let world = World::start().await;
    let mut ours = Embedded::start(&world.network);
    ours.synced(&world.network).await;
    let params = world.network.chain().params;
    explain::claims(&ours.chain, &params).await;
    explain::transactions(&ours.chain, &params, &world.verifier.rpc).await;
    let units = ours.chain.unit_count().await.expect("a count");
    let wrong = json!({"units": units, "state": B256::repeat_byte(1), "states": {
        (units - 1).to_string(): ours.chain.state(units - 1).await.expect("an answer"),
    }});
    ours.stop().await;

    // The command: over a node, and over the store of a challenger that does not run.
    let file = world.network.dir().join("claim.json");
    std::fs::write(&file, wrong.to_string()).expect("the claim is written");
    let dir = world.network.dir().join("embedded");
    let explain = || {
        let mut command = command(&world.network, "explain", &dir);
        command.arg("--claim").arg(&file);
        command
    };
    let told = output(explain().args(["--json", "--rpc-url", world.verifier.rpc.url()]));
    assert_eq!(
        told.status.code(),
        Some(3),
        "{}",
        String::from_utf8_lossy(&told.stderr)
    );
    let told: serde_json::Value = serde_json::from_slice(&told.stdout).expect("JSON");
    assert_eq!(
        (&told["verdict"], &told["rightUntil"]),
        (&json!("wrong"), &json!(units - 1)),
        "{told}"
    );
    assert_eq!(told["unit"]["unit"], json!(units - 1), "{told}");
    let told = output(&mut explain());
    let text = String::from_utf8_lossy(&told.stdout);
    assert_eq!(
        told.status.code(),
        Some(3),
        "{}",
        String::from_utf8_lossy(&told.stderr)
    );
    assert!(text.contains(&format!("unit     {}:", units - 1)), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_loses_nothing_and_the_status_is_told() {
    let mut world = World::start().await;
    let dir = world.network.dir().join("watch");
    for round in 0..6 {
        // Killed at once, and at ever later moments of derivation.
        let watch = Watch::start(&world.network, &dir, &[]);
        until("some units", || async {
            match watch.listener.status().await {
                Ok(status) if status.units >= 3 * round => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        watch.kill();
        world.burst().await;
    }
    let watch = Watch::start(&world.network, &dir, &[]);
    let status = watch.listener.synced(&world.network).await;
    let theirs = world.rpc_chain();
    assert_eq!(status.units, theirs.unit_count().await.expect("a count"));
    assert_eq!(watch.listener.get("readyz").await.expect("an answer").0, 200);
    assert_eq!(watch.listener.get("healthz").await.expect("an answer").0, 200);
    let (_, metrics) = watch.listener.get("metrics").await.expect("an answer");
    assert!(
        metrics.contains(&format!("bitsect_units {}", status.units)),
        "{metrics}"
    );
    let mut asked = std::process::Command::new(bitsect_tests::program("bitsect-challenger"));
    let told = output(asked.args(["status", "--metrics-listen", watch.listener.address()]));
    let text = String::from_utf8_lossy(&told.stdout);
    assert!(
        text.contains("following  yes") && text.contains(&status.units.to_string()),
        "{text}"
    );
    // The store is in use: explain says what to do.
    let file = world.network.dir().join("claim.json");
    let state = theirs.state(status.units).await.expect("an answer");
    std::fs::write(&file, json!({"units": status.units, "state": state}).to_string()).expect("it is written");
    let explain = || output(command(&world.network, "explain", &dir).arg("--claim").arg(&file));
    let told = explain();
    let text = String::from_utf8_lossy(&told.stderr);
    assert!(
        told.status.code() == Some(1) && text.contains("--rpc-url"),
        "{text}"
    );
    watch.kill();
    let told = explain();
    assert_eq!(
        told.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&told.stderr)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_is_raised_when_bitcoin_is_gone() {
    let mut network = Network::start(NetworkOptions::default()).await;
    network.core.mine(1).await.expect("a block is mined");
    let events = network.dir().join("events");
    let command = format!("cat >>{}", events.display());
    let dir = network.dir().join("watch");
    let options = ["--alarm-after-seconds", "1", "--alarm-command", &command];
    let watch = Watch::start(&network, &dir, &options);
    watch.listener.synced(&network).await;
    assert!(!events.exists());
    network.core.stop().await.expect("Bitcoin Core stops");
    let raised = |kind: &'static str| {
        let events = events.clone();
        async move {
            until("an alarm", || async {
                let text = std::fs::read_to_string(&events).unwrap_or_default();
                if text.contains(&format!("{{\"event\":\"{kind}\"")) {
                    Ok(())
                } else {
                    Err(text)
                }
            })
            .await;
        }
    };
    raised("not-following").await;
    let status = watch.listener.status().await.expect("a status");
    assert_eq!(status.l1_tip, None);
    assert_eq!(status.last_alarm.expect("an alarm")["event"], "not-following");
    assert_eq!(watch.listener.get("readyz").await.expect("an answer").0, 503);
    network.core.restart().await.expect("Bitcoin Core starts again");
    raised("following").await;
}
