//! `verifyTransaction`: real proofs pass, and every forgery that Bitcoin's tree allows is refused.

use alloy_primitives::{B256, Bytes, U256, b256};
use alloy_sol_types::SolError;
use bitcoin::hashes::{Hash, sha256d};
use bitsect_vm::chain::predeploys::BITCOIN_BLOCKS;
use proptest::prelude::*;

use super::chain::{BitcoinBlocks, Chain, USER, origin};

fn hash(bytes: &[u8]) -> B256 {
    sha256d::Hash::hash(bytes).to_byte_array().into()
}

fn parent(left: B256, right: B256) -> B256 {
    hash(&[left.0, right.0].concat())
}

/// The levels of a block's tree, from the transaction ids up to the root.
fn levels(txids: &[B256]) -> Vec<Vec<B256>> {
    let mut levels = vec![txids.to_vec()];
    while let Some(level) = levels.last().filter(|level| level.len() > 1) {
        let next = level
            .chunks(2)
            .map(|pair| parent(pair[0], *pair.last().unwrap()))
            .collect();
        levels.push(next);
    }
    levels
}

fn root(txids: &[B256]) -> B256 {
    levels(txids).last().unwrap()[0]
}

/// The siblings of a transaction from the leaf up.
fn path(txids: &[B256], index: usize) -> Vec<B256> {
    let levels = levels(txids);
    let below_root = &levels[..levels.len() - 1];
    let sibling = |(depth, level): (usize, &Vec<B256>)| {
        let at = index >> depth;
        *level.get(at ^ 1).unwrap_or(&level[at])
    };
    below_root.iter().enumerate().map(sibling).collect()
}

/// A chain whose origin 101 has this merkle root.
fn chain_with(merkle_root: B256) -> Chain {
    let mut chain = Chain::new();
    chain.set_l1_block(&origin(101, merkle_root));
    chain
}

fn verify(chain: &mut Chain, txid: B256, index: usize, path: &[B256]) -> bool {
    verify_at(chain, txid, U256::from(index), path)
}

fn verify_at(chain: &mut Chain, txid: B256, index: U256, path: &[B256]) -> bool {
    let call = BitcoinBlocks::verifyTransactionCall {
        txid,
        height: 101,
        index,
        path: path.to_vec(),
    };
    chain.view(BITCOIN_BLOCKS, &call)
}

/// Turns a hash from how explorers show it into internal order.
fn shown(mut hash: B256) -> B256 {
    hash.reverse();
    hash
}

#[test]
fn proves_the_transactions_of_a_real_block() {
    // Block 100,000 of the main network.
    let merkle_root = shown(b256!(
        "f3e94742aca4b5ef85488dc37c06c3282295ffec960994b2c0d5ac2a25a95766"
    ));
    let txids = [
        shown(b256!(
            "8c14f0db3df150123e6f3dbbf30f8b955a8249b62ac1d1ff16284aefa3d06d87"
        )),
        shown(b256!(
            "fff2525b8931402dd09222c50775608f75787bd2b87e56995a7bdd30f79702c4"
        )),
        shown(b256!(
            "6359f0868171b1d194cbee1af2f16ea598ae8fad666d9b012c8ed2b79a236ec4"
        )),
        shown(b256!(
            "e9a66845e05d5abc0ad04ec80f774a7e585c6e8db975962d069a522137b80c1d"
        )),
    ];
    assert_eq!(root(&txids), merkle_root, "the test's own tree");
    let mut chain = chain_with(merkle_root);
    for (index, &txid) in txids.iter().enumerate() {
        assert!(verify(&mut chain, txid, index, &path(&txids, index)));
        for wrong in (0..8).filter(|&wrong| wrong != index) {
            assert!(
                !verify(&mut chain, txid, wrong, &path(&txids, index)),
                "{index} as {wrong}"
            );
        }
    }
}

