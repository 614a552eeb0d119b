//! Which transaction makes a member's bonds and stakes.
//!
//! One redb file, `outputs.redb`, in the member's folder. Table `outputs`: `format` = 1 (4 bytes, big-endian), `deployment` (32),
//! and `transaction`, as the network has it, signed: written once, durably, before anybody sees it.

use std::path::Path;

use bitcoin::{Transaction, consensus};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use crate::committee::Digest;
use crate::identity::{OtherFile, identify};

const FILE: &str = "outputs.redb";
const OUTPUTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("outputs");
const FORMAT: u32 = 1;
const TRANSACTION: &str = "transaction";

/// The file.
#[derive(Debug)]
pub(super) struct OutputStore(Database);

/// Gives the transaction that made a member's outputs, where its folder has it.
///
/// # Errors
/// Where the file is of another deployment, cannot be used, or does not hold what was written.
pub fn setup_transaction(
    folder: &Path,
    deployment: &Digest,
) -> Result<Option<Transaction>, OutputStoreError> {
    OutputStore::open(folder, deployment)?.transaction()
}

/// The file of a member's outputs failed.
#[derive(Debug, thiserror::Error)]
pub enum OutputStoreError {
    /// The database failed. What was written last is not durable.
    #[error("file of outputs: {0}")]
    Database(#[from] Box<redb::Error>),
    /// It is of another deployment, or format.
    #[error("file of outputs: {0}")]
    Other(#[from] OtherFile),
    /// There is a transaction already.
    #[error("file of outputs: a transaction is there already; a second one would pay twice")]
    Twice,
    /// The transaction in it cannot be read.
    #[error("file of outputs: transaction: {0}")]
    Transaction(#[from] consensus::encode::Error),
}

crate::from_redb!(OutputStoreError);

impl OutputStore {
    /// Opens the file of a deployment in a folder, or makes it.
    ///
    /// # Errors
    /// Where it is of another deployment, or cannot be used.
    pub(super) fn open(folder: &Path, deployment: &Digest) -> Result<Self, OutputStoreError> {
        let database = Database::create(folder.join(FILE))?;
        let write = database.begin_write()?;
        identify::<OutputStoreError>(&mut write.open_table(OUTPUTS)?, FORMAT, &deployment.0)?;
        write.commit()?;
        Ok(Self(database))
    }

    /// Gives the transaction.
    ///
    /// # Errors
    /// Where the file fails, or does not hold what was written.
    pub(super) fn transaction(&self) -> Result<Option<Transaction>, OutputStoreError> {
        let table = self.0.begin_read()?.open_table(OUTPUTS)?;
        let bytes = table.get(TRANSACTION)?;
        let transaction = bytes.map(|bytes| consensus::deserialize(bytes.value()));
        Ok(transaction.transpose()?)
    }

    /// Keeps the transaction. Durable when it returns.
    ///
    /// # Errors
    /// Where there is one, or the file fails; nothing is kept then.
    pub(super) fn keep(&self, transaction: &Transaction) -> Result<(), OutputStoreError> {
        let write = self.0.begin_write()?;
        {
            let mut table = write.open_table(OUTPUTS)?;
            if table.get(TRANSACTION)?.is_some() {
                return Err(OutputStoreError::Twice);
            }
            table.insert(TRANSACTION, consensus::serialize(transaction).as_slice())?;
        }
        write.commit()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::absolute::LockTime;
    use bitcoin::transaction::Version;
    use bitcoin::{Amount, ScriptBuf, TxIn, TxOut};

    use super::*;

    fn transaction(sats: u64) -> Transaction {
        Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![TxIn::default()],
            output: vec![TxOut {
                value: Amount::from_sat(sats),
                script_pubkey: ScriptBuf::new(),
            }],
        }
    }

    #[test]
    fn one_transaction_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (ours, other) = (Digest([1; 32]), Digest([2; 32]));
        let store = OutputStore::open(dir.path(), &ours).unwrap();
        assert!(store.transaction().unwrap().is_none());
        store.keep(&transaction(5)).unwrap();
        assert!(matches!(
            store.keep(&transaction(6)),
            Err(OutputStoreError::Twice)
        ));
        drop(store);
        let store = OutputStore::open(dir.path(), &ours).unwrap();
        assert_eq!(store.transaction().unwrap(), Some(transaction(5)));
        drop(store);
        let error = OutputStore::open(dir.path(), &other).unwrap_err();
        assert!(matches!(
            error,
            OutputStoreError::Other(OtherFile {
                field: "deployment",
                ..
            })
        ));
    }
}
