//! A chain with some units, and the daemons of a slot on it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use bitcoin::{Amount, Network as BitcoinNetwork, TxOut};
use bitsect_bridge::chain::{Chain, RpcChain, Runner, RunnerConfig};
use bitsect_bridge::daemon::{
    Challenger, Core, CoreConfig, Daemon, DaemonStore, FeeOutputs, Honest, Knowledge, Operator, Party,
    Prover, ReadySlot, Shown,
};
use bitsect_bridge::leaf::Program;
use bitsect_bridge::params::{Params, Rounds};
use bitsect_bridge::slot::{Hand, Main, SlotState};
use bitsect_judge::step::cut;
use bitsect_l1::BlockRef;
use bitsect_l1::carrier::CarrierConfig;
use bitsect_l1::follower::FollowerConfig;
use bitsect_l1::wallet::{Keys, Wallet};
use bitsect_node::devnet::USER_DIR;
use bitsect_node::purse::Purse;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::liar::Liar;
use super::parties::{DEPLOYMENT, Parties, Side, folder};
use super::stubborn::Stubborn;
use crate::{Network, NetworkOptions, Node, until};

/// Units before the slot's start.
const START_UNIT: u64 = 4;
/// L2 blocks that the chain has at least.
const BLOCKS: u64 = 12;
/// What each side's wallet gets for fees.
const FEE_MONEY: Amount = Amount::from_sat(2_000_000);
/// Outputs that pay for moves.
const FEES: FeeOutputs = FeeOutputs {
    count: 3,
    value: Amount::from_sat(100_000),
};
/// Blocks that a game may take until a test gives up.
const LONGEST: u32 = 400;

/// What the operator claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The truth after so many units.
    True(u32),
    /// A lie about the state after so many units.
    False(u32, Liar),
}

/// A chain, a slot on it, and its parties' daemons.
pub struct Arena {
    /// Bitcoin Core and the chain.
    pub network: Network,
    /// The node whose chain both sides know.
    pub node: Node,
    /// The parties.
    pub parties: Parties,
    /// The slot.
    pub slot: ReadySlot,
    /// A block before the slot's outputs.
    pub start: BlockRef,
    chain: Arc<dyn Chain>,
    runner: Runner,
    running: HashMap<Side, Running>,
}

struct Running {
    shown: watch::Receiver<Shown>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Parameters of a short game over real units.
pub const fn params(rounds: Rounds) -> Params {
    Params {
        rounds,
        move_timeout_blocks: 5,
        challenge_window_blocks: 8,
        dispute_window_blocks: 8 + 5 * 2 * 26,
        bond_sats: 2_000_000,
        stake_sats: 200_000,
        reward_sats: 500_000,
        verdict_fee_sats: 100_000,
    }
}

/// Searches that are as deep as small units need: 16 units, and 4 million steps.
pub const ROUNDS: Rounds = Rounds { units: 2, trace: 11 };

impl Arena {
    /// Makes a chain of some units, and a slot with so many challengers. `guest` is the program as `.ci/guest` builds it.
    ///
    /// # Panics
    /// When anything fails.
    pub async fn start(guest: PathBuf, challengers: usize, params: Params) -> Self {
        log();
        let network = Network::start(NetworkOptions::default()).await;
        let sequencer = network.sequencer().await;
        until("blocks", || async {
            let height = sequencer.rpc.height("latest").await;
            if height >= BLOCKS {
                Ok(())
            } else {
                Err(height.to_string())
            }
        })
        .await;
        network.mine_until_safe(&sequencer.rpc, BLOCKS).await;
        let node = network.verifier("verifier").await;
        network.synced(&node.rpc).await;
        sequencer.kill();
        let guest = std::fs::read(guest).expect("the program is read");
        let elf = bitsect_guest::params::write(&guest, &network.chain().params)
            .expect("the program takes the parameters");
        let program = Program::new(&elf).expect("a program");
        let runner = Runner::new(&elf, RunnerConfig::default()).expect("a program");
        let chain = RpcChain::new(node.rpc.url(), Some(elf)).expect("a client");
        let chain: Arc<dyn Chain> = Arc::new(chain);
        let parties = Parties::new(challengers);
        let start = network.core.tip().await.expect("a tip");
        let purse = purse(&network).await;
        let state = chain
            .state(START_UNIT)
            .await
            .expect("the node answers")
            .expect("units are done");
        let slot = parties
            .set_up(&purse, params, cut(&state), START_UNIT, &program)
            .await;
        let mut arena = Self {
            network,
            node,
            parties,
            slot,
            chain,
            runner,
            start,
            running: HashMap::new(),
        };
        let sides = (0..challengers).map(Side::Challenger).chain([Side::Operator]);
        arena.pay_fees(&purse, sides.collect()).await;
        arena
    }

