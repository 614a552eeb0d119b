//! The bridge as its users have it: deposits, refunds, withdrawals (docs/bridge.md, docs/cli.md).

mod address;
mod amount;
mod balance;
mod deposit;
mod error;
mod keys;
mod node;
mod session;
mod status;
mod store;
mod tag;
mod terms;
mod withdraw;

pub use address::{is_supported, parse_l1_address, parse_l2_address};
pub use amount::parse_amount;
pub use balance::{BalanceView, withdrawal_views};
pub use deposit::{DepositRequest, PayTo};
pub use error::{ExitKind, UserError};
pub use keys::UserKeys;
pub use node::{L2Block, MintedDeposit, Node, Payout, RequestedIn, WithdrawalAnswer};
pub use session::{Refusal, Session, SessionConfig};
pub use status::{Around, DepositView, InMempool, Stage, stage};
pub use store::{Deposit, Request, Spend, SpendKind, StoreError, UserStore};
pub use tag::{Order, accept_txid};
pub use terms::Terms;
pub use withdraw::{
    BlockState, PAYOUT_WINDOW, Requested, Resumed, SignedRequest, WithdrawRequest, WithdrawStage,
    WithdrawView, resume_requests, send_withdraw, sign_withdraw,
};
