//! `eth_simulateV1`: blocks that could follow, one on the other, with changed state and changed rules.

use std::time::Instant;

use alloy_consensus::transaction::Recovered;
use alloy_consensus::{BlockHeader, Eip658Value};
use alloy_primitives::{Address, B256, TxKind, U256};
use alloy_rpc_types::simulate::{SimBlock, SimCallResult, SimulateError, SimulatePayload, SimulatedBlock};
use alloy_rpc_types::{Block, BlockId, BlockTransactions, Log, TransactionInfo, TransactionRequest};
use bitsect_vm::chain::{Header, Receipt, Transaction};
use bitsect_vm::execute::{BlockOutcome, EvmTransaction};
use bitsect_vm::execute::{attributes_of, next_base_fee, seal};
use bitsect_vm::state::StateChanges;
use jsonrpsee::types::ErrorObjectOwned;
use op_alloy_consensus::transaction::OpTransactionInfo;
use revm::DatabaseCommit;
use revm::context::result::{ExecutionResult, HaltReason};
use revm::database_interface::DatabaseRef;
use revm_inspectors::transfer::TransferInspector;

use crate::rpc::args::Args;
use crate::rpc::context::{self, Context, Module, heavy};
use crate::rpc::error::{self, RpcResult};
use crate::rpc::evm::{self, CallDb, CallEnv, Deadline, database, override_block, override_state};

use super::convert::RpcTransaction;

/// Blocks of one simulation, filled gaps included (Geth's limit).
const MAX_BLOCKS: u64 = 256;
/// Calls of one simulation.
const MAX_CALLS: usize = 5_000;

type Simulated = SimulatedBlock<Block<RpcTransaction>>;

pub(super) fn register(module: &mut Module) {
    heavy(module, "eth_simulateV1", 2, simulate);
}

fn coded(code: i32, message: impl Into<String>) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(code, message, None::<()>)
}

fn simulate(context: &Context, args: &mut Args, deadline: Instant) -> RpcResult<Vec<Simulated>> {
    let payload: SimulatePayload<TransactionRequest> = args.required()?;
    let id: BlockId = args.optional()?.unwrap_or_default();
    if payload.block_state_calls.is_empty() {
        return Err(error::invalid_params("empty input"));
    }
    let calls: usize = payload
        .block_state_calls
        .iter()
        .map(|block| block.calls.len())
        .sum();
    if calls > MAX_CALLS {
        return Err(coded(-38026, format!("too many calls: at most {MAX_CALLS}")));
    }
    let snapshot = context.snapshot()?;
    let base = context::header(&snapshot, id)?;
    let db = database(&snapshot, base.header.number)?;
    let blocks = sequence(payload.block_state_calls, &base.header)?;
    let mut simulation = Simulation {
        context,
        db: Some(db),
        parent: base.header,
        gas_left: context.config.gas_cap,
        validation: payload.validation,
        transfers: payload.trace_transfers,
        full: payload.return_full_transactions,
        deadline,
    };
    blocks.into_iter().map(|block| simulation.block(block)).collect()
}

/// Gives every block its number and time, and fills gaps with empty blocks.
fn sequence(blocks: Vec<SimBlock>, base: &Header) -> RpcResult<Vec<SimBlock>> {
    let (mut number, mut time) = (base.number, base.timestamp);
    let mut all = Vec::new();
    for mut block in blocks {
        let mut overrides = block.block_overrides.take().unwrap_or_default();
        let wanted = match overrides.number {
            Some(wanted) => {
                u64::try_from(wanted).map_err(|_| error::invalid_params("block number is too large"))?
            }
            None => number.saturating_add(1),
        };
        if wanted <= number {
            return Err(coded(
                -38020,
                format!("block numbers must be in order: {wanted} <= {number}"),
            ));
        }
        if wanted.saturating_sub(base.number) > MAX_BLOCKS {
            return Err(coded(-38026, "too many blocks"));
        }
        while number.saturating_add(1) < wanted {
            number = number.saturating_add(1);
            time = time.saturating_add(1);
            all.push(numbered(SimBlock::default(), Default::default(), number, time));
        }
        let wanted_time = overrides.time.unwrap_or(time.saturating_add(1));
        if wanted_time <= time {
            return Err(coded(
                -38021,
                format!("block timestamps must be in order: {wanted_time} <= {time}"),
            ));
        }
        (number, time) = (wanted, wanted_time);
        overrides.time = None;
        all.push(numbered(block, overrides, number, time));
    }
    Ok(all)
}

fn numbered(
    mut block: SimBlock,
    mut overrides: alloy_rpc_types::BlockOverrides,
    number: u64,
    time: u64,
) -> SimBlock {
    overrides.number = Some(U256::from(number));
    overrides.time = Some(time);
    block.block_overrides = Some(overrides);
    block
}

