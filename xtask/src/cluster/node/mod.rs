//! A Kubernetes that runs pods: one node in namespaces of its own, with everything that a cluster
//! has. Pods, services and the API server are reached from this machine and from nowhere else.
//!
//! `machine` says whether that is possible, `room` makes the namespaces, `network` and `cgroup`
//! what the kernel keeps outside of them, `plan` says what runs.

pub(crate) mod cgroup;
mod handle;
pub(crate) mod machine;
pub(crate) mod network;
pub(crate) mod plan;
pub(crate) mod ready;
pub(crate) mod room;
mod traces;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};

use rustix::process::Signal;
use thiserror::Error;

use super::control_plane::{self, ControlPlaneError, etcd, kubectl, last_lines};
use super::layout::Layout;
use super::process::{Component, Identity, ProcessError};
use super::site::Site;
use super::tools::{Tools, ToolsError};
use crate::image::{self, ImageError};
use cgroup::CgroupError;
pub use handle::Node;
pub use machine::Unable;
use network::{Network, NetworkError};
use plan::{PAUSE_IMAGE, Plan, file};
use room::{Hold, Room, RoomError};
pub use traces::Traces;

/// Why there is no node.
#[derive(Debug, Error)]
pub enum NodeError {
    /// Not here. Whoever can do without should go on.
    #[error("this machine cannot run containers: {0}")]
    Unable(#[from] Unable),
    /// The components could not be built.
    #[error(transparent)]
    Tools(#[from] ToolsError),
    /// The control plane did not start.
    #[error(transparent)]
    ControlPlane(#[from] ControlPlaneError),
    /// A component did not start.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// There are no namespaces.
    #[error(transparent)]
    Room(#[from] RoomError),
    /// There are no addresses.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// There are no control groups.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// An image could not be made.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// An image could not be loaded.
    #[error("containerd does not take {}: {why}", archive.display())]
    Load {
        /// The image.
        archive: PathBuf,
        /// What it says.
        why: String,
    },
    /// A directory could not be removed.
    #[error("{} stays on the node: {why}", directory.display())]
    Remove {
        /// Which.
        directory: PathBuf,
        /// What the system says.
        why: String,
    },
    /// A file could not be read or written.
    #[error("{}: {source}; free some space or choose another directory", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// An object could not be made.
    #[error("the API server does not take the {what}: {why}")]
    Apply {
        /// Which.
        what: &'static str,
        /// What it says.
        why: String,
    },
    /// A component ended before the node was ready.
    #[error("{component} ended before the node was ready. {} ends with:\n{last}", log.display())]
    Ended {
        /// Which.
        component: &'static str,
        /// Where it says why.
        log: PathBuf,
        /// The end of that.
        last: String,
    },
    /// The node was not ready in time.
    #[error(
        "the node was not ready within {:?} ({missing}); is the machine busy? {} ends \
         with:\n{last}",
        ready::WITHIN,
        log.display()
    )]
    NotReady {
        /// What was missing.
        missing: &'static str,
        /// Where it may say why.
        log: PathBuf,
        /// The end of that.
        last: String,
    },
    /// What was to be remembered of it could not be written.
    #[error("the node cannot be recorded: {0}")]
    Record(String),
}

/// What is to be remembered of a node, as soon as it is known.
#[derive(Debug)]
pub(crate) enum Fact {
    /// A process of it runs.
    Process(&'static str, Identity),
    /// It has addresses.
    Network(Network),
    /// It has an API server.
    Server(String),
}

/// A node that runs.
#[derive(Debug)]
pub(crate) struct Started {
    /// What holds it, then its components.
    running: Vec<(&'static str, Child)>,
    /// How each component was started.
    components: Vec<Component>,
    room: Room,
    network: Network,
}

/// What is told to whoever removes the node later, before more is done.
pub(crate) type Remember<'a> = dyn FnMut(&[Fact]) -> Result<(), String> + 'a;

impl Started {
    fn begin(
        &mut self,
        component: Component,
        layout: &Layout,
        remember: &mut Remember<'_>,
    ) -> Result<(), NodeError> {
        let name = component.name;
        self.components.push(component.clone());
        let child = self.room.inside(component).detached(layout)?;
        let identity = Identity::of(&child);
        self.running.push((name, child));
        let identity = identity.map_err(file(Path::new("/proc")))?;
        remember(&[Fact::Process(name, identity)]).map_err(NodeError::Record)
    }

    /// Tells a component something. What entered the namespaces for it stops when it is stopped, and has to
    /// be told too that it goes on.
    fn signal(&self, name: &str, signal: Signal) -> io::Result<()> {
        let Some((_, child)) = self.running.iter().find(|(it, _)| *it == name) else {
            return Ok(());
        };
        let outside = Identity::of(child)?;
        if let Some(inside) = outside.child()? {
            inside.signal(signal)?;
        }
        if signal == Signal::CONT {
            outside.signal(signal)?;
        }
        Ok(())
    }

    /// Starts a component again that was killed.
    fn begin_again(&mut self, name: &str, layout: &Layout) -> Result<(), NodeError> {
        let was = self.running.iter().position(|(it, _)| *it == name);
        let component = self.components.iter().position(|it| it.name == name);
        if let (Some(was), Some(component)) = (was, component) {
            let (_, mut child) = self.running.remove(was);
            let _ = child.kill();
            let _ = child.wait();
            let component = self.components.remove(component);
            self.begin(component, layout, &mut |_| Ok(()))?;
        }
        Ok(())
    }

    /// Fails if something has ended.
    fn check(&mut self, layout: &Layout) -> Result<(), NodeError> {
        for (component, child) in &mut self.running {
            if !matches!(child.try_wait(), Ok(None)) {
                let log = layout.log(component);
                let last = last_lines(&log);
                return Err(NodeError::Ended {
                    component,
                    log,
                    last,
                });
            }
        }
        Ok(())
    }

    /// Ends it and waits until nothing is left of it.
    fn end(&mut self) -> Result<(), NodeError> {
        end(&mut self.running, self.room.init(), Some(self.network))
    }
}

fn end(
    running: &mut [(&'static str, Child)],
    init: &Identity,
    network: Option<Network>,
) -> Result<(), NodeError> {
    let ran = init.is_running();
    init.kill("the first process of the node")?;
    for (_, child) in running {
        // What it waits for has ended.
        let _ = child.kill();
        let _ = child.wait();
    }
    // If it had ended before, its network may be another one's by now.
    remove(init, network.filter(|_| ran))
}

/// Removes what the kernel keeps of a node whose processes have ended.
pub(crate) fn remove(init: &Identity, network: Option<Network>) -> Result<(), NodeError> {
    if let Some(network) = network {
        network.await_gone()?;
    }
    Ok(cgroup::remove(init)?)
}

/// Starts a node and waits until it runs pods. Each fact is told before what builds on it is done,
/// so that a node that was started half can be removed.
pub(crate) fn start(
    layout: &Layout,
    tools: &Tools,
    hold: Hold,
    remember: &mut Remember<'_>,
) -> Result<Started, NodeError> {
    let cni_plugins = machine::cni_plugins().ok_or(Unable::Packages(vec![machine::CNI_PACKAGE]))?;
    cgroup::sweep();
    let waiting = room::make(layout, tools.directory(), &etcd()?, hold)?;
    let outer = Identity::of(&waiting.outer).map_err(RoomError::First)?;
    remember(&[
        Fact::Process("node", outer),
        Fact::Process("init", waiting.init.clone()),
    ])
    .map_err(NodeError::Record)?;
    let (outer, room) = waiting.enter()?;
    // From here on only what is outside of the namespaces has to be removed by hand.
    let connected = cgroup::make(room.init())
        .map_err(NodeError::from)
        .and_then(|()| Ok(Network::connect(&room)?));
    let network = match connected {
        Ok(network) => network,
        Err(error) => {
            let _ = end(&mut [("node", outer)], room.init(), None);
            return Err(error);
        }
    };
    let mut started = Started {
        running: vec![("node", outer)],
        components: Vec::new(),
        room,
        network,
    };
    match bring_up(&mut started, layout, tools, &cni_plugins, remember) {
        Ok(()) => Ok(started),
        Err(error) => {
            let _ = started.end();
            Err(error)
        }
    }
}

fn bring_up(
    started: &mut Started,
    layout: &Layout,
    tools: &Tools,
    cni_plugins: &Path,
    remember: &mut Remember<'_>,
) -> Result<(), NodeError> {
    let site = Site::Node(started.network);
    let api = control_plane::Plan::prepare(layout.clone(), tools.clone(), site)?;
    let server = api.server();
    let facts = [Fact::Network(started.network), Fact::Server(server.clone())];
    remember(&facts).map_err(NodeError::Record)?;
    let plan = Plan {
        layout,
        network: started.network,
        server: &server,
        cgroup: &cgroup::name(started.room.init()),
        cni_plugins,
    };
    plan.write()?;
    started.begin(Plan::containerd(), layout, remember)?;
    for component in api.components()? {
        started.begin(component, layout, remember)?;
    }
    let pause = layout.directory().join("pause.tar");
    image::pause(&tools.program("pause"), PAUSE_IMAGE, &pause)?;
    ready::await_containerd(started, layout)?;
    load(&started.room, &pause)?;
    api.await_ready(&mut started.running)?;
    for component in plan.components() {
        started.begin(component, layout, remember)?;
    }
    apply(tools, layout, "StorageClass", &plan::storage_class())?;
    ready::await_node(started, tools, layout)
}

fn apply(
    tools: &Tools,
    layout: &Layout,
    what: &'static str,
    object: &serde_json::Value,
) -> Result<(), NodeError> {
    let failed = |why: String| NodeError::Apply { what, why };
    let path = layout.directory().join(format!("{what}.json"));
    std::fs::write(&path, object.to_string()).map_err(file(&path))?;
    let output = kubectl(tools, layout)
        .args(["apply", "--request-timeout=20s", "-f"])
        .arg(&path)
        .stdin(Stdio::null())
        .output();
    succeeded(output).map_err(failed)
}

/// What was run has to succeed; if not, what it said.
fn succeeded(output: io::Result<Output>) -> Result<(), String> {
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Gives the node the images of an archive, as `docker save` or [`crate::image`] write it.
pub(crate) fn load(room: &Room, archive: &Path) -> Result<(), NodeError> {
    let failed = |why: String| NodeError::Load {
        archive: archive.to_owned(),
        why,
    };
    let bytes = File::open(archive).map_err(file(archive))?;
    let output = room
        .command("ctr")
        .arg(format!(
            "--address={}",
            room::seen().containerd_socket().display()
        ))
        .args(["--namespace=k8s.io", "images", "import", "-"])
        .stdin(bytes)
        .output();
    succeeded(output).map_err(failed)
}

/// Removes a directory of the node, if it is there.
pub(crate) fn remove_directory(room: &Room, directory: &Path) -> Result<(), NodeError> {
    let failed = |why: String| NodeError::Remove {
        directory: directory.to_owned(),
        why,
    };
    let output = room
        .command("rm")
        .args(["-r", "-f", "--"])
        .arg(directory)
        .stdin(Stdio::null())
        .output();
    succeeded(output).map_err(failed)
}
