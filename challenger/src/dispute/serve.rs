//! The task that follows slots, and moves in them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::Network;
use bitsect_bridge::chain::{Chain, Runner};
use bitsect_bridge::daemon::{
    Challenger, Core, CoreConfig, Daemon, FeeOutputs, Knowledge, Party, Shown, Watcher,
};
use bitsect_bridge::slot::Hand;
use bitsect_l1::carrier::CarrierConfig;
use bitsect_l1::follower::FollowerConfig;
use bitsect_l1::rpc::Client;
use bitsect_l1::wallet::Wallet;
use bitsect_l1::{BlockRef, FaultClass};
use bitsect_node::engine::EngineStatus;
use eyre::WrapErr;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::{Deployed, Side};

/// The fee wallet's file.
const WALLET_FILE: &str = "wallet.redb";
/// The pause between two questions to a Bitcoin Core that is not there.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What the task starts from.
pub(crate) struct Start {
    /// What is done about false claims.
    pub side: Side,
    /// The slots.
    pub deployed: Arc<Deployed>,
    /// The true chain.
    pub chain: Arc<dyn Chain>,
    /// What runs units.
    pub runner: Runner,
    /// How far the chain is derived.
    pub engine: watch::Receiver<EngineStatus>,
    /// Bitcoin Core.
    pub client: Client,
    /// How it is followed.
    pub follower: FollowerConfig,
    /// How transactions are carried.
    pub carrier: CarrierConfig,
    /// Outputs that pay for moves.
    pub fees: FeeOutputs,
    /// The network.
    pub network: Network,
    /// The folder of the files.
    pub folder: PathBuf,
    /// Where the slots are shown.
    pub shown: watch::Sender<Shown>,
}

impl Start {
    /// Runs until `stop`.
    ///
    /// # Errors
    /// A fault that a person has to look at.
    pub async fn run(self, stop: CancellationToken) -> eyre::Result<()> {
        let start = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            start = start_block(&self.client, self.deployed.start_height) => start?,
        };
        let folder = &self.folder;
        let failed = || format!("failed to use the folder {}", folder.display());
        std::fs::create_dir_all(folder).wrap_err_with(failed)?;
        let config = CoreConfig {
            client: self.client.clone(),
            follower: self.follower.clone(),
            carrier: self.carrier,
            start,
        };
        let (hash, slots) = (self.deployed.hash, self.deployed.slots.clone());
        match &self.side {
            Side::Watch => {
                let (core, _) =
                    Core::open_without_funds(folder, config, hash, slots).wrap_err_with(failed)?;
                self.serve(core, Watcher, stop).await
            }
            Side::DryRun(hands) => {
                let (core, store) =
                    Core::open_without_funds(folder, config, hash, slots).wrap_err_with(failed)?;
                let hand = Hand::new(hands.seed.clone(), hands.key, store);
                let party = Challenger::new(hand, hash, hands.pairs.clone());
                self.serve(core, party, stop).await
            }
            Side::Run(hands) => {
                let path = folder.join(WALLET_FILE);
                let wallet = Wallet::open(&path, hands.wallet.clone(), self.network, start);
                let wallet = Arc::new(wallet.wrap_err("failed to open the fee wallet")?);
                let address = wallet
                    .receive_address()
                    .wrap_err("failed to open the fee wallet")?;
                tracing::info!(%address, "the wallet that pays for moves");
                let (core, store) = Core::open(folder, config, hash, slots, wallet).wrap_err_with(failed)?;
                let hand = Hand::new(hands.seed.clone(), hands.key, store);
                let party = Challenger::new(hand, hash, hands.pairs.clone());
                self.serve(core, party, stop).await
            }
        }
    }

    async fn serve<P: Party>(&self, core: Core, party: P, stop: CancellationToken) -> eyre::Result<()> {
        let slots = self.deployed.slots.iter();
        let knowledge =
            slots.map(|slot| Knowledge::new(self.chain.clone(), self.runner.clone(), slot.start_unit));
        let nudged = nudge(self.engine.clone(), core.nudge());
        let mut daemon = Daemon {
            party,
            core,
            knowledge: knowledge.collect(),
            fees: self.fees,
            shown: self.shown.clone(),
        };
        tokio::select! {
            () = nudged => Ok(()),
            done = daemon.run(&stop) => done.wrap_err("failed to go on with disputes"),
        }
    }
}

/// Asks Bitcoin Core for the block that the files begin behind; it may be away.
async fn start_block(client: &Client, height: u32) -> eyre::Result<BlockRef> {
    loop {
        match client.get_block_hash(height).await {
            Ok(Some(hash)) => return Ok(BlockRef::new(height, hash)),
            Ok(None) => tracing::warn!(
                height,
                "Bitcoin Core does not have the deployment's first block yet"
            ),
            Err(error) if error.class() == FaultClass::Retry => {
                tracing::warn!(%error, "waiting for Bitcoin Core");
            }
            Err(error) => return Err(error).wrap_err("failed to ask Bitcoin Core"),
        }
        tokio::time::sleep(RETRY_AFTER).await;
    }
}

/// Makes the daemon look again once the chain is derived up to another tip, until the engine is gone.
async fn nudge(mut engine: watch::Receiver<EngineStatus>, nudge: Arc<Notify>) {
    let mut last = None;
    loop {
        let (synced, hash) = {
            let status = engine.borrow_and_update();
            (status.l1_synced, status.l1_hash)
        };
        if synced && last != Some(hash) {
            last = Some(hash);
            nudge.notify_one();
        }
        if engine.changed().await.is_err() {
            return;
        }
    }
}
