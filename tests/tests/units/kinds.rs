//! What the units of a chain did: each is done once more natively, out of nothing but its record.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use alloy_consensus::transaction::Transaction as _;
use alloy_consensus::{TxReceipt, Typed2718};
use alloy_primitives::{Address, B256};
use bitsect_tests::every_precompile;
use bitsect_vm::chain::{BlobRef, Blobs, BlockHash, ChainParams, ChainState};
use bitsect_vm::derive::BatchFault;
use bitsect_vm::execute::DEPOSIT_TYPE;
use bitsect_vm::record::{UnitRecord, record_unit};
use bitsect_vm::state::{Node, NodePath, NodeReader, hash_node};
use bitsect_vm::step::{BlockSource, ExecutedBlock, UnitOutcome};

/// What a chain must have, beside a call of each precompile.
const NEEDED: [&str; 21] = [
    "L1 block",
    "L1 block that ends the wait for a batch",
    "block of a batch",
    "forced block",
    "empty block",
    "full block",
    "deposit",
    "forced transaction",
    "type 0",
    "type 1",
    "type 2",
    "type 4",
    "creation",
    "revert",
    "out of gas",
    "dropped batch: no payload",
    "dropped batch: another number",
    "dropped batch: another parent",
    "dropped batch: another L1 chain",
    "dropped batch: invalid block",
    "dropped batch: invalid block behind a valid one",
];

/// How many units had each kind of thing in them.
#[derive(Debug, Default)]
pub struct Kinds(BTreeMap<String, u64>);

/// Answers out of one record; what it lacks fails the test.
struct Readers<'a> {
    nodes: BTreeMap<B256, &'a Node>,
    blobs: BTreeMap<B256, &'a [u8]>,
    block: Option<&'a [u8]>,
}

impl Blobs for Readers<'_> {
    type Error = Infallible;

    fn get(&self, blob: &BlobRef) -> Result<Vec<u8>, Infallible> {
        Ok(self.blobs[&blob.root].to_vec())
    }

    fn put(&mut self, _: BlobRef, _: Vec<u8>) -> Result<(), Infallible> {
        Ok(())
    }
}

impl NodeReader for Readers<'_> {
    type Error = Infallible;

    fn node(&self, _: &NodePath, hash: &B256) -> Result<Node, Infallible> {
        Ok(*self.nodes[hash])
    }
}

impl BlockSource for Readers<'_> {
    type Error = Infallible;

    fn block(&mut self, _: &BlockHash) -> Result<Vec<u8>, Infallible> {
        Ok(self.block.expect("the record has the block").to_vec())
    }
}

impl<'a> Readers<'a> {
    fn new(record: &'a UnitRecord) -> Self {
        let nodes = record.nodes.iter().map(|node| (hash_node(node), node));
        let blobs = record
            .blobs
            .iter()
            .map(|blob| (BlobRef::of(blob).root, &blob[..]));
        Self {
            nodes: nodes.collect(),
            blobs: blobs.collect(),
            block: record.block.as_deref(),
        }
    }
}

impl Kinds {
    /// Does a unit natively, checks its record, and counts what it did.
    pub fn count(&mut self, params: &ChainParams, record: &UnitRecord) {
        let before = ChainState::decode(&record.state).expect("a chain state");
        let mut after = before.clone();
        let (mut source, mut blobs, tree) =
            (Readers::new(record), Readers::new(record), Readers::new(record));
        let advice = record.block.is_some().then_some(&record.advice);
        let done = record_unit(params, &mut after, advice, &mut source, &mut blobs, &tree);
        let (outcome, again) = done.expect("the record has everything");
        assert_eq!(&again, record);
        let mut found = BTreeSet::new();
        match &outcome {
            UnitOutcome::L1 => {
                found.insert("L1 block".to_owned());
                if gave_up(&before, &after) {
                    found.insert("L1 block that ends the wait for a batch".to_owned());
                }
            }
            UnitOutcome::BatchDropped { fault, .. } => {
                found.insert(format!("dropped batch: {}", dropped(fault)));
                if before.open.is_some_and(|open| open.next > 0) {
                    found.insert(format!("dropped batch: {} behind a valid one", dropped(fault)));
                }
            }
            UnitOutcome::Block(executed) => {
                let from = if before.open.is_some() {
                    "block of a batch"
                } else {
                    "forced block"
                };
                found.insert(from.to_owned());
                block(executed, &mut found);
            }
        }
        for kind in found {
            *self.0.entry(kind).or_default() += 1;
        }
    }

    /// Checks that nothing is missing.
    pub fn check(&self) {
        let precompiles = every_precompile();
        let precompiles = precompiles.iter().map(|(address, _)| precompile(address));
        let missing: Vec<String> = NEEDED
            .map(str::to_owned)
            .into_iter()
            .chain(precompiles)
            .filter(|kind| !self.0.contains_key(kind))
            .collect();
        assert!(
            missing.is_empty(),
            "the chain lacks {missing:?}; it has {:?}",
            self.0
        );
    }

    /// Prints them.
    pub fn print(&self) {
        for (kind, count) in &self.0 {
            println!("{count:>8} units: {kind}");
        }
    }
}

/// Whether an L1 unit gave up a batch that was not revealed in time.
fn gave_up(before: &ChainState, after: &ChainState) -> bool {
    before.batches.iter().any(|batch| {
        after.batches.iter().all(|other| other.commit != batch.commit)
            && after.open.as_ref().is_none_or(|open| open.commit != batch.commit)
    })
}

fn dropped(fault: &BatchFault) -> &'static str {
    match fault {
        BatchFault::Payload(_) => "no payload",
        BatchFault::FirstBlock { .. } => "another number",
        BatchFault::ParentHash { .. } => "another parent",
        BatchFault::LastOrigin { .. } => "another L1 chain",
        BatchFault::Block { .. } => "invalid block",
        _ => "another fault",
    }
}

fn precompile(address: &Address) -> String {
    format!("call of precompile {address}")
}

/// What an L2 block holds.
fn block(executed: &ExecutedBlock, found: &mut BTreeSet<String>) {
    let header = &executed.block.header;
    let mut add = |kind: &str| {
        found.insert(kind.to_owned());
    };
    if executed.block.transactions.is_empty() {
        add("empty block");
    }
    if header.gas_used >= header.gas_limit / 100 * 95 {
        add("full block");
    }
    let precompiles: BTreeSet<Address> = every_precompile()
        .into_iter()
        .map(|(address, _)| address)
        .collect();
    let inbox = executed.inbox_count as usize;
    let mut gas_before = 0;
    let receipts = executed.outcome.receipts.iter();
    for ((index, transaction), receipt) in executed.block.transactions.iter().enumerate().zip(receipts) {
        let gas = receipt.cumulative_gas_used() - gas_before;
        gas_before = receipt.cumulative_gas_used();
        match (transaction.ty(), index < inbox) {
            (DEPOSIT_TYPE, _) => add("deposit"),
            (_, true) => add("forced transaction"),
            (kind, false) => add(&format!("type {kind}")),
        }
        match (receipt.status(), gas == transaction.gas_limit()) {
            (true, _) => {}
            (false, true) => add("out of gas"),
            (false, false) => add("revert"),
        }
        match transaction.to() {
            None => add("creation"),
            Some(to) if precompiles.contains(&to) && receipt.status() => add(&precompile(&to)),
            Some(_) => {}
        }
    }
}
