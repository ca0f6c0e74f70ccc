//! The demo of an upgrade on Kubernetes: what is said between it and its load, and the report that
//! its witnesses add up to. The load is one of them; the API server and its log are the others.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::oracle::gaps::Gaps;
use crate::report::{
    Durations, HashKv, Lane, LeaderChanges, LeaderSince, Load, LogLine, Mark, Member,
    OperatorWrites, Outcome, Pass, Report, Roll, Seconds, Snapshot, Step, Timeline, Watch,
    WriteBucket, Writes,
};
use crate::version::Version;

/// A line to the load, in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// Begin.
    Start,
    /// A pass over the members is over. What did you see, and are they well?
    Pass {
        /// When it began.
        from: Timestamp,
        /// When it ended.
        to: Timestamp,
        /// What all members should run now.
        runs: Version,
    },
    /// Stop, and say what it all came to.
    End,
    /// The same, and stay for [`Ask::Reread`].
    Stop,
    /// Does this etcd, which was made from the backups since, hold what was acknowledged?
    Reread {
        /// Where it serves.
        url: String,
    },
}

/// A line from the load, in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// Clients are at work.
    Started,
    /// The answer to [`Ask::Pass`].
    Passed(Box<Witnessed>),
    /// The answer to [`Ask::End`] and [`Ask::Stop`].
    Ended(Box<Account>),
    /// The answer to [`Ask::Reread`]: everything that must not be, in words.
    Reread(Vec<String>),
    /// It could not go on; the last answer too.
    Failed(String),
}

/// What clients saw of a pass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witnessed {
    /// How long writing stood still.
    pub gaps: Gaps,
    /// How often another member became leader.
    pub leader_changes: u64,
    /// The comparison of all members' data after it.
    pub hash_kv: HashKv,
    /// Everything that must not be, in words.
    pub broken: Vec<String>,
}

/// What a load came to. Times called `..._ms` count from the beginning of the demo.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// What its choices followed from.
    pub seed: u64,
    /// Its writes; gaps are those of the whole time.
    pub writes: Writes,
    /// Its watchers.
    pub watch: Watch,
    /// Whether its history is linearizable, if that could be decided.
    pub linearizable: Option<bool>,
    /// What it did.
    pub load: Load,
    /// The comparison of all members' data, when nothing was written any more.
    pub hash_kv: HashKv,
    /// What members ran, and when they answered.
    pub members: Vec<Lane>,
    /// Who led from when on.
    pub leaders: Vec<LeaderSince>,
    /// Writes over time.
    pub series: Vec<WriteBucket>,
    /// Everything that must not be, in words.
    pub broken: Vec<String>,
}

/// A pass as everybody saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// Which.
    pub pass: Pass,
    /// From this release.
    pub from: Version,
    /// To this release.
    pub to: Version,
    /// The moment before the feature gate was switched.
    pub switched: Timestamp,
    /// When the status of the Etcd said that it was done.
    pub done: Timestamp,
    /// What clients saw.
    pub seen: Witnessed,
    /// How often each member's pod was replaced, or a container in it started again.
    pub restarts: BTreeMap<String, u64>,
    /// What the operator wrote, if somebody counted; see [`OperatorWrites`].
    pub operator_writes: Option<BTreeMap<String, u64>>,
    /// Full snapshots that were taken for it.
    pub snapshots: u64,
}

/// Everything that a demo saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The release of druid.
    pub druid: String,
    /// What does the same again.
    pub command: String,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// From the Etcd given to the API server to all members ready, milliseconds.
    pub create_ms: u64,
    /// Both passes.
    pub passes: Vec<Passed>,
    /// The verified snapshot.
    pub snapshot: Option<Snapshot>,
    /// What the load came to.
    pub account: Account,
    /// What was done.
    pub steps: Vec<Step>,
    /// Moments worth a name.
    pub marks: Vec<Mark>,
    /// What was said.
    pub log: Vec<LogLine>,
}

