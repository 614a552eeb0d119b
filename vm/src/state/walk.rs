//! The walk from the root down to a value: the one place that decides what a node is.

use alloc::vec::Vec;
use alloy_primitives::{Address, B256, Bytes, U256};

use super::hash::{EMPTY, STEM_TAG, halves};
use super::key::{CHUNK_LEN, chunk_place, place_key, split_key};
use super::path::SUBTREE_LEVELS;
use super::update::parse_stem;
use super::{
    Account, BASIC_DATA, Node, NodePath, NodeReader, Position, StateReader, Stem, TreeKey, chunk_count,
    header_key, slot_key, unpack_account,
};

/// Why the tree could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError<E> {
    /// A node could not be read.
    #[error("failed to read a tree node: {0}")]
    Read(E),
    /// A node was read that no tree has at its path.
    #[error("malformed tree node at {path:?}")]
    Malformed {
        /// Where it was read.
        path: NodePath,
    },
    /// An account's values are not the encoding of an account.
    #[error("malformed account {address} in the tree")]
    MalformedAccount {
        /// The account.
        address: Address,
    },
}

/// Walks from the root to the pair of values that holds `key`. `None` when an empty child or another stem is met.
///
/// A trunk node is a stem exactly if its right half is the tag. Below a stem, the depth alone says what a node is.
pub(super) fn walk<E>(
    root: B256,
    key: &TreeKey,
    mut node: impl FnMut(&NodePath, &B256) -> Result<Node, E>,
) -> Result<Option<(B256, B256)>, TreeError<E>> {
    let (stem, sub_index) = split_key(key);
    let Some(mut hash) = find_stem(root, &stem, &mut node)? else {
        return Ok(None);
    };
    for level in 0..SUBTREE_LEVELS {
        let below = SUBTREE_LEVELS.saturating_sub(level);
        let index = sub_index.checked_shr(below.into()).unwrap_or(0);
        let path = NodePath::Subtree { stem, level, index };
        let (left, right) = halves(&node(&path, &hash).map_err(TreeError::Read)?);
        if below == 1 {
            return Ok(Some((left, right)));
        }
        let is_right = (sub_index >> below.saturating_sub(1)) & 1 == 1;
        hash = if is_right { right } else { left };
        if hash == EMPTY {
            break;
        }
    }
    Ok(None)
}

/// Walks the trunk. Gives the root of the subtree under `stem`; `None` when the stem is not in the tree.
fn find_stem<E>(
    root: B256,
    stem: &Stem,
    node: &mut impl FnMut(&NodePath, &B256) -> Result<Node, E>,
) -> Result<Option<B256>, TreeError<E>> {
    let (mut position, mut hash) = (Position::ROOT, root);
    while hash != EMPTY {
        let path = NodePath::Trunk(position);
        let (left, right) = halves(&node(&path, &hash).map_err(TreeError::Read)?);
        if right == STEM_TAG {
            let path = NodePath::Stem(position);
            let inner = node(&path, &left).map_err(TreeError::Read)?;
            let (found, root) = parse_stem(position, &inner).ok_or(TreeError::Malformed { path })?;
            return Ok((found == *stem).then_some(root));
        }
        let is_right = super::path::bit(stem, position.depth());
        position = position.child(is_right).ok_or(TreeError::Malformed { path })?;
        hash = if is_right { right } else { left };
    }
    Ok(None)
}

/// Takes the value of `key` out of its pair; `None` when it is absent.
pub(super) fn value_of(key: &TreeKey, pair: Option<(B256, B256)>) -> Option<B256> {
    let (left, right) = pair?;
    let value = if split_key(key).1 & 1 == 0 { left } else { right };
    (value != EMPTY).then_some(value)
}

/// Reads an account out of the pair that holds its basic data and code hash.
pub(super) fn account_of<E>(
    address: Address,
    pair: Option<(B256, B256)>,
) -> Result<Option<Account>, TreeError<E>> {
    match pair {
        None | Some((EMPTY, EMPTY)) => Ok(None),
        Some((_, EMPTY)) => Err(TreeError::MalformedAccount { address }),
        Some((basic_data, code_hash)) => unpack_account(&basic_data, code_hash)
            .map(Some)
            .ok_or(TreeError::MalformedAccount { address }),
    }
}

