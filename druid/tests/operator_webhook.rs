//! `druid operator` protects what belongs to an Etcd: a genuine API server asks two replicas with the rights
//! of the manifests.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot ask fails"
)]

mod common_authority;
mod common_balancer;
mod common_cluster;
mod common_kube;
mod common_preflight;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use assert_cmd::cargo::cargo_bin;
use common_authority::Authority;
use common_balancer::Balancer;
use common_cluster::{Cluster, eventually};
use common_preflight::{free_ports, http_get};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;
use xtask::deploy::{self, NAMESPACE};

const EXEMPT: &str = "system:serviceaccount:kube-system:generic-garbage-collector";
const PERSON: &str = "somebody";

fn at(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

fn is_ready(metrics: u16) -> bool {
    let answer = http_get(&at(metrics), "/readyz");
    answer.is_some_and(|it| it.split(' ').nth(1) == Some("200"))
}

/// A replica, killed when it is dropped.
struct Replica {
    child: Child,
    metrics: u16,
    log: PathBuf,
}

impl Replica {
    fn start(dir: &Path, kubeconfig: &Path, ports: [u16; 2], certificates: &Path) -> Self {
        let [webhook, metrics] = ports;
        let config = json!({
            "apiVersion": "config.druid.gardener.cloud/v1alpha1", "kind": "OperatorConfiguration",
            "leaderElection": {
                "enabled": true, "leaseDuration": "3s", "renewDeadline": "2s", "retryPeriod": "200ms",
            },
            "server": {
                "metrics": { "bindAddress": "127.0.0.1", "port": metrics },
                "webhooks": {
                    "bindAddress": "127.0.0.1", "port": webhook, "serverCertDir": certificates,
                },
            },
            "controllers": { "etcd": { "enableEtcdSpecAutoReconcile": true } },
            "webhooks": { "etcdComponentProtection": {
                "enabled": true,
                "serviceAccountInfo": { "name": "druid", "namespace": NAMESPACE },
                "exemptServiceAccounts": [EXEMPT],
            } },
        });
        let file = dir.join(format!("{webhook}.yaml"));
        std::fs::write(&file, config.to_string()).unwrap();
        let log = dir.join(format!("{webhook}.log"));
        let mut druid = Command::new(cargo_bin("druid"));
        for variable in ["IMAGEVECTOR_OVERWRITE", "KUBECONFIG", "RUST_LOG"] {
            druid.env_remove(variable);
        }
        let child = druid
            .arg("operator")
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .arg("--config")
            .arg(file)
            .args(["--namespace", "operated"])
            .env("POD_NAME", format!("druid-{webhook}"))
            .env("POD_NAMESPACE", NAMESPACE)
            .stdin(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self {
            child,
            metrics,
            log,
        }
    }

    fn get(&self, path: &str) -> Option<String> {
        http_get(&at(self.metrics), path)
    }

    fn is_ready(&self) -> Option<()> {
        is_ready(self.metrics).then_some(())
    }

    fn requests(&self, decision: &str) -> u64 {
        let text = self.get("/metrics").unwrap();
        let of = format!("etcddruid_webhook_requests_total{{decision=\"{decision}\"");
        let lines = text.lines().filter(|it| it.starts_with(&of));
        lines
            .map(|it| it.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
            .sum()
    }

    /// Whether it ended in order after it was asked to.
    fn ends(&mut self) -> bool {
        kill(
            Pid::from_raw(self.child.id().try_into().unwrap()),
            Signal::SIGTERM,
        )
        .unwrap();
        eventually("it has ended", || self.child.try_wait().unwrap()).success()
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", std::fs::read_to_string(&self.log).unwrap());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An API server that asks two replicas.
struct Bed {
    replicas: Mutex<[Replica; 2]>,
    cluster: Cluster,
    dir: TempDir,
}

/// A kubeconfig with the rights in the manifests.
fn restricted(cluster: &Cluster, dir: &Path) -> PathBuf {
    let mut objects = deploy::objects(false, None).unwrap();
    objects.retain(|it| it["kind"] != "CustomResourceDefinition");
    cluster.apply(&objects);
    let token = cluster.token(NAMESPACE, "druid");
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{ "name": "c", "cluster": {
            "server": cluster.server(), "certificate-authority": cluster.ca(),
        } }],
        "users": [{ "name": "c", "user": { "token": token } }],
        "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "c" } }],
    });
    let path = dir.join("kubeconfig");
    std::fs::write(&path, kubeconfig.to_string()).unwrap();
    path
}

/// The objects of the manifests; the API server of tests reaches no Service.
fn webhook(port: u16, change: impl Fn(&mut Value)) -> Vec<Value> {
    let mut objects = deploy::webhook_objects();
    let configuration = objects.last_mut().unwrap();
    for webhook in configuration["webhooks"].as_array_mut().unwrap() {
        let path = webhook["clientConfig"]["service"]["path"].clone();
        let url = format!("https://127.0.0.1:{port}{}", path.as_str().unwrap());
        webhook["clientConfig"] = json!({ "url": url });
        change(&mut webhook["clientConfig"]);
    }
    objects
}

impl Bed {
    fn new() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let cluster = Cluster::start();
        let dir = tempfile::tempdir().unwrap();
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            common_kube::define(&common_kube::client(&cluster).await).await;
        });
        let kubeconfig = restricted(&cluster, dir.path());
        let ports = free_ports(4);
        let ports = [[ports[0], ports[1]], [ports[2], ports[3]]];
        let balancer = Balancer::before(ports.iter().map(|it| it[0]).collect(), move |webhook| {
            ports.iter().any(|it| it[0] == webhook && is_ready(it[1]))
        });
        cluster.apply(&webhook(balancer.port, |_| {}));
        for namespace in ["operated", "apart"] {
            cluster.kubectl(&["create", "namespace", namespace]);
        }
        let nowhere = dir.path().join("nowhere");
        let start = |port| Replica::start(dir.path(), &kubeconfig, port, &nowhere);
        let replicas = [start(ports[0]), start(ports[1])];
        for replica in &replicas {
            eventually("a replica is ready", || replica.is_ready());
        }
        Self {
            replicas: Mutex::new(replicas),
            cluster,
            dir,
        }
    }

    fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Bed>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let fresh = Arc::new(Self::new());
            *shared = Arc::downgrade(&fresh);
            fresh
        })
    }

    /// What kubectl says to somebody, on standard error, and whether it was done.
    fn asked(&self, user: &str, namespace: &str, args: &[&str]) -> (bool, String) {
        let who = [
            "--as",
            user,
            "--as-group=system:masters",
            "--namespace",
            namespace,
        ];
        let output = self.cluster.try_kubectl(&[&who[..], args].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), said)
    }

    #[track_caller]
    fn allows(&self, user: &str, namespace: &str, args: &[&str]) -> String {
        let (done, said) = self.asked(user, namespace, args);
        assert!(done, "{user}: {args:?}: {said}");
        said
    }

    #[track_caller]
    fn denies(&self, user: &str, namespace: &str, args: &[&str], why: &str) {
        let (done, said) = self.asked(user, namespace, args);
        assert!(!done, "{user}: {args:?} is allowed");
        assert!(said.contains("denied the request"), "{said}");
        assert!(said.contains(why), "{args:?}: {said}");
    }

    fn apply(&self, namespace: &str, mut objects: Vec<Value>) {
        for object in &mut objects {
            object["metadata"]["namespace"] = namespace.into();
        }
        self.cluster.apply(&objects);
    }

    fn etcd(&self, namespace: &str, name: &str) {
        self.apply(
            namespace,
            vec![json!({
                "apiVersion": "druid.gardener.cloud/v1alpha1", "kind": "Etcd",
                "metadata": { "name": name },
                "spec": { "labels": { "app": name }, "etcd": {}, "backup": {}, "replicas": 3 },
            })],
        );
    }

    fn annotate_etcd(&self, name: &str, annotation: &str) {
        let args = ["annotate", "etcds.druid.gardener.cloud", name, annotation];
        self.allows(PERSON, "apart", &args);
    }
}

