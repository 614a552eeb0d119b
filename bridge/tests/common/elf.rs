//! Programs as files.

/// Gives an ELF file of one executable segment with these words at an address.
pub fn elf_file(address: u32, words: &[u32]) -> Vec<u8> {
    const HEADER: u32 = 52;
    const ENTRY: u32 = 32;
    let size = 4 * words.len() as u32;
    let mut file = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    // An executable for RISC-V, with one program header and no sections.
    file.extend([2, 0, 0xf3, 0]);
    let fields: [u32; 5] = [1, address, HEADER, 0, 0];
    file.extend(fields.iter().flat_map(|field| field.to_le_bytes()));
    let sizes: [u16; 6] = [HEADER as u16, ENTRY as u16, 1, 40, 0, 0];
    file.extend(sizes.iter().flat_map(|size| size.to_le_bytes()));
    let load: [u32; 8] = [1, HEADER + ENTRY, address, address, size, size, 5, 64];
    file.extend(load.iter().flat_map(|field| field.to_le_bytes()));
    file.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    file
}
