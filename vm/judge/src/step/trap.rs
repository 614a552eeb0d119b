//! Traps and the other ways to stop: the status after the step is another than the instruction gives.
//!
//! For each status there are rules of two kinds: the condition holds and the claim has another status (`missing`), and the
//! claim has the status and the condition does not hold (`false`). What an honest prover did not read is zero in its
//! claim, so where `pc` is bad the instruction is the illegal word 0, and only the rules of that word look at status 2.

use core::ops::Range;

use bitsect_machine::Trap;
use bitsect_machine::address::{EXIT, HASH_OF_NODE, MAX_CALL_LEVEL, NODE_FROM_HASH, SHA256_PREIMAGE};

use super::condition::Condition::{
    After, AfterAtLeast, AfterNot, Funct3, ImmediateOperation, Matches, Multiple, OpcodeNot, Operation,
    Running, System, UnknownOpcode, Uppermost, Within, Word,
};
use super::condition::{Condition, protected, rule};
use super::decode::{Pattern, opcode};
use crate::leaf::{Rule, Value};

/// The words of the two system instructions.
const ECALL: u32 = 0x0000_0073;
const EBREAK: u32 = 0x0010_0073;

/// Gives the rules.
pub fn rules(text: &Range<u32>) -> Vec<Rule> {
    let mut rules = fetch(text);
    rules.extend(illegal());
    rules.extend(breakpoint());
    rules.extend(load());
    rules.extend(store(text));
    rules.extend(exit());
    rules.extend(call(text));
    rules.push(rule(
        "status/unknown",
        vec![Running, AfterAtLeast(Trap::BadCall as u8 + 1)],
    ));
    rules
}

const fn aligned(value: Value, bits: usize, is: bool) -> Condition {
    Multiple { value, bits, is }
}

const fn word_is(value: Value, word: u32, is: bool) -> Condition {
    Word { value, word, is }
}

fn fetch(text: &Range<u32>) -> Vec<Rule> {
    let status = Trap::InstructionAddress as u8;
    let within = |is| Within {
        value: Value::Pc,
        range: text.clone(),
        is,
    };
    vec![
        rule(
            "trap/pc-misaligned-missing",
            vec![Running, AfterNot(status), aligned(Value::Pc, 2, false)],
        ),
        rule(
            "trap/pc-outside-missing",
            vec![Running, AfterNot(status), within(false)],
        ),
        rule(
            "trap/pc-false",
            vec![Running, After(status), aligned(Value::Pc, 2, true), within(true)],
        ),
    ]
}

/// What makes an opcode's word an instruction.
fn validity() -> Vec<(&'static str, u8, fn(bool) -> Condition)> {
    vec![
        ("jalr", opcode::JALR, |is| Funct3 { set: 0b0000_0001, is }),
        ("branch", opcode::BRANCH, |is| Funct3 { set: 0b1111_0011, is }),
        ("load", opcode::LOAD, |is| Funct3 { set: 0b0011_0111, is }),
        ("store", opcode::STORE, |is| Funct3 { set: 0b0000_0111, is }),
        ("op-imm", opcode::OP_IMM, ImmediateOperation),
        ("op", opcode::OP, Operation),
        ("fence", opcode::FENCE, |is| Funct3 { set: 0b0000_0011, is }),
        ("system", opcode::SYSTEM, System),
    ]
}

fn illegal() -> Vec<Rule> {
    let (fetch, status) = (Trap::InstructionAddress as u8, Trap::IllegalInstruction as u8);
    let mut rules = vec![rule(
        "trap/illegal-opcode-missing",
        vec![Running, AfterNot(fetch), AfterNot(status), UnknownOpcode],
    )];
    for (name, opcode, valid) in validity() {
        let pattern = Matches(Pattern::opcode(opcode));
        let missing = vec![Running, AfterNot(status), pattern.clone(), valid(false)];
        rules.push(rule(format!("trap/illegal-{name}-missing"), missing));
        let wrong = vec![Running, After(status), pattern, valid(true)];
        rules.push(rule(format!("trap/illegal-{name}-false"), wrong));
    }
    for (name, opcode) in [
        ("lui", opcode::LUI),
        ("auipc", opcode::AUIPC),
        ("jal", opcode::JAL),
    ] {
        let wrong = vec![Running, After(status), Matches(Pattern::opcode(opcode))];
        rules.push(rule(format!("trap/illegal-{name}-false"), wrong));
    }
    rules
}

