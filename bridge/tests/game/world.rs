//! A small chain: units are runs of a small program on the real machine.

use core::ops::Range;
use std::collections::HashMap;

use alloy_primitives::B256;
use bitcoin::OutPoint;
use bitsect_bridge::game::position::{Claim, Position};
use bitsect_bridge::game::truth::{Need, Path, Place, Truth, Unknown};
use bitsect_bridge::params::Rounds;
use bitsect_judge::step::{StepClaim, cut};
use bitsect_machine::address::{CONTROL, INPUT, REGISTERS};
use bitsect_machine::{Machine, NodeWrite, Oracle, Program, Sha256Preimage, Status, StepWitness, zero_root};
use bitsect_vm::check::check_advice;

use crate::common::ticket_id;
use crate::store::{Leaf, Store, join};

/// What one party knows.
#[derive(Clone)]
pub struct World {
    pub program: Program,
    pub rounds: Rounds,
    pub store: Store,
    pub states: Vec<B256>,
    pub inputs: Vec<Leaf>,
    /// What a claim's last unit asks for; without it claims are about the chain alone.
    pub ticket: Option<OutPoint>,
    runs: HashMap<Leaf, Run>,
}

/// A run to its end, or to where a preimage lacks.
#[derive(Clone)]
pub struct Run {
    pub roots: Vec<B256>,
    /// The states between the two writes of each step.
    pub middles: Vec<B256>,
    /// What the machine itself proves of its steps.
    pub claims: Vec<StepClaim>,
    stopped: bool,
}

impl World {
    pub fn new(program: Program, rounds: Rounds, store: Store) -> Self {
        Self {
            program,
            rounds,
            store,
            states: vec![B256::repeat_byte(0x51)],
            inputs: Vec::new(),
            ticket: None,
            runs: HashMap::new(),
        }
    }

    /// Adds a unit that reads this.
    pub fn add_unit(&mut self, advice: B256) {
        let input = join(*self.states.last().unwrap(), advice);
        let machine = self.run(input);
        assert_eq!(
            machine.status(),
            Status::Halted { exit_code: 0 },
            "{:?}",
            machine.missing()
        );
        self.inputs.push(input);
        self.states.push(machine.output());
    }

    /// Runs a unit, and keeps all its states.
    pub fn run(&mut self, input: Leaf) -> Machine {
        let mut machine = Machine::new(&self.program, &input).unwrap();
        let mut root = self.first(&input);
        assert_eq!(root, machine.root());
        let mut run = Run {
            roots: vec![root],
            middles: Vec::new(),
            claims: Vec::new(),
            stopped: false,
        };
        while machine.status() == Status::Running && machine.steps() < self.rounds.steps_total() {
            let Ok(witness) = machine.prove_step(&self.store) else {
                break;
            };
            assert_eq!(witness.verify(&self.program.text), Ok(()));
            root = self.apply(root, &witness, &machine);
            assert_eq!(root, witness.after);
            run.roots.push(root);
            run.middles.push(witness.middle);
            run.claims.push(StepClaim::of(&witness, &self.program.text));
        }
        run.stopped = machine.status() != Status::Running;
        self.runs.insert(input, run);
        machine
    }

    pub fn known_run(&self, input: &Leaf) -> &Run {
        &self.runs[input]
    }

    pub fn forget(&mut self, input: &Leaf) {
        self.runs.remove(input);
    }

    fn first(&mut self, input: &Leaf) -> B256 {
        let mut root = zero_root(26);
        for (begin, bytes) in self.program.segments.clone() {
            assert!(begin.is_multiple_of(64));
            for (at, chunk) in bytes.chunks(64).enumerate() {
                let mut leaf = [0; 64];
                leaf[..chunk.len()].copy_from_slice(chunk);
                root = self.store.with_leaf(root, begin + 64 * at as u32, leaf);
            }
        }
        root = self.store.with_leaf(root, INPUT, *input);
        let mut control = [0; 64];
        control[..4].copy_from_slice(&self.program.entry.to_le_bytes());
        self.store.with_leaf(root, CONTROL, control)
    }

