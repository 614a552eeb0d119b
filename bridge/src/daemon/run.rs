//! The loop of both daemons: Bitcoin, duties, runs of the machine.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bitcoin::Amount;
use bitsect_l1::FaultClass;
use bitsect_l1::carrier::Ready;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::challenger::Challenger;
use super::core::{Carried, Core, DaemonError, Outgoing};
use super::knowledge::{Knowledge, KnowledgeError};
use super::operator::{Operator, PartyError, Prover, Wanted};
use crate::chain::{Run, Trace};
use crate::slot::SlotState;

/// The pause between two looks at the mempool while Bitcoin has no new block: its lowest rate moves.
const MEMPOOL_POLL: Duration = Duration::from_secs(30);
/// The pause after a fault that passes.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A side of disputes.
pub trait Party: Send {
    /// Stores what Bitcoin shows of its own moves, in case its file was lost.
    ///
    /// # Errors
    /// Where the file has something else.
    fn restore(&mut self, core: &Core, slot: usize) -> Result<(), PartyError>;

    /// Does what is due in a slot; gives the runs that are needed first.
    fn act<'a>(
        &'a mut self,
        core: &'a mut Core,
        slot: usize,
        knowledge: &'a mut Knowledge,
    ) -> impl Future<Output = Result<Vec<Wanted>, PartyError>> + Send;
}

impl<P: Prover + Sync> Party for Operator<P> {
    fn restore(&mut self, core: &Core, slot: usize) -> Result<(), PartyError> {
        Self::restore(self, core, slot)
    }

    async fn act(
        &mut self,
        core: &mut Core,
        slot: usize,
        knowledge: &mut Knowledge,
    ) -> Result<Vec<Wanted>, PartyError> {
        Self::act(self, core, slot, knowledge).await
    }
}

impl Party for Challenger {
    fn restore(&mut self, core: &Core, slot: usize) -> Result<(), PartyError> {
        Self::restore(self, core, slot)
    }

    async fn act(
        &mut self,
        core: &mut Core,
        slot: usize,
        knowledge: &mut Knowledge,
    ) -> Result<Vec<Wanted>, PartyError> {
        Self::act(self, core, slot, knowledge).await
    }
}

/// Has no side: it follows slots, and does nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Watcher;

impl Party for Watcher {
    fn restore(&mut self, _: &Core, _: usize) -> Result<(), PartyError> {
        Ok(())
    }

    async fn act(&mut self, _: &mut Core, _: usize, _: &mut Knowledge) -> Result<Vec<Wanted>, PartyError> {
        Ok(vec![])
    }
}

/// A run of a unit that is under way.
#[derive(Clone)]
pub struct Running {
    /// The slot.
    pub slot: usize,
    /// The unit, from the slot's start.
    pub unit: u64,
    /// Since when.
    pub since: Instant,
    /// The run.
    pub run: Run,
    input: [u8; 64],
}

impl core::fmt::Debug for Running {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "Running(slot {}, unit {}, {:?})",
            self.slot,
            self.unit,
            self.run.progress()
        )
    }
}

/// What a daemon shows of itself.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// The last block that was taken in.
    pub tip: u32,
    /// The slots; none before the first block is taken in.
    pub slots: Vec<SlotState>,
    /// Runs under way.
    pub runs: Vec<Running>,
    /// What is on its way to Bitcoin.
    pub carried: Vec<Carried>,
    /// What would be published, where there are no funds.
    pub withheld: Vec<Outgoing>,
    /// Outputs that pay for moves; none without funds.
    pub fees: Option<Ready>,
}

/// How a daemon pays.
#[derive(Clone, Copy, Debug)]
pub struct FeeOutputs {
    /// How many confirmed outputs are kept ready.
    pub count: u32,
    /// What each holds.
    pub value: Amount,
}

/// A daemon that is ready to run.
#[expect(missing_debug_implementations, reason = "the core has none")]
pub struct Daemon<P> {
    /// Its side.
    pub party: P,
    /// The part that deals with Bitcoin.
    pub core: Core,
    /// What is known, by slot.
    pub knowledge: Vec<Knowledge>,
    /// Outputs that pay for moves.
    pub fees: FeeOutputs,
    /// Where it shows itself.
    pub shown: watch::Sender<Shown>,
}

type Ran = (usize, [u8; 64], Result<Arc<Trace>, KnowledgeError>);

