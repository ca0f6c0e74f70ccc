//! Who answered, on which release, and who led: looked at from outside, ten times a second.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use druid_core::member::{MemberId, MemberName};
use druid_core::report::{Lane, LeaderSince, Span, UpDown};
use druid_core::version::Version;
use jiff::Timestamp;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::clock;
use crate::etcd::{Client, MemberStatus};

/// How often the members are asked.
const PERIOD: Duration = Duration::from_millis(100);
/// How long one may take to answer.
const DEADLINE: Duration = Duration::from_millis(400);

/// What has been seen so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// The changes of each member, in order of names.
    members: Vec<(MemberName, Vec<Change>)>,
    /// Who led from when on.
    leaders: Vec<(Timestamp, Option<MemberName>)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Change {
    at: Timestamp,
    version: Option<Version>,
    up: bool,
}

/// The task that looks. Ends when dropped.
pub(crate) struct Looking {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Drop for Looking {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Looking {
    /// Asks until it is dropped, and has written down what was answered.
    pub(crate) fn start(
        clients: Vec<(MemberName, Client)>,
        mut note: impl FnMut(&mut Seen, Timestamp, &Answers) + Send + 'static,
    ) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let written = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(PERIOD);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            loop {
                ticks.tick().await;
                let answers = ask_all(&clients).await;
                let mut seen = written.lock().unwrap_or_else(PoisonError::into_inner);
                note(&mut seen, clock::now(), &answers);
            }
        });
        Self { seen, task }
    }

    /// A copy of what has been seen so far.
    pub(crate) fn seen(&self) -> Seen {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// What each member answered, in order of names; nothing if it did not.
pub(crate) type Answers = Vec<(MemberName, Option<MemberStatus>)>;

async fn ask_all(clients: &[(MemberName, Client)]) -> Answers {
    let asked: Vec<_> = clients
        .iter()
        .map(|(name, client)| {
            let client = client.clone();
            (
                name.clone(),
                tokio::spawn(async move { client.status(DEADLINE).await.ok() }),
            )
        })
        .collect();
    let mut answers = Vec::with_capacity(asked.len());
    for (name, answer) in asked {
        answers.push((name, answer.await.ok().flatten()));
    }
    answers
}

/// Who leads: the one that a majority names in the highest term.
pub(crate) fn leader(answers: &Answers) -> Option<&MemberName> {
    let statuses = || answers.iter().filter_map(|(_, status)| status.as_ref());
    let term = statuses().map(|status| status.term).max()?;
    let named: Vec<MemberId> = statuses()
        .filter(|status| status.term == term)
        .map(|status| status.leader)
        .collect();
    let leads = |id: MemberId| {
        id != MemberId::NOBODY
            && named.iter().filter(|named| **named == id).count() > answers.len() / 2
    };
    let (name, _) = answers
        .iter()
        .find(|(_, status)| status.as_ref().is_some_and(|status| leads(status.id)))?;
    Some(name)
}

impl Seen {
    /// What they answered, where nothing else is known of their processes: one that does not answer
    /// is taken for the release that it ran last.
    pub(crate) fn note_all(&mut self, at: Timestamp, answers: &Answers) {
        for (name, answer) in answers {
            let says = answer.as_ref().and_then(|it| it.version.parse().ok());
            let version = says.or_else(|| self.version(name));
            self.note(at, name, version, answer.is_some());
        }
        self.note_leader(at, answers);
    }

    fn version(&self, name: &MemberName) -> Option<Version> {
        let (_, changes) = self.members.iter().find(|(known, _)| known == name)?;
        changes.last()?.version
    }

    /// What a member runs, or is started as, and whether it answers.
    pub(crate) fn note(
        &mut self,
        at: Timestamp,
        name: &MemberName,
        version: Option<Version>,
        up: bool,
    ) {
        let change = Change { at, version, up };
        let Some((_, changes)) = self.members.iter_mut().find(|(known, _)| known == name) else {
            self.members.push((name.clone(), vec![change]));
            return;
        };
        let same = |last: &Change| last.version == change.version && last.up == change.up;
        if !changes.last().is_some_and(same) {
            changes.push(change);
        }
    }

    /// Who leads now.
    pub(crate) fn note_leader(&mut self, at: Timestamp, answers: &Answers) {
        let leader = leader(answers).cloned();
        if self.leaders.last().is_none_or(|(_, last)| *last != leader) {
            self.leaders.push((at, leader));
        }
    }

    /// How often somebody else came to lead in a time. A moment without a leader is no change.
    pub(crate) fn leader_changes(&self, from: Timestamp, to: Timestamp) -> u64 {
        let known = self
            .leaders
            .iter()
            .filter_map(|(at, leader)| Some((*at, leader.as_ref()?)));
        let (before, within): (Vec<_>, Vec<_>) = known
            .filter(|(at, _)| *at < to)
            .partition(|(at, _)| *at < from);
        let mut last = before.last().map(|(_, leader)| *leader);
        let mut changes = 0;
        for (_, leader) in within {
            if last.is_some_and(|last| last != leader) {
                changes += 1;
            }
            last = Some(leader);
        }
        changes
    }

    /// The timeline, with times in milliseconds since the start.
    pub(crate) fn lanes(&self, since: &impl Fn(Timestamp) -> u64, end: Timestamp) -> Vec<Lane> {
        let lane = |(name, changes): &(MemberName, Vec<Change>)| {
            let ends = changes.iter().skip(1).map(|change| change.at).chain([end]);
            let span = |(change, ends): (&Change, Timestamp)| {
                Some(Span {
                    version: change.version?,
                    state: if change.up { UpDown::Up } else { UpDown::Down },
                    from_ms: since(change.at),
                    to_ms: since(ends),
                })
            };
            Lane {
                name: name.to_string(),
                spans: changes.iter().zip(ends).filter_map(span).collect(),
            }
        };
        self.members.iter().map(lane).collect()
    }

    /// Who led from when on.
    pub(crate) fn leaders(&self, since: &impl Fn(Timestamp) -> u64) -> Vec<LeaderSince> {
        self.leaders
            .iter()
            .map(|(at, leader)| LeaderSince {
                at_ms: since(*at),
                member: leader.as_ref().map(ToString::to_string),
            })
            .collect()
    }
}
