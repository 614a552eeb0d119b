//! What the leaves of a deployment have in common: the program's rules and constants.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use alloy_primitives::B256;
use bitsect_judge::leaf::{Rule, Template, Value};
use bitsect_judge::path::{differs_from_constant, level_rules, not_halted};
use bitsect_judge::{path, rules};
use bitsect_machine::address::INPUT;
use bitsect_machine::{DEPTH, Machine, Preimages, Program as Elf};

/// A rule, and its leaf once somebody needs it.
pub struct RuleEntry {
    /// The rule.
    pub rule: Rule,
    template: OnceLock<Template>,
}

/// The program that disputes run: its rules, and what lies beside its input in the first state.
pub struct Program {
    elf: Elf,
    root: B256,
    siblings: Vec<B256>,
    rules: HashMap<String, Arc<RuleEntry>>,
    step: Vec<Arc<RuleEntry>>,
}

/// Why a program cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It is no program.
    #[error("program: {0}")]
    Elf(#[from] bitsect_machine::ProgramError),
    /// The system gives no 4 GiB of address space.
    #[error("program: {0}")]
    Memory(#[from] std::io::Error),
}

impl core::fmt::Debug for RuleEntry {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "RuleEntry({})", self.rule.name)
    }
}

impl core::fmt::Debug for Program {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Program({})", self.root)
    }
}

impl RuleEntry {
    pub(super) fn new(rule: Rule) -> Arc<Self> {
        Arc::new(Self {
            rule,
            template: OnceLock::new(),
        })
    }

    pub(super) fn template(&self) -> &Template {
        self.template.get_or_init(|| self.rule.template())
    }
}

/// Gives the digits of bytes, the lower half of a byte first.
pub(super) fn digits(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().flat_map(|byte| [byte & 15, byte >> 4]).collect()
}

impl Program {
    /// Takes a program with the chain's parameters in it.
    ///
    /// # Errors
    /// Where it is none.
    pub fn new(elf: &[u8]) -> Result<Self, ProgramError> {
        Self::of(Elf::from_elf(elf)?)
    }

    /// Takes a program.
    ///
    /// # Errors
    /// Where the system gives no memory for it.
    pub fn of(elf: Elf) -> Result<Self, ProgramError> {
        let mut machine = Machine::new(&elf, &[0; 64])?;
        let root = machine.root();
        let input = machine.prove_leaf(INPUT, &Preimages::default());
        let siblings = input
            .expect("a state without a call holds all its nodes")
            .siblings;
        let text = elf.text.clone();
        let constant = siblings.iter().enumerate().map(|(level, sibling)| {
            differs_from_constant(
                sibling_rule(level),
                Value::Sibling,
                0,
                &digits(sibling.as_slice()),
            )
        });
        let all = rules(&text).into_iter().chain(constant).chain([not_halted()]);
        // Rules of all levels and places that a path has here.
        let places = super::table::places().into_iter().flat_map(|(place, writes)| {
            (0..DEPTH as usize).flat_map(move |level| level_rules(place, level, writes))
        });
        let mut named: HashMap<String, Arc<RuleEntry>> = HashMap::new();
        for rule in all.chain(path::content_rules()).chain(places) {
            named
                .entry(rule.name.clone())
                .or_insert_with(|| RuleEntry::new(rule));
        }
        let step = bitsect_judge::step::rules(&text);
        let step = step.iter().map(|rule| Arc::clone(&named[&rule.name])).collect();
        Ok(Self {
            elf,
            root,
            siblings,
            rules: named,
            step,
        })
    }

    /// Gives the program.
    pub const fn elf(&self) -> &Elf {
        &self.elf
    }

    /// Gives the state before the first step with an input of zeros.
    pub const fn root(&self) -> B256 {
        self.root
    }

    /// Gives what lies beside the path to the input, lowest first.
    pub fn siblings(&self) -> &[B256] {
        &self.siblings
    }

    /// Gives a rule.
    ///
    /// # Panics
    /// Where there is none of this name: names are constants of the protocol.
    pub(super) fn rule(&self, name: &str) -> Arc<RuleEntry> {
        let rule = self.rules.get(name);
        Arc::clone(rule.unwrap_or_else(|| panic!("there is a rule {name}")))
    }

    /// Gives the rules of a step's claim.
    pub(super) fn step_rules(&self) -> &[Arc<RuleEntry>] {
        &self.step
    }
}

/// Gives the name of the rule for the sibling of a level, on the path to the input.
pub(super) fn sibling_rule(level: usize) -> String {
    format!("link/sibling-{level}")
}
