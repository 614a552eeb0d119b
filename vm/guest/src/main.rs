//! The program that a dispute runs: reads `S_k` and the advice, writes `S_{k+1}`, and ends with exit code 0. Where
//! there is no next state it traps.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod machine;

#[cfg(not(target_os = "none"))]
fn main() -> std::process::ExitCode {
    eprintln!("bitsect-guest runs on the machine only: build it with .ci/guest");
    std::process::ExitCode::FAILURE
}
