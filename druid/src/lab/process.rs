//! One etcd process: started by a thread of its own, which then waits for its end. The kernel kills
//! it when that *thread* ends (see [`super::shim`]), so the thread lives exactly as long.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use tokio::sync::watch;

use super::lock;
use super::shim::Shim;

/// How to start a process.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    /// What it goes through.
    pub(crate) shim: Shim,
    /// The etcd binary.
    pub(crate) program: PathBuf,
    /// Set to make it exit at once.
    pub(crate) broken: bool,
    /// Its configuration file.
    pub(crate) config: PathBuf,
    /// Where its output is added.
    pub(crate) log: PathBuf,
}

/// A process that was started. It may have ended.
#[derive(Debug)]
pub(crate) struct Process {
    /// Its number, also after its end.
    pub(crate) pid: u32,
    log: PathBuf,
    log_start: u64,
    /// `None` once it is reaped: the number may then be another's.
    target: Mutex<Option<Pid>>,
    ended: watch::Receiver<Option<ExitStatus>>,
}

impl Process {
    /// Starts one. Blocks for the time of a fork.
    fn start(launch: &Launch) -> io::Result<Arc<Self>> {
        let mut log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&launch.log)?;
        let log_start = log.seek(SeekFrom::End(0))?;
        let mut command = command(launch, log)?;
        let (tell, started) = std::sync::mpsc::sync_channel(1);
        let (tell_end, ended) = watch::channel(None);
        let log = launch.log.clone();
        thread::Builder::new()
            .name("etcd".to_owned())
            .spawn(move || {
                let mut child = match command.spawn() {
                    Ok(child) => child,
                    Err(error) => {
                        let _ = tell.send(Err(error));
                        return;
                    }
                };
                let pid = Pid::from_raw(child.id().cast_signed());
                let process = Arc::new(Self {
                    pid: child.id(),
                    log,
                    log_start,
                    target: Mutex::new(Some(pid)),
                    ended,
                });
                let _ = tell.send(Ok(Arc::clone(&process)));
                // Reaping frees the number, and must not happen while somebody sends a signal.
                let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
                while waitid(Id::Pid(pid), flags) == Err(Errno::EINTR) {}
                *lock(&process.target) = None;
                let status = child.wait().unwrap_or_else(|_| ExitStatus::from_raw(0));
                tell_end.send_replace(Some(status));
            })?;
        started.recv().map_err(io::Error::other)?
    }

    /// Sends a signal, unless it has ended.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(pid) = *lock(&self.target) {
            // It can only have ended meanwhile.
            let _ = kill(pid, signal);
        }
    }

    /// Waits for its end.
    pub(crate) async fn ended(&self) -> ExitStatus {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(status) => status.unwrap_or_default(),
            // Its thread is gone, and with it the process.
            Err(_) => ExitStatus::from_raw(Signal::SIGKILL as i32),
        }
    }

    fn has_ended(&self) -> bool {
        self.ended.borrow().is_some()
    }

    /// The last line that it wrote.
    pub(crate) fn last_words(&self) -> String {
        last_line(&self.log, self.log_start).unwrap_or_default()
    }
}

fn command(launch: &Launch, log: File) -> io::Result<Command> {
    let args: Vec<OsString> = vec!["--config-file".into(), launch.config.clone().into()];
    let args = launch
        .shim
        .args(launch.broken, launch.program.clone(), args);
    let mut command = Command::new(&launch.shim.program);
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Ctrl-C in the terminal is for us: we stop them in order.
        .process_group(0);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ETCD_") {
            command.env_remove(name);
        }
    }
    Ok(command)
}

/// How a process ended, in words.
pub(crate) fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal().map(Signal::try_from)) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(Ok(signal))) => signal.to_string(),
        (None, _) => status.to_string(),
    }
}

const TAIL: u64 = 64 * 1024;

/// The last line that says why it ended; a stack trace may follow that. Else the last line.
fn last_line(path: &Path, from: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    let end = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(from.max(end.saturating_sub(TAIL))))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines = || text.lines().rev().filter(|line| !line.trim().is_empty());
    let line = lines()
        .find(|line| is_fatal(line))
        .or_else(|| lines().next());
    Ok(line.map(plain).unwrap_or_default())
}

fn is_fatal(line: &str) -> bool {
    line.starts_with("panic: ")
        || line.starts_with("{\"level\":\"fatal\"")
        || line.starts_with("{\"level\":\"panic\"")
}

/// etcd logs in JSON; the message and the error are what a person wants to see.
fn plain(line: &str) -> String {
    let Ok(entry) = serde_json::from_str::<serde_json::Value>(line) else {
        return line.to_owned();
    };
    let field = |name: &str| entry.get(name).and_then(serde_json::Value::as_str);
    match (field("msg"), field("error")) {
        (Some(message), Some(error)) => format!("{message}: {error}"),
        (Some(message), None) => message.to_owned(),
        (None, _) => line.to_owned(),
    }
}

/// Every process of a lab, so that all can be ended at once, whatever the state of the runtime.
#[derive(Debug, Default)]
pub(crate) struct Processes(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    closed: bool,
    running: Vec<Arc<Process>>,
}

impl Processes {
    /// Starts one, unless the lab is being torn down.
    pub(crate) fn start(&self, launch: &Launch) -> io::Result<Arc<Process>> {
        let mut table = lock(&self.0);
        if table.closed {
            return Err(io::Error::other("the lab is being torn down"));
        }
        let process = Process::start(launch)?;
        table.running.retain(|process| !process.has_ended());
        table.running.push(Arc::clone(&process));
        Ok(process)
    }

    /// Starts no more, kills all, and waits (blocking) until they are gone or `patience` is over.
    pub(crate) fn close(&self, patience: Duration) {
        let running = {
            let mut table = lock(&self.0);
            table.closed = true;
            std::mem::take(&mut table.running)
        };
        for process in &running {
            process.signal(Signal::SIGKILL);
        }
        let until = Instant::now() + patience;
        while running.iter().any(|process| !process.has_ended()) && Instant::now() < until {
            thread::sleep(Duration::from_millis(2));
        }
    }
}
