//! A claim that nobody defeated: the bond goes back, and the reimburse connector is there.

use bitcoin::{ScriptBuf, TxOut};

use super::{NEXT_OUTPUT, Planned, Spent, ValueError, connector_output};
use crate::connector::Funds;
use crate::params::{CONNECTOR_VALUE, Params};

/// The output that gives the bond back.
pub const BOND_OUTPUT: u32 = 0;
/// The output with which the operator takes what it claimed.
pub const REIMBURSE_OUTPUT: u32 = 1;

/// Plans the end of a claim that nobody challenged: main and all connectors, `challenge_window` old.
///
/// # Errors
/// Where values do not balance.
pub fn finalise_fast(
    params: &Params,
    claim: &Planned,
    funds: &Funds,
    payout: &ScriptBuf,
    challengers: usize,
) -> Result<Planned, ValueError> {
    let after = params.challenge_window();
    let connectors = (0..challengers as u32).map(|pair| claim.output(connector_output(pair)).after(after));
    let spent = [claim.output(NEXT_OUTPUT).after(after)]
        .into_iter()
        .chain(connectors);
    finalise(spent.collect(), funds, payout)
}

/// Plans the end of a claim that was challenged and upheld: main alone, `dispute_window` old.
///
/// # Errors
/// Where values do not balance.
pub fn finalise_slow(
    params: &Params,
    claim: &Planned,
    funds: &Funds,
    payout: &ScriptBuf,
) -> Result<Planned, ValueError> {
    let main = claim.output(NEXT_OUTPUT).after(params.dispute_window());
    finalise(vec![main], funds, payout)
}

fn finalise(spent: Vec<Spent>, funds: &Funds, payout: &ScriptBuf) -> Result<Planned, ValueError> {
    let all: bitcoin::Amount = spent.iter().map(|spent| spent.output.value).sum();
    let bond = TxOut {
        value: all - CONNECTOR_VALUE,
        script_pubkey: payout.clone(),
    };
    Planned::free(spent, vec![bond, funds.output(CONNECTOR_VALUE)])
}
