//! Limits of the servers.

use std::time::Duration;

/// How the JSON-RPC servers behave. Every limit bounds what one outside request can make the node do.
#[derive(Clone, Debug)]
pub struct RpcConfig {
    /// Origins that browsers may call from; `*` allows all, none allows no browser.
    pub cors_origins: Vec<String>,
    /// Bytes of a request, also after decompression.
    pub max_body: usize,
    /// Bytes of a response, and of all responses of a batch together.
    pub max_response: usize,
    /// Calls in a batch.
    pub max_batch: usize,
    /// Calls of one batch or one WebSocket that run at the same time.
    pub max_concurrent: usize,
    /// Requests in work over HTTP at the same time; beyond it the answer is 503.
    pub max_in_flight: usize,
    /// WebSocket connections.
    pub max_connections: usize,
    /// Subscriptions of one connection.
    pub max_subscriptions: u32,
    /// Filters of all clients.
    pub max_filters: usize,
    /// How long a filter lives without being polled.
    pub filter_life: Duration,
    /// How long one call may take.
    pub call_timeout: Duration,
    /// Gas of `eth_call` and `eth_estimateGas`.
    pub gas_cap: u64,
    /// Calls that execute or scan at the same time.
    pub max_heavy: usize,
    /// Blocks of an `eth_getLogs` range.
    pub max_log_blocks: u64,
    /// Logs of one answer.
    pub max_logs: usize,
    /// Bytes that a trace may hold in memory.
    pub max_trace_bytes: usize,
}

impl Default for RpcConfig {
    fn default() -> Self {
        Self {
            cors_origins: vec!["*".to_owned()],
            max_body: 5 * 1024 * 1024,
            max_response: 25 * 1024 * 1024,
            max_batch: 1_000,
            max_concurrent: 64,
            max_in_flight: 4_096,
            max_connections: 1_024,
            max_subscriptions: 128,
            max_filters: 10_000,
            filter_life: Duration::from_secs(300),
            call_timeout: Duration::from_secs(30),
            gas_cap: 50_000_000,
            max_heavy: std::thread::available_parallelism().map_or(4, |n| n.get().saturating_mul(2)),
            max_log_blocks: 100_000,
            max_logs: 10_000,
            max_trace_bytes: 128 * 1024 * 1024,
        }
    }
}
