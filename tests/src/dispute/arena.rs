//! A chain with some units, slots on it, and the daemons of their parties.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use bitcoin::{Amount, TxOut};
use bitsect_bridge::chain::{Chain, RpcChain, Runner, RunnerConfig};
use bitsect_bridge::daemon::{
    Challenger, Core, CoreConfig, Daemon, DaemonStore, FeeOutputs, Knowledge, Operator, Party, ReadySlot,
    Shown,
};
use bitsect_bridge::leaf::Program;
use bitsect_bridge::params::{Params, Rounds};
use bitsect_bridge::slot::{Hand, Main, SlotState};
use bitsect_judge::step::cut;
use bitsect_l1::BlockRef;
use bitsect_l1::carrier::CarrierConfig;
use bitsect_l1::follower::FollowerConfig;
use bitsect_l1::wallet::Wallet;
use bitsect_node::purse::Purse;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::ground::{log, purse, wallet};
use super::liar::{Liar, Liars};
use super::parties::{DEPLOYMENT, Parties, Side, folder};
use super::player::{Play, Player};
use super::stranger::Stranger;
use crate::{Network, NetworkOptions, Node, until};

/// Units before the slots' start: behind it both kinds of units come, those that read an L1 block and those that execute.
const START_UNIT: u64 = 2;
/// L2 blocks that the chain has at least.
const BLOCKS: u64 = 10;
/// What each side's wallet gets for fees, for each slot.
const FEE_MONEY: Amount = Amount::from_sat(2_000_000);
/// Blocks within which claims have to confirm before the fee rises to the most.
const CLAIM_WITHIN: u32 = 100;
/// What an output holds that pays for a move.
const FEE_OUTPUT: Amount = Amount::from_sat(100_000);
/// Outputs that pay for moves, beside one for each branch.
const SPARE_FEE_OUTPUTS: usize = 3;

/// What the operator claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The truth after so many units.
    True(u32),
    /// A lie about the state after so many units.
    False(u32, Liar),
}

/// A chain, slots on it, and their parties' daemons: all slots are played at once.
pub struct Arena {
    /// Bitcoin Core and the chain.
    pub network: Network,
    /// The node whose chain both sides know.
    pub node: Node,
    /// The parties.
    pub parties: Parties,
    /// The slots.
    pub slots: Vec<ReadySlot>,
    /// A block before the slots' outputs.
    pub start: BlockRef,
    pub(super) chain: Arc<dyn Chain>,
    pub(super) runner: Runner,
    running: HashMap<Side, Running>,
    /// What is claimed, by slot.
    pub(super) claims: Vec<Claim>,
    /// What challengers do, by slot.
    plays: HashMap<usize, Vec<Play>>,
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
    /// Makes a chain of some units, and so many slots with so many challengers each. `guest` is the program as `.ci/guest` builds it.
    ///
    /// # Panics
    /// When anything fails.
    pub async fn start(guest: PathBuf, (slots, challengers): (usize, usize), params: Params) -> Self {
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
        let slots = parties
            .set_up(&purse, params, (cut(&state), START_UNIT), &program, slots)
            .await;
        let mut arena = Self {
            network,
            node,
            parties,
            slots,
            chain,
            runner,
            start,
            running: HashMap::new(),
            claims: Vec::new(),
            plays: HashMap::new(),
        };
        let sides = (0..challengers).map(Side::Challenger).chain([Side::Operator]);
        arena.pay_fees(&purse, sides.collect()).await;
        arena
    }

    async fn pay_fees(&mut self, purse: &Purse, sides: Vec<Side>) {
        let outputs = sides.into_iter().flat_map(|side| {
            let address = self.wallet(side).receive_address().expect("an address");
            let output = TxOut {
                value: FEE_MONEY,
                script_pubkey: address.script_pubkey(),
            };
            vec![output; self.slots.len()]
        });
        let outputs = outputs.collect();
        purse
            .pay(outputs, vec![], |_| Ok(()))
            .await
            .expect("fees are paid");
        self.network.core.mine(1).await.expect("a block is mined");
        self.network.synced(&self.node.rpc).await;
    }

    /// Brings somebody in who is in the way, with so many coins.
    ///
    /// # Panics
    /// When anything fails.
    pub async fn stranger(&mut self, coins: usize) -> Stranger {
        let purse = purse(&self.network).await;
        let folder = self.network.dir().join("stranger");
        Stranger::new(&self.network.core, &purse, &folder, coins).await
    }

    /// The folder of a side.
    pub fn folder(&self, side: Side) -> PathBuf {
        folder(self.network.dir(), side)
    }

    fn wallet(&self, side: Side) -> Arc<Wallet> {
        Arc::new(wallet(&self.folder(side), self.start))
    }

    fn open(&self, side: Side) -> (Core, DaemonStore) {
        let config = CoreConfig {
            vault: None,
            client: self.network.core.client().clone(),
            follower: FollowerConfig::default(),
            carrier: CarrierConfig::default(),
            start: self.start,
        };
        let slots = self.slots.clone();
        Core::open(&self.folder(side), config, DEPLOYMENT, slots, self.wallet(side))
            .expect("the daemon's files")
    }