    /// Keeps the nodes after a step.
    fn apply(&mut self, root: B256, witness: &StepWitness, machine: &Machine) -> B256 {
        let mut root = root;
        if let Some(data) = &witness.data {
            self.keep_data(data, witness, machine);
            let place = Place {
                address: data.address,
                level: data.level,
            };
            root = self.store.with_node(root, place, data.new);
        }
        assert_eq!(root, witness.middle);
        if let Some(control) = &witness.control {
            let mut leaf = [0; 64];
            let exit = match machine.status() {
                Status::Halted { exit_code } => exit_code,
                _ => 0,
            };
            for (at, word) in [machine.pc(), machine.status().code(), exit]
                .into_iter()
                .enumerate()
            {
                leaf[4 * at..4 * at + 4].copy_from_slice(&word.to_le_bytes());
            }
            root = self.store.with_leaf(root, CONTROL, leaf);
            assert_eq!(self.store.node(&control.new), Some(leaf));
        }
        root
    }

    fn keep_data(&mut self, data: &NodeWrite, witness: &StepWitness, machine: &Machine) {
        let claim = StepClaim::of(witness, &self.program.text);
        if let Some(preimage) = &witness.preimage {
            self.store
                .insert_leaves(&[join(preimage.chaining, B256::ZERO), preimage.block]);
        } else if let Some(node) = &witness.node {
            self.store.insert(join(node.old, B256::ZERO));
        } else if data.address >= REGISTERS {
            let mut leaf = [0; 64];
            let first = (data.address - REGISTERS) as usize / 4;
            for (at, register) in machine.registers()[first..first + 16].iter().enumerate() {
                leaf[4 * at..4 * at + 4].copy_from_slice(&register.to_le_bytes());
            }
            self.store.insert(leaf);
        } else if let (Some(mut leaf), 0x23) = (data.old_leaf, claim.instruction & 0x7f) {
            let at = (claim.address & 0x3c) as usize;
            leaf[at..at + 4].copy_from_slice(&claim.written.to_le_bytes());
            self.store.insert(leaf);
        }
    }

    /// The branch of a claim about this chain.
    pub fn branch(&self, count: u32, state: B256) -> Position {
        let claim = Claim {
            count,
            state: cut(&state),
        };
        Position::new(self.rounds, cut(&self.states[0]), claim).with_check(self.check())
    }

    /// The advice of a claim's last unit.
    pub fn check(&self) -> Option<B256> {
        self.ticket
            .as_ref()
            .map(|ticket| check_advice(&ticket_id(ticket)))
    }

    /// The chain as a claim of so many units sees it: with the check as its last one.
    pub fn claimed(&self, count: u32) -> Self {
        let mut world = self.clone();
        let before = count as usize - 1;
        if let Some(check) = self.check()
            && before < self.states.len()
        {
            world.states.truncate(before + 1);
            world.inputs.truncate(before);
            world.end_with(check);
        }
        world
    }

    /// Adds a last unit that reads this. There is a state after it where the program takes it.
    pub fn end_with(&mut self, advice: B256) {
        let input = join(*self.states.last().unwrap(), advice);
        let machine = self.run(input);
        self.inputs.push(input);
        if machine.status() == (Status::Halted { exit_code: 0 }) {
            self.states.push(machine.output());
        }
    }
}

impl Truth for World {
    fn text(&self) -> Range<u32> {
        self.program.text.clone()
    }

    fn chain_state(&self, units: u64) -> Option<B256> {
        self.states.get(units as usize).copied()
    }

    fn input(&self, units: u64) -> Option<Leaf> {
        self.inputs.get(units as usize).copied()
    }

    fn machine_state(&self, input: &Leaf, step: u64) -> Result<Option<B256>, Unknown> {
        let run = self.runs.get(input).ok_or(Need { input: *input, step })?;
        let last = run
            .roots
            .last()
            .filter(|_| run.stopped || step < run.roots.len() as u64);
        Ok(run.roots.get(step as usize).or(last).copied())
    }

    fn path(&self, input: &Leaf, step: u64, place: Place) -> Result<Path, Unknown> {
        let root = self.machine_state(input, step)?;
        Ok(root.map_or_else(Path::default, |root| self.store.path(root, place)))
    }

    fn sha256(&self, digest: &B256) -> Option<Sha256Preimage> {
        self.store.sha256(digest)
    }
}
