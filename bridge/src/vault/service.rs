//! The signing service of a member that keeps running (docs/committee.md).

use std::path::PathBuf;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::committee::{Deployment, MemberKeys, RunOptions, Signer, SignerError};

/// A member's signing service.
#[expect(missing_debug_implementations, reason = "keys of a signer")]
pub struct Signing {
    /// What signs.
    pub signer: Signer,
    /// The service; it ends with the token that it was started with, or by a fault that a person has to look at.
    pub service: JoinHandle<Result<(), SignerError>>,
}

impl Signing {
    /// Opens the member's file, and serves others until `shutdown`.
    ///
    /// # Errors
    /// Where the set-up is not complete, or the file cannot be used.
    pub async fn start(
        (deployment, keys, data_dir): (Deployment, MemberKeys, PathBuf),
        listener: TcpListener,
        shutdown: CancellationToken,
    ) -> Result<Self, SignerError> {
        let options = RunOptions {
            deployment,
            keys,
            data_dir,
        };
        let opened = tokio::task::spawn_blocking(move || Signer::open(options));
        let (signer, service) = opened.await??;
        let service = tokio::spawn(service.run(listener, shutdown));
        Ok(Self { signer, service })
    }
}
