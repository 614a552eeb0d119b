//! Values that no log and no Debug shows.

use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::ConfigError;

/// Permission bits that nobody but the owner may have.
const OTHERS: u32 = 0o077;
/// Largest file that holds a secret, in bytes: a password or a token in one line.
const MAX_SECRET_FILE: u64 = 4096;

/// A secret. Debug shows nothing of it, not even its length.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Reads a secret from a file that only its owner may read; white space around it does not count.
    ///
    /// # Errors
    /// [`ConfigError::File`], [`ConfigError::Readable`], and [`ConfigError::Value`] for an empty file; none shows the
    /// secret.
    pub fn read(option: &'static str, path: &Path) -> Result<Self, ConfigError> {
        let failed = |source| ConfigError::File {
            option,
            path: path.to_owned(),
            source,
        };
        let meta = std::fs::metadata(path).map_err(failed)?;
        let mode = meta.permissions().mode() & 0o7777;
        if mode & OTHERS != 0 {
            return Err(ConfigError::Readable {
                option,
                path: path.to_owned(),
                mode,
            });
        }
        let wrong = |got: &str| ConfigError::Value {
            option,
            expected: format!("a file with one line of at most {MAX_SECRET_FILE} bytes"),
            got: format!("{got} {}", path.display()),
        };
        if meta.len() > MAX_SECRET_FILE {
            return Err(wrong("a larger file:"));
        }
        let text = std::fs::read_to_string(path).map_err(failed)?;
        match text.trim() {
            "" => Err(wrong("an empty file:")),
            text => Ok(Self::new(text)),
        }
    }

    /// Gives the secret away.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_come_from_private_files_and_stay_hidden() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, " hunter2\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = Secret::read("admin_token_file", &path).unwrap_err();
        assert!(matches!(error, ConfigError::Readable { mode: 0o644, .. }));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let secret = Secret::read("admin_token_file", &path).unwrap();
        assert_eq!(secret.reveal(), "hunter2");
        assert_eq!(format!("{secret:?}"), "<redacted>");
        std::fs::write(&path, "\n").unwrap();
        assert!(matches!(Secret::read("o", &path), Err(ConfigError::Value { .. })));
        assert!(matches!(
            Secret::read("o", &dir.path().join("none")),
            Err(ConfigError::File { .. })
        ));
    }
}
