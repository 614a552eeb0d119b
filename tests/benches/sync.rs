//! A verifier's way from nothing to the sequencer's last block, from Bitcoin alone: transactions and gas a second, and as
//! a ratio to `execute_block` on the same kind of transfers in memory. And what the batches take of Bitcoin.
//!
//! `cargo build --release -p bitsect-node && cargo bench -p bitsect-tests --bench sync`

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use alloy_consensus::{Header, TxReceipt};
use alloy_eips::eip2718::Decodable2718;
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use bitsect_tests::load::{ACCOUNTS, Load, prepare, send_all, sign_all, token_runtime, wait_included};
use bitsect_tests::{Network, NetworkOptions, Rpc, Wallet, number};
use bitsect_vm::chain::predeploys::FEE_VAULT;
use bitsect_vm::chain::{BlockAttributes, ExecutionParams, Transaction};
use bitsect_vm::execute::execute_block;
use bitsect_vm::state::Account;
use bitsect_vm::state::FlatState;

/// Transactions of each account and kind.
const EACH: usize = 400;
/// Time between two L1 blocks while the chain is made.
const L1_INTERVAL: Duration = Duration::from_secs(1);
/// Fee rates that costs are given at, in sats per vB.
const RATES: [f64; 3] = [1.0, 10.0, 50.0];

/// Executes all transfers in one block in memory; gives its gas and the fastest of some runs.
fn execute_alone(
    network: &Network,
    signed: &[Vec<Vec<u8>>],
    wallets: &[Wallet],
    token: Address,
) -> (u64, Duration) {
    let gas_limit = 10_000_000_000;
    let params = ExecutionParams {
        gas_limit: Some(gas_limit),
        ..network.chain().params.execution.clone()
    };
    let parent = Header {
        gas_limit,
        base_fee_per_gas: Some(1_000_000),
        ..Header::default()
    };
    let attributes = BlockAttributes {
        number: 1,
        timestamp: 1,
        beneficiary: FEE_VAULT,
        gas_limit,
        prev_randao: B256::ZERO,
        parent_beacon_block_root: B256::ZERO,
        extra_data: Bytes::new(),
        new_origin: None,
    };
    let mut state = FlatState::default();
    let code = token_runtime();
    let account = |balance, nonce, code: &Bytes| Account {
        nonce,
        balance,
        code_hash: keccak256(code),
        code_size: u32::try_from(code.len()).expect("a small contract"),
    };
    state.set_account(token, account(U256::ZERO, 1, &code), code);
    let (mut transactions, mut senders) = (Vec::new(), Vec::new());
    for (signed, wallet) in signed.iter().zip(wallets) {
        let decode = |raw: &Vec<u8>| Transaction::decode_2718(&mut raw.as_slice()).expect("a transaction");
        let own: Vec<Transaction> = signed.iter().map(decode).collect();
        senders.extend(own.iter().map(|_| wallet.address));
        let nonce = alloy_consensus::Transaction::nonce(own.first().expect("every account sends"));
        let rich = account(U256::from(10).pow(U256::from(20)), nonce, &Bytes::new());
        state.set_account(wallet.address, rich, Bytes::new());
        let slot = keccak256([wallet.address.into_word().0, [0; 32]].concat());
        state.set_storage(token, slot.into(), U256::from(1_000_000_000));
        transactions.extend(own);
    }
    let run = || {
        let start = Instant::now();
        let outcome = execute_block(&params, &parent, &attributes, &transactions, &senders, &state)
            .expect("the block is valid");
        assert!(outcome.receipts.iter().all(|receipt| receipt.status()));
        (outcome.gas_used, start.elapsed())
    };
    (0..5)
        .map(|_| run())
        .min_by_key(|(_, time)| *time)
        .expect("some runs")
}

