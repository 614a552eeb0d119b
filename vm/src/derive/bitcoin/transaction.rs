//! Bitcoin transactions (BIP-0144 serialisation), borrowed from the block's bytes.

use alloc::vec::Vec;
use alloy_primitives::B256;

use super::reader::{DecodeError, Reader};
use super::sha256d;
use crate::chain::{OutPoint, Txid};

/// A decoded transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct L1Transaction<'a> {
    /// The transaction's id: the hash without witnesses, in internal byte order.
    pub txid: Txid,
    /// The hash with witnesses, in internal byte order.
    pub wtxid: Txid,
    /// Inputs in order.
    pub inputs: Vec<TxIn<'a>>,
    /// Outputs in order.
    pub outputs: Vec<TxOut<'a>>,
    /// Weight units (BIP-0141).
    pub weight: u64,
}

/// An input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxIn<'a> {
    /// The output that it spends.
    pub previous_output: OutPoint,
    /// Its witness, bottom of the stack first.
    pub witness: Vec<&'a [u8]>,
}

/// An output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxOut<'a> {
    /// Sats.
    pub value: u64,
    /// The scriptPubKey.
    pub script: &'a [u8],
}

/// The fewest bytes of an input (outpoint, empty script, sequence) and of an output (value, empty script).
const MIN_INPUT_SIZE: usize = 41;
const MIN_OUTPUT_SIZE: usize = 9;

/// What the output script of a witness commitment begins with (BIP-0141).
const WITNESS_COMMITMENT_PREFIX: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];

impl<'a> L1Transaction<'a> {
    /// Decodes one whole transaction.
    ///
    /// # Errors
    /// Where the bytes are no transaction, or more than one.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let transaction = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(transaction)
    }

    /// Decodes one whole transaction whose ids are known already, so that nothing is hashed: `stripped` is the
    /// preimage of `txid` (the bytes without witnesses), `whole` that of `wtxid`.
    ///
    /// # Errors
    /// Where [`Self::decode`] would not take `whole` or find other ids.
    pub fn decode_known(
        stripped: &[u8],
        whole: &'a [u8],
        txid: Txid,
        wtxid: Txid,
    ) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(whole);
        let parts = Parts::read(&mut reader)?;
        reader.finish()?;
        // Without a witness both ids are the hash of the same bytes.
        if parts.has_witness == (txid == wtxid) || !parts.is_stripped_to(stripped) {
            return Err(DecodeError::Invalid {
                field: "transaction",
                rule: "the bytes with and without witnesses must be one transaction's",
            });
        }
        Ok(parts.into_transaction(txid, wtxid))
    }

    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let parts = Parts::read(reader)?;
        let txid = sha256d(parts.stripped());
        let wtxid = if parts.has_witness {
            sha256d([parts.whole])
        } else {
            txid
        };
        Ok(parts.into_transaction(txid, wtxid))
    }

    /// Gives what a coinbase says of its block's witnesses (BIP-0141); the last matching output counts.
    pub fn witness_commitment(&self) -> Option<B256> {
        let script = self.outputs.iter().rev().find_map(|output| {
            output
                .script
                .strip_prefix(&WITNESS_COMMITMENT_PREFIX)
                .filter(|rest| rest.len() >= 32)
        })?;
        script.first_chunk::<32>().map(|hash| B256::new(*hash))
    }

    /// Whether this is a coinbase: its only input spends the null outpoint.
    pub fn is_coinbase(&self) -> bool {
        let null = OutPoint {
            txid: Txid::ZERO,
            vout: u32::MAX,
        };
        matches!(self.inputs.as_slice(), [input] if input.previous_output == null)
    }
}

/// A transaction taken apart, before anything is hashed.
pub(crate) struct Parts<'a> {
    version: &'a [u8],
    /// Inputs and outputs, without marker and flag.
    body: &'a [u8],
    lock_time: &'a [u8],
    whole: &'a [u8],
    has_witness: bool,
    inputs: Vec<TxIn<'a>>,
    outputs: Vec<TxOut<'a>>,
}

