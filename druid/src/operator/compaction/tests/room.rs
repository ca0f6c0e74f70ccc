//! A namespace with Etcds whose leases, Jobs and pods are what a test says.

use std::time::{Duration, Instant};

use druid_core::backup::snapshotter::Backoff;
use druid_core::compaction::Limits;
use druid_core::operator::Config;
use druid_core::operator::config::Compaction;
use jiff::SignedDuration;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::Resource;
use kube::api::{Patch, PatchParams, PostParams};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::clock::now;
use crate::operator::compaction::{Counts, Settings, run};
use crate::operator::ops_task::tests::bed::Bed;

const PATIENCE: Duration = Duration::from_secs(20);

pub(in crate::operator) struct Room {
    pub(in crate::operator) bed: Bed,
    pub(in crate::operator) counts: Counts,
    pub(in crate::operator) limits: Limits,
}

/// Ends with its process when dropped, as far as a task can.
pub(in crate::operator) struct Operator(JoinHandle<()>);

impl Drop for Operator {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn config() -> Compaction {
    let file = json!({
        "apiVersion": "config.druid.gardener.cloud/v1alpha1", "kind": "OperatorConfiguration",
        "controllers": { "compaction": {
            "enabled": true, "concurrentSyncs": 1, "eventsThreshold": 100,
            "triggerFullSnapshotThreshold": 300, "activeDeadlineDuration": "50m",
            "metricsScrapeWaitDuration": "7s",
        } },
    });
    Config::read(file).unwrap().config.compaction.unwrap()
}

impl Room {
    pub(in crate::operator) async fn new(namespace: &str) -> Self {
        let short = SignedDuration::from_millis(300);
        Self {
            bed: Bed::new(namespace).await,
            counts: Counts::default(),
            limits: Limits {
                backoff: Backoff {
                    first: short,
                    limit: SignedDuration::from_secs(1),
                },
                settle: SignedDuration::from_secs(5),
                busy: short,
            },
        }
    }

    pub(in crate::operator) fn operator(&self) -> Operator {
        let settings = Settings {
            config: config(),
            limits: self.limits,
            namespace: Some(self.bed.namespace.clone()),
            instance: Some("test".to_owned()),
            sidecars: self.bed.sidecars(),
            numbers: self.counts.clone(),
        };
        let client = self.bed.client.clone();
        Operator(tokio::spawn(run(client, settings, std::future::pending())))
    }

    /// An Etcd with a store whose sidecar is on this port, with the StatefulSet that it runs in, a full
    /// snapshot up to revision 1000, and so many events since.
    pub(in crate::operator) async fn etcd(&self, name: &str, port: u16, events: u64) -> Value {
        let store =
            json!({ "store": { "prefix": "p", "provider": "Local", "container": "bucket" } });
        self.etcd_with(name, port, store, events).await
    }

    pub(in crate::operator) async fn etcd_with(
        &self,
        name: &str,
        port: u16,
        backup: Value,
        events: u64,
    ) -> Value {
        let etcd = self.bed.etcd_with(name, port, backup).await;
        let labels = json!({ "app": name });
        let container =
            |container: &str| json!({ "name": container, "image": format!("i/{container}:live") });
        self.create::<StatefulSet>(json!({
            "metadata": { "name": name },
            "spec": {
                "serviceName": name, "selector": { "matchLabels": labels },
                "template": { "metadata": { "labels": labels },
                    "spec": { "containers": [container("etcd"), container("backup-restore")] } },
            },
        }))
        .await;
        for (kind, revision) in [("full", 1000), ("delta", 1000 + events)] {
            let lease = format!("{name}-{kind}-snap");
            self.create::<Lease>(json!({
                "metadata": { "name": lease, "labels": {
                    "app.kubernetes.io/managed-by": "etcd-druid",
                    "app.kubernetes.io/part-of": name,
                    "app.kubernetes.io/component": "etcd-snapshot-lease",
                } },
                "spec": { "holderIdentity": revision.to_string() },
            }))
            .await;
        }
        etcd
    }

    pub(in crate::operator) async fn create<K>(&self, object: Value) -> K
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + std::fmt::Debug + DeserializeOwned + serde::Serialize,
    {
        let object = serde_json::from_value(object).unwrap();
        let api = self.bed.api::<K>();
        api.create(&PostParams::default(), &object).await.unwrap()
    }

    /// A sidecar renews a lease: its newest snapshot has this revision.
    pub(in crate::operator) async fn snapshot(&self, etcd: &str, kind: &str, revision: u64) {
        let spec = json!({ "holderIdentity": revision.to_string(),
            "renewTime": format!("{:.6}", now()) });
        let patch = json!({ "spec": spec });
        let api = self.bed.api::<Lease>();
        let (name, params) = (format!("{etcd}-{kind}-snap"), PatchParams::default());
        api.patch(&name, &params, &Patch::Merge(&patch))
            .await
            .unwrap();
    }

    pub(in crate::operator) async fn patch<K>(&self, name: &str, patch: Value)
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + std::fmt::Debug + DeserializeOwned,
    {
        let api = self.bed.api::<K>();
        let (params, patch) = (PatchParams::default(), Patch::Merge(&patch));
        api.patch(name, &params, &patch).await.unwrap();
    }

