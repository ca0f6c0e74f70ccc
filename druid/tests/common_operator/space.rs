//! A namespace with Etcds.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use xtask::cluster::processes;

use super::audit::{self, Mark};
use super::etcd::{self, Address};
use super::{Operator, eventually, list};
use crate::common_cluster::Cluster;

const KIND: &str = "etcds.druid.gardener.cloud";
pub(crate) const TASKS: &str = "etcdopstasks.druid.gardener.cloud";

/// A pod, as far as tests compare it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) uid: String,
    /// Of all its containers.
    pub(crate) restarts: u64,
    /// That of etcd.
    pub(crate) image: String,
}

pub(crate) struct Space {
    pub(crate) operator: Arc<Operator>,
    pub(crate) name: &'static str,
}

/// A patch: on the new release, or not, whatever the gate says.
pub(crate) fn enabled(yes: bool) -> Value {
    json!({ "spec": { "upgrade": { "enabled": yes } } })
}

impl Space {
    pub(crate) fn new(operator: Arc<Operator>, name: &'static str) -> Self {
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name },
        });
        operator.cluster.apply(&[namespace]);
        Self { operator, name }
    }

    fn cluster(&self) -> &Cluster {
        &self.operator.cluster
    }

    /// Three members on the old release, backed up into a directory of the node.
    pub(crate) fn spec(&self, etcd: &str) -> Value {
        json!({
            "replicas": 3,
            "labels": { "app": etcd },
            "etcd": {},
            "backup": { "store": {
                "provider": "Local",
                "container": self.container(etcd),
                "prefix": format!("{}--{etcd}", self.name),
            } },
            "upgrade": { "enabled": false },
        })
    }

    fn container(&self, etcd: &str) -> String {
        format!("{}-{etcd}", self.name)
    }

    /// The directory of a store, on this machine.
    pub(crate) fn bucket(&self, etcd: &str) -> PathBuf {
        let stores = "var/gardener/local-backupbuckets";
        let directory = self.cluster().layout().directory().join(stores);
        directory.join(self.container(etcd))
    }

    pub(crate) fn create(&self, etcd: &str, spec: &Value) {
        let object = json!({
            "apiVersion": "druid.gardener.cloud/v1alpha1", "kind": "Etcd",
            "metadata": { "name": etcd, "namespace": self.name },
            "spec": spec,
        });
        self.cluster().apply(&[object]);
    }

    /// Makes one and waits until it is ready.
    pub(crate) fn ready(&self, etcd: &str, spec: &Value) {
        self.create(etcd, spec);
        self.await_ready(etcd);
    }

    /// All members are ready, and it is so told, of this generation of the Etcd.
    pub(crate) fn await_ready(&self, etcd: &str) {
        self.until(etcd, "is ready", |it| {
            let status = &it["status"];
            let seen = status["observedGeneration"] == it["metadata"]["generation"];
            let well = condition(it, "AllMembersReady") == "True";
            (seen && well && status["ready"] == true).then_some(())
        });
    }

    pub(crate) fn kubectl(&self, args: &[&str]) -> String {
        let of = ["--namespace", self.name];
        self.cluster().kubectl(&[&of[..], args].concat())
    }

    pub(crate) fn etcd(&self, etcd: &str) -> Value {
        self.cluster().get(self.name, KIND, etcd)
    }

    pub(crate) fn patch(&self, etcd: &str, patch: &Value) {
        let patch = patch.to_string();
        self.kubectl(&["patch", KIND, etcd, "--type=merge", "--patch", &patch]);
    }

    /// Asks an Etcd until it answers.
    pub(crate) fn until<T>(
        &self,
        etcd: &str,
        what: &str,
        mut ask: impl FnMut(&Value) -> Option<T>,
    ) -> T {
        let what = format!("{}/{etcd} {what}", self.name);
        eventually(&what, || ask(&self.etcd(etcd)))
    }

    /// Waits until an upgrade of that number to that release has come to a phase. Fails if it ends
    /// in another one.
    pub(crate) fn await_phase(&self, etcd: &str, attempt: i64, to: &str, phase: &str) -> Value {
        self.until(etcd, &format!("{phase} {to}"), |it| {
            let upgrade = &it["status"]["upgrade"];
            let this = upgrade["record"]["attempt"] == attempt && upgrade["to"] == to;
            let is = upgrade["phase"].as_str().unwrap_or_default();
            if this && is == phase {
                return Some(upgrade.clone());
            }
            let ended = ["Succeeded", "Blocked", "RolledBack"].contains(&is);
            assert!(!(this && ended), "{upgrade:#}");
            None
        })
    }

    /// Waits until it has come to that release, however many upgrades that took.
    pub(crate) fn await_release(&self, etcd: &str, to: &str) {
        self.until(etcd, &format!("runs {to}"), |it| {
            let upgrade = &it["status"]["upgrade"];
            (upgrade["to"] == to && upgrade["phase"] == "Succeeded").then_some(())
        });
    }

    /// Waits until an upgrade is refused, or waits, for a reason that names a member. Returns what is
    /// told of it.
    pub(crate) fn await_refusal(&self, etcd: &str, member: &str) -> Value {
        self.until(etcd, "says why it waits", |it| {
            let upgrade = &it["status"]["upgrade"];
            let refused = upgrade["phase"] == "Refused" || upgrade["phase"] == "Waiting";
            let named = text(&upgrade["message"]).contains(member);
            (refused && named).then(|| upgrade.clone())
        })
    }

    /// Waits until a pod is not ready.
    pub(crate) fn await_unready(&self, pod: &str) {
        eventually(&format!("{pod} is not ready"), || {
            let object = self.cluster().get(self.name, "pod", pod);
            (condition(&object, "Ready") == "False").then_some(())
        });
    }

    /// The pods of an Etcd by name.
    pub(crate) fn pods(&self, etcd: &str) -> BTreeMap<String, Pod> {
        let all = self.list("pods").into_iter();
        let its = all.filter(|it| {
            let labels = &it["metadata"]["labels"];
            labels["app.kubernetes.io/part-of"] == etcd
                && labels["app.kubernetes.io/component"] == "etcd-statefulset"
        });
        its.map(|it| {
            let containers = it["spec"]["containers"].as_array().unwrap();
            let image = containers.iter().find(|it| it["name"] == "etcd");
            let statuses = it["status"]["containerStatuses"].as_array();
            let restarts = statuses.into_iter().flatten();
            let pod = Pod {
                uid: text(&it["metadata"]["uid"]),
                restarts: restarts.filter_map(|it| it["restartCount"].as_u64()).sum(),
                image: text(&image.unwrap()["image"]),
            };
            (text(&it["metadata"]["name"]), pod)
        })
        .collect()
    }

    /// The releases that all members say that they run.
    pub(crate) fn versions(&self, etcd: &str, tls: Option<&etcd::Tls>) -> BTreeSet<String> {
        let pods = self.pods(etcd);
        let addresses = pods.keys().map(|pod| Address {
            ip: self.cluster().pod(self.name, pod),
            tls: tls.cloned(),
        });
        addresses.map(|it| etcd::version(&it).unwrap()).collect()
    }

    /// Where clients of an Etcd go.
    pub(crate) fn client(&self, etcd: &str) -> IpAddr {
        self.cluster().service(self.name, &format!("{etcd}-client"))
    }

    pub(crate) fn list(&self, kind: &str) -> Vec<Value> {
        list(self.cluster(), self.name, kind)
    }

    /// The tasks by name, and their states.
    pub(crate) fn tasks(&self) -> BTreeMap<String, String> {
        let tasks = self.list(TASKS).into_iter();
        tasks
            .map(|it| (text(&it["metadata"]["name"]), text(&it["status"]["state"])))
            .collect()
    }

    /// Whether people were told: type and reason.
    pub(crate) fn await_event(&self, kind: &str, reason: &str) -> Value {
        eventually(&format!("an Event {reason}"), || {
            let mut all = self.list("events.events.k8s.io").into_iter();
            all.find(|it| it["type"] == kind && it["reason"] == reason)
        })
    }

    pub(crate) fn mark(&self) -> Mark {
        audit::now(self.cluster())
    }

    /// How often each pod was made since then.
    pub(crate) fn made(&self, since: Mark) -> BTreeMap<String, usize> {
        let mut made = BTreeMap::new();
        for it in audit::writes(self.cluster(), since, self.name) {
            let pod = it.resource == "pods" && it.subresource.is_empty();
            if pod && it.verb == "create" && it.code == 201 {
                *made.entry(it.name).or_default() += 1;
            }
        }
        made
    }

    /// When the operator first deleted a pod.
    pub(crate) fn first_deletion(&self, since: Mark) -> Option<String> {
        let mut all = audit::of_operator(self.cluster(), since, self.name).into_iter();
        let it = all.find(|it| it.resource == "pods" && it.verb == "delete")?;
        Some(it.at)
    }

    /// Sees that the operator writes nothing of this namespace for half a minute.
    pub(crate) fn is_idle(&self) {
        // What has just happened is still told.
        std::thread::sleep(Duration::from_secs(5));
        let since = self.mark();
        std::thread::sleep(Duration::from_secs(30));
        let written = audit::of_operator(self.cluster(), since, self.name);
        assert!(written.is_empty(), "{written:#?}");
    }

    /// Sees that each member is another pod than before, that came once and was not restarted.
    pub(crate) fn restarted_once(&self, etcd: &str, before: &BTreeMap<String, Pod>, since: Mark) {
        let after = self.pods(etcd);
        assert!(after.keys().eq(before.keys()), "{after:?}");
        let made = self.made(since);
        for (name, pod) in &after {
            assert_ne!(pod.uid, before[name].uid, "{name}");
            assert_eq!(pod.restarts, 0, "{name}: {pod:?}");
            assert_eq!(made.get(name), Some(&1), "{name}: {made:?}");
        }
    }

    /// Sends a signal to the etcd of a pod.
    pub(crate) fn signal_etcd(&self, pod: &str, signal: nix::sys::signal::Signal) {
        self.signal(pod, "etcd", None, signal);
    }

    /// Sends a signal to the sidecar of a pod.
    pub(crate) fn signal_sidecar(&self, pod: &str, signal: nix::sys::signal::Signal) {
        self.signal(pod, "druid", Some("server"), signal);
    }

    fn signal(
        &self,
        pod: &str,
        program: &str,
        command: Option<&str>,
        signal: nix::sys::signal::Signal,
    ) {
        let object = self.cluster().get(self.name, "pod", pod);
        let its = processes::of_pod(object["metadata"]["uid"].as_str().unwrap(), program);
        let its: Vec<_> = its
            .into_iter()
            .filter(|it| command.is_none_or(|command| processes::runs(*it, command)))
            .collect();
        assert_eq!(its.len(), 1, "{pod}");
        processes::signal(its[0], signal);
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let of = ["--namespace", self.name, "get"];
            for what in [
                &["pods", "-o", "wide"][..],
                &[KIND, "-o", "yaml"],
                &[TASKS, "-o", "yaml"],
                &["events"],
            ] {
                let output = self.cluster().try_kubectl(&[&of[..], what].concat());
                eprintln!("{}", String::from_utf8_lossy(&output.stdout));
            }
            let its = "app.kubernetes.io/component=etcd-statefulset";
            let logs = ["logs", "--selector", its, "--container=etcd", "--tail=15"];
            let output = self.cluster().try_kubectl(&[&of[..2], &logs].concat());
            eprintln!("{}", String::from_utf8_lossy(&output.stdout));
            eprintln!("{}", self.operator.says());
        }
        // Room for others. Its Etcds have finalizers, which the operator takes off.
        let delete = ["delete", "namespace", self.name, "--wait=false"];
        let _ = self.cluster().try_kubectl(&delete);
    }
}

/// The status of a condition.
pub(crate) fn condition(etcd: &Value, kind: &str) -> String {
    let all = etcd["status"]["conditions"].as_array();
    let mut all = all.into_iter().flatten();
    let found = all.find(|it| it["type"] == kind);
    found.map_or_else(String::new, |it| text(&it["status"]))
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
