//! The EVM for calls, estimates and traces: the chain's own handler over a copy of some block's state.

use std::time::Instant;

use alloy_eips::eip7702::SignedAuthorization;
use alloy_primitives::{Address, B256, TxKind, U256};
use alloy_rpc_types::state::{AccountOverride, StateOverride};
use alloy_rpc_types::{BlockOverrides, TransactionRequest};
use bitsect_vm::chain::Header;
use bitsect_vm::execute::{Evm, EvmTransaction, FeeRules, Limits, SizeParts, block_env_of, cfg_env, explain};
use bitsect_vm::state::StateReader;
use jsonrpsee::types::ErrorObjectOwned;
use revm::context::result::{EVMError, ExecutionResult, HaltReason};
use revm::context::{BlockEnv, CfgEnv, TxEnv};
use revm::context_interface::block::BlobExcessGasAndPrice;
use revm::context_interface::either::Either;
use revm::database::CacheDB;
use revm::database_interface::{DBErrorMarker, DatabaseRef};
use revm::inspector::Inspector;
use revm::interpreter::interpreter::EthInterpreter;
use revm::interpreter::{InstructionResult, Interpreter};
use revm::state::{AccountInfo, Bytecode};

use crate::store::{Snapshot, StateAt, StoreError};

use super::context::{self, Context};
use super::error::{self, RpcResult};

/// The context that inspectors see in RPC.
pub(super) type EvmContext = bitsect_vm::execute::Context<CallDb>;
/// A block's state with changes on top.
pub(super) type CallDb = CacheDB<StateRef>;

/// Steps between two looks at the clock.
const STEPS_PER_CLOCK: u64 = 2048;

/// A failure to read the state: our own fault.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(super) struct ReadFault(#[from] StoreError);

impl DBErrorMarker for ReadFault {}

/// The state after a block.
pub(super) struct StateRef {
    state: StateAt,
    snapshot: Snapshot,
}

impl DatabaseRef for StateRef {
    type Error = ReadFault;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, ReadFault> {
        let account = self.state.account(address)?;
        Ok(account.map(|account| AccountInfo {
            balance: account.balance,
            nonce: account.nonce,
            code_hash: account.code_hash,
            account_id: None,
            code: None,
        }))
    }

    fn code_by_hash_ref(&self, code_hash: B256) -> Result<Bytecode, ReadFault> {
        // The store finds code by its hash alone.
        let code = self.state.code(Address::ZERO, code_hash)?;
        Ok(Bytecode::new_raw_checked(code.clone()).unwrap_or_else(|_| Bytecode::new_legacy(code)))
    }

    fn storage_ref(&self, address: Address, slot: U256) -> Result<U256, ReadFault> {
        Ok(self.state.storage(address, slot)?)
    }

    fn block_hash_ref(&self, number: u64) -> Result<B256, ReadFault> {
        Ok(self.snapshot.block_hash(number)?.unwrap_or_default())
    }
}

/// Opens the state after a block for calls.
pub(super) fn database(snapshot: &Snapshot, number: u64) -> RpcResult<CallDb> {
    let state = context::state(snapshot, number)?;
    Ok(CacheDB::new(StateRef {
        state,
        snapshot: snapshot.clone(),
    }))
}

/// Stops execution when its time is over.
#[derive(Debug)]
pub(super) struct Deadline {
    at: Instant,
    steps: u64,
    /// Whether it stopped something.
    pub expired: bool,
}

impl Deadline {
    pub fn new(at: Instant) -> Self {
        Self {
            at,
            steps: 0,
            expired: false,
        }
    }
}

impl<CTX> Inspector<CTX, EthInterpreter> for Deadline {
    fn step(&mut self, interp: &mut Interpreter<EthInterpreter>, _: &mut CTX) {
        self.steps = self.steps.wrapping_add(1);
        if self.steps.is_multiple_of(STEPS_PER_CLOCK) && Instant::now() > self.at {
            self.expired = true;
        }
        // Every frame up to the first stops at its next step.
        if self.expired {
            interp.halt(InstructionResult::OutOfGas);
        }
    }
}

/// The environment of a call on top of a block.
pub(super) struct CallEnv {
    pub cfg: CfgEnv,
    pub block: BlockEnv,
    pub fees: FeeRules,
}

impl CallEnv {
    /// The environment of the block itself: a call sees what its transactions saw.
    pub fn of(context: &Context, header: &Header) -> Self {
        let params = &context.params.execution;
        let fees = FeeRules {
            l1_fee_rate: 0,
            base_fee_recipient: params.base_fee_recipient,
        };
        Self {
            cfg: cfg_env(params),
            block: block_env_of(params.spec, header),
            fees,
        }
    }

    /// Switches off what a question, unlike a transaction, need not satisfy.
    pub fn relax(&mut self) {
        self.cfg.disable_nonce_check = true;
        self.cfg.disable_eip3607 = true;
        self.cfg.disable_block_gas_limit = true;
        self.cfg.disable_base_fee = true;
        self.cfg.tx_gas_limit_cap = Some(u64::MAX);
    }

