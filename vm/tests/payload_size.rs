//! The payload's size per transaction, on batches of 10,000 as a chain would have them.

#[path = "../benches/traffic/mod.rs"]
mod traffic;

use bitsect_vm::derive::payload::{decode, encode};
use traffic::{Amounts, Call, Traffic};

const TRANSACTIONS: usize = 10_000;
const MAX_BODY: u32 = 8 << 20;

/// Payload bytes per transaction, after a round trip.
fn bytes_per_transaction(senders: usize, receivers: Option<usize>, call: Call, amounts: Amounts) -> f64 {
    let batch = Traffic {
        transactions: TRANSACTIONS,
        senders,
        receivers,
        call,
        amounts,
    }
    .batch();
    let payload = encode(&batch).unwrap();
    assert_eq!(decode(&payload, MAX_BODY).unwrap(), batch);
    let bytes = payload.len() as f64 / TRANSACTIONS as f64;
    println!("{call:?}, {senders} senders, {receivers:?} receivers, {amounts:?} amounts: {bytes:.2} bytes");
    bytes
}

#[test]
fn fresh_receivers_take_at_most_92_bytes() {
    for call in [Call::Transfer, Call::Erc20] {
        for senders in [50, 1_000] {
            assert!(bytes_per_transaction(senders, None, call, Amounts::Mixed) <= 92.0);
        }
    }
}

#[test]
fn recurring_receivers_take_at_most_75_bytes() {
    for call in [Call::Transfer, Call::Erc20] {
        for senders in [50, 1_000] {
            assert!(bytes_per_transaction(senders, Some(1_000), call, Amounts::Mixed) <= 75.0);
        }
    }
}

#[test]
fn random_amounts_cost_what_they_hold() {
    for (receivers, limit) in [(None, 95.0), (Some(1_000), 78.0)] {
        assert!(bytes_per_transaction(1_000, receivers, Call::Erc20, Amounts::Random) <= limit);
    }
}
