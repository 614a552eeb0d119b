//! The challenger asks for the next stage.

use bitcoin::TxOut;

use super::{Planned, Spent, ValueError};
use crate::connector::Asked;

/// Plans the question.
///
/// # Errors
/// Where values do not balance.
pub fn ask(answered: Spent, asked: &Asked) -> Result<Planned, ValueError> {
    let next = TxOut {
        value: answered.output.value,
        script_pubkey: asked.script_pubkey(),
    };
    Planned::free(vec![answered], vec![next])
}
