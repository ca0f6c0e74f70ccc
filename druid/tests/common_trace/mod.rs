//! Runs a program one change of a file at a time, by the kernel's own means (`ptrace(2)`): whoever
//! tests is asked before each, and may have the program killed in the place of it.
//!
//! Only what goes to a file with a name below one directory counts: a file without one is gone with
//! the program. A thread of the test does it all, as the kernel wants it.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod call;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// How long one run may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// What is done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Call {
    /// It is made, or emptied, as it is opened.
    Make,
    MakeDir,
    /// Bytes are written, or it gets another length.
    Write,
    /// It goes to the disk.
    Sync,
    /// It gets a name, and loses another one.
    Rename,
    /// It gets a further name.
    Link,
    Remove,
    /// Its mode, owner or times.
    Attributes,
}

/// A change that the program is about to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) call: Call,
    pub(crate) path: PathBuf,
    /// The name that a rename takes away.
    pub(crate) from: Option<PathBuf>,
    /// How often the same call changed the same file, this time included.
    pub(crate) nth: usize,
}

/// What is to become of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Go,
    /// Killed; the change is not made.
    Kill,
    /// Asked to end, after the change.
    Terminate,
}

/// How it ended, and what it was about to change before.
#[derive(Debug)]
pub(crate) struct Traced {
    pub(crate) killed: bool,
    /// Of a program that ended by itself.
    pub(crate) code: Option<i32>,
    pub(crate) steps: Vec<Step>,
    pub(crate) stderr: String,
}

/// Runs it to its end.
pub(crate) fn trace(
    command: &Command,
    below: &Path,
    mut each: impl FnMut(&Step) -> Then + Send,
) -> Traced {
    // The name that the kernel tells.
    let below = below.canonicalize().unwrap();
    // Only children of this thread are waited for in it, and not those of other tests.
    thread::scope(|scope| {
        let tracer = scope.spawn(|| {
            #[expect(clippy::zombie_processes, reason = "the tracer waits for it")]
            let mut child = stopped(command);
            let pid = Pid::from_raw(child.id().try_into().unwrap());
            let (running, over) = channel();
            let watchdog = scope.spawn(move || end_late(pid, &over));
            let mut traced = Tracer::begin(pid, &below).run(&mut each);
            drop::<Sender<()>>(running);
            assert!(watchdog.join().unwrap(), "it hung: {:?}", traced.steps);
            let mut stderr = child.stderr.take().unwrap();
            stderr.read_to_string(&mut traced.stderr).unwrap();
            traced
        });
        tracer.join().unwrap()
    })
}

/// Whether it came to its end in time.
fn end_late(pid: Pid, over: &std::sync::mpsc::Receiver<()>) -> bool {
    let in_time = over.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Disconnected);
    if !in_time {
        kill(pid, Signal::SIGKILL).unwrap();
    }
    in_time
}

/// A process that has stopped itself and will become the program.
fn stopped(command: &Command) -> Child {
    let mut shell = Command::new("sh");
    shell.args(["-c", "kill -STOP $$; exec \"$0\" \"$@\""]);
    shell.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    // What it says fits into a pipe.
    shell.stdin(Stdio::null()).stdout(Stdio::null());
    shell.stderr(Stdio::piped()).process_group(0);
    let child = shell.spawn().unwrap();
    let pid = Pid::from_raw(child.id().try_into().unwrap());
    let status = waitpid(pid, Some(WaitPidFlag::WUNTRACED)).unwrap();
    assert_eq!(status, WaitStatus::Stopped(pid, Signal::SIGSTOP));
    child
}

struct Tracer<'a> {
    pid: Pid,
    below: &'a Path,
    steps: Vec<Step>,
    counts: BTreeMap<(Call, PathBuf), usize>,
}

impl<'a> Tracer<'a> {
    fn begin(pid: Pid, below: &'a Path) -> Self {
        let options = Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACEFORK
            | Options::PTRACE_O_TRACEVFORK
            | Options::PTRACE_O_EXITKILL;
        if let Err(errno) = ptrace::seize(pid, options) {
            panic!("no ptrace of a child, {errno}: kernel.yama.ptrace_scope has to be 0 or 1");
        }
        kill(pid, Signal::SIGCONT).unwrap();
        Self {
            pid,
            below,
            steps: Vec::new(),
            counts: BTreeMap::new(),
        }
    }

