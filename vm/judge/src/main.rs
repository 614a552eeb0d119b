//! The judge's tool for developers: leaves, their sizes, and what they do with the stack.

mod cli;

use clap::Parser;

fn main() -> eyre::Result<()> {
    cli::run(&cli::Arguments::parse())
}