fn breakpoint() -> Vec<Rule> {
    let status = Trap::Breakpoint as u8;
    let word = |is| word_is(Value::Instruction, EBREAK, is);
    vec![
        rule("trap/ebreak-missing", vec![Running, AfterNot(status), word(true)]),
        rule("trap/ebreak-false", vec![Running, After(status), word(false)]),
    ]
}

fn load() -> Vec<Rule> {
    let pattern = Pattern::opcode(opcode::LOAD);
    let (misaligned, guarded) = (Trap::LoadMisaligned as u8, Trap::LoadProtected as u8);
    let mut rules = alignment("load", opcode::LOAD, misaligned, &[0, 4], &[1, 5]);
    rules.push(rule(
        "trap/load-protected-missing",
        vec![
            Running,
            AfterNot(Trap::IllegalInstruction as u8),
            AfterNot(misaligned),
            AfterNot(guarded),
            Matches(pattern),
            protected(Value::Address, true),
        ],
    ));
    rules.push(rule(
        "trap/load-protected-false-opcode",
        vec![Running, After(guarded), OpcodeNot(opcode::LOAD)],
    ));
    rules.push(rule(
        "trap/load-protected-false",
        vec![Running, After(guarded), protected(Value::Address, false)],
    ));
    rules
}

/// The rules of a misaligned address: `bytes` and `halves` are the `funct3` of accesses to a byte and to two.
fn alignment(name: &str, opcode: u8, status: u8, bytes: &[u8], halves: &[u8]) -> Vec<Rule> {
    let set = |members: &[u8]| Funct3 {
        set: members.iter().fold(0, |set, member| set | 1 << member),
        is: true,
    };
    let accesses = [("half", set(halves), 1), ("word", set(&[2]), 2)];
    let matches = Matches(Pattern::opcode(opcode));
    let mut rules = Vec::new();
    for (size, access, bits) in accesses {
        let missing = vec![
            Running,
            AfterNot(status),
            matches.clone(),
            access.clone(),
            aligned(Value::Address, bits, false),
        ];
        rules.push(rule(format!("trap/{name}-misaligned-{size}-missing"), missing));
        let wrong = vec![
            Running,
            After(status),
            access,
            aligned(Value::Address, bits, true),
        ];
        rules.push(rule(format!("trap/{name}-misaligned-{size}-false"), wrong));
    }
    let byte = vec![Running, After(status), set(bytes)];
    rules.push(rule(format!("trap/{name}-misaligned-byte-false"), byte));
    let other = vec![Running, After(status), OpcodeNot(opcode)];
    rules.push(rule(format!("trap/{name}-misaligned-false-opcode"), other));
    rules
}

fn store(text: &Range<u32>) -> Vec<Rule> {
    let (misaligned, guarded) = (Trap::StoreMisaligned as u8, Trap::StoreProtected as u8);
    let mut rules = alignment("store", opcode::STORE, misaligned, &[0], &[1]);
    let in_text = |is| Within {
        value: Value::Address,
        range: text.clone(),
        is,
    };
    for (name, reason) in [
        ("protected", protected(Value::Address, true)),
        ("text", in_text(true)),
    ] {
        let missing = vec![
            Running,
            AfterNot(Trap::IllegalInstruction as u8),
            AfterNot(misaligned),
            AfterNot(guarded),
            Matches(Pattern::opcode(opcode::STORE)),
            reason,
        ];
        rules.push(rule(format!("trap/store-{name}-missing"), missing));
    }
    rules.push(rule(
        "trap/store-protected-false-opcode",
        vec![Running, After(guarded), OpcodeNot(opcode::STORE)],
    ));
    rules.push(rule(
        "trap/store-protected-false",
        vec![
            Running,
            After(guarded),
            protected(Value::Address, false),
            in_text(false),
        ],
    ));
    rules
}

