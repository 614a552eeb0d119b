//! Key files and the signatures that are not BDK's.
//!
//! A key file holds the 24 words of a BIP-39 seed. The wallet is its BIP-86 account 0; account 1 gives single
//! keys (the baton's, say) by index: `m/86'/coin'/1'/0/index`. The file must be readable by its owner only.

use std::{
    fmt,
    io::{Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use bdk_wallet::bip39::Mnemonic;
use bitcoin::{
    Address, Network, NetworkKind, Psbt, TapLeafHash, TapSighashType, Transaction, TxOut, Witness,
    bip32::{ChildNumber, DerivationPath, Xpriv},
    key::{Keypair, Secp256k1, TapTweak},
    secp256k1::{All, Message, rand::RngCore, rand::rngs::OsRng},
    sighash::{Prevouts, SighashCache},
    taproot::{LeafVersion, Signature, TapNodeHash, TaprootSpendInfo},
};

/// Largest key file read, in bytes: 24 words of at most 8 letters, and some air.
const MAX_KEY_FILE: u64 = 1024;
/// Permission bits that nobody but the owner may have.
const OTHERS: u32 = 0o077;
/// The wallet's account.
const WALLET_ACCOUNT: u32 = 0;
/// The account of single keys.
const KEY_ACCOUNT: u32 = 1;

/// A key file or a signature failed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("key file {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Others may read the file.
    #[error("key file {} has mode {mode:04o}; others may read it: run chmod 600", path.display())]
    Readable {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The file does not hold a seed.
    #[error("key file {} does not hold the words of a BIP-39 seed", path.display())]
    Words {
        /// The file.
        path: PathBuf,
    },
    /// There is nothing to sign at this place.
    #[error("cannot sign input {input}: {reason}")]
    Sign {
        /// The input.
        input: usize,
        /// Why.
        reason: String,
    },
}

/// A seed. Its Debug shows nothing.
#[derive(Clone)]
pub struct Keys {
    master: Xpriv,
    network: NetworkKind,
    secp: Secp256k1<All>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(<redacted>)")
    }
}

impl Keys {
    /// Reads a key file.
    ///
    /// # Errors
    /// [`KeyError`]; [`KeyError::Readable`] when anybody but the owner may use the file.
    pub fn read(path: &Path, network: NetworkKind) -> Result<Self, KeyError> {
        let failed = |source| KeyError::File {
            path: path.to_owned(),
            source,
        };
        let file = std::fs::File::open(path).map_err(failed)?;
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
        if mode & OTHERS != 0 {
            return Err(KeyError::Readable {
                path: path.to_owned(),
                mode,
            });
        }
        let mut text = String::new();
        file.take(MAX_KEY_FILE)
            .read_to_string(&mut text)
            .map_err(failed)?;
        // The library's error would name the word that is wrong.
        let words: Mnemonic = text.trim().parse().map_err(|_| KeyError::Words {
            path: path.to_owned(),
        })?;
        Ok(Self::from_words(&words, network))
    }

    /// Reads a key file, and makes one with a new seed when there is none.
    ///
    /// # Errors
    /// [`KeyError`]. When it fails no half-written key file is left under that name.
    pub fn read_or_generate(path: &Path, network: NetworkKind) -> Result<Self, KeyError> {
        if path.try_exists().map_err(|source| KeyError::File {
            path: path.to_owned(),
            source,
        })? {
            return Self::read(path, network);
        }
        let mut entropy = [0; 32];
        OsRng.fill_bytes(&mut entropy);
        let words = Mnemonic::from_entropy(&entropy).expect("32 bytes are a length that BIP-39 has");
        write_new(path, &format!("{words}\n")).map_err(|source| KeyError::File {
            path: path.to_owned(),
            source,
        })?;
        // Read back: what the file says is what counts, also when two starts raced.
        Self::read(path, network)
    }

    /// Makes the keys of a seed's words.
    pub fn from_words(words: &Mnemonic, network: NetworkKind) -> Self {
        Self::from_seed(&words.to_seed(""), network)
    }

    /// Makes the keys of a BIP-32 seed, for those who derive their wallet's from something else.
    pub fn from_seed(seed: &[u8], network: NetworkKind) -> Self {
        let secp = Secp256k1::new();
        let master =
            Xpriv::new_master(network, seed).expect("a seed that gives no key has a chance of 2^-127");
        Self {
            master,
            network,
            secp,
        }
    }

    /// Returns the extended private key that everything is derived from.
    pub(crate) fn master(&self) -> Xpriv {
        self.master
    }

    pub(crate) fn secp(&self) -> &Secp256k1<All> {
        &self.secp
    }

    /// Returns the single key of an index, `m/86'/coin'/1'/0/index`.
    pub fn key(&self, index: u16) -> Keypair {
        self.derive(KEY_ACCOUNT, index)
    }

    /// Returns the wallet's receiving address of an index, without the wallet's file. The wallet watches the first 50.
    pub fn receive_address(&self, index: u16, network: Network) -> Address {
        let (key, _) = self.derive(WALLET_ACCOUNT, index).x_only_public_key();
        Address::p2tr(&self.secp, key, None, network)
    }

    /// Derives the key of an index for receiving, `m/86'/coin'/account'/0/index`.
    fn derive(&self, account: u32, index: u16) -> Keypair {
        let coin = u32::from(self.network == NetworkKind::Test);
        let path: DerivationPath = [
            ChildNumber::Hardened { index: 86 },
            ChildNumber::Hardened { index: coin },
            ChildNumber::Hardened { index: account },
            ChildNumber::Normal { index: 0 },
            ChildNumber::Normal { index: index.into() },
        ]
        .as_slice()
        .into();
        let child = self
            .master
            .derive_priv(&self.secp, &path)
            .expect("a path without a key has a chance of 2^-127");
        child.to_keypair(&self.secp)
    }
}

/// Writes a file that only the owner may read, complete or not at all, never over an old one.
fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    let dir = path
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let temporary = dir.join(name);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    // A hard link fails when the name is taken, where a rename would replace the other key.
    let linked = written.and_then(|()| match std::fs::hard_link(&temporary, path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    });
    std::fs::remove_file(&temporary)?;
    linked?;
    std::fs::File::open(dir)?.sync_all()
}

