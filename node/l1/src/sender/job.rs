//! Jobs: transactions that belong together, with all versions that were ever signed.

use std::collections::HashSet;

use bitcoin::{Amount, FeeRate, OutPoint, Transaction, Txid};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::{
    BlockRef,
    ledger::{Conflict, JobId, Stored, inputs, is_deep, tx_hex},
    wallet::SignedTx,
};

/// Transactions of a job at most: a batch is a commit and its reveals.
pub const MAX_TXS: usize = 256;

/// A transaction to send.
#[derive(Clone, Debug)]
pub struct DraftTx {
    /// The signed transaction and its fee.
    pub signed: SignedTx,
    /// The place in the job of the transaction whose output it spends; it must come before.
    pub parent: Option<usize>,
    /// Whether [`Rebuild`](super::Rebuild) can make it anew. A pre-signed transaction cannot.
    pub replaceable: bool,
}

/// Transactions to send as one job.
#[derive(Clone, Debug)]
pub struct Draft {
    /// What it is, for logs and events.
    pub label: String,
    /// Whatever the caller needs to build it again.
    pub data: Vec<u8>,
    /// The transactions, parents first.
    pub txs: Vec<DraftTx>,
    /// Whether children may go out before their parent is confirmed. It forbids replacing the parent from then on.
    pub ride: bool,
}

/// One signed version of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The transaction.
    #[serde(with = "tx_hex")]
    pub tx: Transaction,
    /// Its fee.
    #[serde(with = "bitcoin::amount::serde::as_sat")]
    pub fee: Amount,
    /// The version of the parent that it spends.
    pub parent_version: usize,
    /// The tip's height when it was first in the mempool.
    pub sent_at: Option<u32>,
}

impl Version {
    /// Returns the transaction with its fee.
    pub fn signed(&self) -> SignedTx {
        SignedTx {
            tx: self.tx.clone(),
            fee: self.fee,
        }
    }
}

/// Where a version is confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmed {
    /// The block.
    pub at: BlockRef,
    /// Which version.
    pub version: usize,
}

/// One transaction of a job through its life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// The place of its parent in the job.
    pub parent: Option<usize>,
    /// Whether it can be made anew.
    pub replaceable: bool,
    /// Whether a child is out, so that it must not be replaced any more.
    pub latched: bool,
    /// All versions that were signed. Any of them may confirm.
    pub versions: Vec<Version>,
    /// Where one of them is confirmed.
    pub confirmed: Option<Confirmed>,
    /// The version that was confirmed before a reorg. Others build on it already, other jobs too, so it stays the one that
    /// counts while no other is confirmed, and is not replaced.
    #[serde(default)]
    pub settled: Option<usize>,
    /// What was confirmed instead.
    pub conflict: Option<Conflict>,
    /// Children that only pay for it, each replacing the one before.
    pub lifts: Vec<Version>,
    /// The tip's height when its fee was last raised.
    pub bumped_at: Option<u32>,
}

impl Slot {
    /// Takes its confirmation back; the version stays the one that counts.
    pub(super) fn unconfirm(&mut self) {
        if let Some(confirmed) = self.confirmed.take() {
            self.settled = Some(confirmed.version);
        }
    }
}

/// A job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its name.
    pub id: JobId,
    /// What it is.
    pub label: String,
    /// Whatever the caller needs to build it again.
    #[serde(serialize_with = "bytes_to_hex", deserialize_with = "bytes_from_hex")]
    pub data: Vec<u8>,
    /// Whether children may go out before their parent is confirmed.
    pub ride: bool,
    /// Its transactions, parents first.
    pub slots: Vec<Slot>,
}

/// A job or a replacement is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// It has no or too many transactions.
    #[error("a job has 1 to {MAX_TXS} transactions, got {got}")]
    Count {
        /// How many.
        got: usize,
    },
    /// A transaction does not fit to the others.
    #[error("transaction {slot} of the job: {reason}")]
    Tx {
        /// Its place.
        slot: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// A replacement pays too little.
    #[error("the replacement of transaction {slot} pays {got}, needed are {needed}")]
    Fee {
        /// Its place.
        slot: usize,
        /// The least fee.
        needed: Amount,
        /// The fee.
        got: Amount,
    },
}

impl Stored for Job {
    const FORMAT: u64 = 1;

