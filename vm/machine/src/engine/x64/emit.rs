//! Templates of instructions other than jumps and memory.

use dynasmrt::{DynasmApi, DynasmLabelApi, dynasm};

use super::block::{Block, Emitter};
use super::registers::{RAX, RCX};
use crate::instruction::{AluOp, Instruction};

/// Where a guest register is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    /// `x0`.
    Zero,
    /// In a host register.
    Host(u8),
    /// In the frame, at this offset.
    Slot(i8),
}

/// Applies a two-operand host instruction to a register and an operand.
macro_rules! apply {
    ($self:ident, $mnemonic:ident, $to:expr, $from:expr) => {
        match $from {
            Operand::Zero => dynasm!($self.ops; .arch x64 ; $mnemonic Rd($to), BYTE 0),
            Operand::Host(host) => dynasm!($self.ops; .arch x64 ; $mnemonic Rd($to), Rd(host)),
            Operand::Slot(slot) => dynasm!($self.ops; .arch x64 ; $mnemonic Rd($to), [BYTE rsp + slot]),
        }
    };
}

/// Applies a host instruction to a register or slot and an immediate.
macro_rules! apply_immediate {
    ($self:ident, $mnemonic:ident, $to:expr, $imm:expr) => {
        match ($to, i8::try_from($imm)) {
            (Operand::Host(host), Ok(imm)) => dynasm!($self.ops; .arch x64 ; $mnemonic Rd(host), BYTE imm),
            (Operand::Host(host), _) => dynasm!($self.ops; .arch x64 ; $mnemonic Rd(host), DWORD $imm),
            (Operand::Slot(slot), _) => dynasm!($self.ops; .arch x64 ; $mnemonic DWORD [BYTE rsp + slot], DWORD $imm),
            (Operand::Zero, _) => {}
        }
    };
}

