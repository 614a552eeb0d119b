//! How deposits enter the vault, and how its outputs leave it: assigned to a slot, taken after the slot's claim.

use bitcoin::{Amount, ScriptBuf, TxOut};
use bitsect_vm::derive::{assignment_script, vault_spend_script};

use super::{NEXT_OUTPUT, Planned, REIMBURSE_OUTPUT, Spent, ValueError};
use crate::connector::Funds;
use crate::convert::chain_outpoint;

/// The accept's output in the vault.
pub const VAULT_OUTPUT: u32 = 0;
/// The reimbursement's output that pays the operator.
pub const REIMBURSED_OUTPUT: u32 = 0;

/// Plans the transaction that takes a deposit into the vault, all of it.
///
/// # Errors
/// Where values do not balance.
pub fn accept(deposit: Spent, funds: &Funds) -> Result<Planned, ValueError> {
    let vault = funds.output(deposit.output.value);
    Planned::free(vec![deposit], vec![vault])
}

/// Plans the transaction that spends a slot's ticket for a vault output: a right to it.
///
/// # Errors
/// Where values do not balance.
pub fn assignment(ticket: Spent, vault: &Spent, funds: &Funds) -> Result<Planned, ValueError> {
    let right = funds.output(ticket.output.value);
    let tag = tag(assignment_script(&chain_outpoint(&vault.outpoint)));
    Planned::free(vec![ticket], vec![right, tag])
}

/// Plans the transaction that pays the operator a vault output: behind an end of its claim, with the right to this output.
///
/// # Errors
/// Where values do not balance.
pub fn reimbursement(
    finalise: &Planned,
    assignment: &Planned,
    vault: Spent,
    payout: &ScriptBuf,
) -> Result<Planned, ValueError> {
    let spent = vec![
        finalise.output(REIMBURSE_OUTPUT),
        assignment.output(NEXT_OUTPUT),
        vault,
    ];
    let paid = TxOut {
        value: spent.iter().map(|spent| spent.output.value).sum(),
        script_pubkey: payout.clone(),
    };
    Planned::free(spent, vec![paid, tag(vault_spend_script())])
}

/// Plans the transaction that moves vault outputs within the vault: its first outputs hold `amounts`.
///
/// # Errors
/// Where the amounts are not what the inputs hold.
pub fn vault_spend(spent: Vec<Spent>, amounts: &[Amount], funds: &Funds) -> Result<Planned, ValueError> {
    let made = amounts.iter().map(|amount| funds.output(*amount));
    let outputs = made.chain([tag(vault_spend_script())]).collect();
    Planned::free(spent, outputs)
}

/// An output that tells the chain.
fn tag(script: Vec<u8>) -> TxOut {
    TxOut {
        value: Amount::ZERO,
        script_pubkey: ScriptBuf::from_bytes(script),
    }
}