    fn id(&self) -> JobId {
        self.id
    }
}

impl Job {
    /// Checks a draft and makes a job of it.
    ///
    /// # Errors
    /// [`JobError`].
    pub fn new(id: JobId, draft: Draft) -> Result<Self, JobError> {
        let got = draft.txs.len();
        if got == 0 || got > MAX_TXS {
            return Err(JobError::Count { got });
        }
        let mut slots: Vec<Slot> = Vec::new();
        for (
            place,
            DraftTx {
                signed,
                parent,
                replaceable,
            },
        ) in draft.txs.into_iter().enumerate()
        {
            let bad = |reason| Err(JobError::Tx { slot: place, reason });
            if signed.tx.input.is_empty() {
                return bad("it has no inputs");
            }
            if let Some(parent) = parent {
                let Some(slot) = slots.get(parent) else {
                    return bad("its parent does not come before it");
                };
                if !spends(&signed.tx, slot.versions[0].tx.compute_txid()) {
                    return bad("it does not spend its parent");
                }
            }
            let version = Version {
                tx: signed.tx,
                fee: signed.fee,
                parent_version: 0,
                sent_at: None,
            };
            slots.push(Slot {
                parent,
                replaceable,
                latched: false,
                versions: vec![version],
                confirmed: None,
                settled: None,
                conflict: None,
                lifts: Vec::new(),
                bumped_at: None,
            });
        }
        Ok(Self {
            id,
            label: draft.label,
            data: draft.data,
            ride: draft.ride,
            slots,
        })
    }

    /// Returns which version of a transaction counts: the one that is confirmed; else of those that fit its parent the one
    /// that was confirmed, or the newest.
    pub fn current_version(&self, slot: usize) -> usize {
        let it = &self.slots[slot];
        if let Some(confirmed) = it.confirmed {
            return confirmed.version;
        }
        let parent_version = it.parent.map_or(0, |parent| self.current_version(parent));
        let fits = |version: &Version| version.parent_version == parent_version;
        let settled = it.settled.filter(|version| fits(&it.versions[*version]));
        settled
            .or_else(|| it.versions.iter().rposition(fits))
            .unwrap_or(it.versions.len() - 1)
    }

    /// Returns the version of a transaction that counts.
    pub fn current(&self, slot: usize) -> &Version {
        &self.slots[slot].versions[self.current_version(slot)]
    }

    /// Returns the places of the transactions that depend on one, nearest first.
    pub fn descendants(&self, slot: usize) -> Vec<usize> {
        let mut found = vec![slot];
        for (place, it) in self.slots.iter().enumerate() {
            if it.parent.is_some_and(|parent| found.contains(&parent)) {
                found.push(place);
            }
        }
        found.remove(0);
        found
    }

    /// Returns the transactions that count and are not confirmed, parents first.
    pub fn pending(&self) -> Vec<Transaction> {
        let places = 0..self.slots.len();
        places
            .filter(|p| self.slots[*p].confirmed.is_none())
            .map(|p| self.current(p).tx.clone())
            .collect()
    }

    /// Takes in a replacement of a transaction and all that depend on it.
    ///
    /// # Errors
    /// [`JobError`]; the job is unchanged then.
    pub fn replace(
        &mut self,
        slot: usize,
        new: Vec<(usize, SignedTx)>,
        min_fee: Amount,
    ) -> Result<(), JobError> {
        let expected: HashSet<usize> = std::iter::once(slot).chain(self.descendants(slot)).collect();
        let given: HashSet<usize> = new.iter().map(|(place, _)| *place).collect();
        let bad = |slot, reason| Err(JobError::Tx { slot, reason });
        if given != expected || new.len() != expected.len() {
            return bad(
                slot,
                "a replacement has the transaction and all that depend on it, once each",
            );
        }
        let mut changed = self.clone();
        let mut new = new;
        new.sort_by_key(|(place, _)| *place);
        for (place, signed) in new {
            let mut parent_version = 0;
            if place == slot {
                if signed.fee < min_fee {
                    return Err(JobError::Fee {
                        slot,
                        needed: min_fee,
                        got: signed.fee,
                    });
                }
                let old: HashSet<OutPoint> = inputs(&self.current(slot).tx).collect();
                if !inputs(&signed.tx).any(|input| old.contains(&input)) {
                    return bad(place, "its replacement does not spend what it spends");
                }
                if self.slots[slot]
                    .versions
                    .iter()
                    .any(|v| v.tx.compute_txid() == signed.tx.compute_txid())
                {
                    return bad(place, "its replacement is the same");
                }
            }
            if let Some(parent) = self.slots[place].parent {
                parent_version = changed.current_version(parent);
                if !spends(&signed.tx, changed.current(parent).tx.compute_txid()) {
                    return bad(place, "its replacement does not spend its parent's replacement");
                }
            }
            let version = Version {
                tx: signed.tx,
                fee: signed.fee,
                parent_version,
                sent_at: None,
            };
            changed.slots[place].versions.push(version);
        }
        *self = changed;
        Ok(())
    }

