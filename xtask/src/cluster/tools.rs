//! Builds the components of Kubernetes and Helm, once, from the Go module in `xtask/kubernetes/`. What was built is kept in `target/tools/kubernetes/` until one
//! of its sources changes.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// What the components are built from. The module that is compiled is the one on disk; this copy
/// tells whether that has changed, for cargo builds us anew when it does.
const GO_MOD: &str = include_str!("../../kubernetes/go.mod");
const GO_SUM: &str = include_str!("../../kubernetes/go.sum");
const CONTROL_PLANE: &str = include_str!("../../kubernetes/control-plane/main.go");
const LEASH: &str = include_str!("../../kubernetes/leash/main.go");
const NODE: &str = include_str!("../../kubernetes/node/main.go");
const VOLUMES: &str = include_str!("../../kubernetes/node/volumes.go");
const PAUSE: &str = include_str!("../../kubernetes/pause/main.go");
const DNS_GO_MOD: &str = include_str!("../../kubernetes/coredns/go.mod");
const DNS_GO_SUM: &str = include_str!("../../kubernetes/coredns/go.sum");
const DNS: &str = include_str!("../../kubernetes/coredns/main.go");
const HELM_GO_MOD: &str = include_str!("../../kubernetes/helm/go.mod");
const HELM_GO_SUM: &str = include_str!("../../kubernetes/helm/go.sum");
const STORE_GO_MOD: &str = include_str!("../../../druid/tests/stores/go.mod");
const STORE_GO_SUM: &str = include_str!("../../../druid/tests/stores/go.sum");

/// What is built at once, and again when one of its sources changes.
struct Group {
    name: &'static str,
    /// What it is a part of, to people.
    part_of: &'static str,
    /// Under the root of the repository.
    module: &'static str,
    /// The first is its `go.mod`.
    sources: &'static [&'static str],
    packages: &'static [&'static str],
    /// What comes of them.
    programs: &'static [&'static str],
    /// The names that the first program is called by.
    links: &'static [&'static str],
}

/// kube-apiserver and kubectl, which most tests can do with.
const GROUP_CONTROL_PLANE: Group = Group {
    name: "control-plane",
    part_of: "Kubernetes",
    module: "xtask/kubernetes",
    sources: &[GO_MOD, GO_SUM, CONTROL_PLANE, LEASH, TAGS],
    packages: &["./control-plane", "./leash"],
    programs: &["control-plane", "leash"],
    links: &["kube-apiserver", "kubectl"],
};

/// What pods need beside that.
const GROUP_NODE: Group = Group {
    name: "node",
    part_of: "Kubernetes",
    module: "xtask/kubernetes",
    sources: &[GO_MOD, GO_SUM, NODE, VOLUMES, PAUSE, TAGS],
    packages: &["./node", "./pause"],
    programs: &["node", "pause"],
    links: &[
        "kube-controller-manager",
        "kube-proxy",
        "kube-scheduler",
        "kubelet",
    ],
};

/// The name server. A module of its own: it would raise what the components of Kubernetes are built with.
const GROUP_DNS: Group = Group {
    name: "coredns",
    part_of: "Kubernetes",
    module: "xtask/kubernetes/coredns",
    sources: &[DNS_GO_MOD, DNS_GO_SUM, DNS, TAGS],
    packages: &["."],
    programs: &["coredns"],
    links: &[],
};

/// What installs charts. A module of its own: it needs a newer Go than the rest, and other releases of
/// what both are made of.
const GROUP_HELM: Group = Group {
    name: "helm",
    part_of: "Helm",
    module: "xtask/kubernetes/helm",
    sources: &[HELM_GO_MOD, HELM_GO_SUM, TAGS],
    packages: &["helm.sh/helm/v3/cmd/helm"],
    programs: &["helm"],
    links: &[],
};

/// An S3 server for backups. A module of its own: stores are no part of Kubernetes.
const GROUP_STORE: Group = Group {
    name: "versitygw",
    part_of: "an S3 server",
    module: "druid/tests/stores",
    sources: &[STORE_GO_MOD, STORE_GO_SUM, TAGS],
    packages: &["github.com/versity/versitygw/cmd/versitygw"],
    programs: &["versitygw"],
    links: &[],
};

/// The module that the components come from.
const KUBERNETES: &str = "k8s.io/kubernetes";

/// The build tags: no cloud providers.
const TAGS: &str = "providerless,dockerless";

