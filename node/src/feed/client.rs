//! A verifier's end of the feed: it connects, checks, imports, and connects again. Nothing that the other side says ends
//! it or the node; what does not verify ends the connection.

use std::time::Duration;

use alloy_primitives::B256;
use bitcoin::key::XOnlyPublicKey;
use bitsect_l1::rpc::RpcError;
use bitsect_vm::chain::OutPoint;
use futures::StreamExt;
use rand::Rng;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message as Frame};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};
use tokio_util::sync::CancellationToken;

use super::pending::Pending;
use super::{FeedMetrics, MAX_MESSAGE, Message, MessageError};
use crate::convert;
use crate::engine::{EngineError, EngineHandle, FeedFault};

/// How long connecting may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// After which silence a connection counts as dead; the server pings four times as often.
const SILENCE: Duration = Duration::from_secs(60);
/// The first pause before connecting again, and the longest; each is twice the one before.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_LONGEST: Duration = Duration::from_secs(30);

/// Follows a sequencer's feed.
pub struct Client {
    /// Where it is: `ws://host:port/feed`.
    pub url: String,
    /// The EIP-155 chain id.
    pub chain_id: u64,
    /// Who imports blocks.
    pub engine: EngineHandle,
    /// Bitcoin Core, which knows the baton's script.
    pub l1: bitsect_l1::rpc::Client,
    /// What is counted.
    pub metrics: FeedMetrics,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("no connection: {0}")]
    Connect(Box<SocketError>),
    #[error("no connection within {} s", CONNECT_WITHIN.as_secs())]
    ConnectTimeout,
    #[error("Bitcoin Core does not tell the baton's script: {0}")]
    Key(#[from] RpcError),
    #[error("the connection broke: {0}")]
    Broken(Box<SocketError>),
    #[error("the sequencer closed the connection: {0:?}")]
    Closed(String),
    #[error("nothing came for {} s", SILENCE.as_secs())]
    Silent,
    #[error("refused: {0}")]
    Message(#[from] MessageError),
    #[error("refused: {0}")]
    Block(EngineError),
    #[error("the block does not follow: {0}")]
    Gap(EngineError),
    #[error("too many blocks wait for Bitcoin")]
    Full,
    #[error("the engine ended: {0}")]
    Engine(EngineError),
}

/// The block from which a connection asks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    /// The one after the latest.
    Latest,
    /// The one after the safe head: the sequencer's blocks part from ours somewhere above it.
    Safe,
}

/// The key that signs the feed, and the baton that it belongs to.
struct FeedKey {
    baton: OutPoint,
    key: XOnlyPublicKey,
}

type Socket = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

