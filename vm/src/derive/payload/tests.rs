//! Round trips, refusals and damage, by the public functions.

use alloc::vec;
use alloc::vec::Vec;

use alloy_consensus::{Signed, TxEip1559, TxEip2930, TxEip7702, TxLegacy};
use alloy_eips::eip2718::Encodable2718;
use alloy_eips::eip2930::{AccessList, AccessListItem};
use alloy_eips::eip7702::{Authorization, SignedAuthorization};
use alloy_primitives::{Address, B256, Bytes, Sealable as _, Signature, TxKind, U256};
use op_alloy_consensus::TxDeposit;
use proptest::prelude::*;

use super::*;

const CHAIN_ID: u64 = 0xb17_5ec7;
const MAX_BODY: u32 = 1 << 22;

fn charges(batch: &Batch) -> u64 {
    let transactions = batch.blocks.iter().flat_map(|block| &block.transactions);
    BASE_CHARGE + BLOCK_CHARGE * batch.blocks.len() as u64 + transactions.map(transaction_charge).sum::<u64>()
}

/// Encodes, decodes with the least limit that may pass, and compares down to bytes and hashes.
fn round_trip(batch: &Batch) -> Vec<u8> {
    let payload = encode(batch).unwrap();
    let header = PayloadHeader::decode(&payload).unwrap();
    assert_eq!(header.first_block, batch.first_block);
    assert_eq!(header.block_count as usize, batch.blocks.len());
    let charges = charges(batch);
    assert!(u64::from(header.body_bytes) <= charges, "charges bound the body");
    let limit = u32::try_from(charges).unwrap();
    let decoded = decode(&payload, limit).unwrap();
    assert_eq!(&decoded, batch);
    let all = |batch: &Batch| -> Vec<(Vec<u8>, B256)> {
        let transactions = batch.blocks.iter().flat_map(|block| &block.transactions);
        transactions.map(|tx| (tx.encoded_2718(), tx.tx_hash())).collect()
    };
    assert_eq!(all(&decoded), all(batch));
    assert!(
        matches!(decode(&payload, limit - 1), Err(PayloadError::TooLarge { .. })),
        "charges are exact"
    );
    payload
}

fn batch(blocks: Vec<BatchBlock>) -> Batch {
    Batch {
        first_block: 7,
        parent_hash: B256::repeat_byte(1),
        first_origin: 100,
        last_origin_hash: B256::repeat_byte(2),
        blocks,
    }
}

fn batch_of(transactions: Vec<Transaction>) -> Batch {
    batch(vec![BatchBlock {
        timestamp: 1_790_000_000,
        advances_origin: true,
        transactions,
    }])
}

fn signature() -> Signature {
    Signature::new(U256::from(5), U256::from(6), true)
}

fn legacy(chain_id: Option<u64>) -> Transaction {
    let tx = TxLegacy {
        chain_id,
        gas_limit: 21_000,
        gas_price: 7,
        ..TxLegacy::default()
    };
    Transaction::Legacy(Signed::new_unhashed(tx, signature()))
}

#[test]
fn empty_batches_round_trip() {
    round_trip(&batch(vec![]));
    let block = BatchBlock {
        timestamp: 5,
        advances_origin: false,
        transactions: vec![],
    };
    round_trip(&batch(vec![block.clone(); 2_000]));
    round_trip(&Batch {
        first_block: u64::MAX - 1,
        ..batch(vec![block.clone()])
    });
    let overflow = Batch {
        first_block: u64::MAX,
        ..batch(vec![block])
    };
    assert_eq!(
        encode(&overflow),
        Err(PayloadError::BlockNumber {
            first_block: u64::MAX
        })
    );
}

#[test]
fn unsequenced_types_are_refused() {
    let deposit = Transaction::Deposit(TxDeposit::default().seal_slow());
    assert_eq!(
        encode(&batch_of(vec![deposit])),
        Err(PayloadError::TransactionType { got: 0x7e })
    );
    let post_exec = Transaction::PostExec(op_alloy_consensus::TxPostExec::default().seal_slow());
    assert_eq!(
        encode(&batch_of(vec![post_exec])),
        Err(PayloadError::TransactionType { got: 0x7d })
    );
}

