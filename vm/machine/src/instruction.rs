//! Instructions of rv32im (RISC-V unprivileged ISA, chapters RV32I and M), decoded and shown.

use core::fmt;

/// A register's index, 0 to 31.
type Register = u8;

/// A decoded instruction. Immediates are sign-extended; those of `lui` and `auipc` are shifted already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the manual's own names")]
pub enum Instruction {
    Lui {
        rd: Register,
        imm: u32,
    },
    Auipc {
        rd: Register,
        imm: u32,
    },
    Jal {
        rd: Register,
        offset: u32,
    },
    Jalr {
        rd: Register,
        rs1: Register,
        offset: u32,
    },
    Branch {
        op: BranchOp,
        rs1: Register,
        rs2: Register,
        offset: u32,
    },
    Load {
        op: LoadOp,
        rd: Register,
        rs1: Register,
        offset: u32,
    },
    Store {
        op: StoreOp,
        rs1: Register,
        rs2: Register,
        offset: u32,
    },
    OpImm {
        op: AluOp,
        rd: Register,
        rs1: Register,
        imm: u32,
    },
    Op {
        op: AluOp,
        rd: Register,
        rs1: Register,
        rs2: Register,
    },
    Fence,
    Ecall,
    Ebreak,
}

/// What a branch compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the manual's own names")]
pub enum BranchOp {
    Eq,
    Ne,
    Lt,
    Ge,
    Ltu,
    Geu,
}

/// What a load reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the manual's own names")]
pub enum LoadOp {
    Lb,
    Lh,
    Lw,
    Lbu,
    Lhu,
}

/// What a store writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the manual's own names")]
pub enum StoreOp {
    Sb,
    Sh,
    Sw,
}

/// What is computed of two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the manual's own names")]
pub enum AluOp {
    Add,
    Sub,
    Sll,
    Slt,
    Sltu,
    Xor,
    Srl,
    Sra,
    Or,
    And,
    Mul,
    Mulh,
    Mulhsu,
    Mulhu,
    Div,
    Divu,
    Rem,
    Remu,
}

/// The registers' names in the calling convention.
pub const REGISTER_NAMES: [&str; 32] = [
    "zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4", "a5", "a6",
    "a7", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6",
];

/// The word of `ecall`.
const ECALL: u32 = 0x0000_0073;
/// The word of `ebreak`.
const EBREAK: u32 = 0x0010_0073;

/// Takes `len` bits from bit `low`.
const fn bits(word: u32, low: u32, len: u32) -> u32 {
    (word >> low) & ((1 << len) - 1)
}

/// Extends the sign of the lowest `len` bits.
const fn sign_extend(value: u32, len: u32) -> u32 {
    (((value << (32 - len)) as i32) >> (32 - len)) as u32
}

impl Instruction {
    /// Decodes a word; `None` where it is no instruction of rv32im.
    pub fn decode(word: u32) -> Option<Self> {
        let rd = bits(word, 7, 5) as u8;
        let funct3 = bits(word, 12, 3);
        let rs1 = bits(word, 15, 5) as u8;
        let rs2 = bits(word, 20, 5) as u8;
        let offset = sign_extend(bits(word, 20, 12), 12);
        Some(match bits(word, 0, 7) {
            0x37 => Self::Lui {
                rd,
                imm: word & 0xffff_f000,
            },
            0x17 => Self::Auipc {
                rd,
                imm: word & 0xffff_f000,
            },
            0x6f => Self::Jal {
                rd,
                offset: jump_offset(word),
            },
            0x67 if funct3 == 0 => Self::Jalr { rd, rs1, offset },
            0x63 => Self::Branch {
                op: BranchOp::decode(funct3)?,
                rs1,
                rs2,
                offset: branch_offset(word),
            },
            0x03 => Self::Load {
                op: LoadOp::decode(funct3)?,
                rd,
                rs1,
                offset,
            },
            0x23 => {
                let offset = sign_extend(bits(word, 25, 7) << 5 | bits(word, 7, 5), 12);
                Self::Store {
                    op: StoreOp::decode(funct3)?,
                    rs1,
                    rs2,
                    offset,
                }
            }
            0x13 => {
                let (op, imm) = decode_immediate(word)?;
                Self::OpImm { op, rd, rs1, imm }
            }
            0x33 => Self::Op {
                op: AluOp::decode(funct3, bits(word, 25, 7))?,
                rd,
                rs1,
                rs2,
            },
            0x0f if funct3 <= 1 => Self::Fence,
            0x73 if word == ECALL => Self::Ecall,
            0x73 if word == EBREAK => Self::Ebreak,
            _ => return None,
        })
    }

