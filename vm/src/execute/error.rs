//! What can go wrong, kept apart: an invalid transaction, an invalid block, our own fault.
//!
//! The texts of [`InvalidTransaction`] are Geth's, because tools match on them.

use alloy_primitives::{Address, U256};
use revm::context::result::{EVMError, InvalidTransaction as RevmInvalid};

use super::db::ReadError;
use super::evm::Evm;
use super::seal::HeaderError;
use super::tx::EvmTransaction;

/// Why a transaction cannot be in this block. It changed nothing and can be dropped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTransaction {
    /// The nonce was used already.
    #[error("nonce too low: address {address}, tx: {tx} state: {state}")]
    NonceTooLow {
        /// The sender.
        address: Address,
        /// The transaction's nonce.
        tx: u64,
        /// The account's next nonce.
        state: u64,
    },
    /// Transactions before this one are missing: it may become valid.
    #[error("nonce too high: address {address}, tx: {tx} state: {state}")]
    NonceTooHigh {
        /// The sender.
        address: Address,
        /// The transaction's nonce.
        tx: u64,
        /// The account's next nonce.
        state: u64,
    },
    /// The nonce cannot be counted up any more (EIP-2681).
    #[error("nonce has max value: address {address}, nonce: {nonce}")]
    NonceMax {
        /// The sender.
        address: Address,
        /// The transaction's nonce.
        nonce: u64,
    },
    /// The balance does not cover the most that the transaction can cost, its L1 data fee included.
    #[error("insufficient funds for gas * price + value: address {address} have {have} want {want}")]
    InsufficientFunds {
        /// The sender.
        address: Address,
        /// The balance in wei.
        have: U256,
        /// The most that the transaction can cost, in wei.
        want: U256,
    },
    /// The cost does not fit 256 bits.
    #[error(
        "insufficient funds for gas * price + value: address {address} required balance exceeds 256 bits"
    )]
    CostOverflow {
        /// The sender.
        address: Address,
    },
    /// The gas limit is below what the transaction costs before it runs.
    #[error("intrinsic gas too low: have {have}, want {want}")]
    IntrinsicGas {
        /// The gas limit.
        have: u64,
        /// The intrinsic gas.
        want: u64,
    },
    /// The gas limit is below the calldata floor (EIP-7623).
    #[error("insufficient gas for floor data gas cost: have {have}, want {want}")]
    FloorDataGas {
        /// The gas limit.
        have: u64,
        /// The floor.
        want: u64,
    },
    /// The fee cap is below the base fee: it may become valid.
    #[error(
        "max fee per gas less than block base fee: address {address}, maxFeePerGas: {max_fee}, baseFee: {base_fee}"
    )]
    FeeCapTooLow {
        /// The sender.
        address: Address,
        /// The fee cap in wei per gas.
        max_fee: u128,
        /// The block's base fee in wei per gas.
        base_fee: u64,
    },
    /// The tip is above the fee cap.
    #[error(
        "max priority fee per gas higher than max fee per gas: address {address}, maxPriorityFeePerGas: {tip}, maxFeePerGas: {max_fee}"
    )]
    TipAboveFeeCap {
        /// The sender.
        address: Address,
        /// The tip in wei per gas.
        tip: u128,
        /// The fee cap in wei per gas.
        max_fee: u128,
    },
    /// The sender is a contract (EIP-3607).
    #[error("sender not an eoa: address {address}, len(code): {code_len}")]
    SenderNotEoa {
        /// The sender.
        address: Address,
        /// The length of its code in bytes.
        code_len: usize,
    },
    /// The creation code is too long (EIP-3860).
    #[error("max initcode size exceeded: code size {size} limit {limit}")]
    InitCodeTooLarge {
        /// Its length in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The gas limit is above the cap for one transaction (EIP-7825).
    #[error("transaction gas limit too high (cap: {cap}, tx: {limit})")]
    GasLimitAboveCap {
        /// The cap.
        cap: u64,
        /// The gas limit.
        limit: u64,
    },
    /// The gas limit is above the block's.
    #[error("exceeds block gas limit: have {have}, want {want}")]
    ExceedsBlockGasLimit {
        /// The block's gas limit.
        have: u64,
        /// The transaction's gas limit.
        want: u64,
    },
    /// The block has less gas left: the transaction fits a later block.
    #[error("gas limit reached: have {have}, want {want}")]
    GasLimitReached {
        /// Gas left in the block.
        have: u64,
        /// The transaction's gas limit.
        want: u64,
    },
    /// The transaction is for another chain (EIP-155).
    #[error("invalid chain id for signer: have {have} want {want}")]
    WrongChainId {
        /// The transaction's chain id.
        have: u64,
        /// The chain's id.
        want: u64,
    },
    /// There is no authorisation (EIP-7702).
    #[error("EIP-7702 transaction with empty auth list (sender {address})")]
    EmptyAuthorizationList {
        /// The sender.
        address: Address,
    },
    /// The type does not exist on this chain.
    #[error("transaction type not supported: {kind:#04x}")]
    UnsupportedType {
        /// The EIP-2718 type.
        kind: u8,
    },
    /// A rule of a later specification, for which there is no wording yet.
    #[error("invalid transaction: {0}")]
    Other(RevmInvalid),
}