#[test]
fn other_chains_are_refused() {
    let mixed = batch_of(vec![legacy(None), legacy(Some(1)), legacy(Some(2))]);
    assert_eq!(encode(&mixed), Err(PayloadError::ChainId { expected: 1, got: 2 }));
    round_trip(&batch_of(vec![
        legacy(None),
        legacy(Some(2)),
        legacy(Some(2)),
        legacy(None),
    ]));
    round_trip(&batch_of(vec![legacy(None)]));
}

#[test]
fn high_s_is_refused() {
    let high = Signature::new(U256::from(5), U256::from(1) << 255, false);
    let tx = Transaction::Legacy(Signed::new_unhashed(TxLegacy::default(), high));
    assert_eq!(encode(&batch_of(vec![tx])), Err(PayloadError::HighS));
}

/// No valid transaction has an `s` between half the order and 2^255, but a batch may.
#[test]
fn an_s_above_half_the_order_stays_as_it_is() {
    for parity in [false, true] {
        let high = Signature::new(U256::from(5), (U256::from(1) << 255) - U256::from(1), parity);
        let tx = TxLegacy::default();
        round_trip(&batch_of(vec![Transaction::Legacy(Signed::new_unhashed(
            tx, high,
        ))]));
    }
}

#[test]
fn falling_timestamps_are_refused() {
    let at = |timestamp| BatchBlock {
        timestamp,
        advances_origin: false,
        transactions: vec![],
    };
    assert_eq!(
        encode(&batch(vec![at(9), at(8)])),
        Err(PayloadError::Timestamp { previous: 9, got: 8 })
    );
    round_trip(&batch(vec![at(9), at(9), at(u64::MAX)]));
}

#[test]
fn many_addresses_and_kinds_need_second_bytes() {
    let call = |index: u64, length: usize| {
        let mut to = [0x42; 20];
        to[..8].copy_from_slice(&index.to_be_bytes());
        let tx = TxEip1559 {
            chain_id: CHAIN_ID,
            nonce: index * 10,
            gas_limit: 21_000 + index,
            max_fee_per_gas: u128::from(index) << 70,
            max_priority_fee_per_gas: u128::from(index),
            to: TxKind::Call(Address::new(to)),
            input: Bytes::from(vec![0x11; length]),
            ..TxEip1559::default()
        };
        Transaction::Eip1559(Signed::new_unhashed(tx, signature()))
    };
    let transactions = (0..1_200).map(|n| call(n % 400, (n % 301) as usize)).collect();
    round_trip(&batch_of(transactions));
}

#[test]
fn bombs_are_refused_before_memory_is_spent() {
    let payload = encode(&batch_of(vec![legacy(None)])).unwrap();
    let mut stated = payload.clone();
    stated[86..90].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(
        decode(&stated, MAX_BODY),
        Err(PayloadError::TooLarge {
            limit: u64::from(MAX_BODY),
            got: u64::from(u32::MAX)
        })
    );
    // A stream of 16 MiB in a few bytes, with any size stated.
    let stream = codec::compress(&vec![0; 16 << 20]).unwrap();
    let mut bomb = payload[..HEADER_BYTES].to_vec();
    bomb[5] = Codec::Brotli as u8;
    bomb[90..94].copy_from_slice(&u32::try_from(stream.len()).unwrap().to_le_bytes());
    bomb.extend_from_slice(&stream);
    for stated in [0u32, 1_000, 1 << 17, 1 << 20, MAX_BODY] {
        bomb[86..90].copy_from_slice(&stated.to_le_bytes());
        assert_eq!(decode(&bomb, MAX_BODY), Err(PayloadError::Compression));
    }
}

fn number(word: B256) -> U256 {
    U256::from_be_bytes(word.0)
}

fn address() -> impl Strategy<Value = Address> {
    prop_oneof![
        any::<[u8; 20]>().prop_map(Address::new),
        (0u8..6).prop_map(Address::repeat_byte),
        any::<u8>().prop_map(Address::with_last_byte),
    ]
}

