//! Starts the processes of a cluster, and ends those alone.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::layout::Layout;

/// The kernel takes this long at most to end a process that is killed, with all that it held, unless the disk
/// hangs.
const KILLED_WITHIN: Duration = Duration::from_secs(30);

/// Why a process was not started or ended.
#[derive(Debug, Error)]
pub enum ProcessError {
    /// It did not start.
    #[error("cannot start {name} ({}): {source}", program.display())]
    Start {
        /// The component.
        name: &'static str,
        /// What was run.
        program: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It did not end.
    #[error("cannot end {name}, process {pid}: {why}; end it by hand")]
    End {
        /// The component.
        name: String,
        /// Its number.
        pid: i32,
        /// What the system says.
        why: String,
    },
}

/// Something to run.
#[derive(Clone, Debug)]
pub(crate) struct Component {
    /// What it is called, in messages and for its log.
    pub(crate) name: &'static str,
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
}

impl Component {
    /// Runs on when we end.
    pub(crate) fn detached(&self, layout: &Layout) -> Result<Child, ProcessError> {
        let mut command = Command::new(&self.program);
        command.stdin(Stdio::null());
        self.start(command, layout)
    }

    /// Its standard input is ours to write, and to close.
    pub(crate) fn held(&self, layout: &Layout) -> Result<Child, ProcessError> {
        let mut command = Command::new(&self.program);
        command.stdin(Stdio::piped());
        self.start(command, layout)
    }

    /// Ends when its standard input is closed, and so when we end, in whatever way.
    pub(crate) fn leashed(&self, leash: &Path, layout: &Layout) -> Result<Child, ProcessError> {
        let mut command = Command::new(leash);
        command.arg(&self.program).stdin(Stdio::piped());
        self.start(command, layout)
    }

    fn start(&self, mut command: Command, layout: &Layout) -> Result<Child, ProcessError> {
        let failed = |source| ProcessError::Start {
            name: self.name,
            program: self.program.clone(),
            source,
        };
        let log = File::create(layout.log(self.name)).map_err(failed)?;
        command
            .args(&self.arguments)
            .current_dir(layout.directory())
            // etcd reads its flags from the environment too; nobody meant those for this one.
            .env_clear()
            .env("PATH", search_path())
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log)
            // Ctrl-C is for whoever started it.
            .process_group(0)
            .spawn()
            .map_err(failed)
    }
}

/// Ours, and where the tools of an administrator are.
pub(crate) fn search_path() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin");
    path
}

/// Which process: its number alone may be another's by now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pid: i32,
    /// Clock ticks after the machine was started.
    started: u64,
    /// Which start of the machine.
    boot: String,
}

impl Identity {
    /// Of a process that was just started.
    pub(crate) fn of(child: &Child) -> io::Result<Self> {
        let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
        Self::read(pid)
    }

    /// Of the one that has this number now.
    pub(crate) fn read(pid: i32) -> io::Result<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        let started = running_since(&stat)
            .ok_or_else(|| io::Error::other(format!("process {pid} has ended")))?;
        Ok(Self {
            pid,
            started,
            boot: boot.trim_end().to_owned(),
        })
    }

    /// Its number.
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// When it was started, in clock ticks after the machine was.
    pub(crate) fn started(&self) -> u64 {
        self.started
    }

    /// A name that no other process has until the machine starts anew: `PID-STARTED`.
    pub(crate) fn name(&self) -> String {
        format!("{}-{}", self.pid, self.started)
    }

    /// Whether the process that has [`Self::name`] runs; nothing if it is no such name.
    pub(crate) fn runs_by_name(name: &str) -> Option<bool> {
        let (pid, started) = name.split_once('-')?;
        let (pid, started) = (pid.parse().ok()?, started.parse::<u64>().ok()?);
        Some(Self::read(pid).is_ok_and(|now| now.started == started))
    }

    /// Its one child, if it has one.
    pub(crate) fn child(&self) -> io::Result<Option<Self>> {
        let path = format!("/proc/{0}/task/{0}/children", self.pid);
        let children = std::fs::read_to_string(path)?;
        match children.split_whitespace().next() {
            Some(pid) => Self::read(pid.parse().map_err(io::Error::other)?).map(Some),
            None => Ok(None),
        }
    }

    /// It, and not another one that got its number.
    pub(crate) fn is_running(&self) -> bool {
        Self::read(self.pid).is_ok_and(|now| now == *self)
    }

    /// Tells it something, if it still runs.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        let Some(pid) = Pid::from_raw(self.pid) else {
            return Ok(());
        };
        let process = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(process) => process,
            Err(Errno::SRCH) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        };
        if !self.is_running() {
            return Ok(());
        }
        match pidfd_send_signal(&process, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Kills it, if it still runs, and waits for its end. Another process that has its number by
    /// now is left alone.
    pub(crate) fn kill(&self, name: &str) -> Result<(), ProcessError> {
        let failed = |why: String| ProcessError::End {
            name: name.to_owned(),
            pid: self.pid,
            why,
        };
        let system = |errno: Errno| failed(io::Error::from(errno).to_string());
        let Some(pid) = Pid::from_raw(self.pid) else {
            return Ok(());
        };
        // From here on it is this process and no other: a descriptor does not change hands.
        let process = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(process) => process,
            Err(Errno::SRCH) => return Ok(()),
            Err(errno) => return Err(system(errno)),
        };
        if !self.is_running() {
            return Ok(());
        }
        match pidfd_send_signal(&process, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(errno) => return Err(system(errno)),
        }
        let patience =
            Timespec::try_from(KILLED_WITHIN).map_err(|error| failed(error.to_string()))?;
        let mut ended = [PollFd::new(&process, PollFlags::IN)];
        match poll(&mut ended, Some(&patience)) {
            Ok(0) => Err(failed(format!(
                "it goes on {KILLED_WITHIN:?} after it was killed"
            ))),
            Ok(_) => Ok(()),
            Err(errno) => Err(system(errno)),
        }
    }
}

