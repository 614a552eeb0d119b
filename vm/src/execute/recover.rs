//! Senders out of signatures.

use alloc::vec::Vec;

use alloy_consensus::transaction::SignerRecoverable;
use alloy_primitives::Address;

use crate::chain::Transaction;

/// A transaction has no valid sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("transaction {index}: invalid transaction v, r, s values")]
pub struct RecoverError {
    /// Its index in the list.
    pub index: usize,
}

/// Recovers the sender of a transaction: `from` of a deposit. Signatures with a high s are refused (EIP-2).
pub fn recover_sender(transaction: &Transaction) -> Option<Address> {
    if transaction.is_post_exec() {
        return None;
    }
    transaction.recover_signer().ok()
}

/// Recovers the sender of every transaction, on all cores where there are threads.
///
/// # Errors
///
/// The first transaction that has none.
#[cfg(feature = "std")]
pub fn recover_senders(transactions: &[Transaction]) -> Result<Vec<Address>, RecoverError> {
    use rayon::iter::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};
    let senders: Vec<Option<Address>> = transactions
        .par_iter()
        .with_min_len(16)
        .map(recover_sender)
        .collect();
    collect(senders.into_iter())
}

/// Recovers the sender of every transaction.
///
/// # Errors
///
/// The first transaction that has none.
#[cfg(not(feature = "std"))]
pub fn recover_senders(transactions: &[Transaction]) -> Result<Vec<Address>, RecoverError> {
    collect(transactions.iter().map(recover_sender))
}

fn collect(senders: impl Iterator<Item = Option<Address>>) -> Result<Vec<Address>, RecoverError> {
    senders
        .enumerate()
        .map(|(index, sender)| sender.ok_or(RecoverError { index }))
        .collect()
}
