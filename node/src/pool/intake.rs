//! The way into the pool: two threads, so that signatures are recovered in parallel while the journal syncs.
//!
//! Arrivals are taken in groups. One thread decodes a group and recovers its senders on all cores; the other
//! inserts it, writes it to the journal with one sync, and only then answers. While a group syncs the next
//! one gathers, so that the load itself makes the groups large.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Bytes, TxHash};
use bitsect_vm::state::StateChanges;
use rayon::prelude::*;
use tokio::sync::{mpsc, oneshot};

use super::index::{Arrival, Cause};
use super::journal::Journal;
use super::{PoolError, PoolTx, Shared, transaction};

/// Transactions that wait for a place in a group; beyond it `add` waits.
pub(super) const INTAKE_CAPACITY: usize = 8192;
/// Transactions in one group: some 50 ms of signature recovery on one core.
const GROUP_LIMIT: usize = 1024;
/// Transactions that are worth waking a thread for: some 0.5 ms of signature recovery.
const LEAST_SHARE: usize = 12;
/// Checked groups that wait for the journal.
const CHECKED_GROUPS: usize = 2;
/// The journal is rewritten when it is this long and mostly dead.
const COMPACT_BYTES: u64 = 4 * 1024 * 1024;

/// What the intake is asked to do.
pub(super) enum Request {
    /// Add an encoded transaction.
    Add(Bytes, oneshot::Sender<Result<TxHash, PoolError>>),
    /// Make transactions durable without adding them.
    Preserve(Vec<Bytes>, oneshot::Sender<Result<(), PoolError>>),
    /// Follow a rollback, and add what was made durable before it; the answer is how many there are.
    Rollback(StateChanges, Vec<Bytes>, oneshot::Sender<usize>),
    /// A block was included: see whether the journal is worth rewriting.
    Compact,
}

enum Checked {
    Add(
        Bytes,
        Box<Result<PoolTx, PoolError>>,
        oneshot::Sender<Result<TxHash, PoolError>>,
    ),
    Preserve(Vec<Bytes>, oneshot::Sender<Result<(), PoolError>>),
    Rollback(
        StateChanges,
        Vec<Result<PoolTx, PoolError>>,
        oneshot::Sender<usize>,
    ),
    Compact,
}

/// Starts both threads. They end when the last sender of requests is gone.
pub(super) fn start(
    shared: Arc<Shared>,
    journal: Journal,
    requests: mpsc::Receiver<Request>,
) -> std::io::Result<()> {
    let (to_writer, checked) = sync_channel(CHECKED_GROUPS);
    let checker = shared.clone();
    // Threads of its own: a check may wait for the store's writer, and the writer for rayon's common threads.
    let threads = rayon::ThreadPoolBuilder::new().thread_name(|index| format!("pool-recover-{index}"));
    let threads = threads.build().map_err(std::io::Error::other)?;
    std::thread::Builder::new()
        .name("pool-check".into())
        .spawn(move || check(&checker, &threads, requests, &to_writer))?;
    std::thread::Builder::new()
        .name("pool-journal".into())
        .spawn(move || write(&shared, journal, &checked))?;
    Ok(())
}

fn check(
    shared: &Shared,
    threads: &rayon::ThreadPool,
    mut requests: mpsc::Receiver<Request>,
    to_writer: &SyncSender<Vec<Checked>>,
) {
    while let Some(first) = requests.blocking_recv() {
        let mut group = vec![first];
        while group.len() < GROUP_LIMIT {
            match requests.try_recv() {
                Ok(request) => group.push(request),
                Err(_) => break,
            }
        }
        let check_raw = |raw: &Bytes| transaction::check(raw, &shared.config, |tx| shared.state.l1_fee(tx));
        let check_one = |request| match request {
            Request::Add(raw, reply) => {
                let checked = check_raw(&raw);
                Checked::Add(raw, Box::new(checked), reply)
            }
            Request::Preserve(raw, reply) => Checked::Preserve(raw, reply),
            Request::Rollback(changes, raw, reply) => {
                let checked = threads.install(|| raw.par_iter().map(check_raw).collect());
                Checked::Rollback(changes, checked, reply)
            }
            Request::Compact => Checked::Compact,
        };
        // A lone transaction is not worth waking other threads for.
        let group: Vec<_> = match group.len() {
            1 => group.into_iter().map(check_one).collect(),
            _ => threads.install(|| {
                let group = group.into_par_iter().with_min_len(LEAST_SHARE);
                group.map(check_one).collect()
            }),
        };
        if to_writer.send(group).is_err() {
            return;
        }
    }
}

