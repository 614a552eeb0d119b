//! A batch on Bitcoin: the commit's tag and the reveals' leaf scripts.

use alloc::vec::Vec;
use alloy_primitives::B256;

use super::bitcoin::{Instruction, Instructions, L1Transaction, op_return_data, push_bytes};
use super::bitcoin::{OP_CHECKSIG, OP_ENDIF, OP_IF, OP_RETURN};

/// What a commit's `OP_RETURN` begins with: magic and version.
pub const COMMIT_TAG: &[u8] = b"BSCT\x01";
/// Most data outputs of a commit. 64 full frames are 25 MB, more than six Bitcoin blocks.
pub const MAX_FRAMES: u16 = 64;
/// Largest element of a tapscript's push, in bytes (BIP-0342 keeps the consensus limit).
const MAX_PUSH: usize = 520;
/// Largest frame, in bytes: a reveal that carries one stays below 400,000 weight, the limit of a standard
/// transaction, with pushes, signature, control block, input and output counted.
pub const MAX_FRAME: usize = 396_000;

/// Builds the tag output's script for a commit with `frames` data outputs.
pub fn commit_tag_script(frames: u16) -> Vec<u8> {
    let mut data = COMMIT_TAG.to_vec();
    data.extend(frames.to_le_bytes());
    let mut script = Vec::from([OP_RETURN]);
    push_bytes(&mut script, &data);
    script
}

/// Gives the number of data outputs of a commit; `None` when the transaction is none.
///
/// Output 0 is the next baton, outputs 1 to n carry data, output n + 1 is the tag.
pub fn commit_frames(transaction: &L1Transaction<'_>) -> Option<u16> {
    let (index, data) = transaction
        .outputs
        .iter()
        .enumerate()
        .skip(1)
        .find_map(|(index, output)| Some((index, op_return_data(output.script, COMMIT_TAG)?)))?;
    let frames = u16::from_le_bytes(data.try_into().ok()?);
    let fits = (1..=MAX_FRAMES).contains(&frames) && index == usize::from(frames).checked_add(1)?;
    fits.then_some(frames)
}

/// Builds the leaf script that carries a frame: `key CHECKSIG FALSE IF pushes ENDIF`.
pub fn frame_script(key: &B256, frame: &[u8]) -> Vec<u8> {
    // Each full push costs three bytes more.
    let pushes = frame.len().div_ceil(MAX_PUSH).saturating_mul(3);
    let mut script = Vec::with_capacity(frame.len().saturating_add(pushes).saturating_add(40));
    push_bytes(&mut script, key.as_slice());
    script.push(OP_CHECKSIG);
    push_bytes(&mut script, &[]);
    script.push(OP_IF);
    frame
        .chunks(MAX_PUSH)
        .for_each(|chunk| push_bytes(&mut script, chunk));
    script.push(OP_ENDIF);
    script
}

/// Reads the frame out of a leaf script; `None` when it has any other form.
pub fn frame_of_script(script: &[u8]) -> Option<Vec<u8>> {
    let mut instructions = Instructions::new(script);
    let mut next = || instructions.next()?.ok();
    let Instruction::Push(key) = next()? else {
        return None;
    };
    let opened = [next()?, next()?, next()?];
    let expected = [
        Instruction::Op(OP_CHECKSIG),
        Instruction::Push(&[]),
        Instruction::Op(OP_IF),
    ];
    if key.len() != 32 || opened != expected {
        return None;
    }
    let mut frame = Vec::with_capacity(script.len());
    loop {
        match instructions.next()?.ok()? {
            Instruction::Push(bytes) if !bytes.is_empty() => frame.extend_from_slice(bytes),
            Instruction::Op(OP_ENDIF) => break,
            _ => return None,
        }
    }
    (instructions.next().is_none() && frame.len() <= MAX_FRAME).then_some(frame)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn frames_round_trip(key in any::<[u8; 32]>(), frame in proptest::collection::vec(any::<u8>(), 0..3_000)) {
            let script = frame_script(&B256::new(key), &frame);
            prop_assert_eq!(frame_of_script(&script), Some(frame));
        }

        #[test]
        fn damaged_scripts_never_panic(frame in proptest::collection::vec(any::<u8>(), 0..1_200), at in any::<usize>(), to in any::<u8>()) {
            let mut script = frame_script(&B256::ZERO, &frame);
            let at = at % script.len();
            script[at] = to;
            let _ = frame_of_script(&script);
            script.truncate(at);
            prop_assert_eq!(frame_of_script(&script), None);
        }
    }

    #[test]
    fn other_forms_are_no_frames() {
        let good = frame_script(&B256::ZERO, b"frame");
        let mut trailing = good.clone();
        trailing.push(OP_ENDIF);
        assert_eq!(frame_of_script(&trailing), None);
        assert_eq!(frame_of_script(&good[1..]), None);
        assert_eq!(frame_of_script(&[]), None);
        let too_long = frame_script(&B256::ZERO, &vec![1; MAX_FRAME + 1]);
        assert_eq!(frame_of_script(&too_long), None);
    }
}
