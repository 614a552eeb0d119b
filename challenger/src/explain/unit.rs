//! What a unit does: done once more natively, out of nothing but its record.

use std::collections::BTreeMap;

use alloy_consensus::TxReceipt;
use alloy_primitives::{B256, U64};
use bitsect_node::convert;
use bitsect_vm::chain::bridge::OutputId;
use bitsect_vm::chain::{BlobRef, Blobs, BlockHash, ChainParams, ChainState, Receipt};
use bitsect_vm::check::{CheckError, checked_state, checked_ticket, verify_assignment};
use bitsect_vm::derive::{UnitKind, read_batch};
use bitsect_vm::execute::{recover_sender, recover_senders};
use bitsect_vm::record::UnitRecord;
use bitsect_vm::state::{Node, NodePath, NodeReader, TreeState, hash_node};
use bitsect_vm::step::{BlockSource, ExecutedBlock, L2Work, UnitOutcome, plan_unit, step};
use serde::Serialize;

use super::claimed::{ClaimedLog, ClaimedReceipt};

/// Why a unit cannot be done from its record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unit record: {reason}")]
pub struct RecordFault {
    /// What is wrong with it.
    reason: String,
}

fn fault(reason: impl ToString) -> RecordFault {
    RecordFault {
        reason: reason.to_string(),
    }
}

/// What a unit does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "does", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Work {
    /// It reads an L1 block.
    L1Block {
        /// The block's height.
        height: u32,
        /// Its hash, as Bitcoin's tools show it.
        hash: bitcoin::BlockHash,
    },
    /// It executes an L2 block.
    L2Block {
        /// The block's number.
        number: u64,
        /// Its hash.
        hash: B256,
        /// How many transactions it has.
        transactions: usize,
        /// Whether it is made by derivation, without the sequencer.
        forced: bool,
    },
    /// It gives up the open batch.
    DroppedBatch {
        /// The batch's commit transaction, as Bitcoin's tools show it.
        commit: bitcoin::Txid,
        /// Why.
        reason: String,
    },
    /// It is the claim's check.
    Check {
        /// The ticket's name.
        ticket: OutputId,
        /// Whether it holds.
        check: Check,
    },
}

/// Whether a claim's check holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "check", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Check {
    /// It does.
    Holds,
    /// The ticket has no assignment.
    Unassigned,
    /// Its assignment is too young.
    Immature {
        /// The L1 block at which it was recorded.
        recorded: u32,
        /// How many have to come behind it.
        blocks: u32,
        /// The last L1 block before the check.
        height: u32,
    },
}

/// A unit that was done.
#[derive(Clone, Debug)]
pub struct Done {
    /// What it does.
    pub work: Work,
    /// The transactions that it tries to execute, in order: some may turn out to be invalid.
    pub attempts: Vec<B256>,
    /// The L2 block.
    pub block: Option<Box<ExecutedBlock>>,
}

/// Gives what the record has.
struct Recorded<'a> {
    nodes: BTreeMap<B256, &'a Node>,
    blobs: BTreeMap<B256, &'a [u8]>,
    block: Option<&'a [u8]>,
}

impl<'a> Recorded<'a> {
    fn new(record: &'a UnitRecord) -> Self {
        let nodes = record.nodes.iter().map(|node| (hash_node(node), node));
        let blobs = record
            .blobs
            .iter()
            .map(|blob| (BlobRef::of(blob).root, blob.as_slice()));
        Self {
            nodes: nodes.collect(),
            blobs: blobs.collect(),
            block: record.block.as_deref(),
        }
    }
}

impl Blobs for Recorded<'_> {
    type Error = RecordFault;

    fn get(&self, blob: &BlobRef) -> Result<Vec<u8>, RecordFault> {
        let found = self.blobs.get(&blob.root).map(|bytes| bytes.to_vec());
        found.ok_or_else(|| fault(format!("it lacks blob {}", blob.root)))
    }

    fn put(&mut self, _: BlobRef, _: Vec<u8>) -> Result<(), RecordFault> {
        Ok(())
    }
}

impl NodeReader for Recorded<'_> {
    type Error = RecordFault;

    fn node(&self, _: &NodePath, hash: &B256) -> Result<Node, RecordFault> {
        let found = self.nodes.get(hash).map(|node| **node);
        found.ok_or_else(|| fault(format!("it lacks node {hash}")))
    }
}

impl BlockSource for Recorded<'_> {
    type Error = RecordFault;

    fn block(&mut self, hash: &BlockHash) -> Result<Vec<u8>, RecordFault> {
        let found = self.block.map(<[u8]>::to_vec);
        found.ok_or_else(|| fault(format!("it lacks L1 block {hash}")))
    }
}

/// Does a unit.
///
/// # Errors
/// Where the record lacks something, or gives another state than it says.
pub fn execute(params: &ChainParams, record: &UnitRecord) -> Result<Done, RecordFault> {
    let mut chain = ChainState::decode(&record.state).map_err(fault)?;
    if let Some(ticket) = checked_ticket(&record.advice) {
        return checked(params, &chain, record, ticket);
    }
    let (mut source, mut blobs, tree) = (
        Recorded::new(record),
        Recorded::new(record),
        Recorded::new(record),
    );
    let kind = chain.next_unit(params);
    let attempts = attempts(params, &chain, kind, &blobs)?;
    let advice = (kind == UnitKind::L1).then_some(&record.advice);
    let state = TreeState::new(chain.tip.header.state_root, &tree);
    let outcome = step(params, &mut chain, advice, &mut source, &mut blobs, state, &tree).map_err(fault)?;
    if chain.commitment() != record.after {
        return Err(fault(format!(
            "it leads to {}, not to {}",
            chain.commitment(),
            record.after
        )));
    }
    let (work, block) = match outcome {
        UnitOutcome::L1 => {
            let (height, hash) = (chain.l1.height, convert::bitcoin_hash(&chain.l1.hash));
            (Work::L1Block { height, hash }, None)
        }
        UnitOutcome::BatchDropped { commit, fault } => {
            let commit = convert::outpoint(&bitsect_vm::chain::OutPoint {
                txid: commit,
                vout: 0,
            })
            .txid;
            let reason = fault.to_string();
            (Work::DroppedBatch { commit, reason }, None)
        }
        UnitOutcome::Block(block) => {
            let work = Work::L2Block {
                number: block.block.header.number,
                hash: block.hash,
                transactions: block.block.transactions.len(),
                forced: kind == UnitKind::Forced,
            };
            (work, Some(block))
        }
    };
    Ok(Done {
        work,
        attempts,
        block,
    })
}

