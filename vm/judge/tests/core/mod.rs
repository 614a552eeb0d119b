//! Runs a leaf in Bitcoin Core's consensus code and in ours.
#![allow(dead_code, reason = "each test file uses what it needs")]

use bitcoin::absolute::LockTime;
use bitcoin::consensus::serialize;
use bitcoin::key::UntweakedPublicKey;
use bitcoin::secp256k1::Secp256k1;
use bitcoin::taproot::{LeafVersion, TaprootBuilder};
use bitcoin::transaction::Version;
use bitcoin::{Amount, OutPoint, Script, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness};
use bitsect_judge::script::{Rules, run};

/// A point whose discrete logarithm nobody knows (BIP-0341).
const NOBODY: &str = "50929b74c1a04954b78b4b6035e97a5e078a5a0f28ec96d547bfee9ace803ac0";

/// An output that only a leaf spends, and what its spending needs.
pub struct Spend {
    script: ScriptBuf,
    script_pubkey: ScriptBuf,
    control_block: Vec<u8>,
}

impl Spend {
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

    /// Whether Bitcoin Core's consensus code takes the witness, bottom first.
    pub fn core_takes(&self, items: &[Vec<u8>]) -> bool {
        let mut witness = Witness::from_slice(items);
        witness.push(&self.script);
        witness.push(&self.control_block);
        let transaction = Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![TxIn {
                previous_output: OutPoint::new(bitcoin::hashes::Hash::all_zeros(), 0),
                script_sig: ScriptBuf::new(),
                sequence: Sequence::MAX,
                witness,
            }],
            output: vec![TxOut {
                value: Amount::from_sat(900),
                script_pubkey: self.script_pubkey.clone(),
            }],
        };
        let spent = bitcoinconsensus::Utxo {
            script_pubkey: self.script_pubkey.as_bytes().as_ptr(),
            script_pubkey_len: self.script_pubkey.len() as u32,
            value: 1_000,
        };
        let raw = serialize(&transaction);
        let pubkey = self.script_pubkey.as_bytes();
        bitcoinconsensus::verify(pubkey, 1_000, &raw, Some(&[spent]), 0).is_ok()
    }

    /// Whether the witness is taken: by Bitcoin Core, and so by our executor.
    pub fn takes(&self, items: &[Vec<u8>]) -> bool {
        let core = self.core_takes(items);
        let ours = run(&self.script, items, Rules::Consensus, |_, _| {});
        assert_eq!(
            core,
            ours.is_ok(),
            "Bitcoin Core and the executor differ: {ours:?}"
        );
        core
    }

    /// Whether the witness is taken and standard.
    pub fn standard(&self, items: &[Vec<u8>]) -> bool {
        self.takes(items) && run(&self.script, items, Rules::Standard, |_, _| {}).is_ok()
    }
}
