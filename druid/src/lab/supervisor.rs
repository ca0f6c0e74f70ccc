//! Runs one member, like a kubelet: what ends by itself is started again as the same release, a bit
//! later each time; the template's release comes only with a demanded restart.
//!
//! All happens in one task, which the callers only send wishes to. A caller that disappears leaves
//! nothing half done.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use druid_core::make::Make;
use druid_core::member::MemberName;
use druid_core::observed;
use druid_core::version::Version;
use nix::sys::signal::Signal;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::events::{Cause, Events, What};
use super::process::{Launch, Process, Processes, describe};
use super::shim::Shim;
use super::{flip, lock};

/// The time between SIGTERM and SIGKILL: more than the 7 s that etcd itself gives to the streams of
/// its clients. 3.5.27 under load was seen to hang for good after that (`embed.Etcd.Close` waits for
/// a serving goroutine that has not ended); killing it then is as safe as a crash.
pub(crate) const GRACE: Duration = Duration::from_secs(8);
/// A process that stays up for this long has recovered.
pub(crate) const SETTLED: Duration = Duration::from_secs(5);
const FIRST_BACKOFF: Duration = Duration::from_millis(200);
const LAST_BACKOFF: Duration = Duration::from_secs(2);

/// What a member is made from, and the binary of its release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    /// The release. The rest of the template changes nothing here.
    pub(crate) make: Make,
    /// The binary.
    pub(crate) program: PathBuf,
}

/// Everything that a supervisor needs to know of its member.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Its name.
    pub(crate) name: MemberName,
    /// What its processes go through.
    pub(crate) shim: Shim,
    /// The release that exits at its start.
    pub(crate) broken: Option<Version>,
    /// Its configuration file.
    pub(crate) config: PathBuf,
    /// Its log.
    pub(crate) log: PathBuf,
    /// Its data directory.
    pub(crate) data: PathBuf,
}

/// What all supervisors share.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    /// What the next demanded restart brings.
    pub(crate) template: Arc<Mutex<Image>>,
    /// Every process.
    pub(crate) processes: Arc<Processes>,
    /// What happened.
    pub(crate) events: Events,
}

/// Why a member does not do what it was told.
#[derive(Debug, Error)]
pub(crate) enum MemberError {
    /// It is not the incarnation that the caller has seen.
    #[error("{member} is incarnation {actual} by now, not {expected}; look again before acting")]
    Conflict {
        /// Which.
        member: MemberName,
        /// What the caller has seen.
        expected: u64,
        /// What it is.
        actual: u64,
    },
    /// It is held down or not running, so the wish makes no sense.
    #[error("{member} is not running; release it or wait for it first")]
    NotRunning {
        /// Which.
        member: MemberName,
    },
    /// Its database could not be changed.
    #[error("{member}: {source}")]
    Flip {
        /// Which.
        member: MemberName,
        /// Why.
        source: flip::FlipError,
    },
    /// Its supervisor is gone: the lab is being torn down.
    #[error("{member} is being torn down with the lab; start a new rehearsal")]
    Gone {
        /// Which.
        member: MemberName,
    },
}

type Reply = oneshot::Sender<Result<(), MemberError>>;

enum Wish {
    Restart { expected: u64, reply: Reply },
    Signal(Signal),
    Hold(Reply),
    Release(Reply),
    Flip(Reply),
    End(Reply),
}

/// The handle to a member's supervisor. Dropping it ends the supervisor, not the process.
#[derive(Debug)]
pub(crate) struct Supervisor {
    name: MemberName,
    wishes: mpsc::UnboundedSender<Wish>,
    seen: watch::Receiver<Seen>,
    task: JoinHandle<()>,
}

