//! Host code and the way in and out of it: all that is unsafe in this crate.
#![allow(unsafe_code, reason = "host code is entered through a pointer")]

use core::ops::Range;
use std::io;

use dynasmrt::mmap::{ExecutableBuffer, MutableBuffer};
use dynasmrt::x64::X64Relocation;
use dynasmrt::{AssemblyOffset, DynasmApi, VecAssembler, dynasm};

use super::registers::Pins;
use crate::memory::Memory;

/// Bytes of the frame that translated code runs in: 32 registers, then four words of 8 bytes.
const FRAME: i32 = 160;
/// The frame's slot with the context.
const CONTEXT_SLOT: i32 = 128;
/// The frame's slot with the table of entries.
pub(super) const TABLE_SLOT: i32 = 136;
/// The frame's slot with the address of the way out.
pub(super) const EXIT_SLOT: i32 = 144;

/// What goes into translated code, and comes out of it. Offsets are used by the code below.
#[repr(C)]
pub(super) struct Context {
    pub(super) registers: [u32; 32],
    memory: u64,
    pub(super) left: u64,
    table: u64,
    pub(super) pc: u32,
    leave: u32,
}

/// Why translated code was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Leave {
    /// To go on at a `pc` that is not translated yet, or is none.
    Jump = 0,
    /// To let the interpreter make the next step.
    Step = 1,
    /// Fewer steps are left than the next block has.
    Tail = 2,
}

impl Context {
    pub(super) fn new(registers: &[u32; 32], left: u64) -> Self {
        Self {
            registers: *registers,
            memory: 0,
            left,
            table: 0,
            pc: 0,
            leave: 0,
        }
    }
}

/// Host code by the word of the text that it begins at.
pub(super) struct Code {
    /// An address for each word of the text: a block's, or that of the way out.
    table: Box<[u64]>,
    /// Where code goes that jumps to a word without code: eax is the word's index.
    miss: u64,
    /// The way out. eax is the `pc`, edx says why.
    exit: u64,
    entrance: ExecutableBuffer,
    buffers: Vec<ExecutableBuffer>,
    size: usize,
}

impl Code {
    /// Makes the way in and out.
    pub(super) fn new(text: &Range<u32>, pins: &Pins) -> io::Result<Self> {
        let mut ops: VecAssembler<X64Relocation> = VecAssembler::new(0);
        emit_entrance(&mut ops, pins);
        let miss = ops.offset();
        dynasm!(ops; .arch x64
            ; lea eax, [rax * 4 + text.start.cast_signed()]
            ; mov edx, Leave::Jump as i32
        );
        let exit = ops.offset();
        emit_exit(&mut ops, pins);
        let bytes = ops
            .finalize()
            .map_err(|error| io::Error::other(error.to_string()))?;
        let entrance = executable(&bytes)?;
        let (miss, exit) = (entrance.ptr(miss) as u64, entrance.ptr(exit) as u64);
        Ok(Self {
            table: vec![miss; text.len() / 4].into_boxed_slice(),
            miss,
            exit,
            entrance,
            buffers: Vec::new(),
            size: 0,
        })
    }

    /// Bytes of host code.
    pub(super) const fn size(&self) -> usize {
        self.size
    }

    /// Whether a word of the text has code.
    pub(super) fn has(&self, index: u32) -> bool {
        self.table[index as usize] != self.miss
    }

    /// Forgets all blocks.
    pub(super) fn clear(&mut self) {
        self.table.fill(self.miss);
        self.buffers.clear();
        self.size = 0;
    }

    /// Adds code, with the words of the text and the offsets at which its blocks begin.
    pub(super) fn add(&mut self, bytes: &[u8], entries: &[(u32, AssemblyOffset)]) -> io::Result<()> {
        let buffer = executable(bytes)?;
        for (index, offset) in entries {
            self.table[*index as usize] = buffer.ptr(*offset) as u64;
        }
        self.size += bytes.len().next_multiple_of(crate::memory::PAGE_SIZE);
        self.buffers.push(buffer);
        Ok(())
    }

    /// Runs from a word of the text until the code is left.
    pub(super) fn run(&self, index: u32, context: &mut Context, memory: &mut Memory) -> Leave {
        context.memory = memory.base() as u64;
        context.table = self.table.as_ptr() as u64;
        let block = self.table[index as usize];
        // SAFETY: the entrance is code of this signature (`emit_entrance` keeps to the System V convention: it saves
        // and restores what a callee must), and its buffer and those of the blocks live as long as `self`. What runs
        // is code that `Emitter` made for this text. It writes to the context, which is borrowed here, to its frame,
        // and, through `memory`, which is borrowed too, to guest addresses below 2^32 and the flags of their pages:
        // `Emitter::address` and `Emitter::check` see to that.
        unsafe {
            let entrance = self.entrance.ptr(AssemblyOffset(0));
            let enter: unsafe extern "sysv64" fn(*mut Context, u64, u64) = core::mem::transmute(entrance);
            enter(context, block, self.exit);
        }
        match context.leave {
            0 => Leave::Jump,
            1 => Leave::Step,
            _ => Leave::Tail,
        }
    }
}

/// Saves the caller's registers, makes the frame, loads the guest's registers, and goes to a block.
/// Arguments: the context, the block, the way out.
fn emit_entrance(ops: &mut VecAssembler<X64Relocation>, pins: &Pins) {
    dynasm!(ops; .arch x64
        ; push rbx ; push rbp ; push r12 ; push r13 ; push r14 ; push r15
        ; sub rsp, FRAME
        ; mov [rsp + CONTEXT_SLOT], rdi
        ; mov [rsp + EXIT_SLOT], rdx
        ; mov rax, [rdi + 144]
        ; mov [rsp + TABLE_SLOT], rax
        ; mov r15, [rdi + 128]
        ; mov r14, [rdi + 136]
        ; mov rax, rsi
    );
    for at in (0..128_i32).step_by(16) {
        dynasm!(ops; .arch x64 ; movups xmm0, [rdi + at] ; movups [rsp + at], xmm0);
    }
    for (guest, host) in pins.pairs() {
        dynasm!(ops; .arch x64 ; mov Rd(host), [rsp + 4 * i32::from(guest)]);
    }
    dynasm!(ops; .arch x64 ; jmp rax);
}

/// Gives everything back to the context. eax: `pc`; edx: why.
fn emit_exit(ops: &mut VecAssembler<X64Relocation>, pins: &Pins) {
    for (guest, host) in pins.pairs() {
        dynasm!(ops; .arch x64 ; mov [rsp + 4 * i32::from(guest)], Rd(host));
    }
    dynasm!(ops; .arch x64
        ; mov rcx, [rsp + CONTEXT_SLOT]
        ; mov [rcx + 136], r14
        ; mov [rcx + 152], eax
        ; mov [rcx + 156], edx
    );
    for at in (0..128_i32).step_by(16) {
        dynasm!(ops; .arch x64 ; movups xmm0, [rsp + at] ; movups [rcx + at], xmm0);
    }
    dynasm!(ops; .arch x64
        ; add rsp, FRAME
        ; pop r15 ; pop r14 ; pop r13 ; pop r12 ; pop rbp ; pop rbx
        ; ret
    );
}

fn executable(bytes: &[u8]) -> io::Result<ExecutableBuffer> {
    let mut buffer = MutableBuffer::new(bytes.len())?;
    buffer.set_len(bytes.len());
    buffer.copy_from_slice(bytes);
    buffer.make_exec()
}