#[test]
fn proves_a_whole_transaction() {
    // The main network's first block has one transaction: its id is the root, and the path is empty.
    let block = bitcoin::constants::genesis_block(bitcoin::Network::Bitcoin);
    let raw = Bytes::from(bitcoin::consensus::serialize(&block.txdata[0]));
    let mut chain = chain_with(block.header.merkle_root.to_byte_array().into());
    let mut call = BitcoinBlocks::verifyRawTransactionCall {
        transaction: raw.clone(),
        height: 101,
        index: U256::ZERO,
        path: vec![],
    };
    assert!(chain.view(BITCOIN_BLOCKS, &call));
    call.transaction = raw[1..].to_vec().into();
    assert!(!chain.view(BITCOIN_BLOCKS, &call));
    let id = chain.view(
        BITCOIN_BLOCKS,
        &BitcoinBlocks::transactionIdCall { transaction: raw },
    );
    assert_eq!(id, B256::from(block.txdata[0].compute_txid().to_byte_array()));
}

#[test]
fn unknown_height_reverts_and_huge_input_is_no_proof() {
    let txids: Vec<B256> = (0..4).map(|i| B256::repeat_byte(i + 1)).collect();
    let mut chain = chain_with(root(&txids));
    let call = BitcoinBlocks::verifyTransactionCall {
        txid: txids[0],
        height: 102,
        index: U256::ZERO,
        path: path(&txids, 0),
    };
    let revert = chain.refused(USER, BITCOIN_BLOCKS, U256::ZERO, &call);
    assert_eq!(revert, BitcoinBlocks::UnknownBlock { height: 102 }.abi_encode());
    assert!(verify(&mut chain, txids[1], 1, &path(&txids, 1)));
    // Bits above the path's length are not ignored.
    for index in [U256::from(1 + 4), U256::from(1) << 255 | U256::from(1), U256::MAX] {
        assert!(!verify_at(&mut chain, txids[1], index, &path(&txids, 1)));
    }
    assert!(!verify(&mut chain, txids[1], 1, &[B256::ZERO; 16]));
    assert!(!verify(&mut chain, txids[1], 1, &[B256::ZERO; 1_000]));
}

#[test]
fn paths_end_at_the_deepest_tree_that_a_block_can_have() {
    for (depth, possible) in [(15, true), (16, false)] {
        let siblings: Vec<B256> = (0..depth).map(|level| hash(&[level])).collect();
        let merkle_root = siblings
            .iter()
            .fold(hash(b"leaf"), |node, &sibling| parent(node, sibling));
        let mut chain = chain_with(merkle_root);
        assert_eq!(
            verify(&mut chain, hash(b"leaf"), 0, &siblings),
            possible,
            "depth {depth}"
        );
    }
}

/// CVE-2012-2459: with three transactions the third also stands at index 3, as its own copy.
#[test]
fn the_copy_of_an_odd_last_node_is_no_transaction() {
    for count in [3usize, 5, 6, 7, 9, 11, 13] {
        let txids: Vec<B256> = (0..count).map(|i| hash(&[i as u8])).collect();
        let mut chain = chain_with(root(&txids));
        let width = count.next_power_of_two();
        for index in 0..width {
            for (real, &txid) in txids.iter().enumerate() {
                // The path that leads to `real`, tried at every index of the full tree.
                let proven = verify(&mut chain, txid, index, &path(&txids, real));
                assert_eq!(proven, index == real, "{count} transactions, {real} at {index}");
            }
        }
    }
}

/// A valid transaction of 64 bytes with this split of its four script bytes.
fn small_transaction(input_script: u8) -> [u8; 64] {
    let mut bytes = vec![2, 0, 0, 0, 1];
    bytes.extend([0x5a; 36]);
    bytes.push(input_script);
    bytes.extend(vec![0x51; input_script.into()]);
    bytes.extend([0xff; 4]);
    bytes.push(1);
    bytes.extend(2_100_000_000_000_000u64.to_le_bytes());
    bytes.push(4 - input_script);
    bytes.extend(vec![0x51; usize::from(4 - input_script)]);
    bytes.extend([0; 4]);
    bytes.try_into().unwrap()
}

