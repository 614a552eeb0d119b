//! The set-up as one member sees it: messages of others go in, our own come out on the board (docs/committee.md).
//!
//! It is owned by one thread and knows no network. A crash at any point loses what is in memory, and nothing else is
//! lost: what matters was stored before it was published.

mod round;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;
use tracing::{info, warn};

use self::round::{Peer, Ready, Round};
use super::board::Board;
use super::fault::{Fault, FaultCause};
use super::keys::{MemberKeys, random};
use super::payload::{GraphHashes, decode_places, decode_signatures, nonces_counter};
use super::peer::Event;
use super::plan::Plan;
use super::session::{Session, SessionError};
use super::status::harmless;
use super::{
    Aggregate, AggregateError, Builder, Deployment, DeploymentError, Digest, Envelope, FaultReport, KeyError,
    Kind, MAX_CONTRIBUTION, MemberId, MemberStatus, MessageError, PayloadError, Progress, Store, StoreError,
    Summary,
};

/// What messages that belong to no session carry in its place.
const NO_SESSION: Digest = Digest([0; 32]);

/// We cannot go on. Nothing that a peer sends leads here.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The deployment cannot be.
    #[error(transparent)]
    Deployment(#[from] DeploymentError),
    /// The members' keys do not aggregate.
    #[error(transparent)]
    Aggregate(#[from] AggregateError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There are no random numbers.
    #[error(transparent)]
    Random(#[from] KeyError),
    /// We cannot sign.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The builder cannot make our contribution, or refuses it itself.
    #[error("cannot make our contribution: {reason}")]
    Contribution {
        /// Why.
        reason: String,
    },
    /// A stored contribution is not what was stored.
    #[error("the stored contribution of member {member}: {source}")]
    StoredContribution {
        /// Whose.
        member: MemberId,
        /// What is wrong with it.
        source: MessageError,
    },
    /// The stored signatures are of another plan: the program builds another graph than the one that signed.
    #[error("the stored signatures are of plan {got}, the graph now gives {expected}")]
    StoredPlan {
        /// What the graph gives.
        expected: Digest,
        /// What the store has.
        got: Digest,
    },
    /// The stored signatures do not decode.
    #[error("the stored signatures: {0}")]
    StoredPayload(#[from] PayloadError),
    /// A stored signature does not verify.
    #[error("the stored signature of {label:?} is wrong")]
    StoredSignature {
        /// The signing's label.
        label: String,
    },
}

/// What a member needs to take part.
pub(super) struct Setup<B: Builder> {
    // Fixed.
    deployment: Arc<Deployment>,
    hash: Digest,
    me: MemberId,
    keys: MemberKeys,
    aggregate: Aggregate,
    builder: B,
    board: Arc<Board>,
    started: Instant,
    process: Digest,
    // Stored.
    store: Store,
    contributions: BTreeMap<MemberId, Vec<u8>>,
    contribution_hashes: BTreeMap<MemberId, Digest>,
    signatures: Option<Vec<u8>>,
    // Of this process.
    plan: Option<Arc<Plan>>,
    blocked: Option<String>,
    peers: BTreeMap<MemberId, Peer>,
    round: Option<Round>,
    session: Option<Session>,
    rounds: u64,
    counter: u64,
    faults: BTreeMap<(MemberId, Kind), String>,
    summary: Option<Summary>,
    // What is published, and what is about to be.
    published: BTreeMap<Kind, Digest>,
    outbox: Vec<Envelope>,
    told: Option<Vec<u8>>,
    progress: watch::Sender<Progress>,
}

impl<B: Builder> Setup<B> {
    /// Takes up the set-up where the store left it, with a contribution of our own made and stored.
    ///
    /// # Errors
    /// [`SetupError`].
    pub(super) fn open(
        deployment: Arc<Deployment>,
        keys: MemberKeys,
        builder: B,
        store: Store,
        board: Arc<Board>,
        progress: watch::Sender<Progress>,
    ) -> Result<Self, SetupError> {
        let hash = deployment.hash()?;
        let me = deployment.find(&keys)?;
        let peer = |id: MemberId| (id != me).then(|| (id, Peer::default()));
        let mut setup = Self {
            hash,
            me,
            keys,
            aggregate: Aggregate::new(&deployment)?,
            builder,
            board,
            started: Instant::now(),
            process: Digest(random()?),
            store,
            contributions: BTreeMap::new(),
            contribution_hashes: BTreeMap::new(),
            signatures: None,
            plan: None,
            blocked: None,
            peers: deployment.ids().filter_map(peer).collect(),
            deployment,
            round: None,
            session: None,
            rounds: 0,
            counter: 0,
            faults: BTreeMap::new(),
            summary: None,
            published: BTreeMap::new(),
            outbox: Vec::new(),
            told: None,
            progress,
        };
        setup.load()?;
        setup.contribute()?;
        Ok(setup)
    }

    pub(super) fn me(&self) -> MemberId {
        self.me
    }

    /// Returns the hash of each contribution that is stored.
    pub(super) fn contribution_hashes(&self) -> &BTreeMap<MemberId, Digest> {
        &self.contribution_hashes
    }

    fn load(&mut self) -> Result<(), SetupError> {
        for (member, bytes) in self.store.contributions()? {
            let wrong = |source| SetupError::StoredContribution { member, source };
            if member.index() >= self.deployment.members.len() {
                let expected = self.me;
                return Err(wrong(MessageError::Member {
                    expected,
                    got: member,
                }));
            }
            let envelope = Envelope::open(&bytes, Kind::Contribution, &self.deployment, &self.hash, member)
                .map_err(wrong)?;
            self.keep_contribution(envelope);
        }
        Ok(())
    }

    fn keep_contribution(&mut self, envelope: Envelope) {
        let member = envelope.member;
        self.contribution_hashes.insert(member, envelope.payload_hash());
        if member == self.me {
            self.contributions.insert(member, envelope.payload.clone());
            self.publish(envelope);
        } else {
            self.contributions.insert(member, envelope.payload);
        }
    }

    /// Makes our contribution unless it is stored. From then on it is fixed.
    fn contribute(&mut self) -> Result<(), SetupError> {
        if self.contributions.contains_key(&self.me) {
            return Ok(());
        }
        let failed = |reason: String| SetupError::Contribution { reason };
        let payload = self
            .builder
            .contribution()
            .map_err(|error| failed(error.to_string()))?;
        if payload.len() > MAX_CONTRIBUTION {
            let got = payload.len();
            return Err(failed(format!(
                "expected at most {MAX_CONTRIBUTION} bytes, got {got}"
            )));
        }
        self.builder
            .verify_contribution(self.me, &payload)
            .map_err(|error| failed(error.to_string()))?;
        let envelope = self.sign(Kind::Contribution, NO_SESSION, payload);
        self.store.put_contribution(self.me, &envelope.encode())?;
        self.keep_contribution(envelope);
        Ok(())
    }

    fn sign(&self, kind: Kind, session: Digest, payload: Vec<u8>) -> Envelope {
        Envelope::sign(kind, self.hash, self.me, session, payload, &self.keys)
    }

    fn publish(&mut self, envelope: Envelope) {
        self.published.insert(envelope.kind, envelope.payload_hash());
        self.outbox.push(envelope);
    }

    fn publish_new(&mut self, kind: Kind, session: Digest, payload: Vec<u8>) {
        let envelope = self.sign(kind, session, payload);
        self.publish(envelope);
    }

    /// Takes what comes from another member, and does everything that it makes possible.
    ///
    /// # Errors
    /// [`SetupError`] for what is wrong with ourselves; what is wrong with others is kept as a fault.
    pub(super) fn handle(&mut self, event: Event) -> Result<(), SetupError> {
        match event {
            Event::Status(member, status) => {
                self.faults.remove(&(member, Kind::Status));
                if let Some(peer) = self.peers.get_mut(&member) {
                    peer.complete = status.progress.complete;
                }
            }
            Event::Message(envelope) => {
                let (member, kind) = (envelope.member, envelope.kind);
                match self.apply(envelope)? {
                    Ok(()) => drop(self.faults.remove(&(member, kind))),
                    Err(cause) => self.note(member, kind, cause),
                }
            }
            Event::Fault(Fault { member, kind, cause }) => self.note(member, kind, cause),
        }
        self.advance()
    }

    /// Names a fault. It stands until the member sends a good message of that kind.
    fn note(&mut self, member: MemberId, kind: Kind, cause: FaultCause) {
        if self.signatures.is_some() && kind >= Kind::Nonces {
            // These kinds are not wanted any more.
            return;
        }
        let what = harmless(&cause.to_string());
        if self.faults.get(&(member, kind)) == Some(&what) {
            return;
        }
        let name = &self.deployment.member(member).name;
        warn!(member = %name, kind = kind.name(), "{what}");
        self.faults.insert((member, kind), what);
    }

    /// Checks a message as far as it can be now, and keeps it.
    fn apply(&mut self, envelope: Envelope) -> Result<Result<(), FaultCause>, SetupError> {
        let Envelope {
            kind,
            member,
            session,
            ..
        } = envelope;
        if kind == Kind::Contribution {
            return self.apply_contribution(envelope);
        }
        let plan = self.plan.as_deref();
        let members = self.deployment.members.len();
        let Some(peer) = self.peers.get_mut(&member) else {
            return Ok(Ok(()));
        };
        let payload = envelope.payload;
        let applied = match kind {
            Kind::Status | Kind::Contribution => Ok(()),
            Kind::Graph => GraphHashes::decode(&payload)
                .map(|graph| peer.graph = Some(graph))
                .map_err(FaultCause::from),
            Kind::Nonces => nonces_counter(&payload)
                .map_err(FaultCause::from)
                .and_then(|counter| peer.take_nonces(counter, session, payload, plan)),
            Kind::Ready => decode_places(&payload, members)
                .map(|places| peer.ready = Some(Ready { id: session, places }))
                .map_err(FaultCause::from),
            Kind::Partials => {
                peer.partials = Some((session, payload));
                Ok(())
            }
            Kind::Signatures => {
                peer.signatures = Some((session, payload));
                Ok(())
            }
        };
        Ok(applied)
    }

    fn apply_contribution(&mut self, envelope: Envelope) -> Result<Result<(), FaultCause>, SetupError> {
        let member = envelope.member;
        let got = envelope.payload_hash();
        match self.contribution_hashes.get(&member) {
            Some(expected) if *expected == got => return Ok(Ok(())),
            Some(expected) => {
                let expected = *expected;
                return Ok(Err(FaultCause::ContributionChanged { expected, got }));
            }
            None => {}
        }
        if let Err(error) = self.builder.verify_contribution(member, &envelope.payload) {
            let reason = error.to_string();
            return Ok(Err(FaultCause::ContributionRefused { reason }));
        }
        self.store.put_contribution(member, &envelope.encode())?;
        self.keep_contribution(envelope);
        let (have, all) = (self.contributions.len(), self.deployment.members.len());
        info!(member = %self.deployment.member(member).name, "contributions {have}/{all}");
        Ok(Ok(()))
    }

    /// Does everything that is possible now, and publishes it.
    ///
    /// # Errors
    /// [`SetupError`].
    pub(super) fn advance(&mut self) -> Result<(), SetupError> {
        self.build()?;
        self.compare_graphs();
        self.take_signatures()?;
        self.sign_together()?;
        self.tell();
        Ok(())
    }

    /// Builds the graph when all contributions are there.
    fn build(&mut self) -> Result<(), SetupError> {
        let all = self.deployment.members.len();
        if self.plan.is_some() || self.blocked.is_some() || self.contributions.len() < all {
            return Ok(());
        }
        let built = self
            .builder
            .build(&self.contributions)
            .map_err(|error| error.to_string());
        let plan = match built
            .and_then(|graph| Plan::new(&graph, &self.aggregate).map_err(|error| error.to_string()))
        {
            Ok(plan) => plan,
            Err(reason) => {
                // The others must see it, so the daemon stays; the contributions are fixed, so it stays so.
                warn!("no graph can be built of the contributions: {reason}");
                self.blocked = Some(harmless(&reason));
                return Ok(());
            }
        };
        info!(signings = plan.len(), graph = %plan.hashes().graph, "the graph is built");
        if let Some((got, payload)) = self.store.signatures()? {
            self.check_stored(&plan, got, &payload)?;
            self.set_complete(&plan, payload);
        }
        self.publish_new(Kind::Graph, NO_SESSION, plan.hashes().encode());
        let read = |(member, peer): (&MemberId, &mut Peer)| Some((*member, peer.read_early(&plan).err()?));
        let faults: Vec<_> = self.peers.iter_mut().filter_map(read).collect();
        for (member, cause) in faults {
            self.note(member, Kind::Nonces, cause);
        }
        self.plan = Some(Arc::new(plan));
        Ok(())
    }

    fn check_stored(&self, plan: &Plan, got: Digest, payload: &[u8]) -> Result<(), SetupError> {
        let expected = plan.digest();
        if got != expected {
            return Err(SetupError::StoredPlan { expected, got });
        }
        let signatures = decode_signatures(payload, plan.len())?;
        match plan.wrong_signature(&signatures) {
            Some(label) => Err(SetupError::StoredSignature { label }),
            None => Ok(()),
        }
    }

    /// Names every member whose graph is not ours.
    fn compare_graphs(&mut self) {
        let Some(ours) = self.plan.as_ref().map(|plan| plan.hashes()) else {
            return;
        };
        let differs = |(member, peer): (&MemberId, &Peer)| {
            let theirs = peer.graph.filter(|theirs| *theirs != ours)?;
            let cause = if theirs.graph == ours.graph {
                FaultCause::Plan {
                    expected: ours.plan,
                    got: theirs.plan,
                }
            } else {
                FaultCause::Graph {
                    expected: ours.graph,
                    got: theirs.graph,
                }
            };
            Some((*member, cause))
        };
        let faults: Vec<_> = self.peers.iter().filter_map(differs).collect();
        for (member, cause) in faults {
            self.note(member, Kind::Graph, cause);
        }
    }

    /// Takes the signatures of a member that is complete, which need no trust: each is verified.
    fn take_signatures(&mut self) -> Result<(), SetupError> {
        let Some(plan) = self.plan.clone().filter(|_| self.signatures.is_none()) else {
            return Ok(());
        };
        let given: Vec<_> = self
            .peers
            .iter_mut()
            .filter_map(|(member, peer)| Some((*member, peer.signatures.take()?)))
            .collect();
        for (member, (digest, payload)) in given {
            match verify_given(&plan, digest, &payload) {
                Ok(()) => return self.complete(&plan, payload),
                Err(cause) => self.note(member, Kind::Signatures, cause),
            }
        }
        Ok(())
    }

    /// Stores the signatures, all of which are verified.
    fn complete(&mut self, plan: &Plan, payload: Vec<u8>) -> Result<(), SetupError> {
        self.store.put_signatures(&plan.digest(), &payload)?;
        let summary = Summary {
            milliseconds: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            signatures: plan.len(),
            rounds: self.rounds,
            bytes_sent: self.board.traffic.sent(),
            bytes_received: self.board.traffic.received(),
        };
        info!(?summary, "all signatures are verified and stored");
        self.summary = Some(summary);
        self.set_complete(plan, payload);
        Ok(())
    }

    fn set_complete(&mut self, plan: &Plan, payload: Vec<u8>) {
        self.publish_new(Kind::Signatures, plan.digest(), payload.clone());
        self.signatures = Some(payload);
        // Secret nonces that are left go with it. What was published stays, for those that are in the same session.
        self.round = None;
        // No more messages of these kinds are wanted that could end such faults; the log has them.
        self.faults.retain(|(_, kind), _| *kind < Kind::Nonces);
    }

    /// Publishes what is new, and the status that names it.
    fn tell(&mut self) {
        let progress = self.current_progress();
        let fault = |((member, kind), what): (&(MemberId, Kind), &String)| FaultReport {
            member: self.deployment.member(*member).name.clone(),
            kind: *kind,
            what: what.clone(),
        };
        let status = MemberStatus {
            process: self.process,
            published: self.published.clone(),
            progress: progress.clone(),
            faults: self.faults.iter().map(fault).collect(),
        };
        let payload = status.encode();
        if self.told.as_ref() == Some(&payload) {
            return;
        }
        let envelope = self.sign(Kind::Status, NO_SESSION, payload.clone());
        self.told = Some(payload);
        let mut messages = std::mem::take(&mut self.outbox);
        messages.push(envelope);
        self.board.post(messages);
        self.progress.send_if_modified(|last| {
            let changed = *last != progress;
            *last = progress;
            changed
        });
    }

    fn current_progress(&self) -> Progress {
        let ours = self.plan.as_ref().map(|plan| plan.hashes());
        let with = |ours: bool, theirs: &dyn Fn(&Peer) -> bool| {
            usize::from(ours) + self.peers.values().filter(|peer| theirs(peer)).count()
        };
        let session = self.session.as_ref().map(Session::id);
        Progress {
            members: self.deployment.members.len(),
            contributions: self.contributions.len(),
            graphs: with(ours.is_some(), &|peer| ours.is_some() && peer.graph == ours),
            round: self.counter,
            nonces: with(self.round.is_some(), &|peer| peer.nonces.is_some()),
            ready: with(session.is_some(), &|peer| {
                session.is_some_and(|id| peer.is_ready(id))
            }),
            partials: with(matches!(self.round, Some(Round::Spent { .. })), &|peer| {
                session.is_some_and(|id| peer.is_verified(id))
            }),
            signings: self.plan.as_ref().map_or(0, |plan| plan.len()),
            complete: self.signatures.is_some(),
            members_complete: with(self.signatures.is_some(), &|peer| peer.complete),
            blocked: self.blocked.clone(),
            summary: self.summary.clone(),
        }
    }
}

fn verify_given(plan: &Plan, got: Digest, payload: &[u8]) -> Result<(), FaultCause> {
    let expected = plan.digest();
    if got != expected {
        return Err(FaultCause::Session { expected, got });
    }
    let signatures = decode_signatures(payload, plan.len())?;
    match plan.wrong_signature(&signatures) {
        Some(label) => Err(FaultCause::Signature { label }),
        None => Ok(()),
    }
}
