//! An operator that lies at a chosen place, and goes on from there as consistently as it can.

use std::collections::HashMap;

use alloy_primitives::B256;
use bitsect_bridge::daemon::{Knowledge, Prover};
use bitsect_bridge::game::position::{Position, Published};
use bitsect_bridge::game::prover::{AnswerError, answer};
use bitsect_bridge::game::truth::Truth;
use bitsect_bridge::game::{Item, Part, Stage, trace, units};
use bitsect_judge::leaf::{Value, Values};
use bitsect_judge::step::{Cut, StepClaim, cut};

use super::made_up::{
    claimed_leaf, content_hash, false_sibling, made_up, over_a_false_sibling, with_preimage,
};

/// The lowest node's position on a path.
pub const LOWEST: u64 = 26;
/// The unit after which chain states are false, from the slots' start, where it does not matter which.
pub const WRONG_UNIT: u64 = 5;
/// The step of its run that is false, where that does not matter either.
const WRONG_STEP: u64 = 1_000;
/// The status of a machine that halted.
const HALTED: u8 = 1;

/// A value of a step that is false.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// A word: these bits of it are changed.
    Word(Value, u32),
    /// The status before.
    StatusBefore(u8),
    /// The status after alone.
    Status(u8),
    /// The status after, and all that would follow if the machine ended there.
    Ends(u8),
    /// The root between the writes, and so the one after.
    Middle,
    /// The root after alone.
    After,
}

/// A step that is false.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepLie {
    /// The step: the trace is true up to it.
    pub step: u64,
    /// What is false in it.
    pub field: Field,
    /// Whether the rest of the step is what follows from the false value.
    pub follows: bool,
}

/// Where an operator lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Only the chain state: the machine's run is the true one.
    State,
    /// The unit reads something else: these 32 bytes.
    Advice([u8; 32]),
    /// The unit's input begins with another state.
    Input,
    /// The machine's first state.
    First,
    /// The machine's last state, for the sake of a step.
    Trace(StepLie),
}

/// How it goes on below a root that was disputed. Where nothing is said it answers with the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cover {
    /// A value of the content that is made up: of a leaf so that it holds the claimed word.
    pub content: Option<Value>,
    /// From this position on nodes before the step are made up.
    pub below: Option<u64>,
    /// Up to this position nodes after the step are made up.
    pub above: Option<u64>,
    /// Whether siblings are made up.
    pub sibling: bool,
}

/// The operator's answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Liar {
    /// The unit after which chain states are false.
    pub unit: u64,
    /// The lie.
    pub lie: Lie,
    /// What it says about it further down.
    pub cover: Cover,
    /// From this stage on nothing is answered.
    pub silent: Option<Stage>,
    /// Makes the states that it makes up its own.
    pub salt: u64,
}

/// The operator's answers in several slots: a lie each, or the truth. The claim says which slot is asked.
#[derive(Clone, Debug, Default)]
pub(super) struct Liars(HashMap<Cut, Liar>);

impl Cover {
    /// Nothing is made up.
    pub const NONE: Self = Self {
        content: None,
        below: None,
        above: None,
        sibling: false,
    };

    /// Makes up a value of the content.
    pub const fn content(self, value: Value) -> Self {
        let content = Some(value);
        Self { content, ..self }
    }

    /// Makes up nodes before the step from a position on.
    pub const fn below(self, from: u64) -> Self {
        let below = Some(from);
        Self { below, ..self }
    }

    /// Makes up nodes after the step up to a position.
    pub const fn above(self, until: u64) -> Self {
        let above = Some(until);
        Self { above, ..self }
    }

    /// Makes up siblings.
    pub const fn sibling(self) -> Self {
        let sibling = true;
        Self { sibling, ..self }
    }
}

impl Liar {
    /// Lies about a unit, and answers with the truth where it is asked about anything else.
    pub const fn new(unit: u64, lie: Lie) -> Self {
        Self {
            unit,
            lie,
            cover: Cover::NONE,
            silent: None,
            salt: 0,
        }
    }

    /// Lies about a value of a step, and of nothing else.
    pub const fn in_step(field: Field) -> Self {
        let step = WRONG_STEP;
        let follows = false;
        Self::new(WRONG_UNIT, Lie::Trace(StepLie { step, field, follows }))
    }

