//! What the prover answers one after the other, what it publishes there, and what the challenger chooses behind it
//! (docs/dispute.md, "Stages").

use bitsect_judge::leaf::Value;

use super::search::Search;
use crate::params::{ARITY, PATH_ARITY, PATH_ROUNDS, Rounds};

/// What a path game is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// The machine's first or last state.
    Link,
    /// One step of the machine.
    Step,
}

/// A stage: the prover publishes what it asks for in one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// A round of the search over units.
    Units(u8),
    /// The unit's input, and the machine's first and last state.
    Link,
    /// A round of the search over the machine's steps.
    Trace(u8),
    /// One step.
    Step,
    /// What lies at a place that is read or written.
    Content(Part),
    /// A round of the search over the path to it.
    Path(Part, u8),
    /// What lies beside the lower of two neighbours on the path.
    Final(Part),
}

/// Something that is published in a stage, under a key of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Item {
    /// A state in the search over units or steps.
    Point(u8),
    /// A node on the path, whole.
    Node(u8),
    /// A node on the path after the write, whole.
    NodeAfter(u8),
    /// The input leaf: the chain state before the unit, whole, and the advice.
    Input,
    /// The machine's first state.
    First,
    /// The machine's last state.
    Last,
    /// A value of the judge's.
    Value(Value),
}

/// Which of a stage's items are published: an answer leaf each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Form {
    /// The stage has one form.
    Only,
    /// Nothing: the content is known already.
    Nothing,
    /// A leaf's content.
    Leaf,
    /// The key leaf's content.
    Key,
    /// A node.
    Node,
    /// What a SHA-256 call brings, or the nodes of its write.
    Preimage,
    /// Of a read.
    Read,
    /// Of a write.
    Write,
}

/// What the challenger opens behind [`Stage::Link`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Opening {
    /// First and last state are right: a step is wrong.
    Trace,
    /// The first state does not follow from the input.
    Init,
    /// The output in the last state is another.
    Output,
    /// The last state has not halted well.
    Status,
}

/// What of a step the challenger opens behind [`Stage::Step`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Subject {
    /// `pc` or status.
    Control,
    /// The instruction's word.
    Instruction,
    /// The first source register.
    First,
    /// The second source register.
    Second,
    /// The memory word.
    Word,
    /// `a7` of a call.
    CallNumber,
    /// `a0` of a call.
    CallAddress,
    /// `a1` of a call.
    CallLevel,
    /// The write of `rd`.
    WriteRegister,
    /// The write of a memory word.
    WriteMemory,
    /// The write of control.
    WriteControl,
    /// A `NODE_FROM_HASH`.
    NodeFromHash,
    /// A `HASH_OF_NODE`.
    HashOfNode,
    /// A `SHA256_PREIMAGE`.
    Preimage,
}

/// How the challenger goes on behind [`Stage::Content`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Go {
    /// The content is not what lies there.
    Read,
    /// What the step makes of it is not under the root after.
    Write,
    /// The write of key and block.
    Preimage,
}

impl Opening {
    /// All, by option.
    pub const ALL: [Self; 4] = [Self::Trace, Self::Init, Self::Output, Self::Status];
}

impl Subject {
    /// All, by option.
    pub const ALL: [Self; 14] = [
        Self::Control,
        Self::Instruction,
        Self::First,
        Self::Second,
        Self::Word,
        Self::CallNumber,
        Self::CallAddress,
        Self::CallLevel,
        Self::WriteRegister,
        Self::WriteMemory,
        Self::WriteControl,
        Self::NodeFromHash,
        Self::HashOfNode,
        Self::Preimage,
    ];

    /// Gives the form of the content.
    pub const fn content(self) -> Form {
        match self {
            Self::NodeFromHash => Form::Key,
            Self::HashOfNode => Form::Node,
            Self::Preimage => Form::Preimage,
            _ => Form::Leaf,
        }
    }
}

impl Go {
    /// All, by option.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Preimage];
}

impl Item {
    /// Gives its length in bytes.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Point(_) | Self::First | Self::Last => Value::Root.bytes(),
            Self::Node(_) | Self::NodeAfter(_) => Value::Top.bytes(),
            Self::Input => Value::Leaf.bytes(),
            Self::Value(value) => value.bytes(),
        }
    }

    /// Gives its number within the stage, for the key's path.
    pub const fn number(self) -> u32 {
        match self {
            Self::Point(index) => index as u32,
            Self::Node(index) => 8 + index as u32,
            Self::NodeAfter(index) => 16 + index as u32,
            Self::Input => 32,
            Self::First => 33,
            Self::Last => 34,
            Self::Value(value) => 64 + value as u32,
        }
    }
}

/// What a step publishes.
const STEP: [Value; 12] = [
    Value::Statuses,
    Value::Pc,
    Value::Instruction,
    Value::First,
    Value::Second,
    Value::Word,
    Value::Address,
    Value::Written,
    Value::Next,
    Value::Before,
    Value::Middle,
    Value::After,
];

