//! What a user has, on both layers and in between.

use std::fmt;

use alloy_primitives::{Address as L2Address, U256};
use bitcoin::Amount;
use serde::Serialize;

use super::node::Node;
use super::session::Session;
use super::status::DepositView;
use super::withdraw::{own_withdrawals, resume_requests, sats_down};
use super::withdrawal::{WithdrawStage, WithdrawView};
use super::{Terms, UserError};

/// What a user has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BalanceView {
    /// Where the Bitcoin wallet is paid.
    pub bitcoin_address: String,
    /// What is confirmed on Bitcoin, in sats.
    #[serde(rename = "confirmedSats", with = "bitcoin::amount::serde::as_sat")]
    pub confirmed: Amount,
    /// What is on its way to the wallet on Bitcoin, in sats.
    #[serde(rename = "unconfirmedSats", with = "bitcoin::amount::serde::as_sat")]
    pub unconfirmed: Amount,
    /// The L2 account.
    pub account: L2Address,
    /// What it has, in wei; none where no node is given.
    pub l2_wei: Option<U256>,
    /// The same in whole sats.
    pub l2_sats: Option<u64>,
    /// Deposits that have not come to their end.
    pub open_deposits: Vec<DepositView>,
    /// Withdrawals that are not paid.
    pub pending_withdrawals: Vec<WithdrawView>,
}

/// Gives the withdrawals of an account, all or those that are not paid.
///
/// # Errors
/// Where the node cannot be asked.
pub async fn withdrawal_views(
    node: &Node,
    terms: &Terms,
    session: &Session,
    only_open: bool,
) -> Result<Vec<WithdrawView>, UserError> {
    resume_requests(node, session.store()).await?;
    let mut views = Vec::new();
    for id in own_withdrawals(node, session.store(), session.keys().account()).await? {
        let view = WithdrawView::ask(node, terms, id).await?;
        if !only_open || !matches!(view.stage, WithdrawStage::Paid { .. }) {
            views.push(view);
        }
    }
    Ok(views)
}

impl Session {
    /// Gives what the user has. `needed` is how many confirmations members wait for.
    ///
    /// # Errors
    /// Where Bitcoin Core or the node cannot be asked.
    pub async fn balance(&mut self, node: Option<&Node>, needed: u32) -> Result<BalanceView, UserError> {
        let looked = self.wallet.look_at_mempool(self.client()).await;
        looked.map_err(|error| match error {
            bitsect_l1::wallet::MempoolError::Rpc(error) => UserError::from(error),
            bitsect_l1::wallet::MempoolError::Wallet(error) => error.into(),
        })?;
        let held = self.wallet.balance();
        let mut open_deposits = self.deposit_views(None, node, needed).await?;
        open_deposits.retain(|view| !view.stage.is_end());
        let account = self.keys.account();
        let (mut l2_wei, mut pending_withdrawals) = (None, Vec::new());
        if let Some(node) = node {
            l2_wei = Some(node.balance(account).await?);
            pending_withdrawals = withdrawal_views(node, &self.terms, self, true).await?;
        }
        Ok(BalanceView {
            bitcoin_address: self.wallet.receive_address()?.to_string(),
            confirmed: held.confirmed,
            unconfirmed: held.trusted_pending + held.untrusted_pending + held.immature,
            account,
            l2_wei,
            l2_sats: l2_wei.map(|wei| sats_down(wei).to_sat()),
            open_deposits,
            pending_withdrawals,
        })
    }
}

impl fmt::Display for BalanceView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Bitcoin: {} confirmed, {} unconfirmed",
            self.confirmed, self.unconfirmed
        )?;
        writeln!(f, "  receives at {}", self.bitcoin_address)?;
        match self.l2_wei {
            Some(wei) => write!(f, "L2: {} ({wei} wei), account {}", sats_down(wei), self.account)?,
            None => write!(f, "L2: unknown without node_url, account {}", self.account)?,
        }
        for deposit in &self.open_deposits {
            write!(f, "\n{deposit}")?;
        }
        for withdrawal in &self.pending_withdrawals {
            write!(f, "\n{withdrawal}")?;
        }
        Ok(())
    }
}