    /// Makes the EVM.
    pub fn evm<I>(&self, db: CallDb, inspector: I) -> Evm<CallDb, I> {
        Evm::new(self.cfg.clone(), self.block.clone(), self.fees, db, inspector)
    }
}

/// Changes the block that a call sees. Block hashes go into the database.
pub(super) fn override_block(
    block: &mut BlockEnv,
    db: &mut CallDb,
    overrides: BlockOverrides,
    spec: revm::primitives::hardfork::SpecId,
) -> RpcResult<()> {
    let BlockOverrides {
        number,
        difficulty: _,
        time,
        gas_limit,
        coinbase,
        random,
        base_fee,
        blob_base_fee,
        beacon_root: _,
        block_hash,
        ..
    } = overrides;
    if let Some(number) = number {
        block.number = number;
    }
    if let Some(time) = time {
        block.timestamp = U256::from(time);
    }
    if let Some(gas_limit) = gas_limit {
        block.gas_limit = gas_limit;
    }
    if let Some(coinbase) = coinbase {
        block.beneficiary = coinbase;
    }
    if let Some(random) = random {
        block.prevrandao = Some(random);
    }
    if let Some(base_fee) = base_fee {
        block.basefee =
            u64::try_from(base_fee).map_err(|_| error::invalid_params("baseFeePerGas is too large"))?;
    }
    if let Some(price) = blob_base_fee {
        let price = u128::try_from(price).map_err(|_| error::invalid_params("blobBaseFee is too large"))?;
        let mut blob = BlobExcessGasAndPrice::new_with_spec(0, spec);
        blob.blob_gasprice = price;
        block.blob_excess_gas_and_price = Some(blob);
    }
    for (number, hash) in block_hash.unwrap_or_default() {
        db.cache.block_hashes.insert(U256::from(number), hash);
    }
    Ok(())
}

/// Changes accounts before a call.
pub(super) fn override_state(db: &mut CallDb, overrides: StateOverride) -> RpcResult<()> {
    for (address, account) in overrides {
        override_account(db, address, account)?;
    }
    Ok(())
}

fn override_account(db: &mut CallDb, address: Address, changes: AccountOverride) -> RpcResult<()> {
    let AccountOverride {
        balance,
        nonce,
        code,
        state,
        state_diff,
        move_precompile_to,
        ..
    } = changes;
    if move_precompile_to.is_some() {
        return Err(error::invalid_params("movePrecompileToAddress is not supported"));
    }
    if state.is_some() && state_diff.is_some() {
        return Err(error::invalid_params(format!(
            "account {address} has both 'state' and 'stateDiff'"
        )));
    }
    let mut info = db
        .basic_ref(address)
        .map_err(error::internal)?
        .unwrap_or_default();
    if let Some(balance) = balance {
        info.balance = balance;
    }
    if let Some(nonce) = nonce {
        info.nonce = nonce;
    }
    if let Some(code) = code {
        let code = Bytecode::new_raw_checked(code.clone()).unwrap_or_else(|_| Bytecode::new_legacy(code));
        info.code_hash = code.hash_slow();
        info.code = Some(code);
    }
    db.insert_account_info(address, info);
    let slots = |map: alloy_primitives::map::B256HashMap<B256>| {
        map.into_iter()
            .map(|(slot, value)| (U256::from_be_bytes(slot.0), U256::from_be_bytes(value.0)))
    };
    if let Some(state) = state {
        db.replace_account_storage(address, slots(state).collect())
            .map_err(error::internal)?;
    }
    for (slot, value) in state_diff.map(slots).into_iter().flatten() {
        db.insert_account_storage(address, slot, value)
            .map_err(error::internal)?;
    }
    Ok(())
}

/// Turns a request into the EVM's transaction. Gas is what is asked for, at most `gas_cap`.
pub(super) fn transaction(
    request: &TransactionRequest,
    db: &CallDb,
    chain_id: u64,
    gas_cap: u64,
) -> RpcResult<EvmTransaction> {
    verify_request(request, chain_id)?;
    let data = request.input.clone().try_into_unique_input().map_err(|_| {
        error::invalid_params(
            "both \"data\" and \"input\" are set and not equal. Please use \"input\" to pass transaction call data",
        )
    })?;
    let data = data.unwrap_or_default();
    let caller = request.from.unwrap_or_default();
    let kind = request.to.unwrap_or(TxKind::Create);
    let authorizations: Vec<SignedAuthorization> = request.authorization_list.clone().unwrap_or_default();
    let nonce = match request.nonce {
        Some(nonce) => nonce,
        None => db
            .basic_ref(caller)
            .map_err(error::internal)?
            .map_or(0, |account| account.nonce),
    };
    let dynamic = request.max_fee_per_gas.is_some() || request.max_priority_fee_per_gas.is_some();
    let tx_type = match (authorizations.is_empty(), dynamic, &request.access_list) {
        (false, _, _) => 4,
        (true, true, _) => 2,
        (true, false, Some(_)) => 1,
        (true, false, None) => 0,
    };
    let price = request.gas_price.or(request.max_fee_per_gas).unwrap_or_default();
    let l1_bytes = SizeParts {
        input: &data,
        has_recipient: kind.is_call(),
        access_list: request.access_list.as_ref(),
        authorizations: authorizations.len(),
    }
    .estimate();
    let env = TxEnv {
        tx_type,
        caller,
        gas_limit: request.gas.unwrap_or(gas_cap).min(gas_cap),
        gas_price: price,
        kind,
        value: request.value.unwrap_or_default(),
        data,
        nonce,
        chain_id: Some(chain_id),
        access_list: request.access_list.clone().unwrap_or_default(),
        gas_priority_fee: (tx_type == 2 || tx_type == 4)
            .then(|| request.max_priority_fee_per_gas.unwrap_or_default()),
        blob_hashes: Vec::new(),
        max_fee_per_blob_gas: 0,
        authorization_list: authorizations.into_iter().map(Either::Left).collect(),
    };
    Ok(EvmTransaction {
        env,
        mint: None,
        l1_bytes,
    })
}

