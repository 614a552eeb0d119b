//! BLAKE3 in Script against the crate, by Bitcoin Core and by our executor.

mod core;

use bitcoin::opcodes::all::OP_NUMEQUALVERIFY;
use bitsect_judge::hash::blake3::{hash_digits, hash_doubled, hash_node};
use bitsect_judge::script::{Assembler, Item, MAX_STACK, number};
use bitsect_judge::word::Digit;
use core::Spend;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, RngCore, SeedableRng};

/// Digits of the witness that are below, at most as many as a leaf has.
const BELOW: usize = 280;
/// Bytes of the routine for 64 and for 48 digits, and for 48 of a node whose right half is known.
const SIZES: [usize; 3] = [44_720, 44_140, 42_480];
/// Bytes where the right half is zero.
const HALF: usize = 40_920;
/// Bytes for 48 digits where nothing is below.
const ALONE: usize = 43_250;

fn digits(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().flat_map(|byte| [byte & 15, byte >> 4]).collect()
}

/// A leaf that demands the first digits of the hash of the witness's last digits, which lie in the order `place`, and of
/// the `known` digits, which are written into the Script. With it the hash's bytes, and the most items on both stacks.
fn leaf(place: &[usize], known: &[u8], wanted: &[u8], below: usize) -> (Spend, usize, usize) {
    let mut a = Assembler::new();
    for index in 0..below {
        a.witness(&format!("below {index}"));
    }
    let mut message = [None; 128];
    for index in place {
        message[*index] = Some(a.witness(&format!("digit {index}")));
    }
    let items: Vec<Item> = message.iter().flatten().copied().collect();
    let got = if known.is_empty() {
        hash_node(&mut a, &items.try_into().unwrap(), wanted.len())
    } else {
        let known = known.iter().map(|digit| Digit::Constant(*digit));
        let all: Vec<Digit> = items.into_iter().map(Digit::Item).chain(known).collect();
        hash_digits(&mut a, &all.try_into().unwrap(), wanted.len())
    };
    let (size, deepest) = (a.size(), a.deepest());
    for (item, digit) in got.iter().zip(wanted) {
        a.take(*item);
        a.push(i64::from(*digit));
        a.op(OP_NUMEQUALVERIFY);
    }
    a.succeed();
    (Spend::new(&a.finish().0), size, deepest)
}

fn witness(place: &[usize], node: &[u8; 64], below: usize) -> Vec<Vec<u8>> {
    let digits = digits(node);
    let message = place
        .iter()
        .map(|index| number::encode(i64::from(digits[*index])));
    (0..below).map(|_| number::encode(7)).chain(message).collect()
}

fn nodes() -> Vec<[u8; 64]> {
    let mut rng = StdRng::seed_from_u64(3);
    let mut nodes = vec![[0; 64], [0xff; 64], std::array::from_fn(|index| index as u8)];
    for bit in [0, 31, 32, 255, 511] {
        let mut node = [0; 64];
        node[bit / 8] = 1 << (bit % 8);
        nodes.push(node);
    }
    for _ in 0..8 {
        let mut node = [0; 64];
        rng.fill_bytes(&mut node);
        nodes.push(node);
    }
    nodes
}

/// Asserts that a node's hash is taken, and no other.
fn check(place: &[usize], node: &[u8; 64], count: usize, rng: &mut StdRng) {
    let digits = digits(node);
    let mut wanted = self::digits(blake3::hash(node).as_bytes());
    wanted.truncate(count);
    let known = &digits[place.len()..];
    let items = witness(place, node, BELOW);
    let (spend, size, deepest) = leaf(place, known, &wanted, BELOW);
    assert!(spend.takes(&items));
    let bound = match (place.len(), count) {
        (128, 49..) => SIZES[0],
        (128, _) => SIZES[1],
        _ if known.iter().all(|digit| *digit == 0) => HALF,
        _ => SIZES[2],
    };
    assert!(size <= bound, "{size} bytes");
    assert!(deepest <= MAX_STACK, "{deepest} items");
    let wrong = rng.random_range(0..count);
    wanted[wrong] ^= 1 << rng.random_range(0..4);
    assert!(
        !leaf(place, known, &wanted, BELOW).0.takes(&items),
        "digit {wrong} is not read"
    );
}

#[test]
fn the_hash_is_that_of_the_crate() {
    let mut rng = StdRng::seed_from_u64(4);
    for node in nodes() {
        let mut place: Vec<usize> = (0..128).collect();
        place.shuffle(&mut rng);
        for count in [64, 48] {
            check(&place, &node, count, &mut rng);
        }
    }
}

#[test]
fn any_number_of_digits_is_given() {
    let mut rng = StdRng::seed_from_u64(5);
    let place: Vec<usize> = (0..128).collect();
    let node = nodes()[9];
    for count in [1, 8, 20, 33, 56, 63] {
        check(&place, &node, count, &mut rng);
    }
}

#[test]
fn half_of_a_node_may_be_known() {
    let mut rng = StdRng::seed_from_u64(6);
    for mut node in nodes() {
        let mut place: Vec<usize> = (0..64).collect();
        place.shuffle(&mut rng);
        check(&place, &node, 48, &mut rng);
        node[32..].fill(0);
        check(&place, &node, 48, &mut rng);
    }
}

#[test]
fn a_digit_need_not_be_minimal() {
    let node = nodes()[9];
    let place: Vec<usize> = (0..128).collect();
    let mut wanted = digits(blake3::hash(&node).as_bytes());
    let mut items = witness(&place, &node, 0);
    items[5].push(0);
    items[127].push(0);
    assert!(leaf(&place, &[], &wanted, 0).0.takes(&items));
    wanted[63] ^= 8;
    assert!(!leaf(&place, &[], &wanted, 0).0.takes(&items));
}

#[test]
fn little_stack_and_much_of_it_will_do() {
    let node = nodes()[10];
    let place: Vec<usize> = (0..128).collect();
    let mut wanted = digits(blake3::hash(&node).as_bytes());
    wanted.truncate(48);
    let mut sizes = Vec::new();
    for below in [0, 100, 200, 300, 408] {
        let (spend, size, deepest) = leaf(&place, &[], &wanted, below);
        assert!(spend.takes(&witness(&place, &node, below)));
        assert!(deepest <= MAX_STACK, "{deepest} items");
        sizes.push(size);
    }
    assert!(sizes[0] <= ALONE, "{} bytes", sizes[0]);
    assert!(sizes.is_sorted(), "{sizes:?}");
}

#[test]
fn twice_each_digit_is_shorter() {
    let node = nodes()[11];
    let place: Vec<usize> = (0..128).collect();
    let mut a = Assembler::new();
    let items: Vec<Item> = place
        .iter()
        .map(|index| a.witness(&format!("digit {index}")))
        .collect();
    let message: Vec<Digit> = items.into_iter().map(Digit::Item).collect();
    let got = hash_doubled(&mut a, &message.try_into().unwrap(), 48);
    assert!(a.size() <= ALONE - 350, "{} bytes", a.size());
    for (item, digit) in got.iter().zip(digits(blake3::hash(&node).as_bytes())) {
        a.take(*item);
        a.push(2 * i64::from(digit));
        a.op(OP_NUMEQUALVERIFY);
    }
    a.succeed();
    assert!(Spend::new(&a.finish().0).takes(&witness(&place, &node, 0)));
}
