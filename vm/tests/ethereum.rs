//! Ethereum's public execution tests (execution-spec-tests) through `execute_block` and the executor.
//!
//! Fixtures are looked for in `EEST_FIXTURES`, then in `../shared/fixtures` beside the checkout: folders, or archives
//! that are unpacked into the test cache. Without either, the small sample in `tests/fixtures` runs, and the test says
//! so. State tests compare the post-state account by account, because our state root differs by design; blockchain
//! tests add headers, receipts root, gas, bloom and blocks that must be refused.
//!
//! Every file and case is counted. What does not apply is skipped by class, in one list with reasons: a class that
//! nothing falls into fails the test, so the list cannot rot.

#[path = "ethereum/blockchain.rs"]
mod blockchain;
#[path = "ethereum/creations.rs"]
mod creations;
#[path = "ethereum/fixture.rs"]
mod fixture;
#[path = "ethereum/report.rs"]
mod report;
#[path = "ethereum/state.rs"]
mod state;

use std::path::Path;

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use fixture::{Source, files, locate};
use report::Report;

fn run_all(kind: &str, run: fn(&Path, &mut Report)) {
    let source = locate(kind);
    let files = files(source.folder());
    assert!(
        !files.is_empty(),
        "there are no fixtures in {}",
        source.folder().display()
    );
    let report = files
        .par_iter()
        .fold(Report::default, |mut report, file| {
            run(file, &mut report);
            report
        })
        .reduce(Report::default, Report::merge);
    println!("{kind}: {source}");
    println!("{report}");
    assert_eq!(report.files, files.len(), "not every file was counted");
    report.verify_skips(kind, matches!(source, Source::Sample(_)));
    assert!(
        report.failures.is_empty(),
        "{} of {} cases failed",
        report.failures.len(),
        report.cases()
    );
}

#[test]
fn state_tests() {
    run_all("state_tests", state::run_file);
}

#[test]
fn blockchain_tests() {
    run_all("blockchain_tests", blockchain::run_file);
}
