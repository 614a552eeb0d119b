//! The L1 unit: what one Bitcoin block changes in chain state.

use alloc::vec::Vec;
use core::cell::OnceCell;

use super::bitcoin::{L1Block, L1Transaction};
use super::cursor::HeaderError;
use super::deposit::{accepted_sats, deposit_keep, find_deposit, vault_script};
use super::envelope::{commit_frames, frame_of_script};
use super::inbox::{AcceptedDeposit, InboxItem, encode_items, forced_of_script};
use super::record::find_records;
use crate::chain::{
    BlobRef, Blobs, ChainParams, ChainState, CommittedBatch, Frame, L1Info, L1Network, OpenBatch,
    OpenDeposit, Origin, OutPoint,
};

/// Most batches that may wait for their reveals; commits beyond move the baton only.
const MAX_COMMITTED_BATCHES: usize = 256;
/// Most deposit outputs that may wait for acceptance.
pub const MAX_OPEN_DEPOSITS: usize = 4_096;
/// The lowest fee rate that is ever recorded, sat per 1,000 vB: what Bitcoin relays.
const MIN_FEE_RATE: u64 = 1_000;
/// The subsidy before the first halving, in sats.
const INITIAL_SUBSIDY: u64 = 5_000_000_000;

/// Why an L1 unit cannot be applied. The chain state is unchanged then.
#[derive(Debug, thiserror::Error)]
pub enum L1UnitError<E: core::error::Error> {
    /// The block does not follow the cursor: it is not the advice this unit asks for.
    #[error("header: {0}")]
    Header(#[from] HeaderError),
    /// The medium that keeps blobs failed.
    #[error("blob store: {0}")]
    Blobs(E),
}

/// Applies one L1 block: it moves the cursor and collects the block's commits, reveals, deposits and forced
/// transactions.
///
/// # Errors
/// Where the block does not follow, or the blob store fails; `state` is unchanged then.
pub fn process_l1_block<B: Blobs>(
    params: &ChainParams,
    state: &mut ChainState,
    block: &L1Block<'_>,
    blobs: &mut B,
) -> Result<(), L1UnitError<B::Error>> {
    let mut cursor = state.l1.clone();
    let height = cursor.height.saturating_add(1);
    cursor.advance(
        params.derive.network,
        &block.header,
        average_fee_rate(params.derive.network, height, block),
    )?;
    let scan = Scan::new(params, state, height);
    let found = scan.run(block, blobs).map_err(L1UnitError::Blobs)?;
    let items = encode_items(&found.items);
    let item_count = u32::try_from(found.items.len()).unwrap_or(u32::MAX);
    let origin = Origin {
        info: L1Info {
            height,
            hash: cursor.hash,
            merkle_root: block.header.merkle_root,
            time: block.header.time,
            median_time_past: cursor.median_time_past(),
            fee_rate: cursor.median_fee_rate().max(MIN_FEE_RATE),
        },
        item_count,
        items: BlobRef::of(&items),
    };
    if item_count > 0 {
        blobs.put(origin.items, items).map_err(L1UnitError::Blobs)?;
    }
    state.l1 = cursor;
    state.baton = found.baton;
    state.batches = found.batches;
    state.deposits = found.deposits;
    state.origins.push(origin);
    settle(params, state);
    Ok(())
}

/// Brings the queue of batches into the form that it has between units: void ones are gone, and the first is open
/// when it is complete.
pub(crate) fn settle(params: &ChainParams, state: &mut ChainState) {
    let timeout = params.derive.reveal_timeout;
    while state.open.is_none() {
        let Some(first) = state.batches.first() else {
            return;
        };
        let lost = first.frames.contains(&Frame::LOST);
        let complete: Option<Vec<BlobRef>> = first.frames.iter().map(Frame::blob).collect();
        match complete {
            Some(frames) => {
                state.open = Some(OpenBatch {
                    commit: first.commit,
                    frames,
                    next: 0,
                })
            }
            None if lost || state.l1.height >= first.height.saturating_add(timeout) => {}
            None => return,
        }
        state.batches.remove(0);
    }
}

/// What has been found in the part of a block that was read.
struct Scan<'a> {
    params: &'a ChainParams,
    /// Computed where the first deposit is spent: curve arithmetic is most of what a block costs the machine.
    vault_script: OnceCell<Vec<u8>>,
    height: u32,
    baton: OutPoint,
    batches: Vec<CommittedBatch>,
    deposits: Vec<OpenDeposit>,
    items: Vec<InboxItem>,
}

impl<'a> Scan<'a> {
    fn new(params: &'a ChainParams, state: &ChainState, height: u32) -> Self {
        Self {
            params,
            vault_script: OnceCell::new(),
            height,
            baton: state.baton,
            batches: state.batches.clone(),
            deposits: state.deposits.clone(),
            items: Vec::new(),
        }
    }

