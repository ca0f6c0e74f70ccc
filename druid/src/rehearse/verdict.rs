//! What it all adds up to: the outcome and the report.

use std::collections::BTreeMap;

use druid_core::make::Make;
use druid_core::member::MemberName;
use druid_core::observed::Process;
use druid_core::oracle::findings::{Findings, Record};
use druid_core::oracle::gaps::Window;
use druid_core::refusal::RefusalReport;
use druid_core::report::{self, LeaderChanges, Outcome, Pass, Report, Roll, Timeline, WriteBucket};
use druid_core::upgrade::Halt;
use druid_core::version::Version;
use jiff::Timestamp;

use super::pass::{PassEnd, demanded};
use super::wire::Kind;
use super::{Rehearsal, faults};
use crate::clock;
use crate::lab::events::{Cause, Event, What};

impl Rehearsal {
    /// The report.
    pub(super) fn report(&mut self, findings: &Findings, record: &Record) -> Report {
        self.judge_restarts();
        self.judge_processes();
        self.broken.extend(findings.faults());
        let unread = findings.members_unread.iter();
        self.broken
            .extend(unread.map(|(member, why)| format!("{member} could not be read: {why}")));
        let ended = clock::now();
        let (outcome, reason) = self.outcome();
        let seen = self.sampler.seen();
        let since = |moment| self.story.since(moment);
        let rolls: Vec<Roll> = self
            .passes
            .iter()
            .map(|done| self.roll(done, record))
            .collect();
        let changes = |pass| {
            let of = rolls.iter().filter(|roll| roll.direction == pass);
            of.map(|roll| roll.leader_changes).sum()
        };
        Report {
            druid: env!("CARGO_PKG_VERSION").to_owned(),
            outcome,
            reason,
            started: self.story.started,
            ended,
            from: self.args.from,
            to: self.args.to,
            faults: self
                .args
                .fault
                .iter()
                .map(|fault| fault.name().to_owned())
                .collect(),
            seed: self.seed,
            command: self.args.command(self.seed),
            steps: self.story.steps.clone(),
            writes: writes(findings, &rolls),
            watch: findings.into(),
            hash_kv: self.hash_kv.clone(),
            linearizable: report::linearizable(&findings.linearizable),
            leader_changes: LeaderChanges {
                upgrade: changes(Pass::Upgrade),
                rollback: changes(Pass::Rollback),
                upgrade_again: changes(Pass::UpgradeAgain),
            },
            members: self.members(),
            refusals: self.refusals(),
            snapshot: self.snapshot.clone(),
            source: self.source.clone(),
            warnings: self.warnings.clone(),
            rolls,
            load: report::load(record.writers, findings),
            durations: None,
            snapshots_taken: None,
            operator_writes: None,
            timeline: Timeline {
                members: seen.lanes(&since, ended),
                leaders: seen.leaders(&since),
                writes: findings.series.iter().map(WriteBucket::from).collect(),
                marks: self.story.marks.clone(),
            },
            log: self.story.log.clone(),
        }
    }

    /// The outcome, and why in one sentence.
    fn outcome(&self) -> (Outcome, String) {
        let (happened, reason) = match self.passes.last() {
            None => (Outcome::Failed, "no pass was begun".to_owned()),
            Some((_, _, end)) => (outcome(&end.kind), end.words.clone()),
        };
        let expected = faults::expected(&self.args.fault);
        if let Some(broken) = self.broken.first() {
            return (Outcome::Failed, broken.clone());
        }
        if happened != expected && !self.args.naive_roll {
            let reason = format!("it ended as {happened}, and should have as {expected}: {reason}");
            return (Outcome::Failed, reason);
        }
        match happened {
            Outcome::Passed => (
                happened,
                "every promise that was checked was kept".to_owned(),
            ),
            Outcome::Failed | Outcome::Refused | Outcome::Halted | Outcome::PutBack => {
                (happened, reason)
            }
        }
    }

    /// No member is restarted more than once in a pass, and none at all if it was refused or
    /// halted before the first one.
    fn judge_restarts(&mut self) {
        let events = self.host.lab.events();
        for (pass, _, end) in &self.passes {
            let mut restarts: BTreeMap<MemberName, usize> = BTreeMap::new();
            for member in demanded(&events, end.began, end.to) {
                *restarts.entry(member).or_default() += 1;
            }
            let allowed = match &end.kind {
                Kind::Refuses(_) | Kind::Halts(Halt::SnapshotFailed { .. }) => 0,
                Kind::Halts(Halt::PutBack { .. }) => 2,
                Kind::Done | Kind::Looks | Kind::Acts(_) | Kind::Waits { .. } | Kind::Halts(_) => 1,
            };
            let too_often = restarts.iter().filter(|(_, times)| **times > allowed);
            self.broken.extend(too_often.map(|(member, times)| {
                format!("{member} was restarted {times} times in the {pass}, allowed: {allowed}")
            }));
        }
    }

