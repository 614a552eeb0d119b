//! The benchmark's work as a program of its own: it begins with nothing but a stack of its own, and ends by `ecall`
//! 93, which is EXIT on the machine as on Linux and on ckb-vm. The exit code is the digest's lowest seven bits: all
//! that every one of them passes on.
#![no_std]
#![no_main]

mod work;

use core::arch::{asm, global_asm};

global_asm!(
    ".section .text.start",
    ".global _start",
    "_start:",
    "la sp, stack_top",
    "call main",
    ".section .bss",
    ".balign 64",
    "stack: .space 65536",
    "stack_top:",
);

#[unsafe(no_mangle)]
extern "C" fn main() -> ! {
    let digest = work::work(core::hint::black_box(work::ROUNDS));
    exit(digest & 0x7f)
}

fn exit(code: u32) -> ! {
    // SAFETY: ends the program.
    unsafe { asm!("ecall", in("a7") 93, in("a0") code, options(noreturn)) }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit(255)
}
