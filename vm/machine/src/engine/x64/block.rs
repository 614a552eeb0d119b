//! Basic blocks: which instructions they have, how they hang together.

use core::ops::Range;
use std::collections::{HashMap, HashSet};

use dynasmrt::x64::X64Relocation;
use dynasmrt::{AssemblyOffset, DynamicLabel, DynasmApi, DynasmLabelApi, VecAssembler, dynasm};

use super::code::{Code, EXIT_SLOT, Leave, TABLE_SLOT};
use super::memory::{Groups, Stores};
use super::registers::{Pins, RAX};
use crate::instruction::{BranchOp, Instruction};
use crate::memory::Memory;

/// Instructions of the longest block: bounds what translating from every word of a text can take, and what is
/// interpreted where a run ends inside a block.
const MAX_BLOCK: usize = 128;
/// Instructions that are translated at once: some ten milliseconds.
const MAX_BATCH: usize = 1 << 16;

/// Code out of line.
pub(super) enum Stub {
    /// Leaves. Steps that were counted and not made are given back.
    Leave {
        label: DynamicLabel,
        back: usize,
        pc: u32,
        leave: Leave,
    },
    /// Checks whether a group's stores are all below the text.
    Below {
        label: DynamicLabel,
        resume: DynamicLabel,
        leave: DynamicLabel,
        stores: Stores,
    },
    /// Goes on at a word that an earlier batch translated, or that a later one will.
    Table { label: DynamicLabel, index: u32 },
    /// Leaves after a `jalr` out of the text or to a misaligned `pc`, or with bit 0 set. eax is the rotated index.
    Jalr { label: DynamicLabel },
}

/// Translates one batch of blocks.
pub(super) struct Emitter<'a> {
    pub(super) ops: VecAssembler<X64Relocation>,
    pub(super) text: &'a Range<u32>,
    pub(super) pins: &'a Pins,
    pub(super) stubs: Vec<Stub>,
    /// Values of registers that are known in this block.
    pub(super) known: [Option<u32>; 32],
    memory: &'a Memory,
    code: &'a Code,
    labels: HashMap<u32, DynamicLabel>,
    emitted: HashSet<u32>,
    entries: Vec<(u32, AssemblyOffset)>,
    queue: Vec<u32>,
    count: usize,
}

/// A block that is being translated.
pub(super) struct Block {
    start: u32,
    pub(super) instructions: Vec<Instruction>,
    /// Steps that are counted when it is entered.
    steps: usize,
    /// Whether the interpreter has to make the step behind: what is no instruction, calls or breaks.
    stops: bool,
    /// Labels of the ways out at each instruction, where there are any.
    leaves: Vec<Option<DynamicLabel>>,
    pub(super) groups: Groups,
}

impl Block {
    pub(super) const fn pc(&self, at: usize) -> u32 {
        self.start.wrapping_add(4 * at as u32)
    }
}

impl<'a> Emitter<'a> {
    /// Translates the block at a word of the text, and what it leads to without an indirect jump.
    pub(super) fn translate(
        memory: &'a Memory,
        text: &'a Range<u32>,
        pins: &'a Pins,
        code: &'a Code,
        index: u32,
    ) -> (Vec<u8>, Vec<(u32, AssemblyOffset)>) {
        let mut emitter = Self {
            ops: VecAssembler::new(0),
            text,
            pins,
            stubs: Vec::new(),
            known: [None; 32],
            memory,
            code,
            labels: HashMap::new(),
            emitted: HashSet::new(),
            entries: Vec::new(),
            queue: vec![index],
            count: 0,
        };
        while let Some(mut index) = emitter.queue.pop() {
            while !emitter.emitted.contains(&index) && emitter.count < MAX_BATCH {
                match emitter.block(index) {
                    Some(next) => index = next,
                    None => break,
                }
            }
        }
        emitter.finish()
    }

    fn finish(mut self) -> (Vec<u8>, Vec<(u32, AssemblyOffset)>) {
        let unmet: Vec<(u32, DynamicLabel)> = self
            .labels
            .iter()
            .filter(|(index, _)| !self.emitted.contains(index))
            .map(|(index, label)| (*index, *label))
            .collect();
        for (index, label) in unmet {
            self.stubs.push(Stub::Table { label, index });
        }
        for stub in core::mem::take(&mut self.stubs) {
            self.stub(&stub);
        }
        let bytes = self
            .ops
            .finalize()
            .expect("every label is placed: blocks by `block`, others by `stub`");
        (bytes, self.entries)
    }

    fn index(&self, pc: u32) -> Option<u32> {
        let valid = pc.is_multiple_of(4) && self.text.contains(&pc);
        valid.then(|| (pc - self.text.start) / 4)
    }