fn write(shared: &Shared, mut journal: Journal, groups: &Receiver<Vec<Checked>>) {
    while let Ok(group) = groups.recv() {
        write_group(shared, &mut journal, group);
    }
}

fn write_group(shared: &Shared, journal: &mut Journal, group: Vec<Checked>) {
    let (mut added, mut preserved, mut compact) = (Vec::new(), Vec::new(), false);
    for item in group {
        match item {
            Checked::Add(raw, checked, reply) => {
                match checked.and_then(|tx| shared.insert(tx, Arrival::Fresh)) {
                    Ok(hash) => added.push((raw, hash, reply)),
                    // The caller may have gone; nobody else needs the answer.
                    Err(error) => drop(reply.send(Err(error))),
                }
            }
            Checked::Preserve(raw, reply) => preserved.push((raw, reply)),
            Checked::Rollback(changes, checked, reply) => {
                // The caller may have gone.
                let _ = reply.send(rollback(shared, &changes, checked));
            }
            Checked::Compact => compact = true,
        }
    }
    let records = added.iter().map(|(raw, _, _)| raw.as_ref());
    let kept = preserved
        .iter()
        .flat_map(|(raw, _)| raw.iter().map(|raw| raw.as_ref()));
    match journal.append(records.chain(kept)) {
        Ok(()) => {
            for (_, hash, reply) in added {
                drop(reply.send(Ok(hash)));
            }
            for (raw, reply) in preserved {
                shared.preserved.lock().extend(raw);
                drop(reply.send(Ok(())));
            }
        }
        Err(error) => {
            tracing::error!(%error, "failed to write the transaction journal: transactions are refused until a restart");
            let error = PoolError::Journal {
                reason: error.to_string(),
            };
            for (_, hash, reply) in added {
                shared.index.lock().remove(&hash);
                drop(reply.send(Err(error.clone())));
            }
            for (_, reply) in preserved {
                drop(reply.send(Err(error.clone())));
            }
        }
    }
    if compact {
        compact_journal(shared, journal);
    }
}

/// Follows a rollback. The journal holds the transactions already; the copy that kept them there is let go of.
fn rollback(shared: &Shared, changes: &StateChanges, checked: Vec<Result<PoolTx, PoolError>>) -> usize {
    shared.update(&[], changes, Cause::Rollback);
    let mut back = 0;
    for tx in checked {
        match tx.and_then(|tx| shared.insert(tx, Arrival::Returned)) {
            Ok(_) => back += 1,
            Err(error) => tracing::debug!(%error, "a transaction of a removed block is not pending again"),
        }
    }
    shared.preserved.lock().clear();
    back
}

/// Rewrites the journal when most of it is no longer needed.
fn compact_journal(shared: &Shared, journal: &mut Journal) {
    if journal.len() < COMPACT_BYTES {
        return;
    }
    let held = {
        let preserved: usize = shared.preserved.lock().iter().map(|raw| raw.len()).sum();
        shared.index.lock().bytes().saturating_add(preserved)
    };
    if journal.len() / 2 < held as u64 {
        return;
    }
    if let Err(error) = rewrite(shared, journal) {
        tracing::error!(%error, "failed to rewrite the transaction journal; the old one stays");
    }
}

/// Writes a journal of exactly what the pool holds.
pub(super) fn rewrite(shared: &Shared, journal: &mut Journal) -> std::io::Result<()> {
    let started = Instant::now();
    let preserved = shared.preserved.lock().clone();
    let live: Vec<Vec<u8>> = shared
        .index
        .lock()
        .in_order()
        .iter()
        .map(|tx| tx.tx.encoded_2718())
        .collect();
    let before = journal.len();
    journal.rewrite(
        preserved
            .iter()
            .map(|raw| raw.as_ref())
            .chain(live.iter().map(Vec::as_slice)),
    )?;
    tracing::debug!(before, after = journal.len(), elapsed = ?started.elapsed(), "rewrote the transaction journal");
    Ok(())
}
