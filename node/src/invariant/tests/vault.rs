//! What Bitcoin blocks do to vault outputs.

use std::collections::BTreeMap;
use std::convert::Infallible;

use alloy_primitives::{Address, B256};
use bitsect_vm::chain::{BlobRef, OutPoint};
use bitsect_vm::derive::bitcoin::{L1Block, L1Header, L1Transaction, TxIn};
use bitsect_vm::derive::{AcceptedDeposit, AddedOutput, BridgeRecord, InboxItem, VaultSpend};

use crate::invariant::{MoveKind, VaultMove, vault_moves};

fn txid(id: u8) -> B256 {
    B256::repeat_byte(id)
}

fn output(id: u8, vout: u32) -> OutPoint {
    OutPoint { txid: txid(id), vout }
}

fn transaction(id: u8, spent: &[OutPoint]) -> L1Transaction<'static> {
    let input = |outpoint: &OutPoint| TxIn {
        previous_output: *outpoint,
        witness: Vec::new(),
    };
    L1Transaction {
        txid: txid(id),
        wtxid: txid(id),
        inputs: spent.iter().map(input).collect(),
        outputs: Vec::new(),
        weight: 400,
    }
}

fn accept(id: u8, vout: u32, sats: u64) -> InboxItem {
    InboxItem::Deposit(AcceptedDeposit {
        vault_output: output(id, vout),
        to: Address::ZERO,
        sats,
        call: BlobRef::of(&[]),
    })
}

fn spend(id: u8, inputs: &[OutPoint], outputs: &[(u32, u64)]) -> InboxItem {
    let added = outputs.iter().map(|&(vout, sats)| AddedOutput { vout, sats });
    InboxItem::Record(BridgeRecord::VaultSpend(VaultSpend {
        txid: txid(id),
        inputs: inputs.to_vec(),
        outputs: added.collect(),
    }))
}

fn moves(
    transactions: Vec<L1Transaction<'_>>,
    items: &[InboxItem],
    vault: &[(OutPoint, u64)],
) -> Vec<VaultMove> {
    let block = L1Block {
        header: L1Header::decode(&[0; 80]),
        transactions,
    };
    let vault: BTreeMap<OutPoint, u64> = vault.iter().copied().collect();
    let known = |outpoint: &OutPoint| Ok::<_, Infallible>(vault.get(outpoint).copied());
    vault_moves(&block, items, known).unwrap()
}

fn moved(outpoint: OutPoint, sats: u64, kind: MoveKind) -> VaultMove {
    VaultMove { outpoint, sats, kind }
}

#[test]
fn a_spend_without_a_record_leaves() {
    let vault = [(output(1, 0), 50), (output(1, 1), 60)];
    // Another transaction's record does not speak for it, and other outputs are nobody's concern.
    let transactions = vec![
        transaction(5, &[output(9, 0), output(1, 1)]),
        transaction(6, &[output(1, 0)]),
    ];
    let items = [spend(6, &[output(1, 0)], &[])];
    assert_eq!(
        moves(transactions, &items, &vault),
        [
            moved(output(1, 1), 60, MoveKind::Left(txid(5))),
            moved(output(1, 0), 50, MoveKind::Spent(txid(6))),
        ]
    );
}

#[test]
fn what_one_block_adds_it_may_spend() {
    let transactions = vec![
        transaction(2, &[output(8, 0)]),
        transaction(3, &[output(2, 0)]),
        transaction(4, &[output(3, 1)]),
        transaction(5, &[output(2, 0)]),
    ];
    let items = [accept(2, 0, 70), spend(3, &[output(2, 0)], &[(1, 70)])];
    assert_eq!(
        moves(transactions, &items, &[]),
        [
            moved(output(2, 0), 70, MoveKind::Added),
            moved(output(2, 0), 70, MoveKind::Spent(txid(3))),
            moved(output(3, 1), 70, MoveKind::Added),
            moved(output(3, 1), 70, MoveKind::Left(txid(4))),
        ]
    );
}

#[test]
fn who_spends_nothing_of_the_vault_adds_nothing() {
    let items = [spend(3, &[output(7, 0)], &[(0, 10)])];
    assert_eq!(moves(vec![transaction(3, &[output(7, 0)])], &items, &[]), []);
}

#[test]
fn an_output_counts_once_and_only_with_an_amount() {
    let vault = [(output(1, 0), 50)];
    let transactions = vec![transaction(3, &[output(1, 0), output(8, 0)])];
    let items = [
        accept(3, 0, 20),
        accept(3, 1, 0),
        spend(3, &[output(1, 0), output(8, 0)], &[(0, 20), (1, 0)]),
    ];
    assert_eq!(
        moves(transactions, &items, &vault),
        [
            moved(output(1, 0), 50, MoveKind::Spent(txid(3))),
            moved(output(3, 0), 20, MoveKind::Added),
        ]
    );
}
