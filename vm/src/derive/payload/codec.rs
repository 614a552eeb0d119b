//! Compression of the body: a Brotli stream (RFC 7932).
//!
//! There is one decoder, the `no_std` one, wherever a batch is decoded: two decoders that differ on damaged
//! input would split the chain. It is free of unsafe code, and its version is pinned, because what it
//! accepts is consensus. `docs/payload.md` compares it with Zstandard.

use alloc::vec;
use alloc::vec::Vec;

use brotli_decompressor::{
    Allocator, BrotliDecompressStream, BrotliResult, BrotliState, SliceWrapper, SliceWrapperMut,
};

use super::PayloadError;

/// The decoder's memory: at most a window of 16 MiB and about 4 MiB of tables, whatever the stream asks for.
/// Windows above 16 MiB are an extension that is off.
struct Heap;

/// Memory from [`Heap`].
#[derive(Default)]
struct Cells<T>(Vec<T>);

impl<T> SliceWrapper<T> for Cells<T> {
    fn slice(&self) -> &[T] {
        &self.0
    }
}

impl<T> SliceWrapperMut<T> for Cells<T> {
    fn slice_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

impl<T: Clone + Default> Allocator<T> for Heap {
    type AllocatedMemory = Cells<T>;

    fn alloc_cell(&mut self, len: usize) -> Cells<T> {
        let mut cells = Vec::new();
        cells.resize(len, T::default());
        Cells(cells)
    }

    fn free_cell(&mut self, _data: Cells<T>) {}
}

/// Decompresses a stream that holds exactly `size` bytes and ends where the slice does.
///
/// Output goes to memory of `size` bytes; a stream with more stops there and is refused.
pub(super) fn decompress(stream: &[u8], size: u32) -> Result<Vec<u8>, PayloadError> {
    let size = usize::try_from(size).map_err(|_| PayloadError::Compression)?;
    let mut body = vec![0; size];
    let (mut left, mut read) = (stream.len(), 0);
    let (mut room, mut written, mut total) = (size, 0, 0);
    let mut state = BrotliState::new_strict(Heap, Heap, Heap);
    let result = BrotliDecompressStream(
        &mut left,
        &mut read,
        stream,
        &mut room,
        &mut written,
        &mut body,
        &mut total,
        &mut state,
    );
    match result {
        BrotliResult::ResultSuccess if left == 0 && written == size => Ok(body),
        _ => Err(PayloadError::Compression),
    }
}

/// Compresses to a stream that [`decompress`] reads.
#[cfg(feature = "std")]
pub(super) fn compress(mut body: &[u8]) -> Result<Vec<u8>, PayloadError> {
    /// The smallest output; a batch waits minutes for its Bitcoin block, this takes less than a second.
    const QUALITY: i32 = 11;
    /// Window of 4 MiB, in bits.
    const WINDOW_BITS: i32 = 22;
    let params = brotli::enc::BrotliEncoderParams {
        quality: QUALITY,
        lgwin: WINDOW_BITS,
        size_hint: body.len(),
        ..Default::default()
    };
    let mut stream = Vec::new();
    brotli::BrotliCompress(&mut body, &mut stream, &params).map_err(|_| PayloadError::Compression)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn streams_end_where_they_should() {
        let body: Vec<u8> = (0..100_000u32)
            .map(|n| (n % 251) as u8 ^ (n / 999) as u8)
            .collect();
        let stream = compress(&body).unwrap();
        let size = body.len() as u32;
        assert_eq!(decompress(&stream, size), Ok(body));
        let refused = Err(PayloadError::Compression);
        assert_eq!(decompress(&stream, size - 1), refused);
        assert_eq!(decompress(&stream, size + 1), refused);
        assert_eq!(decompress(&stream[..stream.len() - 1], size), refused);
        assert_eq!(decompress(&[stream, vec![0]].concat(), size), refused);
        assert_eq!(decompress(&[], 0), refused);
    }

    #[test]
    fn streams_that_grow_are_stopped() {
        let stream = compress(&vec![0; 16 << 20]).unwrap();
        assert!(stream.len() < 1_000);
        assert_eq!(decompress(&stream, 1_000), Err(PayloadError::Compression));
    }

    /// The reference decoder's verdict, with the same demands.
    fn reference(stream: &[u8], size: usize) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let mut left = stream;
        brotli::BrotliDecompress(&mut left, &mut out).ok()?;
        (left.is_empty() && out.len() == size).then_some(out)
    }

    proptest! {
        #[test]
        fn any_body_round_trips(body in prop::collection::vec(0u8..20, 0..3_000)) {
            let stream = compress(&body).unwrap();
            prop_assert_eq!(decompress(&stream, body.len() as u32), Ok(body));
        }

        #[test]
        fn damaged_streams_never_panic(
            body in prop::collection::vec(0u8..20, 1..3_000),
            flips in prop::collection::vec(any::<usize>(), 1..5),
        ) {
            let mut stream = compress(&body).unwrap();
            for flip in flips {
                let place = flip % (stream.len() * 8);
                stream[place / 8] ^= 1 << (place % 8);
            }
            if let Ok(damaged) = decompress(&stream, body.len() as u32) {
                prop_assert_eq!(reference(&stream, body.len()), Some(damaged));
            }
        }
    }
}
