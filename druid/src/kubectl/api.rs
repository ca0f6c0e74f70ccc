//! The API server, as far as the commands need it. Each request has a deadline.

use druid_core::api::{Etcd, EtcdOpsTask, names};
use druid_core::cli::{Found, Resource as Kind, Targets, part_of};
use druid_core::render::owner_labels;
use druid_core::status::Sought;
use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Event, Pod, Secret};
use kube::api::{
    Api, ApiResource, DynamicObject, ListParams, ObjectList, Patch, PatchParams, PostParams,
};
use kube::core::{DeserializeGuard, GroupVersionKind};
use kube::{Error, Resource};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::connect::{Cluster, DEADLINE};
use super::error::KubectlError;
use super::output::tell;

/// How many objects one answer has.
const PAGE: u32 = 500;
/// Who we are in `metadata.managedFields`.
const MANAGER: &str = "kubectl-druid";

/// So many requests are under way at once.
pub(super) const AT_ONCE: usize = 8;

/// An Etcd, readable or not.
pub(super) type Object = DeserializeGuard<Etcd>;

/// Etcds that were looked for.
#[derive(Debug, Default)]
pub(super) struct Sighted {
    /// Those that are there.
    pub(super) found: Vec<Found>,
    /// Why some are not.
    pub(super) failed: Vec<KubectlError>,
}

impl Cluster {
    /// The Etcds of a namespace, or of all.
    pub(super) fn etcds(&self, namespace: Option<&str>) -> Api<Object> {
        self.of(namespace)
    }