fn values(values: &[Value]) -> Vec<Item> {
    values.iter().copied().map(Item::Value).collect()
}

impl Stage {
    /// Gives all stages; a stage's key path is its place in this list.
    pub fn all(rounds: Rounds) -> Vec<Self> {
        let mut stages: Vec<Self> = (0..rounds.units).map(Self::Units).collect();
        stages.push(Self::Link);
        stages.extend((0..rounds.trace).map(Self::Trace));
        stages.push(Self::Step);
        for part in [Part::Link, Part::Step] {
            stages.push(Self::Content(part));
            stages.extend((0..PATH_ROUNDS).map(|round| Self::Path(part, round)));
            stages.push(Self::Final(part));
        }
        stages
    }

    /// Gives its number, for key paths.
    pub fn number(self, rounds: Rounds) -> u32 {
        let (units, trace) = (u32::from(rounds.units), u32::from(rounds.trace));
        let step = units + 1 + trace;
        let part = |part: Part| match part {
            Part::Link => step + 1,
            Part::Step => step + 3 + u32::from(PATH_ROUNDS),
        };
        match self {
            Self::Units(round) => u32::from(round),
            Self::Link => units,
            Self::Trace(round) => units + 1 + u32::from(round),
            Self::Step => step,
            Self::Content(of) => part(of),
            Self::Path(of, round) => part(of) + 1 + u32::from(round),
            Self::Final(of) => part(of) + 1 + u32::from(PATH_ROUNDS),
        }
    }

    /// Gives the stage behind which the challenger's choice leads to this one; none for the first.
    pub fn previous(self, rounds: Rounds) -> Option<Self> {
        Some(match self {
            Self::Units(0) => return None,
            Self::Units(round) => Self::Units(round - 1),
            Self::Link => Self::Units(rounds.units - 1),
            Self::Trace(0) => Self::Link,
            Self::Trace(round) => Self::Trace(round - 1),
            Self::Step => Self::Trace(rounds.trace - 1),
            Self::Content(Part::Link) => Self::Link,
            Self::Content(Part::Step) => Self::Step,
            Self::Path(part, 0) => Self::Content(part),
            Self::Path(part, round) => Self::Path(part, round - 1),
            Self::Final(part) => Self::Path(part, PATH_ROUNDS - 1),
        })
    }

    /// Gives the number of options of the choice behind it: zero behind the last.
    pub const fn options(self) -> u8 {
        match self {
            Self::Units(_) | Self::Trace(_) => ARITY,
            Self::Link => Opening::ALL.len() as u8,
            Self::Step => Subject::ALL.len() as u8,
            Self::Content(Part::Link) => 1,
            Self::Content(Part::Step) => Go::ALL.len() as u8,
            Self::Path(..) => PATH_ARITY,
            Self::Final(_) => 0,
        }
    }

    /// Gives the stage that an option leads to.
    pub fn next(self, option: u8, rounds: Rounds) -> Option<Self> {
        if option >= self.options() {
            return None;
        }
        Some(match self {
            Self::Units(round) if round + 1 < rounds.units => Self::Units(round + 1),
            Self::Units(_) => Self::Link,
            Self::Link if option == Opening::Trace as u8 => Self::Trace(0),
            Self::Link => Self::Content(Part::Link),
            Self::Trace(round) if round + 1 < rounds.trace => Self::Trace(round + 1),
            Self::Trace(_) => Self::Step,
            Self::Step => Self::Content(Part::Step),
            Self::Content(part) => Self::Path(part, 0),
            Self::Path(part, round) if round + 1 < PATH_ROUNDS => Self::Path(part, round + 1),
            Self::Path(part, _) => Self::Final(part),
            Self::Final(_) => return None,
        })
    }

    /// Gives the forms that its answer may have.
    pub fn forms(self) -> Vec<Form> {
        match self {
            Self::Units(_) | Self::Link | Self::Trace(_) | Self::Step | Self::Final(_) => vec![Form::Only],
            Self::Content(Part::Link) => vec![Form::Nothing, Form::Leaf],
            Self::Content(Part::Step) => vec![Form::Leaf, Form::Key, Form::Node, Form::Preimage],
            Self::Path(Part::Link, _) => vec![Form::Read],
            Self::Path(Part::Step, 0) => vec![Form::Read, Form::Write, Form::Preimage],
            Self::Path(Part::Step, _) => vec![Form::Read, Form::Write],
        }
    }