    async fn pay_fees(&mut self, purse: &Purse, sides: Vec<Side>) {
        let outputs = sides.into_iter().map(|side| {
            let address = self.wallet(side).receive_address().expect("an address");
            TxOut {
                value: FEE_MONEY,
                script_pubkey: address.script_pubkey(),
            }
        });
        let outputs = outputs.collect();
        purse
            .pay(outputs, vec![], |_| Ok(()))
            .await
            .expect("fees are paid");
        self.network.core.mine(1).await.expect("a block is mined");
        self.network.synced(&self.node.rpc).await;
    }

    /// The folder of a side.
    pub fn folder(&self, side: Side) -> PathBuf {
        folder(self.network.dir(), side)
    }

    fn wallet(&self, side: Side) -> Arc<Wallet> {
        let folder = self.folder(side);
        std::fs::create_dir_all(&folder).expect("a folder");
        let network = BitcoinNetwork::Regtest;
        let keys = Keys::read_or_generate(&folder.join("wallet.key"), network.into()).expect("a key");
        let wallet = Wallet::open(&folder.join("wallet.redb"), keys, network, self.start);
        Arc::new(wallet.expect("a wallet"))
    }

    fn open(&self, side: Side) -> (Core, DaemonStore) {
        let config = CoreConfig {
            client: self.network.core.client().clone(),
            follower: FollowerConfig::default(),
            carrier: CarrierConfig::default(),
            start: self.start,
        };
        let slots = vec![self.slot.clone()];
        Core::open(&self.folder(side), config, DEPLOYMENT, slots, self.wallet(side))
            .expect("the daemon's files")
    }

    fn knowledge(&self) -> Knowledge {
        Knowledge::new(self.chain.clone(), self.runner.clone(), self.slot.start_unit)
    }

    /// Starts the operator with its claim, or starts it again.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn operator(&mut self, claim: &Claim) {
        let (core, store) = self.open(Side::Operator);
        let hand = Hand::new(
            self.parties.seed(Side::Operator),
            self.parties.key(Side::Operator),
            store,
        );
        match claim {
            Claim::True(count) => {
                let state = self.chain.state(self.slot.start_unit + u64::from(*count)).await;
                let state = cut(&state.expect("the node answers").expect("the unit is done"));
                self.run_operator(core, Operator::new(hand, DEPLOYMENT, Honest), (*count, state));
            }
            Claim::False(count, liar) => {
                let state = Liar::state(u64::from(*count));
                self.run_operator(
                    core,
                    Operator::new(hand, DEPLOYMENT, liar.clone()),
                    (*count, state),
                );
            }
        }
    }

    fn run_operator<P: Prover + Sync>(
        &mut self,
        mut core: Core,
        mut operator: Operator<P>,
        (count, state): (u32, [u8; 24]),
    ) {
        if core.state(0).main == Main::Bonded {
            let deadline = core.tip() + 100;
            operator
                .claim(&mut core, 0, count, &state, deadline)
                .expect("a claim");
        }
        self.run(Side::Operator, core, operator);
    }

