//! Copies: blocks to a file of RLP, the whole store to a new store.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::Path;

use alloy_consensus::{Block, BlockBody};
use alloy_rlp::Encodable;
use eyre::{Context, ensure, eyre};
use indicatif::ProgressBar;
use redb::Database;

use super::ExportArgs;
use crate::store::tables::{View, WriteTables};
use crate::store::{Head, Snapshot, Store, StoreOptions, query};

/// Rows between two moves of the progress bar.
const ROWS_PER_TICK: u64 = 4_096;

/// Writes blocks to a new file, each as the RLP list of header, transactions and (empty) uncles and withdrawals.
/// Gives how many.
///
/// # Errors
///
/// When the file exists or cannot be written, or a block is not in the store.
pub fn export(
    snapshot: &Snapshot,
    args: &ExportArgs,
    bar: &dyn Fn(u64, &str) -> ProgressBar,
) -> eyre::Result<u64> {
    let latest = snapshot.head(Head::Latest)?.number;
    let to = args.to.unwrap_or(latest);
    ensure!(
        args.from <= to && to <= latest,
        "blocks {} to {to} are not within 0 to {latest}",
        args.from
    );
    let file = OpenOptions::new().write(true).create_new(true).open(&args.file);
    let mut file = BufWriter::new(file.with_context(|| format!("failed to create {}", args.file.display()))?);
    let progress = bar(to - args.from + 1, "exporting");
    let mut bytes = Vec::new();
    for number in args.from..=to {
        let header = query::must_header(snapshot.tables(), number)?.header;
        let body = snapshot
            .body(number)?
            .ok_or_else(|| eyre!("block {number} has no body"))?;
        let transactions = body.into_iter().map(|(_, transaction)| transaction).collect();
        let withdrawals = header.withdrawals_root.map(|_| Default::default());
        let block = Block {
            header,
            body: BlockBody {
                transactions,
                ommers: Vec::new(),
                withdrawals,
            },
        };
        bytes.clear();
        block.encode(&mut bytes);
        file.write_all(&bytes)?;
        progress.inc(1);
    }
    file.into_inner()
        .map_err(|error| error.into_error())?
        .sync_all()?;
    progress.finish_and_clear();
    Ok(to - args.from + 1)
}

/// Writes a compact copy of the store to a new file, under another name until it is complete. Gives how many rows.
///
/// # Errors
///
/// When the file exists, or reading or writing fails.
pub fn snapshot(store: &Store, file: &Path, bar: &dyn Fn(u64, &str) -> ProgressBar) -> eyre::Result<u64> {
    ensure!(!file.exists(), "{} exists", file.display());
    let mut partial = file.as_os_str().to_owned();
    partial.push(".partial");
    let partial = Path::new(&partial);
    let view = store.read()?;
    let total = view.tables().table_stats()?.iter().map(|(_, rows, _)| rows).sum();
    let progress = bar(total, "copying");
    if partial.exists() {
        std::fs::remove_file(partial).context("failed to remove the rest of an earlier copy")?;
    }
    let db = Database::create(partial)?;
    let txn = db.begin_write()?;
    let mut rows = 0;
    WriteTables::open(&txn)?.copy_all(view.tables(), |table| {
        rows += 1;
        if rows % ROWS_PER_TICK == 0 {
            progress.set_message(table);
            progress.set_position(rows);
        }
    })?;
    txn.commit()?;
    db.close()?;
    progress.finish_and_clear();
    let copy = Store::open(partial, &store.identity()?, StoreOptions::default())?;
    let (expected, got) = (view.head(Head::Latest)?, copy.read()?.head(Head::Latest)?);
    ensure!(
        expected == got,
        "the copy's latest block is {got:?}, expected {expected:?}"
    );
    drop(copy);
    std::fs::rename(partial, file)?;
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        File::open(folder)?.sync_all()?;
    }
    Ok(rows)
}
