//! Signatures in Script: what the key's owner signed is taken, and nothing else.

mod core;

use alloy_primitives::B256;
use bitcoin::hashes::{Hash, hash160};
use bitcoin::opcodes::all::{OP_DROP, OP_NUMEQUALVERIFY};
use bitsect_judge::script::{Assembler, number};
use bitsect_judge::winternitz::{
    KeyPath, MemoryStore, PublicKey, Reading, Seed, Signature, Signer, SignerError, verify,
};
use core::Spend;
use proptest::prelude::*;

const SIZES: [usize; 5] = [1, 4, 24, 32, 64];

fn path(value: u32) -> KeyPath {
    KeyPath {
        deployment: B256::repeat_byte(7),
        slot: 1,
        pair: 2,
        step: 3,
        value,
    }
}

fn signer() -> Signer<MemoryStore> {
    Signer::new(Seed::new([9; 32]), MemoryStore::default())
}

fn readings<'a>(keys: &[&'a PublicKey]) -> Vec<Reading<'a>> {
    let all = keys.iter();
    all.map(|key| Reading { key, kept: u128::MAX }).collect()
}

/// A leaf that wants signatures of these keys, and that the first value's lowest digit be `digit`.
fn leaf(keys: &[&PublicKey], digit: i64) -> Spend {
    let mut a = Assembler::new();
    for index in 0..keys.iter().map(|key| 2 * key.ends().len()).sum() {
        a.witness(&format!("signature {index}"));
    }
    let values = verify(&mut a, &readings(keys));
    a.copy(values[0][0].unwrap());
    a.push(digit);
    a.op(OP_NUMEQUALVERIFY);
    while !a.is_empty() {
        a.op(OP_DROP);
    }
    a.push(1);
    Spend::new(&a.finish().0)
}

fn witness(signatures: &[&Signature]) -> Vec<Vec<u8>> {
    signatures
        .iter()
        .rev()
        .flat_map(|signature| signature.witness())
        .collect()
}

#[test]
fn a_signature_of_every_size_is_taken() {
    for bytes in SIZES {
        for fill in [0x00, 0x5a, 0xff] {
            let mut signer = signer();
            let key = signer.public_key(&path(0), bytes);
            let value = vec![fill; bytes];
            let signature = signer.sign(&path(0), &value).unwrap();
            assert_eq!(key.verify(&signature).unwrap(), value);
            assert!(leaf(&[&key], i64::from(fill & 15)).standard(&signature.witness()));
            assert_eq!(
                Signature::from_witness(&signature.witness(), bytes).unwrap(),
                signature
            );
        }
    }
}

#[test]
fn two_values_come_in_order() {
    let mut signer = signer();
    let keys = [4, 24].map(|bytes| signer.public_key(&path(bytes), bytes as usize));
    let word = signer.sign(&path(4), &[0x12; 4]).unwrap();
    let root = signer.sign(&path(24), &[0x34; 24]).unwrap();
    assert!(leaf(&[&keys[0], &keys[1]], 2).standard(&witness(&[&word, &root])));
    assert!(leaf(&[&keys[1], &keys[0]], 4).standard(&witness(&[&root, &word])));
    assert!(!leaf(&[&keys[0], &keys[1]], 2).takes(&witness(&[&root, &word])));
}

#[test]
fn a_digit_costs_at_most_92_bytes() {
    let mut signer = signer();
    for bytes in [24, 32, 64] {
        let key = signer.public_key(&path(0), bytes);
        let mut a = Assembler::new();
        for index in 0..2 * key.ends().len() {
            a.witness(&index.to_string());
        }
        verify(&mut a, &readings(&[&key]));
        let signature = signer.sign(&path(0), &vec![0x77; bytes]);
        let witness: usize = signature
            .unwrap()
            .witness()
            .iter()
            .map(|item| item.len() + 1)
            .sum();
        let each = (a.size() + witness) as f64 / key.ends().len() as f64;
        assert!(each <= 90.0, "{each} bytes a digit");
        signer = self::signer();
    }
}

