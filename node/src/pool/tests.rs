//! The pool: refusals in Geth's words, order, replacement, limits, and what survives a crash.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use alloy_consensus::crypto::secp256k1::sign_message;
use alloy_consensus::{SignableTransaction, TxEip1559, TxEip2930, TxEip7702, TxLegacy};
use alloy_eips::eip2718::Encodable2718;
use alloy_eips::eip7702::{Authorization, SignedAuthorization};
use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, Signature, TxHash, TxKind, U256};
use bitsect_vm::chain::Transaction;
use bitsect_vm::state::{Account, AccountChange, StateChanges};
use parking_lot::Mutex;
use proptest::prelude::*;
use revm::primitives::hardfork::SpecId;

use super::index::{Arrival, Cause, Index};
use super::journal::Journal;
use super::{Pool, PoolConfig, PoolError, PoolState, transaction};

const CHAIN: u64 = 8_378;
const GWEI: u128 = 1_000_000_000;
const ETHER: u64 = 1_000_000_000_000_000_000;

fn config() -> PoolConfig {
    PoolConfig::new(CHAIN, SpecId::OSAKA, 30_000_000)
}

fn key(sender: u8) -> B256 {
    B256::repeat_byte(sender.saturating_add(1))
}

fn signed<T: SignableTransaction<Signature>>(tx: T, sender: u8) -> Transaction
where
    Transaction: From<alloy_consensus::Signed<T>>,
{
    let signature = sign_message(key(sender), tx.signature_hash()).unwrap();
    tx.into_signed(signature).into()
}

fn base(nonce: u64) -> TxEip1559 {
    TxEip1559 {
        chain_id: CHAIN,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: 10 * GWEI,
        max_priority_fee_per_gas: GWEI,
        to: TxKind::Call(Address::repeat_byte(9)),
        value: U256::from(1),
        ..TxEip1559::default()
    }
}

fn raw(tx: &Transaction) -> Bytes {
    tx.encoded_2718().into()
}

fn transfer(sender: u8, nonce: u64) -> Bytes {
    raw(&signed(base(nonce), sender))
}

fn address(sender: u8) -> Address {
    let tx = signed(base(0), sender);
    alloy_consensus::transaction::SignerRecoverable::recover_signer(&tx).unwrap()
}

/// A state in memory; everybody has one ether unless said otherwise.
#[derive(Default)]
struct State {
    accounts: Mutex<HashMap<Address, Account>>,
    l1_fee: Mutex<U256>,
}

fn account(nonce: u64, balance: U256) -> Account {
    Account {
        nonce,
        balance,
        code_hash: KECCAK256_EMPTY,
        code_size: 0,
    }
}

impl PoolState for State {
    fn account(&self, address: Address) -> Result<Option<Account>, String> {
        let found = self.accounts.lock().get(&address).copied();
        Ok(Some(found.unwrap_or_else(|| account(0, U256::from(ETHER)))))
    }

    fn l1_fee(&self, _: &Transaction) -> U256 {
        *self.l1_fee.lock()
    }

    fn refresh(&self) {}
}

struct Setup {
    dir: tempfile::TempDir,
    state: Arc<State>,
}

impl Setup {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            state: Arc::default(),
        }
    }

    fn journal(&self) -> PathBuf {
        self.dir.path().join("mempool.log")
    }

    fn open(&self, config: PoolConfig) -> Pool {
        Pool::new(config, &self.journal(), self.state.clone()).unwrap()
    }
}

fn changes(address: Address, nonce: u64, balance: U256) -> StateChanges {
    let change = AccountChange {
        after: Some(account(nonce, balance)),
        ..AccountChange::default()
    };
    StateChanges {
        accounts: BTreeMap::from([(address, change)]),
    }
}

async fn refusal(pool: &Pool, raw: Bytes) -> String {
    pool.add(raw).await.unwrap_err().to_string()
}

