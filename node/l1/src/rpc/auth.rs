//! Credentials for Bitcoin Core.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use bitcoin::Network;

use super::RpcError;

/// How to authenticate to Bitcoin Core.
#[derive(Clone, PartialEq, Eq)]
pub enum Auth {
    /// The cookie file that Core writes at each start.
    Cookie(PathBuf),
    /// A user and a password, as made by Core's `rpcauth`.
    UserPassword {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
}

impl Auth {
    /// Makes credentials of a user and a password.
    pub fn user_password(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self::UserPassword {
            user: user.into(),
            password: password.into(),
        }
    }

    pub(super) fn fixed(&self) -> Credentials {
        match self {
            Self::UserPassword { user, password } => Credentials {
                user: user.clone(),
                password: password.clone(),
            },
            Self::Cookie(_) => Credentials {
                user: String::new(),
                password: String::new(),
            },
        }
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cookie(path) => f.debug_tuple("Cookie").field(path).finish(),
            Self::UserPassword { user, .. } => f
                .debug_struct("UserPassword")
                .field("user", user)
                .field("password", &"<redacted>")
                .finish(),
        }
    }
}

/// Returns the path of Core's cookie file below its data directory.
pub fn default_cookie(data_dir: &Path, network: Network) -> PathBuf {
    match network {
        Network::Bitcoin => data_dir.join(".cookie"),
        Network::Testnet => data_dir.join("testnet3").join(".cookie"),
        other => data_dir.join(other.to_core_arg()).join(".cookie"),
    }
}

#[derive(Clone)]
pub(super) struct Credentials {
    pub(super) user: String,
    pub(super) password: String,
}

pub(super) fn read_cookie(path: &Path) -> Result<Credentials, RpcError> {
    let text = std::fs::read_to_string(path).map_err(|source| RpcError::Cookie {
        path: path.to_owned(),
        source,
    })?;
    match text.trim_end().split_once(':') {
        Some((user, password)) => Ok(Credentials {
            user: user.into(),
            password: password.into(),
        }),
        // Core writes to a temporary name and renames, so a half-written cookie is not expected.
        None => Err(RpcError::Cookie {
            path: path.to_owned(),
            source: std::io::Error::new(std::io::ErrorKind::InvalidData, "expected user:password"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_hides_the_password() {
        let text = format!("{:?}", Auth::user_password("alice", "hunter2"));
        assert!(text.contains("alice") && !text.contains("hunter2"), "{text}");
    }

    #[test]
    fn cookie_paths_follow_core() {
        let dir = Path::new("d");
        assert_eq!(default_cookie(dir, Network::Bitcoin), Path::new("d/.cookie"));
        assert_eq!(
            default_cookie(dir, Network::Testnet),
            Path::new("d/testnet3/.cookie")
        );
        assert_eq!(
            default_cookie(dir, Network::Testnet4),
            Path::new("d/testnet4/.cookie")
        );
        assert_eq!(
            default_cookie(dir, Network::Regtest),
            Path::new("d/regtest/.cookie")
        );
    }

    #[test]
    fn cookies_are_read_and_checked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".cookie");
        assert!(matches!(read_cookie(&path), Err(RpcError::Cookie { .. })));
        std::fs::write(&path, "nonsense").unwrap();
        assert!(matches!(read_cookie(&path), Err(RpcError::Cookie { .. })));
        std::fs::write(&path, "__cookie__:ab:cd\n").unwrap();
        let credentials = read_cookie(&path).unwrap();
        assert_eq!(
            (credentials.user.as_str(), credentials.password.as_str()),
            ("__cookie__", "ab:cd")
        );
    }
}
