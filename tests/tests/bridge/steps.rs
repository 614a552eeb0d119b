//! What users do, by the commands that they have.

use alloy_primitives::{U256, keccak256};
use bitcoin::{Amount, OutPoint, Transaction, Txid};
use bitsect_node::devnet::committee::paying;
use bitsect_tests::Rpc;
use bitsect_tests::bridge::BridgeNet;
use bitsect_tests::until;
use bitsect_vm::chain::predeploys::BRIDGE;
use serde_json::{Value, json};

/// Wei in a sat.
pub const SAT: u128 = 10_000_000_000;
/// What an operator keeps of a withdrawal, in sats, where a test does not mind.
pub const FEE: u64 = 5_000;
/// What a reimbursement spends beside the vault output: the claim's end and the assignment's right, of 330 sats each.
pub const BOUND: u64 = 660;

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Runs a command of a user's; where it fails, the members' logs say why.
pub fn run(net: &BridgeNet, name: &str, args: &[&str]) -> Value {
    let done = net.user(name, args);
    done.unwrap_or_else(|error| panic!("{name} {args:?}: {error:#}\n{}", net.all_logged()))
}

/// A user with a key: where it gets bitcoin, and its account on L2.
#[derive(Clone, Debug)]
pub struct User {
    pub name: &'static str,
    pub address: String,
    pub account: String,
}

impl User {
    /// Makes a user that has so many sats on Bitcoin.
    pub async fn new(net: &BridgeNet, name: &'static str, sats: u64) -> Self {
        let key = run(net, name, &["key", "new"]);
        let user = Self {
            name,
            address: text(&key["bitcoinAddress"]),
            account: text(&key["account"]),
        };
        if sats > 0 {
            let paid = paying(&user.address, Amount::from_sat(sats)).expect("an address");
            net.pay(vec![paid]).await.expect("money");
        }
        user
    }

    /// Sends a deposit for an account, and gives what the command says. `more` are its other options.
    pub fn send(&self, net: &BridgeNet, to: &str, sats: u64, more: &[&str]) -> Value {
        let amount = format!("{sats}sats");
        let send = ["deposit", "send", "--to", to, "--amount", &amount];
        let deposit = run(net, self.name, &[&send[..], more].concat());
        assert_eq!(deposit["amountSats"], json!(sats), "{deposit}");
        deposit
    }

    /// Deposits for an account, waits for the mint, and gives what the command says.
    pub fn deposit(&self, net: &BridgeNet, to: &str, sats: u64, call: &[&str]) -> Value {
        let deposit = self.send(net, to, sats, &[&["--wait"], call].concat());
        assert_eq!(deposit["stage"], "minted", "{deposit}\n{}", net.all_logged());
        deposit
    }

    /// Asks for a withdrawal, and gives its id.
    pub fn withdraw(&self, net: &BridgeNet, to: &str, sats: u64, fee: u64) -> u64 {
        let (amount, fee) = (format!("{sats}sats"), format!("{fee}sats"));
        let asked = [
            "withdraw", "request", "--to", to, "--amount", &amount, "--fee", &fee,
        ];
        let asked = run(net, self.name, &asked);
        asked["id"].as_u64().unwrap_or_else(|| panic!("{asked}"))
    }

    /// Waits until a withdrawal is paid, and gives its status.
    pub async fn paid(&self, net: &BridgeNet, id: u64) -> Value {
        until(&format!("the payout of {id}"), || async {
            let status = net.user(self.name, &["withdraw", "status", &id.to_string()]);
            // A forced one is not there yet.
            let status = status.map_err(|error| format!("{error:#}"))?;
            match status["stage"].as_str() {
                Some("paid") => Ok(status),
                _ => Err(format!("{status}")),
            }
        })
        .await
    }

    /// Gives the user's sats on Bitcoin that are confirmed.
    pub fn bitcoin(&self, net: &BridgeNet) -> u64 {
        let balance = run(net, self.name, &["balance"]);
        balance["confirmedSats"]
            .as_u64()
            .unwrap_or_else(|| panic!("{balance}"))
    }

