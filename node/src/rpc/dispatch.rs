//! From the bytes of a request to the bytes of its response: the rules of JSON-RPC 2.0.
//!
//! jsonrpsee's method table does the dispatch; parsing is done here, so that ids are echoed byte for byte and
//! a batch has the limits of one request.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{FutureExt, StreamExt, stream};
use jsonrpsee::core::server::{
    BoundedSubscriptions, ConnectionId, MethodCallback, MethodResponse, MethodSink, Methods,
    SubscriptionState,
};
use jsonrpsee::core::traits::IdProvider;
use jsonrpsee::types::error::{
    ErrorCode, INVALID_REQUEST_CODE, METHOD_NOT_FOUND_CODE, reject_too_many_subscriptions,
};
use jsonrpsee::types::{ErrorObjectOwned, Id, Params, SubscriptionId};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use super::config::RpcConfig;
use super::error;
use super::metrics::RpcMetrics;

/// Notifications of one subscription that may wait for a slow reader.
const SUBSCRIPTION_BUFFER: usize = 1024;
/// How every response of the method table begins when it is given a null id.
const NULL_ID_HEAD: &str = r#"{"jsonrpc":"2.0","id":null,"#;

/// Notifications of a subscription that was just made; the transport forwards them after the response.
pub(super) type Notifications = mpsc::Receiver<Box<RawValue>>;

/// What a request came to.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// The response; `None` when the request held only notifications.
    pub response: Option<String>,
    /// New subscriptions.
    pub streams: Vec<Notifications>,
}

/// A connection that can carry subscriptions.
#[derive(Debug)]
pub(super) struct Connection {
    pub id: ConnectionId,
    pub subscriptions: BoundedSubscriptions,
}

/// The method table with its limits.
pub(super) struct Dispatcher {
    methods: Methods,
    config: Arc<RpcConfig>,
    metrics: Arc<RpcMetrics>,
}

/// The members of a call. `id` tells a null from none, which is a notification.
#[derive(Deserialize)]
struct RawCall<'a> {
    #[serde(borrow, default)]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<&'a RawValue>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Subscription ids as Geth gives them: 16 random bytes in hex.
#[derive(Debug)]
struct HexIds;

impl IdProvider for HexIds {
    fn next_id(&self) -> SubscriptionId<'static> {
        SubscriptionId::Str(format!("0x{}", hex::encode(rand::random::<[u8; 16]>())).into())
    }
}

impl Dispatcher {
    pub fn new(methods: Methods, config: Arc<RpcConfig>, metrics: Arc<RpcMetrics>) -> Self {
        Self {
            methods,
            config,
            metrics,
        }
    }

    /// Answers a request: one call or a batch.
    pub async fn handle(&self, body: &[u8], connection: Option<&Connection>) -> Outcome {
        let Ok(text) = std::str::from_utf8(body) else {
            return failed(ErrorCode::ParseError.into());
        };
        let Ok(request) = serde_json::from_str::<&RawValue>(text) else {
            return failed(ErrorCode::ParseError.into());
        };
        if !request.get().starts_with('[') {
            let (response, streams) = self.call(request, connection).await;
            return Outcome {
                response,
                streams: streams.into_iter().collect(),
            };
        }
        let Ok(calls) = serde_json::from_str::<Vec<&RawValue>>(request.get()) else {
            return failed(ErrorCode::ParseError.into());
        };
        if calls.is_empty() {
            return failed(invalid_request("empty batch"));
        }
        if calls.len() > self.config.max_batch {
            return failed(invalid_request("batch too large"));
        }
        self.batch(calls, connection).await
    }

    async fn batch(&self, calls: Vec<&RawValue>, connection: Option<&Connection>) -> Outcome {
        let mut outcome = Outcome::default();
        let mut response = String::from("[");
        // Started in order and answered in order; transactions of one batch share a sync of the journal.
        let futures: Vec<_> = calls
            .iter()
            .map(|call| self.call(call, connection).boxed())
            .collect();
        let mut results = stream::iter(futures).buffered(self.config.max_concurrent);
        let mut index = 0usize;
        while let Some((json, stream)) = results.next().await {
            outcome.streams.extend(stream);
            if let Some(json) = json {
                if response.len().saturating_add(json.len()) > self.config.max_response {
                    drop(results);
                    for call in calls.iter().skip(index) {
                        push(&mut response, &too_large(call));
                    }
                    break;
                }
                push(&mut response, &json);
            }
            index = index.saturating_add(1);
        }
        if response.len() > 1 {
            response.push(']');
            outcome.response = Some(response);
        }
        outcome
    }

    /// Answers one call; `None` for a notification.
    async fn call(
        &self,
        raw: &RawValue,
        connection: Option<&Connection>,
    ) -> (Option<String>, Option<Notifications>) {
        let call = match serde_json::from_str::<RawCall<'_>>(raw.get()) {
            Ok(call) => call,
            Err(_) => {
                return (
                    Some(respond_error("null", ErrorCode::InvalidRequest.into())),
                    None,
                );
            }
        };
        let id = match call.id {
            Some(id) if !valid_id(id.get()) => {
                return (Some(respond_error("null", invalid_request("invalid id"))), None);
            }
            id => id.map(RawValue::get),
        };
        let method = call
            .method
            .and_then(|method| serde_json::from_str::<String>(method.get()).ok());
        let version = call.jsonrpc.map(RawValue::get);
        let (Some(method), Some(r#""2.0""#)) = (method, version) else {
            // Whatever is not a call is answered, because it cannot be known to be a notification.
            return (
                Some(respond_error(
                    id.unwrap_or("null"),
                    ErrorCode::InvalidRequest.into(),
                )),
                None,
            );
        };
        if call
            .params
            .is_some_and(|params| !params.get().starts_with(['[', 'n']))
        {
            let response = id.map(|id| respond_error(id, error::invalid_params("non-array args")));
            return (response, None);
        }
        let (response, stream) = self.run(&method, call.params, connection).await;
        match id {
            Some(id) => (Some(with_id(response, id)), stream),
            // Nobody learns a notification's subscription id: its stream ends here.
            None => (None, None),
        }
    }

