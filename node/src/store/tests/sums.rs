//! Sums and vault outputs in the store: back with blocks and with Bitcoin, pruned, opened anew, checked.

use alloy_primitives::{B256, U256};
use bitsect_vm::chain::OutPoint;
use indicatif::ProgressBar;
use redb::{Database, TableDefinition};

use super::kit::{GENESIS_OPS, Op, append, assert_sound, genesis, state_hash};
use crate::invariant::{MoveKind, Supply, VaultMove};
use crate::store::admin::check;
use crate::store::{Head, L1Block, Store, StoreError, StoreOptions};

fn options() -> StoreOptions {
    StoreOptions {
        cache_bytes: 1 << 20,
        on_repair: None,
    }
}

fn output(id: u8) -> OutPoint {
    OutPoint {
        txid: B256::repeat_byte(id),
        vout: id.into(),
    }
}

fn moved(id: u8, kind: MoveKind) -> VaultMove {
    VaultMove {
        outpoint: output(id),
        sats: 100 + u64::from(id),
        kind,
    }
}

/// Adds an L1 block that does this to vault outputs.
fn push(store: &Store, moves: &[VaultMove]) {
    store
        .write(|writer| -> Result<(), StoreError> {
            let units = writer.last_unit()?.0 + 1;
            let height = writer.last_l1_block()?.height + 1;
            writer.push_vault_moves(height, moves)?;
            writer.push_unit(units, state_hash(units), b"state", None)?;
            let hash = B256::repeat_byte(height as u8);
            writer.push_l1_block(&L1Block { height, hash, units }, b"state")
        })
        .unwrap();
}

/// Which of the outputs 1 to 4 are there, and which left at which height.
fn vault(store: &Store) -> (Vec<u8>, Vec<(u8, u32)>) {
    let view = store.read().unwrap();
    let is_there = |id: &u8| {
        let sats = view.vault_output(&output(*id)).unwrap();
        assert!(sats.is_none_or(|sats| sats == 100 + u64::from(*id)));
        sats.is_some()
    };
    let left = view.vault_left().unwrap();
    let left = left.iter().map(|left| (left.outpoint.vout as u8, left.l1_height));
    ((1..=4).filter(is_there).collect(), left.collect())
}

#[test]
fn vault_outputs_go_back_with_bitcoin() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chain.redb");
    let (identity, genesis) = genesis(&GENESIS_OPS);
    let mut store = Store::create(&path, &identity, &genesis, options()).unwrap();
    let by = B256::repeat_byte(9);
    let (added, spent, left) = (MoveKind::Added, MoveKind::Spent(by), MoveKind::Left(by));
    let blocks = [
        vec![moved(1, added), moved(2, added)],
        vec![],
        vec![moved(1, spent), moved(3, added), moved(3, spent), moved(4, added)],
        vec![moved(2, left)],
    ];
    let mut states = vec![vault(&store)];
    for moves in &blocks {
        push(&store, moves);
        states.push(vault(&store));
        assert_sound(&store);
    }
    assert_eq!(states[4], (vec![4], vec![(2, 104)]));
    for to in (0..4).rev() {
        drop(store);
        store = Store::open(&path, &identity, options()).unwrap();
        store.write(|writer| writer.rollback_l1_to(100 + to)).unwrap();
        assert_eq!(vault(&store), states[to as usize]);
        assert_sound(&store);
    }
    for moves in &blocks {
        push(&store, moves);
    }
    assert_eq!(vault(&store), states[4]);
    // The way back is as long as chain states are held, and what is there stays.
    let pruned = store.write(|writer| writer.prune_l1_states(103, 100)).unwrap();
    assert!(pruned.done);
    assert_eq!(vault(&store), states[4]);
    assert_sound(&store);
    store.write(|writer| writer.rollback_l1_to(103)).unwrap();
    assert_eq!(vault(&store), states[3]);
    assert_sound(&store);
}

#[test]
fn an_output_that_is_not_there_cannot_go() {
    let (identity, genesis) = genesis(&GENESIS_OPS);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chain.redb");
    let store = Store::create(&path, &identity, &genesis, options()).unwrap();
    let moves = [moved(1, MoveKind::Left(B256::ZERO))];
    let refused = store
        .write(|writer| writer.push_vault_moves(101, &moves))
        .unwrap_err();
    assert!(matches!(refused, StoreError::VaultOutput { sats: 101, .. }));
    assert_eq!(vault(&store), (vec![], vec![]));
}