/// Why a transaction was not executed.
#[derive(Debug, thiserror::Error)]
pub enum TransactError<E: core::error::Error> {
    /// The transaction cannot be in this block; nothing has changed.
    #[error(transparent)]
    Invalid(#[from] InvalidTransaction),
    /// Our own fault; the block cannot go on.
    #[error(transparent)]
    Fault(#[from] Fault<E>),
}

/// Our own fault or the medium's: never the block's.
#[derive(Debug, thiserror::Error)]
pub enum Fault<E: core::error::Error> {
    /// The state could not be read.
    #[error("failed to read the state: {0}")]
    State(ReadError<E>),
    /// The EVM failed in a way that no block can cause.
    #[error("the EVM failed: {message}")]
    Evm {
        /// What it said.
        message: alloc::string::String,
    },
    /// A call that the protocol makes failed.
    #[error("the system call of {contract} failed: {reason}")]
    SystemCall {
        /// The contract.
        contract: Address,
        /// What happened.
        reason: alloc::string::String,
    },
    /// A balance that the state tree cannot hold; the supply is far below.
    #[error("the balance of {address} is above 16 bytes: {balance}")]
    BalanceTooLarge {
        /// The account.
        address: Address,
        /// The balance in wei.
        balance: U256,
    },
}

/// Why a block was not executed.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError<E: core::error::Error> {
    /// The attributes break a rule against the parent.
    #[error("invalid block attributes: {0}")]
    Attributes(#[from] HeaderError),
    /// There are not as many senders as transactions.
    #[error("{transactions} transactions with {senders} senders")]
    SenderCount {
        /// The number of transactions.
        transactions: usize,
        /// The number of senders.
        senders: usize,
    },
    /// A transaction cannot be in this block, so the block is invalid.
    #[error("invalid transaction {index}: {reason}")]
    Transaction {
        /// Its index in the block.
        index: usize,
        /// The rule it breaks.
        reason: InvalidTransaction,
    },
    /// Our own fault.
    #[error(transparent)]
    Fault(#[from] Fault<E>),
}

/// Gives revm's error its place and its numbers. `evm` still holds the transaction that failed.
pub(super) fn classify<S, I>(
    evm: &Evm<super::db::StateDb<S>, I>,
    error: EVMError<ReadError<S::Error>>,
) -> TransactError<S::Error>
where
    S: crate::state::StateReader,
    S::Error: Send + Sync + 'static,
{
    match error {
        EVMError::Transaction(reason) => {
            let context = evm.context();
            let sender = context.journaled_state.state.get(&context.tx.env.caller);
            let code_len = sender
                .and_then(|account| account.info.code.as_ref())
                .map_or(0, |code| code.len());
            let cfg = &context.cfg;
            let limits = Limits {
                chain_id: cfg.chain_id,
                base_fee: context.block.basefee,
                block_gas_limit: context.block.gas_limit,
                init_code: revm::context_interface::Cfg::max_initcode_size(cfg),
                code_len,
            };
            TransactError::Invalid(explain(reason, &context.tx, &limits))
        }
        error => TransactError::Fault(fault(error)),
    }
}

/// Turns every error that is not about a transaction into a fault.
pub(super) fn fault<E: core::error::Error + Send + Sync + 'static>(
    error: EVMError<ReadError<E>>,
) -> Fault<E> {
    match error {
        EVMError::Database(error) => Fault::State(error),
        error => Fault::Evm {
            message: alloc::format!("{error}"),
        },
    }
}

/// The numbers around a transaction that Geth's texts name.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The chain's id.
    pub chain_id: u64,
    /// The block's base fee in wei per gas.
    pub base_fee: u64,
    /// The block's gas limit.
    pub block_gas_limit: u64,
    /// The longest creation code in bytes.
    pub init_code: usize,
    /// The length of the sender's code in bytes.
    pub code_len: usize,
}

/// Translates revm's reason into ours, with Geth's numbers.
pub fn explain(reason: RevmInvalid, transaction: &EvmTransaction, limits: &Limits) -> InvalidTransaction {
    let env = &transaction.env;
    let address = env.caller;
    match reason {
        RevmInvalid::NonceTooLow { tx, state } => InvalidTransaction::NonceTooLow { address, tx, state },
        RevmInvalid::NonceTooHigh { tx, state } => InvalidTransaction::NonceTooHigh { address, tx, state },
        RevmInvalid::NonceOverflowInTransaction => InvalidTransaction::NonceMax {
            address,
            nonce: env.nonce,
        },
        RevmInvalid::LackOfFundForMaxFee { fee, balance } => InvalidTransaction::InsufficientFunds {
            address,
            have: *balance,
            want: *fee,
        },
        RevmInvalid::OverflowPaymentInTransaction => InvalidTransaction::CostOverflow { address },
        RevmInvalid::CallGasCostMoreThanGasLimit {
            initial_gas,
            gas_limit,
        } => InvalidTransaction::IntrinsicGas {
            have: gas_limit,
            want: initial_gas,
        },
        RevmInvalid::GasFloorMoreThanGasLimit { gas_floor, gas_limit } => InvalidTransaction::FloorDataGas {
            have: gas_limit,
            want: gas_floor,
        },
        RevmInvalid::GasPriceLessThanBasefee => InvalidTransaction::FeeCapTooLow {
            address,
            max_fee: env.gas_price,
            base_fee: limits.base_fee,
        },
        RevmInvalid::PriorityFeeGreaterThanMaxFee => InvalidTransaction::TipAboveFeeCap {
            address,
            tip: env.gas_priority_fee.unwrap_or(0),
            max_fee: env.gas_price,
        },
        RevmInvalid::RejectCallerWithCode => InvalidTransaction::SenderNotEoa {
            address,
            code_len: limits.code_len,
        },
        RevmInvalid::CreateInitCodeSizeLimit => InvalidTransaction::InitCodeTooLarge {
            size: env.data.len(),
            limit: limits.init_code,
        },
        RevmInvalid::TxGasLimitGreaterThanCap { gas_limit, cap } => InvalidTransaction::GasLimitAboveCap {
            cap,
            limit: gas_limit,
        },
        RevmInvalid::CallerGasLimitMoreThanBlock => InvalidTransaction::ExceedsBlockGasLimit {
            have: limits.block_gas_limit,
            want: env.gas_limit,
        },
        RevmInvalid::InvalidChainId | RevmInvalid::MissingChainId => InvalidTransaction::WrongChainId {
            have: env.chain_id.unwrap_or(0),
            want: limits.chain_id,
        },
        RevmInvalid::EmptyAuthorizationList => InvalidTransaction::EmptyAuthorizationList { address },
        RevmInvalid::Eip2930NotSupported
        | RevmInvalid::Eip1559NotSupported
        | RevmInvalid::Eip4844NotSupported
        | RevmInvalid::Eip7702NotSupported => InvalidTransaction::UnsupportedType { kind: env.tx_type },
        other => InvalidTransaction::Other(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn texts_begin_like_geths() {
        let mut transaction = EvmTransaction::default();
        transaction.env.gas_price = 5;
        transaction.env.gas_priority_fee = Some(6);
        let limits = Limits {
            chain_id: 1,
            base_fee: 7,
            block_gas_limit: 9,
            init_code: 3,
            code_len: 2,
        };
        let text = |reason| explain(reason, &transaction, &limits).to_string();
        for (reason, start) in [
            (
                RevmInvalid::NonceTooLow { tx: 1, state: 2 },
                "nonce too low: address 0x",
            ),
            (
                RevmInvalid::NonceTooHigh { tx: 2, state: 1 },
                "nonce too high: address 0x",
            ),
            (
                RevmInvalid::LackOfFundForMaxFee {
                    fee: Box::new(U256::from(2)),
                    balance: Box::default(),
                },
                "insufficient funds for gas * price + value: address 0x",
            ),
            (
                RevmInvalid::OverflowPaymentInTransaction,
                "insufficient funds for gas * price + value",
            ),
            (
                RevmInvalid::CallGasCostMoreThanGasLimit {
                    initial_gas: 21_000,
                    gas_limit: 20_000,
                },
                "intrinsic gas too low: have 20000, want 21000",
            ),
            (
                RevmInvalid::GasFloorMoreThanGasLimit {
                    gas_floor: 21_010,
                    gas_limit: 21_000,
                },
                "insufficient gas for floor data gas cost: have 21000, want 21010",
            ),
            (
                RevmInvalid::GasPriceLessThanBasefee,
                "max fee per gas less than block base fee: address 0x",
            ),
            (
                RevmInvalid::PriorityFeeGreaterThanMaxFee,
                "max priority fee per gas higher than max fee per gas: address 0x",
            ),
            (RevmInvalid::RejectCallerWithCode, "sender not an eoa: address 0x"),
            (
                RevmInvalid::CreateInitCodeSizeLimit,
                "max initcode size exceeded: code size 0 limit 3",
            ),
            (
                RevmInvalid::CallerGasLimitMoreThanBlock,
                "exceeds block gas limit",
            ),
            (
                RevmInvalid::TxGasLimitGreaterThanCap { gas_limit: 2, cap: 1 },
                "transaction gas limit too high (cap: 1, tx: 2)",
            ),
            (
                RevmInvalid::InvalidChainId,
                "invalid chain id for signer: have 1 want 1",
            ),
            (
                RevmInvalid::EmptyAuthorizationList,
                "EIP-7702 transaction with empty auth list",
            ),
        ] {
            let text = text(reason);
            assert!(text.starts_with(start), "{text}");
        }
    }

    use alloc::boxed::Box;
}