/// Signs a taproot input of a PSBT by its key path, and finalises the input.
///
/// Every input of the PSBT needs its `witness_utxo`. `merkle_root` is that of the output's scripts, none when it has
/// none.
///
/// # Errors
/// [`KeyError::Sign`] when an output spent is missing.
pub fn sign_key_path(
    psbt: &mut Psbt,
    input: usize,
    key: &Keypair,
    merkle_root: Option<TapNodeHash>,
) -> Result<(), KeyError> {
    let failed = |reason: String| KeyError::Sign { input, reason };
    let spent = psbt
        .inputs
        .iter()
        .map(|i| i.witness_utxo.clone())
        .collect::<Option<Vec<TxOut>>>()
        .ok_or_else(|| failed("the PSBT lacks an output that is spent".into()))?;
    let hash = SighashCache::new(&psbt.unsigned_tx)
        .taproot_key_spend_signature_hash(input, &Prevouts::All(&spent), TapSighashType::Default)
        .map_err(|e| failed(e.to_string()))?;
    let secp = Secp256k1::new();
    let tweaked = key.tap_tweak(&secp, merkle_root).to_keypair();
    let signature = secp.sign_schnorr(&Message::from(hash), &tweaked);
    let signature = Signature {
        signature,
        sighash_type: TapSighashType::Default,
    };
    let place = psbt
        .inputs
        .get_mut(input)
        .ok_or_else(|| failed("there is no such input".into()))?;
    place.final_script_witness = Some(Witness::p2tr_key_spend(&signature));
    Ok(())
}

/// Signs a taproot input by a leaf whose only condition is one signature, and sets its witness.
///
/// `spent` are the outputs that all inputs of the transaction spend, in order.
///
/// # Errors
/// [`KeyError::Sign`] when the leaf is not in the tree or `spent` does not fit.
pub fn sign_leaf(
    tx: &mut Transaction,
    input: usize,
    spent: &[TxOut],
    info: &TaprootSpendInfo,
    leaf: &bitcoin::Script,
    key: &Keypair,
) -> Result<(), KeyError> {
    let failed = |reason: String| KeyError::Sign { input, reason };
    let control = info
        .control_block(&(leaf.to_owned(), LeafVersion::TapScript))
        .ok_or_else(|| failed("the leaf is not in the tree".into()))?;
    let leaf_hash = TapLeafHash::from_script(leaf, LeafVersion::TapScript);
    let hash = SighashCache::new(&*tx)
        .taproot_script_spend_signature_hash(input, &Prevouts::All(spent), leaf_hash, TapSighashType::Default)
        .map_err(|e| failed(e.to_string()))?;
    let signature = Secp256k1::new().sign_schnorr(&Message::from(hash), key);
    let mut witness = Witness::new();
    witness.push(signature.as_ref());
    witness.push(leaf.as_bytes());
    witness.push(control.serialize());
    tx.input
        .get_mut(input)
        .ok_or_else(|| failed("there is no such input".into()))?
        .witness = witness;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: &str =
        "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about";

    fn set_mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn key_files_are_made_once_and_kept_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("wallet.key");
        let first = Keys::read_or_generate(&path, NetworkKind::Test).unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        let second = Keys::read_or_generate(&path, NetworkKind::Test).unwrap();
        assert_eq!(first.key(0), second.key(0));
        assert_ne!(first.key(0), first.key(1));
        assert!(format!("{first:?}").contains("redacted"));
        for mode in [0o640, 0o604, 0o660] {
            set_mode(&path, mode);
            let error = Keys::read(&path, NetworkKind::Test).unwrap_err();
            assert!(matches!(error, KeyError::Readable { mode: got, .. } if got == mode));
        }
    }

    #[test]
    fn damaged_key_files_are_refused_without_showing_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("wallet.key");
        for text in [
            "",
            "abandon",
            &WORDS.replace("about", "abandon"),
            &"zoo ".repeat(500),
        ] {
            std::fs::write(&path, text).unwrap();
            set_mode(&path, 0o600);
            let error = Keys::read(&path, NetworkKind::Test).unwrap_err();
            assert!(matches!(error, KeyError::Words { .. }), "{text}");
            assert!(!error.to_string().contains("abandon"));
        }
    }

    /// The published test vector of BIP-86: first receiving key of account 0.
    #[test]
    fn derivation_agrees_with_bip86() {
        let keys = Keys::from_words(&WORDS.parse().unwrap(), NetworkKind::Main);
        let path: DerivationPath = "m/86'/0'/0'/0/0".parse().unwrap();
        let child = keys.master().derive_priv(&keys.secp, &path).unwrap();
        let (key, _) = child.to_keypair(&keys.secp).x_only_public_key();
        assert_eq!(
            key.to_string(),
            "cc8a4bc64d897bddc5fbc2f670f7a8ba0b386779106cf1223c6fc5d7cd6fc115"
        );
        let address = keys.receive_address(0, Network::Bitcoin);
        assert_eq!(
            address.to_string(),
            "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr"
        );
    }
}
