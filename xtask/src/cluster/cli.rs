//! `cargo xtask cluster`: a Kubernetes for trying things by hand.
#![expect(clippy::print_stdout, reason = "what a developer command says")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use thiserror::Error;

use super::control_plane;
use super::helm::helm_in;
use super::name::ClusterName;
use super::named::{Clusters, NamedError, Up as Was};
use super::node::NodeError;
use super::node::machine;
use super::record::{Kind, Record};
use super::tools::Tools;

/// What `up` exits with where containers cannot run, whatever one does.
const UNABLE: u8 = 3;

/// What to do with a cluster.
#[derive(Debug, clap::Subcommand)]
pub enum Cluster {
    /// Bring a cluster up and wait until it is ready; one that is up stays as it is
    ///
    /// It has one node, which runs pods: kubelet, containerd, services, volumes, names. Needs root,
    /// and installs what it needs with apt-get. It is reached from this machine and from nowhere
    /// else, and its pods reach this machine and nothing else. Exits with 3 where containers cannot
    /// run.
    Up(Up),
    /// Take a cluster down: its processes end, and nothing is left of it
    Down {
        /// Which
        #[arg(long, default_value_t)]
        name: ClusterName,
    },
    /// Say what runs; exits with 1 unless it does
    Status {
        /// Which; all of them if left out
        #[arg(long)]
        name: Option<ClusterName>,
    },
    /// Print `export` lines for a shell: `KUBECONFIG`, `KUBECTL`, `AUDIT_LOG`, `CONTAINERD_SOCK`
    ///
    /// `eval "$(cargo xtask cluster env)"`, and then `$KUBECTL get leases --all-namespaces`.
    Env {
        /// Which
        #[arg(long, default_value_t)]
        name: ClusterName,
    },
    /// Build the components of Kubernetes, and Helm, if that has not been done, and nothing else
    ///
    /// Needs Go. Takes some minutes the first time, and no time after that. Those of a node are
    /// left out, with the reason, where containers cannot run.
    Build {
        /// kube-apiserver and kubectl alone
        #[arg(long)]
        control_plane_only: bool,
    },
}

/// What to bring up.
#[derive(Debug, clap::Args)]
pub struct Up {
    /// kube-apiserver and etcd alone, on free ports of 127.0.0.1, as an ordinary user
    ///
    /// Objects, watches, RBAC and CRDs work as they do everywhere. No controller and no kubelet
    /// runs.
    #[arg(long)]
    control_plane_only: bool,
    /// Several can be up side by side
    #[arg(long, default_value_t)]
    name: ClusterName,
}

/// Why there are no `export` lines.
#[derive(Debug, Error)]
enum EnvError {
    /// It cannot be written in a shell script.
    #[error("{0} is not UTF-8; clone the repository to another directory")]
    Path(String),
}

