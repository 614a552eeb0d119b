//! A state reader as revm's database, with a record of what was read.

use alloc::vec::Vec;

use alloy_consensus::constants::KECCAK_EMPTY;
use alloy_eips::eip2935::{HISTORY_SERVE_WINDOW, HISTORY_STORAGE_ADDRESS};
use alloy_primitives::map::B256Map;
use alloy_primitives::{Address, B256, U256};
use revm::Database;
use revm::database_interface::DBErrorMarker;
use revm::state::{AccountInfo, Bytecode};

use crate::state::{Account, StateReader};

/// Why the state could not be read: our own fault or the medium's, never the chain's.
#[derive(Debug, thiserror::Error)]
pub enum ReadError<E> {
    /// The reader failed.
    #[error(transparent)]
    Reader(E),
    /// Code was asked for that no account read before has.
    #[error("no account with code hash {hash} was read")]
    UnknownCode {
        /// The hash.
        hash: B256,
    },
}

impl<E: core::error::Error + Send + Sync + 'static> DBErrorMarker for ReadError<E> {}

/// revm's database over the state after one block.
///
/// `basic` answers `None` for an absent account: an empty one instead would earn a wrong EIP-7702 refund.
#[derive(Debug)]
pub struct StateDb<S> {
    reader: S,
    parent: (u64, B256),
    // The journal asks for every account and slot once a block, so plain lists are the record of what was there
    // before: no second cache.
    pub(super) accounts: Vec<(Address, Option<Account>)>,
    pub(super) slots: Vec<(Address, U256, U256)>,
    // A reader finds code by its account.
    code_owners: B256Map<Address>,
}

impl<S: StateReader> StateDb<S> {
    /// Wraps a reader of the state after the block `parent_number`, whose hash is `parent_hash`.
    pub fn new(reader: S, parent_number: u64, parent_hash: B256) -> Self {
        Self {
            reader,
            parent: (parent_number, parent_hash),
            accounts: Vec::new(),
            slots: Vec::new(),
            code_owners: B256Map::default(),
        }
    }

    /// The reader.
    pub const fn reader(&self) -> &S {
        &self.reader
    }
}

impl<S> Database for StateDb<S>
where
    S: StateReader,
    S::Error: Send + Sync + 'static,
{
    type Error = ReadError<S::Error>;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, Self::Error> {
        let account = self.reader.account(address).map_err(ReadError::Reader)?;
        self.accounts.push((address, account));
        let Some(account) = account else { return Ok(None) };
        let code = if account.code_hash == KECCAK_EMPTY {
            Some(Bytecode::default())
        } else {
            self.code_owners.insert(account.code_hash, address);
            None
        };
        Ok(Some(AccountInfo {
            balance: account.balance,
            nonce: account.nonce,
            code_hash: account.code_hash,
            account_id: None,
            code,
        }))
    }

    fn code_by_hash(&mut self, code_hash: B256) -> Result<Bytecode, Self::Error> {
        let owner = self.code_owners.get(&code_hash);
        let owner = *owner.ok_or(ReadError::UnknownCode { hash: code_hash })?;
        let code = self.reader.code(owner, code_hash).map_err(ReadError::Reader)?;
        // Code that begins like a delegation and is none cannot be deployed (EIP-3541); were it there, it runs as
        // ordinary code, which halts at once.
        Ok(Bytecode::new_raw_checked(code.clone()).unwrap_or_else(|_| Bytecode::new_legacy(code)))
    }

    fn storage(&mut self, address: Address, slot: U256) -> Result<U256, Self::Error> {
        let value = self.reader.storage(address, slot).map_err(ReadError::Reader)?;
        self.slots.push((address, slot, value));
        Ok(value)
    }

    /// Reads from the EIP-2935 contract, which every state proves. The parent's hash is written there only by the
    /// block that runs now, so it is given.
    fn block_hash(&mut self, number: u64) -> Result<B256, Self::Error> {
        let (parent_number, parent_hash) = self.parent;
        if number == parent_number {
            return Ok(parent_hash);
        }
        let slot = number
            .checked_rem(u64::try_from(HISTORY_SERVE_WINDOW).unwrap_or(u64::MAX))
            .unwrap_or(0);
        let value = self.reader.storage(HISTORY_STORAGE_ADDRESS, U256::from(slot));
        Ok(B256::from(value.map_err(ReadError::Reader)?))
    }
}
