//! A block that is walked to is the block that `L1Block::decode` gives, and no other.

use alloy_primitives::B256;
use bitcoin::consensus::{deserialize, serialize};
use bitcoin::hashes::Hash;
use bitsect_guest::{VerifiedBlock, WalkError};
use bitsect_vm::derive::bitcoin::{L1Block, L1Header};
use proptest::prelude::*;

use super::oracle::MapOracle;

fn transaction() -> impl Strategy<Value = bitcoin::Transaction> {
    let bytes = |most| proptest::collection::vec(any::<u8>(), 0..most);
    let input = (
        any::<[u8; 32]>(),
        any::<u32>(),
        bytes(150),
        proptest::collection::vec(bytes(150), 0..3),
    );
    let output = (0..1_u64 << 40, bytes(150));
    (
        proptest::collection::vec(input, 1..3),
        proptest::collection::vec(output, 0..3),
        any::<u32>(),
    )
        .prop_map(|(inputs, outputs, lock)| bitcoin::Transaction {
            version: bitcoin::transaction::Version::TWO,
            lock_time: bitcoin::absolute::LockTime::from_consensus(lock),
            input: inputs
                .into_iter()
                .map(|(txid, vout, script, witness)| bitcoin::TxIn {
                    previous_output: bitcoin::OutPoint {
                        txid: bitcoin::Txid::from_byte_array(txid),
                        vout,
                    },
                    script_sig: script.into(),
                    sequence: bitcoin::Sequence::MAX,
                    witness: bitcoin::Witness::from_slice(&witness),
                })
                .collect(),
            output: outputs
                .into_iter()
                .map(|(sats, script)| bitcoin::TxOut {
                    value: bitcoin::Amount::from_sat(sats),
                    script_pubkey: script.into(),
                })
                .collect(),
        })
}

/// A transaction whose bytes without witnesses are 64, as many as an inner node's.
fn of_64_bytes(seed: u8) -> bitcoin::Transaction {
    let transaction = bitcoin::Transaction {
        version: bitcoin::transaction::Version::ONE,
        lock_time: bitcoin::absolute::LockTime::ZERO,
        input: vec![bitcoin::TxIn {
            previous_output: bitcoin::OutPoint {
                txid: bitcoin::Txid::from_byte_array([seed; 32]),
                vout: 0,
            },
            ..Default::default()
        }],
        output: vec![bitcoin::TxOut {
            value: bitcoin::Amount::ZERO,
            script_pubkey: vec![seed; 4].into(),
        }],
    };
    assert_eq!(serialize(&transaction).len(), 64);
    transaction
}

/// A block of these transactions behind a coinbase; with a commitment when `reserved` is there.
pub fn block_of(
    coinbase_script: Vec<u8>,
    mut transactions: Vec<bitcoin::Transaction>,
    reserved: Option<[u8; 32]>,
) -> bitcoin::Block {
    let mut coinbase = of_64_bytes(0);
    coinbase.input[0].previous_output = bitcoin::OutPoint::null();
    coinbase.input[0].script_sig = coinbase_script.into();
    coinbase.output[0].script_pubkey = Default::default();
    if reserved.is_none() {
        for input in transactions
            .iter_mut()
            .flat_map(|transaction| &mut transaction.input)
        {
            input.witness = bitcoin::Witness::new();
        }
    }
    transactions.insert(0, coinbase);
    let mut block = bitcoin::Block {
        header: bitcoin::block::Header {
            version: bitcoin::block::Version::TWO,
            prev_blockhash: bitcoin::BlockHash::from_byte_array([5; 32]),
            merkle_root: bitcoin::TxMerkleNode::all_zeros(),
            time: 1_700_000_000,
            bits: bitcoin::CompactTarget::from_consensus(0x207f_ffff),
            nonce: 3,
        },
        txdata: transactions,
    };
    if let Some(reserved) = reserved {
        let root = block.witness_root().unwrap();
        let commitment = bitcoin::Block::compute_witness_commitment(&root, &reserved);
        let mut script = vec![0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];
        script.extend(commitment.to_byte_array());
        block.txdata[0].input[0].witness = bitcoin::Witness::from_slice(&[reserved]);
        block.txdata[0].output.push(bitcoin::TxOut {
            value: bitcoin::Amount::ZERO,
            script_pubkey: script.into(),
        });
    }
    block.header.merkle_root = block.compute_merkle_root().unwrap();
    block
}

