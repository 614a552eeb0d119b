//! Which leaves win at which stage (docs/dispute.md).

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy_primitives::B256;
use bitsect_judge::leaf::Value;
use bitsect_judge::path::{Field, Place, differs_from_constant, equals_constant, level_rules};
use bitsect_judge::step::Cut;
use bitsect_machine::DEPTH;
use bitsect_machine::address::{A0, A1, A7, CONTROL, INPUT, KEY, OUTPUT, REGISTERS};
use bitsect_vm::check::CHECK_TAG;

use super::repeat::Repeat;
use super::rules::{Program, RuleEntry, digits, sibling_rule};
use super::verdict::VerdictLeaf;
use super::{Condition, Source, UnitPlace};
use crate::game::search::{Bound, Chosen};
use crate::game::{Go, Item, Opening, Part, Stage, Subject, path, trace, units};
use crate::params::{ARITY, PATH_ROUNDS, Rounds};
use crate::secret::ClaimItem;

/// What lies where, and under which roots.
#[derive(Clone, Copy, Debug)]
struct Reach {
    part: Part,
    /// The option behind `Link` or `Step`.
    option: u8,
    go: Go,
    place: Place,
    /// The roots before and after; the same in a read.
    roots: (Source, Source),
}

const fn step(value: Value) -> Source {
    Source::Stage(Stage::Step, Item::Value(value))
}

const fn register(number: u8) -> Place {
    Place::Constant(REGISTERS + 4 * number as u32)
}

/// Gives everything that a path may lead to.
fn reaches() -> Vec<Reach> {
    let before = step(Value::Before);
    let read = |subject: Subject, place| Reach {
        part: Part::Step,
        option: subject as u8,
        go: Go::Read,
        place,
        roots: (before, before),
    };
    let write = |subject: Subject, go, place| Reach {
        go,
        roots: (before, step(Value::Middle)),
        ..read(subject, place)
    };
    let link = |opening: Opening, item, address| Reach {
        part: Part::Link,
        option: opening as u8,
        go: Go::Read,
        place: Place::Constant(address),
        roots: (Source::Stage(Stage::Link, item), Source::Stage(Stage::Link, item)),
    };
    vec![
        link(Opening::Init, Item::First, INPUT),
        link(Opening::Output, Item::Last, OUTPUT),
        link(Opening::Status, Item::Last, CONTROL),
        read(Subject::Control, Place::Constant(CONTROL)),
        read(Subject::Instruction, Place::Pc),
        read(Subject::First, Place::Register(Field::Rs1)),
        read(Subject::Second, Place::Register(Field::Rs2)),
        read(Subject::Word, Place::Address),
        read(Subject::CallNumber, register(A7)),
        read(Subject::CallAddress, register(A0)),
        read(Subject::CallLevel, register(A1)),
        read(Subject::NodeFromHash, Place::Constant(KEY)),
        read(Subject::HashOfNode, Place::Call),
        read(Subject::Preimage, Place::Constant(KEY)),
        write(Subject::WriteRegister, Go::Write, Place::Register(Field::Rd)),
        write(Subject::WriteMemory, Go::Write, Place::Address),
        Reach {
            roots: (step(Value::Middle), step(Value::After)),
            ..write(Subject::WriteControl, Go::Write, Place::Constant(CONTROL))
        },
        write(Subject::NodeFromHash, Go::Write, Place::Call),
        write(Subject::HashOfNode, Go::Write, Place::Constant(KEY)),
        write(Subject::Preimage, Go::Preimage, Place::KeyAndBlock),
    ]
}

/// Gives the places of all paths, and whether they are written.
pub(super) fn places() -> Vec<(Place, bool)> {
    let reaches = reaches().into_iter();
    reaches.map(|reach| (reach.place, reach.go != Go::Read)).collect()
}

/// Gives the leaves that win behind a stage's answer. `start` is the chain state at the slot's start, `check` the advice of
/// the claim's last unit where it is a check.
pub fn verdicts(
    program: &Program,
    rounds: Rounds,
    (start, check): (&Cut, Option<&B256>),
    stage: Stage,
) -> Vec<VerdictLeaf> {
    let last = PATH_ROUNDS - 1;
    match stage {
        Stage::Units(round) => (0..ARITY - 1)
            .map(|index| VerdictLeaf::repeat(Repeat { round, index, rounds }))
            .collect(),
        Stage::Link => {
            let mut leaves = inputs(program, rounds, start);
            leaves.extend(check.into_iter().flat_map(|check| checks(rounds, check)));
            leaves
        }
        Stage::Step => steps(program, rounds),
        Stage::Content(Part::Link) => outputs(program, rounds),
        Stage::Content(Part::Step) => words(program),
        Stage::Path(part, round) if round == last => contents(program, part),
        Stage::Final(part) => neighbours(program, part),
        Stage::Trace(_) | Stage::Path(..) => vec![],
    }
}