    /// Covers the lie up further down.
    pub const fn covered(self, cover: Cover) -> Self {
        Self { cover, ..self }
    }

    /// Is silent from a stage on.
    pub const fn silent(self, stage: Stage) -> Self {
        Self {
            silent: Some(stage),
            ..self
        }
    }

    /// The chain state that it claims after so many units.
    pub fn state(&self, count: u64) -> Cut {
        let salted = self.salt << 32 | count;
        cut(&B256::from_slice(&made_up("chain state", salted, 32)))
    }

    /// Whether it has no answer at a stage. It has none behind that either, as nothing is asked there.
    pub fn is_silent(&self, stage: Stage) -> bool {
        self.silent == Some(stage)
    }

    const fn step(&self) -> Option<u64> {
        match self.lie {
            Lie::Trace(StepLie { step, .. }) => Some(step),
            // What cannot be known is made up from the first step on that nobody knows.
            _ => None,
        }
    }

    fn units(&self, position: &Position, values: &mut Published) {
        let count = u64::from(position.claim().count);
        let asked = units(position.rounds()).asked(&position.unit_choices());
        for (index, at) in (0_u8..).zip(asked) {
            if at > self.unit {
                let state = self.state(at.min(count));
                values.insert(Item::Point(index), state.to_vec());
            }
        }
    }

    fn link(
        &self,
        position: &Position,
        knowledge: &Knowledge,
        values: &mut Published,
    ) -> Result<(), AnswerError> {
        let mut input: [u8; 64] = values[&Item::Input].as_slice().try_into().expect("64 bytes");
        let last = position.rounds().steps_total();
        match &self.lie {
            Lie::State => return Ok(()),
            Lie::First => {
                let first = if self.cover.sibling {
                    over_a_false_sibling(&input, knowledge)?
                } else {
                    made_up("first", 0, 24)
                };
                values.insert(Item::First, first);
                return Ok(());
            }
            Lie::Advice(advice) => input[32..].copy_from_slice(advice),
            Lie::Input => input[0] ^= 1,
            Lie::Trace(_) => {}
        }
        if let Some(first) = knowledge.machine_state(&input, 0)? {
            values.insert(Item::First, cut(&first).to_vec());
        }
        values.insert(Item::Input, input.to_vec());
        values.insert(Item::Last, made_up("machine state", last, 24));
        Ok(())
    }

    /// True as far as it is known and not lied about, then made up.
    fn trace(
        &self,
        position: &Position,
        knowledge: &Knowledge,
        values: &mut Published,
    ) -> Result<(), AnswerError> {
        let Some(input) = position.input() else {
            return Ok(());
        };
        if matches!(self.lie, Lie::State | Lie::First) {
            return Ok(());
        }
        let asked = trace(position.rounds()).asked(&position.step_choices());
        for (index, at) in (0_u8..).zip(asked) {
            let is_true = self.step().is_none_or(|step| at <= step);
            let known = knowledge
                .machine_state(&input, at)?
                .filter(|_| is_true && self.is_right(at, &input, knowledge));
            let state = known.map_or_else(|| made_up("machine state", at, 24), |state| cut(&state).to_vec());
            values.insert(Item::Point(index), state);
        }
        Ok(())
    }

    /// A unit that traps or lacks a preimage is true up to there: behind it the liar goes on by itself.
    fn is_right(&self, at: u64, input: &[u8; 64], knowledge: &Knowledge) -> bool {
        self.step().is_some() || knowledge.end_step(input).is_none_or(|stop| at <= stop)
    }

    fn after(&self, position: &Position) -> Vec<u8> {
        let step = position.step().unwrap_or_default();
        let state = position.machine_state(step + 1);
        state.map_or_else(|| made_up("machine state", step + 1, 24), |state| state.to_vec())
    }

