//! JSON-RPC over a real store and real listeners.

mod chain;
mod conformance;
mod feed;
mod methods;
mod params;
mod transport;

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::{broadcast, watch};

use crate::events::ChainEvent;
use crate::pool::{Pool, PoolConfig, StoreState};
use crate::status::NodeStatus;

use super::config::RpcConfig;
use super::context::{Context, Submit};
use super::dispatch::Dispatcher;
use super::metrics::RpcMetrics;
use chain::Chain;

/// A node's JSON-RPC without listeners.
struct Node {
    chain: Chain,
    dispatcher: Dispatcher,
    context: Arc<Context>,
    events: broadcast::Sender<ChainEvent>,
    // A closed channel would end the status.
    _status: watch::Sender<NodeStatus>,
}

impl Node {
    /// A sequencer's, with a pool.
    fn new() -> Self {
        Self::with(RpcConfig::default())
    }

    fn with(config: RpcConfig) -> Self {
        let chain = Chain::new();
        let (events, _) = crate::events::channel();
        let (sender, status) = watch::channel(NodeStatus {
            sequencing: true,
            l1_tip: Some(100),
            ..Default::default()
        });
        let params = Arc::new(chain.params.clone());
        let state = Arc::new(StoreState::new(chain.store.clone(), params.execution.l1_fee));
        let pool = PoolConfig::new(chain::CHAIN, params.execution.spec, 30_000_000);
        let pool = Pool::new(pool, &chain.dir.path().join("mempool.log"), state).unwrap();
        let config = Arc::new(config);
        let context = Context::new(
            chain.store.clone(),
            params,
            Submit::Pool(pool),
            config.clone(),
            status,
            &events,
            None,
        );
        let context = Arc::new(context);
        let metrics = Arc::new(RpcMetrics::new(&prometheus::Registry::new()).unwrap());
        let dispatcher = Dispatcher::new(super::methods(context.clone()), config, metrics);
        Self {
            chain,
            dispatcher,
            context,
            events,
            _status: sender,
        }
    }

    fn pool(&self) -> &Pool {
        self.context.submit.pool().unwrap()
    }

    /// Sends bytes; gives the response.
    async fn raw(&self, body: &str) -> Option<Value> {
        let response = self.dispatcher.handle(body.as_bytes(), None).await.response?;
        Some(serde_json::from_str(&response).unwrap())
    }

    /// Calls a method; gives the whole response.
    async fn response(&self, method: &str, params: Value) -> Value {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        self.raw(&request.to_string()).await.unwrap()
    }

    /// Calls a method that must succeed.
    async fn call(&self, method: &str, params: Value) -> Value {
        let mut response = self.response(method, params.clone()).await;
        assert!(response.get("error").is_none(), "{method} {params}: {response}");
        response["result"].take()
    }

    /// Calls a method that must fail; gives the code and the message.
    async fn error(&self, method: &str, params: Value) -> (i64, String) {
        let response = self.response(method, params.clone()).await;
        let error = &response["error"];
        assert!(error.is_object(), "{method} {params}: {response}");
        (
            error["code"].as_i64().unwrap(),
            error["message"].as_str().unwrap().to_owned(),
        )
    }
}