fn labelled(api: &str, kind: &str, name: &str, etcd: &str) -> Value {
    json!({
        "apiVersion": api, "kind": kind,
        "metadata": { "name": name, "labels": {
            "app.kubernetes.io/managed-by": "etcd-druid", "app.kubernetes.io/part-of": etcd,
        } },
    })
}

fn map(name: &str, etcd: &str) -> Value {
    labelled("v1", "ConfigMap", name, etcd)
}

fn claim(name: &str, etcd: &str) -> Value {
    let mut claim = labelled("v1", "PersistentVolumeClaim", name, etcd);
    claim["spec"] = json!({
        "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } },
    });
    claim
}

const DRY: &str = "--dry-run=server";
const CHANGE: [&str; 2] = ["changed=yes", DRY];

#[test]
fn the_operator_makes_changes_and_deletes_what_nobody_else_may() {
    let bed = Bed::shared();
    bed.etcd("operated", "a");
    let made = eventually("all is made", || {
        let of = ["--namespace", "operated", "get"];
        let its = "--selector=app.kubernetes.io/part-of=a";
        let kinds = "serviceaccounts,services,configmaps,roles,rolebindings,statefulsets,\
                     poddisruptionbudgets,leases";
        let text = bed
            .cluster
            .kubectl(&[&of[..], &[kinds, its, "--output=name"]].concat());
        let kinds: BTreeSet<_> = text.lines().map(|it| it.split('/').next()).collect();
        (kinds.len() == 8).then(|| text.lines().map(str::to_owned).collect::<Vec<_>>())
    });
    let why = "belongs to Etcd operated/a and somebody may not";
    for object in &made {
        let change = [&["annotate", object][..], &CHANGE].concat();
        bed.denies(PERSON, "operated", &change, &format!("{why} change it"));
        let delete = ["delete", object, DRY];
        bed.denies(PERSON, "operated", &delete, &format!("{why} delete it"));
    }
    // A member renews its leases and changes nothing else; another one does not.
    let lease = made.iter().find(|it| it.starts_with("lease")).unwrap();
    let change = [&["annotate", lease][..], &CHANGE].concat();
    bed.allows("system:serviceaccount:operated:a", "operated", &change);
    let other = "system:serviceaccount:operated:b";
    bed.denies(other, "operated", &change, "belongs to Etcd operated/a");

    // The operator follows a change of the spec, and mends nothing that was not broken.
    let patch = r#"{ "spec": { "replicas": 5 } }"#;
    let etcd = "etcds.druid.gardener.cloud";
    let patch = ["patch", etcd, "a", "--type=merge", "--patch", patch];
    bed.allows(PERSON, "operated", &patch);
    eventually("the fifth member has a lease", || {
        bed.asked(PERSON, "operated", &["get", "lease", "a-4"])
            .0
            .then_some(())
    });
    bed.allows(PERSON, "operated", &["delete", etcd, "a", "--timeout=20s"]);
    eventually("all is gone", || {
        let get = ["get", "lease,configmap,statefulset", "--output=name"];
        let its = [
            "--namespace",
            "operated",
            "--selector=app.kubernetes.io/part-of=a",
        ];
        let left = bed.cluster.kubectl(&[&get[..], &its].concat());
        left.is_empty().then_some(())
    });
    let replicas = bed.replicas.lock().unwrap();
    let denied: Vec<_> = replicas.iter().map(|it| it.requests("denied")).collect();
    assert!(denied.iter().sum::<u64>() >= 16, "{denied:?}");
}

