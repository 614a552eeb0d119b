//! Accounts that sign.

use alloy_consensus::{SignableTransaction, TxEip1559, TxEip2930, TxEip7702, TxEnvelope, TxLegacy};
use alloy_eips::eip2718::Encodable2718;
use alloy_eips::eip2930::{AccessList, AccessListItem};
use alloy_eips::eip7702::Authorization;
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256};
use k256::ecdsa::SigningKey;

/// Wei per gas that transactions offer at most: far above any base fee here.
const MAX_FEE: u128 = 20_000_000_000;

/// An account with a nonce of its own count.
#[derive(Clone, Debug)]
pub struct Wallet {
    key: SigningKey,
    chain_id: u64,
    /// Its address.
    pub address: Address,
    /// The nonce that it uses next.
    pub nonce: u64,
}

impl Wallet {
    /// Makes the account of a secret key.
    ///
    /// # Panics
    /// When the bytes are no key.
    pub fn new(secret: &B256, chain_id: u64) -> Self {
        let key = SigningKey::from_slice(secret.as_slice()).expect("a secret key");
        Self {
            address: Address::from_public_key(key.verifying_key()),
            key,
            chain_id,
            nonce: 0,
        }
    }

    /// Makes the n-th account that a devnet funds.
    pub fn funded(index: usize) -> Self {
        let account = &bitsect_node::devnet::ACCOUNTS[index];
        let secret = account.secret.parse().expect("32 bytes of hexadecimal");
        let wallet = Self::new(&secret, bitsect_node::devnet::CHAIN_ID);
        assert_eq!(wallet.address, account.address);
        wallet
    }

    fn sign(&self, hash: B256) -> Signature {
        let signed = self
            .key
            .sign_prehash_recoverable(hash.as_slice())
            .expect("signing does not fail");
        signed.into()
    }

    fn next(&mut self) -> u64 {
        let nonce = self.nonce;
        self.nonce += 1;
        nonce
    }

    /// Signs an EIP-1559 transaction; gives its bytes.
    pub fn call(&mut self, to: TxKind, value: U256, input: Bytes, gas_limit: u64) -> Vec<u8> {
        let transaction = TxEip1559 {
            chain_id: self.chain_id,
            nonce: self.next(),
            gas_limit,
            max_fee_per_gas: MAX_FEE,
            max_priority_fee_per_gas: 1_000_000,
            to,
            value,
            access_list: AccessList::default(),
            input,
        };
        let signature = self.sign(transaction.signature_hash());
        TxEnvelope::from(transaction.into_signed(signature)).encoded_2718()
    }

    /// Signs a plain transfer.
    pub fn transfer(&mut self, to: Address, wei: u64) -> Vec<u8> {
        self.call(TxKind::Call(to), U256::from(wei), Bytes::new(), 21_000)
    }

    /// Signs a contract creation.
    pub fn create(&mut self, init_code: Bytes) -> Vec<u8> {
        self.call(TxKind::Create, U256::ZERO, init_code, 3_000_000)
    }

    /// Signs a legacy transfer (EIP-155).
    pub fn legacy(&mut self, to: Address, wei: u64) -> Vec<u8> {
        let transaction = TxLegacy {
            chain_id: Some(self.chain_id),
            nonce: self.next(),
            gas_price: MAX_FEE,
            gas_limit: 21_000,
            to: TxKind::Call(to),
            value: U256::from(wei),
            input: Bytes::new(),
        };
        let signature = self.sign(transaction.signature_hash());
        TxEnvelope::from(transaction.into_signed(signature)).encoded_2718()
    }

    /// Signs a call with an access list (EIP-2930).
    pub fn with_access_list(&mut self, to: Address, input: Bytes) -> Vec<u8> {
        let item = AccessListItem {
            address: to,
            storage_keys: vec![B256::ZERO],
        };
        let transaction = TxEip2930 {
            chain_id: self.chain_id,
            nonce: self.next(),
            gas_price: MAX_FEE,
            gas_limit: 200_000,
            to: TxKind::Call(to),
            value: U256::ZERO,
            access_list: AccessList(vec![item]),
            input,
        };
        let signature = self.sign(transaction.signature_hash());
        TxEnvelope::from(transaction.into_signed(signature)).encoded_2718()
    }

    /// Signs a transaction that sets this account's own code (EIP-7702).
    pub fn delegate(&mut self, to: Address) -> Vec<u8> {
        let nonce = self.next();
        let authorization = Authorization {
            chain_id: U256::from(self.chain_id),
            address: to,
            nonce: self.next(),
        };
        let signature = self.sign(authorization.signature_hash());
        let transaction = TxEip7702 {
            chain_id: self.chain_id,
            nonce,
            gas_limit: 200_000,
            max_fee_per_gas: MAX_FEE,
            max_priority_fee_per_gas: 1_000_000,
            to: self.address,
            value: U256::ZERO,
            access_list: AccessList::default(),
            authorization_list: vec![authorization.into_signed(signature)],
            input: Bytes::new(),
        };
        let signature = self.sign(transaction.signature_hash());
        TxEnvelope::from(transaction.into_signed(signature)).encoded_2718()
    }
}
