//! What is refused before anything is sent, by name and number; and that no secret is shown.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::world::{TO, World, serve};

const USAGE: i32 = 2;
const RULE: i32 = 3;
const FUNDS: i32 = 4;
const NETWORK: i32 = 5;
const MAINNET: &str = "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr";
const REGTEST: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_refused_before_anything_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path()).await;
    // A node of another chain, that knows its id and no more.
    let other = serve(|_| json!({ "client": "test", "chainId": 78 })).await;
    let send = format!("deposit send --to {TO} --amount");
    let wrong_case = TO.replace("E0F", "e0F");
    for (command, code, words) in [
        (
            format!("{send} 50000"),
            RULE,
            "amount: expected an amount with its unit",
        ),
        (
            format!("{send} 0.000000001BTC"),
            RULE,
            "amount: expected whole sats",
        ),
        (
            format!("{send} 9999sats"),
            RULE,
            "amount: expected at least min_deposit, 0.00010000 BTC, got 0.00009999 BTC",
        ),
        (
            format!("{send} 51BTC"),
            FUNDS,
            "balance of the Bitcoin wallet: expected at least 51.",
        ),
        (format!("{send} 50BTC"), FUNDS, "got 50 BTC; pay to bcrt1p"),
        (
            format!("{send} 50000sats --max-fee 10"),
            RULE,
            "fee: expected at most max_fee_sats, 0.00000010 BTC, got",
        ),
        (
            format!("{send} 50000sats --max-fee 0"),
            USAGE,
            "option max_fee_sats: expected 1 to",
        ),
        (
            format!("{send} 50000sats --call-target {TO}"),
            USAGE,
            "--call-data",
        ),
        (
            format!("{send} 50000sats --call-target {TO} --call-data 0x0"),
            RULE,
            "call_data: expected hexadecimal",
        ),
        (
            format!(
                "{send} 50000sats --call-target {TO} --call-data 0x{}",
                "00".repeat(1_025)
            ),
            RULE,
            "call_data: expected at most 1024 bytes, got 1025",
        ),
        (
            format!("{send} 50000sats --node-url {other}"),
            RULE,
            "chain id of the node: expected 77, as the chain file has it, got 78",
        ),
        (
            format!("{send} 50000sats --node-url http://127.0.0.1:1"),
            NETWORK,
            "node: http://127.0.0.1:1 is not reachable",
        ),
        (
            format!("deposit send --to {wrong_case} --amount 50000sats"),
            RULE,
            "to: expected the checksum of EIP-55",
        ),
        (
            format!("deposit send --to {REGTEST} --amount 50000sats"),
            RULE,
            "to: expected 0x and 40",
        ),
        (
            "deposit status nothing".to_owned(),
            RULE,
            "outpoint: expected txid:vout",
        ),
        (
            format!("withdraw request --to {MAINNET} --amount 1BTC --fee 1sat"),
            RULE,
            "to: expected an address of the network regtest",
        ),
        (
            format!("withdraw request --to {REGTEST} --amount 1000sats --fee 455sats"),
            RULE,
            "amount: expected at least 0.00000546 BTC, the dust limit, behind a fee of 0.00000455 BTC",
        ),
        (
            format!("withdraw request --to {REGTEST} --amount 1BTC --fee 50001sats"),
            RULE,
            "fee: expected at most max_fee_sats, 0.00050000 BTC, got 0.00050001 BTC",
        ),
        (
            format!("withdraw request --to {REGTEST} --amount 0.1sats --fee 1sat"),
            RULE,
            "amount: expected whole sats",
        ),
        (
            format!("withdraw request --to {REGTEST} --amount 1BTC --fee 1sat"),
            USAGE,
            "option node_url is not given",
        ),
        (
            format!("withdraw request --to {REGTEST} --amount 1BTC --fee 1sat --node-url {other}"),
            RULE,
            "chain id of the node",
        ),
    ] {
        let done = world.run("ann", &command).refused(code, words);
        assert!(done.out.is_empty(), "{done:?}");
    }
    let refused = world.run("ann", &format!("{send} 9999sats --json")).json();
    let expected = json!({ "error": {
        "kind": "refused", "exitCode": 3, "field": "amount", "rule": "at least min_deposit, 0.00010000 BTC",
        "got": "0.00009999 BTC",
        "message": "amount: expected at least min_deposit, 0.00010000 BTC, got 0.00009999 BTC",
    }});
    assert_eq!(refused, expected);
    // A chain that Bitcoin Core does not have.
    let chain = std::fs::read_to_string(world.file("chain.toml")).unwrap();
    let place = chain.find("\nhash = \"0x").unwrap() + "\nhash = \"0x".len();
    let mut forked = chain.clone();
    forked.replace_range(place..place + 4, "dead");
    std::fs::write(world.file("chain.toml"), forked).unwrap();
    world
        .run("ann", "balance")
        .refused(RULE, "Bitcoin block: expected ");
    // A folder of another chain.
    std::fs::write(
        world.file("chain.toml"),
        chain.replace("chain_id = 77", "chain_id = 78"),
    )
    .unwrap();
    world
        .run("ann", "balance")
        .refused(1, "user's file: deployment: expected ");
    std::fs::write(world.file("chain.toml"), chain).unwrap();
    assert!(world.mempool().await.is_empty());
    let held = world.run("ann", "balance --json").ok().json();
    assert_eq!(held["confirmedSats"], 5_000_000_000_u64);
    assert_eq!(held["l2Wei"], Value::Null);
    // A wallet's file is of one key.
    let key = std::fs::read(world.file("ann.key")).unwrap();
    std::fs::remove_file(world.file("ann.key")).unwrap();
    world.run("ann", "key new").ok();
    world.run("ann", "balance").refused(1, "wallet file does not fit");
    std::fs::write(world.file("ann.key"), key).unwrap();
    world.run("ann", "balance").ok();
    world.core.kill();
    world
        .run("ann", "balance")
        .refused(NETWORK, "no answer from Bitcoin Core");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_shown_and_key_files_stay_private() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path()).await;
    let words = std::fs::read_to_string(world.file("ann.key")).unwrap();
    assert_eq!(words.split_whitespace().count(), 24);
    let shown = world.run("ann", "key show --json").ok().json();
    // Never over another file.
    world.run("ann", "key new").refused(USAGE, "File exists");
    // The words come from a file or standard input, and give the same keys.
    let given = world.file("words");
    std::fs::write(&given, words.replace(' ', "\n")).unwrap();
    world
        .run("cat", &format!("key import --from {}", given.display()))
        .refused(USAGE, "has mode 0644; others may use it: run chmod 600");
    std::fs::set_permissions(&given, std::fs::Permissions::from_mode(0o600)).unwrap();
    let imported = world
        .run("cat", &format!("key import --json --from {}", given.display()))
        .ok()
        .json();
    let piped = world
        .run_with_input("dan", "key import --json", &given)
        .ok()
        .json();
    for (name, made) in [("cat", imported), ("dan", piped)] {
        for field in ["bitcoinAddress", "account", "firstRefundKey"] {
            assert_eq!(made[field], shown[field], "{name}: {field}");
        }
        let mode = std::fs::metadata(world.file(&format!("{name}.key")))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    world
        .run("eve", "key import")
        .refused(USAGE, "seed: expected the 12 or 24 words of a BIP-39 seed");
    assert!(!world.file("eve.key").exists());
    world.run("eve", "key new --words 12").ok();
    let twelve = std::fs::read_to_string(world.file("eve.key")).unwrap();
    assert_eq!(twelve.split_whitespace().count(), 12);
    world
        .run("eve", "key new --words 15")
        .refused(USAGE, "expected 12 or 24");

    // Everything that is logged and printed on the way of a deposit.
    let mut said = String::new();
    for command in [
        "key show".to_owned(),
        format!("deposit send --to {TO} --amount 50000sats"),
        "deposit status".to_owned(),
        "balance --json".to_owned(),
    ] {
        let done = world.run("ann", &format!("{command} --log trace")).ok();
        said.push_str(&done.out);
        said.push_str(&done.err);
    }
    assert!(said.contains("TRACE") || said.contains("DEBUG"), "{said}");
    let mnemonic: Vec<&str> = words.split_whitespace().collect();
    for pair in mnemonic.windows(2) {
        assert!(!said.contains(&pair.join(" ")), "words are shown");
    }
    for secret in secrets(words.trim()) {
        assert!(!said.contains(&secret), "a key is shown");
    }
    // Others may read it: refused, by every command.
    std::fs::set_permissions(world.file("ann.key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    for command in ["key show", "balance", "deposit status"] {
        world
            .run("ann", command)
            .refused(USAGE, "ann.key has mode 0644; others may use it");
    }
}

/// The seed's keys, in hexadecimal and as Bitcoin's tools write them.
fn secrets(words: &str) -> Vec<String> {
    use bitcoin::NetworkKind;
    use bitsect_l1::wallet::Keys;
    let dir = tempfile::tempdir().unwrap();
    let keys = Keys::import(&dir.path().join("key"), NetworkKind::Test, words.as_bytes()).unwrap();
    let mut secrets: Vec<String> = [
        "m/44'/60'/0'/0/0",
        "m/86'/1'/0'/0/0",
        "m/86'/1'/0'/1/0",
        "m/86'/1'/1'/0/0",
        "m",
    ]
    .iter()
    .map(|path| hex::encode(keys.secret_at(&path.parse().unwrap()).secret_bytes()))
    .collect();
    secrets.push("tprv8".to_owned());
    secrets
}
