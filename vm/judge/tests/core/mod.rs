//! Runs a leaf in Bitcoin Core's consensus code and in ours.
#![allow(dead_code, reason = "each test file uses what it needs")]

mod output;

use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash;
use bitcoin::{Amount, OutPoint, Script, TxOut};
use bitsect_judge::script::{Rules, run};
use output::{Output, transaction};

/// An output that only a leaf spends.
pub struct Spend(Output);

impl Spend {
    /// Makes an output of one leaf.
    pub fn new(script: &Script) -> Self {
        Self(Output::new(script))
    }

    /// Whether Bitcoin Core's consensus code takes the witness, bottom first.
    pub fn core_takes(&self, items: &[Vec<u8>]) -> bool {
        let output = TxOut {
            value: Amount::from_sat(900),
            script_pubkey: self.0.script_pubkey.clone(),
        };
        let input = self.0.input(OutPoint::new(Hash::all_zeros(), 0), items);
        let transaction = transaction(input, vec![output]);
        let spent = bitcoinconsensus::Utxo {
            script_pubkey: self.0.script_pubkey.as_bytes().as_ptr(),
            script_pubkey_len: self.0.script_pubkey.len() as u32,
            value: 1_000,
        };
        let raw = serialize(&transaction);
        let pubkey = self.0.script_pubkey.as_bytes();
        bitcoinconsensus::verify(pubkey, 1_000, &raw, Some(&[spent]), 0).is_ok()
    }

    /// Whether the witness is taken: by Bitcoin Core, and so by our executor.
    pub fn takes(&self, items: &[Vec<u8>]) -> bool {
        let core = self.core_takes(items);
        let ours = run(&self.0.script, items, Rules::Consensus, |_, _| {});
        assert_eq!(
            core,
            ours.is_ok(),
            "Bitcoin Core and the executor differ: {ours:?}"
        );
        core
    }

    /// Whether the witness is taken and standard.
    pub fn standard(&self, items: &[Vec<u8>]) -> bool {
        self.takes(items) && run(&self.0.script, items, Rules::Standard, |_, _| {}).is_ok()
    }
}
