//! What a rehearsal found: the types of `report.json`, and the verdict that they add up to.
//! Names of fields are a contract with the programs that read the file; fields are only added.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::linearizability::Verdict;
use crate::oracle::findings::Findings;
use crate::oracle::gaps::Bucket;
use crate::refusal::RefusalReport;
use crate::version::Version;

/// `report.json`. Times called `..._ms` count from `started`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The release of druid that made it.
    pub druid: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it ended so: one sentence.
    pub reason: String,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// The release that the cluster was on.
    pub from: Version,
    /// The release that it was to go to.
    pub to: Version,
    /// The faults that were injected, by their names.
    pub faults: Vec<String>,
    /// What every random choice was made from.
    pub seed: u64,
    /// The command line that does the same again.
    pub command: String,
    /// What was done, in order.
    pub steps: Vec<Step>,
    /// The writes.
    pub writes: Writes,
    /// The watch stream.
    pub watch: Watch,
    /// The last comparison of all members' data.
    pub hash_kv: HashKv,
    /// Whether a single, never interrupted store could have given every answer that was given;
    /// `None` if that could not be decided.
    pub linearizable: Option<bool>,
    /// How often the leader changed.
    pub leader_changes: LeaderChanges,
    /// The members, by name.
    pub members: Vec<Member>,
    /// Why it was refused.
    pub refusals: Vec<RefusalReport>,
    /// The snapshot that was taken before the first roll, once it was verified.
    #[serde(default)]
    pub snapshot: Option<Snapshot>,
    /// What it was held on; `None` for data of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// What does not forbid the upgrade, and should be looked after all the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
    /// Each pass over the members.
    pub rolls: Vec<Roll>,
    /// Under what load.
    pub load: Load,
    /// How long it took, where an operator did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durations: Option<Durations>,
    /// How many snapshots were taken for it, where an operator did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshots_taken: Option<u64>,
    /// What the operator wrote to the API server for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator_writes: Option<OperatorWrites>,
    /// What happened when.
    pub timeline: Timeline,
    /// What was said meanwhile.
    pub log: Vec<LogLine>,
}

/// How a rehearsal ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Everything that was asked for was done, and nothing was lost.
    Passed,
    /// A promise was broken.
    Failed,
    /// The preflight said no; no member was restarted.
    Refused,
    /// It stopped before the first member, for a person to decide.
    Halted,
    /// The new release did not run; the member that tried it is back on the old one.
    PutBack,
}

/// One thing that was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What.
    pub name: String,
    /// How it ended.
    pub result: StepResult,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// What was found, in one clause; empty if there is nothing to say.
    #[serde(default)]
    pub detail: String,
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepResult {
    /// Well.
    Passed,
    /// It broke a promise, or could not be done.
    Failed,
    /// It said no.
    Refused,
    /// It stopped for a person to decide.
    Halted,
    /// It went back.
    PutBack,
    /// It was not asked for, or what came before it forbade it.
    Skipped,
}

/// The writes of all writers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writes {
    /// Those that etcd said were done.
    pub acknowledged: u64,
    /// Acknowledged ones that were not there, or had another value, in the end.
    pub lost: u64,
    /// The longest time in which no writer had a write acknowledged, in all rolls.
    pub longest_gap_ms: u64,
    /// How many such times were longer than 100 ms.
    pub gaps_over_100ms: u64,
}

/// The watch stream, put together over its reconnects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// Events that came.
    pub events: u64,
    /// Events that should have come.
    pub missing: u64,
    /// Events that came again.
    pub duplicated: u64,
}

/// The comparison of all members' data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashKv {
    /// The revision that they were compared at; `None` if they never were.
    pub revision: Option<i64>,
    /// Whether they were equal; `None` if nobody can tell.
    pub equal: Option<bool>,
}

/// How often another member became leader.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderChanges {
    /// On the way up.
    pub upgrade: u64,
    /// On the way back.
    pub rollback: u64,
    /// On the way up again.
    #[serde(default)]
    pub upgrade_again: u64,
}

/// A member of the throwaway cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// The releases that it ran, in order.
    pub versions: Vec<Version>,
    /// How often its process was started again, by us or by itself.
    pub restarts: u64,
}

/// A verified snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The last revision in it.
    pub revision: i64,
    /// Its size.
    pub bytes: u64,
    /// Its digest, in hexadecimal.
    pub sha256: String,
}

/// The backup that a rehearsal was held on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Where it is.
    pub store: String,
    /// The full snapshot.
    pub base: String,
    /// How many deltas were replayed on it.
    pub deltas: u64,
    /// The revision of what was restored.
    pub revision: i64,
    /// The keys that live at it.
    pub keys: u64,
    /// The size of the database that the full snapshot was taken of, bytes.
    pub database_bytes: u64,
    /// What of that was in use.
    pub bytes_in_use: u64,
    /// The size of the restored database, bytes.
    pub restored_bytes: u64,
    /// How long the restore took, for one member.
    pub restore_ms: u64,
    /// The comparison of its keys at the end of each pass with those at the start.
    pub survived: Survived,
}

