//! Bytes in and out: cursors, variable-length integers, and the allowance for decoded data.

#[cfg(feature = "std")]
use alloc::vec::Vec;

use super::{Column, PayloadError};

/// Most bytes of a variable-length `u64`.
const VARINT_MAX: u32 = 10;

/// A cursor over one column. Every read checks what is left.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    column: Column,
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(column: Column, bytes: &'a [u8]) -> Self {
        Self { column, bytes }
    }

    pub(super) const fn remaining(&self) -> usize {
        self.bytes.len()
    }

    pub(super) const fn column(&self) -> Column {
        self.column
    }

    pub(super) const fn invalid(&self) -> PayloadError {
        PayloadError::Invalid { column: self.column }
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], PayloadError> {
        let (taken, rest) = self
            .bytes
            .split_at_checked(count)
            .ok_or(PayloadError::Truncated { column: self.column })?;
        self.bytes = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], PayloadError> {
        let (taken, rest) = self
            .bytes
            .split_first_chunk()
            .ok_or(PayloadError::Truncated { column: self.column })?;
        self.bytes = rest;
        Ok(*taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, PayloadError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    /// Reads a LEB128 integer. Only the shortest form is accepted.
    pub(super) fn varint(&mut self) -> Result<u64, PayloadError> {
        let mut value = 0u64;
        for group in 0..VARINT_MAX {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            let shift = group.saturating_mul(7);
            let shifted = bits.checked_shl(shift).unwrap_or(0);
            if shifted.checked_shr(shift).unwrap_or(0) != bits {
                return Err(self.invalid());
            }
            value |= shifted;
            if byte & 0x80 == 0 {
                return if byte == 0 && group > 0 {
                    Err(self.invalid())
                } else {
                    Ok(value)
                };
            }
        }
        Err(self.invalid())
    }

    /// Reads a count of things that take at least one byte each of `in_bytes` bytes.
    pub(super) fn count(&mut self, in_bytes: usize) -> Result<usize, PayloadError> {
        let count = self.varint()?;
        usize::try_from(count)
            .ok()
            .filter(|count| *count <= in_bytes)
            .ok_or_else(|| self.invalid())
    }

    /// Checks that nothing is left.
    pub(super) const fn end(&self) -> Result<(), PayloadError> {
        match self.bytes.len() {
            0 => Ok(()),
            bytes => Err(PayloadError::Trailing {
                column: self.column,
                bytes,
            }),
        }
    }
}

/// Appends a LEB128 integer.
#[cfg(feature = "std")]
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            out.push(low & 0x7f);
            return;
        }
        out.push(low | 0x80);
    }
}

/// What decoded data may still take, in bytes.
///
/// A word of calldata can take 32 bytes and one byte in the body, so that a limit on the body alone would
/// let a batch grow in memory.
#[derive(Debug)]
pub(super) struct Allowance {
    limit: u64,
    used: u64,
}

impl Allowance {
    pub(super) const fn new(limit: u64) -> Self {
        Self { limit, used: 0 }
    }

    /// Takes `count` things of `size` bytes, before they are allocated.
    pub(super) const fn take(&mut self, count: u64, size: u64) -> Result<(), PayloadError> {
        self.used = self.used.saturating_add(count.saturating_mul(size));
        if self.used > self.limit {
            return Err(PayloadError::TooLarge {
                limit: self.limit,
                got: self.used,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn varint(bytes: &[u8]) -> Result<u64, PayloadError> {
        let mut reader = Reader::new(Column::Meta, bytes);
        let value = reader.varint()?;
        reader.end().map(|()| value)
    }

    #[test]
    fn varints_have_one_form() {
        for value in [
            0,
            1,
            127,
            128,
            16_383,
            16_384,
            u64::from(u32::MAX),
            u64::MAX - 1,
            u64::MAX,
        ] {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            assert_eq!(varint(&bytes), Ok(value));
        }
        let invalid = Err(PayloadError::Invalid { column: Column::Meta });
        assert_eq!(varint(&[0x80, 0x00]), invalid, "overlong");
        assert_eq!(
            varint(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]),
            invalid,
            "too large"
        );
        assert_eq!(varint(&[0xff; 11]), invalid, "too long");
        assert_eq!(
            varint(&[0x80]),
            Err(PayloadError::Truncated { column: Column::Meta })
        );
    }

    #[test]
    fn allowance_ends_at_its_limit() {
        let mut allowance = Allowance::new(100);
        assert_eq!(allowance.take(3, 33), Ok(()));
        assert_eq!(allowance.take(1, 1), Ok(()));
        assert_eq!(
            allowance.take(1, 1),
            Err(PayloadError::TooLarge { limit: 100, got: 101 })
        );
        assert!(allowance.take(u64::MAX, u64::MAX).is_err());
    }
}
