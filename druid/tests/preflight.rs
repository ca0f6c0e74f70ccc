//! `druid preflight` against clusters of genuine etcd processes that were started by hand.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "this is how a test fails"
)]

mod common_preflight;

use std::io::{Read, Seek, SeekFrom, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use assert_cmd::cargo::cargo_bin;
use common_preflight::Release::{V3_4_34, V3_5_27};
use common_preflight::{Cluster, free_ports, until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const UP: &str = "3.5.27";
const DOWN: &str = "3.4.34";

/// What a run of `druid preflight` gave.
struct Ran {
    exit: i32,
    json: Value,
    stdout: String,
    stderr: String,
    took: Duration,
}

fn preflight(args: &[&str]) -> Ran {
    let started = Instant::now();
    let output = Command::new(cargo_bin("druid"))
        .arg("preflight")
        .args(args)
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    Ran {
        exit: output.status.code().unwrap(),
        json: serde_json::from_str(&stdout).unwrap_or(Value::Null),
        stdout,
        stderr: String::from_utf8(output.stderr).unwrap(),
        took: started.elapsed(),
    }
}

fn ask(endpoints: &str, to: &str, more: &[&str]) -> Ran {
    let mut args = vec!["--endpoints", endpoints, "--to", to, "--output", "json"];
    args.extend(["--timeout", "2s"]);
    args.extend(more);
    preflight(&args)
}

impl Ran {
    fn codes(&self) -> Vec<&str> {
        let refusals = self.json["refusals"].as_array().unwrap().iter();
        refusals.map(|r| r["code"].as_str().unwrap()).collect()
    }

    #[track_caller]
    fn refused(&self, code: &str) -> &Value {
        assert_eq!(self.exit, 3, "{}{}", self.stdout, self.stderr);
        assert_eq!(self.json["verdict"], "refused");
        assert_eq!(self.stderr, "");
        let refusals = self.json["refusals"].as_array().unwrap();
        let found = refusals.iter().find(|refusal| refusal["code"] == code);
        let found = found.unwrap_or_else(|| panic!("no {code}: {}", self.stdout));
        assert!(!found["remedy"].as_str().unwrap().is_empty());
        found
    }

    /// Refused for that reason alone.
    #[track_caller]
    fn refused_only(&self, code: &str) -> &Value {
        let found = self.refused(code);
        assert_eq!(self.codes(), [code], "{}", self.stdout);
        found
    }

    #[track_caller]
    fn allowed(&self) {
        assert_eq!(self.exit, 0, "{}{}", self.stdout, self.stderr);
        assert_eq!(self.json["verdict"], "allowed");
        assert_eq!(self.json["refusals"], json!([]));
    }

    #[track_caller]
    fn unknown(&self) -> String {
        assert_eq!(self.exit, 1, "{}{}", self.stdout, self.stderr);
        assert_eq!(self.json["verdict"], "unknown");
        self.json["unknowns"].to_string()
    }
}

/// A JSON call on etcd's own gateway: the tests stay independent of our client.
fn gateway(url: &str, path: &str, body: &Value) -> Value {
    use std::net::TcpStream;
    let address = url.split_once("://").unwrap().1;
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(15)))
        .unwrap();
    let body = body.to_string();
    let length = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (_, json) = text.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(json).unwrap()
}

fn base64(text: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let bits = chunk
            .iter()
            .fold(0u32, |bits, byte| (bits << 8) | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let sextet = usize::try_from(bits >> (18 - 6 * i) & 63).unwrap();
            out.push(if i <= chunk.len() {
                char::from(ALPHABET[sextet])
            } else {
                '='
            });
        }
    }
    out
}

fn put(url: &str, key: &str, value: &str) {
    let body = json!({"key": base64(key), "value": base64(value)});
    let answer = gateway(url, "/v3/kv/put", &body);
    assert!(answer.get("header").is_some(), "{answer}");
}

