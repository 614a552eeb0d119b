//! A chain for the targets: its parameters, its first state, signed transactions, blobs.

use std::collections::HashMap;
use std::convert::Infallible;

use alloy_consensus::{SignableTransaction, TxEip1559, TxEip2930, TxEip7702, TxLegacy};
use alloy_eips::eip2930::{AccessList, AccessListItem};
use alloy_eips::eip7702::{Authorization, SignedAuthorization};
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256, b256};
use bitsect_vm::chain::predeploys::FEE_VAULT;
use bitsect_vm::chain::{
    BlobRef, Blobs, ChainParams, ChainState, DeriveParams, ExecutionParams, Header, L1Network, OutPoint,
    Transaction,
};
use bitsect_vm::derive::L1Cursor;

/// The chain id.
pub const CHAIN_ID: u64 = 8_333;
/// The time of the genesis block.
pub const GENESIS_TIME: u32 = 1_700_000_000;
/// The target of every block.
pub const BITS: u32 = 0x207f_ffff;

/// Parameters on regtest, with windows so short that an input reaches their ends.
pub fn params() -> ChainParams {
    ChainParams {
        execution: ExecutionParams {
            base_fee_recipient: Some(FEE_VAULT),
            l1_fee: true,
            min_timestamp_step: 0,
            gas_limit: Some(30_000_000),
            ..ExecutionParams::ethereum(CHAIN_ID, Default::default())
        },
        derive: DeriveParams {
            network: L1Network::Regtest,
            genesis_l1: L1Cursor {
                hash: B256::repeat_byte(7),
                height: 100,
                work: U256::from(1),
                times: vec![GENESIS_TIME],
                fee_rates: vec![1_000],
                bits: BITS,
                interval_start_time: GENESIS_TIME,
                interval_start_bits: BITS,
                last_hard_bits: BITS,
            },
            baton: OutPoint {
                txid: B256::repeat_byte(9),
                vout: 1,
            },
            // The generator's.
            vault_key: b256!("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"),
            sequencing_window: 3,
            reveal_timeout: 2,
            refund_delay: 200,
            min_deposit: 10_000,
            max_drift: 600,
            max_batch_body: 1 << 20,
            forced_gas_limit: 3_000_000,
            claim_maturity: 2,
        },
    }
}

/// The state before the first unit.
pub fn genesis(params: &ChainParams) -> ChainState {
    let header = Header {
        gas_limit: 30_000_000,
        timestamp: GENESIS_TIME.into(),
        base_fee_per_gas: Some(7),
        withdrawals_root: Some(B256::repeat_byte(8)),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        parent_beacon_block_root: Some(params.derive.genesis_l1.hash),
        requests_hash: Some(B256::repeat_byte(9)),
        ..Header::default()
    };
    ChainState::genesis(params, header)
}

/// A transaction of each type that can be signed, with every list filled.
pub fn transaction(kind: u8, chain_id: u64, gas_limit: u64) -> Transaction {
    let signature = Signature::test_signature();
    let (to, value, input) = (
        TxKind::Call(Address::repeat_byte(5)),
        U256::from(1_000),
        Bytes::from_static(b"input"),
    );
    let access_list = AccessList(vec![AccessListItem {
        address: Address::repeat_byte(6),
        storage_keys: vec![B256::ZERO, B256::repeat_byte(1)],
    }]);
    let (nonce, gas_price, max_fee_per_gas, max_priority_fee_per_gas) = (1, 7, 9, 2);
    match kind % 4 {
        0 => {
            let chain_id = Some(chain_id);
            let tx = TxLegacy {
                chain_id,
                nonce,
                gas_price,
                gas_limit,
                to,
                value,
                input,
            };
            Transaction::Legacy(tx.into_signed(signature))
        }
        1 => {
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
            Transaction::Eip2930(tx.into_signed(signature))
        }
        2 => Transaction::Eip1559(
            TxEip1559 {
                chain_id,
                nonce,
                gas_limit,
                max_fee_per_gas,
                max_priority_fee_per_gas,
                to,
                value,
                access_list,
                input,
            }
            .into_signed(signature),
        ),
        _ => {
            let inner = Authorization {
                chain_id: U256::from(chain_id),
                address: Address::repeat_byte(8),
                nonce,
            };
            let signed = SignedAuthorization::new_unchecked(inner, 1, U256::from(3), U256::from(4));
            Transaction::Eip7702(
                TxEip7702 {
                    chain_id,
                    nonce,
                    gas_limit,
                    max_fee_per_gas,
                    max_priority_fee_per_gas,
                    to: Address::repeat_byte(5),
                    value,
                    access_list,
                    authorization_list: vec![signed],
                    input,
                }
                .into_signed(signature),
            )
        }
    }
}

/// Blobs in a map, each under its own name.
#[derive(Default)]
pub struct Memory(HashMap<B256, Vec<u8>>);

impl Blobs for Memory {
    type Error = Infallible;

    fn get(&self, blob: &BlobRef) -> Result<Vec<u8>, Infallible> {
        let bytes = self.0.get(&blob.root).expect("derivation keeps what it names");
        assert_eq!(BlobRef::of(bytes), *blob);
        Ok(bytes.clone())
    }

    fn put(&mut self, blob: BlobRef, bytes: Vec<u8>) -> Result<(), Infallible> {
        assert_eq!(BlobRef::of(&bytes), blob, "a blob is kept under its own name");
        self.0.insert(blob.root, bytes);
        Ok(())
    }
}
