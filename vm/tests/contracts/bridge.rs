//! What the protocol records in `Bridge` of Bitcoin, called through bare revm within the gas that derivation gives:
//! every amount to the sat, every refusal, and the sums after each step.

use crate::chain::{Bridge, Chain, USER, origin};
use alloy_primitives::{Address, B256, Bytes, Log, U256, hex};
use alloy_sol_types::{SolCall, SolError, SolEvent};
use bitsect_vm::chain::bridge::{
    COUNTS_SLOT, TOTALS_SLOT, assigned_height, assignment_slot, output_id, vault_output_slot,
};
use bitsect_vm::chain::predeploys::{BRIDGE, SYSTEM_CALLER};
use bitsect_vm::chain::{BlobRef, OutPoint, sats_to_wei};
use bitsect_vm::derive::{
    AcceptedDeposit, AddedOutput, Assignment, BridgeRecord, DepositCall, InboxItem, MAX_DEPOSIT_CALL,
    MAX_PAYOUT_IDS, MAX_RECORD_GAS, MAX_VAULT_OUTPUTS, Paid, Payout, Redemption, VaultSpend,
};
use proptest::prelude::*;

const OPERATOR: B256 = B256::repeat_byte(0x0f);
const RECIPIENT: Address = Address::repeat_byte(0x77);

fn script(byte: u8) -> Bytes {
    [&[0x51, 0x20][..], &[byte; 32]].concat().into()
}

fn outpoint(byte: u8, vout: u32) -> OutPoint {
    OutPoint {
        txid: B256::repeat_byte(byte),
        vout,
    }
}

fn deposit_of(vault_output: OutPoint, sats: u64, call: &[u8]) -> InboxItem {
    InboxItem::Deposit(AcceptedDeposit {
        vault_output,
        to: RECIPIENT,
        sats,
        call: if call.is_empty() {
            BlobRef::default()
        } else {
            BlobRef::of(call)
        },
    })
}

fn payout(paid: &[(u64, u64, Bytes)]) -> InboxItem {
    payout_of(OPERATOR, paid)
}

fn payout_of(operator: B256, paid: &[(u64, u64, Bytes)]) -> InboxItem {
    let paid = paid.iter().cloned();
    InboxItem::Record(BridgeRecord::Payout(Payout {
        txid: B256::repeat_byte(0xee),
        operator,
        paid: paid.map(|(id, sats, script)| Paid { id, sats, script }).collect(),
    }))
}

fn assignment(ticket: u32, vault_output: OutPoint) -> InboxItem {
    assignment_of(OPERATOR, ticket, vault_output)
}

fn assignment_of(operator: B256, ticket: u32, vault_output: OutPoint) -> InboxItem {
    let ticket = OutPoint {
        txid: operator,
        vout: ticket,
    };
    InboxItem::Record(BridgeRecord::Assignment(Assignment { ticket, vault_output }))
}

fn spend(by: u8, inputs: &[OutPoint], outputs: &[(u32, u64)]) -> InboxItem {
    let outputs = outputs.iter().map(|(vout, sats)| AddedOutput {
        vout: *vout,
        sats: *sats,
    });
    InboxItem::Record(BridgeRecord::VaultSpend(VaultSpend {
        txid: B256::repeat_byte(by),
        inputs: inputs.to_vec(),
        outputs: outputs.collect(),
    }))
}

fn redemption(operator: B256) -> InboxItem {
    InboxItem::Record(BridgeRecord::Redemption(Redemption {
        spent: OutPoint {
            txid: operator,
            vout: 9,
        },
        to: RECIPIENT,
    }))
}

fn withdraw(chain: &mut Chain, sats: u64, fee: u64, script: Bytes) -> u64 {
    let call = Bridge::withdrawCall {
        scriptPubKey: script,
        fee,
    };
    chain.call(USER, BRIDGE, sats_to_wei(sats), &call).unwrap().0
}

/// Vault, pending, credit, in flight.
fn totals(chain: &mut Chain) -> [u64; 4] {
    let totals = chain.view(BRIDGE, &Bridge::totalsCall {});
    let slots = chain.storage(BRIDGE, TOTALS_SLOT).into_limbs();
    let found = [totals.vault, totals.pending, totals.credit, totals.inFlight];
    assert_eq!(slots, found, "the slot that the node reads");
    found
}

