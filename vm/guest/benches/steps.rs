//! How many steps of the machine things take. Steps are exact, so each unit runs once; what one thing takes is the
//! difference of two units.
//!
//! `cargo bench -p bitsect-guest`

#[path = "../tests/machine/built.rs"]
mod built;
#[path = "../../tests/derivation/simulation.rs"]
#[expect(dead_code, reason = "shared with the tests of derivation")]
mod simulation;

use std::time::Instant;

use alloy_primitives::{Address, B256, TxKind, U256, keccak256};
use bitcoin::OutPoint;
use bitsect_guest::params;
use bitsect_machine::{
    Engine, EngineKind, History, Interpreter, Limits, Machine, Preimages, Program, Status,
};
use bitsect_vm::chain::Transaction;
use bitsect_vm::record::UnitRecord;
use built::built;
use k256::ecdsa::SigningKey;
use simulation::{Simulation, Wallet, output};

const TO: Address = Address::repeat_byte(0xaa);
const TOKEN: &str = include_str!("../../benches/Token.hex");

fn main() {
    let program = std::fs::read(built()).unwrap();
    let bench = Bench { program };
    println!("{:>15}  what", "steps");
    bench.blocks();
    bench.loops();
    bench.l1();
    bench.bisection();
}

struct Bench {
    program: Vec<u8>,
}

/// Code that gives an account a balance and leaves the token's code.
fn token_init_code(owner: Address) -> Vec<u8> {
    let runtime: Vec<u8> = alloy_primitives::hex::decode(TOKEN.trim()).unwrap();
    // The first mapping's slot of a key is the hash of key and zero.
    let slot = keccak256([owner.into_word(), B256::ZERO].concat());
    let mut code = vec![0x62, 0xff, 0xff, 0xff, 0x7f];
    code.extend(slot);
    code.push(0x55);
    let [high, low] = u16::try_from(runtime.len()).unwrap().to_be_bytes();
    let start = code.len() as u8 + 12;
    code.extend([0x61, high, low, 0x80, 0x60, start, 0x60, 0, 0x39, 0x60, 0, 0xf3]);
    code.extend(runtime);
    code
}

/// Code that puts a signature into memory, as `ecrecover` takes it.
fn recovery_setup() -> Vec<u8> {
    let key = SigningKey::from_slice(&[9; 32]).unwrap();
    let (signature, parity) = key.sign_prehash_recoverable(&[5; 32]).unwrap();
    let (r, s) = signature.split_bytes();
    let mut v = [0; 32];
    v[31] = 27 + u8::from(parity.is_y_odd());
    let mut setup = Vec::new();
    for (at, word) in [[5; 32], v, r.into(), s.into()].iter().enumerate() {
        setup.push(0x7f);
        setup.extend(word);
        setup.extend([0x60, at as u8 * 32, 0x52]);
    }
    setup
}

/// Code that calls a precompile on the first bytes of memory.
fn call(precompile: u8, size: u8) -> [u8; 13] {
    [
        0x60, 32, 0x60, 128, 0x60, size, 0x60, 0, 0x60, precompile, 0x5a, 0xfa, 0x50,
    ]
}

fn show(what: &str, steps: u64) {
    println!("{steps:>15}  {what}");
}

impl Bench {
    /// A unit's machine before its first step, and its oracle.
    fn machine(&self, sim: &Simulation, record: &UnitRecord) -> (Machine, Preimages) {
        let program = Program::from_elf(&params::write(&self.program, &sim.params).unwrap()).unwrap();
        let mut oracle = Preimages::default();
        oracle.insert_unit(record).unwrap();
        (Machine::new(&program, &record.input()).unwrap(), oracle)
    }

    /// Counts a unit's steps.
    fn steps(&self, sim: &Simulation, record: &UnitRecord) -> u64 {
        let (mut machine, oracle) = self.machine(sim, record);
        let started = Instant::now();
        Interpreter.run_to(&mut machine, u64::MAX, &oracle).unwrap();
        assert_eq!(machine.status(), Status::Halted { exit_code: 0 });
        assert_eq!(machine.output(), record.after);
        let steps = machine.stopped_at().unwrap();
        eprintln!("{:>15}  {:.1} s", steps, started.elapsed().as_secs_f64());
        steps
    }

    /// Counts the steps of the block that these transactions make.
    fn block(&self, sim: &mut Simulation, transactions: Vec<Transaction>) -> u64 {
        let count = transactions.len();
        let batch = sim.batch(vec![(!sim.chain.origins.is_empty(), transactions)]);
        let log = sim.mine_batch(&batch);
        assert!(
            log[1].ends_with(&format!("{count} transactions, 0 of the inbox")),
            "{log:?}"
        );
        self.steps(sim, &sim.records[sim.records.len() - log.len() + 1])
    }

    fn blocks(&self) {
        let mut wallet = Wallet::new(1);
        let mut sim = Simulation::new(&[wallet.address]);
        sim.mine(vec![]);
        let empty = self.block(&mut sim, vec![]);
        show("an empty block", empty);
        let transfers = |wallet: &mut Wallet, count| (0..count).map(|i| wallet.transfer(TO, i)).collect();
        let one = self.block(&mut sim, transfers(&mut wallet, 1));
        let many = self.block(&mut sim, transfers(&mut wallet, 11));
        show("a transfer", (many - one) / 10);
        let token = wallet.address.create(wallet.nonce);
        let create = token_init_code(wallet.address);
        self.block(
            &mut sim,
            vec![wallet.call(TxKind::Create, 0, create.into(), 5_000_000)],
        );
        let mut calls = |count: u8| -> Vec<Transaction> {
            let mut call = |to: u8| {
                let mut input = vec![0xa9, 0x05, 0x9c, 0xbb];
                input.extend(Address::repeat_byte(to).into_word());
                input.extend(U256::from(5).to_be_bytes::<32>());
                wallet.call(TxKind::Call(token), 0, input.into(), 100_000)
            };
            (0..count).map(|_| call(7)).collect()
        };
        let one = self.block(&mut sim, calls(1));
        let many = self.block(&mut sim, calls(11));
        show("an ERC-20 transfer", (many - one) / 10);
    }