/// Does it.
///
/// # Errors
/// A cluster, a file, a process or Go was not as it has to be; nothing is left half done that `down` would not remove.
pub fn run(task: &Cluster) -> Result<ExitCode, Box<dyn Error>> {
    let clusters = Clusters::of_the_repository();
    match task {
        Cluster::Up(options) => return up(&clusters, options),
        Cluster::Down { name } => {
            let was = clusters.down(name)?;
            println!("{name}: {}", if was { "down" } else { "was not up" });
        }
        Cluster::Status { name } => return Ok(status(&clusters, name.as_ref())?),
        Cluster::Env { name } => env(&clusters, name)?,
        Cluster::Build { control_plane_only } => build(*control_plane_only)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn build(control_plane_only: bool) -> Result<(), Box<dyn Error>> {
    if control_plane_only {
        Tools::control_plane()?;
        println!("kube-apiserver and kubectl are built");
        return Ok(());
    }
    Tools::helm()?;
    println!("Helm is built");
    match machine::prepare() {
        Ok(()) => {
            Tools::node()?;
            println!("all of Kubernetes is built");
        }
        Err(unable) => {
            Tools::control_plane()?;
            println!("kube-apiserver and kubectl are built");
            println!("tests on a node are skipped: this machine cannot run containers: {unable}");
        }
    }
    Ok(())
}

fn up(clusters: &Clusters, options: &Up) -> Result<ExitCode, Box<dyn Error>> {
    let start = Instant::now();
    let name = &options.name;
    let kind = if options.control_plane_only {
        Kind::ControlPlane
    } else {
        Kind::Node
    };
    match clusters.up(name, kind) {
        Ok(Was::Before) => println!("{name}: is up"),
        Ok(Was::Now) => println!("{name}: up after {:.1} s", start.elapsed().as_secs_f64()),
        Err(NamedError::Node(unable @ NodeError::Unable(_))) => {
            eprintln!("xtask: {unable}");
            return Ok(ExitCode::from(UNABLE));
        }
        Err(error) => return Err(error.into()),
    }
    let named = name.flag();
    println!("  eval \"$(cargo xtask cluster env{named})\"");
    println!("  cargo xtask cluster down{named}");
    Ok(ExitCode::SUCCESS)
}

fn status(clusters: &Clusters, name: Option<&ClusterName>) -> Result<ExitCode, NamedError> {
    let mut all = clusters.all()?;
    if let Some(name) = name {
        all.retain(|(it, _)| it == name);
    }
    if all.is_empty() {
        let none = name.map_or("no cluster is up".to_owned(), |it| format!("{it}: down"));
        println!("{none}");
        return Ok(ExitCode::FAILURE);
    }
    let tools = Tools::control_plane()?;
    let mut code = ExitCode::SUCCESS;
    for (name, record) in all {
        if !is_well(clusters, &name, &record, &tools) {
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

/// Says what runs and what is missing.
fn is_well(clusters: &Clusters, name: &ClusterName, record: &Record, tools: &Tools) -> bool {
    let ended = record.ended().map(|it| format!("{it} has ended"));
    let missing = ended.or_else(|| {
        let missing = record.kind.missing(tools, &clusters.layout(name));
        missing.map(ToOwned::to_owned)
    });
    let server = record.server.as_deref().unwrap_or("no address yet");
    match &missing {
        None => println!("{name}: ready, {server}"),
        Some(what) => println!("{name}: not ready, {server}: {what}"),
    }
    for process in &record.processes {
        let identity = &process.identity;
        let word = if identity.is_running() {
            "runs"
        } else {
            "has ended"
        };
        println!("  {} {word}, process {}", process.name, identity.pid());
    }
    missing.is_none()
}

fn env(clusters: &Clusters, name: &ClusterName) -> Result<(), Box<dyn Error>> {
    let record = clusters.find(name)?;
    let layout = clusters.layout(name);
    let mut variables = vec![
        ("KUBECONFIG", layout.kubeconfig()),
        ("KUBECTL", Tools::control_plane()?.kubectl()),
        ("KUBECACHEDIR", layout.kubectl_cache()),
        ("AUDIT_LOG", layout.audit_log()),
    ];
    match record.kind {
        Kind::ControlPlane => {}
        Kind::Node => variables.push(("CONTAINERD_SOCK", layout.containerd_socket())),
    }
    for (variable, path) in variables {
        println!("export {variable}={}", quoted(&path)?);
    }
    Ok(())
}

/// kubectl as the administrator of one that is up.
///
/// # Errors
/// It is not up.
pub fn kubectl(name: &ClusterName) -> Result<Command, Box<dyn Error>> {
    let clusters = Clusters::of_the_repository();
    clusters.find(name)?;
    let tools = Tools::control_plane()?;
    Ok(control_plane::kubectl(&tools, &clusters.layout(name)))
}

/// Helm as the administrator of one that is up.
///
/// # Errors
/// It is not up, or there is no Helm and it cannot be built.
pub fn helm(name: &ClusterName) -> Result<Command, Box<dyn Error>> {
    let clusters = Clusters::of_the_repository();
    clusters.find(name)?;
    Ok(helm_in(&clusters.layout(name))?)
}

/// Gives the images of an archive to the node of a cluster, and says which: the one that is named, or
/// the one that `up` makes, if it is up and has a node.
///
/// # Errors
/// The one that is named is not up, or does not take them.
pub fn load(
    name: Option<&ClusterName>,
    archive: &Path,
) -> Result<Option<ClusterName>, Box<dyn Error>> {
    let clusters = Clusters::of_the_repository();
    let default = ClusterName::default();
    match clusters.load(name.unwrap_or(&default), archive) {
        Ok(()) => Ok(Some(name.unwrap_or(&default).clone())),
        Err(NamedError::NotUp { .. } | NamedError::NoNode { .. }) if name.is_none() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Where the API server of one that is up writes down each request.
///
/// # Errors
/// It is not up.
pub fn audit_log(name: &ClusterName) -> Result<PathBuf, Box<dyn Error>> {
    let clusters = Clusters::of_the_repository();
    clusters.find(name)?;
    Ok(clusters.layout(name).audit_log())
}

/// Removes a directory of the node of one that is up, if it is there.
///
/// # Errors
/// It is not up, has no node, or the directory does not go.
pub fn remove_on_node(name: &ClusterName, directory: &Path) -> Result<(), Box<dyn Error>> {
    Ok(Clusters::of_the_repository().remove_on_node(name, directory)?)
}

/// As one word of a shell script.
fn quoted(path: &Path) -> Result<String, EnvError> {
    let text = path
        .to_str()
        .ok_or_else(|| EnvError::Path(path.display().to_string()))?;
    Ok(format!("'{}'", text.replace('\'', "'\\''")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_anything_in_it_is_one_word_for_a_shell() {
        let path = "/a b/it's $HOME;\"x";
        let script = format!("printf %s {}", quoted(Path::new(path)).unwrap());
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), path);
    }
}
