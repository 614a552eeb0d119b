//! Hashes in Script that Script has no opcode for.

pub mod blake3;
pub mod sha256;
