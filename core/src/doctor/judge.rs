//! From what was observed to a report.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::backups::backups;
use super::cluster::cluster;
use super::finding::{Finding, How, Severity};
use super::members::{Member, heard, members};
use super::remedy::Target;
use super::{Gap, Observed, Report, Told, Verdict, databases, events, orders, tasks, upgrade};
use crate::api::{Etcd, EtcdSpec, EtcdStatus, Time, names};
use crate::cli::Progress;
use crate::cli::found::annotation;
use crate::observed::{AlarmKind, Answer, Answered};
use crate::render::Spec;
use crate::status::Sought;
use crate::status::conditions::{self, Kind};
use crate::version::{known_bad, lists_from_cache};

/// What was found so far.
#[derive(Default)]
struct Judge {
    found: Vec<(Finding, How)>,
    gaps: Vec<Gap>,
}

/// Judges everything.
pub(super) fn report(observed: &Observed, now: Timestamp) -> Report {
    let mut judge = Judge::default();
    let (namespace, name) = (&observed.etcd.namespace, &observed.etcd.name);
    let unreadable = || Box::new(Etcd::new(name, EtcdSpec::default()));
    let etcd = match &observed.etcd.etcd {
        Ok(etcd) => etcd.clone(),
        Err(why) => {
            judge.gap("anything about the Etcd", why);
            unreadable()
        }
    };
    let status = etcd.status.clone().unwrap_or_default();
    let mut members = members(observed, &etcd, &status, now);
    let cluster = cluster(observed, &status, &members);
    if cluster.quorum == Answered::Known(false) {
        members.iter_mut().for_each(Member::lose);
    }
    let mut report = Report {
        namespace: namespace.clone(),
        name: name.clone(),
        at: Time::seconds(now),
        verdict: Verdict::Healthy,
        findings: Vec::new(),
        unknown: Vec::new(),
        members_asked: observed.live.is_some(),
        replicas: etcd.spec.replicas.0,
        backups: backups(observed, &etcd, &status, &cluster),
        databases: databases::databases(observed, &etcd),
        certificates: observed
            .certificates
            .iter()
            .map(super::Certificate::expiry)
            .collect(),
        upgrade: Progress::all([&observed.etcd])
            .pop()
            .filter(|it| it.phase.is_some() || it.paused),
        tasks: tasks::tasks(observed, name),
        events: events::events(observed, name, now),
        members,
        cluster,
    };
    if observed.etcd.etcd.is_ok() {
        judge.all(observed, &etcd, &status, &report, now);
    }
    judge.conclude(&mut report);
    report
}

impl Judge {
    fn gap(&mut self, what: &str, why: &str) {
        self.gaps.push(Gap {
            what: what.to_owned(),
            why: why.to_owned(),
        });
    }

    fn add(&mut self, finding: Finding, how: How) {
        self.found.push((finding, how));
    }

    /// In the order of urgency among those that are equally severe.
    fn all(
        &mut self,
        observed: &Observed,
        etcd: &Etcd,
        status: &EtcdStatus,
        report: &Report,
        now: Timestamp,
    ) {
        self.operator(etcd, status);
        if report.replicas > 0 {
            self.cluster(status, report);
            self.members(report);
        }
        let (orders, gaps) = orders::orders(observed);
        self.found.extend(orders);
        self.gaps.extend(gaps);
        self.backups(etcd, status, report, now);
        if let Answered::Known(databases) = &report.databases
            && !self.has_no_space()
        {
            self.found.extend(databases::finding(databases));
        }
        self.found
            .extend(report.upgrade.iter().flat_map(upgrade::findings));
        for certificate in &observed.certificates {
            self.found.extend(certificate.finding(now));
            self.gaps.extend(certificate.gap());
        }
        match &report.tasks {
            Answered::Known(rows) => self.found.extend(tasks::findings(rows, now)),
            Answered::Unknown(why) => self.gap("what it was asked to do", why),
        }
        self.releases(report);
        self.sources(observed, report);
        self.wishes(etcd);
    }

    fn has_no_space(&self) -> bool {
        self.found.iter().any(|(it, _)| *it == Finding::NoSpace)
    }

