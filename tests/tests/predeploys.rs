//! What is checked in twice agrees: the predeploys' code with their sources, by the pinned compiler, and the
//! versions in `examples/package.json` with those that `make setup` installs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The checkout.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn rebuilding_the_predeploys_gives_the_same_bytes() {
    let node = std::env::var("BITSECT_NODEJS").expect(r#"BITSECT_NODEJS is set by eval "$(.ci/setup env)""#);
    let output = Command::new(node)
        .arg(root().join("vm/contracts/build.mjs"))
        .arg("--check")
        .output()
        .expect("failed to start Node.js");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn examples_name_the_installed_versions() {
    let text = std::fs::read_to_string(root().join(".ci/versions")).unwrap();
    let installed: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once('=')).collect();
    let package = std::fs::read(root().join("examples/package.json")).unwrap();
    let package: serde_json::Value = serde_json::from_slice(&package).unwrap();
    let named = package["dependencies"].as_object().unwrap();
    for (name, key) in [
        ("@nomicfoundation/hardhat-ethers", "HARDHAT_ETHERS_VERSION"),
        ("ethers", "ETHERS_VERSION"),
        ("hardhat", "HARDHAT_VERSION"),
        ("solc", "SOLC_VERSION"),
        ("viem", "VIEM_VERSION"),
    ] {
        assert_eq!(named[name], installed[key], "{name}");
    }
    assert_eq!(named.len(), 5, "a new dependency is compared too");
}
