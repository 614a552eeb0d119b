//! Where each piece of state stands in the tree, and how it is packed (EIP-8297, deviations in docs/state-tree.md).

use alloc::vec::Vec;
use alloy_primitives::{Address, B256, U256};

use super::{Account, Node, Stem, hash_node};

/// A tree key: a stem and the number of a value under it.
pub type TreeKey = B256;

/// Sub-index of nonce, balance and code size.
pub const BASIC_DATA: u8 = 0;
/// Sub-index of the code hash. Never zero for an account that exists.
pub const CODE_HASH: u8 = 1;
/// Sub-index of slot 0 in an account's header.
pub const HEADER_STORAGE: u8 = 64;
/// Slots in an account's header.
pub const HEADER_SLOTS: u8 = 64;
/// Sub-index of code chunk 0 in an account's header.
pub const HEADER_CODE: u8 = 128;
/// Code chunks in an account's header.
pub const HEADER_CHUNKS: u32 = 128;
/// Code bytes in one chunk.
pub const CHUNK_LEN: usize = 31;

const PUSH1: u8 = 0x60;
const PUSH32: u8 = 0x7f;

/// The parts of the key space. A zone's number is in the stem's highest bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Zone {
    /// `0000`: account headers.
    Header,
    /// `0001`: code chunks from number 128 on.
    Code,
    /// `1`: storage slots from number 64 on.
    Storage,
}

/// What is hashed for the stems of an account: the address padded to 32 bytes, and which group of 256.
pub(super) fn stem_input(address: Address, group: U256) -> Node {
    let mut input = [0; 64];
    let (left, right) = input.split_at_mut(32);
    left.copy_from_slice(address.into_word().as_slice());
    right.copy_from_slice(&group.to_be_bytes::<32>());
    input
}

/// Forms a stem of a zone from the hash of [`stem_input`].
pub(super) fn zone_stem(zone: Zone, digest: &B256) -> Stem {
    let (shift, tag) = match zone {
        Zone::Header => (4u32, 0u8),
        Zone::Code => (4, 0x10),
        Zone::Storage => (1, 0x80),
    };
    let mut stem = Stem::ZERO;
    let mut carry = tag;
    for (to, from) in stem.iter_mut().zip(digest.iter()) {
        *to = carry | (from >> shift);
        carry = from.wrapping_shl(8u32.saturating_sub(shift));
    }
    stem
}

/// Splits a slot number into its zone, group and sub-index.
pub(super) fn slot_place(slot: U256) -> (Zone, U256, u8) {
    let low = slot.byte(0);
    if slot < U256::from(HEADER_SLOTS) {
        (Zone::Header, U256::ZERO, HEADER_STORAGE.saturating_add(low))
    } else {
        (Zone::Storage, slot.wrapping_shr(8), low)
    }
}

/// Splits a code chunk's number into its zone, group and sub-index.
pub(super) fn chunk_place(chunk: u32) -> (Zone, U256, u8) {
    match chunk.checked_sub(HEADER_CHUNKS) {
        None => (Zone::Header, U256::ZERO, HEADER_CODE.saturating_add(chunk as u8)),
        Some(rest) => (Zone::Code, U256::from(rest >> 8), rest as u8),
    }
}

/// Puts a stem and a sub-index together.
pub(super) fn tree_key(stem: &Stem, sub_index: u8) -> TreeKey {
    let mut key = [sub_index; 32];
    for (to, from) in key.iter_mut().zip(stem.iter()) {
        *to = *from;
    }
    B256::new(key)
}

/// Takes a key apart into stem and sub-index.
pub(super) fn split_key(key: &TreeKey) -> (Stem, u8) {
    let sub_index = key.last().copied().unwrap_or_default();
    (
        key.split_last_chunk::<1>()
            .map_or(Stem::ZERO, |(stem, _)| Stem::from_slice(stem)),
        sub_index,
    )
}

