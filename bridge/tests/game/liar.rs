//! Provers that lie wherever they can, and as consistently as they can: of several answers they take one that no rule
//! refutes at once.

use std::collections::HashMap;

use alloy_primitives::B256;
use bitsect_bridge::game::position::{Position, Published};
use bitsect_bridge::game::prover::{AnswerError, answer};
use bitsect_bridge::game::truth::{Path, Place as At, Truth};
use bitsect_bridge::game::{Go, Item, Opening, Part, Stage, Subject, path};
use bitsect_judge::leaf::Value;
use bitsect_judge::path::Place;
use bitsect_judge::step::{Cut, StepClaim, cut};
use bitsect_machine::address::{CONTROL, INPUT, KEY, MAX_CALL_LEVEL, OUTPUT, REGISTERS};
use bitsect_machine::{Instruction, compress, execute, memory_address};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::program::DATA;
use crate::referee::{Referee, read_place, write_place};
use crate::store::{Leaf, Store, hash, join};
use crate::world::World;

/// How a liar plays one game.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// How often it looks for an answer that is not refuted at once.
    pub tries: usize,
    /// The unit and the step up to which it says the truth; anything anywhere if none.
    pub focus: Option<(u64, u64)>,
    /// Its nodes before and after; drawn if none.
    pub plans: Option<[Plan; 2]>,
}

/// Where a liar has its nodes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The true state.
    Truth,
    /// The state whose root it published, where it made that up whole.
    Fake,
    /// The published content, under true siblings.
    Content,
    /// Nowhere.
    Garbage,
}

/// Nodes down to a position from one source, and from another below.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub until: u64,
    pub above: Source,
    pub below: Source,
}

pub struct Liar {
    /// All that is true, and all that was made up.
    store: Store,
    roots: HashMap<Cut, B256>,
    rng: StdRng,
    style: Style,
    /// Before and after.
    plans: [Plan; 2],
}

fn pick<T: Copy>(rng: &mut StdRng, from: &[T]) -> T {
    from[rng.random_range(0..from.len())]
}

/// Changes a byte: any one, also of those that states do not have.
fn changed<const N: usize>(rng: &mut StdRng, mut bytes: [u8; N]) -> [u8; N] {
    bytes[rng.random_range(0..N)] ^= 1 << rng.random_range(0..8);
    bytes
}

fn random(rng: &mut StdRng, len: usize) -> Vec<u8> {
    (0..len).map(|_| rng.random()).collect()
}

fn with_word(mut leaf: Leaf, address: u32, word: u32) -> Leaf {
    let at = (address % 64) as usize & !3;
    leaf[at..at + 4].copy_from_slice(&word.to_le_bytes());
    leaf
}

impl Liar {
    pub fn new(world: &World, seed: u64) -> Self {
        let plan = Plan {
            until: 0,
            above: Source::Truth,
            below: Source::Garbage,
        };
        Self {
            store: world.store.clone(),
            roots: HashMap::new(),
            rng: StdRng::seed_from_u64(seed),
            style: Style {
                tries: 1,
                focus: None,
                plans: None,
            },
            plans: [plan; 2],
        }
    }

    /// Learns what is true.
    pub fn learn(&mut self, world: &World) {
        self.store.merge(&world.store);
    }

    /// Begins a game.
    pub fn begin(&mut self, style: Style) {
        self.style = style;
    }

    /// Answers what is asked. `world` is the truth.
    pub fn answer(&mut self, world: &mut World, referee: &Referee, position: &Position) -> Published {
        let mut published = Published::new();
        for _ in 0..self.style.tries {
            published = self.try_answer(world, position);
            let mut next = position.clone();
            next.publish(published.clone()).unwrap();
            if referee.refutes(&next).is_none() {
                break;
            }
        }
        published
    }

    fn try_answer(&mut self, world: &mut World, position: &Position) -> Published {
        let answer = match position.stage() {
            Stage::Units(_) => self.units(world, position),
            Stage::Link => self.link(world, position),
            Stage::Trace(_) => self.trace(world, position),
            Stage::Step => self.step(world, position),
            Stage::Content(Part::Link) => self.link_content(world, position),
            Stage::Content(Part::Step) => self.step_content(world, position),
            Stage::Path(part, round) => self.path(world, position, part, round),
            Stage::Final(part) => self.last(world, position, part),
        };
        let items = position.items().into_iter();
        items
            .map(|item| {
                let bytes = answer.get(&item).cloned();
                let bytes = bytes.unwrap_or_else(|| random(&mut self.rng, item.bytes()));
                (item, bytes[..item.bytes()].to_vec())
            })
            .collect()
    }

