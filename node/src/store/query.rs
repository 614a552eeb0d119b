//! Reads over any set of open tables; [`super::Snapshot`] and [`super::Writer`] are made of these.

use alloy_consensus::TxReceipt;
use alloy_consensus::constants::KECCAK_EMPTY;
use alloy_primitives::{Address, B256, Bytes, U256};
use bitsect_vm::chain::OutPoint;
use bitsect_vm::state::Account;
use redb::ReadableTable;

use super::StoreError;
use super::rows;
use super::tables::{View, decode_pair, fetch, first, last, must};
use super::types::{
    BatchRecord, BlockRef, Head, Job, L1Block, LeftOutput, StoredHeader, StoredReceipt, StoredTransaction,
    UnitRecord,
};
use crate::invariant::Supply;

/// Reads a number of the `meta` table.
pub(super) fn meta_number(view: &impl View, name: &'static str) -> Result<u64, StoreError> {
    let row = view.meta().get(name)?;
    let row = row.ok_or_else(|| StoreError::corrupt("meta", name.as_bytes(), "the row is missing"))?;
    rows::number(row.value()).map_err(|fault| StoreError::corrupt("meta", name.as_bytes(), fault.0))
}

/// The newest block.
pub(super) fn latest(view: &impl View) -> Result<BlockRef, StoreError> {
    let (key, hash) = last(view.headers(), "headers", rows::header_hash)?.ok_or(StoreError::Empty)?;
    Ok(BlockRef {
        number: u64::from_be_bytes(key),
        hash,
    })
}

/// The number of a head.
pub(super) fn head_number(view: &impl View, head: Head) -> Result<u64, StoreError> {
    match head {
        Head::Latest => latest(view).map(|block| block.number),
        Head::Safe => meta_number(view, "safe"),
        Head::Finalized => meta_number(view, "finalized"),
    }
}

/// A head.
pub(super) fn head(view: &impl View, head: Head) -> Result<BlockRef, StoreError> {
    if head == Head::Latest {
        return latest(view);
    }
    let number = head_number(view, head)?;
    let hash = must(
        view.headers(),
        "headers",
        &number.to_be_bytes(),
        rows::header_hash,
    )?;
    Ok(BlockRef { number, hash })
}

/// The hash of a block; `None` above the latest.
pub(super) fn block_hash(view: &impl View, number: u64) -> Result<Option<B256>, StoreError> {
    fetch(
        view.headers(),
        "headers",
        &number.to_be_bytes(),
        rows::header_hash,
    )
}

/// The number of the block with this hash.
pub(super) fn block_number(view: &impl View, hash: B256) -> Result<Option<u64>, StoreError> {
    fetch(view.numbers(), "numbers", &hash.0, rows::number)
}

/// The header of a block; `None` above the latest.
pub(super) fn header(view: &impl View, number: u64) -> Result<Option<StoredHeader>, StoreError> {
    let row = fetch(view.headers(), "headers", &number.to_be_bytes(), rows::header)?;
    Ok(
        row.map(|(hash, l1_origin_height, inbox_count, header)| StoredHeader {
            hash,
            l1_origin_height,
            inbox_count,
            header,
        }),
    )
}

/// The header of a block that must be there.
pub(super) fn must_header(view: &impl View, number: u64) -> Result<StoredHeader, StoreError> {
    match header(view, number)? {
        Some(header) => Ok(header),
        None => Err(StoreError::NoBlock {
            number,
            latest: latest(view)?.number,
        }),
    }
}

/// The transactions of a block with their senders; `None` above the latest.
pub(super) fn body(
    view: &impl View,
    number: u64,
) -> Result<Option<Vec<(Address, bitsect_vm::chain::Transaction)>>, StoreError> {
    fetch(view.bodies(), "bodies", &number.to_be_bytes(), rows::body)
}

/// How many transactions a block has; `None` above the latest.
pub(super) fn transaction_count(view: &impl View, number: u64) -> Result<Option<u32>, StoreError> {
    fetch(view.bodies(), "bodies", &number.to_be_bytes(), rows::list_length)
}

/// One transaction of a block.
pub(super) fn transaction_at(
    view: &impl View,
    block: u64,
    index: u32,
) -> Result<Option<StoredTransaction>, StoreError> {
    let row = fetch(view.bodies(), "bodies", &block.to_be_bytes(), |row| {
        rows::body_at(row, index)
    })?;
    Ok(row.flatten().map(|(sender, transaction)| StoredTransaction {
        block,
        index,
        sender,
        transaction,
    }))
}

/// Where a transaction is: block, index.
pub(super) fn transaction_place(view: &impl View, hash: B256) -> Result<Option<(u64, u32)>, StoreError> {
    fetch(view.transactions(), "transactions", &hash.0, rows::place)
}

