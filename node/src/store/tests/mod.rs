//! Tests of the store: rows, a model of the chain, crashes.

mod crash;
mod kill;
mod kit;
mod model;
mod rows;
mod speed;
mod store;
mod sums;