    /// The honest answer, where there is one.
    pub fn honest(&self, world: &mut World, position: &Position) -> Option<Published> {
        loop {
            match answer(position, world) {
                Ok(published) => return Some(published),
                Err(AnswerError::Need(need)) => drop(world.run(need.input)),
                Err(_) => return None,
            }
        }
    }

    fn units(&mut self, world: &World, position: &Position) -> Published {
        let claim = position.claim();
        let search = bitsect_bridge::game::units(position.rounds());
        let asked = search.asked(&position.unit_choices());
        let points = (0..).zip(asked).map(|(index, at)| {
            let truth = world.chain_state(at).as_ref().map(cut);
            let state = match self.rng.random_range(0..10) {
                _ if self.style.focus.is_some_and(|(unit, _)| at <= unit) => truth.unwrap_or(claim.state),
                _ if at >= u64::from(claim.count) && self.rng.random_ratio(19, 20) => claim.state,
                0..6 => truth.unwrap_or(claim.state),
                6 => claim.state,
                7 => cut(&pick(&mut self.rng, &world.states)),
                _ => self.rng.random(),
            };
            (Item::Point(index), state.to_vec())
        });
        points.collect()
    }

    /// Makes a state up, out of one that is known.
    fn fake(&mut self, root: B256) -> B256 {
        let address = match self.rng.random_range(0..5) {
            0 => INPUT,
            1 => OUTPUT,
            2 => REGISTERS + 64,
            3 => DATA + 64 * self.rng.random_range(0..4),
            _ => self.rng.random::<u32>() & 0x7fff_ffc0,
        };
        let path = self.store.path(root, At::leaf(address));
        let Some(leaf) = path.leaf() else {
            return root;
        };
        let leaf = changed(&mut self.rng, leaf);
        self.store.with_leaf(root, address, leaf)
    }

    /// Publishes a state that was made up, or the true one, or none.
    fn state(&mut self, truth: Option<B256>) -> Vec<u8> {
        let state = match (truth, self.rng.random_range(0..10)) {
            (Some(truth), 0..5) => truth,
            (Some(truth), 5..8) => self.fake(truth),
            _ => B256::new(self.rng.random()),
        };
        self.keep(state)
    }

    fn keep(&mut self, root: B256) -> Vec<u8> {
        self.roots.insert(cut(&root), root);
        cut(&root).to_vec()
    }

    fn link(&mut self, world: &mut World, position: &Position) -> Published {
        let unit = position.unit().unwrap();
        let state = world.chain_state(unit).unwrap_or_else(|| {
            let mut state = B256::ZERO;
            state[..24].copy_from_slice(&position.chain_state(unit).unwrap());
            state
        });
        let focused = self.style.focus.is_some();
        let advice = match self.rng.random_range(0..8) {
            0..5 => world
                .input(unit)
                .map_or(B256::ZERO, |input| B256::from_slice(&input[32..])),
            // Few of them: each is a run.
            5 => B256::from_slice(&world.inputs[0][32..]),
            6 => position.check().unwrap_or(B256::repeat_byte(1)),
            _ => B256::repeat_byte(1),
        };
        let state = if !focused && self.rng.random_ratio(1, 40) {
            B256::repeat_byte(0x99)
        } else {
            state
        };
        let input = join(state, advice);
        if world.machine_state(&input, 0).is_err() {
            world.run(input);
            for root in &world.known_run(&input).roots {
                self.roots.insert(cut(root), *root);
            }
            self.store.merge(&world.store);
        }
        let first = world.machine_state(&input, 0).unwrap();
        let end = position.rounds().steps_total();
        let last = world.machine_state(&input, end).unwrap();
        let last = if self.rng.random_ratio(1, 2) {
            let known = last.unwrap_or(*world.known_run(&input).roots.last().unwrap());
            let made_up = self.ended_well(known, position.chain_state(unit + 1).unwrap());
            self.keep(made_up)
        } else {
            self.state(last)
        };
        let first = if focused || self.rng.random_ratio(1, 2) {
            self.keep(first.unwrap())
        } else {
            self.state(first)
        };
        [
            (Item::Input, input.to_vec()),
            (Item::First, first),
            (Item::Last, last),
        ]
        .into()
    }

