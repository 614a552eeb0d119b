//! Records what one unit reads, so that the machine's host can answer its oracle calls.

mod messages;
#[cfg(test)]
mod tests;

use core::cell::RefCell;
use std::collections::BTreeMap;

use alloy_primitives::B256;
use alloy_rlp::{Decodable, RlpDecodable, RlpEncodable};

use crate::chain::bridge::OutputId;
use crate::chain::{BlobRef, Blobs, BlockHash, ChainParams, ChainState, commitment_of};
use crate::check::{CheckError, check_advice, checked_state, verify_assignment};
use crate::state::{Node, NodePath, NodeReader, TreeError, TreeState, join};
use crate::step::{BlockSource, StepError, UnitOutcome, step};

pub use messages::hashed_messages;

/// What the file of a record begins with: a name and the format's version.
const MAGIC: [u8; 16] = *b"bitsect unit 1\0\0";
/// Bytes of the BLAKE3 hash that ends the file.
const CHECKSUM_SIZE: usize = 32;
const NODE_SIZE: usize = 64;

/// Everything that one unit reads, and what comes of it. It does not depend on who replays it: the machine's
/// program holds the chain's parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitRecord {
    /// `S_k`.
    pub before: B256,
    /// The hash of the L1 block that the unit reads; zero where it reads none.
    pub advice: B256,
    /// `S_{k+1}`.
    pub after: B256,
    /// The encoded chain state that `before` commits to.
    pub state: Vec<u8>,
    /// The state tree's nodes that were read, ascending by hash.
    pub nodes: Vec<Node>,
    /// The blobs that were read, ascending by root.
    pub blobs: Vec<Vec<u8>>,
    /// The L1 block in network format.
    pub block: Option<Vec<u8>>,
}

/// A record in its file.
#[derive(RlpEncodable, RlpDecodable)]
struct EncodedRecord {
    before: B256,
    advice: B256,
    after: B256,
    state: alloy_primitives::Bytes,
    nodes: alloy_primitives::Bytes,
    blobs: Vec<alloy_primitives::Bytes>,
    block: Vec<alloy_primitives::Bytes>,
}

/// Why bytes are no record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The file is of another kind or version.
    #[error("not a unit record of version 1")]
    Magic,
    /// The file is damaged.
    #[error("checksum does not match")]
    Checksum,
    /// A field is malformed.
    #[error("malformed record: {0}")]
    Field(#[from] alloy_rlp::Error),
}

impl UnitRecord {
    /// Gives the machine's input leaf: `S_k`, then the advice.
    pub fn input(&self) -> Node {
        join(self.before, self.advice)
    }

    /// Encodes the record for a file.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        let fields = EncodedRecord {
            before: self.before,
            advice: self.advice,
            after: self.after,
            state: self.state.clone().into(),
            nodes: self.nodes.as_flattened().to_vec().into(),
            blobs: self.blobs.iter().cloned().map(Into::into).collect(),
            block: self.block.iter().cloned().map(Into::into).collect(),
        };
        alloy_rlp::Encodable::encode(&fields, &mut bytes);
        let checksum = blake3::hash(&bytes);
        bytes.extend_from_slice(checksum.as_bytes());
        bytes
    }

    /// Decodes a file. What it allocates is in proportion to the file.
    ///
    /// # Errors
    /// Where the bytes are not exactly one record's encoding.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let (content, checksum) = bytes
            .split_last_chunk::<CHECKSUM_SIZE>()
            .ok_or(RecordError::Magic)?;
        let mut rest = content.strip_prefix(&MAGIC).ok_or(RecordError::Magic)?;
        if blake3::hash(content) != *checksum {
            return Err(RecordError::Checksum);
        }
        let fields = EncodedRecord::decode(&mut rest)?;
        let (nodes, odd) = fields.nodes.as_chunks::<NODE_SIZE>();
        if !rest.is_empty() || !odd.is_empty() || fields.block.len() > 1 {
            return Err(alloy_rlp::Error::UnexpectedLength.into());
        }
        Ok(Self {
            before: fields.before,
            advice: fields.advice,
            after: fields.after,
            state: fields.state.into(),
            nodes: nodes.to_vec(),
            blobs: fields.blobs.into_iter().map(Into::into).collect(),
            block: fields.block.into_iter().next().map(Into::into),
        })
    }
}

