//! What a Bitcoin block's hash is a hash of.

use alloy_primitives::B256;

use crate::derive::bitcoin::{DecodeError, L1Block, L1Header, Parts, Reader, sha256d};

/// Lists the messages between a Bitcoin block's hash and its transactions' bytes, each of which is hashed twice:
/// header, transactions without and with witnesses, nodes of the merkle tree and of the witness tree, and the
/// witness commitment.
///
/// # Errors
/// Where the bytes are no block that its header commits to.
pub fn hashed_messages(block: &[u8]) -> Result<Vec<Vec<u8>>, DecodeError> {
    let decoded = L1Block::decode(block)?;
    let mut messages = Vec::new();
    let mut reader = Reader::new(block);
    messages.push(reader.bytes(L1Header::SIZE, "header")?.to_vec());
    for _ in 0..reader.count(1, "transaction count")? {
        let parts = Parts::read(&mut reader)?;
        messages.push(parts.stripped().concat());
        if parts.has_witness() {
            messages.push(parts.whole().to_vec());
        }
    }
    let transactions = &decoded.transactions;
    let txids = transactions.iter().map(|transaction| transaction.txid).collect();
    tree(txids, &mut messages);
    let coinbase = transactions.first();
    let input = coinbase.and_then(|coinbase| coinbase.inputs.first());
    if let Some(reserved) = input.and_then(|input| input.witness.first()) {
        let behind = transactions.iter().skip(1).map(|transaction| transaction.wtxid);
        let root = tree(
            core::iter::once(B256::ZERO).chain(behind).collect(),
            &mut messages,
        );
        messages.push([root.as_slice(), reserved].concat());
    }
    Ok(messages)
}

/// Lists a merkle tree's nodes, and gives its root.
fn tree(mut level: Vec<B256>, messages: &mut Vec<Vec<u8>>) -> B256 {
    while level.len() > 1 {
        let pairs = level.chunks(2).map(|pair| match pair {
            [left, right] => [left.as_slice(), right.as_slice()].concat(),
            [last, ..] => [last.as_slice(), last.as_slice()].concat(),
            [] => Vec::new(),
        });
        let nodes: Vec<Vec<u8>> = pairs.collect();
        level = nodes.iter().map(|node| sha256d([node.as_slice()])).collect();
        messages.extend(nodes);
    }
    level.first().copied().unwrap_or_default()
}
