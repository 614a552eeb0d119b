//! A branch as Bitcoin shows it: the claim, what the prover published, what the challenger chose.

use std::collections::BTreeMap;

use alloy_primitives::B256;
use bitsect_judge::leaf::{Value, Values};
use bitsect_judge::path::Time;
use bitsect_judge::step::{Cut, StepClaim};
use bitsect_vm::check::CHECK_TAG;

use super::search::{Bound, Search};
use super::stage::{Form, Go, Item, Opening, Part, Stage, Subject, path, trace, units};
use crate::leaf::UnitPlace;
use crate::params::Rounds;

/// What is published in a stage.
pub type Published = BTreeMap<Item, Vec<u8>>;

/// What is claimed: after so many units the chain state is this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Claim {
    /// Units from the slot's start.
    pub count: u32,
    /// The chain state, its first 24 bytes.
    pub state: Cut,
}

/// Who moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The prover is asked for its stage.
    Prover,
    /// The challenger has the stage's answer.
    Challenger,
}

/// What is known of a branch from its challenge on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    rounds: Rounds,
    start: Cut,
    claim: Claim,
    check: Option<B256>,
    stage: Stage,
    turn: Turn,
    answers: BTreeMap<Stage, Published>,
    choices: BTreeMap<Stage, u8>,
}

/// Why a move is none. The position is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PositionError {
    /// The other side moves.
    #[error("turn: in {stage:?} it is the other side's")]
    Turn {
        /// The stage that is asked, or answered.
        stage: Stage,
    },
    /// There is no such option.
    #[error("option: got {got}, {stage:?} has {options}")]
    Option {
        /// The stage that is answered.
        stage: Stage,
        /// Its options.
        options: u8,
        /// What was chosen.
        got: u8,
    },
    /// Something else is published than the choices ask for.
    #[error("items: {stage:?} is {expected:?}, got {got:?}")]
    Items {
        /// The stage that is asked.
        stage: Stage,
        /// What is asked for.
        expected: Vec<Item>,
        /// What was published.
        got: Vec<Item>,
    },
    /// An item has another length.
    #[error("{item:?}: expected {} bytes, got {got}", item.bytes())]
    Length {
        /// The item.
        item: Item,
        /// Its bytes.
        got: usize,
    },
}

impl Position {
    /// Begins a branch with its challenge: the prover is asked for the first stage.
    pub const fn new(rounds: Rounds, start: Cut, claim: Claim) -> Self {
        Self {
            rounds,
            start,
            claim,
            check: None,
            stage: Stage::Units(0),
            turn: Turn::Prover,
            answers: BTreeMap::new(),
            choices: BTreeMap::new(),
        }
    }

    /// Says which advice the claim's last unit has to have, where it is a check.
    pub const fn with_check(mut self, check: Option<B256>) -> Self {
        self.check = check;
        self
    }

    /// Gives the advice that the claim's last unit has to have, where it is a check.
    pub const fn check(&self) -> Option<B256> {
        self.check
    }

    /// Whether an input has a check where none is, or none where one has to be.
    pub fn is_misplaced(&self, unit: u64, input: &[u8; 64]) -> bool {
        let Some(check) = self.check else {
            return false;
        };
        let advice = input.split_at(32).1;
        match UnitPlace::of(unit, self.claim.count) {
            UnitPlace::Last => advice != check.as_slice(),
            UnitPlace::Earlier => advice.starts_with(&CHECK_TAG),
        }
    }

    /// Gives the deployment's rounds.
    pub const fn rounds(&self) -> Rounds {
        self.rounds
    }

    /// Gives the claim.
    pub const fn claim(&self) -> Claim {
        self.claim
    }

    /// Gives the stage that is asked, or that was answered last.
    pub const fn stage(&self) -> Stage {
        self.stage
    }

    /// Tells who moves.
    pub const fn turn(&self) -> Turn {
        self.turn
    }

    /// Gives the form in which a stage is answered, by the choices so far.
    pub fn form(&self, stage: Stage) -> Option<Form> {
        stage.form(|stage| self.choice(stage))
    }

