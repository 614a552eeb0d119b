//! The step function: one unit takes chain state `S_k` to `S_{k+1}`.
//!
//! [`step`] is the whole of it, over readers of blocks, blobs, state and tree. The node calls its parts
//! ([`plan_unit`], [`BlockBuilder`]) where it already knows a result or builds a block itself.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use alloy_primitives::{Address, B256};

use crate::chain::{Blobs, Block, BlockHash, ChainParams, ChainState, Header, Transaction, Txid};
use crate::derive::bitcoin::L1Block;
use crate::derive::payload::{Batch, BatchBlock};
use crate::derive::{
    BatchFault, L1UnitError, PlanError, PlannedBlock, UnitKind, plan_batch_block, plan_forced_block,
    process_l1_block, read_batch,
};
use crate::execute::{
    BlockExecutor, BlockOutcome, ExecuteError, Fault, TransactError, TransactionOutcome, recover_sender,
    recover_senders, seal,
};
use crate::state::{NodeReader, StateReader, TreeUpdate, UpdateError, update};

/// Gas that no transaction uses less of: half of the 21,000 that it costs at least, for refunds gave back up to half
/// before London.
const LEAST_GAS_USED: u64 = 10_500;

/// Gives L1 blocks by their hash.
pub trait BlockSource {
    /// Why a block cannot be had.
    type Error: core::error::Error;

    /// Gives the block with this hash, in network format. [`L1Block::decode`] checks it against its header; the
    /// implementor answers for the header being the preimage of the hash.
    ///
    /// # Errors
    /// When the medium fails or does not have the block.
    fn block(&mut self, hash: &BlockHash) -> Result<Vec<u8>, Self::Error>;
}

/// What a unit did beside changing chain state.
#[derive(Debug)]
pub enum UnitOutcome {
    /// It read an L1 block.
    L1,
    /// It executed an L2 block.
    Block(Box<ExecutedBlock>),
    /// It gave up the open batch.
    BatchDropped {
        /// The batch's commit transaction.
        commit: Txid,
        /// Why.
        fault: BatchFault,
    },
}

/// An L2 block with everything that it changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutedBlock {
    /// The block.
    pub block: Block,
    /// Its hash.
    pub hash: B256,
    /// The sender of each transaction.
    pub senders: Vec<Address>,
    /// Receipts and net changes.
    pub outcome: BlockOutcome,
    /// The state tree's changed nodes.
    pub tree: TreeUpdate,
    /// How many transactions came from the inbox; the others were sequenced.
    pub inbox_count: u32,
    /// What it was made from.
    pub planned: PlannedBlock,
}

/// What the next L2 unit is to do.
#[expect(
    clippy::large_enum_variant,
    reason = "one lives at a time, and is taken apart at once"
)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum L2Work<'a> {
    /// Execute a block: the inbox, then these transactions.
    Block {
        /// The block's plan.
        planned: PlannedBlock,
        /// The batch's transactions; none in a forced block.
        sequenced: &'a [Transaction],
        /// Whether the open batch has no further block.
        ends_batch: bool,
    },
    /// Give up the open batch.
    Drop(BatchFault),
}

