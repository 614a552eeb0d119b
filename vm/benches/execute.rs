//! `execute_block` on 10,000 ERC-20 transfers against bare revm with its in-memory database, on the same transactions.
//!
//! Bare revm is measured twice: as its users mostly write it (`transact_commit`, changes go to the database after
//! every transaction), and in its fastest form (all transactions in one journal, one commit at the end). Both give
//! neither receipts nor net changes. Rounds are interleaved, and what counts is the thread's CPU time, so that a busy
//! machine does not decide. `cargo bench -p bitsect-vm --bench execute`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use alloy_consensus::{Header, SignableTransaction, TxEip1559, TxReceipt};
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256, hex, keccak256};
use bitsect_vm::chain::{BlockAttributes, ExecutionParams, Transaction, predeploys::FEE_VAULT};
use bitsect_vm::execute::{
    BlockOutcome, EvmTransaction, block_env, cfg_env, execute_block, next_base_fee, seal,
};
use bitsect_vm::state::{Account, FlatState};
use revm::context::TxEnv;
use revm::database::{CacheDB, EmptyDB};
use revm::primitives::hardfork::SpecId;
use revm::state::{AccountInfo, Bytecode};
use revm::{Context, Database, ExecuteCommitEvm, ExecuteEvm, MainBuilder, MainContext};
use rustix::time::{ClockId, clock_gettime};

/// The node's allocator: receipts outlive their transaction, which glibc's small caches do not like.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Transfers in the block.
const TRANSFERS: u64 = 10_000;
/// Accounts that send in turn.
const SENDERS: u64 = 50;
/// Rounds; the middle one counts.
const ROUNDS: u32 = 25;
/// The chain's id.
const CHAIN_ID: u64 = 7;
/// A block that holds all of it.
const GAS_LIMIT: u64 = 2_000_000_000;
const TOKEN: Address = Address::repeat_byte(0x70);
const TOKEN_CODE: &str = include_str!("Token.hex");
const COIN: u128 = 1_000_000_000_000_000_000;

type BareDb = CacheDB<EmptyDB>;

struct Load {
    params: ExecutionParams,
    parent: Header,
    attributes: BlockAttributes,
    transactions: Vec<Transaction>,
    senders: Vec<Address>,
    state: FlatState,
    bare: BareDb,
    bare_transactions: Vec<TxEnv>,
}

fn address(seed: u64) -> Address {
    Address::from_word(keccak256(seed.to_be_bytes()))
}

/// The slot of a balance in the token.
fn balance_slot(owner: Address) -> U256 {
    let mut key = [0; 64];
    key[12..32].copy_from_slice(owner.as_slice());
    keccak256(key).into()
}

fn load(fresh: bool) -> Load {
    let params = ExecutionParams {
        chain_id: CHAIN_ID,
        spec: SpecId::OSAKA,
        base_fee_recipient: Some(FEE_VAULT),
        l1_fee: true,
        min_timestamp_step: 0,
        gas_limit: Some(GAS_LIMIT),
    };
    let parent = Header {
        gas_limit: GAS_LIMIT,
        gas_used: GAS_LIMIT / 2,
        base_fee_per_gas: Some(1_000_000_000),
        ..Header::default()
    };
    let attributes = BlockAttributes {
        number: 1,
        timestamp: 1,
        beneficiary: FEE_VAULT,
        gas_limit: GAS_LIMIT,
        prev_randao: B256::ZERO,
        parent_beacon_block_root: B256::ZERO,
        extra_data: Bytes::new(),
        new_origin: None,
    };
    let mut state = FlatState::default();
    let mut bare = BareDb::default();
    let code = Bytes::from(hex::decode(TOKEN_CODE.trim()).unwrap());
    let empty = Account {
        nonce: 0,
        balance: U256::ZERO,
        code_hash: keccak256([]),
        code_size: 0,
    };
    let token = Account {
        nonce: 1,
        code_hash: keccak256(&code),
        code_size: u32::try_from(code.len()).unwrap(),
        ..empty
    };
    state.set_account(TOKEN, token, code.clone());
    let info = AccountInfo::new(U256::ZERO, 1, keccak256(&code), Bytecode::new_raw(code));
    bare.insert_account_info(TOKEN, info);
    for sender in (0..SENDERS).map(address) {
        let rich = U256::from(1_000 * COIN);
        state.set_account(
            sender,
            Account {
                balance: rich,
                ..empty
            },
            Bytes::new(),
        );
        state.set_storage(TOKEN, balance_slot(sender), U256::from(COIN));
        bare.insert_account_info(sender, AccountInfo::from_balance(rich));
        bare.insert_account_storage(TOKEN, balance_slot(sender), U256::from(COIN))
            .unwrap();
    }
    let senders: Vec<Address> = (0..TRANSFERS).map(|index| address(index % SENDERS)).collect();
    let transactions: Vec<Transaction> = (0..TRANSFERS).map(|index| transfer(index, fresh)).collect();
    let bare_transactions = transactions
        .iter()
        .zip(&senders)
        .map(|(transaction, sender)| EvmTransaction::new(transaction, *sender).unwrap().env)
        .collect();
    Load {
        params,
        parent,
        attributes,
        transactions,
        senders,
        state,
        bare,
        bare_transactions,
    }
}

