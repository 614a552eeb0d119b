//! Asking for money on Bitcoin.

use std::time::Duration;

use alloy_consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address as L2Address, B256, Bytes, TxKind, U256};
use alloy_sol_types::{SolCall, SolEvent, sol};
use bitcoin::{Address, Amount};
use bitsect_vm::chain::predeploys::BRIDGE;
use serde::Serialize;
use serde_json::json;

use super::deposit::verify_fee;
use super::node::{LOG_BLOCKS, Log, Node, Receipt, UNSURE};
use super::record::Request;
use super::store::UserStore;
use super::{Terms, UserError, UserKeys};

sol! {
    function withdraw(bytes scriptPubKey, uint64 fee) external payable returns (uint64 id);
    event WithdrawalRequested(uint64 indexed id, address indexed sender, uint64 amount, uint64 fee, bytes scriptPubKey);
}

/// Wei in a sat.
const WEI_PER_SAT: u64 = 10_000_000_000;
/// The least that `Bridge` has operators pay.
const LEAST_PAID: Amount = Amount::from_sat(546);
/// How often a node is asked for a receipt: it makes blocks about as often, and has no call that waits.
pub(super) const RECEIPT_PAUSE: Duration = Duration::from_millis(500);

/// A withdrawal that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WithdrawRequest {
    /// Where it is paid.
    pub to: Address,
    /// What leaves L2.
    pub amount: Amount,
    /// What of it the operator keeps.
    pub fee: Amount,
}

impl WithdrawRequest {
    /// Checks what `Bridge` would refuse, and the operator's fee against the highest fee.
    ///
    /// # Errors
    /// [`UserError::Refused`].
    pub fn verify(&self, max_fee: Amount) -> Result<(), UserError> {
        let paid = self.amount.checked_sub(self.fee);
        if paid.is_none_or(|paid| paid < LEAST_PAID) {
            let rule = format!(
                "at least {LEAST_PAID}, the dust limit, behind a fee of {}",
                self.fee
            );
            return Err(UserError::refused("amount", rule, self.amount));
        }
        verify_fee(max_fee, self.fee)
    }
}

/// How a request comes to L2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// By a node.
    Node,
    /// By Bitcoin, past the sequencer.
    Bitcoin,
}

impl Route {
    /// The block tag behind which the nonce is taken: what only waits at a sequencer may never be on L2.
    const fn nonce_at(self) -> &'static str {
        match self {
            Self::Node => "pending",
            Self::Bitcoin => "latest",
        }
    }

    /// The price of gas that is offered, in wei, where `price` would do now: past the sequencer all that may be paid, since blocks
    /// that are filled on purpose raise the base fee before it is there, and only that is charged. The L1 fee may double.
    fn price(self, price: U256, most: U256, l1_fee: U256, gas: U256) -> U256 {
        match self {
            Self::Node => price,
            Self::Bitcoin => {
                let highest = most.saturating_sub(l1_fee.saturating_mul(U256::from(2))) / gas;
                highest.max(price)
            }
        }
    }
}

/// A withdrawal that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Requested {
    /// Its id.
    pub id: u64,
    /// The L2 transaction.
    pub transaction_hash: B256,
    /// The L2 block.
    pub block: u64,
}

/// A request that is signed and was not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedRequest {
    /// The L2 transaction's hash.
    pub hash: B256,
    /// The request.
    pub request: Request,
}

/// Rounds wei up to sats.
fn sats_up(wei: U256) -> Amount {
    let sats = wei.div_ceil(U256::from(WEI_PER_SAT));
    Amount::from_sat(sats.saturating_to())
}

/// Rounds wei down to sats.
pub(super) fn sats_down(wei: U256) -> Amount {
    Amount::from_sat((wei / U256::from(WEI_PER_SAT)).saturating_to())
}

fn wei(amount: Amount) -> U256 {
    U256::from(amount.to_sat()) * U256::from(WEI_PER_SAT)
}

