//! Instructions a second of the engines, against qemu in user mode and native code, on the same work.
//!
//! All are compared by the CPU time that the same work takes them; the unit is the instruction of rv32im, so that
//! the native code's figure is how many instructions it saves the machine in a second. .ci/kernel builds the work.

#[path = "kernel/src/work.rs"]
mod work;

use std::fs;
use std::path::Path;
use std::process::Command;

use bitsect_machine::{EngineKind, Machine, Preimages, Program, Status};
use eyre::{OptionExt, Result, WrapErr, ensure};
use rustix::time::{ClockId, clock_gettime};

/// Steps that are enough to time the interpreter.
const INTERPRETED: u64 = 60_000_000;
/// Runs of each that is fast: the best counts.
const RUNS: usize = 5;

/// One line of the table.
struct Line {
    name: &'static str,
    /// Instructions of rv32im.
    instructions: u64,
    seconds: f64,
}

fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// The CPU time of children that have ended, in hundredths of a second.
fn children_seconds() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat").wrap_err("failed to read the CPU time of children")?;
    let fields = stat.rsplit(')').next().ok_or_eyre("no process name")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |at: usize| {
        fields
            .get(at)
            .and_then(|field| field.parse::<f64>().ok())
            .unwrap_or_default()
    };
    Ok((ticks(13) + ticks(14)) / 100.0)
}

/// Runs the program to a limit. Gives the steps it made, the time, and its exit code if it ended.
fn run(kind: EngineKind, program: &Program, limit: u64) -> Result<(u64, f64, Option<u32>)> {
    let mut machine = Machine::new(program, &[0; 64]).wrap_err("failed to map memory")?;
    let mut engine = kind.engine();
    let begin = cpu_seconds();
    let mut step = 0;
    while machine.status() == Status::Running && step < limit {
        step = limit.min(step + INTERPRETED);
        engine.run_to(&mut machine, step, &Preimages::default())?;
    }
    let seconds = cpu_seconds() - begin;
    Ok(match machine.status() {
        Status::Halted { exit_code } => (machine.steps(), seconds, Some(exit_code)),
        Status::Running => (machine.steps(), seconds, None),
        Status::Trapped(trap) => eyre::bail!("the program trapped: {trap:?} at {:#x}", machine.pc()),
    })
}

/// The steps that the program makes: the limits above count the steps of a machine that stopped, too.
fn count(program: &Program) -> Result<u64> {
    let mut machine = Machine::new(program, &[0; 64])?;
    let mut engine = EngineKind::Fast.engine();
    let (mut low, mut high) = (0, 1_u64 << 20);
    loop {
        engine.run_to(&mut machine, high, &Preimages::default())?;
        if machine.status() != Status::Running {
            break;
        }
        (low, high) = (high, high * 2);
    }
    while high - low > 1 {
        let middle = low.midpoint(high);
        let mut machine = Machine::new(program, &[0; 64])?;
        engine.run_to(&mut machine, middle, &Preimages::default())?;
        if machine.status() == Status::Running {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(high)
}

fn best(runs: usize, mut time: impl FnMut() -> Result<f64>) -> Result<f64> {
    let mut best = f64::INFINITY;
    for _ in 0..runs {
        best = best.min(time()?);
    }
    Ok(best)
}

fn qemu(path: &str, kernel: &Path, digest: u32) -> Result<f64> {
    best(RUNS, || {
        let begin = children_seconds()?;
        let status = Command::new(path)
            .arg(kernel)
            .status()
            .wrap_err("failed to start qemu")?;
        ensure!(
            status.code() == Some(digest.cast_signed()),
            "qemu ended with {status}"
        );
        Ok(children_seconds()? - begin)
    })
}

fn main() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let built = Command::new(root.join(".ci/kernel"))
        .output()
        .wrap_err("failed to start .ci/kernel")?;
    ensure!(
        built.status.success(),
        "failed to build the kernel: {}",
        String::from_utf8_lossy(&built.stderr)
    );
    let kernel = String::from_utf8(built.stdout)?;
    let kernel = Path::new(kernel.trim());
    let program = Program::from_elf(&fs::read(kernel)?)?;
    let qemu_path = std::env::var("BITSECT_QEMU").wrap_err("no BITSECT_QEMU: run `make bench`")?;

    let digest = work::work(std::hint::black_box(work::ROUNDS)) & 0x7f;
    let total = count(&program)?;
    let native = best(RUNS, || {
        let begin = cpu_seconds();
        std::hint::black_box(work::work(std::hint::black_box(work::ROUNDS)));
        Ok(cpu_seconds() - begin)
    })?;
    let fast = best(RUNS, || {
        let (_, seconds, exit_code) = run(EngineKind::Fast, &program, total)?;
        ensure!(
            exit_code == Some(digest),
            "the machine ended with {exit_code:?}, native code with {digest}"
        );
        Ok(seconds)
    })?;
    let (steps, interpreted, _) = run(EngineKind::Interpreter, &program, INTERPRETED)?;
    let lines = [
        Line {
            name: "interpreter",
            instructions: steps,
            seconds: interpreted,
        },
        Line {
            name: "fast engine",
            instructions: total,
            seconds: fast,
        },
        Line {
            name: "qemu-riscv32, user mode",
            instructions: total,
            seconds: qemu(&qemu_path, kernel, digest)?,
        },
        Line {
            name: "native x86-64",
            instructions: total,
            seconds: native,
        },
    ];
    println!("{total} instructions of rv32im: keccak, SHA-256, 256-bit products, heap sort");
    println!("{:<28} {:>10} {:>14}", "engine", "MIPS", "fast engine is");
    for line in &lines {
        let rate = line.instructions as f64 / line.seconds / 1e6;
        println!(
            "{:<28} {rate:>10.0} {:>13.2}x",
            line.name,
            total as f64 / fast / 1e6 / rate
        );
    }
    Ok(())
}