struct Simulation<'a> {
    context: &'a Context,
    db: Option<CallDb>,
    parent: Header,
    /// Gas that all calls together may still use.
    gas_left: u64,
    validation: bool,
    transfers: bool,
    full: bool,
    deadline: Instant,
}

/// What the calls of a block came to.
#[derive(Default)]
struct Done {
    gas_used: u64,
    transactions: Vec<(Address, Transaction)>,
    receipts: Vec<Receipt>,
    calls: Vec<SimCallResult>,
}

impl Simulation<'_> {
    fn block(&mut self, block: SimBlock) -> RpcResult<Simulated> {
        let Some(mut db) = self.db.take() else {
            return Err(error::internal("the simulation's state is gone"));
        };
        let params = &self.context.params.execution;
        let mut env = CallEnv::of(self.context, &self.parent);
        // Without validation nothing has a price.
        env.block.basefee = if self.validation {
            next_base_fee(params, &self.parent)
        } else {
            0
        };
        env.cfg.disable_eip3607 = true;
        env.cfg.disable_base_fee = !self.validation;
        env.cfg.disable_nonce_check = !self.validation;
        env.cfg.tx_gas_limit_cap = Some(u64::MAX);
        if let Some(state) = block.state_overrides {
            override_state(&mut db, state)?;
        }
        override_block(
            &mut env.block,
            &mut db,
            block.block_overrides.unwrap_or_default(),
            params.spec,
        )?;
        let mut done = Done::default();
        for request in block.calls {
            db = self.call(request, &env, db, &mut done)?;
        }
        let simulated = self.finish(&env, done);
        db.cache
            .block_hashes
            .insert(U256::from(self.parent.number), self.parent.hash_slow());
        self.db = Some(db);
        Ok(simulated)
    }

    /// Runs one call on the state, and returns the state after it.
    fn call(
        &mut self,
        mut request: TransactionRequest,
        env: &CallEnv,
        db: CallDb,
        done: &mut Done,
    ) -> RpcResult<CallDb> {
        let room = env.block.gas_limit.saturating_sub(done.gas_used);
        if request.gas.is_some_and(|gas| gas > room) {
            let text = format!(
                "block gas limit reached: {} >= {}",
                done.gas_used, env.block.gas_limit
            );
            return Err(coded(-38015, text));
        }
        let cap = self.context.config.gas_cap;
        request.gas = Some(request.gas.unwrap_or(room).min(self.gas_left));
        if request.nonce.is_none() {
            let account = db
                .basic_ref(request.from.unwrap_or_default())
                .map_err(error::internal)?;
            request.nonce = Some(account.map_or(0, |account| account.nonce));
        }
        let mut tx = evm::transaction(&request, &db, env.cfg.chain_id, cap)?;
        tx.l1_bytes = 0;
        let transfers = TransferInspector::new(false).with_logs(self.transfers);
        let inspector = (Deadline::new(self.deadline), transfers);
        let mut evm = env.evm(db, inspector);
        let result = evm.inspect(tx.clone());
        let state = evm.finalize();
        let (evm_context, (deadline, _)) = evm.into_parts();
        if deadline.expired {
            return Err(error::timeout());
        }
        let result = result.map_err(|fault| refused(evm::failed(fault, &tx, env)))?;
        let mut db = evm_context.journaled_state.database;
        db.commit(state);
        self.gas_left = self.gas_left.saturating_sub(result.tx_gas_used());
        done.gas_used = done.gas_used.saturating_add(result.tx_gas_used());
        done.receipts.push(receipt(&result, &tx, done.gas_used));
        done.calls.push(show(result));
        done.transactions.push((tx.env.caller, unsigned(request)?));
        Ok(db)
    }

    /// Seals the block and makes it the parent of the next.
    fn finish(&mut self, env: &CallEnv, done: Done) -> Simulated {
        let mut attributes = attributes_of(&self.parent);
        attributes.number = env.block.number.saturating_to();
        attributes.timestamp = env.block.timestamp.saturating_to();
        attributes.beneficiary = env.block.beneficiary;
        attributes.gas_limit = env.block.gas_limit;
        attributes.prev_randao = env.block.prevrandao.unwrap_or_default();
        let outcome = BlockOutcome {
            l1_fees: vec![U256::ZERO; done.receipts.len()],
            receipts: done.receipts,
            gas_used: done.gas_used,
            base_fee: env.block.basefee,
            l1_fee_rate: 0,
            changes: StateChanges::default(),
        };
        let transactions: Vec<Transaction> = done.transactions.iter().map(|(_, tx)| tx.clone()).collect();
        // A root would need the tree of states that are never stored.
        let header = seal(&self.parent, &attributes, &transactions, &outcome, B256::ZERO);
        let hash = header.hash_slow();
        let shown = if self.full {
            let show = |(index, (sender, tx)): (usize, (Address, Transaction))| {
                #[expect(clippy::field_reassign_with_default, reason = "the type is non-exhaustive")]
                let inner = {
                    let mut inner = TransactionInfo::default();
                    inner.hash = Some(tx.tx_hash());
                    inner.index = Some(index as u64);
                    inner.block_hash = Some(hash);
                    inner.block_number = Some(header.number());
                    inner.base_fee = header.base_fee_per_gas;
                    inner.block_timestamp = Some(header.timestamp);
                    inner
                };
                let info = OpTransactionInfo {
                    inner,
                    deposit_meta: Default::default(),
                };
                RpcTransaction::from_transaction(Recovered::new_unchecked(tx, sender), info)
            };
            BlockTransactions::Full(done.transactions.into_iter().enumerate().map(show).collect())
        } else {
            BlockTransactions::Hashes(transactions.iter().map(Transaction::tx_hash).collect())
        };
        let mut calls = done.calls;
        place_logs(&mut calls, &transactions, &header, hash);
        self.parent = header.clone();
        let shown_header = alloy_rpc_types::Header {
            hash,
            inner: header,
            total_difficulty: Some(U256::ZERO),
            size: None,
        };
        let inner = Block {
            header: shown_header,
            uncles: Vec::new(),
            transactions: shown,
            withdrawals: Some(Default::default()),
        };
        SimulatedBlock { inner, calls }
    }
}

