//! The store against a model in memory, over random appends, rollbacks, prunes and reopenings.

use std::collections::BTreeMap;

use alloy_primitives::{Address, U256};
use bitsect_vm::state::{Account, StateReader};
use proptest::collection::vec;
use proptest::prelude::*;

use super::kit::{ACCOUNTS, GENESIS_OPS, Op, SLOTS, address, assert_sound, genesis, next_block, slot};
use crate::store::{Head, NewBlock, Store, StoreError, StoreOptions};

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<Op>),
    Rollback(u8),
    Finalize(u8),
    Prune(u8),
    Reopen,
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..ACCOUNTS, 0u64..4, 0u64..4).prop_map(|(id, nonce, balance)| Op::Pay(id, nonce, balance)),
        4 => (0..ACCOUNTS, 0..SLOTS, 0u64..3).prop_map(|(id, slot, value)| Op::Slot(id, slot, value)),
        2 => (0..ACCOUNTS, 0u8..2, 0u16..600).prop_map(|(id, fill, length)| Op::Code(id, fill, length)),
        1 => (0..ACCOUNTS).prop_map(Op::Delete),
        1 => (0..ACCOUNTS, any::<u8>()).prop_map(|(id, topic)| Op::Log(id, topic)),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => vec(any_op(), 0..6).prop_map(Step::Append),
        3 => any::<u8>().prop_map(Step::Rollback),
        1 => any::<u8>().prop_map(Step::Finalize),
        1 => any::<u8>().prop_map(Step::Prune),
        1 => Just(Step::Reopen),
    ]
}

type Accounts = BTreeMap<Address, Account>;
type Slots = BTreeMap<(Address, U256), U256>;

/// Every block with the whole state after it.
struct Model {
    chain: Vec<(NewBlock, Accounts, Slots)>,
    finalized: usize,
    history: usize,
    forks: u64,
}

impl Model {
    fn push(&mut self, block: NewBlock) {
        let (mut accounts, mut slots) = self
            .chain
            .last()
            .map_or_else(Default::default, |(_, accounts, slots)| {
                (accounts.clone(), slots.clone())
            });
        for (address, change) in &block.changes.accounts {
            match change.after {
                Some(after) => accounts.insert(*address, after),
                None => accounts.remove(address),
            };
            slots.extend(
                change
                    .storage
                    .iter()
                    .map(|(slot, (_, after))| ((*address, *slot), *after)),
            );
        }
        self.chain.push((block, accounts, slots));
    }

    fn compare(&self, store: &Store) {
        let view = store.read().unwrap();
        let latest = self.chain.len() - 1;
        assert_eq!(view.head(Head::Latest).unwrap().number as usize, latest);
        assert_eq!(
            view.head(Head::Finalized).unwrap().number as usize,
            self.finalized
        );
        assert_eq!(view.history_start().unwrap() as usize, self.history);
        for (number, (block, accounts, slots)) in self.chain.iter().enumerate() {
            assert_eq!(view.header(number as u64).unwrap().unwrap().header, block.header);
            for (index, transaction) in (0u32..).zip(&block.transactions) {
                let place = view.transaction_place(transaction.tx_hash()).unwrap();
                assert_eq!(place, Some((number as u64, index)));
            }
            let state = view.state_at(number as u64);
            let supply = view.supply(number as u64).unwrap().map(|supply| supply.total);
            let total = accounts.values().map(|account| account.balance).sum();
            assert_eq!(supply, (number >= self.history).then_some(total));
            if number < self.history {
                assert!(matches!(state, Err(StoreError::StateNotHeld { .. })));
                continue;
            }
            let state = state.unwrap();
            for address in (0..ACCOUNTS).map(address) {
                let account = state.account(address).unwrap();
                assert_eq!(
                    account,
                    accounts.get(&address).copied(),
                    "block {number} of {latest}"
                );
                for slot in (0..SLOTS).map(slot) {
                    let expected = slots.get(&(address, slot)).copied().unwrap_or_default();
                    assert_eq!(state.storage(address, slot).unwrap(), expected);
                }
                if let Some(account) = account {
                    let code = state.code(address, account.code_hash).unwrap();
                    assert_eq!(code.len(), account.code_size as usize);
                }
            }
            assert_eq!(
                view.tree_at(number as u64).unwrap().root(),
                block.header.state_root
            );
        }
    }

    fn rollback(&mut self, store: &Store, to: u8) {
        let latest = self.chain.len() - 1;
        let to = latest.saturating_sub(usize::from(to) % 6).max(self.finalized);
        let removed = store
            .write(|writer| writer.rollback_latest_to(to as u64))
            .unwrap();
        let gone = self.chain.split_off(to + 1);
        assert_eq!(removed.len(), gone.len());
        for (removed, (block, ..)) in removed.iter().zip(&gone) {
            assert_eq!(removed.header.hash, block.hash);
            let transactions: Vec<_> = removed
                .transactions
                .iter()
                .map(|(_, transaction)| transaction.clone())
                .collect();
            assert_eq!(transactions, block.transactions);
        }
    }
}

fn run(steps: Vec<Step>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chain.redb");
    let (identity, genesis) = genesis(&GENESIS_OPS);
    let options = || StoreOptions {
        cache_bytes: 1 << 20,
        on_repair: None,
    };
    let mut store = Store::create(&path, &identity, &genesis, options()).unwrap();
    let mut model = Model {
        chain: Vec::new(),
        finalized: 0,
        history: 0,
        forks: 0,
    };
    model.push(genesis.block);
    for step in steps {
        match step {
            Step::Append(ops) => {
                model.forks += 1;
                let block = next_block(&store.read().unwrap(), &ops, model.forks);
                store.write(|writer| writer.append_block(&block)).unwrap();
                model.push(block);
            }
            Step::Rollback(to) => model.rollback(&store, to),
            Step::Finalize(at) => {
                let at = (model.finalized + usize::from(at) % 3).min(model.chain.len() - 1);
                store
                    .write(|writer| -> Result<(), StoreError> {
                        writer.set_safe(at as u64)?;
                        writer.set_finalized(at as u64)
                    })
                    .unwrap();
                model.finalized = at;
            }
            Step::Prune(at) => {
                let at = usize::from(at) % 8;
                while !store
                    .write(|writer| writer.prune_history(at as u64, 3))
                    .unwrap()
                    .done
                {}
                model.history = model.history.max(at.min(model.finalized));
            }
            Step::Reopen => {
                drop(store);
                store = Store::open(&path, &identity, options()).unwrap();
            }
        }
        model.compare(&store);
    }
    assert_sound(&store);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_store_is_its_model(steps in vec(any_step(), 1..25)) {
        run(steps);
    }
}
