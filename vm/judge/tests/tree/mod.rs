//! Searches through the trees of real steps, as a prover would publish them.
#![allow(dead_code, reason = "each test file uses what it needs")]

use alloy_primitives::B256;
use bitsect_judge::leaf::{Value, Values};
use bitsect_judge::path::{Field, Place};
use bitsect_judge::step::{StepClaim, cut};
use bitsect_machine::address::{self, CONTROL, KEY, REGISTERS};
use bitsect_machine::{Access, Instruction, Machine, NodeWrite, Preimages, Program, StepWitness, compress};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const START: u32 = 0x1_0000;
const DATA: u32 = 0x2_0000;
/// The node that programs map: 64 leaves.
const NODE_LEVEL: u32 = 6;

/// One read or write under a root.
#[derive(Clone, Debug)]
pub struct Search {
    /// What it is of.
    pub place: Place,
    /// The node's level.
    pub level: usize,
    /// The nodes from its level up to the root.
    pub before: Vec<B256>,
    /// The same after a write.
    pub after: Option<Vec<B256>>,
    /// Their siblings.
    pub siblings: Vec<B256>,
    /// The step's values, and contents.
    pub values: Values,
    /// The words that are read from its leaf: the rule's name, and the claimed value.
    pub words: Vec<(&'static str, Value)>,
    /// The rule of what is written.
    pub write: Option<String>,
}

pub fn hash(left: &[u8], right: &[u8]) -> B256 {
    B256::new(*blake3::hash(&[left, right].concat()).as_bytes())
}

impl Search {
    fn new(place: Place, address: u32, node: B256, siblings: &[B256], values: &Values) -> Self {
        let level = 26 - siblings.len();
        Self {
            place,
            level,
            before: nodes(address, level, node, siblings),
            after: None,
            siblings: siblings.to_vec(),
            values: values.clone(),
            words: Vec::new(),
            write: None,
        }
    }

