//! `cargo xtask manifests` and `cargo xtask deploy`: the operator in a cluster.
#![expect(clippy::print_stdout, reason = "what a developer command says")]

use std::error::Error;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use clap::ValueEnum;
use serde_json::Value;
use xtask::deploy::{self, Build, CONFIG_MAP, NAME, NAMESPACE};

use crate::make_image;
use crate::root;
use crate::target::{self, Target};

/// How long the operator may take to be ready.
const READY: &str = "--timeout=120s";

/// How to install it.
#[derive(Debug, clap::Args)]
pub(crate) struct Deploy {
    /// Whether Etcds are taken to etcd 3.5.27, or back to 3.4.34 [default: as it is, off at first]
    #[arg(long, value_name = "on|off")]
    gate: Option<Gate>,
    /// Build druid without optimisation if there is no image yet
    #[arg(long)]
    debug: bool,
    #[command(flatten)]
    cluster: target::Options,
}

/// A feature gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Gate {
    On,
    Off,
}

/// Writes `deploy/`.
pub(crate) fn manifests() -> Result<ExitCode, Box<dyn Error>> {
    let directory = root().join("deploy");
    std::fs::create_dir_all(directory.join("monitoring"))?;
    for (name, text) in deploy::manifests()? {
        std::fs::write(directory.join(name), text)?;
        println!("deploy/{name}");
    }
    Ok(ExitCode::SUCCESS)
}

/// What was installed.
#[derive(Debug)]
pub(crate) struct Installed {
    /// Whether the gate was on before; nothing if the operator was not there.
    pub(crate) before: Option<bool>,
    /// The images.
    pub(crate) build: Build,
}

/// Installs the operator, or brings what is there to what it should be.
pub(crate) fn run(options: &Deploy) -> Result<ExitCode, Box<dyn Error>> {
    let start = Instant::now();
    let cluster = &options.cluster.target();
    // That it is up, before anything is built for it.
    cluster.kubectl()?;
    let gate = options.gate.map(|gate| gate == Gate::On);
    let mut installed = None;
    let archive = || archive(options.debug);
    if !install(cluster, archive, gate, &mut installed)? {
        return Ok(ExitCode::FAILURE);
    }
    let before = installed.and_then(|it| it.before);
    let gate = gate.or(before).unwrap_or(false);
    let word = if gate { "on" } else { "off" };
    println!(
        "{NAMESPACE}/{NAME}: ready after {:.1} s, UpgradeEtcdVersion is {word}",
        start.elapsed().as_secs_f64()
    );
    next(cluster, gate);
    Ok(ExitCode::SUCCESS)
}

/// The images, which are made if they never were.
pub(crate) fn archive(debug: bool) -> Result<PathBuf, Box<dyn Error>> {
    let archive = make_image::archive();
    if !archive.exists() {
        make_image::make(debug)?;
    }
    Ok(archive)
}

/// Does it; `gate`: as it is, if it is not said. Before the first change, `done` says what was there.
/// False if it does not become ready, for reasons that are printed.
pub(crate) fn install(
    cluster: &Target,
    archive: impl FnOnce() -> Result<PathBuf, Box<dyn Error>>,
    gate: Option<bool>,
    done: &mut Option<Installed>,
) -> Result<bool, Box<dyn Error>> {
    let (build, archive) = cluster.build(archive)?;
    if let Some(archive) = archive
        && loaded(cluster)?.as_deref() != Some(&build.stamp)
    {
        cluster.load(&archive)?;
        println!("{}: loaded", archive.display());
    }
    let before = self::gate(cluster)?;
    let gate = gate.or(before).unwrap_or(false);
    let objects = deploy::objects(gate, Some(&build))?;
    *done = Some(Installed { before, build });
    apply(cluster, &objects)?;
    rolled_out(cluster)
}

