//! A batch's transactions: the commit and its reveals (docs/batches.md).
//!
//! Commit: inputs are the baton, then the wallet's coins. Outputs: next baton, one taproot output per frame, the tag,
//! change. Reveal: one input, a data output by its leaf, which holds the frame; one output back to the wallet.

use alloy_primitives::B256;
use bitcoin::absolute::LockTime;
use bitcoin::key::{Keypair, Secp256k1};
use bitcoin::secp256k1::All;
use bitcoin::taproot::{TaprootBuilder, TaprootSpendInfo};
use bitcoin::transaction::Version;
use bitcoin::{
    Amount, FeeRate, KnownHrp, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Weight, Witness,
};
use bitsect_l1::wallet::{Foreign, FundError, Funding, KeyError, SignedTx, Wallet, sign_key_path, sign_leaf};
use bitsect_vm::derive::{MAX_FRAME, MAX_FRAMES, commit_tag_script, frame_script};

/// The commit's output that is the next baton.
pub const BATON_VOUT: u32 = 0;
/// The commit's first data output.
pub const FIRST_DATA_VOUT: u32 = 1;
/// How many times a reveal's fee may grow by itself: what its data output holds above the first fee.
const HEADROOM: u64 = 4;
/// What a reveal gives back at least. Policy calls a taproot output below 330 sat dust.
const LEAST_BACK: Amount = Amount::from_sat(330);
/// What a baton holds: enough to never be dust.
pub const BATON_VALUE: Amount = Amount::from_sat(10_000);

/// Why a batch's transactions cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The payload does not fit into one commit.
    #[error("payload: expected 1 to {most} bytes, got {got}")]
    Payload {
        /// Bytes that fit.
        most: usize,
        /// Bytes given.
        got: usize,
    },
    /// The wallet cannot pay.
    #[error(transparent)]
    Fund(#[from] FundError),
    /// A signature could not be made.
    #[error(transparent)]
    Sign(#[from] KeyError),
    /// A reveal's data output does not hold that much.
    #[error("reveal: a fee of {needed} is more than the head-room of {available}")]
    Headroom {
        /// The fee asked for.
        needed: Amount,
        /// What the data output can give.
        available: Amount,
    },
}

/// Builds a batch's transactions for one sequencer key.
pub struct Builder {
    secp: Secp256k1<All>,
    key: Keypair,
}

/// The baton as it stands on Bitcoin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Baton {
    /// Where.
    pub outpoint: OutPoint,
    /// What.
    pub output: TxOut,
}

/// What one data output commits to.
struct DataOutput {
    leaf: ScriptBuf,
    spend: TaprootSpendInfo,
    script: ScriptBuf,
}

impl Builder {
    /// Makes a builder for the key that owns the baton.
    pub fn new(key: Keypair) -> Self {
        Self {
            secp: Secp256k1::new(),
            key,
        }
    }

    /// Gives the script of a baton that this key owns.
    pub fn baton_script(&self) -> ScriptBuf {
        ScriptBuf::new_p2tr(&self.secp, self.key.x_only_public_key().0, None)
    }

    /// Gives the address of such a baton.
    pub fn baton_address(&self, hrp: impl Into<KnownHrp>) -> bitcoin::Address {
        bitcoin::Address::p2tr(&self.secp, self.key.x_only_public_key().0, None, hrp)
    }

    /// Builds and signs the commit for a payload.
    ///
    /// `replaced` is an earlier version, then its reveals; `least_fee` is what replacing it takes.
    ///
    /// # Errors
    /// [`BuildError`]. Nothing is reserved in the wallet then.
    pub fn commit(
        &self,
        wallet: &Wallet,
        baton: &Baton,
        payload: &[u8],
        rate: FeeRate,
        replaced: &[&Transaction],
        least_fee: Amount,
    ) -> Result<SignedTx, BuildError> {
        let frames = frames(payload)?;
        let count = u16::try_from(frames.len()).expect("MAX_FRAMES is an u16");
        let mut outputs = vec![TxOut {
            value: baton.output.value,
            script_pubkey: self.baton_script(),
        }];
        for frame in frames {
            let data = self.data_output(frame);
            let first = fee_of(rate, self.reveal_weight(&data));
            let value = first
                .checked_mul(HEADROOM)
                .and_then(|value| value.checked_add(LEAST_BACK));
            outputs.push(TxOut {
                value: value.unwrap_or(Amount::MAX_MONEY),
                script_pubkey: data.script,
            });
        }
        let tag = ScriptBuf::from_bytes(commit_tag_script(count));
        outputs.push(TxOut {
            value: Amount::ZERO,
            script_pubkey: tag,
        });
        let mut request = Funding::new(rate, outputs);
        request
            .foreign
            .push(Foreign::key_path(baton.outpoint, baton.output.clone()));
        // The change is what can lift the commit when it is stuck.
        request.need_change = true;
        let mut funded = wallet.fund(&request.replace(wallet, replaced, least_fee))?;
        if let Err(error) = sign_key_path(&mut funded.psbt, 0, &self.key, None) {
            wallet.release(&funded.psbt.unsigned_tx);
            return Err(error.into());
        }
        Ok(wallet.finish(funded)?)
    }

