//! A slot on a real chain: an operator that lies or does not, challengers, and a committee of one key, which is enough to
//! test what is done with its signatures.

mod arena;
mod liar;
mod parties;
mod stubborn;

pub use arena::{Arena, Claim, ROUNDS, params};
pub use liar::{Field, Liar, Lie};
pub use parties::{DEPLOYMENT, Parties, Side};
