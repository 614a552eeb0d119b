//! What a call reads and writes.
//!
//! Gates: the call is made, and it is the one that the rule says.

use super::CUT;
use super::hash::{Part, differs_from_hash};
use super::node::{Time, differs};
use crate::leaf::{Rule, Value};

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
            CUT,
        ),
        // `SHA256_PREIMAGE` writes the node above the key leaf, which is the chaining value and zeros, and the block.
        hash(
            "key-hash",
            vec![Part::whole(Value::Chaining), Part::Zeros(HASH)],
            Value::KeyHash,
            HASH,
        ),
        hash(
            "block-hash",
            vec![Part::whole(Value::Block)],
            Value::BlockHash,
            HASH,
        ),
        hash(
            "preimage-node",
            [Value::KeyHash, Value::BlockHash].map(Part::whole).into(),
            after,
            CUT,
        ),
    ]
}

fn same(name: &str, first: Value, second: Value) -> Rule {
    differs(format!("call/{name}"), first, second, vec![], |_, _| {}, |_| true)
}

fn hash(name: &str, parts: Vec<Part>, value: Value, count: usize) -> Rule {
    differs_from_hash(
        format!("call/{name}"),
        parts,
        value,
        count,
        vec![],
        |_, _| {},
        |_| true,
    )
}
