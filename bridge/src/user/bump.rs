//! Paying more for what a deposit waits for: the deposit itself, or its refund (BIP-0125).

use bitcoin::{Amount, FeeRate, OutPoint, Transaction, TxOut, Txid};
use bitsect_l1::sender::{Limits, rate_of};
use bitsect_l1::wallet::{Funding, SignedTx};

use super::UserError;
use super::record::Deposit;
use super::refund::{refund_fee, verify_unspent};
use super::session::Session;

/// A transaction that took the place of another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bumped {
    /// The deposit: another one than before where it is in no block.
    pub deposit: OutPoint,
    /// What takes the place.
    pub signed: SignedTx,
    /// The transaction whose place it takes.
    pub replaced: Txid,
}

impl Session {
    /// Pays at least half as much again for what a deposit waits for: the deposit itself, or its refund.
    ///
    /// # Errors
    /// [`UserError`]. [`UserError::Underway`] comes after it was kept: it is sent again then.
    pub async fn bump_deposit(&mut self, outpoint: OutPoint) -> Result<Bumped, UserError> {
        let bumped = self.keep_bump(outpoint).await?;
        let sent = self.broadcast(&bumped.signed.tx).await;
        sent.map_err(UserError::underway("what pays more for deposit", bumped.deposit))?;
        Ok(bumped)
    }

    /// Makes what [`Self::bump_deposit`] sends and keeps it instead of what there is, without sending it: the next
    /// [`Self::next_tip`] would.
    ///
    /// # Errors
    /// [`UserError`]; nothing is kept or reserved then.
    pub async fn keep_bump(&mut self, outpoint: OutPoint) -> Result<Bumped, UserError> {
        let Some(deposit) = self.store.deposits()?.remove(&outpoint) else {
            return Err(self.not_ours(outpoint).await?);
        };
        verify_unspent(&deposit)?;
        match (deposit.height, &deposit.transaction, &deposit.refund) {
            (None, Some(payment), _) => self.bump_payment(outpoint, payment).await,
            (None, None, _) => Err(not_own(&outpoint.txid)),
            (Some(_), _, Some(refund)) => self.bump_refund(outpoint, &deposit, refund).await,
            (Some(height), _, None) => Err(UserError::refused(
                "deposit",
                "one that is in no block, or whose refund is in none",
                format!("one in the block at height {height}, without a refund"),
            )),
        }
    }

    /// Pays all that a transaction of the wallet's pays by another one, which spends the same coins.
    async fn bump_payment(&mut self, outpoint: OutPoint, payment: &Transaction) -> Result<Bumped, UserError> {
        let replaced = payment.compute_txid();
        if self.is_refused_for_good(&outpoint) {
            let rule = "one whose coins nothing else has spent";
            return Err(UserError::refused(
                "deposit",
                rule,
                format!("{outpoint}, which is lost"),
            ));
        }
        let spent = self.wallet.spent_by(payment);
        if spent.len() != payment.input.len() || !spent.values().all(|output| self.wallet.is_mine(output)) {
            return Err(not_own(&replaced));
        }
        self.verify_no_child(payment).await?;
        let fee = sum(spent.values())
            .checked_sub(sum(&payment.output))
            .unwrap_or(Amount::ZERO);
        let (rate, least) = self.raise(fee, payment).await?;
        let paid = payment
            .output
            .iter()
            .filter(|output| !self.wallet.is_mine(output));
        let mut request =
            Funding::new(rate, paid.cloned().collect()).replace(&self.wallet, &[payment], least);
        // BIP-0125, rule 2: it brings no other unconfirmed coins.
        request.unconfirmed = false;
        let signed = self.fund(&request)?;
        if let Err(error) = self.verify_payment(&signed).await {
            self.wallet.release(&signed.tx);
            return Err(error);
        }
        self.see_instead(&signed.tx, &replaced)?;
        let txid = signed.tx.compute_txid();
        let deposits = self.store.deposits()?;
        let deposit = deposits.into_keys().find(|outpoint| outpoint.txid == txid);
        Ok(Bumped {
            deposit: deposit.ok_or(UserError::NoDeposit {
                outpoint: OutPoint::new(txid, 0),
            })?,
            signed,
            replaced,
        })
    }

    /// Checks that nothing in the mempool spends a transaction's change. What does and is not there is lost with it: else neither
    /// could pay more where both pay less than the mempool asks for.
    async fn verify_no_child(&self, payment: &Transaction) -> Result<(), UserError> {
        let txid = payment.compute_txid();
        let outputs = payment.output.iter().enumerate();
        let change = outputs.filter(|(_, output)| self.wallet.is_mine(output));
        let change: Vec<OutPoint> = change.map(|(vout, _)| OutPoint::new(txid, vout as u32)).collect();
        // Core refuses to be asked about nothing.
        let spending = match change.is_empty() {
            true => Vec::new(),
            false => self.client().get_tx_spending_prevout(&change).await?,
        };
        match spending.into_iter().find_map(|one| one.spending_txid) {
            None => Ok(()),
            Some(child) => {
                let rule = "one whose change nothing spends";
                let got = format!("{txid}, whose change {child} spends");
                Err(UserError::refused("transaction", rule, got))
            }
        }
    }

    /// Takes a deposit back by another transaction, to the same script.
    async fn bump_refund(
        &self,
        outpoint: OutPoint,
        deposit: &Deposit,
        refund: &Transaction,
    ) -> Result<Bumped, UserError> {
        let to = refund.output.first().map(|output| output.script_pubkey.clone());
        let terms = self.raise(refund_fee(deposit, refund), refund).await?;
        let made = self.keep_refund(outpoint, deposit.clone(), to.unwrap_or_default(), terms);
        Ok(Bumped {
            deposit: outpoint,
            signed: made.await?,
            replaced: refund.compute_txid(),
        })
    }

    /// Gives the rate and the least fee of what replaces a transaction.
    async fn raise(&self, fee: Amount, replaced: &Transaction) -> Result<(FeeRate, Amount), UserError> {
        let limits = Limits::read(self.client()).await?;
        let paid = rate_of(fee, replaced.weight());
        let fees = &self.config.fees;
        let Some(rate) = fees.raised(self.client(), paid, &limits).await? else {
            let kvb = |rate: FeeRate| rate.to_sat_per_kwu().saturating_mul(4);
            let rule = format!(
                "one that may be raised, max_fee_rate_sat_per_kvb is {}",
                kvb(fees.ceiling)
            );
            return Err(UserError::refused("fee rate", rule, kvb(paid)));
        };
        Ok((rate, limits.replacing(fee, replaced.weight())))
    }
}

fn sum<'a>(outputs: impl IntoIterator<Item = &'a TxOut>) -> Amount {
    outputs.into_iter().map(|output| output.value).sum()
}

fn not_own(txid: &Txid) -> UserError {
    UserError::refused("transaction", "one that only this wallet pays", txid)
}
