//! Lies about what a step reads and writes: each is found in the path that is made up for it.

#[path = "../../vm/guest/tests/machine/built.rs"]
mod built;

use bitsect_judge::leaf::Value;
use bitsect_judge::step::StepClaim;
use bitsect_machine::address::{HASH_OF_NODE, NODE_FROM_HASH};
use bitsect_machine::is_callable;
use bitsect_tests::dispute::{
    CLAIMED, Cover, Defeat, Field, LOWEST, Liar, Lie, Scened, Scenes, WRONG_UNIT, defeat, for_lies,
};

/// The content is made up, and the nodes over it are true.
const LEAF: Cover = Cover::NONE.content(Value::Leaf);

const fn rd(claim: &StepClaim) -> u32 {
    claim.instruction >> 7 & 31
}

const fn rs1(claim: &StepClaim) -> u32 {
    claim.instruction >> 15 & 31
}

const fn rs2(claim: &StepClaim) -> u32 {
    claim.instruction >> 20 & 31
}

/// What is read: its name, the lie, and the leaf that shows another word.
fn reads(scenes: &Scenes) -> Vec<(&'static str, Liar, &'static str)> {
    let word = Field::Word;
    let writes = |claim: &StepClaim| rd(claim) > 1;
    let both = |claim: &StepClaim| writes(claim) && rs1(claim) > 0 && rs2(claim) > 0;
    let add = scenes.find("add", both);
    let addi = scenes.find("addi", writes);
    let load = scenes.find("lw", |claim| rs1(claim) > 0 && writes(claim));
    let store = scenes.find("sb", |claim| rs1(claim) > 0 && rs2(claim) > 0);
    let branch = scenes.find("bne", |claim| rs1(claim) > 0 && rs2(claim) > 0);
    let jump = scenes.find("jalr", |claim| rs1(claim) > 0);
    let call = scenes.any("sha256-preimage");
    // Another call may be made with the same arguments.
    let hash = scenes.find("node-from-hash", |claim| {
        is_callable(claim.second, claim.word, None)
    });
    vec![
        ("pc", addi.misread(word(Value::Pc, 4)), "path/word/pc"),
        // Another destination.
        (
            "instruction",
            addi.misread(word(Value::Instruction, 1 << 7)),
            "path/word/instruction",
        ),
        (
            "rs1 of an addition",
            add.misread(word(Value::First, 0x200)),
            "path/word/rs1",
        ),
        (
            "rs2 of an addition",
            add.misread(word(Value::Second, 0x1000)),
            "path/word/rs2",
        ),
        (
            "rs1 of a load",
            load.misread(word(Value::First, 0x40)),
            "path/word/rs1",
        ),
        (
            "word of a load",
            load.misread(word(Value::Word, 2)),
            "path/word/memory",
        ),
        (
            "rs2 of a store",
            store.misread(word(Value::Second, 1)),
            "path/word/rs2",
        ),
        (
            "word of a store",
            store.misread(word(Value::Word, other_byte(&store))),
            "path/word/memory",
        ),
        (
            "rs2 of a branch",
            branch.misread(word(Value::Second, 0x8000)),
            "path/word/rs2",
        ),
        (
            "rs1 of a jump",
            jump.misread(word(Value::First, 8)),
            "path/word/rs1",
        ),
        (
            "a7",
            hash.misread(word(Value::First, NODE_FROM_HASH ^ HASH_OF_NODE)),
            "path/word/a7",
        ),
        ("a0", call.misread(word(Value::Second, 0x80)), "path/word/a0"),
        ("a1", call.misread(word(Value::Word, 4)), "path/word/a1"),
    ]
}

