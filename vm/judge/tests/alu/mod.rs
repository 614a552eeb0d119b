//! Runs the rules of one instruction on its claims.
#![allow(dead_code, reason = "each test file uses what it needs")]

use ::core::ops::Range;
use bitsect_judge::leaf::Rule;
use bitsect_judge::step::{StepClaim, rules};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::core::Spend;

/// The text of the program.
pub const TEXT: Range<u32> = 0x1000..0x0020_0000;

/// Operands at the edges.
pub const EDGES: [u32; 26] = [
    0,
    1,
    2,
    3,
    7,
    8,
    15,
    16,
    31,
    32,
    0xffff,
    0x1_0000,
    0x00ff_ffff,
    0x0100_0000,
    0x0fff_ffff,
    0x1000_0000,
    0x7fff_fffe,
    0x7fff_ffff,
    0x8000_0000,
    0x8000_0001,
    0xff00_0000,
    0xffff_0000,
    0xffff_ffe0,
    0xffff_fff8,
    0xffff_fffe,
    0xffff_ffff,
];

/// The rules that judge one instruction, each with its output.
pub struct Judges {
    rules: Vec<(Rule, Spend)>,
    random: StdRng,
    /// How often each rule has refuted a claim.
    pub refuted: Vec<u32>,
}

impl Judges {
    /// Takes the rules of these names, and checks the sizes of their Scripts in bytes.
    pub fn new(sizes: &[(&str, usize)]) -> Self {
        let mut known = rules(&TEXT);
        let found = sizes.iter().map(|(name, size)| {
            let at = known
                .iter()
                .position(|rule| rule.name == format!("result/{name}"));
            let rule = known.swap_remove(at.unwrap_or_else(|| panic!("no rule {name}")));
            let bare = rule.bare();
            println!("{name}: {} bytes, {} items", bare.script.len(), bare.deepest);
            assert!(bare.script.len() <= *size, "{name}: {} bytes", bare.script.len());
            let spend = Spend::new(&bare.script);
            (rule, spend)
        });
        let rules: Vec<(Rule, Spend)> = found.collect();
        let refuted = vec![0; rules.len()];
        let random = StdRng::seed_from_u64(sizes[0].1 as u64);
        Self {
            rules,
            random,
            refuted,
        }
    }

    /// A word: any, at an edge, small, or a power of two.
    pub fn word(&mut self) -> u32 {
        let random = &mut self.random;
        match random.random_range(0..6) {
            0 => EDGES[random.random_range(0..EDGES.len())],
            1 => random.random_range(0..300),
            2 => 1 << random.random_range(0..32),
            3 => random.random::<u32>() >> random.random_range(0..32),
            _ => random.random(),
        }
    }

    /// Any word.
    pub fn any(&mut self) -> u32 {
        self.random.random()
    }

    /// Judges the true claim of an instruction with these operands, and false ones: one is refuted by a rule, and its
    /// hints and no others do it; the true one is refuted by none.
    pub fn judge(&mut self, instruction: u32, first: u32, second: u32) {
        let mut claim = StepClaim {
            pc: 0x1000,
            first,
            second,
            instruction,
            ..StepClaim::default()
        };
        claim.conclude(&TEXT);
        assert_eq!(claim.status_after, 0, "the instruction {instruction:#x} is known");
        let truth = claim.written;
        let near = match self.random.random_range(0..7) {
            0 => truth.wrapping_add(1),
            1 => truth.wrapping_sub(1),
            2 => truth ^ 1 << self.random.random_range(0..32),
            3 => truth.wrapping_neg(),
            4 => !truth,
            5 => self.word(),
            _ => self.any(),
        };
        let mut stolen = Vec::new();
        if near != truth {
            claim.written = near;
            stolen = self.judge_false(&claim);
            if self.random.random_range(0..256) == 0 {
                self.keeps_to(&claim);
            }
        }
        claim.written = truth;
        for (index, (rule, spend)) in self.rules.iter().enumerate() {
            let values = claim.values();
            assert_eq!(rule.refute(&values), None, "{} refutes {claim:x?}", rule.name);
            let mut hints = stolen
                .iter()
                .find(|(at, _)| *at == index)
                .map(|(_, hints)| hints.clone())
                .unwrap_or_else(|| vec![0; rule.hints.len()]);
            let taken = spend.takes(&rule.bare_witness(&hints, &values));
            assert!(!taken, "{} takes {claim:x?} with {hints:?}", rule.name);
            if hints.is_empty() {
                continue;
            }
            let at = self.random.random_range(0..hints.len());
            hints[at] = match self.random.random_range(0..4) {
                0 => hints[at] + 1,
                1 => hints[at] - 1,
                2 => self.random.random_range(-2..3),
                _ => i64::from(self.random.random_range(-0x7fff_ffff..=0x7fff_ffff)),
            };
            let taken = spend.core_takes(&rule.bare_witness(&hints, &values));
            assert!(!taken, "{} takes {claim:x?} with {hints:?}", rule.name);
        }
    }

    /// Checks that a rule refutes a false claim; gives the hints of all that do.
    fn judge_false(&mut self, claim: &StepClaim) -> Vec<(usize, Vec<i64>)> {
        let values = claim.values();
        let mut all = Vec::new();
        for (index, (rule, spend)) in self.rules.iter().enumerate() {
            let Some(hints) = rule.refute(&values) else {
                // No hints at all may be enough for the Script.
                let hints = vec![0; rule.hints.len()];
                assert!(
                    !spend.core_takes(&rule.bare_witness(&hints, &values)),
                    "{}",
                    rule.name
                );
                continue;
            };
            let taken = spend.standard(&rule.bare_witness(&hints, &values));
            assert!(taken, "{} does not take {claim:x?} with {hints:?}", rule.name);
            self.refuted[index] += 1;
            all.push((index, hints));
        }
        assert!(!all.is_empty(), "no rule refutes {claim:x?}");
        all
    }

    /// Checks that no rule takes a claim of another instruction, nor of a machine that stands still.
    fn keeps_to(&self, claim: &StepClaim) {
        // The second source register is that of a shift's distance.
        for change in (0..20).chain(25..34) {
            let mut other = *claim;
            match change {
                32 => other.status = 1,
                33 => other.status_after = 2,
                bit => other.instruction ^= 1 << bit,
            }
            for (rule, spend) in &self.rules {
                if let Some(hints) = rule.refute(&claim.values()) {
                    let refuted = rule.refute(&other.values());
                    let taken = spend.takes(&rule.bare_witness(&hints, &other.values()));
                    assert_eq!(
                        taken,
                        refuted.as_ref() == Some(&hints),
                        "{} bit {change}",
                        rule.name
                    );
                    let free = (7..12).contains(&change) || (15..20).contains(&change);
                    assert_eq!(taken, free, "{} bit {change}", rule.name);
                }
            }
        }
    }

    /// Judges all pairs of edges and many others; `instruction` makes the word from any bits and the second operand.
    pub fn judge_many(&mut self, instruction: impl Fn(u32, u32) -> u32) {
        for first in EDGES {
            for second in EDGES {
                let bits = self.any();
                self.judge(instruction(bits, second), first, second);
            }
        }
        for _ in 0..10_000 {
            let (bits, first, second) = (self.any(), self.word(), self.word());
            self.judge(instruction(bits, second), first, second);
        }
        println!("{:?}", self.refuted);
        assert!(self.refuted.iter().all(|count| *count > 0), "{:?}", self.refuted);
    }
}
