//! The net changes of a block, in canonical order.

use alloc::collections::BTreeMap;
use alloy_primitives::{Address, Bytes, U256};

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
