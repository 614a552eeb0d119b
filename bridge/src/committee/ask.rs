//! Asks a member for what it has contributed: for who has no store at hand.

use std::sync::Arc;

use super::board::Board;
use super::client::Client;
use super::{ClientError, Deployment, DeploymentError, Envelope, Kind, MemberId, MessageError};

/// A member's contribution was not to be had.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The deployment cannot be.
    #[error(transparent)]
    Deployment(#[from] DeploymentError),
    /// The member does not answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// What it says is no contribution of its own.
    #[error(transparent)]
    Message(#[from] MessageError),
}

/// Asks a member for its contribution, and checks that it has signed it.
///
/// # Errors
/// [`AskError`].
pub async fn ask_contribution(deployment: &Deployment, member: MemberId) -> Result<Vec<u8>, AskError> {
    let hash = deployment.hash()?;
    let client = Client::new(Arc::new(Board::new()));
    let (url, kind) = (&deployment.member(member).url, Kind::Contribution);
    let bytes = client.fetch(url, kind, None, kind.limit()).await?;
    Ok(Envelope::open(&bytes, kind, deployment, &hash, member)?.payload)
}