/// Why a unit could not be done: our own fault, or the wrong advice. Chain data never leads here.
#[derive(Debug, thiserror::Error)]
pub enum StepError<B, S, N>
where
    B: core::error::Error,
    S: core::error::Error,
    N: core::error::Error,
{
    /// The L1 block is not the next one, or blobs failed.
    #[error(transparent)]
    L1(#[from] L1UnitError<B>),
    /// A block could not be planned.
    #[error(transparent)]
    Plan(#[from] PlanError<B>),
    /// A block could not be executed.
    #[error(transparent)]
    Build(#[from] BuildError<S, N>),
    /// The L1 block has the wrong bytes.
    #[error("l1 block {hash}: {error}")]
    Block {
        /// The block that was asked for.
        hash: BlockHash,
        /// What is wrong with it.
        error: crate::derive::bitcoin::DecodeError,
    },
    /// The block source failed.
    #[error("l1 block {hash} cannot be read: {reason}")]
    Source {
        /// The block that was asked for.
        hash: BlockHash,
        /// What the source said.
        reason: alloc::string::String,
    },
    /// The unit reads an L1 block, and none was given.
    #[error("the unit needs the hash of the next l1 block")]
    NoAdvice,
}

/// Why a block could not be built: our own fault.
#[derive(Debug, thiserror::Error)]
pub enum BuildError<S: core::error::Error, N: core::error::Error> {
    /// Execution failed to read state, or a rule of ours contradicts another.
    #[error("execution: {0}")]
    Execute(#[from] ExecuteError<S>),
    /// A read failed or a system call went wrong.
    #[error("execution: {0}")]
    Fault(#[from] Fault<S>),
    /// The state tree could not be updated.
    #[error("state tree: {0}")]
    Tree(#[from] UpdateError<N>),
}

/// Builds one block: the plan's inbox first, then what the caller adds.
#[expect(missing_debug_implementations, reason = "the executor has none")]
pub struct BlockBuilder<S>
where
    S: StateReader,
    S::Error: Send + Sync + 'static,
{
    parent: Header,
    planned: PlannedBlock,
    executor: BlockExecutor<S>,
    transactions: Vec<Transaction>,
    senders: Vec<Address>,
    inbox_count: u32,
}

impl<S> BlockBuilder<S>
where
    S: StateReader,
    S::Error: Send + Sync + 'static,
{
    /// Begins a block and executes its inbox. Forced transactions that are invalid where they stand are left out.
    ///
    /// # Errors
    /// When state cannot be read.
    pub fn new(
        params: &ChainParams,
        parent: &Header,
        planned: PlannedBlock,
        state: S,
    ) -> Result<Self, ExecuteError<S::Error>> {
        let executor = BlockExecutor::new(&params.execution, parent, &planned.attributes, state)?;
        let inbox = planned.inbox.clone();
        let (transactions, senders) = (Vec::new(), Vec::new());
        let parent = parent.clone();
        let mut builder = Self {
            parent,
            planned,
            executor,
            transactions,
            senders,
            inbox_count: 0,
        };
        for transaction in inbox {
            let Some(sender) = recover_sender(&transaction) else {
                continue;
            };
            match builder.push(transaction, sender) {
                Ok(_) => builder.inbox_count = builder.inbox_count.saturating_add(1),
                Err(TransactError::Invalid(_)) => {}
                Err(TransactError::Fault(fault)) => return Err(ExecuteError::Fault(fault)),
            }
        }
        Ok(builder)
    }

    /// Executes the next transaction. An invalid one changes nothing and is not in the block.
    ///
    /// # Errors
    /// Where the transaction cannot be in the block, or state cannot be read.
    pub fn push(
        &mut self,
        transaction: Transaction,
        sender: Address,
    ) -> Result<TransactionOutcome, TransactError<S::Error>> {
        let outcome = self.executor.transact(&transaction, sender)?;
        self.transactions.push(transaction);
        self.senders.push(sender);
        Ok(outcome)
    }

    /// Gives the transactions so far.
    pub fn transactions(&self) -> &[Transaction] {
        &self.transactions
    }

    /// Gives the gas that the block has left.
    pub fn gas_left(&self) -> u64 {
        self.executor.gas_left()
    }

    /// Gives the block's base fee, wei per gas.
    pub const fn base_fee(&self) -> u64 {
        self.executor.base_fee()
    }

    /// Ends the block: net changes, new state root, header.
    ///
    /// # Errors
    /// When the tree cannot be read.
    pub fn finish<N: NodeReader>(self, tree: &N) -> Result<ExecutedBlock, BuildError<S::Error, N::Error>> {
        let outcome = self.executor.finish()?;
        let tree = update(self.parent.state_root, &outcome.changes, tree)?;
        let attributes = &self.planned.attributes;
        let header = seal(&self.parent, attributes, &self.transactions, &outcome, tree.root);
        Ok(ExecutedBlock {
            hash: header.hash_slow(),
            block: Block {
                header,
                transactions: self.transactions,
            },
            senders: self.senders,
            outcome,
            tree,
            inbox_count: self.inbox_count,
            planned: self.planned,
        })
    }
}

/// Tells what the next L2 unit does. `batch` is what [`read_batch`] gave for the open batch.
///
/// # Errors
/// When blobs cannot be read.
pub fn plan_unit<'a, B: Blobs>(
    params: &ChainParams,
    state: &ChainState,
    batch: Option<&'a Batch>,
    blobs: &B,
) -> Result<L2Work<'a>, PlanError<B::Error>> {
    let (Some(open), Some(batch)) = (&state.open, batch) else {
        let planned = plan_forced_block(params, state, blobs)?;
        return Ok(L2Work::Block {
            planned,
            sequenced: &[],
            ends_batch: false,
        });
    };
    let next = usize::try_from(open.next).unwrap_or(usize::MAX);
    let Some(block) = batch.blocks.get(next) else {
        return Ok(L2Work::Drop(BatchFault::Empty));
    };
    let ends_batch = next.saturating_add(1) >= batch.blocks.len();
    let BatchBlock { transactions, .. } = block;
    match plan_batch_block(params, state, batch, block, blobs)? {
        Ok(planned) => Ok(L2Work::Block {
            planned,
            sequenced: transactions,
            ends_batch,
        }),
        Err(fault) => Ok(L2Work::Drop(fault)),
    }
}

/// Executes a planned block. The inner error says why the block is invalid.
///
/// # Errors
/// The outer error when state or tree cannot be read.
pub fn build_block<S, N>(
    params: &ChainParams,
    parent: &Header,
    planned: PlannedBlock,
    sequenced: &[Transaction],
    state: S,
    tree: &N,
) -> Result<Result<ExecutedBlock, BatchFault>, BuildError<S::Error, N::Error>>
where
    S: StateReader,
    S::Error: Send + Sync + 'static,
    N: NodeReader,
{
    let block = planned.attributes.number;
    let invalid = |reason: alloc::string::String| Ok(Err(BatchFault::Block { block, reason }));
    // Before any signature: gas bounds how long a unit is, and it is not counted for what is recovered beforehand.
    let most = planned.attributes.gas_limit / LEAST_GAS_USED;
    if sequenced.len() as u64 > most {
        return invalid(format!(
            "{} transactions: at most {most} fit the gas limit",
            sequenced.len()
        ));
    }
    let senders = match recover_senders(sequenced) {
        Ok(senders) => senders,
        Err(error) => return invalid(error.to_string()),
    };
    let mut builder = BlockBuilder::new(params, parent, planned, state)?;
    for (transaction, sender) in sequenced.iter().zip(senders) {
        match builder.push(transaction.clone(), sender) {
            Ok(_) => {}
            Err(TransactError::Invalid(reason)) => return invalid(reason.to_string()),
            Err(TransactError::Fault(fault)) => return Err(fault.into()),
        }
    }
    builder.finish(tree).map(Ok)
}

impl ChainState {
    /// Applies the result of an L2 unit that executed a block.
    pub fn finish_block(
        &mut self,
        params: &ChainParams,
        planned: &PlannedBlock,
        header: Header,
        ends_batch: bool,
    ) {
        self.apply_block(planned, header);
        if ends_batch {
            self.close_batch(params);
        }
    }
}

/// Does one unit. `advice` is the hash of the next L1 block, for a unit that reads one.
///
/// # Errors
/// When something cannot be read, or the advice is no next block. `chain` is unchanged then.
pub fn step<B, S, N, L>(
    params: &ChainParams,
    chain: &mut ChainState,
    advice: Option<&BlockHash>,
    source: &mut L,
    blobs: &mut B,
    state: S,
    tree: &N,
) -> Result<UnitOutcome, StepError<B::Error, S::Error, N::Error>>
where
    B: Blobs,
    S: StateReader,
    S::Error: Send + Sync + 'static,
    N: NodeReader,
    L: BlockSource,
{
    let kind = chain.next_unit(params);
    if kind == UnitKind::L1 {
        let hash = advice.ok_or(StepError::NoAdvice)?;
        let work = chain.l1.verify_work(params.derive.network, hash);
        work.map_err(L1UnitError::from)?;
        let unreadable = |error: L::Error| StepError::Source {
            hash: *hash,
            reason: error.to_string(),
        };
        let bytes = source.block(hash).map_err(unreadable)?;
        let block = L1Block::decode(&bytes).map_err(|error| StepError::Block { hash: *hash, error })?;
        process_l1_block(params, chain, &block, blobs)?;
        return Ok(UnitOutcome::L1);
    }
    step_l2(params, chain, blobs, state, tree)
}

/// Does one unit that reads no L1 block: it executes a block or gives up the open batch.
///
/// # Errors
/// When something cannot be read. `chain` is unchanged then.
pub fn step_l2<B, S, N>(
    params: &ChainParams,
    chain: &mut ChainState,
    blobs: &B,
    state: S,
    tree: &N,
) -> Result<UnitOutcome, StepError<B::Error, S::Error, N::Error>>
where
    B: Blobs,
    S: StateReader,
    S::Error: Send + Sync + 'static,
    N: NodeReader,
{
    let (commit, batch) = match &chain.open {
        None => (Txid::ZERO, None),
        Some(open) => match read_batch(params, open, blobs).map_err(PlanError::Blobs)? {
            Ok(batch) => (open.commit, Some(batch)),
            Err(error) => return Ok(drop_batch(params, chain, open.commit, error.into())),
        },
    };
    match plan_unit(params, chain, batch.as_ref(), blobs)? {
        L2Work::Drop(fault) => Ok(drop_batch(params, chain, commit, fault)),
        L2Work::Block {
            planned,
            sequenced,
            ends_batch,
        } => match build_block(params, &chain.tip.header, planned, sequenced, state, tree)? {
            Err(fault) => Ok(drop_batch(params, chain, commit, fault)),
            Ok(executed) => {
                let header = executed.block.header.clone();
                chain.finish_block(params, &executed.planned, header, ends_batch);
                Ok(UnitOutcome::Block(Box::new(executed)))
            }
        },
    }
}

fn drop_batch(params: &ChainParams, chain: &mut ChainState, commit: Txid, fault: BatchFault) -> UnitOutcome {
    chain.close_batch(params);
    UnitOutcome::BatchDropped { commit, fault }
}
