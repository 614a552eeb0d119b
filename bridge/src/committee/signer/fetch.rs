//! Reads what a member has published of sessions that we want signed: each message once, however many there are.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use crate::committee::client::Client;
use crate::committee::fault::FaultCause;
use crate::committee::peer::{RETRY_LEAST, RETRY_MOST};
use crate::committee::{Deployment, Digest, Envelope, Kind, MemberId};

/// A message that is wanted: the number of our request, so that the oldest comes first, and what an earlier one had is
/// not taken for what a later one needs; plan, and kind.
pub(super) type Place = (u64, Digest, Kind);

/// What is wanted of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Order {
    /// The payload hash that the member names.
    pub hash: Digest,
    /// Signings of the plan, which bound the message's length.
    pub signings: usize,
}

/// What is wanted of one member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Orders {
    /// Counts the member's statuses: after each, what failed or was something else is asked for anew.
    pub epoch: u64,
    /// What is wanted.
    pub wanted: BTreeMap<Place, Order>,
}

/// What came.
#[derive(Debug)]
pub(super) struct Fetched {
    pub member: MemberId,
    pub plan: Digest,
    pub kind: Kind,
    pub result: Result<Envelope, FaultCause>,
}

/// Reads from one member.
pub(super) struct Fetcher {
    pub member: MemberId,
    pub deployment: Arc<Deployment>,
    pub hash: Digest,
    pub client: Client,
    pub orders: watch::Receiver<Orders>,
    pub fetched: mpsc::Sender<Fetched>,
}

impl Fetcher {
    /// Reads what is wanted until nobody wants anything any more.
    pub(super) async fn run(mut self) {
        // What came as it was named, and what did not in this epoch.
        let mut done: BTreeMap<Place, Order> = BTreeMap::new();
        let mut tried: BTreeMap<Place, Order> = BTreeMap::new();
        let mut epoch = 0;
        let mut wait = RETRY_LEAST;
        loop {
            let next = {
                let orders = self.orders.borrow_and_update();
                if orders.epoch != epoch {
                    epoch = orders.epoch;
                    tried.clear();
                    done.retain(|place, _| orders.wanted.contains_key(place));
                }
                let untried = |(place, order): &(&Place, &Order)| {
                    [&done, &tried]
                        .iter()
                        .all(|known| known.get(place) != Some(order))
                };
                let next = orders.wanted.iter().find(untried);
                next.map(|(place, order)| (*place, *order))
            };
            let Some((place, order)) = next else {
                if self.orders.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let (_, plan, kind) = place;
            let result = self.read(plan, kind, order.signings).await;
            let unreachable = matches!(&result, Err(FaultCause::Client(error)) if !error.is_answer());
            match &result {
                Ok(envelope) if envelope.payload_hash() == order.hash => done.insert(place, order),
                _ if unreachable => None,
                _ => tried.insert(place, order),
            };
            let fetched = Fetched {
                member: self.member,
                plan,
                kind,
                result,
            };
            if self.fetched.send(fetched).await.is_err() {
                return;
            }
            if unreachable {
                sleep(wait).await;
                wait = (wait * 2).min(RETRY_MOST);
            } else {
                wait = RETRY_LEAST;
            }
        }
    }

    async fn read(&self, plan: Digest, kind: Kind, signings: usize) -> Result<Envelope, FaultCause> {
        let url = &self.deployment.member(self.member).url;
        let most = kind.limit_of(signings);
        let bytes = self.client.fetch(url, kind, Some(&plan), most).await?;
        Ok(Envelope::open(
            &bytes,
            kind,
            &self.deployment,
            &self.hash,
            self.member,
        )?)
    }
}