/// Checks and signs a request. Nothing is sent or kept.
///
/// # Errors
/// [`UserError`]: the rules of [`WithdrawRequest::verify`], too little money, L2 fees above the highest fee.
pub async fn sign_withdraw(
    node: &Node,
    terms: &Terms,
    keys: &UserKeys,
    (wanted, route): (&WithdrawRequest, Route),
    max_fee: Amount,
) -> Result<SignedRequest, UserError> {
    wanted.verify(max_fee)?;
    let account = keys.account();
    let value = wei(wanted.amount);
    let balance = node.balance(account).await?;
    let enough = |needed: U256| match balance >= needed {
        true => Ok(()),
        false => Err(UserError::Account {
            account,
            needed: sats_up(needed),
            available: sats_down(balance),
        }),
    };
    // Without the money the estimate below would fail, and say less.
    enough(value)?;
    let call = withdrawCall {
        scriptPubKey: wanted.to.script_pubkey().into_bytes().into(),
        fee: wanted.fee.to_sat(),
    };
    let input = Bytes::from(call.abi_encode());
    let gas = node
        .estimate_gas(json!({ "from": account, "to": BRIDGE, "value": value, "input": input }))
        .await?;
    // What others do in between changes a storage slot or two.
    let gas_limit = gas.saturating_add(gas / 5);
    let tip = node.priority_fee().await?;
    let price = node
        .base_fee()
        .await?
        .saturating_mul(U256::from(2))
        .saturating_add(tip);
    let nonce = node.nonce(account, route.nonce_at()).await?;
    let sign = |price: U256| {
        let transaction = TxEip1559 {
            chain_id: terms.chain_id,
            nonce,
            gas_limit,
            max_fee_per_gas: price.saturating_to(),
            max_priority_fee_per_gas: tip.saturating_to(),
            to: TxKind::Call(BRIDGE),
            value,
            access_list: Default::default(),
            input: input.clone(),
        };
        let signature = keys.sign_account(transaction.signature_hash());
        TxEnvelope::from(transaction.into_signed(signature))
    };
    let l1_fee = node.l1_fee(&sign(price).encoded_2718().into()).await?;
    let gas = U256::from(gas_limit);
    let fee = |price: U256| price.saturating_mul(gas).saturating_add(l1_fee);
    verify_fee(max_fee, sats_up(fee(price)))?;
    enough(value.saturating_add(fee(price)))?;
    let most = wei(max_fee).min(balance.saturating_sub(value));
    let price = route.price(price, most, l1_fee, gas);
    verify_fee(max_fee, sats_up(fee(price)))?;
    let envelope = sign(price);
    Ok(SignedRequest {
        hash: *envelope.tx_hash(),
        request: Request {
            raw: envelope.encoded_2718().into(),
            account,
            nonce,
            amount: wanted.amount,
        },
    })
}

/// Keeps a signed request, sends it, and waits for its block.
///
/// # Errors
/// [`UserError::Reverted`] where it failed there; where the node does not take it. [`UserError::Underway`] comes where the node
/// may have it: it stays kept then, and is found again by [`resume_requests`].
pub async fn send_withdraw(
    node: &Node,
    store: &UserStore,
    signed: &SignedRequest,
) -> Result<Requested, UserError> {
    store.keep_request(signed.hash, &signed.request)?;
    let underway = UserError::underway("L2 transaction", signed.hash);
    match node.send(&signed.request.raw).await {
        Ok(_) => {}
        Err(UserError::NodeRefuses { code, method, reason }) => {
            let error = UserError::NodeRefuses { code, method, reason };
            if UNSURE.contains(&code) || node.has_transaction(signed.hash).await.map_err(&underway)? {
                return Err(underway(error));
            }
            store.drop_request(signed.hash)?;
            return Err(error);
        }
        Err(error) => return Err(underway(error)),
    }
    let requested = wait_for_request(node, signed).await.map_err(&underway);
    // What failed is over; what could not be seen may still come.
    let is_over = match &requested {
        Ok(_) | Err(UserError::Reverted { .. } | UserError::NonceTaken { .. }) => true,
        Err(_) => false,
    };
    if is_over {
        let dropped = store.drop_request(signed.hash);
        dropped.map_err(|error| underway(error.into()))?;
    }
    requested
}

/// Waits until L2 has a request that was sent.
///
/// # Errors
/// [`UserError::Reverted`] where it failed there; [`UserError::NonceTaken`]; where
/// the node cannot be asked.
async fn wait_for_request(node: &Node, signed: &SignedRequest) -> Result<Requested, UserError> {
    loop {
        if let Some(requested) = find_request(node, signed).await? {
            return Ok(requested);
        }
        tokio::time::sleep(RECEIPT_PAUSE).await;
    }
}