/// Everything that must not be, in words; empty if every promise was kept. What an operator writes
/// is told, and no promise.
pub fn broken(facts: &Facts) -> Vec<String> {
    let mut broken = Vec::new();
    for passed in &facts.passes {
        let Passed {
            pass,
            seen,
            restarts,
            ..
        } = passed;
        broken.extend(seen.broken.iter().map(|it| format!("{pass}: {it}")));
        if seen.hash_kv.equal != Some(true) {
            broken.push(format!("{pass}: the members' data was not found equal"));
        }
        if seen.leader_changes != 1 {
            let changes = seen.leader_changes;
            broken.push(format!(
                "{pass}: the leader changed {changes} times, not once"
            ));
        }
        for (member, restarts) in restarts.iter().filter(|(_, restarts)| **restarts != 1) {
            broken.push(format!(
                "{pass}: {member} was restarted {restarts} times, not once"
            ));
        }
        let expected = u64::from(*pass != Pass::Rollback);
        if passed.snapshots != expected {
            let taken = passed.snapshots;
            broken.push(format!(
                "{pass}: {taken} snapshots were taken, not {expected}"
            ));
        }
    }
    broken.extend(facts.account.broken.iter().cloned());
    if facts.account.hash_kv.equal != Some(true) {
        broken.push("the members' data was not found equal in the end".to_owned());
    }
    broken
}

/// The report.
pub fn report(facts: Facts) -> Report {
    let broken = broken(&facts);
    let (outcome, reason) = match broken.first() {
        None => {
            let reason = "every promise that was checked was kept".to_owned();
            (Outcome::Passed, reason)
        }
        Some(first) => (Outcome::Failed, first.clone()),
    };
    let since = |moment: Timestamp| milliseconds(facts.started, moment);
    let rolls: Vec<Roll> = facts.passes.iter().map(|it| roll(it, &since)).collect();
    let of = |pass| facts.passes.iter().find(move |it| it.pass == pass);
    let took = |pass| of(pass).map_or(0, |it| milliseconds(it.switched, it.done));
    let wrote =
        |pass| of(pass).map_or_else(|| Some(BTreeMap::new()), |it| it.operator_writes.clone());
    let wrote = wrote(Pass::Upgrade).zip(wrote(Pass::Rollback));
    let changes = |pass| of(pass).map_or(0, |it| it.seen.leader_changes);
    let (first, last) = (facts.passes.first(), of(Pass::Upgrade));
    let unknown = Version::new(0, 0, 0);
    Report {
        druid: facts.druid.clone(),
        outcome,
        reason,
        started: facts.started,
        ended: facts.ended,
        from: first.map_or(unknown, |it| it.from),
        to: last.map_or(unknown, |it| it.to),
        faults: Vec::new(),
        seed: facts.account.seed,
        command: facts.command.clone(),
        steps: facts.steps.clone(),
        writes: Writes {
            longest_gap_ms: rolls.iter().map(|it| it.longest_gap_ms).max().unwrap_or(0),
            gaps_over_100ms: rolls.iter().map(|it| it.gaps_over_100ms).sum(),
            ..facts.account.writes.clone()
        },
        watch: facts.account.watch.clone(),
        hash_kv: facts.account.hash_kv.clone(),
        linearizable: facts.account.linearizable,
        leader_changes: LeaderChanges {
            upgrade: changes(Pass::Upgrade),
            rollback: changes(Pass::Rollback),
            upgrade_again: 0,
        },
        members: members(&facts),
        refusals: Vec::new(),
        snapshot: facts.snapshot.clone(),
        source: None,
        warnings: Vec::new(),
        load: facts.account.load.clone(),
        durations: Some(Durations {
            create: seconds(facts.create_ms),
            upgrade: seconds(took(Pass::Upgrade)),
            rollback: seconds(took(Pass::Rollback)),
        }),
        snapshots_taken: Some(facts.passes.iter().map(|it| it.snapshots).sum()),
        operator_writes: wrote.map(|(upgrade, rollback)| OperatorWrites { upgrade, rollback }),
        rolls,
        timeline: Timeline {
            members: facts.account.members.clone(),
            leaders: facts.account.leaders.clone(),
            writes: facts.account.series.clone(),
            marks: facts.marks,
        },
        log: facts.log,
    }
}

fn members(facts: &Facts) -> Vec<Member> {
    let member = |lane: &Lane| {
        let mut versions: Vec<_> = lane.spans.iter().map(|span| span.version).collect();
        versions.dedup();
        let restarts = facts
            .passes
            .iter()
            .filter_map(|it| it.restarts.get(&lane.name));
        Member {
            name: lane.name.clone(),
            versions,
            restarts: restarts.sum(),
        }
    };
    facts.account.members.iter().map(member).collect()
}

fn roll(passed: &Passed, since: &impl Fn(Timestamp) -> u64) -> Roll {
    let gaps = &passed.seen.gaps;
    Roll {
        direction: passed.pass,
        from: passed.from,
        to: passed.to,
        started_ms: since(passed.switched),
        duration_ms: milliseconds(passed.switched, passed.done),
        longest_gap_ms: gaps.longest_gap_ms,
        gaps_over_100ms: gaps.gaps_over_100ms,
        gap_total_ms: gaps.gaps_over_100ms_total_ms,
        leader_changes: passed.seen.leader_changes,
        restarts: passed.restarts.values().sum(),
        partial: false,
    }
}

