//! Bitcoin transactions (BIP-0144 serialisation), borrowed from the block's bytes.

use alloc::vec::Vec;

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

    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
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
        let txid = sha256d([version, body, lock_time]);
        let stripped = body.len().saturating_add(8);
        Ok(Self {
            txid,
            wtxid: if has_witness { sha256d([whole]) } else { txid },
            inputs,
            outputs,
            // BIP-0141: three times the stripped size plus the whole size.
            weight: (stripped as u64)
                .saturating_mul(3)
                .saturating_add(whole.len() as u64),
        })
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
