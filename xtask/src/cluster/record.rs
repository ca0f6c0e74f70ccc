//! What is remembered of a cluster that stays up.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::layout::{Layout, write_private};
use super::node::network::Network;
use super::process::Identity;

/// Why it is not known what was started.
#[derive(Debug, Error)]
pub(crate) enum RecordError {
    /// The record could not be read or written.
    #[error("{}: {source}; free some space, or see whose file it is", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It makes no sense.
    #[error(
        "{} is not what was written there ({source}); end the processes that name its directory by \
         hand (`ps -ef`), then remove it",
        path.display()
    )]
    Parse {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// How much of a Kubernetes it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// An API server alone.
    ControlPlane,
    /// With a node that runs pods.
    Node,
}

/// What is remembered of a cluster: `cluster.json`, written after each start of a process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) kind: Kind,
    /// Where its API server is, once that is known.
    pub(crate) server: Option<String>,
    /// That of its node.
    pub(crate) network: Option<Network>,
    /// In the order in which they were started.
    pub(crate) processes: Vec<Process>,
}

/// A process of a cluster.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) identity: Identity,
}

impl Record {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            server: None,
            network: None,
            processes: Vec::new(),
        }
    }

    /// The first process of its node.
    pub(crate) fn init(&self) -> Option<&Identity> {
        let mut processes = self.processes.iter();
        processes
            .find(|process| self.kind == Kind::Node && process.name == "init")
            .map(|process| &process.identity)
    }

    /// Writes it down.
    pub(super) fn write(&self, layout: &Layout) -> Result<(), RecordError> {
        let path = path(layout);
        let text = serde_json::to_string_pretty(self).map_err(|source| RecordError::Parse {
            path: path.clone(),
            source,
        })?;
        // A record that is half written would forget processes.
        let fresh = path.with_extension("json.new");
        write_private(&fresh, &text)
            .and_then(|()| std::fs::rename(&fresh, &path))
            .map_err(|source| RecordError::File { path, source })
    }

    /// The first that has ended.
    pub(crate) fn ended(&self) -> Option<&str> {
        self.processes
            .iter()
            .find(|process| !process.identity.is_running())
            .map(|process| process.name.as_str())
    }
}

/// Where it is.
pub(super) fn path(layout: &Layout) -> PathBuf {
    layout.directory().join("cluster.json")
}

/// What is remembered; nothing if there is nothing.
pub(super) fn read(layout: &Layout) -> Result<Option<Record>, RecordError> {
    let path = path(layout);
    match std::fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text)
            .map(Some)
            .map_err(|source| RecordError::Parse { path, source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(RecordError::File { path, source }),
    }
}
