//! The net changes of a block, in canonical order.

use alloc::collections::BTreeMap;
use alloy_primitives::{Address, B256, Bytes, U256};

use super::Account;

/// What a block did to one account. Only real differences are recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountChange {
    /// The account before the block.
    pub before: Option<Account>,
    /// The account after the block; `None` when it is gone. Equal to `before` when only storage changed.
    pub after: Option<Account>,
    /// The code, when the block set or changed it.
    pub code: Option<Bytes>,
    /// Slots with their values before and after the block, where these differ. Zero is absent.
    pub storage: BTreeMap<U256, (U256, U256)>,
}

/// The net changes of a block: addresses and slots ascending, so that every consumer sees one order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateChanges {
    /// Changed accounts.
    pub accounts: BTreeMap<Address, AccountChange>,
}

impl StateChanges {
    /// Gives the changes that lead back. `code_of` finds the code an account had before the block.
    ///
    /// # Errors
    /// What `code_of` gives.
    pub fn reversed<E>(&self, code_of: impl Fn(Address, B256) -> Result<Bytes, E>) -> Result<Self, E> {
        let reverse = |(address, change): (&Address, &AccountChange)| {
            let hash_of = |account: &Option<Account>| account.map(|account| account.code_hash);
            let had_code = change.before.filter(|before| before.code_size != 0);
            let code = match had_code {
                Some(before) if hash_of(&change.after) != Some(before.code_hash) => {
                    Some(code_of(*address, before.code_hash)?)
                }
                _ => None,
            };
            let storage = change
                .storage
                .iter()
                .map(|(slot, (before, after))| (*slot, (*after, *before)));
            let reversed = AccountChange {
                before: change.after,
                after: change.before,
                code,
                storage: storage.collect(),
            };
            Ok((*address, reversed))
        };
        Ok(Self {
            accounts: self.accounts.iter().map(reverse).collect::<Result<_, E>>()?,
        })
    }
}
