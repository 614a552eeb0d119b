//! Where a program's steps go, by subject and by function.

use std::collections::HashMap;
use std::fmt::Display;
use std::process::ExitCode;

use bitsect_machine::{Engine, Interpreter, Machine, Status};
use eyre::Result;

use super::load::Loaded;
use super::{show, subject::subject};

/// Functions that are printed.
const SHOWN: usize = 40;

/// Runs a program and counts the steps of each function.
pub fn run(loaded: &Loaded, steps: u64) -> Result<ExitCode> {
    let mut machine = loaded.machine()?;
    let mut counts: HashMap<u32, u64> = HashMap::new();
    while machine.status() == Status::Running && machine.steps() < steps {
        *counts.entry(machine.pc()).or_default() += 1;
        let next = machine.steps() + 1;
        Interpreter.run_to(&mut machine, next, &loaded.oracle)?;
    }
    let mut functions: HashMap<&str, u64> = HashMap::new();
    for (pc, count) in counts {
        let name = loaded
            .program
            .symbol(pc)
            .map_or("?", |symbol| symbol.name.as_str());
        *functions.entry(name).or_default() += count;
    }
    let mut subjects: HashMap<&str, u64> = HashMap::new();
    for (name, count) in &functions {
        *subjects.entry(subject(name)).or_default() += count;
    }
    println!("{} steps, {}", machine.steps(), show::status(machine.status()));
    for (name, count) in dearest_first(subjects) {
        line(&machine, count, &name);
    }
    println!();
    for (name, count) in dearest_first(functions).into_iter().take(SHOWN) {
        line(&machine, count, &rustc_demangle::demangle(name));
    }
    Ok(super::exit_code(machine.status()))
}

fn dearest_first(counts: HashMap<&str, u64>) -> Vec<(&str, u64)> {
    let mut counts: Vec<(&str, u64)> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    counts
}

fn line(machine: &Machine, count: u64, name: &dyn Display) {
    let share = 100.0 * count as f64 / machine.steps() as f64;
    println!("{count:>14} {share:5.1} %  {name:#}");
}