    fn read(place: Place, access: &Access, values: &Values, words: &[(&'static str, Value)]) -> Self {
        let node = hash(&access.leaf, &[]);
        let mut search = Self::new(place, access.address, node, &access.siblings, values);
        search.values.insert(Value::Leaf, access.leaf);
        search.words = words.to_vec();
        search
    }

    fn write(place: Place, write: &NodeWrite, values: &Values, rule: String) -> Self {
        let mut search = Self::new(place, write.address, write.old, &write.siblings, values);
        search.after = Some(nodes(write.address, search.level, write.new, &write.siblings));
        if let Some(leaf) = write.old_leaf {
            search.values.insert(Value::Leaf, leaf);
        }
        search.write = Some(rule);
        search
    }

    /// What an honest prover publishes where the search ends with the levels `level + 1` and `level`.
    pub fn at(&self, level: usize) -> Values {
        let mut values = self.values.clone();
        let node = |nodes: &[B256], level: usize| nodes[level.max(self.level) - self.level];
        let mut publish = |nodes: &[B256], [root, top, bottom]: [Value; 3]| {
            values.insert(root, cut(&node(nodes, 26)));
            values.insert(top, *node(nodes, level + 1));
            values.insert(bottom, *node(nodes, level));
        };
        publish(&self.before, [Value::Root, Value::Top, Value::Bottom]);
        if let Some(after) = &self.after {
            publish(after, [Value::RootAfter, Value::TopAfter, Value::BottomAfter]);
        }
        let sibling = level
            .checked_sub(self.level)
            .map_or(B256::ZERO, |at| self.siblings[at]);
        values.insert(Value::Sibling, *sibling);
        values
    }
}

fn nodes(address: u32, level: usize, node: B256, siblings: &[B256]) -> Vec<B256> {
    let mut nodes = vec![node];
    for (at, sibling) in siblings.iter().enumerate() {
        let below = nodes[at];
        nodes.push(if address >> (6 + level + at) & 1 == 1 {
            hash(sibling.as_slice(), below.as_slice())
        } else {
            hash(below.as_slice(), sibling.as_slice())
        });
    }
    nodes
}

/// Gives the searches of a step.
pub fn searches(witness: &StepWitness, text: &core::ops::Range<u32>) -> Vec<Search> {
    let claim = StepClaim::of(witness, text);
    let values = claim.values();
    let mut reads = witness.reads.iter();
    let control = reads.next().unwrap();
    let words = [("pc", Value::Pc), ("status", Value::Statuses)];
    let mut found = vec![Search::read(Place::Constant(CONTROL), control, &values, &words)];
    let mut read = |place, name, value| {
        reads
            .next()
            .map(|access| Search::read(place, access, &values, &[(name, value)]))
    };
    found.extend(read(Place::Pc, "instruction", Value::Instruction));
    let instruction = Instruction::decode(claim.instruction);
    let call = instruction == Some(Instruction::Ecall);
    if call {
        found.extend(read(Place::Constant(REGISTERS + 64), "a7", Value::First));
        found.extend(read(Place::Constant(REGISTERS), "a0", Value::Second));
        found.extend(read(Place::Constant(REGISTERS), "a1", Value::Word));
        found.extend(read(Place::Constant(KEY), "key", Value::Key).map(|mut search| {
            search
                .values
                .insert(Value::Key, search.values.bytes(Value::Leaf).to_vec());
            search.words.clear();
            search
        }));
    } else {
        let (rs1, rs2) = instruction.map_or((0, 0), |instruction| instruction.sources());
        if rs1 != 0 {
            found.extend(read(Place::Register(Field::Rs1), "rs1", Value::First));
        }
        if rs2 != 0 {
            found.extend(read(Place::Register(Field::Rs2), "rs2", Value::Second));
        }
        found.extend(read(Place::Address, "memory", Value::Word));
    }
    if let Some(node) = &witness.node {
        let mut search = Search::new(Place::Call, node.address, node.old, &node.siblings, &values);
        search.values.insert(Value::Node, *node.old);
        found.push(search);
    }
    if let Some(data) = &witness.data {
        found.push(data_write(witness, &claim, data, call));
    }
    if let Some(control) = &witness.control {
        let exit = if claim.status_after == 1 { "-exit" } else { "" };
        let rule = format!("path/write/control{exit}");
        found.push(Search::write(Place::Constant(CONTROL), control, &values, rule));
    }
    found
}

fn data_write(witness: &StepWitness, claim: &StepClaim, data: &NodeWrite, call: bool) -> Search {
    let values = claim.values();
    let store = claim.instruction & 0x7f == 0x23;
    if !call {
        let (place, rule) = if store {
            (Place::Address, format!("memory-{}", claim.address >> 2 & 15))
        } else {
            (
                Place::Register(Field::Rd),
                format!("register-{}", claim.instruction >> 7 & 15),
            )
        };
        return Search::write(place, data, &values, format!("path/write/{rule}"));
    }
    let key = witness.reads.last().unwrap().leaf;
    let (place, rule) = match claim.first {
        address::NODE_FROM_HASH => (Place::Call, "node-from-hash"),
        address::HASH_OF_NODE => (Place::Constant(KEY), "hash-of-node"),
        _ => (Place::KeyAndBlock, "preimage-node"),
    };
    let mut search = Search::write(place, data, &values, format!("call/{rule}"));
    search.values.insert(Value::Key, key);
    if let Some(node) = &witness.node {
        search.values.insert(Value::Node, *node.old);
    }
    if let Some(preimage) = &witness.preimage {
        assert_eq!(compress(&preimage.chaining, &preimage.block), key[..32]);
        let key_hash = hash(preimage.chaining.as_slice(), &[0; 32]);
        for (value, bytes) in [
            (Value::Chaining, preimage.chaining.as_slice()),
            (Value::Block, &preimage.block),
            (Value::KeyHash, key_hash.as_slice()),
            (Value::BlockHash, hash(&preimage.block, &[]).as_slice()),
        ] {
            search.values.insert(value, bytes);
        }
    }
    search
}

/// Gives the searches of all steps of some programs: arithmetic, loads and stores anywhere, every call, a trap.
pub fn all(seed: u64) -> Vec<Search> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut oracle = Preimages::default();
    let blob: Vec<u8> = (0..4_096).map(|_| rng.random()).collect();
    let root = oracle.insert_blob(&blob);
    let digest = oracle.insert_sha256(&blob[..100]);
    let mut input = [0; 64];
    input[..32].copy_from_slice(root.as_slice());
    input[32..].copy_from_slice(digest.as_slice());
    let mut code = Vec::new();
    code.extend(copy_key(0));
    code.extend(call(address::NODE_FROM_HASH, DATA, NODE_LEVEL));
    code.extend(load_immediate(8, DATA));
    for _ in 0..24 {
        code.extend(some(&mut rng));
    }
    code.extend(call(
        address::HASH_OF_NODE,
        DATA + 64 * rng.random_range(0..64),
        0,
    ));
    code.extend(call(
        address::HASH_OF_NODE,
        DATA,
        rng.random_range(1..NODE_LEVEL + 5),
    ));
    code.extend(copy_key(32));
    code.extend(call(address::SHA256_PREIMAGE, 0, 0));
    let last = [call(address::EXIT, rng.random(), 0), vec![0x0010_0073]];
    code.extend(&last[rng.random_range(0..2_usize)]);
    let program = program(&code);
    let mut machine = Machine::new(&program, &input).unwrap();
    let mut found = Vec::new();
    // One more step: the machine has stopped.
    for _ in 0..=code.len() {
        let witness = machine.prove_step(&oracle).unwrap();
        assert_eq!(witness.verify(machine.text()), Ok(()));
        found.extend(searches(&witness, machine.text()));
    }
    found
}

/// Sets a random register, or loads or stores at a random address.
fn some(rng: &mut StdRng) -> Vec<u32> {
    let registers = [
        1, 2, 3, 4, 7, 9, 12, 13, 14, 15, 16, 18, 19, 20, 21, 24, 28, 30, 31,
    ];
    let mut register = || registers[rng.random_range(0..registers.len())];
    let (rd, rs1, rs2) = (register(), register(), register());
    let offset = rng.random_range(0..2_048_u32) & !3;
    match rng.random_range(0..4) {
        0 => load_immediate(rd, rng.random()).into(),
        1 => vec![rs2 << 20 | rs1 << 15 | rd << 7 | 0x33],
        2 => vec![offset << 20 | 8 << 15 | 2 << 12 | rd << 7 | 0x03],
        _ => vec![offset >> 5 << 25 | rs2 << 20 | 8 << 15 | 2 << 12 | (offset & 31) << 7 | 0x23],
    }
}

/// Copies 32 bytes of the input to the key.
fn copy_key(from: u32) -> Vec<u32> {
    let mut code = Vec::new();
    code.extend(load_immediate(5, address::INPUT + from));
    code.extend(load_immediate(6, address::KEY));
    for word in 0..8 {
        code.push((word * 4) << 20 | 5 << 15 | 2 << 12 | 7 << 7 | 0x03);
        code.push(7 << 20 | 6 << 15 | 2 << 12 | (word * 4) << 7 | 0x23);
    }
    code
}

fn call(number: u32, address: u32, level: u32) -> Vec<u32> {
    let registers = [(17, number), (10, address), (11, level)];
    let mut words: Vec<u32> = registers
        .into_iter()
        .flat_map(|(register, value)| load_immediate(register, value))
        .collect();
    words.push(0x73);
    words
}

fn load_immediate(register: u32, value: u32) -> [u32; 2] {
    let high = value.wrapping_add(0x800) & 0xffff_f000;
    let low = value.wrapping_sub(high);
    [
        high | register << 7 | 0x37,
        low << 20 | register << 15 | register << 7 | 0x13,
    ]
}

fn program(words: &[u32]) -> Program {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let end = (START + bytes.len() as u32).next_multiple_of(64);
    Program {
        segments: vec![(START, bytes)],
        entry: START,
        text: START..end,
        symbols: Vec::new(),
    }
}
