//! How the chain talks to `Bridge`: what it records there of Bitcoin, and where its storage has what (docs/bridge.md).

use alloc::vec::Vec;
use alloy_primitives::{Address, B256, FixedBytes, U256, hex, keccak256};

use super::{OutPoint, Txid};

/// The name of a Bitcoin output in `Bridge`: of a vault output, or of a ticket.
pub type OutputId = FixedBytes<24>;

/// The slot of the mapping from vault outputs' names to their amount and ticket.
const VAULT_OUTPUTS_SLOT: u8 = 4;
/// The slot of the mapping from tickets' names to their assignment.
const ASSIGNMENTS_SLOT: u8 = 5;
/// The slot of the sums: vault, pending, credit and in flight, 64 bits each from the low end.
pub const TOTALS_SLOT: U256 = U256::from_limbs([2, 0, 0, 0]);
/// The slot of, from the low end, the number of withdrawals, all that was assigned and not given back, and what recipients of deposits
/// did not take: 64 bits each.
pub const COUNTS_SLOT: U256 = U256::ZERO;

/// `recordDeposit(bytes32,uint32,address,bytes)`.
const RECORD_DEPOSIT: [u8; 4] = hex!("e5313d90");
/// `recordPayout(bytes32,bytes32,bytes)`.
const RECORD_PAYOUT: [u8; 4] = hex!("c7c855ee");
/// `recordAssignment(bytes32,uint32,bytes32,uint32)`.
const RECORD_ASSIGNMENT: [u8; 4] = hex!("9f5fbb0a");
/// `recordVaultSpend(bytes32,bytes,bytes)`.
const RECORD_VAULT_SPEND: [u8; 4] = hex!("20d46433");
/// `recordRedemption(bytes32,address)`.
const RECORD_REDEMPTION: [u8; 4] = hex!("a2f1e1af");

/// Names a Bitcoin output as `Bridge` does: the first 24 bytes of the keccak of txid and vout.
pub fn output_id(outpoint: &OutPoint) -> OutputId {
    let hash = keccak256([outpoint.txid.as_slice(), &outpoint.vout.to_be_bytes()].concat());
    OutputId::try_from(hash.split_at(24).0).unwrap_or_default()
}

/// Gives the slot of `Bridge` that has a vault output: its amount in the low 64 bits, above it the ticket.
pub fn vault_output_slot(id: &OutputId) -> U256 {
    mapping_slot(id, VAULT_OUTPUTS_SLOT)
}

/// Gives the slot of `Bridge` that has a ticket's assignment: see [`assigned_height`].
pub fn assignment_slot(ticket: &OutputId) -> U256 {
    mapping_slot(ticket, ASSIGNMENTS_SLOT)
}

/// Reads the height of the L1 block at which an assignment was recorded; `None` where there is none.
pub fn assigned_height(value: U256) -> Option<u32> {
    let height: u32 = value.wrapping_shr(192).wrapping_to();
    (height != 0).then_some(height)
}

fn mapping_slot(id: &OutputId, slot: u8) -> U256 {
    let mut key = [0; 64];
    let bytes = id.iter().copied().chain([0; 39]).chain([slot]);
    key.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    keccak256(key).into()
}

/// Encodes the call that records a deposit. `call` is empty, or a target and the calldata for it.
pub fn record_deposit_input(output: &OutPoint, recipient: Address, call: &[u8]) -> Vec<u8> {
    let words = [
        output.txid,
        word(output.vout.into()),
        recipient.into_word(),
        word(4 * 32),
    ];
    encode(RECORD_DEPOSIT, &words, &[call])
}

/// Reads the recipient from the call that records a deposit; `None` for another call.
pub fn deposit_recipient(input: &[u8]) -> Option<Address> {
    let head = input.strip_prefix(&RECORD_DEPOSIT)?;
    Some(Address::from_word(B256::try_from(head.get(64..96)?).ok()?))
}

/// Encodes the call that records a payout: of each withdrawal that it names its id, and the output that pays it.
pub fn record_payout_input<'a>(
    txid: &Txid,
    operator: &Txid,
    paid: impl IntoIterator<Item = (u64, u64, &'a [u8])>,
) -> Vec<u8> {
    let mut packed = Vec::new();
    for (id, sats, script) in paid {
        packed.extend(id.to_be_bytes());
        packed.extend(sats.to_be_bytes());
        packed.push(u8::try_from(script.len()).unwrap_or(u8::MAX));
        packed.extend(script.iter().take(u8::MAX.into()));
    }
    encode(RECORD_PAYOUT, &[*txid, *operator, word(3 * 32)], &[&packed])
}

/// Encodes the call that records that a ticket was spent for a vault output.
pub fn record_assignment_input(ticket: &OutPoint, vault_output: &OutPoint) -> Vec<u8> {
    let words = [
        ticket.txid,
        word(ticket.vout.into()),
        vault_output.txid,
        word(vault_output.vout.into()),
    ];
    encode(RECORD_ASSIGNMENT, &words, &[])
}

