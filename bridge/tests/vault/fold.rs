//! The vault as members fold it, beside derivation on the same blocks.

use std::collections::BTreeSet;

use bitcoin::absolute::LockTime;
use bitcoin::hashes::Hash;
use bitcoin::transaction::Version;
use bitcoin::{Amount, BlockHash, Network, OutPoint, Transaction, TxIn, TxOut, Txid, Witness};
use bitsect_bridge::user::{Order, Terms};
use bitsect_bridge::vault::VaultState;
use bitsect_l1::BlockRef;
use bitsect_vm::derive::{InboxItem, MAX_OPEN_DEPOSITS};
use proptest::prelude::*;

use crate::chain::Derived;
use crate::common::Parties;

const DELAY: u16 = 3;
const LEAST: u64 = 10_000;

/// How an input is spent: its witness, element by element.
const WITNESSES: [&[&[u8]]; 6] = [
    &[&[1; 64]],
    &[&[1; 65]],
    &[&[1; 64], &[0x50, 7]],
    &[&[1; 63]],
    &[&[1; 64], &[2; 34], &[3; 33]],
    &[&[1; 64], &[0x51, 7]],
];

/// A deposit, or what spends one of those before it.
#[derive(Clone, Debug)]
enum Step {
    Deposit {
        sats: u64,
        in_coinbase: bool,
    },
    Spend {
        which: usize,
        witness: usize,
        pays_vault: bool,
        is_moved: bool,
    },
}

struct Both {
    derived: Derived,
    fold: VaultState,
    made: Vec<OutPoint>,
    number: u32,
}

impl Both {
    fn new() -> Self {
        let parties = Parties::new(1);
        let derived = Derived::new(&parties, DELAY);
        let terms = Terms {
            name: "test".to_owned(),
            chain_id: 7,
            network: Network::Regtest,
            vault_key: parties.committee.x_only_public_key().0,
            refund_delay: DELAY,
            sequencing_window: 100,
            min_deposit: Amount::from_sat(LEAST),
            start: BlockRef::new(derived.state.l1.height, BlockHash::all_zeros()),
        };
        Self {
            derived,
            fold: VaultState::new(terms, vec![]),
            made: vec![],
            number: 0,
        }
    }

    fn spending(&self, spent: OutPoint, witness: usize, output: Vec<TxOut>) -> Transaction {
        Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![TxIn {
                previous_output: spent,
                witness: Witness::from_slice(WITNESSES[witness]),
                ..TxIn::default()
            }],
            output,
        }
    }

    /// The outputs of another deposit.
    fn deposit(&mut self, sats: u64) -> Vec<TxOut> {
        let terms = self.fold.terms();
        let order = Order::new([7; 20].into(), &terms.vault_key, None).unwrap();
        order.outputs(terms, Amount::from_sat(sats))
    }

    fn deposits(&mut self, sats: u64) -> Transaction {
        self.number += 1;
        let outputs = self.deposit(sats);
        let spent = OutPoint::new(Txid::from_byte_array([9; 32]), self.number);
        let transaction = self.spending(spent, 0, outputs);
        self.made.push(OutPoint::new(transaction.compute_txid(), 0));
        transaction
    }

    /// Spends one of the deposits that are there.
    fn spends(
        &mut self,
        which: usize,
        witness: usize,
        pays_vault: bool,
        is_moved: bool,
    ) -> Option<Transaction> {
        if self.made.is_empty() {
            return None;
        }
        let spent = self.made.remove(which % self.made.len());
        let output = |script_pubkey| TxOut {
            value: Amount::from_sat(5_000),
            script_pubkey,
        };
        let to_vault = output(self.fold.terms().vault_script());
        let other = output(bitcoin::ScriptBuf::new_p2a());
        let outputs = match (pays_vault, is_moved) {
            (true, false) => vec![to_vault],
            (true, true) => vec![other, to_vault],
            (false, _) => vec![other],
        };
        Some(self.spending(spent, witness, outputs))
    }

    /// Both read a block, and see the same.
    fn read(&mut self, coinbase: Vec<TxOut>, transactions: Vec<Transaction>) {
        let before: BTreeSet<OutPoint> = self.fold.outputs().map(|(outpoint, _)| *outpoint).collect();
        let (items, all) = self.derived.read_block(coinbase, transactions);
        let tip = self.derived.state.l1.height;
        for transaction in &all {
            self.fold.apply(transaction, tip);
        }
        let open = self.derived.state.deposits.iter();
        let open: BTreeSet<_> = open.map(|open| (outpoint(&open.outpoint), open.height)).collect();
        let folded = self.fold.open_deposits();
        let folded: BTreeSet<_> = folded.map(|(outpoint, open)| (*outpoint, open.height)).collect();
        assert_eq!(folded, open, "open deposits at {tip}");
        let accepted: BTreeSet<(OutPoint, u64)> = items
            .iter()
            .filter_map(|item| match item {
                InboxItem::Deposit(accepted) => Some((outpoint(&accepted.vault_output), accepted.sats)),
                _ => None,
            })
            .collect();
        let added = self
            .fold
            .outputs()
            .filter(|(outpoint, _)| !before.contains(outpoint));
        let added: BTreeSet<_> = added
            .map(|(outpoint, added)| (*outpoint, added.amount.to_sat()))
            .collect();
        assert_eq!(added, accepted, "vault outputs at {tip}");
    }

    fn take(&mut self, steps: Vec<Step>) {
        let (mut coinbase, mut transactions) = (vec![], vec![]);
        for step in steps {
            match step {
                Step::Deposit {
                    sats,
                    in_coinbase: true,
                } => coinbase = self.deposit(sats),
                Step::Deposit { sats, .. } => transactions.push(self.deposits(sats)),
                Step::Spend {
                    which,
                    witness,
                    pays_vault,
                    is_moved,
                } => {
                    transactions.extend(self.spends(which, witness, pays_vault, is_moved));
                }
            }
        }
        self.read(coinbase, transactions);
    }
}

