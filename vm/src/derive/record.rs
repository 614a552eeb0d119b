//! What of Bitcoin `Bridge` has to know beside deposits: payouts, assignments, what leaves the vault, redemptions
//! (docs/bridge.md). Whether they hold, the contract decides.

use alloc::vec::Vec;
use alloy_primitives::{Address, Bytes};
use alloy_rlp::{RlpDecodable, RlpEncodable};

use super::bitcoin::{L1Transaction, OP_RETURN, op_return_data, push_bytes};
use crate::chain::bridge::{
    record_assignment_input, record_payout_input, record_redemption_input, record_vault_spend_input,
};
use crate::chain::{OutPoint, Txid};

/// What a payout's `OP_RETURN` begins with: magic and version.
pub const PAYOUT_TAG: &[u8] = b"BSPO\x01";
/// What an assignment's `OP_RETURN` begins with.
pub const ASSIGNMENT_TAG: &[u8] = b"BSAS\x01";
/// What the `OP_RETURN` of what spends vault outputs is.
pub const VAULT_SPEND_TAG: &[u8] = b"BSVT\x01";
/// What a redemption's `OP_RETURN` begins with.
pub const REDEMPTION_TAG: &[u8] = b"BSRD\x01";

/// Most withdrawals of one payout.
pub const MAX_PAYOUT_IDS: usize = 50;
/// Most inputs of what spends vault outputs, and most outputs to the vault.
pub const MAX_VAULT_OUTPUTS: usize = 32;
/// Longest script of a payout that is looked at; withdrawals have none that is longer.
const MAX_SCRIPT_SIZE: usize = 34;

/// Gas of a record, and of each part of it: more than they can take (vm/tests/contracts.rs measures them).
const RECORD_GAS: u64 = 150_000;
const PAID_GAS: u64 = 45_000;
const SPENT_GAS: u64 = 45_000;
const ADDED_GAS: u64 = 25_000;
/// Gas of the largest record: a payout.
pub const MAX_RECORD_GAS: u64 = RECORD_GAS + PAID_GAS * MAX_PAYOUT_IDS as u64;

const _: () = assert!(RECORD_GAS + (SPENT_GAS + ADDED_GAS) * MAX_VAULT_OUTPUTS as u64 <= MAX_RECORD_GAS);

/// Something on Bitcoin that `Bridge` records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BridgeRecord {
    /// Withdrawals were paid.
    Payout(Payout),
    /// A ticket was spent for a vault output.
    Assignment(Assignment),
    /// Vault outputs were spent.
    VaultSpend(VaultSpend),
    /// An operator wants its credit on L2.
    Redemption(Redemption),
}

/// A transaction that pays withdrawals.
#[derive(Clone, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub struct Payout {
    /// The transaction.
    pub txid: Txid,
    /// Whose credit it is for.
    pub operator: Txid,
    /// What each output pays, in order.
    pub paid: Vec<Paid>,
}

/// An output that pays a withdrawal.
#[derive(Clone, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub struct Paid {
    /// The withdrawal.
    pub id: u64,
    /// How much, in sats.
    pub sats: u64,
    /// To which script; empty where it is longer than any withdrawal's.
    pub script: Bytes,
}

/// A transaction whose first input may be a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub struct Assignment {
    /// What the first input spends.
    pub ticket: OutPoint,
    /// The vault output that the tag names.
    pub vault_output: OutPoint,
}

/// A transaction that may spend vault outputs.
#[derive(Clone, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub struct VaultSpend {
    /// The transaction.
    pub txid: Txid,
    /// What its inputs spend.
    pub inputs: Vec<OutPoint>,
    /// Its outputs to the vault's script.
    pub outputs: Vec<AddedOutput>,
}

/// An output to the vault's script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub struct AddedOutput {
    /// Its number.
    pub vout: u32,
    /// How much, in sats.
    pub sats: u64,
}

/// A transaction whose first input may be an operator's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub struct Redemption {
    /// What the first input spends.
    pub spent: OutPoint,
    /// Who gets the credit.
    pub to: Address,
}

/// Builds the output script that tags a payout of withdrawals by an operator.
pub fn payout_script(operator: &Txid, ids: &[u64]) -> Vec<u8> {
    let ids = ids.iter().flat_map(|id| id.to_le_bytes());
    tagged(PAYOUT_TAG, operator.0.into_iter().chain(ids))
}

/// Builds the output script that tags the assignment of a vault output.
pub fn assignment_script(vault_output: &OutPoint) -> Vec<u8> {
    let vout = vault_output.vout.to_le_bytes();
    tagged(ASSIGNMENT_TAG, vault_output.txid.0.into_iter().chain(vout))
}

/// Builds the output script that tags what spends vault outputs.
pub fn vault_spend_script() -> Vec<u8> {
    tagged(VAULT_SPEND_TAG, [])
}

/// Builds the output script that tags a redemption.
pub fn redemption_script(to: Address) -> Vec<u8> {
    tagged(REDEMPTION_TAG, to.0.0)
}

fn tagged(tag: &[u8], data: impl IntoIterator<Item = u8>) -> Vec<u8> {
    let mut script = Vec::from([OP_RETURN]);
    let data: Vec<u8> = tag.iter().copied().chain(data).collect();
    push_bytes(&mut script, &data);
    script
}