#[tokio::test]
async fn refuses_in_geths_words() {
    let setup = Setup::new();
    let pool = setup.open(config());
    let odd = |change: fn(&mut TxEip1559)| {
        let mut tx = base(0);
        change(&mut tx);
        raw(&signed(tx, 1))
    };
    let mut trailing = transfer(1, 0).to_vec();
    trailing.push(0);
    let legacy = TxLegacy {
        gas_limit: 21_000,
        gas_price: GWEI,
        to: TxKind::Call(Address::ZERO),
        ..Default::default()
    };
    let authorization = Authorization {
        chain_id: U256::ZERO,
        address: Address::ZERO,
        nonce: 0,
    };
    let cases: Vec<(Bytes, &str)> = vec![
        (Bytes::new(), "typed transaction too short"),
        (Bytes::from_static(&[0xc0]), "rlp: "),
        (
            Bytes::from_static(&[0x03, 0xc0]),
            "transaction type not supported",
        ),
        (
            Bytes::from_static(&[0x7e, 0xc0]),
            "transaction type not supported",
        ),
        (
            Bytes::from_static(&[0x7d, 0xc0]),
            "transaction type not supported",
        ),
        (
            Bytes::from_static(&[0x00, 0xc0]),
            "transaction type not supported",
        ),
        (trailing.into(), "rlp: "),
        (
            vec![2; 128 * 1024 + 1].into(),
            "oversized data: transaction size 131073, limit 131072",
        ),
        (
            odd(|tx| tx.chain_id = 1),
            "invalid sender: invalid chain id for signer: have 1 want 8378",
        ),
        (
            raw(&signed(legacy, 1)),
            "only replay-protected (EIP-155) transactions allowed over RPC",
        ),
        (
            odd(|tx| tx.gas_limit = 20_999),
            "intrinsic gas too low: gas 20999, minimum needed 21000",
        ),
        (odd(|tx| tx.gas_limit = 30_000_001), "exceeds block gas limit"),
        (
            odd(|tx| tx.gas_limit = 16_777_217),
            "transaction gas limit too high (cap: 16777216, tx: 16777217)",
        ),
        (
            odd(|tx| {
                tx.input = vec![1; 1000].into();
                tx.gas_limit = 21_000 + 16 * 1000;
            }),
            "insufficient gas for floor data gas cost: gas 37000, minimum needed 61000",
        ),
        (
            odd(|tx| {
                tx.to = TxKind::Create;
                tx.gas_limit = 16_000_000;
                tx.input = vec![0; 49_153].into();
            }),
            "max initcode size exceeded: code size 49153, limit 49152",
        ),
        (
            odd(|tx| tx.max_priority_fee_per_gas = 11 * GWEI),
            "max priority fee per gas higher than max fee per gas",
        ),
        (odd(|tx| tx.nonce = u64::MAX), "nonce has max value"),
        (
            odd(|tx| tx.value = U256::from(ETHER)),
            "insufficient funds for gas * price + value: balance 1000000000000000000, tx cost 1000210000000000000, overshot 210000000000000",
        ),
        (
            raw(&signed(
                TxEip7702 {
                    chain_id: CHAIN,
                    gas_limit: 100_000,
                    max_fee_per_gas: GWEI,
                    ..Default::default()
                },
                1,
            )),
            "set code tx must have at least one authorization tuple",
        ),
    ];
    for (bytes, expected) in cases {
        let got = refusal(&pool, bytes).await;
        assert!(got.starts_with(expected), "expected {expected:?}, got {got:?}");
    }
    // Type 4 with one authorisation, type 1, and protected legacy are taken.
    let authorization = SignedAuthorization::new_unchecked(authorization, 0, U256::from(1), U256::from(1));
    let delegating = TxEip7702 {
        chain_id: CHAIN,
        gas_limit: 100_000,
        max_fee_per_gas: GWEI,
        authorization_list: vec![authorization],
        ..Default::default()
    };
    pool.add(raw(&signed(delegating, 2))).await.unwrap();
    let to = TxKind::Call(Address::ZERO);
    let listed = TxEip2930 {
        chain_id: CHAIN,
        gas_limit: 21_000,
        gas_price: GWEI,
        to,
        ..Default::default()
    };
    pool.add(raw(&signed(listed, 3))).await.unwrap();
    let legacy = TxLegacy {
        chain_id: Some(CHAIN),
        gas_limit: 21_000,
        gas_price: GWEI,
        to,
        ..Default::default()
    };
    pool.add(raw(&signed(legacy, 4))).await.unwrap();
    assert_eq!(pool.status().pending, 3);
}

