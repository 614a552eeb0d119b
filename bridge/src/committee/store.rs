//! A member's store: one redb file (docs/committee.md). What is in it was durable before anybody saw it.
//!
//! There is no place for secret nonces in it.

use std::path::{Path, PathBuf};

use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};

use super::{Digest, MemberId};

/// The format's version.
const FORMAT: u32 = 1;
/// The file's name in a member's folder.
const FILE: &str = "committee.redb";

/// Single values by name.
const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
/// Contributions: the whole message by member.
const CONTRIBUTIONS: TableDefinition<u16, &[u8]> = TableDefinition::new("contributions");
/// Sessions after the set-up: our whole message of signatures by plan.
const SESSIONS: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("sessions");

const IDENTITY: &str = "identity";
const COUNTER: &str = "counter";
const SIGNATURES: &str = "signatures";

/// Why the store refused or failed. After any of them from a write, nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The medium or redb failed.
    #[error("the store failed: {0}")]
    Database(Box<redb::Error>),
    /// The folder cannot be made.
    #[error("{}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// The file has no identity.
    #[error("the store is empty")]
    Empty,
    /// Another version of the format.
    #[error("store format: expected {FORMAT}, got {got}")]
    Format {
        /// What the file says.
        got: u32,
    },
    /// Another deployment's store.
    #[error("deployment: expected {expected}, the store has {got}")]
    Deployment {
        /// The deployment file's.
        expected: Digest,
        /// The store's.
        got: Digest,
    },
    /// Another member's store.
    #[error("member: expected {expected}, the store has {got}")]
    Member {
        /// Whose key we have.
        expected: MemberId,
        /// The store's.
        got: MemberId,
    },
    /// A row cannot be what the store wrote.
    #[error("{row}: {reason}")]
    Corrupt {
        /// The row.
        row: String,
        /// What is wrong.
        reason: String,
    },
    /// The row is written, and with something else.
    #[error("{row} is stored already, and is another one")]
    Fixed {
        /// The row.
        row: String,
    },
}

crate::from_redb!(StoreError);

impl StoreError {
    /// Whether another process has the store open.
    pub fn is_in_use(&self) -> bool {
        matches!(self, Self::Database(error) if matches!(**error, redb::Error::DatabaseAlreadyOpen))
    }
}

/// An open store.
#[derive(Debug)]
pub struct Store {
    db: Database,
}

impl Store {
    /// Opens the store of a member in a folder, and makes it when there is none.
    ///
    /// # Errors
    /// A mismatch names both values.
    pub fn open_or_create(folder: &Path, deployment: &Digest, member: MemberId) -> Result<Self, StoreError> {
        std::fs::create_dir_all(folder).map_err(|source| StoreError::Folder {
            path: folder.to_owned(),
            source,
        })?;
        let store = Self {
            db: Database::create(folder.join(FILE))?,
        };
        let txn = store.db.begin_write()?;
        {
            let mut meta = txn.open_table(META)?;
            txn.open_table(CONTRIBUTIONS)?;
            txn.open_table(SESSIONS)?;
            let is_new = meta.get(IDENTITY)?.is_none();
            if is_new {
                let identity = [
                    &FORMAT.to_le_bytes()[..],
                    deployment.as_bytes(),
                    &member.0.to_le_bytes(),
                ]
                .concat();
                meta.insert(IDENTITY, identity.as_slice())?;
            }
        }
        txn.commit()?;
        let got = store.verify(deployment)?;
        if got != member {
            return Err(StoreError::Member {
                expected: member,
                got,
            });
        }
        Ok(store)
    }

    /// Opens a store that is there, whichever member's.
    ///
    /// # Errors
    /// A mismatch names both values.
    pub fn open(folder: &Path, deployment: &Digest) -> Result<Self, StoreError> {
        let store = Self {
            db: Database::open(folder.join(FILE))?,
        };
        store.verify(deployment)?;
        Ok(store)
    }

