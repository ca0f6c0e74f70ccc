//! `cargo xtask cluster`: a Kubernetes for trying things by hand.
#![expect(clippy::print_stdout, reason = "what a developer command says")]

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use thiserror::Error;

use super::control_plane::is_ready;
use super::named::{ClusterName, Clusters, NamedError, Up as Was};
use super::tools::Tools;

/// What to do with a cluster.
#[derive(Debug, clap::Subcommand)]
pub enum Cluster {
    /// Bring a cluster up and wait until it is ready; one that is up stays as it is
    Up(Up),
    /// Take a cluster down: its processes end, its directory is removed
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
    /// Print `export` lines for a shell: `KUBECONFIG`, `KUBECTL`, `AUDIT_LOG`
    ///
    /// `eval "$(cargo xtask cluster env)"`, and then `$KUBECTL get leases --all-namespaces`.
    Env {
        /// Which
        #[arg(long, default_value_t)]
        name: ClusterName,
    },
    /// Build the components of Kubernetes, if that has not been done, and nothing else
    ///
    /// Needs Go. Takes some minutes the first time, and no time after that.
    Build,
}

/// What to bring up.
#[derive(Debug, clap::Args)]
pub struct Up {
    /// kube-apiserver and etcd alone, on free ports of 127.0.0.1, as an ordinary user
    ///
    /// Objects, watches, RBAC and CRDs work as they do everywhere. No controller and no kubelet
    /// runs.
    #[arg(long, required = true)]
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
        Cluster::Up(options) => up(&clusters, &options.name)?,
        Cluster::Down { name } => {
            let was = clusters.down(name)?;
            println!("{name}: {}", if was { "down" } else { "was not up" });
        }
        Cluster::Status { name } => return Ok(status(&clusters, name.as_ref())?),
        Cluster::Env { name } => env(&clusters, name)?,
        Cluster::Build => {
            Tools::control_plane()?;
            println!("kube-apiserver and kubectl are built");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn up(clusters: &Clusters, name: &ClusterName) -> Result<(), NamedError> {
    let start = Instant::now();
    match clusters.up(name)? {
        Was::Before => println!("{name}: is up"),
        Was::Now => println!("{name}: up after {:.1} s", start.elapsed().as_secs_f64()),
    }
    let named = if *name == ClusterName::default() {
        String::new()
    } else {
        format!(" --name {name}")
    };
    println!("  eval \"$(cargo xtask cluster env{named})\"");
    println!("  cargo xtask cluster down{named}");
    Ok(())
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
        let ready = record.ended().is_none() && is_ready(&tools, &clusters.layout(&name));
        let word = if ready { "ready" } else { "not ready" };
        println!("{name}: {word}, {}", record.server);
        for process in &record.processes {
            let identity = &process.identity;
            let word = if identity.is_running() {
                "runs"
            } else {
                "has ended"
            };
            println!("  {} {word}, process {}", process.name, identity.pid());
        }
        if !ready {
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

fn env(clusters: &Clusters, name: &ClusterName) -> Result<(), Box<dyn Error>> {
    clusters.find(name)?;
    let layout = clusters.layout(name);
    for (variable, path) in [
        ("KUBECONFIG", layout.kubeconfig()),
        ("KUBECTL", Tools::control_plane()?.kubectl()),
        ("KUBECACHEDIR", layout.kubectl_cache()),
        ("AUDIT_LOG", layout.audit_log()),
    ] {
        println!("export {variable}={}", quoted(&path)?);
    }
    Ok(())
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
        let output = std::process::Command::new("sh")
            .args(["-c", &script])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), path);
    }
}