    fn decode(&self, pc: u32) -> Option<Instruction> {
        Instruction::decode(self.memory.word(pc))
    }

    /// Reads the instructions from a word on, up to the end of the block.
    fn read(&self, index: u32) -> Block {
        let start = self.text.start + 4 * index;
        let mut instructions = Vec::new();
        let mut stops = false;
        let mut pc = start;
        while instructions.len() < MAX_BLOCK && self.text.contains(&pc) {
            let begun = self
                .index(pc)
                .is_some_and(|at| self.labels.contains_key(&at) || self.code.has(at));
            if begun && !instructions.is_empty() {
                break;
            }
            let decoded = self.decode(pc);
            let stop = |found: &Instruction| matches!(found, Instruction::Ecall | Instruction::Ebreak);
            let Some(instruction) = decoded.filter(|found| !stop(found)) else {
                stops = true;
                break;
            };
            instructions.push(instruction);
            pc = pc.wrapping_add(4);
            if instruction.ends_block() {
                break;
            }
        }
        Block {
            start,
            steps: instructions.len(),
            stops,
            leaves: vec![None; instructions.len()],
            groups: Groups::of(&instructions),
            instructions,
        }
    }

    /// Translates one block. Gives the word of the block that has to come right behind it, if one has.
    fn block(&mut self, index: u32) -> Option<u32> {
        let mut block = self.read(index);
        self.known = [None; 32];
        self.known[0] = Some(0);
        let label = self.label(index);
        self.emitted.insert(index);
        self.entries.push((index, self.ops.offset()));
        self.count += block.steps.max(1);
        dynasm!(self.ops; .arch x64 ; =>label);
        if block.steps > 0 {
            let tail = self.ops.new_dynamic_label();
            dynasm!(self.ops; .arch x64 ; sub r14, block.steps as i32 ; jb =>tail);
            self.stubs.push(Stub::Leave {
                label: tail,
                back: block.steps,
                pc: block.start,
                leave: Leave::Tail,
            });
        }
        for at in 0..block.steps {
            let instruction = block.instructions[at];
            match instruction {
                Instruction::Jal { rd, offset } => return self.jal(block.pc(at), rd, offset),
                Instruction::Jalr { rd, rs1, offset } => return self.jalr(block.pc(at), rd, rs1, offset),
                Instruction::Branch { op, rs1, rs2, offset } => {
                    return self.branch(block.pc(at), op, (rs1, rs2), offset);
                }
                _ => self.instruction(&mut block, at),
            }
        }
        let next = block.pc(block.steps);
        if block.stops {
            self.leave(next, Leave::Step);
            return None;
        }
        self.jump(next)
    }

    /// Gives the label of the way out before an instruction.
    pub(super) fn leave_at(&mut self, block: &mut Block, at: usize) -> DynamicLabel {
        if let Some(label) = block.leaves[at] {
            return label;
        }
        let label = self.ops.new_dynamic_label();
        block.leaves[at] = Some(label);
        self.stubs.push(Stub::Leave {
            label,
            back: block.steps - at,
            pc: block.pc(at),
            leave: Leave::Step,
        });
        label
    }

    fn leave(&mut self, pc: u32, leave: Leave) {
        dynasm!(self.ops; .arch x64
            ; mov eax, pc.cast_signed()
            ; mov edx, leave as i32
            ; jmp QWORD [rsp + EXIT_SLOT]
        );
    }

    /// Gives the label of a block of this batch, which is asked for if it is new.
    fn label(&mut self, index: u32) -> DynamicLabel {
        if let Some(label) = self.labels.get(&index) {
            return *label;
        }
        let label = self.ops.new_dynamic_label();
        self.labels.insert(index, label);
        self.queue.push(index);
        label
    }

    /// Gives a label that leads to a `pc`.
    fn way_to(&mut self, pc: u32) -> DynamicLabel {
        match self.index(pc) {
            Some(index) if self.code.has(index) => {
                let label = self.ops.new_dynamic_label();
                self.stubs.push(Stub::Table { label, index });
                label
            }
            Some(index) => self.label(index),
            None => {
                let label = self.ops.new_dynamic_label();
                self.stubs.push(Stub::Leave {
                    label,
                    back: 0,
                    pc,
                    leave: Leave::Jump,
                });
                label
            }
        }
    }

