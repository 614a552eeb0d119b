//! A step as far as a party knows it, and the way to what was opened of it.

use alloy_primitives::B256;
use bitsect_judge::path::Time;
use bitsect_judge::step::{StepClaim, cut};
use bitsect_machine::address::{A0, A1, A7, CONTROL, INPUT, OUTPUT};
use bitsect_machine::{Instruction, execute, memory_address};

use super::position::Position;
use super::stage::{Go, Opening, Part, Subject};
use super::subject::{Content, register, word_at};
use super::truth::{Path, Place, Truth, Unknown};

/// What writes data; control is written after it.
const DATA: [Subject; 5] = [
    Subject::WriteRegister,
    Subject::WriteMemory,
    Subject::NodeFromHash,
    Subject::HashOfNode,
    Subject::Preimage,
];

/// One state of a party's machine.
pub struct Before<'a, T: ?Sized> {
    truth: &'a T,
    input: &'a [u8; 64],
    step: u64,
}

/// A step that is known up to what nobody has a preimage of.
pub struct KnownStep {
    /// The step as an honest prover claims it. What is not known is zero.
    pub claim: StepClaim,
    /// Whether the memory word is known; true where none is read.
    pub knows_word: bool,
    /// The state between the two writes.
    pub middle: Option<B256>,
    /// The state after the step.
    pub after: Option<B256>,
    /// The way to control in the state between the two writes.
    control: Option<Path>,
}

impl<'a, T: Truth + ?Sized> Before<'a, T> {
    /// The state before a step of the unit with this input.
    pub const fn new(truth: &'a T, input: &'a [u8; 64], step: u64) -> Self {
        Self { truth, input, step }
    }

    /// Gives the way to a place.
    ///
    /// # Errors
    /// Where the machine has to run first, or failed.
    pub fn path(&self, place: Place) -> Result<Path, Unknown> {
        self.truth.path(self.input, self.step, place)
    }

    fn word(&self, address: u32) -> Result<Option<u32>, Unknown> {
        let leaf = self.path(Place::leaf(address))?.leaf();
        Ok(leaf.map(|leaf| word_at(&leaf, address)))
    }

    /// Gives what lies where a subject of this claim reads; `None` where that is not known.
    ///
    /// # Errors
    /// Where the machine has to run first, or failed.
    pub fn content(&self, subject: Subject, claim: &StepClaim) -> Result<Option<Content>, Unknown> {
        let path = self.path(subject.read_place(claim))?;
        Ok(match subject {
            Subject::NodeFromHash => path.leaf().map(Content::Key),
            Subject::HashOfNode => path.end().map(Content::Node),
            Subject::Preimage => path.leaf().and_then(|key| {
                let found = self.truth.sha256(&B256::from_slice(key.split_at(32).0))?;
                let (chaining, block) = (found.chaining, found.block);
                Some(Content::Preimage { key, chaining, block })
            }),
            _ => path.leaf().map(Content::Leaf),
        })
    }

    /// Gives what is known of the step that comes; `None` where the state is not known.
    ///
    /// # Errors
    /// Where the machine has to run first, or failed.
    pub fn known_step(&self) -> Result<Option<KnownStep>, Unknown> {
        let control = self.path(Place::leaf(CONTROL))?;
        let (Some(leaf), Some(root)) = (control.leaf(), control.root()) else {
            return Ok(None);
        };
        let mut claim = StepClaim {
            // A status is 9 at most.
            status: word_at(&leaf, CONTROL + 4) as u8,
            pc: word_at(&leaf, CONTROL),
            before: cut(&root),
            ..StepClaim::default()
        };
        let knows_word = self.read_words(&mut claim)?;
        claim.conclude(&self.truth.text());
        let mut step = KnownStep {
            claim,
            knows_word,
            middle: Some(root),
            after: Some(root),
            control: Some(control),
        };
        if claim.status == 0 {
            self.write(&mut step)?;
        }
        step.claim.middle = step.middle.as_ref().map(cut).unwrap_or_default();
        step.claim.after = step.after.as_ref().map(cut).unwrap_or_default();
        Ok(Some(step))
    }

