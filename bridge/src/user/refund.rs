//! Taking deposits back.

use bitcoin::absolute::LockTime;
use bitcoin::transaction::Version;
use bitcoin::{
    Address, Amount, FeeRate, OutPoint, Script, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness,
};
use bitsect_l1::wallet::{FundError, SignedTx, sign_leaf};

use super::deposit::verify_fee;
use super::record::{Deposit, SpendKind};
use super::session::Session;
use super::tag::Order;
use super::{Terms, UserError};

impl Session {
    /// Takes a deposit back by its leaf, to an address or to the wallet. Gives the transaction and its fee. Where a refund is
    /// on its way already, it is that one.
    ///
    /// # Errors
    /// [`UserError`]; before the delay is over, the blocks left are named. [`UserError::Underway`] comes after it was kept: it is
    /// sent again then.
    pub async fn refund_deposit(
        &mut self,
        outpoint: OutPoint,
        to: Option<Address>,
    ) -> Result<(Txid, Amount), UserError> {
        let Some(deposit) = self.store.deposits()?.remove(&outpoint) else {
            return Err(self.not_ours(outpoint).await?);
        };
        verify_refundable(&self.terms, &deposit, self.tip.height)?;
        if let Some(refund) = &deposit.refund
            && self
                .client()
                .get_mempool_entry(&refund.compute_txid())
                .await?
                .is_some()
        {
            verify_same(refund, to.as_ref(), &self.terms)?;
            return Ok((refund.compute_txid(), refund_fee(&deposit, refund)));
        }
        let rate = self.config.fees.rate(&self.config.client).await?;
        let to = match to {
            Some(to) => to,
            None => self.wallet.receive_address()?,
        };
        let made = self.keep_refund(outpoint, deposit, to.script_pubkey(), (rate, Amount::ZERO));
        let SignedTx { tx, fee } = made.await?;
        let sent = self.broadcast(&tx).await;
        sent.map_err(UserError::underway("the refund of deposit", outpoint))?;
        Ok((tx.compute_txid(), fee))
    }

    /// Makes a refund to a script that pays a rate and a least fee, and keeps it.
    pub(super) async fn keep_refund(
        &self,
        outpoint: OutPoint,
        mut deposit: Deposit,
        to: ScriptBuf,
        (rate, least): (FeeRate, Amount),
    ) -> Result<SignedTx, UserError> {
        // The signed transaction has the same size whatever it pays.
        let size = self.sign_refund(outpoint, &deposit, &to, Amount::ZERO)?.weight();
        let fee = rate.fee_wu(size).unwrap_or(Amount::MAX_MONEY).max(least);
        verify_fee(self.config.max_fee, fee)?;
        let (dust, left) = (to.minimal_non_dust(), deposit.amount.checked_sub(fee));
        if left.is_none_or(|left| left < dust) {
            let rule = format!("at least {dust}, the dust limit, behind a fee of {fee}");
            return Err(UserError::refused("refund", rule, deposit.amount));
        }
        let refund = self.sign_refund(outpoint, &deposit, &to, fee)?;
        self.verify_acceptable("the refund", &refund).await?;
        deposit.refund = Some(refund.clone());
        self.store.change(|deposits| deposits.put(&outpoint, &deposit))?;
        Ok(SignedTx { tx: refund, fee })
    }

    fn sign_refund(
        &self,
        outpoint: OutPoint,
        deposit: &Deposit,
        to: &Script,
        fee: Amount,
    ) -> Result<Transaction, UserError> {
        let order = Order::of_script(&deposit.tag).ok_or(UserError::NoDeposit { outpoint })?;
        let input = TxIn {
            previous_output: outpoint,
            script_sig: ScriptBuf::new(),
            sequence: Sequence::from_height(self.terms.refund_delay),
            witness: Witness::new(),
        };
        let output = TxOut {
            value: deposit.amount.checked_sub(fee).unwrap_or(Amount::ZERO),
            script_pubkey: to.to_owned(),
        };
        let mut refund = Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![input],
            output: vec![output],
        };
        let spent = TxOut {
            value: deposit.amount,
            script_pubkey: order.address(&self.terms).script_pubkey(),
        };
        let (info, leaf) = (order.spend_info(&self.terms), order.leaf(&self.terms));
        let key = self.keys.refund(deposit.key);
        let signed = sign_leaf(&mut refund, 0, &[spent], &info, &leaf, &key);
        signed.map_err(FundError::from)?;
        Ok(refund)
    }
}

