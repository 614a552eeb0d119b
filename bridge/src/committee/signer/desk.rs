//! The desk: everything that is asked for and not signed, owned by one thread. It knows no network.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bitcoin::secp256k1::schnorr::Signature;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{info, warn};

use super::fetch::{Fetched, Order, Orders};
use super::{SignError, SignerError, others, stored};
use crate::committee::board::Board;
use crate::committee::fault::{Fault, FaultCause};
use crate::committee::joint::{Joint, Oneself, Step};
use crate::committee::keys::{MemberKeys, random};
use crate::committee::list::{Entry, KINDS, List, decode_list, encode_list};
use crate::committee::message::{SIGNATURE, payload_hash};
use crate::committee::payload::decode_signatures;
use crate::committee::peer::Event;
use crate::committee::plan::Plan;
use crate::committee::status::{MAX_SHOWN, harmless};
use crate::committee::{
    Deployment, Digest, Envelope, FaultReport, Kind, MemberId, MemberStatus, Progress, SessionReport,
    SessionsReport, Store,
};

/// What messages that belong to no session carry in its place.
const NO_SESSION: Digest = Digest([0; 32]);
/// Inputs that are answered by one list at most: others learn of them together.
const MAX_TOGETHER: usize = 64;

/// Who we are.
pub(in crate::committee) struct Member {
    pub deployment: Arc<Deployment>,
    pub hash: Digest,
    pub id: MemberId,
    pub keys: MemberKeys,
}

impl Member {
    fn sign(&self, kind: Kind, session: Digest, payload: Vec<u8>) -> Envelope {
        Envelope::sign(kind, self.hash, self.id, session, payload, &self.keys)
    }
}

/// Somebody that waits for signatures.
type Asker = oneshot::Sender<Result<Vec<Signature>, SignError>>;

/// A list that we want signed.
pub(super) struct Ask {
    pub name: String,
    pub plan: Arc<Plan>,
    pub reply: Asker,
}

/// What comes from ourselves.
pub(super) enum Command {
    /// Somebody wants a list signed.
    Ask(Ask),
    /// Somebody that wanted it may be gone.
    Look(Digest),
}

/// What comes from outside the thread.
pub(super) enum Input {
    /// From ourselves.
    Command(Command),
    /// A message of a session, or why there is none.
    Fetched(Fetched),
    /// A status or a list.
    Peer(Event),
}

/// Where inputs come from.
pub(super) struct Inputs {
    pub commands: mpsc::UnboundedReceiver<Command>,
    pub fetched: mpsc::Receiver<Fetched>,
    pub events: mpsc::Receiver<Event>,
}

impl Inputs {
    /// Waits for an input. There is none any more when nobody follows others.
    async fn next(&mut self) -> Option<Input> {
        tokio::select! {
            biased;
            Some(command) = self.commands.recv() => Some(Input::Command(command)),
            // Before the next status: what was fetched needs not be asked for again.
            Some(fetched) = self.fetched.recv() => Some(Input::Fetched(fetched)),
            event = self.events.recv() => event.map(Input::Peer),
        }
    }

    /// Returns an input that is there already.
    fn ready(&mut self) -> Option<Input> {
        let command = self.commands.try_recv().map(Input::Command);
        let fetched = command.or_else(|_| self.fetched.try_recv().map(Input::Fetched));
        fetched.or_else(|_| self.events.try_recv().map(Input::Peer)).ok()
    }
}

/// A list that is asked for and not signed.
struct Pending {
    /// Which of all that were asked for, in order.
    number: u64,
    askers: Vec<Asker>,
    joint: Joint,
    /// What we have published of it.
    entry: Entry,
    /// The payload hash of each message that we have.
    seen: BTreeMap<(MemberId, Kind), Digest>,
    faults: BTreeMap<(MemberId, Kind), String>,
}

/// Another member.
#[derive(Default)]
struct Peer {
    complete: bool,
    epoch: u64,
    list: List,
    orders: watch::Sender<Orders>,
}

impl Peer {
    fn wants(&self, plan: &Digest) -> bool {
        self.list.get(plan).is_some_and(Entry::is_pending)
    }
}