/// Why there are no components.
#[derive(Debug, Error)]
pub enum ToolsError {
    /// There is no Go.
    #[error(
        "{what} is built from source, once, and there is no `go` in the PATH: install Go 1.{minor} or \
         newer (https://go.dev/dl, or the package golang of your distribution)"
    )]
    NoGo {
        /// What is built.
        what: &'static str,
        /// Release 1.N of Go.
        minor: u32,
    },
    /// There is an old Go.
    #[error(
        "{what} is built from source, once, and {found} is too old for it: install Go 1.{minor} or \
         newer (https://go.dev/dl)"
    )]
    OldGo {
        /// What is built.
        what: &'static str,
        /// As it calls itself.
        found: String,
        /// Release 1.N of Go.
        minor: u32,
    },
    /// Go could not be run.
    #[error("cannot run go: {0}")]
    Run(io::Error),
    /// Go did not build them.
    #[error(
        "go could not build {packages} in {} ({status}); what it said is above. Modules come from \
         GOPROXY: is that reachable?",
        module.display()
    )]
    Build {
        /// What was to be built.
        packages: String,
        /// Where.
        module: PathBuf,
        /// How it ended.
        status: ExitStatus,
    },
    /// The module does not say which Kubernetes it is.
    #[error(
        "xtask/kubernetes/go.mod does not require {KUBERNETES} in a release of the form v1.N.P"
    )]
    NoVersion,
    /// A file could not be read, written or moved.
    #[error("{}: {source}; `rm -r` the directory that it is in, and try again", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// The components, built.
#[derive(Clone, Debug)]
pub(crate) struct Tools {
    directory: PathBuf,
}

impl Tools {
    /// Builds kube-apiserver and kubectl if they are not there. That takes minutes the first time,
    /// and says so; whoever else builds is waited for.
    pub(crate) fn control_plane() -> Result<Self, ToolsError> {
        Self::with(&[&GROUP_CONTROL_PLANE])
    }

    /// Builds the components of a node too.
    pub(crate) fn node() -> Result<Self, ToolsError> {
        Self::with(&[&GROUP_CONTROL_PLANE, &GROUP_NODE, &GROUP_DNS])
    }

    /// Builds Helm alone.
    pub(crate) fn helm() -> Result<Self, ToolsError> {
        Self::with(&[&GROUP_HELM])
    }

    /// Builds an S3 server alone.
    pub(crate) fn store() -> Result<Self, ToolsError> {
        Self::with(&[&GROUP_STORE])
    }

    fn with(groups: &[&Group]) -> Result<Self, ToolsError> {
        let tools = Self {
            directory: crate::root().join("target/tools/kubernetes"),
        };
        let unbuilt = |group: &&&Group| !tools.is_built(group);
        if groups.iter().any(|group| unbuilt(&group)) {
            let directory = &tools.directory;
            std::fs::create_dir_all(directory).map_err(failed(directory))?;
            let lock = File::open(directory).map_err(failed(directory))?;
            lock.lock().map_err(failed(directory))?;
            for group in groups.iter().filter(unbuilt) {
                tools.build(group)?;
            }
        }
        Ok(tools)
    }

    fn stamp_of(&self, group: &Group) -> PathBuf {
        self.directory.join(format!("{}.stamp", group.name))
    }

    fn is_built(&self, group: &Group) -> bool {
        group
            .programs
            .iter()
            .chain(group.links)
            .all(|program| self.program(program).exists())
            && std::fs::read_to_string(self.stamp_of(group))
                .is_ok_and(|text| text == stamp(group.sources))
    }

    /// Builds main packages of a module, under new names first: the old ones may be running.
    fn build(&self, group: &Group) -> Result<(), ToolsError> {
        let module = crate::root().join(group.module);
        check_go(&module, group)?;
        let flags = linker_flags(version(GO_MOD).ok_or(ToolsError::NoVersion)?)?;
        let fresh = tempfile::tempdir_in(&self.directory).map_err(failed(&self.directory))?;
        eprintln!(
            "building {} ({}), which takes some minutes the first time",
            group.part_of,
            group.programs.join(", ")
        );
        let mut build = Command::new("go");
        build
            .args(["build", "-trimpath", "-tags", TAGS, "-ldflags", &flags])
            // With a slash in the end it is a directory.
            .arg("-o")
            .arg(fresh.path().join(""))
            .args(group.packages)
            .current_dir(&module)
            .env("CGO_ENABLED", "0")
            .env("GOWORK", "off")
            .stdin(Stdio::null());
        let status = build.status().map_err(ToolsError::Run)?;
        if !status.success() {
            return Err(ToolsError::Build {
                packages: group.programs.join(", "),
                module,
                status,
            });
        }
        for program in group.programs {
            let path = self.program(program);
            std::fs::rename(fresh.path().join(program), &path).map_err(failed(&path))?;
        }
        for name in group.links {
            let link = self.program(name);
            replace_link(&link, group.programs[0]).map_err(failed(&link))?;
        }
        let stamp_file = self.stamp_of(group);
        std::fs::write(&stamp_file, stamp(group.sources)).map_err(failed(&stamp_file))
    }

    /// Where all of them are.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// A component, by its name.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The API server.
    pub(crate) fn kube_apiserver(&self) -> PathBuf {
        self.program("kube-apiserver")
    }

