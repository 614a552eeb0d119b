//! The set-up as one member sees it: messages of others go in, our own come out on the board (docs/committee.md).
//!
//! It is owned by one thread and knows no network. A crash at any point loses what is in memory, and nothing else is
//! lost: what matters was stored before it was published.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;
use tracing::{info, warn};

use super::board::Board;
use super::fault::{Fault, FaultCause};
use super::joint::{Counts, Joint, JointError, Oneself, Step};
use super::keys::{MemberKeys, random};
use super::payload::{GraphHashes, decode_signatures};
use super::peer::Event;
use super::plan::Plan;
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
    Joint(#[from] JointError),
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

/// What another member has sent.
#[derive(Default)]
struct Peer {
    graph: Option<GraphHashes>,
    /// What came before we had built the graph, of each kind that is about signing: what it belongs to, and the payload.
    early: BTreeMap<Kind, (Digest, Vec<u8>)>,
    complete: bool,
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
    graph: Option<GraphHashes>,
    joint: Option<Joint>,
    blocked: Option<String>,
    peers: BTreeMap<MemberId, Peer>,
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
            graph: None,
            joint: None,
            blocked: None,
            peers: deployment.ids().filter_map(peer).collect(),
            deployment,
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
        let Some(peer) = self.peers.get_mut(&member) else {
            return Ok(Ok(()));
        };
        let payload = envelope.payload;
        let applied = match kind {
            Kind::Status | Kind::Contribution | Kind::Sessions => Ok(()),
            Kind::Graph => GraphHashes::decode(&payload)
                .map(|graph| peer.graph = Some(graph))
                .map_err(FaultCause::from),
            Kind::Nonces | Kind::Ready | Kind::Partials | Kind::Signatures => match &mut self.joint {
                Some(joint) => joint.take(member, kind, session, payload),
                None => {
                    peer.early.insert(kind, (session, payload));
                    Ok(())
                }
            },
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
        self.sign_together()?;
        self.tell();
        Ok(())
    }

    /// Builds the graph when all contributions are there.
    fn build(&mut self) -> Result<(), SetupError> {
        let all = self.deployment.members.len();
        if self.joint.is_some() || self.blocked.is_some() || self.contributions.len() < all {
            return Ok(());
        }
        let built = self
            .builder
            .build(&self.contributions)
            .map_err(|error| error.to_string());
        let (hashes, plan) = match built
            .and_then(|graph| Plan::of_graph(&graph, &self.aggregate).map_err(|error| error.to_string()))
        {
            Ok(made) => made,
            Err(reason) => {
                // The others must see it, so the daemon stays; the contributions are fixed, so it stays so.
                warn!("no graph can be built of the contributions: {reason}");
                self.blocked = Some(harmless(&reason));
                return Ok(());
            }
        };
        info!(signings = plan.len(), graph = %hashes.graph, "the graph is built");
        if let Some((got, payload)) = self.store.signatures()? {
            self.check_stored(&plan, got, &payload)?;
            self.set_complete(plan.digest(), payload);
        }
        self.publish_new(Kind::Graph, NO_SESSION, hashes.encode());
        self.graph = Some(hashes);
        let mut joint = Joint::new("the set-up".into(), Arc::new(plan), self.peers.keys().copied());
        let mut faults = Vec::new();
        for (member, peer) in &mut self.peers {
            for (kind, (session, payload)) in std::mem::take(&mut peer.early) {
                if let Err(cause) = joint.take(*member, kind, session, payload) {
                    faults.push((*member, kind, cause));
                }
            }
        }
        for (member, kind, cause) in faults {
            self.note(member, kind, cause);
        }
        self.joint = Some(joint);
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
        let Some(ours) = self.graph else {
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

    /// Goes on with signing, for which everybody must have built the same graph.
    fn sign_together(&mut self) -> Result<(), SetupError> {
        let Some(joint) = &mut self.joint else {
            return Ok(());
        };
        // What is complete needs no more rounds: late members take the signatures.
        if self.signatures.is_some() {
            return Ok(());
        }
        let agreed = self.peers.values().all(|peer| peer.graph == self.graph);
        let own = Oneself {
            deployment: &self.deployment,
            me: self.me,
            keys: &self.keys,
            store: &self.store,
        };
        let Step {
            messages,
            faults,
            signatures,
        } = joint.advance(&own, agreed)?;
        let (plan, rounds) = (Arc::clone(joint.plan()), joint.rounds());
        for (kind, session, payload) in messages {
            self.publish_new(kind, session, payload);
        }
        for (member, kind, cause) in faults {
            self.note(member, kind, cause);
        }
        match signatures {
            Some(payload) => self.complete(&plan, rounds, payload),
            None => Ok(()),
        }
    }

    /// Stores the signatures, all of which are verified.
    fn complete(&mut self, plan: &Plan, rounds: u64, payload: Vec<u8>) -> Result<(), SetupError> {
        self.store.put_signatures(&plan.digest(), &payload)?;
        let summary = Summary {
            milliseconds: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            signatures: plan.len(),
            rounds,
            bytes_sent: self.board.traffic.sent(),
            bytes_received: self.board.traffic.received(),
        };
        info!(?summary, "all signatures are verified and stored");
        self.summary = Some(summary);
        self.set_complete(plan.digest(), payload);
        Ok(())
    }

    fn set_complete(&mut self, plan: Digest, payload: Vec<u8>) {
        // What was published before stays, for those that are in the same session.
        self.publish_new(Kind::Signatures, plan, payload.clone());
        self.signatures = Some(payload);
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
            sessions: None,
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
        let ours = self.graph;
        let with = |ours: bool, theirs: &dyn Fn(&Peer) -> bool| {
            usize::from(ours) + self.peers.values().filter(|peer| theirs(peer)).count()
        };
        let Counts {
            nonces,
            ready,
            partials,
        } = self.joint.as_ref().map(Joint::counts).unwrap_or_default();
        Progress {
            members: self.deployment.members.len(),
            contributions: self.contributions.len(),
            graphs: with(ours.is_some(), &|peer| ours.is_some() && peer.graph == ours),
            round: self.joint.as_ref().map_or(0, Joint::counter),
            nonces,
            ready,
            partials,
            signings: self.joint.as_ref().map_or(0, |joint| joint.plan().len()),
            complete: self.signatures.is_some(),
            members_complete: with(self.signatures.is_some(), &|peer| peer.complete),
            blocked: self.blocked.clone(),
            summary: self.summary.clone(),
        }
    }
}