#[test]
fn the_supply_follows_balances_and_counts_what_is_burnt() {
    let (identity, genesis) = genesis(&GENESIS_OPS);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chain.redb");
    let store = Store::create(&path, &identity, &genesis, options()).unwrap();
    let supply = |number| store.read().unwrap().supply(number).unwrap();
    let of = |total: u64, burnt: u64| {
        let (total, burnt) = (U256::from(total), U256::from(burnt));
        Some(Supply { total, burnt })
    };
    assert_eq!(supply(0), of(1_000, 0));
    assert_eq!(store.read().unwrap().genesis_supply().unwrap(), U256::from(1_000));
    append(&store, &[Op::Pay(0, 1, 400), Op::Pay(2, 1, 600)], 0);
    append(&store, &[Op::Pay(0, 1, 390)], 0);
    append(&store, &[Op::Delete(2)], 0);
    assert_eq!([1, 2, 3].map(supply), [of(1_000, 0), of(990, 10), of(390, 610)]);
    store.write(|writer| writer.rollback_latest_to(1)).unwrap();
    assert_eq!([1, 2, 3].map(supply), [of(1_000, 0), None, None]);
    // Out of nothing: that is nothing burnt, and for others to judge.
    append(&store, &[Op::Pay(0, 1, 410)], 1);
    assert_eq!(supply(2), of(1_010, 0));
    assert_sound(&store);
}

/// Changes one row behind the store's back; gives what the check finds.
fn damaged(table: &'static str, change: impl FnOnce(&Database)) -> Vec<String> {
    let (identity, genesis) = genesis(&GENESIS_OPS);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chain.redb");
    let store = Store::create(&path, &identity, &genesis, options()).unwrap();
    append(&store, &[Op::Pay(0, 1, 400), Op::Pay(2, 1, 600)], 0);
    append(&store, &[Op::Pay(0, 1, 390)], 0);
    push(&store, &[moved(1, MoveKind::Added)]);
    assert_eq!(store.read().unwrap().head(Head::Latest).unwrap().number, 2);
    drop(store);
    let db = Database::open(&path).unwrap();
    change(&db);
    drop(db);
    let store = Store::open(&path, &identity, options()).unwrap();
    let report = check(&store.read().unwrap(), &|_, _| ProgressBar::hidden()).unwrap();
    assert!(!report.faults.is_empty(), "{table}");
    report.faults
}

#[test]
fn the_check_sees_wrong_sums() {
    for number in 0_u64..3 {
        let faults = damaged("supply", |db| {
            let definition: TableDefinition<'_, &[u8; 8], &[u8]> = TableDefinition::new("supply");
            let txn = db.begin_write().unwrap();
            let row = [7; 64];
            txn.open_table(definition)
                .unwrap()
                .insert(&number.to_be_bytes(), &row[..])
                .unwrap();
            txn.commit().unwrap();
        });
        assert!(
            faults.iter().any(|fault| fault.contains("supply a")),
            "{faults:?}"
        );
    }
    let faults = damaged("vault_outputs", |db| {
        let definition: TableDefinition<'_, &[u8; 36], &[u8]> = TableDefinition::new("vault_outputs");
        let txn = db.begin_write().unwrap();
        let key: [u8; 36] = [&[1; 32][..], &[0, 0, 0, 1]].concat().try_into().unwrap();
        let sats = 7_u64.to_be_bytes();
        txn.open_table(definition)
            .unwrap()
            .insert(&key, &sats[..])
            .unwrap();
        txn.commit().unwrap();
    });
    assert!(faults[0].contains("at L1 height 101: sats"), "{faults:?}");
}

#[test]
fn a_store_of_the_format_before_is_refused_with_both_versions() {
    let (identity, genesis) = genesis(&GENESIS_OPS);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chain.redb");
    drop(Store::create(&path, &identity, &genesis, options()).unwrap());
    let db = Database::open(&path).unwrap();
    let definition: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
    let txn = db.begin_write().unwrap();
    txn.open_table(definition)
        .unwrap()
        .insert("format", &1_u32.to_be_bytes()[..])
        .unwrap();
    txn.commit().unwrap();
    drop(db);
    let refused = Store::open(&path, &identity, options()).map(|_| ()).unwrap_err();
    assert_eq!(refused.to_string(), "store format version: expected 2, got 1");
}
