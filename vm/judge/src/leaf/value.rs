//! What the prover publishes, each value under a key of its own.

/// A published value. Words are little-endian; states are cut to 24 bytes, and nodes are whole: they are inputs of a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Value {
    /// The statuses before and after the step: one byte, before in the lower half.
    Statuses,
    /// `pc` before the step.
    Pc,
    /// The word at `pc`.
    Instruction,
    /// The first source register; `a7` of a call.
    First,
    /// The second source register; `a0` of a call.
    Second,
    /// The aligned word that a load or store reaches, before the step; `a1` of a call.
    Word,
    /// The address that a load or store reaches.
    Address,
    /// The word that is written to `rd` or to memory.
    Written,
    /// `pc` after the step.
    Next,
    /// The state before the step.
    Before,
    /// The state between the write of data and that of control.
    Middle,
    /// The state after the step.
    After,
    /// The root over the path, where it is the upper node of the disputed equation; or any other state.
    Root,
    /// The root over the path after the write; or the same state, as it was published elsewhere.
    RootAfter,
    /// The upper node of the disputed equation, below the root.
    Top,
    /// The upper node after the write.
    TopAfter,
    /// The lower node of the disputed equation: where a call's node is above it, that node.
    Bottom,
    /// The lower node after the write.
    BottomAfter,
    /// The other child of the upper node; anything where a call's node is the upper one or above.
    Sibling,
    /// The content of the leaf that is read or written, before the step.
    Leaf,
    /// The content of the key leaf, before the step.
    Key,
    /// The chaining value that `SHA256_PREIMAGE` brings.
    Chaining,
    /// The block that `SHA256_PREIMAGE` brings.
    Block,
    /// The hash of the new key leaf that `SHA256_PREIMAGE` writes.
    KeyHash,
    /// The hash of the block's leaf.
    BlockHash,
    /// The node whose hash `HASH_OF_NODE` reads.
    Node,
}

impl Value {
    /// All values.
    pub const ALL: [Self; 26] = [
        Self::Statuses,
        Self::Pc,
        Self::Instruction,
        Self::First,
        Self::Second,
        Self::Word,
        Self::Address,
        Self::Written,
        Self::Next,
        Self::Before,
        Self::Middle,
        Self::After,
        Self::Root,
        Self::RootAfter,
        Self::Top,
        Self::TopAfter,
        Self::Bottom,
        Self::BottomAfter,
        Self::Sibling,
        Self::Leaf,
        Self::Key,
        Self::Chaining,
        Self::Block,
        Self::KeyHash,
        Self::BlockHash,
        Self::Node,
    ];

    /// Gives its length in bytes.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Statuses => 1,
            Self::Pc
            | Self::Instruction
            | Self::First
            | Self::Second
            | Self::Word
            | Self::Address
            | Self::Written
            | Self::Next => 4,
            Self::Before | Self::Middle | Self::After | Self::Root | Self::RootAfter => 24,
            Self::Top
            | Self::TopAfter
            | Self::Bottom
            | Self::BottomAfter
            | Self::Sibling
            | Self::Chaining
            | Self::KeyHash
            | Self::BlockHash
            | Self::Node => 32,
            Self::Leaf | Self::Key | Self::Block => 64,
        }
    }

    /// Gives the number of its digits.
    pub const fn digits(self) -> usize {
        2 * self.bytes()
    }
}
