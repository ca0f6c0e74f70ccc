//! The volumes that pods of an Etcd wait for, with what Kubernetes says against them.

use std::collections::BTreeMap;

use druid_core::reconcile::{awaited, claim_warning, is_bound};
use druid_core::status::{ClaimWarning, Sought};

use super::apis::Apis;
use super::world::World;
use crate::operator::request::ApiError;

/// Those that are not there yet, by their claims. No request as long as a node has taken every pod.
pub(super) async fn claims(
    apis: &Apis,
    namespace: &str,
    world: &World,
) -> Sought<BTreeMap<String, Vec<ClaimWarning>>> {
    match missing(apis, namespace, world).await {
        Ok(claims) => Sought::Found(claims),
        Err(error) => Sought::Unknown(error.to_string()),
    }
}

async fn missing(
    apis: &Apis,
    namespace: &str,
    world: &World,
) -> Result<BTreeMap<String, Vec<ClaimWarning>>, ApiError> {
    let mut missing = BTreeMap::new();
    for name in awaited(world.pods.values()) {
        let claim = apis.claim(namespace, &name).await?;
        if claim.is_some_and(|it| !is_bound(&it)) {
            let events = apis.events_of_claim(namespace, &name).await?;
            missing.insert(name, events.iter().filter_map(claim_warning).collect());
        }
    }
    Ok(missing)
}
