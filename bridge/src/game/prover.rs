//! The honest prover: it publishes what is true, whatever is asked.

use alloy_primitives::B256;
use bitsect_judge::leaf::Value;
use bitsect_judge::path::Time;
use bitsect_judge::step::Cut;
use bitsect_machine::DEPTH;

use super::known::{Before, Ways, link_place};
use super::position::{Position, Published, Turn};
use super::search::Search;
use super::stage::{Go, Item, Opening, Part, Stage, path, trace, units};
use super::subject::Content;
use super::truth::{Broken, Need, Truth, Unknown};

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// The machine has to run first.
    #[error(transparent)]
    Need(#[from] Need),
    /// The machine failed.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// Nothing is asked of the prover.
    #[error("turn: in {stage:?} it is the challenger's")]
    Turn {
        /// The stage that is answered.
        stage: Stage,
    },
    /// The party's own knowledge has a gap: it does not know what it claims, and says nothing.
    #[error("{stage:?}: {what} is not known")]
    Unknown {
        /// The stage that is asked.
        stage: Stage,
        /// What is not known.
        what: &'static str,
    },
}

impl From<Unknown> for AnswerError {
    fn from(unknown: Unknown) -> Self {
        match unknown {
            Unknown::Need(need) => Self::Need(need),
            Unknown::Broken(broken) => Self::Broken(broken),
        }
    }
}

/// Gives what an honest prover publishes where it is asked.
///
/// A challenger may ask what makes no sense: for a write of what is only read, the nodes after are those before; for what
/// the step does not have, and for neighbours on the path where there are none, all is zero.
///
/// # Errors
/// Where the machine has to run first, nothing is asked, or the party does not know its own claim.
pub fn answer<T: Truth + ?Sized>(position: &Position, truth: &T) -> Result<Published, AnswerError> {
    if position.turn() != Turn::Prover {
        return Err(AnswerError::Turn {
            stage: position.stage(),
        });
    }
    match position.stage() {
        Stage::Units(_) => of_units(position, truth),
        Stage::Link => of_link(position, truth),
        Stage::Trace(_) => of_trace(position, truth),
        Stage::Step => of_step(position, truth),
        Stage::Content(part) => of_content(position, part, truth),
        Stage::Path(part, round) => of_path(position, part, round, truth),
        Stage::Final(part) => of_final(position, part, truth),
    }
}

fn known<T>(position: &Position, what: &'static str, value: Option<T>) -> Result<T, AnswerError> {
    value.ok_or(AnswerError::Unknown {
        stage: position.stage(),
        what,
    })
}

/// Cuts what is whole to what an item has of it.
fn item(item: Item, whole: &[u8]) -> (Item, Vec<u8>) {
    let bytes = whole.get(..item.bytes()).unwrap_or(whole);
    (item, bytes.to_vec())
}

fn points(
    search: Search,
    choices: &[u8],
    mut at: impl FnMut(u64) -> Result<Cut, AnswerError>,
) -> Result<Published, AnswerError> {
    let asked = (0..).zip(search.asked(choices));
    asked
        .map(|(index, position)| Ok(item(Item::Point(index), &at(position)?)))
        .collect()
}

fn of_units<T: Truth + ?Sized>(position: &Position, truth: &T) -> Result<Published, AnswerError> {
    let claim = position.claim();
    points(units(position.rounds()), &position.unit_choices(), |units| {
        if units >= u64::from(claim.count) {
            return Ok(claim.state);
        }
        cut(&known(position, "the chain state", truth.chain_state(units))?)
    })
}

fn cut(hash: &B256) -> Result<Cut, AnswerError> {
    Ok(bitsect_judge::step::cut(hash))
}

/// The input of the disputed unit. Behind the claim's last unit there is none, and the state stands still.
fn input<T: Truth + ?Sized>(position: &Position, truth: &T) -> Result<[u8; 64], AnswerError> {
    let unit = known(position, "the unit", position.unit())?;
    let count = u64::from(position.claim().count);
    if unit < count {
        return known(position, "the unit's input", truth.input(unit));
    }
    let state = known(position, "the chain state", truth.chain_state(count))?;
    let mut input = [0; 64];
    input.split_at_mut(32).0.copy_from_slice(state.as_slice());
    Ok(input)
}

fn of_link<T: Truth + ?Sized>(position: &Position, truth: &T) -> Result<Published, AnswerError> {
    let input = input(position, truth)?;
    let first = truth.machine_state(&input, 0)?;
    let last = truth.machine_state(&input, position.rounds().steps_total())?;
    Ok([
        item(Item::Input, &input),
        item(Item::First, known(position, "the first state", first)?.as_slice()),
        item(Item::Last, known(position, "the last state", last)?.as_slice()),
    ]
    .into())
}