    /// Reads what the step reads, and tells whether the memory word is known.
    fn read_words(&self, claim: &mut StepClaim) -> Result<bool, Unknown> {
        let text = self.truth.text();
        let register = |number: u8| -> Result<u32, Unknown> {
            // `x0` is zero. Registers and text are in every state: no call reaches them.
            Ok(self.word(register(u32::from(number)))?.unwrap_or_default())
        };
        if claim.status != 0 || !claim.pc.is_multiple_of(4) || !text.contains(&claim.pc) {
            return Ok(true);
        }
        claim.instruction = self.word(claim.pc)?.unwrap_or_default();
        let Some(instruction) = Instruction::decode(claim.instruction) else {
            return Ok(true);
        };
        if instruction == Instruction::Ecall {
            claim.first = register(A7)?;
            claim.second = register(A0)?;
            claim.word = register(A1)?;
            return Ok(true);
        }
        let (rs1, rs2) = instruction.sources();
        claim.first = register(rs1)?;
        claim.second = register(rs2)?;
        let operands = (claim.first, claim.second);
        let reaches = memory_address(&instruction, claim.first)
            .filter(|_| execute(&instruction, claim.pc, operands, 0, &text).is_ok());
        let Some(address) = reaches else {
            return Ok(true);
        };
        let word = self.word(address & !3)?;
        claim.word = word.unwrap_or_default();
        Ok(word.is_some())
    }

    /// Finds the roots after the step's writes.
    fn write(&self, step: &mut KnownStep) -> Result<(), Unknown> {
        let claim = &step.claim;
        if let Some(subject) = DATA.into_iter().find(|subject| subject.is_open(claim)) {
            let content = self.content(subject, claim)?.filter(|_| step.knows_word);
            let node = content.and_then(|content| subject.written(claim, &content));
            let written = match (node, subject.write_place(claim)) {
                (Some(node), Some(place)) => self.path(place)?.written(node),
                _ => None,
            };
            step.control = match (&step.control, &written) {
                (Some(control), Some(written)) => control.after(written),
                _ => None,
            };
            step.middle = written.and_then(|written| written.root());
        }
        let control = step.control.as_ref().and_then(|control| {
            let leaf = Content::Leaf(control.leaf()?);
            control.written(Subject::WriteControl.written(claim, &leaf)?)
        });
        step.after = control.and_then(|control| control.root());
        Ok(())
    }
}

/// The way to what is searched for, before and after a write.
pub struct Ways {
    before: Path,
    after: Option<Path>,
}

impl Ways {
    /// Gives the ways that the choices led to; `None` where they led to none. What is written is what follows from the
    /// published step and content.
    ///
    /// # Errors
    /// Where the machine has to run first, or failed.
    pub fn of<T: Truth + ?Sized>(
        position: &Position,
        part: Part,
        truth: &T,
    ) -> Result<Option<Self>, Unknown> {
        let Some(input) = position.input() else {
            return Ok(None);
        };
        match part {
            Part::Link => Self::of_link(position, &input, truth),
            Part::Step => Self::of_step(position, &input, truth),
        }
    }

    fn of_link<T: Truth + ?Sized>(
        position: &Position,
        input: &[u8; 64],
        truth: &T,
    ) -> Result<Option<Self>, Unknown> {
        let Some((step, place)) = position
            .opening()
            .and_then(|opening| link_place(position, opening))
        else {
            return Ok(None);
        };
        let before = truth.path(input, step, place)?;
        Ok(Some(Self { before, after: None }))
    }

    fn of_step<T: Truth + ?Sized>(
        position: &Position,
        input: &[u8; 64],
        truth: &T,
    ) -> Result<Option<Self>, Unknown> {
        let found = (position.step(), position.subject(), position.go(Part::Step));
        let ((Some(step), Some(subject), Some(go)), Some(claim)) = (found, position.step_claim()) else {
            return Ok(None);
        };
        let state = Before::new(truth, input, step);
        let writes = go != Go::Read;
        let write_place = subject.write_place(&claim).filter(|_| writes);
        let before = if subject == Subject::WriteControl {
            let step = state.known_step()?;
            step.and_then(|step| step.control).unwrap_or_default()
        } else {
            state.path(write_place.unwrap_or(subject.read_place(&claim)))?
        };
        let node = Content::published(position, Part::Step)
            .and_then(|content| subject.written(&claim, &content))
            .or(before.end())
            .filter(|_| writes);
        let after = node.and_then(|node| before.written(node));
        Ok(Some(Self { before, after }))
    }

    /// Gives the way at a time; after a read nothing is known.
    pub const fn at(&self, time: Time) -> Option<&Path> {
        match time {
            Time::Before => Some(&self.before),
            Time::After => self.after.as_ref(),
        }
    }
}

/// Gives the state and the leaf that an opening behind the link is about.
pub fn link_place(position: &Position, opening: Opening) -> Option<(u64, Place)> {
    let last = position.rounds().steps_total();
    match opening {
        Opening::Trace => None,
        Opening::Init => Some((0, Place::leaf(INPUT))),
        Opening::Output => Some((last, Place::leaf(OUTPUT))),
        Opening::Status => Some((last, Place::leaf(CONTROL))),
    }
}