/// Switches the gate of an operator that is installed, and does not wait for it.
pub(crate) fn switch(cluster: &Target, gate: bool, build: &Build) -> Result<(), Box<dyn Error>> {
    let mut objects = deploy::objects(gate, Some(build))?;
    objects.retain(|it| it["kind"] == "Deployment" || it["metadata"]["name"] == CONFIG_MAP);
    apply(cluster, &objects)
}

/// Removes the operator, with all that [`install`] makes.
pub(crate) fn uninstall(cluster: &Target) -> Result<(), Box<dyn Error>> {
    let mut kubectl = cluster.kubectl()?;
    kubectl.args(["delete", "--ignore-not-found", "--timeout=90s"]);
    kubectl.arg("--filename=-");
    feed(kubectl, &deploy::objects(false, None)?)
}

fn next(cluster: &Target, gate: bool) {
    let (kubectl, flags) = (cluster.typed(), cluster.flags());
    if let Some(environment) = cluster.environment() {
        println!("  {environment}");
    }
    println!("  {kubectl} apply -f deploy/example.yaml");
    println!("  {kubectl} get etcds --all-namespaces --watch");
    println!("  {kubectl} --namespace {NAMESPACE} logs deployment/{NAME} --follow");
    let other = if gate { "off" } else { "on" };
    println!("  cargo xtask deploy{flags} --gate {other}");
}

/// One object as the API server has it.
fn get(cluster: &Target, kind: &str, name: &str) -> Result<Option<Value>, Box<dyn Error>> {
    let mut kubectl = cluster.kubectl()?;
    kubectl.args(["--namespace", NAMESPACE, "get", kind, name]);
    kubectl.args([
        "--ignore-not-found",
        "--output=json",
        "--request-timeout=20s",
    ]);
    let text = crate::command::output(&mut kubectl)?;
    if text.trim().is_empty() {
        return Ok(None);
    }
    Ok(Some(serde_json::from_str(&text)?))
}

/// The build that the operator runs.
fn loaded(cluster: &Target) -> Result<Option<String>, Box<dyn Error>> {
    let deployment = get(cluster, "deployment", NAME)?.unwrap_or_default();
    let annotations = &deployment["spec"]["template"]["metadata"]["annotations"];
    Ok(annotations["checksum/image"].as_str().map(str::to_owned))
}

fn gate(cluster: &Target) -> Result<Option<bool>, Box<dyn Error>> {
    let map = get(cluster, "configmap", CONFIG_MAP)?;
    Ok(map.as_ref().and_then(deploy::gate_of))
}

/// Gives objects to the API server.
pub(crate) fn apply(cluster: &Target, objects: &[Value]) -> Result<(), Box<dyn Error>> {
    let mut kubectl = cluster.kubectl()?;
    kubectl.args(["apply", "--server-side", "--force-conflicts"]);
    kubectl.args(["--field-manager=xtask", "--filename=-"]);
    feed(kubectl, objects)
}

fn feed(mut kubectl: Command, objects: &[Value]) -> Result<(), Box<dyn Error>> {
    let list = serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": objects });
    Ok(crate::command::feed(
        &mut kubectl,
        list.to_string().as_bytes(),
    )?)
}

/// Waits for it. If it does not come, says what the cluster knows of it.
fn rolled_out(cluster: &Target) -> Result<bool, Box<dyn Error>> {
    let deployment = format!("deployment/{NAME}");
    let ask = |args: &[&str]| -> Result<Command, Box<dyn Error>> {
        let mut kubectl = cluster.kubectl()?;
        kubectl.args(["--namespace", NAMESPACE]).args(args);
        Ok(kubectl)
    };
    let mut wait = ask(&["rollout", "status", &deployment, READY])?;
    if crate::command::run(wait.stdout(Stdio::null()))?.success() {
        return Ok(true);
    }
    for args in [
        &["get", "pods", "--output=wide"][..],
        &["get", "events", "--sort-by=.lastTimestamp"],
        &["logs", &deployment, "--tail=20"],
    ] {
        crate::command::run(&mut ask(args)?)?;
    }
    println!("{NAMESPACE}/{NAME}: not ready");
    Ok(false)
}