    /// Puts the claimed chain state into the output, and halts.
    fn ended_well(&mut self, root: B256, output: Cut) -> B256 {
        let mut leaf = self.rng.random::<[u8; 32]>().repeat(2);
        leaf[..24].copy_from_slice(&output);
        let root = self.store.with_leaf(root, OUTPUT, leaf.try_into().unwrap());
        if self.rng.random() {
            return root;
        }
        let leaf = self.store.path(root, At::leaf(CONTROL)).leaf().unwrap();
        let leaf = with_word(with_word(leaf, CONTROL + 4, 1), CONTROL + 8, 0);
        self.store.with_leaf(root, CONTROL, leaf)
    }

    fn trace(&mut self, world: &World, position: &Position) -> Published {
        let input = position.input().unwrap();
        let search = bitsect_bridge::game::trace(position.rounds());
        let asked = search.asked(&position.step_choices());
        let points = (0..).zip(asked).map(|(index, at)| {
            let truth = world.machine_state(&input, at).unwrap();
            let state = match (truth, self.style.focus) {
                (Some(truth), Some((_, step))) if at <= step => self.keep(truth),
                (Some(truth), Some(_)) => {
                    let state = self.fake(truth);
                    self.keep(state)
                }
                _ => self.state(truth),
            };
            (Item::Point(index), state)
        });
        points.collect()
    }

    /// What is read in the step, as far as it is known; else random.
    fn reads(&mut self, world: &World, root: B256) -> StepClaim {
        let word = |address: u32| {
            let leaf = self.store.path(root, At::leaf(address)).leaf();
            leaf.map(|leaf| {
                let at = (address % 64) as usize & !3;
                u32::from_le_bytes(leaf[at..at + 4].try_into().unwrap())
            })
        };
        let text = &world.program.text;
        let register = |number: u8| word(REGISTERS + 4 * u32::from(number)).unwrap();
        let mut claim = StepClaim {
            pc: word(CONTROL).unwrap(),
            status: word(CONTROL + 4).unwrap() as u8,
            ..StepClaim::default()
        };
        if claim.status != 0 || !text.contains(&claim.pc) {
            return claim;
        }
        claim.instruction = word(claim.pc).unwrap();
        match Instruction::decode(claim.instruction) {
            Some(Instruction::Ecall) => {
                (claim.first, claim.second, claim.word) = (register(17), register(10), register(11));
            }
            Some(instruction) => {
                let (rs1, rs2) = instruction.sources();
                (claim.first, claim.second) = (register(rs1), register(rs2));
                let operands = (claim.first, claim.second);
                let good = execute(&instruction, claim.pc, operands, 0, text).is_ok();
                if let Some(address) = memory_address(&instruction, claim.first).filter(|_| good) {
                    claim.word = word(address & !3).unwrap_or_else(|| self.rng.random());
                }
            }
            None => {}
        }
        claim
    }

    fn step(&mut self, world: &World, position: &Position) -> Published {
        let (input, at) = (position.input().unwrap(), position.step().unwrap());
        let root = world.machine_state(&input, at).unwrap().unwrap();
        let mut claim = self.reads(world, root);
        claim.conclude(&world.program.text);
        let bit = 1 << self.rng.random_range(0..32);
        match self.rng.random_range(0..16) {
            0 => claim.pc ^= bit,
            1 => claim.status = self.rng.random_range(0..10),
            2 => claim.instruction ^= bit,
            3 => claim.instruction = pick(&mut self.rng, &[0x73, 0x13, 0x0010_0073, 0x0f]),
            4 => claim.first ^= bit,
            5 => claim.second ^= bit,
            6 => claim.word ^= bit,
            _ => {}
        }
        claim.conclude(&world.program.text);
        match self.rng.random_range(0..24) {
            0 => claim.written ^= bit,
            1 => claim.next ^= bit,
            2 => claim.address ^= bit,
            3 => claim.status_after = self.rng.random_range(0..16),
            _ => {}
        }
        claim.before = position.machine_state(at).unwrap();
        claim.after = position.machine_state(at + 1).unwrap();
        let middle = world.known_run(&input).middles.get(at as usize).copied();
        claim.middle = match self.rng.random_range(0..8) {
            0 => claim.before,
            1 => claim.after,
            2 => self.written_middle(root, &claim).unwrap_or(claim.before),
            3 if middle.is_some() => self.keep(middle.unwrap()).try_into().unwrap(),
            _ => self.state(middle.or(Some(root))).try_into().unwrap(),
        };
        if self.rng.random_ratio(1, 60) {
            claim.before = self.rng.random();
        }
        let values = claim.values();
        let items = position.items().into_iter();
        items
            .map(|item| match item {
                Item::Value(value) => (item, values.bytes(value).to_vec()),
                _ => panic!("a step publishes values"),
            })
            .collect()
    }

