//! The set-up of a deployment's slots: outputs, contributions, graphs, and what its members then have.

mod builder;
mod contribution;
mod party;
mod ready;
mod section;
mod spec;

pub use builder::{BuildError, SetupBuilder, SetupGraph, Wanted, label};
pub use contribution::{Challenged, Contribution, ContributionError, Operated, Shape};
pub use party::PartySecrets;
pub use ready::{OutputFault, ReadyError, Seat, deployment_hash, hand, ready, seat, verify_outputs};
pub use section::{Section, SectionError, SlotEntry, challengers, program_hash};
