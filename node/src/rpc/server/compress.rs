//! gzip in both directions, bounded.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

/// Responses below this many bytes are not worth compressing: they fit in a packet.
pub(super) const MIN_COMPRESSED: usize = 1400;

/// Decompresses at most `limit` bytes; `None` beyond it or when the data is damaged.
pub(super) fn gunzip(data: &[u8], limit: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let bound = u64::try_from(limit).ok()?.checked_add(1)?;
    GzDecoder::new(data).take(bound).read_to_end(&mut out).ok()?;
    (out.len() <= limit).then_some(out)
}

/// Compresses quickly: JSON shrinks well at the lowest level.
pub(super) fn gzip(data: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(data)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bomb_is_refused_at_the_limit() {
        let data = vec![0; 1_000_000];
        let packed = gzip(&data).unwrap();
        assert!(packed.len() < 10_000);
        assert_eq!(gunzip(&packed, 1_000_000), Some(data));
        assert_eq!(gunzip(&packed, 999_999), None);
        assert_eq!(gunzip(&packed[..packed.len() - 9], 1_000_000), None);
        assert_eq!(gunzip(b"not gzip", 100), None);
    }
}
