//! Replicas with certificates that live for seconds, against a genuine API server.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use druid_core::operator::config::{Listen, Protection, ServiceAccount, WebhookServer};
use druid_core::protection::{PATH, Request};
use druid_core::webhook_certificate::{Kept, Terms};
use jiff::SignedDuration;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::{Client, Config};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Counts, End, Settings, pair, run};
use crate::clock;
use crate::operator::ops_task::tests::bed::Bed;

#[path = "../../../tests/common_balancer/mod.rs"]
mod common_balancer;

use common_balancer::Balancer;

const PATIENCE: Duration = Duration::from_secs(20);

/// Ends with its process when dropped, as far as a task can.
struct Replica {
    port: u16,
    numbers: Counts,
    ready: watch::Receiver<bool>,
    _stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn rules() -> Protection {
    Protection {
        operator: ServiceAccount {
            namespace: "druid-system".to_owned(),
            name: "druid".to_owned(),
        },
        exempt: BTreeSet::new(),
    }
}

async fn replica(bed: &Bed, name: &str, seconds: i64) -> Replica {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let numbers = Counts::default();
    let settings = Settings {
        rules: rules(),
        server: WebhookServer {
            listen: Listen {
                address: None,
                port,
            },
            certificates: "/nowhere".to_owned(),
        },
        namespace: bed.namespace.clone(),
        configuration: name.to_owned(),
        secret: name.to_owned(),
        terms: Terms {
            lifetime: SignedDuration::from_secs(seconds),
        },
        numbers: numbers.clone(),
    };
    let (tell, ready) = watch::channel(false);
    let (stop, stopped) = watch::channel(false);
    let end = End {
        leaves: stopped.clone(),
        stop: stopped,
    };
    let task = tokio::spawn(run(bed.client.clone(), settings, listener, tell, end));
    Replica {
        port,
        numbers,
        ready,
        _stop: stop,
        task,
    }
}

/// Maps of the namespace are asked about at this port.
async fn configure(bed: &Bed, name: &str, port: u16) {
    let object = json!({
        "metadata": { "name": name },
        "webhooks": [{
            "name": "maps.druid.example", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "clientConfig": { "url": format!("https://127.0.0.1:{port}{PATH}") },
            "failurePolicy": "Fail", "timeoutSeconds": 5,
            "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": bed.namespace } },
            "rules": [{ "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"],
                "operations": ["UPDATE"] }],
        }],
    });
    let object: ValidatingWebhookConfiguration = serde_json::from_value(object).unwrap();
    let api: Api<ValidatingWebhookConfiguration> = Api::all(bed.client.clone());
    api.create(&PostParams::default(), &object).await.unwrap();
}

/// Whom the API server is told to trust.
async fn trusted(bed: &Bed, name: &str) -> Vec<Vec<u8>> {
    let api: Api<ValidatingWebhookConfiguration> = Api::all(bed.client.clone());
    let object = api.get(name).await.unwrap();
    let webhook = &object.webhooks.unwrap()[0];
    let pem = webhook.client_config.ca_bundle.clone().unwrap_or_default();
    let all = pair::authorities(&pem.0).into_iter();
    all.map(|it| it.der).collect()
}

/// Whether somebody who trusts these takes what is served there: what is served, or why not.
async fn handshake(port: u16, trusted: &[Vec<u8>]) -> Result<Vec<u8>, String> {
    let mut roots = RootCertStore::empty();
    for der in trusted {
        roots.add(CertificateDer::from(der.clone())).unwrap();
    }
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let stream = connector.connect(name, stream).await;
    let stream = stream.map_err(|error| error.to_string())?;
    let (_, session) = stream.get_ref();
    Ok(session.peer_certificates().unwrap()[0].to_vec())
}

/// A map of an Etcd that there is.
async fn protected(bed: &Bed) {
    let store = json!({ "store": { "prefix": "p", "provider": "Local" } });
    bed.etcd_with("a", 1, store).await;
    let map: ConfigMap = serde_json::from_value(json!({ "metadata": { "name": "map", "labels": {
        "app.kubernetes.io/managed-by": "etcd-druid", "app.kubernetes.io/part-of": "a",
    } } }))
    .unwrap();
    let api: Api<ConfigMap> = bed.api();
    api.create(&PostParams::default(), &map).await.unwrap();
}

