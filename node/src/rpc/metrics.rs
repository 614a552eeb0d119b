//! What the servers count.

use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry};

/// Counters of the JSON-RPC servers. Labels are method names of the table, never what a client sent.
#[derive(Debug)]
pub struct RpcMetrics {
    calls: IntCounterVec,
    seconds: HistogramVec,
    /// Open WebSocket connections.
    pub(super) connections: IntGauge,
    /// Open subscriptions.
    pub(super) subscriptions: IntGauge,
}

impl RpcMetrics {
    /// Makes the counters and registers them.
    ///
    /// # Errors
    ///
    /// When the registry has counters of these names already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let calls = IntCounterVec::new(
            Opts::new("bitsect_rpc_calls_total", "JSON-RPC calls by method and outcome"),
            &["method", "outcome"],
        )?;
        let buckets = vec![0.0005, 0.002, 0.01, 0.05, 0.25, 1.0, 5.0, 30.0];
        let seconds = HistogramVec::new(
            HistogramOpts::new("bitsect_rpc_call_seconds", "Time of JSON-RPC calls by method")
                .buckets(buckets),
            &["method"],
        )?;
        let connections = IntGauge::new("bitsect_rpc_websockets", "Open WebSocket connections")?;
        let subscriptions = IntGauge::new("bitsect_rpc_subscriptions", "Open subscriptions")?;
        registry.register(Box::new(calls.clone()))?;
        registry.register(Box::new(seconds.clone()))?;
        registry.register(Box::new(connections.clone()))?;
        registry.register(Box::new(subscriptions.clone()))?;
        Ok(Self {
            calls,
            seconds,
            connections,
            subscriptions,
        })
    }

    pub(super) fn record(&self, method: &str, success: bool, time: Duration) {
        let outcome = if success { "ok" } else { "error" };
        self.calls.with_label_values(&[method, outcome]).inc();
        self.seconds
            .with_label_values(&[method])
            .observe(time.as_secs_f64());
    }
}
