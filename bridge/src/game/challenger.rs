//! The honest challenger: it follows what is wrong at one end and right at the other, until a rule refutes it.
//!
//! What it does not know counts as wrong.

use alloy_primitives::B256;
use bitsect_judge::path::Time;
use bitsect_judge::step::{Cut, StepClaim, cut, rules};
use bitsect_machine::DEPTH;
use bitsect_machine::address::CONTROL;

use super::known::{Before, KnownStep, Ways, link_place};
use super::position::{Position, Turn};
use super::search::Search;
use super::stage::{Form, Go, Opening, Part, Stage, Subject, path, trace, units};
use super::subject::{Content, word_at};
use super::truth::{Path, Truth, Unknown};
use crate::params::PATH_ARITY;

/// Where content lies on a path: below the node at level 0.
const CONTENT: u64 = DEPTH as u64 + 1;

/// What an honest challenger does with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It opens this option.
    Choose(u8),
    /// A rule refutes the answer here.
    Refuted,
    /// Nothing that the branch is about is false: the claim is true, or the branch was played badly before.
    NothingFalse,
    /// It is the prover's turn.
    NotAsked,
}

/// Gives the honest challenger's reply to the last answer.
///
/// # Errors
/// Where the machine has to run first, or failed.
pub fn reply<T: Truth + ?Sized>(position: &Position, truth: &T) -> Result<Reply, Unknown> {
    if position.turn() != Turn::Challenger {
        return Ok(Reply::NotAsked);
    }
    let reply = match position.stage() {
        Stage::Units(_) => of_units(position, truth),
        Stage::Link => of_link(position, truth)?,
        Stage::Trace(_) => of_trace(position, truth)?,
        Stage::Step => of_step(position, truth)?,
        Stage::Content(Part::Link) => of_link_content(position, truth)?,
        Stage::Content(Part::Step) => of_step_content(position, truth)?,
        Stage::Path(part, _) => of_path(position, part, truth)?,
        // The search ended with one that is right and one that is wrong: no sibling fits both.
        Stage::Final(_) => Some(Reply::Refuted),
    };
    Ok(reply.unwrap_or(Reply::NothingFalse))
}

/// Says what is known where an honest challenger chooses an option, for people.
pub fn reason(position: &Position, option: u8) -> String {
    let neighbours = |search: Search, choices: Vec<u8>| {
        let (from, width) = search.interval(&[choices, vec![option]].concat());
        (from, from + width)
    };
    let rounds = position.rounds();
    let index = usize::from(option);
    match position.stage() {
        Stage::Units(_) => {
            let (from, to) = neighbours(units(rounds), position.unit_choices());
            format!("the state after {from} units is true, that after {to} is not")
        }
        Stage::Link => match Opening::ALL.get(index) {
            Some(Opening::Init) => "the machine's first state does not follow from the input".to_owned(),
            Some(Opening::Output) => "the output is not in the machine's last state".to_owned(),
            Some(Opening::Status) => "the machine did not halt with 0".to_owned(),
            Some(Opening::Trace) | None => {
                "a step between the machine's first and last state is false".to_owned()
            }
        },
        Stage::Trace(_) => {
            let (from, to) = neighbours(trace(rounds), position.step_choices());
            format!("the machine's state before step {from} is true, that before step {to} is not")
        }
        Stage::Step => match Subject::ALL.get(index) {
            Some(subject) => format!("of the step, {subject:?} is false"),
            None => "the step is false".to_owned(),
        },
        Stage::Content(_) => match Go::ALL.get(index) {
            Some(Go::Read) => "the content is not what lies there".to_owned(),
            _ => "the root after does not have what the step writes".to_owned(),
        },
        Stage::Path(part, _) => {
            let (from, to) = neighbours(path(), position.path_choices(part));
            format!("between the nodes {from} and {to} of the path a hash is wrong")
        }
        Stage::Final(_) => "nothing is left to choose".to_owned(),
    }
}

/// The ends of the intervals that the last answer cut.
fn ends(search: Search, choices: &[u8]) -> Vec<u64> {
    let (start, width) = search.interval(choices);
    let inner = search.asked(choices);
    [start].into_iter().chain(inner).chain([start + width]).collect()
}

