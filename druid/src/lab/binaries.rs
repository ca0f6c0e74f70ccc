//! Where etcd comes from: `--etcd VERSION=PATH`, then `--etcd-dir`, then PATH. A binary that is not
//! the release that it is named for is refused before anything is started.

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::str::FromStr;
use std::time::Duration;

use druid_core::version::{ParseVersionError, Version};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use thiserror::Error;
use tokio::process::Command;

/// The value of `--etcd`: a release and its binary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EtcdAt {
    /// What it is.
    pub(crate) version: Version,
    /// Where it is.
    pub(crate) path: PathBuf,
}

/// Text that is no value of `--etcd`.
#[derive(Debug, PartialEq, Eq, Error)]
pub(crate) enum ParseEtcdAtError {
    /// No `=`, or nothing after it.
    #[error("`{0}` is not VERSION=PATH; write for example 3.5.27=/usr/local/bin/etcd")]
    Shape(String),
    /// The part before `=` is no version.
    #[error("{0}")]
    Version(#[from] ParseVersionError),
}

impl FromStr for EtcdAt {
    type Err = ParseEtcdAtError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((version, path)) if !path.is_empty() => Ok(Self {
                version: version.parse()?,
                path: PathBuf::from(path),
            }),
            Some(_) | None => Err(ParseEtcdAtError::Shape(text.to_owned())),
        }
    }
}

/// All places to look for etcd.
#[derive(Clone, Debug)]
pub(crate) struct Binaries {
    named: BTreeMap<Version, PathBuf>,
    dir: Option<PathBuf>,
    search: Vec<PathBuf>,
    deadline: Duration,
}

/// What led to a binary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// `--etcd`.
    Named(Version),
    /// `--etcd-dir`.
    Dir,
    /// PATH.
    Search,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(version) => write!(f, "--etcd {version}=PATH"),
            Self::Dir => f.write_str("--etcd-dir"),
            Self::Search => f.write_str("PATH"),
        }
    }
}

/// Why there is no binary for a release.
#[derive(Debug, Error)]
pub(crate) enum BinaryError {
    /// Nothing leads to it.
    #[error(
        "no etcd {version} was found{}; give --etcd {version}=PATH, or --etcd-dir DIR with \
         etcd-{version} in it",
        instead(found.as_ref())
    )]
    NotFound {
        /// The release that was asked for.
        version: Version,
        /// The `etcd` on PATH and what it says that it is.
        found: Option<(PathBuf, Version)>,
    },
    /// A path that leads nowhere.
    #[error("{origin}: {path} does not exist; correct the path")]
    Missing {
        /// What led there.
        origin: Origin,
        /// The path.
        path: PathBuf,
    },
    /// A directory, for example.
    #[error("{origin}: {path} is not a file; give the path of the etcd binary itself")]
    NotAFile {
        /// What led there.
        origin: Origin,
        /// The path.
        path: PathBuf,
    },
    /// A file without the permission to run it.
    #[error("{origin}: {path} is not executable; run `chmod +x {path}`")]
    NotExecutable {
        /// What led there.
        origin: Origin,
        /// The path.
        path: PathBuf,
    },
    /// The system would not run it: another architecture, for example.
    #[error("{origin}: {path} cannot be run: {source}; give an etcd built for this machine")]
    NotRunnable {
        /// What led there.
        origin: Origin,
        /// The path.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// `--version` did not end in time.
    #[error("{origin}: `{path} --version` did not answer within {} s; is it etcd?", after.as_secs_f64())]
    Silent {
        /// What led there.
        origin: Origin,
        /// The path.
        path: PathBuf,
        /// How long it was waited for.
        after: Duration,
    },
    /// `--version` said something else than etcd does.
    #[error("{origin}: `{path} --version` says `{said}`, which is not etcd; correct the path")]
    NotEtcd {
        /// What led there.
        origin: Origin,
        /// The path.
        path: PathBuf,
        /// Its first line.
        said: String,
    },
    /// It is another release.
    #[error(
        "{origin}: {path} is named for etcd {named} and reports {reports}; correct one of them"
    )]
    OtherVersion {
        /// What led there.
        origin: Origin,
        /// The path.
        path: PathBuf,
        /// What it was said to be.
        named: Version,
        /// What it says.
        reports: Version,
    },
}

