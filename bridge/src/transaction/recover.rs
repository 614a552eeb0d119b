//! Another branch slashed main: the challenger takes its stake back alone, by the leaf that would have won with main.

use bitcoin::{ScriptBuf, TxOut};

use super::{Planned, Spent, ValueError};

/// Plans it. The branch's output is `move_timeout` old where the leaf is the timeout's: then its sequence says so.
///
/// # Errors
/// Where values do not balance.
pub fn recover(branch: Spent, payout: &ScriptBuf) -> Result<Planned, ValueError> {
    let stake = TxOut {
        value: branch.output.value,
        script_pubkey: payout.clone(),
    };
    Planned::free(vec![branch], vec![stake])
}
