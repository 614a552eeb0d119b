//! What can go wrong in a call, and what a loop does about it.

use std::path::PathBuf;

use crate::FaultClass;

/// Error codes of Bitcoin Core that callers tell apart (`src/rpc/protocol.h`).
pub mod code {
    /// Method-specific failure, or a call with wrong arguments.
    pub const MISC: i32 = -1;
    /// No such block, transaction or address.
    pub const NOT_FOUND: i32 = -5;
    /// A parameter is out of range.
    pub const INVALID_PARAMETER: i32 = -8;
    /// A hex string does not decode.
    pub const DESERIALIZATION: i32 = -22;
    /// Ambiguous: inputs missing or already spent, or the outputs already exist.
    pub const VERIFY: i32 = -25;
    /// Refused by consensus or policy; the message has the reason.
    pub const VERIFY_REJECTED: i32 = -26;
    /// The transaction's outputs are already in the chain.
    pub const ALREADY_IN_CHAIN: i32 = -27;
    /// Core is starting.
    pub const IN_WARMUP: i32 = -28;
    /// No such method.
    pub const METHOD_NOT_FOUND: i32 = -32601;
}

/// A call failed.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// The configuration cannot work.
    #[error("bad Bitcoin RPC configuration: {reason}")]
    Config {
        /// What is wrong.
        reason: String,
    },
    /// The cookie file cannot be read: Core is not running, or the path is wrong.
    #[error("cannot read the cookie file {}", path.display())]
    Cookie {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Core refused the credentials.
    #[error("{method}: Bitcoin Core refuses the credentials")]
    Unauthorized {
        /// The method called.
        method: &'static str,
    },
    /// Core is not reachable, or the connection broke, or no answer came in time.
    #[error("{method}: no answer from Bitcoin Core")]
    Transport {
        /// The method called.
        method: &'static str,
        /// Why.
        source: reqwest::Error,
    },
    /// Something that is not JSON came back.
    #[error("{method}: HTTP status {status}: {text}")]
    Http {
        /// The method called.
        method: &'static str,
        /// The HTTP status.
        status: u16,
        /// The start of the answer.
        text: String,
    },
    /// Core carried out the call and answered with an error.
    #[error("{method}: Bitcoin Core says {message} (code {code})")]
    Rpc {
        /// The method called.
        method: &'static str,
        /// Core's code, see [`code`].
        code: i32,
        /// Core's message.
        message: String,
    },
    /// The answer does not have the form that the method promises.
    #[error("{method}: unexpected answer: {reason}")]
    Malformed {
        /// The method called.
        method: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Core is on another network.
    #[error("Bitcoin Core is on network {got}, expected {expected}")]
    Network {
        /// The network expected.
        expected: &'static str,
        /// The network Core is on.
        got: String,
    },
}

impl RpcError {
    /// Returns Core's code and message when Core answered with an error.
    pub fn rpc(&self) -> Option<(i32, &str)> {
        match self {
            Self::Rpc { code, message, .. } => Some((*code, message)),
            _ => None,
        }
    }

    /// Returns Core's error code when Core answered with an error.
    pub fn code(&self) -> Option<i32> {
        self.rpc().map(|(code, _)| code)
    }

    /// Returns whether Core says that the thing asked for does not exist.
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(code::NOT_FOUND)
    }

    /// Returns whether the way to Core failed, rather than the call.
    pub fn is_transport(&self) -> bool {
        // 503 is Core's "work queue depth exceeded".
        matches!(self, Self::Transport { .. } | Self::Http { status: 503, .. })
    }

    /// Returns whether Core surely did not carry out the call.
    pub fn is_unsent(&self) -> bool {
        match self {
            Self::Transport { source, .. } => source.is_connect(),
            Self::Http { status, .. } => *status == 503,
            Self::Cookie { .. } | Self::Unauthorized { .. } | Self::Config { .. } => true,
            _ => false,
        }
    }

    /// Returns what a loop does about the error.
    pub fn class(&self) -> FaultClass {
        match self {
            // A cookie that is missing or old is what a restart of Core looks like from here.
            Self::Cookie { .. } | Self::Unauthorized { .. } | Self::Transport { .. } | Self::Http { .. } => {
                FaultClass::Retry
            }
            Self::Rpc { .. } => FaultClass::Retry,
            Self::Malformed { .. } => FaultClass::Reset,
            Self::Config { .. } | Self::Network { .. } => FaultClass::Stop,
        }
    }
}
