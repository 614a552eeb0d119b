//! JSON-RPC over WebSocket, with subscriptions.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use jsonrpsee::core::server::{BoundedSubscriptions, ConnectionId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::ws::{Message, WebSocket, Ws};
use warp::{Filter, Reply};

use super::super::dispatch::{Connection, Notifications};
use super::{Shared, authorized};

/// Messages of one connection that may wait for the socket.
const SEND_BUFFER: usize = 256;
/// How often a quiet connection is pinged.
const PING_EVERY: Duration = Duration::from_secs(30);
/// How long one message may take to be written before the connection is given up.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// Pings without any sign of life after which the connection is given up.
const MAX_MISSED_PINGS: u32 = 3;

pub(super) fn route(shared: Arc<Shared>, token: Option<String>) -> BoxedFilter<(warp::reply::Response,)> {
    let path = warp::path::end()
        .or(warp::path("ws").and(warp::path::end()))
        .unify();
    path.and(warp::ws())
        .and(warp::header::optional::<String>("authorization"))
        .map(move |ws: Ws, authorization: Option<String>| {
            if !authorized(token.as_deref(), authorization.as_deref()) {
                return StatusCode::UNAUTHORIZED.into_response();
            }
            let Ok(permit) = shared.connections.clone().try_acquire_owned() else {
                return StatusCode::SERVICE_UNAVAILABLE.into_response();
            };
            let shared = shared.clone();
            let limit = shared.config.max_body;
            ws.max_message_size(limit)
                .max_frame_size(limit)
                .on_upgrade(move |socket| run(shared, socket, permit))
                .into_response()
        })
        .boxed()
}

async fn run(shared: Arc<Shared>, socket: WebSocket, permit: OwnedSemaphorePermit) {
    shared.metrics.connections.inc();
    let (sink, stream) = socket.split();
    let (sender, receiver) = mpsc::channel(SEND_BUFFER);
    // Ends the connection's tasks: what they hold would otherwise keep the writer waiting for more.
    let ended = CancellationToken::new();
    let writer = tokio::spawn(write(sink, receiver, ended.clone()));
    let connection = Arc::new(Connection {
        id: ConnectionId(shared.connection_id()),
        subscriptions: BoundedSubscriptions::new(shared.config.max_subscriptions),
    });
    tokio::select! {
        () = read(&shared, &connection, stream, &sender, &ended) => ended.cancel(),
        () = sender.closed() => ended.cancel(),
        () = shared.shutdown.cancelled() => {
            // The peer may be gone already.
            drop(sender.try_send(Message::close_with(1001u16, "the node is shutting down")));
        }
    }
    drop(sender);
    if let Err(error) = writer.await {
        tracing::error!(%error, "a WebSocket's writer failed");
    }
    ended.cancel();
    shared.metrics.connections.dec();
    drop(permit);
}

/// Reads requests until the peer leaves; each runs by itself, so that a slow one does not hold up the others.
async fn read(
    shared: &Arc<Shared>,
    connection: &Arc<Connection>,
    mut stream: SplitStream<WebSocket>,
    sender: &mpsc::Sender<Message>,
    ended: &CancellationToken,
) {
    let running = Arc::new(Semaphore::new(shared.config.max_concurrent));
    let mut missed = 0u32;
    loop {
        let message = match tokio::time::timeout(PING_EVERY, stream.next()).await {
            Ok(Some(Ok(message))) => message,
            // Closed, or a message over the limit, after which the stream cannot be read on.
            Ok(Some(Err(_)) | None) => return,
            Err(_) if missed >= MAX_MISSED_PINGS => return,
            Err(_) => {
                missed = missed.saturating_add(1);
                if sender.send(Message::ping(Vec::new())).await.is_err() {
                    return;
                }
                continue;
            }
        };
        missed = 0;
        if message.is_close() {
            return;
        }
        if !message.is_text() && !message.is_binary() {
            continue;
        }
        let Ok(place) = running.clone().acquire_owned().await else {
            return;
        };
        let (shared, connection) = (shared.clone(), connection.clone());
        let (sender, ended) = (sender.clone(), ended.clone());
        tokio::spawn(async move {
            let outcome = shared
                .dispatcher
                .handle(message.as_bytes(), Some(&connection))
                .await;
            if let Some(response) = outcome.response
                && sender.send(Message::text(response)).await.is_err()
            {
                return;
            }
            drop(place);
            for stream in outcome.streams {
                tokio::spawn(forward(shared.clone(), stream, sender.clone(), ended.clone()));
            }
        });
    }
}

/// Carries one subscription's notifications to the socket. When this ends the subscription sees its receiver
/// gone, and ends too.
async fn forward(
    shared: Arc<Shared>,
    mut stream: Notifications,
    sender: mpsc::Sender<Message>,
    ended: CancellationToken,
) {
    shared.metrics.subscriptions.inc();
    loop {
        let notification = tokio::select! {
            notification = stream.recv() => notification,
            () = sender.closed() => None,
            () = ended.cancelled() => None,
            // Without this, idle subscriptions would keep the writer, and with it the connection, open.
            () = shared.shutdown.cancelled() => None,
        };
        let Some(notification) = notification else { break };
        if sender
            .send(Message::text(notification.get().to_owned()))
            .await
            .is_err()
        {
            break;
        }
    }
    shared.metrics.subscriptions.dec();
}

/// Writes messages until the connection has ended, or the peer does not read any more.
async fn write(
    mut sink: SplitSink<WebSocket, Message>,
    mut messages: mpsc::Receiver<Message>,
    ended: CancellationToken,
) {
    loop {
        let message = tokio::select! {
            message = messages.recv() => message,
            () = ended.cancelled() => None,
        };
        let Some(message) = message else { break };
        let last = message.is_close();
        match tokio::time::timeout(SEND_TIMEOUT, sink.send(message)).await {
            Ok(Ok(())) if !last => {}
            _ => break,
        }
    }
    messages.close();
    // The peer may be gone already; there is nothing left to tell it.
    drop(tokio::time::timeout(SEND_TIMEOUT, sink.close()).await);
}