    /// Checks whose store it is, and returns the member.
    fn verify(&self, deployment: &Digest) -> Result<MemberId, StoreError> {
        let identity = match self.meta(IDENTITY) {
            Err(StoreError::Database(error)) if matches!(*error, redb::Error::TableDoesNotExist(_)) => None,
            other => other?,
        };
        let identity = identity.ok_or(StoreError::Empty)?;
        let (format, rest) = identity.split_first_chunk::<4>().ok_or_else(|| short(IDENTITY))?;
        let format = u32::from_le_bytes(*format);
        if format != FORMAT {
            return Err(StoreError::Format { got: format });
        }
        let (got, member) = rest.split_first_chunk::<32>().ok_or_else(|| short(IDENTITY))?;
        let got = Digest(*got);
        if got != *deployment {
            return Err(StoreError::Deployment {
                expected: *deployment,
                got,
            });
        }
        let member = member.try_into().map_err(|_| short(IDENTITY))?;
        Ok(MemberId(u16::from_le_bytes(member)))
    }

    /// Returns the contributions that are stored: the whole messages.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub(super) fn contributions(&self) -> Result<Vec<(MemberId, Vec<u8>)>, StoreError> {
        let table = self.db.begin_read()?.open_table(CONTRIBUTIONS)?;
        let mut found = Vec::new();
        for row in table.iter()? {
            let (member, message) = row?;
            found.push((MemberId(member.value()), message.value().to_vec()));
        }
        Ok(found)
    }

    /// Stores a member's contribution: the whole message, once.
    ///
    /// # Errors
    /// [`StoreError::Fixed`] when another one is stored.
    pub(super) fn put_contribution(&self, member: MemberId, message: &[u8]) -> Result<(), StoreError> {
        let txn = self.db.begin_write()?;
        {
            let mut table = txn.open_table(CONTRIBUTIONS)?;
            let stored = table.get(member.0)?.map(|row| row.value() == message);
            match stored {
                Some(true) => {}
                Some(false) => {
                    return Err(StoreError::Fixed {
                        row: format!("the contribution of member {member}"),
                    });
                }
                None => {
                    table.insert(member.0, message)?;
                }
            }
        }
        Ok(txn.commit()?)
    }

    /// Takes the next counter of nonces: one that no nonces have had yet, also after a crash.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when there is none left, or the row is damaged.
    pub(super) fn next_counter(&self) -> Result<u64, StoreError> {
        let txn = self.db.begin_write()?;
        let next = {
            let mut meta = txn.open_table(META)?;
            let last = match meta.get(COUNTER)? {
                Some(row) => u64::from_le_bytes(row.value().try_into().map_err(|_| short(COUNTER))?),
                None => 0,
            };
            let next = last.checked_add(1).ok_or_else(|| StoreError::Corrupt {
                row: COUNTER.into(),
                reason: "it is at its end".into(),
            })?;
            meta.insert(COUNTER, next.to_le_bytes().as_slice())?;
            next
        };
        txn.commit()?;
        Ok(next)
    }

    /// Returns the signatures and the plan that they are of, when they are complete.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`].
    pub(super) fn signatures(&self) -> Result<Option<(Digest, Vec<u8>)>, StoreError> {
        let Some(row) = self.meta(SIGNATURES)? else {
            return Ok(None);
        };
        let (plan, signatures) = row.split_first_chunk::<32>().ok_or_else(|| short(SIGNATURES))?;
        Ok(Some((Digest(*plan), signatures.to_vec())))
    }

    /// Stores the signatures, all at once.
    ///
    /// # Errors
    /// [`StoreError::Fixed`] when others are stored.
    pub(super) fn put_signatures(&self, plan: &Digest, signatures: &[u8]) -> Result<(), StoreError> {
        let value = [plan.as_bytes(), signatures].concat();
        let txn = self.db.begin_write()?;
        {
            let mut meta = txn.open_table(META)?;
            let others = meta.get(SIGNATURES)?.is_some_and(|row| row.value() != value);
            if others {
                return Err(StoreError::Fixed {
                    row: SIGNATURES.into(),
                });
            }
            meta.insert(SIGNATURES, value.as_slice())?;
        }
        Ok(txn.commit()?)
    }

    /// Returns our message of the signatures of a session after the set-up: the whole message.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub(super) fn session(&self, plan: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let table = self.db.begin_read()?.open_table(SESSIONS)?;
        Ok(table.get(plan.as_bytes())?.map(|row| row.value().to_vec()))
    }

    /// Returns how many sessions after the set-up are stored.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub(super) fn count_sessions(&self) -> Result<u64, StoreError> {
        Ok(self.db.begin_read()?.open_table(SESSIONS)?.len()?)
    }

    /// Stores our message of the signatures of a session after the set-up, once.
    ///
    /// # Errors
    /// [`StoreError::Fixed`] when another one is stored.
    pub(super) fn put_session(&self, plan: &Digest, message: &[u8]) -> Result<(), StoreError> {
        let txn = self.db.begin_write()?;
        {
            let mut table = txn.open_table(SESSIONS)?;
            let others = table
                .get(plan.as_bytes())?
                .is_some_and(|row| row.value() != message);
            if others {
                return Err(StoreError::Fixed {
                    row: format!("the signatures of plan {plan}"),
                });
            }
            table.insert(plan.as_bytes(), message)?;
        }
        Ok(txn.commit()?)
    }

    fn meta(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let table = self.db.begin_read()?.open_table(META)?;
        Ok(table.get(name)?.map(|row| row.value().to_vec()))
    }
}

