//! What a demo makes, and removes again: the operator if it was not there, a namespace with an Etcd and
//! the load, and the backups on the node.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use druid_core::render::BUCKETS;
use druid_core::version::Version;
use jiff::Timestamp;
use serde_json::{Value, json};
use thiserror::Error;
use xtask::{deploy, image};

use super::MEMBERS;
use super::audit;
use crate::command::output;
use crate::install::{self, By, Installed};
use crate::root;
use crate::target::Target;

/// Where everything is.
const NAMESPACE: &str = "druid-demo";
/// What says that it is ours.
const LABEL: &str = "app.kubernetes.io/managed-by=cargo-xtask-demo";
/// The name of the Etcd.
pub(super) const ETCD: &str = "main";
const LOAD: &str = "load";
/// No demo takes longer, seconds: the load ends then, whatever became of who started it.
const LONGEST: u32 = 900;
const REQUEST: &str = "--request-timeout=20s";

/// Why nothing is made.
#[derive(Debug, Error)]
enum StageError {
    /// The gate is for all.
    #[error(
        "the cluster has other Etcds, which the gate would upgrade too: {}; delete them, or bring up \
         another cluster (`cargo xtask cluster up --name demo`, and --name demo here)",
        .0.join(", ")
    )]
    Others(Vec<String>),
    /// Somebody's.
    #[error("there is a namespace {NAMESPACE}, and no demo made it; delete it")]
    Namespace,
    /// Another number of Etcds than one.
    #[error("{} has {} Etcds; the demo is about one", .0.display(), .1)]
    Etcds(PathBuf, u32),
    /// The load asks three members.
    #[error("{}: spec.replicas is not {MEMBERS}; the demo is about {MEMBERS} members", .0.display())]
    Replicas(PathBuf),
    /// There would be no snapshot.
    #[error("{}: no spec.backup.store; the demo is about the snapshot too", .0.display())]
    Store(PathBuf),
    /// The operator is not ready.
    #[error("the operator does not run; what the cluster knows of it stands above")]
    NotReady,
    /// It was not installed before.
    #[error("the operator is not installed; please report this")]
    NotInstalled,
}

/// What was made.
pub(super) struct Stage {
    cluster: Target,
    by: By,
    installed: Option<Installed>,
    namespace: bool,
    bucket: Option<String>,
}

/// Those that the images are of: the old one and the new one.
pub(super) fn releases() -> Result<[Version; 2], Box<dyn Error>> {
    let [old, new] = image::RELEASES;
    Ok([old.parse()?, new.parse()?])
}

impl Stage {
    /// Nothing, in a cluster that is up.
    pub(super) fn new(cluster: Target, by: By) -> Result<Self, Box<dyn Error>> {
        cluster.kubectl()?;
        Ok(Self {
            cluster,
            by,
            installed: None,
            namespace: false,
            bucket: None,
        })
    }

    /// kubectl in the namespace of the demo. Nothing that it waits for comes from a keyboard.
    pub(super) fn kubectl(&self) -> Result<Command, Box<dyn Error>> {
        let mut kubectl = self.cluster.kubectl()?;
        kubectl
            .args(["--namespace", NAMESPACE])
            .stdin(Stdio::null());
        Ok(kubectl)
    }

    /// Installs the operator with the gate off. `druid`: the binary to make images of.
    pub(super) fn install(
        &mut self,
        druid: Option<&Path>,
        debug: bool,
    ) -> Result<(), Box<dyn Error>> {
        let directory = tempfile::tempdir()?;
        let archive = || match druid {
            Some(druid) => {
                let archive = directory.path().join("druid.tar");
                image::druid(druid, &image::RELEASES, &archive)?;
                Ok(archive)
            }
            None => install::archive(debug),
        };
        // Before the first thing is changed.
        let others = self.etcds()?;
        if !others.is_empty() {
            return Err(StageError::Others(others).into());
        }
        let installed = install::install(
            &self.cluster,
            self.by,
            archive,
            Some(false),
            &mut self.installed,
        )?;
        if !installed {
            return Err(StageError::NotReady.into());
        }
        Ok(())
    }

