//! Whole units: how long a bisection in them takes.

use std::time::Instant;

use alloy_primitives::{Address, Bytes, TxKind, U256};
use bitsect_machine::{History, Limits};
use bitsect_vm::chain::Transaction;
use bitsect_vm::record::UnitRecord;

use super::code::Loop;
use super::simulation::{Simulation, Wallet};
use super::{Bench, block_record, show, token_init_code};

/// Accounts with a balance, before the block of ordinary traffic.
const ACCOUNTS: u32 = 100_000;
/// Those of them that send.
const SENDERS: u8 = 50;
/// Transactions that come near to 30 M gas.
const TRANSFERS: u32 = 925;

fn token_call(wallet: &mut Wallet, token: Address, to: Address, amount: u64) -> Transaction {
    let mut input = vec![0xa9, 0x05, 0x9c, 0xbb];
    input.extend(to.into_word());
    input.extend(U256::from(amount).to_be_bytes::<32>());
    wallet.call(TxKind::Call(token), 0, input.into(), 60_000)
}

/// An address that nobody has used.
fn fresh(number: u32) -> Address {
    Address::from_word(alloy_primitives::keccak256(number.to_be_bytes()))
}

impl Bench {
    /// A full block of ordinary traffic: ETH and token transfers by half, each to fresh and to recurring addresses.
    pub fn traffic(&mut self) {
        let mut wallets: Vec<Wallet> = (1..=SENDERS).map(Wallet::new).collect();
        let addresses: Vec<Address> = wallets.iter().map(|wallet| wallet.address).collect();
        let others = (0..ACCOUNTS).map(|number| fresh(number + TRANSFERS));
        let funded: Vec<Address> = addresses.iter().copied().chain(others).collect();
        let mut sim = Simulation::new(&funded);
        sim.mine(vec![]);
        let owner = &mut wallets[0];
        let token = owner.address.create(owner.nonce);
        let create = token_init_code(owner.address).into();
        let mut setup = vec![owner.call(TxKind::Create, 0, create, 5_000_000)];
        setup.extend(addresses.iter().map(|to| token_call(owner, token, *to, 100_000)));
        block_record(&mut sim, setup);
        let transfers = (0..TRANSFERS).map(|number| {
            let sender = number as usize % wallets.len();
            let to = match number / 2 % 2 {
                0 => fresh(number),
                _ => addresses[(sender * 7 + 3) % addresses.len()],
            };
            match number % 2 {
                0 => wallets[sender].transfer(to, 1_000_000),
                _ => token_call(&mut wallets[sender], token, to, 1_000),
            }
        });
        let transfers = transfers.collect();
        let record = block_record(&mut sim, transfers);
        let gas = sim.chain.tip.header.gas_used;
        self.bisect(
            &format!(
                "{TRANSFERS} transfers, {:.1} M gas, {ACCOUNTS} accounts",
                gas as f64 / 1e6
            ),
            &sim,
            &record,
        );
    }

    /// A block in which two transactions use this much gas each, all for one thing.
    pub fn full_of(&mut self, name: &str, work: &Loop, gas: u64) {
        let mut wallet = Wallet::new(1);
        let mut sim = Simulation::new(&[wallet.address]);
        sim.mine(vec![]);
        block_record(&mut sim, vec![]);
        let code: Bytes = work.endless().into();
        let creates = (0..2).map(|_| wallet.call(TxKind::Create, 0, code.clone(), gas));
        let creates = creates.collect();
        let record = block_record(&mut sim, creates);
        assert_eq!(
            sim.chain.tip.header.gas_used,
            2 * gas,
            "both use all that they have"
        );
        self.bisect(
            &format!("{name}: {:.1} M gas", 2.0 * gas as f64 / 1e6),
            &sim,
            &record,
        );
    }

    /// Records a unit, then makes states anywhere in it.
    fn bisect(&mut self, name: &str, sim: &Simulation, record: &UnitRecord) {
        let (mut machine, oracle) = self.machine(sim, record);
        let engine = self.engine.as_mut();
        let started = Instant::now();
        let history = History::record(&mut machine, engine, &oracle, u64::MAX, Limits::default());
        let recorded = started.elapsed().as_secs_f64();
        assert_eq!(machine.output(), record.after);
        let steps = machine.stopped_at().expect("it ended");
        let mut slowest = 0.0_f64;
        for number in 1..=32_u64 {
            let step = steps / 33 * number + number * 7_919;
            let started = Instant::now();
            let mut there = history.machine_at(step, engine, &oracle).unwrap();
            there.root();
            slowest = slowest.max(started.elapsed().as_secs_f64());
        }
        show(name, steps);
        let (count, bytes) = history.size();
        println!(
            "{:>15}  recorded in {recorded:.1} s; {count} snapshots, {} MiB, at most {} steps apart; the slowest \
             of 32 states {slowest:.3} s",
            "",
            bytes >> 20,
            history.longest_gap()
        );
    }
}
