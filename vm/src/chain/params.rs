//! Parameters that every party to a deployment shares.

use alloy_primitives::{Address, B256};
use revm::primitives::hardfork::SpecId;

use super::OutPoint;
use crate::derive::L1Cursor;

/// The parameters of one deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainParams {
    /// What execution depends on.
    pub execution: ExecutionParams,
    /// What derivation depends on.
    pub derive: DeriveParams,
}

/// Parameters of block execution. [`ExecutionParams::ethereum`] gives mainnet's rules for public tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutionParams {
    /// The EIP-155 chain id.
    pub chain_id: u64,
    /// The EVM's specification.
    pub spec: SpecId,
    /// Who receives the base fee; `None` burns it, as Ethereum does.
    pub base_fee_recipient: Option<Address>,
    /// Whether transactions pay for their share of Bitcoin bytes, at the rate in `BitcoinBlocks`.
    pub l1_fee: bool,
    /// Seconds that a timestamp must be above its parent's: 0 on Bitsect (several blocks a second),
    /// 1 on Ethereum.
    pub min_timestamp_step: u64,
    /// The gas limit of every block; `None` allows Ethereum's voted limit (parent ± 1/1024).
    pub gas_limit: Option<u64>,
}

impl ExecutionParams {
    /// Ethereum's own rules: base fee burnt, no L1 fee, voted gas limit.
    pub const fn ethereum(chain_id: u64, spec: SpecId) -> Self {
        Self {
            chain_id,
            spec,
            base_fee_recipient: None,
            l1_fee: false,
            min_timestamp_step: 1,
            gas_limit: None,
        }
    }
}

/// The Bitcoin network: which difficulty rule applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum L1Network {
    /// The main network.
    Bitcoin,
    /// The test network of BIP-0094.
    Testnet4,
    /// The default signet (BIP-0325); block signatures are Bitcoin Core's matter.
    Signet,
    /// A local network without retargeting.
    Regtest,
}

/// Parameters of derivation: windows in L1 blocks, sizes in bytes, amounts in sats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeriveParams {
    /// The Bitcoin network.
    pub network: L1Network,
    /// The last L1 block before the chain: block 0's origin.
    pub genesis_l1: L1Cursor,
    /// The first baton.
    pub baton: OutPoint,
    /// The committee's x-only key, to which vault outputs pay.
    pub vault_key: B256,
    /// L1 blocks within which an L1 block must be covered by a batch before derivation covers it itself.
    pub sequencing_window: u32,
    /// L1 blocks after its commit within which all of a batch's reveals must be confirmed.
    pub reveal_timeout: u32,
    /// L1 blocks after a deposit output within which its accept counts.
    pub deposit_window: u32,
    /// L1 blocks after which a depositor may take back a deposit output that was not accepted; more than
    /// `deposit_window`, so that an accept never races with a refund.
    pub refund_delay: u16,
    /// Smallest deposit that mints, in sats.
    pub min_deposit: u64,
    /// Seconds that a block with sequenced transactions may be ahead of its origin's median time past.
    pub max_drift: u64,
    /// Largest decompressed batch body, in bytes.
    pub max_batch_body: u32,
    /// Gas that forced transactions and deposits may take together in one L2 block.
    pub forced_gas_limit: u64,
}
