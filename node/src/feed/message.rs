//! One fresh block as it goes over the wire (docs/feed.md).
//!
//! `version || signature || rlp([chain id, header, [transaction, ...]])`; signed is the version and the RLP.

use alloy_rlp::{Decodable, Encodable, RlpDecodable, RlpEncodable};
use bitcoin::hashes::{Hash, HashEngine, sha256};
use bitcoin::key::{Keypair, Secp256k1, XOnlyPublicKey};
use bitcoin::secp256k1::Message as Digest;
use bitcoin::secp256k1::schnorr::Signature;
use bitsect_vm::chain::{Header, Transaction};

use crate::engine::FreshBlock;
use crate::run::MAX_BLOCK_BYTES;

/// The format's version: a message's first byte.
pub const VERSION: u8 = 1;
/// Bytes of a message at most: a full block's transactions, a quarter more for their RLP headers and the block's own.
pub const MAX_MESSAGE: usize = 2_500_000;
const _: () = assert!(MAX_MESSAGE >= MAX_BLOCK_BYTES + MAX_BLOCK_BYTES / 4);
/// Bytes of a BIP-340 signature.
const SIGNATURE: usize = 64;
/// Where the RLP begins.
const BODY: usize = 1 + SIGNATURE;
/// The tag of the hash that is signed (BIP-340), which no Bitcoin signature has.
const TAG: &[u8] = b"bitsect/feed/block";

/// A fresh block with the sequencer's signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The EIP-155 chain id.
    pub chain_id: u64,
    /// The block.
    pub block: FreshBlock,
    /// The signature, by the key of [`super::signing_key`].
    pub signature: Signature,
}

/// Why bytes are no message, or not the sequencer's.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Too few or too many bytes.
    #[error("message: expected {least} to {most} bytes, got {got}")]
    Size {
        /// The fewest.
        least: usize,
        /// The most.
        most: usize,
        /// How many there are.
        got: usize,
    },
    /// Another version of the format.
    #[error("message version: expected {VERSION}, got {got}")]
    Version {
        /// The first byte.
        got: u8,
    },
    /// The signature is not the sequencer's.
    #[error("the signature is not by the key {key}")]
    Signature {
        /// The sequencer's key.
        key: XOnlyPublicKey,
    },
    /// The RLP does not decode.
    #[error("message: {0}")]
    Rlp(#[from] alloy_rlp::Error),
    /// The same could be written in another way, or bytes follow.
    #[error("message: the encoding is not the canonical one")]
    NotCanonical,
    /// A transaction that no sequencer may put into a block.
    #[error("transaction {index} of type {kind:#04x} is not one that can be sequenced")]
    NotSequenced {
        /// Its index.
        index: usize,
        /// Its type (EIP-2718).
        kind: u8,
    },
    /// A block of another chain.
    #[error("chain id: expected {expected}, got {got}")]
    Chain {
        /// This chain's.
        expected: u64,
        /// The message's.
        got: u64,
    },
}

#[derive(RlpDecodable)]
struct Body {
    chain_id: u64,
    header: Header,
    sequenced: Vec<Transaction>,
}

#[derive(RlpEncodable)]
struct BodyRef<'a> {
    chain_id: u64,
    header: &'a Header,
    sequenced: &'a Vec<Transaction>,
}

impl Message {
    /// Signs a block.
    pub fn sign(chain_id: u64, block: FreshBlock, key: &Keypair) -> Self {
        let digest = digest(VERSION, &body(chain_id, &block));
        // Without auxiliary randomness the same block has the same message, whichever connection asks for it.
        let signature = Secp256k1::new().sign_schnorr_no_aux_rand(&digest, key);
        Self {
            chain_id,
            block,
            signature,
        }
    }

