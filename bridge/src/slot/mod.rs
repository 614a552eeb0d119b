//! A slot as it stands on Bitcoin, what its parties have to do, and the transactions by which they do it.

mod act;
mod duty;
mod hand;
mod state;

pub use act::{ActError, Actor};
pub use duty::{Duty, challenger_duties, operator_duties};
pub use hand::{Hand, HandError};
pub use state::{Branch, BranchEnd, Claimed, Main, Move, MoveKind, Position, SlotState, Turn};
