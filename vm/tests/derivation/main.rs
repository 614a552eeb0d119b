//! Derivation rules, each at its edge: batches, reveals, the sequencing window, deposits, forced transactions.
//!
//! Bitcoin is simulated in memory; every unit's chain state is encoded, decoded and committed to on the way.

#[expect(dead_code, reason = "shared with the tests of the program")]
mod bridge;
mod seeds;
mod simulation;
mod traffic;

use alloy_primitives::{Address, B256, U256};
use bitcoin::hashes::Hash;
use bitcoin::{OutPoint, ScriptBuf, Transaction};
use bitsect_vm::chain::{ChainState, sats_to_wei};
use bitsect_vm::derive::payload::encode;
use bitsect_vm::derive::{DepositTag, MAX_OPEN_DEPOSITS, forced_script, vault_script};
use simulation::{
    CHAIN_ID, FORCED_GAS, MAX_DRIFT, REFUND_DELAY, REVEAL_TIMEOUT, Simulation, WINDOW, Wallet, encoded,
    output,
};

const TO: Address = Address::repeat_byte(0xaa);

fn start() -> (Simulation, Wallet) {
    let wallet = Wallet::new(1);
    (Simulation::new(&[wallet.address]), wallet)
}

#[test]
fn a_batch_takes_effect_in_its_block() {
    let (mut sim, mut alice) = start();
    sim.mine(vec![]);
    let transfers = vec![alice.transfer(TO, 5), alice.transfer(TO, 7)];
    let batch = sim.batch(vec![(false, transfers), (true, vec![alice.transfer(TO, 1)])]);
    let log = sim.mine_batch(&batch);
    assert_eq!(
        log,
        [
            "l1",
            "block 1: 2 transactions, 0 of the inbox",
            "block 2: 1 transactions, 0 of the inbox"
        ]
    );
    assert_eq!(sim.balance(TO), U256::from(13));
    assert_eq!(sim.chain.tip.origin_height, 101);
    assert_eq!(sim.units.len(), 5);
}

#[test]
fn reveals_come_in_any_order_and_the_last_one_counts() {
    let (mut sim, mut alice) = start();
    let batch = sim.batch(vec![(false, vec![alice.transfer(TO, 5)])]);
    let mut transactions = sim.post(&encode(&batch).unwrap(), 3);
    let last = transactions.remove(1);
    transactions.swap(1, 2);
    assert_eq!(sim.mine(transactions), ["l1"]);
    assert_eq!(sim.mine(vec![last]).len(), 2);
    assert_eq!(sim.balance(TO), U256::from(5));
}

#[test]
fn reveal_counts_at_the_timeout_and_not_after() {
    for late in [0, 1] {
        let (mut sim, mut alice) = start();
        let batch = sim.batch(vec![(false, vec![alice.transfer(TO, 5)])]);
        let mut transactions = sim.post(&encode(&batch).unwrap(), 1);
        let reveal = transactions.pop().unwrap();
        sim.mine(transactions);
        for _ in 0..REVEAL_TIMEOUT - 1 + late {
            assert_eq!(sim.mine(vec![]), ["l1"]);
        }
        let log = sim.mine(vec![reveal]);
        assert_eq!(
            log.len(),
            if late == 0 { 2 } else { 1 },
            "late by {late}: {log:?}"
        );
        assert!(sim.chain.batches.is_empty());
    }
}

#[test]
fn a_data_output_spent_without_a_frame_voids_its_batch_only() {
    let (mut sim, mut alice) = start();
    let void = sim.commit_on(sim.baton(), 2);
    let previous = OutPoint {
        txid: void.compute_txid(),
        vout: 2,
    };
    let stolen = sim.spend(vec![(previous, vec![vec![1; 64]])], vec![]);
    let next = OutPoint {
        txid: void.compute_txid(),
        vout: 0,
    };
    let good = sim.commit_on(next, 1);
    let batch = sim.batch(vec![(false, vec![alice.transfer(TO, 5)])]);
    let reveal = sim.reveal(&good, 1, &encode(&batch).unwrap());
    let log = sim.mine(vec![void, stolen, good, reveal]);
    assert_eq!(log, ["l1", "block 1: 1 transactions, 0 of the inbox"]);
}

