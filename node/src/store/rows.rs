//! Keys and rows as bytes: the code of docs/store.md, "Tables". Nothing else in the store knows bytes.

use std::collections::BTreeMap;

use alloy_consensus::TxReceipt;
use alloy_consensus::constants::KECCAK_EMPTY;
use alloy_eips::eip2718::{Decodable2718, Encodable2718};
use alloy_primitives::{Address, B256, U256};
use alloy_rlp::{Decodable, Encodable};
use bitsect_vm::chain::{Header, OutPoint, Receipt, Transaction};
use bitsect_vm::state::{Account, AccountChange, Node};

use super::types::{BatchRecord, L1Block, LeftOutput, UnitRecord};
use crate::invariant::{MoveKind, Supply, VaultMove};

/// Why a row does not decode. The caller adds table and key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RowFault(pub(super) String);

impl From<&str> for RowFault {
    fn from(reason: &str) -> Self {
        Self(reason.to_owned())
    }
}

type Row<T> = Result<T, RowFault>;

/// Reads fields from the front of a row.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, count: usize) -> Row<&'a [u8]> {
        let (head, tail) = self
            .0
            .split_at_checked(count)
            .ok_or_else(|| RowFault::from("the row is too short"))?;
        self.0 = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Row<[u8; N]> {
        let (head, tail) = self
            .0
            .split_first_chunk()
            .ok_or_else(|| RowFault::from("the row is too short"))?;
        self.0 = tail;
        Ok(*head)
    }

    fn u8(&mut self) -> Row<u8> {
        self.array().map(u8::from_be_bytes)
    }

    fn u32(&mut self) -> Row<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Row<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn b256(&mut self) -> Row<B256> {
        self.array().map(B256::new)
    }

    fn end(&self) -> Row<()> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err("bytes follow the row".into())
        }
    }
}

/// Joins fixed-size parts to a fixed-size key.
fn join<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut key = [0; N];
    let mut rest = key.as_mut_slice();
    for part in parts {
        let (head, tail) = rest.split_at_mut(part.len());
        head.copy_from_slice(part);
        rest = tail;
    }
    assert!(rest.is_empty(), "the parts of a key fill it");
    key
}

/// The key `address ‖ slot`.
pub(super) fn slot_key(address: Address, slot: U256) -> [u8; 52] {
    join(&[address.as_slice(), &slot.to_be_bytes::<32>()])
}

/// The key `address ‖ block`.
pub(super) fn address_block_key(address: Address, block: u64) -> [u8; 28] {
    join(&[address.as_slice(), &block.to_be_bytes()])
}

/// Takes the key `address ‖ block` apart.
pub(super) fn split_address_block(key: &[u8; 28]) -> (Address, u64) {
    let (address, block) = key.split_at(20);
    let block = block.try_into().expect("28 - 20 = 8 bytes");
    (Address::from_slice(address), u64::from_be_bytes(block))
}

/// The key `address ‖ slot ‖ block`.
pub(super) fn slot_block_key(address: Address, slot: U256, block: u64) -> [u8; 60] {
    join(&[
        address.as_slice(),
        &slot.to_be_bytes::<32>(),
        &block.to_be_bytes(),
    ])
}

/// Takes the slot from the key `address ‖ slot`.
pub(super) fn slot_of_key(key: &[u8; 52]) -> U256 {
    U256::from_be_slice(&key[20..])
}

/// Takes the block from the key `address ‖ slot ‖ block`.
pub(super) fn block_of_slot_key(key: &[u8; 60]) -> u64 {
    let (_, block) = key.split_at(52);
    u64::from_be_bytes(block.try_into().expect("60 - 52 = 8 bytes"))
}

/// The key `txid ‖ vout`.
pub(super) fn outpoint_key(outpoint: &OutPoint) -> [u8; 36] {
    join(&[outpoint.txid.as_slice(), &outpoint.vout.to_be_bytes()])
}

/// Takes the key `txid ‖ vout` apart.
pub(super) fn split_outpoint(key: &[u8; 36]) -> OutPoint {
    let (txid, vout) = key.split_at(32);
    let vout = vout.try_into().expect("36 - 32 = 4 bytes");
    OutPoint {
        txid: B256::from_slice(txid),
        vout: u32::from_be_bytes(vout),
    }
}

