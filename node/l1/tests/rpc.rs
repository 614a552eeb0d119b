//! The RPC client and the regtest node against a real Bitcoin Core. Needs bitcoind (`.ci/setup bitcoind`).

use std::time::{Duration, Instant};

use bitcoin::{Network, OutPoint, Txid, hashes::Hash};
use bitsect_l1::{
    FaultClass,
    regtest::{Bitcoind, RegtestConfig, RegtestError},
    rpc::{Auth, Client, RpcConfig, RpcError, code},
};

async fn node() -> (Bitcoind, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (
        Bitcoind::start(RegtestConfig::new(dir.path().join("core")))
            .await
            .unwrap(),
        dir,
    )
}

fn impatient(url: String, auth: Auth) -> Client {
    let config = RpcConfig {
        retries: 2,
        first_pause: Duration::from_millis(10),
        ..RpcConfig::new(url, auth)
    };
    Client::new(config).unwrap()
}

#[tokio::test]
async fn answers_are_typed_and_absence_is_not_an_error() {
    let (node, _dir) = node().await;
    let client = node.client();
    let hashes = node.mine(3).await.unwrap();
    let info = client.get_blockchain_info().await.unwrap();
    assert_eq!(
        (info.blocks, info.best_block_hash, info.chain.as_str()),
        (3, hashes[2], "regtest")
    );
    client.check_network(Network::Regtest).await.unwrap();

    let header = client.get_header_info(&hashes[1]).await.unwrap().unwrap();
    assert_eq!(
        (header.height, header.confirmations, header.next),
        (2, 2, Some(hashes[2]))
    );
    assert_eq!(
        client.get_header(&hashes[1]).await.unwrap().block_hash(),
        hashes[1]
    );
    let block = client.get_block(&hashes[1]).await.unwrap();
    assert_eq!(block.block_hash(), hashes[1]);
    let coinbase = block.txdata[0].compute_txid();
    let output = client
        .get_tx_out(&OutPoint::new(coinbase, 0), true)
        .await
        .unwrap()
        .unwrap();
    assert!(output.coinbase && output.confirmations == 2);
    assert_eq!(output.tx_out(), block.txdata[0].output[0]);
    let found = client
        .get_raw_transaction_in(&coinbase, &hashes[1])
        .await
        .unwrap();
    assert_eq!(found.as_ref(), Some(&block.txdata[0]));

    let nothing = Txid::all_zeros();
    assert!(client.get_block_hash(4).await.unwrap().is_none());
    assert!(
        client
            .get_header_info(&bitcoin::BlockHash::all_zeros())
            .await
            .unwrap()
            .is_none()
    );
    assert!(client.get_raw_transaction(&nothing).await.unwrap().is_none());
    assert!(client.get_mempool_entry(&nothing).await.unwrap().is_none());
    assert!(
        client
            .get_tx_out(&OutPoint::new(nothing, 0), true)
            .await
            .unwrap()
            .is_none()
    );
    assert!(client.get_raw_mempool().await.unwrap().is_empty());
    let spending = client
        .get_tx_spending_prevout(&[OutPoint::new(coinbase, 0)])
        .await
        .unwrap();
    assert_eq!(spending[0].spending_txid, None);
    assert_eq!(client.estimate_smart_fee(6).await.unwrap().fee_rate, None);
    assert!(
        client
            .get_mempool_info()
            .await
            .unwrap()
            .min_relay_fee
            .to_sat_per_kwu()
            > 0
    );
    assert!(client.get_network_info().await.unwrap().version > 200_000);
}

#[tokio::test]
async fn errors_carry_method_code_and_message() {
    let (node, _dir) = node().await;
    let client = node.client();
    let error = client.call::<u32>("getblockhash", &[]).await.unwrap_err();
    assert_eq!(error.code(), Some(code::MISC));
    let error = client.call::<u32>("nosuchmethod", &[]).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "nosuchmethod: Bitcoin Core says Method not found (code -32601)"
    );
    let error = client
        .get_block(&bitcoin::BlockHash::all_zeros())
        .await
        .unwrap_err();
    assert!(
        error.is_not_found() && error.to_string().starts_with("getblock: "),
        "{error}"
    );
    // The type asked for is not what the method answers.
    let error = client.call::<u32>("getbestblockhash", &[]).await.unwrap_err();
    assert!(matches!(
        error,
        RpcError::Malformed {
            method: "getbestblockhash",
            ..
        }
    ));

    let wrong = impatient(node.rpc_url(), Auth::user_password("nobody", "nothing"));
    let error = wrong.get_best_block_hash().await.unwrap_err();
    assert!(matches!(error, RpcError::Unauthorized { .. }), "{error}");
}

