//! The controller against a genuine API server.

use std::num::NonZeroU32;

use druid_core::api::Etcd;
use k8s_openapi::api::core::v1::Secret;
use kube::api::DeleteParams;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{Settings, run};
use crate::operator::compaction::tests::room::{Room, a_while};

const OURS: &str = "druid.gardener.cloud/etcd-druid";

/// Ends with its process when dropped, as far as a task can.
struct Operator(JoinHandle<()>);

impl Drop for Operator {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn operator(room: &Room) -> Operator {
    let settings = Settings {
        workers: NonZeroU32::MIN,
        namespace: Some(room.bed.namespace.clone()),
    };
    let client = room.bed.client.clone();
    Operator(tokio::spawn(run(client, settings, std::future::pending())))
}

async fn secret(room: &Room, name: &str, finalizers: &[&str]) {
    let object = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": name, "finalizers": finalizers },
        "stringData": { "key": "of the user" },
    });
    room.create::<Secret>(object).await;
}

fn store(secret: &str) -> Value {
    json!({ "store": {
        "provider": "S3", "container": "bucket", "prefix": "p", "secretRef": { "name": secret },
    } })
}

async fn etcd(room: &Room, name: &str, secret: &str) {
    room.create::<Etcd>(json!({
        "apiVersion": "druid.gardener.cloud/v1alpha1", "kind": "Etcd",
        "metadata": { "name": name },
        "spec": { "labels": { "app": name }, "etcd": {}, "replicas": 1, "backup": store(secret),
            "selector": { "matchLabels": { "app": name } } },
    }))
    .await;
}

async fn has(room: &Room, name: &str, finalizers: &[&str]) {
    let wanted = if finalizers.is_empty() {
        Value::Null
    } else {
        json!(finalizers)
    };
    room.when::<Secret>(name, |it| {
        !it.is_null() && it["metadata"]["finalizers"] == wanted
    })
    .await;
}

async fn delete<K>(room: &Room, name: &str)
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let api = room.bed.api::<K>();
    api.delete(name, &DeleteParams::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_stays_as_long_as_an_etcd_refers_to_it_and_goes_after_that() {
    let room = Room::new("secrets").await;
    etcd(&room, "one", "late").await;
    etcd(&room, "two", "early").await;
    secret(&room, "early", &["a.user/own"]).await;
    // Of an operator before this one; nobody refers to it any more.
    secret(&room, "old", &[OURS]).await;
    secret(&room, "other", &[]).await;
    let _operator = operator(&room);
    has(&room, "early", &["a.user/own", OURS]).await;
    has(&room, "old", &[]).await;
    secret(&room, "late", &[]).await;
    has(&room, "late", &[OURS]).await;
    has(&room, "other", &[]).await;
    let late = room.read::<Secret>("late").await;
    assert!(!late["data"]["key"].is_null(), "nothing else is written");

    // Somebody deletes it: it stays until the Etcd is gone.
    delete::<Secret>(&room, "late").await;
    a_while().await;
    let late = room.read::<Secret>("late").await;
    assert!(!late["metadata"]["deletionTimestamp"].is_null(), "{late:#}");
    delete::<Etcd>(&room, "one").await;
    room.when::<Secret>("late", Value::is_null).await;

    // Another is referred to: the one before is released.
    secret(&room, "next", &[]).await;
    room.patch::<Etcd>("two", json!({ "spec": { "backup": store("next") } }))
        .await;
    has(&room, "next", &[OURS]).await;
    has(&room, "early", &["a.user/own"]).await;

    // What is as it should be is left alone.
    a_while().await;
    let written = room.bed.requests("patch", "/secrets");
    room.patch::<Secret>("next", json!({ "stringData": { "key": "renewed" } }))
        .await;
    a_while().await;
    assert_eq!(room.bed.requests("patch", "/secrets"), written + 1);
}
