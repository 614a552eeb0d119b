//! A claim is defeated: by a leaf that proves it false, or because the prover was silent.

use bitcoin::opcodes::all::OP_RETURN;
use bitcoin::script::Builder;
use bitcoin::{Amount, ScriptBuf, TxOut};

use super::{Planned, Spent, ValueError};
use crate::params::{ANCHOR_VALUE, Params};

/// The input that is the branch's output, which the challenger signs.
pub const BRANCH_INPUT: usize = 0;
/// The input that is main, pre-signed: the signature covers both inputs, so that it serves every leaf of the first.
pub const MAIN_INPUT: usize = 1;
/// The output that gives the challenger its stake and the reward.
pub const REWARD_OUTPUT: u32 = 0;

/// Plans the slash by a verdict, which has a fee out of the bond: it exceeds what a version 3 transaction may be.
///
/// # Errors
/// Where values do not balance.
pub fn verdict(
    params: &Params,
    answered: Spent,
    main: Spent,
    payout: &ScriptBuf,
) -> Result<Planned, ValueError> {
    let fee = Amount::from_sat(params.verdict_fee_sats);
    let outputs = shares(params, &answered, &main, payout, fee + ANCHOR_VALUE);
    Planned::paying(vec![answered, main], outputs, fee)
}

/// Plans the slash of a prover that did not answer within `move_timeout`.
///
/// # Errors
/// Where values do not balance.
pub fn timeout(
    params: &Params,
    asked: Spent,
    main: Spent,
    payout: &ScriptBuf,
) -> Result<Planned, ValueError> {
    let outputs = shares(params, &asked, &main, payout, Amount::ZERO);
    Planned::free(vec![asked.after(params.move_timeout()), main], outputs)
}

/// The challenger gets its stake and the reward. The rest of the bond is burnt, so that an operator that defeats itself
/// gains nothing.
fn shares(params: &Params, branch: &Spent, main: &Spent, payout: &ScriptBuf, costs: Amount) -> Vec<TxOut> {
    let reward = Amount::from_sat(params.reward_sats);
    vec![
        TxOut {
            value: branch.output.value + reward,
            script_pubkey: payout.clone(),
        },
        TxOut {
            value: main.output.value - reward - costs,
            script_pubkey: Builder::new().push_opcode(OP_RETURN).into_script(),
        },
    ]
}
