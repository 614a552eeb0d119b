//! Rows: literal bytes of each, round trips, and bytes that nobody wrote.

use std::collections::BTreeMap;

use alloy_consensus::constants::KECCAK_EMPTY;
use alloy_primitives::{Address, B256, Bytes, Log, U256, address, hex};
use bitsect_vm::chain::{OutPoint, Receipt};
use bitsect_vm::state::{Account, AccountChange, Node};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::kit;
use crate::invariant::{MoveKind, Supply, VaultMove};
use crate::store::rows;
use crate::store::types::{BatchRecord, L1Block, LeftOutput, UnitRecord};

const WHO: Address = address!("000102030405060708090a0b0c0d0e0f10111213");

#[test]
fn keys_are_fixed_and_ordered() {
    let who = "000102030405060708090a0b0c0d0e0f10111213";
    assert_eq!(
        hex::encode(rows::address_block_key(WHO, 0x0102)),
        format!("{who}0000000000000102")
    );
    let slot = U256::from(0xabcdu64);
    assert_eq!(
        hex::encode(rows::slot_key(WHO, slot)),
        format!("{who}{:064x}", 0xabcd)
    );
    assert_eq!(
        hex::encode(rows::slot_block_key(WHO, slot, 1)),
        format!("{who}{:064x}{:016x}", 0xabcd, 1)
    );
    let outpoint = OutPoint {
        txid: B256::repeat_byte(0xee),
        vout: 3,
    };
    assert_eq!(
        hex::encode(rows::outpoint_key(&outpoint)),
        format!("{}00000003", "ee".repeat(32))
    );
    assert_eq!(rows::split_outpoint(&rows::outpoint_key(&outpoint)), outpoint);
    assert_eq!(
        rows::split_address_block(&rows::address_block_key(WHO, 9)),
        (WHO, 9)
    );
    assert_eq!(rows::block_of_slot_key(&rows::slot_block_key(WHO, slot, 77)), 77);
    assert_eq!(rows::slot_of_key(&rows::slot_key(WHO, slot)), slot);
    assert!(rows::address_block_key(WHO, 255) < rows::address_block_key(WHO, 256));
}

#[test]
fn rows_of_sums_have_these_bytes() {
    let supply = Supply {
        total: U256::from(0x0102),
        burnt: U256::from(3),
    };
    let row = rows::put_supply(&supply);
    assert_eq!(hex::encode(row), format!("{:064x}{:064x}", 0x0102, 3));
    assert_eq!(rows::supply(&row), Ok(supply));
    let outpoint = OutPoint {
        txid: B256::repeat_byte(0xee),
        vout: 3,
    };
    let by = B256::repeat_byte(0xdd);
    let left = LeftOutput {
        outpoint,
        sats: 5,
        by,
        l1_height: 9,
    };
    let row = rows::put_left(&left);
    assert_eq!(
        hex::encode(row),
        format!("{:016x}{}{:08x}", 5, "dd".repeat(32), 9)
    );
    assert_eq!(rows::left(outpoint, &row), Ok(left));
    let moves = [MoveKind::Added, MoveKind::Spent(by), MoveKind::Left(by)];
    let moves = moves.map(|kind| VaultMove {
        outpoint,
        sats: 5,
        kind,
    });
    let row = rows::put_vault_moves(&moves);
    let (output, by) = (format!("{}{:08x}{:016x}", "ee".repeat(32), 3, 5), "dd".repeat(32));
    assert_eq!(
        hex::encode(&row),
        format!("{output}00{output}01{by}{output}02{by}")
    );
    assert_eq!(rows::vault_moves(&row), Ok(moves.to_vec()));
    assert!(rows::vault_moves(&row[..row.len() - 1]).is_err());
    assert!(rows::vault_moves(&[&row[..], &[0; 44], &[3]].concat()).is_err());
}

proptest! {
    #[test]
    fn bytes_that_nobody_wrote_are_no_sums_or_come_back_equal(bytes in vec(any::<u8>(), 0..300)) {
        if let Ok(moves) = rows::vault_moves(&bytes) {
            prop_assert_eq!(rows::put_vault_moves(&moves), bytes.clone());
        }
        if let Ok(supply) = rows::supply(&bytes) {
            prop_assert_eq!(rows::put_supply(&supply).to_vec(), bytes);
        }
    }
}

