//! What the program needs of the machine: a start, a heap, an end, and the oracle by its calls.
#![allow(unsafe_code, reason = "there is no operating system below")]

mod heap;
mod recover;

use alloy_primitives::B256;
use bitsect_guest::params::{SECTION_SIZE, empty_section, read};
use bitsect_guest::{Block, Digest, Oracle, keccak256, run};
use bitsect_vm::chain::BlobRef;
use bitsect_vm::oracle;
use bitsect_vm::state::Node;
use core::panic::PanicInfo;

use alloc::vec::Vec;

/// The chain's parameters, written after the build. Volatile reads keep the compiler from taking the empty section
/// for a constant.
#[unsafe(link_section = ".params")]
#[used]
static PARAMS: [u8; SECTION_SIZE] = empty_section();

// The machine starts with all registers zero.
core::arch::global_asm!(
    ".section .text.start, \"ax\"",
    ".globl _start",
    "_start:",
    ".option push",
    ".option norelax",
    "la gp, __global_pointer$",
    ".option pop",
    "la sp, __stack_top",
    "call {main}",
    main = sym main,
);

core::arch::global_asm!(include_str!("memory.s"));

struct Machine;

impl Oracle for Machine {
    fn node(&self, hash: &B256) -> Node {
        oracle::node(hash)
    }

    fn blob(&self, blob: &BlobRef) -> Vec<u8> {
        oracle::blob(blob)
    }

    #[inline]
    fn select(&self, digest: &Digest) {
        oracle::set_key(digest);
    }

    #[inline]
    fn compression(&self) -> Block {
        oracle::sha256_preimage()
    }

    #[inline]
    fn selected(&self) -> Digest {
        oracle::key()
    }
}

extern "C" fn main() -> ! {
    recover::install();
    // SAFETY: a static is valid to read.
    let section = unsafe { (&raw const PARAMS).read_volatile() };
    let (before, advice) = oracle::input();
    let after = read(&section).and_then(|params| run(&Machine, &params, &before, &advice).ok());
    match after {
        Some(after) => {
            oracle::set_output(&after);
            oracle::exit(0)
        }
        None => oracle::trap(),
    }
}

/// What alloy-primitives hashes with (its feature `native-keccak`).
///
/// # Safety
/// `bytes` has `len` bytes, and `output` room for 32.
#[unsafe(no_mangle)]
unsafe extern "C" fn native_keccak256(bytes: *const u8, len: usize, output: *mut u8) {
    // SAFETY: the caller's.
    unsafe {
        let hash = keccak256(core::slice::from_raw_parts(bytes, len));
        output.copy_from_nonoverlapping(hash.as_ptr().cast(), size_of_val(&hash));
    }
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    oracle::trap()
}