/// The start time in `/proc/PID/stat` (proc(5): field 22); nothing if the process has ended and
/// only waits for its parent. The name in parentheses may hold anything.
fn running_since(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    if state == "Z" || state == "X" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper() -> Child {
        Command::new("sleep").arg("60").spawn().unwrap()
    }

    #[test]
    fn a_process_is_killed_and_then_does_not_run() {
        let mut child = sleeper();
        let it = Identity::of(&child).unwrap();
        assert!(it.is_running());
        it.kill("sleep").unwrap();
        assert!(!it.is_running());
        it.kill("sleep").unwrap();
        child.wait().unwrap();
        it.kill("sleep").unwrap();
    }

    #[test]
    fn another_process_that_has_the_number_is_left_alone() {
        let mut child = sleeper();
        let now = Identity::of(&child).unwrap();
        for other in [
            Identity {
                started: now.started - 1,
                ..now.clone()
            },
            Identity {
                boot: "another".to_owned(),
                ..now.clone()
            },
        ] {
            assert!(!other.is_running());
            other.kill("sleep").unwrap();
            assert!(now.is_running());
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_name_may_look_like_the_rest_of_the_line() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 20";
        assert_eq!(running_since(&format!("12 (a) Z 1 (b) {rest}")), Some(777));
        assert_eq!(
            running_since(&format!("12 (a) {}", rest.replace('S', "Z"))),
            None
        );
        assert_eq!(running_since("12"), None);
    }

    /// A process on a leash that tells its number.
    fn leashed_sleeper() -> (tempfile::TempDir, Child, Identity) {
        let tools = super::super::tools::Tools::control_plane().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let sleeper = Component {
            name: "sleeper",
            program: "/bin/sh".into(),
            arguments: ["-c", "echo $$; exec sleep 60"].map(str::to_owned).into(),
        };
        let child = sleeper.leashed(&tools.leash(), &layout).unwrap();
        let pid = (0..1000).find_map(|_| {
            std::thread::sleep(Duration::from_millis(10));
            let text = std::fs::read_to_string(layout.log("sleeper")).ok()?;
            text.strip_suffix('\n')?.parse().ok()
        });
        let it = Identity::read(pid.unwrap()).unwrap();
        assert!(it.is_running());
        (dir, child, it)
    }

    fn ends(it: &Identity) -> bool {
        (0..500).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            !it.is_running()
        })
    }

    #[test]
    fn a_process_ends_when_the_other_end_of_its_leash_is_let_go() {
        let (_dir, mut leash, it) = leashed_sleeper();
        drop(leash.stdin.take());
        assert!(ends(&it));
        leash.wait().unwrap();
    }

    #[test]
    fn a_process_ends_with_its_leash() {
        let (_dir, mut leash, it) = leashed_sleeper();
        leash.kill().unwrap();
        assert!(ends(&it));
        leash.wait().unwrap();
    }

    #[test]
    fn a_leash_ends_with_its_process() {
        let (_dir, mut leash, it) = leashed_sleeper();
        it.kill("sleeper").unwrap();
        assert!(!leash.wait().unwrap().success());
    }
}