/// What one member does after the set-up.
pub(super) struct Desk {
    // Fixed.
    member: Arc<Member>,
    board: Arc<Board>,
    process: Digest,
    setup_signings: usize,
    setup_published: BTreeMap<Kind, Digest>,
    // Stored.
    store: Arc<Store>,
    signed: u64,
    // Of this process.
    pending: BTreeMap<Digest, Pending>,
    /// What is signed and another member wants: it may take the signatures, or end the session that it is in.
    kept: List,
    peers: BTreeMap<MemberId, Peer>,
    faults: BTreeMap<(MemberId, Kind), String>,
    asked: u64,
    /// Plans for which something may be possible now that was not before.
    touched: BTreeSet<Digest>,
    // What is published.
    listed: Option<Digest>,
    told: Option<Vec<u8>>,
}

impl Desk {
    /// Takes up what the store has, and publishes what late members of the set-up need. Returns where orders for each
    /// other member come.
    ///
    /// # Errors
    /// [`SignerError`].
    pub(super) fn open(
        member: Arc<Member>,
        store: Arc<Store>,
        board: Arc<Board>,
    ) -> Result<(Self, Vec<(MemberId, watch::Receiver<Orders>)>), SignerError> {
        let missing = |what| SignerError::Incomplete { what };
        let (plan, signatures) = store.signatures()?.ok_or_else(|| missing("signatures"))?;
        let mut contributions = store.contributions()?.into_iter();
        let (_, bytes) = contributions
            .find(|(id, _)| *id == member.id)
            .ok_or_else(|| missing("contribution of ours"))?;
        let Member {
            deployment, hash, id, ..
        } = &*member;
        let contribution = Envelope::open(&bytes, Kind::Contribution, deployment, hash, *id)?;
        let setup_signings = signatures.len() / SIGNATURE;
        let messages = vec![contribution, member.sign(Kind::Signatures, plan, signatures)];
        let setup_published = messages
            .iter()
            .map(|message| (message.kind, message.payload_hash()));
        let setup_published = setup_published.collect();
        board.post(messages);
        let peers: BTreeMap<_, Peer> = others(&member).map(|id| (id, Peer::default())).collect();
        let orders = peers.iter().map(|(id, peer)| (*id, peer.orders.subscribe()));
        let orders = orders.collect();
        let mut desk = Self {
            member,
            board,
            process: Digest(random()?),
            setup_signings,
            setup_published,
            signed: store.count_sessions()?,
            store,
            pending: BTreeMap::new(),
            kept: List::new(),
            peers,
            faults: BTreeMap::new(),
            asked: 0,
            touched: BTreeSet::new(),
            listed: None,
            told: None,
        };
        desk.tell();
        Ok((desk, orders))
    }

    /// Does what inputs ask for until there are none any more.
    ///
    /// # Errors
    /// [`SignerError`] for what is wrong with ourselves; what is wrong with others is kept as a fault.
    pub(super) fn own(mut self, runtime: &Handle, mut inputs: Inputs) -> Result<(), SignerError> {
        while let Some(input) = runtime.block_on(inputs.next()) {
            self.handle(input)?;
            for _ in 1..MAX_TOGETHER {
                let Some(input) = inputs.ready() else { break };
                self.handle(input)?;
            }
            self.advance()?;
        }
        Ok(())
    }

    /// Takes an input. What it makes possible is done by [`Self::advance`].
    ///
    /// # Errors
    /// [`SignerError`].
    pub(super) fn handle(&mut self, input: Input) -> Result<(), SignerError> {
        match input {
            Input::Command(Command::Ask(ask)) => self.ask(ask)?,
            Input::Command(Command::Look(plan)) => self.look(&plan),
            Input::Fetched(fetched) => self.take(fetched),
            Input::Peer(Event::Status(member, status)) => self.take_status(member, &status)?,
            Input::Peer(Event::Message(envelope)) => self.take_message(&envelope)?,
            Input::Peer(Event::Fault(Fault { member, kind, cause })) => self.note(None, member, kind, &cause),
        }
        Ok(())
    }

