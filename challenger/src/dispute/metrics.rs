//! Metrics of disputes.

use bitsect_bridge::daemon::{Clock, Judgement};
use bitsect_bridge::slot::{BranchEnd, Position, Turn};
use prometheus::{Gauge, IntGauge, IntGaugeVec, Opts, Registry};

use super::view::View;
use super::words;

/// What the nearest deadline says where nobody has to move.
const NONE: i64 = -1;

/// The gauges, brought up to date when they are asked for.
#[derive(Clone, Debug)]
pub struct DisputeGauges {
    claims: IntGaugeVec,
    branches: IntGaugeVec,
    deadline: IntGaugeVec,
    moves: IntGauge,
    ends: IntGaugeVec,
    stakes_lost: IntGauge,
    runs: IntGauge,
    run_steps: IntGauge,
    run_rate: Gauge,
    carried: IntGauge,
    fee_outputs: IntGaugeVec,
}

impl DisputeGauges {
    /// Registers the gauges.
    ///
    /// # Errors
    /// When the registry has gauges of these names already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let one = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let by = |name: &str, help: &str, label: &str| {
            let gauges = IntGaugeVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(gauges.clone()))?;
            Ok::<_, prometheus::Error>(gauges)
        };
        let run_rate = Gauge::new(
            "bitsect_run_steps_per_second",
            "Steps a second of all runs under way",
        )?;
        registry.register(Box::new(run_rate.clone()))?;
        Ok(Self {
            claims: by(
                "bitsect_claims",
                "Claims on Bitcoin, by what they are",
                "judgement",
            )?,
            branches: by(
                "bitsect_branches",
                "Branches of disputes that wait for somebody",
                "turn",
            )?,
            deadline: by(
                "bitsect_deadline_blocks",
                "L1 blocks left of the nearest deadline; -1 where there is none",
                "turn",
            )?,
            moves: one("bitsect_moves_published", "Confirmed moves of this challenger")?,
            ends: by(
                "bitsect_disputes_ended",
                "Branches that have ended, by how",
                "end",
            )?,
            stakes_lost: one("bitsect_stakes_lost", "Stakes of this challenger that were lost")?,
            runs: one("bitsect_runs", "Runs of units under way")?,
            run_steps: one("bitsect_run_steps", "Steps made by the runs under way")?,
            run_rate,
            carried: one(
                "bitsect_transactions_carried",
                "Transactions on their way to Bitcoin",
            )?,
            fee_outputs: by(
                "bitsect_fee_outputs",
                "Outputs that pay for moves: wanted, free, pending",
                "state",
            )?,
        })
    }

    /// Brings them up to date.
    pub fn refresh(&self, view: &View) {
        self.refresh_slots(view);
        self.refresh_work(view);
    }

    fn refresh_slots(&self, view: &View) {
        let shown = view.shown.borrow().clone();
        let mut claims = [0; 3];
        let mut waiting = [(0, NONE); 2];
        let (mut moves, mut lost) = (0, 0);
        let mut ends = [BranchEnd::Verdict, BranchEnd::Timeout, BranchEnd::Forfeit].map(|end| (end, 0));
        for (number, slot) in shown.slots.iter().enumerate() {
            let lock = view.deployed.slots[number].graph.params.move_timeout_blocks;
            if let Some(claim) = &slot.claim {
                claims[view.judged(number, claim).judgement as usize] += 1;
            }
            for (pair, branch) in slot.branches.iter().enumerate() {
                match branch.position {
                    Position::Unchallenged => {}
                    Position::Waiting { turn, since, .. } => {
                        let left =
                            i64::from(Clock::new(String::new(), None, since, lock, shown.tip).blocks_left);
                        let (count, nearest) = &mut waiting[usize::from(turn == Turn::Challenger)];
                        *count += 1;
                        *nearest = if *nearest == NONE {
                            left
                        } else {
                            left.min(*nearest)
                        };
                    }
                    Position::Ended(end) => {
                        let found = ends.iter_mut().find(|(of, _)| *of == end);
                        found.into_iter().for_each(|(_, count)| *count += 1);
                        lost += i64::from(end == BranchEnd::Forfeit && view.pair(number) == Some(pair));
                    }
                }
            }
            let ours = slot.moves.iter().filter(|made| {
                let by_us = made.pair.is_some() && made.pair == view.pair(number);
                by_us && words::mover(made.kind) == Turn::Challenger
            });
            moves += ours.count() as i64;
        }
        for judgement in [Judgement::True, Judgement::False, Judgement::Unknown] {
            let gauge = self.claims.with_label_values(&[words::judgement(judgement)]);
            gauge.set(claims[judgement as usize]);
        }
        for (turn, (count, nearest)) in [Turn::Prover, Turn::Challenger].into_iter().zip(waiting) {
            let name = words::turn(turn);
            self.branches.with_label_values(&[name]).set(count);
            self.deadline.with_label_values(&[name]).set(nearest);
        }
        for (end, count) in ends {
            self.ends.with_label_values(&[words::end(end)]).set(count);
        }
        self.moves.set(moves);
        self.stakes_lost.set(lost);
    }

    fn refresh_work(&self, view: &View) {
        let shown = view.shown.borrow().clone();
        let runs = shown.runs.iter().map(|running| {
            let seconds = running.since.elapsed().as_secs_f64().max(f64::EPSILON);
            (running.run.progress().steps, seconds)
        });
        let runs: Vec<(u64, f64)> = runs.collect();
        let steps: u64 = runs.iter().map(|(steps, _)| steps).sum();
        self.runs.set(runs.len() as i64);
        self.run_steps.set(i64::try_from(steps).unwrap_or(i64::MAX));
        self.run_rate
            .set(runs.iter().map(|(steps, seconds)| *steps as f64 / seconds).sum());
        self.carried.set(shown.carried.len() as i64);
        if let Some(fees) = shown.fees {
            for (state, count) in [
                ("wanted", fees.wanted),
                ("free", fees.free),
                ("pending", fees.pending),
            ] {
                self.fee_outputs.with_label_values(&[state]).set(count.into());
            }
        }
    }
}
