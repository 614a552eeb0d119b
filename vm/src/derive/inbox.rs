//! What Bitcoin gives to L2 without the sequencer: deposits, records for the bridge, forced transactions.

use alloc::vec::Vec;
use alloy_consensus::{Sealable, Transaction as _};
use alloy_eips::eip2718::Decodable2718;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, keccak256};
use alloy_rlp::{RlpDecodable, RlpEncodable, decode_exact};
use op_alloy_consensus::TxDeposit;

use super::bitcoin::{OP_RETURN, op_return_data, push_bytes};
use super::record::BridgeRecord;
use crate::chain::bridge::record_deposit_input;
use crate::chain::predeploys::{BRIDGE, SYSTEM_CALLER};
use crate::chain::{BlobRef, BlockHash, ChainParams, OutPoint, Transaction, sats_to_wei};

/// What a forced transaction's `OP_RETURN` begins with: magic and version.
pub const FORCED_TAG: &[u8] = b"BSFT\x01";
/// Largest forced transaction, in bytes: what Geth takes into its pool, and a standard Bitcoin transaction carries.
pub const MAX_FORCED_SIZE: usize = 98_304;
/// Lowest gas limit of a forced transaction: what any transaction costs. With less it could never be executed, and any
/// number of them would fit a block's share, where each costs a unit the recovery of its signature.
pub const LEAST_FORCED_GAS: u64 = 21_000;
/// Gas of a deposit: what `Bridge` writes, and some for a recipient that is a contract.
pub const DEPOSIT_GAS: u64 = 200_000;
/// Gas of a deposit that makes a call.
pub const DEPOSIT_CALL_GAS: u64 = 700_000;

/// What a block takes from Bitcoin, in Bitcoin order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InboxItem {
    /// An accepted deposit.
    Deposit(AcceptedDeposit),
    /// What `Bridge` records.
    Record(BridgeRecord),
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
    /// The call that it makes; the empty blob's name where it makes none.
    pub call: BlobRef,
}

const DEPOSIT: u8 = 0;
const FORCED: u8 = 1;
const PAYOUT: u8 = 2;
const ASSIGNMENT: u8 = 3;
const VAULT_SPEND: u8 = 4;
const REDEMPTION: u8 = 5;

/// Encodes one origin's items: an RLP list of strings, each a kind byte and the item.
pub fn encode_items(items: &[InboxItem]) -> Vec<u8> {
    let strings: Vec<Bytes> = items.iter().map(|item| item.encode().into()).collect();
    alloy_rlp::encode(strings)
}

/// Decodes one origin's items. No two byte strings decode to the same ones.
///
/// # Errors
/// Where the bytes are no such list; derivation wrote them, so this is a fault of whoever kept them.
pub fn decode_items(bytes: &[u8]) -> Result<Vec<InboxItem>, alloy_rlp::Error> {
    let strings: Vec<Bytes> = decode_exact(bytes)?;
    strings.iter().map(|string| InboxItem::decode(string)).collect()
}

impl InboxItem {
    fn encode(&self) -> Vec<u8> {
        let (kind, item) = match self {
            Self::Deposit(deposit) => (DEPOSIT, alloy_rlp::encode(deposit)),
            Self::Forced(transaction) => (FORCED, transaction.to_vec()),
            Self::Record(BridgeRecord::Payout(payout)) => (PAYOUT, alloy_rlp::encode(payout)),
            Self::Record(BridgeRecord::Assignment(assignment)) => (ASSIGNMENT, alloy_rlp::encode(assignment)),
            Self::Record(BridgeRecord::VaultSpend(spend)) => (VAULT_SPEND, alloy_rlp::encode(spend)),
            Self::Record(BridgeRecord::Redemption(redemption)) => (REDEMPTION, alloy_rlp::encode(redemption)),
        };
        [&[kind], item.as_slice()].concat()
    }

    fn decode(string: &[u8]) -> Result<Self, alloy_rlp::Error> {
        let (kind, rest) = string.split_first().ok_or(alloy_rlp::Error::InputTooShort)?;
        let record = match *kind {
            DEPOSIT => return decode_exact(rest).map(Self::Deposit),
            FORCED => return Ok(Self::Forced(Bytes::copy_from_slice(rest))),
            PAYOUT => BridgeRecord::Payout(decode_exact(rest)?),
            ASSIGNMENT => BridgeRecord::Assignment(decode_exact(rest)?),
            VAULT_SPEND => BridgeRecord::VaultSpend(decode_exact(rest)?),
            REDEMPTION => BridgeRecord::Redemption(decode_exact(rest)?),
            _ => return Err(alloy_rlp::Error::Custom("unknown kind of inbox item")),
        };
        Ok(Self::Record(record))
    }

