//! From a batch to bytes.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cmp::Reverse;

use alloy_consensus::{Transaction as _, Typed2718 as _};
use alloy_eips::eip2930::AccessList;
use alloy_eips::eip7702::SignedAuthorization;
use alloy_primitives::{Address, B256, Signature, TxKind, U256};

use super::address::AddressWriter;
use super::columns::Writers;
use super::header::{Codec, PayloadHeader};
use super::kind::{Kind, Shape, TypeCode, group};
use super::lane::LanePicker;
use super::recency::{LITERAL, Recency, SAME_TIP};
use super::wire::put_varint;
use super::{Batch, PayloadError, codec, word};
use crate::chain::Transaction;

/// Leading zero bytes of a word that holds an address.
const ADDRESS_PADDING: usize = 12;

/// An address is random, so that more leading zero bytes than this say that a word holds a number.
const ADDRESS_ZEROS_MAX: usize = 4;

/// Encodes a batch.
///
/// # Errors
/// A transaction cannot be sequenced (a deposit, or type 0x7D), is for another chain than the others, or has
/// a signature that is invalid by EIP-2; timestamps fall; the body exceeds 4 GiB.
pub fn encode(batch: &Batch) -> Result<Vec<u8>, PayloadError> {
    let views = views(batch)?;
    let mut writers = Writers::default();
    put_blocks(batch, &mut writers)?;
    let (kinds, kind_of) = kinds(&views);
    let groups = group(&kind_of, kinds.len());
    kinds.iter().for_each(|kind| kind.put(&mut writers.kinds));
    let kinds_bytes = core::mem::take(&mut writers.kinds);
    put_varint(&mut writers.kinds, long(kinds.len()));
    writers.kinds.extend(kinds_bytes);
    kind_of
        .iter()
        .for_each(|kind| put_varint(&mut writers.kind_index, long(*kind)));

    let lanes = put_chain_ordered(&views, &mut writers);
    let mut addresses = AddressWriter::new(occurrences(&views));
    let table = addresses.table();
    let mut gas_limits = Recency::default();
    for (kind, group) in kinds.iter().zip(&groups) {
        let members: Vec<&View<'_>> = group.iter().filter_map(|place| views.get(*place)).collect();
        put_kind_ordered(kind, &members, &mut gas_limits, &mut addresses, &mut writers);
    }

    put_varint(&mut writers.meta, chain_id(&views)?.unwrap_or_default());
    [views.len(), table, lanes]
        .into_iter()
        .for_each(|count| put_varint(&mut writers.meta, long(count)));
    assemble(batch, &writers.join(), addresses, &views)
}

