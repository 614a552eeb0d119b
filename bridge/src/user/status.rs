//! Where deposits stand, as it is shown.

use std::fmt;

use alloy_primitives::Address as L2Address;
use bitcoin::{Address, Amount, OutPoint};
use serde::{Serialize, Serializer};

use super::UserError;
use super::node::{MintedDeposit, Node};
use super::notes::{Payer, spend_kind};
use super::record::{Deposit, SpendKind};
use super::session::Session;
use super::stage::{Around, InMempool, Stage, stage};
use super::tag::Order;

/// A deposit, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DepositView {
    /// Where it is.
    pub outpoint: OutPoint,
    /// Who gets it on L2.
    pub to: L2Address,
    /// What is called with it.
    pub call_target: Option<L2Address>,
    /// How much, in sats.
    #[serde(rename = "amountSats", with = "bitcoin::amount::serde::as_sat")]
    pub amount: Amount,
    /// The address that was paid.
    #[serde(serialize_with = "show_address")]
    pub address: Address,
    /// The key that can take it back.
    pub refund_key: String,
    /// The height of its block.
    pub height: Option<u32>,
    /// Where it stands.
    #[serde(flatten)]
    pub stage: Stage,
}

fn show_address<S: Serializer>(address: &Address, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(address)
}

impl Session {
    /// Gives all deposits as they stand, or the one of an output, which may have been paid by somebody else's wallet.
    ///
    /// # Errors
    /// [`UserError::NoDeposit`]; where Bitcoin Core or the node cannot be asked.
    pub async fn deposit_views(
        &mut self,
        only: Option<OutPoint>,
        node: Option<&Node>,
        needed: u32,
    ) -> Result<Vec<DepositView>, UserError> {
        if let Some(outpoint) = only
            && !self.store.deposits()?.contains_key(&outpoint)
            && let Some(tx) = self.find_transaction(&outpoint).await?
        {
            self.see(&tx, Payer::Other)?;
        }
        let mut deposits = self.store.deposits()?;
        if let Some(outpoint) = only {
            let one = deposits
                .remove(&outpoint)
                .ok_or(UserError::NoDeposit { outpoint })?;
            deposits = [(outpoint, one)].into();
        }
        let mut views = Vec::new();
        for (outpoint, deposit) in deposits {
            let around = Around {
                tip: self.tip.height,
                needed,
                mempool: self.in_mempool(outpoint, &deposit).await?,
                minted: minted(node, &deposit).await?,
                node_asked: node.is_some(),
            };
            let order = Order::of_script(&deposit.tag).ok_or(UserError::NoDeposit { outpoint })?;
            views.push(DepositView {
                outpoint,
                to: order.to(),
                call_target: order.call().map(|call| call.target),
                amount: deposit.amount,
                address: order.address(&self.terms),
                refund_key: hex::encode(order.refund_key()),
                height: deposit.height,
                stage: stage(&self.terms, outpoint, &deposit, &around),
            });
        }
        // The newest last: what is in no block is newer than all that is.
        views.sort_by_key(|view| (view.height.unwrap_or(u32::MAX), view.outpoint));
        Ok(views)
    }

    async fn in_mempool(&self, outpoint: OutPoint, deposit: &Deposit) -> Result<InMempool, UserError> {
        let client = self.client();
        let mut seen = InMempool {
            refusal: self.refusals.get(&outpoint.txid).cloned(),
            ..InMempool::default()
        };
        if deposit.height.is_none() {
            seen.deposit = client.get_mempool_entry(&outpoint.txid).await?.is_some();
        }
        if deposit.spend.is_some() {
            return Ok(seen);
        }
        let spending = client.get_tx_spending_prevout(&[outpoint]).await?;
        let txid = spending.into_iter().find_map(|spending| spending.spending_txid);
        if let Some(txid) = txid
            && let Some(tx) = client.get_raw_transaction(&txid).await?
        {
            let index = tx
                .input
                .iter()
                .position(|input| input.previous_output == outpoint);
            seen.spend = index.map(|index| (txid, spend_kind(&self.terms, &tx, index)));
        }
        Ok(seen)
    }
}

async fn minted(node: Option<&Node>, deposit: &Deposit) -> Result<Option<MintedDeposit>, UserError> {
    match (node, deposit.spend) {
        (Some(node), Some(spend)) => match spend.kind {
            SpendKind::Accept { vout } => node.deposit(OutPoint::new(spend.txid, vout)).await,
            SpendKind::Refund | SpendKind::Other => Ok(None),
        },
        _ => Ok(None),
    }
}

impl fmt::Display for DepositView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "deposit {} of {} to {}", self.outpoint, self.amount, self.to)?;
        write!(f, "  {}", self.stage)
    }
}
