//! The operator's duties: answer, collect, finalise.

use alloy_primitives::B256;
use bitcoin::Amount;

use super::core::{Core, DaemonError, Outgoing};
use super::knowledge::Knowledge;
use super::store::{DaemonStore, DaemonStoreError};
use crate::game::Stage;
use crate::game::position::{Claim, Position, Published};
use crate::game::prover::{AnswerError, answer};
use crate::game::truth::Need;
use crate::graph::SlotGraph;
use crate::secret::PairPath;
use crate::slot::{Duty, Hand, HandError, SlotState, operator_duties};
use crate::transaction::NEXT_OUTPUT;

/// Gives what is published in answer to a stage.
pub trait Prover: Send + 'static {
    /// Answers the stage that is asked.
    ///
    /// # Errors
    /// Where a machine has to run first, or there is nothing to answer.
    fn answer(&mut self, position: &Position, knowledge: &Knowledge) -> Result<Published, AnswerError>;
}

/// Answers with the truth.
#[derive(Clone, Copy, Debug, Default)]
pub struct Honest;

impl Prover for Honest {
    fn answer(&mut self, position: &Position, knowledge: &Knowledge) -> Result<Published, AnswerError> {
        answer(position, knowledge)
    }
}

/// A run that is needed before a move can be made.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The slot.
    pub slot: usize,
    /// The branch's position.
    pub position: Position,
    /// The run.
    pub need: Need,
}

