//! The member's daemon: serves, follows the others, and lets one thread own the set-up.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::board::Board;
use super::client::Client;
use super::keys::MemberKeys;
use super::peer::{Event, Follower, Wants};
use super::setup::{Setup, SetupError};
use super::{Builder, Deployment, DeploymentError, Kind, MemberId, Progress, Store, StoreError, server};

/// Events that wait for the owner at most; then those that bring them wait.
pub(super) const EVENTS: usize = 16;

/// What a daemon is run with.
#[derive(Debug)]
pub struct RunOptions {
    /// The deployment.
    pub deployment: Deployment,
    /// The member's keys.
    pub keys: MemberKeys,
    /// The folder of its store.
    pub data_dir: PathBuf,
}

/// Why a daemon ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The deployment cannot be, or we are no member.
    #[error(transparent)]
    Deployment(#[from] DeploymentError),
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// We cannot go on.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The owner's thread panicked.
    #[error("the set-up ended: {0}")]
    Panic(#[from] JoinError),
}

/// Runs a member until `shutdown`: sets up, then serves those that are late. Progress goes to `progress`.
///
/// Nothing is done at shutdown that a crash would leave out.
///
/// # Errors
/// [`RunError`] for what is wrong with ourselves. What other members do wrong is in their name in the status.
pub async fn run<B: Builder>(
    options: RunOptions,
    builder: B,
    listener: TcpListener,
    progress: watch::Sender<Progress>,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    let stop = shutdown.child_token();
    // Whoever drops this future wants everything to end that it has started.
    let _stopped = stop.clone().drop_guard();
    let board = Arc::new(Board::new());
    let watched = progress.subscribe();
    let deployment = Arc::new(options.deployment.clone());
    let setup = {
        let board = board.clone();
        let open = move || open(options, builder, board, progress);
        tokio::task::spawn_blocking(open).await??
    };
    let (sender, receiver) = mpsc::channel(EVENTS);
    let mut following = JoinSet::new();
    for follower in followers(&setup, &deployment, &board, &watched, &sender)? {
        following.spawn(follower.run());
    }
    drop(sender);
    let owner = tokio::task::spawn_blocking(move || own(setup, receiver));
    Ok(host(listener, board, following, owner, stop).await??)
}

/// Serves a board, and lets others be followed, until `stop` or until the owner of what comes from them ends. Without
/// followers there are no events any more, which must end the owner.
///
/// # Errors
/// When a task panicked. What the owner gave comes back.
pub(super) async fn host<E: Send + 'static>(
    listener: TcpListener,
    board: Arc<Board>,
    mut following: JoinSet<()>,
    mut owner: JoinHandle<Result<(), E>>,
    stop: CancellationToken,
) -> Result<Result<(), E>, JoinError> {
    let serving = tokio::spawn(server::serve(listener, board, stop.clone()));
    let ended = tokio::select! {
        ended = &mut owner => Some(ended),
        () = stop.cancelled() => None,
    };
    stop.cancel();
    following.shutdown().await;
    let ended = match ended {
        Some(ended) => ended,
        None => owner.await,
    };
    serving.await?;
    ended
}

fn open<B: Builder>(
    options: RunOptions,
    builder: B,
    board: Arc<Board>,
    progress: watch::Sender<Progress>,
) -> Result<Setup<B>, RunError> {
    let RunOptions {
        deployment,
        keys,
        data_dir,
    } = options;
    deployment.verify()?;
    let store = Store::open_or_create(&data_dir, &deployment.hash()?, deployment.find(&keys)?)?;
    let deployment = Arc::new(deployment);
    Ok(Setup::open(deployment, keys, builder, store, board, progress)?)
}

/// Owns the set-up until there are no events any more.
fn own<B: Builder>(mut setup: Setup<B>, mut events: mpsc::Receiver<Event>) -> Result<(), SetupError> {
    setup.advance()?;
    while let Some(event) = events.blocking_recv() {
        setup.handle(event)?;
    }
    Ok(())
}

/// Prepares to follow every other member.
fn followers<B: Builder>(
    setup: &Setup<B>,
    deployment: &Arc<Deployment>,
    board: &Arc<Board>,
    progress: &watch::Receiver<Progress>,
    events: &mpsc::Sender<Event>,
) -> Result<Vec<Follower>, DeploymentError> {
    let client = Client::new(board.clone());
    let hash = deployment.hash()?;
    let others = deployment.ids().filter(|id| *id != setup.me());
    let follower = |member: MemberId| {
        // A contribution that is stored is read again only when the member names another one.
        let seen = setup.contribution_hashes().get(&member);
        Follower {
            member,
            deployment: deployment.clone(),
            hash,
            client: client.clone(),
            events: events.clone(),
            wants: Wants::Setup(progress.clone()),
            seen: seen.map(|hash| (Kind::Contribution, *hash)).into_iter().collect(),
            refused: BTreeMap::new(),
            process: None,
        }
    };
    Ok(others.map(follower).collect())
}
