//! `db check`: every invariant of docs/store.md, by reading everything.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use alloy_consensus::TxReceipt;
use alloy_consensus::constants::KECCAK_EMPTY;
use alloy_consensus::proofs::calculate_transaction_root;
use alloy_primitives::{Address, B256, U256, keccak256};
use bitsect_vm::chain::Transaction;
use bitsect_vm::execute::receipts_root;
use bitsect_vm::state::{AccountChange, StateChanges, update};
use indicatif::ProgressBar;
use redb::{Database, Durability, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};

use super::sums::{check_supply, check_vault};
use crate::store::tables::{View, fetch};
use crate::store::tree::{self, PageReader, TableTree};
use crate::store::{Head, Snapshot, StoreError, StoredHeader, history, query, rows};

/// Faults that a report lists before it stops looking: more tell nothing new.
const MAX_FAULTS: usize = 100;
/// Keys that the state tree's rebuild takes at once: it bounds memory to some 100 MB.
const KEYS_PER_STEP: usize = 50_000;
/// Changed keys up to which the change sets are reversed to check old state roots.
const MAX_REVERSED_KEYS: usize = 500_000;
/// Memory for the page cache of the scratch tree, bytes.
const SCRATCH_CACHE: usize = 256 << 20;

pub(super) type Bar<'a> = &'a dyn Fn(u64, &str) -> ProgressBar;
type Step = fn(&Snapshot, &mut CheckReport, Bar<'_>) -> Result<(), StoreError>;
type TreeDefinition = TableDefinition<'static, &'static [u8], &'static [u8]>;

const SCRATCH_TREE: TreeDefinition = TableDefinition::new("tree");

/// What a check read and found.
#[derive(Clone, Debug, Default)]
pub struct CheckReport {
    /// Blocks read.
    pub blocks: u64,
    /// Transactions read.
    pub transactions: u64,
    /// Accounts in the flat state.
    pub accounts: u64,
    /// Storage slots in the flat state.
    pub slots: u64,
    /// The oldest block whose state root was computed again from the change sets.
    pub oldest_root: u64,
    /// What is wrong.
    pub faults: Vec<String>,
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.faults {
            writeln!(f, "fault: {fault}")?;
        }
        let Self {
            blocks,
            transactions,
            accounts,
            slots,
            oldest_root,
            faults,
        } = self;
        writeln!(
            f,
            "read {blocks} blocks, {transactions} transactions, {accounts} accounts, {slots} slots"
        )?;
        writeln!(
            f,
            "state roots hold from block {oldest_root}; {} faults",
            faults.len()
        )
    }
}

impl CheckReport {
    pub(super) fn fault(&mut self, fault: String) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(fault);
        }
    }

    pub(super) fn equal<T: PartialEq + fmt::Debug>(&mut self, what: &str, expected: T, got: T) {
        if expected != got {
            self.fault(format!("{what}: expected {expected:?}, got {got:?}"));
        }
    }
}

/// Checks a store. Faults are in the report; an error means that the medium failed.
///
/// # Errors
///
/// When redb cannot read the file, or the scratch file cannot be written.
pub fn check(snapshot: &Snapshot, bar: Bar<'_>) -> Result<CheckReport, StoreError> {
    let mut report = CheckReport::default();
    let steps: [Step; 7] = [
        check_heads,
        check_blocks,
        check_history,
        check_chain_states,
        check_state,
        check_supply,
        check_vault,
    ];
    for step in steps {
        match step(snapshot, &mut report, bar) {
            Ok(()) => {}
            Err(error @ (StoreError::Database(_) | StoreError::File { .. })) => return Err(error),
            Err(error) => report.fault(error.to_string()),
        }
    }
    Ok(report)
}

fn check_heads(snapshot: &Snapshot, report: &mut CheckReport, _bar: Bar<'_>) -> Result<(), StoreError> {
    let heads = [Head::Finalized, Head::Safe, Head::Latest];
    let mut numbers = Vec::new();
    for head in heads {
        numbers.push(snapshot.head(head)?.number);
    }
    if !numbers.is_sorted() {
        report.fault(format!("heads: finalized, safe, latest are {numbers:?}"));
    }
    let first = snapshot.history_start()?;
    if numbers.iter().any(|latest| *latest < first) && numbers[2] < first {
        report.fault(format!("states are held from block {first}, above the latest"));
    }
    Ok(())
}

