//! All rules of a step on claims of every kind: a true claim loses to none, a false one loses, and each rule's Script
//! takes what its mirror in Rust says.

mod core;

use ::core::ops::Range;
use bitsect_judge::step::{StepClaim, rules};
use bitsect_machine::address::{EXIT, HASH_OF_NODE, NODE_FROM_HASH, PROTECTED, SHA256_PREIMAGE};
use bitsect_machine::{Instruction, Write, execute};
use core::Spend;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const TEXT: Range<u32> = 0x1000..0x0020_0040;

/// Opcodes of rv32im, and some that it does not have.
const OPCODES: [u32; 14] = [
    0x37, 0x17, 0x6f, 0x67, 0x63, 0x03, 0x23, 0x13, 0x33, 0x0f, 0x73, 0x2f, 0x53, 0x00,
];

fn pick<T: Copy>(rng: &mut StdRng, from: &[T]) -> T {
    from[rng.random_range(0..from.len())]
}

/// An instruction word: mostly of known opcodes, often with small register numbers.
fn instruction(rng: &mut StdRng) -> u32 {
    let word = match rng.random_range(0..10) {
        0 => return rng.random(),
        1 | 2 => return 0x73,
        3 => return 0x0010_0073,
        4 => return 1 << rng.random_range(0..32) ^ pick(rng, &[0x73, 0x0010_0073]),
        _ => rng.random::<u32>() & !0x7f | pick(rng, &OPCODES),
    };
    let word = if rng.random() {
        word & !0xfe00_0000 | pick(rng, &[0, 1, 0x20, 2, 0x21]) << 25
    } else {
        word
    };
    let word = if rng.random_ratio(1, 4) {
        word & !(31 << 7)
    } else {
        word
    };
    let word = if rng.random_ratio(1, 4) {
        word & !(31 << 15)
    } else {
        word
    };
    if rng.random_ratio(1, 4) {
        word & !(31 << 20)
    } else {
        word
    }
}

/// An address: anywhere, around the text, around protected memory, at nodes of all sizes.
fn address(rng: &mut StdRng) -> u32 {
    let near = rng.random_range(0..16_u32);
    let base = match rng.random_range(0..6) {
        0 => rng.random(),
        1 => TEXT.start,
        2 => TEXT.end,
        3 => PROTECTED,
        4 => 0_u32.wrapping_sub(64 << rng.random_range(0..21)),
        _ => (rng.random::<u32>() >> 6) << rng.random_range(0..27),
    };
    base.wrapping_add(near).wrapping_sub(pick(rng, &[0, 4, 8, 64]))
}

/// A true claim.
fn truth(rng: &mut StdRng) -> StepClaim {
    let mut claim = StepClaim {
        status: if rng.random_ratio(1, 16) {
            rng.random_range(1..10)
        } else {
            0
        },
        pc: match rng.random_range(0..12) {
            0 => address(rng),
            1 => 0x2000 + rng.random_range(0..4_u32),
            _ => rng.random_range(TEXT.start / 4..TEXT.end / 4) * 4,
        },
        before: rng.random::<[u8; 24]>(),
        ..StepClaim::default()
    };
    claim.after = claim.before;
    claim.middle = claim.before;
    if claim.status != 0 {
        claim.conclude(&TEXT);
        return claim;
    }
    claim.after = rng.random();
    if claim.pc.is_multiple_of(4) && TEXT.contains(&claim.pc) {
        claim.instruction = instruction(rng);
        read(rng, &mut claim);
    }
    claim.conclude(&TEXT);
    if writes(&claim) {
        claim.middle = rng.random();
    }
    claim
}

