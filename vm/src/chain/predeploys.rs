//! Contracts that are there from block 0: where they are, their code, and how the chain talks to them.

use alloc::vec::Vec;
use alloy_primitives::{Address, B256, U256, address, hex, keccak256};

use super::L1Info;

/// The caller of system calls (EIP-4788, EIP-2935, `BitcoinBlocks.setL1Block`).
pub const SYSTEM_CALLER: Address = alloy_eips::eip4788::SYSTEM_ADDRESS;

/// `BitcoinBlocks`: the L1 origins.
pub const BITCOIN_BLOCKS: Address = address!("4200000000000000000000000000000000000001");
/// `Bridge`: withdrawals.
pub const BRIDGE: Address = address!("4200000000000000000000000000000000000002");
/// `FeeVault`: the beneficiary of every block.
pub const FEE_VAULT: Address = address!("4200000000000000000000000000000000000003");
/// The CREATE2 deployer at the address that it has on every chain
/// (<https://github.com/Arachnid/deterministic-deployment-proxy>).
pub const DETERMINISTIC_DEPLOYER: Address = address!("4e59b44847b379578588920cA78FbF26c0B4956C");
/// Multicall3 at the address that it has on every chain (<https://github.com/mds1/multicall3>).
pub const MULTICALL3: Address = address!("cA11bde05977b3631167028862bE2a173976CA11");

/// The slot of `BitcoinBlocks` with the newest origin's numbers: see [`pack_l1_numbers`].
pub const L1_NUMBERS_SLOT: U256 = U256::ZERO;
/// The slot of `BitcoinBlocks` with the newest origin's hash.
pub const L1_HASH_SLOT: U256 = U256::ONE;
/// The slot of the mapping from height to origin in `BitcoinBlocks`.
const L1_ORIGINS_SLOT: U256 = U256::from_limbs([2, 0, 0, 0]);
/// The slot of `FeeVault` with its owner.
pub const FEE_VAULT_OWNER_SLOT: U256 = U256::ZERO;

/// The selector of `setL1Block(uint32,bytes32,bytes32,uint32,uint32,uint64)`.
const SET_L1_BLOCK: [u8; 4] = hex!("0d2a462e");

/// Decodes a checked-in file of hex digits when the crate is compiled.
macro_rules! code_of {
    ($file:literal) => {{
        const DIGITS: &[u8] = include_bytes!(concat!("../../contracts/", $file));
        const CODE: [u8; DIGITS.len() / 2] = match hex::const_decode_to_array(DIGITS) {
            Ok(code) => code,
            Err(_) => panic!("the file is not hex"),
        };
        &CODE
    }};
}

/// The runtime code of `BitcoinBlocks`.
pub static BITCOIN_BLOCKS_CODE: &[u8] = code_of!("artifacts/BitcoinBlocks.hex");
/// The runtime code of `Bridge`.
pub static BRIDGE_CODE: &[u8] = code_of!("artifacts/Bridge.hex");
/// The runtime code of `FeeVault`.
pub static FEE_VAULT_CODE: &[u8] = code_of!("artifacts/FeeVault.hex");
/// The runtime code of the deterministic deployer, as on Ethereum's mainnet.
pub static DETERMINISTIC_DEPLOYER_CODE: &[u8] = code_of!("preinstalls/DeterministicDeployer.hex");
/// The runtime code of Multicall3, as on Ethereum's mainnet.
pub static MULTICALL3_CODE: &[u8] = code_of!("preinstalls/Multicall3.hex");

/// Encodes the input of the system call that records an origin in `BitcoinBlocks`.
pub fn set_l1_block_input(origin: &L1Info) -> Vec<u8> {
    let words = [
        B256::from(U256::from(origin.height)),
        origin.hash,
        origin.merkle_root,
        B256::from(U256::from(origin.time)),
        B256::from(U256::from(origin.median_time_past)),
        B256::from(U256::from(origin.fee_rate)),
    ];
    let mut input = Vec::from(SET_L1_BLOCK);
    for word in words {
        input.extend_from_slice(word.as_slice());
    }
    input
}

/// Packs what [`L1_NUMBERS_SLOT`] holds, from the low end: fee rate (64 bits), height, time and median time
/// past (32 bits each).
pub fn pack_l1_numbers(origin: &L1Info) -> U256 {
    U256::from_limbs([
        origin.fee_rate,
        u64::from(origin.height) | (u64::from(origin.time) << 32),
        origin.median_time_past.into(),
        0,
    ])
}

/// Reads the fee rate, in sat per 1,000 vB, from the value of [`L1_NUMBERS_SLOT`].
pub fn l1_fee_rate(numbers: U256) -> u64 {
    numbers.wrapping_to()
}

/// Lists what a call of `setL1Block` writes: slots of `BitcoinBlocks` and their values.
pub fn l1_origin_storage(origin: &L1Info) -> [(U256, U256); 5] {
    let mut key = Vec::from(U256::from(origin.height).to_be_bytes::<32>());
    key.extend_from_slice(&L1_ORIGINS_SLOT.to_be_bytes::<32>());
    let first: U256 = keccak256(key).into();
    let times = u64::from(origin.time) | (u64::from(origin.median_time_past) << 32);
    let numbers = U256::from_limbs([times, origin.fee_rate, 0, 0]);
    [
        (L1_NUMBERS_SLOT, pack_l1_numbers(origin)),
        (L1_HASH_SLOT, origin.hash.into()),
        (first, origin.hash.into()),
        (first.wrapping_add(U256::ONE), origin.merkle_root.into()),
        (first.wrapping_add(U256::from(2)), numbers),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selector_is_that_of_the_signature() {
        let hash = keccak256("setL1Block(uint32,bytes32,bytes32,uint32,uint32,uint64)");
        assert_eq!(SET_L1_BLOCK, hash[..4]);
    }

    #[test]
    fn fee_rate_is_the_low_word() {
        let origin = L1Info {
            height: u32::MAX,
            hash: B256::ZERO,
            merkle_root: B256::ZERO,
            time: u32::MAX,
            median_time_past: u32::MAX,
            fee_rate: u64::MAX - 1,
        };
        assert_eq!(l1_fee_rate(pack_l1_numbers(&origin)), u64::MAX - 1);
        assert_eq!(pack_l1_numbers(&origin).bit_len(), 160);
    }
}
