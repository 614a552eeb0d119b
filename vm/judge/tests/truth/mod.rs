//! Claims of steps of every kind, true ones and such that are false in one thing.
#![allow(dead_code, reason = "each test file uses what it needs")]

use ::core::ops::Range;
use bitsect_judge::leaf::{Rule, Values};
use bitsect_judge::step::StepClaim;
use bitsect_machine::address::{EXIT, HASH_OF_NODE, NODE_FROM_HASH, PROTECTED, SHA256_PREIMAGE};
use bitsect_machine::{Instruction, Write, execute};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// The text of all claims.
pub const TEXT: Range<u32> = 0x1000..0x0020_0040;

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
            let raw = if rng.random() { rng.random() } else { address(rng) };
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
        0..3 => {
            claim.status_after = if rng.random() {
                pick(rng, &[0, 9])
            } else {
                rng.random_range(0..16)
            }
        }
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
pub fn claims(seed: u64, count: usize) -> impl Iterator<Item = (StepClaim, StepClaim)> {
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

/// Values that a rule refutes, and hints: of claims of steps, or any values where nearly all are false.
pub fn example(rule: &Rule, known: &[Values]) -> (Values, Vec<i64>) {
    if let Some(found) = known
        .iter()
        .find_map(|values| Some((values.clone(), rule.refute(values)?)))
    {
        return found;
    }
    let mut rng = StdRng::seed_from_u64(5);
    for _ in 0..100_000 {
        let mut values = Values::new();
        for (value, _) in &rule.reads {
            let bytes: Vec<u8> = (0..value.bytes()).map(|_| rng.random()).collect();
            values.insert(*value, bytes);
        }
        if let Some(hints) = rule.refute(&values) {
            return (values, hints);
        }
    }
    panic!("no example of {}", rule.name);
}
