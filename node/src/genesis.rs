//! The start of a chain: from its chain file to block 0, and from a live Bitcoin Core to a chain file.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, U256};
use bitcoin::block::Header as L1Header;
use bitsect_l1::BlockRef;
use bitsect_l1::rpc::{Client, RpcError};
use bitsect_vm::chain::predeploys::FEE_VAULT;
use bitsect_vm::chain::{
    ChainParams, ChainState, DeriveParams, ExecutionParams, GenesisConfig, L1Info, L1Network, OutPoint,
    genesis_alloc, genesis_header,
};
use bitsect_vm::derive::{L1Cursor, MEDIAN_WINDOW};
use bitsect_vm::state::{EMPTY, MemoryState, update};
use revm::primitives::hardfork::SpecId;

use crate::chain_file::{ChainFile, ChainFileError};
use crate::convert;
use crate::store::{Genesis, Identity, L1Ref, NewBlock};

/// Blocks between two difficulty adjustments.
const ADJUSTMENT_INTERVAL: u32 = 2016;
/// The lowest fee rate that derivation records, sat per 1,000 vB.
const MIN_FEE_RATE: u64 = 1_000;
/// The fee rate is estimated for confirmation within so many blocks.
const FEE_TARGET: u16 = 6;

/// Why a chain cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum GenesisError {
    /// The state tree of the genesis state cannot be made.
    #[error("genesis state: {0}")]
    Tree(String),
    /// Bitcoin Core failed.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// Bitcoin Core has no such block.
    #[error("Bitcoin has no block at height {height}")]
    NoBlock {
        /// The height.
        height: u32,
    },
    /// The chain file would be refused.
    #[error(transparent)]
    File(#[from] ChainFileError),
}

/// Makes what a store of the chain begins with.
///
/// # Errors
/// [`GenesisError::Tree`], for a balance above 16 bytes.
pub fn store_genesis(file: &ChainFile) -> Result<(Identity, Genesis), GenesisError> {
    let changes = genesis_alloc(&file.genesis);
    let tree = match update(EMPTY, &changes, &MemoryState::new()) {
        Ok(tree) => tree,
        Err(error) => return Err(GenesisError::Tree(error.to_string())),
    };
    let header = genesis_header(&file.genesis, tree.root);
    let hash = header.hash_slow();
    let chain_state = ChainState::genesis(&file.params, header.clone());
    let origin = &file.genesis.origin;
    let block = NewBlock {
        header,
        hash,
        transactions: Vec::new(),
        senders: Vec::new(),
        receipts: Vec::new(),
        l1_fees: Vec::new(),
        changes,
        tree,
        l1_origin: L1Ref {
            height: origin.height,
            hash: origin.hash,
        },
        inbox_count: 0,
    };
    let identity = Identity {
        chain_id: file.params.execution.chain_id,
        genesis_hash: hash,
        params_hash: file.params_hash(),
    };
    let encoded_chain_state = chain_state.encode();
    Ok((
        identity,
        Genesis {
            block,
            chain_state: chain_state.commitment(),
            encoded_chain_state,
        },
    ))
}

/// What a new chain is to be like. Where it starts on Bitcoin is read from Bitcoin Core.
#[derive(Clone, Debug)]
pub struct NewChain {
    /// What people call it.
    pub name: String,
    /// The EIP-155 chain id.
    pub chain_id: u64,
    /// The Bitcoin network.
    pub network: L1Network,
    /// The first baton.
    pub baton: OutPoint,
    /// The committee's x-only key.
    pub vault_key: B256,
    /// Who may take fees out of the `FeeVault`.
    pub fee_vault_owner: Address,
    /// Balances at the start, in wei: for local networks.
    pub balances: BTreeMap<Address, U256>,
    /// The gas limit of every block.
    pub gas_limit: u64,
    /// Seconds that a block may be ahead of its origin's median time past.
    pub max_drift: u64,
    /// L1 blocks within which an L1 block must be covered by a batch.
    pub sequencing_window: u32,
    /// L1 blocks behind the assignment of a vault output before a claim may count on it.
    pub claim_maturity: u32,
}