impl Client {
    /// Follows the feed until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.follow() => stop.cancelled().await,
        }
        self.metrics.connected.set(0);
    }

    /// Connects again and again; ends with the engine.
    async fn follow(&self) {
        let (mut from, mut pause) = (From::Latest, PAUSE_FIRST);
        loop {
            // Before that, fresh blocks stand on origins that are far ahead.
            let mut status = self.engine.watch();
            if status.wait_for(|status| status.l1_synced).await.is_err() {
                return;
            }
            let taken = self.metrics.received.get();
            let ended = self.connection(from).await;
            self.metrics.connected.set(0);
            if self.metrics.received.get() > taken {
                pause = PAUSE_FIRST;
            }
            match &ended {
                Ended::Engine(_) => return,
                Ended::Gap(_) if from == From::Latest => {
                    tracing::debug!(reason = %ended, "asking the feed again from the safe block");
                    from = From::Safe;
                    continue;
                }
                Ended::Message(_) | Ended::Block(_) => {
                    self.metrics.refused.inc();
                    tracing::warn!(url = self.url, reason = %ended, "the feed is dropped for now");
                }
                _ => tracing::info!(url = self.url, reason = %ended, "the feed is not followed for now"),
            }
            from = From::Latest;
            // Not all verifiers at the same moment.
            let part = rand::rng().random_range(0.5..1.0);
            tokio::time::sleep(pause.mul_f64(part)).await;
            pause = (pause * 2).min(PAUSE_LONGEST);
        }
    }

    /// Follows one connection to its end.
    async fn connection(&self, from: From) -> Ended {
        let mut key = match self.first_key().await {
            Ok(key) => key,
            Err(ended) => return ended,
        };
        let mut socket = match self.connect(from).await {
            Ok(socket) => socket,
            Err(ended) => return ended,
        };
        self.metrics.connected.set(1);
        tracing::info!(url = self.url, key = %key.key, "following the feed");
        let mut pending = Pending::default();
        loop {
            if let Err(ended) = self.step(&mut socket, &mut pending, &mut key).await {
                return ended;
            }
        }
    }

    /// Imports what waits, then waits for a message, or for Bitcoin when that is what the next block lacks.
    async fn step(&self, socket: &mut Socket, pending: &mut Pending, key: &mut FeedKey) -> Result<(), Ended> {
        let waits_at = self.import(pending).await?;
        let mut status = self.engine.watch();
        let l1_moves = async {
            match waits_at {
                Some(hash) => drop(status.wait_for(|status| status.l1_hash != hash).await),
                None => std::future::pending().await,
            }
        };
        let message = tokio::select! {
            message = tokio::time::timeout(SILENCE, socket.next()) => message,
            () = l1_moves => return Ok(()),
        };
        let bytes = match message.map_err(|_| Ended::Silent)? {
            Some(Ok(Frame::Binary(bytes))) => bytes,
            Some(Ok(Frame::Close(frame))) => {
                let reason = frame.map(|frame| format!("{} {}", frame.code, frame.reason));
                return Err(Ended::Closed(reason.unwrap_or_default()));
            }
            Some(Ok(_)) => return Ok(()),
            Some(Err(error)) => return Err(Ended::Broken(error.into())),
            None => return Err(Ended::Closed(String::new())),
        };
        self.renew_key(key).await;
        let block = Message::open(&bytes, self.chain_id, &key.key)?;
        pending.push(block, bytes.len()).map_err(|_| Ended::Full)
    }

    /// Imports waiting blocks in order. Gives the L1 block that was the last one when a block's origin was not known.
    async fn import(&self, pending: &mut Pending) -> Result<Option<B256>, Ended> {
        while let Some(block) = pending.first() {
            let l1 = self.engine.status().l1_hash;
            match self.engine.import(block.clone()).await {
                Ok(()) => {
                    self.metrics.received.inc();
                    pending.pop();
                }
                Err(EngineError::Feed {
                    fault: FeedFault::Origin { .. },
                    ..
                }) => return Ok(Some(l1)),
                Err(
                    error @ EngineError::Feed {
                        fault: FeedFault::Parent { .. },
                        ..
                    },
                ) => return Err(Ended::Gap(error)),
                Err(error @ EngineError::Feed { .. }) => return Err(Ended::Block(error)),
                Err(error) => return Err(Ended::Engine(error)),
            }
        }
        Ok(None)
    }

    async fn connect(&self, from: From) -> Result<Socket, Ended> {
        let status = self.engine.status();
        let head = match from {
            From::Latest => status.latest,
            From::Safe => status.safe,
        };
        let url = format!("{}?from={}", self.url, head.number + 1);
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        let connecting = connect_async_with_config(url, Some(config), true);
        match tokio::time::timeout(CONNECT_WITHIN, connecting).await {
            Ok(Ok((socket, _))) => Ok(socket),
            Ok(Err(error)) => Err(Ended::Connect(error.into())),
            Err(_) => Err(Ended::ConnectTimeout),
        }
    }

    /// Waits until the baton as it is derived is unspent in Bitcoin Core too, and gives its key.
    async fn first_key(&self) -> Result<FeedKey, Ended> {
        let mut status = self.engine.watch();
        loop {
            let baton = status.borrow_and_update().baton;
            if let Some(key) = self.find_key(&baton).await? {
                return Ok(FeedKey { baton, key });
            }
            let moved = status.wait_for(|status| status.baton != baton).await.map(|_| ());
            moved.map_err(|_| Ended::Engine(EngineError::Stopped))?;
        }
    }

    /// Looks the key up again when the baton has moved: sequencing may have been handed over. Core may have spent the
    /// new baton already; then the next one tells.
    async fn renew_key(&self, key: &mut FeedKey) {
        let baton = self.engine.status().baton;
        if baton == key.baton {
            return;
        }
        match self.find_key(&baton).await {
            Ok(Some(found)) => *key = FeedKey { baton, key: found },
            Ok(None) => key.baton = baton,
            Err(error) => tracing::debug!(%error, "the baton's key is asked for again with the next block"),
        }
    }

    /// Gives the output key of the baton; `None` when it is spent, or is no taproot output.
    async fn find_key(&self, baton: &OutPoint) -> Result<Option<XOnlyPublicKey>, RpcError> {
        let output = self.l1.get_tx_out(&convert::outpoint(baton), false).await?;
        let Some(script) = output.map(|output| output.script_pubkey) else {
            return Ok(None);
        };
        // OP_1 and a push of 32 bytes come before the key.
        let key = script.is_p2tr().then(|| script.as_bytes().get(2..)).flatten();
        let key = key.and_then(|key| XOnlyPublicKey::from_slice(key).ok());
        if key.is_none() {
            tracing::warn!(?baton, %script, "the baton is no taproot output: nobody can sign a feed with it");
        }
        Ok(key)
    }
}