    /// What one round of a loop in init code takes.
    fn round(&self, rounds: u16, setup: &[u8], body: &[u8]) -> u64 {
        let mut wallet = Wallet::new(1);
        let mut sim = Simulation::new(&[wallet.address]);
        let mut run = |rounds: u16| {
            let mut code = setup.to_vec();
            code.push(0x61);
            code.extend(rounds.to_be_bytes());
            let [high, low] = u16::try_from(code.len()).unwrap().to_be_bytes();
            code.push(0x5b);
            code.extend(body);
            // Counts down, and stops at zero.
            code.extend([0x60, 1, 0x90, 0x03, 0x80, 0x61, high, low, 0x57, 0x00]);
            let create = wallet.call(TxKind::Create, 0, code.into(), 10_000_000);
            self.block(&mut sim, vec![create])
        };
        // The first block of a chain is unlike the others: it has no origin to advance to.
        run(1);
        let few = run(1);
        (run(rounds + 1) - few) / u64::from(rounds)
    }

    fn loops(&self) {
        let nothing = self.round(2_000, &[], &[]);
        show("a round of an empty loop", nothing);
        let keccak = self.round(2_000, &[], &[0x60, 136, 0x60, 0, 0x20, 0x50]);
        show("KECCAK256 of 136 bytes (two permutations)", keccak - nothing);
        let keccak = self.round(2_000, &[], &[0x60, 64, 0x60, 0, 0x20, 0x50]);
        show("KECCAK256 of 64 bytes", keccak - nothing);
        let setup = recovery_setup();
        show("ecrecover", self.round(20, &setup, &call(1, 128)) - nothing);
        show(
            "sha256 of 64 bytes",
            self.round(2_000, &setup, &call(2, 64)) - nothing,
        );
        show(
            "identity of 64 bytes",
            self.round(2_000, &setup, &call(4, 64)) - nothing,
        );
    }

    /// The time that a bisection takes in the dearest block: as much gas as it may have, all for signature recovery.
    fn bisection(&self) {
        let mut wallet = Wallet::new(1);
        let mut sim = Simulation::new(&[wallet.address]);
        sim.mine(vec![]);
        self.block(&mut sim, vec![]);
        // An endless loop: JUMPDEST, the call, JUMP back.
        let mut code = recovery_setup();
        let [high, low] = u16::try_from(code.len()).unwrap().to_be_bytes();
        code.push(0x5b);
        code.extend(call(1, 128));
        code.extend([0x61, high, low, 0x56]);
        let creates = (0..2).map(|_| wallet.call(TxKind::Create, 0, code.clone().into(), 14_900_000));
        let batch = sim.batch(vec![(true, creates.collect())]);
        let log = sim.mine_batch(&batch);
        assert!(log[1].ends_with("2 transactions, 0 of the inbox"), "{log:?}");
        let record = &sim.records[sim.records.len() - log.len() + 1];
        let (mut machine, oracle) = self.machine(&sim, record);
        let mut engine = EngineKind::Fast.engine();
        let started = Instant::now();
        let history = History::record(
            &mut machine,
            engine.as_mut(),
            &oracle,
            u64::MAX,
            Limits::default(),
        );
        let recorded = started.elapsed().as_secs_f64();
        assert_eq!(machine.output(), record.after);
        let steps = machine.stopped_at().unwrap();
        show("the dearest block: 29.8 M gas of ecrecover", steps);
        let (count, bytes) = history.size();
        let megabytes = bytes >> 20;
        println!(
            "recorded in {recorded:.1} s: {count} snapshots, {megabytes} MiB, at most {} steps apart",
            history.longest_gap()
        );
        let mut slowest = 0.0_f64;
        for move_number in 1..=32_u64 {
            let step = steps / 33 * move_number + move_number * 7_919;
            let started = Instant::now();
            let mut there = history.machine_at(step, engine.as_mut(), &oracle).unwrap();
            there.root();
            slowest = slowest.max(started.elapsed().as_secs_f64());
        }
        println!("slowest of 32 states on the way: {slowest:.3} s");
    }

    fn l1(&self) {
        let mut sim = Simulation::new(&[]);
        let mut read = |what: &str, count: u32, witness: usize| {
            let transactions = (0..count).map(|number| {
                let mut outpoint = OutPoint::null();
                outpoint.vout = number;
                let outputs = (0..2).map(|_| output(1_000, vec![0; 22].into())).collect();
                sim.spend(vec![(outpoint, vec![vec![1; witness], vec![2; 33]])], outputs)
            });
            let transactions = transactions.collect();
            sim.mine(transactions);
            let record = sim
                .records
                .iter()
                .rev()
                .find(|record| record.block.is_some())
                .unwrap();
            let size = record.block.as_ref().unwrap().len();
            show(
                &format!("an L1 block of {size} bytes: {what}"),
                self.steps(&sim, record),
            );
        };
        read("no transaction", 0, 0);
        read("4,500 payments", 4_500, 71);
        read("10 witnesses of 390,000 bytes", 10, 390_000);
    }
}