#[test]
fn small_rows_have_these_bytes() {
    assert_eq!(hex::encode(rows::put_place(1, 2)), "000000000000000100000002");
    let plain = Account {
        nonce: 5,
        balance: U256::from(7),
        code_hash: KECCAK_EMPTY,
        code_size: 0,
    };
    let mut row = Vec::new();
    rows::put_account(&plain, &mut row).unwrap();
    assert_eq!(hex::encode(&row), format!("{:016x}{:032x}", 5, 7));
    let code = Account {
        code_hash: B256::repeat_byte(0xcc),
        code_size: 0x0102,
        ..plain
    };
    row.clear();
    rows::put_account(&code, &mut row).unwrap();
    assert_eq!(
        hex::encode(&row),
        format!("{:016x}{:032x}{}00000102", 5, 7, "cc".repeat(32))
    );
    let unit = UnitRecord {
        chain_state: B256::repeat_byte(1),
        block: None,
    };
    assert_eq!(
        hex::encode(rows::put_unit(&unit)),
        format!("{}00", "01".repeat(32))
    );
    let unit = UnitRecord {
        block: Some(9),
        ..unit
    };
    assert_eq!(
        hex::encode(rows::put_unit(&unit)),
        format!("{}01{:016x}", "01".repeat(32), 9)
    );
    let l1 = L1Block {
        height: 4,
        hash: B256::repeat_byte(2),
        units: 3,
    };
    assert_eq!(
        hex::encode(rows::put_l1_block(&l1)),
        format!("{}{:016x}", "02".repeat(32), 3)
    );
    let batch = BatchRecord {
        first_block: 1,
        last_block: 2,
        commit_txid: B256::repeat_byte(3),
        l1_height: 4,
        l1_hash: B256::repeat_byte(5),
    };
    let bytes = format!("{:016x}{}00000004{}", 2, "03".repeat(32), "05".repeat(32));
    assert_eq!(hex::encode(rows::put_batch(&batch)), bytes);
    assert_eq!(rows::batch(1, &rows::put_batch(&batch)), Ok(batch));
}

#[test]
fn a_change_set_has_these_bytes() {
    let account = |balance: u64| Account {
        nonce: 1,
        balance: U256::from(balance),
        code_hash: KECCAK_EMPTY,
        code_size: 0,
    };
    let other = Address::repeat_byte(0xff);
    let storage = BTreeMap::from([(U256::from(6), (U256::from(8), U256::ZERO))]);
    let changes = BTreeMap::from([
        (
            WHO,
            AccountChange {
                before: Some(account(2)),
                after: None,
                code: None,
                storage: storage.clone(),
            },
        ),
        (
            other,
            AccountChange {
                before: Some(account(3)),
                after: Some(account(3)),
                code: None,
                storage,
            },
        ),
    ]);
    let (row, places) = rows::put_changes(changes.iter()).unwrap();
    let slot = format!("00000001{:064x}{:064x}", 6, 8);
    let who = hex::encode(WHO);
    let expected = format!(
        "00000002{who}02{:016x}{:032x}{slot}{}00{slot}",
        1,
        2,
        "ff".repeat(20)
    );
    assert_eq!(hex::encode(&row), expected);
    assert_eq!(places.accounts, [(WHO, 4)]);
    assert_eq!(
        places.slots,
        [(WHO, U256::from(6), 53), (other, U256::from(6), 142)]
    );
    assert_eq!(rows::account_change_at(&row, 4, WHO), Ok(Some(account(2))));
    assert_eq!(rows::slot_change_at(&row, 142, U256::from(6)), Ok(U256::from(8)));
    assert!(rows::account_change_at(&row, 5, WHO).is_err());
    assert!(
        rows::account_change_at(&row, 117, other).is_err(),
        "only its storage changed"
    );
    assert!(rows::slot_change_at(&row, 1 << 30, U256::from(6)).is_err());
}

