//! Lies about what a call to the oracle reads and writes.

#[path = "../../vm/guest/tests/machine/built.rs"]
mod built;

use bitsect_judge::leaf::Value;
use bitsect_tests::dispute::{CLAIMED, Cover, Defeat, Field, LOWEST, defeat, for_lies};

/// Some value of a call's content is made up.
const fn content(value: Value) -> Cover {
    Cover::NONE.content(value)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_call_does_falsely_is_refuted() {
    let mut arena = for_lies(built::built(), 23).await;
    let scenes = arena.scenes(0..u64::from(CLAIMED)).await;
    // A node above the leaves has neighbours that repeat.
    let from = scenes
        .find("node-from-hash", |claim| claim.word > 1)
        .wrong(Field::Middle);
    let hash = scenes.any("hash-of-node").wrong(Field::Middle);
    let preimage = scenes.any("sha256-preimage").wrong(Field::Middle);
    let lies = [
        ("a node", from, Cover::NONE, "path/equation-"),
        (
            "a node to the middle",
            from,
            Cover::NONE.above(7),
            "path/equation-",
        ),
        (
            "a node to the key",
            from,
            Cover::NONE.above(LOWEST),
            "call/node-from-hash",
        ),
        (
            "a node by a false key",
            from,
            content(Value::Key),
            "path/leaf-hash/key",
        ),
        (
            "a node by a false key and nodes",
            from,
            content(Value::Key).below(12),
            "path/equation-",
        ),
        (
            "a node, and another below",
            from,
            Cover::NONE.above(LOWEST - 1),
            "path/repeat-after/node-",
        ),
        ("a hash", hash, Cover::NONE, "path/equation-"),
        (
            "a hash to the middle",
            hash,
            Cover::NONE.above(14).sibling(),
            "path/equation-",
        ),
        (
            "a hash to the leaf",
            hash,
            Cover::NONE.above(LOWEST),
            "call/hash-of-node",
        ),
        (
            "a hash of a false node",
            hash,
            content(Value::Node),
            "call/node-link",
        ),
        (
            "a hash of a false node below false ones",
            hash,
            content(Value::Node).below(2),
            "path/",
        ),
        ("a preimage", preimage, Cover::NONE, "path/equation-"),
        (
            "a preimage to the middle",
            preimage,
            Cover::NONE.above(16),
            "path/equation-",
        ),
        (
            "a preimage to the node",
            preimage,
            Cover::NONE.above(LOWEST),
            "call/preimage-node",
        ),
        (
            "a preimage, and another node below",
            preimage,
            Cover::NONE.above(LOWEST - 1),
            "path/repeat-after/key-and-block",
        ),
        (
            "a preimage of a false key",
            preimage,
            content(Value::Key),
            "path/leaf-hash/key",
        ),
        (
            "a preimage of a false key below false nodes",
            preimage,
            content(Value::Key).below(25),
            "path/equation-",
        ),
        (
            "a false chaining value",
            preimage,
            content(Value::Chaining),
            "call/preimage",
        ),
        ("a false block", preimage, content(Value::Block), "call/preimage"),
        (
            "a false hash of the key",
            preimage,
            content(Value::KeyHash),
            "path/",
        ),
        (
            "a false hash of the block",
            preimage,
            content(Value::BlockHash),
            "path/",
        ),
        (
            "a false hash of the key, to the node",
            preimage,
            content(Value::KeyHash).above(LOWEST),
            "call/key-hash",
        ),
        (
            "a false hash of the block, to the node",
            preimage,
            content(Value::BlockHash).above(LOWEST),
            "call/block-hash",
        ),
    ];
    let lies = lies.map(|(name, liar, cover, leaf)| Defeat::by(name, liar.covered(cover), leaf));
    defeat(&mut arena, &lies).await;
}
