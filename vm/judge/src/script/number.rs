//! Script's numbers: little-endian with a sign bit, as short as possible.

use bitcoin::opcodes::all::{OP_PUSHNUM_1, OP_PUSHNUM_NEG1};
use bitcoin::script::{read_scriptint, write_scriptint};

/// Appends the shortest push of a number.
pub fn push(code: &mut Vec<u8>, value: i64) {
    match value {
        0 => code.push(0),
        -1 => code.push(OP_PUSHNUM_NEG1.to_u8()),
        1..=16 => code.push(OP_PUSHNUM_1.to_u8() + value as u8 - 1),
        _ => {
            let bytes = encode(value);
            code.push(bytes.len() as u8);
            code.extend_from_slice(&bytes);
        }
    }
}

/// Encodes a number as a stack item.
pub fn encode(value: i64) -> Vec<u8> {
    let mut bytes = [0; 8];
    let length = write_scriptint(&mut bytes, value);
    bytes[..length].to_vec()
}

/// Decodes a minimal number of at most four bytes, as an operand of arithmetic has to be; `None` for any other.
pub fn decode(bytes: &[u8]) -> Option<i64> {
    read_scriptint(bytes).ok()
}

/// Whether an opcode pushes this item, so that a push of its bytes is not the shortest.
pub fn has_opcode(bytes: &[u8]) -> bool {
    matches!(bytes, [1..=16 | 0x81])
}
