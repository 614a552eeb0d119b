//! Authorizations (EIP-7702) on the machine: the native result, in the steps of this project's signature recovery.

use alloy_eips::eip7702::SignedAuthorization;
use alloy_primitives::{Address, U256};
use bitsect_machine::Status;
use bitsect_vm::state::StateReader;

use super::simulation::{Simulation, Wallet};
use super::{program, run_unit};

const CODE: Address = Address::repeat_byte(0xcc);

/// Steps of an authorization at most: recovery, and what the state tree does for an account. The library's recovery
/// alone takes 11.7 M.
const MAX_STEPS: u64 = 2_600_000;

/// Gives a chain its next block, which has these authorizations in one transaction; gives the machine's steps for it.
fn steps(sim: &mut Simulation, wallet: &mut Wallet, list: Vec<SignedAuthorization>) -> u64 {
    let program = program(&sim.params);
    let batch = sim.batch(vec![(!sim.chain.origins.is_empty(), vec![wallet.delegate(list)])]);
    let log = sim.mine_batch(&batch);
    assert!(log[1].contains(": 1 transactions"), "{log:?}");
    let record = &sim.records[sim.records.len() - log.len() + 1];
    let machine = run_unit(&program, record);
    assert_eq!(machine.status(), Status::Halted { exit_code: 0 });
    assert_eq!(machine.output(), record.after);
    machine.stopped_at().unwrap()
}

/// Whether an account has taken over the code.
fn delegated(sim: &Simulation, address: Address) -> bool {
    let account = sim.state.account(address).unwrap();
    account.is_some_and(|account| account.code_hash != alloy_primitives::KECCAK256_EMPTY)
}

#[test]
fn authorities_are_recovered_in_few_steps() {
    let mut wallet = Wallet::new(1);
    let mut sim = Simulation::new(&[wallet.address]);
    sim.mine(vec![]);
    let signers: Vec<Wallet> = (10..21).map(Wallet::new).collect();
    let authorize = |signer: &Wallet, nonce| signer.authorize(CODE, nonce);
    let one = steps(&mut sim, &mut wallet, vec![authorize(&signers[0], 0)]);
    let many = signers.iter().enumerate();
    let many = many
        .map(|(i, signer)| authorize(signer, u64::from(i == 0)))
        .collect();
    let many = steps(&mut sim, &mut wallet, many);
    let each = (many - one) / 10;
    println!("{each} steps an authorization");
    assert!(each < MAX_STEPS, "{each}");
    assert!(signers.iter().all(|signer| delegated(&sim, signer.address)));
}

#[test]
fn invalid_authorizations_are_passed_over() {
    let mut wallet = Wallet::new(1);
    let mut sim = Simulation::new(&[wallet.address]);
    sim.mine(vec![]);
    let signers: Vec<Wallet> = (10..15).map(Wallet::new).collect();
    let good: Vec<SignedAuthorization> = signers.iter().map(|signer| signer.authorize(CODE, 0)).collect();
    let order = "0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
    let order: U256 = order.parse().unwrap();
    let with = |of: &SignedAuthorization, parity, r, s| {
        SignedAuthorization::new_unchecked(of.inner().clone(), parity, r, s)
    };
    let list = vec![
        // The same signature with a high s, a parity of 2, no r, an r that is no point's, another nonce: none counts.
        with(&good[0], 1 - good[0].y_parity(), good[0].r(), order - good[0].s()),
        with(&good[1], 2, good[1].r(), good[1].s()),
        with(&good[2], good[2].y_parity(), U256::ZERO, good[2].s()),
        with(&good[2], 0, U256::from(5), good[2].s()),
        signers[3].authorize(CODE, 1),
        good[4].clone(),
    ];
    steps(&mut sim, &mut wallet, list);
    let found: Vec<bool> = signers
        .iter()
        .map(|signer| delegated(&sim, signer.address))
        .collect();
    assert_eq!(found, [false, false, false, false, true]);
}
