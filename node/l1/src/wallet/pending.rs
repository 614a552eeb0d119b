//! What the wallet has on its way.

use std::collections::HashSet;

use bitcoin::{Amount, Transaction, Txid};

use super::Wallet;

impl Wallet {
    /// Returns the wallet's own transactions that are in no block, parents first: those that spend its coins, and that no other
    /// one has taken the place of.
    pub fn unconfirmed(&self) -> Vec<Transaction> {
        let inner = self.inner.lock();
        let waiting = inner
            .bdk
            .transactions()
            .filter(|tx| !tx.chain_position.is_confirmed());
        let own = waiting.filter(|tx| inner.bdk.sent_and_received(&tx.tx_node.tx).0 > Amount::ZERO);
        parents_first(own.map(|tx| (*tx.tx_node.tx).clone()).collect())
    }

    /// Returns whether the wallet counts on a transaction: it is in a block, or nothing has taken its place.
    pub fn knows(&self, txid: &Txid) -> bool {
        self.inner.lock().bdk.get_tx(*txid).is_some()
    }
}

/// Orders transactions so that each comes behind those whose outputs it spends.
pub fn parents_first(mut left: Vec<Transaction>) -> Vec<Transaction> {
    let mut ordered = Vec::with_capacity(left.len());
    // Each turn takes some: a transaction has its parents' hashes, so they cannot stand in a circle.
    while !left.is_empty() {
        let waiting: HashSet<Txid> = left.iter().map(Transaction::compute_txid).collect();
        let is_ready = |tx: &Transaction| {
            let mut spent = tx.input.iter().map(|input| input.previous_output.txid);
            !spent.any(|parent| waiting.contains(&parent))
        };
        let (ready, rest): (Vec<_>, Vec<_>) = left.into_iter().partition(is_ready);
        ordered.extend(ready);
        left = rest;
    }
    ordered
}

#[cfg(test)]
mod tests {
    use bitcoin::{OutPoint, TxIn, absolute::LockTime, transaction::Version};

    use super::*;

    fn spending(parents: &[&Transaction], lock_time: u32) -> Transaction {
        let input = |parent: &&Transaction| TxIn {
            previous_output: OutPoint::new(parent.compute_txid(), 0),
            ..TxIn::default()
        };
        Transaction {
            version: Version::TWO,
            lock_time: LockTime::from_consensus(lock_time),
            input: parents.iter().map(input).collect(),
            output: Vec::new(),
        }
    }

    #[test]
    fn children_come_behind_their_parents() {
        let first = spending(&[], 0);
        let second = spending(&[&first], 1);
        let third = spending(&[&first, &second], 2);
        let other = spending(&[], 3);
        let given = vec![third.clone(), second.clone(), other.clone(), first.clone()];
        let ordered = parents_first(given);
        let place = |tx: &Transaction| ordered.iter().position(|one| one == tx).unwrap();
        assert_eq!(ordered.len(), 4);
        assert!(place(&first) < place(&second) && place(&second) < place(&third));
        assert_eq!(parents_first(Vec::new()), []);
    }
}