/// Finds the first interval whose ends are like this.
fn first(
    ends: &[u64],
    mut is: impl FnMut(u64, u64) -> Result<bool, Unknown>,
) -> Result<Option<Reply>, Unknown> {
    for (option, pair) in (0..).zip(ends.windows(2)) {
        if let [start, end] = *pair
            && is(start, end)?
        {
            return Ok(Some(Reply::Choose(option)));
        }
    }
    Ok(None)
}

fn same(published: Option<Cut>, truth: Option<B256>) -> bool {
    published.is_some() && published == truth.as_ref().map(cut)
}

fn of_units<T: Truth + ?Sized>(position: &Position, truth: &T) -> Option<Reply> {
    let claim = position.claim();
    let count = u64::from(claim.count);
    let choices = position.unit_choices();
    let ends = ends(units(position.rounds()), &choices);
    let stands = |at: u64| at < count || position.chain_state(at) == Some(claim.state);
    if !ends.iter().skip(1).all(|at| stands(*at)) {
        return Some(Reply::Refuted);
    }
    // Behind the claim's last unit its state stands still.
    let right = |at: u64| same(position.chain_state(at), truth.chain_state(at.min(count)));
    ends.windows(2).zip(0..).find_map(|(pair, option)| match *pair {
        [start, end] if right(start) && !right(end) => Some(Reply::Choose(option)),
        _ => None,
    })
}

fn of_link<T: Truth + ?Sized>(position: &Position, truth: &T) -> Result<Option<Reply>, Unknown> {
    let (Some(input), Some(unit)) = (position.input(), position.unit()) else {
        return Ok(None);
    };
    if position.chain_state(unit).as_ref() != input.first_chunk() {
        return Ok(Some(Reply::Refuted));
    }
    if position.is_misplaced(unit, &input) {
        return Ok(Some(Reply::Refuted));
    }
    let last = position.rounds().steps_total();
    let open = |opening: Opening| Ok(Some(Reply::Choose(opening as u8)));
    if !same(position.machine_state(0), truth.machine_state(&input, 0)?) {
        return open(Opening::Init);
    }
    if !same(position.machine_state(last), truth.machine_state(&input, last)?) {
        return open(Opening::Trace);
    }
    for opening in [Opening::Output, Opening::Status] {
        let leaf = link_leaf(position, opening, truth)?;
        if !leaf.is_some_and(|leaf| is_well(position, opening, &leaf)) {
            return open(opening);
        }
    }
    Ok(None)
}

fn link_leaf<T: Truth + ?Sized>(
    position: &Position,
    opening: Opening,
    truth: &T,
) -> Result<Option<[u8; 64]>, Unknown> {
    let Some((input, (step, place))) = position.input().zip(link_place(position, opening)) else {
        return Ok(None);
    };
    Ok(truth.path(&input, step, place)?.leaf())
}

/// Whether a leaf is what the link wants there: the next chain state in the output, control halted with 0.
fn is_well(position: &Position, opening: Opening, leaf: &[u8; 64]) -> bool {
    match opening {
        Opening::Output => {
            let next = position.unit().and_then(|unit| position.chain_state(unit + 1));
            next.is_some() && next.as_ref() == leaf.first_chunk()
        }
        Opening::Status => (word_at(leaf, CONTROL + 4), word_at(leaf, CONTROL + 8)) == (1, 0),
        Opening::Trace | Opening::Init => true,
    }
}

fn of_trace<T: Truth + ?Sized>(position: &Position, truth: &T) -> Result<Option<Reply>, Unknown> {
    let Some(input) = position.input() else {
        return Ok(None);
    };
    let right = |at: u64| -> Result<bool, Unknown> {
        Ok(same(position.machine_state(at), truth.machine_state(&input, at)?))
    };
    let ends = ends(trace(position.rounds()), &position.step_choices());
    first(&ends, |start, end| Ok(right(start)? && !right(end)?))
}