#[test]
fn batches_keep_the_order_of_the_baton() {
    let (mut sim, mut alice) = start();
    let first = sim.batch(vec![(false, vec![alice.transfer(TO, 1)])]);
    // Complete before the first one is, but built on the same parent: it comes too late.
    let second = sim.batch(vec![(
        false,
        vec![alice.transfer_with(TO, 2, 0, CHAIN_ID, 21_000)],
    )]);
    let commit1 = sim.commit_on(sim.baton(), 1);
    let commit2 = sim.commit_on(
        OutPoint {
            txid: commit1.compute_txid(),
            vout: 0,
        },
        1,
    );
    let reveal2 = sim.reveal(&commit2, 1, &encode(&second).unwrap());
    assert_eq!(sim.mine(vec![commit1.clone(), commit2, reveal2]), ["l1"]);
    let reveal1 = sim.reveal(&commit1, 1, &encode(&first).unwrap());
    let log = sim.mine(vec![reveal1]);
    assert_eq!(log[1], "block 1: 1 transactions, 0 of the inbox");
    assert_eq!(log[2], "dropped: first block: expected 2, got 1");
    assert_eq!(sim.balance(TO), U256::from(1));
}

#[test]
fn the_baton_moves_without_a_batch() {
    let (mut sim, mut alice) = start();
    let handover = sim.spend(
        vec![(sim.baton(), vec![vec![1; 64]])],
        vec![output(900, ScriptBuf::new())],
    );
    let old = sim.baton();
    assert_eq!(sim.mine(vec![handover]), ["l1"]);
    assert_ne!(sim.baton(), old);
    let batch = sim.batch(vec![(false, vec![alice.transfer(TO, 1)])]);
    assert_eq!(sim.mine_batch(&batch).len(), 2);
}

#[test]
fn batches_that_break_a_rule_derive_to_nothing() {
    let (mut sim, mut alice) = start();
    sim.mine(vec![]);
    let valid = sim.batch(vec![(true, vec![alice.transfer(TO, 5)])]);
    let hash = B256::repeat_byte(1);
    let mut cases: Vec<(&str, Vec<u8>)> = vec![("payload", b"nonsense".to_vec())];
    let mut case = |name, change: &dyn Fn(&mut bitsect_vm::derive::payload::Batch)| {
        let mut batch = valid.clone();
        change(&mut batch);
        cases.push((name, encode(&batch).unwrap()));
    };
    case("first block", &|batch| batch.first_block += 1);
    case("parent hash", &|batch| batch.parent_hash = hash);
    case("first origin", &|batch| batch.first_origin += 1);
    case("last origin hash", &|batch| batch.last_origin_hash = hash);
    case("timestamp of block 1", &|batch| batch.blocks[0].timestamp -= 1);
    case("timestamp of block 1", &|batch| {
        batch.blocks[0].timestamp += MAX_DRIFT + 1
    });
    case("block 1: nonce too high", &|batch| {
        batch.blocks[0].transactions = vec![Wallet::new(1).transfer_with(TO, 1, 9, CHAIN_ID, 21_000)];
    });
    case("block 1: insufficient funds", &|batch| {
        batch.blocks[0].transactions = vec![Wallet::new(2).transfer(TO, 1)];
    });
    for (name, payload) in cases {
        let (tip, root) = (sim.chain.tip.clone(), sim.state.root());
        let transactions = sim.post(&payload, 1);
        let log = sim.mine(transactions);
        assert!(log[1].starts_with(&format!("dropped: {name}")), "{name}: {log:?}");
        assert_eq!(
            (log.len(), &sim.chain.tip, sim.state.root()),
            (2, &tip, root),
            "{name}"
        );
        // The chain goes on: the origins stay fresh enough for the next case.
        let empty = sim.batch(vec![(false, vec![])]);
        assert_eq!(sim.mine_batch(&empty).len(), 2, "{name}");
        let valid_again = sim.batch(vec![(true, vec![])]);
        assert_eq!(sim.mine_batch(&valid_again).len(), 2, "{name}");
        sim = start().0;
        sim.mine(vec![]);
    }
}

#[test]
fn blocks_before_an_invalid_one_stand() {
    let (mut sim, mut alice) = start();
    let bad = alice.transfer_with(TO, 1, 7, CHAIN_ID, 21_000);
    let good = alice.transfer(TO, 5);
    let batch = sim.batch(vec![(false, vec![good]), (false, vec![bad]), (false, vec![])]);
    let log = sim.mine_batch(&batch);
    assert_eq!(log[1], "block 1: 1 transactions, 0 of the inbox");
    assert!(log[2].starts_with("dropped: block 2: nonce too high"), "{log:?}");
    assert_eq!((log.len(), sim.chain.tip.header.number), (3, 1));
}

