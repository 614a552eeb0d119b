//! Commands.

mod debug;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Leaves of the judge.
#[derive(Debug, Parser)]
#[command(name = "bitsect-judge", version)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prints the table of all leaves (docs/judge-leaves.md).
    Table,
    /// Prints the names of all leaves.
    List,
    /// Shows one leaf: its sizes, and with values what it does with the stack.
    Leaf {
        /// Its name, as `bitsect-judge list` has it.
        name: String,
        /// A file with what the prover says and the challenger adds:
        /// {"values": {"First": "05000000", ...}, "hints": [1, 2]}; values in hex as they are published (words
        /// little-endian). Without hints those that refute the values are taken. Keys of a demonstration sign.
        #[arg(long)]
        witness: Option<PathBuf>,
        /// Prints the stack after the signatures and where generators marked it.
        #[arg(long)]
        trace: bool,
    },
}

/// Runs a command.
///
/// # Errors
/// Where there is no such leaf, or its witness cannot be read or is not taken.
pub fn run(arguments: &Arguments) -> eyre::Result<()> {
    match &arguments.command {
        Command::Table => print!("{}", bitsect_judge::table::render()),
        Command::List => {
            for rule in bitsect_judge::rules(&bitsect_judge::table::TEXT) {
                println!("{}", rule.name);
            }
        }
        Command::Leaf { name, witness, trace } => debug::leaf(name, witness.as_deref(), *trace)?,
    }
    Ok(())
}