/// Passes on what it reads, and keeps it.
struct Recorder<'a, R> {
    inner: &'a R,
    nodes: RefCell<BTreeMap<B256, Node>>,
}

impl<R: NodeReader> NodeReader for Recorder<'_, R> {
    type Error = R::Error;

    fn node(&self, path: &NodePath, hash: &B256) -> Result<Node, Self::Error> {
        let node = self.inner.node(path, hash)?;
        self.nodes.borrow_mut().insert(*hash, node);
        Ok(node)
    }
}

struct BlobRecorder<'a, B> {
    inner: &'a mut B,
    read: RefCell<BTreeMap<B256, Vec<u8>>>,
}

impl<B: Blobs> Blobs for BlobRecorder<'_, B> {
    type Error = B::Error;

    fn get(&self, blob: &BlobRef) -> Result<Vec<u8>, Self::Error> {
        let bytes = self.inner.get(blob)?;
        self.read.borrow_mut().insert(blob.root, bytes.clone());
        Ok(bytes)
    }

    fn put(&mut self, blob: BlobRef, bytes: Vec<u8>) -> Result<(), Self::Error> {
        self.inner.put(blob, bytes)
    }
}

struct BlockRecorder<'a, L> {
    inner: &'a mut L,
    read: Option<Vec<u8>>,
}

impl<L: BlockSource> BlockSource for BlockRecorder<'_, L> {
    type Error = L::Error;

    fn block(&mut self, hash: &BlockHash) -> Result<Vec<u8>, Self::Error> {
        let bytes = self.inner.block(hash)?;
        self.read = Some(bytes.clone());
        Ok(bytes)
    }
}

/// Does one unit as [`step`] does, and records what it reads. State is read out of `tree`, the state tree after
/// the chain's tip.
///
/// # Errors
/// Those of [`step`]; `chain` is unchanged then.
pub fn record_unit<B, N, L>(
    params: &ChainParams,
    chain: &mut ChainState,
    advice: Option<&BlockHash>,
    source: &mut L,
    blobs: &mut B,
    tree: &N,
) -> Result<(UnitOutcome, UnitRecord), StepError<B::Error, TreeError<N::Error>, N::Error>>
where
    B: Blobs,
    N: NodeReader,
    N::Error: Send + Sync,
    L: BlockSource,
{
    let state = chain.encode();
    let tree = Recorder {
        inner: tree,
        nodes: RefCell::default(),
    };
    let mut blobs = BlobRecorder {
        inner: blobs,
        read: RefCell::default(),
    };
    let mut source = BlockRecorder {
        inner: source,
        read: None,
    };
    let reader = TreeState::new(chain.tip.header.state_root, &tree);
    let outcome = step(params, chain, advice, &mut source, &mut blobs, reader, &tree)?;
    let record = UnitRecord {
        before: commitment_of(&state),
        advice: advice
            .filter(|_| source.read.is_some())
            .copied()
            .unwrap_or_default(),
        after: chain.commitment(),
        state,
        nodes: tree.nodes.into_inner().into_values().collect(),
        blobs: blobs.read.into_inner().into_values().collect(),
        block: source.read,
    };
    Ok((outcome, record))
}

/// Checks that a chain state has an assignment to a ticket, and records what that reads. `tree` is the state tree after the
/// chain's tip.
///
/// # Errors
/// Those of [`verify_assignment`].
pub fn record_check<N: NodeReader>(
    params: &ChainParams,
    chain: &ChainState,
    ticket: &OutputId,
    tree: &N,
) -> Result<UnitRecord, CheckError<N::Error>> {
    let tree = Recorder {
        inner: tree,
        nodes: RefCell::default(),
    };
    verify_assignment(params, chain, ticket, &tree)?;
    let state = chain.encode();
    let (before, advice) = (commitment_of(&state), check_advice(ticket));
    Ok(UnitRecord {
        before,
        advice,
        after: checked_state(&before, &advice),
        state,
        nodes: tree.nodes.into_inner().into_values().collect(),
        blobs: Vec::new(),
        block: None,
    })
}