    /// The objects of a kind in a namespace, or in all.
    fn of<K>(&self, namespace: Option<&str>) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        match namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        }
    }

    /// One that has to be there.
    pub(super) async fn etcd(&self, name: &str) -> Result<Found, KubectlError> {
        let api = self.etcds(Some(&self.namespace));
        let found = self.within("get the Etcd", api.get(name)).await;
        found
            .map(Found::of)
            .map_err(|error| self.missing(name, error))
    }

    /// One that has to be there, and readable.
    pub(super) async fn readable(&self, name: &str) -> Result<Box<Etcd>, KubectlError> {
        let etcd = self.etcd(name).await?.etcd;
        etcd.map_err(|why| KubectlError::Unreadable {
            name: name.to_owned(),
            why,
        })
    }

    /// Those that are there, and why others are not.
    pub(super) async fn found(&self, targets: &Targets) -> Result<Sighted, KubectlError> {
        let scope = match targets {
            Targets::Named(keys) => {
                let each = keys
                    .iter()
                    .map(async |key| self.at(&key.0).etcd(&key.1).await);
                let mut seen = Sighted::default();
                let all: Vec<_> = stream::iter(each).buffered(AT_ONCE).collect().await;
                for one in all {
                    match one {
                        Ok(found) => seen.found.push(found),
                        Err(error) => seen.failed.push(error),
                    }
                }
                return Ok(seen);
            }
            Targets::Found(scope) => scope,
        };
        let api = self.etcds(scope.namespace.as_deref());
        let params = ListParams {
            label_selector: scope.selector.clone(),
            ..ListParams::default()
        };
        let all = self.listed("list Etcds", &api, params).await?;
        Ok(Sighted {
            found: all.into_iter().map(Found::of).collect(),
            failed: Vec::new(),
        })
    }

    /// The sets of all Etcds in a namespace, or in all.
    pub(super) async fn stateful_sets(
        &self,
        namespace: Option<&str>,
    ) -> Result<Vec<StatefulSet>, KubectlError> {
        let api = self.of(namespace);
        let labels = format!("{}={}", names::MANAGED_BY, names::MANAGER);
        let labelled = ListParams::default().labels(&labels);
        self.listed("list StatefulSets", &api, labelled).await
    }

    /// The StatefulSet of an Etcd.
    pub(super) async fn stateful_set(&self, etcd: &str) -> Sought<StatefulSet> {
        let api: Api<StatefulSet> = Api::namespaced(self.client.clone(), &self.namespace);
        let what = "get the StatefulSet";
        match self.within(what, api.get_opt(etcd)).await {
            Ok(Some(set)) => Sought::Found(set),
            Ok(None) => Sought::Missing,
            Err(error) => Sought::Unknown(error.to_string()),
        }
    }

    /// All pods of an Etcd.
    pub(super) async fn pods(&self, etcd: &str) -> Sought<Vec<Pod>> {
        self.owned("list pods", etcd).await
    }

    /// All Leases of an Etcd.
    pub(super) async fn leases(&self, etcd: &str) -> Sought<Vec<Lease>> {
        self.owned("list Leases", etcd).await
    }

    /// The objects of a kind that belong to an Etcd.
    async fn owned<K>(&self, what: &'static str, etcd: &str) -> Sought<Vec<K>>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + DeserializeOwned + std::fmt::Debug,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), &self.namespace);
        let labels: Vec<_> = owner_labels(etcd)
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let labelled = ListParams::default().labels(&labels.join(","));
        sought(self.listed(what, &api, labelled).await)
    }

    /// The warnings of the namespace.
    pub(super) async fn warnings(&self) -> Sought<Vec<Event>> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        let warnings = ListParams::default().fields("type=Warning");
        sought(self.listed("list events", &api, warnings).await)
    }

    /// The tasks of the namespace.
    pub(super) async fn tasks_there(&self) -> Sought<Vec<EtcdOpsTask>> {
        sought(self.all_tasks(Some(&self.namespace)).await)
    }

    /// A Secret.
    pub(super) async fn secret(&self, name: &str) -> Sought<Secret> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        match self.within("get the Secret", api.get_opt(name)).await {
            Ok(Some(secret)) => Sought::Found(secret),
            Ok(None) => Sought::Missing,
            Err(error) => Sought::Unknown(error.to_string()),
        }
    }

    /// Changes an Etcd; what is stored now.
    pub(super) async fn patch(&self, name: &str, patch: &Value) -> Result<Found, KubectlError> {
        let api = self.etcds(Some(&self.namespace));
        let params = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(patch);
        let patched = api.patch(name, &params, &patch);
        let patched = self.within("change the Etcd", patched).await;
        patched
            .map(Found::of)
            .map_err(|error| self.missing(name, error))
    }

    fn tasks(&self) -> Api<EtcdOpsTask> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The tasks that are there; what cannot be read as one is told of.
    pub(super) async fn all_tasks(
        &self,
        namespace: Option<&str>,
    ) -> Result<Vec<EtcdOpsTask>, KubectlError> {
        let api: Api<DeserializeGuard<EtcdOpsTask>> = self.of(namespace);
        let found = self
            .listed("list EtcdOpsTasks", &api, ListParams::default())
            .await?;
        let read = found.into_iter().filter_map(|it| match it.0 {
            Ok(task) => Some(task),
            Err(invalid) => {
                let name = invalid.metadata.name.unwrap_or_default();
                tell(&format!(
                    "warning: EtcdOpsTask {name} cannot be read: {}",
                    invalid.error
                ));
                None
            }
        });
        Ok(read.collect())
    }

    /// Makes a task, as it is stored.
    pub(super) async fn create(&self, task: &EtcdOpsTask) -> Result<EtcdOpsTask, KubectlError> {
        let (api, params) = (self.tasks(), PostParams::default());
        let created = api.create(&params, task);
        let created = self.within("create an EtcdOpsTask", created).await;
        created.map_err(|error| {
            if error.is_missing() {
                KubectlError::NoNamespace(self.namespace.clone())
            } else {
                error
            }
        })
    }

    /// A task as it is now, unless it is gone.
    pub(super) async fn task(&self, name: &str) -> Result<Option<EtcdOpsTask>, KubectlError> {
        let api = self.tasks();
        self.within("get the EtcdOpsTask", api.get_opt(name)).await
    }

    /// What belongs to an Etcd, of one kind: the names, and when each was made. What is in the objects is
    /// not asked for.
    pub(super) async fn belonging(
        &self,
        of: Kind,
        etcd: &str,
    ) -> Result<Vec<(String, Option<Timestamp>)>, KubectlError> {
        let (api, params) = self.belongings(of, etcd);
        let all = self
            .pages(params, async |params| {
                self.within("list it", api.list_metadata(params)).await
            })
            .await?;
        let named = all.into_iter().map(|it| {
            let created = it.metadata.creation_timestamp.map(|it| it.0);
            (it.metadata.name.unwrap_or_default(), created)
        });
        Ok(named.collect())
    }

    /// The same, whole.
    pub(super) async fn belonging_raw(
        &self,
        of: Kind,
        etcd: &str,
    ) -> Result<Vec<DynamicObject>, KubectlError> {
        let (api, params) = self.belongings(of, etcd);
        self.listed("list it", &api, params).await
    }

    fn belongings(&self, of: Kind, etcd: &str) -> (Api<DynamicObject>, ListParams) {
        let kind = GroupVersionKind::gvk(of.group(), "v1", of.kind());
        let kind = ApiResource::from_gvk_with_plural(&kind, of.plural());
        let api = Api::namespaced_with(self.client.clone(), &self.namespace, &kind);
        (api, ListParams::default().labels(&part_of(etcd)))
    }

    /// All pages.
    async fn listed<K>(
        &self,
        what: &'static str,
        api: &Api<K>,
        which: ListParams,
    ) -> Result<Vec<K>, KubectlError>
    where
        K: Resource + Clone + DeserializeOwned + std::fmt::Debug,
    {
        self.pages(which, async |params| {
            self.within(what, api.list(params)).await
        })
        .await
    }

    async fn pages<K: Clone>(
        &self,
        which: ListParams,
        page: impl AsyncFn(&ListParams) -> Result<ObjectList<K>, KubectlError>,
    ) -> Result<Vec<K>, KubectlError> {
        let mut params = which.limit(PAGE);
        let mut all = Vec::new();
        loop {
            let page = page(&params).await?;
            all.extend(page.items);
            params.continue_token = page.metadata.continue_.filter(|it| !it.is_empty());
            if params.continue_token.is_none() {
                return Ok(all);
            }
        }
    }

    async fn within<T>(
        &self,
        what: &'static str,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, KubectlError> {
        match tokio::time::timeout(DEADLINE, request).await {
            Ok(answer) => answer.map_err(|error| self.failed(what, error)),
            Err(_) => Err(KubectlError::Deadline {
                what,
                server: self.server.clone(),
                limit: DEADLINE,
            }),
        }
    }

    /// What a failure means.
    pub(super) fn failed(&self, what: &'static str, error: Error) -> KubectlError {
        let server = self.server.clone();
        let Error::Api(status) = error else {
            return KubectlError::Unreachable {
                what,
                server,
                source: Box::new(error),
            };
        };
        let (code, message) = (status.code, status.message);
        match code {
            // It has no such path.
            404 if status.reason != "NotFound" => KubectlError::NoDefinition { what, server },
            401 => KubectlError::Unauthorized { what, server },
            403 => KubectlError::Forbidden { what, message },
            _ => KubectlError::Answer {
                what,
                code,
                message,
            },
        }
    }

    fn missing(&self, name: &str, error: KubectlError) -> KubectlError {
        if !error.is_missing() {
            return error;
        }
        KubectlError::NoEtcd {
            name: name.to_owned(),
            namespace: self.namespace.clone(),
        }
    }
}

/// What could not be read is not known, and why.
fn sought<T>(found: Result<T, KubectlError>) -> Sought<T> {
    match found {
        Ok(found) => Sought::Found(found),
        Err(error) => Sought::Unknown(error.to_string()),
    }
}
