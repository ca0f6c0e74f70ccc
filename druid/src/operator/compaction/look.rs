//! One look at one Etcd: observe, decide, act, report.

use std::time::Duration;

use druid_core::api::Etcd;
use druid_core::compaction::{
    Act, Backed, Backlog, Conclusion, Decision, JobSeen, Notice, Observed, Revision, Subject, Work,
    decide, put,
};
use druid_core::duration::GoDuration;
use druid_core::ops_task::{Trouble, under_way};
use druid_core::render::{Identity, Settings as Render};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, PostParams};

use super::Context;
use super::asking::full_snapshot;
use crate::clock::now;
use crate::operator::etcds::{Cluster, warning};
use crate::operator::jobs;
use crate::operator::known::Named;
use crate::operator::request::{ApiError, within};
use crate::operator::turns::Next;

/// What people are told is about this.
const ACTION: &str = "Compaction";
/// When to look at a Job that somebody else was quicker to make.
const MADE: Duration = Duration::from_secs(1);

/// What there is besides the Etcd itself.
struct World {
    backlog: Backlog,
    job: JobSeen,
    task: Option<String>,
    work: Work,
}

/// Looks once.
pub(super) async fn look(context: &Context, named: &Named) -> Next {
    Next::of(
        Box::pin(looked(context, named)).await,
        named,
        "a look at its snapshots failed",
    )
}

async fn looked(context: &Context, named: &Named) -> Result<Next, ApiError> {
    let found = context.apis.etcd(named).await?;
    // The controller of Etcds says why one cannot be read.
    let Some(etcd) = found.and_then(|it| it.0.ok()) else {
        context.forget(named);
        return Ok(Next::Heard);
    };
    let of = Identity {
        name: named.name.clone(),
        namespace: named.namespace.clone(),
        uid: etcd.metadata.uid.clone().unwrap_or_default(),
    };
    let subject = Subject::of(&etcd, &context.settings.config);
    let mut world = context.heard(named, &of);
    let mut decision = context.decide(&subject, &world);
    if matches!(decision, Decision::Act(_)) {
        world = Box::pin(context.live(named, &of)).await?;
        decision = context.decide(&subject, &world);
    }
    context.count(named, &subject, &world);
    match decision {
        Decision::Wait { why, until } => {
            let (namespace, name) = (&of.namespace, &of.name);
            tracing::debug!(namespace, name, %why, "its snapshots are left as they are");
            Ok(until.map_or(Next::Heard, |at| Next::After(left(at))))
        }
        Decision::Act(act) => context.act(named, &etcd, &of, &subject, act).await,
    }
}

fn left(until: Timestamp) -> Duration {
    let left = until.duration_since(now()).max(SignedDuration::ZERO);
    left.unsigned_abs() + Duration::from_millis(1)
}

impl Context {
    fn forget(&self, named: &Named) {
        self.asking.forget(named);
        let (namespace, name) = (&named.namespace, &named.name);
        self.settings.numbers.with(|it| it.forget(namespace, name));
    }

    fn decide(&self, subject: &Subject, world: &World) -> Decision {
        let seen = Observed {
            etcd: subject,
            backlog: &world.backlog,
            job: &world.job,
            task: world.task.as_deref(),
            work: &world.work,
        };
        decide(&seen, &self.settings.limits, now())
    }

    fn count(&self, named: &Named, subject: &Subject, world: &World) {
        let (namespace, name) = (&named.namespace, &named.name);
        match subject {
            Subject::Backed(_) | Subject::Unusable(_) => {
                let runs = matches!(world.job, JobSeen::Runs { .. });
                let events = world.backlog.events().ok();
                let numbers = &self.settings.numbers;
                numbers.with(|it| it.tell(namespace, name, runs, events));
            }
            Subject::Leaves | Subject::NoBackups => self.forget(named),
        }
    }

    /// As it was last heard of.
    fn heard(&self, named: &Named, of: &Identity) -> World {
        World {
            backlog: self.heard.backlog(of),
            job: self.heard.job(of),
            task: None,
            work: self.asking.of(named, &of.uid),
        }
    }

    /// As it is now.
    async fn live(&self, named: &Named, of: &Identity) -> Result<World, ApiError> {
        let leases: Api<Lease> = Api::namespaced(self.apis.client.clone(), &of.namespace);
        let (full, delta) = (of.full_snapshot_lease(), of.delta_snapshot_lease());
        let (full, delta, job, tasks) = tokio::try_join!(
            within("get a Lease", leases.get_opt(&full)),
            within("get a Lease", leases.get_opt(&delta)),
            self.job(named, of),
            self.apis.tasks(&of.namespace),
        )?;
        let revision = |lease: Option<Lease>| lease.as_ref().map_or(Revision::None, Revision::of);
        Ok(World {
            backlog: Backlog {
                etcd: of.name.clone(),
                full: revision(full),
                delta: revision(delta),
            },
            job,
            task: under_way(&of.name, &tasks).map(str::to_owned),
            work: self.asking.of(named, &of.uid),
        })
    }