#[derive(Clone, Debug)]
struct Seen {
    process: observed::Process,
    pid: Option<u32>,
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Supervisor {
    /// Starts the member's first process.
    pub(crate) fn start(plan: Plan, image: Image, shared: Shared) -> Self {
        let name = plan.name.clone();
        let (wishes, inbox) = mpsc::unbounded_channel();
        let mut member = Member {
            plan,
            image,
            shared,
            incarnation: 1,
            exits: 0,
            last_words: String::new(),
            phase: Phase::Held,
            answers: Vec::new(),
        };
        member.begin(Cause::Created);
        let (publish, seen) = watch::channel(member.seen());
        let task = tokio::spawn(member.run(inbox, publish));
        Self {
            name,
            wishes,
            seen,
            task,
        }
    }

    /// Its state now.
    pub(crate) fn process(&self) -> observed::Process {
        self.seen.borrow().process.clone()
    }

    /// The number of its process, if there is one.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.seen.borrow().pid
    }

    /// SIGTERM, grace, SIGKILL, then the template's release. Returns when that is under way; a
    /// second call for the same incarnation meanwhile is the same restart.
    pub(crate) async fn restart(&self, expected: u64) -> Result<(), MemberError> {
        self.wish(|reply| Wish::Restart { expected, reply }).await
    }

    /// Sends a signal to its process. It does not matter if there is none.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = self.wishes.send(Wish::Signal(signal));
    }

    /// Stops it and keeps it stopped. Returns when it is down.
    pub(crate) async fn hold_down(&self) -> Result<(), MemberError> {
        self.wish(Wish::Hold).await
    }

    /// Ends [`Supervisor::hold_down`]: the same release again.
    pub(crate) async fn release(&self) -> Result<(), MemberError> {
        self.wish(Wish::Release).await
    }

    /// Stops it, changes one byte of one value in its database, starts it again. Returns when the
    /// new process has begun.
    pub(crate) async fn flip_byte(&self) -> Result<(), MemberError> {
        self.wish(Wish::Flip).await
    }

    /// Begins to stop it for good. What is returned is ready when it is down.
    pub(crate) fn begin_end(&self) -> oneshot::Receiver<Result<(), MemberError>> {
        self.ask(Wish::End)
    }

    fn ask(&self, wish: impl FnOnce(Reply) -> Wish) -> oneshot::Receiver<Result<(), MemberError>> {
        let (reply, answer) = oneshot::channel();
        // If the task is gone, it has dropped the reply.
        let _ = self.wishes.send(wish(reply));
        answer
    }

    async fn wish(&self, wish: impl FnOnce(Reply) -> Wish) -> Result<(), MemberError> {
        let answer = self.ask(wish).await;
        answer.unwrap_or_else(|_| {
            Err(MemberError::Gone {
                member: self.name.clone(),
            })
        })
    }
}

struct Member {
    plan: Plan,
    image: Image,
    shared: Shared,
    incarnation: u64,
    /// How often it has ended by itself since it was last settled.
    exits: u32,
    last_words: String,
    phase: Phase,
    /// Sent only after the state that they speak of has been published.
    answers: Vec<(Reply, Result<(), MemberError>)>,
}

enum Phase {
    /// It runs.
    Up {
        process: Arc<Process>,
        settled: Instant,
    },
    /// It has been told to end.
    Stopping {
        process: Arc<Process>,
        kill_at: Option<Instant>,
        then: Then,
    },
    /// It ended by itself and is started again at this time.
    Waiting { until: Instant },
    /// It stays down.
    Held,
    /// It never comes back.
    Over,
}

enum Then {
    Restart,
    Hold(Vec<Reply>),
    Flip(Reply),
    End(Reply),
}

