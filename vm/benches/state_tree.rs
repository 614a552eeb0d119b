//! The state root after 10,000 ERC-20-like changes, in a tree of 1 M accounts and 1 M token balances.
//!
//! The tree is read from rows in memory (`rows`: decode, update, encode), and from nodes that were read before
//! (`nodes`: shape and hashing alone). Rounds are interleaved, and the median of the rounds counts. Beside wall time
//! stands the processor time, which a busy machine changes less (Linux). `cargo bench -p bitsect-vm --bench state_tree`; `BITSECT_BENCH_ACCOUNTS` sets another size.

use std::hint::black_box;
use std::time::{Duration, Instant};

use alloy_primitives::{Address, KECCAK256_EMPTY, U256, keccak256};
use bitsect_vm::state::{
    Account, AccountChange, MemoryState, RowNodes, StateChanges, hash_node, hash_nodes, prove, slot_key,
    update, update_rows, verify_proof,
};

/// Changes in one update of the set-up: bounds its memory.
const SETUP_STEP: u64 = 50_000;
/// Rounds; the median counts.
const ROUNDS: usize = 9;
/// Repeats of what is short: the processor time is only counted in ticks.
const REPEAT: u64 = 200;
/// Transfers in the measured block.
const TRANSFERS: u64 = 10_000;
/// Coprime to the number of accounts: spreads the changed ones over all of them.
const STRIDE: u64 = 7_919;

const TOKEN: Address = Address::repeat_byte(0x70);

fn holder(n: u64) -> Address {
    Address::from_word(keccak256(n.to_be_bytes()))
}

/// The slot of a balance in a Solidity mapping.
fn balance_slot(n: u64) -> U256 {
    let mut key = [0; 64];
    key[12..32].copy_from_slice(holder(n).as_slice());
    U256::from_be_bytes(keccak256(key).0)
}

fn account(nonce: u64) -> Account {
    Account {
        nonce,
        balance: U256::from(10).pow(U256::from(18)),
        code_hash: KECCAK256_EMPTY,
        code_size: 0,
    }
}

fn set_up(accounts: u64) -> MemoryState {
    let mut state = MemoryState::new();
    for start in (0..accounts).step_by(SETUP_STEP as usize) {
        let mut changes = StateChanges::default();
        let mut storage = std::collections::BTreeMap::new();
        for n in start..accounts.min(start + SETUP_STEP) {
            let change = AccountChange {
                after: Some(account(0)),
                ..AccountChange::default()
            };
            changes.accounts.insert(holder(n), change);
            storage.insert(balance_slot(n), (U256::ZERO, U256::from(1_000_000 + n)));
        }
        changes.accounts.insert(
            TOKEN,
            AccountChange {
                storage,
                ..AccountChange::default()
            },
        );
        state.apply(&changes).expect("the set-up is a valid state");
    }
    state
}

/// Balances that change, and with `senders` the nonces and balances of those who pay.
fn transfers(accounts: u64, slots: u64, senders: u64) -> StateChanges {
    let mut changes = StateChanges::default();
    for i in 0..senders {
        let n = i * STRIDE % accounts;
        let change = AccountChange {
            before: Some(account(0)),
            after: Some(account(1)),
            ..AccountChange::default()
        };
        changes.accounts.insert(holder(n), change);
    }
    let storage = (0..slots).map(|i| {
        let n = i * STRIDE % accounts;
        (balance_slot(n), (U256::from(1_000_000 + n), U256::from(n + 1)))
    });
    changes.accounts.insert(
        TOKEN,
        AccountChange {
            storage: storage.collect(),
            ..AccountChange::default()
        },
    );
    changes
}

struct Run<'a> {
    name: &'static str,
    /// What one run does, for the time of one.
    items: u64,
    run: Box<dyn Fn() + 'a>,
    times: Vec<(Duration, Duration)>,
}

fn run<'a>(name: &'static str, items: u64, run: impl Fn() + 'a) -> Run<'a> {
    Run {
        name,
        items,
        run: Box::new(run),
        times: Vec::new(),
    }
}

/// Time that this thread has been on a processor.
fn processor_time() -> Option<Duration> {
    let line = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(line.split(' ').next()?.parse().ok()?))
}

