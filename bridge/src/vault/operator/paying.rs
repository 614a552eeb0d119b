//! Which withdrawals an operator pays, and that it goes on with those.

use std::collections::BTreeSet;

use bitcoin::{Amount, ScriptBuf};

use super::super::policy::{Means, Open, choose};
use super::{Bank, BankError};
use crate::chain::ChainError;
use crate::daemon::{Core, DaemonStoreError};

impl Bank {
    /// Goes on with payouts, and begins another one where it is worth it.
    pub(super) async fn pay(&mut self, core: &Core) -> Result<(), BankError> {
        let Some(wallet) = core.wallet() else {
            return Ok(());
        };
        let (client, tip) = (core.client(), core.tip());
        let (open, known) = self.open_withdrawals(tip).await?;
        let unpaid: BTreeSet<u64> = open.iter().map(|open| open.id).collect();
        let is_paid = |id: u64| id < known && !unpaid.contains(&id);
        let counted = self.counted.origin;
        let others = self.payouts.others(client, &open, (counted, tip)).await?;
        let at = (tip, self.confirmations);
        self.payouts
            .advance((client, wallet), is_paid, &others, at)
            .await?;
        let ours: BTreeSet<u64> = self
            .payouts
            .under_way()
            .iter()
            .flat_map(|payout| payout.paid.keys().copied())
            .collect();
        let open: Vec<Open> = open.into_iter().filter(|open| !ours.contains(&open.id)).collect();
        let owed: Amount = self
            .payouts
            .under_way()
            .iter()
            .flat_map(|payout| payout.paid.values())
            .map(|paid| paid.value)
            .sum();
        let credit = self.chain.credit(&self.payouts.operator()).await?;
        let means = Means {
            spendable: wallet.spendable(),
            claimable: self
                .claimable(core)?
                .checked_sub(owed + Amount::from_sat(credit))
                .unwrap_or(Amount::ZERO),
            rate: self.payouts.rate(client).await?,
            tip,
        };
        self.choice = choose(&self.policy, &open, &means, &others);
        for (id, reason) in &self.choice.left {
            tracing::debug!(id, %reason, "a withdrawal is not paid now");
        }
        let waits = self
            .payouts
            .under_way()
            .iter()
            .any(|payout| !payout.is_confirmed(wallet));
        if !waits && !self.choice.paid.is_empty() {
            let chosen = self.choice.paid.clone();
            self.payouts.pay((client, wallet), &chosen, tip).await?;
        }
        Ok(())
    }

    /// Reads the withdrawals that are not paid, from the lowest on, and the number of all that there are.
    async fn open_withdrawals(&mut self, tip: u32) -> Result<(Vec<Open>, u64), ChainError> {
        let (mut from, mut open) = (self.lowest, Vec::new());
        loop {
            let some = self.chain.withdrawals(from).await?;
            let Some(last) = some.last() else { break };
            from = last.id + 1;
            let unpaid = some.into_iter().filter(|asked| !asked.is_paid);
            open.extend(unpaid.map(|asked| Open {
                id: asked.id,
                amount: Amount::from_sat(asked.amount_sats),
                fee: Amount::from_sat(asked.fee_sats),
                since: *self.since.entry(asked.id).or_insert(tip),
                script: ScriptBuf::from_bytes(asked.script_pub_key.to_vec()),
            }));
        }
        self.lowest = open.first().map_or(from, |open| open.id);
        self.since.retain(|id, _| open.iter().any(|open| open.id == *id));
        Ok((open, from))
    }

    /// What credit could still get: the largest free outputs, one a free slot.
    fn claimable(&self, core: &Core) -> Result<Amount, DaemonStoreError> {
        let Some(vault) = core.vault() else {
            return Ok(Amount::ZERO);
        };
        let mut amounts = self.usable(core, vault)?.amounts;
        amounts.sort_unstable_by(|a, b| b.cmp(a));
        Ok(amounts.into_iter().take(self.free_slots(core, vault).len()).sum())
    }
}