/// CVE-2017-12842: halves of a 64-byte transaction are not transactions.
#[test]
fn a_small_transaction_is_not_taken_for_a_node() {
    for input_script in 0..=4 {
        let small = small_transaction(input_script);
        let parsed: bitcoin::Transaction = bitcoin::consensus::deserialize(&small).unwrap();
        let small_id = hash(&small);
        assert_eq!(B256::from(parsed.compute_txid().to_byte_array()), small_id);
        let txids = [hash(b"coinbase"), small_id, hash(b"other")];
        let mut chain = chain_with(root(&txids));
        // The small transaction itself has a proof: as an id only.
        assert!(verify(&mut chain, small_id, 1, &path(&txids, 1)));
        for half in 0..2 {
            let (forged, sibling) = (&small[32 * half..][..32], &small[32 * (1 - half)..][..32]);
            let mut forged_path = vec![B256::from_slice(sibling)];
            forged_path.extend(path(&txids, 1));
            let index = 2 + half;
            // Without the check this is a proof: the hashes lead to the root.
            let mut node = B256::from_slice(forged);
            for (level, &sibling) in forged_path.iter().enumerate() {
                let right = (index >> level) & 1 == 1;
                node = if right {
                    parent(sibling, node)
                } else {
                    parent(node, sibling)
                };
            }
            assert_eq!(node, root(&txids));
            assert!(!verify(&mut chain, B256::from_slice(forged), index, &forged_path));
        }
    }
}

#[test]
fn a_node_is_not_taken_for_a_whole_transaction() {
    let txids: Vec<B256> = (0..4).map(|i| hash(&[i])).collect();
    let mut chain = chain_with(root(&txids));
    let node: Bytes = [txids[0].0, txids[1].0].concat().into();
    let path = vec![parent(txids[2], txids[3])];
    // By its id alone an inner node passes; its bytes are refused.
    assert!(verify(&mut chain, hash(&node), 0, &path));
    let call = BitcoinBlocks::verifyRawTransactionCall {
        transaction: node.clone(),
        height: 101,
        index: U256::ZERO,
        path,
    };
    let expected: Bytes = BitcoinBlocks::SixtyFourByteTransaction {}.abi_encode().into();
    assert_eq!(chain.refused(USER, BITCOIN_BLOCKS, U256::ZERO, &call), expected);
    let call = BitcoinBlocks::transactionIdCall { transaction: node };
    assert_eq!(chain.refused(USER, BITCOIN_BLOCKS, U256::ZERO, &call), expected);
}

/// What is almost a 64-byte transaction is an inner node like any other.
#[test]
fn nodes_that_break_one_rule_of_a_transaction_pass() {
    // Input count, script length, output count, value, output script length.
    for (at, value) in [(4, 0), (4, 2), (41, 5), (48, 0), (55, 8), (56, 1), (57, 3)] {
        let mut bytes = small_transaction(2);
        bytes[at] = value;
        let (left, right) = (B256::from_slice(&bytes[..32]), B256::from_slice(&bytes[32..]));
        let mut chain = chain_with(parent(left, right));
        assert!(verify(&mut chain, left, 0, &[right]), "byte {at} = {value}");
        assert!(verify(&mut chain, right, 1, &[left]), "byte {at} = {value}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn proves_exactly_what_is_in_a_block(
        txids in proptest::collection::btree_set(any::<[u8; 32]>(), 1..70),
        index in any::<proptest::sample::Index>(),
        flip in any::<(proptest::sample::Index, u8)>(),
    ) {
        let txids: Vec<B256> = txids.into_iter().map(B256::from).collect();
        let index = index.index(txids.len());
        let mut chain = chain_with(root(&txids));
        let path = path(&txids, index);
        prop_assert!(verify(&mut chain, txids[index], index, &path));
        // One changed bit anywhere in the id or the path is no proof.
        let mut changed: Vec<B256> = std::iter::once(txids[index]).chain(path).collect();
        let at = flip.0.index(changed.len() * 32);
        changed[at / 32][at % 32] ^= 1 << (flip.1 % 8);
        prop_assert!(!verify(&mut chain, changed[0], index, &changed[1..]));
    }
}
