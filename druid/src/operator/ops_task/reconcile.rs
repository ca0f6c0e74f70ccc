//! Observe, decide, write, act, tell: one look at one task.

use std::sync::Arc;
use std::time::Duration;

use druid_core::backup::snapshotter::Backoff;
use druid_core::ops_task::{Act, Decision, EtcdSeen, Observed, State, Task, Told, decide};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
use kube::runtime::controller::Action;
use kube::runtime::reflector::{ObjectRef, Store};

use super::api::Apis;
use super::attempt::attempt;
use super::queue::{heirs, others, parse};
use super::works::{Ending, Works};
use super::{Object, Settings, wind_up};
use crate::clock::now;
use crate::operator::request::ApiError;

/// How long to wait after the API server failed.
const BACKOFF: Backoff = Backoff {
    first: SignedDuration::from_millis(500),
    limit: SignedDuration::from_secs(30),
};
/// When to look again if another task has just got the turn.
const TAKEN: Duration = Duration::from_secs(1);
/// Between two steps of winding a recovery up.
const STEP: Duration = Duration::from_secs(1);
/// The same after one that failed.
const AGAIN: Duration = Duration::from_secs(5);

/// What every look has in common.
pub(super) struct Context {
    apis: Apis,
    settings: Settings,
    tasks: Store<Object>,
    works: Arc<Works>,
    _ending: Ending,
}

impl Context {
    pub(super) fn new(
        apis: Apis,
        settings: Settings,
        tasks: Store<Object>,
        works: Arc<Works>,
    ) -> Self {
        Self {
            apis,
            settings,
            tasks,
            _ending: Ending(Arc::clone(&works)),
            works,
        }
    }

    fn decide(&self, task: &Task, etcd: Option<&EtcdSeen>, now: Timestamp) -> Decision {
        let others: Vec<_> = others(task, &self.tasks)
            .iter()
            .map(|it| it.queued(self.works.holds(&it.uid)))
            .collect();
        let seen = Observed {
            task,
            etcd,
            others: &others,
            work: &self.works.of(&task.uid),
            progress: &self.works.progress(&task.uid),
            wound_up: !task.recovers || self.works.is_wound_up(task),
        };
        decide(&seen, &self.settings.limits, now)
    }
}

/// Looks at a task once.
pub(super) async fn reconcile(
    object: Arc<Object>,
    context: Arc<Context>,
) -> Result<Action, ApiError> {
    let task = parse(&object);
    let mut decision = context.decide(&task, None, now());
    if decision.act == Some(Act::AskEtcd) {
        let name = task.etcd.as_deref().unwrap_or_default();
        let etcd = context.apis.etcd(&task.namespace, name).await?;
        decision = context.decide(&task, Some(&etcd), now());
    }
    let action = carry_out(&object, &task, decision, &context).await?;
    context.works.looked_at(&task.uid);
    Ok(action)
}

async fn carry_out(
    object: &Object,
    task: &Task,
    decision: Decision,
    context: &Context,
) -> Result<Action, ApiError> {
    if matches!(decision.act, Some(Act::Start(_))) && !context.works.hold(task) {
        return Ok(Action::requeue(TAKEN));
    }
    if let Some(status) = &decision.status {
        context.apis.write_status(object, status).await?;
    }
    match decision.act {
        None => {}
        Some(Act::AskEtcd) => return Ok(Action::requeue(TAKEN)),
        Some(Act::AddFinalizer) => context.apis.add_finalizer(object).await?,
        Some(Act::RemoveFinalizer) => context.apis.remove_finalizer(object).await?,
        Some(Act::WindUp) => return Ok(wind_up(object, task, context).await),
        Some(Act::Delete) => context.apis.delete(object).await?,
        Some(Act::Start(what)) => {
            let (apis, sidecars) = (context.apis.clone(), context.settings.sidecars.clone());
            let number = what.number;
            let work = |tell| attempt(apis, sidecars, *what, tell);
            context.works.start(task, number, work);
        }
        Some(Act::Note) => {
            context.works.note(&task.uid, now());
            if decision.again.is_none() {
                // It was written before, and nothing changes in the task any more.
                context.works.wake([ObjectRef::from_obj(object)]);
            }
        }
        Some(Act::Forget) => {
            context.works.forget(&task.uid);
            // What it waits for may be here already: nothing changes in the task any more.
            context.works.wake([ObjectRef::from_obj(object)]);
            context.works.wake(heirs(task, &context.tasks));
        }
    }
    if let Some(told) = &decision.told {
        tell(object, task, told, context).await;
    }
    Ok(match decision.again {
        Some(at) => Action::requeue(until(at)),
        None => Action::await_change(),
    })
}

async fn wind_up(object: &Object, task: &Task, context: &Context) -> Action {
    match wind_up::step(&context.apis, object, task).await {
        Ok(true) => {
            context.works.wound_up(task);
            context.works.wake([ObjectRef::from_obj(object)]);
            Action::await_change()
        }
        Ok(false) => Action::requeue(STEP),
        Err(trouble) => {
            let name = &task.name;
            tracing::warn!(name, %trouble, "what members were told is yet to be taken back");
            Action::requeue(AGAIN)
        }
    }
}

async fn tell(object: &Object, task: &Task, told: &Told, context: &Context) {
    let state = told.state.map_or("Cancelled", State::word);
    tracing::info!(
        namespace = task.namespace,
        name = task.name,
        etcd = task.etcd,
        state,
        "{}",
        told.note
    );
    if let Some(state) = told.state.filter(|it| it.is_end()) {
        context
            .settings
            .numbers
            .with(|it| it.ended(task, state, now()));
    }
    context.apis.tell(object, told).await;
}

fn until(at: Timestamp) -> Duration {
    // Not a moment too early: time is compared again then.
    let wait = at.duration_since(now()).max(SignedDuration::ZERO);
    wait.unsigned_abs() + Duration::from_millis(1)
}

/// When to look again after the API server failed. Another's write in between is no failure of it:
/// the watch tells of that.
pub(super) fn retry(object: &Object, error: &ApiError, context: &Context) -> Action {
    let uid = object.uid().unwrap_or_default();
    let count = context.works.failed(&uid);
    if error.status() == Some(409) {
        tracing::debug!(%error, name = object.name_any(), "it has changed meanwhile");
    } else {
        tracing::warn!(%error, name = object.name_any(), count, "the API server failed");
    }
    Action::requeue(BACKOFF.wait(count, 0).unsigned_abs())
}
