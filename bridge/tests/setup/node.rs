//! What an operator asks its node: chain states, and what is final.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use serde_json::{Value, json};
use warp::Filter;

/// Units that are done, and those that are final.
const UNITS: u64 = 40;
const FINAL: u64 = 30;

/// Every operator's credit, in sats.
pub static CREDIT: AtomicU64 = AtomicU64::new(0);

/// The L1 origin of the final block.
pub static ORIGIN: AtomicU32 = AtomicU32::new(0);

/// The chain state after so many units.
pub fn state(units: u64) -> [u8; 32] {
    *blake3::hash(&units.to_le_bytes()).as_bytes()
}

fn answer(request: Value) -> Value {
    let result = match request["method"].as_str().unwrap() {
        "rollup_syncStatus" => json!({
            "units": UNITS,
            "l1Processed": { "height": 1_000_000 },
            "finalized": { "number": FINAL, "l1Origin": { "height": ORIGIN.load(Ordering::Relaxed) } },
        }),
        "rollup_unitOf" => request["params"][0].clone(),
        "rollup_chainStateAt" => {
            let units = request["params"][0].as_u64().unwrap();
            json!({ "chainState": format!("0x{}", hex::encode(state(units))) })
        }
        "rollup_version" => json!({ "chainId": 77 }),
        "rollup_credit" => json!(CREDIT.load(Ordering::Relaxed)),
        "rollup_vault" => json!({
            "holds": true, "vaultSats": 0, "pendingSats": 0, "creditSats": CREDIT.load(Ordering::Relaxed),
            "inFlightSats": 0, "outputs": [],
        }),
        method => panic!("the operator asks for {method}"),
    };
    json!({ "jsonrpc": "2.0", "id": request["id"], "result": result })
}

/// Serves until the test ends.
pub async fn serve() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let route = warp::body::json().map(|request| warp::reply::json(&answer(request)));
    tokio::spawn(warp::serve(route.boxed()).incoming(listener).run());
    address
}
