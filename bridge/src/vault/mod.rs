//! The vault as members keep it (docs/bridge.md): deposits enter it, operators pay withdrawals and take outputs of it.

mod accept;
mod operator;
mod payout;
mod policy;
mod service;
mod state;

pub use accept::{Accepting, Acceptor, Turns};
pub use operator::{Bank, BankError, Ripe};
pub use payout::{PayoutError, Payouts};
pub use policy::{Choice, Means, Open, Policy, Reason, choose};
pub use service::Signing;
pub use state::{Assigned, OpenDeposit, Spend, VaultOutput, VaultState};
