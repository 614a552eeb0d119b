//! The true chain as both sides of a dispute know it, and the machine's runs over its units.
//!
//! [`Chain`] gives chain states and records of units. [`Runner`] runs a unit on the machine in the background, and the
//! [`Trace`] that comes of it answers for any step: its state, its witness, any leaf under it.

mod cache;
mod claimed;
mod error;
mod input;
mod rpc;
mod run;
mod trace;

use std::future::Future;
use std::pin::Pin;

use alloy_primitives::B256;
use bitsect_vm::chain::bridge::OutputId;
use bitsect_vm::record::UnitRecord;

pub use claimed::claimed_chain;
pub use error::ChainError;
pub use input::{UnitInput, unit_input};
pub use rpc::{AskedWithdrawal, Counted, RpcChain, VaultSums};
#[cfg(test)]
pub(crate) use run::tests::{elf, input as unit_of};
pub use run::{ProgramFault, Progress, Run, RunError, Runner, RunnerConfig};
pub use trace::{End, TRACE_STEPS, Trace, TraceError, path_nodes};

/// What a chain answers, later.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, ChainError>> + Send + 'a>>;

/// The true chain. Each answer is of its own moment: a reorg of Bitcoin changes what is given for a unit.
pub trait Chain: Send + Sync + 'static {
    /// Gives how many units are done.
    fn unit_count(&self) -> Answer<'_, u64>;

    /// Gives the height of the last L1 block whose units are done.
    fn l1_height(&self) -> Answer<'_, u32>;

    /// Gives `S_unit`, the chain state after `unit` units; `None` where fewer are done.
    fn state(&self, unit: u64) -> Answer<'_, Option<B256>>;

    /// Gives what the unit from `S_unit` to `S_{unit+1}` reads; `None` where it is not done.
    fn record(&self, unit: u64) -> Answer<'_, Option<UnitRecord>>;

    /// Gives what the check of a ticket reads at `S_unit`; its state after is zero where it does not hold. `None` where not
    /// more than `unit` units are done.
    fn check(&self, unit: u64, ticket: OutputId) -> Answer<'_, Option<UnitRecord>>;

    /// Gives an L1 block in network format, of the best chain or stale; `None` where it is not known.
    ///
    /// It is for advice that is not the recorded one. A hash is in internal byte order.
    fn l1_block(&self, hash: B256) -> Answer<'_, Option<Vec<u8>>>;

    /// Gives the program that a dispute runs: an ELF file with the chain's parameters in it.
    ///
    /// # Errors
    /// [`ChainError::NoProgram`] where none was given.
    fn program(&self) -> Result<&[u8], ChainError>;
}