/// Whether the keys of a backup are as they were, those aside that have a lease, which may expire.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survived {
    /// How many there were at the start.
    pub keys: u64,
    /// The SHA-256 of them with their values and revisions, in hexadecimal.
    pub sha256: String,
    /// How often they were compared.
    pub checks: u64,
    /// Whether they were the same each time; `None` if they were never compared.
    pub same: Option<bool>,
}

/// Something to look after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// A stable name.
    pub code: String,
    /// What was found.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

/// One pass over the members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roll {
    /// Which.
    pub direction: Pass,
    /// From this release.
    pub from: Version,
    /// To this release.
    pub to: Version,
    /// When it began.
    pub started_ms: u64,
    /// How long it took, from its first act to the last member healthy.
    pub duration_ms: u64,
    /// The longest time without an acknowledged write.
    pub longest_gap_ms: u64,
    /// How many such times were longer than 100 ms.
    pub gaps_over_100ms: u64,
    /// The sum of those.
    pub gap_total_ms: u64,
    /// How often another member became leader.
    pub leader_changes: u64,
    /// How often a member was restarted.
    pub restarts: u64,
    /// Set if it stopped on the way, as it was asked to (`--hold-last`, `--pause-after`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
}

/// Which pass over the members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pass {
    /// The first way up.
    Upgrade,
    /// The way back.
    Rollback,
    /// The second way up: what was taken back can be upgraded again.
    UpgradeAgain,
}

/// What was done to the cluster meanwhile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Writers at work.
    pub writers: u64,
    /// Linearizable reads that were answered.
    pub reads: u64,
    /// Writes that failed in a way that does not say whether they were done. The check allows
    /// both, and counts each as neither acknowledged nor lost.
    pub ambiguous_writes: u64,
    /// The longest time that one writer waited for one write.
    pub longest_stall_ms: u64,
}

/// How long an operator took. Seconds, to the millisecond.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Durations {
    /// From the Etcd given to the API server to all its members ready.
    pub create: Seconds,
    /// From the feature gate switched on to the upgrade done, in the status of the Etcd.
    pub upgrade: Seconds,
    /// From the feature gate switched off to the rollback done.
    pub rollback: Seconds,
}

/// A time, held in milliseconds and written in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "f64", into = "f64")]
pub struct Seconds {
    /// Milliseconds.
    pub ms: u32,
}

impl From<Seconds> for f64 {
    fn from(seconds: Seconds) -> Self {
        Self::from(seconds.ms) / 1000.0
    }
}

impl From<f64> for Seconds {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast ends at the bounds, and no time of ours is there"
    )]
    fn from(seconds: f64) -> Self {
        let ms = (seconds * 1000.0).round() as u32;
        Self { ms }
    }
}

/// Requests of the operator that create, change or delete something of the Etcd, by what they were:
/// `patch etcds/status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorWrites {
    /// On the way up.
    pub upgrade: BTreeMap<String, u64>,
    /// On the way back.
    pub rollback: BTreeMap<String, u64>,
}

/// What happened when.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeline {
    /// What each member ran.
    pub members: Vec<Lane>,
    /// Who led from when on.
    pub leaders: Vec<LeaderSince>,
    /// Writes per 100 ms; a bucket without any may be left out.
    pub writes: Vec<WriteBucket>,
    /// Moments worth a name.
    pub marks: Vec<Mark>,
}

/// What one member ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lane {
    /// Its name.
    pub name: String,
    /// In order, without overlap.
    pub spans: Vec<Span>,
}

/// A time in which a member's state did not change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The release that it ran, or was being started as.
    pub version: Version,
    /// Whether it answered.
    pub state: UpDown,
    /// From when.
    pub from_ms: u64,
    /// Until when.
    pub to_ms: u64,
}

/// Whether a member answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpDown {
    /// It does.
    Up,
    /// It does not.
    Down,
}

/// A member that leads from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderSince {
    /// From when.
    pub at_ms: u64,
    /// Who; `None` while nobody leads.
    pub member: Option<String>,
}

/// The writes that were acknowledged within [`WriteBucket::WIDTH_MS`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteBucket {
    /// Its beginning.
    pub at_ms: u64,
    /// How many.
    pub count: u64,
    /// What the slowest of them took.
    pub max_latency_ms: u64,
}

impl WriteBucket {
    /// How long a bucket is.
    pub const WIDTH_MS: u64 = 100;
}

