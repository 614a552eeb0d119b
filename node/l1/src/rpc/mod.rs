//! An async JSON-RPC client for Bitcoin Core over HTTP.
//!
//! Every call has a timeout. Transport faults (refused, reset, timed out, work queue full) are repeated with
//! a growing pause; an answer from Core, also an error, is never repeated. A cookie file is read again when
//! Core refuses the old one, because Core writes a new cookie at each start.

mod auth;
mod error;
mod methods;
mod types;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bitcoin::Network;
use parking_lot::Mutex;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

pub use self::{
    auth::{Auth, default_cookie},
    error::{RpcError, code},
    types::{
        BlockchainInfo, EstimatedFee, HeaderInfo, MempoolAccept, MempoolEntry, MempoolInfo, NetworkInfo,
        PackageResult, PackageTxResult, SpendingPrevout, TxOutInfo,
    },
};

/// Largest answer read, in bytes. A block as hex is at most 8 MB; a full mempool's ids are below 64 MB.
const MAX_RESPONSE: usize = 64 << 20;
/// Longest text of an unexpected HTTP answer kept for the error, in bytes.
const MAX_ERROR_TEXT: usize = 300;

/// How to reach a Bitcoin Core.
#[derive(Clone, Debug)]
pub struct RpcConfig {
    /// The address, for example `http://127.0.0.1:8332`.
    pub url: String,
    /// How to authenticate.
    pub auth: Auth,
    /// Longest time for one attempt of a call.
    pub timeout: Duration,
    /// How often a call is repeated after a transport fault.
    pub retries: u32,
    /// The pause before the first repetition; it doubles each time.
    pub first_pause: Duration,
    /// The longest pause between repetitions.
    pub longest_pause: Duration,
}

impl RpcConfig {
    /// Makes a configuration with the usual limits: 60 s per attempt, 5 repetitions, 100 ms to 5 s apart.
    pub fn new(url: impl Into<String>, auth: Auth) -> Self {
        Self {
            url: url.into(),
            auth,
            // A block of 4 MB from a busy node takes seconds, and submitpackage verifies scripts.
            timeout: Duration::from_secs(60),
            retries: 5,
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(5),
        }
    }
}

/// A client of one Bitcoin Core. Clones share the connection pool and the cookie.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    config: RpcConfig,
    http: reqwest::Client,
    cookie: Mutex<Option<auth::Credentials>>,
    next_id: AtomicU64,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("url", &self.inner.config.url)
            .finish_non_exhaustive()
    }
}

/// Whether a call may be sent again when it is unknown if Core carried it out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeat {
    /// Doing it twice is the same as once.
    Safe,
    /// Only repeated when Core surely never saw it.
    OnlyUnsent,
}

#[derive(Deserialize)]
struct Response<T> {
    result: Option<T>,
    error: Option<ErrorObject>,
    id: Option<u64>,
}

#[derive(Deserialize)]
struct ErrorObject {
    code: i32,
    message: String,
}

impl Client {
    /// Makes a client. Nothing is sent yet.
    ///
    /// # Errors
    /// [`RpcError::Config`] when the address is not `http://host:port`.
    pub fn new(config: RpcConfig) -> Result<Self, RpcError> {
        let url = reqwest::Url::parse(&config.url).map_err(|e| RpcError::Config {
            reason: format!("bad RPC address {:?}: {e}", config.url),
        })?;
        if url.scheme() != "http" || url.host_str().is_none() {
            let reason = format!("bad RPC address {:?}: expected http://host:port", config.url);
            return Err(RpcError::Config { reason });
        }
        if !url.username().is_empty() || url.password().is_some() {
            // It would end up in logs; there is a field for it.
            return Err(RpcError::Config {
                reason: "credentials do not belong into the RPC address".into(),
            });
        }
        // Core is ours and near: a proxy from the environment must not see the credentials.
        let http = reqwest::Client::builder()
            .no_proxy()
            .tcp_nodelay(true)
            // Core closes idle connections after 30 s, and waits as long for them when it stops: keep one, and not
            // long enough to send on it while Core closes it.
            .pool_max_idle_per_host(1)
            .pool_idle_timeout(Duration::from_secs(15))
            .connect_timeout(config.timeout.min(Duration::from_secs(10)))
            .build()
            .map_err(|e| RpcError::Config {
                reason: e.to_string(),
            })?;
        let inner = Inner {
            config,
            http,
            cookie: Mutex::new(None),
            next_id: AtomicU64::new(1),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Returns the configuration.
    pub fn config(&self) -> &RpcConfig {
        &self.inner.config
    }

    /// Calls any method.
    ///
    /// # Errors
    /// [`RpcError`], with the method's name.
    pub async fn call<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: &[Value],
    ) -> Result<T, RpcError> {
        self.call_with(method, params, self.inner.config.timeout, Repeat::Safe)
            .await
    }

    /// Checks that Core is on the network that is expected.
    ///
    /// # Errors
    /// [`RpcError::Network`] when it is on another one.
    pub async fn check_network(&self, expected: Network) -> Result<(), RpcError> {
        let info = self.get_blockchain_info().await?;
        if info.chain != expected.to_core_arg() {
            return Err(RpcError::Network {
                expected: expected.to_core_arg(),
                got: info.chain,
            });
        }
        Ok(())
    }

    async fn call_with<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: &[Value],
        timeout: Duration,
        repeat: Repeat,
    ) -> Result<T, RpcError> {
        let config = &self.inner.config;
        let mut pause = config.first_pause;
        let mut left = config.retries;
        loop {
            let error = match self.attempt(method, params, timeout).await {
                Ok(body) => return parse(method, &body),
                Err(error) => error,
            };
            let again = error.is_transport() && (repeat == Repeat::Safe || error.is_unsent());
            if !again || left == 0 {
                return Err(error);
            }
            tracing::debug!(method, %error, left, "Bitcoin Core did not answer, trying again");
            tokio::time::sleep(pause).await;
            left -= 1;
            pause = (pause * 2).min(config.longest_pause);
        }
    }

