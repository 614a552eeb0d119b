//! L2 transactions and headers as wallets and peers send them: what decodes has one encoding.
//!
//! - 0: a transaction as it is,
//! - 1: a header as it is,
//! - 2: a transaction, 3: a header, with items of its encoding changed.
#![no_main]

use alloy_eips::eip2718::{Decodable2718, Encodable2718};
use alloy_primitives::{B256, keccak256};
use bitsect_vm::chain::{Header, Transaction};
use bitsect_vm::execute::recover_sender;
use bitsect_vm_fuzz::chain::{CHAIN_ID, transaction};
use bitsect_vm_fuzz::rlp::Edits;
use bitsect_vm_fuzz::typed;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    match data.split_first() {
        Some((0, bytes)) => check_transaction(bytes),
        Some((1, bytes)) => check_header(bytes),
        Some((2, rest)) => {
            if let Some((kind, edits)) = typed::<(u8, Edits)>(rest) {
                let bytes = transaction(kind, CHAIN_ID, 21_000).encoded_2718();
                // A legacy transaction has no type byte.
                let (prefix, list) = bytes.split_at(usize::from(!kind.is_multiple_of(4)));
                check_transaction(&[prefix, &edits.apply(list)].concat());
            }
        }
        Some((_, rest)) => {
            if let Some(edits) = typed::<Edits>(rest) {
                check_header(&edits.apply(&alloy_rlp::encode(header())));
            }
        }
        None => {}
    }
});

fn check_transaction(bytes: &[u8]) {
    let Ok(transaction) = Transaction::decode_2718_exact(bytes) else {
        return;
    };
    assert_eq!(
        transaction.encoded_2718(),
        bytes,
        "a transaction has one encoding"
    );
    assert_eq!(transaction.tx_hash(), keccak256(bytes));
    assert_eq!(recover_sender(&transaction), recover_sender(&transaction.clone()));
}

fn check_header(bytes: &[u8]) {
    let Ok(header) = alloy_rlp::decode_exact::<Header>(bytes) else {
        return;
    };
    assert_eq!(alloy_rlp::encode(&header), bytes, "a header has one encoding");
    assert_eq!(header.hash_slow(), keccak256(bytes));
}

fn header() -> Header {
    Header {
        number: 3,
        gas_limit: 30_000_000,
        timestamp: 1_700_000_000,
        base_fee_per_gas: Some(7),
        withdrawals_root: Some(B256::repeat_byte(1)),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        parent_beacon_block_root: Some(B256::repeat_byte(2)),
        requests_hash: Some(B256::repeat_byte(3)),
        ..Header::default()
    }
}