    /// Whether somebody looks at the Etcd, and what comes of it.
    fn operator(&mut self, etcd: &Etcd, status: &EtcdStatus) {
        if etcd.status.is_none() {
            let says = "the Etcd has no status".to_owned();
            self.add(Finding::OperatorSilent(says), How::Field("status"));
        }
        let failed = status
            .last_operation
            .as_ref()
            .filter(|it| it.state == "Error");
        if let Some(operation) = failed {
            let errors = status.last_errors.iter().flatten();
            let errors: Vec<_> = errors.map(|it| it.description.clone()).collect();
            let says = if errors.is_empty() {
                operation.description.clone()
            } else {
                errors.join("; ")
            };
            self.add(
                Finding::OperatorFailed(says),
                How::Field("status.lastErrors"),
            );
        }
        let problems = match Spec::parse(etcd) {
            Ok(spec) => spec.pods.err(),
            Err(problems) => Some(problems),
        };
        for problem in problems.into_iter().flat_map(|it| it.0) {
            self.add(Finding::Spec(problem), How::Field("spec"));
        }
        let volumes = conditions::find(status, Kind::DataVolumesReady);
        if let Some(condition) = volumes.filter(|it| it.status == "False") {
            let finding = Finding::Volumes(condition.message.clone());
            self.add(finding, How::condition(Kind::DataVolumesReady, condition));
        }
    }

    /// What the members are together.
    fn cluster(&mut self, status: &EtcdStatus, report: &Report) {
        match &report.cluster.quorum {
            Answered::Known(true) => {}
            Answered::Known(false) => {
                let down = report.members.iter().filter(|it| !it.up);
                let down: Vec<_> = down.map(|it| it.pod.clone()).collect();
                let finding = Finding::QuorumLost {
                    up: report.members.len() - down.len(),
                    wanted: report.members.len(),
                    down,
                };
                self.add(finding, report.cluster.how.clone());
            }
            Answered::Unknown(why) => self.gap("whether there is a quorum", why),
        }
        let mismatch = conditions::find(status, Kind::ClusterIdMismatch);
        if let Some(condition) = mismatch.filter(|it| it.status == "True") {
            let finding = Finding::ClusterIdMismatch(condition.message.clone());
            self.add(finding, How::condition(Kind::ClusterIdMismatch, condition));
        }
        match &report.cluster.alarms {
            Answered::Known(alarms) => {
                let kinds = [
                    (AlarmKind::Corrupt, Finding::Corrupt),
                    (AlarmKind::NoSpace, Finding::NoSpace),
                    (AlarmKind::Unknown, Finding::UnknownAlarm),
                ];
                for (kind, finding) in kinds {
                    if alarms.contains(&kind.to_string()) {
                        self.add(finding, How::Answers);
                    }
                }
            }
            Answered::Unknown(why) if report.members_asked => {
                self.gap("whether an alarm is raised", why);
            }
            Answered::Unknown(_) => {}
        }
    }

    /// Each member by itself. Without a quorum the loss of it says all.
    fn members(&mut self, report: &Report) {
        let quorate = report.cluster.quorum != Answered::Known(false);
        let all = &report.members;
        let down = all.iter().filter(|it| it.is_down()).count();
        let spare = (all.len().saturating_sub(1) / 2).saturating_sub(down);
        for member in all.iter().filter(|it| !it.in_hand) {
            match &member.serves {
                Answered::Known(false) if quorate => self.add(
                    Finding::MemberDown {
                        name: member.name.clone(),
                        pod: member.pod.clone(),
                        why: member.why_down(),
                        spare,
                    },
                    report.cluster.how.clone(),
                ),
                Answered::Known(true) if member.pod_ready == Some(false) => {
                    let state = match &member.pod_state {
                        Answered::Known(state) | Answered::Unknown(state) => state.clone(),
                    };
                    let pod = member.pod.clone();
                    let how = How::Pod(pod.clone());
                    self.add(Finding::PodNotReady { pod, state }, how);
                }
                Answered::Known(_) => {}
                Answered::Unknown(why) => {
                    self.gap(&format!("whether member {} serves", member.name), why);
                }
            }
        }
    }

    fn backups(&mut self, etcd: &Etcd, status: &EtcdStatus, report: &Report, now: Timestamp) {
        let Some(backups) = &report.backups else {
            self.add(Finding::NoStore, How::Field("spec.backup.store"));
            return;
        };
        if report.replicas == 0 {
            return;
        }
        let quorate = report.cluster.quorum != Answered::Known(false);
        let condition = conditions::find(status, Kind::BackupReady);
        let finding = backups.finding(etcd, condition, quorate, now);
        let found = finding.is_some();
        self.found.extend(finding);
        let what = "whether backups are taken as planned";
        match condition {
            _ if found => {}
            Some(condition) if condition.status == "Unknown" => self.gap(what, &condition.message),
            Some(_) => {}
            None => self.gap(what, "the status has no condition BackupReady"),
        }
    }

