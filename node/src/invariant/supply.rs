//! All balances together: what a block does to them.

use alloy_primitives::U256;
use bitsect_vm::chain::Transaction;
use bitsect_vm::state::StateChanges;

/// All that there is after a block, in wei.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Supply {
    /// The sum of all balances.
    pub total: U256,
    /// What was burnt since genesis.
    pub burnt: U256,
}

/// What a block does to all balances together, in wei.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// What balances rose by.
    pub gained: U256,
    /// What balances fell by.
    pub lost: U256,
    /// What deposits minted.
    pub minted: U256,
}

impl Flow {
    /// Adds up a block's net changes, and what its transactions from the inbox mint: a deposit that is not from Bitcoin
    /// mints nothing that anybody backs.
    pub fn of(changes: &StateChanges, inbox: &[Transaction]) -> Self {
        let mut flow = Self::minted(inbox);
        for change in changes.accounts.values() {
            let balance = |account: Option<bitsect_vm::state::Account>| {
                account.map_or(U256::ZERO, |account| account.balance)
            };
            flow.change(balance(change.before), balance(change.after));
        }
        flow
    }

    /// Adds up what transactions from the inbox mint.
    pub fn minted<'a>(inbox: impl IntoIterator<Item = &'a Transaction>) -> Self {
        let mut flow = Self::default();
        for transaction in inbox {
            if let Transaction::Deposit(deposit) = transaction {
                flow.minted = flow.minted.saturating_add(U256::from(deposit.mint));
            }
        }
        flow
    }

    /// Adds one balance's change.
    pub fn change(&mut self, before: U256, after: U256) {
        // A balance has 128 bits: as many as there can be do not overflow the sum.
        self.gained = self.gained.saturating_add(after.saturating_sub(before));
        self.lost = self.lost.saturating_add(before.saturating_sub(after));
    }
}

impl Supply {
    /// Gives what there is after a block. What was minted, or left a balance, and is in none is burnt.
    pub fn after(&self, flow: &Flow) -> Self {
        let came = flow.minted.saturating_add(flow.lost);
        Self {
            total: self.total.saturating_add(flow.gained).saturating_sub(flow.lost),
            burnt: self.burnt.saturating_add(came.saturating_sub(flow.gained)),
        }
    }

    /// Gives all that ever came into being, in wei: what there is, and what was burnt.
    pub fn ever(&self) -> U256 {
        self.total.saturating_add(self.burnt)
    }
}
