//! Whose a redb file is: its format and its deployment, as rows by name.

use alloy_primitives::hex;
use redb::{ReadableTable, StorageError, Table};

/// A file is of another deployment, or format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: expected {expected}, got {got}")]
pub struct OtherFile {
    /// The field.
    pub field: &'static str,
    /// What is expected.
    pub expected: String,
    /// What the file has.
    pub got: String,
}

/// Writes whose a new file is: `format` (4 bytes, big-endian) and `deployment`. Of an old one, checks that it is the same.
///
/// # Errors
/// [`OtherFile`] of the first row that is another; where the file fails.
pub(crate) fn identify<E: From<OtherFile> + From<StorageError>>(
    table: &mut Table<'_, &str, &[u8]>,
    format: u32,
    deployment: &[u8; 32],
) -> Result<(), E> {
    let format = format.to_be_bytes();
    for (field, bytes) in [("format", &format[..]), ("deployment", &deployment[..])] {
        let got = table.get(field)?.map(|value| value.value().to_vec());
        match got {
            None => drop(table.insert(field, bytes)?),
            Some(got) if got != bytes => {
                return Err(E::from(OtherFile {
                    field,
                    expected: hex::encode(bytes),
                    got: hex::encode(got),
                }));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use redb::{Database, TableDefinition};

    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum TestError {
        #[error(transparent)]
        Other(#[from] OtherFile),
        #[error(transparent)]
        Storage(#[from] StorageError),
    }

    const TABLE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("table");

    #[test]
    fn a_file_is_that_of_who_made_it() {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::create(dir.path().join("file.redb")).unwrap();
        let write = database.begin_write().unwrap();
        let mut table = write.open_table(TABLE).unwrap();
        let mut differs = |format, deployment: u8| {
            let identified: Result<(), TestError> = identify(&mut table, format, &[deployment; 32]);
            match identified {
                Ok(()) => None,
                Err(TestError::Other(other)) => Some(other.to_string()),
                Err(TestError::Storage(error)) => panic!("{error}"),
            }
        };
        assert_eq!(differs(1, 5), None);
        assert_eq!(differs(1, 5), None);
        let format = "format: expected 00000002, got 00000001";
        assert_eq!(differs(2, 5).as_deref(), Some(format));
        let deployment = format!(
            "deployment: expected {}, got {}",
            "06".repeat(32),
            "05".repeat(32)
        );
        assert_eq!(differs(1, 6), Some(deployment));
    }
}
