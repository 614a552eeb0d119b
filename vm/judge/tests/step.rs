//! The rules of a step: each takes exactly the false claims of its kind, and a true claim loses to none.

mod core;

use ::core::ops::Range;
use bitsect_judge::leaf::Rule;
use bitsect_judge::step::{StepClaim, rules};
use core::Spend;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

const TEXT: Range<u32> = 0x1000..0x0020_0000;

/// What an operand at an edge may be.
const EDGES: [u32; 27] = [
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    15,
    16,
    31,
    32,
    0x7ff,
    0x800,
    0xfff,
    0xffff,
    0x1_0000,
    0x0fff_ffff,
    0x1000_0000,
    0x7fff_fffe,
    0x7fff_ffff,
    0x8000_0000,
    0x8000_0001,
    0xf000_0000,
    0xffff_0000,
    0xffff_fff0,
    0xffff_fffe,
    0xffff_ffff,
];

fn rule(name: &str) -> Rule {
    let mut found = rules(&TEXT).into_iter().filter(|rule| rule.name == name);
    found.next().unwrap_or_else(|| panic!("no rule {name}"))
}

/// Words at and around the edges, and any others.
fn word() -> impl Strategy<Value = u32> {
    prop_oneof![
        any::<u32>(),
        proptest::sample::select(EDGES.to_vec()),
        any::<u8>().prop_map(u32::from),
        any::<u32>().prop_map(|word| 1 << (word % 32)),
    ]
}

/// A claim whose reads are these, with what follows from them.
fn claim(instruction: u32, first: u32, second: u32) -> StepClaim {
    let mut claim = StepClaim {
        pc: 0x1_2340,
        first,
        second,
        instruction,
        ..StepClaim::default()
    };
    claim.conclude(&TEXT);
    claim
}

/// Checks a rule of a written word: a true one is never refuted, a false one always.
fn check_result(name: &str, instruction: u32, free: u32, limit: usize) {
    let rule = rule(name);
    let leaf = rule.bare();
    let spend = Spend::new(&leaf.script);
    assert!(leaf.script.len() <= limit, "{name}: {} bytes", leaf.script.len());
    let check = |instruction, a, b, written: u32, hints: &[i64]| {
        let mut claim = claim(instruction, a, b);
        assert_eq!(claim.status_after, 0, "{instruction:#x} is an instruction");
        let honest = claim;
        claim.written = written;
        let refuted = rule.refute(&claim.values());
        assert_eq!(
            refuted.is_some(),
            claim != honest,
            "{name} {a:#x} {b:#x} {written:#x}"
        );
        let given = refuted.as_deref().unwrap_or(hints);
        let taken = spend.takes(&rule.bare_witness(given, &claim.values()));
        assert_eq!(
            taken,
            claim != honest,
            "{name} {a:#x} {b:#x} {written:#x} {given:?}"
        );
    };
    let near = |instruction, a, b, bits: u32| {
        let truth = claim(instruction, a, b).written;
        // The hints of a claim that is false nearby.
        let mut other = claim(instruction, a, b);
        other.written = truth ^ 1 << (bits % 32);
        let hints = rule.refute(&other.values()).unwrap();
        check(instruction, a, b, truth, &hints);
        check(instruction, a, b, other.written, &hints);
    };
    for a in EDGES {
        for b in EDGES {
            near(instruction | b & free, a, b, a ^ b);
        }
    }
    TestRunner::new(Config::with_cases(10_000))
        .run(
            &(word(), word(), word(), any::<u32>()),
            |(a, b, written, bits)| {
                let instruction = instruction | bits & free;
                near(instruction, a, b, bits);
                check(instruction, a, b, written, &vec![0; rule.hints.len()]);
                Ok(())
            },
        )
        .unwrap();
    let mut other = claim(instruction, 5, 7);
    other.written ^= 1;
    let hints = rule.refute(&other.values()).unwrap();
    for (status, status_after) in [(0, 1), (0, 2), (1, 0), (9, 9)] {
        let stopped = StepClaim {
            status,
            status_after,
            ..other
        };
        assert!(!spend.takes(&rule.bare_witness(&hints, &stopped.values())));
    }
    // Another bit of what decides which instruction it is.
    for bit in (0..32).filter(|bit| free >> bit & 1 == 0) {
        let other = StepClaim {
            instruction: instruction ^ 1 << bit,
            ..other
        };
        assert!(rule.refute(&other.values()).is_none());
        assert!(
            !spend.takes(&rule.bare_witness(&hints, &other.values())),
            "{name}, bit {bit}"
        );
    }
}

