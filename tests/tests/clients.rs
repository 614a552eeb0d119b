//! The clients that dApps use, against a devnet: every program of `examples/` runs to its end, and `cast`
//! sees the same safe block on the sequencer and on the verifier, which knows nothing but Bitcoin.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use bitsect_tests::devnet::{Devnet, KEYS};

/// The examples; each uses the funded account with its number, so that they can run at once.
const EXAMPLES: [&str; 6] = ["cast", "viem", "web3py", "ethers", "hardhat", "bitcoin"];
/// How long the safe head may take to get to a block: L1 blocks come every second here.
const SAFE_WITHIN: Duration = Duration::from_secs(120);

fn run_example(devnet: &Devnet, name: &str, key: &str) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    Command::new(root.join("examples/run"))
        .arg(name)
        .env("RPC_URL", &devnet.sequencer)
        .env_remove("WS_URL")
        .env("PRIVATE_KEY", key)
        .env("BITCOIN_RPC_URL", &devnet.bitcoin)
        .env("BITCOIN_COOKIE", &devnet.bitcoin_cookie)
        .output()
        .expect("failed to start examples/run")
}

#[test]
fn every_example_runs() {
    let devnet = Devnet::start(&["--l1-interval", "1s"]).unwrap();
    let outputs: Vec<(&str, Output)> = std::thread::scope(|scope| {
        let started: Vec<_> = EXAMPLES
            .iter()
            .zip(KEYS)
            .map(|(name, key)| (*name, scope.spawn(|| run_example(&devnet, name, key))))
            .collect();
        started
            .into_iter()
            .map(|(name, run)| (name, run.join().unwrap()))
            .collect()
    });
    let mut failed = Vec::new();
    for (name, output) in &outputs {
        // An example that stops early without an error has no last line.
        if output.status.success() && output.stdout.ends_with(b"done\n") {
            continue;
        }
        failed.push(*name);
        println!("== {name}: {}", output.status);
        println!("{}", String::from_utf8_lossy(&output.stdout));
        println!("{}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(
        failed.is_empty(),
        "{failed:?} failed; the devnet said:\n{}",
        devnet.output()
    );
}

#[test]
fn a_missing_key_or_a_wrong_address_is_a_clear_failure() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for name in EXAMPLES {
        let output = Command::new(root.join("examples/run"))
            .arg(name)
            .env_remove("PRIVATE_KEY")
            .output()
            .unwrap();
        assert!(!output.status.success(), "{name}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            said.starts_with("FAILED: PRIVATE_KEY is not set"),
            "{name}: {said}"
        );

        // A port that nobody listens on: reserved, and refused at once.
        let output = Command::new(root.join("examples/run"))
            .arg(name)
            .env("PRIVATE_KEY", KEYS[0])
            .env("RPC_URL", "http://127.0.0.1:1")
            .env_remove("WS_URL")
            .output()
            .unwrap();
        assert!(
            !output.status.success(),
            "{name}: {}",
            String::from_utf8_lossy(&output.stdout)
        );
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("FAILED"),
            "{name}"
        );
    }
}

/// Runs the `cast` program; its output as JSON.
fn cast(args: &[&str]) -> serde_json::Value {
    let clients =
        std::env::var("BITSECT_CLIENTS").expect(r#"BITSECT_CLIENTS is set by eval "$(.ci/setup env)""#);
    let program = Path::new(&clients).join("@foundry-rs/cast-linux-amd64/bin/cast");
    let output = Command::new(program)
        .args(args)
        .output()
        .expect("failed to start cast");
    assert!(
        output.status.success(),
        "cast {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("cast prints JSON")
}

/// A number in a block's JSON.
fn number(block: &serde_json::Value) -> u64 {
    let digits = block["number"]
        .as_str()
        .expect("a block has a number")
        .trim_start_matches("0x");
    u64::from_str_radix(digits, 16).expect("numbers are hexadecimal")
}

#[test]
fn the_verifiers_safe_block_is_the_sequencers() {
    let devnet = Devnet::start(&["--l1-interval", "1s"]).unwrap();
    let (sequencer, verifier) = (devnet.sequencer.as_str(), devnet.verifier.as_str());
    let burn = "0x000000000000000000000000000000000000dEaD";
    let send = [
        "send",
        burn,
        "--value",
        "1gwei",
        "--private-key",
        KEYS[0],
        "--rpc-url",
        sequencer,
        "--json",
    ];
    let receipt = cast(&send);
    assert_eq!(receipt["status"], "0x1");
    let height = u64::from_str_radix(
        receipt["blockNumber"].as_str().unwrap().trim_start_matches("0x"),
        16,
    )
    .unwrap();

    let until = Instant::now() + SAFE_WITHIN;
    let safe = loop {
        let safe = cast(&["block", "safe", "--rpc-url", verifier, "--json"]);
        if number(&safe) >= height {
            break safe;
        }
        assert!(
            Instant::now() < until,
            "safe is {}, not {height}:\n{}",
            number(&safe),
            devnet.output()
        );
        std::thread::sleep(Duration::from_millis(200));
    };
    let by_number = number(&safe).to_string();
    assert_eq!(
        cast(&["block", &by_number, "--rpc-url", sequencer, "--json"]),
        safe
    );
    // The transaction is in the verifier's chain too.
    let hash = receipt["transactionHash"].as_str().unwrap();
    let seen = cast(&["receipt", hash, "--rpc-url", verifier, "--json"]);
    assert_eq!(seen["blockHash"], receipt["blockHash"]);
    assert_eq!(seen["status"], "0x1");
}

/// Runs the system's `curl`; its output.
fn curl(args: &[&str]) -> String {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--fail"])
        .args(args)
        .output()
        .expect("failed to start curl");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "curl {args:?}: {said}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn curl_reads_status_batches_metrics_and_health() {
    let devnet = Devnet::start(&["--l1-interval", "1s"]).unwrap();
    let call = |url: &str, method: &str, params: &str| -> serde_json::Value {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
        let answer = curl(&[url, "-H", "content-type: application/json", "-d", &body]);
        serde_json::from_str::<serde_json::Value>(&answer).expect("JSON")["result"].take()
    };
    let until = Instant::now() + SAFE_WITHIN;
    for (rpc, monitor) in [
        (&devnet.sequencer, &devnet.sequencer_metrics),
        (&devnet.verifier, &devnet.verifier_metrics),
    ] {
        let batch = loop {
            let batch = call(rpc, "rollup_batchOf", "[1]");
            if !batch.is_null() {
                break batch;
            }
            assert!(Instant::now() < until, "no batch:\n{}", devnet.output());
            std::thread::sleep(Duration::from_millis(200));
        };
        assert_eq!(batch["firstBlock"], 1, "{batch}");
        assert!(
            batch["commitTxid"].as_str().is_some_and(|txid| txid.len() == 64),
            "{batch}"
        );
        let status = call(rpc, "rollup_syncStatus", "[]");
        for head in ["latest", "safe", "finalized"] {
            assert!(status[head]["number"].is_u64(), "{head} of {status}");
        }
        assert_eq!(curl(&[&format!("{monitor}/readyz")]).trim(), "ready");
        assert_eq!(curl(&[&format!("{monitor}/healthz")]).trim(), "ok");
        let metrics = curl(&[&format!("{monitor}/metrics")]);
        assert!(metrics.contains("# TYPE bitsect_safe_block gauge"), "{metrics}");
    }
}