/// Does a check.
fn checked(
    params: &ChainParams,
    chain: &ChainState,
    record: &UnitRecord,
    ticket: OutputId,
) -> Result<Done, RecordFault> {
    let check = match verify_assignment(params, chain, &ticket, &Recorded::new(record)) {
        Ok(()) => Check::Holds,
        Err(CheckError::Unassigned(_)) => Check::Unassigned,
        Err(CheckError::Immature {
            expected,
            blocks,
            got: height,
        }) => Check::Immature {
            recorded: expected.saturating_sub(blocks),
            blocks,
            height,
        },
        Err(CheckError::State(error)) => return Err(fault(error)),
    };
    let after = match check {
        Check::Holds => checked_state(&chain.commitment(), &record.advice),
        Check::Unassigned | Check::Immature { .. } => B256::ZERO,
    };
    if after != record.after {
        return Err(fault(format!("it leads to {after}, not to {}", record.after)));
    }
    Ok(Done {
        work: Work::Check { ticket, check },
        attempts: Vec::new(),
        block: None,
    })
}

/// Lists what a unit tries to execute: the inbox, then what was sequenced. Nothing where a signature is bad.
fn attempts(
    params: &ChainParams,
    chain: &ChainState,
    kind: UnitKind,
    blobs: &Recorded<'_>,
) -> Result<Vec<B256>, RecordFault> {
    if kind == UnitKind::L1 {
        return Ok(Vec::new());
    }
    let batch = match &chain.open {
        None => None,
        Some(open) => match read_batch(params, open, blobs)? {
            Ok(batch) => Some(batch),
            Err(_) => return Ok(Vec::new()),
        },
    };
    let work = plan_unit(params, chain, batch.as_ref(), blobs).map_err(fault)?;
    let L2Work::Block {
        planned, sequenced, ..
    } = work
    else {
        return Ok(Vec::new());
    };
    if recover_senders(sequenced).is_err() {
        return Ok(Vec::new());
    }
    let inbox = planned
        .inbox
        .iter()
        .filter(|transaction| recover_sender(transaction).is_some());
    Ok(inbox
        .chain(sequenced)
        .map(|transaction| transaction.tx_hash())
        .collect())
}

/// The first transaction whose result differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// Its index in the block.
    pub index: usize,
    /// The true chain's transaction there; none where the claim has one more.
    pub transaction: Option<B256>,
    /// What differs: `transaction`, `status`, `cumulativeGasUsed`, `logs`.
    pub field: &'static str,
    /// What the claim has.
    pub claimed: String,
    /// What is true.
    pub expected: String,
}

/// Finds the first transaction whose result differs from the true one; none where all are alike.
pub fn first_difference(block: &ExecutedBlock, claimed: &[ClaimedReceipt]) -> Option<Difference> {
    let transactions = block
        .block
        .transactions
        .iter()
        .map(|transaction| transaction.tx_hash());
    let truth: Vec<ClaimedReceipt> = transactions
        .zip(&block.outcome.receipts)
        .map(|(hash, receipt)| receipt_of(hash, receipt))
        .collect();
    for index in 0..truth.len().max(claimed.len()) {
        let (claimed, truth) = (claimed.get(index), truth.get(index));
        if claimed == truth {
            continue;
        }
        let differs = |field, claimed: String, expected: String| Difference {
            index,
            transaction: truth.map(|truth| truth.transaction_hash),
            field,
            claimed,
            expected,
        };
        let (Some(claimed), Some(truth)) = (claimed, truth) else {
            let name = |receipt: Option<&ClaimedReceipt>| {
                receipt.map_or_else(
                    || "none".to_owned(),
                    |receipt| receipt.transaction_hash.to_string(),
                )
            };
            return Some(differs("transaction", name(claimed), name(truth)));
        };
        let text = |receipt: &ClaimedReceipt| -> [(&'static str, String); 4] {
            [
                ("transaction", receipt.transaction_hash.to_string()),
                ("status", receipt.status.to_string()),
                ("cumulativeGasUsed", receipt.cumulative_gas_used.to_string()),
                ("logs", format!("{:?}", receipt.logs)),
            ]
        };
        let pairs = text(claimed).into_iter().zip(text(truth));
        return pairs
            .filter(|(claimed, truth)| claimed.1 != truth.1)
            .map(|((field, claimed), (_, truth))| differs(field, claimed, truth))
            .next();
    }
    None
}

fn receipt_of(transaction_hash: B256, receipt: &Receipt) -> ClaimedReceipt {
    ClaimedReceipt {
        transaction_hash,
        status: U64::from(receipt.status()),
        cumulative_gas_used: U64::from(receipt.cumulative_gas_used()),
        logs: receipt
            .logs()
            .iter()
            .map(|log| ClaimedLog {
                address: log.address,
                topics: log.topics().to_vec(),
                data: log.data.data.clone(),
            })
            .collect(),
    }
}
