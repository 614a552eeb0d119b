//! Deposits on Bitcoin: the tagged output that a user funds, and its acceptance into the vault.

use alloc::vec::Vec;
use alloy_primitives::{Address, B256, Bytes, keccak256};

use super::bitcoin::{
    L1Transaction, OP_1, OP_CHECKSIG, OP_CSV, OP_DROP, OP_RETURN, TxOut, key_spend_script, op_return_data,
    push_bytes, tap_leaf_hash, tweaked_script,
};
use crate::chain::{DeriveParams, OutPoint};

/// What a deposit's `OP_RETURN` begins with: magic and version.
pub const DEPOSIT_TAG: &[u8] = b"BSDP\x01";

/// Longest calldata of a deposit's call, in bytes.
pub const MAX_DEPOSIT_CALL: usize = 1_024;

/// What a deposit's tag says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DepositTag {
    /// Who gets the money on L2: with a call, where that fails.
    pub to: Address,
    /// The x-only key that may take the money back after the refund delay.
    pub refund_key: B256,
    /// What is called with the money.
    pub call: Option<DepositCall>,
}

/// A call that a deposit makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DepositCall {
    /// The contract.
    pub target: Address,
    /// The calldata, at most [`MAX_DEPOSIT_CALL`] bytes.
    pub data: Bytes,
}

impl DepositCall {
    /// Encodes the call: target, then calldata.
    pub fn encode(&self) -> Vec<u8> {
        [self.target.as_slice(), &self.data].concat()
    }

    /// Decodes a call.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (target, data) = bytes.split_at_checked(20)?;
        (data.len() <= MAX_DEPOSIT_CALL).then_some(())?;
        Some(Self {
            target: Address::try_from(target).ok()?,
            data: Bytes::copy_from_slice(data),
        })
    }
}

impl DepositTag {
    /// Builds the tag output's script.
    pub fn script(&self) -> Vec<u8> {
        let data: Vec<u8> = DEPOSIT_TAG
            .iter()
            .chain(self.to.iter())
            .chain(self.refund_key.iter())
            .copied()
            .chain(self.encoded_call())
            .collect();
        let mut script = Vec::from([OP_RETURN]);
        push_bytes(&mut script, &data);
        script
    }

    /// Reads a tag output's script.
    pub fn of_script(script: &[u8]) -> Option<Self> {
        let data = op_return_data(script, DEPOSIT_TAG)?;
        let (to, rest) = data.split_at_checked(20)?;
        let (refund_key, call) = rest.split_at_checked(32)?;
        let call = match call {
            [] => None,
            encoded => Some(DepositCall::decode(encoded)?),
        };
        Some(Self {
            to: Address::try_from(to).ok()?,
            refund_key: B256::try_from(refund_key).ok()?,
            call,
        })
    }

    fn encoded_call(&self) -> Vec<u8> {
        self.call.as_ref().map(DepositCall::encode).unwrap_or_default()
    }

    /// Builds the leaf that refunds: `commitment DROP delay CSV DROP refund_key CHECKSIG`. It commits to the L2 address and
    /// the hash of the call.
    pub fn refund_script(&self, delay: u16) -> Vec<u8> {
        let mut script = Vec::new();
        let mut commitment = self.to.to_vec();
        if self.call.is_some() {
            commitment.extend(keccak256(self.encoded_call()));
        }
        push_bytes(&mut script, &commitment);
        script.push(OP_DROP);
        push_number(&mut script, delay);
        script.extend([OP_CSV, OP_DROP]);
        push_bytes(&mut script, self.refund_key.as_slice());
        script.push(OP_CHECKSIG);
        script
    }

    /// Gives the scriptPubKey that the deposit must pay: key path the vault key, one leaf the refund.
    pub fn output_script(&self, params: &DeriveParams) -> Option<Vec<u8>> {
        let leaf = tap_leaf_hash(&self.refund_script(params.refund_delay))?;
        tweaked_script(&params.vault_key, Some(&leaf))
    }
}

/// Gives the L1 blocks that a deposit is open for at least, out of the refund's delay. Whoever has an accept that all members
/// signed may keep it back: so it counts until the deposit is spent, and only one that its owner has left alone for long makes
/// room for another.
pub fn deposit_keep(refund_delay: u16) -> u32 {
    u32::from(refund_delay).saturating_mul(2)
}

