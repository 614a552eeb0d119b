//! All rules of a step on claims of every kind: a true claim loses to none, a false one loses, and each rule's Script
//! takes what its mirror in Rust says.

mod core;
mod truth;

use bitsect_judge::leaf::Rule;
use bitsect_judge::step::gate::Access;
use bitsect_judge::step::{StepClaim, rules};
use bitsect_machine::Instruction;
use bitsect_machine::address::{HASH_OF_NODE, NODE_FROM_HASH, SHA256_PREIMAGE};
use core::Spend;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use truth::{TEXT, claims};

#[test]
fn a_true_claim_loses_to_no_rule_and_a_false_one_to_some() {
    let rules = rules(&TEXT);
    for (truth, lie) in claims(1, 30_000) {
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
        for (truth, lie) in claims(3, 200_000) {
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
            if taken == 100 {
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

/// What a step of a true claim reads and writes, from the instruction itself.
fn makes(access: Access, claim: &StepClaim) -> bool {
    let decoded = Instruction::decode(claim.instruction).filter(|_| claim.status == 0);
    let call = decoded == Some(Instruction::Ecall);
    let done = claim.status_after == 0;
    let to = |number: u32| call && done && claim.first == number;
    let (rs1, rs2) = decoded.map_or((0, 0), |instruction| instruction.sources());
    let rd = decoded.map_or(0, |instruction| instruction.destination());
    let load = matches!(decoded, Some(Instruction::Load { .. }));
    let store = matches!(decoded, Some(Instruction::Store { .. }));
    match access {
        Access::Pc | Access::Status => true,
        Access::Instruction => claim.status == 0 && claim.status_after != 2,
        Access::First => rs1 != 0,
        Access::Second => rs2 != 0,
        Access::Word => (load || store) && done,
        Access::CallNumber | Access::CallAddress | Access::CallLevel => call,
        Access::Key => to(NODE_FROM_HASH) || to(SHA256_PREIMAGE),
        Access::Node | Access::WriteKey => to(HASH_OF_NODE),
        Access::WriteRegister => rd != 0 && done,
        Access::WriteMemory => store && done,
        Access::WriteNode => to(NODE_FROM_HASH),
        Access::WritePreimage => to(SHA256_PREIMAGE),
        Access::WriteControl => claim.status == 0,
    }
}

#[test]
fn gates_open_what_a_step_reads_and_writes() {
    let mut opened = std::collections::BTreeMap::<String, usize>::new();
    let gates = Access::ALL.map(|access| {
        let spend = |gate: Rule| (Spend::new(&gate.bare().script), gate);
        (access, access.gates().into_iter().map(spend).collect::<Vec<_>>())
    });
    for (truth, lie) in claims(4, 1_500) {
        for (access, gates) in &gates {
            assert_eq!(
                access.is_open(&truth),
                makes(*access, &truth),
                "{access:?} {truth:x?}"
            );
            for (spend, gate) in gates {
                for claim in [&truth, &lie] {
                    let open = gate.refute(&claim.values()).is_some();
                    let taken = spend.takes(&gate.bare_witness(&[], &claim.values()));
                    assert_eq!(taken, open, "{} {claim:x?}", gate.name);
                    *opened.entry(gate.name.clone()).or_default() += usize::from(open);
                }
            }
        }
    }
    let never: Vec<_> = opened.iter().filter(|(_, count)| **count == 0).collect();
    assert!(never.is_empty(), "{never:?}");
}

#[test]
fn every_rule_has_a_test() {
    for rule in rules(&TEXT) {
        let elsewhere = rule.name.starts_with("next/") || rule.name.starts_with("result/");
        let listed = FAMILIES.iter().any(|family| of_family(&rule.name, family));
        assert!(listed || elsewhere, "{} has no test", rule.name);
    }
}
