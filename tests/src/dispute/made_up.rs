//! What a liar makes up.

use alloy_primitives::B256;
use bitsect_bridge::daemon::Knowledge;
use bitsect_bridge::game::position::{Position, Published};
use bitsect_bridge::game::prover::AnswerError;
use bitsect_bridge::game::truth::{Place, Truth};
use bitsect_bridge::game::{Item, Part, Stage, Subject};
use bitsect_judge::leaf::Value;
use bitsect_judge::step::cut;
use bitsect_machine::address::{CONTROL, INPUT};
use bitsect_machine::compress;
use bitsect_vm::chain::hash_pair;
use bitsect_vm::state::hash_node;

/// A value that is no truth, the same every time.
pub(super) fn made_up(what: &str, at: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let mut hasher = blake3::Hasher::new();
    hasher
        .update(b"made up")
        .update(what.as_bytes())
        .update(&at.to_le_bytes());
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

pub(super) fn false_sibling() -> B256 {
    B256::from_slice(&made_up("sibling", 0, 32))
}

/// The root over the input, which is on the right, and another program: all nodes below are true, and the hash is right.
pub(super) fn over_a_false_sibling(input: &[u8; 64], knowledge: &Knowledge) -> Result<Vec<u8>, AnswerError> {
    let path = knowledge.path(input, 0, Place::leaf(INPUT))?;
    let node = path.node(1).expect("the first state is known");
    Ok(cut(&hash_pair(&false_sibling(), &node)).to_vec())
}

/// The node over a leaf, or the key's, that was published as content.
pub(super) fn content_hash(position: &Position, part: Part) -> Option<B256> {
    let content = |value| position.value(Stage::Content(part), value);
    let leaf = content(Value::Leaf).or_else(|| content(Value::Key))?;
    Some(hash_node(leaf.try_into().ok()?))
}

/// Makes the key one of which the chaining value and a block are the preimage, where there are such.
pub(super) fn with_preimage(values: &mut Published) {
    let part = |value| values.get(&Item::Value(value)).cloned();
    let (Some(chaining), Some(mut block), Some(mut key)) =
        (part(Value::Chaining), part(Value::Block), part(Value::Key))
    else {
        return;
    };
    block[5] ^= 4;
    let whole = block.as_slice().try_into().expect("a block has 64 bytes");
    let digest = compress(&B256::from_slice(&chaining), whole);
    key[..32].copy_from_slice(digest.as_slice());
    values.extend([(Item::Value(Value::Block), block), (Item::Value(Value::Key), key)]);
}

/// Puts the claimed word into a leaf, as if it lay there.
pub(super) fn claimed_leaf(position: &Position, leaf: &mut [u8]) {
    let (Some(claim), Some(subject)) = (position.step_claim(), position.subject()) else {
        return;
    };
    let mut set = |address: u32, word: u32| {
        let at = (address % 64) as usize & !3;
        leaf[at..at + 4].copy_from_slice(&word.to_le_bytes());
    };
    match subject.word(&claim) {
        Some((address, word)) => set(address, word),
        None if subject == Subject::Control => {
            set(CONTROL, claim.pc);
            set(CONTROL + 4, u32::from(claim.status));
        }
        // What is written is no part of what lay there: another word is changed.
        None => leaf[63] ^= 4,
    }
}
