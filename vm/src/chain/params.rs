//! Parameters that every party to a deployment shares.

use alloc::vec::Vec;
use alloy_primitives::{Address, B256};
use alloy_rlp::{Decodable, RlpDecodable, RlpEncodable};
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
    /// L1 blocks after which a depositor may take back a deposit output that was not accepted.
    pub refund_delay: u16,
    /// Smallest deposit that mints, in sats.
    pub min_deposit: u64,
    /// Seconds that a block with sequenced transactions may be ahead of its origin's median time past.
    pub max_drift: u64,
    /// Largest decompressed batch body, in bytes.
    pub max_batch_body: u32,
    /// Gas that forced transactions, deposits and records may take together in one L2 block.
    pub forced_gas_limit: u64,
    /// L1 blocks behind the assignment of a vault output before a claim may count on it.
    pub claim_maturity: u32,
}

/// The parameters as they are encoded: options as lists of at most one item.
#[derive(RlpEncodable, RlpDecodable)]
struct EncodedParams {
    chain_id: u64,
    spec: u8,
    base_fee_recipient: Vec<Address>,
    l1_fee: bool,
    min_timestamp_step: u64,
    gas_limit: Vec<u64>,
    network: u8,
    genesis_l1: L1Cursor,
    baton: OutPoint,
    vault_key: B256,
    sequencing_window: u32,
    reveal_timeout: u32,
    refund_delay: u16,
    min_deposit: u64,
    max_drift: u64,
    max_batch_body: u32,
    forced_gas_limit: u64,
    claim_maturity: u32,
}

impl ChainParams {
    /// Encodes the parameters in RLP, of which each set has exactly one. The machine's program carries them so.
    pub fn encode(&self) -> Vec<u8> {
        let Self { execution, derive } = self;
        alloy_rlp::encode(EncodedParams {
            chain_id: execution.chain_id,
            spec: execution.spec as u8,
            base_fee_recipient: execution.base_fee_recipient.into_iter().collect(),
            l1_fee: execution.l1_fee,
            min_timestamp_step: execution.min_timestamp_step,
            gas_limit: execution.gas_limit.into_iter().collect(),
            network: match derive.network {
                L1Network::Bitcoin => 0,
                L1Network::Testnet4 => 1,
                L1Network::Signet => 2,
                L1Network::Regtest => 3,
            },
            genesis_l1: derive.genesis_l1.clone(),
            baton: derive.baton,
            vault_key: derive.vault_key,
            sequencing_window: derive.sequencing_window,
            reveal_timeout: derive.reveal_timeout,
            refund_delay: derive.refund_delay,
            min_deposit: derive.min_deposit,
            max_drift: derive.max_drift,
            max_batch_body: derive.max_batch_body,
            forced_gas_limit: derive.forced_gas_limit,
            claim_maturity: derive.claim_maturity,
        })
    }

    /// Decodes parameters.
    ///
    /// # Errors
    /// Where the bytes are not exactly one set's encoding.
    pub fn decode(mut bytes: &[u8]) -> Result<Self, alloy_rlp::Error> {
        const BAD: alloy_rlp::Error = alloy_rlp::Error::Custom("chain parameters");
        let fields = EncodedParams::decode(&mut bytes)?;
        if !bytes.is_empty() {
            return Err(alloy_rlp::Error::UnexpectedLength);
        }
        let execution = ExecutionParams {
            chain_id: fields.chain_id,
            spec: SpecId::try_from_u8(fields.spec).ok_or(BAD)?,
            base_fee_recipient: at_most_one(&fields.base_fee_recipient).ok_or(BAD)?,
            l1_fee: fields.l1_fee,
            min_timestamp_step: fields.min_timestamp_step,
            gas_limit: at_most_one(&fields.gas_limit).ok_or(BAD)?,
        };
        let derive = DeriveParams {
            network: match fields.network {
                0 => L1Network::Bitcoin,
                1 => L1Network::Testnet4,
                2 => L1Network::Signet,
                3 => L1Network::Regtest,
                _ => return Err(BAD),
            },
            genesis_l1: fields.genesis_l1,
            baton: fields.baton,
            vault_key: fields.vault_key,
            sequencing_window: fields.sequencing_window,
            reveal_timeout: fields.reveal_timeout,
            refund_delay: fields.refund_delay,
            min_deposit: fields.min_deposit,
            max_drift: fields.max_drift,
            max_batch_body: fields.max_batch_body,
            forced_gas_limit: fields.forced_gas_limit,
            claim_maturity: fields.claim_maturity,
        };
        Ok(Self { execution, derive })
    }
}

fn at_most_one<T: Copy>(items: &[T]) -> Option<Option<T>> {
    match items {
        [] => Some(None),
        [item] => Some(Some(*item)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::U256;
    use proptest::prelude::*;

    fn params() -> impl Strategy<Value = ChainParams> {
        (
            any::<[u64; 6]>(),
            any::<[u32; 6]>(),
            any::<[bool; 3]>(),
            0..4_u8,
            0..20_u8,
        )
            .prop_map(|(wide, words, flags, network, spec)| ChainParams {
                execution: ExecutionParams {
                    chain_id: wide[0],
                    spec: SpecId::try_from_u8(spec).unwrap_or_default(),
                    base_fee_recipient: flags[0].then(|| Address::repeat_byte(spec)),
                    l1_fee: flags[1],
                    min_timestamp_step: wide[1],
                    gas_limit: flags[2].then_some(wide[2]),
                },
                derive: DeriveParams {
                    network: [
                        L1Network::Bitcoin,
                        L1Network::Testnet4,
                        L1Network::Signet,
                        L1Network::Regtest,
                    ][usize::from(network)],
                    genesis_l1: L1Cursor {
                        hash: B256::repeat_byte(network),
                        height: words[0],
                        work: U256::from(wide[3]),
                        times: words.to_vec(),
                        fee_rates: wide.to_vec(),
                        bits: words[1],
                        interval_start_time: words[2],
                        interval_start_bits: words[3],
                        last_hard_bits: words[4],
                    },
                    baton: OutPoint {
                        txid: B256::repeat_byte(spec),
                        vout: words[5],
                    },
                    vault_key: B256::repeat_byte(network),
                    sequencing_window: words[1],
                    reveal_timeout: words[2],
                    refund_delay: words[4] as u16,
                    min_deposit: wide[4],
                    max_drift: wide[5],
                    max_batch_body: words[0],
                    forced_gas_limit: wide[0],
                    claim_maturity: words[3],
                },
            })
    }

    proptest! {
        #[test]
        fn encoding_round_trips(params in params()) {
            prop_assert_eq!(ChainParams::decode(&params.encode()).unwrap(), params);
        }

        #[test]
        fn only_encodings_decode(params in params(), at in any::<usize>(), to in any::<u8>()) {
            let mut bytes = params.encode();
            let at = at % bytes.len();
            bytes[at] = to;
            if let Ok(decoded) = ChainParams::decode(&bytes) {
                prop_assert_eq!(decoded.encode(), bytes);
            }
        }
    }
}
