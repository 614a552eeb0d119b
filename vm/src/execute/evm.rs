//! Builds the EVM: one for blocks, calls, estimates and traces, so that they cannot differ.

use revm::Database;
use revm::context::result::{EVMError, ExecutionResult, HaltReason};
use revm::context::{BlockEnv, CfgEnv, ContextSetters, Journal};
use revm::context_interface::block::BlobExcessGasAndPrice;
use revm::context_interface::{ContextTr, JournalTr};
use revm::handler::instructions::EthInstructions;
use revm::handler::{EthFrame, EthPrecompiles, Handler};
use revm::inspector::{Inspector, InspectorHandler, NoOpInspector};
use revm::interpreter::interpreter::EthInterpreter;
use revm::primitives::hardfork::SpecId;
use revm::state::EvmState;

use alloy_primitives::U256;

use crate::chain::{BlockAttributes, ExecutionParams, Header};

use super::fee::FeeRules;
use super::handler::ChainHandler;
use super::tx::EvmTransaction;

/// The context that inspectors see.
pub type Context<DB> = revm::Context<BlockEnv, EvmTransaction, CfgEnv, DB, Journal<DB>, FeeRules>;

pub(super) type RevmEvm<DB, I> = revm::context::Evm<
    Context<DB>,
    I,
    EthInstructions<EthInterpreter, Context<DB>>,
    EthPrecompiles,
    EthFrame<EthInterpreter>,
>;

/// The EVM's configuration under these parameters. Calls may switch checks off in it.
pub fn cfg_env(params: &ExecutionParams) -> CfgEnv {
    CfgEnv::new_with_spec(params.spec).with_chain_id(params.chain_id)
}

/// The EVM's view of the block that `attributes` describe.
pub fn block_env(spec: SpecId, attributes: &BlockAttributes, base_fee: u64) -> BlockEnv {
    BlockEnv {
        number: U256::from(attributes.number),
        beneficiary: attributes.beneficiary,
        timestamp: U256::from(attributes.timestamp),
        gas_limit: attributes.gas_limit,
        basefee: base_fee,
        difficulty: U256::ZERO,
        prevrandao: Some(attributes.prev_randao),
        // Without blobs there is never an excess: BLOBBASEFEE returns the minimum of 1 wei.
        blob_excess_gas_and_price: Some(BlobExcessGasAndPrice::new_with_spec(0, spec)),
        slot_num: 0,
    }
}

/// The EVM's view of an existing block, for calls on top of it and for traces.
pub fn block_env_of(spec: SpecId, header: &Header) -> BlockEnv {
    BlockEnv {
        number: U256::from(header.number),
        beneficiary: header.beneficiary,
        timestamp: U256::from(header.timestamp),
        gas_limit: header.gas_limit,
        basefee: header.base_fee_per_gas.unwrap_or(0),
        difficulty: U256::ZERO,
        prevrandao: Some(header.mix_hash),
        blob_excess_gas_and_price: Some(BlobExcessGasAndPrice::new_with_spec(
            header.excess_blob_gas.unwrap_or(0),
            spec,
        )),
        slot_num: 0,
    }
}

/// An EVM with Bitsect's transaction rules over any database.
///
/// Changes of transactions that ran stay in its journal until [`Evm::finalize`], so that the next one sees them.
/// It is not `Send`: keep it on the thread that made it.
#[expect(missing_debug_implementations, reason = "revm's instruction tables have none")]
pub struct Evm<DB: Database, I = NoOpInspector> {
    inner: RevmEvm<DB, I>,
}

impl<DB: Database, I> Evm<DB, I> {
    /// Makes an EVM. `cfg` may have checks switched off (`disable_balance_check`, `disable_base_fee` and others).
    pub fn new(cfg: CfgEnv, block: BlockEnv, fees: FeeRules, db: DB, inspector: I) -> Self {
        let spec = cfg.spec;
        let context = Context::<DB>::new(db, spec)
            .with_cfg(cfg)
            .with_block(block)
            .with_chain(fees);
        let inner = revm::context::Evm::new_with_inspector(
            context,
            inspector,
            EthInstructions::new_mainnet_with_spec(spec),
            EthPrecompiles::new(spec),
        );
        Self { inner }
    }

    /// Runs a transaction. On an error nothing has changed.
    ///
    /// # Errors
    ///
    /// An invalid transaction, or a fault of the database.
    // Inlined, so that the transaction is built in its place.
    #[inline]
    pub fn transact(
        &mut self,
        transaction: EvmTransaction,
    ) -> Result<ExecutionResult<HaltReason>, EVMError<DB::Error>> {
        self.inner.ctx.set_tx(transaction);
        ChainHandler::new().run(&mut self.inner)
    }

    /// Makes a call by the protocol itself: no fees, no nonce, no checks.
    ///
    /// # Errors
    ///
    /// A fault of the database.
    pub fn system_call(
        &mut self,
        call: EvmTransaction,
    ) -> Result<ExecutionResult<HaltReason>, EVMError<DB::Error>> {
        self.inner.ctx.set_tx(call);
        ChainHandler::new().run_system_call(&mut self.inner)
    }

    /// Takes all changes since the last call, and forgets them.
    pub fn finalize(&mut self) -> EvmState {
        self.inner.ctx.journal_mut().finalize()
    }

    /// The context: block, configuration, last transaction, journal, database.
    pub const fn context(&self) -> &Context<DB> {
        &self.inner.ctx
    }

    /// The context, to change the block, the configuration or the database between transactions.
    pub const fn context_mut(&mut self) -> &mut Context<DB> {
        &mut self.inner.ctx
    }

    /// The inspector.
    pub const fn inspector_mut(&mut self) -> &mut I {
        &mut self.inner.inspector
    }

    /// Takes context and inspector out.
    pub fn into_parts(self) -> (Context<DB>, I) {
        (self.inner.ctx, self.inner.inspector)
    }
}

impl<DB: Database, I: Inspector<Context<DB>, EthInterpreter>> Evm<DB, I> {
    /// Runs a transaction while the inspector watches. On an error nothing has changed.
    ///
    /// # Errors
    ///
    /// An invalid transaction, or a fault of the database.
    pub fn inspect(
        &mut self,
        transaction: EvmTransaction,
    ) -> Result<ExecutionResult<HaltReason>, EVMError<DB::Error>> {
        self.inner.ctx.set_tx(transaction);
        ChainHandler::new().inspect_run(&mut self.inner)
    }
}
