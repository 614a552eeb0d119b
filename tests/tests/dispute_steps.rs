//! A wrong step of every class of instructions, found in real units' runs: the leaf of its rule ends the dispute. Each
//! instruction for itself is tested by values (`bridge/tests/game`, `vm/judge/tests`).

#[path = "../../vm/guest/tests/machine/built.rs"]
mod built;

use bitsect_judge::leaf::Value;
use bitsect_tests::dispute::{CLAIMED, Defeat, Field, Scenes, defeat, for_lies};

/// Instructions of which the result is false: of each class, and of each way in which the judge computes.
const RESULTS: [&str; 15] = [
    "lui", "auipc", "jal", "jalr", "lbu", "lw", "sb", "sw", "addi", "srai", "sub", "xor", "sltu", "mul",
    "divu",
];
/// Branches, of which the next `pc` is false.
const BRANCHES: [&str; 2] = ["bne", "blt"];
/// Calls, which nothing is computed of but the next `pc` and the status.
const CALLS: [&str; 4] = ["node-from-hash", "hash-of-node", "sha256-preimage", "exit"];

/// What else has a next `pc`.
const JUMPS: [&str; 2] = ["jalr", "addi"];
/// Lies about what is neither.
const OTHERS: usize = 14;

/// The statuses of a machine that halted, and of one that met an unknown instruction.
const HALTED: u8 = 1;
const ILLEGAL: u8 = 3;

fn results(scenes: &Scenes) -> Vec<Defeat> {
    // The result is said where it goes to `x0` too.
    let wrong = |kind| scenes.any(kind).wrong(Field::Word(Value::Written, 0x40));
    RESULTS
        .map(|kind| Defeat::by(kind, wrong(kind), "result/"))
        .to_vec()
}

fn nexts(scenes: &Scenes) -> Vec<Defeat> {
    let kinds = BRANCHES.into_iter().chain(CALLS).chain(JUMPS);
    let lies = kinds.map(|kind| {
        let lie = scenes.any(kind).wrong(Field::Word(Value::Next, 8));
        Defeat::by(format!("what follows {kind}"), lie, "next/")
    });
    lies.collect()
}

fn others(scenes: &Scenes) -> [Defeat; OTHERS] {
    let address = Field::Word(Value::Address, 4);
    let halts = |kind| scenes.any(kind).wrong(Field::Ends(HALTED));
    let traps = |kind| scenes.any(kind).wrong(Field::Ends(ILLEGAL));
    [
        Defeat::by(
            "a load's address",
            scenes.any("lw").wrong(address),
            "address/load",
        ),
        Defeat::by(
            "a store's address",
            scenes.any("sw").wrong(address),
            "address/store",
        ),
        Defeat::by(
            "a branch that writes",
            scenes.any("bne").wrong(Field::Middle),
            "still/branch",
        ),
        Defeat::by(
            "an exit that writes",
            scenes.any("exit").wrong(Field::Middle),
            "still/exit",
        ),
        Defeat::by(
            "an exit that is none",
            scenes.any("exit").wrong(Field::Status(0)),
            "status/exit-missing",
        ),
        Defeat::by("an exit that traps", traps("exit"), "trap/"),
        Defeat::by(
            "an addition that halts",
            halts("add"),
            "status/exit-false-instruction",
        ),
        Defeat::by(
            "a call that halts",
            halts("hash-of-node"),
            "status/exit-false-call",
        ),
        Defeat::by("an addition that traps", traps("add"), "trap/"),
        Defeat::by("a call that traps", traps("node-from-hash"), "trap/"),
        Defeat::by(
            "no known status",
            scenes.any("add").wrong(Field::Ends(14)),
            "status/unknown",
        ),
        Defeat::by(
            "a machine that runs and had stopped before",
            scenes.any("add").wrong(Field::StatusBefore(HALTED)),
            "still/stopped",
        ),
        Defeat::by(
            "a stopped machine that goes on",
            scenes.stopped().wrong(Field::Status(0)),
            "still/stopped",
        ),
        Defeat::by(
            "a stopped machine that changes",
            scenes.stopped().wrong(Field::After),
            "still/stopped",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_result_of_every_class_is_refuted() {
    let count = RESULTS.len() + BRANCHES.len() + CALLS.len() + JUMPS.len();
    let mut arena = for_lies(built::built(), count).await;
    let scenes = arena.scenes(0..u64::from(CLAIMED)).await;
    let lies = [results(&scenes), nexts(&scenes)].concat();
    defeat(&mut arena, &lies).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_address_status_or_write_is_refuted() {
    let mut arena = for_lies(built::built(), OTHERS).await;
    let scenes = arena.scenes(0..u64::from(CLAIMED)).await;
    defeat(&mut arena, &others(&scenes)).await;
}
