//! A machine's state, and what every engine does in the same way: calls, traps, hashing.

use core::ops::Range;

use alloy_primitives::B256;
use bitsect_vm::chain::blob_root;

use bitsect_vm::state::join;

use crate::address::{
    A0, A1, A7, BLOCK, CONTROL, EXIT, HASH_OF_NODE, INPUT, KEY, LEAF_SIZE, MAX_CALL_LEVEL, NODE_FROM_HASH,
    OUTPUT, PROTECTED, REGISTERS, SHA256_PREIMAGE,
};
use crate::execute::Trap;
use crate::memory::{Memory, PAGE_SIZE};
use crate::oracle::Oracle;
use crate::program::Program;
use crate::tree::{Place, Tree, Unknown};

/// Bytes of the longest text that engines translate; the longest seen has 2 MiB. Longer ones are interpreted.
const MAX_TRANSLATED: usize = 64 << 20;

/// Whether a machine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It makes steps.
    Running,
    /// It ended by `EXIT`.
    Halted {
        /// The exit code.
        exit_code: u32,
    },
    /// It trapped.
    Trapped(Trap),
}

/// A preimage that the host lacks: it cannot compute the state after this step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("step {step}: the oracle has no preimage of {hash}")]
pub struct Missing {
    /// The step that needs it, from 0.
    pub step: u64,
    /// The hash of which the preimage is needed.
    pub hash: B256,
}

/// A machine in some state. Its memory is one mapping of 4 GiB, of which only written pages take room.
#[expect(missing_debug_implementations, reason = "four gigabytes of memory")]
pub struct Machine {
    pub(crate) memory: Memory,
    pub(crate) tree: Tree,
    pub(crate) registers: [u32; 32],
    pub(crate) pc: u32,
    pub(crate) status: Status,
    pub(crate) steps: u64,
    pub(crate) stopped_at: Option<u64>,
    pub(crate) text: Range<u32>,
    /// The hash of the text's bytes: with the range, what an engine knows its translation by. None of a text that
    /// is too long to be translated.
    pub(crate) text_hash: Option<B256>,
    pub(crate) missing: Option<Missing>,
}

/// What an `ecall` needs before it changes anything.
enum Call {
    Exit,
    NodeFromHash(Place),
    HashOfNode(Place),
    Sha256Preimage,
}

impl Machine {
    /// Loads a program, with 64 bytes of input (`S_k`, advice).
    ///
    /// # Errors
    /// When the system does not give 4 GiB of address space.
    pub fn new(program: &Program, input: &[u8; 64]) -> std::io::Result<Self> {
        let mut memory = Memory::new()?;
        for (address, bytes) in &program.segments {
            let (mut address, mut rest) = (*address, bytes.as_slice());
            while !rest.is_empty() {
                let room = PAGE_SIZE - address as usize % PAGE_SIZE;
                let (chunk, behind) = rest.split_at(room.min(rest.len()));
                memory.write(address, chunk);
                address += chunk.len() as u32;
                rest = behind;
            }
        }
        if input.iter().any(|byte| *byte != 0) {
            memory.write(INPUT, input);
        }
        let text_hash =
            (program.text.len() <= MAX_TRANSLATED).then(|| blob_root(memory.range(&program.text)));
        Ok(Self {
            memory,
            tree: Tree::new(),
            registers: [0; 32],
            pc: program.entry,
            status: Status::Running,
            steps: 0,
            stopped_at: None,
            text: program.text.clone(),
            text_hash,
            missing: None,
        })
    }

    /// Gives how many steps were made. A machine that stopped makes steps too: they change nothing.
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    /// Gives how many steps it had made when it halted or trapped.
    pub const fn stopped_at(&self) -> Option<u64> {
        self.stopped_at
    }

    /// Gives the address of the next instruction.
    pub const fn pc(&self) -> u32 {
        self.pc
    }

    /// Gives the registers.
    pub const fn registers(&self) -> &[u32; 32] {
        &self.registers
    }

    /// Tells whether it runs.
    pub const fn status(&self) -> Status {
        self.status
    }

    /// Gives the range that holds instructions and cannot be changed.
    pub const fn text(&self) -> &Range<u32> {
        &self.text
    }

    /// Gives the preimage whose lack ended the run.
    pub const fn missing(&self) -> Option<Missing> {
        self.missing
    }

    /// Gives the first 32 bytes of the output leaf.
    pub fn output(&self) -> B256 {
        B256::from_slice(&self.memory.leaf(Place::leaf(OUTPUT).index)[..32])
    }

    /// Gives the word at `pc`; `None` where a fetch would trap.
    pub fn instruction_word(&self) -> Option<u32> {
        (self.pc.is_multiple_of(4) && self.text.contains(&self.pc)).then(|| self.memory.word(self.pc))
    }

    /// Hashes what changed, and gives the machine state.
    pub fn root(&mut self) -> B256 {
        self.flush();
        self.tree.root(&mut self.memory)
    }

