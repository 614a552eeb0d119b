//! The predeploys, as genesis holds them, called through bare revm: what they accept, refuse and keep.
//! Merkle proofs are of a real Bitcoin block and of constructed ones; the forgeries that Bitcoin's tree
//! allows are built in full.
//!
//! `vm/contracts/build.mjs --check` (in `.ci/run`) shows that the code is what the sources give.

#[path = "contracts/bridge.rs"]
mod bridge;
#[path = "contracts/chain.rs"]
mod chain;
#[path = "contracts/merkle.rs"]
mod merkle;

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::{SolCall, SolError, SolEvent};
use bitsect_vm::chain::predeploys::{
    BITCOIN_BLOCKS, BRIDGE, FEE_VAULT, MULTICALL3, SYSTEM_CALLER, l1_fee_rate, l1_origin_storage,
    set_l1_block_input,
};
use bitsect_vm::chain::{L1Info, sats_to_wei};
use chain::{BitcoinBlocks, Bridge, Chain, FeeVault, OWNER, USER, origin};

/// A P2WPKH script.
fn script() -> Bytes {
    let mut script = vec![0x00, 0x14];
    script.extend([0x77; 20]);
    script.into()
}

#[test]
fn set_l1_block_writes_the_slots_that_the_node_reads() {
    let mut chain = Chain::new();
    for height in [101, 102] {
        let origin = L1Info {
            fee_rate: u64::MAX - 5,
            ..origin(height, B256::repeat_byte(height as u8))
        };
        chain.set_l1_block(&origin);
        for (slot, value) in l1_origin_storage(&origin) {
            assert_eq!(
                chain.storage(BITCOIN_BLOCKS, slot),
                value,
                "slot {slot:x} of origin {height}"
            );
        }
        assert_eq!(
            l1_fee_rate(chain.storage(BITCOIN_BLOCKS, U256::ZERO)),
            origin.fee_rate
        );
    }
}

#[test]
fn origins_are_read_back_from_genesis_on() {
    let mut chain = Chain::new();
    chain.set_l1_block(&origin(101, B256::repeat_byte(9)));
    for height in [100, 101] {
        let expected = origin(
            height,
            if height == 100 {
                B256::ZERO
            } else {
                B256::repeat_byte(9)
            },
        );
        let got = chain.view(BITCOIN_BLOCKS, &BitcoinBlocks::blockAtCall { height });
        assert_eq!(got.hash, expected.hash);
        assert_eq!(got.merkleRoot, expected.merkle_root);
        assert_eq!(got.time, expected.time);
        assert_eq!(got.medianTimePast, expected.median_time_past);
        assert_eq!(got.feeRate, expected.fee_rate);
    }
    assert_eq!(chain.view(BITCOIN_BLOCKS, &BitcoinBlocks::heightCall {}), 101);
    assert_eq!(
        chain.view(BITCOIN_BLOCKS, &BitcoinBlocks::hashCall {}),
        origin(101, B256::ZERO).hash
    );
    assert_eq!(
        chain.view(BITCOIN_BLOCKS, &BitcoinBlocks::timeCall {}),
        origin(101, B256::ZERO).time
    );
    for height in [0, 99, 102, u32::MAX] {
        let revert = chain.refused(
            USER,
            BITCOIN_BLOCKS,
            U256::ZERO,
            &BitcoinBlocks::blockAtCall { height },
        );
        assert_eq!(revert, BitcoinBlocks::UnknownBlock { height }.abi_encode());
    }
}

#[test]
fn only_the_chain_sets_origins() {
    let mut chain = Chain::new();
    let revert = chain
        .call_raw(
            USER,
            BITCOIN_BLOCKS,
            U256::ZERO,
            set_l1_block_input(&origin(101, B256::ZERO)).into(),
        )
        .unwrap_err();
    assert_eq!(revert, BitcoinBlocks::OnlySystem { caller: USER }.abi_encode());
    assert_eq!(
        chain.view(BITCOIN_BLOCKS, &BitcoinBlocks::SYSTEMCall {}),
        SYSTEM_CALLER
    );
}