fn check_blocks(snapshot: &Snapshot, report: &mut CheckReport, bar: Bar<'_>) -> Result<(), StoreError> {
    let latest = snapshot.head(Head::Latest)?.number;
    let progress = bar(latest + 1, "blocks");
    let mut parent = B256::ZERO;
    let mut log_addresses = 0;
    for number in 0..=latest {
        let header = query::must_header(snapshot.tables(), number)?;
        if number > 0 {
            report.equal(
                &format!("block {number}: parent hash"),
                parent,
                header.header.parent_hash,
            );
        }
        parent = header.hash;
        log_addresses += check_block(snapshot, &header, number, report)?;
        progress.inc(1);
    }
    let tables = snapshot.tables();
    report.blocks = latest + 1;
    for (name, rows) in [
        ("headers", tables.headers.len()?),
        ("numbers", tables.numbers.len()?),
        ("bodies", tables.bodies.len()?),
    ] {
        report.equal(&format!("rows of {name}"), latest + 1, rows);
    }
    report.equal("rows of receipts", latest + 1, tables.receipts.len()?);
    report.equal(
        "rows of transactions",
        report.transactions,
        tables.transactions.len()?,
    );
    report.equal(
        "rows of log_addresses",
        log_addresses,
        tables.log_addresses.len()?,
    );
    progress.finish_and_clear();
    Ok(())
}

/// Checks one block's rows against its header and the indexes; gives how many addresses have logs in it.
fn check_block(
    snapshot: &Snapshot,
    header: &StoredHeader,
    number: u64,
    report: &mut CheckReport,
) -> Result<u64, StoreError> {
    let StoredHeader { hash, header, .. } = header;
    let at = |what: &str| format!("block {number}: {what}");
    report.equal(&at("number"), number, header.number);
    report.equal(&at("hash"), header.hash_slow(), *hash);
    report.equal(&at("number by hash"), Some(number), snapshot.block_number(*hash)?);
    let body = snapshot.body(number)?.unwrap_or_default();
    let transactions: Vec<Transaction> = body.into_iter().map(|(_, transaction)| transaction).collect();
    report.transactions += transactions.len() as u64;
    report.equal(
        &at("transactions root"),
        header.transactions_root,
        calculate_transaction_root(&transactions),
    );
    for (index, transaction) in (0u32..).zip(&transactions) {
        let place = snapshot.transaction_place(transaction.tx_hash())?;
        report.equal(&at("transaction by hash"), Some((number, index)), place);
    }
    let stored = snapshot.receipts(number)?.unwrap_or_default();
    let receipts: Vec<_> = stored.into_iter().map(|stored| stored.receipt).collect();
    let (root, bloom) = receipts_root(&receipts);
    report.equal(&at("receipts root"), header.receipts_root, root);
    report.equal(&at("logs bloom"), header.logs_bloom, bloom);
    let logs = receipts.iter().flat_map(TxReceipt::logs);
    let addresses: BTreeSet<Address> = logs.map(|log| log.address).collect();
    for address in &addresses {
        let key = rows::address_block_key(*address, number);
        let there = snapshot.tables().log_addresses.get(&key)?.is_some();
        report.equal(&at(&format!("log index of {address}")), true, there);
    }
    Ok(addresses.len() as u64)
}

fn check_history(snapshot: &Snapshot, report: &mut CheckReport, bar: Bar<'_>) -> Result<(), StoreError> {
    let tables = snapshot.tables();
    let (first, latest) = (snapshot.history_start()?, snapshot.head(Head::Latest)?.number);
    let progress = bar(latest - first, "changes");
    let (mut accounts, mut slots) = (0, 0);
    for number in first + 1..=latest {
        let row = fetch(tables.changes(), "changes", &number.to_be_bytes(), rows::bytes)?;
        let Some(row) = row else {
            report.fault(format!("block {number} has no change set"));
            continue;
        };
        let corrupt = |fault: rows::RowFault| StoreError::corrupt("changes", &number.to_be_bytes(), fault.0);
        for change in rows::changes(&row).map_err(corrupt)? {
            let address = change.address;
            if let Some(before) = change.account {
                accounts += 1;
                let key = rows::address_block_key(address, number);
                let offset = fetch(
                    tables.account_history(),
                    "account_history",
                    &key,
                    rows::short_number,
                )?;
                let found = offset.map(|offset| rows::account_change_at(&row, offset, address));
                report.equal(
                    &format!("block {number}: history of {address}"),
                    Some(Ok(before)),
                    found,
                );
            }
            for (slot, before) in change.storage {
                slots += 1;
                let key = rows::slot_block_key(address, slot, number);
                let offset = fetch(
                    tables.storage_history(),
                    "storage_history",
                    &key,
                    rows::short_number,
                )?;
                let found = offset.map(|offset| rows::slot_change_at(&row, offset, slot));
                report.equal(
                    &format!("block {number}: history of {address} {slot}"),
                    Some(Ok(before)),
                    found,
                );
            }
        }
        progress.inc(1);
    }
    report.equal("rows of changes", latest - first, tables.changes.len()?);
    report.equal("rows of account_history", accounts, tables.account_history.len()?);
    report.equal("rows of storage_history", slots, tables.storage_history.len()?);
    progress.finish_and_clear();
    let (_, reached) = history::reversed(tables, latest, first, MAX_REVERSED_KEYS)?;
    // Computing the root of an older tree is the check: a wrong change set gives another one.
    snapshot.tree_at(reached)?;
    report.oldest_root = reached;
    Ok(())
}

