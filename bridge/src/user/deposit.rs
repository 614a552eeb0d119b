//! Making deposits, and taking them back.

use alloy_primitives::Address as L2Address;
use bitcoin::absolute::LockTime;
use bitcoin::transaction::Version;
use bitcoin::{Address, Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness};
use bitsect_l1::wallet::{FundError, Funding, SignedTx, sign_leaf};
use bitsect_vm::derive::DepositCall;

use super::session::Session;
use super::store::{Deposit, SpendKind};
use super::tag::Order;
use super::{Terms, UserError, UserKeys};

/// A deposit that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DepositRequest {
    /// Who gets the money on L2.
    pub to: L2Address,
    /// How much.
    pub amount: Amount,
    /// What is called with it.
    pub call: Option<DepositCall>,
}

/// Where and how a deposit is paid from any wallet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayTo {
    /// What it says.
    pub order: Order,
    /// The index of its refund key.
    pub key: u16,
    /// The address.
    pub address: Address,
}

impl PayTo {
    /// Makes it with the refund key of an index.
    ///
    /// # Errors
    /// [`UserError::Refused`] for a call that cannot be.
    pub fn new(
        terms: &Terms,
        keys: &UserKeys,
        key: u16,
        to: L2Address,
        call: Option<DepositCall>,
    ) -> Result<Self, UserError> {
        let order = Order::new(to, &keys.refund_key(key), call)?;
        let address = order.address(terms);
        Ok(Self { order, key, address })
    }
}

impl Session {
    /// Gives where a deposit is paid: with the first refund key that no deposit has.
    ///
    /// # Errors
    /// Where the file fails, or the call cannot be.
    pub fn pay_to(&self, to: L2Address, call: Option<DepositCall>) -> Result<PayTo, UserError> {
        let used = self.store.deposits()?.values().map(|deposit| deposit.key).max();
        let key = match used {
            None => 0,
            Some(u16::MAX) => {
                return Err(UserError::refused(
                    "refund key",
                    "an index of at most 65535",
                    65_536,
                ));
            }
            Some(used) => used + 1,
        };
        PayTo::new(&self.terms, &self.keys, key, to, call)
    }

    /// Makes a deposit and keeps it, without sending it: the next [`Session::next_tip`] would.
    ///
    /// # Errors
    /// [`UserError`]; nothing is kept or reserved then.
    pub async fn keep_deposit(
        &mut self,
        request: &DepositRequest,
    ) -> Result<(OutPoint, SignedTx), UserError> {
        let least = self.terms.min_deposit;
        if request.amount < least {
            return Err(UserError::refused(
                "amount",
                format!("at least min_deposit, {least}"),
                request.amount,
            ));
        }
        let pay_to = self.pay_to(request.to, request.call.clone())?;
        let signed = self
            .make(pay_to.order.outputs(&self.terms, request.amount))
            .await?;
        let verified = self.verify_payment(&signed).await;
        if let Err(error) = verified {
            self.wallet.release(&signed.tx);
            return Err(error);
        }
        self.see(&signed.tx, true)?;
        Ok((OutPoint::new(signed.tx.compute_txid(), 0), signed))
    }

    /// Makes a deposit from the wallet, keeps it, and sends it. Gives its place and its fee.
    ///
    /// # Errors
    /// [`UserError`]. [`UserError::NotTaken`] and [`UserError::Bitcoin`] can come after it was kept: it is sent again then.
    pub async fn send_deposit(&mut self, request: &DepositRequest) -> Result<(OutPoint, Amount), UserError> {
        let (outpoint, signed) = self.keep_deposit(request).await?;
        self.broadcast(&signed.tx).await?;
        Ok((outpoint, signed.fee))
    }

    /// Makes a transaction of the wallet's.
    pub(super) async fn make(&self, outputs: Vec<TxOut>) -> Result<SignedTx, UserError> {
        let rate = self.config.fees.rate(&self.config.client).await?;
        let funded = self.wallet.fund(&Funding::new(rate, outputs));
        let funded = funded.map_err(|error| match error {
            FundError::Insufficient { needed, available } => UserError::Coins {
                needed,
                available,
                address: Box::new(self.keys.first_address()),
            },
            other => other.into(),
        })?;
        Ok(self.wallet.finish(funded)?)
    }

    async fn verify_payment(&self, signed: &SignedTx) -> Result<(), UserError> {
        verify_fee(self.config.max_fee, signed.fee)?;
        self.verify_acceptable("the deposit", &signed.tx).await
    }