/// The receipts of a block; `None` above the latest.
pub(super) fn receipts(view: &impl View, number: u64) -> Result<Option<Vec<StoredReceipt>>, StoreError> {
    let Some(rows) = fetch(view.receipts(), "receipts", &number.to_be_bytes(), rows::receipts)? else {
        return Ok(None);
    };
    let mut gas_before = 0;
    let mut receipts = Vec::with_capacity(rows.len());
    for row in rows {
        let stored = stored_receipt(number, gas_before, row)?;
        gas_before = stored.receipt.cumulative_gas_used();
        receipts.push(stored);
    }
    Ok(Some(receipts))
}

/// One receipt of a block; `None` above the latest block and beyond the block's end.
pub(super) fn receipt_at(
    view: &impl View,
    block: u64,
    index: u32,
) -> Result<Option<StoredReceipt>, StoreError> {
    let decode = |row: &[u8]| rows::receipt_at(row, index);
    let Some((before, row)) = fetch(view.receipts(), "receipts", &block.to_be_bytes(), decode)?.flatten()
    else {
        return Ok(None);
    };
    let gas_before = before.map_or(0, |before| before.receipt.cumulative_gas_used());
    stored_receipt(block, gas_before, row).map(Some)
}

fn stored_receipt(block: u64, gas_before: u64, row: rows::ReceiptRow) -> Result<StoredReceipt, StoreError> {
    let gas_used = row.receipt.cumulative_gas_used().checked_sub(gas_before);
    let gas_used = gas_used
        .ok_or_else(|| StoreError::corrupt("receipts", &block.to_be_bytes(), "the cumulative gas falls"))?;
    let first_log = u64::from(row.first_log);
    Ok(StoredReceipt {
        gas_used,
        l1_fee: row.l1_fee,
        first_log,
        receipt: row.receipt,
    })
}

/// All balances after a block; `None` where its state is not held.
pub(super) fn supply(view: &impl View, block: u64) -> Result<Option<Supply>, StoreError> {
    fetch(view.supply(), "supply", &block.to_be_bytes(), rows::supply)
}

/// All balances after a block that must be there.
pub(super) fn must_supply(view: &impl View, block: u64) -> Result<Supply, StoreError> {
    must(view.supply(), "supply", &block.to_be_bytes(), rows::supply)
}

/// All balances at genesis.
pub(super) fn genesis_supply(view: &impl View) -> Result<U256, StoreError> {
    let name = "genesis_supply";
    let row = view.meta().get(name)?;
    let row = row.ok_or_else(|| StoreError::corrupt("meta", name.as_bytes(), "the row is missing"))?;
    rows::amount(row.value()).map_err(|fault| StoreError::corrupt("meta", name.as_bytes(), fault.0))
}

/// The amount of a vault output, in sats; `None` where it is none.
pub(super) fn vault_output(view: &impl View, outpoint: &OutPoint) -> Result<Option<u64>, StoreError> {
    let key = rows::outpoint_key(outpoint);
    fetch(view.vault_outputs(), "vault_outputs", &key, rows::number)
}

/// The vault outputs that left unrecorded.
pub(super) fn vault_left(view: &impl View) -> Result<Vec<LeftOutput>, StoreError> {
    let mut found = Vec::new();
    for row in view.vault_left().iter()? {
        let row = row?;
        let outpoint = rows::split_outpoint(row.0.value());
        found.push(decode_pair("vault_left", row, |row| rows::left(outpoint, row))?.1);
    }
    Ok(found)
}

/// Reads an account of the newest state.
pub(super) fn account(view: &impl View, address: Address) -> Result<Option<Account>, StoreError> {
    fetch(view.accounts(), "accounts", &address.0, rows::account)
}

/// Reads a slot of the newest state.
pub(super) fn storage(view: &impl View, address: Address, slot: U256) -> Result<U256, StoreError> {
    let value = fetch(
        view.storage(),
        "storage",
        &rows::slot_key(address, slot),
        rows::value,
    )?;
    Ok(value.unwrap_or_default())
}

/// Reads code, which is addressed by content.
pub(super) fn code(view: &impl View, code_hash: B256) -> Result<Bytes, StoreError> {
    if code_hash == KECCAK_EMPTY || code_hash.is_zero() {
        return Ok(Bytes::new());
    }
    must(view.code(), "code", &code_hash.0, |row| {
        Ok(Bytes::copy_from_slice(row))
    })
}

/// The last unit: number and record.
pub(super) fn last_unit(view: &impl View) -> Result<(u64, UnitRecord), StoreError> {
    let (key, unit) = last(view.units(), "units", rows::unit)?.ok_or(StoreError::Empty)?;
    Ok((u64::from_be_bytes(key), unit))
}

/// One unit.
pub(super) fn unit(view: &impl View, unit: u64) -> Result<Option<UnitRecord>, StoreError> {
    fetch(view.units(), "units", &unit.to_be_bytes(), rows::unit)
}

