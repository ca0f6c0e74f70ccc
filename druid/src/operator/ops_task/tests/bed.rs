//! A namespace of an API server, and operators that look after it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use druid_core::api::{Etcd, EtcdOpsTask, Kind};
use druid_core::backup::snapshotter::Backoff;
use druid_core::duration::GoDuration;
use druid_core::ops_task::Limits;
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::events::v1::Event;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams,
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::operator::common_cluster::Cluster;
use crate::operator::leading::Sidecars;
use crate::operator::ops_task::{Counts, Settings, run};

/// How long anything may take to become so.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where sidecars are on this machine, by namespace and Etcd.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ports(Arc<Mutex<BTreeMap<(String, String), u16>>>);

impl Ports {
    /// One sidecar.
    pub(in crate::operator) fn one(namespace: &str, etcd: &str, port: u16) -> Self {
        let key = (namespace.to_owned(), etcd.to_owned());
        Self(Arc::new(Mutex::new(BTreeMap::from([(key, port)]))))
    }

    pub(in crate::operator) fn of(
        &self,
        namespace: &str,
        etcd: &str,
    ) -> BTreeMap<String, Option<SocketAddr>> {
        let ports = self.0.lock().unwrap();
        let port = ports.get(&(namespace.to_owned(), etcd.to_owned()));
        let at = SocketAddr::from(([127, 0, 0, 1], *port.unwrap()));
        BTreeMap::from([(format!("{etcd}-0"), Some(at))])
    }
}

pub(in crate::operator) struct Bed {
    pub(in crate::operator) client: Client,
    pub(in crate::operator) namespace: String,
    pub(super) counts: Counts,
    pub(super) limits: Limits,
    pub(super) workers: u16,
    ports: Ports,
    cluster: Arc<Cluster>,
}

/// Ends with its process when dropped, as far as a task can.
pub(super) struct Operator(JoinHandle<()>);

impl Drop for Operator {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Bed {
    pub(in crate::operator) async fn new(namespace: &str) -> Self {
        // Another test may have done so.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let cluster = tokio::task::spawn_blocking(Cluster::shared).await.unwrap();
        let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig()).unwrap();
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .unwrap();
        let client = Client::try_from(config).unwrap();
        define(&client).await;
        let object: Namespace =
            serde_json::from_value(json!({ "metadata": { "name": namespace } })).unwrap();
        let namespaces: Api<Namespace> = Api::all(client.clone());
        namespaces
            .create(&PostParams::default(), &object)
            .await
            .unwrap();
        Self {
            client,
            namespace: namespace.to_owned(),
            counts: Counts::default(),
            limits: Limits {
                attempts: 4,
                backoff: Backoff {
                    first: SignedDuration::from_millis(300),
                    limit: SignedDuration::from_secs(1),
                },
            },
            workers: 3,
            ports: Ports::default(),
            cluster,
        }
    }

    /// Sidecars on this machine.
    pub(in crate::operator) fn sidecars(&self) -> Sidecars {
        Sidecars::Loopback(self.ports.clone())
    }

    pub(super) fn operator(&self) -> Operator {
        self.operator_that_finds(self.sidecars())
    }

    pub(super) fn operator_that_finds(&self, sidecars: Sidecars) -> Operator {
        let settings = Settings {
            concurrent_syncs: NonZeroU16::new(self.workers).unwrap(),
            limits: self.limits,
            namespace: Some(self.namespace.clone()),
            instance: Some("test".to_owned()),
            metrics_wait: GoDuration::seconds(7),
            sidecars,
            numbers: self.counts.clone(),
        };
        let client = self.client.clone();
        Operator(tokio::spawn(run(client, settings, std::future::pending())))
    }

    pub(in crate::operator) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// An Etcd that is ready, whose sidecar is on this port.
    pub(super) async fn etcd(&self, name: &str, port: u16) -> Value {
        self.etcd_with(
            name,
            port,
            json!({ "store": { "prefix": "p", "provider": "Local" } }),
        )
        .await
    }

    pub(in crate::operator) async fn etcd_with(
        &self,
        name: &str,
        port: u16,
        backup: Value,
    ) -> Value {
        let key = (self.namespace.clone(), name.to_owned());
        self.ports.0.lock().unwrap().insert(key, port);
        let object: Etcd = serde_json::from_value(json!({
            "apiVersion": "druid.gardener.cloud/v1alpha1", "kind": "Etcd",
            "metadata": { "name": name },
            "spec": { "labels": {}, "etcd": {}, "replicas": 1, "backup": backup },
        }))
        .unwrap();
        let api = self.api::<Etcd>();
        let made = api.create(&PostParams::default(), &object).await.unwrap();
        self.ready(name, "True").await;
        serde_json::to_value(made).unwrap()
    }

    pub(super) async fn ready(&self, name: &str, status: &str) {
        let now = "2026-11-24T10:00:00Z";
        let patch = json!({ "status": { "conditions": [{
            "type": "Ready", "status": status, "reason": "Quorate", "message": "m",
            "lastTransitionTime": now, "lastUpdateTime": now,
        }] } });
        let (params, patch) = (PatchParams::default(), Patch::Merge(&patch));
        let api = self.api::<Etcd>();
        api.patch_status(name, &params, &patch).await.unwrap();
    }