#[test]
fn withdrawals_are_numbered_and_kept() {
    let mut chain = Chain::new();
    for id in 0..3u64 {
        let amount = 546 + id * 1_000;
        let call = Bridge::withdrawCall {
            scriptPubKey: script(),
            fee: 0,
        };
        let (returned, logs) = chain.call(USER, BRIDGE, sats_to_wei(amount), &call).unwrap();
        assert_eq!(returned, id);
        let event = Bridge::WithdrawalRequested::decode_log(&logs[0]).unwrap();
        assert_eq!((logs.len(), logs[0].address), (1, BRIDGE));
        assert_eq!((event.id, event.sender, event.amount), (id, USER, amount));
        assert_eq!(event.scriptPubKey, script());
        let kept = chain.view(BRIDGE, &Bridge::withdrawalCall { id });
        assert_eq!((kept.sender, kept.amount, kept.l1Height), (USER, amount, 100));
        assert_eq!(kept.scriptPubKey, script());
    }
    assert_eq!(chain.view(BRIDGE, &Bridge::withdrawalCountCall {}), 3);
    assert_eq!(chain.balance(BRIDGE), sats_to_wei(3 * 546 + 3_000));
    let revert = chain.refused(USER, BRIDGE, U256::ZERO, &Bridge::withdrawalCall { id: 3 });
    assert_eq!(revert, Bridge::UnknownWithdrawal { id: 3 }.abi_encode());
}

#[test]
fn amounts_are_whole_sats_above_dust() {
    let mut chain = Chain::new();
    let call = Bridge::withdrawCall {
        scriptPubKey: script(),
        fee: 0,
    };
    let minimum = U256::from(546);
    let cases = [
        (
            sats_to_wei(0),
            Bridge::BelowDustLimit {
                sats: U256::ZERO,
                minimum,
            }
            .abi_encode(),
        ),
        (
            sats_to_wei(545),
            Bridge::BelowDustLimit {
                sats: U256::from(545),
                minimum,
            }
            .abi_encode(),
        ),
        (
            U256::from(1),
            Bridge::NotWholeSats { value: U256::from(1) }.abi_encode(),
        ),
        (
            sats_to_wei(546) + U256::from(9_999_999_999u64),
            Bridge::NotWholeSats {
                value: sats_to_wei(546) + U256::from(9_999_999_999u64),
            }
            .abi_encode(),
        ),
        (
            sats_to_wei(u64::MAX) + sats_to_wei(1),
            Bridge::AmountTooLarge {
                sats: U256::from(u64::MAX) + U256::from(1),
            }
            .abi_encode(),
        ),
    ];
    for (value, expected) in cases {
        assert_eq!(chain.refused(USER, BRIDGE, value, &call), expected, "{value} wei");
    }
    assert_eq!(
        chain.call(USER, BRIDGE, sats_to_wei(u64::MAX), &call).unwrap().0,
        0
    );
    // Value without a script is not taken silently.
    assert!(
        chain
            .call_raw(USER, BRIDGE, sats_to_wei(546), Bytes::new())
            .is_err()
    );
}

#[test]
fn only_scripts_that_are_relayed_and_spendable_are_accepted() {
    let of = |front: &[u8], body: usize, back: &[u8]| -> Bytes {
        [front, &vec![0xab; body], back].concat().into()
    };
    let accepted = [
        of(&[0x00, 0x14], 20, &[]),                 // P2WPKH
        of(&[0x00, 0x20], 32, &[]),                 // P2WSH
        of(&[0x51, 0x20], 32, &[]),                 // P2TR
        of(&[0xa9, 0x14], 20, &[0x87]),             // P2SH
        of(&[0x76, 0xa9, 0x14], 20, &[0x88, 0xac]), // P2PKH
    ];
    let refused = [
        Bytes::new(),
        of(&[0x6a], 20, &[]), // OP_RETURN
        of(&[0x00, 0x14], 21, &[]),
        of(&[0x00, 0x20], 20, &[]),
        of(&[0x52, 0x20], 32, &[]), // a future witness version: anyone can spend it
        of(&[0x51, 0x14], 20, &[]),
        of(&[0xa9, 0x14], 20, &[0x88]),
        of(&[0x76, 0xa9, 0x14], 20, &[0x88, 0xad]),
        of(&[0x21], 33, &[]),
    ];
    let mut chain = Chain::new();
    for script in accepted {
        let call = Bridge::withdrawCall {
            scriptPubKey: script.clone(),
            fee: 0,
        };
        let (id, _) = chain.call(USER, BRIDGE, sats_to_wei(1_000), &call).unwrap();
        assert_eq!(
            chain.view(BRIDGE, &Bridge::withdrawalCall { id }).scriptPubKey,
            script
        );
    }
    for script in refused {
        let call = Bridge::withdrawCall {
            scriptPubKey: script.clone(),
            fee: 0,
        };
        let revert = chain.refused(USER, BRIDGE, sats_to_wei(1_000), &call);
        assert_eq!(
            revert,
            Bridge::UnsupportedScript { scriptPubKey: script }.abi_encode()
        );
    }
    for size in [35, 10_000] {
        let call = Bridge::withdrawCall {
            scriptPubKey: vec![0x51; size].into(),
            fee: 0,
        };
        let revert = chain.refused(USER, BRIDGE, sats_to_wei(1_000), &call);
        let (size, maximum) = (U256::from(size), U256::from(34));
        assert_eq!(revert, Bridge::ScriptTooLong { size, maximum }.abi_encode());
    }
    assert_eq!(chain.view(BRIDGE, &Bridge::withdrawalCountCall {}), 5);
}

