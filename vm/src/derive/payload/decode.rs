//! From bytes to a batch.

use alloc::vec::Vec;

use alloy_primitives::{Signature, U256};

use super::address::{ADDRESS_BYTES, Addresses};
use super::charge::{BASE_CHARGE, BLOCK_CHARGE, TRANSACTION_CHARGE, data_charge};
use super::columns::Readers;
use super::fields::Fields;
use super::header::{Codec, HEADER_BYTES, PayloadHeader};
use super::kind::{Kind, group};
use super::lane::{LANES_MAX, Lane, Lanes};
use super::members::Members;
use super::recency::{LITERAL, Recency, SAME_TIP};
use super::wire::{Allowance, Reader};
use super::{Batch, BatchBlock, Column, PayloadError, codec, word};
use crate::chain::Transaction;

/// Bytes of a signature: `r`, then `s` with the parity as its top bit (EIP-2098).
const SIGNATURE_BYTES: usize = 64;

/// Decodes a payload.
///
/// Takes memory for the payload's signatures and, beyond that, a small multiple of `max_body` bytes,
/// whatever the bytes are.
///
/// # Errors
/// The bytes are not a batch, or its body or its charges (see
/// [`transaction_charge`](super::transaction_charge)) exceed `max_body`.
pub fn decode(payload: &[u8], max_body: u32) -> Result<Batch, PayloadError> {
    let header = PayloadHeader::decode(payload)?;
    let limit = u64::from(max_body);
    let body_bytes = u64::from(header.body_bytes);
    if body_bytes > limit {
        return Err(PayloadError::TooLarge {
            limit,
            got: body_bytes,
        });
    }
    let mut rest = Reader::new(Column::Meta, payload);
    rest.take(HEADER_BYTES)?;
    let stored = rest.take(usize::try_from(header.stored_bytes).map_err(|_| rest.invalid())?)?;
    let tail = rest.take(rest.remaining())?;
    let mut allowance = Allowance::new(limit);
    allowance.take(1, BASE_CHARGE)?;
    allowance.take(u64::from(header.block_count), BLOCK_CHARGE)?;
    match header.codec {
        Codec::Stored if header.stored_bytes != header.body_bytes => Err(PayloadError::Compression),
        Codec::Stored => decode_body(&header, stored, tail, allowance),
        Codec::Brotli => decode_body(
            &header,
            &codec::decompress(stored, header.body_bytes)?,
            tail,
            allowance,
        ),
    }
}

/// What the body says first.
struct Meta {
    chain_id: u64,
    transactions: usize,
    table: usize,
    lanes: usize,
}

fn read_meta(meta: &mut Reader<'_>, tail: &[u8]) -> Result<Meta, PayloadError> {
    let (addresses, signatures) = (tail.len() / ADDRESS_BYTES, tail.len() / SIGNATURE_BYTES);
    Ok(Meta {
        chain_id: meta.varint()?,
        transactions: meta.count(signatures)?,
        table: meta.count(addresses)?,
        lanes: meta.count(LANES_MAX)?,
    })
}

fn decode_body(
    header: &PayloadHeader,
    body: &[u8],
    tail: &[u8],
    mut allowance: Allowance,
) -> Result<Batch, PayloadError> {
    let mut columns = Readers::split(body)?;
    let meta = read_meta(&mut columns.meta, tail)?;
    let signature_bytes = meta.transactions.saturating_mul(SIGNATURE_BYTES);
    let (addresses, signatures) = tail
        .split_at_checked(tail.len().saturating_sub(signature_bytes))
        .ok_or(PayloadError::Truncated {
            column: Column::Signatures,
        })?;
    let mut addresses = Addresses::read(Reader::new(Column::Addresses, addresses), meta.table)?;
    let blocks = read_blocks(header, &mut columns, &meta)?;

    let (kinds, kind_of) = read_kinds(&mut columns, &meta)?;
    let groups = group(&kind_of, kinds.len());
    let mut all: Vec<Fields> = Vec::new();
    all.resize_with(meta.transactions, Fields::default);
    for (kind, group) in kinds.iter().zip(&groups) {
        let count = u64::try_from(group.len()).unwrap_or(u64::MAX);
        allowance.take(count, TRANSACTION_CHARGE.saturating_add(data_charge(&kind.shape)))?;
    }
    read_chain_ordered(&mut columns, &meta, &kinds, &kind_of, &mut all)?;
    read_gas_limits(&mut columns, &groups, &mut all)?;
    for (kind, group) in kinds.iter().zip(&groups) {
        let mut members = Members { all: &mut all, group };
        members.read_receivers(kind, &mut columns, &mut addresses)?;
        members.read_values(&mut columns)?;
        members.read_data(kind, &mut columns, &mut addresses)?;
        members.read_lists(kind, &mut columns, &mut addresses, &mut allowance)?;
    }
    columns.end()?;
    addresses.end()?;

    let (signatures, _) = signatures.as_chunks::<SIGNATURE_BYTES>();
    let transactions = all
        .into_iter()
        .zip(kind_of)
        .zip(signatures)
        .map(|((fields, kind), signature)| {
            let kind = kinds.get(kind).ok_or(PayloadError::Invalid {
                column: Column::KindIndex,
            })?;
            Ok(fields.build(kind, meta.chain_id, Signature::from_erc2098(signature)))
        });
    fill(header, blocks, transactions)
}