    /// Runs a method within its time, and turns a panic into an error.
    async fn run(
        &self,
        method: &str,
        params: Option<&RawValue>,
        connection: Option<&Connection>,
    ) -> (MethodResponse, Option<Notifications>) {
        let Some((name, callback)) = self.methods.method_with_name(method) else {
            self.metrics.record("unknown", false, Duration::ZERO);
            let text = format!("the method {} does not exist/is not available", shorten(method));
            let error = ErrorObjectOwned::owned(METHOD_NOT_FOUND_CODE, text, None::<()>);
            return (MethodResponse::error(Id::Null, error), None);
        };
        let started = Instant::now();
        let work = AssertUnwindSafe(self.invoke(callback, params, connection)).catch_unwind();
        let (response, stream) = match tokio::time::timeout(self.config.call_timeout, work).await {
            Ok(Ok(done)) => done,
            // The panic's own message is in the log already.
            Ok(Err(_)) => (MethodResponse::error(Id::Null, ErrorCode::InternalError), None),
            Err(_) => (MethodResponse::error(Id::Null, error::timeout()), None),
        };
        self.metrics
            .record(name, response.is_success(), started.elapsed());
        (response, stream)
    }

    async fn invoke(
        &self,
        callback: &MethodCallback,
        params: Option<&RawValue>,
        connection: Option<&Connection>,
    ) -> (MethodResponse, Option<Notifications>) {
        let params = Params::new(params.map(RawValue::get));
        let limit = self.config.max_response;
        let extensions = jsonrpsee::Extensions::new();
        let conn_id = connection.map_or(ConnectionId(0), |connection| connection.id);
        match callback {
            MethodCallback::Sync(run) => (run(Id::Null, params, limit, extensions), None),
            MethodCallback::Async(run) => (
                run(Id::Null, params.into_owned(), conn_id, limit, extensions).await,
                None,
            ),
            MethodCallback::Unsubscription(run) => {
                if params.one::<SubscriptionId<'_>>().is_err() {
                    let error = error::invalid_params("missing value for required argument 0");
                    return (MethodResponse::error(Id::Null, error), None);
                }
                (run(Id::Null, params, conn_id, limit, extensions), None)
            }
            MethodCallback::Subscription(run) => {
                let Some(connection) = connection else {
                    let text = "notifications not supported";
                    let error = ErrorObjectOwned::owned(METHOD_NOT_FOUND_CODE, text, None::<()>);
                    return (MethodResponse::error(Id::Null, error), None);
                };
                let Some(permit) = connection.subscriptions.acquire() else {
                    let error = reject_too_many_subscriptions(connection.subscriptions.max());
                    return (MethodResponse::error(Id::Null, error), None);
                };
                let (sender, mut receiver) = mpsc::channel(SUBSCRIPTION_BUFFER);
                let state = SubscriptionState {
                    conn_id,
                    id_provider: &HexIds,
                    subscription_permit: permit,
                };
                let response = run(Id::Null, params, MethodSink::new(sender), state, extensions).await;
                // The table sends the response a second time into the stream, ahead of all notifications.
                drop(receiver.recv().await);
                let stream = response.is_success().then_some(receiver);
                (response, stream)
            }
        }
    }
}

fn failed(error: ErrorObjectOwned) -> Outcome {
    Outcome {
        response: Some(respond_error("null", error)),
        streams: Vec::new(),
    }
}

fn invalid_request(message: &str) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(INVALID_REQUEST_CODE, message, None::<()>)
}

/// Whether an id is a string, a number or null.
fn valid_id(id: &str) -> bool {
    id.starts_with(|first: char| first == '"' || first == '-' || first.is_ascii_digit() || first == 'n')
}

fn respond_error(id: &str, error: ErrorObjectOwned) -> String {
    with_id(MethodResponse::error(Id::Null, error), id)
}

/// Puts the caller's id where the method table put null.
fn with_id(response: MethodResponse, id: &str) -> String {
    let json = response.into_json();
    let rest = json.get().strip_prefix(NULL_ID_HEAD).unwrap_or_default();
    format!(r#"{{"jsonrpc":"2.0","id":{id},{rest}"#)
}

fn push(batch: &mut String, response: &str) {
    if batch.len() > 1 {
        batch.push(',');
    }
    batch.push_str(response);
}

/// The response to a call of a batch whose responses have become too large.
fn too_large(call: &RawValue) -> String {
    let call = serde_json::from_str::<RawCall<'_>>(call.get()).ok();
    let id = call
        .and_then(|call| call.id)
        .map(RawValue::get)
        .filter(|id| valid_id(id))
        .unwrap_or("null");
    respond_error(
        id,
        ErrorObjectOwned::owned(-32003, "response too large", None::<()>),
    )
}

/// A method's name, short enough for an error message.
fn shorten(method: &str) -> String {
    method.chars().take(64).collect()
}
