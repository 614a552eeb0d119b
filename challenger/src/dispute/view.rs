//! What is known of all slots: as Bitcoin shows them, and what is made of their claims.

use std::sync::Arc;

use alloy_primitives::B256;
use bitsect_bridge::daemon::{Judged, Judgement, Names, ReadySlot, Shown};
use bitsect_bridge::slot::Claimed;
use tokio::sync::watch;

/// What a challenger does about false claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It raises alarms.
    Watch,
    /// It says what it would publish.
    DryRun,
    /// It disputes them.
    Run,
}

impl Mode {
    /// Names the mode.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Watch => "watch",
            Self::DryRun => "dry run",
            Self::Run => "run",
        }
    }
}

/// The slots of a deployment, and who is who.
#[derive(Clone, Debug)]
pub struct Deployed {
    /// The deployment's hash.
    pub hash: B256,
    /// The slots.
    pub slots: Vec<ReadySlot>,
    /// Who is who, by slot.
    pub names: Vec<Names>,
    /// The height of an L1 block before the first output.
    pub start_height: u32,
}

/// A claim that was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The claim.
    pub claim: Claimed,
    /// What is made of it.
    pub judged: Judged,
}

/// Everything that status, metrics and explanations come from. Clones see the same.
#[derive(Clone, Debug)]
pub struct View {
    /// What the challenger does.
    pub mode: Mode,
    /// The slots.
    pub deployed: Arc<Deployed>,
    /// Our number in each slot.
    pub pairs: Arc<[Option<usize>]>,
    /// As Bitcoin shows them.
    pub shown: watch::Receiver<Shown>,
    /// What is made of claims, by slot.
    pub seen: watch::Receiver<Vec<Option<Seen>>>,
}

impl View {
    /// Gives our number among a slot's challengers.
    pub fn pair(&self, slot: usize) -> Option<usize> {
        self.pairs.get(slot).copied().flatten()
    }

    /// Gives what is made of a slot's claim.
    pub fn judged(&self, slot: usize, claim: &Claimed) -> Judged {
        let seen = self.seen.borrow().get(slot).copied().flatten();
        let same = seen.filter(|seen| seen.claim == *claim);
        same.map_or(
            Judged {
                judgement: Judgement::Unknown,
                expected: None,
            },
            |seen| seen.judged,
        )
    }
}