    /// Takes a deposit back by its leaf, to an address or to the wallet. Gives the transaction and its fee. Where a refund is
    /// on its way already, it is that one.
    ///
    /// # Errors
    /// [`UserError`]; before the delay is over, the blocks left are named.
    pub async fn refund_deposit(
        &mut self,
        outpoint: OutPoint,
        to: Option<Address>,
    ) -> Result<(Txid, Amount), UserError> {
        let Some(mut deposit) = self.store.deposits()?.remove(&outpoint) else {
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
        // The signed transaction has the same size whatever it pays.
        let size = self.sign_refund(outpoint, &deposit, &to, Amount::ZERO)?.weight();
        let fee = rate.fee_wu(size).unwrap_or(Amount::MAX_MONEY);
        verify_fee(self.config.max_fee, fee)?;
        let (dust, left) = (
            to.script_pubkey().minimal_non_dust(),
            deposit.amount.checked_sub(fee),
        );
        if left.is_none_or(|left| left < dust) {
            let rule = format!("at least {dust}, the dust limit, behind a fee of {fee}");
            return Err(UserError::refused("refund", rule, deposit.amount));
        }
        let refund = self.sign_refund(outpoint, &deposit, &to, fee)?;
        self.verify_acceptable("the refund", &refund).await?;
        deposit.refund = Some(refund.clone());
        self.store.change(|deposits| deposits.put(&outpoint, &deposit))?;
        self.broadcast(&refund).await?;
        Ok((refund.compute_txid(), fee))
    }

    fn sign_refund(
        &self,
        outpoint: OutPoint,
        deposit: &Deposit,
        to: &Address,
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
            script_pubkey: to.script_pubkey(),
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

    /// Tells why an output cannot be taken back: it is no deposit, or somebody else's.
    async fn not_ours(&self, outpoint: OutPoint) -> Result<UserError, UserError> {
        let absent = UserError::NoDeposit { outpoint };
        let Some(tx) = self.find_transaction(&outpoint).await? else {
            return Ok(absent);
        };
        let Some(order) = Order::of_transaction(&tx) else {
            return Ok(absent);
        };
        let script = order.address(&self.terms).script_pubkey();
        let output = tx.output.get(outpoint.vout as usize);
        if output.is_none_or(|output| output.script_pubkey != script) {
            return Ok(absent);
        }
        let rule = "a refund key of this key file, for this deposit is somebody else's";
        Ok(UserError::refused("refund key", rule, order.refund_key()))
    }

    /// Finds the transaction of an output in the mempool, or, while the output is unspent, in the chain.
    pub(super) async fn find_transaction(
        &self,
        outpoint: &OutPoint,
    ) -> Result<Option<Transaction>, UserError> {
        let client = self.client();
        if let Some(tx) = client.get_raw_transaction(&outpoint.txid).await? {
            return Ok(Some(tx));
        }
        let Some(output) = client.get_tx_out(outpoint, false).await? else {
            return Ok(None);
        };
        let tip = client.get_header_info(&output.best_block).await?;
        let height = tip.and_then(|tip| (tip.height + 1).checked_sub(output.confirmations));
        let hash = match height {
            Some(height) => client.get_block_hash(height).await?,
            None => None,
        };
        match hash {
            Some(hash) => Ok(client.get_raw_transaction_in(&outpoint.txid, &hash).await?),
            None => Ok(None),
        }
    }
}

fn refund_fee(deposit: &Deposit, refund: &Transaction) -> Amount {
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

/// Checks a fee against the highest one.
pub(super) fn verify_fee(most: Amount, fee: Amount) -> Result<(), UserError> {
    if fee > most {
        return Err(UserError::refused(
            "fee",
            format!("at most max_fee_sats, {most}"),
            fee,
        ));
    }
    Ok(())
}

/// Checks that a refund can be in the next block.
fn verify_refundable(terms: &Terms, deposit: &Deposit, tip: u32) -> Result<(), UserError> {
    if let Some(spend) = &deposit.spend {
        let by = match spend.kind {
            SpendKind::Accept { .. } => "accepted",
            SpendKind::Refund => "refunded",
            SpendKind::Other => "spent",
        };
        let got = format!("{by} by {} at height {}", spend.txid, spend.height);
        return Err(UserError::refused("deposit", "one that is unspent", got));
    }
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

    #[test]
    fn fees_above_the_cap_are_refused() {
        let sats = Amount::from_sat;
        assert!(verify_fee(sats(5), sats(5)).is_ok());
        let error = verify_fee(sats(5), sats(6)).unwrap_err().to_string();
        assert_eq!(
            error,
            "fee: expected at most max_fee_sats, 0.00000005 BTC, got 0.00000006 BTC"
        );
    }
}