    /// Gives the registers that are read as `rs1` and `rs2`; zero where there is none.
    pub const fn sources(&self) -> (Register, Register) {
        match *self {
            Self::Jalr { rs1, .. } | Self::Load { rs1, .. } | Self::OpImm { rs1, .. } => (rs1, 0),
            Self::Branch { rs1, rs2, .. } | Self::Store { rs1, rs2, .. } | Self::Op { rs1, rs2, .. } => {
                (rs1, rs2)
            }
            _ => (0, 0),
        }
    }

    /// Gives the register that is written; zero where there is none.
    pub const fn destination(&self) -> Register {
        match *self {
            Self::Lui { rd, .. }
            | Self::Auipc { rd, .. }
            | Self::Jal { rd, .. }
            | Self::Jalr { rd, .. }
            | Self::Load { rd, .. }
            | Self::OpImm { rd, .. }
            | Self::Op { rd, .. } => rd,
            _ => 0,
        }
    }

    /// Whether the next instruction need not be the one behind this.
    pub const fn ends_block(&self) -> bool {
        matches!(
            self,
            Self::Jal { .. } | Self::Jalr { .. } | Self::Branch { .. } | Self::Ecall | Self::Ebreak
        )
    }
}

const fn jump_offset(word: u32) -> u32 {
    let offset =
        bits(word, 31, 1) << 20 | bits(word, 12, 8) << 12 | bits(word, 20, 1) << 11 | bits(word, 21, 10) << 1;
    sign_extend(offset, 21)
}

const fn branch_offset(word: u32) -> u32 {
    let offset =
        bits(word, 31, 1) << 12 | bits(word, 7, 1) << 11 | bits(word, 25, 6) << 5 | bits(word, 8, 4) << 1;
    sign_extend(offset, 13)
}

fn decode_immediate(word: u32) -> Option<(AluOp, u32)> {
    let imm = sign_extend(bits(word, 20, 12), 12);
    let amount = bits(word, 20, 5);
    Some(match (bits(word, 12, 3), bits(word, 25, 7)) {
        (0, _) => (AluOp::Add, imm),
        (1, 0x00) => (AluOp::Sll, amount),
        (2, _) => (AluOp::Slt, imm),
        (3, _) => (AluOp::Sltu, imm),
        (4, _) => (AluOp::Xor, imm),
        (5, 0x00) => (AluOp::Srl, amount),
        (5, 0x20) => (AluOp::Sra, amount),
        (6, _) => (AluOp::Or, imm),
        (7, _) => (AluOp::And, imm),
        _ => return None,
    })
}

impl BranchOp {
    const fn decode(funct3: u32) -> Option<Self> {
        Some(match funct3 {
            0 => Self::Eq,
            1 => Self::Ne,
            4 => Self::Lt,
            5 => Self::Ge,
            6 => Self::Ltu,
            7 => Self::Geu,
            _ => return None,
        })
    }

    /// Whether the branch is taken.
    pub const fn holds(self, a: u32, b: u32) -> bool {
        match self {
            Self::Eq => a == b,
            Self::Ne => a != b,
            Self::Lt => (a as i32) < (b as i32),
            Self::Ge => (a as i32) >= (b as i32),
            Self::Ltu => a < b,
            Self::Geu => a >= b,
        }
    }
}

impl LoadOp {
    const fn decode(funct3: u32) -> Option<Self> {
        Some(match funct3 {
            0 => Self::Lb,
            1 => Self::Lh,
            2 => Self::Lw,
            4 => Self::Lbu,
            5 => Self::Lhu,
            _ => return None,
        })
    }

    /// Bytes that are read.
    pub const fn size(self) -> u32 {
        match self {
            Self::Lb | Self::Lbu => 1,
            Self::Lh | Self::Lhu => 2,
            Self::Lw => 4,
        }
    }

    /// Takes the value out of the aligned word that holds it.
    pub const fn extract(self, word: u32, address: u32) -> u32 {
        let shifted = word >> ((address % 4) * 8);
        match self {
            Self::Lb => sign_extend(shifted & 0xff, 8),
            Self::Lh => sign_extend(shifted & 0xffff, 16),
            Self::Lw => shifted,
            Self::Lbu => shifted & 0xff,
            Self::Lhu => shifted & 0xffff,
        }
    }
}

impl StoreOp {
    const fn decode(funct3: u32) -> Option<Self> {
        Some(match funct3 {
            0 => Self::Sb,
            1 => Self::Sh,
            2 => Self::Sw,
            _ => return None,
        })
    }

    /// Bytes that are written.
    pub const fn size(self) -> u32 {
        match self {
            Self::Sb => 1,
            Self::Sh => 2,
            Self::Sw => 4,
        }
    }

    /// Puts the value into the aligned word that holds it.
    pub const fn insert(self, word: u32, address: u32, value: u32) -> u32 {
        let shift = (address % 4) * 8;
        let mask = match self {
            Self::Sb => 0xff_u32,
            Self::Sh => 0xffff,
            Self::Sw => 0xffff_ffff,
        } << shift;
        word & !mask | (value << shift) & mask
    }
}