    /// Encodes the message.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(self.signature.as_ref());
        bytes.extend_from_slice(&body(self.chain_id, &self.block));
        bytes
    }

    /// Decodes a message; whose it is, [`Self::open`] checks.
    ///
    /// # Errors
    /// [`MessageError`]; anything that [`Self::encode`] would not give is refused.
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        let (signature, rlp) = split(bytes)?;
        let decoded = Body::decode(&mut &*rlp)?;
        for (index, transaction) in decoded.sequenced.iter().enumerate() {
            if matches!(transaction, Transaction::Deposit(_) | Transaction::PostExec(_)) {
                let kind = transaction.tx_type().into();
                return Err(MessageError::NotSequenced { index, kind });
            }
        }
        let message = Self {
            chain_id: decoded.chain_id,
            block: FreshBlock {
                header: decoded.header,
                sequenced: decoded.sequenced,
            },
            signature,
        };
        if body(message.chain_id, &message.block) != rlp {
            return Err(MessageError::NotCanonical);
        }
        Ok(message)
    }

    /// Checks the signature first, then decodes, and gives the block of this chain.
    ///
    /// # Errors
    /// [`MessageError`].
    pub fn open(bytes: &[u8], chain_id: u64, key: &XOnlyPublicKey) -> Result<FreshBlock, MessageError> {
        let (signature, rlp) = split(bytes)?;
        Secp256k1::verification_only()
            .verify_schnorr(&signature, &digest(VERSION, rlp), key)
            .map_err(|_| MessageError::Signature { key: *key })?;
        let message = Self::decode(bytes)?;
        if message.chain_id != chain_id {
            return Err(MessageError::Chain {
                expected: chain_id,
                got: message.chain_id,
            });
        }
        Ok(message.block)
    }
}

/// Checks size and version, and separates signature and RLP.
fn split(bytes: &[u8]) -> Result<(Signature, &[u8]), MessageError> {
    let size = MessageError::Size {
        least: BODY + 1,
        most: MAX_MESSAGE,
        got: bytes.len(),
    };
    if bytes.len() > MAX_MESSAGE {
        return Err(size);
    }
    let (Some((&version, _)), Some(signature), Some(rlp)) =
        (bytes.split_first(), bytes.get(1..BODY), bytes.get(BODY..))
    else {
        return Err(size);
    };
    if version != VERSION {
        return Err(MessageError::Version { got: version });
    }
    let signature = Signature::from_slice(signature).map_err(|_| size)?;
    Ok((signature, rlp))
}

fn body(chain_id: u64, block: &FreshBlock) -> Vec<u8> {
    let FreshBlock { header, sequenced } = block;
    let body = BodyRef {
        chain_id,
        header,
        sequenced,
    };
    let mut bytes = Vec::with_capacity(body.length());
    body.encode(&mut bytes);
    bytes
}

