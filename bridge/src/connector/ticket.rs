//! What a slot's claim gets a vault output with.

use bitcoin::key::Secp256k1;
use bitcoin::opcodes::all::{OP_CHECKSIG, OP_CHECKSIGVERIFY};
use bitcoin::script::Builder;
use bitcoin::secp256k1::All;
use bitcoin::taproot::Signature;
use bitcoin::{ScriptBuf, TxOut, Witness, XOnlyPublicKey};

use super::tree::leaf_hash;
use super::{Path, ScriptTree};
use crate::params::CONNECTOR_VALUE;

/// The operator spends it by its one leaf, at any time, with a pre-signed assignment. Members show each other the committee's
/// signatures: without the operator's own anybody could spend tickets for nothing.
///
/// Witness, bottom first: the committee's signature, the operator's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    tree: ScriptTree,
    script: ScriptBuf,
}

impl Ticket {
    /// Makes the output.
    pub fn new(secp: &Secp256k1<All>, operator: XOnlyPublicKey, committee: XOnlyPublicKey) -> Self {
        let script = Builder::new()
            .push_x_only_key(&operator)
            .push_opcode(OP_CHECKSIGVERIFY)
            .push_x_only_key(&committee)
            .push_opcode(OP_CHECKSIG)
            .into_script();
        Self {
            tree: ScriptTree::new(secp, vec![leaf_hash(&script)], vec![]),
            script,
        }
    }

    /// Gives the output with its value.
    pub fn output(&self) -> TxOut {
        TxOut {
            value: CONNECTOR_VALUE,
            script_pubkey: self.tree.script_pubkey(),
        }
    }

    /// How it is spent.
    pub fn path(&self) -> Path {
        Path::Leaf(leaf_hash(&self.script))
    }

    /// Gives the witness that spends it.
    pub fn witness(&self, committee: &Signature, operator: &Signature) -> Witness {
        let items = vec![committee.to_vec(), operator.to_vec()];
        self.tree.witness(0, &self.script, items)
    }
}
