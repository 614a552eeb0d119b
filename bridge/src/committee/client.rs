//! Reads what other members have published. Nothing is sent but the question.

use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::Policy;

use super::board::Board;
use super::server::LONG_POLL;
use super::{Digest, Kind};

/// How long a connection may take to come up.
const CONNECT: Duration = Duration::from_secs(5);
/// How long one answer may take, whatever its length: the longest contribution at about 5 Mbit/s.
const ANSWER: Duration = Duration::from_secs(60);
const _: () = assert!(LONG_POLL.as_secs() < ANSWER.as_secs());

/// A member's daemon gave no message.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The client itself cannot be made, or the request failed.
    #[error("{what}: {reason}")]
    Request {
        /// What was asked for.
        what: String,
        /// The library's answer, down to its cause.
        reason: String,
    },
    /// The answer is no success.
    #[error("{what}: expected HTTP status 200, got {got}")]
    Status {
        /// What was asked for.
        what: String,
        /// The status.
        got: u16,
    },
    /// The answer is longer than messages of its kind are.
    #[error("{what}: expected at most {most} bytes, got more")]
    Length {
        /// What was asked for.
        what: String,
        /// The most.
        most: usize,
    },
}

impl ClientError {
    /// Tells whether the member answered: then others of its messages may be read.
    pub(super) fn is_answer(&self) -> bool {
        matches!(self, Self::Length { .. } | Self::Status { .. })
    }

    /// Tells whether asking again is of no use until the member publishes something else.
    pub(super) fn is_final(&self) -> bool {
        matches!(self, Self::Length { .. })
    }
}

/// Reads messages over HTTP.
#[derive(Clone, Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    board: Arc<Board>,
}

impl Client {
    /// Makes a client that counts its bytes on a board.
    pub(super) fn new(board: Arc<Board>) -> Self {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            // A member's answer must not send us to somebody else.
            .redirect(Policy::none())
            .no_proxy()
            .build()
            .expect("a client without TLS has nothing to load that could fail");
        Self { http, board }
    }

    /// Reads a message: the member's of a kind, with `of` a plan's. Of a status, waits for one whose hash is not `of`.
    pub(super) async fn fetch(
        &self,
        url: &str,
        kind: Kind,
        of: Option<&Digest>,
        most: usize,
    ) -> Result<Vec<u8>, ClientError> {
        let mut what = format!("{}/v1/{}", url.trim_end_matches('/'), kind.name());
        if let Some(of) = of {
            what.push_str(&format!("/{of}"));
        }
        let failed = |error: reqwest::Error| ClientError::Request {
            what: what.clone(),
            reason: causes(&error),
        };
        let mut answer = self.http.get(&what).send().await.map_err(failed)?;
        if answer.status() != reqwest::StatusCode::OK {
            let got = answer.status().as_u16();
            return Err(ClientError::Status { what, got });
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            self.board.traffic.add_received(chunk.len());
            if bytes.len() + chunk.len() > most {
                return Err(ClientError::Length { what, most });
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}

/// The library's own text leaves out why.
fn causes(error: &reqwest::Error) -> String {
    let mut source = std::error::Error::source(error);
    let mut text = if error.is_timeout() { "timed out" } else { "failed" }.to_owned();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
