//! What Bitcoin would allow, by values alone: the rules at each answered stage, and the gates of each choice
//! (docs/dispute.md).

use std::collections::BTreeMap;

use alloy_primitives::B256;
use bitsect_bridge::game::position::{Position, Turn};
use bitsect_bridge::game::truth::{Place as At, Truth};
use bitsect_bridge::game::{Form, Go, Item, Opening, Part, Stage, Subject, units};
use bitsect_judge::leaf::{Rule, Value, Values};
use bitsect_judge::path::{Field, Place, Time, content_rules, level_rules, not_halted};
use bitsect_judge::step::gate::Access;
use bitsect_judge::step::{StepClaim, rules};
use bitsect_machine::address::{CONTROL, INPUT, KEY, OUTPUT, REGISTERS};
use bitsect_vm::check::checked_ticket;

use crate::leaves::Leaves;
use crate::world::World;

pub struct Referee {
    leaves: Leaves,
    steps: Vec<Rule>,
    contents: BTreeMap<String, Rule>,
    not_halted: Rule,
    gates: BTreeMap<Subject, Vec<Rule>>,
    /// The siblings of the input leaf in every first state, from the root down.
    constants: Vec<B256>,
}

/// The leaves that an access is of.
pub fn read_place(subject: Subject) -> Place {
    match subject {
        Subject::Control | Subject::WriteControl => Place::Constant(CONTROL),
        Subject::Instruction => Place::Pc,
        Subject::First => Place::Register(Field::Rs1),
        Subject::Second => Place::Register(Field::Rs2),
        Subject::Word | Subject::WriteMemory => Place::Address,
        Subject::CallNumber => Place::Constant(REGISTERS + 64),
        Subject::CallAddress | Subject::CallLevel => Place::Constant(REGISTERS),
        Subject::WriteRegister => Place::Register(Field::Rd),
        Subject::NodeFromHash | Subject::Preimage => Place::Constant(KEY),
        Subject::HashOfNode => Place::Call,
    }
}

pub fn write_place(subject: Subject) -> Option<Place> {
    match subject {
        Subject::WriteRegister | Subject::WriteMemory | Subject::WriteControl => Some(read_place(subject)),
        Subject::NodeFromHash => Some(Place::Call),
        Subject::HashOfNode => Some(Place::Constant(KEY)),
        Subject::Preimage => Some(Place::KeyAndBlock),
        _ => None,
    }
}

/// Where a path leads that there are leaves for. A leaf that is written is only searched for as one.
fn reach(subject: Subject, go: Go) -> Option<Place> {
    let writes_leaf = matches!(
        subject,
        Subject::WriteRegister | Subject::WriteMemory | Subject::WriteControl
    );
    match go {
        Go::Read => (!writes_leaf).then(|| read_place(subject)),
        Go::Write => write_place(subject).filter(|_| subject != Subject::Preimage),
        Go::Preimage => write_place(subject).filter(|_| subject == Subject::Preimage),
    }
}

/// The rules of the content under the lowest node, by the beginnings of their names.
fn below(subject: Subject, go: Go) -> &'static [&'static str] {
    match (subject, go) {
        (Subject::NodeFromHash | Subject::Preimage, Go::Read) => &["path/leaf-hash/key"],
        (Subject::HashOfNode, Go::Read) => &["call/node-link"],
        (Subject::WriteRegister, Go::Write) => &["path/leaf-hash", "path/write/register-"],
        (Subject::WriteMemory, Go::Write) => &["path/leaf-hash", "path/write/memory-"],
        (Subject::WriteControl, Go::Write) => &["path/leaf-hash", "path/write/control"],
        (Subject::NodeFromHash, Go::Write) => &["call/node-from-hash"],
        (Subject::HashOfNode, Go::Write) => &["call/hash-of-node"],
        (Subject::Preimage, Go::Preimage) => &["call/key-hash", "call/block-hash", "call/preimage-node"],
        (Subject::NodeFromHash | Subject::HashOfNode | Subject::Preimage, _) => &[],
        _ => &["path/leaf-hash"],
    }
}

fn words(subject: Subject) -> &'static [&'static str] {
    match subject {
        Subject::Control => &["path/word/pc", "path/word/status"],
        Subject::Instruction => &["path/word/instruction"],
        Subject::First => &["path/word/rs1"],
        Subject::Second => &["path/word/rs2"],
        Subject::Word => &["path/word/memory"],
        Subject::CallNumber => &["path/word/a7"],
        Subject::CallAddress => &["path/word/a0"],
        Subject::CallLevel => &["path/word/a1"],
        Subject::Preimage => &["call/preimage"],
        _ => &[],
    }
}

