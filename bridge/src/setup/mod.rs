//! The set-up of a deployment's slots: outputs, contributions, graphs, and what its members then have.

mod builder;
mod contribution;
mod fund;
mod outputs;
mod party;
mod purse;
mod ready;
mod section;
mod spec;
#[cfg(test)]
mod tests;

pub use builder::{
    BuildError, Purpose, SetupBuilder, SetupGraph, Wanted, label, made_tickets, redemption_output, tickets,
    tweak,
};
pub use contribution::{Challenged, Contribution, ContributionError, Operated, Shape};
pub use fund::{FundConfig, FundError, fund, sync};
pub use outputs::{OutputStoreError, setup_transaction};
pub use party::PartySecrets;
pub use purse::{funding_address, open_wallet, payout_address, wallet_keys};
pub use ready::{OutputFault, ReadyError, Seat, deployment_hash, hand, ready, seat, verify_outputs};
pub use section::{Section, SectionError, SlotEntry, challengers, program_hash};
