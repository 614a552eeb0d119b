//! Finds fixtures and reads what both kinds share.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fmt, fs};

use alloy_primitives::{Address, Bytes, U256, keccak256};
use bitsect_vm::state::{Account, FlatState};
use serde::Deserialize;

/// Where the fixtures of a run come from.
pub enum Source {
    /// A folder of fixtures, or what an archive was unpacked into.
    Full(PathBuf),
    /// The sample that is checked in.
    Sample(PathBuf),
}

impl Source {
    pub fn folder(&self) -> &Path {
        match self {
            Self::Full(path) | Self::Sample(path) => path,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(path) => write!(out, "all fixtures in {}", path.display()),
            Self::Sample(path) => write!(
                out,
                "ONLY THE SAMPLE in {} (set EEST_FIXTURES for all)",
                path.display()
            ),
        }
    }
}

/// Finds the fixtures of a kind: the folder `kind`, or an archive with `kind` in its name.
pub fn locate(kind: &str) -> Source {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    if let Some(given) = env::var_os("EEST_FIXTURES") {
        let given = PathBuf::from(given);
        let found = find(&given, kind);
        return Source::Full(
            found.unwrap_or_else(|| panic!("no {kind} in EEST_FIXTURES={}", given.display())),
        );
    }
    // A checkout stands beside `shared`; a worktree of it one folder deeper.
    let beside = package
        .ancestors()
        .skip(2)
        .take(2)
        .map(|folder| folder.join("shared/fixtures"));
    match beside
        .filter(|folder| folder.is_dir())
        .find_map(|folder| find(&folder, kind))
    {
        Some(folder) => Source::Full(folder),
        None => Source::Sample(package.join("tests/fixtures").join(kind)),
    }
}

fn find(folder: &Path, kind: &str) -> Option<PathBuf> {
    let unpacked = folder.join(kind);
    if unpacked.is_dir() {
        return Some(unpacked);
    }
    let mut archives: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("failed to list {}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.contains(kind) && name.ends_with(".tar.xz")
        })
        .collect();
    // The newest release, by name.
    archives.sort();
    archives.pop().map(|archive| unpack(&archive).join(kind))
}

/// Unpacks an archive into the test cache, once per name and length.
fn unpack(archive: &Path) -> PathBuf {
    let length = fs::metadata(archive).unwrap().len();
    let name = archive.file_name().unwrap().to_string_lossy();
    let name = format!("{}-{length}", name.trim_end_matches(".tar.xz"));
    let target = cache().join(&name);
    if target.is_dir() {
        return target;
    }
    let partial = cache().join(format!("{name}.partial-{}", std::process::id()));
    fs::create_dir_all(&partial).unwrap();
    let status = Command::new("tar")
        .arg("-xJf")
        .arg(archive)
        .arg("-C")
        .arg(&partial)
        .status();
    let status = status.expect("`tar` is needed to unpack fixtures");
    assert!(status.success(), "failed to unpack {}", archive.display());
    // Another run may have been faster: what it made is the same.
    if fs::rename(&partial, &target).is_err() {
        fs::remove_dir_all(&partial).unwrap();
    }
    target
}

/// The cache folder of `.ci/setup`.
fn cache() -> PathBuf {
    let folder = |name: &str| env::var_os(name).map(PathBuf::from);
    folder("BITSECT_CACHE")
        .or_else(|| folder("XDG_CACHE_HOME").map(|cache| cache.join("bitsect")))
        .or_else(|| folder("HOME").map(|home| home.join(".cache/bitsect")))
        .expect("one of BITSECT_CACHE, XDG_CACHE_HOME, HOME is set")
}

/// All JSON files below a folder, sorted.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder);
        for entry in entries.unwrap_or_else(|error| panic!("failed to list {}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "json") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// Reads a file of named cases.
pub fn read<T: for<'a> Deserialize<'a>>(file: &Path) -> BTreeMap<String, T> {
    let text = fs::read(file).unwrap();
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("failed to read {}: {error}", file.display()))
}

/// Accounts before or after a test.
pub type Alloc = BTreeMap<Address, AllocAccount>;

/// An account in a fixture.
#[derive(Debug, Deserialize)]
pub struct AllocAccount {
    pub balance: U256,
    pub nonce: U256,
    pub code: Bytes,
    pub storage: BTreeMap<U256, U256>,
}

/// Whether a balance does not fit the 16 bytes that our state tree has for it.
pub fn has_large_balance(alloc: &Alloc) -> bool {
    alloc
        .values()
        .any(|account| account.balance > U256::from(u128::MAX))
}

/// The accounts with storage but neither nonce nor code: EIP-7610 forbids to create a contract there.
pub fn storage_without_code(alloc: &Alloc) -> BTreeSet<Address> {
    let odd = alloc.iter().filter(|(_, account)| {
        let storage = account.storage.values().any(|value| !value.is_zero());
        account.nonce.is_zero() && account.code.is_empty() && storage
    });
    odd.map(|(address, _)| *address).collect()
}

/// Makes the state that a fixture describes.
pub fn load(alloc: &Alloc) -> FlatState {
    let mut state = FlatState::default();
    for (address, fixture) in alloc {
        let account = Account {
            nonce: fixture.nonce.to(),
            balance: fixture.balance,
            code_hash: keccak256(&fixture.code),
            code_size: u32::try_from(fixture.code.len()).unwrap(),
        };
        state.set_account(*address, account, fixture.code.clone());
        for (slot, value) in &fixture.storage {
            state.set_storage(*address, *slot, *value);
        }
    }
    state
}

/// Compares a state with the expected one, account by account and slot by slot, both ways.
pub fn compare(state: &FlatState, expected: &Alloc) -> Result<(), String> {
    let mut accounts: BTreeMap<_, _> = state.accounts().collect();
    for (address, want) in expected {
        let got = accounts
            .remove(address)
            .ok_or_else(|| format!("{address} is missing"))?;
        if U256::from(got.nonce) != want.nonce {
            return Err(format!("{address} nonce: got {}, want {}", got.nonce, want.nonce));
        }
        if got.balance != want.balance {
            return Err(format!(
                "{address} balance: got {}, want {}",
                got.balance, want.balance
            ));
        }
        if got.code_hash != keccak256(&want.code) || got.code_size as usize != want.code.len() {
            return Err(format!("{address} has other code"));
        }
    }
    if let Some(address) = accounts.keys().next() {
        return Err(format!("{address} should not exist"));
    }
    let mut slots: BTreeMap<_, _> = state
        .slots()
        .map(|(address, slot, value)| ((address, slot), value))
        .collect();
    for (address, account) in expected {
        for (slot, want) in account.storage.iter().filter(|(_, value)| !value.is_zero()) {
            let got = slots.remove(&(*address, *slot)).unwrap_or_default();
            if got != *want {
                return Err(format!("{address} slot {slot:#x}: got {got:#x}, want {want:#x}"));
            }
        }
    }
    match slots.iter().next() {
        Some(((address, slot), value)) => Err(format!("{address} slot {slot:#x}: got {value:#x}, want zero")),
        None => Ok(()),
    }
}
