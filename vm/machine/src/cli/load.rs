//! Reads what is to be run.

use bitsect_machine::{Machine, Preimages, Program};
use bitsect_vm::record::UnitRecord;
use eyre::{Context, Result, ensure};

use super::Source;

/// A program, its input, and what its oracle knows.
pub struct Loaded {
    pub program: Program,
    pub oracle: Preimages,
    /// What a unit's output must be.
    pub expected: Option<alloy_primitives::B256>,
    input: [u8; 64],
}

impl Loaded {
    pub fn new(source: &Source) -> Result<Self> {
        let path = source.elf.display();
        let bytes = std::fs::read(&source.elf).wrap_err_with(|| format!("failed to read {path}"))?;
        let program = Program::from_elf(&bytes).wrap_err_with(|| format!("failed to load {path}"))?;
        let hex = source.input.trim_start_matches("0x");
        let given = alloy_primitives::hex::decode(hex).wrap_err("failed to read --input")?;
        ensure!(
            given.len() <= 64,
            "--input has {} bytes, at most 64 fit",
            given.len()
        );
        let mut input = [0; 64];
        input[..given.len()].copy_from_slice(&given);
        let mut oracle = Preimages::default();
        let mut expected = None;
        if let Some(path) = &source.unit {
            let file = path.display();
            let bytes = std::fs::read(path).wrap_err_with(|| format!("failed to read {file}"))?;
            let unit = UnitRecord::decode(&bytes).wrap_err_with(|| format!("failed to decode {file}"))?;
            oracle
                .insert_unit(&unit)
                .wrap_err_with(|| format!("{file}: the l1 block is malformed"))?;
            expected = Some(unit.after);
            input = unit.input();
        }
        Ok(Self {
            program,
            oracle,
            expected,
            input,
        })
    }

    pub fn machine(&self) -> Result<Machine> {
        Machine::new(&self.program, &self.input).wrap_err("failed to map the machine's memory")
    }
}