/// Gives refusals the codes that the method's specification has.
fn refused(error: ErrorObjectOwned) -> ErrorObjectOwned {
    let codes = [
        ("nonce too low", -38010),
        ("nonce too high", -38011),
        ("max fee per gas less than block base fee", -38012),
        ("intrinsic gas too low", -38013),
        ("insufficient gas for floor", -38013),
        ("insufficient funds", -38014),
        ("max initcode size exceeded", -38025),
    ];
    let found = codes.iter().find(|(start, _)| error.message().starts_with(start));
    found.map_or(error.clone(), |(_, code)| coded(*code, error.message()))
}

fn receipt(result: &ExecutionResult<HaltReason>, tx: &EvmTransaction, cumulative_gas_used: u64) -> Receipt {
    let status = Eip658Value::Eip658(result.is_success());
    let receipt = alloy_consensus::Receipt {
        status,
        cumulative_gas_used,
        logs: result.logs().to_vec(),
    };
    match tx.env.tx_type {
        1 => Receipt::Eip2930(receipt),
        2 => Receipt::Eip1559(receipt),
        4 => Receipt::Eip7702(receipt),
        _ => Receipt::Legacy(receipt),
    }
}

fn show(result: ExecutionResult<HaltReason>) -> SimCallResult {
    let gas_used = result.tx_gas_used();
    let error = match &result {
        ExecutionResult::Success { .. } => None,
        ExecutionResult::Revert { output, .. } => {
            let error = error::reverted(output);
            Some(SimulateError {
                code: 3,
                message: error.message().to_owned(),
                data: Some(output.clone()),
            })
        }
        ExecutionResult::Halt { reason, .. } => Some(SimulateError {
            code: -32015,
            message: evm::halted(reason),
            data: None,
        }),
    };
    let wrap = |inner: &alloy_primitives::Log| Log {
        inner: inner.clone(),
        ..Log::default()
    };
    SimCallResult {
        logs: result.logs().iter().map(wrap).collect(),
        gas_used,
        max_used_gas: Some(gas_used.saturating_add(result.gas().final_refunded())),
        status: result.is_success(),
        error,
        return_data: result.into_output().unwrap_or_default(),
    }
}

/// Tells every log where it is, once the block has its hash.
fn place_logs(calls: &mut [SimCallResult], transactions: &[Transaction], header: &Header, hash: B256) {
    let mut log_index = 0u64;
    for (index, (call, tx)) in calls.iter_mut().zip(transactions).enumerate() {
        for log in &mut call.logs {
            log.block_hash = Some(hash);
            log.block_number = Some(header.number);
            log.block_timestamp = Some(header.timestamp);
            log.transaction_hash = Some(tx.tx_hash());
            log.transaction_index = Some(index as u64);
            log.log_index = Some(log_index);
            log_index = log_index.saturating_add(1);
        }
    }
}

/// The transaction that a call stands for. Nobody signed it: its signature is zero.
fn unsigned(mut request: TransactionRequest) -> RpcResult<Transaction> {
    request.to.get_or_insert(TxKind::Create);
    request.value.get_or_insert(U256::ZERO);
    request.input.input = Some(request.input.clone().into_input().unwrap_or_default());
    request.input.data = None;
    if request.max_fee_per_gas.is_some() || request.max_priority_fee_per_gas.is_some() {
        request.max_fee_per_gas.get_or_insert(0);
        request.max_priority_fee_per_gas.get_or_insert(0);
    } else {
        request.gas_price.get_or_insert(0);
    }
    let envelope = request.build_typed_simulate_transaction();
    let envelope = envelope.map_err(|refused| error::invalid_params(refused.to_string()))?;
    Transaction::try_from_eth_envelope(envelope)
        .map_err(|_| error::invalid_params("blob transactions are not supported"))
}
