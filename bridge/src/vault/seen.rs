//! What others have paid of withdrawals, and had assigned, before the chain has counted it: in the mempool, and in Bitcoin's last
//! blocks.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bitcoin::{BlockHash, OutPoint, ScriptBuf, Transaction, TxOut, Txid};
use bitsect_l1::rpc::{Client, RpcError};
use bitsect_vm::derive::bitcoin::op_return_data;
use bitsect_vm::derive::{ASSIGNMENT_TAG, PAYOUT_TAG, assignment_script};

use crate::convert::chain_outpoint;

/// Blocks for which what has left the mempool may still come: Bitcoin Core may have lost it, and others not.
const LOST_BLOCKS: u32 = 6;
/// Transactions of the mempool that are remembered as no payouts.
const REMEMBERED: usize = 500_000;

/// What a transaction pays by its tag: withdrawals, each with its output.
type Paid = Vec<(u64, TxOut)>;

/// A transaction of the mempool.
#[derive(Debug, Default)]
struct Waiting {
    paid: Paid,
    /// The script that names the vault output that it has assigned.
    assigned: Option<ScriptBuf>,
    /// The tip when it was seen last.
    seen: u32,
}

impl Waiting {
    fn of(tx: &Transaction) -> Self {
        let assigned = tx.output.iter().map(|output| &output.script_pubkey);
        let mut assigned =
            assigned.filter(|script| op_return_data(script.as_bytes(), ASSIGNMENT_TAG).is_some());
        Self {
            paid: paid(tx),
            assigned: assigned.next().cloned(),
            seen: 0,
        }
    }

    /// Whether it may still come.
    fn may_come(&self, tip: u32) -> bool {
        !self.paid.is_empty() && tip < self.seen + LOST_BLOCKS
    }
}

/// A block's payouts.
#[derive(Debug)]
struct Block {
    previous: BlockHash,
    payouts: Vec<(Txid, Paid)>,
}

/// What was looked at.
#[derive(Debug, Default)]
pub(super) struct Seen {
    waiting: BTreeMap<Txid, Waiting>,
    blocks: HashMap<BlockHash, Block>,
}

impl Seen {
    /// Gives which of the owed withdrawals a transaction pays that is not ours, in the mempool or in the last `blocks` blocks up to
    /// `tip`. One that only says so, with another amount or script, keeps nobody from paying.
    pub(super) async fn others(
        &mut self,
        client: &Client,
        owed: &BTreeMap<u64, TxOut>,
        ours: &BTreeSet<Txid>,
        (tip, blocks): (u32, usize),
    ) -> Result<BTreeSet<u64>, RpcError> {
        self.look_at_mempool(client, ours, tip).await?;
        self.look_at_blocks(client, blocks).await?;
        let confirmed = self.blocks.values().flat_map(|block| &block.payouts);
        let confirmed = confirmed.filter(|(txid, _)| !ours.contains(txid));
        let waiting = self.waiting.values().map(|waiting| &waiting.paid);
        let paid = waiting.chain(confirmed.map(|(_, paid)| paid));
        let paid = paid.flatten().filter(|(id, output)| owed.get(id) == Some(output));
        Ok(paid.map(|(id, _)| *id).collect())
    }

    /// Whether a transaction of the mempool, at the last look, has a vault output assigned.
    pub(super) fn is_assigned(&self, outpoint: &OutPoint) -> bool {
        let script = assignment_script(&chain_outpoint(outpoint));
        let mut assigned = self
            .waiting
            .values()
            .filter_map(|waiting| waiting.assigned.as_ref());
        assigned.any(|assigned| assigned.as_bytes() == script)
    }

    async fn look_at_mempool(
        &mut self,
        client: &Client,
        ours: &BTreeSet<Txid>,
        tip: u32,
    ) -> Result<(), RpcError> {
        let waiting: BTreeSet<Txid> = client.get_raw_mempool().await?.into_iter().collect();
        self.waiting.retain(|txid, known| {
            let is_there = waiting.contains(txid);
            if is_there {
                known.seen = tip;
            }
            !ours.contains(txid) && (is_there || known.may_come(tip))
        });
        for txid in waiting.difference(ours) {
            if !self.waiting.contains_key(txid) && self.waiting.len() < REMEMBERED {
                // None when it left the mempool meanwhile: a block has it, which is looked at next.
                let found = client.get_raw_transaction(txid).await?;
                let found = found.as_ref().map(Waiting::of).unwrap_or_default();
                self.waiting.insert(*txid, Waiting { seen: tip, ..found });
            }
        }
        Ok(())
    }

    async fn look_at_blocks(&mut self, client: &Client, count: usize) -> Result<(), RpcError> {
        let mut hash = client.get_best_block_hash().await?;
        let mut blocks = HashMap::new();
        while blocks.len() < count {
            let block = match self.blocks.remove(&hash) {
                Some(block) => block,
                None => {
                    let block = client.get_block(&hash).await?;
                    let payouts = block.txdata.iter().map(|tx| (tx.compute_txid(), paid(tx)));
                    Block {
                        previous: block.header.prev_blockhash,
                        payouts: payouts.filter(|(_, paid)| !paid.is_empty()).collect(),
                    }
                }
            };
            let previous = block.previous;
            blocks.insert(hash, block);
            // What a failure leaves is looked at again.
            if previous == BlockHash::from_raw_hash(bitcoin::hashes::Hash::all_zeros()) {
                break;
            }
            hash = previous;
        }
        self.blocks = blocks;
        Ok(())
    }
}

/// Reads the withdrawals that a transaction pays by its tag, in the order of its outputs.
fn paid(tx: &Transaction) -> Paid {
    let scripts = tx.output.iter().map(|output| output.script_pubkey.as_bytes());
    let data = scripts
        .filter_map(|script| op_return_data(script, PAYOUT_TAG))
        .next();
    let data = data.unwrap_or_default();
    let ids = data.get(32..).unwrap_or_default().as_chunks::<8>().0;
    let ids = ids.iter().map(|id| u64::from_le_bytes(*id));
    ids.zip(tx.output.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use alloy_primitives::B256;
    use bitcoin::Amount;
    use bitcoin::absolute::LockTime;
    use bitcoin::transaction::Version;
    use bitsect_vm::derive::payout_script;

    use super::*;

    #[test]
    fn outputs_belong_to_the_ids_in_their_order() {
        let output = |sats| TxOut {
            value: Amount::from_sat(sats),
            script_pubkey: ScriptBuf::new(),
        };
        let tag = TxOut {
            value: Amount::ZERO,
            script_pubkey: payout_script(&B256::ZERO, &[7, 3]).into(),
        };
        let tx = |output| Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: Vec::new(),
            output,
        };
        let both = tx(vec![output(10), output(20), tag.clone()]);
        assert_eq!(paid(&both), [(7, output(10)), (3, output(20))]);
        // The tag is the second output itself: nobody is paid by it.
        let short = tx(vec![output(10), tag.clone()]);
        assert_eq!(paid(&short), [(7, output(10)), (3, tag)]);
        assert_eq!(paid(&tx(vec![output(10)])), []);
    }
}
