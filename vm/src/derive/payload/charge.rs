//! What a batch may take in memory: the same count for who builds it and who decodes it.
//!
//! Counts bound the body too, so that a batch whose charges stay within `max_body` is never refused for its
//! size.

use alloy_consensus::Transaction as _;

use super::kind::Shape;
use crate::chain::Transaction;

/// Charge for a batch: column lengths and counts.
pub const BASE_CHARGE: u64 = 512;

/// Charge for a block: two integers of at most 10 bytes in the body, 40 bytes decoded.
pub const BLOCK_CHARGE: u64 = 40;

/// Charge for a transaction without its data: at most 134 bytes in the body.
pub(super) const TRANSACTION_CHARGE: u64 = 160;

/// Charge for an address in an access list: at most 13 bytes in the body, 44 bytes decoded.
pub(super) const ACCESS_CHARGE: u64 = 64;

/// Charge for a storage key: at most 33 bytes in the body, 32 bytes decoded.
pub(super) const KEY_CHARGE: u64 = 40;

/// Charge for an authorisation: at most 111 bytes in the body, 160 decoded.
pub(super) const AUTHORISATION_CHARGE: u64 = 160;

/// Charge for calldata: its bytes, and one in the body for each word.
pub(super) const fn data_charge(shape: &Shape) -> u64 {
    let length = shape.length();
    length.saturating_add(length.div_ceil(32))
}

/// What a transaction counts towards the limit on a batch.
///
/// The charges of a batch are [`BASE_CHARGE`], [`BLOCK_CHARGE`] per block, and this per transaction;
/// [`decode`](super::decode) refuses a batch whose charges exceed `max_body`.
pub fn transaction_charge(transaction: &Transaction) -> u64 {
    let long = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let length = long(transaction.input().len());
    let (addresses, keys) = transaction.access_list().map_or((0, 0), |list| {
        let keys = list
            .iter()
            .map(|item| long(item.storage_keys.len()))
            .fold(0, u64::saturating_add);
        (long(list.len()), keys)
    });
    let authorisations = long(transaction.authorization_list().map_or(0, |list| list.len()));
    [
        TRANSACTION_CHARGE,
        data_charge(&Shape::Bytes { length }),
        addresses.saturating_mul(ACCESS_CHARGE),
        keys.saturating_mul(KEY_CHARGE),
        authorisations.saturating_mul(AUTHORISATION_CHARGE),
    ]
    .into_iter()
    .fold(0, u64::saturating_add)
}
