//! The vault on Bitcoin: every output that the chain counts is unspent, or was spent by what the chain records.
//!
//! Derivation has no such list: `Bridge` counts outputs, when L2 has come to the L1 block. This one is kept beside it, from
//! the same records, as soon as the L1 block is there.

use std::collections::BTreeMap;

use bitsect_vm::chain::{OutPoint, Txid};
use bitsect_vm::derive::bitcoin::L1Block;
use bitsect_vm::derive::{BridgeRecord, InboxItem};

/// A vault output that came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VaultMove {
    /// The output.
    pub outpoint: OutPoint,
    /// Its amount, in sats.
    pub sats: u64,
    /// What happened to it.
    pub kind: MoveKind,
}

/// What happened to a vault output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoveKind {
    /// It joined the vault.
    Added,
    /// A transaction that the chain records spent it.
    Spent(Txid),
    /// A transaction that the chain does not record spent it.
    Left(Txid),
}

/// What the records of one transaction say of the vault.
#[derive(Default)]
struct Recorded {
    /// Outputs (vout, sats) of accepted deposits.
    accepted: Vec<(u32, u64)>,
    /// Outputs (vout, sats) to the vault of what spends vault outputs; `None` where there is no such record.
    spend: Option<Vec<(u32, u64)>>,
}

/// Finds what an L1 block does to vault outputs. `items` is what derivation found in the block; `known` gives the amount
/// of an output that was in the vault before it.
///
/// # Errors
/// Those of `known`.
pub fn vault_moves<E>(
    block: &L1Block<'_>,
    items: &[InboxItem],
    known: impl Fn(&OutPoint) -> Result<Option<u64>, E>,
) -> Result<Vec<VaultMove>, E> {
    let recorded = recorded(items);
    let mut moves = Vec::new();
    // The block's own outputs, and whether they are still there.
    let mut own: BTreeMap<OutPoint, u64> = BTreeMap::new();
    for transaction in &block.transactions {
        let by = transaction.txid;
        let records = recorded.get(&by);
        let spend = records.and_then(|records| records.spend.as_ref());
        let mut is_ours = false;
        for input in &transaction.inputs {
            let outpoint = input.previous_output;
            let sats = match own.remove(&outpoint) {
                None => known(&outpoint)?,
                sats => sats,
            };
            let Some(sats) = sats else { continue };
            is_ours = true;
            let kind = match spend {
                Some(_) => MoveKind::Spent(by),
                None => MoveKind::Left(by),
            };
            moves.push(VaultMove { outpoint, sats, kind });
        }
        let accepted = records.map_or(&[][..], |records| &records.accepted);
        // As in `Bridge`: what spends no vault output adds none.
        let added = spend.filter(|_| is_ours).map_or(&[][..], Vec::as_slice);
        for &(vout, sats) in accepted.iter().chain(added) {
            let outpoint = OutPoint { txid: by, vout };
            // An output of no amount is none to `Bridge`.
            if sats > 0 && own.insert(outpoint, sats).is_none() {
                let kind = MoveKind::Added;
                moves.push(VaultMove { outpoint, sats, kind });
            }
        }
    }
    Ok(moves)
}

fn recorded(items: &[InboxItem]) -> BTreeMap<Txid, Recorded> {
    let mut found: BTreeMap<Txid, Recorded> = BTreeMap::new();
    for item in items {
        match item {
            InboxItem::Deposit(deposit) => {
                let OutPoint { txid, vout } = deposit.vault_output;
                let records = found.entry(txid).or_default();
                records.accepted.push((vout, deposit.sats));
            }
            InboxItem::Record(BridgeRecord::VaultSpend(spend)) => {
                let outputs = spend.outputs.iter().map(|added| (added.vout, added.sats));
                found.entry(spend.txid).or_default().spend = Some(outputs.collect());
            }
            InboxItem::Record(_) | InboxItem::Forced(_) => {}
        }
    }
    found
}
