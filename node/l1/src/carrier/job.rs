//! Jobs: a transaction that cannot be changed, and the children that were ever signed for it.

use bitcoin::{Amount, FeeRate, OutPoint, ScriptBuf, Transaction, Txid, Weight, transaction::Version};
use serde::{Deserialize, Serialize};

use crate::{
    BlockRef,
    ledger::{Conflict, JobId, Stored, is_deep, tx_hex},
    sender::rate_of,
};

/// The largest parent of version 3 (`TRUC_MAX_VSIZE`).
const LARGEST_TRUC: Weight = Weight::from_wu(40_000);
/// The largest other parent (`MAX_STANDARD_TX_WEIGHT`). With a child of 1,000 vB it fits into a cluster of 101 kvB.
const LARGEST: Weight = Weight::from_wu(400_000);
/// The smallest anchor that is not dust.
const SMALLEST_ANCHOR: Amount = Amount::from_sat(240);

/// A transaction to carry into the chain.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// What it is, for logs and events.
    pub label: String,
    /// The signed transaction. Version 3 with a fee of zero and one pay-to-anchor output of zero, or version 2 with one
    /// pay-to-anchor output of at least 240 sats.
    pub tx: Transaction,
    /// Its own fee.
    pub fee: Amount,
    /// The last height at which it is in time.
    pub deadline: u32,
}

/// A parcel cannot be carried.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParcelError {
    /// It spends nothing.
    #[error("the transaction has no inputs")]
    NoInputs,
    /// It does not have one place for a child.
    #[error("the transaction has {got} pay-to-anchor outputs, expected 1")]
    Anchors {
        /// How many.
        got: usize,
    },
    /// Its version is not carried.
    #[error("the transaction's version is {got}, expected 2 or 3")]
    Version {
        /// Its version.
        got: i32,
    },
    /// A transaction of version 3 has a fee, so that its anchor of zero would be dust, or an anchor with a value.
    #[error("a transaction of version 3 has {what} of {got}, expected 0")]
    NotZero {
        /// Which amount.
        what: &'static str,
        /// The amount.
        got: Amount,
    },
    /// The anchor of a transaction of version 2 is dust.
    #[error("the anchor has {got}, expected at least 240 sats")]
    Dust {
        /// Its value.
        got: Amount,
    },
    /// It is larger than what is relayed.
    #[error("the transaction has {got} weight units, at most {most} are relayed")]
    Size {
        /// Its weight.
        got: Weight,
        /// The largest one relayed.
        most: Weight,
    },
}

/// A child that was signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Child {
    /// The transaction. Its first input is the anchor.
    #[serde(with = "tx_hex")]
    pub tx: Transaction,
    /// Its fee.
    #[serde(with = "bitcoin::amount::serde::as_sat")]
    pub fee: Amount,
    /// The tip's height when it was signed.
    pub made_at: u32,
}

impl Child {
    /// Returns the wallet's outputs that it spends.
    pub(super) fn coins(&self) -> impl Iterator<Item = OutPoint> {
        self.tx.input.iter().skip(1).map(|input| input.previous_output)
    }
}

/// A transaction that is carried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its name.
    pub id: JobId,
    /// What it is.
    pub label: String,
    /// The transaction.
    #[serde(with = "tx_hex")]
    pub tx: Transaction,
    /// Its own fee.
    #[serde(with = "bitcoin::amount::serde::as_sat")]
    pub fee: Amount,
    /// The index of its anchor.
    pub anchor: u32,
    /// The last height at which it is in time.
    pub deadline: u32,
    /// Children that were signed, each replacing the one before. Any of them may confirm.
    pub children: Vec<Child>,
    /// The tip's height when Core would first take it: from here the fee rises towards the deadline.
    pub ready_at: Option<u32>,
    /// The tip's height when it was first in the mempool, since it was last in a block.
    pub sent_at: Option<u32>,
    /// The block that it is in.
    pub confirmed: Option<BlockRef>,
    /// What was confirmed instead.
    pub conflict: Option<Conflict>,
    /// Whether the caller does not want it any more.
    pub cancelled: bool,
}

impl Stored for Job {
    // Not the sender's, so that neither opens the other's file.
    const FORMAT: u64 = 1001;

    fn id(&self) -> JobId {
        self.id
    }
}

impl Job {
    /// Checks a parcel and makes a job of it.
    ///
    /// # Errors
    /// [`ParcelError`].
    pub fn new(id: JobId, parcel: Parcel) -> Result<Self, ParcelError> {
        let Parcel {
            label,
            tx,
            fee,
            deadline,
        } = parcel;
        if tx.input.is_empty() {
            return Err(ParcelError::NoInputs);
        }
        let script = ScriptBuf::new_p2a();
        let anchors: Vec<usize> = (0..tx.output.len())
            .filter(|vout| tx.output[*vout].script_pubkey == script)
            .collect();
        let &[anchor] = anchors.as_slice() else {
            return Err(ParcelError::Anchors { got: anchors.len() });
        };
        let (value, got) = (tx.output[anchor].value, tx.weight());
        let most = match tx.version {
            Version(3) => {
                for (what, got) in [("a fee", fee), ("an anchor", value)] {
                    if got != Amount::ZERO {
                        return Err(ParcelError::NotZero { what, got });
                    }
                }
                LARGEST_TRUC
            }
            Version(2) if value < SMALLEST_ANCHOR => return Err(ParcelError::Dust { got: value }),
            Version(2) => LARGEST,
            Version(got) => return Err(ParcelError::Version { got }),
        };
        if got > most {
            return Err(ParcelError::Size { got, most });
        }
        Ok(Self {
            id,
            label,
            anchor: anchor as u32,
            tx,
            fee,
            deadline,
            children: Vec::new(),
            ready_at: None,
            sent_at: None,
            confirmed: None,
            conflict: None,
            cancelled: false,
        })
    }