fn milliseconds(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.as_millisecond() - from.as_millisecond()).unwrap_or(0)
}

fn seconds(ms: u64) -> Seconds {
    Seconds {
        ms: u32::try_from(ms).unwrap_or(u32::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Span, UpDown};

    const OLD: Version = Version::new(3, 4, 34);
    const NEW: Version = Version::new(3, 5, 27);

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(1_795_000_000_000 + ms).unwrap()
    }

    fn passed(pass: Pass, from: Version, to: Version, began: i64) -> Passed {
        Passed {
            pass,
            from,
            to,
            switched: at(began),
            done: at(began + 9_250),
            seen: Witnessed {
                gaps: Gaps {
                    longest_gap_ms: 41,
                    ..Gaps::default()
                },
                leader_changes: 1,
                hash_kv: HashKv {
                    revision: Some(7),
                    equal: Some(true),
                },
                broken: Vec::new(),
            },
            restarts: [("main-0".to_owned(), 1)].into(),
            operator_writes: Some([("patch etcds/status".to_owned(), 9)].into()),
            snapshots: u64::from(pass == Pass::Upgrade),
        }
    }

    fn facts() -> Facts {
        let span = |version, from_ms| Span {
            version,
            state: UpDown::Up,
            from_ms,
            to_ms: from_ms + 1,
        };
        Facts {
            druid: "0.1.0".to_owned(),
            command: "cargo xtask demo upgrade".to_owned(),
            started: at(0),
            ended: at(60_000),
            create_ms: 4_001,
            passes: vec![
                passed(Pass::Upgrade, OLD, NEW, 10_000),
                passed(Pass::Rollback, NEW, OLD, 30_000),
            ],
            snapshot: None,
            account: Account {
                hash_kv: HashKv {
                    revision: Some(9),
                    equal: Some(true),
                },
                linearizable: Some(true),
                members: vec![Lane {
                    name: "main-0".to_owned(),
                    spans: vec![span(OLD, 0), span(NEW, 1), span(NEW, 2), span(OLD, 3)],
                }],
                ..Account::default()
            },
            steps: Vec::new(),
            marks: Vec::new(),
            log: Vec::new(),
        }
    }

    #[test]
    fn a_demo_that_kept_all_promises_has_passed() {
        let report = report(facts());
        assert_eq!(report.outcome, Outcome::Passed, "{}", report.reason);
        assert_eq!(report.broken_promises(), [""; 0]);
        assert_eq!(report.members[0].versions, [OLD, NEW, OLD]);
        assert_eq!(report.members[0].restarts, 2);
        assert_eq!((report.from, report.to), (OLD, NEW));
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["durations"]["create"], 4.001);
        assert_eq!(json["durations"]["upgrade"], 9.25);
        assert_eq!(json["snapshots_taken"], 1);
        assert_eq!(json["writes"]["longest_gap_ms"], 41);
        assert_eq!(json["operator_writes"]["upgrade"]["patch etcds/status"], 9);
        assert_eq!(serde_json::from_value::<Report>(json).unwrap(), report);
    }

    #[test]
    fn each_promise_that_was_broken_is_told() {
        type Break = fn(&mut Facts);
        let table: &[(Break, &str)] = &[
            (
                |it| it.passes[0].seen.leader_changes = 2,
                "upgrade: the leader changed 2 times, not once",
            ),
            (
                |it| it.passes[1].seen.leader_changes = 0,
                "rollback: the leader changed 0 times, not once",
            ),
            (
                |it| *it.passes[0].restarts.get_mut("main-0").unwrap() = 2,
                "upgrade: main-0 was restarted 2 times, not once",
            ),
            (
                |it| it.passes[0].snapshots = 0,
                "upgrade: 0 snapshots were taken, not 1",
            ),
            (
                |it| it.passes[1].snapshots = 1,
                "rollback: 1 snapshots were taken, not 0",
            ),
            (
                |it| it.passes[0].seen.hash_kv.equal = None,
                "upgrade: the members' data was not found equal",
            ),
            (
                |it| it.account.hash_kv.equal = Some(false),
                "the members' data was not found equal in the end",
            ),
            (
                |it| it.account.broken.push("lost: one".to_owned()),
                "lost: one",
            ),
        ];
        for (damage, expected) in table {
            let mut facts = facts();
            damage(&mut facts);
            assert_eq!(broken(&facts), [*expected]);
            assert_eq!(report(facts).outcome, Outcome::Failed);
        }
    }
}