    fn knowledge(&self) -> Knowledge {
        Knowledge::new(self.chain.clone(), self.runner.clone(), self.slots[0].start_unit)
    }

    /// Starts the operator with its claims, one a slot, or starts it again.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn operator(&mut self, claims: &[Claim]) {
        assert_eq!(claims.len(), self.slots.len(), "a claim for each slot");
        let (mut core, store) = self.open(Side::Operator);
        let hand = Hand::new(
            self.parties.seed(Side::Operator),
            self.parties.key(Side::Operator),
            store,
        );
        self.claims = claims.to_vec();
        let mut liars = Liars::default();
        for (salt, claim) in (1..).zip(&mut self.claims) {
            if let Claim::False(count, liar) = claim {
                liar.salt = salt;
                liars.add(*count, liar);
            }
        }
        let mut operator = Operator::new(hand, DEPLOYMENT, liars);
        for (slot, claim) in self.claims.iter().enumerate() {
            let (count, state) = match claim {
                Claim::True(count) => (*count, self.true_state(*count).await),
                Claim::False(count, liar) => (*count, liar.state(u64::from(*count))),
            };
            if core.state(slot).main == Main::Bonded {
                let deadline = core.tip() + CLAIM_WITHIN;
                let claimed = operator.claim(&mut core, slot, count, &state, deadline);
                claimed.expect("a claim");
            }
        }
        self.run(Side::Operator, core, operator);
    }

    async fn true_state(&self, count: u32) -> [u8; 24] {
        let state = self.chain.state(self.slots[0].start_unit + u64::from(count));
        cut(&state.await.expect("the node answers").expect("the unit is done"))
    }

    /// Starts a challenger that is honest in all slots, or starts it again.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn challenger(&mut self, pair: usize) {
        self.player(pair, &vec![Play::Honest; self.slots.len()]);
    }

    /// Starts a challenger that plays so in each slot, or starts it again.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn player(&mut self, pair: usize, plays: &[Play]) {
        assert_eq!(plays.len(), self.slots.len(), "a play for each slot");
        let side = Side::Challenger(pair);
        let (core, store) = self.open(side);
        let (seed, key) = (self.parties.seed(side), self.parties.key(side));
        let hand = Hand::new(seed.clone(), key, store);
        let honest = plays.iter().map(|play| (*play == Play::Honest).then_some(pair));
        let player = Player {
            honest: Challenger::new(hand, DEPLOYMENT, honest.collect()),
            pair,
            key,
            seed,
            plays: plays.to_vec(),
        };
        self.plays.insert(pair, plays.to_vec());
        self.run(side, core, player);
    }

    /// What a challenger does in a slot. One that is not started here is honest: it may run elsewhere.
    pub(super) fn play(&self, pair: usize, slot: usize) -> Play {
        self.plays.get(&pair).map_or(Play::Honest, |plays| plays[slot])
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
            knowledge: self.slots.iter().map(|_| self.knowledge()).collect(),
            fees: FeeOutputs {
                count: (self.slots.len() * self.branches_of(side) + SPARE_FEE_OUTPUTS) as u32,
                value: FEE_OUTPUT,
            },
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

    const fn branches_of(&self, side: Side) -> usize {
        match side {
            Side::Operator => self.parties.challengers,
            Side::Challenger(_) => 1,
        }
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

    /// The slots as a side sees them; none where it does not run, or has seen no block.
    pub fn states(&self, side: Side) -> Vec<SlotState> {
        let running = self.running.get(&side);
        running.map_or_else(Vec::new, |running| running.shown.borrow().slots.clone())
    }

    /// A slot as a side sees it.
    pub fn state(&self, side: Side, slot: usize) -> Option<SlotState> {
        let running = self.running.get(&side)?;
        running.shown.borrow().slots.get(slot).cloned()
    }

    /// The last block that a side has taken in.
    pub(super) fn tip(&self, side: Side) -> u32 {
        let running = self.running.get(&side);
        running.map_or(0, |running| running.shown.borrow().tip)
    }

    /// Whether a unit is run.
    pub(super) fn runs(&self) -> bool {
        let mut running = self.running.values();
        running.any(|running| !running.shown.borrow().runs.is_empty())
    }

    /// Whether a side waits for outputs that pay for moves.
    pub(super) fn waits_for_fees(&self) -> bool {
        let mut running = self.running.values();
        running.any(|running| running.shown.borrow().fees.is_some_and(|fees| fees.free == 0))
    }

    /// Waits until all daemons have taken in Bitcoin's tip.
    pub(super) async fn seen(&mut self) {
        let tip = self.network.core.tip().await.expect("a tip").height;
        for (side, running) in &mut self.running {
            let seen = running.shown.wait_for(|shown| shown.tip >= tip).await;
            assert!(seen.is_ok(), "{side:?} has ended");
        }
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
}
