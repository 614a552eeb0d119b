//! Steps of real units' runs, by what they do.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bitsect_bridge::chain::{Trace, unit_input};
use bitsect_judge::step::StepClaim;
use bitsect_machine::address::{A0, A1, A7, EXIT, HASH_OF_NODE, NODE_FROM_HASH, SHA256_PREIMAGE};
use bitsect_machine::{Engine, Instruction, Interpreter, Machine, Status, memory_address};

use super::arena::Arena;
use super::liar::{Field, Liar, Lie, StepLie};

/// Steps of a kind that are remembered, the first of them: one of them will do.
const KEPT: usize = 200;
/// Steps at the beginning that are left out: a lie shall lie in the midst of a run.
const BEGIN: u64 = 500;

/// The word of `ecall`.
const ECALL: u32 = 0x73;

/// An instruction's name, or that of a call.
type Kind = String;

/// Runs of units, and where in them what kind of step is.
#[expect(missing_debug_implementations, reason = "a trace has none")]
pub struct Scenes(Vec<Scene>);

struct Scene {
    unit: u64,
    end: u64,
    steps: BTreeMap<Kind, Vec<Scened>>,
}

/// A step of a unit's run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scened {
    /// The unit, counted from the slots' start.
    pub unit: u64,
    /// The step.
    pub step: u64,
    /// What it reads, as far as registers say it: no word of memory, no roots.
    pub claim: StepClaim,
}

impl Arena {
    /// Walks through the runs of units, counted from the slots' start.
    ///
    /// # Panics
    /// Where one is not derived, or does not run to its end.
    pub async fn scenes(&self, units: impl IntoIterator<Item = u64>) -> Scenes {
        let mut scenes = Vec::new();
        for unit in units {
            let number = self.slots[0].start_unit + unit;
            let input = unit_input(self.chain.as_ref(), number, None).await;
            let input = input.expect("the node answers").expect("the unit is done");
            let trace = self.runner.start(input).trace().await.expect("the unit runs");
            scenes.push(tokio::task::block_in_place(|| Scene::walk(unit, &trace)));
        }
        Scenes(scenes)
    }
}

impl Scene {
    fn walk(unit: u64, trace: &Trace) -> Self {
        let mut kinds: HashMap<(u32, u32), Kind> = HashMap::new();
        let mut steps: BTreeMap<Kind, Vec<Scened>> = BTreeMap::new();
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
                let claim = read(&machine, word);
                found.push(Scened { unit, step, claim });
            }
            let stepped = Interpreter.run_to(&mut machine, step + 1, preimages);
            stepped.expect("its preimages are known");
        }
        steps.retain(|_, found| !found.is_empty());
        let end = trace.end_step();
        Self { unit, end, steps }
    }

    fn find(&self, kind: &str, wanted: &impl Fn(&StepClaim) -> bool) -> Option<Scened> {
        let mut steps = self.steps.get(kind)?.iter();
        steps.find(|step| wanted(&step.claim)).copied()
    }
}

/// What the next step of a machine reads of its registers.
fn read(machine: &Machine, instruction: u32) -> StepClaim {
    let decoded = Instruction::decode(instruction).unwrap_or(Instruction::Fence);
    let register = |number: u8| machine.registers()[usize::from(number)];
    let mut claim = StepClaim {
        pc: machine.pc(),
        instruction,
        ..StepClaim::default()
    };
    if decoded == Instruction::Ecall {
        (claim.first, claim.second, claim.word) = (register(A7), register(A0), register(A1));
    } else {
        let (rs1, rs2) = decoded.sources();
        (claim.first, claim.second) = (register(rs1), register(rs2));
        claim.address = memory_address(&decoded, claim.first).unwrap_or_default();
    }
    claim
}

impl Scenes {
    /// The kinds of steps that there are: an instruction's name, or a call's.
    fn kinds(&self) -> BTreeSet<&str> {
        let scenes = self.0.iter();
        let kinds = scenes.flat_map(|scene| scene.steps.keys());
        kinds.map(String::as_str).collect()
    }

    /// Finds a step of a kind.
    ///
    /// # Panics
    /// Where there is none.
    pub fn any(&self, kind: &str) -> Scened {
        self.find(kind, |_| true)
    }

    /// Finds a step of a kind of which something is true.
    ///
    /// # Panics
    /// Where there is none.
    pub fn find(&self, kind: &str, wanted: impl Fn(&StepClaim) -> bool) -> Scened {
        let found = self.0.iter().find_map(|scene| scene.find(kind, &wanted));
        found.unwrap_or_else(|| panic!("there is no such {kind} among {:?}", self.kinds()))
    }

    /// Gives a step behind the end of the first unit's run.
    pub fn stopped(&self) -> Scened {
        let Scene { unit, end, .. } = self.0[0];
        Scened {
            unit,
            step: end + 5,
            claim: StepClaim::default(),
        }
    }
}

impl Scened {
    /// Lies about one value of the step alone.
    pub const fn wrong(&self, field: Field) -> Liar {
        self.lie(field, false)
    }

    /// Lies about one value, and says of the rest what follows from it.
    pub const fn misread(&self, field: Field) -> Liar {
        self.lie(field, true)
    }

    const fn lie(&self, field: Field, follows: bool) -> Liar {
        let step = self.step;
        Liar::new(self.unit, Lie::Trace(StepLie { step, field, follows }))
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
