//! Deposits with calls, payouts, assignments and reimbursements on a simulated Bitcoin, up to the check of a claim.

use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use bitcoin::hashes::Hash;
use bitcoin::{OutPoint, ScriptBuf, Transaction};
use bitsect_vm::chain::bridge::{OutputId, TOTALS_SLOT, output_id};
use bitsect_vm::chain::predeploys::BRIDGE;
use bitsect_vm::chain::{self, sats_to_wei};
use bitsect_vm::check::{CheckError, check_advice, checked_state, verify_assignment};
use bitsect_vm::derive::{
    DepositCall, DepositTag, MAX_PAYOUT_IDS, MAX_VAULT_OUTPUTS, assignment_script, payout_script,
    redemption_script, vault_script, vault_spend_script,
};
use bitsect_vm::record::record_check;
use bitsect_vm::state::StateReader;

use crate::simulation::{CLAIM_MATURITY, Simulation, Wallet, output};

const TO: Address = Address::repeat_byte(0xaa);

fn start() -> (Simulation, Wallet) {
    let wallet = Wallet::new(1);
    (Simulation::new(&[wallet.address]), wallet)
}

/// Keeps calldata's first word in slot 0: init code.
const KEEPS: &str = "6005600c60003960056000f35f355f5500";
const PAID_TO: [u8; 22] = [0, 20, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9];

fn chain_outpoint(outpoint: OutPoint) -> chain::OutPoint {
    chain::OutPoint {
        txid: outpoint.txid.to_byte_array().into(),
        vout: outpoint.vout,
    }
}

fn key_spend(of: OutPoint) -> (OutPoint, Vec<Vec<u8>>) {
    (of, vec![vec![1; 64]])
}

fn vault(sim: &Simulation) -> ScriptBuf {
    vault_script(&sim.params.derive).unwrap().into()
}

/// Mines a deposit and its accept, and the block that mints; gives the vault output.
fn deposit(sim: &mut Simulation, tag: &DepositTag, sats: u64) -> OutPoint {
    let script: ScriptBuf = tag.output_script(&sim.params.derive).unwrap().into();
    let outputs = vec![output(sats, script), output(0, tag.script().into())];
    let deposit = sim.spend(vec![key_spend(OutPoint::null())], outputs);
    let deposit = move_first(deposit, 7);
    let of = OutPoint::new(deposit.compute_txid(), 0);
    let accept = sim.spend(vec![key_spend(of)], vec![output(sats, vault(sim))]);
    let vault_output = OutPoint::new(accept.compute_txid(), 0);
    sim.mine(vec![deposit]);
    sim.mine(vec![accept]);
    catch_up(sim);
    vault_output
}

/// Makes a transaction spend another output than the coinbase's null.
fn move_first(mut transaction: Transaction, vout: u32) -> Transaction {
    transaction.input[0].previous_output.vout = vout;
    transaction
}

/// Sequences blocks on all origins that there are.
fn catch_up(sim: &mut Simulation) {
    let blocks = sim.chain.origins.iter().map(|_| (true, vec![])).collect();
    let batch = sim.batch(blocks);
    sim.mine_batch(&batch);
}

fn withdraw(sim: &mut Simulation, wallet: &mut Wallet, sats: u64, fee: u64) {
    // withdraw(bytes,uint64)
    let mut input = alloy_primitives::keccak256("withdraw(bytes,uint64)")[..4].to_vec();
    for word in [64, fee, PAID_TO.len() as u64] {
        input.extend(U256::from(word).to_be_bytes::<32>());
    }
    input.extend(PAID_TO);
    input.extend([0; 10]);
    let wei = sats_to_wei(sats).saturating_to();
    let transaction = wallet.call(TxKind::Call(BRIDGE), wei, input.into(), 300_000);
    let batch = sim.batch(vec![(false, vec![transaction])]);
    sim.mine_batch(&batch);
}

fn totals(sim: &Simulation) -> [u64; 4] {
    sim.state.storage(BRIDGE, TOTALS_SLOT).unwrap().into_limbs()
}

fn plain(to: Address) -> DepositTag {
    DepositTag {
        to,
        refund_key: B256::repeat_byte(2),
        call: None,
    }
}

/// A transaction whose first input is an output of the operator's.
fn by_operator(
    sim: &mut Simulation,
    operator: bitcoin::Txid,
    vout: u32,
    outputs: Vec<bitcoin::TxOut>,
) -> Transaction {
    sim.spend(vec![key_spend(OutPoint::new(operator, vout))], outputs)
}

