//! A batch's transactions at a higher fee: same baton, same payload.

use std::sync::Arc;

use bitcoin::Transaction;
use bitsect_l1::sender::{Job, Rebuild, Terms};
use bitsect_l1::wallet::{SignedTx, Wallet};
use bitsect_vm::chain::OutPoint;

use super::transaction::{BATON_VOUT, Baton, Builder};
use crate::convert;
use crate::store::Store;

/// Why a transaction cannot be built anew. The sender reports it, lifts instead, or tries again.
#[derive(Debug, thiserror::Error)]
enum RebuildError {
    #[error("the job names no baton")]
    Baton,
    #[error("the store has no payload for baton {0}")]
    Payload(bitcoin::OutPoint),
    #[error("slot {0} is not in the job")]
    Slot(usize),
}

/// Builds transactions of stored batches anew.
pub(super) struct Rebuilder {
    store: Store,
    wallet: Arc<Wallet>,
    builder: Arc<Builder>,
}

impl Rebuilder {
    pub(super) fn new(store: Store, wallet: Arc<Wallet>, builder: Arc<Builder>) -> Self {
        Self {
            store,
            wallet,
            builder,
        }
    }
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

impl Rebuild for Rebuilder {
    fn rebuild(&self, job: &Job, slot: usize, terms: &Terms) -> Result<Vec<(usize, SignedTx)>, AnyError> {
        let baton = baton_of(job).ok_or(RebuildError::Baton)?;
        let outpoint = convert::outpoint(&baton);
        let stored = self
            .store
            .read()?
            .job(&baton)?
            .ok_or(RebuildError::Payload(outpoint))?;
        let payload = &stored.payload;
        if slot >= job.slots.len() {
            return Err(RebuildError::Slot(slot).into());
        }
        let back = |slot: usize| {
            job.current(slot)
                .tx
                .output
                .first()
                .map(|output| output.script_pubkey.clone())
        };
        if let Some(index) = slot.checked_sub(1) {
            let commit = &job.current(0).tx;
            let back = back(slot).ok_or(RebuildError::Slot(slot))?;
            let reveal = self
                .builder
                .reveal(commit, payload, index, &back, terms.rate, terms.min_fee)?;
            return Ok(vec![(slot, reveal)]);
        }
        let replaced: Vec<&Transaction> = (0..job.slots.len()).map(|slot| &job.current(slot).tx).collect();
        // A baton is passed on with its value, so the old commit tells what it spends.
        let spent = replaced[0]
            .output
            .get(BATON_VOUT as usize)
            .cloned()
            .ok_or(RebuildError::Slot(0))?;
        let on_bitcoin = Baton {
            outpoint,
            output: spent,
        };
        let commit = self.builder.commit(
            &self.wallet,
            &on_bitcoin,
            payload,
            terms.rate,
            &replaced,
            terms.min_fee,
        )?;
        let mut built = Vec::with_capacity(job.slots.len());
        for index in 0..job.slots.len() - 1 {
            let back = back(index + 1).ok_or(RebuildError::Slot(index + 1))?;
            let least = bitcoin::Amount::ZERO;
            let reveal = self
                .builder
                .reveal(&commit.tx, payload, index, &back, terms.rate, least);
            match reveal {
                Ok(reveal) => built.push((index + 1, reveal)),
                Err(error) => {
                    self.wallet.release(&commit.tx);
                    return Err(error.into());
                }
            }
        }
        built.insert(0, (0, commit));
        Ok(built)
    }
}

/// Gives what a job keeps of its baton.
pub(super) fn encode_baton(baton: &OutPoint) -> Vec<u8> {
    [baton.txid.as_slice(), &baton.vout.to_be_bytes()].concat()
}

/// Reads the baton that a job belongs to; `None` for a job of another kind.
pub(super) fn baton_of(job: &Job) -> Option<OutPoint> {
    let (txid, vout) = job.data.split_at_checked(32)?;
    Some(OutPoint {
        txid: txid.try_into().ok()?,
        vout: u32::from_be_bytes(vout.try_into().ok()?),
    })
}
