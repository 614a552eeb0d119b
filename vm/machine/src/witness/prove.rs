//! Makes the witness of a machine's next step.

use alloy_primitives::B256;
use bitsect_vm::state::hash_node;

use super::{Access, KnownPath, NodeWrite, StepWitness, root_above};
use crate::address::{
    A0, A1, A7, CONTROL, HASH_OF_NODE, KEY, LEAF_SIZE, NODE_FROM_HASH, REGISTERS, SHA256_PREIMAGE,
};
use crate::execute::{Write, execute, memory_address};
use crate::instruction::Instruction;
use crate::machine::{Machine, Missing, Status, node_place};
use crate::oracle::Oracle;
use crate::tree::{Place, Unknown};

/// What a step reads, and the place of what it writes beside control.
#[derive(Default)]
struct Plan {
    reads: Vec<u32>,
    node: Option<Place>,
    preimage_of: Option<B256>,
    data: Option<Place>,
}

impl Machine {
    /// Makes one step, and gives its witness.
    ///
    /// # Errors
    /// Where the oracle lacks a preimage.
    pub fn prove_step(&mut self, oracle: &dyn Oracle) -> Result<StepWitness, Missing> {
        if let Some(missing) = self.missing {
            return Err(missing);
        }
        let before = self.root();
        let plan = self.plan(oracle)?;
        let mut reads = Vec::with_capacity(plan.reads.len());
        for address in plan.reads {
            reads.push(self.access(address, oracle)?);
        }
        let node = plan.node.map(|place| self.node(place, oracle)).transpose()?;
        let mut data = plan.data.map(|place| self.node(place, oracle)).transpose()?;
        let preimage = plan.preimage_of.and_then(|digest| oracle.sha256(&digest));
        let mut control = self.node(Place::leaf(CONTROL), oracle)?;
        if self.status != Status::Running {
            self.steps += 1;
            let (middle, after) = (before, before);
            return Ok(StepWitness {
                before,
                middle,
                after,
                reads,
                node,
                preimage,
                data,
                control: None,
            });
        }
        self.step(oracle)?;
        let after = self.root();
        if let (Some(write), Some(place)) = (&mut data, plan.data) {
            write.new = self.hash(place, oracle)?;
        }
        let middle = data.as_ref().map_or(before, |write| {
            root_above(write.address, write.level, write.new, &write.siblings)
        });
        let place = Place::leaf(CONTROL);
        control.new = self.hash(place, oracle)?;
        control.siblings = self.tree.siblings(&mut self.memory, place);
        Ok(StepWitness {
            before,
            middle,
            after,
            reads,
            node,
            preimage,
            data,
            control: Some(control),
        })
    }

    /// Gives the leaf that holds an address, and the path from there to the root.
    ///
    /// # Errors
    /// Where the oracle lacks a preimage.
    pub fn prove_leaf(&mut self, address: u32, oracle: &dyn Oracle) -> Result<Access, Missing> {
        self.flush();
        self.access(address, oracle)
    }

    /// Gives the way to a node in the state as it is, as far down as its preimages are known.
    pub fn known_path(&mut self, address: u32, level: u32, oracle: &dyn Oracle) -> KnownPath {
        self.root();
        let place = Place::at(address, level);
        if self.tree.has_opaque() {
            // What lies above the place is looked into as far as it goes: what is left hidden is asked for below.
            let _ = self.tree.reveal(&mut self.memory, Place::leaf(address), oracle);
        }
        let hidden = self.tree.opaque_above(place);
        let (lowest, node) = match hidden.filter(|(above, _)| above.level >= level) {
            Some((above, hash)) => (above, hash),
            None => {
                let hash = self.tree.hash(&mut self.memory, place, oracle);
                (place, hash.unwrap_or_else(|Unknown(hash)| hash))
            }
        };
        let leaf = (level == 0 && hidden.is_none()).then(|| *self.memory.leaf(place.index));
        KnownPath {
            node,
            leaf,
            siblings: self.tree.siblings(&mut self.memory, lowest),
        }
    }

