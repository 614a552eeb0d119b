//! Proofs: honest ones pass, and no kind of node passes for another.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use alloy_primitives::{Address, B256, KECCAK256_EMPTY, U256, keccak256};
use proptest::prelude::*;

use super::hash::halves;
use super::*;

/// Slots whose values look like nodes' halves: the tag, stem words, hashes of crafted nodes.
fn state(accounts: u64, slots: &[(Address, U256, B256)]) -> MemoryState {
    let mut changes = StateChanges::default();
    for n in 0..accounts {
        let account = Account {
            nonce: n,
            balance: U256::from(n),
            code_hash: KECCAK256_EMPTY,
            code_size: 0,
        };
        let change = AccountChange {
            after: Some(account),
            ..AccountChange::default()
        };
        changes.accounts.insert(address(n), change);
    }
    for (address, slot, value) in slots {
        let change = changes.accounts.entry(*address).or_default();
        change
            .storage
            .insert(*slot, (U256::ZERO, U256::from_be_bytes(value.0)));
    }
    let mut state = MemoryState::new();
    state.apply(&changes).unwrap();
    state
}

fn address(n: u64) -> Address {
    Address::from_word(keccak256(n.to_be_bytes()))
}

fn crafted(left: B256, right: B256) -> (Node, B256) {
    let node: Node = [left.0, right.0].concat().try_into().unwrap();
    (node, hash_node(&node))
}

/// All nodes that can be reached from `hash` by way of either half, values included.
fn chains(known: &BTreeMap<B256, Node>, hash: B256, chain: &mut Vec<Node>, visit: &mut impl FnMut(&[Node])) {
    let Some(node) = known.get(&hash) else {
        return;
    };
    chain.push(*node);
    visit(chain);
    let (left, right) = halves(node);
    chains(known, left, chain, visit);
    chains(known, right, chain, visit);
    chain.pop();
}

fn all_nodes(state: &MemoryState) -> BTreeMap<B256, Node> {
    let update = update_nodes(state);
    assert_eq!(update.root, state.root());
    update
        .nodes
        .into_iter()
        .filter_map(|(_, node)| node)
        .map(|node| (hash_node(&node), node))
        .collect()
}

/// The whole tree, as the update that makes it from nothing.
fn update_nodes(state: &MemoryState) -> TreeUpdate {
    let mut changes = StateChanges::default();
    for (address, account) in state.flat().accounts() {
        let change = AccountChange {
            after: Some(*account),
            ..AccountChange::default()
        };
        changes.accounts.insert(*address, change);
    }
    for (address, slot, value) in state.flat().slots() {
        let change = changes.accounts.entry(address).or_default();
        change.storage.insert(slot, (U256::ZERO, value));
    }
    update(EMPTY, &changes, &MemoryState::new()).unwrap()
}

/// What an attacker can put into the tree: slots of its own, which stand for other nodes' halves.
fn hostile_state() -> (MemoryState, BTreeMap<B256, Node>) {
    let victim_stem = header_key(address(1_000_000), 0);
    let mut word = victim_stem;
    word.0[31] = 0;
    let (pair, pair_hash) = crafted(B256::with_last_byte(9), B256::repeat_byte(7));
    let mut known = BTreeMap::from([(pair_hash, pair)]);
    // A whole false subtree for the victim's pair 0, then the false stem's two nodes.
    let mut hash = pair_hash;
    for _ in 0..7 {
        let (node, above) = crafted(hash, B256::ZERO);
        known.insert(above, node);
        hash = above;
    }
    let (inner, inner_hash) = crafted(word, hash);
    let (outer, outer_hash) = crafted(inner_hash, STEM_TAG);
    known.insert(inner_hash, inner);
    known.insert(outer_hash, outer);
    let mut slots = vec![];
    for n in 0..8 {
        let owner = address(n);
        let pairs = [
            (inner_hash, STEM_TAG),
            (outer_hash, outer_hash),
            (word, hash),
            (hash, pair_hash),
        ];
        for (i, (left, right)) in pairs.into_iter().enumerate() {
            let base = U256::from(256 * n + 2 * i as u64);
            slots.extend([(owner, base, left), (owner, base + U256::from(1), right)]);
        }
    }
    let state = state(600, &slots);
    known.extend(all_nodes(&state));
    (state, known)
}

