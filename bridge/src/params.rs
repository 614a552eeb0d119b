//! The constants of a deployment: rounds, times, amounts.

use bitcoin::relative::{Height, LockTime};
use bitcoin::{Amount, Sequence};

/// Options of a choice in the searches over units and over steps.
pub const ARITY: u8 = 4;
/// Options of a choice in the search over a path.
pub const PATH_ARITY: u8 = 3;
/// Rounds of the search over a path: 27 intervals, one for each level and one for the content.
pub const PATH_ROUNDS: u8 = 3;
/// Rounds of the search over units at most: 2^28 units, seven digits of a claim's count.
pub const MAX_UNIT_ROUNDS: u8 = 14;
/// Rounds of the search over steps at most: 2^40 steps, more than a unit takes (docs/guest.md, "Cost").
pub const MAX_TRACE_ROUNDS: u8 = 20;
/// Blocks that the longest game may take at most: a relative lock time has 16 bits (BIP-0068).
pub const MAX_DISPUTE_WINDOW: u16 = u16::MAX;
/// What a connector holds: the dust limit of a taproot output, in sats.
pub const CONNECTOR_VALUE: Amount = Amount::from_sat(330);
/// What the anchor of a transaction with a fee of its own holds: the dust limit of a pay-to-anchor output, in sats.
pub const ANCHOR_VALUE: Amount = Amount::from_sat(240);

const _: () = assert!(
    2 * (PATH_ARITY as u32).pow(PATH_ROUNDS as u32) == 54
        && bitsect_machine::DEPTH + 1 == (PATH_ARITY as u32).pow(PATH_ROUNDS as u32),
    "a path has an interval for each level and one for the content"
);
const _: () = assert!(
    2 * MAX_UNIT_ROUNDS <= 28,
    "a position of the search over units is a number in Script"
);

/// Outputs that a merge of vault outputs takes.
pub const MERGED_OUTPUTS: usize = 8;

/// How many rounds the searches have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rounds {
    /// Of the search over units: even, so that a claim's count is whole digits.
    pub units: u8,
    /// Of the search over steps.
    pub trace: u8,
}

/// What all parties to a deployment agree on beside members and slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// Rounds of the searches.
    pub rounds: Rounds,
    /// Blocks for each move.
    pub move_timeout_blocks: u16,
    /// Blocks within which a challenge has to confirm, from the claim's.
    pub challenge_window_blocks: u16,
    /// Blocks after which an upheld claim finalises, from the claim's.
    pub dispute_window_blocks: u16,
    /// What a claim puts at stake, in sats.
    pub bond_sats: u64,
    /// What a challenge puts at stake, in sats.
    pub stake_sats: u64,
    /// What a challenger gets of the bond when it wins, in sats; the rest is burnt.
    pub reward_sats: u64,
    /// The fee that a verdict has out of the bond, in sats: a verdict is up to 40,000 vB.
    pub verdict_fee_sats: u64,
}

/// How members care for the vault (docs/bridge.md, Vault care). What is absent is not done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaultParams {
    /// Outputs of more than this are split, in sats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split_above_sats: Option<u64>,
    /// Outputs of less than this are merged, in sats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge_below_sats: Option<u64>,
    /// No deposit is accepted that would bring the vault above this, in sats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_vault_sats: Option<u64>,
}

/// Why parameters cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: expected {rule}, got {got}")]
pub struct ParamsError {
    /// The field.
    pub field: &'static str,
    /// What it may be.
    pub rule: String,
    /// What it is.
    pub got: u64,
}

impl Rounds {
    /// Gives the number of intervals of the search over units.
    pub const fn units_total(self) -> u64 {
        1 << (2 * self.units)
    }

    /// Gives the number of intervals of the search over steps.
    pub const fn steps_total(self) -> u64 {
        1 << (2 * self.trace)
    }

    /// Gives the moves of the longest game, both sides'.
    pub const fn moves(self) -> u32 {
        // Units, link, trace, step, content, path, final: P answers each, and C asks for each; then the verdict.
        let stages = self.units as u32 + 1 + self.trace as u32 + 1 + 1 + PATH_ROUNDS as u32 + 1;
        2 * stages + 1
    }
}

impl Params {
    /// Checks all relations between the parameters for so many challengers a slot.
    ///
    /// # Errors
    /// The first rule that does not hold.
    pub fn verify(&self, challengers: usize) -> Result<(), ParamsError> {
        let failed = |field, rule: String, got| Err(ParamsError { field, rule, got });
        let Rounds { units, trace } = self.rounds;
        if units == 0 || !units.is_multiple_of(2) || units > MAX_UNIT_ROUNDS {
            let rule = format!("an even number, 2 to {MAX_UNIT_ROUNDS}");
            return failed("rounds.units", rule, u64::from(units));
        }
        if trace == 0 || trace > MAX_TRACE_ROUNDS {
            return failed(
                "rounds.trace",
                format!("1 to {MAX_TRACE_ROUNDS}"),
                u64::from(trace),
            );
        }
        if self.move_timeout_blocks == 0 {
            return failed("move_timeout_blocks", "at least 1".to_owned(), 0);
        }
        let game = self.rounds.moves() * u32::from(self.move_timeout_blocks);
        let least = u32::from(self.challenge_window_blocks) + game;
        if u32::from(self.dispute_window_blocks) <= least {
            let rule = format!(
                "more than {least}, the challenge window and {} moves of {} blocks",
                self.rounds.moves(),
                self.move_timeout_blocks
            );
            return failed(
                "dispute_window_blocks",
                rule,
                u64::from(self.dispute_window_blocks),
            );
        }
        let connectors = CONNECTOR_VALUE.to_sat() * (challengers as u64 + 1);
        let paid = [
            self.reward_sats,
            self.verdict_fee_sats,
            ANCHOR_VALUE.to_sat(),
            connectors,
        ];
        let least = paid.iter().try_fold(0_u64, |sum, sats| sum.checked_add(*sats));
        let least = least.and_then(|sum| sum.checked_add(CONNECTOR_VALUE.to_sat()));
        if least.is_none_or(|least| self.bond_sats < least) {
            let rule = "at least the reward, a verdict's fee, an anchor and the connectors".to_owned();
            return failed("bond_sats", rule, self.bond_sats);
        }
        if self.stake_sats < CONNECTOR_VALUE.to_sat() {
            return failed(
                "stake_sats",
                format!("at least {CONNECTOR_VALUE}"),
                self.stake_sats,
            );
        }
        Ok(())
    }