fn exit() -> Vec<Rule> {
    let ecall = |is| word_is(Value::Instruction, ECALL, is);
    let number = |is| word_is(Value::First, EXIT, is);
    vec![
        rule(
            "status/exit-missing",
            vec![Running, AfterNot(1), ecall(true), number(true)],
        ),
        rule(
            "status/exit-false-instruction",
            vec![Running, After(1), ecall(false)],
        ),
        rule("status/exit-false-call", vec![Running, After(1), number(false)]),
    ]
}

fn call(text: &Range<u32>) -> Vec<Rule> {
    let status = Trap::BadCall as u8;
    let ecall = |is| word_is(Value::Instruction, ECALL, is);
    let number = |number, is| word_is(Value::First, number, is);
    let calls = [EXIT, NODE_FROM_HASH, HASH_OF_NODE, SHA256_PREIMAGE];
    let mut unknown = vec![Running, AfterNot(status), ecall(true)];
    unknown.extend(calls.map(|call| number(call, false)));
    let mut rules = vec![
        rule("trap/call-unknown-missing", unknown),
        rule(
            "trap/call-false-instruction",
            vec![Running, After(status), ecall(false)],
        ),
        rule(
            "trap/call-exit-false",
            vec![Running, After(status), number(EXIT, true)],
        ),
        rule(
            "trap/call-preimage-false",
            vec![Running, After(status), number(SHA256_PREIMAGE, true)],
        ),
    ];
    for (name, call, text) in [
        ("write", NODE_FROM_HASH, Some(text)),
        ("read", HASH_OF_NODE, None),
    ] {
        let missing = |reason: Vec<Condition>| {
            let mut conditions = vec![Running, AfterNot(status), ecall(true), number(call, true)];
            conditions.extend(reason);
            conditions
        };
        // At most 20: the level's upper digits are zero, or one and at most four.
        let levels = Within {
            value: Value::Word,
            range: 0..MAX_CALL_LEVEL + 1,
            is: false,
        };
        rules.push(rule(
            format!("trap/call-{name}-level-missing"),
            missing(vec![levels]),
        ));
        for level in 0..=MAX_CALL_LEVEL {
            rules.extend(node(
                name,
                level,
                text,
                &missing,
                vec![Running, After(status), number(call, true)],
            ));
        }
    }
    rules
}

/// The rules of a node of one level.
fn node(
    name: &str,
    level: u32,
    text: Option<&Range<u32>>,
    missing: &dyn Fn(Vec<Condition>) -> Vec<Condition>,
    mut wrong: Vec<Condition>,
) -> Vec<Rule> {
    let bits = 6 + level as usize;
    let at_level = word_is(Value::Word, level, true);
    let aligned = |is| aligned(Value::Second, bits, is);
    // The last byte of an aligned node is protected where the node is the uppermost of its size.
    let uppermost = |is| Uppermost {
        value: Value::Second,
        bits: bits.max(8),
        is,
    };
    let mut rules = vec![
        rule(
            format!("trap/call-{name}-misaligned-missing-{level}"),
            missing(vec![at_level.clone(), aligned(false)]),
        ),
        rule(
            format!("trap/call-{name}-protected-missing-{level}"),
            missing(vec![at_level.clone(), uppermost(true)]),
        ),
    ];
    wrong.extend([at_level.clone(), aligned(true), uppermost(false)]);
    if let Some(text) = text {
        // Aligned addresses of nodes that overlap the text.
        let overlapping = |is| Within {
            value: Value::Second,
            range: text.start >> bits << bits..text.end,
            is,
        };
        rules.push(rule(
            format!("trap/call-{name}-text-missing-{level}"),
            missing(vec![at_level, overlapping(true)]),
        ));
        wrong.push(overlapping(false));
    }
    rules.push(rule(format!("trap/call-{name}-false-{level}"), wrong));
    rules
}
