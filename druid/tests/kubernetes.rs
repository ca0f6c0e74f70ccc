//! The API server that tests run against is a real one.
#![allow(clippy::unwrap_used, reason = "a test that cannot ask fails")]

mod common_cluster;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common_cluster::Cluster;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases";

#[test]
fn a_lease_is_made_patched_and_read_back_with_a_client_certificate() {
    let cluster = Cluster::shared();
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": { "name": "etcd-main-0" },
        "spec": { "holderIdentity": "somebody", "leaseDurationSeconds": 10 },
    });
    let client = Client::new(&cluster, Identity::Admin);
    let (status, _) = client.send("POST", LEASES, Some(("application/json", &lease)));
    assert_eq!(status, 201);

    let one = format!("{LEASES}/etcd-main-0");
    let patch = json!({ "spec": { "holderIdentity": "4c30a89a:Leader" } });
    let kind = "application/merge-patch+json";
    let (status, patched) = client.send("PATCH", &one, Some((kind, &patch)));
    assert_eq!(status, 200, "{patched}");

    let (status, read) = client.send("GET", &one, None);
    assert_eq!(status, 200);
    assert_eq!(read, patched);
    assert_eq!(read["spec"]["holderIdentity"], "4c30a89a:Leader");
    assert_eq!(read["spec"]["leaseDurationSeconds"], 10);

    let audit = std::fs::read_to_string(cluster.audit_log()).unwrap();
    let of_the_patch = audit
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|event| event["verb"] == "patch" && event["requestURI"] == one.as_str());
    let users: Vec<_> = of_the_patch
        .map(|it| it["user"]["username"].clone())
        .collect();
    assert_eq!(users, ["druid-admin"]);

    // Whoever names an old version loses.
    let old = json!({ "metadata": { "resourceVersion": "1" }, "spec": {} });
    assert_eq!(client.send("PATCH", &one, Some((kind, &old))).0, 409);
    let version = &read["metadata"]["resourceVersion"];
    let current = json!({ "metadata": { "resourceVersion": version }, "spec": {} });
    let (status, _) = client.send("PATCH", &one, Some((kind, &current)));
    assert_eq!(status, 200);
}

#[test]
fn kubectl_and_the_kubeconfig_reach_it() {
    let cluster = Cluster::shared();
    cluster.kubectl(&["create", "namespace", "by-kubectl"]);
    let path = cluster.kubeconfig();
    let in_it = ["--kubeconfig", path.to_str().unwrap(), "-n", "by-kubectl"];
    let with = |args: &[&str]| cluster.kubectl(&[&in_it[..], args].concat());
    with(&["create", "configmap", "c", "--from-literal=a=1"]);
    with(&[
        "patch",
        "configmap",
        "c",
        "--type=merge",
        "-p",
        r#"{"data":{"a":"2"}}"#,
    ]);
    assert_eq!(
        with(&["get", "configmap", "c", "-o", "jsonpath={.data.a}"]),
        "2"
    );
    assert_eq!(cluster.kubectl(&["version"]).lines().count(), 3);
}

#[test]
fn whoever_has_no_right_is_refused() {
    let cluster = Cluster::shared();
    cluster.kubectl(&["create", "namespace", "rights"]);
    let in_rights = LEASES.replace("/default/", "/rights/");
    let nobody = Client::new(&cluster, Identity::Nobody);
    assert_eq!(nobody.send("GET", &in_rights, None).0, 403);

    let token = cluster.token("rights", "agent");
    let agent = Client::new(&cluster, Identity::Token(&token));
    assert_eq!(agent.send("GET", &in_rights, None).0, 403);
    let allow = "create role leases --verb=list --resource=leases.coordination.k8s.io -n rights";
    cluster.kubectl(&allow.split(' ').collect::<Vec<_>>());
    let bind = "create rolebinding leases --role=leases --serviceaccount=rights:agent -n rights";
    cluster.kubectl(&bind.split(' ').collect::<Vec<_>>());
    // The authorizer follows the objects by a watch.
    let allowed = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        agent.send("GET", &in_rights, None).0 == 200
    });
    assert!(allowed, "a role that was bound gave no right within 5 s");
    assert_eq!(agent.send("GET", LEASES, None).0, 403);
}

#[test]
fn nothing_is_left_of_one_that_was_dropped() {
    let cluster = Cluster::start();
    let address = cluster.server().trim_start_matches("https://").to_owned();
    let directory = cluster.ca().ancestors().nth(2).unwrap().to_owned();
    assert!(TcpStream::connect(&address).is_ok());
    assert!(mentioned_by_a_process(&directory));
    drop(cluster);
    assert!(TcpStream::connect(&address).is_err());
    assert!(!mentioned_by_a_process(&directory));
    assert!(!directory.exists());
}

/// Whether a process has it in its command line.
fn mentioned_by_a_process(directory: &Path) -> bool {
    let wanted = directory.to_str().unwrap();
    std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        std::fs::read(entry.path().join("cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains(wanted))
    })
}

#[derive(Clone, Copy)]
enum Identity<'a> {
    Admin,
    Token(&'a str),
    Nobody,
}

/// Plain HTTPS, a connection for each request.
struct Client {
    address: String,
    config: Arc<ClientConfig>,
    token: Option<String>,
}

impl Client {
    fn new(cluster: &Cluster, identity: Identity<'_>) -> Self {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(cluster.ca()).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let (config, token) = match identity {
            Identity::Admin => {
                let certificate = CertificateDer::from_pem_file(cluster.certificate()).unwrap();
                let key = PrivateKeyDer::from_pem_file(cluster.key()).unwrap();
                let config = config
                    .with_client_auth_cert(vec![certificate], key)
                    .unwrap();
                (config, None)
            }
            Identity::Token(token) => (config.with_no_client_auth(), Some(token.to_owned())),
            Identity::Nobody => (config.with_no_client_auth(), None),
        };
        Self {
            address: cluster.server().trim_start_matches("https://").to_owned(),
            config: Arc::new(config),
            token,
        }
    }

    /// The status and the JSON that is answered.
    fn send(&self, method: &str, path: &str, body: Option<(&str, &Value)>) -> (u16, Value) {
        let socket = TcpStream::connect(&self.address).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let name = "127.0.0.1".try_into().unwrap();
        let session = ClientConnection::new(self.config.clone(), name).unwrap();
        let mut stream = StreamOwned::new(session, socket);
        let (kind, body) = body.map_or(("application/json", String::new()), |(kind, body)| {
            (kind, body.to_string())
        });
        let bearer = self.token.as_ref().map_or(String::new(), |token| {
            format!("Authorization: Bearer {token}\r\n")
        });
        // HTTP 1.0: the answer ends with the connection.
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: {}\r\n{bearer}Content-Type: {kind}\r\n\
             Content-Length: {length}\r\n\r\n{body}",
            self.address
        )
        .unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap())
    }
}
