//! Chain state: each state has exactly one encoding.
//!
//! - 0: an encoded state as it is,
//! - 1: a state with every list filled, with items of its encoding changed.
#![no_main]

use std::sync::LazyLock;

use alloy_primitives::{Address, B256};
use bitsect_vm::chain::{
    BlobRef, ChainState, CommittedBatch, Frame, InboxCursor, L1Info, OpenBatch, OpenDeposit, Origin,
    OutPoint, commitment_of,
};
use bitsect_vm_fuzz::chain::{genesis, params};
use bitsect_vm_fuzz::rlp::Edits;
use bitsect_vm_fuzz::typed;
use libfuzzer_sys::fuzz_target;

static FULL: LazyLock<Vec<u8>> = LazyLock::new(|| full().encode());

fuzz_target!(|data: &[u8]| {
    match data.split_first() {
        Some((0, bytes)) => check(bytes),
        Some((_, rest)) => {
            if let Some(edits) = typed::<Edits>(rest) {
                check(&edits.apply(&FULL));
            }
        }
        None => {}
    }
});

fn check(bytes: &[u8]) {
    let Ok(state) = ChainState::decode(bytes) else {
        return;
    };
    assert_eq!(state.encode(), bytes, "a state has one encoding");
    assert_eq!(state.commitment(), commitment_of(bytes));
    // None of these may depend on what derivation would never write.
    let params = params();
    let _ = state.next_unit(&params);
    let (median, fee_rate) = (state.l1.median_time_past(), state.l1.median_fee_rate());
    assert!(state.l1.times.is_empty() || state.l1.times.contains(&median));
    assert!(state.l1.fee_rates.is_empty() || state.l1.fee_rates.contains(&fee_rate));
    let mut closed = state;
    closed.close_batch(&params);
    assert_eq!(ChainState::decode(&closed.encode()), Ok(closed));
}

/// A state with every list filled.
fn full() -> ChainState {
    let blob = BlobRef {
        root: B256::repeat_byte(1),
        len: 300,
    };
    let mut state = genesis(&params());
    state.batches = vec![CommittedBatch {
        commit: B256::repeat_byte(2),
        height: 101,
        frames: vec![Frame::HIDDEN, Frame::LOST, Frame::revealed(blob)],
    }];
    state.origins = vec![Origin {
        info: L1Info {
            height: 101,
            hash: B256::repeat_byte(3),
            merkle_root: B256::repeat_byte(4),
            time: 1_700_000_001,
            median_time_past: 1_700_000_000,
            fee_rate: 1_000,
        },
        item_count: 2,
        items: blob,
    }];
    state.deposits = vec![OpenDeposit {
        outpoint: OutPoint {
            txid: B256::repeat_byte(5),
            vout: 1,
        },
        to: Address::repeat_byte(6),
        call: blob,
        height: 101,
    }];
    state.tip.inbox = vec![InboxCursor { items: blob, next: 1 }];
    state.open = Some(OpenBatch {
        commit: B256::repeat_byte(10),
        frames: vec![blob],
        next: 1,
    });
    state
}