/// Why a party does not move.
#[derive(Debug, thiserror::Error)]
pub enum PartyError {
    /// The part that deals with Bitcoin failed.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// A move cannot be made.
    #[error(transparent)]
    Hand(#[from] HandError<DaemonStoreError>),
    /// A transaction cannot be made.
    #[error(transparent)]
    Act(#[from] crate::slot::ActError),
    /// The chain failed.
    #[error(transparent)]
    Chain(#[from] crate::chain::ChainError),
    /// Something about the vault failed.
    #[error(transparent)]
    Vault(#[from] crate::vault::BankError),
}

/// An operator of some slots.
#[derive(Debug)]
pub struct Operator<P> {
    hand: Hand<DaemonStore>,
    deployment: B256,
    prover: P,
}

/// Gives the position of a branch as Bitcoin shows it; `None` where there is no claim.
pub fn position(graph: &SlotGraph, state: &SlotState, pair: usize) -> Option<Position> {
    let claim = state.claim?;
    let rounds = graph.params.rounds;
    let claim = Claim {
        count: claim.count,
        state: claim.state,
    };
    let mut position = Position::new(rounds, graph.spec.start, claim).with_check(graph.spec.check());
    let published = &state.branches[pair].published;
    loop {
        let stage = position.stage();
        let items = position.items().into_iter();
        let items: Option<Published> = items
            .map(|item| Some((item, published.item(stage, item)?.to_vec())))
            .collect();
        let answered = items
            .is_some_and(|items| is_answered(published, stage, &items) && position.publish(items).is_ok());
        if !answered {
            return Some(position);
        }
        match published.option(stage) {
            Some(option) if position.choose(option).is_ok() => {}
            _ => return Some(position),
        }
    }
}

/// A stage that publishes nothing is answered once the choice behind which it comes is opened by the prover.
fn is_answered(published: &crate::leaf::Published, stage: Stage, items: &Published) -> bool {
    let before = || match stage {
        Stage::Content(crate::game::Part::Link) => published.choices.get(&Stage::Link),
        _ => None,
    };
    !items.is_empty() || before().is_some_and(|opened| opened.prover.is_some())
}

impl<P: Prover> Operator<P> {
    /// Takes an operator's secrets.
    pub const fn new(hand: Hand<DaemonStore>, deployment: B256, prover: P) -> Self {
        Self {
            hand,
            deployment,
            prover,
        }
    }

    const fn path(&self, slot: usize, pair: usize) -> PairPath {
        PairPath {
            deployment: self.deployment,
            slot: slot as u32,
            pair: pair as u32,
        }
    }

    /// Gives the operator's key.
    pub const fn hand(&self) -> &Hand<DaemonStore> {
        &self.hand
    }

    /// Stores what Bitcoin shows of its own moves, in case its file was lost.
    ///
    /// # Errors
    /// Where the file has something else: another process has the same keys.
    pub fn restore(&mut self, core: &Core, slot: usize) -> Result<(), PartyError> {
        let rounds = core.slots()[slot].graph.params.rounds;
        for pair in 0..core.state(slot).branches.len() {
            let path = self.path(slot, pair);
            let published = &core.state(slot).branches[pair].published;
            self.hand.restore_prover(&path, published, rounds)?;
        }
        Ok(())
    }

    /// Claims that after `count` units from a slot's start the chain state is `state`.
    ///
    /// # Errors
    /// Where the slot has another claim.
    pub fn claim(
        &mut self,
        core: &mut Core,
        slot: usize,
        count: u32,
        state: &[u8; 24],
        deadline: u32,
    ) -> Result<(), PartyError> {
        let path = self.path(slot, 0);
        let transaction = self.hand.claim(&core.actor(slot), &path, count, state)?;
        core.submit(Outgoing {
            label: format!("claim of slot {slot}"),
            why: format!("{count} units are done"),
            transaction,
            fee: Amount::ZERO,
            deadline,
        })?;
        Ok(())
    }

    /// Does what is due in a slot; gives the runs that are needed first.
    ///
    /// # Errors
    /// [`PartyError`]; what was submitted stays so.
    pub async fn act(
        &mut self,
        core: &mut Core,
        slot: usize,
        knowledge: &mut Knowledge,
    ) -> Result<Vec<Wanted>, PartyError> {
        let graph = core.slots()[slot].graph.clone();
        let mut wanted = Vec::new();
        for duty in operator_duties(&graph.params, core.state(slot), core.tip()) {
            match duty {
                Duty::Answer {
                    pair,
                    stage,
                    deadline,
                } => {
                    let need = self
                        .answer(core, (slot, pair, stage), deadline, knowledge)
                        .await?;
                    wanted.extend(need);
                }
                Duty::Collect { pair, stage } => self.collect(core, (slot, pair, stage))?,
                Duty::FinaliseFast if !core.carries(&graph.finalise_fast) => {
                    let transaction = core.actor(slot).finalise_fast()?;
                    let deadline = core.tip() + u32::from(graph.params.dispute_window_blocks);
                    core.submit(Outgoing {
                        label: format!("fast end of slot {slot}"),
                        why: "nobody challenged in time".to_owned(),
                        transaction,
                        fee: Amount::ZERO,
                        deadline,
                    })?;
                }
                Duty::FinaliseSlow if !core.carries(&graph.finalise_slow) => {
                    let transaction = core.actor(slot).finalise_slow()?;
                    let deadline = core.tip() + u32::from(graph.params.dispute_window_blocks);
                    core.submit(Outgoing {
                        label: format!("slow end of slot {slot}"),
                        why: "the claim was upheld".to_owned(),
                        transaction,
                        fee: Amount::ZERO,
                        deadline,
                    })?;
                }
                _ => {}
            }
        }
        Ok(wanted)
    }

    async fn answer(
        &mut self,
        core: &mut Core,
        (slot, pair, stage): (usize, usize, Stage),
        deadline: u32,
        knowledge: &mut Knowledge,
    ) -> Result<Option<Wanted>, PartyError> {
        let graph = core.slots()[slot].graph.clone();
        if core.carries(&graph.pairs[pair].stages[&stage].answer) {
            return Ok(None);
        }
        let Some(position) = position(&graph, core.state(slot), pair) else {
            return Ok(None);
        };
        knowledge.look(&position).await?;
        let prover = &mut self.prover;
        let answered = tokio::task::block_in_place(|| prover.answer(&position, knowledge));
        let values = match answered {
            Ok(values) => values,
            Err(AnswerError::Need(need)) => {
                return Ok(Some(Wanted { slot, position, need }));
            }
            Err(AnswerError::Broken(error)) => {
                tracing::error!(slot, pair, ?stage, %error, "no answer: it is tried again at the next block");
                return Ok(None);
            }
            Err(error) => {
                tracing::error!(slot, pair, ?stage, %error, "no answer: the branch will be lost");
                return Ok(None);
            }
        };
        let path = self.path(slot, pair);
        let published = &core.state(slot).branches[pair].published;
        let transaction = self
            .hand
            .answer(&core.actor(slot), &path, stage, &values, published)?;
        core.submit(Outgoing {
            label: label("answer", slot, pair, stage),
            why: "the challenger asked for it".to_owned(),
            transaction,
            fee: Amount::ZERO,
            deadline: deadline - 1,
        })?;
        Ok(None)
    }

    fn collect(&self, core: &mut Core, (slot, pair, stage): (usize, usize, Stage)) -> Result<(), PartyError> {
        let output = core.slots()[slot].graph.pairs[pair].stages[&stage]
            .answer
            .output(NEXT_OUTPUT);
        if core.is_under_way(output.outpoint) {
            return Ok(());
        }
        let transaction = {
            let (actor, state) = (core.actor(slot), core.state(slot));
            actor.forfeit(state, pair, stage, self.hand.key())?
        };
        // The challenger may still move: as long as it had is time enough to outbid it.
        let deadline = core.tip() + u32::from(core.slots()[slot].graph.params.move_timeout_blocks);
        core.submit(Outgoing {
            label: label("forfeit", slot, pair, stage),
            why: "the challenger did not move in time".to_owned(),
            transaction,
            fee: Amount::ZERO,
            deadline,
        })?;
        Ok(())
    }
}

/// Gives what a transaction is, for logs and the carrier.
pub(super) fn label(what: &str, slot: usize, pair: usize, stage: Stage) -> String {
    format!("{what} {stage:?} of slot {slot}, challenger {pair}")
}
