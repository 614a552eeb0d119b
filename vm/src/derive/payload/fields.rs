//! A transaction while its columns are read.

use alloc::vec::Vec;

use alloy_consensus::{Signed, TxEip1559, TxEip2930, TxEip7702, TxLegacy};
use alloy_eips::eip2930::AccessList;
use alloy_eips::eip7702::SignedAuthorization;
use alloy_primitives::{Address, Signature, TxKind, U256};

use super::kind::{Kind, TypeCode};
use crate::chain::Transaction;

/// The fields of a transaction, as far as they are not in its kind.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) nonce: u64,
    pub(super) gas_limit: u64,
    pub(super) tip: u128,
    pub(super) fee_cap: u128,
    pub(super) to: Address,
    pub(super) value: U256,
    pub(super) input: Vec<u8>,
    pub(super) access_list: AccessList,
    pub(super) authorisations: Vec<SignedAuthorization>,
}

impl Fields {
    /// Makes the transaction.
    pub(super) fn build(self, kind: &Kind, chain_id: u64, signature: Signature) -> Transaction {
        let Self {
            nonce,
            gas_limit,
            value,
            access_list,
            ..
        } = self;
        let input = self.input.into();
        let to = if kind.creates {
            TxKind::Create
        } else {
            TxKind::Call(self.to)
        };
        let (gas_price, max_fee_per_gas, max_priority_fee_per_gas) = (self.fee_cap, self.fee_cap, self.tip);
        match kind.type_code {
            TypeCode::Legacy | TypeCode::LegacyChain => {
                let chain_id = (kind.type_code == TypeCode::LegacyChain).then_some(chain_id);
                let tx = TxLegacy {
                    chain_id,
                    nonce,
                    gas_price,
                    gas_limit,
                    to,
                    value,
                    input,
                };
                Transaction::Legacy(Signed::new_unhashed(tx, signature))
            }
            TypeCode::AccessList => {
                let tx = TxEip2930 {
                    chain_id,
                    nonce,
                    gas_price,
                    gas_limit,
                    to,
                    value,
                    access_list,
                    input,
                };
                Transaction::Eip2930(Signed::new_unhashed(tx, signature))
            }
            TypeCode::DynamicFee => {
                let tx = TxEip1559 {
                    chain_id,
                    nonce,
                    gas_limit,
                    max_fee_per_gas,
                    max_priority_fee_per_gas,
                    to,
                    value,
                    access_list,
                    input,
                };
                Transaction::Eip1559(Signed::new_unhashed(tx, signature))
            }
            TypeCode::SetCode => {
                let tx = TxEip7702 {
                    chain_id,
                    nonce,
                    gas_limit,
                    max_fee_per_gas,
                    max_priority_fee_per_gas,
                    to: self.to,
                    value,
                    access_list,
                    authorization_list: self.authorisations,
                    input,
                };
                Transaction::Eip7702(Signed::new_unhashed(tx, signature))
            }
        }
    }
}
