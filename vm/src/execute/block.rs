//! Executes blocks, one transaction at a time.

use alloc::vec::Vec;

use alloy_consensus::{Eip658Value, Receipt as EthReceipt, Transaction as _};
use alloy_primitives::{Address, Bytes, Log, U256};
use op_alloy_consensus::OpDepositReceipt;
use revm::context::result::{EVMError, ExecutionResult, HaltReason, Output};
use revm::context_interface::{ContextTr, JournalTr};
use revm::inspector::{Inspector, NoOpInspector};
use revm::interpreter::interpreter::EthInterpreter;

use crate::chain::{BlockAttributes, ExecutionParams, Header, Receipt, Transaction};
use crate::state::{StateChanges, StateReader};

use super::changes::collect;
use super::db::{ReadError, StateDb};
use super::error::{ExecuteError, Fault, InvalidTransaction, TransactError, classify};
use super::evm::{Context, Evm, block_env, cfg_env};
use super::fee::{FeeRules, next_base_fee};
use super::seal::verify_attributes;
use super::system::{load_fee_rate, record_ancestors, record_origin};
use super::tx::EvmTransaction;

/// The version of deposit receipts that puts the nonce into the receipt's hash (OP's Canyon rule).
const DEPOSIT_RECEIPT_VERSION: u64 = 1;

/// What the EVM says of a transaction.
type EvmResult<E> = Result<ExecutionResult, EVMError<ReadError<E>>>;

/// What a block did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockOutcome {
    /// A receipt for each transaction.
    pub receipts: Vec<Receipt>,
    /// The L1 data fee that each transaction paid, in wei; not part of the receipts' trie.
    pub l1_fees: Vec<U256>,
    /// Gas that all transactions used.
    pub gas_used: u64,
    /// The block's base fee in wei per gas.
    pub base_fee: u64,
    /// The fee rate that L1 fees were paid at, in sat per 1,000 vB.
    pub l1_fee_rate: u64,
    /// The net changes of the state.
    pub changes: StateChanges,
}

/// What one transaction did: valid, whether it succeeded or failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionOutcome {
    /// The receipt's status.
    pub success: bool,
    /// Gas that it used.
    pub gas_used: u64,
    /// The L1 data fee that it paid, in wei.
    pub l1_fee: U256,
    /// The contract that it created.
    pub created: Option<Address>,
    /// What it returned, or reverted with.
    pub output: Bytes,
    /// Why it halted, unless it succeeded or reverted.
    pub halt: Option<HaltReason>,
}

/// Executes one block on top of the state after its parent.
///
/// Changes stay in the EVM's journal until [`BlockExecutor::finish`]; to abandon the block, drop the executor. It is
/// not `Send`: keep it on the thread that made it.
#[expect(missing_debug_implementations, reason = "revm's instruction tables have none")]
pub struct BlockExecutor<S, I = NoOpInspector>
where
    S: StateReader,
    S::Error: Send + Sync + 'static,
{
    evm: Evm<StateDb<S>, I>,
    gas_used: u64,
    receipts: Vec<Receipt>,
    l1_fees: Vec<U256>,
}

impl<S> BlockExecutor<S>
where
    S: StateReader,
    S::Error: Send + Sync + 'static,
{
    /// Begins a block: checks the attributes and makes the calls that come before all transactions.
    ///
    /// # Errors
    ///
    /// Attributes that break a rule against the parent, or our own fault.
    pub fn new(
        params: &ExecutionParams,
        parent: &Header,
        attributes: &BlockAttributes,
        state: S,
    ) -> Result<Self, ExecuteError<S::Error>> {
        Self::with_inspector(params, parent, attributes, state, NoOpInspector)
    }
}

