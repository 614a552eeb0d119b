//! A second emulator on random programs: qemu-riscv32 in user mode, register by register. `make setup` gets it.
//!
//! A program sets its registers, computes, then stores them all and writes them to standard output. On the machine
//! that `write` is no call, and so it stops there, with the registers to compare.

mod random;

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use bitsect_machine::{EngineKind, Machine, Preimages, Program, Status, Trap};
use proptest::prelude::*;

use random::{DATA, START, arithmetic, load_immediate};

/// Where the registers are stored.
const DUMP: u32 = 0x3_0000;
/// The register that points there: the only one that is not compared.
const POINTER: u32 = 31;

/// The register that an instruction of `arithmetic` writes.
fn destination(word: u32) -> u32 {
    word >> 7 & 31
}

/// An aligned load or store near `DATA`, behind what sets its base.
fn access() -> impl Strategy<Value = Vec<u32>> {
    let kinds = prop::sample::select(vec![
        (0x03_u32, 0_u32),
        (0x03, 1),
        (0x03, 2),
        (0x03, 4),
        (0x03, 5),
        (0x23, 0),
        (0x23, 1),
        (0x23, 2),
    ]);
    (kinds, 1_u32..31, 0_u32..32, 0_u32..24).prop_map(|((opcode, kind), base, other, offset)| {
        let offset = offset >> (kind % 4) << (kind % 4);
        let fields = match opcode {
            0x03 => offset << 20 | other << 7,
            _ => other << 20 | offset << 7,
        };
        vec![DATA | base << 7 | 0x37, fields | base << 15 | kind << 12 | opcode]
    })
}

/// A branch over some instructions.
fn forward() -> impl Strategy<Value = Vec<u32>> {
    let kind = prop::sample::select(vec![0_u32, 1, 4, 5, 6, 7]);
    let skipped = prop::collection::vec(arithmetic(), 1..4);
    (kind, 0_u32..32, 0_u32..32, skipped).prop_map(|(kind, rs1, rs2, skipped)| {
        let offset = 4 * (skipped.len() as u32 + 1);
        let branch =
            (offset >> 1 & 15) << 8 | (offset >> 5) << 25 | rs2 << 20 | rs1 << 15 | kind << 12 | 0x63;
        [vec![branch], skipped].concat()
    })
}

/// A loop that ends: nothing in it writes its counter.
fn counted() -> impl Strategy<Value = Vec<u32>> {
    (1_u32..31, 1_u32..20, prop::collection::vec(arithmetic(), 1..8)).prop_map(|(counter, count, body)| {
        let body: Vec<u32> = body
            .into_iter()
            .filter(|word| destination(*word) != counter)
            .collect();
        let back = (4 * (body.len() as u32 + 1)).wrapping_neg();
        let bits =
            (back >> 12 & 1) << 31 | (back >> 5 & 63) << 25 | (back >> 1 & 15) << 8 | (back >> 11 & 1) << 7;
        let mut words = load_immediate(counter, count).to_vec();
        words.extend(body);
        words.extend([
            0xfff0_0013 | counter << 15 | counter << 7,
            bits | counter << 15 | 1 << 12 | 0x63,
        ]);
        words
    })
}

fn programs() -> impl Strategy<Value = Vec<u32>> {
    let values = prop::collection::vec(
        prop_oneof![any::<u32>(), 0_u32..3, Just(0x8000_0000), Just(u32::MAX)],
        31,
    );
    let piece = prop_oneof![
        8 => arithmetic().prop_map(|word| vec![word]),
        3 => access(),
        2 => forward(),
        1 => counted(),
    ];
    (values, prop::collection::vec(piece, 20..200)).prop_map(|(values, pieces)| {
        let mut words: Vec<u32> = (1..32)
            .zip(values)
            .flat_map(|(register, value)| load_immediate(register, value))
            .collect();
        words.extend(pieces.concat());
        words.push(DUMP | POINTER << 7 | 0x37);
        for register in 0..32 {
            let offset = register * 4;
            words.push(
                (offset >> 5) << 25 | register << 20 | POINTER << 15 | 2 << 12 | (offset & 31) << 7 | 0x23,
            );
        }
        words
    })
}

/// `write(1, DUMP, 128)`, `exit(0)`.
fn system_calls() -> Vec<u32> {
    let set = |pairs: [(u32, u32); 4]| {
        pairs
            .into_iter()
            .flat_map(|(register, value)| load_immediate(register, value))
    };
    let mut words: Vec<u32> = set([(17, 64), (10, 1), (11, DUMP), (12, 128)]).collect();
    words.push(0x73);
    words.extend(set([(17, 93), (10, 0), (11, 0), (12, 0)]));
    words.push(0x73);
    words
}

/// An ELF file with the text at `START` and a page of zeros at `DATA` and at `DUMP`.
fn elf(words: &[u32]) -> Vec<u8> {
    let mut file = b"\x7fELF\x01\x01\x01".to_vec();
    file.resize(16, 0);
    let half =
        |file: &mut Vec<u8>, values: &[u16]| file.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    let word =
        |file: &mut Vec<u8>, values: &[u32]| file.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    // An executable file for RISC-V, with three segments and no sections.
    half(&mut file, &[2, 243]);
    word(&mut file, &[1, START, 52, 0, 0]);
    half(&mut file, &[52, 32, 3, 0, 0, 0]);
    let text = words.len() as u32 * 4;
    word(&mut file, &[1, 4096, START, START, text, text, 5, 4096]);
    for address in [DATA, DUMP] {
        word(&mut file, &[1, 0, address, address, 0, 4096, 6, 4096]);
    }
    file.resize(4096, 0);
    word(&mut file, words);
    file
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn registers_are_those_of_another_emulator(mut words in programs()) {
        words.extend(system_calls());
        let bytes = elf(&words);
        let qemu = std::env::var_os("BITSECT_QEMU").filter(|path| !path.is_empty());
        let qemu = qemu.expect("no BITSECT_QEMU: run `make setup`, and `eval \"$(.ci/setup env)\"`");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        std::fs::write(&path, &bytes).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let output = Command::new(qemu).arg(&path).output().unwrap();
        prop_assert!(output.status.success(), "qemu: {:?}", output);
        let expected: Vec<u32> =
            output.stdout.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
        prop_assert_eq!(expected.len(), 32);

        let program = Program::from_elf(&bytes).unwrap();
        for kind in EngineKind::ALL {
            let mut machine = Machine::new(&program, &[0; 64]).unwrap();
            kind.engine().run_to(&mut machine, 1_000_000, &Preimages::default()).unwrap();
            prop_assert_eq!(machine.status(), Status::Trapped(Trap::BadCall));
            for register in (0..31).filter(|register| ![10, 11, 12, 17].contains(register)) {
                prop_assert_eq!(machine.registers()[register], expected[register], "{}: x{}", kind, register);
            }
        }
    }
}
