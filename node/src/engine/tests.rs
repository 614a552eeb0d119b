//! The engine on Bitcoin blocks that are mined here, without a sequencer: what it says of the bridge.

use std::sync::Arc;

use alloy_primitives::{Address, B256, b256};
use bitcoin::absolute::LockTime;
use bitcoin::blockdata::block::{Header as BlockHeader, Version};
use bitcoin::hashes::Hash;
use bitcoin::{Amount, OutPoint, ScriptBuf, Sequence, TxIn, TxOut, Witness};
use bitsect_vm::derive::{DepositTag, vault_script, vault_spend_script};
use tokio::sync::broadcast;

use super::{BridgeStatus, Engine, EngineConfig, EngineHandle, L1Event};
use crate::chain_file::ChainFile;
use crate::convert;
use crate::genesis::store_genesis;
use crate::invariant::Violation;
use crate::invariant::tests::world::{chain_file, user, wei};
use crate::store::{Store, StoreOptions};

const KEY: B256 = b256!("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798");
/// L1 blocks after which derivation makes the block that no sequencer made.
const WINDOW: u32 = 2;

fn output(sats: u64, script_pubkey: ScriptBuf) -> TxOut {
    TxOut {
        value: Amount::from_sat(sats),
        script_pubkey,
    }
}

/// A transaction whose inputs are spent by key path; `id` makes it differ.
fn spend(id: u32, inputs: &[OutPoint], outputs: Vec<TxOut>) -> bitcoin::Transaction {
    let input = |outpoint: &OutPoint| TxIn {
        previous_output: *outpoint,
        script_sig: ScriptBuf::new(),
        sequence: Sequence(id),
        witness: Witness::from_slice(&[[1; 64]]),
    };
    bitcoin::Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: LockTime::ZERO,
        input: inputs.iter().map(input).collect(),
        output: outputs,
    }
}

fn money(id: u32) -> OutPoint {
    OutPoint::new(bitcoin::Txid::from_byte_array([0x77; 32]), id)
}

/// Mines a block on another.
fn mine(parent: bitcoin::BlockHash, height: u32, transactions: Vec<bitcoin::Transaction>) -> bitcoin::Block {
    let mut coinbase = spend(height, &[OutPoint::null()], vec![output(0, ScriptBuf::new())]);
    coinbase.input[0].script_sig = vec![3, height as u8, 0, 0].into();
    coinbase.input[0].witness = Witness::from_slice(&[[0; 32]]);
    let mut block = bitcoin::Block {
        header: BlockHeader {
            version: Version::TWO,
            prev_blockhash: parent,
            merkle_root: bitcoin::TxMerkleNode::all_zeros(),
            time: 1_700_000_000 + 60 * height,
            bits: bitcoin::CompactTarget::from_consensus(0x207f_ffff),
            nonce: 0,
        },
        txdata: [vec![coinbase], transactions].concat(),
    };
    let root = block.witness_root().unwrap();
    let commitment = bitcoin::Block::compute_witness_commitment(&root, &[0; 32]);
    let mut script = vec![0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];
    script.extend(commitment.to_byte_array());
    block.txdata[0].output.push(output(0, script.into()));
    block.header.merkle_root = block.compute_merkle_root().unwrap();
    while block.header.validate_pow(block.header.target()).is_err() {
        block.header.nonce += 1;
    }
    block
}

struct Bitcoin {
    dir: tempfile::TempDir,
    file: ChainFile,
    engine: EngineHandle,
    tip: Vec<bitcoin::BlockHash>,
}

impl Bitcoin {
    fn start(dir: &tempfile::TempDir, file: &ChainFile) -> EngineHandle {
        let (identity, genesis) = store_genesis(file).unwrap();
        let options = || StoreOptions {
            cache_bytes: 1 << 20,
            on_repair: None,
        };
        let path = dir.path().join("chain.redb");
        let store = Store::open_or_create(&path, &identity, options, || genesis).unwrap();
        let config = EngineConfig {
            params: Arc::new(file.params.clone()),
            confirmations: 1,
            finality_depth: 100,
            sequencer: None,
        };
        Engine::spawn(config, store, None, broadcast::channel(16).0).unwrap()
    }

    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = chain_file(KEY, WINDOW);
        let engine = Self::start(&dir, &file);
        let tip = vec![convert::bitcoin_hash(&file.params.derive.genesis_l1.hash)];
        Self {
            dir,
            file,
            engine,
            tip,
        }
    }

    async fn restart(self) -> Self {
        let Self {
            dir,
            file,
            engine,
            tip,
        } = self;
        engine.stop().await;
        let engine = Self::start(&dir, &file);
        Self {
            dir,
            file,
            engine,
            tip,
        }
    }

    fn height(&self) -> u32 {
        99 + self.tip.len() as u32
    }

    async fn mine(&mut self, transactions: Vec<bitcoin::Transaction>) -> BridgeStatus {
        let height = self.height() + 1;
        let block = mine(self.tip[self.tip.len() - 1], height, transactions);
        let hash = block.block_hash();
        self.tip.push(hash);
        let event = L1Event::Connected {
            height,
            hash: convert::block_hash(&hash),
            block: bitcoin::consensus::serialize(&block),
        };
        self.engine.l1(event).await.unwrap();
        self.status().await
    }

    /// Mines what brings L2 to all that was mined.
    async fn settle(&mut self) -> BridgeStatus {
        for _ in 0..WINDOW {
            self.mine(vec![]).await;
        }
        self.status().await
    }

    async fn disconnect(&mut self) -> BridgeStatus {
        let height = self.height();
        let hash = convert::block_hash(&self.tip.pop().unwrap());
        let event = L1Event::Disconnected { height, hash };
        self.engine.l1(event).await.unwrap();
        self.status().await
    }

    /// Gives the status, which the loop publishes behind its answer: the next command's answer is behind that.
    async fn status(&self) -> BridgeStatus {
        let height = self.height();
        self.engine.l1(L1Event::Synced { height }).await.unwrap();
        self.engine.status().bridge
    }

    fn vault(&self) -> ScriptBuf {
        vault_script(&self.file.params.derive).unwrap().into()
    }

    /// Mines a deposit and its accept; gives the vault output.
    async fn deposit(&mut self, id: u32, to: Address, sats: u64) -> OutPoint {
        let tag = DepositTag {
            to,
            refund_key: KEY,
            call: None,
        };
        let script: ScriptBuf = tag.output_script(&self.file.params.derive).unwrap().into();
        let outputs = vec![output(sats, script), output(0, tag.script().into())];
        let deposit = spend(id, &[money(id)], outputs);
        let deposited = OutPoint::new(deposit.compute_txid(), 0);
        let accept = spend(id, &[deposited], vec![output(sats, self.vault())]);
        let accepted = OutPoint::new(accept.compute_txid(), 0);
        self.mine(vec![deposit]).await;
        self.mine(vec![accept]).await;
        accepted
    }
}

