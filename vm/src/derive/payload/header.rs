//! The uncompressed header of a payload.

use alloy_primitives::B256;

use super::wire::Reader;
use super::{Column, PayloadError};

/// The first bytes of every payload.
pub const MAGIC: [u8; 4] = *b"bsct";

/// The payload version of this code.
pub const VERSION: u8 = 1;

/// Bytes of a header.
pub const HEADER_BYTES: usize = 94;

/// How the body is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Codec {
    /// As it is.
    Stored = 0,
    /// As a Brotli stream (RFC 7932).
    Brotli = 1,
}

impl Codec {
    const fn from_byte(byte: u8) -> Result<Self, PayloadError> {
        match byte {
            0 => Ok(Self::Stored),
            1 => Ok(Self::Brotli),
            got => Err(PayloadError::Codec { got }),
        }
    }
}

/// What a payload says before its body: enough to refuse a batch that does not fit the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadHeader {
    /// How the body is stored.
    pub codec: Codec,
    /// The number of the first block.
    pub first_block: u64,
    /// The number of blocks.
    pub block_count: u32,
    /// The hash of the block before the first one.
    pub parent_hash: B256,
    /// The height of the first block's L1 origin.
    pub first_origin: u32,
    /// The hash of the last block's L1 origin, in internal byte order.
    pub last_origin_hash: B256,
    /// Bytes of the body.
    pub body_bytes: u32,
    /// Bytes of the body as it is stored.
    pub stored_bytes: u32,
}

impl PayloadHeader {
    /// Reads the header in front of a payload.
    ///
    /// # Errors
    /// The bytes are too few, not a batch, or of a version or codec that is not known; the block numbers
    /// overflow.
    pub fn decode(payload: &[u8]) -> Result<Self, PayloadError> {
        let bytes = payload
            .first_chunk::<HEADER_BYTES>()
            .ok_or(PayloadError::ShortHeader {
                expected: HEADER_BYTES,
                got: payload.len(),
            })?;
        let mut reader = Reader::new(Column::Meta, bytes);
        let magic = reader.array()?;
        if magic != MAGIC {
            return Err(PayloadError::Magic {
                expected: MAGIC,
                got: magic,
            });
        }
        let version = reader.byte()?;
        if version != VERSION {
            return Err(PayloadError::Version {
                expected: VERSION,
                got: version,
            });
        }
        let header = Self {
            codec: Codec::from_byte(reader.byte()?)?,
            first_block: u64::from_le_bytes(reader.array()?),
            block_count: u32::from_le_bytes(reader.array()?),
            parent_hash: B256::new(reader.array()?),
            first_origin: u32::from_le_bytes(reader.array()?),
            last_origin_hash: B256::new(reader.array()?),
            body_bytes: u32::from_le_bytes(reader.array()?),
            stored_bytes: u32::from_le_bytes(reader.array()?),
        };
        reader.end()?;
        header.verify_numbers().map(|()| header)
    }

    pub(super) const fn verify_numbers(&self) -> Result<(), PayloadError> {
        match self.first_block.checked_add(self.block_count as u64) {
            Some(_) => Ok(()),
            None => Err(PayloadError::BlockNumber {
                first_block: self.first_block,
            }),
        }
    }

    /// Writes the header.
    #[cfg(feature = "std")]
    pub(super) fn encode(&self, out: &mut alloc::vec::Vec<u8>) {
        out.extend_from_slice(&MAGIC);
        out.push(VERSION);
        out.push(self.codec as u8);
        out.extend_from_slice(&self.first_block.to_le_bytes());
        out.extend_from_slice(&self.block_count.to_le_bytes());
        out.extend_from_slice(self.parent_hash.as_slice());
        out.extend_from_slice(&self.first_origin.to_le_bytes());
        out.extend_from_slice(self.last_origin_hash.as_slice());
        out.extend_from_slice(&self.body_bytes.to_le_bytes());
        out.extend_from_slice(&self.stored_bytes.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn header() -> PayloadHeader {
        PayloadHeader {
            codec: Codec::Brotli,
            first_block: 0x0102_0304_0506_0708,
            block_count: 9,
            parent_hash: B256::repeat_byte(0xaa),
            first_origin: 0x0a0b_0c0d,
            last_origin_hash: B256::repeat_byte(0xbb),
            body_bytes: 0x1112_1314,
            stored_bytes: 0x1516_1718,
        }
    }

    #[test]
    fn header_has_these_bytes() {
        let mut bytes = Vec::new();
        header().encode(&mut bytes);
        let expected = [
            "62736374",
            "01",
            "01",
            "0807060504030201",
            "09000000",
            &"aa".repeat(32),
            "0d0c0b0a",
            &"bb".repeat(32),
            "14131211",
            "18171615",
        ]
        .concat();
        assert_eq!(hex::encode(&bytes), expected);
        assert_eq!(bytes.len(), HEADER_BYTES);
        assert_eq!(PayloadHeader::decode(&bytes), Ok(header()));
    }

    #[test]
    fn wrong_headers_are_named() {
        let mut bytes = Vec::new();
        header().encode(&mut bytes);
        let with = |place: usize, value: u8| {
            let mut changed = bytes.clone();
            changed[place] = value;
            PayloadHeader::decode(&changed).unwrap_err()
        };
        assert_eq!(
            with(0, 0),
            PayloadError::Magic {
                expected: MAGIC,
                got: *b"\0sct"
            }
        );
        assert_eq!(with(4, 2), PayloadError::Version { expected: 1, got: 2 });
        assert_eq!(with(5, 2), PayloadError::Codec { got: 2 });
        assert_eq!(
            PayloadHeader::decode(&bytes[..93]),
            Err(PayloadError::ShortHeader {
                expected: 94,
                got: 93
            })
        );
        let last = PayloadHeader {
            first_block: u64::MAX - 8,
            ..header()
        };
        let mut bytes = Vec::new();
        last.encode(&mut bytes);
        assert_eq!(
            PayloadHeader::decode(&bytes),
            Err(PayloadError::BlockNumber {
                first_block: u64::MAX - 8
            })
        );
    }
}