impl<'a> Parts<'a> {
    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let start = *reader;
        let version = reader.bytes(4, "version")?;
        let mut body_start = *reader;
        let has_witness = matches!(reader.array::<2>("marker and flag"), Ok([0, 1]));
        if has_witness {
            body_start = *reader;
        } else {
            *reader = body_start;
        }
        let mut inputs = read_inputs(reader)?;
        let outputs = read_outputs(reader)?;
        let body = reader.since(&body_start);
        if has_witness {
            for input in &mut inputs {
                input.witness = read_witness(reader)?;
            }
            if inputs.iter().all(|input| input.witness.is_empty()) {
                return Err(DecodeError::Invalid {
                    field: "witness",
                    rule: "flagged, but every one is empty",
                });
            }
        }
        let lock_time = reader.bytes(4, "lock time")?;
        let whole = reader.since(&start);
        Ok(Self {
            version,
            body,
            lock_time,
            whole,
            has_witness,
            inputs,
            outputs,
        })
    }

    /// The bytes without witnesses, in three parts.
    pub(crate) const fn stripped(&self) -> [&'a [u8]; 3] {
        [self.version, self.body, self.lock_time]
    }

    /// Whether it has witnesses.
    #[cfg(feature = "std")]
    pub(crate) const fn has_witness(&self) -> bool {
        self.has_witness
    }

    /// All bytes.
    #[cfg(feature = "std")]
    pub(crate) const fn whole(&self) -> &'a [u8] {
        self.whole
    }

    fn is_stripped_to(&self, stripped: &[u8]) -> bool {
        let mut rest = stripped;
        for part in self.stripped() {
            match rest.strip_prefix(part) {
                Some(behind) => rest = behind,
                None => return false,
            }
        }
        rest.is_empty()
    }

    fn into_transaction(self, txid: Txid, wtxid: Txid) -> L1Transaction<'a> {
        let stripped = self.body.len().saturating_add(8);
        L1Transaction {
            txid,
            wtxid,
            inputs: self.inputs,
            outputs: self.outputs,
            // BIP-0141: three times the stripped size plus the whole size.
            weight: (stripped as u64)
                .saturating_mul(3)
                .saturating_add(self.whole.len() as u64),
        }
    }
}

impl<'a> TxIn<'a> {
    /// Gives the witness without its annex (BIP-0341).
    pub fn witness_without_annex(&self) -> &[&'a [u8]] {
        match self.witness.as_slice() {
            [rest @ .., last] if !rest.is_empty() && last.first() == Some(&0x50) => rest,
            whole => whole,
        }
    }

    /// Gives the leaf script of a taproot script-path spend (BIP-0341).
    pub fn leaf_script(&self) -> Option<&'a [u8]> {
        match self.witness_without_annex() {
            [.., script, control] if control.len() >= 33 => Some(script),
            _ => None,
        }
    }

    /// Whether the witness has the shape of a taproot key-path spend (BIP-0341).
    pub fn is_key_spend(&self) -> bool {
        matches!(self.witness_without_annex(), [signature] if matches!(signature.len(), 64 | 65))
    }
}

fn read_inputs<'a>(reader: &mut Reader<'a>) -> Result<Vec<TxIn<'a>>, DecodeError> {
    let count = reader.count(MIN_INPUT_SIZE, "input count")?;
    if count == 0 {
        // Bitcoin Core takes the count for BIP-0144's marker and the byte behind it for flags that it does not know.
        return Err(DecodeError::Invalid {
            field: "input count",
            rule: "a transaction has at least one",
        });
    }
    let mut inputs = Vec::with_capacity(count);
    for _ in 0..count {
        let txid = reader.hash("previous transaction")?;
        let vout = reader.u32("previous output index")?;
        reader.sized_bytes("script")?;
        reader.bytes(4, "sequence")?;
        inputs.push(TxIn {
            previous_output: OutPoint { txid, vout },
            witness: Vec::new(),
        });
    }
    Ok(inputs)
}

fn read_outputs<'a>(reader: &mut Reader<'a>) -> Result<Vec<TxOut<'a>>, DecodeError> {
    let count = reader.count(MIN_OUTPUT_SIZE, "output count")?;
    let mut outputs = Vec::with_capacity(count);
    for _ in 0..count {
        outputs.push(TxOut {
            value: reader.u64("value")?,
            script: reader.sized_bytes("script")?,
        });
    }
    Ok(outputs)
}

