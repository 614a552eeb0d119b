//! Executes blocks on revm: deposits, the L1 data fee, system calls, receipts, net changes of the state.
//!
//! `docs/execution.md` has the rules. [`execute_block`] and the sequencer's [`BlockExecutor`] are one code path, and
//! [`Evm`] runs the same handler for calls, estimates and traces.

mod authority;
mod block;
mod changes;
mod db;
mod error;
mod evm;
mod fee;
mod handler;
mod recover;
mod seal;
mod system;
mod tx;

#[cfg(test)]
mod net_tests;
#[cfg(test)]
mod tests;

pub use authority::EvmAuthorization;
pub use block::{BlockExecutor, BlockOutcome, TransactionOutcome, execute_block};
pub use db::{ReadError, StateDb};
pub use error::{ExecuteError, Fault, InvalidTransaction, Limits, TransactError, explain};
pub use evm::{Context, Evm, block_env, block_env_of, cfg_env};
pub use fee::{FeeRules, MIN_BASE_FEE, SizeParts, estimated_size, l1_fee, next_base_fee, read_fee_rate};
pub use recover::{RecoverError, recover_sender, recover_senders};
pub use seal::{
    HeaderError, MAX_BLOCK_RLP, MAX_EXTRA_DATA, attributes_of, receipts_root, seal, verify_attributes,
    verify_block_size, verify_header,
};
pub use tx::{DEPOSIT_TYPE, EvmTransaction};
