//! A backup through every provider, from a genuine etcd to a genuine etcd, with a real server between.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod common_gateway;
mod common_live;
mod common_place;
mod common_preflight;
mod common_relay;
mod common_stores;

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use common_gateway as gateway;
use common_live::{assert_same, restored_by};
use common_place::{druid, json, refused, stderr, succeed, value};
use common_preflight::Release::{V3_4_34, V3_5_27};
use common_preflight::{Cluster, Release, until};
use common_relay::{Mode, Relay, relay};
use common_stores::{
    AlibabaServer, AzureServer, BUCKET, GoogleServer, OpenStack, S3_KEY, S3_SECRET, S3Server,
};
use serde_json::Value;

/// How a store is reached at a server, or at what stands before it.
struct Reached {
    scheme: &'static str,
    flags: Vec<String>,
    variables: Vec<(String, String)>,
    /// Variables with another secret, and what is said of it. `None` where the server asks for none.
    denied: Option<(Vec<(String, String)>, &'static str)>,
}

/// A server of one provider.
trait Server {
    /// `host:port`.
    fn address(&self) -> String;
    /// At this address.
    fn at(&self, address: &str) -> Reached;
    /// What must not be there besides the snapshots of the store, as they are listed.
    fn left(&self, _listed: &[String]) -> Vec<String> {
        Vec::new()
    }
}

fn owned<const N: usize>(variables: [(&str, &str); N]) -> Vec<(String, String)> {
    let own = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    own.into()
}

fn endpoint(url: &str) -> Vec<String> {
    vec![format!("--store-endpoint-override={url}")]
}

struct Azure(AzureServer);

impl Server for Azure {
    fn address(&self) -> String {
        self.0.address().to_string()
    }

    fn at(&self, address: &str) -> Reached {
        Reached {
            scheme: "abs",
            flags: endpoint(&AzureServer::endpoint(address)),
            variables: self.0.variables(true),
            denied: Some((self.0.variables(false), "AuthorizationFailure")),
        }
    }
}

struct Google(GoogleServer);

impl Server for Google {
    fn address(&self) -> String {
        self.0.address().to_string()
    }

    fn at(&self, address: &str) -> Reached {
        let mut flags = endpoint(&format!("http://{address}"));
        // It does not know uploads in parts.
        flags.push("--min-chunk-size=67108864".to_owned());
        Reached {
            scheme: "gcs",
            flags,
            variables: Vec::new(),
            denied: None,
        }
    }
}

struct Swift(OpenStack);

impl Server for Swift {
    fn address(&self) -> String {
        self.0.address().to_string()
    }

    fn at(&self, address: &str) -> Reached {
        self.0.offer(&format!("http://{address}"));
        Reached {
            scheme: "swift",
            flags: Vec::new(),
            variables: self.0.variables(true),
            denied: Some((self.0.variables(false), "401 Unauthorized")),
        }
    }

    fn left(&self, listed: &[String]) -> Vec<String> {
        let kept = |it: &String| listed.iter().any(|name| it.contains(name.as_str()));
        self.0
            .objects()
            .into_iter()
            .filter(|it| !kept(it))
            .collect()
    }
}

struct Alibaba(AlibabaServer);

impl Alibaba {
    fn variables(&self, address: &str, right: bool) -> Vec<(String, String)> {
        let mut variables = self.0.variables(right);
        let proxy = format!("http://{address}");
        variables.push(("HTTP_PROXY".to_owned(), proxy));
        variables
    }
}

impl Server for Alibaba {
    fn address(&self) -> String {
        self.0.address().to_string()
    }

    fn at(&self, address: &str) -> Reached {
        Reached {
            scheme: "oss",
            flags: Vec::new(),
            variables: self.variables(address, true),
            denied: Some((self.variables(address, false), "SignatureDoesNotMatch")),
        }
    }

