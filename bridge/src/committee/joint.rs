//! Joint signing of one plan: from nonces of everybody to signatures, in rounds (docs/committee.md).
//!
//! A round is one set of our nonces, which signs one session or none. A member begins one when it starts, and when its
//! nonces are spent in a session that cannot end any more because another member has begun a new round. It spends its
//! nonces only when everybody is ready with the same nonces of everybody, so after the last restart no session that
//! anybody has signed is left behind.

use std::collections::BTreeMap;
use std::sync::Arc;

use musig2::PartialSignature;
use tracing::info;

use super::fault::FaultCause;
use super::keys::MemberKeys;
use super::message::payload_hash;
use super::payload::{
    Place, decode_nonces, decode_partials, decode_places, decode_signatures, encode_partials, encode_places,
    encode_signatures, nonces_counter,
};
use super::plan::Plan;
use super::session::{PublicNonces, SecretNonces, Session, SessionError};
use super::{Deployment, Digest, Kind, MemberId, Store, StoreError};

/// We cannot sign. Nothing that a peer sends leads here.
#[derive(Debug, thiserror::Error)]
pub enum JointError {
    /// The store gives no counter.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// We cannot sign.
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// Who signs, and with what.
pub(super) struct Oneself<'s> {
    pub deployment: &'s Deployment,
    pub me: MemberId,
    pub keys: &'s MemberKeys,
    pub store: &'s Store,
}

/// Our part in the round.
enum Round {
    /// Our nonces are published, and have signed nothing.
    Open {
        secret: SecretNonces,
        public: PublicNonces,
    },
    /// Our nonces have signed the session, and are gone.
    Spent { own: Vec<PartialSignature> },
}

/// The session that a member would sign: its id and its nonces.
struct Ready {
    id: Digest,
    places: Vec<Place>,
}

/// What another member has sent.
#[derive(Default)]
struct Partner {
    nonces: Option<PublicNonces>,
    ready: Option<Ready>,
    /// Partial signatures that are not verified yet.
    partials: Option<(Digest, Vec<u8>)>,
    verified: Option<(Digest, Vec<PartialSignature>)>,
    /// Signatures that are not verified yet.
    signatures: Option<(Digest, Vec<u8>)>,
}

impl Partner {
    fn take_nonces(&mut self, got: Digest, payload: &[u8], plan: &Plan) -> Result<(), FaultCause> {
        let counter = nonces_counter(payload)?;
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

    fn is_ready(&self, session: Digest) -> bool {
        self.ready.as_ref().is_some_and(|ready| ready.id == session)
    }
}

/// What a step of joint signing gave.
#[derive(Default)]
pub(super) struct Step {
    /// What is to be published, in order: kind, what it belongs to, payload.
    pub messages: Vec<(Kind, Digest, Vec<u8>)>,
    /// What others did wrong.
    pub faults: Vec<(MemberId, Kind, FaultCause)>,
    /// The payload of the signatures, all of which are verified, when they are complete.
    pub signatures: Option<Vec<u8>>,
}

/// How far joint signing is. Counts include the member itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub nonces: usize,
    pub ready: usize,
    pub partials: usize,
}

/// The joint signing of one plan, as one member sees it. All of it is of this process; what is lost with it costs a
/// round.
pub(super) struct Joint {
    name: String,
    plan: Arc<Plan>,
    partners: BTreeMap<MemberId, Partner>,
    round: Option<Round>,
    session: Option<Session>,
    rounds: u64,
    counter: u64,
}

impl Joint {
    /// Begins with nothing known of the others. The name is for the log.
    pub(super) fn new(name: String, plan: Arc<Plan>, others: impl Iterator<Item = MemberId>) -> Self {
        Self {
            name,
            plan,
            partners: others.map(|member| (member, Partner::default())).collect(),
            round: None,
            session: None,
            rounds: 0,
            counter: 0,
        }
    }

    pub(super) fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Returns how many rounds were begun.
    pub(super) fn rounds(&self) -> u64 {
        self.rounds
    }

    /// Returns the counter of our nonces; zero before there are any.
    pub(super) fn counter(&self) -> u64 {
        self.counter
    }

