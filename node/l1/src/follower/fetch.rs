//! Getting a block's bytes, and not believing them.

use bitcoin::{Block, BlockHash};

use super::{ChainBlock, FollowError};
use crate::{
    BlockRef,
    rpc::{Client, RpcError, code},
    store::BlockStore,
};

/// Fetches a block: from the store when it is there, else from Core, and then into the store.
///
/// # Errors
/// [`FollowError`] when neither has it or the bytes are not that block.
pub async fn fetch_block(
    client: &Client,
    store: Option<&BlockStore>,
    at: BlockRef,
) -> Result<ChainBlock, FollowError> {
    let failed = |e: crate::store::StoreError| FollowError::Store {
        reason: e.to_string(),
    };
    if let Some(bytes) = store
        .map(|s| s.get(&at.hash))
        .transpose()
        .map_err(failed)?
        .flatten()
    {
        match decode(at.hash, &bytes) {
            Ok(block) => {
                return Ok(ChainBlock {
                    height: at.height,
                    hash: at.hash,
                    bytes,
                    block,
                });
            }
            // The disk lies; Core has the block too, and it is written anew below.
            Err(error) => tracing::warn!(%error, "the block store holds a damaged block"),
        }
    }
    let bytes = match client.get_block_bytes(&at.hash).await {
        Ok(bytes) => bytes,
        Err(error) => return Err(missing(error, at)),
    };
    let block = decode(at.hash, &bytes)?;
    if let Some(store) = store {
        store.put(at, &bytes).map_err(failed)?;
    }
    Ok(ChainBlock {
        height: at.height,
        hash: at.hash,
        bytes,
        block,
    })
}

/// Runs the fetches at the same time; results come in the order of the fetches.
pub(super) async fn all<F>(fetches: impl Iterator<Item = F>) -> Vec<F::Output>
where
    F: Future,
{
    futures::future::join_all(fetches).await
}

fn missing(error: RpcError, block: BlockRef) -> FollowError {
    match error.rpc() {
        Some((code::MISC, message)) if message.contains("pruned") => FollowError::Pruned { block },
        Some((code::MISC, message)) => FollowError::NotDownloaded {
            block,
            message: message.into(),
        },
        _ => FollowError::Rpc(error),
    }
}

/// Decodes a block and checks that the bytes are all of it: header, transactions, witnesses.
fn decode(hash: BlockHash, bytes: &[u8]) -> Result<Block, FollowError> {
    let bad = |reason| FollowError::BadBlock { hash, reason };
    let block: Block = bitcoin::consensus::deserialize(bytes).map_err(|_| bad("they do not decode"))?;
    if block.block_hash() != hash {
        return Err(bad("the header has another hash"));
    }
    if !block.check_merkle_root() {
        return Err(bad("the transactions are not those of the header"));
    }
    if !block.check_witness_commitment() {
        return Err(bad("the witnesses are not those of the coinbase"));
    }
    Ok(block)
}
