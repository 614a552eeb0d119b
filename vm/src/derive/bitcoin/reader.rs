//! Reads Bitcoin's wire format from a slice without trusting any length in it.

use alloy_primitives::B256;

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end inside a field.
    #[error("bytes end inside {field}")]
    UnexpectedEnd {
        /// The field.
        field: &'static str,
    },
    /// Bytes follow the last field.
    #[error("{count} bytes follow the end")]
    TrailingBytes {
        /// How many.
        count: usize,
    },
    /// A compact size is longer than needed, which Bitcoin Core refuses.
    #[error("compact size of {field} is not canonical")]
    NonCanonicalSize {
        /// The field.
        field: &'static str,
    },
    /// A field has a value that its rule forbids.
    #[error("{field}: {rule}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// The rule that it breaks.
        rule: &'static str,
    },
}

/// A cursor over bytes. Cloning it marks a position.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) const fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn bytes(&mut self, len: usize, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(DecodeError::UnexpectedEnd { field })?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(DecodeError::UnexpectedEnd { field })?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        Ok(u8::from_le_bytes(self.array(field)?))
    }

    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array(field)?))
    }

    pub(crate) fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array(field)?))
    }

    pub(crate) fn hash(&mut self, field: &'static str) -> Result<B256, DecodeError> {
        Ok(B256::new(self.array(field)?))
    }

    /// Reads a compact size that counts things of at least `min_size` bytes each, so that a count which the
    /// remaining bytes cannot hold is refused before anything is allocated for it.
    pub(crate) fn count(&mut self, min_size: usize, field: &'static str) -> Result<usize, DecodeError> {
        let value = self.compact_size(field)?;
        let count = usize::try_from(value).map_err(|_| DecodeError::UnexpectedEnd { field })?;
        match count.checked_mul(min_size) {
            Some(needed) if needed <= self.remaining() => Ok(count),
            _ => Err(DecodeError::UnexpectedEnd { field }),
        }
    }

    /// Reads bytes behind their compact size.
    pub(crate) fn sized_bytes(&mut self, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let len = self.count(1, field)?;
        self.bytes(len, field)
    }

    fn compact_size(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        let (value, least) = match self.u8(field)? {
            0xfd => (u64::from(u16::from_le_bytes(self.array(field)?)), 0xfd),
            0xfe => (u64::from(self.u32(field)?), 0x1_0000),
            0xff => (self.u64(field)?, 0x1_0000_0000),
            small => (u64::from(small), 0),
        };
        if value < least {
            Err(DecodeError::NonCanonicalSize { field })
        } else {
            Ok(value)
        }
    }

    /// Gives what was read between `start`, an earlier copy of this reader, and here.
    pub(crate) fn since(&self, start: &Self) -> &'a [u8] {
        let len = start.rest.len().saturating_sub(self.rest.len());
        start.rest.get(..len).unwrap_or_default()
    }

    pub(crate) fn finish(&self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            count => Err(DecodeError::TrailingBytes { count }),
        }
    }
}
