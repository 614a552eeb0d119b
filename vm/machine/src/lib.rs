//! The machine that a dispute runs (docs/machine.md): rv32im over one Merkle tree.
//!
//! [`Machine`] holds a state and runs it. Nothing is hashed while it runs; [`Machine::root`] hashes what changed.
//! [`Machine::prove_step`] gives all that a dispute publishes of one step, and [`StepWitness::verify`] checks it against
//! nothing but the two roots.

mod engine;
mod execute;
mod instruction;
mod interpret;
mod machine;
mod memory;
mod oracle;
mod program;
mod snapshot;
mod tree;
mod witness;

pub use bitsect_vm::address;
pub use engine::{EngineKind, UnknownEngine};
pub use execute::{Effect, Trap, Write, execute, memory_address};
pub use instruction::{AluOp, BranchOp, Instruction, LoadOp, REGISTER_NAMES, StoreOp};
pub use interpret::{Engine, Interpreter};
pub use machine::{Machine, Missing, Status, is_callable};
pub use oracle::{Oracle, Preimages, Sha256Preimage, compress};
pub use program::{Program, ProgramError, Symbol};
pub use snapshot::{History, HistoryError, Limits};
pub use tree::{DEPTH, zero_root};
pub use witness::{Access, KnownPath, NodeWrite, StepWitness, WitnessError};
