//! What stands between this program and an etcd for a moment: our own binary, started under a
//! hidden name, asks the kernel to be killed with its parent and then becomes etcd. So no etcd
//! outlives a rehearsal, not even one that is killed with SIGKILL.

use std::convert::Infallible;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::getppid;
use thiserror::Error;

/// The hidden first argument under which `main` calls [`shim`].
pub(crate) const NAME: &str = "__exec-etcd";
/// Instead of `--`: exit at once, as a release does that cannot start.
const BROKEN: &str = "--broken";

/// How to start the shim: a program, and what comes before the shim's own arguments.
#[derive(Clone, Debug)]
pub(crate) struct Shim {
    /// The program.
    pub(crate) program: PathBuf,
    /// Its first arguments.
    pub(crate) prefix: Vec<OsString>,
}

/// Why etcd was not started.
#[derive(Debug, Error)]
pub(crate) enum ShimError {
    /// It was called by hand.
    #[error("{NAME} is not for use by hand: PARENT_PID (-- | --broken) PROGRAM [ARGUMENT...]")]
    Usage,
    /// The parent ended before it could be watched.
    #[error("the program that started this etcd has ended")]
    Orphan,
    /// The kernel refused.
    #[error("this etcd cannot be tied to its parent: {0}")]
    Prctl(nix::Error),
    /// The binary cannot be run.
    #[error("{program}: {source}")]
    Exec {
        /// The binary.
        program: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// `bad-image`.
    #[error("this release was made to exit at its start (fault bad-image)")]
    Broken,
}

impl Shim {
    /// The binary that runs now.
    pub(crate) fn of_this_binary() -> std::io::Result<Self> {
        Ok(Self {
            program: std::env::current_exe()?,
            prefix: vec![NAME.into()],
        })
    }

    /// The arguments that make it become `program`.
    pub(crate) fn args(
        &self,
        broken: bool,
        program: PathBuf,
        args: Vec<OsString>,
    ) -> Vec<OsString> {
        let parent = std::process::id().to_string();
        let mode = if broken { BROKEN } else { "--" };
        let mut all = self.prefix.clone();
        all.extend([parent.into(), mode.into(), program.into_os_string()]);
        all.extend(args);
        all
    }
}

/// The hidden subcommand; `args` is what follows its name. Returns only if it failed.
pub(crate) fn shim(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match become_etcd(args.into_iter()) {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn become_etcd(mut args: impl Iterator<Item = OsString>) -> Result<Infallible, ShimError> {
    let parent: i32 = args
        .next()
        .and_then(|pid| pid.to_str()?.parse().ok())
        .ok_or(ShimError::Usage)?;
    let mode = args.next().ok_or(ShimError::Usage)?;
    let program = PathBuf::from(args.next().ok_or(ShimError::Usage)?);
    set_pdeathsig(Signal::SIGKILL).map_err(ShimError::Prctl)?;
    // A parent that died before the line above would never be noticed.
    if getppid().as_raw() != parent {
        return Err(ShimError::Orphan);
    }
    if mode == BROKEN {
        return Err(ShimError::Broken);
    }
    if mode != "--" {
        return Err(ShimError::Usage);
    }
    let source = Command::new(&program).args(args).exec();
    Err(ShimError::Exec { program, source })
}