    /// The root with what the claim says that is written, over the true state.
    fn written_middle(&mut self, root: B256, claim: &StepClaim) -> Option<Cut> {
        let store = claim.instruction & 0x7f == 0x23;
        let subject = if store {
            Subject::WriteMemory
        } else {
            Subject::WriteRegister
        };
        let at = place(read_place(subject), claim);
        let address = if store { claim.address } else { at.address };
        let leaf = self.store.path(root, at).leaf()?;
        let root = self
            .store
            .with_leaf(root, at.address, with_word(leaf, address, claim.written));
        self.keep(root).try_into().ok()
    }

    fn link_content(&mut self, world: &mut World, position: &Position) -> Published {
        let Some(honest) = self.honest(world, position) else {
            return Published::new();
        };
        let item = Item::Value(Value::Leaf);
        let Some(leaf) = honest.get(&item) else {
            return honest;
        };
        let mut leaf: Leaf = leaf.as_slice().try_into().unwrap();
        match (self.rng.random_range(0..6), position.opening()) {
            (0, _) => leaf = changed(&mut self.rng, leaf),
            (1, _) => {}
            (_, Some(Opening::Output)) => {
                let next = position.chain_state(position.unit().unwrap() + 1).unwrap();
                leaf[..24].copy_from_slice(&next);
            }
            _ => leaf = with_word(with_word(leaf, CONTROL + 4, 1), CONTROL + 8, 0),
        }
        [(item, leaf.to_vec())].into()
    }

    fn step_content(&mut self, world: &mut World, position: &Position) -> Published {
        let claim = position.step_claim().unwrap();
        let subject = position.subject().unwrap();
        let mut content = self.honest(world, position).unwrap_or_default();
        let item = Item::Value(Value::Leaf);
        if let Some(leaf) = content.get(&item) {
            let mut leaf: Leaf = leaf.as_slice().try_into().unwrap();
            if self.rng.random() {
                leaf = changed(&mut self.rng, leaf);
            }
            if self.rng.random_ratio(7, 8) {
                leaf = claimed(subject, &claim, leaf);
            }
            content.insert(item, leaf.to_vec());
            return content;
        }
        for value in [Value::Key, Value::Node, Value::Chaining, Value::Block] {
            if let Some(bytes) = content.get_mut(&Item::Value(value))
                && self.rng.random_ratio(1, 4)
            {
                let at = self.rng.random_range(0..bytes.len());
                bytes[at] ^= 1;
            }
        }
        if subject == Subject::Preimage && self.rng.random_ratio(1, 3) {
            // What compresses to another key.
            let chaining = B256::new(self.rng.random());
            let block: Leaf = core::array::from_fn(|_| self.rng.random());
            let mut key = vec![0; 64];
            key[..32].copy_from_slice(compress(&chaining, &block).as_slice());
            content = [
                (Item::Value(Value::Key), key),
                (Item::Value(Value::Chaining), chaining.to_vec()),
                (Item::Value(Value::Block), block.to_vec()),
            ]
            .into();
        }
        content
    }

    /// Puts the words of the published claim into a leaf.
    pub fn claimed(&self, position: &Position, mut content: Published) -> Published {
        let (claim, subject) = (position.step_claim().unwrap(), position.subject().unwrap());
        if let Some(leaf) = content.get_mut(&Item::Value(Value::Leaf)) {
            *leaf = claimed(subject, &claim, leaf.as_slice().try_into().unwrap()).to_vec();
        }
        content
    }

