//! What always holds of the money on this chain (docs/bridge.md): sums that are checked after every block.
//!
//! Nothing here is consensus. A block that breaks a rule is valid where derivation says so; somebody has to look.

mod supply;
#[cfg(test)]
pub(crate) mod tests;
mod vault;

use alloy_primitives::{B256, Log, U256};
use alloy_sol_types::{SolEvent, sol};
use bitsect_vm::chain::predeploys::BRIDGE;
use bitsect_vm::chain::{OutPoint, Txid, sats_to_wei};

use crate::convert;

pub use supply::{Flow, Supply};
pub use vault::{MoveKind, VaultMove, vault_moves};

sol! {
    event VaultBroken(bytes32 indexed txid, uint64 spent, uint64 added);
}

/// What the sums after a block are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The block's number.
    pub block: u64,
    /// All that there was at genesis, in wei.
    pub genesis: U256,
    /// What there was before the block, and the wei that its deposits minted; `None` where that is not held.
    pub before: Option<(Supply, U256)>,
    /// What there is after it.
    pub after: Supply,
    /// The balance of `Bridge`, in wei.
    pub bridge_balance: U256,
    /// The slot of `Bridge` with vault, pending, credit and in flight.
    pub totals: U256,
    /// The slot of `Bridge` with all that was assigned and not given back, and what was not taken.
    pub counts: U256,
}

/// The sums after a block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// The block's number.
    pub block: u64,
    /// All balances, in wei.
    pub supply: U256,
    /// All balances at genesis, in wei.
    pub genesis: U256,
    /// What was burnt since genesis, in wei.
    pub burnt: U256,
    /// The balance of `Bridge`, in wei.
    pub bridge_balance: U256,
    /// In vault outputs, in sats.
    pub vault: u64,
    /// In withdrawals that are not paid, in sats.
    pub pending: u64,
    /// What operators have paid and not yet got a vault output for, in sats.
    pub credit: u64,
    /// In vault outputs that are assigned and not yet taken, in sats.
    pub in_flight: u64,
    /// All that was assigned and not given back, in sats.
    pub settled: u64,
    /// What recipients of deposits did not take, in sats.
    pub unclaimed: u64,
}

/// What does not hold. Amounts are wei where nothing else is said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A block made balances out of nothing.
    #[error(
        "conservation after block {block}: expected at most {expected} wei of supply and burnt, got {got}"
    )]
    Conservation {
        /// The block.
        block: u64,
        /// What there was before, with what the block minted.
        expected: U256,
        /// What there is.
        got: U256,
    },
    /// `Bridge` does not hold what it owes.
    #[error("balance of the bridge after block {block}: expected at least {expected} wei, got {got}")]
    BridgeBalance {
        /// The block.
        block: u64,
        /// What it owes.
        expected: U256,
        /// Its balance.
        got: U256,
    },
    /// The vault is not what came in and was not settled.
    #[error(
        "vault after block {block}: expected {expected} wei that came in (supply, less genesis, with burnt), got {got} (vault, with settled, less in flight)"
    )]
    Vault {
        /// The block.
        block: u64,
        /// What came in, by the balances.
        expected: U256,
        /// What came in, by the vault.
        got: U256,
    },
    /// Vault outputs that stay in the vault were spent to others of another sum.
    #[error(
        "vault broken in block {block}: {} spent {spent} sats that stay in the vault and added {added}",
        bitcoin_txid(txid)
    )]
    VaultBroken {
        /// The block that records it.
        block: u64,
        /// The transaction, in internal byte order.
        txid: Txid,
        /// What it spent, in sats.
        spent: u64,
        /// What it added, in sats.
        added: u64,
    },
    /// A vault output was spent, and the chain has no record of it.
    #[error(
        "vault output {} of {sats} sats left by {} in L1 block {l1_height}: the chain does not know it",
        convert::outpoint(outpoint),
        bitcoin_txid(by)
    )]
    OutputLeft {
        /// The height of the L1 block.
        l1_height: u32,
        /// The vault output.
        outpoint: OutPoint,
        /// Its amount, in sats.
        sats: u64,
        /// The transaction that spent it, in internal byte order.
        by: Txid,
    },
}

fn bitcoin_txid(txid: &Txid) -> bitcoin::Txid {
    convert::bitcoin_txid(txid)
}