fn read_witness<'a>(reader: &mut Reader<'a>) -> Result<Vec<&'a [u8]>, DecodeError> {
    let count = reader.count(1, "witness count")?;
    let mut items = Vec::with_capacity(count);
    for _ in 0..count {
        items.push(reader.sized_bytes("witness item")?);
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::consensus::{deserialize, serialize};
    use bitcoin::hashes::Hash;
    use proptest::prelude::*;

    fn outpoint() -> impl Strategy<Value = bitcoin::OutPoint> {
        (any::<[u8; 32]>(), any::<u32>()).prop_map(|(id, vout)| bitcoin::OutPoint {
            txid: bitcoin::Txid::from_byte_array(id),
            vout,
        })
    }

    fn script() -> impl Strategy<Value = bitcoin::ScriptBuf> {
        proptest::collection::vec(any::<u8>(), 0..300).prop_map(bitcoin::ScriptBuf::from_bytes)
    }

    fn transaction() -> impl Strategy<Value = bitcoin::Transaction> {
        let witness = proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 0..4);
        let input = (outpoint(), script(), any::<u32>(), witness).prop_map(
            |(previous_output, script_sig, sequence, witness)| {
                let witness = bitcoin::Witness::from_slice(&witness);
                bitcoin::TxIn {
                    previous_output,
                    script_sig,
                    sequence: bitcoin::Sequence(sequence),
                    witness,
                }
            },
        );
        let output = (any::<u32>(), script()).prop_map(|(value, script_pubkey)| bitcoin::TxOut {
            value: bitcoin::Amount::from_sat(value.into()),
            script_pubkey,
        });
        (
            proptest::collection::vec(input, 1..5),
            proptest::collection::vec(output, 0..5),
            any::<u32>(),
            any::<i32>(),
        )
            .prop_map(|(input, output, lock, version)| bitcoin::Transaction {
                version: bitcoin::transaction::Version(version),
                lock_time: bitcoin::absolute::LockTime::from_consensus(lock),
                input,
                output,
            })
    }

    #[test]
    fn a_transaction_has_an_input() {
        // Version, no input, two outputs of which the first byte is no known flag, lock time.
        let mut bytes = vec![2, 0, 0, 0, 0, 2];
        bytes.extend([0; 18]);
        bytes.extend([0; 4]);
        assert!(deserialize::<bitcoin::Transaction>(&bytes).is_err());
        assert!(L1Transaction::decode(&bytes).is_err());
    }

    proptest! {
        #[test]
        fn agrees_with_rust_bitcoin(theirs in transaction()) {
            let bytes = serialize(&theirs);
            let ours = L1Transaction::decode(&bytes).unwrap();
            prop_assert_eq!(ours.txid.0, theirs.compute_txid().to_byte_array());
            prop_assert_eq!(ours.wtxid.0, theirs.compute_wtxid().to_byte_array());
            prop_assert_eq!(ours.weight, theirs.weight().to_wu());
            prop_assert_eq!(ours.inputs.len(), theirs.input.len());
            for (ours, theirs) in ours.inputs.iter().zip(&theirs.input) {
                prop_assert_eq!(ours.previous_output.txid.0, theirs.previous_output.txid.to_byte_array());
                prop_assert_eq!(ours.witness.clone(), theirs.witness.iter().collect::<Vec<_>>());
            }
            for (ours, theirs) in ours.outputs.iter().zip(&theirs.output) {
                prop_assert_eq!(ours.value, theirs.value.to_sat());
                prop_assert_eq!(ours.script, theirs.script_pubkey.as_bytes());
            }
        }

        #[test]
        fn accepts_only_what_rust_bitcoin_accepts(theirs in transaction(), at in any::<usize>(), to in any::<u8>()) {
            let mut bytes = serialize(&theirs);
            let at = at % bytes.len();
            bytes[at] = to;
            if L1Transaction::decode(&bytes).is_ok() {
                prop_assert!(deserialize::<bitcoin::Transaction>(&bytes).is_ok());
            }
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = L1Transaction::decode(&bytes);
        }
    }
}
