//! The Bitsect node binary.

use std::process::ExitCode;

use bitsect_node::cli::{Cli, exit_code};
use clap::Parser;

/// Requests, blocks and the store's pages allocate on many threads at once, where the system's allocator takes turns.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(exit_code(&error))
        }
    }
}