    /// The client.
    pub(crate) fn kubectl(&self) -> PathBuf {
        self.program("kubectl")
    }

    /// What ends a process with the one that started it.
    pub(crate) fn leash(&self) -> PathBuf {
        self.program("leash")
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> ToolsError + use<> {
    let path = path.to_owned();
    move |source| ToolsError::File { path, source }
}

fn stamp(sources: &[&str]) -> String {
    let mut hash = Sha256::new();
    for source in sources {
        hash.update(source.len().to_le_bytes());
        hash.update(source);
    }
    BASE64.encode(hash.finalize())
}

fn replace_link(link: &Path, target: &str) -> io::Result<()> {
    match std::fs::remove_file(link) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    std::os::unix::fs::symlink(target, link)
}

/// The release that a `go.mod` requires, as it writes it: `v1.34.4`.
fn version(go_mod: &str) -> Option<&str> {
    go_mod
        .lines()
        .map(|line| line.trim().trim_start_matches("require "))
        .find_map(|line| line.strip_prefix(KUBERNETES)?.strip_prefix(' '))
        .and_then(|rest| rest.split_whitespace().next())
}

/// The components say which release they are. Without that they refuse one another.
fn linker_flags(version: &str) -> Result<String, ToolsError> {
    let mut numbers = version.trim_start_matches('v').split('.');
    let (Some(major), Some(minor)) = (numbers.next(), numbers.next()) else {
        return Err(ToolsError::NoVersion);
    };
    let package = "k8s.io/component-base/version";
    Ok(format!(
        "-s -w -X {package}.gitVersion={version} -X {package}.gitMajor={major} \
         -X {package}.gitMinor={minor}"
    ))
}

fn check_go(module: &Path, group: &Group) -> Result<(), ToolsError> {
    let what = group.part_of;
    let minor = group.sources.first().and_then(|it| go_minor(it));
    let minor = minor.unwrap_or_default();
    let answer = Command::new("go")
        .args(["env", "GOVERSION"])
        .current_dir(module)
        .env("GOWORK", "off")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                ToolsError::NoGo { what, minor }
            } else {
                ToolsError::Run(error)
            }
        })?;
    let found = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
    if is_too_old(&found, minor) {
        return Err(ToolsError::OldGo { what, found, minor });
    }
    Ok(())
}

/// The release 1.N of Go that a `go.mod` was written for.
fn go_minor(go_mod: &str) -> Option<u32> {
    let release = go_mod.lines().find_map(|line| line.strip_prefix("go 1."))?;
    release.split('.').next()?.parse().ok()
}

/// Of `go1.26.8`. One that does not say so plainly (`devel ...`) is tried.
fn is_too_old(found: &str, least: u32) -> bool {
    found
        .strip_prefix("go1.")
        .and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next())
        .and_then(|minor| minor.parse::<u32>().ok())
        .is_some_and(|minor| minor < least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_components_say_the_release_that_the_module_requires() {
        let version = version(GO_MOD).unwrap();
        assert!(version.starts_with("v1."), "{version}");
        let flags = linker_flags("v1.34.4").unwrap();
        assert!(flags.contains("gitVersion=v1.34.4 "), "{flags}");
        assert!(flags.ends_with("gitMinor=34"), "{flags}");
        assert!(linker_flags("v1").is_err());
    }

    #[test]
    fn the_release_is_the_required_one_and_not_a_replacement() {
        let text = "require (\n\tk8s.io/kubernetes-x v9.9.9\n\tk8s.io/kubernetes v1.2.3 // x\n)\n";
        assert_eq!(version(text), Some("v1.2.3"));
        assert_eq!(
            version("require k8s.io/kubernetes v1.2.4\n"),
            Some("v1.2.4")
        );
        assert_eq!(version("module x\n"), None);
    }

    #[test]
    fn a_go_that_is_too_old_is_known_by_its_name() {
        for (found, old) in [
            ("go1.19.8", true),
            ("go1.23", true),
            ("go1.24rc1", false),
            ("go1.26.8", false),
            ("devel go1.30-abc", false),
            ("", false),
        ] {
            assert_eq!(is_too_old(found, 24), old, "{found}");
        }
    }

    #[test]
    fn every_module_says_which_go_it_needs() {
        for (group, minor) in [
            (&GROUP_CONTROL_PLANE, 24),
            (&GROUP_NODE, 24),
            (&GROUP_DNS, 24),
            (&GROUP_HELM, 26),
        ] {
            assert_eq!(go_minor(group.sources[0]), Some(minor), "{}", group.name);
        }
        assert_eq!(go_minor("module x\n"), None);
    }

    #[test]
    fn any_change_of_a_source_is_another_stamp() {
        let one = stamp(&["ab", "c"]);
        assert_eq!(one.len(), 44);
        assert_eq!(one, stamp(&["ab", "c"]));
        assert_ne!(one, stamp(&["a", "bc"]));
    }
}
