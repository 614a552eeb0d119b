//! Random histories of the bridge, with real blocks, back and forth: every sum holds after every block.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use alloy_primitives::{Address, B256, TxKind, U256};
use bitsect_vm::chain::predeploys::{BITCOIN_BLOCKS, BRIDGE};
use bitsect_vm::chain::{OutPoint, Transaction};
use bitsect_vm::derive::{AddedOutput, Assignment, BridgeRecord, Paid, Payout, Redemption, VaultSpend};
use indicatif::ProgressBar;
use proptest::collection::vec;
use proptest::prelude::*;

use super::world::{Call, SCRIPT, World, destroy, user, wei, withdraw};
use crate::invariant::{Sums, Violation};
use crate::store::StoreError;
use crate::store::admin::check;

/// Operators: each is the id of a transaction.
const OPERATORS: u8 = 2;

#[derive(Clone, Debug)]
enum Step {
    Deposit(u8, u64),
    Withdraw(u8, u64, u64),
    Payout(u8, Vec<(u8, bool)>),
    Assign(u8, u8, u8),
    Spend(Vec<u8>, bool),
    Redeem(u8, u8),
    Transfer(u8, u8, u64),
    Burn(u8, u64),
    Force(u8, u64),
    Empty,
    Back(u8),
    Reopen,
    Prune,
}

fn any_step() -> impl Strategy<Value = Step> {
    let sats = || prop_oneof![Just(50_000_u64), 600_u64..60_000];
    prop_oneof![
        4 => (0_u8..5, sats()).prop_map(|(to, sats)| Step::Deposit(to, sats)),
        4 => (0_u8..3, sats(), 0_u64..700).prop_map(|(from, sats, fee)| Step::Withdraw(from, sats, fee)),
        4 => (0..OPERATORS, vec((any::<u8>(), any::<bool>()), 1..4)).prop_map(|(by, paid)| Step::Payout(by, paid)),
        4 => (0..OPERATORS, 0_u8..4, any::<u8>()).prop_map(|(by, ticket, of)| Step::Assign(by, ticket, of)),
        3 => (vec(any::<u8>(), 1..4), any::<bool>()).prop_map(|(of, split)| Step::Spend(of, split)),
        1 => (0..OPERATORS, 0_u8..5).prop_map(|(by, to)| Step::Redeem(by, to)),
        1 => (0_u8..3, 0_u8..3, any::<u64>()).prop_map(|(from, to, wei)| Step::Transfer(from, to, wei)),
        1 => (0_u8..3, any::<u64>()).prop_map(|(from, wei)| Step::Burn(from, wei)),
        1 => (0_u8..3, any::<u64>()).prop_map(|(from, wei)| Step::Force(from, wei)),
        1 => Just(Step::Empty),
        3 => any::<u8>().prop_map(Step::Back),
        1 => Just(Step::Reopen),
        1 => Just(Step::Prune),
    ]
}

/// Who gets a deposit: users, the bridge, and a contract that takes no money.
fn recipient(id: u8) -> Address {
    match id {
        3 => BRIDGE,
        4 => BITCOIN_BLOCKS,
        id => user(id),
    }
}

fn operator(id: u8) -> B256 {
    B256::repeat_byte(0x0f + id)
}

/// What is known of a block beside the chain.
#[derive(Clone, Copy, Default)]
struct Known {
    burnt: U256,
    forced: U256,
}

struct History {
    world: World,
    /// Every output that was ever in the vault.
    outputs: Vec<OutPoint>,
    /// What is known of blocks, from genesis on.
    known: Vec<Known>,
}

impl History {
    fn new() -> Self {
        Self {
            world: World::new(),
            outputs: Vec::new(),
            known: vec![Known::default()],
        }
    }

    fn run(&mut self, step: Step) {
        let mut known = self.known[self.known.len() - 1];
        let (inbox, calls) = match step {
            Step::Back(count) => return self.back(count),
            Step::Reopen => return self.world.reopen(),
            Step::Prune => return self.prune(),
            Step::Burn(from, amount) => {
                known.burnt += U256::from(amount);
                (vec![], vec![destroy(user(from), None, U256::from(amount))])
            }
            Step::Force(from, amount) => {
                known.forced += U256::from(amount);
                (
                    vec![],
                    vec![destroy(user(from), Some(BRIDGE), U256::from(amount))],
                )
            }
            Step::Withdraw(from, sats, fee) => (vec![], vec![withdraw(user(from), sats, fee)]),
            Step::Transfer(from, to, amount) => {
                let call = Call {
                    from: user(from),
                    to: TxKind::Call(user(to)),
                    wei: U256::from(amount),
                    input: Default::default(),
                };
                (vec![], vec![call])
            }
            Step::Empty => (vec![], vec![]),
            step => (vec![self.record(step)], vec![]),
        };
        let from_inbox = inbox.len();
        let ended = self.world.block(inbox, calls);
        assert!(
            ended[..from_inbox].iter().all(|ended| *ended),
            "records never fail"
        );
        self.known.push(known);
        assert_eq!(self.world.broken(), []);
        self.check();
    }

