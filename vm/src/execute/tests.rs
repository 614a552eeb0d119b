//! Bitsect's own rules on the genesis state; Ethereum's are tested by `tests/ethereum.rs`.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use alloy_consensus::{Sealable, SignableTransaction, TxEip1559, TxReceipt};
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256, hex};
use op_alloy_consensus::{TxDeposit, TxPostExec};
use revm::primitives::hardfork::SpecId;

use super::*;
use crate::chain::predeploys::{BITCOIN_BLOCKS, FEE_VAULT, L1_HASH_SLOT};
use crate::chain::{
    BlockAttributes, ExecutionParams, GenesisConfig, Header, L1Info, Receipt, Transaction, genesis_alloc,
    genesis_header,
};
use crate::state::{FlatState, StateChanges, StateReader};

const ALICE: Address = Address::repeat_byte(0xA1);
const BOB: Address = Address::repeat_byte(0xB0);
const BASE_FEE: u64 = 1_000_000_000;
const GAS_LIMIT: u64 = 30_000_000;
const COIN: u128 = 1_000_000_000_000_000_000;

fn params() -> ExecutionParams {
    ExecutionParams {
        chain_id: 7,
        spec: SpecId::OSAKA,
        base_fee_recipient: Some(FEE_VAULT),
        l1_fee: true,
        min_timestamp_step: 0,
        gas_limit: Some(GAS_LIMIT),
    }
}

fn origin(height: u32, fee_rate: u64) -> L1Info {
    L1Info {
        height,
        hash: B256::repeat_byte(0x11),
        merkle_root: B256::repeat_byte(0x22),
        time: 1000,
        median_time_past: 900,
        fee_rate,
    }
}

fn genesis() -> (FlatState, Header) {
    let config = GenesisConfig {
        origin: origin(100, 4_000),
        timestamp: 1000,
        gas_limit: GAS_LIMIT,
        base_fee: BASE_FEE,
        fee_vault_owner: ALICE,
        balances: BTreeMap::from([(ALICE, U256::from(COIN))]),
    };
    (
        FlatState::new(&genesis_alloc(&config)),
        genesis_header(&config, B256::ZERO),
    )
}

fn attributes(parent: &Header) -> BlockAttributes {
    BlockAttributes {
        number: parent.number + 1,
        timestamp: parent.timestamp,
        beneficiary: FEE_VAULT,
        gas_limit: GAS_LIMIT,
        prev_randao: B256::repeat_byte(3),
        parent_beacon_block_root: B256::repeat_byte(0x11),
        extra_data: Bytes::new(),
        new_origin: None,
    }
}

fn transfer(nonce: u64, value: u128) -> TxEip1559 {
    TxEip1559 {
        chain_id: 7,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: u128::from(2 * BASE_FEE),
        max_priority_fee_per_gas: 5,
        to: TxKind::Call(BOB),
        value: U256::from(value),
        ..TxEip1559::default()
    }
}

/// The executor never looks at signatures.
fn signed(tx: TxEip1559) -> Transaction {
    tx.into_signed(Signature::test_signature()).into()
}

fn deposit(to: TxKind, mint: u128, value: u128, gas_limit: u64, input: Bytes) -> Transaction {
    let value = U256::from(value);
    let source_hash = B256::repeat_byte(9);
    TxDeposit {
        source_hash,
        from: BOB,
        to,
        mint,
        value,
        gas_limit,
        is_system_transaction: false,
        input,
    }
    .into()
}

fn run(
    state: &FlatState,
    parent: &Header,
    attributes: &BlockAttributes,
    list: &[(Transaction, Address)],
) -> BlockOutcome {
    let (transactions, senders): (Vec<_>, Vec<_>) = list.iter().cloned().unzip();
    execute_block(&params(), parent, attributes, &transactions, &senders, state).unwrap()
}

fn balance(changes: &StateChanges, address: Address) -> U256 {
    changes.accounts[&address].after.unwrap().balance
}