    fn plan(&mut self, oracle: &dyn Oracle) -> Result<Plan, Missing> {
        let mut plan = Plan {
            reads: vec![CONTROL],
            ..Plan::default()
        };
        if self.status != Status::Running {
            return Ok(plan);
        }
        plan.reads.extend(self.instruction_word().map(|_| self.pc));
        match self.fetch() {
            Err(_) => {}
            Ok(Instruction::Ecall) => self.plan_call(&mut plan, oracle)?,
            Ok(instruction) => self.plan_instruction(&mut plan, &instruction),
        }
        Ok(plan)
    }

    fn plan_instruction(&self, plan: &mut Plan, instruction: &Instruction) {
        let (rs1, rs2) = instruction.sources();
        let sources = [rs1, rs2].into_iter().filter(|register| *register != 0);
        plan.reads.extend(sources.map(register_address));
        let operands = (self.registers[usize::from(rs1)], self.registers[usize::from(rs2)]);
        let address = memory_address(instruction, operands.0);
        // The word's value does not matter: neither whether the step traps nor where it writes depends on it.
        let Ok(effect) = execute(instruction, self.pc, operands, 0, &self.text) else {
            return;
        };
        plan.reads.extend(address.map(|address| address & !3));
        plan.data = match effect.write {
            Write::None => None,
            Write::Register { index, .. } => Some(Place::leaf(register_address(index))),
            Write::Memory { address, .. } => Some(Place::leaf(address)),
        };
    }

    fn plan_call(&mut self, plan: &mut Plan, oracle: &dyn Oracle) -> Result<(), Missing> {
        plan.reads.extend([A7, A0, A1].map(register_address));
        let [number, address, level] = [A7, A0, A1].map(|register| self.registers[usize::from(register)]);
        match number {
            NODE_FROM_HASH => {
                plan.data = node_place(address, level, Some(&self.text));
                plan.reads.extend(plan.data.map(|_| KEY));
            }
            HASH_OF_NODE => {
                plan.node = node_place(address, level, None);
                plan.data = plan.node.map(|_| Place::leaf(KEY));
            }
            SHA256_PREIMAGE => {
                plan.reads.push(KEY);
                plan.data = Some(Place::at(KEY, 1));
                plan.preimage_of = Some(self.key(oracle)?);
            }
            _ => {}
        }
        Ok(())
    }

    /// Gives a leaf and the path from it to the root of the state as it is.
    ///
    /// # Errors
    /// Where the oracle lacks a preimage.
    pub fn access(&mut self, address: u32, oracle: &dyn Oracle) -> Result<Access, Missing> {
        let place = Place::leaf(address);
        if self.tree.has_opaque() {
            self.reveal(address, oracle)?;
        }
        let leaf = *self.memory.leaf(place.index);
        Ok(Access {
            address,
            leaf,
            siblings: self.tree.siblings(&mut self.memory, place),
        })
    }

    fn hash(&mut self, place: Place, oracle: &dyn Oracle) -> Result<B256, Missing> {
        let hash = self.tree.hash(&mut self.memory, place, oracle);
        hash.map_err(|unknown| self.exhaust(unknown))
    }

    /// A node as it is now, as if it were written unchanged.
    fn node(&mut self, place: Place, oracle: &dyn Oracle) -> Result<NodeWrite, Missing> {
        let old = self.hash(place, oracle)?;
        let leaf = (place.level == 0).then(|| *self.memory.leaf(place.index));
        // A leaf that is known by its hash alone reads as zeros.
        let old_leaf = leaf.filter(|leaf| hash_node(leaf) == old);
        let siblings = self.tree.siblings(&mut self.memory, place);
        let address = place.first_leaf() * LEAF_SIZE;
        Ok(NodeWrite {
            address,
            level: place.level,
            old,
            new: old,
            old_leaf,
            siblings,
        })
    }
}

/// Gives the address of a register's word.
pub(super) const fn register_address(register: u8) -> u32 {
    REGISTERS + 4 * register as u32
}
