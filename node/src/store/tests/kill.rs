//! `kill -9`: a child process writes and says what is acknowledged; it is killed at random points.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use super::kit::{GENESIS_OPS, Op, assert_sound, block, genesis, next_block};
use crate::store::{Head, NewBlock, Store, StoreError, StoreOptions, Writer};

/// Names the store's file to the child process; without it the child test does nothing.
const FILE: &str = "BITSECT_STORE_KILL_FILE";
/// Times the child is killed. The unit is one process start and some dozen writes.
const ROUNDS: usize = 25;
/// Blocks between two replacements.
const PERIOD: u64 = 7;
/// Blocks that a replacement takes back and makes again.
const REPLACED: u64 = 2;

fn open(path: &Path) -> Store {
    let (identity, made) = genesis(&GENESIS_OPS);
    let options = || StoreOptions {
        cache_bytes: 8 << 20,
        on_repair: None,
    };
    Store::open_or_create(path, &identity, options, || made).unwrap()
}

fn ops(number: u64) -> Vec<Op> {
    (0..20u8)
        .flat_map(|id| {
            [
                Op::Pay(id, number, number + u64::from(id)),
                Op::Slot(id, id, number),
                Op::Log(id, id),
            ]
        })
        .collect()
}

/// The child: not a test of its own. It appends blocks; at each seventh it replaces the last two in one write.
#[test]
#[ignore = "run by kill_loses_nothing, in a process of its own"]
fn child() {
    let Some(file) = std::env::var_os(FILE) else {
        return;
    };
    let store = open(Path::new(&file));
    let mut replaced = None;
    loop {
        let view = store.read().unwrap();
        let latest = view.head(Head::Latest).unwrap().number;
        let acknowledged = if latest % PERIOD == PERIOD - 1 && replaced != Some(latest) {
            replaced = Some(latest);
            store.write(|writer| replace(writer, latest - REPLACED)).unwrap()
        } else {
            let block = next_block(&view, &ops(latest), 0);
            store.write(|writer| writer.append_block(&block)).unwrap();
            block
        };
        let line = format!(
            "acknowledged {} {}\n",
            acknowledged.header.number, acknowledged.hash
        );
        let mut out = std::io::stdout();
        out.write_all(line.as_bytes()).unwrap();
        out.flush().unwrap();
    }
}

/// Rolls back to a block and appends two others, as a reorg does.
fn replace(writer: &mut Writer<'_>, to: u64) -> Result<NewBlock, StoreError> {
    writer.rollback_latest_to(to)?;
    for fork in 1..REPLACED {
        let parent = writer.header(to + fork - 1)?.unwrap();
        let child = block(
            Some(&parent),
            writer,
            writer,
            &[Op::Pay(1, to, to), Op::Log(1, 1)],
            fork,
        );
        writer.append_block(&child)?;
    }
    let parent = writer.header(to + REPLACED - 1)?.unwrap();
    let child = block(
        Some(&parent),
        writer,
        writer,
        &[Op::Slot(2, 2, to), Op::Log(1, 1)],
        REPLACED,
    );
    writer.append_block(&child)?;
    Ok(child)
}

/// Reads what the child acknowledges, up to `count` lines, and kills it.
fn kill_after(count: usize, spins: u64, path: &Path) -> Vec<(u64, String)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "store::tests::kill::child",
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(FILE, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let acknowledged = lines
        .map_while(Result::ok)
        .filter_map(|line| {
            // The test harness may have written its own words before ours, on the same line.
            let (_, words) = line.split_once("acknowledged ")?;
            let (number, hash) = words.split_once(' ')?;
            Some((number.parse().unwrap(), hash.to_owned()))
        })
        .take(count)
        .collect();
    // The child does not wait for anybody: by now it is somewhere inside a later write.
    for _ in 0..spins {
        std::hint::spin_loop();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    acknowledged
}

#[test]
fn kill_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chain.redb");
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut kept: Vec<(u64, String)> = Vec::new();
    for round in 0..ROUNDS {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let acknowledged = kill_after(1 + (seed % 23) as usize, seed >> 44, &path);
        let last = acknowledged
            .last()
            .expect("the child acknowledged a block before it was killed")
            .0;
        // Later blocks may have replaced the last ones of a period; nothing replaces the others.
        kept.extend(
            acknowledged
                .into_iter()
                .filter(|(number, _)| number % PERIOD < PERIOD - REPLACED),
        );
        let store = open(&path);
        let view = store.read().unwrap();
        let latest = view.head(Head::Latest).unwrap().number;
        assert!(
            latest >= last,
            "round {round}: the latest is {latest}, {last} was acknowledged"
        );
        for (number, hash) in &kept {
            assert_eq!(
                view.block_hash(*number).unwrap().unwrap().to_string(),
                *hash,
                "round {round}"
            );
        }
        assert_sound(&store);
    }
}
