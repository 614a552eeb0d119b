//! Why a transaction is refused, in Geth's words: wallets and libraries match on these strings.

use alloy_primitives::{Address, B256, U256};

/// Why the pool refuses a transaction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// The pool holds this transaction already.
    #[error("already known")]
    AlreadyKnown,
    /// The bytes are not one EIP-2718 transaction.
    #[error("{reason}")]
    Malformed {
        /// What is wrong with the encoding.
        reason: String,
    },
    /// A deposit, a blob transaction, or an unknown type.
    #[error("transaction type not supported")]
    TypeNotSupported,
    /// A legacy transaction without a chain id, while the pool asks for EIP-155.
    #[error("only replay-protected (EIP-155) transactions allowed over RPC")]
    Unprotected,
    /// Signed for another chain.
    #[error("invalid sender: invalid chain id for signer: have {got} want {expected}")]
    WrongChain {
        /// The transaction's chain id.
        got: u64,
        /// This chain's id.
        expected: u64,
    },
    /// The signature gives no sender, or its s is in the upper half (EIP-2).
    #[error("invalid sender: invalid transaction v, r, s values")]
    InvalidSender,
    /// The encoded transaction is too long.
    #[error("oversized data: transaction size {got}, limit {limit}")]
    Oversized {
        /// Encoded bytes.
        got: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Gas beyond a block's.
    #[error("exceeds block gas limit")]
    ExceedsBlockGasLimit,
    /// Gas beyond the cap on one transaction (EIP-7825).
    #[error("transaction gas limit too high (cap: {cap}, tx: {got})")]
    GasLimitTooHigh {
        /// The cap.
        cap: u64,
        /// The transaction's gas limit.
        got: u64,
    },
    /// Init code over the limit (EIP-3860).
    #[error("max initcode size exceeded: code size {got}, limit {limit}")]
    InitCodeTooLarge {
        /// Bytes of init code.
        got: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Less gas than the transaction costs before its first opcode.
    #[error("intrinsic gas too low: gas {got}, minimum needed {needed}")]
    IntrinsicGas {
        /// The transaction's gas limit.
        got: u64,
        /// The intrinsic gas.
        needed: u64,
    },
    /// Less gas than the floor for its data (EIP-7623).
    #[error("insufficient gas for floor data gas cost: gas {got}, minimum needed {needed}")]
    FloorGas {
        /// The transaction's gas limit.
        got: u64,
        /// The floor.
        needed: u64,
    },
    /// A tip above the whole price.
    #[error(
        "max priority fee per gas higher than max fee per gas: maxPriorityFeePerGas: {tip}, maxFeePerGas: {cap}"
    )]
    TipAboveFeeCap {
        /// maxPriorityFeePerGas, wei.
        tip: u128,
        /// maxFeePerGas, wei.
        cap: u128,
    },
    /// The price is below what the pool takes, or below everything in a full pool.
    #[error("transaction underpriced: gas tip cap {tip}, minimum needed {needed}")]
    Underpriced {
        /// maxPriorityFeePerGas, wei.
        tip: u128,
        /// Wei needed.
        needed: u128,
    },
    /// A replacement that does not raise both fees by the bump.
    #[error("replacement transaction underpriced")]
    ReplacementUnderpriced,
    /// A nonce that the state has passed.
    #[error("nonce too low: next nonce {expected}, tx nonce {got}")]
    NonceTooLow {
        /// The account's nonce.
        expected: u64,
        /// The transaction's nonce.
        got: u64,
    },
    /// A nonce that cannot be incremented (EIP-2681).
    #[error("nonce has max value")]
    NonceMax,
    /// The balance does not cover the transaction, L1 fee included.
    #[error(
        "insufficient funds for gas * price + value: balance {balance}, tx cost {cost}, overshot {overshot}"
    )]
    InsufficientFunds {
        /// The sender's balance, wei.
        balance: U256,
        /// gas * price + value + L1 fee, wei.
        cost: U256,
        /// What is missing, wei.
        overshot: U256,
    },
    /// The balance does not cover the transaction together with the sender's others in the pool.
    #[error(
        "insufficient funds for gas * price + value: balance {balance}, queued cost {queued}, tx cost {cost}, overshot {overshot}"
    )]
    InsufficientFundsQueued {
        /// The sender's balance, wei.
        balance: U256,
        /// What the sender's other transactions in the pool may cost, wei.
        queued: U256,
        /// gas * price + value + L1 fee, wei.
        cost: U256,
        /// What is missing, wei.
        overshot: U256,
    },
    /// The sender has code that is not an EIP-7702 delegation (EIP-3607).
    #[error("sender not an eoa: address {address}, codehash: {code_hash}")]
    SenderNotEoa {
        /// The sender.
        address: Address,
        /// keccak256 of its code.
        code_hash: B256,
    },
    /// A 7702 transaction without authorisations.
    #[error("set code tx must have at least one authorization tuple")]
    EmptyAuthorizationList,
    /// The sender has as many transactions here as one may have.
    #[error("account limit exceeded")]
    AccountLimit,
    /// No room, and nothing cheaper to drop.
    #[error("txpool is full")]
    Full,
    /// Our fault: the state could not be read.
    #[error("state is unavailable: {reason}")]
    State {
        /// What failed.
        reason: String,
    },
    /// Our fault: the journal could not be written, so nothing may be acknowledged.
    #[error("transaction journal is unavailable: {reason}")]
    Journal {
        /// What failed.
        reason: String,
    },
    /// The node is stopping.
    #[error("the node is shutting down")]
    Closed,
}
