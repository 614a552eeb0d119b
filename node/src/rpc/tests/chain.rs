//! A short chain in a real store.

use alloy_consensus::crypto::secp256k1::sign_message;
use alloy_consensus::transaction::SignerRecoverable;
use alloy_consensus::{SignableTransaction, TxEip1559};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, hex};
use bitsect_vm::chain::predeploys::FEE_VAULT;
use bitsect_vm::chain::{
    BlockAttributes, ChainParams, DeriveParams, ExecutionParams, GenesisConfig, L1Info, L1Network, OutPoint,
    Transaction, genesis_alloc, genesis_header,
};
use bitsect_vm::derive::L1Cursor;
use bitsect_vm::execute::{BlockExecutor, seal};
use bitsect_vm::state::{EMPTY, Node, NodePath, NodeReader, update};
use revm::primitives::hardfork::SpecId;

use crate::events::BlockRef;
use crate::store::{Genesis, Head, Identity, L1Ref, NewBlock, Store, StoreOptions};

pub(super) const CHAIN: u64 = 8_378;
pub(super) const GWEI: u128 = 1_000_000_000;

/// Init code of a contract that reverts with `Error("no")` when called without data, and otherwise logs its
/// data's first word as topic, stores it in slot 0, and returns it.
pub(super) const CONTRACT: &[u8] = &hex!(
    // Copies the 73 bytes after this and returns them.
    "604980600b6000396000f3"
    // Without data jump to the revert.
    "3615 601c 57"
    "600035 80 600055 80 60006000a1 600052 60206000f3 0000"
    "5b 62461bcd 60e51b 600052 6020 600452 6002 602452 616e6f 60f01b 604452 6064 6000 fd"
);

/// The chain under test.
pub(super) struct Chain {
    pub store: Store,
    pub params: ChainParams,
    pub dir: tempfile::TempDir,
}

/// An empty tree: nothing is ever read of it.
struct NoNodes;

#[derive(Debug, thiserror::Error)]
#[error("the empty tree has no nodes")]
struct NoNode;

impl NodeReader for NoNodes {
    type Error = NoNode;

    fn node(&self, _: &NodePath, _: &B256) -> Result<Node, NoNode> {
        Err(NoNode)
    }
}

pub(super) fn key(sender: u8) -> B256 {
    B256::repeat_byte(sender.saturating_add(1))
}

pub(super) fn sign(tx: TxEip1559, sender: u8) -> Transaction {
    let signature = sign_message(key(sender), tx.signature_hash()).unwrap();
    tx.into_signed(signature).into()
}

pub(super) fn address(sender: u8) -> Address {
    sign(TxEip1559::default(), sender).recover_signer().unwrap()
}

pub(super) fn transfer(sender: u8, nonce: u64) -> Transaction {
    sign(plain(nonce), sender)
}