    /// Builds and signs the reveal of one frame, paying at least `rate` and `least_fee`.
    ///
    /// # Errors
    /// [`BuildError::Headroom`] when the data output does not hold the fee.
    pub fn reveal(
        &self,
        commit: &Transaction,
        payload: &[u8],
        index: usize,
        back: &ScriptBuf,
        rate: FeeRate,
        least_fee: Amount,
    ) -> Result<SignedTx, BuildError> {
        let frames = frames(payload)?;
        let out_of_range = BuildError::Payload {
            most: frames.len(),
            got: index,
        };
        let frame = frames.get(index).ok_or(out_of_range)?;
        let data = self.data_output(frame);
        let vout = FIRST_DATA_VOUT + u32::try_from(index).expect("a payload has at most MAX_FRAMES frames");
        let spent = commit
            .output
            .get(vout as usize)
            .filter(|output| output.script_pubkey == data.script);
        let Some(spent) = spent.cloned() else {
            let reason = "the commit does not commit to this frame".to_owned();
            return Err(KeyError::Sign { input: 0, reason }.into());
        };
        let outpoint = OutPoint {
            txid: commit.compute_txid(),
            vout,
        };
        let mut tx = unsigned_reveal(outpoint, back.clone());
        let fee = fee_of(rate, self.reveal_weight(&data)).max(least_fee);
        let available = spent.value.checked_sub(LEAST_BACK).unwrap_or(Amount::ZERO);
        let left = spent.value.checked_sub(fee).filter(|left| *left >= LEAST_BACK);
        tx.output[0].value = left.ok_or(BuildError::Headroom {
            needed: fee,
            available,
        })?;
        sign_leaf(&mut tx, 0, &[spent], &data.spend, &data.leaf, &self.key)?;
        Ok(SignedTx { tx, fee })
    }

    /// Gives the number of reveals that a payload takes.
    ///
    /// # Errors
    /// [`BuildError::Payload`].
    pub fn reveal_count(payload: &[u8]) -> Result<usize, BuildError> {
        frames(payload).map(|frames| frames.len())
    }

    fn data_output(&self, frame: &[u8]) -> DataOutput {
        let key = self.key.x_only_public_key().0;
        let leaf = ScriptBuf::from_bytes(frame_script(&B256::new(key.serialize()), frame));
        // The key path is the sequencer's too: it can take back what a data output holds.
        let builder = TaprootBuilder::new()
            .add_leaf(0, leaf.clone())
            .expect("a lone leaf has depth 0");
        let spend = builder
            .finalize(&self.secp, key)
            .expect("a tree of one leaf is complete");
        let script = ScriptBuf::new_p2tr_tweaked(spend.output_key());
        DataOutput { leaf, spend, script }
    }

    /// Weighs a signed reveal: the sum does not depend on amounts or signatures, which have a fixed length.
    fn reveal_weight(&self, data: &DataOutput) -> Weight {
        let null = OutPoint {
            txid: Txid::from_raw_hash(bitcoin::hashes::Hash::all_zeros()),
            vout: 0,
        };
        let mut tx = unsigned_reveal(null, self.baton_script());
        let control = data
            .spend
            .control_block(&(data.leaf.clone(), bitcoin::taproot::LeafVersion::TapScript));
        let control = control.expect("the leaf is the tree's only one");
        let mut witness = Witness::new();
        witness.push([0; 64]);
        witness.push(data.leaf.as_bytes());
        witness.push(control.serialize());
        tx.input[0].witness = witness;
        tx.weight()
    }
}

/// The fee of a size at a rate, as the mempool counts it: by whole vB.
fn fee_of(rate: FeeRate, weight: Weight) -> Amount {
    let rounded = Weight::from_vb(weight.to_vbytes_ceil()).unwrap_or(Weight::MAX);
    rate.fee_wu(rounded).unwrap_or(Amount::MAX_MONEY)
}