    fn ask(&mut self, ask: Ask) -> Result<(), SignerError> {
        let Ask { name, plan, reply } = ask;
        let digest = plan.digest();
        if let Some(pending) = self.pending.get_mut(&digest) {
            pending.askers.push(reply);
            return Ok(());
        }
        if self.store.session(&digest)?.is_some() {
            // It was signed after the asker has looked. Who does not listen any more needs no answer.
            let _gone = reply.send(
                stored(&self.store, &self.member, &plan)
                    .and_then(|signatures| signatures.ok_or(SignError::Ended)),
            );
            return Ok(());
        }
        let signings = plan.len();
        info!(of = name, plan = %digest, signings, "asked to sign");
        self.asked += 1;
        let pending = Pending {
            number: self.asked,
            askers: vec![reply],
            joint: Joint::new(name, plan, others(&self.member)),
            entry: Entry::default(),
            seen: BTreeMap::new(),
            faults: BTreeMap::new(),
        };
        self.pending.insert(digest, pending);
        self.touched.insert(digest);
        Ok(())
    }

    /// Stops asking for what nobody waits for any more. Secret nonces go with it.
    fn look(&mut self, plan: &Digest) {
        let Some(pending) = self.pending.get_mut(plan) else {
            return;
        };
        pending.askers.retain(|asker| !asker.is_closed());
        if pending.askers.is_empty() {
            info!(of = pending.joint.name(), %plan, "nobody asks any more");
            self.pending.remove(plan);
            self.board.forget(plan);
        }
    }

    fn take(&mut self, fetched: Fetched) {
        let Fetched {
            member,
            plan,
            kind,
            result,
        } = fetched;
        let Some(pending) = self.pending.get_mut(&plan) else {
            return;
        };
        let taken = result.and_then(|envelope| {
            pending.seen.insert((member, kind), envelope.payload_hash());
            pending
                .joint
                .take(member, kind, envelope.session, envelope.payload)
        });
        match taken {
            Ok(()) => drop(pending.faults.remove(&(member, kind))),
            Err(cause) => self.note(Some(plan), member, kind, &cause),
        }
        self.touched.insert(plan);
    }

    fn take_status(&mut self, member: MemberId, status: &MemberStatus) -> Result<(), SignerError> {
        self.faults.remove(&(member, Kind::Status));
        if let Some(peer) = self.peers.get_mut(&member) {
            peer.complete = status.progress.complete;
            peer.epoch += 1;
        }
        if !status.published.contains_key(&Kind::Sessions) {
            // It sets up still, or again.
            self.replace_list(member, List::new())?;
        }
        Ok(())
    }

    fn take_message(&mut self, envelope: &Envelope) -> Result<(), SignerError> {
        let (member, kind) = (envelope.member, envelope.kind);
        if kind != Kind::Sessions {
            return Ok(());
        }
        match decode_list(&envelope.payload) {
            Ok(list) => {
                self.faults.remove(&(member, kind));
                self.replace_list(member, list)
            }
            Err(error) => {
                self.note(None, member, kind, &error.into());
                Ok(())
            }
        }
    }

    /// Takes a member's new list, and sees what it changes.
    fn replace_list(&mut self, member: MemberId, list: List) -> Result<(), SignerError> {
        let Some(peer) = self.peers.get_mut(&member) else {
            return Ok(());
        };
        let old = std::mem::replace(&mut peer.list, list);
        let state = |list: &List, plan: &Digest| list.get(plan).map(Entry::is_pending);
        let plans = old.keys().chain(peer.list.keys());
        let changed: BTreeSet<_> = plans
            .filter(|plan| state(&old, plan) != state(&peer.list, plan))
            .copied()
            .collect();
        for plan in changed {
            if self.pending.contains_key(&plan) {
                self.touched.insert(plan);
            } else {
                self.keep(plan)?;
            }
        }
        Ok(())
    }

