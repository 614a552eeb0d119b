//! A challenger that plays honestly in some slots, and falsely in others.

use bitcoin::key::Keypair;
use bitcoin::{Amount, Transaction};
use bitsect_bridge::daemon::{Challenger, Core, Knowledge, Outgoing, Party, PartyError, Wanted, position};
use bitsect_bridge::game::position::Position;
use bitsect_bridge::game::{Stage, units};
use bitsect_bridge::secret::PartySeed;
use bitsect_bridge::slot::{Duty, challenger_duties};

use super::parties::Parties;

/// What a challenger does in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Play {
    /// It challenges what is false, and plays to win.
    Honest,
    /// It does nothing.
    Absent,
    /// It challenges whatever is claimed, and chooses without looking.
    False {
        /// How it chooses.
        chooses: Chooses,
        /// Behind this stage it says nothing; none where it goes on to the end.
        until: Option<Stage>,
        /// Whether it takes a leaf that wins where there is one.
        wins: bool,
    },
}

/// How a false challenger chooses: the first option of these that a leaf lets it choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chooses {
    /// From this option on, and from the first behind the last; from the first where there are fewer.
    From(u8),
    /// In an order of its own for each stage.
    Random(u64),
}

impl Play {
    /// It challenges whatever is claimed, and says nothing more.
    pub const SILENT: Self = Self::False {
        chooses: Chooses::From(0),
        until: Some(Stage::Units(0)),
        wins: false,
    };

    /// Whether it asks on behind a stage, if it can.
    pub fn goes_on(self, behind: Stage) -> bool {
        match self {
            Self::Honest => true,
            Self::Absent => false,
            Self::False { until, .. } => until != Some(behind) && behind.options() > 0,
        }
    }
}

impl Chooses {
    /// Gives a stage's options in the order in which it tries them.
    fn options(self, stage: Stage) -> Vec<u8> {
        let mut options: Vec<u8> = (0..stage.options()).collect();
        match self {
            Self::From(first) => options.rotate_left(usize::from(first.min(stage.options()))),
            Self::Random(seed) => options.sort_by_key(|option| {
                let text = format!("{seed} {stage:?} {option}");
                *blake3::hash(text.as_bytes()).as_bytes()
            }),
        }
        options
    }
}

/// The daemon's side.
pub(super) struct Player {
    pub(super) honest: Challenger,
    pub(super) pair: usize,
    pub(super) key: Keypair,
    pub(super) seed: PartySeed,
    /// By slot.
    pub(super) plays: Vec<Play>,
}

impl Player {
    fn falsely(&self, core: &mut Core, slot: usize, play: Play) -> Result<(), PartyError> {
        let params = core.slots()[slot].graph.params;
        for duty in challenger_duties(&params, core.state(slot), self.pair, core.tip()) {
            let (transaction, fee, deadline) = match duty {
                Duty::Judge { deadline } => {
                    let challenge = core.actor(slot).challenge(self.pair, &self.key)?;
                    (challenge, Amount::ZERO, deadline)
                }
                Duty::Choose { stage, deadline } => match self.reply(core, (slot, stage), play)? {
                    Some((transaction, fee)) => (transaction, fee, deadline),
                    None => continue,
                },
                _ => continue,
            };
            if core.is_under_way(transaction.input[0].previous_output) {
                continue;
            }
            core.submit(Outgoing {
                label: format!("a false move of slot {slot}, challenger {}", self.pair),
                why: "out of spite".to_owned(),
                transaction,
                fee,
                deadline: deadline - 1,
            })?;
        }
        Ok(())
    }

    /// Makes what it answers behind a stage, and the fee that it has of its own.
    fn reply(
        &self,
        core: &Core,
        (slot, stage): (usize, Stage),
        play: Play,
    ) -> Result<Option<(Transaction, Amount)>, PartyError> {
        let Play::False { chooses, wins, .. } = play else {
            return Ok(None);
        };
        let (actor, params) = (core.actor(slot), core.slots()[slot].graph.params);
        let published = &core.state(slot).branches[self.pair].published;
        let win = actor.win(self.pair, stage, published).filter(|_| wins);
        if let Some(win) = win {
            let verdict = actor.verdict(self.pair, stage, &win, &self.key)?;
            return Ok(Some((verdict, Amount::from_sat(params.verdict_fee_sats))));
        }
        if !play.goes_on(stage) {
            return Ok(None);
        }
        let path = Parties::path(slot, self.pair);
        let position = position(&core.slots()[slot].graph, core.state(slot), self.pair);
        let options = chooses.options(stage).into_iter();
        let options = options.filter(|option| position.as_ref().is_some_and(|at| leads_on(at, *option)));
        let asks = options.into_iter().find_map(|option| {
            let secret = self.seed.secret(&path, stage, option, params.rounds);
            let asked = actor.ask(self.pair, stage, (option, &secret), published);
            asked.ok()
        });
        Ok(asks.map(|transaction| (transaction, Amount::ZERO)))
    }
}

/// Whether an option is no dead end: no leaf lets it be asked for a unit behind the claim's last.
fn leads_on(position: &Position, option: u8) -> bool {
    let search = units(position.rounds());
    let choices = [position.unit_choices(), vec![option]].concat();
    let is_unit = matches!(position.stage(), Stage::Units(_));
    !is_unit || search.interval(&choices).0 < u64::from(position.claim().count)
}

impl Party for Player {
    fn restore(&mut self, core: &Core, slot: usize) -> Result<(), PartyError> {
        match self.plays[slot] {
            Play::Honest => self.honest.restore(core, slot),
            _ => Ok(()),
        }
    }

    async fn act(
        &mut self,
        core: &mut Core,
        slot: usize,
        knowledge: &mut Knowledge,
    ) -> Result<Vec<Wanted>, PartyError> {
        match self.plays[slot] {
            Play::Honest => self.honest.act(core, slot, knowledge).await,
            Play::Absent => Ok(vec![]),
            play @ Play::False { .. } => {
                self.falsely(core, slot, play)?;
                Ok(vec![])
            }
        }
    }
}
