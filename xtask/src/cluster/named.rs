//! Clusters that stay up until they are taken down: each has a name, a directory under
//! `target/cluster/`, and a record of the processes that were started for it.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Child;

use thiserror::Error;

use super::control_plane::{ControlPlaneError, Plan, is_ready};
use super::layout::Layout;
use super::name::ClusterName;
use super::node::room::{Hold, Room};
use super::node::{self, Fact, NodeError, machine};
use super::process::{Identity, ProcessError};
use super::record::{self, Kind, Process, Record, RecordError, read};
use super::site::Site;
use super::tools::{Tools, ToolsError};

/// Why a cluster was not brought up, taken down or found.
#[derive(Debug, Error)]
pub(crate) enum NamedError {
    /// No such cluster.
    #[error(
        "the cluster {name} is not up; bring it up with `{}`",
        up_command(name, None)
    )]
    NotUp {
        /// Which.
        name: ClusterName,
    },
    /// Some of its processes have ended.
    #[error(
        "{process} of the cluster {name} has ended; bring it up anew with `{}`",
        up_command(name, Some(*kind))
    )]
    Broken {
        /// Which cluster.
        name: ClusterName,
        /// Of which kind.
        kind: Kind,
        /// What has ended.
        process: String,
    },
    /// One of another kind has the name.
    #[error(
        "the cluster {name} is up {}; take it down first, or choose another --name",
        kind.words()
    )]
    OtherKind {
        /// Which cluster.
        name: ClusterName,
        /// What it is.
        kind: Kind,
    },
    /// It needs a node.
    #[error(
        "the cluster {name} has no node; take it down and bring it up with `{}`",
        up_command(name, Some(Kind::Node))
    )]
    NoNode {
        /// Which cluster.
        name: ClusterName,
    },
    /// The components could not be built.
    #[error(transparent)]
    Tools(#[from] ToolsError),
    /// It did not start.
    #[error(transparent)]
    Start(#[from] ControlPlaneError),
    /// Its node did not start.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// A process did not start or end.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A file could not be read, written or removed.
    #[error("{}: {source}; free some space, or see whose file it is", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What was started is not known.
    #[error(transparent)]
    Record(#[from] RecordError),
}

fn up_command(name: &ClusterName, kind: Option<Kind>) -> String {
    let mut command = "cargo xtask cluster up".to_owned();
    if kind == Some(Kind::ControlPlane) {
        command += " --control-plane-only";
    }
    if *name != ClusterName::default() {
        return format!("{command} --name {name}");
    }
    command
}

impl Kind {
    fn words(self) -> &'static str {
        match self {
            Self::ControlPlane => "without a node",
            Self::Node => "with a node",
        }
    }

    /// Builds what it is made of.
    fn tools(self) -> Result<Tools, NamedError> {
        match self {
            Self::ControlPlane => Ok(Tools::control_plane()?),
            Self::Node => {
                machine::prepare().map_err(NodeError::from)?;
                Ok(Tools::node()?)
            }
        }
    }

    /// The first thing that is not as it should be.
    pub(crate) fn missing(self, tools: &Tools, layout: &Layout) -> Option<&'static str> {
        if !is_ready(tools, layout) {
            return Some("the API server does not say that it is ready");
        }
        match self {
            Self::ControlPlane => None,
            Self::Node => node::ready::missing(tools, layout).map(|(what, _)| what),
        }
    }
}

/// Whether a cluster was brought up, or was so before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Up {
    Now,
    Before,
}

/// The clusters of one directory.
#[derive(Debug)]
pub(crate) struct Clusters {
    directory: PathBuf,
}

impl Clusters {
    /// Those of `cargo xtask cluster`.
    pub(crate) fn of_the_repository() -> Self {
        Self::in_directory(crate::root().join("target/cluster"))
    }

    fn in_directory(directory: PathBuf) -> Self {
        Self { directory }
    }

    pub(crate) fn layout(&self, name: &ClusterName) -> Layout {
        Layout::new(&self.directory.join(name.to_string()))
    }

    /// Brings it up unless it is. What is left of one that has ended is removed first.
    pub(crate) fn up(&self, name: &ClusterName, kind: Kind) -> Result<Up, NamedError> {
        let tools = kind.tools()?;
        let _lock = self.lock()?;
        let layout = self.layout(name);
        if let Some(record) = read(&layout)?
            && record.ended().is_none()
        {
            if record.kind != kind {
                let (name, kind) = (name.clone(), record.kind);
                return Err(NamedError::OtherKind { name, kind });
            }
            if kind.missing(&tools, &layout).is_none() {
                return Ok(Up::Before);
            }
        }
        remove(&layout)?;
        let directory = layout.directory();
        let made = DirBuilder::new().mode(0o700).create(directory);
        made.map_err(file(directory))?;
        let started = match kind {
            Kind::ControlPlane => start_control_plane(&layout, tools),
            Kind::Node => start_node(&layout, &tools),
        };
        if started.is_err() {
            // Its logs stay until the next time.
            kill(&layout)?;
        }
        started.map(|()| Up::Now)
    }

