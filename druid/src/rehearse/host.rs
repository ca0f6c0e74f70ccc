//! The lab's side of a roll: starts the engine's process, answers what it asks, kills it if that
//! is the fault, and starts it again.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use druid_core::make::Make;
use druid_core::member::MemberName;
use druid_core::upgrade::{Act, Want};
use druid_core::version::Version;
use thiserror::Error;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::wire::{Plan, Reply, Request, Said, View};
use super::worker;
use crate::etcd::Client;
use crate::lab::cluster::{Lab, LabError};

/// How long a whole roll may take; far more than the sum of its own deadlines.
const ROLL: Duration = Duration::from_mins(20);

/// Why a roll could not be held to its end.
#[derive(Debug, Error)]
pub(crate) enum HostError {
    /// The engine could not be started.
    #[error("cannot start the engine's process: {0}")]
    Spawn(std::io::Error),
    /// It could not be spoken with.
    #[error("the engine's process cannot be spoken with: {0}")]
    Pipe(std::io::Error),
    /// It ended in the middle.
    #[error("the engine's process ended by itself ({status}); its log is {log}")]
    EngineEnded {
        /// How it ended.
        status: String,
        /// Where to read on.
        log: PathBuf,
    },
    /// It said something that is no message.
    #[error("the engine said something that is no message: {0}")]
    Json(#[from] serde_json::Error),
    /// It came to no end.
    #[error("the roll came to no end within {} s; the last thing that it said is: {last}", ROLL.as_secs())]
    NoEnd {
        /// The last step.
        last: String,
    },
    /// The lab could not do what a fault asks for.
    #[error("{0}")]
    Lab(#[from] LabError),
}

/// The lab's side.
pub(super) struct Host {
    pub(super) lab: Arc<Lab>,
    pub(super) clients: Vec<(MemberName, Client)>,
    /// This program.
    pub(super) program: PathBuf,
    /// Set for `--fault kill-engine`.
    pub(super) kill_engine: bool,
}

/// What is heard of a roll.
#[derive(Clone, Copy)]
pub(super) enum Heard<'a> {
    /// The engine has decided something.
    Said(&'a Said),
    /// It was killed where it said that it might be.
    Killed(&'a str),
}

/// What one life of the engine came to.
enum Life {
    Final(Box<Said>),
    Killed,
}

impl Host {
    /// Lets the engine work until it is done, refuses, halts or waits for a person.
    pub(super) async fn roll(
        &self,
        want: Want,
        runs: Version,
        heard: &mut (dyn FnMut(Heard) + Send),
    ) -> Result<Said, HostError> {
        let plan = Plan {
            want,
            runs: Make::plain(runs),
            members: self.lab.client_urls(),
        };
        let mut crossed = BTreeSet::new();
        let mut last = "nothing".to_owned();
        let lives = async {
            loop {
                let mut heard = |what: Heard| {
                    if let Heard::Said(said) = &what {
                        last.clone_from(&said.step);
                    }
                    heard(what);
                };
                match self.life(&plan, &mut crossed, &mut heard).await? {
                    Life::Final(said) => return Ok(*said),
                    Life::Killed => {}
                }
            }
        };
        match tokio::time::timeout(ROLL, lives).await {
            Ok(end) => end,
            Err(_) => Err(HostError::NoEnd { last }),
        }
    }

    async fn life(
        &self,
        plan: &Plan,
        crossed: &mut BTreeSet<String>,
        heard: &mut (dyn FnMut(Heard) + Send),
    ) -> Result<Life, HostError> {
        let (mut child, mut answers, mut questions) = self.spawn()?;
        while let Some(line) = questions.next_line().await.map_err(HostError::Pipe)? {
            let reply = match serde_json::from_str(&line)? {
                Request::Plan => Reply::Plan(plan.clone()),
                Request::Platform { snapshot } => Reply::Platform(self.view(&snapshot)),
                Request::Act(act) => self.act(&act).await,
                Request::Said(said) => {
                    heard(Heard::Said(&said));
                    if said.kind.is_final() {
                        let _ = child.kill().await;
                        return Ok(Life::Final(said));
                    }
                    Reply::Done
                }
                Request::Boundary(label) => {
                    if self.kill_engine && crossed.insert(label.clone()) {
                        heard(Heard::Killed(&label));
                        child.kill().await.map_err(HostError::Pipe)?;
                        return Ok(Life::Killed);
                    }
                    Reply::Done
                }
            };
            let mut line = serde_json::to_vec(&reply)?;
            line.push(b'\n');
            // If it is gone, the next read says so.
            let _ = answers.write_all(&line).await;
        }
        let status = child.wait().await.map_err(HostError::Pipe)?;
        Err(HostError::EngineEnded {
            status: status.to_string(),
            log: self.log(),
        })
    }

    fn log(&self) -> PathBuf {
        self.lab.dir().join("engine.log")
    }

    fn spawn(&self) -> Result<(Child, ChildStdin, Lines<BufReader<ChildStdout>>), HostError> {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log());
        let mut child = Command::new(&self.program)
            .arg(worker::NAME)
            .arg(self.lab.dir().join("upgrade.json"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log.map_err(HostError::Spawn)?)
            .kill_on_drop(true)
            .spawn()
            .map_err(HostError::Spawn)?;
        let missing = || HostError::Spawn(std::io::Error::other("its pipes are missing"));
        let answers = child.stdin.take().ok_or_else(missing)?;
        let questions = child.stdout.take().ok_or_else(missing)?;
        Ok((child, answers, BufReader::new(questions).lines()))
    }

    fn view(&self, snapshot: &str) -> View {
        View {
            template: self.lab.template(),
            processes: self.lab.processes(),
            snapshot: self.lab.snapshots().work(snapshot),
        }
    }

    async fn act(&self, act: &Act) -> Reply {
        let done = match act {
            Act::TakeSnapshot(name) => {
                let clients = self.clients.clone();
                // Of whoever leads when it is begun.
                self.lab.snapshots().take(name, async move {
                    let leads = leader(&clients).await;
                    leads
                        .map(|(_, client)| client.clone())
                        .ok_or_else(|| "nobody leads".to_owned())
                });
                Ok(())
            }
            Act::VerifySnapshot(name) => {
                self.lab.snapshots().verify(name);
                Ok(())
            }
            Act::SetTemplate(version) => self.lab.set_template(*version).await,
            Act::Restart {
                member,
                incarnation,
            } => self.lab.restart(member, *incarnation).await,
            Act::MoveLeader { .. } => {
                return Reply::Failed("the engine moves the leader itself".to_owned());
            }
        };
        match done {
            Ok(()) => Reply::Done,
            Err(error) => Reply::Failed(error.to_string()),
        }
    }
}

/// The member that says of itself that it leads.
pub(super) async fn leader(clients: &[(MemberName, Client)]) -> Option<&(MemberName, Client)> {
    for member in clients {
        let status = member.1.status(Duration::from_secs(1)).await;
        if status.is_ok_and(|status| status.leader == status.id) {
            return Some(member);
        }
    }
    None
}
