//! What a claim says, as far as it is public.

use std::collections::BTreeMap;
use std::fmt;

use alloy_primitives::{Address, B256, Bytes, FixedBytes, U64, hex};
use bitcoin::OutPoint;
use bitsect_node::convert;
use bitsect_vm::chain::bridge::output_id;
use bitsect_vm::check::check_advice;
use serde::{Deserialize, Deserializer, Serialize};

/// The first 24 bytes of a state: what a search publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Prefix(FixedBytes<24>);

impl Prefix {
    /// Gives the first 24 bytes of a state.
    pub fn of(state: &B256) -> Self {
        Self(FixedBytes::from_slice(&state[..24]))
    }

    /// Tells whether a state begins so.
    pub fn fits(&self, state: &B256) -> bool {
        *self == Self::of(state)
    }
}

impl From<[u8; 24]> for Prefix {
    fn from(bytes: [u8; 24]) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Prefix {
    /// Reads 24 bytes, or all 32 of a state.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = hex::decode(&text).map_err(serde::de::Error::custom)?;
        match bytes.len() {
            24 | 32 => Ok(Self(FixedBytes::from_slice(&bytes[..24]))),
            got => Err(serde::de::Error::custom(format!(
                "a state: got {got} bytes, must be 24 or 32"
            ))),
        }
    }
}

/// A claim and what its dispute has published.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Claimed {
    /// Units of the chain before the slot's start: positions count from there.
    #[serde(default)]
    pub start: u64,
    /// The claim's `k`.
    pub units: u64,
    /// The claim's `S`.
    pub state: Prefix,
    /// The ticket of the claim's slot, as Bitcoin's tools show an output (`txid:vout`): the last unit is its check. None where
    /// the claim is about the chain alone.
    pub ticket: Option<OutPoint>,
    /// The L1 block that holds the claim, where it is on Bitcoin: it cannot be about blocks that come after it.
    pub height: Option<u32>,
    /// Chain states by position, as the search over units published them.
    #[serde(default)]
    pub states: BTreeMap<u64, Prefix>,
    /// What was published of the wrong unit's run.
    pub trace: Option<ClaimedTrace>,
    /// The liar's receipts of the wrong unit's L2 block, as `eth_getBlockReceipts` gives them.
    pub receipts: Option<Vec<ClaimedReceipt>>,
}

/// What a dispute has published of a unit's run.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClaimedTrace {
    /// The unit that it is of, as a position; of the one that the states name where it is not said.
    pub unit: Option<u64>,
    /// The input leaf: 64 bytes.
    pub input: Bytes,
    /// Machine states by step.
    pub states: BTreeMap<u64, Prefix>,
}

/// A receipt, as far as consensus has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClaimedReceipt {
    /// The transaction.
    pub transaction_hash: B256,
    /// 1 where it succeeded.
    pub status: U64,
    /// Gas of the block up to its end.
    pub cumulative_gas_used: U64,
    /// What it logged.
    pub logs: Vec<ClaimedLog>,
}

/// A log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimedLog {
    /// Whose.
    pub address: Address,
    /// Its topics.
    pub topics: Vec<B256>,
    /// Its data.
    pub data: Bytes,
}

impl Claimed {
    /// Gives the advice of the claim's last unit, where it is a check.
    pub fn check(&self) -> Option<B256> {
        let ticket = self.ticket.as_ref().map(convert::chain_outpoint);
        ticket.map(|ticket| check_advice(&output_id(&ticket)))
    }

    /// Gives what was published by position, the claim's own end included. Positions behind the end are left out.
    pub fn positions(&self) -> BTreeMap<u64, Prefix> {
        let mut positions: BTreeMap<u64, Prefix> = self
            .states
            .range(..=self.units)
            .map(|(at, state)| (*at, *state))
            .collect();
        // What was published for the end itself is refuted by a leaf where it differs from the claim: it counts first.
        positions.entry(self.units).or_insert(self.state);
        positions
    }

    /// Finds the first position from the end on whose state is not the claim's: there states repeat.
    pub fn not_repeated(&self) -> Option<u64> {
        let mut behind = self.states.range(self.units..);
        behind.find(|(_, state)| **state != self.state).map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_read_and_a_wrong_one_refused_by_name() {
        let state = B256::repeat_byte(7);
        let text = format!(
            r#"{{"units": 9, "state": "{state}", "states": {{"4": "{}", "16": "{state}"}}}}"#,
            hex::encode_prefixed([1; 24])
        );
        let claimed: Claimed = serde_json::from_str(&text).unwrap();
        assert!(claimed.state.fits(&state));
        assert_eq!(claimed.positions().keys().copied().collect::<Vec<_>>(), [4, 9]);
        assert_eq!(claimed.not_repeated(), None);
        assert_eq!(claimed.check(), None);
        let ticket = format!("{}:3", "0b".repeat(32));
        let text = format!(r#"{{"units": 9, "state": "{state}", "ticket": "{ticket}"}}"#);
        let claimed: Claimed = serde_json::from_str(&text).unwrap();
        assert_eq!(claimed.ticket.unwrap().to_string(), ticket);
        assert!(claimed.check().unwrap().starts_with(b"bstcheck"));
        for (text, expected) in [
            (
                r#"{"units": 1, "state": "0x00"}"#,
                "got 1 bytes, must be 24 or 32",
            ),
            (r#"{"units": 1, "state": "0x00", "stat": 1}"#, "must be 24 or 32"),
            (r#"{"state": 1}"#, "invalid type"),
            (r#"{"units": 1, "ticket": "0b:1"}"#, "TXID"),
        ] {
            let error = serde_json::from_str::<Claimed>(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn states_behind_the_end_repeat_it() {
        let mut claimed = Claimed {
            start: 0,
            units: 5,
            state: Prefix::of(&B256::repeat_byte(1)),
            ticket: None,
            height: None,
            states: BTreeMap::new(),
            trace: None,
            receipts: None,
        };
        claimed.states.insert(8, Prefix::of(&B256::repeat_byte(2)));
        assert_eq!(claimed.not_repeated(), Some(8));
        assert_eq!(claimed.positions().len(), 1);
    }
}
