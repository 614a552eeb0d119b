//! The status page in a real browser: it shows what the node's JSON-RPC says, and says so when the node does not answer.
//! Chromium (`CHROMIUM_EXE`, else `chromium`) comes with `.ci/setup`.

use std::process::{Command, Stdio};

use alloy_primitives::Address;
use bitsect_tests::{Network, NetworkOptions, Rpc, Wallet};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Milliseconds of the page's own time, which stands still while it waits for answers.
const BUDGET_MS: u32 = 3_000;

/// Opens a page and gives its document as it is after some seconds.
async fn render(url: &str) -> String {
    let profile = tempfile::tempdir().expect("a folder for the profile");
    let program = std::env::var("CHROMIUM_EXE").unwrap_or_else(|_| "chromium".into());
    let mut command = Command::new(&program);
    command.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
    ]);
    command.args([
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]);
    command
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("--virtual-time-budget={BUDGET_MS}"));
    command.args(["--dump-dom", url]).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .expect("the browser's thread ends")
        .unwrap_or_else(|error| panic!("{program} does not start, run .ci/setup: {error}"));
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("a document in UTF-8")
}

async fn status(rpc: &Rpc) -> serde_json::Value {
    rpc.get("rollup_syncStatus", json!([])).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_what_the_node_says() {
    let network = Network::start(NetworkOptions::default()).await;
    let sequencer = network.sequencer().await;
    let verifier = network.verifier("verifier").await;
    let raw = Wallet::funded(0).transfer(Address::repeat_byte(0xee), 1);
    let hash = sequencer.rpc.sent(&raw).await;
    sequencer.rpc.included(&hash).await;
    let latest = sequencer.rpc.height("latest").await;
    network.mine_until_safe(&verifier.rpc, latest).await;
    network.synced(&verifier.rpc).await;

    // The verifier's chain stands still while nothing is mined.
    let now = status(&verifier.rpc).await;
    let page = render(&format!("{}/", verifier.rpc.url())).await;
    assert!(page.contains("<span id=\"role\">verifier</span>"), "{page}");
    assert!(
        page.contains(&format!("<td class=\"n\">{}</td>", now["latest"]["number"])),
        "{page}"
    );
    assert!(
        page.contains(now["safe"]["hash"].as_str().expect("a hash")),
        "{page}"
    );
    let batch = verifier.rpc.get("rollup_batchOf", json!([latest])).await;
    assert!(
        page.contains(batch["commitTxid"].as_str().expect("a txid")),
        "{page}"
    );
    assert!(
        page.contains(&format!("<dd id=\"l1-tip\">{}</dd>", now["l1Tip"])),
        "{page}"
    );

    // The sequencer makes blocks meanwhile.
    let before = sequencer.rpc.height("latest").await;
    let page = render(&format!("{}/", sequencer.rpc.url())).await;
    let after = sequencer.rpc.height("latest").await;
    assert!(page.contains("<span id=\"role\">sequencer</span>"), "{page}");
    let shown = (before..=after).any(|number| page.contains(&format!("<title>{number} · ")));
    assert!(shown, "no head from {before} to {after}: {page}");
    assert!(page.contains("<section id=\"mempool\">"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_says_when_the_node_does_not_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/", listener.local_addr().expect("a bound port"));
    // The page's files, and a refusal for everything else.
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4_096];
            let got = stream.read(&mut request).await.unwrap_or_default();
            let request = String::from_utf8_lossy(&request[..got]).into_owned();
            let (line, kind, body) = match request.split_whitespace().nth(1) {
                Some("/") if request.starts_with("GET") => (
                    "200 OK",
                    "text/html",
                    include_str!("../../node/src/rpc/page/index.html"),
                ),
                Some("/status.js") => (
                    "200 OK",
                    "text/javascript",
                    include_str!("../../node/src/rpc/page/status.js"),
                ),
                _ => (
                    "503 Service Unavailable",
                    "text/plain",
                    "too many requests in work",
                ),
            };
            let answer = format!(
                "HTTP/1.1 {line}\r\ncontent-type: {kind}; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            // The browser may have gone away.
            drop(stream.write_all(answer.as_bytes()).await);
        }
    });
    let page = render(&url).await;
    assert!(page.contains("The node does not answer (status 503)"), "{page}");
    assert!(page.contains("<body class=\"stale\">"), "{page}");
}
