//! What fuzz targets share.
//!
//! A target's first byte chooses what the others are: 0 is bytes as they would come from outside, so that seeds are
//! real encodings; other numbers are inputs that the target builds from the bytes, so that the fuzzer need not invent
//! hashes, proofs of work or lengths before it reaches what is behind them.

pub mod blocks;
pub mod chain;
pub mod rlp;

use libfuzzer_sys::arbitrary::{Arbitrary, Unstructured};

/// Reads a typed input; `None` when the bytes do not suffice.
pub fn typed<'a, T: Arbitrary<'a>>(data: &'a [u8]) -> Option<T> {
    T::arbitrary_take_rest(Unstructured::new(data)).ok()
}
