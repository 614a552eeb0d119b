//! The rules by hand, and over histories of real blocks.

mod history;
mod rules;
mod vault;
pub(crate) mod world;