    pub(in crate::operator) async fn snapshot(&self, name: &str, etcd: &str, snapshot: Value) {
        self.task(name, etcd, json!({ "onDemandSnapshot": snapshot }), 3600)
            .await;
    }

    pub(in crate::operator) async fn task(&self, name: &str, etcd: &str, config: Value, ttl: i32) {
        let object = json!({
            "apiVersion": "druid.gardener.cloud/v1alpha1", "kind": "EtcdOpsTask",
            "metadata": { "name": name },
            "spec": { "etcdName": etcd, "config": config, "ttlSecondsAfterFinished": ttl },
        });
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        let kind = GroupVersionKind::gvk("druid.gardener.cloud", "v1alpha1", "EtcdOpsTask");
        let resource = ApiResource::from_gvk(&kind);
        let api =
            Api::<DynamicObject>::namespaced_with(self.client.clone(), &self.namespace, &resource);
        api.create(&PostParams::default(), &object).await.unwrap();
    }

    /// As JSON; null if there is none.
    pub(super) async fn read(&self, name: &str) -> Value {
        let found = self.api::<EtcdOpsTask>().get_opt(name).await.unwrap();
        serde_json::to_value(found).unwrap()
    }

    pub(super) async fn delete(&self, name: &str) {
        let api = self.api::<EtcdOpsTask>();
        api.delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// The task, once this holds of it.
    pub(super) async fn when(&self, name: &str, so: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let task = self.read(name).await;
            if so(&task) {
                return task;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "{name} is not as expected: {task:#}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(super) async fn state(&self, name: &str, state: &str) -> Value {
        self.when(name, |it| it["status"]["state"] == state).await["status"].clone()
    }

    pub(super) async fn gone(&self, name: &str) {
        self.when(name, Value::is_null).await;
    }

    /// How many requests there were of a verb for what begins so in our namespace.
    pub(in crate::operator) fn requests(&self, verb: &str, what: &str) -> usize {
        let audit = std::fs::read_to_string(self.cluster.audit_log()).unwrap();
        let begin = format!("/namespaces/{}{what}", self.namespace);
        let of_it = |it: &Value| {
            let uri = it["requestURI"].as_str().unwrap();
            it["verb"] == verb && uri.contains(&begin)
        };
        let lines = audit.lines().filter_map(|it| serde_json::from_str(it).ok());
        lines.filter(of_it).count()
    }

    /// Type and reason of the Events of a task, in order.
    /// People are told once the status is written: waits until they were of this.
    pub(in crate::operator) async fn events(
        &self,
        name: &str,
        last: &str,
    ) -> Vec<(String, String)> {
        let began = Instant::now();
        loop {
            let events = self.told(name).await;
            if events.last().is_some_and(|(_, reason)| reason == last) {
                return events;
            }
            assert!(began.elapsed() < PATIENCE, "{name} {last}: {events:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn told(&self, name: &str) -> Vec<(String, String)> {
        let (api, all) = (self.api::<Event>(), ListParams::default());
        let mut events = api.list(&all).await.unwrap().items;
        let of_it =
            |it: &Event| it.regarding.as_ref().and_then(|it| it.name.as_deref()) == Some(name);
        events.retain(of_it);
        events.sort_by_key(|it| it.event_time.clone().map(|it| it.0));
        let text = |it: Option<String>| it.unwrap_or_default();
        events
            .into_iter()
            .map(|it| (text(it.type_), text(it.reason)))
            .collect()
    }
}

/// The codes of a status, in order.
pub(super) fn codes(status: &Value) -> Vec<&str> {
    let errors = status["lastErrors"].as_array();
    errors
        .into_iter()
        .flatten()
        .map(|it| it["code"].as_str().unwrap())
        .collect()
}

/// Our definitions, and one operation more, as a newer release has it.
async fn define(client: &Client) {
    static DEFINED: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _one = DEFINED.lock().await;
    let kind = GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
    let api = Api::<DynamicObject>::all_with(client.clone(), &ApiResource::from_gvk(&kind));
    let params = PatchParams::apply("druid-tests").force();
    for kind in Kind::ALL {
        let mut definition = kind.definition().unwrap();
        let config = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/config";
        if let Some(config) = definition.pointer_mut(config) {
            config["properties"]["levitation"] = json!({ "type": "object" });
        }
        let name = definition["metadata"]["name"].as_str().unwrap().to_owned();
        let patch = Patch::Apply(&definition);
        api.patch(&name, &params, &patch).await.unwrap();
        let began = Instant::now();
        loop {
            let stored = api.get(&name).await.unwrap();
            let conditions = stored.data["status"]["conditions"].as_array().cloned();
            let served = |it: &Value| it["type"] == "Established" && it["status"] == "True";
            if conditions.unwrap_or_default().iter().any(served) {
                break;
            }
            assert!(began.elapsed() < PATIENCE, "{name} is not served");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
