//! The listeners: HTTP, WebSocket, admin and metrics.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use super::Node;
use super::chain::{address, deploy, poke, raw, transfer};
use crate::events::ChainEvent;
use crate::rpc::config::RpcConfig;
use crate::rpc::metrics::RpcMetrics;
use crate::rpc::{LateAnswer, Monitor, serve, serve_monitor};

/// A running listener.
struct Server {
    node: Node,
    at: SocketAddr,
    client: reqwest::Client,
    shutdown: CancellationToken,
}

impl Server {
    async fn start(config: RpcConfig, token: Option<&str>) -> Self {
        let node = Node::with(config.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let metrics = Arc::new(RpcMetrics::new(&prometheus::Registry::new()).unwrap());
        let methods = crate::rpc::methods(node.context.clone());
        let token = token.map(str::to_owned);
        tokio::spawn(serve(
            listener,
            methods,
            Arc::new(config),
            metrics,
            token,
            None,
            shutdown.clone(),
        ));
        Self {
            node,
            at,
            client: reqwest::Client::new(),
            shutdown,
        }
    }

    fn post(&self, body: impl Into<reqwest::Body>) -> reqwest::RequestBuilder {
        let request = self.client.post(format!("http://{}/", self.at)).body(body);
        request.header("content-type", "application/json")
    }

    async fn connect(&self) -> Socket {
        let (socket, _) = tokio_tungstenite::connect_async(format!("ws://{}/", self.at))
            .await
            .unwrap();
        Socket { socket, id: 0 }
    }
}

struct Socket {
    socket: tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>,
    id: u64,
}

impl Socket {
    async fn next(&mut self) -> Value {
        let next = tokio::time::timeout(Duration::from_secs(20), self.socket.next());
        match next.await.expect("a message within 20 s") {
            Some(Ok(Message::Text(text))) => serde_json::from_str(&text).unwrap(),
            other => panic!("no text: {other:?}"),
        }
    }

    async fn call(&mut self, method: &str, params: Value) -> Value {
        self.id += 1;
        let request = json!({ "jsonrpc": "2.0", "id": self.id, "method": method, "params": params });
        self.socket
            .send(Message::text(request.to_string()))
            .await
            .unwrap();
        let response = self.next().await;
        assert_eq!(response["id"], self.id);
        response
    }

    async fn subscribe(&mut self, params: Value) -> String {
        self.call("eth_subscribe", params).await["result"]
            .as_str()
            .unwrap()
            .to_owned()
    }
}

const CHAIN_ID: &str = r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}"#;