/// Splits a payload into frames.
fn frames(payload: &[u8]) -> Result<Vec<&[u8]>, BuildError> {
    let most = MAX_FRAME * usize::from(MAX_FRAMES);
    if payload.is_empty() || payload.len() > most {
        return Err(BuildError::Payload {
            most,
            got: payload.len(),
        });
    }
    Ok(payload.chunks(MAX_FRAME).collect())
}

fn unsigned_reveal(spends: OutPoint, back: ScriptBuf) -> Transaction {
    Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: spends,
            script_sig: ScriptBuf::new(),
            sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
            witness: Witness::new(),
        }],
        output: vec![TxOut {
            value: Amount::ZERO,
            script_pubkey: back,
        }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::hashes::Hash;
    use bitsect_vm::derive::bitcoin::L1Transaction;
    use bitsect_vm::derive::frame_of_script;

    /// The most that Bitcoin Core relays (MAX_STANDARD_TX_WEIGHT).
    const STANDARD: u64 = 400_000;

    fn builder() -> Builder {
        let secp = Secp256k1::new();
        Builder::new(Keypair::from_seckey_slice(&secp, &[7; 32]).unwrap())
    }

    /// A commit as far as reveals look at it.
    fn commit(builder: &Builder, payload: &[u8], value: Amount) -> Transaction {
        let null = OutPoint {
            txid: Txid::from_raw_hash(Hash::all_zeros()),
            vout: 3,
        };
        let mut tx = unsigned_reveal(null, builder.baton_script());
        for frame in frames(payload).unwrap() {
            tx.output.push(TxOut {
                value,
                script_pubkey: builder.data_output(frame).script,
            });
        }
        tx
    }

    #[test]
    fn full_reveal_stays_standard_and_weighs_what_was_said() {
        let builder = builder();
        let payload = vec![0xab; MAX_FRAME];
        let commit = commit(&builder, &payload, Amount::from_sat(1_000_000));
        let rate = FeeRate::from_sat_per_vb_u32(2);
        let back = builder.baton_script();
        let reveal = builder
            .reveal(&commit, &payload, 0, &back, rate, Amount::ZERO)
            .unwrap();
        let weight = reveal.tx.weight();
        assert!(weight.to_wu() < STANDARD, "{weight}");
        assert_eq!(weight, builder.reveal_weight(&builder.data_output(&payload)));
        assert_eq!(reveal.fee, Amount::from_sat(2 * weight.to_vbytes_ceil()));
    }

    #[test]
    fn derivation_reads_the_frames_back() {
        let builder = builder();
        let payload: Vec<u8> = (0..MAX_FRAME + 1_000).map(|i| i as u8).collect();
        let commit = commit(&builder, &payload, Amount::from_sat(1_000_000));
        let mut joined = Vec::new();
        for index in 0..Builder::reveal_count(&payload).unwrap() {
            let back = builder.baton_script();
            let reveal = builder
                .reveal(
                    &commit,
                    &payload,
                    index,
                    &back,
                    FeeRate::BROADCAST_MIN,
                    Amount::ZERO,
                )
                .unwrap();
            let bytes = bitcoin::consensus::serialize(&reveal.tx);
            let read = L1Transaction::decode(&bytes).unwrap();
            joined.extend(frame_of_script(read.inputs[0].leaf_script().unwrap()).unwrap());
        }
        assert_eq!(joined, payload);
    }

    #[test]
    fn limits_are_refused() {
        let builder = builder();
        let payload = vec![1; 1_000];
        let commit = commit(&builder, &payload, Amount::from_sat(2_000));
        let back = builder.baton_script();
        let reveal = |rate, least| builder.reveal(&commit, &payload, 0, &back, rate, least);
        let dear = FeeRate::from_sat_per_vb_u32(1_000);
        assert!(matches!(
            reveal(dear, Amount::ZERO),
            Err(BuildError::Headroom { .. })
        ));
        let least = Amount::from_sat(1_671);
        assert!(matches!(
            reveal(FeeRate::ZERO, least),
            Err(BuildError::Headroom { .. })
        ));
        assert_eq!(
            reveal(FeeRate::ZERO, Amount::from_sat(1_670)).unwrap().tx.output[0].value,
            LEAST_BACK
        );
        assert!(matches!(frames(&[]), Err(BuildError::Payload { .. })));
        assert!(frames(&vec![0; MAX_FRAME * usize::from(MAX_FRAMES) + 1]).is_err());
    }
}