impl<P: Party> Daemon<P> {
    /// Runs until `shutdown`.
    ///
    /// # Errors
    /// A fault that a person has to look at.
    pub async fn run(&mut self, shutdown: &CancellationToken) -> Result<(), PartyError> {
        let mut runs: JoinSet<Ran> = JoinSet::new();
        let mut running: Vec<(usize, [u8; 64])> = Vec::new();
        let mut begun = false;
        let nudge = self.core.nudge();
        loop {
            let woken = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                Some(ran) = runs.join_next() => {
                    self.learn(ran, &mut running);
                    begun
                }
                tip = self.core.next_tip() => self.at_tip(tip, &mut begun)?,
                () = nudge.notified() => begun,
                () = tokio::time::sleep(MEMPOOL_POLL) => begun,
            };
            if woken {
                self.turn(&mut runs, &mut running).await?;
            }
        }
    }

    /// Whether Bitcoin is followed again. A fault that passes is waited out; what the files hold is the truth.
    fn at_tip(
        &mut self,
        tip: Result<bitsect_l1::BlockRef, DaemonError>,
        begun: &mut bool,
    ) -> Result<bool, PartyError> {
        match tip {
            Ok(_) => {
                for slot in 0..self.core.slots().len() {
                    self.party.restore(&self.core, slot)?;
                }
                *begun = true;
                Ok(true)
            }
            Err(error) if error.class() == FaultClass::Retry => {
                tracing::warn!(%error, "waiting for Bitcoin Core");
                Ok(false)
            }
            Err(error) if error.class() == FaultClass::Reset => {
                tracing::warn!(%error, "following Bitcoin starts again from what was seen");
                self.core.follow_again()?;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn learn(&mut self, ran: Result<Ran, tokio::task::JoinError>, running: &mut Vec<(usize, [u8; 64])>) {
        let over = |run: &Running| match &ran {
            Ok((slot, input, _)) => (run.slot, run.input) == (*slot, *input),
            Err(_) => true,
        };
        self.shown
            .send_modify(|shown| shown.runs.retain(|run| !over(run)));
        match ran {
            Ok((slot, input, Ok(trace))) => {
                running.retain(|run| *run != (slot, input));
                self.knowledge[slot].insert(input, trace);
            }
            Ok((slot, input, Err(error))) => {
                running.retain(|run| *run != (slot, input));
                tracing::error!(slot, %error, "a unit cannot be run: it is tried again at the next block");
            }
            Err(error) => {
                running.clear();
                tracing::error!(%error, "a run broke: it is tried again at the next block");
            }
        }
    }

    /// Does all duties once.
    async fn turn(
        &mut self,
        runs: &mut JoinSet<Ran>,
        running: &mut Vec<(usize, [u8; 64])>,
    ) -> Result<(), PartyError> {
        for slot in 0..self.core.slots().len() {
            let acted = self.party.act(&mut self.core, slot, &mut self.knowledge[slot]);
            let wanted = match acted.await {
                Ok(wanted) => wanted,
                Err(error) if error.class() == FaultClass::Retry => {
                    tracing::warn!(slot, %error, "a duty waits");
                    tokio::time::sleep(RETRY_AFTER).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            for want in wanted {
                let input = want.need.input;
                if running.contains(&(slot, input)) {
                    continue;
                }
                running.push((slot, input));
                self.start(runs, &want);
            }
        }
        self.pay().await?;
        self.show();
        Ok(())
    }

    /// Starts a run, and shows it while it is under way.
    fn start(&self, runs: &mut JoinSet<Ran>, want: &Wanted) {
        let (slot, input) = (want.slot, want.need.input);
        let unit = want.position.unit().unwrap_or_default();
        let run = self.knowledge[slot].run(&want.position, input);
        let shown = self.shown.clone();
        runs.spawn(async move {
            let ran = async {
                let run = run.await?;
                let running = Running {
                    slot,
                    unit,
                    since: Instant::now(),
                    run: run.clone(),
                    input,
                };
                shown.send_modify(|shown| shown.runs.push(running));
                Ok(run.trace().await?)
            };
            (slot, input, ran.await)
        });
    }

    fn show(&self) {
        let core = &self.core;
        let slots = (0..core.slots().len()).map(|slot| core.state(slot).clone());
        let slots = slots.collect();
        self.shown.send_modify(|shown| {
            shown.tip = core.tip();
            shown.slots = slots;
            shown.carried = core.carried();
            shown.withheld = core.withheld().to_vec();
            shown.fees = core.ready();
        });
    }

    /// Keeps outputs ready that pay, and sends; Bitcoin Core may be away. Where the funds do not suffice for outputs in
    /// reserve, what is due is sent with those that there are.
    async fn pay(&mut self) -> Result<(), PartyError> {
        let FeeOutputs { count, value } = self.fees;
        let prepared = self.core.prepare(count, value).await;
        for done in [prepared, self.core.advance().await] {
            match done {
                Ok(()) => {}
                Err(error) if error.class() == FaultClass::Retry => tracing::warn!(%error, "sending waits"),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

impl PartyError {
    /// Returns what a loop does about the error.
    pub fn class(&self) -> FaultClass {
        match self {
            Self::Daemon(error) => error.class(),
            Self::Chain(_) => FaultClass::Retry,
            Self::Vault(error) => error.class(),
            Self::Hand(_) | Self::Act(_) => FaultClass::Stop,
        }
    }
}
