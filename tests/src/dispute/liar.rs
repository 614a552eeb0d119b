//! An operator that lies at a chosen place, and goes on from there as consistently as it can.

use bitsect_bridge::daemon::{Knowledge, Prover};
use bitsect_bridge::game::position::{Position, Published};
use bitsect_bridge::game::prover::{AnswerError, answer};
use bitsect_bridge::game::truth::Truth;
use bitsect_bridge::game::{Item, Part, Stage, trace, units};
use bitsect_judge::leaf::Value;
use bitsect_judge::step::cut;

/// A value of a step that is false.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// A word: this bit of it is changed.
    Word(Value, u8),
    /// The status after.
    Status(u8),
    /// The root between the writes, and so the one after.
    Middle,
    /// The root after alone.
    After,
}

/// Where an operator lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Only the chain state: the machine's run is the true one.
    State,
    /// The unit reads something else: these 32 bytes.
    Advice([u8; 32]),
    /// The unit's input begins with another state.
    Input,
    /// The machine's first state.
    First,
    /// The machine's last state: the trace is true up to this step.
    Trace {
        /// The step that is false.
        step: u64,
        /// What is false in it.
        field: Field,
        /// Whether the content that lies under the root is made up to fit.
        content: bool,
        /// From which position on nodes of a path are made up; none where all are true.
        nodes: Option<u64>,
    },
    /// Nothing is answered from this stage on.
    Silent(Stage),
}

/// The operator's answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Liar {
    /// The unit after which chain states are false.
    pub unit: u64,
    /// The lie.
    pub lie: Lie,
}

/// A value that is no truth, the same every time.
fn made_up(what: &str, at: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let mut hasher = blake3::Hasher::new();
    hasher
        .update(b"made up")
        .update(what.as_bytes())
        .update(&at.to_le_bytes());
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

impl Liar {
    /// The chain state that it claims after so many units.
    pub fn state(count: u64) -> [u8; 24] {
        let mut state = [0; 24];
        state.copy_from_slice(&made_up("chain state", count, 24));
        state
    }

    fn step(&self) -> Option<u64> {
        match self.lie {
            Lie::Trace { step, .. } => Some(step),
            // What cannot be known is made up from the first step on that nobody knows.
            _ => None,
        }
    }

    fn units(&self, position: &Position, values: &mut Published) {
        let count = u64::from(position.claim().count);
        let asked = units(position.rounds()).asked(&position.unit_choices());
        for (index, at) in (0_u8..).zip(asked) {
            if at > self.unit {
                let state = Self::state(at.min(count));
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
            Lie::State | Lie::Silent(_) => return Ok(()),
            Lie::First => {
                values.insert(Item::First, made_up("first", 0, 24));
                return Ok(());
            }
            Lie::Advice(advice) => input[32..].copy_from_slice(advice),
            Lie::Input => input[0] ^= 1,
            Lie::Trace { .. } => {}
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
        if matches!(self.lie, Lie::State | Lie::Silent(_) | Lie::First) {
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

    fn step_values(&self, position: &Position, values: &mut Published) {
        let after = self.after(position);
        let mut set = |value, bytes: Vec<u8>| drop(values.insert(Item::Value(value), bytes));
        set(Value::After, after);
        let Lie::Trace { field, .. } = self.lie else {
            return;
        };
        match field {
            Field::Word(value, bit) => {
                let word = values.get_mut(&Item::Value(value)).expect("a word of the step");
                word[usize::from(bit / 8)] ^= 1 << (bit % 8);
            }
            Field::Status(status) => {
                let statuses = values
                    .get_mut(&Item::Value(Value::Statuses))
                    .expect("the statuses");
                statuses[0] = statuses[0] & 15 | status << 4;
            }
            Field::Middle => {
                values.insert(Item::Value(Value::Middle), made_up("middle", 0, 24));
            }
            Field::After => {}
        }
    }

    /// Puts the claimed word into the content, as if it lay there.
    fn content(&self, position: &Position, values: &mut Published) {
        let Lie::Trace {
            field: Field::Word(value, _),
            content: true,
            ..
        } = self.lie
        else {
            return;
        };
        let (Some(claim), Some(leaf)) = (position.step_claim(), values.get_mut(&Item::Value(Value::Leaf)))
        else {
            return;
        };
        let register = |shift: u32| ((claim.instruction >> shift & 15) * 4) as usize;
        let (at, word) = match value {
            Value::Pc => (0, claim.pc),
            Value::Instruction => ((claim.pc % 64) as usize, claim.instruction),
            Value::First if claim.instruction == 0x73 => (4, claim.first),
            Value::Second if claim.instruction == 0x73 => (40, claim.second),
            Value::First => (register(15), claim.first),
            Value::Second => (register(20), claim.second),
            Value::Word => ((claim.address % 64) as usize & !3, claim.word),
            _ => return,
        };
        leaf[at..at + 4].copy_from_slice(&word.to_le_bytes());
    }

    fn path(&self, position: &Position, part: Part, values: &mut Published) {
        let Lie::Trace {
            nodes: Some(from), ..
        } = self.lie
        else {
            return;
        };
        let asked = bitsect_bridge::game::path().asked(&position.path_choices(part));
        for (index, at) in (0_u8..).zip(asked) {
            if at >= from {
                for item in [Item::Node(index), Item::NodeAfter(index)] {
                    if values.contains_key(&item) {
                        values.insert(item, made_up("node", at, item.bytes()));
                    }
                }
            }
        }
    }
}

impl Prover for Liar {
    fn answer(&mut self, position: &Position, knowledge: &Knowledge) -> Result<Published, AnswerError> {
        let stage = position.stage();
        if self.lie == Lie::Silent(stage) {
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
            Stage::Step => self.step_values(position, &mut values),
            Stage::Content(Part::Step) => self.content(position, &mut values),
            Stage::Content(Part::Link) => {}
            Stage::Path(part, _) => self.path(position, part, &mut values),
            Stage::Final(_) => {}
        }
        Ok(values)
    }
}
