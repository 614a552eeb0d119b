//! Bitcoin headers: the same as rust-bitcoin's, and a cursor that moves by its rules or not at all.
//!
//! - 0: a header as it is,
//! - 1: a cursor and a header, which is repaired until the cursor takes it or says why it cannot.
#![no_main]

use alloy_primitives::{B256, U256};
use bitcoin::hashes::Hash;
use bitcoin::{CompactTarget, Network};
use bitsect_vm::chain::L1Network;
use bitsect_vm::derive::bitcoin::{L1Header, Target};
use bitsect_vm::derive::{HeaderError, L1Cursor, MEDIAN_WINDOW};
use bitsect_vm_fuzz::typed;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

const NETWORKS: [(L1Network, Network); 4] = [
    (L1Network::Bitcoin, Network::Bitcoin),
    (L1Network::Testnet4, Network::Testnet4),
    (L1Network::Signet, Network::Signet),
    (L1Network::Regtest, Network::Regtest),
];
/// Blocks between two difficulty adjustments.
const INTERVAL: u32 = 2_016;
/// Nonces tried for a proof of work, of which regtest needs two on average.
const ATTEMPTS: u32 = 16;

/// A cursor and what follows it.
#[derive(Arbitrary, Debug)]
struct Input {
    network: u8,
    height: u32,
    at_adjustment: bool,
    first_time: u32,
    steps: [i16; MEDIAN_WINDOW],
    interval_seconds: u32,
    bits: [u32; 3],
    work: [u8; 32],
    headers: Vec<Next>,
}

/// A header, given as differences to one that follows.
#[derive(Arbitrary, Debug)]
struct Next {
    parent: Option<[u8; 32]>,
    seconds: i16,
    bits: Option<u32>,
    fee_rate: u64,
}

fuzz_target!(|data: &[u8]| {
    match data.split_first() {
        Some((0, bytes)) => {
            if let Ok(bytes) = bytes.try_into() {
                check_format(bytes);
            }
        }
        Some((_, rest)) => {
            if let Some(input) = typed::<Input>(rest) {
                run(&input);
            }
        }
        None => {}
    }
});

fn check_format(bytes: &[u8; L1Header::SIZE]) {
    let ours = L1Header::decode(bytes);
    let theirs: bitcoin::block::Header =
        bitcoin::consensus::deserialize(bytes).expect("80 bytes are a header");
    assert_eq!(ours.encode(), *bytes);
    assert_eq!(ours.hash().0, theirs.block_hash().to_byte_array());
    check_target(ours.bits, &ours.hash());
}

fn check_target(bits: u32, hash: &B256) {
    let theirs = bitcoin::Target::from_compact(CompactTarget::from_consensus(bits));
    let Some(ours) = Target::from_compact(bits) else {
        return;
    };
    assert_eq!(ours.number().to_le_bytes(), theirs.to_le_bytes());
    assert_eq!(ours.to_compact(), theirs.to_compact_lossy().to_consensus());
    // rust-bitcoin defines the work of target 1 as the most there is; Bitcoin Core computes it like any other.
    if ours.number() != U256::ONE {
        assert_eq!(ours.work().to_le_bytes(), theirs.to_work().to_le_bytes());
    }
    assert_eq!(
        ours.is_met_by(hash),
        theirs.is_met_by(bitcoin::BlockHash::from_byte_array(hash.0))
    );
}