/// The tagged hash that is signed (BIP-340).
fn digest(version: u8, rlp: &[u8]) -> Digest {
    let tag = sha256::Hash::hash(TAG);
    let mut engine = sha256::Hash::engine();
    engine.input(tag.as_ref());
    engine.input(tag.as_ref());
    engine.input(&[version]);
    engine.input(rlp);
    Digest::from_digest(sha256::Hash::from_engine(engine).to_byte_array())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_consensus::{SignableTransaction, TxEip1559, TxEip2930, TxEip7702, TxLegacy};
    use alloy_primitives::{Address, B256, Bytes, Signature as EthSignature, TxKind, U256};
    use op_alloy_consensus::TxDeposit;
    use proptest::prelude::*;

    fn key(seed: u8) -> Keypair {
        Keypair::from_seckey_slice(&Secp256k1::new(), &[seed; 32]).unwrap()
    }

    prop_compose! {
        fn transaction()(
            kind in 0..4u8, nonce: u64, gas_limit: u64, fee: u128, value: [u8; 32], to: Option<[u8; 20]>,
            input in prop::collection::vec(any::<u8>(), 0..100), chain_id in 1..u64::from(u32::MAX),
            r in 1..u128::MAX, parity: bool,
        ) -> Transaction {
            let signature = EthSignature::new(U256::from(r), U256::from(7), parity);
            let (value, input) = (U256::from_be_bytes(value), Bytes::from(input));
            let to = to.map_or(TxKind::Create, |to| TxKind::Call(Address::from(to)));
            match kind {
                0 => TxLegacy { chain_id: Some(chain_id), nonce, gas_price: fee, gas_limit, to, value, input }
                    .into_signed(signature).into(),
                1 => TxEip2930 { chain_id, nonce, gas_price: fee, gas_limit, to, value, input, ..Default::default() }
                    .into_signed(signature).into(),
                2 => TxEip1559 { chain_id, nonce, gas_limit, max_fee_per_gas: fee, to, value, input, ..Default::default() }
                    .into_signed(signature).into(),
                _ => TxEip7702 { chain_id, nonce, gas_limit, max_fee_per_gas: fee, value, input, ..Default::default() }
                    .into_signed(signature).into(),
            }
        }
    }

    prop_compose! {
        fn message()(
            number: u64, timestamp: u64, gas_used: u64, base_fee: u64, root: [u8; 32], parent: [u8; 32], chain_id: u64,
            extra in prop::collection::vec(any::<u8>(), 0..40), sequenced in prop::collection::vec(transaction(), 0..5),
        ) -> Message {
            let header = Header {
                parent_hash: B256::from(parent),
                state_root: B256::from(root),
                number,
                timestamp,
                gas_used,
                extra_data: extra.into(),
                base_fee_per_gas: Some(base_fee),
                withdrawals_root: Some(B256::ZERO),
                blob_gas_used: Some(0),
                excess_blob_gas: Some(0),
                parent_beacon_block_root: Some(B256::from(root)),
                requests_hash: Some(B256::ZERO),
                ..Header::default()
            };
            Message::sign(chain_id, FreshBlock { header, sequenced }, &key(1))
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_the_same(message in message()) {
            let bytes = message.encode();
            prop_assert_eq!(Message::decode(&bytes), Ok(message.clone()));
            let opened = Message::open(&bytes, message.chain_id, &key(1).x_only_public_key().0);
            prop_assert_eq!(opened, Ok(message.block.clone()));
            let other = key(2).x_only_public_key().0;
            prop_assert_eq!(
                Message::open(&bytes, message.chain_id, &other),
                Err(MessageError::Signature { key: other })
            );
            prop_assert_eq!(
                Message::open(&bytes, message.chain_id ^ 1, &key(1).x_only_public_key().0),
                Err(MessageError::Chain { expected: message.chain_id ^ 1, got: message.chain_id })
            );
        }

        /// Any change is found by the signature, and decoding what is changed never panics nor gives what would encode
        /// to something else.
        #[test]
        fn damaged_bytes_are_refused(
            message in message(), at: prop::sample::Index, flip in 1..=255u8, cut: prop::sample::Index, more: bool,
        ) {
            let bytes = message.encode();
            let mut changed = bytes.clone();
            changed[at.index(bytes.len())] ^= flip;
            let key = key(1).x_only_public_key().0;
            prop_assert!(Message::open(&changed, message.chain_id, &key).is_err());
            if let Ok(decoded) = Message::decode(&changed) {
                prop_assert_eq!(decoded.encode(), changed);
            }
            prop_assert!(Message::decode(&bytes[..cut.index(bytes.len())]).is_err());
            if more {
                let longer = [&bytes[..], &[flip]].concat();
                prop_assert_eq!(Message::decode(&longer), Err(MessageError::NotCanonical));
            }
        }

        #[test]
        fn noise_never_panics(mut bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            drop(Message::decode(&bytes));
            if let Some(first) = bytes.first_mut() {
                *first = VERSION;
            }
            drop(Message::decode(&bytes));
        }
    }

    #[test]
    fn what_cannot_be_sequenced_is_refused() {
        let deposit = Transaction::from(TxDeposit::default());
        let block = FreshBlock {
            header: Header::default(),
            sequenced: vec![deposit],
        };
        let bytes = Message::sign(1, block, &key(1)).encode();
        let refused = MessageError::NotSequenced { index: 0, kind: 0x7e };
        assert_eq!(Message::decode(&bytes), Err(refused));
    }

    #[test]
    fn size_and_version_come_first() {
        let large = vec![VERSION; MAX_MESSAGE + 1];
        assert!(matches!(Message::decode(&large), Err(MessageError::Size { got, .. }) if got == large.len()));
        assert!(matches!(
            Message::decode(&[]),
            Err(MessageError::Size { got: 0, .. })
        ));
        let other = [2; 100];
        assert_eq!(Message::decode(&other), Err(MessageError::Version { got: 2 }));
    }

    /// The bytes of an empty block of chain 1, so that a change of the format does not go unseen.
    #[test]
    fn the_format_stays() {
        let block = FreshBlock {
            header: Header::default(),
            sequenced: Vec::new(),
        };
        let bytes = Message::sign(1, block, &key(1)).encode();
        let print = sha256::Hash::hash(&bytes).to_string();
        assert_eq!(
            print,
            "8f09b2e934d53d5c9dba14f42d255d56beba982d7e171ac732f3066578b5974b"
        );
    }
}