pub(super) fn place_key(address: Address, (zone, group, sub_index): (Zone, U256, u8)) -> TreeKey {
    tree_key(
        &zone_stem(zone, &hash_node(&stem_input(address, group))),
        sub_index,
    )
}

/// Returns the key of a value in an account's header.
pub fn header_key(address: Address, sub_index: u8) -> TreeKey {
    place_key(address, (Zone::Header, U256::ZERO, sub_index))
}

/// Returns the key of a storage slot.
pub fn slot_key(address: Address, slot: U256) -> TreeKey {
    place_key(address, slot_place(slot))
}

/// Returns the key of a code chunk.
pub fn chunk_key(address: Address, chunk: u32) -> TreeKey {
    place_key(address, chunk_place(chunk))
}

/// Returns how many chunks code of this size has.
pub fn chunk_count(code_size: u32) -> u32 {
    code_size.div_ceil(CHUNK_LEN as u32)
}

/// Packs nonce, balance and code size; `None` when the balance needs more than 16 bytes.
pub fn pack_basic_data(account: &Account) -> Option<B256> {
    let balance = u128::try_from(account.balance).ok()?;
    let mut bytes = [0; 32];
    let fields = [0u8; 4]
        .into_iter()
        .chain(account.code_size.to_be_bytes())
        .chain(account.nonce.to_be_bytes())
        .chain(balance.to_be_bytes());
    for (to, from) in bytes.iter_mut().zip(fields) {
        *to = from;
    }
    Some(B256::new(bytes))
}

/// Unpacks an account from its two header values; `None` when the version or a reserved byte is not zero.
pub fn unpack_account(basic_data: &B256, code_hash: B256) -> Option<Account> {
    let (reserved, rest) = basic_data.split_first_chunk::<4>()?;
    let (code_size, rest) = rest.split_first_chunk::<4>()?;
    let (nonce, balance) = rest.split_first_chunk::<8>()?;
    (*reserved == [0; 4]).then_some(Account {
        nonce: u64::from_be_bytes(*nonce),
        balance: U256::from(u128::from_be_bytes(*balance.first_chunk()?)),
        code_hash,
        code_size: u32::from_be_bytes(*code_size),
    })
}