    /// Starts a challenger, or starts it again.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn challenger(&mut self, pair: usize) {
        let side = Side::Challenger(pair);
        let (core, store) = self.open(side);
        let hand = Hand::new(self.parties.seed(side), self.parties.key(side), store);
        self.run(side, core, Challenger::new(hand, DEPLOYMENT, vec![Some(pair)]));
    }

    /// Starts a challenger that challenges whatever is claimed, and then is silent.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn stubborn_challenger(&mut self, pair: usize) {
        let side = Side::Challenger(pair);
        let (core, _) = self.open(side);
        let key = self.parties.key(side);
        self.run(side, core, Stubborn { pair, key });
    }

    /// Deletes what a challenger has stored; its keys are kept.
    ///
    /// # Panics
    /// Where it runs, or a file cannot be deleted.
    pub fn forget(&self, side: Side) {
        assert!(!self.running.contains_key(&side), "{side:?} runs");
        for file in ["daemon.redb", "carrier.redb", "splits.redb", "wallet.redb"] {
            std::fs::remove_file(self.folder(side).join(file)).expect("a file is deleted");
        }
    }

    fn run<P: Party + 'static>(&mut self, side: Side, core: Core, party: P) {
        let (sender, shown) = watch::channel(Shown::default());
        let mut daemon = Daemon {
            party,
            core,
            knowledge: vec![self.knowledge()],
            fees: FEES,
            shown: sender,
        };
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            daemon
                .run(&stopped)
                .await
                .unwrap_or_else(|error| panic!("{side:?}: {error}"));
        });
        let running = Running { shown, stop, task };
        assert!(
            self.running.insert(side, running).is_none(),
            "{side:?} runs already"
        );
    }

    /// Ends a daemon, as if it were killed: what it has not stored is lost.
    ///
    /// # Panics
    /// Where it failed before.
    pub async fn kill(&mut self, side: Side) {
        let running = self.running.remove(&side).expect("it runs");
        running.task.abort();
        if let Err(error) = running.task.await {
            assert!(error.is_cancelled(), "{side:?} failed: {error}");
        }
    }

    /// Ends all daemons.
    ///
    /// # Panics
    /// Where one failed.
    pub async fn stop(&mut self) {
        for (side, running) in self.running.drain() {
            running.stop.cancel();
            running
                .task
                .await
                .unwrap_or_else(|error| panic!("{side:?}: {error}"));
        }
    }

    /// The slot as a side sees it.
    pub fn state(&self, side: Side) -> Option<SlotState> {
        self.running[&side].shown.borrow().slots.first().cloned()
    }

    /// Waits until all daemons have taken in Bitcoin's tip.
    async fn seen(&mut self) {
        let tip = self.network.core.tip().await.expect("a tip").height;
        for (side, running) in &mut self.running {
            let seen = running.shown.wait_for(|shown| shown.tip >= tip).await;
            assert!(seen.is_ok(), "{side:?} has ended");
        }
    }

    /// Mines block after block, each as soon as a move waits for it or nobody has one, until a side sees what is wanted.
    ///
    /// # Panics
    /// Where it does not come.
    pub async fn play_until(
        &mut self,
        side: Side,
        what: &str,
        wanted: impl Fn(&SlotState) -> bool,
    ) -> SlotState {
        for _ in 0..LONGEST {
            self.seen().await;
            if let Some(state) = self.state(side).filter(|state| wanted(state)) {
                return state;
            }
            self.move_or_wait().await;
            self.network.core.mine(1).await.expect("a block is mined");
        }
        panic!(
            "{what} does not come: {:#?}",
            self.state(side).map(|state| state.moves)
        );
    }

    /// Mines a block once a move waits for it or nobody has one, and waits until all daemons have seen it.
    ///
    /// # Panics
    /// Where a daemon has ended.
    pub async fn next_block(&mut self) {
        self.seen().await;
        self.move_or_wait().await;
        self.network.core.mine(1).await.expect("a block is mined");
        self.seen().await;
    }

    /// Mines blocks up to a height, and waits until all daemons have seen them.
    ///
    /// # Panics
    /// Where a daemon has ended.
    pub async fn mine_to(&mut self, height: u32) {
        let tip = self.network.core.tip().await.expect("a tip").height;
        let count = height.saturating_sub(tip);
        self.network.core.mine(count).await.expect("blocks are mined");
        self.seen().await;
    }

    /// Why Bitcoin Core does not take a transaction as it stands.
    ///
    /// # Panics
    /// Where it does.
    pub async fn refusal(&self, transaction: &bitcoin::Transaction) -> String {
        let answer = self
            .network
            .core
            .client()
            .test_mempool_accept(&[transaction])
            .await;
        let answer = answer.expect("Bitcoin Core answers").remove(0);
        answer.reject_reason.expect("it is refused")
    }

    /// Waits until the mempool holds something or some time has passed: a side that does not move is waited for in blocks.
    async fn move_or_wait(&self) {
        let client = self.network.core.client();
        for _ in 0..IDLE_LOOKS {
            if !client
                .get_raw_mempool()
                .await
                .expect("Bitcoin Core answers")
                .is_empty()
            {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// How often the mempool is looked at before a block is mined without a move in it.
const IDLE_LOOKS: usize = 60;
/// The pause between two looks.
const LOOK: std::time::Duration = std::time::Duration::from_millis(50);

/// Shows the daemons' log with a test that fails: BITSECT_TEST_LOG says how much, as for tracing's EnvFilter.
fn log() {
    let filter = std::env::var("BITSECT_TEST_LOG").unwrap_or_else(|_| "info".to_owned());
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_test_writer();
    // Another test of this process may have done it.
    let _ = subscriber.try_init();
}

async fn purse(network: &Network) -> Purse {
    let folder = network.dir().join(USER_DIR);
    let genesis = bitcoin::constants::genesis_block(BitcoinNetwork::Regtest).block_hash();
    let client = network.core.client().clone();
    let key = folder.join("user.key");
    let purse = Purse::open(
        client,
        BitcoinNetwork::Regtest,
        &folder,
        &key,
        BlockRef::new(0, genesis),
    );
    let purse = purse.expect("the user's wallet");
    purse.sync().await.expect("the wallet reads the chain");
    purse
}
