//! The bond becomes a claim.

use bitcoin::TxOut;

use super::{Planned, Spent, ValueError};
use crate::connector::Funds;
use crate::params::{CONNECTOR_VALUE, Params};

/// Gives the output of a challenger's connector.
pub const fn connector_output(pair: u32) -> u32 {
    1 + pair
}

/// Plans the claim: main, a connector for each challenger.
///
/// # Errors
/// Where the bond is not what the parameters say.
pub fn claim(params: &Params, bond: Spent, funds: &Funds, challengers: usize) -> Result<Planned, ValueError> {
    let mut outputs = vec![funds.output(params.main_value(challengers))];
    let connectors: Vec<TxOut> = vec![funds.output(CONNECTOR_VALUE); challengers];
    outputs.extend(connectors);
    Planned::free(vec![bond], outputs)
}
