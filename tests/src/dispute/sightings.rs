//! What anybody could have seen of moves, on any branch of Bitcoin.

use std::collections::{BTreeSet, HashMap};

use bitcoin::{Transaction, Txid, Witness};

use super::arena::Arena;

/// The operator's claims and answers that were in the mempool or in a block, reorged away or not. A key of a one-time signature
/// signs one value, so one of them has one witness, ever.
#[derive(Debug, Default)]
pub struct Sightings {
    witnesses: HashMap<Txid, Witness>,
    confirmed: BTreeSet<Txid>,
}

impl Sightings {
    /// Starts to look at the slots of an arena.
    pub fn new(arena: &Arena) -> Self {
        let graphs = arena.slots.iter().map(|slot| &slot.graph);
        let moves = graphs.flat_map(|graph| {
            let stages = graph.pairs.iter().flat_map(|pair| pair.stages.values());
            stages
                .map(|stage| stage.answer.txid())
                .chain([graph.claim.txid()])
        });
        Self {
            witnesses: moves.map(|txid| (txid, Witness::new())).collect(),
            confirmed: BTreeSet::new(),
        }
    }

    /// Looks into the mempool and the last block.
    ///
    /// # Panics
    /// Where the operator shows other signatures than before.
    pub async fn look(&mut self, arena: &Arena) {
        let client = arena.network.core.client();
        for txid in client.get_raw_mempool().await.expect("Bitcoin Core answers") {
            if self.witnesses.contains_key(&txid) {
                let transaction = client.get_raw_transaction(&txid).await;
                // It may have left the mempool meanwhile.
                if let Some(transaction) = transaction.expect("Bitcoin Core answers") {
                    self.take(&transaction);
                }
            }
        }
        let tip = arena.network.core.tip().await.expect("a tip").hash;
        for transaction in client.get_block(&tip).await.expect("a block").txdata {
            if self.take(&transaction) {
                self.confirmed.insert(transaction.compute_txid());
            }
        }
    }

    fn take(&mut self, transaction: &Transaction) -> bool {
        let txid = transaction.compute_txid();
        let Some(seen) = self.witnesses.get_mut(&txid) else {
            return false;
        };
        let witness = &transaction.input[0].witness;
        if seen.is_empty() {
            seen.clone_from(witness);
        }
        assert_eq!(seen, witness, "{txid} has been signed twice");
        true
    }

    /// How many of them were confirmed at some time.
    pub fn confirmed(&self) -> usize {
        self.confirmed.len()
    }
}
