//! Checks a step's witness against nothing but its two roots and the range of the text.

use core::ops::Range;

use alloy_primitives::B256;
use bitsect_vm::chain::hash_pair;
use bitsect_vm::state::hash_node;

use super::prove::register_address;
use super::{Access, NodeWrite, StepWitness, root_above, with_word};
use crate::address::{A0, A1, A7, CONTROL, EXIT, HASH_OF_NODE, KEY, NODE_FROM_HASH, SHA256_PREIMAGE};
use crate::execute::{Trap, Write, execute, memory_address};
use crate::instruction::Instruction;
use crate::machine::{Status, node_place};
use crate::oracle::compress;
use crate::tree::{DEPTH, Place};

/// Why a witness proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WitnessError {
    /// A part that the step needs is not there, is another one, or is one too many.
    #[error("{part}: missing, superfluous or of another address")]
    Part {
        /// The part.
        part: &'static str,
    },
    /// A path does not lead to its root.
    #[error("{part}: its path leads to {got}, not to {root}")]
    Path {
        /// The part.
        part: &'static str,
        /// Where it leads.
        got: B256,
        /// Where it should.
        root: B256,
    },
    /// A value is not what the step writes.
    #[error("{part}: the step gives {expected}, the witness says {got}")]
    Value {
        /// The part.
        part: &'static str,
        /// What the step gives.
        expected: B256,
        /// What the witness says.
        got: B256,
    },
}

/// The words of control: pc, status, exit code.
type Control = [u32; 3];

/// What a step writes, by what it read.
enum Data {
    Nothing,
    Word { address: u32, value: u32 },
    Node { place: Place, hash: B256 },
    Key { hash: B256 },
    Preimage { hash: B256 },
}

impl StepWitness {
    /// Checks that `after` is the state that follows `before`, for a program with this text.
    ///
    /// # Errors
    /// The first part that does not fit.
    pub fn verify(&self, text: &Range<u32>) -> Result<(), WitnessError> {
        let mut reads = Reads {
            rest: self.reads.iter(),
            root: self.before,
        };
        let control = reads.leaf("control", CONTROL)?;
        let [pc, status, exit_code] = [0, 4, 8]
            .map(|at| u32::from_le_bytes(control.leaf[at..at + 4].try_into().expect("four bytes of a leaf")));
        if status != Status::Running.code() {
            reads.finish()?;
            absent("control", &self.control)?;
            self.verify_data(&Data::Nothing)?;
            return same("after", self.before, self.after);
        }
        let (data, next) = self.effect([pc, status, exit_code], &mut reads, text)?;
        reads.finish()?;
        self.verify_data(&data)?;
        let write = self
            .control
            .as_ref()
            .ok_or(WitnessError::Part { part: "control" })?;
        let mut leaf = write.old_leaf.ok_or(WitnessError::Part { part: "control" })?;
        same("control", hash_node(&leaf), write.old)?;
        for (index, word) in (0..).zip(next) {
            leaf = with_word(leaf, 4 * index, word);
        }
        same("control", hash_node(&leaf), write.new)?;
        verify_write("control", write, Place::leaf(CONTROL), self.middle, self.after)
    }

    /// Gives what the step writes, and control after it.
    fn effect(
        &self,
        [pc, status, exit_code]: Control,
        reads: &mut Reads<'_>,
        text: &Range<u32>,
    ) -> Result<(Data, Control), WitnessError> {
        let trap = |trap: Trap| Ok((Data::Nothing, [pc, trap as u32, exit_code]));
        if !pc.is_multiple_of(4) || !text.contains(&pc) {
            return trap(Trap::InstructionAddress);
        }
        let Some(instruction) = Instruction::decode(reads.leaf("instruction", pc)?.word()) else {
            return trap(Trap::IllegalInstruction);
        };
        if instruction == Instruction::Ecall {
            return self.call([pc, status, exit_code], reads, text);
        }
        let (rs1, rs2) = instruction.sources();
        let operands = (reads.register(rs1)?, reads.register(rs2)?);
        if let Err(reason) = execute(&instruction, pc, operands, 0, text) {
            return trap(reason);
        }
        let word = match memory_address(&instruction, operands.0) {
            Some(address) => reads.leaf("memory", address & !3)?.word(),
            None => 0,
        };
        match execute(&instruction, pc, operands, word, text) {
            Err(reason) => trap(reason),
            Ok(effect) => {
                let data = match effect.write {
                    Write::None => Data::Nothing,
                    Write::Register { index, value } => Data::Word {
                        address: register_address(index),
                        value,
                    },
                    Write::Memory { address, value } => Data::Word { address, value },
                };
                Ok((data, [effect.pc, status, exit_code]))
            }
        }
    }

