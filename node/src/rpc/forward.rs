//! A verifier's way to the sequencer.

use std::time::Duration;

use alloy_primitives::{B256, Bytes};
use jsonrpsee::types::ErrorObjectOwned;
use serde::Deserialize;

use super::error::{self, RpcResult};

/// How long the sequencer may take to answer.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes of an answer: a hash, or an error with a line of text.
const MAX_ANSWER: u64 = 64 * 1024;

/// Sends transactions to the sequencer's JSON-RPC.
#[derive(Clone, Debug)]
pub struct Forwarder {
    url: reqwest::Url,
    client: reqwest::Client,
}

#[derive(Deserialize)]
struct Answer {
    result: Option<B256>,
    error: Option<ErrorObjectOwned>,
}

impl Forwarder {
    /// Makes a client of the sequencer at `url`.
    ///
    /// # Errors
    ///
    /// When the URL does not parse, or the client cannot be made.
    pub fn new(url: &str) -> Result<Self, String> {
        let url = url.parse().map_err(|error| format!("sequencer URL: {error}"))?;
        let client = reqwest::Client::builder().timeout(TIMEOUT).build();
        Ok(Self {
            url,
            client: client.map_err(|error| error.to_string())?,
        })
    }

    /// Sends an encoded transaction; the sequencer's refusal is passed on word for word.
    pub(super) async fn send(&self, raw: &Bytes) -> RpcResult<B256> {
        let request = serde_json::json!({
            "jsonrpc": "2.0", "id": 1, "method": "eth_sendRawTransaction", "params": [raw],
        });
        // A transaction may have arrived although the answer did not: message and code say so.
        let unreachable = |cause: reqwest::Error| {
            tracing::warn!(%cause, "failed to forward a transaction");
            error::unsure("failed to reach the sequencer: the transaction may or may not have been accepted")
        };
        let response = self
            .client
            .post(self.url.clone())
            .json(&request)
            .send()
            .await
            .map_err(unreachable)?;
        if response.content_length().is_some_and(|len| len > MAX_ANSWER) {
            return Err(error::unsure("the sequencer's answer is too long"));
        }
        let answer: Answer = response.json().await.map_err(unreachable)?;
        match answer {
            Answer {
                error: Some(error), ..
            } => Err(error),
            Answer {
                result: Some(hash),
                error: None,
            } => Ok(hash),
            _ => Err(error::unsure("the sequencer's answer has no result")),
        }
    }
}