/// A row that is one number.
pub(super) fn number(row: &[u8]) -> Row<u64> {
    let mut fields = Fields(row);
    let number = fields.u64()?;
    fields.end()?;
    Ok(number)
}

/// A row that is one 4-byte number.
pub(super) fn short_number(row: &[u8]) -> Row<u32> {
    let mut fields = Fields(row);
    let number = fields.u32()?;
    fields.end()?;
    Ok(number)
}

/// A row that is one hash.
pub(super) fn hash(row: &[u8]) -> Row<B256> {
    let mut fields = Fields(row);
    let hash = fields.b256()?;
    fields.end()?;
    Ok(hash)
}

/// A row that is any bytes.
pub(super) fn bytes(row: &[u8]) -> Row<Vec<u8>> {
    Ok(row.to_vec())
}

/// Encodes the items that `encode` appends as a list.
fn list<T>(items: impl ExactSizeIterator<Item = T>, mut encode: impl FnMut(T, &mut Vec<u8>)) -> Vec<u8> {
    let count = items.len();
    let body = 4 + 4 * count;
    let mut row = vec![0; body];
    row[..4].copy_from_slice(&length(count).to_be_bytes());
    for (index, item) in items.enumerate() {
        encode(item, &mut row);
        let end = length(row.len() - body).to_be_bytes();
        row[4 + 4 * index..8 + 4 * index].copy_from_slice(&end);
    }
    row
}

/// A length inside a row. Rows are bounded by the block gas limit, far below 4 GiB.
fn length(length: usize) -> u32 {
    u32::try_from(length).expect("a block's row is below 4 GiB")
}

/// Item `index` of a list, or `None` beyond its end.
fn list_item(row: &[u8], index: u32) -> Row<Option<&[u8]>> {
    let mut fields = Fields(row);
    let count = fields.u32()?;
    if index >= count {
        return Ok(None);
    }
    let ends = fields.bytes((count as usize).checked_mul(4).ok_or("the list is too long")?)?;
    let end = |index: u32| -> Row<usize> {
        let at = index as usize * 4;
        short_number(ends.get(at..at + 4).ok_or("the list is too short")?).map(|end| end as usize)
    };
    let start = if index == 0 { 0 } else { end(index - 1)? };
    fields
        .0
        .get(start..end(index)?)
        .map(Some)
        .ok_or_else(|| "an item ends outside its list".into())
}

/// The number of items of a list.
pub(super) fn list_length(row: &[u8]) -> Row<u32> {
    Fields(row).u32()
}

/// Decodes every item of a list.
fn list_items<T>(row: &[u8], mut decode: impl FnMut(&[u8]) -> Row<T>) -> Row<Vec<T>> {
    let count = list_length(row)?;
    // The count is not trusted with memory: 4 bytes of the row stand behind each item.
    let mut items = Vec::with_capacity((count as usize).min(row.len() / 4));
    for index in 0..count {
        items.push(decode(list_item(row, index)?.ok_or("the list is too short")?)?);
    }
    Ok(items)
}

/// Encodes a header row.
pub(super) fn put_header(hash: B256, origin_height: u32, inbox_count: u32, header: &Header) -> Vec<u8> {
    let mut row = Vec::with_capacity(40 + header.length());
    row.extend(hash);
    row.extend(origin_height.to_be_bytes());
    row.extend(inbox_count.to_be_bytes());
    header.encode(&mut row);
    row
}

/// Decodes the block hash of a header row.
pub(super) fn header_hash(row: &[u8]) -> Row<B256> {
    Fields(row).b256()
}

/// Decodes a header row: hash, origin height, transactions from the inbox, header.
pub(super) fn header(row: &[u8]) -> Row<(B256, u32, u32, Header)> {
    let mut fields = Fields(row);
    let (hash, origin, inbox_count) = (fields.b256()?, fields.u32()?, fields.u32()?);
    let header = rlp(fields.0)?;
    Ok((hash, origin, inbox_count, header))
}