fn run(input: &Input) {
    let (network, theirs) = NETWORKS[usize::from(input.network) % NETWORKS.len()];
    let mut cursor = cursor(network, input);
    for next in input.headers.iter().take(4) {
        let mut header = L1Header {
            version: 2,
            previous_hash: next.parent.map_or(cursor.hash, B256::new),
            merkle_root: B256::ZERO,
            time: cursor
                .times
                .last()
                .copied()
                .unwrap_or_default()
                .wrapping_add_signed(next.seconds.into()),
            bits: next.bits.unwrap_or(cursor.bits),
            nonce: 0,
        };
        let before = cursor.clone();
        for _ in 0..ATTEMPTS {
            let Err(error) = cursor.advance(network, &header, next.fee_rate) else {
                check_advance(network, &before, &cursor, &header);
                break;
            };
            assert_eq!(cursor, before, "a header that is refused changes nothing");
            match error {
                HeaderError::PreviousHash { expected, .. } => header.previous_hash = expected,
                HeaderError::Bits { expected, .. } => {
                    check_bits(network, theirs, &before, expected);
                    header.bits = expected;
                }
                HeaderError::Time { least, got } => {
                    assert!(u64::from(got) < least);
                    // There may be no later time.
                    header.time = u32::try_from(least).unwrap_or(got);
                }
                HeaderError::ProofOfWork { hash, bits } => {
                    assert!(Target::from_compact(bits).is_none_or(|target| !target.is_met_by(&hash)));
                    header.nonce += 1;
                }
                HeaderError::Height { height } => assert_eq!(height, u32::MAX),
            }
        }
    }
}

fn cursor(network: L1Network, input: &Input) -> L1Cursor {
    let mut time = input.first_time;
    let times: Vec<u32> = input
        .steps
        .iter()
        .map(|step| {
            time = time.saturating_add_signed((*step).into());
            time
        })
        .collect();
    let height = match input.at_adjustment {
        true => (input.height / INTERVAL)
            .saturating_mul(INTERVAL)
            .saturating_sub(1),
        false => input.height,
    };
    // The networks' own limit where the fuzzer has none that is a target.
    let limit = Target::from_compact(network.easiest_bits());
    let bits = input.bits.map(|bits| match Target::from_compact(bits) {
        target if target.is_some() && target <= limit => bits,
        _ => network.easiest_bits(),
    });
    L1Cursor {
        hash: B256::repeat_byte(7),
        height,
        work: U256::from_le_bytes(input.work),
        fee_rates: vec![1_000; times.len()],
        interval_start_time: time.saturating_sub(input.interval_seconds),
        times,
        bits: bits[0],
        interval_start_bits: bits[1],
        last_hard_bits: bits[2],
    }
}

/// At an adjustment rust-bitcoin computes the same target from the same two times.
fn check_bits(network: L1Network, theirs: Network, cursor: &L1Cursor, expected: u32) {
    assert!(Target::from_compact(expected) <= Target::from_compact(network.easiest_bits()));
    let is_adjustment = (cursor.height + 1).is_multiple_of(INTERVAL);
    // What is left of a target of very few bits may be no target; such a chain cannot go on.
    let base = match network {
        L1Network::Regtest => return,
        L1Network::Testnet4 => cursor.interval_start_bits,
        _ => cursor.bits,
    };
    if is_adjustment {
        let last = cursor.times.last().copied().unwrap_or_default();
        let span = last.saturating_sub(cursor.interval_start_time);
        let params = bitcoin::consensus::Params::new(theirs);
        let base = CompactTarget::from_consensus(base);
        let adjusted = CompactTarget::from_next_work_required(base, span.into(), params);
        assert_eq!(expected, adjusted.to_consensus());
    }
}

fn check_advance(network: L1Network, before: &L1Cursor, after: &L1Cursor, header: &L1Header) {
    assert_eq!(after.hash, header.hash());
    assert_eq!(after.height, before.height + 1);
    assert!(after.work > before.work || after.work == U256::MAX);
    assert!(header.time > before.median_time_past());
    assert!(after.times.len() <= MEDIAN_WINDOW && after.fee_rates.len() == after.times.len());
    assert!(
        after.median_time_past() >= before.median_time_past(),
        "BIP-0113 rests on this"
    );
    let target = Target::from_compact(header.bits).expect("it was met");
    assert!(target.is_met_by(&header.hash()));
    assert!(Some(target) <= Target::from_compact(network.easiest_bits()));
    let bytes = alloy_rlp::encode(after);
    assert_eq!(alloy_rlp::decode_exact::<L1Cursor>(&bytes).as_ref(), Ok(after));
}
