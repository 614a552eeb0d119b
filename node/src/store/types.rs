//! What goes into the store and what comes out.

use alloy_primitives::{Address, B256, Bytes, Log, U256};
use bitsect_vm::chain::{BlockHash, Header, OutPoint, Receipt, Transaction, Txid};
use bitsect_vm::state::{StateChanges, TreeUpdate};

pub use crate::events::BlockRef;

/// What a store belongs to. [`super::Store::open`] refuses a file of another identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The EIP-155 chain id.
    pub chain_id: u64,
    /// The hash of block 0.
    pub genesis_hash: B256,
    /// The hash of the chain parameters.
    pub params_hash: B256,
}

/// One of the chain's heads, as Ethereum's block tags name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Head {
    /// The newest block, sequenced or derived.
    Latest,
    /// The newest block that is derived from Bitcoin.
    Safe,
    /// The newest block whose L1 block is deep enough.
    Finalized,
}

/// A Bitcoin block: height and hash in internal byte order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct L1Ref {
    /// Its height.
    pub height: u32,
    /// Its hash.
    pub hash: BlockHash,
}

/// The first block and the chain state before any unit.
#[derive(Clone, Debug)]
pub struct Genesis {
    /// Block 0 with the whole genesis state as its changes.
    pub block: NewBlock,
    /// The chain state after no unit.
    pub chain_state: B256,
    /// The same, encoded.
    pub encoded_chain_state: Vec<u8>,
}

/// A block with everything that its execution gave.
#[derive(Clone, Debug)]
pub struct NewBlock {
    /// The header.
    pub header: Header,
    /// Its hash.
    pub hash: B256,
    /// The transactions in order.
    pub transactions: Vec<Transaction>,
    /// Who sent each.
    pub senders: Vec<Address>,
    /// The receipt of each.
    pub receipts: Vec<Receipt>,
    /// The L1 data fee of each, wei.
    pub l1_fees: Vec<U256>,
    /// Net state changes against the parent.
    pub changes: StateChanges,
    /// The state tree's update by them.
    pub tree: TreeUpdate,
    /// The L1 origin.
    pub l1_origin: L1Ref,
    /// How many of the first transactions came from the inbox: deposits and forced ones. A batch has the others.
    pub inbox_count: u32,
}

/// A stored header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredHeader {
    /// The block's hash.
    pub hash: B256,
    /// The height of its L1 origin; the origin's hash is the header's `parent_beacon_block_root`.
    pub l1_origin_height: u32,
    /// How many of the first transactions came from the inbox.
    pub inbox_count: u32,
    /// The header.
    pub header: Header,
}

impl NewBlock {
    /// The transactions that came from the inbox.
    pub fn inbox(&self) -> &[Transaction] {
        let count = usize::try_from(self.inbox_count).unwrap_or(usize::MAX);
        self.transactions.get(..count).unwrap_or(&self.transactions)
    }
}

impl StoredHeader {
    /// The block's number and hash.
    pub const fn block_ref(&self) -> BlockRef {
        BlockRef {
            number: self.header.number,
            hash: self.hash,
        }
    }

    /// The block's L1 origin.
    pub fn l1_origin(&self) -> L1Ref {
        L1Ref {
            height: self.l1_origin_height,
            hash: self.header.parent_beacon_block_root.unwrap_or_default(),
        }
    }
}

/// A transaction with its place in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTransaction {
    /// The block's number.
    pub block: u64,
    /// The index in the block.
    pub index: u32,
    /// Who sent it.
    pub sender: Address,
    /// The transaction.
    pub transaction: Transaction,
}

/// A receipt with what it does not say itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredReceipt {
    /// Gas that this transaction used.
    pub gas_used: u64,
    /// Its L1 data fee, wei.
    pub l1_fee: U256,
    /// Logs of the block before this receipt's first.
    pub first_log: u64,
    /// The receipt, with the cumulative gas.
    pub receipt: Receipt,
}

/// A block that a rollback removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovedBlock {
    /// Its header.
    pub header: StoredHeader,
    /// Its transactions with their senders.
    pub transactions: Vec<(Address, Transaction)>,
}

/// One unit: the chain state after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitRecord {
    /// `S_k`.
    pub chain_state: B256,
    /// The L2 block that the unit executed; `None` for a unit that consumed an L1 block.
    pub block: Option<u64>,
}

/// A processed L1 block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct L1Block {
    /// Its height.
    pub height: u32,
    /// Its hash.
    pub hash: BlockHash,
    /// Units after it was processed.
    pub units: u64,
}

/// A vault output that a transaction spent which the chain does not record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeftOutput {
    /// The output.
    pub outpoint: OutPoint,
    /// Its amount, in sats.
    pub sats: u64,
    /// The transaction that spent it.
    pub by: Txid,
    /// The height of the L1 block that holds the transaction.
    pub l1_height: u32,
}

/// What a rollback of the derived chain gives back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct L1Rollback {
    /// The L1 block that is the last one now.
    pub l1: L1Block,
    /// The encoded chain state after it.
    pub encoded_chain_state: Vec<u8>,
    /// The last block that still has a unit: the safe head now.
    pub safe: BlockRef,
}

/// A batch that took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchRecord {
    /// Its first block.
    pub first_block: u64,
    /// Its last block.
    pub last_block: u64,
    /// The commit transaction.
    pub commit_txid: Txid,
    /// Where its last reveal confirmed.
    pub l1_height: u32,
    /// The hash of that L1 block.
    pub l1_hash: BlockHash,
}

/// A poster's job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// What is to be posted; never changes.
    pub payload: Bytes,
    /// How far it is; empty at first.
    pub state: Bytes,
}

/// Whether a job was new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobPut {
    /// It was stored now.
    New,
    /// The same bytes were there already.
    Same,
}

/// Which logs are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// First block.
    pub from: u64,
    /// Last block.
    pub to: u64,
    /// Any of these contracts; all when empty.
    pub addresses: Vec<Address>,
    /// For each position any of these topics; all when empty.
    pub topics: Vec<Vec<B256>>,
}

/// How much a log query may take.
#[derive(Clone, Copy, Debug)]
pub struct LogLimits {
    /// Blocks in the range.
    pub blocks: u64,
    /// Logs found.
    pub results: usize,
    /// When to give up.
    pub deadline: std::time::Instant,
}

/// A log with its place in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredLog {
    /// The block.
    pub block: BlockRef,
    /// The block's timestamp, seconds since 1970.
    pub timestamp: u64,
    /// The transaction's hash.
    pub transaction_hash: B256,
    /// The transaction's index in the block.
    pub transaction_index: u64,
    /// The log's index in the block.
    pub log_index: u64,
    /// The log.
    pub log: Log,
}

/// How far one call of a bounded clean-up came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// Rows removed.
    pub removed: u64,
    /// Whether the target is reached.
    pub done: bool,
}