/// Decodes RLP that fills `bytes`.
fn rlp<T: Decodable>(mut bytes: &[u8]) -> Row<T> {
    let value = T::decode(&mut bytes).map_err(|error| RowFault(error.to_string()))?;
    Fields(bytes).end()?;
    Ok(value)
}

/// Encodes a block's transactions with their senders.
pub(super) fn put_body(transactions: &[Transaction], senders: &[Address]) -> Vec<u8> {
    list(transactions.iter().zip(senders), |(transaction, sender), row| {
        row.extend_from_slice(sender.as_slice());
        transaction.encode_2718(row);
    })
}

fn body_item(item: &[u8]) -> Row<(Address, Transaction)> {
    let mut fields = Fields(item);
    let sender = Address::new(fields.array()?);
    let mut rest = fields.0;
    let transaction = Transaction::decode_2718(&mut rest).map_err(|error| RowFault(error.to_string()))?;
    Fields(rest).end()?;
    Ok((sender, transaction))
}

/// Decodes a block's transactions, each with its sender.
pub(super) fn body(row: &[u8]) -> Row<Vec<(Address, Transaction)>> {
    list_items(row, body_item)
}

/// Decodes one transaction with its sender; `None` beyond the block's end.
pub(super) fn body_at(row: &[u8], index: u32) -> Row<Option<(Address, Transaction)>> {
    list_item(row, index)?.map(body_item).transpose()
}

/// A receipt as its row holds it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ReceiptRow {
    /// The L1 data fee, wei.
    pub(super) l1_fee: U256,
    /// Logs of the block before this receipt's first.
    pub(super) first_log: u32,
    /// The receipt.
    pub(super) receipt: Receipt,
}

/// Encodes a block's receipts with their L1 fees.
pub(super) fn put_receipts(receipts: &[Receipt], l1_fees: &[U256]) -> Vec<u8> {
    let mut logs = 0;
    list(receipts.iter().zip(l1_fees), |(receipt, fee), row| {
        row.extend_from_slice(&fee.to_be_bytes::<32>());
        row.extend_from_slice(&length(logs).to_be_bytes());
        receipt.encode(row);
        logs += receipt.logs().len();
    })
}

fn receipt_item(item: &[u8]) -> Row<ReceiptRow> {
    let mut fields = Fields(item);
    let l1_fee = U256::from_be_bytes(fields.array::<32>()?);
    let first_log = fields.u32()?;
    Ok(ReceiptRow {
        l1_fee,
        first_log,
        receipt: rlp(fields.0)?,
    })
}

/// Decodes a block's receipts.
pub(super) fn receipts(row: &[u8]) -> Row<Vec<ReceiptRow>> {
    list_items(row, receipt_item)
}

/// Decodes one receipt, and the one before it; `None` beyond the block's end.
pub(super) fn receipt_at(row: &[u8], index: u32) -> Row<Option<(Option<ReceiptRow>, ReceiptRow)>> {
    let Some(item) = list_item(row, index)? else {
        return Ok(None);
    };
    let before = match index.checked_sub(1) {
        Some(before) => list_item(row, before)?.map(receipt_item).transpose()?,
        None => None,
    };
    Ok(Some((before, receipt_item(item)?)))
}

/// Encodes where a transaction is.
pub(super) fn put_place(block: u64, index: u32) -> [u8; 12] {
    join(&[&block.to_be_bytes(), &index.to_be_bytes()])
}

/// Decodes where a transaction is: block, index.
pub(super) fn place(row: &[u8]) -> Row<(u64, u32)> {
    let mut fields = Fields(row);
    let place = (fields.u64()?, fields.u32()?);
    fields.end()?;
    Ok(place)
}

/// Appends an account row. `None` when the balance does not fit.
pub(super) fn put_account(account: &Account, row: &mut Vec<u8>) -> Option<()> {
    let balance = u128::try_from(account.balance).ok()?;
    row.extend_from_slice(&account.nonce.to_be_bytes());
    row.extend_from_slice(&balance.to_be_bytes());
    if account.code_hash != KECCAK_EMPTY {
        row.extend_from_slice(account.code_hash.as_slice());
        row.extend_from_slice(&account.code_size.to_be_bytes());
    }
    Some(())
}

