//! The engine's process: `druid __rehearse-engine STATE-FILE`, started by the lab.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use druid_core::member::MemberName;
use druid_core::observed::{Answer, Looked, Observed};
use druid_core::upgrade::{Act, Decision, Needs, Record, Step};
use thiserror::Error;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines, Stdin, Stdout};

use super::wire::{Kind, Plan, Reply, Request, Said, View};
use crate::engine::{Platform, round};
use crate::etcd::Client;
use crate::{clock, etcd, observe};

/// The hidden first argument under which `main` runs the engine.
pub(crate) const NAME: &str = "__rehearse-engine";

/// How long one call to a member may take.
const DEADLINE: Duration = Duration::from_secs(2);
/// How long to wait until the next look.
const PAUSE: Duration = Duration::from_millis(40);
/// How long to wait after an act that failed.
const AFTER_FAILURE: Duration = Duration::from_millis(250);

/// Why the engine ended early.
#[derive(Debug, Error)]
pub(crate) enum WorkerError {
    /// The lab is gone.
    #[error("the lab does not answer")]
    LabGone,
    /// The lab's answer is not what was asked for.
    #[error("the lab answered `{0}`")]
    Unexpected(String),
    /// What is said cannot be put in words.
    #[error("a message could not be written or read: {0}")]
    Json(#[from] serde_json::Error),
    /// The state file.
    #[error("state file {path}: {source}")]
    State {
        /// Which.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// A member's address.
    #[error("{0}")]
    Address(String),
    /// An act that could not be done; it is decided anew.
    #[error("{0}")]
    Act(String),
}

/// Runs the engine until the lab has nothing more for it.
pub(crate) async fn run(state: &Path) -> Result<(), WorkerError> {
    let mut lab = Lab::connect();
    let Reply::Plan(plan) = lab.ask(&Request::Plan).await? else {
        return Err(WorkerError::Unexpected(
            "something other than a plan".to_owned(),
        ));
    };
    let mut record = load(state)?.unwrap_or_else(|| Record::new(plan.runs.clone(), clock::now()));
    let want = plan.want.clone();
    let mut processes = Processes {
        lab,
        state: state.to_owned(),
        clients: clients(&plan)?,
    };
    let mut needs = Needs::Nothing;
    loop {
        match round(&mut processes, &want, &mut record, &needs).await {
            Ok(step) if Kind::from(&step).is_final() => return Ok(()),
            Ok(Step::Look(more)) => needs = more,
            Ok(Step::Act(_)) => needs = Needs::Nothing,
            Ok(Step::Done | Step::Wait(_) | Step::Refuse(_) | Step::Halt(_)) => {
                needs = Needs::Nothing;
                tokio::time::sleep(PAUSE).await;
            }
            Err(WorkerError::Act(why)) => {
                tracing::info!(why, "act failed");
                needs = Needs::Nothing;
                tokio::time::sleep(AFTER_FAILURE).await;
            }
            Err(error) => return Err(error),
        }
    }
}

fn clients(plan: &Plan) -> Result<Vec<(MemberName, Client)>, WorkerError> {
    let client = |(name, url): (&MemberName, &String)| {
        let endpoint: etcd::Endpoint = url
            .parse()
            .map_err(|error| WorkerError::Address(format!("{error}")))?;
        let client =
            Client::new(endpoint, None).map_err(|error| WorkerError::Address(error.to_string()))?;
        Ok((name.clone(), client))
    };
    plan.members.iter().map(client).collect()
}

fn load(path: &Path) -> Result<Option<Record>, WorkerError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(WorkerError::State {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Replaces the file as a whole and on stable storage: a reader finds the old record or the new.
fn store(path: &Path, record: &Record) -> Result<(), WorkerError> {
    let bytes = serde_json::to_vec_pretty(record)?;
    let failed = |source| WorkerError::State {
        path: path.to_owned(),
        source,
    };
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(failed)?;
    file.write_all(&bytes).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    std::fs::File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(failed)
}

/// The lines to and from the lab.
struct Lab {
    answers: Lines<BufReader<Stdin>>,
    questions: Stdout,
}

impl Lab {
    fn connect() -> Self {
        Self {
            answers: BufReader::new(tokio::io::stdin()).lines(),
            questions: tokio::io::stdout(),
        }
    }

    async fn ask(&mut self, request: &Request) -> Result<Reply, WorkerError> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.questions
            .write_all(&line)
            .await
            .map_err(|_| WorkerError::LabGone)?;
        self.questions
            .flush()
            .await
            .map_err(|_| WorkerError::LabGone)?;
        let answer = self
            .answers
            .next_line()
            .await
            .map_err(|_| WorkerError::LabGone)?;
        Ok(serde_json::from_str(&answer.ok_or(WorkerError::LabGone)?)?)
    }

    async fn tell(&mut self, request: &Request) -> Result<(), WorkerError> {
        match self.ask(request).await? {
            Reply::Done => Ok(()),
            Reply::Failed(why) => Err(WorkerError::Act(why)),
            other @ (Reply::Plan(_) | Reply::Platform(_)) => {
                Err(WorkerError::Unexpected(format!("{other:?}")))
            }
        }
    }
}

/// The platform that a rehearsal runs on: processes on this machine.
struct Processes {
    lab: Lab,
    state: PathBuf,
    clients: Vec<(MemberName, Client)>,
}

impl Platform for Processes {
    type Error = WorkerError;

    async fn observe(&mut self, snapshot: &str, needs: &Needs) -> Result<Observed, WorkerError> {
        let request = Request::Platform {
            snapshot: snapshot.to_owned(),
        };
        let Reply::Platform(View {
            template,
            processes,
            snapshot: work,
        }) = self.lab.ask(&request).await?
        else {
            return Err(WorkerError::Unexpected(
                "something other than a view".to_owned(),
            ));
        };
        let clients = &self.clients;
        let survey = observe::survey(clients, DEADLINE).await;
        let looked = match needs {
            Needs::Nothing => Looked::Nothing,
            Needs::Preflight => {
                Looked::Preflight(observe::deep(clients, &survey, DEADLINE, false).await)
            }
            Needs::Member(name) => observe::member(name, clients, DEADLINE).await,
            Needs::Data => Looked::Data(observe::hashes(clients, &survey.etcd, DEADLINE).await),
        };
        let etcd = survey.etcd;
        Ok(Observed {
            template,
            processes,
            etcd,
            snapshot_name: snapshot.to_owned(),
            snapshot: work,
            looked,
        })
    }

    async fn record(&mut self, record: &Record) -> Result<(), WorkerError> {
        let member = record
            .current
            .as_ref()
            .map_or("nobody", |current| &current.member.0);
        let label = format!("{:?}, replacing {member}: before recording", record.phase);
        self.lab.tell(&Request::Boundary(label)).await?;
        store(&self.state, record)
    }

    async fn report(&mut self, decision: &Decision, _: &Observed) -> Result<(), WorkerError> {
        let said = Said {
            record: decision.record.clone(),
            step: decision.step.to_string(),
            kind: Kind::from(&decision.step),
        };
        self.lab.tell(&Request::Said(Box::new(said))).await
    }

    async fn act(&mut self, act: &Act) -> Result<(), WorkerError> {
        self.lab
            .tell(&Request::Boundary(format!("{act}: before")))
            .await?;
        if let Act::MoveLeader { from, to } = act {
            self.move_leader(from, to).await?;
        } else {
            self.lab.tell(&Request::Act(act.clone())).await?;
        }
        self.lab
            .tell(&Request::Boundary(format!("{act}: after")))
            .await
    }
}

impl Processes {
    async fn move_leader(&self, from: &MemberName, to: &MemberName) -> Result<(), WorkerError> {
        let client = |name: &MemberName| {
            let found = self.clients.iter().find(|(known, _)| known == name);
            found
                .map(|(_, client)| client)
                .ok_or_else(|| WorkerError::Act(format!("no {name}")))
        };
        let seen = observe::etcd(&[(to.clone(), client(to)?.clone())], DEADLINE).await;
        let Some(Answer::Status(successor)) = seen.members.get(to) else {
            return Err(WorkerError::Act(format!("{to} does not answer")));
        };
        let moved = client(from)?.move_leader(successor.id, DEADLINE).await;
        moved.map_err(|error| WorkerError::Act(error.to_string()))
    }
}
