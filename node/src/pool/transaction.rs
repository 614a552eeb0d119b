//! A transaction in the pool, and the checks that need no state.

use std::time::Instant;

use alloy_consensus::{Transaction as _, transaction::SignerRecoverable};
use alloy_eips::eip2718::{Decodable2718, Eip2718Error, Encodable2718};
use alloy_primitives::{Address, TxHash, U256};
use bitsect_vm::chain::Transaction;
use revm::context_interface::cfg::gas::calculate_initial_tx_gas;
use revm::primitives::{eip3860::MAX_INITCODE_SIZE, eip7825::TX_GAS_LIMIT_CAP};

use super::{PoolConfig, PoolError};

/// Encoded bytes that a transaction may have: Geth's limit, far above what fits in a block's gas usefully.
pub const MAX_TX_BYTES: usize = 128 * 1024;

/// A transaction that the pool holds.
#[derive(Debug)]
pub struct PoolTx {
    /// The transaction.
    pub tx: Transaction,
    /// Who signed it.
    pub sender: Address,
    /// Its hash.
    pub hash: TxHash,
    /// The most it can cost its sender: gas * price + value + L1 fee, wei.
    pub cost: U256,
    /// Encoded bytes.
    pub size: usize,
    /// The order of arrival: earlier wins among equal tips.
    pub(super) order: u64,
    /// When it arrived, for the life of transactions that wait for a nonce.
    pub(super) arrived: Instant,
}

impl PoolTx {
    /// The transaction's nonce.
    pub fn nonce(&self) -> u64 {
        self.tx.nonce()
    }

    /// What the sequencer earns per gas at a base fee; `None` when the transaction does not pay it.
    pub fn effective_tip(&self, base_fee: u64) -> Option<u128> {
        self.tx.effective_tip_per_gas(base_fee)
    }

    /// maxFeePerGas, or the gas price of older types, wei.
    pub(super) fn fee_cap(&self) -> u128 {
        self.tx.max_fee_per_gas()
    }

    /// maxPriorityFeePerGas, or the gas price of older types, wei.
    pub(super) fn tip_cap(&self) -> u128 {
        self.tx
            .max_priority_fee_per_gas()
            .unwrap_or_else(|| self.tx.max_fee_per_gas())
    }
}

/// Decodes and checks everything that needs no state, and recovers the sender.
///
/// # Errors
///
/// Names the rule that the transaction breaks, in Geth's words.
pub(super) fn check(
    raw: &[u8],
    config: &PoolConfig,
    l1_fee: impl FnOnce(&Transaction) -> U256,
) -> Result<PoolTx, PoolError> {
    let tx = decode(raw)?;
    check_type(&tx, config)?;
    check_gas(&tx, config)?;
    let sender = tx.recover_signer().map_err(|_| PoolError::InvalidSender)?;
    let gas_cost = U256::from(tx.gas_limit()).saturating_mul(U256::from(tx.max_fee_per_gas()));
    let cost = gas_cost.saturating_add(tx.value()).saturating_add(l1_fee(&tx));
    Ok(PoolTx {
        hash: tx.tx_hash(),
        sender,
        cost,
        size: raw.len(),
        tx,
        order: 0,
        arrived: Instant::now(),
    })
}

fn decode(raw: &[u8]) -> Result<Transaction, PoolError> {
    if raw.len() > MAX_TX_BYTES {
        return Err(PoolError::Oversized {
            got: raw.len(),
            limit: MAX_TX_BYTES,
        });
    }
    let malformed = |reason: &str| PoolError::Malformed {
        reason: reason.to_owned(),
    };
    match raw.first() {
        None => return Err(malformed("typed transaction too short")),
        // Types we never take: blobs, deposits, post-execution, and everything unassigned.
        Some(kind) if *kind < 0x80 && !matches!(kind, 1 | 2 | 4) => return Err(PoolError::TypeNotSupported),
        Some(_) => {}
    }
    let tx = Transaction::decode_2718_exact(raw).map_err(|error| match error {
        Eip2718Error::RlpError(error) => malformed(&format!("rlp: {error}")),
        _ => malformed("rlp: invalid transaction"),
    })?;
    // One transaction has one encoding; otherwise its hash is not the hash of what was sent.
    if tx.encoded_2718() != raw {
        return Err(malformed("rlp: non-canonical transaction encoding"));
    }
    Ok(tx)
}

fn check_type(tx: &Transaction, config: &PoolConfig) -> Result<(), PoolError> {
    match tx {
        Transaction::Legacy(_) | Transaction::Eip2930(_) | Transaction::Eip1559(_) => {}
        Transaction::Eip7702(signed) => {
            if signed.tx().authorization_list.is_empty() {
                return Err(PoolError::EmptyAuthorizationList);
            }
        }
        Transaction::Deposit(_) | Transaction::PostExec(_) => return Err(PoolError::TypeNotSupported),
    }
    match tx.chain_id() {
        Some(id) if id != config.chain_id => {
            return Err(PoolError::WrongChain {
                got: id,
                expected: config.chain_id,
            });
        }
        None if !config.allow_unprotected => return Err(PoolError::Unprotected),
        _ => {}
    }
    if tx.nonce() == u64::MAX {
        return Err(PoolError::NonceMax);
    }
    let (cap, tip) = (
        tx.max_fee_per_gas(),
        tx.max_priority_fee_per_gas().unwrap_or_default(),
    );
    if tip > cap {
        return Err(PoolError::TipAboveFeeCap { tip, cap });
    }
    let tip = tx.max_priority_fee_per_gas().unwrap_or(cap);
    if tip < config.min_tip {
        return Err(PoolError::Underpriced {
            tip,
            needed: config.min_tip,
        });
    }
    Ok(())
}

fn check_gas(tx: &Transaction, config: &PoolConfig) -> Result<(), PoolError> {
    let got = tx.gas_limit();
    if got > config.block_gas_limit {
        return Err(PoolError::ExceedsBlockGasLimit);
    }
    if got > TX_GAS_LIMIT_CAP {
        return Err(PoolError::GasLimitTooHigh {
            cap: TX_GAS_LIMIT_CAP,
            got,
        });
    }
    if tx.is_create() && tx.input().len() > MAX_INITCODE_SIZE {
        return Err(PoolError::InitCodeTooLarge {
            got: tx.input().len(),
            limit: MAX_INITCODE_SIZE,
        });
    }
    let (accounts, slots) = tx.access_list().map_or((0, 0), |list| {
        (
            list.len() as u64,
            list.iter().map(|item| item.storage_keys.len() as u64).sum(),
        )
    });
    let authorizations = tx.authorization_list().map_or(0, |list| list.len() as u64);
    let gas = calculate_initial_tx_gas(
        config.spec,
        tx.input(),
        tx.is_create(),
        accounts,
        slots,
        authorizations,
        None,
    );
    if gas.initial_total_gas() > got {
        return Err(PoolError::IntrinsicGas {
            got,
            needed: gas.initial_total_gas(),
        });
    }
    if gas.floor_gas() > got {
        return Err(PoolError::FloorGas {
            got,
            needed: gas.floor_gas(),
        });
    }
    Ok(())
}
