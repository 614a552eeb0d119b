//! A wrong step of every instruction that a real unit's run has: the leaf of its rule ends the dispute.

#[path = "../../vm/guest/tests/machine/built.rs"]
mod built;

use bitsect_judge::leaf::Value;
use bitsect_judge::step::StepClaim;
use bitsect_tests::dispute::{CLAIMED, Defeat, Field, Liar, Lie, Scenes, StepLie, defeat, for_lies};

/// Instructions of which the result is false.
const RESULTS: [&str; 39] = [
    "lui", "auipc", "jal", "jalr", "lb", "lbu", "lh", "lhu", "lw", "sb", "sh", "sw", "addi", "andi", "ori",
    "xori", "slli", "srli", "srai", "slti", "sltiu", "add", "sub", "and", "or", "xor", "sll", "srl", "sra",
    "slt", "sltu", "mul", "mulh", "mulhsu", "mulhu", "div", "divu", "rem", "remu",
];
/// Branches, of which the next `pc` is false.
const BRANCHES: [&str; 6] = ["beq", "bne", "blt", "bge", "bltu", "bgeu"];
/// Calls, which nothing is computed of but the next `pc` and the status.
const CALLS: [&str; 4] = ["node-from-hash", "hash-of-node", "sha256-preimage", "exit"];

/// The statuses of a machine that halted, and of one that met an unknown instruction.
const HALTED: u8 = 1;
const ILLEGAL: u8 = 3;

/// Whether a step writes a register that is not `x0`.
const fn has_rd(claim: &StepClaim) -> bool {
    claim.instruction >> 7 & 31 != 0
}

fn results(scenes: &Scenes) -> Vec<Defeat> {
    let mut lies = Vec::new();
    for kind in RESULTS.into_iter().filter(|kind| scenes.has(kind)) {
        let step = scenes.find(kind, |claim| kind.starts_with('s') || has_rd(claim));
        lies.push(Defeat::by(
            kind,
            step.wrong(Field::Word(Value::Written, 0x40)),
            "result/",
        ));
    }
    lies
}

fn nexts(scenes: &Scenes) -> Vec<Defeat> {
    let kinds = BRANCHES
        .into_iter()
        .chain(CALLS)
        .chain(["jal", "jalr", "addi", "sw"]);
    let lies = kinds.map(|kind| {
        let lie = scenes.any(kind).wrong(Field::Word(Value::Next, 8));
        Defeat::by(format!("what follows {kind}"), lie, "next/")
    });
    lies.collect()
}

fn others(scenes: &Scenes) -> Vec<Defeat> {
    let address = Field::Word(Value::Address, 4);
    let (unit, stopped) = scenes.stopped();
    let stopped = |field| {
        let lie = StepLie {
            step: stopped,
            field,
            follows: false,
        };
        Liar::new(unit, Lie::Trace(lie))
    };
    let halts = |kind| scenes.any(kind).wrong(Field::Status(HALTED));
    let traps = |kind| scenes.any(kind).wrong(Field::Status(ILLEGAL));
    vec![
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
        Defeat::by("an addition that halts", halts("add"), "status/exit-false"),
        Defeat::by("a call that halts", halts("hash-of-node"), "status/exit-false"),
        Defeat::by("an addition that traps", traps("add"), "trap/"),
        Defeat::by("a call that traps", traps("node-from-hash"), "trap/"),
        Defeat::by(
            "no known status",
            scenes.any("lw").wrong(Field::Status(14)),
            "status/unknown",
        ),
        Defeat::by(
            "a stopped machine that goes on",
            stopped(Field::Status(0)),
            "still/stopped",
        ),
        Defeat::by(
            "a stopped machine that changes",
            stopped(Field::After),
            "still/stopped",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_step_of_every_instruction_is_refuted() {
    // Of the results as many as a program has: its compiler chose them.
    let most = RESULTS.len() + BRANCHES.len() + CALLS.len() + 4 + 13;
    let mut arena = for_lies(built::built(), most).await;
    let scenes = arena.scenes(0..u64::from(CLAIMED)).await;
    let mut lies = results(&scenes);
    lies.extend(nexts(&scenes));
    lies.extend(others(&scenes));
    let missing: Vec<&str> = scenes
        .kinds()
        .into_iter()
        .filter(|kind| !covers(&lies, kind))
        .collect();
    assert!(missing.is_empty(), "no lie about {missing:?}");
    defeat(&mut arena, &lies).await;
}

/// Whether one of the lies is about this kind of step.
fn covers(lies: &[Defeat], kind: &str) -> bool {
    lies.iter()
        .any(|lie| lie.name.split_whitespace().last() == Some(kind))
}
