//! Where things are in the machine's memory, and the numbers of its calls (docs/machine.md).
//!
//! Program and machine both have them from here.

/// Bytes of a leaf.
pub const LEAF_SIZE: u32 = 64;
/// Words of a leaf.
pub const LEAF_WORDS: usize = 16;
/// From here up no load, store or oracle call reaches.
pub const PROTECTED: u32 = 0xffff_ff00;
/// `x0`; the others follow.
pub const REGISTERS: u32 = 0xffff_ff00;
/// The words pc, status, exit code.
pub const CONTROL: u32 = 0xffff_ffc0;
/// The oracle's key: 32 bytes.
pub const KEY: u32 = 0xffff_fe00;
/// The block that `SHA256_PREIMAGE` brings: the key's sibling.
pub const BLOCK: u32 = 0xffff_fe40;
/// The unit's input: `S_k`, then the advice.
pub const INPUT: u32 = 0xffff_fe80;
/// The unit's output: `S_{k+1}`.
pub const OUTPUT: u32 = 0xffff_fec0;

/// `a7` of the call that ends a program.
pub const EXIT: u32 = 93;
/// `a7` of the call that maps a node by its hash.
pub const NODE_FROM_HASH: u32 = 1;
/// `a7` of the call that reads a node's hash.
pub const HASH_OF_NODE: u32 = 2;
/// `a7` of the call that inverts a SHA-256 compression.
pub const SHA256_PREIMAGE: u32 = 3;
/// The largest level that a call takes: 64 MiB.
pub const MAX_CALL_LEVEL: u32 = 20;

/// The register that names a call.
pub const A7: u8 = 17;
/// The register of a call's first argument: an address, or the exit code.
pub const A0: u8 = 10;
/// The register of a call's second argument: a level.
pub const A1: u8 = 11;