/// Encodes the call that records what a transaction takes from the vault, and the outputs (vout, sats) that it adds.
pub fn record_vault_spend_input(txid: &Txid, inputs: &[OutPoint], outputs: &[(u32, u64)]) -> Vec<u8> {
    let spent: Vec<u8> = inputs
        .iter()
        .flat_map(|input| input.txid.0.into_iter().chain(input.vout.to_be_bytes()))
        .collect();
    let added: Vec<u8> = outputs
        .iter()
        .flat_map(|(vout, sats)| vout.to_be_bytes().into_iter().chain(sats.to_be_bytes()))
        .collect();
    let behind = padded(spent.len()).saturating_add(4 * 32);
    encode(
        RECORD_VAULT_SPEND,
        &[*txid, word(3 * 32), word(behind as u64)],
        &[&spent, &added],
    )
}

/// Encodes the call that records that an operator wants its credit on L2.
pub fn record_redemption_input(operator: &Txid, to: Address) -> Vec<u8> {
    encode(RECORD_REDEMPTION, &[*operator, to.into_word()], &[])
}

/// Encodes a call: its head's words, then byte strings, each its length and itself, padded.
fn encode(selector: [u8; 4], head: &[B256], tail: &[&[u8]]) -> Vec<u8> {
    let mut input = Vec::from(selector);
    for word in head {
        input.extend_from_slice(word.as_slice());
    }
    for bytes in tail {
        input.extend_from_slice(word(bytes.len() as u64).as_slice());
        input.extend_from_slice(bytes);
        input.resize(
            input
                .len()
                .saturating_add(padded(bytes.len()).saturating_sub(bytes.len())),
            0,
        );
    }
    input
}

fn word(number: u64) -> B256 {
    U256::from(number).into()
}

const fn padded(len: usize) -> usize {
    len.div_ceil(32).saturating_mul(32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_sol_types::{SolCall, sol};

    sol! {
        function recordDeposit(bytes32 txid, uint32 vout, address recipient, bytes call);
        function recordPayout(bytes32 txid, bytes32 operator, bytes paid);
        function recordAssignment(bytes32 operator, uint32 ticketVout, bytes32 vaultTxid, uint32 vaultVout);
        function recordVaultSpend(bytes32 txid, bytes inputs, bytes outputs);
        function recordRedemption(bytes32 operator, address to);
    }

    fn outpoint(byte: u8, vout: u32) -> OutPoint {
        OutPoint {
            txid: B256::repeat_byte(byte),
            vout,
        }
    }

    #[test]
    fn calls_are_encoded_as_solidity_does() {
        let recipient = Address::repeat_byte(7);
        for call in [&[][..], &[1; 20], &[2; 53], &[3; 64]] {
            let theirs = recordDepositCall {
                txid: B256::repeat_byte(1),
                vout: 3,
                recipient,
                call: call.to_vec().into(),
            };
            let ours = record_deposit_input(&outpoint(1, 3), recipient, call);
            assert_eq!(ours, theirs.abi_encode());
            assert_eq!(deposit_recipient(&ours), Some(recipient));
        }
        let operator = B256::repeat_byte(2);
        let packed = [&1_u64.to_be_bytes()[..], &600_u64.to_be_bytes(), &[3, 9, 9, 9]].concat();
        let theirs = recordPayoutCall {
            txid: B256::repeat_byte(1),
            operator,
            paid: packed.into(),
        };
        let ours = record_payout_input(&B256::repeat_byte(1), &operator, [(1, 600, &[9; 3][..])]);
        assert_eq!(ours, theirs.abi_encode());
        let theirs = recordAssignmentCall {
            operator,
            ticketVout: 5,
            vaultTxid: B256::repeat_byte(4),
            vaultVout: 6,
        };
        assert_eq!(
            record_assignment_input(&outpoint(2, 5), &outpoint(4, 6)),
            theirs.abi_encode()
        );
        let theirs = recordVaultSpendCall {
            txid: B256::repeat_byte(1),
            inputs: [&[2; 32][..], &[0, 0, 0, 5]].concat().into(),
            outputs: [&[0, 0, 0, 1][..], &9_u64.to_be_bytes()].concat().into(),
        };
        let ours = record_vault_spend_input(&B256::repeat_byte(1), &[outpoint(2, 5)], &[(1, 9)]);
        assert_eq!(ours, theirs.abi_encode());
        let theirs = recordRedemptionCall {
            operator,
            to: recipient,
        };
        assert_eq!(record_redemption_input(&operator, recipient), theirs.abi_encode());
    }

    #[test]
    fn an_assignment_is_there_from_its_height() {
        assert_eq!(assigned_height(U256::ZERO), None);
        let value = (U256::from(7) << 192_usize) | U256::from(u64::MAX);
        assert_eq!(assigned_height(value), Some(7));
    }
}
