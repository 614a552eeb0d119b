//! Proofs and rows of the state tree: honest ones pass, damaged ones do not, keys have one encoding.
//!
//! - 0: a key and the nodes of a proof as they are,
//! - 1: the bytes of a path or a row's key,
//! - 2: a state, of which a proof or a row is damaged.
#![no_main]

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256};
use bitsect_vm::state::{
    Account, AccountChange, AccountProof, BASIC_DATA, MemoryState, NodePath, NodeReader, Proof, RowError,
    RowKey, RowNodes, RowReader, StateChanges, StateReader, TreeState, hash_node, header_key, prove,
    prove_account, slot_key, verify_account, verify_proof,
};
use bitsect_vm_fuzz::typed;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

/// What happens to one account in one block.
#[derive(Arbitrary, Debug)]
struct Write {
    address: u8,
    account: Option<(u64, u128, u16)>,
    slots: Vec<(u8, bool, u64)>,
}

/// Blocks, and what is asked and damaged then.
#[derive(Arbitrary, Debug)]
struct Input {
    blocks: Vec<Vec<Write>>,
    address: u8,
    slot: (u8, bool),
    node: u8,
    byte: u8,
    flip: u8,
    row: (u8, u16),
}

fuzz_target!(|data: &[u8]| {
    match data.split_first() {
        Some((0, bytes)) => check_nodes(bytes),
        Some((1, bytes)) => check_paths(bytes),
        Some((_, rest)) => {
            if let Some(input) = typed::<Input>(rest) {
                run(&input);
            }
        }
        None => {}
    }
});

fn check_nodes(bytes: &[u8]) {
    let Some((key, rest)) = bytes.split_first_chunk::<32>() else {
        return;
    };
    let (nodes, _) = rest.as_chunks::<64>();
    let proof = Proof {
        nodes: nodes.to_vec(),
    };
    let root = nodes.first().map(hash_node).unwrap_or_default();
    if verify_proof(root, &B256::new(*key), &proof).is_ok() {
        let mut longer = proof;
        longer.nodes.push([0; 64]);
        assert!(verify_proof(root, &B256::new(*key), &longer).is_err());
    }
}

fn check_paths(bytes: &[u8]) {
    if let Some(path) = NodePath::from_bytes(bytes) {
        assert_eq!(path.to_bytes(), bytes, "a path has one encoding");
    }
    if let Some(key) = RowKey::from_bytes(bytes) {
        assert_eq!(key.to_bytes(), bytes, "a row's key has one encoding");
    }
}

fn address(n: u8) -> Address {
    Address::from_word(keccak256([n % 16]))
}

/// A slot of the header, or far away.
fn slot((n, is_far): (u8, bool)) -> U256 {
    U256::from(n) << if is_far { 200 } else { 0 }
}

fn run(input: &Input) {
    let mut state = MemoryState::new();
    for block in input.blocks.iter().take(4) {
        let before = state.clone();
        let changes = changes(&state, block);
        let root = state.apply(&changes).expect("the changes are those of a block");
        let codes = |_, hash| before.code(Address::ZERO, hash);
        let back = changes.reversed(codes).expect("the state keeps codes");
        let mut undone = state.clone();
        assert_eq!(undone.apply(&back), Ok(before.root()), "the way back leads back");
        assert!(undone.rows().eq(before.rows()));
        assert_eq!(state.root(), root);
    }
    check_proofs(&state, input);
    check_row(&state, input);
}

/// The net changes of these writes: only real differences.
fn changes(state: &MemoryState, block: &[Write]) -> StateChanges {
    let mut accounts = BTreeMap::new();
    for write in block.iter().take(8) {
        let address = address(write.address);
        let before = state.account(address).expect("in memory");
        let code = write
            .account
            .map(|(_, _, size)| Bytes::from(vec![0x60; usize::from(size % 600)]));
        let after = write.account.map(|(nonce, balance, _)| {
            let code = code.as_ref().map(Bytes::as_ref).unwrap_or_default();
            let code_hash = if code.is_empty() {
                KECCAK256_EMPTY
            } else {
                keccak256(code)
            };
            Account {
                nonce,
                balance: U256::from(balance),
                code_hash,
                code_size: code.len() as u32,
            }
        });
        let mut storage = BTreeMap::new();
        for (n, is_far, value) in write.slots.iter().take(8) {
            let slot = slot((*n, *is_far));
            let old = state.storage(address, slot).expect("in memory");
            // Who is gone has no storage.
            let new = if after.is_some() {
                U256::from(*value)
            } else {
                U256::ZERO
            };
            storage.insert(slot, (old, new));
        }
        if after.is_none() {
            for (_, slot, old) in state.flat().slots().filter(|(owner, _, _)| *owner == address) {
                storage.insert(slot, (old, U256::ZERO));
            }
        }
        storage.retain(|_, (old, new)| old != new);
        let code = code.filter(|_| before.map(|old| old.code_hash) != after.map(|new| new.code_hash));
        accounts.insert(
            address,
            AccountChange {
                before,
                after,
                code,
                storage,
            },
        );
    }
    accounts.retain(|_, change| change.before != change.after || !change.storage.is_empty());
    StateChanges { accounts }
}

