//! `cargo xtask bench operator`: what many Etcds cost the operator, on an API server alone. There are
//! no controllers and no kubelet there, so this plays their part: `StatefulSets`, pods and members' leases
//! say what they would say of clusters that are well, and the leases are renewed.
#![expect(clippy::print_stdout, reason = "what a developer command says")]

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use druid_core::api::{Etcd, EtcdSpec};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, ResourceExt as _};
use serde_json::{Value, json};
use thiserror::Error;
use xtask::cluster::{ControlPlane, ControlPlaneError};

use crate::command::{self, CommandError, Profile, build_druid};

/// What `cargo xtask bench operator` takes.
#[derive(clap::Args)]
pub(crate) struct Operator {
    /// How many Etcds there are
    #[arg(long, default_value_t = 1000, value_name = "N")]
    etcds: usize,
    /// How many of them are applied at first, with one `kubectl apply`; and then made, 16 at a time
    #[arg(long, default_value_t = 200, value_name = "N")]
    first: usize,
    /// How many members each has
    #[arg(long, default_value_t = 3, value_name = "N")]
    members: usize,
    /// How long the operator is watched while nothing happens, seconds
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    idle: u64,
}

/// Why it could not be measured.
#[derive(Debug, Error)]
enum BenchError {
    #[error("{0}: {1}")]
    Io(&'static str, std::io::Error),
    #[error(transparent)]
    ControlPlane(#[from] ControlPlaneError),
    #[error(transparent)]
    Kube(#[from] kube::Error),
    #[error("the kubeconfig: {0}")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error("{0} did not come about within {1} s")]
    Late(&'static str, u64),
}

/// So many requests at once.
const AT_ONCE: usize = 16;
/// How often members renew their leases.
const RENEWED: Duration = Duration::from_secs(10);
/// Where everything is.
const SPACE: &str = "default";
/// For anything to come about.
const PATIENCE: u64 = 600;

/// Runs it.
pub(crate) fn run(options: &Operator) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let druid = build_druid(Profile::Release)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let dir = tempfile::Builder::new().prefix("druid-bench-").tempdir()?;
    let control_plane = ControlPlane::start(dir.path()).map_err(BenchError::from)?;
    crds(&druid, &control_plane)?;
    let operator = Running::start(&druid, &control_plane, dir.path())?;
    let measured = runtime.block_on(measure(options, &control_plane, &operator));
    drop(operator);
    let rows = measured?;
    println!("\n| work | measured | gate | etcd-druid |\n|---|---|---|---|");
    for row in rows {
        println!("{row}");
    }
    Ok(ExitCode::SUCCESS)
}

/// The operator, for as long as it is measured.
struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    fn start(druid: &Path, on: &ControlPlane, dir: &Path) -> Result<Self, BenchError> {
        let config = dir.join("operator.yaml");
        let text = json!({
            "apiVersion": "config.druid.gardener.cloud/v1alpha1",
            "kind": "OperatorConfiguration",
            "clientConnection": { "qps": -1 },
            "leaderElection": { "enabled": true },
            "server": { "metrics": { "bindAddress": "127.0.0.1", "port": 18_080 } },
            "controllers": { "etcd": { "enableEtcdSpecAutoReconcile": true } },
        });
        std::fs::write(&config, text.to_string()).map_err(|it| BenchError::Io("file", it))?;
        let log = dir.join("operator.log");
        let file = File::create(&log).map_err(|it| BenchError::Io("file", it))?;
        let child = Command::new(druid)
            .arg("operator")
            .arg("--config")
            .arg(config)
            .arg("--kubeconfig")
            .arg(on.layout().kubeconfig())
            // Whoever runs this may have one of his own.
            .env_remove("KUBECONFIG")
            .stdout(Stdio::null())
            .stderr(file)
            .spawn();
        let child = child.map_err(|it| BenchError::Io("druid operator", it))?;
        Ok(Self { child, log })
    }

    /// A line of `/proc/PID/status`, KiB.
    fn kib(&self, what: &str) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap_or_default();
        let line = status.lines().find(|it| it.starts_with(what));
        let number = line.and_then(|it| it.split_whitespace().nth(1)?.parse().ok());
        number.unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::env::var_os("DRUID_BENCH_LOG").is_some() {
            let text = std::fs::read_to_string(&self.log).unwrap_or_default();
            let _ = std::io::stderr().write_all(text.as_bytes());
        }
    }
}

fn crds(druid: &Path, on: &ControlPlane) -> Result<(), BenchError> {
    let mut crds = Command::new(druid);
    let text = crds
        .arg("crds")
        .output()
        .map_err(|it| BenchError::Io("druid crds", it))?;
    let mut kubectl = on.kubectl();
    command::feed(
        kubectl.args(["apply", "--server-side", "-f", "-"]),
        &text.stdout,
    )?;
    let mut wait = on.kubectl();
    wait.args([
        "wait",
        "--for=condition=Established",
        "crd",
        "--all",
        "--timeout=30s",
    ]);
    command::run(wait.stdout(Stdio::null()))?;
    Ok(())
}

async fn measure(
    options: &Operator,
    on: &ControlPlane,
    operator: &Running,
) -> Result<Vec<String>, BenchError> {
    let file = Kubeconfig::read_from(on.layout().kubeconfig())?;
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    let client = Client::try_from(config)?;
    let audit = on.layout().audit_log();
    let mut rows = Vec::new();

    let first = options.first.min(options.etcds);
    let took = apply(on, first, options.members)?;
    sets(&client, first).await?;
    let late = lateness(&audit)?;
    rows.push(format!(
        "| {first} Etcds, `kubectl apply` of them took {took:.1} s: last StatefulSet after the last apply | {late:.2} s | <= 2 s | 15.5 s (23.4 s) |",
    ));

    let second = (2 * first).min(options.etcds);
    let began = Instant::now();
    make(&client, first..second, options.members).await?;
    let took = began.elapsed().as_secs_f64();
    sets(&client, second).await?;
    let late = lateness(&audit)?;
    rows.push(format!(
        "| {} Etcds more, made {AT_ONCE} at a time in {took:.1} s: last StatefulSet after the last of them | {late:.2} s | - | - |",
        second - first,
    ));

    make(&client, second..options.etcds, options.members).await?;
    sets(&client, options.etcds).await?;
    println!(
        "{} Etcds with {} members each are made",
        options.etcds, options.members
    );
    let renewing = tokio::spawn(renew(client.clone(), options.etcds, options.members));
    play(&client, options).await?;
    well(&client, options.etcds).await?;
    println!("all are well; nothing happens from now on");
    tokio::time::sleep(Duration::from_secs(75)).await;

    let before = writes(&audit)?;
    let cpu = cpu(operator);
    tokio::time::sleep(Duration::from_secs(options.idle)).await;
    let written = writes(&audit)? - before;
    let busy = self::cpu(operator) - cpu;
    renewing.abort();
    let per_minute = written * 60 / usize::try_from(options.idle.max(1)).unwrap_or(60);
    rows.push(format!(
        "| {} idle Etcds of {} members, leases renewed every {} s: API writes of the operator | {per_minute} per minute | 0 | 4727 (of 200) |",
        options.etcds, options.members, RENEWED.as_secs(),
    ));
    rows.push(format!(
        "| the same: memory (RSS; most it ever had) | {} MiB; {} MiB | <= 64 MB | 77 MB (of 200) |",
        operator.kib("VmRSS:") / 1024,
        operator.kib("VmHWM:") / 1024,
    ));
    rows.push(format!(
        "| the same: one CPU | {:.1} % | - | - |",
        100.0 * busy / f64::from(u32::try_from(options.idle.max(1)).unwrap_or(60)),
    ));
    Ok(rows)
}

/// Seconds of CPU that the operator has used.
fn cpu(operator: &Running) -> f64 {
    let path = format!("/proc/{}/stat", operator.child.id());
    let stat = std::fs::read_to_string(path).unwrap_or_default();
    let fields = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace();
    let ticks = fields
        .skip(11)
        .take(2)
        .filter_map(|it| it.parse::<u32>().ok());
    // Of which there are a hundred a second on Linux.
    f64::from(ticks.sum::<u32>()) / 100.0
}

/// How long the command took that people apply a fleet with, seconds.
fn apply(on: &ControlPlane, count: usize, members: usize) -> Result<f64, BenchError> {
    let etcds = (0..count).map(|number| etcd(number, members));
    let items = etcds
        .map(|it| serde_json::to_value(it?))
        .collect::<Result<Vec<_>, _>>()?;
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
    let began = Instant::now();
    let mut kubectl = on.kubectl();
    command::feed(
        kubectl.args(["apply", "-f", "-"]),
        list.to_string().as_bytes(),
    )?;
    Ok(began.elapsed().as_secs_f64())
}

fn etcd(number: usize, members: usize) -> Result<Etcd, serde_json::Error> {
    let spec: EtcdSpec = serde_json::from_value(json!({
        "replicas": members, "labels": { "app": "bench" }, "etcd": {}, "backup": {},
    }))?;
    let mut etcd = Etcd::new(&format!("e{number}"), spec);
    etcd.metadata.namespace = Some(SPACE.to_owned());
    Ok(etcd)
}

async fn make(
    client: &Client,
    which: std::ops::Range<usize>,
    members: usize,
) -> Result<(), BenchError> {
    let api: Api<Etcd> = Api::namespaced(client.clone(), SPACE);
    let etcds = which
        .map(|number| etcd(number, members))
        .collect::<Result<Vec<_>, _>>()?;
    let each = stream::iter(etcds).map(|etcd| {
        let api = api.clone();
        async move { api.create(&PostParams::default(), &etcd).await }
    });
    each.buffer_unordered(AT_ONCE)
        .try_for_each(|_| async { Ok(()) })
        .await?;
    Ok(())
}

async fn until<F>(what: &'static str, mut ask: impl FnMut() -> F) -> Result<(), BenchError>
where
    F: Future<Output = Result<bool, BenchError>>,
{
    let began = Instant::now();
    while !ask().await? {
        if began.elapsed() > Duration::from_secs(PATIENCE) {
            return Err(BenchError::Late(what, PATIENCE));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}

async fn sets(client: &Client, count: usize) -> Result<(), BenchError> {
    let api: Api<StatefulSet> = Api::namespaced(client.clone(), SPACE);
    until("a StatefulSet for each Etcd", || async {
        Ok(api.list_metadata(&ListParams::default()).await?.items.len() >= count)
    })
    .await
}

/// Until every Etcd says that all its members are ready.
async fn well(client: &Client, count: usize) -> Result<(), BenchError> {
    let api: Api<Etcd> = Api::namespaced(client.clone(), SPACE);
    until("that all Etcds are well", || async {
        let all = api.list(&ListParams::default()).await?;
        let well = all.items.iter().filter(|it| {
            let conditions = it.status.as_ref().and_then(|it| it.conditions.as_ref());
            let mut conditions = conditions.into_iter().flatten();
            conditions.any(|it| it.kind == "AllMembersReady" && it.status == "True")
        });
        Ok(well.count() >= count)
    })
    .await
}

/// Plays the controller of `StatefulSets` and the kubelets.
async fn play(client: &Client, options: &Operator) -> Result<(), BenchError> {
    let sets: Api<StatefulSet> = Api::namespaced(client.clone(), SPACE);
    let all = sets.list(&ListParams::default()).await?;
    let each = stream::iter(all.items).map(|set| play_one(client, set, options.members));
    each.buffer_unordered(AT_ONCE)
        .try_for_each(|()| async { Ok(()) })
        .await
}

async fn play_one(client: &Client, set: StatefulSet, members: usize) -> Result<(), BenchError> {
    let sets: Api<StatefulSet> = Api::namespaced(client.clone(), SPACE);
    let pods: Api<Pod> = Api::namespaced(client.clone(), SPACE);
    let name = set.name_any();
    let labels = set
        .spec
        .as_ref()
        .and_then(|it| it.template.metadata.as_ref()?.labels.clone());
    for ordinal in 0..members {
        let mut labels = labels.clone().unwrap_or_default();
        labels.insert("controller-revision-hash".to_owned(), format!("{name}-1"));
        let pod = Pod {
            metadata: ObjectMeta {
                name: Some(format!("{name}-{ordinal}")),
                labels: Some(labels),
                owner_references: set.owner_reference(),
                ..ObjectMeta::default()
            },
            spec: Some(serde_json::from_value(json!({
                "containers": [{ "name": "etcd", "image": "none" }],
                "automountServiceAccountToken": false,
            }))?),
            status: None,
        };
        pods.create(&PostParams::default(), &pod).await?;
        let condition = |kind: &str| json!({ "type": kind, "status": "True" });
        let status = json!({ "status": {
            "phase": "Running",
            "conditions": [condition("Ready"), condition("ContainersReady")],
        } });
        let name = pod.name_any();
        pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(&status))
            .await?;
    }
    let status = json!({ "status": {
        "observedGeneration": set.metadata.generation,
        "replicas": members, "readyReplicas": members, "currentReplicas": members,
        "updatedReplicas": members,
        "currentRevision": format!("{name}-1"), "updateRevision": format!("{name}-1"),
    } });
    sets.patch_status(&name, &PatchParams::default(), &Patch::Merge(&status))
        .await?;
    Ok(())
}

trait Owned {
    fn owner_reference(
        &self,
    ) -> Option<Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference>>;
}

impl Owned for StatefulSet {
    fn owner_reference(
        &self,
    ) -> Option<Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference>> {
        kube::Resource::controller_owner_ref(self, &()).map(|it| vec![it])
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "it plays a program that reads the clock"
)]
fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// Plays the sidecars: every lease of a member, again and again.
async fn renew(client: Client, etcds: usize, members: usize) {
    let api: Api<Lease> = Api::namespaced(client, SPACE);
    loop {
        let began = Instant::now();
        let names =
            (0..etcds).flat_map(|number| (0..members).map(move |ordinal| (number, ordinal)));
        let each = stream::iter(names).map(|(number, ordinal)| {
            let api = api.clone();
            async move {
                let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime(now());
                let role = if ordinal == 0 { "Leader" } else { "Member" };
                let patch = json!({ "spec": {
                    "holderIdentity": format!("{:x}:{:x}:{role}", 4096 + ordinal, 65536 + number),
                    "leaseDurationSeconds": 40,
                    "renewTime": now,
                } });
                let name = format!("e{number}-{ordinal}");
                let params = PatchParams::default();
                // One that is not there yet is there the next time.
                let _ = api.patch(&name, &params, &Patch::Merge(&patch)).await;
            }
        });
        each.buffer_unordered(AT_ONCE).for_each(|()| async {}).await;
        tokio::time::sleep(RENEWED.saturating_sub(began.elapsed())).await;
    }
}

/// The lines of the audit log that are about what the operator wrote, the election aside.
fn events(audit: &Path) -> Result<impl Iterator<Item = Value>, BenchError> {
    let file = File::open(audit).map_err(|it| BenchError::Io("audit log", it))?;
    let lines = BufReader::new(file).lines().map_while(Result::ok);
    let events = lines.filter_map(|it| serde_json::from_str::<Value>(&it).ok());
    Ok(events.filter(|it| {
        let verb = it["verb"].as_str().unwrap_or_default();
        !matches!(verb, "get" | "list" | "watch")
            && it["objectRef"]["name"] != "druid-leader-election"
    }))
}

/// Writes of the operator, told by how it calls itself.
fn writes(audit: &Path) -> Result<usize, BenchError> {
    let ours = |it: &Value| is_ours(it);
    Ok(events(audit)?.filter(ours).count())
}

fn is_ours(event: &Value) -> bool {
    let of = &event["objectRef"];
    let resource = of["resource"].as_str().unwrap_or_default();
    // Whoever plays the others writes pods, the leases' times and the status of StatefulSets.
    let status = of["subresource"] == "status";
    match resource {
        "pods" => event["verb"] == "delete",
        "leases" => event["requestURI"]
            .as_str()
            .is_some_and(|it| it.contains("fieldManager=druid")),
        "statefulsets" => !status,
        "etcds" => event["verb"] != "create",
        _ => true,
    }
}

/// From the last Etcd that was made to the last `StatefulSet` that was, seconds.
fn lateness(audit: &Path) -> Result<f64, BenchError> {
    let (mut made, mut last) = (None, None);
    for event in events(audit)? {
        let at = event["stageTimestamp"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let at: Option<jiff::Timestamp> = at.parse().ok();
        match (
            event["verb"].as_str(),
            event["objectRef"]["resource"].as_str(),
        ) {
            (Some("create"), Some("etcds")) => made = made.max(at),
            (Some("patch"), Some("statefulsets")) => last = last.max(at),
            _ => {}
        }
    }
    let (Some(made), Some(last)) = (made, last) else {
        return Err(BenchError::Late("a StatefulSet", 0));
    };
    Ok(last.duration_since(made).as_secs_f64())
}
