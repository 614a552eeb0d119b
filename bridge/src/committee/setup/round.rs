//! Rounds: one set of our nonces each, which signs one session or none.
//!
//! A member begins a round when it starts, and when its nonces are spent in a session that cannot end any more because
//! another member has begun a new round. It spends its nonces only when everybody is ready with the same nonces of
//! everybody, so after the last restart no session that anybody has signed is left behind (docs/committee.md).

use musig2::PartialSignature;
use tracing::info;

use super::{FaultCause, Setup, SetupError};
use crate::committee::message::payload_hash;
use crate::committee::payload::{
    GraphHashes, Place, decode_nonces, decode_partials, encode_partials, encode_places, encode_signatures,
};
use crate::committee::plan::Plan;
use crate::committee::session::{PublicNonces, SecretNonces, Session};
use crate::committee::{Builder, Digest, Kind, MemberId};

/// Our part in the round.
pub(super) enum Round {
    /// Our nonces are published, and have signed nothing.
    Open {
        secret: SecretNonces,
        public: PublicNonces,
    },
    /// Our nonces have signed the session, and are gone.
    Spent { own: Vec<PartialSignature> },
}

/// The session that a member would sign: its id and its nonces.
pub(super) struct Ready {
    pub id: Digest,
    pub places: Vec<Place>,
}

/// What another member has sent.
#[derive(Default)]
pub(super) struct Peer {
    pub graph: Option<GraphHashes>,
    /// Nonces that came before we had built the graph: what they belong to, and the payload.
    early: Option<(u64, Digest, Vec<u8>)>,
    pub nonces: Option<PublicNonces>,
    pub ready: Option<Ready>,
    /// Partial signatures that are not verified yet.
    pub partials: Option<(Digest, Vec<u8>)>,
    verified: Option<(Digest, Vec<PartialSignature>)>,
    pub signatures: Option<(Digest, Vec<u8>)>,
    pub complete: bool,
}

impl Peer {
    /// Takes nonces, which are read when there is a plan.
    pub(super) fn take_nonces(
        &mut self,
        counter: u64,
        session: Digest,
        payload: Vec<u8>,
        plan: Option<&Plan>,
    ) -> Result<(), FaultCause> {
        match plan {
            Some(plan) => self.read_nonces(counter, session, &payload, plan),
            None => {
                self.early = Some((counter, session, payload));
                Ok(())
            }
        }
    }

    /// Reads the nonces that came before the plan.
    pub(super) fn read_early(&mut self, plan: &Plan) -> Result<(), FaultCause> {
        let Some((counter, session, payload)) = self.early.take() else {
            return Ok(());
        };
        self.read_nonces(counter, session, &payload, plan)
    }

    fn read_nonces(
        &mut self,
        counter: u64,
        got: Digest,
        payload: &[u8],
        plan: &Plan,
    ) -> Result<(), FaultCause> {
        let expected = plan.digest();
        if got != expected {
            return Err(FaultCause::Session { expected, got });
        }
        let hash = payload_hash(payload);
        match self.nonces.as_ref().map(|nonces| nonces.place) {
            Some(seen) if counter < seen.counter => {
                return Err(FaultCause::NoncesOld {
                    seen: seen.counter,
                    got: counter,
                });
            }
            Some(seen) if counter == seen.counter && hash != seen.hash => {
                return Err(FaultCause::NoncesTwice { counter });
            }
            Some(seen) if counter == seen.counter => return Ok(()),
            _ => {}
        }
        let nonces = decode_nonces(payload, plan.len())?;
        let place = Place { counter, hash };
        self.nonces = Some(PublicNonces { place, nonces });
        Ok(())
    }

    fn verified(&self, session: Digest) -> Option<&[PartialSignature]> {
        let (id, partials) = self.verified.as_ref()?;
        (*id == session).then_some(partials)
    }

    pub(super) fn is_verified(&self, session: Digest) -> bool {
        self.verified(session).is_some()
    }

    pub(super) fn is_ready(&self, session: Digest) -> bool {
        self.ready.as_ref().is_some_and(|ready| ready.id == session)
    }
}

impl<B: Builder> Setup<B> {
    /// Goes on with signing, when everybody has built the same graph.
    pub(super) fn sign_together(&mut self) -> Result<(), SetupError> {
        let Some(plan) = self.plan.clone() else {
            return Ok(());
        };
        let ours = Some(plan.hashes());
        let agreed = self.peers.values().all(|peer| peer.graph == ours);
        // What is complete needs no more rounds: late members take the signatures.
        if !agreed || self.signatures.is_some() {
            return Ok(());
        }
        self.collect(&plan)?;
        if self.signatures.is_none() {
            self.renew(&plan)?;
            self.meet(&plan);
            self.spend(&plan)?;
            self.collect(&plan)?;
        }
        Ok(())
    }

    /// Begins a round when there is none, or when the session that our nonces signed cannot end any more.
    fn renew(&mut self, plan: &Plan) -> Result<(), SetupError> {
        match (&self.round, &self.session) {
            (Some(Round::Open { .. }), _) => return Ok(()),
            (Some(Round::Spent { .. }), Some(session)) if !self.is_left(session) => return Ok(()),
            _ => {}
        }
        // Durable before the nonces exist: no crash can give two sets of nonces one counter.
        let counter = self.store.next_counter()?;
        let (secret, public, payload) = SecretNonces::draw(plan, &self.keys, counter)?;
        self.rounds += 1;
        self.counter = counter;
        self.session = None;
        self.round = Some(Round::Open { secret, public });
        info!(counter, "a round is begun");
        self.publish_new(Kind::Nonces, plan.digest(), payload);
        Ok(())
    }

