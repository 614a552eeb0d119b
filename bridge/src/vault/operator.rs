//! What an operator does with the vault: it pays withdrawals, has vault outputs assigned to its slots, claims, and takes them.

mod paying;

use std::collections::BTreeMap;

use bitcoin::hashes::Hash;
use bitcoin::key::{Keypair, Secp256k1};
use bitcoin::{Amount, OutPoint};
use bitsect_judge::step::cut;
use bitsect_l1::FaultClass;
use bitsect_vm::chain::bridge::output_id;

use super::PATIENCE;
use super::care::{Usable, release_never_assigned, usable};
use super::payout::{MAX_BEHIND, PayoutError, Payouts};
use super::policy::{Choice, Policy};
use super::redeem::{is_counted, keep_redeeming, redemption_under_way};
use super::state::{Assigned, VaultState};
use super::work::{named, vault_signings};
use crate::chain::{Chain, ChainError, Counted, RpcChain};
use crate::committee::{SignError, Signer};
use crate::convert::chain_outpoint;
use crate::daemon::{Core, DaemonError, DaemonStoreError, Outgoing, Pledge, ReadySlot};
use crate::graph::{Committee, End, GraphError, VaultGraph, VaultSigningId};
use crate::params::VaultParams;
use crate::slot::Main;

/// The part of a slot's units that is kept for the time from an assignment to its claim.
const KEPT_UNITS: u64 = 32;

/// Why nothing can be done now.
#[derive(Debug, thiserror::Error)]
pub enum BankError {
    /// The chain failed.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// A payout failed.
    #[error(transparent)]
    Payout(#[from] PayoutError),
    /// Signatures cannot be read.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// Values do not balance: our own fault.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// Bitcoin, or the daemon's files.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
}

impl From<DaemonStoreError> for BankError {
    fn from(error: DaemonStoreError) -> Self {
        Self::Daemon(error.into())
    }
}

impl BankError {
    /// Returns what a loop does about the error.
    pub fn class(&self) -> FaultClass {
        match self {
            Self::Chain(_) | Self::Sign(_) => FaultClass::Retry,
            Self::Payout(PayoutError::Rpc(error)) => match error.class() {
                FaultClass::Retry => FaultClass::Retry,
                // What Bitcoin Core refuses now it may take later: a payout waits, the disputes go on.
                FaultClass::Reset | FaultClass::Stop => FaultClass::Retry,
            },
            Self::Payout(PayoutError::Fund(_)) => FaultClass::Retry,
            Self::Daemon(error) => error.class(),
            Self::Payout(_) | Self::Graph(_) => FaultClass::Stop,
        }
    }
}

/// A claim that can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ripe {
    /// Units, with the check.
    pub count: u32,
    /// The state after them.
    pub state: [u8; 24],
}

/// An operator's side of the vault.
#[expect(missing_debug_implementations, reason = "keys of a signer")]
pub struct Bank {
    payouts: Payouts,
    policy: Policy,
    signer: Signer,
    chain: RpcChain,
    /// Our slots, ascending.
    slots: Vec<usize>,
    /// Our key in our slots.
    key: Keypair,
    /// The smallest vault output that is worth a claim.
    least_claim: Amount,
    /// Which outputs are to be moved, and so are not for operators.
    params: VaultParams,
    /// Confirmations of an output before it is assigned.
    confirmations: u32,
    /// What the chain had counted at this turn.
    counted: Counted,
    /// Units of the chain that the node called final at this turn.
    units: u64,
    /// Whether pledges that a crash left were looked for.
    is_tidy: bool,
    /// The tip at which a redemption was last said to be under way.
    said: Option<u32>,
    /// The lowest withdrawal that may not be paid.
    lowest: u64,
    /// The tip when each open withdrawal was seen first: turns count from there, since operators see it about then.
    since: BTreeMap<u64, u32>,
    choice: Choice,
}

impl Bank {
    /// Makes the side of an operator of these slots.
    pub fn new(
        (payouts, policy): (Payouts, Policy),
        signer: Signer,
        chain: RpcChain,
        (slots, key): (Vec<usize>, Keypair),
        (least_claim, params, confirmations): (Amount, VaultParams, u32),
    ) -> Self {
        Self {
            payouts,
            policy,
            signer,
            chain,
            slots,
            key,
            least_claim,
            params,
            confirmations,
            counted: Counted::default(),
            units: 0,
            is_tidy: false,
            said: None,
            lowest: 0,
            since: BTreeMap::new(),
            choice: Choice::default(),
        }
    }

    /// Gives which withdrawals were chosen last, and why others were not.
    pub const fn choice(&self) -> &Choice {
        &self.choice
    }