    /// Gives what main holds in a slot of so many challengers.
    pub fn main_value(&self, challengers: usize) -> Amount {
        Amount::from_sat(self.bond_sats - CONNECTOR_VALUE.to_sat() * challengers as u64)
    }

    /// Gives what a branch's outputs hold.
    pub fn branch_value(&self) -> Amount {
        Amount::from_sat(self.stake_sats + CONNECTOR_VALUE.to_sat())
    }

    /// Gives the lock of a move.
    pub fn move_timeout(&self) -> Sequence {
        blocks(self.move_timeout_blocks)
    }

    /// Gives the lock of the challenge window.
    pub fn challenge_window(&self) -> Sequence {
        blocks(self.challenge_window_blocks)
    }

    /// Gives the lock of the dispute window.
    pub fn dispute_window(&self) -> Sequence {
        blocks(self.dispute_window_blocks)
    }
}

impl VaultParams {
    /// The names of the fields, in the deployment file.
    pub const FIELDS: [&str; 3] = ["split_above_sats", "merge_below_sats", "max_vault_sats"];

    /// Checks all relations between the parameters.
    ///
    /// # Errors
    /// The first rule that does not hold.
    pub fn verify(&self) -> Result<(), ParamsError> {
        let [split, merge, max] = Self::FIELDS;
        let at_least = |field, value: Option<u64>, least: u64| match value {
            Some(got) if got < least => {
                let rule = format!("at least {least}");
                Err(ParamsError { field, rule, got })
            }
            _ => Ok(()),
        };
        // Parts are more than half of it, and no dust.
        at_least(split, self.split_above_sats, 2 * CONNECTOR_VALUE.to_sat())?;
        at_least(merge, self.merge_below_sats, 1)?;
        at_least(max, self.max_vault_sats, 1)?;
        // Then no merge makes what is split, and no split what is merged: fees would be paid forever.
        if let (Some(above), Some(got)) = (self.split_above_sats, self.merge_below_sats)
            && got > above / MERGED_OUTPUTS as u64
        {
            let rule = format!(
                "at most {}, so that what {MERGED_OUTPUTS} outputs become is not above {split}",
                above / MERGED_OUTPUTS as u64
            );
            return Err(ParamsError {
                field: merge,
                rule,
                got,
            });
        }
        Ok(())
    }
}

fn blocks(count: u16) -> Sequence {
    LockTime::Blocks(Height::from(count)).to_sequence()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small searches and short times.
    const SMALL: Params = Params {
        rounds: Rounds { units: 2, trace: 3 },
        move_timeout_blocks: 3,
        challenge_window_blocks: 6,
        dispute_window_blocks: 100,
        bond_sats: 1_000_000,
        stake_sats: 100_000,
        reward_sats: 200_000,
        verdict_fee_sats: 50_000,
    };

    #[test]
    fn relations_are_checked() {
        assert_eq!(SMALL.verify(2), Ok(()));
        let refused = |field: &str, change: fn(&mut Params)| {
            let mut params = SMALL;
            change(&mut params);
            assert_eq!(params.verify(2).unwrap_err().field, field);
        };
        refused("rounds.units", |params| params.rounds.units = 3);
        refused("rounds.trace", |params| params.rounds.trace = 21);
        refused("move_timeout_blocks", |params| params.move_timeout_blocks = 0);
        refused("dispute_window_blocks", |params| {
            params.dispute_window_blocks = 81
        });
        refused("bond_sats", |params| params.bond_sats = 251_000);
        refused("bond_sats", |params| params.reward_sats = u64::MAX);
        refused("stake_sats", |params| params.stake_sats = 329);
    }

    #[test]
    fn relations_of_vault_care_are_checked() {
        let params = |split, merge, max| VaultParams {
            split_above_sats: split,
            merge_below_sats: merge,
            max_vault_sats: max,
        };
        for held in [
            params(None, None, None),
            params(Some(660), None, Some(1)),
            params(None, Some(u64::MAX), None),
            params(Some(8_000), Some(1_000), None),
        ] {
            assert_eq!(held.verify(), Ok(()));
        }
        for (broken, expected) in [
            (
                params(Some(659), None, None),
                "split_above_sats: expected at least 660, got 659",
            ),
            (
                params(None, Some(0), None),
                "merge_below_sats: expected at least 1, got 0",
            ),
            (
                params(None, None, Some(0)),
                "max_vault_sats: expected at least 1, got 0",
            ),
            (
                params(Some(8_007), Some(1_001), None),
                "merge_below_sats: expected at most 1000, so that what 8 outputs become is not above \
                 split_above_sats, got 1001",
            ),
        ] {
            assert_eq!(broken.verify().unwrap_err().to_string(), expected);
        }
    }
}