    /// Breaks the path somewhere, often low, where calls repeat their nodes. Of what is wrong at the root, as of a write,
    /// the upper part is made up, else the lower.
    fn plan(&mut self, wrong_root: bool) -> Plan {
        let until = if self.rng.random() {
            self.rng.random_range(24..27)
        } else {
            self.rng.random_range(0..27)
        };
        let (above, below) = if wrong_root {
            (
                pick(&mut self.rng, &[Source::Fake, Source::Garbage]),
                pick(
                    &mut self.rng,
                    &[Source::Content, Source::Content, Source::Garbage],
                ),
            )
        } else {
            (
                pick(
                    &mut self.rng,
                    &[Source::Truth, Source::Truth, Source::Truth, Source::Fake],
                ),
                pick(
                    &mut self.rng,
                    &[Source::Content, Source::Content, Source::Garbage, Source::Truth],
                ),
            )
        };
        Plan { until, above, below }
    }

    fn path(&mut self, world: &World, position: &Position, part: Part, round: u8) -> Published {
        if let Some(plans) = self.style.plans {
            self.plans = plans;
        } else if round == 0 {
            self.plans = [
                self.plan(position.opening() == Some(Opening::Init)),
                self.plan(true),
            ];
            if position.go(part) != Some(Go::Read) && self.rng.random_ratio(2, 3) {
                self.plans[0].above = Source::Truth;
                self.plans[0].below = Source::Truth;
            }
        }
        let asked = path().asked(&position.path_choices(part));
        let mut published = Published::new();
        for (index, at) in (0..).zip(asked) {
            for (after, item) in [(false, Item::Node(index)), (true, Item::NodeAfter(index))] {
                let mut node = self.node(world, position, part, after, at);
                if self.rng.random_ratio(1, 64) {
                    node[31] ^= 1;
                }
                published.insert(item, node.to_vec());
            }
        }
        if position.go(part) == Some(Go::Preimage) {
            let bytes = |value| position.value(Stage::Content(part), value);
            if let (Some(chaining), Some(block)) = (bytes(Value::Chaining), bytes(Value::Block)) {
                let key = hash(&join(B256::from_slice(chaining), B256::ZERO));
                let mut hashes = [key, hash(block.try_into().unwrap())];
                if self.rng.random() {
                    let at = self.rng.random_range(0..2_usize);
                    hashes[at] = B256::new(changed(&mut self.rng, hashes[at].0));
                }
                published.insert(Item::Value(Value::KeyHash), hashes[0].to_vec());
                published.insert(Item::Value(Value::BlockHash), hashes[1].to_vec());
            }
        }
        published
    }

    /// The node that the liar has at a position.
    fn node(&self, world: &World, position: &Position, part: Part, after: bool, at: u64) -> B256 {
        let plan = self.plans[usize::from(after)];
        let source = if at <= plan.until { plan.above } else { plan.below };
        let path = self.from(source, world, position, part, after);
        path.and_then(|path| path.node(at))
            .unwrap_or_else(|| hash(&[at as u8 ^ 0x5a; 64]))
    }

    fn from(
        &self,
        source: Source,
        world: &World,
        position: &Position,
        part: Part,
        after: bool,
    ) -> Option<Path> {
        let (truth, at) = self.place(world, position, part)?;
        let before = self.store.path(truth, at);
        let node = |after: bool| self.content_node(position, part, after);
        match source {
            Source::Truth if !after => Some(before),
            Source::Truth | Source::Content => before.written(node(after)?),
            Source::Fake => {
                let time = if after {
                    bitsect_judge::path::Time::After
                } else {
                    bitsect_judge::path::Time::Before
                };
                let root = position.root(part, time)?.try_into().ok();
                let root = root.and_then(|root: Cut| self.roots.get(&root))?;
                Some(self.store.path(*root, at))
            }
            Source::Garbage => None,
        }
    }

    /// The true root over the path, and where the path leads.
    fn place(&self, world: &World, position: &Position, part: Part) -> Option<(B256, At)> {
        let input = position.input()?;
        let known = |step| world.machine_state(&input, step).unwrap();
        if part == Part::Link {
            let (step, address) = match position.opening()? {
                Opening::Init => (0, INPUT),
                Opening::Output => (position.rounds().steps_total(), OUTPUT),
                _ => (position.rounds().steps_total(), CONTROL),
            };
            return Some((known(step)?, At::leaf(address)));
        }
        let (subject, step) = (position.subject()?, position.step()?);
        let root = if subject == Subject::WriteControl {
            world
                .known_run(&input)
                .middles
                .get(step as usize)
                .copied()
                .or(known(step))
        } else {
            known(step)
        };
        let read = read_place(subject);
        let writes = position.go(part)? != Go::Read;
        let judged = if writes {
            write_place(subject).unwrap_or(read)
        } else {
            read
        };
        Some((root?, place(judged, &position.step_claim()?)))
    }

