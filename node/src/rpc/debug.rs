//! `debug_trace*`: transactions executed again while an inspector watches, bounded in time and memory.

use std::time::Instant;

use alloy_eips::eip2935::HISTORY_STORAGE_ADDRESS;
use alloy_eips::eip4788::BEACON_ROOTS_ADDRESS;
use alloy_primitives::{Address, B256, U256};
use alloy_rpc_types::trace::geth::{
    GethDebugBuiltInTracerType, GethDebugTracerType, GethDebugTracingCallOptions, GethDebugTracingOptions,
};
use alloy_rpc_types::{BlockId, BlockNumberOrTag, TransactionRequest};
use bitsect_vm::chain::predeploys::{BITCOIN_BLOCKS, l1_origin_storage};
use bitsect_vm::chain::{L1Info, Transaction};
use bitsect_vm::execute::{EvmTransaction, read_fee_rate};
use bitsect_vm::state::StateReader;
use revm::DatabaseCommit;
use revm::context::result::ResultAndState;
use revm::inspector::{Inspector, NoOpInspector};
use revm::interpreter::interpreter::EthInterpreter;
use revm::interpreter::{InstructionResult, Interpreter};
use revm_inspectors::tracing::{
    DebugInspector, TraceLimitBehavior, TraceLimits, TracingInspector, TransactionContext,
};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::store::{Snapshot, StateAt, StoredHeader};

use super::context::{self, Context, Module, heavy};
use super::error::{self, RpcResult};
use super::evm::{self, CallDb, CallEnv, Deadline, database, override_block, override_state};

/// Ring size of the EIP-2935 and EIP-4788 contracts.
const HISTORY_RING: u64 = 8191;
/// Bytes that a recorded step takes beside its stack and memory.
const STEP_BYTES: usize = 256;

/// A finished trace as JSON.
type Trace = Box<RawValue>;

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct BlockTrace {
    tx_hash: B256,
    result: Trace,
}

pub(super) fn register(module: &mut Module) {
    heavy(module, "debug_traceTransaction", 2, |context, args, deadline| {
        let (hash, options) = (args.required()?, args.optional()?.unwrap_or_default());
        trace_transaction(context, hash, &options, deadline)
    });
    heavy(
        module,
        "debug_traceBlockByNumber",
        2,
        |context, args, deadline| {
            let id: BlockNumberOrTag = args.required()?;
            trace_block(
                context,
                id.into(),
                &args.optional()?.unwrap_or_default(),
                deadline,
            )
        },
    );
    heavy(module, "debug_traceBlockByHash", 2, |context, args, deadline| {
        let id: B256 = args.required()?;
        trace_block(
            context,
            id.into(),
            &args.optional()?.unwrap_or_default(),
            deadline,
        )
    });
    heavy(module, "debug_traceCall", 3, |context, args, deadline| {
        let (request, id) = (args.required()?, args.optional()?.unwrap_or_default());
        trace_call(
            context,
            &request,
            id,
            args.optional()?.unwrap_or_default(),
            deadline,
        )
    });
}

fn trace_transaction(
    context: &Context,
    hash: B256,
    options: &GethDebugTracingOptions,
    deadline: Instant,
) -> RpcResult<Trace> {
    let snapshot = context.snapshot()?;
    let stored = snapshot.transaction(hash).map_err(error::internal)?;
    let stored = stored.ok_or_else(|| error::server("transaction not found"))?;
    let mut replay = Replay::open(context, &snapshot, stored.block, deadline)?;
    replay.skip_to(stored.index as usize)?;
    replay.trace(stored.index as usize, options)
}

fn trace_block(
    context: &Context,
    id: BlockId,
    options: &GethDebugTracingOptions,
    deadline: Instant,
) -> RpcResult<Vec<BlockTrace>> {
    let snapshot = context.snapshot()?;
    let header = context::header(&snapshot, id)?;
    let mut replay = Replay::open(context, &snapshot, header.header.number, deadline)?;
    let mut traces = Vec::with_capacity(replay.body.len());
    let mut bytes = 0usize;
    for index in 0..replay.body.len() {
        let result = replay.trace(index, options)?;
        bytes = bytes.saturating_add(result.get().len());
        if bytes > context.config.max_response {
            return Err(error::limit(format!(
                "the block's traces exceed {} bytes",
                context.config.max_response
            )));
        }
        let tx_hash = replay
            .body
            .get(index)
            .map(|(_, tx)| tx.tx_hash())
            .unwrap_or_default();
        traces.push(BlockTrace { tx_hash, result });
    }
    Ok(traces)
}

