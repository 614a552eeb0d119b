//! The code that the machine runs, natively: whole blocks out of their hashes, whole units out of their records.

mod blocks;
mod oracle;
#[path = "../../../tests/derivation/simulation.rs"]
#[expect(dead_code, reason = "shared with the tests of derivation")]
mod simulation;
#[path = "../../../tests/derivation/traffic.rs"]
mod traffic;
mod units;
