//! Signing after the set-up: members sign every list that all of them ask for (docs/committee.md, Sessions).
//!
//! [`Signer`] is what a daemon asks, [`Service`] what it runs beside: the service owns the member's store, serves what
//! the member has published, that of the set-up too, and follows the others.

mod desk;
mod fetch;
mod input;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bitcoin::secp256k1::schnorr::Signature;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use self::desk::Desk;
use self::fetch::Fetcher;
use self::input::{Ask, Command, Identity, Inputs};
use super::board::Board;
use super::client::Client;
use super::list::MAX_PENDING;
use super::payload::decode_signatures;
use super::peer::{Follower, Wants};
use super::plan::Plan;
use super::run::{EVENTS, host};
use super::{
    Aggregate, AggregateError, DeploymentError, Digest, Envelope, JointError, KeyError, Kind, MAX_SIGNINGS,
    MemberId, MessageError, PayloadError, PlanError, RunOptions, Signing, Store, StoreError,
};

/// Bytes of a request's name at most.
const MAX_NAME: usize = 120;

/// What is to be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignRequest {
    /// What it is for, for people: it is not compared with what others ask for. At most 120 bytes.
    pub name: String,
    /// What is to be signed, in order. Members that ask for the same messages and tweaks sign together; labels do not
    /// count.
    pub signings: Vec<Signing>,
}