fn gates(subject: Subject) -> Vec<Rule> {
    match subject {
        Subject::Control => vec![],
        Subject::Instruction => Access::Instruction.gates(),
        Subject::First => Access::First.gates(),
        Subject::Second => Access::Second.gates(),
        Subject::Word => Access::Word.gates(),
        Subject::CallNumber => Access::CallNumber.gates(),
        Subject::CallAddress => Access::CallAddress.gates(),
        Subject::CallLevel => Access::CallLevel.gates(),
        Subject::WriteRegister => Access::WriteRegister.gates(),
        Subject::WriteMemory => Access::WriteMemory.gates(),
        Subject::WriteControl => Access::WriteControl.gates(),
        Subject::NodeFromHash => Access::WriteNode.gates(),
        Subject::HashOfNode => Access::Node.gates(),
        Subject::Preimage => Access::WritePreimage.gates(),
    }
}

impl Referee {
    /// For a world that has run its first unit.
    pub fn new(world: &World) -> Self {
        let path = world.path(&world.inputs[0], 0, At::leaf(INPUT)).unwrap();
        let gated = Subject::ALL
            .into_iter()
            .filter(|subject| *subject != Subject::Control);
        Self {
            leaves: Leaves::new(world),
            steps: rules(&world.program.text),
            contents: content_rules()
                .into_iter()
                .map(|rule| (rule.name.clone(), rule))
                .collect(),
            not_halted: not_halted(),
            gates: gated.map(|subject| (subject, gates(subject))).collect(),
            constants: (0..26).map(|position| path.sibling(position).unwrap()).collect(),
        }
    }

    /// Whether the challenger can choose this.
    pub fn allows(&self, position: &Position, option: u8) -> bool {
        match position.stage() {
            // The unit must be one of the claim's: behind them the state stands still, which no unit does.
            Stage::Units(round) if round + 1 == position.rounds().units => {
                let mut choices = position.unit_choices();
                choices.push(option);
                units(position.rounds()).interval(&choices).0 < u64::from(position.claim().count)
            }
            Stage::Step => self.opens(Subject::ALL[usize::from(option)], &position.step_claim().unwrap()),
            _ => option < position.stage().options(),
        }
    }

    /// Whether a gate opens a subject of a step.
    pub fn opens(&self, subject: Subject, claim: &StepClaim) -> bool {
        let values = claim.values();
        let gates = self.gates.get(&subject);
        gates.is_none_or(|gates| gates.iter().any(|gate| gate.refute(&values).is_some()))
    }

    /// Gives a rule that refutes the last answer: by the list here and by the leaves that there are on Bitcoin, which must
    /// agree.
    pub fn refutes(&self, position: &Position) -> Option<String> {
        assert_eq!(position.turn(), Turn::Challenger);
        let listed = self.listed(position);
        let leaf = self.leaves.taken(position);
        assert_eq!(
            leaf.is_some(),
            listed.is_some(),
            "{leaf:?} {listed:?} {position:x?}"
        );
        listed
    }

    fn listed(&self, position: &Position) -> Option<String> {
        let named = |refuted: bool, name: &str| refuted.then(|| name.to_owned());
        match position.stage() {
            Stage::Units(_) => {
                let claim = position.claim();
                let differs = (u64::from(claim.count)..units(position.rounds()).intervals())
                    .filter_map(|at| position.chain_state(at))
                    .any(|state| state != claim.state);
                named(differs, "units/after-claim")
            }
            Stage::Link => {
                let state = position.chain_state(position.unit().unwrap()).unwrap();
                let input = position.input().unwrap();
                named(input[..24] != state, "link/input").or_else(|| of_check(position, &input))
            }
            Stage::Trace(_) => None,
            Stage::Step => {
                let (at, claim) = (position.step().unwrap(), position.step_claim().unwrap());
                named(position.machine_state(at) != Some(claim.before), "step/before")
                    .or_else(|| named(position.machine_state(at + 1) != Some(claim.after), "step/after"))
                    .or_else(|| first(&self.steps, &position.step_values().unwrap()))
            }
            Stage::Content(part) => self.of_content(position, part),
            // In the last interval the content is below the lowest node: there is no neighbour to ask for.
            Stage::Path(part, 2) if position.path_choices(part) == [2, 2] => self.of_lowest(position, part),
            Stage::Path(..) => None,
            Stage::Final(Part::Link) => self.of_final_link(position),
            Stage::Final(Part::Step) => self.of_final_step(position),
        }
    }

