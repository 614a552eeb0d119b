//! Block 0: the state that a chain starts with, and its header.

use alloc::collections::BTreeMap;
use alloy_consensus::EMPTY_OMMER_ROOT_HASH;
use alloy_consensus::constants::EMPTY_ROOT_HASH;
use alloy_eips::eip2935::{HISTORY_STORAGE_ADDRESS, HISTORY_STORAGE_CODE};
use alloy_eips::eip4788::{BEACON_ROOTS_ADDRESS, BEACON_ROOTS_CODE};
use alloy_eips::eip7685::EMPTY_REQUESTS_HASH;
use alloy_primitives::{Address, B64, B256, Bloom, Bytes, KECCAK256_EMPTY, U256, keccak256};

use super::predeploys::{
    BITCOIN_BLOCKS, BITCOIN_BLOCKS_CODE, BRIDGE, BRIDGE_CODE, DETERMINISTIC_DEPLOYER,
    DETERMINISTIC_DEPLOYER_CODE, FEE_VAULT, FEE_VAULT_CODE, FEE_VAULT_OWNER_SLOT, MULTICALL3,
    MULTICALL3_CODE, l1_origin_storage,
};
use super::{Header, L1Info};
use crate::state::{Account, AccountChange, StateChanges};

/// What block 0 of a chain depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct GenesisConfig {
    /// The origin of block 0: the last L1 block before the chain.
    pub origin: L1Info,
    /// Block 0's time, seconds since 1970.
    pub timestamp: u64,
    /// The gas limit of block 0.
    pub gas_limit: u64,
    /// The base fee of block 0, wei per gas.
    pub base_fee: u64,
    /// Who may take fees out of the `FeeVault`.
    pub fee_vault_owner: Address,
    /// Balances at the start, in wei: for local networks. Nothing in the bridge backs them.
    pub balances: BTreeMap<Address, U256>,
}

/// Gives the genesis state, as the changes that make it from an empty state.
pub fn genesis_alloc(config: &GenesisConfig) -> StateChanges {
    let mut accounts = BTreeMap::new();
    let contracts: [(Address, Bytes); 7] = [
        (BITCOIN_BLOCKS, Bytes::from_static(BITCOIN_BLOCKS_CODE)),
        (BRIDGE, Bytes::from_static(BRIDGE_CODE)),
        (FEE_VAULT, Bytes::from_static(FEE_VAULT_CODE)),
        (
            DETERMINISTIC_DEPLOYER,
            Bytes::from_static(DETERMINISTIC_DEPLOYER_CODE),
        ),
        (MULTICALL3, Bytes::from_static(MULTICALL3_CODE)),
        (HISTORY_STORAGE_ADDRESS, HISTORY_STORAGE_CODE.clone()),
        (BEACON_ROOTS_ADDRESS, BEACON_ROOTS_CODE.clone()),
    ];
    for (address, code) in contracts {
        let storage = match address {
            BITCOIN_BLOCKS => written(l1_origin_storage(&config.origin)),
            FEE_VAULT => written([(FEE_VAULT_OWNER_SLOT, config.fee_vault_owner.into_word().into())]),
            _ => BTreeMap::new(),
        };
        let account = Account {
            // A contract starts at 1 (EIP-161).
            nonce: 1,
            balance: U256::ZERO,
            code_hash: keccak256(&code),
            // All of them are far below EIP-170's 24,576 bytes.
            code_size: code.len() as u32,
        };
        let change = AccountChange {
            before: None,
            after: Some(account),
            code: Some(code),
            storage,
        };
        accounts.insert(address, change);
    }
    for (&address, &balance) in config.balances.iter().filter(|(_, balance)| !balance.is_zero()) {
        let change = accounts.entry(address).or_default();
        let account = change.after.get_or_insert(Account {
            nonce: 0,
            balance: U256::ZERO,
            code_hash: KECCAK256_EMPTY,
            code_size: 0,
        });
        account.balance = balance;
    }
    StateChanges { accounts }
}

/// Storage that is written over empty storage; zero stays absent.
fn written<const N: usize>(values: [(U256, U256); N]) -> BTreeMap<U256, (U256, U256)> {
    let present = values.into_iter().filter(|(_, value)| !value.is_zero());
    present.map(|(slot, value)| (slot, (U256::ZERO, value))).collect()
}

