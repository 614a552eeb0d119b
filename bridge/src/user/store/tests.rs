use alloy_primitives::Address as L2Address;
use bitcoin::{Amount, ScriptBuf};

use super::*;

fn block(height: u32, fork: u8) -> BlockRef {
    let mut hash = [fork; 32];
    hash[0] = height as u8;
    BlockRef::new(height, BlockHash::from_byte_array(hash))
}

fn deposit() -> Deposit {
    Deposit {
        tag: ScriptBuf::new(),
        key: 3,
        amount: Amount::from_sat(5),
        counts: true,
        height: None,
        spend: None,
        transaction: None,
        refund: None,
        untold: false,
    }
}

#[test]
fn blocks_come_in_order_and_take_back_what_they_had() {
    let dir = tempfile::tempdir().unwrap();
    let chain = Digest([1; 32]);
    let place = OutPoint::null();
    let store = UserStore::open(dir.path(), &chain, block(5, 0)).unwrap();
    let confirm = |height| {
        move |deposits: &mut Deposits<'_>| {
            let deposit = Deposit {
                height: Some(height),
                ..deposit()
            };
            deposits.put(&place, &deposit)
        }
    };
    let gap = store
        .connect(block(7, 0), block(6, 0).hash, |_| Ok(()))
        .unwrap_err();
    assert!(matches!(gap, StoreError::Gap { .. }));
    store.connect(block(6, 0), block(5, 0).hash, |_| Ok(())).unwrap();
    store.connect(block(7, 0), block(6, 0).hash, confirm(7)).unwrap();
    // Twice is no harm, and is not looked at.
    store
        .connect(block(7, 0), block(6, 0).hash, |_| panic!("known"))
        .unwrap();
    assert_eq!(store.deposits().unwrap()[&place].height, Some(7));
    // Another block of a height takes the place of the first.
    store.connect(block(6, 9), block(5, 0).hash, |_| Ok(())).unwrap();
    assert_eq!(store.deposits().unwrap()[&place].height, None);
    assert_eq!(store.known().unwrap(), [block(5, 0), block(6, 9)]);
    store.connect(block(7, 9), block(6, 9).hash, confirm(7)).unwrap();
    store.disconnect(7).unwrap();
    assert_eq!(store.deposits().unwrap()[&place].height, None);
    drop(store);
    let store = UserStore::open(dir.path(), &chain, block(1, 0)).unwrap();
    assert_eq!(store.known().unwrap(), [block(5, 0), block(6, 9)]);
    drop(store);
    let other = UserStore::open(dir.path(), &Digest([2; 32]), block(1, 0)).unwrap_err();
    assert!(matches!(other, StoreError::Other(_)));
}

#[test]
fn requests_and_withdrawals_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = UserStore::open(dir.path(), &Digest([1; 32]), block(5, 0)).unwrap();
    let (hash, request) = (
        B256::repeat_byte(3),
        Request {
            raw: vec![1, 2].into(),
            account: L2Address::repeat_byte(4),
            nonce: 5,
            amount: Amount::from_sat(6),
        },
    );
    store.keep_request(hash, &request).unwrap();
    assert_eq!(store.requests().unwrap(), [(hash, request)]);
    store.drop_request(hash).unwrap();
    assert!(store.requests().unwrap().is_empty());
    assert_eq!(store.withdrawals().unwrap(), (0, vec![]));
    store.note_withdrawals(&[(9, hash)], 77).unwrap();
    assert_eq!(store.withdrawals().unwrap(), (77, vec![(9, hash)]));
}

#[test]
fn rows_of_before_are_told_of() {
    let mut row = serde_json::to_value(deposit()).unwrap();
    row.as_object_mut().unwrap().remove("untold").unwrap();
    assert_eq!(serde_json::from_value::<Deposit>(row).unwrap(), deposit());
}
