//! Batches posted by hand: what a sequencer that breaks the rules, or its own software, could put on Bitcoin.

use bitcoin::{Amount, FeeRate, Network as BitcoinNetwork, OutPoint, Transaction, Txid};
use bitsect_l1::BlockRef;
use bitsect_l1::regtest::Bitcoind;
use bitsect_node::poster::{BATON_VALUE, Baton, Builder};
use bitsect_node::purse::Purse;

use crate::Network;

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