/// A moment worth a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// When.
    pub at_ms: u64,
    /// What happened.
    pub label: String,
}

/// Something that was said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When.
    pub at_ms: u64,
    /// What.
    pub text: String,
}

impl From<&Findings> for Watch {
    fn from(findings: &Findings) -> Self {
        Self {
            events: findings.watch.events,
            missing: findings.watch.missing,
            duplicated: findings.watch.duplicated,
        }
    }
}

impl From<&Bucket> for WriteBucket {
    fn from(bucket: &Bucket) -> Self {
        Self {
            at_ms: bucket.at_ms,
            count: u64::from(bucket.acknowledged),
            max_latency_ms: bucket.max_latency_us.div_ceil(1000),
        }
    }
}

/// [`Report::linearizable`] of a verdict.
pub fn linearizable(verdict: &Verdict) -> Option<bool> {
    match verdict {
        Verdict::Linearizable => Some(true),
        Verdict::NotLinearizable(_) => Some(false),
        Verdict::Undecided { .. } => None,
    }
}

/// The load of a record.
pub fn load(writers: u16, findings: &Findings) -> Load {
    Load {
        writers: u64::from(writers),
        reads: findings.reads.answered,
        ambiguous_writes: findings.writes.ambiguous,
        longest_stall_ms: findings.writes.gaps.longest_stall_ms,
    }
}

impl Outcome {
    /// What `druid rehearse` exits with. 1 is for a rehearsal that could not be held at all.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Passed => 0,
            Self::Failed => 2,
            Self::Refused => 3,
            Self::Halted | Self::PutBack => 4,
        }
    }

    /// What it means for the cluster that the rehearsal stands for.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Passed => {
                "With this data and load, the upgrade and the way back can be expected to go the \
                 same way in production."
            }
            Self::Failed => {
                "Do not upgrade production: with these releases, this data and this load, a \
                 promise did not hold."
            }
            Self::Refused => {
                "A cluster in this state is not upgraded; nothing was restarted. Repair what is \
                 named below, then rehearse again."
            }
            Self::Halted => {
                "The safeguard held: no member was touched. In production, the upgrade would wait \
                 like this for a person to decide."
            }
            Self::PutBack => {
                "The safeguard held: one member tried the new release and was put back. In \
                 production, the cluster would be on the old release, and serving."
            }
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Halted => "halted",
            Self::PutBack => "put back",
        })
    }
}

impl fmt::Display for StepResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Halted => "halted",
            Self::PutBack => "put back",
            Self::Skipped => "skipped",
        })
    }
}

impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Upgrade => "upgrade",
            Self::Rollback => "rollback",
            Self::UpgradeAgain => "upgrade again",
        })
    }
}

impl Report {
    /// The promises that the recorded facts break, whatever was hoped for: empty if none.
    pub fn broken_promises(&self) -> Vec<String> {
        let mut broken = Vec::new();
        if self.writes.lost > 0 {
            broken.push(format!(
                "{} of {} acknowledged writes were lost",
                self.writes.lost, self.writes.acknowledged
            ));
        }
        if self.watch.missing > 0 {
            broken.push(format!("the watch missed {} events", self.watch.missing));
        }
        if self.watch.duplicated > 0 {
            broken.push(format!(
                "the watch saw {} events twice",
                self.watch.duplicated
            ));
        }
        // A preflight that finds members to differ and refuses has kept its promise.
        if self.hash_kv.equal == Some(false) && self.outcome != Outcome::Refused {
            broken.push("the members do not hold the same data".to_owned());
        }
        let survived = self.source.as_ref().and_then(|it| it.survived.same);
        if survived == Some(false) {
            broken.push("the keys of the backup are not as they were".to_owned());
        }
        if self.linearizable == Some(false) {
            broken.push("the recorded history is not linearizable".to_owned());
        }
        broken.extend(
            self.steps
                .iter()
                .filter(|step| step.result == StepResult::Failed)
                .map(|step| match step.detail.as_str() {
                    "" => format!("the step \"{}\" failed", step.name),
                    detail => format!("the step \"{}\" failed: {detail}", step.name),
                }),
        );
        broken
    }

    /// The verdict in one sentence: what was rehearsed, on how many members, with what result.
    pub fn verdict(&self) -> String {
        let members = match self.members.len() {
            1 => "a cluster of 1 member".to_owned(),
            n => format!("a cluster of {n} members"),
        };
        let last = self.rolls.last();
        let (from, to) = last.map_or((self.from, self.to), |roll| (roll.from, roll.to));
        match self.outcome {
            Outcome::Passed => format!(
                "Passed: {members} went {} under load, and no acknowledged write was lost.",
                self.route()
            ),
            Outcome::Failed => {
                format!("Failed: taking {members} from {from} to {to} broke a promise.")
            }
            Outcome::Refused => {
                format!("Refused: {members} may not go from {from} to {to} as it is.")
            }
            Outcome::Halted => format!(
                "Halted: taking {members} from {from} to {to} stopped before the first member, as \
                 promised."
            ),
            Outcome::PutBack => format!(
                "Put back: {to} did not run, and {members} is on {from} and healthy, as promised."
            ),
        }
    }