    /// Sends once, twice when the cookie turned out to be old.
    async fn attempt(
        &self,
        method: &'static str,
        params: &[Value],
        timeout: Duration,
    ) -> Result<Vec<u8>, RpcError> {
        let (credentials, fresh) = self.credentials()?;
        match self.post(method, params, timeout, &credentials).await {
            Err(RpcError::Unauthorized { .. }) if !fresh => {
                *self.inner.cookie.lock() = None;
                let (credentials, _) = self.credentials()?;
                self.post(method, params, timeout, &credentials).await
            }
            other => other,
        }
    }

    /// Returns the credentials and whether nothing newer can be had.
    fn credentials(&self) -> Result<(auth::Credentials, bool), RpcError> {
        let Auth::Cookie(path) = &self.inner.config.auth else {
            return Ok((self.inner.config.auth.fixed(), true));
        };
        let mut cached = self.inner.cookie.lock();
        if let Some(credentials) = &*cached {
            return Ok((credentials.clone(), false));
        }
        let credentials = auth::read_cookie(path)?;
        *cached = Some(credentials.clone());
        Ok((credentials, true))
    }

    async fn post(
        &self,
        method: &'static str,
        params: &[Value],
        timeout: Duration,
        credentials: &auth::Credentials,
    ) -> Result<Vec<u8>, RpcError> {
        let id = self.inner.next_id.fetch_add(1, Ordering::Relaxed);
        let request = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let transport = |source: reqwest::Error| RpcError::Transport {
            method,
            source: source.without_url(),
        };
        let mut response = self
            .inner
            .http
            .post(&self.inner.config.url)
            .basic_auth(&credentials.user, Some(&credentials.password))
            .timeout(timeout)
            .json(&request)
            .send()
            .await
            .map_err(transport)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(transport)? {
            if body.len() + chunk.len() > MAX_RESPONSE {
                let reason = format!("the answer is larger than {MAX_RESPONSE} bytes");
                return Err(RpcError::Malformed { method, reason });
            }
            body.extend_from_slice(&chunk);
        }
        if status == reqwest::StatusCode::UNAUTHORIZED {
            return Err(RpcError::Unauthorized { method });
        }
        // Core before 28 answers an RPC error with status 500 and the usual body, so the body decides.
        if !body.starts_with(b"{") {
            let end = body.len().min(MAX_ERROR_TEXT);
            let text = String::from_utf8_lossy(&body[..end]).trim().to_owned();
            return Err(RpcError::Http {
                method,
                status: status.as_u16(),
                text,
            });
        }
        Ok(body)
    }
}

fn parse<T: DeserializeOwned>(method: &'static str, body: &[u8]) -> Result<T, RpcError> {
    let malformed = |e: serde_json::Error| RpcError::Malformed {
        method,
        reason: e.to_string(),
    };
    let response: Response<T> = serde_json::from_slice(body).map_err(malformed)?;
    if let Some(ErrorObject { code, message }) = response.error {
        return Err(RpcError::Rpc {
            method,
            code,
            message,
        });
    }
    if response.id.is_none() {
        return Err(RpcError::Malformed {
            method,
            reason: "the answer has no id".into(),
        });
    }
    match response.result {
        Some(result) => Ok(result),
        // Methods that answer nothing, and those whose `null` means none.
        None => serde_json::from_value(Value::Null).map_err(malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_tells_errors_from_results() {
        let ok: u32 = parse("m", br#"{"jsonrpc":"2.0","result":7,"id":1}"#).unwrap();
        assert_eq!(ok, 7);
        let none: Option<u32> = parse("m", br#"{"result":null,"error":null,"id":1}"#).unwrap();
        assert_eq!(none, None);
        let error = parse::<u32>(
            "m",
            br#"{"result":null,"error":{"code":-5,"message":"no"},"id":1}"#,
        );
        assert_eq!(
            error.unwrap_err().to_string(),
            "m: Bitcoin Core says no (code -5)"
        );
        assert!(matches!(
            parse::<u32>("m", br#"{"result":"x","id":1}"#),
            Err(RpcError::Malformed { .. })
        ));
        assert!(matches!(parse::<u32>("m", b"{"), Err(RpcError::Malformed { .. })));
    }

    #[test]
    fn addresses_are_checked() {
        let auth = Auth::user_password("u", "secret");
        for url in ["", "localhost:1", "https://localhost:1", "http://u:p@localhost:1"] {
            let error = Client::new(RpcConfig::new(url, auth.clone())).unwrap_err();
            assert!(matches!(error, RpcError::Config { .. }), "{url}");
        }
        let client = Client::new(RpcConfig::new("http://127.0.0.1:1", auth)).unwrap();
        assert!(!format!("{client:?} {:?}", client.config()).contains("secret"));
    }
}
