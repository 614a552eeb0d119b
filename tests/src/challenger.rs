//! What a running challenger says of itself.

use bitsect_challenger::metrics::Status;

use crate::{Network, until};

/// A challenger's listener.
#[derive(Clone, Debug)]
pub struct ChallengerListener {
    address: String,
}

impl ChallengerListener {
    /// Names where a challenger listens: host and port.
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Gives what a path gives: HTTP status and text.
    ///
    /// # Errors
    /// Where nobody answers.
    pub async fn get(&self, path: &str) -> Result<(u16, String), String> {
        let url = format!("http://{}/{path}", self.address);
        let response = reqwest::get(url).await.map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        let text = response.text().await.map_err(|error| error.to_string())?;
        Ok((status, text))
    }

    /// Gives its status.
    ///
    /// # Errors
    /// Where nobody answers, or something else.
    pub async fn status(&self) -> Result<Status, String> {
        let (_, text) = self.get("status").await?;
        serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))
    }

    /// Waits until it has derived from Bitcoin's tip, and gives its status.
    ///
    /// # Panics
    /// When it does not get there.
    pub async fn synced(&self, network: &Network) -> Status {
        let tip = network.core.tip().await.expect("Bitcoin has a tip");
        until("the challenger to reach Bitcoin's tip", || async {
            let status = self.status().await?;
            if status.l1_hash == tip.hash && status.waits_for.is_none() {
                Ok(status)
            } else {
                Err(format!("{status:?}"))
            }
        })
        .await
    }
}
