//! Positional parameters, checked one by one with Geth's messages.

use jsonrpsee::types::Params;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::error::{RpcResult, invalid_params};

/// The parameters of one call.
#[derive(Debug)]
pub struct Args {
    values: Vec<Box<RawValue>>,
    next: usize,
}

impl Args {
    /// Splits the parameters, of which there may be at most `max`.
    ///
    /// # Errors
    ///
    /// -32602 when they are named instead of positional, or too many.
    pub fn new(params: &Params<'_>, max: usize) -> RpcResult<Self> {
        let values: Vec<Box<RawValue>> = match params.as_str() {
            None => Vec::new(),
            Some(text) if text.trim() == "null" => Vec::new(),
            Some(text) => serde_json::from_str(text).map_err(|_| invalid_params("non-array args"))?,
        };
        if values.len() > max {
            return Err(invalid_params(format!("too many arguments, want at most {max}")));
        }
        Ok(Self { values, next: 0 })
    }

    /// Takes the next parameter, which must be there.
    ///
    /// # Errors
    ///
    /// -32602 names the position and what is wrong.
    pub fn required<T: DeserializeOwned>(&mut self) -> RpcResult<T> {
        let at = self.next;
        self.optional()?
            .ok_or_else(|| invalid_params(format!("missing value for required argument {at}")))
    }

    /// Takes the next parameter; `None` when it is absent or null.
    ///
    /// # Errors
    ///
    /// -32602 names the position and what is wrong.
    pub fn optional<T: DeserializeOwned>(&mut self) -> RpcResult<Option<T>> {
        let at = self.next;
        self.next = at.saturating_add(1);
        match self.values.get(at) {
            None => Ok(None),
            Some(value) => serde_json::from_str::<Option<T>>(value.get()).map_err(|error| {
                // The position within one parameter says nothing to a client.
                let text = error.to_string();
                let text = text.split(" at line ").next().unwrap_or_default();
                invalid_params(format!("invalid argument {at}: {text}"))
            }),
        }
    }
}
