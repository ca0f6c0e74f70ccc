//! etcd as our child. A thread of its own starts it and waits for its end, and buries whatever else
//! ends: process 1 inherits every orphan of its container. The kernel kills etcd when that thread
//! ends (see [`crate::lab::shim`]), so it lives exactly as long, and dies with us whatever happens.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use druid_core::agent::marker::End;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use tokio::sync::watch;

use crate::lab::shim::Shim;

/// An etcd that was started. It may have ended.
#[derive(Debug)]
pub(crate) struct Child {
    /// Its number, also after its end.
    pub(crate) pid: i32,
    /// `None` once it is buried: the number may then be another's.
    target: Arc<Mutex<Option<Pid>>>,
    ended: watch::Receiver<Option<End>>,
}

impl Child {
    /// Starts it with a configuration file; its output is ours.
    pub(crate) fn start(binary: &Path, config: &Path) -> io::Result<Self> {
        let shim = Shim::of_this_binary()?;
        let args = vec!["--config-file".into(), config.as_os_str().to_owned()];
        let mut command = Command::new(&shim.program);
        command
            .args(shim.args(false, binary.to_owned(), args))
            .env_remove("ETCD_BINARY")
            .stdin(Stdio::null())
            // Ctrl-C in a terminal is for us: we stop it in order.
            .process_group(0);
        let (tell, started) = std::sync::mpsc::sync_channel(1);
        let (tell_end, ended) = watch::channel(None);
        thread::Builder::new()
            .name("etcd".to_owned())
            .spawn(move || {
                let pid = match command.spawn() {
                    Ok(child) => Pid::from_raw(child.id().cast_signed()),
                    Err(error) => {
                        let _ = tell.send(Err(error));
                        return;
                    }
                };
                let target = Arc::new(Mutex::new(Some(pid)));
                let _ = tell.send(Ok((pid, Arc::clone(&target))));
                tell_end.send_replace(Some(bury_until(pid, &target)));
            })?;
        let (pid, target) = started.recv().map_err(io::Error::other)??;
        Ok(Self {
            pid: pid.as_raw(),
            target,
            ended,
        })
    }

    /// Sends a signal, unless it has ended.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(pid) = *self.target.lock().unwrap_or_else(PoisonError::into_inner) {
            // It can only have ended meanwhile.
            let _ = kill(pid, signal);
        }
    }

    /// Waits for its end.
    pub(crate) async fn ended(&self) -> End {
        let mut ended = self.ended.clone();
        let killed = End::Signal(Signal::SIGKILL as i32);
        match ended.wait_for(Option::is_some).await {
            Ok(end) => end.unwrap_or(killed),
            // Its thread is gone, and with it the process.
            Err(_) => killed,
        }
    }
}

/// Waits for any child, until it is this one.
fn bury_until(pid: Pid, target: &Mutex<Option<Pid>>) -> End {
    loop {
        // Burying frees the number, and must not happen while somebody sends a signal.
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        let dead = match waitid(Id::All, flags) {
            Ok(status) => status.pid(),
            Err(Errno::EINTR) => continue,
            // There is none: it was buried by another.
            Err(_) => return End::Signal(Signal::SIGKILL as i32),
        };
        let Some(dead) = dead else { continue };
        let mut guard = target.lock().unwrap_or_else(PoisonError::into_inner);
        if dead == pid {
            *guard = None;
        }
        let status = waitpid(dead, Some(WaitPidFlag::WNOHANG));
        drop(guard);
        if dead == pid {
            return end_of(status);
        }
    }
}

fn end_of(status: nix::Result<WaitStatus>) -> End {
    if let Ok(WaitStatus::Exited(_, code)) = status {
        End::Code(code)
    } else if let Ok(WaitStatus::Signaled(_, signal, _)) = status {
        End::Signal(signal as i32)
    } else {
        End::Signal(Signal::SIGKILL as i32)
    }
}
