//! Metrics and health of the node (docs/operations.md).

use alloy_primitives::U256;
use bitsect_vm::chain::SATS_TO_WEI;
use parking_lot::Mutex;
use prometheus::{IntCounter, IntGauge, Registry};
use tokio::sync::watch;

use crate::engine::{BridgeStatus, EngineStatus};
use crate::pool::Pool;
use crate::poster::PosterStatus;
use crate::rpc::Monitor;
use crate::status::{NodeStatus, SYNC_LAG};

/// Answers the metrics listener.
pub struct NodeMonitor {
    registry: Registry,
    engine: watch::Receiver<EngineStatus>,
    status: watch::Receiver<NodeStatus>,
    pool: Option<Pool>,
    poster: Option<watch::Receiver<PosterStatus>>,
    gauges: Gauges,
    /// Counted by whoever reads the metrics, one at a time.
    violations: Mutex<IntCounter>,
}

macro_rules! gauges {
    ($($field:ident: $name:literal, $help:literal;)*) => {
        struct Gauges { $($field: IntGauge,)* }

        impl Gauges {
            fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
                let gauges = Self { $($field: IntGauge::new($name, $help)?,)* };
                $(registry.register(Box::new(gauges.$field.clone()))?;)*
                Ok(gauges)
            }
        }
    };
}

gauges! {
    latest: "bitsect_latest_block", "Number of the latest block";
    safe: "bitsect_safe_block", "Number of the newest block whose batch is in Bitcoin";
    finalized: "bitsect_finalized_block", "Number of the newest block whose batch is deep in Bitcoin";
    units: "bitsect_units", "Units of derivation done";
    l1_height: "bitsect_l1_height", "Height of the last L1 block derived from";
    l1_tip: "bitsect_l1_tip", "Height of Bitcoin's tip; -1 while it is not reachable";
    l1_synced: "bitsect_l1_synced", "1 when everything that Bitcoin Core has is derived";
    dropped: "bitsect_dropped_batches", "Batches that derived to nothing since the start";
    reorgs: "bitsect_reorgs", "Reorgs of the L2 chain since the start";
    paused: "bitsect_sequencer_paused", "1 when the sequencer stands still";
    pending: "bitsect_pool_pending", "Executable transactions in the mempool";
    queued: "bitsect_pool_queued", "Transactions in the mempool behind a gap";
    pool_bytes: "bitsect_pool_bytes", "Bytes in the mempool";
    waiting_blocks: "bitsect_poster_waiting_blocks", "Blocks that wait for a batch";
    waiting_bytes: "bitsect_poster_waiting_bytes", "Encoded bytes of transactions that wait for a batch";
    submitted: "bitsect_poster_batches", "Batches submitted since the start";
    jobs: "bitsect_poster_jobs", "Batches that are not deep in Bitcoin yet";
    wallet: "bitsect_wallet_sats", "What the fee wallet can spend, in sats";
    holds: "bitsect_bridge_holds", "1 when the sums of the bridge hold after the latest block";
    left: "bitsect_bridge_vault_outputs_left", "Vault outputs that left by what the chain does not record";
    vault: "bitsect_bridge_vault_sats", "In vault outputs, in sats";
    asked: "bitsect_bridge_pending_sats", "In withdrawals that are not paid, in sats";
    credit: "bitsect_bridge_credit_sats", "Credit of operators, in sats";
    in_flight: "bitsect_bridge_in_flight_sats", "In vault outputs that are assigned and not taken, in sats";
    settled: "bitsect_bridge_settled_sats", "All that was assigned and not given back, in sats";
    unclaimed: "bitsect_bridge_unclaimed_sats", "What recipients of deposits did not take, in sats";
    balance: "bitsect_bridge_balance_sats", "The balance of Bridge, in whole sats";
    supply: "bitsect_supply_sats", "All balances, in whole sats";
    burnt: "bitsect_burnt_sats", "What was burnt since genesis, in whole sats";
}

impl NodeMonitor {
    /// Makes the monitor and registers its gauges.
    ///
    /// # Errors
    /// When the registry has gauges of these names already.
    pub fn new(
        registry: Registry,
        engine: watch::Receiver<EngineStatus>,
        status: watch::Receiver<NodeStatus>,
        pool: Option<Pool>,
        poster: Option<watch::Receiver<PosterStatus>>,
    ) -> Result<Self, prometheus::Error> {
        let gauges = Gauges::register(&registry)?;
        let violations = IntCounter::new(
            "bitsect_bridge_violations_total",
            "Violations of what always holds of the bridge, since the start",
        )?;
        registry.register(Box::new(violations.clone()))?;
        Ok(Self {
            registry,
            engine,
            status,
            pool,
            poster,
            gauges,
            violations: Mutex::new(violations),
        })
    }