/// Looks for a request on L2; gives none while it may still come.
///
/// # Errors
/// As [`wait_for_request`].
pub(super) async fn find_request(
    node: &Node,
    signed: &SignedRequest,
) -> Result<Option<Requested>, UserError> {
    let (hash, nonce) = (signed.hash, signed.request.nonce);
    // The nonce first: what has taken it is there then.
    let is_taken = node.nonce(signed.request.account, "latest").await? > nonce;
    match node.receipt(hash).await? {
        Some(receipt) => requested(hash, &receipt).map(Some),
        None if is_taken => Err(UserError::NonceTaken { hash, nonce }),
        None => Ok(None),
    }
}

fn requested(hash: B256, receipt: &Receipt) -> Result<Requested, UserError> {
    let block = receipt.block_number.to();
    let id = receipt.logs.iter().find_map(requested_id);
    match id {
        Some(id) if receipt.status.to::<u64>() == 1 => Ok(Requested {
            id,
            transaction_hash: hash,
            block,
        }),
        _ => Err(UserError::Reverted { hash, block }),
    }
}

fn requested_id(log: &Log) -> Option<u64> {
    if log.address != BRIDGE {
        return None;
    }
    let event = WithdrawalRequested::decode_raw_log(log.topics.iter().copied(), &log.data);
    event.ok().map(|event| event.id)
}

/// A request that an earlier command had kept, and did not see to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// The L2 transaction's hash.
    pub hash: B256,
    /// The withdrawal's id, when a block has it.
    pub id: Option<u64>,
}

/// Sends again what was kept and the node does not have. Forgets what is in a block, once it was told, and what never will be.
///
/// # Errors
/// Where the node cannot be asked.
pub async fn resume_requests(node: &Node, store: &UserStore) -> Result<Vec<Resumed>, UserError> {
    let mut resumed = Vec::new();
    for (hash, request) in store.requests()? {
        let used = node.nonce(request.account, "latest").await?;
        if let Some(receipt) = node.receipt(hash).await? {
            store.drop_request(hash)?;
            let id = receipt.logs.iter().find_map(requested_id);
            resumed.extend(id.map(|id| Resumed { hash, id: Some(id) }));
        } else if used > request.nonce {
            store.drop_request(hash)?;
        } else {
            if !node.has_transaction(hash).await? {
                tracing::warn!(%hash, "sending a request again that the node does not have");
                match node.send(&request.raw).await {
                    Err(error @ UserError::NodeRefuses { .. }) => {
                        tracing::warn!(%hash, %error, "the node does not take a request that is kept");
                    }
                    sent => drop(sent?),
                }
            }
            resumed.push(Resumed { hash, id: None });
        }
    }
    Ok(resumed)
}

/// Gives the ids of all withdrawals that an account asked for, lowest first. What is final is asked for once.
///
/// # Errors
/// Where the node cannot be asked, or the file fails.
pub async fn own_withdrawals(
    node: &Node,
    store: &UserStore,
    account: L2Address,
) -> Result<Vec<u64>, UserError> {
    let heads = node.heads().await?;
    let (scanned, known) = store.withdrawals()?;
    let mut ids: Vec<u64> = known.into_iter().map(|(id, _)| id).collect();
    let topics = json!([WithdrawalRequested::SIGNATURE_HASH, null, account.into_word()]);
    let mut from = match scanned {
        0 => 0,
        scanned => scanned + 1,
    };
    while from <= heads.latest.number {
        // The final part is noted, so that no question spans both.
        let end = match from <= heads.finalized.number {
            true => heads.finalized.number,
            false => heads.latest.number,
        };
        let to = end.min(from.saturating_add(LOG_BLOCKS - 1));
        let logs = node.logs(from..=to, BRIDGE, topics.clone()).await?;
        let found = logs
            .iter()
            .filter_map(|log| Some((requested_id(log)?, log.transaction_hash)));
        let found: Vec<(u64, B256)> = found.collect();
        ids.extend(found.iter().map(|(id, _)| id));
        if to <= heads.finalized.number {
            store.note_withdrawals(&found, to)?;
        }
        from = to + 1;
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

#[cfg(test)]
mod tests;