fn trace_call(
    context: &Context,
    request: &TransactionRequest,
    id: BlockId,
    options: GethDebugTracingCallOptions,
    deadline: Instant,
) -> RpcResult<Trace> {
    let snapshot = context.snapshot()?;
    let header = context::header(&snapshot, id)?;
    let number = header.header.number;
    let mut db = match options.tx_index {
        Some(index) => {
            let mut replay = Replay::open(context, &snapshot, number, deadline)?;
            let index = usize::try_from(index)
                .unwrap_or(usize::MAX)
                .min(replay.body.len());
            replay.skip_to(index)?;
            replay.db.take().map_or_else(|| database(&snapshot, number), Ok)?
        }
        None => database(&snapshot, number)?,
    };
    let mut env = CallEnv::of(context, &header.header);
    env.relax();
    if let Some(state) = options.state_overrides {
        override_state(&mut db, state)?;
    }
    if let Some(block) = options.block_overrides {
        override_block(&mut env.block, &mut db, block, env.cfg.spec)?;
    }
    let tx = evm::transaction(
        request,
        &db,
        context.params.execution.chain_id,
        context.config.gas_cap,
    )?;
    let limits = TracerLimits {
        deadline,
        bytes: context.config.max_trace_bytes,
    };
    Ok(run_traced(&env, db, &tx, &options.tracing_options, None, &limits)?.0)
}

/// A block executed again, transaction by transaction.
struct Replay {
    env: CallEnv,
    db: Option<CallDb>,
    body: Vec<(Address, Transaction)>,
    header: StoredHeader,
    limits: TracerLimits,
}

struct TracerLimits {
    deadline: Instant,
    bytes: usize,
}

impl Replay {
    /// Opens the state as the block's first transaction saw it.
    fn open(context: &Context, snapshot: &Snapshot, number: u64, deadline: Instant) -> RpcResult<Self> {
        let header = snapshot.header(number).map_err(error::internal)?;
        let header = header.ok_or_else(|| error::server("header not found"))?;
        let body = snapshot
            .body(number)
            .map_err(error::internal)?
            .unwrap_or_default();
        let parent = number
            .checked_sub(1)
            .ok_or_else(|| error::server("genesis is not traceable"))?;
        let parent_origin = snapshot.block_l1_origin(parent).map_err(error::internal)?;
        let mut db = database(snapshot, parent)?;
        let after = context::state(snapshot, number)?;
        let new_origin = parent_origin.is_none_or(|origin| origin.height != header.l1_origin_height);
        before_transactions(&mut db, &header, &after, new_origin)?;
        let mut env = CallEnv::of(context, &header.header);
        if context.params.execution.l1_fee {
            env.fees.l1_fee_rate = read_fee_rate(&after).map_err(error::internal)?;
        }
        let limits = TracerLimits {
            deadline,
            bytes: context.config.max_trace_bytes,
        };
        Ok(Self {
            env,
            db: Some(db),
            body,
            header,
            limits,
        })
    }

    /// Executes the transactions before `index`.
    fn skip_to(&mut self, index: usize) -> RpcResult<()> {
        let Some(db) = self.db.take() else {
            return Err(error::internal("the replay's state is gone"));
        };
        let mut evm = self.env.evm(db, NoOpInspector);
        for (sender, tx) in self.body.iter().take(index) {
            if Instant::now() > self.limits.deadline {
                return Err(error::timeout());
            }
            let tx = EvmTransaction::new(tx, *sender).map_err(error::internal)?;
            evm.transact(tx).map_err(error::internal)?;
        }
        let state = evm.finalize();
        let mut db = evm.into_parts().0.journaled_state.database;
        db.commit(state);
        self.db = Some(db);
        Ok(())
    }

    /// Executes and traces the next transaction, which has this index.
    fn trace(&mut self, index: usize, options: &GethDebugTracingOptions) -> RpcResult<Trace> {
        let Some(db) = self.db.take() else {
            return Err(error::internal("the replay's state is gone"));
        };
        let Some((sender, tx)) = self.body.get(index) else {
            return Err(error::internal("no such transaction in the block"));
        };
        let place = TransactionContext {
            block_hash: Some(self.header.hash),
            tx_index: Some(index),
            tx_hash: Some(tx.tx_hash()),
        };
        let tx = EvmTransaction::new(tx, *sender).map_err(error::internal)?;
        let (trace, db) = run_traced(&self.env, db, &tx, options, Some(place), &self.limits)?;
        self.db = Some(db);
        Ok(trace)
    }
}

/// Writes what the protocol's own calls write before a block's transactions. Nobody else can write these
/// slots, so their values are those after the block.
fn before_transactions(
    db: &mut CallDb,
    header: &StoredHeader,
    after: &StateAt,
    new_origin: bool,
) -> RpcResult<()> {
    let (number, time) = (header.header.number, header.header.timestamp);
    let parent_slot = number.saturating_sub(1) % HISTORY_RING;
    let time_slot = time % HISTORY_RING;
    let mut slots = vec![
        (HISTORY_STORAGE_ADDRESS, U256::from(parent_slot)),
        (BEACON_ROOTS_ADDRESS, U256::from(time_slot)),
        (
            BEACON_ROOTS_ADDRESS,
            U256::from(time_slot.saturating_add(HISTORY_RING)),
        ),
    ];
    if new_origin {
        let origin = L1Info {
            height: header.l1_origin_height,
            hash: B256::ZERO,
            merkle_root: B256::ZERO,
            time: 0,
            median_time_past: 0,
            fee_rate: 0,
        };
        slots.extend(l1_origin_storage(&origin).map(|(slot, _)| (BITCOIN_BLOCKS, slot)));
    }
    for (address, slot) in slots {
        let value = after.storage(address, slot).map_err(error::internal)?;
        db.insert_account_storage(address, slot, value)
            .map_err(error::internal)?;
    }
    Ok(())
}

