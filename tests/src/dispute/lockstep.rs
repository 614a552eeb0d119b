//! Blocks: each is mined once all moves that are due wait for it, so that every slot moves with every block.

use std::time::{Duration, Instant};

use bitcoin::OutPoint;
use bitsect_bridge::game::Stage;
use bitsect_bridge::slot::{Duty, Main, SlotState, challenger_duties, operator_duties};
use bitsect_bridge::transaction::NEXT_OUTPUT;

use super::arena::{Arena, Claim};
use super::parties::Side;
use super::player::Play;

/// Blocks that games may take until a test gives up.
const LONGEST: u32 = 500;
/// How long a move that is due is waited for while nothing happens; then a block is mined without it.
const IDLE: Duration = Duration::from_secs(60);
/// The same where fee outputs have to confirm first.
const UNPAID: Duration = Duration::from_millis(300);
/// The pause between two looks at the mempool.
const LOOK: Duration = Duration::from_millis(25);

impl Arena {
    /// Mines block after block until a side sees of a slot what is wanted.
    ///
    /// # Panics
    /// Where it does not come.
    pub async fn play_until(
        &mut self,
        (side, slot): (Side, usize),
        what: &str,
        wanted: impl Fn(&SlotState) -> bool,
    ) -> SlotState {
        let slots = self.play_on(side, what, |slots| wanted(&slots[slot])).await;
        slots.into_iter().nth(slot).expect("it was looked at")
    }

    /// Mines block after block until a side sees of all slots what is wanted of each.
    ///
    /// # Panics
    /// Where it does not come.
    pub async fn play_all_until(
        &mut self,
        side: Side,
        what: &str,
        wanted: impl Fn(&SlotState) -> bool,
    ) -> Vec<SlotState> {
        self.play_on(side, what, |slots| slots.iter().all(&wanted)).await
    }

    async fn play_on(
        &mut self,
        side: Side,
        what: &str,
        wanted: impl Fn(&[SlotState]) -> bool,
    ) -> Vec<SlotState> {
        for _ in 0..LONGEST {
            self.seen().await;
            let slots = self.states(side);
            if wanted(&slots) {
                return slots;
            }
            self.moves_are_made().await;
            tracing::debug!(tip = self.tip(side), "a block is mined");
            self.network.core.mine(1).await.expect("a block is mined");
        }
        let slots = self.states(side).into_iter();
        let shown: Vec<_> = slots
            .map(|slot| (slot.main, slot.branches.len(), slot.moves))
            .collect();
        panic!("{what} does not come: {shown:#?}");
    }

    /// Mines a block once all moves that are due wait for it, and waits until all daemons have seen it.
    ///
    /// # Panics
    /// Where a daemon has ended.
    pub async fn next_block(&mut self) {
        self.seen().await;
        self.moves_are_made().await;
        self.mine_one().await;
    }

    /// Mines a block of what the mempool holds, and waits until all daemons have seen it.
    ///
    /// # Panics
    /// Where a daemon has ended.
    pub async fn mine_one(&mut self) {
        self.network.core.mine(1).await.expect("a block is mined");
        self.seen().await;
    }