/// Fills in what the instruction reads.
fn read(rng: &mut StdRng, claim: &mut StepClaim) {
    match Instruction::decode(claim.instruction) {
        Some(Instruction::Ecall) => {
            claim.first = pick(
                rng,
                &[
                    EXIT,
                    NODE_FROM_HASH,
                    HASH_OF_NODE,
                    NODE_FROM_HASH,
                    HASH_OF_NODE,
                    SHA256_PREIMAGE,
                    4,
                ],
            );
            claim.word = rng.random_range(0..23);
            let size = 64_u32.checked_shl(claim.word).unwrap_or(64);
            let raw = address(rng);
            claim.second = if rng.random_ratio(3, 4) {
                raw & !(size - 1)
            } else {
                raw
            };
            if rng.random_ratio(1, 8) {
                claim.word = rng.random();
            }
        }
        Some(instruction) => {
            let (rs1, rs2) = instruction.sources();
            claim.first = if rs1 == 0 { 0 } else { address(rng) };
            claim.second = if rs2 == 0 {
                0
            } else if rng.random() {
                claim.first
            } else {
                rng.random()
            };
            let probe = StepClaim { word: 0, ..*claim };
            let reaches = matches!(instruction, Instruction::Load { .. } | Instruction::Store { .. });
            let good = execute(&instruction, probe.pc, (probe.first, probe.second), 0, &TEXT).is_ok();
            claim.word = if reaches && good { rng.random() } else { 0 };
        }
        None => {}
    }
}

/// Whether the step writes data.
fn writes(claim: &StepClaim) -> bool {
    if claim.status != 0 || claim.status_after != 0 {
        return false;
    }
    match Instruction::decode(claim.instruction) {
        Some(Instruction::Ecall) => true,
        Some(instruction) => {
            let operands = (claim.first, claim.second);
            execute(&instruction, claim.pc, operands, claim.word, &TEXT)
                .is_ok_and(|effect| effect.write != Write::None)
        }
        None => false,
    }
}

/// Makes a claim false in one thing that follows from what it reads; `None` where nothing follows there.
fn lie(rng: &mut StdRng, truth: &StepClaim) -> Option<StepClaim> {
    let mut claim = *truth;
    let near = |rng: &mut StdRng, word: u32| {
        let bit = 1 << rng.random_range(0..32);
        let near = [
            word ^ bit,
            word.wrapping_add(1),
            word.wrapping_sub(4),
            word.wrapping_add(2),
            rng.random(),
        ];
        pick(rng, &near)
    };
    if truth.status != 0 {
        claim.after[rng.random_range(0..24)] ^= 1 << rng.random_range(0..8);
        return Some(claim);
    }
    let decoded = Instruction::decode(truth.instruction);
    match rng.random_range(0..8) {
        0..3 => claim.status_after = rng.random_range(0..16),
        3 => claim.next = near(rng, truth.next),
        4 => {
            let stores = matches!(decoded, Some(Instruction::Store { .. }));
            let to_register = decoded.is_some_and(|instruction| instruction.destination() != 0);
            if truth.status_after != 0 || !(stores || to_register) {
                return None;
            }
            claim.written = near(rng, truth.written);
        }
        5 => {
            if !matches!(
                decoded,
                Some(Instruction::Load { .. } | Instruction::Store { .. })
            ) {
                return None;
            }
            claim.address = near(rng, truth.address);
        }
        6 => {
            if writes(truth) {
                return None;
            }
            claim.middle[rng.random_range(0..24)] ^= 1 << rng.random_range(0..8);
        }
        _ => {
            let (rs1, rs2) = (truth.instruction >> 15 & 31, truth.instruction >> 20 & 31);
            let uses = |used: bool, index| used && index == 0;
            let (one, two) = match decoded {
                Some(Instruction::Jalr { .. } | Instruction::Load { .. } | Instruction::OpImm { .. }) => {
                    (true, false)
                }
                Some(Instruction::Branch { .. } | Instruction::Store { .. } | Instruction::Op { .. }) => {
                    (true, true)
                }
                _ => return None,
            };
            if uses(one, rs1) {
                claim.first = near(rng, 0);
            } else if uses(two, rs2) {
                claim.second = near(rng, 0);
            } else {
                return None;
            }
        }
    }
    (claim != *truth).then_some(claim)
}

/// Gives pairs of a true claim and a false one.
fn claims(seed: u64, count: usize) -> impl Iterator<Item = (StepClaim, StepClaim)> {
    let mut rng = StdRng::seed_from_u64(seed);
    ::core::iter::repeat_with(move || {
        loop {
            let truth = truth(&mut rng);
            if let Some(lie) = lie(&mut rng, &truth) {
                return (truth, lie);
            }
        }
    })
    .take(count)
}