#[test]
fn all_fees_go_to_the_vault() {
    let (state, parent) = genesis();
    let outcome = run(
        &state,
        &parent,
        &attributes(&parent),
        &[(signed(transfer(0, 10)), ALICE)],
    );
    // An empty block lowers the base fee by an eighth.
    let base_fee = BASE_FEE - BASE_FEE / 8;
    assert_eq!(outcome.base_fee, base_fee);
    let l1_fee = l1_fee(92, 4_000);
    assert_eq!(outcome.l1_fees, [l1_fee]);
    assert_eq!(outcome.l1_fee_rate, 4_000);
    let fees = U256::from(21_000 * (base_fee + 5)) + l1_fee;
    assert_eq!(balance(&outcome.changes, FEE_VAULT), fees);
    assert_eq!(balance(&outcome.changes, BOB), U256::from(10));
    assert_eq!(
        balance(&outcome.changes, ALICE),
        U256::from(COIN) - U256::from(10) - fees
    );
    assert_eq!(outcome.gas_used, 21_000);
}

#[test]
fn l1_fee_is_part_of_the_balance_check() {
    let (state, parent) = genesis();
    let cost = U256::from(21_000 * 2 * u128::from(BASE_FEE)) + l1_fee(92, 4_000);
    let most = COIN - u128::try_from(cost).unwrap();
    let mut executor = BlockExecutor::new(&params(), &parent, &attributes(&parent), &state).unwrap();
    let error = executor
        .transact(&signed(transfer(0, most + 1)), ALICE)
        .unwrap_err();
    let TransactError::Invalid(InvalidTransaction::InsufficientFunds { have, want, .. }) = error else {
        panic!("{error}")
    };
    assert_eq!((have, want), (U256::from(COIN), U256::from(COIN) + U256::from(1)));
    assert!(
        executor
            .transact(&signed(transfer(0, most)), ALICE)
            .unwrap()
            .success
    );
}

#[test]
fn invalid_transactions_change_nothing() {
    let (state, parent) = genesis();
    let attributes = attributes(&parent);
    let good = [(signed(transfer(0, 1)), ALICE), (signed(transfer(1, 2)), ALICE)];
    let expected = run(&state, &parent, &attributes, &good);

    let mut executor = BlockExecutor::new(&params(), &parent, &attributes, &state).unwrap();
    let wrong_chain = TxEip1559 {
        chain_id: 8,
        ..transfer(0, 1)
    };
    let cheap = TxEip1559 {
        max_fee_per_gas: 1,
        max_priority_fee_per_gas: 0,
        ..transfer(0, 1)
    };
    let tight = TxEip1559 {
        gas_limit: 20_999,
        ..transfer(0, 1)
    };
    let huge = TxEip1559 {
        gas_limit: GAS_LIMIT + 1,
        ..transfer(0, 1)
    };
    let bad: Vec<Transaction> = [
        wrong_chain,
        cheap,
        tight,
        huge,
        transfer(9, 1),
        transfer(0, 2 * COIN),
    ]
    .map(signed)
    .into();
    for tx in &bad {
        assert!(matches!(
            executor.transact(tx, ALICE),
            Err(TransactError::Invalid(_))
        ));
    }
    executor.transact(&good[0].0, ALICE).unwrap();
    for tx in &bad {
        assert!(matches!(
            executor.transact(tx, ALICE),
            Err(TransactError::Invalid(_))
        ));
    }
    let post_exec = Transaction::from(TxPostExec::default());
    let error = executor.transact(&post_exec, ALICE).unwrap_err();
    assert!(matches!(
        error,
        TransactError::Invalid(InvalidTransaction::UnsupportedType { kind: 0x7D })
    ));
    executor.transact(&good[1].0, ALICE).unwrap();
    assert_eq!(executor.finish().unwrap(), expected);
}

#[test]
fn block_gas_is_bounded_by_limits() {
    let (state, parent) = genesis();
    let mut executor = BlockExecutor::new(&params(), &parent, &attributes(&parent), &state).unwrap();
    // An endless loop uses all of its gas.
    let burn = |gas| deposit(TxKind::Create, 0, 0, gas, hex!("5b600056").into());
    assert!(!executor.transact(&burn(16_000_000), BOB).unwrap().success);
    assert!(!executor.transact(&burn(13_990_000), BOB).unwrap().success);
    assert_eq!(executor.gas_left(), 10_000);
    let error = executor.transact(&signed(transfer(0, 1)), ALICE).unwrap_err();
    assert!(matches!(
        error,
        TransactError::Invalid(InvalidTransaction::GasLimitReached {
            have: 10_000,
            want: 21_000
        })
    ));
}

