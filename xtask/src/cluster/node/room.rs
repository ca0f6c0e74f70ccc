//! Where a node runs: namespaces of its own for processes, mounts, network, host name and
//! messages. They end with their first process, and with them whatever was started, mounted or
//! routed in them.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use thiserror::Error;

use super::super::control_plane::last_lines;
use super::super::layout::{Layout, write_private};
use super::super::process::{Component, Identity, ProcessError, search_path};

/// What prepares the namespaces and then waits in them.
const ENTER: &str = include_str!("enter.sh");
/// It takes some hundredths of a second.
const ENTERED_WITHIN: Duration = Duration::from_secs(20);
const POLL_EVERY: Duration = Duration::from_millis(10);

/// Where etcd is, as a node sees it.
pub(crate) const ETCD: &str = "/etcd";

/// The files of the cluster, as a node sees them.
pub(crate) fn seen() -> Layout {
    Layout::new(Path::new("/node"))
}

/// A component, as a node sees it.
pub(crate) fn component(name: &str) -> PathBuf {
    Path::new("/components").join(name)
}

/// Why there are no namespaces.
#[derive(Debug, Error)]
pub enum RoomError {
    /// The process that makes them did not start.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// It could not be told what to do, or asked how it went.
    #[error("the first process of the node: {0}; try again")]
    First(io::Error),
    /// It did not get there.
    #[error("the node has no root of its own; is there room for mounts? {} ends with:\n{last}", log.display())]
    NotEntered {
        /// Where it says why.
        log: PathBuf,
        /// The end of that.
        last: String,
    },
}

/// For how long a node runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Until whoever started it has ended, in whatever way.
    WhileWeRun,
    /// Until it is taken down.
    UntilDown,
}

/// The namespaces of a node.
#[derive(Debug)]
pub(crate) struct Room {
    init: Identity,
}

/// One that was made but does nothing yet. It ends by itself if it is dropped.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// What made the namespaces. They end with it.
    pub(crate) outer: Child,
    /// The first process in them.
    pub(crate) init: Identity,
    hold: Hold,
    layout: Layout,
}

/// Makes namespaces. `tools` is the directory of the components.
pub(crate) fn make(
    layout: &Layout,
    tools: &Path,
    etcd: &Path,
    hold: Hold,
) -> Result<Waiting, RoomError> {
    let script = layout.directory().join("enter.sh");
    write_private(&script, ENTER).map_err(RoomError::First)?;
    let words = [
        "--fork",
        "--pid",
        "--mount",
        "--net",
        "--uts",
        "--ipc",
        "--propagation=private",
        "--kill-child=KILL",
        "sh",
    ];
    let paths = [&script, layout.directory(), tools, etcd].map(|it| it.display().to_string());
    let held = match hold {
        Hold::WhileWeRun => Some("--held".to_owned()),
        Hold::UntilDown => None,
    };
    let unshare = Component {
        name: "node",
        program: "unshare".into(),
        arguments: words
            .map(str::to_owned)
            .into_iter()
            .chain(paths)
            .chain(held)
            .collect(),
    };
    let mut outer = unshare.held(layout)?;
    match first(&mut outer, layout) {
        Ok(init) => Ok(Waiting {
            outer,
            init,
            hold,
            layout: layout.clone(),
        }),
        Err(error) => {
            drop(outer.stdin.take());
            let _ = outer.kill();
            let _ = outer.wait();
            Err(error)
        }
    }
}

fn first(outer: &mut Child, layout: &Layout) -> Result<Identity, RoomError> {
    let it = Identity::of(outer).map_err(RoomError::First)?;
    let start = Instant::now();
    loop {
        match it.child() {
            Ok(Some(init)) => return Ok(init),
            Err(error) if start.elapsed() > ENTERED_WITHIN => return Err(RoomError::First(error)),
            Ok(None) | Err(_) => {}
        }
        if start.elapsed() > ENTERED_WITHIN || !matches!(outer.try_wait(), Ok(None)) {
            return Err(not_entered(layout));
        }
        std::thread::sleep(POLL_EVERY);
    }
}

fn not_entered(layout: &Layout) -> RoomError {
    let log = layout.log("node");
    let last = last_lines(&log);
    RoomError::NotEntered { log, last }
}

impl Waiting {
    /// Lets it go on, after it was written down, and waits until it has a root of its own. The
    /// child holds it as [`Hold`] says.
    pub(crate) fn enter(mut self) -> Result<(Child, Room), RoomError> {
        let room = Room {
            init: self.init.clone(),
        };
        match self.go_on(&room) {
            Ok(()) => Ok((self.outer, room)),
            Err(error) => {
                let _ = self.outer.kill();
                let _ = self.outer.wait();
                Err(error)
            }
        }
    }

    fn go_on(&mut self, room: &Room) -> Result<(), RoomError> {
        if let Some(stdin) = &mut self.outer.stdin {
            stdin.write_all(b"go\n").map_err(RoomError::First)?;
        }
        match self.hold {
            Hold::WhileWeRun => {}
            Hold::UntilDown => drop(self.outer.stdin.take()),
        }
        // Its root, which is another one only when all is done.
        let ready = PathBuf::from(format!("/proc/{}/root/run/entered", room.init.pid()));
        let start = Instant::now();
        while !ready.exists() {
            if start.elapsed() > ENTERED_WITHIN || !matches!(self.outer.try_wait(), Ok(None)) {
                return Err(not_entered(&self.layout));
            }
            std::thread::sleep(POLL_EVERY);
        }
        Ok(())
    }
}

impl Room {
    /// That of a node that was started before.
    pub(crate) fn of(init: Identity) -> Self {
        Self { init }
    }

    /// The first process.
    pub(crate) fn init(&self) -> &Identity {
        &self.init
    }

    fn words(&self) -> Vec<String> {
        let target = format!("--target={}", self.init.pid());
        let rest = ["--pid", "--mount", "--net", "--uts", "--ipc", "--"];
        std::iter::once(target)
            .chain(rest.map(str::to_owned))
            .collect()
    }

    /// A command that runs in it.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(self.words())
            .arg(program)
            .env("PATH", search_path());
        command
    }

    /// The component, so that it runs in it.
    pub(crate) fn inside(&self, component: Component) -> Component {
        let program = component.program.display().to_string();
        Component {
            name: component.name,
            program: "nsenter".into(),
            arguments: self
                .words()
                .into_iter()
                .chain([program])
                .chain(component.arguments)
                .collect(),
        }
    }
}
