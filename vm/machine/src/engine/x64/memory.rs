//! Templates of loads and stores. Those of a block that share a base register are checked as one: a basic block runs
//! from its first instruction to its last unless it traps, so that a check of all fails only where one of them would
//! trap, or where the addresses wrap or span the text. Then the interpreter makes the step.

use dynasmrt::{DynamicLabel, DynasmApi, DynasmLabelApi, dynasm};

use super::block::{Block, Emitter, Stub};
use super::registers::{RAX, RCX, RDX};
use crate::address::PROTECTED;
use crate::instruction::{Instruction, LoadOp, StoreOp};
use crate::memory::{PAGES, STORED};

/// Loads and stores by the same value of a register.
#[derive(Clone, Debug)]
struct Group {
    base: u8,
    /// The index of its first instruction.
    first: usize,
    /// The index of its first store.
    first_store: Option<usize>,
    /// Bits that the base must not have set.
    mask: u8,
    /// The least and greatest offset.
    offsets: (i32, i32),
    /// The least and greatest offset of a store.
    stored: Option<(i32, i32)>,
}

/// The groups of a block.
#[derive(Clone, Debug)]
pub(super) struct Groups {
    groups: Vec<Group>,
    /// By instruction.
    of: Vec<Option<usize>>,
}

/// What has to be known to check whether stores are below the text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stores {
    base: u8,
    /// The least base at which no address wraps, and how many are allowed from there.
    range: (u32, u32),
    /// The greatest offset of a store.
    greatest: i32,
}

/// Where an access goes.
enum Address {
    /// A checked base register and an offset.
    Based(u8, i32),
    /// A constant.
    Absolute(u32),
}

impl Groups {
    pub(super) fn of(instructions: &[Instruction]) -> Self {
        let mut groups: Vec<Group> = Vec::new();
        let mut current: [Option<usize>; 32] = [None; 32];
        let mut of = Vec::with_capacity(instructions.len());
        for (at, instruction) in instructions.iter().enumerate() {
            let access = match *instruction {
                Instruction::Load { op, rs1, offset, .. } => Some((rs1, offset, op.size(), false)),
                Instruction::Store { op, rs1, offset, .. } => Some((rs1, offset, op.size(), true)),
                _ => None,
            };
            of.push(access.map(|(base, offset, size, is_store)| {
                let group = *current[usize::from(base)].get_or_insert_with(|| {
                    groups.push(Group::new(base, at, offset.cast_signed()));
                    groups.len() - 1
                });
                groups[group].add(at, offset.cast_signed(), size, is_store);
                group
            }));
            current[usize::from(instruction.destination())] = None;
        }
        Self { groups, of }
    }
}

impl Group {
    const fn new(base: u8, first: usize, offset: i32) -> Self {
        Self {
            base,
            first,
            first_store: None,
            mask: 0,
            offsets: (offset, offset),
            stored: None,
        }
    }

    fn add(&mut self, at: usize, offset: i32, size: u32, is_store: bool) {
        // An offset that is misaligned itself is checked on its own.
        if is_multiple(offset, size) {
            self.mask |= (size - 1) as u8;
        }
        self.offsets = (self.offsets.0.min(offset), self.offsets.1.max(offset));
        if is_store {
            self.first_store.get_or_insert(at);
            let (least, greatest) = self.stored.unwrap_or((offset, offset));
            self.stored = Some((least.min(offset), greatest.max(offset)));
        }
    }

    /// The bases at which no address of the group wraps or is protected: from the first number, so many.
    const fn range(&self) -> (u32, u32) {
        let low = if self.offsets.0 < 0 {
            self.offsets.0.unsigned_abs()
        } else {
            0
        };
        let high = if self.offsets.1 > 0 {
            self.offsets.1.unsigned_abs()
        } else {
            0
        };
        // Offsets have 12 bits.
        (low, PROTECTED - high - low)
    }
}

fn is_multiple(offset: i32, size: u32) -> bool {
    offset.cast_unsigned().is_multiple_of(size)
}