pub(super) fn refund_fee(deposit: &Deposit, refund: &Transaction) -> Amount {
    let paid = refund.output.iter().map(|output| output.value).sum();
    deposit.amount.checked_sub(paid).unwrap_or(Amount::ZERO)
}

/// Checks that a refund that is on its way pays what is asked for now.
fn verify_same(refund: &Transaction, to: Option<&Address>, terms: &Terms) -> Result<(), UserError> {
    let (Some(to), Some(paid)) = (to, refund.output.first()) else {
        return Ok(());
    };
    if paid.script_pubkey == to.script_pubkey() {
        return Ok(());
    }
    let paid = Address::from_script(&paid.script_pubkey, terms.network);
    let paid = paid.map_or_else(|_| "another script".to_owned(), |address| address.to_string());
    let rule = format!(
        "{paid}, which the refund {} in the mempool pays",
        refund.compute_txid()
    );
    Err(UserError::refused("to", rule, to))
}

/// Checks that no block has spent a deposit.
pub(super) fn verify_unspent(deposit: &Deposit) -> Result<(), UserError> {
    let Some(spend) = &deposit.spend else {
        return Ok(());
    };
    let by = match spend.kind {
        SpendKind::Accept { .. } => "accepted",
        SpendKind::Refund => "refunded",
        SpendKind::Other => "spent",
    };
    let got = format!("{by} by {} at height {}", spend.txid, spend.height);
    Err(UserError::refused("deposit", "one that is unspent", got))
}

/// Checks that a refund can be in the next block.
fn verify_refundable(terms: &Terms, deposit: &Deposit, tip: u32) -> Result<(), UserError> {
    verify_unspent(deposit)?;
    let delay = u32::from(terms.refund_delay);
    let rule = |more: &str| format!("refund_delay, {delay} blocks, after the deposit's block{more}");
    let Some(height) = deposit.height else {
        return Err(UserError::refused(
            "refund",
            rule(""),
            "a deposit that is in no block yet",
        ));
    };
    let first = height.saturating_add(delay);
    let next = tip.saturating_add(1);
    if next < first {
        let rule = rule(&format!(" at height {height}: height {first}"));
        let got = format!("{next} as the next height: {} blocks left", first - next);
        return Err(UserError::refused("refund", rule, got));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::terms::tests::terms;
    use super::*;

    #[test]
    fn refunds_wait_for_the_delay_to_the_block() {
        let mut deposit = Deposit {
            tag: ScriptBuf::new(),
            key: 0,
            amount: Amount::from_sat(20_000),
            counts: true,
            height: None,
            spend: None,
            transaction: None,
            refund: None,
            untold: false,
        };
        let check = |deposit: &Deposit, tip| {
            verify_refundable(&terms(), deposit, tip).map_err(|error| error.to_string())
        };
        assert_eq!(
            check(&deposit, 500).unwrap_err(),
            "refund: expected refund_delay, 200 blocks, after the deposit's block, got a deposit that is in no block yet"
        );
        deposit.height = Some(1_000);
        assert_eq!(
            check(&deposit, 1_198).unwrap_err(),
            "refund: expected refund_delay, 200 blocks, after the deposit's block at height 1000: height 1200, \
             got 1199 as the next height: 1 blocks left"
        );
        assert_eq!(check(&deposit, 1_199), Ok(()));
    }
}
