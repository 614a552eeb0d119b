//! A challenger's duties: judge claims, choose, win, collect.

use std::sync::Arc;

use alloy_primitives::B256;
use bitcoin::Amount;
use bitsect_judge::step::cut;

use super::core::{Core, Outgoing};
use super::knowledge::Knowledge;
use super::operator::{PartyError, Wanted, label, position};
use super::store::DaemonStore;
use crate::chain::{Chain, ChainError, claimed_chain};
use crate::game::Stage;
use crate::game::challenger::{Reply, reason, reply};
use crate::game::truth::Unknown;
use crate::secret::PairPath;
use crate::slot::{Claimed, Duty, Hand, Main, challenger_duties};
use crate::transaction::NEXT_OUTPUT;

/// What a challenger makes of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Judgement {
    /// It is true.
    True,
    /// It is false.
    False,
    /// The chain is not derived up to the claim's block yet.
    Unknown,
}

/// A claim that was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    /// What it is.
    pub judgement: Judgement,
    /// The chain state after as many units; none where there are fewer.
    pub expected: Option<B256>,
}

/// Judges a claim of a slot that starts behind `start` units. It cannot be about blocks that come after it, so that one
/// about units which are not there once the chain is derived up to its block is false. `check` is the advice of its last
/// unit, where that is a check.
///
/// # Errors
/// Where the chain fails.
pub async fn judge(
    chain: &Arc<dyn Chain>,
    start: u64,
    (claim, check): (&Claimed, Option<B256>),
) -> Result<Judged, ChainError> {
    let end = start + u64::from(claim.count);
    let chain = claimed_chain(chain, check, end);
    // Asked for first: what is derived in between may only add units.
    let derived = chain.l1_height().await?;
    let expected = chain.state(end).await?;
    let judgement = match expected {
        Some(expected) if cut(&expected) == claim.state => Judgement::True,
        Some(_) => Judgement::False,
        None if derived >= claim.height => Judgement::False,
        None => Judgement::Unknown,
    };
    Ok(Judged { judgement, expected })
}

/// A challenger of some slots.
#[derive(Debug)]
pub struct Challenger {
    hand: Hand<DaemonStore>,
    deployment: B256,
    /// Its number in each slot.
    pairs: Vec<Option<usize>>,
}

impl Challenger {
    /// Takes a challenger's secrets, and its number in each slot.
    pub const fn new(hand: Hand<DaemonStore>, deployment: B256, pairs: Vec<Option<usize>>) -> Self {
        Self {
            hand,
            deployment,
            pairs,
        }
    }

    const fn path(&self, slot: usize, pair: usize) -> PairPath {
        PairPath {
            deployment: self.deployment,
            slot: slot as u32,
            pair: pair as u32,
        }
    }

    /// Gives its number in a slot.
    pub fn pair(&self, slot: usize) -> Option<usize> {
        self.pairs.get(slot).copied().flatten()
    }

    /// Stores what Bitcoin shows of its own moves, in case its file was lost.
    ///
    /// # Errors
    /// Where the file has something else: another process has the same keys.
    pub fn restore(&mut self, core: &Core, slot: usize) -> Result<(), PartyError> {
        let Some(pair) = self.pair(slot) else {
            return Ok(());
        };
        let rounds = core.slots()[slot].graph.params.rounds;
        let published = &core.state(slot).branches[pair].published;
        Ok(self
            .hand
            .restore_challenger(&self.path(slot, pair), published, rounds)?)
    }

    /// Does what is due in a slot; gives the run that is needed first.
    ///
    /// # Errors
    /// [`PartyError`]; what was submitted stays so.
    pub async fn act(
        &mut self,
        core: &mut Core,
        slot: usize,
        knowledge: &mut Knowledge,
    ) -> Result<Vec<Wanted>, PartyError> {
        let Some(pair) = self.pair(slot) else {
            return Ok(vec![]);
        };
        let graph = core.slots()[slot].graph.clone();
        let mut wanted = Vec::new();
        for duty in challenger_duties(&graph.params, core.state(slot), pair, core.tip()) {
            match duty {
                Duty::Judge { deadline } => self.judge(core, (slot, pair), deadline, knowledge).await?,
                Duty::Choose { stage, deadline } => {
                    let need = self
                        .choose(core, (slot, pair, stage), deadline, knowledge)
                        .await?;
                    wanted.extend(need);
                }
                Duty::Collect { pair, stage } => self.collect(core, (slot, pair, stage))?,
                _ => {}
            }
        }
        Ok(wanted)
    }