#[test]
fn a_true_claim_loses_to_no_rule_and_a_false_one_to_some() {
    let rules = rules(&TEXT);
    for (truth, lie) in claims(1, 60_000) {
        let refuting = |claim: &StepClaim| rules.iter().find(|rule| rule.refute(&claim.values()).is_some());
        assert!(
            refuting(&truth).is_none(),
            "{}: {truth:x?}",
            refuting(&truth).unwrap().name
        );
        assert!(
            refuting(&lie).is_some(),
            "nothing refutes {lie:x?}; true is {truth:x?}"
        );
    }
}

#[test]
fn no_hint_makes_a_script_take_a_true_claim() {
    let rules = rules(&TEXT);
    let spends: Vec<Spend> = rules.iter().map(|rule| Spend::new(&rule.bare().script)).collect();
    let mut rng = StdRng::seed_from_u64(2);
    for (truth, lie) in claims(2, 400) {
        for (rule, spend) in rules.iter().zip(&spends) {
            let near = rule.refute(&lie.values());
            let hints = near.unwrap_or_else(|| rule.hints.iter().map(|_| rng.random_range(-1..16)).collect());
            let taken = spend.takes(&rule.bare_witness(&hints, &truth.values()));
            assert!(!taken, "{} takes {truth:x?} with {hints:?}", rule.name);
        }
    }
}

/// Checks the Scripts of a family of rules on false claims that they refute, and on the true ones beside them.
fn exercise(family: &str, least: usize) {
    let mut found = 0;
    for rule in rules(&TEXT).iter().filter(|rule| of_family(&rule.name, family)) {
        let spend = Spend::new(&rule.bare().script);
        let mut taken = 0;
        for (truth, lie) in claims(3, 300_000) {
            let Some(hints) = rule.refute(&lie.values()) else {
                continue;
            };
            assert!(
                spend.standard(&rule.bare_witness(&hints, &lie.values())),
                "{} {lie:x?} {hints:?}",
                rule.name
            );
            assert!(
                !spend.takes(&rule.bare_witness(&hints, &truth.values())),
                "{} {truth:x?} {hints:?}",
                rule.name
            );
            taken += 1;
            if taken == 300 {
                break;
            }
        }
        assert!(taken >= least, "{}: {taken} claims", rule.name);
        found += 1;
    }
    assert!(found > 0, "no rule of {family}");
}

/// Whether a rule is of a family: its name, or its name without the level at its end.
fn of_family(name: &str, family: &str) -> bool {
    let stem = name
        .rsplit_once('-')
        .filter(|(_, level)| level.parse::<u32>().is_ok());
    stem.map_or(name, |(stem, _)| stem) == family
}

macro_rules! families {
    ($($test:ident $family:literal)*) => {
        $(#[test]
        fn $test() {
            exercise($family, 2);
        })*

        /// The families that have a test; those of results and next addresses have their own files.
        const FAMILIES: &[&str] = &[$($family),*];
    };
}