/// What the bridge holds is what it owes.
fn verify(chain: &mut Chain) {
    let [_, pending, credit, _] = totals(chain);
    let [_, settled, unclaimed, _] = chain.storage(BRIDGE, COUNTS_SLOT).into_limbs();
    assert_eq!(
        chain.balance(BRIDGE),
        sats_to_wei(pending + credit + settled + unclaimed)
    );
}

fn only<E: SolEvent>(logs: &[Log]) -> E {
    let found: Vec<E> = logs
        .iter()
        .filter_map(|log| E::decode_log(log).ok())
        .map(|log| log.data)
        .collect();
    let [event] = <[E; 1]>::try_from(found)
        .ok()
        .unwrap_or_else(|| panic!("one {}: {logs:?}", E::SIGNATURE));
    event
}

#[test]
fn a_withdrawal_is_paid_assigned_and_taken_to_the_sat() {
    let mut chain = Chain::new();
    let vault = outpoint(1, 2);
    chain.record(&deposit_of(vault, 50_000, &[]), &[]);
    assert_eq!(chain.balance(RECIPIENT), sats_to_wei(50_000));
    assert_eq!(totals(&mut chain), [50_000, 0, 0, 0]);
    let id = withdraw(&mut chain, 50_001, 500, script(1));
    assert_eq!(totals(&mut chain), [50_000, 50_001, 0, 0]);
    let (logs, _) = chain.record(&payout(&[(id, 49_501, script(1))]), &[]);
    let paid: Bridge::WithdrawalPaid = only(&logs);
    assert_eq!(
        (paid.id, paid.operator, paid.txid, paid.vout),
        (id, OPERATOR, B256::repeat_byte(0xee), 0)
    );
    assert_eq!(totals(&mut chain), [50_000, 0, 50_001, 0]);
    assert_eq!(
        chain.view(BRIDGE, &Bridge::withdrawalCall { id }).paidL1Height,
        100
    );
    chain.set_l1_block(&origin(101, B256::ZERO));
    let (logs, _) = chain.record(&assignment(3, vault), &[]);
    let assigned: Bridge::Assigned = only(&logs);
    assert_eq!(
        (assigned.operator, assigned.ticketVout, assigned.amount),
        (OPERATOR, 3, 50_000)
    );
    assert_eq!(totals(&mut chain), [50_000, 0, 1, 50_000]);
    let ticket = output_id(&OutPoint {
        txid: OPERATOR,
        vout: 3,
    });
    let kept = chain.storage(BRIDGE, assignment_slot(&ticket));
    assert_eq!(assigned_height(kept), Some(101));
    let output = chain.storage(BRIDGE, vault_output_slot(&output_id(&vault)));
    assert_eq!(output.as_limbs()[0], 50_000);
    let call = Bridge::outputIdCall {
        txid: vault.txid,
        vout: vault.vout,
    };
    assert_eq!(chain.view(BRIDGE, &call), output_id(&vault));
    // The reimbursement: connector, right, vault output.
    let (logs, _) = chain.record(&spend(7, &[outpoint(5, 1), outpoint(6, 0), vault], &[]), &[]);
    let spent: Bridge::VaultOutputSpent = only(&logs);
    assert_eq!(
        (spent.txid, spent.vout, spent.amount, spent.spentBy),
        (vault.txid, 2, 50_000, B256::repeat_byte(7))
    );
    assert_eq!(totals(&mut chain), [0, 0, 1, 0]);
    chain.record(&redemption(OPERATOR), &[]);
    assert_eq!(chain.balance(RECIPIENT), sats_to_wei(50_001));
    assert_eq!(totals(&mut chain), [0, 0, 0, 0]);
    verify(&mut chain);
}

