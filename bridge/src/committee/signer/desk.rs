//! The desk: everything that is asked for and not signed, owned by one thread. It knows no network.

mod show;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tracing::{info, warn};

use super::fetch::{Fetched, Order, Orders};
use super::input::{Ask, Asker, Command, Identity, Input, Inputs};
use super::{SignerError, others, stored};
use crate::committee::board::Board;
use crate::committee::fault::{Fault, FaultCause};
use crate::committee::joint::{Joint, Oneself, Step};
use crate::committee::keys::random;
use crate::committee::list::{Entry, KINDS, List, decode_list};
use crate::committee::message::{SIGNATURE, payload_hash};
use crate::committee::payload::decode_signatures;
use crate::committee::peer::Event;
use crate::committee::status::harmless;
use crate::committee::{Digest, Envelope, Kind, MemberId, MemberStatus, Store};

/// What messages that belong to no session carry in its place.
const NO_SESSION: Digest = Digest([0; 32]);
/// Inputs that are answered by one list at most: others learn of them together.
const MAX_TOGETHER: usize = 64;

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
    identity: Arc<Identity>,
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
        identity: Arc<Identity>,
        store: Arc<Store>,
        board: Arc<Board>,
    ) -> Result<(Self, Vec<(MemberId, watch::Receiver<Orders>)>), SignerError> {
        let missing = |what| SignerError::Incomplete { what };
        let (plan, signatures) = store.signatures()?.ok_or_else(|| missing("signatures"))?;
        let mut contributions = store.contributions()?.into_iter();
        let (_, bytes) = contributions
            .find(|(id, _)| *id == identity.id)
            .ok_or_else(|| missing("contribution of ours"))?;
        let Identity {
            deployment, hash, id, ..
        } = &*identity;
        let contribution = Envelope::open(&bytes, Kind::Contribution, deployment, hash, *id);
        let contribution = contribution.map_err(|source| SignerError::Stored {
            what: "contribution".into(),
            source,
        })?;
        let setup_signings = signatures.len() / SIGNATURE;
        let messages = vec![contribution, identity.sign(Kind::Signatures, plan, signatures)];
        let setup_published = messages
            .iter()
            .map(|message| (message.kind, message.payload_hash()));
        let setup_published = setup_published.collect();
        board.post(messages);
        let peers: BTreeMap<_, Peer> = others(&identity).map(|id| (id, Peer::default())).collect();
        let orders = peers.iter().map(|(id, peer)| (*id, peer.orders.subscribe()));
        let orders = orders.collect();
        let mut desk = Self {
            identity,
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
            Input::Command(Command::Ask(ask)) => self.ask(ask),
            Input::Command(Command::Look(plan)) => self.look(&plan),
            Input::Fetched(fetched) => self.take(fetched),
            Input::Peer(Event::Status(member, status)) => self.take_status(member, &status)?,
            Input::Peer(Event::Message(envelope)) => self.take_message(&envelope)?,
            Input::Peer(Event::Fault(Fault { member, kind, cause })) => self.note(None, member, kind, &cause),
        }
        Ok(())
    }

    fn ask(&mut self, ask: Ask) {
        let Ask { name, plan, reply } = ask;
        let digest = plan.digest();
        if let Some(pending) = self.pending.get_mut(&digest) {
            pending.askers.push(reply);
            return;
        }
        if let Some(found) = stored(&self.store, &self.identity, &plan).transpose() {
            // It was signed after the asker has looked. Who does not listen any more needs no answer.
            let _gone = reply.send(found);
            return;
        }
        let signings = plan.len();
        info!(of = name, plan = %digest, signings, "asked to sign");
        self.asked += 1;
        let pending = Pending {
            number: self.asked,
            askers: vec![reply],
            joint: Joint::new(name, plan, others(&self.identity)),
            entry: Entry::default(),
            seen: BTreeMap::new(),
            faults: BTreeMap::new(),
        };
        self.pending.insert(digest, pending);
        self.touched.insert(digest);
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
            let envelope = Envelope::decode(&message, Kind::Signatures);
            let envelope = envelope.map_err(|source| SignerError::Stored {
                what: format!("message of the signatures of plan {plan}"),
                source,
            })?;
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
        let name = &self.identity.deployment.member(member).name;
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
            deployment: &self.identity.deployment,
            me: self.identity.id,
            keys: &self.identity.keys,
            store: &self.store,
        };
        let Step {
            messages,
            faults,
            signatures,
        } = pending.joint.advance(&own, agreed)?;
        for (kind, session, payload) in messages {
            let envelope = self.identity.sign(kind, session, payload);
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
        let message = self.identity.sign(Kind::Signatures, plan, payload);
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
                        };
                        wanted.insert((pending.number, *plan, *kind), order);
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
}