impl AluOp {
    const fn decode(funct3: u32, funct7: u32) -> Option<Self> {
        Some(match (funct7, funct3) {
            (0x00, 0) => Self::Add,
            (0x20, 0) => Self::Sub,
            (0x00, 1) => Self::Sll,
            (0x00, 2) => Self::Slt,
            (0x00, 3) => Self::Sltu,
            (0x00, 4) => Self::Xor,
            (0x00, 5) => Self::Srl,
            (0x20, 5) => Self::Sra,
            (0x00, 6) => Self::Or,
            (0x00, 7) => Self::And,
            (0x01, 0) => Self::Mul,
            (0x01, 1) => Self::Mulh,
            (0x01, 2) => Self::Mulhsu,
            (0x01, 3) => Self::Mulhu,
            (0x01, 4) => Self::Div,
            (0x01, 5) => Self::Divu,
            (0x01, 6) => Self::Rem,
            (0x01, 7) => Self::Remu,
            _ => return None,
        })
    }

    /// Computes the result. Shifts take the lowest five bits of `b`.
    pub const fn apply(self, a: u32, b: u32) -> u32 {
        let (signed_a, signed_b) = (a as i32, b as i32);
        match self {
            Self::Add => a.wrapping_add(b),
            Self::Sub => a.wrapping_sub(b),
            Self::Sll => a.wrapping_shl(b),
            Self::Slt => (signed_a < signed_b) as u32,
            Self::Sltu => (a < b) as u32,
            Self::Xor => a ^ b,
            Self::Srl => a.wrapping_shr(b),
            Self::Sra => signed_a.wrapping_shr(b) as u32,
            Self::Or => a | b,
            Self::And => a & b,
            Self::Mul => a.wrapping_mul(b),
            Self::Mulh => ((signed_a as i64 * signed_b as i64) >> 32) as u32,
            // Neither product leaves 64 bits.
            Self::Mulhsu => ((signed_a as i64).wrapping_mul(b as i64) >> 32) as u32,
            Self::Mulhu => ((a as u64 * b as u64) >> 32) as u32,
            Self::Div if b == 0 => u32::MAX,
            Self::Div => signed_a.wrapping_div(signed_b) as u32,
            Self::Divu if b == 0 => u32::MAX,
            Self::Divu => a / b,
            Self::Rem | Self::Remu if b == 0 => a,
            Self::Rem => signed_a.wrapping_rem(signed_b) as u32,
            Self::Remu => a % b,
        }
    }
}

/// Lower case of a name that is written like the type's.
struct Lower<T>(T);

impl<T: fmt::Debug> fmt::Display for Lower<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format!("{:?}", self.0).to_lowercase())
    }
}

fn name(register: Register) -> &'static str {
    REGISTER_NAMES[usize::from(register % 32)]
}

impl fmt::Display for Instruction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Lui { rd, imm } => write!(f, "lui {}, {:#x}", name(rd), imm >> 12),
            Self::Auipc { rd, imm } => write!(f, "auipc {}, {:#x}", name(rd), imm >> 12),
            Self::Jal { rd, offset } => write!(f, "jal {}, {}", name(rd), offset as i32),
            Self::Jalr { rd, rs1, offset } => {
                write!(f, "jalr {}, {}({})", name(rd), offset as i32, name(rs1))
            }
            Self::Branch { op, rs1, rs2, offset } => {
                write!(
                    f,
                    "b{} {}, {}, {}",
                    Lower(op),
                    name(rs1),
                    name(rs2),
                    offset as i32
                )
            }
            Self::Load { op, rd, rs1, offset } => {
                write!(f, "{} {}, {}({})", Lower(op), name(rd), offset as i32, name(rs1))
            }
            Self::Store { op, rs1, rs2, offset } => {
                write!(f, "{} {}, {}({})", Lower(op), name(rs2), offset as i32, name(rs1))
            }
            Self::OpImm {
                op: AluOp::Sltu,
                rd,
                rs1,
                imm,
            } => {
                write!(f, "sltiu {}, {}, {}", name(rd), name(rs1), imm as i32)
            }
            Self::OpImm { op, rd, rs1, imm } => {
                write!(f, "{}i {}, {}, {}", Lower(op), name(rd), name(rs1), imm as i32)
            }
            Self::Op { op, rd, rs1, rs2 } => {
                write!(f, "{} {}, {}, {}", Lower(op), name(rd), name(rs1), name(rs2))
            }
            Self::Fence => f.write_str("fence"),
            Self::Ecall => f.write_str("ecall"),
            Self::Ebreak => f.write_str("ebreak"),
        }
    }
}