#[test]
fn a_page_has_these_bytes() {
    let mut both = [0; 64];
    both[0] = 1;
    both[63] = 2;
    let mut right = [0; 64];
    right[32] = 3;
    let slots = BTreeMap::from([(2, both), (200, right)]);
    let row = rows::put_page(&slots);
    let expected = format!("020301{}02c80203{}", "00".repeat(62), "00".repeat(31));
    assert_eq!(hex::encode(&row), expected);
    assert_eq!(
        rows::page_entries(&row).collect::<Result<BTreeMap<_, _>, _>>(),
        Ok(slots)
    );
}

#[test]
fn a_list_gives_single_items() {
    let receipt = |gas: u64, logs: usize| {
        let log = Log::new_unchecked(WHO, Vec::new(), Bytes::new());
        Receipt::Eip1559(alloy_consensus::Receipt {
            status: true.into(),
            cumulative_gas_used: gas,
            logs: vec![log; logs],
        })
    };
    let receipts = [receipt(1, 2), receipt(5, 1), receipt(9, 0)];
    let fees = [U256::from(1), U256::from(2), U256::MAX];
    let row = rows::put_receipts(&receipts, &fees);
    assert_eq!(rows::list_length(&row), Ok(3));
    let (before, last) = rows::receipt_at(&row, 2).unwrap().unwrap();
    assert_eq!(before.unwrap().receipt, receipts[1]);
    assert_eq!(
        (last.l1_fee, last.first_log, last.receipt),
        (U256::MAX, 3, receipts[2].clone())
    );
    assert_eq!(rows::receipt_at(&row, 0).unwrap().unwrap().0, None);
    assert_eq!(rows::receipt_at(&row, 3), Ok(None));
    assert_eq!(rows::receipts(&row).unwrap().len(), 3);
    assert_eq!(rows::receipts(&rows::put_receipts(&[], &[])), Ok(Vec::new()));
}

#[test]
fn blocks_round_trip() {
    let block = kit::block(
        None,
        &kit::NoState,
        &kit::NoNodes,
        &[kit::Op::Log(1, 2), kit::Op::Log(3, 4)],
        5,
    );
    let row = rows::put_header(block.hash, 6, 3, &block.header);
    assert_eq!(rows::header(&row), Ok((block.hash, 6, 3, block.header.clone())));
    assert_eq!(rows::header_hash(&row), Ok(block.hash));
    let row = rows::put_body(&block.transactions, &block.senders);
    let body = rows::body(&row).unwrap();
    assert_eq!(body.len(), 2);
    for (index, item) in (0u32..).zip(body) {
        assert_eq!(
            item,
            (
                block.senders[index as usize],
                block.transactions[index as usize].clone()
            )
        );
        assert_eq!(rows::body_at(&row, index), Ok(Some(item)));
    }
    assert_eq!(rows::body_at(&row, 2), Ok(None));
}

fn any_account() -> impl Strategy<Value = Account> {
    (any::<u64>(), any::<u128>(), any::<Option<([u8; 32], u32)>>()).prop_map(|(nonce, balance, code)| {
        let (code_hash, code_size) = code.map_or((KECCAK_EMPTY, 0), |(hash, size)| (B256::from(hash), size));
        Account {
            nonce,
            balance: U256::from(balance),
            code_hash,
            code_size,
        }
    })
}

fn any_value() -> impl Strategy<Value = U256> {
    any::<[u8; 32]>().prop_map(U256::from_be_bytes)
}

fn any_change() -> impl Strategy<Value = AccountChange> {
    let account = || prop::option::of(any_account());
    (
        account(),
        account(),
        btree_map(any_value(), (any_value(), any_value()), 0..4),
    )
        .prop_map(|(before, after, storage)| AccountChange {
            before,
            after,
            code: None,
            storage,
        })
}

