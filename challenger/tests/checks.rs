//! Claims of slots with a ticket: what is told of a check that holds, and of one that does not. A chain of one L2 state, in
//! which the bridge has an assignment.

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy_primitives::{B256, KECCAK256_EMPTY, U256};
use bitcoin::hashes::Hash;
use bitcoin::{OutPoint, Txid};
use bitsect_bridge::chain::{Answer, Chain, ChainError};
use bitsect_challenger::explain::{Check, Claimed, Explanation, Prefix, Verdict, Work, explain};
use bitsect_node::convert;
use bitsect_vm::chain::bridge::{OutputId, assignment_slot, output_id};
use bitsect_vm::chain::predeploys::BRIDGE;
use bitsect_vm::chain::{ChainParams, ChainState, DeriveParams, ExecutionParams, L1Network};
use bitsect_vm::check::{check_advice, checked_state};
use bitsect_vm::derive::L1Cursor;
use bitsect_vm::record::{UnitRecord, record_check};
use bitsect_vm::state::{Account, AccountChange, MemoryState, StateChanges};

/// The L1 block that the chain has read last.
const HEIGHT: u32 = 100;
const MATURITY: u32 = 6;
const WRONG: B256 = B256::repeat_byte(0xbb);

/// The chain has two units: it stood still in the first one, and the second one is any.
struct Assigned {
    params: ChainParams,
    state: ChainState,
    tree: MemoryState,
}

fn ticket(vout: u32) -> OutPoint {
    OutPoint {
        txid: Txid::from_byte_array([0x70; 32]),
        vout,
    }
}

fn name(ticket: &OutPoint) -> OutputId {
    output_id(&convert::chain_outpoint(ticket))
}

impl Assigned {
    /// Of each ticket the height at which its assignment was recorded.
    fn new(assignments: &[(OutPoint, u32)]) -> Self {
        let slots = assignments.iter().map(|(ticket, height)| {
            let value = (U256::from(*height) << 192_usize) | U256::from(7);
            (assignment_slot(&name(ticket)), (U256::ZERO, value))
        });
        let bridge = AccountChange {
            after: Some(Account {
                nonce: 1,
                balance: U256::ZERO,
                code_hash: KECCAK256_EMPTY,
                code_size: 0,
            }),
            storage: slots.collect(),
            ..AccountChange::default()
        };
        let mut tree = MemoryState::new();
        let accounts = BTreeMap::from([(BRIDGE, bridge)]);
        let root = tree.apply(&StateChanges { accounts }).unwrap();
        let params = params();
        let mut state = ChainState::genesis(&params, Default::default());
        state.tip.header.state_root = root;
        Self { params, state, tree }
    }
}

fn params() -> ChainParams {
    const BITS: u32 = 0x207f_ffff;
    let genesis_l1 = L1Cursor {
        hash: B256::repeat_byte(7),
        height: HEIGHT,
        work: U256::from(1),
        times: vec![1_000],
        fee_rates: vec![1_000],
        bits: BITS,
        interval_start_time: 1_000,
        interval_start_bits: BITS,
        last_hard_bits: BITS,
    };
    ChainParams {
        execution: ExecutionParams::ethereum(1, Default::default()),
        derive: DeriveParams {
            network: L1Network::Regtest,
            genesis_l1,
            baton: convert::chain_outpoint(&OutPoint::null()),
            vault_key: B256::repeat_byte(1),
            sequencing_window: 100,
            reveal_timeout: 50,
            refund_delay: 144,
            min_deposit: 10_000,
            max_drift: 600,
            max_batch_body: 1_000_000,
            forced_gas_limit: 1_000_000,
            claim_maturity: MATURITY,
        },
    }
}

impl Chain for Assigned {
    fn unit_count(&self) -> Answer<'_, u64> {
        Box::pin(async { Ok(2) })
    }

    fn l1_height(&self) -> Answer<'_, u32> {
        Box::pin(async { Ok(HEIGHT) })
    }

    fn state(&self, unit: u64) -> Answer<'_, Option<B256>> {
        let state = match unit {
            0 | 1 => Some(self.state.commitment()),
            2 => Some(B256::repeat_byte(2)),
            _ => None,
        };
        Box::pin(async move { Ok(state) })
    }

    fn record(&self, unit: u64) -> Answer<'_, Option<UnitRecord>> {
        panic!("unit {unit} is no check, and nothing is wrong with it");
    }

    fn check(&self, unit: u64, ticket: OutputId) -> Answer<'_, Option<UnitRecord>> {
        let record = record_check(&self.params, &self.state, &ticket, &self.tree).unwrap();
        Box::pin(async move { Ok((unit < 2).then_some(record)) })
    }

    fn l1_block(&self, _: B256) -> Answer<'_, Option<Vec<u8>>> {
        Box::pin(async { Ok(None) })
    }

    fn program(&self) -> Result<&[u8], ChainError> {
        Err(ChainError::NoProgram)
    }
}

