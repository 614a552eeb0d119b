//! The store's rules, one by one.

use std::cell::RefCell;

use alloy_primitives::{B256, U256};
use bitsect_vm::chain::OutPoint;
use bitsect_vm::state::StateReader;
use indicatif::ProgressBar;
use redb::backends::InMemoryBackend;
use redb::{Database, TableDefinition};

use super::kit::{
    GENESIS_OPS, Op, address, append, assert_sound, block, genesis, log_limits, memory_store, next_block,
    slot, state_hash, topic,
};
use crate::store::admin::{DbCommand, ExportArgs, PruneArgs, RollbackArgs, SnapshotArgs, check, run_db};
use crate::store::{
    BatchRecord, Head, Identity, JobPut, L1Block, LogLimits, LogQuery, Store, StoreError, StoreOptions,
};

fn options() -> StoreOptions {
    StoreOptions::default()
}

#[test]
fn another_identity_is_refused_with_both_values() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a").join("chain.redb");
    let (identity, genesis) = genesis(&GENESIS_OPS);
    drop(Store::create(&path, &identity, &genesis, options()).unwrap());
    assert!(Store::open(&path, &identity, options()).is_ok());
    assert!(matches!(
        Store::create(&path, &identity, &genesis, options()),
        Err(StoreError::NotEmpty { .. })
    ));
    let others = [
        Identity {
            chain_id: 8,
            ..identity
        },
        Identity {
            genesis_hash: B256::repeat_byte(9),
            ..identity
        },
        Identity {
            params_hash: B256::repeat_byte(9),
            ..identity
        },
    ];
    let messages = others.map(|other| match Store::open(&path, &other, options()) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("a store of another identity was opened"),
    });
    assert_eq!(messages[0], "chain id: expected 8, the store has 7");
    for (message, got) in messages[1..]
        .iter()
        .zip([identity.genesis_hash, identity.params_hash])
    {
        assert!(
            message.contains(&got.to_string()) && message.contains("0x0909"),
            "{message}"
        );
    }
}

#[test]
fn an_empty_file_becomes_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chain.redb");
    drop(Database::create(&path).unwrap());
    let (identity, genesis) = genesis(&GENESIS_OPS);
    assert!(matches!(
        Store::open(&path, &identity, options()),
        Err(StoreError::Empty)
    ));
    let store = Store::open_or_create(&path, &identity, options, || genesis).unwrap();
    assert_eq!(store.identity().unwrap(), identity);
    assert_sound(&store);
}

#[test]
fn a_block_must_fit() {
    let store = memory_store();
    append(&store, &[Op::Pay(3, 1, 5)], 0);
    let good = next_block(&store.read().unwrap(), &[Op::Pay(3, 2, 6), Op::Log(1, 1)], 0);
    let edits: [fn(&mut crate::store::NewBlock); 8] = [
        |block| block.header.number += 1,
        |block| block.header.parent_hash = B256::ZERO,
        |block| block.hash = B256::ZERO,
        |block| block.senders.clear(),
        |block| block.receipts.clear(),
        |block| block.l1_fees.clear(),
        |block| block.tree.root = B256::ZERO,
        |block| block.l1_origin.hash = B256::ZERO,
    ];
    for (index, edit) in edits.into_iter().enumerate() {
        let mut bad = good.clone();
        edit(&mut bad);
        let error = store.write(|writer| writer.append_block(&bad)).unwrap_err();
        assert!(matches!(error, StoreError::Block { .. }), "edit {index}: {error}");
    }
    let mut bad = good.clone();
    let change = bad.changes.accounts.values_mut().next().unwrap();
    change.before = change
        .before
        .map(|before| bitsect_vm::state::Account { nonce: 77, ..before });
    let error = store.write(|writer| writer.append_block(&bad)).unwrap_err();
    assert!(matches!(error, StoreError::StateMismatch { .. }), "{error}");
    assert_eq!(store.read().unwrap().head(Head::Latest).unwrap().number, 1);
    store.write(|writer| writer.append_block(&good)).unwrap();
    assert_sound(&store);
}

