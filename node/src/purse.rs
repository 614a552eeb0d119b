//! A wallet for single payments from the command line: open, catch up with Bitcoin, pay.

use std::path::Path;
use std::sync::Arc;

use bitcoin::{FeeRate, Network, OutPoint, Transaction, TxOut};
use bitsect_l1::follower::{Event, Follower, FollowerConfig};
use bitsect_l1::rpc::Client;
use bitsect_l1::sender::FeePolicy;
use bitsect_l1::wallet::{Foreign, Funded, Funding, Keys, Wallet};
use bitsect_l1::{BlockRef, FaultClass};
use eyre::WrapErr;

/// A wallet in a folder of its own, which no other process has open.
pub struct Purse {
    client: Client,
    wallet: Arc<Wallet>,
    network: Network,
}

impl Purse {
    /// Opens the wallet in `folder`, or makes one with a new seed in `key_file`. A new wallet looks at the blocks
    /// above `birthday`.
    ///
    /// # Errors
    /// When the files cannot be used, also because another process has them open.
    pub fn open(
        client: Client,
        network: Network,
        folder: &Path,
        key_file: &Path,
        birthday: BlockRef,
    ) -> eyre::Result<Self> {
        std::fs::create_dir_all(folder).wrap_err_with(|| format!("failed to make {}", folder.display()))?;
        let keys =
            Keys::read_or_generate(key_file, network.into()).wrap_err("failed to open the key file")?;
        let path = folder.join("wallet.redb");
        let wallet = Wallet::open(&path, keys, network, birthday)
            .wrap_err_with(|| format!("failed to open the wallet {}", path.display()))?;
        Ok(Self {
            client,
            wallet: Arc::new(wallet),
            network,
        })
    }

    /// Gives the wallet.
    pub const fn wallet(&self) -> &Arc<Wallet> {
        &self.wallet
    }

    /// Reads all blocks that Bitcoin Core has.
    ///
    /// # Errors
    /// When Bitcoin cannot be followed.
    pub async fn sync(&self) -> eyre::Result<()> {
        let config = FollowerConfig {
            network: Some(self.network),
            ..FollowerConfig::default()
        };
        let mut follower = Follower::new(self.client.clone(), config, self.wallet.known())
            .wrap_err("failed to go on from what the wallet knows")?;
        loop {
            match follower.next().await {
                Ok(event) => {
                    self.wallet
                        .apply(&event)
                        .wrap_err("failed to take a block into the wallet")?;
                    if matches!(event, Event::Tip { .. }) {
                        return Ok(());
                    }
                }
                Err(error) if error.class() == FaultClass::Retry => {
                    tracing::warn!(%error, "waiting for Bitcoin Core");
                }
                Err(error) => return Err(error).wrap_err("failed to follow Bitcoin"),
            }
        }
    }

    /// Pays `outputs`, spending `foreign` inputs too, which `sign` signs. Broadcasts the transaction.
    ///
    /// # Errors
    /// When the wallet has too little, or Bitcoin Core refuses the transaction.
    pub async fn pay(
        &self,
        outputs: Vec<TxOut>,
        foreign: Vec<Foreign>,
        sign: impl FnOnce(&mut Funded) -> eyre::Result<()>,
    ) -> eyre::Result<Transaction> {
        let rate = self.rate().await?;
        let mut request = Funding::new(rate, outputs);
        request.foreign = foreign;
        let mut funded = self
            .wallet
            .fund(&request)
            .wrap_err("failed to fund the transaction")?;
        sign(&mut funded)?;
        let signed = self
            .wallet
            .finish(funded)
            .wrap_err("failed to sign the transaction")?;
        self.client
            .send_raw_transaction(&signed.tx)
            .await
            .wrap_err("failed to broadcast the transaction")?;
        self.wallet
            .sent([&signed.tx])
            .wrap_err("failed to note the transaction in the wallet")?;
        Ok(signed.tx)
    }

    /// Pays one output and gives its place.
    ///
    /// # Errors
    /// As [`Self::pay`].
    pub async fn pay_one(&self, output: TxOut) -> eyre::Result<OutPoint> {
        let tx = self.pay(vec![output], Vec::new(), |_| Ok(())).await?;
        Ok(OutPoint {
            txid: tx.compute_txid(),
            vout: 0,
        })
    }

    async fn rate(&self) -> eyre::Result<FeeRate> {
        FeePolicy::default()
            .rate(&self.client)
            .await
            .wrap_err("failed to ask for the fee rate")
    }
}