fn long(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn short(count: usize) -> Result<u32, PayloadError> {
    u32::try_from(count).map_err(|_| PayloadError::TooLarge {
        limit: u64::from(u32::MAX),
        got: long(count),
    })
}

fn assemble(
    batch: &Batch,
    body: &[u8],
    addresses: AddressWriter,
    views: &[View<'_>],
) -> Result<Vec<u8>, PayloadError> {
    let compressed = codec::compress(body)?;
    let (codec, stored) = if compressed.len() < body.len() {
        (Codec::Brotli, compressed.as_slice())
    } else {
        (Codec::Stored, body)
    };
    let header = PayloadHeader {
        codec,
        first_block: batch.first_block,
        block_count: short(batch.blocks.len())?,
        parent_hash: batch.parent_hash,
        first_origin: batch.first_origin,
        last_origin_hash: batch.last_origin_hash,
        body_bytes: short(body.len())?,
        stored_bytes: short(stored.len())?,
    };
    header.verify_numbers()?;
    let mut payload = Vec::new();
    header.encode(&mut payload);
    payload.extend_from_slice(stored);
    payload.extend(addresses.into_bytes());
    for view in views {
        payload.extend(compact(view.signature));
    }
    Ok(payload)
}

/// A signature in 64 bytes (EIP-2098), as it is: the library's encoder would lower an `s` above half the order, and the
/// transaction would be another one.
fn compact(signature: &Signature) -> [u8; 64] {
    let parity = U256::from(signature.v()).wrapping_shl(255);
    let words = [signature.r(), signature.s() | parity].map(|word| word.to_be_bytes::<32>());
    let mut bytes = [0; 64];
    bytes.copy_from_slice(words.as_flattened());
    bytes
}

/// The chain id that all transactions share; `None` when none has one.
fn chain_id(views: &[View<'_>]) -> Result<Option<u64>, PayloadError> {
    let mut ids = views.iter().filter_map(|view| view.chain_id);
    let first = ids.next();
    match ids.find(|id| Some(*id) != first) {
        Some(got) => Err(PayloadError::ChainId {
            expected: first.unwrap_or_default(),
            got,
        }),
        None => Ok(first),
    }
}

fn put_blocks(batch: &Batch, writers: &mut Writers) -> Result<(), PayloadError> {
    let mut previous = 0u64;
    for block in &batch.blocks {
        let step = block
            .timestamp
            .checked_sub(previous)
            .ok_or(PayloadError::Timestamp {
                previous,
                got: block.timestamp,
            })?;
        previous = block.timestamp;
        put_varint(&mut writers.block_time, step);
        let count = long(block.transactions.len()).saturating_mul(2);
        put_varint(
            &mut writers.block_content,
            count | u64::from(block.advances_origin),
        );
    }
    Ok(())
}

/// The kinds that occur, the most frequent first, and which one each transaction has.
fn kinds(views: &[View<'_>]) -> (Vec<Kind>, Vec<usize>) {
    let mut counts = BTreeMap::<Kind, usize>::new();
    for view in views {
        let count = counts.entry(view.kind()).or_default();
        *count = count.saturating_add(1);
    }
    let mut kinds: Vec<_> = counts.into_iter().collect();
    kinds.sort_by_key(|(_, count)| Reverse(*count));
    let kinds: Vec<Kind> = kinds.into_iter().map(|(kind, _)| kind).collect();
    let index: BTreeMap<Kind, usize> = kinds.iter().copied().zip(0..).collect();
    let kind_of = views
        .iter()
        .map(|view| index.get(&view.kind()).copied().unwrap_or_default())
        .collect();
    (kinds, kind_of)
}

/// Writes nonces and fees; returns the number of nonce lanes.
fn put_chain_ordered(views: &[View<'_>], writers: &mut Writers) -> usize {
    let mut lanes = LanePicker::default();
    let (mut tips, mut caps) = (Recency::default(), Recency::default());
    for view in views {
        let tip = view.type_code.has_tip().then_some(view.tip);
        let (reference, lane) = lanes.pick(view.nonce, tip);
        if reference == 0 {
            put_varint(&mut writers.nonce, view.nonce);
        }
        let [low, high] = reference.to_le_bytes();
        writers.lane_low.push(low);
        writers.lane_high.push(high);
        if tip == Some(lane.tip) {
            writers.tip.push(SAME_TIP);
        } else if let Some(tip) = tip {
            let rank = fee_rank(tip, &mut tips, &mut writers.fee_literal);
            writers
                .tip
                .push(rank.map_or(LITERAL, |rank| rank.saturating_add(1)));
        }
        let above = view.fee_cap.wrapping_sub(view.tip);
        let rank = fee_rank(above, &mut caps, &mut writers.fee_literal);
        writers.fee_cap.push(rank.unwrap_or(LITERAL));
    }
    if lanes.opened() <= 255 {
        writers.lane_high.clear();
    }
    lanes.opened()
}

/// The rank of a fee; a literal is written when it is not recent.
fn fee_rank(fee: u128, recent: &mut Recency<u128>, literals: &mut Vec<u8>) -> Option<u8> {
    let rank = recent.rank(fee);
    if rank.is_none() {
        word::put_inline(&B256::new(U256::from(fee).to_be_bytes()), literals);
    }
    rank
}

/// Writes what follows the order of kinds: all of one column for a kind's transactions, then the next.
fn put_kind_ordered(
    kind: &Kind,
    members: &[&View<'_>],
    gas_limits: &mut Recency<u64>,
    addresses: &mut AddressWriter,
    writers: &mut Writers,
) {
    for view in members {
        let rank = gas_limits.rank(view.gas_limit);
        writers.gas.push(rank.unwrap_or(LITERAL));
        if rank.is_none() {
            put_varint(&mut writers.gas_literal, view.gas_limit);
        }
    }
    let values = members.iter().map(|view| B256::new(view.value.to_be_bytes()));
    let values: Vec<_> = values.map(|value| (word::form(&value), value)).collect();
    put_by_form(values, &mut writers.value_form, |form, value| {
        word::write(form, value, &mut writers.value_top, &mut writers.value_rest);
    });
    for to in members.iter().filter_map(|view| view.to.to()) {
        addresses.put(to, &mut writers.to_low, &mut writers.to_high);
    }
    match kind.shape {
        Shape::Empty => {}
        Shape::Bytes { .. } => members
            .iter()
            .for_each(|view| writers.data.extend_from_slice(view.input)),
        Shape::Words { .. } => {
            let mut words: Vec<_> = members.iter().map(|view| view.words()).collect();
            loop {
                let next: Vec<B256> = words.iter_mut().filter_map(Iterator::next).collect();
                if next.is_empty() {
                    break;
                }
                put_words(&next, addresses, writers);
            }
        }
    }
    for view in members {
        put_lists(kind, view, addresses, writers);
    }
}

/// Writes the words that calldata of one kind has at one position.
fn put_words(words: &[B256], addresses: &mut AddressWriter, writers: &mut Writers) {
    let form = |word: &B256| {
        if word_address(word).is_some() {
            word::ADDRESS
        } else {
            word::form(word)
        }
    };
    let words = words.iter().map(|word| (form(word), *word)).collect();
    put_by_form(words, &mut writers.word_form, |form, word| {
        match word_address(word) {
            Some(address) => {
                addresses.put(
                    &address,
                    &mut writers.word_address_low,
                    &mut writers.word_address_high,
                );
            }
            None => word::write(form, word, &mut writers.word_top, &mut writers.word_rest),
        }
    });
}

/// Writes the forms of words, then calls `put` for each word, those of a form together.
fn put_by_form(mut words: Vec<(u8, B256)>, forms: &mut Vec<u8>, mut put: impl FnMut(u8, &B256)) {
    forms.extend(words.iter().map(|(form, _)| *form));
    words.sort_by_key(|(form, _)| *form);
    words.iter().for_each(|(form, word)| put(*form, word));
}

/// The address that a word of calldata seems to hold.
fn word_address(word: &B256) -> Option<Address> {
    let zeros = word.iter().take_while(|byte| **byte == 0).count();
    let likely = ADDRESS_PADDING..=ADDRESS_PADDING.saturating_add(ADDRESS_ZEROS_MAX);
    likely.contains(&zeros).then(|| Address::from_word(*word))
}

fn put_lists(kind: &Kind, view: &View<'_>, addresses: &mut AddressWriter, writers: &mut Writers) {
    if let Some(list) = view.access_list.filter(|_| kind.has_access_list) {
        let out = &mut writers.access_list;
        put_varint(out, long(list.len()));
        for item in list.iter() {
            addresses.put_varint(&item.address, out);
            put_varint(out, long(item.storage_keys.len()));
            item.storage_keys
                .iter()
                .for_each(|key| word::put_inline(key, out));
        }
    }
    if kind.type_code == TypeCode::SetCode {
        let out = &mut writers.authorisation;
        put_varint(out, long(view.authorisations.len()));
        for signed in view.authorisations {
            word::put_inline(&B256::new(signed.chain_id.to_be_bytes()), out);
            addresses.put_varint(&signed.address, out);
            put_varint(out, signed.nonce);
            out.push(signed.y_parity());
            out.extend_from_slice(&signed.r().to_be_bytes::<32>());
            out.extend_from_slice(&signed.s().to_be_bytes::<32>());
        }
    }
}

/// Every address that is written, once for each time.
fn occurrences<'a>(views: &'a [View<'a>]) -> impl Iterator<Item = Address> + 'a {
    views.iter().flat_map(|view| {
        let listed = view
            .access_list
            .into_iter()
            .flat_map(|list| list.iter().map(|item| item.address));
        let signed = view.authorisations.iter().map(|signed| signed.address);
        let words = view.words().filter_map(|word| word_address(&word));
        view.to
            .to()
            .copied()
            .into_iter()
            .chain(words)
            .chain(listed)
            .chain(signed)
    })
}

/// The fields of a transaction, whatever its type.
struct View<'a> {
    type_code: TypeCode,
    chain_id: Option<u64>,
    nonce: u64,
    gas_limit: u64,
    tip: u128,
    fee_cap: u128,
    to: TxKind,
    value: U256,
    input: &'a [u8],
    access_list: Option<&'a AccessList>,
    authorisations: &'a [SignedAuthorization],
    signature: &'a Signature,
}

fn views(batch: &Batch) -> Result<Vec<View<'_>>, PayloadError> {
    batch
        .blocks
        .iter()
        .flat_map(|block| &block.transactions)
        .map(View::new)
        .collect()
}

impl<'a> View<'a> {
    fn new(transaction: &'a Transaction) -> Result<Self, PayloadError> {
        let (type_code, signature) = match transaction {
            Transaction::Legacy(signed) if signed.tx().chain_id.is_none() => {
                (TypeCode::Legacy, signed.signature())
            }
            Transaction::Legacy(signed) => (TypeCode::LegacyChain, signed.signature()),
            Transaction::Eip2930(signed) => (TypeCode::AccessList, signed.signature()),
            Transaction::Eip1559(signed) => (TypeCode::DynamicFee, signed.signature()),
            Transaction::Eip7702(signed) => (TypeCode::SetCode, signed.signature()),
            Transaction::Deposit(_) | Transaction::PostExec(_) => {
                return Err(PayloadError::TransactionType {
                    got: transaction.ty(),
                });
            }
        };
        if signature.s().bit(255) {
            return Err(PayloadError::HighS);
        }
        Ok(Self {
            type_code,
            chain_id: transaction.chain_id(),
            nonce: transaction.nonce(),
            gas_limit: transaction.gas_limit(),
            tip: transaction.max_priority_fee_per_gas().unwrap_or_default(),
            fee_cap: transaction.max_fee_per_gas(),
            to: transaction.kind(),
            value: transaction.value(),
            input: transaction.input(),
            access_list: transaction.access_list().filter(|list| !list.is_empty()),
            authorisations: transaction.authorization_list().unwrap_or_default(),
            signature,
        })
    }

    fn kind(&self) -> Kind {
        Kind {
            type_code: self.type_code,
            creates: self.to.is_create(),
            has_access_list: self.access_list.is_some(),
            shape: self.shape(),
        }
    }

    fn shape(&self) -> Shape {
        match self.input.split_first_chunk::<4>() {
            _ if self.input.is_empty() => Shape::Empty,
            Some((selector, words)) if self.to.is_call() && words.len().is_multiple_of(32) => Shape::Words {
                selector: *selector,
                words: long(words.len() / 32),
            },
            _ => Shape::Bytes {
                length: long(self.input.len()),
            },
        }
    }

    /// The words of calldata that has the shape of a selector and words; none otherwise.
    fn words(&self) -> impl Iterator<Item = B256> + use<'a> {
        let words = match self.shape() {
            Shape::Words { .. } => self.input.get(4..).unwrap_or_default(),
            _ => &[],
        };
        words.as_chunks::<32>().0.iter().map(B256::from)
    }
}
