//! What comes to the desk, and who sits there.

use std::sync::Arc;

use bitcoin::secp256k1::schnorr::Signature;
use tokio::sync::{mpsc, oneshot};

use super::SignError;
use super::fetch::Fetched;
use crate::committee::keys::MemberKeys;
use crate::committee::peer::Event;
use crate::committee::plan::Plan;
use crate::committee::{Deployment, Digest, Envelope, Kind, MemberId};

/// Who we are.
pub(in crate::committee) struct Identity {
    pub deployment: Arc<Deployment>,
    pub hash: Digest,
    pub id: MemberId,
    pub keys: MemberKeys,
}

impl Identity {
    pub(super) fn sign(&self, kind: Kind, session: Digest, payload: Vec<u8>) -> Envelope {
        Envelope::sign(kind, self.hash, self.id, session, payload, &self.keys)
    }
}

/// Somebody that waits for signatures.
pub(super) type Asker = oneshot::Sender<Result<Vec<Signature>, SignError>>;

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
    pub(super) async fn next(&mut self) -> Option<Input> {
        tokio::select! {
            biased;
            Some(command) = self.commands.recv() => Some(Input::Command(command)),
            // Before the next status: what was fetched needs not be asked for again.
            Some(fetched) = self.fetched.recv() => Some(Input::Fetched(fetched)),
            event = self.events.recv() => event.map(Input::Peer),
        }
    }

    /// Returns an input that is there already.
    pub(super) fn ready(&mut self) -> Option<Input> {
        let command = self.commands.try_recv().map(Input::Command);
        let fetched = command.or_else(|_| self.fetched.try_recv().map(Input::Fetched));
        fetched.or_else(|_| self.events.try_recv().map(Input::Peer)).ok()
    }
}