#[test]
fn labels_scales_and_claims_are_no_way_around_it() {
    let bed = Bed::shared();
    bed.etcd("apart", "b");
    let mut set = labelled("apps/v1", "StatefulSet", "b", "b");
    let labels = json!({ "app": "b" });
    set["spec"] = json!({
        "serviceName": "b", "replicas": 3, "selector": { "matchLabels": labels },
        "template": { "metadata": { "labels": labels },
            "spec": { "containers": [{ "name": "c", "image": "i" }] } },
    });
    let mut foreign = set.clone();
    foreign["metadata"] = json!({ "name": "foreign" });
    bed.apply(
        "apart",
        vec![map("b", "b"), set, foreign, claim("b-b-0", "b")],
    );
    let why = "belongs to Etcd apart/b";
    for label in [
        "app.kubernetes.io/managed-by-",
        "app.kubernetes.io/part-of-",
        "app.kubernetes.io/part-of=nobody",
    ] {
        for object in ["configmap/b", "statefulset/b"] {
            let args = ["label", object, label, "--overwrite", DRY];
            bed.denies(PERSON, "apart", &args, why);
        }
    }
    let scale = ["scale", "statefulset/b", "--replicas=0"];
    bed.denies(PERSON, "apart", &scale, why);
    bed.allows(EXEMPT, "apart", &scale);
    bed.allows(
        PERSON,
        "apart",
        &["scale", "statefulset/foreign", "--replicas=0"],
    );
    bed.allows(PERSON, "apart", &["annotate", "statefulset/foreign", "a=b"]);
    bed.denies(PERSON, "apart", &["delete", "pvc", "b-b-0"], why);
    bed.allows(PERSON, "apart", &["annotate", "pvc", "b-b-0", "a=b"]);
    // Each object of a collection.
    let all = [
        "delete",
        "configmap",
        "--selector=app.kubernetes.io/part-of=b",
    ];
    bed.denies(PERSON, "apart", &all, "ConfigMap apart/b belongs to");
    // A Secret and a pod are nobody's.
    bed.apply("apart", vec![labelled("v1", "Secret", "b", "b")]);
    bed.allows(PERSON, "apart", &["delete", "secret", "b"]);
}

