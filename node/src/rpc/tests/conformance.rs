//! JSON-RPC 2.0 as its specification has it (<https://www.jsonrpc.org/specification>).

use serde_json::{Value, json};

use super::Node;
use crate::rpc::config::RpcConfig;

fn code(response: &Value) -> i64 {
    response["error"]["code"].as_i64().unwrap_or_default()
}

#[tokio::test]
async fn refuses_what_is_no_request() {
    let node = Node::new();
    for (body, expected) in [
        ("", -32700),
        ("{", -32700),
        (r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId"} x"#, -32700),
        ("[1,2", -32700),
        ("\u{1}", -32700),
        ("1", -32600),
        ("null", -32600),
        ("\"eth_chainId\"", -32600),
        ("[]", -32600),
        ("{}", -32600),
        (r#"{"jsonrpc":"2.0","id":1}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"method":1}"#, -32600),
        (r#"{"jsonrpc":"1.0","id":1,"method":"eth_chainId"}"#, -32600),
        (r#"{"id":1,"method":"eth_chainId"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":{},"method":"eth_chainId"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":[1],"method":"eth_chainId"}"#, -32600),
        (
            r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"eth_chainId"}"#,
            -32600,
        ),
        (r#"{"jsonrpc":"2.0","id":1,"method":"eth_nothing"}"#, -32601),
        (r#"{"jsonrpc":"2.0","id":1,"method":""}"#, -32601),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":{}}"#,
            -32602,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":1}"#,
            -32602,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["newHeads"]}"#,
            -32601,
        ),
    ] {
        let response = node.raw(body).await.unwrap();
        assert_eq!(code(&response), expected, "{body}: {response}");
        assert_eq!(response["jsonrpc"], "2.0");
    }
    // Deep nesting must not use up the stack.
    let response = node.raw(&"[".repeat(100_000)).await.unwrap();
    assert_eq!(code(&response), -32700);
    let not_utf8 = node
        .dispatcher
        .handle(&[0xff, 0xfe], None)
        .await
        .response
        .unwrap();
    assert!(not_utf8.contains("-32700"));
}

#[tokio::test]
async fn echoes_every_kind_of_id() {
    let node = Node::new();
    for id in [
        "1",
        "0",
        "-7",
        "1.5",
        "18446744073709551616",
        "1e3",
        "null",
        r#""""#,
        r#""a\"b\u00e9""#,
    ] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"eth_chainId"}}"#);
        let response = node
            .dispatcher
            .handle(body.as_bytes(), None)
            .await
            .response
            .unwrap();
        assert_eq!(
            response,
            format!(r#"{{"jsonrpc":"2.0","id":{id},"result":"0x20ba"}}"#)
        );
    }
}

#[tokio::test]
async fn answers_batches_in_order_and_notifications_not_at_all() {
    let node = Node::new();
    let notification = r#"{"jsonrpc":"2.0","method":"eth_chainId"}"#;
    assert_eq!(node.raw(notification).await, None);
    assert_eq!(node.raw(&format!("[{notification},{notification}]")).await, None);
    assert_eq!(
        node.raw(r#"{"jsonrpc":"2.0","method":"eth_nothing"}"#).await,
        None
    );
    let call = |id: u32, method: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}"}}"#);
    let batch = format!(
        "[{},1,{notification},{},{}]",
        call(1, "eth_chainId"),
        call(2, "eth_nothing"),
        call(3, "net_version")
    );
    let response = node.raw(&batch).await.unwrap();
    let ids: Vec<&Value> = response
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["id"])
        .collect();
    assert_eq!(ids, [&json!(1), &Value::Null, &json!(2), &json!(3)]);
    assert_eq!(code(&response[1]), -32600);
    assert_eq!(code(&response[2]), -32601);
    assert_eq!(response[3]["result"], "8378");
}

#[tokio::test]
async fn bounds_batches_in_calls_and_bytes() {
    let node = Node::with(RpcConfig {
        max_batch: 3,
        max_response: 400,
        ..RpcConfig::default()
    });
    let call = |id: u32, method: &str| json!({ "jsonrpc": "2.0", "id": id, "method": method });
    let many: Vec<Value> = (0..4).map(|id| call(id, "eth_chainId")).collect();
    let response = node.raw(&json!(many).to_string()).await.unwrap();
    assert_eq!(
        (code(&response), &response["error"]["message"]),
        (-32600, &json!("batch too large"))
    );
    let data = json!({ "jsonrpc": "2.0", "id": 9, "method": "web3_clientVersion" });
    let large = json!([call(1, "rollup_discover"), data, call(3, "eth_chainId")]);
    let response = node.raw(&large.to_string()).await.unwrap();
    assert_eq!(response.as_array().unwrap().len(), 3);
    assert_eq!(
        code(&response[0]),
        -32008,
        "one response over the limit: {response}"
    );
    let node = Node::with(RpcConfig {
        max_response: 100,
        ..RpcConfig::default()
    });
    let small = json!([
        call(1, "web3_clientVersion"),
        call(2, "eth_chainId"),
        call(3, "eth_chainId")
    ]);
    let response = node.raw(&small.to_string()).await.unwrap();
    assert_eq!(response[0]["id"], 1);
    assert_eq!(
        (code(&response[2]), &response[2]["id"]),
        (-32003, &json!(3)),
        "{response}"
    );
}
