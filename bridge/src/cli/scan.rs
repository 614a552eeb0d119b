//! Reads Bitcoin's blocks without a daemon.

use bitcoin::{OutPoint, Transaction};
use bitsect_l1::BlockRef;
use bitsect_l1::rpc::Client;
use eyre::{WrapErr, bail};

use super::user::Progress;
use crate::user::Terms;
use crate::vault::VaultState;

/// How often the chain may change while it is read.
const ATTEMPTS: u32 = 5;

/// Reads the vault, with the slots' tickets. Gives the height of the last block, too.
///
/// # Errors
/// Where Bitcoin Core cannot be asked, or the chain changes again and again.
pub(super) async fn scan_vault(
    client: &Client,
    terms: &Terms,
    tickets: &[Option<OutPoint>],
) -> eyre::Result<(u32, VaultState)> {
    let _progress = Progress::new("reading Bitcoin's blocks");
    let begin = || VaultState::new(terms.clone(), tickets.to_vec());
    let apply = |vault: &mut VaultState, transaction: &Transaction, height| {
        vault.apply(transaction, height);
    };
    scan(client, terms.start, begin, apply).await
}

/// Gives every transaction of the blocks above one to a state, and again to a new one where a reorg comes in between. Gives the
/// height of the last block, and the state.
///
/// # Errors
/// Where Bitcoin Core cannot be asked, or the chain changes again and again.
pub(super) async fn scan<S>(
    client: &Client,
    above: BlockRef,
    begin: impl Fn() -> S,
    mut apply: impl FnMut(&mut S, &Transaction, u32),
) -> eyre::Result<(u32, S)> {
    let failed = "failed to ask Bitcoin Core for blocks";
    'again: for _ in 0..ATTEMPTS {
        let tip = client.get_blockchain_info().await.wrap_err(failed)?.blocks;
        let (mut state, mut last) = (begin(), above.hash);
        for height in above.height + 1..=tip {
            let Some(hash) = client.get_block_hash(height).await.wrap_err(failed)? else {
                continue 'again;
            };
            let block = client.get_block(&hash).await.wrap_err(failed)?;
            if block.header.prev_blockhash != last {
                continue 'again;
            }
            last = hash;
            for transaction in &block.txdata {
                apply(&mut state, transaction, height);
            }
        }
        return Ok((tip, state));
    }
    bail!("failed to read Bitcoin's blocks: the chain changed {ATTEMPTS} times meanwhile")
}
