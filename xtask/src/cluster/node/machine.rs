//! Can this machine run containers? What is missing is installed where that is possible.

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::debian::{self, run};

/// Programs that a node is made with, and the Debian packages that have them.
const PROGRAMS: [(&str, &str); 8] = [
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("ip", "iproute2"),
    ("iptables", "iptables"),
    ("conntrack", "conntrack"),
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("runc", "runc"),
];

/// Where distributions keep the plugins that connect containers, and the package.
const CNI_DIRECTORIES: [&str; 3] = ["/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"];
const CNI_PLUGINS: [&str; 3] = ["ptp", "host-local", "portmap"];
pub(crate) const CNI_PACKAGE: &str = "containernetworking-plugins";

/// What the kubelet limits pods by.
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

/// Why this machine cannot run containers. Tests that need them are skipped for it.
#[derive(Debug, Error)]
pub enum Unable {
    /// Not root.
    #[error(
        "only root can make the namespaces and devices of a node; run this as root, or use \
         `--control-plane-only`"
    )]
    NotRoot,
    /// The kernel does not let even root do so.
    #[error("the kernel makes no namespaces here ({0}); use a machine or a container that may")]
    Namespaces(String),
    /// No way to limit containers.
    #[error("the control group controller `{0}` is not below /sys/fs/cgroup; mount it there")]
    Cgroup(&'static str),
    /// No way to have their files.
    #[error("the kernel has no overlay file system; load its module (`modprobe overlay`)")]
    Overlay,
    /// Programs are missing and no known program installs them.
    #[error("these packages are missing, and there is no apt-get to install them: {}", .0.join(", "))]
    Packages(Vec<&'static str>),
    /// The one that is known did not.
    #[error("`{line}` failed ({why}); install by hand: {}", packages.join(", "))]
    Install {
        /// What was run.
        line: &'static str,
        /// How it ended.
        why: String,
        /// What for.
        packages: Vec<&'static str>,
    },
}

/// Where the plugins that connect containers are.
pub(crate) fn cni_plugins() -> Option<PathBuf> {
    CNI_DIRECTORIES
        .iter()
        .map(PathBuf::from)
        .find(|directory| CNI_PLUGINS.iter().all(|it| directory.join(it).is_file()))
}

/// Nothing if it can. Installs what is missing, and says so.
pub(crate) fn prepare() -> Result<(), Unable> {
    if !rustix::process::geteuid().is_root() {
        return Err(Unable::NotRoot);
    }
    let missing = missing();
    if !missing.is_empty() {
        install(missing)?;
        let still = self::missing();
        if !still.is_empty() {
            return Err(Unable::Packages(still));
        }
    }
    let kinds = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    // A module that is not loaded yet is not listed; mounting loads it.
    if !kinds.lines().any(|it| it.ends_with("\toverlay")) && run("modprobe", &["overlay"]).is_err()
    {
        return Err(Unable::Overlay);
    }
    if let Some(controller) = CONTROLLERS.into_iter().find(|it| !has_controller(it)) {
        return Err(Unable::Cgroup(controller));
    }
    // As a node is made, with what it then does first.
    let probe = "mount -t tmpfs none /tmp && mount -t proc proc /proc && ip link set lo up";
    let words = "--fork --pid --mount --net --uts --ipc --propagation=private sh -ec";
    let words: Vec<_> = words.split(' ').chain([probe]).collect();
    run("unshare", &words).map_err(Unable::Namespaces)
}

fn has_controller(controller: &str) -> bool {
    let root = Path::new("/sys/fs/cgroup");
    let unified = std::fs::read_to_string(root.join("cgroup.controllers"));
    unified.map_or_else(
        |_| root.join(controller).is_dir(),
        |all| all.split_whitespace().any(|it| it == controller),
    )
}

/// Each package once.
fn missing() -> Vec<&'static str> {
    let mut packages: Vec<_> = PROGRAMS
        .into_iter()
        .filter(|(program, _)| !debian::is_there(program))
        .map(|(_, package)| package)
        .collect();
    if cni_plugins().is_none() {
        packages.push(CNI_PACKAGE);
    }
    packages.dedup();
    packages
}

fn install(packages: Vec<&'static str>) -> Result<(), Unable> {
    if !debian::has_packages() {
        return Err(Unable::Packages(packages));
    }
    eprintln!("installing {}", packages.join(", "));
    let failed = |line, packages: &[_]| {
        let packages = packages.to_vec();
        move |why| Unable::Install {
            line,
            why,
            packages,
        }
    };
    let here = Path::new(".");
    debian::apt_get(here, &["update"]).map_err(failed("apt-get update", &packages))?;
    let words = ["install", "--yes", "--no-install-recommends"];
    debian::apt_get(here, &[&words[..], &packages].concat())
        .map_err(failed("apt-get install", &packages))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_cannot_says_why_and_what_to_do() {
        let refusal = Unable::Packages(vec!["runc", "iptables"]).to_string();
        assert!(refusal.ends_with(": runc, iptables"), "{refusal}");
    }
}
