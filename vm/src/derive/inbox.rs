//! What Bitcoin gives to L2 without the sequencer: deposits and forced transactions.

use alloc::vec::Vec;
use alloy_consensus::{Sealable, Transaction as _};
use alloy_eips::eip2718::Decodable2718;
use alloy_primitives::{Address, Bytes, TxKind, U256, keccak256};
use alloy_rlp::{RlpDecodable, RlpEncodable, decode_exact};
use op_alloy_consensus::TxDeposit;

use super::bitcoin::{OP_RETURN, op_return_data, push_bytes};
use crate::chain::predeploys::BRIDGE;
use crate::chain::{BlockHash, ChainParams, OutPoint, Transaction, sats_to_wei};

/// What a forced transaction's `OP_RETURN` begins with: magic and version.
pub const FORCED_TAG: &[u8] = b"BSFT\x01";
/// Largest forced transaction, in bytes: what Geth takes into its pool, and a standard Bitcoin transaction carries.
pub const MAX_FORCED_SIZE: usize = 98_304;
/// Lowest gas limit of a forced transaction: what any transaction costs. With less it could never be executed, and any
/// number of them would fit a block's share, where each costs a unit the recovery of its signature.
pub const LEAST_FORCED_GAS: u64 = 21_000;
/// Gas of a deposit: a plain call's, and some for a recipient that is a contract.
pub const DEPOSIT_GAS: u64 = 100_000;

/// A deposit or a forced transaction, in Bitcoin order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InboxItem {
    /// An accepted deposit.
    Deposit(AcceptedDeposit),
    /// A signed L2 transaction, EIP-2718 encoded.
    Forced(Bytes),
}

/// A deposit that reached the vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub struct AcceptedDeposit {
    /// The vault output.
    pub vault_output: OutPoint,
    /// Who gets the money on L2.
    pub to: Address,
    /// How much, in sats.
    pub sats: u64,
}

const DEPOSIT: u8 = 0;
const FORCED: u8 = 1;

/// Encodes one origin's items: an RLP list of strings, each a kind byte and the item.
pub fn encode_items(items: &[InboxItem]) -> Vec<u8> {
    let strings: Vec<Bytes> = items
        .iter()
        .map(|item| match item {
            InboxItem::Deposit(deposit) => {
                let mut bytes = Vec::from([DEPOSIT]);
                bytes.extend(alloy_rlp::encode(deposit));
                bytes.into()
            }
            InboxItem::Forced(transaction) => {
                let mut bytes = Vec::from([FORCED]);
                bytes.extend_from_slice(transaction);
                bytes.into()
            }
        })
        .collect();
    alloy_rlp::encode(strings)
}

/// Decodes one origin's items. No two byte strings decode to the same ones.
///
/// # Errors
/// Where the bytes are no such list; derivation wrote them, so this is a fault of whoever kept them.
pub fn decode_items(bytes: &[u8]) -> Result<Vec<InboxItem>, alloy_rlp::Error> {
    let strings: Vec<Bytes> = decode_exact(bytes)?;
    let decode_item = |string: &Bytes| match string.split_first() {
        Some((&DEPOSIT, rest)) => decode_exact(rest).map(InboxItem::Deposit),
        Some((&FORCED, rest)) => Ok(InboxItem::Forced(Bytes::copy_from_slice(rest))),
        _ => Err(alloy_rlp::Error::Custom("unknown kind of inbox item")),
    };
    strings.iter().map(decode_item).collect()
}

impl InboxItem {
    /// Gives the gas that the item may use.
    pub fn gas_limit(&self) -> u64 {
        match self {
            Self::Deposit(_) => DEPOSIT_GAS,
            Self::Forced(bytes) => {
                Transaction::decode_2718_exact(bytes).map_or(0, |transaction| transaction.gas_limit())
            }
        }
    }

    /// Gives the L2 transaction; `None` for bytes that are none, which never enter an inbox.
    ///
    /// A deposit is minted to the `Bridge`, which pays it on: nobody can move another account's nonce by
    /// depositing to it, and the recipient sees an ordinary transfer.
    pub fn transaction(&self, origin: &BlockHash) -> Option<Transaction> {
        match self {
            Self::Forced(bytes) => Transaction::decode_2718_exact(bytes).ok(),
            Self::Deposit(deposit) => {
                let outpoint = alloy_rlp::encode(deposit.vault_output);
                let id = keccak256([origin.as_slice(), &outpoint].concat());
                let wei = sats_to_wei(deposit.sats);
                let transaction = TxDeposit {
                    source_hash: keccak256([[0; 32], id.0].concat()),
                    from: BRIDGE,
                    to: TxKind::Call(deposit.to),
                    mint: wei.saturating_to::<u128>(),
                    value: U256::from(wei),
                    gas_limit: DEPOSIT_GAS,
                    is_system_transaction: false,
                    input: Bytes::new(),
                };
                Some(Transaction::Deposit(transaction.seal_slow()))
            }
        }
    }
}

/// Builds the output script that forces a signed L2 transaction.
pub fn forced_script(transaction: &[u8]) -> Vec<u8> {
    let mut script = Vec::from([OP_RETURN]);
    push_bytes(&mut script, &[FORCED_TAG, transaction].concat());
    script
}

/// Reads a forced transaction from an output script; `None` where there is none that could ever be executed:
/// a wrong type, chain id, size or gas limit.
pub(super) fn forced_of_script(params: &ChainParams, script: &[u8]) -> Option<InboxItem> {
    let bytes = op_return_data(script, FORCED_TAG)?;
    if bytes.len() > MAX_FORCED_SIZE {
        return None;
    }
    let transaction = Transaction::decode_2718_exact(&bytes).ok()?;
    let is_signed = !matches!(transaction, Transaction::Deposit(_) | Transaction::PostExec(_));
    let fits = transaction.chain_id() == Some(params.execution.chain_id)
        && (LEAST_FORCED_GAS..=params.derive.forced_gas_limit).contains(&transaction.gas_limit());
    (is_signed && fits).then(|| InboxItem::Forced(bytes.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn item() -> impl Strategy<Value = InboxItem> {
        let deposit = (any::<[u8; 32]>(), any::<u32>(), any::<[u8; 20]>(), any::<u64>()).prop_map(
            |(txid, vout, to, sats)| {
                let vault_output = OutPoint {
                    txid: txid.into(),
                    vout,
                };
                InboxItem::Deposit(AcceptedDeposit {
                    vault_output,
                    to: to.into(),
                    sats,
                })
            },
        );
        let forced = proptest::collection::vec(any::<u8>(), 0..200).prop_map(|b| InboxItem::Forced(b.into()));
        prop_oneof![deposit, forced]
    }

    #[test]
    fn nothing_may_follow_the_items() {
        let deposit = AcceptedDeposit {
            vault_output: OutPoint::default(),
            to: Address::ZERO,
            sats: 1,
        };
        let items = encode_items(&[InboxItem::Deposit(deposit)]);
        assert!(decode_items(&[items.as_slice(), &[0x80]].concat()).is_err());
        let mut longer = Vec::from([DEPOSIT]);
        longer.extend(alloy_rlp::encode(deposit));
        longer.push(0x80);
        let list = alloy_rlp::encode(Vec::from([Bytes::from(longer)]));
        assert!(decode_items(&list).is_err());
    }

    proptest! {
        #[test]
        fn items_round_trip(items in proptest::collection::vec(item(), 0..20)) {
            prop_assert_eq!(decode_items(&encode_items(&items)).unwrap(), items);
        }

        #[test]
        fn decoding_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_items(&bytes);
        }
    }
}