    /// Its Job, and why that failed: its pods say so.
    async fn job(&self, named: &Named, of: &Identity) -> Result<JobSeen, ApiError> {
        let found = within("get the Job", self.jobs(of).get_opt(&of.compaction_job())).await?;
        let Some(job) = found else {
            return Ok(JobSeen::None);
        };
        let seen = JobSeen::of(&job, &of.uid, &[]);
        if !matches!(seen, JobSeen::Ended { .. }) {
            return Ok(seen);
        }
        let pods = self.apis.pods(named).await?;
        Ok(JobSeen::of(&job, &of.uid, &pods))
    }

    fn jobs(&self, of: &Identity) -> Api<Job> {
        Api::namespaced(self.apis.client.clone(), &of.namespace)
    }

    async fn act(
        &self,
        named: &Named,
        etcd: &Etcd,
        of: &Identity,
        subject: &Subject,
        act: Act,
    ) -> Result<Next, ApiError> {
        match (act, subject) {
            (Act::Conclude(conclusion), _) => self.conclude(named, etcd, of, &conclusion).await,
            (Act::ConcludeJob { conclusion, uid }, _) => {
                self.conclude(named, etcd, of, &conclusion).await?;
                jobs::delete(&self.jobs(of), &of.compaction_job(), &uid).await?;
                Ok(Next::Heard)
            }
            (Act::DeleteJob { uid }, _) => {
                jobs::delete(&self.jobs(of), &of.compaction_job(), &uid).await?;
                Ok(Next::Heard)
            }
            (Act::MakeJob { events }, Subject::Backed(backed)) => {
                Box::pin(self.make_job(named, etcd, backed, events)).await
            }
            (Act::TakeFullSnapshot, Subject::Backed(backed)) => {
                tracing::info!(
                    namespace = of.namespace,
                    name = of.name,
                    "a full snapshot is asked for"
                );
                let (client, sidecars) = (self.apis.client.clone(), self.settings.sidecars.clone());
                let asked = full_snapshot(client, sidecars, backed.as_ref().clone());
                self.asking.begin(named, &of.uid, asked);
                Ok(Next::Heard)
            }
            // Only what has backups is compacted.
            (Act::MakeJob { .. } | Act::TakeFullSnapshot, _) => Ok(Next::Heard),
        }
    }

    /// Tells what came of it. The status is first: what is not written is told again.
    async fn conclude(
        &self,
        named: &Named,
        etcd: &Etcd,
        of: &Identity,
        conclusion: &Conclusion,
    ) -> Result<Next, ApiError> {
        let mut status = etcd.status.clone().unwrap_or_default();
        put(&mut status, conclusion, of, now());
        self.apis.write_status(etcd, &status).await?;
        self.asking.forget(named);
        let numbers = &self.settings.numbers;
        numbers.with(|it| it.concluded(&of.namespace, &of.name, conclusion));
        self.tell(etcd, of, &conclusion.notice(of)).await;
        Ok(Next::After(Duration::ZERO))
    }

    async fn tell(&self, etcd: &Etcd, of: &Identity, notice: &Notice) {
        let (namespace, name) = (&of.namespace, &of.name);
        tracing::info!(namespace, name, reason = notice.reason, "{}", notice.note);
        let kind = warning(notice.warning);
        let told = self
            .apis
            .report(etcd, ACTION, kind, notice.reason, &notice.note);
        told.await;
    }

    async fn make_job(
        &self,
        named: &Named,
        etcd: &Etcd,
        backed: &Backed,
        events: u64,
    ) -> Result<Next, ApiError> {
        let of = &backed.identity;
        let config = &self.settings.config;
        let render = Render {
            compaction_deadline: GoDuration(config.deadline.unsigned_abs()),
            metrics_scrape_wait: GoDuration(config.metrics_wait.unsigned_abs()),
            ..Render::default()
        };
        let cluster = Cluster::new(self.apis.client.clone(), &backed.sidecar);
        let job = match Box::pin(cluster.compaction_job(&render)).await {
            Ok(job) => job,
            Err(why) if why.may_pass() => {
                let (namespace, name) = (&of.namespace, &of.name);
                tracing::warn!(namespace, name, %why, "the Job is made later");
                return Ok(Next::Failed);
            }
            Err(why) => return self.not_made(named, etcd, of, why).await,
        };
        let params = PostParams::default();
        let jobs = self.jobs(of);
        match within("create the Job", jobs.create(&params, &job)).await {
            Ok(_) => {
                self.tell(etcd, of, &Notice::made(of, events)).await;
                Ok(Next::Heard)
            }
            Err(error) if error.status() == Some(409) => Ok(Next::After(MADE)),
            Err(error) if error.status().is_some_and(|it| it < 500 && it != 429) => {
                let why = Trouble::JobUnmade(error.to_string());
                self.not_made(named, etcd, of, why).await
            }
            Err(error) => Err(error),
        }
    }

    async fn not_made(
        &self,
        named: &Named,
        etcd: &Etcd,
        of: &Identity,
        why: Trouble,
    ) -> Result<Next, ApiError> {
        let conclusion = Conclusion::NotMade(why);
        self.conclude(named, etcd, of, &conclusion).await
    }
}
