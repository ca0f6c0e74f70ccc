//! `druid load`: the load as a program of its own, for a place where members can be reached and a
//! rehearsal cannot run. It is asked on its standard input and answers on its standard output, a line
//! of JSON each, see [`druid_core::demo`]. It ends when it is told to, and when nobody can ask any more.

use std::io::Write as _;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, Instant};

use druid_core::demo::{Account, Ask, Said, Witnessed};
use druid_core::linearizability;
use druid_core::member::MemberName;
use druid_core::oracle::findings::{Evidence, Findings};
use druid_core::oracle::gaps::Window;
use druid_core::report::{self, WriteBucket};
use druid_core::version::Version;
use jiff::Timestamp;
use thiserror::Error;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::signal::unix::{SignalKind, signal};

use super::{Load, LoadSpec, evidence};
use crate::clock;
use crate::etcd::{self, Client, Endpoint};
use crate::witness::check::check;
use crate::witness::seen::{Looking, Seen};

/// Put load on a cluster and say what became of it; part of `cargo xtask demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Each member by its name: `main-0=http://main-0.main-peer.default.svc:2379`
    #[arg(long, value_delimiter = ',', required = true)]
    members: Vec<Named>,
    /// What the clients' choices follow from
    #[arg(long)]
    seed: u64,
    /// The moment that times count from
    #[arg(long)]
    origin: Timestamp,
}

/// How long the name of a member may stand for the address of the pod before.
const NAMES: Duration = Duration::from_secs(15);

#[derive(Clone, Debug)]
struct Named {
    name: MemberName,
    endpoint: Endpoint,
}

/// Text that names no member with its endpoint.
#[derive(Debug, Error)]
enum ParseNamedError {
    #[error("`{0}` has no name; write NAME=URL")]
    NoName(String),
    #[error(transparent)]
    Endpoint(#[from] etcd::ParseEndpointError),
}

impl FromStr for Named {
    type Err = ParseNamedError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, url) = text
            .split_once('=')
            .filter(|(name, _)| !name.is_empty())
            .ok_or_else(|| ParseNamedError::NoName(text.to_owned()))?;
        Ok(Self {
            name: name.into(),
            endpoint: url.parse()?,
        })
    }
}

/// Why it could not go on.
#[derive(Debug, Error)]
pub(super) enum LoadError {
    #[error(transparent)]
    Load(#[from] super::Error),
    #[error(transparent)]
    Client(#[from] etcd::Error),
    #[error("a line on the standard input is no question: {0}")]
    Question(#[from] serde_json::Error),
    #[error("it was asked for something before it was told to start or to stop, or for that twice")]
    Order,
    #[error("{url}: {why}")]
    Url {
        url: String,
        why: etcd::ParseEndpointError,
    },
    #[error("the moment that times count from is too far away: {0}")]
    Origin(Timestamp),
    #[error("the record could not be judged: {0}")]
    Judge(#[from] tokio::task::JoinError),
    #[error("it cannot be told to stop: {0}")]
    Signals(std::io::Error),
}

/// The load under way, and who looks at the members meanwhile.
struct Running {
    load: Load,
    looking: Looking,
    members: Vec<(MemberName, Client)>,
    origin: Timestamp,
    seed: u64,
}

/// One that was stopped.
pub(super) struct Stopped {
    pub(super) evidence: Evidence,
    /// What was wrong already.
    pub(super) broken: Vec<String>,
    pub(super) value_size: usize,
}

/// How far it is.
enum State {
    Before,
    Runs(Box<Running>),
    Stopped(Box<Stopped>),
}

/// Does it.
pub(crate) async fn run(args: Args) -> ExitCode {
    match answer(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&Said::Failed(error.to_string()));
            ExitCode::FAILURE
        }
    }
}

fn say(said: &Said) {
    // Whoever does not read it is gone, and does not ask again.
    let _ = serde_json::to_string(said).map(|line| writeln!(std::io::stdout(), "{line}"));
}

async fn answer(args: Args) -> Result<(), LoadError> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut terminated = signal(SignalKind::terminate()).map_err(LoadError::Signals)?;
    let mut state = State::Before;
    loop {
        let line = tokio::select! {
            line = lines.next_line() => line.ok().flatten(),
            _ = terminated.recv() => None,
        };
        let ask = match line.as_deref() {
            Some(line) if line.trim().is_empty() => continue,
            Some(line) => serde_json::from_str(line)?,
            None => Ask::End,
        };
        state = match (ask, state) {
            (Ask::Start, State::Before) => {
                let started = Running::start(&args).await?;
                say(&Said::Started);
                State::Runs(Box::new(started))
            }
            (Ask::Pass { from, to, runs }, State::Runs(running)) => {
                let seen = running.pass(from, to, runs).await?;
                say(&Said::Passed(Box::new(seen)));
                State::Runs(running)
            }
            (ask @ (Ask::End | Ask::Stop), State::Runs(running)) => {
                let (account, stopped) = running.end().await?;
                say(&Said::Ended(Box::new(account)));
                if ask == Ask::End {
                    return Ok(());
                }
                State::Stopped(Box::new(stopped))
            }
            (Ask::Reread { url }, State::Stopped(stopped)) => {
                let endpoint = url.parse().map_err(|why| LoadError::Url { url, why })?;
                let (broken, stopped) = stopped.reread(&Client::new(endpoint, None)?).await?;
                say(&Said::Reread(broken));
                State::Stopped(Box::new(stopped))
            }
            // It was told to stop before it began, or after it had stopped.
            (Ask::End, State::Before | State::Stopped(_)) if line.is_none() => return Ok(()),
            (Ask::Start | Ask::Reread { .. }, State::Runs(_))
            | (Ask::Pass { .. } | Ask::End | Ask::Stop | Ask::Reread { .. }, State::Before)
            | (Ask::Start | Ask::Pass { .. } | Ask::End | Ask::Stop, State::Stopped(_)) => {
                return Err(LoadError::Order);
            }
        };
    }
}

impl Running {
    async fn start(args: &Args) -> Result<Self, LoadError> {
        let client = |it: &Named| -> Result<_, etcd::Error> {
            Ok((it.name.clone(), Client::new(it.endpoint.clone(), None)?))
        };
        let members: Vec<_> = args.members.iter().map(client).collect::<Result<_, _>>()?;
        let age = clock::now().duration_since(args.origin);
        let origin = Duration::try_from(age)
            .ok()
            .and_then(|age| Instant::now().checked_sub(age))
            .ok_or(LoadError::Origin(args.origin))?;
        let looking = Looking::start(members.clone(), Seen::note_all);
        let spec = LoadSpec::with_seed(args.seed);
        let load = Load::start(members.clone(), spec, origin).await?;
        Ok(Self {
            load,
            looking,
            members,
            origin: args.origin,
            seed: args.seed,
        })
    }