pub(super) fn plain(nonce: u64) -> TxEip1559 {
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

pub(super) fn deploy(sender: u8, nonce: u64) -> Transaction {
    let input = Bytes::from_static(CONTRACT);
    sign(
        TxEip1559 {
            gas_limit: 1_000_000,
            to: TxKind::Create,
            value: U256::ZERO,
            input,
            ..plain(nonce)
        },
        sender,
    )
}

/// A call of the contract with one word.
pub(super) fn poke(sender: u8, nonce: u64, contract: Address, word: u64) -> Transaction {
    let input = Bytes::copy_from_slice(&U256::from(word).to_be_bytes::<32>());
    let to = TxKind::Call(contract);
    sign(
        TxEip1559 {
            gas_limit: 200_000,
            to,
            value: U256::ZERO,
            input,
            ..plain(nonce)
        },
        sender,
    )
}

pub(super) fn raw(tx: &Transaction) -> String {
    format!("0x{}", hex::encode(tx.encoded_2718()))
}

pub(super) fn origin(height: u32) -> L1Info {
    L1Info {
        height,
        hash: B256::repeat_byte(height as u8),
        merkle_root: B256::repeat_byte(0xaa),
        time: 1_700_000_000,
        median_time_past: 1_700_000_000,
        fee_rate: 5_000,
    }
}

fn params() -> ChainParams {
    ChainParams {
        execution: ExecutionParams {
            base_fee_recipient: Some(FEE_VAULT),
            l1_fee: true,
            min_timestamp_step: 0,
            gas_limit: Some(30_000_000),
            ..ExecutionParams::ethereum(CHAIN, SpecId::OSAKA)
        },
        derive: DeriveParams {
            network: L1Network::Regtest,
            genesis_l1: L1Cursor {
                hash: origin(1).hash,
                height: 1,
                work: U256::ZERO,
                times: vec![1_700_000_000],
                fee_rates: vec![5_000],
                bits: 0x207f_ffff,
                interval_start_time: 0,
                interval_start_bits: 0x207f_ffff,
                last_hard_bits: 0x207f_ffff,
            },
            baton: OutPoint::default(),
            vault_key: B256::ZERO,
            sequencing_window: 144,
            reveal_timeout: 10,
            refund_delay: 20,
            min_deposit: 1_000,
            max_drift: 3_600,
            max_batch_body: 1 << 20,
            forced_gas_limit: 5_000_000,
            claim_maturity: 6,
        },
    }
}

impl Chain {
    /// A chain with block 0, where senders 0 to 4 have a thousand coins each.
    pub fn new() -> Self {
        let config = GenesisConfig {
            origin: origin(1),
            timestamp: 1_700_000_000,
            gas_limit: 30_000_000,
            base_fee: 1_000_000_000,
            fee_vault_owner: Address::ZERO,
            balances: (0..5)
                .map(|n| (address(n), U256::from(10).pow(U256::from(21))))
                .collect(),
        };
        let changes = genesis_alloc(&config);
        let tree = update(EMPTY, &changes, &NoNodes).unwrap();
        let header = genesis_header(&config, tree.root);
        let hash = header.hash_slow();
        let block = NewBlock {
            header,
            hash,
            transactions: Vec::new(),
            senders: Vec::new(),
            receipts: Vec::new(),
            l1_fees: Vec::new(),
            changes,
            tree,
            l1_origin: L1Ref {
                height: 1,
                hash: origin(1).hash,
            },
            inbox_count: 0,
        };
        let genesis = Genesis {
            block,
            chain_state: B256::repeat_byte(1),
            encoded_chain_state: vec![1],
        };
        let identity = Identity {
            chain_id: CHAIN,
            genesis_hash: hash,
            params_hash: B256::ZERO,
        };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chain.redb");
        let store = Store::create(&path, &identity, &genesis, StoreOptions::default()).unwrap();
        Self {
            store,
            params: params(),
            dir,
        }
    }

    /// Executes and stores the next block; with an origin's height it is the first of that origin.
    pub fn block(&self, transactions: Vec<Transaction>, new_origin: Option<u32>) -> BlockRef {
        let snapshot = self.store.read().unwrap();
        let parent = snapshot
            .header(snapshot.head(Head::Latest).unwrap().number)
            .unwrap()
            .unwrap();
        let height = new_origin.unwrap_or(parent.l1_origin_height);
        let attributes = BlockAttributes {
            number: parent.header.number + 1,
            timestamp: parent.header.timestamp + 1,
            beneficiary: FEE_VAULT,
            gas_limit: 30_000_000,
            prev_randao: B256::repeat_byte(3),
            parent_beacon_block_root: origin(height).hash,
            extra_data: Bytes::new(),
            new_origin: new_origin.map(origin),
        };
        let state = snapshot.state_at(parent.header.number).unwrap();
        let mut executor =
            BlockExecutor::new(&self.params.execution, &parent.header, &attributes, state).unwrap();
        let mut senders = Vec::new();
        for tx in &transactions {
            senders.push(tx.recover_signer().unwrap());
            executor.transact(tx, senders[senders.len() - 1]).unwrap();
        }
        let outcome = executor.finish().unwrap();
        let old = snapshot.tree_at(parent.header.number).unwrap();
        let tree = update(old.root(), &outcome.changes, &old).unwrap();
        let header = seal(&parent.header, &attributes, &transactions, &outcome, tree.root);
        let hash = header.hash_slow();
        let inbox_count = transactions.iter().filter(|tx| tx.is_deposit()).count() as u32;
        let block = NewBlock {
            header,
            hash,
            transactions,
            senders,
            receipts: outcome.receipts,
            l1_fees: outcome.l1_fees,
            changes: outcome.changes,
            tree,
            l1_origin: L1Ref {
                height,
                hash: origin(height).hash,
            },
            inbox_count,
        };
        drop((old, snapshot));
        self.store
            .write::<_, crate::store::StoreError>(|writer| writer.append_block(&block))
            .unwrap();
        BlockRef {
            number: attributes.number,
            hash,
        }
    }
}
