//! The challenger was silent: its stake is the operator's. Not pre-signed: the leaf has the operator's key.

use bitcoin::{ScriptBuf, TxOut};

use super::{Planned, Spent, ValueError};
use crate::params::Params;

/// Plans it: the output is `move_timeout` old.
///
/// # Errors
/// Where values do not balance.
pub fn forfeit(params: &Params, answered: Spent, payout: &ScriptBuf) -> Result<Planned, ValueError> {
    let stake = TxOut {
        value: answered.output.value,
        script_pubkey: payout.clone(),
    };
    Planned::free(vec![answered.after(params.move_timeout())], vec![stake])
}