    fn run(mut self, each: &mut impl FnMut(&Step) -> Then) -> Traced {
        let any = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        loop {
            match waitpid(None, Some(any)).unwrap() {
                WaitStatus::PtraceSyscall(thread) => {
                    let step = self.step(thread);
                    let then = step.as_ref().map_or(Then::Go, &mut *each);
                    self.steps.extend(step);
                    match then {
                        Then::Go => {}
                        Then::Kill => kill(self.pid, Signal::SIGKILL).unwrap(),
                        Then::Terminate => kill(self.pid, Signal::SIGTERM).unwrap(),
                    }
                    go_on(thread, None);
                }
                WaitStatus::PtraceEvent(thread, _, _) => go_on(thread, None),
                WaitStatus::Stopped(thread, signal) => go_on(thread, Some(signal)),
                WaitStatus::Exited(pid, code) if pid == self.pid => {
                    return self.ended(false, Some(code));
                }
                WaitStatus::Signaled(pid, signal, _) if pid == self.pid => {
                    return self.ended(signal == Signal::SIGKILL, None);
                }
                // A thread.
                WaitStatus::Exited(..) | WaitStatus::Signaled(..) => {}
                odd @ (WaitStatus::Continued(_) | WaitStatus::StillAlive) => panic!("{odd:?}"),
            }
        }
    }

    fn ended(self, killed: bool, code: Option<i32>) -> Traced {
        Traced {
            killed,
            code,
            steps: self.steps,
            stderr: String::new(),
        }
    }

    /// What a thread is about to change; `None` if nothing, or if it has done so.
    fn step(&mut self, thread: Pid) -> Option<Step> {
        // Who was killed in between is not there to be asked.
        let info = ptrace::syscall_info(thread).ok()?;
        if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
            return None;
        }
        let change = call::of(thread)?;
        if !change.path.starts_with(self.below) || call::is_unnamed(&change.path) {
            return None;
        }
        let key = (change.call, change.path.clone());
        let nth = self.counts.entry(key).or_default();
        *nth += 1;
        Some(Step {
            call: change.call,
            path: change.path,
            from: change.from,
            nth: *nth,
        })
    }
}

fn go_on(thread: Pid, signal: Option<Signal>) {
    match ptrace::syscall(thread, signal) {
        // It was killed.
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(errno) => panic!("ptrace: {errno}"),
    }
}

/// Kills a program at its first change, at the second and so on until it comes to its end, and
/// returns what that run was about to change. Of many equal changes of one file some stand for all:
/// the first, the second, the fourth and so on; the last is followed by another kind.
///
/// `run` makes everything ready, traces with the question that it is given, and checks what is left.
pub(crate) fn each_step(mut run: impl FnMut(&mut Question<'_>) -> Traced) -> Vec<Step> {
    for dies_at in 1.. {
        let mut counted = 0;
        let traced = run(&mut |step| {
            counted += usize::from(step.nth.is_power_of_two());
            if step.nth.is_power_of_two() && counted == dies_at {
                Then::Kill
            } else {
                Then::Go
            }
        });
        if !traced.killed {
            assert!(counted < dies_at, "it was to be killed: {traced:?}");
            assert_eq!(traced.code, Some(0), "{}", traced.stderr);
            return traced.steps;
        }
    }
    unreachable!()
}

/// What is asked before each change.
pub(crate) type Question<'a> = dyn FnMut(&Step) -> Then + Send + 'a;

/// A power cut after any step loses no more than a kill does: whatever was written is on the disk
/// before anything gets a name, and the name is there before the end.
pub(crate) fn assert_synced(steps: &[Step]) {
    let (mut dirty, mut unlisted) = (Vec::new(), Vec::new());
    let mut renames = 0;
    for step in steps {
        match step.call {
            Call::Write => dirty.push(&step.path),
            Call::Sync => {
                dirty.retain(|it| **it != step.path);
                unlisted.retain(|it| *it != step.path);
            }
            Call::Rename => {
                let from = step.from.as_ref().unwrap();
                let lost = dirty.iter().find(|it| it.starts_with(from));
                assert_eq!(
                    lost, None,
                    "not on the disk as it gets its name: {steps:#?}"
                );
                unlisted.push(step.path.parent().unwrap());
                renames += 1;
            }
            Call::Make | Call::MakeDir | Call::Link | Call::Remove | Call::Attributes => {}
        }
    }
    assert!(renames > 0, "{steps:#?}");
    assert_eq!(unlisted, Vec::<&Path>::new(), "{steps:#?}");
}