proptest! {
    #[test]
    fn accounts_round_trip(account in any_account()) {
        let mut row = Vec::new();
        rows::put_account(&account, &mut row).unwrap();
        prop_assert_eq!(rows::account(&row), Ok(account));
    }

    #[test]
    fn a_large_balance_is_refused(high in 1u64.., low: u128) {
        let balance = (U256::from(high) << 128) | U256::from(low);
        let account = Account { nonce: 0, balance, code_hash: KECCAK_EMPTY, code_size: 0 };
        prop_assert_eq!(rows::put_account(&account, &mut Vec::new()), None);
    }

    #[test]
    fn change_sets_round_trip(changes in btree_map(any::<[u8; 20]>().prop_map(Address::from), any_change(), 0..5)) {
        let (row, places) = rows::put_changes(changes.iter()).unwrap();
        let decoded = rows::changes(&row).unwrap();
        prop_assert_eq!(decoded.len(), changes.len());
        for (found, (address, change)) in decoded.iter().zip(&changes) {
            prop_assert_eq!(found.address, *address);
            let expected = (change.before != change.after).then_some(change.before);
            prop_assert_eq!(found.account, expected);
            let slots: Vec<_> = change.storage.iter().map(|(slot, (before, _))| (*slot, *before)).collect();
            prop_assert_eq!(&found.storage, &slots);
        }
        for (address, offset) in places.accounts {
            prop_assert_eq!(rows::account_change_at(&row, offset, address), Ok(changes[&address].before));
        }
        for (address, slot, offset) in places.slots {
            prop_assert_eq!(rows::slot_change_at(&row, offset, slot), Ok(changes[&address].storage[&slot].0));
        }
    }

    #[test]
    fn pages_round_trip(
        slots in btree_map(any::<u8>(), (any::<[u8; 32]>(), any::<[u8; 32]>(), 1u8..4), 0..40),
    ) {
        let slots: BTreeMap<u8, Node> = slots
            .into_iter()
            .map(|(slot, (mut left, mut right, halves))| {
                (left[0], right[0]) = (1, 1);
                let mut node = [0; 64];
                if halves & 1 != 0 {
                    node[..32].copy_from_slice(&left);
                }
                if halves & 2 != 0 {
                    node[32..].copy_from_slice(&right);
                }
                (slot, node)
            })
            .collect();
        let row = rows::put_page(&slots);
        prop_assert_eq!(rows::page_entries(&row).collect::<Result<BTreeMap<_, _>, _>>(), Ok(slots));
    }

    /// Whatever a row holds, decoding ends, and in an error or a value.
    #[test]
    fn no_bytes_panic(row in vec(any::<u8>(), 0..300), index: u32, offset in 0u32..400) {
        let _ = rows::header(&row);
        let _ = rows::body(&row);
        let _ = rows::body_at(&row, index);
        let _ = rows::receipts(&row);
        let _ = rows::receipt_at(&row, index);
        let _ = rows::account(&row);
        let _ = rows::changes(&row);
        let _ = rows::account_change_at(&row, offset, WHO);
        let _ = rows::slot_change_at(&row, offset, U256::ZERO);
        let _ = rows::unit(&row);
        let _ = rows::l1_block(0, &row);
        let _ = rows::batch(0, &row);
        let _ = rows::place(&row);
        let _ = rows::page_entries(&row).count();
    }

    /// The same for rows that were right before some bytes changed.
    #[test]
    fn no_damaged_row_panics(damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), cut: prop::sample::Index) {
        let block = kit::block(None, &kit::NoState, &kit::NoNodes, &[kit::Op::Log(1, 2), kit::Op::Code(3, 4, 5)], 5);
        let changes = rows::put_changes(block.changes.accounts.iter()).unwrap().0;
        let body = rows::put_body(&block.transactions, &block.senders);
        let receipts = rows::put_receipts(&block.receipts, &block.l1_fees);
        for mut row in [changes, body, receipts, rows::put_header(block.hash, 1, 0, &block.header)] {
            for (at, byte) in &damage {
                let at = at.index(row.len());
                row[at] = *byte;
            }
            for row in [&row[..], &row[..cut.index(row.len())]] {
                let _ = (rows::header(row), rows::body(row), rows::receipts(row), rows::changes(row));
                for index in 0..3 {
                    let _ = (rows::body_at(row, index), rows::receipt_at(row, index));
                }
            }
        }
    }
}
