//! The official riscv-tests, rv32ui and rv32um, on every engine. `make setup` gets them.

use std::fs;
use std::path::PathBuf;

use bitsect_machine::{EngineKind, Machine, Preimages, Program, Status, Trap};
use object::{Object, ObjectSymbol};

/// More steps than the longest test makes.
const STEPS: u64 = 100_000;
/// ELF files in the set: counted, so that none is left out. One more file is a program for another machine.
const PROGRAMS: usize = 47;

fn programs() -> Vec<(String, Vec<u8>)> {
    let folder = std::env::var_os("BITSECT_RISCV_TESTS").map(PathBuf::from);
    let folder = folder.expect("no BITSECT_RISCV_TESTS: run `make setup`, and `eval \"$(.ci/setup env)\"`");
    let entries = fs::read_dir(&folder).expect("no riscv-tests: run `make setup`");
    let files = entries.map(|entry| entry.unwrap().path());
    let mut programs: Vec<(String, Vec<u8>)> = files
        .map(|path| {
            (
                path.file_name().unwrap().to_string_lossy().into_owned(),
                fs::read(path).unwrap(),
            )
        })
        .filter(|(_, bytes)| bytes.starts_with(b"\x7fELF"))
        .collect();
    programs.sort();
    programs
}

/// The address of a label.
fn label(bytes: &[u8], name: &str) -> Option<u32> {
    let file = object::File::parse(bytes).unwrap();
    let found = file.symbols().find(|symbol| symbol.name() == Ok(name));
    found.map(|symbol| symbol.address() as u32)
}

/// Behind `pass` stands an `ecall` with a number that is no call's; behind `fail`, before it, no instruction.
#[test]
fn the_official_tests_pass_on_every_engine() {
    let programs = programs();
    assert_eq!(programs.len(), PROGRAMS);
    for kind in EngineKind::ALL {
        let mut roots = Vec::new();
        for (name, bytes) in &programs {
            let program = Program::from_elf(bytes).unwrap();
            let mut machine = Machine::new(&program, &[0; 64]).unwrap();
            kind.engine()
                .run_to(&mut machine, STEPS, &Preimages::default())
                .unwrap();
            assert_eq!(
                machine.status(),
                Status::Trapped(Trap::BadCall),
                "{kind}: {name} at {:#x}",
                machine.pc()
            );
            // `simple` is nothing but an `ecall`.
            if name != "simple" {
                let pass = label(bytes, "pass").unwrap();
                assert!(label(bytes, "fail").unwrap() < pass, "{name}: labels");
                assert!(
                    machine.pc() >= pass,
                    "{kind}: {name} failed at {:#x}",
                    machine.pc()
                );
            }
            roots.push(machine.root());
        }
        assert_eq!(roots.len(), PROGRAMS);
    }
}