impl<S, I> BlockExecutor<S, I>
where
    S: StateReader,
    S::Error: Send + Sync + 'static,
{
    /// Begins a block whose transactions can be watched: see [`BlockExecutor::inspect`].
    ///
    /// # Errors
    ///
    /// As [`BlockExecutor::new`].
    pub fn with_inspector(
        params: &ExecutionParams,
        parent: &Header,
        attributes: &BlockAttributes,
        state: S,
        inspector: I,
    ) -> Result<Self, ExecuteError<S::Error>> {
        verify_attributes(params, parent, attributes)?;
        let base_fee = next_base_fee(params, parent);
        let parent_hash = parent.hash_slow();
        let db = StateDb::new(state, parent.number, parent_hash);
        let fees = FeeRules {
            l1_fee_rate: 0,
            base_fee_recipient: params.base_fee_recipient,
        };
        let block = block_env(params.spec, attributes, base_fee);
        let mut evm = Evm::new(cfg_env(params), block, fees, db, inspector);
        record_ancestors(&mut evm, parent_hash, attributes.parent_beacon_block_root)?;
        if let Some(origin) = &attributes.new_origin {
            record_origin(&mut evm, origin)?;
        }
        if params.l1_fee {
            evm.context_mut().chain.l1_fee_rate = load_fee_rate(&mut evm)?;
        }
        Ok(Self::from_evm(evm))
    }

    /// Goes on from an EVM that was made by hand: for blocks without calls before their transactions, as Ethereum's
    /// state tests have.
    pub const fn from_evm(evm: Evm<StateDb<S>, I>) -> Self {
        Self {
            evm,
            gas_used: 0,
            receipts: Vec::new(),
            l1_fees: Vec::new(),
        }
    }

    /// Executes the next transaction. An invalid one, or one that does not fit any more, changes nothing.
    ///
    /// # Errors
    ///
    /// The transaction cannot be in this block, or our own fault.
    pub fn transact(
        &mut self,
        transaction: &Transaction,
        sender: Address,
    ) -> Result<TransactionOutcome, TransactError<S::Error>> {
        self.run(transaction, sender, Evm::transact)
    }

    /// Executes the next transaction by `execute`: watched or not.
    #[inline]
    fn run(
        &mut self,
        transaction: &Transaction,
        sender: Address,
        execute: impl FnOnce(&mut Evm<StateDb<S>, I>, EvmTransaction) -> EvmResult<S::Error>,
    ) -> Result<TransactionOutcome, TransactError<S::Error>> {
        let (env, nonce) = self.prepare(transaction, sender)?;
        let l1_bytes = env.l1_bytes;
        match execute(&mut self.evm, env) {
            Ok(result) => Ok(self.record(transaction, result, l1_bytes, nonce)),
            Err(error) => Err(classify(&self.evm, error)),
        }
    }

    /// Checks the gas left, and reads the nonce that a deposit's receipt shows.
    #[inline]
    fn prepare(
        &mut self,
        transaction: &Transaction,
        sender: Address,
    ) -> Result<(EvmTransaction, u64), TransactError<S::Error>> {
        let env = EvmTransaction::new(transaction, sender)?;
        let (have, want) = (self.gas_left(), transaction.gas_limit());
        let limit = self.evm.context().block.gas_limit;
        if want > limit {
            return Err(InvalidTransaction::ExceedsBlockGasLimit { have: limit, want }.into());
        }
        if want > have {
            return Err(InvalidTransaction::GasLimitReached { have, want }.into());
        }
        let mut nonce = 0;
        if env.is_deposit() {
            let journal = self.evm.context_mut().journal_mut();
            nonce = journal
                .load_account(sender)
                .map_err(Fault::State)?
                .data
                .info
                .nonce;
        }
        Ok((env, nonce))
    }

    /// Makes the receipt.
    fn record(
        &mut self,
        transaction: &Transaction,
        result: ExecutionResult,
        l1_bytes: u64,
        deposit_nonce: u64,
    ) -> TransactionOutcome {
        let gas_used = result.tx_gas_used();
        let l1_fee = self.evm.context().chain.l1_fee(l1_bytes);
        let mut outcome = TransactionOutcome {
            success: result.is_success(),
            gas_used,
            l1_fee,
            created: None,
            output: Bytes::new(),
            halt: None,
        };
        let mut logs = Vec::new();
        match result {
            ExecutionResult::Success {
                logs: emitted,
                output,
                ..
            } => {
                logs = emitted;
                match output {
                    Output::Call(data) => outcome.output = data,
                    Output::Create(data, address) => {
                        outcome.output = data;
                        outcome.created = address;
                    }
                }
            }
            ExecutionResult::Revert { output, .. } => outcome.output = output,
            ExecutionResult::Halt { reason, .. } => outcome.halt = Some(reason),
        }
        self.gas_used = self.gas_used.saturating_add(gas_used);
        self.receipts.push(receipt(
            transaction,
            outcome.success,
            self.gas_used,
            logs,
            deposit_nonce,
        ));
        self.l1_fees.push(l1_fee);
        outcome
    }

    /// Gas that the block has left.
    pub fn gas_left(&self) -> u64 {
        self.evm.context().block.gas_limit.saturating_sub(self.gas_used)
    }

    /// Gas that the transactions so far have used.
    pub const fn gas_used(&self) -> u64 {
        self.gas_used
    }

    /// The block's base fee in wei per gas.
    pub const fn base_fee(&self) -> u64 {
        self.evm.context().block.basefee
    }

    /// The fee rate that L1 fees are paid at, in sat per 1,000 vB.
    pub const fn l1_fee_rate(&self) -> u64 {
        self.evm.context().chain.l1_fee_rate
    }

    /// The receipts so far.
    pub fn receipts(&self) -> &[Receipt] {
        &self.receipts
    }

    /// The inspector, to read or replace it between transactions.
    pub const fn inspector_mut(&mut self) -> &mut I {
        self.evm.inspector_mut()
    }

    /// The EVM with the state after the transactions so far, for calls in the middle of a block. What runs there
    /// counts in the block's state but has no receipt.
    pub const fn evm_mut(&mut self) -> &mut Evm<StateDb<S>, I> {
        &mut self.evm
    }

    /// Ends the block.
    ///
    /// # Errors
    ///
    /// A balance that the state tree cannot hold.
    pub fn finish(mut self) -> Result<BlockOutcome, Fault<S::Error>> {
        let state = self.evm.finalize();
        let (context, _) = self.evm.into_parts();
        let changes = collect(context.journaled_state.database, &state)?;
        Ok(BlockOutcome {
            receipts: self.receipts,
            l1_fees: self.l1_fees,
            gas_used: self.gas_used,
            base_fee: context.block.basefee,
            l1_fee_rate: context.chain.l1_fee_rate,
            changes,
        })
    }
}

