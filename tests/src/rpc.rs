//! A small JSON-RPC client.

use alloy_primitives::{Address, U256, hex};
use serde_json::{Value, json};

/// Calls one node.
#[derive(Clone, Debug)]
pub struct Rpc {
    url: String,
    client: reqwest::Client,
}

/// Why a call gave no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RpcFault {
    /// The node did not answer.
    Transport(String),
    /// The node answered with an error.
    Error {
        /// The JSON-RPC code.
        code: i64,
        /// What it says.
        message: String,
    },
}

impl std::fmt::Display for RpcFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Transport(reason) => write!(f, "no answer: {reason}"),
            Self::Error { code, message } => write!(f, "error {code}: {message}"),
        }
    }
}

impl Rpc {
    /// Makes a client for this URL.
    pub fn new(url: String) -> Self {
        Self {
            url,
            client: reqwest::Client::new(),
        }
    }

    /// The URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Calls a method.
    ///
    /// # Errors
    /// When there is no answer, or the answer is an error.
    pub async fn call(&self, method: &str, params: Value) -> Result<Value, RpcFault> {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let transport = |error: reqwest::Error| RpcFault::Transport(error.to_string());
        let response = self
            .client
            .post(&self.url)
            .json(&request)
            .send()
            .await
            .map_err(transport)?;
        let mut answer: Value = response.json().await.map_err(transport)?;
        match answer.get("error") {
            Some(error) => Err(RpcFault::Error {
                code: error["code"].as_i64().unwrap_or_default(),
                message: error["message"].as_str().unwrap_or_default().to_owned(),
            }),
            None => Ok(answer["result"].take()),
        }
    }

    /// Calls a method that must work.
    ///
    /// # Panics
    /// When it does not.
    pub async fn get(&self, method: &str, params: Value) -> Value {
        self.call(method, params.clone())
            .await
            .unwrap_or_else(|fault| panic!("{method} {params} at {}: {fault}", self.url))
    }

    /// Gives the number of a tagged block.
    ///
    /// # Panics
    /// When the node has none.
    pub async fn height(&self, tag: &str) -> u64 {
        let block = self.get("eth_getBlockByNumber", json!([tag, false])).await;
        number(&block["number"])
    }

    /// Gives a block with its transactions' hashes; null above the latest.
    ///
    /// # Panics
    /// When the node does not answer.
    pub async fn block(&self, number: u64) -> Value {
        self.get("eth_getBlockByNumber", json!([format!("{number:#x}"), false]))
            .await
    }

    /// Sends a signed transaction; gives its hash.
    ///
    /// # Errors
    /// When it is refused, or there is no answer.
    ///
    /// # Panics
    /// When the answer is no hash.
    pub async fn send(&self, raw: &[u8]) -> Result<String, RpcFault> {
        let params = json!([hex::encode_prefixed(raw)]);
        let hash = self.call("eth_sendRawTransaction", params).await?;
        Ok(hash.as_str().expect("a hash").to_owned())
    }

    /// Sends a signed transaction that must be taken; gives its hash.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn sent(&self, raw: &[u8]) -> String {
        let sent = self.send(raw).await;
        sent.unwrap_or_else(|fault| panic!("{} refused a transaction: {fault}", self.url))
    }

    /// Gives a receipt; null while there is none.
    ///
    /// # Panics
    /// When the node does not answer.
    pub async fn receipt(&self, hash: &str) -> Value {
        self.get("eth_getTransactionReceipt", json!([hash])).await
    }

    /// Waits for a receipt.
    ///
    /// # Panics
    /// When it does not come.
    pub async fn included(&self, hash: &str) -> Value {
        crate::until(&format!("the receipt of {hash}"), || async {
            match self.call("eth_getTransactionReceipt", json!([hash])).await {
                Ok(Value::Null) => Err("there is none".into()),
                Ok(receipt) => Ok(receipt),
                Err(fault) => Err(fault.to_string()),
            }
        })
        .await
    }

    /// Waits until an account has this balance.
    ///
    /// # Panics
    /// When it does not come.
    pub async fn holds(&self, account: Address, wei: U256) {
        let expected = format!("{wei:#x}");
        crate::until(&format!("{account} to hold {expected} wei"), || async {
            let balance = self.get("eth_getBalance", json!([account, "latest"])).await;
            if balance == expected {
                Ok(())
            } else {
                Err(format!("it holds {balance}"))
            }
        })
        .await;
    }
}

/// Reads a quantity.
///
/// # Panics
/// When it is none.
pub fn number(value: &Value) -> u64 {
    let digits = value
        .as_str()
        .and_then(|text| text.strip_prefix("0x"))
        .unwrap_or_else(|| panic!("{value}"));
    u64::from_str_radix(digits, 16).unwrap_or_else(|error| panic!("{value}: {error}"))
}
