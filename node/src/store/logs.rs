//! Log queries: by the address index where addresses are given, by the headers' blooms otherwise.

use std::collections::BTreeSet;
use std::time::Instant;

use alloy_consensus::TxReceipt;
use alloy_primitives::{Bloom, BloomInput, Log};
use redb::ReadableTable;

use super::tables::View;
use super::types::{LogLimits, LogQuery, StoredHeader, StoredLog};
use super::{StoreError, query, rows};

/// Rows of the address index between two looks at the clock.
const ROWS_PER_CLOCK: usize = 4_096;

/// Finds the logs that a query wants, in chain order.
pub(super) fn find(
    view: &impl View,
    wanted: &LogQuery,
    limits: &LogLimits,
) -> Result<Vec<StoredLog>, StoreError> {
    let to = wanted.to.min(query::latest(view)?.number);
    if to < wanted.from {
        return Ok(Vec::new());
    }
    let blocks = (to - wanted.from).saturating_add(1);
    if blocks > limits.blocks {
        return Err(StoreError::LogBlocks {
            got: blocks,
            limit: limits.blocks,
        });
    }
    let mut found = Vec::new();
    if wanted.addresses.is_empty() {
        for number in wanted.from..=to {
            let header = query::must_header(view, number)?;
            if bloom_may_hold(&header.header.logs_bloom, wanted) {
                collect(view, &header, wanted, limits, &mut found)?;
            }
            check_clock(limits, number)?;
        }
        return Ok(found);
    }
    for number in blocks_of(view, wanted, to, limits)? {
        collect(
            view,
            &query::must_header(view, number)?,
            wanted,
            limits,
            &mut found,
        )?;
        check_clock(limits, number)?;
    }
    Ok(found)
}

/// The blocks that have logs of one of the query's addresses, ascending.
fn blocks_of(
    view: &impl View,
    wanted: &LogQuery,
    to: u64,
    limits: &LogLimits,
) -> Result<BTreeSet<u64>, StoreError> {
    let mut blocks = BTreeSet::new();
    for &address in &wanted.addresses {
        let first = rows::address_block_key(address, wanted.from);
        let last = rows::address_block_key(address, to);
        for (index, row) in view
            .log_addresses()
            .range::<&[u8; 28]>(&first..=&last)?
            .enumerate()
        {
            let (_, number) = rows::split_address_block(row?.0.value());
            blocks.insert(number);
            if index % ROWS_PER_CLOCK == 0 {
                check_clock(limits, number)?;
            }
        }
    }
    Ok(blocks)
}

fn check_clock(limits: &LogLimits, at: u64) -> Result<(), StoreError> {
    if Instant::now() > limits.deadline {
        Err(StoreError::LogTimeout { at })
    } else {
        Ok(())
    }
}

/// Whether a block's bloom allows a log that the query wants.
fn bloom_may_hold(bloom: &Bloom, wanted: &LogQuery) -> bool {
    wanted.topics.iter().all(|any| {
        any.is_empty()
            || any
                .iter()
                .any(|topic| bloom.contains_input(BloomInput::Raw(topic.as_slice())))
    })
}

/// Whether the query wants this log.
fn matches(log: &Log, wanted: &LogQuery) -> bool {
    let topics = log.topics();
    (wanted.addresses.is_empty() || wanted.addresses.contains(&log.address))
        && wanted.topics.iter().enumerate().all(|(position, any)| {
            any.is_empty() || topics.get(position).is_some_and(|topic| any.contains(topic))
        })
}

/// Adds the logs of one block.
fn collect(
    view: &impl View,
    header: &StoredHeader,
    wanted: &LogQuery,
    limits: &LogLimits,
    found: &mut Vec<StoredLog>,
) -> Result<(), StoreError> {
    let block = header.block_ref();
    let receipts = query::receipts(view, block.number)?.unwrap_or_default();
    for (transaction_index, stored) in receipts.iter().enumerate() {
        let mut transaction_hash = None;
        for (index, log) in stored.receipt.logs().iter().enumerate() {
            if !matches(log, wanted) {
                continue;
            }
            if found.len() >= limits.results {
                let fits = block.number.saturating_sub(1).max(wanted.from);
                return Err(StoreError::LogResults {
                    limit: limits.results,
                    from: wanted.from,
                    fits,
                });
            }
            let transaction_hash = match transaction_hash {
                Some(hash) => hash,
                None => *transaction_hash.insert(hash_of(view, block.number, transaction_index)?),
            };
            found.push(StoredLog {
                block,
                timestamp: header.header.timestamp,
                transaction_hash,
                transaction_index: transaction_index as u64,
                log_index: stored.first_log + index as u64,
                log: log.clone(),
            });
        }
    }
    Ok(())
}

fn hash_of(view: &impl View, block: u64, index: usize) -> Result<alloy_primitives::B256, StoreError> {
    let index = u32::try_from(index).unwrap_or(u32::MAX);
    let stored = query::transaction_at(view, block, index)?;
    let stored = stored.ok_or_else(|| {
        StoreError::corrupt(
            "bodies",
            &block.to_be_bytes(),
            format!("receipt {index} has no transaction"),
        )
    })?;
    Ok(stored.transaction.tx_hash())
}
