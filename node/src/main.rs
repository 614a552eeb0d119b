//! The Bitsect node binary.
fn main() {}
