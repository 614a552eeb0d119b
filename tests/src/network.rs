//! A Bitcoin Core on regtest with a chain on it, and its nodes.

use std::path::PathBuf;
use std::process::Command;

use alloy_primitives::{Address, B256, hex};
use bitcoin::Amount;
use bitsect_l1::regtest::{Bitcoind, RegtestConfig};
use bitsect_node::chain_file::ChainFile;
use bitsect_node::devnet::{self, CHAIN_FILE, L1_URL_FILE, USER_DIR, start_chain};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Node, Role, Rpc, until};

/// How the chain differs from the devnet's.
#[derive(Clone, Copy, Debug, Default)]
pub struct NetworkOptions {
    /// L1 blocks of the sequencing window.
    pub sequencing_window: Option<u32>,
    /// L1 blocks behind which a deposit can be taken back.
    pub refund_delay: Option<u16>,
    /// Whether other Bitcoin Cores can connect.
    pub listen: bool,
    /// Milliseconds between two blocks of the sequencer under load; short by default, so that tests wait little.
    pub block_time_ms: Option<u64>,
    /// The key of a committee, which accepts deposits then; everybody knows it otherwise.
    pub vault_key: Option<B256>,
}

/// A Bitcoin Core with a chain, and a folder for its nodes.
#[derive(Debug)]
pub struct Network {
    /// Bitcoin Core.
    pub core: Bitcoind,
    dir: TempDir,
    chain_file: PathBuf,
    block_time_ms: u64,
}

impl Network {
    /// Starts Bitcoin Core and makes a chain.
    ///
    /// # Panics
    /// When anything fails.
    pub async fn start(options: NetworkOptions) -> Self {
        let dir = TempDir::new().expect("a temporary folder");
        let config = RegtestConfig {
            listen: options.listen,
            ..RegtestConfig::new(dir.path().join("bitcoin"))
        };
        let core = Bitcoind::start(config).await.expect("Bitcoin Core starts");
        start_chain(&core, dir.path(), options.vault_key)
            .await
            .expect("a chain starts");
        std::fs::write(dir.path().join(L1_URL_FILE), core.rpc_url()).expect("the RPC address is written");
        let mut file = ChainFile::read(&dir.path().join(CHAIN_FILE)).expect("the chain file is read");
        if let Some(window) = options.sequencing_window {
            file.params.derive.sequencing_window = window;
            file.params.derive.reveal_timeout = file.params.derive.reveal_timeout.min(window);
        }
        if let Some(delay) = options.refund_delay {
            file.params.derive.refund_delay = delay;
        }
        let chain_file = dir.path().join("test.chain.toml");
        file.write_new(&chain_file).expect("the chain file is written");
        Self {
            core,
            dir,
            chain_file,
            block_time_ms: options.block_time_ms.unwrap_or(50),
        }
    }

    /// The folder that holds everything.
    pub fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// The chain file.
    pub fn chain_path(&self) -> &std::path::Path {
        &self.chain_file
    }

    /// The chain's parameters.
    ///
    /// # Panics
    /// When the chain file cannot be read.
    pub fn chain(&self) -> ChainFile {
        ChainFile::read(&self.chain_file).expect("the chain file is read")
    }

    /// Deposits for an L2 address, and accepts the deposit as the committee; both are mined.
    ///
    /// # Panics
    /// When it fails.
    pub async fn deposit(&self, to: Address, amount: Amount) {
        devnet::deposit(self.dir.path(), to, amount.to_sat())
            .await
            .expect("a deposit is sent");
        self.core.mine(1).await.expect("a block is mined");
    }

    /// Forces a signed L2 transaction by the node's command; it is mined.
    ///
    /// # Panics
    /// When it fails.
    pub async fn force(&self, raw: &[u8]) {
        let mut command = Command::new(crate::node::program("bitsect-node"));
        command.arg("force").args([
            "--raw",
            &hex::encode_prefixed(raw),
            "--l1-url",
            &self.core.rpc_url(),
        ]);
        command
            .arg("--l1-cookie-file")
            .arg(self.core.cookie())
            .arg("--chain-file")
            .arg(&self.chain_file);
        command.arg("--wallet-dir").arg(self.dir.path().join(USER_DIR));
        let output = command.output().expect("the command runs");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        self.core.mine(1).await.expect("a block is mined");
    }

    /// Starts the sequencer, or starts it again.
    pub async fn sequencer(&self) -> Node {
        self.sequencer_posting_after(1).await
    }

