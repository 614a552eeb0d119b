//! The sequencer's end of the feed.
//!
//! Each client has a place in the stored chain and is sent what follows it, one message at a time. So nothing queues up
//! in memory for a slow client, and the engine never waits for one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::B256;
use bitcoin::key::Keypair;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};
use tokio_util::sync::CancellationToken;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::hyper::body::Bytes;
use warp::ws::{Message as Frame, WebSocket, Ws};
use warp::{Filter, Reply};

use super::{CLOSE_TOO_FAR, FeedMetrics, MAX_BEHIND, MAX_MESSAGE, Message};
use crate::engine::FreshBlock;
use crate::events::ChainEvent;
use crate::store::{Head, Store, StoreError};

/// Clients at the same time; more verifiers are served by asking them to share one that relays JSON-RPC.
const MAX_CLIENTS: usize = 64;
/// Bytes that a client may send in one message; it has nothing to say.
const MAX_REQUEST: usize = 1_024;
/// How long one message may take to be written: a client that is slower is dropped.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a quiet connection is pinged, so that the client knows that it lives.
const PING_EVERY: Duration = Duration::from_secs(15);
/// Encoded messages that are kept for all clients: each block is signed once while clients are up to date.
const KEPT_MESSAGES: usize = 64;
/// Bytes of them.
const KEPT_BYTES: usize = 32 << 20;

const AWAY: u16 = 1_001;
const POLICY: u16 = 1_008;
const FAULT: u16 = 1_011;

/// Serves fresh blocks to verifiers; clones share everything.
#[derive(Clone)]
pub struct Server(Arc<Shared>);

struct Shared {
    store: Store,
    events: broadcast::Sender<ChainEvent>,
    chain_id: u64,
    key: Keypair,
    metrics: FeedMetrics,
    reach: u64,
    places: Arc<Semaphore>,
    kept: Mutex<Kept>,
}

#[derive(Deserialize)]
struct Query {
    from: u64,
}

/// What a client is to be sent.
enum Next {
    Message(Bytes, B256),
    /// The block before is not the one that was sent: go on from this number.
    Rewind(u64),
    UpToDate,
    TooFar,
}

impl Server {
    /// Makes the server; `key` is [`super::signing_key`].
    pub fn new(
        store: Store,
        events: broadcast::Sender<ChainEvent>,
        chain_id: u64,
        key: Keypair,
        metrics: FeedMetrics,
    ) -> Self {
        Self::with_reach(store, events, chain_id, key, metrics, MAX_BEHIND)
    }

    /// Makes a server whose clients may be another number of blocks behind.
    pub(crate) fn with_reach(
        store: Store,
        events: broadcast::Sender<ChainEvent>,
        chain_id: u64,
        key: Keypair,
        metrics: FeedMetrics,
        reach: u64,
    ) -> Self {
        Self(Arc::new(Shared {
            store,
            events,
            chain_id,
            key,
            metrics,
            reach,
            places: Arc::new(Semaphore::new(MAX_CLIENTS)),
            kept: Mutex::default(),
        }))
    }

    /// Gives the route `/feed?from=N`.
    pub(crate) fn route(&self, shutdown: CancellationToken) -> BoxedFilter<(warp::reply::Response,)> {
        let server = self.clone();
        warp::path!("feed")
            .and(warp::ws())
            .and(warp::query::<Query>())
            .map(move |ws: Ws, query: Query| {
                let Ok(place) = server.0.places.clone().try_acquire_owned() else {
                    return StatusCode::SERVICE_UNAVAILABLE.into_response();
                };
                let (server, shutdown) = (server.clone(), shutdown.clone());
                ws.max_message_size(MAX_REQUEST)
                    .max_frame_size(MAX_REQUEST)
                    .on_upgrade(move |socket| server.run(socket, query.from, place, shutdown))
                    .into_response()
            })
            .boxed()
    }

    async fn run(
        self,
        socket: WebSocket,
        from: u64,
        place: OwnedSemaphorePermit,
        shutdown: CancellationToken,
    ) {
        self.0.metrics.clients.inc();
        let (mut sink, mut stream) = socket.split();
        let end = tokio::select! {
            () = shutdown.cancelled() => Some((AWAY, "the node is shutting down")),
            end = self.send_blocks(&mut sink, from) => end,
            end = read(&mut stream) => end,
        };
        if let Some((code, reason)) = end {
            // The client may be gone already.
            let _ = send(&mut sink, Frame::close_with(code, reason)).await;
        }
        drop(tokio::time::timeout(SEND_TIMEOUT, sink.close()).await);
        self.0.metrics.clients.dec();
        drop(place);
    }

