//! Places in the tree, and on which side of its parent the path to one goes at each level.

use bitsect_machine::address::{KEY, REGISTERS};

use crate::leaf::Value;

/// The field of the instruction word that numbers a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Bits 7 to 11.
    Rd,
    /// Bits 15 to 19.
    Rs1,
    /// Bits 20 to 24.
    Rs2,
}

/// What an access is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The leaf at an address: control, key, the registers of a call.
    Constant(u32),
    /// The leaf that `pc` is in.
    Pc,
    /// The leaf that a load's or store's address is in.
    Address,
    /// The leaf that a register is in.
    Register(Field),
    /// The node that a call names: address in `a0`, level in `a1`.
    Call,
    /// The node above key and block, at level 1.
    KeyAndBlock,
}

/// Which child the path goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// The child with the lower addresses.
    Left,
    /// The child with the higher addresses.
    Right,
}

/// How the side is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It is always the same.
    Constant(Side),
    /// By a bit of a published value: right where it is set.
    Bit {
        /// The value.
        value: Value,
        /// The bit, 0 for the lowest.
        bit: usize,
    },
}

impl Field {
    /// Gives its lowest bit.
    pub const fn shift(self) -> usize {
        match self {
            Self::Rd => 7,
            Self::Rs1 => 15,
            Self::Rs2 => 20,
        }
    }

    /// Gives the register's number.
    pub const fn number(self, instruction: u32) -> u32 {
        instruction >> self.shift() & 31
    }
}

impl Side {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Left, Self::Right];

    /// Gives the side of a bit.
    pub const fn of(set: bool) -> Self {
        if set { Self::Right } else { Self::Left }
    }

    /// Gives the name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Right => "right",
        }
    }
}

impl Place {
    /// Gives the side to which the path goes from level `level + 1` to `level`.
    pub const fn direction(self, level: usize) -> Direction {
        let address = match self {
            Self::Constant(address) => address,
            Self::KeyAndBlock => KEY,
            // Sixteen registers are in a leaf: only the lowest level knows which leaf of the two.
            Self::Register(field) if level == 0 => {
                return Direction::Bit {
                    value: Value::Instruction,
                    bit: field.shift() + 4,
                };
            }
            Self::Register(_) => REGISTERS,
            Self::Pc => return Self::bit(Value::Pc, level),
            Self::Address => return Self::bit(Value::Address, level),
            Self::Call => return Self::bit(Value::Second, level),
        };
        Direction::Constant(Side::of(address >> (6 + level) & 1 == 1))
    }

    const fn bit(value: Value, level: usize) -> Direction {
        Direction::Bit {
            value,
            bit: 6 + level,
        }
    }

    /// Gives its name within a rule's.
    pub(super) fn name(self) -> String {
        match self {
            Self::Constant(address) => format!("{address:08x}"),
            Self::Pc => "pc".to_owned(),
            Self::Address => "address".to_owned(),
            Self::Register(Field::Rd) => "rd".to_owned(),
            Self::Register(Field::Rs1) => "rs1".to_owned(),
            Self::Register(Field::Rs2) => "rs2".to_owned(),
            Self::Call => "node".to_owned(),
            Self::KeyAndBlock => "key-and-block".to_owned(),
        }
    }
}
