//! The mounted etcd configuration, read when it is needed: it changes while we run.

use std::path::{Path, PathBuf};

use druid_core::agent::config::{ConfigError, Mounted};
use druid_core::member::MemberName;
use thiserror::Error;

/// Why it cannot be used.
#[derive(Debug, Error)]
pub(crate) enum MountedError {
    /// It cannot be read.
    #[error("{}: {source}; mount etcd's configuration there, or name it in ETCD_CONF", path.display())]
    Read {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no YAML.
    #[error("{}: not YAML: {why}", path.display())]
    Yaml {
        /// Where.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// It does not say what it should.
    #[error("{}: {source}", path.display())]
    Config {
        /// Where.
        path: PathBuf,
        /// Why.
        source: ConfigError,
    },
    /// It is not known which member this is.
    #[error("POD_NAME is not set: it says which member of the configuration this is")]
    NoPodName,
}

/// Where it is, and who we are.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    path: PathBuf,
    pod: Option<String>,
}

/// It and the name of this member.
#[derive(Debug)]
pub(crate) struct Ours {
    /// The file of all members.
    pub(crate) file: Mounted,
    /// Which of them we are.
    pub(crate) name: MemberName,
    /// Where peers are to reach us.
    pub(crate) peer_urls: Vec<String>,
}

impl Source {
    /// `path`: `ETCD_CONF`. `pod`: `POD_NAME`.
    pub(crate) fn new(path: Option<PathBuf>, pod: Option<String>) -> Self {
        Self {
            path: path.unwrap_or_else(|| "/var/etcd/config/etcd.conf.yaml".into()),
            pod,
        }
    }

    /// Reads it.
    pub(crate) fn read(&self) -> Result<Mounted, MountedError> {
        let path = || self.path.clone();
        let bytes = std::fs::read(&self.path).map_err(|source| MountedError::Read {
            path: path(),
            source,
        })?;
        let value = serde_saphyr::from_slice(&bytes).map_err(|error| MountedError::Yaml {
            path: path(),
            why: error.to_string(),
        })?;
        Mounted::new(value).map_err(config(&self.path))
    }

    /// Reads it, and says who we are in it.
    pub(crate) fn ours(&self) -> Result<Ours, MountedError> {
        let pod = self.pod.as_deref().ok_or(MountedError::NoPodName)?;
        let file = self.read()?;
        let name = file.member(pod).map_err(config(&self.path))?;
        let peer_urls = file.peer_urls(&name).map_err(config(&self.path))?;
        Ok(Ours {
            file,
            name,
            peer_urls,
        })
    }

    /// For an error that is found later.
    pub(crate) fn error(&self, source: ConfigError) -> MountedError {
        config(&self.path)(source)
    }
}

fn config(path: &Path) -> impl Fn(ConfigError) -> MountedError {
    let path = path.to_owned();
    move |source| MountedError::Config {
        path: path.clone(),
        source,
    }
}