    /// Gives the user's wei on L2, as the sequencer has them.
    pub async fn wei(&self, net: &BridgeNet) -> u128 {
        let node = &net.sequencer.as_ref().expect("the sequencer runs").rpc;
        wei(&node.get("eth_getBalance", json!([self.account, "latest"])).await)
    }

    /// Waits until the verifier has the user's wei, too.
    pub async fn holds(&self, net: &BridgeNet, wei: u128) {
        let account = self.account.parse().expect("an address");
        net.rpc().holds(account, U256::from(wei)).await;
    }
}

fn wei(value: &Value) -> u128 {
    let digits = text(value);
    u128::from_str_radix(digits.trim_start_matches("0x"), 16).expect("a balance")
}

/// Gives the fee of what a command has sent, in sats.
pub fn fee(sent: &Value) -> u64 {
    sent["feeSats"].as_u64().unwrap_or_else(|| panic!("{sent}"))
}

/// The bridge's sums as the verifier has them: vault, pending, credit, in flight.
pub async fn sums(net: &BridgeNet) -> [u64; 4] {
    sums_of(net.rpc()).await
}

/// The bridge's sums as a node has them.
pub async fn sums_of(rpc: &Rpc) -> [u64; 4] {
    let vault = rpc.get("rollup_vault", json!([])).await;
    assert_eq!(vault["holds"], json!(true), "{vault}");
    let sum = |name: &str| vault[name].as_u64().unwrap_or_else(|| panic!("{vault}"));
    ["vaultSats", "pendingSats", "creditSats", "inFlightSats"].map(sum)
}

/// Waits until the bridge's sums are these.
pub async fn until_sums(net: &BridgeNet, what: &str, expected: [u64; 4]) {
    until(what, || async {
        let sums = sums(net).await;
        if sums == expected {
            return Ok(());
        }
        let logged = net.logged(net.operator());
        let said: Vec<&str> = logged.lines().rev().take(3).collect();
        Err(format!("{sums:?} instead of {expected:?}\n{said:?}"))
    })
    .await;
}

/// Gives what `Bridge` has logged of an event.
pub async fn logged(net: &BridgeNet, event: &str) -> Vec<Value> {
    let topic = keccak256(event);
    let query = json!([{ "fromBlock": "0x0", "toBlock": "latest", "address": BRIDGE, "topics": [topic] }]);
    let logs = net.rpc().get("eth_getLogs", query).await;
    logs.as_array().expect("logs").clone()
}

/// Waits until a block above a height spends an output, and gives what does.
pub async fn until_spent(net: &BridgeNet, output: OutPoint, above: u32) -> Transaction {
    until("the output to be spent", || async {
        let found = spender(net, output, above).await;
        found.ok_or_else(|| format!("{output} is not spent"))
    })
    .await
}

/// Finds what has spent an output, in the blocks above a height.
pub async fn spender(net: &BridgeNet, outpoint: OutPoint, above: u32) -> Option<Transaction> {
    let client = net.client();
    let tip = client.get_blockchain_info().await.expect("a tip").blocks;
    for height in above + 1..=tip {
        let hash = client.get_block_hash(height).await.expect("Bitcoin Core answers");
        let block = client.get_block(&hash.expect("a block")).await.expect("a block");
        let spends = |tx: &Transaction| tx.input.iter().any(|input| input.previous_output == outpoint);
        if let Some(found) = block.txdata.into_iter().find(spends) {
            return Some(found);
        }
    }
    None
}

/// Gives the vault output that a deposit became, and the height of its accept.
pub fn accepted(deposit: &Value) -> (OutPoint, u32) {
    let txid: Txid = text(&deposit["acceptTxid"]).parse().expect("a txid");
    let height = deposit["acceptHeight"].as_u64().expect("a height");
    (OutPoint::new(txid, 0), u32::try_from(height).expect("a height"))
}
