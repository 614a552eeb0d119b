//! A compression of SHA-256 in Script against the machine's and the crate's, by Bitcoin Core and by our executor.

mod core;

use alloy_primitives::B256;
use bitcoin::hashes::Hash;
use bitcoin::opcodes::all::OP_NUMEQUALVERIFY;
use bitsect_judge::hash::sha256::compress;
use bitsect_judge::script::{Assembler, Item, number};
use core::Spend;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngCore, SeedableRng};

/// Digits of the witness that are below.
const BELOW: usize = 140;
/// Bytes of the whole routine.
const SIZE: usize = 107_000;
/// Items on both stacks.
const DEEPEST: usize = 1_000;
/// The initial chaining value (FIPS 180-4, 5.3.3).
const INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

fn digits(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().flat_map(|byte| [byte & 15, byte >> 4]).collect()
}

/// A leaf that demands the first digits of the compression of the witness's last digits, which lie in the order `place`: the
/// chaining value's are 0..64. With it the routine's bytes, and the most items on both stacks.
fn leaf(place: &[usize], wanted: &[u8], below: usize) -> (Spend, usize, usize) {
    let mut a = Assembler::new();
    for index in 0..below {
        a.witness(&format!("below {index}"));
    }
    let mut input: Vec<Option<Item>> = vec![None; 192];
    for index in place {
        input[*index] = Some(a.witness(&format!("digit {index}")));
    }
    let input: Vec<Item> = input.into_iter().flatten().collect();
    let (chaining, block) = input.split_at(64);
    let got = compress(
        &mut a,
        chaining.try_into().unwrap(),
        block.try_into().unwrap(),
        wanted.len(),
    );
    let (size, deepest) = (a.size(), a.deepest());
    for (index, item) in got.iter().enumerate() {
        assert_eq!(a.depth(*item), index);
    }
    for (item, digit) in got.iter().zip(wanted) {
        a.take(*item);
        a.push(i64::from(*digit));
        a.op(OP_NUMEQUALVERIFY);
    }
    a.succeed();
    (Spend::new(&a.finish().0), size, deepest)
}

fn witness(place: &[usize], chaining: &B256, block: &[u8; 64], below: usize) -> Vec<Vec<u8>> {
    let digits = [digits(chaining.as_slice()), digits(block)].concat();
    let input = place
        .iter()
        .map(|index| number::encode(i64::from(digits[*index])));
    (0..below).map(|_| number::encode(7)).chain(input).collect()
}

fn initial() -> B256 {
    let bytes: Vec<u8> = INITIAL.iter().flat_map(|word| word.to_be_bytes()).collect();
    B256::from_slice(&bytes)
}

fn random(rng: &mut StdRng) -> (B256, [u8; 64]) {
    let (mut chaining, mut block) = (B256::ZERO, [0; 64]);
    rng.fill_bytes(chaining.as_mut_slice());
    rng.fill_bytes(&mut block);
    (chaining, block)
}

fn inputs() -> Vec<(B256, [u8; 64])> {
    let mut rng = StdRng::seed_from_u64(5);
    let mut inputs = vec![
        (B256::ZERO, [0; 64]),
        (B256::repeat_byte(0xff), [0xff; 64]),
        (B256::ZERO, [0xff; 64]),
        (B256::repeat_byte(0xff), [0; 64]),
        (initial(), [0; 64]),
        (initial(), std::array::from_fn(|index| index as u8)),
    ];
    for bit in [0, 31, 32, 255, 511] {
        let mut block = [0; 64];
        block[bit / 8] = 1 << (bit % 8);
        inputs.push((initial(), block));
        let mut chaining = B256::ZERO;
        chaining[bit / 8 % 32] = 1 << (bit % 8);
        inputs.push((chaining, [0; 64]));
    }
    inputs.extend((0..8).map(|_| random(&mut rng)));
    inputs
}

#[test]
fn it_is_the_machines_compression() {
    let place: Vec<usize> = (0..192).rev().collect();
    for (chaining, block) in inputs() {
        let hash = bitsect_machine::compress(&chaining, &block);
        let (leaf, size, deepest) = leaf(&place, &digits(hash.as_slice()), BELOW);
        assert!(size <= SIZE, "{size} bytes");
        assert!(deepest <= DEEPEST, "{deepest} items");
        assert!(
            leaf.standard(&witness(&place, &chaining, &block, BELOW)),
            "{chaining} {block:x?}"
        );
    }
}

#[test]
fn it_is_the_crates_hash() {
    let mut block = [0; 64];
    block[..3].copy_from_slice(b"abc");
    (block[3], block[63]) = (0x80, 24);
    let hash = bitcoin::hashes::sha256::Hash::hash(b"abc");
    let place: Vec<usize> = (0..192).collect();
    let (leaf, ..) = leaf(&place, &digits(hash.as_byte_array()), 0);
    assert!(leaf.standard(&witness(&place, &initial(), &block, 0)));
}

#[test]
fn the_digits_may_lie_in_any_order() {
    let mut rng = StdRng::seed_from_u64(6);
    for wanted in [1, 7, 48, 56, 64] {
        let mut place: Vec<usize> = (0..192).collect();
        place.shuffle(&mut rng);
        let (chaining, block) = random(&mut rng);
        let hash = digits(bitsect_machine::compress(&chaining, &block).as_slice());
        let (leaf, size, deepest) = leaf(&place, &hash[..wanted], BELOW);
        assert!(size <= SIZE, "{size} bytes");
        assert!(deepest <= DEEPEST, "{deepest} items");
        assert!(leaf.standard(&witness(&place, &chaining, &block, BELOW)));
    }
}

#[test]
fn another_digit_is_refused() {
    let mut rng = StdRng::seed_from_u64(7);
    let place: Vec<usize> = (0..192).collect();
    let (chaining, block) = random(&mut rng);
    let hash = digits(bitsect_machine::compress(&chaining, &block).as_slice());
    for changed in [0, 1, 13, 40, 63] {
        let mut wrong = hash.clone();
        wrong[changed] ^= 1 << (changed % 4);
        let (leaf, ..) = leaf(&place, &wrong, 0);
        assert!(!leaf.takes(&witness(&place, &chaining, &block, 0)));
    }
    let (leaf, ..) = leaf(&place, &hash, 0);
    assert!(leaf.takes(&witness(&place, &chaining, &block, 0)));
    for byte in [0, 63] {
        let mut other = block;
        other[byte] ^= 1;
        assert!(!leaf.takes(&witness(&place, &chaining, &other, 0)));
    }
}

#[test]
fn a_number_that_is_not_minimal_is_a_digit() {
    let place: Vec<usize> = (0..192).collect();
    let hash = bitsect_machine::compress(&B256::repeat_byte(0x35), &[0x53; 64]);
    let (leaf, ..) = leaf(&place, &digits(hash.as_slice()), 0);
    let mut items = witness(&place, &B256::repeat_byte(0x35), &[0x53; 64], 0);
    for item in &mut items {
        item.push(0);
    }
    assert!(leaf.takes(&items));
}
