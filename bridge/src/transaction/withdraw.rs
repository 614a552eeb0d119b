//! The operator takes a bond back that backs no claim. Not pre-signed: the leaf has the operator's key.

use bitcoin::{ScriptBuf, TxOut};

use super::{Planned, Spent, ValueError};

/// Plans it.
///
/// # Errors
/// Where values do not balance.
pub fn withdraw(bond: Spent, payout: &ScriptBuf) -> Result<Planned, ValueError> {
    let output = TxOut {
        value: bond.output.value,
        script_pubkey: payout.clone(),
    };
    Planned::free(vec![bond], vec![output])
}
