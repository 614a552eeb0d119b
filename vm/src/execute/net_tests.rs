//! Net changes: a block in one journal must do what its transactions do one by one, each on the state that the one
//! before it left.

use alloc::vec;
use alloc::vec::Vec;

use alloy_consensus::SignableTransaction;
use alloy_consensus::TxEip1559;
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256, hex, keccak256};
use op_alloy_consensus::TxDeposit;
use proptest::prelude::*;
use revm::inspector::NoOpInspector;
use revm::primitives::hardfork::SpecId;

use super::*;
use crate::chain::{BlockAttributes, ExecutionParams, Transaction};
use crate::state::{Account, FlatState, StateReader};

const SENDERS: [Address; 3] = [
    Address::repeat_byte(0x51),
    Address::repeat_byte(0x52),
    Address::repeat_byte(0x53),
];
/// Stores the second word of its calldata in the slot that the first names.
const STORE: Address = Address::repeat_byte(0xC1);
const STORE_CODE: [u8; 7] = hex!("6020355f355500");
/// Creates a contract from its calldata at an address that depends on that only (CREATE2, salt 0).
const FACTORY: Address = Address::repeat_byte(0xC2);
const FACTORY_CODE: [u8; 11] = hex!("365f5f375f365f34f55000");
/// Destroys itself in favour of its caller.
const DYING: [u8; 2] = hex!("33ff");
/// An account that exists and is empty, as only Ethereum's oldest have it: touching it removes it.
const EMPTY: Address = Address::repeat_byte(0xE0);

/// Creation code that writes slot 1, then dies, reverts, or stays as a contract that dies when it is called.
const CHILDREN: [&[u8]; 4] = [
    &hex!("600160015533ff"),
    &hex!("60016001555f5ffd"),
    &hex!("60016001556133ff5f526002601ef3"),
    &DYING,
];

#[derive(Clone, Debug)]
enum Step {
    Pay {
        from: usize,
        to: Address,
        value: u64,
    },
    Store {
        from: usize,
        slot: u8,
        value: u8,
    },
    Create {
        from: usize,
        child: usize,
        value: u64,
    },
    Factory {
        from: usize,
        child: usize,
        value: u64,
    },
    CallChild {
        from: usize,
        child: usize,
        value: u64,
    },
    Deposit {
        from: usize,
        to: Address,
        mint: u64,
        value: u64,
    },
    Invalid {
        from: usize,
    },
}

fn child_address(child: usize) -> Address {
    FACTORY.create2(B256::ZERO, keccak256(CHILDREN[child]))
}

fn step() -> impl Strategy<Value = Step> {
    let from = || 0..SENDERS.len();
    let child = || 0..CHILDREN.len();
    let to = prop::sample::select(vec![
        SENDERS[0],
        EMPTY,
        STORE,
        Address::repeat_byte(0xF1),
        child_address(0),
        child_address(2),
    ]);
    prop_oneof![
        (from(), to.clone(), 0..3u64).prop_map(|(from, to, value)| Step::Pay { from, to, value }),
        (from(), 0..3u8, 0..3u8).prop_map(|(from, slot, value)| Step::Store { from, slot, value }),
        (from(), child(), 0..2u64).prop_map(|(from, child, value)| Step::Create { from, child, value }),
        (from(), child(), 0..2u64).prop_map(|(from, child, value)| Step::Factory { from, child, value }),
        (from(), child(), 0..2u64).prop_map(|(from, child, value)| Step::CallChild { from, child, value }),
        (from(), to, 0..3u64, 0..3u64).prop_map(|(from, to, mint, value)| Step::Deposit {
            from,
            to,
            mint,
            value
        }),
        from().prop_map(|from| Step::Invalid { from }),
    ]
}

fn state() -> FlatState {
    let mut state = FlatState::default();
    let account = |nonce, balance: u64, code: &[u8]| Account {
        nonce,
        balance: U256::from(balance),
        code_hash: keccak256(code),
        code_size: u32::try_from(code.len()).unwrap(),
    };
    for sender in SENDERS {
        state.set_account(sender, account(0, 1 << 60, &[]), Bytes::new());
    }
    state.set_account(STORE, account(1, 0, &STORE_CODE), STORE_CODE.into());
    state.set_storage(STORE, U256::from(1), U256::from(1));
    state.set_account(FACTORY, account(1, 0, &FACTORY_CODE), FACTORY_CODE.into());
    state.set_account(EMPTY, account(0, 0, &[]), Bytes::new());
    state
}

