//! The speed of the engines on one piece of work, against other emulators and native code.
//!
//! All are compared by the CPU time that the work takes them, from one source: the machine and qemu run it as rv32im,
//! the others, which have only 64-bit registers, as rv64. .ci/kernel builds it, the package `peers` runs the others.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bitsect_machine::{EngineKind, Machine, Preimages, Program, Status};
use eyre::{OptionExt, Result, WrapErr, ensure};
use rustix::time::{ClockId, clock_gettime};

/// Instructions that are enough to time an engine that takes half a minute and more for all of the work.
const PART: u64 = 60_000_000;
/// Runs of each, in turn: the best counts.
const RUNS: usize = 5;

/// What a run took.
#[derive(Clone, Copy)]
struct Sample {
    /// Seconds of CPU time.
    seconds: f64,
    /// Instructions that it made in that time, by its own count.
    instructions: u64,
    /// The program's exit code, if it came to its end.
    exit_code: Option<u32>,
}

/// One line of the table.
struct Line<'a> {
    name: &'static str,
    /// What the work is made of.
    instructions: &'static str,
    run: Box<dyn FnMut() -> Result<Sample> + 'a>,
    /// Instructions of all of the work, where the runs are but a part of it.
    total: Option<u64>,
    best: Option<Sample>,
}

impl<'a> Line<'a> {
    fn new(name: &'static str, instructions: &'static str, run: impl FnMut() -> Result<Sample> + 'a) -> Self {
        Self {
            name,
            instructions,
            run: Box::new(run),
            total: None,
            best: None,
        }
    }

    /// The same, with runs that do a part of so many instructions.
    fn part_of(mut self, total: u64) -> Self {
        self.total = Some(total);
        self
    }

    fn measure(&mut self, digest: u32) -> Result<()> {
        let sample = (self.run)().wrap_err(self.name)?;
        ensure!(
            sample.exit_code == self.total.is_none().then_some(digest),
            "{} ended with {:?}, native code with {digest}",
            self.name,
            sample.exit_code
        );
        if self.best.is_none_or(|best| sample.seconds < best.seconds) {
            self.best = Some(sample);
        }
        Ok(())
    }

    /// Seconds that all of the work takes.
    fn seconds(&self) -> f64 {
        let Sample {
            seconds,
            instructions,
            ..
        } = self.best.expect("it was measured");
        self.total
            .map_or(seconds, |total| seconds * total as f64 / instructions as f64)
    }

    fn print(&self, fast: f64) {
        let best = self.best.expect("it was measured");
        println!(
            "{:<24} {:<12} {:>8.0} {:>9.3} {:>13.2}x",
            self.name,
            self.instructions,
            best.instructions as f64 / best.seconds / 1e6,
            self.seconds(),
            self.seconds() / fast
        );
    }
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

/// Runs the program to a limit on the machine, from nothing.
fn machine(kind: EngineKind, program: &Program, limit: u64) -> Result<Sample> {
    let mut machine = Machine::new(program, &[0; 64]).wrap_err("failed to map memory")?;
    let mut engine = kind.engine();
    let begin = cpu_seconds();
    engine.run_to(&mut machine, limit, &Preimages::default())?;
    let seconds = cpu_seconds() - begin;
    let exit_code = match machine.status() {
        Status::Halted { exit_code } => Some(exit_code),
        Status::Running => None,
        Status::Trapped(trap) => eyre::bail!("the program trapped: {trap:?} at {:#x}", machine.pc()),
    };
    Ok(Sample {
        seconds,
        instructions: machine.stopped_at().unwrap_or(machine.steps()),
        exit_code,
    })
}

/// Runs the program in qemu, its start included.
fn qemu(path: &str, kernel: &Path, instructions: u64) -> Result<Sample> {
    let begin = children_seconds()?;
    let status = Command::new(path)
        .arg(kernel)
        .status()
        .wrap_err("failed to start qemu")?;
    Ok(Sample {
        seconds: children_seconds()? - begin,
        instructions,
        exit_code: status.code().map(i32::cast_unsigned),
    })
}

/// Runs a command that prints one line that is asked for, and gives the last line.
fn output(command: &mut Command) -> Result<String> {
    let name = format!("{command:?}");
    let got = command
        .output()
        .wrap_err_with(|| format!("failed to start {name}"))?;
    ensure!(
        got.status.success(),
        "{name} failed: {}",
        String::from_utf8_lossy(&got.stderr)
    );
    let text = String::from_utf8(got.stdout)?;
    Ok(text.trim_end().lines().last().unwrap_or_default().to_owned())
}

/// The folder of the program that runs other emulators.
struct Peers(PathBuf);

impl Peers {
    fn build(root: &Path) -> Result<Self> {
        let folder = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        let folder = std::path::absolute(folder)?.join("peers");
        output(
            Command::new(env!("CARGO"))
                .args(["build", "--quiet", "--release", "--locked", "--manifest-path"])
                .arg(root.join("vm/machine/benches/peers/Cargo.toml"))
                .env("CARGO_TARGET_DIR", &folder),
        )?;
        Ok(Self(folder.join("release")))
    }