/// The transfer at an index; to an address that was never seen before, or to another sender.
fn transfer(index: u64, fresh: bool) -> Transaction {
    let to = if fresh {
        address(1_000_000 + index)
    } else {
        address((index * 7 + 1) % SENDERS)
    };
    let mut input = Vec::from(&keccak256("transfer(address,uint256)")[..4]);
    input.extend_from_slice(to.into_word().as_slice());
    input.extend_from_slice(&U256::from(1_000 + index).to_be_bytes::<32>());
    TxEip1559 {
        chain_id: CHAIN_ID,
        nonce: index / SENDERS,
        gas_limit: 100_000,
        max_fee_per_gas: 2_000_000_000,
        max_priority_fee_per_gas: 1,
        to: TxKind::Call(TOKEN),
        input: input.into(),
        ..TxEip1559::default()
    }
    .into_signed(Signature::test_signature())
    .into()
}

/// CPU time of this thread.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).expect("CPU time is not negative")
}

fn ours(load: &Load) -> (Duration, BlockOutcome) {
    let start = cpu_time();
    let outcome = execute_block(
        &load.params,
        &load.parent,
        &load.attributes,
        &load.transactions,
        &load.senders,
        &load.state,
    );
    let outcome = outcome.expect("the block is valid");
    (cpu_time() - start, outcome)
}

/// revm with its in-memory database; `each` commits after every transaction.
fn bare(load: &Load, each: bool) -> (Duration, BareDb) {
    // Neither cloning the database nor the transactions is revm's work.
    let db = load.bare.clone();
    let transactions = load.bare_transactions.clone();
    let base_fee = next_base_fee(&load.params, &load.parent);
    let start = cpu_time();
    let context = Context::mainnet()
        .with_db(db)
        .with_cfg(cfg_env(&load.params))
        .with_block(block_env(load.params.spec, &load.attributes, base_fee));
    let mut evm = context.build_mainnet();
    for transaction in transactions {
        let result = if each {
            evm.transact_commit(transaction)
        } else {
            evm.transact_one(transaction)
        };
        assert!(black_box(result.expect("the transaction is valid")).is_success());
    }
    if !each {
        evm.commit_inner();
    }
    let elapsed = cpu_time() - start;
    (elapsed, evm.ctx.journaled_state.database)
}

/// Both must have done the same: the token's balances.
fn verify_same(load: &Load, outcome: &BlockOutcome, mut db: BareDb) {
    assert!(outcome.receipts.iter().all(TxReceipt::status));
    let slots = &outcome.changes.accounts[&TOKEN].storage;
    assert!(slots.len() >= SENDERS as usize / 2);
    for (slot, (_, after)) in slots {
        assert_eq!(db.storage(TOKEN, *slot).unwrap(), *after);
    }
    assert_eq!(load.transactions.len(), outcome.receipts.len());
}

/// The middle one.
fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

fn measure(name: &str, fresh: bool) {
    let load = load(fresh);
    let [mut mine, mut each, mut one, mut sealing] = [const { Vec::new() }; 4];
    let mut gas = 0;
    for round in 0..ROUNDS {
        let (time, outcome) = ours(&load);
        mine.push(time.as_secs_f64());
        let (time, db) = bare(&load, true);
        each.push(time.as_secs_f64());
        if round == 0 {
            verify_same(&load, &outcome, db);
        }
        let (time, db) = bare(&load, false);
        one.push(time.as_secs_f64());
        if round == 0 {
            verify_same(&load, &outcome, db);
        }
        gas = outcome.gas_used;
        // Sealing uses all cores: time on the wall.
        let start = Instant::now();
        black_box(seal(
            &load.parent,
            &load.attributes,
            &load.transactions,
            &outcome,
            B256::ZERO,
        ));
        sealing.push(start.elapsed().as_secs_f64());
    }
    let ratio = |peer: &[f64]| median(mine.iter().zip(peer).map(|(mine, peer)| mine / peer).collect());
    let ratios = [ratio(&each), ratio(&one)];
    let [mine, each, one, sealing] = [mine, each, one, sealing].map(|samples| median(samples) * 1e3);
    println!("{name}: {TRANSFERS} ERC-20 transfers, {gas} gas, medians of {ROUNDS} interleaved rounds");
    println!("  execute_block                {mine:8.2} ms");
    println!(
        "  bare revm, commit each       {each:8.2} ms   ratio {:.3}",
        ratios[0]
    );
    println!(
        "  bare revm, one journal       {one:8.2} ms   ratio {:.3}",
        ratios[1]
    );
    println!("  (sealing: roots and blooms   {sealing:8.2} ms on the wall, all cores)");
}

fn main() {
    // `cargo test --benches` runs it too, without this argument: that it builds is enough there.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    measure("to fresh addresses", true);
    measure("among 50 accounts", false);
}