    /// Gives what is asked for, or was published, in the stage.
    pub fn items(&self) -> Vec<Item> {
        let form = self.form(self.stage);
        form.map_or_else(Vec::new, |form| self.stage.items(form))
    }

    /// Adds the prover's answer.
    ///
    /// # Errors
    /// Where it is none to what is asked.
    pub fn publish(&mut self, published: Published) -> Result<(), PositionError> {
        if self.turn != Turn::Prover {
            return Err(PositionError::Turn { stage: self.stage });
        }
        let mut expected = self.items();
        expected.sort_unstable();
        let got: Vec<Item> = published.keys().copied().collect();
        if expected != got {
            return Err(PositionError::Items {
                stage: self.stage,
                expected,
                got,
            });
        }
        if let Some((item, bytes)) = published.iter().find(|(item, bytes)| bytes.len() != item.bytes()) {
            return Err(PositionError::Length {
                item: *item,
                got: bytes.len(),
            });
        }
        self.answers.insert(self.stage, published);
        self.turn = Turn::Challenger;
        Ok(())
    }

    /// Adds the challenger's choice.
    ///
    /// # Errors
    /// Where there is nothing to choose, or no such option.
    pub fn choose(&mut self, option: u8) -> Result<(), PositionError> {
        if self.turn != Turn::Challenger {
            return Err(PositionError::Turn { stage: self.stage });
        }
        let next = self.stage.next(option, self.rounds);
        let next = next.ok_or(PositionError::Option {
            stage: self.stage,
            options: self.stage.options(),
            got: option,
        })?;
        self.choices.insert(self.stage, option);
        self.stage = next;
        self.turn = Turn::Prover;
        Ok(())
    }

    /// Gives what was published of an item.
    pub fn item(&self, stage: Stage, item: Item) -> Option<&[u8]> {
        self.answers.get(&stage)?.get(&item).map(Vec::as_slice)
    }

    /// Gives what was published of one of the judge's values.
    pub fn value(&self, stage: Stage, value: Value) -> Option<&[u8]> {
        self.item(stage, Item::Value(value))
    }

    /// Gives the option that was chosen behind a stage.
    pub fn choice(&self, stage: Stage) -> Option<u8> {
        self.choices.get(&stage).copied()
    }

    /// Gives what was opened behind [`Stage::Link`].
    pub fn opening(&self) -> Option<Opening> {
        Opening::ALL.get(usize::from(self.choice(Stage::Link)?)).copied()
    }

    /// Gives what was opened behind [`Stage::Step`].
    pub fn subject(&self) -> Option<Subject> {
        Subject::ALL.get(usize::from(self.choice(Stage::Step)?)).copied()
    }

    /// Gives how the challenger went on behind [`Stage::Content`].
    pub fn go(&self, part: Part) -> Option<Go> {
        Go::ALL
            .get(usize::from(self.choice(Stage::Content(part))?))
            .copied()
    }

    /// Gives the choices in the search over units.
    pub fn unit_choices(&self) -> Vec<u8> {
        self.chosen(units(self.rounds), Stage::Units)
    }

    /// Gives the choices in the search over steps.
    pub fn step_choices(&self) -> Vec<u8> {
        self.chosen(trace(self.rounds), Stage::Trace)
    }

    /// Gives the choices in the search over a path.
    pub fn path_choices(&self, part: Part) -> Vec<u8> {
        self.chosen(path(), |round| Stage::Path(part, round))
    }

    /// Gives the unit that the search ended with.
    pub fn unit(&self) -> Option<u64> {
        found(units(self.rounds), &self.unit_choices())
    }

    /// Gives the step that the search ended with.
    pub fn step(&self) -> Option<u64> {
        found(trace(self.rounds), &self.step_choices())
    }

    /// Gives the position of the upper node that the search ended with: the lower one is the next.
    pub fn upper_node(&self, part: Part) -> Option<u64> {
        found(path(), &self.path_choices(part))
    }

    /// Gives the prover's chain state after so many units.
    pub fn chain_state(&self, position: u64) -> Option<Cut> {
        match self.bound(units(self.rounds), &self.unit_choices(), position)? {
            Bound::Start => Some(self.start),
            Bound::End => Some(self.claim.state),
            Bound::Point { round, index } => cut(self.item(Stage::Units(round), Item::Point(index))?),
        }
    }

