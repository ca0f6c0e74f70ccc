//! Whether the custom resources are defined as the operator needs them. What is decided is in
//! [`druid_core::operator::definitions`].

use std::time::Duration;

use druid_core::operator::definitions::{DefinitionProblem, NEEDED, NEEDED_FOR_COPIES};
use kube::api::{Api, ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use kube::{Client, Error};
use thiserror::Error;

/// For one answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Between two looks, at first and at most.
const WAIT: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(5)];

/// Why they are not.
#[derive(Debug, Error)]
enum Wanting {
    #[error(transparent)]
    Problem(#[from] DefinitionProblem),
    #[error("the API server does not tell how custom resource {name} is defined: {source}")]
    Api { name: &'static str, source: Error },
    #[error(
        "the API server does not tell how custom resource {name} is defined within {} s",
        ANSWER.as_secs()
    )]
    Late { name: &'static str },
}

/// Until they are, or it is certain that they will not be by themselves. An API server that is away
/// is waited for. `copies`: whether backups are copied, too.
pub(super) async fn until_defined(client: &Client, copies: bool) -> Result<(), DefinitionProblem> {
    let [mut wait, most] = WAIT;
    loop {
        match look(client, copies).await {
            Ok(()) => return Ok(()),
            Err(Wanting::Problem(problem)) if !problem.passes() => return Err(problem),
            Err(why) => tracing::warn!(%why, "waiting for the custom resources"),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(most);
    }
}

async fn look(client: &Client, copies: bool) -> Result<(), Wanting> {
    let kind = GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
    let api = Api::<DynamicObject>::all_with(client.clone(), &ApiResource::from_gvk(&kind));
    let copies = copies.then_some(NEEDED_FOR_COPIES);
    for needed in NEEDED.into_iter().chain(copies) {
        let name = needed.name;
        let stored = match tokio::time::timeout(ANSWER, api.get_opt(name)).await {
            Ok(answer) => answer.map_err(|source| Wanting::Api { name, source })?,
            Err(_) => return Err(Wanting::Late { name }),
        };
        needed.check(stored.as_ref().map(|it| &it.data))?;
    }
    Ok(())
}