    /// Does once what is due for all slots: payouts, then an assignment.
    ///
    /// # Errors
    /// [`BankError`].
    pub async fn turn(&mut self, core: &mut Core) -> Result<(), BankError> {
        if !std::mem::replace(&mut self.is_tidy, true) {
            release_never_assigned(core)?;
        }
        // Credit that is read afterwards has all that this has.
        self.counted = self.chain.counted().await?;
        self.units = self.chain.finalized_units().await?;
        let behind = core.tip().saturating_sub(self.counted.origin);
        if behind > MAX_BEHIND {
            tracing::warn!(
                behind,
                most = MAX_BEHIND,
                "the node is behind Bitcoin: nothing is paid or assigned"
            );
            return Ok(());
        }
        keep_redeeming(core, self.counted.origin, &mut self.said).await?;
        // A payout that waits keeps no output from being assigned.
        let paid = self.pay(core).await;
        self.assign(core).await?;
        paid
    }

    /// Our slots whose ticket is there and whose bond backs no claim, and which have units left for one.
    fn free_slots(&self, core: &Core, vault: &VaultState) -> Vec<usize> {
        let is_free = |slot: &usize| {
            let ReadySlot {
                graph, start_unit, ..
            } = &core.slots()[*slot];
            let ticket = graph.spec.ticket;
            has_units(graph.params.rounds.units_total(), *start_unit, self.units)
                && core.state(*slot).main == Main::Bonded
                && vault.assigned(*slot).is_none()
                && ticket.is_some_and(|ticket| !core.is_under_way(ticket))
        };
        self.slots.iter().copied().filter(is_free).collect()
    }

    /// What of the vault can be assigned.
    fn usable(&self, core: &Core, vault: &VaultState) -> Result<Usable, DaemonStoreError> {
        let at = (core.tip(), self.confirmations, &self.counted);
        usable(vault, &self.params, core.store(), at)
    }

    /// Has the vault output that is wanted first, of those that the credit covers, assigned to the next free slot: one at a time,
    /// so that no credit is counted twice.
    async fn assign(&self, core: &mut Core) -> Result<(), BankError> {
        let Some(vault) = core.vault() else {
            return Ok(());
        };
        let Some(slot) = self.free_slots(core, vault).into_iter().next() else {
            return Ok(());
        };
        // An assignment behind a redemption would find no credit, and cost its ticket.
        let redeeming = redemption_under_way(vault, core.store(), self.counted.origin)?;
        if redeeming.is_some() || !self.is_settled(core, vault) {
            return Ok(());
        }
        let credit = Amount::from_sat(self.chain.credit(&self.payouts.operator()).await?);
        let fits = |amount: Amount| amount <= credit && amount >= self.least_claim;
        let Usable {
            mut assignable,
            abandoned,
            ..
        } = self.usable(core, vault)?;
        assignable.retain(|(_, amount)| fits(*amount));
        let secp = Secp256k1::new();
        for (outpoint, amount) in assignable {
            // A move of it that all have signed, and that we carry.
            if core.is_under_way(outpoint) {
                continue;
            }
            // Others want the same one: whose assignment comes second loses a ticket.
            let number = u64::from(outpoint.txid.to_byte_array()[0]);
            if self.policy.turns.blocks_left(number, core.tip()) > 0 || self.payouts.is_assigned(&outpoint) {
                continue;
            }
            let Some((graph, signatures)) = self.graph(core, outpoint, amount).await? else {
                continue;
            };
            let branch = graph.branch(slot as u32);
            let Some(transaction) =
                branch.and_then(|branch| branch.signed_assignment(&secp, &signatures, &self.key))
            else {
                continue;
            };
            if abandoned.contains(&outpoint) {
                let spending = core.client().get_tx_spending_prevout(&[outpoint]).await;
                let spending = spending.map_err(PayoutError::Rpc)?;
                if spending.iter().any(|spending| spending.spending_txid.is_some()) {
                    continue;
                }
                core.store().release(&[outpoint], Pledge::Move)?;
            }
            // Kept before anybody sees it: from now on we sign no move of the output.
            if core
                .store()
                .pledge(&[outpoint], Pledge::Assignment, core.tip())?
                .is_some()
            {
                continue;
            }
            core.submit(Outgoing {
                label: format!("assignment of {outpoint} to slot {slot}"),
                why: format!("{credit} of credit cover its {amount}"),
                transaction,
                fee: Amount::ZERO,
                deadline: core.tip() + PATIENCE,
            })?;
            return Ok(());
        }
        Ok(())
    }