/// Length of the row of an account without code, bytes.
const PLAIN_ACCOUNT: usize = 24;
/// Length of the row of an account with code, bytes.
const CODE_ACCOUNT: usize = 60;

/// Decodes an account row.
pub(super) fn account(row: &[u8]) -> Row<Account> {
    let mut fields = Fields(row);
    let nonce = fields.u64()?;
    let balance = U256::from(u128::from_be_bytes(fields.array()?));
    if row.len() == PLAIN_ACCOUNT {
        return Ok(Account {
            nonce,
            balance,
            code_hash: KECCAK_EMPTY,
            code_size: 0,
        });
    }
    let account = Account {
        nonce,
        balance,
        code_hash: fields.b256()?,
        code_size: fields.u32()?,
    };
    fields.end()?;
    Ok(account)
}

/// Decodes a storage value.
pub(super) fn value(row: &[u8]) -> Row<U256> {
    let mut fields = Fields(row);
    let value = U256::from_be_bytes(fields.array::<32>()?);
    fields.end()?;
    Ok(value)
}

/// What one account was before a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AccountBefore {
    /// The account.
    pub(super) address: Address,
    /// `None`: only storage changed. `Some(None)`: it did not exist.
    pub(super) account: Option<Option<Account>>,
    /// Changed slots with their values before, ascending.
    pub(super) storage: Vec<(U256, U256)>,
}

/// Where records are inside a change set, for the history tables: of an account, of its slots.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ChangePlaces {
    /// Accounts whose fields changed, with the offset of their record.
    pub(super) accounts: Vec<(Address, u32)>,
    /// Slots with the offset of their record.
    pub(super) slots: Vec<(Address, U256, u32)>,
}

/// Encodes a change set and tells where its records are. `Err` names an account whose balance does not fit.
pub(super) fn put_changes<'a>(
    accounts: impl ExactSizeIterator<Item = (&'a Address, &'a AccountChange)>,
) -> Result<(Vec<u8>, ChangePlaces), (Address, U256)> {
    let mut row = length(accounts.len()).to_be_bytes().to_vec();
    let mut places = ChangePlaces::default();
    for (&address, change) in accounts {
        let offset = length(row.len());
        row.extend_from_slice(address.as_slice());
        let tag_at = row.len();
        row.push(0);
        if change.before != change.after {
            places.accounts.push((address, offset));
            row[tag_at] = 1;
        }
        if let (Some(before), true) = (&change.before, change.before != change.after) {
            put_account(before, &mut row).ok_or((address, before.balance))?;
            row[tag_at] = if row.len() - tag_at - 1 == PLAIN_ACCOUNT {
                2
            } else {
                3
            };
        }
        row.extend_from_slice(&length(change.storage.len()).to_be_bytes());
        for (slot, (before, _)) in &change.storage {
            places.slots.push((address, *slot, length(row.len())));
            row.extend_from_slice(&slot.to_be_bytes::<32>());
            row.extend_from_slice(&before.to_be_bytes::<32>());
        }
    }
    Ok((row, places))
}

fn account_before(fields: &mut Fields<'_>) -> Row<(Address, Option<Option<Account>>)> {
    let address = Address::new(fields.array()?);
    let before = match fields.u8()? {
        0 => None,
        1 => Some(None),
        2 => Some(Some(account(fields.bytes(PLAIN_ACCOUNT)?)?)),
        3 => Some(Some(account(fields.bytes(CODE_ACCOUNT)?)?)),
        tag => return Err(RowFault(format!("unknown tag {tag} of an account"))),
    };
    Ok((address, before))
}

fn slot_before(fields: &mut Fields<'_>) -> Row<(U256, U256)> {
    Ok((
        U256::from_be_bytes(fields.array::<32>()?),
        U256::from_be_bytes(fields.array::<32>()?),
    ))
}