    /// The releases that the cluster went through.
    pub fn route(&self) -> String {
        let first = self.rolls.first().map_or(self.from, |roll| roll.from);
        self.rolls.iter().fold(first.to_string(), |route, roll| {
            let partial = if roll.partial { " (in part)" } else { "" };
            format!("{route} \u{2192} {}{partial}", roll.to)
        })
    }

    /// A moment of it as milliseconds since it began; earlier moments count as the beginning.
    pub fn since_start_ms(&self, moment: Timestamp) -> u64 {
        let since = moment.as_millisecond() - self.started.as_millisecond();
        u64::try_from(since).unwrap_or(0)
    }

    /// How long it took.
    pub fn duration_ms(&self) -> u64 {
        self.since_start_ms(self.ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = include_str!("../tests/golden/report.json");

    fn small() -> Report {
        serde_json::from_str(SMALL).unwrap()
    }

    fn source() -> Source {
        let json = r#"{"store":"/backups","base":"v2/Full-00000000-00000101-1795355041.gz",
            "deltas":1,"revision":102,"keys":100,"database_bytes":1048576,"bytes_in_use":65536,
            "restored_bytes":131072,"restore_ms":41,
            "survived":{"keys":99,"sha256":"00","checks":3,"same":true}}"#;
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_backup_that_survived_breaks_no_promise_and_keeps_its_names() {
        let mut report = small();
        report.source = Some(source());
        report.warnings = vec![crate::warnings::Warning::MetricsRemoved.report()];
        assert_eq!(report.broken_promises(), Vec::<String>::new());
        let written = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&written).unwrap(), report);
    }

    #[test]
    fn the_file_keeps_its_names() {
        let written = serde_json::to_string_pretty(&small()).unwrap() + "\n";
        assert_eq!(written, SMALL);
    }

    #[test]
    fn a_clean_run_breaks_no_promise_and_says_its_route() {
        assert_eq!(small().broken_promises(), Vec::<String>::new());
        assert_eq!(
            small().verdict(),
            "Passed: a cluster of 3 members went 3.4.34 \u{2192} 3.5.27 \u{2192} 3.4.34 under \
             load, and no acknowledged write was lost."
        );
        assert_eq!(small().duration_ms(), 30_000);
    }

    #[test]
    fn each_broken_promise_is_named() {
        type Break = fn(&mut Report);
        let table: &[(Break, &str)] = &[
            (
                |r| r.writes.lost = 2,
                "2 of 4210 acknowledged writes were lost",
            ),
            (|r| r.watch.missing = 1, "the watch missed 1 events"),
            (|r| r.watch.duplicated = 4, "the watch saw 4 events twice"),
            (
                |r| r.hash_kv.equal = Some(false),
                "the members do not hold the same data",
            ),
            (
                |r| {
                    r.source = Some(Source {
                        survived: Survived {
                            same: Some(false),
                            ..Survived::default()
                        },
                        ..source()
                    });
                },
                "the keys of the backup are not as they were",
            ),
            (
                |r| r.linearizable = Some(false),
                "the recorded history is not linearizable",
            ),
            (
                |r| r.steps[0].result = StepResult::Failed,
                "the step \"preflight\" failed: 3 members, all on 3.4.34",
            ),
        ];
        for (damage, expected) in table {
            let mut report = small();
            damage(&mut report);
            assert_eq!(report.broken_promises(), [*expected]);
        }
        let mut refused = small();
        refused.hash_kv.equal = Some(false);
        refused.outcome = Outcome::Refused;
        assert_eq!(refused.broken_promises(), Vec::<String>::new());
    }

    #[test]
    fn outcomes_have_the_promised_names_and_exit_codes() {
        let table = [
            (Outcome::Passed, "\"passed\"", 0),
            (Outcome::Failed, "\"failed\"", 2),
            (Outcome::Refused, "\"refused\"", 3),
            (Outcome::Halted, "\"halted\"", 4),
            (Outcome::PutBack, "\"put_back\"", 4),
        ];
        for (outcome, json, code) in table {
            assert_eq!(serde_json::to_string(&outcome).unwrap(), json);
            assert_eq!(outcome.exit_code(), code);
        }
    }

    #[test]
    fn a_moment_before_the_start_is_the_start() {
        let report = small();
        let before = Timestamp::from_millisecond(0).unwrap();
        assert_eq!(report.since_start_ms(before), 0);
    }
}
