//! Batches posted by hand: what a sequencer that breaks the rules, or its own software, could put on Bitcoin.

use alloy_eips::eip2718::Decodable2718;
use alloy_primitives::B256;
use bitcoin::{Amount, FeeRate, Network as BitcoinNetwork, OutPoint, Transaction, Txid};
use bitsect_l1::BlockRef;
use bitsect_l1::regtest::Bitcoind;
use bitsect_node::convert;
use bitsect_node::poster::{BATON_VALUE, Baton, Builder};
use bitsect_node::purse::Purse;
use bitsect_vm::chain::Transaction as L2Transaction;
use bitsect_vm::derive::payload::{Batch, BatchBlock, encode};
use serde_json::json;

use crate::{Network, Rpc, number};

/// The place of the baton in a commit.
const BATON_VOUT: u32 = 0;

/// The sequencer's key and coins, without a sequencer.
pub struct HandPoster {
    purse: Purse,
    builder: Builder,
    baton: Baton,
}

impl HandPoster {
    /// Takes over the key and the wallet of a network's sequencer, which must not run, and spends `baton` first.
    ///
    /// # Panics
    /// When the wallet cannot be opened.
    pub async fn new(network: &Network, baton: OutPoint) -> Self {
        let folder = network.dir().join("sequencer");
        let genesis = bitcoin::constants::genesis_block(BitcoinNetwork::Regtest).block_hash();
        let purse = Purse::open(
            network.core.client().clone(),
            BitcoinNetwork::Regtest,
            &folder,
            &folder.join("sequencer.key"),
            BlockRef::new(0, genesis),
        )
        .expect("the sequencer's wallet opens");
        purse.sync().await.expect("the wallet follows Bitcoin");
        let builder = Builder::new(purse.wallet().keys().key(0));
        let output = bitcoin::TxOut {
            value: BATON_VALUE,
            script_pubkey: builder.baton_script(),
        };
        let baton = Baton {
            outpoint: baton,
            output,
        };
        Self {
            purse,
            builder,
            baton,
        }
    }

    /// Spends the baton in a commit to a payload, and mines it. The reveals are left out.
    ///
    /// # Panics
    /// When Bitcoin Core refuses it.
    pub async fn commit(&mut self, core: &Bitcoind, payload: &[u8]) -> Transaction {
        self.purse.sync().await.expect("the wallet follows Bitcoin");
        let wallet = self.purse.wallet();
        let commit = self
            .builder
            .commit(wallet, &self.baton, payload, rate(), &[], Amount::ZERO)
            .expect("the commit is built")
            .tx;
        send_and_mine(core, &commit).await;
        self.baton.outpoint = OutPoint::new(commit.compute_txid(), BATON_VOUT);
        commit
    }

    /// Reveals one frame of a payload, and mines it.
    ///
    /// # Panics
    /// When Bitcoin Core refuses it.
    pub async fn reveal(&self, core: &Bitcoind, commit: &Transaction, payload: &[u8], index: usize) {
        let back = self.purse.wallet().receive_address().expect("an address");
        let reveal = self
            .builder
            .reveal(
                commit,
                payload,
                index,
                &back.script_pubkey(),
                rate(),
                Amount::ZERO,
            )
            .expect("the reveal is built");
        send_and_mine(core, &reveal.tx).await;
    }

    /// Posts a whole payload: the commit, then its reveals. Gives the commit's id.
    ///
    /// # Panics
    /// When Bitcoin Core refuses something.
    pub async fn post(&mut self, core: &Bitcoind, payload: &[u8]) -> Txid {
        let commit = self.commit(core, payload).await;
        let count = Builder::reveal_count(payload).expect("a payload of frames");
        for index in 0..count {
            self.reveal(core, &commit, payload, index).await;
        }
        commit.compute_txid()
    }
}

fn rate() -> FeeRate {
    FeeRate::from_sat_per_vb_u32(2)
}

async fn send_and_mine(core: &Bitcoind, tx: &Transaction) {
    core.client()
        .send_raw_transaction(tx)
        .await
        .expect("Bitcoin Core takes it");
    core.mine(1).await.expect("a block is mined");
}

/// Makes a batch on a node's safe block, with the same origin: a block for each list of transactions.
///
/// # Panics
/// When the node or Bitcoin Core does not answer, or a transaction is none.
pub async fn batch_on(network: &Network, rpc: &Rpc, blocks: &[Vec<Vec<u8>>]) -> Batch {
    let tip = rpc.get("eth_getBlockByNumber", json!(["safe", false])).await;
    let origin = rpc
        .get("rollup_l1OriginOf", json!([number(&tip["number"])]))
        .await;
    let height = u32::try_from(origin["height"].as_u64().expect("a height")).expect("a height");
    let client = network.core.client();
    let hash = client.get_block_hash(height).await.expect("Bitcoin Core answers");
    let timestamp = number(&tip["timestamp"]);
    let decode = |raw: &Vec<u8>| L2Transaction::decode_2718(&mut raw.as_slice()).expect("a transaction");
    Batch {
        first_block: number(&tip["number"]) + 1,
        parent_hash: tip["hash"].as_str().expect("a hash").parse().expect("a hash"),
        first_origin: height,
        last_origin_hash: convert::block_hash(&hash.expect("the origin is in the chain")),
        blocks: blocks
            .iter()
            .map(|transactions| BatchBlock {
                timestamp,
                advances_origin: false,
                transactions: transactions.iter().map(decode).collect(),
            })
            .collect(),
    }
}

/// Payloads made of a valid batch that derive to nothing: no payload, one cut off, one on another parent, one at another
/// number, one of another L1 chain.
///
/// # Panics
/// When the batch is none.
pub fn underivable(valid: &Batch) -> Vec<Vec<u8>> {
    let mut cut_off = encode(valid).expect("a valid batch");
    cut_off.pop();
    let (mut elsewhere, mut later, mut reorged) = (valid.clone(), valid.clone(), valid.clone());
    elsewhere.parent_hash = B256::repeat_byte(1);
    later.first_block += 1;
    reorged.last_origin_hash = B256::repeat_byte(2);
    let others = [elsewhere, later, reorged].map(|batch| encode(&batch).expect("a batch"));
    [vec![0xff; 100], cut_off].into_iter().chain(others).collect()
}
