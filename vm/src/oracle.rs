//! The machine's own calls (docs/machine.md). They exist where this crate is compiled for it, and only there.
#![allow(unsafe_code, reason = "the calls write memory that the compiler does not see")]

use alloc::alloc::{Layout, alloc, alloc_zeroed, dealloc, handle_alloc_error};
use alloc::vec::Vec;
use alloy_primitives::B256;
use core::arch::asm;
use core::cell::UnsafeCell;
use core::ptr::{NonNull, copy_nonoverlapping, with_exposed_provenance_mut};

use crate::address::{
    self, BLOCK, EXIT, HASH_OF_NODE, INPUT, KEY, MAX_CALL_LEVEL, NODE_FROM_HASH, OUTPUT, SHA256_PREIMAGE,
};
use crate::chain::BlobRef;
use crate::state::Node;

/// Bytes of a leaf.
const LEAF_SIZE: usize = address::LEAF_SIZE as usize;

/// Eight words in memory order: a hash.
pub type Words = [u32; 8];

/// A leaf of scratch memory, at an address that calls take.
#[repr(C, align(64))]
struct Leaf(UnsafeCell<Node>);

// SAFETY: the machine has one hart and no interrupts.
unsafe impl Sync for Leaf {}

static SCRATCH: Leaf = Leaf(UnsafeCell::new([0; LEAF_SIZE]));

const fn fixed<T>(address: u32) -> *mut T {
    with_exposed_provenance_mut(address as usize)
}

/// Sets the key.
pub fn set_key(key: &Words) {
    // SAFETY: the key leaf is ordinary memory that no allocation has.
    unsafe { fixed::<Words>(KEY).write(*key) }
}

/// Reads the key.
pub fn key() -> Words {
    // SAFETY: as in `set_key`.
    unsafe { fixed::<Words>(KEY).read() }
}

fn set_key_bytes(key: &B256) {
    // SAFETY: as in `set_key`.
    unsafe { fixed::<B256>(KEY).write(*key) }
}

fn key_bytes() -> B256 {
    // SAFETY: as in `set_key`.
    unsafe { fixed::<B256>(KEY).read() }
}

/// Reads what the machine was started with: `S_k` and the advice.
pub fn input() -> (B256, B256) {
    // SAFETY: the input leaf is ordinary memory that no allocation has.
    unsafe { fixed::<(B256, B256)>(INPUT).read() }
}

/// Writes the result.
pub fn set_output(output: &B256) {
    // SAFETY: the output leaf is ordinary memory that no allocation has.
    unsafe { fixed::<B256>(OUTPUT).write(*output) }
}

/// `EXIT`.
pub fn exit(code: u32) -> ! {
    // SAFETY: the call does not return.
    unsafe { asm!("ecall", in("a7") EXIT, in("a0") code, options(noreturn)) }
}

/// Stops for good: nothing that continues from here has a result.
pub fn trap() -> ! {
    // SAFETY: the instruction does not return.
    unsafe { asm!("ebreak", options(noreturn)) }
}

/// `SHA256_PREIMAGE`: the key becomes the chaining value of the compression whose digest it was. Gives the block.
pub fn sha256_preimage() -> [u32; 16] {
    // SAFETY: the call writes the leaves of key and block only, which no allocation has.
    unsafe {
        asm!("ecall", in("a7") SHA256_PREIMAGE, options(nostack));
        fixed::<[u32; 16]>(BLOCK).read()
    }
}

/// `HASH_OF_NODE`: the key becomes the hash of the node.
fn hash_of_node(address: *const u8, level: u32) {
    // SAFETY: the call writes the key leaf only.
    unsafe { asm!("ecall", in("a7") HASH_OF_NODE, in("a0") address, in("a1") level, options(nostack)) }
}

/// `NODE_FROM_HASH`: the node becomes the one whose hash is the key.
///
/// # Safety
/// The node's memory must be free to write.
unsafe fn node_from_hash(address: *mut u8, level: u32) {
    // SAFETY: the caller answers for the memory.
    unsafe { asm!("ecall", in("a7") NODE_FROM_HASH, in("a0") address, in("a1") level, options(nostack)) }
}

/// Hashes one node.
pub fn hash_node(node: &Node) -> B256 {
    let scratch = SCRATCH.0.get();
    // SAFETY: nobody holds a reference to the scratch leaf.
    unsafe { scratch.write(*node) };
    hash_of_node(scratch.cast(), 0);
    key_bytes()
}

/// Hashes many nodes: the same results as [`hash_node`].
pub fn hash_nodes<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> Vec<B256> {
    nodes.into_iter().map(hash_node).collect()
}

/// Gives the node whose hash is `hash`.
pub fn node(hash: &B256) -> Node {
    set_key_bytes(hash);
    let scratch = SCRATCH.0.get();
    // SAFETY: nobody holds a reference to the scratch leaf.
    unsafe {
        node_from_hash(scratch.cast(), 0);
        scratch.read()
    }
}

/// Memory of one node, aligned to its own size.
struct Region {
    at: NonNull<u8>,
    layout: Layout,
    level: u32,
}

impl Region {
    /// The least region that holds `len` bytes. Traps where that is larger than calls take.
    fn new(len: usize, zeroed: bool) -> Self {
        let leaves = len.div_ceil(LEAF_SIZE).max(1).next_power_of_two();
        let level = leaves.trailing_zeros();
        let size = leaves.saturating_mul(LEAF_SIZE);
        let Some(layout) = Layout::from_size_align(size, size)
            .ok()
            .filter(|_| level <= MAX_CALL_LEVEL)
        else {
            trap()
        };
        // SAFETY: the size is not zero.
        let at = unsafe {
            if zeroed {
                alloc_zeroed(layout)
            } else {
                alloc(layout)
            }
        };
        let Some(at) = NonNull::new(at) else {
            handle_alloc_error(layout)
        };
        Self { at, layout, level }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: `new` allocated it with this layout.
        unsafe { dealloc(self.at.as_ptr(), self.layout) }
    }
}

/// Computes a blob's root.
pub fn blob_root(bytes: &[u8]) -> B256 {
    let region = Region::new(bytes.len(), true);
    // SAFETY: the region is at least as long as the bytes, and new.
    unsafe { copy_nonoverlapping(bytes.as_ptr(), region.at.as_ptr(), bytes.len()) };
    hash_of_node(region.at.as_ptr(), region.level);
    key_bytes()
}

/// Maps a blob into memory. Traps where it is longer than 64 MiB. What follows its length is not looked at.
pub fn blob(blob: &BlobRef) -> Vec<u8> {
    let len = blob.len as usize;
    let region = Region::new(len, false);
    set_key_bytes(&blob.root);
    // SAFETY: the region is a node of this level and ours; the call writes all of it.
    unsafe {
        node_from_hash(region.at.as_ptr(), region.level);
        core::slice::from_raw_parts(region.at.as_ptr(), len).to_vec()
    }
}
