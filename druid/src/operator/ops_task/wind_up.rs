//! Takes back what a recovery that is over has told members: looks, lets `druid_core::ops_task` decide on one
//! step, and does it.

use std::time::Duration;

use druid_core::agent::recovery::{Instruction, Order};
use druid_core::ops_task::{Place, Task, There, Trouble, WindUp, wind_up};
use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams, Patch, PatchParams};

use super::Object;
use super::api::Apis;
use super::recover::serving;
use crate::clock::now;
use crate::operator::etcds::Cluster;
use crate::operator::request::{ApiError, within};

/// For a read that needs a quorum.
const ANSWER: Duration = Duration::from_secs(2);

/// One step. Whether nothing is left.
///
/// # Errors
/// If the API server or the members do not let it. It is tried again.
pub(super) async fn step(apis: &Apis, object: &Object, task: &Task) -> Result<bool, Trouble> {
    let etcd = task.etcd.as_deref().unwrap_or_default();
    let mut cluster = Cluster::named(apis.client.clone(), &task.namespace, etcd);
    let found = match cluster.survivors().await {
        Ok(found) => found,
        Err(Trouble::EtcdMissing { .. }) => return rest(apis, object, task).await,
        Err(trouble) => return Err(trouble),
    };
    if found
        .places
        .values()
        .all(|it| it.told_by(&task.uid).is_none())
    {
        return rest(apis, object, task).await;
    }
    let result = task.result();
    let next = wind_up(&There {
        task: &task.uid,
        result: &result,
        places: &found.places,
        etcd: &found.etcd,
        serving: &serving(&found.members, ANSWER).await,
    });
    tracing::info!(name = task.name, etcd, "winding up: {next}");
    match next {
        WindUp::Tell(all) => cluster.tell(&found, &all).await?,
        WindUp::Delete(what) => cluster.delete(&what).await?,
        WindUp::Record(result) => {
            let status = task.recorded(*result);
            apis.write_status(object, &status)
                .await
                .map_err(|error| failed(&error))?;
        }
        WindUp::Wait(what) => say(apis, object, task, Some(&what)).await?,
        WindUp::Done => return rest(apis, object, task).await,
    }
    Ok(false)
}

async fn say(
    apis: &Apis,
    object: &Object,
    task: &Task,
    waits: Option<&str>,
) -> Result<(), Trouble> {
    match task.winding_up(waits, now()) {
        Some(status) => apis
            .write_status(object, &status)
            .await
            .map_err(|error| failed(&error)),
        None => Ok(()),
    }
}

/// Orders in Leases of members that the Etcd has no more: they would wait for it when it has them again.
async fn rest(apis: &Apis, object: &Object, task: &Task) -> Result<bool, Trouble> {
    let api: Api<Lease> = Api::namespaced(apis.client.clone(), &task.namespace);
    let leases = within("list the Leases", api.list(&ListParams::default())).await;
    for lease in leases.map_err(|error| failed(&error))?.items {
        let place = Place::of(None, None, Some(&lease));
        let told = place.told_by(&task.uid).map(|it| it.order);
        if told.is_some_and(|it| it == Order::Hold || it.founds()) {
            let nothing = Instruction::patch(None, place.version.as_deref());
            let (params, patch) = (PatchParams::default(), Patch::Merge(&nothing));
            let name = lease.name_any();
            let patched = within("change a Lease", api.patch(&name, &params, &patch));
            patched.await.map_err(|error| failed(&error))?;
        }
    }
    say(apis, object, task, None).await?;
    Ok(true)
}

fn failed(error: &ApiError) -> Trouble {
    Trouble::Members(error.to_string())
}
