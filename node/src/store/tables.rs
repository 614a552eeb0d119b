//! The tables of docs/store.md, and one way to read them inside and outside a write.

use redb::{
    AccessGuard, ReadOnlyTable, ReadTransaction, ReadableTable, ReadableTableMetadata, Table,
    TableDefinition, TableStats, WriteTransaction,
};

use super::StoreError;
use super::rows::RowFault;

type Bytes = &'static [u8];
type Fixed<const N: usize> = &'static [u8; N];

/// Declares every table once: definitions, the two sets of open tables, and what the admin commands loop over.
macro_rules! tables {
    ($($(#[$doc:meta])* $name:ident: $key:ty;)*) => {
        /// All tables, open for reading in one MVCC view.
        pub(super) struct ReadTables {
            $($(#[$doc])* pub(super) $name: ReadOnlyTable<$key, Bytes>,)*
        }

        impl ReadTables {
            pub(super) fn open(txn: &ReadTransaction) -> Result<Self, redb::TableError> {
                Ok(Self { $($name: txn.open_table(TableDefinition::new(stringify!($name)))?,)* })
            }
        }

        /// All tables, open in one write transaction.
        pub(super) struct WriteTables<'t> {
            $($(#[$doc])* pub(super) $name: Table<'t, $key, Bytes>,)*
        }

        impl<'t> WriteTables<'t> {
            pub(super) fn open(txn: &'t WriteTransaction) -> Result<Self, redb::TableError> {
                Ok(Self { $($name: txn.open_table(TableDefinition::new(stringify!($name)))?,)* })
            }

            /// Copies every row of `from`, telling `each` the table's name after each row.
            pub(super) fn copy_all(
                &mut self,
                from: &ReadTables,
                mut each: impl FnMut(&'static str),
            ) -> Result<(), StoreError> {
                $(for row in from.$name.iter()? {
                    let (key, value) = row?;
                    self.$name.insert(key.value(), value.value())?;
                    each(stringify!($name));
                })*
                Ok(())
            }
        }

        /// Tables to read from, whichever kind of transaction they are open in.
        pub(super) trait View {
            $($(#[$doc])* fn $name(&self) -> &impl ReadableTable<$key, Bytes>;)*

            /// Rows and pages of every table, in declaration order.
            fn table_stats(&self) -> Result<Vec<(&'static str, u64, TableStats)>, StoreError> {
                Ok(vec![$((stringify!($name), self.$name().len()?, self.$name().stats()?),)*])
            }
        }

        impl View for ReadTables {
            $(fn $name(&self) -> &impl ReadableTable<$key, Bytes> { &self.$name })*
        }

        impl View for WriteTables<'_> {
            $(fn $name(&self) -> &impl ReadableTable<$key, Bytes> { &self.$name })*
        }
    };
}

tables! {
    /// Identity, heads, bounds.
    meta: &'static str;
    /// Block -> hash, origin height, header.
    headers: Fixed<8>;
    /// Block hash -> block.
    numbers: Fixed<32>;
    /// Block -> senders and transactions.
    bodies: Fixed<8>;
    /// Block -> L1 fees and receipts.
    receipts: Fixed<8>;
    /// Transaction hash -> block and index.
    transactions: Fixed<32>;
    /// Address and block of logs.
    log_addresses: Fixed<28>;
    /// Address -> account.
    accounts: Fixed<20>;
    /// Address and slot -> value.
    storage: Fixed<52>;
    /// Code hash -> code.
    code: Fixed<32>;
    /// Block -> change set.
    changes: Fixed<8>;
    /// Address and block -> place in the change set.
    account_history: Fixed<28>;
    /// Address, slot and block -> place in the change set.
    storage_history: Fixed<60>;
    /// Tree page key -> tree page.
    tree: Bytes;
    /// Block -> all balances and what was burnt.
    supply: Fixed<8>;
    /// Unit -> chain state and kind.
    units: Fixed<8>;
    /// Block -> unit.
    block_units: Fixed<8>;
    /// L1 height -> hash and units.
    l1_blocks: Fixed<4>;
    /// L1 height -> encoded chain state.
    l1_states: Fixed<4>;
    /// First block -> batch.
    batches: Fixed<8>;
    /// Vault output -> sats.
    vault_outputs: Fixed<36>;
    /// Vault output that left unrecorded -> sats, by what, where.
    vault_left: Fixed<36>;
    /// L1 height -> what its block did to vault outputs.
    vault_moves: Fixed<4>;
    /// Key -> bytes.
    blobs: Fixed<32>;
    /// Baton -> job.
    jobs: Fixed<36>;
    /// Baton -> progress.
    job_states: Fixed<36>;
    /// Name -> bytes.
    extra: &'static str;
}

/// Reads and decodes one row of a table with fixed-size keys; `name` is for the error.
pub(super) fn fetch<const N: usize, T>(
    table: &impl ReadableTable<Fixed<N>, Bytes>,
    name: &'static str,
    key: &[u8; N],
    decode: impl FnOnce(&[u8]) -> Result<T, RowFault>,
) -> Result<Option<T>, StoreError> {
    let Some(row) = table.get(key)? else {
        return Ok(None);
    };
    decode(row.value())
        .map(Some)
        .map_err(|fault| StoreError::corrupt(name, key, fault.0))
}

/// Reads a row that the invariants promise.
pub(super) fn must<const N: usize, T>(
    table: &impl ReadableTable<Fixed<N>, Bytes>,
    name: &'static str,
    key: &[u8; N],
    decode: impl FnOnce(&[u8]) -> Result<T, RowFault>,
) -> Result<T, StoreError> {
    fetch(table, name, key, decode)?.ok_or_else(|| StoreError::corrupt(name, key, "the row is missing"))
}

/// Reads the last row of a table with fixed-size keys.
pub(super) fn last<const N: usize, T>(
    table: &impl ReadableTable<Fixed<N>, Bytes>,
    name: &'static str,
    decode: impl FnOnce(&[u8]) -> Result<T, RowFault>,
) -> Result<Option<([u8; N], T)>, StoreError> {
    let Some(row) = table.last()? else { return Ok(None) };
    decode_pair(name, row, decode).map(Some)
}

/// Reads the first row of a table with fixed-size keys.
pub(super) fn first<const N: usize, T>(
    table: &impl ReadableTable<Fixed<N>, Bytes>,
    name: &'static str,
    decode: impl FnOnce(&[u8]) -> Result<T, RowFault>,
) -> Result<Option<([u8; N], T)>, StoreError> {
    let Some(row) = table.first()? else {
        return Ok(None);
    };
    decode_pair(name, row, decode).map(Some)
}

type Pair<'a, K> = (AccessGuard<'a, K>, AccessGuard<'a, Bytes>);

/// Decodes a row that a range or an end of a table gave.
pub(super) fn decode_pair<const N: usize, T>(
    name: &'static str,
    (key, value): Pair<'_, Fixed<N>>,
    decode: impl FnOnce(&[u8]) -> Result<T, RowFault>,
) -> Result<([u8; N], T), StoreError> {
    let key = *key.value();
    let value = decode(value.value()).map_err(|fault| StoreError::corrupt(name, &key, fault.0))?;
    Ok((key, value))
}