    /// The first of some content rules that refutes. A name that ends in `-` is a family.
    fn any(&self, names: &[&str], values: &Values) -> Option<String> {
        let named = |rule: &&Rule| {
            names.iter().any(|name| {
                rule.name == *name
                    || *name == "path/write/control" && rule.name.starts_with(name)
                    || name.ends_with('-') && rule.name.starts_with(name)
            })
        };
        first(self.contents.values().filter(named), values)
    }

    fn of_content(&self, position: &Position, part: Part) -> Option<String> {
        let values = values(position);
        if part == Part::Step {
            return self.any(words(position.subject().unwrap()), &values);
        }
        match position.opening().unwrap() {
            Opening::Output => {
                let next = position.chain_state(position.unit().unwrap() + 1).unwrap();
                (values.bytes(Value::Leaf)[..24] != next).then(|| "link/output".to_owned())
            }
            Opening::Status => first([&self.not_halted], &values),
            _ => None,
        }
    }

    fn of_lowest(&self, position: &Position, part: Part) -> Option<String> {
        let mut values = values(position);
        for (value, time) in [(Value::Bottom, Time::Before), (Value::BottomAfter, Time::After)] {
            if let Some(node) = position.node(part, time, 26) {
                values.insert(value, node);
            }
        }
        if part == Part::Link {
            if position.opening() == Some(Opening::Init) {
                values.insert(Value::Leaf, position.input().unwrap());
            }
            return self.any(&["path/leaf-hash"], &values);
        }
        let (subject, go) = (position.subject().unwrap(), position.go(Part::Step).unwrap());
        self.any(below(subject, go), &values)
    }

    fn of_final_link(&self, position: &Position) -> Option<String> {
        let values = values(position);
        let opening = position.opening().unwrap();
        let upper = position.upper_node(Part::Link).unwrap();
        if upper == 26 {
            return None;
        }
        let constant = self.constants[upper as usize];
        if opening == Opening::Init && values.bytes(Value::Sibling) != constant.as_slice() {
            return Some("link/constant".to_owned());
        }
        let address = match opening {
            Opening::Output => OUTPUT,
            Opening::Status => CONTROL,
            _ => INPUT,
        };
        let level = 25 - upper as usize;
        first(&level_rules(Place::Constant(address), level, false), &values)
    }

    fn of_final_step(&self, position: &Position) -> Option<String> {
        let values = values(position);
        let (subject, go) = (position.subject().unwrap(), position.go(Part::Step).unwrap());
        let writes = go != Go::Read;
        let upper = position.upper_node(Part::Step).unwrap();
        if upper == 26 {
            return None;
        }
        let place = reach(subject, go)?;
        first(&level_rules(place, 25 - upper as usize, writes), &values)
    }
}

/// What is wrong with where checks are.
fn of_check(position: &Position, input: &[u8; 64]) -> Option<String> {
    let (check, advice) = (position.check()?, B256::from_slice(&input[32..]));
    if position.unit().unwrap() + 1 == u64::from(position.claim().count) {
        return (advice != check).then(|| "check/missing".to_owned());
    }
    checked_ticket(&advice).map(|_| "check/early".to_owned())
}

fn first<'a>(rules: impl IntoIterator<Item = &'a Rule>, values: &Values) -> Option<String> {
    rules
        .into_iter()
        .find(|rule| rule.refute(values).is_some())
        .map(|rule| rule.name.clone())
}

/// Everything that was published, under the names that the judge's rules have for it.
fn values(position: &Position) -> Values {
    let mut values = position.step_values().unwrap_or_default();
    for part in [Part::Link, Part::Step] {
        let stages = [Stage::Content(part), Stage::Path(part, 0), Stage::Final(part)];
        for (stage, item) in stages.into_iter().flat_map(|stage| {
            let items = stage.all_items().into_iter();
            items.map(move |item| (stage, item))
        }) {
            if let (Item::Value(value), Some(bytes)) = (item, position.item(stage, item)) {
                values.insert(value, bytes);
            }
        }
        let Some(upper) = position.upper_node(part) else {
            continue;
        };
        for (time, root, top, bottom) in [
            (Time::Before, Value::Root, Value::Top, Value::Bottom),
            (Time::After, Value::RootAfter, Value::TopAfter, Value::BottomAfter),
        ] {
            let writes = position.form(Stage::Path(part, 0)) != Some(Form::Read);
            let top = if upper == 0 { root } else { top };
            if time == Time::After && !writes {
                continue;
            }
            for (value, at) in [(top, upper), (bottom, upper + 1)] {
                if let Some(node) = position.node(part, time, at) {
                    values.insert(value, node);
                }
            }
        }
    }
    values
}