/// Finds the deposit output of a transaction: the first that pays what its first tag asks for, where `has_room` for it.
pub(super) fn find_deposit(
    params: &DeriveParams,
    transaction: &L1Transaction<'_>,
    has_room: impl FnOnce() -> bool,
) -> Option<(OutPoint, DepositTag)> {
    let tag = transaction
        .outputs
        .iter()
        .find_map(|output| DepositTag::of_script(output.script))?;
    let is_candidate = |output: &TxOut<'_>| {
        output.value >= params.min_deposit && matches!(output.script, [OP_1, 32, key @ ..] if key.len() == 32)
    };
    // The script takes curve arithmetic: nobody is to have it done for an output of no value, or one that cannot be opened.
    if !transaction.outputs.iter().any(is_candidate) || !has_room() {
        return None;
    }
    let script = tag.output_script(params)?;
    let vout = transaction
        .outputs
        .iter()
        .position(|output| is_candidate(output) && output.script == script)?;
    Some((
        OutPoint {
            txid: transaction.txid,
            vout: u32::try_from(vout).ok()?,
        },
        tag,
    ))
}

/// Gives the sats that an accept puts into the vault for its input `index`: the output of the same index, when
/// the input is a key-path spend and the output pays the vault.
pub(super) fn accepted_sats(
    vault_script: &[u8],
    transaction: &L1Transaction<'_>,
    index: usize,
) -> Option<u64> {
    let input = transaction.inputs.get(index)?;
    let output = transaction.outputs.get(index)?;
    (input.is_key_spend() && output.script == vault_script).then_some(output.value)
}

/// Gives the vault's scriptPubKey: key path only. `None` when the vault key is not on the curve.
pub fn vault_script(params: &DeriveParams) -> Option<Vec<u8>> {
    key_spend_script(&params.vault_key)
}

/// Appends a number's minimal push (BIP-0062).
fn push_number(script: &mut Vec<u8>, number: u16) {
    match u8::try_from(number) {
        Ok(0) => push_bytes(script, &[]),
        Ok(small @ 1..=16) => script.push(small.saturating_add(0x50)),
        _ => {
            let mut bytes: Vec<u8> = number.to_le_bytes().into();
            if bytes.last() == Some(&0) {
                bytes.pop();
            }
            if bytes.last().is_some_and(|top| top & 0x80 != 0) {
                bytes.push(0);
            }
            push_bytes(script, &bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn tag_round_trips(
            to in any::<[u8; 20]>(),
            key in any::<[u8; 32]>(),
            target in any::<[u8; 20]>(),
            data in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..MAX_DEPOSIT_CALL + 3)),
        ) {
            let call = data.map(|data| DepositCall { target: target.into(), data: data.into() });
            let fits = call.as_ref().is_none_or(|call| call.data.len() <= MAX_DEPOSIT_CALL);
            let tag = DepositTag { to: to.into(), refund_key: key.into(), call };
            let script = tag.script();
            prop_assert!(tag.call.is_some() || script.len() <= 83);
            prop_assert_eq!(DepositTag::of_script(&script[..script.len() - 1]), None);
            prop_assert_eq!(DepositTag::of_script(&script), fits.then_some(tag));
        }

        #[test]
        fn the_output_is_of_this_call_alone(data in proptest::collection::vec(any::<u8>(), 0..40), other in any::<u8>()) {
            let tag = |call| DepositTag { to: Address::ZERO, refund_key: B256::ZERO, call };
            let call = DepositCall { target: Address::ZERO, data: data.clone().into() };
            let longer = DepositCall { data: [data, [other].into()].concat().into(), ..call.clone() };
            let scripts = [tag(None), tag(Some(call)), tag(Some(longer))].map(|tag| tag.refund_script(200));
            prop_assert!(scripts[0] != scripts[1] && scripts[1] != scripts[2] && scripts[0] != scripts[2]);
        }

        #[test]
        fn numbers_are_pushed_like_rust_bitcoin(number in any::<u16>()) {
            let mut ours = Vec::new();
            push_number(&mut ours, number);
            let theirs = bitcoin::script::Builder::new().push_int(number.into()).into_script();
            prop_assert_eq!(ours, theirs.into_bytes());
        }
    }
}