    /// Gives the prover's input of the unit.
    pub fn input(&self) -> Option<[u8; 64]> {
        self.item(Stage::Link, Item::Input)?.try_into().ok()
    }

    /// Gives the prover's machine state before a step.
    pub fn machine_state(&self, position: u64) -> Option<Cut> {
        match self.bound(trace(self.rounds), &self.step_choices(), position)? {
            Bound::Start => cut(self.item(Stage::Link, Item::First)?),
            Bound::End => cut(self.item(Stage::Link, Item::Last)?),
            Bound::Point { round, index } => cut(self.item(Stage::Trace(round), Item::Point(index))?),
        }
    }

    /// Gives the step's values.
    pub fn step_values(&self) -> Option<Values> {
        let mut values = Values::new();
        for (item, bytes) in self.answers.get(&Stage::Step)? {
            if let Item::Value(value) = item {
                values.insert(*value, bytes.as_slice());
            }
        }
        Some(values)
    }

    /// Gives what the prover says of the step.
    pub fn step_claim(&self) -> Option<StepClaim> {
        Some(StepClaim::from_values(&self.step_values()?))
    }

    /// Gives the prover's root over a path.
    pub fn root(&self, part: Part, time: Time) -> Option<&[u8]> {
        match part {
            Part::Link => match self.opening()? {
                Opening::Trace => None,
                Opening::Init => self.item(Stage::Link, Item::First),
                Opening::Output | Opening::Status => self.item(Stage::Link, Item::Last),
            },
            Part::Step => {
                let value = match (self.subject()?, time) {
                    (Subject::WriteControl, Time::After) => Value::After,
                    (Subject::WriteControl, Time::Before) | (_, Time::After) => Value::Middle,
                    (_, Time::Before) => Value::Before,
                };
                self.value(Stage::Step, value)
            }
        }
    }

    /// Gives the prover's node at a position of a path: the root at 0, of which there are 24 bytes, the node at level 0 at
    /// 26.
    pub fn node(&self, part: Part, time: Time, position: u64) -> Option<&[u8]> {
        match self.bound(path(), &self.path_choices(part), position)? {
            Bound::Start => self.root(part, time),
            Bound::End => None,
            Bound::Point { round, index } => {
                let item = match time {
                    Time::Before => Item::Node(index),
                    Time::After => Item::NodeAfter(index),
                };
                self.item(Stage::Path(part, round), item)
            }
        }
    }

    fn chosen(&self, search: Search, stage: impl Fn(u8) -> Stage) -> Vec<u8> {
        (0..search.rounds)
            .map_while(|round| self.choice(stage(round)))
            .collect()
    }

    /// Gives where the value at a position is published; `None` where the choices did not lead there.
    fn bound(&self, search: Search, choices: &[u8], position: u64) -> Option<Bound> {
        if position > search.intervals() {
            return None;
        }
        let bound = search.bound(position);
        let Bound::Point { round, index } = bound else {
            return Some(bound);
        };
        let asked = search.asked(choices.get(..usize::from(round))?);
        (asked.get(usize::from(index)) == Some(&position)).then_some(bound)
    }
}

fn found(search: Search, choices: &[u8]) -> Option<u64> {
    (choices.len() == usize::from(search.rounds)).then(|| search.interval(choices).0)
}