/// Sums a field of blocks `1..=last`, and counts their transactions.
async fn count(rpc: &Rpc, last: u64) -> (u64, u64) {
    let (mut transactions, mut gas) = (0, 0);
    for block in 1..=last {
        let block = rpc.block(block).await;
        transactions += block["transactions"].as_array().expect("transactions").len() as u64;
        gas += number(&block["gasUsed"]);
    }
    (transactions, gas)
}

/// Gives the virtual bytes of everything but coinbases above an L1 block: nothing but batches is there.
async fn virtual_bytes(network: &Network, above: u32) -> u64 {
    let client = network.core.client();
    let tip = network.core.tip().await.expect("Bitcoin has a tip").height;
    let mut total = 0;
    for height in above + 1..=tip {
        let hash = client.get_block_hash(height).await.expect("Bitcoin Core answers");
        let block = client.get_block(&hash.expect("a block")).await.expect("a block");
        let batches = block.txdata.iter().filter(|tx| !tx.is_coinbase());
        total += batches.map(|tx| tx.vsize() as u64).sum::<u64>();
    }
    total
}

#[tokio::main]
async fn main() {
    let network = Network::start(NetworkOptions::default()).await;
    let sequencer = network.sequencer().await;
    let (mut wallets, token) = prepare(&sequencer.rpc).await;
    let prepared = sequencer.rpc.height("latest").await;
    network.mine_until_safe(&sequencer.rpc, prepared).await;
    let before = network.core.tip().await.expect("Bitcoin has a tip").height;
    let mut alone = BTreeMap::new();
    for (name, load) in [("ETH", Load::Eth), ("ERC-20", Load::Erc20(token))] {
        let signed = sign_all(&mut wallets, load, EACH);
        alone.insert(name, execute_alone(&network, &signed, &wallets, token));
        let sending = send_all(&sequencer.rpc, signed);
        tokio::pin!(sending);
        let mut ticks = tokio::time::interval(L1_INTERVAL);
        loop {
            tokio::select! {
                () = &mut sending => break,
                _ = ticks.tick() => { network.core.mine(1).await.expect("a block is mined"); }
            }
        }
        wait_included(&sequencer.rpc, &wallets).await;
    }
    let last = sequencer.rpc.height("latest").await;
    network.mine_until_safe(&sequencer.rpc, last).await;
    let (transactions, gas) = count(&sequencer.rpc, last).await;
    drop(sequencer);

    let start = Instant::now();
    let verifier = network.verifier("verifier").await;
    bitsect_tests::until("the verifier to reach the last block", || async {
        let safe = verifier.rpc.height("safe").await;
        if safe >= last {
            Ok(())
        } else {
            Err(format!("safe is {safe} of {last}"))
        }
    })
    .await;
    let took = start.elapsed().as_secs_f64();
    println!(
        "verifier sync: {last} blocks, {transactions} transactions in {took:.2} s: {:.0} tx/s, {:.1} Mgas/s",
        transactions as f64 / took,
        gas as f64 / took / 1e6
    );
    let (mut alone_gas, mut alone_time) = (0, 0.0);
    for (name, (gas, time)) in &alone {
        let time = time.as_secs_f64();
        println!(
            "execute_block alone, {name}: {:.0} tx/s, {:.1} Mgas/s",
            (ACCOUNTS * EACH) as f64 / time,
            *gas as f64 / time / 1e6
        );
        (alone_gas, alone_time) = (alone_gas + gas, alone_time + time);
    }
    let ratio = (gas as f64 / took) / (alone_gas as f64 / alone_time);
    println!("sync in gas a second is {ratio:.2} of execute_block alone");
    let bytes = virtual_bytes(&network, before).await as f64 / (2 * ACCOUNTS * EACH) as f64;
    let costs = RATES.map(|rate| format!("{:.1} at {rate}", bytes * rate));
    println!(
        "on Bitcoin: {bytes:.1} vB a transaction; sats a transaction: {} sat/vB",
        costs.join(", ")
    );
}
