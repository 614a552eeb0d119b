use bitcoin::hashes::Hash;
use bitcoin::{Amount, ScriptBuf};
use proptest::prelude::*;

use super::super::node::L2Block;
use super::super::terms::tests::terms;
use super::*;

fn deposit(height: Option<u32>, spend: Option<Spend>) -> Deposit {
    Deposit {
        tag: ScriptBuf::new(),
        key: 0,
        amount: Amount::from_sat(50_000),
        counts: true,
        height,
        spend,
        transaction: None,
        refund: None,
        untold: false,
    }
}

fn at(tip: u32) -> Around {
    Around {
        tip,
        needed: 6,
        ..Around::default()
    }
}

fn name(deposit: &Deposit, around: &Around) -> String {
    let stage = stage(&terms(), OutPoint::null(), deposit, around);
    let json = serde_json::to_value(stage).unwrap();
    json["stage"].as_str().unwrap().to_owned()
}

#[test]
fn stages_change_at_their_blocks() {
    let made = deposit(None, None);
    assert_eq!(name(&made, &at(10)), "unsent");
    let mut seen = at(10);
    seen.mempool.deposit = true;
    assert_eq!(name(&made, &seen), "mempool");
    let made = deposit(Some(1_000), None);
    for (tip, expected) in [
        (1_000, "confirming"),
        (1_004, "confirming"),
        (1_005, "waitingForAccept"),
        (1_100, "waitingForAccept"),
        (1_101, "expired"),
        (1_198, "expired"),
        (1_199, "refundable"),
    ] {
        assert_eq!(name(&made, &at(tip)), expected, "{tip}");
    }
    // Below the least amount, or not the first: nobody accepts it.
    let ignored = Deposit {
        counts: false,
        ..made.clone()
    };
    assert_eq!(name(&ignored, &at(1_005)), "expired");
    let txid = Txid::all_zeros();
    let mut seen = at(1_010);
    seen.mempool.spend = Some((txid, SpendKind::Accept { vout: 0 }));
    assert_eq!(name(&made, &seen), "acceptInMempool");
    seen.tip = 1_198;
    assert_eq!(name(&made, &seen), "acceptInMempool");
    seen.tip = 1_199;
    assert_eq!(name(&made, &seen), "refundable");
    seen.mempool.spend = Some((txid, SpendKind::Refund));
    assert_eq!(name(&made, &seen), "refundInMempool");
}

#[test]
fn what_spent_it_decides_the_end() {
    let spent = |kind, height| {
        let txid = Txid::all_zeros();
        deposit(Some(1_000), Some(Spend { txid, kind, height }))
    };
    let accept = SpendKind::Accept { vout: 0 };
    assert_eq!(name(&spent(accept, 1_250), &at(1_300)), "accepted");
    let ignored = Deposit {
        counts: false,
        ..spent(accept, 1_100)
    };
    assert_eq!(name(&ignored, &at(1_300)), "spent");
    assert_eq!(name(&spent(SpendKind::Refund, 1_200), &at(1_300)), "refunded");
    assert_eq!(name(&spent(SpendKind::Other, 1_200), &at(1_300)), "spent");
    let mut minted = at(1_300);
    minted.minted = Some(MintedDeposit {
        block: L2Block { number: 5 },
        transaction_hash: B256::ZERO,
        success: Some(true),
    });
    assert_eq!(name(&spent(accept, 1_100), &minted), "minted");
}

proptest! {
    /// Time alone only moves a deposit on, and the blocks left lead to the block that is named.
    #[test]
    fn time_moves_on(height in 1..100_000_u32, tip in 1..101_000_u32, needed in 1..30_u32) {
        let order = |stage: &Stage| match stage {
            Stage::Confirming { .. } => 0,
            Stage::WaitingForAccept { .. } => 1,
            Stage::Expired { .. } => 2,
            Stage::Refundable { .. } => 3,
            other => panic!("{other:?}"),
        };
        let tip = height.max(tip);
        let made = deposit(Some(height), None);
        let look = |tip| stage(&terms(), OutPoint::null(), &made, &Around { needed, ..at(tip) });
        prop_assert!(order(&look(tip)) <= order(&look(tip + 1)));
        match look(tip) {
            Stage::Expired { blocks_left, refund_height } => {
                prop_assert_eq!(order(&look(tip + blocks_left)), 3);
                prop_assert_eq!(order(&look(tip + blocks_left - 1)), 2);
                prop_assert_eq!(refund_height, tip + blocks_left + 1);
            }
            Stage::WaitingForAccept { blocks_left, members_sign_until_height, .. } => {
                prop_assert_eq!(order(&look(tip + blocks_left)), 1);
                prop_assert_eq!(order(&look(tip + blocks_left + 1)), 2);
                prop_assert_eq!(members_sign_until_height, tip + blocks_left);
            }
            _ => {}
        }
    }
}