impl Emitter<'_> {
    /// Checks an access and gives where it goes: nowhere if it always traps. The base may be loaded into rax.
    fn address(&mut self, block: &mut Block, at: usize, offset: u32, size: u32) -> Option<Address> {
        let group = block.groups.of[at].map(|group| block.groups.groups[group].clone());
        let group = group.expect("loads and stores are in groups");
        let is_store = matches!(block.instructions[at], Instruction::Store { .. });
        if let Some(base) = self.known[usize::from(group.base)] {
            let address = base.wrapping_add(offset);
            let traps = !address.is_multiple_of(size)
                || address >= PROTECTED
                || is_store && self.text.contains(&address);
            if traps {
                let leave = self.leave_at(block, at);
                dynasm!(self.ops; .arch x64 ; jmp =>leave);
                return None;
            }
            return Some(Address::Absolute(address));
        }
        let base = self.read_register(group.base, RAX);
        let offset = offset.cast_signed();
        if group.first == at {
            let leave = self.leave_at(block, at);
            self.check(&group, base, leave);
        }
        if !is_multiple(offset, size) {
            let leave = self.leave_at(block, at);
            dynasm!(self.ops; .arch x64 ; lea edx, [Rq(base) + offset] ; test dl, (size - 1) as i8 ; jnz =>leave);
        }
        if let Some((least, greatest)) = group.stored.filter(|_| group.first_store == Some(at)) {
            self.mark(base, least);
            if greatest > least {
                self.mark(base, greatest);
            }
        }
        Some(Address::Based(base, offset))
    }

    /// Checks a group as a whole.
    fn check(&mut self, group: &Group, base: u8, leave: DynamicLabel) {
        if group.mask != 0 {
            dynasm!(self.ops; .arch x64 ; test Rb(base), group.mask as i8 ; jnz =>leave);
        }
        let (low, count) = group.range();
        let Some((least, greatest)) = group.stored else {
            self.check_range(base, (low, count), leave);
            return;
        };
        // One comparison for most stores: nothing wraps, and all are above the text.
        let above = i64::from(self.text.end) - i64::from(least);
        let floor = above.max(i64::from(low));
        let room = i64::from(low) + i64::from(count) - floor;
        let label = self.ops.new_dynamic_label();
        let resume = self.ops.new_dynamic_label();
        match (u32::try_from(floor), u32::try_from(room)) {
            (Ok(floor), Ok(room)) => self.check_range(base, (floor, room), label),
            _ => dynasm!(self.ops; .arch x64 ; jmp =>label),
        }
        dynasm!(self.ops; .arch x64 ; =>resume);
        self.stubs.push(Stub::Below {
            label,
            resume,
            leave,
            stores: Stores {
                base: group.base,
                range: (low, count),
                greatest,
            },
        });
    }

    /// Goes away unless the base is in a range: from the first number, so many. Takes rdx.
    fn check_range(&mut self, base: u8, (first, count): (u32, u32), away: DynamicLabel) {
        let mut compared = base;
        if first != 0 {
            dynasm!(self.ops; .arch x64 ; lea edx, [Rq(base) + first.wrapping_neg().cast_signed()]);
            compared = RDX;
        }
        dynasm!(self.ops; .arch x64 ; cmp Rd(compared), DWORD count.cast_signed() ; jae =>away);
    }

    /// Checks out of line that stores are below the text.
    pub(super) fn check_below(
        &mut self,
        label: DynamicLabel,
        resume: DynamicLabel,
        leave: DynamicLabel,
        stores: Stores,
    ) {
        dynasm!(self.ops; .arch x64 ; =>label);
        // The base is in rax still where it has no host register.
        let base = self.target(stores.base, RAX);
        self.check_range(base, stores.range, leave);
        let below = i64::from(self.text.start) - i64::from(stores.greatest);
        if let Ok(below) = u32::try_from(below) {
            dynasm!(self.ops; .arch x64 ; cmp Rd(base), DWORD below.cast_signed() ; jae =>leave);
            dynasm!(self.ops; .arch x64 ; jmp =>resume);
        } else {
            dynasm!(self.ops; .arch x64 ; jmp =>leave);
        }
    }

    /// Marks the page of an address as stored to. Takes rdx.
    fn mark(&mut self, base: u8, offset: i32) {
        dynasm!(self.ops; .arch x64
            ; lea edx, [Rq(base) + offset]
            ; shr edx, 12
            ; mov BYTE [r15 + rdx - PAGES as i32], STORED as i8
        );
    }

    pub(super) fn load_memory(
        &mut self,
        block: &mut Block,
        at: usize,
        op: LoadOp,
        (rd, _): (u8, u8),
        offset: u32,
    ) {
        let Some(address) = self.address(block, at, offset, op.size()) else {
            return;
        };
        if rd == 0 {
            return;
        }
        let to = self.target(rd, RAX);
        let (base, offset) = self.reach(&address);
        macro_rules! load {
            ($mnemonic:ident, $size:ident) => {
                match i8::try_from(offset) {
                    Ok(offset) => dynasm!(self.ops; .arch x64 ; $mnemonic Rd(to), $size [BYTE r15 + Rq(base) + offset]),
                    Err(_) => dynasm!(self.ops; .arch x64 ; $mnemonic Rd(to), $size [r15 + Rq(base) + offset]),
                }
            };
        }
        match op {
            LoadOp::Lb => load!(movsx, BYTE),
            LoadOp::Lh => load!(movsx, WORD),
            LoadOp::Lw => load!(mov, DWORD),
            LoadOp::Lbu => load!(movzx, BYTE),
            LoadOp::Lhu => load!(movzx, WORD),
        }
        self.store(rd, to);
    }

    pub(super) fn store_memory(
        &mut self,
        block: &mut Block,
        at: usize,
        op: StoreOp,
        (_, rs2): (u8, u8),
        offset: u32,
    ) {
        let Some(address) = self.address(block, at, offset, op.size()) else {
            return;
        };
        if let Address::Absolute(address) = address {
            let flag = (address >> 12).cast_signed() - PAGES as i32;
            dynasm!(self.ops; .arch x64 ; mov BYTE [r15 + flag], STORED as i8);
        }
        let (base, offset) = self.reach(&address);
        let value = self.read_register(rs2, RCX);
        macro_rules! store {
            ($family:ident, $size:ident) => {
                match i8::try_from(offset) {
                    Ok(offset) => dynasm!(self.ops; .arch x64 ; mov $size [BYTE r15 + Rq(base) + offset], $family(value)),
                    Err(_) => dynasm!(self.ops; .arch x64 ; mov $size [r15 + Rq(base) + offset], $family(value)),
                }
            };
        }
        match op {
            StoreOp::Sb => store!(Rb, BYTE),
            StoreOp::Sh => store!(Rw, WORD),
            StoreOp::Sw => store!(Rd, DWORD),
        }
    }

    /// Gives the host register and the offset of an address. Takes rax for constants.
    fn reach(&mut self, address: &Address) -> (u8, i32) {
        match *address {
            Address::Based(base, offset) => (base, offset),
            Address::Absolute(address) => {
                dynasm!(self.ops; .arch x64 ; mov eax, DWORD address.cast_signed());
                (RAX, 0)
            }
        }
    }
}