fn deposit_receipt(outcome: &BlockOutcome) -> (bool, u64, Option<u64>) {
    let Receipt::Deposit(receipt) = &outcome.receipts[0] else {
        panic!("not a deposit's receipt")
    };
    assert_eq!(receipt.deposit_receipt_version, Some(1));
    (receipt.inner.status(), outcome.gas_used, receipt.deposit_nonce)
}

#[test]
fn deposit_mints_without_fees() {
    let (state, parent) = genesis();
    let tx = deposit(TxKind::Call(ALICE), 7, 5, 21_000, Bytes::new());
    let outcome = run(&state, &parent, &attributes(&parent), &[(tx, BOB)]);
    assert_eq!(deposit_receipt(&outcome), (true, 21_000, Some(0)));
    let bob = outcome.changes.accounts[&BOB].after.unwrap();
    assert_eq!((bob.balance, bob.nonce), (U256::from(2), 1));
    assert_eq!(balance(&outcome.changes, ALICE), U256::from(COIN + 5));
    assert!(!outcome.changes.accounts.contains_key(&FEE_VAULT));
    assert_eq!(outcome.l1_fees, [U256::ZERO]);
}

#[test]
fn failed_deposit_keeps_mint_and_nonce() {
    let (state, parent) = genesis();
    let revert: Bytes = hex!("60006000fd").into();
    let halt: Bytes = hex!("fe").into();
    let too_long: Bytes = vec![0; 49_153].into();
    let cases: [(&str, Transaction, Option<u64>); 7] = [
        (
            "value above balance",
            deposit(TxKind::Call(ALICE), 7, 8, 50_000, Bytes::new()),
            Some(50_000),
        ),
        (
            "creation that cannot pay",
            deposit(TxKind::Create, 7, 8, 100_000, Bytes::new()),
            Some(100_000),
        ),
        (
            "below intrinsic gas",
            deposit(TxKind::Call(ALICE), 7, 1, 20_000, Bytes::new()),
            Some(20_000),
        ),
        ("reverts", deposit(TxKind::Create, 7, 1, 100_000, revert), None),
        (
            "halts",
            deposit(TxKind::Create, 7, 1, 100_000, halt),
            Some(100_000),
        ),
        (
            "initcode too long",
            deposit(TxKind::Create, 7, 1, 9_000_000, too_long),
            Some(9_000_000),
        ),
        (
            "above the cap",
            deposit(TxKind::Call(ALICE), 7, 1, 17_000_000, Bytes::new()),
            Some(17_000_000),
        ),
    ];
    for (name, tx, gas) in cases {
        let outcome = run(&state, &parent, &attributes(&parent), &[(tx, BOB)]);
        let (success, gas_used, nonce) = deposit_receipt(&outcome);
        assert!(!success, "{name}");
        assert_eq!(nonce, Some(0), "{name}");
        match gas {
            Some(gas) => assert_eq!(gas_used, gas, "{name}"),
            None => assert!(gas_used < 100_000, "{name}"),
        }
        let bob = outcome.changes.accounts[&BOB].after.unwrap();
        assert_eq!((bob.balance, bob.nonce), (U256::from(7), 1), "{name}");
        assert_eq!(outcome.changes.accounts.get(&ALICE), None, "{name}");
    }
}

#[test]
fn new_origin_is_recorded_first() {
    let (state, parent) = genesis();
    let mut attributes = attributes(&parent);
    attributes.new_origin = Some(L1Info {
        hash: B256::repeat_byte(0x77),
        ..origin(101, 8_000)
    });
    let outcome = run(&state, &parent, &attributes, &[(signed(transfer(0, 1)), ALICE)]);
    // The new rate counts for this block's transactions.
    assert_eq!(outcome.l1_fees, [l1_fee(92, 8_000)]);
    let slots = &outcome.changes.accounts[&BITCOIN_BLOCKS].storage;
    assert_eq!(slots[&L1_HASH_SLOT].1, U256::from_be_bytes([0x77; 32]));
    assert_eq!(read_fee_rate(&&state), Ok(4_000));
    let mut state = state;
    state.apply(&outcome.changes);
    assert_eq!(read_fee_rate(&state), Ok(8_000));
    let expected = crate::chain::predeploys::l1_origin_storage(&attributes.new_origin.unwrap());
    for (slot, value) in expected {
        assert_eq!(state.storage(BITCOIN_BLOCKS, slot), Ok(value));
    }
}

