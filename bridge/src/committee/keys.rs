//! A member's key file, and the keys that come from it.
//!
//! The file holds one seed of 32 bytes in hexadecimal. It must be readable by its owner only.

use std::fmt;
use std::path::{Path, PathBuf};

use bitcoin::XOnlyPublicKey;
use bitcoin::key::{Keypair, Secp256k1};
use bitcoin::secp256k1::{PublicKey, SecretKey};
use bitsect_l1::secret_file::{self, SecretFileError};
use musig2::secp::Scalar;
use rand::TryRngCore;
use rand::rngs::OsRng;

use super::Digest;

/// Largest key file read, in bytes: 64 digits, and some air.
const MAX_KEY_FILE: u64 = 128;

/// A key file failed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written, or others may read it.
    #[error("key file {0}")]
    File(#[from] SecretFileError),
    /// The file does not hold a seed.
    #[error("key file {} does not hold a seed of 64 hexadecimal digits", path.display())]
    Seed {
        /// The file.
        path: PathBuf,
    },
    /// The system gives no random numbers.
    #[error("the system gives no random numbers: {reason}")]
    Random {
        /// Its answer.
        reason: String,
    },
}

/// 32 secret bytes. Its Debug shows nothing.
#[derive(Clone)]
pub struct Seed([u8; 32]);

impl Seed {
    /// Makes a seed of bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Derives the seed of a purpose. `context` is for what a purpose is bound to.
    pub fn derive(&self, purpose: &str, context: &[u8]) -> Self {
        let tag = format!("bitsect/committee/seed/{purpose}");
        Self(Digest::tagged(&tag, &[&self.0, context]).0)
    }

    /// Shows the bytes, to derive keys from.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(<redacted>)")
    }
}

/// A member's keys. Their Debug shows nothing.
#[derive(Clone)]
pub struct MemberKeys {
    seed: Seed,
    identity: Keypair,
    signing: SecretKey,
}

impl fmt::Debug for MemberKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemberKeys(<redacted>)")
    }
}

impl MemberKeys {
    /// Derives a member's keys from its seed.
    pub fn from_seed(seed: Seed) -> Self {
        let secret = |purpose| {
            SecretKey::from_slice(seed.derive(purpose, &[]).expose())
                .expect("a hash that is no key has a chance of 2^-127")
        };
        let identity = Keypair::from_secret_key(&Secp256k1::new(), &secret("identity"));
        let signing = secret("signing");
        Self {
            seed,
            identity,
            signing,
        }
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// [`KeyError`]; [`SecretFileError::Readable`] when anybody but the owner may use the file.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let text = secret_file::read(path, MAX_KEY_FILE)?;
        let mut bytes = [0; 32];
        // The library's error would name the digit that is wrong.
        hex::decode_to_slice(text.trim_ascii(), &mut bytes).map_err(|_| KeyError::Seed {
            path: path.to_owned(),
        })?;
        Ok(Self::from_seed(Seed(bytes)))
    }

    /// Makes a key file with a new seed. Never over another file.
    ///
    /// # Errors
    /// [`KeyError`], also when there is a file of that name. When it fails there is no new key file.
    pub fn generate(path: &Path) -> Result<Self, KeyError> {
        let seed = random()?;
        secret_file::write_new(path, &format!("{}\n", hex::encode(seed)))?;
        Self::read(path)
    }

    /// Returns the key that messages are signed with.
    pub fn identity(&self) -> XOnlyPublicKey {
        self.identity.x_only_public_key().0
    }

    /// Returns the share of the committee's key.
    pub fn signing(&self) -> PublicKey {
        self.signing.public_key(&Secp256k1::new())
    }

    /// Derives the seed of Winternitz keys, hash locks and the member's own keys in a graph. Each deployment has another,
    /// because such keys sign once.
    pub fn graph_seed(&self, deployment: &Digest) -> Seed {
        self.seed.derive("graph", deployment.as_bytes())
    }

    /// Derives the seed (BIP-0032) of the member's wallet, which is the same for all its deployments.
    pub fn wallet_seed(&self) -> Seed {
        self.seed.derive("wallet", &[])
    }

    pub(super) fn identity_pair(&self) -> &Keypair {
        &self.identity
    }

    pub(super) fn signing_scalar(&self) -> Scalar {
        Scalar::from_slice(&self.signing.secret_bytes()).expect("a secret key is a scalar that is not zero")
    }
}

/// Draws 32 bytes from the operating system.
///
/// # Errors
/// [`KeyError::Random`].
pub(super) fn random() -> Result<[u8; 32], KeyError> {
    let mut bytes = [0; 32];
    OsRng
        .try_fill_bytes(&mut bytes)
        .map_err(|error| KeyError::Random {
            reason: error.to_string(),
        })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn key_files_are_made_once_and_kept_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("member.key");
        let first = MemberKeys::generate(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(matches!(MemberKeys::generate(&path), Err(KeyError::File(_))));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        let again = MemberKeys::read(&path).unwrap();
        assert_eq!(first.identity(), again.identity());
        assert_eq!(first.signing(), again.signing());
        for mode in [0o640, 0o604, 0o660, 0o610] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let error = MemberKeys::read(&path).unwrap_err();
            assert!(
                matches!(error, KeyError::File(SecretFileError::Readable { mode: got, .. }) if got == mode)
            );
        }
    }

    #[test]
    fn damaged_key_files_are_refused_without_showing_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("member.key");
        let good = hex::encode([0xab; 32]);
        for text in ["", "abab", &good[2..], &good.replace('b', "g"), &good.repeat(3)] {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            let error = MemberKeys::read(&path).unwrap_err();
            let is_long = matches!(error, KeyError::File(SecretFileError::Long { .. }));
            assert!(is_long || matches!(error, KeyError::Seed { .. }), "{text}");
            assert!(!error.to_string().contains("abab"));
        }
    }

    #[test]
    fn debug_shows_no_secret_and_purposes_differ() {
        let seed = Seed([0xab; 32]);
        let keys = MemberKeys::from_seed(seed.clone());
        let shown = format!("{seed:?} {keys:?}");
        for secret in [
            hex::encode(seed.expose()),
            hex::encode(keys.signing.secret_bytes()),
            hex::encode(keys.identity.secret_bytes()),
        ] {
            assert!(!shown.contains(&secret[..8]), "{shown}");
        }
        assert_ne!(keys.identity.secret_bytes(), keys.signing.secret_bytes());
        let (one, other) = (
            keys.graph_seed(&Digest([1; 32])),
            keys.graph_seed(&Digest([2; 32])),
        );
        assert_ne!(one.expose(), other.expose());
        assert_ne!(one.expose(), seed.expose());
    }

    /// What is derived must never change: the coins of a deployment hang on it.
    #[test]
    fn derivation_is_fixed() {
        let keys = MemberKeys::from_seed(Seed([1; 32]));
        let shown = [
            keys.identity().to_string(),
            keys.signing().to_string(),
            hex::encode(keys.graph_seed(&Digest([2; 32])).expose()),
            hex::encode(keys.wallet_seed().expose()),
        ];
        assert_eq!(shown, FIXED);
    }

    const FIXED: [&str; 4] = [
        "29f7ea36224c4174e744f61a1bcbf39ab29bc780b5799507f84f0ef49c155b91",
        "03598237b7eee2159ebb85a6e7d3e0500024ce87f3a091ce6d0403061a7106c408",
        "50ecdd0f5401e7b9c66d41262267090d78f309a649f23ed4a3e9799d9486baa4",
        "249469ca1c7ee59634589984cf9c8631433dec86c96d900735d9548cadf365fa",
    ];
}