#[test]
fn the_vaults_owner_withdraws_through_the_bridge() {
    let mut chain = Chain::new();
    assert_eq!(chain.view(FEE_VAULT, &FeeVault::ownerCall {}), OWNER);
    chain
        .call_raw(USER, FEE_VAULT, sats_to_wei(5_000) + U256::from(3), Bytes::new())
        .unwrap();
    let call = FeeVault::withdrawCall {
        scriptPubKey: script(),
        amount: sats_to_wei(5_000),
        fee: 0,
    };
    let (id, _) = chain.call(OWNER, FEE_VAULT, U256::ZERO, &call).unwrap();
    let kept = chain.view(BRIDGE, &Bridge::withdrawalCall { id });
    assert_eq!((kept.sender, kept.amount), (FEE_VAULT, 5_000));
    assert_eq!(chain.balance(FEE_VAULT), U256::from(3));
    assert_eq!(chain.balance(BRIDGE), sats_to_wei(5_000));

    let revert = chain.refused(USER, FEE_VAULT, U256::ZERO, &call);
    assert_eq!(revert, FeeVault::OnlyOwner { caller: USER }.abi_encode());
    let revert = chain.refused(OWNER, FEE_VAULT, U256::ZERO, &call);
    let expected = FeeVault::InsufficientFees {
        asked: sats_to_wei(5_000),
        balance: U256::from(3),
    };
    assert_eq!(revert, expected.abi_encode());
    // The Bridge's refusals reach the owner.
    let call = FeeVault::withdrawCall {
        scriptPubKey: script(),
        amount: U256::from(3),
        fee: 0,
    };
    let revert = chain.refused(OWNER, FEE_VAULT, U256::ZERO, &call);
    assert_eq!(revert, Bridge::NotWholeSats { value: U256::from(3) }.abi_encode());
}

#[test]
fn the_vault_changes_hands_in_two_steps() {
    let mut chain = Chain::new();
    let next = Address::repeat_byte(0x99);
    let offer = FeeVault::offerOwnershipCall { newOwner: next };
    let accept = FeeVault::acceptOwnershipCall {};
    let revert = chain.refused(USER, FEE_VAULT, U256::ZERO, &offer);
    assert_eq!(revert, FeeVault::OnlyOwner { caller: USER }.abi_encode());
    chain.call(OWNER, FEE_VAULT, U256::ZERO, &offer).unwrap();
    assert_eq!(
        chain.view(FEE_VAULT, &FeeVault::ownerCall {}),
        OWNER,
        "an offer changes nothing yet"
    );
    let revert = chain.refused(USER, FEE_VAULT, U256::ZERO, &accept);
    assert_eq!(revert, FeeVault::OnlyPendingOwner { caller: USER }.abi_encode());
    chain.call(next, FEE_VAULT, U256::ZERO, &accept).unwrap();
    assert_eq!(chain.view(FEE_VAULT, &FeeVault::ownerCall {}), next);
    assert_eq!(
        chain.view(FEE_VAULT, &FeeVault::pendingOwnerCall {}),
        Address::ZERO
    );
}

#[test]
fn multicall3_answers() {
    let mut chain = Chain::new();
    let height = BitcoinBlocks::heightCall {}.abi_encode().into();
    let call = chain::Multicall3::aggregateCall {
        calls: vec![chain::Multicall3::Call {
            target: BITCOIN_BLOCKS,
            callData: height,
        }],
    };
    let answer = chain.view(MULTICALL3, &call);
    assert_eq!(
        answer.returnData[0],
        Bytes::from(B256::from(U256::from(100)).to_vec())
    );
}