    pub(in crate::operator) async fn patch_status<K>(&self, name: &str, patch: Value)
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + std::fmt::Debug + DeserializeOwned,
    {
        let api = self.bed.api::<K>();
        let patch = json!({ "status": patch });
        let (params, patch) = (PatchParams::default(), Patch::Merge(&patch));
        api.patch_status(name, &params, &patch).await.unwrap();
    }

    /// As JSON; null if there is none.
    pub(in crate::operator) async fn read<K>(&self, name: &str) -> Value
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + std::fmt::Debug + DeserializeOwned + serde::Serialize,
    {
        let found = self.bed.api::<K>().get_opt(name).await.unwrap();
        serde_json::to_value(found).unwrap()
    }

    /// The object, once this holds of it.
    pub(in crate::operator) async fn when<K>(
        &self,
        name: &str,
        so: impl Fn(&Value) -> bool,
    ) -> Value
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + std::fmt::Debug + DeserializeOwned + serde::Serialize,
    {
        let began = Instant::now();
        loop {
            let object = self.read::<K>(name).await;
            if so(&object) {
                return object;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "{name} is not as expected: {object:#}\n{}",
                self.counts.text()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A Job that nobody here has made, under the name of that of an Etcd.
    pub(in crate::operator) async fn job_with(&self, etcd: &str, mut metadata: Value) {
        metadata["name"] = format!("{etcd}-compactor").into();
        let pod =
            json!({ "containers": [{ "name": "c", "image": "i" }], "restartPolicy": "Never" });
        let spec = json!({ "template": { "spec": pod } });
        self.create::<Job>(json!({ "metadata": metadata, "spec": spec }))
            .await;
    }

    /// The Job of an Etcd, once it is there, and is not this one.
    pub(in crate::operator) async fn job(&self, etcd: &str, not: &Value) -> Value {
        self.when::<Job>(&format!("{etcd}-compactor"), |it| {
            !it.is_null() && it["metadata"]["uid"] != not["metadata"]["uid"]
        })
        .await
    }

    /// It ends, as the controller of Jobs says it.
    pub(in crate::operator) async fn end(&self, job: &Value, complete: bool, reason: &str) {
        let name = job["metadata"]["name"].as_str().unwrap();
        let at = now().to_string();
        let condition = |kind: &str| json!({ "type": kind, "status": "True", "reason": reason, "lastTransitionTime": at });
        let begun = json!({ "startTime": at, "active": 1 });
        self.patch_status::<Job>(name, begun).await;
        let mut status = json!({ "active": 0 });
        if complete {
            status["succeeded"] = json!(1);
            status["completionTime"] = json!(at);
            status["conditions"] = json!([condition("SuccessCriteriaMet"), condition("Complete")]);
        } else {
            status["failed"] = json!(1);
            status["conditions"] = json!([condition("FailureTarget"), condition("Failed")]);
        }
        self.patch_status::<Job>(name, status).await;
    }

    /// The pod of a Job, whose program has ended so.
    pub(in crate::operator) async fn pod(&self, etcd: &str, job: &Value, exit: i32) {
        let name = "compactor-pod";
        let owner = json!({ "apiVersion": "batch/v1", "kind": "Job",
            "name": job["metadata"]["name"], "uid": job["metadata"]["uid"] });
        self.create::<Pod>(json!({
            "metadata": { "name": name, "ownerReferences": [owner], "labels": {
                "app.kubernetes.io/managed-by": "etcd-druid",
                "app.kubernetes.io/part-of": etcd,
            } },
            "spec": { "containers": [{ "name": "c", "image": "i" }],
                "automountServiceAccountToken": false },
        }))
        .await;
        let ended = json!({ "terminated": { "exitCode": exit } });
        let container = json!({ "name": "c", "image": "i", "imageID": "i", "ready": false,
            "restartCount": 0, "state": ended });
        self.patch_status::<Pod>(name, json!({ "containerStatuses": [container] }))
            .await;
    }

    /// A Job is told to go; here nobody but the test takes the finalizer off.
    pub(in crate::operator) async fn gone(&self, job: &Value) {
        let name = job["metadata"]["name"].as_str().unwrap();
        let leaves = |it: &Value| {
            let finalizers = &it["metadata"]["finalizers"];
            !it["metadata"]["deletionTimestamp"].is_null()
                && *finalizers == json!(["foregroundDeletion"])
        };
        self.when::<Job>(name, leaves).await;
        self.patch::<Job>(name, json!({ "metadata": { "finalizers": null } }))
            .await;
    }

    /// The condition, once it has this reason.
    pub(in crate::operator) async fn told(&self, etcd: &str, reason: &str) -> Value {
        let found =
            self.when::<druid_core::api::Etcd>(etcd, |it| condition(it)["reason"] == reason);
        condition(&found.await)
    }
}

pub(in crate::operator) fn condition(etcd: &Value) -> Value {
    let all = etcd["status"]["conditions"].as_array();
    let mut all = all.into_iter().flatten();
    let found = all.find(|it| it["type"] == "LastSnapshotCompactionSucceeded");
    found.cloned().unwrap_or_default()
}

/// Long enough for anything that should not happen.
pub(in crate::operator) async fn a_while() {
    tokio::time::sleep(Duration::from_millis(1500)).await;
}
