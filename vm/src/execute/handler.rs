//! The transaction rules that differ from Ethereum's: deposits, the L1 data fee, where the base fee goes.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::marker::PhantomData;

use alloy_primitives::U256;
use revm::Database;
use revm::context::result::{
    EVMError, ExecutionResult, HaltReason, InvalidTransaction, OutOfGasError, ResultGas,
};
use revm::context_interface::journaled_state::account::JournaledAccountTr;
use revm::context_interface::{Block, Cfg, ContextTr, JournalTr, LocalContextTr, Transaction};
use revm::handler::pre_execution::validate_account_nonce_and_code_with_components;
use revm::handler::{EvmTr, FrameResult, Handler, validation};
use revm::inspector::{Inspector, InspectorHandler};
use revm::interpreter::InitialAndFloorGas;
use revm::interpreter::interpreter::EthInterpreter;

use super::evm::{Context, RevmEvm};
use super::tx::EvmTransaction;

/// What the handler can fail with.
pub(super) type HandlerError<DB> = EVMError<<DB as Database>::Error>;

/// revm's handler with Bitsect's rules.
pub(super) struct ChainHandler<DB, I>(PhantomData<(DB, I)>);

impl<DB, I> ChainHandler<DB, I> {
    pub(super) const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<DB: Database, I> Handler for ChainHandler<DB, I> {
    type Evm = RevmEvm<DB, I>;
    type Error = HandlerError<DB>;
    type HaltReason = HaltReason;

    fn validate_env(&self, evm: &mut Self::Evm) -> Result<(), Self::Error> {
        if evm.ctx_ref().tx().is_deposit() {
            return Ok(verify_deposit(evm.ctx_ref())?);
        }
        validation::validate_env(evm.ctx())
    }

    fn validate_against_state_and_deduct_caller(
        &self,
        evm: &mut Self::Evm,
        _gas: &mut InitialAndFloorGas,
    ) -> Result<(), Self::Error> {
        if let Some(mint) = evm.ctx_ref().tx().mint {
            mint_and_bump_nonce(evm.ctx(), mint)
        } else {
            deduct_fees(evm.ctx())
        }
    }

    fn reward_beneficiary(
        &self,
        evm: &mut Self::Evm,
        exec_result: &mut FrameResult,
    ) -> Result<(), Self::Error> {
        let gas = exec_result.gas();
        let gas_used = gas.used().saturating_sub(gas.reservoir());
        let (block, tx, cfg, journal, fees, _) = evm.ctx().all_mut();
        if tx.is_deposit() || cfg.is_fee_charge_disabled() {
            return Ok(());
        }
        let base_fee = u128::from(block.basefee());
        let price = tx.effective_gas_price(base_fee);
        let used = U256::from(gas_used);
        let tip = U256::from(price.saturating_sub(base_fee)).saturating_mul(used);
        // Below the base fee only where the check is switched off (eth_call): never pay out more than was paid.
        let base = U256::from(price.min(base_fee)).saturating_mul(used);
        let l1_fee = fees.l1_fee(tx.l1_bytes);
        let beneficiary = block.beneficiary();
        let shares = match fees.base_fee_recipient {
            None => [
                (beneficiary, tip.saturating_add(l1_fee)),
                (beneficiary, U256::ZERO),
            ],
            Some(to) if to == beneficiary => [
                (to, tip.saturating_add(base).saturating_add(l1_fee)),
                (to, U256::ZERO),
            ],
            Some(to) => [(beneficiary, tip), (to, base.saturating_add(l1_fee))],
        };
        for (index, (recipient, amount)) in shares.into_iter().enumerate() {
            // The beneficiary is touched even by nothing, as in Ethereum.
            if index == 0 || !amount.is_zero() {
                journal.load_account_mut(recipient)?.data.incr_balance(amount);
            }
        }
        Ok(())
    }

    fn catch_error(
        &self,
        evm: &mut Self::Evm,
        error: Self::Error,
    ) -> Result<ExecutionResult<Self::HaltReason>, Self::Error> {
        evm.ctx().local_mut().clear();
        evm.frame_stack().clear();
        evm.ctx().journal_mut().discard_tx();
        match (evm.ctx_ref().tx().mint, error) {
            (Some(mint), EVMError::Transaction(reason)) => fail_deposit(evm.ctx(), mint, reason),
            (_, error) => Err(error),
        }
    }
}

impl<DB, I> InspectorHandler for ChainHandler<DB, I>
where
    DB: Database,
    I: Inspector<Context<DB>, EthInterpreter>,
{
    type IT = EthInterpreter;
}

/// The rules that a deposit must meet to be run at all. One that does not still mints: see [`fail_deposit`].
fn verify_deposit<DB: Database>(context: &Context<DB>) -> Result<(), InvalidTransaction> {
    let (tx, cfg) = (context.tx(), context.cfg());
    if tx.gas_limit() > cfg.tx_gas_limit_cap() {
        return Err(InvalidTransaction::TxGasLimitGreaterThanCap {
            gas_limit: tx.gas_limit(),
            cap: cfg.tx_gas_limit_cap(),
        });
    }
    if tx.kind().is_create() && tx.input().len() > cfg.max_initcode_size() {
        return Err(InvalidTransaction::CreateInitCodeSizeLimit);
    }
    Ok(())
}

/// Begins a deposit: mints, and bumps the sender's nonce (a creation does that by itself).
fn mint_and_bump_nonce<DB: Database>(context: &mut Context<DB>, mint: u128) -> Result<(), HandlerError<DB>> {
    let (_, tx, _, journal, _, _) = context.all_mut();
    let mut sender = journal.load_account_mut(tx.caller())?.data;
    let balance = sender.balance().saturating_add(U256::from(mint));
    if tx.value() > balance {
        return Err(InvalidTransaction::LackOfFundForMaxFee {
            fee: Box::new(tx.value()),
            balance: Box::new(balance),
        }
        .into());
    }
    sender.set_balance(balance);
    if tx.kind().is_call() {
        sender.bump_nonce();
    }
    Ok(())
}

/// Ends a deposit that could not be run: its mint persists, its nonce counts, all of its gas is used.
fn fail_deposit<DB: Database>(
    context: &mut Context<DB>,
    mint: u128,
    reason: InvalidTransaction,
) -> Result<ExecutionResult<HaltReason>, HandlerError<DB>> {
    let (_, tx, _, journal, _, _) = context.all_mut();
    let mut sender = journal.load_account_mut(tx.caller())?.data;
    sender.incr_balance(U256::from(mint));
    sender.bump_nonce();
    let gas = ResultGas::default().with_total_gas_spent(tx.gas_limit());
    journal.commit_tx();
    let reason = match reason {
        InvalidTransaction::LackOfFundForMaxFee { .. } => HaltReason::OutOfFunds,
        InvalidTransaction::CreateInitCodeSizeLimit => HaltReason::CreateInitCodeSizeLimit,
        _ => HaltReason::OutOfGas(OutOfGasError::Basic),
    };
    Ok(ExecutionResult::Halt {
        reason,
        gas,
        logs: Vec::new(),
    })
}

/// Checks nonce, code and balance of the sender, and deducts gas and L1 fee up front.
fn deduct_fees<DB: Database>(context: &mut Context<DB>) -> Result<(), HandlerError<DB>> {
    let (block, tx, cfg, journal, fees, _) = context.all_mut();
    let mut sender = journal.load_account_with_code_mut(tx.caller())?.data;
    validate_account_nonce_and_code_with_components(&sender.account().info, tx, cfg)?;
    if !cfg.is_fee_charge_disabled() {
        let l1_fee = fees.l1_fee(tx.l1_bytes);
        let balance = *sender.balance();
        if !cfg.is_balance_check_disabled() {
            verify_balance(tx, balance, l1_fee)?;
        }
        // Overflows only where balances are not checked (eth_call): an error there, never a panic.
        let gas_fee =
            u128::from(tx.gas_limit()).checked_mul(tx.effective_gas_price(u128::from(block.basefee())));
        let gas_fee = gas_fee.ok_or(InvalidTransaction::OverflowPaymentInTransaction)?;
        let mut rest = balance.saturating_sub(U256::from(gas_fee).saturating_add(l1_fee));
        if cfg.is_balance_check_disabled() {
            rest = rest.max(tx.value());
        }
        sender.set_balance(rest);
    }
    if tx.kind().is_call() {
        sender.bump_nonce();
    }
    Ok(())
}

/// Checks that the balance covers the most that the transaction can spend.
fn verify_balance(tx: &EvmTransaction, balance: U256, l1_fee: U256) -> Result<(), InvalidTransaction> {
    let spending = tx.max_balance_spending()?;
    let fee = spending
        .checked_add(l1_fee)
        .ok_or(InvalidTransaction::OverflowPaymentInTransaction)?;
    if fee > balance {
        return Err(InvalidTransaction::LackOfFundForMaxFee {
            fee: Box::new(fee),
            balance: Box::new(balance),
        });
    }
    Ok(())
}