#[tokio::test]
async fn http_answers_and_refuses() {
    let server = Server::start(
        RpcConfig {
            max_body: 10_000,
            ..RpcConfig::default()
        },
        None,
    )
    .await;
    let response = server.post(CHAIN_ID).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(
        response.text().await.unwrap(),
        r#"{"jsonrpc":"2.0","id":1,"result":"0x20ba"}"#
    );
    let status = |request: reqwest::RequestBuilder| async { request.send().await.unwrap().status().as_u16() };
    assert_eq!(status(server.post("{")).await, 200);
    assert_eq!(
        status(server.post(r#"{"jsonrpc":"2.0","method":"eth_chainId"}"#)).await,
        204
    );
    assert_eq!(status(server.post(" ".repeat(10_001))).await, 413);
    let typed = server
        .client
        .post(format!("http://{}/", server.at))
        .body(CHAIN_ID);
    assert_eq!(status(typed.header("content-type", "text/plain")).await, 415);
    assert_eq!(
        status(server.post(CHAIN_ID).header("content-encoding", "br")).await,
        415
    );
    assert_eq!(
        status(server.client.put(format!("http://{}/", server.at))).await,
        405
    );
    assert_eq!(
        status(server.client.post(format!("http://{}/x", server.at))).await,
        404
    );
    server.shutdown.cancel();
}

#[tokio::test]
async fn the_status_page_is_strict_about_what_it_loads() {
    let server = Server::start(RpcConfig::default(), None).await;
    let get = |path: &'static str| {
        let request = server.client.get(format!("http://{}{path}", server.at));
        async { request.header("accept", "text/html").send().await.unwrap() }
    };
    let kinds = [
        ("/", "text/html"),
        ("/status.css", "text/css"),
        ("/status.js", "text/javascript"),
    ];
    for (path, kind) in kinds {
        let response = get(path).await;
        assert_eq!(response.status().as_u16(), 200, "{path}");
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("content-type"), format!("{kind}; charset=utf-8"));
        assert_eq!(header("x-content-type-options"), "nosniff");
        let policy = header("content-security-policy");
        assert!(policy.starts_with("default-src 'none';"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
    }
    let page = get("/").await.text().await.unwrap();
    // The policy would refuse these in a browser.
    for inline in ["<style", " style=", " onclick", "<script>", "://"] {
        assert!(!page.contains(inline), "{inline}");
    }
    let admin = Server::start(RpcConfig::default(), Some("secret")).await;
    let request = admin.client.get(format!("http://{}/", admin.at));
    assert_eq!(request.send().await.unwrap().status().as_u16(), 405);
}

#[tokio::test]
async fn http_speaks_gzip_both_ways() {
    use std::io::{Read, Write};
    let server = Server::start(
        RpcConfig {
            max_body: 100_000,
            ..RpcConfig::default()
        },
        None,
    )
    .await;
    let pack = |data: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    };
    let discover = r#"{"jsonrpc":"2.0","id":1,"method":"rollup_discover"}"#;
    let request = server
        .post(pack(discover.as_bytes()))
        .header("content-encoding", "gzip");
    let response = request
        .header("accept-encoding", "gzip, br")
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let mut text = String::new();
    flate2::read::GzDecoder::new(&response.bytes().await.unwrap()[..])
        .read_to_string(&mut text)
        .unwrap();
    assert!(serde_json::from_str::<Value>(&text).unwrap()["result"]["methods"].is_array());
    let plain = server
        .post(discover)
        .header("accept-encoding", "gzip;q=0")
        .send()
        .await
        .unwrap();
    assert!(plain.headers().get("content-encoding").is_none());
    let bomb = server
        .post(pack(&[b' '; 1_000_000]))
        .header("content-encoding", "gzip");
    assert_eq!(bomb.send().await.unwrap().status().as_u16(), 413);
}

#[tokio::test]
async fn browsers_are_let_in_by_origin() {
    let origins = vec!["https://app.example".to_owned(), "not an origin".to_owned()];
    let server = Server::start(
        RpcConfig {
            cors_origins: origins,
            ..RpcConfig::default()
        },
        None,
    )
    .await;
    let preflight = |origin: &'static str| {
        let request = server
            .client
            .request(reqwest::Method::OPTIONS, format!("http://{}/", server.at));
        let request = request
            .header("origin", origin)
            .header("access-control-request-method", "POST");
        request
            .header("access-control-request-headers", "content-type")
            .send()
    };
    let allowed = preflight("https://app.example").await.unwrap();
    assert_eq!(allowed.status().as_u16(), 200);
    assert_eq!(
        allowed.headers()["access-control-allow-origin"],
        "https://app.example"
    );
    assert_eq!(
        preflight("https://other.example")
            .await
            .unwrap()
            .status()
            .as_u16(),
        403
    );
}

