//! A real Bitcoin Core on regtest, for tests and the devnet.
//!
//! The program is `BITCOIND_EXE`, else `bitcoind` of the PATH; `.ci/setup bitcoind` gets one. Core needs no
//! wallet: blocks are mined with `generatetoaddress`. The process ends with its [`Bitcoind`]. When the program that
//! started it is killed, the kernel tells it to stop, so that it writes its chain to disk and the next start continues it.

mod process;

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use bitcoin::{
    Address, BlockHash, KnownHrp, Network, ScriptBuf, Transaction,
    hashes::{Hash, sha256},
};

use self::process::Process;
pub use self::process::die_with_parent;
use crate::{
    BlockRef,
    rpc::{Auth, Client, RpcConfig, RpcError, default_cookie},
};

/// How often other ports are tried when something else took them first.
const PORT_ATTEMPTS: u32 = 5;
/// The pause before another try while an earlier bitcoind still holds the data directory.
const LOCK_PAUSE: Duration = Duration::from_millis(250);
/// Confirmations that a coinbase output needs before it can be spent.
pub const COINBASE_MATURITY: u32 = 100;
/// Most blocks mined in one call, so that a call stays short.
const MINE_CHUNK: u32 = 500;

/// Starting, stopping or driving a regtest node failed.
#[derive(Debug, thiserror::Error)]
pub enum RegtestError {
    /// There is no bitcoind.
    #[error("cannot run {}; set BITCOIND_EXE or run .ci/setup bitcoind", program.display())]
    Spawn {
        /// The program tried.
        program: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The data directory or a port cannot be had.
    #[error("cannot prepare bitcoind in {}", dir.display())]
    Prepare {
        /// The data directory.
        dir: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The process ended before it was ready.
    #[error("bitcoind ended with {status} before it was ready: {output}")]
    Ended {
        /// How.
        status: String,
        /// The end of what it said.
        output: String,
    },
    /// It did not get ready, or did not end, in time.
    #[error("bitcoind did not {what} within {seconds} s")]
    Slow {
        /// What it should have done.
        what: &'static str,
        /// The time given, in seconds.
        seconds: u64,
    },
    /// A call failed.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// A helper was called in a way that cannot work.
    #[error("{0}")]
    Use(String),
}

/// How to start a regtest node.
#[derive(Clone, Debug)]
pub struct RegtestConfig {
    /// The program; none means `BITCOIND_EXE`, then the PATH.
    pub program: Option<PathBuf>,
    /// The data directory, made when absent. An old one is continued.
    pub dir: PathBuf,
    /// The RPC port; none takes a free one.
    pub rpc_port: Option<u16>,
    /// Whether other nodes can connect.
    pub listen: bool,
    /// More arguments, for example `-txindex=1`.
    pub args: Vec<String>,
    /// Longest time to get ready or to end.
    pub patience: Duration,
}

impl RegtestConfig {
    /// Makes the usual configuration for a data directory.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            program: None,
            dir: dir.into(),
            rpc_port: None,
            listen: false,
            args: Vec::new(),
            // Reading a long chain back after kill -9, on a busy machine.
            patience: Duration::from_secs(120),
        }
    }

    fn program(&self) -> PathBuf {
        match (&self.program, std::env::var_os("BITCOIND_EXE")) {
            (Some(program), _) => program.clone(),
            (None, Some(program)) if !program.is_empty() => program.into(),
            _ => "bitcoind".into(),
        }
    }
}

/// A regtest node. Dropping it kills the process; its data directory stays.
#[derive(Debug)]
pub struct Bitcoind {
    config: RegtestConfig,
    rpc_port: u16,
    p2p_port: Option<u16>,
    client: Client,
    process: Option<Process>,
}

impl Bitcoind {
    /// Starts a node and waits until it answers.
    ///
    /// # Errors
    /// [`RegtestError`], with what bitcoind said when it ended by itself.
    pub async fn start(config: RegtestConfig) -> Result<Self, RegtestError> {
        let prepare = |source| RegtestError::Prepare {
            dir: config.dir.clone(),
            source,
        };
        std::fs::create_dir_all(&config.dir).map_err(prepare)?;
        let mut attempt = 1;
        let started = Instant::now();
        loop {
            let rpc_port = config.rpc_port.map_or_else(free_port, Ok).map_err(prepare)?;
            let p2p_port = if config.listen {
                Some(free_port().map_err(prepare)?)
            } else {
                None
            };
            let auth = Auth::Cookie(default_cookie(&config.dir, Network::Regtest));
            let client = Client::new(RpcConfig::new(format!("http://127.0.0.1:{rpc_port}"), auth))?;
            let mut node = Self {
                config: config.clone(),
                rpc_port,
                p2p_port,
                client,
                process: None,
            };
            match node.spawn().await {
                // Between finding a free port and using it somebody else may take it.
                Err(RegtestError::Ended { output, .. })
                    if output.contains("bind") && attempt < PORT_ATTEMPTS =>
                {
                    attempt += 1;
                }
                // The last owner was killed a moment ago, and its bitcoind is writing and ending.
                Err(RegtestError::Ended { output, .. })
                    if output.contains("Cannot obtain a lock") && started.elapsed() < config.patience =>
                {
                    tokio::time::sleep(LOCK_PAUSE).await;
                }
                Err(error) => return Err(error),
                Ok(()) => return Ok(node),
            }
        }
    }