impl Emitter<'_> {
    pub(super) fn operand(&self, register: u8) -> Operand {
        match self.pins.host(register) {
            _ if register == 0 => Operand::Zero,
            Some(host) => Operand::Host(host),
            None => Operand::Slot(4 * register as i8),
        }
    }

    /// Gives the host register that holds a guest register: its own, or the scratch register after loading it.
    pub(super) fn read_register(&mut self, register: u8, scratch: u8) -> u8 {
        match self.operand(register) {
            Operand::Host(host) => host,
            operand => {
                self.load(scratch, operand);
                scratch
            }
        }
    }

    /// Moves an operand into a host register.
    pub(super) fn load(&mut self, to: u8, from: Operand) {
        match from {
            Operand::Zero => dynasm!(self.ops; .arch x64 ; mov Rd(to), DWORD 0),
            Operand::Host(host) if host == to => {}
            Operand::Host(host) => dynasm!(self.ops; .arch x64 ; mov Rd(to), Rd(host)),
            Operand::Slot(slot) => dynasm!(self.ops; .arch x64 ; mov Rd(to), [BYTE rsp + slot]),
        }
    }

    /// Gives the host register to compute a guest register in: its own, or the scratch register.
    pub(super) fn target(&self, register: u8, scratch: u8) -> u8 {
        self.pins.host(register).unwrap_or(scratch)
    }

    /// Ends what `target` began.
    pub(super) fn store(&mut self, register: u8, from: u8) {
        if let Operand::Slot(slot) = self.operand(register) {
            dynasm!(self.ops; .arch x64 ; mov [BYTE rsp + slot], Rd(from));
        }
    }

    /// Sets a register to a constant.
    pub(super) fn constant(&mut self, register: u8, value: u32) {
        let value = value.cast_signed();
        match self.operand(register) {
            Operand::Zero => {}
            Operand::Host(host) => dynasm!(self.ops; .arch x64 ; mov Rd(host), DWORD value),
            Operand::Slot(slot) => dynasm!(self.ops; .arch x64 ; mov DWORD [BYTE rsp + slot], DWORD value),
        }
    }

    /// Translates an instruction that is no jump.
    pub(super) fn instruction(&mut self, block: &mut Block, at: usize) {
        let instruction = block.instructions[at];
        let value = self.value_of(&instruction, block.pc(at));
        match instruction {
            Instruction::Load { op, rd, rs1, offset } => self.load_memory(block, at, op, (rd, rs1), offset),
            Instruction::Store { op, rs1, rs2, offset } => {
                self.store_memory(block, at, op, (rs1, rs2), offset)
            }
            _ => {
                let rd = instruction.destination();
                match (value, instruction) {
                    _ if rd == 0 => {}
                    (Some(value), _) if !is_overwritten(block, at) => self.constant(rd, value),
                    (None, Instruction::OpImm { op, rs1, imm, .. }) => self.immediate(op, rd, rs1, imm),
                    (None, Instruction::Op { op, rs1, rs2, .. }) => self.operation(op, rd, rs1, rs2),
                    _ => {}
                }
            }
        }
        let rd = instruction.destination();
        if rd != 0 {
            self.known[usize::from(rd)] = value;
        }
    }

    /// The value that an instruction computes, where it depends on nothing but the code.
    fn value_of(&self, instruction: &Instruction, pc: u32) -> Option<u32> {
        let known = |register: u8| self.known[usize::from(register)];
        match *instruction {
            Instruction::Lui { imm, .. } => Some(imm),
            Instruction::Auipc { imm, .. } => Some(pc.wrapping_add(imm)),
            Instruction::OpImm { op, rs1, imm, .. } => Some(op.apply(known(rs1)?, imm)),
            Instruction::Op { op, rs1, rs2, .. } => Some(op.apply(known(rs1)?, known(rs2)?)),
            _ => None,
        }
    }

    fn immediate(&mut self, op: AluOp, rd: u8, rs1: u8, imm: u32) {
        let imm = imm.cast_signed();
        let in_place = rd == rs1;
        let place = self.operand(rd);
        match op {
            AluOp::Add if imm == 0 => self.copy(rd, rs1),
            AluOp::Add if in_place => apply_immediate!(self, add, place, imm),
            AluOp::Add => {
                let from = self.read_register(rs1, RAX);
                let to = self.target(rd, RAX);
                dynasm!(self.ops; .arch x64 ; lea Rd(to), [Rq(from) + imm]);
                self.store(rd, to);
            }
            AluOp::Slt | AluOp::Sltu => {
                match self.operand(rs1) {
                    Operand::Slot(slot) => {
                        dynasm!(self.ops; .arch x64 ; cmp DWORD [BYTE rsp + slot], DWORD imm)
                    }
                    _ => {
                        let left = self.read_register(rs1, RAX);
                        dynasm!(self.ops; .arch x64 ; cmp Rd(left), DWORD imm);
                    }
                }
                self.set(op, rd);
            }
            AluOp::And if imm == 0xff => {
                let from = self.read_register(rs1, RAX);
                let to = self.target(rd, RAX);
                dynasm!(self.ops; .arch x64 ; movzx Rd(to), Rb(from));
                self.store(rd, to);
            }
            _ if in_place => self.immediate_in_place(op, place, imm),
            _ => {
                let to = self.target(rd, RAX);
                let from = self.operand(rs1);
                self.load(to, from);
                self.immediate_in_place(op, Operand::Host(to), imm);
                self.store(rd, to);
            }
        }
    }

    fn immediate_in_place(&mut self, op: AluOp, place: Operand, imm: i32) {
        match (op, place) {
            (AluOp::Xor, Operand::Host(host)) if imm == -1 => dynasm!(self.ops; .arch x64 ; not Rd(host)),
            (AluOp::Xor, _) => apply_immediate!(self, xor, place, imm),
            (AluOp::Or, _) => apply_immediate!(self, or, place, imm),
            (AluOp::And, _) => apply_immediate!(self, and, place, imm),
            (AluOp::Sll, Operand::Host(host)) => dynasm!(self.ops; .arch x64 ; shl Rd(host), BYTE imm as i8),
            (AluOp::Srl, Operand::Host(host)) => dynasm!(self.ops; .arch x64 ; shr Rd(host), BYTE imm as i8),
            (AluOp::Sra, Operand::Host(host)) => dynasm!(self.ops; .arch x64 ; sar Rd(host), BYTE imm as i8),
            (AluOp::Sll, Operand::Slot(slot)) => {
                dynasm!(self.ops; .arch x64 ; shl DWORD [BYTE rsp + slot], BYTE imm as i8);
            }
            (AluOp::Srl, Operand::Slot(slot)) => {
                dynasm!(self.ops; .arch x64 ; shr DWORD [BYTE rsp + slot], BYTE imm as i8);
            }
            (AluOp::Sra, Operand::Slot(slot)) => {
                dynasm!(self.ops; .arch x64 ; sar DWORD [BYTE rsp + slot], BYTE imm as i8);
            }
            _ => unreachable!("`immediate` does the others, and writes no x0"),
        }
    }

    fn copy(&mut self, rd: u8, rs1: u8) {
        let from = self.read_register(rs1, RAX);
        if let Some(host) = self.pins.host(rd) {
            self.load(host, Operand::Host(from));
        } else {
            self.store(rd, from);
        }
    }

    fn operation(&mut self, op: AluOp, rd: u8, rs1: u8, rs2: u8) {
        match op {
            AluOp::Add if rs1 == 0 || rs2 == 0 => self.copy(rd, rs1 | rs2),
            AluOp::Add | AluOp::Xor | AluOp::Or | AluOp::And | AluOp::Mul => {
                self.commutative(op, rd, rs1, rs2)
            }
            AluOp::Sub => self.subtract(rd, rs1, rs2),
            AluOp::Slt | AluOp::Sltu => {
                let left = self.read_register(rs1, RAX);
                let right = self.operand(rs2);
                apply!(self, cmp, left, right);
                self.set(op, rd);
            }
            AluOp::Sll | AluOp::Srl | AluOp::Sra => {
                let (value, amount) = (self.operand(rs1), self.operand(rs2));
                self.load(RCX, amount);
                let to = self.target(rd, RAX);
                self.load(to, value);
                match op {
                    AluOp::Sll => dynasm!(self.ops; .arch x64 ; shl Rd(to), cl),
                    AluOp::Srl => dynasm!(self.ops; .arch x64 ; shr Rd(to), cl),
                    _ => dynasm!(self.ops; .arch x64 ; sar Rd(to), cl),
                }
                self.store(rd, to);
            }
            AluOp::Mulh | AluOp::Mulhsu | AluOp::Mulhu => self.multiply_high(op, rd, rs1, rs2),
            AluOp::Div | AluOp::Divu | AluOp::Rem | AluOp::Remu => self.divide(op, rd, rs1, rs2),
        }
    }

    fn commutative(&mut self, op: AluOp, rd: u8, rs1: u8, rs2: u8) {
        // Where the target is the second operand, the operands change places.
        let (rs1, rs2) = if rd == rs2 { (rs2, rs1) } else { (rs1, rs2) };
        let (left, right) = (self.operand(rs1), self.operand(rs2));
        let to = self.target(rd, RAX);
        if let (AluOp::Add, Operand::Host(a), Operand::Host(b)) = (op, left, right)
            && a != to
        {
            dynasm!(self.ops; .arch x64 ; lea Rd(to), [Rq(a) + Rq(b)]);
        } else {
            self.load(to, left);
            match op {
                AluOp::Add => apply!(self, add, to, right),
                AluOp::Xor => apply!(self, xor, to, right),
                AluOp::Or => apply!(self, or, to, right),
                AluOp::And => apply!(self, and, to, right),
                _ => match right {
                    Operand::Zero => self.load(to, Operand::Zero),
                    Operand::Host(host) => dynasm!(self.ops; .arch x64 ; imul Rd(to), Rd(host)),
                    Operand::Slot(slot) => dynasm!(self.ops; .arch x64 ; imul Rd(to), [BYTE rsp + slot]),
                },
            }
        }
        self.store(rd, to);
    }

    fn subtract(&mut self, rd: u8, rs1: u8, rs2: u8) {
        let (left, right) = (self.operand(rs1), self.operand(rs2));
        let to = self.target(rd, RAX);
        if right == Operand::Host(to) {
            if rs1 == rs2 {
                self.load(to, Operand::Zero);
                return;
            }
            dynasm!(self.ops; .arch x64 ; neg Rd(to));
            apply!(self, add, to, left);
        } else {
            self.load(to, left);
            apply!(self, sub, to, right);
        }
        self.store(rd, to);
    }

    /// Compares two registers. Tells whether they changed places.
    pub(super) fn compare(&mut self, rs1: u8, rs2: u8) -> bool {
        let (left, right) = (self.operand(rs1), self.operand(rs2));
        match (left, right) {
            (Operand::Zero, _) => {
                self.compare_zero(right);
                return true;
            }
            (_, Operand::Zero) => self.compare_zero(left),
            (Operand::Slot(slot), Operand::Host(host)) => {
                dynasm!(self.ops; .arch x64 ; cmp [BYTE rsp + slot], Rd(host));
            }
            _ => {
                let left = self.read_register(rs1, RAX);
                apply!(self, cmp, left, right);
            }
        }
        false
    }

    fn compare_zero(&mut self, operand: Operand) {
        match operand {
            Operand::Host(host) => dynasm!(self.ops; .arch x64 ; test Rd(host), Rd(host)),
            Operand::Slot(slot) => dynasm!(self.ops; .arch x64 ; cmp DWORD [BYTE rsp + slot], BYTE 0),
            Operand::Zero => dynasm!(self.ops; .arch x64 ; cmp eax, eax),
        }
    }

    /// Sets a register to one where the last comparison says less, else to zero.
    fn set(&mut self, op: AluOp, rd: u8) {
        if op == AluOp::Slt {
            dynasm!(self.ops; .arch x64 ; setl al);
        } else {
            dynasm!(self.ops; .arch x64 ; setb al);
        }
        let to = self.target(rd, RAX);
        dynasm!(self.ops; .arch x64 ; movzx Rd(to), al);
        self.store(rd, to);
    }

    fn multiply_high(&mut self, op: AluOp, rd: u8, rs1: u8, rs2: u8) {
        let (left, right) = (self.operand(rs1), self.operand(rs2));
        self.load(RAX, left);
        self.load(RCX, right);
        if op != AluOp::Mulhu {
            dynasm!(self.ops; .arch x64 ; movsxd rax, eax);
        }
        if op == AluOp::Mulh {
            dynasm!(self.ops; .arch x64 ; movsxd rcx, ecx);
        }
        dynasm!(self.ops; .arch x64 ; imul rax, rcx ; shr rax, 32);
        let to = self.target(rd, RAX);
        self.load(to, Operand::Host(RAX));
        self.store(rd, to);
    }

    /// Divides as the manual says: by zero gives all ones, or the dividend as remainder; -2^31 by -1 wraps.
    fn divide(&mut self, op: AluOp, rd: u8, rs1: u8, rs2: u8) {
        let (left, right) = (self.operand(rs1), self.operand(rs2));
        self.load(RAX, left);
        self.load(RCX, right);
        dynasm!(self.ops; .arch x64 ; test ecx, ecx ; jz >zero);
        if matches!(op, AluOp::Divu | AluOp::Remu) {
            dynasm!(self.ops; .arch x64 ; xor edx, edx ; div ecx ; jmp >done);
        } else {
            dynasm!(self.ops; .arch x64
                ; cmp ecx, BYTE -1
                ; je >minus
                ; cdq
                ; idiv ecx
                ; jmp >done
                ; minus:
                ; neg eax
                ; xor edx, edx
                ; jmp >done
            );
        }
        dynasm!(self.ops; .arch x64
            ; zero:
            ; mov edx, eax
            ; mov eax, DWORD -1
            ; done:
        );
        let result = if matches!(op, AluOp::Div | AluOp::Divu) {
            RAX
        } else {
            super::registers::RDX
        };
        let to = self.target(rd, result);
        self.load(to, Operand::Host(result));
        self.store(rd, to);
    }
}

/// Whether a constant need not be written, because the next instruction writes the register from it and cannot leave.
fn is_overwritten(block: &Block, at: usize) -> bool {
    let rd = block.instructions[at].destination();
    match block.instructions.get(at + 1) {
        Some(Instruction::OpImm { rd: next, rs1, .. }) => *next == rd && *rs1 == rd,
        Some(Instruction::Jalr { rd: next, rs1, .. }) => *next == rd && *rs1 == rd,
        _ => false,
    }
}
