//! What a call reads and writes.
//!
//! Gates: the call is made, and it is the one that the rule says.

use alloy_primitives::B256;

use super::digits::digits;
use super::hash::{Part, differs_from_digest, differs_from_hash};
use super::node::{Time, differs};
use crate::hash::sha256::compress;
use crate::leaf::{ALL, Inputs, Rule, Value, Values};
use crate::script::{Assembler, Item};

/// Digits of a hash.
const HASH: usize = 64;

/// Gives the rules.
pub fn rules() -> Vec<Rule> {
    let [bottom, after] = Time::BOTH.map(Time::bottom);
    vec![
        // The node that `NODE_FROM_HASH` writes is the one whose hash is the key.
        same("node-from-hash", after, Value::Key),
        // The node that `HASH_OF_NODE` reads is the one that the search ended with.
        same("node-link", bottom, Value::Node),
        // The key leaf that it writes is that hash and zeros.
        hash(
            "hash-of-node",
            vec![Part::whole(Value::Node), Part::Zeros(HASH)],
            after,
        ),
        // `SHA256_PREIMAGE` brings what compresses to the key.
        preimage(),
        // It writes the node above the key leaf, which is the chaining value and zeros, and the block.
        hash(
            "key-hash",
            vec![Part::whole(Value::Chaining), Part::Zeros(HASH)],
            Value::KeyHash,
        ),
        hash("block-hash", vec![Part::whole(Value::Block)], Value::BlockHash),
        hash(
            "preimage-node",
            [Value::KeyHash, Value::BlockHash].map(Part::whole).into(),
            after,
        ),
    ]
}

/// What `SHA256_PREIMAGE` brings does not compress to the key.
fn preimage() -> Rule {
    let script = |a: &mut Assembler, inputs: &Inputs| {
        let chaining = inputs.digits(Value::Chaining);
        let block = inputs.digits(Value::Block);
        let chaining: &[Item; HASH] = chaining.as_slice().try_into().expect("32 bytes");
        compress(a, chaining, block.as_slice().try_into().expect("64 bytes"), HASH)
    };
    let mirror = |values: &Values| {
        let block = values.bytes(Value::Block).try_into().ok()?;
        let chaining = B256::from_slice(values.bytes(Value::Chaining));
        Some(digits(bitsect_machine::compress(&chaining, block).as_slice()))
    };
    let reads = vec![(Value::Chaining, ALL), (Value::Block, ALL)];
    differs_from_digest(
        "call/preimage".to_owned(),
        reads,
        (Value::Key, HASH),
        script,
        mirror,
    )
}

fn same(name: &str, first: Value, second: Value) -> Rule {
    differs(format!("call/{name}"), first, second, vec![], |_, _| {}, |_| true)
}

fn hash(name: &str, parts: Vec<Part>, value: Value) -> Rule {
    differs_from_hash(format!("call/{name}"), parts, value, vec![], |_, _| {}, |_| true)
}
