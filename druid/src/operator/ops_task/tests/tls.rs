use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::ResourceExt as _;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::json;

use super::bed::{Bed, codes};
use super::scripted::{Does, Scripted};
use super::sidecar::Sidecar;
use crate::etcd::tests::common::free_ports;
use crate::operator::leading::Sidecars;
use crate::serve::tls::Certificates;
use crate::web::{Trust, Web};

/// The CA in PEM, and a certificate of it for `name`, and its key.
fn certificates(directory: &Path, name: &str) -> (String, [PathBuf; 2]) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new([name.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let (cert, private) = (directory.join("crt"), directory.join("key"));
    std::fs::write(&cert, certificate.pem()).unwrap();
    std::fs::write(&private, key.serialize_pem()).unwrap();
    (pem, [cert, private])
}

async fn stateful_set(bed: &Bed, volumes: serde_json::Value) {
    let object: StatefulSet = serde_json::from_value(json!({
        "metadata": { "name": "main" },
        "spec": {
            "serviceName": "main-peer", "selector": { "matchLabels": { "a": "b" } },
            "template": {
                "metadata": { "labels": { "a": "b" } },
                "spec": {
                    "containers": [{ "name": "etcd", "image": "etcd" }], "volumes": volumes,
                },
            },
        },
    }))
    .unwrap();
    let api = bed.api::<StatefulSet>();
    let _ = api.delete("main", &DeleteParams::default()).await;
    api.create(&PostParams::default(), &object).await.unwrap();
}

async fn secret(bed: &Bed, name: &str, data: &[(&str, &str)]) {
    let data: serde_json::Map<_, _> = data
        .iter()
        .map(|(key, value)| ((*key).to_owned(), json!(value)))
        .collect();
    let object: Secret = serde_json::from_value(json!({
        "metadata": { "name": name }, "stringData": data,
    }))
    .unwrap();
    let api = bed.api::<Secret>();
    api.create(&PostParams::default(), &object).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_with_tls_is_trusted_by_the_ca_that_its_pods_have() {
    let bed = Bed::new("tls").await;
    let directory = tempfile::tempdir().unwrap();
    let (ca, [cert, key]) = certificates(directory.path(), "main-client.tls");
    let flags = [
        format!("--server-cert={}", cert.display()),
        format!("--server-key={}", key.display()),
    ];
    let trust = Trust {
        ca: ca.clone().into_bytes(),
        pair: None,
    };
    let web = Web::for_server(&trust, "main-client.tls").unwrap();
    let sidecar = Sidecar::start(&web, "https", &flags).await;
    let backup = json!({
        "store": { "prefix": "p" },
        "tls": {
            "tlsCASecretRef": { "name": "of-the-spec" },
            "serverTLSSecretRef": { "name": "server" },
        },
    });
    bed.etcd_with("main", sidecar.port, backup).await;
    let _operator = bed.operator();
    let elsewhere = tempfile::tempdir().unwrap();
    let (other, _) = certificates(elsewhere.path(), "main-client.tls");
    secret(&bed, "live", &[("ca.crt", &ca)]).await;
    secret(&bed, "odd", &[("bundle.crt", "no certificate")]).await;
    secret(&bed, "keyless", &[("tls.crt", &ca)]).await;
    secret(&bed, "others", &[("bundle.crt", &other)]).await;
    let of =
        |name: &str| json!([{ "name": "backup-restore-ca", "secret": { "secretName": name } }]);

    for (name, volumes, state, code) in [
        ("no-volume", json!([]), "Failed", Some("ERR_GET_CA_SECRET")),
        (
            "missing",
            of("missing"),
            "Failed",
            Some("ERR_GET_CA_SECRET"),
        ),
        (
            "keyless",
            of("keyless"),
            "Failed",
            Some("ERR_CA_DATA_KEY_NOT_FOUND"),
        ),
        ("odd", of("odd"), "Failed", Some("ERR_APPEND_CA_CERTS")),
        (
            "others",
            of("others"),
            "Failed",
            Some("ERR_EXECUTE_HTTP_REQUEST"),
        ),
        ("live", of("live"), "Succeeded", None),
    ] {
        stateful_set(&bed, volumes).await;
        bed.snapshot(name, "main", json!({ "type": "full" })).await;
        let status = bed.when(name, |it| it["status"]["state"] == state).await["status"].clone();
        assert_eq!(codes(&status).last().copied(), code, "{name}: {status:#}");
    }
}

/// A pod of the StatefulSet, as far as anybody who looks for its sidecar can see.
async fn pod(bed: &Bed, name: &str, address: &str) {
    let set = bed.api::<StatefulSet>().get("main").await.unwrap();
    let object: Pod = serde_json::from_value(json!({
        "metadata": {
            "name": name, "labels": druid_core::render::owner_labels("main"),
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "main",
                "uid": set.uid().unwrap(), "controller": true,
            }],
        },
        "spec": {
            "containers": [{ "name": "etcd", "image": "etcd" }],
            "automountServiceAccountToken": false,
        },
    }))
    .unwrap();
    let api = bed.api::<Pod>();
    api.create(&PostParams::default(), &object).await.unwrap();
    let status = json!({ "status": { "podIP": address, "podIPs": [{ "ip": address }] } });
    let (params, patch) = (PatchParams::default(), Patch::Merge(&status));
    api.patch_status(name, &params, &patch).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_sidecars_with_a_ca_of_their_own_only_the_leader_s_is_asked() {
    let bed = Bed::new("leading").await;
    let directory = tempfile::tempdir().unwrap();
    let (ca, [cert, key]) = certificates(directory.path(), "main-client.leading");
    let port = free_ports(1)[0];
    // What a sidecar answers that has to ask another one, and does not trust it.
    let no = [Does::Says(405, "BadSignature")];
    let takes = [Does::Takes(Duration::ZERO)];
    let sidecar = |address: &str, leads, does| {
        let certificates = Certificates::read(&cert, &key).unwrap();
        let address = format!("{address}:{port}");
        async move { Scripted::at(&address, Some(certificates), leads, does).await }
    };
    let follower = sidecar("127.0.0.2", false, &no[..]).await;
    let leader = sidecar("127.0.0.3", true, &takes[..]).await;
    let backup = json!({
        "store": { "prefix": "p" }, "port": port,
        "tls": {
            "tlsCASecretRef": { "name": "own" }, "serverTLSSecretRef": { "name": "server" },
        },
    });
    bed.etcd_with("main", port, backup).await;
    secret(&bed, "own", &[("ca.crt", &ca)]).await;
    let own = json!([{ "name": "backup-restore-ca", "secret": { "secretName": "own" } }]);
    stateful_set(&bed, own).await;
    pod(&bed, "main-0", "127.0.0.2").await;
    pod(&bed, "main-1", "127.0.0.3").await;
    let _operator = bed.operator_that_finds(Sidecars::Pods);
    for name in ["one", "two", "three"] {
        bed.snapshot(name, "main", json!({ "type": "full" })).await;
        let status = bed.state(name, "Succeeded").await;
        assert_eq!(codes(&status), Vec::<&str>::new(), "{status:#}");
    }
    assert_eq!((leader.posts(), follower.posts()), (3, 0));

    // Nobody is asked as long as nobody leads, and the task says whom it has heard.
    leader.leads(false);
    bed.snapshot("nobody", "main", json!({ "type": "full" }))
        .await;
    let status = bed
        .when("nobody", |it| it["status"]["failedAttempts"] == 1)
        .await;
    let text = status["status"]["lastErrors"][0]["description"].as_str();
    let text = text.unwrap();
    assert!(
        text.contains("main-0 says that it does not lead, main-1 says that it does not lead"),
        "{text}"
    );
    leader.leads(true);
    bed.state("nobody", "Succeeded").await;
    assert_eq!((leader.posts(), follower.posts()), (4, 0));
}