/// Cuts code into chunks: a byte that counts the leading push-data bytes, then 31 bytes of code, padded with zeros.
pub fn chunks(code: &[u8]) -> Vec<B256> {
    let mut out = Vec::with_capacity(code.len().div_ceil(CHUNK_LEN));
    // Bytes at the start of this chunk that belong to a push in an earlier one.
    let mut data = 0usize;
    for part in code.chunks(CHUNK_LEN) {
        let mut chunk = [0; 32];
        for (to, from) in chunk
            .iter_mut()
            .zip([data.min(CHUNK_LEN) as u8].iter().chain(part))
        {
            *to = *from;
        }
        out.push(B256::new(chunk));
        for byte in part {
            data = match data.checked_sub(1) {
                Some(rest) => rest,
                None if (PUSH1..=PUSH32).contains(byte) => usize::from(byte.wrapping_sub(0x5f)),
                None => 0,
            };
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloy_primitives::{address, hex, keccak256};
    use proptest::prelude::*;

    const ADDRESS: Address = address!("00112233445566778899aabbccddeeff00112233");

    fn digest(group: u64) -> B256 {
        let mut input = [0; 64];
        input[12..32].copy_from_slice(ADDRESS.as_slice());
        input[56..].copy_from_slice(&group.to_be_bytes());
        B256::new(*blake3::hash(&input).as_bytes())
    }

    fn bits(bytes: &[u8]) -> Vec<bool> {
        bytes
            .iter()
            .flat_map(|b| (0..8).map(move |i| b >> (7 - i) & 1 == 1))
            .collect()
    }

    fn expect(key: TreeKey, zone: &[bool], group: u64, sub_index: u8) {
        let expected: Vec<bool> = zone
            .iter()
            .copied()
            .chain(bits(digest(group).as_slice()))
            .take(248)
            .chain(bits(&[sub_index]))
            .collect();
        assert_eq!(bits(key.as_slice()), expected);
    }

    #[test]
    fn keys_follow_the_zones() {
        let header = [false; 4];
        let code = [false, false, false, true];
        expect(header_key(ADDRESS, BASIC_DATA), &header, 0, 0);
        expect(slot_key(ADDRESS, U256::from(5)), &header, 0, 69);
        expect(slot_key(ADDRESS, U256::from(63)), &header, 0, 127);
        expect(slot_key(ADDRESS, U256::from(64)), &[true], 0, 64);
        expect(slot_key(ADDRESS, U256::from(1000)), &[true], 3, 0xe8);
        expect(chunk_key(ADDRESS, 5), &header, 0, 133);
        expect(chunk_key(ADDRESS, 127), &header, 0, 255);
        expect(chunk_key(ADDRESS, 128), &code, 0, 0);
        expect(chunk_key(ADDRESS, 300), &code, 0, 172);
        expect(chunk_key(ADDRESS, 128 + 256), &code, 1, 0);
    }

    #[test]
    fn keys_split_into_stem_and_sub_index() {
        let key = slot_key(ADDRESS, U256::from(1000));
        let (stem, sub_index) = split_key(&key);
        assert_eq!(sub_index, 0xe8);
        assert_eq!(tree_key(&stem, sub_index), key);
    }

    #[test]
    fn basic_data_literal_bytes() {
        let account = Account {
            nonce: 0x0102_0304_0506_0708,
            balance: U256::from(0x1112_1314_1516_1718_191a_1b1c_1d1e_1f20u128),
            code_hash: keccak256([]),
            code_size: 0xaabb_ccdd,
        };
        let packed = pack_basic_data(&account).unwrap();
        assert_eq!(
            packed.as_slice(),
            hex!("00000000aabbccdd01020304050607081112131415161718191a1b1c1d1e1f20")
        );
        assert_eq!(unpack_account(&packed, account.code_hash), Some(account));
        assert_eq!(
            pack_basic_data(&Account {
                balance: U256::from(1) << 128,
                ..account
            }),
            None
        );
        for reserved in 0..4 {
            let mut wrong = packed;
            wrong.0[reserved] = 1;
            assert_eq!(unpack_account(&wrong, account.code_hash), None);
        }
    }

    /// The description in EIP-8297, byte by byte and the slow way.
    fn chunks_by_description(code: &[u8]) -> Vec<B256> {
        let mut is_data = vec![0usize; code.len() + 64];
        let mut pos = 0;
        while pos < code.len() {
            let len = if (0x60..=0x7f).contains(&code[pos]) {
                code[pos] as usize - 0x5f
            } else {
                0
            };
            pos += 1;
            for x in 0..len {
                is_data[pos + x] = len - x;
            }
            pos += len;
        }
        (0..code.len())
            .step_by(31)
            .map(|at| {
                let mut chunk = [0; 32];
                chunk[0] = is_data[at].min(31) as u8;
                let end = code.len().min(at + 31);
                chunk[1..1 + end - at].copy_from_slice(&code[at..end]);
                B256::new(chunk)
            })
            .collect()
    }

    proptest! {
        #[test]
        fn chunks_match_the_description(
            code in prop::collection::vec(prop_oneof![Just(0x7fu8), Just(0x60), Just(0x63), any::<u8>()], 0..300)
        ) {
            prop_assert_eq!(chunks(&code), chunks_by_description(&code));
            prop_assert_eq!(chunks(&code).len() as u32, chunk_count(code.len() as u32));
        }
    }

    #[test]
    fn push_data_over_a_boundary_is_counted() {
        let mut code = vec![0x5b; 28];
        code.extend(hex!("6399989796600180"));
        assert_eq!(chunks(&code)[1].as_slice()[..6], hex!("029796600180"));
    }
}