fn word() -> impl Strategy<Value = B256> {
    prop_oneof![
        any::<[u8; 32]>().prop_map(B256::new),
        any::<u64>().prop_map(|value| B256::from(U256::from(value))),
        (any::<u16>(), 0u32..30).prop_map(|(mantissa, exponent)| B256::from(
            U256::from(mantissa) * U256::from(10).pow(U256::from(exponent))
        )),
        address().prop_map(|address| address.into_word()),
        any::<[u8; 7]>().prop_map(|bytes| B256::right_padding_from(&bytes)),
        (1u64..1 << 40).prop_map(|value| B256::from(U256::ZERO.wrapping_sub(U256::from(value)))),
        Just(B256::ZERO),
    ]
}

fn input() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        Just(Bytes::new()),
        (any::<[u8; 4]>(), prop::collection::vec(word(), 0..6)).prop_map(|(selector, words)| {
            let words: Vec<u8> = words.iter().flat_map(|word| word.0).collect();
            [selector.as_slice(), &words].concat().into()
        }),
        (0u8..2, word(), word()).prop_map(|(selector, a, b)| {
            [[selector; 4].as_slice(), a.as_slice(), b.as_slice()]
                .concat()
                .into()
        }),
        prop::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from),
    ]
}

fn access_list() -> impl Strategy<Value = AccessList> {
    let item =
        (address(), prop::collection::vec(word(), 0..3)).prop_map(|(address, storage_keys)| AccessListItem {
            address,
            storage_keys,
        });
    prop_oneof![Just(vec![]), prop::collection::vec(item, 0..4)].prop_map(AccessList)
}

fn authorisations() -> impl Strategy<Value = Vec<SignedAuthorization>> {
    let chain_id = prop_oneof![
        Just(U256::ZERO),
        Just(U256::from(CHAIN_ID)),
        word().prop_map(number)
    ];
    let one = (chain_id, address(), any::<u64>(), any::<u8>(), word(), word()).prop_map(
        |(chain_id, address, nonce, parity, r, s)| {
            let inner = Authorization {
                chain_id,
                address,
                nonce,
            };
            SignedAuthorization::new_unchecked(inner, parity, number(r), number(s))
        },
    );
    prop::collection::vec(one, 0..3)
}

fn fee() -> impl Strategy<Value = u128> {
    prop_oneof![
        0u128..5,
        any::<u128>(),
        (1u128..9_000).prop_map(|gwei| gwei * 1_000_000)
    ]
}

/// Any transaction that can be sequenced, with any signature of low `s`.
fn transaction() -> impl Strategy<Value = Transaction> {
    let signature = (any::<[u8; 32]>(), any::<[u8; 32]>(), any::<bool>()).prop_map(|(r, s, parity)| {
        Signature::new(U256::from_be_bytes(r), U256::from_be_bytes(s) >> 1, parity)
    });
    let to = prop_oneof![1 => Just(TxKind::Create), 4 => address().prop_map(TxKind::Call)];
    let nonce = prop_oneof![4 => 0u64..8, 1 => any::<u64>()];
    let gas = prop_oneof![Just(21_000u64), any::<u64>()];
    let common = (0u8..5, nonce, gas, fee(), fee(), to, word(), input());
    (common, access_list(), authorisations(), signature, address()).prop_map(
        |(common, access_list, authorization_list, signature, receiver)| {
            let (code, nonce, gas_limit, fee, tip, to, value, input) = common;
            let (value, chain_id) = (U256::from_be_bytes(value.0), CHAIN_ID);
            match code {
                0 | 1 => {
                    let chain_id = (code == 1).then_some(CHAIN_ID);
                    let tx = TxLegacy {
                        chain_id,
                        nonce,
                        gas_price: fee,
                        gas_limit,
                        to,
                        value,
                        input,
                    };
                    Transaction::Legacy(Signed::new_unhashed(tx, signature))
                }
                2 => {
                    let gas_price = fee;
                    let tx = TxEip2930 {
                        chain_id,
                        nonce,
                        gas_price,
                        gas_limit,
                        to,
                        value,
                        access_list,
                        input,
                    };
                    Transaction::Eip2930(Signed::new_unhashed(tx, signature))
                }
                3 => {
                    let tx = TxEip1559 {
                        chain_id,
                        nonce,
                        gas_limit,
                        max_fee_per_gas: fee,
                        max_priority_fee_per_gas: tip,
                        to,
                        value,
                        access_list,
                        input,
                    };
                    Transaction::Eip1559(Signed::new_unhashed(tx, signature))
                }
                _ => {
                    let tx = TxEip7702 {
                        chain_id,
                        nonce,
                        gas_limit,
                        max_fee_per_gas: fee,
                        max_priority_fee_per_gas: tip,
                        to: receiver,
                        value,
                        access_list,
                        authorization_list,
                        input,
                    };
                    Transaction::Eip7702(Signed::new_unhashed(tx, signature))
                }
            }
        },
    )
}

