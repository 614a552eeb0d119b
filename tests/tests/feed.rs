//! The feed of fresh blocks: a verifier has the sequencer's blocks before Bitcoin has them, finds the feed again after a
//! kill and a reorg, and takes nothing from a false one. Between both stands a relay that can lie.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use alloy_primitives::{Address, B256};
use bitcoin::key::{Keypair, Secp256k1};
use bitsect_l1::wallet::Keys;
use bitsect_node::feed::{Message, signing_key};
use bitsect_tests::{Network, NetworkOptions, Node, Wallet, assert_same, number, until};
use futures::{SinkExt, StreamExt};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

const TO: Address = Address::repeat_byte(0xfe);

/// What the relay does with messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Passes them on.
    Honest,
    /// Signs them with a key of its own.
    WrongKey,
    /// Changes the state root, and signs with the sequencer's stolen key.
    Altered,
    /// Sends something else.
    Noise,
}

/// A feed at a fixed address in front of a sequencer that moves.
struct Relay {
    url: String,
    upstream: watch::Sender<String>,
    mode: watch::Sender<Mode>,
    connections: Arc<AtomicUsize>,
}

impl Relay {
    async fn start(sequencer: &Node, stolen: Keypair) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("ws://{}/feed", listener.local_addr().expect("a bound port"));
        let (upstream, upstream_watch) = watch::channel(feed_of(sequencer));
        let (mode, mode_watch) = watch::channel(Mode::Honest);
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(relay(stream, upstream_watch.clone(), mode_watch.clone(), stolen));
            }
        });
        Self {
            url,
            upstream,
            mode,
            connections,
        }
    }

    /// Changes what it does, and waits until the verifier has refused something because of it.
    async fn lie(&self, mode: Mode, verifier: &Node, complaint: &str) {
        let before = verifier.log().matches(complaint).count();
        self.mode.send_replace(mode);
        until(&format!("the verifier to refuse ({mode:?})"), || async {
            let after = verifier.log().matches(complaint).count();
            (after > before)
                .then_some(())
                .ok_or_else(|| format!("{after} refusals"))
        })
        .await;
    }
}

fn feed_of(sequencer: &Node) -> String {
    format!("{}/feed", sequencer.rpc.url().replace("http://", "ws://"))
}

/// Carries one connection until one of its ends is gone.
async fn relay(
    stream: TcpStream,
    upstream: watch::Receiver<String>,
    mode: watch::Receiver<Mode>,
    stolen: Keypair,
) {
    let mut query = String::new();
    let callback = |request: &Request, response: Response| {
        query = request.uri().query().unwrap_or_default().to_owned();
        Ok(response)
    };
    let Ok(mut down) = tokio_tungstenite::accept_hdr_async(stream, callback).await else {
        return;
    };
    let url = format!("{}?{query}", *upstream.borrow());
    let Ok((mut up, _)) = tokio_tungstenite::connect_async(url).await else {
        return;
    };
    while let Some(Ok(frame)) = up.next().await {
        let Frame::Binary(bytes) = frame else { continue };
        let message = Message::decode(&bytes).expect("the sequencer's messages decode");
        let mode = *mode.borrow();
        let bytes = match mode {
            Mode::Honest => bytes.to_vec(),
            Mode::WrongKey => {
                let key = Keypair::from_seckey_slice(&Secp256k1::new(), &[7; 32]).expect("a key");
                Message::sign(message.chain_id, message.block, &key).encode()
            }
            Mode::Altered => {
                let mut block = message.block;
                block.header.state_root = B256::repeat_byte(1);
                Message::sign(message.chain_id, block, &stolen).encode()
            }
            Mode::Noise => b"GET / HTTP/1.1\r\n\r\n".repeat(100),
        };
        if down.send(Frame::binary(bytes)).await.is_err() {
            return;
        }
    }
}

