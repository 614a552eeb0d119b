//! A member's bonds and stakes: made by its wallet, in one transaction, once.
//!
//! The transaction is kept durably before it is sent, so after any crash the same one is sent again. Its id is contributed,
//! so it is never replaced: a child pays where its fee is too low.

use std::path::PathBuf;
use std::sync::Arc;

use bitcoin::{Address, Amount, OutPoint, Transaction, TxOut, Txid};
use bitsect_l1::follower::{Event, FollowError, Follower, FollowerConfig};
use bitsect_l1::rpc::{Client, RpcError};
use bitsect_l1::sender::{
    Draft, DraftTx, FeePolicy, Job, Rebuild, Report, Sender, SenderConfig, SenderError, Terms,
};
use bitsect_l1::wallet::{FundError as WalletFault, Funding, SignedTx, Wallet, WalletError};
use bitsect_l1::{BlockRef, FaultClass};
use tokio_util::sync::CancellationToken;

use super::builder::Wanted;
use super::outputs::{OutputStore, OutputStoreError};
use super::purse::{funding_address, open_wallet};
use crate::committee::{Digest, MemberKeys};

/// The sender's file in the member's folder.
const SENDS_FILE: &str = "sends.redb";

/// How outputs are made.
#[derive(Clone, Debug)]
pub struct FundConfig {
    /// Bitcoin Core.
    pub client: Client,
    /// How Bitcoin is followed.
    pub follower: FollowerConfig,
    /// The network.
    pub network: bitcoin::Network,
    /// The member's folder.
    pub folder: PathBuf,
    /// Which fee rate is paid.
    pub fees: FeePolicy,
    /// The highest fee of the transaction.
    pub max_fee: Amount,
    /// Confirmations that the transaction has before it is contributed, at least 1.
    pub confirmations: u32,
    /// A block before the wallet's first coin.
    pub birthday: BlockRef,
    /// Outputs behind those that are contributed. A transaction that is there already may lack them.
    pub more: Vec<TxOut>,
}

