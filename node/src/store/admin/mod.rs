//! `bitsect-node db`: looking after a store while no node runs on it.

mod check;
mod copy;
mod sums;

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use eyre::{Context, ensure};
use indicatif::{ProgressBar, ProgressStyle};

use super::{Head, Snapshot, Store, StoreError, StoreOptions, query, tables::View};

pub use check::{CheckReport, check};
pub use copy::{export, snapshot};

/// Rows that one write of a prune removes: some 10 ms.
const PRUNE_ROWS: u64 = 10_000;

/// What to do with a store. No node may run on it.
#[derive(Debug, Subcommand)]
pub enum DbCommand {
    /// Check every invariant: hashes, roots, indexes both ways, state tree against the flat state.
    Check,
    /// Print heads, bounds, and the size of each table.
    Stats,
    /// Forget old states.
    Prune(PruneArgs),
    /// Take the chain back to a block.
    Rollback(RollbackArgs),
    /// Write blocks to a file, as RLP like Geth's export.
    Export(ExportArgs),
    /// Write a compact copy of the store to a new file.
    Snapshot(SnapshotArgs),
}

/// Arguments of `db prune`.
#[derive(Debug, Args)]
pub struct PruneArgs {
    /// States to keep below the latest block; those above the finalized block are always kept.
    #[arg(long, value_name = "BLOCKS")]
    pub keep_blocks: u64,
    /// L1 blocks to keep chain states for: how deep an L1 reorg can be followed.
    #[arg(long, value_name = "L1_BLOCKS", default_value_t = 1_000)]
    pub keep_l1_blocks: u32,
    /// Give unused space back to the file system afterwards.
    #[arg(long)]
    pub compact: bool,
}

/// Arguments of `db rollback`.
#[derive(Debug, Args)]
pub struct RollbackArgs {
    /// The block that is the latest one afterwards; not below the finalized one.
    #[arg(long, value_name = "BLOCK")]
    pub to: u64,
}

/// Arguments of `db export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The file to write; it must not exist.
    pub file: PathBuf,
    /// First block.
    #[arg(long, default_value_t = 0)]
    pub from: u64,
    /// Last block; the latest one when not given.
    #[arg(long)]
    pub to: Option<u64>,
}

/// Arguments of `db snapshot`.
#[derive(Debug, Args)]
pub struct SnapshotArgs {
    /// The file to write; it must not exist.
    pub file: PathBuf,
}

/// Runs an admin command on the store at `path`, printing its result to `out`.
///
/// # Errors
///
/// When the store cannot be opened, the command fails, or `check` finds a fault.
pub fn run_db(command: &DbCommand, path: &Path, out: &mut dyn Write) -> eyre::Result<()> {
    let repair = bar(100, "recovering");
    let options = StoreOptions {
        on_repair: Some(Box::new(move |done| repair.set_position((done * 100.0) as u64))),
        ..StoreOptions::default()
    };
    let mut store = Store::open_any(path, options)
        .with_context(|| format!("failed to open the store {}", path.display()))?;
    match command {
        DbCommand::Check => {
            let report = check(&store.read()?, &bar)?;
            write!(out, "{report}")?;
            ensure!(
                report.faults.is_empty(),
                "the store has {} faults",
                report.faults.len()
            );
        }
        DbCommand::Stats => stats(&store.read()?, path, out)?,
        DbCommand::Prune(args) => prune(&mut store, args, out)?,
        DbCommand::Rollback(args) => {
            let removed = rollback(&store, args.to).context("failed to roll back")?;
            writeln!(out, "removed {removed} blocks; the latest is {}", args.to)?;
        }
        DbCommand::Export(args) => {
            let blocks = export(&store.read()?, args, &bar).context("failed to export")?;
            writeln!(out, "wrote {blocks} blocks to {}", args.file.display())?;
        }
        DbCommand::Snapshot(args) => {
            let rows = snapshot(&store, &args.file, &bar).context("failed to copy")?;
            writeln!(out, "wrote {rows} rows to {}", args.file.display())?;
        }
    }
    Ok(())
}