/// Decodes a whole change set.
pub(super) fn changes(row: &[u8]) -> Row<Vec<AccountBefore>> {
    let mut fields = Fields(row);
    let count = fields.u32()?;
    // 25 bytes of the row stand behind each account, 64 behind each slot.
    let mut accounts = Vec::with_capacity((count as usize).min(row.len() / 25));
    for _ in 0..count {
        let (address, account) = account_before(&mut fields)?;
        let slots = fields.u32()?;
        let mut storage = Vec::with_capacity((slots as usize).min(fields.0.len() / 64));
        for _ in 0..slots {
            storage.push(slot_before(&mut fields)?);
        }
        accounts.push(AccountBefore {
            address,
            account,
            storage,
        });
    }
    fields.end()?;
    Ok(accounts)
}

/// Decodes the account record at `offset` of a change set, which must be of `address`.
pub(super) fn account_change_at(row: &[u8], offset: u32, address: Address) -> Row<Option<Account>> {
    let mut fields = Fields(
        row.get(offset as usize..)
            .ok_or("an offset points outside the change set")?,
    );
    match account_before(&mut fields)? {
        (found, Some(before)) if found == address => Ok(before),
        (found, _) => Err(RowFault(format!(
            "the record at {offset} is not a change of {address} but of {found}"
        ))),
    }
}

/// Decodes the slot record at `offset` of a change set, which must be of `slot`.
pub(super) fn slot_change_at(row: &[u8], offset: u32, slot: U256) -> Row<U256> {
    let mut fields = Fields(
        row.get(offset as usize..)
            .ok_or("an offset points outside the change set")?,
    );
    match slot_before(&mut fields)? {
        (found, before) if found == slot => Ok(before),
        (found, _) => Err(RowFault(format!(
            "the record at {offset} is not of slot {slot} but of {found}"
        ))),
    }
}

/// Encodes a unit row.
pub(super) fn put_unit(unit: &UnitRecord) -> Vec<u8> {
    let mut row = unit.chain_state.to_vec();
    match unit.block {
        None => row.push(0),
        Some(block) => {
            row.push(1);
            row.extend_from_slice(&block.to_be_bytes());
        }
    }
    row
}

/// Decodes a unit row.
pub(super) fn unit(row: &[u8]) -> Row<UnitRecord> {
    let mut fields = Fields(row);
    let chain_state = fields.b256()?;
    let block = match fields.u8()? {
        0 => None,
        1 => Some(fields.u64()?),
        tag => return Err(RowFault(format!("unknown tag {tag} of a unit"))),
    };
    fields.end()?;
    Ok(UnitRecord { chain_state, block })
}

/// Encodes an L1 block row.
pub(super) fn put_l1_block(block: &L1Block) -> [u8; 40] {
    join(&[block.hash.as_slice(), &block.units.to_be_bytes()])
}

/// Decodes the L1 block row of a height.
pub(super) fn l1_block(height: u32, row: &[u8]) -> Row<L1Block> {
    let mut fields = Fields(row);
    let block = L1Block {
        height,
        hash: fields.b256()?,
        units: fields.u64()?,
    };
    fields.end()?;
    Ok(block)
}

/// Encodes a block's supply row.
pub(super) fn put_supply(supply: &Supply) -> [u8; 64] {
    join(&[
        &supply.total.to_be_bytes::<32>(),
        &supply.burnt.to_be_bytes::<32>(),
    ])
}

/// Decodes a block's supply row.
pub(super) fn supply(row: &[u8]) -> Row<Supply> {
    let mut fields = Fields(row);
    let supply = Supply {
        total: U256::from_be_bytes(fields.array::<32>()?),
        burnt: U256::from_be_bytes(fields.array::<32>()?),
    };
    fields.end()?;
    Ok(supply)
}

/// Decodes a row that is an amount of 32 bytes, which may be zero.
pub(super) fn amount(row: &[u8]) -> Row<U256> {
    hash(row).map(Into::into)
}

/// Encodes the row of a vault output that left unrecorded.
pub(super) fn put_left(left: &LeftOutput) -> [u8; 44] {
    join(&[
        &left.sats.to_be_bytes(),
        left.by.as_slice(),
        &left.l1_height.to_be_bytes(),
    ])
}

