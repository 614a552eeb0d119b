//! What a daemon's listener says, and its warnings when half of a deadline is gone.

use std::collections::BTreeSet;
use std::sync::Arc;

use prometheus::{IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use warp::http::StatusCode;
use warp::reply::Response;
use warp::{Filter, Reply};

use crate::committee::{Deployment, Digest};
use crate::daemon::{Clock, Names, ReadySlot, Shown, SlotView};
use crate::setup::{Section, challengers};

/// Who is who in each slot.
#[derive(Clone, Debug)]
pub(super) struct Board(Vec<Names>);

impl Board {
    pub(super) fn new(deployment: &Deployment, section: &Section) -> Self {
        let name = |id| deployment.member(id).name.clone();
        let challengers: Vec<String> = challengers(deployment).into_iter().map(name).collect();
        let slots = section.slots.iter().map(|slot| Names {
            operator: slot.operator.clone(),
            challengers: challengers.clone(),
        });
        Self(slots.collect())
    }

    /// Shows slots as they stand; none before Bitcoin was followed.
    pub(super) fn views(&self, slots: &[ReadySlot], shown: &Shown) -> Vec<SlotView> {
        let all = slots.iter().zip(&shown.slots).zip(&self.0).enumerate();
        let view = all.map(|(number, ((slot, state), names))| {
            let (graph, start) = (&slot.graph, slot.start_unit);
            SlotView::new(
                (number, start, graph.spec.bond),
                &graph.params,
                state,
                names,
                shown.tip,
            )
        });
        view.collect()
    }
}

/// What `/status` gives.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Status {
    pub(super) version: String,
    pub(super) deployment: Digest,
    pub(super) member: String,
    /// The last L1 block that was taken in; zero before there is one.
    pub(super) l1_height: u32,
    pub(super) slots: Vec<SlotView>,
}

impl core::fmt::Display for Status {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self {
            member,
            deployment,
            l1_height,
            ..
        } = self;
        writeln!(
            f,
            "{member} of deployment {deployment}, Bitcoin at block {l1_height}"
        )?;
        self.slots.iter().try_for_each(|slot| write!(f, "{slot}"))
    }
}

/// Answers the listener.
pub(super) struct Monitor {
    board: Board,
    slots: Vec<ReadySlot>,
    shown: watch::Receiver<Shown>,
    deployment: Digest,
    member: String,
    registry: Registry,
    height: IntGauge,
    slots_by: IntGaugeVec,
    moves: IntGaugeVec,
    blocks_left: IntGaugeVec,
}

