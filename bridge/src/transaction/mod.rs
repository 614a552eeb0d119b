//! The transactions of the graph, one file each. All but the verdict have no fee: a child pays (docs/dispute.md).

mod answer;
mod ask;
mod challenge;
mod claim;
mod finalise;
mod forfeit;
mod recover;
mod slash;
mod vault;
mod withdraw;

use bitcoin::absolute::LockTime;
use bitcoin::hashes::Hash;
use bitcoin::sighash::{Prevouts, SighashCache};
use bitcoin::transaction::Version;
use bitcoin::{
    Amount, OutPoint, ScriptBuf, Sequence, TapSighashType, Transaction, TxIn, TxOut, Txid, Witness,
};

use crate::connector::{Path, anchor};
use crate::params::ANCHOR_VALUE;

pub use answer::answer;
pub use ask::ask;
pub use challenge::{CONNECTOR_INPUT, STAKE_INPUT, challenge};
pub use claim::{claim, connector_output};
pub use finalise::{BOND_OUTPUT, REIMBURSE_OUTPUT, finalise_fast, finalise_slow};
pub use forfeit::forfeit;
pub use recover::recover;
pub use slash::{BRANCH_INPUT, MAIN_INPUT, REWARD_OUTPUT, timeout, verdict};
pub use vault::{REIMBURSED_OUTPUT, VAULT_OUTPUT, accept, assignment, reimbursement, vault_spend};
pub use withdraw::withdraw;

/// The output that goes on: main, or a branch's.
pub const NEXT_OUTPUT: u32 = 0;

/// An output that a transaction spends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spent {
    /// Where it is.
    pub outpoint: OutPoint,
    /// What it is.
    pub output: TxOut,
    /// How old it has to be.
    pub sequence: Sequence,
}

/// A transaction of the graph, unsigned, with all that its signatures cover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The transaction, without witnesses.
    pub transaction: Transaction,
    /// What it spends, by input.
    pub spent: Vec<TxOut>,
}

/// A transaction whose inputs and outputs do not balance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("value: expected outputs of {expected} and a fee of {fee}, got {got}")]
pub struct ValueError {
    /// What the inputs hold.
    pub expected: Amount,
    /// The fee that it is to have.
    pub fee: Amount,
    /// What the outputs hold.
    pub got: Amount,
}

impl Spent {
    /// Names an output that may be spent at once.
    pub const fn new(outpoint: OutPoint, output: TxOut) -> Self {
        Self {
            outpoint,
            output,
            sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
        }
    }

    /// Names the output with a relative lock (BIP-0068).
    pub const fn after(mut self, sequence: Sequence) -> Self {
        self.sequence = sequence;
        self
    }
}

impl Planned {
    /// Plans a transaction without a fee, to which an anchor of zero is added (BIP-0431 and ephemeral dust).
    ///
    /// # Errors
    /// Where inputs and outputs differ in value.
    fn free(spent: Vec<Spent>, mut outputs: Vec<TxOut>) -> Result<Self, ValueError> {
        outputs.push(anchor(Amount::ZERO));
        Self::new(Version(3), spent, outputs, Amount::ZERO)
    }

    /// Plans a transaction with a fee of its own, to which an anchor for more is added.
    ///
    /// # Errors
    /// Where outputs and fee are not what the inputs hold.
    fn paying(spent: Vec<Spent>, mut outputs: Vec<TxOut>, fee: Amount) -> Result<Self, ValueError> {
        outputs.push(anchor(ANCHOR_VALUE));
        Self::new(Version::TWO, spent, outputs, fee)
    }

    fn new(version: Version, spent: Vec<Spent>, output: Vec<TxOut>, fee: Amount) -> Result<Self, ValueError> {
        let expected: Amount = spent.iter().map(|spent| spent.output.value).sum();
        let got: Amount = output.iter().map(|output| output.value).sum();
        if got.checked_add(fee) != Some(expected) {
            return Err(ValueError { expected, fee, got });
        }
        let input = spent.iter().map(|spent| TxIn {
            previous_output: spent.outpoint,
            script_sig: ScriptBuf::new(),
            sequence: spent.sequence,
            witness: Witness::new(),
        });
        Ok(Self {
            transaction: Transaction {
                version,
                lock_time: LockTime::ZERO,
                input: input.collect(),
                output,
            },
            spent: spent.into_iter().map(|spent| spent.output).collect(),
        })
    }

    /// Gives the transaction's id, which no witness changes.
    pub fn txid(&self) -> Txid {
        self.transaction.compute_txid()
    }

    /// Gives an output, to be spent.
    ///
    /// # Panics
    /// Where there is no such output: their numbers are constants of the protocol.
    pub fn output(&self, vout: u32) -> Spent {
        let output = self.transaction.output[vout as usize].clone();
        Spent::new(OutPoint::new(self.txid(), vout), output)
    }

    /// Gives what a signature of an input signs: all inputs and outputs (SIGHASH_DEFAULT, BIP-0341).
    ///
    /// # Panics
    /// Where there is no such input.
    pub fn message(&self, input: usize, path: Path) -> [u8; 32] {
        let mut cache = SighashCache::new(&self.transaction);
        let prevouts = Prevouts::All(&self.spent);
        let hash = match path {
            Path::Key(_) => cache.taproot_key_spend_signature_hash(input, &prevouts, TapSighashType::Default),
            Path::Leaf(leaf) => {
                cache.taproot_script_spend_signature_hash(input, &prevouts, leaf, TapSighashType::Default)
            }
        };
        hash.expect("an input of the transaction, and all that it spends")
            .to_byte_array()
    }

    /// Gives the transaction with its witnesses, by input.
    ///
    /// # Panics
    /// Where their number is another than the inputs'.
    pub fn finalize(&self, witnesses: Vec<Witness>) -> Transaction {
        let mut transaction = self.transaction.clone();
        assert_eq!(
            witnesses.len(),
            transaction.input.len(),
            "a witness for each input"
        );
        for (input, witness) in transaction.input.iter_mut().zip(witnesses) {
            input.witness = witness;
        }
        transaction
    }
}