    /// Sends blocks until something ends it; gives what the client is to be told.
    async fn send_blocks(
        &self,
        sink: &mut SplitSink<WebSocket, Frame>,
        from: u64,
    ) -> Option<(u16, &'static str)> {
        // Events only wake this up; what is sent is what the store has then.
        let mut events = self.0.events.subscribe();
        let mut next = from;
        let mut sent = None;
        loop {
            match self.next(next, sent).await {
                Ok(Next::Message(bytes, hash)) => {
                    send(sink, Frame::binary(bytes)).await?;
                    sent = Some(hash);
                    next += 1;
                }
                Ok(Next::Rewind(to)) => (next, sent) = (to, None),
                Ok(Next::UpToDate) => match tokio::time::timeout(PING_EVERY, events.recv()).await {
                    Ok(Ok(_) | Err(broadcast::error::RecvError::Lagged(_))) => {}
                    Ok(Err(broadcast::error::RecvError::Closed)) => return Some((AWAY, "the node stops")),
                    Err(_) => send(sink, Frame::ping(Bytes::new())).await?,
                },
                Ok(Next::TooFar) => return Some((CLOSE_TOO_FAR, "too far behind: derive from Bitcoin")),
                Err(error) => {
                    tracing::error!(%error, "failed to read a block for the feed");
                    return Some((FAULT, "the node cannot read its store"));
                }
            }
        }
    }

    async fn next(
        &self,
        number: u64,
        sent: Option<B256>,
    ) -> Result<Next, Box<dyn std::error::Error + Send + Sync>> {
        let shared = Arc::clone(&self.0);
        Ok(tokio::task::spawn_blocking(move || shared.next(number, sent)).await??)
    }
}

impl Shared {
    fn next(&self, number: u64, sent: Option<B256>) -> Result<Next, StoreError> {
        let snapshot = self.store.read()?;
        let latest = snapshot.head(Head::Latest)?.number;
        let parent = match number.checked_sub(1) {
            Some(parent) => snapshot.block_hash(parent)?,
            // Block 0 is everybody's already.
            None => return Ok(Next::Rewind(1)),
        };
        let replaced = parent.is_none() || sent.is_some_and(|sent| parent != Some(sent));
        if replaced {
            let safe = snapshot.head(Head::Safe)?.number;
            return Ok(Next::Rewind(safe.max(latest.saturating_sub(self.reach)) + 1));
        }
        if latest.saturating_sub(number) > self.reach {
            return Ok(Next::TooFar);
        }
        let Some(stored) = snapshot.header(number)? else {
            return Ok(Next::UpToDate);
        };
        let hash = stored.hash;
        if let Some(bytes) = self.kept.lock().get(hash) {
            return Ok(Next::Message(bytes, hash));
        }
        let body = snapshot.body(number)?.unwrap_or_default();
        let inbox = usize::try_from(stored.inbox_count).unwrap_or(usize::MAX);
        let block = FreshBlock {
            header: stored.header,
            sequenced: body.into_iter().skip(inbox).map(|(_, tx)| tx).collect(),
        };
        drop(snapshot);
        let bytes = Bytes::from(Message::sign(self.chain_id, block, &self.key).encode());
        if bytes.len() > MAX_MESSAGE {
            // Only a block that another sequencer put into a batch can be that large.
            tracing::warn!(number, bytes = bytes.len(), "a block does not fit into the feed");
            return Ok(Next::TooFar);
        }
        self.kept.lock().push(hash, bytes.clone());
        Ok(Next::Message(bytes, hash))
    }
}

/// Reads until the client leaves, or says anything.
async fn read(stream: &mut SplitStream<WebSocket>) -> Option<(u16, &'static str)> {
    loop {
        match stream.next().await {
            Some(Ok(frame)) if frame.is_ping() || frame.is_pong() => {}
            Some(Ok(frame)) if !frame.is_close() => return Some((POLICY, "the feed only sends")),
            _ => return None,
        }
    }
}

/// Sends a frame; `None` when the client does not take it.
async fn send(sink: &mut SplitSink<WebSocket, Frame>, frame: Frame) -> Option<()> {
    tokio::time::timeout(SEND_TIMEOUT, sink.send(frame))
        .await
        .ok()?
        .ok()
}

/// The newest messages, by their block's hash.
#[derive(Default)]
struct Kept {
    messages: VecDeque<(B256, Bytes)>,
    bytes: usize,
}

impl Kept {
    fn get(&self, hash: B256) -> Option<Bytes> {
        let mut newest_first = self.messages.iter().rev();
        newest_first
            .find(|(kept, _)| *kept == hash)
            .map(|(_, bytes)| bytes.clone())
    }

    fn push(&mut self, hash: B256, bytes: Bytes) {
        self.bytes += bytes.len();
        self.messages.push_back((hash, bytes));
        while self.messages.len() > KEPT_MESSAGES || self.bytes > KEPT_BYTES {
            let Some((_, bytes)) = self.messages.pop_front() else {
                return;
            };
            self.bytes -= bytes.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_messages_are_bounded() {
        let mut kept = Kept::default();
        for n in 0..100_u8 {
            kept.push(B256::repeat_byte(n), Bytes::from(vec![n]));
        }
        assert_eq!(kept.messages.len(), KEPT_MESSAGES);
        assert_eq!(kept.get(B256::repeat_byte(99)).as_deref(), Some([99].as_slice()));
        assert_eq!(kept.get(B256::repeat_byte(0)), None);
        kept.push(B256::ZERO, Bytes::from(vec![0; KEPT_BYTES]));
        assert_eq!((kept.messages.len(), kept.bytes), (1, KEPT_BYTES));
    }
}
