//! Loss of power: a medium that keeps what was synced and any part of what was not.

use std::io;
use std::sync::Arc;

use indicatif::ProgressBar;
use parking_lot::Mutex;
use proptest::prelude::*;
use redb::{Database, StorageBackend};

use super::kit::{GENESIS_OPS, Op, assert_sound, genesis, next_block};
use crate::store::admin::check;
use crate::store::{Head, Store, StoreError};

/// What a disk writes at once, bytes: a power cut leaves each such piece old or new.
const SECTOR: usize = 512;

#[derive(Debug, Default)]
struct Disk {
    synced: Vec<u8>,
    seen: Vec<u8>,
    /// Writes since the last sync: where, and the bytes.
    pending: Vec<(usize, Vec<u8>)>,
    /// Operations until the power goes.
    left: u64,
}

#[derive(Clone, Debug, Default)]
struct Medium(Arc<Mutex<Disk>>);

impl Medium {
    fn with_power(bytes: Vec<u8>, left: u64) -> Self {
        Self(Arc::new(Mutex::new(Disk {
            synced: bytes.clone(),
            seen: bytes,
            pending: Vec::new(),
            left,
        })))
    }

    /// What is found after the power came back: each unsynced sector is there when `keep` says so.
    fn after_crash(&self, mut keep: impl FnMut() -> bool) -> Vec<u8> {
        let disk = self.0.lock();
        let mut bytes = disk.synced.clone();
        // A file that grew may show its new length before its new content.
        bytes.resize(disk.synced.len().max(disk.seen.len()), 0);
        for (offset, data) in &disk.pending {
            for (index, sector) in data.chunks(SECTOR).enumerate() {
                let from = offset + index * SECTOR;
                if keep() && from + sector.len() <= bytes.len() {
                    bytes[from..from + sector.len()].copy_from_slice(sector);
                }
            }
        }
        bytes
    }
}

impl Disk {
    fn use_power(&mut self) -> io::Result<()> {
        self.left = self
            .left
            .checked_sub(1)
            .ok_or_else(|| io::Error::other("the power is gone"))?;
        Ok(())
    }
}

impl StorageBackend for Medium {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let from = offset as usize;
        let disk = self.0.lock();
        let bytes = disk
            .seen
            .get(from..from + out.len())
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut disk = self.0.lock();
        disk.use_power()?;
        disk.seen.resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.0.lock();
        disk.use_power()?;
        disk.synced = disk.seen.clone();
        disk.pending.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut disk = self.0.lock();
        disk.use_power()?;
        let from = offset as usize;
        disk.seen
            .get_mut(from..from + data.len())
            .ok_or(io::ErrorKind::UnexpectedEof)?
            .copy_from_slice(data);
        disk.pending.push((from, data.to_vec()));
        Ok(())
    }
}

fn ops(number: u64) -> Vec<Op> {
    let id = number as u8;
    vec![
        Op::Pay(id, number, number),
        Op::Slot(id, id, number),
        Op::Code(id + 1, id, 40),
        Op::Log(id, id),
    ]
}

/// Opens what the medium holds and writes until the power goes. Gives the last acknowledged block and the one that
/// the write in flight would have made the latest; `None` when the power went before the store was open.
fn run(medium: &Medium) -> Option<(u64, u64)> {
    let (identity, _) = genesis(&GENESIS_OPS);
    let db = Database::builder()
        .set_cache_size(0)
        .create_with_backend(medium.clone())
        .ok()?;
    let store = Store::open_in(db, Some(&identity)).ok()?;
    let mut acknowledged = store.read().ok()?.head(Head::Latest).ok()?.number;
    loop {
        let left = medium.0.lock().left;
        let back = if left.is_multiple_of(4) {
            acknowledged.min(1 + left % 3)
        } else {
            0
        };
        let in_flight = if back > 0 {
            acknowledged - back
        } else {
            acknowledged + 1
        };
        let done = if back > 0 {
            store.write(|writer| writer.rollback_latest_to(in_flight).map(|_| ()))
        } else {
            let block = next_block(&store.read().ok()?, &ops(acknowledged), left);
            store.write(|writer| writer.append_block(&block))
        };
        match done {
            Ok(()) => acknowledged = in_flight,
            Err(StoreError::Database(_)) => return Some((acknowledged, in_flight)),
            Err(error) => panic!("only the medium may fail, not: {error}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 50, ..ProptestConfig::default() })]

    /// After each power cut the acknowledged state is there, or the one that was being written, and it is sound.
    #[test]
    fn power_cuts_lose_nothing(cuts in prop::collection::vec((1u64..400, any::<u64>()), 1..4)) {
        let medium = Medium::with_power(Vec::new(), u64::MAX);
        let (identity, genesis) = genesis(&GENESIS_OPS);
        let db = Database::builder().create_with_backend(medium.clone()).unwrap();
        drop(Store::create_in(db, &identity, &genesis).unwrap());
        let mut bytes = medium.0.lock().synced.clone();
        let mut before = 0;
        for (power, seed) in cuts {
            let medium = Medium::with_power(bytes, power);
            let outcome = run(&medium);
            let mut state = seed | 1;
            bytes = medium.after_crash(|| {
                // xorshift64: any stream of bits will do.
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state & 1 == 1
            });
            let medium = Medium::with_power(bytes, u64::MAX);
            let db = Database::builder().create_with_backend(medium.clone()).unwrap();
            let store = Store::open_in(db, Some(&identity)).unwrap();
            let found = store.read().unwrap().head(Head::Latest).unwrap().number;
            let (acknowledged, in_flight) = outcome.unwrap_or((before, before));
            prop_assert!(found == acknowledged || found == in_flight, "{found}: {acknowledged}, {in_flight}");
            before = found;
            let report = check(&store.read().unwrap(), &|_, _| ProgressBar::hidden()).unwrap();
            prop_assert!(report.faults.is_empty(), "{report}");
            drop(store);
            bytes = medium.0.lock().seen.clone();
        }
    }
}

/// The medium of these tests does lose what is not synced: without this, the test above would show nothing.
#[test]
fn the_medium_forgets() {
    let medium = Medium::with_power(vec![0; 4], 3);
    medium.write(0, &[1, 2]).unwrap();
    medium.sync_data().unwrap();
    medium.write(1, &[9, 9]).unwrap();
    assert_eq!(medium.after_crash(|| false), [1, 2, 0, 0]);
    assert_eq!(medium.after_crash(|| true), [1, 9, 9, 0]);
    assert!(medium.write(0, &[3]).is_err());
}

#[test]
fn a_store_in_memory_is_sound() {
    assert_sound(&super::kit::memory_store());
}