/// The unit that executed a block.
pub(super) fn unit_of_block(view: &impl View, block: u64) -> Result<Option<u64>, StoreError> {
    fetch(
        view.block_units(),
        "block_units",
        &block.to_be_bytes(),
        rows::number,
    )
}

/// The encoded chain state after the last unit.
pub(super) fn encoded_chain_state(view: &impl View) -> Result<Vec<u8>, StoreError> {
    let row = view.meta().get("chain_state")?;
    let row = row.ok_or_else(|| StoreError::corrupt("meta", b"chain_state", "the row is missing"))?;
    Ok(row.value().to_vec())
}

/// A processed L1 block.
pub(super) fn l1_block(view: &impl View, height: u32) -> Result<Option<L1Block>, StoreError> {
    fetch(view.l1_blocks(), "l1_blocks", &height.to_be_bytes(), |row| {
        rows::l1_block(height, row)
    })
}

/// The first and the last processed L1 block.
pub(super) fn l1_range(view: &impl View) -> Result<[L1Block; 2], StoreError> {
    let first = l1_block_of(view, first(view.l1_blocks(), "l1_blocks", |_| Ok(()))?)?;
    Ok([first, last_l1_block(view)?])
}

/// The last processed L1 block.
pub(super) fn last_l1_block(view: &impl View) -> Result<L1Block, StoreError> {
    l1_block_of(view, last(view.l1_blocks(), "l1_blocks", |_| Ok(()))?)
}

/// The L1 block of a row at an end of the table.
fn l1_block_of(view: &impl View, end: Option<([u8; 4], ())>) -> Result<L1Block, StoreError> {
    let (key, ()) = end.ok_or(StoreError::Empty)?;
    let height = u32::from_be_bytes(key);
    must(view.l1_blocks(), "l1_blocks", &key, |row| {
        rows::l1_block(height, row)
    })
}

/// The encoded chain state after an L1 block.
pub(super) fn l1_state(view: &impl View, height: u32) -> Result<Vec<u8>, StoreError> {
    match fetch(view.l1_states(), "l1_states", &height.to_be_bytes(), rows::bytes)? {
        Some(state) => Ok(state),
        None => {
            let bound = |row: Option<([u8; 4], ())>| row.map_or(0, |(key, ())| u32::from_be_bytes(key));
            Err(StoreError::L1NotHeld {
                height,
                first: bound(first(view.l1_states(), "l1_states", |_| Ok(()))?),
                last: bound(last(view.l1_states(), "l1_states", |_| Ok(()))?),
            })
        }
    }
}

/// The batch that holds a block.
pub(super) fn batch_of(view: &impl View, block: u64) -> Result<Option<BatchRecord>, StoreError> {
    let batch = batches_down(view, block, 1)?.pop();
    Ok(batch.filter(|batch| batch.last_block >= block))
}

/// Up to `limit` batches whose first block is at most `block`, newest first.
pub(super) fn batches_down(
    view: &impl View,
    block: u64,
    limit: usize,
) -> Result<Vec<BatchRecord>, StoreError> {
    let mut found = Vec::new();
    for row in view
        .batches()
        .range::<&[u8; 8]>(..=&block.to_be_bytes())?
        .rev()
        .take(limit)
    {
        let row = row?;
        let first = u64::from_be_bytes(*row.0.value());
        found.push(decode_pair("batches", row, |row| rows::batch(first, row))?.1);
    }
    Ok(found)
}

/// A blob.
pub(super) fn blob(view: &impl View, key: B256) -> Result<Option<Vec<u8>>, StoreError> {
    fetch(view.blobs(), "blobs", &key.0, rows::bytes)
}

/// A poster's job.
pub(super) fn job(view: &impl View, baton: &OutPoint) -> Result<Option<Job>, StoreError> {
    let key = rows::outpoint_key(baton);
    let Some(payload) = view.jobs().get(&key)? else {
        return Ok(None);
    };
    let state = view.job_states().get(&key)?;
    Ok(Some(Job {
        payload: Bytes::copy_from_slice(payload.value()),
        state: state
            .map(|row| Bytes::copy_from_slice(row.value()))
            .unwrap_or_default(),
    }))
}

/// All of the poster's jobs.
pub(super) fn jobs(view: &impl View) -> Result<Vec<(OutPoint, Job)>, StoreError> {
    let mut jobs = Vec::new();
    for row in view.jobs().iter()? {
        let baton = rows::split_outpoint(row?.0.value());
        if let Some(job) = job(view, &baton)? {
            jobs.push((baton, job));
        }
    }
    Ok(jobs)
}

/// What the node keeps beside the chain.
pub(super) fn extra(view: &impl View, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(view.extra().get(name)?.map(|row| row.value().to_vec()))
}
