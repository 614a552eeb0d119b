//! The prover answers a stage.

use bitcoin::TxOut;

use super::{Planned, Spent, ValueError};
use crate::connector::Answered;

/// Plans the answer.
///
/// # Errors
/// Where values do not balance.
pub fn answer(asked: Spent, answered: &Answered) -> Result<Planned, ValueError> {
    let next = TxOut {
        value: asked.output.value,
        script_pubkey: answered.script_pubkey(),
    };
    Planned::free(vec![asked], vec![next])
}
