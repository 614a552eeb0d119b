//! The file: creating, opening, reading, writing.

use std::path::Path;
use std::sync::Arc;

use alloy_primitives::B256;
use parking_lot::{Mutex, RwLock};
use redb::{Builder, Database, Durability, ReadableDatabase, RepairSession, TableDefinition};

use super::snapshot::SnapshotInner;
use super::tables::ReadTables;
use super::types::{Genesis, Identity};
use super::writer::Writer;
use super::{CodeCache, Snapshot, StoreError, rows};

/// The format of docs/store.md.
pub(super) const FORMAT_VERSION: u32 = 2;

/// How a store is opened.
pub struct StoreOptions {
    /// Memory for redb's page cache, bytes.
    pub cache_bytes: usize,
    /// Told how far redb's recovery after a crash is, from 0 to 1.
    pub on_repair: Option<Box<dyn Fn(f64)>>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 512 << 20,
            on_repair: None,
        }
    }
}

/// The node's store. Clones share one file.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    // Before the database, so that a last snapshot is gone when redb closes the file.
    current: RwLock<Option<Snapshot>>,
    writing: Mutex<()>,
    code: Arc<CodeCache>,
    db: Database,
}

impl Store {
    /// Creates a store with its genesis, which also is the identity's `genesis_hash`.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotEmpty`] when the file has a genesis already. A file that a crash left without one is used.
    pub fn create(
        path: &Path,
        identity: &Identity,
        genesis: &Genesis,
        options: StoreOptions,
    ) -> Result<Self, StoreError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|source| StoreError::File {
                path: folder.display().to_string(),
                source,
            })?;
        }
        Self::create_in(builder(options).create(path)?, identity, genesis)
    }

    /// Opens a store and checks format, chain id, genesis and parameters.
    ///
    /// # Errors
    ///
    /// A mismatch names both values; [`StoreError::Empty`] when there is no genesis.
    pub fn open(path: &Path, identity: &Identity, options: StoreOptions) -> Result<Self, StoreError> {
        Self::open_in(builder(options).open(path)?, Some(identity))
    }

    /// Opens a store of any identity, for the admin commands.
    ///
    /// # Errors
    ///
    /// As [`Self::open`], except for identities.
    pub fn open_any(path: &Path, options: StoreOptions) -> Result<Self, StoreError> {
        Self::open_in(builder(options).open(path)?, None)
    }

    /// Opens a store, or creates it when the file is not there or has no genesis.
    ///
    /// # Errors
    ///
    /// As [`Self::open`] and [`Self::create`].
    pub fn open_or_create(
        path: &Path,
        identity: &Identity,
        options: impl Fn() -> StoreOptions,
        genesis: impl FnOnce() -> Genesis,
    ) -> Result<Self, StoreError> {
        if path.exists() {
            match Self::open(path, identity, options()) {
                Err(StoreError::Empty) => {}
                other => return other,
            }
        }
        Self::create(path, identity, &genesis(), options())
    }

    pub(super) fn create_in(
        db: Database,
        identity: &Identity,
        genesis: &Genesis,
    ) -> Result<Self, StoreError> {
        if genesis.block.hash != identity.genesis_hash {
            return Err(StoreError::Genesis {
                expected: identity.genesis_hash,
                got: genesis.block.hash,
            });
        }
        let store = Self::new(db);
        match stored_identity(&store.shared.db) {
            Ok(Some(stored)) => {
                return Err(StoreError::NotEmpty {
                    genesis: stored.genesis_hash,
                });
            }
            Ok(None) => {}
            Err(error) => return Err(error),
        }
        store.write(|writer| writer.put_genesis(identity, genesis))?;
        Ok(store)
    }

    pub(super) fn open_in(db: Database, identity: Option<&Identity>) -> Result<Self, StoreError> {
        let stored = stored_identity(&db)?.ok_or(StoreError::Empty)?;
        if let Some(identity) = identity {
            check_identity(identity, &stored)?;
        }
        Ok(Self::new(db))
    }

    fn new(db: Database) -> Self {
        let shared = Shared {
            current: RwLock::new(None),
            writing: Mutex::new(()),
            code: Arc::default(),
            db,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Gives what the store belongs to.
    ///
    /// # Errors
    ///
    /// When the rows cannot be read.
    pub fn identity(&self) -> Result<Identity, StoreError> {
        stored_identity(&self.shared.db)?.ok_or(StoreError::Empty)
    }

    /// Gives the view after the last write.
    ///
    /// # Errors
    ///
    /// When redb cannot read the file.
    pub fn read(&self) -> Result<Snapshot, StoreError> {
        if let Some(current) = &*self.shared.current.read() {
            return Ok(current.clone());
        }
        // Under the writers' lock: otherwise an older view could be put over a newer one.
        let _writing = self.shared.writing.lock();
        self.refresh()
    }

    /// Opens the view after the last write and keeps it for all readers until the next one.
    fn refresh(&self) -> Result<Snapshot, StoreError> {
        let tables = ReadTables::open(&self.shared.db.begin_read()?)?;
        let inner = SnapshotInner {
            tables,
            code: Arc::clone(&self.shared.code),
        };
        let snapshot = Snapshot {
            inner: Arc::new(inner),
        };
        *self.shared.current.write() = Some(snapshot.clone());
        Ok(snapshot)
    }

    /// Makes one change: `work` sees its own writes, and all of them are on the medium when this returns `Ok`.
    /// Waits while another write is going on.
    ///
    /// # Errors
    ///
    /// Any error, of `work` or of the medium, means that nothing has changed, except that a failed commit may
    /// have reached the medium: the node must then open the store anew before it goes on.
    pub fn write<T, E: From<StoreError>>(
        &self,
        work: impl FnOnce(&mut Writer<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let _writing = self.shared.writing.lock();
        let mut txn = self.shared.db.begin_write().map_err(StoreError::from)?;
        txn.set_durability(Durability::Immediate)
            .map_err(StoreError::from)?;
        // A restart after a crash is then instant, however large the file is.
        txn.set_quick_repair(true);
        let mut writer = Writer::open(&txn)?;
        let done = work(&mut writer)?;
        if writer.failed {
            return Err(StoreError::Failed.into());
        }
        drop(writer);
        // The old view goes first: redb may then reuse its pages from the next write on.
        *self.shared.current.write() = None;
        txn.commit().map_err(StoreError::from)?;
        Ok(done)
    }

    /// Gives unused pages back to the file system; tells whether there were any.
    ///
    /// # Errors
    ///
    /// [`StoreError::InUse`] while other clones are alive; redb's own error while snapshots are.
    pub fn compact(&mut self) -> Result<bool, StoreError> {
        let shared = Arc::get_mut(&mut self.shared).ok_or(StoreError::InUse)?;
        *shared.current.write() = None;
        Ok(shared.db.compact()?)
    }
}

fn builder(options: StoreOptions) -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(options.cache_bytes);
    if let Some(on_repair) = options.on_repair {
        builder.set_repair_callback(move |session: &mut RepairSession| on_repair(session.progress()));
    }
    builder
}

/// Reads what a file belongs to; `None` when it has no genesis.
fn stored_identity(db: &Database) -> Result<Option<Identity>, StoreError> {
    let definition: TableDefinition<'_, &'static str, &'static [u8]> = TableDefinition::new("meta");
    let meta = match db.begin_read()?.open_table(definition) {
        Ok(meta) => meta,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let Some(format) = meta.get("format")? else {
        return Ok(None);
    };
    let fault = |name: &'static str| {
        move |fault: rows::RowFault| StoreError::corrupt("meta", name.as_bytes(), fault.0)
    };
    let format = rows::short_number(format.value()).map_err(fault("format"))?;
    if format != FORMAT_VERSION {
        return Err(StoreError::FormatVersion {
            expected: FORMAT_VERSION,
            got: format,
        });
    }
    let row = |name: &'static str| -> Result<Vec<u8>, StoreError> {
        let row = meta.get(name)?.map(|row| row.value().to_vec());
        row.ok_or_else(|| StoreError::corrupt("meta", name.as_bytes(), "the row is missing"))
    };
    let hash =
        |name: &'static str| -> Result<B256, StoreError> { rows::hash(&row(name)?).map_err(fault(name)) };
    Ok(Some(Identity {
        chain_id: rows::number(&row("chain_id")?).map_err(fault("chain_id"))?,
        genesis_hash: hash("genesis")?,
        params_hash: hash("params")?,
    }))
}

fn check_identity(expected: &Identity, got: &Identity) -> Result<(), StoreError> {
    if expected.chain_id != got.chain_id {
        return Err(StoreError::ChainId {
            expected: expected.chain_id,
            got: got.chain_id,
        });
    }
    if expected.genesis_hash != got.genesis_hash {
        return Err(StoreError::Genesis {
            expected: expected.genesis_hash,
            got: got.genesis_hash,
        });
    }
    if expected.params_hash != got.params_hash {
        return Err(StoreError::Params {
            expected: expected.params_hash,
            got: got.params_hash,
        });
    }
    Ok(())
}