/// Signs nothing: the executor never looks at signatures.
fn transaction(step: &Step, nonces: &mut [u64; 3]) -> (Transaction, Address) {
    let (from, to, value, input): (usize, TxKind, u64, Bytes) = match step.clone() {
        Step::Pay { from, to, value } => (from, to.into(), value, Bytes::new()),
        Step::Store { from, slot, value } => {
            let mut input = Vec::from(U256::from(slot).to_be_bytes::<32>());
            input.extend(U256::from(value).to_be_bytes::<32>());
            (from, STORE.into(), 0, input.into())
        }
        Step::Create { from, child, value } => (from, TxKind::Create, value, CHILDREN[child].into()),
        Step::Factory { from, child, value } => (from, FACTORY.into(), value, CHILDREN[child].into()),
        Step::CallChild { from, child, value } => (from, child_address(child).into(), value, Bytes::new()),
        Step::Invalid { from } => (from, STORE.into(), u64::MAX, Bytes::new()),
        Step::Deposit {
            from,
            to,
            mint,
            value,
        } => {
            nonces[from] += 1;
            let tx = TxDeposit {
                from: SENDERS[from],
                to: to.into(),
                mint: mint.into(),
                value: U256::from(value),
                gas_limit: 100_000,
                ..TxDeposit::default()
            };
            return (tx.into(), SENDERS[from]);
        }
    };
    let nonce = nonces[from];
    if !matches!(step, Step::Invalid { .. }) {
        nonces[from] += 1;
    }
    let tx = TxEip1559 {
        chain_id: 7,
        nonce,
        gas_limit: 300_000,
        max_fee_per_gas: 10,
        max_priority_fee_per_gas: 1,
        to,
        value: U256::from(value),
        input,
        ..TxEip1559::default()
    };
    (tx.into_signed(Signature::test_signature()).into(), SENDERS[from])
}

fn executor(state: &FlatState) -> BlockExecutor<&FlatState> {
    let params = ExecutionParams::ethereum(7, SpecId::OSAKA);
    let attributes = BlockAttributes {
        number: 1,
        timestamp: 1,
        beneficiary: Address::repeat_byte(0xFE),
        gas_limit: 100_000_000,
        prev_randao: B256::ZERO,
        parent_beacon_block_root: B256::ZERO,
        extra_data: Bytes::new(),
        new_origin: None,
    };
    let db = StateDb::new(state, 0, B256::ZERO);
    let block = block_env(params.spec, &attributes, 5);
    BlockExecutor::from_evm(Evm::new(
        cfg_env(&params),
        block,
        FeeRules::default(),
        db,
        NoOpInspector,
    ))
}

fn sorted(state: &FlatState) -> (Vec<(Address, Account)>, Vec<(Address, U256, U256)>) {
    let mut accounts: Vec<_> = state
        .accounts()
        .map(|(address, account)| (*address, *account))
        .collect();
    accounts.sort_by_key(|(address, _)| *address);
    let mut slots: Vec<_> = state.slots().collect();
    slots.sort();
    (accounts, slots)
}

proptest! {
    #[test]
    fn block_is_the_sum_of_its_transactions(steps in prop::collection::vec(step(), 1..25)) {
        let start = state();
        let mut nonces = [0; 3];
        let list: Vec<_> = steps.iter().map(|step| transaction(step, &mut nonces)).collect();

        let mut whole = executor(&start);
        let mut one_by_one = start.clone();
        let mut gas = 0;
        for ((transaction, sender), step) in list.iter().zip(&steps) {
            let result = whole.transact(transaction, *sender);
            let mut single = executor(&one_by_one);
            let alone = single.transact(transaction, *sender);
            prop_assert_eq!(result.is_err(), matches!(step, Step::Invalid { .. }));
            prop_assert_eq!(result.ok(), alone.ok());
            let outcome = single.finish().unwrap();
            gas += outcome.gas_used;
            one_by_one.apply(&outcome.changes);
        }
        let outcome = whole.finish().unwrap();
        prop_assert_eq!(outcome.gas_used, gas);
        for (address, change) in &outcome.changes.accounts {
            prop_assert_eq!(change.before, start.account(*address).unwrap());
            prop_assert!(change.before != change.after || !change.storage.is_empty());
            for (slot, (before, after)) in &change.storage {
                prop_assert_eq!(*before, start.storage(*address, *slot).unwrap());
                prop_assert_ne!(before, after);
            }
        }
        let mut end = start;
        end.apply(&outcome.changes);
        prop_assert_eq!(sorted(&end), sorted(&one_by_one));
    }
}
