//! Follows one other member: waits for its status to change, and reads what is new.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::client::Client;
use super::fault::{Fault, FaultCause};
use super::status::read_status;
use super::{Deployment, Digest, Envelope, Kind, MemberId, MemberStatus, Progress};

/// How long to wait after a member could not be read, first and at most; doubled in between.
pub(super) const RETRY_LEAST: Duration = Duration::from_millis(50);
pub(super) const RETRY_MOST: Duration = Duration::from_secs(3);
/// The least time between two questions for a status: a member cannot keep us busy by changing it all the time.
const GAP: Duration = Duration::from_millis(10);

/// What comes from another member.
#[derive(Debug)]
pub(super) enum Event {
    /// Its status.
    Status(MemberId, MemberStatus),
    /// A message that it has signed.
    Message(Envelope),
    /// What it did wrong.
    Fault(Fault),
}

/// What is read beside statuses.
#[derive(Clone)]
pub(super) enum Wants {
    /// The set-up's messages: those that are of use at such a progress.
    Setup(watch::Receiver<Progress>),
    /// The lists of sessions after the set-up.
    Sessions,
}

impl Wants {
    fn include(&self, kind: Kind) -> bool {
        match (self, kind) {
            (_, Kind::Status) => false,
            (Self::Setup(_), Kind::Contribution | Kind::Graph) => true,
            (Self::Setup(progress), _) => kind != Kind::Sessions && !progress.borrow().complete,
            (Self::Sessions, _) => kind == Kind::Sessions,
        }
    }
}

/// One member that is followed.
pub(super) struct Follower {
    pub member: MemberId,
    pub deployment: Arc<Deployment>,
    pub hash: Digest,
    pub client: Client,
    pub events: mpsc::Sender<Event>,
    pub wants: Wants,
    /// The payload hash of each message that we have.
    pub seen: BTreeMap<Kind, Digest>,
    /// The payload hash that the status named when what came was no message of the member.
    pub refused: BTreeMap<Kind, Digest>,
    /// The process that answered last.
    pub process: Option<Digest>,
}

impl Follower {
    /// Follows the member until nobody wants events any more.
    pub(super) async fn run(mut self) {
        let mut last = None;
        let mut wait = RETRY_LEAST;
        while !self.events.is_closed() {
            let next = Instant::now() + GAP;
            match self.step(last.as_ref()).await {
                Ok(status) => {
                    (last, wait) = (Some(status), RETRY_LEAST);
                    sleep_until(next).await;
                }
                Err(fault) => {
                    // What answers next may be another process of the member.
                    last = None;
                    self.tell(Event::Fault(fault)).await;
                    sleep(wait).await;
                    wait = (wait * 2).min(RETRY_MOST);
                }
            }
        }
    }

    /// Waits for a status other than the last one, and reads everything new that it names.
    async fn step(&mut self, last: Option<&Digest>) -> Result<Digest, Fault> {
        let Self {
            member,
            deployment,
            hash,
            client,
            ..
        } = &*self;
        let (status_hash, status) = read_status(client, deployment, hash, *member, last).await?;
        let published = status.published.clone();
        if self.process.replace(status.process) != Some(status.process) {
            // A new process may do better with the same message.
            self.refused.clear();
        }
        self.tell(Event::Status(self.member, status)).await;
        // What is taken back may come again the same.
        self.seen.retain(|kind, _| published.contains_key(kind));
        let mut unread = None;
        for (kind, named) in published {
            let known = [&self.seen, &self.refused].map(|known| known.get(&kind) == Some(&named));
            if !self.wants.include(kind) || known.contains(&true) {
                continue;
            }
            match self.read(kind).await {
                Ok(envelope) => {
                    self.seen.insert(kind, envelope.payload_hash());
                    self.tell(Event::Message(envelope)).await;
                }
                // The daemon is gone, or has something else by now: asked anew, after the other kinds.
                Err(FaultCause::Client(error)) if !error.is_final() => {
                    unread.get_or_insert(self.fault(kind, error.into()));
                }
                Err(cause) => {
                    self.refused.insert(kind, named);
                    self.tell(Event::Fault(self.fault(kind, cause))).await;
                }
            }
        }
        unread.map_or(Ok(status_hash), Err)
    }

    /// Gives an event to the set-up's owner. When the owner has ended nobody needs it, and the loop ends.
    async fn tell(&self, event: Event) {
        let _ended = self.events.send(event).await;
    }

    async fn read(&self, kind: Kind) -> Result<Envelope, FaultCause> {
        let url = &self.deployment.member(self.member).url;
        let bytes = self.client.fetch(url, kind, None, kind.limit()).await?;
        Ok(Envelope::open(
            &bytes,
            kind,
            &self.deployment,
            &self.hash,
            self.member,
        )?)
    }

    fn fault(&self, kind: Kind, cause: FaultCause) -> Fault {
        Fault {
            member: self.member,
            kind,
            cause,
        }
    }
}
