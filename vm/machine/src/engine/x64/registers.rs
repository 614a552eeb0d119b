//! Which guest registers live in host registers.

use crate::instruction::Instruction;

/// Host registers, by their numbers in x86-64's encoding.
pub(super) const RAX: u8 = 0;
pub(super) const RCX: u8 = 1;
pub(super) const RDX: u8 = 2;

/// rbx, rbp, rsi, rdi, r8 to r13. Templates use rax, rcx and rdx; r14 counts the steps that are left, and r15 is where
/// the guest's address 0 is.
pub(super) const HOSTS: [u8; 10] = [3, 5, 6, 7, 8, 9, 10, 11, 12, 13];

/// The host register of each guest register that has one.
#[derive(Clone, Debug)]
pub(super) struct Pins([Option<u8>; 32]);

impl Pins {
    /// Pins the registers that a text names most often. `x0` is a constant.
    pub(super) fn choose(text: &[u8]) -> Self {
        let mut uses = [0_u64; 32];
        for word in text.as_chunks::<4>().0 {
            if let Some(instruction) = Instruction::decode(u32::from_le_bytes(*word)) {
                let (rs1, rs2) = instruction.sources();
                for register in [rs1, rs2, instruction.destination()] {
                    uses[usize::from(register)] += 1;
                }
            }
        }
        let mut order: Vec<usize> = (1..32).collect();
        order.sort_by_key(|register| core::cmp::Reverse(uses[*register]));
        let mut pins = [None; 32];
        for (register, host) in order.into_iter().zip(HOSTS) {
            pins[register] = Some(host);
        }
        Self(pins)
    }

    /// Gives the host register of a guest register.
    pub(super) fn host(&self, register: u8) -> Option<u8> {
        self.0[usize::from(register)]
    }

    /// Lists guest and host registers.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (u8, u8)> {
        self.0
            .iter()
            .enumerate()
            .filter_map(|(guest, host)| Some((guest as u8, (*host)?)))
    }
}