    async fn spawn(&mut self) -> Result<(), RegtestError> {
        let program = self.config.program();
        let process = Process::spawn(&program, &self.arguments(), &self.config.dir)
            .map_err(|source| RegtestError::Spawn { program, source })?;
        process.ready(self.config.patience).await?;
        self.process = Some(process);
        Ok(())
    }

    fn arguments(&self) -> Vec<String> {
        let mut args = vec![
            "-regtest".to_owned(),
            format!("-datadir={}", self.config.dir.display()),
            "-server=1".into(),
            format!("-rpcport={}", self.rpc_port),
            "-rpcbind=127.0.0.1".into(),
            "-rpcallowip=127.0.0.1".into(),
            "-printtoconsole=1".into(),
            "-dnsseed=0".into(),
            "-fixedseeds=0".into(),
            "-discover=0".into(),
            "-listenonion=0".into(),
            // The default keeps 450 MB for a chain of a few MB.
            "-dbcache=50".into(),
        ];
        match self.p2p_port {
            Some(port) => args.extend(["-listen=1".into(), format!("-bind=127.0.0.1:{port}")]),
            None => args.push("-listen=0".into()),
        }
        args.extend(self.config.args.iter().cloned());
        args
    }

    /// Returns a client for the node. It stays valid over restarts.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Returns the RPC address.
    pub fn rpc_url(&self) -> String {
        self.client.config().url.clone()
    }

    /// Returns the path of the cookie file.
    pub fn cookie(&self) -> PathBuf {
        default_cookie(&self.config.dir, Network::Regtest)
    }

    /// Returns the data directory.
    pub fn dir(&self) -> &Path {
        &self.config.dir
    }

    /// Returns the process id, none while it is down.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Stops the node in order, and waits until it is down.
    ///
    /// # Errors
    /// [`RegtestError`] when the call fails or it does not end in time.
    pub async fn stop(&mut self) -> Result<(), RegtestError> {
        if let Some(process) = &self.process {
            self.client.stop().await?;
            process.ended(self.config.patience).await?;
        }
        self.process = None;
        Ok(())
    }

    /// Kills the node as `kill -9` does, and waits until it is gone. Blocks that Core did not write yet are lost
    /// with it, all since the start perhaps; see [`Client::flush`].
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts the node again on the same ports and data, killing it first when it runs.
    ///
    /// # Errors
    /// [`RegtestError`] when it does not get ready.
    pub async fn restart(&mut self) -> Result<(), RegtestError> {
        self.kill();
        self.spawn().await
    }

    /// Returns the tip.
    ///
    /// # Errors
    /// [`RegtestError::Rpc`].
    pub async fn tip(&self) -> Result<BlockRef, RegtestError> {
        let info = self.client.get_blockchain_info().await?;
        Ok(BlockRef::new(info.blocks, info.best_block_hash))
    }

    /// Mines blocks to an address that nobody can spend from.
    ///
    /// # Errors
    /// [`RegtestError::Rpc`].
    pub async fn mine(&self, count: u32) -> Result<Vec<BlockHash>, RegtestError> {
        self.mine_to(count, &fresh_burn_address()).await
    }

    /// Mines blocks to an address.
    ///
    /// # Errors
    /// [`RegtestError::Rpc`].
    pub async fn mine_to(&self, count: u32, address: &Address) -> Result<Vec<BlockHash>, RegtestError> {
        let mut hashes = Vec::new();
        let mut left = count;
        while left > 0 {
            let now = left.min(MINE_CHUNK);
            hashes.extend(self.client.generate_to_address(now, address).await?);
            left -= now;
        }
        Ok(hashes)
    }

    /// Mines one block with exactly these transactions, whatever the mempool holds.
    ///
    /// # Errors
    /// [`RegtestError::Rpc`].
    pub async fn mine_with(&self, txs: &[&Transaction]) -> Result<BlockHash, RegtestError> {
        Ok(self.client.generate_block(&fresh_burn_address(), txs).await?)
    }

