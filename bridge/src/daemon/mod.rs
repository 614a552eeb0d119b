//! The parties' daemons: they follow Bitcoin, and do their duties.

mod challenger;
mod claimant;
mod core;
mod knowledge;
mod operator;
mod run;
mod store;
mod view;
mod watch;

pub use challenger::{Challenger, Judgement, judge};
pub use claimant::Claimant;
pub use core::{Core, CoreConfig, DaemonError, ReadySlot};
pub use knowledge::{Knowledge, KnowledgeError};
pub use operator::{Honest, Operator, PartyError, Prover, Wanted, is_live, position};
pub use run::{Daemon, FeeOutputs, Party, Shown};
pub use store::{DaemonStore, DaemonStoreError, Seen};
pub use view::{BranchView, ClaimView, Clock, MoveView, Names, SlotView};
pub use watch::{Watch, WatchError};