/// Gives block 0's header; `state_root` is the root of [`genesis_alloc`]'s state.
pub fn genesis_header(config: &GenesisConfig, state_root: B256) -> Header {
    Header {
        parent_hash: B256::ZERO,
        ommers_hash: EMPTY_OMMER_ROOT_HASH,
        beneficiary: FEE_VAULT,
        state_root,
        transactions_root: EMPTY_ROOT_HASH,
        receipts_root: EMPTY_ROOT_HASH,
        logs_bloom: Bloom::ZERO,
        difficulty: U256::ZERO,
        number: 0,
        gas_limit: config.gas_limit,
        gas_used: 0,
        timestamp: config.timestamp,
        extra_data: Bytes::new(),
        mix_hash: B256::ZERO,
        nonce: B64::ZERO,
        base_fee_per_gas: Some(config.base_fee),
        withdrawals_root: Some(EMPTY_ROOT_HASH),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        parent_beacon_block_root: Some(config.origin.hash),
        requests_hash: Some(EMPTY_REQUESTS_HASH),
        // Fields of forks after Osaka stay absent.
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{address, b256};

    use super::*;

    fn config() -> GenesisConfig {
        GenesisConfig {
            origin: L1Info {
                height: 840_000,
                hash: B256::repeat_byte(0x11),
                merkle_root: B256::repeat_byte(0x22),
                time: 1_713_571_767,
                median_time_past: 1_713_570_208,
                fee_rate: 12_345,
            },
            timestamp: 1_713_571_768,
            gas_limit: 30_000_000,
            base_fee: 1_000_000,
            fee_vault_owner: Address::repeat_byte(0xaa),
            balances: BTreeMap::from([
                (Address::repeat_byte(0xbb), U256::from(7)),
                (Address::repeat_byte(0xcc), U256::ZERO),
                (FEE_VAULT, U256::from(9)),
            ]),
        }
    }

    /// The first four hashes are those on Ethereum's mainnet (the deployer's and Multicall3's also stand in
    /// many deployment scripts); ours change with every change of a contract, on purpose visibly.
    #[test]
    fn code_hashes_are_the_known_ones() {
        let known = [
            (
                address!("4e59b44847b379578588920cA78FbF26c0B4956C"),
                b256!("2fa86add0aed31f33a762c9d88e807c475bd51d0f52bd0955754b2608f7e4989"),
            ),
            (
                address!("cA11bde05977b3631167028862bE2a173976CA11"),
                b256!("d5c15df687b16f2ff992fc8d767b4216323184a2bbc6ee2f9c398c318e770891"),
            ),
            (
                address!("0000F90827F1C53a10cb7A02335B175320002935"),
                b256!("6e49e66782037c0555897870e29fa5e552daf4719552131a0abce779daec0a5d"),
            ),
            (
                address!("000F3df6D732807Ef1319fB7B8bB8522d0Beac02"),
                b256!("f57acd40259872606d76197ef052f3d35588dadf919ee1f0e3cb9b62d3f4b02c"),
            ),
            (
                BITCOIN_BLOCKS,
                b256!("f8df1f6fd56fd117f3d470e22a6ef1b9531d5438aa3e475c0cdecf92424e663a"),
            ),
            (
                BRIDGE,
                b256!("588f1a9f38f6c571add92ff506eb7fd50be2eadbb323b8388ca2d5c2415cfc81"),
            ),
            (
                FEE_VAULT,
                b256!("d19494b442d8c6e81dd5ba9bcd8779ec7086c16d63f001a1d1ae878b4d73d072"),
            ),
        ];
        let changes = genesis_alloc(&config());
        for (address, hash) in known {
            let change = &changes.accounts[&address];
            let account = change.after.unwrap();
            let code = change.code.as_ref().unwrap();
            assert_eq!(account.code_hash, hash, "{address}");
            assert_eq!(keccak256(code), hash, "{address}");
            assert_eq!(account.code_size as usize, code.len(), "{address}");
            assert_eq!(account.nonce, 1, "{address}");
        }
        assert_eq!(
            changes.accounts.len(),
            known.len() + 1,
            "and one account with a balance"
        );
    }

    #[test]
    fn balances_are_added_and_zero_is_absent() {
        let changes = genesis_alloc(&config());
        let user = changes.accounts[&Address::repeat_byte(0xbb)].after.unwrap();
        assert_eq!(
            (user.nonce, user.balance, user.code_hash),
            (0, U256::from(7), KECCAK256_EMPTY)
        );
        assert!(!changes.accounts.contains_key(&Address::repeat_byte(0xcc)));
        let vault = changes.accounts[&FEE_VAULT].after.unwrap();
        assert_eq!((vault.nonce, vault.balance), (1, U256::from(9)));
        assert!(changes.accounts.values().all(|change| change.before.is_none()));
    }

    #[test]
    fn header_is_a_valid_osaka_header() {
        let header = genesis_header(&config(), B256::repeat_byte(0x33));
        let encoded = alloy_rlp::encode(&header);
        let decoded: Header = alloy_rlp::Decodable::decode(&mut encoded.as_slice()).unwrap();
        assert_eq!(decoded, header);
        assert_eq!(header.parent_beacon_block_root, Some(config().origin.hash));
        // The keccak of its RLP, made apart from this code (Python's rlp), so that a new field in a dependency cannot change the hash of block 0 unseen.
        assert_eq!(
            header.hash_slow(),
            b256!("947fb99da7ec055a48e46d8e3d50a88d8515e273475c0322edea823143deeada")
        );
    }
}
