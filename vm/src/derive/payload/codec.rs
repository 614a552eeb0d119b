//! Compression of the body.
//!
//! There is one decoder, the `no_std` one, wherever a batch is decoded: two decoders that differ on damaged
//! input would split the chain. The C library only compresses.

use alloc::vec::Vec;

use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use ruzstd::io::Read;

use super::PayloadError;

/// The start of a Zstandard frame: magic, then a descriptor that says: one segment, a content size of
/// four bytes, no checksum, no dictionary (RFC 8878, 3.1.1.1). A payload has only the blocks behind it, so
/// that nothing in it can ask for a larger window or for checks that decoders do not share.
const FRAME_START: [u8; 5] = [0x28, 0xb5, 0x2f, 0xfd, 0b1010_0000];

/// Smallest window that the decoder is allowed, in bytes: blocks are bounded by the window too.
const WINDOW_MIN: u64 = 1 << 10;

/// Decompresses blocks to exactly `size` bytes.
///
/// Memory stays within `size` and one block: output is counted after every block, which the decoder itself
/// bounds.
pub(super) fn decompress(mut blocks: &[u8], size: u32) -> Result<Vec<u8>, PayloadError> {
    let wanted = usize::try_from(size).map_err(|_| PayloadError::Compression)?;
    let mut start = [0u8; 9];
    let bytes = FRAME_START.into_iter().chain(size.to_le_bytes());
    start.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);

    let mut decoder = FrameDecoder::new();
    decoder.set_max_window_size(u64::from(size).max(WINDOW_MIN));
    decoder
        .init(start.as_slice())
        .map_err(|_| PayloadError::Compression)?;
    while !decoder.is_finished() {
        decoder
            .decode_blocks(&mut blocks, BlockDecodingStrategy::UptoBlocks(1))
            .map_err(|_| PayloadError::Compression)?;
        // While the frame goes on, what can be collected is what exceeds the window, which is the size.
        let limit = if decoder.is_finished() { wanted } else { 0 };
        if decoder.can_collect() > limit {
            return Err(PayloadError::Compression);
        }
    }
    if decoder.can_collect() != wanted || !blocks.is_empty() {
        return Err(PayloadError::Compression);
    }
    let mut body = Vec::new();
    body.resize(wanted, 0);
    decoder
        .read_exact(&mut body)
        .map_err(|_| PayloadError::Compression)?;
    Ok(body)
}

/// Compresses to blocks that [`decompress`] reads.
#[cfg(feature = "std")]
pub(super) fn compress(body: &[u8]) -> Result<Vec<u8>, PayloadError> {
    /// The best level short of those that need more memory than they save bytes.
    const LEVEL: i32 = 19;
    let frame = zstd::bulk::compress(body, LEVEL).map_err(|_| PayloadError::Compression)?;
    let descriptor = frame.get(4).copied().ok_or(PayloadError::Compression)?;
    let single_segment = descriptor & 0x20 != 0;
    let content_size = match (descriptor >> 6, single_segment) {
        (0, false) => 0usize,
        (0, true) => 1,
        (1, _) => 2,
        (2, _) => 4,
        _ => 8,
    };
    let window = usize::from(!single_segment);
    let start = content_size.saturating_add(window).saturating_add(5);
    // No dictionary, no checksum, no reserved bit: as asked for, or the length of the start is another.
    if descriptor & 0x1f != 0 {
        return Err(PayloadError::Compression);
    }
    frame
        .get(start..)
        .map(<[u8]>::to_vec)
        .ok_or(PayloadError::Compression)
}