#[test]
fn a_swallowed_error_commits_nothing() {
    let store = memory_store();
    let good = next_block(&store.read().unwrap(), &[Op::Pay(3, 2, 6)], 0);
    let mut bad = good.clone();
    bad.changes
        .accounts
        .values_mut()
        .for_each(|change| change.before = change.after);
    bad.changes
        .accounts
        .values_mut()
        .for_each(|change| change.after = None);
    let done = store.write(|writer| -> Result<(), StoreError> {
        assert!(writer.append_block(&bad).is_err());
        Ok(())
    });
    assert!(matches!(done, Err(StoreError::Failed)));
    assert_eq!(store.read().unwrap().head(Head::Latest).unwrap().number, 0);
    assert_sound(&store);
}

#[test]
fn one_write_may_append_many_blocks() {
    let store = memory_store();
    store
        .write(|writer| -> Result<(), StoreError> {
            for number in 0..5 {
                let parent = writer.header(number)?.unwrap();
                let ops = [Op::Pay(4, number, number), Op::Slot(1, 3, number), Op::Log(2, 2)];
                let child = block(Some(&parent), writer, writer, &ops, 0);
                writer.append_block(&child)?;
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(store.read().unwrap().head(Head::Latest).unwrap().number, 5);
    assert_sound(&store);
}

#[test]
fn snapshots_do_not_change() {
    let store = memory_store();
    let old = store.read().unwrap();
    append(&store, &[Op::Pay(0, 9, 9)], 0);
    assert_eq!(old.head(Head::Latest).unwrap().number, 0);
    assert_eq!(
        old.state_at(0)
            .unwrap()
            .account(address(0))
            .unwrap()
            .unwrap()
            .balance,
        U256::from(1_000)
    );
    let new = store.read().unwrap();
    assert_eq!(
        new.state_at(1)
            .unwrap()
            .account(address(0))
            .unwrap()
            .unwrap()
            .balance,
        U256::from(9)
    );
    assert_eq!(
        new.state_at(0)
            .unwrap()
            .account(address(0))
            .unwrap()
            .unwrap()
            .balance,
        U256::from(1_000)
    );
    assert!(matches!(
        new.state_at(2),
        Err(StoreError::StateNotHeld {
            number: 2,
            first: 0,
            last: 1
        })
    ));
}

#[test]
fn blocks_transactions_and_receipts_are_found() {
    let store = memory_store();
    let block = append(&store, &[Op::Log(1, 1), Op::Log(2, 2)], 0);
    let view = store.read().unwrap();
    assert_eq!(
        view.header_by_hash(block.hash).unwrap().unwrap().header,
        block.header
    );
    assert_eq!(view.header_by_hash(B256::ZERO).unwrap(), None);
    assert_eq!(view.block_l1_origin(1).unwrap().unwrap(), block.l1_origin);
    assert_eq!(view.transaction_count(1).unwrap(), Some(2));
    let found = view
        .transaction(block.transactions[1].tx_hash())
        .unwrap()
        .unwrap();
    assert_eq!(
        (found.block, found.index, &found.transaction),
        (1, 1, &block.transactions[1])
    );
    let receipts = view.receipts(1).unwrap().unwrap();
    assert_eq!(view.receipt_at(1, 1).unwrap().unwrap(), receipts[1]);
    assert_eq!((receipts[1].gas_used, receipts[1].first_log), (21_001, 2));
    assert_eq!(view.receipt_at(1, 2).unwrap(), None);
    assert_eq!(
        (
            view.header(2).unwrap(),
            view.body(2).unwrap(),
            view.receipts(2).unwrap()
        ),
        (None, None, None)
    );
}

#[test]
fn logs_are_found_within_limits() {
    let store = memory_store();
    for number in 0..20u8 {
        append(&store, &[Op::Log(number % 3, number % 5), Op::Log(7, 9)], 0);
    }
    let view = store.read().unwrap();
    let find = |addresses: &[u8], topics: &[&[u8]], from, to, limits: LogLimits| {
        let query = LogQuery {
            from,
            to,
            addresses: addresses.iter().map(|id| address(*id)).collect(),
            topics: topics
                .iter()
                .map(|any| any.iter().map(|id| topic(*id)).collect())
                .collect(),
        };
        view.logs(&query, &limits)
    };
    // Each op gives one transaction with the same log twice.
    assert_eq!(find(&[], &[], 0, u64::MAX, log_limits()).unwrap().len(), 80);
    assert_eq!(find(&[7], &[], 1, 20, log_limits()).unwrap().len(), 40);
    assert_eq!(find(&[1], &[], 1, 20, log_limits()).unwrap().len(), 14);
    assert_eq!(find(&[], &[&[4]], 1, 20, log_limits()).unwrap().len(), 8);
    assert_eq!(find(&[], &[&[4, 3]], 1, 10, log_limits()).unwrap().len(), 8);
    assert_eq!(find(&[1, 2], &[&[4]], 1, 20, log_limits()).unwrap().len(), 6);
    assert_eq!(find(&[], &[&[], &[4]], 1, 20, log_limits()).unwrap().len(), 0);
    assert_eq!(find(&[], &[], 30, 20, log_limits()).unwrap().len(), 0);
    let found = find(&[7], &[], 5, 5, log_limits()).unwrap();
    assert_eq!(found.iter().map(|log| log.log_index).collect::<Vec<_>>(), [2, 3]);
    assert!(
        found
            .iter()
            .all(|log| log.block.number == 5 && log.transaction_index == 1 && log.timestamp == 1_005)
    );
    assert_eq!(
        found[0].transaction_hash,
        view.transaction_at(5, 1).unwrap().unwrap().transaction.tx_hash()
    );
    let few = LogLimits {
        blocks: 3,
        ..log_limits()
    };
    assert!(matches!(
        find(&[], &[], 1, 4, few),
        Err(StoreError::LogBlocks { got: 4, limit: 3 })
    ));
    let few = LogLimits {
        results: 10,
        ..log_limits()
    };
    assert!(matches!(
        find(&[], &[], 1, 9, few),
        Err(StoreError::LogResults {
            limit: 10,
            from: 1,
            fits: 2
        })
    ));
    let late = LogLimits {
        deadline: std::time::Instant::now() - std::time::Duration::from_secs(1),
        ..few
    };
    assert!(matches!(
        find(&[], &[], 1, 2, late),
        Err(StoreError::LogTimeout { .. })
    ));
}

/// Appends blocks and derives them: each L1 block is one unit and then `per_l1` blocks, a unit each.
fn derived(store: &Store, l1_blocks: u32, per_l1: u64) {
    for _ in 0..l1_blocks {
        let view = store.read().unwrap();
        let (mut unit, height) = (
            view.unit_count().unwrap() + 1,
            view.last_l1_block().unwrap().height + 1,
        );
        drop(view);
        let push = |unit: u64, block| {
            let encoded = format!("unit {unit}").into_bytes();
            store
                .write(|writer| writer.push_unit(unit, state_hash(unit), &encoded, block))
                .unwrap();
        };
        push(unit, None);
        for _ in 0..per_l1 {
            let block = append(store, &[Op::Pay(5, unit, unit), Op::Slot(6, 1, unit)], 0);
            unit += 1;
            push(unit, Some(block.header.number));
        }
        let encoded = format!("unit {unit}").into_bytes();
        store
            .write(|writer| -> Result<(), StoreError> {
                let latest = writer.head(Head::Latest)?.number;
                writer.put_batch(&BatchRecord {
                    first_block: latest + 1 - per_l1,
                    last_block: latest,
                    commit_txid: B256::repeat_byte(1),
                    l1_height: height,
                    l1_hash: B256::repeat_byte(2),
                })?;
                writer.set_safe(latest)?;
                let hash = B256::repeat_byte(height as u8);
                writer.push_l1_block(
                    &L1Block {
                        height,
                        hash,
                        units: unit,
                    },
                    &encoded,
                )
            })
            .unwrap();
    }
}

#[test]
fn the_derived_chain_goes_back_with_bitcoin() {
    let store = memory_store();
    derived(&store, 4, 3);
    assert_sound(&store);
    let view = store.read().unwrap();
    assert_eq!(
        (view.unit_count().unwrap(), view.unit_of_block(4).unwrap()),
        (16, Some(6))
    );
    assert_eq!(view.chain_state(6).unwrap(), Some(state_hash(6)));
    assert_eq!(view.batch_of(5).unwrap().unwrap().first_block, 4);
    assert_eq!(view.batch_of(0).unwrap(), None);
    assert_eq!(view.batch_of(13).unwrap(), None);
    store.write(|writer| writer.set_finalized(3)).unwrap();
    let refused = store.write(|writer| writer.rollback_latest_to(11)).unwrap_err();
    assert!(
        matches!(
            refused,
            StoreError::BelowHead {
                number: 11,
                bound: 12,
                head: "safe"
            }
        ),
        "{refused}"
    );
    let back = store.write(|writer| writer.rollback_l1_to(102)).unwrap();
    assert_eq!((back.l1.units, back.safe.number), (8, 6));
    assert_eq!(back.encoded_chain_state, b"unit 8");
    let view = store.read().unwrap();
    assert_eq!(view.head(Head::Safe).unwrap().number, 6);
    assert_eq!(view.head(Head::Latest).unwrap().number, 12);
    assert_eq!(view.encoded_chain_state().unwrap(), b"unit 8");
    assert_eq!(
        (view.unit_count().unwrap(), view.unit_of_block(7).unwrap()),
        (8, None)
    );
    assert_eq!(view.batch_of(7).unwrap(), None);
    assert_eq!(view.last_l1_block().unwrap().height, 102);
    let removed = store.write(|writer| writer.rollback_latest_to(6)).unwrap();
    assert_eq!(
        removed
            .iter()
            .map(|block| block.header.header.number)
            .collect::<Vec<_>>(),
        [7, 8, 9, 10, 11, 12]
    );
    assert_sound(&store);
    let refused = store.write(|writer| writer.rollback_l1_to(100)).unwrap_err();
    assert!(
        matches!(
            refused,
            StoreError::BelowHead {
                head: "finalized",
                ..
            }
        ),
        "{refused}"
    );
    let refused = store.write(|writer| writer.rollback_l1_to(90)).unwrap_err();
    assert!(
        matches!(
            refused,
            StoreError::L1NotHeld {
                height: 90,
                first: 100,
                last: 102
            }
        ),
        "{refused}"
    );
    derived(&store, 2, 2);
    assert_sound(&store);
}

#[test]
fn units_and_batches_follow() {
    let store = memory_store();
    derived(&store, 1, 2);
    let unit = |number, block| {
        store
            .write(|writer| writer.push_unit(number, B256::ZERO, b"", block))
            .unwrap_err()
    };
    assert!(matches!(unit(3, None), StoreError::Sequence { what: "unit", .. }));
    assert!(matches!(unit(5, None), StoreError::Sequence { what: "unit", .. }));
    assert!(matches!(
        unit(4, Some(2)),
        StoreError::Sequence {
            what: "block of a unit",
            ..
        }
    ));
    assert!(matches!(
        unit(4, Some(3)),
        StoreError::NoBlock { number: 3, latest: 2 }
    ));
    let l1 = |height, units| {
        let block = L1Block {
            height,
            hash: B256::ZERO,
            units,
        };
        store
            .write(|writer| writer.push_l1_block(&block, b""))
            .unwrap_err()
    };
    assert!(matches!(
        l1(101, 3),
        StoreError::Sequence {
            what: "L1 height",
            ..
        }
    ));
    assert!(matches!(l1(102, 2), StoreError::Sequence { .. }));
    let batch = |first_block, last_block, l1_height| {
        let hash = B256::ZERO;
        let batch = BatchRecord {
            first_block,
            last_block,
            commit_txid: hash,
            l1_height,
            l1_hash: hash,
        };
        store.write(|writer| writer.put_batch(&batch)).unwrap_err()
    };
    assert!(matches!(batch(2, 3, 101), StoreError::Sequence { .. }));
    assert!(matches!(batch(4, 3, 101), StoreError::Sequence { .. }));
    assert!(matches!(batch(3, 3, 100), StoreError::Sequence { .. }));
    let heads = store.write(|writer| writer.set_safe(9)).unwrap_err();
    assert!(matches!(
        heads,
        StoreError::Heads {
            head: "safe",
            latest: 2,
            ..
        }
    ));
    let heads = store.write(|writer| writer.set_finalized(3)).unwrap_err();
    assert!(matches!(
        heads,
        StoreError::Heads {
            head: "finalized",
            safe: 2,
            ..
        }
    ));
}

#[test]
fn one_baton_has_one_job() {
    let store = memory_store();
    let baton = OutPoint {
        txid: B256::repeat_byte(1),
        vout: 0,
    };
    let put = |bytes: &'static [u8]| store.write(|writer| writer.put_job(&baton, bytes));
    assert_eq!(put(b"first").unwrap(), JobPut::New);
    assert_eq!(put(b"first").unwrap(), JobPut::Same);
    assert!(matches!(put(b"second"), Err(StoreError::JobConflict { .. })));
    assert!(
        store
            .write(|writer| writer.set_job_state(&baton, b"sent"))
            .unwrap()
    );
    let other = OutPoint { vout: 1, ..baton };
    assert!(
        !store
            .write(|writer| writer.set_job_state(&other, b"sent"))
            .unwrap()
    );
    let jobs = store.read().unwrap().jobs().unwrap();
    assert_eq!(jobs.len(), 1);
    assert_eq!(
        (&jobs[0].1.payload[..], &jobs[0].1.state[..]),
        (&b"first"[..], &b"sent"[..])
    );
    assert!(store.write(|writer| writer.delete_job(&baton)).unwrap());
    assert_eq!(store.read().unwrap().job(&baton).unwrap(), None);
}

#[test]
fn blobs_and_extras_are_kept() {
    let store = memory_store();
    let key = B256::repeat_byte(8);
    store
        .write(|writer| -> Result<(), StoreError> {
            writer.put_blob(key, b"frame")?;
            writer.put_extra("wallet", b"state")
        })
        .unwrap();
    let view = store.read().unwrap();
    assert_eq!(view.blob(key).unwrap().as_deref(), Some(&b"frame"[..]));
    assert_eq!(view.extra("wallet").unwrap().as_deref(), Some(&b"state"[..]));
    assert!(store.write(|writer| writer.delete_blob(key)).unwrap());
    assert!(store.write(|writer| writer.delete_extra("wallet")).unwrap());
    assert_eq!(store.read().unwrap().blob(key).unwrap(), None);
}

#[test]
fn pruning_is_bounded_and_stops_at_finality() {
    let store = memory_store();
    derived(&store, 5, 4);
    store.write(|writer| writer.set_finalized(12)).unwrap();
    let step = store.write(|writer| writer.prune_history(100, 1)).unwrap();
    assert!(!step.done && step.removed > 0);
    assert_eq!(store.read().unwrap().history_start().unwrap(), 1);
    while !store.write(|writer| writer.prune_history(100, 5)).unwrap().done {}
    let view = store.read().unwrap();
    assert_eq!(view.history_start().unwrap(), 12);
    let error = view.state_at(11).map(|_| ()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the state of block 11 is not held: blocks 12 to 20 are"
    );
    assert!(matches!(
        view.tree_at(11).map(|_| ()),
        Err(StoreError::StateNotHeld { .. })
    ));
    assert!(
        store
            .write(|writer| writer.prune_l1_states(103, 100))
            .unwrap()
            .done
    );
    assert!(matches!(
        store.read().unwrap().encoded_chain_state_at(102),
        Err(StoreError::L1NotHeld { .. })
    ));
    assert_sound(&store);
}

#[test]
fn a_damaged_row_is_an_error_that_names_it() {
    type Damage = (&'static str, Vec<u8>, &'static [u8]);
    let damages: [Damage; 4] = [
        ("headers", 1u64.to_be_bytes().to_vec(), b"short"),
        ("bodies", 1u64.to_be_bytes().to_vec(), &[0, 0, 0, 9, 1]),
        ("receipts", 1u64.to_be_bytes().to_vec(), &[0xff; 7]),
        ("changes", 1u64.to_be_bytes().to_vec(), &[0, 0, 0, 1]),
    ];
    for (table, key, bytes) in damages {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chain.redb");
        let (identity, genesis) = genesis(&GENESIS_OPS);
        let store = Store::create(&path, &identity, &genesis, options()).unwrap();
        append(&store, &[Op::Log(1, 1), Op::Pay(1, 2, 3)], 0);
        append(&store, &[Op::Log(1, 1), Op::Pay(1, 3, 3)], 0);
        drop(store);
        let db = Database::open(&path).unwrap();
        let txn = db.begin_write().unwrap();
        let definition: TableDefinition<'_, &[u8; 8], &[u8]> = TableDefinition::new(table);
        let key: [u8; 8] = key.try_into().unwrap();
        txn.open_table(definition).unwrap().insert(&key, bytes).unwrap();
        txn.commit().unwrap();
        drop(db);
        let store = Store::open(&path, &identity, options()).unwrap();
        let report = check(&store.read().unwrap(), &|_, _| ProgressBar::hidden()).unwrap();
        let named = format!("table {table}, key 0000000000000001");
        assert!(
            report.faults.iter().any(|fault| fault.contains(&named)),
            "{table}: {report}"
        );
    }
}

#[test]
fn check_sees_a_wrong_flat_state() {
    let backend = InMemoryBackend::new();
    let (identity, genesis) = genesis(&GENESIS_OPS);
    let db = Database::builder().create_with_backend(backend).unwrap();
    let store = Store::create_in(db, &identity, &genesis).unwrap();
    append(&store, &[Op::Pay(1, 2, 3)], 0);
    let wrong = RefCell::new(0);
    store
        .write(|writer| -> Result<(), StoreError> {
            *wrong.borrow_mut() += 1;
            let key = crate::store::rows::slot_key(address(1), slot(2));
            writer
                .tables
                .storage
                .insert(&key, U256::from(5).to_be_bytes::<32>().as_slice())?;
            Ok(())
        })
        .unwrap();
    let report = check(&store.read().unwrap(), &|_, _| ProgressBar::hidden()).unwrap();
    assert!(
        report
            .faults
            .iter()
            .any(|fault| fault.contains("state root of the flat state")),
        "{report}"
    );
}

#[test]
fn the_admin_commands_work_on_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chain.redb");
    let (identity, genesis) = genesis(&GENESIS_OPS);
    let store = Store::create(&path, &identity, &genesis, options()).unwrap();
    derived(&store, 3, 3);
    append(&store, &[Op::Pay(1, 8, 8), Op::Log(1, 1)], 0);
    drop(store);
    let run = |command: &DbCommand| {
        let mut out = Vec::new();
        run_db(command, &path, &mut out).map(|()| String::from_utf8(out).unwrap())
    };
    assert!(
        run(&DbCommand::Check)
            .unwrap()
            .contains("read 11 blocks, 1 transactions")
    );
    let stats = run(&DbCommand::Stats).unwrap();
    assert!(
        stats.contains("latest     10 ") && stats.contains("account_history"),
        "{stats}"
    );
    let copy = folder.path().join("copy.redb");
    run(&DbCommand::Snapshot(SnapshotArgs { file: copy.clone() })).unwrap();
    assert!(run(&DbCommand::Snapshot(SnapshotArgs { file: copy.clone() })).is_err());
    let file = folder.path().join("blocks.rlp");
    run(&DbCommand::Export(ExportArgs {
        file: file.clone(),
        from: 2,
        to: None,
    }))
    .unwrap();
    let mut bytes = &std::fs::read(&file).unwrap()[..];
    let store = Store::open(&copy, &identity, options()).unwrap();
    assert_sound(&store);
    for number in 2..=10 {
        let block: alloy_consensus::Block<bitsect_vm::chain::Transaction> =
            alloy_rlp::Decodable::decode(&mut bytes).unwrap();
        assert_eq!(
            Some(block.header.hash_slow()),
            store.read().unwrap().block_hash(number).unwrap()
        );
    }
    assert!(bytes.is_empty());
    assert_eq!(
        run(&DbCommand::Rollback(RollbackArgs { to: 5 })).unwrap(),
        "removed 5 blocks; the latest is 5\n"
    );
    assert!(run(&DbCommand::Check).unwrap().contains("read 6 blocks"));
    let prune = PruneArgs {
        keep_blocks: 0,
        keep_l1_blocks: 0,
        compact: true,
    };
    assert!(
        run(&DbCommand::Prune(prune))
            .unwrap()
            .contains("states are held from block 0")
    );
    assert!(run(&DbCommand::Check).unwrap().contains("0 faults"));
    let store = Store::open(&path, &identity, options()).unwrap();
    assert_eq!(store.read().unwrap().head(Head::Safe).unwrap().number, 3);
    assert_eq!(store.read().unwrap().last_l1_block().unwrap().height, 101);
}
