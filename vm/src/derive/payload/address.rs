//! Addresses: 0 for one that follows in full, or a place in the table of those that recur.

use alloc::vec::Vec;
use alloy_primitives::Address;

use super::PayloadError;
use super::wire::Reader;

/// Most addresses in the table: a reference is two bytes and 0 is taken. Others are written in full.
pub(super) const TABLE_MAX: usize = 65_535;

/// Bytes of an address.
pub(super) const ADDRESS_BYTES: usize = 20;

/// The addresses of a payload that is being decoded.
#[derive(Debug)]
pub(super) struct Addresses<'a> {
    table: Vec<Address>,
    rest: Reader<'a>,
}

impl<'a> Addresses<'a> {
    /// Reads the table; the addresses behind it are the ones in full.
    pub(super) fn read(mut bytes: Reader<'a>, table: usize) -> Result<Self, PayloadError> {
        if table > TABLE_MAX {
            return Err(bytes.invalid());
        }
        let table_bytes = bytes.take(table.saturating_mul(ADDRESS_BYTES))?;
        let (table, _) = table_bytes.as_chunks::<ADDRESS_BYTES>();
        Ok(Self {
            table: table.iter().map(Address::from).collect(),
            rest: bytes,
        })
    }

    /// Whether references take a second byte.
    pub(super) const fn wide(&self) -> bool {
        self.table.len() > 255
    }

    /// Reads a reference from its two columns and resolves it.
    pub(super) fn next(
        &mut self,
        low: &mut Reader<'_>,
        high: &mut Reader<'_>,
    ) -> Result<Address, PayloadError> {
        let high = if self.wide() { high.byte()? } else { 0 };
        let reference = u16::from_le_bytes([low.byte()?, high]);
        self.resolve(u64::from(reference), low)
    }

    /// Reads a reference that is a variable-length integer and resolves it.
    pub(super) fn next_varint(&mut self, column: &mut Reader<'_>) -> Result<Address, PayloadError> {
        let reference = column.varint()?;
        self.resolve(reference, column)
    }

    fn resolve(&mut self, reference: u64, column: &Reader<'_>) -> Result<Address, PayloadError> {
        match reference.checked_sub(1) {
            None => self.rest.array().map(Address::new),
            Some(place) => usize::try_from(place)
                .ok()
                .and_then(|place| self.table.get(place).copied())
                .ok_or_else(|| column.invalid()),
        }
    }

    /// Checks that every address was used that could be.
    pub(super) const fn end(&self) -> Result<(), PayloadError> {
        self.rest.end()
    }
}

#[cfg(feature = "std")]
pub(super) use writer::AddressWriter;

#[cfg(feature = "std")]
mod writer {
    use alloc::collections::BTreeMap;
    use alloc::vec::Vec;
    use alloy_primitives::Address;
    use core::cmp::Reverse;

    use super::TABLE_MAX;
    use crate::derive::payload::wire::put_varint;

    /// The addresses of a payload that is being encoded.
    #[derive(Debug)]
    pub(in super::super) struct AddressWriter {
        references: BTreeMap<Address, u16>,
        /// The table, then the addresses in full.
        bytes: Vec<u8>,
    }

    impl AddressWriter {
        /// Makes the table of the addresses that occur more than once, the most frequent first.
        pub(in super::super) fn new(occurrences: impl Iterator<Item = Address>) -> Self {
            let mut counts = BTreeMap::<Address, u64>::new();
            for address in occurrences {
                let count = counts.entry(address).or_default();
                *count = count.saturating_add(1);
            }
            let mut recurring: Vec<_> = counts.into_iter().filter(|(_, count)| *count > 1).collect();
            recurring.sort_by_key(|(_, count)| Reverse(*count));
            recurring.truncate(TABLE_MAX);
            let mut bytes = Vec::new();
            let mut references = BTreeMap::new();
            for ((address, _), reference) in recurring.into_iter().zip(1..=u16::MAX) {
                bytes.extend_from_slice(address.as_slice());
                references.insert(address, reference);
            }
            Self { references, bytes }
        }

        /// Addresses in the table.
        pub(in super::super) fn table(&self) -> usize {
            self.references.len()
        }

        fn reference(&mut self, address: &Address) -> u16 {
            match self.references.get(address) {
                Some(reference) => *reference,
                None => {
                    self.bytes.extend_from_slice(address.as_slice());
                    0
                }
            }
        }

        /// Writes an address as a reference to two columns.
        pub(in super::super) fn put(&mut self, address: &Address, low: &mut Vec<u8>, high: &mut Vec<u8>) {
            let [low_byte, high_byte] = self.reference(address).to_le_bytes();
            low.push(low_byte);
            if self.references.len() > 255 {
                high.push(high_byte);
            }
        }

        /// Writes an address as a reference that is a variable-length integer.
        pub(in super::super) fn put_varint(&mut self, address: &Address, out: &mut Vec<u8>) {
            let reference = self.reference(address);
            put_varint(out, u64::from(reference));
        }

        /// The table, then the addresses in full.
        pub(in super::super) fn into_bytes(self) -> Vec<u8> {
            self.bytes
        }
    }
}