    /// Goes on at a `pc`: by falling into its block where that is still to come.
    fn jump(&mut self, pc: u32) -> Option<u32> {
        let Some(index) = self.index(pc) else {
            self.leave(pc, Leave::Jump);
            return None;
        };
        if self.code.has(index) {
            self.jump_by_table(index);
            return None;
        }
        let label = self.label(index);
        if self.emitted.contains(&index) || self.count >= MAX_BATCH {
            dynasm!(self.ops; .arch x64 ; jmp =>label);
            return None;
        }
        Some(index)
    }

    fn jump_by_table(&mut self, index: u32) {
        // eax is for the case that the word has no code yet.
        dynasm!(self.ops; .arch x64
            ; mov eax, index.cast_signed()
            ; mov rcx, [rsp + TABLE_SLOT]
            ; jmp QWORD [rcx + rax * 8]
        );
    }

    fn jal(&mut self, pc: u32, rd: u8, offset: u32) -> Option<u32> {
        self.link(pc, rd);
        self.jump(pc.wrapping_add(offset))
    }

    /// Writes the address behind a jump, where most calls come back to.
    fn link(&mut self, pc: u32, rd: u8) {
        if rd == 0 {
            return;
        }
        let behind = pc.wrapping_add(4);
        self.constant(rd, behind);
        if let Some(index) = self.index(behind).filter(|index| !self.code.has(*index)) {
            self.label(index);
        }
    }

    fn jalr(&mut self, pc: u32, rd: u8, rs1: u8, offset: u32) -> Option<u32> {
        if let Some(base) = self.known[usize::from(rs1)] {
            self.link(pc, rd);
            return self.jump(base.wrapping_add(offset) & !1);
        }
        let bad = self.ops.new_dynamic_label();
        let base = self.read_register(rs1, RAX);
        let offset = offset.wrapping_sub(self.text.start).cast_signed();
        let words = (self.text.len() / 4) as i32;
        // Rotated, an index with any of its lowest bits set is larger than every text is long.
        dynasm!(self.ops; .arch x64 ; lea eax, [Rq(base) + offset] ; ror eax, 2);
        self.link(pc, rd);
        dynasm!(self.ops; .arch x64
            ; cmp eax, words
            ; jae =>bad
            ; mov rcx, [rsp + TABLE_SLOT]
            ; jmp QWORD [rcx + rax * 8]
        );
        self.stubs.push(Stub::Jalr { label: bad });
        None
    }

    fn branch(&mut self, pc: u32, op: BranchOp, (rs1, rs2): (u8, u8), offset: u32) -> Option<u32> {
        let taken = self.way_to(pc.wrapping_add(offset));
        let swapped = self.compare(rs1, rs2);
        match (op, swapped) {
            (BranchOp::Eq, _) => dynasm!(self.ops; .arch x64 ; je =>taken),
            (BranchOp::Ne, _) => dynasm!(self.ops; .arch x64 ; jne =>taken),
            (BranchOp::Lt, false) => dynasm!(self.ops; .arch x64 ; jl =>taken),
            (BranchOp::Ge, false) => dynasm!(self.ops; .arch x64 ; jge =>taken),
            (BranchOp::Ltu, false) => dynasm!(self.ops; .arch x64 ; jb =>taken),
            (BranchOp::Geu, false) => dynasm!(self.ops; .arch x64 ; jae =>taken),
            (BranchOp::Lt, true) => dynasm!(self.ops; .arch x64 ; jg =>taken),
            (BranchOp::Ge, true) => dynasm!(self.ops; .arch x64 ; jle =>taken),
            (BranchOp::Ltu, true) => dynasm!(self.ops; .arch x64 ; ja =>taken),
            (BranchOp::Geu, true) => dynasm!(self.ops; .arch x64 ; jbe =>taken),
        }
        self.jump(pc.wrapping_add(4))
    }

    fn stub(&mut self, stub: &Stub) {
        match *stub {
            Stub::Leave {
                label,
                back,
                pc,
                leave,
            } => {
                dynasm!(self.ops; .arch x64 ; =>label);
                if back > 0 {
                    dynasm!(self.ops; .arch x64 ; add r14, back as i32);
                }
                self.leave(pc, leave);
            }
            Stub::Below {
                label,
                resume,
                leave,
                stores,
            } => self.check_below(label, resume, leave, stores),
            Stub::Table { label, index } => {
                dynasm!(self.ops; .arch x64 ; =>label);
                self.jump_by_table(index);
            }
            Stub::Jalr { label } => {
                dynasm!(self.ops; .arch x64
                    ; =>label
                    ; rol eax, 2
                    ; lea eax, [rax + self.text.start.cast_signed()]
                    ; and eax, BYTE -2
                    ; mov edx, Leave::Jump as i32
                    ; jmp QWORD [rsp + EXIT_SLOT]
                );
            }
        }
    }
}
