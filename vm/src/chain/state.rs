//! Chain state: everything that derivation knows after some units, and its 32-byte commitment `S_k`.

use alloc::vec::Vec;
use alloy_primitives::{Address, B256};
use alloy_rlp::{Decodable, Encodable, RlpDecodable, RlpEncodable};

use super::blob::{BlobRef, blob_root};
use super::{Header, L1Info, OutPoint, Txid};
use crate::derive::L1Cursor;
use crate::state::{Node, hash_node};

/// What the commitment's first node begins with, so that it is no node of anything else.
const COMMITMENT_TAG: [u8; 28] = *b"bitsect chain state 1\0\0\0\0\0\0\0";

/// The state of derivation between two units.
#[derive(Clone, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
#[rlp(trailing)]
pub struct ChainState {
    /// The last L1 block read.
    pub l1: L1Cursor,
    /// The output whose owner may sequence.
    pub baton: OutPoint,
    /// Committed batches that have not taken effect, in baton order.
    pub batches: Vec<CommittedBatch>,
    /// L1 blocks read but not yet used as origins, ascending by height.
    pub origins: Vec<Origin>,
    /// Deposit outputs that were not accepted yet, ascending by outpoint.
    pub deposits: Vec<OpenDeposit>,
    /// Where the L2 chain stands.
    pub tip: L2Tip,
    /// The batch whose blocks are being executed.
    pub open: Option<OpenBatch>,
}

/// Where the L2 chain stands after a block.
#[derive(Clone, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub struct L2Tip {
    /// The block's header.
    pub header: Header,
    /// Its origin's height; the origin's hash is in the header.
    pub origin_height: u32,
    /// Its origin's median time past, seconds since 1970.
    pub origin_median_time: u32,
    /// Deposits and forced transactions of origins up to this one that no block has taken yet.
    pub inbox: Vec<InboxCursor>,
}

/// An L1 block that may become an origin.
#[derive(Clone, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub struct Origin {
    /// What `BitcoinBlocks` will record of it.
    pub info: L1Info,
    /// How many deposits and forced transactions it holds.
    pub item_count: u32,
    /// Those items, encoded; the empty blob's name when there are none.
    pub items: BlobRef,
}

/// A position in one origin's deposits and forced transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub struct InboxCursor {
    /// The origin's items, encoded.
    pub items: BlobRef,
    /// The first item that no block has taken.
    pub next: u32,
}

/// A batch whose commit is in Bitcoin.
#[derive(Clone, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub struct CommittedBatch {
    /// The commit transaction.
    pub commit: Txid,
    /// The height of the L1 block that holds it.
    pub height: u32,
    /// Per data output: the frame that its reveal carried, or what stands for none.
    pub frames: Vec<Frame>,
}

/// What is known of one data output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub struct Frame {
    /// 0: not revealed; 1: revealed; 2: spent without a valid frame.
    status: u8,
    blob: BlobRef,
}

impl Frame {
    /// A data output that is unspent.
    pub const HIDDEN: Self = Self {
        status: 0,
        blob: BlobRef {
            root: B256::ZERO,
            len: 0,
        },
    };
    /// A data output that was spent without a valid frame.
    pub const LOST: Self = Self {
        status: 2,
        blob: BlobRef {
            root: B256::ZERO,
            len: 0,
        },
    };

    /// A data output whose reveal carried this frame.
    pub const fn revealed(blob: BlobRef) -> Self {
        Self { status: 1, blob }
    }

    /// The frame, when it was revealed.
    pub fn blob(&self) -> Option<BlobRef> {
        (self.status == 1).then_some(self.blob)
    }
}

/// A complete batch whose blocks are being executed.
#[derive(Clone, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub struct OpenBatch {
    /// The commit transaction.
    pub commit: Txid,
    /// The frames whose bytes, joined, are the payload.
    pub frames: Vec<BlobRef>,
    /// The index of the next block in the batch.
    pub next: u32,
}

/// A deposit output that the committee has not accepted yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub struct OpenDeposit {
    /// The output.
    pub outpoint: OutPoint,
    /// Who gets the money on L2.
    pub to: Address,
    /// The call that it makes; the empty blob's name where it makes none.
    pub call: BlobRef,
    /// The height of the L1 block that holds it.
    pub height: u32,
}

impl ChainState {
    /// Encodes the state: RLP, of which each state has exactly one.
    pub fn encode(&self) -> Vec<u8> {
        alloy_rlp::encode(self)
    }

    /// Decodes a state.
    ///
    /// # Errors
    /// Where the bytes are not exactly one state's encoding.
    pub fn decode(mut bytes: &[u8]) -> Result<Self, alloy_rlp::Error> {
        let len = bytes.len();
        let state = <Self as Decodable>::decode(&mut bytes)?;
        // The decoder also takes an empty string for an open batch that is absent: one byte more.
        if bytes.is_empty() && state.length() == len {
            Ok(state)
        } else {
            Err(alloy_rlp::Error::UnexpectedLength)
        }
    }

    /// Computes the commitment `S_k`: the BLAKE3 hash of one 64-byte node of tag, length and blob root.
    pub fn commitment(&self) -> B256 {
        commitment_of(&self.encode())
    }
}

/// Computes the commitment of an encoded chain state.
pub fn commitment_of(encoded: &[u8]) -> B256 {
    hash_node(&commitment_node(encoded))
}

/// Forms the node whose hash is the commitment of an encoded chain state.
pub fn commitment_node(encoded: &[u8]) -> Node {
    let len = u32::try_from(encoded.len()).unwrap_or(u32::MAX);
    let mut node: Node = [0; 64];
    let fields = COMMITMENT_TAG.into_iter().chain(len.to_le_bytes());
    let fields = fields.chain(blob_root(encoded).0);
    node.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
    node
}

/// Names the blob that holds the encoded chain state, out of [`commitment_node`]; `None` for any other node.
pub fn committed_blob(node: &Node) -> Option<BlobRef> {
    let (len, root) = node.strip_prefix(&COMMITMENT_TAG)?.split_first_chunk::<4>()?;
    let root = B256::try_from(root).ok()?;
    let len = u32::from_le_bytes(*len);
    Some(BlobRef { root, len })
}
