//! The API server, as far as Etcds need it. Each request has a deadline.

use druid_core::api::{Etcd, EtcdOpsTask, EtcdStatus};
use druid_core::ops_task::Task;
use druid_core::render::owner_labels;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Event as Reported, PersistentVolumeClaim, Pod, Secret};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams,
    Preconditions,
};
use kube::core::DeserializeGuard;
use kube::runtime::events::{Event, EventType};
use kube::{Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::operator::known::Named;
use crate::operator::reports::Reports;
use crate::operator::request::{ApiError, gone_is_fine, within};

/// Who owns the fields that are applied.
pub(super) const MANAGER: &str = "druid";

/// Cheap to clone.
#[derive(Clone)]
pub(in crate::operator) struct Apis {
    pub(in crate::operator) client: Client,
    reports: Reports,
}

impl Apis {
    /// `controller`: who reports. `instance`: which one of those that run, if it has a name.
    pub(in crate::operator) fn new(
        client: Client,
        controller: &str,
        instance: Option<String>,
    ) -> Self {
        Self {
            reports: Reports::new(client.clone(), controller, instance),
            client,
        }
    }

    fn of<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// One object as it is now; `None` if there is none.
    async fn get<K>(
        &self,
        what: &'static str,
        namespace: &str,
        name: &str,
    ) -> Result<Option<K>, ApiError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + std::fmt::Debug + DeserializeOwned,
    {
        within(what, self.of::<K>(namespace).get_opt(name)).await
    }

    /// The Etcd as it is now; `None` if there is none.
    pub(in crate::operator) async fn etcd(
        &self,
        named: &Named,
    ) -> Result<Option<DeserializeGuard<Etcd>>, ApiError> {
        let api = self.of::<DeserializeGuard<Etcd>>(&named.namespace);
        within("get the Etcd", api.get_opt(&named.name)).await
    }

    pub(super) async fn stateful_set(
        &self,
        named: &Named,
    ) -> Result<Option<StatefulSet>, ApiError> {
        self.get("get the StatefulSet", &named.namespace, &named.name)
            .await
    }

    pub(super) async fn secret(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Secret>, ApiError> {
        self.get("get a Secret", namespace, name).await
    }

    pub(super) async fn claim(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<PersistentVolumeClaim>, ApiError> {
        self.get("get a PersistentVolumeClaim", namespace, name)
            .await
    }

    /// What was reported about a claim.
    pub(super) async fn events_of_claim(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Vec<Reported>, ApiError> {
        let fields =
            format!("involvedObject.kind=PersistentVolumeClaim,involvedObject.name={name}");
        let params = ListParams::default().fields(&fields);
        let api = self.of::<Reported>(namespace);
        Ok(within("list the Events", api.list(&params)).await?.items)
    }

    pub(super) async fn task(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<EtcdOpsTask>, ApiError> {
        self.get("get the EtcdOpsTask", namespace, name).await
    }

    /// The tasks of a namespace; what cannot be read as one is none.
    pub(in crate::operator) async fn tasks(&self, namespace: &str) -> Result<Vec<Task>, ApiError> {
        let api = self.of::<DeserializeGuard<EtcdOpsTask>>(namespace);
        let found = within("list the EtcdOpsTasks", api.list(&ListParams::default())).await?;
        let read = found.items.iter().filter_map(|it| it.0.as_ref().ok());
        Ok(read.map(Task::of).collect())
    }

    pub(in crate::operator) async fn pods(&self, etcd: &Named) -> Result<Vec<Pod>, ApiError> {
        self.owned("list the pods", etcd).await
    }

    pub(super) async fn leases(&self, etcd: &Named) -> Result<Vec<Lease>, ApiError> {
        self.owned("list the Leases", etcd).await
    }

    /// Everything of a kind that is labelled to be of an Etcd.
    async fn owned<K>(&self, what: &'static str, etcd: &Named) -> Result<Vec<K>, ApiError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + std::fmt::Debug + DeserializeOwned,
    {
        let labels = owner_labels(&etcd.name);
        let labels: Vec<_> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let params = ListParams::default().labels(&labels.join(","));
        let api = self.of::<K>(&etcd.namespace);
        Ok(within(what, api.list(&params)).await?.items)
    }

    /// The addresses behind a Service that take traffic.
    pub(super) async fn behind(
        &self,
        namespace: &str,
        service: &str,
    ) -> Result<Vec<String>, ApiError> {
        let params = ListParams::default().labels(&format!("kubernetes.io/service-name={service}"));
        let api = self.of::<EndpointSlice>(namespace);
        let slices = within("list the EndpointSlices", api.list(&params)).await?;
        let endpoints = slices.items.into_iter().flat_map(|it| it.endpoints);
        let ready = endpoints.filter(|it| {
            let conditions = it.conditions.as_ref();
            conditions.and_then(|it| it.ready).unwrap_or(true)
        });
        Ok(ready.flat_map(|it| it.addresses).collect())
    }

    fn any(&self, namespace: &str, kind: &ApiResource) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, kind)
    }

    pub(super) async fn child(
        &self,
        namespace: &str,
        kind: &ApiResource,
        name: &str,
    ) -> Result<Option<DynamicObject>, ApiError> {
        within("get an object", self.any(namespace, kind).get_opt(name)).await
    }

    /// Makes an object that is not there. One that is there and says otherwise stays as it is.
    pub(super) async fn make(
        &self,
        namespace: &str,
        kind: &ApiResource,
        name: &str,
        rendered: &Value,
    ) -> Result<(), ApiError> {
        let params = PatchParams::apply(MANAGER);
        let api = self.any(namespace, kind);
        let patch = Patch::Apply(rendered);
        let made = api.patch(name, &params, &patch);
        within("make an object", made).await.map(drop)
    }

    /// Makes an object what it is rendered to be.
    pub(super) async fn apply(
        &self,
        namespace: &str,
        kind: &ApiResource,
        name: &str,
        rendered: &Value,
    ) -> Result<(), ApiError> {
        let params = PatchParams::apply(MANAGER).force();
        let api = self.any(namespace, kind);
        let patch = Patch::Apply(rendered);
        let applied = api.patch(name, &params, &patch);
        within("apply an object", applied).await.map(drop)
    }

    /// Changes an object by a merge patch, which says which version of it is meant.
    pub(super) async fn change(
        &self,
        namespace: &str,
        kind: &ApiResource,
        name: &str,
        patch: &Value,
    ) -> Result<(), ApiError> {
        let params = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let api = self.any(namespace, kind);
        let patch = Patch::Merge(patch);
        let changed = api.patch(name, &params, &patch);
        within("change an object", changed).await.map(drop)
    }

    /// Deletes an object, and no other of its name.
    pub(super) async fn delete_child(
        &self,
        namespace: &str,
        kind: &ApiResource,
        object: &DynamicObject,
    ) -> Result<(), ApiError> {
        let only = Preconditions {
            uid: object.metadata.uid.clone(),
            resource_version: None,
        };
        let params = DeleteParams::background().preconditions(only);
        let api = self.any(namespace, kind);
        let name = object.name_any();
        let deleted = within("delete an object", api.delete(&name, &params)).await;
        gone_is_fine(deleted.map(drop))
    }

    /// Deletes a pod if it is as it was seen. False if it is not.
    pub(super) async fn delete_pod(&self, pod: &Pod) -> Result<bool, ApiError> {
        let as_seen = Preconditions {
            uid: pod.metadata.uid.clone(),
            resource_version: pod.metadata.resource_version.clone(),
        };
        let params = DeleteParams::default().preconditions(as_seen);
        let api = self.of::<Pod>(&pod.namespace().unwrap_or_default());
        match within("delete the pod", api.delete(&pod.name_any(), &params)).await {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.status(), Some(404 | 409)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes a task; one of that name may be there already.
    pub(super) async fn make_task(&self, task: &EtcdOpsTask) -> Result<(), ApiError> {
        let namespace = task.metadata.namespace.as_deref().unwrap_or_default();
        let api = self.of::<EtcdOpsTask>(namespace);
        let params = PostParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PostParams::default()
        };
        match within("make the EtcdOpsTask", api.create(&params, task)).await {
            Err(error) if error.status() == Some(409) => Ok(()),
            made => made.map(drop),
        }
    }

    /// Writes what has changed in the status, if the Etcd is as it was seen. What others have
    /// written stays.
    pub(in crate::operator) async fn write_status(
        &self,
        etcd: &Etcd,
        status: &EtcdStatus,
    ) -> Result<Etcd, ApiError> {
        let before = serde_json::to_value(&etcd.status).unwrap_or_default();
        let after = serde_json::to_value(status).unwrap_or_default();
        let patch = json!({
            "metadata": { "resourceVersion": etcd.metadata.resource_version },
            "status": changes(&before, &after),
        });
        let api = self.of::<Etcd>(&etcd.namespace().unwrap_or_default());
        let (name, params) = (etcd.name_any(), PatchParams::default());
        let patch = Patch::Merge(&patch);
        within("write the status", api.patch_status(&name, &params, &patch)).await
    }

    /// Writes finalizers and annotations, if the Etcd is as it was seen. `null` removes.
    pub(super) async fn write_metadata(
        &self,
        etcd: &Etcd,
        mut metadata: Value,
    ) -> Result<Etcd, ApiError> {
        metadata["resourceVersion"] = json!(etcd.metadata.resource_version);
        let patch = json!({ "metadata": metadata });
        let api = self.of::<Etcd>(&etcd.namespace().unwrap_or_default());
        let (name, params) = (etcd.name_any(), PatchParams::default());
        within(
            "write the metadata",
            api.patch(&name, &params, &Patch::Merge(&patch)),
        )
        .await
    }

    /// Tells people. That nobody hears it changes nothing.
    pub(super) async fn tell(&self, etcd: &Etcd, event: &druid_core::upgrade::Event) {
        let kind = warning(event.warning);
        self.report(etcd, "Upgrade", kind, &event.reason, &event.message)
            .await;
    }

    /// Tells people of what was done: `action`.
    pub(in crate::operator) async fn report(
        &self,
        etcd: &Etcd,
        action: &str,
        kind: EventType,
        reason: &str,
        note: &str,
    ) {
        let said = Event {
            type_: kind,
            reason: reason.to_owned(),
            note: Some(note.to_owned()),
            action: action.to_owned(),
            secondary: None,
        };
        self.reports.publish(said, &etcd.object_ref(&())).await;
    }
}

/// How an Event that warns, or does not, is called.
pub(in crate::operator) fn warning(so: bool) -> EventType {
    if so {
        EventType::Warning
    } else {
        EventType::Normal
    }
}

/// The merge patch from one to the other.
pub(in crate::operator) fn changes(before: &Value, after: &Value) -> Value {
    let (Value::Object(before), Value::Object(after)) = (before, after) else {
        return after.clone();
    };
    let mut patch = serde_json::Map::new();
    for (name, value) in after {
        match before.get(name) {
            Some(same) if same == value => {}
            Some(old) => drop(patch.insert(name.clone(), changes(old, value))),
            None => drop(patch.insert(name.clone(), value.clone())),
        }
    }
    for name in before.keys().filter(|it| !after.contains_key(*it)) {
        patch.insert(name.clone(), Value::Null);
    }
    Value::Object(patch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_has_what_changed_and_nothing_else() {
        let before = json!({ "a": 1, "b": { "c": 2, "d": 3 }, "e": [1, 2] });
        let after = json!({ "a": 1, "b": { "c": 4 }, "e": [1], "f": { "g": 5 } });
        let patch = json!({ "b": { "c": 4, "d": null }, "e": [1], "f": { "g": 5 } });
        assert_eq!(changes(&before, &after), patch);
        assert_eq!(changes(&Value::Null, &after), after);
    }
}