#[test]
fn drift_leaves_room_for_empty_blocks_only() {
    let (mut sim, mut alice) = start();
    let mut batch = sim.batch(vec![(false, vec![])]);
    batch.blocks[0].timestamp += MAX_DRIFT;
    assert_eq!(sim.mine_batch(&batch).len(), 2, "the drift itself is allowed");
    let full = sim.batch(vec![(false, vec![alice.transfer(TO, 1)])]);
    assert_eq!(
        sim.mine_batch(&full)[1],
        "block 2: 1 transactions, 0 of the inbox"
    );
    let mut past = sim.batch(vec![(false, vec![])]);
    past.blocks[0].timestamp += 1;
    assert!(sim.mine_batch(&past)[1].starts_with("dropped: timestamp of block 3"));
}

#[test]
fn the_window_forces_a_block_at_its_last_block_and_not_before() {
    let (mut sim, _) = start();
    for _ in 0..WINDOW {
        assert_eq!(sim.mine(vec![]), ["l1"]);
    }
    // Block 101 is WINDOW blocks deep now.
    assert_eq!(
        sim.mine(vec![]),
        ["l1", "block 1: 0 transactions, 0 of the inbox"]
    );
    assert_eq!(
        sim.mine(vec![]),
        ["l1", "block 2: 0 transactions, 0 of the inbox"]
    );
    assert_eq!(sim.chain.tip.origin_height, 102);
    assert_eq!(sim.chain.origins.len(), WINDOW as usize);
}

#[test]
fn a_batch_in_the_last_block_of_the_window_still_counts() {
    let (mut sim, mut alice) = start();
    for _ in 0..WINDOW {
        sim.mine(vec![]);
    }
    let batch = sim.batch(vec![(true, vec![alice.transfer(TO, 1)])]);
    assert_eq!(
        sim.mine_batch(&batch),
        ["l1", "block 1: 1 transactions, 0 of the inbox"]
    );
}

#[test]
fn forced_transactions_go_in_without_the_sequencer() {
    let (mut sim, mut alice) = start();
    let force =
        |sim: &mut Simulation, bytes: &[u8]| sim.spend(vec![], vec![output(0, forced_script(bytes).into())]);
    let valid = encoded(&alice.transfer(TO, 5));
    let wrong_chain = encoded(&alice.transfer_with(TO, 1, 1, CHAIN_ID + 1, 21_000));
    let wrong_nonce = encoded(&alice.transfer_with(TO, 1, 8, CHAIN_ID, 21_000));
    let transactions = [valid.as_slice(), &wrong_chain, &wrong_nonce, b"nonsense"].map(|bytes| {
        let mut transaction = force(&mut sim, bytes);
        transaction.input.push(bitcoin::TxIn::default());
        transaction
    });
    sim.mine(transactions.to_vec());
    assert_eq!(
        sim.chain.origins[0].item_count, 2,
        "nonsense and another chain's never enter"
    );
    // The sequencer's batch says nothing of them; its first block on that origin has them all the same.
    let batch = sim.batch(vec![(true, vec![alice.transfer(TO, 2)])]);
    assert_eq!(
        sim.mine_batch(&batch)[1],
        "block 1: 2 transactions, 1 of the inbox"
    );
    assert_eq!(sim.balance(TO), U256::from(7));
    // And without any sequencer, the window brings them.
    let last = encoded(&alice.transfer(TO, 3));
    let mut transaction = force(&mut sim, &last);
    transaction.input.push(bitcoin::TxIn::default());
    sim.mine(vec![transaction]);
    for _ in 0..WINDOW + 1 {
        sim.mine(vec![]);
    }
    assert_eq!(sim.balance(TO), U256::from(10));
}

#[test]
fn forced_transactions_beyond_a_blocks_share_wait_for_the_next() {
    let (mut sim, alice) = start();
    let mut transactions = Vec::new();
    for nonce in 0..3 {
        // Two fit the block's share of gas.
        let forced = encoded(&alice.transfer_with(TO, 1, nonce, CHAIN_ID, FORCED_GAS * 2 / 5));
        let mut transaction = sim.spend(vec![], vec![output(0, forced_script(&forced).into())]);
        transaction.input.push(bitcoin::TxIn::default());
        transactions.push(transaction);
    }
    let too_much = encoded(&alice.transfer_with(TO, 1, 3, CHAIN_ID, FORCED_GAS + 1));
    let mut transaction = sim.spend(vec![], vec![output(0, forced_script(&too_much).into())]);
    transaction.input.push(bitcoin::TxIn::default());
    transactions.push(transaction);
    sim.mine(transactions);
    let batch = sim.batch(vec![(true, vec![]), (false, vec![]), (false, vec![])]);
    let log = sim.mine_batch(&batch);
    assert_eq!(log[1], "block 1: 2 transactions, 2 of the inbox");
    assert_eq!(log[2], "block 2: 1 transactions, 1 of the inbox");
    assert_eq!(log[3], "block 3: 0 transactions, 0 of the inbox");
}

