//! Keeps the store within what the configuration wants kept.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::store::{Head, Store, StoreError};

/// How often old rows are looked for.
const EVERY: Duration = Duration::from_secs(60);
/// Rows removed in one write: some 10 ms, in which no block can be stored.
const ROWS: u64 = 10_000;
/// L1 blocks whose chain states are kept: as deep as a reorg is followed.
const L1_STATES: u32 = 2_016;

/// Prunes until `shutdown`: states older than `history` blocks, when that is given, and chain states of L1 blocks that no
/// reorg reaches.
///
/// # Errors
/// When the store fails.
pub async fn run(store: Store, history: Option<u64>, shutdown: CancellationToken) -> eyre::Result<()> {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(EVERY) => {}
        }
        let (store, stop) = (store.clone(), shutdown.clone());
        tokio::task::spawn_blocking(move || prune(&store, history, &stop)).await??;
    }
}

fn prune(store: &Store, history: Option<u64>, stop: &CancellationToken) -> Result<(), StoreError> {
    let snapshot = store.read()?;
    let latest = snapshot.head(Head::Latest)?.number;
    let l1 = snapshot.last_l1_block()?.height;
    // A view holds the pages that are to be freed.
    drop(snapshot);
    if let Some(keep_from) = history.and_then(|history| latest.checked_sub(history)) {
        while !stop.is_cancelled() && !store.write(|writer| writer.prune_history(keep_from, ROWS))?.done {}
    }
    if let Some(keep_from) = l1.checked_sub(L1_STATES) {
        while !stop.is_cancelled()
            && !store
                .write(|writer| writer.prune_l1_states(keep_from, ROWS))?
                .done
        {}
    }
    Ok(())
}
