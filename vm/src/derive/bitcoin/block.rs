//! Whole Bitcoin blocks, checked against their own header.

use alloc::vec::Vec;
use alloy_primitives::B256;

use super::header::L1Header;
use super::reader::{DecodeError, Reader};
use super::sha256d;
use super::transaction::L1Transaction;

/// A block whose transactions and witnesses are those that its header commits to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct L1Block<'a> {
    /// The header.
    pub header: L1Header,
    /// The transactions, coinbase first.
    pub transactions: Vec<L1Transaction<'a>>,
}

/// The fewest bytes of what is decoded as a transaction: one input, no output. The count is to refuse nothing else,
/// for the machine, which has no bytes of a whole block, takes the same blocks.
const MIN_TRANSACTION_SIZE: usize = 51;

impl<'a> L1Block<'a> {
    /// Decodes a block in network format and checks that its header commits to every byte of it: the merkle root
    /// to the transactions, the coinbase's commitment (BIP-0141) to the witnesses. So a header has one block at
    /// most: with a commitment the witnesses must be there, and without one there are none, as Bitcoin Core has it
    /// since segregated witness is active.
    ///
    /// # Errors
    /// Where the bytes are no block, or another block's transactions.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let header = L1Header::decode(&reader.array("header")?);
        let count = reader.count(MIN_TRANSACTION_SIZE, "transaction count")?;
        let mut transactions = Vec::with_capacity(count);
        for _ in 0..count {
            transactions.push(L1Transaction::read(&mut reader)?);
        }
        reader.finish()?;
        let block = Self { header, transactions };
        block.verify_commitments()?;
        Ok(block)
    }

    fn verify_commitments(&self) -> Result<(), DecodeError> {
        let invalid = |field, rule| Err(DecodeError::Invalid { field, rule });
        if !self.transactions.first().is_some_and(L1Transaction::is_coinbase) {
            return invalid("transactions", "the first must be a coinbase");
        }
        let root = merkle_root(
            self.transactions
                .iter()
                .map(|transaction| transaction.txid)
                .collect(),
        );
        if root != Some(self.header.merkle_root) {
            return invalid("transactions", "the header's merkle root must be theirs");
        }
        let Some(commitment) = self
            .transactions
            .first()
            .and_then(L1Transaction::witness_commitment)
        else {
            let has_witness = |transaction: &L1Transaction<'_>| transaction.txid != transaction.wtxid;
            return if self.transactions.iter().any(has_witness) {
                invalid("witnesses", "there are none without the coinbase's commitment")
            } else {
                Ok(())
            };
        };
        if Some(commitment) != self.expected_witness_commitment() {
            return invalid("witnesses", "the coinbase's witness commitment must be theirs");
        }
        Ok(())
    }

    fn expected_witness_commitment(&self) -> Option<B256> {
        let [reserved] = self.transactions.first()?.inputs.first()?.witness.as_slice() else {
            return None;
        };
        let ids = self.transactions.iter().enumerate();
        let root = merkle_root(
            ids.map(|(i, tx)| if i == 0 { B256::ZERO } else { tx.wtxid })
                .collect(),
        )?;
        (reserved.len() == 32).then(|| sha256d([root.as_slice(), reserved]))
    }

    /// Gives the block's weight (BIP-0141), header and transaction count aside.
    pub fn weight(&self) -> u64 {
        self.transactions
            .iter()
            .fold(0, |sum: u64, transaction| sum.saturating_add(transaction.weight))
    }
}

/// Computes the merkle root of transaction ids; `None` without any, or where two equal neighbours make the list
/// ambiguous (CVE-2012-2459).
pub fn merkle_root(mut level: Vec<B256>) -> Option<B256> {
    while level.len() > 1 {
        let mut next = Vec::with_capacity(level.len().div_ceil(2));
        for pair in level.chunks(2) {
            let (left, right) = match pair {
                [left, right] if left == right => return None,
                [left, right] => (left, right),
                [last] => (last, last),
                _ => return None,
            };
            next.push(sha256d([left.as_slice(), right.as_slice()]));
        }
        level = next;
    }
    level.first().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::hashes::Hash;

    #[test]
    fn decodes_mainnet_genesis() {
        let theirs = bitcoin::constants::genesis_block(bitcoin::Network::Bitcoin);
        let bytes = bitcoin::consensus::serialize(&theirs);
        let ours = L1Block::decode(&bytes).unwrap();
        assert_eq!(ours.header.hash().0, theirs.block_hash().to_byte_array());
        assert_eq!(ours.weight() + 324, theirs.weight().to_wu());
        let mut changed = bytes;
        *changed.last_mut().unwrap() ^= 1;
        assert!(L1Block::decode(&changed).is_err());
    }

    #[test]
    fn merkle_root_agrees_and_refuses_duplicates() {
        for count in 1..20_u8 {
            let ids: Vec<B256> = (0..count).map(B256::repeat_byte).collect();
            let theirs = bitcoin::merkle_tree::calculate_root(
                ids.iter().map(|id| bitcoin::Txid::from_byte_array(id.0)),
            );
            assert_eq!(
                merkle_root(ids).map(|root| root.0),
                theirs.map(|root| root.to_byte_array())
            );
        }
        let ids = vec![
            B256::repeat_byte(1),
            B256::repeat_byte(2),
            B256::repeat_byte(2),
            B256::repeat_byte(2),
        ];
        assert_eq!(merkle_root(ids), None);
        assert_eq!(merkle_root(Vec::new()), None);
    }
}