    fn refresh(&self) {
        let (gauges, engine) = (&self.gauges, self.engine.borrow().clone());
        let set = |gauge: &IntGauge, value: u64| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        set(&gauges.latest, engine.latest.number);
        set(&gauges.safe, engine.safe.number);
        set(&gauges.finalized, engine.finalized.number);
        set(&gauges.units, engine.units);
        set(&gauges.l1_height, engine.l1_height.into());
        gauges
            .l1_tip
            .set(self.status.borrow().l1_tip.map_or(-1, i64::from));
        set(&gauges.l1_synced, engine.l1_synced.into());
        set(&gauges.dropped, engine.dropped_batches);
        set(&gauges.reorgs, engine.reorgs);
        set(&gauges.paused, engine.paused.is_some().into());
        self.refresh_bridge(&engine.bridge);
        if let Some(pool) = &self.pool {
            let pool = pool.status();
            let count = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
            set(&gauges.pending, count(pool.pending));
            set(&gauges.queued, count(pool.queued));
            set(&gauges.pool_bytes, count(pool.bytes));
        }
        if let Some(poster) = &self.poster {
            let poster = poster.borrow().clone();
            set(&gauges.waiting_blocks, poster.waiting_blocks);
            set(&gauges.waiting_bytes, poster.waiting_bytes);
            set(&gauges.submitted, poster.submitted);
            set(&gauges.jobs, poster.jobs);
            set(&gauges.wallet, poster.wallet_sats);
        }
    }
}

impl NodeMonitor {
    fn refresh_bridge(&self, bridge: &BridgeStatus) {
        let set = |gauge: &IntGauge, value: u64| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        let whole = |wei: U256| (wei / U256::from(SATS_TO_WEI)).saturating_to::<u64>();
        let (gauges, sums) = (&self.gauges, &bridge.sums);
        set(&gauges.holds, bridge.holds().into());
        set(&gauges.left, bridge.left);
        set(&gauges.vault, sums.vault);
        set(&gauges.asked, sums.pending);
        set(&gauges.credit, sums.credit);
        set(&gauges.in_flight, sums.in_flight);
        set(&gauges.settled, sums.settled);
        set(&gauges.unclaimed, sums.unclaimed);
        set(&gauges.balance, whole(sums.bridge_balance));
        set(&gauges.supply, whole(sums.supply));
        set(&gauges.burnt, whole(sums.burnt));
        let counter = self.violations.lock();
        counter.inc_by(bridge.violations.saturating_sub(counter.get()));
    }
}

impl Monitor for NodeMonitor {
    fn metrics(&self) -> &Registry {
        self.refresh();
        &self.registry
    }

    fn ready(&self) -> Result<(), String> {
        let Some(tip) = self.status.borrow().l1_tip else {
            return Err("Bitcoin Core is not reachable".into());
        };
        let engine = self.engine.borrow();
        let behind = tip.saturating_sub(engine.l1_height);
        if behind > SYNC_LAG {
            return Err(format!(
                "{behind} L1 blocks are not derived yet, from height {}",
                engine.l1_height
            ));
        }
        match &engine.paused {
            Some(reason) => Err(format!("the sequencer stands still: {reason}")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_says_what_it_waits_for() {
        let (engine, engine_watch) = watch::channel(EngineStatus::default());
        let (status, status_watch) = watch::channel(NodeStatus::default());
        let monitor = NodeMonitor::new(Registry::new(), engine_watch, status_watch, None, None).unwrap();
        assert_eq!(monitor.ready().unwrap_err(), "Bitcoin Core is not reachable");
        status.send_modify(|status| status.l1_tip = Some(100));
        engine.send_modify(|engine| engine.l1_height = 96);
        assert_eq!(
            monitor.ready().unwrap_err(),
            "4 L1 blocks are not derived yet, from height 96"
        );
        engine.send_modify(|engine| engine.l1_height = 97);
        assert_eq!(monitor.ready(), Ok(()));
        engine.send_modify(|engine| engine.paused = Some("the safe head is behind".into()));
        assert!(monitor.ready().unwrap_err().contains("the safe head is behind"));
    }

    #[test]
    fn metrics_show_what_the_engine_says() {
        let (engine, engine_watch) = watch::channel(EngineStatus::default());
        let (_status, status_watch) = watch::channel(NodeStatus::default());
        let monitor = NodeMonitor::new(Registry::new(), engine_watch, status_watch, None, None).unwrap();
        engine.send_modify(|engine| engine.safe.number = 42);
        let text = prometheus::TextEncoder::new()
            .encode_to_string(&monitor.metrics().gather())
            .unwrap();
        assert!(text.contains("bitsect_safe_block 42"), "{text}");
        assert!(text.contains("bitsect_l1_tip -1"), "{text}");
    }

    #[test]
    fn what_does_not_hold_is_counted_once_and_changes_no_readiness() {
        let (engine, engine_watch) = watch::channel(EngineStatus::default());
        let (status, status_watch) = watch::channel(NodeStatus::default());
        let monitor = NodeMonitor::new(Registry::new(), engine_watch, status_watch, None, None).unwrap();
        status.send_modify(|status| status.l1_tip = Some(0));
        let text = || {
            let encoder = prometheus::TextEncoder::new();
            encoder.encode_to_string(&monitor.metrics().gather()).unwrap()
        };
        assert!(text().contains("bitsect_bridge_holds 1\n"));
        engine.send_modify(|engine| {
            engine.bridge.violations = 2;
            engine.bridge.left = 1;
            engine.bridge.sums.supply = U256::from(3 * SATS_TO_WEI + 1);
        });
        for _ in 0..2 {
            let text = text();
            assert!(text.contains("bitsect_bridge_violations_total 2\n"), "{text}");
            assert!(text.contains("bitsect_bridge_holds 0\n"), "{text}");
            assert!(text.contains("bitsect_supply_sats 3\n"), "{text}");
        }
        assert_eq!(monitor.ready(), Ok(()));
    }
}
