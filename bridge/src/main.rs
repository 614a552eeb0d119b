//! The bridge's binary: committees, operators, claims.

use std::process::ExitCode;

use bitsect_bridge::cli::{Cli, exit_code};
use clap::Parser;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(exit_code(&error))
        }
    }
}
