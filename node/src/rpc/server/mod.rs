//! The listeners: public, admin and metrics, each on its own address.

mod compress;
mod http;
mod monitor;
mod page;
mod ws;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jsonrpsee::core::server::Methods;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use warp::Filter;

use super::config::RpcConfig;
use super::dispatch::Dispatcher;
use super::metrics::RpcMetrics;
use crate::feed;

pub use monitor::{LateAnswer, Monitor, serve_monitor};

/// What every request of one listener shares.
pub(super) struct Shared {
    pub dispatcher: Dispatcher,
    pub config: Arc<RpcConfig>,
    pub metrics: Arc<RpcMetrics>,
    pub in_flight: Semaphore,
    pub connections: Arc<Semaphore>,
    pub next_connection: AtomicUsize,
    pub shutdown: CancellationToken,
}

impl Shared {
    fn new(
        methods: Methods,
        config: Arc<RpcConfig>,
        metrics: Arc<RpcMetrics>,
        shutdown: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            dispatcher: Dispatcher::new(methods, config.clone(), metrics.clone()),
            in_flight: Semaphore::new(config.max_in_flight),
            connections: Arc::new(Semaphore::new(config.max_connections)),
            // Zero is everybody who has no connection.
            next_connection: AtomicUsize::new(1),
            config,
            metrics,
            shutdown,
        })
    }

    pub fn connection_id(&self) -> usize {
        self.next_connection.fetch_add(1, Ordering::Relaxed)
    }
}

/// Serves a method table over HTTP and WebSocket until `shutdown`; both on `/`, WebSocket also on `/ws`. A sequencer's
/// feed of fresh blocks is on `/feed`. Without a token the status page is what `GET /` gives.
///
/// With a token every request must carry it as `Authorization: Bearer <token>`. What is in work at the
/// shutdown is finished.
pub async fn serve(
    listener: TcpListener,
    methods: Methods,
    config: Arc<RpcConfig>,
    metrics: Arc<RpcMetrics>,
    token: Option<String>,
    feed: Option<feed::Server>,
    shutdown: CancellationToken,
) {
    let shared = Shared::new(methods, config, metrics, shutdown.clone());
    let cors = cors(&shared.config.cors_origins);
    // A browser has no token to show.
    let page = token.is_none();
    let routes = ws::route(shared.clone(), token.clone())
        .or(http::route(shared, token))
        .unify()
        .boxed();
    let routes = match feed {
        Some(feed) => feed.route(shutdown.clone()).or(routes).unify().boxed(),
        None => routes,
    };
    let routes = match page {
        true => routes.or(page::route()).unify().boxed(),
        false => routes,
    };
    let routes = routes.recover(http::recover).with(cors);
    warp::serve(routes)
        .incoming(listener)
        .graceful(shutdown.cancelled_owned())
        .run()
        .await;
}

fn cors(origins: &[String]) -> warp::cors::Builder {
    let cors = warp::cors()
        .allow_methods(["GET", "POST", "OPTIONS"])
        .allow_headers(["content-type", "accept", "authorization", "content-encoding"])
        .max_age(600);
    if origins.iter().any(|origin| origin == "*") {
        return cors.allow_any_origin();
    }
    // warp's builder panics on an origin that does not parse; a configured one that cannot match is left out.
    let valid = |origin: &&String| {
        let parts = origin.split_once("://");
        parts.is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty() && !rest.contains('/'))
    };
    origins
        .iter()
        .filter(valid)
        .fold(cors, |cors, origin| cors.allow_origin(origin.as_str()))
}

/// Whether a request carries the token. Compared in constant time.
pub(super) fn authorized(token: Option<&str>, header: Option<&str>) -> bool {
    let Some(token) = token else { return true };
    let given = header
        .and_then(|header| header.strip_prefix("Bearer "))
        .unwrap_or_default();
    let differs = token
        .bytes()
        .zip(given.bytes())
        .fold(0, |acc, (a, b)| acc | (a ^ b));
    token.len() == given.len() && differs == 0
}