fn measure(mut runs: Vec<Run<'_>>) {
    for _ in 0..ROUNDS {
        for run in &mut runs {
            let (wall, processor) = (Instant::now(), processor_time());
            (run.run)();
            let wall = wall.elapsed();
            let processor = processor
                .zip(processor_time())
                .map_or(wall, |(start, end)| end - start);
            run.times.push((processor, wall));
        }
    }
    println!("{:<26} {:>14} {:>14}", "", "processor", "wall");
    for mut run in runs {
        run.times.sort_unstable();
        let (processor, wall) = run.times[ROUNDS / 2];
        let each = processor.as_nanos() / u128::from(run.items);
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        println!(
            "{:<26} {:>11.3} ms {:>11.3} ms {each:>8} ns each",
            run.name,
            millis(processor),
            millis(wall)
        );
    }
}

fn main() {
    let accounts =
        std::env::var("BITSECT_BENCH_ACCOUNTS").map_or(1_000_000, |n| n.parse().expect("a number"));
    let start = Instant::now();
    let state = set_up(accounts);
    println!(
        "set-up of {accounts} accounts and as many token balances: {:.1?}",
        start.elapsed()
    );
    let (rows, bytes) = state
        .rows()
        .fold((0, 0), |(n, bytes), (_, row)| (n + 1, bytes + row.len()));
    println!("tree: {rows} rows, {} MB", bytes / 1_000_000);

    let root = state.root();
    let blocks = [
        (
            "10,000 slots",
            "10,000 slots, nodes",
            transfers(accounts, TRANSFERS, 0),
        ),
        (
            "10,000 transfers",
            "10,000 transfers, nodes",
            transfers(accounts, 2 * TRANSFERS, TRANSFERS),
        ),
        (
            "100 transfers",
            "100 transfers, nodes",
            transfers(accounts, 200, 100),
        ),
    ];
    let read: Vec<_> = blocks.iter().map(|_| RowNodes::new(&state)).collect();
    let nodes: Vec<[u8; 64]> = (0..TRANSFERS).map(|i| [i as u8; 64]).collect();
    let key = slot_key(TOKEN, balance_slot(5));
    let proof = prove(root, &key, &state).expect("the state is complete");
    let mut runs = Vec::new();
    for ((rows, nodes, changes), read) in blocks.iter().zip(&read) {
        let after = update_rows(root, changes, &state).expect("the state is complete");
        let written: usize = after
            .rows
            .iter()
            .map(|(_, row)| row.as_ref().map_or(0, Vec::len))
            .sum();
        let same = update(root, changes, read).expect("the state is complete");
        assert_eq!(same.root, after.root);
        println!(
            "{rows}: {} rows, {} KB, {} nodes change",
            after.rows.len(),
            written / 1000,
            same.nodes.len()
        );
        let items = changes
            .accounts
            .values()
            .map(|change| change.storage.len() as u64 + 1)
            .sum();
        runs.push(run(rows, items, || {
            black_box(update_rows(root, changes, &state).expect("the state is complete"));
        }));
        runs.push(run(nodes, items, || {
            black_box(update(root, changes, read).expect("the state is complete"));
        }));
    }

    runs.push(run("hash, one at a time", REPEAT * TRANSFERS, || {
        for _ in 0..REPEAT {
            black_box(nodes.iter().map(hash_node).fold(0, |a, hash| a ^ hash[0]));
        }
    }));
    runs.push(run("hash, many", REPEAT * TRANSFERS, || {
        for _ in 0..REPEAT {
            black_box(hash_nodes(&nodes));
        }
    }));

    println!("proof of a slot: {} nodes", proof.nodes.len());
    runs.push(run("prove a slot", REPEAT, || {
        for _ in 0..REPEAT {
            black_box(prove(root, &key, &RowNodes::new(&state)).expect("the state is complete"));
        }
    }));
    runs.push(run("verify a slot", REPEAT, || {
        for _ in 0..REPEAT {
            black_box(verify_proof(root, &key, &proof).expect("the proof is honest"));
        }
    }));
    measure(runs);
}
