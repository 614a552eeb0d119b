//! One unit: from `S_k` to `S_{k+1}`.

use alloc::vec::Vec;
use alloy_primitives::B256;
use bitsect_vm::chain::{BlobRef, Blobs, ChainParams, ChainState, commitment_of, committed_blob};
use bitsect_vm::check::{CheckError, checked_state, checked_ticket, verify_assignment};
use bitsect_vm::derive::{L1UnitError, UnitKind, process_l1_block};
use bitsect_vm::state::{Node, NodePath, NodeReader, TreeError, TreeState};
use bitsect_vm::step::{StepError, step_l2};
use core::convert::Infallible;

use super::block::VerifiedBlock;
use super::message::WalkError;
use super::oracle::Oracle;

/// Why there is no next state. Every one is wrong advice or a fault of ours; the program traps.
#[derive(Debug, thiserror::Error)]
pub enum UnitError {
    /// The input is no commitment to a chain state.
    #[error("no chain state has the commitment {0}")]
    Commitment(B256),
    /// The unit reads no L1 block, and advice was given.
    #[error("the unit reads no l1 block")]
    Advice,
    /// The advice is no block's hash.
    #[error("l1 block: {0}")]
    Walk(#[from] WalkError),
    /// The block is not the next one.
    #[error(transparent)]
    L1(#[from] L1UnitError<Infallible>),
    /// The claim counts on a vault output that its ticket was not spent for.
    #[error(transparent)]
    Check(#[from] CheckError<Infallible>),
    /// The L2 unit cannot be done.
    #[error(transparent)]
    L2(#[from] StepError<Infallible, TreeError<Infallible>, Infallible>),
}

/// Blobs, and nodes of the state tree.
struct Readers<'a, O>(&'a O);

impl<O: Oracle> Blobs for Readers<'_, O> {
    type Error = Infallible;

    fn get(&self, blob: &BlobRef) -> Result<Vec<u8>, Infallible> {
        Ok(self.0.blob(blob))
    }

    /// A blob is found by its root, by whoever has it: nothing is kept.
    fn put(&mut self, _: BlobRef, _: Vec<u8>) -> Result<(), Infallible> {
        Ok(())
    }
}

impl<O: Oracle> NodeReader for Readers<'_, O> {
    type Error = Infallible;

    fn node(&self, _: &NodePath, hash: &B256) -> Result<Node, Infallible> {
        Ok(self.0.node(hash))
    }
}

/// Does the unit that follows the chain state whose commitment is `before`. Gives the commitment of the next.
/// `advice` is the hash of the next L1 block for a unit that reads one, the check's for a check, else zero.
///
/// # Errors
/// When the advice is no next block, or the check does not hold.
pub fn run<O: Oracle>(
    oracle: &O,
    params: &ChainParams,
    before: &B256,
    advice: &B256,
) -> Result<B256, UnitError> {
    let mut chain = read_state(oracle, before).ok_or(UnitError::Commitment(*before))?;
    let mut readers = Readers(oracle);
    if let Some(ticket) = checked_ticket(advice) {
        verify_assignment(params, &chain, &ticket, &readers)?;
        return Ok(checked_state(before, advice));
    }
    if chain.next_unit(params) == UnitKind::L1 {
        // Before any of the block is asked for: nobody else could compute what follows from a block that one has
        // made up and keeps to oneself.
        let hash = chain.l1.verify_work(params.derive.network, advice);
        hash.map_err(L1UnitError::from)?;
        let block = VerifiedBlock::read(oracle, advice)?;
        let block = block.decode().map_err(WalkError::Block)?;
        process_l1_block(params, &mut chain, &block, &mut readers)?;
    } else if *advice != B256::ZERO {
        return Err(UnitError::Advice);
    } else {
        let tree = Readers(oracle);
        let state = TreeState::new(chain.tip.header.state_root, &tree);
        step_l2(params, &mut chain, &readers, state, &tree)?;
    }
    Ok(chain.commitment())
}

/// Reads the chain state. Its commitment says which bytes it has, padding included.
fn read_state<O: Oracle>(oracle: &O, commitment: &B256) -> Option<ChainState> {
    let blob = committed_blob(&oracle.node(commitment))?;
    let encoded = oracle.blob(&blob);
    (commitment_of(&encoded) == *commitment).then_some(())?;
    ChainState::decode(&encoded).ok()
}