    fn nanoseconds(&self, moment: Timestamp) -> u64 {
        u64::try_from(moment.duration_since(self.origin).as_nanos()).unwrap_or(0)
    }

    async fn pass(
        &self,
        from: Timestamp,
        to: Timestamp,
        runs: Version,
    ) -> Result<Witnessed, LoadError> {
        let checked = check(&self.members, Some(runs), NAMES).await;
        let evidence = self.load.checkpoint(None).await?;
        let gaps = evidence.record.gaps(Window {
            from: self.nanoseconds(from),
            to: self.nanoseconds(to),
        });
        let (findings, _) = judge(evidence).await?;
        let mut broken = checked.broken;
        broken.extend(findings.faults());
        Ok(Witnessed {
            gaps,
            leader_changes: self.looking.seen().leader_changes(from, to),
            hash_kv: checked.hash_kv,
            broken,
        })
    }

    async fn end(self) -> Result<(Account, Stopped), LoadError> {
        let evidence = self.load.stop(None).await?;
        let ended = clock::now();
        let checked = check(&self.members, None, NAMES).await;
        let (findings, evidence) = judge(evidence).await?;
        let seen = self.looking.seen();
        let since = |moment: Timestamp| {
            let since = moment.as_millisecond() - self.origin.as_millisecond();
            u64::try_from(since).unwrap_or(0)
        };
        let mut broken = findings.faults();
        let unread = findings.members_unread.iter();
        broken.extend(unread.map(|(member, why)| format!("{member} could not be read: {why}")));
        broken.extend(checked.broken);
        let gaps = &findings.writes.gaps;
        let account = Account {
            seed: self.seed,
            writes: report::Writes {
                acknowledged: findings.writes.acknowledged,
                lost: findings.writes.lost,
                longest_gap_ms: gaps.longest_gap_ms,
                gaps_over_100ms: gaps.gaps_over_100ms,
            },
            watch: (&findings).into(),
            linearizable: report::linearizable(&findings.linearizable),
            load: report::load(evidence.record.writers, &findings),
            hash_kv: checked.hash_kv,
            members: seen.lanes(&since, ended),
            leaders: seen.leaders(&since),
            series: findings
                .series
                .iter()
                .filter(|bucket| bucket.acknowledged > 0)
                .map(WriteBucket::from)
                .collect(),
            broken: broken.clone(),
        };
        let stopped = Stopped {
            evidence,
            broken,
            value_size: LoadSpec::with_seed(self.seed).value_size,
        };
        Ok((account, stopped))
    }
}

impl Stopped {
    /// What is wrong with another etcd at that revision, and not with the members.
    pub(super) async fn reread(self, other: &Client) -> Result<(Vec<String>, Self), LoadError> {
        let evidence = evidence::reread(self.evidence, other, self.value_size).await;
        let (findings, evidence) = judge(evidence).await?;
        let mut broken = findings.faults();
        let unread = findings.members_unread.values();
        broken.extend(unread.map(|why| format!("it could not be read: {why}")));
        broken.retain(|it| !self.broken.contains(it));
        Ok((broken, Self { evidence, ..self }))
    }
}

/// A second or so of pure work.
async fn judge(evidence: Evidence) -> Result<(Findings, Evidence), LoadError> {
    let judged = tokio::task::spawn_blocking(move || {
        let findings = evidence.judge(linearizability::BOUND);
        (findings, evidence)
    });
    Ok(judged.await?)
}