    /// Tells whether a member has newer nonces than those of a session.
    fn is_left(&self, session: &Session) -> bool {
        self.peers.iter().any(|(member, peer)| {
            let counter = session.places()[member.index()].counter;
            peer.nonces
                .as_ref()
                .is_some_and(|nonces| nonces.place.counter > counter)
        })
    }

    /// Says with which nonces of everybody we would sign.
    fn meet(&mut self, plan: &Plan) {
        self.refuse_ready(plan);
        let Some(Round::Open { public, .. }) = &self.round else {
            return;
        };
        let nonces = |id: MemberId| match self.peers.get(&id) {
            Some(peer) => peer.nonces.as_ref(),
            None => Some(public),
        };
        let Some(members) = self.deployment.ids().map(nonces).collect::<Option<Vec<_>>>() else {
            return;
        };
        let places: Vec<_> = members.iter().map(|member| member.place).collect();
        if self
            .session
            .as_ref()
            .is_some_and(|session| session.places() == places)
        {
            return;
        }
        let session = Session::new(plan, &members);
        self.publish_new(Kind::Ready, session.id(), encode_places(&places));
        self.session = Some(session);
    }

    /// Names members that are ready with other nonces of somebody than we have, or for another session than that of
    /// their nonces. What they said is dropped: nobody signs upon it, whatever session its message names.
    fn refuse_ready(&mut self, plan: &Plan) {
        let ours = match &self.round {
            Some(Round::Open { public, .. }) => Some(public.place),
            _ => None,
        };
        let known = |id: MemberId| match self.peers.get(&id) {
            Some(peer) => peer.nonces.as_ref().map(|nonces| nonces.place),
            None => ours,
        };
        let mut faults = Vec::new();
        for (member, peer) in &self.peers {
            let Some(Ready { id: got, places }) = &peer.ready else {
                continue;
            };
            let other = self.deployment.ids().zip(places).find(|(id, place)| {
                known(*id).is_some_and(|ours| ours.counter == place.counter && ours.hash != place.hash)
            });
            let expected = Session::id_of(plan, places);
            if let Some((of, Place { counter, .. })) = other {
                let counter = *counter;
                faults.push((*member, FaultCause::NoncesOther { of, counter }));
            } else if expected != *got {
                faults.push((*member, FaultCause::Session { expected, got: *got }));
            }
        }
        for (member, cause) in faults {
            if let Some(peer) = self.peers.get_mut(&member) {
                peer.ready = None;
            }
            self.note(member, Kind::Ready, cause);
        }
    }

    /// Signs when everybody is ready for the session of the newest nonces.
    fn spend(&mut self, plan: &Plan) -> Result<(), SetupError> {
        let Some(session) = &self.session else {
            return Ok(());
        };
        let id = session.id();
        let ready = self.peers.values().all(|peer| peer.is_ready(id));
        let Some(Round::Open { secret, .. }) = self
            .round
            .take_if(|round| ready && matches!(round, Round::Open { .. }))
        else {
            return Ok(());
        };
        let own = secret.sign(plan, &self.keys, session, self.me)?;
        let payload = encode_partials(&own);
        self.round = Some(Round::Spent { own });
        info!(session = %id, "partial signatures are made");
        self.publish_new(Kind::Partials, id, payload);
        Ok(())
    }

    /// Verifies partial signatures of the session that we have signed, and completes it when it has all.
    fn collect(&mut self, plan: &Plan) -> Result<(), SetupError> {
        let (Some(Round::Spent { own }), Some(session)) = (&self.round, &self.session) else {
            return Ok(());
        };
        let id = session.id();
        let mut faults = Vec::new();
        for (member, peer) in &mut self.peers {
            // Those of another session wait: we may get there.
            let Some((_, payload)) = peer.partials.take_if(|(session, _)| *session == id) else {
                continue;
            };
            let verified = decode_partials(&payload, plan.len())
                .map_err(FaultCause::from)
                .and_then(|partials| {
                    match session.wrong_partial(plan, &self.deployment, *member, &partials) {
                        Some(label) => Err(FaultCause::Partial { label }),
                        None => Ok(partials),
                    }
                });
            match verified {
                Ok(partials) => peer.verified = Some((id, partials)),
                Err(cause) => faults.push((*member, cause)),
            }
        }
        let partials = |member: MemberId| match self.peers.get(&member) {
            Some(peer) => peer.verified(id),
            None => Some(own.as_slice()),
        };
        let all = self.deployment.ids().map(partials).collect::<Option<Vec<_>>>();
        let signatures = all.map(|all| session.aggregate(plan, &all)).transpose()?;
        for (member, cause) in faults {
            self.note(member, Kind::Partials, cause);
        }
        match signatures {
            Some(signatures) => self.complete(plan, encode_signatures(&signatures)),
            None => Ok(()),
        }
    }
}