/// Runs a transaction under the tracer that the options name; gives the trace and the state after it.
fn run_traced(
    env: &CallEnv,
    db: CallDb,
    tx: &EvmTransaction,
    options: &GethDebugTracingOptions,
    place: Option<TransactionContext>,
    limits: &TracerLimits,
) -> RpcResult<(Trace, CallDb)> {
    let tracer = tracer(options, limits)?;
    let memory = StepMemory::new(options, limits.bytes);
    let mut evm = env.evm(db, (Deadline::new(limits.deadline), (memory, tracer)));
    let result = evm.inspect(tx.clone());
    let state = evm.finalize();
    let (context, (deadline, (memory, mut tracer))) = evm.into_parts();
    if deadline.expired {
        return Err(error::timeout());
    }
    if memory.exceeded {
        return Err(error::limit(format!("the trace exceeds {} bytes", limits.bytes)));
    }
    let result = result.map_err(|fault| match &fault {
        // How the tracer says that its own budget is used up.
        revm::context::result::EVMError::Custom(_) | revm::context::result::EVMError::CustomAny(_) => {
            error::limit(format!("the trace exceeds {} bytes", limits.bytes))
        }
        _ => evm::failed(fault, tx, env),
    })?;
    let mut db = context.journaled_state.database;
    let outcome = ResultAndState::new(result, state);
    let trace = tracer
        .get_result(place, tx, &env.block, &outcome, &mut db)
        .map_err(error::internal)?;
    db.commit(outcome.state);
    let json = serde_json::value::to_raw_value(&trace).map_err(error::internal)?;
    Ok((json, db))
}

/// Makes the tracer, with a limit on the bytes that it copies.
fn tracer(options: &GethDebugTracingOptions, limits: &TracerLimits) -> RpcResult<DebugInspector> {
    if let Some(GethDebugTracerType::BuiltInTracer(kind)) = &options.tracer {
        use GethDebugBuiltInTracerType as Kind;
        let bounded = [
            Kind::CallTracer,
            Kind::PreStateTracer,
            Kind::FourByteTracer,
            Kind::FlatCallTracer,
            Kind::NoopTracer,
        ];
        if !bounded.contains(kind) {
            return Err(error::invalid_params(format!(
                "tracer not supported: {}",
                kind_name(kind)
            )));
        }
    }
    let tracer =
        DebugInspector::new(options.clone()).map_err(|refused| error::invalid_params(refused.to_string()))?;
    let limit = TraceLimits::default()
        .set_max_recorded_bytes(Some(limits.bytes))
        .set_behavior(TraceLimitBehavior::Halt);
    let bound = |inner: TracingInspector| inner.with_limits(limit);
    Ok(match tracer {
        DebugInspector::CallTracer(inner, config) => DebugInspector::CallTracer(bound(inner), config),
        DebugInspector::PreStateTracer(inner, config) => DebugInspector::PreStateTracer(bound(inner), config),
        DebugInspector::FlatCallTracer(inner) => DebugInspector::FlatCallTracer(bound(inner)),
        DebugInspector::Default(inner, config) => DebugInspector::Default(bound(inner), config),
        other => other,
    })
}

fn kind_name(kind: &GethDebugBuiltInTracerType) -> String {
    serde_json::to_value(kind)
        .ok()
        .and_then(|name| name.as_str().map(str::to_owned))
        .unwrap_or_default()
}

/// Counts what a tracer of single steps holds, and stops the execution when it is too much.
struct StepMemory {
    left: usize,
    steps: bool,
    stack: bool,
    exceeded: bool,
}

impl StepMemory {
    fn new(options: &GethDebugTracingOptions, bytes: usize) -> Self {
        let steps = options
            .tracer
            .as_ref()
            .is_none_or(|tracer| tracer.as_str().is_empty());
        let stack = steps && options.config.disable_stack != Some(true);
        Self {
            left: bytes,
            steps,
            stack,
            exceeded: false,
        }
    }
}

impl<CTX> Inspector<CTX, EthInterpreter> for StepMemory {
    fn step(&mut self, interp: &mut Interpreter<EthInterpreter>, _: &mut CTX) {
        if self.steps {
            let stack = if self.stack {
                interp.stack.len().saturating_mul(32)
            } else {
                0
            };
            match self.left.checked_sub(stack.saturating_add(STEP_BYTES)) {
                Some(left) => self.left = left,
                None => self.exceeded = true,
            }
        }
        if self.exceeded {
            interp.halt(InstructionResult::OutOfGas);
        }
    }
}
