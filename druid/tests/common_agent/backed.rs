//! A member with a store: what is written to it, and what is in the store.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::{Pod, Pods};
use crate::common_preflight::{Release, until};

/// A member with a store, whose deltas come when asked for, by default.
pub(crate) fn with_store(release: Release, extra: &[&str]) -> Pods {
    let mut pods = Pods::new(release, 1);
    pods.mounted["enable-grpc-gateway"] = json!(true);
    pods.write_mounted();
    let member = &mut pods.members[0];
    member.server_args = vec![
        "--storage-provider=Local".to_owned(),
        "--store-container=bkp".to_owned(),
        "--store-prefix=etcd-main".to_owned(),
        format!(
            "--snapstore-temp-directory={}/temp/deltas",
            member.home.display()
        ),
        format!(
            "--restoration-temp-snapshots-dir={}/temp/restore",
            member.home.display()
        ),
        "--delta-snapshot-period=1h".to_owned(),
    ];
    member
        .server_args
        .extend(extra.iter().map(|it| (*it).to_owned()));
    pods
}

/// The names in the store.
pub(crate) fn names(member: &Pod) -> Vec<String> {
    let Ok(entries) = fs::read_dir(&member.store) else {
        return Vec::new();
    };
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string();
    let mut names: Vec<String> = entries.map(|it| name(it).unwrap()).collect();
    names.sort();
    names
}

pub(crate) fn call(member: &Pod, path: &str, body: &Value) -> Value {
    let mut stream = TcpStream::connect(("127.0.0.1", member.client)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(15)))
        .unwrap();
    let body = body.to_string();
    let length = body.len();
    let token = member.token.as_ref();
    let token = token.map_or(String::new(), |it| format!("Authorization: {it}\r\n"));
    write!(
        stream,
        "POST {path} HTTP/1.0\r\nHost: x\r\n{token}Content-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (_, json) = text.split_once("\r\n\r\n").unwrap();
    let answer: Value = serde_json::from_str(json).unwrap();
    assert!(answer.get("header").is_some(), "{answer}");
    answer
}

/// Switches authentication on, with root's password `secret`, and logs in.
pub(crate) fn enable_auth(member: &mut Pod) {
    let (user, role) = (
        json!({"name": "root", "password": "secret"}),
        json!({"name": "root"}),
    );
    let grant = json!({"user": "root", "role": "root"});
    for (path, body) in [
        ("user/add", user),
        ("role/add", role),
        ("user/grant", grant),
        ("enable", json!({})),
    ] {
        call(member, &format!("/v3/auth/{path}"), &body);
    }
    log_in(member);
}

/// Gets another token.
pub(crate) fn log_in(member: &mut Pod) {
    let user = json!({"name": "root", "password": "secret"});
    let answer = call(member, "/v3/auth/authenticate", &user);
    member.token = Some(answer["token"].as_str().unwrap().to_owned());
}

/// Returns the revision.
pub(crate) fn put(member: &Pod, key: &str, value: &str) -> i64 {
    let body = json!({"key": STANDARD.encode(key), "value": STANDARD.encode(value)});
    revision_of(&call(member, "/v3/kv/put", &body))
}

pub(crate) fn delete(member: &Pod, key: &str) -> i64 {
    let body = json!({"key": STANDARD.encode(key)});
    revision_of(&call(member, "/v3/kv/deleterange", &body))
}

fn revision_of(answer: &Value) -> i64 {
    answer["header"]["revision"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap()
}

/// Every key with its value, versions and revisions.
pub(crate) fn everything(member: &Pod) -> BTreeMap<String, String> {
    let all = STANDARD.encode([0]);
    let answer = call(
        member,
        "/v3/kv/range",
        &json!({"key": all, "range_end": all}),
    );
    let none = Vec::new();
    let kvs = answer["kvs"].as_array().unwrap_or(&none);
    kvs.iter()
        .map(|kv| (kv["key"].to_string(), kv.to_string()))
        .collect()
}

pub(crate) fn ask(member: &Pod, path: &str) -> Value {
    let said = member.ask(path);
    assert_eq!(said.status, 200, "{path}: {}", said.body);
    serde_json::from_str(&said.body).unwrap()
}

/// Until the first full snapshot is in the store.
pub(crate) fn await_based(member: &Pod) {
    until("there is a full snapshot", || {
        names(member).iter().any(|it| it.starts_with("Full-"))
    });
    until("it leads", || member.leads());
}

/// Kills both programs and waits until etcd is gone, too.
pub(crate) fn kill_all(member: &mut Pod) {
    member.kill();
    until("etcd is gone", || {
        TcpStream::connect(("127.0.0.1", member.client)).is_err()
    });
}

/// Whether a delta ends at a revision.
pub(crate) fn is_covered(member: &Pod, last: i64) -> bool {
    let ending = format!("-{last:08}-");
    let ends = |it: &String| it.starts_with("Incr-") && it.contains(&ending);
    names(member).iter().any(ends)
}

/// Asks it to end, and waits.
pub(crate) fn terminate_server(member: &mut Pod) -> Duration {
    let mut server = member.server.take().unwrap();
    let began = Instant::now();
    kill(
        Pid::from_raw(server.id().try_into().unwrap()),
        Signal::SIGTERM,
    )
    .unwrap();
    let mut status = None;
    until("the server has ended", || {
        status = server.try_wait().unwrap();
        status.is_some()
    });
    assert_eq!(status.unwrap().code(), Some(0));
    began.elapsed()
}
