//! Every rule at its edge, on sums that were made up.

use alloy_consensus::constants::KECCAK_EMPTY;
use alloy_primitives::{Address, B256, U256};
use bitsect_vm::chain::{OutPoint, SATS_TO_WEI};
use bitsect_vm::state::{Account, AccountChange, StateChanges};
use proptest::prelude::*;

use crate::invariant::{Facts, Flow, Supply, Violation, verify};

fn sats(amount: u64) -> U256 {
    U256::from(amount) * U256::from(SATS_TO_WEI)
}

fn word(limbs: [u64; 4]) -> U256 {
    U256::from_limbs(limbs)
}

/// A bridge in the middle of its life: 1,000 sats came in, 300 were settled of which 100 are still in the vault.
fn facts() -> Facts {
    let genesis = U256::from(77);
    let total = genesis + sats(1_000) - U256::from(5);
    let burnt = U256::from(5);
    Facts {
        block: 9,
        genesis,
        before: Some((
            Supply {
                total: total - sats(40),
                burnt,
            },
            sats(40),
        )),
        after: Supply { total, burnt },
        bridge_balance: sats(50 + 20 + 300 + 8),
        totals: word([800, 50, 20, 100]),
        counts: word([3, 300, 8, 0]),
    }
}

#[test]
fn sums_that_hold_are_given() {
    let sums = verify(&facts()).unwrap();
    assert_eq!(
        (sums.vault, sums.pending, sums.credit, sums.in_flight),
        (800, 50, 20, 100)
    );
    assert_eq!((sums.settled, sums.unclaimed, sums.block), (300, 8, 9));
    assert_eq!(sums.owed(), sums.bridge_balance);
    // What is forced upon the bridge is no fault: it is somebody's balance less.
    let mut forced = facts();
    forced.bridge_balance += U256::from(1);
    assert!(verify(&forced).is_ok());
    // Where the state before is not held, the other rules are checked.
    let held = Facts {
        before: None,
        ..facts()
    };
    assert!(verify(&held).is_ok());
}

#[test]
fn a_balance_out_of_nothing_is_a_violation() {
    let account = |wei: u64| Account {
        nonce: 0,
        balance: U256::from(wei),
        code_hash: KECCAK_EMPTY,
        code_size: 0,
    };
    let change = |before: Option<u64>, after: Option<u64>| AccountChange {
        before: before.map(account),
        after: after.map(account),
        ..AccountChange::default()
    };
    let changes = |list: Vec<AccountChange>| StateChanges {
        accounts: (0..).map(Address::with_last_byte).zip(list).collect(),
    };
    let before = facts().after;
    // What one loses another has; or it is burnt.
    let moved = Flow::of(&changes(vec![change(Some(9), None), change(None, Some(9))]), &[]);
    let burnt = Flow::of(&changes(vec![change(Some(9), None), change(None, Some(2))]), &[]);
    for (flow, burnt) in [(moved, 0), (burnt, 7)] {
        let after = before.after(&flow);
        assert_eq!(after.burnt - before.burnt, U256::from(burnt));
        let facts = Facts {
            before: Some((before, U256::ZERO)),
            after,
            ..facts()
        };
        assert!(verify(&facts).is_ok());
    }
    let flow = Flow::of(
        &changes(vec![change(Some(9), Some(4)), change(None, Some(6))]),
        &[],
    );
    let after = before.after(&flow);
    let made = Facts {
        before: Some((before, U256::ZERO)),
        after,
        ..facts()
    };
    let (expected, got) = (before.ever(), before.ever() + U256::from(1));
    let violation = verify(&made).unwrap_err();
    assert_eq!(
        violation,
        Violation::Conservation {
            block: 9,
            expected,
            got
        }
    );
    assert_eq!(
        violation.to_string(),
        "conservation after block 9: expected at most 10000000000077 wei of supply and burnt, got 10000000000078"
    );
    // One block later it is the vault that has less than there is, by the same amount in every block.
    let later = Facts {
        before: None,
        block: 10,
        ..made
    };
    let violation = verify(&later).unwrap_err();
    assert_eq!((violation.rule(), violation.block()), ("vault", Some(10)));
    assert_eq!(violation.name(), "vault -1");
}

#[test]
fn a_bridge_that_lacks_a_wei_is_a_violation() {
    let mut facts = facts();
    facts.bridge_balance -= U256::from(1);
    let violation = verify(&facts).unwrap_err();
    let (expected, got) = (sats(378), sats(378) - U256::from(1));
    assert_eq!(
        violation,
        Violation::BridgeBalance {
            block: 9,
            expected,
            got
        }
    );
    assert_eq!(violation.name(), "bridge-balance -1");
}

#[test]
fn a_vault_of_another_sum_is_a_violation() {
    for (vault, sign) in [(799, '-'), (801, '+')] {
        let facts = Facts {
            totals: word([vault, 50, 20, 100]),
            ..facts()
        };
        let violation = verify(&facts).unwrap_err();
        let (expected, got) = (sats(1_000), sats(vault + 200));
        assert_eq!(
            violation,
            Violation::Vault {
                block: 9,
                expected,
                got
            }
        );
        assert_eq!(violation.name(), format!("vault {sign}{SATS_TO_WEI}"));
    }
}

#[test]
fn an_output_that_left_is_named_as_bitcoin_shows_it() {
    let violation = Violation::OutputLeft {
        l1_height: 120,
        outpoint: OutPoint {
            txid: B256::with_last_byte(0xab),
            vout: 3,
        },
        sats: 5,
        by: B256::with_last_byte(0xcd),
    };
    let zeros = "0".repeat(62);
    assert_eq!(
        violation.to_string(),
        format!(
            "vault output ab{zeros}:3 of 5 sats left by cd{zeros} in L1 block 120: the chain does not know it"
        )
    );
    assert_eq!((violation.block(), violation.l1_height()), (None, Some(120)));
}

fn any_word() -> impl Strategy<Value = U256> {
    any::<[u64; 4]>().prop_map(word)
}

proptest! {
    /// No state, however wrong, makes the check fail otherwise than by a violation.
    #[test]
    fn any_facts_can_be_checked(
        words in any::<[[u64; 4]; 8]>(),
        totals in any_word(),
        has_before in any::<bool>(),
    ) {
        let [genesis, total, burnt, before, burnt_before, minted, bridge_balance, counts] = words.map(word);
        let facts = Facts {
            block: 1,
            genesis,
            before: has_before.then_some((Supply { total: before, burnt: burnt_before }, minted)),
            after: Supply { total, burnt },
            bridge_balance,
            totals,
            counts,
        };
        if let Err(violation) = verify(&facts) {
            prop_assert!(!violation.name().is_empty());
        }
    }

    /// Whatever a block does, what is there and what was burnt is what was there, what was burnt, and what came.
    #[test]
    fn a_flow_is_conserved(gained: u64, lost: u64, minted: u64) {
        let before = Supply { total: U256::from(u64::MAX), burnt: U256::from(3) };
        let flow = Flow { gained: U256::from(gained), lost: U256::from(lost), minted: U256::from(minted) };
        let after = before.after(&flow);
        prop_assert_eq!(after.total + flow.lost, before.total + flow.gained);
        let made = flow.gained.saturating_sub(flow.lost + flow.minted);
        prop_assert_eq!(after.ever(), before.ever() + flow.minted + made);
    }
}