/// A bit of a byte that a store of a byte leaves alone.
const fn other_byte(store: &Scened) -> u32 {
    1 << ((store.claim.address % 4 + 1) % 4 * 8)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_falsely_is_refuted_by_the_word_the_leaf_or_a_hash() {
    const READS: usize = 13;
    // Under the root, where directions are constants, where they are bits of an address, and at the leaf; and so that the
    // search ends in each of its rounds.
    let places = [1, 2, 9, 10, 13, 17, 18, 21, 24, 25, LOWEST];
    let mut arena = for_lies(built::built(), 2 * READS).await;
    let scenes = arena.scenes(0..u64::from(CLAIMED)).await;
    let reads = reads(&scenes);
    let lies = reads
        .into_iter()
        .zip(0..)
        .flat_map(|((name, liar, word), number)| {
            let below = places[number % places.len()];
            let deep = LEAF.below(below);
            let deep = if number % 2 == 0 { deep.sibling() } else { deep };
            let covered = if number % 4 == 1 {
                let name = format!("{name} and its leaf");
                Defeat::by(name, liar.covered(LEAF), "path/leaf-hash")
            } else {
                let name = format!("{name} and nodes from {below} on");
                Defeat::by(name, liar.covered(deep), "path/equation-")
            };
            [Defeat::by(name, liar.covered(Cover::NONE), word), covered]
        });
    let lies: Vec<Defeat> = lies.collect();
    defeat(&mut arena, &lies).await;
}

/// Lies about what a step writes.
fn writes(scenes: &Scenes) -> Vec<Defeat> {
    let addi = scenes.find("addi", |claim| rd(claim) > 1);
    let (store, branch, exit) = (scenes.any("sw"), scenes.any("beq"), scenes.any("exit"));
    let mut lies = Vec::new();
    let hashes = "path/equation-";
    for (number, (name, liar, leaf)) in (0..).zip([
        ("a register", addi.wrong(Field::Middle), "path/write/register-"),
        ("memory", store.wrong(Field::Middle), "path/write/memory-"),
        ("control", branch.wrong(Field::After), "path/write/control"),
        (
            "control at the end",
            exit.wrong(Field::After),
            "path/write/control-exit",
        ),
    ]) {
        let (middle, nodes) = if number % 2 == 0 {
            (
                ("alone", Cover::NONE, hashes),
                ("over a false leaf", LEAF, "path/leaf-hash"),
            )
        } else {
            let deep = LEAF.below(17);
            (
                ("with a false sibling", Cover::NONE.above(19).sibling(), hashes),
                ("over false nodes", deep, hashes),
            )
        };
        for (how, cover, leaf) in [
            ("to the middle", Cover::NONE.above(13), hashes),
            ("to the leaf", Cover::NONE.above(LOWEST), leaf),
            middle,
            nodes,
        ] {
            lies.push(Defeat::by(format!("{name} {how}"), liar.covered(cover), leaf));
        }
    }
    lies
}

/// Lies about the machine's first and last state.
fn links() -> Vec<Defeat> {
    let first = Liar::new(WRONG_UNIT, Lie::First);
    let output = Liar::new(WRONG_UNIT, Lie::State);
    vec![
        Defeat::by("first state", first, "path/equation-"),
        Defeat::by(
            "first state with a false sibling",
            first.covered(Cover::NONE.sibling()),
            "link/sibling-",
        ),
        Defeat::by(
            "first state and all below",
            first.covered(Cover::NONE.below(1)),
            "path/leaf-hash",
        ),
        Defeat::by(
            "first state and nodes down to the leaf",
            first.covered(Cover::NONE.below(20)),
            "path/equation-",
        ),
        Defeat::by("output", output, "state/leaf"),
        Defeat::by("output and its leaf", output.covered(LEAF), "path/leaf-hash"),
        Defeat::by(
            "output and nodes",
            output.covered(LEAF.below(11)),
            "path/equation-",
        ),
        Defeat::by(
            "output and all below",
            output.covered(LEAF.below(1).sibling()),
            "path/equation-",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_falsely_is_refuted_by_the_write_the_leaf_or_a_hash() {
    let mut arena = for_lies(built::built(), 4 * 4 + 8).await;
    let scenes = arena.scenes(0..u64::from(CLAIMED)).await;
    let mut lies = writes(&scenes);
    lies.extend(links());
    defeat(&mut arena, &lies).await;
}
