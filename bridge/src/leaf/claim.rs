//! The leaf by which a bond becomes a claim.

use bitcoin::ScriptBuf;
use bitcoin::XOnlyPublicKey;
use bitcoin::opcodes::all::*;
use bitcoin::script::Builder;
use bitsect_judge::script::Assembler;
use bitsect_judge::winternitz::{Reading, value_digits, verify};

use crate::keys::ClaimKeys;
use crate::params::Rounds;
use crate::secret::ClaimItem;

/// Digits of a count.
const DIGITS: usize = value_digits(ClaimItem::Count.bytes());

/// The operator claims: it signs count and state, and the count is at least 1 and below the number of intervals. A claim
/// of no unit could not be refuted: no unit of it is chosen.
///
/// Witness, bottom first: the committee's signature, the state's, the count's.
pub fn claim_script(keys: &ClaimKeys, committee: XOnlyPublicKey, rounds: Rounds) -> ScriptBuf {
    let mut a = Assembler::new();
    // Two rounds are a digit: those above have to be zero.
    let free = usize::from(rounds.units) / 2;
    let kept = (1 << DIGITS) - 1;
    let readings = [
        Reading {
            key: keys.key(ClaimItem::Count),
            kept,
        },
        Reading {
            key: keys.key(ClaimItem::State),
            kept: 0,
        },
    ];
    signatures(&mut a, &readings);
    verify(&mut a, &readings);
    for _ in free + 1..DIGITS {
        a.op(OP_ADD);
    }
    a.ops(&[OP_NOT, OP_VERIFY]);
    // And those below must not all be.
    for _ in 1..free {
        a.op(OP_ADD);
    }
    a.op(OP_VERIFY);
    let (script, _) = a.finish();
    signed(script, committee)
}

/// Puts the signatures of values on the model of the stack, the first one's uppermost.
pub(super) fn signatures(a: &mut Assembler, readings: &[Reading<'_>]) {
    for reading in readings.iter().rev() {
        for digit in 0..reading.key.ends().len() {
            a.witness(&format!("hash {digit}"));
            a.witness(&format!("digit {digit}"));
        }
    }
}

/// Ends a Script with the signature of a key, which is all that is left on the stack.
pub(super) fn signed(script: ScriptBuf, key: XOnlyPublicKey) -> ScriptBuf {
    Builder::from(script.into_bytes())
        .push_x_only_key(&key)
        .push_opcode(OP_CHECKSIG)
        .into_script()
}
