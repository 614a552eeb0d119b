//! A member's own secrets in a graph.

use alloy_primitives::B256;
use bitcoin::key::{Keypair, Secp256k1};
use bitcoin::secp256k1::SecretKey;

use crate::committee::{Digest, MemberKeys};
use crate::secret::{PairPath, PartySeed};

/// A member's key, and the seed of its values and locks, both of one deployment. Its Debug shows nothing.
#[derive(Clone)]
pub struct PartySecrets {
    /// Its key.
    pub key: Keypair,
    /// Its seed.
    pub seed: PartySeed,
}

impl core::fmt::Debug for PartySecrets {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("PartySecrets(<redacted>)")
    }
}

impl PartySecrets {
    /// Derives them from a member's keys.
    pub fn derive(keys: &MemberKeys, deployment: &Digest) -> Self {
        let graph = keys.graph_seed(deployment);
        let key = SecretKey::from_slice(graph.derive("graph/key", &[]).expose())
            .expect("a hash that is no key has a chance of 2^-127");
        Self {
            key: Keypair::from_secret_key(&Secp256k1::new(), &key),
            seed: PartySeed::new(*graph.derive("graph/values", &[]).expose()),
        }
    }
}

/// Gives where a pair's keys are derived.
pub(super) fn path(deployment: &Digest, slot: usize, pair: usize) -> PairPath {
    PairPath {
        deployment: B256::new(deployment.0),
        slot: slot as u32,
        pair: pair as u32,
    }
}
