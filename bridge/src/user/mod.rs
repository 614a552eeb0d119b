//! The bridge as its users have it: deposits, refunds, withdrawals (docs/bridge.md, docs/cli.md).

mod address;
mod amount;
mod balance;
mod bump;
mod deposit;
mod error;
mod forced;
mod keys;
mod node;
mod notes;
mod record;
mod refund;
mod resend;
mod session;
mod stage;
mod status;
mod store;
mod tag;
mod terms;
mod withdraw;
mod withdrawal;

pub use address::{is_supported, parse_l1_address, parse_l2_address};
pub use amount::parse_amount;
pub use balance::{BalanceView, withdrawal_views};
pub use bump::Bumped;
pub use deposit::{DepositRequest, PayTo};
pub use error::{ExitKind, UserError};
pub use forced::Forced;
pub use keys::UserKeys;
pub use node::{L2Block, MintedDeposit, Node, Payout, RequestedIn, WithdrawalAnswer};
pub use record::{Deposit, Request, Spend, SpendKind};
pub use session::{Refusal, Session, SessionConfig};
pub use stage::{Around, InMempool, Stage, stage};
pub use status::DepositView;
pub use store::{StoreError, UserStore};
pub use tag::{Order, accept_txid};
pub use terms::Terms;
pub use withdraw::{
    Requested, Resumed, Route, SignedRequest, WithdrawRequest, resume_requests, send_withdraw, sign_withdraw,
};
pub use withdrawal::{BlockState, PAYOUT_WINDOW, WithdrawStage, WithdrawView};
