//! The alarm of what does not hold of the bridge: the embedded verifier checks it, a person hears of it once.

use bitsect_node::engine::{BridgeStatus, EngineStatus};
use bitsect_node::invariant::Violation;
use eyre::WrapErr;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::alarm::{Alarms, Event};
use crate::dispute::Told;

/// Watches the sums that the verifier checks.
pub(crate) struct BridgeWatch {
    /// What the verifier says.
    pub engine: watch::Receiver<EngineStatus>,
    /// Where alarms are raised.
    pub alarms: Alarms,
    /// Which were.
    pub told: Told,
}

impl BridgeWatch {
    /// Runs until `stop`.
    ///
    /// # Errors
    /// Where the file of alarms fails.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> eyre::Result<()> {
        let mut seen = 0;
        loop {
            let bridge = self.engine.borrow_and_update().bridge.clone();
            self.tell(&bridge, seen).wrap_err("failed to note the alarms")?;
            seen = bridge.violations;
            let changed = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                changed = self.engine.changed() => changed,
            };
            if changed.is_err() {
                // The verifier ended: the challenger ends too.
                stop.cancelled().await;
                return Ok(());
            }
        }
    }

    /// Raises what was not raised yet.
    fn tell(&mut self, bridge: &BridgeStatus, seen: u64) -> std::io::Result<()> {
        for violation in bridge.since(seen) {
            let name = violation.name();
            if !self.told.contains(&name) {
                self.alarms.raise(event(violation));
                self.told.note(&[name])?;
            }
        }
        Ok(())
    }
}

fn event(violation: &Violation) -> Event {
    Event::BridgeViolated {
        rule: violation.rule(),
        reason: violation.to_string(),
        block: violation.block(),
        l1_height: violation.l1_height(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::U256;
    use prometheus::Registry;
    use std::path::Path;

    fn wrong(block: u64, got: u64) -> Violation {
        Violation::Vault {
            block,
            expected: U256::from(5),
            got: U256::from(got),
        }
    }

    fn bridge(recent: Vec<Violation>) -> EngineStatus {
        EngineStatus {
            bridge: BridgeStatus {
                violations: recent.len() as u64,
                recent,
                ..BridgeStatus::default()
            },
            ..EngineStatus::default()
        }
    }

    /// Runs a watch over these statuses; gives what the alarm command got.
    async fn told(dir: &Path, statuses: Vec<EngineStatus>) -> Vec<serde_json::Value> {
        let file = dir.join("events");
        drop(std::fs::remove_file(&file));
        let command = format!("cat >>{}", file.display());
        let (alarms, delivery) =
            Alarms::new(Some(command), &Registry::new(), CancellationToken::new()).unwrap();
        let (_sender, engine) = watch::channel(EngineStatus::default());
        let told = Told::open(&dir.join("told")).unwrap();
        let mut watch = BridgeWatch { engine, alarms, told };
        let mut seen = 0;
        for status in statuses {
            watch.tell(&status.bridge, seen).unwrap();
            seen = status.bridge.violations;
        }
        drop(watch);
        delivery.await;
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[tokio::test]
    async fn each_violation_is_told_once_also_over_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let first = bridge(vec![wrong(7, 9)]);
        let both = bridge(vec![wrong(7, 9), wrong(8, 4)]);
        let events = told(dir.path(), vec![first.clone(), first, both]).await;
        let reason = "vault after block 7: expected 5 wei that came in (supply, less genesis, with burnt), got 9 (vault, with settled, less in flight)";
        assert_eq!(
            events[0],
            serde_json::json!({"event": "bridge-violated", "rule": "vault", "reason": reason, "block": 7, "l1Height": null})
        );
        assert_eq!((events.len(), &events[1]["block"]), (2, &8.into()));
        // The same difference, later: it was never mended.
        let again = told(dir.path(), vec![bridge(vec![wrong(30, 8), wrong(31, 9)])]).await;
        assert_eq!((again.len(), &again[0]["block"]), (1, &30.into()));
    }

    #[tokio::test]
    async fn the_watch_hears_of_what_comes_later() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("events");
        let command = format!("cat >>{}", file.display());
        let (alarms, delivery) =
            Alarms::new(Some(command), &Registry::new(), CancellationToken::new()).unwrap();
        let (sender, engine) = watch::channel(EngineStatus::default());
        let told = Told::open(&dir.path().join("told")).unwrap();
        let stop = CancellationToken::new();
        let watch = BridgeWatch {
            engine,
            alarms: alarms.clone(),
            told,
        };
        let task = tokio::spawn(watch.run(stop.clone()));
        sender.send_replace(bridge(vec![wrong(7, 9)]));
        let wait = async {
            while alarms.last().is_none() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(30), wait)
            .await
            .unwrap();
        stop.cancel();
        task.await.unwrap().unwrap();
        assert_eq!(alarms.last(), Some(event(&wrong(7, 9))));
        drop(alarms);
        delivery.await;
        assert_eq!(std::fs::read_to_string(file).unwrap().lines().count(), 1);
    }
}