#[tokio::test]
async fn refuses_the_other_half_of_signatures() {
    let setup = Setup::new();
    let pool = setup.open(config());
    let tx = base(0);
    let signature = sign_message(key(1), tx.signature_hash()).unwrap();
    let order = U256::from_str_radix(
        "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141",
        16,
    )
    .unwrap();
    let twin = Signature::new(signature.r(), order - signature.s(), !signature.v());
    let twin: Transaction = tx.into_signed(twin).into();
    assert_eq!(
        refusal(&pool, raw(&twin)).await,
        "invalid sender: invalid transaction v, r, s values"
    );
}

#[tokio::test]
async fn takes_unprotected_where_allowed() {
    let setup = Setup::new();
    let pool = setup.open(PoolConfig {
        allow_unprotected: true,
        ..config()
    });
    let legacy = TxLegacy {
        gas_limit: 21_000,
        gas_price: GWEI,
        to: TxKind::Call(Address::ZERO),
        ..Default::default()
    };
    pool.add(raw(&signed(legacy, 1))).await.unwrap();
}

#[tokio::test]
async fn refuses_code_holders_but_not_delegated_accounts() {
    let setup = Setup::new();
    let with_code = |size| Account {
        code_hash: B256::repeat_byte(1),
        code_size: size,
        ..account(0, U256::from(ETHER))
    };
    setup.state.accounts.lock().insert(address(1), with_code(24));
    setup.state.accounts.lock().insert(address(2), with_code(23));
    let pool = setup.open(config());
    assert!(
        refusal(&pool, transfer(1, 0))
            .await
            .starts_with("sender not an eoa: address 0x")
    );
    pool.add(transfer(2, 0)).await.unwrap();
}

#[tokio::test]
async fn counts_the_l1_fee_and_all_of_the_senders_costs() {
    let setup = Setup::new();
    let cost = U256::from(21_000 * 10 * GWEI + 1);
    setup
        .state
        .accounts
        .lock()
        .insert(address(1), account(0, cost * U256::from(2)));
    let pool = setup.open(config());
    *setup.state.l1_fee.lock() = cost + U256::from(1);
    assert!(
        refusal(&pool, transfer(1, 0))
            .await
            .starts_with("insufficient funds for gas * price + value: balance")
    );
    *setup.state.l1_fee.lock() = U256::ZERO;
    pool.add(transfer(1, 0)).await.unwrap();
    pool.add(transfer(1, 1)).await.unwrap();
    let text = refusal(&pool, transfer(1, 2)).await;
    assert!(
        text.contains(&format!(
            "queued cost {}, tx cost {cost}, overshot {cost}",
            cost * U256::from(2)
        )),
        "{text}"
    );
}

#[tokio::test]
async fn queues_gaps_and_yields_the_best_tip_in_nonce_order() {
    let setup = Setup::new();
    let pool = setup.open(config());
    let with_tip = |sender, nonce, tip| {
        raw(&signed(
            TxEip1559 {
                max_priority_fee_per_gas: tip,
                ..base(nonce)
            },
            sender,
        ))
    };
    pool.add(with_tip(1, 2, 9 * GWEI)).await.unwrap();
    assert_eq!((pool.status().pending, pool.status().queued), (0, 1));
    assert_eq!(pool.best(0).count(), 0);
    pool.add(with_tip(1, 0, GWEI)).await.unwrap();
    pool.add(with_tip(1, 1, 5 * GWEI)).await.unwrap();
    pool.add(with_tip(2, 0, 3 * GWEI)).await.unwrap();
    assert_eq!((pool.status().pending, pool.status().queued), (4, 0));
    let order: Vec<_> = pool.best(0).map(|tx| (tx.sender, tx.nonce())).collect();
    let (a, b) = (address(1), address(2));
    assert_eq!(order, [(b, 0), (a, 0), (a, 1), (a, 2)]);
    // Under a base fee above every cap nothing is executable.
    assert_eq!(pool.best(11_000_000_000).count(), 0);
    // A sender whose transaction failed is left out for the rest.
    let mut best = pool.best(0);
    assert_eq!(best.next().unwrap().sender, b);
    assert_eq!(best.next().unwrap().sender, a);
    best.skip_sender();
    assert!(best.next().is_none());
    assert_eq!(pool.next_nonce(&a), Some(3));
}

