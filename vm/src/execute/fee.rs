//! What a transaction pays for its share of Bitcoin bytes, and the base fee of the next block.

use alloy_consensus::Transaction as _;
use alloy_eips::eip1559::BaseFeeParams;
use alloy_eips::eip2930::AccessList;
use alloy_primitives::{Address, U256};

use crate::chain::predeploys::{BITCOIN_BLOCKS, L1_NUMBERS_SLOT, l1_fee_rate};
use crate::chain::{ExecutionParams, Header, Transaction};
use crate::state::StateReader;

/// Bytes that every signed transaction costs: 64 of signature, which do not compress, and 8 for parity, type,
/// sender, nonce, gas limit, fees and value, which the batch codec packs.
const FIXED_BYTES: u64 = 72;
/// Bytes of a recipient without calldata: a payment, often to an address that was never seen before.
const PAYEE_BYTES: u64 = 20;
/// Bytes of a recipient with calldata: a contract, which a batch names again and again.
const CONTRACT_BYTES: u64 = 4;
/// Sixteenths of a byte for a calldata byte that is not zero: mostly hashes and addresses.
const NONZERO_SIXTEENTHS: u64 = 14;
/// Sixteenths of a byte for a zero calldata byte: long runs, which compress to almost nothing.
const ZERO_SIXTEENTHS: u64 = 1;
/// Bytes of an access list's address or storage key.
const ACCESS_ADDRESS_BYTES: u64 = 20;
/// Bytes of an access list's storage key.
const ACCESS_KEY_BYTES: u64 = 32;
/// Bytes of an EIP-7702 authorisation: 64 of signature, 20 of address, 8 for chain id, nonce and parity.
const AUTHORIZATION_BYTES: u64 = 92;
/// Wei per (witness) byte and unit of fee rate: 10^10 wei a sat, 4 witness bytes a vB, rates per 1,000 vB.
const WEI_PER_BYTE_AND_RATE: u64 = 10_000_000_000 / 4 / 1_000;

/// The lowest base fee of a chain that keeps its base fee, in wei per gas: a plain transfer then costs about
/// 2 sat, so that filling blocks is never free.
pub const MIN_BASE_FEE: u64 = 1_000_000;

/// The parts of a transaction that its estimated size depends on; for transactions that are not signed yet.
#[derive(Clone, Copy, Debug)]
pub struct SizeParts<'a> {
    /// Calldata.
    pub input: &'a [u8],
    /// Whether there is a recipient; false for a contract creation.
    pub has_recipient: bool,
    /// The access list, where the type has one.
    pub access_list: Option<&'a AccessList>,
    /// The number of EIP-7702 authorisations.
    pub authorizations: usize,
}

impl SizeParts<'_> {
    /// Estimates the bytes that the transaction takes in a compressed batch.
    pub fn estimate(&self) -> u64 {
        // Summed in bytes by chunks, which compiles to vector instructions: every transaction comes through here.
        let zeros = self
            .input
            .chunks(usize::from(u8::MAX))
            .map(|chunk| {
                let zeros = chunk.iter().map(|byte| u8::from(*byte == 0));
                u64::from(zeros.fold(0, u8::wrapping_add))
            })
            .fold(0u64, u64::saturating_add);
        let others = count(self.input.len()).saturating_sub(zeros);
        let data = zeros
            .saturating_mul(ZERO_SIXTEENTHS)
            .saturating_add(others.saturating_mul(NONZERO_SIXTEENTHS))
            .div_ceil(16);
        let recipient = match (self.has_recipient, self.input.is_empty()) {
            (false, _) => 0,
            (true, true) => PAYEE_BYTES,
            (true, false) => CONTRACT_BYTES,
        };
        let access = self.access_list.map_or(0, |list| {
            list.iter().fold(0u64, |sum, item| {
                let keys = count(item.storage_keys.len()).saturating_mul(ACCESS_KEY_BYTES);
                sum.saturating_add(ACCESS_ADDRESS_BYTES).saturating_add(keys)
            })
        });
        let authorizations = count(self.authorizations).saturating_mul(AUTHORIZATION_BYTES);
        FIXED_BYTES
            .saturating_add(data)
            .saturating_add(recipient)
            .saturating_add(access)
            .saturating_add(authorizations)
    }
}