    /// Replaces the last blocks by one more without moves, and waits until all daemons have seen them.
    ///
    /// # Panics
    /// Where a daemon has ended.
    pub async fn reorg(&mut self, depth: u32) {
        let reorged = self.network.core.reorg(depth, depth + 1).await;
        reorged.expect("blocks are mined");
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

    /// Waits until the mempool holds every move that is due. Where one is missing for long, it is said, and waited for no
    /// more: whoever is silent is waited for in blocks.
    ///
    /// # Panics
    /// Where Bitcoin Core does not answer.
    pub async fn moves_are_made(&self) {
        let client = self.network.core.client();
        let mut last = (Vec::new(), Vec::new());
        let mut since = Instant::now();
        loop {
            let due = self.due();
            if due.is_empty() {
                return;
            }
            let outpoints: Vec<OutPoint> = due.iter().map(|(_, outpoint)| *outpoint).collect();
            let spending = client.get_tx_spending_prevout(&outpoints).await;
            let spending = spending.expect("Bitcoin Core answers");
            let missing = due.into_iter().zip(spending);
            let missing: Vec<String> = missing
                .filter(|(_, spending)| spending.spending_txid.is_none())
                .map(|((name, _), _)| name)
                .collect();
            if missing.is_empty() {
                return;
            }
            let mempool = client.get_raw_mempool().await.expect("Bitcoin Core answers");
            let now = (missing, mempool);
            if now != last || self.runs() {
                last = now;
                since = Instant::now();
            }
            if since.elapsed() >= if self.waits_for_fees() { UNPAID } else { IDLE } {
                if !self.waits_for_fees() {
                    tracing::warn!(missing = ?last.0, "a block is mined without moves that are due");
                }
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Gives what is due in the next block, by what it spends: of the sides that run, and of challengers that run elsewhere.
    fn due(&self) -> Vec<(String, OutPoint)> {
        let mut due = Vec::new();
        for slot in 0..self.slots.len() {
            if let Some(state) = self.state(Side::Operator, slot) {
                due.extend(self.due_of_operator(slot, &state));
            }
            for pair in 0..self.parties.challengers {
                let seen = self.state(Side::Challenger(pair), slot);
                if let Some(state) = seen.or_else(|| self.state(Side::Operator, slot)) {
                    due.extend(self.due_of_challenger((slot, pair), &state));
                }
            }
        }
        due
    }

    fn due_of_operator(&self, slot: usize, state: &SlotState) -> Vec<(String, OutPoint)> {
        let graph = &self.slots[slot].graph;
        let name = |what: &dyn core::fmt::Debug| format!("slot {slot}: {what:?}");
        if state.main == Main::Bonded {
            return vec![(name(&"claim"), graph.spec.bond)];
        }
        let main = OutPoint::new(graph.claim.txid(), NEXT_OUTPUT);
        let duties = operator_duties(&graph.params, state, self.tip(Side::Operator));
        let due = duties.into_iter().filter_map(|duty| {
            let outpoint = match duty {
                Duty::Answer { stage, .. } if self.is_silent(slot, stage) => return None,
                Duty::Answer { pair, .. } | Duty::Collect { pair, .. } => state.output(graph, pair)?.outpoint,
                Duty::FinaliseFast | Duty::FinaliseSlow => main,
                _ => return None,
            };
            Some((name(&duty), outpoint))
        });
        due.collect()
    }

    fn due_of_challenger(&self, (slot, pair): (usize, usize), state: &SlotState) -> Vec<(String, OutPoint)> {
        let graph = &self.slots[slot].graph;
        let play = self.play(pair, slot);
        let is_false = matches!(play, Play::False { .. });
        let duties = challenger_duties(&graph.params, state, pair, self.tip_of(pair));
        let due = duties.into_iter().filter_map(|duty| {
            let outpoint = match duty {
                Duty::Judge { .. } if is_false || self.is_lie(slot) && play == Play::Honest => {
                    let challenge = &graph.pairs[pair].stages[&Stage::Units(0)].ask;
                    challenge.transaction.input[0].previous_output
                }
                Duty::Choose { stage, .. } if play.goes_on(stage) => state.output(graph, pair)?.outpoint,
                Duty::Collect { .. } if play == Play::Honest => state.output(graph, pair)?.outpoint,
                _ => return None,
            };
            Some((format!("slot {slot}, challenger {pair}: {duty:?}"), outpoint))
        });
        due.collect()
    }

    fn is_lie(&self, slot: usize) -> bool {
        matches!(self.claims.get(slot), Some(Claim::False(..)))
    }

    fn is_silent(&self, slot: usize, stage: Stage) -> bool {
        matches!(self.claims.get(slot), Some(Claim::False(_, liar)) if liar.is_silent(stage))
    }

    fn tip_of(&self, pair: usize) -> u32 {
        let side = Side::Challenger(pair);
        let runs = self.state(side, 0).is_some();
        self.tip(if runs { side } else { Side::Operator })
    }
}