/// Explains a claim of these units that ends with the ticket's check.
async fn told(assigned: Assigned, ticket: OutPoint, units: u64, state: B256) -> Explanation {
    let params = assigned.params.clone();
    let known = assigned.state.commitment();
    let chain: Arc<dyn Chain> = Arc::new(assigned);
    let claimed = Claimed {
        start: 0,
        units,
        state: Prefix::of(&state),
        ticket: Some(ticket),
        height: Some(HEIGHT),
        states: (1..units.min(2)).map(|at| (at, Prefix::of(&known))).collect(),
        trace: None,
        receipts: None,
    };
    let explained = explain(&chain, &params, None, &claimed).await;
    explained.expect("an explanation")
}

#[tokio::test]
async fn a_check_that_holds_makes_the_claim_true() {
    for units in [1, 2] {
        let chain = Assigned::new(&[(ticket(3), HEIGHT - MATURITY)]);
        let expected = checked_state(&chain.state.commitment(), &check_advice(&name(&ticket(3))));
        let right = told(chain, ticket(3), units, expected).await;
        assert_eq!((right.verdict, right.unit), (Verdict::Right, None));

        // Any other state is false, the chain's own after as many units, too.
        let chain = Assigned::new(&[(ticket(3), HEIGHT - MATURITY)]);
        let own = chain.state(units).await.unwrap().unwrap();
        let wrong = told(chain, ticket(3), units, own).await;
        let verdict = Verdict::Wrong {
            right_until: units - 1,
            wrong_from: units,
            claimed: Prefix::of(&own),
            expected: Some(expected),
        };
        assert_eq!(wrong.verdict, verdict);
        let unit = wrong.unit.unwrap();
        assert_eq!(unit.unit, units - 1);
        let (ticket, check) = (name(&ticket(3)), Check::Holds);
        assert_eq!(unit.work, Work::Check { ticket, check });
    }
}

#[tokio::test]
async fn a_check_that_does_not_hold_is_told_why() {
    let young = Check::Immature {
        recorded: HEIGHT - MATURITY + 1,
        blocks: MATURITY,
        height: HEIGHT,
    };
    let cases = [
        (vec![], Check::Unassigned, "has no assignment"),
        (
            vec![(ticket(4), HEIGHT - MATURITY)],
            Check::Unassigned,
            "has no assignment",
        ),
        (
            vec![(ticket(3), HEIGHT - MATURITY + 1)],
            young,
            "has one that is too young: recorded at L1 block 95, it needs 6 blocks, and the last is 100",
        ),
    ];
    for (assignments, check, words) in cases {
        for units in [1, 2] {
            let chain = Assigned::new(&assignments);
            // What the check would give if it held is false all the same.
            let (before, name) = (chain.state.commitment(), name(&ticket(3)));
            let given = checked_state(&before, &check_advice(&name));
            for state in [WRONG, given] {
                let told = told(Assigned::new(&assignments), ticket(3), units, state).await;
                let verdict = Verdict::Wrong {
                    right_until: units - 1,
                    wrong_from: units,
                    claimed: Prefix::of(&state),
                    expected: None,
                };
                assert_eq!(told.verdict, verdict);
                let text = told.to_string();
                assert!(
                    text.contains(&format!("is the claim's check: ticket {name} {words}")),
                    "{text}"
                );
                assert!(
                    text.contains("true     none: the claim's check does not hold"),
                    "{text}"
                );
                let json = serde_json::to_value(&told).unwrap();
                assert_eq!(json["unit"]["does"], "check");
                assert_eq!(told.unit.unwrap().work, Work::Check { ticket: name, check });
            }
        }
    }
}

#[tokio::test]
async fn a_check_of_the_future_is_ahead() {
    let chain = Assigned::new(&[(ticket(3), HEIGHT - MATURITY)]);
    let ahead = told(chain, ticket(3), 3, WRONG).await;
    let (have, need, height) = (2, 3, HEIGHT);
    assert_eq!(ahead.verdict, Verdict::Ahead { have, need, height });
}
