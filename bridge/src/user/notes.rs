//! What Bitcoin's transactions have of a user's deposits.

use std::collections::HashMap;

use bitcoin::{OutPoint, Transaction};

use super::record::{Deposit, Spend, SpendKind};
use super::store::{Deposits, StoreError};
use super::tag::Order;
use super::{Terms, UserKeys};

/// Refund keys looked for beyond the highest one that was seen. One more is given out only when the last one is used.
const GAP: u16 = 20;

/// The refund keys that are looked for.
#[derive(Debug)]
pub(super) struct Ring {
    keys: UserKeys,
    known: HashMap<[u8; 32], u16>,
    end: u16,
}

impl Ring {
    pub(super) fn new(keys: UserKeys) -> Self {
        let mut ring = Self {
            keys,
            known: HashMap::new(),
            end: 0,
        };
        ring.reach(GAP);
        ring
    }

    fn reach(&mut self, end: u16) {
        for index in self.end..end {
            self.known.insert(self.keys.refund_key(index).serialize(), index);
        }
        self.end = self.end.max(end);
    }

    /// Looks for the keys behind one that is used.
    pub(super) fn reach_behind(&mut self, used: u16) {
        self.reach(used.saturating_add(GAP));
    }

    fn find(&mut self, order: &Order) -> Option<u16> {
        let index = *self.known.get(&order.refund_key().0)?;
        self.reach_behind(index);
        Some(index)
    }
}

/// Whose a transaction is that is noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Payer {
    /// Anybody's.
    Other,
    /// This wallet's; it was sent before.
    Own,
    /// This wallet's; it is made now, and no command has told of it.
    Made,
}

/// Notes what a transaction has of our deposits: outputs that are some, and inputs that spend some.
pub(super) fn note(
    deposits: &mut Deposits<'_>,
    ring: &mut Ring,
    terms: &Terms,
    tx: &Transaction,
    height: Option<u32>,
    payer: Payer,
) -> Result<(), StoreError> {
    if let Some(height) = height {
        note_spends(deposits, terms, tx, height)?;
    }
    let Some(order) = Order::of_transaction(tx) else {
        return Ok(());
    };
    let Some(key) = ring.find(&order) else {
        return Ok(());
    };
    let script = order.address(terms).script_pubkey();
    let mut counts = true;
    let txid = tx.compute_txid();
    let paying = tx
        .output
        .iter()
        .enumerate()
        .filter(|(_, output)| output.script_pubkey == script);
    for (vout, output) in paying {
        let place = OutPoint::new(txid, vout as u32);
        // The first one that is large enough counts; the others can be taken back.
        let first = counts && output.value >= terms.min_deposit;
        counts &= !first;
        let old = deposits.get(&place)?;
        let mut deposit = old.unwrap_or_else(|| Deposit {
            tag: order.tag_script(),
            key,
            amount: output.value,
            counts: first,
            height: None,
            spend: None,
            transaction: None,
            refund: None,
            untold: payer == Payer::Made,
        });
        deposit.height = height.or(deposit.height);
        if payer != Payer::Other {
            deposit.transaction = Some(tx.clone());
        }
        deposits.put(&place, &deposit)?;
    }
    Ok(())
}

fn note_spends(
    deposits: &mut Deposits<'_>,
    terms: &Terms,
    tx: &Transaction,
    height: u32,
) -> Result<(), StoreError> {
    for (index, input) in tx.input.iter().enumerate() {
        let Some(mut deposit) = deposits.get(&input.previous_output)? else {
            continue;
        };
        deposit.spend = Some(Spend {
            txid: tx.compute_txid(),
            kind: spend_kind(terms, tx, index),
            height,
        });
        deposits.put(&input.previous_output, &deposit)?;
    }
    Ok(())
}

/// Tells what a transaction does with a deposit in its input `index`, as derivation does.
pub(super) fn spend_kind(terms: &Terms, tx: &Transaction, index: usize) -> SpendKind {
    let witness = tx.input.get(index).map(|input| &input.witness);
    if witness.is_some_and(|witness| witness.taproot_leaf_script().is_some()) {
        return SpendKind::Refund;
    }
    let vault = terms.vault_script();
    match tx.output.get(index) {
        Some(output) if output.script_pubkey == vault => SpendKind::Accept { vout: index as u32 },
        _ => SpendKind::Other,
    }
}