impl Member {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Wish>, seen: watch::Sender<Seen>) {
        loop {
            seen.send_replace(self.seen());
            for (reply, answer) in self.answers.drain(..) {
                // Whoever asked may have gone away.
                let _ = reply.send(answer);
            }
            if matches!(self.phase, Phase::Over) {
                return;
            }
            let process = self.process();
            let alarm = self.alarm();
            tokio::select! {
                wish = inbox.recv() => match wish {
                    Some(wish) => self.on_wish(wish),
                    None => return,
                },
                status = ended(process) => self.on_end(&describe(status)),
                () = ring(alarm) => self.on_alarm(),
            }
        }
    }

    fn process(&self) -> Option<Arc<Process>> {
        match &self.phase {
            Phase::Up { process, .. } | Phase::Stopping { process, .. } => {
                Some(Arc::clone(process))
            }
            Phase::Waiting { .. } | Phase::Held | Phase::Over => None,
        }
    }

    fn alarm(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Up { settled, .. } => (self.exits > 0).then_some(*settled),
            Phase::Stopping { kill_at, .. } => *kill_at,
            Phase::Waiting { until } => Some(*until),
            Phase::Held | Phase::Over => None,
        }
    }

    fn seen(&self) -> Seen {
        let (incarnation, make) = (self.incarnation, self.image.make.clone());
        let process = match &self.phase {
            Phase::Held | Phase::Over => observed::Process::Absent,
            Phase::Up { .. } | Phase::Stopping { .. } if self.exits == 0 => {
                observed::Process::Running { incarnation, make }
            }
            Phase::Up { .. } | Phase::Stopping { .. } | Phase::Waiting { .. } => {
                observed::Process::Failing {
                    incarnation,
                    make,
                    exits: self.exits,
                    last_words: self.last_words.clone(),
                }
            }
        };
        let pid = self.process().map(|process| process.pid);
        Seen { process, pid }
    }

    /// Starts a process of the present image.
    fn begin(&mut self, cause: Cause) {
        let launch = Launch {
            shim: self.plan.shim.clone(),
            program: self.image.program.clone(),
            broken: self.plan.broken == Some(self.image.make.version),
            config: self.plan.config.clone(),
            log: self.plan.log.clone(),
        };
        match self.shared.processes.start(&launch) {
            Ok(process) => {
                self.shared.events.push(What::Started {
                    member: self.plan.name.clone(),
                    version: self.image.make.version,
                    incarnation: self.incarnation,
                    pid: process.pid,
                    cause,
                });
                let settled = Instant::now() + SETTLED;
                self.phase = Phase::Up { process, settled };
            }
            Err(error) => self.failed("not started", format!("cannot be started: {error}")),
        }
    }

    /// It ended by itself, or could not even begin.
    fn failed(&mut self, how: &str, last_words: String) {
        self.shared.events.push(What::Exited {
            member: self.plan.name.clone(),
            version: self.image.make.version,
            how: how.to_owned(),
            last_words: last_words.clone(),
        });
        self.exits += 1;
        self.last_words = last_words;
        let until = Instant::now() + backoff(self.exits);
        self.phase = Phase::Waiting { until };
    }

    fn on_alarm(&mut self) {
        match &mut self.phase {
            Phase::Up { .. } => self.exits = 0,
            Phase::Stopping {
                process, kill_at, ..
            } => {
                process.signal(Signal::SIGKILL);
                *kill_at = None;
            }
            Phase::Waiting { .. } => self.begin(Cause::Recovery),
            Phase::Held | Phase::Over => {}
        }
    }

    fn on_end(&mut self, how: &str) {
        match std::mem::replace(&mut self.phase, Phase::Held) {
            Phase::Up { process, .. } => self.failed(how, process.last_words()),
            Phase::Stopping { then, .. } => {
                self.shared.events.push(What::Stopped {
                    member: self.plan.name.clone(),
                    version: self.image.make.version,
                    how: how.to_owned(),
                });
                self.carry_on(then);
            }
            other @ (Phase::Waiting { .. } | Phase::Held | Phase::Over) => self.phase = other,
        }
    }

    /// It is down as wished.
    fn carry_on(&mut self, then: Then) {
        match then {
            Then::Restart => {
                self.image = lock(&self.shared.template).clone();
                self.incarnation += 1;
                self.exits = 0;
                self.last_words.clear();
                self.begin(Cause::Demanded);
            }
            Then::Hold(replies) => {
                self.phase = Phase::Held;
                self.answers
                    .extend(replies.into_iter().map(|reply| (reply, Ok(()))));
            }
            Then::Flip(reply) => {
                let flipped = flip::flip_one_value(&self.plan.data);
                self.begin(Cause::Fault);
                let member = self.plan.name.clone();
                let answer = flipped.map_err(|source| MemberError::Flip { member, source });
                self.answers.push((reply, answer));
            }
            Then::End(reply) => {
                self.phase = Phase::Over;
                self.answers.push((reply, Ok(())));
            }
        }
    }

    fn on_wish(&mut self, wish: Wish) {
        match wish {
            Wish::Restart { expected, reply } => {
                let answer = self.restart(expected);
                self.answers.push((reply, answer));
            }
            Wish::Signal(signal) => {
                if let Some(process) = self.process() {
                    process.signal(signal);
                }
            }
            Wish::Hold(reply) => match &mut self.phase {
                Phase::Stopping {
                    then: Then::Hold(replies),
                    ..
                } => replies.push(reply),
                Phase::Up { .. }
                | Phase::Stopping { .. }
                | Phase::Waiting { .. }
                | Phase::Held
                | Phase::Over => self.stop(Then::Hold(vec![reply])),
            },
            Wish::Release(reply) => match self.phase {
                Phase::Held => {
                    self.begin(Cause::Fault);
                    self.answers.push((reply, Ok(())));
                }
                Phase::Up { .. } | Phase::Stopping { .. } | Phase::Waiting { .. } | Phase::Over => {
                    self.not_running(reply);
                }
            },
            Wish::Flip(reply) => match self.phase {
                Phase::Up { .. } => self.stop(Then::Flip(reply)),
                Phase::Stopping { .. } | Phase::Waiting { .. } | Phase::Held | Phase::Over => {
                    self.not_running(reply);
                }
            },
            Wish::End(reply) => self.stop(Then::End(reply)),
        }
    }

    fn not_running(&mut self, reply: Reply) {
        let member = self.plan.name.clone();
        self.answers
            .push((reply, Err(MemberError::NotRunning { member })));
    }

    fn restart(&mut self, expected: u64) -> Result<(), MemberError> {
        let member = self.plan.name.clone();
        if expected != self.incarnation {
            return Err(MemberError::Conflict {
                member,
                expected,
                actual: self.incarnation,
            });
        }
        match &self.phase {
            Phase::Up { .. } | Phase::Waiting { .. } => self.stop(Then::Restart),
            Phase::Stopping {
                then: Then::Restart,
                ..
            } => {}
            Phase::Stopping { .. } | Phase::Held | Phase::Over => {
                return Err(MemberError::NotRunning { member });
            }
        }
        Ok(())
    }

    /// SIGTERM now, SIGKILL after the grace; what is being stopped gets a new aim.
    fn stop(&mut self, then: Then) {
        match std::mem::replace(&mut self.phase, Phase::Held) {
            Phase::Up { process, .. } => {
                process.signal(Signal::SIGTERM);
                // A process that was paused must first go on to be able to end.
                process.signal(Signal::SIGCONT);
                self.phase = Phase::Stopping {
                    process,
                    kill_at: Some(Instant::now() + GRACE),
                    then,
                };
            }
            Phase::Stopping {
                process, kill_at, ..
            } => {
                self.phase = Phase::Stopping {
                    process,
                    kill_at,
                    then,
                };
            }
            Phase::Waiting { .. } | Phase::Held | Phase::Over => self.carry_on(then),
        }
    }
}

async fn ended(process: Option<Arc<Process>>) -> std::process::ExitStatus {
    match process {
        Some(process) => process.ended().await,
        None => std::future::pending().await,
    }
}

async fn ring(alarm: Option<Instant>) {
    match alarm {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn backoff(exits: u32) -> Duration {
    FIRST_BACKOFF
        .saturating_mul(1 << exits.saturating_sub(1).min(10))
        .min(LAST_BACKOFF)
}