#[tokio::test]
async fn replaces_at_ten_percent_on_both_fees() {
    let setup = Setup::new();
    let pool = setup.open(config());
    let priced = |fee, tip| {
        raw(&signed(
            TxEip1559 {
                max_fee_per_gas: fee,
                max_priority_fee_per_gas: tip,
                ..base(0)
            },
            1,
        ))
    };
    let first = priced(100, 10);
    pool.add(first.clone()).await.unwrap();
    assert_eq!(pool.add(first).await, Err(PoolError::AlreadyKnown));
    for (fee, tip) in [(109, 11), (110, 10), (200, 10), (100, 11)] {
        assert_eq!(
            pool.add(priced(fee, tip)).await,
            Err(PoolError::ReplacementUnderpriced),
            "{fee} {tip}"
        );
    }
    let hash = pool.add(priced(110, 11)).await.unwrap();
    assert_eq!(pool.best(0).map(|tx| tx.hash).collect::<Vec<_>>(), [hash]);
    assert_eq!(pool.status().pending, 1);
}

#[tokio::test]
async fn limits_accounts_and_makes_room_for_better_prices() {
    let setup = Setup::new();
    let pool = setup.open(PoolConfig {
        max_transactions: 4,
        max_pending_per_account: 2,
        max_queued_per_account: 1,
        max_queued: 2,
        ..config()
    });
    pool.add(transfer(1, 0)).await.unwrap();
    pool.add(transfer(1, 1)).await.unwrap();
    assert_eq!(pool.add(transfer(1, 2)).await, Err(PoolError::AccountLimit));
    pool.add(transfer(2, 5)).await.unwrap();
    assert_eq!(pool.add(transfer(2, 7)).await, Err(PoolError::AccountLimit));
    pool.add(transfer(3, 5)).await.unwrap();
    assert_eq!(pool.add(transfer(4, 5)).await, Err(PoolError::Full));
    let same_price = pool.add(transfer(5, 0)).await;
    assert!(
        matches!(same_price, Err(PoolError::Underpriced { .. })),
        "{same_price:?}"
    );
    let better = signed(
        TxEip1559 {
            max_fee_per_gas: 11 * GWEI,
            ..base(0)
        },
        5,
    );
    pool.add(raw(&better)).await.unwrap();
    // The newest of the cheapest made room.
    assert_eq!((pool.status().pending, pool.status().queued), (3, 1));
    pool.shared.index.lock().check();
}

