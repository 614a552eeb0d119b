//! The chain's parameters, inside the program.
//!
//! The program has a section for them, so that the program root pins them. The build leaves the section empty, and
//! whoever deploys a chain writes its parameters there: no compiler is needed for another chain.

use alloc::vec::Vec;
use bitsect_vm::chain::ChainParams;

/// Bytes of the section: what it begins with, a length, the encoded parameters, zeros.
pub const SECTION_SIZE: usize = 1024;

/// What the section begins with.
pub const MARKER: [u8; 32] = *b"bitsect chain parameters 1\0\0\0\0\0\0";

/// Where the length is, and the encoding behind it.
const LENGTH_AT: usize = 32;
const PARAMS_AT: usize = 36;

/// Why a program cannot be given parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParamsError {
    /// The file has no section for them, or two.
    #[error("{count} places for chain parameters in the program, one is needed")]
    Places {
        /// How many.
        count: usize,
    },
    /// The parameters are too long.
    #[error("{size} bytes of chain parameters do not fit {SECTION_SIZE}")]
    Size {
        /// How many bytes they have.
        size: usize,
    },
}

/// Forms the section without parameters.
pub const fn empty_section() -> [u8; SECTION_SIZE] {
    let mut section = [0; SECTION_SIZE];
    let (start, _) = section.split_at_mut(MARKER.len());
    start.copy_from_slice(&MARKER);
    section
}

/// Reads the parameters out of the section; `None` where it holds none.
pub fn read(section: &[u8; SECTION_SIZE]) -> Option<ChainParams> {
    let len = section.get(LENGTH_AT..)?.first_chunk::<4>()?;
    let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
    ChainParams::decode(section.get(PARAMS_AT..)?.get(..len)?).ok()
}

/// Writes the parameters into a program, an ELF file that `.ci/guest` built.
///
/// # Errors
/// When the file is no such program, or the parameters are too long.
pub fn write(program: &[u8], params: &ChainParams) -> Result<Vec<u8>, ParamsError> {
    let encoded = params.encode();
    let size = encoded.len();
    let len = u32::try_from(size).map_err(|_| ParamsError::Size { size })?;
    let places = program.windows(MARKER.len()).enumerate();
    let mut places = places.filter(|(_, window)| *window == MARKER);
    let (Some((at, _)), None) = (places.next(), places.next()) else {
        let count = program
            .windows(MARKER.len())
            .filter(|window| *window == MARKER)
            .count();
        return Err(ParamsError::Places { count });
    };
    let mut program = program.to_vec();
    let section = program
        .get_mut(at..)
        .and_then(|rest| rest.get_mut(..SECTION_SIZE))
        .ok_or(ParamsError::Places { count: 0 })?;
    let (head, rest) = section
        .split_at_mut_checked(PARAMS_AT)
        .ok_or(ParamsError::Size { size })?;
    let (place, padding) = rest
        .split_at_mut_checked(size)
        .ok_or(ParamsError::Size { size })?;
    if let Some(length) = head.last_chunk_mut::<4>() {
        *length = len.to_le_bytes();
    }
    place.copy_from_slice(&encoded);
    padding.fill(0);
    Ok(program)
}
