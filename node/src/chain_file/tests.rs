use std::collections::BTreeMap;

use alloy_primitives::{U256, b256};
use bitsect_vm::chain::L1Info;
use bitsect_vm::chain::predeploys::FEE_VAULT;
use proptest::prelude::*;

use super::*;

/// The generator's x coordinate: a key that is on the curve.
const KEY: B256 = b256!("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798");

fn file() -> ChainFile {
    let genesis_l1 = L1Cursor {
        hash: B256::repeat_byte(0x11),
        height: 120,
        work: U256::ZERO,
        times: vec![1_000, 1_010, 1_020],
        fee_rates: vec![1_000, 3_000, 2_000],
        bits: 0x207f_ffff,
        interval_start_time: 900,
        interval_start_bits: 0x207f_ffff,
        last_hard_bits: 0x207f_ffff,
    };
    let origin = L1Info {
        height: 120,
        hash: genesis_l1.hash,
        merkle_root: B256::repeat_byte(0x22),
        time: 1_020,
        median_time_past: 1_010,
        fee_rate: 2_000,
    };
    ChainFile {
        name: "test".into(),
        params: ChainParams {
            execution: ExecutionParams {
                chain_id: 841,
                spec: SpecId::OSAKA,
                base_fee_recipient: Some(FEE_VAULT),
                l1_fee: true,
                min_timestamp_step: 0,
                gas_limit: Some(30_000_000),
            },
            derive: DeriveParams {
                network: L1Network::Regtest,
                genesis_l1,
                baton: OutPoint {
                    txid: B256::with_last_byte(0xab),
                    vout: 7,
                },
                vault_key: KEY,
                sequencing_window: 144,
                reveal_timeout: 36,
                refund_delay: 288,
                min_deposit: 10_000,
                max_drift: 1_800,
                max_batch_body: 16_000_000,
                forced_gas_limit: 15_000_000,
                claim_maturity: 6,
            },
        },
        genesis: GenesisConfig {
            origin,
            timestamp: 1_010,
            gas_limit: 30_000_000,
            base_fee: 1_000_000,
            fee_vault_owner: Address::repeat_byte(0xaa),
            balances: BTreeMap::from([(Address::repeat_byte(0xbb), U256::from(7))]),
        },
    }
}

#[test]
fn text_round_trips_and_shows_the_baton_as_bitcoin_does() {
    let text = file().to_toml();
    let baton = format!("baton = \"ab{}:7\"", "00".repeat(31));
    assert!(text.contains(&baton), "{text}");
    assert_eq!(ChainFile::of_toml(&text).unwrap(), file());
    let without_gas_limit = ChainFile {
        params: ChainParams {
            execution: ExecutionParams {
                gas_limit: None,
                base_fee_recipient: None,
                ..file().params.execution
            },
            ..file().params
        },
        ..file()
    };
    assert_eq!(
        ChainFile::of_toml(&without_gas_limit.to_toml()).unwrap(),
        without_gas_limit
    );
}

#[test]
fn hash_covers_everything_but_the_name() {
    let hash = file().params_hash();
    assert_eq!(
        ChainFile {
            name: "other".into(),
            ..file()
        }
        .params_hash(),
        hash
    );
    // Pinned: a dependency that prints a field in another way would part the network.
    assert_eq!(
        hash,
        b256!("188e201b168cecdf49c3e7b96a6f7c887bb003ff6c0243533868c2d51f798515")
    );
    let mut other = file();
    other.params.derive.max_drift += 1;
    assert_ne!(other.params_hash(), hash);
    let mut other = file();
    other.genesis.balances.insert(Address::ZERO, U256::from(1));
    assert_ne!(other.params_hash(), hash);
}

#[test]
fn files_are_written_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new").join("bitsect.chain.toml");
    file().write_new(&path).unwrap();
    assert_eq!(ChainFile::read(&path).unwrap(), file());
    let mut other = file();
    other.params.execution.chain_id += 1;
    assert!(matches!(other.write_new(&path), Err(ChainFileError::File { .. })));
    assert_eq!(ChainFile::read(&path).unwrap(), file());
    assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn impossible_values_are_refused_by_name() {
    let refused = |change: fn(&mut ChainFile)| {
        let mut file = file();
        change(&mut file);
        file.verify().unwrap_err().to_string()
    };
    for (change, field) in [
        (
            (|file| file.params.execution.chain_id = 0) as fn(&mut ChainFile),
            "execution.chain_id",
        ),
        (
            |file| file.params.execution.chain_id = u64::MAX,
            "execution.chain_id",
        ),
        (
            |file| file.params.derive.vault_key = B256::ZERO,
            "derive.vault_key",
        ),
        (|file| file.params.derive.refund_delay = 11, "derive.refund_delay"),
        (
            |file| file.params.derive.genesis_l1.times.clear(),
            "derive.genesis_l1.times",
        ),
        (
            |file| file.params.derive.genesis_l1.height = 1,
            "genesis.origin.height",
        ),
        (|file| file.genesis.origin.fee_rate = 1, "genesis.origin.fee_rate"),
        (|file| file.genesis.timestamp = 1, "genesis.timestamp"),
        (
            |file| file.params.derive.forced_gas_limit = 31_000_000,
            "derive.forced_gas_limit",
        ),
    ] {
        let message = refused(change);
        assert!(message.starts_with(&format!("chain file: {field}:")), "{message}");
    }
    let unknown = format!("surprise = 1\n{}", file().to_toml());
    assert!(
        ChainFile::of_toml(&unknown)
            .unwrap_err()
            .to_string()
            .contains("surprise")
    );
    let spec = file().to_toml().replace("Osaka", "Osake");
    assert!(
        ChainFile::of_toml(&spec)
            .unwrap_err()
            .to_string()
            .contains("execution.spec")
    );
}

proptest! {
    #[test]
    fn numbers_round_trip(chain_id in 1..i64::MAX as u64, txid in any::<[u8; 32]>(), vout in any::<u32>(), wei in any::<u128>()) {
        let mut file = file();
        file.params.execution.chain_id = chain_id;
        file.params.derive.baton = OutPoint { txid: txid.into(), vout };
        file.genesis.balances.insert(Address::ZERO, U256::from(wei));
        prop_assert_eq!(ChainFile::of_toml(&file.to_toml()).unwrap(), file);
    }

    #[test]
    fn damaged_texts_never_panic(at in any::<prop::sample::Index>(), to in any::<char>()) {
        let text: Vec<char> = file().to_toml().chars().collect();
        let at = at.index(text.len());
        let damaged: String = text.iter().enumerate().map(|(i, c)| if i == at { to } else { *c }).collect();
        let _ = ChainFile::of_toml(&damaged);
    }
}
