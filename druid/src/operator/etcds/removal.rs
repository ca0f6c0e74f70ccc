//! The end of an Etcd: what belongs to it goes, then it goes itself. Volumes stay: they are data.

use druid_core::api::{Etcd, names};
use druid_core::render::owner_labels;
use druid_core::status::operation::{Operation, OperationKind, Outcome};
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use serde_json::json;

use super::apis::Apis;
use super::children::kinds;
use crate::clock::now;
use crate::operator::known::Named;
use crate::operator::request::{ApiError, within};

/// Removes what belongs to it. True once all is gone and our finalizer with it.
pub(super) async fn remove(apis: &Apis, named: &Named, etcd: &Etcd) -> Result<bool, ApiError> {
    let finalizers = etcd.metadata.finalizers.clone().unwrap_or_default();
    if !finalizers.iter().any(|it| it == names::FINALIZER) {
        return Ok(true);
    }
    let uid = etcd.metadata.uid.as_deref().unwrap_or_default();
    let labels = owner_labels(&named.name);
    let labels: Vec<_> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let params = ListParams::default().labels(&labels.join(","));
    let mut left = 0;
    for (_, kind) in kinds() {
        let api: Api<kube::api::DynamicObject> =
            Api::namespaced_with(apis.client.clone(), &named.namespace, &kind);
        let found = within("list objects", api.list(&params)).await?;
        for object in found.items {
            let ours = object.owner_references().iter().any(|it| it.uid == uid);
            if !ours {
                continue;
            }
            left += 1;
            if object.metadata.deletion_timestamp.is_none() {
                apis.delete_child(&named.namespace, &kind, &object).await?;
            }
        }
    }
    if left > 0 {
        let mut status = etcd.status.clone().unwrap_or_default();
        let operation = Operation {
            kind: OperationKind::Delete,
            outcome: Outcome::Processing(None),
        };
        operation.apply(&mut status, uid, now());
        if etcd.status.as_ref() != Some(&status) {
            apis.write_status(etcd, &status).await?;
        }
        return Ok(false);
    }
    let rest: Vec<_> = finalizers
        .into_iter()
        .filter(|it| it != names::FINALIZER)
        .collect();
    match apis
        .write_metadata(etcd, json!({ "finalizers": rest }))
        .await
    {
        Err(error) if error.status() != Some(404) => Err(error),
        _ => Ok(true),
    }
}
