//! A taproot wallet on BDK, fed with blocks, durable at each step.
//!
//! Feed it the follower's events with [`Wallet::apply`]; a block twice does no harm, so after a crash start a follower
//! at [`Wallet::known`]. Money leaves with [`Wallet::fund`], which takes inputs that are not the wallet's too:
//!
//! ```no_run
//! # use bitsect_l1::wallet::{Foreign, Funding, Keys, Wallet, sign_key_path};
//! # use bitcoin::{Amount, FeeRate, OutPoint, TxOut, key::Keypair};
//! # fn f(wallet: &Wallet, baton: OutPoint, baton_out: TxOut, key: Keypair, outputs: Vec<TxOut>, rate: FeeRate)
//! # -> Result<(), Box<dyn std::error::Error>> {
//! // A commit: the baton goes in first, the wallet adds coins, the change comes last.
//! let mut request = Funding::new(rate, outputs);
//! request.foreign.push(Foreign::key_path(baton, baton_out));
//! let mut funded = wallet.fund(&request)?;
//! sign_key_path(&mut funded.psbt, 0, &key, None)?;
//! let signed = wallet.finish(funded)?; // .tx and .fee
//! # Ok(()) }
//! ```
//!
//! The coins of a funded transaction are reserved until it is given to [`Wallet::sent`] or [`Wallet::release`].
//! The [`sender`](crate::sender) calls `sent` for its jobs by itself, also again after a restart.

mod fund;
mod keys;
mod mempool;
mod pending;
mod persist;

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use bdk_wallet::{Balance, KeychainKind, PersistedWallet, Update, chain::BlockId, template::Bip86};
use bitcoin::{Address, Amount, Network, NetworkKind, OutPoint, Transaction, TxOut, Txid};
use parking_lot::Mutex;

pub(crate) use self::fund::{EMPTY_WITNESS, SMALLEST_CHANGE, fee};
use self::persist::WalletFile;
pub use self::{
    fund::{Foreign, FundError, Funded, Funding, KEY_PATH_WITNESS, SignedTx},
    keys::{KeyError, Keys, WordCount, sign_key_path, sign_leaf},
    mempool::MempoolError,
    pending::parents_first,
    persist::PersistError,
};
use crate::{BlockRef, follower::Event};

/// Blocks that [`Wallet::known`] returns at most: as deep as a reorg is followed.
const KNOWN_BLOCKS: usize = 2016;
/// Addresses watched beyond the last one given out.
const LOOKAHEAD: u32 = 50;

/// The wallet failed.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    /// The file failed. What was done last is not durable.
    #[error("wallet file: {0}")]
    Persist(#[from] PersistError),
    /// The file is of another seed or network, or BDK refuses it.
    #[error("wallet file does not fit: {reason}")]
    Load {
        /// Why.
        reason: String,
    },
    /// A block does not continue what the wallet knows.
    #[error("block {block} does not connect to the wallet's chain: {reason}")]
    Connect {
        /// The block.
        block: BlockRef,
        /// Why.
        reason: String,
    },
}

/// A wallet. It is shared by reference; calls take a lock and write to disk, each for about a millisecond.
#[derive(Debug)]
pub struct Wallet {
    inner: Mutex<Inner>,
    keys: Keys,
    network: Network,
}

#[derive(Debug)]
struct Inner {
    bdk: PersistedWallet<WalletFile>,
    file: WalletFile,
    /// Coins of transactions that are made but not sent yet.
    reserved: HashSet<OutPoint>,
    /// Coins that are spent only where they are named.
    held: HashSet<OutPoint>,
    /// Mempool transactions that were looked at.
    looked_at: HashSet<Txid>,
    /// The last time given to BDK, which decides between conflicting transactions by it.
    last_time: u64,
}

