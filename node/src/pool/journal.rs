//! The journal: what RPC acknowledged survives `kill -9`. Format: docs/mempool.md.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use alloy_primitives::Bytes;

use super::transaction::MAX_TX_BYTES;

/// The first bytes of a journal: name and format version.
const MAGIC: [u8; 8] = *b"BSMPOOL\x01";
/// Length and CRC-32 before each record's bytes.
const RECORD_HEAD: usize = 8;

/// An open journal, positioned at its end.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    /// Bytes in the file.
    len: u64,
    /// Why the journal can no longer be trusted: after a failed write or sync nothing more is acknowledged.
    failed: Option<String>,
}

/// What opening found.
#[derive(Debug, Default)]
pub(super) struct Replay {
    /// Encoded transactions in the order in which they were acknowledged.
    pub transactions: Vec<Bytes>,
    /// Bytes after the last whole record, which a crash left.
    pub torn: u64,
}

impl Journal {
    /// Opens or makes the journal. A torn tail is moved to `<path>.torn` and cut off.
    pub fn open(path: &Path) -> io::Result<(Self, Replay)> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let mut replay = Replay::default();
        let good = if bytes.len() < MAGIC.len() {
            // Nothing was acknowledged before the first eight bytes were durable.
            file.set_len(0)?;
            rewind_to(&mut file, 0)?;
            file.write_all(&MAGIC)?;
            file.sync_all()?;
            sync_parent(path)?;
            MAGIC.len()
        } else if bytes[..MAGIC.len()] != MAGIC {
            let got = hex::encode(&bytes[..MAGIC.len()]);
            let text = format!(
                "{}: not a mempool journal of this version: expected {}, got {got}",
                path.display(),
                hex::encode(MAGIC)
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        } else {
            let good = read_records(&bytes, &mut replay.transactions);
            if good < bytes.len() {
                replay.torn = (bytes.len() - good) as u64;
                std::fs::write(with_suffix(path, "torn"), &bytes[good..])?;
                file.set_len(good as u64)?;
                file.sync_all()?;
            }
            good
        };
        rewind_to(&mut file, good as u64)?;
        Ok((
            Self {
                path: path.to_owned(),
                file,
                len: good as u64,
                failed: None,
            },
            replay,
        ))
    }

    /// Appends records and makes them durable with one sync.
    ///
    /// After an error none of them may be acknowledged, and the journal refuses everything until it is opened
    /// again, because what a failed sync left on the medium is unknown.
    pub fn append<'a>(&mut self, records: impl Iterator<Item = &'a [u8]>) -> io::Result<()> {
        if let Some(reason) = &self.failed {
            return Err(io::Error::other(reason.clone()));
        }
        let mut bytes = Vec::new();
        for record in records {
            push_record(&mut bytes, record);
        }
        if bytes.is_empty() {
            return Ok(());
        }
        let done = self.file.write_all(&bytes).and_then(|()| self.file.sync_data());
        match &done {
            Ok(()) => self.len = self.len.saturating_add(bytes.len() as u64),
            Err(error) => self.failed = Some(error.to_string()),
        }
        done
    }

    /// Replaces the journal by one that holds exactly these records. A crash leaves the old or the new one.
    pub fn rewrite<'a>(&mut self, records: impl Iterator<Item = &'a [u8]>) -> io::Result<()> {
        if let Some(reason) = &self.failed {
            return Err(io::Error::other(reason.clone()));
        }
        let mut bytes = MAGIC.to_vec();
        for record in records {
            push_record(&mut bytes, record);
        }
        let new_path = with_suffix(&self.path, "new");
        let mut file = File::create(&new_path)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        std::fs::rename(&new_path, &self.path)?;
        // From here on the new file is the journal, whether or not the directory's sync succeeds.
        self.file = file;
        self.len = bytes.len() as u64;
        sync_parent(&self.path).inspect_err(|error| self.failed = Some(error.to_string()))
    }

    /// Bytes in the file.
    pub fn len(&self) -> u64 {
        self.len
    }
}

fn push_record(bytes: &mut Vec<u8>, record: &[u8]) {
    let len = u32::try_from(record.len()).expect("a transaction is at most MAX_TX_BYTES");
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(record).to_le_bytes());
    bytes.extend_from_slice(record);
}

/// Reads whole records after the magic; returns the offset after the last one.
fn read_records(bytes: &[u8], out: &mut Vec<Bytes>) -> usize {
    let mut at = MAGIC.len();
    while let Some(head) = bytes.get(at..at + RECORD_HEAD) {
        let len = u32::from_le_bytes(head[..4].try_into().expect("four bytes")) as usize;
        let crc = u32::from_le_bytes(head[4..].try_into().expect("four bytes"));
        // A record of no bytes is what a file system's zero fill looks like.
        if len == 0 || len > MAX_TX_BYTES {
            break;
        }
        let Some(record) = bytes.get(at + RECORD_HEAD..at + RECORD_HEAD + len) else {
            break;
        };
        if crc32fast::hash(record) != crc {
            break;
        }
        out.push(Bytes::copy_from_slice(record));
        at += RECORD_HEAD + len;
    }
    at
}

fn rewind_to(file: &mut File, offset: u64) -> io::Result<()> {
    io::Seek::seek(file, io::SeekFrom::Start(offset)).map(|_| ())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => File::open(parent)?.sync_all(),
        None => File::open(".")?.sync_all(),
    }
}