fn check_chain_states(snapshot: &Snapshot, report: &mut CheckReport, bar: Bar<'_>) -> Result<(), StoreError> {
    let tables = snapshot.tables();
    let count = snapshot.unit_count()?;
    let progress = bar(count + 1, "units");
    let mut blocks = 0;
    for number in 0..=count {
        let Some(unit) = snapshot.unit(number)? else {
            report.fault(format!("unit {number} is missing"));
            continue;
        };
        if let Some(block) = unit.block {
            report.equal(&format!("unit {number}: block"), blocks, block);
            report.equal(
                &format!("unit of block {block}"),
                Some(number),
                snapshot.unit_of_block(block)?,
            );
            blocks += 1;
        }
        progress.inc(1);
    }
    report.equal("rows of units", count + 1, tables.units.len()?);
    report.equal("rows of block_units", blocks, tables.block_units.len()?);
    progress.finish_and_clear();
    if blocks > snapshot.head(Head::Latest)?.number + 1 {
        report.fault(format!("{blocks} blocks have units, more than there are"));
    }
    check_l1(snapshot, report, count)?;
    check_batches(snapshot, report)
}

fn check_l1(snapshot: &Snapshot, report: &mut CheckReport, units: u64) -> Result<(), StoreError> {
    let tables = snapshot.tables();
    let last = snapshot.last_l1_block()?;
    let mut above = units;
    let (mut height, mut rows, mut states, mut states_end) = (last.height, 0u64, 0u64, false);
    while let Some(block) = snapshot.l1_block(height)? {
        rows += 1;
        if block.units > above {
            report.fault(format!(
                "L1 block {height} has {} units, more than {above} after it",
                block.units
            ));
        }
        above = block.units;
        let held = tables.l1_states.get(&height.to_be_bytes())?.is_some();
        if held && states_end {
            report.fault(format!("the chain state at L1 height {height} is below a gap"));
        }
        states_end |= !held;
        states += u64::from(held);
        let Some(below) = height.checked_sub(1) else { break };
        height = below;
    }
    report.equal("rows of l1_blocks", rows, tables.l1_blocks.len()?);
    report.equal("rows of l1_states", states, tables.l1_states.len()?);
    if states == 0 {
        report.fault("no chain state is held for any L1 block".to_owned());
    }
    Ok(())
}

fn check_batches(snapshot: &Snapshot, report: &mut CheckReport) -> Result<(), StoreError> {
    let mut next = 0;
    let mut l1_height = 0;
    for row in snapshot.tables().batches.iter()? {
        let (key, value) = row?;
        let first = u64::from_be_bytes(*key.value());
        let batch = rows::batch(first, value.value());
        let batch = batch.map_err(|fault| StoreError::corrupt("batches", key.value(), fault.0))?;
        if first < next || batch.last_block < first || batch.l1_height < l1_height {
            report.fault(format!(
                "the batch of block {first} overlaps the one before or is out of order"
            ));
        }
        (next, l1_height) = (batch.last_block.saturating_add(1), batch.l1_height);
    }
    Ok(())
}

