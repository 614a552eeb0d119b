//! The operator's collateral.

use bitcoin::key::Secp256k1;
use bitcoin::secp256k1::All;
use bitcoin::{ScriptBuf, Witness, XOnlyPublicKey};
use bitsect_judge::winternitz::Signature;

use super::tree::leaf_hash;
use super::{Path, ScriptTree};
use crate::keys::ClaimKeys;
use crate::leaf::{claim_script, key_script};
use crate::params::Rounds;

/// The operator makes it a claim by the first leaf, with the pre-signed claim transaction; or takes it back by the second
/// with its own key: a bond that backs no claim is its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bond {
    tree: ScriptTree,
    claim: ScriptBuf,
    withdraw: ScriptBuf,
}

const CLAIM: usize = 0;
const WITHDRAW: usize = 1;

impl Bond {
    /// Makes the output.
    pub fn new(
        secp: &Secp256k1<All>,
        keys: &ClaimKeys,
        committee: XOnlyPublicKey,
        operator: XOnlyPublicKey,
        rounds: Rounds,
    ) -> Self {
        let (claim, withdraw) = (claim_script(keys, committee, rounds), key_script(operator));
        let leaves = vec![leaf_hash(&claim), leaf_hash(&withdraw)];
        Self {
            tree: ScriptTree::new(secp, leaves, vec![]),
            claim,
            withdraw,
        }
    }

    /// Gives what the output holds.
    pub fn script_pubkey(&self) -> ScriptBuf {
        self.tree.script_pubkey()
    }

    /// How the claim spends it.
    pub fn claim_path(&self) -> Path {
        Path::Leaf(leaf_hash(&self.claim))
    }

    /// How the operator takes it back.
    pub fn withdraw_path(&self) -> Path {
        Path::Leaf(leaf_hash(&self.withdraw))
    }

    /// Gives the witness of the claim: the committee's signature, and the operator's of count and state.
    pub fn claim_witness(
        &self,
        committee: &bitcoin::taproot::Signature,
        count: &Signature,
        state: &Signature,
    ) -> Witness {
        let mut items = vec![committee.to_vec()];
        items.extend(state.witness());
        items.extend(count.witness());
        self.tree.witness(CLAIM, &self.claim, items)
    }

    /// Gives the witness that takes it back.
    pub fn withdraw_witness(&self, operator: &bitcoin::taproot::Signature) -> Witness {
        self.tree
            .witness(WITHDRAW, &self.withdraw, vec![operator.to_vec()])
    }

    /// Whether a Script is that of the claim.
    pub fn is_claim(&self, script: &[u8]) -> bool {
        script == self.claim.as_bytes()
    }
}
