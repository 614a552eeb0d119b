//! Hashes in Script that Script has no opcode for.

pub mod blake3;