    /// Makes what Bitcoin says of the bridge.
    fn record(&mut self, step: Step) -> Transaction {
        let record = match step {
            Step::Deposit(to, sats) => {
                let (output, transaction) = self.world.deposit(recipient(to), sats);
                self.outputs.push(output);
                return transaction;
            }
            Step::Payout(by, paid) => BridgeRecord::Payout(self.payout(by, paid)),
            Step::Assign(by, ticket, of) => BridgeRecord::Assignment(Assignment {
                ticket: OutPoint {
                    txid: operator(by),
                    vout: ticket.into(),
                },
                vault_output: self.output(of),
            }),
            Step::Spend(of, split) => BridgeRecord::VaultSpend(self.spend(of, split)),
            Step::Redeem(by, to) => BridgeRecord::Redemption(Redemption {
                spent: OutPoint {
                    txid: operator(by),
                    vout: 9,
                },
                to: recipient(to),
            }),
            other => panic!("{other:?} is no record"),
        };
        self.world.record(record)
    }

    fn output(&self, of: u8) -> OutPoint {
        let count = self.outputs.len().max(1);
        let output = self.outputs.get(usize::from(of) % count);
        output.copied().unwrap_or_default()
    }

    fn payout(&mut self, by: u8, paid: Vec<(u8, bool)>) -> Payout {
        let count = self.world.withdrawals();
        let paid = paid.into_iter().map(|(id, right)| {
            // One more than there are.
            let id = u64::from(id) % (count + 1);
            Paid {
                id,
                sats: self.world.asked(id) + u64::from(!right),
                script: SCRIPT.to_vec().into(),
            }
        });
        let paid = paid.collect();
        Payout {
            txid: self.world.outpoint().txid,
            operator: operator(by),
            paid,
        }
    }

    /// Spends outputs as members do: all of them to the vault again, or assigned ones alone to their operator.
    fn spend(&mut self, of: Vec<u8>, split: bool) -> VaultSpend {
        // A set: no transaction on Bitcoin spends an output twice, so the chain records none that does.
        let inputs: BTreeSet<OutPoint> = of.into_iter().map(|of| self.output(of)).collect();
        let (mut held, mut is_taken) = (0, true);
        for input in &inputs {
            let (sats, assigned) = self.world.vault_output(input);
            if sats > 0 {
                held += sats;
                is_taken &= assigned;
            }
        }
        let kept = if is_taken && !split { 0 } else { held };
        let txid = self.world.outpoint().txid;
        let half = if split { kept / 2 } else { 0 };
        let amounts = [half, kept - half];
        let outputs = (0_u32..).zip(amounts).filter(|(_, sats)| *sats > 0);
        let outputs: Vec<AddedOutput> = outputs.map(|(vout, sats)| AddedOutput { vout, sats }).collect();
        let added = outputs.iter().map(|added| OutPoint {
            txid,
            vout: added.vout,
        });
        self.outputs.extend(added);
        VaultSpend {
            txid,
            inputs: inputs.into_iter().collect(),
            outputs,
        }
    }

    /// Takes blocks back.
    fn back(&mut self, count: u8) {
        let latest = self.world.latest();
        let to = latest.saturating_sub(u64::from(count) % 5).max(self.first());
        self.world
            .store()
            .write(|writer| writer.rollback_latest_to(to))
            .unwrap();
        self.known.truncate(usize::try_from(to).unwrap() + 1);
        self.check();
    }

    fn first(&self) -> u64 {
        self.world.store().read().unwrap().history_start().unwrap()
    }

    /// Makes all but the last two blocks final, and forgets their states.
    fn prune(&mut self) {
        let to = self.world.latest().saturating_sub(2).max(self.first());
        let pruned = self.world.store().write(|writer| -> Result<_, StoreError> {
            writer.set_safe(to)?;
            writer.set_finalized(to)?;
            writer.prune_history(to, u64::MAX)
        });
        assert!(pruned.unwrap().done);
        let view = self.world.store().read().unwrap();
        assert_eq!(
            view.supply(to).unwrap().map(|supply| supply.burnt),
            Some(self.known[to as usize].burnt)
        );
        if let Some(gone) = to.checked_sub(1) {
            assert_eq!(view.supply(gone).unwrap(), None);
        }
    }

    fn check(&self) -> Sums {
        let sums = self.world.verify().unwrap();
        let known = self.known[self.known.len() - 1];
        assert_eq!(sums.burnt, known.burnt);
        assert_eq!(sums.bridge_balance - sums.owed(), known.forced);
        sums
    }
}