    /// Checks a message of another member as far as it can be now, and keeps it. Of kinds that are not about signing
    /// it takes nothing.
    ///
    /// # Errors
    /// Names what is wrong with it; then nothing has changed.
    pub(super) fn take(
        &mut self,
        member: MemberId,
        kind: Kind,
        session: Digest,
        payload: Vec<u8>,
    ) -> Result<(), FaultCause> {
        let members = self.partners.len() + 1;
        let Some(partner) = self.partners.get_mut(&member) else {
            return Ok(());
        };
        match kind {
            Kind::Nonces => partner.take_nonces(session, &payload, &self.plan)?,
            Kind::Ready => {
                let places = decode_places(&payload, members)?;
                partner.ready = Some(Ready { id: session, places });
            }
            Kind::Partials => partner.partials = Some((session, payload)),
            Kind::Signatures => partner.signatures = Some((session, payload)),
            Kind::Status | Kind::Contribution | Kind::Graph | Kind::Sessions => {}
        }
        Ok(())
    }

    /// Does everything that is possible now. Begins rounds and signs only while everybody is `agreed` on the plan.
    ///
    /// # Errors
    /// [`JointError`] for what is wrong with ourselves.
    pub(super) fn advance(&mut self, own: &Oneself, agreed: bool) -> Result<Step, JointError> {
        let mut step = Step::default();
        self.take_signatures(&mut step);
        if step.signatures.is_none() {
            self.collect(own, &mut step)?;
        }
        if step.signatures.is_none() && agreed {
            self.renew(own, &mut step)?;
            self.meet(own, &mut step);
            self.spend(own, &mut step)?;
            self.collect(own, &mut step)?;
        }
        if step.signatures.is_some() {
            // Secret nonces that are left go with it.
            self.round = None;
        }
        Ok(step)
    }

    /// Takes the signatures of a member that is complete, which need no trust: each is verified.
    fn take_signatures(&mut self, step: &mut Step) {
        for (member, partner) in &mut self.partners {
            let Some((digest, payload)) = partner.signatures.take() else {
                continue;
            };
            match verify_given(&self.plan, digest, &payload) {
                Ok(()) => {
                    step.signatures = Some(payload);
                    return;
                }
                Err(cause) => step.faults.push((*member, Kind::Signatures, cause)),
            }
        }
    }

    /// Begins a round when there is none, or when the session that our nonces signed cannot end any more.
    fn renew(&mut self, own: &Oneself, step: &mut Step) -> Result<(), JointError> {
        match (&self.round, &self.session) {
            (Some(Round::Open { .. }), _) => return Ok(()),
            (Some(Round::Spent { .. }), Some(session)) if !self.is_left(session) => return Ok(()),
            _ => {}
        }
        // Durable before the nonces exist: no crash can give two sets of nonces one counter.
        let counter = own.store.next_counter()?;
        let (secret, public, payload) = SecretNonces::draw(&self.plan, own.keys, counter)?;
        self.rounds += 1;
        self.counter = counter;
        self.session = None;
        self.round = Some(Round::Open { secret, public });
        info!(of = self.name, counter, "a round is begun");
        step.messages.push((Kind::Nonces, self.plan.digest(), payload));
        Ok(())
    }

    /// Tells whether a member has newer nonces than those of a session.
    fn is_left(&self, session: &Session) -> bool {
        self.partners.iter().any(|(member, partner)| {
            let counter = session.places()[member.index()].counter;
            partner
                .nonces
                .as_ref()
                .is_some_and(|nonces| nonces.place.counter > counter)
        })
    }