/// Decodes the row of a vault output that left unrecorded.
pub(super) fn left(outpoint: OutPoint, row: &[u8]) -> Row<LeftOutput> {
    let mut fields = Fields(row);
    let left = LeftOutput {
        outpoint,
        sats: fields.u64()?,
        by: fields.b256()?,
        l1_height: fields.u32()?,
    };
    fields.end()?;
    Ok(left)
}

/// Encodes what an L1 block did to vault outputs, in its order.
pub(super) fn put_vault_moves(moves: &[VaultMove]) -> Vec<u8> {
    let mut row = Vec::new();
    for VaultMove { outpoint, sats, kind } in moves {
        row.extend(outpoint_key(outpoint));
        row.extend(sats.to_be_bytes());
        let by = match kind {
            MoveKind::Added => {
                row.push(0);
                continue;
            }
            MoveKind::Spent(by) => {
                row.push(1);
                by
            }
            MoveKind::Left(by) => {
                row.push(2);
                by
            }
        };
        row.extend_from_slice(by.as_slice());
    }
    row
}

/// Decodes what an L1 block did to vault outputs.
pub(super) fn vault_moves(row: &[u8]) -> Row<Vec<VaultMove>> {
    let mut fields = Fields(row);
    let mut moves = Vec::new();
    while fields.end().is_err() {
        let outpoint = split_outpoint(&fields.array()?);
        let sats = fields.u64()?;
        let kind = match fields.u8()? {
            0 => MoveKind::Added,
            1 => MoveKind::Spent(fields.b256()?),
            2 => MoveKind::Left(fields.b256()?),
            tag => return Err(RowFault(format!("tag {tag} of a vault output is unknown"))),
        };
        moves.push(VaultMove { outpoint, sats, kind });
    }
    Ok(moves)
}

/// Encodes a batch row; its key is the first block.
pub(super) fn put_batch(batch: &BatchRecord) -> [u8; 76] {
    join(&[
        &batch.last_block.to_be_bytes(),
        batch.commit_txid.as_slice(),
        &batch.l1_height.to_be_bytes(),
        batch.l1_hash.as_slice(),
    ])
}

/// Decodes the batch row of a first block.
pub(super) fn batch(first_block: u64, row: &[u8]) -> Row<BatchRecord> {
    let mut fields = Fields(row);
    let batch = BatchRecord {
        first_block,
        last_block: fields.u64()?,
        commit_txid: fields.b256()?,
        l1_height: fields.u32()?,
        l1_hash: fields.b256()?,
    };
    fields.end()?;
    Ok(batch)
}

/// Encodes a tree page: each node by slot, ascending, without its empty half.
pub(super) fn put_page(slots: &BTreeMap<u8, Node>) -> Vec<u8> {
    let mut row = Vec::with_capacity(slots.len() * 66);
    for (slot, node) in slots {
        let (left, right) = node.split_at(32);
        let halves = u8::from(left != [0; 32]) | u8::from(right != [0; 32]) << 1;
        row.extend_from_slice(&[*slot, halves]);
        if halves & 1 != 0 {
            row.extend_from_slice(left);
        }
        if halves & 2 != 0 {
            row.extend_from_slice(right);
        }
    }
    row
}

/// Decodes a tree page node by node: slot, node.
pub(super) fn page_entries(row: &[u8]) -> impl Iterator<Item = Row<(u8, Node)>> {
    let mut fields = Fields(row);
    std::iter::from_fn(move || {
        if fields.0.is_empty() {
            return None;
        }
        let entry = page_entry(&mut fields);
        if entry.is_err() {
            fields.0 = &[];
        }
        Some(entry)
    })
}

fn page_entry(fields: &mut Fields<'_>) -> Row<(u8, Node)> {
    let (slot, halves) = (fields.u8()?, fields.u8()?);
    if halves == 0 || halves > 3 {
        return Err(RowFault(format!("unknown halves {halves} of a node")));
    }
    let mut node = [0; 64];
    if halves & 1 != 0 {
        node[..32].copy_from_slice(fields.bytes(32)?);
    }
    if halves & 2 != 0 {
        node[32..].copy_from_slice(fields.bytes(32)?);
    }
    Ok((slot, node))
}
