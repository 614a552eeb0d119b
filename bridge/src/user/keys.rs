//! A user's keys, all of one BIP-39 seed (docs/cli.md).
//!
//! The Bitcoin wallet is BIP-86 account 0; refund key `i` is `m/86'/coin'/1'/0/i`; the L2 account is BIP-44,
//! `m/44'/60'/0'/0/0`, as wallets for Ethereum have it.

use std::fmt;
use std::path::Path;

use alloy_primitives::{Address as L2Address, B256, Signature};
use bitcoin::key::Keypair;
use bitcoin::{Address, Network, XOnlyPublicKey};
use bitsect_l1::wallet::{Keys, WordCount};
use k256::ecdsa::SigningKey;

use super::UserError;

/// The path of the L2 account.
const ACCOUNT_PATH: &str = "m/44'/60'/0'/0/0";

/// A user's keys. Their Debug shows nothing.
#[derive(Clone)]
pub struct UserKeys {
    keys: Keys,
    network: Network,
    account: SigningKey,
}

impl fmt::Debug for UserKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserKeys(<redacted>)")
    }
}

impl UserKeys {
    /// Reads a key file.
    ///
    /// # Errors
    /// [`UserError::Key`], also when others may read the file.
    pub fn read(path: &Path, network: Network) -> Result<Self, UserError> {
        Ok(Self::of_keys(Keys::read(path, network.into())?, network))
    }

    /// Makes a key file with a new seed. Never over another file.
    ///
    /// # Errors
    /// [`UserError::Key`].
    pub fn generate(path: &Path, network: Network, count: WordCount) -> Result<Self, UserError> {
        Ok(Self::of_keys(
            Keys::generate(path, network.into(), count)?,
            network,
        ))
    }

    /// Makes a key file of a seed's words. Never over another file.
    ///
    /// # Errors
    /// [`UserError::Key`].
    pub fn import(path: &Path, network: Network, text: &[u8]) -> Result<Self, UserError> {
        Ok(Self::of_keys(Keys::import(path, network.into(), text)?, network))
    }

    /// Makes the keys of a seed.
    ///
    /// # Panics
    /// Never: the path is a constant.
    pub fn of_keys(keys: Keys, network: Network) -> Self {
        let path = ACCOUNT_PATH.parse().expect("a constant path");
        let secret = keys.secret_at(&path).secret_bytes();
        let account = SigningKey::from_slice(&secret).expect("a secret key of the same curve");
        Self {
            keys,
            network,
            account,
        }
    }

    /// Gives the wallet's keys.
    pub const fn wallet(&self) -> &Keys {
        &self.keys
    }

    /// Gives the network.
    pub const fn network(&self) -> Network {
        self.network
    }

    /// Gives the wallet's first receiving address.
    pub fn first_address(&self) -> Address {
        self.keys.receive_address(0, self.network)
    }

    /// Gives the refund key of an index.
    pub fn refund(&self, index: u16) -> Keypair {
        self.keys.key(index)
    }

    /// Gives the public refund key of an index.
    pub fn refund_key(&self, index: u16) -> XOnlyPublicKey {
        self.refund(index).x_only_public_key().0
    }

    /// Gives the L2 account.
    pub fn account(&self) -> L2Address {
        L2Address::from_public_key(self.account.verifying_key())
    }

    /// Signs a hash with the L2 account's key.
    ///
    /// # Panics
    /// Never: a nonce that fails has a chance of 2^-127.
    pub fn sign_account(&self, hash: B256) -> Signature {
        let signed = self.account.sign_prehash_recoverable(hash.as_slice());
        signed.expect("a nonce that fails has a chance of 2^-127").into()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use alloy_primitives::hex;

    use super::*;

    pub(crate) const WORDS: &str =
        "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about";

    pub(crate) fn keys() -> UserKeys {
        let dir = tempfile::tempdir().unwrap();
        UserKeys::import(&dir.path().join("key"), Network::Regtest, WORDS.as_bytes()).unwrap()
    }

    /// Money hangs on these: they must never change. The first two are published test vectors.
    #[test]
    fn derivation_is_fixed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let main = UserKeys::import(&path, Network::Bitcoin, WORDS.as_bytes()).unwrap();
        assert_eq!(
            main.first_address().to_string(),
            "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr"
        );
        assert_eq!(
            main.account().to_checksum(None),
            "0x9858EfFD232B4033E47d90003D41EC34EcaEda94"
        );
        let test = UserKeys::read(&path, Network::Regtest).unwrap();
        assert_eq!(test.account(), main.account());
        let fixed = [(&main, FIXED[0]), (&test, FIXED[1])];
        for (keys, expected) in fixed {
            assert_eq!(keys.refund_key(0).to_string(), expected);
            assert_ne!(keys.refund_key(0), keys.refund_key(1));
        }
    }

    const FIXED: [&str; 2] = [
        "44becfe627731a2ad296f83d6a4e8ab44b7a98baf48217de8d77ad9fb8c9cb80",
        "340404d6ca0d8a9b019d3ac3527ad2ac063c60446fdd13e76c0d2e5704c10163",
    ];

    #[test]
    fn debug_shows_no_secret() {
        let keys = keys();
        let shown = format!("{keys:?} {:?}", keys.wallet());
        let refund = hex::encode(keys.refund(0).secret_bytes());
        let account = hex::encode(keys.account.to_bytes());
        for secret in ["abandon", "about", &refund[..8], &account[..8]] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }

    #[test]
    fn what_the_account_signs_is_its_own() {
        let keys = keys();
        let hash = B256::repeat_byte(5);
        let signature = keys.sign_account(hash);
        let key = k256::ecdsa::VerifyingKey::recover_from_prehash(
            hash.as_slice(),
            &signature.to_k256().unwrap(),
            signature.recid(),
        );
        assert_eq!(L2Address::from_public_key(&key.unwrap()), keys.account());
    }
}
