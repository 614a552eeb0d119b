//! Steps of a real unit's run, by what they do.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bitsect_bridge::chain::{Trace, unit_input};
use bitsect_judge::step::StepClaim;
use bitsect_machine::address::{A7, EXIT, HASH_OF_NODE, NODE_FROM_HASH, SHA256_PREIMAGE};
use bitsect_machine::{Engine, Instruction, Interpreter, Status};

use super::arena::Arena;

/// Steps of a kind that are remembered: the first of them. One of them will do.
const KEPT: usize = 200;
/// Steps at the begin that are left out: a lie shall lie in the midst of a run.
const BEGIN: u64 = 500;

/// The word of `ecall`.
const ECALL: u32 = 0x73;

/// An instruction's name, or that of a call.
type Kind = String;

/// A run of a unit, and where in it what kind of step is.
#[expect(missing_debug_implementations, reason = "a trace has none")]
pub struct Scene {
    trace: Arc<Trace>,
    steps: BTreeMap<Kind, Vec<u64>>,
}

impl Arena {
    /// Walks through the run of a unit, counted from the slots' start.
    ///
    /// # Panics
    /// Where it is not derived, or does not run to its end.
    pub async fn scene(&self, unit: u64) -> Scene {
        let unit = self.slots[0].start_unit + unit;
        let input = unit_input(self.chain.as_ref(), unit, None).await;
        let input = input.expect("the node answers").expect("the unit is done");
        let trace = self.runner.start(input).trace().await.expect("the unit runs");
        tokio::task::block_in_place(|| Scene::walk(trace))
    }
}

impl Scene {
    fn walk(trace: Arc<Trace>) -> Self {
        let mut kinds: HashMap<(u32, u32), Kind> = HashMap::new();
        let mut steps: BTreeMap<Kind, Vec<u64>> = BTreeMap::new();
        let mut machine = trace.machine_at(0).expect("a machine").expect("it is known");
        let preimages = trace.input().preimages();
        while machine.status() == Status::Running {
            let step = machine.steps();
            let word = machine.instruction_word().expect("it is in the text");
            let is_call = word == ECALL;
            let call = if is_call {
                machine.registers()[usize::from(A7)]
            } else {
                0
            };
            let kind = kinds.entry((word, call)).or_insert_with(|| kind(word, call));
            if !steps.contains_key(kind) {
                steps.insert(kind.clone(), Vec::new());
            }
            let found = steps.get_mut(kind).expect("it was inserted");
            if found.len() < KEPT && (step >= BEGIN || is_call) {
                found.push(step);
            }
            let stepped = Interpreter.run_to(&mut machine, step + 1, preimages);
            stepped.expect("its preimages are known");
        }
        steps.retain(|_, found| !found.is_empty());
        Self { trace, steps }
    }

    /// The kinds of its steps: an instruction's name, or that of a call.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.steps.keys().map(String::as_str)
    }

    /// The steps after which it stands still.
    pub fn end(&self) -> u64 {
        self.trace.end_step()
    }

    /// Finds a step of a kind of which something is true.
    pub fn find(&self, kind: &str, wanted: impl Fn(&StepClaim) -> bool) -> Option<u64> {
        let text = &self.trace.program().text;
        let mut steps = self.steps.get(kind)?.iter().copied();
        steps.find(|step| {
            let witness = self.trace.witness_at(*step).expect("a machine");
            witness.is_some_and(|witness| wanted(&StepClaim::of(&witness, text)))
        })
    }
}

fn kind(word: u32, a7: u32) -> Kind {
    let Some(instruction) = Instruction::decode(word) else {
        return "illegal".to_owned();
    };
    match instruction {
        Instruction::Ecall => match a7 {
            EXIT => "exit".to_owned(),
            NODE_FROM_HASH => "node-from-hash".to_owned(),
            HASH_OF_NODE => "hash-of-node".to_owned(),
            SHA256_PREIMAGE => "sha256-preimage".to_owned(),
            _ => "bad-call".to_owned(),
        },
        other => {
            let shown = other.to_string();
            shown.split_whitespace().next().unwrap_or_default().to_owned()
        }
    }
}
