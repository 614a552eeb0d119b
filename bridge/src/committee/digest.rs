//! Hashes as the committee computes and writes them.

use std::fmt;

use bitcoin::hashes::{Hash, HashEngine, sha256};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A SHA-256 hash, tagged as BIP-0340 tags. Written in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Hashes parts of lengths that the tag fixes, or of which only the last one varies.
    pub(crate) fn tagged(tag: &str, parts: &[&[u8]]) -> Self {
        let tag = sha256::Hash::hash(tag.as_bytes());
        let mut engine = sha256::Hash::engine();
        engine.input(tag.as_byte_array());
        engine.input(tag.as_byte_array());
        for part in parts {
            engine.input(part);
        }
        Self(sha256::Hash::from_engine(engine).to_byte_array())
    }

    /// Reads 64 hexadecimal digits.
    pub(super) fn of_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(&text, &mut bytes)
            .map_err(|error| serde::de::Error::custom(format!("a hash of 64 hexadecimal digits: {error}")))?;
        Ok(Self(bytes))
    }
}
