//! Calls that the protocol makes before a block's transactions.

use alloc::string::ToString;

use alloy_eips::eip2935::HISTORY_STORAGE_ADDRESS;
use alloy_eips::eip4788::BEACON_ROOTS_ADDRESS;
use alloy_primitives::B256;
use revm::context::result::ExecutionResult;
use revm::context_interface::{ContextTr, JournalTr};

use crate::chain::L1Info;
use crate::chain::predeploys::{
    BITCOIN_BLOCKS, L1_NUMBERS_SLOT, SYSTEM_CALLER, l1_fee_rate, set_l1_block_input,
};
use crate::state::StateReader;

use super::db::StateDb;
use super::error::{Fault, fault};
use super::evm::Evm;
use super::tx::EvmTransaction;

/// Writes the parent's hash (EIP-2935) and the L1 origin's hash (EIP-4788) to their contracts. As in Ethereum, a
/// contract that is absent or fails is passed over.
pub(super) fn record_ancestors<S, I>(
    evm: &mut Evm<StateDb<S>, I>,
    parent_hash: B256,
    beacon_root: B256,
) -> Result<(), Fault<S::Error>>
where
    S: StateReader,
    S::Error: Send + Sync + 'static,
{
    for (contract, input) in [
        (BEACON_ROOTS_ADDRESS, beacon_root),
        (HISTORY_STORAGE_ADDRESS, parent_hash),
    ] {
        let call = EvmTransaction::system_call(SYSTEM_CALLER, contract, input.into());
        evm.system_call(call).map_err(fault)?;
    }
    Ok(())
}

/// Records the origin in `BitcoinBlocks`. That this fails is never the block's doing.
pub(super) fn record_origin<S, I>(evm: &mut Evm<StateDb<S>, I>, info: &L1Info) -> Result<(), Fault<S::Error>>
where
    S: StateReader,
    S::Error: Send + Sync + 'static,
{
    let contract = BITCOIN_BLOCKS;
    let journal = evm.context_mut().journal_mut();
    let account = journal.load_account(contract).map_err(Fault::State)?;
    if account.data.info.is_empty_code_hash() {
        return Err(Fault::SystemCall {
            contract,
            reason: "there is no code".to_string(),
        });
    }
    let call = EvmTransaction::system_call(SYSTEM_CALLER, contract, set_l1_block_input(info).into());
    match evm.system_call(call).map_err(fault)? {
        ExecutionResult::Success { .. } => Ok(()),
        ExecutionResult::Revert { output, .. } => Err(Fault::SystemCall {
            contract,
            reason: alloc::format!("reverted with {output}"),
        }),
        ExecutionResult::Halt { reason, .. } => Err(Fault::SystemCall {
            contract,
            reason: alloc::format!("{reason}"),
        }),
    }
}

/// Reads the fee rate that this block's transactions pay, in sat per 1,000 vB.
pub(super) fn load_fee_rate<S, I>(evm: &mut Evm<StateDb<S>, I>) -> Result<u64, Fault<S::Error>>
where
    S: StateReader,
    S::Error: Send + Sync + 'static,
{
    let journal = evm.context_mut().journal_mut();
    journal.load_account(BITCOIN_BLOCKS).map_err(Fault::State)?;
    let slot = journal
        .sload(BITCOIN_BLOCKS, L1_NUMBERS_SLOT)
        .map_err(Fault::State)?;
    let rate = l1_fee_rate(slot.data);
    // What was loaded here must be cold for the first transaction.
    journal.commit_tx();
    Ok(rate)
}