    /// All Etcds but ours.
    fn etcds(&self) -> Result<Vec<String>, Box<dyn Error>> {
        let mut kubectl = self.kubectl()?;
        kubectl.args(["get", "crd", "etcds.druid.gardener.cloud", "--output=name"]);
        kubectl.args(["--ignore-not-found", REQUEST]);
        if output(&mut kubectl)?.trim().is_empty() {
            return Ok(Vec::new());
        }
        let mut kubectl = self.kubectl()?;
        kubectl.args(["get", "etcds", "--all-namespaces", REQUEST]);
        kubectl.arg("--output=jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name}{\"\\n\"}{end}");
        let names = output(&mut kubectl)?;
        let ours = format!("{NAMESPACE}/");
        let others = names.lines().filter(|it| !it.starts_with(&ours));
        Ok(others.map(str::to_owned).collect())
    }

    /// Makes the namespace. One that is left of a demo that was killed is removed first.
    pub(super) fn make_namespace(&mut self) -> Result<(), Box<dyn Error>> {
        let find = |selector: &[&str]| -> Result<bool, Box<dyn Error>> {
            let mut kubectl = self.kubectl()?;
            kubectl.args(["get", "namespaces", "--output=name", REQUEST]);
            let names = output(kubectl.args(selector))?;
            Ok(names
                .lines()
                .any(|it| it == format!("namespace/{NAMESPACE}")))
        };
        if find(&["--selector", LABEL])? {
            self.namespace = true;
            self.remove_namespace()?;
        } else if find(&[])? {
            return Err(StageError::Namespace.into());
        }
        let (key, value) = LABEL.split_once('=').unwrap_or((LABEL, ""));
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": { "name": NAMESPACE, "labels": { key: value } },
        });
        self.namespace = true;
        install::apply(&self.cluster, &[namespace])
    }

    /// Makes the Etcd: that of `deploy/example.yaml`, with a directory of its own for backups, or what
    /// is in a file.
    pub(super) fn make_etcd(
        &mut self,
        file: Option<&Path>,
        started: Timestamp,
    ) -> Result<(), Box<dyn Error>> {
        let path = file.map_or_else(|| root().join("deploy/example.yaml"), Path::to_owned);
        let text = std::fs::read_to_string(&path)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        let mut objects: Vec<Value> = serde_saphyr::from_multiple(&text)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        let mut etcds = 0;
        for object in &mut objects {
            object["metadata"]["namespace"] = NAMESPACE.into();
            if object["kind"] == "Etcd" {
                object["metadata"]["name"] = ETCD.into();
                etcds += 1;
                if object["spec"]["replicas"] != MEMBERS {
                    return Err(StageError::Replicas(path).into());
                }
                if object["spec"]["backup"]["store"].is_null() {
                    return Err(StageError::Store(path).into());
                }
                if file.is_none() {
                    let bucket = format!("{NAMESPACE}-{}", started.as_millisecond());
                    let store = &mut object["spec"]["backup"]["store"];
                    store["container"] = bucket.clone().into();
                    store["prefix"] = format!("{NAMESPACE}--{ETCD}").into();
                    self.bucket = Some(bucket);
                }
            }
        }
        if etcds != 1 {
            return Err(StageError::Etcds(path, etcds).into());
        }
        install::apply(&self.cluster, &objects)
    }

    /// Makes the pod of the load, and returns the command that talks to it.
    pub(super) fn make_load(&self, started: Timestamp) -> Result<Command, Box<dyn Error>> {
        let members = (0..MEMBERS)
            .map(|it| format!("{ETCD}-{it}=http://{ETCD}-{it}.{ETCD}-peer.{NAMESPACE}.svc:2379"));
        let members: Vec<_> = members.collect();
        let build = &self
            .installed
            .as_ref()
            .ok_or(StageError::NotInstalled)?
            .build;
        let seed = started.subsec_nanosecond().unsigned_abs();
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": LOAD, "namespace": NAMESPACE },
            "spec": {
                "restartPolicy": "Never",
                "activeDeadlineSeconds": LONGEST,
                "terminationGracePeriodSeconds": 5,
                "automountServiceAccountToken": false,
                "containers": [{
                    "name": LOAD,
                    "image": build.image(image::RELEASES[1]),
                    "imagePullPolicy": "IfNotPresent",
                    "stdin": true,
                    "stdinOnce": true,
                    "args": [
                        "load",
                        format!("--members={}", members.join(",")),
                        format!("--seed={seed}"),
                        format!("--origin={started}"),
                    ],
                }],
            },
        });
        install::apply(&self.cluster, &[pod])?;
        let mut kubectl = self.kubectl()?;
        kubectl.args([
            "wait",
            "--for=condition=Ready",
            "pod",
            LOAD,
            "--timeout=60s",
        ]);
        output(&mut kubectl)?;
        let mut kubectl = self.kubectl()?;
        kubectl.args(["attach", "--stdin", "--quiet", LOAD]);
        Ok(kubectl)
    }

    /// Switches the gate: its configuration, and what makes the operator read it.
    pub(super) fn switch(&self, gate: bool) -> Result<(), Box<dyn Error>> {
        let installed = self.installed.as_ref().ok_or(StageError::NotInstalled)?;
        install::switch(&self.cluster, gate, installed)
    }

    /// What the operator wrote in our namespace, in each window, if that is written down anywhere.
    pub(super) fn audited(
        &self,
        windows: &[(Timestamp, Timestamp)],
    ) -> Result<Option<Vec<audit::Counts>>, Box<dyn Error>> {
        let Some(log) = self.cluster.audit_log()? else {
            return Ok(None);
        };
        let log = std::fs::read(log)?;
        let log = String::from_utf8_lossy(&log);
        let user = format!(
            "system:serviceaccount:{}:{}",
            deploy::NAMESPACE,
            deploy::NAME
        );
        Ok(Some(audit::count(log.lines(), &user, NAMESPACE, windows)))
    }

    /// Removes all of it. Goes on where something does not go, and says what did not.
    pub(super) fn remove(&mut self) -> Result<(), Box<dyn Error>> {
        let mut failed = Vec::new();
        let mut note = |done: Result<(), Box<dyn Error>>| {
            if let Err(error) = done {
                failed.push(error.to_string());
            }
        };
        note(self.remove_namespace());
        note(self.remove_bucket());
        note(self.restore());
        if failed.is_empty() {
            return Ok(());
        }
        Err(format!(
            "not everything was removed{}: {}",
            match self.cluster {
                Target::Ours(_) => ", `cargo xtask cluster down` removes the rest",
                Target::Theirs { .. } => "",
            },
            failed.join("; ")
        )
        .into())
    }

    /// The Etcd first: what is its own is for the operator to remove.
    fn remove_namespace(&mut self) -> Result<(), Box<dyn Error>> {
        if !self.namespace {
            return Ok(());
        }
        let of = ["--namespace", NAMESPACE];
        for args in [
            [&of[..], &["delete", "pod", LOAD, "--grace-period=1"]].concat(),
            [&of[..], &["delete", "etcd", ETCD]].concat(),
            ["delete", "namespace", NAMESPACE].to_vec(),
        ] {
            let mut kubectl = self.cluster.kubectl()?;
            kubectl.args(args).stdin(Stdio::null());
            output(kubectl.args(["--ignore-not-found", "--timeout=90s"]))?;
        }
        self.namespace = false;
        Ok(())
    }

    fn remove_bucket(&mut self) -> Result<(), Box<dyn Error>> {
        if let Some(bucket) = self.bucket.take() {
            let directory = Path::new(BUCKETS).join(bucket);
            if !self.cluster.remove_on_node(&directory)? {
                println!("  left on the nodes: {}", directory.display());
            }
        }
        Ok(())
    }

    /// The operator is as it was before, or gone if it was not there.
    fn restore(&mut self) -> Result<(), Box<dyn Error>> {
        let Some(installed) = self.installed.take() else {
            return Ok(());
        };
        match installed.before {
            None => install::uninstall(&self.cluster, installed.by),
            Some(gate) => install::switch(&self.cluster, gate, &installed),
        }
    }
}