#[test]
fn a_key_signs_one_value() {
    let mut signer = signer();
    let first = signer.sign(&path(0), &[1; 4]).unwrap();
    assert_eq!(signer.sign(&path(0), &[1; 4]).unwrap(), first);
    assert!(
        matches!(signer.sign(&path(0), &[2; 4]), Err(SignerError::Spent { signed, .. }) if signed == [1; 4])
    );
    assert!(signer.sign(&path(1), &[2; 4]).is_ok());
}

/// All that somebody can do who has seen signatures of other values: take each digit's lowest hash, and hash on.
fn forge(seen: &[Signature], own: &Signature) -> Vec<Vec<u8>> {
    let seen: Vec<Vec<Vec<u8>>> = seen.iter().map(Signature::witness).collect();
    let mut items = own.witness();
    for pair in 0..items.len() / 2 {
        let wanted = number::decode(&items[2 * pair + 1]).unwrap();
        let lowest = seen
            .iter()
            .map(|items| {
                (
                    number::decode(&items[2 * pair + 1]).unwrap(),
                    items[2 * pair].clone(),
                )
            })
            .min()
            .unwrap();
        let mut hash = lowest.1;
        for _ in lowest.0..wanted {
            hash = hash160::Hash::hash(&hash).to_byte_array().to_vec();
        }
        items[2 * pair] = hash;
    }
    items
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_other_value_follows_from_signatures(
        value in any::<[u8; 4]>(),
        others in proptest::collection::vec(any::<[u8; 4]>(), 1..3),
        near in any::<bool>(),
    ) {
        let mut owner = signer();
        let key = owner.public_key(&path(0), 4);
        let honest = owner.sign(&path(0), &value).unwrap();
        let spend = leaf(&[&key], i64::from(value[0] & 15));
        prop_assert!(spend.takes(&honest.witness()));
        // Other keys' owners would not sign twice; here the thief even sees several signatures of one key.
        let seen: Vec<Signature> = others
            .iter()
            .map(|other| {
                let mut other = *other;
                if near {
                    other = value;
                    other[1] ^= 1;
                }
                signer().sign(&path(0), &other).unwrap()
            })
            .collect();
        // Of several signatures there is a way only where one of them is low enough for each digit; of one never.
        let forged = forge(&seen, &honest);
        let digits = |signature: &Signature| -> Vec<i64> {
            signature.witness().chunks(2).map(|pair| number::decode(&pair[1]).unwrap()).collect()
        };
        let honest_digits = digits(&honest);
        let covered = (0..10).all(|at| seen.iter().any(|other| digits(other)[at] <= honest_digits[at]));
        prop_assert!(!covered || seen.len() > 1 || seen[0] == honest);
        prop_assert_eq!(spend.takes(&forged), covered);
    }

    #[test]
    fn a_changed_item_is_refused(
        value in any::<[u8; 4]>(),
        at in 0_usize..20,
        digit in -20_i64..40,
        byte in any::<u8>(),
    ) {
        let mut owner = signer();
        let key = owner.public_key(&path(0), 4);
        let honest = owner.sign(&path(0), &value).unwrap().witness();
        let spend = leaf(&[&key], i64::from(value[0] & 15));
        let mut items = honest.clone();
        items[at] = if at % 2 == 0 { vec![byte; 20] } else { number::encode(digit) };
        prop_assert_eq!(spend.takes(&items), items == honest);
        // The end of the chain itself, put where a digit above 15 would find it.
        for pair in 0..10 {
            let mut items = honest.clone();
            items[2 * pair] = key.ends()[9 - at / 2].to_vec();
            items[at | 1] = number::encode(16 + digit.abs());
            prop_assert!(!spend.takes(&items));
        }
        let mut missing = honest.clone();
        missing.remove(at);
        prop_assert!(!spend.takes(&missing));
        let mut more = honest;
        more.insert(0, key.ends()[at / 2].to_vec());
        prop_assert!(!spend.takes(&more));
    }
}