/// A state that is read out of the tree alone, as the machine's oracle does it.
#[derive(Clone, Copy, Debug)]
pub struct TreeState<'a, R> {
    root: B256,
    reader: &'a R,
}

impl<'a, R: NodeReader> TreeState<'a, R> {
    /// Reads the state with this root.
    pub fn new(root: B256, reader: &'a R) -> Self {
        Self { root, reader }
    }

    /// Reads one value; `None` when it is absent.
    ///
    /// # Errors
    /// When a node cannot be read or is malformed.
    pub fn value(&self, key: &TreeKey) -> Result<Option<B256>, TreeError<R::Error>> {
        Ok(value_of(
            key,
            walk(self.root, key, |path, hash| self.reader.node(path, hash))?,
        ))
    }

    /// Appends the chunks under one stem, in their order, where zeros stand for absent ones.
    fn chunks(&self, key: &TreeKey, count: u32, code: &mut Vec<u8>) -> Result<(), TreeError<R::Error>> {
        let (stem, first) = split_key(key);
        let mut node = |path: &NodePath, hash: &B256| self.reader.node(path, hash);
        let root = find_stem(self.root, &stem, &mut node)?.unwrap_or(EMPTY);
        let mut values = [EMPTY; 256];
        self.values(&stem, (0, 0), root, first, &mut values)?;
        for chunk in values.iter().skip(first.into()).take(count as usize) {
            code.extend(chunk.iter().skip(1));
        }
        Ok(())
    }

    /// Collects the values from number `first` on.
    fn values(
        &self,
        stem: &Stem,
        (level, index): (u8, u8),
        hash: B256,
        first: u8,
        values: &mut [B256; 256],
    ) -> Result<(), TreeError<R::Error>> {
        let height = SUBTREE_LEVELS.saturating_sub(1).saturating_sub(level);
        // The last value below this node comes before the first that is asked for.
        if hash == EMPTY || u16::from(index) < u16::from(first) >> height.saturating_add(1) {
            return Ok(());
        }
        let path = NodePath::Subtree {
            stem: *stem,
            level,
            index,
        };
        let (left, right) = halves(&self.reader.node(&path, &hash).map_err(TreeError::Read)?);
        for (below, hash) in [(index.wrapping_mul(2), left), (index.wrapping_mul(2) | 1, right)] {
            if height != 0 {
                self.values(stem, (level.saturating_add(1), below), hash, first, values)?;
            } else if let Some(value) = values.get_mut(usize::from(below)) {
                *value = hash;
            }
        }
        Ok(())
    }
}

impl<R: NodeReader> StateReader for TreeState<'_, R> {
    type Error = TreeError<R::Error>;

    fn account(&self, address: Address) -> Result<Option<Account>, Self::Error> {
        let key = header_key(address, BASIC_DATA);
        account_of(
            address,
            walk(self.root, &key, |path, hash| self.reader.node(path, hash))?,
        )
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, Self::Error> {
        Ok(self.value(&slot_key(address, slot))?.unwrap_or_default().into())
    }

    fn code(&self, address: Address, code_hash: B256) -> Result<Bytes, Self::Error> {
        let account = self
            .account(address)?
            .filter(|account| account.code_hash == code_hash);
        let Some(account) = account.filter(|account| account.code_size != 0) else {
            return Ok(Bytes::new());
        };
        let (count, size) = (chunk_count(account.code_size), account.code_size as usize);
        let mut code = Vec::with_capacity(size.saturating_add(CHUNK_LEN));
        let mut next = 0u32;
        while next < count {
            let place = chunk_place(next);
            // Chunks up to the end of this stem.
            let here = 256u32
                .saturating_sub(place.2.into())
                .min(count.saturating_sub(next));
            self.chunks(&place_key(address, place), here, &mut code)?;
            next = next.saturating_add(here);
        }
        code.truncate(size);
        Ok(code.into())
    }
}