/// Builds the state tree again from the flat state and compares root and rows.
fn check_state(snapshot: &Snapshot, report: &mut CheckReport, bar: Bar<'_>) -> Result<(), StoreError> {
    let tables = snapshot.tables();
    let progress = bar(tables.accounts.len()? + tables.storage.len()?, "state");
    let mut scratch = Scratch::create()?;
    let mut changes = StateChanges::default();
    let mut keys = 0;
    for row in tables.accounts.iter()? {
        let (key, value) = row?;
        let address = Address::new(*key.value());
        let corrupt = |fault: rows::RowFault| StoreError::corrupt("accounts", key.value(), fault.0);
        let account = rows::account(value.value()).map_err(corrupt)?;
        let code = query::code(tables, account.code_hash)?;
        if account.code_hash != KECCAK_EMPTY {
            report.equal(
                &format!("code hash of {address}"),
                account.code_hash,
                keccak256(&code),
            );
        }
        report.equal(
            &format!("code size of {address}"),
            account.code_size as usize,
            code.len(),
        );
        keys += 1 + code.len() / 31;
        report.accounts += 1;
        progress.inc(1);
        let change = AccountChange {
            after: Some(account),
            code: Some(code),
            ..AccountChange::default()
        };
        changes.accounts.insert(address, change);
        let from = rows::slot_key(address, U256::ZERO);
        let to = rows::slot_key(address, U256::MAX);
        for row in tables.storage.range::<&[u8; 52]>(&from..=&to)? {
            let (key, value) = row?;
            let corrupt = |fault: rows::RowFault| StoreError::corrupt("storage", key.value(), fault.0);
            let value = rows::value(value.value()).map_err(corrupt)?;
            if value.is_zero() {
                report.fault(format!("a slot of {address} holds zero"));
            }
            let slot = rows::slot_of_key(key.value());
            if keys >= KEYS_PER_STEP {
                scratch.apply(&std::mem::take(&mut changes))?;
                keys = 0;
            }
            // After a step the account itself is in the tree already: only storage is added then.
            let only_storage = || AccountChange {
                before: Some(account),
                after: Some(account),
                ..AccountChange::default()
            };
            let change = changes.accounts.entry(address).or_insert_with(only_storage);
            change.storage.insert(slot, (U256::ZERO, value));
            keys += 1;
            report.slots += 1;
            progress.inc(1);
        }
        if keys >= KEYS_PER_STEP {
            scratch.apply(&std::mem::take(&mut changes))?;
            keys = 0;
        }
    }
    scratch.apply(&changes)?;
    report.equal("slots of existing accounts", tables.storage.len()?, report.slots);
    let latest = query::must_header(tables, snapshot.head(Head::Latest)?.number)?;
    report.equal(
        "state root of the flat state",
        latest.header.state_root,
        scratch.root,
    );
    scratch.compare(snapshot, report)?;
    progress.finish_and_clear();
    Ok(())
}

/// A tree that is built beside the store, in a file that goes away with it.
struct Scratch {
    db: Database,
    root: B256,
    _file: TemporaryFile,
}

struct TemporaryFile(PathBuf);

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        // Nothing depends on the removal: the name is this process's own and the folder is for temporary files.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Scratch {
    fn create() -> Result<Self, StoreError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("bitsect-check-{}-{count}.redb", std::process::id());
        let file = TemporaryFile(std::env::temp_dir().join(name));
        if file.0.exists() {
            std::fs::remove_file(&file.0).map_err(|source| StoreError::File {
                path: file.0.display().to_string(),
                source,
            })?;
        }
        let db = Database::builder()
            .set_cache_size(SCRATCH_CACHE)
            .create(&file.0)?;
        let mut scratch = Self {
            db,
            root: B256::ZERO,
            _file: file,
        };
        scratch.apply(&StateChanges::default())?;
        Ok(scratch)
    }

    fn apply(&mut self, changes: &StateChanges) -> Result<(), StoreError> {
        let mut txn = self.db.begin_write()?;
        txn.set_durability(Durability::None)?;
        {
            let mut table = txn.open_table(SCRATCH_TREE)?;
            let reader = TableTree {
                table: &table,
                pages: PageReader::new(),
            };
            let updated =
                update(self.root, changes, &reader).map_err(|error| StoreError::Tree(error.to_string()))?;
            tree::apply(&mut table, &updated.nodes)?;
            self.root = updated.root;
        }
        txn.commit()?;
        Ok(())
    }

    /// Compares the rows of the stored tree with those of the rebuilt one.
    fn compare(&self, snapshot: &Snapshot, report: &mut CheckReport) -> Result<(), StoreError> {
        let rebuilt = self.db.begin_read()?.open_table(SCRATCH_TREE)?;
        let stored = &snapshot.tables().tree;
        report.equal("rows of tree", rebuilt.len()?, stored.len()?);
        for (expected, got) in rebuilt.iter()?.zip(stored.iter()?) {
            let ((key, expected), (got_key, got)) = (expected?, got?);
            if key.value() != got_key.value() || expected.value() != got.value() {
                let key = alloy_primitives::hex::encode(key.value());
                report.fault(format!("tree page {key} is not what the flat state gives"));
                return Ok(());
            }
        }
        Ok(())
    }
}