    /// Lists what is signed as long as another member wants it.
    fn keep(&mut self, plan: Digest) -> Result<(), SignerError> {
        if !self.peers.values().any(|peer| peer.wants(&plan)) {
            if self.kept.remove(&plan).is_some() {
                self.board.forget(&plan);
            }
        } else if !self.kept.contains_key(&plan)
            && let Some(message) = self.store.session(&plan)?
        {
            let envelope = Envelope::decode(&message, Kind::Signatures)?;
            let entry = Entry::of_signatures(envelope.payload_hash());
            self.kept.insert(plan, entry);
        }
        Ok(())
    }

    /// Names a fault. It stands until the member sends a good message of that kind, or until its plan is signed.
    fn note(&mut self, plan: Option<Digest>, member: MemberId, kind: Kind, cause: &FaultCause) {
        let what = harmless(&cause.to_string());
        let (of, faults) = match plan {
            Some(plan) => match self.pending.get_mut(&plan) {
                Some(pending) => (pending.joint.name(), &mut pending.faults),
                None => return,
            },
            None => ("", &mut self.faults),
        };
        if faults.get(&(member, kind)) == Some(&what) {
            return;
        }
        let name = &self.member.deployment.member(member).name;
        warn!(member = %name, kind = kind.name(), of, "{what}");
        faults.insert((member, kind), what);
    }

    /// Does everything that is possible now, and publishes it.
    ///
    /// # Errors
    /// [`SignerError`].
    pub(super) fn advance(&mut self) -> Result<(), SignerError> {
        for plan in std::mem::take(&mut self.touched) {
            self.sign(plan)?;
        }
        self.tell();
        self.order();
        Ok(())
    }

    /// Goes on with one list, which everybody must want.
    fn sign(&mut self, plan: Digest) -> Result<(), SignerError> {
        let Some(pending) = self.pending.get_mut(&plan) else {
            return Ok(());
        };
        let agreed = self.peers.values().all(|peer| peer.wants(&plan));
        let own = Oneself {
            deployment: &self.member.deployment,
            me: self.member.id,
            keys: &self.member.keys,
            store: &self.store,
        };
        let Step {
            messages,
            faults,
            signatures,
        } = pending.joint.advance(&own, agreed)?;
        for (kind, session, payload) in messages {
            let envelope = self.member.sign(kind, session, payload);
            pending.entry.set(kind, envelope.payload_hash());
            self.board.put(plan, &envelope);
        }
        for (member, kind, cause) in faults {
            self.note(Some(plan), member, kind, &cause);
        }
        match signatures {
            Some(payload) => self.complete(plan, payload),
            None => Ok(()),
        }
    }

    /// Stores the signatures, all of which are verified, and gives them to those that asked.
    fn complete(&mut self, plan: Digest, payload: Vec<u8>) -> Result<(), SignerError> {
        let hash = payload_hash(&payload);
        let message = self.member.sign(Kind::Signatures, plan, payload);
        self.store.put_session(&plan, &message.encode())?;
        self.signed += 1;
        let Some(mut pending) = self.pending.remove(&plan) else {
            return Ok(());
        };
        info!(of = pending.joint.name(), %plan, rounds = pending.joint.rounds(), "signed");
        if self.peers.values().any(|peer| peer.wants(&plan)) {
            pending.entry.set(Kind::Signatures, hash);
            self.kept.insert(plan, pending.entry);
        } else {
            self.board.forget(&plan);
        }
        let signatures = decode_signatures(&message.payload, pending.joint.plan().len())
            .expect("the signatures were verified");
        for asker in pending.askers {
            // Who does not listen any more finds them in the store.
            let _gone = asker.send(Ok(signatures.clone()));
        }
        Ok(())
    }