#[test]
fn a_deposit_may_call() {
    let (mut sim, mut alice) = start();
    sim.mine(vec![]);
    let init: Bytes = alloy_primitives::hex::decode(KEEPS).unwrap().into();
    let target = alice.address.create(alice.nonce);
    let create = alice.call(TxKind::Create, 0, init, 200_000);
    let batch = sim.batch(vec![(false, vec![create])]);
    sim.mine_batch(&batch);
    for (target, called) in [(target, true), (BRIDGE, false)] {
        let data = Bytes::from(vec![6; 32]);
        let tag = DepositTag {
            call: Some(DepositCall { target, data }),
            ..plain(TO)
        };
        let before = (sim.balance(TO), sim.balance(target));
        deposit(&mut sim, &tag, 50_000);
        if called {
            assert_eq!(sim.balance(target) - before.1, sats_to_wei(50_000));
            assert_eq!(
                sim.state.storage(target, U256::ZERO).unwrap(),
                U256::from_be_bytes([6; 32])
            );
        } else {
            assert_eq!(sim.balance(TO) - before.0, sats_to_wei(50_000));
        }
    }
}

/// Everything up to an assignment: its ticket's name, and the vault output.
fn assigned(sim: &mut Simulation, alice: &mut Wallet) -> (OutputId, OutPoint) {
    let vault_output = deposit(sim, &plain(alice.address), 50_000);
    withdraw(sim, alice, 50_300, 250);
    assert_eq!(totals(sim), [50_000, 50_300, 0, 0]);
    let operator = bitcoin::Txid::from_byte_array([0x0f; 32]);
    let tag = payout_script(&operator.to_byte_array().into(), &[0]);
    let outputs = vec![output(50_050, PAID_TO.to_vec().into()), output(0, tag.into())];
    let payout = sim.spend(
        vec![key_spend(OutPoint::new(bitcoin::Txid::all_zeros(), 3))],
        outputs,
    );
    sim.mine(vec![payout]);
    catch_up(sim);
    assert_eq!(totals(sim), [50_000, 0, 50_300, 0]);
    let tag = assignment_script(&chain_outpoint(vault_output));
    let assignment = by_operator(
        sim,
        operator,
        4,
        vec![output(330, vault(sim)), output(0, tag.into())],
    );
    sim.mine(vec![assignment]);
    catch_up(sim);
    assert_eq!(totals(sim), [50_000, 0, 300, 50_000]);
    let ticket = output_id(&chain_outpoint(OutPoint::new(operator, 4)));
    (ticket, vault_output)
}

#[test]
fn a_check_holds_from_maturity_on() {
    let (mut sim, mut alice) = start();
    sim.mine(vec![]);
    let nothing = OutputId::ZERO;
    let none = verify_assignment(&sim.params, &sim.chain, &nothing, &sim.state);
    assert!(matches!(none, Err(CheckError::Unassigned(_))), "{none:?}");
    let (ticket, vault_output) = assigned(&mut sim, &mut alice);
    let recorded = sim.chain.tip.origin_height;
    while sim.chain.l1.height < recorded + CLAIM_MATURITY {
        let early = verify_assignment(&sim.params, &sim.chain, &ticket, &sim.state);
        assert!(matches!(early, Err(CheckError::Immature { .. })), "{early:?}");
        sim.mine(vec![]);
    }
    let record = record_check(&sim.params, &sim.chain, &ticket, &sim.state).unwrap();
    assert_eq!(record.before, sim.chain.commitment());
    assert_eq!(record.advice, check_advice(&ticket));
    assert_eq!(record.after, checked_state(&record.before, &record.advice));
    // What is taken is gone from the vault, and the assignment stays.
    let inputs = [OutPoint::new(bitcoin::Txid::all_zeros(), 1), vault_output];
    let reimburse = sim.spend(
        inputs.map(key_spend).to_vec(),
        vec![
            output(50_000, vec![0x51].into()),
            output(0, vault_spend_script().into()),
        ],
    );
    sim.mine(vec![reimburse]);
    catch_up(&mut sim);
    assert_eq!(totals(&sim), [0, 0, 300, 0]);
    verify_assignment(&sim.params, &sim.chain, &ticket, &sim.state).unwrap();
    // What is left is redeemed.
    let operator = bitcoin::Txid::from_byte_array([0x0f; 32]);
    let redeem = by_operator(
        &mut sim,
        operator,
        9,
        vec![output(0, redemption_script(TO).into())],
    );
    sim.mine(vec![redeem]);
    catch_up(&mut sim);
    assert_eq!(totals(&sim), [0, 0, 0, 0]);
    assert_eq!(sim.balance(TO), sats_to_wei(300));
}

