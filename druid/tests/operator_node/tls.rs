//! TLS on all three paths: clients, peers, sidecars, each with an authority of its own. The sidecar of the
//! leading member is asked for snapshots, and no other. In the middle of a roll one of their Secrets
//! vanishes, and comes back with other certificates of the same authority.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::edits::{held, upgrade};
use crate::common_authority::Authority;
use crate::common_operator::etcd::{Address, Tls};
use crate::common_operator::space::{Space, enabled};
use crate::common_operator::writer::Writer;
use crate::common_operator::{NEW, OLD, Operator, eventually};

/// All names that a member goes by.
fn names(namespace: &str) -> Vec<String> {
    let mut names = vec![
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "main-local".to_owned(),
    ];
    for service in ["main-client", "*.main-peer"] {
        names.push(service.to_owned());
        for domain in ["", ".svc", ".svc.cluster.local"] {
            names.push(format!("{service}.{namespace}{domain}"));
        }
    }
    names
}

fn secret(space: &Space, name: &str, data: &[(&str, &str)]) -> Value {
    let data: serde_json::Map<_, _> = data
        .iter()
        .map(|(key, value)| ((*key).to_owned(), json!(STANDARD.encode(value))))
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": name, "namespace": space.name },
        "data": data,
    })
}

/// Makes the Secrets of a path, and returns a client of it.
fn path(space: &Space, path: &str, authority: &Authority) -> Tls {
    let server = authority.issue(&names(space.name));
    let client = authority.issue(&["client".to_owned()]);
    let pair = |name: &str, (certificate, key): &(String, String)| {
        secret(
            space,
            &format!("{path}-{name}"),
            &[("tls.crt", certificate), ("tls.key", key)],
        )
    };
    space.operator.cluster.apply(&[
        secret(space, &format!("{path}-ca"), &[("ca.crt", &authority.pem)]),
        pair("server", &server),
        pair("client", &client),
    ]);
    Tls {
        ca: authority.pem.clone(),
        certificate: client.0,
        key: client.1,
        name: "localhost".to_owned(),
    }
}

/// Makes the Secrets of all paths and has an Etcd use them. Returns the authority of the clients, and
/// one of them.
pub(crate) fn on_all_paths(space: &Space, spec: &mut Value) -> (Authority, Tls) {
    let clients = Authority::new();
    let tls = path(space, "client", &clients);
    path(space, "backup", &Authority::new());
    path(space, "peer", &Authority::new());
    let of = |path: &str| {
        let name = |it: &str| json!({ "name": format!("{path}-{it}") });
        json!({
            "tlsCASecretRef": name("ca"),
            "serverTLSSecretRef": name("server"),
            "clientTLSSecretRef": name("client"),
        })
    };
    spec["etcd"] = json!({ "clientUrlTls": of("client"), "peerUrlTls": of("peer") });
    spec["backup"]["tls"] = of("backup");
    (clients, tls)
}

/// Until the numbers tell when each certificate expires.
fn await_expiries(space: &Space) {
    // Members show each other the server's.
    let certificates = [
        ("backup-ca", "ca.crt"),
        ("backup-client", "tls.crt"),
        ("backup-server", "tls.crt"),
        ("client-ca", "ca.crt"),
        ("client-client", "tls.crt"),
        ("client-server", "tls.crt"),
        ("peer-ca", "ca.crt"),
        ("peer-server", "tls.crt"),
    ];
    eventually("the numbers tell when certificates expire", || {
        let numbers = space.operator.numbers()?;
        let told = |(secret, key): &(&str, &str)| {
            numbers.contains(&format!(
                "druid_certificate_expiry_timestamp_seconds{{etcd_namespace=\"tls\",\
                 etcd=\"main\",secret=\"{secret}\",key=\"{key}\"}}"
            ))
        };
        certificates.iter().all(told).then_some(())
    });
}

#[test]
fn with_tls_on_all_paths_it_goes_up_and_back() {
    let Some(operator) = Operator::shared() else {
        return;
    };
    let _works = Operator::works();
    let space = Space::new(operator, "tls");

    let mut spec = space.spec("main");
    let (clients, tls) = on_all_paths(&space, &mut spec);
    space.ready("main", &spec);
    assert_eq!(space.versions("main", Some(&tls)), [OLD.to_owned()].into());
    let writer = Writer::start(Address {
        ip: space.client("main"),
        tls: Some(tls.clone()),
    });
    await_expiries(&space);

    let (before, since) = (space.pods("main"), space.mark());
    let last = held(&space, &before, Some(&tls));
    for name in ["client-client", "client-server"] {
        // It stays as long as an Etcd refers to it, but for somebody who insists.
        space.kubectl(&["delete", "secret", name, "--wait=false"]);
        let insist = r#"{"metadata":{"finalizers":null}}"#;
        space.kubectl(&["patch", "secret", name, "--type=merge", "-p", insist]);
        let missing = format!("Secret `{name}`, which spec.etcd.clientUrlTls.");
        space.until("main", "says what is missing", |it| {
            let errors = it["status"]["lastErrors"].to_string();
            errors.contains(&missing).then_some(())
        });
    }
    space.patch("main", &upgrade(&json!({ "holdLast": false })));
    writer.await_more();
    std::thread::sleep(Duration::from_secs(3));
    writer.await_more();
    assert_eq!(space.pods("main")[&last].uid, before[&last].uid);
    // Whoever has the client's certificate of before is still let in.
    path(&space, "client", &clients);
    space.await_phase("main", 1, NEW, "Succeeded");
    space.restarted_once("main", &before, since);
    assert_eq!(space.versions("main", Some(&tls)), [NEW.to_owned()].into());
    let only = ("main-upgrade-1-try-1".to_owned(), "Succeeded".to_owned());
    assert_eq!(space.tasks(), [only].into());

    let (before, since) = (space.pods("main"), space.mark());
    space.patch("main", &enabled(false));
    space.await_phase("main", 2, OLD, "Succeeded");
    space.restarted_once("main", &before, since);
    assert_eq!(space.versions("main", Some(&tls)), [OLD.to_owned()].into());
    writer.finish();
}
