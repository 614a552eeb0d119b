//! A chain of real blocks in a store, with what Bitcoin says given by hand.

use std::collections::BTreeMap;

use alloy_consensus::{SignableTransaction, TxEip1559};
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256, hex, keccak256};
use bitsect_vm::chain::bridge::{COUNTS_SLOT, output_id, vault_output_slot};
use bitsect_vm::chain::predeploys::{BRIDGE, FEE_VAULT};
use bitsect_vm::chain::{
    BlobRef, BlockAttributes, ChainParams, DeriveParams, ExecutionParams, GenesisConfig, L1Info, L1Network,
    OutPoint, SATS_TO_WEI, Transaction,
};
use bitsect_vm::derive::{AcceptedDeposit, BridgeRecord, InboxItem, L1Cursor, PlannedBlock};
use bitsect_vm::state::StateReader;
use bitsect_vm::step::{BlockBuilder, ExecutedBlock};
use revm::primitives::hardfork::SpecId;

use crate::chain_file::ChainFile;
use crate::engine::facts_at;
use crate::genesis::store_genesis;
use crate::invariant::{Sums, Violation, vault_broken, verify};
use crate::store::{Head, L1Ref, NewBlock, Store, StoreError, StoreOptions};

const TIME: u32 = 1_700_000_000;
/// A P2WPKH script.
pub(crate) const SCRIPT: [u8; 22] = hex!("00140102030405060708090a0b0c0d0e0f1011121314");
/// Users with money at genesis.
pub(crate) const USERS: u8 = 3;

pub(crate) fn user(id: u8) -> Address {
    Address::repeat_byte(0xa0 + id % USERS)
}

/// A chain whose L2 blocks do not wait: on regtest, from L1 block 100.
pub(crate) fn chain_file(vault_key: B256, sequencing_window: u32) -> ChainFile {
    let genesis_l1 = L1Cursor {
        hash: B256::repeat_byte(1),
        height: 100,
        work: U256::ZERO,
        times: vec![TIME],
        fee_rates: vec![1_000],
        bits: 0x207f_ffff,
        interval_start_time: TIME,
        interval_start_bits: 0x207f_ffff,
        last_hard_bits: 0x207f_ffff,
    };
    let genesis = GenesisConfig {
        origin: L1Info {
            height: 100,
            hash: genesis_l1.hash,
            merkle_root: B256::ZERO,
            time: TIME,
            median_time_past: TIME,
            fee_rate: 1_000,
        },
        timestamp: TIME.into(),
        gas_limit: 30_000_000,
        base_fee: 1_000_000,
        fee_vault_owner: Address::repeat_byte(0xfe),
        balances: (0..USERS)
            .map(|id| (user(id), U256::from(10).pow(U256::from(20))))
            .collect(),
    };
    let execution = ExecutionParams {
        chain_id: 8_333,
        spec: SpecId::OSAKA,
        base_fee_recipient: Some(FEE_VAULT),
        l1_fee: true,
        min_timestamp_step: 0,
        gas_limit: Some(30_000_000),
    };
    let derive = DeriveParams {
        network: L1Network::Regtest,
        genesis_l1,
        baton: OutPoint {
            txid: B256::repeat_byte(9),
            vout: 1,
        },
        vault_key,
        sequencing_window,
        reveal_timeout: 3,
        refund_delay: 200,
        min_deposit: 10_000,
        max_drift: 600,
        max_batch_body: 16_000_000,
        forced_gas_limit: 15_000_000,
        claim_maturity: 2,
    };
    ChainFile {
        name: "test".into(),
        params: ChainParams { execution, derive },
        genesis,
    }
}

/// What a user sends.
pub(crate) struct Call {
    pub(crate) from: Address,
    pub(crate) to: TxKind,
    pub(crate) wei: U256,
    pub(crate) input: Bytes,
}

/// The chain.
pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) store: Option<Store>,
    file: ChainFile,
    /// Makes everything differ.
    pub(crate) counter: u64,
}