fn revision(url: &str) -> i64 {
    let answer = gateway(url, "/v3/kv/range", &json!({"key": base64("x")}));
    answer["header"]["revision"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap()
}

/// Flips one bit of a value in a database file, and nothing else.
fn flip_one_byte(database: &Path, value: &str) {
    let mut file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(database)
        .unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    let places: Vec<_> = bytes
        .windows(value.len())
        .enumerate()
        .filter(|(_, window)| *window == value.as_bytes())
        .map(|(at, _)| at)
        .collect();
    assert!(!places.is_empty(), "the value is not in the file");
    for at in places {
        file.seek(SeekFrom::Start(at as u64)).unwrap();
        file.write_all(&[bytes[at] ^ 1]).unwrap();
    }
}

fn write(dir: &tempfile::TempDir, name: &str, text: &str) -> String {
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

const GOOD_CONFIG: &str = "\
name: m0
logger: zap
next-cluster-version-compatible: true
experimental-backend-bbolt-freelist-type: array
backend-bbolt-freelist-type: array
";

#[test]
fn a_healthy_3_4_cluster_and_what_can_be_wrong_with_it() {
    let mut cluster = Cluster::start(&[V3_4_34; 3]);
    cluster.await_cluster_version("3.4");
    let url = cluster.nodes[0].client_url.clone();
    let all = cluster.endpoints();
    put(&url, "k", "the only value that is looked for");

    healthy(&all, &url);
    steps_and_configurations(&all);
    endpoints(&cluster, &all);
    alarm(&all, &url);
    learner(&mut cluster, &all, &url);
    diverged(&mut cluster, &all);
    hung(&cluster, &all);
}

fn healthy(all: &str, url: &str) {
    let before = revision(url);
    let ran = ask(all, UP, &[]);
    ran.allowed();
    assert_eq!(revision(url), before, "it wrote without being asked to");
    assert_eq!(
        (&ran.json["from"], &ran.json["to"]),
        (&json!(DOWN), &json!(UP))
    );
    let members = ran.json["members"].as_array().unwrap();
    let names: Vec<_> = members
        .iter()
        .map(|m| m["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["m0", "m1", "m2"]);
    assert_eq!(members.iter().filter(|m| m["leader"] == true).count(), 1);
    for member in members {
        assert_eq!(member["version"], DOWN);
        assert_eq!(member["learner"], false);
        for number in [
            "db_size",
            "db_size_in_use",
            "raft_index",
            "raft_applied_index",
        ] {
            assert!(member[number].as_u64().unwrap() > 0, "{member}");
        }
    }

    let ran = ask(all, UP, &["--probe-writes"]);
    ran.allowed();
    assert_eq!(revision(url), before + 1);

    let ran = preflight(&["--endpoints", all, "--to", UP]);
    assert_eq!((ran.exit, ran.stderr.as_str()), (0, ""));
    assert!(
        ran.stdout.starts_with("ALLOWED: 3.4.34 -> 3.5.27\n"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout.contains("leader") && ran.stdout.contains("m2"),
        "{}",
        ran.stdout
    );

    let ran = ask(all, DOWN, &[]);
    ran.allowed();
    assert!(ran.json["warnings"].to_string().contains("nothing to do"));
}

fn steps_and_configurations(all: &str) {
    for to in ["3.6.15", "3.3.0", "3.5.16"] {
        ask(all, to, &[]).refused_only("VersionStepUnsupported");
    }
    let dir = tempfile::tempdir().unwrap();
    let good = write(&dir, "good.yaml", GOOD_CONFIG);
    ask(all, UP, &["--config", &good]).allowed();
    let no_way_back = GOOD_CONFIG.replace("compatible: true", "compatible: false");
    let bad = write(&dir, "bad.yaml", &no_way_back);
    ask(all, UP, &["--config", &bad]).refused_only("ConfigKeyUnsupported");

    let ran = preflight(&["--endpoints", all, "--to", UP, "--config", &bad]);
    assert!(
        ran.stdout
            .starts_with("REFUSED: 3.4.34 -> 3.5.27, for 1 reason\n")
    );
    assert!(
        ran.stdout
            .contains("ConfigKeyUnsupported: configuration key")
    );
    assert!(
        ran.stdout
            .contains("  remedy: write `next-cluster-version-compatible: true`")
    );
}

fn endpoints(cluster: &Cluster, all: &str) {
    let two = all.rsplit_once(',').unwrap().0;
    let ran = ask(two, UP, &[]);
    let mismatch = ran.refused_only("MemberCountMismatch");
    assert!(
        mismatch["message"].as_str().unwrap().contains("m2"),
        "{mismatch}"
    );

    let nobody = format!("http://127.0.0.1:{}", free_ports(1)[0]);
    let ran = ask(&format!("{two},{nobody}"), UP, &[]);
    assert_eq!(ran.refused("MemberUnreachable")["member"], nobody.as_str());

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let half_open = format!("http://{}", listener.local_addr().unwrap());
    let ran = ask(&format!("{two},{half_open}"), UP, &[]);
    assert_eq!(
        ran.refused("MemberUnreachable")["member"],
        half_open.as_str()
    );
    assert!(ran.took < Duration::from_secs(6), "{:?}", ran.took);

    let localhost = cluster.nodes[0]
        .client_url
        .replace("127.0.0.1", "localhost");
    let ran = ask(&format!("{all},{localhost}"), UP, &[]);
    ran.refused_only("MemberCountMismatch");

    let unknown = ask(&half_open, UP, &[]).unknown();
    assert!(unknown.contains(&half_open), "{unknown}");
}

fn alarm(all: &str, url: &str) {
    let alarm = |action| json!({"action": action, "memberID": 0, "alarm": "NOSPACE"});
    gateway(url, "/v3/maintenance/alarm", &alarm("ACTIVATE"));
    let ran = ask(all, UP, &[]);
    ran.refused_only("AlarmActive");
    gateway(url, "/v3/maintenance/alarm", &alarm("DEACTIVATE"));
    ask(all, UP, &[]).allowed();
}

fn learner(cluster: &mut Cluster, all: &str, url: &str) {
    let spare = cluster.spare(V3_4_34);
    let add = json!({"peerURLs": [&spare.peer_url], "isLearner": true});
    let mut id = String::new();
    until("etcd lets us add a learner", || {
        let answer = gateway(url, "/v3/cluster/member/add", &add);
        id = answer["member"]["ID"].as_str().unwrap_or_default().into();
        !id.is_empty()
    });
    let ran = ask(all, UP, &[]);
    ran.refused("LearnerPresent");
    assert!(
        ran.refused("MemberCountMismatch")["message"]
            .to_string()
            .contains("never started")
    );

    let learner_url = spare.client_url.clone();
    cluster.join(spare);
    until("the learner is seen", || {
        let ran = ask(&format!("{all},{learner_url}"), UP, &[]);
        ran.exit == 3
            && ran.codes() == ["LearnerPresent"]
            && ran.json["members"][3]["learner"] == true
    });
    gateway(url, "/v3/cluster/member/remove", &json!({"ID": id}));
    cluster.nodes.pop();
    ask(all, UP, &[]).allowed();
}

fn diverged(cluster: &mut Cluster, all: &str) {
    cluster.nodes[2].stop();
    let ran = ask(all, UP, &[]);
    assert_eq!(ran.refused("MemberUnreachable")["member"], "m2");
    let database = cluster.nodes[2].data.join("member/snap/db");
    flip_one_byte(&database, "the only value that is looked for");
    cluster.restart(2, V3_4_34);
    let ran = ask(all, UP, &[]);
    let mismatch = ran.refused_only("HashMismatch");
    assert!(
        mismatch["message"].as_str().unwrap().contains("m2 "),
        "{mismatch}"
    );
}

fn hung(cluster: &Cluster, all: &str) {
    cluster.nodes[1].signal(Signal::SIGSTOP);
    until("the others have a leader", || {
        let body = json!({"key": base64("x")});
        let answer = gateway(&cluster.nodes[0].client_url, "/v3/kv/range", &body);
        answer.get("header").is_some()
    });
    let ran = ask(all, UP, &[]);
    assert_eq!(ran.refused("MemberUnreachable")["member"], "m1");
    assert!(ran.took < Duration::from_secs(6), "{:?}", ran.took);
    cluster.nodes[1].signal(Signal::SIGCONT);
}

#[test]
fn a_cluster_of_two_releases_is_refused() {
    let mut cluster = Cluster::start(&[V3_4_34; 3]);
    cluster.await_cluster_version("3.4");
    cluster.nodes[1].stop();
    cluster.restart(1, V3_5_27);
    until("the 3.5 member has caught up", || {
        let ran = ask(&cluster.endpoints(), UP, &[]);
        ran.exit == 3 && ran.codes() == ["VersionSkew"]
    });
    let ran = ask(&cluster.endpoints(), UP, &[]);
    assert_eq!(ran.refused_only("VersionSkew")["member"], "m1");
}

#[test]
fn a_3_5_cluster_may_go_back_until_its_downgrade_job_is_enabled() {
    let cluster = Cluster::start(&[V3_5_27; 3]);
    cluster.await_cluster_version("3.5");
    let all = cluster.endpoints();
    let url = &cluster.nodes[0].client_url;
    ask(&all, DOWN, &["--probe-writes"]).allowed();

    let alarm = |action| json!({"action": action, "memberID": 0, "alarm": "NOSPACE"});
    gateway(url, "/v3/maintenance/alarm", &alarm("ACTIVATE"));
    let ran = ask(&all, DOWN, &[]);
    ran.allowed();
    assert!(ran.json["warnings"].to_string().contains("NOSPACE"));
    gateway(url, "/v3/maintenance/alarm", &alarm("DEACTIVATE"));

    // Whatever this answers, it is applied.
    let enable = json!({"action": "ENABLE", "version": "3.4"});
    gateway(url, "/v3/maintenance/downgrade", &enable);
    until("every member knows of the job", || {
        ask(&all, DOWN, &[]).codes() == ["DowngradeInProgress"; 3]
    });
}

#[test]
fn authentication_is_refused_on_both_releases() {
    for (release, to) in [(V3_4_34, UP), (V3_5_27, DOWN)] {
        let cluster = Cluster::start(&[release]);
        cluster.await_cluster_version(if to == UP { "3.4" } else { "3.5" });
        let url = &cluster.nodes[0].client_url;
        let root = json!({"name": "root", "password": "secret"});
        gateway(url, "/v3/auth/user/add", &root);
        gateway(url, "/v3/auth/role/add", &root);
        gateway(
            url,
            "/v3/auth/user/grant",
            &json!({"user": "root", "role": "root"}),
        );
        gateway(url, "/v3/auth/enable", &json!({}));
        ask(url, to, &[]).refused_only("AuthEnabled");
    }
}

#[test]
fn a_wrong_ca_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let self_signed = || {
        let names = vec!["127.0.0.1".to_owned()];
        rcgen::generate_simple_self_signed(names).unwrap()
    };
    let (theirs, other) = (self_signed(), self_signed());
    let cert = write(&dir, "cert.pem", &theirs.cert.pem());
    let key = write(&dir, "key.pem", &theirs.signing_key.serialize_pem());
    let wrong = write(&dir, "wrong.pem", &other.cert.pem());
    let flags = [format!("--cert-file={cert}"), format!("--key-file={key}")];
    let cluster = Cluster::start_with(&[V3_5_27], "https", &flags);
    let url = &cluster.nodes[0].client_url;

    until("it is allowed with the right CA", || {
        ask(url, DOWN, &["--cacert", &cert]).exit == 0
    });
    let unknown = ask(url, DOWN, &["--cacert", &wrong]).unknown();
    assert!(unknown.contains("--cacert"), "{unknown}");
    assert!(unknown.contains(url.as_str()), "{unknown}");

    let ran = ask(url, DOWN, &[]);
    assert_eq!((ran.exit, ran.stdout.as_str()), (64, ""));
    assert!(ran.stderr.contains("--cacert"), "{}", ran.stderr);
}

#[test]
fn a_command_line_that_is_wrong_says_what_to_write() {
    let url = "http://127.0.0.1:1";
    let cases: &[(&[&str], &str)] = &[
        (&["--to", UP], "--endpoints"),
        (&["--endpoints", url], "--to"),
        (&["--endpoints", url, "--to", "3.5"], "MAJOR.MINOR.PATCH"),
        (
            &["--endpoints", "10.0.0.1:2379", "--to", UP],
            "https://10.0.0.1:2379",
        ),
        (
            &["--endpoints", "http://a:1,http://a:1", "--to", UP],
            "http://a:1 twice",
        ),
        (
            &["--endpoints", url, "--to", UP, "--timeout", "0s"],
            "more than nothing",
        ),
        (
            &["--endpoints", url, "--to", UP, "--cacert", "/absent"],
            "--cacert /absent",
        ),
        (
            &["--endpoints", url, "--to", UP, "--cert", "/absent"],
            "without --key",
        ),
        (
            &["--endpoints", url, "--to", UP, "--config", "/absent"],
            "--config /absent",
        ),
        (
            &["--endpoints", url, "--to", UP, "--config", "/dev/null"],
            "not a mapping",
        ),
    ];
    for (args, expected) in cases {
        let ran = preflight(args);
        assert_eq!((ran.exit, ran.stdout.as_str()), (64, ""), "{args:?}");
        assert!(ran.stderr.contains(expected), "{args:?}: {}", ran.stderr);
    }
    let help = preflight(&["--help"]);
    assert_eq!(help.exit, 0);
    assert!(help.stdout.contains("Examples:") && help.stdout.contains("Exit status:"));
}