fn sound(world: &World) {
    let report = check(&world.store().read().unwrap(), &|_, _| ProgressBar::hidden()).unwrap();
    assert!(report.faults.is_empty(), "{report}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn every_sum_holds_after_every_block(steps in vec(any_step(), 1..40)) {
        let mut history = History::new();
        for step in steps {
            history.run(step);
        }
        sound(&history.world);
    }
}

/// From the deposit to the reimbursement, with the sums by hand.
#[test]
fn one_round_through_the_bridge() {
    let mut history = History::new();
    history.run(Step::Deposit(0, 50_000));
    history.run(Step::Deposit(4, 7_000));
    history.run(Step::Withdraw(1, 50_300, 250));
    history.run(Step::Payout(0, vec![(0, true)]));
    history.run(Step::Assign(0, 0, 0));
    let sums = history.check();
    let totals = (sums.vault, sums.pending, sums.credit, sums.in_flight);
    assert_eq!(totals, (57_000, 0, 300, 50_000));
    assert_eq!((sums.settled, sums.unclaimed), (50_000, 7_000));
    history.run(Step::Spend(vec![0], false));
    history.run(Step::Redeem(0, 2));
    history.run(Step::Burn(1, 12_345));
    history.run(Step::Force(1, 17));
    let sums = history.check();
    let totals = (sums.vault, sums.pending, sums.credit, sums.in_flight);
    assert_eq!(totals, (7_000, 0, 0, 0));
    assert_eq!(sums.supply + sums.burnt - sums.genesis, wei(57_000));
    assert_eq!(
        (sums.burnt, sums.bridge_balance),
        (U256::from(12_345), wei(57_000) + U256::from(17))
    );
    sound(&history.world);
}

#[test]
fn a_vault_that_members_broke_is_told_by_the_contract_and_stays_wrong_by_the_same() {
    let mut history = History::new();
    history.run(Step::Deposit(0, 50_000));
    let txid = history.world.outpoint().txid;
    let spend = BridgeRecord::VaultSpend(VaultSpend {
        txid,
        inputs: vec![history.output(0)],
        outputs: vec![AddedOutput {
            vout: 1,
            sats: 49_000,
        }],
    });
    let record = history.world.record(spend);
    assert_eq!(history.world.block(vec![record], vec![]), [true]);
    let broken = Violation::VaultBroken {
        block: 2,
        txid,
        spent: 50_000,
        added: 49_000,
    };
    assert_eq!(history.world.broken(), [broken]);
    let first = history.world.verify().unwrap_err();
    let (expected, got) = (wei(50_000), wei(49_000));
    assert_eq!(
        first,
        Violation::Vault {
            block: 2,
            expected,
            got
        }
    );
    history.world.block(vec![], vec![]);
    let second = history.world.verify().unwrap_err();
    assert_eq!((second.block(), second.name()), (Some(3), first.name()));
}

/// A deposit that no Bitcoin transaction made mints nothing that is backed.
#[test]
fn a_minting_transaction_outside_the_inbox_is_a_violation() {
    let mut world = World::new();
    let (_, deposit) = world.deposit(user(0), 1_000);
    world.block(vec![deposit], vec![]);
    let store = world.store();
    let facts = crate::engine::facts_at(&store.read().unwrap(), 1).unwrap();
    assert!(crate::invariant::verify(&facts).is_ok());
    let (before, minted) = facts.before.unwrap();
    assert_eq!(minted, wei(1_000));
    let unbacked = crate::invariant::Facts {
        before: Some((before, U256::ZERO)),
        ..facts
    };
    let violation = crate::invariant::verify(&unbacked).unwrap_err();
    assert_eq!(violation.rule(), "conservation");
}

/// A figure, not a test: what the sums cost per block, beside its execution and its write.
#[test]
#[ignore = "a figure: run it with --nocapture"]
fn what_the_sums_cost() {
    let mut world = World::new();
    let blocks = 200;
    let (mut whole, mut sums) = (Duration::ZERO, Duration::ZERO);
    for round in 0..blocks {
        let (_, deposit) = world.deposit(user(0), 50_000);
        let calls = (0..100)
            .map(|id| withdraw(user(id), 1_000 + round, 100))
            .collect();
        let start = Instant::now();
        world.block(vec![deposit], calls);
        whole += start.elapsed();
        let view = world.store().read().unwrap();
        let start = Instant::now();
        let facts = crate::engine::facts_at(&view, round + 1).unwrap();
        assert!(crate::invariant::verify(&facts).is_ok());
        sums += start.elapsed();
    }
    let per = |spent: Duration| spent / u32::try_from(blocks).unwrap();
    println!(
        "a block of 101 transactions: {:?}; its sums: {:?}",
        per(whole),
        per(sums)
    );
}