impl Violation {
    /// Names the rule that does not hold.
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Conservation { .. } => "conservation",
            Self::BridgeBalance { .. } => "bridge-balance",
            Self::Vault { .. } => "vault",
            Self::VaultBroken { .. } => "vault-broken",
            Self::OutputLeft { .. } => "vault-output-left",
        }
    }

    /// Gives the L2 block after which the rule does not hold.
    pub const fn block(&self) -> Option<u64> {
        match self {
            Self::Conservation { block, .. }
            | Self::BridgeBalance { block, .. }
            | Self::Vault { block, .. }
            | Self::VaultBroken { block, .. } => Some(*block),
            Self::OutputLeft { .. } => None,
        }
    }

    /// Gives the height of the L1 block in which the rule was broken.
    pub const fn l1_height(&self) -> Option<u32> {
        match self {
            Self::OutputLeft { l1_height, .. } => Some(*l1_height),
            _ => None,
        }
    }

    /// Names the violation: sums that stay wrong by the same amount are one violation, however many blocks follow, and so
    /// is what a reorg brings again.
    pub fn name(&self) -> String {
        let rule = self.rule();
        match self {
            Self::Conservation {
                block, expected, got, ..
            } => format!("{rule} {block} {}", got.abs_diff(*expected)),
            Self::BridgeBalance { expected, got, .. } | Self::Vault { expected, got, .. } => {
                let sign = if got > expected { '+' } else { '-' };
                format!("{rule} {sign}{}", got.abs_diff(*expected))
            }
            Self::VaultBroken { txid, .. } => format!("{rule} {}", bitcoin_txid(txid)),
            Self::OutputLeft { outpoint, by, .. } => {
                format!("{rule} {} {}", convert::outpoint(outpoint), bitcoin_txid(by))
            }
        }
    }
}

impl Sums {
    /// Reads the sums out of the facts.
    pub const fn of(facts: &Facts) -> Self {
        let [vault, pending, credit, in_flight] = facts.totals.into_limbs();
        let [_, settled, unclaimed, _] = facts.counts.into_limbs();
        Self {
            block: facts.block,
            supply: facts.after.total,
            genesis: facts.genesis,
            burnt: facts.after.burnt,
            bridge_balance: facts.bridge_balance,
            vault,
            pending,
            credit,
            in_flight,
            settled,
            unclaimed,
        }
    }

    /// Gives what `Bridge` owes, in wei.
    pub fn owed(&self) -> U256 {
        wei(&[self.pending, self.credit, self.settled, self.unclaimed])
    }
}

/// Checks the sums after a block.
///
/// # Errors
/// The first rule that does not hold.
pub fn verify(facts: &Facts) -> Result<Sums, Violation> {
    let sums = Sums::of(facts);
    let block = facts.block;
    if let Some((before, minted)) = &facts.before {
        let expected = before.ever().saturating_add(*minted);
        let got = facts.after.ever();
        if got > expected {
            return Err(Violation::Conservation { block, expected, got });
        }
    }
    let (expected, got) = (sums.owed(), sums.bridge_balance);
    if got < expected {
        return Err(Violation::BridgeBalance { block, expected, got });
    }
    // In both, what is subtracted is added to the other side: a wrong state must not wrap.
    let by_balances = facts.after.ever().saturating_add(wei(&[sums.in_flight]));
    let by_vault = wei(&[sums.vault, sums.settled]).saturating_add(sums.genesis);
    if by_balances != by_vault {
        let taken = wei(&[sums.in_flight]).saturating_add(sums.genesis);
        return Err(Violation::Vault {
            block,
            expected: by_balances.saturating_sub(taken),
            got: by_vault.saturating_sub(taken),
        });
    }
    Ok(sums)
}

/// Adds sats up, in wei.
fn wei(sats: &[u64]) -> U256 {
    sats.iter()
        .fold(U256::ZERO, |sum, sats| sum.saturating_add(sats_to_wei(*sats)))
}

/// Finds what `Bridge` itself says in a block's logs: that members broke the rules of the vault.
pub fn vault_broken<'a>(block: u64, logs: impl IntoIterator<Item = &'a Log>) -> Vec<Violation> {
    let own = logs.into_iter().filter(|log| log.address == BRIDGE);
    let decoded = own.filter_map(|log| VaultBroken::decode_log(log).ok());
    decoded
        .map(|log| Violation::VaultBroken {
            block,
            txid: B256::from(log.txid),
            spent: log.spent,
            added: log.added,
        })
        .collect()
}