    /// Whether the chain has counted all our assignments.
    fn is_settled(&self, core: &Core, vault: &VaultState) -> bool {
        self.slots.iter().all(|slot| {
            let Some(ticket) = core.slots()[*slot].graph.spec.ticket else {
                return true;
            };
            match vault.assigned(*slot) {
                None => !core.is_under_way(ticket),
                Some(Assigned {
                    output: Some(_),
                    spend,
                }) if core.state(*slot).main == Main::Bonded => is_counted(&ticket, &spend, &self.counted),
                Some(_) => true,
            }
        })
    }

    /// Gives the graph of a vault output, and its signatures; `None` where they are not there.
    async fn graph(
        &self,
        core: &Core,
        outpoint: OutPoint,
        amount: Amount,
    ) -> Result<Option<(VaultGraph, Committee<VaultSigningId>)>, BankError> {
        let Some(vault) = core.vault() else {
            return Ok(None);
        };
        let graphs = core.slots().iter().map(|slot| slot.graph.as_ref());
        let graph = VaultGraph::build(&Secp256k1::new(), graphs, vault.spendable(outpoint, amount))?;
        let stored = self.signer.stored(vault_signings(&graph)).await?;
        let Some(stored) = stored else {
            tracing::warn!(%outpoint, "there are no signatures for a vault output");
            return Ok(None);
        };
        let signatures = named(&graph, stored);
        Ok(Some((graph, signatures)))
    }

    /// Gives the claim that a slot is ripe for: its ticket was spent, and the chain that the node calls final has counted it
    /// long enough.
    ///
    /// # Errors
    /// Where the chain fails.
    pub async fn ripe(&self, core: &Core, slot: usize) -> Result<Option<Ripe>, BankError> {
        let ready = &core.slots()[slot];
        let Some(ticket) = ready.graph.spec.ticket else {
            return Ok(None);
        };
        // One that is gone nobody can be paid back with.
        let is_there = core.vault().is_some_and(|vault| {
            let assigned = vault.assigned(slot).and_then(|assigned| assigned.output);
            let output = assigned.and_then(|outpoint| vault.output(&outpoint));
            output.is_some_and(|output| output.spent.is_none())
        });
        if !is_there {
            return Ok(None);
        }
        let end = self.chain.finalized_units().await?;
        let most = ready.graph.params.rounds.units_total();
        let count = end
            .checked_sub(ready.start_unit)
            .and_then(|units| units.checked_add(1));
        let Some(count) = count.filter(|count| *count < most) else {
            return Ok(None);
        };
        let ticket = output_id(&chain_outpoint(&ticket));
        let checked = self.chain.check(end, ticket).await?;
        let after = checked
            .map(|record| record.after)
            .filter(|after| !after.is_zero());
        Ok(after.map(|after| Ripe {
            count: count as u32,
            state: cut(&after),
        }))
    }

    /// Takes the vault output that a slot's upheld claim is about.
    ///
    /// # Errors
    /// [`BankError`].
    pub async fn reimburse(&self, core: &mut Core, slot: usize) -> Result<(), BankError> {
        let end = match core.state(slot).main {
            Main::FinalisedFast => End::Fast,
            Main::FinalisedSlow => End::Slow,
            _ => return Ok(()),
        };
        let Some(vault) = core.vault() else {
            return Ok(());
        };
        let Some(Assigned {
            output: Some(outpoint),
            ..
        }) = vault.assigned(slot)
        else {
            return Ok(());
        };
        let Some(output) = vault.output(&outpoint).copied() else {
            return Ok(());
        };
        if output.spent.is_some() || core.is_under_way(outpoint) {
            return Ok(());
        }
        let Some((graph, signatures)) = self.graph(core, outpoint, output.amount).await? else {
            return Ok(());
        };
        let branch = graph.branch(slot as u32);
        let Some(transaction) = branch.and_then(|branch| branch.signed_reimbursement(end, &signatures))
        else {
            return Ok(());
        };
        core.submit(Outgoing {
            label: format!("reimbursement of slot {slot}"),
            why: format!("its claim ended, and {outpoint} is assigned to it"),
            transaction,
            fee: Amount::ZERO,
            deadline: core.tip() + PATIENCE,
        })?;
        Ok(())
    }
}

/// Whether a slot that starts behind a unit can still back a claim of so many units that begins now: a claim comes some time
/// behind its assignment, for which a part of them is kept.
const fn has_units(most: u64, start: u64, units: u64) -> bool {
    units.saturating_sub(start) < most - most / KEPT_UNITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_left_before_its_units_end() {
        // 32 of 1,024 are kept.
        assert!(has_units(1_024, 10, 10 + 991));
        assert!(!has_units(1_024, 10, 10 + 992));
        assert!(has_units(1_024, 10, 0));
    }
}
