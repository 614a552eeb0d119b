//! The program root that vm/guest/roots pins.

use std::path::Path;
use std::process::Command;

use alloy_primitives::B256;
use bitsect_machine::{Machine, Program};

use super::built::built;

/// Compiler and linker, as the file names them.
fn tools() -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.ci/guest");
    let output = Command::new(script).arg("--tools").output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

#[test]
fn the_program_root_is_the_pinned_one() {
    let tools = tools();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("roots");
    let lines = std::fs::read_to_string(file).unwrap();
    let program = Program::from_elf(&std::fs::read(built()).unwrap()).unwrap();
    let root = Machine::new(&program, &[0; 64]).unwrap().root();
    let pinned = lines
        .lines()
        .filter(|line| !line.starts_with('#'))
        .find_map(|line| {
            let mut fields = line.splitn(3, ' ');
            let (root, _) = (fields.next().unwrap(), fields.next().unwrap());
            (fields.next().unwrap() == tools).then(|| root.parse::<B256>().unwrap())
        });
    let Some(pinned) = pinned else {
        eprintln!("NOT compared: vm/guest/roots has no program for {tools}; this one's root is {root}");
        return;
    };
    assert_eq!(
        root, pinned,
        "the program root is {root}, vm/guest/roots pins {pinned} for {tools}: if the change is meant, run .ci/guest --pin"
    );
}