/// Walks to the block and compares it with the native one.
pub fn compare(bytes: &[u8]) {
    let native = L1Block::decode(bytes).unwrap();
    let oracle = MapOracle::of_block(bytes);
    let walked = VerifiedBlock::read(&oracle, &native.header.hash()).unwrap();
    let walked = walked.decode().unwrap();
    assert!(!oracle.exhausted.get());
    let mut expected = native;
    // Nothing commits to it, and nobody reads it.
    expected.transactions[0].wtxid = walked.transactions[0].wtxid;
    assert_eq!(walked, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn walk_gives_the_native_block(
        transactions in proptest::collection::vec(transaction(), 0..12),
        script in proptest::collection::vec(any::<u8>(), 2..100),
        reserved in proptest::option::of(any::<[u8; 32]>()),
    ) {
        compare(&serialize(&block_of(script, transactions, reserved)));
    }

    #[test]
    fn a_wrong_compression_is_refused(
        transactions in proptest::collection::vec(transaction(), 0..6),
        reserved in proptest::option::of(any::<[u8; 32]>()),
        at in any::<usize>(),
        bit in 0_usize..768,
    ) {
        // A host cannot do this: it would need another preimage. It still must not panic, nor go on for long.
        let block = block_of(vec![1; 8], transactions, reserved);
        let hash = B256::new(block.block_hash().to_byte_array());
        let bytes = serialize(&block);
        let whole = MapOracle::of_block(&bytes);
        VerifiedBlock::read(&whole, &hash).unwrap();
        let mut oracle = MapOracle::of_block(&bytes);
        oracle.tamper = Some((at % whole.calls.get(), Box::new(move |found| match bit / 8 {
            byte @ ..64 => found.block[byte] ^= 1 << (bit % 8),
            byte => found.chaining.0[byte - 64] ^= 1 << (bit % 8),
        })));
        let walked = VerifiedBlock::read(&oracle, &hash);
        let decoded = walked.as_ref().map(VerifiedBlock::decode);
        prop_assert!(bit < 512 || decoded.is_err(), "a chaining value has one preimage");
    }
}

#[test]
fn every_count_of_transactions() {
    for count in 0..40_u8 {
        let transactions = (1..=count).map(of_64_bytes).collect::<Vec<_>>();
        compare(&serialize(&block_of(
            vec![7; 9],
            transactions.clone(),
            Some([9; 32]),
        )));
        // A coinbase of 64 bytes, as an inner node has.
        compare(&serialize(&block_of(vec![7; 4], transactions, None)));
    }
}

#[test]
fn transactions_without_outputs() {
    // Bitcoin Core has none of them in a block. Natively and in the machine they are read all the same.
    let empty = |seed| {
        let mut transaction = of_64_bytes(seed);
        transaction.output.clear();
        transaction
    };
    compare(&serialize(&block_of(
        vec![7; 9],
        (1..30).map(empty).collect(),
        None,
    )));
}

#[test]
fn a_header_has_one_block() {
    let with_witness = |reserved| block_of(vec![1; 5], vec![of_64_bytes(3), of_64_bytes(4)], reserved);
    // The witnesses are left out, and the coinbase commits to them.
    let mut block = with_witness(Some([1; 32]));
    block.txdata[0].input[0].witness = bitcoin::Witness::new();
    assert!(L1Block::decode(&serialize(&block)).is_err());
    // Witnesses that nothing commits to.
    let mut block = with_witness(None);
    block.txdata[2].input[0].witness = bitcoin::Witness::from_slice(&[[1]]);
    assert!(L1Block::decode(&serialize(&block)).is_err());
}

#[test]
fn equal_neighbours_are_refused() {
    let mut block = block_of(vec![1; 5], vec![of_64_bytes(1), of_64_bytes(2)], None);
    // The merkle root of 1, 2, 3 is that of 1, 2, 3, 3: the shorter list is the block.
    compare(&serialize(&block));
    let last = block.txdata[2].clone();
    block.txdata.push(last);
    assert!(L1Block::decode(&serialize(&block)).is_err());
    // Equal neighbours before the end: there is no such block.
    let pair = vec![
        of_64_bytes(1),
        of_64_bytes(2),
        of_64_bytes(2),
        of_64_bytes(3),
        of_64_bytes(4),
    ];
    assert!(L1Block::decode(&serialize(&block_of(vec![1; 5], pair, None))).is_err());
}

#[test]
fn a_hash_of_no_header_is_refused() {
    let block = serialize(&block_of(vec![1; 5], vec![], None));
    let oracle = MapOracle::of_block(&block);
    // The coinbase's id: its message is not 80 bytes long.
    let header = L1Header::decode(block[..80].try_into().unwrap());
    let walked = VerifiedBlock::read(&oracle, &header.merkle_root);
    assert!(matches!(walked, Err(WalkError::Block(_))), "{walked:?}");
}

#[test]
fn mainnet_genesis() {
    compare(&serialize(&bitcoin::constants::genesis_block(
        bitcoin::Network::Bitcoin,
    )));
    let block: bitcoin::Block = deserialize(&serialize(&bitcoin::constants::genesis_block(
        bitcoin::Network::Testnet4,
    )))
    .unwrap();
    compare(&serialize(&block));
}
