//! Runs the benchmark's work in another emulator, or as native code, and prints the CPU seconds it took, the
//! instructions it made, and its exit code.
//!
//! `peers ckb-vm-asm|ckb-vm|rvemu|native FILE LIMIT`: the file is a program for rv64 that ends by `ecall` 93. Only rvemu
//! can be stopped at a limit of instructions: the exit code is `-` then. Native code counts
//! no instructions.

#[path = "../../kernel/src/work.rs"]
mod work;

use std::hint::black_box;

use ckb_vm::machine::VERSION2;
use ckb_vm::machine::asm::{AsmCoreMachine, AsmMachine};
use ckb_vm::{
    Bytes, DefaultCoreMachine, DefaultMachineBuilder, DefaultMachineRunner, ISA_A, ISA_B, ISA_IMC, ISA_MOP,
    SparseMemory, SupportMachine, TraceMachine, WXorXMemory,
};
use eyre::{OptionExt, Result, WrapErr, bail, ensure, eyre};
use object::{Object, ObjectSegment};
use rustix::time::{ClockId, clock_gettime};
use rvemu::bus::DRAM_BASE;
use rvemu::emulator::Emulator;
use rvemu::exception::Exception;

/// `ecall` that ends a program.
const EXIT: u64 = 93;
/// Everything that ckb-vm can run; fused pairs of instructions count as one.
const ISA: u8 = ISA_IMC | ISA_A | ISA_B | ISA_MOP;

/// What a run gave.
struct Outcome {
    seconds: f64,
    instructions: u64,
    exit_code: Option<u64>,
}

fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// The assembly engine.
fn ckb_vm_asm(program: &Bytes) -> Result<Outcome> {
    let core = <Box<AsmCoreMachine> as SupportMachine>::new(ISA, VERSION2, u64::MAX);
    let core = DefaultMachineBuilder::new(core).instruction_cycle_func(Box::new(|_| 1));
    let mut machine = AsmMachine::new(core.build());
    machine
        .load_program(program, std::iter::empty())
        .map_err(|error| eyre!("failed to load the program: {error}"))?;
    let begin = cpu_seconds();
    let exit_code = machine
        .run()
        .map_err(|error| eyre!("the program failed: {error}"))?;
    Ok(Outcome {
        seconds: cpu_seconds() - begin,
        instructions: machine.machine.cycles(),
        exit_code: Some(exit_code.try_into()?),
    })
}

/// The engine in Rust, which keeps decoded basic blocks.
fn ckb_vm(program: &Bytes) -> Result<Outcome> {
    let core = DefaultCoreMachine::<u64, WXorXMemory<SparseMemory<u64>>>::new(ISA, VERSION2, u64::MAX);
    let core = DefaultMachineBuilder::new(core).instruction_cycle_func(Box::new(|_| 1));
    let mut machine = TraceMachine::new(core.build());
    machine
        .load_program(program, std::iter::empty())
        .map_err(|error| eyre!("failed to load the program: {error}"))?;
    let begin = cpu_seconds();
    let exit_code = machine
        .run()
        .map_err(|error| eyre!("the program failed: {error}"))?;
    Ok(Outcome {
        seconds: cpu_seconds() - begin,
        instructions: machine.machine.cycles(),
        exit_code: Some(exit_code.try_into()?),
    })
}

/// A whole computer: the loop is that of `Emulator::start`, which has no other end than a fatal trap.
fn rvemu(program: &[u8], limit: u64) -> Result<Outcome> {
    let file = object::File::parse(program)?;
    let mut image = Vec::new();
    for segment in file.segments() {
        let at = segment
            .address()
            .checked_sub(DRAM_BASE)
            .ok_or_eyre("a segment below the memory")?;
        let (at, size) = (usize::try_from(at)?, usize::try_from(segment.size())?);
        let bytes = segment.data()?;
        image.resize(image.len().max(at + size), 0);
        image[at..at + bytes.len()].copy_from_slice(bytes);
    }
    let mut emulator = Emulator::new();
    emulator.initialize_dram(image);
    emulator.initialize_pc(file.entry());
    let cpu = &mut emulator.cpu;
    let (mut instructions, mut exit_code) = (0, None);
    let begin = cpu_seconds();
    while instructions < limit {
        instructions += 1;
        cpu.devices_increment();
        if let Some(interrupt) = cpu.check_pending_interrupt() {
            bail!("an interrupt: {interrupt:?}");
        }
        match cpu.execute() {
            Ok(_) => {}
            Err(Exception::EnvironmentCallFromMMode) => {
                ensure!(cpu.xregs.read(17) == EXIT, "another call than EXIT");
                exit_code = Some(cpu.xregs.read(10));
                break;
            }
            Err(exception) => bail!("{exception:?} at {:#x}", cpu.pc),
        }
    }
    Ok(Outcome {
        seconds: cpu_seconds() - begin,
        instructions,
        exit_code,
    })
}

/// The same source for this computer.
fn native() -> Outcome {
    let begin = cpu_seconds();
    let digest = work::work(black_box(work::ROUNDS));
    Outcome {
        seconds: cpu_seconds() - begin,
        instructions: 0,
        exit_code: Some(u64::from(digest & 0x7f)),
    }
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [engine, file, limit] = arguments.as_slice() else {
        bail!("usage: peers ENGINE FILE LIMIT");
    };
    let limit = limit.parse().wrap_err("the limit is no number")?;
    let program = std::fs::read(file).wrap_err("failed to read the program")?;
    let outcome = match engine.as_str() {
        "ckb-vm-asm" => ckb_vm_asm(&program.into())?,
        "ckb-vm" => ckb_vm(&program.into())?,
        "rvemu" => rvemu(&program, limit)?,
        "native" => native(),
        _ => bail!("unknown engine '{engine}'"),
    };
    let exit_code = outcome.exit_code.map_or("-".into(), |code| code.to_string());
    println!("{} {} {exit_code}", outcome.seconds, outcome.instructions);
    Ok(())
}