    /// The lowest node, as it follows from the published content.
    fn content_node(&self, position: &Position, part: Part, after: bool) -> Option<B256> {
        let bytes = |value| position.value(Stage::Content(part), value);
        let leaf = |value| -> Option<Leaf> { bytes(value)?.try_into().ok() };
        if part == Part::Link {
            return match position.opening()? {
                Opening::Init => Some(hash(&position.input()?)),
                _ => Some(hash(&leaf(Value::Leaf)?)),
            };
        }
        let (subject, claim) = (position.subject()?, position.step_claim()?);
        Some(match (subject, after) {
            (Subject::NodeFromHash | Subject::Preimage, false) => hash(&leaf(Value::Key)?),
            (Subject::NodeFromHash, true) => B256::from_slice(&leaf(Value::Key)?[..32]),
            (Subject::HashOfNode, false) => B256::from_slice(bytes(Value::Node)?),
            (Subject::HashOfNode, true) => hash(&join(B256::from_slice(bytes(Value::Node)?), B256::ZERO)),
            (Subject::Preimage, true) => {
                let key = hash(&join(B256::from_slice(bytes(Value::Chaining)?), B256::ZERO));
                hash(&join(key, hash(&leaf(Value::Block)?)))
            }
            (_, false) => hash(&leaf(Value::Leaf)?),
            (_, true) => hash(&written(subject, &claim, leaf(Value::Leaf)?)),
        })
    }

    fn last(&mut self, world: &World, position: &Position, part: Part) -> Published {
        let upper = position.upper_node(part).unwrap();
        let source = pick(
            &mut self.rng,
            &[Source::Truth, Source::Truth, Source::Fake, Source::Garbage],
        );
        let after = self.rng.random();
        let sibling = self
            .from(source, world, position, part, after)
            .and_then(|path| path.sibling(upper));
        let sibling = sibling.unwrap_or_else(|| B256::new(self.rng.random()));
        [(Item::Value(Value::Sibling), sibling.to_vec())].into()
    }
}

/// Puts the words of the claim where they are read.
fn claimed(subject: Subject, claim: &StepClaim, leaf: Leaf) -> Leaf {
    let at = place(read_place(subject), claim).address;
    match subject {
        Subject::Control => with_word(
            with_word(leaf, CONTROL, claim.pc),
            CONTROL + 4,
            u32::from(claim.status),
        ),
        Subject::Instruction => with_word(leaf, at, claim.instruction),
        Subject::First => with_word(leaf, at, claim.first),
        Subject::Second => with_word(leaf, at, claim.second),
        Subject::Word => with_word(leaf, claim.address, claim.word),
        Subject::CallNumber => with_word(leaf, REGISTERS + 4 * 17, claim.first),
        Subject::CallAddress => with_word(leaf, REGISTERS + 4 * 10, claim.second),
        Subject::CallLevel => with_word(leaf, REGISTERS + 4 * 11, claim.word),
        _ => leaf,
    }
}

fn written(subject: Subject, claim: &StepClaim, leaf: Leaf) -> Leaf {
    match subject {
        Subject::WriteRegister => with_word(leaf, place(read_place(subject), claim).address, claim.written),
        Subject::WriteMemory => with_word(leaf, claim.address, claim.written),
        Subject::WriteControl => {
            let leaf = with_word(leaf, CONTROL, claim.next);
            let leaf = with_word(leaf, CONTROL + 4, u32::from(claim.status_after));
            if claim.status_after == 1 {
                with_word(leaf, CONTROL + 8, claim.second)
            } else {
                leaf
            }
        }
        _ => leaf,
    }
}

/// Where a place of the judge's is, by a claim.
fn place(place: Place, claim: &StepClaim) -> At {
    match place {
        Place::Constant(address) => At::leaf(address),
        Place::Pc => At::leaf(claim.pc),
        Place::Address => At::leaf(claim.address),
        Place::Register(field) => At::leaf(REGISTERS + 4 * field.number(claim.instruction)),
        Place::Call => At {
            address: claim.second,
            level: claim.word.min(MAX_CALL_LEVEL),
        },
        Place::KeyAndBlock => At {
            address: KEY,
            level: 1,
        },
    }
}