    fn call(
        &self,
        [pc, status, exit_code]: Control,
        reads: &mut Reads<'_>,
        text: &Range<u32>,
    ) -> Result<(Data, Control), WitnessError> {
        let [number, address, level] = [reads.register(A7)?, reads.register(A0)?, reads.register(A1)?];
        let next = [pc.wrapping_add(4), status, exit_code];
        let trap = Ok((Data::Nothing, [pc, Trap::BadCall as u32, exit_code]));
        match number {
            EXIT => Ok((
                Data::Nothing,
                [next[0], Status::Halted { exit_code: 0 }.code(), address],
            )),
            NODE_FROM_HASH => match node_place(address, level, Some(text)) {
                None => trap,
                Some(place) => Ok((
                    Data::Node {
                        place,
                        hash: reads.key()?,
                    },
                    next,
                )),
            },
            HASH_OF_NODE => match node_place(address, level, None) {
                None => trap,
                Some(place) => {
                    let read = self.node.as_ref().ok_or(WitnessError::Part { part: "node" })?;
                    verify_write("node", read, place, self.before, self.before)?;
                    same("node", read.old, read.new)?;
                    Ok((Data::Key { hash: read.old }, next))
                }
            },
            SHA256_PREIMAGE => {
                let found = self
                    .preimage
                    .as_ref()
                    .ok_or(WitnessError::Part { part: "preimage" })?;
                same("preimage", reads.key()?, compress(&found.chaining, &found.block))?;
                let key = hash_pair(&found.chaining, &B256::ZERO);
                let hash = hash_pair(&key, &hash_node(&found.block));
                Ok((Data::Preimage { hash }, next))
            }
            _ => trap,
        }
    }

    /// Checks the data write, and that nothing is in the witness that the step does not have.
    fn verify_data(&self, data: &Data) -> Result<(), WitnessError> {
        if !matches!(data, Data::Key { .. }) {
            absent("node", &self.node)?;
        }
        if !matches!(data, Data::Preimage { .. }) {
            absent("preimage", &self.preimage)?;
        }
        if matches!(data, Data::Nothing) {
            absent("data", &self.data)?;
            return same("middle", self.before, self.middle);
        }
        let write = self.data.as_ref().ok_or(WitnessError::Part { part: "data" })?;
        let (place, new) = match *data {
            Data::Nothing => return Ok(()),
            Data::Word { address, value } => {
                let leaf = write.old_leaf.ok_or(WitnessError::Part { part: "data" })?;
                same("data", hash_node(&leaf), write.old)?;
                (Place::leaf(address), hash_node(&with_word(leaf, address, value)))
            }
            Data::Node { place, hash } => (place, hash),
            Data::Key { hash } => (Place::leaf(KEY), hash_pair(&hash, &B256::ZERO)),
            Data::Preimage { hash } => (Place::at(KEY, 1), hash),
        };
        same("data", new, write.new)?;
        verify_write("data", write, place, self.before, self.middle)
    }
}

/// The reads that are left, in the order in which the step makes them.
struct Reads<'a> {
    rest: core::slice::Iter<'a, Access>,
    root: B256,
}

impl<'a> Reads<'a> {
    fn leaf(&mut self, part: &'static str, address: u32) -> Result<&'a Access, WitnessError> {
        let access = self.rest.next().ok_or(WitnessError::Part { part })?;
        if access.address != address || access.siblings.len() != DEPTH as usize {
            return Err(WitnessError::Part { part });
        }
        let got = root_above(address, 0, hash_node(&access.leaf), &access.siblings);
        if got != self.root {
            return Err(WitnessError::Path {
                part,
                got,
                root: self.root,
            });
        }
        Ok(access)
    }

    fn register(&mut self, register: u8) -> Result<u32, WitnessError> {
        if register == 0 {
            return Ok(0);
        }
        Ok(self.leaf("register", register_address(register))?.word())
    }

    fn key(&mut self) -> Result<B256, WitnessError> {
        Ok(B256::from_slice(&self.leaf("key", KEY)?.leaf[..32]))
    }

    fn finish(&mut self) -> Result<(), WitnessError> {
        self.rest
            .next()
            .map_or(Ok(()), |_| Err(WitnessError::Part { part: "reads" }))
    }
}

fn absent<T>(part: &'static str, value: &Option<T>) -> Result<(), WitnessError> {
    value
        .as_ref()
        .map_or(Ok(()), |_| Err(WitnessError::Part { part }))
}

fn same(part: &'static str, expected: B256, got: B256) -> Result<(), WitnessError> {
    if expected == got {
        Ok(())
    } else {
        Err(WitnessError::Value { part, expected, got })
    }
}

fn verify_write(
    part: &'static str,
    write: &NodeWrite,
    place: Place,
    before: B256,
    after: B256,
) -> Result<(), WitnessError> {
    let address = place.first_leaf() * 64;
    if (write.address, write.level) != (address, place.level)
        || write.siblings.len() != (DEPTH - place.level) as usize
    {
        return Err(WitnessError::Part { part });
    }
    for (hash, root) in [(write.old, before), (write.new, after)] {
        let got = root_above(address, place.level, hash, &write.siblings);
        if got != root {
            return Err(WitnessError::Path { part, got, root });
        }
    }
    Ok(())
}
