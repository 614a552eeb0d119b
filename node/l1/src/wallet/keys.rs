//! Key files and the signatures that are not BDK's.
//!
//! A key file holds the 12 or 24 words of a BIP-39 seed. The wallet is its BIP-86 account 0; account 1 gives single
//! keys (the baton's, say) by index: `m/86'/coin'/1'/0/index`. The file must be readable by its owner only.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use bdk_wallet::bip39::Mnemonic;
use bitcoin::{
    Address, Network, NetworkKind, Psbt, TapLeafHash, TapSighashType, Transaction, TxOut, Witness,
    bip32::{ChildNumber, DerivationPath, Xpriv},
    key::{Keypair, Secp256k1, TapTweak},
    secp256k1::{All, Message, SecretKey, rand::RngCore, rand::rngs::OsRng},
    sighash::{Prevouts, SighashCache},
    taproot::{LeafVersion, Signature, TapNodeHash, TaprootSpendInfo},
};

use crate::secret_file::{self, SecretFileError};

/// Largest key file read, in bytes: 24 words of at most 8 letters, and some air.
const MAX_KEY_FILE: u64 = 1024;
/// The wallet's account.
const WALLET_ACCOUNT: u32 = 0;
/// The account of single keys.
const KEY_ACCOUNT: u32 = 1;

/// A key file or a signature failed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written, or others may read it.
    #[error("key file {0}")]
    File(#[from] SecretFileError),
    /// The file does not hold a seed.
    #[error("key file {} does not hold the words of a BIP-39 seed", path.display())]
    Words {
        /// The file.
        path: PathBuf,
    },
    /// The text is no seed.
    #[error("seed: expected the 12 or 24 words of a BIP-39 seed; what was given is none")]
    Import,
    /// There is nothing to sign at this place.
    #[error("cannot sign input {input}: {reason}")]
    Sign {
        /// The input.
        input: usize,
        /// Why.
        reason: String,
    },
}

/// How many words a new seed has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WordCount {
    /// 12 words: 128 bits.
    Twelve,
    /// 24 words: 256 bits.
    TwentyFour,
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
    /// [`KeyError`]; [`SecretFileError::Readable`] when anybody but the owner may use the file.
    pub fn read(path: &Path, network: NetworkKind) -> Result<Self, KeyError> {
        let text = secret_file::read(path, MAX_KEY_FILE)?;
        let words = parse(&text).ok_or_else(|| KeyError::Words {
            path: path.to_owned(),
        })?;
        Ok(Self::from_words(&words, network))
    }

    /// Reads a key file, and makes one with a new seed of 24 words when there is none.
    ///
    /// # Errors
    /// [`KeyError`]. When it fails no half-written key file is left under that name.
    pub fn read_or_generate(path: &Path, network: NetworkKind) -> Result<Self, KeyError> {
        match Self::generate(path, network, WordCount::TwentyFour) {
            // Also when two starts raced: what the file says is what counts.
            Err(KeyError::File(error)) if error.is_kind(std::io::ErrorKind::AlreadyExists) => {
                Self::read(path, network)
            }
            other => other,
        }
    }

    /// Makes a key file with a new seed. Never over another file.
    ///
    /// # Errors
    /// [`KeyError`], also when there is a file of that name. When it fails there is no new key file.
    pub fn generate(path: &Path, network: NetworkKind, count: WordCount) -> Result<Self, KeyError> {
        let mut entropy = [0; 32];
        OsRng.fill_bytes(&mut entropy);
        let entropy = match count {
            WordCount::Twelve => &entropy[..16],
            WordCount::TwentyFour => &entropy[..],
        };
        let words = Mnemonic::from_entropy(entropy).expect("16 and 32 bytes are lengths that BIP-39 has");
        secret_file::write_new(path, &format!("{words}\n"))?;
        Self::read(path, network)
    }

    /// Makes a key file of the words of a seed, 12 or 24. Never over another file.
    ///
    /// # Errors
    /// [`KeyError`], also when there is a file of that name; [`KeyError::Import`] shows nothing of the text. When it fails
    /// there is no new key file.
    pub fn import(path: &Path, network: NetworkKind, text: &[u8]) -> Result<Self, KeyError> {
        let words = parse(text).ok_or(KeyError::Import)?;
        if ![12, 24].contains(&words.word_count()) {
            return Err(KeyError::Import);
        }
        secret_file::write_new(path, &format!("{words}\n"))?;
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

    /// Derives the secret key at a path, for keys that are not Bitcoin's.
    pub fn secret_at(&self, path: &DerivationPath) -> SecretKey {
        let child = self.master.derive_priv(&self.secp, path);
        child
            .expect("a path without a key has a chance of 2^-127")
            .private_key
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

/// Reads words, however they are spaced. The library's error would name the word that is wrong.
fn parse(text: &[u8]) -> Option<Mnemonic> {
    let words: Vec<&str> = std::str::from_utf8(text).ok()?.split_whitespace().collect();
    words.join(" ").parse().ok()
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

    use std::os::unix::fs::PermissionsExt;

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
            assert!(
                matches!(error, KeyError::File(SecretFileError::Readable { mode: got, .. }) if got == mode)
            );
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
            let is_long = matches!(error, KeyError::File(SecretFileError::Long { .. }));
            assert!(is_long || matches!(error, KeyError::Words { .. }), "{text}");
            assert!(!error.to_string().contains("abandon"));
        }
    }

    #[test]
    fn seeds_are_made_and_imported_with_12_and_24_words() {
        let dir = tempfile::tempdir().unwrap();
        for (name, count, expected) in [
            ("twelve", WordCount::Twelve, 12),
            ("more", WordCount::TwentyFour, 24),
        ] {
            let path = dir.path().join(name);
            let made = Keys::generate(&path, NetworkKind::Test, count).unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            assert_eq!(text.split_whitespace().count(), expected);
            assert!(Keys::generate(&path, NetworkKind::Test, count).is_err());
            let copy = dir.path().join(format!("{name}-copy"));
            let spaced = format!("  {}\n\n", text.trim().replace(' ', "\n\t"));
            let imported = Keys::import(&copy, NetworkKind::Test, spaced.as_bytes()).unwrap();
            assert_eq!(imported.key(3), made.key(3));
            assert_eq!(std::fs::read_to_string(&copy).unwrap(), text);
            assert!(Keys::import(&copy, NetworkKind::Test, text.as_bytes()).is_err());
        }
        let fifteen = Mnemonic::from_entropy(&[7; 20]).unwrap().to_string();
        let wrong = WORDS.replace("about", "abandon");
        for text in ["", &fifteen, &wrong, "abandon \u{ff}"] {
            let path = dir.path().join("wrong");
            let error = Keys::import(&path, NetworkKind::Test, text.as_bytes()).unwrap_err();
            assert!(matches!(error, KeyError::Import), "{text}");
            assert!(!format!("{error} {error:?}").contains("abandon"));
            assert!(!path.exists());
        }
    }

    /// The first account of wallets for Ethereum with these words, as they all show it.
    #[test]
    fn derivation_agrees_with_bip44() {
        for network in [NetworkKind::Main, NetworkKind::Test] {
            let keys = Keys::from_words(&WORDS.parse().unwrap(), network);
            let secret = keys.secret_at(&"m/44'/60'/0'/0/0".parse().unwrap());
            assert_eq!(
                secret.display_secret().to_string(),
                "1ab42cc412b618bdea3a599e3c9bae199ebf030895b039e9db1e30dafb12b727"
            );
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