#[test]
fn no_chain_of_known_nodes_proves_anything_false() {
    let (state, known) = hostile_state();
    let mut keys: Vec<TreeKey> = (0..8)
        .chain([1_000_000])
        .map(|n| header_key(address(n), 0))
        .collect();
    keys.extend((0..8u64).map(|n| slot_key(address(n), U256::from(256 * n + 1))));
    keys.push(slot_key(address(1_000_000), U256::from(1000)));
    let tree = TreeState::new(state.root(), &state);
    let truth: Vec<_> = keys.iter().map(|key| tree.value(key).unwrap()).collect();
    let (mut tried, mut passed) = (0, 0);
    chains(&known, state.root(), &mut vec![], &mut |chain| {
        let proof = Proof {
            nodes: chain.to_vec(),
        };
        for (key, value) in keys.iter().zip(&truth) {
            tried += 1;
            if let Ok(shown) = verify_proof(state.root(), key, &proof) {
                passed += 1;
                assert_eq!(shown, *value);
            }
        }
    });
    assert_eq!(
        passed,
        keys.len(),
        "of {tried} chains, each key's own passes and no other"
    );
}

/// In EIP-7864 an inner node whose left half ends in a zero byte reads as a stem: here it must not.
#[test]
fn an_inner_node_that_looks_like_a_stem_is_none() {
    let state = state(600, &[]);
    let (mut found, tree) = (0, TreeState::new(state.root(), &state));
    for (path, node) in update_nodes(&state).nodes {
        let node = node.unwrap();
        let (left, right) = halves(&node);
        if !matches!(path, NodePath::Trunk(_)) || right == STEM_TAG || left[31] != 0 || left == EMPTY {
            continue;
        }
        found += 1;
        for n in 0..600 {
            let key = header_key(address(n), 0);
            let mut proof = prove(state.root(), &key, &state).unwrap();
            // Stop at the node, as if it were another stem and proved absence.
            if let Some(at) = proof.nodes.iter().position(|other| *other == node) {
                proof.nodes.truncate(at + 1);
                assert!(verify_proof(state.root(), &key, &proof).is_err());
                assert!(tree.value(&key).unwrap().is_some());
            }
        }
    }
    assert!(found > 0, "600 stems have some 600 inner nodes");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn honest_proofs_pass_and_changed_ones_do_not(
        accounts in 0u64..40,
        slots in prop::collection::vec((0u64..50, 0u64..400, 1u64..5), 0..40),
        asked in (0u64..50, 0u64..400),
        (at, with, edit) in (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0u8..5),
        flip in 0usize..512,
    ) {
        let slots: Vec<_> = slots
            .into_iter()
            .map(|(n, slot, value)| (address(n), U256::from(slot), B256::from(U256::from(value))))
            .collect();
        let state = state(accounts, &slots);
        let tree = TreeState::new(state.root(), &state);
        let (asked, slot) = (address(asked.0), U256::from(asked.1));
        let answer = prove_account(state.root(), asked, &[slot, slot + U256::from(1)], &state).unwrap();
        prop_assert_eq!(verify_account(state.root(), &answer), Ok(()));
        prop_assert_eq!(answer.account, state.account(asked).unwrap());
        prop_assert_eq!(answer.slots[0].value, state.storage(asked, slot).unwrap());
        prop_assert_eq!(tree.storage(asked, slot).unwrap(), answer.slots[0].value);

        let key = slot_key(asked, slot);
        let honest = &answer.slots[0].proof;
        let pool: Vec<Node> = all_nodes(&state).into_values().chain([[0; 64]]).collect();
        let mut changed = honest.clone();
        let len = honest.nodes.len();
        match edit {
            0 => changed.nodes.insert(at.index(len + 1), *with.get(&pool)),
            1 if len > 0 => { changed.nodes.remove(at.index(len)); }
            2 if len > 0 => changed.nodes[at.index(len)] = *with.get(&pool),
            3 if len > 0 => changed.nodes[at.index(len)][flip / 8] ^= 1 << (flip % 8),
            4 if len > 0 => changed.nodes.swap(at.index(len), with.index(len)),
            _ => {}
        }
        let shown = verify_proof(state.root(), &key, &changed);
        prop_assert_eq!(shown.is_ok(), changed == *honest);

        let mut claim = answer.clone();
        claim.slots[1].value += U256::from(1);
        prop_assert_eq!(verify_account(state.root(), &claim), Err(ProofError::Claim { address: asked }));
        let mut claim = answer;
        claim.account = match claim.account {
            Some(_) => None,
            None => Some(Account { nonce: 0, balance: U256::ZERO, code_hash: KECCAK256_EMPTY, code_size: 0 }),
        };
        prop_assert_eq!(verify_account(state.root(), &claim), Err(ProofError::Claim { address: asked }));
    }
}