#[test]
fn what_is_not_owed_earns_nothing() {
    let mut chain = Chain::new();
    let id = withdraw(&mut chain, 10_000, 400, script(1));
    let wrong = [
        (id + 1, 9_600, script(1), 0),
        (id, 9_599, script(1), 2),
        (id, 10_000, script(1), 2),
        (id, 9_600, script(2), 3),
        (id, 9_600, Bytes::new(), 3),
    ];
    for (id, sats, script, reason) in wrong {
        let (logs, _) = chain.record(&payout(&[(id, sats, script)]), &[]);
        let refused: Bridge::PayoutRefused = only(&logs);
        assert_eq!((refused.id, refused.reason), (id, reason));
        assert_eq!(totals(&mut chain), [0, 10_000, 0, 0]);
    }
    // Twice in one transaction, and once more: one earns.
    let twice = [(id, 9_600, script(1)), (id, 9_600, script(1))];
    let (logs, _) = chain.record(&payout(&twice), &[]);
    assert_eq!(only::<Bridge::WithdrawalPaid>(&logs).vout, 0);
    assert_eq!(only::<Bridge::PayoutRefused>(&logs).reason, 1);
    let (logs, _) = chain.record(&payout(&twice[..1]), &[]);
    assert_eq!(only::<Bridge::PayoutRefused>(&logs).reason, 1);
    assert_eq!(totals(&mut chain), [0, 0, 10_000, 0]);
    assert_eq!(chain.view(BRIDGE, &Bridge::creditOfCall(OPERATOR)), 10_000);
    verify(&mut chain);
}

#[test]
fn assignments_need_credit_a_ticket_and_a_vault_output() {
    let mut chain = Chain::new();
    let (small, large) = (outpoint(1, 0), outpoint(2, 0));
    chain.record(&deposit_of(small, 10_000, &[]), &[]);
    chain.record(&deposit_of(large, 10_001, &[]), &[]);
    let id = withdraw(&mut chain, 20_000, 0, script(1));
    chain.record(&payout(&[(id, 20_000, script(1))]), &[]);
    let mut refused = |ticket, output| {
        let (logs, _) = chain.record(&assignment(ticket, output), &[]);
        only::<Bridge::AssignmentRefused>(&logs).reason
    };
    assert_eq!(refused(0, outpoint(1, 1)), 4, "no vault output");
    chain.record(&assignment(1, small), &[]);
    let mut refused = |ticket, output| {
        let (logs, _) = chain.record(&assignment(ticket, output), &[]);
        only::<Bridge::AssignmentRefused>(&logs).reason
    };
    assert_eq!(refused(2, small), 5, "another one's");
    assert_eq!(refused(1, large), 6, "the ticket is spent");
    assert_eq!(refused(3, large), 7, "a sat too little");
    assert_eq!(totals(&mut chain), [20_001, 0, 10_000, 10_000]);
    // Another operator's output as a ticket: it has no credit.
    let stranger = InboxItem::Record(BridgeRecord::Assignment(Assignment {
        ticket: outpoint(9, 1),
        vault_output: large,
    }));
    let (logs, _) = chain.record(&stranger, &[]);
    assert_eq!(only::<Bridge::AssignmentRefused>(&logs).reason, 7);
    verify(&mut chain);
}

#[test]
fn the_vault_is_split_and_merged_by_members_only() {
    let mut chain = Chain::new();
    chain.record(&deposit_of(outpoint(1, 0), 10_000, &[]), &[]);
    chain.record(&deposit_of(outpoint(2, 0), 20_000, &[]), &[]);
    // Nobody else adds outputs.
    let (logs, _) = chain.record(&spend(3, &[outpoint(8, 0)], &[(0, 1_000_000)]), &[]);
    assert!(logs.is_empty());
    assert_eq!(totals(&mut chain), [30_000, 0, 0, 0]);
    let (logs, _) = chain.record(
        &spend(4, &[outpoint(1, 0), outpoint(2, 0)], &[(1, 29_000), (3, 1_000)]),
        &[],
    );
    assert_eq!(logs.len(), 4, "two spent, two added");
    assert_eq!(totals(&mut chain), [30_000, 0, 0, 0]);
    // A sum that is not kept is for an alarm.
    let (logs, _) = chain.record(&spend(5, &[outpoint(4, 1)], &[(0, 28_999)]), &[]);
    let broken: Bridge::VaultBroken = only(&logs);
    assert_eq!((broken.spent, broken.added), (29_000, 28_999));
    assert_eq!(totals(&mut chain), [29_999, 0, 0, 0]);
    verify(&mut chain);
}