impl Monitor {
    /// Makes the monitor of a member's daemon.
    pub(super) fn new(
        board: Board,
        slots: Vec<ReadySlot>,
        shown: watch::Receiver<Shown>,
        (deployment, member): (Digest, String),
    ) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let height = IntGauge::new("bitsect_bridge_l1_height", "Last L1 block that was taken in.")?;
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            let gauges = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(gauges.clone()))?;
            Ok::<_, prometheus::Error>(gauges)
        };
        let slots_by = gauges(
            "bitsect_bridge_slots",
            "Slots, by where their bond is.",
            &["bond"],
        )?;
        let moves = gauges(
            "bitsect_bridge_moves",
            "Transactions of a slot on Bitcoin.",
            &["slot"],
        )?;
        let left = "L1 blocks until a clock has run out.";
        let labels = ["slot", "clock", "who"];
        let blocks_left = gauges("bitsect_bridge_clock_blocks_left", left, &labels)?;
        registry.register(Box::new(height.clone()))?;
        Ok(Self {
            board,
            slots,
            shown,
            deployment,
            member,
            registry,
            height,
            slots_by,
            moves,
            blocks_left,
        })
    }

    fn status(&self) -> Status {
        let shown = self.shown.borrow();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            deployment: self.deployment,
            member: self.member.clone(),
            l1_height: shown.tip,
            slots: self.board.views(&self.slots, &shown),
        }
    }

    fn metrics(&self) -> Response {
        let status = self.status();
        self.height.set(status.l1_height.into());
        self.slots_by.reset();
        self.moves.reset();
        self.blocks_left.reset();
        for slot in &status.slots {
            let number = slot.slot.to_string();
            self.slots_by.with_label_values(&[slot.main.as_str()]).inc();
            let moves = self.moves.with_label_values(&[number.as_str()]);
            moves.set(slot.moves.len() as i64);
            for clock in &slot.clocks {
                let who = clock.who.as_deref().unwrap_or_default();
                let labels = [number.as_str(), clock.what.as_str(), who];
                let left = self.blocks_left.with_label_values(&labels);
                left.set(clock.blocks_left.into());
            }
        }
        match TextEncoder::new().encode_to_string(&self.registry.gather()) {
            Ok(text) => {
                warp::reply::with_header(text, "content-type", prometheus::TEXT_FORMAT).into_response()
            }
            Err(error) => {
                tracing::error!(%error, "failed to print the metrics");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }

    fn health(&self) -> Response {
        if self.shown.borrow().slots.is_empty() {
            let reason = "Bitcoin is not followed yet\n";
            return warp::reply::with_status(reason, StatusCode::SERVICE_UNAVAILABLE).into_response();
        }
        "ok\n".into_response()
    }

    /// Warns of each clock of ours once, when half of it is gone. Ends with the daemon.
    pub(super) async fn warn(self: Arc<Self>) {
        let mut shown = self.shown.clone();
        let mut warned = BTreeSet::new();
        while shown.changed().await.is_ok() {
            for (slot, clock) in half_gone(&self.status().slots, &self.member, &mut warned) {
                let Clock {
                    what,
                    blocks_left,
                    deadline,
                    ..
                } = clock;
                tracing::warn!(slot, blocks_left, deadline, "half of the time is gone: {what}");
            }
        }
    }
}

/// Gives a member's clocks of which half is gone, each once, with their slots.
fn half_gone(
    slots: &[SlotView],
    member: &str,
    warned: &mut BTreeSet<(usize, String, u32)>,
) -> Vec<(usize, Clock)> {
    let clocks = slots
        .iter()
        .flat_map(|slot| slot.clocks.iter().map(|clock| (slot.slot, clock)));
    clocks
        .filter(|(_, clock)| clock.half_gone && clock.who.as_deref() == Some(member))
        .filter(|(slot, clock)| warned.insert((*slot, clock.what.clone(), clock.since)))
        .map(|(slot, clock)| (slot, clock.clone()))
        .collect()
}

/// Serves the listener until `shutdown`.
pub(super) async fn serve(listener: TcpListener, monitor: Arc<Monitor>, shutdown: CancellationToken) {
    let on = |path: &'static str, answer: fn(&Monitor) -> Response| {
        let monitor = Arc::clone(&monitor);
        let route = warp::path(path).and(warp::path::end()).and(warp::get());
        route.map(move || answer(&monitor)).boxed()
    };
    let status = on("status", |monitor| {
        warp::reply::json(&monitor.status()).into_response()
    });
    let routes = status.or(on("healthz", Monitor::health)).unify();
    // Boxed, so that the server's future can be spawned.
    let routes = routes.or(on("metrics", Monitor::metrics)).unify().boxed();
    warp::serve(routes)
        .incoming(listener)
        .graceful(shutdown.cancelled_owned())
        .run()
        .await;
}

#[cfg(test)]
mod tests {
    use bitcoin::OutPoint;

    use super::*;

    fn clock(who: Option<&str>, since: u32, half_gone: bool) -> Clock {
        Clock {
            what: "answer".to_owned(),
            who: who.map(str::to_owned),
            since,
            deadline: since + 10,
            blocks_left: 4,
            half_gone,
        }
    }

    #[test]
    fn our_clocks_are_warned_of_once_at_half() {
        let mut slot = SlotView {
            slot: 3,
            operator: "olga".to_owned(),
            start_unit: 0,
            bond: OutPoint::null(),
            main: "claimed".to_owned(),
            claim: None,
            branches: vec![],
            clocks: vec![
                clock(None, 5, true),
                clock(Some("carl"), 5, true),
                clock(Some("olga"), 5, false),
            ],
            moves: vec![],
        };
        let mut warned = BTreeSet::new();
        let mut count = |slot: &SlotView| half_gone(std::slice::from_ref(slot), "olga", &mut warned).len();
        assert_eq!(count(&slot), 0);
        slot.clocks[2].half_gone = true;
        assert_eq!((count(&slot), count(&slot)), (1, 0));
        // The next answer to the same stage, after a reorg, runs anew.
        slot.clocks[2].since = 6;
        assert_eq!(count(&slot), 1);
    }
}