#[tokio::test]
async fn cookies_are_read_again_after_a_restart() {
    let (mut node, _dir) = node().await;
    let client = impatient(node.rpc_url(), Auth::Cookie(node.cookie()));
    let old = std::fs::read_to_string(node.cookie()).unwrap();
    client.get_best_block_hash().await.unwrap();
    node.stop().await.unwrap();
    let down = client.get_best_block_hash().await.unwrap_err();
    assert!(
        down.is_transport() && down.is_unsent() && down.class() == FaultClass::Retry,
        "{down}"
    );
    // A new client finds no cookie at all, which is not a reason to give up either.
    let new = impatient(node.rpc_url(), Auth::Cookie(node.cookie()));
    assert_eq!(
        new.get_best_block_hash().await.unwrap_err().class(),
        FaultClass::Retry
    );
    node.restart().await.unwrap();
    assert_ne!(std::fs::read_to_string(node.cookie()).unwrap(), old);
    client.get_best_block_hash().await.unwrap();
    new.get_best_block_hash().await.unwrap();
}

#[tokio::test]
async fn transport_faults_are_repeated_and_bounded() {
    // A server that accepts and closes: what a crash of Core looks like.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let count = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let counted = count.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            drop(stream);
        }
    });
    let client = impatient(url, Auth::user_password("u", "p"));
    let error = client.get_best_block_hash().await.unwrap_err();
    assert!(matches!(
        error,
        RpcError::Transport {
            method: "getbestblockhash",
            ..
        }
    ));
    assert_eq!(count.load(std::sync::atomic::Ordering::SeqCst), 3);
    // Mining twice is not the same as once, and it is not known whether the first one arrived.
    let address = bitsect_l1::regtest::fresh_burn_address();
    client.generate_to_address(1, &address).await.unwrap_err();
    assert_eq!(count.load(std::sync::atomic::Ordering::SeqCst), 4);
}

#[tokio::test]
async fn silence_ends_with_a_timeout() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let timeout = Duration::from_millis(200);
    let auth = Auth::user_password("u", "p");
    let client = Client::new(RpcConfig {
        timeout,
        retries: 0,
        ..RpcConfig::new(url, auth)
    })
    .unwrap();
    let started = Instant::now();
    assert!(client.get_best_block_hash().await.unwrap_err().is_transport());
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn waiting_for_a_block_ends_with_it_or_with_the_time() {
    let (node, _dir) = node().await;
    let tip = node.tip().await.unwrap();
    let same = node
        .client()
        .wait_for_new_block(&tip.hash, Duration::from_millis(100))
        .await
        .unwrap();
    assert_eq!(same, tip);
    let long = Duration::from_secs(60);
    let (seen, mined) = tokio::join!(node.client().wait_for_new_block(&tip.hash, long), node.mine(1));
    assert_eq!(seen.unwrap().hash, mined.unwrap()[0]);
}

#[tokio::test]
async fn the_node_keeps_its_chain_and_ends_with_its_owner() {
    let (mut node, dir) = node().await;
    node.mine(3).await.unwrap();
    let tip = node.tip().await.unwrap();
    node.stop().await.unwrap();
    assert_eq!(node.pid(), None);
    node.restart().await.unwrap();
    assert_eq!(node.tip().await.unwrap(), tip);
    let pid = node.pid().unwrap();
    drop(node);
    let alive = std::fs::read_to_string(format!("/proc/{pid}/comm"));
    assert!(alive.is_err(), "bitcoind {pid} is still there");

    let missing = RegtestConfig {
        program: Some("/nonexistent/bitcoind".into()),
        ..RegtestConfig::new(dir.path())
    };
    assert!(matches!(
        Bitcoind::start(missing).await,
        Err(RegtestError::Spawn { .. })
    ));
    let mut broken = RegtestConfig::new(dir.path().join("other"));
    broken.args.push("-nosuchoption=1".into());
    let error = Bitcoind::start(broken).await.unwrap_err();
    assert!(error.to_string().contains("nosuchoption"), "{error}");
}

const FOLDER: &str = "BITSECT_L1_OWNER_TEST";

/// Owns a node until it is killed; as a test of its own it does nothing.
#[tokio::test]
async fn owner() {
    let Some(dir) = std::env::var_os(FOLDER) else {
        return;
    };
    let node = Bitcoind::start(RegtestConfig::new(dir)).await.unwrap();
    node.mine(12).await.unwrap();
    println!("\nnode {}", node.pid().unwrap());
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn the_chain_outlives_kill_9_of_its_owner() {
    use std::io::{BufRead, BufReader};
    let dir = tempfile::tempdir().unwrap();
    let mut owner = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "owner", "--nocapture"])
        .env(FOLDER, dir.path())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(owner.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    lines
        .find(|line| line.starts_with("node "))
        .expect("the owner starts its node");
    owner.kill().unwrap();
    owner.wait().unwrap();
    // Starting on the same folder waits for the last node to end, which wrote its chain.
    let node = Bitcoind::start(RegtestConfig::new(dir.path())).await.unwrap();
    assert_eq!(node.tip().await.unwrap().height, 12);
}