impl Wallet {
    /// Opens the wallet's file, or makes it.
    ///
    /// A new wallet knows nothing before `birthday` and wants the block after it next; a seed that was used
    /// before must name a block before its first use.
    ///
    /// # Errors
    /// [`WalletError::Load`] when the file is of another seed or network.
    pub fn open(path: &Path, keys: Keys, network: Network, birthday: BlockRef) -> Result<Self, WalletError> {
        let load_error = |e: &dyn std::fmt::Display| WalletError::Load {
            reason: e.to_string(),
        };
        let mut file = WalletFile::open(path)?;
        let descriptor = |keychain| Bip86(keys.master(), keychain);
        let (external, internal) = (KeychainKind::External, KeychainKind::Internal);
        let loaded = bdk_wallet::Wallet::load()
            .descriptor(external, Some(descriptor(external)))
            .descriptor(internal, Some(descriptor(internal)))
            .check_network(network)
            .lookahead(LOOKAHEAD)
            .load_wallet(&mut file)
            .map_err(|e| load_error(&e))?;
        let bdk = match loaded {
            Some(bdk) => bdk,
            None => bdk_wallet::Wallet::create(descriptor(external), descriptor(internal))
                .network(network)
                .lookahead(LOOKAHEAD)
                .create_wallet(&mut file)
                .map_err(|e| load_error(&e))?,
        };
        let last_time = bdk
            .tx_graph()
            .full_txs()
            .filter_map(|tx| tx.last_seen)
            .max()
            .unwrap_or(0);
        let mut inner = Inner {
            bdk,
            file,
            reserved: HashSet::new(),
            held: HashSet::new(),
            looked_at: HashSet::new(),
            last_time,
        };
        // Also when a crash came between making the file and this: the genesis block alone is below it.
        if inner.bdk.latest_checkpoint().height() == 0 && birthday.height > 0 {
            let block = BlockId {
                height: birthday.height,
                hash: birthday.hash,
            };
            let chain = inner.bdk.latest_checkpoint().push(block);
            let chain = chain.map_err(|_| load_error(&"the birthday is not above the genesis block"))?;
            let update = Update {
                chain: Some(chain),
                ..Default::default()
            };
            inner.bdk.apply_update(update).map_err(|e| load_error(&e))?;
            inner.save()?;
        }
        Ok(Self {
            inner: Mutex::new(inner),
            keys,
            network,
        })
    }

    /// Returns the seed's keys.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Returns the network.
    pub fn network(&self) -> Network {
        self.network
    }

    /// Returns which kind of keys a network has.
    pub fn network_kind(&self) -> NetworkKind {
        self.network.into()
    }

    /// Returns the last blocks that the wallet knows, lowest first, to start a follower with.
    pub fn known(&self) -> Vec<BlockRef> {
        let inner = self.inner.lock();
        let mut known: Vec<BlockRef> = Vec::new();
        for point in inner.bdk.latest_checkpoint().iter().take(KNOWN_BLOCKS) {
            // The genesis block is far below the birthday: a gap ends the list.
            if known
                .last()
                .is_some_and(|above| above.height != point.height() + 1)
            {
                break;
            }
            known.push(BlockRef::new(point.height(), point.hash()));
        }
        known.reverse();
        known
    }

    /// Returns the last block that the wallet knows.
    pub fn tip(&self) -> BlockRef {
        let point = self.inner.lock().bdk.latest_checkpoint();
        BlockRef::new(point.height(), point.hash())
    }

    /// Takes in what happened to the chain. Durable when it returns.
    ///
    /// A disconnected block stays until the next one takes its place, which a follower delivers right after.
    ///
    /// # Errors
    /// [`WalletError::Connect`] when blocks are missing in between: follow from [`Self::known`].
    pub fn apply(&self, event: &Event) -> Result<(), WalletError> {
        let Event::Connected(block) = event else {
            return Ok(());
        };
        let inner = &mut *self.inner.lock();
        if inner
            .bdk
            .local_chain()
            .get(block.height)
            .is_some_and(|point| point.hash() == block.hash)
        {
            return Ok(());
        }
        let previous = block
            .height
            .checked_sub(1)
            .and_then(|height| inner.bdk.local_chain().get(height));
        if previous.is_none_or(|point| point.hash() != block.block.header.prev_blockhash) {
            let reason = "the wallet does not have the block before it".into();
            return Err(WalletError::Connect {
                block: block.at(),
                reason,
            });
        }
        inner
            .bdk
            .apply_block(&block.block, block.height)
            .map_err(|e| WalletError::Connect {
                block: block.at(),
                reason: e.to_string(),
            })?;
        inner.save()
    }

    /// Returns an address for receiving that was not used yet. Durable when it returns.
    ///
    /// # Errors
    /// [`WalletError::Persist`].
    pub fn receive_address(&self) -> Result<Address, WalletError> {
        let inner = &mut *self.inner.lock();
        let address = inner.bdk.next_unused_address(KeychainKind::External).address;
        inner.save()?;
        Ok(address)
    }

