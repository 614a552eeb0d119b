//! Contract code kept in memory: executing a block asks for the same few contracts again and again, and a copy
//! of 24 KiB costs more than the rest of a call.

use std::collections::HashMap;

use alloy_primitives::{B256, Bytes};
use parking_lot::Mutex;

use super::StoreError;

/// Bytes of code kept: a few thousand contracts.
const MAX_BYTES: usize = 64 << 20;

/// Code by its hash. It is addressed by content, so it is right for every version of the state.
#[derive(Default)]
pub(super) struct CodeCache {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    code: HashMap<B256, Bytes>,
    bytes: usize,
}

impl CodeCache {
    /// Gives the code with this hash, reading it when it is not kept.
    pub(super) fn get(
        &self,
        hash: B256,
        read: impl FnOnce() -> Result<Bytes, StoreError>,
    ) -> Result<Bytes, StoreError> {
        if let Some(code) = self.kept.lock().code.get(&hash) {
            return Ok(code.clone());
        }
        let code = read()?;
        let mut kept = self.kept.lock();
        // Starting over is rare and cheaper than keeping an order of use.
        if kept.bytes + code.len() > MAX_BYTES {
            *kept = Kept::default();
        }
        if kept.code.insert(hash, code.clone()).is_none() {
            kept.bytes += code.len();
        }
        Ok(code)
    }
}