fn made(stage: impl Fn(u8) -> Stage, chosen: &[Chosen]) -> Vec<Condition> {
    let chosen = chosen.iter();
    chosen
        .map(|(round, option)| Condition::one(stage(*round), *option))
        .collect()
}

/// A state that was published twice is not the same.
fn same(program: &Program, first: Source, second: Source, conditions: Vec<Condition>) -> VerdictLeaf {
    let rule = program.rule("state/same");
    let source = |value| if value == Value::Root { first } else { second };
    VerdictLeaf::rule(rule, source, conditions)
}

/// A leaf does not begin with a state.
fn begins(program: &Program, state: Source, leaf: Source, conditions: Vec<Condition>) -> VerdictLeaf {
    let rule = program.rule("state/leaf");
    let source = |value| if value == Value::Root { state } else { leaf };
    VerdictLeaf::rule(rule, source, conditions)
}

/// The unit's input does not begin with the state that the search ended with.
fn inputs(program: &Program, rounds: Rounds, start: &Cut) -> Vec<VerdictLeaf> {
    let input = Source::Stage(Stage::Link, Item::Input);
    let lowers = units(rounds).lowers().into_iter();
    let leaves = lowers.map(|(bound, chosen)| {
        let conditions = made(Stage::Units, &chosen);
        match bound {
            Bound::Point { round, index } => {
                let value = Source::Stage(Stage::Units(round), Item::Point(index));
                begins(program, value, input, conditions)
            }
            Bound::Start | Bound::End => {
                let rule = differs_from_constant("link/start".to_owned(), Value::Leaf, 0, &digits(start));
                VerdictLeaf::rule(RuleEntry::new(rule), |_| input, conditions)
            }
        }
    });
    leaves.collect()
}

/// The last unit is not the check that it has to be, or another one is a check.
fn checks(rounds: Rounds, check: &B256) -> [VerdictLeaf; 2] {
    let input = Source::Stage(Stage::Link, Item::Input);
    // The advice lies behind the chain state.
    let advice = Value::Leaf.digits() / 2;
    let tag = digits(&CHECK_TAG);
    let missing = differs_from_constant(
        "check/missing".to_owned(),
        Value::Leaf,
        advice,
        &digits(check.as_slice()),
    );
    let early = equals_constant("check/early".to_owned(), Value::Leaf, advice, &tag);
    [(missing, UnitPlace::Last), (early, UnitPlace::Earlier)].map(|(rule, place)| {
        VerdictLeaf::rule(RuleEntry::new(rule), |_| input, vec![]).of_unit(place, rounds)
    })
}

/// A step contradicts itself, or its roots are not those that the search ended with.
fn steps(program: &Program, rounds: Rounds) -> Vec<VerdictLeaf> {
    let search = trace(rounds);
    let source = |bound| match bound {
        Bound::Start => Source::Stage(Stage::Link, Item::First),
        Bound::End => Source::Stage(Stage::Link, Item::Last),
        Bound::Point { round, index } => Source::Stage(Stage::Trace(round), Item::Point(index)),
    };
    let ends = [
        (search.lowers(), step(Value::Before)),
        (search.uppers(), step(Value::After)),
    ];
    let ends = ends.into_iter().flat_map(|(bounds, published)| {
        bounds
            .into_iter()
            .map(move |(bound, chosen)| same(program, source(bound), published, made(Stage::Trace, &chosen)))
    });
    let rules = program.step_rules().iter();
    let rules = rules.map(|rule| VerdictLeaf::rule(Arc::clone(rule), step, vec![]));
    ends.chain(rules).collect()
}

/// The last state's output is not the state that the search ended with, or it has not halted well.
fn outputs(program: &Program, rounds: Rounds) -> Vec<VerdictLeaf> {
    let leaf = Source::Stage(Stage::Content(Part::Link), Item::Value(Value::Leaf));
    let opened = |opening: Opening| Condition::one(Stage::Link, opening as u8);
    let uppers = units(rounds).uppers().into_iter();
    let mut leaves: Vec<VerdictLeaf> = uppers
        .map(|(bound, chosen)| {
            let value = match bound {
                Bound::Point { round, index } => Source::Stage(Stage::Units(round), Item::Point(index)),
                Bound::Start | Bound::End => Source::Claim(ClaimItem::State),
            };
            let mut conditions = vec![opened(Opening::Output)];
            conditions.extend(made(Stage::Units, &chosen));
            begins(program, value, leaf, conditions)
        })
        .collect();
    let status = program.rule("path/not-halted");
    leaves.push(VerdictLeaf::rule(status, |_| leaf, vec![opened(Opening::Status)]));
    leaves
}