/// Makes a progress bar on the terminal; there is none when standard error is not one.
fn bar(length: u64, label: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:20} {wide_bar} {human_pos}/{human_len} {eta}")
        .expect("the template is valid");
    ProgressBar::new(length)
        .with_style(style)
        .with_message(label.to_owned())
}

fn stats(snapshot: &Snapshot, path: &Path, out: &mut dyn Write) -> eyre::Result<()> {
    let tables = snapshot.tables();
    let (latest, l1) = (snapshot.head(Head::Latest)?, snapshot.last_l1_block()?);
    writeln!(out, "file       {} bytes", std::fs::metadata(path)?.len())?;
    writeln!(out, "latest     {} {}", latest.number, latest.hash)?;
    writeln!(out, "safe       {}", snapshot.head(Head::Safe)?.number)?;
    writeln!(out, "finalized  {}", snapshot.head(Head::Finalized)?.number)?;
    writeln!(
        out,
        "states     {} to {}",
        snapshot.history_start()?,
        latest.number
    )?;
    writeln!(out, "units      {}", snapshot.unit_count()?)?;
    writeln!(out, "L1 block   {} {:x}", l1.height, l1.hash)?;
    writeln!(
        out,
        "{:18}{:>14}{:>18}{:>18}",
        "table", "rows", "bytes stored", "bytes in pages"
    )?;
    for (name, rows, stats) in tables.table_stats()? {
        let pages = stats.stored_bytes() + stats.metadata_bytes() + stats.fragmented_bytes();
        writeln!(out, "{name:18}{rows:>14}{:>18}{pages:>18}", stats.stored_bytes())?;
    }
    Ok(())
}

fn prune(store: &mut Store, args: &PruneArgs, out: &mut dyn Write) -> eyre::Result<()> {
    let snapshot = store.read()?;
    let keep_from = snapshot
        .head(Head::Latest)?
        .number
        .saturating_sub(args.keep_blocks);
    let keep_l1_from = snapshot
        .last_l1_block()?
        .height
        .saturating_sub(args.keep_l1_blocks);
    let progress = bar(keep_from.saturating_sub(snapshot.history_start()?), "pruning");
    drop(snapshot);
    let mut removed = 0;
    loop {
        let (states, l1) = store.write(|writer| -> Result<_, StoreError> {
            let states = writer.prune_history(keep_from, PRUNE_ROWS)?;
            Ok((states, writer.prune_l1_states(keep_l1_from, PRUNE_ROWS)?))
        })?;
        removed += states.removed + l1.removed;
        if states.done && l1.done {
            break;
        }
        let first = store.read()?.history_start()?;
        progress.set_position(
            progress
                .length()
                .unwrap_or(0)
                .saturating_sub(keep_from.saturating_sub(first)),
        );
    }
    progress.finish_and_clear();
    writeln!(
        out,
        "removed {removed} rows; states are held from block {}",
        store.read()?.history_start()?
    )?;
    if args.compact {
        let smaller = store.compact().context("failed to compact")?;
        writeln!(
            out,
            "{}",
            if smaller {
                "compacted"
            } else {
                "nothing to compact"
            }
        )?;
    }
    Ok(())
}

/// Takes the chain back to a block, with the units, L1 blocks and batches that go beyond it. Gives how many blocks
/// were removed.
///
/// # Errors
///
/// [`StoreError::BelowHead`] below the finalized block, and what the two rollbacks of [`super::Writer`] refuse.
pub fn rollback(store: &Store, to: u64) -> Result<u64, StoreError> {
    store.write(|writer| {
        let first_gone = query::unit_of_block(&writer.tables, to.saturating_add(1))?;
        if let Some(unit) = first_gone {
            let mut l1 = query::last_l1_block(&writer.tables)?;
            while l1.units >= unit {
                let below = l1.height.saturating_sub(1);
                l1 = query::l1_block(&writer.tables, below)?.ok_or_else(|| {
                    StoreError::corrupt("l1_blocks", &below.to_be_bytes(), "the row is missing")
                })?;
            }
            writer.rollback_l1_to(l1.height)?;
        }
        if query::head_number(&writer.tables, Head::Safe)? > to {
            writer.set_safe(to)?;
        }
        Ok(writer.rollback_latest_to(to)?.len() as u64)
    })
}