/// Why there are no outputs.
#[derive(Debug, thiserror::Error)]
pub enum FundError {
    /// The folder cannot be made.
    #[error("folder {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// The file of outputs failed.
    #[error(transparent)]
    Store(#[from] OutputStoreError),
    /// The wallet failed.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// The wallet cannot make the transaction.
    #[error(transparent)]
    Make(#[from] WalletFault),
    /// The wallet has too little.
    #[error("balance: expected at least {needed} for bonds, stakes and fee, got {got}; pay to {address}")]
    Balance {
        /// What is needed.
        needed: Amount,
        /// What can be spent.
        got: Amount,
        /// Where the wallet is paid.
        address: Box<Address>,
    },
    /// The fee is too high.
    #[error("fee of the transaction with bonds and stakes: expected at most {highest}, got {got}")]
    Fee {
        /// The highest one.
        highest: Amount,
        /// What it would be.
        got: Amount,
    },
    /// The transaction that is kept makes other outputs than the deployment wants.
    #[error("transaction {txid}: expected the outputs of this deployment, got others")]
    Other {
        /// The transaction.
        txid: Txid,
    },
    /// Another transaction spent the same coins.
    #[error("transaction {txid} with bonds and stakes is lost: {by} spent the same coins")]
    Lost {
        /// The transaction.
        txid: Txid,
        /// What took its place.
        by: Txid,
    },
    /// Sending failed.
    #[error(transparent)]
    Send(#[from] SenderError),
    /// Bitcoin cannot be followed.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// Bitcoin Core cannot be asked.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// It was told to end before the outputs were confirmed.
    #[error("ended before bonds and stakes were confirmed")]
    Ended,
}

impl FundError {
    fn class(&self) -> FaultClass {
        match self {
            Self::Send(error) => error.class(),
            Self::Follow(error) => error.class(),
            Self::Rpc(error) => error.class(),
            Self::Wallet(WalletError::Connect { .. }) => FaultClass::Reset,
            _ => FaultClass::Stop,
        }
    }
}

/// The transaction is never made anew: others know its id.
struct Fixed;

impl Rebuild for Fixed {
    fn rebuild(
        &self,
        _: &Job,
        _: usize,
        _: &Terms,
    ) -> Result<Vec<(usize, SignedTx)>, Box<dyn std::error::Error + Send + Sync>> {
        Err("the transaction's id is contributed".into())
    }
}

/// Takes all blocks into a wallet that Bitcoin Core has.
///
/// # Errors
/// Where Bitcoin cannot be followed, or the wallet fails.
pub async fn sync(client: Client, config: FollowerConfig, wallet: &Wallet) -> Result<(), FundError> {
    let mut follower = Follower::new(client, config, wallet.known())?;
    loop {
        match follower.next().await {
            Ok(event) => {
                wallet.apply(&event)?;
                if matches!(event, Event::Tip { .. } | Event::Lagging { .. }) {
                    return Ok(());
                }
            }
            Err(error) if error.class() == FaultClass::Retry => {
                tracing::warn!(%error, "waiting for Bitcoin Core");
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Makes a member's outputs, or finds that they are made, and waits until they are confirmed. Gives their places, in the order
/// of `wanted`.
///
/// # Errors
/// [`FundError`]. Nothing was sent where balance or fee is the reason; what was sent is found again by the next call.
pub async fn fund(
    wanted: &[Wanted],
    deployment: &Digest,
    keys: &MemberKeys,
    config: FundConfig,
    shutdown: &CancellationToken,
) -> Result<Vec<OutPoint>, FundError> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let mut funder = Funder::open(wanted, deployment, keys, config)?;
    tokio::select! {
        () = shutdown.cancelled() => Err(FundError::Ended),
        made = funder.run() => made,
    }
}

struct Funder {
    outputs: Vec<TxOut>,
    config: FundConfig,
    address: Address,
    store: OutputStore,
    wallet: Arc<Wallet>,
    sender: Sender,
}

impl Funder {
    fn open(
        wanted: &[Wanted],
        deployment: &Digest,
        keys: &MemberKeys,
        config: FundConfig,
    ) -> Result<Self, FundError> {
        let folder = &config.folder;
        std::fs::create_dir_all(folder).map_err(|source| FundError::Folder {
            path: folder.clone(),
            source,
        })?;
        let wallet = Arc::new(open_wallet(folder, keys, config.network, config.birthday)?);
        let sending = SenderConfig {
            fees: config.fees,
            depth: config.confirmations,
            ..SenderConfig::default()
        };
        let sender = Sender::open(
            &folder.join(SENDS_FILE),
            config.client.clone(),
            sending,
            Some(Arc::clone(&wallet)),
            wallet.tip(),
        )?;
        Ok(Self {
            outputs: wanted.iter().map(|wanted| wanted.output.clone()).collect(),
            address: funding_address(keys, config.network),
            store: OutputStore::open(folder, deployment)?,
            wallet,
            sender,
            config,
        })
    }

    fn follow(&self) -> Result<Follower, FundError> {
        let (wallet, sender) = (self.wallet.known(), self.sender.known());
        let tip = |blocks: &[BlockRef]| blocks.last().map_or(0, |block| block.height);
        let known = if tip(&wallet) < tip(&sender) {
            wallet
        } else {
            sender
        };
        let follower = Follower::new(self.config.client.clone(), self.config.follower.clone(), known)?;
        Ok(follower)
    }

    async fn run(&mut self) -> Result<Vec<OutPoint>, FundError> {
        let mut follower = self.follow()?;
        loop {
            match self.step(&mut follower).await {
                Ok(Some(made)) => return Ok(made),
                Ok(None) => {}
                Err(error) if error.class() == FaultClass::Retry => {
                    tracing::warn!(%error, "waiting for Bitcoin Core");
                }
                Err(error) if error.class() == FaultClass::Reset => {
                    tracing::warn!(%error, "following Bitcoin starts again from what was seen");
                    follower = self.follow()?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn step(&mut self, follower: &mut Follower) -> Result<Option<Vec<OutPoint>>, FundError> {
        let event = follower.next().await?;
        self.wallet.apply(&event)?;
        let reports = self.sender.apply(&event)?;
        self.tell(&reports)?;
        let Event::Tip { at, .. } = event else {
            return Ok(None);
        };
        let transaction = self.transaction().await?;
        let txid = transaction.compute_txid();
        let reports = self.sender.advance(&Fixed).await?;
        self.tell(&reports)?;
        let confirmed = self.wallet.confirmed_at(&txid);
        let got = confirmed.map_or(0, |height| (at.height + 1).saturating_sub(height));
        if got < self.config.confirmations {
            let wanted = self.config.confirmations;
            tracing::info!(%txid, "bonds and stakes have {got} of {wanted} confirmations");
            return Ok(None);
        }
        let outputs = 0..self.outputs.len() as u32;
        Ok(Some(outputs.map(|vout| OutPoint::new(txid, vout)).collect()))
    }

    /// Gives the transaction, which is kept and sent or about to be.
    async fn transaction(&mut self) -> Result<Transaction, FundError> {
        let kept = match self.store.transaction()? {
            Some(kept) => Some(kept),
            None => {
                // Where the file was lost, the chain knows: scripts are of this deployment alone.
                let found = self.wallet.find_payment(&self.outputs);
                if let Some(found) = &found {
                    tracing::warn!(txid = %found.compute_txid(), "bonds and stakes were found on Bitcoin");
                    self.store.keep(found)?;
                }
                found
            }
        };
        let signed = match kept {
            Some(tx) => {
                let txid = tx.compute_txid();
                if !tx.output.starts_with(&self.outputs) {
                    return Err(FundError::Other { txid });
                }
                let is_sent = self.sender.jobs().any(|job| job.current(0).tx == tx);
                if is_sent || self.wallet.is_confirmed(&txid) {
                    return Ok(tx);
                }
                // A crash came between keeping and sending.
                let fee = self.fee(&tx);
                SignedTx { tx, fee }
            }
            None => {
                let signed = self.make().await?;
                self.store.keep(&signed.tx)?;
                signed
            }
        };
        let tx = signed.tx.clone();
        tracing::info!(txid = %tx.compute_txid(), fee = %signed.fee, "paying bonds and stakes");
        self.sender.submit(Draft {
            label: "bonds and stakes".into(),
            data: Vec::new(),
            txs: vec![DraftTx {
                signed,
                parent: None,
                replaceable: false,
            }],
            ride: false,
        })?;
        Ok(tx)
    }

    /// Gives the fee of a transaction of the wallet's coins alone.
    fn fee(&self, tx: &Transaction) -> Amount {
        let spent: Amount = self.wallet.spent_by(tx).values().map(|output| output.value).sum();
        let paid: Amount = tx.output.iter().map(|output| output.value).sum();
        spent.checked_sub(paid).unwrap_or(Amount::ZERO)
    }

    async fn make(&self) -> Result<SignedTx, FundError> {
        let rate = self.config.fees.rate(&self.config.client).await?;
        let outputs = [&self.outputs[..], &self.config.more].concat();
        let mut request = Funding::new(rate, outputs);
        // A child that pays more spends the change.
        request.need_change = true;
        let funded = self.wallet.fund(&request).map_err(|error| match error {
            WalletFault::Insufficient { needed, available } => FundError::Balance {
                needed,
                got: available,
                address: Box::new(self.address.clone()),
            },
            other => other.into(),
        })?;
        let signed = self.wallet.finish(funded)?;
        let highest = self.config.max_fee;
        if signed.fee > highest {
            self.wallet.release(&signed.tx);
            let got = signed.fee;
            return Err(FundError::Fee { highest, got });
        }
        Ok(signed)
    }

    fn tell(&self, reports: &[Report]) -> Result<(), FundError> {
        for report in reports {
            match report {
                Report::Waiting { reason, .. } => {
                    tracing::warn!(%reason, "Bitcoin Core does not take the transaction");
                }
                Report::Lost { job, to } => {
                    return Err(FundError::Lost {
                        txid: job.current(0).tx.compute_txid(),
                        by: to.txid,
                    });
                }
                other => tracing::debug!(?other, "sender"),
            }
        }
        Ok(())
    }
}
