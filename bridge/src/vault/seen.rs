//! What others have paid of withdrawals, before the chain has counted it: in the mempool, and in Bitcoin's last blocks.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bitcoin::{BlockHash, Transaction, TxOut, Txid};
use bitsect_l1::rpc::{Client, RpcError};
use bitsect_vm::derive::PAYOUT_TAG;
use bitsect_vm::derive::bitcoin::op_return_data;

/// L1 blocks that are looked at: behind as many the chain has counted a payout, also one whose sequencer was gone for its window.
const BLOCKS: usize = 150;
/// Transactions of the mempool that are remembered as no payouts.
const REMEMBERED: usize = 500_000;

/// What a transaction pays by its tag: withdrawals, each with its output.
type Paid = Vec<(u64, TxOut)>;

/// A block's payouts.
#[derive(Debug)]
struct Block {
    previous: BlockHash,
    payouts: Vec<(Txid, Paid)>,
}

/// What was looked at.
#[derive(Debug, Default)]
pub(super) struct Seen {
    waiting: BTreeMap<Txid, Paid>,
    blocks: HashMap<BlockHash, Block>,
}

impl Seen {
    /// Gives which of the owed withdrawals a transaction pays that is not ours. One that only says so, with another amount or script,
    /// keeps nobody from paying.
    pub(super) async fn others(
        &mut self,
        client: &Client,
        owed: &BTreeMap<u64, TxOut>,
        ours: &BTreeSet<Txid>,
    ) -> Result<BTreeSet<u64>, RpcError> {
        self.look_at_mempool(client, ours).await?;
        self.look_at_blocks(client).await?;
        let confirmed = self.blocks.values().flat_map(|block| &block.payouts);
        let confirmed = confirmed.filter(|(txid, _)| !ours.contains(txid));
        let paid = self.waiting.values().chain(confirmed.map(|(_, paid)| paid));
        let paid = paid.flatten().filter(|(id, output)| owed.get(id) == Some(output));
        Ok(paid.map(|(id, _)| *id).collect())
    }

    async fn look_at_mempool(&mut self, client: &Client, ours: &BTreeSet<Txid>) -> Result<(), RpcError> {
        let waiting: BTreeSet<Txid> = client.get_raw_mempool().await?.into_iter().collect();
        self.waiting
            .retain(|txid, _| waiting.contains(txid) && !ours.contains(txid));
        for txid in waiting.difference(ours) {
            if !self.waiting.contains_key(txid) && self.waiting.len() < REMEMBERED {
                // None when it left the mempool meanwhile: a block has it, which is looked at next.
                let found = client.get_raw_transaction(txid).await?;
                self.waiting
                    .insert(*txid, found.as_ref().map(paid).unwrap_or_default());
            }
        }
        Ok(())
    }

    async fn look_at_blocks(&mut self, client: &Client) -> Result<(), RpcError> {
        let mut hash = client.get_best_block_hash().await?;
        let mut blocks = HashMap::new();
        while blocks.len() < BLOCKS {
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
    use bitcoin::absolute::LockTime;
    use bitcoin::transaction::Version;
    use bitcoin::{Amount, ScriptBuf};
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