fn content(value: Value) -> Source {
    Source::Stage(Stage::Content(Part::Step), Item::Value(value))
}

/// Gives where a value of a step or of what it reaches is published.
fn of_step(value: Value) -> Source {
    match value {
        Value::Leaf | Value::Key | Value::Node | Value::Chaining | Value::Block => content(value),
        Value::KeyHash | Value::BlockHash => Source::Stage(Stage::Path(Part::Step, 0), Item::Value(value)),
        _ => step(value),
    }
}

fn opened(subject: Subject) -> Condition {
    Condition::one(Stage::Step, subject as u8)
}

/// A word is not the one in its leaf; what a SHA-256 call brings does not have the key's hash.
fn words(program: &Program) -> Vec<VerdictLeaf> {
    let rules = [
        (Subject::Control, "path/word/pc"),
        (Subject::Control, "path/word/status"),
        (Subject::Instruction, "path/word/instruction"),
        (Subject::First, "path/word/rs1"),
        (Subject::Second, "path/word/rs2"),
        (Subject::Word, "path/word/memory"),
        (Subject::CallNumber, "path/word/a7"),
        (Subject::CallAddress, "path/word/a0"),
        (Subject::CallLevel, "path/word/a1"),
        (Subject::Preimage, "call/preimage"),
    ];
    let rules = rules.into_iter();
    rules
        .map(|(subject, name)| VerdictLeaf::rule(program.rule(name), of_step, vec![opened(subject)]))
        .collect()
}

/// The lowest node is not what the content makes of it: the last interval of a path.
fn contents(program: &Program, part: Part) -> Vec<VerdictLeaf> {
    let lowest = Stage::Path(part, PATH_ROUNDS - 1);
    let index = path().points() - 1;
    let source = move |value: Value| match value {
        Value::Bottom => Source::Stage(lowest, Item::Node(index)),
        Value::BottomAfter => Source::Stage(lowest, Item::NodeAfter(index)),
        _ => of_step(value),
    };
    let interval: Vec<Condition> = (0..PATH_ROUNDS - 1)
        .map(|round| Condition::one(Stage::Path(part, round), path().arity - 1))
        .collect();
    let leaf = |name: &str, first: Vec<Condition>, source: &dyn Fn(Value) -> Source| {
        let conditions = first.into_iter().chain(interval.clone()).collect();
        VerdictLeaf::rule(program.rule(name), source, conditions)
    };
    if part == Part::Link {
        let of = move |leaf: Source| move |value| if value == Value::Leaf { leaf } else { source(value) };
        let opened = |opening: Opening| Condition::one(Stage::Link, opening as u8);
        let input = Source::Stage(Stage::Link, Item::Input);
        let last = Source::Stage(Stage::Content(Part::Link), Item::Value(Value::Leaf));
        let last_options = [Opening::Output as u8, Opening::Status as u8];
        return vec![
            leaf("path/leaf-hash", vec![opened(Opening::Init)], &of(input)),
            leaf(
                "path/leaf-hash",
                vec![Condition::any(Stage::Link, last_options)],
                &of(last),
            ),
        ];
    }
    let content = Stage::Content(Part::Step);
    let gone = |go: Go| Condition::one(content, go as u8);
    let is_leaf = |subject: &Subject| subject.content() == crate::game::Form::Leaf;
    let leaves = Subject::ALL
        .into_iter()
        .filter(is_leaf)
        .map(|subject| subject as u8);
    let mut found = vec![
        leaf(
            "path/leaf-hash",
            vec![Condition::any(Stage::Step, leaves)],
            &source,
        ),
        leaf(
            "path/leaf-hash/key",
            vec![
                Condition::any(
                    Stage::Step,
                    [Subject::NodeFromHash as u8, Subject::Preimage as u8],
                ),
                gone(Go::Read),
            ],
            &source,
        ),
        leaf(
            "call/node-link",
            vec![opened(Subject::HashOfNode), gone(Go::Read)],
            &source,
        ),
    ];
    let mut write = |subject: Subject, go: Go, name: String| {
        found.push(leaf(&name, vec![opened(subject), gone(go)], &source));
    };
    for word in 0..16 {
        write(
            Subject::WriteRegister,
            Go::Write,
            format!("path/write/register-{word}"),
        );
        write(
            Subject::WriteMemory,
            Go::Write,
            format!("path/write/memory-{word}"),
        );
    }
    for name in ["path/write/control", "path/write/control-exit"] {
        write(Subject::WriteControl, Go::Write, name.to_owned());
    }
    write(Subject::NodeFromHash, Go::Write, "call/node-from-hash".to_owned());
    write(Subject::HashOfNode, Go::Write, "call/hash-of-node".to_owned());
    for name in ["call/key-hash", "call/block-hash", "call/preimage-node"] {
        write(Subject::Preimage, Go::Preimage, name.to_owned());
    }
    found
}

