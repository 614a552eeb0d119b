//! The challenger.

fn main() {}