#[test]
fn missing_bitcoin_blocks_is_a_fault() {
    let (_, parent) = genesis();
    let mut attributes = attributes(&parent);
    attributes.new_origin = Some(origin(101, 1));
    let result = BlockExecutor::new(&params(), &parent, &attributes, FlatState::default());
    assert!(matches!(
        result.err(),
        Some(ExecuteError::Fault(Fault::SystemCall { .. }))
    ));
}

#[test]
fn sealed_header_verifies() {
    let (mut state, genesis) = genesis();
    let mut parent = genesis;
    for number in 1..4u64 {
        let attributes = attributes(&parent);
        let tx = signed(transfer(number - 1, 1));
        let outcome = run(&state, &parent, &attributes, &[(tx.clone(), ALICE)]);
        let header = seal(&parent, &attributes, &[tx], &outcome, B256::repeat_byte(4));
        verify_header(&params(), &parent, &header).unwrap();
        assert_eq!(attributes_of(&header), attributes);
        state.apply(&outcome.changes);
        for bad in [
            Header {
                number: 9,
                ..header.clone()
            },
            Header {
                parent_hash: B256::ZERO,
                ..header.clone()
            },
            Header {
                timestamp: parent.timestamp - 1,
                ..header.clone()
            },
            Header {
                gas_limit: GAS_LIMIT - 1,
                ..header.clone()
            },
            Header {
                gas_used: GAS_LIMIT + 1,
                ..header.clone()
            },
            Header {
                base_fee_per_gas: Some(outcome.base_fee + 1),
                ..header.clone()
            },
            Header {
                base_fee_per_gas: None,
                ..header.clone()
            },
            Header {
                extra_data: vec![0; 33].into(),
                ..header.clone()
            },
            Header {
                difficulty: U256::from(1),
                ..header.clone()
            },
            Header {
                withdrawals_root: None,
                ..header.clone()
            },
            Header {
                blob_gas_used: Some(1),
                ..header.clone()
            },
            Header {
                excess_blob_gas: Some(1),
                ..header.clone()
            },
            Header {
                parent_beacon_block_root: None,
                ..header.clone()
            },
            Header {
                requests_hash: Some(B256::ZERO),
                ..header.clone()
            },
        ] {
            assert!(verify_header(&params(), &parent, &bad).is_err());
        }
        parent = header;
    }
}

#[test]
fn base_fee_has_a_floor() {
    let parent = Header {
        gas_limit: GAS_LIMIT,
        base_fee_per_gas: Some(MIN_BASE_FEE),
        ..Header::default()
    };
    assert_eq!(next_base_fee(&params(), &parent), MIN_BASE_FEE);
    let ethereum = ExecutionParams::ethereum(1, SpecId::OSAKA);
    assert_eq!(next_base_fee(&ethereum, &parent), MIN_BASE_FEE - MIN_BASE_FEE / 8);
}

#[test]
fn blockhash_comes_from_the_history_contract() {
    let (mut state, genesis) = genesis();
    let mut parent = genesis.clone();
    let mut headers = vec![genesis];
    for _ in 0..3 {
        let attributes = attributes(&parent);
        let outcome = run(&state, &parent, &attributes, &[]);
        state.apply(&outcome.changes);
        parent = seal(&parent, &attributes, &[], &outcome, B256::ZERO);
        headers.push(parent.clone());
    }
    // Stores BLOCKHASH(NUMBER - n) in slot n, for n of 0 to 5.
    let mut code = Vec::new();
    for n in 0..=5u8 {
        code.extend([0x60, n, 0x43, 0x03, 0x40, 0x60, n, 0x55]);
    }
    let tx = deposit(TxKind::Create, 0, 0, 1_000_000, code.into());
    let outcome = run(&state, &parent, &attributes(&parent), &[(tx, BOB)]);
    let created = BOB.create(0);
    let slots = &outcome.changes.accounts[&created].storage;
    let got: Vec<_> = (0..=5u64)
        .map(|n| slots.get(&U256::from(n)).map(|(_, hash)| B256::from(*hash)))
        .collect();
    let hash = |number: usize| Some(headers[number].hash_slow());
    assert_eq!(got, [None, hash(3), hash(2), hash(1), hash(0), None]);
}