    fn step_values(&self, position: &Position, knowledge: &Knowledge, values: &mut Published) {
        let after = self.after(position);
        values.insert(Item::Value(Value::After), after);
        let Lie::Trace(lie) = self.lie else {
            return;
        };
        let mut said = Values::new();
        for (item, bytes) in values.iter() {
            if let Item::Value(value) = item {
                said.insert(*value, bytes.as_slice());
            }
        }
        if let Field::Word(value, bits) = lie.field {
            let word = said.word(value) ^ bits;
            said.insert(value, word.to_le_bytes());
        }
        let mut claim = StepClaim::from_values(&said);
        if let Field::StatusBefore(status) = lie.field {
            claim.status = status;
        }
        if lie.follows {
            claim.conclude(&knowledge.text());
        }
        match lie.field {
            Field::Status(status) => claim.status_after = status,
            Field::Ends(status) => {
                (claim.status_after, claim.middle) = (status, claim.before);
                (claim.address, claim.written) = (0, 0);
                if status != HALTED {
                    claim.next = claim.pc;
                }
            }
            Field::Middle => claim.middle = cut(&B256::from_slice(&made_up("middle", 0, 32))),
            _ => {}
        }
        let said = claim.values();
        for (item, bytes) in values.iter_mut() {
            if let Item::Value(value) = item {
                *bytes = said.bytes(*value).to_vec();
            }
        }
    }

    fn content(&self, position: &Position, part: Part, values: &mut Published) {
        let Some(made_up) = self.cover.content else {
            return;
        };
        let Some(content) = values.get_mut(&Item::Value(made_up)) else {
            return;
        };
        match (made_up, part) {
            (Value::Leaf, Part::Link) => {
                let unit = position.unit().unwrap_or_default();
                let state = position.chain_state(unit + 1).unwrap_or_default();
                content[..24].copy_from_slice(&state);
            }
            (Value::Leaf, Part::Step) => claimed_leaf(position, content),
            _ => content[5] ^= 4,
        }
        if made_up == Value::Key {
            with_preimage(values);
        }
    }

    fn path(&self, position: &Position, part: Part, values: &mut Published) {
        let asked = bitsect_bridge::game::path().asked(&position.path_choices(part));
        for (index, at) in (0_u8..).zip(asked) {
            let is_below = self.cover.below.is_some_and(|from| at >= from);
            let is_above = self.cover.above.is_some_and(|until| at <= until);
            for (item, name, is_made_up) in [
                (Item::Node(index), "node", is_below),
                (Item::NodeAfter(index), "node after", is_above),
            ] {
                if is_made_up && values.contains_key(&item) {
                    values.insert(item, made_up(name, at, item.bytes()));
                }
            }
            let item = Item::Node(index);
            if let Some(lowest) = content_hash(position, part).filter(|_| is_below && at == LOWEST) {
                values.insert(item, lowest.to_vec());
            }
        }
        self.content(position, part, values);
    }
}

impl Prover for Liar {
    fn answer(&mut self, position: &Position, knowledge: &Knowledge) -> Result<Published, AnswerError> {
        let stage = position.stage();
        if self.is_silent(stage) {
            return Err(AnswerError::Unknown {
                stage,
                what: "what it is silent about",
            });
        }
        let mut values = match answer(position, knowledge) {
            Ok(values) => values,
            Err(AnswerError::Need(need)) => return Err(AnswerError::Need(need)),
            // Where the truth has no answer a liar has one.
            Err(_) => position
                .items()
                .into_iter()
                .map(|item| (item, made_up("answer", u64::from(item.number()), item.bytes())))
                .collect(),
        };
        match stage {
            Stage::Units(_) => self.units(position, &mut values),
            Stage::Link => self.link(position, knowledge, &mut values)?,
            Stage::Trace(_) => self.trace(position, knowledge, &mut values)?,
            Stage::Step => self.step_values(position, knowledge, &mut values),
            Stage::Content(part) => self.content(position, part, &mut values),
            Stage::Path(part, _) => self.path(position, part, &mut values),
            Stage::Final(_) if self.cover.sibling => {
                let item = Item::Value(Value::Sibling);
                values.insert(item, false_sibling().to_vec());
            }
            Stage::Final(_) => {}
        }
        Ok(values)
    }
}

impl Liars {
    /// Takes the lie behind a claim of so many units.
    pub(super) fn add(&mut self, count: u32, liar: &Liar) {
        self.0.insert(liar.state(count.into()), *liar);
    }
}

impl Prover for Liars {
    fn answer(&mut self, position: &Position, knowledge: &Knowledge) -> Result<Published, AnswerError> {
        match self.0.get_mut(&position.claim().state) {
            Some(liar) => liar.answer(position, knowledge),
            None => answer(position, knowledge),
        }
    }
}