    fn left(&self, _listed: &[String]) -> Vec<String> {
        open_uploads(&self.0.s3)
    }
}

/// S3, as each of those has it that speak it.
enum S3Dialect {
    Amazon,
    OpenShift,
    Ecs,
}

struct S3(S3Server, S3Dialect);

impl S3 {
    fn variables(&self, address: &str, secret: &str) -> Vec<(String, String)> {
        match self.1 {
            S3Dialect::Amazon => self.0.variables_for(&format!("http://{address}"), secret),
            S3Dialect::OpenShift => {
                let fields = [
                    ("endpoint", address),
                    ("region", "us-east-1"),
                    ("accessKeyID", S3_KEY),
                    ("secretAccessKey", secret),
                    ("disableSSL", "true"),
                ];
                let directory = self.0.write_fields(secret, &fields);
                owned([("OPENSHIFT_APPLICATION_CREDENTIALS", &directory)])
            }
            S3Dialect::Ecs => owned([
                ("ECS_ENDPOINT", address),
                ("ECS_ACCESS_KEY_ID", S3_KEY),
                ("ECS_SECRET_ACCESS_KEY", secret),
                ("ECS_DISABLE_SSL", "true"),
            ]),
        }
    }
}

impl Server for S3 {
    fn address(&self) -> String {
        self.0.address().to_string()
    }

    fn at(&self, address: &str) -> Reached {
        let denied = self.variables(address, "wrong");
        Reached {
            scheme: match self.1 {
                S3Dialect::Amazon => "s3",
                S3Dialect::OpenShift => "ocs",
                S3Dialect::Ecs => "ecs",
            },
            flags: Vec::new(),
            variables: self.variables(address, S3_SECRET),
            denied: Some((denied, "SignatureDoesNotMatch")),
        }
    }

    fn left(&self, _listed: &[String]) -> Vec<String> {
        open_uploads(&self.0)
    }
}

fn open_uploads(server: &S3Server) -> Vec<String> {
    let open = server.open_uploads().into_iter();
    open.map(|it| it.display().to_string()).collect()
}

impl Reached {
    /// `druid VERB STORE`, reaching it so.
    fn druid(&self, verb: &[&str]) -> Command {
        self.druid_below("etcd-main", verb)
    }

    /// The same for another prefix.
    fn druid_below(&self, prefix: &str, verb: &[&str]) -> Command {
        let mut command = druid(verb);
        command
            .arg(format!("{}://{BUCKET}/{prefix}", self.scheme))
            .args(&self.flags)
            .envs(self.variables.iter().map(|(name, it)| (name, it)));
        command
    }

    fn once(&self, kind: &str, url: &str) -> Value {
        let mut command = self.druid(&["snapshot", "--output=json", "--once", kind]);
        json(&succeed(command.args(["--endpoints", url])))
    }

    /// The names of what is listed.
    fn listed(&self) -> Vec<String> {
        let said = json(&succeed(&mut self.druid(&["inspect", "--output=json"])));
        let snapshots = said["snapshots"].as_array().unwrap();
        let key = |it: &Value| it["key"].as_str().unwrap().to_owned();
        let name = |it: &Value| key(it).rsplit('/').next().unwrap().to_owned();
        snapshots.iter().map(name).collect()
    }