    /// Takes it down and removes its directory. Says whether there was one.
    pub(crate) fn down(&self, name: &ClusterName) -> Result<bool, NamedError> {
        let layout = self.layout(name);
        if !layout.directory().exists() {
            return Ok(false);
        }
        let _lock = self.lock()?;
        remove(&layout)?;
        Ok(true)
    }

    /// The record of one that is up.
    pub(crate) fn find(&self, name: &ClusterName) -> Result<Record, NamedError> {
        let record =
            read(&self.layout(name))?.ok_or_else(|| NamedError::NotUp { name: name.clone() })?;
        match record.ended() {
            None => Ok(record),
            Some(process) => Err(NamedError::Broken {
                name: name.clone(),
                kind: record.kind,
                process: process.to_owned(),
            }),
        }
    }

    /// Gives images to the node of one that is up.
    pub(crate) fn load(&self, name: &ClusterName, archive: &Path) -> Result<(), NamedError> {
        let record = self.find(name)?;
        match record.init() {
            Some(init) => Ok(node::load(&Room::of(init.clone()), archive)?),
            None => Err(NamedError::NoNode { name: name.clone() }),
        }
    }

    /// Removes a directory of the node of one that is up.
    pub(crate) fn remove_on_node(
        &self,
        name: &ClusterName,
        directory: &Path,
    ) -> Result<(), NamedError> {
        let record = self.find(name)?;
        match record.init() {
            Some(init) => Ok(node::remove_directory(&Room::of(init.clone()), directory)?),
            None => Err(NamedError::NoNode { name: name.clone() }),
        }
    }

    /// All that have a record, up or not.
    pub(crate) fn all(&self) -> Result<Vec<(ClusterName, Record)>, NamedError> {
        let entries = match std::fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(file(&self.directory)(error)),
        };
        let mut all = Vec::new();
        for entry in entries {
            let entry = entry.map_err(file(&self.directory))?;
            let Some(name) = entry.file_name().to_str().and_then(|it| it.parse().ok()) else {
                continue;
            };
            if let Some(record) = read(&self.layout(&name))? {
                all.push((name, record));
            }
        }
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(all)
    }

    /// One at a time brings clusters up or takes them down.
    fn lock(&self) -> Result<File, NamedError> {
        let failed = file(&self.directory);
        std::fs::create_dir_all(&self.directory)
            .and_then(|()| File::open(&self.directory))
            .and_then(|directory| directory.lock().map(|()| directory))
            .map_err(failed)
    }
}

/// Starts the components, each recorded as soon as it runs, and waits until all is ready.
fn start_control_plane(layout: &Layout, tools: Tools) -> Result<(), NamedError> {
    let plan = Plan::prepare(layout.clone(), tools, Site::Machine)?;
    let mut record = Record::new(Kind::ControlPlane);
    record.server = Some(plan.server());
    let mut running = Vec::new();
    for component in plan.components()? {
        let mut child = component.detached(layout)?;
        if let Err(error) = remember(&mut record, component.name, &child, layout) {
            // Nothing that is not recorded may go on.
            let _ = child.kill();
            let _ = child.wait();
            return Err(error);
        }
        running.push((component.name, child));
    }
    Ok(plan.await_ready(&mut running)?)
}

fn remember(
    record: &mut Record,
    name: &str,
    child: &Child,
    layout: &Layout,
) -> Result<(), NamedError> {
    record.processes.push(Process {
        name: name.to_owned(),
        identity: Identity::of(child).map_err(file(&record::path(layout)))?,
    });
    Ok(record.write(layout)?)
}

fn start_node(layout: &Layout, tools: &Tools) -> Result<(), NamedError> {
    let mut record = Record::new(Kind::Node);
    let mut remember = |facts: &[Fact]| {
        for fact in facts {
            match fact {
                Fact::Process(name, identity) => record.processes.push(Process {
                    name: (*name).to_owned(),
                    identity: identity.clone(),
                }),
                Fact::Network(network) => record.network = Some(*network),
                Fact::Server(server) => record.server = Some(server.clone()),
            }
        }
        record.write(layout).map_err(|error| error.to_string())
    };
    node::start(layout, tools, Hold::UntilDown, &mut remember)?;
    Ok(())
}

/// The last started first. Of a node, nothing that the kernel keeps is left.
fn kill(layout: &Layout) -> Result<(), NamedError> {
    let Some(record) = read(layout)? else {
        return Ok(());
    };
    let ran = record.init().is_some_and(Identity::is_running);
    for process in record.processes.iter().rev() {
        process.identity.kill(&process.name)?;
    }
    if let Some(init) = record.init() {
        // If it had ended before, its network may be another one's by now.
        node::remove(init, record.network.filter(|_| ran))?;
    }
    Ok(())
}

fn remove(layout: &Layout) -> Result<(), NamedError> {
    kill(layout)?;
    match std::fs::remove_dir_all(layout.directory()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(file(layout.directory())(error)),
    }
}

fn file(path: &Path) -> impl Fn(io::Error) -> NamedError + use<> {
    let path = path.to_owned();
    move |source| NamedError::File {
        path: path.clone(),
        source,
    }
}

#[cfg(test)]
mod tests;