    /// Returns the transaction's id.
    pub fn txid(&self) -> Txid {
        self.tx.compute_txid()
    }

    /// Returns the output that a child spends.
    pub fn anchor(&self) -> OutPoint {
        OutPoint::new(self.txid(), self.anchor)
    }

    /// Returns the rate that the transaction and a child of it pay together.
    pub fn rate_with(&self, child: &Child) -> FeeRate {
        let fee = self.fee.checked_add(child.fee).unwrap_or(Amount::MAX_MONEY);
        rate_of(fee, self.tx.weight() + child.tx.weight())
    }

    /// Returns the rate that it pays with its newest child.
    pub fn rate(&self) -> FeeRate {
        match self.children.last() {
            Some(child) => self.rate_with(child),
            None => rate_of(self.fee, self.tx.weight()),
        }
    }

    /// Returns the wallet's outputs that any of its children spends.
    pub(super) fn coins(&self) -> impl Iterator<Item = OutPoint> {
        self.children.iter().flat_map(Child::coins)
    }

    /// Returns whether it is confirmed `depth` deep below a tip.
    pub fn is_done(&self, tip: u32, depth: u32) -> bool {
        self.confirmed.is_some_and(|at| is_deep(at, tip, depth))
    }

    /// Returns the transaction that took its place, `depth` deep below a tip.
    pub fn lost_to(&self, tip: u32, depth: u32) -> Option<Conflict> {
        self.conflict.filter(|conflict| is_deep(conflict.at, tip, depth))
    }

    /// Returns whether it is on its way: neither in a block, nor is another one in its place.
    pub(super) fn is_open(&self) -> bool {
        self.confirmed.is_none() && self.conflict.is_none()
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::{Sequence, TxIn, TxOut, Witness, absolute::LockTime, hashes::Hash};
    use proptest::prelude::*;

    use super::*;

    fn parcel(version: i32, fee: u64, anchors: &[u64], padding: usize) -> Parcel {
        let input = TxIn {
            previous_output: OutPoint::new(Txid::all_zeros(), 1),
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: Witness::from_slice(&[vec![0; padding]]),
        };
        let mut output = vec![TxOut {
            value: Amount::from_sat(5000),
            script_pubkey: ScriptBuf::new(),
        }];
        output.extend(anchors.iter().map(|value| TxOut {
            value: Amount::from_sat(*value),
            script_pubkey: ScriptBuf::new_p2a(),
        }));
        let tx = Transaction {
            version: Version(version),
            lock_time: LockTime::ZERO,
            input: vec![input],
            output,
        };
        Parcel {
            label: "x".into(),
            tx,
            fee: Amount::from_sat(fee),
            deadline: 9,
        }
    }

    #[test]
    fn only_what_a_child_can_carry_is_taken() {
        let make = |parcel| Job::new(JobId(1), parcel);
        let anchor = make(parcel(3, 0, &[0], 9000)).unwrap().anchor;
        assert_eq!(
            (anchor, make(parcel(2, 9, &[240], 90_000)).unwrap().anchor),
            (1, 1)
        );
        assert_eq!(
            make(parcel(3, 0, &[], 1)).unwrap_err(),
            ParcelError::Anchors { got: 0 }
        );
        assert_eq!(
            make(parcel(2, 0, &[240, 240], 1)).unwrap_err(),
            ParcelError::Anchors { got: 2 }
        );
        assert!(matches!(
            make(parcel(3, 1, &[0], 1)),
            Err(ParcelError::NotZero { what: "a fee", .. })
        ));
        assert!(matches!(
            make(parcel(3, 0, &[240], 1)),
            Err(ParcelError::NotZero { .. })
        ));
        assert!(matches!(
            make(parcel(2, 9, &[239], 1)),
            Err(ParcelError::Dust { .. })
        ));
        assert_eq!(
            make(parcel(1, 9, &[240], 1)).unwrap_err(),
            ParcelError::Version { got: 1 }
        );
        assert!(matches!(
            make(parcel(3, 0, &[0], 40_000)),
            Err(ParcelError::Size { .. })
        ));
        assert!(matches!(
            make(parcel(2, 9, &[240], 400_000)),
            Err(ParcelError::Size { .. })
        ));
        let mut nothing = parcel(2, 9, &[240], 1);
        nothing.tx.input.clear();
        assert_eq!(make(nothing).unwrap_err(), ParcelError::NoInputs);
    }

    proptest! {
        #[test]
        fn jobs_come_back_from_their_bytes(fee: u32, padding in 0usize..100, heights in prop::array::uniform4(any::<Option<u32>>()), cancelled: bool, children in 0usize..3) {
            let mut job = Job::new(JobId(7), parcel(2, fee.into(), &[240], padding)).unwrap();
            let at = |height| BlockRef::new(height, bitcoin::BlockHash::all_zeros());
            let [ready, sent, confirmed, conflict] = heights;
            (job.ready_at, job.sent_at, job.cancelled) = (ready, sent, cancelled);
            job.confirmed = confirmed.map(at);
            job.conflict = conflict.map(|height| Conflict { at: at(height), txid: Txid::all_zeros() });
            let child = Child { tx: job.tx.clone(), fee: job.fee, made_at: fee };
            job.children = vec![child; children];
            let bytes = serde_json::to_vec(&job).unwrap();
            prop_assert_eq!(serde_json::from_slice::<Job>(&bytes).unwrap(), job);
        }
    }
}
