//! `/feed`: what a client gets, and what ends it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::key::{Keypair, Secp256k1, XOnlyPublicKey};
use futures::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tokio_util::sync::CancellationToken;

use super::Node;
use super::chain::{CHAIN, transfer};
use crate::engine::FreshBlock;
use crate::events::ChainEvent;
use crate::feed::{CLOSE_TOO_FAR, FeedMetrics, Message, Server};
use crate::rpc::config::RpcConfig;
use crate::rpc::metrics::RpcMetrics;
use crate::rpc::serve;
use crate::store::StoreError;

/// Blocks that a client may be behind here.
const REACH: u64 = 5;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

struct Feed {
    node: Node,
    at: SocketAddr,
    key: XOnlyPublicKey,
    shutdown: CancellationToken,
}

impl Feed {
    async fn start() -> Self {
        let node = Node::new();
        let registry = prometheus::Registry::new();
        let key = Keypair::from_seckey_slice(&Secp256k1::new(), &[3; 32]).unwrap();
        let metrics = FeedMetrics::new(&registry).unwrap();
        let server = Server::with_reach(
            node.chain.store.clone(),
            node.events.clone(),
            CHAIN,
            key,
            metrics,
            REACH,
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        tokio::spawn(serve(
            listener,
            crate::rpc::methods(node.context.clone()),
            Arc::new(RpcConfig::default()),
            Arc::new(RpcMetrics::new(&registry).unwrap()),
            None,
            Some(server),
            shutdown.clone(),
        ));
        let key = key.x_only_public_key().0;
        Self {
            node,
            at,
            key,
            shutdown,
        }
    }

    async fn connect(&self, from: u64) -> Result<Socket, tokio_tungstenite::tungstenite::Error> {
        let url = format!("ws://{}/feed?from={from}", self.at);
        Ok(tokio_tungstenite::connect_async(url).await?.0)
    }

    async fn next(&self, socket: &mut Socket) -> FreshBlock {
        match frame(socket).await {
            Frame::Binary(bytes) => Message::open(&bytes, CHAIN, &self.key).unwrap(),
            other => panic!("no block: {other:?}"),
        }
    }
}

async fn frame(socket: &mut Socket) -> Frame {
    let next = tokio::time::timeout(Duration::from_secs(20), socket.next());
    next.await
        .expect("a message within 20 s")
        .expect("no end")
        .expect("no error")
}

fn close_code(frame: &Frame) -> u16 {
    match frame {
        Frame::Close(Some(close)) => close.code.into(),
        other => panic!("no close: {other:?}"),
    }
}

#[tokio::test]
async fn stored_blocks_then_new_ones_then_those_that_replace_them() {
    let feed = Feed::start().await;
    let chain = &feed.node.chain;
    let first = chain.block(vec![transfer(0, 0)], None);
    let second = chain.block(vec![transfer(0, 1), transfer(1, 0)], None);
    let mut socket = feed.connect(0).await.unwrap();
    let got = feed.next(&mut socket).await;
    assert_eq!((got.header.hash_slow(), got.sequenced.len()), (first.hash, 1));
    let got = feed.next(&mut socket).await;
    assert_eq!(got.header.hash_slow(), second.hash);
    assert_eq!(got.sequenced, vec![transfer(0, 1), transfer(1, 0)]);
    let announce = || drop(feed.node.events.send(ChainEvent::default()));
    let third = chain.block(Vec::new(), None);
    announce();
    assert_eq!(feed.next(&mut socket).await.header.hash_slow(), third.hash);
    chain
        .store
        .write::<_, StoreError>(|writer| writer.rollback_latest_to(1).map(drop))
        .unwrap();
    let other = chain.block(vec![transfer(2, 0)], None);
    announce();
    // From the safe block on, which is block 0.
    assert_eq!(feed.next(&mut socket).await.header.hash_slow(), first.hash);
    assert_eq!(feed.next(&mut socket).await.header.hash_slow(), other.hash);
    // A client that is ahead gets what is there: so it sees where the chains part.
    let mut ahead = feed.connect(50).await.unwrap();
    assert_eq!(feed.next(&mut ahead).await.header.hash_slow(), first.hash);
    assert_eq!(feed.next(&mut ahead).await.header.hash_slow(), other.hash);
    feed.shutdown.cancel();
    assert_eq!(close_code(&frame(&mut ahead).await), 1001);
}

#[tokio::test]
async fn clients_are_bounded_and_only_listen() {
    let feed = Feed::start().await;
    let mut sockets = Vec::new();
    for _ in 0..64 {
        sockets.push(feed.connect(1).await.unwrap());
    }
    assert!(feed.connect(1).await.is_err(), "64 clients at a time");
    let mut talker = sockets.pop().unwrap();
    talker.send(Frame::text("hello")).await.unwrap();
    assert_eq!(close_code(&frame(&mut talker).await), 1008);
    drop(sockets);
    let plain = reqwest::get(format!("http://{}/feed?from=1", feed.at))
        .await
        .unwrap();
    assert_eq!(plain.status().as_u16(), 400);
    let url = format!("ws://{}/feed", feed.at);
    assert!(tokio_tungstenite::connect_async(url).await.is_err(), "no number");
}

#[tokio::test]
async fn a_client_too_far_behind_is_told_so() {
    let feed = Feed::start().await;
    for _ in 0..=REACH + 1 {
        feed.node.chain.block(Vec::new(), None);
    }
    let mut socket = feed.connect(1).await.unwrap();
    assert_eq!(close_code(&frame(&mut socket).await), CLOSE_TOO_FAR);
    let mut socket = feed.connect(2).await.unwrap();
    assert_eq!(feed.next(&mut socket).await.header.number, 2);
}
