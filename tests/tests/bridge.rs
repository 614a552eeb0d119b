//! The way of bitcoin onto L2 and off it again, by the programs that everybody runs: a devnet, an operator, a challenger, and
//! the commands of a user.

#[path = "../../vm/guest/tests/machine/built.rs"]
mod built;

use bitcoin::Amount;
use bitsect_tests::bridge::{BridgeNet, BridgeOptions, paying};
use bitsect_tests::until;
use serde_json::{Value, json};

const DEPOSIT: u64 = 3_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn bitcoin_goes_to_l2_and_back() {
    let net = BridgeNet::start(&built::built(), &BridgeOptions::default()).await;
    let net = net.expect("a bridge starts");
    let key = net.user("alice", &["key", "new"]).expect("a key");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (address, account) = (text(&key["bitcoinAddress"]), text(&key["account"]));
    let paid = paying(&address, Amount::from_sat(10_000_000)).expect("an address");
    net.pay(vec![paid]).await.expect("money");
    // Onto L2, to the sat.
    let amount = format!("{DEPOSIT}sats");
    let deposit = net.user(
        "alice",
        &["deposit", "send", "--to", &account, "--amount", &amount, "--wait"],
    );
    let deposit = deposit.unwrap_or_else(|error| {
        panic!(
            "{error:#}\n{}\n{}",
            net.logged("operator"),
            net.logged("challenger")
        )
    });
    assert_eq!(deposit["stage"], "minted", "{deposit}");
    let balance = net.user("alice", &["balance"]).expect("a balance");
    assert_eq!(balance["l2Sats"], json!(DEPOSIT), "{balance}");
    // And back: a sat more than half for the fees of L2.
    let key = net.user("bob", &["key", "new"]).expect("a key");
    let to = text(&key["bitcoinAddress"]);
    let asked = [
        "withdraw",
        "request",
        "--to",
        &to,
        "--amount",
        "2900000sats",
        "--fee",
        "5000sats",
        "--wait",
    ];
    let withdrawal = net.user("alice", &asked);
    let withdrawal = withdrawal.unwrap_or_else(|error| panic!("{error:#}\n{}", net.logged("operator")));
    assert_eq!(withdrawal["stage"], "paid", "{withdrawal}");
    let balance = net.user("bob", &["balance"]).expect("a balance");
    assert_eq!(balance["confirmedSats"], json!(2_895_000), "{balance}");
    let vault = net.rpc.get("rollup_vault", json!([])).await;
    assert_eq!(vault["vaultSats"], json!(DEPOSIT), "{vault}");
    println!("{vault}");
}
