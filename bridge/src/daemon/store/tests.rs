use super::*;

fn path(value: u32) -> KeyPath {
    KeyPath {
        deployment: B256::repeat_byte(1),
        slot: 2,
        pair: 3,
        step: 4,
        value,
    }
}

#[test]
fn the_first_value_stays() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("daemon.redb");
    let deployment = B256::repeat_byte(1);
    let mut store = DaemonStore::open(&file, deployment).unwrap();
    assert_eq!(store.first(&path(1), b"one").unwrap(), b"one");
    assert_eq!(store.first(&path(1), b"two").unwrap(), b"one");
    drop(store);
    let mut store = DaemonStore::open(&file, deployment).unwrap();
    assert_eq!(store.first(&path(1), b"two").unwrap(), b"one");
    assert_eq!(store.first(&path(2), b"two").unwrap(), b"two");
    drop(store);
    let other = DaemonStore::open(&file, B256::repeat_byte(2)).unwrap_err();
    assert!(matches!(
        other,
        DaemonStoreError::Other(OtherFile {
            field: "deployment",
            ..
        })
    ));
}

#[test]
fn a_pledge_stays_and_is_for_all_or_none() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("daemon.redb");
    let [one, two] = [1, 2].map(|vout| OutPoint::new(bitcoin::Txid::from_byte_array([7; 32]), vout));
    let store = DaemonStore::open(&file, B256::ZERO).unwrap();
    assert_eq!(store.pledge(&[two], Pledge::Assignment, 7).unwrap(), None);
    let refused = store.pledge(&[one, two], Pledge::Move, 7).unwrap();
    assert_eq!(refused, Some((two, Pledge::Assignment)));
    assert_eq!(store.pledged(&one).unwrap(), None);
    assert_eq!(store.pledge(&[one], Pledge::Move, 7).unwrap(), None);
    // The first time counts.
    assert_eq!(store.pledge(&[one], Pledge::Move, 9).unwrap(), None);
    assert_eq!(store.pledged_at(&one).unwrap(), Some((Pledge::Move, 7)));
    drop(store);
    let store = DaemonStore::open(&file, B256::ZERO).unwrap();
    let refused = store.pledge(&[one], Pledge::Assignment, 7).unwrap();
    assert_eq!(refused, Some((one, Pledge::Move)));
    assert_eq!(store.pledged(&two).unwrap(), Some(Pledge::Assignment));
    assert_eq!(store.all_pledged(Pledge::Move).unwrap(), [one]);
    assert_eq!(store.all_pledged(Pledge::Redemption).unwrap(), []);
}

fn transaction(outputs: usize) -> Transaction {
    Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: bitcoin::absolute::LockTime::ZERO,
        input: vec![bitcoin::TxIn::default()],
        output: vec![bitcoin::TxOut::NULL; outputs],
    }
}

#[test]
fn a_pledge_is_released_where_it_is_that() {
    let dir = tempfile::tempdir().unwrap();
    let [one, two] = [1, 2].map(|vout| OutPoint::new(bitcoin::Txid::from_byte_array([7; 32]), vout));
    let store = DaemonStore::open(&dir.path().join("daemon.redb"), B256::ZERO).unwrap();
    store.pledge(&[one], Pledge::Assignment, 7).unwrap();
    store.pledge(&[two], Pledge::Move, 7).unwrap();
    store.release(&[one, two], Pledge::Assignment).unwrap();
    assert_eq!(store.pledged(&one).unwrap(), None);
    assert_eq!(store.pledged(&two).unwrap(), Some(Pledge::Move));
}

#[test]
fn the_newest_redemption_is_kept_with_its_pledge() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("daemon.redb");
    let [one, two] = [1, 2].map(|vout| OutPoint::new(bitcoin::Txid::from_byte_array([7; 32]), vout));
    let store = DaemonStore::open(&file, B256::ZERO).unwrap();
    store.pledge(&[two], Pledge::Move, 7).unwrap();
    assert_eq!(
        store.keep_redemption(two, &transaction(1), 7).unwrap(),
        Some(Pledge::Move)
    );
    assert_eq!(store.redemption(&two).unwrap(), None);
    for outputs in [1, 2] {
        assert_eq!(
            store.keep_redemption(one, &transaction(outputs), 7).unwrap(),
            None
        );
    }
    drop(store);
    let store = DaemonStore::open(&file, B256::ZERO).unwrap();
    assert_eq!(store.redemption(&one).unwrap(), Some(transaction(2)));
    assert_eq!(store.all_pledged(Pledge::Redemption).unwrap(), [one]);
}

#[test]
fn blocks_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let store = DaemonStore::open(&dir.path().join("daemon.redb"), B256::ZERO).unwrap();
    let transaction = transaction(1);
    let at = |height: u32| BlockRef::new(height, BlockHash::from_byte_array([height as u8; 32]));
    let seen = |slot, index| Seen {
        slot,
        index,
        transaction: transaction.clone(),
    };
    store.connect(at(5), &[seen(1, 3), seen(0, 7)]).unwrap();
    store.connect(at(6), &[seen(0, 1)]).unwrap();
    let order = |store: &DaemonStore| -> Vec<(u32, u32)> {
        let seen = store.seen().unwrap().into_iter();
        seen.map(|(height, seen)| (height, seen.slot)).collect()
    };
    assert_eq!(order(&store), [(5, 1), (5, 0), (6, 0)]);
    store.disconnect(6).unwrap();
    assert_eq!(order(&store), [(5, 1), (5, 0)]);
    assert_eq!(store.blocks().unwrap(), [at(5)]);
}