#[test]
fn forced_transactions_that_gas_does_not_bound_never_enter() {
    let (mut sim, alice) = start();
    let transactions = [0, 20_999, 21_000].map(|gas_limit| {
        let forced = encoded(&alice.transfer_with(TO, 1, 0, CHAIN_ID, gas_limit));
        let mut transaction = sim.spend(vec![], vec![output(0, forced_script(&forced).into())]);
        transaction.input.push(bitcoin::TxIn::default());
        transaction
    });
    sim.mine(transactions.to_vec());
    assert_eq!(sim.chain.origins[0].item_count, 1);
}

#[test]
fn a_block_of_more_transactions_than_gas_has_room_for_is_not_recovered() {
    // 30,000,000 gas, 10,500 each.
    for (count, reason) in [
        (2_857, "nonce too low"),
        (2_858, "2858 transactions: at most 2857 fit the gas limit"),
    ] {
        let (mut sim, mut alice) = start();
        let batch = sim.batch(vec![(false, vec![alice.transfer(TO, 1); count])]);
        let log = sim.mine_batch(&batch);
        let expected = format!("dropped: block 1: {reason}");
        assert!(log[1].starts_with(&expected), "{log:?}");
        assert_eq!(sim.balance(TO), U256::ZERO);
    }
}

/// Mines a deposit output; gives it.
fn deposit(sim: &mut Simulation, sats: u64) -> OutPoint {
    let (outpoint, transaction) = deposits(sim, sats);
    sim.mine(vec![transaction]);
    outpoint
}

/// Makes a transaction with a deposit output; gives both.
fn deposits(sim: &mut Simulation, sats: u64) -> (OutPoint, Transaction) {
    let tag = DepositTag {
        to: TO,
        refund_key: B256::repeat_byte(2),
        call: None,
    };
    let script: ScriptBuf = tag.output_script(&sim.params.derive).unwrap().into();
    let inputs = vec![(OutPoint::null(), vec![])];
    let mut transaction = sim.spend(inputs, vec![output(0, tag.script().into()), output(sats, script)]);
    transaction.input[0].previous_output.vout = 5;
    let outpoint = OutPoint {
        txid: transaction.compute_txid(),
        vout: 1,
    };
    (outpoint, transaction)
}

/// Mines the transaction that spends a deposit with this witness into the vault; tells whether it minted.
fn accept(sim: &mut Simulation, deposit: OutPoint, witness: Vec<Vec<u8>>, sats: u64) -> bool {
    let vault: ScriptBuf = vault_script(&sim.params.derive).unwrap().into();
    let transaction = sim.spend(vec![(deposit, witness)], vec![output(sats, vault)]);
    sim.mine(vec![transaction]);
    sim.chain.origins.last().unwrap().item_count == 1
}

#[test]
fn an_accepted_deposit_mints_once() {
    let (mut sim, _) = start();
    let outpoint = deposit(&mut sim, 50_000);
    assert_eq!(sim.chain.deposits.len(), 1);
    assert!(accept(&mut sim, outpoint, vec![vec![1; 64]], 49_000));
    assert!(
        !accept(&mut sim, outpoint, vec![vec![1; 64]], 49_000),
        "spent outputs are gone"
    );
    let batch = sim.batch(vec![(true, vec![]), (true, vec![])]);
    let log = sim.mine_batch(&batch);
    assert_eq!(log[2], "block 2: 1 transactions, 1 of the inbox");
    assert_eq!(sim.balance(TO), sats_to_wei(49_000));
}

#[test]
fn only_real_deposits_are_recognised() {
    let (mut sim, _) = start();
    deposit(&mut sim, 9_999);
    assert!(sim.chain.deposits.is_empty(), "below the smallest deposit");
    let outpoint = deposit(&mut sim, 50_000);
    let refund = vec![vec![1; 64], vec![0x51], vec![0xc0; 33]];
    assert!(
        !accept(&mut sim, outpoint, refund, 49_000),
        "a refund takes the script path"
    );
    // A tag alone, with an output that is not the vault key's.
    let tag = DepositTag {
        to: TO,
        refund_key: B256::repeat_byte(2),
        call: None,
    };
    let transaction = sim.spend(
        vec![(
            OutPoint {
                txid: outpoint.txid,
                vout: 3,
            },
            vec![],
        )],
        vec![output(0, tag.script().into()), output(50_000, vec![0x51].into())],
    );
    sim.mine(vec![transaction]);
    assert!(sim.chain.deposits.is_empty());
}