fn left(status: &BridgeStatus) -> Vec<OutPoint> {
    let outputs = status.recent.iter().filter_map(|violation| match violation {
        Violation::OutputLeft { outpoint, .. } => Some(convert::outpoint(outpoint)),
        _ => None,
    });
    outputs.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn deposits_and_tagged_spends_hold() {
    let mut l1 = Bitcoin::new();
    let first = l1.deposit(1, user(0), 50_000).await;
    let second = l1.deposit(2, user(1), 30_000).await;
    let status = l1.settle().await;
    assert_eq!((status.sums.vault, status.holds()), (80_000, true));
    assert_eq!(status.sums.supply - status.sums.genesis, wei(80_000));
    // Two outputs become one, which becomes one again: in the same block.
    let vault = l1.vault();
    let tag = || output(0, vault_spend_script().into());
    let merge = spend(3, &[first, second], vec![tag(), output(80_000, vault.clone())]);
    let merged = OutPoint::new(merge.compute_txid(), 1);
    let again = spend(4, &[merged], vec![output(80_000, vault.clone()), tag()]);
    l1.mine(vec![merge, again]).await;
    let status = l1.settle().await;
    assert_eq!((status.sums.vault, status.violations), (80_000, 0));
    assert!(status.holds());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_output_that_leaves_untagged_is_an_alarm() {
    let mut l1 = Bitcoin::new();
    let first = l1.deposit(1, user(0), 50_000).await;
    let second = l1.deposit(2, user(0), 40_000).await;
    // L2 has not come to the second accept yet, and Bitcoin's side is known already.
    assert_eq!(l1.status().await.sums.vault, 50_000);
    let theft = |of| spend(5, &[of], vec![output(1_000, ScriptBuf::new())]);
    let status = l1.mine(vec![theft(second)]).await;
    let by = convert::txid(&theft(second).compute_txid());
    let violation = Violation::OutputLeft {
        l1_height: l1.height(),
        outpoint: convert::chain_outpoint(&second),
        sats: 40_000,
        by,
    };
    assert_eq!(status.recent, [violation]);
    assert_eq!((status.violations, status.left, status.holds()), (1, 1, false));
    // The sums are right, and the engine goes on.
    let status = l1.settle().await;
    assert_eq!((status.sums.vault, status.broken.clone()), (90_000, None));
    assert_eq!((status.violations, status.left), (1, 1));
    // A restart says it again, to those who were not there.
    let mut l1 = l1.restart().await;
    let status = l1.status().await;
    assert_eq!(
        (left(&status), status.left, status.holds()),
        (vec![second], 1, false)
    );
    // Another branch of Bitcoin has no theft, then one of the other output.
    for _ in 0..=WINDOW {
        l1.disconnect().await;
    }
    let status = l1.status().await;
    assert_eq!((status.left, status.holds()), (0, true));
    let status = l1.mine(vec![theft(first)]).await;
    assert_eq!((status.left, left(&status)), (1, vec![second, first]));
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_take_from_the_vault_are_told_of_once_and_the_engine_goes_on() {
    let mut l1 = Bitcoin::new();
    let first = l1.deposit(1, user(0), 50_000).await;
    l1.settle().await;
    let vault = l1.vault();
    let outputs = vec![output(45_000, vault), output(0, vault_spend_script().into())];
    let take = spend(3, &[first], outputs);
    l1.mine(vec![take]).await;
    let status = l1.settle().await;
    let rules: Vec<&str> = status.recent.iter().map(Violation::rule).collect();
    assert_eq!(rules, ["vault-broken", "vault"]);
    // It stays wrong: no news.
    for _ in 0..3 {
        l1.mine(vec![]).await;
    }
    let status = l1.status().await;
    assert_eq!((status.violations, status.holds()), (2, false));
    assert_eq!(status.since(1), &status.recent[1..]);
    assert!(status.sums.block > 3, "blocks are made");
    let l1 = l1.restart().await;
    let status = l1.status().await;
    assert_eq!((status.violations, status.holds()), (1, false));
    assert_eq!(status.recent[0].rule(), "vault");
}
