//! What is written into the status of an Etcd, and told of it.

use std::collections::BTreeMap;

use druid_core::api::{self, EtcdStatus};
use druid_core::backup::snapshotter::Schedule;
use druid_core::certificate;
use druid_core::member::MemberName;
use druid_core::reconcile::{Writing, ready};
use druid_core::render::Problems;
use druid_core::status::numbers::OfEtcd;
use druid_core::status::operation::{Code, Component, Failure, Operation, OperationKind, Outcome};
use druid_core::status::{
    Backup, BackupPlan, Facts, MemberLease, Pod, SnapshotLease, Sought, StatefulSet, status,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt as _;

use super::Context;
use super::look::{Look, LookError};
use super::world;
use crate::backup::schedule::CronSchedule;
use crate::clock::now;
use crate::operator::turns::Next;

/// The sidecar's own `--etcd-snapshot-timeout`.
const SNAPSHOT: SignedDuration = SignedDuration::from_mins(15);

/// Says of an Etcd that nothing can be made from it why that is so. What runs goes on.
pub(super) async fn unusable(
    context: &Context,
    etcd: &api::Etcd,
    problems: &Problems,
) -> Result<Next, LookError> {
    let failures = problems.0.iter().map(|problem| Failure {
        code: Code::Sync(Component::StatefulSet),
        message: problem.field().to_owned(),
        cause: format!("{problem}: {}", problem.remedy()),
    });
    let operation = Operation {
        kind: OperationKind::Reconcile,
        outcome: Outcome::Failed(failures.collect()),
    };
    let mut status = etcd.status.clone().unwrap_or_default();
    operation.apply(&mut status, run_id(etcd).as_str(), now());
    if etcd.status.as_ref() != Some(&status) {
        context.apis.write_status(etcd, &status).await?;
    }
    Ok(Next::Heard)
}

fn run_id(etcd: &api::Etcd) -> String {
    let metadata = &etcd.metadata;
    let uid = metadata.uid.as_deref().unwrap_or_default();
    format!("{uid}-{}", metadata.generation.unwrap_or_default())
}

impl Look<'_> {
    /// Writes what there is to write, if it is time to.
    pub(super) async fn report(&mut self) -> Result<(Writing, Option<Timestamp>), LookError> {
        let (status, until) = self.status().await?;
        self.rest = self.without_leases().await?;
        let shown_until = self.shown.as_ref().and_then(|it| it.next_change);
        let at = now();
        let renewed = self.renewed(at);
        let until = until.into_iter().chain(shown_until).chain(renewed).min();
        self.rest = self.rest.into_iter().chain(renewed).min();
        let told = OfEtcd::new(&status, self.spec.running());
        self.context
            .numbers
            .tell(self.named, told, self.expiries.take());
        let since = *self.memo.unwritten.get_or_insert(at);
        let rolling = self.step.is_some();
        let writing = Writing::of(self.etcd.status.as_ref(), &status, rolling, since, at);
        match writing {
            Writing::Nothing => self.memo.unwritten = None,
            Writing::Now => self.put(&status).await?,
            Writing::At(_) => {}
        }
        Ok((writing, until))
    }

    /// When to see whether a certificate was renewed: nothing is heard of that.
    fn renewed(&self, at: Timestamp) -> Option<Timestamp> {
        let first = self.expiries.as_ref()?.values().min()?;
        Some(certificate::look_again(*first, at))
    }

    /// Writes everything now: what follows must not be done before it is known.
    pub(super) async fn write(&mut self) -> Result<(), LookError> {
        let (status, _) = self.status().await?;
        if self.etcd.status.as_ref() != Some(&status) {
            self.put(&status).await?;
        }
        Ok(())
    }

    async fn put(&mut self, status: &EtcdStatus) -> Result<(), LookError> {
        let before = self.etcd.status.as_ref().and_then(|it| it.upgrade.clone());
        let observed = |it: Option<&EtcdStatus>| it.and_then(|it| it.observed_generation);
        let is_new = observed(self.etcd.status.as_ref()) != observed(Some(status));
        self.etcd = self.context.apis.write_status(&self.etcd, status).await?;
        self.memo.unwritten = None;
        // The record that was written is what is gone on from.
        let stored = self.stored();
        if let Some((base, _)) = &mut self.memo.record {
            *base = stored;
        }
        let event = self.shown.as_ref().and_then(|it| it.event(before.as_ref()));
        if let Some(event) = event {
            self.context.apis.tell(&self.etcd, &event).await;
        }
        // Once of each spec: what is hardly meant.
        for notice in self.spec.notices.iter().filter(|_| is_new) {
            let event = druid_core::upgrade::Event {
                warning: true,
                reason: "SpecHardlyMeant".to_owned(),
                message: notice.to_string(),
            };
            self.context.apis.tell(&self.etcd, &event).await;
        }
        Ok(())
    }

    /// The status of now, and until when it holds.
    async fn status(&self) -> Result<(EtcdStatus, Option<Timestamp>), LookError> {
        let leases = self.context.apis.leases(self.named).await?;
        let at = now();
        let told = status(&self.status_facts(&leases), at);
        let mut after = told.status;
        if let Some(shown) = &self.shown {
            shown.apply(&mut after, at);
        }
        let operation = Operation {
            kind: OperationKind::Reconcile,
            outcome: self.outcome(),
        };
        operation.apply(&mut after, &run_id(&self.etcd), at);
        if self.followed {
            after.observed_generation = self.etcd.metadata.generation;
        }
        let revisions = self.makes.written();
        if !revisions.is_empty() {
            after.upgrade.get_or_insert_default().revisions = Some(revisions);
        }
        Ok((after, told.next_change))
    }

    /// When something is due, if members go on renewing their leases.
    async fn without_leases(&self) -> Result<Option<Timestamp>, LookError> {
        let leases = self.context.apis.leases(self.named).await?;
        let mut facts = self.status_facts(&leases);
        for lease in facts.leases.values_mut() {
            lease.renewed = Some(Timestamp::MAX);
        }
        let shown = self.shown.as_ref().and_then(|it| it.next_change);
        let next = druid_core::status::next_change(&facts, now());
        Ok(shown.into_iter().chain(next).min())
    }

    /// How it is going.
    pub(super) fn outcome(&self) -> Outcome {
        let failures = self.failures.clone();
        if let (Some(waits), true) = (&self.waits, failures.is_empty()) {
            return Outcome::Waiting(waits.clone());
        }
        Outcome::reconciled(failures, self.shown.as_ref(), self.behind())
    }

    /// What pods are not yet as they are wanted.
    fn behind(&self) -> Option<String> {
        let wanted = usize::from(self.spec.replicas);
        let ready = self.world.pods.values().filter(|it| ready(it)).count();
        let runs = self.spec.runtime_components && wanted > 0;
        (runs && ready < wanted).then(|| format!("{ready} of {wanted} members are ready"))
    }

    fn status_facts(&self, leases: &[Lease]) -> Facts {
        let spec = &self.spec;
        let find = |name: &str| leases.iter().find(|it| it.name_any() == name);
        let members = (0..spec.replicas).filter_map(|ordinal| {
            let name = spec.member(ordinal);
            let lease = find(&name)?.spec.clone().unwrap_or_default();
            let known = MemberLease {
                holder: lease.holder_identity,
                renewed: lease.renew_time.map(|it| it.0),
            };
            Some((MemberName(name), known))
        });
        let snapshot = |name: String| {
            let lease = find(&name)?;
            let renewed = lease.spec.as_ref().and_then(|it| it.renew_time.as_ref());
            Some(SnapshotLease {
                created: lease.creation_timestamp()?.0,
                renewed: renewed.map(|it| it.0),
            })
        };
        let sidecar = spec.pods.as_ref().ok().map(|it| &it.sidecar);
        let duration = |it: druid_core::duration::GoDuration| {
            SignedDuration::try_from(it.0).unwrap_or(SignedDuration::MAX)
        };
        let schedule = sidecar.and_then(|it| it.full_snapshot_schedule.as_deref());
        let schedule = schedule.and_then(|it| CronSchedule::parse(it, now()).ok());
        let plan = BackupPlan {
            delta_period: sidecar
                .and_then(|it| it.delta_snapshot_period)
                .map(duration),
            schedule: schedule.as_ref().map(|it| it as &dyn Schedule),
            timeout: sidecar
                .and_then(|it| it.snapshot_timeout)
                .map_or(SNAPSHOT, duration),
        };
        let store = spec.pods.as_ref().ok().and_then(|it| it.store.as_ref());
        let backup = store.map(|_| {
            let full = snapshot(spec.identity.full_snapshot_lease());
            Backup::new(&plan, full, snapshot(spec.identity.delta_snapshot_lease()))
        });
        let live = self.survey.as_ref().filter(|_| !self.world.pods.is_empty());
        Facts {
            namespace: self.named.namespace.clone(),
            name: self.named.name.clone(),
            generation: self.etcd.metadata.generation.unwrap_or_default(),
            replicas: spec.replicas,
            member_prefix: spec.member_prefix.clone(),
            runtime_components: spec.runtime_components,
            backup,
            leases: members.collect(),
            stateful_set: self.set_facts(),
            pods: self.pod_facts(),
            claims: self.claims.clone(),
            live: live.map(|it| it.etcd.clone()),
            thresholds: self.context.config.thresholds,
            previous: self.etcd.status.clone().unwrap_or_default(),
        }
    }

    fn set_facts(&self) -> Sought<StatefulSet> {
        let Some(set) = &self.world.set else {
            return Sought::Missing;
        };
        let status = set.status.clone().unwrap_or_default();
        let count = |it: Option<i32>| u16::try_from(it.unwrap_or_default()).unwrap_or_default();
        let same = |(name, make): (&String, &druid_core::make::Make)| {
            (*make == self.template).then(|| name.clone())
        };
        Sought::Found(StatefulSet {
            generation: set.metadata.generation.unwrap_or_default(),
            observed_generation: status.observed_generation.unwrap_or_default(),
            wanted: count(Some(self.world.wanted())),
            existing: count(Some(status.replicas)),
            ready: count(status.ready_replicas),
            update_revision: status.update_revision.unwrap_or_default(),
            good_revisions: self.makes.0.iter().filter_map(same).collect(),
        })
    }

    fn pod_facts(&self) -> BTreeMap<String, Pod> {
        let all = self.world.pods.iter().map(|(name, pod)| {
            let conditions = pod.status.as_ref().and_then(|it| it.conditions.as_ref());
            let mut conditions = conditions.into_iter().flatten();
            let known = Pod {
                revision: world::revision(pod).map(str::to_owned),
                containers_ready: conditions
                    .any(|it| it.type_ == "ContainersReady" && it.status == "True"),
            };
            (name.clone(), known)
        });
        all.collect()
    }
}