fn check_proofs(state: &MemoryState, input: &Input) {
    let (address, slot) = (address(input.address), slot(input.slot));
    let root = state.root();
    let claim = prove_account(root, address, &[slot], state).expect("the tree is whole");
    assert_eq!(verify_account(root, &claim), Ok(()));
    assert_eq!(claim.account, state.account(address).expect("in memory"));
    assert_eq!(
        claim.slots[0].value,
        state.storage(address, slot).expect("in memory")
    );
    let tree = TreeState::new(root, state);
    assert_eq!(tree.account(address), Ok(claim.account));
    if let Some(account) = claim.account {
        let code = tree.code(address, account.code_hash).expect("the tree is whole");
        assert_eq!(Ok(code), state.code(address, account.code_hash));
    }
    for key in [header_key(address, BASIC_DATA), slot_key(address, slot)] {
        let proof = prove(root, &key, state).expect("the tree is whole");
        assert!(verify_proof(root, &key, &proof).is_ok());
        refuses_damage(root, &key, proof, input);
    }
    refuses_lies(root, claim, input);
}

fn refuses_damage(root: B256, key: &B256, proof: Proof, input: &Input) {
    let mut longer = proof.clone();
    longer.nodes.push([input.flip; 64]);
    assert!(verify_proof(root, key, &longer).is_err());
    let Some(at) = usize::from(input.node).checked_rem(proof.nodes.len()) else {
        return;
    };
    let mut shorter = proof.clone();
    shorter.nodes.truncate(at);
    assert!(verify_proof(root, key, &shorter).is_err());
    let mut damaged = proof;
    damaged.nodes[at][usize::from(input.byte) % 64] ^= input.flip;
    assert_eq!(verify_proof(root, key, &damaged).is_ok(), input.flip == 0);
}

fn refuses_lies(root: B256, claim: AccountProof, input: &Input) {
    let mut other = claim.clone();
    other.slots[0].value ^= U256::from(input.flip);
    assert_eq!(verify_account(root, &other).is_ok(), input.flip == 0);
    let mut other = claim;
    match &mut other.account {
        Some(account) => account.nonce ^= u64::from(input.flip),
        None if input.flip != 0 => {
            other.account = Some(Account {
                nonce: 0,
                balance: U256::ZERO,
                code_hash: KECCAK256_EMPTY,
                code_size: 0,
            });
        }
        None => {}
    }
    assert_eq!(verify_account(root, &other).is_ok(), input.flip == 0);
}

/// One row, damaged.
struct OneRow<'a> {
    state: &'a MemoryState,
    key: RowKey,
    bytes: Vec<u8>,
}

impl RowReader for OneRow<'_> {
    type Error = std::convert::Infallible;

    fn row(&self, key: &RowKey) -> Result<Option<Vec<u8>>, Self::Error> {
        if *key == self.key {
            Ok(Some(self.bytes.clone()))
        } else {
            self.state.row(key)
        }
    }
}

/// Whatever a row's bytes are, it gives the node that the tree has there, or an error.
fn check_row(state: &MemoryState, input: &Input) {
    let rows: Vec<_> = state.rows().collect();
    let Some(at) = usize::from(input.row.0).checked_rem(rows.len()) else {
        return;
    };
    let (key, bytes) = rows[at];
    let path = match key {
        RowKey::Trunk(position) => NodePath::Trunk(*position),
        RowKey::Stem(stem) => NodePath::Subtree {
            stem: *stem,
            level: 0,
            index: 0,
        },
    };
    let Err(RowError::Mismatch { got: hash, .. }) = RowNodes::new(state).node(&path, &B256::ZERO) else {
        panic!("no row of a tree hashes to zero");
    };
    let mut bytes = bytes.to_vec();
    let at = usize::from(input.row.1) % (bytes.len() + 1);
    match bytes.get_mut(at) {
        Some(byte) => *byte ^= input.flip,
        None => bytes.push(input.flip),
    }
    let reader = OneRow {
        state,
        key: *key,
        bytes,
    };
    if let Ok(node) = RowNodes::new(&reader).node(&path, &hash) {
        assert_eq!(hash_node(&node), hash);
    }
}