#[test]
fn the_empty_tree_proves_absence_with_no_nodes() {
    let key = header_key(address(1), 0);
    assert_eq!(verify_proof(EMPTY, &key, &Proof::default()), Ok(None));
    let long = Proof { nodes: vec![[0; 64]] };
    assert_eq!(
        verify_proof(EMPTY, &key, &long),
        Err(ProofError::Long { expected: 0, got: 1 })
    );
    let root = B256::repeat_byte(1);
    assert_eq!(
        verify_proof(root, &key, &Proof::default()),
        Err(ProofError::Short { got: 0 })
    );
}

#[test]
fn a_stem_off_its_path_is_refused() {
    // A tree that nobody can have built: the stem's first bit says right, and it stands on the left.
    let (pair, mut hash) = crafted(B256::with_last_byte(1), B256::ZERO);
    let mut nodes = vec![pair];
    for level in (0..7).rev() {
        let (node, above) = crafted(hash, B256::ZERO);
        let _ = level;
        nodes.push(node);
        hash = above;
    }
    let mut word = B256::repeat_byte(0xff);
    word.0[31] = 0;
    let (inner, inner_hash) = crafted(word, hash);
    let (outer, outer_hash) = crafted(inner_hash, STEM_TAG);
    let (top, root) = crafted(outer_hash, B256::repeat_byte(1));
    let proof = Proof {
        nodes: vec![top, outer, inner],
    };
    let absent = verify_proof(root, &B256::ZERO, &proof);
    assert_eq!(absent, Err(ProofError::Malformed { index: 2 }));
}

#[test]
fn code_reads_back_from_the_tree() {
    for size in [0usize, 1, 31, 32, 128 * 31, 128 * 31 + 1, 24_576, 400 * 31] {
        let code: Vec<u8> = (0..size)
            .map(|i| if i % 900 < 200 { 0 } else { (i * 7 % 251) as u8 })
            .collect();
        let account = Account {
            nonce: 1,
            balance: U256::ZERO,
            code_hash: keccak256(&code),
            code_size: size as u32,
        };
        let change = AccountChange {
            after: Some(account),
            code: Some(code.clone().into()),
            ..AccountChange::default()
        };
        let mut state = state(3, &[(address(9), U256::from(3), B256::repeat_byte(1))]);
        state
            .apply(&StateChanges {
                accounts: [(address(9), change)].into(),
            })
            .unwrap();
        let tree = TreeState::new(state.root(), &state);
        assert_eq!(tree.account(address(9)).unwrap(), Some(account));
        assert_eq!(tree.code(address(9), account.code_hash).unwrap(), code);
        assert_eq!(tree.account(address(10)).unwrap(), None);
    }
}
