//! The way of bitcoin onto L2 and off it again, by the programs that everybody runs: a devnet, an operator, a challenger, and
//! the commands of a user.

#[path = "../../../vm/guest/tests/machine/built.rs"]
mod built;

use bitcoin::Amount;
use bitsect_node::devnet::committee::{Member, paying};
use bitsect_tests::bridge::{BridgeNet, BridgeOptions};
use bitsect_tests::until;
use serde_json::{Value, json};

/// Two deposits: the credit of what is withdrawn covers the smaller one.
const DEPOSITS: [u64; 2] = [3_000_000, 1_000_000];
const WITHDRAWN: u64 = 2_900_000;
const FEE: u64 = 5_000;

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Runs a command of a user's; where it fails, the members' logs say why.
fn run(net: &BridgeNet, name: &str, args: &[&str]) -> Value {
    let done = net.user(name, args);
    done.unwrap_or_else(|error| panic!("{name} {args:?}: {error:#}\n{}", net.all_logged()))
}

/// Asks how a withdrawal is until it is paid: its stages, each once, shown as a user sees them.
async fn stages(net: &BridgeNet, id: &str) -> Vec<String> {
    let seen = std::cell::RefCell::new(Vec::new());
    until("the payout", || async {
        let status = run(net, "alice", &["withdraw", "status", id]);
        let stage = text(&status["stage"]);
        let mut seen = seen.borrow_mut();
        if seen.last() != Some(&stage) {
            println!("$ bitsect-bridge withdraw status {id}");
            println!(
                "{}",
                net.shown("alice", &["withdraw", "status", id]).expect("a status")
            );
            seen.push(stage.clone());
        }
        match stage.as_str() {
            "paid" => Ok(()),
            _ => Err(format!("{status}")),
        }
    })
    .await;
    seen.into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn bitcoin_goes_to_l2_and_back() {
    let net = BridgeNet::start(&built::built(), &BridgeOptions::default()).await;
    let mut net = net.expect("a bridge starts");
    let key = run(&net, "alice", &["key", "new"]);
    let (address, account) = (text(&key["bitcoinAddress"]), text(&key["account"]));
    let paid = paying(&address, Amount::from_sat(10_000_000)).expect("an address");
    net.pay(vec![paid]).await.expect("money");
    // Onto L2, to the sat.
    for sats in DEPOSITS {
        let amount = format!("{sats}sats");
        let deposit = run(
            &net,
            "alice",
            &["deposit", "send", "--to", &account, "--amount", &amount, "--wait"],
        );
        assert_eq!(deposit["stage"], "minted", "{deposit}");
    }
    let deposited: u64 = DEPOSITS.iter().sum();
    let balance = run(&net, "alice", &["balance"]);
    assert_eq!(balance["l2Sats"], json!(deposited), "{balance}");
    // And back: an operator pays all but its fee.
    let to = text(&run(&net, "bob", &["key", "new"])["bitcoinAddress"]);
    let (amount, fee) = (format!("{WITHDRAWN}sats"), format!("{FEE}sats"));
    let asked = [
        "withdraw", "request", "--to", &to, "--amount", &amount, "--fee", &fee,
    ];
    // Members that are away only delay.
    Member::PAIR.iter().for_each(|member| net.stop_member(*member));
    let id = run(&net, "alice", &asked)["id"]
        .as_u64()
        .expect("an id")
        .to_string();
    let status = run(&net, "alice", &["withdraw", "status", &id]);
    assert_eq!(status["stage"], "waitingForPayout", "{status}");
    for member in Member::PAIR {
        net.start_member(member).expect("a member starts");
    }
    let stages = stages(&net, &id).await;
    assert_eq!(
        stages.first().map(String::as_str),
        Some("waitingForPayout"),
        "{stages:?}"
    );
    assert_eq!(stages.last().map(String::as_str), Some("paid"), "{stages:?}");
    let balance = run(&net, "bob", &["balance"]);
    assert_eq!(balance["confirmedSats"], json!(WITHDRAWN - FEE), "{balance}");
    // The operator has a vault output assigned, claims, and takes it.
    let vault = until("the reimbursement", || async {
        let vault = net.rpc().get("rollup_vault", json!([])).await;
        if vault["vaultSats"] == json!(DEPOSITS[0]) {
            return Ok(vault);
        }
        let logged = net.logged(Member::OPERATOR);
        let said: Vec<&str> = logged.lines().rev().take(3).collect();
        Err(format!("{vault}\n{said:?}"))
    })
    .await;
    let credit = WITHDRAWN - DEPOSITS[1];
    assert_eq!(
        (
            &vault["creditSats"],
            &vault["pendingSats"],
            &vault["inFlightSats"]
        ),
        (&json!(credit), &json!(0), &json!(0)),
        "{vault}"
    );
    assert_eq!(vault["holds"], json!(true), "{vault}");
}