    fn verified(&self) -> Value {
        json(&succeed(&mut self.druid(&["verify", "--output=json"])))
    }
}

/// Puts values that do not pack, half a MiB each. Returns the revision.
fn write(url: &str, name: &str, values: i64) -> i64 {
    let large = |n: i64| {
        (0..512)
            .flat_map(|it| value(n * 512 + it))
            .collect::<Vec<u8>>()
    };
    let put = |n| gateway::put(url, &format!("{name}{n}"), &large(n));
    (0..values).map(put).max().unwrap()
}

/// Everything that a store is for, through one provider.
fn goes_there_and_back(server: &dyn Server, release: Release) {
    let etcd = Cluster::start(&[release]);
    let url = etcd.nodes[0].client_url.clone();
    let relay = relay(&server.address(), Mode::Up);
    let store = server.at(&format!("127.0.0.1:{}", relay.address().port()));
    assert_eq!(store.listed(), Vec::<String>::new());

    // A full snapshot of three parts of 5 MiB, a delta of two, and one of less than one.
    write(&url, "a", 22);
    let full = store.once("full", &url);
    write(&url, "b", 11);
    let delta = store.once("delta", &url);
    let last = gateway::put(&url, "c", b"last");
    store.once("delta", &url);
    for (taken, parts) in [(full, 2), (delta, 1)] {
        let bytes = taken["bytes"].as_u64().unwrap();
        assert!(bytes > parts * (5 << 20), "{taken}");
    }
    assert_eq!(store.listed().len(), 3);
    let verified = store.verified();
    assert_eq!(verified["restore"]["revision"], last, "{verified}");

    is_patient(&store, &relay);
    if let Some((variables, said)) = &store.denied {
        let mut inspect = store.druid(&["inspect"]);
        inspect.envs(variables.iter().map(|(name, it)| (name, it)));
        refused(&mut inspect, "access denied");
        refused(&mut inspect, said);
    }
    let restored = restored_by(store.druid(&["restore"]), release);
    assert_same(&etcd, &restored, last);
    drop(restored);

    let last = collects(
        &store,
        &url,
        &etcd.nodes[0].data.with_extension("snapshots"),
    );
    let listed = store.listed();
    assert!(
        listed.len() == 1 && listed[0].starts_with("Full-"),
        "{listed:?}"
    );
    assert_eq!(server.left(&listed), Vec::<String>::new());
    assert_eq!(store.verified()["restore"]["revision"], last);
}

/// A store that is busy, and then says nothing, before it answers.
fn is_patient(store: &Reached, relay: &Relay) {
    relay.become_so(Mode::Busy);
    let verify = begin(store.druid(&["verify"]));
    until("it was asked", || relay.refused() > 0);
    relay.become_so(Mode::Mute);
    std::thread::sleep(std::time::Duration::from_secs(1));
    relay.become_so(Mode::Up);
    let output = verify.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

/// A full snapshot more than are to be kept, and the rest goes. Returns the revision of the one.
fn collects(store: &Reached, url: &str, log: &Path) -> i64 {
    let last = gateway::put(url, "d", b"last");
    let mut snapshot = store.druid(&["snapshot", "--endpoints", url]);
    snapshot
        .args(["--garbage-collection-period=1100ms", "--max-backups=1"])
        .arg("--garbage-collection-policy=LimitBased")
        .stderr(File::create(log).unwrap());
    store.once("full", url);
    let mut running = Killed(snapshot.spawn().unwrap());
    until("what is too much is gone", || store.listed().len() == 1);
    assert_eq!(running.0.try_wait().unwrap(), None);
    last
}

fn begin(mut command: Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Killed when dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn azure_brings_back_what_it_was_given() {
    if let Some(server) = AzureServer::start() {
        goes_there_and_back(&Azure(server), V3_4_34);
    }
}

#[test]
fn google_brings_back_what_it_was_given() {
    goes_there_and_back(&Google(GoogleServer::start()), V3_5_27);
}

#[test]
fn swift_brings_back_what_it_was_given() {
    if let Some(server) = OpenStack::start() {
        goes_there_and_back(&Swift(server), V3_5_27);
    }
}

#[test]
fn swift_takes_an_application_as_it_takes_a_user() {
    let Some(server) = OpenStack::start() else {
        return;
    };
    let reached = Reached {
        scheme: "swift",
        flags: Vec::new(),
        variables: server.application(),
        denied: None,
    };
    assert_eq!(reached.listed(), Vec::<String>::new());
    let wrong = ("OS_APPLICATION_CREDENTIAL_SECRET", "wrong");
    refused(
        reached.druid(&["inspect"]).env(wrong.0, wrong.1),
        "access denied (401",
    );
}

#[test]
fn amazon_brings_back_what_it_was_given() {
    goes_there_and_back(&S3(S3Server::start(), S3Dialect::Amazon), V3_4_34);
}

#[test]
fn openshift_brings_back_what_it_was_given() {
    goes_there_and_back(&S3(S3Server::start(), S3Dialect::OpenShift), V3_5_27);
}

#[test]
fn ecs_brings_back_what_it_was_given() {
    // The region that requests to ECS are signed for.
    let server = S3Server::start_in("US-Standard");
    goes_there_and_back(&S3(server, S3Dialect::Ecs), V3_4_34);
}

#[test]
fn alibaba_brings_back_what_it_was_given() {
    goes_there_and_back(&Alibaba(AlibabaServer::start()), V3_5_27);
}

#[test]
fn alibabas_own_client_reads_and_writes_the_same_objects() {
    let server = Alibaba(AlibabaServer::start());
    let store = server.at(&server.address());
    let etcd = Cluster::start(&[V3_4_34]);
    let url = etcd.nodes[0].client_url.clone();
    write(&url, "a", 22);
    store.once("full", &url);
    write(&url, "b", 11);
    store.once("delta", &url);
    let last = gateway::put(&url, "c", b"last");
    store.once("delta", &url);

    let copied = server.0.copy("etcd-main/", "copied/");
    assert_eq!(copied.len(), 3, "{copied:?}");
    let restored = restored_by(store.druid_below("copied", &["restore"]), V3_4_34);
    assert_same(&etcd, &restored, last);
}
