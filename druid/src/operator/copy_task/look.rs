//! One look at one task: observe, decide, write, act, tell.

use std::collections::BTreeSet;
use std::time::Duration;

use druid_core::api::{EtcdCopyBackupsTask, EtcdCopyBackupsTaskStatus, names};
use druid_core::copy_task::{Act, Decision, JobSeen, Notice, Observed, decide, refused};
use druid_core::render::{CopySpec, HostPaths, copy_job, copy_job_name};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::runtime::events::Event;
use kube::{Resource as _, ResourceExt as _};
use serde_json::json;

use super::{Context, Object};
use crate::clock::now;
use crate::operator::etcds::{changes, warning};
use crate::operator::jobs;
use crate::operator::known::Named;
use crate::operator::request::{ApiError, gone_is_fine, within};
use crate::operator::turns::Next;

/// When to look at a Job that somebody else was quicker to make.
const MADE: Duration = Duration::from_secs(1);

/// Looks once.
pub(super) async fn look(context: &Context, named: &Named) -> Next {
    Next::of(
        Box::pin(looked(context, named)).await,
        named,
        "a look at a task failed",
    )
}

async fn looked(context: &Context, named: &Named) -> Result<Next, ApiError> {
    let found = within("get the task", context.tasks(named).get_opt(&named.name)).await?;
    let task = match found.map(|it| it.0.map_err(|invalid| invalid.error)) {
        None => return Ok(Next::Heard),
        Some(Ok(task)) => task,
        Some(Err(why)) => {
            tracing::warn!(name = named.name, %why, "no task can be read from it");
            return Ok(Next::Heard);
        }
    };
    let jobs: Api<Job> = Api::namespaced(context.client.clone(), &named.namespace);
    let name = copy_job_name(&named.name);
    let job = within("get the Job", jobs.get_opt(&name)).await?;
    let uid = task.uid().unwrap_or_default();
    let job = job.map_or(JobSeen::None, |it| JobSeen::of(&it, &uid));
    let wanted = CopySpec::parse(&task);
    let (secrets, paths) = match (&wanted, &job) {
        (Ok(spec), JobSeen::None) => context.secrets(named, spec).await?,
        // A Job that is there has what it needs.
        _ => <_>::default(),
    };
    let seen = Observed {
        task: &task,
        wanted: &wanted,
        secrets: &secrets,
        job: &job,
    };
    let decision = decide(&seen, now());
    let task = context.written(named, task.clone(), &decision).await?;
    match decision.act {
        None => Ok(Next::Heard),
        Some(Act::LookAgain) => Ok(Next::Failed),
        Some(Act::AddFinalizer) => context.finalizer(named, &task, true).await,
        Some(Act::RemoveFinalizer) => context.finalizer(named, &task, false).await,
        Some(Act::DeleteJob(uid)) => {
            jobs::delete(&jobs, &name, uid).await?;
            Ok(Next::Heard)
        }
        Some(Act::MakeJob(spec)) => Box::pin(context.make(named, &task, spec, &paths)).await,
    }
}

impl Context {
    fn tasks(&self, named: &Named) -> Api<Object> {
        Api::namespaced(self.client.clone(), &named.namespace)
    }

    /// Which Secrets there are, and what those of Local stores say.
    async fn secrets(
        &self,
        named: &Named,
        spec: &CopySpec,
    ) -> Result<(BTreeSet<String>, HostPaths), ApiError> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &named.namespace);
        let (mut there, mut paths) = (BTreeSet::new(), HostPaths::default());
        for reference in spec.secrets() {
            let found = within("get a Secret", api.get_opt(&reference.name)).await?;
            if let Some(secret) = found {
                paths.add(&reference.name, &secret);
                there.insert(reference.name);
            }
        }
        Ok((there, paths))
    }

    /// Writes the status that was decided on, then tells. Returns the task as it is then.
    async fn written(
        &self,
        named: &Named,
        task: EtcdCopyBackupsTask,
        decision: &Decision<'_>,
    ) -> Result<EtcdCopyBackupsTask, ApiError> {
        let Some(status) = &decision.status else {
            return Ok(task);
        };
        let task = self.write_status(named, &task, status).await?;
        if let Some(notice) = &decision.notice {
            self.tell(&task, notice).await;
        }
        Ok(task)
    }

    /// If the task is as it was seen.
    async fn write_status(
        &self,
        named: &Named,
        task: &EtcdCopyBackupsTask,
        status: &EtcdCopyBackupsTaskStatus,
    ) -> Result<EtcdCopyBackupsTask, ApiError> {
        let before = serde_json::to_value(&task.status).unwrap_or_default();
        let after = serde_json::to_value(status).unwrap_or_default();
        let patch = json!({
            "metadata": { "resourceVersion": task.metadata.resource_version },
            "status": changes(&before, &after),
        });
        let api: Api<EtcdCopyBackupsTask> = Api::namespaced(self.client.clone(), &named.namespace);
        let (params, patch) = (PatchParams::default(), Patch::Merge(&patch));
        let written = api.patch_status(&named.name, &params, &patch);
        within("write the status", written).await
    }

    async fn finalizer(
        &self,
        named: &Named,
        task: &EtcdCopyBackupsTask,
        there: bool,
    ) -> Result<Next, ApiError> {
        let mut finalizers = task.metadata.finalizers.clone().unwrap_or_default();
        finalizers.retain(|it| it != names::FINALIZER);
        if there {
            finalizers.push(names::FINALIZER.to_owned());
        }
        let patch = json!({ "metadata": {
            "resourceVersion": task.metadata.resource_version, "finalizers": finalizers,
        } });
        let (params, patch) = (PatchParams::default(), Patch::Merge(&patch));
        let tasks = self.tasks(named);
        let written = tasks.patch(&named.name, &params, &patch);
        gone_is_fine(within("write the finalizers", written).await.map(drop))?;
        Ok(Next::Heard)
    }

    async fn make(
        &self,
        named: &Named,
        task: &EtcdCopyBackupsTask,
        spec: &CopySpec,
        paths: &HostPaths,
    ) -> Result<Next, ApiError> {
        let job = match copy_job(spec, &self.images, paths) {
            Ok(job) => job,
            Err(problems) => return self.refused(named, task, problems.to_string()).await,
        };
        let jobs: Api<Job> = Api::namespaced(self.client.clone(), &named.namespace);
        let params = PostParams::default();
        match within("create the Job", jobs.create(&params, &job)).await {
            Ok(_) => {
                self.tell(task, &Notice::made(&spec.job())).await;
                Ok(Next::Heard)
            }
            Err(error) if error.status() == Some(409) => Ok(Next::After(MADE)),
            Err(error) if error.status().is_some_and(|it| it < 500 && it != 429) => {
                self.refused(named, task, error.to_string()).await
            }
            Err(error) => Err(error),
        }
    }

    async fn refused(
        &self,
        named: &Named,
        task: &EtcdCopyBackupsTask,
        why: String,
    ) -> Result<Next, ApiError> {
        let decision = refused(task, why, now());
        self.written(named, task.clone(), &decision).await?;
        Ok(Next::Failed)
    }

    async fn tell(&self, task: &EtcdCopyBackupsTask, notice: &Notice) {
        let (namespace, name) = (task.namespace(), task.name_any());
        tracing::info!(namespace, name, reason = notice.reason, "{}", notice.note);
        let event = Event {
            type_: warning(notice.warning),
            reason: notice.reason.to_owned(),
            note: Some(notice.note.clone()),
            action: "Copy".to_owned(),
            secondary: None,
        };
        self.reports.publish(event, &task.object_ref(&())).await;
    }
}