impl BridgeRecord {
    /// Gives the gas that the record may use.
    pub fn gas_limit(&self) -> u64 {
        let parts = match self {
            Self::Payout(payout) => (payout.paid.len() as u64).saturating_mul(PAID_GAS),
            Self::VaultSpend(spend) => {
                let spent = (spend.inputs.len() as u64).saturating_mul(SPENT_GAS);
                let added = (spend.outputs.len() as u64).saturating_mul(ADDED_GAS);
                spent.saturating_add(added)
            }
            Self::Assignment(_) | Self::Redemption(_) => 0,
        };
        parts.saturating_add(RECORD_GAS)
    }

    /// Gives the call of `Bridge` that records it.
    pub fn input(&self) -> Vec<u8> {
        match self {
            Self::Payout(payout) => {
                let paid = payout.paid.iter();
                let paid = paid.map(|paid| (paid.id, paid.sats, paid.script.as_ref()));
                record_payout_input(&payout.txid, &payout.operator, paid)
            }
            Self::Assignment(assignment) => {
                record_assignment_input(&assignment.ticket, &assignment.vault_output)
            }
            Self::VaultSpend(spend) => {
                let outputs = spend.outputs.iter().map(|added| (added.vout, added.sats));
                let outputs: Vec<(u32, u64)> = outputs.collect();
                record_vault_spend_input(&spend.txid, &spend.inputs, &outputs)
            }
            Self::Redemption(redemption) => record_redemption_input(&redemption.spent.txid, redemption.to),
        }
    }
}

/// Finds what a transaction's tags say: of each kind the first tag counts. `vault_script` is asked for where vault outputs
/// may be spent.
pub(super) fn find_records<'a>(
    transaction: &L1Transaction<'_>,
    vault_script: impl FnOnce() -> &'a [u8],
) -> Vec<BridgeRecord> {
    let tag = |tag: &[u8]| {
        let outputs = transaction.outputs.iter();
        outputs
            .map(|output| output.script)
            .find_map(|script| op_return_data(script, tag))
    };
    // Most transactions have none of the tags: one look says so.
    let may_be = transaction
        .outputs
        .iter()
        .any(|output| output.script.first() == Some(&OP_RETURN));
    if !may_be {
        return Vec::new();
    }
    let first = transaction.inputs.first().map(|input| input.previous_output);
    let mut found = Vec::new();
    found.extend(
        tag(PAYOUT_TAG)
            .and_then(|data| payout(transaction, &data))
            .map(BridgeRecord::Payout),
    );
    let assignment = tag(ASSIGNMENT_TAG).zip(first).and_then(|(data, ticket)| {
        let (txid, vout) = data.split_first_chunk::<32>()?;
        let vault_output = OutPoint {
            txid: txid.into(),
            vout: u32::from_le_bytes(vout.try_into().ok()?),
        };
        Some(Assignment { ticket, vault_output })
    });
    found.extend(assignment.map(BridgeRecord::Assignment));
    if tag(VAULT_SPEND_TAG).is_some_and(|data| data.is_empty()) {
        found.extend(vault_spend(transaction, vault_script()).map(BridgeRecord::VaultSpend));
    }
    let redemption = tag(REDEMPTION_TAG).zip(first).and_then(|(data, spent)| {
        let to = Address::try_from(data.as_slice()).ok()?;
        Some(Redemption { spent, to })
    });
    found.extend(redemption.map(BridgeRecord::Redemption));
    found
}

fn payout(transaction: &L1Transaction<'_>, data: &[u8]) -> Option<Payout> {
    let (operator, rest) = data.split_first_chunk::<32>()?;
    let (ids, odd) = rest.as_chunks::<8>();
    let fits = (1..=MAX_PAYOUT_IDS).contains(&ids.len()) && ids.len() <= transaction.outputs.len();
    if !odd.is_empty() || !fits {
        return None;
    }
    let paid = ids.iter().zip(&transaction.outputs).map(|(id, output)| Paid {
        id: u64::from_le_bytes(*id),
        sats: output.value,
        script: if output.script.len() > MAX_SCRIPT_SIZE {
            Bytes::new()
        } else {
            Bytes::copy_from_slice(output.script)
        },
    });
    Some(Payout {
        txid: transaction.txid,
        operator: operator.into(),
        paid: paid.collect(),
    })
}

fn vault_spend(transaction: &L1Transaction<'_>, vault_script: &[u8]) -> Option<VaultSpend> {
    let outputs = (0_u32..).zip(&transaction.outputs);
    let outputs: Vec<AddedOutput> = outputs
        .filter(|(_, output)| output.script == vault_script)
        .map(|(vout, output)| AddedOutput {
            vout,
            sats: output.value,
        })
        .collect();
    let fits = transaction.inputs.len() <= MAX_VAULT_OUTPUTS && outputs.len() <= MAX_VAULT_OUTPUTS;
    fits.then(|| VaultSpend {
        txid: transaction.txid,
        inputs: transaction
            .inputs
            .iter()
            .map(|input| input.previous_output)
            .collect(),
        outputs,
    })
}
