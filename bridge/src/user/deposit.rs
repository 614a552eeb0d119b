//! Making deposits.

use alloy_primitives::Address as L2Address;
use bitcoin::{Address, Amount, OutPoint, Transaction, TxOut};
use bitsect_l1::wallet::{FundError, Funding, SignedTx};
use bitsect_vm::derive::DepositCall;

use super::notes::Payer;
use super::session::Session;
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

    /// Refuses another deposit where no command has told of an earlier one, and tells of it.
    ///
    /// # Errors
    /// [`UserError::Refused`], once; where the file fails.
    pub fn verify_all_told(&self) -> Result<(), UserError> {
        let untold = self.untold()?;
        if untold.is_empty() {
            return Ok(());
        }
        let named: Vec<String> = untold.iter().map(OutPoint::to_string).collect();
        let rule = "no deposit of an interrupted command";
        let got = format!(
            "{}, which is on its way: send again for another",
            named.join(", ")
        );
        self.told(untold)?;
        Err(UserError::refused("deposit", rule, got))
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
        self.see(&signed.tx, Payer::Made)?;
        Ok((OutPoint::new(signed.tx.compute_txid(), 0), signed))
    }

    /// Makes a deposit from the wallet, keeps it, and sends it. Gives its place and its fee.
    ///
    /// # Errors
    /// [`UserError`]. [`UserError::Underway`] comes after it was kept: it is sent again then.
    pub async fn send_deposit(&mut self, request: &DepositRequest) -> Result<(OutPoint, Amount), UserError> {
        let (outpoint, signed) = self.keep_deposit(request).await?;
        let sent = self.broadcast(&signed.tx).await;
        sent.map_err(UserError::underway("deposit", outpoint))?;
        Ok((outpoint, signed.fee))
    }

    /// Makes a transaction of the wallet's.
    pub(super) async fn make(&self, outputs: Vec<TxOut>) -> Result<SignedTx, UserError> {
        let rate = self.config.fees.rate(&self.config.client).await?;
        self.fund(&Funding::new(rate, outputs))
    }

    /// Funds and signs a transaction of the wallet's.
    pub(super) fn fund(&self, request: &Funding) -> Result<SignedTx, UserError> {
        let funded = self.wallet.fund(request).map_err(|error| match error {
            FundError::Insufficient { needed, available } => UserError::Coins {
                needed,
                available,
                address: Box::new(self.keys.first_address()),
            },
            other => other.into(),
        })?;
        Ok(self.wallet.finish(funded)?)
    }

    pub(super) async fn verify_payment(&self, signed: &SignedTx) -> Result<(), UserError> {
        verify_fee(self.config.max_fee, signed.fee)?;
        self.verify_acceptable("the deposit", &signed.tx).await
    }

    /// Tells why an output is no deposit of ours: it is none, or somebody else's.
    pub(super) async fn not_ours(&self, outpoint: OutPoint) -> Result<UserError, UserError> {
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

#[cfg(test)]
mod tests {
    use super::*;

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