/// A chain that has an assignment as old as a claim wants it: its ticket's name.
pub fn matured() -> (Simulation, OutputId) {
    let (mut sim, mut alice) = start();
    sim.mine(vec![]);
    let (ticket, _) = assigned(&mut sim, &mut alice);
    for _ in 0..CLAIM_MATURITY {
        sim.mine(vec![]);
    }
    (sim, ticket)
}

#[test]
fn a_vault_output_is_split() {
    let (mut sim, alice) = start();
    sim.mine(vec![]);
    let whole = deposit(&mut sim, &plain(alice.address), 50_000);
    let outputs = vec![
        output(20_000, vault(&sim)),
        output(0, vault_spend_script().into()),
        output(777, vec![0x51].into()),
        output(30_000, vault(&sim)),
    ];
    let split = sim.spend(vec![key_spend(whole)], outputs);
    let txid = split.compute_txid();
    sim.mine(vec![split]);
    catch_up(&mut sim);
    assert_eq!(totals(&sim), [50_000, 0, 0, 0]);
    for (vout, sats) in [(0, 20_000_u64), (3, 30_000), (2, 0)] {
        let id = output_id(&chain_outpoint(OutPoint::new(txid, vout)));
        let slot = bitsect_vm::chain::bridge::vault_output_slot(&id);
        assert_eq!(sim.state.storage(BRIDGE, slot).unwrap(), U256::from(sats));
    }
}

#[test]
fn tags_that_say_nothing_are_passed_over() {
    let operator = B256::repeat_byte(0x0f);
    let items = |outputs: Vec<bitcoin::TxOut>, inputs: usize| {
        let (mut sim, _) = start();
        let inputs =
            (0..inputs as u32).map(|vout| key_spend(OutPoint::new(bitcoin::Txid::all_zeros(), vout)));
        let transaction = sim.spend(inputs.collect(), outputs);
        sim.mine(vec![transaction]);
        sim.chain.origins.last().unwrap().item_count
    };
    let tagged = |script: Vec<u8>| output(0, script.into());
    let pays = |count: usize| vec![output(600, PAID_TO.to_vec().into()); count];
    let ids = |count: usize| (0..count as u64).collect::<Vec<u64>>();
    let payout = |outputs: usize, of: usize| {
        let mut all = pays(outputs);
        all.push(tagged(payout_script(&operator, &ids(of))));
        all
    };
    assert_eq!(items(payout(MAX_PAYOUT_IDS, MAX_PAYOUT_IDS), 1), 1);
    assert_eq!(
        items(payout(MAX_PAYOUT_IDS + 1, MAX_PAYOUT_IDS + 1), 1),
        0,
        "too many"
    );
    assert_eq!(items(payout(0, 0), 1), 0, "none");
    assert_eq!(items(payout(0, 2), 1), 0, "more ids than outputs");
    let cut = |script: Vec<u8>, tag: usize| {
        let mut script = script[..script.len() - 1].to_vec();
        script[1] -= 1;
        assert!(script.len() > tag);
        vec![tagged(script)]
    };
    assert_eq!(items(cut(payout_script(&operator, &[1]), 7), 1), 0, "half an id");
    assert_eq!(
        items(cut(assignment_script(&chain::OutPoint::default()), 7), 1),
        0
    );
    assert_eq!(
        items(vec![tagged(assignment_script(&chain::OutPoint::default()))], 1),
        1
    );
    assert_eq!(items(cut(redemption_script(TO), 7), 1), 0);
    assert_eq!(items(vec![tagged(redemption_script(TO))], 1), 1);
    assert_eq!(items(vec![tagged(vault_spend_script())], MAX_VAULT_OUTPUTS), 1);
    assert_eq!(
        items(vec![tagged(vault_spend_script())], MAX_VAULT_OUTPUTS + 1),
        0
    );
    // Of each kind one.
    let mut all = payout(1, 1);
    all.extend(payout(1, 1));
    all.push(tagged(redemption_script(TO)));
    all.push(tagged(vault_spend_script()));
    all.push(tagged(assignment_script(&chain::OutPoint::default())));
    assert_eq!(items(all, 1), 4);
}