    /// Publishes what is new: the list, and the status that names it.
    fn tell(&mut self) {
        let mut messages = Vec::new();
        let ours = self.pending.iter().map(|(plan, pending)| (*plan, pending.entry));
        let list: List = ours
            .chain(self.kept.iter().map(|(plan, entry)| (*plan, *entry)))
            .collect();
        let payload = encode_list(&list);
        let hash = payload_hash(&payload);
        if self.listed != Some(hash) {
            self.listed = Some(hash);
            messages.push(self.member.sign(Kind::Sessions, NO_SESSION, payload));
        }
        let mut published = self.setup_published.clone();
        published.insert(Kind::Sessions, hash);
        let status = MemberStatus {
            process: self.process,
            published,
            progress: self.progress(),
            faults: self.reports(),
            sessions: Some(self.sessions()),
        };
        let payload = status.encode();
        if self.told.as_ref() == Some(&payload) {
            return;
        }
        self.told = Some(payload.clone());
        messages.push(self.member.sign(Kind::Status, NO_SESSION, payload));
        self.board.post(messages);
    }

    /// Says what is wanted of each member: what it names of lists that we want signed, and we do not have.
    fn order(&mut self) {
        for (member, peer) in &self.peers {
            let mut wanted = BTreeMap::new();
            for (plan, pending) in &self.pending {
                let Some(entry) = peer.list.get(plan) else {
                    continue;
                };
                // Who has signatures and does not give good ones may have given what they can be made of.
                let refused = pending.faults.contains_key(&(*member, Kind::Signatures));
                let kinds: &[Kind] = if entry.is_pending() || refused {
                    &KINDS
                } else {
                    &[Kind::Signatures]
                };
                for kind in kinds {
                    let seen = pending.seen.get(&(*member, *kind));
                    if let Some(hash) = entry.get(*kind).filter(|hash| seen != Some(hash)) {
                        let order = Order {
                            hash,
                            signings: pending.joint.plan().len(),
                            number: pending.number,
                        };
                        wanted.insert((*plan, *kind), order);
                    }
                }
            }
            let epoch = peer.epoch;
            peer.orders.send_if_modified(|orders| {
                let new = Orders { epoch, wanted };
                let changed = *orders != new;
                *orders = new;
                changed
            });
        }
    }

    fn progress(&self) -> Progress {
        let members = self.member.deployment.members.len();
        let complete = 1 + self.peers.values().filter(|peer| peer.complete).count();
        Progress {
            members,
            contributions: members,
            graphs: complete,
            signings: self.setup_signings,
            complete: true,
            members_complete: complete,
            ..Progress::default()
        }
    }

    /// Returns the faults that stand, one for each member and kind.
    fn reports(&self) -> Vec<FaultReport> {
        let mut found: BTreeMap<(MemberId, Kind), (&str, &str, usize)> = BTreeMap::new();
        for (place, what) in &self.faults {
            found.insert(*place, ("", what, 0));
        }
        for pending in self.pending.values() {
            for (place, what) in &pending.faults {
                found.entry(*place).or_insert((pending.joint.name(), what, 0)).2 += 1;
            }
        }
        let report =
            |((member, kind), (of, what, count)): ((MemberId, Kind), (&str, &str, usize))| FaultReport {
                member: self.member.deployment.member(member).name.clone(),
                kind,
                what: match count {
                    0 => what.to_owned(),
                    1 => format!("{of}: {what}"),
                    _ => format!("{of} and {} more: {what}", count - 1),
                },
            };
        found.into_iter().map(report).collect()
    }

    /// Shows what has been asked for longest.
    fn sessions(&self) -> SessionsReport {
        let mut oldest: Vec<_> = self.pending.iter().collect();
        oldest.sort_by_key(|(_, pending)| pending.number);
        let deployment = &self.member.deployment;
        let show = |(plan, pending): (&Digest, &Pending)| {
            let missing = self
                .peers
                .iter()
                .filter(|(_, peer)| !peer.list.contains_key(plan));
            let counts = pending.joint.counts();
            SessionReport {
                name: pending.joint.name().to_owned(),
                plan: *plan,
                signings: pending.joint.plan().len(),
                missing: missing
                    .map(|(id, _)| deployment.member(*id).name.clone())
                    .collect(),
                nonces: counts.nonces,
                ready: counts.ready,
                partials: counts.partials,
            }
        };
        SessionsReport {
            signed: self.signed,
            pending: self.pending.len(),
            oldest: oldest.into_iter().take(MAX_SHOWN).map(show).collect(),
        }
    }
}
