//! What the challenger's listener says: metrics, health, status.

use bitsect_node::convert;
use bitsect_node::engine::EngineStatus;
use bitsect_node::monitor::NodeMonitor;
use bitsect_node::rpc::{LateAnswer, Monitor};
use bitsect_node::status::NodeStatus;
use bitsect_node::verifier::Verifier;
use prometheus::Registry;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;

use crate::alarm::Alarms;
use crate::dispute::{DisputeGauges, DisputeStatus, View};
use crate::explain::{Explainer, told};

/// The path of explanations; the slot's number comes behind it.
pub const EXPLAIN: &str = "explain/";

/// Answers the listener.
pub struct ChallengerMonitor {
    node: NodeMonitor,
    engine: watch::Receiver<EngineStatus>,
    status: watch::Receiver<NodeStatus>,
    alarms: Alarms,
    chain: String,
    disputes: Option<Disputes>,
}

/// What is asked of disputes.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "gigabytes of pages")]
pub struct Disputes {
    /// The slots.
    pub view: View,
    /// What explains their claims.
    pub explainer: Explainer,
    /// Their metrics.
    pub gauges: DisputeGauges,
}

/// What `/status` gives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// What people call the chain.
    pub chain: String,
    /// What derivation waits for; none where it follows Bitcoin.
    pub waits_for: Option<String>,
    /// The height of Bitcoin's tip; none while Bitcoin Core is not reachable.
    pub l1_tip: Option<u32>,
    /// The last L1 block that was derived from.
    pub l1_height: u32,
    /// Its hash, as Bitcoin's tools show it.
    pub l1_hash: bitcoin::BlockHash,
    /// Units done.
    pub units: u64,
    /// The newest L2 block whose batch is in Bitcoin.
    pub safe_block: u64,
    /// The newest L2 block whose batch is deep in Bitcoin.
    pub finalized_block: u64,
    /// Reorgs of the L2 chain since the start.
    pub reorgs: u64,
    /// The last alarm since the start.
    pub last_alarm: Option<Value>,
    /// The slots; none where no deployment is named.
    pub disputes: Option<DisputeStatus>,
}

impl ChallengerMonitor {
    /// Makes the monitor of an embedded verifier and registers its gauges.
    ///
    /// # Errors
    /// When the registry has gauges of these names already.
    pub fn new(
        registry: Registry,
        verifier: &Verifier,
        alarms: Alarms,
        disputes: Option<Disputes>,
    ) -> Result<Self, prometheus::Error> {
        let (engine, status) = (verifier.engine(), verifier.status());
        Ok(Self {
            node: NodeMonitor::new(registry, engine.clone(), status.clone(), None, None)?,
            engine,
            status,
            alarms,
            chain: verifier.file().name.clone(),
            disputes,
        })
    }

    /// Gives the status.
    pub fn now(&self) -> Status {
        let engine = self.engine.borrow().clone();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            chain: self.chain.clone(),
            waits_for: self.ready().err(),
            l1_tip: self.status.borrow().l1_tip,
            l1_height: engine.l1_height,
            l1_hash: convert::bitcoin_hash(&engine.l1_hash),
            units: engine.units,
            safe_block: engine.safe.number,
            finalized_block: engine.finalized.number,
            reorgs: engine.reorgs,
            last_alarm: self
                .alarms
                .last()
                .map(|event| serde_json::to_value(event).expect("an event has only types that JSON has")),
            disputes: self.disputes.as_ref().map(|disputes| disputes.view.status()),
        }
    }
}

impl Monitor for ChallengerMonitor {
    fn metrics(&self) -> &Registry {
        if let Some(disputes) = &self.disputes {
            disputes.gauges.refresh(&disputes.view);
        }
        self.node.metrics()
    }

    fn ready(&self) -> Result<(), String> {
        self.node.ready()
    }

    fn status(&self) -> Option<Value> {
        Some(serde_json::to_value(self.now()).expect("a status has only types that JSON has"))
    }

    fn answer(&self, path: &str) -> Option<LateAnswer> {
        let disputes = self.disputes.clone()?;
        let slot: usize = path.strip_prefix(EXPLAIN)?.parse().ok()?;
        let state = disputes.view.shown.borrow().slots.get(slot).cloned()?;
        Some(Box::pin(async move {
            let deployed = &disputes.view.deployed;
            let explained = disputes.explainer.slot(deployed, slot, &state).await;
            let explained = explained.map_err(|error| error.to_string())?;
            Ok(serde_json::to_value(told(&explained)).expect("an explanation has only types that JSON has"))
        }))
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "chain      {}", self.chain)?;
        match &self.waits_for {
            None => writeln!(f, "following  yes")?,
            Some(reason) => writeln!(f, "following  no: {reason}")?,
        }
        match self.l1_tip {
            None => writeln!(f, "L1 tip     not reachable")?,
            Some(tip) => writeln!(f, "L1 tip     {tip}")?,
        }
        writeln!(f, "derived    L1 block {}, {}", self.l1_height, self.l1_hash)?;
        writeln!(f, "units      {}", self.units)?;
        writeln!(f, "safe       L2 block {}", self.safe_block)?;
        writeln!(f, "finalized  L2 block {}", self.finalized_block)?;
        writeln!(f, "reorgs     {}", self.reorgs)?;
        match &self.last_alarm {
            None => writeln!(f, "alarms     none since the start")?,
            Some(event) => writeln!(f, "last alarm {event}")?,
        }
        match &self.disputes {
            None => writeln!(f, "disputes   no deployment is named"),
            Some(disputes) => disputes.fmt(f),
        }
    }
}
