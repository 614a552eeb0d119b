//! The heap: free lists by size, each a power of two.
//!
//! A few steps for what a general allocator needs a hundred for. The address space is 4 GiB and a program runs for
//! one unit, so that it may keep what it freed for its own size.

use alloc::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::{null_mut, with_exposed_provenance_mut, write_bytes};

/// The heap ends below the leaves that the machine has a use for.
const END: usize = 0xffff_0000;
/// Allocations are at least this large, as a power of two: room for a pointer, alignment of every number.
const MIN_CLASS: u32 = 4;

#[global_allocator]
static HEAP: Heap = Heap(UnsafeCell::new(Lists {
    free: [null_mut(); 32],
    next: 0,
}));

struct Heap(UnsafeCell<Lists>);

// SAFETY: the machine has one hart and no interrupts.
unsafe impl Sync for Heap {}

struct Lists {
    /// Per class: the first free block, which holds the address of the next one.
    free: [*mut u8; 32],
    /// Memory from here on was never used and is zero; 0 before the first allocation.
    next: usize,
}

unsafe extern "C" {
    static __heap_start: u8;
}

/// The class of a layout: its blocks have 2^class bytes and are aligned to that.
#[inline]
fn class_of(layout: Layout) -> u32 {
    let size = layout.size().max(layout.align());
    (usize::BITS - size.saturating_sub(1).leading_zeros()).max(MIN_CLASS)
}

impl Lists {
    /// Takes memory that was never used. `None` where there is no more.
    fn fresh(&mut self, class: u32) -> Option<*mut u8> {
        let size = 1_usize.checked_shl(class)?;
        if self.next == 0 {
            self.next = (&raw const __heap_start).expose_provenance();
        }
        let at = self.next.checked_next_multiple_of(size)?;
        let end = at.checked_add(size).filter(|end| *end <= END)?;
        self.next = end;
        Some(with_exposed_provenance_mut(at))
    }

    /// Takes a free block.
    #[inline]
    fn reuse(&mut self, class: u32) -> Option<*mut u8> {
        let head = self.free.get_mut(class as usize)?;
        let block = *head;
        if block.is_null() {
            return None;
        }
        // SAFETY: a free block holds a pointer.
        *head = unsafe { block.cast::<*mut u8>().read() };
        Some(block)
    }
}

// SAFETY: blocks of one class are disjoint, and handed out to one owner at a time.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: one hart, and nothing below allocates.
        let lists = unsafe { &mut *self.0.get() };
        let class = class_of(layout);
        lists
            .reuse(class)
            .or_else(|| lists.fresh(class))
            .unwrap_or(null_mut())
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as in `alloc`; the block is free now and has room for a pointer.
        unsafe {
            let lists = &mut *self.0.get();
            if let Some(head) = lists.free.get_mut(class_of(layout) as usize) {
                block.cast::<*mut u8>().write(*head);
                *head = block;
            }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`; a block has at least the layout's size.
        unsafe {
            let lists = &mut *self.0.get();
            let class = class_of(layout);
            match lists.reuse(class) {
                Some(block) => {
                    write_bytes(block, 0, layout.size());
                    block
                }
                None => lists.fresh(class).unwrap_or(null_mut()),
            }
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's new size does not overflow at this alignment; blocks of other classes are disjoint.
        unsafe {
            let wanted = Layout::from_size_align_unchecked(size, layout.align());
            if class_of(wanted) == class_of(layout) {
                return block;
            }
            let moved = self.alloc(wanted);
            if !moved.is_null() {
                core::ptr::copy_nonoverlapping(block, moved, layout.size().min(size));
                self.dealloc(block, layout);
            }
            moved
        }
    }
}
