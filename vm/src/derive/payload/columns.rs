//! The columns of a body: its parts, each with bytes of one sort, so that like is compressed with like.

#[cfg(feature = "std")]
use alloc::vec::Vec;

use super::PayloadError;
use super::wire::Reader;
#[cfg(feature = "std")]
use super::wire::put_varint;

/// Defines the parts once: as names for errors, as cursors of the decoder, as bytes of the encoder.
macro_rules! columns {
    ($($(#[doc = $doc:literal])+ $variant:ident $field:ident,)+) => {
        /// The parts of a payload, in the order in which the body has them; the last two follow the body.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Column {
            $($(#[doc = $doc])+ $variant,)+
            /// After the body: addresses, 20 bytes each.
            Addresses,
            /// After the addresses: signatures, 64 bytes each.
            Signatures,
        }

        /// A cursor over each column.
        #[derive(Debug)]
        pub(super) struct Readers<'a> {
            $(pub(super) $field: Reader<'a>,)+
        }

        impl<'a> Readers<'a> {
            fn empty() -> Self {
                Self { $($field: Reader::new(Column::$variant, &[]),)+ }
            }

            fn all(&mut self) -> [&mut Reader<'a>; COLUMNS] {
                [$(&mut self.$field,)+]
            }
        }

        /// The bytes of each column.
        #[cfg(feature = "std")]
        #[derive(Debug, Default)]
        pub(super) struct Writers {
            $(pub(super) $field: Vec<u8>,)+
        }

        #[cfg(feature = "std")]
        impl Writers {
            fn all(&self) -> [&[u8]; COLUMNS] {
                [$(&self.$field,)+]
            }
        }

        /// Columns of a body.
        const COLUMNS: usize = [$(stringify!($variant),)+].len();
    };
}

columns! {
    /// Chain id, number of transactions, of recurring addresses, of nonce lanes.
    Meta meta,
    /// Per block: seconds since the block before.
    BlockTime block_time,
    /// Per block: number of transactions, and whether it advances the origin.
    BlockContent block_content,
    /// The kinds of transactions that occur.
    Kinds kinds,
    /// Per transaction: its kind.
    KindIndex kind_index,
    /// Per transaction: nonce lane, low byte.
    LaneLow lane_low,
    /// Per transaction: nonce lane, high byte; empty when no lane needs it.
    LaneHigh lane_high,
    /// Per new lane: its first nonce.
    Nonce nonce,
    /// Per transaction, by kind: recency rank of the gas limit.
    Gas gas,
    /// Gas limits that are not recent.
    GasLiteral gas_literal,
    /// Per transaction with a tip: whether it is that of the lane, else its recency rank.
    Tip tip,
    /// Per transaction: recency rank of the fee cap above the tip.
    FeeCap fee_cap,
    /// Tips and fee caps that are not recent.
    FeeLiteral fee_literal,
    /// Per call, by kind: receiver, low byte.
    ToLow to_low,
    /// Per call, by kind: receiver, high byte; empty when no address needs it.
    ToHigh to_high,
    /// Per transaction, by kind: form of the value.
    ValueForm value_form,
    /// Per value with a mantissa: its top byte.
    ValueTop value_top,
    /// The values' other bytes.
    ValueRest value_rest,
    /// Per calldata word, by kind and position: its form.
    WordForm word_form,
    /// Per calldata word with a mantissa: its top byte.
    WordTop word_top,
    /// The calldata words' other bytes.
    WordRest word_rest,
    /// Per calldata word that is an address: low byte.
    WordAddressLow word_address_low,
    /// Per calldata word that is an address: high byte; empty when no address needs it.
    WordAddressHigh word_address_high,
    /// Calldata without words, by kind.
    Data data,
    /// Access lists, by kind.
    AccessList access_list,
    /// Authorisation lists, by kind.
    Authorisation authorisation,
}

impl<'a> Readers<'a> {
    /// Splits a body into its columns: the length of each, then the bytes of each.
    pub(super) fn split(body: &'a [u8]) -> Result<Self, PayloadError> {
        let mut rest = Reader::new(Column::Meta, body);
        let mut lengths = [0usize; COLUMNS];
        for length in &mut lengths {
            *length = rest.count(body.len())?;
        }
        let mut readers = Self::empty();
        for (reader, length) in readers.all().into_iter().zip(lengths) {
            let column = reader.column();
            let bytes = rest
                .take(length)
                .map_err(|_| PayloadError::Truncated { column })?;
            *reader = Reader::new(column, bytes);
        }
        rest.end().map(|()| readers)
    }

    /// Checks that every column was read to its end.
    pub(super) fn end(mut self) -> Result<(), PayloadError> {
        self.all().into_iter().try_for_each(|reader| reader.end())
    }
}

#[cfg(feature = "std")]
impl Writers {
    /// Joins the columns to a body.
    pub(super) fn join(&self) -> Vec<u8> {
        let columns = self.all();
        let mut body = Vec::new();
        for column in columns {
            put_varint(&mut body, u64::try_from(column.len()).unwrap_or(u64::MAX));
        }
        columns
            .into_iter()
            .for_each(|column| body.extend_from_slice(column));
        body
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn columns_split_as_joined() {
        let columns = Writers {
            kinds: vec![1, 2, 3],
            authorisation: vec![9; 200],
            ..Writers::default()
        };
        let body = columns.join();
        assert_eq!(body.len(), COLUMNS + 1 + 3 + 200);
        let mut readers = Readers::split(&body).unwrap();
        assert_eq!(readers.kinds.take(3), Ok([1, 2, 3].as_slice()));
        assert_eq!(readers.authorisation.take(200), Ok([9; 200].as_slice()));
        readers.end().unwrap();
    }

    #[test]
    fn every_byte_belongs_to_a_column() {
        let body = Writers {
            kinds: vec![1, 2, 3],
            ..Writers::default()
        }
        .join();
        let unread = Readers::split(&body).unwrap();
        assert_eq!(
            unread.end(),
            Err(PayloadError::Trailing {
                column: Column::Kinds,
                bytes: 3
            })
        );
        assert_eq!(
            Readers::split(&body[..body.len() - 1]).unwrap_err(),
            PayloadError::Truncated {
                column: Column::Kinds
            }
        );
        let longer = [body.as_slice(), &[0]].concat();
        assert_eq!(
            Readers::split(&longer).unwrap_err(),
            PayloadError::Trailing {
                column: Column::Meta,
                bytes: 1
            }
        );
        assert!(Readers::split(&[]).is_err());
        assert!(Readers::split(&[0xff; 300]).is_err());
    }
}