fn cut(bytes: &[u8]) -> Option<Cut> {
    bytes.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUNDS: Rounds = Rounds { units: 2, trace: 3 };

    fn position() -> Position {
        let claim = Claim {
            count: 9,
            state: [9; 24],
        };
        Position::new(ROUNDS, [1; 24], claim)
    }

    /// Publishes what is asked for, each item full of a byte that counts up.
    fn publish(position: &mut Position, next: &mut u8) {
        let items = position.items().into_iter().map(|item| {
            *next += 1;
            (item, vec![*next; item.bytes()])
        });
        let items = items.collect();
        position.publish(items).unwrap();
    }

    /// Plays a game with these options.
    fn play(options: &[u8]) -> Position {
        let mut position = position();
        let mut next = 0;
        for option in options {
            publish(&mut position, &mut next);
            position.choose(*option).unwrap();
        }
        position
    }

    #[test]
    fn values_lie_where_the_choices_led() {
        let position = play(&[2, 3, 0, 0, 0, 2]);
        assert_eq!((position.unit(), position.step()), (Some(11), Some(2)));
        assert_eq!(position.chain_state(0), Some([1; 24]));
        assert_eq!(position.chain_state(16), Some([9; 24]));
        // Of the first round 4, 8 and 12, then those between 8 and 12.
        let published: Vec<u64> = (1..16).filter(|at| position.chain_state(*at).is_some()).collect();
        assert_eq!(published, [4, 8, 9, 10, 11, 12]);
        assert_eq!(position.chain_state(11), Some([6; 24]));
        assert_eq!(position.chain_state(17), None);
        assert_eq!(position.input(), Some([7; 64]));
        assert_eq!(position.machine_state(0), Some([8; 24]));
        assert_eq!(position.machine_state(64), Some([9; 24]));
        let published: Vec<u64> = (1..64)
            .filter(|at| position.machine_state(*at).is_some())
            .collect();
        assert_eq!(published, [1, 2, 3, 4, 8, 12, 16, 32, 48]);
        assert_eq!(position.machine_state(2), Some([17; 24]));
    }

    #[test]
    fn roots_are_those_of_what_was_opened() {
        let init = play(&[0, 0, Opening::Init as u8]);
        assert_eq!(init.root(Part::Link, Time::Before), Some([8; 24].as_slice()));
        let output = play(&[0, 0, Opening::Output as u8, 0, 1]);
        assert_eq!(output.root(Part::Link, Time::Before), Some([9; 24].as_slice()));
        assert_eq!(
            output.node(Part::Link, Time::Before, 18),
            Some([12; 32].as_slice())
        );
        assert_eq!(output.node(Part::Link, Time::Before, 27), None);
        let step = |subject: Subject| play(&[0, 0, 0, 0, 0, 0, subject as u8, Go::Write as u8]);
        let values = step(Subject::WriteControl).step_values().unwrap();
        let roots = |subject: Subject, before: Value, after: Value| {
            let position = step(subject);
            assert_eq!(position.root(Part::Step, Time::Before), values.get(before));
            assert_eq!(position.root(Part::Step, Time::After), values.get(after));
        };
        roots(Subject::Instruction, Value::Before, Value::Middle);
        roots(Subject::WriteMemory, Value::Before, Value::Middle);
        roots(Subject::WriteControl, Value::Middle, Value::After);
    }

    #[test]
    fn moves_out_of_turn_change_nothing() {
        let mut position = position();
        let begun = position.clone();
        let turn = PositionError::Turn {
            stage: Stage::Units(0),
        };
        assert_eq!(position.choose(0), Err(turn.clone()));
        assert!(matches!(
            position.publish(Published::new()),
            Err(PositionError::Items { .. })
        ));
        let mut short: Published = position
            .items()
            .into_iter()
            .map(|item| (item, vec![0; 24]))
            .collect();
        short.insert(Item::Point(1), vec![0; 23]);
        let item = Item::Point(1);
        assert_eq!(
            position.publish(short),
            Err(PositionError::Length { item, got: 23 })
        );
        assert_eq!(position, begun);
        publish(&mut position, &mut 0);
        assert_eq!(position.turn(), Turn::Challenger);
        let answered = position.clone();
        assert_eq!(position.publish(Published::new()), Err(turn));
        let stage = Stage::Units(0);
        let none = PositionError::Option {
            stage,
            options: 4,
            got: 4,
        };
        assert_eq!(position.choose(4), Err(none));
        assert_eq!(position, answered);
    }

    #[test]
    fn behind_the_last_stage_nothing_is_chosen() {
        let mut position = play(&[0, 0, Opening::Init as u8, 0, 0, 0, 0]);
        assert_eq!(position.stage(), Stage::Final(Part::Link));
        publish(&mut position, &mut 0);
        assert!(matches!(
            position.choose(0),
            Err(PositionError::Option { options: 0, .. })
        ));
    }
}