#[test]
fn who_was_assigned_what_is_moved_has_its_credit_again() {
    let mut chain = Chain::new();
    let (moved, other) = (outpoint(1, 0), outpoint(2, 0));
    chain.record(&deposit_of(moved, 10_000, &[]), &[]);
    chain.record(&deposit_of(other, 20_000, &[]), &[]);
    let id = withdraw(&mut chain, 15_000, 0, script(1));
    chain.record(&payout(&[(id, 15_000, script(1))]), &[]);
    chain.record(&assignment(1, moved), &[]);
    assert_eq!(totals(&mut chain), [30_000, 0, 5_000, 10_000]);
    let (logs, _) = chain.record(&spend(4, &[moved, other], &[(0, 30_000)]), &[]);
    let again: Bridge::Unassigned = only(&logs);
    assert_eq!((again.operator, again.amount), (OPERATOR, 10_000));
    assert_eq!((again.vaultTxid, again.vaultVout), (moved.txid, moved.vout));
    assert_eq!(logs.len(), 4, "two spent, one added: {logs:?}");
    assert_eq!(totals(&mut chain), [30_000, 0, 15_000, 0]);
    let credit = chain.view(BRIDGE, &Bridge::creditOfCall(OPERATOR));
    assert_eq!(credit, 15_000);
    // No claim can count on it any more.
    let ticket = OutPoint {
        txid: OPERATOR,
        vout: 1,
    };
    let slot = chain.storage(BRIDGE, assignment_slot(&output_id(&ticket)));
    assert_eq!(assigned_height(slot), None);
    verify(&mut chain);
    // What it was not given back is taken as before, also with what is paid to the vault besides.
    chain.record(&spend(5, &[outpoint(4, 0)], &[(0, 15_000), (1, 15_000)]), &[]);
    chain.record(&assignment(2, outpoint(5, 1)), &[]);
    let (logs, _) = chain.record(&spend(6, &[outpoint(5, 1)], &[(0, 15_330)]), &[]);
    let broken: Bridge::VaultBroken = only(&logs);
    assert_eq!((broken.spent, broken.added), (0, 15_330));
    assert_eq!(totals(&mut chain), [30_330, 0, 0, 0]);
    assert_eq!(chain.view(BRIDGE, &Bridge::creditOfCall(OPERATOR)), 0);
    verify(&mut chain);
}

/// Reverts.
const REVERTS: &[u8] = &hex!("5f5ffd");
/// Uses all gas.
const LOOPS: &[u8] = &hex!("5b5f56");
/// Writes what it was sent and the first word of its calldata into slots 0 and 1.
const KEEPS: &[u8] = &hex!("345f555f35600155");
/// Gives back 64 KiB.
const RETURNS_MUCH: &[u8] = &hex!("620100005ff3");

#[test]
fn a_deposit_calls_and_falls_back_to_its_recipient() {
    let target = Address::repeat_byte(0x33);
    let call = |data: &[u8]| {
        DepositCall {
            target,
            data: Bytes::copy_from_slice(data),
        }
        .encode()
    };
    for (code, called) in [
        (KEEPS, true),
        (REVERTS, false),
        (LOOPS, false),
        (RETURNS_MUCH, true),
    ] {
        let mut chain = Chain::new();
        chain.deploy(target, code);
        let bytes = call(&[5; 32]);
        let (logs, _) = chain.record(&deposit_of(outpoint(1, 0), 10_000, &bytes), &bytes);
        assert_eq!(
            only::<Bridge::DepositAccepted>(&logs).called,
            called,
            "{}",
            hex::encode(code)
        );
        let (of_target, of_recipient) = if called { (10_000, 0) } else { (0, 10_000) };
        assert_eq!(chain.balance(target), sats_to_wei(of_target));
        assert_eq!(chain.balance(RECIPIENT), sats_to_wei(of_recipient));
        if code == KEEPS {
            assert_eq!(chain.storage(target, U256::ZERO), sats_to_wei(10_000));
            assert_eq!(chain.storage(target, U256::ONE), U256::from_be_bytes([5; 32]));
        }
        verify(&mut chain);
    }
    // The bridge itself is no target.
    let mut chain = Chain::new();
    let bytes = DepositCall {
        target: BRIDGE,
        data: Bridge::withdrawCall {
            scriptPubKey: script(1),
            fee: 0,
        }
        .abi_encode()
        .into(),
    }
    .encode();
    chain.record(&deposit_of(outpoint(1, 0), 10_000, &bytes), &bytes);
    assert_eq!(chain.balance(RECIPIENT), sats_to_wei(10_000));
}

