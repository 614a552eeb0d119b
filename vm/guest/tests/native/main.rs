//! The code that the machine runs, natively: whole blocks out of their hashes, whole units out of their records.

mod blocks;
#[path = "../../../tests/derivation/bridge.rs"]
mod bridge;
mod oracle;
#[path = "../../../tests/derivation/simulation.rs"]
mod simulation;
#[path = "../../../tests/derivation/traffic.rs"]
mod traffic;
mod units;