fn instead(found: Option<&(PathBuf, Version)>) -> String {
    found.map_or_else(String::new, |(path, version)| {
        format!(" ({} on PATH is {version})", path.display())
    })
}

impl Binaries {
    /// `search` is the directories of PATH. A release named twice is the one named last.
    pub(crate) fn new(named: Vec<EtcdAt>, dir: Option<PathBuf>, search: Vec<PathBuf>) -> Self {
        Self {
            named: named.into_iter().map(|at| (at.version, at.path)).collect(),
            dir,
            search,
            deadline: Duration::from_secs(5),
        }
    }

    /// As on the command line: with the PATH of this process.
    pub(crate) fn from_flags(named: Vec<EtcdAt>, dir: Option<PathBuf>) -> Self {
        let search = env::var_os("PATH")
            .map(|path| env::split_paths(&path).collect())
            .unwrap_or_default();
        Self::new(named, dir, search)
    }

    /// How long a binary may take to say its version; 5 s unless set.
    #[cfg(test)]
    pub(crate) fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// The binary of a release, which has been asked whether it is that.
    pub(crate) async fn resolve(&self, version: Version) -> Result<PathBuf, BinaryError> {
        if let Some(path) = self.named.get(&version) {
            return self
                .expect_version(Origin::Named(version), path, version)
                .await;
        }
        if let Some(dir) = &self.dir {
            if !dir.is_dir() {
                return Err(BinaryError::Missing {
                    origin: Origin::Dir,
                    path: dir.clone(),
                });
            }
            let path = dir.join(format!("etcd-{version}"));
            if path.exists() {
                return self.expect_version(Origin::Dir, &path, version).await;
            }
        }
        let on_path = self.search.iter().map(|dir| dir.join("etcd"));
        let Some(path) = on_path.into_iter().find(|path| path.is_file()) else {
            return Err(BinaryError::NotFound {
                version,
                found: None,
            });
        };
        let found = self.ask(Origin::Search, &path).await?;
        if found == version {
            Ok(absolute(path))
        } else {
            Err(BinaryError::NotFound {
                version,
                found: Some((path, found)),
            })
        }
    }

    async fn expect_version(
        &self,
        origin: Origin,
        path: &Path,
        named: Version,
    ) -> Result<PathBuf, BinaryError> {
        let reports = self.ask(origin.clone(), path).await?;
        if reports == named {
            Ok(absolute(path.to_owned()))
        } else {
            Err(BinaryError::OtherVersion {
                origin,
                path: path.to_owned(),
                named,
                reports,
            })
        }
    }

    async fn ask(&self, origin: Origin, path: &Path) -> Result<Version, BinaryError> {
        let owned = path.to_owned();
        let Ok(metadata) = fs::metadata(path) else {
            return Err(BinaryError::Missing {
                origin,
                path: owned,
            });
        };
        if !metadata.is_file() {
            return Err(BinaryError::NotAFile {
                origin,
                path: owned,
            });
        }
        if metadata.permissions().mode() & 0o111 == 0 {
            return Err(BinaryError::NotExecutable {
                origin,
                path: owned,
            });
        }
        let said = match first_line(&absolute(owned.clone()), self.deadline).await {
            Ok(Some(said)) => said,
            Ok(None) => {
                return Err(BinaryError::Silent {
                    origin,
                    path: owned,
                    after: self.deadline,
                });
            }
            Err(source) => {
                return Err(BinaryError::NotRunnable {
                    origin,
                    path: owned,
                    source,
                });
            }
        };
        said.strip_prefix("etcd Version: ")
            .and_then(|version| version.trim().parse().ok())
            .ok_or(BinaryError::NotEtcd {
                origin,
                path: owned,
                said,
            })
    }
}

/// A path without a slash would be looked up in PATH when it is run.
fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

/// The first line of `PATH --version`; `None` if it does not end in time.
async fn first_line(path: &Path, deadline: Duration) -> std::io::Result<Option<String>> {
    let child = Command::new(path)
        .arg("--version")
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let group = child.id();
    let Ok(output) = tokio::time::timeout(deadline, child.wait_with_output()).await else {
        // It is not reaped yet, so the number is still its own; it may have children.
        if let Some(group) = group.and_then(|id| i32::try_from(id).ok()) {
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&output?.stdout).into_owned();
    let line: String = text
        .lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(80)
        .collect();
    Ok(Some(line))
}

#[cfg(test)]
mod tests;