families! {
    address_load "address/load"
    address_store "address/store"
    result_lw "result/lw"
    result_sw "result/sw"
    result_lb "result/lb"
    result_lh "result/lh"
    result_lbu "result/lbu"
    result_lhu "result/lhu"
    result_sb "result/sb"
    result_sh "result/sh"
    still_stopped "still/stopped"
    still_trap "still/trap"
    still_exit "still/exit"
    still_branch "still/branch"
    still_fence "still/fence"
    still_lui_to_zero "still/lui-to-zero"
    still_auipc_to_zero "still/auipc-to-zero"
    still_jal_to_zero "still/jal-to-zero"
    still_jalr_to_zero "still/jalr-to-zero"
    still_load_to_zero "still/load-to-zero"
    still_op_imm_to_zero "still/op-imm-to-zero"
    still_op_to_zero "still/op-to-zero"
    still_rs1 "still/rs1"
    still_rs2 "still/rs2"
    status_unknown "status/unknown"
    status_exit_missing "status/exit-missing"
    status_exit_false_instruction "status/exit-false-instruction"
    status_exit_false_call "status/exit-false-call"
    trap_pc_misaligned_missing "trap/pc-misaligned-missing"
    trap_pc_outside_missing "trap/pc-outside-missing"
    trap_pc_false "trap/pc-false"
    trap_illegal_opcode_missing "trap/illegal-opcode-missing"
    trap_illegal_jalr_missing "trap/illegal-jalr-missing"
    trap_illegal_jalr_false "trap/illegal-jalr-false"
    trap_illegal_branch_missing "trap/illegal-branch-missing"
    trap_illegal_branch_false "trap/illegal-branch-false"
    trap_illegal_load_missing "trap/illegal-load-missing"
    trap_illegal_load_false "trap/illegal-load-false"
    trap_illegal_store_missing "trap/illegal-store-missing"
    trap_illegal_store_false "trap/illegal-store-false"
    trap_illegal_op_imm_missing "trap/illegal-op-imm-missing"
    trap_illegal_op_imm_false "trap/illegal-op-imm-false"
    trap_illegal_op_missing "trap/illegal-op-missing"
    trap_illegal_op_false "trap/illegal-op-false"
    trap_illegal_fence_missing "trap/illegal-fence-missing"
    trap_illegal_fence_false "trap/illegal-fence-false"
    trap_illegal_system_missing "trap/illegal-system-missing"
    trap_illegal_system_false "trap/illegal-system-false"
    trap_illegal_lui_false "trap/illegal-lui-false"
    trap_illegal_auipc_false "trap/illegal-auipc-false"
    trap_illegal_jal_false "trap/illegal-jal-false"
    trap_ebreak_missing "trap/ebreak-missing"
    trap_ebreak_false "trap/ebreak-false"
    trap_load_misaligned_half_missing "trap/load-misaligned-half-missing"
    trap_load_misaligned_half_false "trap/load-misaligned-half-false"
    trap_load_misaligned_word_missing "trap/load-misaligned-word-missing"
    trap_load_misaligned_word_false "trap/load-misaligned-word-false"
    trap_load_misaligned_byte_false "trap/load-misaligned-byte-false"
    trap_load_misaligned_false_opcode "trap/load-misaligned-false-opcode"
    trap_load_protected_missing "trap/load-protected-missing"
    trap_load_protected_false_opcode "trap/load-protected-false-opcode"
    trap_load_protected_false "trap/load-protected-false"
    trap_store_misaligned_half_missing "trap/store-misaligned-half-missing"
    trap_store_misaligned_half_false "trap/store-misaligned-half-false"
    trap_store_misaligned_word_missing "trap/store-misaligned-word-missing"
    trap_store_misaligned_word_false "trap/store-misaligned-word-false"
    trap_store_misaligned_byte_false "trap/store-misaligned-byte-false"
    trap_store_misaligned_false_opcode "trap/store-misaligned-false-opcode"
    trap_store_protected_missing "trap/store-protected-missing"
    trap_store_text_missing "trap/store-text-missing"
    trap_store_protected_false_opcode "trap/store-protected-false-opcode"
    trap_store_protected_false "trap/store-protected-false"
    trap_call_unknown_missing "trap/call-unknown-missing"
    trap_call_false_instruction "trap/call-false-instruction"
    trap_call_exit_false "trap/call-exit-false"
    trap_call_preimage_false "trap/call-preimage-false"
    trap_call_write_level_missing "trap/call-write-level-missing"
    trap_call_write_misaligned_missing "trap/call-write-misaligned-missing"
    trap_call_write_protected_missing "trap/call-write-protected-missing"
    trap_call_write_text_missing "trap/call-write-text-missing"
    trap_call_write_false "trap/call-write-false"
    trap_call_read_level_missing "trap/call-read-level-missing"
    trap_call_read_misaligned_missing "trap/call-read-misaligned-missing"
    trap_call_read_protected_missing "trap/call-read-protected-missing"
    trap_call_read_false "trap/call-read-false"
}

#[test]
fn every_rule_has_a_test() {
    for rule in rules(&TEXT) {
        let elsewhere = rule.name.starts_with("next/") || rule.name.starts_with("result/");
        let listed = FAMILIES.iter().any(|family| of_family(&rule.name, family));
        assert!(listed || elsewhere, "{} has no test", rule.name);
    }
}
