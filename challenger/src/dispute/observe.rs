//! The task that judges claims, and raises alarms.

use std::sync::Arc;

use bitsect_bridge::chain::{Chain, ChainError};
use bitsect_bridge::daemon::{Shown, judge};
use bitsect_l1::FaultClass;
use bitsect_node::engine::EngineStatus;
use eyre::WrapErr;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::events::alarms;
use super::told::Told;
use super::view::{Seen, View};
use crate::alarm::{Alarms, Event};

/// Judges and tells.
pub(crate) struct Observer {
    /// What is known; what is shown comes in here.
    pub view: View,
    /// Where judgements go.
    pub seen: watch::Sender<Vec<Option<Seen>>>,
    /// The true chain.
    pub chain: Arc<dyn Chain>,
    /// How far it is derived.
    pub engine: watch::Receiver<EngineStatus>,
    /// Where alarms are raised.
    pub alarms: Alarms,
    /// Which were.
    pub told: Told,
}

impl Observer {
    /// Runs until `stop`.
    ///
    /// # Errors
    /// Where the chain's store or the file of alarms fails.
    pub async fn run(mut self, stop: CancellationToken) -> eyre::Result<()> {
        let mut few = false;
        loop {
            self.engine.mark_unchanged();
            let shown = self.view.shown.borrow_and_update().clone();
            match self.judge(&shown).await {
                Ok(seen) => {
                    self.seen.send_replace(seen);
                    self.tell(&shown).wrap_err("failed to note the alarms")?;
                }
                Err(error) if error.class() == FaultClass::Retry => {
                    tracing::warn!(%error, "claims are judged later");
                }
                Err(error) => return Err(error).wrap_err("failed to judge the claims"),
            }
            few = self.look_at_fees(&shown, few);
            let changed = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                changed = self.view.shown.changed() => changed,
                changed = self.engine.changed() => changed,
            };
            if changed.is_err() {
                // The other task ended: the challenger ends too.
                stop.cancelled().await;
                return Ok(());
            }
        }
    }

    async fn judge(&self, shown: &Shown) -> Result<Vec<Option<Seen>>, ChainError> {
        let mut seen = Vec::new();
        for (slot, ready) in shown.slots.iter().zip(&self.view.deployed.slots) {
            seen.push(match slot.claim {
                None => None,
                Some(claim) => {
                    let judged =
                        judge(&self.chain, ready.start_unit, (&claim, ready.graph.spec.check())).await?;
                    Some(Seen { claim, judged })
                }
            });
        }
        Ok(seen)
    }

    /// Raises what was not raised yet.
    fn tell(&mut self, shown: &Shown) -> std::io::Result<()> {
        let seen = self.seen.borrow().clone();
        let mut lines = Vec::new();
        for (number, state) in shown.slots.iter().enumerate() {
            let graph = &self.view.deployed.slots[number].graph;
            let of = (number, self.view.pair(number));
            let seen = seen.get(number).and_then(Option::as_ref);
            for (line, event) in alarms(graph, of, state, seen, shown.tip) {
                if !self.told.contains(&line) {
                    self.alarms.raise(event);
                    lines.push(line);
                }
            }
        }
        self.told.note(&lines)
    }

    /// Tells whether fee outputs are too few, and raises an alarm when they begin to be.
    fn look_at_fees(&self, shown: &Shown, before: bool) -> bool {
        let Some(fees) = shown.fees else { return false };
        let few = fees.free + fees.pending < fees.wanted;
        if few && !before {
            self.alarms.raise(Event::FeeOutputsFew {
                wanted: fees.wanted,
                ready: fees.free,
                sats: fees.value.to_sat(),
            });
        }
        few
    }
}