    fn run(&self, engine: &str, kernel: &Path, limit: u64) -> Result<Sample> {
        // rvemu writes the source of a device tree into the working folder.
        let line = output(
            Command::new(self.0.join("peers"))
                .current_dir(&self.0)
                .arg(engine)
                .arg(kernel)
                .arg(limit.to_string()),
        )?;
        let mut fields = line.split(' ');
        let mut next = || fields.next().ok_or_eyre("peers printed too little");
        Ok(Sample {
            seconds: next()?.parse()?,
            instructions: next()?.parse()?,
            exit_code: next()?.parse().ok(),
        })
    }
}

fn main() -> Result<()> {
    let qemu_path = std::env::var("BITSECT_QEMU").wrap_err("no BITSECT_QEMU: run `make bench`")?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = PathBuf::from(output(&mut Command::new(root.join(".ci/kernel")))?);
    let peers = Peers::build(&root)?;
    let [rv32, rv64, rv64_b, rv64_high] =
        ["rv32im", "rv64imac", "rv64imac-b", "rv64imac-high"].map(|name| folder.join(name));
    let program = Program::from_elf(&fs::read(&rv32)?)?;

    let all = u64::MAX;
    let digest = peers.run("native", &rv32, all)?.exit_code;
    let digest = digest.ok_or_eyre("native code gave no digest")?;
    let total = machine(EngineKind::Fast, &program, all)?.instructions;
    // Once to the end, which the parts below do not see.
    let high = peers.run("rvemu", &rv64_high, all)?;
    ensure!(
        high.exit_code == Some(digest),
        "rvemu ended with {:?}",
        high.exit_code
    );

    let mut lines = [
        Line::new("fast engine", "rv32im", || {
            machine(EngineKind::Fast, &program, all)
        }),
        Line::new("interpreter", "rv32im", || {
            machine(EngineKind::Interpreter, &program, PART)
        })
        .part_of(total),
        Line::new("qemu-riscv32, user mode", "rv32im", || {
            qemu(&qemu_path, &rv32, total)
        }),
        Line::new("ckb-vm, assembly", "rv64imac", || {
            peers.run("ckb-vm-asm", &rv64, all)
        }),
        Line::new("ckb-vm, assembly", "rv64imac_b", || {
            peers.run("ckb-vm-asm", &rv64_b, all)
        }),
        Line::new("ckb-vm, Rust", "rv64imac_b", || peers.run("ckb-vm", &rv64_b, all)),
        Line::new("rvemu", "rv64imac", || peers.run("rvemu", &rv64_high, PART)).part_of(high.instructions),
        Line::new("native", "x86-64", || {
            let sample = peers.run("native", &rv32, all)?;
            Ok(Sample {
                instructions: total,
                ..sample
            })
        }),
    ];
    for _ in 0..RUNS {
        for line in &mut lines {
            line.measure(digest)?;
        }
    }
    println!("keccak, SHA-256, 256-bit products, heap sort: {total} instructions of rv32im");
    println!(
        "{:<24} {:<12} {:>8} {:>9} {:>14}",
        "engine", "instructions", "MIPS", "seconds", "fast engine is"
    );
    let fast = lines[0].seconds();
    for line in &lines {
        line.print(fast);
    }
    Ok(())
}