    /// Returns whether everything is confirmed `depth` deep below a tip.
    pub fn is_done(&self, tip: u32, depth: u32) -> bool {
        self.slots
            .iter()
            .all(|s| s.confirmed.is_some_and(|c| is_deep(c.at, tip, depth)))
    }

    /// Returns the transaction that took the place of one of the job's, `depth` deep below a tip.
    pub fn lost_to(&self, tip: u32, depth: u32) -> Option<Conflict> {
        self.slots
            .iter()
            .filter_map(|s| s.conflict)
            .find(|c| is_deep(c.at, tip, depth))
    }
}

fn spends(tx: &Transaction, txid: Txid) -> bool {
    inputs(tx).any(|outpoint| outpoint.txid == txid)
}

/// Says how a transaction shall be built anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The rate to pay.
    pub rate: FeeRate,
    /// The least fee of the transaction: what it replaces, and the relay of its own size.
    pub min_fee: Amount,
}

fn bytes_to_hex<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(&hex::encode(bytes))
}

fn bytes_from_hex<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
    hex::decode(String::deserialize(d)?).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use bitcoin::{ScriptBuf, Sequence, TxIn, TxOut, Witness, absolute::LockTime, hashes::Hash, transaction};
    use proptest::prelude::*;

    use super::*;

    fn tx(spends: OutPoint, fee: u64) -> SignedTx {
        let input = TxIn {
            previous_output: spends,
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: Witness::new(),
        };
        let output = TxOut {
            value: Amount::from_sat(1_000_000 - fee),
            script_pubkey: ScriptBuf::new(),
        };
        let tx = Transaction {
            version: transaction::Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![input],
            output: vec![output; 4],
        };
        SignedTx {
            tx,
            fee: Amount::from_sat(fee),
        }
    }

    fn baton() -> OutPoint {
        OutPoint::new(Txid::all_zeros(), 0)
    }

    /// A commit, two reveals, and a child of the second reveal.
    fn family(root: OutPoint, fee: u64) -> Vec<(usize, SignedTx)> {
        let commit = tx(root, fee);
        let of = |parent: &SignedTx, vout| OutPoint::new(parent.tx.compute_txid(), vout);
        let (first, second) = (tx(of(&commit, 1), fee), tx(of(&commit, 2), fee));
        let child = tx(of(&second, 0), fee);
        vec![(0, commit), (1, first), (2, second), (3, child)]
    }

    fn job() -> Job {
        let parents = [None, Some(0), Some(0), Some(2)];
        let txs = family(baton(), 1);
        let txs = txs.into_iter().map(|(slot, signed)| DraftTx {
            signed,
            parent: parents[slot],
            replaceable: true,
        });
        let draft = Draft {
            label: "x".into(),
            data: vec![1, 2, 255],
            txs: txs.collect(),
            ride: true,
        };
        Job::new(JobId(9), draft).unwrap()
    }

    #[test]
    fn jobs_come_back_from_their_bytes() {
        let mut it = job();
        it.slots[1].confirmed = Some(Confirmed {
            at: BlockRef::new(7, bitcoin::BlockHash::all_zeros()),
            version: 0,
        });
        let bytes = serde_json::to_vec(&it).unwrap();
        assert_eq!(serde_json::from_slice::<Job>(&bytes).unwrap(), it);
    }

    #[test]
    fn a_version_counts_from_its_first_confirmation_on() {
        let mut it = job();
        it.replace(0, family(baton(), 9), Amount::ZERO).unwrap();
        assert_eq!(it.current_version(0), 1);
        let mut older = serde_json::to_value(&it).unwrap();
        let confirmed = Confirmed {
            at: BlockRef::new(7, bitcoin::BlockHash::all_zeros()),
            version: 0,
        };
        older["slots"][0]["confirmed"] = serde_json::to_value(confirmed).unwrap();
        // Files from before the field was there have none.
        older["slots"][0]
            .as_object_mut()
            .unwrap()
            .remove("settled")
            .unwrap();
        let mut it: Job = serde_json::from_value(older).unwrap();
        assert_eq!(it.current_version(0), 0);
        it.slots[0].unconfirm();
        assert_eq!((it.slots[0].confirmed, it.current_version(0)), (None, 0));
        // After the reorg the other version is confirmed: what was settled of its children spends what is not there.
        it.slots[1].settled = Some(0);
        it.slots[0].confirmed = Some(Confirmed {
            version: 1,
            ..confirmed
        });
        assert_eq!((it.current_version(0), it.current_version(1)), (1, 1));
    }

    #[test]
    fn wrong_replacements_change_nothing() {
        let it = job();
        let stranger = family(OutPoint::new(Txid::all_zeros(), 5), 9);
        let mut mixed = family(baton(), 9);
        mixed[1] = family(baton(), 8)[1].clone();
        let mut twice = family(baton(), 9);
        twice[3] = twice[2].clone();
        let short = family(baton(), 9)[..3].to_vec();
        for new in [family(baton(), 1), stranger, mixed, twice, short, vec![]] {
            let mut changed = it.clone();
            assert!(changed.replace(0, new, Amount::ZERO).is_err());
            assert_eq!(changed, it);
        }
        let mut changed = it.clone();
        let cheap = changed.replace(0, family(baton(), 9), Amount::from_sat(10));
        assert!(matches!(cheap, Err(JobError::Fee { .. })));
    }

    proptest! {
        /// Whatever is replaced and whichever version confirms: what counts hangs together.
        #[test]
        fn what_counts_hangs_together(steps in prop::collection::vec((0usize..4, any::<bool>(), 0usize..6), 0..12)) {
            let mut it = job();
            let mut fee = 1;
            for (slot, replace, version) in steps {
                if replace {
                    fee += 1;
                    // Replace only what was never confirmed, as the sender does; the rest of the family follows.
                    if it.slots[slot].confirmed.is_some() || it.slots[slot].settled.is_some() || it.slots[slot].parent.is_some_and(|p| it.slots[p].confirmed.is_none()) {
                        continue;
                    }
                    let root = it.current(slot).tx.input[0].previous_output;
                    let new = match slot {
                        0 => family(root, fee),
                        2 => {
                            let second = tx(root, fee);
                            let child = tx(OutPoint::new(second.tx.compute_txid(), 0), fee);
                            vec![(2, second), (3, child)]
                        }
                        _ => vec![(slot, tx(root, fee))],
                    };
                    prop_assert_eq!(it.replace(slot, new, Amount::from_sat(fee)), Ok(()));
                } else {
                    // On a chain a child is confirmed after its parent and dropped before it.
                    let parent = it.slots[slot].parent;
                    let ready = parent.is_none_or(|p| it.slots[p].confirmed.is_some());
                    let held = it.descendants(slot).iter().any(|d| it.slots[*d].confirmed.is_some());
                    if !ready || held {
                        continue;
                    }
                    let parent_version = parent.map_or(0, |p| it.current_version(p));
                    let slot = &mut it.slots[slot];
                    let version = version % slot.versions.len();
                    if parent.is_some() && slot.versions[version].parent_version != parent_version {
                        continue;
                    }
                    let at = BlockRef::new(1, bitcoin::BlockHash::all_zeros());
                    match slot.confirmed {
                        None => slot.confirmed = Some(Confirmed { at, version }),
                        Some(_) => slot.unconfirm(),
                    }
                }
                for (place, slot) in it.slots.iter().enumerate() {
                    let Some(parent) = slot.parent else { continue };
                    let exists = slot.versions.iter().any(|v| v.parent_version == it.current_version(parent));
                    prop_assert!(exists);
                    prop_assert!(spends(&it.current(place).tx, it.current(parent).tx.compute_txid()));
                }
            }
        }
    }
}