#[test]
fn what_a_recipient_does_not_take_can_be_claimed() {
    for code in [REVERTS, LOOPS] {
        let mut chain = Chain::new();
        chain.deploy(RECIPIENT, code);
        let (logs, _) = chain.record(&deposit_of(outpoint(1, 0), 10_000, &[]), &[]);
        assert_eq!(only::<Bridge::DepositUnclaimed>(&logs).amount, 10_000);
        verify(&mut chain);
        let call = Bridge::claimCall { to: USER };
        let revert = chain.refused(USER, BRIDGE, U256::ZERO, &call);
        assert_eq!(revert, Bridge::NothingToClaim { caller: USER }.abi_encode());
        let before = chain.balance(USER);
        chain.deploy(RECIPIENT, &[]);
        chain.call(RECIPIENT, BRIDGE, U256::ZERO, &call).unwrap();
        assert_eq!(chain.balance(USER), before + sats_to_wei(10_000));
        assert!(chain.call(RECIPIENT, BRIDGE, U256::ZERO, &call).is_err(), "once");
        verify(&mut chain);
    }
}

#[test]
fn only_the_protocol_records() {
    let mut chain = Chain::new();
    let items = [
        deposit_of(outpoint(1, 0), 10_000, &[]),
        payout(&[(0, 1, script(1))]),
        assignment(1, outpoint(1, 0)),
        spend(1, &[], &[]),
        redemption(OPERATOR),
    ];
    for item in items {
        let Some(bitsect_vm::chain::Transaction::Deposit(deposit)) = item.transaction(&B256::ZERO, &[])
        else {
            panic!("a call of the protocol");
        };
        assert_eq!((deposit.from, deposit.to.to()), (SYSTEM_CALLER, Some(&BRIDGE)));
        let revert = chain
            .call_raw(USER, BRIDGE, U256::ZERO, deposit.input.clone())
            .unwrap_err();
        assert_eq!(revert, Bridge::OnlySystem { caller: USER }.abi_encode());
    }
}

#[test]
fn the_largest_records_fit_their_gas() {
    let mut chain = Chain::new();
    // Each as dear as it can be: first of its kind, to a recipient that burns all, longest scripts.
    chain.deploy(RECIPIENT, LOOPS);
    let target = Address::repeat_byte(0x33);
    chain.deploy(target, LOOPS);
    let call = DepositCall {
        target,
        data: vec![0xff; MAX_DEPOSIT_CALL].into(),
    }
    .encode();
    let mut most = Vec::new();
    let mut take = |name: &str, item: &InboxItem, blob: &[u8], chain: &mut Chain| {
        let (_, used) = chain.record(item, blob);
        most.push(format!("{name}: {used} of {}", item.gas_limit()));
        assert!(used < item.gas_limit() * 9 / 10, "{most:?}");
    };
    take(
        "deposit",
        &deposit_of(outpoint(1, 0), 10_000, &[]),
        &[],
        &mut chain,
    );
    take(
        "deposit with a call",
        &deposit_of(outpoint(1, 1), 10_000, &call),
        &call,
        &mut chain,
    );
    let ids = (0..MAX_PAYOUT_IDS as u64).map(|number| (withdraw(&mut chain, 5_000, 0, script(0xff)), number));
    let paid: Vec<(u64, u64, Bytes)> = ids.map(|(id, _)| (id, 5_000, script(0xff))).collect();
    let item = payout(&paid);
    assert_eq!(item.gas_limit(), MAX_RECORD_GAS);
    take("payout", &item, &[], &mut chain);
    take("payout of what is paid", &item, &[], &mut chain);
    take("assignment", &assignment(0, outpoint(1, 0)), &[], &mut chain);
    let inputs: Vec<OutPoint> = (0..MAX_VAULT_OUTPUTS as u32)
        .map(|vout| outpoint(2, vout))
        .collect();
    // Each assigned to another operator, which has no credit then.
    for (input, number) in inputs.iter().zip(0x40_u8..) {
        chain.record(&deposit_of(*input, 1_000, &[]), &[]);
        let id = withdraw(&mut chain, 1_000, 0, script(2));
        let operator = B256::repeat_byte(number);
        chain.record(&payout_of(operator, &[(id, 1_000, script(2))]), &[]);
        chain.record(&assignment_of(operator, 0, *input), &[]);
    }
    assert_eq!(totals(&mut chain)[3], 10_000 + 32 * 1_000);
    take("merge", &spend(3, &inputs, &[(0, 32_000)]), &[], &mut chain);
    let outputs: Vec<(u32, u64)> = (0..MAX_VAULT_OUTPUTS as u32).map(|vout| (vout, 900)).collect();
    take("split", &spend(4, &[outpoint(3, 0)], &outputs), &[], &mut chain);
    take("redemption", &redemption(OPERATOR), &[], &mut chain);
    println!("{}", most.join("\n"));
    verify(&mut chain);
}