    /// Returns what the wallet holds.
    pub fn balance(&self) -> Balance {
        self.inner.lock().bdk.balance()
    }

    /// Returns what can be spent without waiting for somebody else's transaction.
    pub fn spendable(&self) -> Amount {
        self.balance().trusted_spendable()
    }

    /// Returns whether an output pays to the wallet.
    pub fn is_mine(&self, output: &TxOut) -> bool {
        self.inner.lock().bdk.is_mine(output.script_pubkey.clone())
    }

    /// Takes in transactions that are on their way: their inputs are spent, their change can be used. They win
    /// over transactions taken in before that spend the same coins. Durable when it returns.
    ///
    /// # Errors
    /// [`WalletError::Persist`].
    pub fn sent<'a>(&self, txs: impl IntoIterator<Item = &'a Transaction>) -> Result<(), WalletError> {
        let inner = &mut *self.inner.lock();
        for tx in txs {
            let time = inner.next_time();
            inner.bdk.apply_unconfirmed_txs([(tx.clone(), time)]);
            for input in &tx.input {
                inner.reserved.remove(&input.previous_output);
            }
        }
        inner.save()
    }

    /// Takes back transactions that will not confirm; their coins can be used again. Those that are confirmed
    /// stay. Durable when it returns.
    ///
    /// # Errors
    /// [`WalletError::Persist`].
    pub fn forget(&self, txids: impl IntoIterator<Item = Txid>) -> Result<(), WalletError> {
        let inner = &mut *self.inner.lock();
        let time = inner.next_time();
        inner
            .bdk
            .apply_evicted_txs(txids.into_iter().map(|txid| (txid, time)));
        inner.save()
    }

    /// Gives back the coins of a funded transaction that will not be sent.
    pub fn release(&self, tx: &Transaction) {
        let inner = &mut *self.inner.lock();
        for input in &tx.input {
            inner.reserved.remove(&input.previous_output);
        }
    }

    /// Returns whether a transaction of the wallet is in a block.
    pub fn is_confirmed(&self, txid: &Txid) -> bool {
        self.confirmed_at(txid).is_some()
    }

    /// Returns the height of the block that holds a transaction of the wallet.
    pub fn confirmed_at(&self, txid: &Txid) -> Option<u32> {
        let inner = self.inner.lock();
        let tx = inner.bdk.get_tx(*txid)?;
        tx.chain_position.confirmation_height_upper_bound()
    }

    /// Returns a confirmed transaction of the wallet whose first outputs are these, in order.
    pub fn find_payment(&self, outputs: &[TxOut]) -> Option<Transaction> {
        let inner = self.inner.lock();
        let confirmed = inner
            .bdk
            .transactions()
            .filter(|tx| tx.chain_position.is_confirmed());
        let mut paying = confirmed.filter(|tx| tx.tx_node.tx.output.starts_with(outputs));
        paying.next().map(|tx| (*tx.tx_node.tx).clone())
    }

    /// Returns a transaction of the wallet that spends an output of another one.
    pub fn child_of(&self, parent: &Txid) -> Option<Txid> {
        let inner = self.inner.lock();
        let spends = |tx: &Transaction| tx.input.iter().any(|input| input.previous_output.txid == *parent);
        let mut children = inner.bdk.transactions().filter(|tx| spends(&tx.tx_node.tx));
        children.next().map(|tx| tx.tx_node.txid)
    }

    /// Returns the outputs of the wallet's transactions that a transaction spends, as far as known.
    pub fn spent_by(&self, tx: &Transaction) -> HashMap<OutPoint, TxOut> {
        let inner = self.inner.lock();
        let graph = inner.bdk.tx_graph();
        let found = tx.input.iter().filter_map(|input| {
            let output = graph.get_txout(input.previous_output)?;
            Some((input.previous_output, output.clone()))
        });
        found.collect()
    }
}

impl Inner {
    /// Writes what BDK has staged. When that fails it stays staged, and the next save writes it too.
    fn save(&mut self) -> Result<(), WalletError> {
        self.bdk.persist(&mut self.file)?;
        Ok(())
    }

    /// Returns a time in seconds that is later than all given out before, so that the latest transaction wins.
    fn next_time(&mut self) -> u64 {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_secs());
        self.last_time = now.max(self.last_time.saturating_add(1));
        self.last_time
    }
}
