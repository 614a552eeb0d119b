//! The sequencer's view: what to execute next.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use alloy_primitives::Address;
use parking_lot::Mutex;

use super::PoolTx;
use super::index::Index;

/// Yields executable transactions, the best effective tip first, each sender's in nonce order.
///
/// A step costs O(log senders). The pool is locked only within a step, so that a long block does not hold up
/// arrivals; a transaction that leaves the pool meanwhile is not yielded.
pub struct BestTransactions {
    index: Arc<Mutex<Index>>,
    base_fee: u64,
    /// The next transaction of each sender: tip, then earlier arrival.
    heap: BinaryHeap<Candidate>,
    /// Whose transaction was yielded last: its next one joins the heap in the next step.
    last: Option<(Address, u64)>,
}

type Candidate = (u128, Reverse<u64>, Address, u64);

impl BestTransactions {
    pub(super) fn new(index: Arc<Mutex<Index>>, base_fee: u64) -> Self {
        let heap = {
            let index = index.lock();
            let heads = index
                .senders()
                .filter(|(_, sender)| sender.executable > sender.nonce);
            heads
                .filter_map(|(_, sender)| sender.txs.get(&sender.nonce))
                .filter_map(|tx| candidate(tx, base_fee))
                .collect()
        };
        Self {
            index,
            base_fee,
            heap,
            last: None,
        }
    }

    /// Leaves out the rest of the last yielded transaction's sender, because it did not execute.
    pub fn skip_sender(&mut self) {
        self.last = None;
    }
}

fn candidate(tx: &PoolTx, base_fee: u64) -> Option<Candidate> {
    Some((
        tx.effective_tip(base_fee)?,
        Reverse(tx.order),
        tx.sender,
        tx.nonce(),
    ))
}

impl Iterator for BestTransactions {
    type Item = Arc<PoolTx>;

    fn next(&mut self) -> Option<Self::Item> {
        let index = self.index.lock();
        if let Some((address, nonce)) = self.last.take()
            && let Some(next) = nonce.checked_add(1)
            && let Some(sender) = index.sender(&address)
            && next < sender.executable
            && let Some(tx) = sender.txs.get(&next)
        {
            self.heap.extend(candidate(tx, self.base_fee));
        }
        while let Some((_, _, address, nonce)) = self.heap.pop() {
            if let Some(tx) = index.sender(&address).and_then(|sender| sender.txs.get(&nonce)) {
                self.last = Some((address, nonce));
                return Some(tx.clone());
            }
        }
        None
    }
}
