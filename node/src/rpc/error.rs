//! JSON-RPC errors: the codes of the specification, and Geth's where clients know them.

use alloy_primitives::Bytes;
use jsonrpsee::types::ErrorObjectOwned;
use jsonrpsee::types::error::{INTERNAL_ERROR_CODE, INVALID_PARAMS_CODE};

use crate::pool::PoolError;

/// What a method answers.
pub type RpcResult<T> = Result<T, ErrorObjectOwned>;

/// A call that executed and reverted; `data` has what it returned.
pub const REVERTED: i32 = 3;
/// Any other error of a call or a transaction (Geth's default code).
pub const SERVER: i32 = -32000;
/// The method took longer than it may.
pub const TIMEOUT: i32 = -32002;
/// A limit on blocks, results or memory was hit (EIP-1474).
pub const LIMIT: i32 = -32005;
/// A transaction was passed on to the sequencer, and may or may not have been accepted.
pub const UNSURE: i32 = -32007;

/// Makes an error with Geth's default code.
pub fn server(message: impl Into<String>) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(SERVER, message, None::<()>)
}

/// Makes an error about a transaction whose fate is not known.
pub fn unsure(message: impl Into<String>) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(UNSURE, message, None::<()>)
}

/// Makes an error about the parameters.
pub fn invalid_params(message: impl Into<String>) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(INVALID_PARAMS_CODE, message, None::<()>)
}

/// Makes an error about a limit.
pub fn limit(message: impl Into<String>) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(LIMIT, message, None::<()>)
}

/// Makes an error about time.
pub fn timeout() -> ErrorObjectOwned {
    ErrorObjectOwned::owned(TIMEOUT, "request timed out", None::<()>)
}

/// Reports our own fault: the cause goes to the log, because it may name files.
pub fn internal(cause: impl std::fmt::Display) -> ErrorObjectOwned {
    tracing::error!(%cause, "failed to answer a request");
    ErrorObjectOwned::owned(INTERNAL_ERROR_CODE, "internal error", None::<()>)
}

/// Makes the error of a reverted call, with the reason when it is a string or a panic code (Solidity).
pub fn reverted(output: &Bytes) -> ErrorObjectOwned {
    let message = match alloy_sol_types::decode_revert_reason(output) {
        Some(reason) => format!(
            "execution reverted: {}",
            reason.strip_prefix("revert: ").unwrap_or(&reason)
        ),
        None => "execution reverted".to_owned(),
    };
    ErrorObjectOwned::owned(REVERTED, message, Some(output))
}

impl From<PoolError> for ErrorObjectOwned {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::State { .. } | PoolError::Journal { .. } => internal(error),
            error => server(error.to_string()),
        }
    }
}