/// What the API server says to somebody who changes it.
async fn said(bed: &Bed) -> String {
    let patch = Patch::Merge(json!({ "data": { "a": "b" } }));
    let api: Api<ConfigMap> = bed.api();
    match api.patch("map", &PatchParams::default(), &patch).await {
        Ok(_) => "changed".to_owned(),
        Err(error) => error.to_string(),
    }
}

async fn until_asked(bed: &Bed) {
    let began = Instant::now();
    loop {
        let said = said(bed).await;
        if said.contains("belongs to Etcd") {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{said}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_renewed_and_every_request_is_answered_meanwhile() {
    const NAME: &str = "rotation";
    let bed = Bed::new(NAME).await;
    protected(&bed).await;
    let replicas = [replica(&bed, NAME, 12).await, replica(&bed, NAME, 12).await];
    let balancer = Balancer::before(replicas.iter().map(|it| it.port).collect(), |_| true);
    configure(&bed, NAME, balancer.port).await;
    until_asked(&bed).await;
    for replica in &replicas {
        let mut ready = replica.ready.clone();
        tokio::time::timeout(PATIENCE, ready.wait_for(|it| *it))
            .await
            .unwrap()
            .unwrap();
    }
    let mut served = [BTreeSet::new(), BTreeSet::new()];
    let mut most = 0;
    let began = Instant::now();
    // One is renewed after 8 s, and gone after 12 s; then so is the one after it.
    while began.elapsed() < Duration::from_secs(22) {
        let said = said(&bed).await;
        assert!(said.contains("belongs to Etcd"), "{said}");
        let trusted = trusted(&bed, NAME).await;
        most = most.max(trusted.len());
        for (replica, served) in replicas.iter().zip(&mut served) {
            served.insert(handshake(replica.port, &trusted).await.unwrap());
            assert!(*replica.ready.borrow());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The same of both, and each time one certificate for all, however many make it.
    assert_eq!(served[0], served[1]);
    assert!((3..=4).contains(&served[0].len()), "{}", served[0].len());
    assert_eq!(most, 2);
    let text = replicas[0].numbers.text();
    let expires = "etcddruid_webhook_certificate_expiry_timestamp_seconds ";
    let expires = text
        .lines()
        .find_map(|it| it.strip_prefix(expires))
        .unwrap();
    assert!(expires.parse::<i64>().unwrap() > clock::now().as_second());
    remove(&bed, NAME).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_removes_or_spoils_something_sees_it_mended_and_nothing_is_written_without_need() {
    const NAME: &str = "mended";
    let bed = Bed::new(NAME).await;
    protected(&bed).await;
    let replicas = [
        replica(&bed, NAME, 3600).await,
        replica(&bed, NAME, 3600).await,
    ];
    let balancer = Balancer::before(replicas.iter().map(|it| it.port).collect(), |_| true);
    configure(&bed, NAME, balancer.port).await;
    until_asked(&bed).await;
    let secrets: Api<Secret> = bed.api();
    let all: Api<ValidatingWebhookConfiguration> = Api::all(bed.client.clone());
    let versions = async || {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let secret = secrets.get(NAME).await.unwrap().metadata;
        let configuration = all.get(NAME).await.unwrap().metadata;
        (secret.resource_version, configuration.resource_version)
    };
    let before = versions().await;
    assert_eq!(before, versions().await, "two idle replicas write");

    // Somebody makes the API server trust nobody.
    let nobody = json!([{ "op": "remove", "path": "/webhooks/0/clientConfig/caBundle" }]);
    let nobody = Patch::Json::<()>(serde_json::from_value(nobody).unwrap());
    all.patch(NAME, &PatchParams::default(), &nobody)
        .await
        .unwrap();
    until_asked(&bed).await;

    // The Secret is deleted, and then spoilt: another one is made, and those before it are trusted.
    let data = json!({ "tls.crt": STANDARD.encode("nonsense") });
    let spoil = Patch::Merge(json!({ "data": data }));
    let params = PatchParams::default();
    for times in 1..=2 {
        if times == 1 {
            secrets
                .delete(NAME, &DeleteParams::default())
                .await
                .unwrap();
        } else {
            secrets.patch(NAME, &params, &spoil).await.unwrap();
        }
        let began = Instant::now();
        while trusted(&bed, NAME).await.len() <= times {
            assert!(began.elapsed() < PATIENCE, "{times}");
            let said = said(&bed).await;
            assert!(said.contains("belongs to Etcd"), "{said}");
        }
        let secret = secrets.get(NAME).await.unwrap();
        let names = BTreeSet::from(["127.0.0.1".to_owned()]);
        let (kept, acceptor) = pair::read(Some(&secret), &names, clock::now());
        assert!(acceptor.is_some(), "{kept:?}");
        let Kept::Pair(kept) = kept else {
            panic!("{kept:?}");
        };
        assert_eq!(kept.names, names);
        until_asked(&bed).await;
    }
    remove(&bed, NAME).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_of_somebody_else_is_left_alone() {
    const NAME: &str = "secret-of-another";
    let bed = Bed::new(NAME).await;
    let secret = json!({ "metadata": { "name": NAME }, "stringData": { "tls.crt": "mine" } });
    let secret: Secret = serde_json::from_value(secret).unwrap();
    let secrets: Api<Secret> = bed.api();
    let made = secrets
        .create(&PostParams::default(), &secret)
        .await
        .unwrap();
    let replica = replica(&bed, NAME, 3600).await;
    configure(&bed, NAME, replica.port).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(secrets.get(NAME).await.unwrap(), made);
    assert!(!*replica.ready.borrow());
    assert!(trusted(&bed, NAME).await.is_empty());
    // It goes, and all is well.
    secrets
        .delete(NAME, &DeleteParams::default())
        .await
        .unwrap();
    let mut ready = replica.ready.clone();
    let ready = ready.wait_for(|it| *it);
    tokio::time::timeout(PATIENCE, ready)
        .await
        .unwrap()
        .unwrap();
    remove(&bed, NAME).await;
}

/// Nobody else is to be asked about at a port where nobody is.
async fn remove(bed: &Bed, name: &str) {
    let api: Api<ValidatingWebhookConfiguration> = Api::all(bed.client.clone());
    api.delete(name, &DeleteParams::default()).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_looked_up_is_refused_as_an_error_of_the_server() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let config = Config::new("http://127.0.0.1:1".parse().unwrap());
    let client = Client::try_from(config).unwrap();
    let numbers = Counts::default();
    let webhook =
        super::answer::Webhook::new(client, rules(), numbers.clone(), watch::channel(false).1);
    let review = |object: Value, sub: &str| {
        json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {
                "uid": "u", "operation": "UPDATE", "namespace": "n", "name": "x", "subResource": sub,
                "resource": { "group": "apps", "version": "v1", "resource": "statefulsets" },
                "userInfo": { "username": "somebody" }, "object": object, "oldObject": object,
            },
        })
    };
    let labels = json!({
        "app.kubernetes.io/managed-by": "etcd-druid", "app.kubernetes.io/part-of": "a",
    });
    for (review, what) in [
        (
            review(json!({ "metadata": { "labels": labels } }), ""),
            "its Etcd",
        ),
        (review(json!({}), "scale"), "the StatefulSet"),
    ] {
        let asked = Request::read(review.to_string().as_bytes()).unwrap();
        let answer = webhook.review(&asked).await;
        let response = &answer["response"];
        assert_eq!(response["allowed"], false);
        assert_eq!(response["status"]["code"], 500);
        let message = response["status"]["message"].as_str().unwrap();
        let why = format!("{what} could not be looked up, so it is not known who may change");
        assert!(message.starts_with(&why), "{message}");
        assert!(message.contains("StatefulSet n/x"), "{message}");
    }
    let failed = "etcddruid_webhook_requests_total{decision=\"failed\",code=\"500\"} 2";
    assert!(numbers.text().contains(failed));
}
