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

pub use challenger::{Challenger, Judged, Judgement, judge};
pub use claimant::Claimant;
pub use core::{Carried, Core, CoreConfig, DaemonError, Outgoing, ReadySlot, STORE_FILE};
pub use knowledge::{Knowledge, KnowledgeError};
pub use operator::{Honest, Operator, PartyError, Prover, Wanted, position};
pub use run::{Daemon, FeeOutputs, Party, Running, Shown, Watcher};
pub use store::{DaemonStore, DaemonStoreError, Pledge, Seen};
pub use view::{BranchView, ClaimView, Clock, MoveView, Names, SlotView};
pub use watch::{Watch, WatchError};