/// Sends a transaction and waits until the verifier has its block, which no batch in Bitcoin holds. Gives its number.
async fn fresh(sequencer: &Node, verifier: &Node, alice: &mut Wallet) -> u64 {
    let hash = sequencer.rpc.sent(&alice.transfer(TO, 1)).await;
    let receipt = sequencer.rpc.included(&hash).await;
    let (block, at) = (&receipt["blockHash"], number(&receipt["blockNumber"]));
    until(&format!("fresh block {at} at the verifier"), || async {
        let got = verifier.rpc.block(at).await;
        (got["hash"] == *block)
            .then_some(())
            .ok_or_else(|| got["hash"].to_string())
    })
    .await;
    assert!(verifier.rpc.height("safe").await < at);
    at
}

#[tokio::test(flavor = "multi_thread")]
async fn fresh_blocks_come_by_the_feed_and_bitcoin_decides() {
    let network = Network::start(NetworkOptions::default()).await;
    let mut sequencer = network.sequencer().await;
    let bitcoin = bitcoin::Network::Regtest.into();
    let keys = Keys::read(&network.dir().join("sequencer/sequencer.key"), bitcoin).expect("the baton's key");
    let relay = Relay::start(&sequencer, signing_key(&keys.key(0))).await;
    let verifier = network.verifier_with_feed("verifier", &relay.url).await;
    let mut alice = Wallet::funded(0);

    // Before any batch, and again when the feed was away for a while.
    fresh(&sequencer, &verifier, &mut alice).await;
    let connections = relay.connections.load(Ordering::Relaxed);
    sequencer.kill();
    sequencer = network.sequencer().await;
    relay.upstream.send_replace(feed_of(&sequencer));
    let before = fresh(&sequencer, &verifier, &mut alice).await;
    assert!(relay.connections.load(Ordering::Relaxed) > connections);

    // A reorg takes origins away that blocks of both stand on.
    let stays = network.core.tip().await.expect("Bitcoin has a tip").height;
    network.core.mine(3).await.expect("blocks are mined");
    until("an origin that will be dropped", || async {
        let latest = sequencer.rpc.height("latest").await;
        let origin = sequencer.rpc.get("rollup_l1OriginOf", json!([latest])).await;
        let height = origin["height"].as_u64().expect("a height");
        (height > u64::from(stays))
            .then_some(())
            .ok_or_else(|| height.to_string())
    })
    .await;
    let on_origin = fresh(&sequencer, &verifier, &mut alice).await;
    let dropped = verifier.rpc.block(on_origin).await["hash"].clone();
    network.core.reorg(3, 4).await.expect("a reorg");
    network.synced(&sequencer.rpc).await;
    network.synced(&verifier.rpc).await;
    let latest = fresh(&sequencer, &verifier, &mut alice).await;
    assert!(before < on_origin && before < latest);
    network.mine_until_safe(&sequencer.rpc, latest).await;
    network.mine_until_safe(&verifier.rpc, latest).await;
    assert_same(&sequencer.rpc, &verifier.rpc, latest).await;
    assert_ne!(verifier.rpc.block(on_origin).await["hash"], dropped);

    // Lies end the connection; what Bitcoin has is the same chain.
    let known = fresh(&sequencer, &verifier, &mut alice).await;
    relay
        .lie(Mode::WrongKey, &verifier, "the signature is not by the key")
        .await;
    relay.lie(Mode::Altered, &verifier, "refused: block").await;
    relay.lie(Mode::Noise, &verifier, "message version").await;
    let hash = sequencer.rpc.sent(&alice.transfer(TO, 1)).await;
    sequencer.rpc.included(&hash).await;
    let latest = sequencer.rpc.height("latest").await;
    assert!(verifier.rpc.height("latest").await < latest && known < latest);
    network.mine_until_safe(&verifier.rpc, latest).await;
    assert_same(&sequencer.rpc, &verifier.rpc, latest).await;

    // An honest feed is followed again.
    relay.mode.send_replace(Mode::Honest);
    fresh(&sequencer, &verifier, &mut alice).await;
    assert!(!verifier.log().contains("panicked"));
}
