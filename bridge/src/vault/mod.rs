//! The vault as members keep it (docs/bridge.md): deposits enter it, operators pay withdrawals and take outputs of it,
//! members split and merge those.

mod accept;
mod care;
#[cfg(test)]
mod fixture;
mod keeper;
mod operator;
mod payout;
mod policy;
mod redeem;
mod seen;
mod service;
mod state;
mod turns;
mod view;
mod work;

/// Blocks that moves, assignments and reimbursements should take at most: nothing is lost where they take more.
const PATIENCE: u32 = 144;

pub use accept::due_accepts;
pub use care::{ABANDONED_BLOCKS, CARE_BLOCKS, Usable, VaultMove, due_moves, moves_of, usable};
pub use keeper::{Keeper, Keeping};
pub use operator::{Bank, BankError, Ripe};
pub use payout::{PayoutError, Payouts};
pub use policy::{Choice, Means, Open, Policy, Reason, choose};
pub use redeem::{redemption_under_way, send_redemption, unspent_tickets, verify_redeemable};
pub use service::Signing;
pub use state::{Assigned, OpenDeposit, Spend, VaultOutput, VaultState};
pub use turns::Turns;
pub use view::{OperatorView, OutputState, OutputView, VaultView};