#[tokio::test]
async fn the_admin_listener_asks_for_its_token() {
    let server = Server::start(RpcConfig::default(), Some("secret")).await;
    let status = |token: Option<&'static str>| {
        let request = server.post(CHAIN_ID);
        let request = match token {
            Some(token) => request.header("authorization", token),
            None => request,
        };
        async { request.send().await.unwrap().status().as_u16() }
    };
    assert_eq!(status(None).await, 401);
    assert_eq!(status(Some("Bearer secreT")).await, 401);
    assert_eq!(status(Some("Bearer secret0")).await, 401);
    assert_eq!(status(Some("Bearer secret")).await, 200);
    assert!(
        tokio_tungstenite::connect_async(format!("ws://{}/", server.at))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn subscriptions_follow_the_chain_and_its_reorgs() {
    let server = Server::start(RpcConfig::default(), None).await;
    let chain = &server.node.chain;
    let mut socket = server.connect().await;
    let heads = socket.subscribe(json!(["newHeads"])).await;
    assert!(heads.starts_with("0x"));
    chain.block(vec![deploy(0, 0)], None);
    let second = chain.block(vec![poke(0, 1, address(0).create(0), 7)], None);
    let logs = {
        let mut other = server.connect().await;
        let logs = other
            .subscribe(json!(["logs", { "topics": [format!("0x{:064x}", 7)] }]))
            .await;
        server
            .node
            .events
            .send(ChainEvent {
                added: vec![second],
                ..ChainEvent::default()
            })
            .unwrap();
        let log = other.next().await;
        assert_eq!(log["method"], "eth_subscription");
        assert_eq!(log["params"]["subscription"], logs);
        assert_eq!(log["params"]["result"]["removed"], false);
        server
            .node
            .events
            .send(ChainEvent {
                removed: vec![second],
                ..ChainEvent::default()
            })
            .unwrap();
        let gone = other.next().await;
        assert_eq!(gone["params"]["result"]["removed"], true);
        assert_eq!(
            gone["params"]["result"]["blockHash"],
            log["params"]["result"]["blockHash"]
        );
        // Another connection's subscription cannot be ended.
        assert_eq!(
            socket.next().await["params"]["result"]["hash"],
            json!(second.hash)
        );
        assert_eq!(
            socket.call("eth_unsubscribe", json!([logs])).await["result"],
            false
        );
        logs
    };
    assert_ne!(heads, logs);
    let pending = socket.subscribe(json!(["newPendingTransactions"])).await;
    let tx = transfer(1, 0);
    server
        .node
        .pool()
        .add(alloy_primitives::hex::decode(raw(&tx)).unwrap().into())
        .await
        .unwrap();
    let hash = socket.next().await;
    assert_eq!(
        (&hash["params"]["subscription"], &hash["params"]["result"]),
        (&json!(pending), &json!(tx.tx_hash()))
    );
    socket.subscribe(json!(["newPendingTransactions", true])).await;
    assert_eq!(
        socket.call("eth_unsubscribe", json!([pending])).await["result"],
        true
    );
    let tx = transfer(1, 1);
    server
        .node
        .pool()
        .add(alloy_primitives::hex::decode(raw(&tx)).unwrap().into())
        .await
        .unwrap();
    assert_eq!(
        socket.next().await["params"]["result"]["hash"],
        json!(tx.tx_hash())
    );
    socket.subscribe(json!(["syncing"])).await;
    assert_eq!(socket.next().await["params"]["result"], false);
    assert_eq!(
        socket.call("eth_unsubscribe", json!([heads])).await["result"],
        true
    );
    server.shutdown.cancel();
}

#[tokio::test]
async fn a_socket_has_limits() {
    let config = RpcConfig {
        max_subscriptions: 2,
        max_connections: 1,
        max_body: 5_000,
        ..RpcConfig::default()
    };
    let server = Server::start(config, None).await;
    let mut socket = server.connect().await;
    assert!(
        tokio_tungstenite::connect_async(format!("ws://{}/", server.at))
            .await
            .is_err(),
        "one connection only"
    );
    for params in [
        json!([]),
        json!(["nothing"]),
        json!(["logs", 5]),
        json!(["newHeads", 1, 2]),
        json!([5]),
    ] {
        assert_eq!(
            socket.call("eth_subscribe", params).await["error"]["code"],
            -32602
        );
    }
    assert_eq!(
        socket.call("eth_unsubscribe", json!([])).await["error"]["code"],
        -32602
    );
    socket.subscribe(json!(["newHeads"])).await;
    let second = socket.subscribe(json!(["newHeads"])).await;
    assert_eq!(
        socket.call("eth_subscribe", json!(["newHeads"])).await["error"]["code"],
        -32006
    );
    assert_eq!(
        socket.call("eth_unsubscribe", json!([second])).await["result"],
        true
    );
    socket.socket.send(Message::text("{")).await.unwrap();
    assert_eq!(socket.next().await["error"]["code"], -32700);
    socket
        .socket
        .send(Message::text(" ".repeat(5_001)))
        .await
        .unwrap();
    let end = tokio::time::timeout(Duration::from_secs(20), socket.socket.next())
        .await
        .unwrap();
    assert!(
        !matches!(end, Some(Ok(Message::Text(_)))),
        "a message over the limit ends the connection"
    );
}

struct Waiting(prometheus::Registry);

impl Monitor for Waiting {
    fn metrics(&self) -> &prometheus::Registry {
        &self.0
    }

    fn ready(&self) -> Result<(), String> {
        Err("waiting for Bitcoin".to_owned())
    }

    fn answer(&self, path: &str) -> Option<LateAnswer> {
        let answer = match path {
            "more/1" => Ok(serde_json::json!(1)),
            "more/2" => Err("not known".to_owned()),
            _ => return None,
        };
        Some(Box::pin(async { answer }))
    }
}

#[tokio::test]
async fn the_metrics_listener() {
    let registry = prometheus::Registry::new();
    let metrics = RpcMetrics::new(&registry).unwrap();
    metrics.record("eth_chainId", true, Duration::from_millis(1));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(serve_monitor(
        listener,
        Arc::new(Waiting(registry)),
        CancellationToken::new(),
    ));
    let get = |path: &'static str| async move {
        let response = reqwest::get(format!("http://{at}{path}")).await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let (status, text) = get("/metrics").await;
    assert_eq!(status, 200);
    assert!(
        text.contains(r#"bitsect_rpc_calls_total{method="eth_chainId",outcome="ok"} 1"#),
        "{text}"
    );
    assert_eq!(get("/healthz").await, (200, "ok\n".to_owned()));
    assert_eq!(get("/readyz").await, (503, "waiting for Bitcoin\n".to_owned()));
    assert_eq!(get("/more/1").await, (200, "1".to_owned()));
    assert_eq!(get("/more/2").await, (500, "not known\n".to_owned()));
    assert_eq!(get("/more").await.0, 404);
    assert_eq!(get("/status").await.0, 404);
}
