//! Figures, not tests: `cargo test -p bitsect-node --release --lib store::tests::speed -- --ignored --nocapture`.

use std::time::{Duration, Instant};

use alloy_consensus::constants::KECCAK_EMPTY;
use alloy_primitives::{Address, U256, keccak256};
use bitsect_vm::state::{Account, AccountChange, StateChanges, StateReader, update};

use super::kit::{GENESIS_OPS, Op, assert_sound, genesis, next_block};
use crate::store::{Head, NewBlock, Store, StoreOptions};

/// Accounts before the measurement; `BITSECT_STORE_ACCOUNTS` changes it.
const ACCOUNTS: u64 = 200_000;
/// Transfers in a block, each from one account to another.
const TRANSFERS: u64 = 2_000;
/// Blocks measured.
const BLOCKS: u64 = 20;
/// Reads measured.
const READS: u64 = 50_000;

fn address(number: u64) -> Address {
    Address::from_word(keccak256(number.to_be_bytes()))
}

fn plain(balance: u64) -> Account {
    Account {
        nonce: 1,
        balance: U256::from(balance),
        code_hash: KECCAK_EMPTY,
        code_size: 0,
    }
}

/// Replaces the changes of a block made for its transactions.
fn with_changes(store: &Store, mut block: NewBlock, changes: StateChanges) -> (NewBlock, Spent) {
    let view = store.read().unwrap();
    let parent = view.head(Head::Latest).unwrap().number;
    let root = view.header(parent).unwrap().unwrap().header.state_root;
    let (tree, spent) = Spent::of(|| update(root, &changes, &view.tree_at(parent).unwrap()).unwrap());
    block.tree = tree;
    block.changes = changes;
    block.header.state_root = block.tree.root;
    block.hash = block.header.hash_slow();
    (block, spent)
}

/// What a piece of work took: on the clock, and of this thread's processor time (Linux), which other programs do not
/// disturb.
#[derive(Clone, Copy, Default)]
struct Spent {
    clock: Duration,
    processor: Duration,
}

impl Spent {
    fn of<T>(work: impl FnOnce() -> T) -> (T, Self) {
        let (start, before) = (Instant::now(), processor_time());
        let done = work();
        (
            done,
            Self {
                clock: start.elapsed(),
                processor: processor_time() - before,
            },
        )
    }

    fn add(&mut self, other: Self) {
        self.clock += other.clock;
        self.processor += other.processor;
    }

    fn per(self, count: u64) -> String {
        format!(
            "{:>12.3?} clock {:>12.3?} processor",
            self.clock / count as u32,
            self.processor / count as u32
        )
    }
}

fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(
        text.split(' ')
            .next()
            .and_then(|word| word.parse().ok())
            .unwrap_or(0),
    )
}

fn random(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

#[test]
#[ignore = "prints figures; takes a minute"]
fn append_and_read() {
    let accounts = std::env::var("BITSECT_STORE_ACCOUNTS").map_or(ACCOUNTS, |count| count.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chain.redb");
    let (identity, genesis) = genesis(&GENESIS_OPS);
    let store = Store::create(&path, &identity, &genesis, StoreOptions::default()).unwrap();
    for from in (0..accounts).step_by(50_000) {
        let mut changes = StateChanges::default();
        for number in from..(from + 50_000).min(accounts) {
            let change = AccountChange {
                after: Some(plain(1_000_000)),
                ..AccountChange::default()
            };
            changes.accounts.insert(address(number), change);
        }
        let (block, _) = with_changes(&store, next_block(&store.read().unwrap(), &[], 0), changes);
        store.write(|writer| writer.append_block(&block)).unwrap();
    }
    let mut seed = 88_172_645_463_325_252;
    let logs: Vec<Op> = (0..TRANSFERS).map(|_| Op::Log(1, 1)).collect();
    let (mut roots, mut appends, mut inside) = (Spent::default(), Spent::default(), Spent::default());
    for number in 0..BLOCKS {
        let view = store.read().unwrap();
        let state = view.state_at(view.head(Head::Latest).unwrap().number).unwrap();
        let mut changes = StateChanges::default();
        for _ in 0..2 * TRANSFERS {
            let address = address(random(&mut seed) % accounts);
            let before = state.account(address).unwrap();
            let after = Some(plain(random(&mut seed) % 1_000_000));
            changes.accounts.insert(
                address,
                AccountChange {
                    before,
                    after,
                    ..AccountChange::default()
                },
            );
        }
        let (block, root) = with_changes(&store, next_block(&view, &logs, number), changes);
        drop((state, view));
        let (closure, spent) = Spent::of(|| {
            store.write(|writer| {
                let (done, spent) = Spent::of(|| writer.append_block(&block));
                done.map(|()| spent)
            })
        });
        appends.add(spent);
        inside.add(closure.unwrap());
        roots.add(root);
    }
    println!(
        "{accounts} accounts, {TRANSFERS} transfers between random accounts a block, mean of {BLOCKS} blocks:"
    );
    println!("  state root               {}", roots.per(BLOCKS));
    println!("  append_block             {}", inside.per(BLOCKS));
    println!("  whole write, with fsync  {}", appends.per(BLOCKS));
    let view = store.read().unwrap();
    let latest = view.head(Head::Latest).unwrap().number;
    let picks: Vec<Address> = (0..READS)
        .map(|_| address(random(&mut seed) % accounts))
        .collect();
    for (name, number) in [("latest", latest), ("10 blocks back", latest - BLOCKS / 2)] {
        let state = view.state_at(number).unwrap();
        let ((), spent) = Spent::of(|| {
            picks
                .iter()
                .for_each(|pick| assert!(state.account(*pick).unwrap().is_some()))
        });
        println!("  account, {name:15} {}", spent.per(READS));
    }
    let ((), spent) = Spent::of(|| (0..READS).for_each(|_| drop(store.read().unwrap())));
    println!("  read()                   {}", spent.per(READS));
    println!(
        "  file                     {} bytes",
        std::fs::metadata(&path).unwrap().len()
    );
    drop(view);
    let (done, spent) = Spent::of(|| store.write(|writer| writer.rollback_latest_to(latest - BLOCKS)));
    assert_eq!(done.unwrap().len(), BLOCKS as usize);
    println!("  rollback, per block      {}", spent.per(BLOCKS));
    let ((), spent) = Spent::of(|| assert_sound(&store));
    println!("  db check                 {}", spent.per(1));
}
