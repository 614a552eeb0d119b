//! `eth_call`, `eth_estimateGas`, `eth_createAccessList`.

use std::time::Instant;

use alloy_eips::eip2930::AccessList;
use alloy_primitives::{Bytes, TxKind, U64, U256};
use alloy_rpc_types::state::StateOverride;
use alloy_rpc_types::{AccessListResult, BlockId, BlockOverrides, TransactionRequest};
use bitsect_vm::execute::{EvmTransaction, read_fee_rate};
use revm::context::result::{ExecutionResult, HaltReason};
use revm::database_interface::DatabaseRef;
use revm::inspector::Inspector;
use revm::interpreter::interpreter::EthInterpreter;
use revm::primitives::eip7825::TX_GAS_LIMIT_CAP;
use revm_inspectors::access_list::AccessListInspector;

use crate::rpc::args::Args;
use crate::rpc::context::{self, Context, Module, heavy};
use crate::rpc::error::{self, RpcResult};
use crate::rpc::evm::{
    self, CallDb, CallEnv, Deadline, EvmContext, database, names_price, override_block, override_state,
    unsuccessful,
};

/// Gas of a plain transfer.
const TRANSFER_GAS: u64 = 21_000;
/// Gas that a value transfer gives the callee for nothing; it must be there although it is not used.
const CALL_STIPEND: u64 = 2_300;
/// An estimate may be above the least gas by this share (Geth's 1.5 %): it saves most of the search.
const ESTIMATE_ERROR: f64 = 0.015;
/// Rounds in which the access list must stop growing.
const ACCESS_LIST_ROUNDS: usize = 16;

pub(super) fn register(module: &mut Module) {
    heavy(module, "eth_call", 4, call);
    heavy(module, "eth_estimateGas", 4, estimate_gas);
    heavy(module, "eth_createAccessList", 3, create_access_list);
}

/// The parameters that all three have.
struct Question {
    request: TransactionRequest,
    env: CallEnv,
    db: Option<CallDb>,
    /// The L1 fee rate of the state, sat per 1,000 vB.
    l1_fee_rate: u64,
    snapshot: crate::store::Snapshot,
    number: u64,
    state: Option<StateOverride>,
    block: Option<Box<BlockOverrides>>,
}

impl Question {
    fn parse(context: &Context, args: &mut Args, block_overrides: bool) -> RpcResult<Self> {
        let request: TransactionRequest = args.required()?;
        let id: BlockId = args.optional()?.unwrap_or_default();
        let state: Option<StateOverride> = args.optional()?;
        let block: Option<Box<BlockOverrides>> = if block_overrides { args.optional()? } else { None };
        let snapshot = context.snapshot()?;
        let header = context::header(&snapshot, id)?;
        let number = header.header.number;
        let reader = context::state(&snapshot, number)?;
        let l1_fee_rate = match context.params.execution.l1_fee {
            true => read_fee_rate(&reader).map_err(error::internal)?,
            false => 0,
        };
        let mut env = CallEnv::of(context, &header.header);
        env.relax();
        let mut question = Self {
            request,
            env,
            db: None,
            l1_fee_rate,
            snapshot,
            number,
            state,
            block,
        };
        question.db = Some(question.prepare()?);
        Ok(question)
    }

    /// Opens the state with its overrides. A run consumes it; the next run needs another.
    fn prepare(&mut self) -> RpcResult<CallDb> {
        let mut db = database(&self.snapshot, self.number)?;
        if let Some(state) = self.state.clone() {
            override_state(&mut db, state)?;
        }
        if let Some(block) = self.block.clone() {
            override_block(&mut self.env.block, &mut db, *block, self.env.cfg.spec)?;
        }
        Ok(db)
    }

    fn transaction(&self, context: &Context, db: &CallDb) -> RpcResult<EvmTransaction> {
        evm::transaction(
            &self.request,
            db,
            context.params.execution.chain_id,
            context.config.gas_cap,
        )
    }

    /// Runs a transaction on the state, which stays as it is; reads are kept in the cache.
    fn run<I: Inspector<EvmContext, EthInterpreter>>(
        &mut self,
        tx: EvmTransaction,
        inspector: I,
        deadline: Instant,
    ) -> RpcResult<(ExecutionResult<HaltReason>, I)> {
        let db = match self.db.take() {
            Some(db) => db,
            None => self.prepare()?,
        };
        let mut evm = self.env.evm(db, (Deadline::new(deadline), inspector));
        let result = evm.inspect(tx.clone());
        let (context, (deadline, inspector)) = evm.into_parts();
        // The journal is dropped, so the database has only what it had and what was read.
        self.db = Some(context.journaled_state.database);
        if deadline.expired {
            return Err(error::timeout());
        }
        let result = result.map_err(|fault| evm::failed(fault, &tx, &self.env))?;
        Ok((result, inspector))
    }
}

fn call(context: &Context, args: &mut Args, deadline: Instant) -> RpcResult<Bytes> {
    let mut question = Question::parse(context, args, true)?;
    let db = question.db.take().map_or_else(|| question.prepare(), Ok)?;
    let tx = question.transaction(context, &db)?;
    question.db = Some(db);
    let (result, _) = question.run(tx, revm::inspector::NoOpInspector, deadline)?;
    match unsuccessful(&result) {
        Some(error) => Err(error),
        None => Ok(result.into_output().unwrap_or_default()),
    }
}

