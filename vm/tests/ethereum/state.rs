//! State tests: one transaction on a given state.

use std::collections::BTreeMap;
use std::path::Path;

use alloy_consensus::TxReceipt;
use alloy_eips::eip2718::Decodable2718;
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use bitsect_vm::chain::{ExecutionParams, Transaction};
use bitsect_vm::execute::{
    BlockExecutor, Evm, Fault, FeeRules, StateDb, TransactError, cfg_env, recover_sender,
};
use revm::context::BlockEnv;
use revm::context_interface::block::BlobExcessGasAndPrice;
use revm::primitives::hardfork::SpecId;
use serde::Deserialize;

use crate::creations::Creations;
use crate::fixture::{Alloc, compare, has_large_balance, load, read, storage_without_code};
use crate::report::{Report, Skip, Verdict, is_expected, is_undecodable, spec_of};

#[derive(Deserialize)]
struct Case {
    env: Env,
    pre: Alloc,
    post: BTreeMap<String, Vec<Post>>,
    config: Config,
}

#[derive(Deserialize)]
struct Config {
    chainid: U256,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Env {
    current_coinbase: Address,
    current_gas_limit: U256,
    current_number: U256,
    current_timestamp: U256,
    current_base_fee: Option<U256>,
    current_random: Option<B256>,
    current_excess_blob_gas: Option<U256>,
}

#[derive(Deserialize)]
struct Post {
    logs: B256,
    txbytes: Bytes,
    state: Alloc,
    #[serde(rename = "expectException")]
    exception: Option<String>,
}

/// Runs every case of a file.
pub fn run_file(file: &Path, report: &mut Report) {
    report.files += 1;
    for (name, case) in read::<Case>(file) {
        for (network, posts) in &case.post {
            for post in posts {
                let verdict = match spec_of(network) {
                    None => Verdict::Skipped(Skip::OtherFork),
                    Some(_) if post.txbytes.first() == Some(&3) => Verdict::Skipped(Skip::Blobs),
                    Some(spec) => run(&case, post, spec),
                };
                if let (Verdict::Passed, Some(exception)) = (&verdict, &post.exception) {
                    report.count_refused(exception);
                }
                report.count(network, &name, verdict);
            }
        }
    }
}

fn block_env(env: &Env, spec: SpecId) -> BlockEnv {
    let excess = env.current_excess_blob_gas.unwrap_or_default().to();
    BlockEnv {
        number: env.current_number,
        beneficiary: env.current_coinbase,
        timestamp: env.current_timestamp,
        gas_limit: env.current_gas_limit.saturating_to(),
        basefee: env.current_base_fee.unwrap_or_default().to(),
        difficulty: U256::ZERO,
        prevrandao: Some(env.current_random.unwrap_or_default()),
        blob_excess_gas_and_price: Some(BlobExcessGasAndPrice::new_with_spec(excess, spec)),
        slot_num: 0,
    }
}

fn run(case: &Case, post: &Post, spec: SpecId) -> Verdict {
    let mut bytes = post.txbytes.as_ref();
    let decoded = Transaction::decode_2718(&mut bytes)
        .ok()
        .filter(|_| bytes.is_empty());
    let Some(transaction) = decoded else {
        return match &post.exception {
            Some(exception) if is_undecodable(exception) => Verdict::Passed,
            _ => Verdict::Failed("the transaction does not decode".to_owned()),
        };
    };
    let Some(sender) = recover_sender(&transaction) else {
        return Verdict::Failed("the transaction has no sender".to_owned());
    };
    let mut state = load(&case.pre);
    let params = ExecutionParams::ethereum(case.config.chainid.to(), spec);
    let number: u64 = case.env.current_number.to();
    let db = StateDb::new(&state, number.saturating_sub(1), B256::ZERO);
    let evm = Evm::new(
        cfg_env(&params),
        block_env(&case.env, spec),
        FeeRules::default(),
        db,
        Creations::default(),
    );
    let mut executor = BlockExecutor::from_evm(evm);
    let forbidden = storage_without_code(&case.pre);
    let result = if forbidden.is_empty() {
        executor.transact(&transaction, sender)
    } else {
        executor.inspect(&transaction, sender)
    };
    if !forbidden.is_disjoint(&executor.inspector_mut().0) {
        return Verdict::Skipped(Skip::StorageWithoutCode);
    }
    match (&result, &post.exception) {
        (Ok(_), None) => {}
        (Ok(_), Some(exception)) => return Verdict::Failed(format!("accepted, but {exception}")),
        (Err(TransactError::Invalid(reason)), Some(exception)) if is_expected(reason, exception) => {}
        (Err(error), exception) => {
            return Verdict::Failed(format!("refused with {error:?}, expected {exception:?}"));
        }
    }
    let outcome = match executor.finish() {
        Ok(outcome) => outcome,
        Err(Fault::BalanceTooLarge { .. }) if has_large_balance(&post.state) => {
            return Verdict::Skipped(Skip::LargeBalance);
        }
        Err(fault) => return Verdict::Failed(fault.to_string()),
    };
    if result.is_err() && !outcome.changes.accounts.is_empty() {
        return Verdict::Failed("a refused transaction changed the state".to_owned());
    }
    let logs: Vec<_> = outcome
        .receipts
        .iter()
        .flat_map(TxReceipt::logs)
        .cloned()
        .collect();
    let logs = keccak256(alloy_rlp::encode(&logs));
    if logs != post.logs {
        return Verdict::Failed(format!("logs hash: got {logs}, want {}", post.logs));
    }
    state.apply(&outcome.changes);
    match compare(&state, &post.state) {
        Ok(()) => Verdict::Passed,
        Err(difference) => Verdict::Failed(difference),
    }
}
