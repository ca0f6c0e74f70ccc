//! etcd as its JSON gateway and its peers' HTTP have it, for tests.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot ask fails"
)]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// One request to the server at a URL; the answer is JSON.
fn ask(method: &str, url: &str, path: &str, body: &Value) -> Value {
    let address = url.split_once("://").unwrap().1;
    let mut stream = TcpStream::connect(address).unwrap();
    let patience = Some(Duration::from_secs(15));
    stream.set_read_timeout(patience).unwrap();
    let body = body.to_string();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let (mut answer, mut length, mut line) = (BufReader::new(stream), u64::MAX, String::new());
    // The port for peers is slow to close.
    while line != "\r\n" {
        line.clear();
        assert!(answer.read_line(&mut line).unwrap() > 0, "{url}{path}");
        let (name, value) = line.split_once(':').unwrap_or_default();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut text = String::new();
    answer.take(length).read_to_string(&mut text).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A call of the gateway.
pub(crate) fn call(url: &str, path: &str, body: &Value) -> Value {
    let answer = ask("POST", url, path, body);
    assert!(answer.get("header").is_some(), "{answer}");
    answer
}

fn revision_of(answer: &Value) -> i64 {
    let revision = answer["header"]["revision"].as_str().unwrap();
    revision.parse().unwrap()
}

/// Returns the revision.
pub(crate) fn put(url: &str, key: &str, value: &[u8]) -> i64 {
    let body = json!({"key": STANDARD.encode(key), "value": STANDARD.encode(value)});
    revision_of(&call(url, "/v3/kv/put", &body))
}

/// Returns the revision.
pub(crate) fn delete(url: &str, key: &str) -> i64 {
    let body = json!({"key": STANDARD.encode(key)});
    revision_of(&call(url, "/v3/kv/deleterange", &body))
}

/// Every key with its value, versions and revisions.
pub(crate) fn everything(url: &str) -> BTreeMap<String, String> {
    let all = STANDARD.encode([0]);
    let answer = call(
        url,
        "/v3/kv/range",
        &json!({"key": all, "range_end": all, "serializable": true}),
    );
    let kvs = answer["kvs"].as_array().cloned().unwrap_or_default();
    kvs.iter()
        .map(|kv| (kv["key"].to_string(), kv.to_string()))
        .collect()
}

/// Compacts, and waits until it is done.
pub(crate) fn compact(url: &str, revision: i64) {
    let body = json!({"revision": revision, "physical": true});
    call(url, "/v3/kv/compaction", &body);
}

/// The hash of everything up to a revision, and the revision that it was compacted at. Members ask
/// each other for it like that.
pub(crate) fn hash_kv(peer_url: &str, revision: i64) -> (u64, i64) {
    let answer = ask(
        "GET",
        peer_url,
        "/members/hashkv",
        &json!({"revision": revision}),
    );
    let hash = answer["hash"].as_u64().unwrap();
    (hash, answer["compact_revision"].as_i64().unwrap())
}