    async fn judge(
        &self,
        core: &mut Core,
        (slot, pair): (usize, usize),
        deadline: u32,
        knowledge: &Knowledge,
    ) -> Result<(), PartyError> {
        let Some(claim) = core.state(slot).claim else {
            return Ok(());
        };
        let check = core.slots()[slot].graph.spec.check();
        let judged = judge(knowledge.chain(), knowledge.start(), (&claim, check)).await?;
        let challenge = &core.slots()[slot].graph.pairs[pair].stages[&Stage::Units(0)].ask;
        if judged.judgement != Judgement::False || core.carries(challenge) {
            return Ok(());
        }
        let why = match judged.expected {
            Some(expected) => format!(
                "after {} units the state is {expected}, the claim says 0x{}",
                claim.count,
                hex::encode(claim.state)
            ),
            None if check.is_some() => format!(
                "after {} units and up to its block {} nothing was assigned to the slot that a claim may count on",
                claim.count, claim.height
            ),
            None => format!(
                "the claim is about {} units, and up to its block {} there are fewer",
                claim.count, claim.height
            ),
        };
        let transaction = core.actor(slot).challenge(pair, self.hand.key())?;
        core.submit(Outgoing {
            label: format!("challenge of slot {slot}, challenger {pair}"),
            why,
            transaction,
            fee: Amount::ZERO,
            deadline: deadline - 1,
        })?;
        Ok(())
    }

    async fn choose(
        &mut self,
        core: &mut Core,
        (slot, pair, stage): (usize, usize, Stage),
        deadline: u32,
        knowledge: &mut Knowledge,
    ) -> Result<Option<Wanted>, PartyError> {
        let graph = core.slots()[slot].graph.clone();
        let output = graph.pairs[pair].stages[&stage].answer.output(NEXT_OUTPUT);
        if core.is_under_way(output.outpoint) {
            return Ok(None);
        }
        let published = core.state(slot).branches[pair].published.clone();
        if let Some(win) = core.actor(slot).win(pair, stage, &published) {
            let (actor, state, key) = (core.actor(slot), core.state(slot), self.hand.key());
            let (transaction, fee) = if state.main == Main::Claimed {
                let fee = Amount::from_sat(graph.params.verdict_fee_sats);
                (actor.verdict(pair, stage, &win, key)?, fee)
            } else {
                (actor.recover_won(state, pair, (stage, &win), key)?, Amount::ZERO)
            };
            core.submit(Outgoing {
                label: label("verdict", slot, pair, stage),
                why: format!("the leaf {} refutes what was published", win.name),
                transaction,
                fee,
                deadline: deadline - 1,
            })?;
            return Ok(None);
        }
        let Some(position) = position(&graph, core.state(slot), pair) else {
            return Ok(None);
        };
        knowledge.look(&position).await?;
        match tokio::task::block_in_place(|| reply(&position, &*knowledge)) {
            Ok(Reply::Choose(option)) => {
                let path = self.path(slot, pair);
                let transaction = self
                    .hand
                    .choose(&core.actor(slot), &path, stage, option, &published)?;
                core.submit(Outgoing {
                    label: label("choice", slot, pair, stage),
                    why: reason(&position, option),
                    transaction,
                    fee: Amount::ZERO,
                    deadline: deadline - 1,
                })?;
                Ok(None)
            }
            Ok(other) => {
                tracing::error!(slot, pair, ?stage, ?other, "no move: the branch will be lost");
                Ok(None)
            }
            Err(Unknown::Need(need)) => Ok(Some(Wanted { slot, position, need })),
            Err(Unknown::Broken(error)) => {
                tracing::error!(slot, pair, ?stage, %error, "no move: it is tried again at the next block");
                Ok(None)
            }
        }
    }

    fn collect(&self, core: &mut Core, (slot, pair, stage): (usize, usize, Stage)) -> Result<(), PartyError> {
        let output = core.slots()[slot].graph.pairs[pair].stages[&stage]
            .ask
            .output(NEXT_OUTPUT);
        if core.is_under_way(output.outpoint) {
            return Ok(());
        }
        let transaction = {
            let (actor, state, key) = (core.actor(slot), core.state(slot), self.hand.key());
            if state.main == Main::Claimed {
                actor.timeout(pair, stage, key)?
            } else {
                actor.recover_late(state, pair, stage, key)?
            }
        };
        // The operator may still answer: as long as it had is time enough to outbid it.
        let deadline = core.tip() + u32::from(core.slots()[slot].graph.params.move_timeout_blocks);
        core.submit(Outgoing {
            label: label("timeout", slot, pair, stage),
            why: "the operator did not answer in time".to_owned(),
            transaction,
            fee: Amount::ZERO,
            deadline,
        })?;
        Ok(())
    }
}
