//! A node that lies to who asks it: another node's JSON-RPC with answers changed.

use std::net::Ipv4Addr;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use warp::Filter;

use crate::Rpc;

/// What is said instead of a method's true answer to these parameters.
type Lie = dyn Fn(&str, &Value, Value) -> Value + Send + Sync;

/// A node that lies, until it is dropped.
#[derive(Debug)]
pub struct LyingNode {
    serving: JoinHandle<()>,
    url: String,
}

impl LyingNode {
    /// Starts one that knows what the node at `truth` knows.
    ///
    /// # Panics
    /// When it finds no port.
    pub async fn start(
        truth: Rpc,
        lie: impl Fn(&str, &Value, Value) -> Value + Send + Sync + 'static,
    ) -> Self {
        let lie: Arc<Lie> = Arc::new(lie);
        let route = warp::post().and(warp::body::json()).then(move |request: Value| {
            let (truth, lie) = (truth.clone(), Arc::clone(&lie));
            async move { warp::reply::json(&answer(&truth, lie.as_ref(), &request).await) }
        });
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let serving = tokio::spawn(warp::serve(route).incoming(listener).run());
        Self {
            serving,
            url: format!("http://{address}"),
        }
    }

    /// Gives where it is.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for LyingNode {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(truth: &Rpc, lie: &Lie, request: &Value) -> Value {
    let method = request["method"].as_str().unwrap_or_default();
    let (id, params) = (&request["id"], &request["params"]);
    match truth.call(method, params.clone()).await {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": lie(method, params, result) }),
        Err(fault) => {
            let error = json!({ "code": -32_000, "message": fault.to_string() });
            json!({ "jsonrpc": "2.0", "id": id, "error": error })
        }
    }
}