impl NewChain {
    /// Makes the chain file of a chain that starts on the L1 block at `height`.
    ///
    /// # Errors
    /// [`GenesisError`].
    pub async fn chain_file(self, client: &Client, height: u32) -> Result<ChainFile, GenesisError> {
        let genesis_l1 = read_cursor(client, self.network, height).await?;
        let header = header_at(client, height).await?;
        let origin = L1Info {
            height,
            hash: genesis_l1.hash,
            merkle_root: B256::new(*AsRef::<[u8; 32]>::as_ref(&header.merkle_root)),
            time: header.time,
            median_time_past: genesis_l1.median_time_past(),
            fee_rate: genesis_l1.median_fee_rate(),
        };
        let genesis = GenesisConfig {
            origin,
            timestamp: origin.median_time_past.into(),
            gas_limit: self.gas_limit,
            // 0.001 gwei: a transfer of 21,000 gas costs 0.002 sat.
            base_fee: 1_000_000,
            fee_vault_owner: self.fee_vault_owner,
            balances: self.balances,
        };
        let execution = ExecutionParams {
            chain_id: self.chain_id,
            spec: SpecId::OSAKA,
            base_fee_recipient: Some(FEE_VAULT),
            l1_fee: true,
            min_timestamp_step: 0,
            gas_limit: Some(self.gas_limit),
        };
        let derive = DeriveParams {
            network: self.network,
            genesis_l1,
            baton: self.baton,
            vault_key: self.vault_key,
            sequencing_window: self.sequencing_window,
            reveal_timeout: 36,
            refund_delay: 288,
            min_deposit: 10_000,
            max_drift: self.max_drift,
            max_batch_body: 32 << 20,
            forced_gas_limit: self.gas_limit / 2,
            claim_maturity: self.claim_maturity,
        };
        let params = ChainParams { execution, derive };
        let file = ChainFile {
            name: self.name,
            params,
            genesis,
        };
        file.verify()?;
        Ok(file)
    }
}

/// Reads the L1 cursor at a height of the best chain: what the next header is judged by.
///
/// # Errors
/// [`GenesisError`].
pub async fn read_cursor(client: &Client, network: L1Network, height: u32) -> Result<L1Cursor, GenesisError> {
    let window = u32::try_from(MEDIAN_WINDOW).unwrap_or(u32::MAX);
    let first = (height + 1).saturating_sub(window);
    let mut times = Vec::new();
    for height in first..=height {
        times.push(header_at(client, height).await?.time);
    }
    let header = header_at(client, height).await?;
    let start_height = height - height % ADJUSTMENT_INTERVAL;
    let interval_start = header_at(client, start_height).await?;
    // Blocks before the chain are not read, so the rate that holds now stands for their average rates.
    let estimate = client.estimate_smart_fee(FEE_TARGET).await?.fee_rate;
    let rate = estimate
        .map_or(0, |rate| rate.to_sat_per_kwu().saturating_mul(4))
        .max(MIN_FEE_RATE);
    Ok(L1Cursor {
        hash: convert::block_hash(&header.block_hash()),
        height,
        work: U256::ZERO,
        fee_rates: vec![rate; times.len()],
        times,
        bits: header.bits.to_consensus(),
        interval_start_time: interval_start.time,
        interval_start_bits: interval_start.bits.to_consensus(),
        last_hard_bits: last_hard_bits(client, network, start_height, height).await?,
    })
}

/// The target of the last block in the interval that did not use the test network's easy target (BIP-0094).
async fn last_hard_bits(
    client: &Client,
    network: L1Network,
    start: u32,
    height: u32,
) -> Result<u32, GenesisError> {
    let mut at = height;
    loop {
        let bits = header_at(client, at).await?.bits.to_consensus();
        let easy = network == L1Network::Testnet4 && bits == network.easiest_bits();
        if !easy || at == start {
            return Ok(bits);
        }
        at -= 1;
    }
}

async fn header_at(client: &Client, height: u32) -> Result<L1Header, GenesisError> {
    let hash = client
        .get_block_hash(height)
        .await?
        .ok_or(GenesisError::NoBlock { height })?;
    Ok(client.get_header(&hash).await?)
}

/// Gives the L1 block that a chain starts on.
pub fn start_block(params: &ChainParams) -> BlockRef {
    let l1 = &params.derive.genesis_l1;
    BlockRef::new(l1.height, convert::bitcoin_hash(&l1.hash))
}