/// There are no signatures.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The list cannot be signed.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The name is too long.
    #[error("name: expected at most {MAX_NAME} bytes, got {got}")]
    Name {
        /// Its length.
        got: usize,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is stored is no message of ours.
    #[error("the stored signatures of plan {plan}: {source}")]
    StoredMessage {
        /// Of what.
        plan: Digest,
        /// What is wrong.
        source: MessageError,
    },
    /// What is stored does not decode.
    #[error("the stored signatures of plan {plan}: {source}")]
    StoredPayload {
        /// Of what.
        plan: Digest,
        /// What is wrong.
        source: PayloadError,
    },
    /// A stored signature does not verify.
    #[error("the stored signature of {label:?} is wrong")]
    StoredSignature {
        /// The signing's label.
        label: String,
    },
    /// The service has ended.
    #[error("the signing service has ended")]
    Ended,
    /// A thread panicked.
    #[error("the work on a request ended: {0}")]
    Panic(#[from] JoinError),
}

/// The service does not start, or ended. Nothing that a peer sends leads here.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    /// The deployment cannot be, or we are no member.
    #[error(transparent)]
    Deployment(#[from] DeploymentError),
    /// The members' keys do not aggregate.
    #[error(transparent)]
    Aggregate(#[from] AggregateError),
    /// The store does not open, or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There are no random numbers.
    #[error(transparent)]
    Random(#[from] KeyError),
    /// The set-up has to be complete before.
    #[error("the set-up is not complete: the store has no {what}")]
    Incomplete {
        /// What is missing.
        what: &'static str,
    },
    /// What is stored is no message of ours.
    #[error("our stored {what}: {source}")]
    Stored {
        /// Of what.
        what: String,
        /// What is wrong.
        source: MessageError,
    },
    /// We cannot sign.
    #[error(transparent)]
    Joint(#[from] JointError),
    /// The owner's thread panicked.
    #[error("the signing service ended: {0}")]
    Panic(#[from] JoinError),
}

/// Asks the other members to sign together. Clones ask the same service.
///
/// It keeps the member's store open, also when the service has ended.
#[derive(Clone)]
pub struct Signer {
    aggregate: Arc<Aggregate>,
    identity: Arc<Identity>,
    pub(super) store: Arc<Store>,
    commands: mpsc::UnboundedSender<Command>,
    /// What may still be pending at once: sessions, and signings in them.
    sessions: Arc<Semaphore>,
    signings: Arc<Semaphore>,
}

/// What serves and follows; see [`Service::run`].
pub struct Service {
    desk: Desk,
    inputs: Inputs,
    board: Arc<Board>,
    followers: Vec<Follower>,
    fetchers: Vec<Fetcher>,
}

/// Tells the owner, when it is dropped, that somebody has stopped asking.
struct Gone<'s> {
    plan: Digest,
    commands: &'s mpsc::UnboundedSender<Command>,
}

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        // Where the service has ended there is nobody to be told.
        let _ended = self.commands.send(Command::Look(self.plan));
    }
}

impl Signer {
    /// Opens the store of a member whose set-up is complete. Blocks while it does.
    ///
    /// # Errors
    /// [`SignerError`].
    pub fn open(options: RunOptions) -> Result<(Self, Service), SignerError> {
        let RunOptions {
            deployment,
            keys,
            data_dir,
        } = options;
        deployment.verify()?;
        let hash = deployment.hash()?;
        let id = deployment.find(&keys)?;
        let aggregate = Aggregate::new(&deployment)?;
        let store = Arc::new(Store::open_or_create(&data_dir, &hash, id)?);
        let board = Arc::new(Board::with_archive(store.clone()));
        let identity = Arc::new(Identity {
            deployment: Arc::new(deployment),
            hash,
            id,
            keys,
        });
        let (commands, commanded) = mpsc::unbounded_channel();
        let (event, events) = mpsc::channel(EVENTS);
        let (fetch, fetched) = mpsc::channel(EVENTS);
        let (desk, orders) = Desk::open(identity.clone(), store.clone(), board.clone())?;
        let client = Client::new(board.clone());
        let mut service = Service {
            desk,
            inputs: Inputs {
                commands: commanded,
                fetched,
                events,
            },
            board,
            followers: Vec::new(),
            fetchers: Vec::new(),
        };
        for (other, orders) in orders {
            service.followers.push(Follower {
                member: other,
                deployment: identity.deployment.clone(),
                hash,
                client: client.clone(),
                events: event.clone(),
                wants: Wants::Sessions,
                seen: Default::default(),
                refused: Default::default(),
                process: None,
            });
            service.fetchers.push(Fetcher {
                member: other,
                deployment: identity.deployment.clone(),
                hash,
                client: client.clone(),
                orders,
                fetched: fetch.clone(),
            });
        }
        let signer = Self {
            aggregate: Arc::new(aggregate),
            identity,
            store,
            commands,
            sessions: Arc::new(Semaphore::new(MAX_PENDING)),
            signings: Arc::new(Semaphore::new(MAX_SIGNINGS)),
        };
        Ok((signer, service))
    }

    /// Signs a list together with all other members, and gives the signatures in its order, verified and stored.
    ///
    /// Waits until all members have asked for the same list. Whoever drops the future stops asking; what is signed
    /// stays stored. At most [`MAX_PENDING`] lists and [`MAX_SIGNINGS`] signings are asked for at once, others wait in
    /// the order of the calls. So members have to ask in the same order, by and large, as that of the chain.
    ///
    /// # Errors
    /// [`SignError`]. What other members do wrong never ends it; it is in their name in log and status.
    pub async fn sign(&self, request: SignRequest) -> Result<Vec<Signature>, SignError> {
        let SignRequest { name, signings } = request;
        if name.len() > MAX_NAME {
            return Err(SignError::Name { got: name.len() });
        }
        let (plan, stored) = self.look_up(signings).await?;
        if let Some(signatures) = stored {
            return Ok(signatures);
        }
        let open = "the semaphores are never closed";
        let count = u32::try_from(plan.len()).expect("a plan has 2^17 signings at most");
        let _session = self.sessions.acquire().await.expect(open);
        let _signings = self.signings.acquire_many(count).await.expect(open);
        // Dropped before the permits and behind `answer`: who looks finds that nobody listens, and then there is room.
        let _gone = Gone {
            plan: plan.digest(),
            commands: &self.commands,
        };
        let (reply, answer) = oneshot::channel();
        let ask = Ask { name, plan, reply };
        self.commands
            .send(Command::Ask(ask))
            .map_err(|_| SignError::Ended)?;
        answer.await.map_err(|_| SignError::Ended)?
    }

    /// Gives the signatures of a list when they are stored, and asks nobody.
    ///
    /// # Errors
    /// [`SignError`].
    pub async fn stored(&self, signings: Vec<Signing>) -> Result<Option<Vec<Signature>>, SignError> {
        Ok(self.look_up(signings).await?.1)
    }

    async fn look_up(
        &self,
        signings: Vec<Signing>,
    ) -> Result<(Arc<Plan>, Option<Vec<Signature>>), SignError> {
        let signer = self.clone();
        let look = move || {
            let plan = Plan::of_list(&signer.identity.hash, signings, &signer.aggregate)?;
            let stored = stored(&signer.store, &signer.identity, &plan)?;
            Ok((Arc::new(plan), stored))
        };
        tokio::task::spawn_blocking(look).await?
    }
}

impl Service {
    /// Serves and follows until `shutdown`. Nothing is done at shutdown that a crash would leave out.
    ///
    /// # Errors
    /// [`SignerError`] for what is wrong with ourselves. Then, and after `shutdown`, requests end with
    /// [`SignError::Ended`].
    pub async fn run(self, listener: TcpListener, shutdown: CancellationToken) -> Result<(), SignerError> {
        let Self {
            desk,
            inputs,
            board,
            followers,
            fetchers,
        } = self;
        let stop = shutdown.child_token();
        // Whoever drops this future wants everything to end that it has started.
        let _stopped = stop.clone().drop_guard();
        let mut following = JoinSet::new();
        for follower in followers {
            following.spawn(follower.run());
        }
        for fetcher in fetchers {
            following.spawn(fetcher.run());
        }
        let runtime = Handle::current();
        let owner = tokio::task::spawn_blocking(move || desk.own(&runtime, inputs));
        host(listener, board, following, owner, stop).await?
    }
}

/// Reads the signatures of a plan, and verifies them.
fn stored(store: &Store, identity: &Identity, plan: &Plan) -> Result<Option<Vec<Signature>>, SignError> {
    let digest = plan.digest();
    let Some(bytes) = store.session(&digest)? else {
        return Ok(None);
    };
    let Identity {
        deployment, hash, id, ..
    } = identity;
    let opened = Envelope::open(&bytes, Kind::Signatures, deployment, hash, *id);
    let envelope = opened.map_err(|source| SignError::StoredMessage { plan: digest, source })?;
    let signatures = decode_signatures(&envelope.payload, plan.len())
        .map_err(|source| SignError::StoredPayload { plan: digest, source })?;
    match plan.wrong_signature(&signatures) {
        Some(label) => Err(SignError::StoredSignature { label }),
        None => Ok(Some(signatures)),
    }
}

/// Returns the ids of all members but one.
fn others(identity: &Identity) -> impl Iterator<Item = MemberId> + use<> {
    let me = identity.id;
    identity.deployment.ids().filter(move |id| *id != me)
}