fn options() -> StoreOptions {
    StoreOptions {
        cache_bytes: 1 << 20,
        on_repair: None,
    }
}

impl World {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = chain_file(B256::repeat_byte(3), 6);
        let (identity, genesis) = store_genesis(&file).unwrap();
        let store = Store::create(&dir.path().join("chain.redb"), &identity, &genesis, options()).unwrap();
        Self {
            dir,
            store: Some(store),
            file,
            counter: 0,
        }
    }

    pub(crate) fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    pub(crate) fn reopen(&mut self) {
        self.store = None;
        let (identity, _) = store_genesis(&self.file).unwrap();
        let store = Store::open(&self.dir.path().join("chain.redb"), &identity, options()).unwrap();
        self.store = Some(store);
    }

    pub(crate) fn latest(&self) -> u64 {
        self.store().read().unwrap().head(Head::Latest).unwrap().number
    }

    /// Reads a slot of `Bridge`.
    pub(crate) fn slot(&self, slot: U256) -> U256 {
        let state = self.store().read().unwrap().state_at(self.latest()).unwrap();
        state.storage(BRIDGE, slot).unwrap()
    }

    /// Gives the amount of a vault output, and whether it is assigned.
    pub(crate) fn vault_output(&self, output: &OutPoint) -> (u64, bool) {
        let value = self.slot(vault_output_slot(&output_id(output)));
        (value.wrapping_to(), value >> 64_usize != U256::ZERO)
    }

    /// How many withdrawals there are.
    pub(crate) fn withdrawals(&self) -> u64 {
        self.slot(COUNTS_SLOT).wrapping_to()
    }

    /// Gives what a payout of a withdrawal has to pay, in sats.
    pub(crate) fn asked(&self, id: u64) -> u64 {
        let key = [U256::from(id).to_be_bytes::<32>(), U256::ONE.to_be_bytes()].concat();
        let first: U256 = keccak256(key).into();
        let amount: u64 = (self.slot(first) >> 160_usize).wrapping_to();
        let fee: u64 = self.slot(first + U256::ONE).wrapping_to();
        amount.saturating_sub(fee)
    }

    /// Names a Bitcoin output that there was not before.
    pub(crate) fn outpoint(&mut self) -> OutPoint {
        self.counter += 1;
        OutPoint {
            txid: keccak256(self.counter.to_be_bytes()),
            vout: 0,
        }
    }

    /// Makes the deposit that puts an output into the vault.
    pub(crate) fn deposit(&mut self, to: Address, sats: u64) -> (OutPoint, Transaction) {
        let vault_output = self.outpoint();
        let item = InboxItem::Deposit(AcceptedDeposit {
            vault_output,
            to,
            sats,
            call: BlobRef::of(&[]),
        });
        let transaction = item.transaction(&vault_output.txid, &[]).unwrap();
        (vault_output, transaction)
    }

    pub(crate) fn record(&mut self, record: BridgeRecord) -> Transaction {
        let id = self.outpoint().txid;
        InboxItem::Record(record).transaction(&id, &[]).unwrap()
    }

    /// Executes and stores a block; gives how the transactions ended.
    pub(crate) fn block(&mut self, inbox: Vec<Transaction>, calls: Vec<Call>) -> Vec<bool> {
        let executed = self.execute(inbox, calls);
        let row = NewBlock {
            hash: executed.hash,
            transactions: executed.block.transactions,
            senders: executed.senders,
            receipts: executed.outcome.receipts,
            l1_fees: executed.outcome.l1_fees,
            changes: executed.outcome.changes,
            tree: executed.tree,
            l1_origin: L1Ref {
                height: executed.planned.origin_height,
                hash: executed.planned.attributes.parent_beacon_block_root,
            },
            inbox_count: executed.inbox_count,
            header: executed.block.header,
        };
        self.store()
            .write::<_, StoreError>(|writer| writer.append_block(&row))
            .unwrap();
        row.receipts
            .iter()
            .map(alloy_consensus::TxReceipt::status)
            .collect()
    }

    fn execute(&mut self, inbox: Vec<Transaction>, calls: Vec<Call>) -> ExecutedBlock {
        let snapshot = self.store().read().unwrap();
        let parent = snapshot.header(self.latest()).unwrap().unwrap();
        let height = parent.l1_origin_height + 1;
        let origin = L1Info {
            height,
            hash: keccak256(height.to_be_bytes()),
            ..self.file.genesis.origin
        };
        let attributes = BlockAttributes {
            number: parent.header.number + 1,
            timestamp: parent.header.timestamp + 1,
            beneficiary: FEE_VAULT,
            gas_limit: 30_000_000,
            prev_randao: B256::repeat_byte(3),
            parent_beacon_block_root: origin.hash,
            extra_data: Bytes::new(),
            new_origin: Some(origin),
        };
        let planned = PlannedBlock {
            attributes,
            inbox,
            inbox_after: Vec::new(),
            origin_height: height,
            origin_median_time: TIME,
        };
        let state = snapshot.state_at(parent.header.number).unwrap();
        let mut builder = BlockBuilder::new(&self.file.params, &parent.header, planned, &state).unwrap();
        let mut nonces: BTreeMap<Address, u64> = BTreeMap::new();
        for call in calls {
            self.counter += 1;
            let stored = || {
                state
                    .account(call.from)
                    .unwrap()
                    .map_or(0, |account| account.nonce)
            };
            let nonce = nonces.entry(call.from).or_insert_with(stored);
            let transaction = TxEip1559 {
                chain_id: 8_333,
                nonce: *nonce,
                // Nobody signs here, so that nothing else tells two users' transactions apart.
                gas_limit: 1_000_000 + self.counter,
                max_fee_per_gas: 10_000_000_000,
                max_priority_fee_per_gas: 1,
                to: call.to,
                value: call.wei,
                input: call.input,
                ..TxEip1559::default()
            };
            *nonce += 1;
            let signed = transaction.into_signed(Signature::test_signature());
            builder.push(Transaction::Eip1559(signed), call.from).unwrap();
        }
        builder
            .finish(&snapshot.tree_at(parent.header.number).unwrap())
            .unwrap()
    }

    /// Checks the sums after the latest block.
    pub(crate) fn verify(&self) -> Result<Sums, Violation> {
        verify(&facts_at(&self.store().read().unwrap(), self.latest()).unwrap())
    }

    /// Gives what `Bridge` says of the vault in the latest block.
    pub(crate) fn broken(&self) -> Vec<Violation> {
        let number = self.latest();
        let receipts = self.store().read().unwrap().receipts(number).unwrap().unwrap();
        let logs = receipts
            .iter()
            .flat_map(|stored| alloy_consensus::TxReceipt::logs(&stored.receipt));
        vault_broken(number, logs)
    }
}

/// Gives wei.
pub(crate) fn wei(sats: u64) -> U256 {
    U256::from(sats) * U256::from(SATS_TO_WEI)
}

/// A call of `Bridge.withdraw`.
pub(crate) fn withdraw(from: Address, sats: u64, fee: u64) -> Call {
    let mut input = keccak256("withdraw(bytes,uint64)")[..4].to_vec();
    for word in [64, fee, SCRIPT.len() as u64] {
        input.extend(U256::from(word).to_be_bytes::<32>());
    }
    input.extend(SCRIPT);
    input.extend([0; 10]);
    Call {
        from,
        to: TxKind::Call(BRIDGE),
        wei: wei(sats),
        input: input.into(),
    }
}

/// A creation whose contract destroys itself at once: to itself, which burns the value, or to another.
pub(crate) fn destroy(from: Address, to: Option<Address>, wei: U256) -> Call {
    let input = match to {
        None => hex!("30ff").to_vec(),
        Some(to) => [&[0x73], to.as_slice(), &[0xff]].concat(),
    };
    Call {
        from,
        to: TxKind::Create,
        wei,
        input: input.into(),
    }
}
