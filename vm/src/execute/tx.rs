//! A transaction as the EVM sees it.

use alloc::vec::Vec;
use alloy_eips::eip2930::{AccessList, AccessListItem};
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use revm::context::TxEnv;
use revm::context_interface::Transaction as EvmTransactionTr;
use revm::context_interface::either::Either;

use crate::chain::Transaction;

use super::authority::EvmAuthorization;
use super::error::InvalidTransaction;
use super::fee::estimated_size;

/// The EIP-2718 type of a deposit.
pub const DEPOSIT_TYPE: u8 = 0x7E;

/// Gas limit of a system call (EIP-4788); it does not count in the block.
const SYSTEM_CALL_GAS: u64 = 30_000_000;

/// A transaction as the EVM sees it: revm's fields, what a deposit mints, and the estimated size.
#[derive(Clone, Debug, Default)]
pub struct EvmTransaction {
    /// The ordinary fields.
    pub env: TxEnv,
    /// Wei that a deposit mints to its sender; `None` unless this is a deposit.
    pub mint: Option<u128>,
    /// Estimated bytes in a batch, for the L1 data fee.
    pub l1_bytes: u64,
}

impl EvmTransaction {
    /// Makes the EVM's view of a transaction whose sender is known.
    ///
    /// # Errors
    ///
    /// The type is one that is never valid in a block.
    pub fn new(transaction: &Transaction, sender: Address) -> Result<Self, InvalidTransaction> {
        let mut mint = None;
        let env = match transaction {
            Transaction::Legacy(signed) => {
                let tx = signed.tx();
                TxEnv {
                    tx_type: 0,
                    gas_limit: tx.gas_limit,
                    gas_price: tx.gas_price,
                    chain_id: tx.chain_id,
                    ..env(sender, tx.to, tx.value, &tx.input, tx.nonce)
                }
            }
            Transaction::Eip2930(signed) => {
                let tx = signed.tx();
                TxEnv {
                    tx_type: 1,
                    gas_limit: tx.gas_limit,
                    gas_price: tx.gas_price,
                    chain_id: Some(tx.chain_id),
                    access_list: tx.access_list.clone(),
                    ..env(sender, tx.to, tx.value, &tx.input, tx.nonce)
                }
            }
            Transaction::Eip1559(signed) => {
                let tx = signed.tx();
                TxEnv {
                    tx_type: 2,
                    gas_limit: tx.gas_limit,
                    gas_price: tx.max_fee_per_gas,
                    gas_priority_fee: Some(tx.max_priority_fee_per_gas),
                    chain_id: Some(tx.chain_id),
                    access_list: tx.access_list.clone(),
                    ..env(sender, tx.to, tx.value, &tx.input, tx.nonce)
                }
            }
            Transaction::Eip7702(signed) => {
                let tx = signed.tx();
                TxEnv {
                    tx_type: 4,
                    gas_limit: tx.gas_limit,
                    gas_price: tx.max_fee_per_gas,
                    gas_priority_fee: Some(tx.max_priority_fee_per_gas),
                    chain_id: Some(tx.chain_id),
                    access_list: tx.access_list.clone(),
                    authorization_list: tx.authorization_list.iter().cloned().map(Either::Left).collect(),
                    ..env(sender, TxKind::Call(tx.to), tx.value, &tx.input, tx.nonce)
                }
            }
            Transaction::Deposit(sealed) => {
                let tx = sealed.inner();
                mint = Some(tx.mint);
                TxEnv {
                    tx_type: DEPOSIT_TYPE,
                    gas_limit: tx.gas_limit,
                    ..env(sender, tx.to, tx.value, &tx.input, 0)
                }
            }
            Transaction::PostExec(_) => {
                return Err(InvalidTransaction::UnsupportedType { kind: 0x7D });
            }
        };
        Ok(Self {
            env,
            mint,
            l1_bytes: estimated_size(transaction),
        })
    }

    /// Makes a call that the protocol itself makes.
    pub fn system_call(caller: Address, contract: Address, input: Bytes) -> Self {
        let gas_limit = SYSTEM_CALL_GAS;
        let env = TxEnv {
            gas_limit,
            ..env(caller, TxKind::Call(contract), U256::ZERO, &input, 0)
        };
        Self {
            env,
            mint: None,
            l1_bytes: 0,
        }
    }

    /// Whether this is a deposit.
    #[inline]
    pub const fn is_deposit(&self) -> bool {
        self.mint.is_some()
    }
}

/// The fields that every type has; the rest as a legacy transaction without price has them.
fn env(caller: Address, kind: TxKind, value: U256, input: &Bytes, nonce: u64) -> TxEnv {
    TxEnv {
        tx_type: 0,
        caller,
        gas_limit: 0,
        gas_price: 0,
        kind,
        value,
        data: input.clone(),
        nonce,
        chain_id: None,
        access_list: AccessList::default(),
        gas_priority_fee: None,
        blob_hashes: Vec::new(),
        max_fee_per_blob_gas: 0,
        authorization_list: Vec::new(),
    }
}

impl From<TxEnv> for EvmTransaction {
    fn from(env: TxEnv) -> Self {
        Self {
            env,
            mint: None,
            l1_bytes: 0,
        }
    }
}

// Inlined into the interpreter, which is compiled where the database is known.
impl EvmTransactionTr for EvmTransaction {
    type AccessListItem<'a> = &'a AccessListItem;
    type Authorization<'a> = EvmAuthorization<'a>;

    #[inline]
    fn tx_type(&self) -> u8 {
        self.env.tx_type
    }

    #[inline]
    fn caller(&self) -> Address {
        self.env.caller
    }

    #[inline]
    fn gas_limit(&self) -> u64 {
        self.env.gas_limit
    }

    #[inline]
    fn value(&self) -> U256 {
        self.env.value
    }

    #[inline]
    fn input(&self) -> &Bytes {
        &self.env.data
    }

    #[inline]
    fn nonce(&self) -> u64 {
        self.env.nonce
    }

    #[inline]
    fn kind(&self) -> TxKind {
        self.env.kind
    }

    #[inline]
    fn chain_id(&self) -> Option<u64> {
        self.env.chain_id
    }

    #[inline]
    fn gas_price(&self) -> u128 {
        self.env.gas_price
    }

    #[inline]
    fn access_list(&self) -> Option<impl Iterator<Item = Self::AccessListItem<'_>>> {
        Some(self.env.access_list.0.iter())
    }

    #[inline]
    fn blob_versioned_hashes(&self) -> &[B256] {
        &self.env.blob_hashes
    }

    #[inline]
    fn max_fee_per_blob_gas(&self) -> u128 {
        self.env.max_fee_per_blob_gas
    }

    #[inline]
    fn authorization_list_len(&self) -> usize {
        self.env.authorization_list.len()
    }

    #[inline]
    fn authorization_list(&self) -> impl Iterator<Item = Self::Authorization<'_>> {
        self.env.authorization_list.iter().map(EvmAuthorization)
    }

    #[inline]
    fn max_priority_fee_per_gas(&self) -> Option<u128> {
        self.env.gas_priority_fee
    }
}