/// A step of a random history.
#[derive(Clone, Debug)]
enum Step {
    Deposit(u64),
    Withdraw(u64, u64),
    Payout(Vec<(u64, bool)>),
    Assign(u32, usize),
    /// Whether what is assigned is moved, and not taken.
    Spend(usize, bool),
    Redeem,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1_000..50_000_u64).prop_map(Step::Deposit),
        (1_000..60_000_u64, 0..400_u64).prop_map(|(sats, fee)| Step::Withdraw(sats, fee)),
        proptest::collection::vec((0..12_u64, any::<bool>()), 1..4).prop_map(Step::Payout),
        (0..8_u32, 0..8_usize).prop_map(|(ticket, output)| Step::Assign(ticket, output)),
        (0..8_usize, prop::bool::weighted(0.3)).prop_map(|(output, moves)| Step::Spend(output, moves)),
        Just(Step::Redeem),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever comes in whatever order, nothing reverts, and the sums are those of a plain account of it.
    #[test]
    fn any_history_keeps_its_sums(steps in proptest::collection::vec(step(), 1..40)) {
        let mut chain = Chain::new();
        let (mut vault, mut asked) = (Vec::new(), Vec::new());
        let (mut minted, mut taken, mut outside) = (0, 0, 0_i128);
        for step in steps {
            match step {
                Step::Deposit(sats) => {
                    let output = outpoint(1, vault.len() as u32);
                    chain.record(&deposit_of(output, sats, &[]), &[]);
                    vault.push((output, sats));
                    minted += sats;
                    outside += i128::from(sats);
                }
                Step::Withdraw(sats, fee) => {
                    withdraw(&mut chain, sats, fee, script(1));
                    asked.push(sats - fee);
                    outside -= i128::from(sats);
                }
                Step::Payout(ids) => {
                    let paid = ids.into_iter().map(|(id, right)| {
                        let owed = asked.get(id as usize).copied().unwrap_or(600);
                        (id, owed + u64::from(!right), script(1))
                    });
                    chain.record(&payout(&paid.collect::<Vec<_>>()), &[]);
                }
                Step::Assign(ticket, output) => {
                    let output = vault.get(output).map_or(outpoint(9, 9), |(output, _)| *output);
                    chain.record(&assignment(ticket, output), &[]);
                }
                Step::Spend(output, moves) => {
                    let Some((output, sats)) = vault.get(output).copied() else { continue };
                    let before = totals(&mut chain)[0];
                    // What is assigned goes to its operator, mostly; what is not stays in the vault.
                    let slot = chain.storage(BRIDGE, vault_output_slot(&output_id(&output)));
                    let is_taken = !(slot >> 64_usize).is_zero() && !moves;
                    let by = 0x80_u8.wrapping_add(vault.len() as u8);
                    let added: &[(u32, u64)] = if is_taken { &[] } else { &[(0, sats)] };
                    chain.record(&spend(by, &[output], added), &[]);
                    taken += before - totals(&mut chain)[0];
                    if !is_taken && slot != U256::ZERO {
                        vault.push((outpoint(by, 0), sats));
                    }
                }
                Step::Redeem => {
                    outside += i128::from(totals(&mut chain)[2]);
                    chain.record(&redemption(OPERATOR), &[]);
                    prop_assert_eq!(totals(&mut chain)[2], 0);
                }
            }
            verify(&mut chain);
            let [vault, pending, credit, in_flight] = totals(&mut chain);
            prop_assert_eq!(vault, minted - taken);
            // The user's own money is not of the bridge: only what it gave counts.
            prop_assert_eq!(i128::from(vault), outside + i128::from(pending + credit + in_flight));
        }
    }
}
