//! A devnet as its own process, JSON-RPC to it, and signed transactions.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use alloy_consensus::{SignableTransaction, TxEip1559};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256};
use bitcoin::secp256k1::{Message, Secp256k1, SecretKey};
use bitsect_node::devnet::{ACCOUNTS, CHAIN_ID};
use serde_json::{Value, json};

/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// A running devnet. Dropping it kills it.
pub struct Devnet {
    child: Child,
    pub sequencer: Rpc,
    pub verifier: Rpc,
    pub metrics: String,
}

impl Devnet {
    /// Starts a devnet in `dir` and waits for its ready line.
    pub fn start(dir: &Path, more: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_bitsect-node"))
            .args(["devnet", "--l1-interval", "1s", "--log", "warn", "--data-dir"])
            .arg(dir)
            .args(["--sequencer-port", "0", "--verifier-port", "0"])
            .args(["--sequencer-metrics-port", "0", "--verifier-metrics-port", "0"])
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (mut urls, mut metrics) = (Vec::new(), Vec::new());
        loop {
            let line = lines
                .next()
                .expect("the devnet ended before it was ready")
                .unwrap();
            let words: Vec<&str> = line.split_whitespace().collect();
            if let ["sequencer" | "verifier", url, "metrics", page] = words[..] {
                urls.push(url.to_owned());
                metrics.push(page.to_owned());
            }
            if line == "devnet ready" {
                break;
            }
        }
        let rpc = |url: &String| Rpc {
            url: url.clone(),
            client: reqwest::Client::new(),
        };
        Self {
            child,
            sequencer: rpc(&urls[0]),
            verifier: rpc(&urls[1]),
            metrics: metrics[0].clone(),
        }
    }

    /// Kills the process as `kill -9` does; Bitcoin Core dies with it.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Stops it with SIGTERM and gives its exit code.
    pub fn stop(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
        self.child.wait().unwrap().code()
    }
}

impl Drop for Devnet {
    fn drop(&mut self) {
        // Either fails when the process has ended already, which is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A JSON-RPC client.
pub struct Rpc {
    pub url: String,
    client: reqwest::Client,
}

impl Rpc {
    /// Calls a method; an error answer is `Err`.
    pub async fn call(&self, method: &str, params: Value) -> Result<Value, Value> {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let answer: Value = self
            .client
            .post(&self.url)
            .json(&request)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        match answer.get("error") {
            Some(error) => Err(error.clone()),
            None => Ok(answer["result"].clone()),
        }
    }

    pub async fn get(&self, method: &str, params: Value) -> Value {
        self.call(method, params)
            .await
            .unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// The number of the block with this tag.
    pub async fn head(&self, tag: &str) -> u64 {
        quantity(&self.get("eth_getBlockByNumber", json!([tag, false])).await["number"])
    }

    pub async fn block(&self, number: u64) -> Value {
        self.get("eth_getBlockByNumber", json!([format!("{number:#x}"), false]))
            .await
    }

    pub async fn balance(&self, of: Address) -> U256 {
        let text = self.get("eth_getBalance", json!([of, "latest"])).await;
        text.as_str().unwrap().parse().unwrap()
    }

    /// Waits for a receipt and gives its block's number.
    pub async fn included(&self, hash: B256) -> u64 {
        let what = format!("the receipt of {hash}");
        let receipt = self.wait(&what, async || {
            let receipt = self.get("eth_getTransactionReceipt", json!([hash])).await;
            (!receipt.is_null()).then_some(receipt)
        });
        let receipt = receipt.await;
        assert_eq!(receipt["status"], "0x1", "{receipt}");
        quantity(&receipt["blockNumber"])
    }

    /// Waits until a head reaches a block.
    pub async fn reaches(&self, tag: &str, number: u64) {
        self.wait(&format!("{tag} at {number}"), async || {
            (self.head(tag).await >= number).then_some(())
        })
        .await;
    }

    /// Asks until there is an answer. There is no event to wait for across processes.
    pub async fn wait<T>(&self, what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
        let started = Instant::now();
        loop {
            if let Some(found) = ask().await {
                return found;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "{} did not have {what} in time",
                self.url
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Signs a transfer by a devnet account.
    pub async fn transfer(&self, account: usize, nonce: u64, to: Address, wei: u64) -> Bytes {
        let price = self.get("eth_gasPrice", json!([])).await;
        sign(account, nonce, to, wei, u128::from(quantity(&price)) * 10)
    }

    pub async fn nonce(&self, account: usize) -> u64 {
        let address = ACCOUNTS[account].address;
        quantity(
            &self
                .get("eth_getTransactionCount", json!([address, "pending"]))
                .await,
        )
    }

    pub async fn send(&self, raw: &Bytes) -> B256 {
        let hash = self.get("eth_sendRawTransaction", json!([raw])).await;
        hash.as_str().unwrap().parse().unwrap()
    }
}

pub fn quantity(value: &Value) -> u64 {
    let text = value.as_str().unwrap_or_else(|| panic!("no quantity: {value}"));
    u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap()
}

/// Signs an EIP-1559 transfer.
pub fn sign(account: usize, nonce: u64, to: Address, wei: u64, max_fee_per_gas: u128) -> Bytes {
    let tx = TxEip1559 {
        chain_id: CHAIN_ID,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas,
        max_priority_fee_per_gas: 1_000,
        to: TxKind::Call(to),
        value: U256::from(wei),
        ..TxEip1559::default()
    };
    let secret = SecretKey::from_str(ACCOUNTS[account].secret).unwrap();
    let message = Message::from_digest(tx.signature_hash().0);
    let signed = Secp256k1::new().sign_ecdsa_recoverable(&message, &secret);
    let (id, bytes) = signed.serialize_compact();
    let signature = Signature::from_bytes_and_parity(&bytes, id.to_i32() == 1);
    tx.into_signed(signature).encoded_2718().into()
}

/// Checks that the verifier has the sequencer's blocks, units and chain states up to a block.
pub async fn assert_same(net: &Devnet, first: u64, last: u64) {
    for number in first..=last {
        let (ours, theirs) = (
            net.sequencer.block(number).await,
            net.verifier.block(number).await,
        );
        assert!(ours["hash"].is_string(), "{ours}");
        assert_eq!(ours["hash"], theirs["hash"], "block {number}");
        assert_eq!(ours["stateRoot"], theirs["stateRoot"], "block {number}");
    }
    let unit = net
        .verifier
        .get("rollup_unitOf", json!([format!("{last:#x}")]))
        .await;
    let asked = json!([unit]);
    assert_eq!(
        net.sequencer.get("rollup_chainStateAt", asked.clone()).await,
        net.verifier.get("rollup_chainStateAt", asked).await,
    );
}