fn short(row: &str) -> StoreError {
    StoreError::Corrupt {
        row: row.to_owned(),
        reason: "it has another length than was written".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Digest = Digest([1; 32]);

    #[test]
    fn rows_are_fixed_and_counters_never_repeat() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Store::open_or_create(dir.path(), &OURS, MemberId(2)).unwrap();
        let store = open();
        assert_eq!(store.next_counter().unwrap(), 1);
        store.put_contribution(MemberId(0), b"one").unwrap();
        store.put_contribution(MemberId(0), b"one").unwrap();
        assert!(matches!(
            store.put_contribution(MemberId(0), b"two"),
            Err(StoreError::Fixed { .. })
        ));
        assert!(store.signatures().unwrap().is_none());
        drop(store);
        let store = open();
        assert_eq!(store.next_counter().unwrap(), 2);
        assert_eq!(store.contributions().unwrap(), [(MemberId(0), b"one".to_vec())]);
        store.put_signatures(&Digest([5; 32]), b"signed").unwrap();
        assert!(matches!(
            store.put_signatures(&Digest([5; 32]), b"other"),
            Err(StoreError::Fixed { .. })
        ));
        drop(store);
        let store = open();
        let stored = store.signatures().unwrap();
        assert_eq!(stored, Some((Digest([5; 32]), b"signed".to_vec())));
        let plan = Digest([6; 32]);
        assert_eq!(store.session(&plan).unwrap(), None);
        store.put_session(&plan, b"message").unwrap();
        store.put_session(&plan, b"message").unwrap();
        assert!(matches!(
            store.put_session(&plan, b"other"),
            Err(StoreError::Fixed { .. })
        ));
        drop(store);
        let store = open();
        assert_eq!(store.session(&plan).unwrap(), Some(b"message".to_vec()));
        assert_eq!(store.count_sessions().unwrap(), 1);
    }

    #[test]
    fn another_store_is_named() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(
            Store::open(dir.path(), &OURS),
            Err(StoreError::Database(_))
        ));
        drop(Store::open_or_create(dir.path(), &OURS, MemberId(2)).unwrap());
        let other = Digest([9; 32]);
        for error in [
            Store::open_or_create(dir.path(), &other, MemberId(2)).unwrap_err(),
            Store::open(dir.path(), &other).unwrap_err(),
        ] {
            assert!(
                matches!(error, StoreError::Deployment { expected, got } if (expected, got) == (other, OURS))
            );
        }
        let error = Store::open_or_create(dir.path(), &OURS, MemberId(1)).unwrap_err();
        assert!(matches!(error, StoreError::Member { got: MemberId(2), .. }));
        let empty = tempfile::tempdir().unwrap();
        drop(Database::create(empty.path().join(FILE)).unwrap());
        assert!(matches!(Store::open(empty.path(), &OURS), Err(StoreError::Empty)));
    }

    /// What a table holds, byte for byte (docs/committee.md).
    #[test]
    fn rows_are_as_documented() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_or_create(dir.path(), &OURS, MemberId(0x0102)).unwrap();
        store.next_counter().unwrap();
        store.put_signatures(&Digest([5; 32]), &[6; 64]).unwrap();
        let identity = [&[1, 0, 0, 0][..], &[1; 32], &[2, 1]].concat();
        assert_eq!(store.meta(IDENTITY).unwrap().unwrap(), identity);
        assert_eq!(store.meta(COUNTER).unwrap().unwrap(), [1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(
            store.meta(SIGNATURES).unwrap().unwrap(),
            [&[5; 32][..], &[6; 64]].concat()
        );
    }
}
