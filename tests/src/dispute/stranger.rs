//! Somebody who is in the way: fills blocks at a high rate, and puts children of its own on the anchors of moves.

use std::collections::BTreeSet;
use std::path::Path;

use bitcoin::script::PushBytesBuf;
use bitcoin::transaction::Version;
use bitcoin::{Amount, FeeRate, OutPoint, ScriptBuf, Transaction, TxOut, Txid};
use bitsect_bridge::setup::sync;
use bitsect_l1::follower::FollowerConfig;
use bitsect_l1::regtest::Bitcoind;
use bitsect_l1::rpc::Client;
use bitsect_l1::wallet::{Foreign, Funding, Wallet};
use bitsect_node::purse::Purse;

use super::ground::wallet;

/// Ten of what fills blocks leave room for less than a move and its child in a block of 998,000 vB.
const FILLING_VB: usize = 99_770;
/// What such a transaction takes beside its data.
const FRAME_VB: usize = 130;
/// Transactions that fill a block.
const PER_BLOCK: usize = 10;
/// Data that makes a child on an anchor nearly as large as one may be (BIP-0431).
const PINNING_BYTES: usize = 800;
/// What Bitcoin Core says of a replacement that leaves miners with less for what they include.
const NO_BETTER: &str = "does not improve feerate diagram";
/// What each of its coins holds.
const COIN: Amount = Amount::from_sat(2_000_000);
/// Coins that one transaction pays.
const COINS_AT_ONCE: usize = 250;

/// The stranger.
#[derive(Debug)]
pub struct Stranger {
    wallet: Wallet,
    coins: Vec<OutPoint>,
    /// Moves on whose anchor it has tried a child of its own.
    tried: BTreeSet<Txid>,
}

impl Stranger {
    /// Makes one with so many coins, and mines them.
    ///
    /// # Panics
    /// When anything fails.
    pub async fn new(core: &Bitcoind, purse: &Purse, folder: &Path, count: usize) -> Self {
        let wallet = wallet(folder, core.tip().await.expect("a tip"));
        let address = wallet.receive_address().expect("an address");
        let mut coins = Vec::new();
        while coins.len() < count {
            let output = TxOut {
                value: COIN,
                script_pubkey: address.script_pubkey(),
            };
            let outputs = vec![output; (count - coins.len()).min(COINS_AT_ONCE)];
            let len = outputs.len() as u32;
            let paid = purse
                .pay(outputs, vec![], |_| Ok(()))
                .await
                .expect("coins are paid");
            core.mine(1).await.expect("a block is mined");
            purse.sync().await.expect("the wallet reads the chain");
            let txid = paid.compute_txid();
            coins.extend((0..len).map(|vout| OutPoint::new(txid, vout)));
        }
        let stranger = Self {
            wallet,
            coins,
            tried: BTreeSet::new(),
        };
        stranger.follow(core).await;
        stranger
    }

    async fn follow(&self, core: &Bitcoind) {
        let followed = sync(core.client().clone(), FollowerConfig::default(), &self.wallet);
        followed.await.expect("the wallet reads the chain");
    }

    /// Coins that it has left.
    pub const fn coins(&self) -> usize {
        self.coins.len()
    }

    /// Makes the mempool hold what fills so many blocks, each of its transactions at a rate, sat per vB.
    ///
    /// # Panics
    /// When it has no coins left.
    pub async fn jam(&mut self, core: &Bitcoind, blocks: usize, rate: u64) {
        // Moves are a few among them.
        let there = core
            .client()
            .get_mempool_info()
            .await
            .expect("Bitcoin Core answers")
            .size;
        for _ in there..(blocks * PER_BLOCK) as u64 {
            let coin = self.coins.pop().expect("the stranger has coins");
            let mut request = Funding::new(FeeRate::ZERO, vec![data(FILLING_VB - FRAME_VB)]);
            request.coins = vec![coin];
            let fee = Amount::from_sat(rate * FILLING_VB as u64);
            let transaction = self.signed(&request, fee);
            let sent = core.client().send_raw_transaction(&transaction).await;
            sent.expect("it is standard");
        }
    }

    /// Tries once on the anchor of each move a large child that pays little more than the one that is there: where Bitcoin Core
    /// took it, the move would have to outbid it. Gives how many anchors it has tried.
    ///
    /// # Panics
    /// When Bitcoin Core refuses a child for another reason than that it is worse for miners.
    pub async fn pin(&mut self, core: &Bitcoind) -> usize {
        let client = core.client();
        for txid in client.get_raw_mempool().await.expect("Bitcoin Core answers") {
            let parent = client
                .get_raw_transaction(&txid)
                .await
                .expect("Bitcoin Core answers");
            let Some(parent) = parent.filter(|_| !self.tried.contains(&txid)) else {
                continue;
            };
            let anchor = ScriptBuf::new_p2a();
            let mut outputs = (0_u32..).zip(&parent.output);
            let Some((vout, output)) = outputs.find(|(_, output)| output.script_pubkey == anchor) else {
                continue;
            };
            let anchor = OutPoint::new(txid, vout);
            let spending = client.get_tx_spending_prevout(&[anchor]).await;
            let spending = spending.expect("Bitcoin Core answers").remove(0).spending_txid;
            let Some(child) = spending else { continue };
            let entry = client
                .get_mempool_entry(&child)
                .await
                .expect("Bitcoin Core answers");
            let Some(entry) = entry else { continue };
            let foreign = Foreign::anchor(anchor, output.value);
            self.replace(client, (parent.version, foreign), entry.fees.base)
                .await;
            self.tried.insert(txid);
        }
        self.tried.len()
    }

    async fn replace(&mut self, client: &Client, (version, anchor): (Version, Foreign), fee: Amount) {
        let mut request = Funding::new(FeeRate::ZERO, vec![data(PINNING_BYTES)]);
        request.version = version;
        request.foreign = vec![anchor];
        request.coins = vec![*self.coins.last().expect("the stranger has coins")];
        // A replacement pays for itself at the least rate that is relayed, beside what it replaces (BIP-0125).
        let child = self.signed(&request, fee + Amount::from_sat(1_000));
        match client.send_raw_transaction(&child).await {
            Ok(_) => drop(self.coins.pop()),
            Err(error) => {
                let message = error.rpc().map(|(_, message)| message).unwrap_or_default();
                assert!(message.contains(NO_BETTER), "{error}");
            }
        }
    }

    fn signed(&self, request: &Funding, fee: Amount) -> Transaction {
        let funded = self.wallet.fund_exactly(request, fee).expect("a coin is enough");
        self.wallet.finish(funded).expect("it is signed").tx
    }
}

fn data(bytes: usize) -> TxOut {
    let data = PushBytesBuf::try_from(vec![9; bytes]).expect("short enough");
    TxOut {
        value: Amount::ZERO,
        script_pubkey: ScriptBuf::new_op_return(data),
    }
}
