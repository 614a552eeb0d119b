//! The developer's tool: run, trace, step, root.

mod load;
mod profile;
mod show;
mod subject;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use bitsect_machine::{Engine, EngineKind, Interpreter, Machine, Status};
use clap::{Args, Parser, Subcommand};
use eyre::{Context, Result, ensure};

use load::Loaded;

/// Runs programs on the rv32im machine that judges Bitsect's disputes (docs/machine.md).
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a program until it ends; prints steps, seconds, MIPS and the final state.
    Run {
        #[command(flatten)]
        source: Source,
        /// Stop after so many steps.
        #[arg(long, value_name = "N", default_value_t = u64::MAX)]
        steps: u64,
        /// What runs it.
        #[arg(long, value_enum, default_value_t = EngineKind::Fast)]
        engine: EngineKind,
        /// Print how many steps each subject and each function takes, the dearest first. Takes the interpreter.
        #[arg(long)]
        profile: bool,
    },
    /// Print instructions with what they change.
    Trace {
        #[command(flatten)]
        source: Source,
        /// The first step that is printed.
        #[arg(long, value_name = "N", default_value_t = 0)]
        from: u64,
        /// How many steps are printed.
        #[arg(long, value_name = "N", default_value_t = 100)]
        count: u64,
    },
    /// Print one step's witness, and check it against its two roots.
    Step {
        /// The step, from 0.
        step: u64,
        #[command(flatten)]
        source: Source,
    },
    /// Print the machine state before a step.
    Root {
        /// The step, from 0; without it the program's root, with an input of zeros.
        step: Option<u64>,
        #[command(flatten)]
        source: Source,
    },
}

/// What to run.
#[derive(Args, Debug)]
pub struct Source {
    /// An ELF file for bare-metal rv32im.
    #[arg(long, value_name = "FILE")]
    elf: PathBuf,
    /// The input leaf: up to 64 bytes in hex.
    #[arg(long, value_name = "HEX", default_value = "")]
    input: String,
    /// A unit's record: it gives the input, and what the oracle answers.
    #[arg(long, value_name = "FILE", conflicts_with = "input")]
    unit: Option<PathBuf>,
}

impl Cli {
    /// Does what was asked for. The exit code is 0 when the program exits with 0, or need not exit.
    pub fn run(self) -> Result<ExitCode> {
        match self.command {
            Command::Run {
                source,
                steps,
                engine,
                profile,
            } => {
                let loaded = Loaded::new(&source)?;
                if profile {
                    profile::run(&loaded, steps)
                } else {
                    run(&loaded, steps, engine)
                }
            }
            Command::Trace { source, from, count } => trace(&Loaded::new(&source)?, from, count),
            Command::Step { step, source } => prove(&Loaded::new(&source)?, step),
            Command::Root { step, source } => root(&Loaded::new(&source)?, step),
        }
    }
}

fn run(loaded: &Loaded, steps: u64, kind: EngineKind) -> Result<ExitCode> {
    let mut machine = loaded.machine()?;
    let mut engine = kind.engine();
    let start = Instant::now();
    let ended = engine.run_to(&mut machine, steps, &loaded.oracle);
    let seconds = start.elapsed().as_secs_f64();
    // A halted machine makes steps for ever: count those that do something.
    let made = machine.stopped_at().unwrap_or(machine.steps());
    println!("engine   {kind}");
    println!("steps    {made}");
    println!("seconds  {seconds:.3}");
    println!("mips     {:.1}", made as f64 / seconds / 1e6);
    println!("status   {}", show::status(machine.status()));
    println!("output   {}", machine.output());
    println!("state    {}", machine.root());
    ended.wrap_err("failed to go on")?;
    if let Some(expected) = loaded.expected {
        ensure!(machine.output() == expected, "the node's S_{{k+1}} is {expected}");
        println!("checked  the output is the node's S_{{k+1}}");
    }
    Ok(exit_code(machine.status()))
}

fn trace(loaded: &Loaded, from: u64, count: u64) -> Result<ExitCode> {
    let mut machine = loaded.machine()?;
    EngineKind::Fast
        .engine()
        .run_to(&mut machine, from, &loaded.oracle)?;
    for _ in 0..count {
        if machine.status() != Status::Running {
            println!("{:>12}  {}", machine.steps(), show::status(machine.status()));
            break;
        }
        let (step, pc, before) = (machine.steps(), machine.pc(), *machine.registers());
        let text = show::instruction(&machine);
        Interpreter.run_to(&mut machine, step + 1, &loaded.oracle)?;
        let changes = show::changes(&before, machine.registers());
        println!(
            "{step:>12}  {pc:08x}  {text:<32} {changes}{}",
            show::place(&loaded.program, pc)
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn prove(loaded: &Loaded, step: u64) -> Result<ExitCode> {
    let mut machine = loaded.machine()?;
    EngineKind::Fast
        .engine()
        .run_to(&mut machine, step, &loaded.oracle)?;
    let text = show::instruction(&machine);
    let witness = machine.prove_step(&loaded.oracle)?;
    show::witness(step, &text, &witness);
    witness
        .verify(&loaded.program.text)
        .wrap_err("the witness does not hold")?;
    println!("checked  the two roots prove this step");
    Ok(ExitCode::SUCCESS)
}

fn root(loaded: &Loaded, step: Option<u64>) -> Result<ExitCode> {
    let mut machine = match step {
        Some(_) => loaded.machine()?,
        None => Machine::new(&loaded.program, &[0; 64])?,
    };
    EngineKind::Fast
        .engine()
        .run_to(&mut machine, step.unwrap_or_default(), &loaded.oracle)?;
    println!("{}", machine.root());
    Ok(ExitCode::SUCCESS)
}

fn exit_code(status: Status) -> ExitCode {
    match status {
        Status::Running | Status::Halted { exit_code: 0 } => ExitCode::SUCCESS,
        Status::Halted { .. } | Status::Trapped(_) => ExitCode::FAILURE,
    }
}
