//! A node for a test.

use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::Signal;

use super::super::control_plane::kubectl;
use super::super::layout::Layout;
use super::super::process::Identity;
use super::super::tools::Tools;
use super::plan::file;
use super::room::Hold;
use super::{NodeError, Started, Traces, load, machine, start};

/// A Kubernetes of its own with one node that runs pods. It ends when it is dropped, and also when
/// the program that started it ends in any other way; what it wrote is then removed by the next.
#[derive(Debug)]
pub struct Node {
    layout: Layout,
    tools: Tools,
    server: String,
    started: Started,
}

impl Node {
    /// Starts one and waits until it runs pods: 15 s, and some minutes more the first time, when
    /// it is built.
    ///
    /// # Errors
    /// [`NodeError::Unable`] if the machine cannot run containers, whatever one does here.
    pub fn start() -> Result<Self, NodeError> {
        machine::prepare()?;
        let tools = Tools::node()?;
        let layout = Layout::new(&fresh_directory()?);
        let mut server = String::new();
        let started = start(&layout, &tools, Hold::WhileWeRun, &mut |facts| {
            for fact in facts {
                if let super::Fact::Server(it) = fact {
                    server.clone_from(it);
                }
            }
            Ok(())
        })?;
        Ok(Self {
            layout,
            tools,
            server,
            started,
        })
    }

    /// Where the API server is: `https://ADDRESS:PORT`.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Its files: kubeconfig, certificates, logs.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// kubectl as the administrator.
    pub fn kubectl(&self) -> Command {
        kubectl(&self.tools, &self.layout)
    }

    /// Gives it the images of an archive that [`crate::image`] or `docker save` wrote.
    pub fn load(&self, archive: &Path) -> Result<(), NodeError> {
        load(&self.started.room, archive)
    }

    /// The node's own address: its name server answers there, on port 53.
    pub fn address(&self) -> Ipv4Addr {
        self.started.network.node()
    }

    /// This machine, as pods reach it: for servers of a test.
    pub fn machine(&self) -> Ipv4Addr {
        self.started.network.machine()
    }

    /// Where volumes are: one directory each.
    pub fn volumes(&self) -> PathBuf {
        self.layout.directory().join("tmp/hostpath_pv")
    }

    /// A command that runs in it, as its root.
    pub fn command(&self, program: &str) -> Command {
        self.started.room.command(program)
    }

    /// Tells the process of a component something: `kube-apiserver`, for example.
    ///
    /// # Errors
    /// The system refuses.
    pub fn signal(&self, component: &str, signal: Signal) -> Result<(), NodeError> {
        let told = self.started.signal(component, signal);
        told.map_err(file(Path::new("/proc")))
    }

    /// Starts a component again that has ended. Its log begins anew.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_again(&mut self, component: &str) -> Result<(), NodeError> {
        self.started.begin_again(component, &self.layout)
    }

    /// What can be seen of it from outside.
    ///
    /// # Errors
    /// It has ended.
    pub fn traces(&self) -> io::Result<Traces> {
        let device = self.started.network.device();
        let init = self.started.room.init().pid();
        Traces::of(init, Some(&device), self.layout.directory())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let ended = self.started.end();
        let removed = std::fs::remove_dir_all(self.layout.directory());
        if let Err(error) = ended {
            eprintln!("a node was not removed: {error}");
        } else if let Err(error) = removed {
            eprintln!("{}: {error}", self.layout.directory().display());
        }
    }
}

/// One that nobody has, named for this process. Those of processes that have ended are removed.
fn fresh_directory() -> Result<PathBuf, NodeError> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let all = crate::root().join("target/cluster-tests");
    std::fs::create_dir_all(&all).map_err(file(&all))?;
    for entry in std::fs::read_dir(&all).map_err(file(&all))?.flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|it| it.split('.').next());
        if owner.and_then(Identity::runs_by_name) == Some(false) {
            // Another process may be doing the same.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    let pid = i32::try_from(std::process::id()).unwrap_or(i32::MAX);
    let owner = Identity::read(pid).map_err(file(Path::new("/proc/self/stat")))?;
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let directory = all.join(format!("{}.{count}", owner.name()));
    std::fs::create_dir(&directory).map_err(file(&directory))?;
    Ok(directory)
}
