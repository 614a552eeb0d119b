//! How many steps of the machine things take. Steps are exact, so each unit runs once; what one thing takes is the
//! difference of two units.
//!
//! `cargo bench -p bitsect-guest`

#[path = "../tests/machine/built.rs"]
mod built;
#[path = "steps/code.rs"]
mod code;
#[path = "steps/priced.rs"]
mod priced;
#[path = "../../tests/derivation/simulation.rs"]
#[expect(dead_code, reason = "shared with the tests of derivation")]
mod simulation;
#[path = "steps/units.rs"]
mod units;

use alloy_primitives::{Address, B256, TxKind, U256, keccak256};
use bitcoin::OutPoint;
use bitsect_guest::params;
use bitsect_machine::{Engine, EngineKind, Machine, Preimages, Program, Status};
use bitsect_vm::chain::Transaction;
use bitsect_vm::record::UnitRecord;
use built::built;
use code::Loop;
use priced::{Case, opcodes, precompiles};
use simulation::{Simulation, Wallet, output};

const TO: Address = Address::repeat_byte(0xaa);
const TOKEN: &str = include_str!("../../benches/Token.hex");

fn main() {
    let program = std::fs::read(built()).unwrap();
    let mut bench = Bench {
        program,
        engine: EngineKind::Fast.engine(),
    };
    println!("{:>15}  what", "steps");
    bench.blocks();
    bench.l1();
    let dearest = bench.priced();
    bench.traffic();
    let recovery = precompiles().swap_remove(0);
    // About 10^10 steps, then as many as signatures can cost.
    bench.full_of(&recovery.name, &recovery.work, 7_200_000);
    bench.full_of(&recovery.name, &recovery.work, 14_900_000);
    bench.full_of(&dearest.name, &dearest.work, 14_900_000);
}

struct Bench {
    program: Vec<u8>,
    /// What it translated serves every unit.
    engine: Box<dyn Engine>,
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

/// Makes a block of these transactions, and gives what its unit read.
fn block_record(sim: &mut Simulation, transactions: Vec<Transaction>) -> UnitRecord {
    let count = transactions.len();
    let batch = sim.batch(vec![(!sim.chain.origins.is_empty(), transactions)]);
    let log = sim.mine_batch(&batch);
    let expected = format!("{count} transactions, 0 of the inbox");
    assert!(log[1].ends_with(&expected), "{log:?}");
    sim.records[sim.records.len() - log.len() + 1].clone()
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
    fn steps(&mut self, sim: &Simulation, record: &UnitRecord) -> u64 {
        let (mut machine, oracle) = self.machine(sim, record);
        self.engine.run_to(&mut machine, u64::MAX, &oracle).unwrap();
        assert_eq!(machine.status(), Status::Halted { exit_code: 0 });
        assert_eq!(machine.output(), record.after);
        machine.stopped_at().unwrap()
    }

    /// Counts the steps of the block that these transactions make.
    fn block(&mut self, sim: &mut Simulation, transactions: Vec<Transaction>) -> u64 {
        let record = block_record(sim, transactions);
        self.steps(sim, &record)
    }

    fn blocks(&mut self) {
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

    /// Steps and gas of one round of a loop in init code.
    fn round(&mut self, work: &Loop, rounds: u16) -> (u64, u64) {
        let mut wallet = Wallet::new(1);
        let mut sim = Simulation::new(&[wallet.address]);
        let mut run = |rounds: u16| {
            let create = wallet.call(TxKind::Create, 0, work.rounds(rounds).into(), 16_000_000);
            let steps = self.block(&mut sim, vec![create]);
            (steps, sim.chain.tip.header.gas_used)
        };
        // The first block of a chain is unlike the others: it has no origin to advance to.
        run(1);
        let few = run(rounds);
        let many = run(2 * rounds);
        let each = |few: u64, many: u64| (many - few) / u64::from(rounds);
        (each(few.0, many.0), each(few.1, many.1))
    }

    /// Prints steps for gas, and gives the dearest.
    fn priced(&mut self) -> Case {
        let loop_itself = self.round(&Loop::default(), 2_000);
        show("a round of an empty loop", loop_itself.0);
        println!("{:>15}  {:>9}  {:>8}  what", "steps", "gas", "per gas");
        let mut dearest = None;
        let cases = precompiles().into_iter().chain(opcodes());
        for case in cases {
            let round = self.round(&case.work, case.rounds);
            let (steps, gas) = (round.0 - loop_itself.0, round.1 - loop_itself.1);
            // A call that failed would take all gas that it was given.
            assert_eq!(gas, case.gas, "{}", case.name);
            let rate = round.0 as f64 / round.1 as f64;
            println!("{steps:>15}  {gas:>9}  {rate:>8.0}  {}", case.name);
            if dearest.as_ref().is_none_or(|(highest, _)| *highest < rate) {
                dearest = Some((rate, case));
            }
        }
        dearest.expect("there are cases").1
    }

    fn l1(&mut self) {
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
