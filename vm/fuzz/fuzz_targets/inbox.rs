//! Inbox items: what decodes has one encoding, and gives transactions that have one encoding.
//!
//! - 0: an encoded list of items as it is,
//! - 1: a list of all kinds of items, with items of its encoding changed,
//! - 2: given items.
#![no_main]

use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, Bytes};
use bitsect_vm::chain::{BlobRef, OutPoint, Transaction};
use bitsect_vm::derive::{
    AcceptedDeposit, AddedOutput, Assignment, BridgeRecord, DEPOSIT_CALL_GAS, DEPOSIT_GAS, InboxItem, Paid,
    Payout, Redemption, VaultSpend, decode_items, encode_items,
};
use bitsect_vm_fuzz::chain::{CHAIN_ID, transaction};
use bitsect_vm_fuzz::rlp::Edits;
use bitsect_vm_fuzz::typed;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

/// An item.
#[derive(Arbitrary, Debug)]
enum Item {
    Deposit {
        txid: [u8; 32],
        vout: u32,
        to: [u8; 20],
        sats: u64,
        call: u32,
    },
    Record {
        kind: u8,
        txid: [u8; 32],
        other: [u8; 32],
        numbers: Vec<(u32, u64)>,
    },
    Forced(Vec<u8>),
    Signed {
        kind: u8,
        gas: u64,
        edits: Edits,
    },
}

fuzz_target!(|data: &[u8]| {
    match data.split_first() {
        Some((0, bytes)) => check(bytes),
        Some((1, rest)) => {
            if let Some(edits) = typed::<Edits>(rest) {
                check(&edits.apply(&encode_items(&template())));
            }
        }
        Some((_, rest)) => {
            if let Some(items) = typed::<Vec<Item>>(rest) {
                let items: Vec<InboxItem> = items.into_iter().take(8).map(item).collect();
                let bytes = encode_items(&items);
                assert_eq!(decode_items(&bytes).as_ref(), Ok(&items), "an encoding decodes");
                check(&bytes);
            }
        }
        None => {}
    }
});

fn template() -> Vec<InboxItem> {
    let deposit = Item::Deposit {
        txid: [1; 32],
        vout: 2,
        to: [3; 20],
        sats: 4,
        call: 5,
    };
    let records = (0..4).map(|kind| Item::Record {
        kind,
        txid: [6; 32],
        other: [7; 32],
        numbers: vec![(8, 9), (10, 11)],
    });
    let forced = (0..4).map(|kind| Item::Signed {
        kind,
        gas: 21_000,
        edits: Edits::none(),
    });
    let all = std::iter::once(deposit).chain(records).chain(forced);
    all.map(item).collect()
}

fn item(item: Item) -> InboxItem {
    match item {
        Item::Deposit {
            txid,
            vout,
            to,
            sats,
            call,
        } => InboxItem::Deposit(AcceptedDeposit {
            vault_output: OutPoint {
                txid: B256::new(txid),
                vout,
            },
            to: Address::new(to),
            sats,
            call: BlobRef {
                root: B256::repeat_byte(1),
                len: call,
            },
        }),
        Item::Record {
            kind,
            txid,
            other,
            numbers,
        } => InboxItem::Record(record(kind, B256::new(txid), B256::new(other), &numbers)),
        Item::Forced(bytes) => InboxItem::Forced(bytes.into()),
        Item::Signed { kind, gas, edits } => InboxItem::Forced(signed(kind, gas, edits)),
    }
}

fn record(kind: u8, txid: B256, other: B256, numbers: &[(u32, u64)]) -> BridgeRecord {
    let outpoint = |txid, &(vout, _): &(u32, u64)| OutPoint { txid, vout };
    let first = numbers.first().copied().unwrap_or_default();
    match kind % 4 {
        0 => BridgeRecord::Payout(Payout {
            txid,
            operator: other,
            paid: numbers
                .iter()
                .map(|&(sats, id)| Paid {
                    id,
                    sats: sats.into(),
                    script: vec![1; sats as usize % 40].into(),
                })
                .collect(),
        }),
        1 => BridgeRecord::Assignment(Assignment {
            ticket: outpoint(txid, &first),
            vault_output: outpoint(other, &first),
        }),
        2 => BridgeRecord::VaultSpend(VaultSpend {
            txid,
            inputs: numbers.iter().map(|number| outpoint(other, number)).collect(),
            outputs: numbers
                .iter()
                .map(|&(vout, sats)| AddedOutput { vout, sats })
                .collect(),
        }),
        _ => BridgeRecord::Redemption(Redemption {
            spent: outpoint(txid, &first),
            to: Address::from_slice(&other[..20]),
        }),
    }
}

fn signed(kind: u8, gas: u64, edits: Edits) -> Bytes {
    let bytes = transaction(kind, CHAIN_ID, gas).encoded_2718();
    // A legacy transaction has no type byte.
    let typed = usize::from(!kind.is_multiple_of(4));
    let (prefix, list) = bytes.split_at(typed);
    [prefix, &edits.apply(list)].concat().into()
}

fn check(bytes: &[u8]) {
    let Ok(items) = decode_items(bytes) else { return };
    assert_eq!(encode_items(&items), bytes, "items have one encoding");
    for item in &items {
        let origin = B256::repeat_byte(1);
        let transaction = item.transaction(&origin, &[]);
        match (item, &transaction) {
            (InboxItem::Deposit(_) | InboxItem::Record(_), Some(Transaction::Deposit(call))) => {
                assert_eq!(item.gas_limit(), call.gas_limit);
                assert_ne!(
                    item.transaction(&B256::ZERO, &[]),
                    transaction,
                    "a call by the protocol is of its origin"
                );
                if let InboxItem::Deposit(deposit) = item {
                    let gas = [DEPOSIT_GAS, DEPOSIT_CALL_GAS][usize::from(deposit.call.len > 0)];
                    assert_eq!(item.gas_limit(), gas);
                    assert_eq!(item.blob().is_some(), deposit.call.len > 0);
                }
            }
            (InboxItem::Forced(bytes), Some(transaction)) => {
                assert_eq!(
                    transaction.encoded_2718(),
                    bytes.to_vec(),
                    "a transaction has one encoding"
                );
                assert_eq!(
                    item.gas_limit(),
                    alloy_consensus::Transaction::gas_limit(transaction)
                );
            }
            (InboxItem::Forced(_), None) => assert_eq!(item.gas_limit(), 0),
            other => panic!("{other:?}"),
        }
    }
}