#[test]
fn the_etcd_says_who_else_may() {
    let bed = Bed::shared();
    bed.etcd("apart", "c");
    let service = |name| {
        let mut service = labelled("v1", "Service", name, "c");
        service["spec"] = json!({ "ports": [{ "port": 1 }] });
        service
    };
    bed.apply(
        "apart",
        vec![map("c", "c"), map("lost", "nobody"), service("c")],
    );
    let change = ["annotate", "configmap/c", "changed=yes", DRY];
    let serve = ["annotate", "service/c", "changed=yes", DRY];
    let delete = ["delete", "configmap/c", DRY];
    let why = "belongs to Etcd apart/c";
    bed.denies(PERSON, "apart", &change, why);

    let lift = "druid.gardener.cloud/disable-etcd-component-protection";
    bed.annotate_etcd("c", &format!("{lift}=true"));
    for args in [&change[..], &delete] {
        bed.allows(PERSON, "apart", args);
    }
    bed.annotate_etcd("c", &format!("{lift}-"));
    bed.denies(PERSON, "apart", &delete, why);

    let without = "druid.gardener.cloud/disable-etcd-runtime-component-creation";
    bed.annotate_etcd("c", &format!("{without}="));
    bed.allows(PERSON, "apart", &serve);
    bed.denies(PERSON, "apart", &change, why);
    bed.annotate_etcd("c", &format!("{without}-"));
    bed.denies(PERSON, "apart", &serve, why);

    the_exempt_wait(&bed, &change, &delete);

    // What belongs to nobody may be changed by everybody, who are told.
    let said = bed.allows(PERSON, "apart", &["annotate", "configmap/lost", "a=b"]);
    let told = "Warning: ConfigMap apart/lost belongs to Etcd apart/nobody, which there is not";
    assert!(said.contains(told), "{said}");

    // An Etcd that leaves takes all with it in its turn.
    let hold = r#"{ "metadata": { "finalizers": ["a.test/hold"] } }"#;
    let etcd = ["etcds.druid.gardener.cloud", "c"];
    let patch = [&["patch"], &etcd[..], &["--type=merge", "--patch", hold]].concat();
    bed.allows(PERSON, "apart", &patch);
    bed.allows(
        PERSON,
        "apart",
        &[&["delete", "--wait=false"], &etcd[..]].concat(),
    );
    bed.denies(
        PERSON,
        "apart",
        &delete,
        "goes with Etcd apart/c, which is being deleted",
    );
    bed.denies(PERSON, "apart", &change, why);
    bed.allows(EXEMPT, "apart", &delete);
    bed.allows("system:serviceaccount:druid-system:druid", "apart", &delete);
}