    /// Gives the gas that the item may use.
    pub fn gas_limit(&self) -> u64 {
        match self {
            Self::Deposit(deposit) if deposit.call.len == 0 => DEPOSIT_GAS,
            Self::Deposit(_) => DEPOSIT_CALL_GAS,
            Self::Record(record) => record.gas_limit(),
            Self::Forced(bytes) => {
                Transaction::decode_2718_exact(bytes).map_or(0, |transaction| transaction.gas_limit())
            }
        }
    }

    /// Names the blob that [`Self::transaction`] needs.
    pub fn blob(&self) -> Option<BlobRef> {
        match self {
            Self::Deposit(deposit) => Some(deposit.call).filter(|call| call.len > 0),
            Self::Record(_) | Self::Forced(_) => None,
        }
    }

    /// Gives the L2 transaction; `None` for bytes that are none, which never enter an inbox. `blob` is what [`Self::blob`]
    /// names, or nothing.
    ///
    /// Deposits and records are calls of `Bridge` by the protocol: nobody can move another account's nonce by depositing
    /// to it.
    pub fn transaction(&self, origin: &BlockHash, blob: &[u8]) -> Option<Transaction> {
        match self {
            Self::Forced(bytes) => Transaction::decode_2718_exact(bytes).ok(),
            Self::Deposit(deposit) => {
                let id = keccak256([origin.as_slice(), &alloy_rlp::encode(deposit.vault_output)].concat());
                let input = record_deposit_input(&deposit.vault_output, deposit.to, blob);
                Some(self.call_bridge([0; 32], id, deposit.sats, input))
            }
            Self::Record(record) => {
                let id = keccak256([origin.as_slice(), &self.encode()].concat());
                let mut domain = [0; 32];
                domain[31] = RECORD_DOMAIN;
                Some(self.call_bridge(domain, id, 0, record.input()))
            }
        }
    }

    fn call_bridge(&self, domain: [u8; 32], id: B256, sats: u64, input: Vec<u8>) -> Transaction {
        let wei = sats_to_wei(sats);
        let transaction = TxDeposit {
            source_hash: keccak256([domain, id.0].concat()),
            from: SYSTEM_CALLER,
            to: TxKind::Call(BRIDGE),
            mint: wei.saturating_to::<u128>(),
            value: U256::from(wei),
            gas_limit: self.gas_limit(),
            is_system_transaction: false,
            input: input.into(),
        };
        Transaction::Deposit(transaction.seal_slow())
    }
}

/// The domain of a record's source hash; a deposit's is 0, as that of user deposits on OP chains.
const RECORD_DOMAIN: u8 = 1;

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
    use super::super::record::{AddedOutput, Assignment, Paid, Payout, Redemption, VaultSpend};
    use super::*;
    use proptest::collection;
    use proptest::prelude::*;

    fn outpoint() -> impl Strategy<Value = OutPoint> {
        (any::<[u8; 32]>(), any::<u32>()).prop_map(|(txid, vout)| OutPoint {
            txid: txid.into(),
            vout,
        })
    }

    fn record() -> impl Strategy<Value = BridgeRecord> {
        let paid = (any::<u64>(), any::<u64>(), collection::vec(any::<u8>(), 0..35)).prop_map(
            |(id, sats, script)| Paid {
                id,
                sats,
                script: script.into(),
            },
        );
        let payout = (outpoint(), outpoint(), collection::vec(paid, 1..4)).prop_map(|(of, by, paid)| {
            BridgeRecord::Payout(Payout {
                txid: of.txid,
                operator: by.txid,
                paid,
            })
        });
        let assignment = (outpoint(), outpoint())
            .prop_map(|(ticket, vault_output)| BridgeRecord::Assignment(Assignment { ticket, vault_output }));
        let spend = (outpoint(), collection::vec(outpoint(), 0..4), any::<(u32, u64)>()).prop_map(
            |(of, inputs, (vout, sats))| {
                BridgeRecord::VaultSpend(VaultSpend {
                    txid: of.txid,
                    inputs,
                    outputs: [AddedOutput { vout, sats }].into(),
                })
            },
        );
        let redemption = (outpoint(), any::<[u8; 20]>())
            .prop_map(|(spent, to)| BridgeRecord::Redemption(Redemption { spent, to: to.into() }));
        prop_oneof![payout, assignment, spend, redemption]
    }

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
                    call: BlobRef {
                        root: txid.into(),
                        len: vout,
                    },
                })
            },
        );
        let forced = proptest::collection::vec(any::<u8>(), 0..200).prop_map(|b| InboxItem::Forced(b.into()));
        prop_oneof![deposit, forced, record().prop_map(InboxItem::Record)]
    }

    #[test]
    fn nothing_may_follow_the_items() {
        let deposit = AcceptedDeposit {
            vault_output: OutPoint::default(),
            to: Address::ZERO,
            sats: 1,
            call: BlobRef::default(),
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
