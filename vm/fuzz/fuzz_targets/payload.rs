//! Batch payloads: any bytes give a batch that can be encoded again, or an error.
//!
//! The first byte chooses what the others are, so that the fuzzer need not invent headers or Brotli streams
//! before it reaches what is behind them:
//! - 0: a payload as it is,
//! - 1: a stored body and what follows it, behind a header that fits,
//! - 2: the same with a compressed body.
#![no_main]

use std::sync::LazyLock;

use bitsect_vm::derive::payload::{Batch, HEADER_BYTES, PayloadHeader, decode, encode};
use libfuzzer_sys::fuzz_target;

const MAX_BODY: u32 = 1 << 20;

/// The header of an empty batch, encoded once: the compressor is slower than all that is tested here.
static EMPTY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let empty = Batch {
        first_block: 1,
        parent_hash: Default::default(),
        first_origin: 0,
        last_origin_hash: Default::default(),
        blocks: Vec::new(),
    };
    let mut payload = encode(&empty).expect("an empty batch can be encoded");
    payload.truncate(HEADER_BYTES);
    payload
});

/// A header for the bytes that follow: their first two say how many of the rest are the body, the next byte
/// how many blocks there are.
fn payload(codec: u8, data: &[u8]) -> Option<Vec<u8>> {
    let ([low, high, blocks], rest) = data.split_first_chunk()?;
    let stored = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
    let body = if codec == 0 {
        stored
    } else {
        usize::from(*high) * 16 + usize::from(*low)
    };
    let mut payload = EMPTY.clone();
    payload[5] = codec;
    payload[14] = *blocks;
    payload[86..90].copy_from_slice(&u32::try_from(body).ok()?.to_le_bytes());
    payload[90..94].copy_from_slice(&u32::try_from(stored).ok()?.to_le_bytes());
    PayloadHeader::decode(&payload).expect("the header is well-formed");
    payload.extend_from_slice(rest);
    Some(payload)
}

fuzz_target!(|data: &[u8]| {
    let Some((form, rest)) = data.split_first() else {
        return;
    };
    let payload = match form {
        1 => payload(0, rest),
        2 => payload(1, rest),
        _ => Some(rest.to_vec()),
    };
    let Some(batch) = payload.and_then(|payload| decode(&payload, MAX_BODY).ok()) else {
        return;
    };
    let again = encode(&batch).expect("what decodes can be encoded");
    assert_eq!(
        decode(&again, MAX_BODY),
        Ok(batch),
        "a batch means the same after a round trip"
    );
});