/// Checks a rule of a load or store in both ways, at addresses that its size allows.
fn check_memory(name: &str, instruction: u32, size: u32) {
    let rule = rule(name);
    let spend = Spend::new(&rule.bare().script);
    let check = |first: u32, second: u32, word: u32, written: u32, offset: u32| {
        let instruction = if instruction & 0x7f == 0x03 {
            instruction | offset << 20
        } else {
            instruction | (offset >> 5) << 25 | (offset & 31) << 7
        };
        let mut honest = StepClaim {
            pc: 0x1_2340,
            instruction,
            first,
            second,
            word,
            ..StepClaim::default()
        };
        honest.conclude(&TEXT);
        if honest.status_after != 0 {
            return;
        }
        let near = StepClaim {
            written: honest.written ^ 1 << (written % 32),
            ..honest
        };
        let hints = rule.refute(&near.values()).unwrap();
        for claim in [honest, near, StepClaim { written, ..honest }] {
            let refuted = rule.refute(&claim.values());
            assert_eq!(refuted.is_some(), claim != honest, "{name} {claim:x?}");
            let given = refuted.as_ref().unwrap_or(&hints);
            let taken = spend.takes(&rule.bare_witness(given, &claim.values()));
            assert_eq!(taken, claim != honest, "{name} {claim:x?} {given:?}");
        }
    };
    for word in EDGES {
        for second in EDGES {
            for byte in (0..4).step_by(size as usize) {
                check(0x4000_0000 + byte, second, word, word ^ second, 0);
            }
        }
    }
    TestRunner::new(Config::with_cases(10_000))
        .run(
            &(word(), word(), word(), word(), 0..4096_u32),
            |(first, second, word, written, offset)| {
                let first = first & !3 | offset.wrapping_neg() & 3;
                check(
                    first.wrapping_add(size * (word & 1)) & !(size - 1),
                    second,
                    word,
                    written,
                    offset & !(size - 1),
                );
                Ok(())
            },
        )
        .unwrap();
}

macro_rules! memory {
    ($($test:ident $name:literal $instruction:literal $size:literal)*) => {
        $(#[test]
        fn $test() {
            check_memory($name, $instruction, $size);
        })*
    };
}

memory! {
    result_lb "result/lb" 0x0000_0003 1
    result_lh "result/lh" 0x0000_1003 2
    result_lw "result/lw" 0x0000_2003 4
    result_lbu "result/lbu" 0x0000_4003 1
    result_lhu "result/lhu" 0x0000_5003 2
    result_sb "result/sb" 0x0000_0023 1
    result_sh "result/sh" 0x0000_1023 2
    result_sw "result/sw" 0x0000_2023 4
}

/// Checks rules of the next `pc`, one of which has to refute each false one.
fn check_next(names: &[&str], instruction: u32, free: u32, limit: usize) {
    let rules: Vec<Rule> = names.iter().map(|name| rule(name)).collect();
    let leaves: Vec<_> = rules.iter().map(Rule::bare).collect();
    let spends: Vec<Spend> = leaves.iter().map(|leaf| Spend::new(&leaf.script)).collect();
    for leaf in &leaves {
        assert!(
            leaf.script.len() <= limit,
            "{}: {} bytes",
            leaf.name,
            leaf.script.len()
        );
    }
    let check = |instruction, a, b, next: u32| {
        let honest = claim(instruction, a, b);
        let claim = StepClaim { next, ..honest };
        let mut refuted = 0;
        for (rule, spend) in rules.iter().zip(&spends) {
            let hints = rule.refute(&claim.values());
            // With a false hint, or with that of the claim that is false by a bit.
            let near = StepClaim {
                next: next ^ 2,
                ..honest
            };
            let given = hints.clone().or_else(|| rule.refute(&near.values()));
            let given = given.unwrap_or_else(|| vec![0; rule.hints.len()]);
            let taken = spend.takes(&rule.bare_witness(&given, &claim.values()));
            assert_eq!(taken, hints.is_some(), "{} {claim:x?} {given:?}", rule.name);
            refuted += usize::from(taken);
        }
        assert_eq!(refuted > 0, claim != honest, "{claim:x?}");
    };
    let all = |instruction, a: u32, b: u32, next: u32, bits: u32| {
        let truth = claim(instruction, a, b).next;
        check(instruction, a, b, truth);
        check(instruction, a, b, truth ^ 1 << (bits % 32));
        check(instruction, a, b, next);
        check(instruction, a, a, truth);
        check(instruction, a, a, claim(instruction, a, a).next);
    };
    for a in EDGES {
        for b in EDGES {
            all(instruction | b & free, a, b, a ^ b, a);
        }
    }
    TestRunner::new(Config::with_cases(3_000))
        .run(&(word(), word(), word(), any::<u32>()), |(a, b, next, bits)| {
            all(instruction | bits & free, a, b, next, b);
            Ok(())
        })
        .unwrap();
}