    /// What the members run.
    fn releases(&mut self, report: &Report) {
        let known = report.members.iter().filter_map(|it| match it.version {
            Answered::Known(version) => Some(version),
            Answered::Unknown(_) => None,
        });
        let found: BTreeSet<_> = known.collect();
        let how = || {
            if heard_all(report) {
                How::Answers
            } else {
                How::Images
            }
        };
        if found.len() > 1 && !report.upgrade.as_ref().is_some_and(upgrade::is_under_way) {
            let found = found.iter().copied().collect();
            self.add(Finding::VersionsDiffer { found }, how());
        }
        for version in &found {
            if let Some(why) = known_bad(*version) {
                let version = *version;
                self.add(Finding::KnownBad { version, why }, how());
            }
        }
        let old = found.into_iter().filter(|it| !lists_from_cache(*it));
        let old: Vec<_> = old.collect();
        if !old.is_empty() {
            self.add(Finding::NoConsistentList { found: old }, how());
        }
    }

    /// What could not be read.
    fn sources(&mut self, observed: &Observed, report: &Report) {
        if let Sought::Unknown(why) = &observed.pods {
            self.gap("how its pods are", why);
        }
        if let Sought::Unknown(why) = &observed.leases {
            self.gap(
                "whether its Leases are renewed, and how far the backups reach",
                why,
            );
        }
        if let Answered::Unknown(why) = &report.events {
            self.gap("whether there are warnings", why);
        }
        self.unasked(observed, report);
        let answers = observed.live.iter().flat_map(|it| &it.members);
        for (name, answer) in answers {
            let shown = report.members.iter().any(|it| it.name == *name);
            match answer {
                Answer::Silent(why) if !shown || heard(observed).is_none() => {
                    self.gap(&format!("what the member at {name} says"), why);
                }
                Answer::Silent(_) | Answer::Status(_) => {}
            }
        }
    }

    /// Who could not be asked. If nobody could, that has one cause, more often than not.
    fn unasked(&mut self, observed: &Observed, report: &Report) {
        if report.members_asked {
            for (name, why) in &observed.unasked {
                self.gap(&format!("what the member {name} says"), why);
            }
            return;
        }
        let mut whys: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, why) in &observed.unasked {
            whys.entry(why).or_default().push(&name.0);
        }
        let what = "what the members say: alarms, databases, the present revision";
        match whys.into_iter().collect::<Vec<_>>().as_slice() {
            [] => {}
            [(why, _)] => self.gap(what, why),
            several => {
                let told = several
                    .iter()
                    .map(|(why, names)| format!("{}: {why}", names.join(", ")));
                self.gap(what, &told.collect::<Vec<_>>().join("; "));
            }
        }
    }

    /// What people have asked for.
    fn wishes(&mut self, etcd: &Etcd) {
        if etcd.metadata.deletion_timestamp.is_some() {
            self.add(Finding::Deleting, How::Field("metadata.deletionTimestamp"));
        }
        if annotation(etcd, names::SUSPEND_RECONCILE).is_some() {
            self.add(Finding::Suspended, How::Field("metadata.annotations"));
            return;
        }
        let seen = etcd.status.as_ref().and_then(|it| it.observed_generation);
        if etcd.status.is_some() && seen < etcd.metadata.generation {
            self.add(
                Finding::NotReconciled,
                How::Field("status.observedGeneration"),
            );
        }
    }

    fn conclude(mut self, report: &mut Report) {
        // What is mended in place, and may be why nobody serves.
        let in_place = |it: &Finding| {
            matches!(
                it,
                Finding::CertificateExpired { .. } | Finding::SecretMissing(_)
            )
        };
        self.found
            .sort_by_key(|(finding, _)| (finding.severity(), !in_place(finding)));
        let of = Target {
            namespace: &report.namespace,
            name: &report.name,
        };
        let told = |(finding, how): (Finding, How)| Told {
            code: finding.code(),
            severity: finding.severity(),
            what: finding.to_string(),
            known_from: how.to_string(),
            remedy: finding.remedy(of),
            finding,
        };
        report.findings = self.found.into_iter().map(told).collect();
        report.unknown = self.gaps;
        let urgent = report
            .findings
            .iter()
            .any(|it| it.severity < Severity::Note);
        report.verdict = match (urgent, report.unknown.is_empty()) {
            (true, _) => Verdict::Action,
            (false, true) => Verdict::Healthy,
            (false, false) => Verdict::Unknown,
        };
    }
}

/// Whether what is known of the releases comes from the members.
fn heard_all(report: &Report) -> bool {
    report.members_asked && matches!(report.cluster.revision, Answered::Known(_))
}

impl Member {
    fn is_down(&self) -> bool {
        self.serves == Answered::Known(false)
    }

    /// The pod may say more than the member.
    fn why_down(&self) -> String {
        let why = self.why.clone().unwrap_or_default();
        match &self.pod_state {
            Answered::Known(state) if self.pod_ready == Some(false) => {
                format!("{why} (pod {}: {state})", self.pod)
            }
            Answered::Known(_) | Answered::Unknown(_) => why,
        }
    }
}
