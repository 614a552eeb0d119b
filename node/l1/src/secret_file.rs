//! Files with secrets: made for their owner alone, and refused when others may use them.

use std::{
    fs::{File, OpenOptions, Permissions},
    io::{Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// The mode of a file with a secret.
const OWNER: u32 = 0o600;
/// Permission bits that nobody but the owner may have.
const OTHERS: u32 = 0o077;

/// A file with a secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// It cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Others may use it.
    #[error("{} has mode {mode:04o}; others may use it: run chmod 600", path.display())]
    Readable {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is longer than any secret of its kind.
    #[error("{}: expected at most {most} bytes", path.display())]
    Long {
        /// The file.
        path: PathBuf,
        /// The most bytes.
        most: u64,
    },
}

impl SecretFileError {
    /// Returns whether the file is not there, or, when it was to be made, is there already.
    pub fn is_kind(&self, kind: std::io::ErrorKind) -> bool {
        matches!(self, Self::File { source, .. } if source.kind() == kind)
    }
}

/// Reads a file that only its owner may use, of at most `most` bytes.
///
/// # Errors
/// [`SecretFileError`]; it shows nothing of the file.
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>, SecretFileError> {
    let failed = |source| SecretFileError::File {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
    if mode & OTHERS != 0 {
        return Err(SecretFileError::Readable {
            path: path.to_owned(),
            mode,
        });
    }
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > most {
        return Err(SecretFileError::Long {
            path: path.to_owned(),
            most,
        });
    }
    Ok(bytes)
}

/// Writes a file that only its owner may use, complete or not at all, never over an old one.
///
/// # Errors
/// [`SecretFileError::File`], with `AlreadyExists` where there is a file of that name.
pub fn write_new(path: &Path, text: &str) -> Result<(), SecretFileError> {
    write(path, text).map_err(|source| SecretFileError::File {
        path: path.to_owned(),
        source,
    })
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let temporary = folder.join(name);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(OWNER)
        .open(&temporary)?;
    let written = file
        // A mask that takes bits of the owner would make a file that cannot be read again.
        .set_permissions(Permissions::from_mode(OWNER))
        .and_then(|()| file.write_all(text.as_bytes()))
        .and_then(|()| file.sync_all())
        // A hard link fails when the name is taken, where a rename would replace the other secret.
        .and_then(|()| std::fs::hard_link(&temporary, path));
    let removed = std::fs::remove_file(&temporary);
    written.and(removed)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_made_once_and_kept_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        write_new(&path, "abcd").unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        assert_eq!(read(&path, 4).unwrap(), b"abcd");
        let error = write_new(&path, "efgh").unwrap_err();
        assert!(error.is_kind(std::io::ErrorKind::AlreadyExists));
        assert_eq!(read(&path, 4).unwrap(), b"abcd");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        let error = read(&path, 3).unwrap_err();
        assert!(matches!(error, SecretFileError::Long { most: 3, .. }));
        assert!(!error.to_string().contains("abc"));
        for mode in [0o640, 0o604, 0o660, 0o610] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let error = read(&path, 4).unwrap_err();
            assert!(matches!(error, SecretFileError::Readable { mode: got, .. } if got == mode));
        }
    }
}
