//! A challenger takes its connector and puts its stake: the branch begins.

use bitcoin::TxOut;

use super::{Planned, Spent, ValueError};
use crate::connector::Asked;
use crate::params::Params;

/// The input that is the claim's connector, pre-signed.
pub const CONNECTOR_INPUT: usize = 0;
/// The input that is the challenger's stake, which it signs itself.
pub const STAKE_INPUT: usize = 1;

/// Plans the challenge.
///
/// # Errors
/// Where the stake is not what the parameters say.
pub fn challenge(
    params: &Params,
    connector: Spent,
    stake: Spent,
    asked: &Asked,
) -> Result<Planned, ValueError> {
    let next = TxOut {
        value: params.branch_value(),
        script_pubkey: asked.script_pubkey(),
    };
    Planned::free(vec![connector, stake], vec![next])
}