fn of_step<T: Truth + ?Sized>(position: &Position, truth: &T) -> Result<Option<Reply>, Unknown> {
    let known = (position.input(), position.step(), position.step_claim());
    let (Some(input), Some(at), Some(claim)) = known else {
        return Ok(None);
    };
    let searched = [at, at + 1].map(|at| position.machine_state(at));
    if searched != [Some(claim.before), Some(claim.after)] {
        return Ok(Some(Reply::Refuted));
    }
    let values = claim.values();
    if rules(&truth.text())
        .iter()
        .any(|rule| rule.refute(&values).is_some())
    {
        return Ok(Some(Reply::Refuted));
    }
    let Some(step) = Before::new(truth, &input, at).known_step()? else {
        return Ok(None);
    };
    let subject = Subject::ALL
        .into_iter()
        .find(|subject| is_false(*subject, &claim, &step) && subject.is_open(&claim));
    Ok(subject.map(|subject| Reply::Choose(subject as u8)))
}

/// Whether opening a subject shows that a claim is false. Which of the writes it is, its gate tells.
fn is_false(subject: Subject, claim: &StepClaim, step: &KnownStep) -> bool {
    let truth = &step.claim;
    let writes = !same(Some(claim.middle), step.middle);
    match subject {
        Subject::Control => (claim.pc, claim.status) != (truth.pc, truth.status),
        Subject::Instruction => claim.instruction != truth.instruction,
        Subject::First | Subject::CallNumber => claim.first != truth.first,
        Subject::Second | Subject::CallAddress => claim.second != truth.second,
        Subject::Word => claim.word != truth.word || !step.knows_word,
        Subject::CallLevel => claim.word != truth.word,
        Subject::WriteRegister
        | Subject::WriteMemory
        | Subject::NodeFromHash
        | Subject::HashOfNode
        | Subject::Preimage => writes,
        Subject::WriteControl => !writes && !same(Some(claim.after), step.after),
    }
}

fn of_link_content<T: Truth + ?Sized>(position: &Position, truth: &T) -> Result<Option<Reply>, Unknown> {
    let Some(opening) = position.opening() else {
        return Ok(None);
    };
    let published = match Content::published(position, Part::Link) {
        Some(Content::Leaf(leaf)) => leaf,
        // The input is known already.
        _ => return Ok((opening == Opening::Init).then_some(Reply::Choose(0))),
    };
    if !is_well(position, opening, &published) {
        return Ok(Some(Reply::Refuted));
    }
    let leaf = link_leaf(position, opening, truth)?;
    Ok((leaf != Some(published)).then_some(Reply::Choose(Go::Read as u8)))
}

fn of_step_content<T: Truth + ?Sized>(position: &Position, truth: &T) -> Result<Option<Reply>, Unknown> {
    let known = (position.input(), position.step(), position.step_claim());
    let (Some(input), Some(at), Some(claim)) = known else {
        return Ok(None);
    };
    let found = (position.subject(), Content::published(position, Part::Step));
    let (Some(subject), Some(published)) = found else {
        return Ok(None);
    };
    let go = |go: Go| Ok(Some(Reply::Choose(go as u8)));
    if let Content::Leaf(leaf) = &published
        && reads_another(subject, &claim, leaf)
    {
        return Ok(Some(Reply::Refuted));
    }
    let state = Before::new(truth, &input, at);
    if let Content::Preimage { key, chaining, block } = &published {
        // A preimage that is published is known from then on.
        let leaf = state.path(subject.read_place(&claim))?.leaf();
        if leaf != Some(*key) {
            return go(Go::Read);
        }
        let digest = bitsect_machine::compress(chaining, block);
        if digest != key.split_at(32).0 {
            return Ok(Some(Reply::Refuted));
        }
        return go(Go::Preimage);
    }
    let writes = subject.write_place(&claim).is_some();
    // A leaf that is written is searched for before and after at once, whichever is false.
    if writes && matches!(published, Content::Leaf(_)) {
        return go(Go::Write);
    }
    if state.content(subject, &claim)? != Some(published) {
        return go(Go::Read);
    }
    if writes { go(Go::Write) } else { Ok(None) }
}

/// Whether the word that the claim read is another one in this leaf.
fn reads_another(subject: Subject, claim: &StepClaim, leaf: &[u8; 64]) -> bool {
    if subject == Subject::Control {
        let words = [CONTROL, CONTROL + 4].map(|address| word_at(leaf, address));
        return words != [claim.pc, u32::from(claim.status)];
    }
    let word = subject.word(claim);
    word.is_some_and(|(address, word)| word_at(leaf, address) != word)
}

