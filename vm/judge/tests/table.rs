//! The table in the documentation is what the leaves are, and they are within Bitcoin's limits.

use bitsect_judge::table::{render, rows};

/// Weight of a transaction that nodes relay (Bitcoin Core's `MAX_STANDARD_TX_WEIGHT`), WU.
const MAX_WEIGHT: usize = 400_000;
/// What a transaction has beside the leaf's input: version, locktime, the other inputs and outputs, WU.
const REST: usize = 2_000;

#[test]
fn the_documentation_has_this_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/judge-leaves.md");
    let written = std::fs::read_to_string(path).unwrap();
    assert!(
        written == render(),
        "docs/judge-leaves.md is old: make judge-table > docs/judge-leaves.md"
    );
}

#[test]
fn every_leaf_is_within_the_limits() {
    for row in rows() {
        assert!(row.weight + REST <= MAX_WEIGHT, "{}", row.describe());
        assert!(
            row.deepest <= bitsect_judge::script::MAX_STACK,
            "{}",
            row.describe()
        );
    }
}