    /// Says with which nonces of everybody we would sign.
    fn meet(&mut self, own: &Oneself, step: &mut Step) {
        self.refuse_ready(own, step);
        let Some(Round::Open { public, .. }) = &self.round else {
            return;
        };
        let nonces = |id: MemberId| match self.partners.get(&id) {
            Some(partner) => partner.nonces.as_ref(),
            None => Some(public),
        };
        let Some(members) = own.deployment.ids().map(nonces).collect::<Option<Vec<_>>>() else {
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
        let session = Session::new(&self.plan, &members);
        step.messages
            .push((Kind::Ready, session.id(), encode_places(&places)));
        self.session = Some(session);
    }

    /// Names members that are ready with other nonces of somebody than we have, or for another session than that of
    /// their nonces. What they said is dropped: nobody signs upon it, whatever session its message names.
    fn refuse_ready(&mut self, own: &Oneself, step: &mut Step) {
        let ours = match &self.round {
            Some(Round::Open { public, .. }) => Some(public.place),
            _ => None,
        };
        let known = |id: MemberId| match self.partners.get(&id) {
            Some(partner) => partner.nonces.as_ref().map(|nonces| nonces.place),
            None => ours,
        };
        let mut faults = Vec::new();
        for (member, partner) in &self.partners {
            let Some(Ready { id: got, places }) = &partner.ready else {
                continue;
            };
            let other = own.deployment.ids().zip(places).find(|(id, place)| {
                known(*id).is_some_and(|ours| ours.counter == place.counter && ours.hash != place.hash)
            });
            let expected = Session::id_of(&self.plan, places);
            if let Some((of, Place { counter, .. })) = other {
                let counter = *counter;
                faults.push((*member, FaultCause::NoncesOther { of, counter }));
            } else if expected != *got {
                faults.push((*member, FaultCause::Session { expected, got: *got }));
            }
        }
        for (member, cause) in faults {
            if let Some(partner) = self.partners.get_mut(&member) {
                partner.ready = None;
            }
            step.faults.push((member, Kind::Ready, cause));
        }
    }

    /// Signs when everybody is ready for the session of the newest nonces.
    fn spend(&mut self, own: &Oneself, step: &mut Step) -> Result<(), JointError> {
        let Some(session) = &self.session else {
            return Ok(());
        };
        let id = session.id();
        let ready = self.partners.values().all(|partner| partner.is_ready(id));
        let Some(Round::Open { secret, .. }) = self
            .round
            .take_if(|round| ready && matches!(round, Round::Open { .. }))
        else {
            return Ok(());
        };
        let partials = secret.sign(&self.plan, own.keys, session, own.me)?;
        step.messages
            .push((Kind::Partials, id, encode_partials(&partials)));
        self.round = Some(Round::Spent { own: partials });
        info!(of = self.name, session = %id, "partial signatures are made");
        Ok(())
    }

    /// Verifies partial signatures of the session that we have signed, and completes it when it has all.
    fn collect(&mut self, own: &Oneself, step: &mut Step) -> Result<(), JointError> {
        let (Some(Round::Spent { own: ours }), Some(session)) = (&self.round, &self.session) else {
            return Ok(());
        };
        let id = session.id();
        for (member, partner) in &mut self.partners {
            // Those of another session wait: we may get there.
            let Some((_, payload)) = partner.partials.take_if(|(session, _)| *session == id) else {
                continue;
            };
            let verified = decode_partials(&payload, self.plan.len())
                .map_err(FaultCause::from)
                .and_then(|partials| {
                    match session.wrong_partial(&self.plan, own.deployment, *member, &partials) {
                        Some(label) => Err(FaultCause::Partial { label }),
                        None => Ok(partials),
                    }
                });
            match verified {
                Ok(partials) => partner.verified = Some((id, partials)),
                Err(cause) => step.faults.push((*member, Kind::Partials, cause)),
            }
        }
        let partials = |member: MemberId| match self.partners.get(&member) {
            Some(partner) => partner.verified(id),
            None => Some(ours.as_slice()),
        };
        let all = own.deployment.ids().map(partials).collect::<Option<Vec<_>>>();
        if let Some(all) = all {
            let signatures = session.aggregate(&self.plan, &all)?;
            step.signatures = Some(encode_signatures(&signatures));
        }
        Ok(())
    }

    pub(super) fn counts(&self) -> Counts {
        let with = |ours: bool, theirs: &dyn Fn(&Partner) -> bool| {
            usize::from(ours) + self.partners.values().filter(|partner| theirs(partner)).count()
        };
        let session = self.session.as_ref().map(Session::id);
        Counts {
            nonces: with(self.round.is_some(), &|partner| partner.nonces.is_some()),
            ready: with(session.is_some(), &|partner| {
                session.is_some_and(|id| partner.is_ready(id))
            }),
            partials: with(matches!(self.round, Some(Round::Spent { .. })), &|partner| {
                session.is_some_and(|id| partner.verified(id).is_some())
            }),
        }
    }
}

/// Checks the signatures that a member gives for a plan.
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