fn of_path<T: Truth + ?Sized>(position: &Position, part: Part, truth: &T) -> Result<Option<Reply>, Unknown> {
    let Some(ways) = Ways::of(position, part, truth)? else {
        return Ok(None);
    };
    let right = |time: Time, at: u64| {
        let truth = ways.at(time).and_then(|way: &Path| way.node(at));
        let published = position.node(part, time, at);
        let whole = truth.as_ref().map(B256::as_slice);
        published
            .is_some_and(|published| whole.and_then(|whole| whole.get(..published.len())) == Some(published))
    };
    let ends = ends(path(), &position.path_choices(part));
    let writes = position.form(position.stage()) != Some(Form::Read);
    // What is only read is wrong by now, and the input, or what a call brings, right.
    let right_content = if writes {
        is_right_before_write(position, truth)?
    } else {
        position.opening() == Some(Opening::Init)
    };
    let before = |at: u64| {
        if at == CONTENT {
            right_content
        } else {
            right(Time::Before, at)
        }
    };
    let after = |at: u64| at == CONTENT || right(Time::After, at);
    let choice = if writes {
        let read = first(&ends, |start, end| Ok(before(start) && !before(end)))?;
        match read {
            None => first(&ends, |start, end| Ok(!after(start) && after(end)))?,
            found => found,
        }
    } else if right_content {
        first(&ends, |start, end| Ok(!before(start) && before(end)))?
    } else {
        first(&ends, |start, end| Ok(before(start) && !before(end)))?
    };
    // Between the lowest node and its content there is nothing to ask for: both are published.
    let last = Reply::Choose(PATH_ARITY - 1);
    let is_lowest = ends.contains(&CONTENT) && ends.contains(&(CONTENT - 1));
    Ok(choice.map(|choice| {
        if is_lowest && choice == last {
            Reply::Refuted
        } else {
            choice
        }
    }))
}

/// Whether the content of a leaf that is written is what lies there. What a call brings was judged before.
fn is_right_before_write<T: Truth + ?Sized>(position: &Position, truth: &T) -> Result<bool, Unknown> {
    let known = (position.input(), position.step(), position.step_claim());
    let (Some(input), Some(at), Some(claim)) = known else {
        return Ok(false);
    };
    let found = (position.subject(), Content::published(position, Part::Step));
    let (Some(subject), Some(content @ Content::Leaf(_))) = found else {
        return Ok(true);
    };
    let lies = Before::new(truth, &input, at).content(subject, &claim)?;
    Ok(lies == Some(content))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::game::position::Claim;
    use crate::params::Rounds;

    /// Plays these options on answers full of zeros.
    fn play(options: &[u8]) -> Position {
        let claim = Claim {
            count: 9,
            state: [9; 24],
        };
        let mut position = Position::new(Rounds { units: 2, trace: 3 }, [1; 24], claim);
        for option in options.iter().map(Some).chain([None]) {
            let items = position.items().into_iter();
            let items = items.map(|item| (item, vec![0; item.bytes()])).collect();
            position.publish(items).unwrap();
            if let Some(option) = option {
                position.choose(*option).unwrap();
            }
        }
        position
    }

    #[test]
    fn reasons_name_what_is_between_right_and_wrong() {
        for (options, option, expected) in [
            (
                &[][..],
                2,
                "the state after 8 units is true, that after 12 is not",
            ),
            (&[2], 1, "the state after 9 units is true, that after 10 is not"),
            (&[2, 1], 2, "the output is not in the machine's last state"),
            (
                &[2, 1, 0, 3],
                0,
                "the machine's state before step 48 is true, that before step 52 is not",
            ),
            (&[2, 1, 0, 3, 0, 1], 1, "of the step, Instruction is false"),
            (&[2, 1, 0, 3, 0, 1, 1], 0, "the content is not what lies there"),
            (
                &[2, 1, 0, 3, 0, 1, 1, 0, 2],
                1,
                "between the nodes 21 and 24 of the path a hash is wrong",
            ),
        ] {
            assert_eq!(reason(&play(options), option), expected, "{options:?}");
        }
    }
}