fn estimate_gas(context: &Context, args: &mut Args, deadline: Instant) -> RpcResult<U64> {
    let mut question = Question::parse(context, args, true)?;
    let db = question.db.take().map_or_else(|| question.prepare(), Ok)?;
    let mut tx = question.transaction(context, &db)?;
    // Unlike a call, what is estimated is to be sent: the cap on one transaction counts, and so does the L1 fee.
    let limit = TX_GAS_LIMIT_CAP
        .min(question.env.block.gas_limit)
        .min(context.config.gas_cap);
    let mut high = tx.env.gas_limit.min(limit);
    if names_price(&tx) {
        question.env.fees.l1_fee_rate = question.l1_fee_rate;
        high = high.min(affordable(&db, &tx, &question.env)?);
    }
    let plain =
        tx.env.data.is_empty() && tx.env.authorization_list.is_empty() && tx.env.access_list.is_empty();
    let to_account = match tx.env.kind {
        TxKind::Call(to) => {
            let code = db.basic_ref(to).map_err(error::internal)?;
            code.is_none_or(|account| account.is_empty_code_hash()) && !is_precompile(&question.env, to)
        }
        TxKind::Create => false,
    };
    question.db = Some(db);
    if plain && to_account && high >= TRANSFER_GAS {
        tx.env.gas_limit = TRANSFER_GAS;
        if question
            .run(tx.clone(), revm::inspector::NoOpInspector, deadline)?
            .0
            .is_success()
        {
            return Ok(U64::from(TRANSFER_GAS));
        }
    }
    search(&mut question, tx, high, deadline).map(U64::from)
}

/// The gas that the balance pays for at the named price.
fn affordable(db: &CallDb, tx: &EvmTransaction, env: &CallEnv) -> RpcResult<u64> {
    let balance = db
        .basic_ref(tx.env.caller)
        .map_err(error::internal)?
        .map_or(U256::ZERO, |a| a.balance);
    let spent = tx.env.value.saturating_add(env.fees.l1_fee(tx.l1_bytes));
    let left = balance.checked_sub(spent).ok_or_else(|| {
        error::server(format!(
            "insufficient funds for gas * price + value: address {} have {balance} want {spent}",
            tx.env.caller
        ))
    })?;
    let gas = left
        .checked_div(U256::from(tx.env.gas_price))
        .unwrap_or(U256::MAX);
    Ok(u64::try_from(gas).unwrap_or(u64::MAX))
}

/// Finds the least gas with which the transaction succeeds, to within the allowed error.
fn search(
    question: &mut Question,
    mut tx: EvmTransaction,
    mut high: u64,
    deadline: Instant,
) -> RpcResult<u64> {
    let mut attempt = |gas: u64| {
        tx.env.gas_limit = gas;
        question
            .run(tx.clone(), revm::inspector::NoOpInspector, deadline)
            .map(|(result, _)| result)
    };
    let first = attempt(high)?;
    if let ExecutionResult::Halt {
        reason: HaltReason::OutOfGas(_),
        ..
    } = first
    {
        return Err(error::server(format!("gas required exceeds allowance ({high})")));
    }
    if let Some(error) = unsuccessful(&first) {
        return Err(error);
    }
    let used = first.tx_gas_used();
    let mut low = used.saturating_sub(1);
    // Most transactions succeed with what they used, the refund, and a 63rd for every call below.
    let spent = used
        .saturating_add(first.gas().final_refunded())
        .saturating_add(CALL_STIPEND);
    let optimistic = spent.saturating_add(spent / 63).saturating_add(1);
    if optimistic < high {
        match enough(&attempt(optimistic)) {
            true => high = optimistic,
            false => low = optimistic,
        }
    }
    while low.saturating_add(1) < high {
        if (high.saturating_sub(low)) as f64 / (high as f64) < ESTIMATE_ERROR {
            break;
        }
        // Needs are mostly near the low end: look there first.
        let middle = (low / 2)
            .saturating_add(high / 2)
            .min(low.saturating_mul(2))
            .max(low.saturating_add(1));
        let result = attempt(middle);
        if let Err(error) = &result
            && error.code() == error::TIMEOUT
        {
            return Err(error.clone());
        }
        match enough(&result) {
            true => high = middle,
            false => low = middle,
        }
    }
    Ok(high)
}

/// Whether an attempt succeeded. Too little gas for the transaction itself is an error of its own kind.
fn enough(result: &RpcResult<ExecutionResult<HaltReason>>) -> bool {
    result.as_ref().is_ok_and(ExecutionResult::is_success)
}

fn is_precompile(env: &CallEnv, address: alloy_primitives::Address) -> bool {
    let spec = revm::precompile::PrecompileSpecId::from_spec_id(env.cfg.spec);
    revm::precompile::Precompiles::new(spec).contains(&address)
}

fn create_access_list(context: &Context, args: &mut Args, deadline: Instant) -> RpcResult<AccessListResult> {
    let mut question = Question::parse(context, args, false)?;
    let mut list = question.request.access_list.clone().unwrap_or_default();
    for _ in 0..ACCESS_LIST_ROUNDS {
        question.request.access_list = Some(list.clone());
        let db = question.db.take().map_or_else(|| question.prepare(), Ok)?;
        let tx = question.transaction(context, &db)?;
        question.db = Some(db);
        let (result, inspector) = question.run(tx, AccessListInspector::new(list.clone()), deadline)?;
        let found = inspector.into_access_list();
        if same(&found, &list) {
            let error = unsuccessful(&result).map(|error| error.message().to_owned());
            return Ok(AccessListResult {
                access_list: found,
                gas_used: U256::from(result.tx_gas_used()),
                error,
            });
        }
        list = found;
    }
    Err(error::server("the access list does not settle"))
}

fn same(a: &AccessList, b: &AccessList) -> bool {
    let count = |list: &AccessList| {
        list.iter()
            .map(|item| item.storage_keys.len().saturating_add(1))
            .sum::<usize>()
    };
    count(a) == count(b)
}