impl<S, I> BlockExecutor<S, I>
where
    S: StateReader,
    S::Error: Send + Sync + 'static,
    I: Inspector<Context<StateDb<S>>, EthInterpreter>,
{
    /// Executes the next transaction while the inspector watches.
    ///
    /// # Errors
    ///
    /// As [`BlockExecutor::transact`].
    pub fn inspect(
        &mut self,
        transaction: &Transaction,
        sender: Address,
    ) -> Result<TransactionOutcome, TransactError<S::Error>> {
        self.run(transaction, sender, Evm::inspect)
    }
}

fn receipt(
    transaction: &Transaction,
    success: bool,
    cumulative_gas_used: u64,
    logs: Vec<Log>,
    deposit_nonce: u64,
) -> Receipt {
    let receipt = EthReceipt {
        status: Eip658Value::Eip658(success),
        cumulative_gas_used,
        logs,
    };
    match transaction {
        Transaction::Legacy(_) => Receipt::Legacy(receipt),
        Transaction::Eip2930(_) => Receipt::Eip2930(receipt),
        Transaction::Eip1559(_) => Receipt::Eip1559(receipt),
        Transaction::Eip7702(_) => Receipt::Eip7702(receipt),
        Transaction::Deposit(_) => Receipt::Deposit(OpDepositReceipt {
            inner: receipt,
            deposit_nonce: Some(deposit_nonce),
            deposit_receipt_version: Some(DEPOSIT_RECEIPT_VERSION),
        }),
        Transaction::PostExec(_) => Receipt::PostExec(receipt),
    }
}

/// Executes a whole block. Signatures are not looked at: the senders are given.
///
/// # Errors
///
/// A rule that the block breaks, or our own fault.
pub fn execute_block<S>(
    params: &ExecutionParams,
    parent: &Header,
    attributes: &BlockAttributes,
    transactions: &[Transaction],
    senders: &[Address],
    state: S,
) -> Result<BlockOutcome, ExecuteError<S::Error>>
where
    S: StateReader,
    S::Error: Send + Sync + 'static,
{
    if transactions.len() != senders.len() {
        return Err(ExecuteError::SenderCount {
            transactions: transactions.len(),
            senders: senders.len(),
        });
    }
    let mut executor = BlockExecutor::new(params, parent, attributes, state)?;
    executor.receipts.reserve_exact(transactions.len());
    executor.l1_fees.reserve_exact(transactions.len());
    for (index, (transaction, sender)) in transactions.iter().zip(senders).enumerate() {
        match executor.transact(transaction, *sender) {
            Ok(_) => {}
            Err(TransactError::Invalid(reason)) => return Err(ExecuteError::Transaction { index, reason }),
            Err(TransactError::Fault(fault)) => return Err(fault.into()),
        }
    }
    Ok(executor.finish()?)
}