    /// Gives what is published in a form, in the order of the witness: the first uppermost.
    pub fn items(self, form: Form) -> Vec<Item> {
        let nodes = 0..PATH_ARITY - 1;
        match (self, form) {
            (Self::Units(_) | Self::Trace(_), _) => (0..ARITY - 1).map(Item::Point).collect(),
            (Self::Link, _) => vec![Item::Input, Item::First, Item::Last],
            (Self::Step, _) => values(&STEP),
            (Self::Content(_), Form::Leaf) => values(&[Value::Leaf]),
            (Self::Content(_), Form::Key) => values(&[Value::Key]),
            (Self::Content(_), Form::Node) => values(&[Value::Node]),
            (Self::Content(_), Form::Preimage) => values(&[Value::Key, Value::Chaining, Value::Block]),
            (Self::Content(_), _) => vec![],
            (Self::Path(..), Form::Read) => nodes.map(Item::Node).collect(),
            (Self::Path(..), _) => {
                let after = nodes.clone().map(Item::NodeAfter);
                let mut items: Vec<Item> = nodes.map(Item::Node).chain(after).collect();
                if form == Form::Preimage {
                    items.extend(values(&[Value::KeyHash, Value::BlockHash]));
                }
                items
            }
            (Self::Final(_), _) => values(&[Value::Sibling]),
        }
    }

    /// Gives everything that may be published in it, each once.
    pub fn all_items(self) -> Vec<Item> {
        let mut items: Vec<Item> = self
            .forms()
            .into_iter()
            .flat_map(|form| self.items(form))
            .collect();
        items.sort_unstable();
        items.dedup();
        items
    }

    /// Gives the form in which the answer has to be, by the options chosen so far: `chosen` gives that behind a stage.
    pub fn form(self, chosen: impl Fn(Self) -> Option<u8>) -> Option<Form> {
        let go =
            |part| chosen(Self::Content(part)).and_then(|option| Go::ALL.get(usize::from(option)).copied());
        Some(match self {
            Self::Units(_) | Self::Link | Self::Trace(_) | Self::Step | Self::Final(_) => Form::Only,
            Self::Content(Part::Link) => match Opening::ALL.get(usize::from(chosen(Self::Link)?))? {
                Opening::Trace => return None,
                Opening::Init => Form::Nothing,
                Opening::Output | Opening::Status => Form::Leaf,
            },
            Self::Content(Part::Step) => Subject::ALL.get(usize::from(chosen(Self::Step)?))?.content(),
            Self::Path(part, round) => match go(part)? {
                Go::Read => Form::Read,
                Go::Preimage if round == 0 => Form::Preimage,
                Go::Write | Go::Preimage => Form::Write,
            },
        })
    }
}

/// Gives the search over units.
pub const fn units(rounds: Rounds) -> Search {
    Search {
        arity: ARITY,
        rounds: rounds.units,
    }
}

/// Gives the search over steps.
pub const fn trace(rounds: Rounds) -> Search {
    Search {
        arity: ARITY,
        rounds: rounds.trace,
    }
}

/// Gives the search over a path.
pub const fn path() -> Search {
    Search {
        arity: PATH_ARITY,
        rounds: PATH_ROUNDS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const ROUNDS: Rounds = Rounds { units: 4, trace: 5 };

    #[test]
    fn numbers_are_places_in_the_list() {
        for (number, stage) in Stage::all(ROUNDS).into_iter().enumerate() {
            assert_eq!(stage.number(ROUNDS), number as u32, "{stage:?}");
        }
    }

    #[test]
    fn every_stage_is_reached_from_the_one_before() {
        let mut reached = BTreeSet::from([Stage::Units(0)]);
        for stage in Stage::all(ROUNDS) {
            for option in 0..stage.options() {
                let next = stage.next(option, ROUNDS).unwrap();
                assert_eq!(next.previous(ROUNDS), Some(stage), "{stage:?} {option}");
                reached.insert(next);
            }
            assert_eq!(stage.next(stage.options(), ROUNDS), None);
        }
        assert_eq!(reached.len(), Stage::all(ROUNDS).len());
    }

    #[test]
    fn items_have_keys_of_their_own() {
        for stage in Stage::all(ROUNDS) {
            let items = stage.all_items();
            let numbers: BTreeSet<u32> = items.iter().map(|item| item.number()).collect();
            assert_eq!(numbers.len(), items.len(), "{stage:?}");
        }
    }

    /// Nodes are inputs of a hash; states are not.
    #[test]
    fn nodes_are_whole_and_states_are_cut() {
        for stage in Stage::all(ROUNDS) {
            for item in stage.all_items() {
                let bytes = match item {
                    Item::Point(_) | Item::First | Item::Last => 24,
                    Item::Node(_) | Item::NodeAfter(_) => 32,
                    Item::Input => 64,
                    Item::Value(value) => value.bytes(),
                };
                assert_eq!(item.bytes(), bytes, "{item:?}");
            }
        }
    }

    #[test]
    fn options_are_in_order() {
        for (option, subject) in Subject::ALL.into_iter().enumerate() {
            assert_eq!(subject as usize, option);
        }
        for (option, opening) in Opening::ALL.into_iter().enumerate() {
            assert_eq!(opening as usize, option);
        }
        for (option, go) in Go::ALL.into_iter().enumerate() {
            assert_eq!(go as usize, option);
        }
    }
}