/// Distributes the transactions to their blocks.
fn fill(
    header: &PayloadHeader,
    blocks: Vec<(BatchBlock, usize)>,
    mut transactions: impl Iterator<Item = Result<Transaction, PayloadError>>,
) -> Result<Batch, PayloadError> {
    let filled = blocks.into_iter().map(|(mut block, count)| {
        block.transactions = transactions.by_ref().take(count).collect::<Result<_, _>>()?;
        Ok(block)
    });
    Ok(Batch {
        first_block: header.first_block,
        parent_hash: header.parent_hash,
        first_origin: header.first_origin,
        last_origin_hash: header.last_origin_hash,
        blocks: filled.collect::<Result<_, PayloadError>>()?,
    })
}

fn read_blocks(
    header: &PayloadHeader,
    columns: &mut Readers<'_>,
    meta: &Meta,
) -> Result<Vec<(BatchBlock, usize)>, PayloadError> {
    let mut blocks = Vec::new();
    let mut timestamp = 0u64;
    let mut total = 0u64;
    for _ in 0..header.block_count {
        let step = columns.block_time.varint()?;
        timestamp = timestamp
            .checked_add(step)
            .ok_or_else(|| columns.block_time.invalid())?;
        let content = columns.block_content.varint()?;
        let count = content >> 1;
        total = total.saturating_add(count);
        let block = BatchBlock {
            timestamp,
            advances_origin: content & 1 == 1,
            transactions: Vec::new(),
        };
        blocks.push((block, usize::try_from(count).unwrap_or(usize::MAX)));
    }
    let expected = u64::try_from(meta.transactions).unwrap_or(u64::MAX);
    if total != expected {
        return Err(PayloadError::TransactionCount { expected, got: total });
    }
    Ok(blocks)
}

/// Reads the kinds that occur, and which one each transaction has.
fn read_kinds(columns: &mut Readers<'_>, meta: &Meta) -> Result<(Vec<Kind>, Vec<usize>), PayloadError> {
    let count = columns.kinds.count(meta.transactions)?;
    let mut kinds = Vec::new();
    for _ in 0..count {
        kinds.push(Kind::read(&mut columns.kinds)?);
    }
    let mut kind_of = Vec::new();
    for _ in 0..meta.transactions {
        // A count up to the last kind is an index.
        kind_of.push(columns.kind_index.count(count.saturating_sub(1))?);
    }
    // The first transaction of an empty table would have passed as kind 0.
    if count == 0 && meta.transactions > 0 {
        return Err(columns.kinds.invalid());
    }
    Ok((kinds, kind_of))
}

/// Reads nonces and fees, which follow from each other in the order of the chain.
fn read_chain_ordered(
    columns: &mut Readers<'_>,
    meta: &Meta,
    kinds: &[Kind],
    kind_of: &[usize],
    all: &mut [Fields],
) -> Result<(), PayloadError> {
    let mut lanes = Lanes::default();
    let (mut tips, mut caps) = (Recency::default(), Recency::default());
    for (fields, kind) in all.iter_mut().zip(kind_of) {
        let high = if meta.lanes > 255 {
            columns.lane_high.byte()?
        } else {
            0
        };
        let reference = u16::from_le_bytes([columns.lane_low.byte()?, high]);
        let lane = match reference {
            0 => Lane {
                nonce: columns.nonce.varint()?,
                tip: 0,
            },
            reference => lanes
                .expected(reference)
                .ok_or_else(|| columns.lane_low.invalid())?,
        };
        let mut tip = lane.tip;
        if kinds.get(*kind).is_some_and(|kind| kind.type_code.has_tip()) {
            tip = read_tip(columns, &mut tips, lane.tip)?;
            fields.tip = tip;
        }
        let rank = columns.fee_cap.byte()?;
        let above = recent_or(rank, &mut columns.fee_literal, &mut caps, read_fee)?;
        fields.fee_cap = fields.tip.wrapping_add(above);
        fields.nonce = lane.nonce;
        lanes.record(reference, lane.nonce, tip);
    }
    Ok(())
}

/// Reads a tip: that of the lane, a recent one, or a literal.
fn read_tip(
    columns: &mut Readers<'_>,
    recent: &mut Recency<u128>,
    of_lane: u128,
) -> Result<u128, PayloadError> {
    let rank = match columns.tip.byte()? {
        SAME_TIP => return Ok(of_lane),
        LITERAL => LITERAL,
        rank => rank.saturating_sub(1),
    };
    recent_or(rank, &mut columns.fee_literal, recent, read_fee)
}

fn read_fee(column: &mut Reader<'_>) -> Result<u128, PayloadError> {
    let fee = U256::from_be_bytes(word::read_inline(column)?.0);
    u128::try_from(fee).map_err(|_| column.invalid())
}

fn read_gas_limits(
    columns: &mut Readers<'_>,
    groups: &[Vec<usize>],
    all: &mut [Fields],
) -> Result<(), PayloadError> {
    let mut recent = Recency::default();
    for place in groups.iter().flatten() {
        if let Some(fields) = all.get_mut(*place) {
            let rank = columns.gas.byte()?;
            fields.gas_limit = recent_or(rank, &mut columns.gas_literal, &mut recent, |column| {
                column.varint()
            })?;
        }
    }
    Ok(())
}

/// The value of a rank: a recent one, or a literal.
fn recent_or<T: Copy + PartialEq>(
    rank: u8,
    literals: &mut Reader<'_>,
    recent: &mut Recency<T>,
    read: impl Fn(&mut Reader<'_>) -> Result<T, PayloadError>,
) -> Result<T, PayloadError> {
    if rank != LITERAL {
        return recent.value(rank).ok_or_else(|| literals.invalid());
    }
    let value = read(literals)?;
    recent.push(value);
    Ok(value)
}