/// Gives where the node at a position of a path is published. The root, which is none of them, is the first position.
fn node(part: Part, position: u64, item: impl Fn(u8) -> Item) -> Source {
    match path().bound(position) {
        Bound::Point { round, index } => Source::Stage(Stage::Path(part, round), item(index)),
        Bound::Start | Bound::End => unreachable!("a rule of the root reads no node above it"),
    }
}

/// Two neighbours on a path are not node and child.
fn neighbours(program: &Program, part: Part) -> Vec<VerdictLeaf> {
    let sibling = Source::Stage(Stage::Final(part), Item::Value(Value::Sibling));
    let mut leaves = Vec::new();
    for position in 0..u64::from(DEPTH) {
        let chosen: Vec<Chosen> = (0..PATH_ROUNDS).zip(path().choices(position)).collect();
        let interval = made(|round| Stage::Path(part, round), &chosen);
        let level = DEPTH as usize - 1 - position as usize;
        for (name, (root, root_after, shared)) in shared_rules(part, position, level) {
            let source = move |value: Value| match value {
                Value::Root => root,
                Value::RootAfter => root_after,
                Value::Top => node(part, position, Item::Node),
                Value::TopAfter => node(part, position, Item::NodeAfter),
                Value::Bottom => node(part, position + 1, Item::Node),
                Value::BottomAfter => node(part, position + 1, Item::NodeAfter),
                Value::Sibling => sibling,
                _ => of_step(value),
            };
            let mut conditions = shared;
            conditions.extend(interval.clone());
            leaves.push(VerdictLeaf::rule(program.rule(&name), source, conditions));
        }
        if part == Part::Link {
            let mut conditions = vec![Condition::one(Stage::Link, Opening::Init as u8)];
            conditions.extend(interval);
            let rule = program.rule(&sibling_rule(level));
            leaves.push(VerdictLeaf::rule(rule, |_| sibling, conditions));
        }
    }
    leaves
}

type Shared = (Source, Source, Vec<Condition>);

/// Gives the rules of a level, each once for all that it is the same for: its name, the roots, and the choices.
fn shared_rules(part: Part, position: u64, level: usize) -> Vec<(String, Shared)> {
    // Only the topmost interval reads a root.
    let mut found: BTreeMap<(String, Option<(Source, Source)>), Vec<Reach>> = BTreeMap::new();
    for reach in reaches().into_iter().filter(|reach| reach.part == part) {
        let roots = (position == 0).then_some(reach.roots);
        for rule in level_rules(reach.place, level, reach.go != Go::Read) {
            found.entry((rule.name, roots)).or_default().push(reach);
        }
    }
    let stage = match part {
        Part::Link => Stage::Link,
        Part::Step => Stage::Step,
    };
    let shared = found.into_iter().flat_map(|((name, roots), reaches)| {
        let (root, root_after) = roots.unwrap_or(reaches[0].roots);
        // A way to go on with all that share the rule: a choice of the one does not exclude one of the other.
        let mut by_go: BTreeMap<Go, Vec<u8>> = BTreeMap::new();
        for reach in &reaches {
            by_go.entry(reach.go).or_default().push(reach.option);
        }
        by_go.into_iter().map(move |(go, options)| {
            let mut conditions = vec![Condition::any(stage, options)];
            if part == Part::Step {
                conditions.push(Condition::one(Stage::Content(part), go as u8));
            }
            (name.clone(), (root, root_after, conditions))
        })
    });
    shared.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitsect_judge::path::{Direction, Side};

    #[test]
    fn constant_places_share_leaves() {
        // Level 1 of both register leaves, control and key: left or right, as their addresses have it.
        let direction = |address| Place::Constant(address).direction(1);
        assert_eq!(direction(REGISTERS), Direction::Constant(Side::Left));
        assert_eq!(direction(CONTROL), Direction::Constant(Side::Right));
        let rules = shared_rules(Part::Step, 5, 20);
        let equations = rules.iter().filter(|(name, _)| name == "path/equation-right");
        assert_eq!(
            equations.count(),
            3,
            "of a read, of a write, and of key and block"
        );
    }
}
