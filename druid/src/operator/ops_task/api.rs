//! The API server, as far as tasks need it. Each request has a deadline.

use druid_core::api::{Etcd, EtcdOpsTaskStatus, names};
use druid_core::duration::GoDuration;
use druid_core::ops_task::{Cluster, EtcdSeen, State, Told};
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use kube::core::DeserializeGuard;
use kube::runtime::events::{Event, EventType};
use kube::{Client, Resource as _};
use serde_json::{Value, json};

use super::queue::parse;
use super::{Counts, Object, Settings};
use crate::clock::now;
use crate::operator::known::api;
use crate::operator::reports::Reports;
use crate::operator::request::{ApiError, gone_is_fine, within};

/// Who reports, as etcd-druid names itself.
const CONTROLLER: &str = "etcdopstask-controller";

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Apis {
    pub(super) client: Client,
    /// How long Jobs that compact snapshots wait for their numbers to be read.
    pub(super) metrics_wait: GoDuration,
    numbers: Counts,
    reports: Reports,
}

impl Apis {
    pub(super) fn new(client: Client, settings: &Settings) -> Self {
        Self {
            metrics_wait: settings.metrics_wait,
            numbers: settings.numbers.clone(),
            reports: Reports::new(client.clone(), CONTROLLER, settings.instance.clone()),
            client,
        }
    }

    pub(super) fn tasks(&self, namespace: Option<&str>) -> Api<Object> {
        api(&self.client, namespace)
    }

    fn of(&self, object: &Object) -> (Api<Object>, String) {
        let metadata = object.meta();
        let name = metadata.name.clone().unwrap_or_default();
        (self.tasks(metadata.namespace.as_deref()), name)
    }

    /// The Etcd as it is now: no copy of it is old.
    pub(super) async fn etcd(&self, namespace: &str, name: &str) -> Result<EtcdSeen, ApiError> {
        let api: Api<DeserializeGuard<Etcd>> = Api::namespaced(self.client.clone(), namespace);
        match within("get the Etcd", api.get(name)).await {
            Ok(DeserializeGuard(Ok(etcd))) => Ok(EtcdSeen::There(Cluster::of(&etcd))),
            Ok(DeserializeGuard(Err(invalid))) => Ok(EtcdSeen::Unreadable(invalid.error)),
            Err(error) => match error.status() {
                Some(404) => Ok(EtcdSeen::Missing {
                    namespace: namespace.to_owned(),
                    name: name.to_owned(),
                }),
                Some(401 | 403) => Ok(EtcdSeen::Forbidden(error.to_string())),
                Some(_) | None => Err(error),
            },
        }
    }

    /// Writes the status that was decided on. It is a merge patch with the version that was seen,
    /// and not an apply: what was decided on an object that has changed meanwhile must not be written,
    /// above all not by a leader that is none any more. Fields that this release does not know stay.
    pub(super) async fn write_status(
        &self,
        object: &Object,
        status: &EtcdOpsTaskStatus,
    ) -> Result<(), ApiError> {
        let (api, name) = self.of(object);
        let patch = json!({
            "metadata": { "resourceVersion": object.meta().resource_version },
            "status": status,
        });
        let params = PatchParams::default();
        let patch = Patch::Merge(&patch);
        let written = api.patch_status(&name, &params, &patch);
        within("write the status", written).await.map(drop)
    }

    /// Puts our finalizer on it.
    pub(super) async fn add_finalizer(&self, object: &Object) -> Result<(), ApiError> {
        let mut finalizers = object.meta().finalizers.clone().unwrap_or_default();
        finalizers.push(names::OPS_TASK_FINALIZER.to_owned());
        self.finalizers(object, &json!(finalizers)).await
    }

    /// Takes it off.
    pub(super) async fn remove_finalizer(&self, object: &Object) -> Result<(), ApiError> {
        let mut finalizers = object.meta().finalizers.clone().unwrap_or_default();
        finalizers.retain(|it| it != names::OPS_TASK_FINALIZER);
        gone_is_fine(self.finalizers(object, &json!(finalizers)).await)
    }

    async fn finalizers(&self, object: &Object, finalizers: &Value) -> Result<(), ApiError> {
        let (api, name) = self.of(object);
        let patch = json!({ "metadata": {
            "resourceVersion": object.meta().resource_version,
            "finalizers": finalizers,
        } });
        let params = PatchParams::default();
        let patch = Patch::Merge(&patch);
        within("write the finalizers", api.patch(&name, &params, &patch))
            .await
            .map(drop)
    }

    /// Deletes it, and no other of its name, if it is as it was seen.
    pub(super) async fn delete(&self, object: &Object) -> Result<(), ApiError> {
        let (api, name) = self.of(object);
        let as_seen = Preconditions {
            uid: object.meta().uid.clone(),
            resource_version: object.meta().resource_version.clone(),
        };
        let params = DeleteParams::default().preconditions(as_seen);
        let deleted = within("delete the task", api.delete(&name, &params)).await;
        gone_is_fine(deleted.map(drop))
    }

    /// Tells people. That nobody hears it changes nothing.
    pub(super) async fn tell(&self, object: &Object, told: &Told) {
        let (type_, reason) = match told.state {
            Some(state @ (State::Failed | State::Rejected)) => (EventType::Warning, state.word()),
            Some(state @ (State::Pending | State::InProgress | State::Succeeded)) => {
                (EventType::Normal, state.word())
            }
            None => {
                self.numbers.with(|it| it.cancelled(&parse(object), now()));
                (EventType::Normal, "Cancelled")
            }
        };
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(told.note.clone()),
            action: told.phase.to_owned(),
            secondary: None,
        };
        self.reports.publish(event, &object.object_ref(&())).await;
    }
}
