//! A chain with something of everything: batches good and bad, deposits, forced transactions, contracts, silence.

use alloy_primitives::{Address, B256, Bytes, TxKind, U256, address};
use bitcoin::{OutPoint, ScriptBuf};
use bitsect_vm::chain::Transaction;
use bitsect_vm::derive::payload::encode;
use bitsect_vm::derive::{DepositTag, forced_script, vault_script};

use crate::simulation::{Simulation, Wallet, encoded, output};

const TO: Address = Address::repeat_byte(0xaa);
/// The address of the precompile that recovers signers.
const ECRECOVER: Address = address!("0000000000000000000000000000000000000001");

/// Init code of a contract that, called, counts in slot 0, writes slot CALLER, hashes 136 bytes of memory and logs.
const INIT_CODE: &str = "601d600c600039601d6000f3\
    600160005401600055600054335560886000206020526020602060006000a100";

/// A number that follows from the one before: xorshift.
fn next(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

/// Runs a chain of `blocks` L1 blocks.
pub fn busy_chain(seed: u64, blocks: u32) -> Simulation {
    let mut wallet = Wallet::new(1);
    let mut sim = Simulation::new(&[wallet.address]);
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut deposit = None;
    for _ in 0..blocks {
        let mut transactions = Vec::new();
        match next(&mut random) % 8 {
            0 => {}
            1 => transactions.push(forced(&mut sim, &mut wallet, next(&mut random) % 3)),
            2 => {
                let (transaction, outpoint) = deposit_output(&mut sim);
                transactions.push(transaction);
                deposit = Some(outpoint);
            }
            3 => {
                if let Some(outpoint) = deposit.take() {
                    transactions.push(accept(&mut sim, outpoint));
                }
            }
            4 => transactions.extend(sim.post(b"no payload at all", 1)),
            5 => {
                // The second block is invalid: its transaction's nonce is too high.
                let good = wallet.transfer(TO, 1);
                let bad = wallet.transfer_with(TO, 1, wallet.nonce + 7, crate::simulation::CHAIN_ID, 21_000);
                let batch = sim.batch(vec![(false, vec![good]), (false, vec![bad])]);
                transactions.extend(sim.post(&encode(&batch).unwrap(), 1));
            }
            _ => {
                let advances = !sim.chain.origins.is_empty();
                let count = next(&mut random) % 6;
                let first = (0..count).map(|_| call(&mut wallet, next(&mut random))).collect();
                let batch = sim.batch(vec![(advances, first), (false, vec![call(&mut wallet, random)])]);
                let frames = 1 + next(&mut random) as usize % 3;
                transactions.extend(sim.post(&encode(&batch).unwrap(), frames));
            }
        }
        sim.mine(transactions);
        // What a dropped batch would have spent is not spent.
        wallet.nonce = sim.nonce(wallet.address);
    }
    sim
}

/// A transfer, a contract's creation, a call of one, or of a precompile, delegations of which some hold.
fn call(wallet: &mut Wallet, choice: u64) -> Transaction {
    let created = Address::repeat_byte(0x11).create(choice % 3);
    match choice % 6 {
        0 => {
            let init: Vec<u8> = alloy_primitives::hex::decode(INIT_CODE).unwrap();
            wallet.call(TxKind::Create, 0, init.into(), 300_000)
        }
        1 => wallet.call(
            TxKind::Call(wallet.address.create(choice % 16)),
            0,
            Bytes::new(),
            200_000,
        ),
        2 => wallet.call(TxKind::Call(ECRECOVER), 0, Bytes::from(vec![1; 128]), 60_000),
        3 => wallet.call(TxKind::Call(created), choice % 1_000, Bytes::new(), 60_000),
        4 => {
            let delegates = |nonce| Wallet::new(100 + (choice % 4) as u8).authorize(TO, nonce);
            wallet.delegate((0..3).map(delegates).collect())
        }
        _ => wallet.transfer(TO, choice % 1_000),
    }
}

fn forced(sim: &mut Simulation, wallet: &mut Wallet, late: u64) -> bitcoin::Transaction {
    let transaction = wallet.transfer_with(TO, 3, wallet.nonce + late, crate::simulation::CHAIN_ID, 30_000);
    let script = forced_script(&encoded(&transaction)).into();
    let mut transaction = sim.spend(vec![], vec![output(0, script)]);
    transaction.input.push(bitcoin::TxIn::default());
    transaction
}

fn deposit_output(sim: &mut Simulation) -> (bitcoin::Transaction, OutPoint) {
    let tag = DepositTag {
        to: TO,
        refund_key: B256::repeat_byte(2),
        call: None,
    };
    let script: ScriptBuf = tag.output_script(&sim.params.derive).unwrap().into();
    let inputs = vec![(OutPoint::null(), vec![])];
    let mut transaction = sim.spend(
        inputs,
        vec![output(0, tag.script().into()), output(50_000, script)],
    );
    transaction.input[0].previous_output.vout = 5;
    let outpoint = OutPoint {
        txid: transaction.compute_txid(),
        vout: 1,
    };
    (transaction, outpoint)
}

fn accept(sim: &mut Simulation, deposit: OutPoint) -> bitcoin::Transaction {
    let vault: ScriptBuf = vault_script(&sim.params.derive).unwrap().into();
    sim.spend(vec![(deposit, vec![vec![1; 64]])], vec![output(49_000, vault)])
}

#[test]
fn a_busy_chain_has_units_of_every_kind() {
    let sim = busy_chain(1, 60);
    let has = |text: &str| {
        assert!(
            sim.log.iter().any(|line| line.contains(text)),
            "{text}: {:?}",
            sim.log
        )
    };
    has("l1");
    has("dropped: payload");
    has("dropped: block");
    has("1 of the inbox");
    has("5 transactions");
    assert!(sim.balance(TO) > U256::from(49_000));
}
