//! The task that follows slots, and moves in them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::Network;
use bitsect_bridge::chain::{Chain, Runner};
use bitsect_bridge::committee::SignerError;
use bitsect_bridge::daemon::{
    Challenger, Core, CoreConfig, Daemon, FeeOutputs, Knowledge, Party, Shown, Watcher,
};
use bitsect_bridge::setup::{Section, sync};
use bitsect_bridge::slot::Hand;
use bitsect_bridge::user::Terms;
use bitsect_bridge::vault::{Keeper, Keeping, Signing, Turns};
use bitsect_l1::carrier::CarrierConfig;
use bitsect_l1::follower::FollowerConfig;
use bitsect_l1::rpc::Client;
use bitsect_l1::wallet::Wallet;
use bitsect_l1::{BlockRef, FaultClass};
use bitsect_node::engine::EngineStatus;
use eyre::WrapErr;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Committee, Deployed, Hands, Side};

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
    /// The height of a block before the fee wallet's first coin, where it is not the slots' start.
    pub wallet_start: Option<u32>,
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
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            served = self.open_and_serve(&stop) => served,
        }
    }

    async fn open_and_serve(&self, stop: &CancellationToken) -> eyre::Result<()> {
        let start = block_at(&self.client, self.deployed.start_height).await?;
        let mut config = CoreConfig {
            client: self.client.clone(),
            follower: self.follower.clone(),
            carrier: self.carrier,
            start,
            vault: None,
        };
        let (folder, hash, slots) = (&self.folder, self.deployed.hash, self.deployed.slots.clone());
        let failed = || format!("failed to use the folder {}", folder.display());
        let party = |hands: &Hands, store| {
            let hand = Hand::new(hands.seed.clone(), hands.key, store);
            Challenger::new(hand, hash, hands.pairs.clone())
        };
        match &self.side {
            Side::Watch => {
                let opened = Core::open_without_funds(folder, config, hash, slots);
                let (core, _) = opened.wrap_err_with(failed)?;
                self.serve(core, Watcher, stop).await
            }
            Side::DryRun(hands) => {
                let opened = Core::open_without_funds(folder, config, hash, slots);
                let (core, store) = opened.wrap_err_with(failed)?;
                self.serve(core, party(hands, store), stop).await
            }
            Side::Run(hands) => {
                let wallet = self.wallet(hands, start).await?;
                let committee = hands.committee.as_ref();
                let terms = committee.map(|committee| Terms::read(&committee.chain_file));
                config.vault = terms.transpose().wrap_err("failed to read the chain file")?;
                let opened = Core::open(folder, config, hash, slots, wallet);
                let (core, store) = opened.wrap_err_with(failed)?;
                let party = party(hands, store);
                let Some(committee) = committee else {
                    return self.serve(core, party, stop).await;
                };
                let (keeper, service) = self.sign(committee, &core, stop).await?;
                let keeper = Some(keeper);
                tokio::select! {
                    ended = service => ended?.wrap_err("failed to serve the committee"),
                    served = self.serve(core, Keeping { party, keeper }, stop) => served,
                }
            }
        }
    }

    /// Starts to sign for the vault with the other members.
    async fn sign(
        &self,
        committee: &Committee,
        core: &Core,
        stop: &CancellationToken,
    ) -> eyre::Result<(Keeper, JoinHandle<Result<(), SignerError>>)> {
        let listener = TcpListener::bind(committee.listen).await;
        let listener = listener
            .wrap_err_with(|| format!("failed to listen on {} (committee_listen)", committee.listen))?;
        let files = (
            committee.deployment.clone(),
            committee.keys.clone(),
            committee.store.clone(),
        );
        let started = Signing::start(files, listener, stop.child_token()).await;
        let Signing { signer, service } = started.wrap_err("failed to start the signing service")?;
        let member = committee.deployment.find(&committee.keys)?;
        let turns = Turns::of(&committee.deployment, member);
        let params = Section::of(&committee.deployment)?.vault;
        let when = (committee.confirmations, turns);
        Ok((
            Keeper::new(signer, core.slots().to_vec(), params, when, core.nudge()),
            service,
        ))
    }

    /// Opens the fee wallet, and brings it up to date: a new one may begin far below the slots.
    async fn wallet(&self, hands: &Hands, start: BlockRef) -> eyre::Result<Arc<Wallet>> {
        let birthday = match self.wallet_start {
            Some(height) => block_at(&self.client, height).await?,
            None => start,
        };
        let path = self.folder.join(WALLET_FILE);
        let wallet = Wallet::open(&path, hands.wallet.clone(), self.network, birthday);
        let wallet = wallet.wrap_err("failed to open the fee wallet")?;
        let address = wallet.receive_address();
        let address = address.wrap_err("failed to open the fee wallet")?;
        let synced = sync(self.client.clone(), self.follower.clone(), &wallet).await;
        synced.wrap_err("failed to bring the fee wallet up to date")?;
        tracing::info!(%address, spendable = %wallet.spendable(), "the wallet that pays for moves");
        Ok(Arc::new(wallet))
    }

    async fn serve<P: Party>(&self, core: Core, party: P, stop: &CancellationToken) -> eyre::Result<()> {
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
            done = daemon.run(stop) => done.wrap_err("failed to go on with disputes"),
        }
    }
}

/// Asks Bitcoin Core for the block that files begin behind; it may be away.
async fn block_at(client: &Client, height: u32) -> eyre::Result<BlockRef> {
    loop {
        match client.get_block_hash(height).await {
            Ok(Some(hash)) => return Ok(BlockRef::new(height, hash)),
            Ok(None) => tracing::warn!(height, "Bitcoin Core does not have the block yet"),
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