#[test]
fn an_accept_counts_until_the_deposit_is_spent() {
    let (mut sim, _) = start();
    let outpoint = deposit(&mut sim, 50_000);
    for _ in 0..u32::from(REFUND_DELAY) * 3 {
        sim.mine(vec![]);
    }
    assert!(accept(&mut sim, outpoint, vec![vec![1; 64]], 49_000));
}

#[test]
fn a_deposit_counts_where_it_is_a_data_output_or_a_baton_too() {
    for vout in [0, 1] {
        let (mut sim, _) = start();
        let (_, deposit) = deposits(&mut sim, 50_000);
        let baton = sim.baton();
        let mut commit = sim.commit_on(baton, 1);
        commit.output[vout] = deposit.output[1].clone();
        commit.output.push(deposit.output[0].clone());
        let outpoint = OutPoint {
            txid: commit.compute_txid(),
            vout: vout as u32,
        };
        sim.mine(vec![commit]);
        assert_eq!(sim.chain.deposits.len(), 1);
        assert!(accept(&mut sim, outpoint, vec![vec![1; 64]], 49_000));
        assert!(sim.chain.deposits.is_empty());
        assert_ne!(sim.baton(), outpoint);
        assert!(sim.chain.batches.is_empty() || vout == 0, "its frame is lost");
    }
}

#[test]
fn the_oldest_deposit_makes_room_when_it_is_forgotten_and_not_before() {
    let (mut sim, _) = start();
    let first = deposit(&mut sim, 50_000);
    let many = (1..MAX_OPEN_DEPOSITS).map(|_| deposits(&mut sim, 50_000));
    let (others, transactions): (Vec<OutPoint>, Vec<Transaction>) = many.unzip();
    sim.mine(transactions);
    let is_open = |sim: &Simulation, outpoint: &OutPoint| {
        let mut open = sim.chain.deposits.iter().map(|open| open.outpoint);
        open.any(|open| open.vout == outpoint.vout && open.txid.0 == outpoint.txid.to_byte_array())
    };
    // One block has passed since the first one's.
    for _ in 0..u32::from(REFUND_DELAY) * 2 - 3 {
        sim.mine(vec![]);
    }
    let last = deposits(&mut sim, 50_000);
    sim.mine(vec![last.1]);
    assert!(is_open(&sim, &first) && !is_open(&sim, &last.0), "a block early");
    let [late, later] = [(); 2].map(|()| deposits(&mut sim, 50_000));
    sim.mine(vec![late.1, later.1]);
    assert!(!is_open(&sim, &first) && is_open(&sim, &late.0));
    assert!(!is_open(&sim, &later.0), "the others are a block younger");
    assert!(others.iter().all(|other| is_open(&sim, other)));
    assert!(!accept(&mut sim, first, vec![vec![1; 64]], 49_000));
}

#[test]
fn the_same_bitcoin_gives_the_same_units() {
    let run = || {
        let (mut sim, mut alice) = start();
        let outpoint = deposit(&mut sim, 50_000);
        accept(&mut sim, outpoint, vec![vec![1; 64]], 49_000);
        let batch = sim.batch(vec![(true, vec![alice.transfer(TO, 5)]), (true, vec![])]);
        sim.mine_batch(&batch);
        for _ in 0..WINDOW * 2 {
            sim.mine(vec![]);
        }
        sim.units
    };
    assert_eq!(run(), run());
}

#[test]
fn real_blocks_are_read() {
    for (mut sim, block) in simulation::real_blocks() {
        assert_eq!(sim.read(block), ["l1"]);
    }
}

#[test]
fn a_state_has_one_encoding() {
    let (sim, _) = start();
    let encoded = sim.chain.encode();
    let mut payload = encoded.as_slice();
    let payload_length = alloy_rlp::Header::decode(&mut payload).unwrap().payload_length + 1;
    let mut longer = Vec::new();
    let list = alloy_rlp::Header {
        list: true,
        payload_length,
    };
    list.encode(&mut longer);
    longer.extend(payload);
    // An empty string where the open batch would stand.
    longer.push(0x80);
    assert!(ChainState::decode(&longer).is_err());
    assert_eq!(ChainState::decode(&encoded), Ok(sim.chain));
}