/// Estimates the bytes that a transaction takes in a compressed batch. Deposits take none: they are read from
/// Bitcoin itself.
pub fn estimated_size(transaction: &Transaction) -> u64 {
    if transaction.is_deposit() || transaction.is_post_exec() {
        return 0;
    }
    SizeParts {
        input: transaction.input(),
        has_recipient: transaction.to().is_some(),
        access_list: transaction.access_list(),
        authorizations: transaction.authorization_list().map_or(0, <[_]>::len),
    }
    .estimate()
}

/// The L1 data fee in wei of so many estimated bytes at a fee rate in sat per 1,000 vB.
#[inline]
pub fn l1_fee(bytes: u64, fee_rate: u64) -> U256 {
    // Below 2^150: neither product can overflow.
    U256::from(bytes)
        .saturating_mul(U256::from(fee_rate))
        .saturating_mul(U256::from(WEI_PER_BYTE_AND_RATE))
}

/// Reads the current fee rate from `BitcoinBlocks`, in sat per 1,000 vB. Zero without that contract.
///
/// # Errors
///
/// Why the state could not be read.
pub fn read_fee_rate<S: StateReader>(state: &S) -> Result<u64, S::Error> {
    state.storage(BITCOIN_BLOCKS, L1_NUMBERS_SLOT).map(l1_fee_rate)
}

/// The base fee of the block after `parent`, in wei per gas (EIP-1559 with mainnet's constants).
///
/// A chain that keeps its base fee never goes below [`MIN_BASE_FEE`]; Ethereum, which burns it, has no floor.
pub fn next_base_fee(params: &ExecutionParams, parent: &Header) -> u64 {
    let next = parent.next_block_base_fee(BaseFeeParams::ethereum()).unwrap_or(0);
    match params.base_fee_recipient {
        Some(_) => next.max(MIN_BASE_FEE),
        None => next,
    }
}

/// What the handler charges beside gas, for one block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeeRules {
    /// The L1 fee rate in sat per 1,000 vB; zero charges nothing.
    pub l1_fee_rate: u64,
    /// Who receives the base fee; `None` burns it.
    pub base_fee_recipient: Option<Address>,
}

impl FeeRules {
    /// The L1 data fee of so many estimated bytes, in wei.
    #[inline]
    pub fn l1_fee(&self, bytes: u64) -> U256 {
        l1_fee(bytes, self.l1_fee_rate)
    }
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloy_eips::eip2930::AccessListItem;
    use alloy_primitives::B256;

    fn parts(input: &[u8]) -> SizeParts<'_> {
        SizeParts {
            input,
            has_recipient: true,
            access_list: None,
            authorizations: 0,
        }
    }

    #[test]
    fn sizes_are_the_documented_sums() {
        assert_eq!(parts(&[]).estimate(), 72 + 20);
        // An ERC-20 transfer: selector, 12 zeros, address, 28 zeros, 4 bytes of amount.
        let mut call = vec![1u8; 4];
        call.extend([0; 12]);
        call.extend([1; 20]);
        call.extend([0; 28]);
        call.extend([1; 4]);
        assert_eq!(parts(&call).estimate(), 72 + 4 + (28u64 * 14 + 40).div_ceil(16));
        let create = SizeParts {
            has_recipient: false,
            ..parts(&[1; 16])
        };
        assert_eq!(create.estimate(), 72 + 14);
        let list = AccessList(vec![AccessListItem {
            address: Address::ZERO,
            storage_keys: vec![B256::ZERO; 3],
        }]);
        let full = SizeParts {
            access_list: Some(&list),
            authorizations: 2,
            ..parts(&[])
        };
        assert_eq!(full.estimate(), 92 + 20 + 3 * 32 + 2 * 92);
    }

    #[test]
    fn fee_is_sats_per_virtual_byte() {
        // 400 witness bytes are 100 vB; at 5 sat/vB that is 500 sat.
        assert_eq!(l1_fee(400, 5_000), U256::from(500u64 * 10_000_000_000));
        assert_eq!(l1_fee(u64::MAX, 0), U256::ZERO);
        assert!(l1_fee(u64::MAX, u64::MAX) < U256::from(1) << 150);
    }
}
