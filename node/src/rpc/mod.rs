//! JSON-RPC over HTTP and WebSocket (docs/json-rpc.md).

mod args;
mod bridge;
mod config;
mod context;
mod debug;
mod dispatch;
mod error;
mod eth;
mod evm;
mod feed;
mod forward;
mod metrics;
mod misc;
mod openrpc;
mod rollup;
mod server;

#[cfg(test)]
mod tests;

pub use args::Args;
pub use config::RpcConfig;
pub use context::{Context, Submit};
pub use error::RpcResult;
pub use forward::Forwarder;
pub use metrics::RpcMetrics;
pub use misc::CLIENT_VERSION;
pub use server::{LateAnswer, Monitor, serve, serve_monitor};

use jsonrpsee::core::server::Methods;

/// Makes the table of all public methods.
pub fn methods(context: std::sync::Arc<Context>) -> Methods {
    let mut module = context::Module::from_arc(context);
    bridge::register(&mut module);
    debug::register(&mut module);
    eth::register(&mut module);
    misc::register(&mut module);
    rollup::register(&mut module);
    module.into()
}
