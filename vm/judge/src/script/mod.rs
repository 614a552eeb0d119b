//! Script as code: an assembler that models the stack, and an executor that shows it.

mod assembler;
mod execute;
pub mod number;

pub use assembler::{Assembler, Item, Mark};
pub use execute::{Fault, MAX_STACK, MAX_WITNESS_ITEM, Rules, Run, Stacks, run};
