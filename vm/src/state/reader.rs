//! Where execution reads state from.

use alloy_primitives::{Address, B256, Bytes, U256};

/// An account's fields, as the state tree commits to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Transactions sent, or contracts created.
    pub nonce: u64,
    /// Wei. The tree holds 16 bytes: a larger balance is refused.
    pub balance: U256,
    /// keccak256 of the code; that of no bytes for an account without code.
    pub code_hash: B256,
    /// The code's length in bytes.
    pub code_size: u32,
}

/// Reads the state after one block.
///
/// Implementors: the node's store, an in-memory map, and later the machine's oracle, which authenticates
/// each answer against the state root.
pub trait StateReader {
    /// Why a read failed: the medium's fault, never the chain's.
    type Error: core::error::Error;

    /// Reads an account; `None` when it does not exist.
    fn account(&self, address: Address) -> Result<Option<Account>, Self::Error>;

    /// Reads a storage slot; zero when it was never written.
    fn storage(&self, address: Address, slot: U256) -> Result<U256, Self::Error>;

    /// Reads the code of an account that has this code hash.
    fn code(&self, address: Address, code_hash: B256) -> Result<Bytes, Self::Error>;
}

impl<T: StateReader> StateReader for &T {
    type Error = T::Error;

    fn account(&self, address: Address) -> Result<Option<Account>, Self::Error> {
        (**self).account(address)
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, Self::Error> {
        (**self).storage(address, slot)
    }

    fn code(&self, address: Address, code_hash: B256) -> Result<Bytes, Self::Error> {
        (**self).code(address, code_hash)
    }
}