    fn run<B: Blobs>(mut self, block: &L1Block<'_>, blobs: &mut B) -> Result<Self, B::Error> {
        for transaction in block.transactions.iter().skip(1) {
            for (index, input) in transaction.inputs.iter().enumerate() {
                let spent = &input.previous_output;
                // An output may be several of these: who makes a commit chooses the scripts of its outputs.
                if *spent == self.baton {
                    self.pass_baton(transaction);
                }
                if let Some(frame) = self.data_output(spent) {
                    let script = input.leaf_script().and_then(frame_of_script);
                    *frame = match &script {
                        Some(bytes) => Frame::revealed(BlobRef::of(bytes)),
                        None => Frame::LOST,
                    };
                    if let (Some(blob), Some(bytes)) = (frame.blob(), script) {
                        blobs.put(blob, bytes)?;
                    }
                }
                if let Ok(at) = self.deposits.binary_search_by(|open| open.outpoint.cmp(spent)) {
                    self.close_deposit(at, transaction, index);
                }
            }
            self.scan_outputs(transaction, blobs)?;
        }
        Ok(self)
    }

    /// Whoever spends the baton passes it to the first output, with a batch or without one.
    fn pass_baton(&mut self, transaction: &L1Transaction<'_>) {
        self.baton = OutPoint {
            txid: transaction.txid,
            vout: 0,
        };
        if let Some(frames) = commit_frames(transaction)
            && self.batches.len() < MAX_COMMITTED_BATCHES
        {
            let frames = (0..frames).map(|_| Frame::HIDDEN).collect();
            self.batches.push(CommittedBatch {
                commit: transaction.txid,
                height: self.height,
                frames,
            });
        }
    }

    fn data_output(&mut self, outpoint: &OutPoint) -> Option<&mut Frame> {
        let batch = self
            .batches
            .iter_mut()
            .find(|batch| batch.commit == outpoint.txid)?;
        let index = usize::try_from(outpoint.vout).ok()?.checked_sub(1)?;
        batch.frames.get_mut(index)
    }

    fn close_deposit(&mut self, at: usize, transaction: &L1Transaction<'_>, index: usize) {
        let deposit = self.deposits.remove(at);
        let vout = u32::try_from(index).unwrap_or(u32::MAX);
        if let Some(sats) = accepted_sats(self.vault_script(), transaction, index) {
            let vault_output = OutPoint {
                txid: transaction.txid,
                vout,
            };
            self.items.push(InboxItem::Deposit(AcceptedDeposit {
                vault_output,
                to: deposit.to,
                sats,
                call: deposit.call,
            }));
        }
    }

    /// Notes a transaction's deposit. Where there are as many as may be, it takes a forgotten one's place, or is none.
    fn open_deposit<B: Blobs>(
        &mut self,
        transaction: &L1Transaction<'_>,
        blobs: &mut B,
    ) -> Result<(), B::Error> {
        let mut forgotten = None;
        let has_room = || {
            let is_full = self.deposits.len() >= MAX_OPEN_DEPOSITS;
            forgotten = if is_full { self.forgotten_deposit() } else { None };
            !is_full || forgotten.is_some()
        };
        let Some((outpoint, tag)) = find_deposit(&self.params.derive, transaction, has_room) else {
            return Ok(());
        };
        if let Some(at) = forgotten {
            self.deposits.remove(at);
        }
        let Err(at) = self
            .deposits
            .binary_search_by(|open| open.outpoint.cmp(&outpoint))
        else {
            return Ok(());
        };
        let mut call = BlobRef::default();
        if let Some(made) = &tag.call {
            let bytes = made.encode();
            call = BlobRef::of(&bytes);
            blobs.put(call, bytes)?;
        }
        self.deposits.insert(
            at,
            OpenDeposit {
                outpoint,
                to: tag.to,
                call,
                height: self.height,
            },
        );
        Ok(())
    }

    /// Finds the oldest deposit, where its owner could have taken it back for as long as it had to wait for that.
    fn forgotten_deposit(&self) -> Option<usize> {
        let deposits = self.deposits.iter().enumerate();
        let (at, oldest) = deposits.min_by_key(|(_, open)| open.height)?;
        let keep = deposit_keep(self.params.derive.refund_delay);
        (self.height >= oldest.height.saturating_add(keep)).then_some(at)
    }

    fn vault_script(&self) -> &[u8] {
        self.vault_script
            .get_or_init(|| vault_script(&self.params.derive).unwrap_or_default())
    }

    fn scan_outputs<B: Blobs>(
        &mut self,
        transaction: &L1Transaction<'_>,
        blobs: &mut B,
    ) -> Result<(), B::Error> {
        self.open_deposit(transaction, blobs)?;
        let records = find_records(transaction, || self.vault_script());
        self.items.extend(records.into_iter().map(InboxItem::Record));
        let forced = transaction
            .outputs
            .iter()
            .filter_map(|output| forced_of_script(self.params, output.script));
        self.items.extend(forced);
        Ok(())
    }
}

/// Computes a block's average fee rate in sat per 1,000 vB: what the coinbase takes above the subsidy, over the
/// block's size.
fn average_fee_rate(network: L1Network, height: u32, block: &L1Block<'_>) -> u64 {
    let outputs = block
        .transactions
        .first()
        .map(|coinbase| coinbase.outputs.as_slice())
        .unwrap_or_default();
    let taken = outputs
        .iter()
        .fold(0_u64, |sum, output| sum.saturating_add(output.value));
    let halvings = height.checked_div(network.halving_interval()).unwrap_or_default();
    let subsidy = INITIAL_SUBSIDY.checked_shr(halvings).unwrap_or_default();
    let fees = taken.saturating_sub(subsidy);
    fees.saturating_mul(4_000)
        .checked_div(block.weight())
        .unwrap_or_default()
}
