//! The Bitsect challenger binary.

use std::process::ExitCode;

use bitsect_challenger::cli::Cli;
use bitsect_node::cli::exit_code;
use clap::Parser;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(exit_code(&error))
        }
    }
}
