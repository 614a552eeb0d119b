//! Scripts that carry something: frames of reveals, tags of commits and deposits, forced transactions.
//!
//! - 0: a script as it is,
//! - 1: a script of given instructions,
//! - 2: a frame's script of given instructions between its key and its end.
#![no_main]

use alloy_primitives::B256;
use bitcoin::Script;
use bitcoin::opcodes::all::{OP_CHECKSIG, OP_ENDIF, OP_IF, OP_RETURN};
use bitcoin::script::Instruction;
use bitsect_vm::derive::bitcoin::{L1Transaction, TxOut, op_return_data, push_bytes};
use bitsect_vm::derive::{
    COMMIT_TAG, DEPOSIT_TAG, DepositCall, DepositTag, FORCED_TAG, MAX_DEPOSIT_CALL, MAX_FRAME, MAX_FRAMES,
    commit_frames, commit_tag_script, forced_script, frame_of_script, frame_script,
};
use bitsect_vm_fuzz::typed;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

/// One instruction.
#[derive(Arbitrary, Debug)]
enum Part {
    Push(Vec<u8>),
    Filled {
        byte: u8,
        len: u16,
    },
    Tag(u8),
    /// A push with more length bytes than it needs.
    Wide(u8),
    Opcode(u8),
    Marker(u8),
}

fuzz_target!(|data: &[u8]| {
    match data.split_first() {
        Some((0, script)) => check(script),
        Some((form @ 1..=2, rest)) => {
            if let Some(parts) = typed::<Vec<Part>>(rest) {
                check(&script(&parts, *form == 2));
            }
        }
        _ => {}
    }
});

fn script(parts: &[Part], as_frame: bool) -> Vec<u8> {
    let mut script = Vec::new();
    if as_frame {
        push_bytes(&mut script, &[2; 32]);
        script.extend([OP_CHECKSIG.to_u8(), 0, OP_IF.to_u8()]);
    }
    for part in parts.iter().take(64) {
        match part {
            Part::Push(bytes) => push_bytes(&mut script, bytes),
            Part::Filled { byte, len } => push_bytes(&mut script, &vec![*byte; usize::from(*len)]),
            Part::Tag(tag) => {
                let tag = [COMMIT_TAG, DEPOSIT_TAG, FORCED_TAG][usize::from(*tag) % 3];
                push_bytes(&mut script, tag);
            }
            Part::Wide(byte) => script.extend([0x4e, 1, 0, 0, 0, *byte]),
            Part::Opcode(opcode) => script.push(*opcode),
            Part::Marker(marker) => {
                let markers = [OP_RETURN, OP_CHECKSIG, OP_IF, OP_ENDIF];
                script.push(markers[usize::from(*marker) % markers.len()].to_u8());
            }
        }
    }
    if as_frame {
        script.push(OP_ENDIF.to_u8());
    }
    script
}

fn check(script: &[u8]) {
    let frame = frame_of_script(script);
    assert_eq!(frame, expected_frame(script));
    if let Some(frame) = frame {
        assert_eq!(frame_of_script(&frame_script(&B256::ZERO, &frame)), Some(frame));
    }
    let data = op_return_data(script, &[]);
    assert_eq!(data, expected_data(script));
    if let Some(tag) = DepositTag::of_script(script) {
        let call = tag.call.as_ref().map(DepositCall::encode).unwrap_or_default();
        assert!(call.len() <= 20 + MAX_DEPOSIT_CALL);
        let content = [tag.to.as_slice(), tag.refund_key.as_slice(), &call].concat();
        assert_eq!(op_return_data(script, DEPOSIT_TAG), Some(content));
        assert_eq!(DepositTag::of_script(&tag.script()), Some(tag));
    }
    if let Some(forced) = op_return_data(script, FORCED_TAG) {
        assert_eq!(op_return_data(&forced_script(&forced), FORCED_TAG), Some(forced));
    }
    check_commit(script);
}

/// A script is a commit's tag at one place behind the outputs only.
fn check_commit(script: &[u8]) {
    let plain = TxOut {
        value: 1,
        script: &[0x51],
    };
    let tag = TxOut { value: 0, script };
    for before in [1, 2, 3, usize::from(MAX_FRAMES) + 1, usize::from(MAX_FRAMES) + 2] {
        let mut outputs = vec![plain; before];
        outputs.push(tag);
        let transaction = L1Transaction {
            txid: B256::ZERO,
            wtxid: B256::ZERO,
            inputs: Vec::new(),
            outputs,
            weight: 0,
        };
        if let Some(frames) = commit_frames(&transaction) {
            assert_eq!(usize::from(frames) + 1, before);
            assert!((1..=MAX_FRAMES).contains(&frames));
            let (own, theirs) = (commit_tag_script(frames), op_return_data(script, COMMIT_TAG));
            assert_eq!(op_return_data(&own, COMMIT_TAG), theirs);
        }
    }
}

/// What rust-bitcoin reads; `None` where a push runs past the end.
fn instructions(script: &[u8]) -> Option<Vec<Instruction<'_>>> {
    Script::from_bytes(script)
        .instructions()
        .collect::<Result<_, _>>()
        .ok()
}

fn expected_frame(script: &[u8]) -> Option<Vec<u8>> {
    let instructions = instructions(script)?;
    let is = |instruction: &Instruction<'_>, op| matches!(instruction, Instruction::Op(got) if *got == op);
    let [
        Instruction::PushBytes(key),
        check,
        Instruction::PushBytes(zero),
        open,
        pushes @ ..,
        close,
    ] = instructions.as_slice()
    else {
        return None;
    };
    let formed = is(check, OP_CHECKSIG) && is(open, OP_IF) && is(close, OP_ENDIF);
    if !formed || key.len() != 32 || !zero.is_empty() {
        return None;
    }
    let mut frame = Vec::new();
    for push in pushes {
        let bytes = push.push_bytes().filter(|bytes| !bytes.is_empty())?;
        frame.extend_from_slice(bytes.as_bytes());
    }
    (frame.len() <= MAX_FRAME).then_some(frame)
}

fn expected_data(script: &[u8]) -> Option<Vec<u8>> {
    let instructions = instructions(script)?;
    let [Instruction::Op(OP_RETURN), pushes @ ..] = instructions.as_slice() else {
        return None;
    };
    let mut data = Vec::new();
    for push in pushes {
        data.extend_from_slice(push.push_bytes()?.as_bytes());
    }
    Some(data)
}
