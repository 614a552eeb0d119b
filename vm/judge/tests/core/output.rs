//! An output that only one leaf spends.

use bitcoin::absolute::LockTime;
use bitcoin::key::UntweakedPublicKey;
use bitcoin::secp256k1::Secp256k1;
use bitcoin::taproot::{LeafVersion, TaprootBuilder};
use bitcoin::transaction::Version;
use bitcoin::{OutPoint, Script, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness};

/// A point whose discrete logarithm nobody knows (BIP-0341).
const NOBODY: &str = "50929b74c1a04954b78b4b6035e97a5e078a5a0f28ec96d547bfee9ace803ac0";

/// A taproot output that one Script spends.
pub struct Output {
    /// The leaf.
    pub script: ScriptBuf,
    /// What the output holds.
    pub script_pubkey: ScriptBuf,
    control_block: Vec<u8>,
}

impl Output {
    /// Makes an output of one leaf.
    pub fn new(script: &Script) -> Self {
        let key: UntweakedPublicKey = NOBODY.parse().unwrap();
        let builder = TaprootBuilder::new().add_leaf(0, script.to_owned()).unwrap();
        let info = builder.finalize(&Secp256k1::new(), key).unwrap();
        let control = info.control_block(&(script.to_owned(), LeafVersion::TapScript));
        Self {
            script: script.to_owned(),
            script_pubkey: ScriptBuf::new_p2tr_tweaked(info.output_key()),
            control_block: control.unwrap().serialize(),
        }
    }

    /// Spends it with these items, bottom first.
    pub fn input(&self, from: OutPoint, items: &[Vec<u8>]) -> TxIn {
        let mut witness = Witness::from_slice(items);
        witness.push(&self.script);
        witness.push(&self.control_block);
        TxIn {
            previous_output: from,
            script_sig: ScriptBuf::new(),
            sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
            witness,
        }
    }
}

/// A transaction of one input.
pub fn transaction(input: TxIn, output: Vec<TxOut>) -> Transaction {
    Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![input],
        output,
    }
}
