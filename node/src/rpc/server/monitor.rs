//! The metrics listener: `/metrics`, `/healthz`, `/readyz`, and `/status` and more where a program has them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use prometheus::{Registry, TextEncoder};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use warp::http::StatusCode;
use warp::{Filter, Reply};

/// An answer that takes time, or why there is none.
pub type LateAnswer = Pin<Box<dyn Future<Output = Result<serde_json::Value, String>> + Send>>;

/// What the metrics listener asks.
pub trait Monitor: Send + Sync + 'static {
    /// The registry to print, with its gauges brought up to date.
    fn metrics(&self) -> &Registry;

    /// Whether the node follows L1 and its head is fresh.
    ///
    /// # Errors
    ///
    /// Says what it waits for.
    fn ready(&self) -> Result<(), String>;

    /// What `/status` gives; without it there is no such path.
    fn status(&self) -> Option<serde_json::Value> {
        None
    }

    /// Answers a path of the program's own, without its first slash; `None` where there is no such path.
    fn answer(&self, path: &str) -> Option<LateAnswer> {
        let _ = path;
        None
    }
}

/// Serves the metrics listener until `shutdown`.
pub async fn serve_monitor(listener: TcpListener, monitor: Arc<dyn Monitor>, shutdown: CancellationToken) {
    let source = monitor.clone();
    let metrics = warp::path!("metrics")
        .and(warp::get())
        .map(move || print(source.metrics()))
        .boxed();
    let health = warp::path!("healthz")
        .and(warp::get())
        .map(|| "ok\n".into_response())
        .boxed();
    let ready = warp::path!("readyz")
        .and(warp::get())
        .map({
            let monitor = monitor.clone();
            move || ready_reply(monitor.ready())
        })
        .boxed();
    let status = warp::path!("status")
        .and(warp::get())
        .map({
            let monitor = monitor.clone();
            move || status_reply(monitor.status())
        })
        .boxed();
    let more = warp::path::tail()
        .and(warp::get())
        .then(move |path: warp::path::Tail| late_reply(monitor.answer(path.as_str())))
        .boxed();
    // Boxed, so that the server's future can be spawned.
    let routes = metrics.or(health).unify().or(ready).unify();
    let routes = routes.or(status).unify().or(more).unify().boxed();
    warp::serve(routes)
        .incoming(listener)
        .graceful(shutdown.cancelled_owned())
        .run()
        .await;
}

fn ready_reply(ready: Result<(), String>) -> warp::reply::Response {
    match ready {
        Ok(()) => "ready\n".into_response(),
        Err(reason) => {
            warp::reply::with_status(format!("{reason}\n"), StatusCode::SERVICE_UNAVAILABLE).into_response()
        }
    }
}

fn status_reply(status: Option<serde_json::Value>) -> warp::reply::Response {
    match status {
        Some(status) => warp::reply::json(&status).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn late_reply(answer: Option<LateAnswer>) -> warp::reply::Response {
    let Some(answer) = answer else {
        return StatusCode::NOT_FOUND.into_response();
    };
    match answer.await {
        Ok(answer) => warp::reply::json(&answer).into_response(),
        Err(reason) => {
            let text = format!("{reason}\n");
            warp::reply::with_status(text, StatusCode::INTERNAL_SERVER_ERROR).into_response()
        }
    }
}

fn print(registry: &Registry) -> warp::reply::Response {
    match TextEncoder::new().encode_to_string(&registry.gather()) {
        Ok(text) => warp::reply::with_header(text, "content-type", prometheus::TEXT_FORMAT).into_response(),
        Err(error) => {
            tracing::error!(%error, "failed to print the metrics");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