fn verify_request(request: &TransactionRequest, chain_id: u64) -> RpcResult<()> {
    let dynamic = request.max_fee_per_gas.is_some() || request.max_priority_fee_per_gas.is_some();
    if request.gas_price.is_some() && dynamic {
        let text = "both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified";
        return Err(error::invalid_params(text));
    }
    if let (Some(cap), Some(tip)) = (request.max_fee_per_gas, request.max_priority_fee_per_gas)
        && tip > cap
    {
        let text = format!("maxFeePerGas ({cap}) < maxPriorityFeePerGas ({tip})");
        return Err(error::invalid_params(text));
    }
    if request.max_fee_per_blob_gas.is_some()
        || request.blob_versioned_hashes.is_some()
        || request.sidecar.is_some()
    {
        return Err(error::invalid_params("blob transactions are not supported"));
    }
    if let Some(id) = request.chain_id
        && id != chain_id
    {
        let text = format!("chainId does not match node's (have={id}, want={chain_id})");
        return Err(error::invalid_params(text));
    }
    Ok(())
}

/// Whether a request names a price above zero: only then are balances held against it.
pub(super) fn names_price(tx: &EvmTransaction) -> bool {
    tx.env.gas_price > 0
}

/// Gives an EVM error its place: the caller's transaction, or our own fault.
pub(super) fn failed(fault: EVMError<ReadFault>, tx: &EvmTransaction, env: &CallEnv) -> ErrorObjectOwned {
    match fault {
        EVMError::Transaction(reason) => {
            let limits = Limits {
                chain_id: env.cfg.chain_id,
                base_fee: env.block.basefee,
                block_gas_limit: env.block.gas_limit,
                init_code: revm::context_interface::Cfg::max_initcode_size(&env.cfg),
                code_len: 0,
            };
            error::server(explain(reason, tx, &limits).to_string())
        }
        EVMError::Header(reason) => error::invalid_params(reason.to_string()),
        EVMError::Database(fault) => error::internal(fault),
        fault => error::internal(fault),
    }
}

/// The error of a call that did not succeed.
pub(super) fn unsuccessful(result: &ExecutionResult<HaltReason>) -> Option<ErrorObjectOwned> {
    match result {
        ExecutionResult::Success { .. } => None,
        ExecutionResult::Revert { output, .. } => Some(error::reverted(output)),
        ExecutionResult::Halt { reason, .. } => Some(error::server(halted(reason))),
    }
}

/// Words for a halt, as Geth has them.
pub(super) fn halted(reason: &HaltReason) -> String {
    match reason {
        HaltReason::OutOfGas(_) => "out of gas".to_owned(),
        HaltReason::OpcodeNotFound => "invalid opcode".to_owned(),
        HaltReason::InvalidFEOpcode => "invalid opcode: INVALID".to_owned(),
        HaltReason::InvalidJump => "invalid jump destination".to_owned(),
        HaltReason::NotActivated => "invalid opcode: not activated".to_owned(),
        HaltReason::StackUnderflow => "stack underflow".to_owned(),
        HaltReason::StackOverflow => "stack limit reached 1024".to_owned(),
        HaltReason::OutOfOffset => "return data out of bounds".to_owned(),
        HaltReason::CreateCollision => "contract address collision".to_owned(),
        HaltReason::CreateContractSizeLimit => "max code size exceeded".to_owned(),
        HaltReason::CreateContractStartingWithEF => "invalid code: must not begin with 0xef".to_owned(),
        HaltReason::CreateInitCodeSizeLimit => "max initcode size exceeded".to_owned(),
        HaltReason::StateChangeDuringStaticCall | HaltReason::CallNotAllowedInsideStatic => {
            "write protection".to_owned()
        }
        HaltReason::OutOfFunds => "insufficient balance for transfer".to_owned(),
        HaltReason::CallTooDeep => "max call depth exceeded".to_owned(),
        other => format!("execution failed: {other:?}"),
    }
}
