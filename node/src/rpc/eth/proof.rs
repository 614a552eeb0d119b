//! `eth_getProof`: the reply has EIP-1186's shape, and the nodes of our own tree (docs/json-rpc.md).

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_rpc_types::{BlockId, EIP1186AccountProofResponse, EIP1186StorageProof};
use alloy_serde::JsonStorageKey;
use bitsect_vm::state::{
    BASIC_DATA, EMPTY, MAX_DEPTH, NodePath, NodeReader, Position, STEM_TAG, SUBTREE_LEVELS, StateReader,
    Stem, TreeKey, header_key, slot_key,
};

use crate::rpc::context::{self, Module, heavy};
use crate::rpc::error::{self, RpcResult};
use crate::store::{StoreError, TreeAt};

/// Slots that one request may ask for.
const MAX_SLOTS: usize = 1024;

pub(super) fn register(module: &mut Module) {
    heavy(module, "eth_getProof", 3, |context, args, _| {
        let (address, slots): (Address, Vec<JsonStorageKey>) = (args.required()?, args.required()?);
        if slots.len() > MAX_SLOTS {
            return Err(error::invalid_params(format!(
                "too many storage keys: at most {MAX_SLOTS}"
            )));
        }
        let id: BlockId = args.optional()?.unwrap_or_default();
        let snapshot = context.snapshot()?;
        let number = context::header(&snapshot, id)?.header.number;
        let state = context::state(&snapshot, number)?;
        let tree = snapshot.tree_at(number).map_err(|failure| match failure {
            StoreError::StateNotHeld { .. } | StoreError::TooManyChanges { .. } => {
                error::server(failure.to_string())
            }
            failure => error::internal(failure),
        })?;
        let account = state.account(address).map_err(error::internal)?;
        let mut storage_proof = Vec::with_capacity(slots.len());
        for key in slots {
            let slot = U256::from_be_bytes(key.as_b256().0);
            let value = state.storage(address, slot).map_err(error::internal)?;
            storage_proof.push(EIP1186StorageProof {
                key,
                value,
                proof: prove(&tree, slot_key(address, slot))?,
            });
        }
        Ok(EIP1186AccountProofResponse {
            address,
            balance: account.map_or(U256::ZERO, |account| account.balance),
            code_hash: account.map_or(B256::ZERO, |account| account.code_hash),
            nonce: account.map_or(0, |account| account.nonce),
            // Slots are in the one tree: an account has no storage root of its own.
            storage_hash: B256::ZERO,
            account_proof: prove(&tree, header_key(address, BASIC_DATA))?,
            storage_proof,
        })
    });
}

/// Collects the nodes from the root towards a value. The last one shows the value, or that it is absent.
fn prove(tree: &TreeAt, key: TreeKey) -> RpcResult<Vec<Bytes>> {
    let (stem, sub_index) = (Stem::from_slice(&key[..31]), key[31]);
    let mut walk = Walk {
        tree,
        nodes: Vec::new(),
    };
    let mut hash = tree.root();
    for depth in 0..=MAX_DEPTH {
        if hash == EMPTY {
            return Ok(walk.nodes);
        }
        let position = Position::of(&stem, depth);
        let (left, right) = walk.step(&NodePath::Trunk(position), &hash)?;
        if right == STEM_TAG {
            let (found, root) = walk.step(&NodePath::Stem(position), &left)?;
            // Another stem at this place proves that ours is absent.
            if found[..31] == stem[..] {
                walk.subtree(&stem, sub_index, root)?;
            }
            return Ok(walk.nodes);
        }
        hash = if turns_right(&stem, depth) { right } else { left };
    }
    Err(error::internal("the state tree is deeper than its keys are long"))
}

fn turns_right(stem: &Stem, depth: u8) -> bool {
    stem.get(usize::from(depth / 8))
        .is_some_and(|byte| byte & (0x80 >> (depth % 8)) != 0)
}

struct Walk<'a> {
    tree: &'a TreeAt,
    nodes: Vec<Bytes>,
}

impl Walk<'_> {
    /// Takes a node into the proof, and gives its halves.
    fn step(&mut self, path: &NodePath, hash: &B256) -> RpcResult<(B256, B256)> {
        let node = self.tree.node(path, hash).map_err(error::internal)?;
        self.nodes.push(Bytes::copy_from_slice(&node));
        Ok((B256::from_slice(&node[..32]), B256::from_slice(&node[32..])))
    }

    fn subtree(&mut self, stem: &Stem, sub_index: u8, root: B256) -> RpcResult<()> {
        let mut hash = root;
        for level in 0..SUBTREE_LEVELS {
            if hash == EMPTY {
                return Ok(());
            }
            // The first `level` bits of the sub-index say which node of the level it is.
            let index = (u16::from(sub_index) >> SUBTREE_LEVELS.saturating_sub(level)) as u8;
            let (left, right) = self.step(
                &NodePath::Subtree {
                    stem: *stem,
                    level,
                    index,
                },
                &hash,
            )?;
            let right_turn = sub_index & (0x80 >> level) != 0;
            hash = if right_turn { right } else { left };
        }
        Ok(())
    }
}