    /// Writes registers and control into their leaves.
    pub(crate) fn flush(&mut self) {
        let mut bytes = [0; 128];
        for (to, register) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(&self.registers) {
            *to = register.to_le_bytes();
        }
        self.memory.write(REGISTERS, &bytes);
        let mut control = [0; LEAF_SIZE as usize];
        let words = [self.pc, self.status.code(), self.status.exit_code()];
        for (to, word) in control.as_chunks_mut::<4>().0.iter_mut().zip(words) {
            *to = word.to_le_bytes();
        }
        self.memory.write(CONTROL, &control);
    }

    pub(crate) fn trap(&mut self, trap: Trap) {
        self.status = Status::Trapped(trap);
    }

    /// Makes sure that the leaf at an address is in memory.
    pub(crate) fn reveal(&mut self, address: u32, oracle: &dyn Oracle) -> Result<(), Missing> {
        let leaf = Place::leaf(address);
        let revealed = self.tree.reveal(&mut self.memory, leaf, oracle);
        revealed.map_err(|unknown| self.exhaust(unknown))
    }

    /// Ends the run for want of a preimage: the host makes no step any more.
    pub(crate) fn exhaust(&mut self, Unknown(hash): Unknown) -> Missing {
        let missing = Missing {
            step: self.steps,
            hash,
        };
        self.missing = Some(missing);
        missing
    }

    /// Executes the `ecall` at `pc`.
    ///
    /// # Errors
    /// Where the oracle lacks a preimage; nothing has changed then.
    pub(crate) fn call(&mut self, oracle: &dyn Oracle) -> Result<(), Missing> {
        let Some(call) = self.decode_call() else {
            self.trap(Trap::BadCall);
            return Ok(());
        };
        match call {
            Call::Exit => {
                let exit_code = self.registers[usize::from(A0)];
                self.status = Status::Halted { exit_code };
            }
            Call::NodeFromHash(place) => {
                let hash = self.key(oracle)?;
                let mapped = self.tree.map(&mut self.memory, place, hash, oracle);
                mapped.map_err(|unknown| self.exhaust(unknown))?;
            }
            Call::HashOfNode(place) => {
                let hash = self.tree.hash(&mut self.memory, place, oracle);
                let hash = hash.map_err(|unknown| self.exhaust(unknown))?;
                self.set_key(hash, oracle)?;
            }
            Call::Sha256Preimage => {
                let digest = self.key(oracle)?;
                let found = oracle.sha256(&digest);
                let found = found.ok_or_else(|| self.exhaust(Unknown(digest)))?;
                self.set_leaf(BLOCK, &found.block, oracle)?;
                self.set_key(found.chaining, oracle)?;
            }
        }
        self.pc = self.pc.wrapping_add(4);
        Ok(())
    }

    fn decode_call(&self) -> Option<Call> {
        let [number, address, level] = [A7, A0, A1].map(|register| self.registers[usize::from(register)]);
        Some(match number {
            EXIT => Call::Exit,
            NODE_FROM_HASH => Call::NodeFromHash(node_place(address, level, Some(&self.text))?),
            HASH_OF_NODE => Call::HashOfNode(node_place(address, level, None)?),
            SHA256_PREIMAGE => Call::Sha256Preimage,
            _ => return None,
        })
    }

    pub(crate) fn key(&mut self, oracle: &dyn Oracle) -> Result<B256, Missing> {
        if self.tree.has_opaque() {
            self.reveal(KEY, oracle)?;
        }
        Ok(B256::from_slice(&self.memory.leaf(Place::leaf(KEY).index)[..32]))
    }

    fn set_key(&mut self, key: B256, oracle: &dyn Oracle) -> Result<(), Missing> {
        self.set_leaf(KEY, &join(key, B256::ZERO), oracle)
    }

    fn set_leaf(&mut self, address: u32, leaf: &[u8; 64], oracle: &dyn Oracle) -> Result<(), Missing> {
        if self.tree.has_opaque() {
            let released = self.tree.release(&mut self.memory, Place::leaf(address), oracle);
            released.map_err(|unknown| self.exhaust(unknown))?;
        }
        self.memory.write(address, leaf);
        Ok(())
    }
}

/// Checks a call's address and level. A node that is written must not overlap the text.
pub(crate) fn node_place(address: u32, level: u32, text: Option<&Range<u32>>) -> Option<Place> {
    if level > MAX_CALL_LEVEL {
        return None;
    }
    let size = LEAF_SIZE << level;
    let last = address.checked_add(size - 1)?;
    let overlaps_text = text.is_some_and(|text| address < text.end && last >= text.start);
    let allowed = address.is_multiple_of(size) && last < PROTECTED && !overlaps_text;
    allowed.then(|| Place::at(address, level))
}

/// Whether a call may reach the node at this address and level: with the text's range, write it.
pub fn is_callable(address: u32, level: u32, text: Option<&Range<u32>>) -> bool {
    node_place(address, level, text).is_some()
}

impl Status {
    /// Gives the status word.
    pub const fn code(self) -> u32 {
        match self {
            Self::Running => 0,
            Self::Halted { .. } => 1,
            Self::Trapped(trap) => trap as u32,
        }
    }

    /// Gives the exit code; zero unless halted.
    pub const fn exit_code(self) -> u32 {
        match self {
            Self::Halted { exit_code } => exit_code,
            _ => 0,
        }
    }
}
