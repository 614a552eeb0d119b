//! Programs: ELF files for rv32im.

use core::ops::Range;

use object::read::elf::ElfFile32;
use object::{
    Architecture, Object, ObjectSection, ObjectSegment, ObjectSymbol, SectionFlags, SegmentFlags, SymbolKind,
    elf,
};

use crate::address::{LEAF_SIZE, OUTPUT};

/// A program: what is in memory at the start, where it begins, what it may not change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Bytes by address, as the file's segments have them.
    pub segments: Vec<(u32, Vec<u8>)>,
    /// The first `pc`.
    pub entry: u32,
    /// The text: whole leaves, immutable.
    pub text: Range<u32>,
    /// Functions by address, ascending: for profiles and traces.
    pub symbols: Vec<Symbol>,
}

/// A function in a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Where it begins.
    pub address: u32,
    /// Its name as the linker has it.
    pub name: String,
}

/// Why a file is no program.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// The file is no ELF file of 32 bits.
    #[error("elf: {0}")]
    Elf(#[from] object::Error),
    /// The file is for another processor.
    #[error("architecture: got {got:?}, must be RISC-V of 32 bits, little-endian")]
    Architecture {
        /// What the file says.
        got: Architecture,
    },
    /// Nothing can be executed.
    #[error("text: the file has no executable bytes")]
    NoText,
    /// A segment reaches where the machine keeps its own things.
    #[error(
        "segment at {address:#x}: its {size} bytes must end below {:#x}",
        crate::address::KEY
    )]
    Segment {
        /// Where it begins.
        address: u64,
        /// Its bytes.
        size: u64,
    },
}

impl Program {
    /// Reads an ELF file.
    ///
    /// # Errors
    /// Where it is no program for this machine.
    pub fn from_elf(bytes: &[u8]) -> Result<Self, ProgramError> {
        let file = ElfFile32::<object::Endianness>::parse(bytes)?;
        if file.architecture() != Architecture::Riscv32 || !file.is_little_endian() {
            return Err(ProgramError::Architecture {
                got: file.architecture(),
            });
        }
        let mut segments = Vec::new();
        for segment in file.segments() {
            let (address, size) = (segment.address(), segment.size());
            let data = segment.data()?;
            // Key, block, input and output end at the page of the protected memory.
            let fits = address
                .checked_add(size)
                .is_some_and(|end| end <= u64::from(crate::address::KEY));
            let begin = u32::try_from(address).ok().filter(|_| fits);
            let begin = begin.ok_or(ProgramError::Segment { address, size })?;
            segments.push((begin, data.to_vec()));
        }
        let text = text_range(&file).ok_or(ProgramError::NoText)?;
        let mut symbols: Vec<Symbol> = file
            .symbols()
            .filter(|symbol| symbol.kind() == SymbolKind::Text)
            .filter_map(|symbol| {
                let address = u32::try_from(symbol.address()).ok()?;
                Some(Symbol {
                    address,
                    name: symbol.name().ok()?.to_owned(),
                })
            })
            .collect();
        symbols.sort_by(|a, b| (a.address, &a.name).cmp(&(b.address, &b.name)));
        symbols.dedup_by_key(|symbol| symbol.address);
        let entry = u32::try_from(file.entry()).unwrap_or_default();
        Ok(Self {
            segments,
            entry,
            text,
            symbols,
        })
    }

    /// Gives the function that an address is in.
    pub fn symbol(&self, address: u32) -> Option<&Symbol> {
        let end = self.symbols.partition_point(|symbol| symbol.address <= address);
        self.symbols.get(end.checked_sub(1)?)
    }
}

/// The range of executable sections, or of executable segments where the file has no sections: whole leaves.
fn text_range(file: &ElfFile32<'_>) -> Option<Range<u32>> {
    let executable = |flags| matches!(flags, SectionFlags::Elf { sh_flags } if sh_flags & u64::from(elf::SHF_EXECINSTR) != 0);
    let mut ranges: Vec<(u64, u64)> = file
        .sections()
        .filter(|section| executable(section.flags()) && section.size() > 0)
        .map(|section| {
            (
                section.address(),
                section.address().saturating_add(section.size()),
            )
        })
        .collect();
    if ranges.is_empty() {
        ranges = file
            .segments()
            .filter(|segment| matches!(segment.flags(), SegmentFlags::Elf { p_flags } if p_flags & elf::PF_X != 0))
            .map(|segment| (segment.address(), segment.address().saturating_add(segment.size())))
            .collect();
    }
    let leaf = u64::from(LEAF_SIZE);
    let start = ranges.iter().map(|(start, _)| *start).min()? / leaf * leaf;
    let end = ranges.iter().map(|(_, end)| *end).max()?.next_multiple_of(leaf);
    let end = u32::try_from(end).ok().filter(|end| *end <= OUTPUT)?;
    Some(u32::try_from(start).ok()?..end)
}