#[test]
fn contract_that_dies_in_its_block_leaves_nothing() {
    let (state, parent) = genesis();
    // Creation code that writes slot 1 and destroys itself to the caller.
    let code: Bytes = hex!("600160015533ff").into();
    let tx = deposit(TxKind::Create, 3, 3, 200_000, code);
    let outcome = run(&state, &parent, &attributes(&parent), &[(tx, BOB)]);
    assert!(deposit_receipt(&outcome).0);
    assert_eq!(balance(&outcome.changes, BOB), U256::from(3));
    assert!(!outcome.changes.accounts.contains_key(&BOB.create(0)));
}

#[test]
fn balance_above_16_bytes_is_refused() {
    let (state, parent) = genesis();
    let first = deposit(TxKind::Call(ALICE), u128::MAX, u128::MAX, 21_000, Bytes::new());
    let outcome = execute_block(&params(), &parent, &attributes(&parent), &[first], &[BOB], &state);
    let Err(ExecuteError::Fault(Fault::BalanceTooLarge { address, balance })) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(
        (address, balance),
        (ALICE, U256::from(u128::MAX) + U256::from(COIN))
    );
}

#[test]
fn senders_come_from_signatures() {
    use k256::ecdsa::SigningKey;
    let key = SigningKey::from_slice(&[5; 32]).unwrap();
    let address = Address::from_public_key(key.verifying_key());
    let sign = |tx: TxEip1559, high: bool| -> Transaction {
        let (signature, id) = key
            .sign_prehash_recoverable(tx.signature_hash().as_slice())
            .unwrap();
        let mut signature = Signature::from((signature, id));
        if high {
            let order = U256::from_be_bytes(hex!(
                "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"
            ));
            signature = Signature::new(signature.r(), order - signature.s(), !signature.v());
        }
        tx.into_signed(signature).into()
    };
    let good: Vec<Transaction> = (0..40).map(|nonce| sign(transfer(nonce, 1), false)).collect();
    assert_eq!(recover_senders(&good), Ok(vec![address; 40]));
    let mut bad = good;
    bad[33] = sign(transfer(33, 1), true);
    assert_eq!(recover_senders(&bad), Err(RecoverError { index: 33 }));
    let deposit: Transaction = TxDeposit {
        from: BOB,
        ..TxDeposit::default()
    }
    .into();
    assert_eq!(recover_senders(&[deposit]), Ok(vec![BOB]));
    assert_eq!(recover_sender(&TxPostExec::default().seal_slow().into()), None);
}

#[test]
fn calls_can_switch_checks_off() {
    let (state, parent) = genesis();
    let mut cfg = cfg_env(&params());
    cfg.disable_balance_check = true;
    cfg.disable_nonce_check = true;
    let fees = FeeRules {
        l1_fee_rate: 4_000,
        base_fee_recipient: Some(FEE_VAULT),
    };
    let db = StateDb::new(&state, parent.number, parent.hash_slow());
    let mut evm = Evm::new(cfg, block_env_of(SpecId::OSAKA, &parent), fees, db, ());
    let poor = Address::repeat_byte(0xEE);
    let mut tx = EvmTransaction::new(&signed(transfer(5, COIN)), poor).unwrap();
    assert!(evm.transact(tx.clone()).unwrap().is_success());
    // Absurd numbers are an error, not a panic.
    tx.env.gas_price = u128::MAX;
    tx.env.gas_priority_fee = Some(u128::MAX);
    let error = evm.transact(tx).unwrap_err();
    assert!(
        matches!(error, revm::context::result::EVMError::Transaction(_)),
        "{error:?}"
    );
    let _: Box<dyn core::fmt::Debug> = Box::new(evm.finalize());
}
