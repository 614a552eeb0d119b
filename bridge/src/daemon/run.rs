//! The loop of both daemons: Bitcoin, duties, runs of the machine.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::Amount;
use bitsect_l1::FaultClass;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::challenger::Challenger;
use super::core::{Core, DaemonError};
use super::knowledge::{Knowledge, KnowledgeError};
use super::operator::{Operator, PartyError, Prover, Wanted};
use crate::chain::Trace;
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

/// What a daemon shows of itself.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// The last block that was taken in.
    pub tip: u32,
    /// The slots.
    pub slots: Vec<SlotState>,
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
        loop {
            let woken = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                Some(ran) = runs.join_next() => {
                    self.learn(ran, &mut running);
                    begun
                }
                tip = self.core.next_tip() => self.at_tip(tip, &mut begun)?,
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
                let run = self.knowledge[slot].run(&want.position, input);
                runs.spawn(async move { (slot, input, run.await) });
            }
        }
        self.pay().await?;
        let slots = 0..self.core.slots().len();
        self.shown.send_replace(Shown {
            tip: self.core.tip(),
            slots: slots.map(|slot| self.core.state(slot).clone()).collect(),
        });
        Ok(())
    }

    /// Sends, and keeps outputs ready that pay; Bitcoin Core may be away.
    async fn pay(&mut self) -> Result<(), PartyError> {
        let FeeOutputs { count, value } = self.fees;
        let paid = async {
            self.core.prepare(count, value).await?;
            self.core.advance().await
        };
        match paid.await {
            Ok(_) => Ok(()),
            Err(error) if error.class() == FaultClass::Retry => {
                tracing::warn!(%error, "sending waits");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl PartyError {
    /// Returns what a loop does about the error.
    pub fn class(&self) -> FaultClass {
        match self {
            Self::Daemon(error) => error.class(),
            Self::Chain(_) => FaultClass::Retry,
            Self::Hand(_) | Self::Act(_) => FaultClass::Stop,
        }
    }
}