macro_rules! nexts {
    ($($test:ident [$($name:literal)*] $instruction:literal $free:ident $limit:literal)*) => {
        $(#[test]
        fn $test() {
            check_next(&[$($name),*], $instruction, $free, $limit);
        })*
    };
}

nexts! {
    next_sequential ["next/sequential"] 0x0000_0033 REGISTERS 300
    next_jal ["next/jal"] 0x0000_006f UPPER 400
    next_jalr ["next/jalr"] 0x0000_0067 IMMEDIATE 400
    next_beq ["next/beq-taken" "next/beq-not-taken"] 0x0000_0063 IMMEDIATE 400
    next_bne ["next/bne-taken" "next/bne-not-taken"] 0x0000_1063 IMMEDIATE 400
    next_blt ["next/blt-taken" "next/blt-not-taken"] 0x0000_4063 IMMEDIATE 500
    next_bge ["next/bge-taken" "next/bge-not-taken"] 0x0000_5063 IMMEDIATE 500
    next_bltu ["next/bltu-taken" "next/bltu-not-taken"] 0x0000_6063 IMMEDIATE 500
    next_bgeu ["next/bgeu-taken" "next/bgeu-not-taken"] 0x0000_7063 IMMEDIATE 500
    next_trap ["next/trap"] 0x0000_0000 UPPER 100
}

/// The bits of an instruction that name its registers, and of one with an immediate.
const REGISTERS: u32 = 0x01ff_8f80;
const IMMEDIATE: u32 = 0xffff_8f80;
const UPPER: u32 = 0xffff_ff80;

macro_rules! results {
    ($($test:ident $name:literal $instruction:literal $free:ident $limit:literal)*) => {
        $(#[test]
        fn $test() {
            check_result($name, $instruction, $free, $limit);
        })*
    };
}

results! {
    result_add "result/add" 0x0000_0033 REGISTERS 300
    result_sub "result/sub" 0x4000_0033 REGISTERS 300
    result_addi "result/addi" 0x0000_0013 IMMEDIATE 300
    result_and "result/and" 0x0000_7033 REGISTERS 300
    result_andi "result/andi" 0x0000_7013 IMMEDIATE 300
    result_or "result/or" 0x0000_6033 REGISTERS 300
    result_ori "result/ori" 0x0000_6013 IMMEDIATE 300
    result_xor "result/xor" 0x0000_4033 REGISTERS 300
    result_xori "result/xori" 0x0000_4013 IMMEDIATE 300
    result_slt "result/slt" 0x0000_2033 REGISTERS 300
    result_slti "result/slti" 0x0000_2013 IMMEDIATE 300
    result_sltu "result/sltu" 0x0000_3033 REGISTERS 300
    result_sltiu "result/sltiu" 0x0000_3013 IMMEDIATE 300
    result_lui "result/lui" 0x0000_0037 UPPER 300
    result_jal "result/jal" 0x0000_006f UPPER 300
    result_jalr "result/jalr" 0x0000_0067 IMMEDIATE 300
    result_auipc "result/auipc" 0x0000_0017 UPPER 300
}
