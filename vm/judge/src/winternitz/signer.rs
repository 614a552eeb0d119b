//! Signs with each key once, whatever happens in between.

use std::collections::HashMap;

use super::{KeyPath, PublicKey, Seed, Signature};

/// Keeps what was signed, for ever.
pub trait SignatureStore {
    /// Why the store fails.
    type Error;

    /// Gives the value that the key at this path signed, after it has put this one where there was none; it is on disk
    /// when this returns.
    ///
    /// # Errors
    /// Where it could be neither read nor written; then nothing was signed.
    fn first(&mut self, path: &KeyPath, value: &[u8]) -> Result<Vec<u8>, Self::Error>;
}

impl<S: SignatureStore> SignatureStore for &mut S {
    type Error = S::Error;

    fn first(&mut self, path: &KeyPath, value: &[u8]) -> Result<Vec<u8>, Self::Error> {
        (**self).first(path, value)
    }
}

/// Signs values, each key one value.
#[derive(Debug)]
pub struct Signer<S> {
    seed: Seed,
    store: S,
}

/// Why there is no signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignerError<E> {
    /// The key signed another value already: a second signature would give the bond away.
    #[error("the key of {path:?} signed another value of {} bytes already", signed.len())]
    Spent {
        /// The key's path.
        path: KeyPath,
        /// The value that it signed.
        signed: Vec<u8>,
    },
    /// The store failed.
    #[error("the store of signatures failed")]
    Store(E),
}

impl<S: SignatureStore> Signer<S> {
    /// Signs with the keys of this seed, and remembers it in this store.
    pub const fn new(seed: Seed, store: S) -> Self {
        Self { seed, store }
    }

    /// Gives the public key of a value of so many bytes.
    pub fn public_key(&self, path: &KeyPath, bytes: usize) -> PublicKey {
        self.seed.key(path, bytes).public_key()
    }

    /// Signs a value. The value is stored before the signature is made, and the same value again gives the same
    /// signature.
    ///
    /// # Errors
    /// Where the key signed another value, or the store fails.
    pub fn sign(&mut self, path: &KeyPath, value: &[u8]) -> Result<Signature, SignerError<S::Error>> {
        let signed = self.store.first(path, value).map_err(SignerError::Store)?;
        if signed != value {
            return Err(SignerError::Spent { path: *path, signed });
        }
        Ok(self.seed.key(path, value.len()).sign(value))
    }
}

/// A store that forgets when the process ends: for tests and simulations.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore(HashMap<KeyPath, Vec<u8>>);

impl SignatureStore for MemoryStore {
    type Error = core::convert::Infallible;

    fn first(&mut self, path: &KeyPath, value: &[u8]) -> Result<Vec<u8>, Self::Error> {
        Ok(self.0.entry(*path).or_insert_with(|| value.to_vec()).clone())
    }
}