fn any_batch() -> impl Strategy<Value = Batch> {
    let block = (0u64..5, any::<bool>(), prop::collection::vec(transaction(), 0..8));
    let blocks = prop::collection::vec(block, 0..8);
    (
        any::<u32>(),
        any::<[u8; 32]>(),
        any::<u32>(),
        any::<[u8; 32]>(),
        blocks,
    )
        .prop_map(
            |(first_block, parent_hash, first_origin, last_origin_hash, blocks)| {
                let mut timestamp = 1_790_000_000;
                let blocks = blocks
                    .into_iter()
                    .map(|(step, advances_origin, transactions)| {
                        timestamp += step;
                        BatchBlock {
                            timestamp,
                            advances_origin,
                            transactions,
                        }
                    })
                    .collect();
                Batch {
                    first_block: u64::from(first_block),
                    parent_hash: B256::new(parent_hash),
                    first_origin,
                    last_origin_hash: B256::new(last_origin_hash),
                    blocks,
                }
            },
        )
}

/// The same payload with its body as it is, so that damage reaches what is behind the codec.
fn uncompressed(payload: &[u8]) -> Vec<u8> {
    let header = PayloadHeader::decode(payload).unwrap();
    let (stored, tail) = payload[HEADER_BYTES..].split_at(header.stored_bytes as usize);
    let body = match header.codec {
        Codec::Stored => stored.to_vec(),
        Codec::Brotli => codec::decompress(stored, header.body_bytes).unwrap(),
    };
    let mut changed = Vec::new();
    let header = PayloadHeader {
        codec: Codec::Stored,
        stored_bytes: header.body_bytes,
        ..header
    };
    header.encode(&mut changed);
    [changed, body, tail.to_vec()].concat()
}

/// Whatever decodes holds what decoding promises: it can be encoded again and means the same.
fn check_damaged(bytes: &[u8]) {
    if let Ok(batch) = decode(bytes, MAX_BODY) {
        assert_eq!(decode(&encode(&batch).unwrap(), MAX_BODY).as_ref(), Ok(&batch));
        assert!(charges(&batch) <= u64::from(MAX_BODY));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_batch_round_trips(batch in any_batch()) {
        let payload = round_trip(&batch);
        prop_assert_eq!(decode(&uncompressed(&payload), MAX_BODY), Ok(batch));
    }

    #[test]
    fn flipped_bits_never_panic(batch in any_batch(), flips in prop::collection::vec(any::<usize>(), 1..4), plain: bool) {
        let mut bytes = encode(&batch).unwrap();
        if plain {
            bytes = uncompressed(&bytes);
        }
        for flip in flips {
            let place = flip % (bytes.len() * 8);
            bytes[place / 8] ^= 1 << (place % 8);
        }
        check_damaged(&bytes);
    }

    #[test]
    fn cut_and_grown_payloads_are_refused(batch in any_batch(), place: usize, plain: bool) {
        let mut bytes = encode(&batch).unwrap();
        if plain {
            bytes = uncompressed(&bytes);
        }
        prop_assert!(decode(&bytes[..place % bytes.len()], MAX_BODY).is_err());
        bytes.push(0);
        prop_assert!(decode(&bytes, MAX_BODY).is_err());
    }

    #[test]
    fn any_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..600), codec in 0u8..2) {
        check_damaged(&bytes);
        let mut payload = Vec::new();
        let header = PayloadHeader {
            codec: Codec::Stored,
            first_block: 0,
            block_count: 1,
            parent_hash: B256::ZERO,
            first_origin: 0,
            last_origin_hash: B256::ZERO,
            body_bytes: bytes.len() as u32,
            stored_bytes: bytes.len() as u32,
        };
        header.encode(&mut payload);
        payload[5] = codec;
        payload.append(&mut bytes);
        check_damaged(&payload);
    }
}