fn outpoint(outpoint: &bitsect_vm::chain::OutPoint) -> OutPoint {
    OutPoint::new(Txid::from_byte_array(outpoint.txid.0), outpoint.vout)
}

fn step() -> impl Strategy<Value = Step> {
    let sats = prop_oneof![Just(LEAST - 1), Just(LEAST), LEAST..1_000_000];
    let deposit =
        (sats, prop::bool::weighted(0.2)).prop_map(|(sats, in_coinbase)| Step::Deposit { sats, in_coinbase });
    // Mostly what an accept is.
    let witness = prop_oneof![3 => Just(0_usize), 1 => 0..WITNESSES.len()];
    let spend = (
        any::<usize>(),
        witness,
        prop::bool::weighted(0.8),
        prop::bool::weighted(0.2),
    )
        .prop_map(|(which, witness, pays_vault, is_moved)| Step::Spend {
            which,
            witness,
            pays_vault,
            is_moved,
        });
    prop_oneof![2 => deposit, 3 => spend]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn members_see_the_deposits_that_derivation_sees(
        blocks in prop::collection::vec(prop::collection::vec(step(), 0..5), 1..14),
    ) {
        let mut both = Both::new();
        for steps in blocks {
            both.take(steps);
        }
    }
}

#[test]
fn an_accept_counts_long_after_the_refund_was_possible() {
    let mut both = Both::new();
    let deposit = both.deposits(LEAST);
    both.read(vec![], vec![deposit]);
    (0..DELAY * 3).for_each(|_| both.read(vec![], vec![]));
    let accept = both.spends(0, 0, true, false).unwrap();
    both.read(vec![], vec![accept]);
    assert_eq!(both.fold.outputs().count(), 1);
}

#[test]
fn so_many_deposits_are_open_and_no_more() {
    let mut both = Both::new();
    let many: Vec<Transaction> = (0..MAX_OPEN_DEPOSITS + 2).map(|_| both.deposits(LEAST)).collect();
    both.read(vec![], many);
    assert_eq!(both.fold.deposits().count(), MAX_OPEN_DEPOSITS);
    // One that was not taken stays so; where one leaves there is room for one.
    let late = both.spends(MAX_OPEN_DEPOSITS, 0, true, false).unwrap();
    let accept = both.spends(5, 0, true, false).unwrap();
    let more = [both.deposits(LEAST), both.deposits(LEAST)];
    both.read(vec![], [&[late, accept][..], &more].concat());
    assert_eq!(both.fold.outputs().count(), 1);
    assert_eq!(both.fold.deposits().count(), MAX_OPEN_DEPOSITS + 1);
    // Forgotten ones make room, those with the lowest outpoint first, and no block earlier.
    (0..DELAY * 2 - 3).for_each(|_| both.read(vec![], vec![]));
    for count in [1, 3, 5] {
        let new = [both.deposits(LEAST), both.deposits(LEAST)];
        both.read(vec![], new.into());
        assert_eq!(both.fold.deposits().count(), MAX_OPEN_DEPOSITS + count);
    }
}