    /// Mines `coinbases` blocks to an address and as many more as make their outputs spendable.
    ///
    /// # Errors
    /// [`RegtestError::Rpc`].
    pub async fn fund(&self, address: &Address, coinbases: u32) -> Result<(), RegtestError> {
        self.mine_to(coinbases, address).await?;
        self.mine(COINBASE_MATURITY).await?;
        Ok(())
    }

    /// Replaces the last `depth` blocks by `length` blocks without transactions of the mempool, so that what
    /// was confirmed in them is dropped. Returns the new blocks, lowest first.
    ///
    /// Core's tip goes back to the fork point first, so a follower may see that as lag for a moment.
    ///
    /// # Errors
    /// [`RegtestError`] when the chain is shorter than `depth` or a call fails.
    pub async fn reorg(&self, depth: u32, length: u32) -> Result<Vec<BlockHash>, RegtestError> {
        self.roll_back(depth).await?;
        let mut hashes = Vec::new();
        for _ in 0..length {
            hashes.push(self.mine_with(&[]).await?);
        }
        Ok(hashes)
    }

    /// Drops the last `depth` blocks and returns the lowest of them, for
    /// [`Client::reconsider_block`]. Their transactions go back to the mempool.
    ///
    /// # Errors
    /// [`RegtestError`] when the chain is shorter than `depth` or a call fails.
    pub async fn roll_back(&self, depth: u32) -> Result<BlockHash, RegtestError> {
        let tip = self.tip().await?;
        let lowest = (tip.height + 1)
            .checked_sub(depth)
            .filter(|height| *height > 0 && depth > 0);
        let Some(height) = lowest else {
            return Err(RegtestError::Use(format!(
                "cannot drop {depth} of {} blocks",
                tip.height
            )));
        };
        let hash = self.client.get_block_hash(height).await?;
        let hash = hash.ok_or_else(|| RegtestError::Use("the chain changed meanwhile".into()))?;
        self.client.invalidate_block(&hash).await?;
        Ok(hash)
    }

    /// Connects to another node, which must listen, and waits until both have the same tip.
    ///
    /// # Errors
    /// [`RegtestError::Use`] when the other one does not listen; [`RegtestError::Slow`] when they do not meet.
    pub async fn connect_to(&self, other: &Self) -> Result<(), RegtestError> {
        let Some(port) = other.p2p_port else {
            return Err(RegtestError::Use(
                "the other node was started without `listen`".into(),
            ));
        };
        self.client.connect_node(&format!("127.0.0.1:{port}")).await?;
        self.meet(other).await
    }

    /// Waits until both nodes have the same tip.
    ///
    /// # Errors
    /// [`RegtestError::Slow`] when they do not meet in time.
    pub async fn meet(&self, other: &Self) -> Result<(), RegtestError> {
        let seconds = self.config.patience.as_secs();
        let slow = RegtestError::Slow {
            what: "reach the other node's tip",
            seconds,
        };
        let meet = async {
            loop {
                let (ours, theirs) = (self.tip().await?, other.tip().await?);
                if ours == theirs {
                    return Ok(());
                }
                // Whichever is behind moves; a short wait covers the other case.
                let behind = if ours.height <= theirs.height {
                    (self, ours)
                } else {
                    (other, theirs)
                };
                let wait = Duration::from_millis(500);
                behind.0.client.wait_for_new_block(&behind.1.hash, wait).await?;
            }
        };
        tokio::time::timeout(self.config.patience, meet)
            .await
            .map_err(|_| slow)?
    }
}

/// Returns an address that nobody can spend from, another one at each call.
///
/// Two blocks of the same height, parent, second and address would be the same block, which a reorg must not be.
pub fn fresh_burn_address() -> Address {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let seed = format!("bitsect burn {} {number}", std::process::id());
    let script = ScriptBuf::from_bytes(sha256::Hash::hash(seed.as_bytes()).to_byte_array().to_vec());
    Address::p2wsh(&script, KnownHrp::Regtest)
}

/// Finds a port of this machine that nobody listens on, another one at each call.
///
/// Whoever wants it listens later. So it is below the ports that systems give to connections, any of which one could get meanwhile
/// (Linux: from 32,768 on), and processes that start beside each other look in different places.
///
/// # Errors
/// Where there is none.
pub fn free_port() -> std::io::Result<u16> {
    const PORTS: std::ops::Range<u32> = 10_000..32_000;
    /// Ports between those where processes with neighbouring numbers begin.
    const APART: u32 = 101;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(APART);
    for _ in PORTS {
        let number = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(PORTS.start + number % PORTS.len() as u32).map_err(std::io::Error::other)?;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err(std::io::ErrorKind::AddrInUse.into())
}
