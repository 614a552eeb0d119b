//! The machine's 2^32 bytes, and which pages were written.

use core::ops::Range;

use memmap2::{MmapMut, MmapOptions};

use crate::address::LEAF_SIZE;

/// Bytes of a page: what is known to have been written, and hashed, as one.
pub(crate) const PAGE_SIZE: usize = 4096;
/// Pages in all.
pub(crate) const PAGES: usize = 1 << 20;
/// Levels of the tree inside a page.
pub(crate) const PAGE_LEVEL: u32 = 6;
/// A page that the tree has to hash again.
pub(crate) const UNHASHED: u8 = 1;
/// A page that differs from the last snapshot.
pub(crate) const UNSAVED: u8 = 2;
/// A page that was ever written.
pub(crate) const TOUCHED: u8 = 4;
/// What a store sets.
pub(crate) const STORED: u8 = UNHASHED | UNSAVED | TOUCHED;

/// All memory as one mapping, so that an address is an index. Pages that nothing wrote take no room.
pub(crate) struct Memory {
    /// A byte of flags for each page, then the memory: translated code reaches both from one register.
    mapping: MmapMut,
}

impl Memory {
    /// Maps zeros.
    pub(crate) fn new() -> std::io::Result<Self> {
        let mapping = MmapOptions::new()
            .len(PAGES + PAGES * PAGE_SIZE)
            .no_reserve_swap()
            .map_anon()?;
        Ok(Self { mapping })
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        &self.mapping[PAGES..]
    }

    #[inline]
    fn parts(&mut self) -> (&mut [u8], &mut [u8]) {
        self.mapping.split_at_mut(PAGES)
    }

    /// Gives where address 0 is. The flags of the pages are the `PAGES` bytes below.
    pub(crate) fn base(&mut self) -> *mut u8 {
        self.mapping.as_mut_ptr().wrapping_add(PAGES)
    }

    /// Reads the aligned word that holds an address.
    #[inline]
    pub(crate) fn word(&self, address: u32) -> u32 {
        let at = (address & !3) as usize;
        let bytes = self.bytes()[at..]
            .first_chunk()
            .expect("an aligned word ends inside 2^32 bytes");
        u32::from_le_bytes(*bytes)
    }

    /// Writes the aligned word that holds an address.
    #[inline]
    pub(crate) fn set_word(&mut self, address: u32, value: u32) {
        self.write(address & !3, &value.to_le_bytes());
    }

    /// Reads a leaf by its index.
    pub(crate) fn leaf(&self, index: u32) -> &[u8; LEAF_SIZE as usize] {
        let at = index as usize * LEAF_SIZE as usize;
        self.bytes()[at..]
            .first_chunk()
            .expect("a leaf ends inside 2^32 bytes")
    }

    /// Writes bytes that lie in one page.
    pub(crate) fn write(&mut self, address: u32, bytes: &[u8]) {
        let at = address as usize;
        let (flags, memory) = self.parts();
        memory[at..at + bytes.len()].copy_from_slice(bytes);
        flags[at / PAGE_SIZE] |= STORED;
    }

    /// Makes leaves zero, without touching pages that are zero anyway.
    pub(crate) fn clear(&mut self, first_leaf: u32, count: u32) {
        let mut at = first_leaf as usize * LEAF_SIZE as usize;
        let end = at + count as usize * LEAF_SIZE as usize;
        let (flags, memory) = self.parts();
        while at < end {
            let page = at / PAGE_SIZE;
            let stop = end.min((page + 1) * PAGE_SIZE);
            if flags[page] & TOUCHED != 0 {
                memory[at..stop].fill(0);
            }
            flags[page] |= UNHASHED | UNSAVED;
            at = stop;
        }
    }

    /// Gives the bytes of a range.
    pub(crate) fn range(&self, range: &Range<u32>) -> &[u8] {
        &self.bytes()[range.start as usize..range.end as usize]
    }

    /// Gives a page.
    pub(crate) fn page(&self, page: usize) -> &[u8; PAGE_SIZE] {
        self.bytes()[page * PAGE_SIZE..]
            .first_chunk()
            .expect("a page ends inside 2^32 bytes")
    }

    /// Whether anything was ever written to a page.
    pub(crate) fn is_touched(&self, page: usize) -> bool {
        self.mapping[page] & TOUCHED != 0
    }

    /// Lists the pages that were ever written, ascending.
    pub(crate) fn touched(&self) -> Vec<usize> {
        (0..PAGES).filter(|page| self.is_touched(*page)).collect()
    }

    /// Lists the pages that have a flag, ascending, and takes it from them.
    pub(crate) fn take_flagged(&mut self, flag: u8) -> Vec<usize> {
        let mut pages = Vec::new();
        let mask = u64::from_le_bytes([flag; 8]);
        for (group, flags) in self.parts().0.chunks_exact_mut(8).enumerate() {
            // Eight pages at a time: nearly all are untouched.
            let all = u64::from_le_bytes(flags.try_into().expect("chunks of eight"));
            if all & mask == 0 {
                continue;
            }
            for (index, byte) in flags.iter_mut().enumerate() {
                if *byte & flag != 0 {
                    *byte &= !flag;
                    pages.push(group * 8 + index);
                }
            }
        }
        pages
    }
}
