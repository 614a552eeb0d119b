//! A whole Bitcoin block out of its hash.

use alloc::vec;
use alloc::vec::Vec;
use alloy_primitives::B256;
use bitsect_vm::chain::BlockHash;
use bitsect_vm::derive::bitcoin::{DecodeError, L1Block, L1Header, L1Transaction};

use super::merkle::{first_leaf, leaves};
use super::message::{Message, WalkError, message, pair};
use super::oracle::{Digest, Oracle, bytes, words};

/// Weight of the only witness that a coinbase with a commitment has: marker, flag, two lengths, 32 bytes.
const RESERVED_WEIGHT: u64 = 36;

/// The bytes of a block, all of which its hash commits to.
#[derive(Debug)]
pub struct VerifiedBlock {
    header: L1Header,
    transactions: Vec<Transaction>,
    /// The coinbase's witness; none in a block without witnesses.
    reserved: Option<B256>,
}

#[derive(Debug)]
struct Transaction {
    txid: Digest,
    stripped: Message,
    /// What the witness tree has for it, where that is another transaction than `stripped`.
    whole: Option<(Digest, Message)>,
}

impl VerifiedBlock {
    /// Walks from a block's hash to its header and every transaction.
    ///
    /// # Errors
    /// Where the hash is no block's.
    pub fn read<O: Oracle>(oracle: &O, hash: &BlockHash) -> Result<Self, WalkError> {
        let header = message(oracle, &words(hash))?;
        let header = header
            .bytes()
            .try_into()
            .map_err(|_| invalid("header", "it has 80 bytes"))?;
        let header = L1Header::decode(header);
        let root = words(&header.merkle_root);
        let (depth, coinbase) = first_leaf(oracle, &root)?;
        let txids = leaves(oracle, &root, depth)?;
        let decoded =
            L1Transaction::decode_known(coinbase.bytes(), coinbase.bytes(), B256::ZERO, B256::ZERO)?;
        if !decoded.is_coinbase() {
            return Err(invalid("transactions", "the first must be a coinbase"));
        }
        let commitment = decoded.witness_commitment();
        let mut block = Self {
            header,
            transactions: Vec::with_capacity(txids.len()),
            reserved: None,
        };
        let mut stripped = Some(coinbase);
        for txid in txids {
            let stripped = stripped.take().map_or_else(|| message(oracle, &txid), Ok)?;
            block.transactions.push(Transaction {
                txid,
                stripped,
                whole: None,
            });
        }
        if let Some(commitment) = commitment {
            block.read_witnesses(oracle, &commitment, depth)?;
        }
        Ok(block)
    }

    /// Walks down the witness tree (BIP-0141).
    fn read_witnesses<O: Oracle>(
        &mut self,
        oracle: &O,
        commitment: &B256,
        depth: usize,
    ) -> Result<(), WalkError> {
        let (root, reserved) = pair(oracle, &words(commitment))?;
        let wtxids = leaves(oracle, &root, depth)?;
        if wtxids.len() != self.transactions.len() || wtxids.first() != Some(&[0; 8]) {
            return Err(WalkError::Tree("the witness tree is of other transactions"));
        }
        for (transaction, wtxid) in self.transactions.iter_mut().zip(wtxids).skip(1) {
            if wtxid != transaction.txid {
                transaction.whole = Some((wtxid, message(oracle, &wtxid)?));
            }
        }
        self.reserved = Some(bytes(&reserved));
        Ok(())
    }

    /// Decodes the block, as [`L1Block::decode`] does natively.
    ///
    /// # Errors
    /// Where a transaction is malformed.
    pub fn decode(&self) -> Result<L1Block<'_>, DecodeError> {
        let mut transactions = Vec::with_capacity(self.transactions.len());
        for Transaction {
            txid,
            stripped,
            whole,
        } in &self.transactions
        {
            let (wtxid, whole) = whole
                .as_ref()
                .map_or((txid, stripped), |(wtxid, whole)| (wtxid, whole));
            transactions.push(L1Transaction::decode_known(
                stripped.bytes(),
                whole.bytes(),
                bytes(txid),
                bytes(wtxid),
            )?);
        }
        let coinbase_input = transactions
            .first_mut()
            .map(|coinbase| (&mut coinbase.weight, &mut coinbase.inputs));
        if let (Some((weight, inputs)), Some(reserved)) = (coinbase_input, &self.reserved) {
            *weight = weight.saturating_add(RESERVED_WEIGHT);
            for input in inputs {
                input.witness = vec![reserved.as_slice()];
            }
        }
        Ok(L1Block {
            header: self.header,
            transactions,
        })
    }
}

const fn invalid(field: &'static str, rule: &'static str) -> WalkError {
    WalkError::Block(DecodeError::Invalid { field, rule })
}