#[tokio::test]
async fn follows_blocks_and_reorgs() {
    let setup = Setup::new();
    let pool = setup.open(config());
    let sender = address(1);
    let mut hashes = Vec::new();
    for nonce in 0..4 {
        hashes.push(pool.add(transfer(1, nonce)).await.unwrap());
    }
    let first: Vec<_> = (0..2).map(|nonce| signed(base(nonce), 1)).collect();
    pool.on_block(&hashes[..2], &changes(sender, 2, U256::from(ETHER)));
    setup
        .state
        .accounts
        .lock()
        .insert(sender, account(2, U256::from(ETHER)));
    assert_eq!(pool.best(0).map(|tx| tx.nonce()).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(
        pool.add(transfer(1, 1)).await,
        Err(PoolError::NonceTooLow { expected: 2, got: 1 }),
        "nonce too low: next nonce 2, tx nonce 1"
    );
    // The block is reorganised away: its transactions are pending again, before the others.
    pool.preserve(&first).await.unwrap();
    setup
        .state
        .accounts
        .lock()
        .insert(sender, account(0, U256::from(ETHER)));
    let rolled_back = changes(sender, 0, U256::from(ETHER));
    assert_eq!(pool.on_rollback(rolled_back, &first).await, Ok(2));
    assert_eq!(
        pool.best(0).map(|tx| tx.nonce()).collect::<Vec<_>>(),
        [0, 1, 2, 3]
    );
    // What the sender can no longer pay goes.
    pool.on_block(&[], &changes(sender, 0, U256::ZERO));
    assert_eq!(pool.status(), super::PoolStatus::default());
    pool.shared.index.lock().check();
}

/// Blocks may hold more of a sender than the pool takes, and spend what only these blocks brought.
#[tokio::test]
async fn what_a_rollback_gives_back_is_never_refused() {
    let setup = Setup::new();
    let pool = setup.open(PoolConfig {
        max_transactions: 4,
        max_pending_per_account: 2,
        max_queued_per_account: 1,
        ..config()
    });
    let sender = address(1);
    let set_account = |nonce, balance| {
        let value = account(nonce, U256::from(balance));
        setup.state.accounts.lock().insert(sender, value);
    };
    set_account(8, ETHER);
    let waiting = pool.add(transfer(1, 8)).await.unwrap();
    let removed: Vec<_> = (0..8).map(|nonce| signed(base(nonce), 1)).collect();
    pool.preserve(&removed).await.unwrap();
    // Without the blocks the account has nothing: it was one of them that brought the money.
    set_account(0, 0);
    let rolled_back = changes(sender, 0, U256::ZERO);
    assert_eq!(pool.on_rollback(rolled_back, &removed).await, Ok(8));
    assert!(pool.get(&waiting).is_some());
    assert_eq!((pool.status().pending, pool.status().queued), (0, 9));
    assert_eq!(pool.best(0).count(), 0, "nothing can be paid for yet");
    // What waits for money survives a restart as well.
    let restarted = setup.open(config());
    assert_eq!(restarted.status(), pool.status());
    set_account(0, ETHER);
    pool.on_block(&[], &changes(sender, 0, U256::from(ETHER)));
    assert_eq!(
        pool.best(0).map(|tx| tx.nonce()).collect::<Vec<_>>(),
        (0..9).collect::<Vec<_>>()
    );
    pool.shared.index.lock().check();
}

#[tokio::test]
async fn tells_of_arrivals() {
    let setup = Setup::new();
    let pool = setup.open(config());
    let mut pending = pool.subscribe();
    let hash = pool.add(transfer(1, 0)).await.unwrap();
    pool.notified().await;
    assert_eq!(pending.recv().await.unwrap().hash, hash);
    // A gap is told to subscribers only.
    pool.add(transfer(2, 1)).await.unwrap();
    assert!(futures::FutureExt::now_or_never(pool.notified()).is_none());
}

#[tokio::test]
async fn acknowledged_transactions_survive_without_a_clean_stop() {
    let setup = Setup::new();
    let pool = setup.open(config());
    let mut hashes = Vec::new();
    for nonce in 0..20 {
        hashes.push(pool.add(transfer(1, nonce)).await.unwrap());
    }
    pool.preserve(&[signed(base(0), 2)]).await.unwrap();
    // The journal as a crash at this moment leaves it, and with an unfinished write at its end.
    let bytes = std::fs::read(setup.journal()).unwrap();
    for tail in [
        &[][..],
        &[7][..],
        &[200, 0, 0, 0, 1, 2, 3, 4, 5][..],
        &[0; 64][..],
    ] {
        let crashed = Setup::new();
        std::fs::write(crashed.journal(), [&bytes[..], tail].concat()).unwrap();
        // Two of them have been included since.
        crashed
            .state
            .accounts
            .lock()
            .insert(address(1), account(2, U256::from(ETHER)));
        let pool = crashed.open(config());
        let held: Vec<TxHash> = pool
            .content_from(&address(1))
            .pending
            .iter()
            .map(|tx| tx.hash)
            .collect();
        assert_eq!(held, hashes[2..]);
        assert_eq!(pool.content_from(&address(2)).pending.len(), 1);
    }
}

#[test]
fn refuses_a_journal_of_another_format() {
    let setup = Setup::new();
    std::fs::write(setup.journal(), b"BSMPOOL\x02rest").unwrap();
    let Err(error) = Pool::new(config(), &setup.journal(), setup.state.clone()) else {
        panic!("opened")
    };
    let text = error.to_string();
    assert!(
        text.contains("expected 42534d504f4f4c01, got 42534d504f4f4c02"),
        "{text}"
    );
}

#[test]
fn a_rewritten_journal_replaces_the_old_one_whole() {
    let setup = Setup::new();
    let (mut journal, _) = Journal::open(&setup.journal()).unwrap();
    journal.append([&b"one"[..], b"two"].into_iter()).unwrap();
    journal.rewrite([&b"two"[..]].into_iter()).unwrap();
    journal.append([&b"three"[..]].into_iter()).unwrap();
    let (journal, replay) = Journal::open(&setup.journal()).unwrap();
    assert_eq!(
        replay.transactions,
        [Bytes::from_static(b"two"), Bytes::from_static(b"three")]
    );
    assert_eq!(journal.len(), 8 + 8 + 3 + 8 + 5);
    // The documented bytes: magic, length, CRC-32, record.
    let bytes = std::fs::read(setup.journal()).unwrap();
    assert_eq!(
        hex::encode(&bytes[..19]),
        "42534d504f4f4c01".to_owned()
            + "03000000"
            + &hex::encode(crc32fast::hash(b"two").to_le_bytes())
            + "74776f"
    );
}

/// What a random run does.
#[derive(Clone, Debug)]
enum Step {
    Add {
        sender: u8,
        nonce: u64,
        fee: u128,
    },
    Return {
        sender: u8,
        nonce: u64,
        fee: u128,
    },
    State {
        sender: u8,
        nonce: u64,
        balance: u64,
        cause: Cause,
    },
    Discard {
        sender: u8,
        nonce: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let (sender, nonce) = (0..3u8, 0..6u64);
    prop_oneof![
        6 => (sender.clone(), nonce.clone(), 1..8u128).prop_map(|(sender, nonce, fee)| Step::Add { sender, nonce, fee }),
        1 => (sender.clone(), nonce.clone(), 1..8u128).prop_map(|(sender, nonce, fee)| Step::Return { sender, nonce, fee }),
        2 => (sender.clone(), nonce.clone(), 0..12u64, prop_oneof![Just(Cause::Block), Just(Cause::Rollback)])
            .prop_map(|(sender, nonce, balance, cause)| Step::State { sender, nonce, balance, cause }),
        1 => (sender, nonce).prop_map(|(sender, nonce)| Step::Discard { sender, nonce }),
    ]
}

/// Cheap made-up transactions: the index does not look at signatures.
fn made(sender: u8, nonce: u64, fee: u128) -> super::PoolTx {
    let tx = TxEip1559 {
        max_fee_per_gas: fee * 100,
        max_priority_fee_per_gas: fee * 100,
        ..base(nonce)
    };
    let bytes = [sender, nonce as u8, fee as u8];
    let signature = Signature::new(U256::from(1), U256::from(1), false);
    let hash = alloy_primitives::keccak256(bytes);
    let tx = alloy_consensus::Signed::new_unchecked(tx, signature, hash).into();
    super::PoolTx {
        tx,
        sender: Address::repeat_byte(sender),
        hash,
        cost: U256::from(1),
        size: 100,
        order: 0,
        arrived: std::time::Instant::now(),
    }
}

/// The same rules in the plainest words: a map of fees by sender and nonce.
#[derive(Default)]
struct Model {
    accounts: HashMap<u8, (u64, u64)>,
    txs: BTreeMap<(u8, u64), u128>,
}

impl Model {
    fn account(&self, sender: u8) -> (u64, u64) {
        self.accounts.get(&sender).copied().unwrap_or((0, 10))
    }

    fn add(&mut self, sender: u8, nonce: u64, fee: u128, arrival: Arrival) -> bool {
        let (next, balance) = self.account(sender);
        let others = self
            .txs
            .range((sender, 0)..=(sender, u64::MAX))
            .filter(|((_, n), _)| *n != nonce)
            .count();
        let old = self.txs.get(&(sender, nonce));
        let affordable = arrival == Arrival::Returned || (others as u64) < balance;
        let ok = nonce >= next && affordable && old.is_none_or(|old| fee * 10 >= old * 11);
        if ok {
            self.txs.insert((sender, nonce), fee);
        }
        ok
    }

    fn executable(&self) -> Vec<(u8, u64, u128)> {
        let mut all = Vec::new();
        for sender in 0..3 {
            let (mut nonce, balance) = self.account(sender);
            if balance == 0 {
                continue;
            }
            while let Some(fee) = self.txs.get(&(sender, nonce)) {
                all.push((sender, nonce, *fee));
                nonce += 1;
            }
        }
        all
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn index_agrees_with_the_model(steps in proptest::collection::vec(step(), 1..60)) {
        let index = Arc::new(Mutex::new(Index::new(config())));
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Add { sender, nonce, fee } => {
                    let (next, balance) = model.account(sender);
                    let known = account(next, U256::from(balance));
                    let done = index.lock().insert(made(sender, nonce, fee), Some(known), Arrival::Fresh).is_ok();
                    prop_assert_eq!(done, model.add(sender, nonce, fee, Arrival::Fresh));
                }
                Step::Return { sender, nonce, fee } => {
                    let (next, balance) = model.account(sender);
                    let known = account(next, U256::from(balance));
                    let done = index.lock().insert(made(sender, nonce, fee), Some(known), Arrival::Returned).is_ok();
                    prop_assert_eq!(done, model.add(sender, nonce, fee, Arrival::Returned));
                }
                Step::State { sender, nonce, balance, cause } => {
                    let before = model.account(sender).1;
                    model.accounts.insert(sender, (nonce, balance));
                    let spent = cause == Cause::Block && before >= 1 && balance == 0;
                    model.txs.retain(|(s, n), _| *s != sender || (*n >= nonce && !spent));
                    index.lock().update(Address::repeat_byte(sender), nonce, U256::from(balance), cause);
                }
                Step::Discard { sender, nonce } => {
                    if let Some(fee) = model.txs.remove(&(sender, nonce)) {
                        prop_assert!(index.lock().remove(&made(sender, nonce, fee).hash).is_some());
                    }
                }
            }
            index.lock().check();
            let best: Vec<_> = super::BestTransactions::new(index.clone(), 0)
                .map(|tx| (tx.sender[0], tx.nonce(), tx.fee_cap() / 100))
                .collect();
            let mut sorted = best.clone();
            sorted.sort_unstable();
            prop_assert_eq!(sorted, model.executable());
            // Best first: nothing that was ready to go was passed over for something worse.
            for (at, tx) in best.iter().enumerate() {
                for later in &best[at + 1..] {
                    let ready = later.0 != tx.0 && best[..at].iter().filter(|b| b.0 == later.0).count() as u64
                        == later.1 - model.account(later.0).0;
                    prop_assert!(!ready || later.2 <= tx.2);
                }
            }
        }
    }

    #[test]
    fn a_torn_journal_keeps_every_whole_record(
        records in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..200), 0..12),
        cut in any::<proptest::sample::Index>(),
        flip in proptest::option::of(any::<(proptest::sample::Index, u8)>()),
    ) {
        let setup = Setup::new();
        {
            let (mut journal, _) = Journal::open(&setup.journal()).unwrap();
            journal.append(records.iter().map(Vec::as_slice)).unwrap();
        }
        let mut bytes = std::fs::read(setup.journal()).unwrap();
        let keep = 8 + cut.index(bytes.len() - 7);
        bytes.truncate(keep);
        let mut damaged = usize::MAX;
        if let Some((at, mask)) = flip && bytes.len() > 8 && mask != 0 {
            damaged = 8 + at.index(bytes.len() - 8);
            bytes[damaged] ^= mask;
        }
        std::fs::write(setup.journal(), &bytes).unwrap();
        let (_, replay) = Journal::open(&setup.journal()).unwrap();
        let (mut end, mut whole) = (8, Vec::new());
        for record in &records {
            let start = end;
            end += 8 + record.len();
            if end > keep || (start..end).contains(&damaged) {
                break;
            }
            whole.push(Bytes::copy_from_slice(record));
        }
        prop_assert_eq!(replay.transactions, whole);
        // Opening cut the tail: a second opening finds nothing torn.
        prop_assert_eq!(Journal::open(&setup.journal()).unwrap().1.torn, 0);
    }

    #[test]
    fn no_bytes_make_the_checks_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), kind in 0..6u8) {
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = [1, 2, 4, 0xf8, 0xc0, *first][usize::from(kind)];
        }
        // Whatever the answer, there is one.
        drop(transaction::check(&bytes, &config(), |_| U256::ZERO));
    }
}