    /// After a put-back, every member runs what it ran.
    fn judge_processes(&mut self) {
        let put_back = |end: &PassEnd| matches!(&end.kind, Kind::Halts(Halt::PutBack { .. }));
        let Some((_, from, _)) = self.passes.last().filter(|(_, _, end)| put_back(end)) else {
            return;
        };
        for (name, process) in self.host.lab.processes() {
            let back = Make::plain(*from);
            if !matches!(&process, Process::Running { make, .. } if *make == back) {
                self.broken
                    .push(format!("{name} is not back on {from}: {process:?}"));
            }
        }
    }

    fn roll(&self, (pass, from, end): &(Pass, Version, PassEnd), record: &Record) -> Roll {
        let nanoseconds = |moment: Timestamp| {
            u64::try_from(moment.duration_since(self.story.started).as_nanos()).unwrap_or(0)
        };
        let window = Window {
            from: nanoseconds(end.from),
            to: nanoseconds(end.to),
        };
        let gaps = record.gaps(window);
        let to = match (pass, self.args.to, self.args.from) {
            (Pass::Rollback, _, old) => old,
            (Pass::Upgrade | Pass::UpgradeAgain, new, _) => new,
        };
        Roll {
            direction: *pass,
            from: *from,
            to,
            started_ms: self.story.since(end.from),
            duration_ms: self.story.since(end.to) - self.story.since(end.from),
            longest_gap_ms: gaps.longest_gap_ms,
            gaps_over_100ms: gaps.gaps_over_100ms,
            gap_total_ms: gaps.gaps_over_100ms_total_ms,
            leader_changes: self.sampler.seen().leader_changes(end.from, end.to),
            restarts: demanded(&self.host.lab.events(), end.began, end.to).len() as u64,
            partial: matches!(end.kind, Kind::Waits { .. }),
        }
    }

    fn members(&self) -> Vec<report::Member> {
        let events = self.host.lab.events();
        let of = |name: &MemberName| {
            let started: Vec<(Version, Cause)> = events
                .iter()
                .filter_map(|event| started(event, name))
                .collect();
            let mut versions: Vec<Version> = started.iter().map(|(version, _)| *version).collect();
            versions.dedup();
            let restarts = started
                .iter()
                .filter(|(_, cause)| *cause != Cause::Created)
                .count();
            report::Member {
                name: name.to_string(),
                versions,
                restarts: restarts as u64,
            }
        };
        self.host.clients.iter().map(|(name, _)| of(name)).collect()
    }

    fn refusals(&self) -> Vec<RefusalReport> {
        let refusals = self
            .passes
            .iter()
            .filter_map(|(_, _, end)| match &end.kind {
                Kind::Refuses(refusals) => Some(refusals.clone()),
                Kind::Halts(halt) => Some(vec![RefusalReport {
                    code: halt.code().to_owned(),
                    message: halt.to_string(),
                    remedy: halt.remedy(),
                    member: None,
                }]),
                Kind::Done | Kind::Looks | Kind::Acts(_) | Kind::Waits { .. } => None,
            });
        refusals.flatten().collect()
    }
}

fn writes(findings: &Findings, rolls: &[Roll]) -> report::Writes {
    let in_rolls = rolls.iter().map(|roll| roll.longest_gap_ms).max();
    report::Writes {
        acknowledged: findings.writes.acknowledged,
        lost: findings.writes.lost,
        longest_gap_ms: in_rolls.unwrap_or(findings.writes.gaps.longest_gap_ms),
        gaps_over_100ms: rolls.iter().map(|roll| roll.gaps_over_100ms).sum(),
    }
}

fn started(event: &Event, name: &MemberName) -> Option<(Version, Cause)> {
    match &event.what {
        What::Started {
            member,
            version,
            cause,
            ..
        } if member == name => Some((*version, *cause)),
        What::Started { .. }
        | What::Stopped { .. }
        | What::Exited { .. }
        | What::TemplateSet { .. } => None,
    }
}

fn outcome(kind: &Kind) -> Outcome {
    match kind {
        Kind::Done | Kind::Waits { .. } => Outcome::Passed,
        Kind::Refuses(_) => Outcome::Refused,
        Kind::Halts(Halt::PutBack { .. }) => Outcome::PutBack,
        Kind::Halts(_) => Outcome::Halted,
        Kind::Looks | Kind::Acts(_) => Outcome::Failed,
    }
}