/// For the operator.
fn the_exempt_wait(bed: &Bed, change: &[&str], delete: &[&str]) {
    let last = |state: &str| {
        let last = json!({ "status": { "lastOperation": {
            "type": "Reconcile", "state": state, "description": "d", "runID": "r",
            "lastUpdateTime": "2026-01-01T00:00:00Z",
        } } });
        let patch = last.to_string();
        let etcd = [
            "patch",
            "etcds.druid.gardener.cloud",
            "c",
            "--subresource=status",
        ];
        let how = ["--type=merge", "--patch", &patch];
        bed.allows(PERSON, "apart", &[&etcd[..], &how].concat());
    };
    bed.allows(EXEMPT, "apart", change);
    last("Processing");
    let busy = format!("reconciling (Processing): {EXEMPT} is exempt only when that is over");
    bed.denies(EXEMPT, "apart", change, &busy);
    last("Succeeded");
    bed.allows(EXEMPT, "apart", delete);
}

#[test]
fn a_replica_that_ends_leaves_the_other_to_answer_and_files_are_read_again() {
    let bed = Bed::new();
    bed.etcd("apart", "d");
    bed.apply("apart", vec![map("d", "d")]);
    let change = ["annotate", "configmap/d", "changed=yes", DRY];
    let why = "belongs to Etcd apart/d";
    bed.denies(PERSON, "apart", &change, why);
    let mut replicas = bed.replicas.lock().unwrap();
    let [first, second] = &mut *replicas;
    std::thread::scope(|scope| {
        let ending = scope.spawn(|| assert!(first.ends()));
        while !ending.is_finished() {
            bed.denies(PERSON, "apart", &change, why);
        }
    });
    bed.denies(PERSON, "apart", &change, why);
    assert!(second.requests("denied") > 0);

    // Killed, it answers nothing, and what it cannot answer for is not done.
    second.child.kill().unwrap();
    second.child.wait().unwrap();
    let delete = ["delete", "configmap/d", "--wait=false"];
    let (done, said) = bed.asked(PERSON, "apart", &delete);
    assert!(!done && said.contains("failed calling webhook"), "{said}");

    // With a certificate of somebody else's, as etcd-druid has one.
    let files = bed.dir.path().join("files");
    std::fs::create_dir(&files).unwrap();
    let issue = |authority: &Authority| {
        let (certificate, key) = authority.issue(&["127.0.0.1".to_owned()]);
        std::fs::write(files.join("tls.crt"), certificate).unwrap();
        std::fs::write(files.join("tls.key"), key).unwrap();
    };
    let ports = free_ports(2);
    let port = ports[0];
    let kubeconfig = bed.dir.path().join("kubeconfig");
    let third = Replica::start(bed.dir.path(), &kubeconfig, [port, ports[1]], &files);
    // Nothing is there yet.
    eventually("it says what it lacks", || {
        let log = std::fs::read_to_string(&third.log).unwrap();
        log.contains("put tls.crt and tls.key there").then_some(())
    });
    for _ in 0..2 {
        let authority = Authority::new();
        issue(&authority);
        let bundle = base64(&authority.pem);
        bed.cluster
            .apply(&webhook(port, |it| it["caBundle"] = bundle.clone().into()));
        eventually("it is asked", || {
            let (_, said) = bed.asked(PERSON, "apart", &change);
            said.contains(why).then_some(())
        });
        eventually("it is ready", || third.is_ready());
    }
    let text = third.get("/metrics").unwrap();
    assert!(text.contains("etcddruid_webhook_certificate_expiry_timestamp_seconds"));
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}