fn published_input(position: &Position) -> Result<[u8; 64], AnswerError> {
    known(position, "the published input", position.input())
}

fn of_trace<T: Truth + ?Sized>(position: &Position, truth: &T) -> Result<Published, AnswerError> {
    let input = published_input(position)?;
    points(trace(position.rounds()), &position.step_choices(), |step| {
        let state = truth.machine_state(&input, step)?;
        cut(&known(position, "a machine state", state)?)
    })
}

fn of_step<T: Truth + ?Sized>(position: &Position, truth: &T) -> Result<Published, AnswerError> {
    let input = published_input(position)?;
    let at = known(position, "the step", position.step())?;
    let step = known(position, "the step", Before::new(truth, &input, at).known_step()?)?;
    known(position, "the state after the step", step.after)?;
    let values = step.claim.values();
    let items = position
        .items()
        .into_iter()
        .filter_map(|published| match published {
            Item::Value(value) => Some(item(published, values.get(value)?)),
            _ => None,
        });
    Ok(items.collect())
}

/// Zeros for all that is asked.
fn zeros(position: &Position) -> Published {
    let items = position.items().into_iter();
    items.map(|item| (item, vec![0; item.bytes()])).collect()
}

/// Whether what was opened is there at all.
fn is_open(position: &Position, part: Part) -> bool {
    match part {
        Part::Link => position
            .opening()
            .is_some_and(|opening| opening != Opening::Trace),
        Part::Step => position
            .subject()
            .zip(position.step_claim())
            .is_some_and(|(subject, claim)| subject.is_open(&claim)),
    }
}

fn of_content<T: Truth + ?Sized>(
    position: &Position,
    part: Part,
    truth: &T,
) -> Result<Published, AnswerError> {
    let input = published_input(position)?;
    if position.items().is_empty() || !is_open(position, part) {
        return Ok(zeros(position));
    }
    let content = match part {
        Part::Link => {
            let place = position
                .opening()
                .and_then(|opening| link_place(position, opening));
            let (step, place) = known(position, "the opening", place)?;
            truth.path(&input, step, place)?.leaf().map(Content::Leaf)
        }
        Part::Step => {
            let at = known(position, "the step", position.step())?;
            let subject = known(position, "the subject", position.subject())?;
            let claim = known(position, "the step", position.step_claim())?;
            Before::new(truth, &input, at).content(subject, &claim)?
        }
    };
    Ok(known(position, "the content", content)?.items())
}

fn ways<T: Truth + ?Sized>(position: &Position, part: Part, truth: &T) -> Result<Ways, AnswerError> {
    known(position, "what was opened", Ways::of(position, part, truth)?)
}

fn of_path<T: Truth + ?Sized>(
    position: &Position,
    part: Part,
    round: u8,
    truth: &T,
) -> Result<Published, AnswerError> {
    let mut published = zeros(position);
    if !is_open(position, part) {
        return Ok(published);
    }
    let ways = ways(position, part, truth)?;
    let asked = path().asked(&position.path_choices(part));
    for (index, at) in (0..).zip(asked) {
        for (time, asked) in [
            (Time::Before, Item::Node(index)),
            (Time::After, Item::NodeAfter(index)),
        ] {
            if published.contains_key(&asked) {
                let node = ways.at(time).and_then(|way| way.node(at));
                published.extend([item(asked, known(position, "a node", node)?.as_slice())]);
            }
        }
    }
    let brings = round == 0 && position.go(part) == Some(Go::Preimage);
    let content = Content::published(position, part).filter(|_| brings);
    if let Some((key, block)) = content.and_then(|content| content.preimage_hashes()) {
        for (value, hash) in [(Value::KeyHash, key), (Value::BlockHash, block)] {
            published.extend([item(Item::Value(value), hash.as_slice())]);
        }
    }
    Ok(published)
}

fn of_final<T: Truth + ?Sized>(position: &Position, part: Part, truth: &T) -> Result<Published, AnswerError> {
    let mut published = zeros(position);
    let upper = known(position, "the upper node", position.upper_node(part))?;
    if !is_open(position, part) || upper >= u64::from(DEPTH) {
        return Ok(published);
    }
    let ways = ways(position, part, truth)?;
    // Where nodes repeat there is no sibling, and nobody asks what it is.
    let sibling = ways.at(Time::Before).and_then(|way| way.sibling(upper));
    if let Some(sibling) = sibling {
        published.extend([item(Item::Value(Value::Sibling), sibling.as_slice())]);
    }
    Ok(published)
}