    /// Starts the sequencer so that blocks wait this many seconds for their batch.
    pub async fn sequencer_posting_after(&self, seconds: u32) -> Node {
        let options = [("origin-depth-blocks", "1"), ("max-safe-lag-l1-blocks", "72")];
        let mut options = options.map(|(name, value)| (name, value.to_owned())).to_vec();
        options.push(("heartbeat-ms", self.block_time_ms.max(1_000).to_string()));
        options.push(("block-time-ms", self.block_time_ms.to_string()));
        options.push(("max-batch-delay-seconds", seconds.to_string()));
        // The folder where the chain's start left the baton's key.
        self.node(Role::Sequencer, "sequencer", &self.core, &options)
            .await
    }

    /// Starts a verifier with no other source than Bitcoin, or starts it again.
    pub async fn verifier(&self, name: &str) -> Node {
        self.verifier_on(name, &self.core).await
    }

    /// Starts a verifier that reads another Bitcoin Core than the sequencer.
    pub async fn verifier_on(&self, name: &str, core: &Bitcoind) -> Node {
        self.node(Role::Verifier, name, core, &[]).await
    }

    /// Starts a verifier that also follows a feed of fresh blocks, or starts it again.
    pub async fn verifier_with_feed(&self, name: &str, url: &str) -> Node {
        self.node(Role::Verifier, name, &self.core, &[("feed-url", url.to_owned())])
            .await
    }

    async fn node(&self, role: Role, name: &str, core: &Bitcoind, options: &[(&str, String)]) -> Node {
        let (url, cookie) = (core.rpc_url(), core.cookie());
        Node::start(
            role,
            &self.dir.path().join(name),
            &self.chain_file,
            (&url, &cookie),
            options,
        )
        .await
    }

    /// Mines what waits for Bitcoin until the safe head of a node is at least `number`. Empty blocks are not mined: a
    /// window's worth of them passes in seconds here. Nor is what has just arrived: a block between a commit and the reveal
    /// that is sent right after it would come each time, blocks being as fast as that.
    ///
    /// # Panics
    /// When it does not get there.
    pub async fn mine_until_safe(&self, rpc: &Rpc, number: u64) {
        let seen = std::sync::Mutex::new(Vec::new());
        until(&format!("block {number} to be safe at {}", rpc.url()), || async {
            let safe = rpc.height("safe").await;
            if safe >= number {
                return Ok(());
            }
            let waiting = self
                .core
                .client()
                .get_raw_mempool()
                .await
                .expect("Bitcoin Core answers");
            let before =
                std::mem::replace(&mut *seen.lock().expect("nobody panics with it"), waiting.clone());
            if !waiting.is_empty() && waiting == before {
                self.core.mine(1).await.expect("a block is mined");
            }
            Err(format!("the safe block is {safe}"))
        })
        .await;
    }

    /// Waits until a node has derived from Bitcoin's tip.
    ///
    /// # Panics
    /// When it does not get there.
    pub async fn synced(&self, rpc: &Rpc) {
        let tip = self.core.tip().await.expect("Bitcoin has a tip");
        until(
            &format!("{} to reach L1 block {}", rpc.url(), tip.height),
            || async {
                let status = rpc.get("rollup_syncStatus", json!([])).await;
                let reached = status["l1Processed"].to_string();
                if reached.contains(&tip.hash.to_string()) {
                    Ok(())
                } else {
                    Err(reached)
                }
            },
        )
        .await;
    }
}

/// Checks that two nodes have the same chain up to a block: hashes, state roots, receipts, and every `S_k`.
///
/// # Panics
/// Where they differ.
pub async fn assert_same(a: &Rpc, b: &Rpc, up_to: u64) {
    for number in 0..=up_to {
        let (ours, theirs) = (a.block(number).await, b.block(number).await);
        assert_ne!(ours, Value::Null, "block {number} is missing");
        for field in [
            "hash",
            "stateRoot",
            "receiptsRoot",
            "transactionsRoot",
            "gasUsed",
            "parentBeaconBlockRoot",
        ] {
            assert_eq!(ours[field], theirs[field], "{field} of block {number}");
        }
        let params = json!([format!("{number:#x}")]);
        let (ours, theirs) = (
            a.get("rollup_unitOf", params.clone()).await,
            b.get("rollup_unitOf", params).await,
        );
        assert_eq!(ours, theirs, "unit of block {number}");
    }
    let last = a
        .get("rollup_unitOf", json!([up_to]))
        .await
        .as_u64()
        .expect("a derived block has a unit");
    for unit in 0..=last {
        let params = json!([unit]);
        let ours = a.get("rollup_chainStateAt", params.clone()).await;
        assert_ne!(ours, Value::Null, "S_{unit} is missing");
        assert_eq!(ours, b.get("rollup_chainStateAt", params).await, "S_{unit}");
    }
}
